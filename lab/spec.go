package lab

import (
	"cmp"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"slices"

	"github.com/towpath/towpath/link/bridge"
	"github.com/towpath/towpath/link/netem"
	"github.com/towpath/towpath/service"
	"github.com/towpath/towpath/tool"
	"github.com/towpath/towpath/wire"
)

// A Spec is a lab file that has been read and found right.
type Spec struct {
	File     string
	Dir      string // that relative paths in the file begin at
	Name     string
	Nodes    []*Node // in the order of the file
	Switches []*Switch
	Links    []*Link // of a switch, one for each of its ends
	Expect   []*Expectation
	Events   []*Timed
	Seed     uint64 // of what is random; 0: not said
	Warnings Errors // what is allowed but probably not meant

	byName map[string]*Node
	called map[string]*Node // by name in lower case
}

// Kind says who is a node.
type Kind uint8

const (
	// Host is a towpath host in this process.
	Host Kind = iota
	// Machine is a real kernel's network in namespaces of its own.
	Machine

	kindSwitch // of a [Switch]
)

var kindNames = []string{Host: "host", Machine: "machine", kindSwitch: "switch"}

// String is the kind in the file's words.
func (k Kind) String() string { return kindNames[k] }

// A Node is one host or machine.
type Node struct {
	Pos
	Name       string
	Kind       Kind
	Forward    bool
	Interfaces []*Interface
	Routes     []Route
	Firewall   *Firewall // nil: none
	Serve      []Command // go on for as long as the lab
	Run        []Command // one after the other; then the node is done

	broken  bool // its kind could not be read
	partial bool // something in it could not be read
}

// An Interface is a node's, with its addresses and the link it is on.
type Interface struct {
	Pos
	Name      string
	Node      *Node
	Addresses []Address
	Link      *Link

	sw    *Switch // that it is a port of; nil: none
	vlans bridge.PortConfig
	mac   wire.MAC
	mtu   int // 0: not said
	mtuAt Pos
}

// String is the interface as links name it.
func (i *Interface) String() string { return i.Node.Name + ":" + i.Name }

// An Address is an interface's, with the length of its network's prefix.
type Address struct {
	Pos
	netip.Prefix
}

// A Route leads to a prefix by way of a router.
type Route struct {
	Pos
	To  netip.Prefix
	Via netip.Addr
}

// A Command is a program with its arguments: on a machine a real one, on a
// host a built-in tool or service, or a real one whose sockets are the host's.
type Command struct {
	Pos
	Text string
	Args []string
	Port int // TCP port that a service listens on; 0: not said
	// Ready is what a machine's service prints when it can be used; empty: not
	// said.
	Ready string

	log string // the name of its log

	tool  tool.Run
	start service.Start
}

// A Link joins two interfaces, of which the second may be a switch's port, or
// both.
type Link struct {
	Pos
	Ends [2]*Interface
	MTU  int
	// Impair is what happens to the packets that each end sends.
	Impair [2]netem.Impairment

	mtuAt Pos // where it is said
}

// String is the link's two ends.
func (l *Link) String() string { return l.Ends[0].String() + " -- " + l.Ends[1].String() }

// Peer is the interface at the other end.
func (l *Link) Peer(i *Interface) *Interface {
	if l.Ends[0] == i {
		return l.Ends[1]
	}
	return l.Ends[0]
}

// Node finds a node by name; nil if there is none.
func (s *Spec) Node(name string) *Node { return s.byName[name] }

// setMACs gives interfaces their station addresses, the same every time, so that
// captures of one lab are alike.
func (s *Spec) setMACs() {
	k := 0
	set := func(n *Node) {
		for j, i := range n.Interfaces {
			i.mac = wire.MAC{2, 0, byte(k >> 8), byte(k + 1), byte(j >> 8), byte(j)}
		}
		k++
	}
	for _, n := range s.Nodes {
		set(n)
	}
	for _, w := range s.Switches {
		set(w.Node)
	}
}

func (s *Spec) nodeNames() []string {
	names := make([]string, len(s.Nodes))
	for i, n := range s.Nodes {
		names[i] = n.Name
	}
	return names
}

// Interface finds an interface by name; nil if there is none.
func (n *Node) Interface(name string) *Interface {
	for _, i := range n.Interfaces {
		if i.Name == name {
			return i
		}
	}
	return nil
}

// network returns the interface and the address of n whose network a is in.
func (n *Node) network(a netip.Addr) (*Interface, Address, bool) {
	for _, i := range n.Interfaces {
		for _, p := range i.Addresses {
			if p.Contains(a) {
				return i, p, true
			}
		}
	}
	return nil, Address{}, false
}

// addresses is all of a node's addresses, those in a network of its neighbour
// near first.
func (n *Node) addresses(near *Node) []netip.Addr {
	var close, far []netip.Addr
	for _, i := range n.Interfaces {
		for _, a := range i.Addresses {
			if _, _, ok := near.network(a.Addr()); ok {
				close = append(close, a.Addr())
			} else {
				far = append(far, a.Addr())
			}
		}
	}
	return append(close, far...)
}

// names is every node's addresses by its name, as the node near knows them.
func (s *Spec) names(near *Node) map[string][]netip.Addr {
	names := map[string][]netip.Addr{}
	for _, n := range s.Nodes {
		if a := n.addresses(near); len(a) > 0 {
			names[n.Name] = a
		}
	}
	return names
}

// Load reads a lab file and finds every mistake in it that can be found
// without starting anything. Mistakes are returned as [Errors].
func Load(file string) (*Spec, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	return Parse(file, text)
}

// Parse is [Load] for the text of a file, which names it and says where
// relative paths begin.
func Parse(file string, text []byte) (*Spec, error) {
	d := newDiagnostics(file, text)
	dir := filepath.Dir(file)
	if abs, err := filepath.Abs(dir); err == nil {
		dir = abs
	}
	s := &Spec{File: file, Dir: dir, byName: map[string]*Node{}, called: map[string]*Node{}}
	root := d.parseYAML(text)
	if root != nil && len(d.errors) == 0 && d.expand(root) {
		d.readLab(s, root)
		d.check(s)
		s.setMACs()
	}
	if len(d.errors) > 0 {
		d.errors.sort()
		return nil, d.errors
	}
	d.warnings.sort()
	s.Warnings = d.warnings
	return s, nil
}

func sortedKeys[K cmp.Ordered, V any](m map[K]V) []K { return slices.Sorted(maps.Keys(m)) }

// Runs reports whether some node has commands to run, so that the lab ends by
// itself.
func (s *Spec) Runs() bool {
	return slices.ContainsFunc(s.Nodes, func(n *Node) bool { return len(n.Run) > 0 })
}
