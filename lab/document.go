package lab

import (
	"slices"

	"github.com/towpath/towpath/packet"
)

// A Document is what is known of a lab, for other programs. As JSON it has the
// names that stand in its tags, which do not change; what is empty is left out
// where the tag says so. Seconds are numbers with a fraction.
type Document struct {
	Lab   string `json:"lab"`
	File  string `json:"file"`
	OK    bool   `json:"ok"` // nothing failed, and the file has no mistakes
	Error string `json:"error,omitempty"`

	Mistakes []DocumentMistake `json:"mistakes,omitempty"`
	Warnings []DocumentMistake `json:"warnings,omitempty"`

	Seed  uint64         `json:"seed,omitempty"`
	Nodes []DocumentNode `json:"nodes"`
	Links []DocumentLink `json:"links"`
	// Switches have links too, one for each port.
	Switches []DocumentSwitch `json:"switches,omitempty"`
	// Commands are those of the run lists that have ended.
	Commands []DocumentCommand `json:"commands"`
	// Expectations have an ok once they have been tried.
	Expectations []DocumentExpectation `json:"expectations"`
}

// DocumentMistake is a mistake in the file, or a warning.
type DocumentMistake struct {
	File    string `json:"file"`
	Line    int    `json:"line"` // from 1; 0: the file as a whole
	Column  int    `json:"column"`
	Message string `json:"message"`
}

// DocumentNode is a node. What a machine's kernel counts is not known.
type DocumentNode struct {
	Name       string              `json:"name"`
	Kind       string              `json:"kind"` // host or machine
	Forward    bool                `json:"forward"`
	Interfaces []DocumentInterface `json:"interfaces"`
	Forwarded  uint64              `json:"forwarded"`
	Drops      map[string]uint64   `json:"drops"` // packets, by reason
	Firewall   *DocumentFirewall   `json:"firewall,omitempty"`
}

// DocumentFirewall is a host's rules and what they have done.
type DocumentFirewall struct {
	File string `json:"file"`
	// Drops are rules and policies that have dropped packets, Counters those
	// that have a counter.
	Drops    []RuleCount `json:"drops"`
	Counters []RuleCount `json:"counters"`
	Flows    []string    `json:"flows"` // as conntrack -L lists them
}

// DocumentInterface is a node's interface.
type DocumentInterface struct {
	Name      string   `json:"name"`
	Addresses []string `json:"addresses"` // with prefix lengths
}

// DocumentLink is a link. Lists of two are in the order of its ends: what each
// end sends.
type DocumentLink struct {
	Ends    [2]string `json:"ends"` // node:interface
	MTU     int       `json:"mtu"`
	Down    bool      `json:"down,omitempty"`   // it has been taken down
	Impair  []string  `json:"impair,omitempty"` // by each end
	Packets [2]uint64 `json:"packets"`          // from each end; a super-segment is one
	// Drops are packets, by reason, at the adapter that has the link's counters
	// and impairments. If it is a host's, the host counts them too.
	Drops   map[string]uint64 `json:"drops"`
	Capture *DocumentCapture  `json:"capture,omitempty"`
}

// DocumentSwitch is a switch.
type DocumentSwitch struct {
	Name      string            `json:"name"`
	Ports     []DocumentPort    `json:"ports"`
	Forwarded uint64            `json:"forwarded"` // frames for a known station
	Flooded   uint64            `json:"flooded"`   // frames for all
	Stations  int               `json:"stations"`  // that are known
	Drops     map[string]uint64 `json:"drops"`     // frames, by reason
}

// DocumentPort is a switch's port.
type DocumentPort struct {
	Name  string   `json:"name"`
	End   string   `json:"end"`             // node:interface at the other end of its link
	VLAN  uint16   `json:"vlan,omitempty"`  // of frames without a tag
	Trunk []uint16 `json:"trunk,omitempty"` // VLANs of frames with a tag
}

// DocumentCapture is a link's capture.
type DocumentCapture struct {
	File    string `json:"file"`
	Packets uint64 `json:"packets"`
	Lost    uint64 `json:"lost"`
}

// DocumentCommand is a command of a run list that has ended.
type DocumentCommand struct {
	Node    string  `json:"node"`
	Command string  `json:"command"`
	Seconds float64 `json:"seconds"`
	OK      bool    `json:"ok"`
	Error   string  `json:"error,omitempty"`
}

// DocumentExpectation is an expectation.
type DocumentExpectation struct {
	Line    int     `json:"line"` // in the file
	From    string  `json:"from"`
	Expect  string  `json:"expect"`
	Tried   bool    `json:"tried"`
	OK      bool    `json:"ok"`
	Detail  string  `json:"detail,omitempty"` // what was seen, or why it failed
	Seconds float64 `json:"seconds"`
}

// Mistaken is the document of a file with mistakes.
func Mistaken(file string, mistakes Errors) *Document {
	return &Document{
		File: file, Error: "the file has mistakes", Mistakes: documentMistakes(mistakes),
		Nodes: []DocumentNode{}, Links: []DocumentLink{}, Commands: []DocumentCommand{}, Expectations: []DocumentExpectation{},
	}
}

