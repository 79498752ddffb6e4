package tcp

import (
	"time"

	"github.com/towpath/towpath/tcp/cc"
)

// A flow paces a connection, and measures the rate at which its data arrives
// (draft-cheng-iccrg-delivery-rate-estimation). A connection has one if its
// controller asks for it, or somebody has set a rate; to the others it costs
// the look at a flag.
//
// Pacing keeps no queue: Output asks before each packet whether the next is
// due, and if it is not sets the connection's timer. Packets are cut to what
// the rate sends in about a millisecond. One that has waited a while may catch
// up by paceCredit, because timers are late.
//
// A record says of each packet in flight what had been delivered when it was
// sent. When it is acknowledged, what has been delivered since over the time
// that took is a sample of the rate.
type flow struct {
	sampler cc.Sampler    // nil: the flow is only paced
	rate    uint64        // in force, bytes per second; 0: any
	due     time.Duration // when the next packet may go
	at      time.Duration // the timer; never if nothing waits

	delivered   uint64 // bytes ever
	lost        uint64 // bytes ever
	deliveredAt time.Duration
	firstSent   time.Duration // of the packet by which the last sample began
	limited     uint64        // the application had too little to send for what was sent before this was delivered; 0: it has not

	shown        uint64 // the rate that Info tells, as Linux chooses it
	shownLimited bool

	ring []record // length: a power of two
	head uint32
	n    uint32
	base uint32 // sequence number of the first record

	// Of the acknowledgment being looked at: what it acknowledges that was sent
	// last.
	best record
	has  bool
}

// A record is a packet in flight.
type record struct {
	end       uint32
	inFlight  uint32 // bytes, this packet's included
	sent      time.Duration
	first     time.Duration // flow.firstSent at that time, as the following
	at        time.Duration
	delivered uint64
	lost      uint64
	limited   bool
	again     bool // sent again
}

const (
	recordsMin = 64
	recordsMax = 8192 // beyond, a record stands for several packets

	paceCredit = 2 * time.Millisecond
	// paceTick is for how long the timer is set at least: one that is due
	// within a packet's time at gigabits per second would cost more than it
	// gains.
	paceTick = time.Millisecond
	// Linux: packets of the first window are not paced.
	paceFree = 10
	// Below this rate super-segments are not made.
	paceSingle = 150_000
)

// follow sees that the connection has a flow if it needs one.
func (c *Conn) follow(now time.Duration) {
	sampler, _ := c.cc.(cc.Sampler)
	x := c.rare
	if sampler == nil && c.cc.PacingRate() == 0 && (x == nil || x.paceMax == 0) {
		if c.paced = false; x != nil {
			x.flow = nil
		}
		return
	}
	x = c.extra()
	if x.flow == nil {
		x.flow = &flow{at: never, due: now, deliveredAt: now, firstSent: now, base: c.sndNxt}
	}
	x.flow.sampler = sampler
	c.paced = true
	c.setPace()
}

// SetMaxPacingRate bounds the rate of sending in bytes of payload per second;
// 0 is no bound (Linux: SO_MAX_PACING_RATE). A connection that has one is paced
// whatever its controller.
func (c *Conn) SetMaxPacingRate(now time.Duration, rate uint64) {
	if rate == 0 && (c.rare == nil || c.rare.paceMax == 0) {
		return
	}
	c.extra().paceMax = rate
	if canSend.has(c.state) || c.isEarly() {
		c.follow(now)
	}
}

// setPace takes over the controller's rate. That of a controller without one is
// the window's, twice as fast in slow start and a fifth faster later, so that
// pacing does not keep the window from growing (Linux: tcp_pacing_ss_ratio,
// tcp_pacing_ca_ratio).
func (c *Conn) setPace() {
	f, t := c.rare.flow, c.tune()
	if f.rate = c.cc.PacingRate(); f.rate == 0 && f.sampler == nil && c.srtt != 0 {
		window := uint64(max(c.cwnd, c.flight())) * 1_000_000 / uint64(c.srtt)
		if int(c.cwnd) < c.cc.Ssthresh()/2 {
			f.rate = window * uint64(t.PaceSlowStart) / 100
		} else {
			f.rate = window * uint64(t.PaceAvoidance) / 100
		}
	}
	if most := c.rare.paceMax; most != 0 && (f.rate == 0 || f.rate > most) {
		f.rate = most
	}
}

// tooSoon reports whether pacing wants the next packet to wait, and sets the
// timer for it.
func (c *Conn) tooSoon(now time.Duration) bool {
	if !c.paced {
		return false
	}
	f := c.rare.flow
	if f.rate == 0 || f.due <= now || c.dataSegsOut < paceFree {
		return false
	}
	f.at = max(f.due, now+paceTick)
	return true
}

// packetMax is the longest payload of a packet: whole segments, and if the
// connection is paced what takes about a millisecond.
func (c *Conn) packetMax() uint32 {
	if !c.paced || c.rare.flow.rate == 0 {
		return uint32(c.gsoLimit)
	}
	rate, mss := c.rare.flow.rate, uint32(c.mss)
	least := 2 * mss
	if rate < paceSingle {
		least = mss
	}
	n := uint32(min(rate>>10, 1<<20))
	return min(max(n-n%mss, least), uint32(c.gsoLimit))
}

