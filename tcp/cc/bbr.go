package cc

import (
	"math"
	"time"
)

// BBR is the controller of draft-ietf-ccwg-bbr (version 3 of the algorithm). It
// does not wait for loss to tell it that a queue is full, but builds a model of
// the path: the highest rate at which data was delivered lately, and the
// shortest round trip. Their product is what fits the path without a queue.
//
//	Startup ──> Drain ──> ProbeBW: Down ──> Cruise ──> Refill ──> Up ─┐
//	                               ^                                  │
//	                               └──────────────────────────────────┘
//
// From time to time it goes to ProbeRTT from any of these, where it sends
// little, so that the queue that it may have built empties and the round trip
// can be seen. Loss and marks bound the model from above: hi is the volume at
// which they became too many while bandwidth was probed for, lo what holds in
// the short term between probes.
//
// Volumes count in bytes, rates in bytes per second. Times are instants of
// [Sample]. An unset bound is inf.
type BBR struct {
	mss     float64
	cwnd    float64
	initial float64 // the first window
	prior   float64 // the window before a timeout or ProbeRTT
	rate    float64 // of pacing
	state   bbrState
	inLoss  bool // a timeout is being recovered from
	limited bool // what was acknowledged last filled the window
	now     time.Duration

	// The path.
	bwCycle   [2]float64 // highest rates of this cycle of probing and the last
	minRTT    time.Duration
	minRTTAt  time.Duration
	probedRTT time.Duration // shortest since probedAt
	probedAt  time.Duration
	hi        float64
	lo        float64
	bwLo      float64

	// Rounds: a round is over when what was sent at its beginning has arrived.
	delivered  uint64 // Sample.Delivered
	roundEnd   uint64
	round      uint32
	roundStart bool
	lossEnd    uint64 // the same for the signals of congestion
	lossStart  bool
	lossSeen   bool // in this round
	bwLatest   float64
	volLatest  float64
	lossRuns   uint32 // stretches lost in this round
	lostRound  float64
	ackedRound float64
	marked     bool    // in this round
	markRounds uint8   // rounds of startup with marks, one after the other
	flight     float64 // when what was acknowledged last was sent

	// Whether the pipe is full.
	full      float64
	fullCount uint8
	fullNow   bool
	reached   bool

	// The cycle of probing for bandwidth.
	phaseAt     time.Duration
	probeWait   time.Duration
	probeRounds uint32 // since the last probe
	acks        bbrAcks
	probing     bool    // samples are of the probe: they tell how much is too much
	upRounds    uint8   // of growth, each twice as steep as the last
	upAcked     float64 // bytes since hi has grown
	upEach      float64 // bytes for which it grows by a segment

	// ProbeRTT.
	rttDone      time.Duration // when it may end; 0: not small enough yet
	rttRound     bool          // a round has passed
	limitedUntil uint64        // samples before are of too little data
	restarting   bool          // from idle

	// Acknowledgments that come in heaps.
	heapAt    time.Duration
	heap      float64
	extra     [2]float64 // the most beyond what the rate says, of five rounds and the five before
	extraTurn uint32     // round of the last turn
}

type bbrState uint8

const (
	bbrStartup bbrState = iota
	bbrDrain
	bbrDown
	bbrCruise
	bbrRefill
	bbrUp
	bbrProbeRTT
)

// bbrAcks tells which part of a probe the acknowledgments that come are of.
type bbrAcks uint8

const (
	acksInit bbrAcks = iota
	acksRefilling
	acksStarting // of what was sent before the probe
	acksFeedback // of the probe
	acksStopping
)

// Gains and times of the draft (§2.4 and following).
const (
	bbrStartupGain = 2.77 // 4·ln 2
	bbrDrainGain   = 0.5
	bbrWindowGain  = 2.0
	bbrUpGain      = 1.25
	bbrUpWindow    = 2.25
	bbrDownGain    = 0.90
	bbrRTTGain     = 0.5
	bbrMargin      = 0.99 // a little less than the bandwidth keeps queues short
	bbrBeta        = 0.7
	bbrLossMost    = 0.02
	bbrHeadroom    = 0.15
	bbrFullGrowth  = 1.25
	bbrFullRounds  = 3
	bbrLossRuns    = 6
	bbrMarkRounds  = 2
	bbrWindowMin   = 4 // segments
	bbrRenoRounds  = 63
	bbrMinRTTFor   = 10 * time.Second
	bbrProbeEvery  = 5 * time.Second
	bbrRTTFor      = 200 * time.Millisecond
	bbrSingleRate  = 150_000 // below, packets are single segments
)

