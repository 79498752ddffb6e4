// Package ifaddr holds the addresses that a host has on its adapters, and makes
// those of IPv6 that nobody gives.
//
// # Theory of operation
//
// A [Set] is immutable; With and Without return a new one. The walk asks it
// three things: is this address ours ([Set.Local]), is it a broadcast address
// of one of our networks ([Set.Broadcast]), and which address shall a packet
// have as its source ([Set.Source]). Hosts have few addresses, so a set is a
// slice searched in order; beyond a handful a map answers Local.
//
// An [Auto] makes addresses of what routers say: for the link, for each prefix
// one that stays, and if they are wanted temporary ones beside it. How their
// lower halves are made is a [Privacy]: of the station address (EUI-64), or so
// that nobody can follow a host from network to network. Each address is probed
// and, where it was free to choose, another is tried if it is taken.
//
// # Limits and omissions
//
// Source choice has no labels (RFC 6724 §5 rule 6), and no sockets that ask for
// a temporary or a public address (RFC 5014). Identifiers have 64 bits.
//
// # Documents
//
// RFC 4191, 4291, 4429, 4861, 4862, 5453, 6724, 7217, 7527, 8106, 8981.
package ifaddr

import (
	"net/netip"
	"slices"
)

// An Addr is one address on one adapter.
type Addr struct {
	Adapter int32
	Prefix  netip.Prefix // the address with its network's length, not masked

	Origin     Origin
	Optimistic bool // in use, but not yet known to be nobody else's (RFC 4429)
	Deprecated bool // not for new flows (RFC 4862 §5.5.4)
	Favored    bool // chosen before others that are as good, for its privacy or its permanence (RFC 6724 §5 rule 7)
}

// Origin says where an address is from.
type Origin uint8

const (
	Manual    Origin = iota // somebody gave it
	LinkLocal               // made for the link (RFC 4862 §5.3)
	Autoconf                // made of a router's prefix (RFC 4862 §5.5)
	Temporary               // made of one by chance, for some time (RFC 8981)
)

// A Set is an immutable list of addresses. The zero value is empty.
type Set struct {
	addrs []Addr
	bcast []netip.Addr         // of the network of each; invalid if it has none
	index map[netip.Addr]int32 // address to adapter; nil while addrs is short
}

const indexFrom = 8

// All lends the addresses in the order they were added.
func (s *Set) All() []Addr { return s.addrs }

// With returns a set that has a too.
func (s *Set) With(a Addr) *Set { return newSet(append(slices.Clone(s.addrs), a)) }

// Without returns a set without the addresses for which drop reports true.
func (s *Set) Without(drop func(Addr) bool) *Set {
	return newSet(slices.DeleteFunc(slices.Clone(s.addrs), drop))
}

func newSet(addrs []Addr) *Set {
	s := &Set{addrs: addrs, bcast: make([]netip.Addr, len(addrs))}
	for i := range addrs {
		if p := addrs[i].Prefix; p.Addr().Is4() && p.Bits() < 31 {
			s.bcast[i] = lastAddr(p)
		}
	}
	if len(addrs) >= indexFrom {
		s.index = make(map[netip.Addr]int32, len(addrs))
		for _, a := range addrs {
			if _, dup := s.index[a.Prefix.Addr()]; !dup {
				s.index[a.Prefix.Addr()] = a.Adapter
			}
		}
	}
	return s
}

// Local reports whether ip is one of the addresses, and on which adapter.
func (s *Set) Local(ip netip.Addr) (adapter int32, ok bool) {
	if s.index != nil {
		adapter, ok = s.index[ip]
		return adapter, ok
	}
	for i := range s.addrs {
		if a := &s.addrs[i]; a.Prefix.Addr() == ip {
			return a.Adapter, true
		}
	}
	return 0, false
}

// Broadcast reports whether ip is the directed broadcast address of a network
// that adapter has an IPv4 address in (RFC 919). Networks of 31 and 32 bits
// have none (RFC 3021).
func (s *Set) Broadcast(adapter int32, ip netip.Addr) bool {
	for i := range s.bcast {
		if s.bcast[i] == ip && s.addrs[i].Adapter == adapter {
			return ip.IsValid()
		}
	}
	return false
}

// lastAddr is the address of an IPv4 prefix with all host bits set.
func lastAddr(p netip.Prefix) netip.Addr {
	b := p.Addr().As4()
	for i := p.Bits(); i < 32; i++ {
		b[i/8] |= 0x80 >> (i % 8)
	}
	return netip.AddrFrom4(b)
}

// Source chooses the address with which to send to dst through adapter, when
// next is the next hop. Of the addresses of dst's family it is dst itself if
// that is ours, else, in this order of weight: one whose scope fits; one that is
// not deprecated; one that is not optimistic; one on the adapter (others serve
// too: the weak host model of RFC 1122 §3.3.4.3); one in the network of next; one
// that is favored; the one in the smallest network that has dst; the first (RFC
// 6724 §5, rules 1, 2, 3, 5, 7 and 8; RFC 4429 §3.1). Link-local addresses serve on their own
// adapter only, and not for destinations beyond the link.
func (s *Set) Source(adapter int32, dst, next netip.Addr) (src netip.Addr, ok bool) {
	local := dst.IsLinkLocalUnicast() || dst.IsLinkLocalMulticast()
	rank := -1
	for i := range s.addrs {
		a := &s.addrs[i]
		ip := a.Prefix.Addr()
		switch {
		case ip.Is4() != dst.Is4() || ip.IsLoopback() != dst.IsLoopback():
			continue
		case ip == dst:
			return ip, true
		case ip.IsLinkLocalUnicast() && (a.Adapter != adapter || !local):
			continue
		}
		r := 0
		if ip.IsLinkLocalUnicast() == local {
			r += 1 << 13
		}
		if !a.Deprecated {
			r += 1 << 12
		}
		if !a.Optimistic {
			r += 1 << 11
		}
		if a.Adapter == adapter {
			r += 1 << 10
			if a.Prefix.Contains(next) {
				r += 1 << 9
			}
		}
		if a.Favored {
			r += 1 << 8
		}
		if a.Prefix.Contains(dst) {
			r += a.Prefix.Bits()
		}
		if r > rank {
			src, rank = ip, r
		}
	}
	return src, rank >= 0
}
