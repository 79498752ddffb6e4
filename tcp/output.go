package tcp

import (
	"encoding/binary"
	"math"
	"time"

	"github.com/towpath/towpath/packet"
	"github.com/towpath/towpath/wire"
)

// tsWord begins the options of almost every segment: NOP NOP kind 8 length 10.
const tsWord = 0x0101080a

// Output sends what may be sent: lost data again, then new data and the FIN
// within both windows, then an acknowledgment if one is due and nothing has
// carried it.
func (c *Conn) Output(now time.Duration) {
	if canSend.has(c.state) || c.isEarly() {
		if c.holdsBack() {
			if c.undo.frto == frtoTry {
				c.tryNew(now)
			}
		}
		if !c.holdsBack() {
			if c.sb != nil {
				c.resend(now)
			} else if c.ca == caLoss {
				c.sendLost(now)
			}
		}
		if !c.finSent && (c.sndNxt != c.sndEnd || c.finQueued) {
			c.sendNew(now)
		}
		if c.sb != nil && c.ca == caRecovery {
			c.rescue(now)
		}
	}
	if c.paced {
		c.starve()
	}
	if c.ackNow {
		c.sendAck(now)
	}
}

// flight is what we believe to be in the network, in bytes.
func (c *Conn) flight() uint32 {
	if c.sb != nil { // RFC 6675 §4, SetPipe
		return c.sndNxt - c.sndUna - c.sb.sacked - c.sb.lost
	}
	if c.ca == caLoss {
		return c.rtxNxt - c.sndUna + c.sndNxt - c.recover
	}
	return c.sndNxt - c.sndUna
}

// congestionRoom is what the congestion window leaves, in bytes.
func (c *Conn) congestionRoom() uint32 {
	if f := c.flight(); f < c.cwnd+c.inflate {
		return c.cwnd + c.inflate - f
	}
	return 0
}

// sendNew sends data for the first time, and the FIN.
func (c *Conn) sendNew(now time.Duration) {
	mss := uint32(c.mss)
	if c.holdsBack() {
		// Nothing but what F-RTO tries.
	} else if c.sb != nil {
		if c.sb.lost > 0 {
			return // NextSeg rule 1: what was lost goes first
		}
	} else if c.ca == caLoss && c.rtxNxt != c.recover {
		return
	}
	if c.sndNxt == c.sndUna && now-c.lastSend > c.timeout() && c.lastSend != 0 && !c.tune().NoIdleRestart {
		c.cc.OnIdle(now-c.lastSend, c.timeout()) // RFC 5681 §4.1
		c.cwnd = uint32(c.cc.Cwnd())
	}
	from := c.sndNxt
	if c.searching() != nil && c.sendLong(now) {
		return
	}
	for !c.finSent {
		unsent := c.sndEnd - c.sndNxt
		if unsent == 0 && !c.finQueued || c.tooSoon(now) {
			break
		}
		wnd := int32(c.sndUna + c.sndWnd - c.sndNxt)
		if wnd <= 0 {
			c.startPersist(now)
			break
		}
		n := min(unsent, uint32(wnd))
		if c.ca == caLoss {
			room := c.frtoRoom()
			if room == 0 {
				break // not even a FIN
			}
			n = min(n, room)
		}
		if n > 0 {
			if room := c.congestionRoom(); room < n {
				c.limited = c.sndNxt
				if n = room - room%mss; n == 0 {
					break // an ACK will make room
				}
			}
			n = min(n, c.packetMax())
			if c.urgentWaits() {
				n = min(n, mss) // each segment has a pointer of its own
			}
			if short := n % mss; short != 0 && !c.maySendShort(n, unsent) {
				if n -= short; n == 0 {
					c.startPersist(now)
					break
				}
			}
		}
		fin := c.finQueued && n == unsent && n < uint32(wnd)
		n = c.sendData(now, c.sndNxt, n, &c.nxtCur, fin)
		c.sentNew(now, n, fin)
	}
	if c.sndNxt != from && (c.persist || c.tail || c.rtxAt == never) {
		c.persist = false
		c.rearm(now)
	}
}

