package packet

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"testing"

	"pgregory.net/rapid"

	"github.com/towpath/towpath/wire"
)

// balanced checks, when the test is over, that every packet and chunk that was
// taken has been given back.
func balanced(t testing.TB) {
	Account(true)
	t.Cleanup(func() {
		if packets, chunks := Live(); packets != 0 || chunks != 0 {
			t.Errorf("%d packets and %d chunks were not ended", packets, chunks)
		}
		Account(false)
	})
}

// panics reports what f panics with, nil if it does not.
func panics(f func()) (v any) {
	defer func() { v = recover() }()
	f()
	return nil
}

// random returns n bytes.
func random(r *rand.Rand, n int) []byte {
	b := make([]byte, n+8)
	for i := 0; i < n; i += 8 {
		binary.LittleEndian.PutUint64(b[i:], r.Uint64())
	}
	return b[:n:n]
}

// filled returns a chunk of random bytes.
func filled(r *rand.Rand, size int) *Chunk {
	c := GetChunk(size)
	copy(c.Bytes(), random(r, size))
	return c
}

// A twin is a packet beside the plain bytes that it should hold.
type twin struct {
	p    *Packet
	b    []byte
	lin  int // of b, how many are linear
	off  int // headroom
	rand *rand.Rand
	kept []copyOf // other packets that share chunks with p, or did
}

type copyOf struct {
	p *Packet
	b []byte
}

func (w *twin) end() int { return w.off + w.lin }

func (w *twin) check(t *rapid.T) {
	p := w.p
	if got := p.Bytes(); !bytes.Equal(got, w.b) || p.Len() != len(w.b) {
		t.Fatalf("%d bytes, Len %d; want %d\n% x\n% x", len(got), p.Len(), len(w.b), got, w.b)
	}
	if p.HeadLen() != w.lin || p.Headroom() != w.off || int(p.Start()) != w.off {
		t.Fatalf("HeadLen %d, Headroom %d, Start %d; want %d, %d", p.HeadLen(), p.Headroom(), p.Start(), w.lin, w.off)
	}
	if !bytes.Equal(p.Head(), w.b[:w.lin]) || !bytes.Equal(p.From(p.Start()), w.b[:w.lin]) {
		t.Fatalf("Head % x, want % x", p.Head(), w.b[:w.lin])
	}
	if len(p.Room()) != HeadLen-w.end() || p.LinearMax() != HeadLen-w.off || p.LenFrom(p.Start()) != len(w.b) {
		t.Fatalf("Room %d, LinearMax %d, LenFrom %d at %+v", len(p.Room()), p.LinearMax(), p.LenFrom(p.Start()), w)
	}
	if len(p.Frags()) > FragsMax {
		t.Fatalf("%d fragments", len(p.Frags()))
	}
	if p.Footprint() < p.Len() {
		t.Fatalf("Footprint %d of %d bytes", p.Footprint(), p.Len())
	}
	for _, k := range w.kept {
		if !bytes.Equal(k.p.Bytes(), k.b) {
			t.Fatal("a packet that shares chunks has changed")
		}
	}
}

