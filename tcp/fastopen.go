package tcp

import (
	"bytes"
	"time"

	"github.com/towpath/towpath/packet"
	"github.com/towpath/towpath/wire"
)

// Fast Open (RFC 7413): data on the SYN, believed because of a cookie that the
// peer's address was given before. The cookies are the host's: it makes and
// checks those that it gives, and keeps those that it is given.
//
// What a SYN brings is a copy of what is queued. SND.NXT stays behind the SYN
// until an acknowledgment says how much was taken; the rest is sent as if for
// the first time. So nothing is lost where a SYN with data gets lost, or its
// data is not wanted.

// fastOpen is what a connection knows of it.
type fastOpen struct {
	ask    bool   // the SYN says so
	cookie []byte // on our first SYN or SYN-ACK
	given  []byte // by the peer's SYN-ACK
	sent   uint32 // bytes of data on the SYN
	taken  bool   // data on the SYN was, by either side
	accept bool   // take data on the peer's SYN
	early  bool   // passive: data flows before the handshake is complete
}

// fastOpenCookieMax is the longest cookie, in bytes (RFC 7413 §4.1.1).
const fastOpenCookieMax = 16

// tcpOptionsMax is what a SYN with data leaves for options, those of routers
// among them, as Linux does.
const tcpOptionsMax = wire.TCPLenMax - wire.TCPLen

// FastOpenCookie returns the Fast Open cookie of a SYN; it is empty if the SYN
// asks for one. ok is false without the option.
func FastOpenCookie(syn wire.TCP) (cookie []byte, ok bool) {
	var o wire.TCPOptions
	if !o.Parse(syn.Options()) || !o.HasFastOpen {
		return nil, false
	}
	return o.FastOpen, true
}

// FastOpen is what a host knows of a peer that it opens a connection to with
// data.
type FastOpen struct {
	// Cookie is what the peer has given; without one the SYN asks for it, and
	// data waits for the handshake.
	Cookie []byte
	// NoCookie: the peer takes data without one. The SYN has no option.
	NoCookie bool
	// MSS is what the peer's last SYN-ACK has said; 0: not known.
	MSS int
}

// Fits is how many bytes of data the SYN will have room for.
func (c *Conn) Fits(o *FastOpen) int {
	if len(o.Cookie) == 0 && !o.NoCookie || c.signature() != nil {
		return 0
	}
	mss := int(c.ourMSS)
	if o.MSS > 0 {
		mss = min(mss, o.MSS)
	}
	return max(mss-tcpOptionsMax, 0)
}

// ConnectData opens actively with as much of data on the SYN as fits (RFC 7413
// §4.1.2, §4.2.1). It returns how many bytes of data were queued; if the SYN is
// lost, it is repeated plainly.
func (c *Conn) ConnectData(now time.Duration, o *FastOpen, data []byte) int {
	f := &c.extra().fast
	f.ask = !o.NoCookie && c.signature() == nil
	f.cookie = bytes.Clone(o.Cookie[:min(len(o.Cookie), fastOpenCookieMax)])
	c.ConnectLater()
	n := c.Write(data)
	f.sent = min(c.q.len, uint32(c.Fits(o)))
	c.sendSyn(now, false)
	return n
}

// ConnectLater goes to SYN-SENT without a SYN, which [Conn.ConnectData] then
// sends (Linux: TCP_FASTOPEN_CONNECT).
func (c *Conn) ConnectLater() {
	c.active = true
	c.ts = c.ts && c.signature() == nil
	c.state = StateSynSent
	c.sndNxt = c.iss + 1
}

// AcceptFastOpen is called between Init and Listen. A cookie, if there is one,
// is given to the peer; data says that the SYN has brought a good one: the
// SYN's data is taken, and answered before the handshake is complete (RFC 7413
// §4.2.2).
func (c *Conn) AcceptFastOpen(cookie []byte, data bool) {
	if c.signature() != nil {
		return
	}
	f := &c.extra().fast
	f.cookie, f.accept = bytes.Clone(cookie[:min(len(cookie), fastOpenCookieMax)]), data
}

// CookieGiven returns the cookie that came with the peer's SYN-ACK, for the
// host to keep; nil if none has.
func (c *Conn) CookieGiven() []byte {
	if c.rare == nil {
		return nil
	}
	return c.rare.fast.given
}

// SynDataLost reports whether a SYN with data, or its answer, seems to have been
// lost because of the data: only a plain SYN has been answered.
func (c *Conn) SynDataLost() bool {
	return c.synLost && c.synDataSent() > 0 && !c.rare.fast.taken && c.rare.fast.given == nil
}

// PeerMSS is the segment size that the peer has said it takes, in bytes.
func (c *Conn) PeerMSS() int { return int(c.peerMSS) }

// Early reports whether the peer's SYN has opened the connection for data,
// before the handshake is complete.
func (c *Conn) Early() bool { return c.isEarly() }

// SynData reports whether data on a SYN was taken, by either side (Linux:
// TCPI_OPT_SYN_DATA).
func (c *Conn) SynData() bool { return c.rare != nil && c.rare.fast.taken }

// isEarly reports whether data may be sent before the handshake is complete.
func (c *Conn) isEarly() bool {
	return c.state == StateSynReceived && c.rare != nil && c.rare.fast.early
}

// synDataSent is how much data our SYN had.
func (c *Conn) synDataSent() uint32 {
	if c.rare == nil {
		return 0
	}
	return c.rare.fast.sent
}

// fastOpenOut adds to our SYN, or SYN-ACK, the option and the data. Those that
// are repeated have neither (RFC 7413 §4.2.1).
func (c *Conn) fastOpenOut(p *packet.Packet, o *wire.TCPOptions, ack bool) {
	if c.rare == nil || c.synLost {
		return
	}
	f := &c.rare.fast
	o.FastOpen, o.HasFastOpen = f.cookie, f.ask && !ack || ack && !c.active && len(f.cookie) > 0
	if f.sent > 0 && !ack {
		cur := c.q.first()
		f.sent = c.q.gather(p, &cur, f.sent, uint32(c.ourMSS))
	}
}

// fastOpenIn takes data on the peer's SYN, and reports whether it has taken p.
func (c *Conn) fastOpenIn(now time.Duration, p *packet.Packet) bool {
	if c.rare == nil || !c.rare.fast.accept {
		return false
	}
	f := &c.rare.fast
	f.early = true
	c.begin(now)
	p.Pull(int(p.Data) - int(p.Start()))
	p.Truncate(min(p.Len(), int(c.rcvBuf)))
	n := uint32(p.Len())
	if n == 0 {
		return false
	}
	f.taken = true
	c.enqueue(p, n)
	c.lastData = now
	return true
}

// synDataAcked takes the acknowledgment of data on our SYN.
func (c *Conn) synDataAcked(ack uint32) {
	n := ack - c.sndNxt
	c.rare.fast.taken = true
	c.q.drop(c.pool, n)
	c.bytesAcked += uint64(n)
	c.sndUna, c.sndNxt = ack, ack
	if c.wantRoom {
		c.roomIn()
	}
}
