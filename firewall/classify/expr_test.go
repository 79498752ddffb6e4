package classify

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/towpath/towpath/packet"
)

// one makes a table whose only chain has the given rules.
func one(t testing.TB, rules ...[]Expr) (*Table, *Chain) {
	t.Helper()
	table := NewTable("t")
	c := table.NewChain("c", Accept)
	must(t, table.Edit(func(e *Edit) error {
		for _, x := range rules {
			if err := e.Append(c, &Rule{Exprs: x}); err != nil {
				return err
			}
		}
		return nil
	}))
	return table, c
}

var drop = Verdict{Code: Drop}

type conn map[CtKey][]byte

func (c conn) LoadCt(k CtKey, reply bool, dst []byte) bool {
	v, ok := c[k]
	copy(dst, v)
	return ok && !reply
}

// Each list of conditions matches the packet, or does not.
func TestExprs(t *testing.T) {
	nets, err := NewSet(SetConfig{Name: "nets", Parts: []int{4, 2}, Interval: true})
	must(t, err)
	must(t, nets.Replace([]Element{
		{Key: []byte{10, 0, 0, 0, 0, 80, 0, 0}, KeyEnd: []byte{10, 0, 0, 255, 0, 90, 0, 0}},
		{Key: []byte{10, 9, 0, 0, 0, 0, 0, 0}, KeyEnd: []byte{10, 9, 255, 255, 255, 255, 0, 0}},
	}))
	names, err := NewSet(SetConfig{Name: "ports", Parts: []int{2}, DataLen: 4})
	must(t, err)
	must(t, names.Replace([]Element{{Key: []byte{0, 80}, Data: []byte{1, 2, 3, 4}}}))
	// The packet: 10.0.0.7 > 10.9.1.2, TCP 1000 > 80, TTL 64.
	f := flow{src: 0x0a000007, dst: 0x0a090102, proto: 6, sport: 1000, dport: 80, ttl: 64, length: 4}
	dport, ttl := Payload{Transport, 2, 2, 1}, Payload{Network, 8, 1, 1}
	tracked := conn{CtState: {0, 0, 0, 8}, CtMark: {0, 0, 0, 5}}
	for _, test := range []struct {
		name  string
		conn  Conn
		exprs []Expr
		want  bool
	}{
		{"equal", nil, []Expr{dport, Cmp{Equal, 1, []byte{0, 80}}}, true},
		{"not equal", nil, []Expr{dport, Cmp{NotEqual, 1, []byte{0, 80}}}, false},
		{"less", nil, []Expr{dport, Cmp{Less, 1, []byte{0, 80}}}, false},
		{"less or equal", nil, []Expr{dport, Cmp{LessOrEqual, 1, []byte{0, 80}}}, true},
		{"greater", nil, []Expr{dport, Cmp{Greater, 1, []byte{0, 79}}}, true},
		{"greater or equal", nil, []Expr{dport, Cmp{GreaterOrEqual, 1, []byte{0, 81}}}, false},
		{"range", nil, []Expr{dport, Range{1, []byte{0, 80}, []byte{0, 90}, false}}, true},
		{"range below", nil, []Expr{dport, Range{1, []byte{0, 81}, []byte{0, 90}, false}}, false},
		{"range inverted", nil, []Expr{dport, Range{1, []byte{0, 81}, []byte{0, 90}, true}}, true},
		{"two bounds", nil, []Expr{dport, Cmp{Greater, 1, []byte{0, 70}}, Cmp{Less, 1, []byte{0, 80}}}, false},
		{"prefix by mask", nil, []Expr{Payload{Network, 12, 4, 1}, Bitwise{1, 1, []byte{255, 192, 0, 0}, make([]byte, 4)}, Cmp{Equal, 1, []byte{10, 0, 0, 0}}}, true},
		{"prefix by length", nil, []Expr{Payload{Network, 16, 2, 1}, Cmp{Equal, 1, []byte{10, 9}}}, true},
		{"prefix with stray bits", nil, []Expr{Payload{Network, 12, 4, 1}, Bitwise{1, 1, []byte{255, 0, 0, 0}, make([]byte, 4)}, Cmp{Equal, 1, []byte{10, 0, 0, 7}}}, false},
		{"xor", nil, []Expr{ttl, Bitwise{1, 1, []byte{0xff}, []byte{0x41}}, Cmp{Equal, 1, []byte{1}}}, true},
		{"byteorder", nil, []Expr{dport, Byteorder{1, 2, 2, 2}, Cmp{Equal, 2, []byte{80, 0}}}, true},
		{"immediate", nil, []Expr{Immediate{3, []byte{1, 2}}, Cmp{Equal, 3, []byte{1, 2}}}, true},
		{"overwritten in part", nil, []Expr{Payload{Network, 12, 8, 1}, Immediate{2, []byte{9, 9, 9, 9}}, Cmp{Equal, 1, []byte{10, 0, 0, 7, 9, 9, 9, 9}}}, true},
		{"beyond the packet", nil, []Expr{Payload{Transport, 24, 1, 1}}, false},
		{"last byte", nil, []Expr{Payload{Transport, 23, 1, 1}}, true},
		{"no link header", nil, []Expr{Payload{Link, 0, 1, 1}}, false},
		{"nfproto", nil, []Expr{Meta{MetaNFProto, 1}, Cmp{Equal, 1, []byte{NFProtoIPv4}}}, true},
		{"length", nil, []Expr{Meta{MetaLen, 1}, Cmp{Equal, 1, []byte{0, 0, 0, 44}}}, true},
		{"iifname", nil, []Expr{Meta{MetaIifName, 1}, Cmp{Equal, 1, append([]byte("eth0"), make([]byte, 12)...)}}, true},
		{"iifname, wildcard", nil, []Expr{Meta{MetaIifName, 1}, Cmp{Equal, 1, []byte("eth")}}, true},
		{"iif", nil, []Expr{Meta{MetaIif, 1}, Cmp{Equal, 1, []byte{0, 0, 0, 3}}}, true},
		{"no oif", nil, []Expr{Meta{MetaOif, 1}, Cmp{NotEqual, 1, []byte{0, 0, 0, 3}}}, true},
		{"pkttype", nil, []Expr{Meta{MetaPktType, 1}, Cmp{Equal, 1, []byte{0}}}, true},
		{"mark", nil, []Expr{Immediate{1, []byte{0, 0, 0, 9}}, SetMark{1}, Meta{MetaMark, 2}, Cmp{Equal, 2, []byte{0, 0, 0, 9}}}, true},
		{"untracked state", nil, []Expr{Ct{Key: CtState, Dst: 1}, Cmp{Equal, 1, []byte{0, 0, 0, byte(CtInvalid)}}}, true},
		{"untracked mark", nil, []Expr{Ct{Key: CtMark, Dst: 1}}, false},
		{"state", tracked, []Expr{Ct{Key: CtState, Dst: 1}, Cmp{Equal, 1, []byte{0, 0, 0, byte(CtNew)}}}, true},
		{"ct mark", tracked, []Expr{Ct{Key: CtMark, Dst: 1}, Cmp{Equal, 1, []byte{0, 0, 0, 5}}}, true},
		{"no label", tracked, []Expr{Ct{Key: CtLabels, Dst: 1}}, false},
		{"concatenation", nil, []Expr{Payload{Network, 12, 4, 1}, Payload{Transport, 2, 2, 2}, Lookup{Set: nets, Src: 1}}, true},
		{"map", nil, []Expr{dport, Lookup{Set: names, Src: 1, Dst: 5}, Cmp{Equal, 5, []byte{1, 2, 3, 4}}}, true},
		{"map without", nil, []Expr{Payload{Transport, 0, 2, 1}, Lookup{Set: names, Src: 1, Dst: 5}}, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			table, c := one(t, append(test.exprs, drop))
			var w Walker
			for _, run := range []func(*Walker, *Chain, *Input) Result{table.Run, table.RunLinear} {
				p := f.packet()
				got := run(&w, c, &Input{Packet: p, Iif: 3, IifName: "eth0", Conn: test.conn})
				packet.Free(p)
				if (got.Verdict.Code == Drop) != test.want {
					t.Errorf("verdict %v", got.Verdict)
				}
			}
			for _, x := range test.exprs {
				if x.String() == "" {
					t.Errorf("%T has no text", x)
				}
			}
		})
	}
}

