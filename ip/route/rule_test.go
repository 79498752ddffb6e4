package route

import (
	"fmt"
	"math/rand/v2"
	"testing"
)

// TestRules asks policies as ip-rule(8) describes them.
func TestRules(t *testing.T) {
	table := func(adapter int32, dsts ...string) *Table {
		t := new(Table)
		for _, d := range dsts {
			t = t.With(Route{Dst: prefix(d), Adapter: adapter})
		}
		return t
	}
	main := table(1, "0.0.0.0/0", "10.0.0.0/8")
	base := (*Rules)(nil).WithTable(100, table(100, "0.0.0.0/0")).WithTable(200, table(200, "192.0.2.0/24")).WithTable(TableDefault, table(9, "::/0"))
	for _, c := range []struct {
		name  string
		rules []Rule
		key   Key
		want  string // adapter, kind, or nothing
	}{
		{"main", nil, Key{Dst: addr("10.1.1.1")}, "1"},
		{"default table", nil, Key{Dst: addr("fd00::1")}, "9"},
		{"from", []Rule{{Priority: 5, From: prefix("10.5.0.0/16"), Action: ToTable, Table: 100}}, Key{Dst: addr("1.1.1.1"), Src: addr("10.5.1.1")}, "100"},
		{"from, not", []Rule{{Priority: 5, From: prefix("10.5.0.0/16"), Table: 100}}, Key{Dst: addr("1.1.1.1"), Src: addr("10.6.1.1")}, "1"},
		{"from, unknown", []Rule{{Priority: 5, From: prefix("10.5.0.0/16"), Table: 100}}, Key{Dst: addr("1.1.1.1")}, "1"},
		{"from all", []Rule{{Priority: 5, From: prefix("0.0.0.0/0"), Table: 100}}, Key{Dst: addr("1.1.1.1")}, "100"},
		{"to", []Rule{{Priority: 5, To: prefix("1.0.0.0/8"), Table: 100}}, Key{Dst: addr("1.1.1.1")}, "100"},
		{"iif", []Rule{{Priority: 5, In: 3, Table: 100}}, Key{Dst: addr("1.1.1.1"), In: 3}, "100"},
		{"iif of another", []Rule{{Priority: 5, In: 3, Table: 100}}, Key{Dst: addr("1.1.1.1"), In: 4}, "1"},
		{"oif", []Rule{{Priority: 5, Out: 3, Table: 100}}, Key{Dst: addr("1.1.1.1"), Out: 3}, ""},
		{"oif, with a route", []Rule{{Priority: 5, Out: 100, Table: 100}}, Key{Dst: addr("10.1.1.1"), Out: 100}, "100"},
		{"oif without a rule", []Rule{{Priority: 5, Mark: 9, Table: 100}}, Key{Dst: addr("10.1.1.1"), Out: 1}, "1"},
		{"fwmark", []Rule{{Priority: 5, Mark: 7, Table: 100}}, Key{Dst: addr("1.1.1.1"), Mark: 7}, "100"},
		{"fwmark of another", []Rule{{Priority: 5, Mark: 7, Table: 100}}, Key{Dst: addr("1.1.1.1"), Mark: 0x17}, "1"},
		{"fwmark with a mask", []Rule{{Priority: 5, Mark: 7, Mask: 15, Table: 100}}, Key{Dst: addr("1.1.1.1"), Mark: 0x17}, "100"},
		{"no fwmark under a mask", []Rule{{Priority: 5, Mask: 15, Table: 100}}, Key{Dst: addr("1.1.1.1"), Mark: 0x17}, "1"},
		{"tos", []Rule{{Priority: 5, TOS: 0x10, Table: 100}}, Key{Dst: addr("1.1.1.1"), TOS: 0x12}, "100"},
		{"not", []Rule{{Priority: 5, Not: true, Mark: 7, Table: 100}}, Key{Dst: addr("1.1.1.1")}, "100"},
		{"no route there", []Rule{{Priority: 5, Table: 200}}, Key{Dst: addr("1.1.1.1")}, "1"},
		{"no such table", []Rule{{Priority: 5, Table: 300}}, Key{Dst: addr("1.1.1.1")}, "1"},
		{"priority", []Rule{{Priority: 6, Table: 100}, {Priority: 5, Table: TableMain}}, Key{Dst: addr("1.1.1.1")}, "1"},
		{"order of entry", []Rule{{Priority: 5, Table: 200}, {Priority: 5, Table: 100}}, Key{Dst: addr("192.0.2.1")}, "200"},
		{"goto", []Rule{{Priority: 5, Action: Goto, Goto: 10}, {Priority: 6, Action: RuleProhibit}, {Priority: 10, Table: 100}}, Key{Dst: addr("1.1.1.1")}, "100"},
		{"goto beyond all", []Rule{{Priority: 5, Action: Goto, Goto: 40000}}, Key{Dst: addr("1.1.1.1")}, ""},
		{"nop", []Rule{{Priority: 5, Action: Nop}}, Key{Dst: addr("1.1.1.1")}, "1"},
		{"blackhole", []Rule{{Priority: 5, Action: RuleBlackhole}}, Key{Dst: addr("1.1.1.1")}, "blackhole"},
		{"unreachable", []Rule{{Priority: 5, Action: RuleUnreachable}}, Key{Dst: addr("1.1.1.1")}, "unreachable"},
		{"prohibit", []Rule{{Priority: 5, Action: RuleProhibit}}, Key{Dst: addr("1.1.1.1")}, "prohibit"},
		{"suppress", []Rule{{Priority: 5, Table: TableMain, Suppress: true}, {Priority: 6, Table: 100}}, Key{Dst: addr("1.1.1.1")}, "100"},
		{"suppress spares longer ones", []Rule{{Priority: 5, Table: TableMain, Suppress: true}, {Priority: 6, Table: 100}}, Key{Dst: addr("10.1.1.1")}, "1"},
	} {
		p := base
		for _, r := range c.rules {
			p = p.With(r)
		}
		got := ""
		if r, ok := p.Lookup(&c.key, main); ok && r.Kind != Unicast {
			got = r.Kind.String()
		} else if ok {
			got = fmt.Sprint(r.Adapter)
		}
		if got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
		if p = p.Without(func(r Rule) bool { return r.Priority < PriorityMain }); len(p.All()) != 2 {
			t.Errorf("%s: %d rules are left", c.name, len(p.All()))
		}
	}
	if len(base.All()) != 2 {
		t.Error("the policy was changed by others made of it")
	}
}

