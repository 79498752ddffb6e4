package classify

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/towpath/towpath/packet"
)

// A twin is one of two equal tables.
type twin struct {
	table *Table
	base  *Chain
	rules []*Rule
	w     Walker
}

// makeTwin makes a table of random rules; equal seeds make equal tables.
func makeTwin(t testing.TB, f family, seed uint64, n int) (*twin, *generator) {
	g := newGenerator(f, seed)
	tw := &twin{table: NewTable(f.name)}
	sets := make([]*Set, 4)
	for i, c := range []SetConfig{
		{Name: "hosts", Parts: []int{4}},
		{Name: "nets", Parts: []int{4}, Interval: true},
		{Name: "seen", Parts: []int{4}, Dynamic: true, Timeout: 50 * time.Millisecond, SizeMax: 40},
		{Name: "protos", Parts: []int{1}, Verdicts: true},
	} {
		var err error
		if sets[i], err = NewSet(c); err != nil {
			t.Fatal(err)
		}
	}
	var hosts, nets []Element
	for range 50 {
		a := g.addr()
		hosts = append(hosts, Element{Key: []byte{byte(a >> 24), byte(a >> 16), byte(a >> 8), byte(a)}})
		nets = append(nets, Element{Key: []byte{byte(a >> 24), byte(a >> 16), 0, 0}, KeyEnd: []byte{byte(a >> 24), byte(a >> 16), byte(a >> 8), 255}})
	}
	chains := make([]*Chain, 4) // each may go to those behind it
	for i := range chains {
		chains[i] = tw.table.NewChain(fmt.Sprint("c", i), Drop)
	}
	must(t, sets[0].Replace(hosts))
	must(t, sets[1].Replace(nets))
	must(t, sets[3].Replace([]Element{
		{Key: []byte{17}, Verdict: Verdict{Code: Jump, Chain: chains[3]}},
		{Key: []byte{47}, Verdict: Verdict{Code: Drop}},
	}))
	tw.base = chains[0]
	must(t, tw.table.Edit(func(e *Edit) error {
		for i, c := range chains {
			for range n {
				var r *Rule
				if g.r.IntN(3) > 0 {
					r = g.rule()
				} else {
					r = g.oddRule(tw.table, chains[i+1:], sets)
				}
				if err := e.Append(c, r); err != nil {
					return err
				}
				tw.rules = append(tw.rules, r)
			}
		}
		return nil
	}))
	return tw, g
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// counts are all counters' values.
func (tw *twin) counts() (all []uint64) {
	for _, r := range tw.rules {
		for _, x := range r.Exprs {
			switch x := x.(type) {
			case *Counter:
				p, b := x.Load()
				all = append(all, p, b)
			case *Quota:
				all = append(all, x.Used())
			}
		}
	}
	return all
}

// The compiled walk and the linear one say and count the same.
func TestLinear(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	rounds := 12
	if testing.Short() {
		rounds = 3
	}
	packets, hits := 3000, 0
	for i := range rounds {
		f := families[i%len(families)]
		n := []int{3, 10, 40, 300}[i/len(families)%4]
		t.Run(fmt.Sprint(f.name, 4*n), func(t *testing.T) { hits += testLinear(t, f, seed+uint64(i), n, packets) })
	}
	if !testing.Short() && hits < rounds*packets/50 {
		t.Errorf("only %d of %d packets met a rule that decides", hits, rounds*packets)
	}
}

// testLinear returns how many packets met a rule that decides.
func testLinear(t *testing.T, f family, seed uint64, n, packets int) (hits int) {
	fast, g := makeTwin(t, f, seed, n)
	slow, _ := makeTwin(t, f, seed, n)
	for i := range packets {
		fl := g.flow()
		if g.r.IntN(4) > 0 {
			fl = g.matching(fast.rules[g.r.IntN(len(fast.rules))])
		}
		one, two := fl.packet(), fl.packet()
		now := time.Duration(i) * time.Millisecond
		in := Input{Packet: one, Now: now}
		got := fast.table.Run(&fast.w, fast.base, &in)
		in2 := Input{Packet: two, Now: now}
		want := slow.table.RunLinear(&slow.w, slow.base, &in2)
		if handle(got.Rule) != handle(want.Rule) || got.Verdict.Code != want.Verdict.Code || got.TooDeep != want.TooDeep ||
			one.Mark != two.Mark || (got.Reject == nil) != (want.Reject == nil) || len(got.Credits) != len(want.Credits) {
			t.Fatalf("seed %d, packet %d %+v: rule %d says %v, linear %d says %v", seed, i, fl,
				handle(got.Rule), got.Verdict, handle(want.Rule), want.Verdict)
		}
		if want.Rule != nil {
			hits++
		}
		packet.Free(one)
		packet.Free(two)
	}
	a, b := fast.counts(), slow.counts()
	for i := range a {
		if a[i] != b[i] {
			t.Fatalf("seed %d: counter %d is %d, linear %d", seed, i, a[i], b[i])
		}
	}
	return hits
}

func handle(r *Rule) uint64 {
	if r == nil {
		return 0
	}
	return r.Handle
}

// An invariant result holds for any packet of the flow, whatever its length
// and TTL.
func TestInvariant(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	seen := 0
	for i, f := range families {
		tw, g := makeTwin(t, f, seed+uint64(i), 100)
		for range 2000 {
			fl := g.matching(tw.rules[g.r.IntN(len(tw.rules))])
			if fl.frag != 0 || fl.cut != 0 {
				continue
			}
			p := fl.packet()
			got := tw.table.Run(&tw.w, tw.base, &Input{Packet: p})
			packet.Free(p)
			if !got.Invariant {
				continue
			}
			seen++
			credits := fmt.Sprintf("%p", got.Credits)
			for range 3 {
				fl.ttl, fl.length = uint8(g.r.Uint32()), g.r.IntN(60)
				p := fl.packet()
				p.Mark = uint32(g.r.IntN(3))
				again := tw.table.RunLinear(&tw.w, tw.base, &Input{Packet: p, Now: time.Second})
				packet.Free(p)
				if again.Rule != got.Rule || again.Verdict.Code != got.Verdict.Code || fmt.Sprintf("%p", again.Credits) != credits {
					t.Fatalf("seed %d, %+v: rule %d was to be remembered, but now it is %d", seed, fl, handle(got.Rule), handle(again.Rule))
				}
			}
		}
	}
	if seen < 100 {
		t.Errorf("only %d results could be remembered", seen)
	}
}

func TestAllocs(t *testing.T) {
	tw, g := makeTwin(t, families[1], 3, 300)
	var ps []*packet.Packet
	for range 100 {
		ps = append(ps, g.flow().packet())
	}
	in := new(Input)
	i := 0
	if n := testing.AllocsPerRun(1000, func() {
		in.Packet = ps[i%len(ps)]
		i++
		in.Now = 0
		tw.table.Run(&tw.w, tw.base, in)
	}); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

// plainTable is a base chain of n rules of a family.
func plainTable(t testing.TB, f family, n int) (*Table, *Chain, []*Rule, *generator) {
	g := newGenerator(f, uint64(n))
	table := NewTable(f.name)
	c := table.NewChain("c", Drop)
	var rules []*Rule
	must(t, table.Edit(func(e *Edit) error {
		for range n {
			r := g.rule()
			rules = append(rules, r)
			if err := e.Append(c, r); err != nil {
				return err
			}
		}
		return nil
	}))
	return table, c, rules, g
}

func benchRun(b *testing.B, table *Table, c *Chain, flows []flow) {
	var w Walker
	var ps []*packet.Packet
	for _, f := range flows {
		ps = append(ps, f.packet())
	}
	defer func() {
		for _, p := range ps {
			packet.Free(p)
		}
	}()
	in := new(Input)
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		in.Packet = ps[i&255]
		i++
		table.Run(&w, c, in)
	}
}

func BenchmarkFamilies(b *testing.B) {
	for _, f := range families {
		for _, n := range []int{1, 10, 100, 1000, 10000} {
			b.Run(fmt.Sprint(f.name, "/", n), func(b *testing.B) {
				table, c, rules, g := plainTable(b, f, n)
				flows := make([]flow, 256)
				for i := range flows {
					flows[i] = g.matching(rules[g.r.IntN(n)])
				}
				benchRun(b, table, c, flows)
			})
		}
	}
}

// linearList is n rules of distinct addresses and ports; the last one matches.
func linearList(t testing.TB, n int) (*Table, *Chain, flow) {
	table := NewTable("list")
	c := table.NewChain("c", Drop)
	var last flow
	must(t, table.Edit(func(e *Edit) error {
		for i := range n {
			last = flow{src: 0x0a000001, dst: 0x0b000000 + uint32(i)*7, proto: 6, dport: 80, ttl: 64}
			a := []byte{byte(last.dst >> 24), byte(last.dst >> 16), byte(last.dst >> 8), byte(last.dst)}
			if err := e.Append(c, &Rule{Exprs: []Expr{
				Payload{Network, 16, 4, 1}, Cmp{Equal, 1, a},
				Meta{MetaL4Proto, 1}, Cmp{Equal, 1, []byte{6}},
				Payload{Transport, 2, 2, 1}, Cmp{Equal, 1, be16(80)},
				new(Counter), Verdict{Code: Accept},
			}}); err != nil {
				return err
			}
		}
		return nil
	}))
	return table, c, last
}

func BenchmarkLastMatches(b *testing.B) {
	for _, n := range []int{1, 10, 100, 1000, 10000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			table, c, last := linearList(b, n)
			flows := make([]flow, 256)
			for i := range flows {
				flows[i] = last
			}
			benchRun(b, table, c, flows)
		})
	}
}

// An update of one rule among n.
func BenchmarkUpdate(b *testing.B) {
	for _, f := range families {
		for _, n := range []int{100, 10000} {
			b.Run(fmt.Sprint(f.name, "/", n), func(b *testing.B) {
				table, c, rules, g := plainTable(b, f, n)
				r := rand.New(rand.NewPCG(1, 1))
				for b.Loop() {
					i := r.IntN(n)
					next := g.rule()
					must(b, table.Edit(func(e *Edit) error { return e.Replace(c, rules[i].Handle, next) }))
					rules[i] = next
				}
			})
		}
	}
}
