package tcp

import (
	"testing"

	"github.com/towpath/towpath/packet"
	"github.com/towpath/towpath/wire"
)

// data returns a segment for b with n bytes at offset off of the stream from a.
func (w *pair) data(off, n int) *packet.Packet {
	p := packet.Get()
	f := wire.TCPFields{
		SrcPort: w.a.c.localPort, DstPort: w.a.c.peerPort,
		Seq: w.a.c.iss + 1 + uint32(off), Ack: w.a.c.rcvNxt, Flags: wire.TCPAck, Window: 65535,
	}
	o := wire.TCPOptions{HasTS: true, TSVal: w.a.c.tsNow(w.now), TSEcr: w.a.c.tsRecent}
	b := p.Append(wire.TCPLen + o.Len())
	wire.PutTCP(b, &f, o.Len())
	o.Put(b[wire.TCPLen:])
	p.Transport, p.Data = p.Start(), p.Start()+uint16(len(b))
	body := make([]byte, n)
	for i := range body {
		body[i] = pattern(1, off+i)
	}
	// In a chunk, as a driver would have it.
	c := packet.GetChunk(n)
	p.AppendOwned(c, 0, copy(c.Bytes(), body))
	return p
}

// verify reads everything at b and compares it with what data made.
func (w *pair) verify(t *testing.T, want int) {
	t.Helper()
	var l packet.List
	n, at := w.b.c.Take(&l, 1<<30), 0
	for p := l.Pop(); p != nil; p = l.Pop() {
		for _, v := range p.Bytes() {
			if v != pattern(1, at) {
				t.Fatalf("byte %d is wrong", at)
			}
			at++
		}
		w.pool.Free(p)
	}
	if at != n || n != want {
		t.Fatalf("read %d bytes, counted %d, not %d", at, n, want)
	}
	w.b.c.Accept(w.now, n)
}

// TestCollapse sends a full window of tiny segments that cost far more memory
// than their payload: they are packed, and nothing is lost.
func TestCollapse(t *testing.T) {
	for _, order := range []string{"in order", "behind a hole"} {
		t.Run(order, func(t *testing.T) {
			w := newPair(t, func(c *Config) { c.RcvBuf, c.RcvBufMax = 64<<10, 64<<10 })
			defer w.free()
			const size = 20
			n := 60 << 10 / size
			first := 0
			if order != "in order" {
				first = 1
			}
			most := 0
			for i := first; i < n; i++ {
				if r := w.b.c.Receive(w.now, w.data(i*size, size)); r != 0 {
					t.Fatal(i, r)
				}
				if err := w.b.c.check(); err != nil {
					t.Fatal(i, err)
				}
				most = max(most, w.b.c.rcvMem)
			}
			if first == 1 {
				if r := w.b.c.Receive(w.now, w.data(0, size)); r != 0 {
					t.Fatal(r)
				}
			}
			if most > w.b.c.memoryMax()+packet.LargeChunk {
				t.Errorf("cost %d bytes", most)
			}
			t.Logf("%d segments of %d bytes cost at most %d bytes", n, size, most)
			w.verify(t, n*size)
		})
	}
}

// TestIslands sends segments with holes between them, which cannot be packed:
// beyond the budget they are refused, and the farthest give way to data in
// order.
func TestIslands(t *testing.T) {
	w := newPair(t, func(c *Config) { c.RcvBuf, c.RcvBufMax = 64<<10, 64<<10 })
	defer w.free()
	refused := 0
	for i := 1; i < 32000; i += 2 {
		p := w.data(i, 1)
		if r := w.b.c.Receive(w.now, p); r != 0 {
			packet.Drop(p, r)
			if r != packet.ReasonTCPBuffer {
				t.Fatal(r)
			}
			refused++
		}
	}
	if refused == 0 {
		t.Error("no island was refused")
	}
	islands := w.b.c.ooo.Len()
	big := packet.LargeChunk
	p := w.data(0, big) // swallows the first islands, costs as much as many
	if r := w.b.c.Receive(w.now, p); r != 0 {
		t.Fatal(r)
	}
	if err := w.b.c.check(); err != nil {
		t.Fatal(err)
	}
	if w.b.c.ooo.Len() >= islands {
		t.Error("islands did not give way")
	}
	if w.b.c.Pruned() == 0 {
		t.Error("nobody was told of the islands given up")
	}
	w.verify(t, big)
}

