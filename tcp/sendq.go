package tcp

import (
	"sync"

	"github.com/towpath/towpath/packet"
)

// A sendq holds the bytes that the application has given and the peer has not
// acknowledged, as references to chunks. Segments and retransmissions refer to
// the same chunks.
//
//	 head                 head+n
//	 |                    |
//	[chunk A ...xxxx][chunk B xxxxxxxx][chunk C xxx.....]
//	            ^una          ^cursor         ^tail (Write continues here)
//
// Frags are numbered for ever; number i lies in slot i modulo the ring's
// length. The ring is inline while it is short; a deep queue borrows a larger
// one and gives it back when it is empty, so an idle connection holds nothing.
type sendq struct {
	big    []packet.Frag // nil while inline suffices
	inline [inlineFrags]packet.Frag
	head   uint32 // number of the first frag
	n      uint32 // frags
	len    uint32 // bytes
	// tail is true if the unused end of the last frag's chunk is ours to write.
	tail bool
}

const (
	inlineFrags = 4
	midFrags    = 64
	deepFrags   = 1024
	fragsMax    = 16384
)

// A cursor is a position in a sendq: frag number i, and the offset in its
// chunk. It survives trimming at the front and writing at the tail.
type cursor struct{ i, off uint32 }

// Borrowed rings: plain memory, so shared by all lanes.
var (
	midRings  = sync.Pool{New: func() any { return new([midFrags]packet.Frag) }}
	deepRings = sync.Pool{New: func() any { return new([deepFrags]packet.Frag) }}
	hugeRings = sync.Pool{New: func() any { return new([fragsMax]packet.Frag) }}
)

func (q *sendq) at(i uint32) *packet.Frag {
	if q.big != nil {
		return &q.big[i&uint32(len(q.big)-1)]
	}
	return &q.inline[i%inlineFrags]
}

func (q *sendq) cap() uint32 {
	if q.big != nil {
		return uint32(len(q.big))
	}
	return inlineFrags
}

// full reports whether not even a deep ring has a slot left.
func (q *sendq) full() bool { return q.n == fragsMax }

// push takes the caller's reference in f. The queue must not be full.
func (q *sendq) push(f packet.Frag) {
	if q.n == q.cap() {
		q.grow()
	}
	*q.at(q.head + q.n) = f
	q.n++
	q.len += f.Len
}

func (q *sendq) grow() {
	var ring []packet.Frag
	switch {
	case q.n < midFrags:
		ring = midRings.Get().(*[midFrags]packet.Frag)[:]
	case q.n < deepFrags:
		ring = deepRings.Get().(*[deepFrags]packet.Frag)[:]
	default:
		ring = hugeRings.Get().(*[fragsMax]packet.Frag)[:]
	}
	for i := q.head; i != q.head+q.n; i++ {
		ring[i&uint32(len(ring)-1)] = *q.at(i)
		*q.at(i) = packet.Frag{}
	}
	q.giveRing()
	q.big = ring
}

// giveRing returns the borrowed ring. Its slots must be clear.
func (q *sendq) giveRing() {
	switch len(q.big) {
	case midFrags:
		midRings.Put((*[midFrags]packet.Frag)(q.big))
	case deepFrags:
		deepRings.Put((*[deepFrags]packet.Frag)(q.big))
	case fragsMax:
		hugeRings.Put((*[fragsMax]packet.Frag)(q.big))
	}
	q.big = nil
}

// write copies b, which the caller has found room for, and returns how many
// bytes were taken: fewer only when the ring is full.
func (q *sendq) write(pool *packet.Pool, b []byte) int {
	taken := 0
	if q.tail {
		f := q.at(q.head + q.n - 1)
		n := copy(f.Chunk.Bytes()[f.Off+f.Len:], b)
		f.Len += uint32(n)
		q.len += uint32(n)
		taken = n
	}
	for taken < len(b) && !q.full() {
		want := len(b) - taken
		if q.len >= 2*packet.SmallChunk {
			want = packet.LargeChunk // a backlog: more will follow
		}
		c := pool.Chunk(want)
		n := copy(c.Bytes(), b[taken:])
		q.push(packet.Frag{Chunk: c, Len: uint32(n)})
		q.tail = true
		taken += n
	}
	return taken
}

// drop forgets the first n bytes: they have been acknowledged.
func (q *sendq) drop(pool *packet.Pool, n uint32) {
	q.len -= n
	for n > 0 {
		f := q.at(q.head)
		if n < f.Len {
			f.Off += n
			f.Len -= n
			return
		}
		n -= f.Len
		pool.Release(f.Chunk)
		*f = packet.Frag{}
		q.head++
		q.n--
	}
	if q.n == 0 {
		q.tail = false
		if q.big != nil {
			q.giveRing()
		}
	}
}

// first is the position of the first byte.
func (q *sendq) first() cursor {
	if q.n == 0 {
		return cursor{i: q.head}
	}
	return cursor{q.head, q.at(q.head).Off}
}

// settle moves a cursor that stands before the first byte, or at the end of a
// frag that has a successor, to the byte it means.
func (q *sendq) settle(cur *cursor) {
	if int32(cur.i-q.head) < 0 {
		*cur = q.first()
		return
	}
	for cur.i-q.head < q.n {
		f := q.at(cur.i)
		if cur.i == q.head && cur.off < f.Off {
			cur.off = f.Off
		}
		if cur.off < f.Off+f.Len || cur.i+1 == q.head+q.n {
			return
		}
		cur.i++
		cur.off = q.at(cur.i).Off
	}
}

// seek advances the cursor by n bytes.
func (q *sendq) seek(cur *cursor, n uint32) {
	q.settle(cur)
	for n > 0 {
		f := q.at(cur.i)
		left := f.Off + f.Len - cur.off
		if n < left || cur.i+1 == q.head+q.n {
			cur.off += min(n, left)
			return
		}
		n -= left
		cur.i++
		cur.off = q.at(cur.i).Off
	}
}

// copyTo copies len(b) bytes from the cursor on and advances it.
func (q *sendq) copyTo(b []byte, cur *cursor) {
	q.settle(cur)
	for {
		f := q.at(cur.i)
		from := cur.off - f.Off
		n := copy(b, f.Bytes()[from:])
		cur.off += uint32(n)
		if b = b[n:]; len(b) == 0 {
			return
		}
		cur.i++
		cur.off = q.at(cur.i).Off
	}
}

// gather makes p refer to n bytes from the cursor on and advances it. It
// returns how many bytes p got: fewer if that would take more references than
// a packet holds, and then whole multiples of mss if there is one.
func (q *sendq) gather(p *packet.Packet, cur *cursor, n, mss uint32) uint32 {
	q.settle(cur)
	f := q.at(cur.i)
	have := f.Off + f.Len - cur.off
	for i, refs := cur.i, 1; have < n && refs < packet.FragsMax; refs++ {
		i++
		have += q.at(i).Len
	}
	if have < n {
		n = have
		if n > mss {
			n -= n % mss
		}
	}
	for left := n; ; {
		f := q.at(cur.i)
		m := min(left, f.Off+f.Len-cur.off)
		f.Chunk.Retain()
		p.AppendOwned(f.Chunk, int(cur.off), int(m))
		cur.off += m
		if left -= m; left == 0 {
			return n
		}
		cur.i++
		cur.off = q.at(cur.i).Off
	}
}

// free gives everything back.
func (q *sendq) free(pool *packet.Pool) { q.drop(pool, q.len) }
