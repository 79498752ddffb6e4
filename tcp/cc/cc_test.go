package cc

import (
	"slices"
	"testing"
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
		if c.Cwnd() != 40000 || c.Ssthresh() != 20000 {
			t.Errorf("%s takes over with a window of %d and the threshold %d", name, c.Cwnd(), c.Ssthresh())
		}
	}
}
