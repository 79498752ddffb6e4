package tcp

import (
	"testing"
	"time"

	"github.com/towpath/towpath/packet"
)

// A pair is two connections joined by a wire that keeps its promises: a list
// for each direction.
type pair struct {
	now  time.Duration
	pool packet.Pool
	a, b end
}

// An end is one connection and what waits to reach it.
type end struct {
	c  Conn
	in packet.List
	to *end
}

// Segment puts a segment on the wire to the other end.
func (e *end) Segment(_ *Conn, p *packet.Packet) { e.to.in.Push(p) }

func testConfig() Config {
	return Config{
		LocalPort: 1000, RemotePort: 2000, MSS: 1460, ISN: 0x10000,
		Timestamps: true, WindowScaling: true, SACK: true, NoDelay: true,
		RcvBufMax: 4 << 20, SndBufMax: 4 << 20,
	}
}

// newPair returns two connections; change may alter both ends' configuration.
func newPair(tb testing.TB, change func(*Config)) *pair {
	tb.Helper()
	w := &pair{now: time.Second}
	w.a.to, w.b.to = &w.b, &w.a
	cfg := testConfig()
	if change != nil {
		change(&cfg)
	}
	w.a.c.Init(&cfg, &w.pool, &w.a)
	cfg.LocalPort, cfg.RemotePort = cfg.RemotePort, cfg.LocalPort
	cfg.ISN, cfg.TSOffset = 0xfffff000, 0xfffffff0
	w.b.c.Init(&cfg, &w.pool, &w.b)
	w.a.c.Connect(w.now)
	if r := w.b.c.Listen(w.now, w.b.in.Pop()); r != 0 {
		tb.Fatal(r)
	}
	w.settle()
	if w.a.c.State() != StateEstablished || w.b.c.State() != StateEstablished {
		tb.Fatal(w.a.c.State(), w.b.c.State())
	}
	w.a.c.Events()
	w.b.c.Events()
	return w
}

// deliver gives an end everything that waits for it, as one batch.
func (w *pair) deliver(e *end) {
	for p := e.in.Pop(); p != nil; p = e.in.Pop() {
		if r := e.c.Receive(w.now, p); r != 0 {
			w.pool.Drop(p, r)
		}
	}
	e.c.Output(w.now)
}

// settle delivers until nobody has anything to say.
func (w *pair) settle() {
	for !w.a.in.Empty() || !w.b.in.Empty() {
		w.deliver(&w.b)
		w.deliver(&w.a)
	}
}

// read consumes everything readable at e and returns how much it was.
func (w *pair) read(e *end) int {
	var l packet.List
	n := e.c.Take(&l, 1<<30)
	w.pool.FreeList(&l)
	e.c.Accept(w.now, n)
	e.c.Output(w.now)
	return n
}

func (w *pair) free() {
	w.a.c.FreeBuffers()
	w.b.c.FreeBuffers()
	w.pool.FreeList(&w.a.in)
	w.pool.FreeList(&w.b.in)
	w.pool.Trim()
}
