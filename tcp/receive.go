package tcp

import (
	"bytes"
	"encoding/binary"
	"math"
	"syscall"
	"time"

	"github.com/towpath/towpath/packet"
	"github.com/towpath/towpath/tcp/cc"
	"github.com/towpath/towpath/wire"
)

// A segment is what Receive has learned about a packet. (SEG.* of RFC 9293)
type segment struct {
	seq, ack uint32
	n        uint32 // payload bytes
	flags    wire.TCPFlags
	wnd      uint16 // as it stands there
	hasTS    bool
	tsVal    uint32
	tsEcr    uint32
	sack     []wire.SACKBlock
}

// end is the sequence number behind the segment, SYN and FIN counted.
func (s *segment) end() uint32 {
	n := s.seq + s.n
	if s.flags.Has(wire.TCPSyn) {
		n++
	}
	if s.flags.Has(wire.TCPFin) {
		n++
	}
	return n
}

// Receive takes one segment, or super-segment. p.Transport and p.Data are set,
// the header is valid and linear, the checksum good. If it returns 0, p has
// been taken. Otherwise the caller still owns p and drops it for the reason
// returned; what RFCs want answered at once has been answered.
//
// The caller calls Output when it has no more segments for this connection.
func (c *Conn) Receive(now time.Duration, p *packet.Packet) packet.Reason {
	h := wire.TCP(p.From(p.Transport))
	n := uint32(p.LenFrom(p.Data))
	c.countIn(p, n)
	if c.predicted(now, h, p, n) {
		return packet.NotDropped
	}
	return c.unpredicted(now, h, p, n)
}

// countIn counts the segments that p stands for; n is its payload.
func (c *Conn) countIn(p *packet.Packet, n uint32) {
	segs := uint32(1)
	if size := uint32(p.GSO.Size); size != 0 && n > size {
		segs = (n + size - 1) / size
	}
	c.segsIn += segs
	if n > 0 {
		c.dataSegsIn += segs
	}
}

// unpredicted is the whole of Receive, by the book.
func (c *Conn) unpredicted(now time.Duration, h wire.TCP, p *packet.Packet, n uint32) packet.Reason {
	var o wire.TCPOptions
	if !o.Parse(h.Options()) {
		return packet.ReasonTCPOptions
	}
	if g := c.signature(); g != nil || o.MD5 != nil {
		if r := g.check(p, o.MD5); r != packet.NotDropped {
			return r
		}
	}
	s := segment{
		seq: h.Seq(), ack: h.Ack(), n: n, flags: h.Flags(), wnd: h.Window(),
		hasTS: o.HasTS, tsVal: o.TSVal, tsEcr: o.TSEcr,
	}
	if c.sack {
		s.sack = o.SACK[:o.NSACK]
	}
	switch c.state {
	case StateClosed, StateListen:
		return packet.ReasonTCPEnded
	case StateSynSent:
		return c.synSentIn(now, p, &s, &o)
	}
	return c.segmentIn(now, p, &s)
}