var inf = math.Inf(1)

func (b *BBR) Name() string       { return "bbr" }
func (b *BBR) Cwnd() int          { return int(b.cwnd) }
func (b *BBR) Ssthresh() int      { return Unset }
func (b *BBR) PacingRate() uint64 { return uint64(b.rate) }

// Init begins with Startup. Nothing is known of the path; a millisecond stands
// for its round trip until it is (§5.6.2).
func (b *BBR) Init(mss, window, _ int) {
	*b = BBR{
		mss: float64(mss), cwnd: float64(window), initial: float64(window), hi: inf, lo: inf, bwLo: inf,
		upEach: inf, rate: bbrStartupGain * float64(window) * 1000,
	}
}

// SetMSS keeps the window in bytes.
func (b *BBR) SetMSS(mss int) {
	b.mss = float64(mss)
	b.cwnd = max(b.cwnd, b.mss)
}

// OnAck hears whether the window is used; all else is in OnSample.
func (b *BBR) OnAck(a Ack) { b.limited = a.Limited }

// OnECN is one too; while bandwidth is probed for it says that it is too much.
func (b *BBR) OnECN(time.Duration) {
	b.lossSeen, b.marked = true, true
	if b.probing {
		b.tooHigh(b.flight, false)
	}
}

// OnLoss is a signal of congestion like any other; what is lost is heard from
// OnLost and OnSample.
func (b *BBR) OnLoss(time.Duration, int) { b.lossSeen = true }

// OnRecovered has no window to restore.
func (b *BBR) OnRecovered(time.Duration, int) {}

// OnRTO begins again with one segment; the model stays.
func (b *BBR) OnRTO(_ time.Duration, _ int, again bool) {
	if !again {
		b.savePrior()
		b.lossSeen = true
		b.resetFull(0)
		if b.lo == inf && !b.isProbing() {
			b.lo = b.prior
		}
	}
	b.inLoss = true
	b.cwnd = b.mss
}

func (b *BBR) savePrior() {
	if b.inLoss || b.state == bbrProbeRTT {
		b.prior = max(b.prior, b.cwnd)
	} else {
		b.prior = b.cwnd
	}
}

// OnIdle lets the next samples stand for more than the pause (§5.4.1).
func (b *BBR) OnIdle(time.Duration, time.Duration) { b.restarting = true }

// Save keeps the bounds, as numbers without a fraction.
func (b *BBR) Save() Saved {
	bound := func(v float64) uint32 { return uint32(min(v, math.MaxUint32)) }
	return Saved{bound(b.cwnd), bound(b.lo), bound(b.hi), bound(b.bwLo / 1024)}
}

// Undo takes bounds back that loss has set, and the window of a timeout.
func (b *BBR) Undo(s Saved) {
	unbound := func(v uint32, unit float64) float64 {
		if v == math.MaxUint32 {
			return inf
		}
		return float64(v) * unit
	}
	b.cwnd = max(b.cwnd, float64(s[0]))
	b.lo = max(b.lo, unbound(s[1], 1))
	b.hi = max(b.hi, unbound(s[2], 1))
	b.bwLo = max(b.bwLo, unbound(s[3], 1024))
	b.inLoss, b.lossSeen = false, false
}

// ---- what the samples say

// OnSample updates the model, moves on in the cycle, and sets rate and window
// (§5.2.3).
func (b *BBR) OnSample(s Sample) {
	if s.PriorDelivered < b.limitedUntil {
		s.AppLimited = true
	}
	b.now, b.delivered, b.flight = s.Now, s.Delivered, float64(s.TxInFlight)
	if s.TxInFlight > 0 && float64(s.TxInFlight)+b.quantum() >= b.cwnd {
		b.limited = true
	}
	b.latest(s)
	b.congestion(s)
	b.heaps(s)
	b.checkFull(s)
	switch {
	case b.state == bbrStartup:
		b.checkLoss(s)
		if b.reached {
			b.state = bbrDrain
		}
	case b.state == bbrDrain && float64(s.InFlight) <= b.inflight(1):
		b.startDown(s.Now)
	}
	b.cycle(s)
	b.probeRTT(s, b.roundTrip(s))
	if b.lossStart { // for the next round
		b.bwLatest, b.volLatest = float64(s.Rate), float64(s.Delivered-s.PriorDelivered)
	}
	if b.roundStart {
		b.lossRuns, b.lostRound, b.ackedRound, b.marked = 0, 0, 0, false
	}
	b.setRate()
	b.setWindow(s)
}

