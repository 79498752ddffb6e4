package tcp

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"
)

// TestThroughput moves 2 MiB over 20 ms round trips that lose segments and
// acknowledgments alike. The bounds are what Reno without selective
// acknowledgments makes of it, with a margin; a change to them is reviewed
// like code.
func TestThroughput(t *testing.T) {
	if raceEnabled {
		t.Skip("slow under the race detector, and of one goroutine")
	}
	for _, tt := range []struct {
		loss, least float64 // share, Mbit/s
	}{
		{0, 70}, {0.001, 50}, {0.01, 3}, {0.05, 0.6},
	} {
		w := &world{r: rand.New(rand.NewPCG(1, 2)), now: time.Second, loss: tt.loss, delay: 10 * time.Millisecond, pauses: time.Microsecond}
		for i := range w.ends {
			e := &w.ends[i]
			*e = simEnd{w: w, name: string(rune('a' + i)), peer: &w.ends[1-i], listen: i == 1, maxWrite: 1 << 20, maxRead: 1 << 20}
			e.cfg = testConfig()
			e.cfg.GSOMax = 65535
			e.c.Init(&e.cfg, &w.pool, e)
		}
		w.ends[0].total = 2 << 20
		w.ends[0].c.Connect(w.now)
		if err := w.run(); err != nil {
			t.Fatal(err)
		}
		took := w.ends[0].c.lastSeg - time.Second
		rate := float64(w.ends[0].total) * 8 / 1e6 / took.Seconds()
		i := w.ends[0].c.Info()
		t.Logf("loss %5.1f %%: %6.1f Mbit/s, %d sent again, send buffer %d, receive buffer %d", tt.loss*100, rate, i.Retrans, i.SndBuf, w.ends[1].c.rcvBuf)
		if rate < tt.least {
			t.Errorf("loss %v: only %.1f Mbit/s", tt.loss, rate)
		}
		w.free()
	}
}

// TestGoodput compares CUBIC with selective acknowledgments, over links where
// segments are lost one by one, with what a window that grows and shrinks as
// RFC 9438 §4.3 says would make of it: 1.22 segments a round trip, divided by
// the square root of the share lost. At 5 % there are timeouts too.
func TestGoodput(t *testing.T) {
	if raceEnabled {
		t.Skip("slow under the race detector, and of one goroutine")
	}
	const mss, rtt, seeds = 1448, 20 * time.Millisecond, 4
	for _, tt := range []struct {
		loss, least float64 // share, of the model's rate
	}{
		{0.01, 0.9}, {0.05, 0.6},
	} {
		rate := 1.22 / math.Sqrt(tt.loss) * mss / rtt.Seconds() // bytes a second
		var took time.Duration
		for seed := range uint64(seeds) {
			w := &world{r: rand.New(rand.NewPCG(1, seed)), now: time.Second, loss: tt.loss, delay: rtt / 2, pauses: time.Microsecond}
			for i := range w.ends {
				e := &w.ends[i]
				*e = simEnd{w: w, name: string(rune('a' + i)), peer: &w.ends[1-i], listen: i == 1, maxWrite: 1 << 20, maxRead: 1 << 20}
				e.cfg = testConfig()
				e.cfg.Congestion, e.cfg.MSS, e.cfg.GSOMax = "cubic", mss+tsLen, 65535
				e.cfg.SACK, e.cfg.Timestamps, e.cfg.WindowScaling = true, true, true
				e.cfg.RcvBufMax, e.cfg.SndBufMax = 6<<20, 4<<20
				e.c.Init(&e.cfg, &w.pool, e)
			}
			w.ends[0].total = int(4 * rate) // four seconds of it
			w.ends[0].c.Connect(w.now)
			if err := w.run(); err != nil {
				t.Fatal(err)
			}
			took += w.ends[0].c.lastSeg - time.Second
			w.free()
		}
		share := 4 * seeds / took.Seconds()
		t.Logf("loss %2.0f %%: %.2f of the model's rate", tt.loss*100, share)
		if share < tt.least {
			t.Errorf("loss %v: only %.2f of the model's rate", tt.loss, share)
		}
	}
}