// sentNew notes that n bytes have been sent for the first time, and the FIN if
// fin is set and they are the last.
func (c *Conn) sentNew(now time.Duration, n uint32, fin bool) {
	if c.sndNxt += n; n%uint32(c.mss) != 0 {
		c.sndSml = c.sndNxt
	}
	if fin && c.sndNxt == c.sndEnd {
		c.finSent = true
		c.sndNxt++
	}
	if !c.timing && c.ca == caOpen {
		// While a hole is being filled the ACK of this would come late.
		c.timing, c.rttSeq, c.rttAt = true, c.sndNxt, now
	}
}

// maySendShort decides whether n bytes that end in less than a full segment
// may go: the sender's half of avoiding silly windows (RFC 9293 §3.8.6.2.1)
// and Nagle's algorithm (RFC 9293 §3.7.4) as Minshall refined it: only
// another short segment in flight holds one back.
func (c *Conn) maySendShort(n, unsent uint32) bool {
	if n < unsent {
		return n >= c.maxWnd/2 // cut by the peer's window
	}
	if c.corked() && !c.finQueued && !c.urgentWaits() {
		return false
	}
	return c.noDelay || c.finQueued || c.urgentIsOut() || c.sndNxt == c.sndUna || le(c.sndSml, c.sndUna)
}

// sendLost sends again what a timeout has declared lost, as the congestion
// window opens.
func (c *Conn) sendLost(now time.Duration) {
	mss := uint32(c.mss)
	for c.rtxNxt != c.recover && !c.tooSoon(now) {
		n := c.recover - c.rtxNxt
		if gt(c.recover, c.sndEnd) {
			n-- // the FIN
		}
		room := c.congestionRoom()
		if room < n {
			if n = room - room%mss; n == 0 {
				return
			}
		}
		n = min(n, c.packetMax())
		// The peer may have shrunk its window; its first segment is always
		// worth trying.
		if wnd := int32(c.sndUna + c.sndWnd - c.rtxNxt); int32(n) > wnd {
			if wnd > 0 {
				n = uint32(wnd)
			} else if c.rtxNxt == c.sndUna {
				n = min(n, mss)
			} else {
				return
			}
		}
		c.retransmitAt(now, n)
	}
}

// retransmitAt sends n bytes from rtxNxt on again, and the FIN if it follows.
func (c *Conn) retransmitAt(now time.Duration, n uint32) {
	// A FIN that was sent since is not among what was lost.
	fin := c.finSent && c.rtxNxt+n == c.sndEnd && gt(c.recover, c.sndEnd)
	got := c.sendData(now, c.rtxNxt, n, &c.rtxCur, fin)
	c.sentAgain(now, c.rtxNxt, got)
	c.rtxNxt += got
	if fin && got == n {
		c.rtxNxt++
	}
	if c.rtxAt == never {
		c.rtxAt = now + c.timeout()
	}
}

// retransmitFirst sends the first unacknowledged segment again.
func (c *Conn) retransmitFirst(now time.Duration) {
	n := min(uint32(c.mss), c.q.len)
	if sent := c.sndNxt - c.sndUna; n > sent {
		n = sent
	}
	cur := c.q.first()
	got := c.sendData(now, c.sndUna, n, &cur, c.finSent && c.sndUna+n == c.sndEnd)
	c.sentAgain(now, c.sndUna, got)
}

// sendData sends one packet of n payload bytes from the queue at cur, which it
// advances, and a FIN if fin is set. It returns how many bytes went: fewer
// than n, and no FIN, if they lie in too many pieces.
func (c *Conn) sendData(now time.Duration, seq, n uint32, cur *cursor, fin bool) uint32 {
	p := c.pool.Get()
	if n > 0 {
		if n <= inlineMax {
			c.q.copyTo(p.Append(int(n)), cur)
		} else if got := c.q.gather(p, cur, n, uint32(c.mss)); got < n {
			n, fin = got, false
		}
		c.lastSend = now
		c.countData(seq, n)
		if c.paced {
			c.flowOut(now, seq, n)
		}
		if c.sb != nil {
			c.sb.prrOut += n
		}
		if now-c.lastData < dur(c.delack) {
			c.pingpong = true // an answer: this is a conversation
		}
	}
	flags := wire.TCPAck
	if fin {
		flags |= wire.TCPFin
	}
	if n > 0 && seq+n == c.sndEnd {
		flags |= wire.TCPPsh
	}
	if n > uint32(c.mss) {
		p.GSO.Size = c.mss
	}
	if c.ecn && n > 0 && seq == c.sndNxt {
		flags = c.ecnOut(p, flags)
	}
	c.send(now, p, seq, flags)
	return n
}