// TestReset answers segments for no connection (RFC 9293 §3.10.7.1).
func TestReset(t *testing.T) {
	for _, tt := range []struct {
		in, out wire.TCPFields
		n       int
		ok      bool
	}{
		{wire.TCPFields{SrcPort: 1, DstPort: 2, Seq: 5, Ack: 9, Flags: wire.TCPAck}, wire.TCPFields{SrcPort: 2, DstPort: 1, Seq: 9, Flags: wire.TCPRst}, 3, true},
		{wire.TCPFields{SrcPort: 1, DstPort: 2, Seq: 5, Flags: wire.TCPSyn}, wire.TCPFields{SrcPort: 2, DstPort: 1, Ack: 6, Flags: wire.TCPRst | wire.TCPAck}, 0, true},
		{wire.TCPFields{SrcPort: 1, DstPort: 2, Seq: 5, Flags: wire.TCPSyn | wire.TCPFin}, wire.TCPFields{SrcPort: 2, DstPort: 1, Ack: 10, Flags: wire.TCPRst | wire.TCPAck}, 3, true},
		{wire.TCPFields{SrcPort: 1, DstPort: 2, Seq: 5, Flags: wire.TCPRst}, wire.TCPFields{}, 0, false},
	} {
		b := make([]byte, wire.TCPLen)
		wire.PutTCP(b, &tt.in, 0)
		if f, ok := Reset(b, tt.n); f != tt.out || ok != tt.ok {
			t.Errorf("Reset(%+v, %d) = %+v, %v; want %+v, %v", tt.in, tt.n, f, ok, tt.out, tt.ok)
		}
	}
}

// TestSendQueue pushes frags through every size of ring and compares with a
// plain slice.
func TestSendQueue(t *testing.T) {
	packet.Account(true)
	defer packet.Account(false)
	var pool packet.Pool
	var q sendq
	var want []byte
	cur := q.first()
	sent, base := 0, 0
	next := byte(0)
	for round := range 3000 {
		for range round % 7 {
			b := make([]byte, 1+round%50)
			for i := range b {
				b[i] = next
				next++
			}
			want = append(want, b...)
			if round%3 == 0 {
				q.write(&pool, b)
			} else {
				c := pool.Chunk(len(b))
				copy(c.Bytes()[5:], b)
				q.push(packet.Frag{Chunk: c, Off: 5, Len: uint32(len(b))})
				q.tail = false
			}
		}
		for range 3 {
			n := min(len(want)-sent, 90)
			if n == 0 {
				break
			}
			if round%2 == 0 {
				b := make([]byte, n)
				q.copyTo(b, &cur)
				if string(b) != string(want[sent:sent+n]) {
					t.Fatal("copyTo", round)
				}
			} else {
				p := pool.Get()
				n = int(q.gather(p, &cur, uint32(n), 30))
				if string(p.Bytes()) != string(want[sent:sent+n]) {
					t.Fatal("gather", round)
				}
				pool.Free(p)
			}
			sent += n
		}
		if n := (sent - base) / 2; round%5 == 0 || n > 60000 {
			q.drop(&pool, uint32(n))
			base += n
		}
		if int(q.len) != len(want)-base {
			t.Fatal("length", q.len, len(want)-base)
		}
	}
	q.free(&pool)
	if q.big != nil || q.n != 0 || q.len != 0 {
		t.Error("something is left")
	}
	if p, c := packet.Live(); p != 0 || c != 0 {
		t.Errorf("%d packets and %d chunks leaked", p, c)
	}
}
