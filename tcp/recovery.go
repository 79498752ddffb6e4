package tcp

import (
	"math"
	"time"

	"github.com/towpath/towpath/tcp/cc"
)

// Recovery from loss with selective acknowledgments: when the peer has agreed
// to them, this file takes the place of NewReno. Which segments are lost is
// found by RACK (RFC 8985 §6), how fast they are sent again by PRR (RFC 6937),
// what is sent first by NextSeg (RFC 6675 §4).

// board is the scoreboard, a new one if there is none.
func (c *Conn) board() *scoreboard {
	if c.sb == nil {
		c.sb = scoreboardPool.Get().(*scoreboard)
		c.sb.start(c.sndUna)
		// Whatever the cursor meant, it is long ago.
		c.rtxNxt, c.rtxCur = c.sndUna, c.q.first()
	}
	return c.sb
}

func (c *Conn) freeBoard() {
	if c.sb != nil {
		scoreboardPool.Put(c.sb)
		c.sb = nil
	}
}

// sackIn takes an acknowledgment that has SACK blocks, or that comes while
// something is missing.
func (c *Conn) sackIn(now time.Duration, s *segment) {
	flight := c.flight()
	b := c.board()
	b.delivered, b.original, b.reordered, b.late, b.minRTT = 0, 0, false, 0, dur(c.minRTT)
	if b.flow = nil; c.samples() {
		b.flow = c.rare.flow
	}
	var n, data uint32
	var rtt time.Duration
	limited := false
	if gt(s.ack, c.sndUna) {
		rtt = c.measure(now, s.ack, s.echo())
		b.acked(now, s.ack)
		n = s.ack - c.sndUna
		data, limited = c.advance(s.ack, flight)
	}
	again := c.blocksIn(now, s)
	if b.reordered {
		c.disorder(b.late)
	}
	if n > 0 {
		c.dupAcks = 0
	} else if b.delivered > 0 && c.dupAcks < math.MaxUint8 {
		c.dupAcks++
	}
	if c.probed {
		c.probeAnswered(now, s.ack, again)
	}
	if c.undo != nil {
		if c.needless(s, n > 0) || c.holdsBack() && c.frtoIn(n > 0, b.delivered > 0, b.original) {
			c.takeBack(now)
			limited = false // by the reduced window
		}
	}
	newlyLost, wait := b.detect(now, c.reoWindow(), dur(c.srtt))

	switch {
	case c.ca == caOpen:
		if n > 0 {
			if lt(c.recover, s.ack) {
				c.recover = s.ack - 1
			}
			c.cc.OnAck(cc.Ack{Now: now, Acked: int(data), InFlight: int(flight), RTT: rtt, Limited: limited})
		}
	case !lt(c.sndUna, c.recover):
		c.endRecovery(now)
	case c.ca == caLoss && b.delivered > 0:
		c.cc.OnAck(cc.Ack{Now: now, Acked: int(b.delivered), InFlight: int(flight), RTT: rtt, Limited: true})
	}
	if c.ca == caOpen && b.lost > 0 {
		c.enterRecovery(now)
	} else if n > 0 {
		c.rearmAcked(now)
	}
	c.cwnd = uint32(c.cc.Cwnd())
	switch {
	case b.flow != nil:
		if b.delivered > 0 {
			c.sampleIn(now, b.delivered, newlyLost)
		}
		c.cwnd = uint32(c.cc.Cwnd())
	case c.ca == caRecovery && !c.mending():
		c.reduce(n > 0 && newlyLost == 0)
	}
	if c.paced {
		c.setPace()
	}
	c.afterDetection(now, wait)
	c.sndBuf = c.snd.passed(now, data, c.sndBuf, c.sndMax, c.minRTT)
	if c.wantRoom {
		c.roomIn()
	}
}

