package lab

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/towpath/towpath/host"
	"github.com/towpath/towpath/ip/route"
	"github.com/towpath/towpath/link/netem"
	"github.com/towpath/towpath/service"
)

// An Action is something to be done to a lab that is up.
type Action struct {
	Text string
	do   func(ctx context.Context, n *Net) error
}

// String is the action in the file's words.
func (a *Action) String() string { return a.Text }

// actionUsage are the actions, by their first word.
var actionUsage = map[string]string{
	"link":    "link down NODE:INTERFACE, or link up …",
	"impair":  "impair NODE:INTERFACE IMPAIRMENT, for both ways, or impair NODE->NODE IMPAIRMENT; an impairment is one such as delay 10ms, loss 1%, or none",
	"start":   "start NODE COMMAND",
	"stop":    "stop NODE PROGRAM",
	"route":   "route add NODE PREFIX via ADDRESS, or route del NODE PREFIX",
	"sysctl":  "sysctl NODE NAME=VALUE",
	"crash":   "crash NODE",
	"restart": "restart NODE",
}

// ParseAction reads an action in the words of a lab file's events.
func (s *Spec) ParseAction(text string) (*Action, error) {
	args, err := words(text)
	if err != nil {
		return nil, err
	}
	usage, ok := actionUsage[args[0]]
	if !ok {
		return nil, fmt.Errorf("there is no action %q; %s", args[0], suggest(args[0], sortedKeys(actionUsage)))
	}
	wrong := fmt.Errorf("%s says too little or too much; write %s", args[0], usage)
	a := &Action{Text: text}
	switch args[0] {
	case "link":
		if len(args) != 3 || args[1] != "up" && args[1] != "down" {
			return nil, wrong
		}
		a.do, err = s.linkAction(args[1] == "up", args[2])
	case "impair":
		if len(args) < 3 {
			return nil, wrong
		}
		a.do, err = s.impairAction(args[1], strings.Join(args[2:], " "))
	case "start", "stop":
		if len(args) < 3 {
			return nil, wrong
		}
		a.do, err = s.programAction(args[0] == "start", args[1], args[2:])
	case "route":
		a.do, err = s.routeAction(args[1:], wrong)
	case "sysctl":
		if len(args) < 3 {
			return nil, wrong
		}
		a.do, err = s.sysctlAction(args[1], strings.Join(args[2:], " "))
	default:
		if len(args) != 2 {
			return nil, wrong
		}
		a.do, err = s.crashAction(args[0] == "restart", args[1])
	}
	if err != nil {
		return nil, err
	}
	return a, nil
}

// Do does something to the lab.
func (n *Net) Do(ctx context.Context, a *Action) error {
	if !n.enter() {
		return ErrClosed
	}
	defer n.programs.Done()
	n.doing.Lock()
	defer n.doing.Unlock()
	err := a.do(ctx, n)
	n.note(KindAction, "", a.Text, err)
	return err
}

func (s *Spec) nodeCalled(name string) (*Node, error) {
	n := s.Node(name)
	if n == nil {
		return nil, fmt.Errorf("there is no node %q; %s", name, suggest(name, s.nodeNames()))
	}
	return n, nil
}

// FindLink finds the link that an interface, NODE:INTERFACE, is on, and which of
// its ends that is. Switches' ports are interfaces here.
func (s *Spec) FindLink(end string) (*Link, int, error) {
	for _, l := range s.Links {
		for i, e := range l.Ends {
			if e.String() == end {
				return l, i, nil
			}
		}
	}
	name, _, ok := strings.Cut(end, ":")
	if n := s.Node(name); ok && n != nil {
		var known []string
		for _, i := range n.Interfaces {
			known = append(known, i.String())
		}
		if len(known) > 0 {
			return nil, 0, fmt.Errorf("there is no interface %q; %s", end, suggest(end, known))
		}
	}
	return nil, 0, fmt.Errorf("there is no interface %q; write NODE:INTERFACE, such as %v", end, s.someEnd())
}

func (s *Spec) someEnd() string {
	if len(s.Links) == 0 {
		return "a:eth0, of a lab that has links"
	}
	return s.Links[0].Ends[0].String()
}

func (s *Spec) linkAction(up bool, end string) (func(context.Context, *Net) error, error) {
	l, _, err := s.FindLink(end)
	if err != nil {
		return nil, err
	}
	return func(_ context.Context, n *Net) error { return n.SetLink(l, up) }, nil
}

