package host

import (
	"net/netip"

	"github.com/towpath/towpath/wire"
)

// A binding is what a socket listens to: a port, at one address or at all of
// one or both families.
type binding struct {
	addr   netip.Addr // unspecified: any address of the families below
	port   uint16
	v4, v6 bool
}

// overlaps reports whether some packet would fit both.
func (b *binding) overlaps(o *binding) bool {
	if b.port != o.port || !(b.v4 && o.v4) && !(b.v6 && o.v6) {
		return false
	}
	return b.addr.IsUnspecified() || o.addr.IsUnspecified() || b.addr == o.addr
}

// score is how well the binding fits a destination: 0 not at all, 1 as any
// address, 2 exactly.
func (b *binding) score(dst netip.Addr) int {
	switch {
	case dst.Is4() && !b.v4 || dst.Is6() && !b.v6:
		return 0
	case b.addr.IsUnspecified():
		return 1
	case b.addr == dst:
		return 2
	}
	return 0
}

// portTable finds the sockets that are bound to ports. Chains are short: one
// socket a port is the rule.
type portTable struct {
	listeners map[uint16][]*tcpListener
	datagrams map[uint16][]*udpSocket
	next      uint32 // where the search for a free port begins
}

func (t *portTable) init() {
	t.listeners = make(map[uint16][]*tcpListener)
	t.datagrams = make(map[uint16][]*udpSocket)
}

// listener finds the listener for connections to a local address.
func (t *portTable) listener(dst netip.Addr, port uint16) *tcpListener {
	var best *tcpListener
	top := 0
	for _, l := range t.listeners[port] {
		if s := l.binding.score(dst); s > top {
			best, top = l, s
		}
	}
	return best
}

// datagram finds the socket for a datagram: connected ones first, then those
// bound to the address, then those bound to any.
func (t *portTable) datagram(dst, src netip.Addr, dstPort, srcPort uint16) *udpSocket {
	var best *udpSocket
	top := 0
	for _, s := range t.datagrams[dstPort] {
		n := s.binding.score(dst)
		if n > 0 && s.remote.IsValid() {
			if s.remote.Addr() != src || s.remote.Port() != srcPort {
				continue
			}
			n += 2
		}
		if n > top {
			best, top = s, n
		}
	}
	return best
}

// free reports whether b could be bound.
func (t *portTable) free(proto wire.Proto, b *binding) bool {
	if proto == wire.ProtoTCP {
		for _, l := range t.listeners[b.port] {
			if l.binding.overlaps(b) {
				return false
			}
		}
		return true
	}
	for _, s := range t.datagrams[b.port] {
		if s.binding.overlaps(b) {
			return false
		}
	}
	return true
}

// ephemeral looks for a port for which ok says yes, beginning at a place that
// is hard to guess (RFC 6056 §3.3.4). It returns 0 if there is none.
func (ln *lane) ephemeral(ok func(port uint16) bool) uint16 {
	low, n := uint32(ln.conf.set.PortMin), uint32(ln.conf.set.PortMax-ln.conf.set.PortMin)+1
	if ln.ports.next == 0 {
		ln.ports.next = ln.rand.Uint32() | 1
	}
	// A step of at most a few ports: successive connections have ports that
	// neither collide nor are equally spaced.
	ln.ports.next += 1 + ln.rand.Uint32N(8)
	start := ln.ports.next % n
	for i := range n {
		if port := uint16(low + (start+i)%n); ok(port) {
			return port
		}
	}
	return 0
}