// blocksIn enters the SACK blocks of a segment and reports whether they begin
// with a D-SACK.
func (c *Conn) blocksIn(now time.Duration, s *segment) (again bool) {
	for i, blk := range s.sack {
		l, r := blk.Left, blk.Right
		if !lt(l, r) {
			continue
		}
		// RFC 2883 §4: a first block below the acknowledgment, or within the
		// second, is of data that came twice.
		if i == 0 && (le(r, s.ack) ||
			len(s.sack) > 1 && le(s.sack[1].Left, l) && le(r, s.sack[1].Right)) {
			again = true
			c.dupTold(l, r)
			continue
		}
		if lt(l, c.sndUna) {
			l = c.sndUna
		}
		if lt(l, r) && le(r, c.sndNxt) {
			c.sb.sack(now, l, r)
		}
	}
	return again
}

// dupTold learns from a D-SACK that something was sent again needlessly: loss
// is believed later from now on (RFC 8985 §6.2 step 4).
func (c *Conn) dupTold(left, right uint32) {
	c.extra().dsacks++
	if c.probed && c.probeAgain && right == c.probeEnd {
		return // the tail loss probe's doing
	}
	if c.undo != nil {
		c.undo.cameTwice(left, right)
	}
	if !c.tune().StaticReorder && (c.reoMult == 0 || !lt(c.sndUna, c.dupRound)) {
		c.dupRound = c.sndNxt
		c.reoMult = min(c.reoMult+1, math.MaxUint8-1)
	}
	c.reoPersist = reoPersist
}

// reoPersist is for how many recoveries a wider reordering window is kept.
const reoPersist = 16

// reoWindow is how much later than what was sent after it a segment may
// arrive (RFC 8985 §6.2 step 4). As long as the network has kept the order,
// three segments behind a hole prove a loss.
func (c *Conn) reoWindow() time.Duration {
	if degree := c.degree(); !c.reordered && (c.ca != caOpen || !c.tune().NoDupThreshold &&
		(uint32(c.dupAcks) >= degree || c.sb.sacked > (degree-1)*uint32(c.mss))) {
		return 0
	}
	w := uint64(c.minRTT) / 4 * uint64(c.reoMult+1)
	return dur(uint32(min(w, uint64(c.srtt))))
}

// enterRecovery begins fast recovery (RFC 6675 §5 step 4).
func (c *Conn) enterRecovery(now time.Duration) {
	outstanding := c.sndNxt - c.sndUna
	if !c.probeLost() {
		c.mended()
		c.remember()
		c.cc.OnLoss(now, int(c.usedWindow()))
	}
	c.ca = caRecovery
	c.recover = c.sndNxt
	b := c.sb
	// What had arrived before cannot be delivered during recovery (RFC 9937).
	b.prrDelivered, b.prrOut, b.prrFlight = 0, 0, outstanding-b.sacked+b.delivered
	b.rescued = false
	c.rearm(now)
}

// usedWindow is what a reduction starts from: the window if it was what held
// the sender back, or what is outstanding if that is less (RFC 9438 §4.6).
// Acknowledgments come in batches, before anything is sent in answer: how much
// is outstanding now tells little of a window that was full when they left.
func (c *Conn) usedWindow() uint32 {
	if outstanding := c.sndNxt - c.sndUna; !lt(c.sndUna, c.limited) && outstanding+uint32(c.mss) <= c.cwnd {
		return outstanding
	}
	return c.cwnd
}

// endRecovery ends recovery of either kind: everything that was in flight at
// its beginning has arrived.
func (c *Conn) endRecovery(now time.Duration) {
	if c.ca == caRecovery {
		// PRR has brought the flight to where it should be; there is no burst
		// to be feared (RFC 6937 §3).
		if !c.mending() {
			c.cc.OnRecovered(now, math.MaxInt32-math.MaxUint16)
		}
		c.mended()
		// What is lost already of the data sent since reduces this window, not
		// the little that recovery had left to be sent.
		c.cwnd = uint32(c.cc.Cwnd())
		if c.reoPersist > 0 {
			if c.reoPersist--; c.reoPersist == 0 {
				c.reoMult = 0
			}
		}
	}
	c.ca = caOpen
	c.dupAcks = 0
	c.sb.timedOut = false
	c.recovered()
}

