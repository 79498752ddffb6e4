package unotify

import "golang.org/x/sys/unix"

// SysOpen is the number of open.
const SysOpen = unix.SYS_OPEN
