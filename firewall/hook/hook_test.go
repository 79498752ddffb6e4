package hook

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/towpath/towpath/packet"
)

type judge struct{ name string }

func (*judge) JudgePacket(*Context, *packet.Packet) Verdict { return Accept }
func (*judge) JudgeSocket(*SocketEvent) Verdict             { return Accept }

func names(l Judges[PacketJudge]) (s []string) {
	for _, seat := range l {
		s = append(s, fmt.Sprint(seat.Judge.(*judge).name, seat.Priority))
	}
	return s
}

// The lowest priority number comes first, the older before the younger.
func TestOrder(t *testing.T) {
	var l Judges[PacketJudge]
	for _, seat := range []struct {
		name     string
		priority int
	}{{"a", 0}, {"b", -400}, {"c", 0}, {"d", 100}, {"e", -400}, {"f", 0}, {"g", -500}} {
		l = l.With(seat.priority, &judge{seat.name})
	}
	want := []string{"g-500", "b-400", "e-400", "a0", "c0", "f0", "d100"}
	if got := names(l); !slices.Equal(got, want) {
		t.Errorf("order %v, want %v", got, want)
	}
}

// Lists answer as a stable sort does, and do not change when others are made
// of them.
func TestListsModel(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	r := rand.New(rand.NewPCG(seed, 0))
	type version struct {
		l    Judges[PacketJudge]
		want []string
	}
	sorted := func(added []Seat[PacketJudge]) []string {
		s := slices.Clone(added)
		slices.SortStableFunc(s, func(a, b Seat[PacketJudge]) int { return a.Priority - b.Priority })
		return names(s)
	}
	var versions []version
	var l Judges[PacketJudge]
	var added []Seat[PacketJudge]
	for i := range 300 {
		if r.IntN(3) > 0 || len(added) == 0 {
			j := &judge{fmt.Sprint("j", i, ":")}
			priority := r.IntN(5) - 2
			l = l.With(priority, j)
			added = append(added, Seat[PacketJudge]{priority, j})
		} else {
			k := r.IntN(len(added))
			l = l.Without(added[k].Judge)
			added = slices.Delete(slices.Clone(added), k, k+1)
		}
		versions = append(versions, version{l, sorted(added)})
	}
	for _, v := range versions {
		if got := names(v.l); !slices.Equal(got, v.want) {
			t.Fatalf("seed %d: %v, want %v", seed, got, v.want)
		}
	}
}

// The empty list is nil, for an empty point costs a load and a branch.
func TestWithout(t *testing.T) {
	a, b := &judge{"a"}, &judge{"b"}
	l := Judges[SocketJudge](nil).With(1, a).With(2, a).With(3, b)
	if got := l.Without(b); len(got) != 2 {
		t.Errorf("%d seats left", len(got))
	}
	if got := l.Without(a).Without(b); got != nil {
		t.Errorf("%v left", got)
	}
	if got := l.Without(&judge{"a"}); len(got) != 3 {
		t.Errorf("another judge of the same name took %d seats", 3-len(got))
	}
	if got := Judges[SocketJudge](nil).Without(a); got != nil {
		t.Errorf("%v of nothing", got)
	}
}

func TestPointText(t *testing.T) {
	seen := make(map[string]bool)
	for p := range PointCount {
		if s := p.String(); s == "" || seen[s] {
			t.Errorf("point %d is %q", p, s)
		} else {
			seen[s] = true
		}
	}
	if got := PointCount.String(); got != "unknown point" {
		t.Errorf("%q", got)
	}
}

type scripted struct {
	say   []Verdict
	asked int
	edit  func(c *Context)
}

func (j *scripted) JudgePacket(c *Context, _ *packet.Packet) Verdict {
	if j.edit != nil {
		j.edit(c)
	}
	v := j.say[min(j.asked, len(j.say)-1)]
	j.asked++
	return v
}

type queuer struct {
	takes bool
	after PacketJudge
	n     uint16
}

func (q *queuer) Queue(c *Context, after PacketJudge, _ *packet.Packet) bool {
	q.after, q.n = after, c.QueueNumber
	return q.takes
}

func TestRun(t *testing.T) {
	bypass := func(c *Context) { c.QueueBypass = true }
	for _, test := range []struct {
		name   string
		first  scripted
		queuer Queuer
		want   Verdict
		asked  int // how often the first was asked
		second bool
	}{
		{"accept", scripted{say: []Verdict{Accept}}, nil, Accept, 1, true},
		{"drop", scripted{say: []Verdict{Drop}}, nil, Drop, 1, false},
		{"stolen", scripted{say: []Verdict{Stolen}}, nil, Stolen, 1, false},
		{"stop", scripted{say: []Verdict{Stop}}, nil, Accept, 1, false},
		{"repeat", scripted{say: []Verdict{Repeat, Repeat, Accept}}, nil, Accept, 3, true},
		{"repeat for ever", scripted{say: []Verdict{Repeat}}, nil, Drop, repeatMax, false},
		{"unknown", scripted{say: []Verdict{99}}, nil, Drop, 1, false},
		{"queue to nobody", scripted{say: []Verdict{Queue}}, nil, Drop, 1, false},
		{"queue to nobody, bypass", scripted{say: []Verdict{Queue}, edit: bypass}, nil, Accept, 1, true},
		{"queue", scripted{say: []Verdict{Queue}}, &queuer{takes: true}, Stolen, 1, false},
		{"queue full", scripted{say: []Verdict{Queue}}, &queuer{}, Drop, 1, false},
		{"queue full, bypass", scripted{say: []Verdict{Queue}, edit: bypass}, &queuer{}, Accept, 1, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			second := &scripted{say: []Verdict{Accept}}
			l := Judges[PacketJudge](nil).With(PriorityFilter, &test.first).With(PriorityWFP, second)
			p := packet.Get()
			defer packet.Free(p)
			got := Run(l, &Context{Queuer: test.queuer}, p)
			if got != test.want || test.first.asked != test.asked || second.asked > 0 != test.second {
				t.Errorf("%v, first asked %d times, second %d; want %v, %d, %v",
					got, test.first.asked, second.asked, test.want, test.asked, test.second)
			}
			if q, ok := test.queuer.(*queuer); ok && q.after != PacketJudge(&test.first) {
				t.Error("the queue is not told behind whom the packet goes on")
			}
		})
	}
}

type ruleText string

func (r ruleText) String() string { return string(r) }

// A watched packet says which rule dropped it, others pay nothing for that.
func TestRunTrace(t *testing.T) {
	rule := fmt.Stringer(ruleText("rule 7"))
	l := Judges[PacketJudge](nil).With(0, &scripted{say: []Verdict{Drop}, edit: func(c *Context) { c.Rule = rule }})
	p := packet.Get()
	defer packet.Free(p)
	p.Trace = new(packet.Trace)
	Run(l, &Context{Point: Forward}, p)
	want := []packet.Step{{Where: "forward", What: "dropped by rule 7"}}
	if !slices.Equal(p.Trace.Steps, want) {
		t.Errorf("%v, want %v", p.Trace.Steps, want)
	}
	p.Trace = nil
	c := new(Context)
	if n := testing.AllocsPerRun(100, func() { Run(l, c, p) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestVerdictText(t *testing.T) {
	for v, want := range map[Verdict]string{Accept: "accept", Stop: "stop", 99: "unknown verdict"} {
		if v.String() != want {
			t.Errorf("%d is %q", v, v)
		}
	}
}
