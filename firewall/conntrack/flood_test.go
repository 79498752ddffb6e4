package conntrack

import (
	"flag"
	"testing"
	"time"

	"github.com/towpath/towpath/internal/testenv"
	"github.com/towpath/towpath/packet"
	"github.com/towpath/towpath/wire"
)

var floodFlag = flag.Int("flood", 200000, "spoofed packets in TestFlood")

// TestFlood pours SYNs and datagrams from everywhere into a full table, for
// longer than their timeouts: no assured flow may go, the table keeps its
// bound, and a client who connects meanwhile gets through.
func TestFlood(t *testing.T) {
	const (
		max     = 20000
		assured = 5000
	)
	ct := NewTable(Settings{Max: max})
	keep := newWalker(ct, tcp(client, server, 1, 80, tcpFields{flags: syn, seq: 99, win: 1000}))
	answer := newWalker(ct, tcp(server, client, 80, 1, tcpFields{flags: syn | ack, seq: 499, ack: 100, win: 1000}))
	third := newWalker(ct, tcp(client, server, 1, 80, tcpFields{flags: ack, seq: 100, ack: 500, win: 1000}))
	open := func(port uint16, now time.Duration) {
		for _, w := range []*walker{keep, answer, third} {
			h := wire.TCP(w.p.From(w.p.Transport))
			if w == answer {
				h.SetDstPort(port)
			} else {
				h.SetSrcPort(port)
			}
			w.p.Track = packet.Track{}
			w.pass(now)
		}
	}
	for i := range assured {
		open(uint16(i), 0)
	}
	floods := []*walker{
		newWalker(ct, tcp(client, server, 1, 80, tcpFields{flags: syn, win: 1000})),
		newWalker(ct, udp(client, server, 1, 53, "")),
	}
	r := uint32(1)
	now := time.Duration(0)
	opened := assured
	packets := *floodFlag
	if testenv.Race {
		packets /= 10
	}
	for i := range packets {
		r = r*1664525 + 1013904223
		w := floods[i%2]
		setSource(w.p, r, uint16(i))
		now = time.Duration(i) * 200 * sec / time.Duration(packets)
		w.pass(now)
		if i%1000 == 0 {
			open(uint16(opened), now)
			opened++
		}
		if i%10000 == 0 && ct.Stats().Entries > max {
			t.Fatalf("%d flows", ct.Stats().Entries)
		}
	}
	n := 0
	for _, f := range ct.List(now) {
		if f.State == "ESTABLISHED" && f.Assured {
			n++
		}
	}
	if n != opened {
		t.Errorf("%d of %d assured flows are left", n, opened)
	}
	if ct.limbo.n > limboMax+limboMin {
		t.Errorf("%d in limbo", ct.limbo.n)
	}
	s := ct.Stats()
	t.Logf("%d packets, %d flows, %d given up early", packets, s.Entries, s.EarlyDrop)
}