func (s *Spec) impairAction(where, text string) (func(context.Context, *Net) error, error) {
	var im netem.Impairment
	if text != "none" {
		var err error
		if im, err = netem.Parse(text); err != nil {
			return nil, fmt.Errorf("impair: %w", err)
		}
	}
	if !strings.Contains(where, "->") {
		l, _, err := s.FindLink(where)
		if err != nil {
			return nil, err
		}
		return func(_ context.Context, n *Net) error {
			return errors.Join(n.Impair(l, 0, im), n.Impair(l, 1, im))
		}, nil
	}
	var found *Link
	from := 0
	for _, l := range s.Links {
		i := l.sender(where)
		switch {
		case i < 0:
		case found != nil:
			return nil, fmt.Errorf("%q is a direction of several links; write NODE:INTERFACE->NODE:INTERFACE", where)
		default:
			found, from = l, i
		}
	}
	if found == nil {
		return nil, fmt.Errorf("there is no link %q; write NODE->NODE, or NODE:INTERFACE for both ways", where)
	}
	return func(_ context.Context, n *Net) error { return n.Impair(found, from, im) }, nil
}

func (s *Spec) programAction(start bool, name string, args []string) (func(context.Context, *Net) error, error) {
	node, err := s.nodeCalled(name)
	if err != nil {
		return nil, err
	}
	if !start {
		if len(args) != 1 {
			return nil, fmt.Errorf("stop says too much; write %s", actionUsage["stop"])
		}
		return func(_ context.Context, n *Net) error { return n.stopTask(node, args[0]) }, nil
	}
	c := &Command{Args: args, Text: strings.Join(args, " ")}
	if node.Kind == Host {
		for _, x := range services {
			if x.Name == args[0] {
				if c.start, err = x.Parse(args[1:], service.Options{Dir: s.Dir}); err != nil {
					return nil, fmt.Errorf("%s: %w; write %s", x.Name, err, x.Usage)
				}
			}
		}
		for _, x := range tools {
			if x.Name == args[0] {
				if c.tool, err = x.Parse(args[1:]); err != nil && !forOriginal(x.Name, err) {
					return nil, fmt.Errorf("%s: %w; write %s", x.Name, err, x.Usage)
				}
			}
		}
	}
	return func(_ context.Context, n *Net) error { return n.startTask(node, c) }, nil
}

func (s *Spec) routeAction(args []string, wrong error) (func(context.Context, *Net) error, error) {
	if len(args) != 3 && len(args) != 5 || args[0] != "add" && args[0] != "del" ||
		len(args) == 5 && args[3] != "via" || args[0] == "add" && len(args) != 5 {
		return nil, wrong
	}
	node, err := s.nodeCalled(args[1])
	if err != nil {
		return nil, err
	}
	var via netip.Addr
	if len(args) == 5 {
		if via, err = netip.ParseAddr(args[4]); err != nil || via.Zone() != "" {
			return nil, fmt.Errorf("via %q is not an address; write a router's, such as 10.0.0.1", args[4])
		}
	}
	d := newDiagnostics(s.File, nil)
	family := via
	if !family.IsValid() && strings.Contains(args[2], ":") {
		family = netip.IPv6Unspecified()
	} else if !family.IsValid() {
		family = netip.IPv4Unspecified()
	}
	to, ok := d.prefix(args[2], Pos{}, family)
	if !ok {
		return nil, errors.New(d.errors[0].Message)
	}
	if node.Kind == Machine {
		words := slices.Concat([]string{"ip", "route"}, args[:1], args[2:])
		return func(ctx context.Context, n *Net) error {
			out := n.output.of(node.Name)
			defer out.Close()
			return n.execMachine(ctx, n.machines[node.Name], &Exec{Args: words, Dir: s.Dir, Stdout: out, Stderr: out})
		}, nil
	}
	return func(_ context.Context, n *Net) error {
		h := n.Host(node.Name)
		switch {
		case h == nil:
			return errCrashed(node)
		case args[0] == "add":
			return h.AddRoute(route.Route{Dst: to, Via: via})
		}
		gone := 0
		err := h.RemoveRoutes(func(r route.Route) bool {
			if r.Dst != to || via.IsValid() && r.Via != via {
				return false
			}
			gone++
			return true
		})
		if err == nil && gone == 0 {
			err = fmt.Errorf("%s has no route to %v", node.Name, to)
		}
		return err
	}, nil
}