// predicted takes the segment if it is the one expected next in a quiet
// connection: more data in order, or an acknowledgment of data sent, with
// nothing out of the ordinary. It decides nothing that segmentIn would decide
// otherwise (Van Jacobson's header prediction).
func (c *Conn) predicted(now time.Duration, h wire.TCP, p *packet.Packet, n uint32) bool {
	if c.state != StateEstablished || c.ca != caOpen || c.sb != nil || c.dupAcks != 0 || c.readClosed ||
		!c.ooo.Empty() || h.Seq() != c.rcvNxt || h.Flags()&^wire.TCPPsh != wire.TCPAck {
		return false
	}
	var tsVal, tsEcr uint32
	if c.ts {
		if h.HeaderLen() != wire.TCPLen+tsLen || binary.BigEndian.Uint32(h[wire.TCPLen:]) != tsWord {
			return false
		}
		tsVal = binary.BigEndian.Uint32(h[wire.TCPLen+4:])
		tsEcr = binary.BigEndian.Uint32(h[wire.TCPLen+8:])
		if lt(tsVal, c.tsRecent) {
			return false
		}
	} else if h.HeaderLen() != wire.TCPLen {
		return false
	}
	if c.ecnEcho || p.TOS&3 == ecnCE && c.ecn || c.rare != nil && (c.rare.urgent == urgentComing || c.rare.sign != nil) {
		return false
	}
	ack := h.Ack()
	acked := ack - c.sndUna
	if acked > c.sndNxt-c.sndUna || n > c.rcvAdv-c.rcvNxt || n|acked == 0 {
		return false
	}
	if n > 0 && c.rcvMem+p.Footprint() > c.memoryMax() {
		return false
	}

	if c.ts && c.rcvNxt == c.rcvAcked {
		c.tsRecent = tsVal
	}
	c.lastSeg = now
	c.windowIn(c.rcvNxt, ack, uint32(h.Window())<<c.sndScale)
	if acked > 0 {
		c.ackIn(now, ack, tsEcr)
	}
	if n == 0 {
		c.pool.Free(p)
		return true
	}
	p.Pull(int(p.Data) - int(p.Start()))
	c.dataIn(now, p, n)
	return true
}

// Listen takes the SYN that a listener was sent: this fresh connection goes to
// SYN-RECEIVED and answers it (RFC 9293 §3.10.7.2). Data on the SYN is left to
// be sent again, as by Linux, unless [Conn.AcceptFastOpen] has said otherwise. The caller has checked
// its signature ([Signature.Check]). If the reason is not 0 the
// caller still owns p, and nothing has happened; a segment with ACK is owed a
// reset (see [Reset]).
func (c *Conn) Listen(now time.Duration, syn *packet.Packet) packet.Reason {
	h := wire.TCP(syn.From(syn.Transport))
	if f := h.Flags(); !f.Has(wire.TCPSyn) || f&(wire.TCPRst|wire.TCPAck|wire.TCPFin) != 0 {
		return packet.ReasonTCPNotSyn
	}
	var o wire.TCPOptions
	if !o.Parse(h.Options()) {
		return packet.ReasonTCPSynOptions
	}
	c.segsIn++
	c.state = StateSynReceived
	c.sndNxt = c.iss + 1
	c.ts = c.ts && (c.signature() == nil || !c.sack || !o.SACKPermitted)
	c.ecnSynIn(h.Flags())
	c.synIn(now, h.Seq(), h.Window(), &o)
	if !c.fastOpenIn(now, syn) {
		c.pool.Free(syn)
	}
	c.sendSyn(now, true)
	return packet.NotDropped
}

// synIn learns from the peer's SYN.
func (c *Conn) synIn(now time.Duration, seq uint32, wnd uint16, o *wire.TCPOptions) {
	c.irs = seq
	c.rcvNxt, c.rcvAcked, c.rcvAdv = seq+1, seq+1, seq+1+(c.rcvAdv-c.rcvNxt)
	if o.HasMSS && o.MSS != 0 {
		c.peerMSS = max(o.MSS, mssMin)
	}
	if c.ts = c.ts && o.HasTS; c.ts {
		c.tsRecent = o.TSVal
	}
	c.sack = c.sack && o.SACKPermitted
	if c.wscale = c.wscale && o.HasWScale; c.wscale {
		c.sndScale = min(o.WScale, wscaleMax)
	} else {
		c.rcvScale = 0
		c.rcvMax = min(c.rcvMax, math.MaxUint16)
		c.rcvBuf = min(c.rcvBuf, math.MaxUint16)
	}
	c.setSegmentSize()
	// The window of a SYN is never scaled (RFC 7323 §2.2).
	c.sndWnd, c.maxWnd, c.sndWl1, c.sndWl2 = uint32(wnd), uint32(wnd), seq, c.sndUna
	c.lastSeg = now
}

