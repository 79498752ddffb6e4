package clock

import (
	"container/heap"
	"sync"
	"time"
)

// Virtual is a clock that stands still until [Virtual.Advance] moves it. Its
// functions are called in the order of their instants, and in the order of
// their making where those are equal, by the goroutine that advances.
type Virtual struct {
	mu     sync.Mutex // leaf: never held during a call
	now    time.Duration
	origin time.Time
	seq    uint64
	due    virtualHeap
}

// NewVirtual returns a virtual clock whose origin is the civil time origin.
func NewVirtual(origin time.Time) *Virtual { return &Virtual{origin: origin} }

// Now is the time since the origin.
func (v *Virtual) Now() time.Duration {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.now
}

// Wall is the civil time of the instant now.
func (v *Virtual) Wall(now time.Duration) time.Time { return v.origin.Add(now) }

// AfterFunc calls f when the clock has advanced by d.
func (v *Virtual) AfterFunc(d time.Duration, f func()) Timer {
	t := &virtualTimer{clock: v, f: f, index: -1}
	t.Reset(d)
	return t
}

// Next is the instant of the earliest pending call; ok is false if none is.
func (v *Virtual) Next() (at time.Duration, ok bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if len(v.due) == 0 {
		return 0, false
	}
	return v.due[0].at, true
}

// Advance moves the clock forward by d, making the calls that fall due on the
// way at their instants.
func (v *Virtual) Advance(d time.Duration) {
	v.mu.Lock()
	end := v.after(d)
	for len(v.due) > 0 && v.due[0].at <= end {
		t := heap.Pop(&v.due).(*virtualTimer)
		v.now = max(v.now, t.at)
		v.mu.Unlock()
		t.f()
		v.mu.Lock()
	}
	v.now = max(v.now, end)
	v.mu.Unlock()
}

// after is the instant d from now on, Never if that is too far.
func (v *Virtual) after(d time.Duration) time.Duration {
	if d = max(d, 0); d > Never-v.now {
		return Never
	}
	return v.now + d
}

type virtualTimer struct {
	clock *Virtual
	f     func()
	at    time.Duration
	seq   uint64
	index int // in the heap; -1 if not pending
}

func (t *virtualTimer) Stop() bool {
	v := t.clock
	v.mu.Lock()
	defer v.mu.Unlock()
	if t.index < 0 {
		return false
	}
	heap.Remove(&v.due, t.index)
	return true
}

func (t *virtualTimer) Reset(d time.Duration) bool {
	v := t.clock
	v.mu.Lock()
	defer v.mu.Unlock()
	pending := t.index >= 0
	if pending {
		heap.Remove(&v.due, t.index)
	}
	v.seq++
	t.at, t.seq = v.after(d), v.seq
	heap.Push(&v.due, t)
	return pending
}

type virtualHeap []*virtualTimer

func (h virtualHeap) Len() int { return len(h) }
func (h virtualHeap) Less(i, j int) bool {
	return h[i].at < h[j].at || h[i].at == h[j].at && h[i].seq < h[j].seq
}
func (h virtualHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}
func (h *virtualHeap) Push(x any) {
	t := x.(*virtualTimer)
	t.index = len(*h)
	*h = append(*h, t)
}
func (h *virtualHeap) Pop() any {
	old := *h
	t := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	t.index = -1
	return t
}
