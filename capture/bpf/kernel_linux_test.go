package bpf_test

import (
	"math/rand/v2"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/towpath/towpath/capture/bpf"
)

// TestKernel attaches random programs to one end of a socket pair and compares
// how many bytes of each datagram the kernel keeps. Shifts by X are left out:
// the kernel takes X modulo 32, libpcap and this machine do not.
func TestKernel(t *testing.T) {
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_DGRAM|syscall.SOCK_NONBLOCK|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Skipf("no socket pair: %v", err)
	}
	defer syscall.Close(fds[0])
	defer syscall.Close(fds[1])
	r := rand.New(rand.NewPCG(3, 4))
	ops := []uint16{0x28, 0x30, 0x48, 0x50, 0x80, 0x00, 0xb1, 0x01, 0x81, 0x07, 0x87, 0x02, 0x60, 0x03, 0x61,
		0x0c, 0x14, 0x1c, 0x24, 0x2c, 0x34, 0x3c, 0x94, 0x9c, 0x5c, 0x44, 0xac, 0x64, 0x74, 0x84, 0x15, 0x2d, 0x3d, 0x45}
	kept := 0
	for range 300 {
		// Memory is written first: the kernel refuses to read it otherwise.
		p := bpf.Program{op(bpf.ClassST, 0), op(bpf.ClassST, 1)}
		for body := 1 + r.IntN(20); body > 0; body-- {
			in := bpf.Instruction{Op: ops[r.IntN(len(ops))], K: 1 + r.Uint32N(12)}
			switch in.Op & 7 {
			case bpf.ClassJMP:
				in.Jt, in.Jf, in.K = uint8(r.IntN(body)), uint8(r.IntN(body)), r.Uint32N(128)
			case bpf.ClassST, bpf.ClassSTX:
				in.K %= 2
			}
			if in.Op == bpf.ClassLD|bpf.ModeMEM || in.Op == bpf.ClassLDX|bpf.ModeMEM {
				in.K %= 2
			}
			p = append(p, in)
		}
		p = append(p, op(bpf.ClassALU|bpf.AluAnd, 31), retA)
		m, err := bpf.Compile(p)
		if err != nil {
			t.Fatalf("%v\n%v", err, p)
		}
		filter := make([]unix.SockFilter, len(p))
		for i, in := range p {
			filter[i] = unix.SockFilter{Code: in.Op, Jt: in.Jt, Jf: in.Jf, K: in.K}
		}
		prog := &unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
		if err := unix.SetsockoptSockFprog(fds[0], unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, prog); err != nil {
			t.Skipf("the kernel attaches no filter here: %v\n%v", err, p)
		}
		pkt, buf := make([]byte, 24), make([]byte, 64)
		for i := range pkt {
			pkt[i] = byte(r.Uint32())
		}
		for n := 1; n <= len(pkt); n++ {
			// A datagram that the filter rejects is reported to the sender or not,
			// as the kernel's version has it.
			_, _ = syscall.Write(fds[1], pkt[:n])
			got, err := syscall.Read(fds[0], buf)
			if err == syscall.EAGAIN {
				got = 0
			} else if err != nil {
				t.Fatal(err)
			}
			if want := min(int(m.Run(pkt[:n], n, nil)), n); got != want {
				t.Fatalf("%d bytes of %x: the kernel keeps %d, the machine %d\n%v", n, pkt, got, want, p)
			} else if want > 0 {
				kept++
			}
		}
	}
	if kept == 0 {
		t.Error("no program kept a packet")
	}
}
