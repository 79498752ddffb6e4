package packet

import (
	"sync"
	"sync/atomic"
	"unsafe"
)

const (
	// SmallChunk and LargeChunk are the two sizes of chunks, in bytes.
	SmallChunk = 2 << 10
	LargeChunk = 32 << 10

	batchLen  = 32 // packets or small chunks traded with the depot at once
	largeLen  = 8  // large chunks traded at once
	footprint = int(unsafe.Sizeof(Packet{}))
)

// A Chunk is a piece of payload memory that packets and buffers refer to. Its
// bytes are written by whoever got it and never change once a packet refers
// to them. It is counted: [GetChunk] gives one reference.
type Chunk struct {
	refs  atomic.Int32
	batch int32  // chunks chained behind a free list's head, in the depot
	next  *Chunk // free list
	buf   []byte
}

// Bytes lends the whole chunk, SmallChunk or LargeChunk bytes.
func (c *Chunk) Bytes() []byte { return c.buf }

// Retain adds a reference.
func (c *Chunk) Retain() { c.refs.Add(1) }

// Release gives a reference back; the last one returns the chunk to the
// process-wide depot.
func (c *Chunk) Release() {
	if c.drop() {
		putChunk(c)
	}
}

// drop gives a reference back and reports whether it was the last.
func (c *Chunk) drop() bool {
	n := c.refs.Add(-1)
	if n < 0 {
		panic("packet: chunk released too often")
	}
	return n == 0
}

// Sole reports whether the caller holds the only reference.
func (c *Chunk) Sole() bool { return c.refs.Load() == 1 }

// The depot: batches of free packets and chunks, chained through their first
// member. Plain memory only, so that the pools may be used in any goroutine
// and by any clock.
var (
	depot      sync.Pool // *Packet, chained through next, batch long
	depotSmall sync.Pool // *Chunk, likewise
	depotLarge sync.Pool
)

// live counts packets and chunks that somebody owns; only with accounting on.
var (
	accounting  atomic.Bool
	livePackets atomic.Int64
	liveChunks  atomic.Int64
)

// Account turns counting of owned packets and chunks on or off, for tests that
// look for leaks. It costs two atomic operations a packet while on.
func Account(on bool) {
	accounting.Store(on)
	livePackets.Store(0)
	liveChunks.Store(0)
}

// Live returns how many packets and chunks have been taken from pools and not
// returned since Account(true).
func Live() (packets, chunks int64) { return livePackets.Load(), liveChunks.Load() }

// A Pool is a last-in-first-out free list of packets and chunks. It belongs to
// one lane and is not safe for concurrent use. The zero value is ready.
type Pool struct {
	packets *Packet
	n       int
	small   *Chunk
	nsmall  int
	large   *Chunk
	nlarge  int
}

// Get returns an empty packet with [Headroom] bytes of headroom. The caller
// owns it.
func (pl *Pool) Get() *Packet {
	p := pl.packets
	if p == nil {
		p = take()
		pl.n = int(p.batch)
	}
	pl.packets = p.next
	pl.n--
	p.reset()
	if accounting.Load() {
		livePackets.Add(1)
	}
	return p
}

// Free ends a packet that has served its purpose.
func (pl *Pool) Free(p *Packet) {
	if p.nfrags > 0 {
		p.releaseFrags(pl)
	}
	retire(p)
	p.next = pl.packets
	pl.packets = p
	pl.n++
	if pl.n >= 2*batchLen {
		pl.packets, pl.n = splitPackets(pl.packets, pl.n)
	}
}

// splitPackets gives the depot a batch and returns what is left of the list.
func splitPackets(first *Packet, n int) (*Packet, int) {
	last := first
	for i := 1; i < batchLen; i++ {
		last = last.next
	}
	rest := last.next
	last.next = nil
	first.batch = batchLen
	depot.Put(first)
	return rest, n - batchLen
}

// FreeList ends every packet of a list.
func (pl *Pool) FreeList(l *List) {
	for p := l.Pop(); p != nil; p = l.Pop() {
		pl.Free(p)
	}
}

