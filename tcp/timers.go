package tcp

import (
	"math"
	"time"
)

// Timers are instants in fields; setting one costs a store. The host asks for
// the earliest once per batch and re-arms its wheel lazily: a deadline that
// has moved later costs one needless Timeout at worst.

// Deadline is the earliest instant at which Timeout has something to do;
// math.MaxInt64 if there is none.
func (c *Conn) Deadline() time.Duration {
	at := min(c.rtxAt, c.ackAt, c.lifeAt)
	if c.paced {
		at = min(at, c.rare.flow.at)
	}
	return at
}

// Timeout runs the timers that are due. It may be called early. The caller
// calls Output.
func (c *Conn) Timeout(now time.Duration) {
	if c.paced && now >= c.rare.flow.at {
		c.rare.flow.at = never // Output goes on
	}
	if now >= c.ackAt {
		// Nobody answered in time: not a conversation after all.
		c.pingpong = false
		c.sendAck(now)
	}
	if now >= c.rtxAt {
		c.rtxAt = never
		switch {
		case c.persist:
			c.probe(now)
		case c.tail:
			c.tailProbe(now)
		case c.reorder:
			c.reorderTimeout(now)
		default:
			c.retransmit(now)
		}
	}
	if now >= c.lifeAt {
		if c.state == StateTimeWait || c.state == StateFinWait2 && c.readClosed {
			c.end(nil)
		} else {
			c.keepAlive(now)
		}
	}
}

// armKeepAlive sets the keep-alive timer, for the states whose end is not
// timed otherwise. It is not moved when segments arrive, but looks when it is
// due how long ago the last one came.
func (c *Conn) armKeepAlive(now time.Duration) {
	switch c.state {
	case StateEstablished, StateCloseWait, StateFinWait1, StateFinWait2, StateClosing, StateLastAck:
	default:
		return // established will
	}
	if c.state == StateFinWait2 && c.readClosed {
		return
	}
	c.lifeAt = never
	if c.keepIdle != 0 {
		c.lifeAt = max(now, c.lastSeg+secs(c.keepIdle))
	}
}

// keepAlive is the keep-alive timeout.
func (c *Conn) keepAlive(now time.Duration) {
	if asked := c.lifeAt - secs(c.keepInterval); c.lastSeg > asked {
		c.keepSent = 0 // the last probe was answered
	}
	c.lifeAt = never
	idle := secs(c.keepIdle)
	switch {
	case c.keepIdle == 0:
	case now-c.lastSeg < idle || c.sndUna != c.sndNxt || c.persist:
		// Heard of, or being asked by the other timers.
		c.keepSent = 0
		c.lifeAt = max(now+time.Second, c.lastSeg+idle)
	case c.keepSent >= c.keepCount && !c.patient() || c.keepSent > 0 && c.patient() && now-c.lastSeg >= c.rare.userTimeout:
		if needsReset.has(c.state) {
			c.sendReset(now, c.acceptableSeq(), true)
		}
		c.end(c.timeoutError())
	default:
		c.keepSent++
		c.sendProbe(now)
		c.lifeAt = now + secs(c.keepInterval)
	}
}

