package netem

import (
	"time"

	"github.com/towpath/towpath/clock"
	"github.com/towpath/towpath/packet"
)

// held is the packets held back, the earliest first, and of equal instants the
// one that came first: a binary heap.
type held struct {
	h     []entry
	seq   uint64
	bytes int
}

type entry struct {
	at  time.Duration
	seq uint64
	p   *packet.Packet
}

func (a *entry) before(b *entry) bool { return a.at < b.at || a.at == b.at && a.seq < b.seq }

// heapKeep is the capacity that an empty heap may keep.
const heapKeep = 4096

func (q *held) len() int { return len(q.h) }

// next is the earliest instant, clock.Never if nothing is held.
func (q *held) next() time.Duration {
	if len(q.h) == 0 {
		return clock.Never
	}
	return q.h[0].at
}

func (q *held) push(p *packet.Packet, at time.Duration) {
	q.seq++
	e := entry{at, q.seq, p}
	q.bytes += p.Len()
	q.h = append(q.h, e)
	i := len(q.h) - 1
	for i > 0 {
		up := (i - 1) / 2
		if !e.before(&q.h[up]) {
			break
		}
		q.h[i] = q.h[up]
		i = up
	}
	q.h[i] = e
}

// pop takes the earliest packet.
func (q *held) pop() *packet.Packet {
	p := q.h[0].p
	q.bytes -= p.Len()
	n := len(q.h) - 1
	e := q.h[n]
	q.h[n] = entry{}
	q.h = q.h[:n]
	if n == 0 {
		if cap(q.h) > heapKeep {
			q.h = nil
		}
		return p
	}
	i := 0
	for {
		c := 2*i + 1
		if c >= n {
			break
		}
		if c+1 < n && q.h[c+1].before(&q.h[c]) {
			c++
		}
		if !q.h[c].before(&e) {
			break
		}
		q.h[i] = q.h[c]
		i = c
	}
	q.h[i] = e
	return p
}
