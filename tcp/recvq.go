package tcp

import (
	"time"

	"github.com/towpath/towpath/packet"
	"github.com/towpath/towpath/wire"
)

// The receive queue keeps packets as they came, with the headers pulled off;
// payload is not copied. Two lists share a budget of memory:
//
//	rq   [pppp][ppp][pppp]                in order, ends at rcvNxt
//	ooo                     .... [pp][p]  behind holes, sorted, disjoint
//
// A packet on ooo still has its TCP header in the head, in front of the pulled
// bytes; its sequence number is kept true when bytes are trimmed.

// memoryMax bounds what the packets of the receive queue may cost. Twice the
// buffer leaves room for what packets cost beyond their payload, down to
// segments of about 800 bytes; smaller ones are packed together.
func (c *Conn) memoryMax() int { return 2*int(c.rcvBuf) + 64<<10 }

// dataIn takes n bytes of payload that come next in order, headers pulled off,
// and decides when they will be acknowledged.
func (c *Conn) dataIn(now time.Duration, p *packet.Packet, n uint32) {
	seg := n
	if p.GSO.Size != 0 {
		seg = uint32(p.GSO.Size)
	}
	if seg > c.rcvMSS {
		c.rcvMSS = min(seg, uint32(c.ourMSS))
	}
	c.enqueue(p, n)
	c.wantAck(now)
	c.lastData = now
}

// enqueue puts n bytes at the end of what can be read.
func (c *Conn) enqueue(p *packet.Packet, n uint32) {
	c.rcvNxt += n
	c.rcvUsed += n
	c.rqLen += n
	c.bytesIn += uint64(n)
	c.events |= EventReadable
	if last := c.rq.Last(); last != nil && n <= inlineMax && len(p.Frags())|len(last.Frags()) == 0 && int(n) <= len(last.Room()) {
		// A few bytes: cheaper to copy than to keep a packet for.
		copy(last.Append(int(n)), p.Head())
		c.pool.Free(p)
		return
	}
	c.rcvMem += p.Footprint()
	c.rq.Push(p)
}

// wantAck decides about acknowledging data in order (RFC 9293 §3.8.6.3, RFC
// 5681 §4.2): at once for more than a full segment, at once at the start of a
// connection unless an answer is likely, otherwise soon.
func (c *Conn) wantAck(now time.Duration) {
	if now-c.lastData > c.timeout() {
		c.quick = quickMax // the peer's slow start begins again
	}
	switch {
	case c.rcvNxt-c.rcvAcked > c.rcvMSS:
		c.ackNow = true
	case c.quick > 0 && !c.pingpong:
		c.quick--
		c.ackNow = true
	case c.ackAt == never:
		c.ackAt = now + dur(c.delack)
	}
}

// queueIn takes an acceptable segment with data or FIN: trims it to the
// window, queues it in order or behind a hole, and fills holes.
func (c *Conn) queueIn(now time.Duration, p *packet.Packet, s *segment) packet.Reason {
	fin := s.flags.Has(wire.TCPFin)
	p.Pull(int(p.Data) - int(p.Start()))
	if old := c.rcvNxt - s.seq; int32(old) > 0 {
		// Part of it is known: the peer has not heard our ACK.
		if old > s.n {
			old = s.n
		}
		p.TrimFront(int(old))
		c.reportDup(s.seq, s.seq+old)
		s.seq += old
		s.n -= old
		c.ackNow = true
	}
	if over := s.seq + s.n - c.rcvAdv; int32(over) > 0 {
		over = min(over, s.n)
		s.n -= over
		p.Truncate(int(s.n))
		fin = false
	}
	if s.n == 0 && !fin {
		c.sendAck(now) // nothing fits: a probe of our closed window
		return packet.ReasonTCPClosedWindow
	}
	if c.rcvMem+p.Footprint() > c.memoryMax() {
		c.collapse()
	}
	if s.seq != c.rcvNxt {
		c.quick = quickMax
		if c.rcvMem+p.Footprint() > c.memoryMax() {
			c.sendAck(now)
			return packet.ReasonTCPBuffer
		}
		return c.queueBehindHole(now, p, s, fin)
	}
	for c.rcvMem+p.Footprint() > c.memoryMax() && !c.ooo.Empty() {
		c.dropLastOutOfOrder()
	}
	filled, due := !c.ooo.Empty(), c.ackNow
	if s.n > 0 {
		c.dataIn(now, p, s.n)
	} else {
		c.pool.Free(p)
	}
	if fin {
		c.finIn(now)
		if !filled && !due && c.state == StateCloseWait && c.bytesIn > 0 && c.rcvNxt-c.rcvAcked <= c.rcvMSS {
			// The end of a request: the answer carries the acknowledgment
			// (Linux: tcp_fin). Not so of a peer who has said nothing.
			c.pingpong, c.ackNow = true, false
			c.ackAt = min(c.ackAt, now+dur(c.delack))
		}
		return packet.NotDropped
	}
	if filled {
		c.ackNow = true // RFC 5681 §4.2: at once if it fills a hole or part of it
		c.fillHole(now)
		c.trimReports(c.rcvAdv)
	}
	return packet.NotDropped
}

