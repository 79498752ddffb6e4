package conntrack

import (
	"net/netip"

	"github.com/towpath/towpath/packet"
	"github.com/towpath/towpath/wire"
)

// icmpTypeMax is the last type of ICMP that is not unassigned or experimental
// (Linux: NR_ICMP_TYPES).
const icmpTypeMax = 18

// isICMPError reports whether a message is about another packet, or is none
// that can begin or continue a flow: related looks at both.
func isICMPError(k *key) bool {
	switch k.proto() {
	case wire.ProtoICMP:
		switch t := wire.ICMPv4Type(k[keyDstPort]); t {
		case wire.ICMPv4Unreachable, wire.ICMPv4SourceQuench, wire.ICMPv4TimeExceeded, wire.ICMPv4ParamProblem, wire.ICMPv4Redirect:
			return true
		default:
			return t > icmpTypeMax
		}
	case wire.ProtoICMPv6:
		return k[keyDstPort] < 128
	}
	return false
}

// A Quote is what an ICMP error says of the packet that it is about.
type Quote struct {
	Tuple     packet.Tuple
	Net       int // offset of its IP header from the ICMP header
	Transport int // of its transport header
	Len       int // bytes of the transport header that are there, in the linear part
}

// ReadQuote reads what the ICMP error p, whose header is at p.Transport, quotes,
// and reports whether that is enough to know the flow by.
func ReadQuote(p *packet.Packet) (q Quote, ok bool) {
	p.Linear(min(p.Len(), p.LinearMax()))
	b := p.From(p.Transport)
	if len(b) < wire.ICMPLen {
		return q, false
	}
	q.Net = wire.ICMPLen
	b = b[wire.ICMPLen:]
	var src, dst netip.Addr
	var proto wire.Proto
	var n int
	if p.Src.Is4() {
		ip := wire.IPv4(b)
		if len(b) < wire.IPv4Len || b[0]>>4 != 4 || ip.HeaderLen() < wire.IPv4Len || len(b) < ip.HeaderLen() || ip.FragOffset() != 0 {
			return q, false
		}
		src, dst, proto, n = ip.Src(), ip.Dst(), ip.Proto(), ip.HeaderLen()
	} else {
		ip := wire.IPv6(b)
		if len(b) < wire.IPv6Len || b[0]>>4 != 6 {
			return q, false
		}
		src, dst, proto, n = ip.Src(), ip.Dst(), ip.NextHeader(), wire.IPv6Len
		if proto.IsExtension() {
			x, bad := wire.WalkExtensions(b[n:], proto)
			if bad != wire.ExtOK || x.FragOffset != 0 || len(b) < n+x.Len {
				return q, false
			}
			proto, n = x.Proto, n+x.Len
		}
	}
	q.Transport, q.Len = q.Net+n, len(b)-n
	var k key
	k.setAddrs(src, dst)
	if !k.setTransport(proto, b[n:]) {
		return q, false
	}
	q.Tuple = k.tuple()
	return q, true
}

// related finds the flow of the packet that an ICMP error is about.
func (t *Table) related(p *packet.Packet, now instant) bool {
	q, ok := ReadQuote(p)
	if !ok {
		return false
	}
	// The quoted packet has met us on its way out already, so it looks as the
	// answers to it do, turned round.
	k := keyOf(q.Tuple, p.Track.Zone)
	k, ok = k.reverse()
	if !ok {
		return false
	}
	n := t.find(&k, now)
	// The error goes to the sender of the packet, or lies (Linux: "icmp header
	// mismatch").
	if n == nil || n.key.dst() != p.Dst {
		return false
	}
	e := n.of
	p.Track.Conn, p.Track.Gen, p.Track.Reply = e, e.gen, n.dir == reply
	p.Track.State = packet.TrackRelated
	return true
}
