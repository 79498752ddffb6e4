package link

import (
	"sync"
)

// deliveriesMax is how many runs a caller does itself before the rest of the
// work goes to a goroutine.
const deliveriesMax = 16

// A Runner is a queue with something to deliver, such as one direction of a
// cable. RunWork delivers one batch and reports whether more is waiting. It may
// be called by several goroutines at once.
type Runner interface {
	RunWork(w *Work) (more bool)
	// Abandon tells that a Work that owed a run will not do it: its goroutine
	// has panicked or exits.
	Abandon()
}

// Work is what a caller owes after it has let go of all locks: adapters to
// flush, queues to deliver, sleepers to wake. Receive, Indicate, Flush and Send
// pass it down and only add to it, so calls never nest however long a chain of
// hosts is.
//
//	w := link.NewWork(group)
//	… lock the lane, do something, unlock …
//	w.Flush(adapter)
//	w.Run()
type Work struct {
	group   *Group
	flushes []*Adapter
	runners []Runner // from next on
	next    int
	wakes   []chan struct{}
	ran     int
}

var workPool = sync.Pool{New: func() any { return new(Work) }}

// NewWork returns an empty Work whose remainder may run on a goroutine of g.
// If g is nil, Run does everything itself: for drivers' own goroutines.
func NewWork(g *Group) *Work {
	w := workPool.Get().(*Work)
	w.group = g
	return w
}

// Add owes a delivery.
func (w *Work) Add(r Runner) { w.runners = append(w.runners, r) }

// Flush owes a flush of an adapter's out queue.
func (w *Work) Flush(a *Adapter) {
	for _, b := range w.flushes {
		if a == b {
			return
		}
	}
	w.flushes = append(w.flushes, a)
}

// Wake owes a signal to a sleeper's channel, which has room for one. It is
// given as late as keeps nobody waiting: a sleeper that runs on another
// processor at once would only wait for what is still being done here.
func (w *Work) Wake(ch chan struct{}) { w.wakes = append(w.wakes, ch) }

// Run does the work and ends w, which must not be used again. It must be
// called without any lock held.
func (w *Work) Run() {
	done := false
	defer func() {
		if !done {
			w.abandon()
		}
	}()
	for {
		for len(w.flushes) > 0 {
			last := len(w.flushes) - 1
			a := w.flushes[last]
			w.flushes[last] = nil
			w.flushes = w.flushes[:last]
			a.Flush(w)
		}
		if w.next == len(w.runners) {
			break
		}
		w.signal()
		if w.group != nil && w.ran >= deliveriesMax && w.group.run(w) {
			done = true
			return
		}
		w.ran++
		r := w.pop()
		if r.RunWork(w) {
			w.Add(r)
		}
	}
	w.signal()
	done = true
	w.group, w.ran = nil, 0
	workPool.Put(w)
}

// abandon leaves what is owed to others: the next to send on a queue becomes
// its runner, the next to flush an adapter sends what is there.
func (w *Work) abandon() {
	w.signal()
	for _, r := range w.runners[w.next:] {
		r.Abandon()
	}
}

func (w *Work) pop() Runner {
	r := w.runners[w.next]
	w.runners[w.next] = nil
	if w.next++; w.next == len(w.runners) {
		w.runners, w.next = w.runners[:0], 0
	}
	return r
}

// signal wakes the sleepers.
func (w *Work) signal() {
	for i, ch := range w.wakes {
		w.wakes[i] = nil
		select {
		case ch <- struct{}{}:
		default:
		}
	}
	w.wakes = w.wakes[:0]
}

// A Group counts the short-lived goroutines on which the rest of long work
// runs, for their owner to wait for.
type Group struct {
	mu     sync.Mutex
	cond   *sync.Cond
	n      int
	closed bool
}

// run continues w on a goroutine of the group; false if the group is closed.
func (g *Group) run(w *Work) bool {
	g.mu.Lock()
	if g.closed {
		g.mu.Unlock()
		return false
	}
	g.n++
	g.mu.Unlock()
	w.group = nil // from here on it does everything itself
	go func() {
		defer g.done()
		w.Run()
	}()
	return true
}

func (g *Group) done() {
	g.mu.Lock()
	g.n--
	if g.cond != nil {
		g.cond.Broadcast()
	}
	g.mu.Unlock()
}

// Wait stops the group from starting goroutines and waits for those that run.
func (g *Group) Wait() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.closed = true
	if g.cond == nil {
		g.cond = sync.NewCond(&g.mu)
	}
	for g.n > 0 {
		g.cond.Wait()
	}
}
