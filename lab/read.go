package lab

import (
	"fmt"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
)

const (
	mtuDefault = 1500
	mtuMin     = 576
	mtuMin6    = 1280 // RFC 8200 §5
	mtuMax     = 65521
	nameMax    = 63 // RFC 1035 §2.3.4
	ifNameMax  = 15 // Linux: IFNAMSIZ-1
	seedMax    = 1 << 53
)

// readLab reads the file into s. What depends on several places is left to
// check, but for links, which are tied to interfaces here.
func (d *diagnostics) readLab(s *Spec, root *tree) {
	if root.shape == empty {
		d.errorf(root.Pos, "the file is empty; write nodes and links")
		return
	}
	s.Name = strings.TrimSuffix(filepath.Base(s.File), filepath.Ext(s.File))
	var nodes, links, expect, events *tree
	d.mapping(root, "the file", fields{
		"name":   func(t *tree) { s.Name, _ = d.word(t, "the lab's name") },
		"seed":   func(t *tree) { s.Seed = uint64(d.number(t, "a seed", 1, seedMax)) },
		"vars":   func(*tree) {}, // expanded already
		"nodes":  func(t *tree) { nodes = t },
		"links":  func(t *tree) { links = t },
		"events": func(t *tree) { events = t },
		"expect": func(t *tree) { expect = t },
	})
	if root.shape != mapping {
		return
	}
	if nodes == nil {
		if len(d.errors) == 0 {
			d.errorf(root.Pos, "the lab has no nodes; write nodes: {NAME: {addresses: {eth0: 10.0.0.1/24}}}")
		}
		return
	}
	d.readNodes(s, nodes)
	switch {
	case links == nil:
	case links.shape != list:
		d.errorf(links.Pos, `links is %v; write a list: - {endpoints: ["a:eth0", "b:eth0"]}`, links.shape)
	default:
		d.findSwitches(s, links)
		next := 0
		for _, t := range links.items {
			if slices.ContainsFunc(t.entries, func(e entry) bool { return e.key == "switch" }) {
				d.readSwitch(s, s.Switches[next], t)
				next++
				continue
			}
			d.readLink(s, t)
		}
	}
	if events != nil {
		d.each(events, `events, such as {at: 5s, do: "link down a:eth0"}`, func(t *tree) { d.readEvent(s, t) })
	}
	if expect != nil {
		d.each(expect, "expectations, such as {from: NODE, ping: NODE}", func(t *tree) { d.readExpect(s, t) })
	}
}

func (d *diagnostics) readNodes(s *Spec, nodes *tree) {
	if nodes.shape != mapping {
		d.errorf(nodes.Pos, "nodes is %v; write a mapping from each node's name to what it is", nodes.shape)
		return
	}
	for _, e := range nodes.entries {
		n := &Node{Pos: e.Pos, Name: e.key}
		if why := badName(e.key); why != "" {
			d.errorf(e.Pos, "%q cannot be a node's name: %s", e.key, why)
		}
		if e.value.shape == empty {
			d.errorf(e.Pos, "node %s is empty; write %s: {addresses: {eth0: 10.0.0.1/24}}", e.key, e.key)
			n.partial = true
		} else {
			d.readNode(s, n, e.value)
		}
		s.Nodes = append(s.Nodes, n)
		s.byName[n.Name], s.called[strings.ToLower(n.Name)] = n, n
	}
}

func badName(name string) string {
	switch {
	case len(name) > nameMax:
		return fmt.Sprintf("it is longer than %d letters", nameMax)
	case strings.EqualFold(name, "localhost"):
		return "every node knows itself by it; choose another"
	case strings.Trim(name, "0123456789") == "":
		return "it is a number; begin with a letter"
	}
	for i, c := range name {
		letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
		if !letter && (c != '-' || i == 0 || i == len(name)-1) {
			return "write letters, digits and hyphens between them"
		}
	}
	return ""
}

