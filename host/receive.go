package host

import (
	"github.com/towpath/towpath/firewall/hook"
	"github.com/towpath/towpath/ip/route"
	"github.com/towpath/towpath/link"
	"github.com/towpath/towpath/packet"
	"github.com/towpath/towpath/wire"
)

// frameIn is where a received packet enters the walk.
func (ln *lane) frameIn(a *link.Adapter, p *packet.Packet) {
	if !a.Capabilities().Loopback {
		// A cable brings the packets of its other end themselves: what was
		// known of one there means nothing here.
		p.Flow, p.Mark, p.Track = nil, 0, packet.Track{}
	}
	if js := ln.conf.hooks.Packet[hook.Ingress]; js != nil && !ln.judge(hook.Ingress, js, a, nil, p) {
		return
	}
	ln.frame(a, p)
}

// frame switches on the adapter's medium.
func (ln *lane) frame(a *link.Adapter, p *packet.Packet) {
	if a.Capabilities().Medium == link.MediumEthernet {
		ln.ethernetIn(a, p)
		return
	}
	p.Net = p.Start()
	switch b := p.Head(); {
	case len(b) > 0 && b[0]>>4 == 4:
		ln.ipv4In(a, p)
	case len(b) > 0 && b[0]>>4 == 6:
		ln.ipv6In(a, p)
	default:
		ln.drop(p, packet.ReasonIPVersion)
	}
}

// ethernetIn takes frames for this station and switches on their EtherType.
func (ln *lane) ethernetIn(a *link.Adapter, p *packet.Packet) {
	eth := wire.Ethernet(p.Head())
	if !eth.Valid() {
		ln.drop(p, packet.ReasonEthernetShort)
		return
	}
	p.Link = p.Start()
	if dst := eth.Dst(); dst != a.MAC() && dst[0]&1 == 0 {
		ln.drop(p, packet.ReasonEthernetNotForUs)
		return
	}
	p.Pull(wire.EthernetLen)
	p.Net = p.Start()
	switch eth.Type() {
	case wire.EtherTypeIPv4:
		ln.ipv4In(a, p)
	case wire.EtherTypeIPv6:
		ln.ipv6In(a, p)
	case wire.EtherTypeARP:
		ln.arpIn(a, p)
	default:
		ln.drop(p, packet.ReasonEtherType)
	}
}

// ipv4In checks an IPv4 header once and takes down what it says. After it the
// families stay together.
func (ln *lane) ipv4In(a *link.Adapter, p *packet.Packet) {
	ln.stats.IPv4.Received++
	size := p.Len()
	if !p.Linear(wire.IPv4Len) || !p.Linear(wire.IPv4(p.Head()).HeaderLen()) || !wire.IPv4(p.Head()).Valid(size) {
		ln.drop(p, packet.ReasonIPMalformed)
		return
	}
	ip := wire.IPv4(p.Head())
	if !ip.ChecksumOK() {
		ln.drop(p, packet.ReasonIPChecksum)
		return
	}
	if n := ip.TotalLen(); n < size {
		p.Truncate(n) // link padding
	}
	p.Src, p.Dst = ip.Src(), ip.Dst()
	p.Proto, p.TTL, p.TOS = ip.Proto(), ip.TTL(), ip.TOS()
	p.Transport = p.Net + uint16(ip.HeaderLen())
	// RFC 1122 §3.2.1.3: what cannot be a source is not believed. 0.0.0.0 is
	// that of a host that does not know its address yet.
	if src := ip[12:16]; src[0] >= 224 || src[0] == 127 && !a.Capabilities().Loopback || ln.conf.addrs.Broadcast(a.Index(), p.Src) {
		ln.drop(p, packet.ReasonIPSource)
		return
	}
	if ip[16] == 127 && !a.Capabilities().Loopback {
		ln.drop(p, packet.ReasonLoopback)
		return
	}
	if ip.HeaderLen() > wire.IPv4Len && !ln.optionsIn(a, p, ip) {
		return
	}
	ln.ipIn(a, p)
}

