package cc

import (
	"math"
	"time"
)

// Cubic is the controller of RFC 9438, with the slow start of RFC 9406
// (HyStart++). It counts bytes where the RFCs count segments.
//
//	window
//	  wMax ........____.......___/   the cubic curve: it hurries back to where
//	           .--'                  it met loss, lingers there, and then
//	         /'                      looks for more, ever faster
//	 start  /
//	        0      k        time
//
// On paths of short round trips Reno would grow faster than the curve; est
// follows Reno there (§4.3).
type Cubic struct {
	mss      uint32
	cwnd     uint32
	ssthresh uint32
	wMax     uint32 // window at the last loss, or less to make room for others
	prior    uint32 // window at the last loss
	est      uint32 // what Reno would have (W_est)
	curveRem uint32 // bytes times window left over from the last increase
	estRem   uint32
	k        uint32 // ticks from the start of the epoch to wMax
	epoch    uint32 // ticks: when this epoch began
	last     uint32 // ticks: the last acknowledgment
	rtt      uint32 // 1024 ns, smoothed, as the following

	// HyStart++.
	baseline  uint32 // round trip when it began to rise
	lastRTT   uint32 // smallest of the last round
	roundRTT  uint32 // smallest of this round
	roundLeft uint32 // bytes to be acknowledged until the round is over
	samples   uint8  // of this round
	rounds    uint8  // left of conservative slow start; 0: not in it
	running   bool   // an epoch has begun
	timedOut  bool   // the next epoch is the first after a timeout
}

// A tick is 2^20 ns, about a millisecond.
const (
	tickBits = 20
	tick     = float64(1<<tickBits) / 1e9 // seconds
	rttUnit  = float64(1<<10) / 1e9       // seconds
)

// RFC 9438 §4.1, §4.6; RFC 9406 §4.3.
const (
	cubicC        = 0.4 // segments per second cubed
	cubicBeta     = 0.7
	cubicBetaNum  = 7
	cubicBetaDen  = 10
	cubicAlphaNum = 9 // 3·(1−β)/(1+β) = 9/17
	cubicAlphaDen = 17

	hystartRTTMin  = uint32(4 * time.Millisecond >> 10)
	hystartRTTMax  = uint32(16 * time.Millisecond >> 10)
	hystartSamples = 8
	hystartDivisor = 4
	hystartRounds  = 5
	hystartUnset   = math.MaxUint32
)

func (c *Cubic) Name() string       { return "cubic" }
func (c *Cubic) Cwnd() int          { return int(c.cwnd) }
func (c *Cubic) Ssthresh() int      { return int(c.ssthresh) }
func (c *Cubic) PacingRate() uint64 { return 0 }

// Init begins in slow start, unless there is a threshold.
func (c *Cubic) Init(mss, window, ssthresh int) {
	*c = Cubic{mss: uint32(mss), cwnd: uint32(window), ssthresh: uint32(ssthresh)}
	c.lastRTT, c.roundRTT = hystartUnset, hystartUnset
}

// SetMSS keeps the window in bytes.
func (c *Cubic) SetMSS(mss int) {
	c.mss = uint32(mss)
	c.cwnd = max(c.cwnd, c.mss)
}

// OnAck opens the window, unless the sender does not fill it: such a window
// proves nothing, and the time that passes does not count (RFC 9438 §5.8).
func (c *Cubic) OnAck(a Ack) {
	now := uint32(a.Now >> tickBits)
	if r := uint32(a.RTT >> 10); r > 0 {
		if c.rtt == 0 {
			c.rtt = r
		}
		c.rtt += r/8 - c.rtt/8
	}
	if !a.Limited {
		if c.running {
			c.epoch += now - c.last
		}
		c.last = now
		return
	}
	c.last = now
	n := uint32(a.Acked)
	if a.Lossy {
		n = min(n, c.mss) // RFC 3465 §2.3, as in Reno
	}
	if c.cwnd < c.ssthresh {
		n = c.slowStart(n, a)
	}
	if n > 0 && c.cwnd >= c.ssthresh {
		c.avoid(now, n)
	}
	c.cwnd = min(c.cwnd, windowMax)
}

// slowStart doubles the window each round trip; as soon as round trips grow it
// is careful, and after some rounds of that, over (RFC 9406 §4.2). It returns
// the bytes that are left for congestion avoidance.
func (c *Cubic) slowStart(n uint32, a Ack) uint32 {
	grow := n
	if c.rounds > 0 {
		grow = n / hystartDivisor
	}
	if room := c.ssthresh - c.cwnd; grow >= room {
		c.cwnd = c.ssthresh
		return n - room
	}
	c.cwnd += grow
	if !a.Lossy {
		c.hystart(uint32(a.RTT>>10), a)
	}
	return 0
}

