package host

import (
	"encoding/binary"
	"net/netip"
	"slices"

	"github.com/towpath/towpath/wire"
)

// A binding is what a socket listens to: a port, at one address or at all of
// one or both families.
type binding struct {
	addr   netip.Addr // unspecified: any address of the families below
	port   uint16
	v4, v6 bool
	device int32 // of one adapter only, by index; 0: any

	reuseAddr bool // Linux: SO_REUSEADDR
	reusePort bool // Linux: SO_REUSEPORT
}

// conflicts reports whether two sockets cannot have their bindings at once.
// Listeners share a port if all of them say so; datagram sockets also if both
// let the address be reused.
func (b *binding) conflicts(o *binding, datagram bool) bool {
	return b.overlaps(o) && !(b.reusePort && o.reusePort) && !(datagram && b.reuseAddr && o.reuseAddr)
}

// overlaps reports whether some packet would fit both.
func (b *binding) overlaps(o *binding) bool {
	if b.port != o.port || !(b.v4 && o.v4) && !(b.v6 && o.v6) || b.device != 0 && o.device != 0 && b.device != o.device {
		return false
	}
	return b.addr.IsUnspecified() || o.addr.IsUnspecified() || b.addr == o.addr
}

// Scores of bindings: as any address, exactly, by the adapter asked for, and of
// sockets that have a peer.
const (
	scoreAny = 1 << iota
	scoreAddr
	scoreDevice
	scorePeer
)

// score is how well the binding fits a destination of packets that come by an
// adapter; 0 not at all. Adapter 0 is not known and fits all.
func (b *binding) score(dst netip.Addr, in int32) (n int) {
	switch {
	case dst.Is4() && !b.v4 || dst.Is6() && !b.v6, b.device != 0 && in != 0 && b.device != in:
		return 0
	case b.addr.IsUnspecified():
		n = scoreAny
	case b.addr == dst:
		n = scoreAddr
	default:
		return 0
	}
	if b.device != 0 {
		n += scoreDevice
	}
	return n
}

// portTable finds the sockets that are bound to ports. Chains are short: one
// socket a port is the rule.
type portTable struct {
	listeners map[uint16][]*tcpListener
	datagrams map[uint16][]*udpSocket
	echoes    [2]map[uint16][]*udpSocket // ping sockets by identifier: ICMP, ICMPv6
	bound     map[uint16][]*Socket       // stream sockets that have a port
	next      uint32                     // where the search for a free port begins
}

func (t *portTable) init() {
	t.listeners = make(map[uint16][]*tcpListener)
	t.datagrams = make(map[uint16][]*udpSocket)
	t.bound = make(map[uint16][]*Socket)
}

// listener finds the listener for connections to a local address. Among
// listeners that share a port the flow's hash decides (Linux: SO_REUSEPORT).
func (t *portTable) listener(dst netip.Addr, port uint16, hash uint32, in int32) *tcpListener {
	list := t.listeners[port]
	return best(list, hash, func(l *tcpListener) int { return l.binding.score(dst, in) })
}

// datagram finds the socket for a datagram: connected ones first, then those
// bound to the address, then those bound to any. Among sockets that share a
// port the source decides (Linux: SO_REUSEPORT).
func (t *portTable) datagram(dst, src netip.Addr, dstPort, srcPort uint16, in int32) *udpSocket {
	return bestDatagram(t.datagrams[dstPort], dst, src, srcPort, in)
}

// echo finds the ping socket for an echo reply.
func (t *portTable) echo(proto wire.Proto, dst, src netip.Addr, id uint16, in int32) *udpSocket {
	return bestDatagram((*t.chains(proto))[id], dst, src, 0, in)
}

// chains are the sockets of UDP, or the ping sockets of ICMP or ICMPv6.
func (t *portTable) chains(proto wire.Proto) *map[uint16][]*udpSocket {
	switch proto {
	case wire.ProtoICMP:
		return &t.echoes[0]
	case wire.ProtoICMPv6:
		return &t.echoes[1]
	}
	return &t.datagrams
}

func (t *portTable) add(s *udpSocket) {
	m := t.chains(s.proto)
	if *m == nil {
		*m = make(map[uint16][]*udpSocket)
	}
	port := s.binding.port
	(*m)[port] = append((*m)[port], s)
}

func (t *portTable) remove(s *udpSocket) {
	m := *t.chains(s.proto)
	port := s.binding.port
	rest := slices.DeleteFunc(m[port], func(o *udpSocket) bool { return o == s })
	if len(rest) == 0 {
		delete(m, port)
	} else {
		m[port] = rest
	}
}

func bestDatagram(list []*udpSocket, dst, src netip.Addr, srcPort uint16, in int32) *udpSocket {
	return best(list, spread(src, srcPort), func(s *udpSocket) int {
		n := s.binding.score(dst, in)
		if n > 0 && s.remote.IsValid() {
			if s.remote.Addr() != src || s.remote.Port() != srcPort {
				return 0
			}
			n += scorePeer
		}
		return n
	})
}

// best returns the socket with the highest score above 0; among several, the
// one that the hash chooses.
func best[S any](list []*S, hash uint32, score func(*S) int) *S {
	if len(list) == 1 { // nearly always
		if score(list[0]) > 0 {
			return list[0]
		}
		return nil
	}
	top, n := 0, uint32(0)
	for _, s := range list {
		switch k := score(s); {
		case k > top:
			top, n = k, 1
		case k == top:
			n++
		}
	}
	if top == 0 {
		return nil
	}
	n = hash % n
	for _, s := range list {
		if score(s) == top {
			if n == 0 {
				return s
			}
			n--
		}
	}
	return nil
}

// spread is a hash of a datagram's source.
func spread(src netip.Addr, port uint16) uint32 {
	b := src.As16()
	h := uint32(port) * 0x9e3779b1
	for i := 0; i < 16; i += 4 {
		h = (h ^ binary.LittleEndian.Uint32(b[i:])) * 0x85ebca6b
		h ^= h >> 13
	}
	return h
}

// free reports whether b could be bound.
func (t *portTable) free(proto wire.Proto, b *binding) bool {
	if proto == wire.ProtoTCP {
		return t.bindable(b)
	}
	for _, s := range (*t.chains(proto))[b.port] {
		if s.binding.conflicts(b, true) {
			return false
		}
	}
	return true
}

// bindable reports whether a stream socket may have the binding b, or, if it
// has it already, may listen. Linux lets sockets share that all allow it, as
// long as none listens (SO_REUSEADDR), or that all share on purpose
// (SO_REUSEPORT). b itself may be in the table.
func (t *portTable) bindable(b *binding) bool {
	for _, l := range t.listeners[b.port] {
		if l.binding.conflicts(b, false) {
			return false
		}
	}
	for _, s := range t.bound[b.port] {
		o := &s.bind
		if o == b || s.listen != nil || !o.overlaps(b) || o.reusePort && b.reusePort {
			continue
		}
		if !o.reuseAddr || !b.reuseAddr {
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
