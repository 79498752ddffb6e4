package host

import (
	"encoding/binary"

	"github.com/towpath/towpath/firewall/hook"
	"github.com/towpath/towpath/ip/route"
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
	key := route.Key{Dst: p.Dst, Src: p.Src, In: in.Index(), Mark: p.Mark, TOS: p.TOS}
	if r := ln.routeBy(&d, &key, 0, ln.forwardHash(p)); r != packet.NotDropped {
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
	if mtu := d.linkMTU(); ipLen(p) > mtu && !fragmentable(p) || int(p.FragMax) > mtu && !mayCut(p) {
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

// forwardHash is that of the flow of a packet of others (RFC 2992).
func (ln *lane) forwardHash(p *packet.Packet) uint32 {
	var more uint64
	if ln.conf.set.MultipathL4 && (p.Proto == wire.ProtoTCP || p.Proto == wire.ProtoUDP) {
		if b := p.From(p.Transport); len(b) >= 4 {
			more = uint64(p.Proto)<<16 | uint64(binary.BigEndian.Uint16(b)^binary.BigEndian.Uint16(b[2:]))
		}
	}
	return ln.flowHash(p.Src, p.Dst, more)
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

// mayCut reports whether the fragments that a packet came in might have been
// cut on their way.
func mayCut(p *packet.Packet) bool { return p.Dst.Is4() && !wire.IPv4(p.From(p.Net)).DontFragment() }

// ipLen is the length of the largest IP packet that p is or will be cut into.
func ipLen(p *packet.Packet) int {
	if p.GSO.Type != packet.GSONone {
		return int(p.Data-p.Net) + int(p.GSO.Size)
	}
	return p.LenFrom(p.Net)
}