// TestChoose: flows are divided by weight, and few of them move when a way goes.
func TestChoose(t *testing.T) {
	m := &Multipath{Hops: []Hop{{Adapter: 1, Weight: 1}, {Adapter: 2, Weight: 3}, {Adapter: 3}}}
	all := func(Hop) bool { return true }
	r := rand.New(rand.NewPCG(1, 2))
	n := make(map[int32]int)
	moved := 0
	for range 50000 {
		hash := r.Uint32()
		a, ok := m.Choose(hash, all)
		if b, _ := m.Choose(hash, all); !ok || a != b {
			t.Fatal("one flow has two ways")
		}
		n[a.Adapter]++
		if b, ok := m.Choose(hash, func(h Hop) bool { return h.Adapter != 3 }); !ok || b.Adapter == 3 {
			t.Fatal("a way that is not usable")
		} else if a.Adapter != 3 && a != b {
			moved++
		}
	}
	for adapter, want := range map[int32]int{1: 10000, 2: 30000, 3: 10000} {
		if d := n[adapter] - want; d < -500 || d > 500 {
			t.Errorf("%d of 50000 flows by adapter %d, want %d", n[adapter], adapter, want)
		}
	}
	if moved > 5000 {
		t.Errorf("%d of 50000 flows moved", moved)
	}
	if _, ok := m.Choose(7, func(Hop) bool { return false }); ok {
		t.Error("a way where there is none")
	}
	if s := (Route{Dst: prefix("10.0.0.0/8"), Multi: m, MTU: 1400, MTULock: true}).String(); s != "10.0.0.0/8 nexthop dev 1 weight 1 nexthop dev 2 weight 3 nexthop dev 3 weight 1 mtu lock 1400" {
		t.Error(s)
	}
}
