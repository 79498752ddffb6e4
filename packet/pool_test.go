package packet

import (
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"
)

// seeded returns a source of randomness whose seed a failing test prints.
func seeded(t testing.TB) *rand.Rand {
	seed := uint64(time.Now().UnixNano())
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("seed %d", seed)
		}
	})
	return rand.New(rand.NewPCG(seed, 0))
}

// chain measures a free list.
func chain[T any](first *T, next func(*T) *T) (n int) {
	for x := first; x != nil; x = next(x) {
		n++
	}
	return n
}

func nextPacket(p *Packet) *Packet { return p.next }
func nextChunk(c *Chunk) *Chunk    { return c.next }

// checkPool looks whether a pool knows what it holds, and holds no more than
// it may.
func checkPool(t *testing.T, pl *Pool) {
	t.Helper()
	for _, l := range []struct {
		what         string
		n, long, max int
	}{
		{"packets", pl.n, chain(pl.packets, nextPacket), 2 * batchLen},
		{"small chunks", pl.nsmall, chain(pl.small, nextChunk), 2 * batchLen},
		{"large chunks", pl.nlarge, chain(pl.large, nextChunk), 2 * largeLen},
	} {
		if l.n != l.long || l.n > l.max {
			t.Fatalf("%d %s counted, %d on the list, at most %d", l.n, l.what, l.long, l.max)
		}
	}
}

// Packets and chunks go round between pools and those who have none; nothing
// is lent twice, nothing is lost, no pool hoards.
func TestPoolsTrade(t *testing.T) {
	balanced(t)
	r := seeded(t)
	var pools [3]Pool
	var packets []*Packet
	var chunks []*Chunk
	lent := make(map[any]bool)
	lend := func(x any) {
		if lent[x] {
			t.Fatalf("%T lent twice", x)
		}
		lent[x] = true
	}
	for range 20000 {
		pl := &pools[r.IntN(len(pools))]
		own := r.IntN(3) > 0
		switch grow := r.IntN(400) < 200+len(packets)%3; {
		case r.IntN(2000) == 0:
			pl.Trim()
			if *pl != (Pool{}) {
				t.Fatal("something left after Trim")
			}
		case grow && len(packets) < 300:
			var p *Packet
			if own {
				p = pl.Get()
			} else {
				p = Get()
			}
			lend(p)
			packets = append(packets, p)
		case grow && len(chunks) < 300:
			size := 1 + r.IntN(LargeChunk)
			if r.IntN(2) == 0 {
				size = 1 + r.IntN(SmallChunk)
			}
			var c *Chunk
			if own {
				c = pl.Chunk(size)
			} else {
				c = GetChunk(size)
			}
			if n := len(c.Bytes()); n < size || n != SmallChunk && n != LargeChunk || size <= SmallChunk && n != SmallChunk {
				t.Fatalf("chunk of %d bytes for %d", n, size)
			}
			if !c.Sole() {
				t.Fatal("a new chunk has other owners")
			}
			lend(c)
			chunks = append(chunks, c)
		case len(packets) > 0 && r.IntN(2) == 0:
			i := r.IntN(len(packets))
			p := packets[i]
			packets = slices.Delete(packets, i, i+1)
			delete(lent, p)
			if own {
				pl.Free(p)
			} else {
				Free(p)
			}
		case len(chunks) > 0:
			i := r.IntN(len(chunks))
			c := chunks[i]
			chunks = slices.Delete(chunks, i, i+1)
			delete(lent, c)
			switch {
			case len(packets) > 0 && r.IntN(2) == 0:
				// Through a packet, which then holds the only reference.
				p := packets[r.IntN(len(packets))]
				if p.nfrags == 0 {
					p.AppendOwned(c, 0, 1)
					lend(c)
					j := slices.Index(packets, p)
					packets = slices.Delete(packets, j, j+1)
					delete(lent, p)
					delete(lent, c)
					if own {
						pl.Free(p)
					} else {
						Free(p)
					}
					break
				}
				c.Release()
			case own:
				pl.Release(c)
			default:
				c.Release()
			}
		}
		checkPool(t, pl)
		if p, c := Live(); int(p) != len(packets) || int(c) != len(chunks) {
			t.Fatalf("Live says %d packets and %d chunks; %d and %d are", p, c, len(packets), len(chunks))
		}
	}
	for _, p := range packets {
		Free(p)
	}
	for _, c := range chunks {
		c.Release()
	}
}