// established completes the handshake.
func (c *Conn) established(now time.Duration) {
	c.state = StateEstablished
	if c.finQueued {
		c.state = StateFinWait1
	}
	c.rtxAt = never
	c.backoff, c.retries = 0, 0
	c.soft = 0
	if c.synLost && c.srtt == 0 {
		c.rto = micros(rtoAfterSyn)
	}
	if c.sndUna != c.sndNxt {
		c.rearm(now) // data that was early
	}
	if c.rare == nil || !c.rare.fast.early {
		c.begin(now)
	}
	c.events |= EventEstablished
	c.armKeepAlive(now)
}

// begin makes ready for data to flow.
func (c *Conn) begin(now time.Duration) {
	if c.tune().MTUProbing == MTUProbingOn {
		c.beginSearch(now)
	}
	window := cc.InitialWindow(int(c.mss))
	if c.synLost {
		window = int(c.mss) // RFC 5681 §3.1
	}
	c.cc.Init(int(c.mss), window, cc.Unset)
	c.cwnd = uint32(c.cc.Cwnd())
	c.follow(now)
	c.nxtCur = c.q.first()
	c.snd.since, c.rcv.since = sizerTick(now), sizerTick(now)
}

// synSentIn is SYN-SENT (RFC 9293 §3.10.7.3).
func (c *Conn) synSentIn(now time.Duration, p *packet.Packet, s *segment, o *wire.TCPOptions) packet.Reason {
	// First, check the ACK bit.
	if s.flags.Has(wire.TCPAck) && s.ack-c.sndNxt > c.synDataSent() {
		if !s.flags.Has(wire.TCPRst) {
			c.sendReset(now, s.ack, false)
		}
		if c.retries == 0 {
			// The peer still had an old connection, which the reset has ended
			// (Linux: tcp_rcv_synsent_state_process).
			c.rtxAt = min(c.rtxAt, now+synAgain)
		}
		return packet.ReasonTCPSynSentAck
	}
	// An echo of what was never sent is no answer to our SYN, as by Linux.
	if s.flags.Has(wire.TCPAck) && c.ts && o.HasTS && !c.hasSent(now, o.TSEcr) {
		if !s.flags.Has(wire.TCPRst) {
			c.sendReset(now, s.ack, false)
		}
		return packet.ReasonTCPSynSentEcho
	}
	// Second, check the RST bit.
	if s.flags.Has(wire.TCPRst) {
		if !s.flags.Has(wire.TCPAck) {
			return packet.ReasonTCPSynSentReset
		}
		c.end(syscall.ECONNREFUSED)
		c.pool.Free(p)
		return packet.NotDropped
	}
	// Fourth, check the SYN bit. (Third is security.)
	if !s.flags.Has(wire.TCPSyn) {
		return packet.ReasonTCPFlags
	}
	c.ecnSynIn(s.flags)
	c.synIn(now, s.seq, s.wnd, o)
	if o.HasFastOpen && len(o.FastOpen) > 0 && c.rare != nil && c.rare.fast.ask {
		c.rare.fast.given = bytes.Clone(o.FastOpen)
	}
	if s.flags.Has(wire.TCPAck) {
		c.synAcked(now, s)
		c.ackNow = true
	} else {
		// Simultaneous open.
		c.state = StateSynReceived
		c.retries = 0
		c.sendSyn(now, true)
	}
	// Data or a FIN on the SYN is sent again by the peer, as we have not
	// acknowledged it.
	c.pool.Free(p)
	return packet.NotDropped
}

// hasSent reports whether one of our SYNs may have had the timestamp ecr. 0 is
// what one says who has none to echo.
func (c *Conn) hasSent(now time.Duration, ecr uint32) bool {
	ts := c.tsNow(now)
	return ecr == 0 || ts-ecr <= ts-c.tsNow(c.lastSeg)
}

// synAcked takes the acknowledgment of our SYN.
func (c *Conn) synAcked(now time.Duration, s *segment) {
	if c.timing && le(c.rttSeq, s.ack) {
		c.timing = false
		c.sample(now, now-c.rttAt)
	} else if s.hasTS && c.ts {
		c.sampleTS(now, s.tsEcr)
	}
	c.sndUna = c.iss + 1
	if gt(s.ack, c.sndNxt) {
		c.synDataAcked(s.ack)
	}
	c.sndWl2 = s.ack
	c.established(now)
}