func documentMistakes(l Errors) (all []DocumentMistake) {
	for _, e := range l {
		all = append(all, DocumentMistake{e.File, e.Line, e.Column, e.Message})
	}
	return all
}

// Document is the document of a lab that has not been up.
func (s *Spec) Document() *Document { return s.document(&Summary{}, nil) }

// Document is what is known of the lab. The error, if there is one, is what
// made it fail.
func (n *Net) Document(err error) *Document {
	s := n.Summary()
	return n.spec.document(&s, err)
}

func (s *Spec) document(sum *Summary, err error) *Document {
	d := &Document{
		Lab: s.Name, File: s.File, OK: err == nil, Warnings: documentMistakes(s.Warnings), Seed: s.Seed,
		Nodes: []DocumentNode{}, Links: []DocumentLink{}, Commands: []DocumentCommand{}, Expectations: []DocumentExpectation{},
	}
	if err != nil {
		d.Error = err.Error()
	}
	for _, n := range s.Nodes {
		d.Nodes = append(d.Nodes, documentNode(n, sum))
	}
	for _, l := range s.Links {
		d.Links = append(d.Links, documentLink(l, sum))
	}
	for _, w := range s.Switches {
		d.Switches = append(d.Switches, documentSwitch(w, sum))
	}
	for _, r := range sum.Results {
		c := DocumentCommand{Node: r.Node, Command: r.Command, Seconds: r.Took.Seconds(), OK: r.Err == nil}
		if r.Err != nil {
			c.Error = r.Err.Error()
		}
		d.Commands = append(d.Commands, c)
	}
	for _, e := range s.Expect {
		x := DocumentExpectation{Line: e.Line, From: e.From.Name, Expect: e.String()}
		i := slices.IndexFunc(sum.Outcomes, func(o Outcome) bool { return o.Expectation == e })
		if i >= 0 {
			o := sum.Outcomes[i]
			x.Tried, x.OK, x.Detail, x.Seconds = true, o.OK, o.Detail, o.Took.Seconds()
		}
		d.Expectations = append(d.Expectations, x)
	}
	return d
}

func documentNode(n *Node, sum *Summary) DocumentNode {
	d := DocumentNode{Name: n.Name, Kind: n.Kind.String(), Forward: n.Forward, Interfaces: []DocumentInterface{}, Drops: map[string]uint64{}}
	if n.Firewall != nil {
		d.Firewall = &DocumentFirewall{n.Firewall.File, []RuleCount{}, []RuleCount{}, []string{}}
	}
	for _, i := range n.Interfaces {
		x := DocumentInterface{Name: i.Name, Addresses: []string{}}
		for _, a := range i.Addresses {
			x.Addresses = append(x.Addresses, a.String())
		}
		d.Interfaces = append(d.Interfaces, x)
	}
	for i := range sum.Nodes {
		if sum.Nodes[i].Node == n {
			d.Forwarded, d.Drops = sum.Nodes[i].Forwarded, byReason(&sum.Nodes[i].Drops)
			if f := sum.Nodes[i].Firewall; f != nil {
				d.Firewall.Drops, d.Firewall.Counters = append(d.Firewall.Drops, f.Drops...), append(d.Firewall.Counters, f.Counters...)
				d.Firewall.Flows = append(d.Firewall.Flows, f.Flows...)
			}
		}
	}
	return d
}

func documentLink(l *Link, sum *Summary) DocumentLink {
	d := DocumentLink{Ends: [2]string{l.Ends[0].String(), l.Ends[1].String()}, MTU: l.MTU, Impair: impairs(l.Impair), Drops: map[string]uint64{}}
	for i := range sum.Links {
		s := &sum.Links[i]
		if s.Link != l {
			continue
		}
		d.Packets, d.Drops, d.Down, d.Impair = s.Packets, byReason(&s.Drops), s.Down, impairs(s.Impair)
		if s.File != "" {
			d.Capture = &DocumentCapture{s.File, s.Capture.Written, s.Capture.Dropped}
		}
	}
	return d
}

func documentSwitch(w *Switch, sum *Summary) DocumentSwitch {
	d := DocumentSwitch{Name: w.Name, Drops: map[string]uint64{}}
	for _, i := range w.Interfaces {
		p := DocumentPort{Name: i.Name, End: i.Link.Peer(i).String()}
		if w.VLANs {
			c := i.portConfig()
			p.VLAN, p.Trunk = c.PVID, c.Tagged
		}
		d.Ports = append(d.Ports, p)
	}
	for i := range sum.Switches {
		if s := &sum.Switches[i]; s.Switch == w {
			d.Forwarded, d.Flooded, d.Stations, d.Drops = s.Forwarded, s.Flooded, s.Stations, byReason(&s.Drops)
		}
	}
	return d
}

// byReason is the counters that are not zero.
func byReason(c *packet.Counters) map[string]uint64 {
	m := map[string]uint64{}
	for r, n := range c {
		if n > 0 {
			m[packet.Reason(r).String()] = n
		}
	}
	return m
}