// The last packet freed is the next one got: it is still in the cache.
func TestPoolLastInFirstOut(t *testing.T) {
	var pl Pool
	a, b := pl.Get(), pl.Get()
	pl.Free(a)
	pl.Free(b)
	if pl.Get() != b || pl.Get() != a {
		t.Error("not last in, first out")
	}
	c, d := pl.Chunk(1), pl.Chunk(1)
	pl.Release(c)
	pl.Release(d)
	if pl.Chunk(1) != d || pl.Chunk(1) != c {
		t.Error("chunks: not last in, first out")
	}
}

func TestDoubleFree(t *testing.T) {
	const want = "packet: ended twice"
	var pl Pool
	for _, test := range []struct {
		name string
		f    func(p *Packet)
	}{
		{"Free", Free},
		{"Pool.Free", pl.Free},
		{"Drop", func(p *Packet) { Drop(p, ReasonTTL) }},
		{"Pool.Drop", func(p *Packet) { pl.Drop(p, ReasonTTL) }},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := new(Packet) // not of the pool: it is not to be lent again
			p.reset()
			p.AppendBytes(make([]byte, 1000))
			pl.Free(p)
			if got := panics(func() { test.f(p) }); got != want {
				t.Errorf("panic %v, want %q", got, want)
			}
			pl = Pool{}
		})
	}
}

// A chunk goes back when the last of its owners lets go, whoever that is.
func TestChunkReferences(t *testing.T) {
	balanced(t)
	var pl Pool
	c := GetChunk(100)
	p := pl.Get()
	p.AppendFrag(c, 0, 10)
	p.AppendFrag(c, 10, 10) // grows the reference
	if len(p.Frags()) != 1 || c.refs.Load() != 2 {
		t.Errorf("%d fragments, %d references", len(p.Frags()), c.refs.Load())
	}
	p.AppendFrag(c, 50, 10)
	if len(p.Frags()) != 2 || c.refs.Load() != 3 {
		t.Errorf("%d fragments, %d references", len(p.Frags()), c.refs.Load())
	}
	q := p.Clone()
	c.Retain()
	c.Release()
	c.Release()
	if c.refs.Load() != 4 {
		t.Errorf("%d references", c.refs.Load())
	}
	p.TrimFront(15)
	p.Truncate(2)
	if c.refs.Load() != 3 {
		t.Errorf("%d references after trimming", c.refs.Load())
	}
	pl.Free(p)
	if _, chunks := Live(); chunks != 1 {
		t.Errorf("%d chunks live", chunks)
	}
	q.MakePrivate()
	if _, chunks := Live(); chunks != 2 {
		t.Errorf("%d chunks live: each reference has a copy of its own", chunks)
	}
	Free(q)
}

// AppendFrag refuses the nineteenth reference and leaves the chunk alone.
func TestFragsMax(t *testing.T) {
	balanced(t)
	c := GetChunk(SmallChunk)
	p := Get()
	for i := range FragsMax {
		if !p.AppendFrag(c, 2*i, 1) {
			t.Fatalf("reference %d refused", i)
		}
	}
	if p.AppendFrag(c, 100, 1) || p.AppendOwned(c, 100, 1) || p.AppendBytes([]byte{1}) {
		t.Error("more than FragsMax references")
	}
	if !p.AppendFrag(c, 2*FragsMax-1, 1) {
		t.Error("a reference that only grows was refused")
	}
	if n := c.refs.Load(); n != FragsMax+1 || p.Len() != FragsMax+1 {
		t.Errorf("%d references, %d bytes", n, p.Len())
	}
	c.Release()
	Free(p)
}

// References are atomic: packets that share chunks end on any goroutine.
func TestSharedChunksConcurrently(t *testing.T) {
	balanced(t)
	p := Get()
	p.AppendBytes(make([]byte, 60000))
	var wg sync.WaitGroup
	for range 8 {
		c := p.Clone()
		wg.Go(func() {
			var pl Pool
			for i := range 500 {
				d := c.Clone()
				d.TrimFront(i)
				if i%2 == 0 {
					pl.Free(d)
				} else {
					Free(d)
				}
			}
			pl.Free(c)
			pl.Trim()
		})
	}
	wg.Wait()
	Free(p)
}