// reduce sets the window for what recovery may send now: in proportion to what
// the peer has got, down to the threshold; then up to it as in slow start, if
// things go well (RFC 6937 §3).
func (c *Conn) reduce(safe bool) {
	b := c.sb
	b.prrDelivered += b.delivered
	pipe, thresh := c.flight(), uint32(c.cc.Ssthresh())
	due := b.prrDelivered - min(b.prrDelivered, b.prrOut)
	if pipe > thresh {
		share := (uint64(b.prrDelivered)*uint64(thresh) + uint64(b.prrFlight) - 1) / uint64(max(b.prrFlight, 1))
		due = uint32(share - min(share, uint64(b.prrOut)))
	} else {
		due = max(due, b.delivered)
		if safe {
			due += uint32(c.mss)
		}
		due = min(due, thresh-pipe)
	}
	if b.prrOut == 0 {
		due = max(due, uint32(c.mss)) // the fast retransmit goes in any case
	}
	c.cwnd = pipe + due
}

// afterDetection sets the timer for what may turn out to be lost soon, and
// gives the scoreboard back if nothing is missing.
func (c *Conn) afterDetection(now, wait time.Duration) {
	switch {
	case c.ca == caOpen && len(c.sb.runs) == 0:
		c.freeBoard()
		if c.sndUna != c.sndNxt {
			c.rearm(now)
		}
	case wait != never && now+wait < c.rtxAt:
		c.rtxAt = now + wait
		c.tail, c.reorder = false, true
	}
}

// reorderTimeout is the reordering timer (RFC 8985 §6.3).
func (c *Conn) reorderTimeout(now time.Duration) {
	b := c.sb
	if b == nil {
		c.rearm(now)
		return
	}
	b.delivered = 0
	_, wait := b.detect(now, c.reoWindow(), dur(c.srtt))
	c.rearm(now)
	if c.ca == caOpen && b.lost > 0 {
		c.enterRecovery(now)
	}
	if c.samples() {
		c.cwnd = uint32(c.cc.Cwnd())
	} else if c.ca == caRecovery && !c.mending() {
		c.reduce(false)
	}
	c.afterDetection(now, wait)
}

// resend sends again what is lost, first things first (NextSeg rule 1).
func (c *Conn) resend(now time.Duration) {
	b, mss := c.sb, uint32(c.mss)
	for i := 0; i < len(b.runs) && b.lost > 0; {
		if b.runs[i].fate != lost {
			i++
			continue
		}
		seq, end := b.begin(i), b.runs[i].end
		n, fin := end-seq, false
		if fin = c.finSent && end == c.sndEnd+1; fin {
			n--
		}
		room := c.congestionRoom()
		if room == 0 || c.tooSoon(now) {
			return
		}
		if room < n {
			if n, fin = room-room%mss, false; n == 0 {
				return
			}
		}
		if most := c.packetMax(); n > most {
			n, fin = most, false
		}
		// The peer may have shrunk its window.
		if wnd := int32(c.sndUna + c.sndWnd - seq); int32(n) > wnd {
			fin = false
			if wnd > 0 {
				n = uint32(wnd)
			} else if seq == c.sndUna {
				n = min(n, mss)
			} else {
				return
			}
		}
		i = b.resend(now, i, c.sendAgain(now, seq, n, fin), c.sndNxt)
		if seq == c.sndUna || c.rtxAt == never {
			c.rearm(now)
		}
	}
}

// sendAgain repeats n bytes at seq, and the FIN behind them if fin is set. It
// returns how much of the sequence went.
func (c *Conn) sendAgain(now time.Duration, seq, n uint32, fin bool) uint32 {
	if n > 0 {
		if lt(c.rtxNxt, c.sndUna) || gt(c.rtxNxt, seq) {
			c.rtxNxt, c.rtxCur = c.sndUna, c.q.first()
		}
		c.q.seek(&c.rtxCur, seq-c.rtxNxt)
	}
	got := c.sendData(now, seq, n, &c.rtxCur, fin)
	if n > 0 {
		c.rtxNxt = seq + got
	}
	if fin && got == n {
		got++
	}
	c.sentAgain(now, seq, got)
	return got
}

// lastSegment is what was most likely sent last, FIN included.
func (c *Conn) lastSegment() (seq, n uint32, fin bool) {
	fin = c.finSent
	end := c.sndNxt
	if fin {
		end--
	}
	n = end - c.sndUna
	if n > uint32(c.mss) {
		if short := n % uint32(c.mss); short > 0 {
			n = short
		} else {
			n = uint32(c.mss)
		}
	}
	return end - n, n, fin
}