// segmentIn is every other state (RFC 9293 §3.10.7.4).
func (c *Conn) segmentIn(now time.Duration, p *packet.Packet, s *segment) packet.Reason {
	if c.state == StateSynReceived && s.flags.Has(wire.TCPSyn) && s.seq == c.irs {
		if !s.flags.Has(wire.TCPAck) {
			c.repeatSynAck(now)
			return packet.ReasonTCPSynRepeated
		}
		// The other half of a simultaneous open: the SYN is known already, and
		// acknowledged again as what comes twice.
		s.flags &^= wire.TCPSyn
		s.seq++
		c.ackNow = true
	}
	if c.passive() {
		// Linux: tcp_check_req; who does not know our number ends nothing.
		if r := c.checkSynAck(now, s); r != 0 {
			return r
		}
	}
	// RFC 7323 §5.3, R1: PAWS comes first.
	if c.isOld(now, s) && !s.flags.Has(wire.TCPRst) && !c.overtaken(s) {
		c.answerPaws(now, s)
		return packet.ReasonTCPPaws
	}
	// First, check the sequence number.
	if r := c.checkSeq(now, s); r != 0 {
		return r
	}
	// R3: remember the timestamp of what extends the last acknowledgment.
	if c.ts && s.hasTS && le(s.seq, c.rcvAcked) && (le(c.tsRecent, s.tsVal) || now-c.lastSeg >= pawsIdle) {
		c.tsRecent = s.tsVal
	}
	// Second, check the RST bit; RFC 5961 §3.
	if s.flags.Has(wire.TCPRst) {
		if !c.resetsAt(s.seq) {
			c.challenge(now)
			return packet.ReasonTCPReset
		}
		c.resetIn()
		c.pool.Free(p)
		return packet.NotDropped
	}
	// Fourth, check the SYN bit; RFC 5961 §4.
	if s.flags.Has(wire.TCPSyn) {
		c.anotherSyn(now, s)
		return packet.ReasonTCPSyn
	}
	// Fifth, check the ACK field.
	if !s.flags.Has(wire.TCPAck) {
		return packet.ReasonTCPNoAck
	}
	if r := c.checkAck(now, s); r != 0 {
		return r
	}
	c.lastSeg = now
	if c.state == StateClosed { // that was the ACK of our FIN in LAST-ACK
		c.pool.Free(p)
		return packet.NotDropped
	}
	if c.ecn {
		c.ecnIn(now, p, s)
	}
	// Sixth, check the URG bit.
	if s.flags.Has(wire.TCPUrg) && canReceive.has(c.state) {
		c.urgentIn(wire.TCP(p.From(p.Transport)), p, s)
	}
	if c.rare != nil && c.rare.urgent == urgentComing {
		c.urgentData(p, s)
	}
	// Seventh, process the segment text, and eighth, the FIN bit.
	return c.textIn(now, p, s)
}

// anotherSyn answers a SYN in the window: with a challenge, but a passive open
// under way ends. RFC 9293 §3.10.7.4 lets it go back to LISTEN; Linux resets
// the peer (tcp_check_req).
func (c *Conn) anotherSyn(now time.Duration, s *segment) {
	switch {
	case !c.passive():
		c.challenge(now)
		return
	case s.flags.Has(wire.TCPAck):
		c.sendReset(now, s.ack, false)
	default:
		c.rcvNxt = s.end()
		c.sendReset(now, 0, true)
	}
	c.end(syscall.ECONNRESET)
}

// repeatSynAck answers a repeated SYN in SYN-RECEIVED.
func (c *Conn) repeatSynAck(now time.Duration) {
	if now-c.lastDup >= c.tune().InvalidRate {
		c.lastDup = now
		c.sentAgain(now, c.iss, 1)
		at := c.rtxAt
		c.sendSyn(now, true)
		c.rtxAt = at
	}
}

