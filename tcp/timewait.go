package tcp

import (
	"time"

	"github.com/towpath/towpath/packet"
	"github.com/towpath/towpath/wire"
)

// A TimeWait is what is left of a connection in TIME-WAIT: enough to answer
// the peer's last segments until none can be in the network any more.
type TimeWait struct {
	until    time.Duration
	sndNxt   uint32
	rcvNxt   uint32
	tsRecent uint32
	tsOffset uint32
	rcvWnd   uint16 // as it stood in our last segment
	ts       bool
	deaf     bool // to resets
	sign     *Signature
}

// A TimeWaitVerdict is what becomes of a segment received in TIME-WAIT.
type TimeWaitVerdict uint8

const (
	// TimeWaitDrop: the segment is to be dropped.
	TimeWaitDrop TimeWaitVerdict = iota
	// TimeWaitEnd: it is to be dropped, and TIME-WAIT is over (RST).
	TimeWaitEnd
	// TimeWaitReuse: a new SYN that cannot be old; TIME-WAIT is over, and the
	// segment goes to the listener.
	TimeWaitReuse
)

// TimeWait returns what must be remembered of c, if c is in TIME-WAIT. The
// host then needs c no longer, once Output has sent the last acknowledgment
// and the reader has taken what there is.
func (c *Conn) TimeWait() (TimeWait, bool) {
	if c.state != StateTimeWait {
		return TimeWait{}, false
	}
	return TimeWait{
		until: c.lifeAt, sndNxt: c.sndNxt, rcvNxt: c.rcvNxt,
		tsRecent: c.tsRecent, tsOffset: c.tsOffset, ts: c.ts,
		rcvWnd: uint16(min((c.rcvAdv-c.rcvNxt)>>c.rcvScale, 0xffff)),
		sign:   c.signature(),
	}, true
}

// Deadline is when TIME-WAIT is over.
func (t *TimeWait) Deadline() time.Duration { return t.until }

// IgnoreResets keeps TIME-WAIT from being ended by a reset (RFC 1337; Linux:
// tcp_rfc1337).
func (t *TimeWait) IgnoreResets() { t.deaf = true }

// ISN is an initial sequence number for the connection that replaces this one,
// beyond everything sent in it (RFC 6191 §2, RFC 9293 §3.4.3).
func (t *TimeWait) ISN() uint32 { return t.sndNxt + 65535 + 2 }

// Receive judges a segment that belongs to the old connection, as Linux does.
// The caller still owns p. If reply is not nil, it is a segment to be sent, in
// the form that [Output] describes.
func (t *TimeWait) Receive(now time.Duration, p *packet.Packet, pool *packet.Pool) (reply *packet.Packet, v TimeWaitVerdict, r packet.Reason) {
	h := wire.TCP(p.From(p.Transport))
	var o wire.TCPOptions
	if !o.Parse(h.Options()) {
		return nil, TimeWaitDrop, packet.ReasonTCPTimeWaitOptions
	}
	if r := t.sign.check(p, o.MD5); r != packet.NotDropped {
		return nil, TimeWaitDrop, r
	}
	flags := h.Flags()
	old := t.ts && o.HasTS && lt(o.TSVal, t.tsRecent)
	if flags.Has(wire.TCPRst) {
		// RFC 1337 would not listen; like Linux we do, to the exact number.
		if !old && h.Seq() == t.rcvNxt && !t.deaf {
			return nil, TimeWaitEnd, packet.ReasonTCPTimeWaitReset
		}
		if t.deaf {
			t.until = now + timeWaitLen
		}
		return nil, TimeWaitDrop, packet.ReasonTCPTimeWaitOldReset
	}
	if flags&(wire.TCPSyn|wire.TCPAck) == wire.TCPSyn && !old &&
		(gt(h.Seq(), t.rcvNxt) || t.ts && o.HasTS && lt(t.tsRecent, o.TSVal)) {
		return nil, TimeWaitReuse, 0 // RFC 6191 §2, RFC 9293 §3.10.7.4 first
	}
	if n := p.LenFrom(p.Data); n == 0 && !old && h.Seq() == t.rcvNxt && flags&(wire.TCPSyn|wire.TCPFin) == 0 {
		return nil, TimeWaitDrop, packet.ReasonTCPTimeWaitAck // a bare ACK tells and asks nothing
	}
	if old {
		r = packet.ReasonTCPTimeWaitPaws
	} else {
		r = packet.ReasonTCPTimeWait
	}
	if flags.Has(wire.TCPFin) {
		t.until = now + timeWaitLen
	}
	return t.ack(now, h, pool), TimeWaitDrop, r
}

// ack is the acknowledgment that h is answered with.
func (t *TimeWait) ack(now time.Duration, h wire.TCP, pool *packet.Pool) *packet.Packet {
	p := pool.Get()
	p.Data = p.Start()
	f := wire.TCPFields{
		SrcPort: h.DstPort(), DstPort: h.SrcPort(),
		Seq: t.sndNxt, Ack: t.rcvNxt, Flags: wire.TCPAck, Window: t.rcvWnd,
	}
	var o wire.TCPOptions
	if t.ts {
		o.HasTS, o.TSVal, o.TSEcr = true, uint32(now/time.Millisecond)+t.tsOffset, t.tsRecent
	}
	pushHeader(p, &f, &o, t.sign)
	p.Transport = p.Start()
	p.Proto = wire.ProtoTCP
	return p
}
