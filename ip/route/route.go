// Package route is a host's routing tables: longest prefix first, then lowest
// metric; the rules that choose a table; and what is known of paths' MTUs.
//
//	t := new(route.Table)
//	t = t.With(route.Route{Dst: netip.MustParsePrefix("0.0.0.0/0"), Via: gw, Adapter: 1})
//	r, ok := t.Lookup(dst)
//
// # Theory of operation
//
// A [Table] is immutable: With and Without return a new one that shares what
// has not changed, so the walk reads a snapshot without a lock. Inside are two
// path-compressed binary tries, one a family. A node holds the prefix its
// subtree has in common and the routes of exactly that prefix, best first; a
// look-up goes down as long as prefixes contain the address and remembers the
// last node that has a route.
//
// [Rules] are a list that is asked from its beginning for the first rule that
// fits a packet and finds a route. A host that has none pays nothing for them.
package route

import (
	"fmt"
	"net/netip"
	"slices"
)

// A Kind says what a route does with packets (Linux: rtm_type).
type Kind uint8

const (
	Unicast     Kind = iota // sends them on
	Blackhole               // drops them in silence
	Unreachable             // refuses them: host unreachable
	Prohibit                // refuses them: administratively prohibited
)

var kindText = [...]string{"unicast", "blackhole", "unreachable", "prohibit"}

func (k Kind) String() string { return kindText[k] }

// A Protocol says who entered a route (Linux: rtm_protocol).
type Protocol uint8

const (
	Static   Protocol = iota // somebody
	Kernel                   // the host, with an address
	RA                       // a router's advertisement
	Redirect                 // a router's redirect
)

// A Route leads to a prefix through an adapter, by way of a router or, if Via
// is the zero Addr, directly.
type Route struct {
	Dst     netip.Prefix
	Via     netip.Addr // next hop; invalid for destinations on the link
	Adapter int32      // index of the adapter
	Source  netip.Addr // preferred source address; invalid for none
	Metric  uint32     // lower wins among routes of one prefix
	Kind    Kind       // of others than Unicast, Via and Adapter mean nothing

	Protocol Protocol

	// MTU bounds packets to the prefix, in bytes; 0: the adapter's does. With
	// MTULock no message about the path changes it, and packets of IPv4 may be
	// fragmented on their way (Linux: mtu, mtu lock).
	MTU     int
	MTULock bool

	Multi *Multipath // several ways, instead of Via and Adapter; nil: one
	Table uint32     // of the host's tables, TableMain if it is 0
}

// MTUMin is the least MTU that a route to a prefix may have, in bytes (RFC 791,
// RFC 8200 §5).
func MTUMin(dst netip.Prefix) int {
	if dst.Addr().Is6() {
		return 1280
	}
	return 68
}

// String is the route in ip-route's words, with the adapter as a number.
func (r Route) String() string {
	s := r.Dst.String()
	if r.Dst.Bits() == 0 {
		s = "default"
	}
	if r.Via.IsValid() {
		s += " via " + r.Via.String()
	}
	if r.Multi != nil {
		s += r.Multi.String()
	} else if r.Kind == Unicast {
		s += fmt.Sprintf(" dev %d", r.Adapter)
	} else {
		s = r.Kind.String() + " " + s
	}
	if r.Source.IsValid() {
		s += " src " + r.Source.String()
	}
	if r.Metric != 0 {
		s += fmt.Sprintf(" metric %d", r.Metric)
	}
	if r.MTU != 0 && r.MTULock {
		s += fmt.Sprintf(" mtu lock %d", r.MTU)
	} else if r.MTU != 0 {
		s += fmt.Sprintf(" mtu %d", r.MTU)
	}
	return s
}

// A Table is an immutable set of routes. The zero value is an empty table.
type Table struct {
	v4, v6 *node
	n      int
}

type node struct {
	prefix netip.Prefix
	routes []Route // of exactly this prefix, by metric; empty in a mere fork
	child  [2]*node
}

// Len is the number of routes.
func (t *Table) Len() int { return t.n }

// Lookup finds the best route to dst.
func (t *Table) Lookup(dst netip.Addr) (r Route, ok bool) {
	n := t.v4
	if dst.Is6() {
		n = t.v6
	}
	var best *node
	for n != nil && n.prefix.Contains(dst) {
		if len(n.routes) > 0 {
			best = n
		}
		if n.prefix.Bits() == dst.BitLen() {
			break
		}
		n = n.child[bit(dst, n.prefix.Bits())]
	}
	if best == nil {
		return Route{}, false
	}
	return best.routes[0], true
}