// checkSeq is the first step: is any of the segment in the window? If the
// window is closed, what else the segment says is still heard.
func (c *Conn) checkSeq(now time.Duration, s *segment) packet.Reason {
	end := s.end()
	acceptable := false
	switch wnd := c.rcvAdv - c.rcvNxt; {
	case s.seq == c.rcvNxt, s.flags.Has(wire.TCPRst) && c.resetsAt(s.seq):
		// Always; with a closed window the text will be cut off.
		acceptable = true
	case end == s.seq:
		acceptable = s.seq-c.rcvNxt < wnd || le(c.rcvAcked, s.seq) && le(s.seq, c.rcvNxt)
	default:
		acceptable = s.seq-c.rcvNxt < wnd || lt(s.seq, c.rcvNxt) && gt(end, c.rcvNxt)
	}
	if acceptable {
		return 0
	}
	if s.flags.Has(wire.TCPRst) {
		return packet.ReasonTCPResetWindow
	}
	if s.flags.Has(wire.TCPSyn) {
		c.challenge(now)
		return packet.ReasonTCPSynWindow
	}
	if c.state == StateTimeWait && s.flags.Has(wire.TCPFin) {
		c.lifeAt = now + timeWaitLen // RFC 9293 §3.10.7.4, eighth
	}
	c.answerOld(now, s)
	if le(end, c.rcvNxt) {
		return packet.ReasonTCPDuplicate
	}
	return packet.ReasonTCPWindow
}

// resetsAt reports whether a reset with the number seq is believed: the number
// that comes next (RFC 5961 §3.2). Linux believes two more. What a peer gets
// from us after a loss is acknowledged behind the last block, and some answer
// that with its right edge; some do not count their own FIN.
func (c *Conn) resetsAt(seq uint32) bool {
	if seq == c.rcvNxt {
		return true
	}
	if c.finRcvd {
		return seq == c.rcvNxt-1 && afterFin.has(c.state)
	}
	last := c.ooo.Last()
	if last == nil || !c.sack {
		return false
	}
	edge := endOf(last)
	if hasFin(last) {
		edge++
	}
	return seq == edge
}

// resetIn ends the connection as the peer wants it.
func (c *Conn) resetIn() {
	switch {
	case c.state == StateCloseWait:
		c.end(syscall.EPIPE)
	case c.state == StateClosing, c.state == StateLastAck, c.state == StateTimeWait:
		c.end(nil)
	default:
		c.end(syscall.ECONNRESET)
	}
}

// challenge answers a segment that an attacker might have sent with an ACK
// (RFC 5961), not more often than every half second, nor than all of the host's
// connections together may (§10).
func (c *Conn) challenge(now time.Duration) {
	if now-c.lastDup < c.tune().InvalidRate {
		return
	}
	c.lastDup = now
	if l, ok := c.out.(ChallengeLimiter); !ok || l.MayChallenge() {
		c.sendAck(now)
	}
}

// answerOld answers a segment outside the window with an ACK. Two confused
// peers could do so for ever; segments with data cannot be part of that, and
// the sender of a spurious retransmission should hear at once.
func (c *Conn) answerOld(now time.Duration, s *segment) {
	if s.n > 0 && !s.flags.Has(wire.TCPSyn) || s.flags.Has(wire.TCPFin) {
		if end := s.end(); le(end, c.rcvNxt) {
			c.reportDup(s.seq, end)
		}
		c.sendAck(now)
	} else {
		c.challenge(now)
	}
}