// flowOut notes that n bytes at seq have gone.
func (c *Conn) flowOut(now time.Duration, seq, n uint32) {
	f := c.rare.flow
	if f.rate != 0 {
		f.due = max(f.due, now-paceCredit) + time.Duration(uint64(n)*uint64(time.Second)/f.rate)
	}
	if f.sampler != nil {
		flight := c.flight()
		if seq == c.sndNxt || c.sb != nil {
			flight += n // not counted yet
		}
		if c.sndNxt == c.sndUna {
			f.firstSent, f.deliveredAt = now, now // from idle
		}
		f.sent(now, seq, n, flight)
	}
}

// sent makes a record, or renews that of what is sent again.
func (f *flow) sent(now time.Duration, seq, n, flight uint32) {
	r := record{
		end: seq + n, inFlight: flight, sent: now, first: f.firstSent, at: f.deliveredAt,
		delivered: f.delivered, lost: f.lost, limited: f.limited != 0,
	}
	switch {
	case f.n == 0:
		f.base = seq
		f.push(r)
	case !lt(seq, f.record(f.n-1).end):
		f.push(r)
	default:
		for i := f.find(seq); i < f.n; i++ {
			was := f.record(i)
			end := was.end
			*was, was.end, was.again = r, end, true
			if !lt(end, seq+n) {
				break
			}
		}
	}
}

func (f *flow) record(i uint32) *record { return &f.ring[(f.head+i)&uint32(len(f.ring)-1)] }

func (f *flow) push(r record) {
	if int(f.n) == len(f.ring) {
		if f.n == recordsMax {
			f.record(f.n - 1).end = r.end
			return
		}
		ring := make([]record, max(recordsMin, 2*f.n))
		for i := range f.n {
			ring[i] = *f.record(i)
		}
		f.ring, f.head = ring, 0
	}
	f.n++
	*f.record(f.n - 1) = r
}

// find returns the record that holds seq; f.n if there is none behind it.
func (f *flow) find(seq uint32) uint32 {
	i, j := uint32(0), f.n
	for i < j {
		if m := (i + j) / 2; gt(f.record(m).end, seq) {
			j = m
		} else {
			i = m + 1
		}
	}
	return i
}

// arrived takes a stretch that an acknowledgment tells of.
func (f *flow) arrived(left, right uint32) {
	if lt(left, f.base) {
		left = f.base
	}
	for i := f.find(left); i < f.n && lt(left, right); i++ {
		r := f.record(i)
		if !f.has || r.sent > f.best.sent || r.sent == f.best.sent && gt(r.end, f.best.end) {
			f.best, f.has = *r, true
		}
		left = r.end
	}
}

// miss takes a stretch that is thought lost.
func (f *flow) miss(left, right uint32) {
	f.lost += uint64(right - left)
	if lt(left, f.base) {
		left = f.base
	}
	for i := f.find(left); i < f.n && lt(left, right); i++ {
		r := f.record(i)
		end := r.end
		if gt(end, right) {
			end = right
		}
		f.sampler.OnLost(cc.Lost{
			Bytes: int(end - left), TxInFlight: int(r.inFlight), LostSince: int(f.lost - r.lost), AppLimited: r.limited,
		})
		left = end
	}
}

// samples reports whether the controller wants samples.
func (c *Conn) samples() bool { return c.paced && c.rare.flow.sampler != nil }

// sampleIn gives the controller a sample: an acknowledgment has been taken that
// says that n more bytes have arrived, and shows that newlyLost have not.
func (c *Conn) sampleIn(now time.Duration, n, newlyLost uint32) {
	f := c.rare.flow
	for f.n > 0 && le(f.record(0).end, c.sndUna) {
		f.head++
		f.n--
	}
	if f.base = c.sndUna; f.n == 0 && c.sndUna == c.sndNxt && len(f.ring) > recordsMin {
		f.ring, f.head = nil, 0
	}
	f.delivered += uint64(n)
	f.deliveredAt = now
	s := cc.Sample{
		Now: now, Delivered: f.delivered, Acked: int(n), Lost: int(newlyLost),
		InFlight: int(c.flight()), Recovering: c.ca != caOpen,
	}
	if f.has {
		r := &f.best
		f.has = false
		f.firstSent = r.sent
		s.PriorDelivered, s.AppLimited = r.delivered, r.limited
		s.TxInFlight, s.LostSince = int(r.inFlight), int(f.lost-r.lost)
		if !r.again {
			s.RTT = now - r.sent
		}
		// §3.3: neither what the sender nor what the network has compressed.
		if took := max(r.sent-r.first, now-r.at); took > 0 && took >= dur(c.minRTT) {
			s.Rate = uint64(float64(f.delivered-r.delivered) / took.Seconds())
		}
	}
	if f.limited != 0 && f.delivered > f.limited {
		f.limited = 0
	}
	if s.Rate != 0 && (!s.AppLimited || s.Rate >= f.shown) {
		f.shown, f.shownLimited = s.Rate, s.AppLimited
	}
	f.sampler.OnSample(s)
}

// starve notes that the application, and not the window, holds the flow back
// (§3.4).
func (c *Conn) starve() {
	f := c.rare.flow
	if f.sampler != nil && c.sndEnd-c.sndNxt < uint32(c.mss) && !c.finSent && c.congestionRoom() >= uint32(c.mss) &&
		(c.sb == nil || c.sb.lost == 0) {
		f.limited = max(f.delivered+uint64(c.flight()), 1)
	}
}
