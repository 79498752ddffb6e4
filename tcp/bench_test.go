package tcp

import (
	"testing"
	"time"
	"unsafe"

	"github.com/towpath/towpath/packet"
)

// pingPong sends one byte there and one back: four half-walks of the state
// machine, as a request and its answer take.
func (w *pair) pingPong(msg []byte) {
	w.now += 10 * time.Microsecond
	w.a.c.Write(msg)
	w.a.c.Output(w.now)
	w.deliver(&w.b)
	w.read(&w.b)
	w.b.c.Write(msg)
	w.b.c.Output(w.now)
	w.deliver(&w.a)
	w.read(&w.a)
}

func BenchmarkPingPong1(b *testing.B) {
	w := newPair(b, nil)
	msg := []byte{1}
	b.ReportAllocs()
	for b.Loop() {
		w.pingPong(msg)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/4, "ns/halfwalk")
}

// bulk moves n bytes from a to b by reference to one chunk's bytes.
func (w *pair) bulk(tb testing.TB, n int) {
	for n > 0 {
		for w.a.c.Space() >= packet.LargeChunk && n > 0 {
			c := w.pool.Chunk(packet.LargeChunk)
			w.a.c.Append([]packet.Frag{{Chunk: c, Len: packet.LargeChunk}})
			n -= packet.LargeChunk
		}
		w.now += 10 * time.Microsecond
		w.a.c.Output(w.now)
		w.deliver(&w.b)
		w.read(&w.b)
		w.deliver(&w.a)
	}
	if w.a.c.Info().Retrans != 0 {
		tb.Fatal("retransmission on a perfect wire")
	}
}

func benchmarkBulk(b *testing.B, gso int) {
	w := newPair(b, func(c *Config) { c.GSOMax = gso })
	const n = 1 << 20
	b.SetBytes(n)
	b.ReportAllocs()
	for b.Loop() {
		w.bulk(b, n)
	}
}

func BenchmarkBulkSuper(b *testing.B)  { benchmarkBulk(b, 65535) }
func BenchmarkBulkSingle(b *testing.B) { benchmarkBulk(b, 0) }

// TestSizes guards what an idle connection costs.
func TestSizes(t *testing.T) {
	t.Logf("Conn %d bytes, TimeWait %d bytes", unsafe.Sizeof(Conn{}), unsafe.Sizeof(TimeWait{}))
	if n := unsafe.Sizeof(Conn{}); n > 712 {
		t.Errorf("Conn takes %d bytes", n)
	}
	if n := unsafe.Sizeof(TimeWait{}); n > 40 {
		t.Errorf("TimeWait takes %d bytes", n)
	}
	w := newPair(t, nil)
	w.pingPong([]byte("hello"))
	w.settle()
	for _, c := range []*Conn{&w.a.c, &w.b.c} {
		if c.q.n != 0 || c.q.big != nil || !c.rq.Empty() || !c.ooo.Empty() || c.rcvMem != 0 {
			// The last answer may await its delayed ACK.
			w.now += time.Second
			c.Timeout(w.now)
			w.settle()
		}
	}
	w.now += time.Second
	w.a.c.Timeout(w.now)
	w.settle()
	for _, c := range []*Conn{&w.a.c, &w.b.c} {
		if c.q.n != 0 || c.q.big != nil || !c.rq.Empty() || c.rcvMem != 0 {
			t.Errorf("an idle connection holds buffers: %+v", c.Info())
		}
	}
}

// TestAllocs guards the walk: nothing is allocated for a segment.
func TestAllocs(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	w := newPair(t, func(c *Config) { c.GSOMax = 65535 })
	msg := make([]byte, 100)
	w.bulk(t, 4<<20)
	w.pingPong(msg)
	if n := testing.AllocsPerRun(1000, func() { w.pingPong(msg) }); n != 0 {
		t.Errorf("request and response: %v allocations", n)
	}
	if n := testing.AllocsPerRun(100, func() { w.bulk(t, 256<<10) }); n != 0 {
		t.Errorf("bulk: %v allocations", n)
	}
}