// checkAck is the fifth step.
func (c *Conn) checkAck(now time.Duration, s *segment) packet.Reason {
	if c.state == StateSynReceived {
		if r := c.checkSynAck(now, s); r != 0 {
			return r
		}
		if c.defers(s) {
			return packet.ReasonTCPDeferred
		}
		c.synAcked(now, s)
		c.sndWnd = uint32(s.wnd) << c.sndScale
		c.maxWnd = max(c.maxWnd, c.sndWnd)
		c.sndWl1 = s.seq
		if s.ack == c.sndUna {
			return 0
		}
	}
	// RFC 5961 §5.2.
	if gt(s.ack, c.sndNxt) {
		c.challenge(now)
		return packet.ReasonTCPAckUnsent
	}
	if lt(s.ack, c.sndUna-uint32(min(uint64(c.maxWnd), c.bytesAcked+c.synCounted()))) {
		c.challenge(now)
		return packet.ReasonTCPOldAck
	}
	if lt(s.ack, c.sndUna) {
		// A duplicate of an old one: its text may still be new, and its blocks.
		if len(s.sack) > 0 && c.sndUna != c.sndNxt {
			c.sackIn(now, s)
		}
		return 0
	}
	wnd := uint32(s.wnd) << c.sndScale
	// RFC 5681 §2: what a duplicate acknowledgment is.
	dup := s.ack == c.sndUna && c.sndUna != c.sndNxt && s.n == 0 &&
		!s.flags.Has(wire.TCPFin) && wnd == c.sndWnd
	c.windowIn(s.seq, s.ack, wnd)
	if c.ecn && s.flags.Has(wire.TCPEce) {
		c.extra().ackedMarked += (s.ack - c.sndUna + uint32(c.mss) - 1) / uint32(c.mss)
		c.ecnEchoed(now, s.ack)
	}
	switch {
	case c.sb != nil || len(s.sack) > 0:
		c.sackIn(now, s)
	case gt(s.ack, c.sndUna):
		c.ackIn(now, s.ack, s.echo())
	case dup && !c.sack:
		c.dupAckIn(now)
	}
	if c.finSent && c.sndUna == c.sndNxt {
		c.finAcked(now)
	}
	return 0
}

// checkSynAck answers a segment that acknowledges something else than our
// SYN-ACK, and what has followed it.
func (c *Conn) checkSynAck(now time.Duration, s *segment) packet.Reason {
	if !s.flags.Has(wire.TCPAck) || s.ack-(c.iss+1) <= max(c.sndNxt-(c.iss+1), c.synDataSent()) {
		return 0
	}
	if !s.flags.Has(wire.TCPRst) {
		c.sendReset(now, s.ack, false)
	}
	return packet.ReasonTCPSynAckAck
}

// passive reports whether this is a passive open under way: Linux has only a
// request then, no socket.
func (c *Conn) passive() bool { return c.state == StateSynReceived && !c.active && !c.isEarly() }

// synCounted is 1 if our SYN counts as acknowledged data. Linux makes the
// connection of a passive open when that has happened already.
func (c *Conn) synCounted() uint64 {
	if c.active {
		return 1
	}
	return 0
}

// finAcked moves on when our FIN has been acknowledged.
func (c *Conn) finAcked(now time.Duration) {
	switch c.state {
	case StateFinWait1:
		c.state = StateFinWait2
		if c.readClosed {
			c.lifeAt = now + secs(c.finWait)
		}
	case StateClosing:
		c.timeWait(now)
	case StateLastAck:
		c.end(nil)
	}
}

// timeWait enters TIME-WAIT. For the application all is over.
func (c *Conn) timeWait(now time.Duration) {
	c.state = StateTimeWait
	c.rtxAt, c.ackAt = never, never
	c.lifeAt = now + timeWaitLen
	c.events |= EventClosed
}

// windowIn takes the peer's window, unless the segment is older than the last
// that told it. Of two that differ in nothing else the one with the smaller
// window is thought the older, unless that is closed, as by Linux.
func (c *Conn) windowIn(seq, ack, wnd uint32) {
	if lt(seq, c.sndWl1) || seq == c.sndWl1 && (lt(ack, c.sndWl2) || ack == c.sndWl2 && wnd < c.sndWnd && wnd != 0) {
		return
	}
	c.sndWl1, c.sndWl2 = seq, ack
	c.sndWnd = wnd
	c.maxWnd = max(c.maxWnd, wnd)
	if c.persist {
		c.retries = 0 // the peer lives
		if wnd > 0 {
			c.persist = false
			c.rtxAt = never
			c.backoff = 0
		}
	} else if wnd == 0 {
		c.retries = 0
	}
}