func (d *diagnostics) readNode(s *Spec, n *Node, t *tree) {
	var serve, run, mtu, firewall *tree
	ok := d.mapping(t, "node "+n.Name, fields{
		"kind":      func(t *tree) { d.readKind(n, t) },
		"forward":   func(t *tree) { n.Forward = d.boolean(t) },
		"addresses": func(t *tree) { d.readInterfaces(n, t) },
		"routes": func(t *tree) {
			d.each(t, "routes such as {to: default, via: 10.0.0.1}", func(t *tree) { d.readRoute(n, t) })
		},
		"mtu":      func(t *tree) { mtu = t },
		"firewall": func(t *tree) { firewall = t },
		"serve":    func(t *tree) { serve = t },
		"run":      func(t *tree) { run = t },
	})
	if n.partial = n.partial || !ok; n.broken {
		return
	}
	if mtu != nil {
		d.readMTU(n, mtu)
	}
	if firewall != nil {
		d.readFirewall(n, firewall)
	}
	if serve != nil {
		d.each(serve, "a service", func(t *tree) { d.readService(s, n, t) })
	}
	if run != nil {
		d.each(run, "a command", func(t *tree) { d.readRun(s, n, t) })
	}
	for i := range n.Serve {
		n.Serve[i].log = fmt.Sprintf("%s-%d.log", n.Name, i+1)
	}
	for i := range n.Run {
		n.Run[i].log = fmt.Sprintf("%s-%d.log", n.Name, len(n.Serve)+i+1)
	}
}

func (d *diagnostics) readKind(n *Node, t *tree) {
	word, ok := d.word(t, "host or machine")
	for _, k := range []Kind{Host, Machine} {
		if ok && word == k.String() {
			n.Kind = k
			return
		}
	}
	n.broken = true
	switch {
	case ok && word == kindSwitch.String():
		d.errorf(t.Pos, "a switch stands under links; write links: [{switch: %s, endpoints: [\"NODE:INTERFACE\", …]}]", n.Name)
	case ok:
		d.errorf(t.Pos, "there is no kind %q; write host (a towpath host) or machine (a real kernel, for real programs)", word)
	}
}

func (d *diagnostics) readInterfaces(n *Node, t *tree) {
	if t.shape != mapping {
		d.errorf(t.Pos, "addresses is %v; write {eth0: 10.0.0.1/24}", t.shape)
		n.partial = true
		return
	}
	for _, e := range t.entries {
		i := &Interface{Pos: e.Pos, Name: e.key, Node: n}
		switch {
		case e.key == "lo":
			d.errorf(e.Pos, "every node has its lo already; name another interface, such as eth0")
		case e.key == "" || len(e.key) > ifNameMax || strings.ContainsAny(e.key, "/ :%\t") || e.key == "." || e.key == "..":
			d.errorf(e.Pos, "%q cannot be an interface's name; write up to %d letters and digits, such as eth0", e.key, ifNameMax)
		}
		n.Interfaces = append(n.Interfaces, i)
		if e.value.shape == empty {
			d.errorf(e.Pos, "interface %s has no address; write %s: 10.0.0.1/24, or %s: [] if it shall have none", e.key, e.key, e.key)
			continue
		}
		d.each(e.value, "an address such as 10.0.0.1/24", func(t *tree) {
			if p, ok := d.address(t); ok {
				i.Addresses = append(i.Addresses, Address{t.Pos, p})
			}
		})
	}
}

// readMTU reads a node's MTU: one for all its interfaces, or a mapping.
func (d *diagnostics) readMTU(n *Node, t *tree) {
	if t.shape != mapping {
		mtu := d.number(t, "an MTU", mtuMin, mtuMax)
		for _, i := range n.Interfaces {
			i.mtu, i.mtuAt = mtu, t.Pos
		}
		return
	}
	for _, e := range t.entries {
		i := n.Interface(e.key)
		switch {
		case i == nil && !n.partial:
			known := make([]string, len(n.Interfaces))
			for k, x := range n.Interfaces {
				known[k] = x.Name
			}
			d.errorf(e.Pos, "node %s has no interface %q; %s", n.Name, e.key, suggest(e.key, known))
		case i != nil:
			i.mtu, i.mtuAt = d.number(e.value, "an MTU", mtuMin, mtuMax), e.value.Pos
		}
	}
}

