package nft

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/towpath/towpath/firewall/classify"
	"github.com/towpath/towpath/firewall/conntrack"
	"github.com/towpath/towpath/firewall/hook"
	"github.com/towpath/towpath/packet"
	"github.com/towpath/towpath/wire"
)

// An Engine lets rules judge the packets of a host. Its rules are replaced all
// at once: a packet at one point meets either the old ones or the new ones.
type Engine struct {
	config Config
	add    func(at hook.Point, priority int, j hook.PacketJudge) error
	remove func(at hook.Point, j hook.PacketJudge) error
	// told hears what the rules said of a packet, of an engine that explains.
	told func(at hook.Point, b *entrance, steps []classify.Step, r classify.Result)

	loaded  atomic.Pointer[inForce]
	walkers sync.Pool

	mu    sync.Mutex // of replacements
	seats map[place]*seat
}

// A place is where base chains are that are asked one after the other. Those of
// type nat are asked by the NAT, whatever their priorities are.
type place struct {
	point    hook.Point
	priority int
	nat      bool
}

// A seat is the judge at a place.
type seat struct {
	engine *Engine
	place  place
}

// inForce is loaded rules, by place.
type inForce struct {
	*Loaded
	at map[place][]*entrance
}

// NewEngine makes an engine without rules, and attaches the connection tracking
// and the NAT of c, which nobody else does then. add and remove are those of
// the host (host.Host.AddJudge, RemoveJudge).
func NewEngine(c Config, add func(at hook.Point, priority int, j hook.PacketJudge) error, remove func(at hook.Point, j hook.PacketJudge) error) (*Engine, error) {
	e := &Engine{config: c, add: add, remove: remove, seats: map[place]*seat{}}
	e.walkers.New = func() any { return new(walker) }
	e.loaded.Store(&inForce{Loaded: &Loaded{Rules: new(Ruleset)}})
	if c.Conntrack != nil {
		if err := c.Conntrack.Attach(add); err != nil {
			return nil, err
		}
	}
	if c.NAT != nil {
		for _, at := range []hook.Point{hook.Prerouting, hook.Input, hook.Output, hook.Postrouting} {
			c.NAT.AddChain(at, 0, &seat{e, place{point: at, nat: true}})
		}
		if err := c.NAT.Attach(add); err != nil {
			return nil, err
		}
	}
	return e, nil
}

// Rules are those in force.
func (e *Engine) Rules() *Ruleset { return e.loaded.Load().Rules }

// Causes are the rules and policies in force, in the order of the tables, in
// each policies last. They are lent.
func (e *Engine) Causes() []*Cause { return e.loaded.Load().causes }

// Replace puts rules in force, or leaves those that are if it returns an error.
func (e *Engine) Replace(rs *Ruleset) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	l, err := Load(rs, e.config)
	if err != nil {
		return err
	}
	next := &inForce{Loaded: l, at: map[place][]*entrance{}}
	for _, b := range l.bases {
		at := place{b.point, b.chain.Hook.Priority, false}
		if b.chain.Hook.Type == "nat" {
			at = place{point: b.point, nat: true}
		}
		next.at[at] = append(next.at[at], b)
	}
	for at := range next.at {
		if at.nat || e.seats[at] != nil {
			continue
		}
		s := &seat{e, at}
		if err := e.add(at.point, at.priority, s); err != nil {
			return err
		}
		e.seats[at] = s
	}
	e.loaded.Store(next)
	for at, s := range e.seats {
		if next.at[at] != nil {
			continue
		}
		if err := e.remove(at.point, s); err != nil {
			return err
		}
		delete(e.seats, at)
	}
	return nil
}

// A walker is what one walk needs.
type walker struct {
	classify.Walker
	in   classify.Input
	conn conntrack.Reading
}

// JudgePacket asks the chains at the seat's place.
func (s *seat) JudgePacket(c *hook.Context, p *packet.Packet) hook.Verdict {
	e := s.engine
	f := e.loaded.Load()
	w := e.walkers.Get().(*walker)
	defer e.walkers.Put(w)
	for _, b := range f.at[s.place] {
		if !b.about(c, p) {
			continue
		}
		w.fill(&f.Loaded.config, c, p)
		if v := e.ask(f, b, w, c); v != hook.Accept {
			return v
		}
		if s.place.nat && !e.pending(c.Point, p) {
			break
		}
	}
	return hook.Accept
}

// pending reports whether it is open how a packet's flow is translated.
func (e *Engine) pending(at hook.Point, p *packet.Packet) bool {
	side := conntrack.Source
	if at == hook.Prerouting || at == hook.Output {
		side = conntrack.Destination
	}
	var tr conntrack.Translation
	return e.config.Conntrack.Translation(p, side, &tr) && tr.Pending
}