// queueBehindHole keeps a segment that came too early and says at once what is
// missing.
func (c *Conn) queueBehindHole(now time.Duration, p *packet.Packet, s *segment, fin bool) packet.Reason {
	end := s.seq + s.n
	if fin {
		end++
	}
	c.extra().outOfOrder++
	isNew := c.insert(p, s.seq, s.n, fin)
	if !isNew {
		c.reportDup(s.seq, end)
	}
	c.report(s.seq, end)
	c.sendAck(now)
	if !isNew {
		return packet.ReasonTCPKnown
	}
	return packet.NotDropped
}

// insert puts n bytes at seq among the out-of-order packets. Bytes that are
// there already win. It takes p if it reports true; false means that p had
// nothing new.
func (c *Conn) insert(p *packet.Packet, seq, n uint32, fin bool) bool {
	prev := c.before(seq)
	if prev != nil {
		if end := endOf(prev); gt(end, seq) || end == seq && n == 0 {
			known := min(end-seq, n)
			if known == n {
				if fin && end == seq+n {
					markFin(prev)
				}
				return false
			}
			p.TrimFront(int(known))
			seq += known
			n -= known
		}
	}
	for {
		next := c.ooo.First()
		if prev != nil {
			next = prev.Next()
		}
		if next == nil || le(seq+n, seqOf(next)) {
			break
		}
		if end := endOf(next); gt(end, seq+n) {
			n = seqOf(next) - seq
			p.Truncate(int(n))
			fin = false
			break
		} else if end == seq+n && hasFin(next) {
			fin = true
		}
		c.unlink(prev)
	}
	if n == 0 && !fin {
		return false
	}
	h := wire.TCP(p.From(p.Transport))
	h.SetSeq(seq)
	h.SetFlags(h.Flags() &^ wire.TCPFin)
	if fin {
		markFin(p)
	}
	c.rcvMem += p.Footprint()
	c.ooo.InsertAfter(prev, p)
	c.oooHint = p
	return true
}

// before finds the last out-of-order packet that begins at or before seq. Most
// come in sequence, so it looks at the end and at the last place first.
func (c *Conn) before(seq uint32) *packet.Packet {
	if last := c.ooo.Last(); last == nil || le(seqOf(last), seq) {
		return last
	}
	var prev *packet.Packet
	next := c.ooo.First()
	if c.oooHint != nil && le(seqOf(c.oooHint), seq) {
		prev, next = c.oooHint, c.oooHint.Next()
	}
	for next != nil && le(seqOf(next), seq) {
		prev, next = next, next.Next()
	}
	return prev
}

// unlink ends the out-of-order packet behind prev, the first if prev is nil.
func (c *Conn) unlink(prev *packet.Packet) {
	p := c.ooo.RemoveAfter(prev)
	if p == c.oooHint {
		c.oooHint = nil
	}
	c.rcvMem -= p.Footprint()
	c.pool.Free(p)
}

// fillHole moves what has become in order from ooo to rq.
func (c *Conn) fillHole(now time.Duration) {
	first := c.rcvNxt
	for {
		p := c.ooo.First()
		if p == nil || gt(seqOf(p), c.rcvNxt) {
			return
		}
		n, fin := uint32(p.Len()), hasFin(p)
		old := c.rcvNxt - seqOf(p)
		if lt(seqOf(p), first) { // it has come again with what filled the hole
			c.widenDup(seqOf(p), seqOf(p)+min(n, first-seqOf(p)))
		}
		if old > n || old == n && !fin {
			c.unlink(nil)
			continue
		}
		c.ooo.Pop()
		if p == c.oooHint {
			c.oooHint = nil
		}
		c.rcvMem -= p.Footprint()
		p.TrimFront(int(old))
		if n -= old; n > 0 {
			c.enqueue(p, n)
		} else {
			c.pool.Free(p)
		}
		if fin {
			c.finIn(now)
			return
		}
	}
}

// collapse packs small packets together, when they cost much more memory than
// their payload (Linux: tcp_collapse).
func (c *Conn) collapse() {
	if c.packed = min(c.packed, uint32(c.rcvMem)); c.rcvMem < int(c.packed)+8<<10 {
		return // it has been done, and little has come since
	}
	c.rcvMem = c.pack(&c.rq, false) + c.pack(&c.ooo, true)
	c.packed = uint32(c.rcvMem)
	c.oooHint = nil
}

