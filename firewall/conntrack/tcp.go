package conntrack

import (
	"github.com/towpath/towpath/packet"
	"github.com/towpath/towpath/wire"
)

// tcpConn is what is known of a TCP connection.
type tcpConn struct {
	ends  [2]tcpEnd
	state TCPState

	// Of the last packet that was understood, or let through without.
	lastDir   direction
	lastKind  tcpKind
	lastScale uint8 // of a SYN that was let through
	lastFlags tcpFlags
	retrans   uint8 // repetitions of the last acknowledgment
	lastWin   uint16
	lastSeq   uint32
	lastAck   uint32
	lastEnd   uint32
}

// tcpEnd is what is known of one sender. Its names are those of "Real Stateful
// TCP Packet Filtering in IP Filter" (van Rooij), as netfilter has them.
type tcpEnd struct {
	end    uint32 // the highest sequence number that it has sent, and one
	maxEnd uint32 // the highest that its peer's window allows
	maxWin uint32 // the largest window that it has offered
	maxAck uint32 // the highest acknowledgment that it has sent
	scale  uint8
	flags  tcpFlags
}

// tcpFlags are netfilter's IP_CT_TCP_FLAG bits.
type tcpFlags uint8

const (
	tcpWindowScale   tcpFlags = 1 << iota // it has offered to scale
	tcpSACKPermitted                      //
	tcpCloseInit                          // it closes first
	tcpLiberal                            // nothing is known of its scale
	tcpUnacked                            // it has sent what is not acknowledged
	tcpMaxAckSet                          // maxAck is valid
	tcpChallenge                          // a challenge ACK (RFC 5961) may answer the SYN let through
	tcpSimultaneous                       // both have sent a SYN
)

// A tcpKind is what a segment is by its flags.
type tcpKind uint8

const (
	tcpSyn tcpKind = iota
	tcpSynAck
	tcpFin
	tcpAck
	tcpRst
	tcpNone
	tcpKindCount
)

func kindOf(f wire.TCPFlags) tcpKind {
	switch {
	case f.Has(wire.TCPRst):
		return tcpRst
	case f.Has(wire.TCPSyn | wire.TCPAck):
		return tcpSynAck
	case f.Has(wire.TCPSyn):
		return tcpSyn
	case f.Has(wire.TCPFin):
		return tcpFin
	case f.Has(wire.TCPAck):
		return tcpAck
	}
	return tcpNone
}

// States that are none: a segment that cannot be, and one that can but may not
// be about this connection.
const (
	tcpInvalid TCPState = tcpStateCount + iota
	tcpIgnore
)

const (
	sNO = TCPNone
	sSS = TCPSynSent
	sSR = TCPSynRecv
	sES = TCPEstablished
	sFW = TCPFinWait
	sCW = TCPCloseWait
	sLA = TCPLastAck
	sTW = TCPTimeWait
	sCL = TCPClose
	sS2 = TCPSynSent2
	sIV = tcpInvalid
	sIG = tcpIgnore
)

// tcpNext is the state after a segment, by direction, kind and the state
// before. It is netfilter's table: its users know it, and tests compare it.
var tcpNext = [2][tcpKindCount][tcpStateCount]TCPState{
	original: {
		//         sNO  sSS  sSR  sES  sFW  sCW  sLA  sTW  sCL  sS2
		tcpSyn:    {sSS, sSS, sIG, sIG, sIG, sIG, sIG, sSS, sSS, sS2},
		tcpSynAck: {sIV, sIV, sSR, sIV, sIV, sIV, sIV, sIV, sIV, sSR},
		tcpFin:    {sIV, sIV, sFW, sFW, sLA, sLA, sLA, sTW, sCL, sIV},
		tcpAck:    {sES, sIV, sES, sES, sCW, sCW, sTW, sTW, sCL, sIV},
		tcpRst:    {sIV, sCL, sCL, sCL, sCL, sCL, sCL, sCL, sCL, sCL},
		tcpNone:   {sIV, sIV, sIV, sIV, sIV, sIV, sIV, sIV, sIV, sIV},
	},
	reply: {
		tcpSyn:    {sIV, sS2, sIV, sIV, sIV, sIV, sIV, sSS, sIV, sS2},
		tcpSynAck: {sIV, sSR, sIG, sIG, sIG, sIG, sIG, sIG, sIG, sSR},
		tcpFin:    {sIV, sIV, sFW, sFW, sLA, sLA, sLA, sTW, sCL, sIV},
		tcpAck:    {sIV, sIG, sSR, sES, sCW, sCW, sTW, sTW, sCL, sIG},
		tcpRst:    {sIV, sCL, sCL, sCL, sCL, sCL, sCL, sCL, sCL, sCL},
		tcpNone:   {sIV, sIV, sIV, sIV, sIV, sIV, sIV, sIV, sIV, sIV},
	},
}