func TestRefused(t *testing.T) {
	table := NewTable("t")
	c := table.NewChain("c", Accept)
	other := NewTable("u").NewChain("c", Accept)
	set, err := NewSet(SetConfig{Parts: []int{4}})
	must(t, err)
	for _, test := range []struct {
		x    Expr
		want string
	}{
		{Cmp{Equal, 1, []byte{1}}, "register 1 is read and not written"},
		{Immediate{15, make([]byte, 5)}, "does not fit"},
		{Immediate{200, []byte{1}}, "does not fit"},
		{Payload{Base: 9, Len: 1}, "no such header"},
		{Payload{Base: Network}, "does not fit"},
		{Meta{Key: 99}, "no such key"},
		{Ct{Key: 99}, "no such key"},
		{Cmp{Op: 9}, "no such comparison"},
		{Range{Lo: []byte{1}}, "different lengths"},
		{Bitwise{Mask: []byte{1}}, "different lengths"},
		{Byteorder{Len: 4, Size: 3}, "units"},
		{Verdict{Code: Jump}, "a chain belongs"},
		{Verdict{Code: Jump, Chain: other}, "not of this table"},
		{Verdict{Code: Jump, Chain: c}, "comes back to itself"},
		{Lookup{}, "no set"},
		{Dynset{Set: set}, "not dynamic"},
		{&Limit{}, "without a rate"},
		{&Match{}, "without a function"},
		{&Statement{}, "without a function"},
	} {
		err := table.Edit(func(e *Edit) error { return e.Append(c, &Rule{Exprs: []Expr{test.x}}) })
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%v: %v, want %q", test.x, err, test.want)
		}
		if rules, _ := table.Rules(c); len(rules) != 0 {
			t.Fatalf("%v is there all the same", test.x)
		}
	}
}

