// Package socket has what every socket has: turns, waiters, deadlines and
// options.
//
// # Theory of operation
//
// A host's sockets do not block: an operation has a result, or says that it
// would block. Who wants to wait takes the socket's turn for that direction,
// tries, and sleeps on the direction's [Waiter] until the lane says that
// trying again may help. [Side] is one direction of a socket: turn, waiter and
// deadline.
//
// A turn is given in the order of asking, and is held while its owner sleeps. It is therefore not a mutex: a goroutine waiting for it sleeps on a
// channel, which testing/synctest can see.
//
// Channels are made when a goroutine first sleeps on them, and belong to their
// socket for good: an idle socket on which nobody ever slept has none.
package socket

import (
	"sync/atomic"
	"time"

	"github.com/towpath/towpath/clock"
)

// A Turn lets one goroutine at a time do something that may sleep. The zero
// value is free. Who waits is given the turn in the order of asking.
type Turn struct {
	n    atomic.Int32 // who has it, and who waits
	wake atomic.Pointer[chan struct{}]
}

// Take waits until the turn is free and takes it.
func (t *Turn) Take() {
	if t.n.Add(1) > 1 {
		<-channel(&t.wake) // it is handed over
	}
}

// TryTake takes the turn if it is free.
func (t *Turn) TryTake() bool { return t.n.CompareAndSwap(0, 1) }

// Give lets the next one have the turn.
func (t *Turn) Give() {
	if t.n.Add(-1) > 0 {
		channel(&t.wake) <- struct{}{} // has room: only the turn's owner sends
	}
}

// channel returns the channel at p, making it if there is none.
func channel(p *atomic.Pointer[chan struct{}]) chan struct{} {
	if ch := p.Load(); ch != nil {
		return *ch
	}
	ch := make(chan struct{}, 1)
	if !p.CompareAndSwap(nil, &ch) {
		return *p.Load()
	}
	return ch
}

func signal(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}

// A Waiter is where the goroutine that holds a turn sleeps. Prepare and Wake
// are called under the same lock.
type Waiter struct {
	sleeping bool
	ch       atomic.Pointer[chan struct{}]
}

// Prepare announces a sleep; the caller then unlocks and calls Sleep. A Wake in
// between is not lost.
func (w *Waiter) Prepare() { w.sleeping = true }

// Sleep waits for a wake since Prepare. It may return without one.
func (w *Waiter) Sleep() { <-channel(&w.ch) }

// Wake returns the channel to signal if somebody sleeps, else nil. The caller
// calls [Signal] after unlocking.
func (w *Waiter) Wake() chan struct{} {
	if !w.sleeping {
		return nil
	}
	w.sleeping = false
	return channel(&w.ch)
}

// Signal wakes who sleeps on a channel that Wake returned; nil is ignored.
func Signal(ch chan struct{}) {
	if ch != nil {
		signal(ch)
	}
}

// A Side is one direction of a socket. All but the turn is guarded by the
// socket's lock.
type Side struct {
	Turn
	Waiter
	// Deadline is the instant from which on operations fail with
	// os.ErrDeadlineExceeded, clock.Never for none; the zero Side has none
	// either ([Side.Expired]).
	deadline time.Duration
	set      bool
	Timer    clock.Entry // wakes who sleeps at the deadline
}

// SetDeadline sets the instant; clock.Never clears it.
func (s *Side) SetDeadline(at time.Duration) { s.deadline, s.set = at, at != clock.Never }

// HasDeadline reports whether there is one.
func (s *Side) HasDeadline() bool { return s.set }

// Expired reports whether the deadline has come.
func (s *Side) Expired(now time.Duration) bool { return s.set && now >= s.deadline }
