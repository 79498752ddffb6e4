package unotify

import "math"

// SysOpen is the number of open; one that no call has where openat is all there
// is.
const SysOpen = math.MaxInt32