func TestLimits(t *testing.T) {
	limit := &Limit{Rate: 10, Unit: time.Second, Burst: 5}
	quota := &Quota{Bytes: 100}
	table, c := one(t, []Expr{limit, new(Counter)}, []Expr{quota, new(Counter)})
	rules, _ := table.Rules(c)
	var w Walker
	count := func(i int) uint64 {
		n, _ := rules[i].Exprs[1].(*Counter).Load()
		return n
	}
	p := flow{proto: 6}.packet() // 40 bytes
	defer packet.Free(p)
	for i, test := range []struct {
		now   time.Duration
		limit uint64 // packets that have passed so far
		quota uint64
	}{
		{0, 1, 1}, {0, 2, 2}, {0, 3, 2}, {0, 4, 2}, {0, 5, 2}, {0, 5, 2}, // the burst
		{99 * time.Millisecond, 5, 2}, {100 * time.Millisecond, 6, 2}, {100 * time.Millisecond, 6, 2},
		{300 * time.Millisecond, 7, 2}, {300 * time.Millisecond, 8, 2}, {300 * time.Millisecond, 8, 2},
	} {
		table.Run(&w, c, &Input{Packet: p, Now: test.now})
		if count(0) != test.limit || count(1) != test.quota {
			t.Errorf("packet %d: limit let %d pass, quota %d; want %d, %d", i, count(0), count(1), test.limit, test.quota)
		}
	}
}