// retransmit is the retransmission timeout (RFC 9293 §3.10.8, RFC 6298 §5.4 to
// 5.7).
func (c *Conn) retransmit(now time.Duration) {
	limit, silent := c.retries2, false
	switch {
	case c.state == StateSynSent:
		limit = c.synRetries + c.synLinear
	case c.sndUna == c.iss:
		silent, limit = c.waitsForData(c.synAckRetries)
	case c.readClosed:
		limit = min(limit, c.orphanRetries)
	}
	if c.patient() {
		limit = math.MaxUint8 - 1
	}
	if c.stuck(now, now-c.timeout()) || c.retries >= limit {
		c.end(c.timeoutError())
		return
	}
	again := c.retries > 0
	if int(c.retries) >= c.tune().Retries1 && c.sndUna != c.iss {
		c.blackHole(now)
	}
	c.retries++
	if c.state != StateSynSent || c.retries > c.synLinear { // Linux: tcp_retransmit_timer
		c.backoff = min(c.backoff+1, 16)
	}
	if silent {
		c.rtxAt = now + c.timeout()
		return
	}
	if c.sndUna == c.iss {
		c.synLost = true
		c.sentAgain(now, c.iss, 1)
		c.sendSyn(now, c.state != StateSynSent)
		return
	}
	if c.sndUna == c.sndNxt {
		return
	}
	fresh := c.ca == caOpen
	if fresh || c.undo == nil {
		c.remember()
	}
	c.cc.OnRTO(now, int(c.usedWindow()), again)
	c.cwnd = uint32(c.cc.Cwnd())
	// RFC 5682 §2.1 step 1; a second timeout may be as spurious as the first.
	if c.frto && (fresh || c.undo.frto == frtoWait) {
		c.undo.frto = frtoWait
	} else {
		c.undo.frto = frtoOff
	}
	if c.samples() {
		c.rare.flow.lost += uint64(c.flight())
	}
	c.enterLoss()
	c.timing = false
	if c.paced {
		c.setPace()
	}
	if c.sb != nil {
		c.firstAgain(now)
		return
	}
	// The first segment goes whatever the windows say.
	n := min(uint32(c.mss), c.q.len, c.sndNxt-c.sndUna)
	c.retransmitAt(now, n)
	c.rtxAt = now + c.patience(now, c.timeout())
	if c.ackNow {
		c.sendAck(now)
	}
}

// enterLoss declares everything in flight lost.
func (c *Conn) enterLoss() {
	c.ca = caLoss
	c.mended()
	c.recover = c.sndNxt
	c.rtxNxt = c.sndUna
	c.rtxCur = c.q.first()
	c.dupAcks, c.inflate = 0, 0
	if c.sack {
		c.board().loseAll(c.sndNxt)
		c.tail, c.reorder, c.probed = false, false, false
	}
}

// firstAgain sends the first segment again, whatever the windows say.
func (c *Conn) firstAgain(now time.Duration) {
	r := c.sb.runs[0]
	n := r.end - c.sndUna
	fin := c.finSent && r.end == c.sndEnd+1
	if fin {
		n--
	}
	if n > uint32(c.mss) {
		n, fin = uint32(c.mss), false
	}
	got := c.sendAgain(now, c.sndUna, n, fin)
	c.sb.resend(now, 0, got, c.sndNxt)
	c.rtxAt = now + c.patience(now, c.timeout())
	if c.ackNow {
		c.sendAck(now)
	}
}

// startPersist begins to probe a window that holds us back, unless something
// in flight will bring news of it (RFC 9293 §3.8.6.1).
func (c *Conn) startPersist(now time.Duration) {
	if c.sndNxt == c.sndUna && c.rtxAt == never {
		c.persist = true
		c.rtxAt = now + c.timeout()
	}
}

// probe is the persist timeout: what fits is sent although it is little, or
// else a probe without data. A peer that answers may keep us waiting for ever
// (RFC 1122 §4.2.2.17).
func (c *Conn) probe(now time.Duration) {
	limit := c.retries2
	if c.readClosed {
		limit = min(limit, c.orphanRetries)
	}
	if c.stuck(now, now-c.timeout()) || c.retries >= limit {
		c.end(c.timeoutError())
		return
	}
	if c.sndNxt == c.sndEnd && !c.finQueued {
		c.persist = false
		return
	}
	wnd := int32(c.sndUna + c.sndWnd - c.sndNxt)
	if n := min(c.sndEnd-c.sndNxt, uint32(max(wnd, 0)), uint32(c.mss)); n > 0 {
		c.persist = false
		n = c.sendData(now, c.sndNxt, n, &c.nxtCur, false)
		c.sndNxt += n
		c.rearm(now)
		return
	}
	c.retries++
	c.backoff = min(c.backoff+1, 16)
	c.sendProbe(now)
	c.rtxAt = now + c.patience(now, c.timeout())
}

// patient reports whether a user timeout says how long to wait.
func (c *Conn) patient() bool { return c.rare != nil && c.rare.userTimeout > 0 }
