package tcp

import (
	"math"
	"syscall"
	"time"

	"github.com/towpath/towpath/packet"
	"github.com/towpath/towpath/tcp/cc"
)

// Output is what a connection hands its segments to.
type Output interface {
	// Segment takes p, whose first byte is the TCP header, complete but for
	// the checksum, which is zero. p.Transport, p.Data and p.Proto are set;
	// p.GSO.Size is set if the payload is longer than one segment. The host
	// adds pseudo-header checksum, IP and link headers. It must not call the
	// connection.
	Segment(c *Conn, p *packet.Packet)
}

// A Config is what a connection is made with; it is copied. The zero value of
// a size, time or count means the default beside it.
type Config struct {
	LocalPort, RemotePort uint16
	ISN                   uint32 // initial send sequence number (RFC 6528)
	TSOffset              uint32 // added to our timestamps, random

	// MSS is the largest TCP payload with options that the route's MTU
	// allows: the MTU less the IP header and 20. (536)
	MSS int
	// MSSDefault is what a peer takes that does not say (RFC 9293 §3.7.1): 536
	// over IPv4, 1220 over IPv6. (536)
	MSSDefault int
	// GSOMax is the largest payload of a super-segment that the route takes;
	// less than two segments: none.
	GSOMax int

	RcvBuf, SndBuf       int // at first, bytes (256 KiB)
	RcvBufMax, SndBufMax int // bounds of their growth (RcvBuf, SndBuf: none)

	NoDelay       bool // no Nagle
	Timestamps    bool // offer or accept RFC 7323 timestamps
	WindowScaling bool // offer or accept RFC 7323 window scaling
	SACK          bool // offer or accept RFC 2018 selective acknowledgments
	ECN           ECNMode
	NoFRTO        bool // believe in timeouts (RFC 5682 is off)

	RTOMin     time.Duration // 200 ms
	RTOMax     time.Duration // 120 s; whole seconds
	DelayedAck time.Duration // 40 ms
	FinWait2   time.Duration // 60 s, of closed connections; whole seconds
	// AckDelayMax is how long the peer may delay an acknowledgment: a tail loss
	// probe for a lone segment waits for so long (RFC 8985 §7.2). (RTOMin, as
	// Linux)
	AckDelayMax time.Duration

	SynRetries    int // 6
	SynLinear     int // more before them, without backing off (0)
	SynAckRetries int // 5
	Retries2      int // 15, of data
	OrphanRetries int // 8, of data of closed connections

	Congestion string // the controller, one of cc.Names ("cubic")

	// Signature is what segments are signed with (RFC 2385). (nil: they are not)
	Signature *Signature

	// Tuning is the rest, filled. (nil: the defaults)
	Tuning *Tuning
}

const (
	bufDefault  = 256 << 10
	bufMin      = 2 << 10
	bufLimit    = 1 << 30 // sequence numbers are compared by halves
	mssDefault  = 536     // RFC 9293 §3.7.1
	mssMin      = 48      // leaves some payload beside full options (Linux: tcp_min_snd_mss)
	tsLen       = 12      // the timestamps option with its padding
	quickMax    = 16      // ACKs at once at the start of a connection
	dupThresh   = 3       // RFC 5681 §3.2
	inlineMax   = 128     // payload bytes that are cheaper copied than referred to
	rtoInit     = time.Second
	rtoAfterSyn = 3 * time.Second // RFC 6298 §5.7
	timeWaitLen = 60 * time.Second
	pawsIdle    = 24 * 24 * time.Hour  // RFC 7323 §5.5
	wscaleMax   = 14                   // RFC 7323 §2.3
	synAgain    = 8 * time.Millisecond // Linux's TCP_TIMEOUT_MIN of two ticks at 250 Hz

	never = time.Duration(math.MaxInt64)
)

// How much of what is in flight is thought lost.
type caState uint8

const (
	caOpen     caState = iota // nothing, as far as we know
	caRecovery                // fast recovery (RFC 6675, RFC 6582)
	caLoss                    // all of [una, recover), until sent again
)