// rescue sends the last segment again, once in a recovery, when nothing else
// is left to send: if it was lost, nothing behind it will tell (RFC 6675 §4
// NextSeg rule 4).
func (c *Conn) rescue(now time.Duration) {
	b := c.sb
	if b.rescued || b.lost > 0 || c.congestionRoom() < uint32(c.mss) || len(b.runs) > runsMax-2 || c.tooSoon(now) {
		return
	}
	if c.sndNxt != c.sndEnd && !c.finSent && int32(c.sndUna+c.sndWnd-c.sndNxt) > 0 {
		return // something new will go
	}
	seq, n, fin := c.lastSegment()
	end := seq + n
	if fin {
		end++
	}
	if !lt(b.end(), end) {
		return // known about
	}
	if lt(seq, b.end()) {
		n -= b.end() - seq
		seq = b.end()
	}
	b.rescued = true
	b.cover(seq)
	b.cover(end)
	b.split(seq)
	b.resend(now, b.find(seq), c.sendAgain(now, seq, n, fin), c.sndNxt)
}

// ---- the tail (RFC 8985 §7)

// The tail loss probe's timer: at least probeMin, which covers what hosts take
// to answer.
const probeMin = 10 * time.Millisecond

// rearm sets the retransmission timer, or in front of it that of a tail loss
// probe: when nothing is known to be missing and no probe is under way (RFC
// 8985 §7.2).
func (c *Conn) rearm(now time.Duration) {
	wait := c.timeout()
	c.tail, c.reorder = false, false
	if c.sack && c.ca == caOpen && c.sb == nil && !c.probed && c.srtt != 0 && !c.tune().NoTailProbe {
		c.tail = true
		probe := 2 * dur(c.srtt)
		if c.sndNxt-c.sndUna <= uint32(c.mss) {
			probe += dur(c.ackDelay) // its ACK may be delayed
		}
		wait = min(wait, max(probe, probeMin))
	}
	c.rtxAt = now + wait
}

// tailProbe is the probe timeout: something new is sent, or else the last
// segment again, so that an acknowledgment tells what is missing (RFC 8985
// §7.3).
func (c *Conn) tailProbe(now time.Duration) {
	c.tail = false
	if c.sndUna == c.sndNxt || !canSend.has(c.state) {
		return
	}
	unsent := c.sndEnd - c.sndNxt
	if c.finSent {
		unsent = 0
	}
	wnd := int32(c.sndUna + c.sndWnd - c.sndNxt)
	if n := min(unsent, uint32(max(wnd, 0)), uint32(c.mss)); n > 0 {
		fin := c.finQueued && n == unsent && n < uint32(wnd)
		c.sentNew(now, c.sendData(now, c.sndNxt, n, &c.nxtCur, fin), fin)
		c.probeAgain = false
	} else {
		seq, n, fin := c.lastSegment()
		c.rtxNxt, c.rtxCur = c.sndUna, c.q.first()
		c.sendAgain(now, seq, n, fin)
		c.probeAgain = true
	}
	c.probed, c.probeEnd = true, c.sndNxt
	c.rtxAt = now + c.timeout()
}

// probeAnswered looks at an acknowledgment while a probe is under way (RFC
// 8985 §7.4.2). If the probe has repaired a loss, the congestion that it is a
// sign of must be heeded.
func (c *Conn) probeAnswered(now time.Duration, ack uint32, again bool) {
	if lt(ack, c.probeEnd) {
		return
	}
	switch {
	case !c.probeAgain || again:
		c.probed = false // nothing was lost
	case gt(ack, c.probeEnd):
		c.probed = false
		if c.ca == caOpen {
			c.cc.OnLoss(now, int(c.usedWindow()))
			c.cwnd = uint32(c.cc.Cwnd())
		}
	}
}

// echo is the timestamp echoed, 0 if there is none.
func (s *segment) echo() uint32 {
	if s.hasTS {
		return s.tsEcr
	}
	return 0
}