// latest notes what the last round has brought (§5.5.10.3).
func (b *BBR) latest(s Sample) {
	b.lossStart = false
	b.bwLatest = max(b.bwLatest, float64(s.Rate))
	b.volLatest = max(b.volLatest, float64(s.Delivered-s.PriorDelivered))
	if s.PriorDelivered >= b.lossEnd {
		b.lossEnd = s.Delivered
		b.lossStart = true
	}
	if b.roundStart = s.PriorDelivered >= b.roundEnd; b.roundStart {
		b.startRound()
		b.round++
		b.probeRounds++
	}
}

func (b *BBR) startRound() { b.roundEnd = b.delivered }

// congestion takes the rate into the filter, and at the end of a round with
// loss or marks lowers the bounds of the short term (§5.5.10.3).
func (b *BBR) congestion(s Sample) {
	if r := float64(s.Rate); r > 0 && (r >= b.maxBW() || !s.AppLimited) {
		b.bwCycle[0] = max(b.bwCycle[0], r)
	}
	b.lostRound += float64(s.Lost)
	b.ackedRound += float64(s.Acked)
	if s.Lost > 0 {
		b.lossSeen = true
	}
	if !b.lossStart {
		return
	}
	if b.lossSeen && !b.isProbing() {
		if b.bwLo == inf {
			b.bwLo = b.maxBW()
		}
		if b.lo == inf {
			b.lo = b.cwnd
		}
		b.bwLo = max(b.bwLatest, bbrBeta*b.bwLo)
		b.lo = max(b.volLatest, bbrBeta*b.lo)
	}
	b.lossSeen = false
}

// isProbing reports whether more is being sent than is known to fit.
func (b *BBR) isProbing() bool {
	return b.state == bbrStartup || b.state == bbrRefill || b.state == bbrUp
}

func (b *BBR) maxBW() float64 { return max(b.bwCycle[0], b.bwCycle[1]) }

// bandwidth is the model's, bounded.
func (b *BBR) bandwidth() float64 { return min(b.maxBW(), b.bwLo) }

// heaps measures how much more than the rate says is acknowledged at once
// (§5.5.9).
func (b *BBR) heaps(s Sample) {
	expected := b.bandwidth() * (s.Now - b.heapAt).Seconds()
	if b.heap <= expected {
		b.heap, b.heapAt, expected = 0, s.Now, 0
	}
	b.heap += float64(s.Acked)
	if b.round-b.extraTurn >= 5 {
		b.extraTurn = b.round
		b.extra[0], b.extra[1] = 0, b.extra[0]
	}
	b.extra[0] = max(b.extra[0], min(b.heap-expected, b.cwnd))
}

// checkFull looks whether the rate still grows (§5.3.1.2).
func (b *BBR) checkFull(s Sample) {
	if b.fullNow || !b.roundStart || s.AppLimited {
		return
	}
	if float64(s.Rate) >= b.full*bbrFullGrowth {
		b.resetFull(float64(s.Rate))
		return
	}
	b.fullCount++
	if b.fullNow = b.fullCount >= bbrFullRounds; b.fullNow {
		b.reached = true
	}
}

func (b *BBR) resetFull(rate float64) { b.full, b.fullCount, b.fullNow = rate, 0, false }

// checkLoss ends Startup when too much of a round is lost or marked
// (§5.3.1.3).
func (b *BBR) checkLoss(s Sample) {
	if !b.roundStart || b.reached {
		return
	}
	if b.marked {
		b.markRounds++
	} else {
		b.markRounds = 0
	}
	lossy := s.Recovering && b.lossRuns >= bbrLossRuns && b.lostRound > bbrLossMost*(b.lostRound+b.ackedRound)
	if lossy || b.markRounds >= bbrMarkRounds {
		b.reached = true
		b.hi = max(b.volume(1), b.volLatest)
	}
}

// OnLost finds out, while bandwidth is probed for, how much was too much
// (§5.5.10.2).
func (b *BBR) OnLost(l Lost) {
	b.lossRuns++
	b.lossSeen = true
	if !b.probing || !tooMuch(l.LostSince, l.TxInFlight) {
		return
	}
	// The part of the flight up to which no more than the threshold was lost.
	size := min(float64(l.Bytes), float64(l.TxInFlight))
	before, lost := float64(l.TxInFlight)-size, float64(l.LostSince)-size
	at := before + max((bbrLossMost*before-lost)/(1-bbrLossMost), 0)
	b.tooHigh(at, l.AppLimited)
}

func tooMuch(lost, flight int) bool { return float64(lost) > bbrLossMost*float64(flight) }