// A Conn is one connection. It is meant to be a field of the host's socket and
// must not be copied once initialized. All of it is guarded by its lane's
// lock.
type Conn struct {
	Owner any // the host's socket

	out  Output
	pool *packet.Pool
	cc   cc.Controller
	err  error // why the connection ended

	soft      uint16 // errno that an ICMP error said; the cause if it ends by timeout
	state     State
	events    Events
	localPort uint16
	peerPort  uint16

	// What was agreed in the handshake.
	ourMSS   uint16 // what our side of the path takes, options included
	peerMSS  uint16 // what the peer announced
	mss      uint16 // payload of a full segment we send
	rcvScale uint8
	sndScale uint8
	wscale   bool // offered, then: agreed
	ts       bool // offered, then: agreed
	sack     bool // offered, then: agreed

	active     bool // began with Connect
	noDelay    bool
	finQueued  bool // Shutdown or Close: a FIN follows the queued data
	finSent    bool
	finRcvd    bool // in order
	readClosed bool // Close: nobody will read
	persist    bool // rtxAt is the zero-window probe's,
	tail       bool // the tail loss probe's,
	reorder    bool // or the reordering timer's
	probed     bool // a tail loss probe is under way
	probeAgain bool // it repeated something
	reordered  bool // the network is known to change the order (RFC 8985)
	frto       bool // timeouts are doubted (RFC 5682)
	paced      bool // there is a flow
	wantRoom   bool // somebody found too little room to write
	ackNow     bool // Output must send an ACK
	pingpong   bool // requests and responses: ACKs travel with data
	timing     bool // rttSeq is being timed
	synLost    bool // the SYN or SYN-ACK had to be repeated
	ecn        bool // agreed
	ecnEcho    bool // the network has marked what came: say so until the peer has heard
	ecnReduced bool // say so in the next segment
	ecnMode    ECNMode
	quick      uint8
	ca         caState
	dupAcks    uint8 // with SACK: those that told something new
	reoMult    uint8 // RACK.reo_wnd_mult - 1
	reoPersist uint8
	backoff    uint8  // doublings of the timeout
	retries    uint8  // timeouts since the peer last made progress
	pruned     uint16 // out-of-order packets given up, not yet told

	synRetries, synLinear, synAckRetries, retries2, orphanRetries uint8

	// Keep-alive (RFC 1122 §4.2.3.6); off while keepIdle is 0.
	keepCount, keepSent    uint8
	keepIdle, keepInterval uint16 // seconds

	rtoMax, finWait uint16 // seconds

	gsoMax   uint16
	gsoLimit uint16 // longest payload of a packet: whole segments

	// Sending (RFC 9293 §3.3.1).
	iss      uint32
	sndUna   uint32
	sndNxt   uint32 // behind the highest ever sent
	sndEnd   uint32 // behind the last queued byte; the FIN's number
	sndWnd   uint32
	sndWl1   uint32
	sndWl2   uint32
	maxWnd   uint32 // the largest window ever offered to us
	sndSml   uint32 // end of the last segment sent shorter than full (Minshall)
	cwnd     uint32 // cc.Cwnd()
	inflate  uint32 // dup ACKs' worth of window (RFC 3042, RFC 5681 §3.2)
	recover  uint32 // RFC 6582
	rtxNxt   uint32 // caLoss: next to send again; with SACK: where rtxCur is
	probeEnd uint32 // SND.NXT behind the tail loss probe
	dupRound uint32 // a D-SACK before this is acknowledged is of the same round
	ecnEnd   uint32 // an ECN-Echo before this is acknowledged is of the same window
	limited  uint32 // what was sent before this filled the congestion window
	sndBuf   uint32
	sndMax   uint32
	rttSeq   uint32      // end of the segment being timed
	ackDelay uint32      // the longest of the peer's acknowledgments, microseconds (RFC 8985 §7.2)
	rtxTS    uint32      // our timestamp clock when we last sent something again
	sb       *scoreboard // with SACK: while something is missing
	q        sendq
	nxtCur   cursor // of sndNxt
	rtxCur   cursor // of rtxNxt

	// Receiving.
	irs      uint32
	rcvNxt   uint32
	rcvAdv   uint32 // the right edge of the window that the peer knows
	rcvAcked uint32 // rcvNxt of our last ACK (RFC 7323: Last.ACK.sent)
	rcvBuf   uint32
	rcvMax   uint32
	rcvUsed  uint32 // bytes in order that the reader has not consumed
	rqLen    uint32 // those of them that have not been taken
	rcvMSS   uint32 // the peer's segments, as seen
	tsRecent uint32
	tsOffset uint32
	packed   uint32      // rcvMem after the last collapse
	rcvMem   int         // footprint of rq and ooo
	rq       packet.List // in order, payload only
	ooo      packet.List // behind a hole, sorted; seq in the TCP header in the head
	oooHint  *packet.Packet
	rep      *reports // with SACK: while there is something to tell
	undo     *undo    // while a reduction may be taken back

	// Timers and measurements (timers.go, rtt.go).
	rtxAt    time.Duration // retransmission, or zero-window probe
	ackAt    time.Duration // delayed ACK
	lifeAt   time.Duration // FIN-WAIT-2, TIME-WAIT
	lastData time.Duration // data last received
	lastSeg  time.Duration // any segment last accepted; our first SYN before there is one
	lastSend time.Duration // data last sent
	lastDup  time.Duration // last rate-limited ACK
	rttAt    time.Duration
	srtt     uint32 // microseconds, as all below
	rttvar   uint32
	minRTT   uint32
	minNext  uint32 // the shortest since minSince
	minSince uint32 // seconds
	rto      uint32
	rtoMin   uint32
	delack   uint32
	snd, rcv sizer

	rare *rare // what few need

	// Counters.
	bytesAcked, bytesIn         uint64
	segsIn, segsOut, retransOut uint32
	dataSegsIn, dataSegsOut     uint32

	cubic cc.Cubic
}

