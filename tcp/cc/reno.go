package cc

import "time"

// Reno is the controller of RFC 5681 with byte counting. (What makes NewReno
// of it, RFC 6582, is recovery, which is the connection's.)
type Reno struct {
	mss      uint32
	cwnd     uint32
	ssthresh uint32
	acked    uint32 // bytes acknowledged since the last increase in congestion avoidance
}

// windowMax bounds the window far above what sequence numbers allow.
const windowMax = 1 << 30

func (r *Reno) Name() string       { return "reno" }
func (r *Reno) Cwnd() int          { return int(r.cwnd) }
func (r *Reno) Ssthresh() int      { return int(r.ssthresh) }
func (r *Reno) PacingRate() uint64 { return 0 }

// Init begins in slow start, unless there is a threshold.
func (r *Reno) Init(mss, window, ssthresh int) {
	*r = Reno{mss: uint32(mss), cwnd: uint32(window), ssthresh: uint32(ssthresh)}
}

// SetMSS keeps the window in bytes; RFC 5681 counts in bytes too.
func (r *Reno) SetMSS(mss int) {
	r.mss = uint32(mss)
	r.cwnd = max(r.cwnd, r.mss)
}

// OnAck is slow start below ssthresh, congestion avoidance above (§3.1). A
// window that the sender does not fill proves nothing and is left alone.
func (r *Reno) OnAck(a Ack) {
	if !a.Limited {
		return
	}
	n := uint32(a.Acked)
	if a.Lossy {
		// RFC 3465 §2.3: after a timeout one acknowledgment may cover much
		// that had arrived long before; L is 1 then.
		n = min(n, r.mss)
	}
	if r.cwnd < r.ssthresh {
		grow := min(n, r.ssthresh-r.cwnd)
		r.cwnd += grow
		n -= grow
	}
	if n > 0 {
		r.acked += n
		if r.acked >= r.cwnd {
			r.acked -= min(r.acked, r.cwnd)
			r.cwnd += r.mss
		}
	}
	r.cwnd = min(r.cwnd, windowMax)
}

// OnLoss halves (§3.2 step 2).
func (r *Reno) OnLoss(_ time.Duration, inFlight int) {
	r.ssthresh = r.half(inFlight)
	r.cwnd = r.ssthresh
	r.acked = 0
}

// OnRecovered deflates without leaving room for a burst (RFC 6582 §3.2 step 3,
// full acknowledgment, option 1).
func (r *Reno) OnRecovered(_ time.Duration, inFlight int) {
	r.cwnd = min(r.ssthresh, max(uint32(inFlight), r.mss)+r.mss)
}

// OnRTO begins again with the loss window of one segment. The threshold is
// held back while the same data times out again (§3.1 equation 4 and below).
func (r *Reno) OnRTO(_ time.Duration, inFlight int, again bool) {
	if !again {
		r.ssthresh = r.half(inFlight)
	}
	r.cwnd = r.mss
	r.acked = 0
}

// OnIdle halves the window for every timeout's length of silence, down to the
// restart window (§4.1), and remembers three quarters of it in the threshold.
func (r *Reno) OnIdle(idle, rto time.Duration) {
	restart := min(uint32(InitialWindow(int(r.mss))), r.cwnd)
	r.ssthresh = max(r.ssthresh, r.cwnd/2+r.cwnd/4)
	for ; idle > rto && r.cwnd > restart; idle -= rto {
		r.cwnd /= 2
	}
	r.cwnd = max(r.cwnd, restart)
	r.acked = 0
}

func (r *Reno) half(inFlight int) uint32 { return max(uint32(inFlight)/2, 2*r.mss) }

// Save and Undo keep window and threshold.
func (r *Reno) Save() Saved { return Saved{r.cwnd, r.ssthresh, r.acked} }

// Undo never takes away what has been earned since.
func (r *Reno) Undo(s Saved) {
	r.cwnd, r.ssthresh, r.acked = max(r.cwnd, s[0]), s[1], s[2]
}
