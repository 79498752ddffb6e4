package group

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/towpath/towpath/wire"
)

// What members of versions 3 say, by the clauses of RFC 3376 and RFC 3810: the
// instant, what happens, and what is sent. Delays are the longest: one second
// between reports of a change. A party's filter is in: or ex: and its sources.
func TestSources(t *testing.T) {
	const quiet = `
		0s set A 1 ex: -> to_ex A{}
		1s timeout -> to_ex A{}
		2s deadline -> -
	`
	const some = `
		0s set A 1 in:ab -> allow A{ab}
		1s timeout -> allow A{ab}
		2s deadline -> -
	`
	for _, test := range []struct{ name, script string }{
		{"§5.1 a join is told twice", quiet},
		{"§5.1 and not too early", `
			0s set A 1 ex: -> to_ex A{}
			0s deadline -> 1s
			999ms timeout -> -
		`},
		{"§5.1 leaving is told twice, of a group that is gone", quiet + `
			10s set A 1 none -> to_in A{}
			11s timeout -> to_in A{}
			12s deadline -> -
		`},
		{"§5.1 sources come and go", some + `
			10s set A 1 in:bc -> allow A{c} + block A{a}
			11s timeout -> allow A{c} + block A{a}
			12s set A 1 none -> block A{bc}
			13s timeout -> block A{bc}
			14s deadline -> -
		`},
		{"§5.1 sources that are excluded", `
			0s set A 1 ex:a -> to_ex A{a}
			1s timeout -> to_ex A{a}
			2s set A 1 ex:b -> allow A{a} + block A{b}
			3s timeout -> allow A{a} + block A{b}
		`},
		{"§5.1 the mode changes", some + `
			10s set A 1 ex:b -> to_ex A{b}
			11s timeout -> to_ex A{b}
			12s set A 1 in:c -> to_in A{c}
			13s timeout -> to_in A{c}
		`},
		{"§5.1 a change while another is told", some + `
			10s set A 1 in:b -> block A{a}
			10500ms set A 1 in:bc -> allow A{c} + block A{a}
			11500ms timeout -> allow A{c}
			12s deadline -> -
		`},
		{"§5.1 a source comes back while its going is told", some + `
			10s set A 1 in:a -> block A{b}
			10500ms set A 1 in:ab -> allow A{b}
			11500ms timeout -> allow A{b}
			12500ms timeout -> -
		`},
		{"§5.1 sources change while the mode is told", `
			0s set A 1 ex: -> to_ex A{}
			500ms set A 1 ex:a -> to_ex A{a}
			1500ms timeout -> block A{a}
			2500ms timeout -> -
		`},
		{"§5.1 the mode changes while sources are told", `
			0s set A 1 in:a -> allow A{a}
			500ms set A 1 ex:b -> to_ex A{b}
			1500ms timeout -> to_ex A{b}
			2500ms timeout -> -
		`},
		{"§5.1 joined again before leaving is told", quiet + `
			10s set A 1 none -> to_in A{}
			10100ms set A 1 ex: -> to_ex A{}
			12s timeout -> to_ex A{}
			14s timeout -> -
		`},
		{"§3.2 what parties want is merged", `
			0s set A 1 in:a -> allow A{a}
			9s timeout -> allow A{a}
			10s set A 2 in:b -> allow A{b}
			19s timeout -> allow A{b}
			20s set A 3 ex:abcd -> to_ex A{cd}
			29s timeout -> to_ex A{cd}
			30s set A 4 ex:c -> allow A{d}
			39s timeout -> allow A{d}
			40s set A 1 none -> -
			50s set A 3 none -> -
			60s set A 4 none -> to_in A{b}
		`},
		{"§3.2 no difference is not told", quiet + `
			10s set A 2 ex:a -> -
			11s set A 3 in:a -> -
			12s deadline -> -
		`},
		{"§5.2 general query", quiet + `
			5s set B 1 in:a -> allow B{a}
			6s timeout -> allow B{a}
			10s query3 any4 resp=100 -> -
			10s deadline -> 20s
			20s timeout -> is_ex A{} + is_in B{a}
			21s deadline -> -
		`},
		{"§5.2 rule 1: a general answer that is pending will do", quiet + `
			10s query3 any4 resp=20 -> -
			10s query3 A resp=50 -> -
			12s timeout -> is_ex A{}
			20s timeout -> -
		`},
		{"§5.2 rule 2: a later general answer is replaced", quiet + `
			10s query3 any4 resp=100 -> -
			11s query3 any4 resp=20 -> -
			13s timeout -> is_ex A{}
			20s timeout -> -
		`},
		{"§5.2 rule 3: query about the group", some + `
			10s query3 A resp=10 -> -
			11s timeout -> is_in A{ab}
		`},
		{"§5.2 rule 3: about sources", some + `
			10s query3 A resp=10 src=bc -> -
			11s timeout -> is_in A{b}
		`},
		{"§5.2 rule 3: about sources, excluding", `
			0s set A 1 ex:ab -> to_ex A{ab}
			1s timeout -> to_ex A{ab}
			10s query3 A resp=10 src=bcd -> -
			11s timeout -> is_in A{cd}
			20s query3 A resp=10 src=ab -> -
			21s timeout -> -
		`},
		{"§5.2 rule 4: about the group after sources", some + `
			10s query3 A resp=100 src=a -> -
			11s query3 A resp=10 -> -
			12s timeout -> is_in A{ab}
			20s timeout -> -
		`},
		{"§5.2 rule 4: about sources after the group", some + `
			10s query3 A resp=10 -> -
			10s query3 A resp=100 src=a -> -
			11s timeout -> is_in A{ab}
		`},
		{"§5.2 rule 5: about more sources", some + `
			10s query3 A resp=20 src=a -> -
			11s query3 A resp=20 src=bd -> -
			12s timeout -> is_in A{ab}
			20s timeout -> -
		`},
		{"§5.2 answers are true when they are given", some + `
			10s query3 A resp=100 src=ab -> -
			11s set A 1 in:b -> block A{a}
			12s timeout -> block A{a}
			20s timeout -> is_in A{b}
		`},
		{"a group that is left is not answered for", quiet + `
			10s set A 1 none -> to_in A{}
			10s query3 any4 resp=5 -> -
			10s query3 A resp=5 -> -
			10500ms timeout -> -
			11s timeout -> to_in A{}
		`},
		{"a general query has no sources", quiet + `
			10s query3 any4 resp=10 src=a -> -
			10s deadline -> -
		`},
		{"§4.1.6 the querier's robustness", quiet + `
			10s query3 any4 resp=1 qrv=4 -> -
			10100ms timeout -> is_ex A{}
			11s set A 1 ex:a -> block A{a}
			12s timeout -> block A{a}
			13s timeout -> block A{a}
			14s timeout -> block A{a}
			15s timeout -> -
			16s query3 any4 resp=1 qrv=0 -> -
			17s timeout -> is_ex A{a}
			18s set A 1 ex: -> allow A{a}
			19s timeout -> allow A{a}
			20s timeout -> -
		`},
		{"§7.2.1 a querier of version 2 comes, and goes in 260 s", quiet + `
			10s query any4 resp=100 -> -
			20s timeout -> v2 report A
			21s set A 1 in:a -> -
			22s set A 1 none -> leave A
			23s set B 1 in:a -> v2 report B
			33s timeout -> v2 report B
			269s set B 1 in:b -> -
			270s set B 1 in:c -> allow B{c} + block B{b}
		`},
		{"§7.2.1 by the interval of queries and of answers", quiet + `
			10s query3 any4 resp=50 qqi=60 qrv=3 -> -
			15s timeout -> is_ex A{}
			20s query any4 resp=10 -> -
			21s timeout -> v2 report A
			204s set B 1 ex: -> v2 report B
			204s set B 1 none -> leave B
			205s set B 1 ex: -> to_ex B{}
		`},
		{"§7.2.1 a querier of version 1", quiet + `
			10s query any4 resp=0 -> -
			20s timeout -> v1 report A
			21s query3 A resp=10 -> -
			31s timeout -> v1 report A
			32s set A 1 none -> -
			33s set A 1 ex: -> v1 report A
		`},
		{"§7.2.1 what was to be said is not said in another version", `
			0s set A 1 ex: -> to_ex A{}
			0s set B 1 ex: -> to_ex B{}
			0s set B 1 none -> to_in B{}
			500ms query any4 resp=10 -> -
			1s timeout -> -
			1500ms timeout -> v2 report A
			2s deadline -> -
		`},
		{"§7.2.2 reports of version 2 do not suppress", quiet + `
			10s query3 any4 resp=10 -> -
			10s report A -> -
			11s timeout -> is_ex A{}
			12s query3 A resp=10 -> -
			12s report A -> -
			13s timeout -> is_ex A{}
		`},
		{"adapters are spoken to each in its way", quiet + `
			10s query any4 resp=100 on=2 -> -
			11s set A 1 ex:a -> block A{a}
			12s join A on=2 -> v2 report A on 2
			13s timeout -> block A{a}
		`},
		{"announced when an adapter comes up", `
			0s set A 1 ex:a -> to_ex A{a}
			0s set B 1 in:b -> allow B{b}
			9s timeout -> to_ex A{a} + allow B{b}
			10s announce A -> to_ex A{a} + allow B{b}
			11s timeout -> to_ex A{a} + allow B{b}
			12s announce X -> -
		`},
		{"groups of the link are told of, all hosts are not", `
			0s set local4 1 in:a -> allow local4{a}
			0s set all4 1 ex: -> -
			1s timeout -> allow local4{a}
			2s query3 any4 resp=1 -> -
			3s timeout -> is_in local4{a}
			4s query3 all4 resp=1 -> -
			5s timeout -> -
		`},

		{"RFC 3810 §6.1 changes", `
			0s set X 1 ex: -> to_ex X{}
			1s timeout -> to_ex X{}
			2s set X 1 ex:pq -> block X{pq}
			3s timeout -> block X{pq}
			4s set X 1 in:pr -> to_in X{pr}
			5s timeout -> to_in X{pr}
			6s set X 1 in:r -> block X{p}
			6500ms set X 1 in:rq -> allow X{q} + block X{p}
			7500ms timeout -> allow X{q}
			8s set X 1 none -> block X{qr}
			9s timeout -> block X{qr}
			10s deadline -> -
		`},
		{"RFC 3810 §6.2, §6.3 answers", `
			0s set X 1 in:pq -> allow X{pq}
			1s set Y 1 ex: -> to_ex Y{}
			2s timeout -> allow X{pq} + to_ex Y{}
			10s query3 any6 resp=1000 -> -
			11s timeout -> is_in X{pq} + is_ex Y{}
			12s query3 X resp=1000 src=qr -> -
			13s timeout -> is_in X{q}
			14s query3 Y resp=1000 src=r -> -
			15s timeout -> is_in Y{r}
			16s query3 Y resp=1000 -> -
			17s timeout -> is_ex Y{}
		`},
		{"RFC 3810 §8.2.1 a querier of version 1 comes and goes", `
			0s set X 1 ex: -> to_ex X{}
			1s timeout -> to_ex X{}
			10s query any6 resp=1000 -> -
			11s timeout -> mld report X
			12s set X 1 none -> mld done X
			269s set X 1 in:p -> mld report X
			269s set X 1 none -> mld done X
			270s set X 1 in:p -> allow X{p}
		`},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := &world{t: New(0, most{})}
			for line := range strings.Lines(test.script) {
				if line = strings.TrimSpace(line); line == "" {
					continue
				}
				step, want, _ := strings.Cut(line, " -> ")
				words := strings.Fields(step)
				now, err := time.ParseDuration(words[0])
				if err != nil {
					t.Fatal(err)
				}
				w.events = nil
				w.do(now, words[1:])
				if want == "-" {
					want = ""
				}
				if got := strings.Join(w.events, ", "); got != want {
					t.Fatalf("%s\n got %s\nwant %s", step, got, want)
				}
			}
		})
	}
}