// Init makes c a fresh connection in CLOSED.
func (c *Conn) Init(cfg *Config, pool *packet.Pool, out Output) {
	*c = Conn{Owner: c.Owner, pool: pool, out: out}
	c.localPort, c.peerPort = cfg.LocalPort, cfg.RemotePort
	c.iss, c.tsOffset = cfg.ISN, cfg.TSOffset
	c.ourMSS = uint16(clamp(or(cfg.MSS, mssDefault), mssMin, math.MaxUint16))
	c.peerMSS = uint16(clamp(or(cfg.MSSDefault, mssDefault), mssMin, math.MaxUint16))
	c.gsoMax = uint16(clamp(cfg.GSOMax, 0, packet.SizeMax-128))
	c.rcvBuf = uint32(clamp(or(cfg.RcvBuf, bufDefault), bufMin, bufLimit))
	c.sndBuf = uint32(clamp(or(cfg.SndBuf, bufDefault), bufMin, bufLimit))
	c.rcvMax = max(c.rcvBuf, uint32(clamp(cfg.RcvBufMax, 0, bufLimit)))
	c.sndMax = max(c.sndBuf, uint32(clamp(cfg.SndBufMax, 0, bufLimit)))
	c.ecnMode, c.frto = cfg.ECN, !cfg.NoFRTO
	c.noDelay, c.ts, c.wscale, c.sack = cfg.NoDelay, cfg.Timestamps, cfg.WindowScaling, cfg.SACK
	c.rtoMin = micros(or(cfg.RTOMin, 200*time.Millisecond))
	c.rtoMax = seconds(or(cfg.RTOMax, 120*time.Second))
	c.delack = micros(or(cfg.DelayedAck, 40*time.Millisecond))
	c.ackDelay = micros(or(cfg.AckDelayMax, dur(c.rtoMin)))
	c.finWait = seconds(or(cfg.FinWait2, 60*time.Second))
	c.synRetries = uint8(clamp(or(cfg.SynRetries, 6), 0, 127))
	c.synLinear = uint8(clamp(cfg.SynLinear, 0, 127))
	c.synAckRetries = uint8(clamp(or(cfg.SynAckRetries, 5), 0, 127))
	c.retries2 = uint8(clamp(or(cfg.Retries2, 15), 0, 127))
	c.orphanRetries = uint8(clamp(or(cfg.OrphanRetries, 8), 0, 127))
	if c.cc = cc.Controller(&c.cubic); cfg.Congestion != "" && cfg.Congestion != cc.Default {
		if ctl := cc.New(cfg.Congestion); ctl != nil {
			c.cc = ctl
		}
	}
	if _, ok := c.cc.(cc.Marker); ok {
		c.ecnMode = ECNOn // whatever the settings, as Linux
	}

	c.sndUna, c.sndNxt, c.sndEnd = c.iss, c.iss, c.iss+1
	c.recover, c.sndSml, c.limited, c.ecnEnd = c.iss, c.iss, c.iss, c.iss
	c.rcvMSS = min(mssDefault, uint32(c.ourMSS))
	c.quick = quickMax
	c.rto = micros(rtoInit)
	c.rtxAt, c.ackAt, c.lifeAt = never, never, never
	c.lastData, c.lastDup = -time.Hour, -time.Hour
	if t := cfg.Tuning; t != nil && *t != defaultTuning {
		c.extra().tuning = t
	}
	if c.wscale {
		for int(c.rcvMax)>>c.rcvScale > math.MaxUint16 && c.rcvScale < wscaleMax {
			c.rcvScale++
		}
	}
	if c.tune().FixedRcvBuf {
		c.rcvMax = c.rcvBuf
	}
	if cfg.Signature != nil {
		c.extra().sign = cfg.Signature
	}
	c.setSegmentSize()
}

