package cc

import (
	"testing"
	"time"
)

// TestBBRLostPacket: the bound is set where the loss of the probe passed two
// percent of the flight (draft-ietf-ccwg-bbr §5.5.10.2).
func TestBBRLostPacket(t *testing.T) {
	for _, tt := range []struct {
		name    string
		lost    Lost
		probing bool
		hi      float64
	}{
		{"little", Lost{Bytes: 1000, TxInFlight: 100_000, LostSince: 2000}, true, inf},
		{"much", Lost{Bytes: 1000, TxInFlight: 100_000, LostSince: 3000}, true, 99_000},
		{"the last packet of many", Lost{Bytes: 10_000, TxInFlight: 110_000, LostSince: 10_000}, true, 100_000 + 2000/0.98},
		{"not a probe", Lost{Bytes: 1000, TxInFlight: 100_000, LostSince: 3000}, false, inf},
		{"the application's rate", Lost{Bytes: 1000, TxInFlight: 100_000, LostSince: 3000, AppLimited: true}, true, inf},
	} {
		var b BBR
		b.Init(1000, 10_000, Unset)
		b.state, b.probing = bbrUp, tt.probing
		b.OnLost(tt.lost)
		if diff := b.hi - tt.hi; b.hi != tt.hi && (diff < -1 || diff > 1 || tt.hi == inf) {
			t.Errorf("%s: bound %v, want %v", tt.name, b.hi, tt.hi)
		}
		if ended := b.state == bbrDown; ended != (tt.hi != inf || tt.lost.AppLimited) {
			t.Errorf("%s: state %d", tt.name, b.state)
		}
	}
}

// A pipe feeds a controller with the samples of a path of a rate and a round
// trip that it fills as far as the window allows.
type pipe struct {
	b         *BBR
	now       time.Duration
	rate      float64 // bytes per second
	rtt       time.Duration
	delivered uint64
	lost      int // of each packet's flight
	seen      map[bbrState]bool
}

// step delivers a tenth of a round trip's worth.
func (p *pipe) step() {
	p.now += p.rtt / 10
	bdp := p.rate * p.rtt.Seconds()
	flight := min(float64(p.b.Cwnd()), max(float64(p.b.PacingRate())*p.rtt.Seconds(), 4000))
	rate, rtt := min(flight/p.rtt.Seconds(), p.rate), p.rtt
	if flight > bdp {
		rtt = time.Duration(flight / p.rate * 1e9)
	}
	acked := int(rate * p.rtt.Seconds() / 10)
	p.delivered += uint64(acked)
	p.b.OnAck(Ack{Now: p.now, Acked: acked, InFlight: int(flight), RTT: rtt, Limited: flight >= float64(p.b.Cwnd())})
	prior := p.delivered - min(p.delivered, uint64(flight))
	p.b.OnSample(Sample{
		Now: p.now, Delivered: p.delivered, PriorDelivered: prior, Rate: uint64(rate), RTT: rtt,
		Acked: acked, InFlight: int(flight), TxInFlight: int(flight), LostSince: p.lost,
	})
	p.seen[p.b.state] = true
}

// TestBBRCycle: on a steady path the model is that path, all states are passed
// through, and the flight comes back to what the path holds.
func TestBBRCycle(t *testing.T) {
	p := &pipe{b: new(BBR), now: time.Second, rate: 1_250_000, rtt: 40 * time.Millisecond, seen: map[bbrState]bool{}}
	p.b.Init(1000, 10_000, Unset)
	for range 20 * 250 {
		p.step()
	}
	if bw := p.b.bandwidth(); bw < 0.97*p.rate || bw > 1.03*p.rate {
		t.Errorf("bandwidth %.0f of %.0f", bw, p.rate)
	}
	if p.b.minRTT < p.rtt || p.b.minRTT > p.rtt+p.rtt/10 {
		t.Errorf("round trip %v of %v", p.b.minRTT, p.rtt)
	}
	for s := bbrStartup; s <= bbrProbeRTT; s++ {
		if !p.seen[s] {
			t.Errorf("never in state %d", s)
		}
	}
	if bdp := p.rate * p.rtt.Seconds(); float64(p.b.Cwnd()) < bdp || float64(p.b.Cwnd()) > 2.6*bdp {
		t.Errorf("window %d on a path of %.0f", p.b.Cwnd(), bdp)
	}

	// Half of the rate is found out about within a few seconds.
	p.rate /= 2
	for range 20 * 250 {
		p.step()
	}
	if bw := p.b.bandwidth(); bw > 1.1*p.rate {
		t.Errorf("bandwidth %.0f of %.0f", bw, p.rate)
	}
}

// TestBBRMarks: marks in Startup say that the pipe is full, and in a probe that
// it is too full.
func TestBBRMarks(t *testing.T) {
	p := &pipe{b: new(BBR), now: time.Second, rate: 1_250_000_000, rtt: 40 * time.Millisecond, seen: map[bbrState]bool{}}
	p.b.Init(1000, 10_000, Unset)
	for range 45 {
		p.b.OnECN(p.now)
		p.step()
	}
	if !p.b.reached || p.b.hi == inf {
		t.Error("marks in each round, and Startup goes on")
	}
	p.b.state, p.b.probing, p.b.flight = bbrUp, true, 50_000
	if p.b.OnECN(p.now); p.b.state != bbrDown {
		t.Error("marks in a probe, and it goes on")
	}
}

// TestBBRTimeout: a timeout leaves one segment, and the window comes back when
// what was lost has arrived.
func TestBBRTimeout(t *testing.T) {
	p := &pipe{b: new(BBR), now: time.Second, rate: 1_250_000, rtt: 40 * time.Millisecond, seen: map[bbrState]bool{}}
	p.b.Init(1000, 10_000, Unset)
	for range 250 {
		p.step()
	}
	window := p.b.Cwnd()
	if p.b.OnRTO(p.now, window, false); p.b.Cwnd() != 1000 {
		t.Errorf("window %d after a timeout", p.b.Cwnd())
	}
	p.b.OnSample(Sample{Now: p.now, Delivered: p.delivered + 1000, Acked: 1000, Recovering: true})
	if p.b.Cwnd() != 4000 {
		t.Errorf("window %d while recovering", p.b.Cwnd())
	}
	p.b.OnSample(Sample{Now: p.now, Delivered: p.delivered + 2000, Acked: 1000})
	if p.b.Cwnd() < window*7/10 {
		t.Errorf("window %d after recovery, was %d", p.b.Cwnd(), window)
	}
}
