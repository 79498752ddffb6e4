package classify_test

import (
	"cmp"
	"slices"
	"testing"

	"github.com/towpath/towpath/firewall/classify"
	"github.com/towpath/towpath/firewall/hook"
	"github.com/towpath/towpath/packet"
	"github.com/towpath/towpath/wire"
)

// This is the arbitration of the Windows Filtering Platform over this package
// and the hooks, to show that the shapes hold it: a layer is a judge, a
// sublayer is a chain, a filter is a rule, a callout is a statement.

// A state is what a layer has decided so far, and whether it may still be
// overridden (soft) or not (hard).
type state struct {
	action classify.Code // Continue: nothing yet
	hard   bool
	veto   bool
}

// A filter is a rule with what arbitration needs to know of it.
type filter struct {
	weight  uint64
	exprs   []classify.Expr
	action  classify.Code
	hard    bool // a permit that may not be overridden
	callout func(s state) (action classify.Code, clears bool)
}

type sublayer struct {
	weight  uint16
	filters []*filter
}

// A layer judges packets.
type layer struct {
	table    *classify.Table
	order    []*classify.Chain // of sublayers, the heaviest first
	filters  map[*classify.Rule]*filter
	walker   classify.Walker
	state    state // in the walk that is under way
	cleared  bool  // the callout asked last took the right to override it
	examined int   // sublayers asked
}

func newLayer(t *testing.T, subs ...sublayer) *layer {
	l := &layer{table: classify.NewTable("layer"), filters: make(map[*classify.Rule]*filter)}
	slices.SortStableFunc(subs, func(a, b sublayer) int { return cmp.Compare(b.weight, a.weight) })
	var err error
	for _, sub := range subs {
		c := l.table.NewChain("sublayer", classify.Accept)
		l.order = append(l.order, c)
		slices.SortStableFunc(sub.filters, func(a, b *filter) int { return cmp.Compare(b.weight, a.weight) })
		for _, f := range sub.filters {
			var act classify.Expr = classify.Verdict{Code: f.action}
			if f.callout != nil {
				act = &classify.Statement{Name: "callout", Do: func(*classify.Input) classify.Verdict {
					action, clears := f.callout(l.state)
					l.cleared = clears
					return classify.Verdict{Code: action}
				}}
			}
			r := &classify.Rule{Exprs: append(slices.Clone(f.exprs), act)}
			l.filters[r] = f
			err = cmp.Or(err, l.table.Edit(func(e *classify.Edit) error { return e.Append(c, r) }))
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// JudgePacket asks all sublayers, also behind a block, so that inspection sees
// everything.
func (l *layer) JudgePacket(c *hook.Context, p *packet.Packet) hook.Verdict {
	l.state, l.examined = state{}, 0
	for _, sub := range l.order {
		r := l.table.Run(&l.walker, sub, &classify.Input{Packet: p, Now: c.Now})
		l.examined++
		if r.Rule == nil {
			continue // no opinion
		}
		l.combine(r.Verdict.Code, l.filters[r.Rule])
		if l.state.action == classify.Drop {
			c.Rule = r.Rule
		}
	}
	if l.state.action == classify.Drop {
		return hook.Drop
	}
	return hook.Accept // also if nothing matched
}

// combine is the table of arbitration.
func (l *layer) combine(action classify.Code, f *filter) {
	s, callout := &l.state, f.callout != nil
	hard := f.hard
	if callout {
		hard = l.cleared
	} else if action == classify.Drop {
		hard = true
	}
	switch {
	case s.action == classify.Drop && s.hard:
	case s.action == classify.Accept && s.hard:
		if action == classify.Drop && callout {
			*s = state{classify.Drop, true, true}
		}
	default:
		*s = state{action, hard, false}
	}
}

func plain(action classify.Code, hard bool) *filter { return &filter{action: action, hard: hard} }

func callout(action classify.Code, clears bool) *filter {
	return &filter{callout: func(state) (classify.Code, bool) { return action, clears }}
}

func tcpPacket(port uint16) *packet.Packet {
	p := packet.Get()
	b := p.Append(wire.IPv4Len + wire.TCPLen)
	clear(b)
	b[0], b[22], b[23] = 0x45, byte(port>>8), byte(port)
	p.Net, p.Transport, p.Proto = p.Start(), p.Start()+wire.IPv4Len, wire.ProtoTCP
	return p
}

func TestArbitration(t *testing.T) {
	const permit, block = classify.Accept, classify.Drop
	softPermit, hardPermit := state{action: permit}, state{permit, true, false}
	softBlock, hardBlock := state{action: block}, state{block, true, false}
	veto := state{block, true, true}
	first := map[state]*filter{
		{}:         nil,
		softPermit: plain(permit, false),
		hardPermit: plain(permit, true),
		softBlock:  callout(block, false),
		hardBlock:  plain(block, false),
	}
	next := []*filter{
		nil, plain(permit, false), plain(permit, true), plain(block, false), callout(block, false), callout(block, true),
	}
	for current, want := range map[state][6]state{
		{}:         {{}, softPermit, hardPermit, hardBlock, softBlock, hardBlock},
		softPermit: {softPermit, softPermit, hardPermit, hardBlock, softBlock, hardBlock},
		hardPermit: {hardPermit, hardPermit, hardPermit, hardPermit, veto, veto},
		softBlock:  {softBlock, softPermit, hardPermit, hardBlock, softBlock, hardBlock},
		hardBlock:  {hardBlock, hardBlock, hardBlock, hardBlock, hardBlock, hardBlock},
	} {
		for i, want := range want {
			upper, lower := sublayer{weight: 9}, sublayer{weight: 3}
			if f := first[current]; f != nil {
				upper.filters = []*filter{f}
			}
			if next[i] != nil {
				lower.filters = []*filter{next[i]}
			}
			l := newLayer(t, lower, upper)
			p := tcpPacket(80)
			got := hook.Run(hook.Judges[hook.PacketJudge](nil).With(hook.PriorityWFP, l), new(hook.Context), p)
			packet.Free(p)
			if l.state != want || (got == hook.Drop) != (want.action == block) || l.examined != 2 {
				t.Errorf("%v, then %d: %v and %v after %d sublayers, want %v", current, i, l.state, got, l.examined, want)
			}
		}
	}
}

// In a sublayer the heaviest filter that decides wins, and a callout that does
// not decide lets the next one speak.
func TestSublayer(t *testing.T) {
	asked := 0
	port := func(n byte) []classify.Expr {
		return []classify.Expr{
			classify.Payload{Base: classify.Transport, Offset: 2, Len: 2, Dst: 1},
			classify.Cmp{Op: classify.Equal, Reg: 1, Data: []byte{0, n}},
		}
	}
	l := newLayer(t, sublayer{filters: []*filter{
		{weight: 1, action: classify.Drop},
		{weight: 5, exprs: port(80), action: classify.Accept},
		{weight: 9, callout: func(state) (classify.Code, bool) { asked++; return classify.Continue, false }},
		{weight: 3, exprs: port(22), action: classify.Accept},
	}})
	for n, want := range map[uint16]hook.Verdict{80: hook.Accept, 22: hook.Accept, 23: hook.Drop} {
		p := tcpPacket(n)
		if got := l.JudgePacket(new(hook.Context), p); got != want {
			t.Errorf("port %d: %v, want %v", n, got, want)
		}
		packet.Free(p)
	}
	if asked != 3 {
		t.Errorf("the inspection saw %d packets", asked)
	}
}