// ackIn takes an acknowledgment of new data.
func (c *Conn) ackIn(now time.Duration, ack, tsEcr uint32) {
	flight := c.flight()
	rtt := c.measure(now, ack, tsEcr)
	n := ack - c.sndUna
	if c.samples() {
		c.rare.flow.arrived(c.sndUna, ack)
	}
	data, limited := c.advance(ack, flight)
	if c.probed {
		c.probeAnswered(now, ack, false)
	}
	if c.undo != nil && c.ca != caOpen {
		s := segment{ack: ack, hasTS: c.ts, tsEcr: tsEcr}
		if c.needless(&s, true) || c.holdsBack() && c.frtoIn(true, true, n) {
			c.takeBack(now)
			limited = false // by the reduced window
		}
	}
	switch c.ca {
	case caOpen:
		c.dupAcks, c.inflate = 0, 0
		if lt(c.recover, ack) {
			c.recover = ack - 1
		}
		c.cc.OnAck(cc.Ack{Now: now, Acked: int(data), InFlight: int(flight), RTT: rtt, Limited: limited})
	case caRecovery:
		if lt(ack, c.recover) {
			// RFC 6582 §3.2 step 3, partial acknowledgment.
			c.inflate -= min(c.inflate, n)
			if n >= uint32(c.mss) {
				c.inflate += uint32(c.mss)
			}
			c.retransmitFirst(now)
			break
		}
		c.ca = caOpen
		c.dupAcks, c.inflate = 0, 0
		c.recovered()
		if !c.mending() {
			c.cc.OnRecovered(now, int(c.flight()))
		}
		c.mended()
	case caLoss:
		if lt(c.rtxNxt, ack) {
			c.rtxNxt = ack
			c.rtxCur = c.q.first()
		}
		c.cc.OnAck(cc.Ack{Now: now, Acked: int(data), InFlight: int(flight), RTT: rtt, Limited: true, Lossy: true})
		if !lt(ack, c.recover) {
			c.ca = caOpen
			c.dupAcks, c.inflate = 0, 0
			c.recovered()
		}
	}
	if c.paced {
		if c.samples() {
			c.sampleIn(now, data, 0)
		}
		c.setPace()
	}
	c.cwnd = uint32(c.cc.Cwnd())

	c.rearmAcked(now)
	c.sndBuf = c.snd.passed(now, data, c.sndBuf, c.sndMax, c.minRTT)
	if c.wantRoom {
		c.roomIn()
	}
}

// advance moves SND.UNA to ack. It returns how many bytes of data that were,
// and whether it was the congestion window that held us back when the flight
// bytes in the network until now were sent (RFC 7661).
func (c *Conn) advance(ack, flight uint32) (data uint32, limited bool) {
	data = ack - c.sndUna
	if c.finSent && ack == c.sndNxt {
		data--
	}
	c.q.drop(c.pool, data)
	c.sndUna = ack
	c.bytesAcked += uint64(data)
	c.retries = 0
	c.soft = 0
	if c.rare != nil {
		c.rare.stuckAt = 0
		if c.rare.search != nil {
			c.probePassed(ack)
		}
	}
	if c.undo != nil {
		c.settleUndo(ack)
	}
	limited = le(ack, c.limited) || c.cwnd < 2*flight && c.cwnd < uint32(c.cc.Ssthresh())
	// These trail, lest they seem to lie ahead after 2 GiB.
	if lt(c.limited, ack) {
		c.limited = ack
	}
	if lt(c.sndSml, ack) {
		c.sndSml = ack
	}
	if c.ecn && lt(c.ecnEnd, ack) {
		c.ecnEnd = ack
	}
	return data, limited
}

// rearmAcked sets the timer anew after an acknowledgment of new data.
func (c *Conn) rearmAcked(now time.Duration) {
	if c.sndUna == c.sndNxt {
		c.rtxAt = never // RFC 6298 §5.2
		c.tail, c.reorder = false, false
	} else {
		c.rearm(now) // §5.3
	}
}