// Settings say which version is spoken, and whether older queriers are heeded.
func TestVersionSet(t *testing.T) {
	for _, c := range []struct {
		name   string
		link   Link
		group  string
		script []string
		want   string
	}{
		{"1", Link{Version: V1}, "A", []string{"join A", "leave A"}, "v1 report A"},
		{"2", Link{Version: V2}, "A", []string{"query3 any4 resp=1", "join A", "leave A"}, "v2 report A, leave A"},
		{"3 falls back", Link{Version: V3}, "A", []string{"query any4 resp=1", "join A"}, "v2 report A"},
		{"MLDv1", Link{Version: V2}, "X", []string{"join X", "leave X"}, "mld report X, mld done X"},
		{"MLDv2 falls back", Link{}, "X", []string{"query any6 resp=1", "join X"}, "mld report X"},
		{"quiet", Link{LocalQuiet: true}, "local4", []string{"join local4", "query3 any4 resp=1", "timeout local4", "join A"}, "to_ex A{}"},
		{"MLDv2 alone", Link{Strict: true}, "X", []string{"query any6 resp=1", "join X"}, ignored + ", to_ex X{}"},
	} {
		w := &world{t: New(0, most{}), link: c.link}
		for _, step := range c.script {
			w.do(time.Second, strings.Fields(step))
		}
		if got := strings.Join(w.events, ", "); got != c.want {
			t.Errorf("%s:\n got %s\nwant %s", c.name, got, c.want)
		}
	}
}

