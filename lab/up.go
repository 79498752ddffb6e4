package lab

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/towpath/towpath/capture"
	"github.com/towpath/towpath/host"
	"github.com/towpath/towpath/ip/route"
	"github.com/towpath/towpath/lab/machine"
	"github.com/towpath/towpath/link"
	"github.com/towpath/towpath/link/bridge"
	"github.com/towpath/towpath/link/cable"
	"github.com/towpath/towpath/link/netem"
	"github.com/towpath/towpath/packet"
	"github.com/towpath/towpath/run"
	"github.com/towpath/towpath/wire"
)

// Options shape a lab that is brought up.
type Options struct {
	// CaptureDir is where each link's packets are written to, a file a link, and
	// to drops.pcapng what hosts drop, with the reasons as comments; empty:
	// nowhere. It is made if it is not there. What programs print is written
	// there too, a file a program: NODE-N.log, where services are
	// counted first.
	CaptureDir string
	// Pcap makes the files pcap, for old tools; otherwise they are pcapng, with
	// the names of interfaces and the directions of packets.
	Pcap bool
	// Drops has every packet that a host drops printed to Output, with the
	// reason, but for what was meant for others.
	Drops bool
	// Progress, if not nil, is called before each step of Up, with how many
	// there are.
	Progress func(step, steps int, what string)
	// Output gets what programs and services print, each line behind its
	// node's name; nil: nothing.
	Output io.Writer
}

// A Net is a lab that is up.
type Net struct {
	spec   *Spec
	output *output
	drops  dropLog

	journal journal
	began   time.Time // when it was up

	hosts     map[string]*host.Host // guarded by mu, as firewalls: they crash
	firewalls map[string]*firewall  // by node; of those that have rules
	machines  map[string]*machine.Machine
	wires     []*wired
	switches  map[string]*bridge.Bridge
	adapters  []*link.Adapter // of patches, which no host closes

	stop     context.Context // done: programs are to end
	stopNow  context.CancelFunc
	programs sync.WaitGroup // whatever runs programs
	failed   chan error     // has room for one: a service has ended
	doing    sync.Mutex     // one action at a time

	mu       sync.Mutex // and of what wires become
	tasks    []*task
	mishaps  []error // of events
	results  []Result
	outcomes []Outcome
	closed   bool
	summary  Summary
}

// wired is a link that is up.
type wired struct {
	link    *Link
	ports   [2]link.Miniport // of a cable, for hosts that start again
	ends    [2]*link.Adapter // nil at a machine
	adapter *link.Adapter    // the one that counts and is tapped; nil: its host has crashed
	from    int              // the end whose packets the adapter sends
	down    bool             // it has been taken down
	impair  [2]netem.Impairment
	netem   *netem.Filter // nil: the link is good
	file    captureFile
	tap     *capture.Tap

	// What adapters have counted whose host has crashed.
	before      link.Stats
	dropsBefore packet.Counters
}

// Up brings a lab up: machines and hosts, links, addresses, routes, captures
// and then services, until all of these can be used. If something fails, what
// has been started is taken down again. ctx bounds the start only.
func Up(ctx context.Context, s *Spec, o Options) (*Net, error) {
	if o.Output == nil {
		o.Output = io.Discard
	}
	n := &Net{
		spec:      s,
		output:    newOutput(o.Output, s),
		hosts:     map[string]*host.Host{},
		firewalls: map[string]*firewall{},
		machines:  map[string]*machine.Machine{},
		switches:  map[string]*bridge.Bridge{},
		failed:    make(chan error, 1),
	}
	if err := s.checkSystem(); err != nil {
		return nil, err
	}
	n.output.journal = &n.journal
	n.stop, n.stopNow = context.WithCancel(context.Background())
	if err := n.up(ctx, o); err != nil {
		return nil, errors.Join(err, n.Close(context.WithoutCancel(ctx)))
	}
	return n, nil
}

func (n *Net) up(ctx context.Context, o Options) error {
	if o.CaptureDir != "" {
		if err := os.MkdirAll(o.CaptureDir, 0o755); err != nil {
			return err
		}
		n.output.dir = o.CaptureDir
	}
	if err := n.startDrops(o); err != nil {
		return err
	}
	step := n.steps(o.Progress)
	for _, node := range n.spec.Nodes {
		if node.Kind == Host {
			h := n.newHost(node)
			n.hosts[node.Name] = h
			if err := n.protect(node, h); err != nil {
				return fmt.Errorf("node %s: %w", node.Name, err)
			}
			continue
		}
		step("machine " + node.Name)
		m, err := machine.Start(ctx, n.machineConfig(node))
		if err != nil {
			return err
		}
		n.machines[node.Name] = m
	}
	n.startSwitches()
	for _, l := range n.spec.Links {
		step("link " + l.String())
		if err := n.connect(l); err != nil {
			return fmt.Errorf("link %v: %w", l, err)
		}
	}
	// Before the hosts have addresses, so that their first packets are seen.
	if o.CaptureDir != "" {
		if err := n.startCaptures(o); err != nil {
			return err
		}
	}
	for _, node := range n.spec.Nodes {
		if err := n.configure(node); err != nil {
			return err
		}
	}
	for _, node := range n.spec.Nodes {
		for i := range node.Serve {
			step("service " + node.Serve[i].Text + " on " + node.Name)
			if err := n.serve(ctx, node, &node.Serve[i]); err != nil {
				return err
			}
		}
	}
	n.note(KindUp, "", n.spec.Name, nil)
	n.startEvents()
	return nil
}

