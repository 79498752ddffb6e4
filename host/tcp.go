package host

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"slices"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/towpath/towpath/clock"
	"github.com/towpath/towpath/firewall/hook"
	"github.com/towpath/towpath/ip/route"
	"github.com/towpath/towpath/link"
	"github.com/towpath/towpath/packet"
	"github.com/towpath/towpath/socket"
	"github.com/towpath/towpath/tcp"
	"github.com/towpath/towpath/wire"
)

// tcpIn finds the connection of a segment, or the listener it may open one at.
func (ln *lane) tcpIn(a *link.Adapter, p *packet.Packet) {
	ln.stats.TCPReceived++
	if !p.Linear(wire.TCPLen) || !p.Linear(wire.TCP(p.Head()).HeaderLen()) || !wire.TCP(p.Head()).Valid() {
		ln.drop(p, packet.ReasonTCPMalformed)
		return
	}
	if p.Checksum == packet.ChecksumNone &&
		wire.Fold(p.TransportSum(wire.PseudoSum(p.Src, p.Dst, wire.ProtoTCP, p.Len()))) != 0xffff {
		ln.drop(p, packet.ReasonTCPChecksum)
		return
	}
	seg := wire.TCP(p.Head())
	p.Data = p.Transport + uint16(seg.HeaderLen())
	var isn uint32
	reuse := false
	if e := ln.tcp.find(p.Dst, p.Src, seg.DstPort(), seg.SrcPort()); e != nil && !e.elsewhere(p) {
		p.Flow = &e.Flow
		if e.sock != nil {
			e.sock.receive(ln, p)
			return
		}
		if isn, reuse = ln.timeWaitIn(e.wait, p); !reuse {
			return
		}
	}
	if l := ln.ports.listener(p.Dst, seg.DstPort(), spread(p.Src, seg.SrcPort()), p.Ingress); l != nil {
		l.receive(ln, a, p, isn, reuse)
		return
	}
	if g, answer := ln.strayed(p); answer {
		ln.refuse(p, g, packet.Track{})
	}
	ln.drop(p, packet.ReasonTCPNoSocket)
}

// refuse answers a segment that belongs to no connection with a reset, signed
// if g is not nil.
func (ln *lane) refuse(p *packet.Packet, g *tcp.Signature, answer packet.Track) {
	if p.Dst.IsMulticast() || p.Src.IsUnspecified() || p.Dst == broadcast4 || ln.isBroadcast(p.Dst) {
		return
	}
	f, ok := tcp.Reset(wire.TCP(p.From(p.Transport)), p.LenFrom(p.Data))
	if !ok {
		return
	}
	r := ln.pool.Get()
	r.Track = answer
	if g == nil {
		wire.PutTCP(r.Push(wire.TCPLen), &f, 0)
	} else {
		r.Data = r.Start()
		g.Push(r, &f)
	}
	ln.tcpReply(r, p)
}

// tcpReply sends the segment r, made without a connection, to the sender of p.
func (ln *lane) tcpReply(r, p *packet.Packet) {
	var d dst
	if ln.route(&d, p.Src, p.Ingress) != packet.NotDropped {
		ln.pool.Free(r)
		return
	}
	r.Src, r.Dst = p.Dst, p.Src
	ln.segmentOut(r, &d)
}

// segmentOut adds the pseudo-header's checksum to a segment and sends it.
func (ln *lane) segmentOut(p *packet.Packet, d *dst) {
	ln.stats.TCPSent++
	if p.Proto = wire.ProtoTCP; p.TTL == 0 {
		p.TTL = ln.ttl(d, p.Dst)
	}
	wire.TCP(p.Head()).SetChecksum(wire.Fold(wire.PseudoSum(p.Src, p.Dst, wire.ProtoTCP, p.Len())))
	p.Checksum, p.CsumOffset = packet.ChecksumPartial, 16
	ln.ipOut(p, d)
}