const ignored = "mld type ignored"

// What parties want is merged as RFC 3376 §3.2 defines it, whatever they did
// before, and what is told makes of what a router knew what is true.
func TestMerge(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 8))
	all := sourcesOf("abcd")
	k := Key{1, names["A"]}
	filters := make([]Filter, 5)
	router := &knower{}
	tb := New(0, most{})
	for step := range 3000 {
		now := time.Duration(step) * 10 * time.Second
		i := r.IntN(len(filters))
		f := Filter{Exclude: r.IntN(3) == 0}
		if r.IntN(3) > 0 {
			for _, a := range all {
				if r.IntN(2) == 0 {
					f.Sources = append(f.Sources, a)
				}
			}
		}
		if !tb.Listen(now, k, filters[i], f, router) {
			t.Fatal("refused")
		}
		filters[i] = f
		for _, a := range all {
			want := slices.ContainsFunc(filters, func(f Filter) bool { return f.Allows(a) })
			if got := router.f.Allows(a); got != want {
				t.Fatalf("step %d: %v wanted: %v; a router knows of %+v", step, a, want, router.f)
			}
		}
		other := slices.ContainsFunc(filters, func(f Filter) bool { return f.Exclude })
		if tb.Member(1, k.Group) != (other || len(router.f.Sources) > 0) || router.f.Exclude != other {
			t.Fatalf("step %d: %+v", step, router.f)
		}
		for range 2 {
			tb.Timeout(now+time.Second, router)
		}
	}
	for i := range filters {
		tb.Listen(0, k, filters[i], Filter{}, router)
	}
	for range 3 {
		tb.Timeout(never/2, router)
	}
	if n := len(tb.All()); n != 0 || tb.sources != 0 {
		t.Errorf("%d groups and %d sources left", n, tb.sources)
	}
}