// Chunk returns a chunk of at least n bytes if n is at most SmallChunk, else a
// large one, with one reference.
func (pl *Pool) Chunk(n int) *Chunk {
	var c *Chunk
	if n <= SmallChunk {
		if c = pl.small; c == nil {
			c = takeChunk(&depotSmall, SmallChunk)
			pl.nsmall = int(c.batch)
		}
		pl.small = c.next
		pl.nsmall--
	} else {
		if c = pl.large; c == nil {
			c = takeChunk(&depotLarge, LargeChunk)
			pl.nlarge = int(c.batch)
		}
		pl.large = c.next
		pl.nlarge--
	}
	return lend(c)
}

// Release gives one reference to c back, returning the chunk to this pool if
// it was the last.
func (pl *Pool) Release(c *Chunk) {
	if c.drop() {
		pl.putChunk(c)
	}
}

func (pl *Pool) putChunk(c *Chunk) {
	if accounting.Load() {
		liveChunks.Add(-1)
	}
	if len(c.buf) == SmallChunk {
		c.next = pl.small
		pl.small = c
		if pl.nsmall++; pl.nsmall >= 2*batchLen {
			pl.small, pl.nsmall = splitChunks(&depotSmall, c, pl.nsmall, batchLen)
		}
		return
	}
	c.next = pl.large
	pl.large = c
	if pl.nlarge++; pl.nlarge >= 2*largeLen {
		pl.large, pl.nlarge = splitChunks(&depotLarge, c, pl.nlarge, largeLen)
	}
}

func splitChunks(d *sync.Pool, first *Chunk, n, give int) (*Chunk, int) {
	last := first
	for i := 1; i < give; i++ {
		last = last.next
	}
	rest := last.next
	last.next = nil
	first.batch = int32(give)
	d.Put(first)
	return rest, n - give
}

// Trim gives everything back to the depot: for a lane that goes idle.
func (pl *Pool) Trim() {
	if pl.packets != nil {
		pl.packets.batch = int32(pl.n)
		depot.Put(pl.packets)
	}
	if pl.small != nil {
		pl.small.batch = int32(pl.nsmall)
		depotSmall.Put(pl.small)
	}
	if pl.large != nil {
		pl.large.batch = int32(pl.nlarge)
		depotLarge.Put(pl.large)
	}
	*pl = Pool{}
}

// take returns a chain of free packets.
func take() *Packet {
	if v := depot.Get(); v != nil {
		return v.(*Packet)
	}
	return &Packet{batch: 1, freed: true}
}

func takeChunk(d *sync.Pool, size int) *Chunk {
	if v := d.Get(); v != nil {
		return v.(*Chunk)
	}
	return &Chunk{batch: 1, buf: make([]byte, size)}
}

func lend(c *Chunk) *Chunk {
	c.next = nil
	c.refs.Store(1)
	if accounting.Load() {
		liveChunks.Add(1)
	}
	return c
}

func retire(p *Packet) {
	if p.freed {
		panic("packet: ended twice")
	}
	p.freed = true
	p.Flow, p.Trace, p.Track.Conn = nil, nil, nil
	if accounting.Load() {
		livePackets.Add(-1)
	}
}

// Get returns an empty packet for callers that have no pool of their own.
func Get() *Packet {
	p := take()
	if p.batch > 1 {
		rest := p.next
		rest.batch = p.batch - 1
		depot.Put(rest)
	}
	p.reset()
	if accounting.Load() {
		livePackets.Add(1)
	}
	return p
}

// Free ends a packet that has served its purpose, for callers that have no
// pool of their own.
func Free(p *Packet) {
	p.releaseFrags(nil)
	retire(p)
	p.next = nil
	p.batch = 1
	depot.Put(p)
}

// GetChunk returns a chunk of at least n bytes if n is at most SmallChunk, else
// a large one, with one reference, for callers that have no pool of their own.
func GetChunk(n int) *Chunk {
	d, size := &depotLarge, LargeChunk
	if n <= SmallChunk {
		d, size = &depotSmall, SmallChunk
	}
	c := takeChunk(d, size)
	if c.batch > 1 {
		rest := c.next
		rest.batch = c.batch - 1
		d.Put(rest)
	}
	return lend(c)
}

func putChunk(c *Chunk) {
	if accounting.Load() {
		liveChunks.Add(-1)
	}
	c.next = nil
	c.batch = 1
	if len(c.buf) == SmallChunk {
		depotSmall.Put(c)
	} else {
		depotLarge.Put(c)
	}
}
