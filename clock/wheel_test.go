package clock

import (
	"fmt"
	"math"
	"testing"
	"time"

	"pgregory.net/rapid"
)

const tick = time.Duration(1) << tickShift

// A plan is a wheel beside the entries that should be on it.
type plan struct {
	firing  bool // inside Advance
	late    map[*Entry]bool
	t       *rapid.T
	w       Wheel
	entries []*Entry
	at      map[*Entry]time.Duration // the pending ones
	now     time.Duration
	again   int // how many more entries may be scheduled from Fire
	fired   int
}

// earliest is the oracle's next deadline.
func (p *plan) earliest() time.Duration {
	return p.earliestOf(func(*Entry) bool { return true })
}

func (p *plan) earliestOf(in func(*Entry) bool) time.Duration {
	first := Never
	for e, at := range p.at {
		if in(e) {
			first = min(first, at)
		}
	}
	return first
}

// instant draws an instant that is past, near, on a border of slots, far, or
// one that an entry is pending for.
func (p *plan) instant() time.Duration {
	t := p.t
	switch rapid.IntRange(0, 6).Draw(t, "kind") {
	case 0:
		return max(p.now-time.Duration(rapid.Int64Range(0, int64(3*time.Hour)).Draw(t, "ago")), 0)
	case 1:
		return p.now + time.Duration(rapid.Int64Range(0, int64(3*tick)).Draw(t, "in"))
	case 2:
		level := rapid.IntRange(0, levelCount-2).Draw(t, "level")
		shift := tickShift + level*slotBits
		slot := int64(p.now)>>shift + rapid.Int64Range(0, slots+1).Draw(t, "slots")
		return time.Duration(slot<<shift + rapid.Int64Range(-1, 1).Draw(t, "beside"))
	case 3:
		return p.now + time.Duration(rapid.Int64Range(0, int64(time.Minute)).Draw(t, "in"))
	case 4:
		return p.now + time.Duration(rapid.Int64Range(0, int64(10*365*24*time.Hour)).Draw(t, "in"))
	case 5:
		return p.now
	default:
		if first := p.earliest(); first != Never {
			return first
		}
		return p.now
	}
}

func (p *plan) schedule(e *Entry, at time.Duration) {
	p.w.Schedule(e, at)
	p.at[e] = at
	// What Fire schedules for now or the past comes after all that was due.
	p.late[e] = p.firing && at <= p.now
}

// newEntry makes an entry whose Fire checks that it was its turn, and now and
// then changes the wheel.
func (p *plan) newEntry() *Entry {
	e := new(Entry)
	e.Fire = func(now time.Duration) {
		at, ok := p.at[e]
		switch {
		case !ok:
			p.t.Fatal("fired, but was not pending")
		case now != p.now || at > now:
			p.t.Fatalf("fired at %d with %d, is for %d", p.now, now, at)
		case !p.late[e] && at > p.earliestOf(func(o *Entry) bool { return !p.late[o] }):
			p.t.Fatalf("fired that for %d before that for %d", at, p.earliest())
		case e.Pending() || e.At() != Never:
			p.t.Fatal("still on the wheel in Fire")
		}
		delete(p.at, e)
		p.fired++
		if p.again > 0 && rapid.IntRange(0, 3).Draw(p.t, "again") == 0 {
			p.again--
			p.schedule(rapid.SampledFrom(p.entries).Draw(p.t, "other"), p.instant())
			p.schedule(e, p.instant())
		}
		if rapid.IntRange(0, 5).Draw(p.t, "cancel") == 0 {
			p.cancel(rapid.SampledFrom(p.entries).Draw(p.t, "other"))
		}
	}
	p.entries = append(p.entries, e)
	return e
}

func (p *plan) cancel(e *Entry) {
	p.w.Cancel(e)
	delete(p.at, e)
}

func (p *plan) advance(to time.Duration) {
	p.now = to
	p.again = 20
	p.firing = true
	p.w.Advance(to)
	p.firing = false
	clear(p.late)
	if first := p.earliest(); first <= to {
		p.t.Fatalf("Advance(%d) has not fired that for %d", to, first)
	}
}

