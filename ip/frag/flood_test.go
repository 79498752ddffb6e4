package frag

import (
	"math/rand/v2"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/towpath/towpath/packet"
	"github.com/towpath/towpath/wire"
)

// A flood makes hostile fragments by writing into one packet's header.
type flood struct {
	r    *rand.Rand
	v6   bool
	body []byte
}

func (f *flood) next(src netip.Addr) *packet.Packet {
	var b [wire.IPv6Len + wire.FragmentLen + wire.UDPLen]byte
	p := packet.Get()
	p.Ingress = 2
	p.Net = p.Start()
	off, more := 8*f.r.IntN(8000), f.r.IntN(4) > 0
	n := 8 * (1 + f.r.IntN(150))
	p.TTL, p.Src = 64, src
	if f.v6 {
		p.Dst = addr6(99)
		wire.PutIPv6(b[:], &wire.IPv6Fields{PayloadLen: wire.FragmentLen + n, NextHeader: wire.ProtoFragment, HopLimit: 64, Src: src, Dst: p.Dst})
		wire.PutFragment(b[wire.IPv6Len:], wire.ProtoUDP, off, more, f.r.Uint32())
		copy(p.Append(wire.IPv6Len+wire.FragmentLen), b[:])
		p.Transport = p.Net + wire.IPv6Len + wire.FragmentLen
		p.Proto = wire.ProtoFragment
	} else {
		p.Dst = addr4(99)
		wire.PutIPv4(p.Append(wire.IPv4Len), &wire.IPv4Fields{TotalLen: wire.IPv4Len + n, ID: uint16(f.r.Uint32()),
			MF: more, FragOffset: off, TTL: 64, Proto: wire.ProtoUDP, Src: src, Dst: p.Dst})
		p.Transport = p.Net + wire.IPv4Len
		p.Proto = wire.ProtoUDP
	}
	if f.r.IntN(2) == 0 {
		p.AppendBytes(f.body[:n])
	} else { // a whole chunk kept for a few bytes
		c := packet.GetChunk([]int{n, packet.LargeChunk}[f.r.IntN(2)])
		p.AppendOwned(c, 0, n)
	}
	return p
}

// A million hostile fragments, from one source, from some, or from invented
// ones, neither make the table grow nor keep an honest peer's datagrams from
// being put together.
func TestFlood(t *testing.T) {
	n := 1_000_000
	if testing.Short() || raceEnabled {
		n = 50_000
	}
	for _, c := range []struct {
		name    string
		sources int
		v6      bool
	}{
		{"one source", 1, false}, {"3 sources", 3, true}, {"invented sources", 1 << 30, false}, {"invented networks", 1 << 30, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			account(t)
			cfg := Config{MemoryMax: 4 << 20, EntriesMax: 1000}
			tb, s := New(cfg), new(teller)
			f := flood{rand.New(rand.NewPCG(3, 4)), c.v6, payload(1200)}
			size := 3000
			r, whole, sent := rand.New(rand.NewPCG(5, 6)), 0, 0
			var waiting packet.List
			now, most := time.Duration(0), Usage{}
			for i := range n / 4 {
				now += 4 * time.Microsecond
				src := 1000 + f.r.IntN(c.sources)
				a := addr4(src)
				if c.v6 {
					a = addr6(src)
				}
				p := f.next(a)
				if o := tb.Add(now, p, nil, s); o.Whole != nil {
					packet.Free(o.Whole)
				} else if o.Reason != packet.NotDropped {
					packet.Drop(p, o.Reason)
				}
				// A datagram of the peer is in three fragments with 20 of the
				// flood between each and the next.
				if i%100 == 0 && waiting.Empty() {
					q := layout{linear: -1}.receive(randomPacket(r, c.v6, size))
					if !Cut(q, 1280, uint32(i), &waiting) {
						t.Fatal("not cut")
					}
					sent++
				}
				if i%20 == 0 && !waiting.Empty() {
					q := waiting.Pop()
					if o := tb.Add(now, q, nil, s); o.Whole != nil {
						packet.Free(o.Whole)
						whole++
					} else if o.Reason != packet.NotDropped {
						packet.Drop(q, o.Reason)
					}
				}
				u := tb.Usage()
				most = Usage{max(most.Memory, u.Memory), max(most.Datagrams, u.Datagrams), max(most.Sources, u.Sources)}
				if i%1000 == 0 {
					tb.Timeout(now, s)
				}
				if u.Memory > cfg.MemoryMax || u.Datagrams > cfg.EntriesMax {
					t.Fatalf("in use: %+v", u)
				}
			}
			pkts, chunks := packet.Live()
			t.Logf("at most %+v, at the end %d packets and %d chunks; %d of %d datagrams put together",
				most, pkts, chunks, whole, sent)
			if whole < sent-1 {
				t.Errorf("only %d of %d of the honest peer's datagrams were put together", whole, sent)
			}
			waiting.Free()
			tb.Flush(0, s)
		})
	}
}