// tcpSocket is a connection's socket. All but what rd's turn guards is guarded
// by the lane.
type tcpSocket struct {
	conn  tcp.Conn
	lane  *lane
	entry connEntry
	timer clock.Entry // conn's deadline
	way   dst

	nextTouched *tcpSocket // the lane's list
	isTouched   bool

	opened   bool  // handshake complete
	detached bool  // the user has closed it: it ends by itself
	gone     bool  // out of the table
	rdClosed bool  // CloseRead
	wrClosed bool  // CloseWrite
	starved  bool  // a writer waits for the host's memory
	errTaken bool  // somebody was told why it ended
	fast     bool  // began with Fast Open
	ttl, tos uint8 // of its packets; 0: the host's

	closed  atomic.Bool // Close was called: who gives rd's turn back cleans up
	device  int32       // the only adapter it keeps to; 0: any
	mark    uint32      // of its packets
	charged int         // what the host's budget was told of the queues
	linger  int         // seconds, as SetLinger; negative: the default

	failure   error
	listener  *tcpListener // while it waits to be accepted
	nextReady *tcpSocket   // its accept queue
	face      *Socket      // who watches, if anybody
	older     *tcpSocket   // its handshakes
	newer     *tcpSocket
	syn       *[]byte    // headers of the SYN, if they are kept
	early     *fastQueue // opened by a SYN with data, handshake not complete

	rd, wr socket.Side
	rq     packet.List // guarded by rd's turn: taken, not yet read
	left   int         // guarded by rd's turn: bytes in rq
}

// newSocket makes a connection's socket. local and remote are its addresses.
func (ln *lane) newSocket(local, remote netip.AddrPort, way dst) *tcpSocket {
	s := &tcpSocket{lane: ln, way: way, linger: -1}
	ln.host.mem.add(tcpSocketCost)
	s.conn.Owner = s
	s.entry.sock, s.entry.shares = s, true
	ln.tcp.insert(&s.entry, local.Addr(), remote.Addr(), local.Port(), remote.Port())
	s.timer.Fire = s.timeout
	return s
}

// mssDefault6 is what a peer takes that does not say, by IPv6 (RFC 9293
// §3.7.1).
const mssDefault6 = 1220

// initConn prepares the state machine. isn is used if set; opt, if not nil, is
// what a Socket wants.
func (s *tcpSocket) initConn(isn uint32, set bool, opt *sockOptions) {
	cfg := s.config(isn, set, opt)
	if opt != nil {
		s.ttl, s.tos, s.linger = opt.TTL, opt.TOS, opt.Linger
		s.entry.shares = opt.ReuseAddr
		s.device, s.mark = opt.Device, opt.Mark
	}
	s.conn.Init(&cfg, &s.lane.pool, s)
	if opt != nil {
		if opt.KeepAlive {
			s.conn.SetKeepAlive(s.lane.now, opt.KeepIdle, opt.KeepIntv, opt.KeepCount)
		}
		s.conn.SetCork(opt.Cork)
		s.opts(opt)
	}
}

// config is what the connection is made with.
func (s *tcpSocket) config(isn uint32, set bool, opt *sockOptions) tcp.Config {
	ln := s.lane
	f := &s.entry.Tuple
	hdr := wire.IPv4Len + wire.TCPLen
	if f.Src.Is6() {
		hdr = wire.IPv6Len + wire.TCPLen
	}
	fresh, tsOffset := ln.secrets(f)
	if !set {
		isn = fresh
	}
	cfg := tcp.Config{
		LocalPort: f.SrcPort, RemotePort: f.DstPort,
		ISN: isn, TSOffset: tsOffset,
		MSS:    ln.mtu(&s.way, s.entry.Tuple.Dst) - hdr,
		RcvBuf: ln.conf.set.TCPRcvBuf, RcvBufMax: ln.conf.set.TCPRcvBufMax,
		SndBuf: ln.conf.set.TCPSndBuf, SndBufMax: ln.conf.set.TCPSndBufMax,
		NoDelay:    true, // as package net does
		Timestamps: !ln.conf.set.TCPNoTimestamps, WindowScaling: !ln.conf.set.TCPNoWindowScaling,
		SACK: !ln.conf.set.TCPNoSACK, ECN: ln.conf.set.TCPECN, NoFRTO: ln.conf.set.TCPNoFRTO,

		SynRetries: ln.conf.set.TCPSynRetries, SynLinear: ln.conf.set.TCPSynLinear, SynAckRetries: ln.conf.set.TCPSynAckRetries,
		Retries2: ln.conf.set.TCPRetries2, OrphanRetries: ln.conf.set.TCPOrphanRetries,
		FinWait2: time.Duration(ln.conf.set.TCPFinTimeout) * time.Second,

		Congestion: ln.conf.set.TCPCongestion,
		Tuning:     &ln.conf.set.TCP,
	}
	if f.Src.Is6() {
		cfg.MSSDefault = mssDefault6
	}
	if opt != nil {
		opt.configure(&cfg)
		cfg.Signature = opt.signature(f.Src, f.Dst)
	}
	if m := s.way.out.Capabilities().GSOMax; m > 0 {
		cfg.GSOMax = min(m, packet.SizeMax) - hdr - (wire.TCPLenMax - wire.TCPLen)
	}
	return cfg
}

