package tcp

import (
	"math"
	"syscall"
	"time"

	"github.com/towpath/towpath/packet"
	"github.com/towpath/towpath/wire"
)

// rare is what few connections need, kept apart so that the others stay small.
type rare struct {
	userTimeout time.Duration // 0: none
	stuckAt     time.Duration // since when what is first in the queue has been out
	clamp       uint32        // bound of the offered window; 0: none
	cork        bool          // short segments wait
	more        bool          // for the next write only

	// Urgent data (RFC 9293 §3.8.5 as RFC 6093 has it): the mark is behind the
	// urgent byte on the wire.
	sndUp     uint32 // SND.UP: behind the last urgent byte sent
	urgentOut bool   // sndUp is ahead of SND.UNA
	inline    bool   // SO_OOBINLINE
	mark      uint32 // the number of the last urgent byte the peer has told of
	marked    bool   // mark has not been passed by the reader
	urgent    urgentState
	octet     byte

	fast fastOpen
	sign *Signature // of all segments; nil: none

	deferral uint8 // timeouts for which the handshake waits for data; 0: none
	deferred bool  // its bare acknowledgment has come

	tuning *Tuning // nil: the default
	search *search // of the path MTU; nil: not searched
	degree uint32  // what the network's reordering has been seen to be, segments

	flow    *flow  // of a connection that is paced or sampled
	paceMax uint64 // bytes per second; 0: none

	// Counters of what should not happen often.
	bytesAgain  uint64
	ackedMarked uint32 // segments acknowledged with an ECN-Echo
	dsacks      uint32
	disorders   uint32
	outOfOrder  uint32 // segments that came behind a hole
}

type urgentState uint8

const (
	urgentNone urgentState = iota
	urgentComing
	urgentHere
	urgentRead
)

// extra is c's rare state, a new one if there is none.
func (c *Conn) extra() *rare {
	if c.rare == nil {
		c.rare = new(rare)
	}
	return c.rare
}

// SetUserTimeout ends the connection when data, or a probe of a closed window,
// has gone without an answer for so long (RFC 5482 without its option; Linux:
// TCP_USER_TIMEOUT). 0 means that the number of retransmissions decides.
func (c *Conn) SetUserTimeout(d time.Duration) {
	if d > 0 || c.rare != nil {
		c.extra().userTimeout = max(d, 0)
	}
}

// stuckSince notes that something goes out again that has been out since at,
// unless that is known to be so for longer. It reports whether the user's
// patience is at an end.
func (c *Conn) stuck(now, at time.Duration) (over bool) {
	x := c.rare
	if x == nil || x.userTimeout == 0 {
		return false
	}
	if c.retries == 0 || x.stuckAt == 0 {
		x.stuckAt = at
	}
	return now-x.stuckAt >= x.userTimeout
}

// patience bounds the wait for an answer by what is left of the user timeout.
func (c *Conn) patience(now, wait time.Duration) time.Duration {
	if x := c.rare; x != nil && x.userTimeout > 0 && x.stuckAt > 0 {
		return min(wait, max(x.stuckAt+x.userTimeout-now, time.Millisecond))
	}
	return wait
}

// SetCork holds back segments that are not full, for at most as long as a probe
// of a closed window would wait, or lets them go (Linux: TCP_CORK). The caller
// calls Output.
func (c *Conn) SetCork(on bool) {
	if on || c.rare != nil {
		x := c.extra()
		x.cork, x.more = on, false
	}
}

// SetMore says that a write will be followed by another: its last segment waits
// for that if it is not full (Linux: MSG_MORE). Each write says so anew.
func (c *Conn) SetMore(on bool) {
	if on || c.rare != nil {
		c.extra().more = on
	}
}

// corked reports whether segments that are not full have to wait.
func (c *Conn) corked() bool { return c.rare != nil && (c.rare.cork || c.rare.more) }

// SetWindowClamp bounds the window that is offered, in bytes; 0 is no bound
// (Linux: TCP_WINDOW_CLAMP).
func (c *Conn) SetWindowClamp(n int) {
	if n > 0 || c.rare != nil {
		c.extra().clamp = uint32(clamp(n, 0, math.MaxInt32))
	}
}

// SetQuickAck acknowledges at once from now on, until a conversation is
// recognized, or delays as in a conversation (Linux: TCP_QUICKACK). The caller
// calls Output.
func (c *Conn) SetQuickAck(on bool) {
	if !on {
		c.pingpong = true
		return
	}
	c.pingpong = false
	c.quick = quickMax
	if c.ackAt != never {
		c.ackNow = true
	}
}

// DeferAccept has the handshake be complete only when data comes, or when the
// SYN-ACK has timed out so many times: a bare acknowledgment is not heard until
// then (Linux: TCP_DEFER_ACCEPT). It is called between Init and Listen.
func (c *Conn) DeferAccept(timeouts int) {
	if timeouts > 0 {
		c.extra().deferral = uint8(min(timeouts, math.MaxUint8))
	}
}

// defers reports whether s, which acknowledges our SYN-ACK, is one to wait
// after.
func (c *Conn) defers(s *segment) bool {
	x := c.rare
	if x == nil || c.active || c.retries >= x.deferral || s.end() != c.rcvNxt {
		return false
	}
	x.deferred = true
	return true
}

