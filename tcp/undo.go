package tcp

import (
	"math"
	"sync"
	"time"

	"github.com/towpath/towpath/tcp/cc"
)

// Segments are sometimes thought lost that were only late, or out of order. An
// undo is what is needed to find that out and to take the reduction of the
// window back. Three things prove it:
//
//   - the acknowledgment that ends the hole echoes a timestamp from before
//     anything was sent again (Eifel: RFC 3522, with the response of Linux
//     rather than RFC 4015),
//   - D-SACKs say that everything that was sent again came twice, as Linux
//     counts it,
//   - after a timeout, data that was not sent again is acknowledged behind
//     what was (F-RTO, RFC 5682).
//
// A connection has one from its reduction until a round trip after recovery,
// when the last D-SACK has come.
type undo struct {
	saved       cc.Saved // the controller before the reduction
	frto        frto
	resent      bool   // something was sent again
	ts          uint32 // our timestamp clock when that was
	again       uint32 // bytes sent again that no D-SACK has told of
	left, right uint32 // what was sent again lies between
	until       uint32 // recovered: kept until more than this is acknowledged
	nxt         uint32 // F-RTO: SND.NXT when something new was tried
}

// frto is the progress of F-RTO, by the steps of RFC 5682 §2.1 and §3.1.
type frto uint8

const (
	frtoOff  frto = iota // conventional recovery
	frtoWait             // step 2: the first segment was sent again
	frtoTry              // step 2b: new data is to be sent now,
	frtoNew              // step 3: and has been
)

var undoPool = sync.Pool{New: func() any { return new(undo) }}

// remember keeps the controller's state, which is about to be reduced.
func (c *Conn) remember() {
	if c.undo == nil {
		c.undo = undoPool.Get().(*undo)
	}
	*c.undo = undo{saved: c.cc.Save()}
}

func (c *Conn) forget() {
	if c.undo != nil {
		undoPool.Put(c.undo)
		c.undo = nil
	}
}

// sentAgain notes a retransmission of n bytes at seq: the round trip being
// timed is spoilt. (Karn; RFC 6298 §3)
func (c *Conn) sentAgain(now time.Duration, seq, n uint32) {
	c.retransOut++
	c.timing = false
	c.inconclusive()
	c.rtxTS = c.tsNow(now)
	if u := c.undo; u != nil && c.ca != caOpen {
		if !u.resent {
			u.resent, u.ts, u.left, u.right = true, c.rtxTS, seq, seq
		}
		if lt(seq, u.left) {
			u.left = seq
		}
		if gt(seq+n, u.right) {
			u.right = seq + n
		}
		u.again += n
	}
}

// cameTwice takes a D-SACK.
func (u *undo) cameTwice(left, right uint32) {
	if lt(left, u.left) {
		left = u.left
	}
	if gt(right, u.right) {
		right = u.right
	}
	if u.resent && lt(left, right) {
		u.again -= min(u.again, right-left)
	}
}

// needless reports whether an acknowledgment, which has been taken, proves
// that nothing was lost.
func (c *Conn) needless(s *segment, advanced bool) bool {
	u := c.undo
	if !u.resent {
		return false
	}
	recovering := c.ca != caOpen && lt(c.sndUna, c.recover)
	if u.again == 0 && (!recovering || c.ca == caLoss && advanced) {
		return true
	}
	// RFC 3522 §3.2 step 4.
	return c.ca != caOpen && advanced && c.ts && s.hasTS && gt(s.ack, u.left) && lt(s.tsEcr, u.ts)
}

// takeBack undoes the reduction. What was thought lost is in flight.
func (c *Conn) takeBack(now time.Duration) {
	c.cc.Undo(c.undo.saved)
	c.cwnd = uint32(c.cc.Cwnd())
	c.forget()
	if c.ca == caRecovery {
		c.reordered = true
	}
	if c.ca != caOpen {
		c.ca = caOpen
		c.dupAcks, c.inflate = 0, 0
		c.recover = c.sndUna - 1
	}
	if c.sb != nil {
		c.sb.unlose(now)
	}
	if c.sndUna != c.sndNxt {
		c.rearm(now)
	}
}

// settleUndo forgets what was kept for late D-SACKs.
func (c *Conn) settleUndo(ack uint32) {
	if c.ca == caOpen && gt(ack, c.undo.until) {
		c.forget()
	}
}

// recovered keeps what is needed to undo a little longer.
func (c *Conn) recovered() {
	if u := c.undo; u != nil {
		u.until, u.frto = c.sndNxt, frtoOff
	}
}

// holdsBack reports whether F-RTO wants nothing sent again yet.
func (c *Conn) holdsBack() bool {
	return c.ca == caLoss && c.undo != nil && c.undo.frto != frtoOff
}

// frtoIn takes an acknowledgment after a timeout, and reports whether it proves
// the timeout spurious. It has advanced SND.UNA, or is a duplicate; original is
// how many bytes it acknowledges that have been sent once, before the timeout,
// fresh whether it acknowledges anything at all.
func (c *Conn) frtoIn(advanced, fresh bool, original uint32) bool {
	u := c.undo
	switch {
	case u.frto == frtoWait && !advanced && c.sack: // step 2: only blocks
	case u.frto == frtoWait && advanced && lt(c.sndUna, c.recover) && c.mayTry():
		u.frto, u.nxt = frtoTry, c.sndNxt // step 2b
	case u.frto == frtoNew && original > 0:
		return true // step 3b
	case u.frto == frtoNew && c.sack && !fresh:
		// A window update, or blocks known before.
	default:
		u.frto = frtoOff // steps 2a and 3a
	}
	return false
}

// mayTry reports whether something new could be sent.
func (c *Conn) mayTry() bool {
	return c.sndNxt != c.sndEnd && !c.finSent && int32(c.sndUna+c.sndWnd-c.sndNxt) > 0
}

// frtoRoom is how much new data a connection may send that recovers from a
// timeout: two segments are a test (RFC 5682 §2.1 step 2b).
func (c *Conn) frtoRoom() uint32 {
	if u := c.undo; u != nil && u.frto != frtoOff {
		if left := u.nxt + 2*uint32(c.mss) - c.sndNxt; u.frto == frtoTry && int32(left) > 0 {
			return left
		}
		return 0
	}
	return math.MaxUint32
}

// tryNew sends new data to see what it brings; if none could go, recovery goes
// on as usual.
func (c *Conn) tryNew(now time.Duration) {
	c.sendNew(now)
	if c.undo.frto = frtoNew; c.undo.nxt == c.sndNxt {
		c.undo.frto = frtoOff
	}
}

// unlose takes back that anything is lost. What is still missing gets another
// reordering window.
func (b *scoreboard) unlose(now time.Duration) {
	for i := range b.runs {
		if r := &b.runs[i]; r.fate == lost {
			*r = run{end: r.end, fate: inFlight, again: r.again, at: now}
		}
	}
	b.lost, b.timedOut = 0, false
	b.join(0, len(b.runs))
}