// secrets are what must be hard to guess of a connection: its initial sequence
// number, by RFC 6528 a clock of 4 µs on top of a keyed hash of its addresses,
// and its timestamp offset, another hash of them (RFC 7323 §5.4). Both go up
// from one connection between the same addresses to the next, by which a peer
// in TIME-WAIT knows the new from the old.
func (ln *lane) secrets(f *packet.Tuple) (isn, tsOffset uint32) {
	h := ln.secret(f.Src, f.Dst, f.SrcPort, f.DstPort, 0)
	return uint32(h) + uint32(ln.now/(4*time.Microsecond)), uint32(h >> 32)
}

// secret is a keyed hash of a connection's addresses and 32 bits more.
func (ln *lane) secret(local, remote netip.Addr, lport, rport uint16, more uint32) uint64 {
	var b [40]byte
	l, r := local.As16(), remote.As16()
	copy(b[0:], l[:])
	copy(b[16:], r[:])
	binary.LittleEndian.PutUint16(b[32:], lport)
	binary.LittleEndian.PutUint16(b[34:], rport)
	binary.LittleEndian.PutUint32(b[36:], more)
	return sipHash(ln.host.seed, b[:])
}

// Segment implements [tcp.Output]: it is how a connection's segments enter the
// send walk.
func (s *tcpSocket) Segment(_ *tcp.Conn, p *packet.Packet) {
	ln := s.lane
	f := &s.entry.Tuple
	if s.way.conf != ln.conf {
		if r := s.reroute(); r != packet.NotDropped {
			ln.drop(p, r)
			return
		}
	}
	p.Src, p.Dst, p.Flow, p.Mark = f.Src, f.Dst, &s.entry.Flow, s.mark
	p.TTL, p.TOS = s.ttl, s.tos&^3|p.TOS&3 // the last two bits are the connection's own (RFC 3168)
	if p.GSO.Size != 0 {
		p.GSO.Type = packet.GSOTCP4
		if f.Src.Is6() {
			p.GSO.Type = packet.GSOTCP6
		}
	}
	ln.segmentOut(p, &s.way)
}

// reroute finds the way again after the configuration has changed.
func (s *tcpSocket) reroute() packet.Reason {
	entry, out, next := s.way.entry, s.way.out, s.way.next
	k := route.Key{Dst: s.entry.Tuple.Dst, Src: s.entry.Tuple.Src, Out: s.device, Mark: s.mark, TOS: s.tos}
	r := s.lane.routeBy(&s.way, &k, out.Index(), 0)
	if r != packet.NotDropped {
		s.conn.SoftError(syscall.ENETUNREACH)
		return r
	}
	if s.way.out == out && s.way.next == next {
		s.way.entry = entry
	}
	return packet.NotDropped
}

// receive takes a segment of this connection.
func (s *tcpSocket) receive(ln *lane, p *packet.Packet) {
	if l := s.listener; l != nil && !s.opened && l.n > l.backlog && wire.TCP(p.Head()).Flags()&(wire.TCPSyn|wire.TCPAck|wire.TCPRst) == wire.TCPAck {
		// There is no room to accept it: the peer shall ask again, or is told
		// (Linux: tcp_check_req).
		if ln.conf.set.TCPAbortOnOverflow {
			ln.refuse(p, l.options().signature(p.Dst, p.Src), packet.Track{})
			s.giveUp(ln)
		}
		ln.drop(p, packet.ReasonTCPAcceptQueue)
		return
	}
	if p.LenFrom(p.Data) > 0 && ln.host.mem.exceeded(int64(p.Footprint()), ln.conf.set.MemoryMax) &&
		(s.conn.Readable() > queueFloor || !s.conn.Expects(wire.TCP(p.Head()).Seq())) {
		ln.drop(p, packet.ReasonTCPMemory)
		return
	}
	if r := s.conn.Receive(ln.now, p); r != packet.NotDropped {
		ln.drop(p, r)
	}
	s.charge(ln) // at once: the next of the batch shall see it
	s.touch(ln)
}