// LookupOn finds the best route to dst among those by one adapter.
func (t *Table) LookupOn(dst netip.Addr, adapter int32) (best Route, ok bool) {
	n := t.v4
	if dst.Is6() {
		n = t.v6
	}
	for n != nil && n.prefix.Contains(dst) {
		for _, r := range n.routes {
			if r.Kind == Unicast && r.by(adapter) {
				best, ok = r, true
				break
			}
		}
		if n.prefix.Bits() == dst.BitLen() {
			break
		}
		n = n.child[bit(dst, n.prefix.Bits())]
	}
	return best, ok
}

// by reports whether a route leads by an adapter; of several ways it keeps the
// one that does.
func (r *Route) by(adapter int32) bool {
	if r.Multi == nil {
		return r.Adapter == adapter
	}
	for _, h := range r.Multi.Hops {
		if h.Adapter == adapter {
			r.Multi, r.Via, r.Adapter = nil, h.Via, adapter
			return true
		}
	}
	return false
}

// All returns every route, by prefix and metric.
func (t *Table) All() []Route {
	all := make([]Route, 0, t.n)
	for _, n := range []*node{t.v4, t.v6} {
		all = n.collect(all)
	}
	return all
}

func (n *node) collect(all []Route) []Route {
	if n == nil {
		return all
	}
	all = append(all, n.routes...)
	all = n.child[0].collect(all)
	return n.child[1].collect(all)
}

// With returns a table that has r too. A route of the same prefix, kind, next
// hop and adapter is replaced, in its place if the metric is the same.
func (t *Table) With(r Route) *Table {
	if !r.Dst.IsValid() {
		panic("route: With: the destination is not a prefix")
	}
	r.Dst = r.Dst.Masked()
	next, root := t.change(r.Dst)
	added := 1
	*root = (*root).insert(r.Dst, func(routes []Route) []Route {
		routes = slices.Clone(routes)
		same := func(o Route) bool {
			return o.Via == r.Via && o.Adapter == r.Adapter && o.Kind == r.Kind && o.Multi == r.Multi
		}
		if i := slices.IndexFunc(routes, same); i >= 0 {
			added = 0
			if routes[i].Metric == r.Metric {
				routes[i] = r
				return routes
			}
			routes = slices.Delete(routes, i, i+1)
		}
		i, _ := slices.BinarySearchFunc(routes, r, func(a, b Route) int {
			if a.Metric <= b.Metric {
				return -1
			}
			return 1
		})
		return slices.Insert(routes, i, r)
	})
	next.n += added
	return next
}

// Without returns a table without the routes for which drop reports true.
func (t *Table) Without(drop func(Route) bool) *Table {
	next := new(Table)
	for _, r := range t.All() {
		if !drop(r) {
			next = next.With(r)
		}
	}
	return next
}

func (t *Table) change(p netip.Prefix) (*Table, **node) {
	next := &Table{v4: t.v4, v6: t.v6, n: t.n}
	if p.Addr().Is6() {
		return next, &next.v6
	}
	return next, &next.v4
}

// insert returns the trie with the routes of prefix p edited, sharing the
// nodes that are not on the path to it.
func (n *node) insert(p netip.Prefix, edit func([]Route) []Route) *node {
	if n == nil {
		return &node{prefix: p, routes: edit(nil)}
	}
	common := commonBits(n.prefix, p)
	switch {
	case common == n.prefix.Bits() && common == p.Bits():
		return &node{prefix: p, routes: edit(n.routes), child: n.child}
	case common == n.prefix.Bits():
		c := *n
		b := bit(p.Addr(), common)
		c.child[b] = n.child[b].insert(p, edit)
		return &c
	case common == p.Bits():
		c := &node{prefix: p, routes: edit(nil)}
		c.child[bit(n.prefix.Addr(), common)] = n
		return c
	default:
		fork := &node{prefix: netip.PrefixFrom(p.Addr(), common).Masked()}
		fork.child[bit(p.Addr(), common)] = &node{prefix: p, routes: edit(nil)}
		fork.child[bit(n.prefix.Addr(), common)] = n
		return fork
	}
}

// bit is the i-th bit of a, from the most significant.
func bit(a netip.Addr, i int) int {
	if a.Is4() {
		b := a.As4()
		return int(b[i/8]>>(7-i%8)) & 1
	}
	b := a.As16()
	return int(b[i/8]>>(7-i%8)) & 1
}

// commonBits is the length of the prefix that p and q share.
func commonBits(p, q netip.Prefix) int {
	n := min(p.Bits(), q.Bits())
	for i := range n {
		if bit(p.Addr(), i) != bit(q.Addr(), i) {
			return i
		}
	}
	return n
}