// tcpFlagsOK reports whether a segment's flags can stand together. PSH and the
// bits of ECN stand with all.
func tcpFlagsOK(f wire.TCPFlags) bool {
	switch f & (wire.TCPFin | wire.TCPSyn | wire.TCPRst | wire.TCPAck | wire.TCPUrg) {
	case wire.TCPSyn, wire.TCPSyn | wire.TCPUrg, wire.TCPSyn | wire.TCPAck,
		wire.TCPRst, wire.TCPRst | wire.TCPAck,
		wire.TCPFin | wire.TCPAck, wire.TCPFin | wire.TCPAck | wire.TCPUrg,
		wire.TCPAck, wire.TCPAck | wire.TCPUrg:
		return true
	}
	return false
}

// after reports whether sequence number a lies behind b.
func after(a, b uint32) bool { return int32(a-b) > 0 }

// A segment is what a packet says of its connection.
type segment struct {
	kind             tcpKind
	flags            wire.TCPFlags
	seq, ack, end    uint32
	win              uint16
	options          []byte
	reset, syn, acks bool
}

func segmentOf(p *packet.Packet) (s segment) {
	h := wire.TCP(p.From(p.Transport))
	s.flags = h.Flags()
	s.kind = kindOf(s.flags)
	s.reset, s.syn, s.acks = s.flags.Has(wire.TCPRst), s.flags.Has(wire.TCPSyn), s.flags.Has(wire.TCPAck)
	s.seq, s.ack, s.win = h.Seq(), h.Ack(), h.Window()
	s.end = s.seq + uint32(p.LenFrom(p.Transport)-h.HeaderLen())
	if s.syn {
		s.end++
	}
	if s.flags.Has(wire.TCPFin) {
		s.end++
	}
	s.options = h.Options()
	return s
}

// tcpMayBegin reports whether a segment can be the first that is seen of a
// connection.
func (t *Table) tcpMayBegin(p *packet.Packet) bool {
	f := wire.TCP(p.From(p.Transport)).Flags()
	if !tcpFlagsOK(f) {
		return false
	}
	switch tcpNext[original][kindOf(f)][TCPNone] {
	case TCPSynSent:
		return true
	case tcpInvalid:
		return false
	}
	return !t.set.TCPStrict
}

// tcpBegin takes down what the first segment tells of its sender.
func (t *Table) tcpBegin(e *Entry, p *packet.Packet) {
	s := segmentOf(p)
	c := &e.tcp
	c.lastKind = tcpNone
	o := &c.ends[original]
	o.end, o.maxEnd, o.maxWin = s.end, s.end, max(uint32(s.win), 1)
	if s.syn {
		o.readOptions(s.options)
		return
	}
	// Picked up in its middle: of scaling nothing is known.
	o.maxEnd += o.maxWin
	o.flags = tcpSACKPermitted | tcpLiberal
	c.ends[reply].flags = tcpSACKPermitted | tcpLiberal
}

// readOptions reads those of a SYN.
func (x *tcpEnd) readOptions(b []byte) {
	if len(b) == 0 {
		return
	}
	x.scale = 0
	x.flags &= tcpLiberal
	for len(b) > 0 {
		kind, body, rest, ok := nextOption(b)
		switch {
		case !ok:
			return
		case kind == optSACKPermitted && len(body) == 0:
			x.flags |= tcpSACKPermitted
		case kind == optWindowScale && len(body) == 1:
			x.scale = min(body[0], 14)
			x.flags |= tcpWindowScale
		}
		b = rest
	}
}

// Kinds of TCP options.
const (
	optEnd           = 0
	optNop           = 1
	optWindowScale   = 3
	optSACKPermitted = 4
	optSACK          = 5
)

// nextOption splits the first option off. ok is false behind the last.
func nextOption(b []byte) (kind uint8, body, rest []byte, ok bool) {
	switch {
	case b[0] == optEnd:
		return 0, nil, nil, false
	case b[0] == optNop:
		return optNop, nil, b[1:], true
	case len(b) < 2 || b[1] < 2 || int(b[1]) > len(b):
		return 0, nil, nil, false
	}
	return b[0], b[2:b[1]], b[b[1]:], true
}

