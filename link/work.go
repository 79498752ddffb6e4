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
}

// Work is the list of deliveries that a caller owes after it has let go of all
// locks. Receive, Indicate, Flush and Send pass it down and only add to it, so
// calls never nest however long a chain of hosts is.
//
//	w := link.NewWork(group)
//	… lock the lane, do something, unlock …
//	adapter.Flush(w)
//	w.Run()
type Work struct {
	group *Group
	q     [6]Runner // ring
	head  int
	n     int
	over  []Runner // beyond the ring
	ran   int
}

var workPool = sync.Pool{New: func() any { return new(Work) }}

// NewWork returns an empty Work whose remainder may run on a goroutine of g.
// If g is nil, Run does everything itself: for drivers' own goroutines.
func NewWork(g *Group) *Work {
	w := workPool.Get().(*Work)
	w.group = g
	return w
}

// Add puts a runner at the end of the list.
func (w *Work) Add(r Runner) {
	if w.n < len(w.q) {
		w.q[(w.head+w.n)%len(w.q)] = r
		w.n++
		return
	}
	w.over = append(w.over, r)
}

func (w *Work) pop() Runner {
	if w.n == 0 {
		return nil
	}
	r := w.q[w.head]
	w.q[w.head] = nil
	w.head = (w.head + 1) % len(w.q)
	w.n--
	if len(w.over) > 0 {
		next := w.over[0]
		w.over[0] = nil
		w.over = w.over[1:]
		w.q[(w.head+w.n)%len(w.q)] = next
		w.n++
	}
	return r
}

// Run does the work and ends w, which must not be used again. It must be
// called without any lock held.
func (w *Work) Run() {
	for w.n > 0 {
		if w.group != nil && w.ran >= deliveriesMax && w.group.run(w) {
			return
		}
		w.ran++
		r := w.pop()
		if r.RunWork(w) {
			w.Add(r)
		}
	}
	w.release()
}

func (w *Work) release() {
	w.group, w.over, w.ran, w.head = nil, nil, 0, 0
	workPool.Put(w)
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