// A source's own oldest datagram goes when it has its share.
func TestShare(t *testing.T) {
	account(t)
	tb, s := New(Config{EntriesMax: 16}), new(teller)
	if got, want := play(t, tb, s, "0-8+/id=9/src=2 0-8+/id=1 0-8+/id=2 0-8+/id=3 0-8+/id=4 0-8+/id=5", false),
		"waits, waits, waits, waits, waits, waits -1"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if got, want := play(t, tb, s, "8-16/id=2 8-16/id=1 8-16/id=9/src=2", false), "whole 16, waits, whole 16"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	tb.Flush(0, s)
}

// Beyond the table's bounds the oldest of all goes, of whichever family.
func TestOldest(t *testing.T) {
	account(t)
	tb, s := New(Config{EntriesMax: 4}), new(teller)
	for i, word := range []string{"0-8+/src=1", "0-8+/src=2", "0-8+/src=3", "0-8+/src=4"} {
		tb.Add(time.Duration(i), step(word, i%2 == 0), nil, s)
	}
	play(t, tb, s, "8-16+/src=5", true)
	if n := s.counts[packet.ReasonFragEvicted]; n != 1 {
		t.Errorf("%d evicted, want 1", n)
	}
	if got, want := play(t, tb, s, "8-16/src=3", true)+"; "+play(t, tb, s, "8-16/src=2 8-16/src=4", false), "whole 16; whole 16, whole 16"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	tb.Flush(0, s)
}

// A datagram larger than the table is given up, not held.
func TestLargerThanTable(t *testing.T) {
	account(t)
	tb, s := New(Config{MemoryMax: 16 << 10}), new(teller)
	play(t, tb, s, "0-1000+ 1000-2000+ 2000-3000+ 3000-4000+ 4000-5000+", false)
	if n := s.counts[packet.ReasonFragEvicted]; n == 0 {
		t.Error("nothing was given up")
	}
	tb.Flush(0, s)
	if u := tb.Usage(); u != (Usage{}) {
		t.Errorf("in use: %+v", u)
	}
}

// Many goroutines, as lanes are, may use one table.
func TestConcurrent(t *testing.T) {
	account(t)
	tb := New(Config{MemoryMax: 256 << 10})
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			s := new(teller)
			r := rand.New(rand.NewPCG(uint64(g), 1))
			f := flood{r, g%2 == 1, payload(1200)}
			for i := range 2000 {
				src := addr4(r.IntN(4))
				if f.v6 {
					src = addr6(r.IntN(4))
				}
				p := f.next(src)
				switch o := tb.Add(time.Duration(i), p, nil, s); {
				case o.Whole != nil:
					packet.Free(o.Whole)
				case o.Reason != packet.NotDropped:
					packet.Drop(p, o.Reason)
				}
				switch r.IntN(100) {
				case 0:
					tb.Timeout(time.Duration(i)+time.Hour, s)
				case 1:
					tb.Flush(2, s)
				case 2:
					tb.Deadline()
				}
			}
		})
	}
	wg.Wait()
	tb.Flush(0, new(teller))
	if u := tb.Usage(); u != (Usage{}) {
		t.Errorf("in use: %+v", u)
	}
}