// touch makes the end of this hold look after the connection.
func (s *tcpSocket) touch(ln *lane) {
	if !s.isTouched {
		s.isTouched = true
		s.nextTouched, ln.touched = ln.touched, s
	}
}

// timeout is the wheel's call.
func (s *tcpSocket) timeout(now time.Duration) {
	if !s.gone {
		s.conn.Timeout(now)
		s.touch(s.lane)
	}
}

// finish lets the connection send what it may, wakes who waits for what has
// happened, and keeps its timer.
func (s *tcpSocket) finish(ln *lane) {
	if s.failure != nil {
		s.conn.Fail(ln.now, s.failure)
		s.failure = nil
	}
	s.conn.Output(ln.now)
	s.charge(ln)
	ln.drops[packet.ReasonTCPPruned] += uint64(s.conn.Pruned())
	if ev := s.conn.Events(); ev != 0 {
		s.happened(ln, ev)
	}
	if s.detached && s.face != nil {
		s.face.tell(socket.EventOut) // who lingers looks again
	}
	if s.gone {
		return
	}
	ln.scheduleLazily(&s.timer, s.conn.Deadline())
}

// happened acts on a connection's events.
func (s *tcpSocket) happened(ln *lane, ev tcp.Events) {
	if ev&tcp.EventEstablished != 0 {
		if s.early == nil {
			s.established(ln)
		} else {
			s.early.end(ln.now, false)
			s.early = nil
		}
	}
	if ev&(tcp.EventReadable|tcp.EventRemoteClosed|tcp.EventClosed) != 0 {
		ln.wake(s.rd.Wake())
	}
	if ev&(tcp.EventEstablished|tcp.EventWritable|tcp.EventClosed) != 0 {
		ln.wake(s.wr.Wake())
	}
	if s.face != nil {
		s.face.tell(pollEvents(ev))
	}
	if tw, ok := s.conn.TimeWait(); ok {
		ln.keepTimeWait(s, tw)
		s.leave(ln)
	} else if ev&tcp.EventClosed != 0 {
		ln.tcp.remove(&s.entry)
		s.leave(ln)
	}
}

// pollEvents are events of a connection in the words of poll.
func pollEvents(ev tcp.Events) (p socket.Events) {
	if ev&tcp.EventReadable != 0 {
		p |= socket.EventIn
	}
	if ev&(tcp.EventWritable|tcp.EventEstablished) != 0 {
		p |= socket.EventOut
	}
	if ev&tcp.EventUrgent != 0 {
		p |= socket.EventPri
	}
	if ev&tcp.EventRemoteClosed != 0 {
		p |= socket.EventIn | socket.EventRdHup
	}
	if ev&tcp.EventClosed != 0 {
		p |= socket.EventIn | socket.EventOut | socket.EventErr | socket.EventHup | socket.EventRdHup
	}
	return p
}

// established moves a connection on to whoever waits for it.
func (s *tcpSocket) established(ln *lane) {
	s.opened = true
	ln.stats.Established++
	f := &s.entry.Tuple
	local, remote := netip.AddrPortFrom(f.Src, f.SrcPort), netip.AddrPortFrom(f.Dst, f.DstPort)
	if ln.judgeSocket(hook.FlowUp, wire.ProtoTCP, local, remote) != 0 {
		if s.listener != nil { // nobody will accept it
			s.listener.noHalf(s)
			s.listener, s.detached = nil, true
		}
		s.conn.Abort(ln.now)
		s.touch(ln)
		return
	}
	if s.fast {
		s.fastOpenLearn(ln)
	}
	if s.listener != nil {
		ln.stats.TCPAccepted++
		s.listener.ready(ln, s)
	}
}