// pack copies runs of small payloads into chunks, each held by the run's first
// packet, and returns what the list costs then. In a list with holes a run
// ends at a hole.
func (c *Conn) pack(l *packet.List, holes bool) int {
	cost := 0
	var out packet.List
	for p := l.Pop(); p != nil; p = l.Pop() {
		total := p.Len()
		run := packet.List{}
		for q := l.First(); q != nil && total+q.Len() <= packet.LargeChunk; q = l.First() {
			if q.Len() > packet.SmallChunk/2 || p.Len() > packet.SmallChunk/2 ||
				holes && (hasFin(p) || endOf(p)+uint32(total-p.Len()) != seqOf(q)) {
				break
			}
			total += q.Len()
			run.Push(l.Pop())
			if holes && hasFin(q) {
				break
			}
		}
		if !run.Empty() {
			c.packRun(p, &run, total, holes)
		}
		cost += p.Footprint()
		out.Push(p)
	}
	*l = out
	return cost
}

// packRun moves the payload of p and of the run behind it into one chunk,
// which p refers to then.
func (c *Conn) packRun(p *packet.Packet, run *packet.List, total int, holes bool) {
	chunk := c.pool.Chunk(total)
	at := p.CopyTo(chunk.Bytes(), 0)
	for q := run.Pop(); q != nil; q = run.Pop() {
		at += q.CopyTo(chunk.Bytes()[at:], 0)
		if holes && hasFin(q) {
			markFin(p)
		}
		c.pool.Free(q)
	}
	p.Truncate(0)
	p.AppendOwned(chunk, 0, at)
}

// dropLastOutOfOrder gives up the packet farthest ahead; the peer will send it
// again (RFC 9293 does not promise to keep what is not acknowledged).
func (c *Conn) dropLastOutOfOrder() {
	var prev *packet.Packet
	for p := c.ooo.First(); p.Next() != nil; p = p.Next() {
		prev = p
	}
	c.trimReports(seqOf(c.ooo.Last()))
	c.unlink(prev)
	c.pruned++
}

// Pruned is how many packets that had been taken were given up for want of
// memory since it was last asked: the host counts them as dropped.
func (c *Conn) Pruned() int {
	n := c.pruned
	c.pruned = 0
	return int(n)
}

func (c *Conn) freeOutOfOrder() {
	for !c.ooo.Empty() {
		c.unlink(nil)
	}
	c.trimReports(c.rcvNxt)
}

func (c *Conn) freeReceived() {
	for p := c.rq.Pop(); p != nil; p = c.rq.Pop() {
		c.rcvMem -= p.Footprint()
		c.pool.Free(p)
	}
	c.rqLen = 0
}

// Of packets on ooo:

func seqOf(p *packet.Packet) uint32 { return wire.TCP(p.From(p.Transport)).Seq() }
func endOf(p *packet.Packet) uint32 { return seqOf(p) + uint32(p.Len()) }
func hasFin(p *packet.Packet) bool  { return wire.TCP(p.From(p.Transport)).Flags().Has(wire.TCPFin) }
func markFin(p *packet.Packet) {
	h := wire.TCP(p.From(p.Transport))
	h.SetFlags(h.Flags() | wire.TCPFin)
}

// ---- the reader

// Readable is the number of bytes in order that have not been taken.
func (c *Conn) Readable() int { return int(c.rqLen) }

// Take moves packets with payload in order to l, whole ones, until they have
// at least limit bytes or none is left, and returns how many bytes they have.
// The reader reads them outside the lock and then calls Accept.
func (c *Conn) Take(l *packet.List, limit int) int {
	n := 0
	for n < limit {
		p := c.rq.Pop()
		if p == nil {
			break
		}
		c.rcvMem -= p.Footprint()
		n += p.Len()
		l.Push(p)
	}
	c.rqLen -= uint32(n)
	return n
}

// Accept says that n bytes taken have been consumed. It opens the window, and
// notes a window update for Output when it is worth a segment: when it at
// least doubles what the peer still has.
func (c *Conn) Accept(now time.Duration, n int) {
	c.rcvUsed -= min(uint32(n), c.rcvUsed)
	c.rcvBuf = c.rcv.passed(now, uint32(n), c.rcvBuf, c.rcvMax, c.minRTT)
	if !canReceive.has(c.state) {
		return
	}
	have := c.rcvAdv - c.rcvNxt
	if free := c.freeWindow(); free >= have+c.windowStep() && free >= 2*have {
		c.ackNow = true
	}
}

// EOF reports whether the peer's FIN has arrived and everything before it has
// been taken.
func (c *Conn) EOF() bool { return c.finRcvd && c.rq.Empty() }

// Peek copies bytes that have not been taken, from the one with the index off
// on, to b and returns how many. They stay where they are.
func (c *Conn) Peek(b []byte, off int) int {
	n := 0
	for p := c.rq.First(); p != nil && n < len(b); p = p.Next() {
		if size := p.Len(); off < size {
			n += p.CopyTo(b[n:], off)
			off = 0
		} else {
			off -= size
		}
	}
	return n
}
