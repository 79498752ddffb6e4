package frag

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/towpath/towpath/packet"
	"github.com/towpath/towpath/wire"
)

// sender makes a UDP packet of n bytes again and again, its payload in chunks.
type sender struct {
	model *packet.Packet
	id    uint32
}

func newSender(v6 bool, n int) *sender {
	var b wire.Builder
	b.Payload(payload(n)).PushUDP(1, 2)
	if v6 {
		b.PushIPv6(wire.IPv6Fields{HopLimit: 64, Src: addr6(1), Dst: addr6(2)})
	} else {
		b.PushIPv4(wire.IPv4Fields{TTL: 64, Src: addr4(1), Dst: addr4(2)})
	}
	hdr := len(b.Bytes()) - n
	return &sender{model: layout{linear: hdr}.receive(b.Bytes())}
}

// cut makes the packet and cuts it.
func (s *sender) cut(mtu int, out *packet.List) {
	s.id++
	if !Cut(s.model.Clone(), mtu, s.id, out) {
		panic("not cut")
	}
}

func TestAllocs(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector makes sync.Pool forget at random")
	}
	for _, v6 := range []bool{false, true} {
		s, tb, tell := newSender(v6, 20000), New(Config{}), new(teller)
		var out packet.List
		if n := testing.AllocsPerRun(1000, func() {
			s.cut(1500, &out)
			out.Free()
		}); n != 0 {
			t.Errorf("IPv6 %v: cutting allocates %v times a packet", v6, n)
		}
		if n := testing.AllocsPerRun(1000, func() {
			s.cut(1500, &out)
			for p := out.Pop(); p != nil; p = out.Pop() {
				if o := tb.Add(0, p, nil, tell); o.Whole != nil {
					packet.Free(o.Whole)
				}
			}
		}); n != 0 {
			t.Errorf("IPv6 %v: cutting and putting together allocates %v times a packet", v6, n)
		}
		packet.Free(s.model)
	}
}

func BenchmarkCut(b *testing.B) {
	for _, n := range []int{3000, 60000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(n))
			s := newSender(false, n)
			var out packet.List
			for b.Loop() {
				s.cut(1500, &out)
				out.Free()
			}
			packet.Free(s.model)
		})
	}
}

// Reassembly of a datagram, of which the time to cut it is to be subtracted.
func BenchmarkReassemble(b *testing.B) {
	for _, c := range []struct {
		name     string
		n        int
		shuffled bool
		copied   bool
	}{
		{"3000", 3000, false, false}, {"60000", 60000, false, false},
		{"60000 shuffled", 60000, true, false}, {"60000 from a driver", 60000, false, true},
	} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(c.n))
			s, tb, tell := newSender(false, c.n), New(Config{}), new(teller)
			r := rand.New(rand.NewPCG(1, 2))
			var out packet.List
			var ps []*packet.Packet
			for b.Loop() {
				s.cut(1500, &out)
				ps = ps[:0]
				for p := out.Pop(); p != nil; p = out.Pop() {
					if c.copied { // a head full of bytes and a chunk
						q := p
						p = packet.Get()
						n := q.CopyTo(p.Room(), 0)
						p.Append(n)
						c := packet.GetChunk(packet.SmallChunk)
						if n = q.CopyTo(c.Bytes(), n); n > 0 {
							p.AppendOwned(c, 0, n)
						} else {
							c.Release()
						}
						p.Net = p.Start()
						p.Transport, p.Src, p.Dst = p.Net+wire.IPv4Len, q.Src, q.Dst
						packet.Free(q)
					}
					ps = append(ps, p)
				}
				if c.shuffled {
					r.Shuffle(len(ps), func(i, j int) { ps[i], ps[j] = ps[j], ps[i] })
				}
				for _, p := range ps {
					if o := tb.Add(0, p, nil, tell); o.Whole != nil {
						packet.Free(o.Whole)
					}
				}
			}
			packet.Free(s.model)
			if u := tb.Usage(); u != (Usage{}) {
				b.Errorf("in use: %+v", u)
			}
		})
	}
}

// The cost of one fragment of a flood that fills the table.
func BenchmarkFlood(b *testing.B) {
	b.ReportAllocs()
	tb, s := New(Config{}), new(teller)
	f := flood{rand.New(rand.NewPCG(3, 4)), false, payload(1200)}
	for b.Loop() {
		p := f.next(addr4(f.r.IntN(1 << 24)))
		if o := tb.Add(0, p, nil, s); o.Whole != nil || o.Reason != packet.NotDropped {
			packet.Free(p)
		}
	}
	tb.Flush(0, s)
}

// The cost of a fragment to an enemy's liking: every one goes to a random place
// of a datagram that is never complete, and makes the table walk.
func BenchmarkWalk(b *testing.B) {
	b.ReportAllocs()
	tb, s := New(Config{MemoryMax: 64 << 20}), new(teller)
	r := rand.New(rand.NewPCG(1, 2))
	places := r.Perm(8000)
	i := 0
	for b.Loop() {
		p := packet.Get()
		p.Net = p.Start()
		p.Src, p.Dst = addr4(1), addr4(2)
		wire.PutIPv4(p.Append(wire.IPv4Len), &wire.IPv4Fields{TotalLen: wire.IPv4Len + 8, ID: uint16(i / (FragmentsMax - 1)),
			MF: true, FragOffset: 8 * places[i%len(places)], TTL: 64, Proto: wire.ProtoUDP, Src: p.Src, Dst: p.Dst})
		p.Transport = p.Net + wire.IPv4Len
		p.Append(8)
		if o := tb.Add(0, p, nil, s); o.Reason != packet.NotDropped {
			packet.Free(p)
		}
		i++
	}
	tb.Flush(0, s)
}