// The buffer's operations, in any order, do what they would to plain bytes.
func TestPacketModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		Account(true)
		defer Account(false)
		r := rand.New(rand.NewPCG(1, rapid.Uint64().Draw(t, "bytes")))
		w := &twin{p: Get(), off: Headroom, rand: r}
		chunks := []*Chunk{filled(r, SmallChunk), filled(r, LargeChunk)}
		upTo := func(n int, label string) int { return rapid.IntRange(0, n).Draw(t, label) }
		// piece chooses bytes of a chunk, now and then those behind the last
		// reference, which is to be grown.
		piece := func() (c *Chunk, off, n int) {
			c = chunks[upTo(1, "chunk")]
			off = upTo(len(c.Bytes())-1, "off")
			if f := w.p.Frags(); len(f) > 0 && rapid.Bool().Draw(t, "follow") {
				last := f[len(f)-1]
				c, off = last.Chunk, int(last.Off+last.Len)
			}
			return c, off, upTo(min(len(c.Bytes())-off, 1500), "n")
		}
		add := func(b []byte) { w.b = append(bytes.Clone(w.b), b...) }
		t.Repeat(map[string]func(*rapid.T){
			"": w.check,
			"Push": func(t *rapid.T) {
				b := random(r, upTo(min(w.off, 40), "n"))
				copy(w.p.Push(len(b)), b)
				w.b = append(bytes.Clone(b), w.b...)
				w.lin += len(b)
				w.off -= len(b)
			},
			"Pull": func(t *rapid.T) {
				n := upTo(w.lin, "n")
				w.p.Pull(n)
				w.b, w.lin, w.off = w.b[n:], w.lin-n, w.off+n
			},
			"Append": func(t *rapid.T) {
				if len(w.p.Frags()) > 0 {
					t.Skip("fragments")
				}
				b := random(r, upTo(HeadLen-w.end(), "n"))
				copy(w.p.Append(len(b)), b)
				add(b)
				w.lin += len(b)
			},
			"AppendFrag": func(t *rapid.T) {
				c, off, n := piece()
				had := len(w.p.Frags())
				if w.p.AppendFrag(c, off, n) {
					add(c.Bytes()[off : off+n])
				} else if had != FragsMax {
					t.Fatalf("refused with %d fragments", had)
				}
			},
			"AppendOwned": func(t *rapid.T) {
				c, off, n := piece()
				had := len(w.p.Frags())
				c.Retain()
				if w.p.AppendOwned(c, off, n) {
					add(c.Bytes()[off : off+n])
					return
				}
				c.Release()
				if had != FragsMax {
					t.Fatalf("refused with %d fragments", had)
				}
			},
			"AppendBytes": func(t *rapid.T) {
				b := random(r, rapid.SampledFrom([]int{0, 1, 7, 100, 193, SmallChunk, SmallChunk + 1, LargeChunk, LargeChunk + 1, SizeMax}).Draw(t, "n"))
				had := len(w.p.Frags())
				linear := had == 0 && len(b) <= HeadLen-w.end()
				if w.p.AppendBytes(b) {
					add(b)
					if linear {
						w.lin += len(b)
					}
				} else if linear || had+(len(b)+LargeChunk-1)/LargeChunk <= FragsMax && len(w.b)+len(b) <= SizeMax {
					t.Fatalf("%d bytes refused behind %d", len(b), len(w.b))
				}
			},
			"Linear": func(t *rapid.T) {
				n := upTo(min(len(w.b), HeadLen)+5, "n")
				want := n <= w.lin || n <= len(w.b) && w.off+n <= HeadLen
				if got := w.p.Linear(n); got != want {
					t.Fatalf("Linear(%d) = %v of %d, %d linear, from %d on", n, got, len(w.b), w.lin, w.off)
				}
				if want {
					w.lin = max(w.lin, n)
				}
			},
			"TrimFront": func(t *rapid.T) {
				n := upTo(len(w.b)+5, "n")
				w.p.TrimFront(n)
				m := min(n, w.lin)
				w.b, w.lin, w.off = w.b[min(n, len(w.b)):], w.lin-m, w.off+m
			},
			"Truncate": func(t *rapid.T) {
				n := upTo(len(w.b)+5, "n")
				w.p.Truncate(n)
				w.b = w.b[:min(n, len(w.b))]
				w.lin = min(w.lin, len(w.b))
			},
			"CopyTo": func(t *rapid.T) {
				from := upTo(len(w.b), "from")
				b := make([]byte, upTo(len(w.b)-from+5, "n"))
				n := w.p.CopyTo(b, from)
				if n != min(len(b), len(w.b)-from) || !bytes.Equal(b[:n], w.b[from:from+n]) {
					t.Fatalf("CopyTo(%d bytes, %d) = %d", len(b), from, n)
				}
			},
			"Clone": func(t *rapid.T) {
				if len(w.kept) > 3 {
					t.Skip("enough")
				}
				c := w.p.Clone()
				if rapid.Bool().Draw(t, "swap") {
					c, w.p = w.p, c
				}
				w.kept = append(w.kept, copyOf{c, bytes.Clone(w.b)})
			},
			"MakePrivate": func(t *rapid.T) {
				w.p.MakePrivate()
				w.b = bytes.Clone(w.b)
				at := w.lin
				for _, f := range w.p.Frags() {
					if f.Len == 0 {
						continue
					}
					if !f.Chunk.Sole() {
						t.Fatal("shared after MakePrivate")
					}
					i := upTo(int(f.Len)-1, "i")
					f.Bytes()[i]++
					w.b[at+i]++
					at += int(f.Len)
				}
			},
			"Reset": func(t *rapid.T) {
				w.off = upTo(HeadLen, "off")
				w.p.Reset(w.off)
				w.b, w.lin = nil, 0
			},
		})
		Free(w.p)
		for _, k := range w.kept {
			Free(k.p)
		}
		for _, c := range chunks {
			if !c.Sole() {
				t.Fatal("a chunk is still referred to")
			}
			c.Release()
		}
		if packets, live := Live(); packets != 0 || live != 0 {
			t.Fatalf("%d packets and %d chunks were not ended", packets, live)
		}
	})
}

