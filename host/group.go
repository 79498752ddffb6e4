package host

import (
	"net/netip"
	"slices"
	"time"

	"github.com/towpath/towpath/ip/group"
	"github.com/towpath/towpath/link"
	"github.com/towpath/towpath/packet"
	"github.com/towpath/towpath/wire"
)

// groupSender lets the membership table speak through the lane, which is locked
// when it does.
type groupSender lane

// Link says how to speak of groups on an adapter, by the settings of it.
func (s *groupSender) Link(adapter int32, v6 bool) group.Link {
	ln := (*lane)(s)
	a := ln.conf.adapter(adapter)
	if a == nil {
		return group.Link{}
	}
	set, own := &ln.conf.set, ln.conf.link(a)
	if !v6 {
		return group.Link{
			MTU: a.MTU(), LocalQuiet: set.IGMPLocalQuiet, Robustness: set.IGMPRobustness, Version: group.Version(own.ForceIGMPVersion),
			Repeat2: milliseconds(own.IGMPv2Interval), Repeat3: milliseconds(own.IGMPv3Interval),
		}
	}
	l := group.Link{
		MTU: a.MTU(), Robustness: set.MLDRobustness, Strict: own.ForceMLDVersion == 2,
		Repeat2: milliseconds(own.MLDv1Interval), Repeat3: milliseconds(own.MLDv2Interval),
	}
	if own.ForceMLDVersion == 1 {
		l.Version = group.V2
	}
	return l
}

func milliseconds(n int) time.Duration { return time.Duration(n) * time.Millisecond }

// Send sends an IGMP or MLD message from the adapter's address, for IPv6 its
// link-local one as soon as that is known to be its own.
func (s *groupSender) Send(adapter int32, m *group.Message) {
	ln := (*lane)(s)
	a := ln.conf.adapter(adapter)
	if a == nil || a.Capabilities().Loopback {
		return
	}
	p := ln.pool.Get()
	m.Put(p, ln.reporter(adapter, m.Kind.V6()))
	if a.Capabilities().Medium == link.MediumEthernet {
		ln.ethernetOut(p, a, wire.MulticastMAC(p.Dst))
		return
	}
	p.Link = p.Start()
	ln.frameOut(p, a)
}

// reporter is the address from which an adapter tells of its groups, the
// unspecified one if it has none.
func (ln *lane) reporter(adapter int32, v6 bool) netip.Addr {
	for _, x := range ln.conf.addrs.All() {
		ip := x.Prefix.Addr()
		if x.Adapter == adapter && ip.Is6() == v6 && (!v6 || ip.IsLinkLocalUnicast() && !x.Optimistic) {
			return ip
		}
	}
	if v6 {
		return netip.IPv6Unspecified()
	}
	return netip.IPv4Unspecified()
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
	ln.announceGroups()
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

// announceGroups tells of the groups of adapters that have got a link-local
// address: what they said without one is not for routers (RFC 3590 §4, RFC 3810
// §5.2.13).
func (ln *lane) announceGroups() {
	var named []int32
	for _, a := range ln.conf.adapters {
		if a != nil && !ln.reporter(a.Index(), true).IsUnspecified() {
			named = append(named, a.Index())
		}
	}
	for _, i := range named {
		if !slices.Contains(ln.named, i) {
			ln.host.groups.Announce(ln.now, i, true, (*groupSender)(ln))
		}
	}
	ln.named = named
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
