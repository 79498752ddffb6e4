package nat

import (
	"github.com/towpath/towpath/firewall/conntrack"
	"github.com/towpath/towpath/packet"
)

func sourceOf(b *conntrack.Binding) source {
	o := &b.Original
	return source{o.Src, o.SrcPort, o.Proto, b.Zone}
}

// outsideOf is what the source of t looks like.
func outsideOf(t *packet.Tuple, zone uint16) endpoint {
	return endpoint{t.Src, t.SrcPort, t.Proto, zone}
}

// taken reports whether a new flow cannot become t.
func (n *NAT) taken(b *conntrack.Binding, t packet.Tuple) bool {
	return n.reserved(b, t) || b.Taken(t)
}

// reserved reports whether the source of t is another client's alone.
func (n *NAT) reserved(b *conntrack.Binding, t packet.Tuple) bool {
	if b.Side != conntrack.Source || len(n.outside) == 0 {
		return false
	}
	m := n.outside[outsideOf(&t, b.Zone)]
	return m != nil && m.inside != sourceOf(b)
}

// remember notes what a client looks like outside, for its next flows.
func (n *NAT) remember(b *conntrack.Binding, r *Range) {
	src, out := sourceOf(b), outsideOf(&b.Tuple, b.Zone)
	m := n.sources[src]
	if m == nil {
		if m = n.free; m != nil {
			n.free = m.next
		} else {
			m = new(mapping)
		}
		*m = mapping{n: n, inside: src, outside: out, exclusive: r.EndpointIndependent, open: r.Open}
		n.sources[src] = m
		if m.exclusive {
			n.outside[out] = m
		}
	}
	if m.outside == out {
		m.flows++
		b.Hold(m)
	}
}

// Release implements [conntrack.Holder].
func (m *mapping) Release() {
	if m.flows--; m.flows > 0 {
		return
	}
	n := m.n
	delete(n.sources, m.inside)
	if m.exclusive {
		delete(n.outside, m.outside)
	}
	m.next, n.free = n.free, m
}

// followed decides about flows that no rule is to be asked about: those that a
// translated flow has announced, and those to a client's open endpoint.
type followed NAT

func (f *followed) Choose(b *conntrack.Binding) conntrack.Choice {
	n := (*NAT)(f)
	if b.Follow.Set {
		if b.Side == conntrack.Destination {
			b.Tuple.Dst, b.Tuple.DstPort = b.Master.Src, b.Follow.Port
			return conntrack.Chosen
		}
		r := Range{Min: b.Master.Dst}.with()
		r.choose(n, b)
		return conntrack.Chosen
	}
	if b.Side == conntrack.Destination && len(n.outside) > 0 {
		t := &b.Tuple
		if m := n.outside[endpoint{t.Dst, t.DstPort, t.Proto, b.Zone}]; m != nil && m.open && portOf(t, b.Side) == &t.DstPort {
			t.Dst, t.DstPort = m.inside.addr, m.inside.port
			return conntrack.Chosen
		}
	}
	return conntrack.Undecided
}

// unruled decides about flows that no rule has: they stay what they are, unless
// that is taken.
type unruled NAT

func (u *unruled) Choose(b *conntrack.Binding) conntrack.Choice {
	n := (*NAT)(u)
	if b.Side == conntrack.Source && n.taken(b, b.Tuple) {
		r := Range{Min: b.Tuple.Src, Max: b.Tuple.Src}
		r.choose(n, b)
		if b.Tuple != b.Original {
			n.remember(b, &r)
		}
	}
	return conntrack.Chosen
}