// countData counts the segments of n bytes at seq, which go as one packet.
func (c *Conn) countData(seq, n uint32) {
	more := uint32(0)
	if n > uint32(c.mss) {
		more = (n - 1) / uint32(c.mss)
	}
	c.dataSegsOut += 1 + more
	c.segsOut += more
	if seq != c.sndNxt {
		c.retransOut += more
		c.extra().bytesAgain += uint64(n)
	}
}

// sendAck sends a segment without data.
func (c *Conn) sendAck(now time.Duration) {
	c.send(now, c.pool.Get(), c.acceptableSeq(), wire.TCPAck)
}

// acceptableSeq is the number of a segment without data that the peer is sure
// to accept: SND.NXT, unless the peer has taken back window to its left.
func (c *Conn) acceptableSeq() uint32 {
	edge := c.sndUna + c.sndWnd
	if over := c.sndNxt - edge; int32(over) > 0 && c.state != StateSynReceived && over>>c.sndScale > 0 {
		return edge
	}
	return c.sndNxt
}

// sendProbe sends a segment that the peer must answer though it has no room
// for data: it repeats a sequence number (RFC 9293 §3.8.6.1).
func (c *Conn) sendProbe(now time.Duration) {
	c.send(now, c.pool.Get(), c.sndUna-1, wire.TCPAck)
}

// send completes a segment of a synchronized connection, whose payload is in p,
// and hands it out. Every one acknowledges all we have.
func (c *Conn) send(now time.Duration, p *packet.Packet, seq uint32, flags wire.TCPFlags) {
	f := wire.TCPFields{
		SrcPort: c.localPort, DstPort: c.peerPort,
		Seq: seq, Ack: c.rcvNxt, Flags: flags, Window: c.offerWindow(),
	}
	if c.ecnEcho {
		f.Flags |= wire.TCPEce
	}
	var sign *Signature
	if c.rare != nil {
		if at, ok := c.urgentField(seq); ok {
			f.Urgent = at
			f.Flags |= wire.TCPUrg
		}
		sign = c.rare.sign
	}
	p.Data = p.Start()
	if c.rep != nil || sign != nil {
		c.pushOptions(now, p, &f, sign)
	} else if c.ts {
		b := p.Push(wire.TCPLen + tsLen)
		wire.PutTCP(b, &f, tsLen)
		binary.BigEndian.PutUint32(b[wire.TCPLen:], tsWord)
		binary.BigEndian.PutUint32(b[wire.TCPLen+4:], c.tsNow(now))
		binary.BigEndian.PutUint32(b[wire.TCPLen+8:], c.tsRecent)
	} else {
		wire.PutTCP(p.Push(wire.TCPLen), &f, 0)
	}
	c.rcvAcked = c.rcvNxt
	c.ackNow = false
	c.ackAt = never
	c.emit(p)
}

// sendSyn sends our SYN, with the acknowledgment of the peer's if ack is set.
func (c *Conn) sendSyn(now time.Duration, ack bool) {
	o := wire.TCPOptions{MSS: c.ourMSS, HasMSS: true, WScale: c.rcvScale, HasWScale: c.wscale, SACKPermitted: c.sack}
	f := wire.TCPFields{SrcPort: c.localPort, DstPort: c.peerPort, Seq: c.iss, Flags: wire.TCPSyn | c.ecnSyn(ack)}
	if c.ts {
		o.HasTS, o.TSVal = true, c.tsNow(now)
	}
	if ack {
		f.Flags |= wire.TCPAck
		f.Ack = c.rcvNxt
		o.TSEcr = c.tsRecent
		c.rcvAcked = c.rcvNxt
	}
	// The window of a SYN is never scaled (RFC 7323 §2.2). Data may have come
	// with the peer's.
	w := min(c.rcvBuf-min(c.rcvUsed, c.rcvBuf), math.MaxUint16)
	f.Window = uint16(w)
	c.rcvAdv = c.rcvNxt + w

	p := c.pool.Get()
	c.fastOpenOut(p, &o, ack)
	p.Data = p.Start()
	pushHeader(p, &f, &o, c.signature())
	if !c.timing && c.retries == 0 {
		c.timing, c.rttSeq, c.rttAt = true, c.iss+1, now
	}
	c.rtxAt = now + c.timeout()
	if !ack && c.retries == 0 {
		c.lastSeg = now // see hasSent
	}
	c.emit(p)
}