// Programmers' mistakes panic with a message.
func TestPacketPanics(t *testing.T) {
	for _, test := range []struct {
		name, want string
		f          func(p *Packet)
	}{
		{"push", "packet: Push: headroom used up", func(p *Packet) { p.Push(Headroom + 1) }},
		{"pull", "packet: Pull: beyond the linear bytes", func(p *Packet) { p.Pull(11) }},
		{"append", "packet: Append: beyond the room", func(p *Packet) { p.Append(HeadLen - Headroom - 9) }},
		{"behind", "packet: Append: behind fragments", func(p *Packet) { p.AppendBytes(make([]byte, HeadLen)); p.Append(1) }},
	} {
		t.Run(test.name, func(t *testing.T) {
			balanced(t)
			p := Get()
			defer Free(p)
			p.Append(10)
			if got := panics(func() { test.f(p) }); got != test.want {
				t.Errorf("panic %v, want %q", got, test.want)
			}
		})
	}
}

// A packet from the pool has nothing of its former life, and its full headroom.
func TestGetIsFresh(t *testing.T) {
	var pl Pool
	for range 2 {
		p := pl.Get()
		if p.Len() != 0 || p.Headroom() != Headroom || len(p.Room()) != HeadLen-Headroom ||
			p.Link|p.Net|p.Transport|p.Data != 0 || p.Checksum != ChecksumNone || p.CsumOffset != 0 || p.GSO != (GSO{}) ||
			p.Proto != 0 || p.TOS != 0 || p.TTL != 0 || p.Src.IsValid() || p.Dst.IsValid() ||
			p.Ingress != 0 || p.Mark != 0 || p.Flow != nil || p.Trace != nil || p.Next() != nil {
			t.Fatalf("not fresh: %+v", p)
		}
		dress(p)
		p.AppendBytes(make([]byte, 3000))
		pl.Free(p)
	}
}

// dress sets every fact of a packet.
func dress(p *Packet) {
	p.Link, p.Net, p.Transport, p.Data = 100, 114, 134, 154
	p.Checksum, p.CsumOffset, p.GSO = ChecksumPartial, 16, GSO{GSOTCP4, 1448}
	p.Proto, p.TOS, p.TTL = wire.ProtoTCP, 4, 63
	p.Src, p.Dst = netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
	p.Ingress, p.Mark, p.Flow, p.Trace = 3, 5, new(Flow), new(Trace)
}

func TestCloneFacts(t *testing.T) {
	balanced(t)
	p := Get()
	dress(p)
	p.AppendBytes(make([]byte, 3000))
	c := p.Clone()
	a, b := *p, *c
	a.head, b.head = [HeadLen]byte{}, [HeadLen]byte{}
	a.batch, b.batch = 0, 0
	a.Trace = nil // one packet's fate is not the other's
	clear(a.frags[a.nfrags:])
	clear(b.frags[b.nfrags:])
	if a != b {
		t.Error("the clone has other facts")
	}
	if p.Frags()[0].Chunk.Sole() {
		t.Error("a clone's chunks are not counted")
	}
	Free(p)
	if !c.Frags()[0].Chunk.Sole() {
		t.Error("the last packet is not the chunk's only owner")
	}
	Free(c)
}

func TestTrace(t *testing.T) {
	balanced(t)
	var none *Trace
	none.Note("nowhere", "nothing")
	trace := new(Trace)
	var pl Pool
	for i, drop := range []func(*Packet, Reason) Reason{Drop, pl.Drop} {
		p := pl.Get()
		p.Trace = trace
		if r := drop(p, ReasonTTL); r != ReasonTTL {
			t.Errorf("Drop returned %v", r)
		}
		if len(trace.Steps) != i+1 || trace.Steps[i] != (Step{"drop", "ttl exceeded"}) {
			t.Errorf("steps %v", trace.Steps)
		}
	}
}

func TestTupleReverse(t *testing.T) {
	a, b := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
	tuple := Tuple{a, b, 1, 2, wire.ProtoUDP}
	if got := tuple.Reverse(); got != (Tuple{b, a, 2, 1, wire.ProtoUDP}) || got.Reverse() != tuple {
		t.Errorf("reverse of %v is %v", tuple, got)
	}
}

// A clone has the headers that have been pulled, too: its Link says where.
func TestCloneKeepsPulled(t *testing.T) {
	p := Get()
	copy(p.Append(20), "ethernet headerIPv4.")
	p.Link, p.Net = p.Start(), p.Start()+15
	p.Pull(15)
	for range 2 { // whatever the pool's memory holds
		c := p.Clone()
		if got, want := c.From(c.Link), p.From(p.Link); !bytes.Equal(got, want) {
			t.Errorf("clone's link header %q, want %q", got, want)
		}
		Free(c)
	}
	Free(p)
}

// A chunk that is released once too often is a programmer's mistake.
func TestChunkOverRelease(t *testing.T) {
	c := &Chunk{buf: make([]byte, SmallChunk)}
	c.refs.Store(0)
	if panics(c.Release) == nil {
		t.Error("no panic")
	}
}
