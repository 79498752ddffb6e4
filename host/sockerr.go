package host

import (
	"net/netip"
	"slices"
	"syscall"

	"github.com/towpath/towpath/socket"
	"github.com/towpath/towpath/wire"
)

// A SocketError is an ICMP error about a datagram, as a socket's error queue
// keeps it (Linux: IP_RECVERR, struct sock_extended_err).
type SocketError struct {
	Errno      syscall.Errno
	V6         bool // the error is ICMPv6's
	Here       bool // it is none of ICMP's: the host itself refused (Linux: SO_EE_ORIGIN_LOCAL)
	Type, Code uint8
	Info       uint32         // with EMSGSIZE, the MTU in bytes
	Offender   netip.Addr     // who sent the error
	Peer       netip.AddrPort // whom the datagram was for
	Payload    []byte         // of the datagram, as much of it as the error quotes
}

// Bounds of a socket's error queue: entries, and what each costs the host's
// budget beside its payload.
const (
	socketErrorsMax = 32
	socketErrorCost = 128
)

// keepError puts an error in the queue of a socket that wants to know, and
// reports whether it does. What finds no room is not kept, as on Linux.
func (s *udpSocket) keepError(ln *lane, q *quoted, c *icmpCause) bool {
	v6 := q.dst.Is6()
	if s.face == nil || v6 && !s.face.opt.RecvErr6 || !v6 && !s.face.opt.RecvErr {
		return false
	}
	e := SocketError{Errno: c.errno, V6: v6, Type: uint8(c.type4), Code: c.code4, Offender: q.from}
	if v6 {
		e.Type, e.Code = uint8(c.type6), c.code6
	}
	if c.errno == syscall.EMSGSIZE {
		e.Info = c.rest
	}
	if !e.Offender.IsValid() {
		e.Offender = q.src // the host itself
	}
	payload, port := q.header, uint16(0)
	switch {
	case s.raw != nil && s.raw.included:
		payload = q.packet
	case s.raw == nil && s.proto == wire.ProtoUDP:
		payload, port = payload[wire.UDPLen:], q.dstPort
	}
	e.Peer = netip.AddrPortFrom(q.dst, port)
	e.Payload = payload
	s.queueError(ln, &e)
	return true
}

// keepLocal puts into the queue of a socket that wants to know that a datagram
// was too large for an MTU.
func (s *udpSocket) keepLocal(ln *lane, to netip.AddrPort, mtu int) {
	if v6 := to.Addr().Is6(); s.face != nil && (v6 && s.face.opt.RecvErr6 || !v6 && s.face.opt.RecvErr) {
		s.queueError(ln, &SocketError{Errno: syscall.EMSGSIZE, V6: v6, Here: true, Info: uint32(mtu), Peer: to})
	}
}

// queueError keeps a copy of e if there is room.
func (s *udpSocket) queueError(ln *lane, e *SocketError) {
	cost := int64(socketErrorCost + len(e.Payload))
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.errs) < socketErrorsMax && !ln.host.mem.exceeded(cost, ln.conf.set.MemoryMax) {
		ln.host.mem.add(cost)
		kept := *e
		kept.Payload = slices.Clone(e.Payload)
		s.errs = append(s.errs, kept)
	}
}

// forgetErrors empties the error queue. s.mu is held.
func (s *udpSocket) forgetErrors() {
	for i := range s.errs {
		s.lane.host.mem.add(-int64(socketErrorCost + len(s.errs[i].Payload)))
	}
	s.errs = nil
}

// RecvError takes the oldest error off a socket's error queue (MSG_ERRQUEUE). It
// fails with EAGAIN if there is none. The pending error is then that of the
// next.
func (s *Socket) RecvError() (SocketError, syscall.Errno) {
	if s.closedNow() {
		return SocketError{}, syscall.EBADF
	}
	u := s.udp
	if u == nil {
		return SocketError{}, syscall.EAGAIN
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	if len(u.errs) == 0 {
		return SocketError{}, syscall.EAGAIN
	}
	e := u.errs[0]
	u.errs = slices.Delete(u.errs, 0, 1)
	u.lane.host.mem.add(-int64(socketErrorCost + len(e.Payload)))
	if u.err = nil; len(u.errs) > 0 {
		u.err = u.errs[0].Errno
	}
	e.Peer = s.shown(e.Peer)
	return e, 0
}

// fail makes an error pending.
func (s *udpSocket) fail(ln *lane, e syscall.Errno) {
	s.mu.Lock()
	s.err = e
	ln.wake(s.rd.Wake())
	s.mu.Unlock()
	s.tell(socket.EventErr | socket.EventIn | socket.EventOut)
}
