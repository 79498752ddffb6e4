package lab

import (
	"fmt"
	"iter"
	"slices"
	"strings"

	"github.com/towpath/towpath/link"
	"github.com/towpath/towpath/link/bridge"
	"github.com/towpath/towpath/packet"
)

const vlanMax = 4094 // IEEE 802.1Q-2018 table 9-2

// A Switch joins any number of interfaces to one Ethernet. It is a node without
// addresses: its interfaces are its ports, p1, p2 and so on, each at the end of
// a link of its own.
type Switch struct {
	*Node
	MTU int
	// VLANs: the ports are in VLANs, and untagged ones that do not say otherwise
	// in VLAN 1.
	VLANs bool

	mtuAt Pos
	group *Switch // another that it has a way to; nil: none before it
}

// switchOf finds a switch by name; nil if there is none.
func (s *Spec) switchOf(name string) *Switch {
	i := slices.IndexFunc(s.Switches, func(w *Switch) bool { return w.Name == name })
	if i < 0 {
		return nil
	}
	return s.Switches[i]
}

// port makes another port.
func (w *Switch) port(at Pos, c bridge.PortConfig) *Interface {
	i := &Interface{Pos: at, Name: fmt.Sprintf("p%d", len(w.Interfaces)+1), Node: w.Node, sw: w, vlans: c}
	w.Interfaces = append(w.Interfaces, i)
	w.VLANs = w.VLANs || c.PVID != 0 || len(c.Tagged) > 0
	return i
}

// portConfig is the VLANs of a port.
func (i *Interface) portConfig() bridge.PortConfig {
	c := i.vlans
	if c.PVID == 0 && len(c.Tagged) == 0 {
		c.PVID = 1
	}
	return c
}

// first is one switch for all that have ways to each other.
func (w *Switch) first() *Switch {
	for w.group != nil {
		w = w.group
	}
	return w
}

// findSwitches makes the switches of the list of links, so that any of these
// can name them.
func (d *diagnostics) findSwitches(s *Spec, links *tree) {
	for _, t := range links.items {
		for _, e := range t.entries {
			if e.key != "switch" {
				continue
			}
			name, ok := d.word(e.value, "the switch's name")
			if why := badName(name); ok && why != "" {
				d.errorf(e.value.Pos, "%q cannot be a switch's name: %s", name, why)
			}
			s.Switches = append(s.Switches, &Switch{Node: &Node{Pos: e.value.Pos, Name: name, Kind: kindSwitch}})
		}
	}
}

// readSwitch reads an entry of the list of links that is a switch; w is what
// findSwitches has made of it.
func (d *diagnostics) readSwitch(s *Spec, w *Switch, t *tree) {
	var ends, impair *tree
	ok := d.mapping(t, "a switch", fields{
		"switch":    func(*tree) {},
		"endpoints": func(t *tree) { ends = t },
		"impair":    func(t *tree) { impair = t },
		"mtu":       func(t *tree) { w.MTU, w.mtuAt = d.number(t, "an MTU", mtuMin, mtuMax), t.Pos },
	})
	if !ok {
		w.partial = true
		return
	}
	if ends == nil || ends.shape != list || len(ends.items) == 0 {
		at := t.Pos
		if ends != nil {
			at = ends.Pos
		}
		d.errorf(at, `switch %s has no list of endpoints; write endpoints: ["a:eth0", "b:eth0", "c:eth0"]`, w.Name)
		return
	}
	for _, e := range ends.items {
		d.readPort(s, w, e, impair)
	}
	for _, port := range w.Interfaces {
		if w.MTU != 0 {
			port.Link.MTU = w.MTU
		}
	}
}