// tooHigh takes the volume at as the bound for the long term.
func (b *BBR) tooHigh(at float64, appLimited bool) {
	b.probing = false
	if !appLimited {
		b.hi = max(at, bbrBeta*min(b.volume(1), b.cwnd))
	}
	if b.state == bbrUp {
		b.startDown(b.now)
	}
}

// ---- the cycle (§5.3.3)

func (b *BBR) cycle(s Sample) {
	if !b.reached {
		return
	}
	b.adaptHi(s)
	switch b.state {
	case bbrDown:
		if b.timeToProbe(s.Now) {
			b.startRefill()
		} else if v := float64(s.InFlight); v <= b.withHeadroom() && v <= b.inflight(1) {
			b.state = bbrCruise
		}
	case bbrCruise:
		if b.timeToProbe(s.Now) {
			b.startRefill()
		}
	case bbrRefill:
		// A round of the full rate first, so that the probe meets a full pipe.
		if b.roundStart {
			b.probing = true
			b.startUp(s)
		}
	case bbrUp:
		if b.limited && b.cwnd >= b.hi {
			b.resetFull(float64(s.Rate)) // it is the bound that holds it back
		} else if b.fullNow {
			b.startDown(s.Now)
		}
	}
}

// adaptHi moves the bound for the long term.
func (b *BBR) adaptHi(s Sample) {
	if b.acks == acksStarting && b.roundStart {
		b.acks = acksFeedback
	}
	if b.acks == acksStopping && b.roundStart {
		b.probing = false
		b.acks = acksInit
		if b.inCycle() && !s.AppLimited {
			b.bwCycle[0], b.bwCycle[1] = 0, b.bwCycle[0]
			if b.bwCycle[1] == 0 {
				b.bwCycle[1] = float64(s.Rate)
			}
		}
	}
	if tooMuch(s.LostSince, s.TxInFlight) {
		if b.probing {
			b.tooHigh(float64(s.TxInFlight), s.AppLimited)
		}
		return
	}
	if b.hi == inf {
		return
	}
	b.hi = max(b.hi, float64(s.TxInFlight))
	if b.state == bbrUp && b.limited && b.cwnd >= b.hi {
		if b.upAcked += float64(s.Acked); b.upAcked >= b.upEach {
			n := math.Floor(b.upAcked / b.upEach)
			b.upAcked -= n * b.upEach
			b.hi += n * b.mss
		}
		if b.roundStart {
			b.steepen()
		}
	}
}

// steepen doubles the growth of the bound for the next round.
func (b *BBR) steepen() {
	b.upEach = max(b.cwnd/float64(uint64(1)<<b.upRounds), b.mss)
	b.upRounds = min(b.upRounds+1, 30)
}

func (b *BBR) inCycle() bool { return b.state >= bbrDown && b.state <= bbrUp }

// timeToProbe: after two or three seconds, or sooner if Reno would have got to
// the same window by then (§5.3.3.5.1).
func (b *BBR) timeToProbe(now time.Duration) bool {
	return now-b.phaseAt > b.probeWait || float64(b.probeRounds) >= min(b.volume(1)/b.mss, bbrRenoRounds)
}

func (b *BBR) startDown(now time.Duration) {
	b.lossSeen, b.bwLatest, b.volLatest = false, 0, 0
	b.upEach = inf
	// Connections should not probe in step: the bytes delivered differ.
	dice := uint32(b.delivered>>4) * 2654435761
	b.probeRounds = dice >> 31
	b.probeWait = 2*time.Second + time.Duration(dice>>8&0xffff)*time.Second>>16
	b.phaseAt = now
	b.acks = acksStopping
	b.startRound()
	b.state = bbrDown
}

func (b *BBR) startRefill() {
	b.lo, b.bwLo = inf, inf
	b.upRounds, b.upAcked = 0, 0
	b.acks = acksRefilling
	b.startRound()
	b.state = bbrRefill
}

func (b *BBR) startUp(s Sample) {
	b.acks = acksStarting
	b.startRound()
	b.resetFull(float64(s.Rate))
	b.phaseAt = s.Now
	b.state = bbrUp
	b.steepen()
}

// ---- the round trip (§5.3.4, §5.5.7)

