package nat

import (
	"fmt"
	"net/netip"
	"strings"

	"github.com/towpath/towpath/firewall/classify"
	"github.com/towpath/towpath/firewall/conntrack"
	"github.com/towpath/towpath/firewall/hook"
)

// A ruling is a Range as the statement of a rule.
type ruling struct {
	n    *NAT
	r    Range
	side conntrack.Side
}

// Translate is the statement that one side of new flows is translated into r
// (nft: snat, dnat, masquerade, redirect). It ends the walk through the rules.
// Rules with it are walked by a judge given to [NAT.AddChain], which says in
// classify.Input.Context what it was told.
func (n *NAT) Translate(side conntrack.Side, r Range) (*classify.Statement, error) {
	if err := r.check(side); err != nil {
		return nil, err
	}
	u := &ruling{n, r.with(), side}
	return &classify.Statement{
		Name:    u.String(),
		Do:      u.do,
		Verdict: classify.Verdict{Code: classify.Accept},
	}, nil
}

// Apply does what the statement of Translate does, with a range that a rule has
// found out about a packet. One that cannot be drops the packet.
func (n *NAT) Apply(in *classify.Input, side conntrack.Side, r Range) classify.Verdict {
	if r.check(side) != nil {
		return classify.Verdict{Code: classify.Drop}
	}
	return (&ruling{n, r.with(), side}).do(in)
}

func (r *Range) check(side conntrack.Side) error {
	switch {
	case r.Masquerade && side != conntrack.Source:
		return fmt.Errorf("nat: masquerading is about the source")
	case r.Redirect && side != conntrack.Destination:
		return fmt.Errorf("nat: redirecting is about the destination")
	case r.EndpointIndependent && side != conntrack.Source:
		return fmt.Errorf("nat: endpoint-independent mappings are about the source")
	case r.Open && !r.EndpointIndependent:
		return fmt.Errorf("nat: an open mapping must be endpoint-independent")
	case r.Max.IsValid() && (!r.Min.IsValid() || r.Min.Is4() != r.Max.Is4() || r.Max.Less(r.Min)):
		return fmt.Errorf("nat: no range of addresses: %v to %v", r.Min, r.Max)
	case r.Min.IsValid() && (r.Prefix.IsValid() || r.Masquerade || r.Redirect), r.Prefix.IsValid() && (r.Masquerade || r.Redirect):
		return fmt.Errorf("nat: addresses are given twice")
	case r.Min.Zone() != "" || r.Max.Zone() != "":
		return fmt.Errorf("nat: address %v has a zone", r.Min)
	case (r.PortMax != 0 || r.PortBase != 0) && r.PortMin == 0:
		return fmt.Errorf("nat: a range of ports begins with 1 or more")
	}
	return nil
}

// String is the statement in nft's words.
func (u *ruling) String() string {
	var b strings.Builder
	r := &u.r
	switch {
	case r.Masquerade:
		b.WriteString("masquerade")
	case r.Redirect:
		b.WriteString("redirect")
	case u.side == conntrack.Source:
		b.WriteString("snat to")
	default:
		b.WriteString("dnat to")
	}
	switch {
	case r.Prefix.IsValid():
		b.WriteString(" " + r.Prefix.String())
	case r.Min.IsValid() && r.Min != r.Max:
		fmt.Fprintf(&b, " %v-%v", r.Min, r.Max)
	case r.Min.IsValid():
		fmt.Fprintf(&b, " %v", r.Min)
	}
	if r.PortMin != 0 && r.PortMin == r.PortMax {
		fmt.Fprintf(&b, " port %d", r.PortMin)
	} else if r.PortMin != 0 {
		fmt.Fprintf(&b, " port %d-%d", r.PortMin, r.PortMax)
	}
	for _, f := range []struct {
		on   bool
		word string
	}{{r.Random, "fully-random"}, {r.Persistent, "persistent"}, {r.EndpointIndependent, "endpoint-independent"}, {r.Open, "open"}} {
		if f.on {
			b.WriteString(" " + f.word)
		}
	}
	return b.String()
}

func (u *ruling) do(in *classify.Input) classify.Verdict {
	p := in.Packet
	if p.Track.Conn == nil {
		return classify.Verdict{Code: classify.Accept}
	}
	var addr netip.Addr
	if u.r.Masquerade || u.r.Redirect {
		c, _ := in.Context.(*hook.Context)
		if c == nil {
			return classify.Verdict{Code: classify.Drop}
		}
		if addr = u.own(c, p.Src, p.Dst); !addr.IsValid() {
			return classify.Verdict{Code: classify.Drop}
		}
	}
	if !u.n.flows.Bind(p, in.Now, u.side, u, addr) {
		return classify.Verdict{Code: classify.Drop}
	}
	return classify.Verdict{Code: classify.Accept}
}

var (
	loopback4 = netip.AddrFrom4([4]byte{127, 0, 0, 1})
	loopback6 = netip.IPv6Loopback()
)

// own is this host's address that stands for another: to masquerade, that of
// the leaving adapter; to redirect, that of the adapter the packet came by.
func (u *ruling) own(c *hook.Context, src, dst netip.Addr) (a netip.Addr) {
	switch {
	case u.r.Masquerade && c.Out != nil:
		a, _ = c.Env.Source(c.Out.Index(), dst)
	case u.r.Redirect && c.Point == hook.Output && dst.Is4():
		a = loopback4
	case u.r.Redirect && c.Point == hook.Output:
		a = loopback6
	case u.r.Redirect && c.In != nil:
		a, _ = c.Env.Source(c.In.Index(), src)
	}
	return a
}

// Choose implements [conntrack.Chooser].
func (u *ruling) Choose(b *conntrack.Binding) conntrack.Choice {
	if b.Side != u.side {
		return conntrack.Impossible
	}
	r := u.r
	switch {
	case b.Addr.IsValid():
		r.Min, r.Max = b.Addr, b.Addr
	case r.Prefix.IsValid():
		if r.Prefix.Addr().Is4() != b.Tuple.Src.Is4() {
			return conntrack.Impossible
		}
		r.Min = mapNet(*addrOf(&b.Tuple, b.Side), r.Prefix)
		r.Max = r.Min
	}
	if r.Min.IsValid() && r.Min.Is4() != b.Tuple.Src.Is4() {
		return conntrack.Impossible
	}
	was := b.Tuple
	if m := u.n.sources[sourceOf(b)]; r.EndpointIndependent && m != nil && m.exclusive && r.hasAddr(m.outside.addr) {
		b.Tuple.Src, b.Tuple.SrcPort = m.outside.addr, m.outside.port
	} else {
		r.choose(u.n, b)
	}
	if b.Side == conntrack.Source && (b.Tuple != was || r.EndpointIndependent) {
		u.n.remember(b, &r)
	}
	return conntrack.Chosen
}
