package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"unicode/utf8"

	"github.com/towpath/towpath/firewall/conntrack"
	"github.com/towpath/towpath/firewall/nat"
	"github.com/towpath/towpath/firewall/nft"
	"github.com/towpath/towpath/host"
	"github.com/towpath/towpath/link"
	"github.com/towpath/towpath/packet"
)

// A Firewall is the rules of a host, in nftables' language.
type Firewall struct {
	Pos
	File string // beside the lab's file, if it is a relative path
	text string
}

// Rules reads the rules. Each time they are others, with counters of their own.
func (f *Firewall) Rules() (*nft.Ruleset, error) { return nft.Read(f.File, f.text) }

// A firewall is rules in force on a host, and its flows.
type firewall struct {
	engine *nft.Engine
	flows  *conntrack.Table
}

// readFirewall reads a node's rules, and finds what is wrong with them.
func (d *diagnostics) readFirewall(n *Node, t *tree) {
	file, ok := d.word(t, "a file of nftables rules")
	switch {
	case !ok:
		return
	case n.Kind == Machine:
		d.errorf(t.Pos, "%s is a machine, whose rules are its kernel's; write run: [nft -f %s]", n.Name, file)
		return
	case !filepath.IsAbs(file):
		file = filepath.Join(filepath.Dir(d.file), file)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		d.errorf(t.Pos, "no rules can be read: %v; write the path of a file from %s on", err, filepath.Dir(d.file))
		return
	}
	f := &Firewall{t.Pos, file, string(text)}
	rules, err := f.Rules()
	if err == nil {
		flows := conntrack.NewTable(conntrack.Settings{Max: 1})
		_, err = nft.Load(rules, nft.Config{Conntrack: flows, NAT: nat.New(flows)})
	}
	var mistake *nft.Error
	switch {
	case err == nil:
		n.Firewall = f
	case errors.As(err, &mistake) && mistake.Line > 0:
		source := mistake.Source
		if lines := strings.Split(f.text, "\n"); source == "" && mistake.File == file && mistake.Line <= len(lines) {
			source = lines[mistake.Line-1]
		}
		before := source[:min(max(mistake.Col-1, 0), len(source))] // rules have bytes for columns
		d.errors = append(d.errors, &Error{mistake.File, Pos{mistake.Line, utf8.RuneCountInString(before) + 1}, mistake.Msg, strings.ToValidUTF8(source, "\ufffd")})
	default:
		d.errorf(t.Pos, "rules of %s: %v", file, err)
	}
}

// protect puts a node's rules in force on its host.
func (n *Net) protect(node *Node, h *host.Host) error {
	if node.Firewall == nil {
		return nil
	}
	rules, err := node.Firewall.Rules()
	if err != nil {
		return err
	}
	flows := conntrack.NewTable(conntrack.Settings{})
	e, err := nft.NewEngine(nft.Config{Conntrack: flows, NAT: nat.New(flows), Now: h.Clock().Now}, h.AddJudge, h.RemoveJudge)
	if err != nil {
		return err
	}
	n.firewalls[node.Name] = &firewall{e, flows}
	return e.Replace(rules)
}

// FirewallSummary is what a host's rules have done.
type FirewallSummary struct {
	File  string
	Drops []RuleCount // by rules and policies that have dropped packets
	// Counters are those in rules.
	Counters []RuleCount
	Flows    []string // as conntrack -L lists them
}

// RuleCount is what a rule, or a chain's policy, has counted. Bytes are those
// of a counter.
type RuleCount struct {
	*nft.Decision
	Packets uint64 `json:"packets"`
	Bytes   uint64 `json:"bytes,omitempty"`

	text string
}

// countFirewall is the summary of a node's rules; nil if it has none.
func (n *Net) countFirewall(node *Node) *FirewallSummary {
	f := n.firewalls[node.Name]
	if f == nil {
		return nil
	}
	s := &FirewallSummary{File: node.Firewall.File}
	for _, c := range f.engine.Causes() {
		if k := c.Dropped(); k > 0 {
			s.Drops = append(s.Drops, RuleCount{c.Decision(), k, 0, c.String()})
		}
		if p, b, ok := c.Counts(); ok {
			s.Counters = append(s.Counters, RuleCount{c.Decision(), p, b, c.String()})
		}
	}
	for _, x := range f.flows.List(n.hosts[node.Name].Clock().Now()) {
		s.Flows = append(s.Flows, x.String())
	}
	return s
}

// Explain tells what a packet meets on its way through a host: its rules, and
// its routes. Nothing is started. A node without a firewall has no rules.
func (n *Node) Explain(x *nft.Probe) (*nft.Explanation, error) {
	if n.Kind == Machine {
		return nil, fmt.Errorf("%s is a machine, whose rules and routes are its kernel's", n.Name)
	}
	rules := new(nft.Ruleset)
	if n.Firewall != nil {
		var err error
		if rules, err = n.Firewall.Rules(); err != nil {
			return nil, err
		}
	}
	h := host.New(host.Config{Name: n.Name, Settings: host.Settings{NoAutoconf: true, NoAcceptRA: true, DADTransmits: -1}})
	defer h.Close(context.Background())
	for _, i := range n.Interfaces {
		if _, err := h.AddAdapter(i.Name, unplugged{i.Link.MTU}); err != nil {
			return nil, err
		}
	}
	if err := n.configure(h); err != nil {
		return nil, err
	}
	return nft.Explain(rules, x, &nft.Host{Adapters: h.Adapters(), Addresses: h.Addresses(), Routes: h.Routes(), Forward: n.Forward})
}

// unplugged is a driver of a device to which nothing is joined.
type unplugged struct{ mtu int }

func (u unplugged) Capabilities() link.Capabilities {
	return link.Capabilities{Medium: link.MediumIP, MTU: u.mtu}
}
func (unplugged) Start(*link.Adapter) error         { return nil }
func (unplugged) Send(l *packet.List, _ *link.Work) { l.Free() }
func (unplugged) Close() error                      { return nil }