// roundTrip takes the time of a packet, and reports whether it is long since a
// short one was seen.
func (b *BBR) roundTrip(s Sample) (stale bool) {
	stale = b.probedRTT != 0 && s.Now > b.probedAt+bbrProbeEvery
	if s.RTT > 0 && (b.probedRTT == 0 || s.RTT < b.probedRTT || stale) {
		b.probedRTT, b.probedAt = s.RTT, s.Now
	}
	if b.minRTT == 0 || b.probedRTT < b.minRTT || s.Now > b.minRTTAt+bbrMinRTTFor {
		b.minRTT, b.minRTTAt = b.probedRTT, b.probedAt
	}
	return stale
}

func (b *BBR) probeRTT(s Sample, stale bool) {
	if b.state != bbrProbeRTT && stale && !b.restarting {
		b.savePrior()
		b.state = bbrProbeRTT
		b.rttDone, b.rttRound = 0, false
		b.acks = acksStopping
		b.startRound()
	}
	b.restarting = false
	if b.state != bbrProbeRTT {
		return
	}
	b.limitedUntil = s.Delivered + uint64(s.InFlight)
	switch {
	case b.rttDone == 0 && float64(s.InFlight) <= b.rttWindow():
		b.rttDone, b.rttRound = s.Now+bbrRTTFor, false
		b.startRound()
	case b.rttDone != 0:
		b.rttRound = b.rttRound || b.roundStart
		if b.rttRound && s.Now > b.rttDone {
			b.endProbeRTT(s.Now)
		}
	}
}

func (b *BBR) endProbeRTT(now time.Duration) {
	b.probedAt = now
	b.cwnd = max(b.cwnd, b.prior)
	b.lo, b.bwLo = inf, inf
	if b.reached {
		b.startDown(now)
		b.state = bbrCruise
	} else {
		b.state = bbrStartup
	}
}

func (b *BBR) rttWindow() float64 { return max(b.volume(bbrRTTGain), bbrWindowMin*b.mss) }

// ---- rate and window (§5.6)

// volume is a multiple of what the path holds without a queue.
func (b *BBR) volume(gain float64) float64 {
	if b.minRTT == 0 {
		return b.initial
	}
	return gain * b.bandwidth() * b.minRTT.Seconds()
}

// inflight is the same with room for what hosts and networks collect before
// they send or acknowledge it.
func (b *BBR) inflight(gain float64) float64 { return b.budget(b.volume(gain)) }

func (b *BBR) budget(v float64) float64 {
	v = max(v, 3*b.quantum(), bbrWindowMin*b.mss)
	if b.state == bbrUp {
		v += 2 * b.mss
	}
	return v
}

// quantum is what is sent at once.
func (b *BBR) quantum() float64 {
	least := 2 * b.mss
	if b.rate < bbrSingleRate {
		least = b.mss
	}
	return min(max(b.rate/1000, least), 64<<10)
}

// withHeadroom leaves some of the bound to others.
func (b *BBR) withHeadroom() float64 {
	if b.hi == inf {
		return inf
	}
	return max(b.hi-max(b.mss, bbrHeadroom*b.hi), bbrWindowMin*b.mss)
}

func (b *BBR) setRate() {
	gain := 1.0
	switch b.state {
	case bbrStartup:
		gain = bbrStartupGain
	case bbrDrain:
		gain = bbrDrainGain
	case bbrDown:
		gain = bbrDownGain
	case bbrUp:
		gain = bbrUpGain
	}
	bw := b.bandwidth()
	if bw == 0 {
		if b.minRTT == 0 {
			return
		}
		bw = b.initial / b.minRTT.Seconds()
	}
	if rate := gain * bw * bbrMargin; b.reached || rate > b.rate || b.maxBW() == 0 {
		b.rate = max(rate, 1)
	}
}

func (b *BBR) setWindow(s Sample) {
	gain := bbrWindowGain
	if b.state == bbrUp {
		gain = bbrUpWindow
	}
	target := b.budget(b.volume(gain) + max(b.extra[0], b.extra[1]))
	switch acked := float64(s.Acked); {
	case b.inLoss && !s.Recovering:
		b.cwnd = max(b.cwnd, b.prior)
		b.inLoss = false
	case b.reached:
		b.cwnd = min(b.cwnd+acked, target)
	case b.cwnd < target || float64(s.Delivered) < b.initial:
		b.cwnd += acked
	}
	b.cwnd = max(b.cwnd, bbrWindowMin*b.mss)

	// Bounds.
	most := inf
	switch {
	case b.state == bbrProbeRTT:
		most = min(b.withHeadroom(), b.rttWindow())
	case b.state == bbrCruise:
		most = b.withHeadroom()
	case b.inCycle():
		most = b.hi
	}
	most = max(min(most, b.lo), bbrWindowMin*b.mss)
	b.cwnd = min(b.cwnd, most, windowMax)
}