// highestSACK is the highest right edge of the blocks in a segment's options,
// or ack.
func highestSACK(b []byte, ack uint32) uint32 {
	for len(b) > 0 {
		kind, body, rest, ok := nextOption(b)
		if !ok {
			break
		}
		if kind == optSACK && len(body) > 0 && len(body)%8 == 0 {
			for ; len(body) > 0; body = body[8:] {
				right := uint32(body[4])<<24 | uint32(body[5])<<16 | uint32(body[6])<<8 | uint32(body[7])
				if after(right, ack) {
					ack = right
				}
			}
			break
		}
		b = rest
	}
	return ack
}

// tcpPacket is netfilter's nf_conntrack_tcp_packet: the state machine and, by
// inWindow, the check whether the segment can be of this connection at all.
func (t *Table) tcpPacket(e *Entry, dir direction, p *packet.Packet, now instant) outcome {
	s := segmentOf(p)
	if !tcpFlagsOK(s.flags) {
		return invalid
	}
	c := &e.tcp
	old := c.state
	next := tcpNext[dir][s.kind][old]
	check := true
	switch next {
	case TCPSynSent:
		if old < TCPTimeWait {
			break
		}
		// A connection that has ended begins anew (RFC 1122 §4.2.2.13).
		if (c.ends[0].flags|c.ends[1].flags)&tcpCloseInit != 0 || c.lastDir == dir && c.lastKind == tcpRst {
			t.remove(e)
			return again
		}
		if !c.ignore(&s, dir, old) {
			return accept
		}
		old, next = TCPSynSent, TCPSynRecv
	case tcpIgnore:
		if !c.ignore(&s, dir, old) {
			return accept
		}
		old, next = TCPSynSent, TCPSynRecv
	case tcpInvalid:
		return invalid
	case TCPTimeWait:
		if old == TCPLastAck && s.kind == tcpAck && c.lastDir != dir && c.lastKind == tcpSyn && c.lastFlags&tcpChallenge != 0 {
			c.lastFlags &^= tcpChallenge
			return accept
		}
	case TCPSynSent2:
		c.lastFlags |= tcpSimultaneous
	case TCPSynRecv:
		if dir == reply && s.kind == tcpAck && c.lastFlags&tcpSimultaneous != 0 {
			next = TCPEstablished
		}
	case TCPClose:
		if s.kind == tcpRst {
			var ok bool
			if next, check, ok = t.tcpReset(e, &s, dir, old); !ok {
				return invalid
			}
		}
	}
	if check {
		switch c.inWindow(&s, dir, e, t.set.TCPBeLiberal) {
		case tcpOutside:
			t.tcpOutside(e, dir, s.kind, now)
			return invalid
		case tcpUnsure:
			return accept
		}
	}
	c.lastKind, c.lastDir, c.state = s.kind, dir, next
	if old != next && next == TCPFinWait {
		c.ends[dir].flags |= tcpCloseInit
	}
	t.tcpAccepted(e, dir, &s, p, old, now)
	return accept
}

// ignore takes down a segment that may be of a connection which this one, out
// of sync, stands in the way of. It reports true if it is the SYN-ACK to such a
// SYN: then the two are in sync, and we are again.
func (c *tcpConn) ignore(s *segment, dir direction, old TCPState) (synced bool) {
	if s.kind == tcpSynAck && c.lastKind == tcpSyn && c.lastDir != dir && s.ack == c.lastEnd {
		c.lastFlags &^= tcpChallenge
		x := &c.ends[c.lastDir]
		x.end, x.maxEnd, x.maxWin = c.lastEnd, c.lastEnd, max(uint32(c.lastWin), 1)
		x.scale, x.flags = c.lastScale, c.lastFlags
		c.ends[dir] = tcpEnd{flags: c.ends[dir].flags & tcpLiberal}
		return true
	}
	c.lastKind, c.lastDir = s.kind, dir
	c.lastSeq, c.lastEnd, c.lastWin = s.seq, s.end, s.win
	if s.kind == tcpSyn && dir == original {
		var seen tcpEnd
		seen.readOptions(s.options)
		c.lastScale, c.lastFlags = seen.scale, seen.flags&(tcpWindowScale|tcpSACKPermitted)
		if old == TCPLastAck {
			c.lastFlags |= tcpChallenge
		}
	}
	if old == TCPSynSent && s.kind == tcpAck && dir == reply {
		c.lastAck = s.ack
	}
	return false
}

