package sockfilter

import (
	"os"

	"golang.org/x/sys/unix"

	"github.com/towpath/towpath/capture/bpf"
)

// Attach puts p on a socket, in the place of a filter that is there. Packets
// that p would refuse may already wait in the socket's queue. So it first
// attaches a filter that refuses everything, and discards what waits; only then
// p. A socket of streams keeps what waits. After an error the socket has either
// the filter it had or none.
func Attach(fd int, p bpf.Program) error {
	p, err := kernelProgram(p)
	if err != nil {
		return err
	}
	kind, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TYPE)
	if err != nil {
		return os.NewSyscallError("getsockopt SO_TYPE", err)
	}
	switch kind {
	case unix.SOCK_DGRAM, unix.SOCK_RAW, unix.SOCK_PACKET:
		if err := set(fd, bpf.Program{{Op: bpf.ClassRET}}); err != nil {
			return err
		}
		if err := drain(fd); err != nil {
			_ = Detach(fd)
			return err
		}
	}
	if err := set(fd, p); err != nil {
		_ = Detach(fd)
		return err
	}
	return nil
}

// Detach takes the filter off a socket. It is no error if there is none.
func Detach(fd int) error {
	err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_DETACH_FILTER, 0)
	if err == unix.ENOENT {
		return nil
	}
	return os.NewSyscallError("setsockopt SO_DETACH_FILTER", err)
}

func set(fd int, p bpf.Program) error {
	filter := make([]unix.SockFilter, len(p))
	for i, in := range p {
		filter[i] = unix.SockFilter{Code: in.Op, Jt: in.Jt, Jf: in.Jf, K: in.K}
	}
	prog := &unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	return os.NewSyscallError("setsockopt SO_ATTACH_FILTER", unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, prog))
}

// drain discards the datagrams that wait. There are no more to come.
func drain(fd int) error {
	var buf [1]byte
	for {
		switch _, _, err := unix.Recvfrom(fd, buf[:], unix.MSG_DONTWAIT|unix.MSG_TRUNC); err {
		case nil, unix.EINTR:
		case unix.EAGAIN:
			return nil
		default:
			return os.NewSyscallError("recvfrom", err)
		}
	}
}