// setSegmentSize derives what we send at most from what both sides take.
func (c *Conn) setSegmentSize() {
	n := max(min(c.ourMSS, c.peerMSS), mssMin)
	if c.rare != nil {
		if s := c.rare.search; s != nil {
			n = max(min(n, uint16(s.low)), mssMin)
		}
		if t := c.rare.tuning; t != nil {
			n = max(n, uint16(t.MinSndMSS))
		}
	}
	if c.ts {
		n -= tsLen
	}
	c.gsoLimit = 0
	if c.signature() != nil {
		n -= signatureLen // and each segment has its own
	} else {
		c.gsoLimit = c.gsoMax - c.gsoMax%n
	}
	c.mss = n
	c.gsoLimit = max(n, c.gsoLimit)
}

// Connect opens actively: it sends a SYN (RFC 9293 §3.10.1).
func (c *Conn) Connect(now time.Duration) {
	c.ConnectLater()
	c.sendSyn(now, false)
}

// ---- sending

// Space is how many bytes Append and Write accept now.
func (c *Conn) Space() int {
	if !canQueue.has(c.state) || c.finQueued || c.q.full() {
		return 0
	}
	free := int(c.sndBuf) - int(c.q.len)
	if free < int(c.sndBuf)/3 {
		c.wantRoom = true
	}
	return max(free, 0)
}

// Unsent and Unacked are the bytes that wait in the send queue: those not yet
// sent, and all of them (Linux: SIOCOUTQNSD, SIOCOUTQ).
func (c *Conn) Unsent() int {
	if c.finSent {
		return 0
	}
	if lt(c.sndNxt, c.iss+1) {
		return int(c.q.len)
	}
	return int(c.sndEnd - c.sndNxt)
}

// Unacked is the bytes that the peer has not acknowledged yet.
func (c *Conn) Unacked() int { return int(c.q.len) }

// Write copies up to Space bytes of b into the send queue and returns how
// many. Output sends them.
func (c *Conn) Write(b []byte) int {
	if n := c.Space(); len(b) > n {
		c.wantRoom = true
		b = b[:n]
	}
	n := c.q.write(c.pool, b)
	c.sndEnd += uint32(n)
	return n
}

// Append takes over the references in frags, as many as Space has room for,
// and returns how many bytes that were. References not taken remain the
// caller's.
func (c *Conn) Append(frags []packet.Frag) int {
	space, taken := c.Space(), 0
	for _, f := range frags {
		if taken+int(f.Len) > space || c.q.full() {
			c.wantRoom = true
			break
		}
		if f.Len == 0 {
			c.pool.Release(f.Chunk)
			continue
		}
		c.q.push(f)
		c.q.tail = false
		taken += int(f.Len)
	}
	c.sndEnd += uint32(taken)
	return taken
}

// Shutdown closes our direction: a FIN follows the queued data (RFC 9293
// §3.10.4).
func (c *Conn) Shutdown(now time.Duration) {
	switch c.state {
	case StateSynSent:
		c.end(nil)
		return
	case StateSynReceived:
		// The FIN must wait for the handshake; see established.
	case StateEstablished:
		c.state = StateFinWait1
	case StateCloseWait:
		c.state = StateLastAck
	default:
		return
	}
	c.finQueued = true
	c.Output(now)
}

// Close ends both directions: nobody will read any more. Data that was not
// read, or that arrives later, is answered with a reset (RFC 1122 §4.2.2.13,
// RFC 2525 §2.17).
func (c *Conn) Close(now time.Duration) {
	if c.readClosed {
		return
	}
	c.readClosed = true
	c.freeReceived()
	c.freeOutOfOrder()
	if c.rcvUsed > 0 && needsReset.has(c.state) {
		c.Abort(now)
		return
	}
	c.Shutdown(now)
	if c.state == StateFinWait2 {
		c.lifeAt = now + secs(c.finWait)
	}
}

// Abort ends the connection at once and tells the peer with a reset (RFC 9293
// §3.10.5).
func (c *Conn) Abort(now time.Duration) {
	if needsReset.has(c.state) {
		c.sendReset(now, c.acceptableSeq(), true)
	}
	c.end(nil)
}

// Fail ends the connection for the reason err without sending anything.
func (c *Conn) Fail(_ time.Duration, err error) {
	if c.state != StateClosed {
		c.end(err)
	}
}

// SoftError remembers an error that may pass, such as a route that is down. It
// becomes the connection's error if that ends by timeout (RFC 1122
// §4.2.3.9). Only a syscall.Errno is remembered.
func (c *Conn) SoftError(err error) {
	if e, ok := err.(syscall.Errno); ok {
		c.soft = uint16(e)
	}
}

