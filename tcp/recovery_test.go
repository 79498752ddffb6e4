package tcp

import (
	"testing"

	"github.com/towpath/towpath/tcp/cc"
)

// recovering is a connection of ten segments of 1000 bytes in flight, whose
// window of as many bytes as given is about to be reduced.
func recovering(t *testing.T, window int) *Conn {
	c := &Conn{mss: 1000, cc: new(cc.Cubic), sndUna: 1, sndNxt: 10001, cwnd: uint32(window), sack: true}
	c.cc.Init(1000, window, cc.Unset)
	c.board()
	t.Cleanup(c.freeBoard)
	return c
}

// TestUsedWindow: a window without room for another segment is reduced from
// what it is, one that was not used from what was used of it.
func TestUsedWindow(t *testing.T) {
	for _, tt := range []struct{ window, thresh int }{
		{10000, 7000},
		{10900, 7630},
		{11000, 7000},
		{20000, 7000},
		{9000, 6300},
	} {
		c := recovering(t, tt.window)
		c.enterRecovery(0)
		if got := c.cc.Ssthresh(); got != tt.thresh {
			t.Errorf("window %d: threshold %d, want %d", tt.window, got, tt.thresh)
		}
	}
}

// TestRecoveryAtOnce: when one recovery ends by the acknowledgment that begins
// the next, the window is reduced once more, and not what the first had left
// to be sent at the moment.
func TestRecoveryAtOnce(t *testing.T) {
	c := recovering(t, 10000)
	c.enterRecovery(0)
	c.cwnd = 2000
	c.endRecovery(0)
	c.enterRecovery(0)
	if got := c.cc.Ssthresh(); got != 4900 {
		t.Errorf("threshold %d, want 4900", got)
	}
}

// TestReductionShare: what had been selectively acknowledged before recovery
// does not count in the proportion by which it sends (RFC 9937).
func TestReductionShare(t *testing.T) {
	c := recovering(t, 8000)
	c.sb.sack(0, 9001, 10001)
	c.sb.delivered = 0
	c.sb.sack(0, 8001, 9001)
	c.enterRecovery(0)
	if got := c.sb.prrFlight; got != 9000 {
		t.Errorf("share of %d, want 9000", got)
	}
}
