package host

import (
	"net/netip"
	"slices"
	"syscall"

	"github.com/towpath/towpath/ip/group"
	"github.com/towpath/towpath/packet"
)

// Sockets in groups. What a socket wants of a group is its own filter of
// sources, by which it is given datagrams; the table of groups makes one of all
// sockets' for each adapter.

// A udpMember is a group that a socket has joined on an adapter.
type udpMember struct {
	key    group.Key
	filter group.Filter
	listed bool // sources have been named, so that the mode stays (RFC 3376 §2)
}

// groups6Max bounds the IPv6 groups of one socket, for which Linux has no
// setting.
const groups6Max = 256

// member finds the socket's membership, nil if it is none.
func (s *udpSocket) member(k group.Key) *udpMember {
	for i := range s.joined {
		if s.joined[i].key == k {
			return &s.joined[i]
		}
	}
	return nil
}

// hears reports whether a packet is one that the socket wants of a group. If it
// has not joined the group it takes what others here have joined it for, unless
// it has been told not to (Linux: IP_MULTICAST_ALL).
func (s *udpSocket) hears(p *packet.Packet) bool {
	if !p.Dst.IsMulticast() {
		return true
	}
	if m := s.member(group.Key{Adapter: p.Ingress, Group: p.Dst}); m != nil {
		return m.filter.Allows(p.Src)
	}
	switch {
	case s.face == nil:
		return true
	case p.Dst.Is4():
		return !s.face.opt.NoMulticastAll
	}
	return !s.face.opt.NoMulticastAll6
}

// listen gives a membership another filter.
func (s *udpSocket) listen(ln *lane, m *udpMember, f group.Filter) syscall.Errno {
	if !ln.host.groups.Listen(ln.now, m.key, m.filter, f, (*groupSender)(ln)) {
		return syscall.ENOBUFS
	}
	m.filter = f
	return 0
}

// join makes the socket a member with a filter that names no source.
func (s *udpSocket) join(ln *lane, k group.Key, f group.Filter) syscall.Errno {
	most := groups6Max
	if k.Group.Is4() {
		most = ln.conf.set.IGMPMaxMemberships
	}
	switch {
	case s.member(k) != nil:
		return syscall.EADDRINUSE
	case len(s.joined) >= most:
		return syscall.ENOBUFS
	}
	m := udpMember{key: k}
	if e := s.listen(ln, &m, f); e != 0 {
		return e
	}
	s.joined = append(s.joined, m)
	return 0
}

func (s *udpSocket) leave(ln *lane, k group.Key) syscall.Errno {
	m := s.member(k)
	if m == nil {
		return syscall.EADDRNOTAVAIL
	}
	s.listen(ln, m, group.Filter{})
	s.joined = slices.DeleteFunc(s.joined, func(m udpMember) bool { return m.key == k })
	return 0
}

// leaveGroups leaves what the socket has joined.
func (s *udpSocket) leaveGroups(ln *lane) {
	for i := range s.joined {
		s.listen(ln, &s.joined[i], group.Filter{})
	}
	s.joined = nil
	ln.groupArm()
}

// A SourceOp is what is to be done with one source of a group (RFC 3678 §4).
type SourceOp uint8

const (
	SourceJoin    SourceOp = iota // receive from it, and join the group for that (MCAST_JOIN_SOURCE_GROUP)
	SourceLeave                   // undo that; the last one leaves the group (MCAST_LEAVE_SOURCE_GROUP)
	SourceBlock                   // do not receive from it, of a group that was joined (MCAST_BLOCK_SOURCE)
	SourceUnblock                 // undo that (MCAST_UNBLOCK_SOURCE)
)

