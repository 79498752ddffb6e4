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
