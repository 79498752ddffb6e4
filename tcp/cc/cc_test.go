package cc

import (
	"slices"
	"testing"
	"time"
)

// TestNames: who is named can be made, by the name he gives himself.
func TestNames(t *testing.T) {
	if !slices.IsSorted(Names()) || !slices.Contains(Names(), Default) {
		t.Error(Names())
	}
	for _, name := range Names() {
		c := New(name)
		if c == nil || c.Name() != name {
			t.Errorf("New(%q) makes %v", name, c)
		}
	}
	if New("vegas") != nil {
		t.Error("New makes what nobody has written")
	}
}

// TestUndo: a reduction that proves needless leaves nothing behind, and takes
// nothing of what has been earned since.
func TestUndo(t *testing.T) {
	for _, name := range Names() {
		for _, reduce := range []func(Controller){
			func(c Controller) { c.OnLoss(time.Second, c.Cwnd()) },
			func(c Controller) { c.OnRTO(time.Second, c.Cwnd(), false) },
		} {
			c := New(name)
			c.Init(1000, 40000, 20000)
			now := time.Second
			ack := func(n int) {
				now += 10 * time.Millisecond
				c.OnAck(Ack{Now: now, Acked: n, InFlight: c.Cwnd(), RTT: 10 * time.Millisecond, Limited: true})
			}
			ack(10000)
			cwnd, ssthresh, saved := c.Cwnd(), c.Ssthresh(), c.Save()
			reduce(c)
			c.Undo(saved)
			if c.Cwnd() != cwnd || c.Ssthresh() != ssthresh {
				t.Errorf("%s: window %d, threshold %d; had been %d, %d", name, c.Cwnd(), c.Ssthresh(), cwnd, ssthresh)
			}
			reduce(c)
			for i := 0; i < 1000 && c.Cwnd() <= cwnd; i++ {
				ack(c.Cwnd())
			}
			if _, ok := c.(Sampler); ok {
				continue // the window does not come from OnAck
			}
			grown := c.Cwnd()
			if c.Undo(saved); c.Cwnd() != grown {
				t.Errorf("%s: window %d, had been %d", name, c.Cwnd(), grown)
			}
		}
	}
}

// TestTakeover: a controller that takes over has the window of the one before,
// and none that begins has a threshold.
func TestTakeover(t *testing.T) {
	for _, name := range Names() {
		c := New(name)
		c.Init(1000, 10000, Unset)
		if c.Cwnd() != 10000 || c.Ssthresh() != Unset {
			t.Errorf("%s begins with a window of %d and the threshold %d", name, c.Cwnd(), c.Ssthresh())
		}
		c.Init(1000, 40000, 20000)
		if _, ok := c.(Sampler); !ok && c.Ssthresh() != 20000 || c.Cwnd() != 40000 {
			t.Errorf("%s takes over with a window of %d and the threshold %d", name, c.Cwnd(), c.Ssthresh())
		}
	}
}