// leave ends the connection's life in the lane. What it has received can still
// be read.
func (s *tcpSocket) leave(ln *lane) {
	s.gone = true
	ln.stats.TCPRetransmitted += uint64(s.conn.Info().Retrans)
	ln.host.mem.add(-tcpSocketCost)
	ln.wheel.Cancel(&s.timer)
	if s.listener != nil && !s.opened {
		s.listener.noHalf(s)
		s.listener = nil
	}
	if s.early != nil {
		s.early.end(ln.now, s.conn.Err() == syscall.ECONNRESET)
		s.early = nil
	}
	if s.detached {
		s.conn.FreeBuffers()
	}
	if s.face != nil {
		s.face.ended(ln)
	}
	s.charge(ln)
	ln.wake(s.rd.Wake())
	ln.wake(s.wr.Wake())
}

// over reports whether the connection has ended, as far as a program can see.
func (s *tcpSocket) over() bool { return s.gone || s.conn.State() == tcp.StateClosed }

// abort resets the connection.
func (s *tcpSocket) abort(ln *lane) {
	if !s.gone {
		s.conn.Abort(ln.now)
		s.touch(ln)
	}
}

// closeLocked is the lane's close.
func (s *tcpSocket) closeLocked(ln *lane) {
	s.detached = true
	delete(ln.sockets, s)
	ln.wheel.Cancel(&s.rd.Timer)
	ln.wheel.Cancel(&s.wr.Timer)
	ln.wake(s.rd.Wake())
	ln.wake(s.wr.Wake())
	s.abort(ln)
	if s.gone {
		s.conn.FreeBuffers()
	}
	s.purge()
}

// tcpError tells a connection of an ICMP error about one of its segments. It
// is acted on at the end of the hold: the connection may be in the middle of
// sending.
func (ln *lane) tcpError(q *quoted, c icmpCause) bool {
	e := ln.tcp.find(q.src, q.dst, q.srcPort, q.dstPort)
	if e == nil || e.sock == nil || !e.sock.conn.UnreachableSeq(q.seq) {
		return false // RFC 5927 §4: not about anything in flight
	}
	s := e.sock
	switch {
	case c.errno == syscall.EMSGSIZE:
		s.shrink(ln, int(c.rest))
	case s.conn.State() == tcp.StateSynSent || s.conn.State() == tcp.StateSynReceived && s.early == nil:
		s.failure = c.errno // RFC 1122 §4.2.3.9 and Linux: give up connecting
	default:
		s.conn.SoftError(c.errno)
	}
	s.touch(ln)
	return true
}

// shrink takes a smaller path MTU (RFC 1191, RFC 8201).
func (s *tcpSocket) shrink(ln *lane, mtu int) {
	f := &s.entry.Tuple
	hdr := wire.IPv4Len
	if f.Src.Is6() {
		hdr = wire.IPv6Len
	}
	known := ln.mtu(&s.way, f.Dst)
	if mtu = ln.learnPMTU(f.Dst, mtu, known); mtu < known {
		s.conn.SetMSS(mtu-hdr-wire.TCPLen, ln.now)
	}
}

// ---- listening

// tcpListener is a socket that connections come to. Its accept queue is
// guarded by the lane.
type tcpListener struct {
	lane    *lane
	binding binding
	backlog int

	fast           fastQueue
	half           int // connections in the handshake
	oldest, newest *tcpSocket

	rd          socket.Side
	first, last *tcpSocket // established, not yet accepted
	n           int
	closed      bool
	cookies     time.Duration // until then SYN cookies may come back
	face        *Socket       // whose listener it is, if one's
}

// options are what its connections begin with.
func (l *tcpListener) options() *sockOptions {
	if l.face == nil {
		return nil
	}
	return &l.face.opt
}

// next takes a connection off the accept queue; nil if there is none.
func (l *tcpListener) next() *tcpSocket {
	s := l.first
	if s == nil {
		return nil
	}
	if l.first = s.nextReady; l.first == nil {
		l.last = nil
	}
	l.n--
	s.nextReady, s.listener = nil, nil
	return s
}

