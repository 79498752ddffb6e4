package cc

import "time"

// DCTCP is the controller of RFC 8257, for networks whose routers mark packets
// as soon as a short queue stands. It reduces the window in proportion to how
// much was marked, and is Reno otherwise.
type DCTCP struct {
	Reno
	alpha  float64 // share of the bytes that are marked, smoothed (§3.3)
	acked  uint32  // of this observation window
	marked uint32
	window uint32 // its length in bytes
}

const dctcpGain = 1.0 / 16 // g

func (d *DCTCP) Name() string { return "dctcp" }

// Init begins in slow start, and expects the worst of the path (§3.3).
func (d *DCTCP) Init(mss, window, ssthresh int) {
	d.Reno.Init(mss, window, ssthresh)
	d.alpha, d.acked, d.marked, d.window = 1, 0, 0, uint32(window)
}

// OnMarked counts marked bytes; OnAck will be told of the same (§3.3).
func (d *DCTCP) OnMarked(n int) { d.marked += uint32(n) }

// OnAck updates alpha once for each window of data, by equation 1.
func (d *DCTCP) OnAck(a Ack) {
	if d.acked += uint32(a.Acked); d.acked >= d.window {
		share := min(float64(d.marked)/float64(max(d.acked, 1)), 1)
		d.alpha += dctcpGain * (share - d.alpha)
		d.acked, d.marked, d.window = 0, 0, d.cwnd
	}
	d.Reno.OnAck(a)
}

// OnECN reduces the window by equation 2, in the first acknowledgment with a
// mark of each window of data.
func (d *DCTCP) OnECN(time.Duration) {
	d.cwnd = max(d.cwnd-uint32(float64(d.cwnd)*d.alpha/2), 2*d.mss)
	d.ssthresh = d.cwnd
	d.Reno.acked = 0
}