// A knower is a router's knowledge of the one host and group.
type knower struct{ f Filter }

func (*knower) Link(int32, bool) Link { return Link{} }

func (n *knower) Send(_ int32, m *Message) {
	for _, r := range m.Records {
		switch r.Type {
		case wire.RecordToExclude, wire.RecordToInclude:
			n.f = NewFilter(r.Type == wire.RecordToExclude, r.Sources...)
		case wire.RecordAllow, wire.RecordBlock:
			for _, a := range r.Sources {
				if n.f.Exclude == (r.Type == wire.RecordBlock) {
					n.f = n.f.With(a)
				} else {
					n.f = n.f.Without(a)
				}
			}
		}
	}
}

// Records go in as few messages as they fit in, and long ones in parts.
func TestSplit(t *testing.T) {
	src := make([]netip.Addr, 1000)
	for i := range src {
		src[i] = netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)})
	}
	rec := func(t wire.GroupRecordType, n int) Record { return Record{t, names["A"], src[:n]} }
	for _, c := range []struct {
		name    string
		records []Record
		want    string
	}{
		{"one", []Record{rec(wire.RecordIsExclude, 0)}, "is_ex 0"},
		{"together", []Record{rec(wire.RecordIsInclude, 100), rec(wire.RecordIsInclude, 200), rec(wire.RecordIsInclude, 1)}, "is_in 100 is_in 200 is_in 1"},
		{"two messages", []Record{rec(wire.RecordIsInclude, 200), rec(wire.RecordIsInclude, 200)}, "is_in 200 | is_in 200"},
		{"an exact fit", []Record{rec(wire.RecordAllow, 365)}, "allow 365"},
		{"one more", []Record{rec(wire.RecordAllow, 366)}, "allow 365 | allow 1"},
		{"in parts", []Record{rec(wire.RecordIsExclude, 0), rec(wire.RecordBlock, 1000), rec(wire.RecordIsExclude, 0)}, "is_ex 0 | block 365 | block 365 | block 270 is_ex 0"},
		{"excluding", []Record{rec(wire.RecordToExclude, 1000), rec(wire.RecordIsExclude, 0)}, "to_ex 365 | is_ex 0"},
	} {
		var got []string
		split(c.records, ReportV3.room(1500), func(part []Record) {
			var s []string
			for _, r := range part {
				s = append(s, fmt.Sprint(r.Type, " ", len(r.Sources)))
			}
			got = append(got, strings.Join(s, " "))
		})
		if s := strings.Join(got, " | "); s != c.want {
			t.Errorf("%s: %s, want %s", c.name, s, c.want)
		}
	}
}

