package lab

import (
	"net/netip"
	"strings"
)

// check finds the mistakes that show only when the whole file has been read.
func (d *diagnostics) check(s *Spec) {
	d.checkNames(s)
	d.checkAddresses(s)
	for _, n := range s.Nodes {
		d.checkOverlap(n)
	}
	for _, n := range s.Nodes {
		for _, i := range n.Interfaces {
			if i.Link == nil && len(d.errors) == 0 {
				d.errorf(i.Pos, "interface %s is on no link; add one to links, {endpoints: [\"%s\", \"NODE:INTERFACE\"]}, or take it out", i, i)
			}
		}
		for _, r := range n.Routes {
			d.checkRoute(s, n, r)
		}
	}
	d.checkSwitches(s)
}

func (d *diagnostics) checkNames(s *Spec) {
	seen := map[string]*Node{}
	for _, n := range s.Nodes {
		key := strings.ToLower(n.Name)
		if o := seen[key]; o != nil {
			d.errorf(n.Pos, "node %s has the name of %s on line %d, for names are not case sensitive; write another", n.Name, o.Name, o.Line)
		}
		seen[key] = n
	}
	for _, w := range s.Switches {
		key := strings.ToLower(w.Name)
		if o := seen[key]; o != nil {
			d.errorf(w.Pos, "switch %s has the name of %s on line %d; write another", w.Name, o.Name, o.Line)
		}
		seen[key] = w.Node
	}
}

func (d *diagnostics) checkAddresses(s *Spec) {
	type owner struct {
		i *Interface
		p Pos
	}
	seen := map[netip.Addr]owner{}
	for _, n := range s.Nodes {
		for _, i := range n.Interfaces {
			for _, a := range i.Addresses {
				if o, dup := seen[a.Addr()]; dup {
					d.errorf(a.Pos, "address %s is that of %s on line %d already; write another", a.Addr(), o.i, o.p.Line)
					continue
				}
				seen[a.Addr()] = owner{i, a.Pos}
			}
		}
	}
}

// checkOverlap makes sure that a node knows which interface leads to a network.
func (d *diagnostics) checkOverlap(n *Node) {
	for k, i := range n.Interfaces {
		for _, j := range n.Interfaces[k+1:] {
			if a, b, ok := overlap(i, j); ok {
				d.errorf(b.Pos, "network %s of %s overlaps with %s of %s on line %d; give the interfaces networks of their own", b.Masked(), j, a.Masked(), i, a.Line)
			}
		}
	}
}

// overlap finds the first networks of two interfaces that have addresses in
// common.
func overlap(i, j *Interface) (a, b Address, ok bool) {
	for _, a := range i.Addresses {
		for _, b := range j.Addresses {
			if a.Overlaps(b.Prefix) && a.Addr() != b.Addr() { // that has been said
				return a, b, true
			}
		}
	}
	return a, b, false
}

// checkLink looks at the ends of a link together.
func (d *diagnostics) checkLink(l *Link) {
	a, b := l.Ends[0], l.Ends[1]
	common := len(a.Addresses) == 0 || len(b.Addresses) == 0
	for _, x := range a.Addresses {
		for _, y := range b.Addresses {
			common = common || x.Masked() == y.Masked()
		}
	}
	if !common {
		d.errorf(l.Pos, "%s (%s) and %s (%s) have no network in common; give both ends addresses of one network", a, a.Addresses[0], b, b.Addresses[0])
	}
	d.checkMTU(l)
}

// checkMTU makes sure that a link can carry IPv6 if its ends want it.
func (d *diagnostics) checkMTU(l *Link) {
	six := false
	for _, i := range l.Ends {
		for _, x := range i.Addresses {
			six = six || x.Addr().Is6()
		}
	}
	if six && l.MTU > 0 && l.MTU < mtuMin6 {
		d.errorf(l.Pos, "MTU %d is too small for IPv6, which the link carries; write %d or more", l.MTU, mtuMin6)
	}
}

// isIn reports whether a node has an address in a prefix, so that a route to it
// makes sense even if it does not forward.
func (n *Node) isIn(p netip.Prefix) bool {
	for _, i := range n.Interfaces {
		for _, a := range i.Addresses {
			if p.Bits() > 0 && p.Contains(a.Addr()) {
				return true
			}
		}
	}
	return false
}

// checkRoute makes sure that a route's next hop is a neighbour.
func (d *diagnostics) checkRoute(s *Spec, n *Node, r Route) {
	i, own, ok := n.network(r.Via)
	if !ok {
		if len(n.Interfaces) == 0 {
			d.errorf(r.Pos, "via %s cannot be reached: node %s has no addresses", r.Via, n.Name)
			return
		}
		where := ""
		for _, i := range n.Interfaces {
			for _, a := range i.Addresses {
				if where != "" {
					where += ", "
				}
				where += a.Masked().String()
			}
		}
		if where == "" {
			return // its addresses are wrong; that has been said
		}
		d.errorf(r.Pos, "via %s is on no network of %s; write a router's address in %s", r.Via, n.Name, where)
		return
	}
	if own.Addr() == r.Via {
		d.errorf(r.Pos, "via %s is %s itself; write the router's address", r.Via, i)
		return
	}
	if i.Link == nil {
		return // that has been said, or will be
	}
	var peer *Interface // a neighbour with an address
	count := 0
	for n := range i.neighbours() {
		count++
		for _, a := range n.Addresses {
			if a.Addr() == r.Via {
				if !n.Node.Forward && !n.Node.broken && !n.Node.isIn(r.To) {
					d.warnf(r.Pos, "%s does not forward packets, so nothing goes beyond it; write forward: true in node %s", n.Node.Name, n.Node.Name)
				}
				return
			}
		}
		if peer == nil && len(n.Addresses) > 0 {
			peer = n
		}
	}
	if peer == nil {
		return
	}
	where, whose := "at the other end of the link is", "the address of "+peer.String()
	if count > 1 {
		where, whose = "its neighbours are others, such as", "that of a neighbour, such as "+peer.String()
	}
	for _, o := range s.Nodes {
		for _, oi := range o.Interfaces {
			for _, a := range oi.Addresses {
				if a.Addr() == r.Via {
					d.errorf(r.Pos, "via %s is %s, which is not on the link of %s; write %s", r.Via, oi, i, whose)
					return
				}
			}
		}
	}
	d.errorf(r.Pos, "via %s is nobody's address; %s %s with %s", r.Via, where, peer, peer.Addresses[0].Addr())
}