// address reads an interface's address.
func (d *diagnostics) address(t *tree) (netip.Prefix, bool) {
	s, ok := d.word(t, "an address such as 10.0.0.1/24")
	if !ok {
		return netip.Prefix{}, false
	}
	if a, err := netip.ParseAddr(s); err == nil && a.Zone() == "" {
		d.errorf(t.Pos, "address %s has no prefix length; write %s/%d", s, s, usualBits(a))
		return netip.Prefix{}, false
	}
	p, err := netip.ParsePrefix(s)
	if err != nil {
		d.errorf(t.Pos, "%q is not an address: %s; write one such as 10.0.0.1/24 or fd00::1/64", s, parseError(err))
		return p, false
	}
	a := p.Addr()
	switch {
	case a.Is4In6():
		d.errorf(t.Pos, "address %s is IPv4 in IPv6's clothes; write %s/%d", s, a.Unmap(), max(p.Bits()-96, 0))
	case a.IsLoopback():
		d.errorf(t.Pos, "address %s is a loopback address; write one that others can reach, such as 10.0.0.1/24", s)
	case a.IsMulticast():
		d.errorf(t.Pos, "address %s is a multicast address; write a unicast one, such as 10.0.0.1/24", s)
	case p.Masked().Addr() == a && p.Bits() < a.BitLen()-1:
		d.errorf(t.Pos, "address %s is its network's own; write an address in it, such as %s/%d", s, a.Next(), p.Bits())
	case a.Is4() && p.Bits() < 31 && lastOf(p) == a:
		d.errorf(t.Pos, "address %s is its network's broadcast address; write another in it, such as %s/%d", s, p.Masked().Addr().Next(), p.Bits())
	default:
		return p, true
	}
	return p, false
}

func usualBits(a netip.Addr) int {
	if a.Is4() {
		return 24
	}
	return 64
}

// lastOf is the last address of a prefix.
func lastOf(p netip.Prefix) netip.Addr {
	b := p.Masked().Addr().AsSlice()
	for i := p.Bits(); i < 8*len(b); i++ {
		b[i/8] |= 0x80 >> (i % 8)
	}
	a, _ := netip.AddrFromSlice(b)
	return a
}

// parseError takes package netip's prefixes off an error.
func parseError(err error) string {
	s := err.Error()
	if i := strings.LastIndex(s, "): "); i >= 0 {
		return s[i+3:]
	}
	return s
}

func (d *diagnostics) readRoute(n *Node, t *tree) {
	var to, via *tree
	ok := d.mapping(t, "a route", fields{
		"to":  func(t *tree) { to = t },
		"via": func(t *tree) { via = t },
	})
	if !ok {
		return
	}
	if to == nil || via == nil {
		d.errorf(t.Pos, "a route needs to and via; write {to: default, via: 10.0.0.1}")
		return
	}
	r := Route{Pos: via.Pos, Via: d.via(via)}
	word, ok := d.word(to, "default or a prefix such as 10.2.0.0/16")
	if !ok || !r.Via.IsValid() {
		return
	}
	if r.To, ok = d.prefix(word, to.Pos, r.Via); ok {
		n.Routes = append(n.Routes, r)
	}
}

// via reads a next hop.
func (d *diagnostics) via(t *tree) netip.Addr {
	s, ok := d.word(t, "a router's address, such as 10.0.0.1")
	if !ok {
		return netip.Addr{}
	}
	if p, err := netip.ParsePrefix(s); err == nil {
		d.errorf(t.Pos, "via %s is a prefix; write the router's address alone: %s", s, p.Addr())
		return netip.Addr{}
	}
	a, err := netip.ParseAddr(s)
	switch {
	case err != nil:
		d.errorf(t.Pos, "via %q is not an address; write a router's, such as 10.0.0.1", s)
	case a.Zone() != "" || a.IsUnspecified() || a.IsMulticast() || a.IsLoopback() || a.Is4In6():
		d.errorf(t.Pos, "via %s cannot be a router's address; write one such as 10.0.0.1", s)
	default:
		return a
	}
	return netip.Addr{}
}

// prefix reads a route's destination.
func (d *diagnostics) prefix(s string, at Pos, via netip.Addr) (netip.Prefix, bool) {
	if s == "default" {
		if via.Is4() {
			return netip.PrefixFrom(netip.IPv4Unspecified(), 0), true
		}
		return netip.PrefixFrom(netip.IPv6Unspecified(), 0), true
	}
	if a, err := netip.ParseAddr(s); err == nil && a.Zone() == "" {
		d.errorf(at, "to %s has no prefix length; write %s/%d for this address alone, or a network", s, s, a.BitLen())
		return netip.Prefix{}, false
	}
	p, err := netip.ParsePrefix(s)
	switch {
	case err != nil:
		d.errorf(at, "to %q is not a prefix; write default, or one such as 10.2.0.0/16", s)
	case p.Masked() != p:
		d.errorf(at, "to %s has bits beyond its length; write %s", s, p.Masked())
	case p.Addr().Is4() != via.Is4():
		d.errorf(at, "to %s and via %s are of two address families; write both in one", s, via)
	default:
		return p, true
	}
	return p, false
}