// waitsForData reports whether a timeout of the SYN-ACK passes in silence: the
// peer has it, and is given a last chance only when the waiting is about to
// end. limit is how many timeouts there may be.
func (c *Conn) waitsForData(limit uint8) (silent bool, most uint8) {
	x := c.rare
	if x == nil || !x.deferred {
		return false, limit
	}
	return c.retries+1 < x.deferral, max(limit, x.deferral)
}

// SetFinWait2 sets for how long a closed connection waits for the peer's FIN,
// in whole seconds; less than 0: not at all (Linux: TCP_LINGER2).
func (c *Conn) SetFinWait2(d time.Duration) {
	if c.finWait = seconds(d); d < 0 {
		c.finWait = 0
	}
}

// ---- urgent data

// WriteUrgent queues one byte of urgent data and lets it go at once (Linux:
// MSG_OOB). It reports false if there is no room.
func (c *Conn) WriteUrgent(b byte) bool {
	if c.Write([]byte{b}) == 0 {
		return false
	}
	x := c.extra()
	x.sndUp, x.urgentOut = c.sndEnd, true
	return true
}

// urgentField is the urgent pointer of a segment that begins at seq, and
// whether it has one.
func (c *Conn) urgentField(seq uint32) (pointer uint16, ok bool) {
	x := c.rare
	if x == nil || !x.urgentOut {
		return 0, false
	}
	if !lt(c.sndUna, x.sndUp) {
		x.urgentOut = false
		return 0, false
	}
	switch ahead := x.sndUp - seq; {
	case !lt(seq, x.sndUp):
		return 0, false
	case ahead <= math.MaxUint16:
		return uint16(ahead), true
	default:
		return math.MaxUint16, true
	}
}

// urgentWaits reports whether urgent data is to be sent yet.
func (c *Conn) urgentWaits() bool {
	return c.rare != nil && c.rare.urgentOut && lt(c.sndNxt, c.rare.sndUp)
}

// urgentIsOut reports whether there is urgent data that has not been
// acknowledged (Linux: tcp_urg_mode).
func (c *Conn) urgentIsOut() bool {
	return c.rare != nil && c.rare.urgentOut && lt(c.sndUna, c.rare.sndUp)
}

// SetOOBInline leaves urgent data in the stream, or takes it out as Linux does
// unless told otherwise (Linux: SO_OOBINLINE).
func (c *Conn) SetOOBInline(on bool) {
	if on || c.rare != nil {
		c.extra().inline = on
	}
}

// readNxt is the number of the byte that is read next.
func (c *Conn) readNxt() uint32 {
	n := c.rcvNxt - c.rcvUsed
	if c.finRcvd {
		n--
	}
	return n
}

// urgentIn takes a segment's urgent pointer (Linux: tcp_check_urg). The urgent
// byte may be in the segment, or come later.
func (c *Conn) urgentIn(h wire.TCP, p *packet.Packet, s *segment) {
	pointer := uint32(h.Urgent())
	if pointer > 0 {
		pointer-- // to the byte itself: RFC 6093 §3.1
	}
	at := s.seq + pointer
	x := c.extra()
	if lt(at, c.readNxt()) || lt(at, c.rcvNxt) || x.marked && !gt(at, x.mark) && x.urgent != urgentNone {
		return
	}
	x.mark, x.marked, x.urgent = at, true, urgentComing
	c.events |= EventUrgent
}

// urgentData finds the urgent byte that was told of in a segment's payload,
// which begins at p.Data.
func (c *Conn) urgentData(p *packet.Packet, s *segment) {
	x := c.rare
	if off := x.mark - s.seq; x.urgent == urgentComing && off < s.n {
		var b [1]byte
		p.CopyTo(b[:], int(p.Data-p.Start())+int(off))
		x.octet, x.urgent = b[0], urgentHere
		c.events |= EventUrgent | EventReadable
	}
}

// ReadUrgent returns the urgent byte (Linux: MSG_OOB). It fails with EINVAL if
// the peer has told of none, or if it has been read or is in the stream, and
// with EAGAIN if it is still to come.
func (c *Conn) ReadUrgent(peek bool) (byte, syscall.Errno) {
	x := c.rare
	switch {
	case x == nil || x.inline || x.urgent == urgentNone || x.urgent == urgentRead:
		return 0, syscall.EINVAL
	case x.urgent == urgentComing:
		return 0, syscall.EAGAIN
	}
	if !peek {
		x.urgent = urgentRead
	}
	return x.octet, 0
}

// UrgentReady reports whether an urgent byte is there to be read.
func (c *Conn) UrgentReady() bool { return c.rare != nil && c.rare.urgent == urgentHere }

// AtMark reports whether what is read next stands where the urgent byte stands
// (Linux: SIOCATMARK).
func (c *Conn) AtMark() bool {
	return c.rare != nil && c.rare.marked && c.rare.mark == c.readNxt()
}

// Mark tells a reader how many bytes he may read before he has to stop at the
// urgent mark, and whether the byte that comes next is the urgent one, which
// he is to pass over. Reading goes on behind the mark with the next call.
func (c *Conn) Mark() (before int, skip bool) {
	x := c.rare
	if x == nil || !x.marked {
		return math.MaxInt, false
	}
	switch off := x.mark - c.readNxt(); {
	case int32(off) < 0: // passed
		x.marked, x.urgent = false, urgentNone
		return math.MaxInt, false
	case off == 0 && x.inline:
		return math.MaxInt, false
	case off == 0:
		return math.MaxInt, true
	default:
		return int(off), false
	}
}
