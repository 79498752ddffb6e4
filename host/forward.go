package host

import (
	"github.com/towpath/towpath/firewall/hook"
	"github.com/towpath/towpath/link"
	"github.com/towpath/towpath/packet"
	"github.com/towpath/towpath/wire"
)

// forward sends a packet for somebody else on its way (RFC 1812 §5.2.1).
func (ln *lane) forward(in *link.Adapter, p *packet.Packet) {
	if p.Src.IsLinkLocalUnicast() || p.Dst.IsLinkLocalUnicast() || p.Dst == broadcast4 || p.Src.IsUnspecified() || p.Dst.IsUnspecified() {
		ln.drop(p, packet.ReasonForwardSource)
		return
	}
	if stationGroup(in, p) {
		ln.drop(p, packet.ReasonForwardStations) // RFC 1812 §5.3.4
		return
	}
	if p.TTL <= 1 {
		ln.icmpError(in, p, icmpTTL)
		ln.drop(p, packet.ReasonTTL)
		return
	}
	var d dst
	if r := ln.route(&d, p.Dst, 0); r != packet.NotDropped {
		if c, ok := routeCause(r); ok {
			ln.icmpError(in, p, c)
		}
		ln.drop(p, r)
		return
	}
	if p.Dst.Is4() && ln.conf.addrs.Broadcast(d.out.Index(), p.Dst) && ln.conf.link(d.out).BCForwarding == 0 {
		ln.drop(p, packet.ReasonDirectedBroadcast)
		return
	}
	if d.out == in {
		ln.redirectOut(in, p, &d)
	}
	if mtu := d.out.MTU(); ipLen(p) > mtu && !fragmentable(p) {
		ln.icmpError(in, p, icmpTooBig(mtu))
		ln.drop(p, packet.ReasonTooBig)
		return
	}
	// The TTL goes down only now: an error sent above quotes the packet as it
	// came.
	p.TTL--
	if p.Dst.Is4() {
		wire.IPv4(p.From(p.Net)).DecTTL()
		ln.recordForward(p, &d)
	} else {
		wire.IPv6(p.From(p.Net)).SetHopLimit(p.TTL)
	}
	if js := ln.conf.hooks.Packet[hook.Forward]; js != nil && !ln.judge(hook.Forward, js, in, d.out, p) {
		return
	}
	ln.stats.Forwarded++
	ln.postroute(p, &d)
}

// routeCause is what the sender of a packet is told that cannot be routed.
func routeCause(r packet.Reason) (c icmpCause, ok bool) {
	switch r {
	case packet.ReasonRouteBlackhole:
		return c, false
	case packet.ReasonRouteUnreachable:
		return icmpHost, true
	case packet.ReasonRouteProhibit:
		return icmpProhibited, true
	}
	return icmpNoRoute, true
}

// ipLen is the length of the largest IP packet that p is or will be cut into.
func ipLen(p *packet.Packet) int {
	if p.GSO.Type != packet.GSONone {
		return int(p.Data-p.Net) + int(p.GSO.Size)
	}
	return p.LenFrom(p.Net)
}
