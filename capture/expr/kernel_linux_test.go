package expr

import (
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// TestKernel gives programs to the kernel, which refuses those that jump
// wrongly, divide by zero, or read scratch memory that they have not written.
func TestKernel(t *testing.T) {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Skipf("no socket: %v", err)
	}
	defer unix.Close(fd)
	list := sampled(t, tasks(t, "testdata/expressions.txt"))
	for i, k := range list {
		for mode := range 4 {
			if mode > 1 && i%8 != 0 {
				continue
			}
			c := config(k.link, mode&1 != 0)
			c.Live = k.link == EN10MB
			c.Modern = mode&2 != 0
			prog, err := Compile(k.expr, c)
			if err != nil || prog.Loops() {
				continue
			}
			if why := valid(prog); why != "" {
				t.Errorf("%v: %s", k, why)
				continue
			}
			insns := make([]unix.SockFilter, len(prog))
			for i, in := range prog {
				insns[i] = unix.SockFilter{Code: in.Op, Jt: in.Jt, Jf: in.Jf, K: in.K}
			}
			err = unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER,
				&unix.SockFprog{Len: uint16(len(prog)), Filter: unsafe.SliceData(insns)})
			if err != nil && err != unix.ENOMEM { // programs are charged to the socket: net.core.optmem_max
				t.Errorf("%v: the kernel refuses the program of %d instructions: %v", k, len(prog), err)
			}
		}
	}
}
