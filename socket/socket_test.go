package socket

import (
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/towpath/towpath/clock"
)

// One goroutine at a time has the turn, and all get it as often as they want.
func TestTurn(t *testing.T) {
	var turn Turn
	var inside atomic.Int32
	var wg sync.WaitGroup
	n := 0 // guarded by the turn alone, for the race detector to see
	const workers, rounds = 16, 500
	for g := range workers {
		wg.Go(func() {
			for i := range rounds {
				turn.Take()
				if inside.Add(1) != 1 {
					t.Error("two have the turn")
				}
				n++
				if (i+g)%7 == 0 {
					runtime.Gosched()
				}
				inside.Add(-1)
				turn.Give()
			}
		})
	}
	wg.Wait()
	if n != workers*rounds {
		t.Errorf("%d turns, want %d", n, workers*rounds)
	}
	if !turn.TryTake() || turn.TryTake() {
		t.Error("the turn is not free afterwards, or is when taken")
	}
}

// Waiting for a turn is durably blocking: a bubble's time goes on meanwhile.
func TestTurnInBubble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var turn Turn
		start := time.Now()
		var ends []time.Duration
		for range 10 {
			go func() {
				turn.Take()
				time.Sleep(time.Second)
				ends = append(ends, time.Since(start))
				turn.Give()
			}()
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if len(ends) != 10 {
			t.Fatalf("%d have had the turn", len(ends))
		}
		for i, at := range ends {
			if at != time.Duration(i+1)*time.Second {
				t.Errorf("turn %d ended at %v", i, at)
			}
		}
	})
}

// Whoever sleeps with the turn is not disturbed, and who waits has it as soon
// as it is given.
func TestTurnHandedOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var turn Turn
		turn.Take()
		got := false
		go func() {
			turn.Take()
			got = true
			turn.Give()
		}()
		synctest.Wait()
		if got || turn.TryTake() {
			t.Fatal("the turn was taken twice")
		}
		turn.Give()
		synctest.Wait()
		if !got || !turn.TryTake() {
			t.Error("the turn was not handed over")
		}
	})
}

// A queue as sockets have it: a lock, a waiter, a turn.
type queue struct {
	mu sync.Mutex
	n  int
	Side
}

func (q *queue) put() {
	q.mu.Lock()
	q.n++
	ch := q.Wake()
	q.mu.Unlock()
	Signal(ch)
}

func (q *queue) take() {
	q.Take()
	defer q.Give()
	for {
		q.mu.Lock()
		if q.n > 0 {
			q.n--
			q.mu.Unlock()
			return
		}
		q.Prepare()
		q.mu.Unlock()
		q.Sleep()
	}
}

// No wake is lost between looking and sleeping.
func TestNoWakeLost(t *testing.T) {
	var q queue
	var wg sync.WaitGroup
	const readers, each = 4, 5000
	for range readers {
		wg.Go(func() {
			for range each {
				q.take()
			}
		})
		wg.Go(func() {
			for i := range each {
				q.put()
				if i%16 == 0 {
					runtime.Gosched()
				}
			}
		})
	}
	wg.Wait()
	if q.n != 0 {
		t.Errorf("%d left", q.n)
	}
}

// What may happen between Prepare and Sleep.
func TestWaiter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var w Waiter
		if w.Wake() != nil {
			t.Error("wakes although nobody sleeps")
		}
		Signal(nil)

		w.Prepare()
		ch := w.Wake()
		if ch == nil || w.Wake() != nil {
			t.Error("does not wake once, and once only")
		}
		Signal(ch)
		w.Sleep() // returns, for the wake came before

		w.Prepare()
		woken := false
		go func() {
			w.Sleep()
			woken = true
		}()
		synctest.Wait()
		if woken {
			t.Error("woken by nobody")
		}
		ch = w.Wake()
		Signal(ch)
		Signal(ch) // too much is not too much
		synctest.Wait()
		if !woken {
			t.Error("not woken")
		}
		if again := w.channelOf(); again != ch {
			t.Error("the channel is not the socket's for good")
		}
	})
}

func (w *Waiter) channelOf() chan struct{} { return channel(&w.ch) }

// Sockets on which nobody ever slept have no channel.
func TestNoChannelUnlessSlept(t *testing.T) {
	var s Side
	s.Take()
	s.Give()
	s.Prepare()
	if s.wake.Load() != nil || s.ch.Load() != nil {
		t.Error("a channel, although nobody has slept")
	}
	if n := testing.AllocsPerRun(100, func() { s.Take(); s.Give(); Signal(s.Wake()); s.Prepare() }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestDeadline(t *testing.T) {
	var s Side
	for _, step := range []struct {
		set          time.Duration
		now          time.Duration
		has, expired bool
	}{
		{clock.Never, 1 << 62, false, false},
		{0, 0, true, true}, // the origin is an instant like others
		{-time.Second, 0, true, true},
		{time.Second, time.Second - 1, true, false},
		{time.Second, time.Second, true, true},
		{clock.Never, 1 << 62, false, false},
	} {
		if s.SetDeadline(step.set); s.HasDeadline() != step.has || s.Expired(step.now) != step.expired {
			t.Errorf("deadline %v at %v: %v %v", step.set, step.now, s.HasDeadline(), s.Expired(step.now))
		}
	}
	if zero := new(Side); zero.HasDeadline() || zero.Expired(1<<62) {
		t.Error("the zero Side has a deadline")
	}
}

func BenchmarkTurn(b *testing.B) {
	b.ReportAllocs()
	var turn Turn
	for b.Loop() {
		turn.Take()
		turn.Give()
	}
}

func BenchmarkTurnContended(b *testing.B) {
	b.ReportAllocs()
	var turn Turn
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			turn.Take()
			turn.Give()
		}
	})
}

func BenchmarkWakeNobody(b *testing.B) {
	b.ReportAllocs()
	var w Waiter
	for b.Loop() {
		Signal(w.Wake())
	}
}

// Who sleeps with the turn and wants it again at once lets the other have it.
func TestTurnIsFair(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var turn Turn
		var done atomic.Bool
		had := 0
		go func() { // sleeps with the turn, gives it, wants it again
			for !done.Load() {
				turn.Take()
				time.Sleep(time.Millisecond)
				turn.Give()
			}
		}()
		go func() {
			for !done.Load() {
				turn.Take()
				had++
				time.Sleep(time.Millisecond)
				turn.Give()
			}
		}()
		time.Sleep(time.Second)
		done.Store(true)
		time.Sleep(time.Second)
		synctest.Wait()
		if had < 100 {
			t.Errorf("the second goroutine had the turn %d times of 1000", had)
		}
	})
}
