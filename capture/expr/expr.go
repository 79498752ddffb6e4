package expr

import (
	"fmt"
	"net/netip"

	"github.com/towpath/towpath/capture/bpf"
	"github.com/towpath/towpath/wire"
)

// Config says what an expression is compiled for. The zero value is a
// file captured on BSD's loopback, whose link type is 0.
type Config struct {
	// Link is what packets begin with, in the numbers of pcap files.
	Link wire.LinkType
	// Snaplen is what the program returns for packets that match: how many of
	// their bytes to keep. 0 means 262144.
	Snaplen uint32
	// Netmask is that of the network captured on, for "ip broadcast". If it is
	// not an IPv4 address, "ip broadcast" is an error.
	Netmask netip.Addr
	// Optimize makes the program short. See the package comment for what it
	// may change.
	Optimize bool
	// Live says that the program will run in Linux on a packet socket, where
	// the outer VLAN tag is not in the packet, and where direction and
	// interface are known besides it.
	Live bool
	// Modern looks for IP behind VLAN tags, MPLS, PPPoE and tunnels, and for
	// transport protocols behind IPv6's extension headers.
	Modern bool
	// Names finds names; nil means the files in /etc.
	Names Names
}

const (
	snaplenUsual = 262144
	// lengthMax bounds the text of an expression, in bytes.
	lengthMax = 1 << 20
)

// Compile makes a program of an expression. Packets that match yield
// c.Snaplen, others 0. An empty expression matches everything. Errors about
// the expression are of type *[Error].
func Compile(expression string, c Config) (bpf.Program, error) {
	g, root, err := compile(expression, c)
	if err != nil {
		return nil, err
	}
	prog, err := g.program(root.cond)
	if err != nil {
		return nil, &Error{Expr: expression, Pos: 0, End: len(expression), Msg: err.Error()}
	}
	return prog, nil
}

// compile parses and generates.
func compile(expression string, c Config) (*generator, *node, error) {
	if len(expression) > lengthMax {
		return nil, nil, &Error{Msg: fmt.Sprintf("an expression of %d bytes; at most %d are read", len(expression), lengthMax)}
	}
	if c.Snaplen == 0 {
		c.Snaplen = snaplenUsual
	}
	if c.Names == nil {
		c.Names = systemNames
	}
	g, err := newGenerator(c)
	if err != nil {
		return nil, nil, err
	}
	root, err := parse(expression, g)
	if err != nil {
		return nil, nil, err
	}
	return g, root, nil
}

// program lowers a condition.
func (g *generator) program(c *cond) (bpf.Program, error) {
	gr := newGraph(g, and(g.prologue(c), c))
	if g.conf.Optimize {
		gr.optimize()
	}
	return gr.emit()
}