// tcpReset looks at a reset: the state after it, whether its window is to be
// checked, and whether it is one at all.
func (t *Table) tcpReset(e *Entry, s *segment, dir direction, old TCPState) (next TCPState, check, ok bool) {
	c := &e.tcp
	if old.closing() {
		return TCPClose, false, true // its numbers may be a successor's
	}
	next = TCPClose
	if peer := &c.ends[dir^1]; peer.flags&tcpMaxAckSet != 0 && c.lastKind != tcpSyn {
		established := old == TCPEstablished && e.status&Assured != 0
		switch {
		case s.seq == 0 && !established:
			return next, true, true
		case after(peer.maxAck, s.seq) && !t.set.TCPIgnoreInvalidRST:
			return next, false, false
		case !established || s.seq == peer.maxAck:
			return next, true, true
		case c.lastKind == tcpAck && c.lastDir == dir && s.seq == c.lastEnd:
			return next, true, true
		}
		next = old // a challenge ACK may answer it (RFC 5961)
	}
	if (e.status&SeenReply != 0 && c.lastKind == tcpSyn || e.status&Assured == 0 && c.lastKind == tcpAck) && s.ack == c.lastEnd {
		return next, false, true // it answers what was let through
	}
	if old == TCPSynSent && c.lastKind == tcpAck && c.lastDir == reply && s.seq == c.lastAck {
		return next, false, true // it answers a challenge ACK
	}
	return next, true, true
}

// closing reports whether a connection in the state is coming to its end.
func (s TCPState) closing() bool { return s >= TCPFinWait && s <= TCPClose }

// tcpAccepted sets the deadline after a segment that fits.
func (t *Table) tcpAccepted(e *Entry, dir direction, s *segment, p *packet.Packet, old TCPState, now instant) {
	c := &e.tcp
	timeout := t.set.TCP[c.state]
	switch {
	case int(c.retrans) >= t.set.TCPRetransMax && timeout > t.set.TCPRetrans:
		timeout = t.set.TCPRetrans
	case s.kind == tcpRst:
		timeout = t.set.TCP[TCPClose]
	case (c.ends[0].flags|c.ends[1].flags)&tcpUnacked != 0 && timeout > t.set.TCPUnacked:
		timeout = t.set.TCPUnacked
	case c.lastWin == 0 && timeout > t.set.TCPRetrans:
		timeout = t.set.TCPRetrans
	}
	changed := c.state != old
	if e.status&SeenReply == 0 {
		switch {
		case s.reset:
			t.count(e, dir, p)
			t.remove(e) // the only answer is a refusal
			return
		case s.kind == tcpSyn && old == TCPSynSent:
			// Whoever repeats a SYN for ever does not keep its flow alive.
			return
		case c.state == TCPEstablished && timeout > t.set.TCPUnacked:
			timeout = t.set.TCPUnacked
		}
	} else if e.status&Assured == 0 && (old == TCPSynRecv || old == TCPEstablished) && c.state == TCPEstablished {
		t.assure(e)
		changed = true
	}
	if changed && c.state >= TCPTimeWait && e.status&(Confirmed|Dying) == Confirmed && !e.inLine {
		t.evictor.add(e) // it is over
	}
	t.refresh(e, dir, p, now, timeout)
	if changed && e.status&Confirmed != 0 {
		t.report(EventUpdate, e)
	}
}

// tcpOutside shortens the life of a connection of which both ends send the last
// segments, but outside the window: it is over for them.
func (t *Table) tcpOutside(e *Entry, dir direction, kind tcpKind, now instant) {
	c := &e.tcp
	if e.status&Assured == 0 || e.status&FixedTimeout != 0 || kind != tcpRst && kind != tcpFin {
		return
	}
	if c.lastDir != dir && (c.lastKind == tcpFin || c.lastKind == tcpRst) {
		if left := e.expires - now; left >= 120e9 && left > t.set.TCPUnacked {
			t.extend(e, now+t.set.TCPUnacked)
		}
		return
	}
	c.lastKind, c.lastDir = kind, dir
}

// A tcpFit says whether a segment fits the windows.
type tcpFit uint8

const (
	tcpInside  tcpFit = iota
	tcpUnsure         // let through without believing it
	tcpOutside        // it cannot be of this connection
)

// ackWindowMin is how far behind an acknowledgment may be at least (netfilter:
// MAXACKWINCONST).
const ackWindowMin = 66000