func (p *plan) check(t *rapid.T) {
	if p.w.Len() != len(p.at) {
		t.Fatalf("Len %d, want %d", p.w.Len(), len(p.at))
	}
	for _, e := range p.entries {
		at, ok := p.at[e]
		if !ok {
			at = Never
		}
		if e.Pending() != ok || e.At() != at {
			t.Fatalf("Pending %v, At %d; want %v, %d", e.Pending(), e.At(), ok, at)
		}
	}
	next, first := p.w.Next(), p.earliest()
	if next > first || (next == Never) != (first == Never) {
		t.Fatalf("Next %d, earliest deadline %d", next, first)
	}
	if first-p.now < tick && next != first && first != Never && first>>tickShift == p.now>>tickShift {
		t.Fatalf("Next %d is not the near deadline %d", next, first)
	}
}

func TestWheelModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := &plan{t: t, at: make(map[*Entry]time.Duration), late: make(map[*Entry]bool)}
		entry := func() *Entry {
			if len(p.entries) == 0 || rapid.IntRange(0, 2).Draw(t, "new") == 0 {
				return p.newEntry()
			}
			return rapid.SampledFrom(p.entries).Draw(t, "entry")
		}
		t.Repeat(map[string]func(*rapid.T){
			"":         p.check,
			"Schedule": func(t *rapid.T) { p.schedule(entry(), p.instant()) },
			"Several": func(t *rapid.T) {
				at := p.instant()
				for range 3 {
					p.schedule(entry(), at)
				}
			},
			"Cancel":   func(t *rapid.T) { p.cancel(entry()) },
			"Advance":  func(t *rapid.T) { p.advance(max(p.now, p.instant())) },
			"ToNext":   func(t *rapid.T) { p.toNext() },
			"Backward": func(t *rapid.T) { p.w.Advance(min(p.now, p.w.Next()) - 1) },
		})
		// Whatever is left comes in the end, by following Next alone.
		for range 2 * levelCount * (len(p.at) + 25) {
			if p.w.Len() == 0 {
				return
			}
			p.toNext()
		}
		t.Fatalf("%d entries never fire", p.w.Len())
	})
}

// toNext advances as a lane does: to the instant that Next asks for.
func (p *plan) toNext() {
	next := p.w.Next()
	if next == Never {
		return
	}
	p.advance(max(next, p.now))
	if after := p.w.Next(); after <= p.now {
		p.t.Fatalf("after Advance(%d) Next is %d: no progress", p.now, after)
	}
}

// A single far deadline is reached in a few steps: one for each level.
func TestWheelSteps(t *testing.T) {
	for _, at := range []time.Duration{0, 1, tick - 1, tick, 64 * tick, time.Second, time.Minute, time.Hour, 24 * time.Hour, 100 * 365 * 24 * time.Hour, 1<<62 - 1, 1 << 62, Never - 1} {
		t.Run(fmt.Sprint(int64(at)), func(t *testing.T) {
			var w Wheel
			var fired []time.Duration
			e := Entry{Fire: func(now time.Duration) { fired = append(fired, now) }}
			w.Schedule(&e, at)
			steps, now := 0, time.Duration(-1)
			for next := w.Next(); next != Never; next = w.Next() {
				if next <= now || next > at {
					t.Fatalf("Next %d after %d", next, now)
				}
				now = next
				w.Advance(now)
				if steps++; steps > levelCount {
					t.Fatal("too many steps")
				}
			}
			if len(fired) != 1 || fired[0] != at {
				t.Errorf("fired at %d, want %d", fired, at)
			}
		})
	}
}

