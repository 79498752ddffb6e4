package bench

import "syscall"

// useCubic is best effort: a kernel without it keeps its default.
func useCubic(fd uintptr) {
	_ = syscall.SetsockoptString(int(fd), syscall.IPPROTO_TCP, syscall.TCP_CONGESTION, "cubic")
}