// newHost makes the host of a node.
func (n *Net) newHost(node *Node) *host.Host {
	h := host.New(host.Config{
		Name: node.Name, Forward: node.Forward,
		Names: func(name string) []netip.Addr {
			if o := n.spec.called[strings.ToLower(name)]; o != nil {
				return o.addresses(node)
			}
			return nil
		},
	})
	if t := n.drops.taps[node.Name]; t != nil {
		h.SetDropTap(t)
	}
	return h
}

// steps counts the steps of up for whoever wants to see them.
func (n *Net) steps(progress func(step, steps int, what string)) func(what string) {
	if progress == nil {
		return func(string) {}
	}
	total, done := len(n.spec.Links), 0
	for _, node := range n.spec.Nodes {
		total += len(node.Serve)
		if node.Kind == Machine {
			total++
		}
	}
	return func(what string) {
		done++
		progress(done, total, what)
	}
}

// probe finds out what machines can have here.
var probe = machine.Probe

// checkSystem makes sure, before anything starts, that this system allows
// machines if there are any in the lab, and programs on hosts.
func (s *Spec) checkSystem() error {
	if err := s.checkPrograms(); err != nil {
		return err
	}
	for _, node := range s.Nodes {
		if node.Kind != Machine {
			continue
		}
		why, ok := MachinesAllowed(probe())
		if ok {
			return nil
		}
		e := &Error{File: s.File, Pos: node.Pos}
		e.Message = fmt.Sprintf("node %s is a machine, and this system allows none: %s; towpath doctor says what to do, or leave kind: machine out", node.Name, why)
		return Errors{e}
	}
	return nil
}

// checkPrograms makes sure that programs can be run on hosts, if some are to.
func (s *Spec) checkPrograms() error {
	for _, node := range s.Nodes {
		for i := range node.Run {
			c := &node.Run[i]
			if node.Kind != Host || c.tool != nil {
				continue
			}
			err := run.Probe()
			if err == nil {
				return nil
			}
			e := &Error{File: s.File, Pos: c.Pos}
			e.Message = fmt.Sprintf("%s is a program, and this system lets none run on a host: %v; make the node kind: machine", c.Args[0], err)
			return Errors{e}
		}
	}
	return nil
}

// MachinesAllowed reports whether labs with machines can run where the checks
// of [machine.Probe] have these results, and if not, why.
func MachinesAllowed(checks []machine.Check) (why string, ok bool) {
	devices := []string{}
	for i, c := range checks {
		switch {
		case i == 0 && !c.OK: // user namespaces; there are no others then
			return c.Name + ": " + c.Detail, false
		case i == 1 || i == 2: // one kind of device is enough
			if c.OK {
				ok = true
			}
			devices = append(devices, c.Name+": "+c.Detail)
		case !c.OK:
			return c.Name + ": " + c.Detail, false
		}
	}
	if !ok {
		why = strings.Join(devices, "; ")
	}
	return why, ok
}

// Spec is what the lab was made of.
func (n *Net) Spec() *Spec { return n.spec }

// Host finds a towpath host of the lab; nil if there is none of that name, or
// it has crashed.
func (n *Net) Host(name string) *host.Host {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.hosts[name]
}

// Machine finds a machine of the lab; nil if there is none of that name.
func (n *Net) Machine(name string) *machine.Machine { return n.machines[name] }

func (n *Net) machineConfig(node *Node) machine.Config {
	c := machine.Config{
		Name: node.Name, Hostname: node.Name,
		Hosts: n.spec.names(node), Forward: node.Forward,
	}
	for _, i := range node.Interfaces {
		x := machine.Interface{Name: i.Name, MAC: i.mac, PortMAC: i.Link.Peer(i).mac, MTU: i.Link.MTU}
		for _, a := range i.Addresses {
			x.Addresses = append(x.Addresses, a.Prefix)
		}
		c.Interfaces = append(c.Interfaces, x)
	}
	for _, r := range node.Routes {
		c.Routes = append(c.Routes, machine.Route{To: r.To, Via: r.Via})
	}
	return c
}

