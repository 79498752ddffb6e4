package clock

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

var epoch = time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC)

// Both clocks keep the same promises; ahead lets d pass.
func testClock(t *testing.T, c Clock, origin time.Time, ahead func(d time.Duration)) {
	var mu sync.Mutex
	var got []string
	note := func(s string) func() {
		return func() {
			mu.Lock()
			defer mu.Unlock()
			got = append(got, fmt.Sprint(s, " ", c.Now()))
		}
	}
	expect := func(want ...string) {
		t.Helper()
		mu.Lock()
		defer mu.Unlock()
		if !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
		got = nil
	}
	if c.Now() != 0 || !c.Wall(0).Equal(origin) || !c.Wall(time.Hour).Equal(origin.Add(time.Hour)) {
		t.Errorf("begins at %v, %v", c.Now(), c.Wall(0))
	}
	late := c.AfterFunc(3*time.Second, note("late"))
	early := c.AfterFunc(time.Second, note("early"))
	stopped := c.AfterFunc(2*time.Second, note("stopped"))
	if !stopped.Stop() || stopped.Stop() {
		t.Error("Stop reports what it did, once")
	}
	ahead(999 * time.Millisecond)
	expect()
	ahead(time.Millisecond)
	expect("early 1s")
	if early.Stop() {
		t.Error("Stop after the call")
	}
	if !late.Reset(time.Minute) || early.Reset(2*time.Second) {
		t.Error("Reset reports what was pending")
	}
	ahead(time.Hour)
	expect("early 3s", "late 1m1s")
	c.AfterFunc(0, note("now"))
	c.AfterFunc(-time.Hour, note("now"))
	ahead(0)
	expect("now 1h0m1s", "now 1h0m1s")
	stopped.Reset(time.Second)
	ahead(time.Second)
	expect("stopped 1h0m2s")
	if c.Now() != time.Hour+2*time.Second {
		t.Errorf("now is %v", c.Now())
	}
}

func TestVirtual(t *testing.T) {
	v := NewVirtual(epoch)
	testClock(t, v, epoch, v.Advance)
}

// The real clock follows a bubble's time to the nanosecond.
func TestReal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		testClock(t, Real(), time.Now(), func(d time.Duration) {
			time.Sleep(d)
			synctest.Wait()
		})
	})
}

func TestRealGoesOn(t *testing.T) {
	c := Real()
	last := c.Now()
	for range 1000 {
		now := c.Now()
		if now < last {
			t.Fatal("went back")
		}
		last = now
	}
	if d := time.Until(c.Wall(last)); d > time.Second || d < -time.Minute {
		t.Errorf("wall time is off by %v", d)
	}
}

// Calls come in the order of their instants, and of their making where those
// are equal, with timers made, moved and stopped on the way.
func TestVirtualOrder(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	r := rand.New(rand.NewPCG(seed, 0))
	v := NewVirtual(epoch)
	type call struct {
		at   time.Duration
		made int
	}
	pending := make(map[int]call) // by timer
	timers := make([]Timer, 0, 2000)
	made, calls := 0, 0
	var last call
	var start func()
	set := func(i int, d time.Duration) {
		made++
		pending[i] = call{v.Now() + d, made}
	}
	delay := func() time.Duration { return time.Duration(r.IntN(20)) * time.Millisecond }
	start = func() {
		i, d := len(timers), delay()
		set(i, d)
		timers = append(timers, nil)
		timers[i] = v.AfterFunc(d, func() {
			c, ok := pending[i]
			if !ok || c.at != v.Now() {
				t.Fatalf("seed %d: called at %v, want %v, %v", seed, v.Now(), c.at, ok)
			}
			if c.at < last.at || c.at == last.at && c.made < last.made {
				t.Fatalf("seed %d: out of order", seed)
			}
			last = c
			delete(pending, i)
			calls++
			if len(timers) < cap(timers) && r.IntN(3) > 0 {
				start()
			}
			j, d := r.IntN(len(timers)), delay()
			_, was := pending[j]
			if r.IntN(4) == 0 {
				if timers[j].Stop() != was {
					t.Fatalf("seed %d: Stop reports %v", seed, !was)
				}
				delete(pending, j)
			} else if was {
				if !timers[j].Reset(d) {
					t.Fatalf("seed %d: Reset reports nothing pending", seed)
				}
				set(j, d)
			}
		})
	}
	for range 500 {
		start()
	}
	for len(pending) > 0 {
		first := Never
		for _, c := range pending {
			first = min(first, c.at)
		}
		if at, ok := v.Next(); !ok || at != first {
			t.Fatalf("seed %d: Next %v %v, want %v", seed, at, ok, first)
		}
		v.Advance(first - v.Now() + time.Duration(r.IntN(3))*time.Millisecond)
	}
	if at, ok := v.Next(); ok {
		t.Errorf("seed %d: Next %v, but nothing is pending", seed, at)
	}
	if calls < 300 {
		t.Errorf("seed %d: only %d calls", seed, calls)
	}
}

// The clock stands still until it is moved, and never goes back.
func TestVirtualStandsStill(t *testing.T) {
	v := NewVirtual(epoch)
	v.Advance(time.Second)
	v.Advance(-time.Hour)
	if v.Now() != time.Second {
		t.Errorf("now is %v", v.Now())
	}
}

// Goroutines may use the clock while another moves it.
func TestVirtualConcurrently(t *testing.T) {
	v := NewVirtual(epoch)
	var wg, called sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for i := range 200 {
				called.Add(1)
				tm := v.AfterFunc(time.Duration(i)*time.Millisecond, called.Done)
				v.Now()
				v.Next()
				if i%3 == 0 && tm.Stop() {
					called.Done()
				}
			}
		})
	}
	for range 100 {
		v.Advance(time.Millisecond)
	}
	wg.Wait()
	v.Advance(time.Second)
	called.Wait()
}