// readPort reads an end of a switch: an interface, or another switch, alone or
// with what else there is to say.
func (d *diagnostics) readPort(s *Spec, w *Switch, t, usual *tree) {
	end, c, impair, ok := t, bridge.PortConfig{}, usual, true
	if t.shape == mapping {
		end = nil
		ok = d.mapping(t, "an end of a switch", fields{
			"end":    func(t *tree) { end = t },
			"vlan":   func(t *tree) { c.PVID = d.vlan(t) },
			"trunk":  func(t *tree) { d.each(t, "a VLAN's number", func(t *tree) { c.Tagged = append(c.Tagged, d.vlan(t)) }) },
			"impair": func(t *tree) { impair = t },
		})
	}
	switch {
	case !ok:
		return
	case end == nil:
		d.errorf(t.Pos, `an end of a switch needs end; write {end: "a:eth0", vlan: 10}`)
		return
	case c.PVID != 0 && slices.Contains(c.Tagged, c.PVID):
		d.errorf(t.Pos, "VLAN %d is that of packets without a tag and on the trunk; write it once", c.PVID)
		return
	}
	l := &Link{Pos: t.Pos, MTU: w.MTU, mtuAt: w.mtuAt}
	if word, isWord := end.text, end.shape == scalar; isWord && !strings.Contains(word, ":") && s.switchOf(word) != nil {
		if l.Ends[0] = d.uplink(w, s.switchOf(word), end.Pos, c); l.Ends[0] == nil {
			return
		}
	} else if l.Ends[0] = d.endpoint(s, end); l.Ends[0] == nil || !d.freeEnd(l.Ends[0], end.Pos) {
		return
	} else if n := l.Ends[0].Node; len(c.Tagged) > 0 && n.Kind == Host && !n.broken {
		d.errorf(end.Pos, "%s is a host's, and hosts know no tags; write vlan: %d, or make node %s kind: machine", l.Ends[0], c.Tagged[0], n.Name)
		return
	}
	l.Ends[1] = w.port(t.Pos, c)
	l.Ends[0].Link, l.Ends[1].Link = l, l
	s.Links = append(s.Links, l)
	if impair == usual && impair != nil && impair.shape == mapping &&
		slices.ContainsFunc(impair.entries, func(e entry) bool { return strings.Contains(e.key, "->") || s.Node(e.key) != nil }) {
		d.errorf(impair.Pos, `what happens at one end of a switch stands there; write {end: "%s", impair: …}`, l.Ends[0])
		return
	}
	if impair != nil {
		d.readImpair(l, impair)
	}
	d.linkMTU(l)
	if w.MTU == 0 && l.MTU != mtuDefault {
		w.MTU, w.mtuAt = l.MTU, l.mtuAt // the other ends are to have the same
	}
}

func (d *diagnostics) vlan(t *tree) uint16 { return uint16(d.number(t, "a VLAN", 1, vlanMax)) }

// uplink makes the port of another switch that a link of w leads to. Switches
// that have a way to each other already would pass frames round for ever.
func (d *diagnostics) uplink(w, to *Switch, at Pos, c bridge.PortConfig) *Interface {
	if w.first() == to.first() {
		d.errorf(at, "this closes a loop between switches, in which frames would go round for ever; leave it out")
		return nil
	}
	to.first().group = w.first()
	if w.MTU != 0 && to.MTU != 0 && w.MTU != to.MTU {
		d.errorf(at, "%s has MTU %d and %s has %d; write the same for both", w.Name, w.MTU, to.Name, to.MTU)
		return nil
	}
	return to.port(at, c)
}

// checkSwitches looks at the switches once all is read.
func (d *diagnostics) checkSwitches(s *Spec) {
	for _, w := range s.Switches {
		for _, port := range w.Interfaces {
			peer := port.Link.Peer(port)
			d.checkMTU(port.Link)
			if peer.sw == nil && !d.checkNeighbours(peer) {
				break
			}
			if c := port.vlans; w.VLANs && peer.sw != nil && port.Link.Ends[1] == port && c.PVID == 0 && len(c.Tagged) == 0 {
				d.warnf(port.Pos, "between %s and %s only VLAN 1 passes; write {end: %s, trunk: [VLAN, …]}", w.Name, peer.Node.Name, peer.Node.Name)
			}
		}
	}
}

// checkNeighbours makes sure that an interface at a switch has a network in
// common with another.
func (d *diagnostics) checkNeighbours(i *Interface) bool {
	var other *Interface
	for n := range i.neighbours() {
		for _, x := range n.Addresses {
			for _, y := range i.Addresses {
				if x.Masked() == y.Masked() {
					return true
				}
			}
			other = n
		}
	}
	if other != nil && len(i.Addresses) > 0 {
		d.errorf(i.Pos, "%s (%s) has no network in common with others of its segment, such as %s (%s); give it an address of theirs", i, i.Addresses[0], other, other.Addresses[0])
		return false
	}
	return true
}