// inWindow checks a segment against the windows that both ends have offered,
// and takes down what it says of them. With end, maxEnd and maxWin:
//
//	I    seq    ≤ sender.maxEnd                       not beyond what is allowed
//	II   end    ≥ sender.end - receiver.maxWin        not acknowledged long ago
//	III  ack    ≤ receiver.end                        of what has been sent
//	IV   ack    ≥ receiver.end - ackWindow            not older than can be
func (c *tcpConn) inWindow(s *segment, dir direction, e *Entry, liberal bool) tcpFit {
	from, to := &c.ends[dir], &c.ends[dir^1]
	seq, ack, end, win := s.seq, s.ack, s.end, uint32(s.win)
	sack := ack
	if to.flags&tcpSACKPermitted != 0 && len(s.options) > 0 {
		sack = highestSACK(s.options, ack)
	}
	if e.status&SeqAdjust != 0 {
		off := e.ext.adjust[dir^1].offset(ack - 1)
		ack -= off
		sack -= off
	}
	if from.maxWin == 0 {
		if s.syn {
			c.begin(s, dir)
			if !s.acks {
				return tcpInside // both have sent a SYN
			}
		} else {
			// The history is lost: what the segment says must do.
			from.end = end
			from.maxWin = max(win<<from.scale, 1)
			from.maxEnd = end + from.maxWin
			if to.maxWin == 0 {
				to.end, to.maxEnd = sack, sack
			} else if sack == to.end+1 {
				to.end++ // it answers a keepalive
			}
		}
	} else if s.syn && after(end, from.end) && (c.state == TCPSynSent || c.state == TCPSynRecv) {
		// A connection that is begun anew need not wait (RFC 9293 §3.4.3).
		c.begin(s, dir)
		if dir == reply && !s.acks {
			return tcpInside
		}
	}
	if !s.acks || s.reset && ack == 0 {
		ack, sack = to.end, to.end
	}
	if s.reset && seq == 0 && c.state == TCPSynSent {
		seq, end = from.end, from.end // it answers a SYN
	}
	liberal = liberal || from.flags&tcpLiberal != 0
	ackWindow := max(from.maxWin, ackWindowMin)
	switch {
	case after(seq, from.maxEnd):
		overshot := end - from.maxEnd + 1
		if to.maxWin != 0 && after(end, from.end-to.maxWin-1) && after(sack, to.end-ackWindow-1) &&
			overshot <= to.maxWin && !after(sack, to.end) {
			// Somebody sends more than he may. His peer may take it, so the
			// acknowledgment must fit.
			from.end = end
			from.flags |= tcpUnacked
			if liberal {
				return tcpInside
			}
			return tcpUnsure
		}
		return outside(liberal)
	case after(sack, to.end):
		return outside(liberal)
	case to.maxWin != 0 && !after(end, from.end-to.maxWin-1), !after(sack, to.end-ackWindow-1):
		if liberal {
			return tcpInside
		}
		return tcpUnsure
	}
	c.note(s, dir, seq, ack, sack, end)
	return tcpInside
}

// outside is what a segment outside the windows is for whoever is liberal.
func outside(liberal bool) tcpFit {
	if liberal {
		return tcpInside
	}
	return tcpOutside
}

// begin takes down what a SYN says of its sender.
func (c *tcpConn) begin(s *segment, dir direction) {
	from, to := &c.ends[dir], &c.ends[dir^1]
	from.end, from.maxEnd, from.maxWin = s.end, s.end, max(uint32(s.win), 1)
	from.readOptions(s.options)
	if dir == reply && from.flags&to.flags&tcpWindowScale == 0 {
		from.scale, to.scale = 0, 0 // both must offer it (RFC 7323 §2.2)
	}
}

// note takes down what a segment says that fits.
func (c *tcpConn) note(s *segment, dir direction, seq, ack, sack, end uint32) {
	from, to := &c.ends[dir], &c.ends[dir^1]
	win := uint32(s.win)
	if !s.syn {
		win <<= from.scale
	}
	from.maxWin = max(from.maxWin, win+(sack-ack))
	if after(end, from.end) {
		from.end = end
		from.flags |= tcpUnacked
	}
	if s.acks && (from.flags&tcpMaxAckSet == 0 || after(ack, from.maxAck)) {
		from.maxAck = ack
		from.flags |= tcpMaxAckSet
	}
	if to.maxWin != 0 && after(end, from.maxEnd) {
		to.maxWin += end - from.maxEnd
	}
	if after(sack+win, to.maxEnd-1) {
		to.maxEnd = sack + max(win, 1)
	}
	if ack == to.end {
		to.flags &^= tcpUnacked
	}
	if s.kind != tcpAck {
		return
	}
	if c.lastDir == dir && c.lastSeq == seq && c.lastAck == ack && c.lastEnd == end && c.lastWin == s.win {
		c.retrans += min(1, ^c.retrans)
		return
	}
	c.lastDir, c.lastSeq, c.lastAck, c.lastEnd, c.lastWin, c.retrans = dir, seq, ack, end, s.win, 0
}