// listen makes a listener; a zero port means an ephemeral one.
func (h *Host) listen(b binding, backlog int) (*tcpListener, error) {
	ln := &h.lane
	ln.lock()
	defer ln.unlock(nil)
	if ln.closed {
		return nil, errNetClosed
	}
	if !b.addr.IsUnspecified() && !ln.bindable(b.addr) {
		return nil, syscall.EADDRNOTAVAIL
	}
	if b.port == 0 {
		b.port = ln.ephemeral(func(port uint16) bool {
			try := b
			try.port = port
			return ln.ports.free(wire.ProtoTCP, &try)
		})
	}
	if b.port == 0 || !ln.ports.free(wire.ProtoTCP, &b) {
		return nil, syscall.EADDRINUSE
	}
	local := netip.AddrPortFrom(b.addr, b.port)
	for _, at := range []hook.SocketPoint{hook.SocketBind, hook.SocketListen} {
		if e := ln.judgeSocket(at, wire.ProtoTCP, local, netip.AddrPort{}); e != 0 {
			return nil, e
		}
	}
	l := &tcpListener{lane: ln, binding: b, backlog: ln.conf.set.Somaxconn}
	if backlog > 0 {
		l.backlog = min(backlog, l.backlog)
	}
	if ln.conf.set.FastOpen(FastOpenServer | FastOpenAllListeners) {
		l.fast.max = l.backlog
	}
	ln.ports.listeners[b.port] = append(ln.ports.listeners[b.port], l)
	ln.sockets[l] = struct{}{}
	return l, nil
}

// receive takes a segment that belongs to no connection yet (RFC 9293
// §3.10.7.2).
func (l *tcpListener) receive(ln *lane, a *link.Adapter, p *packet.Packet, isn uint32, setISN bool) {
	g := l.options().signature(p.Dst, p.Src)
	if r := g.Check(p); r != packet.NotDropped {
		ln.drop(p, r)
		return
	}
	cookie, mss, resumes := ln.cookieIn(l, p)
	if resumes {
		isn, setISN = cookie, true
	} else if !ln.opens(p, g) {
		ln.drop(p, packet.ReasonTCPListen)
		return
	}
	if l.n > l.backlog {
		ln.drop(p, packet.ReasonTCPBacklog)
		return
	}
	if ln.host.mem.exceeded(tcpSocketCost, ln.conf.set.MemoryMax) {
		ln.drop(p, packet.ReasonTCPSynMemory)
		return
	}
	if !resumes && (l.half >= ln.conf.set.SynBacklog || l.half > l.backlog) {
		if !ln.conf.set.NoSynCookies {
			ln.sendCookie(l, a, p)
			return
		}
		// A flood of SYNs that nobody follows up drives out its own: who is in
		// earnest finishes within a round trip.
		ln.stats.SynOverflow++
		l.oldest.giveUp(ln)
	}
	seg := wire.TCP(p.From(p.Transport))
	local, remote := netip.AddrPortFrom(p.Dst, seg.DstPort()), netip.AddrPortFrom(p.Src, seg.SrcPort())
	if ln.judgeSocket(hook.FlowIn, wire.ProtoTCP, local, remote) != 0 {
		ln.drop(p, packet.ReasonSocketRule)
		return
	}
	var d dst
	if ln.routeFor(&d, p.Src, a.Index(), p.Dst, l.options()) != 0 {
		ln.drop(p, packet.ReasonTCPNoRoute)
		return
	}
	s := ln.newSocket(local, remote, d)
	s.initConn(isn, setISN, l.options())
	s.listener = l
	l.addHalf(s)
	var r packet.Reason
	if resumes {
		r = s.conn.Resume(ln.now, p, mss)
	} else {
		if o := l.options(); o != nil {
			s.conn.DeferAccept(o.DeferAccept)
			if o.SaveSYN {
				syn := bytes.Clone(p.From(p.Net)[:p.Data-p.Net])
				s.syn = &syn
			}
		}
		give, take := ln.fastOpenSYN(l, p)
		if give != nil || take {
			s.conn.AcceptFastOpen(give, take)
		}
		r = s.conn.Listen(ln.now, p)
	}
	if r != packet.NotDropped {
		ln.drop(p, r)
		ln.tcp.remove(&s.entry)
		s.leave(ln)
		return
	}
	if resumes {
		ln.stats.SynCookiesReceived++
		s.receive(ln, p)
		return
	}
	if s.conn.Early() {
		s.acceptEarly(ln)
	}
	s.charge(ln)
	s.touch(ln)
}

