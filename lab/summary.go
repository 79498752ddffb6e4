package lab

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/towpath/towpath/capture"
	"github.com/towpath/towpath/link/netem"
	"github.com/towpath/towpath/packet"
)

// A Summary is what has happened in a lab.
type Summary struct {
	Results  []Result
	Outcomes []Outcome
	Links    []LinkSummary
	Nodes    []NodeSummary
	Switches []SwitchSummary
}

// LinkSummary counts the packets of a link.
type LinkSummary struct {
	Link    *Link
	Packets [2]uint64 // from each end; a super-segment is one
	Drops   packet.Counters
	Down    bool // it has been taken down
	Impair  [2]netem.Impairment
	File    string // of the capture; empty: none
	Capture capture.Stats
}

// NodeSummary counts the packets that a host dropped. What a machine's kernel
// drops is not known here.
type NodeSummary struct {
	Node      *Node
	Forwarded uint64
	Drops     packet.Counters
	Firewall  *FirewallSummary // nil: it has none
}

// Summary returns what has happened until now, or until the lab was closed.
func (n *Net) Summary() Summary {
	n.mu.Lock()
	closed, s := n.closed, n.summary
	n.mu.Unlock()
	if closed {
		return s
	}
	return n.count()
}

func (n *Net) count() (s Summary) {
	n.mu.Lock()
	s.Results = append(s.Results, n.results...)
	s.Outcomes = append(s.Outcomes, n.outcomes...)
	defer n.mu.Unlock()
	for _, w := range n.wires {
		a := w.before
		l := LinkSummary{Link: w.link, Drops: w.dropsBefore, Down: w.down, Impair: w.impair}
		if w.adapter != nil {
			now := w.adapter.Stats()
			a.TxPackets += now.TxPackets
			a.RxPackets += now.RxPackets
			w.adapter.Drops(&l.Drops)
		}
		l.Packets[w.from], l.Packets[1-w.from] = a.TxPackets, a.RxPackets
		if w.tap != nil {
			l.File, l.Capture = w.file.Name(), w.tap.Stats()
		}
		s.Links = append(s.Links, l)
	}
	for _, node := range n.spec.Nodes {
		if h := n.hosts[node.Name]; h != nil {
			s.Nodes = append(s.Nodes, NodeSummary{node, h.Stats().Forwarded, h.Drops(), n.countFirewall(node)})
		}
	}
	s.Switches = n.countSwitches()
	return s
}

// Describe writes what a lab consists of.
func (s *Spec) Describe(w io.Writer) {
	fmt.Fprintf(w, "lab %s: %s, %s\n", s.Name, plural(len(s.Nodes), "node"), plural(len(s.Links), "link"))
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, n := range s.Nodes {
		kind := n.Kind.String()
		if n.Forward {
			kind += ", router"
		}
		if n.Firewall != nil {
			kind += ", firewall"
		}
		var has []string
		for _, i := range n.Interfaces {
			for _, a := range i.Addresses {
				has = append(has, i.Name+" "+a.String())
			}
		}
		for _, c := range n.Serve {
			has = append(has, "serves "+c.Text)
		}
		fmt.Fprintf(t, "  %s\t%s\t%s\n", n.Name, kind, strings.Join(has, ", "))
	}
	for _, w := range s.Switches {
		fmt.Fprintf(t, "  %s\tswitch\t%s\n", w.Name, plural(len(w.Interfaces), "port"))
	}
	t.Flush()
	for _, l := range s.Links {
		mtu := ""
		if l.MTU != mtuDefault {
			mtu = fmt.Sprintf(", MTU %d", l.MTU)
		}
		mtu += l.vlanText() + l.impairText()
		fmt.Fprintf(w, "  %v%s\n", l, mtu)
	}
	for _, e := range s.Events {
		fmt.Fprintf(w, "  %v\n", e)
	}
	for _, e := range s.Expect {
		fmt.Fprintf(w, "  expects %s: %v\n", e.From.Name, e)
	}
}

// Print writes a summary, but for expectations; see [PrintOutcomes].
func (s *Summary) Print(w io.Writer) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	if len(s.Results) > 0 {
		fmt.Fprintln(t, "commands")
	}
	for _, r := range s.Results {
		end := "ok"
		if r.Err != nil {
			end = "FAILED: " + strings.ReplaceAll(r.Err.Error(), "\n", "; ")
		}
		fmt.Fprintf(t, "  %s\t%s\t%v\t%s\n", r.Node, r.Command, r.Took.Round(time.Millisecond), end)
	}
	t.Flush()
	fmt.Fprintln(t, "links\t->\t<-\tcaptured in")
	for _, l := range s.Links {
		file := "-"
		if l.File != "" {
			file = fmt.Sprintf("%s (%s", l.File, plural(int(l.Capture.Written), "packet"))
			if l.Capture.Dropped > 0 {
				file += fmt.Sprintf(", %d LOST", l.Capture.Dropped)
			}
			file += ")"
		}
		fmt.Fprintf(t, "  %v\t%d\t%d\t%s\n", l.Link, l.Packets[0], l.Packets[1], file)
	}
	t.Flush()
	fmt.Fprintln(t, "hosts")
	for _, n := range s.Nodes {
		fmt.Fprintf(t, "  %s\tforwarded %d\tdropped %s\n", n.Node.Name, n.Forwarded, drops(&n.Drops))
	}
	t.Flush()
	for _, n := range s.Nodes {
		if n.Firewall == nil {
			continue
		}
		for _, r := range n.Firewall.Drops {
			fmt.Fprintf(w, "  %s dropped %s by %s\n", n.Node.Name, plural(int(r.Packets), "packet"), r.text)
		}
	}
	if len(s.Nodes) == 0 {
		fmt.Fprintln(t, "  none")
	}
	if len(s.Switches) > 0 {
		fmt.Fprintln(t, "switches")
	}
	for _, w := range s.Switches {
		fmt.Fprintf(t, "  %s\tforwarded %d, flooded %d, knows %s\tdropped %s\n",
			w.Switch.Name, w.Forwarded, w.Flooded, plural(w.Stations, "station"), drops(&w.Drops))
	}
	t.Flush()
}

// PrintOutcomes writes a table of what became of expectations.
func PrintOutcomes(w io.Writer, all []Outcome) {
	if len(all) == 0 {
		return
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "expectations")
	for _, o := range all {
		end := "ok"
		if !o.OK {
			end = "FAILED"
		}
		fmt.Fprintf(t, "  %s\t%s\t%v\t%s\n", end, o.Expectation.From.Name, o.Expectation, o.Detail)
	}
	t.Flush()
}

// drops lists counters by reason.
func drops(c *packet.Counters) string {
	var all []string
	for r, n := range c {
		if n > 0 {
			all = append(all, fmt.Sprintf("%d %s", n, packet.Reason(r)))
		}
	}
	if len(all) == 0 {
		return "0"
	}
	return strings.Join(all, ", ")
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
