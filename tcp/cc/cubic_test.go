package cc

import (
	"testing"
	"time"
)

// TestCubicCurve: after a loss the window is 0.7 of what it was, and comes back
// to that on RFC 9438's curve: C (t-K)^3 + W_max, with K the cube root of W_max
// (1-0.7) / C and C of 0.4, in segments and seconds (§4.2).
func TestCubicCurve(t *testing.T) {
	const mss, most = 1000, 100 // W_max, segments
	const rtt = 200 * time.Millisecond
	const k = 4217 * time.Millisecond // of 100 segments
	var c Cubic
	now := time.Second
	c.Init(mss, most*mss, Unset)
	c.OnLoss(now, most*mss)
	c.OnRecovered(now, most*mss)
	if w := c.Cwnd(); w != 70*mss || c.Ssthresh() != 70*mss {
		t.Fatalf("after the loss %d, threshold %d", w, c.Ssthresh())
	}
	began := now
	want := []struct {
		at        time.Duration
		low, high float64 // segments
	}{{k / 2, 94.0, 97.5}, {k, 98.5, 101.5}, {k + 3*time.Second, 108, 112.5}}
	for now-began < k+4*time.Second {
		// A window's acknowledgments, each of two segments, over a round trip.
		n := max(c.Cwnd()/(2*mss), 1)
		for range n {
			now += rtt / time.Duration(n)
			c.OnAck(Ack{Now: now, Acked: 2 * mss, InFlight: c.Cwnd(), RTT: rtt, Limited: true})
			if len(want) > 0 && now-began >= want[0].at {
				if w := float64(c.Cwnd()) / mss; w < want[0].low || w > want[0].high {
					t.Errorf("after %v the window is %.1f segments, want %g to %g", want[0].at, w, want[0].low, want[0].high)
				}
				want = want[1:]
			}
		}
	}
	// Each loss takes the same share (§4.6).
	c.OnLoss(now, c.Cwnd())
	c.OnRecovered(now, most*mss)
	first := c.Cwnd()
	c.OnLoss(now, first)
	if got, want := float64(c.Ssthresh()), 0.7*float64(first); got < 0.98*want || got > 1.02*want {
		t.Errorf("a second reduction to %.0f, want %.0f", got, want)
	}
}