func TestExplain(t *testing.T) {
	counter := new(Counter)
	table, c := one(t,
		[]Expr{counter, Payload{Transport, 2, 2, 1}, Cmp{Equal, 1, []byte{0, 22}}, Verdict{Code: Accept}},
		[]Expr{counter, &Limit{Rate: 1, Unit: 1}, drop})
	p := flow{proto: 6, dport: 80}.packet()
	defer packet.Free(p)
	steps, r := table.Explain(c, &Input{Packet: p})
	if len(steps) != 2 || r.Verdict != drop || r.Rule != steps[1].Rule {
		t.Fatalf("%v, %v", steps, r)
	}
	if x, ok := steps[0].Failed.(Cmp); !ok || x.Op != Equal || !bytes.Equal(steps[0].Value, []byte{0, 80}) {
		t.Errorf("first failed at %v with %x", steps[0].Failed, steps[0].Value)
	}
	if steps[1].Failed != nil {
		t.Errorf("second failed at %v", steps[1].Failed)
	}
	if n, _ := counter.Load(); n != 0 {
		t.Errorf("explaining counted %d", n)
	}
}

func TestDynamicSet(t *testing.T) {
	s, err := NewSet(SetConfig{Name: "s", Parts: []int{1}, Dynamic: true, Timeout: 10, SizeMax: 3})
	must(t, err)
	var w Walker
	has := func(now time.Duration, k byte) bool {
		w.in = &Input{Now: now}
		return s.find(&w, []byte{k}) != nil
	}
	for i, step := range []struct {
		op   DynsetOp
		now  time.Duration
		k    byte
		ok   bool
		then string // keys that are in the set
	}{
		{SetAdd, 0, 'a', true, "a"},
		{SetAdd, 1, 'b', true, "ab"},
		{SetAdd, 2, 'c', true, "abc"},
		{SetAdd, 3, 'd', false, "abc"},   // full
		{SetUpdate, 4, 'a', true, "abc"}, // a now until 14
		{SetAdd, 5, 'b', true, "abc"},    // b still until 11
		{SetAdd, 11, 'd', true, "acd"},   // in b's place
		{SetDelete, 11, 'c', true, "ad"},
		{SetDelete, 11, 'c', true, "ad"},
		{SetAdd, 14, 'e', true, "de"},
	} {
		if _, got := s.change(step.op, []byte{step.k}, step.now, 0, nil); got != step.ok {
			t.Errorf("step %d: %v", i, got)
		}
		var then []byte
		for k := byte('a'); k <= 'e'; k++ {
			if has(step.now, k) {
				then = append(then, k)
			}
		}
		_, dynamic := s.Elements(step.now)
		if string(then) != step.then || len(dynamic) != len(then) {
			t.Errorf("step %d: %q, %d listed; want %q", i, then, len(dynamic), step.then)
		}
	}
}

// Maps are no part of the search for loops, so the walk itself is bounded.
func TestTooDeep(t *testing.T) {
	for _, code := range []Code{Jump, Goto} {
		table := NewTable("t")
		c := table.NewChain("c", Accept)
		s, err := NewSet(SetConfig{Parts: []int{1}, Verdicts: true})
		must(t, err)
		must(t, s.Replace([]Element{{Key: []byte{6}, Verdict: Verdict{Code: code, Chain: c}}}))
		must(t, table.Edit(func(e *Edit) error {
			return e.Append(c, &Rule{Exprs: []Expr{Meta{MetaL4Proto, 1}, Lookup{Set: s, Src: 1}}})
		}))
		var w Walker
		p := flow{proto: 6}.packet()
		if r := table.Run(&w, c, &Input{Packet: p}); !r.TooDeep || r.Verdict.Code != Drop {
			t.Errorf("%v: %v", code, r)
		}
		packet.Free(p)
	}
}

