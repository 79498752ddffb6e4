package live

import (
	"os"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	// slots is how many packets one system call may bring.
	slots = 8
	// controlLen holds the auxiliary data and the time of a packet.
	controlLen = 128
)

// A socket is a queue without a ring: packets wait in the socket's buffer.
type socket struct {
	slot [slots]slot
	msg  [slots]unix.Mmsghdr
	n    int // received
	at   int // the next one
	old  int // bytes that may have waited when the filter was set
	room int // in the socket's buffer
}

type slot struct {
	data    []byte
	iov     unix.Iovec
	from    unix.RawSockaddrLinklayer
	control [controlLen]byte
}

func newSocket(fd int, c *Config) (*socket, error) {
	if err := unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_AUXDATA, 1); err != nil {
		return nil, os.NewSyscallError("setsockopt PACKET_AUXDATA", err)
	}
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1); err != nil {
		return nil, os.NewSyscallError("setsockopt SO_TIMESTAMPNS", err)
	}
	if unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, c.Buffer) != nil {
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, c.Buffer) // as much as is allowed
	}
	room, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF)
	if err != nil {
		return nil, os.NewSyscallError("getsockopt SO_RCVBUF", err)
	}
	s := &socket{room: room}
	for i := range s.slot {
		b := &s.slot[i]
		b.data = make([]byte, c.Snaplen)
		b.iov.Base = &b.data[0]
		b.iov.SetLen(len(b.data))
	}
	return s, nil
}

// switched does not go by time: the kernel may give a packet its time only when
// it is received.
func (s *socket) switched() { s.old = s.room }

func (s *socket) more() bool { return s.at < s.n }

func (s *socket) fill(fd int) (bool, error) {
	if s.more() {
		return true, nil
	}
	for i := range s.slot {
		b := &s.slot[i]
		h := &s.msg[i].Hdr
		*h = unix.Msghdr{Name: (*byte)(unsafe.Pointer(&b.from)), Namelen: unix.SizeofSockaddrLinklayer, Iov: &b.iov, Control: &b.control[0]}
		h.SetIovlen(1)
		h.SetControllen(len(b.control))
	}
	s.at, s.n = 0, 0
	n, _, errno := unix.Syscall6(unix.SYS_RECVMMSG, uintptr(fd), uintptr(unsafe.Pointer(&s.msg[0])), slots, unix.MSG_DONTWAIT, 0, 0)
	switch errno {
	case 0:
		s.n = int(n)
		return s.n > 0, nil
	case unix.EAGAIN:
		s.old = 0
		return false, nil
	case unix.EINTR:
		return false, nil
	}
	return false, errno
}

func (s *socket) next() (a arrival) {
	b, m := &s.slot[s.at], &s.msg[s.at]
	s.at++
	a.data = b.data[:m.Len]
	if a.old = s.old > 0; a.old {
		s.old -= len(a.data)
	}
	a.length = len(a.data)
	a.from(&b.from)
	c := b.control[:m.Hdr.Controllen]
	for len(c) >= unix.SizeofCmsghdr {
		h := (*unix.Cmsghdr)(unsafe.Pointer(&c[0]))
		if int(h.Len) < unix.SizeofCmsghdr || int(h.Len) > len(c) {
			break
		}
		a.control(h, c[unix.CmsgLen(0):h.Len])
		c = c[min(len(c), unix.CmsgSpace(int(h.Len)-unix.CmsgLen(0))):]
	}
	if a.at.IsZero() {
		a.at = time.Now()
	}
	return a
}

// control takes over what a control message says.
func (a *arrival) control(h *unix.Cmsghdr, body []byte) {
	switch {
	case h.Level == unix.SOL_PACKET && h.Type == unix.PACKET_AUXDATA && len(body) >= int(unsafe.Sizeof(unix.TpacketAuxdata{})):
		x := (*unix.TpacketAuxdata)(unsafe.Pointer(&body[0]))
		a.length, a.status, a.tci, a.tpid = int(x.Len), x.Status, x.Vlan_tci, x.Vlan_tpid
	case h.Level == unix.SOL_SOCKET && h.Type == unix.SO_TIMESTAMPNS && len(body) >= int(unsafe.Sizeof(unix.Timespec{})):
		x := (*unix.Timespec)(unsafe.Pointer(&body[0]))
		a.at = time.Unix(x.Unix())
	}
}

func (s *socket) count(fd int, into *Stats) {
	// Reading sets the kernel's counters to 0.
	if k, err := unix.GetsockoptTpacketStats(fd, unix.SOL_PACKET, unix.PACKET_STATISTICS); err == nil {
		into.Received += uint64(k.Packets)
		into.Dropped += uint64(k.Drops)
	}
}

func (s *socket) close() error {
	s.n, s.at = 0, 0
	return nil
}