// source changes one source of a membership. Its errors are Linux's, in their
// order.
func (s *udpSocket) source(ln *lane, k group.Key, src netip.Addr, op SourceOp) syscall.Errno {
	if op == SourceJoin {
		if e := s.join(ln, k, group.Filter{}); e != 0 && e != syscall.EADDRINUSE {
			return e
		}
	}
	m := s.member(k)
	exclude := op == SourceBlock || op == SourceUnblock
	switch {
	case m == nil, m.listed && m.filter.Exclude != exclude:
		return syscall.EINVAL
	}
	f := m.filter
	if f.Exclude != exclude { // it names no source, so the mode may change
		f = group.Filter{Exclude: exclude}
	}
	switch op {
	case SourceJoin, SourceBlock:
		switch {
		case len(f.Sources) >= ln.sourcesMax(k):
			s.listen(ln, m, f)
			return syscall.ENOBUFS
		case f.Lists(src):
			return syscall.EADDRNOTAVAIL
		}
		if e := s.listen(ln, m, f.With(src)); e != 0 {
			return e
		}
		m.listed = true
	default:
		switch {
		case !f.Lists(src):
			s.listen(ln, m, f)
			return syscall.EADDRNOTAVAIL
		case len(f.Sources) == 1 && !exclude: // INCLUDE{} is no member
			return s.leave(ln, k)
		}
		s.listen(ln, m, f.Without(src))
	}
	return 0
}

// sourcesMax is how many sources a socket may name for a group.
func (ln *lane) sourcesMax(k group.Key) int {
	if k.Group.Is4() {
		return ln.conf.set.IGMPMaxSources
	}
	return ln.conf.set.MLDMaxSources
}

// setFilter gives a membership another filter; INCLUDE{} leaves the group.
func (s *udpSocket) setFilter(ln *lane, k group.Key, f group.Filter) syscall.Errno {
	if !f.Exclude && len(f.Sources) == 0 {
		return s.leave(ln, k)
	}
	m := s.member(k)
	switch {
	case m == nil:
		return syscall.EINVAL
	case len(f.Sources) > ln.sourcesMax(k):
		return syscall.ENOBUFS
	}
	e := s.listen(ln, m, f)
	if e == 0 {
		m.listed = len(f.Sources) > 0
	}
	return e
}

// MemberOf joins a group on an adapter for a datagram or raw socket, or leaves it
// (IP_ADD_MEMBERSHIP and so on). Without an adapter, index 0, it is the one by
// which the group is reached.
func (s *Socket) MemberOf(adapter int32, g netip.Addr, join bool) syscall.Errno {
	return s.grouped(adapter, g, func(ln *lane, k group.Key) syscall.Errno {
		if join {
			return s.udp.join(ln, k, group.Everything)
		}
		return s.udp.leave(ln, k)
	})
}

// SourceOf changes one source of a group for a socket (IP_ADD_SOURCE_MEMBERSHIP
// and so on). An adapter is named as for MemberOf. It fails with EINVAL if the
// group was not joined, or with sources of the other kind; with EADDRNOTAVAIL if
// the source is there already, or is not there; with ENOBUFS if there are too
// many.
func (s *Socket) SourceOf(adapter int32, g, src netip.Addr, op SourceOp) syscall.Errno {
	if src.Is4() != g.Is4() {
		return syscall.EADDRNOTAVAIL
	}
	return s.grouped(adapter, g, func(ln *lane, k group.Key) syscall.Errno { return s.udp.source(ln, k, src, op) })
}

// FilterOf says of which sources a socket wants a group that it has joined: of
// those listed, or of all but those (IP_MSFILTER, MCAST_MSFILTER). It wants none
// of a group that it leaves.
func (s *Socket) FilterOf(adapter int32, g netip.Addr, exclude bool, sources []netip.Addr) syscall.Errno {
	for _, src := range sources {
		if src.Is4() != g.Is4() {
			return syscall.EADDRNOTAVAIL
		}
	}
	return s.grouped(adapter, g, func(ln *lane, k group.Key) syscall.Errno {
		return s.udp.setFilter(ln, k, group.NewFilter(exclude, sources...))
	})
}

