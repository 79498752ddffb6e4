package tcp

import (
	"math"
	"time"

	"github.com/towpath/towpath/packet"
	"github.com/towpath/towpath/tcp/cc"
	"github.com/towpath/towpath/wire"
)

// Explicit congestion notification (RFC 3168): routers mark packets instead of
// dropping them; the receiver echoes marks until the sender says that it has
// heard.

// ECNMode says what is done about congestion notification.
type ECNMode uint8

const (
	ECNAccept ECNMode = iota // accepted if the peer asks (Linux: tcp_ecn=2)
	ECNOn                    // asked for, and accepted (tcp_ecn=1)
	ECNOff                   // never (tcp_ecn=0)
)

// Codepoints of the TOS field's last two bits.
const (
	ecnECT0 = 2
	ecnCE   = 3
)

const ecnSetup = wire.TCPEce | wire.TCPCwr

// ecnSyn is what our SYN, or SYN-ACK, says about it.
func (c *Conn) ecnSyn(ack bool) wire.TCPFlags {
	switch {
	case ack && c.ecn:
		return wire.TCPEce
	case !ack && c.ecnMode == ECNOn && (!c.synLost || c.tune().NoECNFallback): // §6.1.1.1: not again if that was lost
		return ecnSetup
	}
	return 0
}

// ecnSynIn learns from the peer's SYN or SYN-ACK (§6.1.1).
func (c *Conn) ecnSynIn(flags wire.TCPFlags) {
	if flags.Has(wire.TCPAck) {
		c.ecn = c.ecnMode == ECNOn && flags&ecnSetup == wire.TCPEce
	} else {
		c.ecn = c.ecnMode != ECNOff && flags&ecnSetup == ecnSetup
	}
}

// ecnIn takes the marks on a segment: those of the network on what carries data
// (§6.1.3), and the peer's that it has reduced its window.
func (c *Conn) ecnIn(now time.Duration, p *packet.Packet, s *segment) {
	if _, exact := c.cc.(cc.Marker); exact {
		c.ecnExact(now, p, s)
		return
	}
	if s.flags.Has(wire.TCPCwr) {
		c.ecnEcho = false
		if s.n > 0 {
			c.ackNow = true // its window may be one segment: no time to lose
		}
	}
	if p.TOS&3 == ecnCE && s.n > 0 {
		if !c.ecnEcho {
			c.quick = max(c.quick, 2)
			c.pingpong = false
		}
		c.ecnEcho = true
	}
}

// ecnExact echoes marks so that their number can be counted (RFC 8257 §3.2):
// acknowledgments say what the last segment was like. If that changes, what
// has come before is acknowledged first.
func (c *Conn) ecnExact(now time.Duration, p *packet.Packet, s *segment) {
	if s.n == 0 {
		return
	}
	if marked := p.TOS&3 == ecnCE; marked != c.ecnEcho {
		if c.rcvNxt != c.rcvAcked {
			c.sendAck(now)
		}
		c.ecnEcho = marked
	}
}

// ecnEchoed takes an ECN-Echo: as for a loss, the window is reduced once for
// each window of data (§6.1.2).
func (c *Conn) ecnEchoed(now time.Duration, ack uint32) {
	counter, exact := c.cc.(cc.Marker)
	if exact && gt(ack, c.sndUna) {
		counter.OnMarked(int(ack - c.sndUna))
	}
	if lt(ack, c.ecnEnd) || c.ca != caOpen {
		return
	}
	c.ecnEnd = c.sndNxt
	c.ecnReduced = true
	c.forget() // this reduction is not taken back
	if ecn, ok := c.cc.(cc.ECN); ok {
		ecn.OnECN(now)
	} else {
		c.cc.OnLoss(now, int(min(c.flight(), c.cwnd)))
		c.cc.OnRecovered(now, math.MaxInt32-math.MaxUint16)
	}
	c.cwnd = uint32(c.cc.Cwnd())
}

// ecnOut marks a segment with data that is sent for the first time (§6.1.2,
// §6.1.5), and says once that the window was reduced.
func (c *Conn) ecnOut(p *packet.Packet, flags wire.TCPFlags) wire.TCPFlags {
	p.TOS |= ecnECT0
	if c.ecnReduced {
		c.ecnReduced = false
		flags |= wire.TCPCwr
	}
	return flags
}
