package cc

import (
	"testing"
	"time"
)

// TestInitialWindow is RFC 6928 §2.
func TestInitialWindow(t *testing.T) {
	for _, tt := range []struct{ mss, want int }{
		{536, 5360}, {1460, 14600}, {1461, 14600}, {8960, 17920}, {65483, 130966},
	} {
		if got := InitialWindow(tt.mss); got != tt.want {
			t.Errorf("InitialWindow(%d) = %d, not %d", tt.mss, got, tt.want)
		}
	}
}

// TestReno plays events and looks at the window after each.
func TestReno(t *testing.T) {
	type r = *Reno
	ack := func(n int, limited, lossy bool) func(r) {
		return func(c r) { c.OnAck(Ack{Acked: n, InFlight: c.Cwnd(), Limited: limited, Lossy: lossy}) }
	}
	type step struct {
		name           string
		do             func(r)
		cwnd, ssthresh int // 0: unset
	}
	for name, steps := range map[string][]step{
		"slow start (RFC 5681 §3.1)": {
			{"every byte acknowledged is one more", ack(2000, true, false), 12000, 0},
			{"in stretches too", ack(12000, true, false), 24000, 0},
			{"not if unused", ack(24000, false, false), 24000, 0},
		},
		"fast recovery (RFC 5681 §3.2, RFC 6582 §3.2)": {
			{"half of the flight", func(c r) { c.OnLoss(0, 10000) }, 5000, 5000},
			{"no burst behind it", func(c r) { c.OnRecovered(0, 0) }, 2000, 5000},
		},
		"recovered with much in flight": {
			{"half of the flight", func(c r) { c.OnLoss(0, 10000) }, 5000, 5000},
			{"stays", func(c r) { c.OnRecovered(0, 8000) }, 5000, 5000},
		},
		"congestion avoidance (RFC 5681 §3.1)": {
			{"half", func(c r) { c.OnLoss(0, 10000) }, 5000, 5000},
			{"not yet a window", ack(4999, true, false), 5000, 5000},
			{"one segment a window", ack(1, true, false), 6000, 5000},
			{"one segment a window", ack(6000, true, false), 7000, 5000},
		},
		"timeout (RFC 5681 §3.1, RFC 3465 §2.3)": {
			{"one segment", func(c r) { c.OnRTO(0, 10000, false) }, 1000, 5000},
			{"again: threshold stays", func(c r) { c.OnRTO(0, 1000, true) }, 1000, 5000},
			{"one segment for one ACK", ack(9000, true, true), 2000, 5000},
			{"to the threshold, the rest counts as avoidance", ack(9000, true, false), 6000, 5000},
		},
		"smallest threshold (RFC 5681 equation 4)": {
			{"two segments", func(c r) { c.OnLoss(0, 1000) }, 2000, 2000},
		},
		"idle (RFC 5681 §4.1)": {
			{"open", ack(30000, true, false), 40000, 0},
			{"one timeout", func(c r) { c.OnIdle(1500*time.Millisecond, time.Second) }, 20000, 0},
			{"a long time", func(c r) { c.OnIdle(time.Hour, time.Second) }, 10000, 0},
		},
	} {
		var c Reno
		c.Init(1000, InitialWindow(1000), Unset)
		for i, s := range steps {
			s.do(&c)
			if c.Cwnd() != s.cwnd || s.ssthresh != 0 && c.Ssthresh() != s.ssthresh || s.ssthresh == 0 && c.Ssthresh() < 1<<30 {
				t.Errorf("%s: step %d, %s: cwnd %d, ssthresh %d; want %d, %d", name, i+1, s.name, c.Cwnd(), c.Ssthresh(), s.cwnd, s.ssthresh)
				break
			}
		}
	}
}

// TestSegmentSize: a window is counted in bytes, whatever the segment.
func TestSegmentSize(t *testing.T) {
	var c Reno
	c.Init(1000, 10000, Unset)
	c.SetMSS(500)
	if c.Cwnd() != 10000 {
		t.Error(c.Cwnd())
	}
	c.OnRTO(0, 10000, false)
	if c.Cwnd() != 500 || c.Name() != "reno" || c.PacingRate() != 0 {
		t.Error(c.Cwnd())
	}
}