// sendReset sends a reset; ack adds the acknowledgment of all we have.
func (c *Conn) sendReset(now time.Duration, seq uint32, ack bool) {
	f := wire.TCPFields{SrcPort: c.localPort, DstPort: c.peerPort, Seq: seq, Flags: wire.TCPRst}
	if ack {
		f.Flags |= wire.TCPAck
		f.Ack = c.rcvNxt
		if c.state != StateSynReceived {
			f.Window = c.offerWindow()
		}
	}
	p := c.pool.Get()
	p.Data = p.Start()
	var o wire.TCPOptions
	if c.ts && c.state != StateSynSent { // RFC 7323 §3.2
		o.HasTS, o.TSVal, o.TSEcr = true, c.tsNow(now), c.tsRecent
	}
	pushHeader(p, &f, &o, c.signature())
	c.emit(p)
}

// pushHeader writes a header with the options o in front of p's payload, and
// signs the segment if sign is not nil.
func pushHeader(p *packet.Packet, f *wire.TCPFields, o *wire.TCPOptions, sign *Signature) {
	if sign != nil {
		o.MD5 = noDigest
	}
	n := o.Len()
	b := p.Push(wire.TCPLen + n)
	wire.PutTCP(b, f, n)
	o.Put(b[wire.TCPLen:])
	if sign != nil {
		sign.sign(p)
	}
}

func (c *Conn) emit(p *packet.Packet) {
	p.Transport = p.Start()
	p.Proto = wire.ProtoTCP
	c.segsOut++
	c.out.Segment(c, p)
}

// tsNow is our timestamp clock: milliseconds from a random origin (RFC 7323
// §5.4, §7.1).
func (c *Conn) tsNow(now time.Duration) uint32 {
	return uint32(now/time.Millisecond) + c.tsOffset
}

// offerWindow chooses the window field, and remembers the right edge it
// promises. The edge does not move left, and moves right only by a step worth
// it: the receiver's half of avoiding silly windows (RFC 9293 §3.8.6.2.2).
func (c *Conn) offerWindow() uint16 {
	have := c.rcvAdv - c.rcvNxt
	free := c.freeWindow()
	// Rounding up keeps the edge; but were it done without end, a window of
	// small segments would never close. Rounding down lets the edge seem to
	// move left by less than one unit, which we do not hold the peer to
	// (RFC 7323 §2.4).
	w := (have + 1<<c.rcvScale - 1) >> c.rcvScale
	if w<<c.rcvScale > free {
		w = have >> c.rcvScale
	}
	if free >= have+c.windowStep() {
		w = max(w, free>>c.rcvScale)
	}
	w = min(w, math.MaxUint16)
	if edge := c.rcvNxt + w<<c.rcvScale; gt(edge, c.rcvAdv) {
		c.rcvAdv = edge
	}
	return uint16(w)
}

// freeWindow is the window that the receive buffer has room for, and that the
// field can express.
func (c *Conn) freeWindow() uint32 {
	if c.rcvUsed >= c.rcvBuf {
		return 0
	}
	w := min(c.rcvBuf-c.rcvUsed, math.MaxUint16<<c.rcvScale)
	if c.rare != nil && c.rare.clamp != 0 {
		w = min(w, c.rare.clamp)
	}
	return w
}

// windowStep is the smallest growth of the window worth telling (RFC 1122
// §4.2.3.3).
func (c *Conn) windowStep() uint32 { return min(c.rcvBuf/2, uint32(c.ourMSS)) }