// A statement that jumps nowhere ends the packet, not the program.
func TestJumpNowhere(t *testing.T) {
	table, c := one(t, []Expr{&Statement{Name: "bad", Do: func(*Input) Verdict { return Verdict{Code: Goto} }}})
	var w Walker
	p := flow{proto: 6}.packet()
	defer packet.Free(p)
	if r := table.Run(&w, c, &Input{Packet: p}); !r.TooDeep || r.Verdict.Code != Drop {
		t.Error(r)
	}
}

// Limits without a burst, and with one beyond all bounds.
func TestLimitBurst(t *testing.T) {
	var w Walker
	p := flow{proto: 6}.packet()
	defer packet.Free(p)
	w.in = &Input{Packet: p}
	for _, l := range []*Limit{{Rate: 1, Unit: time.Hour}, {Rate: 1, Unit: 24 * 7 * time.Hour, Burst: 1 << 63}} {
		for i := range 6 {
			if got := l.exec(&w) == next; got != (i < 5 || l.Burst > 0) {
				t.Errorf("%v: packet %d passes: %v", l, i, got)
			}
		}
	}
}

func TestEdit(t *testing.T) {
	table := NewTable("t")
	a, b := table.NewChain("a", Accept), table.NewChain("b", Accept)
	rule := func(comment string, x ...Expr) *Rule { return &Rule{Comment: comment, Exprs: x} }
	one, two, three := rule("one"), rule("two"), rule("three", Verdict{Code: Jump, Chain: b})
	must(t, table.Edit(func(e *Edit) error {
		must(t, e.Append(a, two))
		must(t, e.Insert(a, two.Handle, one))
		return e.Append(a, three)
	}))
	list := func() (s string) {
		rules, _ := table.Rules(a)
		for _, r := range rules {
			s += r.String() + " "
		}
		return s
	}
	if got := list(); got != "one two three " {
		t.Error(got)
	}
	if err := table.Edit(func(e *Edit) error { return e.Remove(b) }); err == nil {
		t.Error("a chain in use was removed")
	}
	if err := table.Edit(func(e *Edit) error {
		must(t, e.Delete(a, two.Handle))
		return e.Delete(a, 99)
	}); err == nil || list() != "one two three " {
		t.Errorf("%v, %q: an edit that fails changes nothing", err, list())
	}
	must(t, table.Edit(func(e *Edit) error {
		must(t, e.Replace(a, three.Handle, rule("four", drop)))
		must(t, e.Insert(a, 0, rule("zero")))
		must(t, e.SetPolicy(a, Drop))
		return e.Remove(b)
	}))
	if got := list(); got != "zero one two four " || len(table.Chains()) != 1 {
		t.Error(got)
	}
	must(t, table.Edit(func(e *Edit) error { return e.Flush(a) }))
	if _, policy := table.Rules(a); list() != "" || policy != Drop {
		t.Errorf("%q, %v", list(), policy)
	}
}

// Walks and edits at the same time.
func TestConcurrent(t *testing.T) {
	table, c, rules, g := plainTable(t, families[0], 50)
	done := make(chan struct{})
	fl := g.matching(rules[7])
	go func() {
		defer close(done)
		var w Walker
		p := fl.packet()
		defer packet.Free(p)
		for range 2000 {
			table.Run(&w, c, &Input{Packet: p})
		}
	}()
	for i := range 50 {
		must(t, table.Edit(func(e *Edit) error { return e.Replace(c, rules[i].Handle, g.rule()) }))
	}
	<-done
}

