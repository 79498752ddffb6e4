package host

import (
	"github.com/towpath/towpath/ip/frag"
	"github.com/towpath/towpath/link"
	"github.com/towpath/towpath/packet"
	"github.com/towpath/towpath/wire"
)

// reassemble takes a fragment for us and returns the packet it completes, nil
// while there is none.
func (ln *lane) reassemble(a *link.Adapter, p *packet.Packet) *packet.Packet {
	if ln.host.mem.exceeded(int64(p.Footprint()), ln.conf.set.MemoryMax) {
		ln.drop(p, packet.ReasonFragMemory)
		return nil
	}
	o := ln.host.frags.Add(ln.now, p, nil, (*fragSender)(ln))
	ln.scheduleLazily(&ln.fragTimer, ln.host.frags.Deadline())
	switch {
	case o.Reason != packet.NotDropped:
		if o.Problem.Due {
			ln.icmpError(a, p, icmpCause{type6: wire.ICMPv6ParamProblem, code6: o.Problem.Code, rest: o.Problem.Pointer})
		}
		ln.drop(p, o.Reason)
		return nil
	case o.Whole == nil:
		return nil
	case o.Whole.Proto == wire.ProtoFragment: // a Fragment header behind the first
		ln.drop(o.Whole, packet.ReasonIPFragment)
		return nil
	}
	o.Whole.FragMax = uint16(o.RecvFragMax)
	return o.Whole
}

func isFragment(p *packet.Packet) bool {
	return p.Src.Is4() && wire.IPv4(p.From(p.Net)).IsFragment() || p.Proto == wire.ProtoFragment
}

// fragSender lets the reassembly speak through the lane, which is locked when
// it does.
type fragSender lane

// Expired answers a datagram that did not come together in time, of which the
// first fragment has arrived (RFC 792, RFC 4443 §3.3). The fragment is lent.
func (s *fragSender) Expired(first *packet.Packet) {
	ln := (*lane)(s)
	if a := ln.conf.adapter(first.Ingress); a != nil {
		ln.icmpError(a, first, icmpReassembly)
	}
}

func (s *fragSender) GivenUp(p *packet.Packet, r packet.Reason) { (*lane)(s).drop(p, r) }

// fragmentOut cuts a packet that is larger than the path and sends the pieces
// (RFC 791 §3.2, RFC 8200 §4.5).
func (ln *lane) fragmentOut(p *packet.Packet, d *dst, mtu int) {
	var l packet.List
	if p.GSO.Type != packet.GSONone {
		if !packet.Segment(p, &l) {
			ln.drop(p, packet.ReasonFragmentSuper)
			return
		}
	} else {
		l.Push(p)
	}
	for p := l.Pop(); p != nil; p = l.Pop() {
		if p.LenFrom(p.Net) <= mtu {
			ln.linkOut(p, d)
			continue
		}
		var pieces packet.List
		if !frag.Cut(p, mtu, ln.host.fragIDs.Next(p.Src, p.Dst), &pieces) {
			ln.drop(p, packet.ReasonFragmentFailed)
			continue
		}
		for q := pieces.Pop(); q != nil; q = pieces.Pop() {
			ln.linkOut(q, d)
		}
	}
}

// fragmentable reports whether a packet that is too large for its path may be
// cut here: ours of either family, but for TCP, which makes shorter segments;
// others' of IPv4 without the mark that forbids it; and what came in fragments.
func fragmentable(p *packet.Packet) bool {
	if p.FragMax != 0 {
		return true
	}
	if p.Dst.Is6() {
		return p.Ingress == 0 && p.Proto != wire.ProtoTCP
	}
	return !wire.IPv4(p.From(p.Net)).DontFragment()
}