// Groups that are being left make room for new ones, and what is listed and
// asked for has bounds.
func TestBounds(t *testing.T) {
	w := &world{t: New(2, most{})}
	for i := range 100 {
		g := netip.AddrFrom4([4]byte{239, 0, 0, byte(i)})
		if !w.t.Join(0, 1, g, w) || !w.t.Leave(0, 1, g, w) {
			t.Fatal("refused")
		}
	}
	if n := len(w.t.All()); n > 2 {
		t.Errorf("%d groups remembered", n)
	}
	f := Filter{}
	for i := range 2 * sourcesPerGroup {
		next := f.With(netip.AddrFrom4([4]byte{10, 0, 0, byte(i)}))
		if !w.t.Listen(0, Key{1, names["A"]}, f, next, w) {
			t.Fatalf("source %d refused", i)
		}
		f = next
	}
	if w.t.Listen(0, Key{1, names["A"]}, f, f.With(netip.MustParseAddr("10.9.9.9")), w) {
		t.Error("the bound of sources does not hold")
	}
	for i := range 3 {
		x := &query{version: V3, group: names["A"], resp: time.Hour}
		for j := range 200 {
			x.sources = append(x.sources, netip.AddrFrom4([4]byte{10, 1, byte(i), byte(j)}))
		}
		w.t.queried(0, 1, false, x, w)
		if n := len(w.t.index[Key{1, names["A"]}].asked); n > askedMax {
			t.Errorf("%d sources remembered", n)
		}
	}
}