// end moves to CLOSED. What has arrived in order can still be read.
func (c *Conn) end(err error) {
	c.state = StateClosed
	c.err = err
	c.rtxAt, c.ackAt, c.lifeAt = never, never, never
	if c.paced {
		c.rare.flow.at = never
	}
	c.ackNow = false
	c.q.free(c.pool)
	c.freeOutOfOrder()
	c.freeBoard()
	c.freeReports()
	c.forget()
	c.tail, c.reorder = false, false
	if c.readClosed {
		c.freeReceived()
	}
	c.events |= EventClosed
}

// FreeBuffers gives back all packets and chunks: the end of c's life.
func (c *Conn) FreeBuffers() {
	c.q.free(c.pool)
	c.freeOutOfOrder()
	c.freeReceived()
	c.freeBoard()
	c.freeReports()
	c.forget()
}

// ---- what the host asks

// State is the connection's state.
func (c *Conn) State() State { return c.state }

// Err is why the connection ended: a syscall.Errno, or what the host gave to
// Fail. It is nil if it has not, or ended in good order.
func (c *Conn) Err() error { return c.err }

// Events returns what has happened since the last call and clears it.
func (c *Conn) Events() Events {
	e := c.events
	c.events = 0
	return e
}

// Ports are the local and the remote port.
func (c *Conn) Ports() (local, remote uint16) { return c.localPort, c.peerPort }

// SetKeepAlive has the peer probed after idle without a segment from it, every
// interval, and the connection ended after count probes without an answer
// (RFC 1122 §4.2.3.6). An idle of 0 turns it off. Times count in seconds.
func (c *Conn) SetKeepAlive(now, idle, interval time.Duration, count int) {
	c.keepIdle = seconds(idle)
	c.keepInterval = max(seconds(interval), 1)
	c.keepCount = uint8(clamp(count, 1, math.MaxUint8))
	c.keepSent = 0
	c.armKeepAlive(now)
}

// SetNoDelay turns Nagle's algorithm off or on. The caller calls Output.
func (c *Conn) SetNoDelay(on bool) { c.noDelay = on }

// SetController has another controller decide from now on. It goes on with the
// window that the last one has left. The caller calls Output.
func (c *Conn) SetController(now time.Duration, ctl cc.Controller) {
	was := c.cc
	c.cc = ctl
	c.forget()
	if canSend.has(c.state) || c.isEarly() {
		ctl.Init(int(c.mss), was.Cwnd(), was.Ssthresh())
		c.cwnd = uint32(ctl.Cwnd())
		c.follow(now)
	}
}

// UnreachableSeq reports whether an ICMP error that quotes seq may be about a
// segment in flight (RFC 5927 §4).
func (c *Conn) UnreachableSeq(seq uint32) bool {
	return c.state != StateClosed && le(c.sndUna, seq) && lt(seq, c.sndNxt)
}

// SetMSS says what the path takes from now on: mss is the MTU less the IP
// header and 20. If that is less than before, larger segments in flight are
// lost and sent again; the congestion window is not to blame (RFC 1191 §6.4).
func (c *Conn) SetMSS(mss int, now time.Duration) {
	was := c.mss
	c.ourMSS = uint16(clamp(mss, mssMin, math.MaxUint16))
	if !canSend.has(c.state) {
		c.setSegmentSize()
		return
	}
	c.resize()
	if c.mss < was && c.sndNxt != c.sndUna {
		c.forget()
		c.enterLoss()
		c.timing = false
		c.Output(now)
	}
}

// timeoutError is the error of a connection that the peer has left without an
// answer.
func (c *Conn) timeoutError() error {
	if c.soft != 0 {
		return syscall.Errno(c.soft)
	}
	return syscall.ETIMEDOUT
}

// ---- arithmetic

func lt(a, b uint32) bool { return int32(a-b) < 0 }
func le(a, b uint32) bool { return int32(a-b) <= 0 }
func gt(a, b uint32) bool { return int32(a-b) > 0 }

func clamp(v, low, high int) int { return min(max(v, low), high) }

func or[T int | time.Duration](v, def T) T {
	if v == 0 {
		return def
	}
	return v
}

func dur(us uint32) time.Duration { return time.Duration(us) * time.Microsecond }

func secs(s uint16) time.Duration { return time.Duration(s) * time.Second }

// seconds is d in whole seconds, rounded up.
func seconds(d time.Duration) uint16 {
	return uint16(min((max(d, 0)+time.Second-1)/time.Second, math.MaxUint16))
}

func micros(d time.Duration) uint32 {
	return uint32(min(max(d, 0)/time.Microsecond, math.MaxUint32))
}
