package host

import (
	"net/netip"
	"slices"
	"syscall"

	"github.com/towpath/towpath/ip/group"
	"github.com/towpath/towpath/link"
	"github.com/towpath/towpath/packet"
	"github.com/towpath/towpath/wire"
)

// groupSender lets the membership table speak through the lane, which is locked
// when it does.
type groupSender lane

// Report sends an IGMP or MLD message (RFC 2236, RFC 2710) from the adapter's
// address, for IPv6 its link-local one.
func (s *groupSender) Report(adapter int32, g netip.Addr, k group.Kind) {
	ln := (*lane)(s)
	a := ln.conf.adapter(adapter)
	if a == nil || a.Capabilities().Loopback {
		return
	}
	src := netip.IPv4Unspecified()
	if g.Is6() {
		src = netip.IPv6Unspecified()
	}
	for _, x := range ln.conf.addrs.All() {
		ip := x.Prefix.Addr()
		if x.Adapter == adapter && ip.Is4() == g.Is4() && (ip.Is4() || ip.IsLinkLocalUnicast() && !x.Optimistic) {
			src = ip
			break
		}
	}
	p := ln.pool.Get()
	group.Message(p, src, g, k)
	if a.Capabilities().Medium == link.MediumEthernet {
		ln.ethernetOut(p, a, wire.MulticastMAC(p.Dst))
		return
	}
	p.Link = p.Start()
	ln.frameOut(p, a)
}

// groupArm keeps the memberships' timer.
func (ln *lane) groupArm() { ln.scheduleLazily(&ln.groupTimer, ln.host.groups.Deadline()) }

// nodeGroups joins the solicited-node groups of new IPv6 addresses and leaves
// those of old ones (RFC 4291 §2.7.1). It runs in the timer's hold: what it
// sends must not be sent while the configuration is being written.
func (ln *lane) nodeGroups() {
	var want []group.Key
	for _, a := range ln.conf.addrs.All() {
		if ip := a.Prefix.Addr(); ip.Is6() && !ip.IsLoopback() {
			if k := (group.Key{Adapter: a.Adapter, Group: wire.SolicitedNode(ip)}); !slices.Contains(want, k) {
				want = append(want, k)
			}
		}
	}
	for _, x := range ln.conf.proxies {
		if k := (group.Key{Adapter: x.adapter, Group: wire.SolicitedNode(x.ip)}); x.ip.Is6() && !slices.Contains(want, k) {
			want = append(want, k)
		}
	}
	for _, k := range ln.nodes {
		if !slices.Contains(want, k) {
			ln.host.groups.Leave(ln.now, k.Adapter, k.Group, (*groupSender)(ln))
		}
	}
	for _, k := range want {
		if !slices.Contains(ln.nodes, k) {
			ln.host.groups.Join(ln.now, k.Adapter, k.Group, (*groupSender)(ln))
		}
	}
	ln.nodes = want
}

// groupsSoon has the solicited-node groups looked at in a hold of their own.
func (ln *lane) groupsSoon() {
	ln.lock()
	defer ln.unlock(nil)
	ln.schedule(&ln.groupTimer, ln.now)
}

// membershipIn takes an IGMP or MLD message.
func (ln *lane) membershipIn(p *packet.Packet, r packet.Reason) {
	ln.groupArm()
	if r != packet.NotDropped {
		ln.drop(p, r)
		return
	}
	ln.pool.Free(p)
}

// JoinGroup makes the host listen to a multicast group on an adapter, and tells
// routers (Linux: IP_ADD_MEMBERSHIP, IPV6_JOIN_GROUP). Sockets that are bound to
// the port get what is sent to it. Closing the socket leaves the group.
func (c *UDPConn) JoinGroup(adapter string, g netip.Addr) error {
	return c.membership(adapter, g, (*udpSocket).join)
}

// LeaveGroup undoes JoinGroup.
func (c *UDPConn) LeaveGroup(adapter string, g netip.Addr) error {
	return c.membership(adapter, g, (*udpSocket).leave)
}

func (c *UDPConn) membership(adapter string, g netip.Addr, do func(*udpSocket, *lane, group.Key) syscall.Errno) error {
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
		e = do(c.s, ln, group.Key{Adapter: a.Index(), Group: g.WithZone("")})
		ln.groupArm()
	}
	if e != 0 {
		return c.fail("set", sysError("setsockopt", e), nil)
	}
	return nil
}

// MemberOf joins a group on an adapter for a datagram or raw socket, or leaves it
// (IP_ADD_MEMBERSHIP and so on). Without an adapter, index 0, it is the one by
// which the group is reached.
func (s *Socket) MemberOf(adapter int32, g netip.Addr, join bool) syscall.Errno {
	return s.hold(func(ln *lane) syscall.Errno {
		if s.udp == nil {
			return syscall.EINVAL
		}
		if !g.IsMulticast() {
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
		k := group.Key{Adapter: adapter, Group: g.WithZone("")}
		if join {
			return s.udp.join(ln, k)
		}
		return s.udp.leave(ln, k)
	})
}

func (s *udpSocket) join(ln *lane, k group.Key) syscall.Errno {
	if slices.Contains(s.joined, k) {
		return syscall.EADDRINUSE
	}
	if len(s.joined) >= groupsMax || !ln.host.groups.Join(ln.now, k.Adapter, k.Group, (*groupSender)(ln)) {
		return syscall.ENOBUFS
	}
	s.joined = append(s.joined, k)
	return 0
}

// groupsMax bounds the groups of one socket (Linux: igmp_max_memberships, which
// is smaller).
const groupsMax = 256

func (s *udpSocket) leave(ln *lane, k group.Key) syscall.Errno {
	i := slices.Index(s.joined, k)
	if i < 0 {
		return syscall.EADDRNOTAVAIL
	}
	s.joined = slices.Delete(s.joined, i, i+1)
	ln.host.groups.Leave(ln.now, k.Adapter, k.Group, (*groupSender)(ln))
	return 0
}

// leaveGroups leaves what the socket has joined.
func (s *udpSocket) leaveGroups(ln *lane) {
	for _, k := range s.joined {
		ln.host.groups.Leave(ln.now, k.Adapter, k.Group, (*groupSender)(ln))
	}
	s.joined = nil
	ln.groupArm()
}
