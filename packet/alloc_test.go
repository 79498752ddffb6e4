package packet

import (
	"math/rand/v2"
	"testing"
)

// What the walk does with packets costs no allocation once pools are warm.
func TestAllocs(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector makes sync.Pool forget at random")
	}
	var pl Pool
	var list, other List
	chunk := GetChunk(LargeChunk)
	defer chunk.Release()
	body := make([]byte, 1400)
	s := super{size: 1448, total: 20000, checksum: ChecksumPartial}
	whole := s.packet(rand.New(rand.NewPCG(1, 2)), make([]byte, s.total))
	defer Free(whole)
	for name, f := range map[string]func(){
		"pool":  func() { pl.Free(pl.Get()) },
		"depot": func() { Free(Get()) },
		"frag": func() {
			p := pl.Get()
			for i := range FragsMax {
				p.AppendFrag(chunk, 100*i, 50)
			}
			pl.Free(p)
		},
		"chunk": func() {
			for _, n := range []int{1, LargeChunk} {
				p := pl.Get()
				p.AppendOwned(pl.Chunk(n), 0, 1)
				pl.Free(p)
			}
		},
		"bytes": func() {
			p := Get()
			p.AppendBytes(body)
			p.MakePrivate()
			p.Linear(100)
			p.TrimFront(50)
			p.Truncate(500)
			Free(p)
		},
		"list": func() {
			for range 100 {
				list.Push(pl.Get())
				list.PushFront(pl.Get())
			}
			p := list.RemoveAfter(nil)
			list.InsertAfter(list.First(), p)
			list.Take(&other, 70)
			list.Append(&other)
			for !list.Empty() {
				pl.Free(list.Pop())
			}
		},
		"segment": func() {
			Segment(whole.Clone(), &list)
			for p := list.First(); p != nil; p = p.Next() {
				Complete(p)
			}
			list.Free()
		},
		"drop": func() { pl.Drop(pl.Get(), ReasonTTL) },
	} {
		f()
		if n := testing.AllocsPerRun(200, f); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

func BenchmarkPool(b *testing.B) {
	b.ReportAllocs()
	var pl Pool
	for b.Loop() {
		pl.Free(pl.Get())
	}
}

func BenchmarkDepot(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		Free(Get())
	}
}

// A pool that only gives to one that only takes: the depot's part in it.
func BenchmarkTrade(b *testing.B) {
	b.ReportAllocs()
	var from, to Pool
	for b.Loop() {
		to.Free(from.Get())
	}
}

func BenchmarkAppendFrag(b *testing.B) {
	b.ReportAllocs()
	var pl Pool
	c := GetChunk(LargeChunk)
	for b.Loop() {
		p := pl.Get()
		p.AppendFrag(c, 0, 1448)
		pl.Free(p)
	}
}

func BenchmarkClone(b *testing.B) {
	b.ReportAllocs()
	p := Get()
	p.Append(54)
	p.AppendBytes(make([]byte, 1448))
	for b.Loop() {
		Free(p.Clone())
	}
}

func BenchmarkList(b *testing.B) {
	b.ReportAllocs()
	var pl Pool
	var l, m List
	for range 64 {
		l.Push(pl.Get())
	}
	for b.Loop() {
		l.Take(&m, 32)
		l.Append(&m)
	}
}

func benchmarkSegment(b *testing.B, checksum Checksum) {
	b.ReportAllocs()
	s := super{size: 1448, total: 64000, tcpOpts: 12, checksum: checksum}
	p := s.packet(rand.New(rand.NewPCG(1, 2)), make([]byte, s.total))
	b.SetBytes(int64(s.total))
	var l List
	for b.Loop() {
		Segment(p.Clone(), &l)
		l.Free()
	}
}

func BenchmarkSegmentPartial(b *testing.B) { benchmarkSegment(b, ChecksumPartial) }
func BenchmarkSegmentWhole(b *testing.B)   { benchmarkSegment(b, ChecksumNone) }