// ask has a packet walk through a chain.
func (e *Engine) ask(f *inForce, b *entrance, w *walker, c *hook.Context) hook.Verdict {
	var r classify.Result
	if e.told == nil {
		r = b.rules.Run(&w.Walker, b.start, &w.in)
	} else {
		var steps []classify.Step
		w.in.Trial = true
		steps, r = b.rules.Explain(b.start, &w.in)
		e.told(c.Point, b, steps, r)
	}
	switch r.Verdict.Code {
	case classify.Accept:
		return hook.Accept
	case classify.Queue:
		c.QueueNumber, c.QueueBypass = r.Verdict.Queue, r.Verdict.Bypass
		return hook.Queue
	case classify.Stolen:
		return hook.Stolen
	}
	cause := f.cause(b, r.Rule)
	cause.dropped.Add(1)
	c.Rule = cause
	if r.Reject != nil {
		c.Refusal = hook.Refusal{Reset: r.Reject.Reset, Unreachable: !r.Reject.Reset, Code4: r.Reject.Code, Code6: r.Reject.Code6}
	}
	return hook.Drop
}

// about reports whether a chain is asked about a packet.
func (b *entrance) about(c *hook.Context, p *packet.Packet) bool {
	switch b.family {
	case IP:
		return p.Src.Is4()
	case IP6:
		return p.Src.Is6()
	}
	if b.point == hook.Ingress || b.point == hook.Egress {
		a := c.In
		if b.point == hook.Egress {
			a = c.Out
		}
		if a == nil || !slices.Contains(b.chain.Hook.Devices, a.Name()) {
			return false
		}
		if b.point == hook.Ingress {
			lookAhead(p)
		}
		return b.family != Inet || p.Src.IsValid()
	}
	return true
}

// fill tells a walk what it is about.
func (w *walker) fill(f *Config, c *hook.Context, p *packet.Packet) {
	w.in = classify.Input{Packet: p, Now: c.Now, Context: c, Logger: f.Logger}
	if c.In != nil {
		w.in.Iif, w.in.IifName = c.In.Index(), c.In.Name()
	}
	if c.Out != nil {
		w.in.Oif, w.in.OifName = c.Out.Index(), c.Out.Name()
	}
	if f.Conntrack != nil {
		w.conn = conntrack.Reading{Table: f.Conntrack, Packet: p, Now: c.Now}
		w.in.Conn = &w.conn
	}
}

// lookAhead finds the headers of a frame that the walk has not looked at yet,
// as far as rules need them; the walk finds them itself again.
func lookAhead(p *packet.Packet) {
	eth := wire.Ethernet(p.Head())
	if !eth.Valid() {
		return
	}
	p.Link = p.Start()
	p.Net = p.Start() + wire.EthernetLen
	p.Src, p.Dst, p.Transport, p.Proto = noAddr, noAddr, 0, 0
	SetHeaders(p)
}

// A Cause is a rule, or the policy of a chain, that may drop packets.
type Cause struct {
	Table *Table
	Chain *Chain
	Rule  *Rule // nil: the chain's policy

	dropped atomic.Uint64
}

// Dropped is how many packets it has dropped since it is in force.
func (c *Cause) Dropped() uint64 { return c.dropped.Load() }

// Counts is what the rule's counter has counted; ok is false if it has none.
func (c *Cause) Counts() (packets, bytes uint64, ok bool) {
	if c.Rule == nil {
		return 0, 0, false
	}
	for _, s := range c.Rule.Stmts {
		if counter, is := s.(*Counter); is {
			packets, bytes = counter.counts()
			return packets, bytes, true
		}
	}
	return 0, 0, false
}

// cause is what a verdict of a walk that began at b comes from.
func (l *Loaded) cause(b *entrance, r *classify.Rule) *Cause {
	if r == nil {
		return b.policy
	}
	return l.rules[r]
}

// String names table, chain, handle, place and what the rule says.
func (c *Cause) String() string {
	s := fmt.Sprintf("%s %s %s", c.Table.Family, c.Table.Name, c.Chain.Name)
	if c.Rule == nil {
		return s + " policy " + policy(c.Chain)
	}
	s += fmt.Sprintf(" handle %d", c.Rule.Handle)
	if at := c.Rule.place(); at != "" {
		s += " (" + at + ")"
	}
	return s + ": " + c.Rule.stateless()
}

// stateless is the rule without what it has counted.
func (r *Rule) stateless() string {
	var b strings.Builder
	(&printer{w: &b, o: &Options{Stateless: true}}).rule(r)
	return b.String()
}

// place is the file and line of a rule, empty if it has none.
func (r *Rule) place() string {
	if r.Pos.File == "" {
		return ""
	}
	return fmt.Sprintf("%s:%d", r.Pos.File, r.Pos.Line)
}

func policy(c *Chain) string {
	if c.Policy == "" {
		return "accept"
	}
	return c.Policy
}
