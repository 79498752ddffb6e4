package link

import (
	"sync"
	"sync/atomic"

	"github.com/towpath/towpath/packet"
)

const (
	// runPackets is how many packets one run of a queue delivers.
	runPackets = 64
	// longQueue is the length from which on a sender delivers too.
	longQueue = 4 * runPackets
	// QueueLimit is a queue's default bound, in packets.
	QueueLimit = 16384
)

// A Queue carries packets from one adapter to another inside the process: one
// direction of a cable, or the loop. It is bounded, keeps order, and is run by
// its senders' [Work].
type Queue struct {
	mu        sync.Mutex // leaf
	l         packet.List
	scheduled bool // some Work has it
	closed    bool

	runMu sync.Mutex  // held while delivering: one runner at a time
	batch packet.List // guarded by runMu: what is being delivered

	limit int
	from  *Adapter // who counts what is dropped
	to    atomic.Pointer[Adapter]
}

// Open connects the queue, also one that has been closed. limit is in packets;
// 0 means QueueLimit.
func (q *Queue) Open(from *Adapter, limit int) {
	if limit <= 0 {
		limit = QueueLimit
	}
	q.mu.Lock()
	q.from, q.limit, q.closed = from, limit, false
	q.mu.Unlock()
}

// Deliver sets the adapter that packets come out at.
func (q *Queue) Deliver(to *Adapter) { q.to.Store(to) }

// Send takes the packets of l and, unless somebody does already, makes w
// deliver them.
func (q *Queue) Send(l *packet.List, w *Work) {
	q.mu.Lock()
	switch {
	case q.closed:
		q.mu.Unlock()
		q.from.Drop(l, packet.ReasonCableCut)
		return
	case q.l.Len()+l.Len() > q.limit:
		room := q.limit - q.l.Len()
		l.Take(&q.l, room)
	default:
		q.l.Append(l)
	}
	run := !q.scheduled || q.l.Len() > longQueue
	q.scheduled = true
	q.mu.Unlock()
	if !l.Empty() {
		q.from.Drop(l, packet.ReasonCableQueueFull)
	}
	if run {
		w.Add(q)
	}
}

// RunWork delivers up to 64 packets and reports whether there are more.
func (q *Queue) RunWork(w *Work) (more bool) {
	q.runMu.Lock()
	defer q.runMu.Unlock()
	l := &q.batch // not a local: it would escape to the heap
	q.mu.Lock()
	q.l.Take(l, runPackets)
	more = !q.l.Empty()
	q.scheduled = more
	q.mu.Unlock()
	if l.Empty() {
		return false
	}
	returned := false
	defer func() {
		if !returned {
			q.from.Drop(&q.batch, packet.ReasonRunnerLost)
			q.Abandon()
		}
	}()
	q.indicate(l, w)
	returned = true
	return more
}

// Abandon gives the runner's role back: the next sender takes it.
func (q *Queue) Abandon() {
	q.mu.Lock()
	q.scheduled = false
	q.mu.Unlock()
}

func (q *Queue) indicate(l *packet.List, w *Work) {
	if to := q.to.Load(); to != nil {
		to.Indicate(l, w)
		return
	}
	q.from.Drop(l, packet.ReasonCableLoose)
}

// Close drops what is queued and what will be sent, and returns when no
// delivery is going on. It must not be called by a delivery.
func (q *Queue) Close() {
	q.mu.Lock()
	q.closed = true
	var l packet.List
	l.Append(&q.l)
	from := q.from
	q.mu.Unlock()
	if from != nil {
		from.Drop(&l, packet.ReasonCableFlushed)
	}
	q.Disconnect()
}

// Disconnect drops whatever comes out from now on, and returns when no
// delivery is going on. It must not be called by a delivery.
func (q *Queue) Disconnect() {
	q.to.Store(nil)
	q.runMu.Lock()
	//lint:ignore SA2001 waits for the delivery that may be going on
	q.runMu.Unlock()
}