func (s *Spec) sysctlAction(name, setting string) (func(context.Context, *Net) error, error) {
	node, err := s.nodeCalled(name)
	if err != nil {
		return nil, err
	}
	key, value, ok := strings.Cut(setting, "=")
	if !ok {
		return nil, fmt.Errorf("%q sets nothing; write %s", setting, actionUsage["sysctl"])
	}
	key, value = strings.TrimSpace(key), strings.TrimSpace(value)
	if node.Kind == Machine {
		return nil, fmt.Errorf("%s is a machine; write start %s sysctl -w %s=%s", name, name, key, value)
	}
	probe := host.New(host.Config{})
	defer probe.Close(context.Background())
	if _, e := probe.Sysctl(key); e != 0 {
		return nil, fmt.Errorf("there is no setting %q; see sysctl -a", key)
	}
	return func(_ context.Context, n *Net) error {
		h := n.Host(node.Name)
		if h == nil {
			return errCrashed(node)
		}
		if e := h.SetSysctl(key, value); e != 0 {
			return fmt.Errorf("%s=%s: %w", key, value, e)
		}
		return nil
	}, nil
}

func (s *Spec) crashAction(restart bool, name string) (func(context.Context, *Net) error, error) {
	node, err := s.nodeCalled(name)
	if err != nil {
		return nil, err
	}
	if node.Kind == Machine {
		return nil, fmt.Errorf("%s is a machine, and only hosts can crash; take its links down, or stop its programs", name)
	}
	for _, i := range node.Interfaces {
		if i.Link != nil && i.Link.Peer(i).Node.Kind == Machine {
			return nil, fmt.Errorf("%s is on a link with the machine %s, which would lose its device; put a switch between them", name, i.Link.Peer(i).Node.Name)
		}
	}
	if restart {
		return func(ctx context.Context, n *Net) error { return n.restart(ctx, node) }, nil
	}
	return func(ctx context.Context, n *Net) error { return n.crash(ctx, node) }, nil
}

func errCrashed(node *Node) error { return fmt.Errorf("node %s has crashed; restart it", node.Name) }

// SetLink takes a link down at both its ends, or up again.
func (n *Net) SetLink(l *Link, up bool) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	w := n.wire(l)
	w.down = !up
	for i, a := range w.ends {
		if a == nil {
			continue
		}
		a.SetUp(up)
		if b := n.switches[l.Ends[i].Node.Name]; b != nil && l.Ends[i].sw != nil {
			for _, p := range b.Ports() {
				if p.Adapter() == a {
					p.Flush()
				}
			}
		}
	}
	return nil
}

// wire finds what a link has become.
func (n *Net) wire(l *Link) *wired {
	return n.wires[slices.IndexFunc(n.wires, func(w *wired) bool { return w.link == l })]
}

// crash ends a host as a loss of power does: without a word to its neighbours.
func (n *Net) crash(ctx context.Context, node *Node) error {
	h := n.Host(node.Name)
	if h == nil {
		return errCrashed(node)
	}
	for _, i := range node.Interfaces {
		if a := h.Adapter(i.Name); a != nil {
			a.SetUp(false) // resets do not get out
		}
	}
	h.SetDropTap(nil)
	n.stopTasks(node)
	n.mu.Lock()
	delete(n.hosts, node.Name)
	for _, w := range n.wires {
		w.retire(node)
	}
	n.mu.Unlock()
	return h.Close(ctx)
}

// restart starts a host that has crashed, with its addresses, routes and
// services.
func (n *Net) restart(ctx context.Context, node *Node) error {
	if n.Host(node.Name) != nil {
		if err := n.crash(ctx, node); err != nil {
			return err
		}
	}
	h := n.newHost(node)
	n.mu.Lock()
	n.hosts[node.Name] = h
	err := n.protect(node, h)
	if err == nil {
		err = n.replug(node)
	}
	n.mu.Unlock()
	if err != nil {
		return err
	}
	if err := n.configure(node); err != nil {
		return err
	}
	for i := range node.Serve {
		if err := n.serve(ctx, node, &node.Serve[i]); err != nil {
			return err
		}
	}
	return nil
}

// replug gives a host's interfaces the ends of cables that they had.
func (n *Net) replug(node *Node) error {
	for _, i := range node.Interfaces {
		w := n.wire(i.Link)
		k := slices.Index(i.Link.Ends[:], i)
		a, err := n.hosts[node.Name].AddAdapter(i.Name, w.ports[k])
		if err != nil {
			return err
		}
		w.ends[k] = a
		a.SetUp(!w.down)
		if w.from != k {
			continue
		}
		w.adapter, w.netem = a, nil
		if err := n.attach(w); err != nil {
			return err
		}
		if w.tap != nil {
			a.AddTap(w.tap)
		}
	}
	return nil
}

// retire keeps the counters of a link's adapter whose host has crashed.
func (w *wired) retire(node *Node) {
	if w.link.Ends[w.from].Node != node {
		return
	}
	s := w.adapter.Stats()
	w.before.TxPackets += s.TxPackets
	w.before.RxPackets += s.RxPackets
	w.adapter.Drops(&w.dropsBefore)
	w.adapter = nil
}
