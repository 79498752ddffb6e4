package nft

import (
	"net/netip"
	"slices"

	"github.com/towpath/towpath/firewall/classify"
	"github.com/towpath/towpath/firewall/conntrack"
	"github.com/towpath/towpath/firewall/nat"
)

// A translation is what a NAT statement says. What is the same for all packets
// stands in fixed; the rest is in registers, one value behind the other.
type translation struct {
	nat    *nat.NAT
	side   conntrack.Side
	family string // whose packets are translated: ip, ip6, or both if empty
	prefix bool
	fixed  nat.Range
	parts  []natPart
}

// A natPart is a value in registers, or two that are the bounds of a range.
type natPart struct {
	at, len int // bytes
	hi      int // where the upper bound is; at if there is none
	port    bool
}

// nat makes a translation.
func (g *generator) nat(n *NAT) error {
	if g.config.NAT == nil {
		return g.cannot("%s needs address translation, and there is none here", n.Kind)
	}
	x := &translation{nat: g.config.NAT, side: conntrack.Destination, prefix: n.Prefix}
	if n.Kind == "snat" || n.Kind == "masquerade" {
		x.side = conntrack.Source
	}
	if g.table.Family == Inet {
		x.family = n.Family
	}
	x.fixed = nat.Range{
		Masquerade: n.Kind == "masquerade", Redirect: n.Kind == "redirect",
		Random:     slices.Contains(n.Flags, "random") || slices.Contains(n.Flags, "fully-random"),
		Persistent: slices.Contains(n.Flags, "persistent"),
	}
	at := 0
	for i, e := range []Expr{n.Addr, n.Port} {
		if e == nil {
			continue
		}
		var err error
		if at, err = g.natValue(x, e, at, i == 1); err != nil {
			return err
		}
	}
	s, err := x.nat.Translate(x.side, x.fixed)
	if err != nil {
		return g.cannot("%v", err)
	}
	if x.parts == nil {
		do := s.Do
		s.Do = func(in *classify.Input) classify.Verdict {
			if !x.about(in) {
				return classify.Verdict{}
			}
			return do(in)
		}
		g.emit(s)
		return nil
	}
	g.emit(&classify.Store{Name: n.Kind, Src: reg, Len: uint8(at), Do: x.do, Verdict: classify.Verdict{Code: classify.Accept}})
	return nil
}

// natValue takes an address or a port: a constant, or what is to be loaded into
// the registers from byte at on. It returns where they are free again.
func (g *generator) natValue(x *translation, e Expr, at int, port bool) (int, error) {
	switch e := e.(type) {
	case *Value, *Range, *Prefix:
		lo, hi := bounds(e)
		x.set(&x.fixed, lo, hi, port)
		return at, nil
	case *MapOf:
		return g.natMap(x, e, at, port)
	}
	g.needs(e)
	if err := g.load(e, reg+classify.Reg(at/4)); err != nil {
		return at, err
	}
	n := e.typ().width()
	x.parts = append(x.parts, natPart{at, n, at, port})
	return at + round4(n), nil
}

// natMap takes what a map has: an address, a port, or both, each perhaps a
// range. The lower bounds stand before all upper ones.
func (g *generator) natMap(x *translation, e *MapOf, at int, port bool) (int, error) {
	dst := reg + classify.Reg(at/4)
	g.needs(e.Key)
	set, err := g.lookup(e.Key, e.Set, []*Type{e.data}, "", dst)
	if err != nil {
		return at, err
	}
	g.emit(classify.Lookup{Set: set.Set, Src: dst, Dst: dst})
	n := dataLen(set.data)
	step := 0
	if set.ranges {
		step = round4(n)
	}
	for _, t := range set.data {
		w := t.width()
		x.parts = append(x.parts, natPart{at, w, at + step, port || t.Name == "inet_service"})
		at += round4(w)
	}
	return at + step, nil
}

// about reports whether a packet is of the family that is translated.
func (x *translation) about(in *classify.Input) bool {
	return x.family == "" || (x.family == string(IP)) == in.Packet.Src.Is4()
}

// set puts an address or port between two bounds into r.
func (x *translation) set(r *nat.Range, lo, hi []byte, port bool) {
	if port {
		r.PortMin, r.PortMax = uint16(number(lo)), uint16(number(hi))
		return
	}
	a, _ := netip.AddrFromSlice(lo)
	b, _ := netip.AddrFromSlice(hi)
	if !x.prefix {
		r.Min, r.Max = a, b
		return
	}
	n := a.BitLen()
	for n > 0 {
		if p, _ := a.Prefix(n); p.Contains(b) {
			break
		}
		n--
	}
	r.Prefix = netip.PrefixFrom(a, n)
}

// do translates to what stands in registers.
func (x *translation) do(in *classify.Input, v []byte) (classify.Verdict, bool) {
	if !x.about(in) {
		return classify.Verdict{}, true
	}
	r := x.fixed
	for _, p := range x.parts {
		x.set(&r, v[p.at:p.at+p.len], v[p.hi:p.hi+p.len], p.port)
	}
	return x.nat.Apply(in, x.side, r), true
}