// FilterIn returns of which sources a socket wants a group: of those listed, in
// the order of addresses, or of all but those. It fails with EADDRNOTAVAIL if the
// socket has not joined the group.
func (s *Socket) FilterIn(adapter int32, g netip.Addr) (exclude bool, sources []netip.Addr, e syscall.Errno) {
	e = s.grouped(adapter, g, func(_ *lane, k group.Key) syscall.Errno {
		m := s.udp.member(k)
		if m == nil {
			return syscall.EADDRNOTAVAIL
		}
		exclude, sources = m.filter.Exclude, m.filter.Sources
		return 0
	})
	return exclude, slices.Clone(sources), e
}

// grouped does something about a group on an adapter.
func (s *Socket) grouped(adapter int32, g netip.Addr, do func(*lane, group.Key) syscall.Errno) syscall.Errno {
	return s.hold(func(ln *lane) syscall.Errno {
		if s.udp == nil || !g.IsMulticast() {
			return syscall.EINVAL
		}
		if adapter == 0 {
			var d dst
			if ln.routeFor(&d, g, 0, netip.Addr{}, &s.opt) == 0 {
				adapter = d.out.Index()
			}
		}
		if ln.conf.adapter(adapter) == nil {
			return syscall.ENODEV
		}
		defer ln.groupArm()
		return do(ln, group.Key{Adapter: adapter, Group: g.WithZone("")})
	})
}

// JoinGroup makes the host listen to a multicast group on an adapter, and tells
// routers (Linux: IP_ADD_MEMBERSHIP, IPV6_JOIN_GROUP). Sockets that are bound to
// the port get what is sent to it. Closing the socket leaves the group.
func (c *UDPConn) JoinGroup(adapter string, g netip.Addr) error {
	return c.grouped(adapter, g, func(ln *lane, k group.Key) syscall.Errno { return c.s.join(ln, k, group.Everything) })
}

// LeaveGroup undoes JoinGroup, or all that was done about the group's sources.
func (c *UDPConn) LeaveGroup(adapter string, g netip.Addr) error {
	return c.grouped(adapter, g, c.s.leave)
}

// SetGroupSource changes one source of a group for this socket; the group need
// not be joined for SourceJoin (RFC 3678 §4.1.3). The errors are those of
// [Socket.SourceOf].
func (c *UDPConn) SetGroupSource(adapter string, g, src netip.Addr, op SourceOp) error {
	return c.grouped(adapter, g, func(ln *lane, k group.Key) syscall.Errno {
		if src.Is4() != g.Is4() {
			return syscall.EADDRNOTAVAIL
		}
		return c.s.source(ln, k, src, op)
	})
}

// SetGroupFilter says of which sources this socket wants a group that it has
// joined: of those listed, or, with exclude, of all but those.
func (c *UDPConn) SetGroupFilter(adapter string, g netip.Addr, exclude bool, sources ...netip.Addr) error {
	return c.grouped(adapter, g, func(ln *lane, k group.Key) syscall.Errno {
		if slices.ContainsFunc(sources, func(a netip.Addr) bool { return a.Is4() != g.Is4() }) {
			return syscall.EADDRNOTAVAIL
		}
		return c.s.setFilter(ln, k, group.NewFilter(exclude, sources...))
	})
}

func (c *UDPConn) grouped(adapter string, g netip.Addr, do func(*lane, group.Key) syscall.Errno) error {
	ln := c.s.lane
	ln.lock()
	defer ln.unlock(nil)
	if c.s.isClosed() {
		return c.failSet()
	}
	a := ln.conf.byName(adapter)
	var e syscall.Errno
	switch {
	case a == nil:
		e = syscall.ENODEV
	case !g.IsMulticast():
		e = syscall.EINVAL
	default:
		e = do(ln, group.Key{Adapter: a.Index(), Group: g.WithZone("")})
		ln.groupArm()
	}
	if e != 0 {
		return c.fail("set", sysError("setsockopt", e), nil)
	}
	return nil
}