// hystart looks at a round-trip time in slow start.
func (c *Cubic) hystart(rtt uint32, a Ack) {
	if rtt > 0 {
		c.roundRTT = min(c.roundRTT, rtt)
		if c.samples < math.MaxUint8 {
			c.samples++
		}
		if c.samples >= hystartSamples && c.lastRTT != hystartUnset {
			rise := min(max(c.lastRTT/8, hystartRTTMin), hystartRTTMax)
			switch {
			case c.rounds == 0 && c.roundRTT >= c.lastRTT+rise:
				c.baseline = c.roundRTT
				c.rounds = hystartRounds
			case c.rounds > 0 && c.roundRTT < c.baseline:
				c.rounds = 0 // it was no queue: slow start goes on
			}
		}
	}
	if uint32(a.Acked) < c.roundLeft {
		c.roundLeft -= uint32(a.Acked)
		return
	}
	// The round is over; the next ends when what is in flight now has come.
	c.roundLeft = uint32(max(a.InFlight-a.Acked, 1))
	c.lastRTT, c.roundRTT, c.samples = c.roundRTT, hystartUnset, 0
	if c.rounds > 0 {
		if c.rounds--; c.rounds == 0 {
			c.ssthresh = c.cwnd
		}
	}
}

// avoid is congestion avoidance (RFC 9438 §4.2 to §4.5).
func (c *Cubic) avoid(now, n uint32) {
	if !c.running {
		c.startEpoch(now)
	}
	// Reno's window.
	num, den := uint64(cubicAlphaNum), uint64(cubicAlphaDen)
	if c.est >= c.prior {
		num, den = 1, 1
	}
	w := uint64(max(c.cwnd, 1))
	grow := uint64(n)*uint64(c.mss)*num/den + uint64(c.estRem)
	c.est += uint32(min(grow/w, windowMax))
	c.est = min(c.est, windowMax)
	c.estRem = uint32(grow % w)

	t := float64(int32(now-c.epoch)) * tick
	if float64(c.est) > c.curve(t) {
		c.cwnd = max(c.cwnd, c.est)
		return
	}
	target := min(max(c.curve(t+float64(c.rtt)*rttUnit), float64(c.cwnd)), 1.5*float64(c.cwnd))
	grow = (uint64(target)-w)*uint64(n) + uint64(c.curveRem)
	c.cwnd += uint32(min(grow/w, w/2))
	c.curveRem = uint32(grow % w)
}

// startEpoch begins a stage of congestion avoidance.
func (c *Cubic) startEpoch(now uint32) {
	c.running = true
	c.epoch = now
	c.est, c.curveRem, c.estRem, c.k = c.cwnd, 0, 0, 0
	if c.timedOut || c.wMax <= c.cwnd {
		// §4.8, §4.10: nothing to hurry back to.
		c.wMax = c.cwnd
		c.timedOut = false
		return
	}
	c.k = uint32(math.Cbrt(float64(c.wMax-c.cwnd)/float64(c.mss)/cubicC) / tick)
}

// curve is W_cubic(t) in bytes (RFC 9438 §4.2, figure 1).
func (c *Cubic) curve(t float64) float64 {
	d := t - float64(c.k)*tick
	return max(float64(c.wMax)+cubicC*d*d*d*float64(c.mss), 0)
}

// reduce chooses a new threshold (§4.6) and remembers where loss was met,
// less if the path seems to have more users now (§4.7).
func (c *Cubic) reduce(inFlight int) {
	c.prior = c.cwnd
	if c.cwnd < c.wMax {
		c.wMax = uint32(float64(c.cwnd) * (1 + cubicBeta) / 2)
	} else {
		c.wMax = c.cwnd
	}
	c.ssthresh = max(uint32(uint64(inFlight)*cubicBetaNum/cubicBetaDen), 2*c.mss)
	c.running = false
	c.rounds = 0
}

// OnLoss is a multiplicative decrease (RFC 9438 §4.6).
func (c *Cubic) OnLoss(_ time.Duration, inFlight int) {
	c.reduce(inFlight)
	c.cwnd = c.ssthresh
}

// OnRecovered deflates without leaving room for a burst, as Reno does.
func (c *Cubic) OnRecovered(_ time.Duration, inFlight int) {
	c.cwnd = min(c.ssthresh, max(uint32(inFlight), c.mss)+c.mss)
}

// OnRTO begins again with one segment (RFC 9438 §4.8).
func (c *Cubic) OnRTO(_ time.Duration, inFlight int, again bool) {
	if !again {
		c.reduce(inFlight)
	}
	c.running, c.timedOut = false, true
	c.cwnd = c.mss
}

// OnIdle halves the window for every timeout's length of silence (RFC 5681
// §4.1), as Reno does.
func (c *Cubic) OnIdle(idle, rto time.Duration) {
	restart := min(uint32(InitialWindow(int(c.mss))), c.cwnd)
	c.ssthresh = max(c.ssthresh, c.cwnd/2+c.cwnd/4)
	for ; idle > rto && c.cwnd > restart; idle -= rto {
		c.cwnd /= 2
	}
	c.cwnd = max(c.cwnd, restart)
	c.running = false
}

// Save keeps what RFC 9438 §4.9.1 lists.
func (c *Cubic) Save() Saved {
	s := Saved{c.cwnd, c.ssthresh, c.prior, c.wMax, c.k, c.epoch, c.est, 0}
	if c.running {
		s[7] = 1
	}
	if c.timedOut {
		s[7] |= 2
	}
	return s
}

// Undo restores it, but never takes away what has been earned since.
func (c *Cubic) Undo(s Saved) {
	c.cwnd, c.ssthresh = max(c.cwnd, s[0]), s[1]
	c.prior, c.wMax, c.k, c.epoch, c.est = s[2], s[3], s[4], s[5], s[6]
	c.running, c.timedOut = s[7]&1 != 0, s[7]&2 != 0
}