// FuzzLinear draws a set of rules and a packet's bytes.
func FuzzLinear(f *testing.F) {
	f.Add(uint64(1), uint8(3), []byte("\x45\x00\x00\x28\x00\x00\x00\x00\x40\x06\x00\x00\x0a\x00\x00\x01\x0a\x00\x00\x02\x00\x50\x00\x16"))
	f.Add(uint64(2), uint8(40), []byte{0x45})
	f.Fuzz(func(t *testing.T, seed uint64, n uint8, b []byte) {
		fam := families[seed%3]
		fast, g := makeTwin(t, fam, seed, int(n%64))
		slow, _ := makeTwin(t, fam, seed, int(n%64))
		for range 20 {
			run := func(tw *twin, walk func(*Walker, *Chain, *Input) Result, fl flow) Result {
				p := fl.packet()
				defer packet.Free(p)
				h := p.From(p.Net)
				copy(h[12:], b)
				return walk(&tw.w, tw.base, &Input{Packet: p})
			}
			fl := g.flow()
			fl.cut = 0
			got, want := run(fast, fast.table.Run, fl), run(slow, slow.table.RunLinear, fl)
			if handle(got.Rule) != handle(want.Rule) || got.Verdict.Code != want.Verdict.Code {
				t.Fatalf("%v by %v, linear %v by %v", got.Verdict, got.Rule, want.Verdict, want.Rule)
			}
		}
	})
}

// Opaque values and acts have their places among the others, and elements of
// sets their own expressions.
func TestLoadStore(t *testing.T) {
	table := NewTable("t")
	c := table.NewChain("c", Accept)
	quota := &Quota{Bytes: 1 << 20}
	set, err := NewSet(SetConfig{Name: "s", Parts: []int{2}})
	if err != nil {
		t.Fatal(err)
	}
	if err := set.Replace([]Element{{Key: []byte{0, 7}, Exprs: []Expr{quota}}}); err != nil {
		t.Fatal(err)
	}
	var stored []byte
	there := true
	rule := &Rule{Exprs: []Expr{
		&Load{Name: "seven", Len: 2, Dst: 1, Get: func(_ *Input, dst []byte) bool {
			dst[1] = 7
			return there
		}},
		Lookup{Set: set, Src: 1},
		&Store{Name: "field", Src: 1, Len: 2, Verdict: Verdict{Code: Drop}, Do: func(_ *Input, v []byte) (Verdict, bool) {
			stored = bytes.Clone(v)
			return Verdict{Code: Drop}, len(stored) == 2
		}},
	}}
	if err := table.Edit(func(e *Edit) error { return e.Append(c, rule) }); err != nil {
		t.Fatal(err)
	}
	p := flow{proto: 6}.packet()
	defer packet.Free(p)
	in := &Input{Packet: p}
	if r := table.Run(new(Walker), c, in); r.Verdict.Code != Drop || !bytes.Equal(stored, []byte{0, 7}) || quota.Used() == 0 {
		t.Errorf("%v, stored %x, quota %v", r.Verdict, stored, quota)
	}
	stored = nil
	if _, r := table.Explain(c, in); r.Verdict.Code != Drop || stored != nil {
		t.Errorf("explained: %v, stored %x", r.Verdict, stored)
	}
	in.Trial = true
	if _, r := table.Explain(c, in); r.Verdict.Code != Drop || stored == nil {
		t.Errorf("on trial: %v, stored %x", r.Verdict, stored)
	}
	there = false
	if steps, r := table.Explain(c, in); r.Verdict.Code != Accept || steps[0].Failed != rule.Exprs[0] || steps[0].At != 0 {
		t.Errorf("without a value: %v, %+v", r.Verdict, steps)
	}
	for _, bad := range [][]Expr{
		{&Load{Len: 2, Dst: 1}},
		{&Store{Len: 2, Src: 1, Do: rule.Exprs[2].(*Store).Do}},
		{Immediate{Dst: 1, Data: []byte{1, 2}}, &Store{Len: 2, Src: 1}},
	} {
		if err := table.Edit(func(e *Edit) error { return e.Append(c, &Rule{Exprs: bad}) }); err == nil {
			t.Errorf("%v is accepted", bad)
		}
	}
}