// roomIn wakes who found too little room to write.
func (c *Conn) roomIn() {
	if c.sndBuf-c.q.len >= c.sndBuf/3 {
		c.wantRoom = false
		c.events |= EventWritable
	}
}

// measure takes a round-trip time from an acknowledgment, if it tells one: of
// the segment being timed, or by its timestamp when that had to be sent again.
// An echo from before the retransmission measures nothing: often the segment
// had arrived, but its acknowledgment was lost, and the time since then would
// be taken for a round trip.
func (c *Conn) measure(now time.Duration, ack, tsEcr uint32) time.Duration {
	if c.timing {
		if lt(ack, c.rttSeq) {
			return 0
		}
		c.timing = false
		rtt := now - c.rttAt
		c.sample(now, rtt)
		return rtt
	}
	if c.ts && c.ca != caOpen && le(c.rtxTS, tsEcr) {
		return c.sampleTS(now, tsEcr)
	}
	return 0
}

// dupAckIn takes a duplicate acknowledgment (RFC 5681 §3.2, RFC 6582 §3.2).
func (c *Conn) dupAckIn(now time.Duration) {
	mss, degree := uint32(c.mss), min(c.degree(), math.MaxUint8-1)
	if c.dupAcks < math.MaxUint8 {
		c.dupAcks++
	}
	switch {
	case c.ca == caRecovery:
		c.inflate = min(c.inflate+mss, c.flight())
	case c.ca == caLoss:
		// Most likely the echo of what we have sent again needlessly.
		if c.holdsBack() {
			c.frtoIn(false, false, 0)
		}
	case uint32(c.dupAcks) < degree:
		c.inflate = uint32(c.dupAcks) * mss // limited transmit: RFC 3042
	case uint32(c.dupAcks) == degree && gt(c.sndUna, c.recover):
		if !c.probeLost() {
			c.mended()
			c.remember()
			c.cc.OnLoss(now, int(min(c.flight(), c.cwnd)))
			c.cwnd = uint32(c.cc.Cwnd())
		}
		c.recover = c.sndNxt
		c.ca = caRecovery
		c.inflate = degree * mss
		c.retransmitFirst(now)
		c.rtxAt = now + c.timeout()
	}
}

// textIn is the seventh step and the eighth: data and FIN.
func (c *Conn) textIn(now time.Duration, p *packet.Packet, s *segment) packet.Reason {
	if s.n == 0 && !s.flags.Has(wire.TCPFin) {
		c.pool.Free(p)
		return packet.NotDropped
	}
	if !canReceive.has(c.state) {
		// After the peer's FIN there can be nothing but repetitions. Text that
		// runs over it ends the connection, text behind it is passed over
		// (Linux: tcp_rcv_state_process).
		switch {
		case c.state == StateTimeWait:
			c.lifeAt = now + timeWaitLen
			c.sendAck(now)
		case lt(s.seq, c.rcvNxt) && gt(s.seq+s.n, c.rcvNxt):
			c.sendReset(now, s.ack, false)
			c.resetIn()
		}
		return packet.ReasonTCPAfterFin
	}
	if c.readClosed && s.n > 0 && gt(s.seq+s.n, c.rcvNxt) {
		// RFC 9293 §3.6.1: nobody will ever read this.
		c.sendReset(now, s.ack, false)
		c.end(syscall.ECONNRESET)
		return packet.ReasonTCPClosed
	}
	return c.queueIn(now, p, s)
}

// finIn takes the peer's FIN, which comes next in order.
func (c *Conn) finIn(now time.Duration) {
	c.rcvNxt++
	c.finRcvd = true
	c.ackNow = true
	c.events |= EventRemoteClosed
	c.freeOutOfOrder()
	switch c.state {
	case StateEstablished:
		c.state = StateCloseWait
	case StateFinWait1:
		c.state = StateClosing // our FIN is not acknowledged yet
	case StateFinWait2:
		c.timeWait(now)
	}
}