// ipv6In does for IPv6 what ipv4In does, extension headers included.
func (ln *lane) ipv6In(a *link.Adapter, p *packet.Packet) {
	ln.stats.IPv6.Received++
	size := p.Len()
	if !p.Linear(wire.IPv6Len) || !wire.IPv6(p.Head()).Valid(size) {
		ln.drop(p, packet.ReasonIPMalformed)
		return
	}
	ip := wire.IPv6(p.Head())
	if n := ip.TotalLen(); n < size {
		p.Truncate(n)
	}
	p.Src, p.Dst = ip.Src(), ip.Dst()
	p.Proto, p.TTL, p.TOS = ip.NextHeader(), ip.HopLimit(), ip.TrafficClass()
	p.Transport = p.Net + wire.IPv6Len
	if p.Src.IsMulticast() || p.Src.IsLoopback() && !a.Capabilities().Loopback || p.Src.Is4In6() || p.Dst.Is4In6() {
		ln.drop(p, packet.ReasonIPSource)
		return
	}
	// Groups of the interface's scope, and of the reserved one below it, are
	// never on a wire (RFC 4291 §2.7).
	here := p.Dst.IsLoopback() || ip[24] == 0xff && ip[25]&15 <= 1
	if here && !a.Capabilities().Loopback {
		ln.drop(p, packet.ReasonLoopback)
		return
	}
	switch p.Proto {
	case wire.ProtoTCP, wire.ProtoUDP, wire.ProtoICMPv6:
	default:
		if !ln.extensionsIn(p) {
			return
		}
	}
	ln.ipIn(a, p)
}

// extensionsIn walks an IPv6 packet's extension headers. Packets of which the
// chain does not fit a packet's linear part are refused. It reports whether p
// goes on.
func (ln *lane) extensionsIn(p *packet.Packet) bool {
	if !p.Proto.IsExtension() {
		return true
	}
	p.Linear(min(p.Len(), p.LinearMax()))
	x, bad := wire.WalkExtensions(p.From(p.Transport), p.Proto)
	if bad != wire.ExtOK {
		if code, ok := bad.ParamProblem(); ok {
			ln.icmpError(nil, p, icmpCause{code6: code, type6: wire.ICMPv6ParamProblem, rest: x.Pointer()})
		}
		ln.drop(p, packet.ReasonIPExtension)
		return false
	}
	p.Proto = x.Proto
	p.Transport += uint16(x.Len)
	if x.Fragment && !x.Atomic() {
		p.Proto = wire.ProtoFragment
	}
	return !x.HopByHop || ln.hopByHopIn(p)
}

// ipIn is where the families meet.
func (ln *lane) ipIn(a *link.Adapter, p *packet.Packet) {
	if js := ln.conf.hooks.Packet[hook.Prerouting]; js != nil {
		if isFragment(p) && js.Has(hook.Defragment) {
			if p = ln.reassemble(a, p); p == nil {
				return
			}
		}
		if !ln.judge(hook.Prerouting, js, a, nil, p) {
			return
		}
	}
	ln.direct(a, p)
}

// direct decides where a packet goes: up, on, or nowhere.
func (ln *lane) direct(a *link.Adapter, p *packet.Packet) {
	if p.Src.Is4() && !a.Capabilities().Loopback && !ln.unlooped && !ln.sourceIn(a, p) {
		return
	}
	switch {
	case ln.forUs(a, p):
		ln.deliver(a, p)
	case p.Dst.IsMulticast():
		ln.drop(p, packet.ReasonGroup)
	case ln.conf.set.Forward:
		ln.forward(a, p)
	default:
		ln.drop(p, packet.ReasonNotForUs)
	}
}

// sourceIn looks at where an IPv4 packet claims to come from: not from here,
// and, if the adapter filters, not from where its answer would not go (RFC
// 3704). It reports whether p goes on.
func (ln *lane) sourceIn(a *link.Adapter, p *packet.Packet) bool {
	l := ln.conf.link(a)
	if _, ours := ln.conf.addrs.Local(p.Src); ours && l.AcceptLocal == 0 {
		ln.drop(p, packet.ReasonSourceOurs)
		return false
	}
	if l.RPFilter == 0 || p.Src.IsUnspecified() {
		return true
	}
	var d dst
	back := route.Key{Dst: p.Src, Src: p.Dst, In: a.Index(), TOS: p.TOS}
	if r := ln.routeBy(&d, &back, 0, 0); r != packet.NotDropped || l.RPFilter == 1 && d.out != a {
		ln.drop(p, packet.ReasonReversePath)
		return false
	}
	return true
}

// forUs reports whether a packet is to be delivered here: to one of our
// addresses, whichever adapter has it (the weak host model), or to a group or
// network that we are part of.
func (ln *lane) forUs(a *link.Adapter, p *packet.Packet) bool {
	if _, ok := ln.conf.addrs.Local(p.Dst); ok {
		return true
	}
	if p.Dst.IsMulticast() {
		return ln.inGroup(a, p)
	}
	if p.Dst.Is4() {
		return p.Dst.IsLoopback() || p.Dst == broadcast4 || ln.conf.addrs.Broadcast(a.Index(), p.Dst)
	}
	return false
}