// neighbours are the interfaces that an interface reaches without a router:
// that at the other end of its link, or those of its VLAN at the switches there.
func (i *Interface) neighbours() iter.Seq[*Interface] {
	return func(yield func(*Interface) bool) {
		if i.Link != nil {
			i.Link.Peer(i).reach(0, yield)
		}
	}
}

// reach yields where a frame gets that comes to an interface, with the tag of a
// VLAN or, 0, without. It is false if no more is wanted.
func (i *Interface) reach(tag uint16, yield func(*Interface) bool) bool {
	if i.sw == nil {
		return tag != 0 || yield(i)
	}
	c := i.portConfig()
	if tag == 0 {
		tag = c.PVID
	}
	if i.sw.VLANs && (tag == 0 || tag != c.PVID && !slices.Contains(c.Tagged, tag)) {
		return true
	}
	for _, port := range i.sw.Interfaces {
		out := port.portConfig()
		ok := true
		switch {
		case port == i:
		case !i.sw.VLANs || tag == out.PVID:
			ok = port.Link.Peer(port).reach(0, yield)
		case slices.Contains(out.Tagged, tag):
			ok = port.Link.Peer(port).reach(tag, yield)
		}
		if !ok {
			return false
		}
	}
	return true
}

// vlanText is a link's VLANs for people.
func (l *Link) vlanText() string {
	end := l.Ends[1]
	if end.sw == nil || !end.sw.VLANs {
		return ""
	}
	text, c := "", end.portConfig()
	if c.PVID != 0 {
		text = fmt.Sprintf(", VLAN %d", c.PVID)
	}
	for i, vid := range c.Tagged {
		if i == 0 {
			text += ", trunk"
		}
		text += fmt.Sprintf(" %d", vid)
	}
	return text
}

// startSwitches makes the bridges.
func (n *Net) startSwitches() {
	for _, w := range n.spec.Switches {
		n.switches[w.Name] = bridge.New(bridge.Config{Filtering: w.VLANs})
	}
}

// addPort makes a driver a port of its switch.
func (n *Net) addPort(i *Interface, m link.Miniport) (*link.Adapter, error) {
	b := n.switches[i.Node.Name]
	a := link.NewAdapter(i.String(), int32(len(b.Ports())+1), m)
	_, err := b.AddPort(a, i.portConfig())
	return a, err
}

// SwitchSummary tells what a switch has done.
type SwitchSummary struct {
	Switch *Switch
	bridge.Stats
	Stations int // that are known
	Drops    packet.Counters
}

func (n *Net) countSwitches() (all []SwitchSummary) {
	for _, w := range n.spec.Switches {
		b := n.switches[w.Name]
		s := SwitchSummary{Switch: w, Stats: b.Stats(), Stations: len(b.Stations())}
		for _, p := range b.Ports() {
			p.Adapter().Drops(&s.Drops)
		}
		all = append(all, s)
	}
	return all
}

// A Station is what a switch knows of one.
type Station struct {
	MAC  string  `json:"mac"`
	Port string  `json:"port"` // and what is at the other end: p1 (a:eth0)
	VLAN uint16  `json:"vlan,omitempty"`
	Age  float64 `json:"age"` // seconds since it was heard
}

// Stations returns what a switch knows.
func (n *Net) Stations(name string) ([]Station, error) {
	b := n.switches[name]
	if b == nil {
		return nil, fmt.Errorf("there is no switch %q", name)
	}
	end := map[string]string{} // by the adapter's name
	for _, i := range n.spec.switchOf(name).Interfaces {
		end[i.String()] = fmt.Sprintf("%s (%v)", i.Name, i.Link.Peer(i))
	}
	all := []Station{}
	for _, s := range b.Stations() {
		all = append(all, Station{s.MAC.String(), end[s.Port.Adapter().Name()], s.VLAN, s.Age.Seconds()})
	}
	return all, nil
}