// An entry whose instant has passed is due at once.
func TestWheelPast(t *testing.T) {
	var w Wheel
	var order []int
	entry := func(i int) *Entry { return &Entry{Fire: func(time.Duration) { order = append(order, i) }} }
	w.Advance(time.Hour)
	w.Schedule(entry(2), time.Hour)
	w.Schedule(entry(1), time.Minute)
	w.Schedule(entry(0), -time.Second)
	w.Schedule(entry(3), time.Hour+1)
	if w.Next() != -time.Second {
		t.Errorf("Next %v", w.Next())
	}
	w.Advance(time.Hour)
	if got := fmt.Sprint(order); got != "[0 1 2]" || w.Len() != 1 {
		t.Errorf("fired %v, %d left", got, w.Len())
	}
}

// Cancelling what is on no wheel does nothing; scheduling twice moves.
func TestWheelMove(t *testing.T) {
	var w Wheel
	n := 0
	e := Entry{Fire: func(time.Duration) { n++ }}
	w.Cancel(&e)
	w.Schedule(&e, time.Second)
	w.Schedule(&e, time.Minute)
	w.Schedule(&e, 2*time.Second)
	w.Advance(time.Second)
	if n != 0 || w.Len() != 1 || e.At() != 2*time.Second {
		t.Errorf("fired %d, %d left, at %v", n, w.Len(), e.At())
	}
	w.Advance(time.Hour)
	w.Cancel(&e)
	if n != 1 || w.Len() != 0 || e.At() != Never || w.Next() != Never {
		t.Errorf("fired %d, %d left", n, w.Len())
	}
}

func TestWheelAllocs(t *testing.T) {
	var w Wheel
	var now time.Duration
	e := make([]Entry, 100)
	for i := range e {
		e[i].Fire = func(time.Duration) {}
	}
	if n := testing.AllocsPerRun(100, func() {
		for i := range e {
			w.Schedule(&e[i], now+time.Duration(i)*time.Millisecond*10)
		}
		w.Cancel(&e[50])
		now += time.Second
		w.Advance(now)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkWheelScheduleCancel(b *testing.B) {
	b.ReportAllocs()
	var w Wheel
	var e Entry
	for i := 0; b.Loop(); i++ {
		w.Schedule(&e, time.Duration(i%1000)*time.Millisecond)
		w.Cancel(&e)
	}
}

// A thousand connections' timers, each set again when it fires.
func BenchmarkWheelFire(b *testing.B) {
	b.ReportAllocs()
	var w Wheel
	entries := make([]Entry, 1000)
	var at time.Duration
	for i := range entries {
		e := &entries[i]
		e.Fire = func(time.Duration) { w.Schedule(e, e.at+200*time.Millisecond) }
		w.Schedule(e, time.Duration(i)*200*time.Microsecond)
	}
	for b.Loop() {
		at += 200 * time.Microsecond
		w.Advance(at)
	}
}

func TestVirtualFarFuture(t *testing.T) {
	v := NewVirtual(epoch)
	v.Advance(time.Second)
	called := false
	v.AfterFunc(math.MaxInt64, func() { called = true })
	v.Advance(0)
	if at, _ := v.Next(); called || at < v.Now() {
		t.Errorf("a call in 292 years: made %v, next at %v", called, at)
	}
}

func TestWheelSameInstantInOrder(t *testing.T) {
	for _, at := range []time.Duration{time.Millisecond, time.Second, time.Minute, time.Hour} {
		var w Wheel
		var got []int
		for i := range 3 {
			w.Schedule(&Entry{Fire: func(time.Duration) { got = append(got, i) }}, at)
		}
		w.Advance(at)
		if got[0] != 0 || got[1] != 1 {
			t.Errorf("%v: order %v", at, got)
		}
	}
}

func BenchmarkWheelBurst(b *testing.B) {
	for _, n := range []int{100, 1000, 10000} {
		b.Run(time.Duration(n).String(), func(b *testing.B) {
			e := make([]Entry, n)
			for i := range e {
				e[i].Fire = func(time.Duration) {}
			}
			var w Wheel
			now := time.Duration(0)
			for b.Loop() {
				now += 200 * time.Millisecond
				for i := range e {
					w.Schedule(&e[i], now)
				}
				w.Advance(now)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*n), "ns/timer")
		})
	}
}