// inGroup reports whether we listen to a multicast address: all hosts, and the
// solicited-node groups of our addresses.
func (ln *lane) inGroup(a *link.Adapter, p *packet.Packet) bool {
	if p.Dst == allNodes4 || p.Dst == allNodes6 || ln.host.groups.Member(a.Index(), p.Dst) {
		return true
	}
	if p.Dst.Is6() {
		for _, x := range ln.conf.addrs.All() {
			if x.Adapter == a.Index() && x.Prefix.Addr().Is6() && wire.SolicitedNode(x.Prefix.Addr()) == p.Dst {
				return true
			}
		}
	}
	return false
}

// deliver takes a packet that is for us.
func (ln *lane) deliver(a *link.Adapter, p *packet.Packet) {
	if js := ln.conf.hooks.Packet[hook.LocalRx]; js != nil && !ln.judge(hook.LocalRx, js, a, nil, p) {
		return
	}
	ln.reassembled(a, p)
}

// reassembled goes on with a packet that is whole; fragments wait here for the
// rest.
func (ln *lane) reassembled(a *link.Adapter, p *packet.Packet) {
	if isFragment(p) {
		if p = ln.reassemble(a, p); p == nil {
			return
		}
	}
	if p.Src.Is6() && int(p.Transport) > int(p.Net)+wire.IPv6Len && !ln.headersIn(a, p) {
		return
	}
	if js := ln.conf.hooks.Packet[hook.Input]; js != nil && !ln.judge(hook.Input, js, a, nil, p) {
		return
	}
	ln.transportIn(a, p)
}

// transportIn hands a packet to its transport protocol.
func (ln *lane) transportIn(a *link.Adapter, p *packet.Packet) {
	ln.stats.ip(p.Src).Delivered++
	p.Pull(int(p.Transport - p.Start()))
	heard := len(ln.raws) != 0 && ln.rawIn(p)
	switch p.Proto {
	case wire.ProtoTCP:
		ln.tcpIn(a, p)
	case wire.ProtoUDP:
		ln.udpIn(a, p)
	case wire.ProtoICMP:
		ln.icmpv4In(a, p)
	case wire.ProtoICMPv6:
		ln.icmpv6In(a, p)
	case wire.ProtoIGMP:
		ln.membershipIn(p, ln.host.groups.IGMPIn(ln.now, p, (*groupSender)(ln)))
	default:
		if b := ln.conf.transport(p.Proto); b != nil {
			b.t.Receive(&TransportContext{ln, b, a}, p)
			return
		}
		if heard {
			ln.pool.Free(p)
			return
		}
		c := icmpProtocol
		if p.Src.Is6() {
			c.rest = nextHeaderAt(p)
		}
		if p.Proto != wire.ProtoNoNext || p.Src.Is4() { // which is nothing to complain of (RFC 8200 §4.7)
			ln.icmpError(a, p, c)
		}
		ln.drop(p, packet.ReasonProtocol)
	}
}

// nextHeaderAt is the offset in the IPv6 packet p of the byte that names its
// transport protocol.
func nextHeaderAt(p *packet.Packet) uint32 {
	x, _ := wire.WalkExtensions(p.From(p.Net+wire.IPv6Len), wire.IPv6(p.From(p.Net)).NextHeader())
	return uint32(wire.IPv6Len + x.NamedAt)
}

// judge lets the judges of a point look at p and reports whether p goes on. If
// it does not, it is not the caller's any more.
func (ln *lane) judge(at hook.Point, js hook.Judges[hook.PacketJudge], in, out *link.Adapter, p *packet.Packet) bool {
	ln.judging = hook.Context{Point: at, Now: ln.now, In: in, Out: out, Env: (*env)(ln), Queuer: ln.conf.hooks.Queuer}
	switch hook.Run(js, &ln.judging, p) {
	case hook.Accept:
		return true
	case hook.Stolen:
		ln.drops[packet.ReasonStolen]++
	default:
		if r := ln.judging.Refusal; r.Reset || r.Unreachable {
			rule := ln.judging.Rule
			ln.tellRefusal(in, p, r)
			ln.judging.Rule = rule // the answer has been judged meanwhile
		}
		ln.drop(p, packet.ReasonRule)
	}
	return false
}
