package cc

import (
	"math"
	"testing"
	"time"
)

// TestDCTCP is RFC 8257 §3.3: alpha begins at 1, moves by a sixteenth of the
// difference for each window, and halves the window in proportion.
func TestDCTCP(t *testing.T) {
	var d DCTCP
	d.Init(1000, 16000, 8000)
	window := func(marked int) {
		d.OnMarked(marked)
		d.OnAck(Ack{Acked: int(d.window), InFlight: d.Cwnd()})
	}
	d.OnECN(0)
	if d.Cwnd() != 8000 || d.Ssthresh() != 8000 {
		t.Errorf("window %d after the first mark, threshold %d", d.Cwnd(), d.Ssthresh())
	}
	window(0)
	if want := 15.0 / 16; d.alpha != want {
		t.Errorf("alpha %v after a window without marks, want %v", d.alpha, want)
	}
	for range 200 {
		window(int(d.window) / 4)
	}
	if math.Abs(d.alpha-0.25) > 0.001 {
		t.Errorf("alpha %v when a quarter is marked", d.alpha)
	}
	d.OnECN(0)
	if d.Cwnd() != 7000 {
		t.Errorf("window %d after marks on a quarter of 8000", d.Cwnd())
	}
	for range 200 {
		window(2 * int(d.window))
	}
	if d.alpha > 1 {
		t.Errorf("alpha %v", d.alpha)
	}
	if d.OnLoss(time.Second, 7000); d.Cwnd() != 3500 {
		t.Errorf("window %d after loss of 7000", d.Cwnd())
	}
	for range 9 {
		d.OnECN(0)
	}
	if d.Cwnd() != 2000 {
		t.Errorf("smallest window %d", d.Cwnd())
	}
}