func (d *diagnostics) readLink(s *Spec, t *tree) {
	l := &Link{Pos: t.Pos}
	var ends, impair *tree
	ok := d.mapping(t, "a link", fields{
		"impair":    func(t *tree) { impair = t },
		"endpoints": func(t *tree) { ends = t },
		"mtu":       func(t *tree) { l.MTU, l.mtuAt = d.number(t, "an MTU", mtuMin, mtuMax), t.Pos },
	})
	if !ok {
		return
	}
	if ends == nil || ends.shape != list || len(ends.items) != 2 {
		at := t.Pos
		if ends != nil {
			at = ends.Pos
		}
		if ends != nil && len(ends.items) > 2 {
			d.errorf(at, "a link has two endpoints, and these are %d; write switch: NAME before them to join them all", len(ends.items))
			return
		}
		d.errorf(at, `a link has two endpoints; write endpoints: ["a:eth0", "b:eth0"]`)
		return
	}
	for i, end := range ends.items {
		l.Ends[i] = d.endpoint(s, end)
		ok = ok && l.Ends[i] != nil
	}
	if !ok {
		return
	}
	if l.Ends[0] == l.Ends[1] {
		d.errorf(ends.items[1].Pos, "both ends of the link are %s; write another interface", l.Ends[1])
		return
	}
	for i, end := range l.Ends {
		ok = d.freeEnd(end, ends.items[i].Pos) && ok
	}
	if !ok {
		return
	}
	l.Ends[0].Link, l.Ends[1].Link = l, l
	s.Links = append(s.Links, l)
	if impair != nil {
		d.readImpair(l, impair)
	}
	d.linkMTU(l)
	d.checkLink(l)
}

// freeEnd makes sure that an interface is on no link yet.
func (d *diagnostics) freeEnd(i *Interface, at Pos) bool {
	if i.Link != nil {
		d.errorf(at, "interface %s is on the link of line %d already; write another interface", i, i.Link.Line)
	}
	return i.Link == nil
}

// linkMTU finds a link's MTU, which the link and both its ends may say and must
// agree on.
func (d *diagnostics) linkMTU(l *Link) {
	who := "the link"
	for _, i := range l.Ends {
		switch {
		case i.mtu == 0:
		case l.MTU == 0:
			l.MTU, l.mtuAt, who = i.mtu, i.mtuAt, i.String()
		case i.mtu != l.MTU:
			d.errorf(i.mtuAt, "%s has MTU %d and %s has %d, on line %d; write the same for both", i, i.mtu, who, l.MTU, l.mtuAt.Line)
			return
		}
	}
	if l.MTU == 0 {
		l.MTU = mtuDefault
	}
}

// endpoint finds the interface that an end of a link names.
func (d *diagnostics) endpoint(s *Spec, t *tree) *Interface {
	word, ok := d.word(t, "a node's interface, such as \"a:eth0\"")
	if !ok {
		return nil
	}
	name, ifName, ok := strings.Cut(word, ":")
	if !ok || name == "" || ifName == "" {
		d.errorf(t.Pos, "%q is not an interface; write NODE:INTERFACE, such as \"%s:eth0\"", word, strings.Trim(word, ":"))
		return nil
	}
	n := s.Node(name)
	if n == nil {
		if s.switchOf(name) != nil {
			d.errorf(t.Pos, "%s is a switch, whose ends stand with it; write the other interface among endpoints of switch: %s", name, name)
			return nil
		}
		d.errorf(t.Pos, "there is no node %q; %s", name, suggest(name, s.nodeNames()))
		return nil
	}
	i := n.Interface(ifName)
	if i == nil && !n.partial {
		known := make([]string, len(n.Interfaces))
		for i, x := range n.Interfaces {
			known[i] = x.Name
		}
		what := fmt.Sprintf("it has %s", strings.Join(known, ", "))
		if len(known) == 0 {
			what = fmt.Sprintf("give it one: addresses: {%s: 10.0.0.1/24}", ifName)
		}
		d.errorf(t.Pos, "node %s has no interface %q; %s", name, ifName, what)
	}
	return i
}