// port is the other end of a machine's interface.
func (n *Net) port(i *Interface) link.Miniport {
	for k, x := range i.Node.Interfaces {
		if x == i {
			return n.machines[i.Node.Name].Ports()[k]
		}
	}
	panic("lab: interface of another node")
}

// connect makes a link: between hosts and switches a cable; between one of them
// and a machine the machine's port, as the driver of the other's adapter;
// between machines a patch of two ports.
func (n *Net) connect(l *Link) error {
	a, b := l.Ends[0], l.Ends[1]
	w := &wired{link: l, impair: l.Impair}
	var err error
	switch am, bm := a.Node.Kind == Machine, b.Node.Kind == Machine; {
	case am && bm:
		// What is sent to b comes from a.
		w.ends, err = n.patch(l)
		w.adapter = w.ends[1]
	case bm:
		w.ends[0], err = n.plug(a, n.port(b))
		w.adapter = w.ends[0]
	case am:
		w.from = 1
		w.ends[1], err = n.plug(b, n.port(a))
		w.adapter = w.ends[1]
	default:
		pa, pb := cable.New(cable.Config{MTU: l.MTU, MAC: [2]wire.MAC{a.mac, b.mac}})
		w.ports = [2]link.Miniport{pa, pb}
		if w.ends[0], err = n.plug(a, pa); err == nil {
			w.ends[1], err = n.plug(b, pb)
		}
		w.adapter = w.ends[0]
	}
	if err != nil {
		return err
	}
	n.wires = append(n.wires, w)
	return n.attach(w)
}

// plug makes a driver an adapter of a host or a switch.
func (n *Net) plug(i *Interface, m link.Miniport) (*link.Adapter, error) {
	if i.sw != nil {
		return n.addPort(i, m)
	}
	return n.hosts[i.Node.Name].AddAdapter(i.Name, m)
}

// patch joins the ports of two machines and returns the adapters over them.
func (n *Net) patch(l *Link) (ends [2]*link.Adapter, err error) {
	for i, end := range l.Ends {
		ends[i] = link.NewAdapter(end.String(), int32(i+1), n.port(end))
	}
	cable.Patch(ends[0], ends[1])
	for _, a := range ends {
		if err := a.Open(); err != nil {
			return ends, err
		}
		n.adapters = append(n.adapters, a)
	}
	return ends, nil
}

// configure gives a host its addresses and routes. Machines have theirs
// from the beginning.
func (n *Net) configure(node *Node) error {
	h := n.Host(node.Name)
	if h == nil {
		return nil
	}
	return node.configure(h)
}

// configure gives a host the node's addresses and routes.
func (n *Node) configure(h *host.Host) error {
	for _, i := range n.Interfaces {
		for _, a := range i.Addresses {
			if err := h.AddAddress(i.Name, a.Prefix); err != nil {
				return err
			}
		}
	}
	for _, r := range n.Routes {
		if err := h.AddRoute(route.Route{Dst: r.To, Via: r.Via}); err != nil {
			return err
		}
	}
	return nil
}

// Close ends the programs and takes everything down, in the opposite order. If
// it returns nil, nothing is left: no process, device or goroutine, and the
// captures are complete. It may be called more than once.
func (n *Net) Close(ctx context.Context) error {
	n.mu.Lock()
	if n.closed {
		n.mu.Unlock()
		return nil
	}
	n.closed = true
	n.mu.Unlock()
	n.note(KindDown, "", n.spec.Name, nil)
	n.stopNow()
	n.programs.Wait()
	var errs []error
	s := n.count() // before the end makes drops of its own
	for _, h := range n.hosts {
		errs = append(errs, h.SetDropTap(nil))
	}
	errs = append(errs, n.drops.stop())
	for _, t := range n.take(func(*task) bool { return true }) {
		if err := t.stop(); err != nil {
			errs = append(errs, fmt.Errorf("%s on %s: %w", t.name, t.node.Name, err))
		}
	}
	for _, h := range n.hosts {
		errs = append(errs, h.Close(ctx))
	}
	for _, m := range n.machines {
		errs = append(errs, m.Close(ctx))
	}
	for _, b := range n.switches {
		errs = append(errs, b.Close())
	}
	for _, a := range n.adapters {
		errs = append(errs, a.Close())
	}
	for i, w := range n.wires {
		if w.tap == nil {
			continue
		}
		errs = append(errs, w.tap.Close())
		s.Links[i].Capture = w.tap.Stats()
		errs = append(errs, w.file.finish(w.tap.Stats()))
	}
	errs = append(errs, n.output.close())
	n.journal.close()
	n.mu.Lock()
	n.summary = s
	n.mu.Unlock()
	return errors.Join(errs...)
}