// opens reports whether a segment to a listener opens a connection; an
// acknowledgment of something unheard of is answered with a reset, signed if g
// is not nil.
func (ln *lane) opens(p *packet.Packet, g *tcp.Signature) bool {
	const all = wire.TCPSyn | wire.TCPAck | wire.TCPRst | wire.TCPFin
	flags := wire.TCP(p.From(p.Transport)).Flags() & all
	if flags&(wire.TCPRst|wire.TCPAck) == wire.TCPAck {
		ln.refuse(p, g, packet.Track{})
	}
	return flags == wire.TCPSyn && !p.Dst.IsMulticast() && p.Dst != broadcast4 && !ln.isBroadcast(p.Dst)
}

// addHalf and noHalf keep the list of connections in the handshake.
func (l *tcpListener) addHalf(s *tcpSocket) {
	s.older = l.newest
	if l.newest != nil {
		l.newest.newer = s
	} else {
		l.oldest = s
	}
	l.newest = s
	l.half++
}

func (l *tcpListener) noHalf(s *tcpSocket) {
	if s.older != nil {
		s.older.newer = s.newer
	} else {
		l.oldest = s.newer
	}
	if s.newer != nil {
		s.newer.older = s.older
	} else {
		l.newest = s.older
	}
	s.older, s.newer = nil, nil
	l.half--
}

// giveUp ends a connection in the handshake without a word.
func (s *tcpSocket) giveUp(ln *lane) {
	s.conn.Fail(ln.now, syscall.ECONNABORTED)
	ln.tcp.remove(&s.entry)
	s.conn.FreeBuffers()
	s.leave(ln)
}

// ready queues a connection whose handshake is complete.
func (l *tcpListener) ready(ln *lane, s *tcpSocket) {
	l.noHalf(s)
	if l.last == nil {
		l.first = s
	} else {
		l.last.nextReady = s
	}
	l.last = s
	l.n++
	ln.wake(l.rd.Wake())
	if l.face != nil {
		l.face.tell(socket.EventIn)
	}
}

// accept takes the next connection, waiting for one.
func (l *tcpListener) accept() (*tcpSocket, error) {
	l.rd.Take()
	defer l.rd.Give()
	ln := l.lane
	for {
		ln.lock()
		switch {
		case l.closed:
			ln.unlock(nil)
			return nil, errNetClosed
		case l.rd.HasDeadline() && l.rd.Expired(ln.now):
			ln.unlock(nil)
			return nil, errDeadline
		}
		if s := l.next(); s != nil {
			ln.sockets[s] = struct{}{}
			ln.unlock(nil)
			return s, nil
		}
		l.rd.Prepare()
		ln.unlock(nil)
		l.rd.Sleep()
	}
}

func (l *tcpListener) close() error {
	ln := l.lane
	ln.lock()
	defer ln.unlock(nil)
	if l.closed {
		return errNetClosed
	}
	l.closeLocked(ln)
	return nil
}

// closeLocked stops listening and resets what nobody has accepted.
func (l *tcpListener) closeLocked(ln *lane) {
	ln.judgeSocket(hook.SocketClose, wire.ProtoTCP, netip.AddrPortFrom(l.binding.addr, l.binding.port), netip.AddrPort{})
	l.closed = true
	delete(ln.sockets, l)
	ln.wheel.Cancel(&l.rd.Timer)
	port := l.binding.port
	rest := slices.DeleteFunc(ln.ports.listeners[port], func(o *tcpListener) bool { return o == l })
	if len(rest) == 0 {
		delete(ln.ports.listeners, port)
	} else {
		ln.ports.listeners[port] = rest
	}
	for s := l.first; s != nil; s = s.nextReady {
		s.listener = nil
		s.detached = true
		s.abort(ln)
	}
	l.first, l.last, l.n = nil, nil, 0
	for s := l.oldest; s != nil; s = l.oldest {
		l.noHalf(s)
		s.listener = nil
		s.detached = true
		s.abort(ln)
	}
	ln.wake(l.rd.Wake())
}
