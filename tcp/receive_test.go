package tcp

import (
	"testing"

	"github.com/towpath/towpath/packet"
	"github.com/towpath/towpath/wire"
)

// raw returns a segment for b with the options as they are.
func (w *pair) raw(f wire.TCPFields, opt []byte) *packet.Packet {
	p := packet.Get()
	b := p.Append(wire.TCPLen + len(opt))
	wire.PutTCP(b, &f, len(opt))
	copy(b[wire.TCPLen:], opt)
	p.Transport, p.Data = p.Start(), p.Start()+uint16(len(b))
	return p
}

// TestMalformedOptions: lengths that cannot be are refused in every way in
// (RFC 9293 §3.1).
func TestMalformedOptions(t *testing.T) {
	w := newPair(t, nil)
	defer w.free()
	bad := []byte{2, 0, 0, 0}
	p := w.raw(wire.TCPFields{Seq: w.b.c.rcvNxt, Ack: w.b.c.sndNxt, Flags: wire.TCPAck}, bad)
	defer packet.Free(p)
	if r := w.b.c.Receive(w.now, p); r != packet.ReasonTCPOptions {
		t.Error(r)
	}
	q := w.raw(wire.TCPFields{Flags: wire.TCPSyn}, bad)
	defer packet.Free(q)
	var c Conn
	cfg := testConfig()
	c.Init(&cfg, &w.pool, &w.a)
	if r := c.Listen(w.now, q); r != packet.ReasonTCPSynOptions || c.State() != StateClosed {
		t.Error(r, c.State())
	}
	var tw TimeWait
	if reply, v, r := tw.Receive(w.now, p, &w.pool); reply != nil || v != TimeWaitDrop || r != packet.ReasonTCPTimeWaitOptions {
		t.Error(reply, v, r)
	}
}

// TestPredictionAgrees plays the same worlds with header prediction and
// without: it must not decide anything.
func TestPredictionAgrees(t *testing.T) {
	for seed := range uint64(30) {
		var trace [2][]Info
		for i := range trace {
			w := newWorld(seed)
			w.byTheBook = i == 1
			if err := w.run(); err != nil {
				t.Fatal(seed, err)
			}
			for j := range w.ends {
				trace[i] = append(trace[i], w.ends[j].c.Info())
			}
			w.free()
		}
		for j := range trace[0] {
			if trace[0][j] != trace[1][j] {
				t.Fatalf("seed %d:\n%+v\n%+v", seed, trace[0][j], trace[1][j])
			}
		}
	}
}

// TestMarksTrail: after much data without a mark of congestion the number
// behind the last window that was reduced does not seem to lie ahead.
func TestMarksTrail(t *testing.T) {
	w := newPair(t, func(c *Config) { c.ECN = ECNOn })
	defer w.free()
	w.bulk(t, 1<<20)
	if c := &w.a.c; !c.ecn || c.ecnEnd != c.sndUna {
		t.Errorf("ECN %v: the mark is at %d, not %d", c.ecn, c.ecnEnd-c.iss, c.sndUna-c.iss)
	}
}
