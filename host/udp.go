package host

import (
	"net/netip"
	"sync"
	"syscall"

	"github.com/towpath/towpath/clock"
	"github.com/towpath/towpath/firewall/hook"
	"github.com/towpath/towpath/link"
	"github.com/towpath/towpath/packet"
	"github.com/towpath/towpath/socket"
	"github.com/towpath/towpath/wire"
)

// udpIn finds the socket of a datagram.
func (ln *lane) udpIn(a *link.Adapter, p *packet.Packet) {
	size := p.Len()
	if !p.Linear(wire.UDPLen) || !wire.UDP(p.Head()).Valid(size) {
		ln.drop(p, packet.ReasonUDPMalformed)
		return
	}
	udp := wire.UDP(p.Head())
	if n := udp.Len(); n < size {
		p.Truncate(n)
	}
	if p.Checksum == packet.ChecksumNone && !udpChecksumOK(p, udp) {
		ln.drop(p, packet.ReasonUDPChecksum)
		return
	}
	p.Data = p.Transport + wire.UDPLen
	if p.Dst.IsMulticast() || p.Dst == broadcast4 || ln.conf.addrs.Broadcast(a.Index(), p.Dst) {
		ln.udpToAll(p, udp)
		return
	}
	s := ln.ports.datagram(p.Dst, p.Src, udp.DstPort(), udp.SrcPort(), p.Ingress)
	if s == nil {
		p.Track = packet.Track{} // the packet has arrived: its flow is found by what is quoted
		ln.icmpError(a, p, icmpPort)
		ln.drop(p, packet.ReasonUDPNoSocket)
		return
	}
	s.deliver(ln, p)
}

// udpToAll delivers a datagram that is for many: every socket that fits gets a
// copy (RFC 1122 §4.1.3.5).
func (ln *lane) udpToAll(p *packet.Packet, udp wire.UDP) {
	var last *udpSocket
	unheard := false
	for _, s := range ln.ports.datagrams[udp.DstPort()] {
		if !s.takes(p, udp.SrcPort()) {
			continue
		}
		if !s.hears(p) {
			unheard = true
			continue
		}
		if last != nil {
			last.deliver(ln, p.Clone())
		}
		last = s
	}
	switch {
	case last != nil:
		last.deliver(ln, p)
	case unheard:
		ln.drop(p, packet.ReasonUDPSource)
	default:
		ln.drop(p, packet.ReasonUDPNoListener)
	}
}

// takes reports whether a datagram to a group or network is for the socket.
func (s *udpSocket) takes(p *packet.Packet, srcPort uint16) bool {
	b, dst, src := &s.binding, p.Dst, p.Src
	if b.device != 0 && b.device != p.Ingress {
		return false
	}
	if dst.Is4() && !b.v4 || dst.Is6() && !b.v6 {
		return false
	}
	if s.remote.IsValid() && (s.remote.Addr() != src || s.remote.Port() != srcPort) {
		return false
	}
	return b.addr.IsUnspecified() || b.addr == dst
}

// udpChecksumOK verifies a datagram's checksum. Zero means that the sender has
// made none, which only IPv4 allows (RFC 768, RFC 8200 §8.1).
func udpChecksumOK(p *packet.Packet, udp wire.UDP) bool {
	if udp.Checksum() == 0 {
		return p.Src.Is4()
	}
	return wire.Fold(p.TransportSum(wire.PseudoSum(p.Src, p.Dst, wire.ProtoUDP, p.Len()))) == 0xffff
}

// udpSocket is a datagram socket. Its queue has a lock of its own, below the
// lane's: who receives need not take the lane.
type udpSocket struct {
	lane    *lane
	proto   wire.Proto // UDP; ICMP or ICMPv6 of a ping socket, whose port is the identifier of its echoes
	binding binding
	local   netip.AddrPort // as bound: the address may be unspecified
	remote  netip.AddrPort // valid if connected
	bcast   bool           // Linux: SO_BROADCAST
	noLoop  bool           // not IP_MULTICAST_LOOP
	scope   int32          // adapter of a link-local peer
	ttl     uint8          // of what is sent; 0: the host's
	tos     uint8
	joined  []udpMember // guarded by lane.mu
	face    *Socket     // who watches, if anybody
	wild    netip.Addr  // of a Socket: the address it was bound to
	raw     *raw        // of a raw socket; nil otherwise
	filter  PacketFilter

	way dst // guarded by lane.mu: the way to wayTo
	to  netip.Addr

	mu     sync.Mutex // leaf
	rd     socket.Side
	wrSide socket.Side // its deadline only: sending does not block
	queue  packet.List
	queued int         // footprint of queue
	limit  int         // bound of queued
	spent  packet.List // read packets, for the lane's pool
	err    error       // pending, returned once (Linux: SO_ERROR)
	errs   []SocketError
	closed bool

	rdClosed, wrClosed bool // of a Socket
}

// spentMax is how many read packets a socket keeps for the lane's pool.
const spentMax = 64

// deliver queues a datagram for the reader.
func (s *udpSocket) deliver(ln *lane, p *packet.Packet) {
	if s.filter != nil && s.filtered(ln, p) {
		ln.drop(p, packet.ReasonUDPFilter)
		return
	}
	switch s.enqueue(ln, p) {
	case queued:
		if s.proto == wire.ProtoUDP {
			ln.stats.UDPReceived++
		}
	case queueFull:
		ln.drop(p, packet.ReasonUDPQueueFull)
	case queueMemory:
		ln.drop(p, packet.ReasonUDPMemory)
	}
}

// What enqueue may say.
const (
	queued      = iota
	queueFull   // the socket's queue is
	queueMemory // the host's budget is used up
)

// enqueue takes p if there is room for it.
func (s *udpSocket) enqueue(ln *lane, p *packet.Packet) int {
	s.mu.Lock()
	ln.pool.FreeList(&s.spent)
	if s.queued+p.Footprint() > s.limit {
		s.mu.Unlock()
		return queueFull
	}
	if ln.host.mem.exceeded(int64(p.Footprint()), ln.conf.set.MemoryMax) {
		s.mu.Unlock()
		return queueMemory
	}
	if s.face != nil && s.face.opt.Timestamps {
		p.Stamp = ln.now
	}
	s.queued += p.Footprint()
	ln.host.mem.add(int64(p.Footprint()))
	s.queue.Push(p)
	ln.wake(s.rd.Wake())
	s.mu.Unlock()
	if s.face != nil {
		s.face.tell(socket.EventIn)
	}
	return queued
}

// udpOpen makes a socket. A zero port in local means an ephemeral one; a valid
// remote connects it.
func (h *Host) udpOpen(proto wire.Proto, b binding, remote netip.AddrPort) (*udpSocket, error) {
	ln := &h.lane
	ln.lock()
	defer ln.unlock(nil)
	if ln.closed {
		return nil, errNetClosed
	}
	if h.mem.exceeded(udpSocketCost, ln.conf.set.MemoryMax) {
		return nil, syscall.ENOBUFS
	}
	s := &udpSocket{lane: ln, proto: proto, binding: b, remote: remote, limit: ln.conf.set.UDPRcvBuf}
	if remote.IsValid() {
		var d dst
		ip, scope, e := ln.unzone(remote.Addr())
		if e != 0 {
			return nil, e
		}
		s.remote = netip.AddrPortFrom(ip, remote.Port())
		if proto != wire.ProtoUDP {
			s.remote = netip.AddrPortFrom(ip, 0) // echoes have no port there
		}
		s.scope = scope
		if e := ln.routeFrom(&d, ip, scope, b.addr); e != 0 {
			return nil, e
		}
		s.binding.addr = d.src
	}
	if !s.binding.addr.IsUnspecified() {
		if !ln.bindable(s.binding.addr) {
			return nil, syscall.EADDRNOTAVAIL
		}
		s.binding.v4, s.binding.v6 = s.binding.addr.Is4(), s.binding.addr.Is6()
	}
	if b.port == 0 {
		s.binding.port = ln.ephemeral(func(port uint16) bool {
			try := s.binding
			try.port = port
			return ln.ports.free(proto, &try) && (proto == wire.ProtoUDP || ln.pings[port] == nil)
		})
	}
	if s.binding.port == 0 || !ln.ports.free(proto, &s.binding) {
		return nil, syscall.EADDRINUSE
	}
	s.local = netip.AddrPortFrom(s.binding.addr, s.binding.port)
	if e := ln.judgeSocket(hook.SocketBind, proto, s.local, remote); e != 0 {
		return nil, e
	}
	ln.ports.add(s)
	ln.sockets[s] = struct{}{}
	h.mem.add(udpSocketCost)
	return s, nil
}

// bindable reports whether a socket may have this address as its own.
func (ln *lane) bindable(ip netip.Addr) bool {
	_, ours := ln.conf.addrs.Local(ip)
	return ours || ip.Is4() && ip.IsLoopback() || ip.IsMulticast() || ip == broadcast4
}

// apply puts into p what is wanted of it.
func (i *PacketInfo) apply(ln *lane, p *packet.Packet) syscall.Errno {
	if i.Local.IsValid() && !i.Local.IsUnspecified() {
		if !ln.bindable(i.Local) || i.Local.IsMulticast() || i.Local.Is4() != p.Dst.Is4() {
			return syscall.EADDRNOTAVAIL
		}
		p.Src = i.Local
	}
	if i.TTL != 0 {
		p.TTL = i.TTL
	}
	if i.TOS != 0 {
		p.TOS = i.TOS
	}
	return 0
}

// send sends one datagram. info, if not nil, says more about it.
func (s *udpSocket) send(b []byte, to netip.AddrPort, info *PacketInfo) error {
	ln := s.lane
	if len(b) > packet.SizeMax-wire.UDPLen {
		return syscall.EMSGSIZE
	}
	var seq uint16
	if s.proto != wire.ProtoUDP {
		var ok bool
		if seq, ok = echoSeq(s.proto, b); !ok {
			return syscall.EINVAL
		}
		b = b[wire.ICMPLen:]
	}
	var p *packet.Packet
	if len(b) > packet.SmallChunk { // copied before the lane is locked
		p = packet.Get()
		p.AppendBytes(b)
	}
	ln.lock()
	err := s.sendLocked(ln, &p, b, seq, to, info)
	if err != nil && p != nil {
		ln.pool.Free(p)
	}
	ln.unlock(nil)
	return err
}

func (s *udpSocket) sendLocked(ln *lane, pp **packet.Packet, b []byte, seq uint16, to netip.AddrPort, info *PacketInfo) error {
	s.mu.Lock()
	err := s.err
	s.err = nil
	if s.closed {
		err = errNetClosed
	}
	if err == nil && s.wrSide.HasDeadline() && s.wrSide.Expired(ln.now) {
		err = errDeadline
	}
	s.mu.Unlock()
	if err != nil {
		return err
	}
	ip := to.Addr()
	if s.way.conf != ln.conf || s.to != ip {
		if e := s.connectTo(ln, ip); e != 0 {
			return e
		}
	}
	p := *pp
	if p == nil {
		p = ln.pool.Get()
		if len(b) <= len(p.Room()) {
			copy(p.Append(len(b)), b)
		} else {
			c := ln.pool.Chunk(len(b))
			p.AppendOwned(c, 0, copy(c.Bytes(), b))
		}
		*pp = p
	}
	size := wire.UDPLen + len(b) // an ICMP header is as long
	if ip.Is4() && wire.IPv4Len+size > packet.SizeMax || size > packet.SizeMax {
		return syscall.EMSGSIZE
	}
	if err := s.fitsPath(ln, to, size); err != 0 {
		return err
	}
	if err := s.address(ln, p, ip, info); err != 0 {
		return err
	}
	if s.proto != wire.ProtoUDP {
		t := uint8(wire.ICMPv4EchoRequest)
		if s.proto == wire.ProtoICMPv6 {
			t = uint8(wire.ICMPv6EchoRequest)
		}
		wire.PutICMP(p.Push(wire.ICMPLen), t, 0, 0, wire.ICMPEcho(s.local.Port(), seq))
		*pp = nil
		ln.icmpOut(p, &s.way)
		return nil
	}
	pseudo := wire.Fold(wire.PseudoSum(p.Src, p.Dst, wire.ProtoUDP, size))
	wire.PutUDP(p.Push(wire.UDPLen), s.local.Port(), to.Port(), size, pseudo)
	p.Checksum, p.CsumOffset = packet.ChecksumPartial, 6
	p.Data = p.Start() + wire.UDPLen
	*pp = nil
	ln.stats.UDPSent++
	ln.unlooped = s.noLoop
	ln.ipOutWith(p, &s.way, nil, s.discover(ip))
	ln.unlooped = false
	return nil
}

// address puts into p what its IP header will say, for a packet to ip by the
// socket's way.
func (s *udpSocket) address(ln *lane, p *packet.Packet, ip netip.Addr, info *PacketInfo) syscall.Errno {
	p.Proto, p.Src, p.Dst, p.TTL, p.TOS = s.proto, s.way.src, ip.WithZone(""), ln.ttl(&s.way, ip), s.tos
	switch {
	case ip.IsMulticast() && s.face != nil:
		p.TTL = s.face.opt.MulticastTTL
	case s.ttl != 0:
		p.TTL = s.ttl
	case ip.IsMulticast():
		p.TTL = 1 // RFC 1112 §6.1
	}
	if s.face != nil {
		p.Mark = s.face.opt.Mark
	}
	if info == nil {
		return 0
	}
	return info.apply(ln, p)
}

// discover is whether the socket's datagrams to ip may be fragmented.
func (s *udpSocket) discover(ip netip.Addr) MTUDiscover {
	switch {
	case s.face == nil:
		return MTUWant
	case ip.Is4():
		return s.face.opt.MTUDiscover
	}
	return s.face.opt.MTUDiscover6
}

// fitsPath refuses a datagram, of size bytes behind its IP header, that must
// not be fragmented and is too large for the path or, if it is a probe, for the
// link.
func (s *udpSocket) fitsPath(ln *lane, to netip.AddrPort, size int) syscall.Errno {
	ip := to.Addr()
	var mtu int
	switch s.discover(ip) {
	case MTUDo:
		mtu = ln.mtu(&s.way, ip)
	case MTUProbe, MTUInterface:
		mtu = s.way.linkMTU()
	default:
		return 0
	}
	if ipSize(ip, size) <= mtu {
		return 0
	}
	s.keepLocal(ln, to, mtu)
	return syscall.EMSGSIZE
}

// connectTo finds the way to a peer and keeps it for the next datagram.
func (s *udpSocket) connectTo(ln *lane, to netip.Addr) syscall.Errno {
	ip, scope, e := ln.unzone(to)
	if e != 0 {
		return e
	}
	if scope == 0 {
		scope = s.scope
	}
	switch {
	case !ip.IsValid() || ip.IsUnspecified():
		return syscall.EDESTADDRREQ
	case ip.Is4() && !s.binding.v4 || ip.Is6() && !s.binding.v6:
		return syscall.EAFNOSUPPORT
	case (ip == broadcast4 || ln.isBroadcast(ip)) && !s.bcast:
		return syscall.EACCES
	}
	src := s.local.Addr()
	if src.IsMulticast() || src == broadcast4 {
		src = netip.Addr{}
	}
	var o *sockOptions
	if s.face != nil {
		o = &s.face.opt
	}
	if e := ln.routeFor(&s.way, ip, scope, src, o); e != 0 {
		s.way.conf = nil
		return e
	}
	s.to = to
	return ln.judgeSocket(hook.SocketSendNewPeer, s.proto, s.local, netip.AddrPortFrom(ip, 0))
}

// isBroadcast reports whether ip is a broadcast address of one of our networks.
func (ln *lane) isBroadcast(ip netip.Addr) bool {
	if !ip.Is4() {
		return false
	}
	for _, a := range ln.conf.adapters {
		if a != nil && ln.conf.addrs.Broadcast(a.Index(), ip) {
			return true
		}
	}
	return false
}

// recv takes one datagram off the queue, waiting for one. It copies the
// payload to b and returns its length, which may be more than len(b).
func (s *udpSocket) recv(b []byte) (n int, d datagram, err error) {
	s.rd.Take()
	defer s.rd.Give()
	for {
		s.mu.Lock()
		switch {
		case s.closed:
			err = errNetClosed
		case s.rd.HasDeadline() && s.rd.Expired(s.lane.host.clock.Now()):
			err = errDeadline
		case s.err != nil:
			err, s.err = s.err, nil
		}
		if err != nil {
			s.mu.Unlock()
			return 0, d, err
		}
		if p := s.queue.Pop(); p != nil {
			s.queued -= p.Footprint()
			s.lane.host.mem.add(-int64(p.Footprint()))
			s.mu.Unlock()
			d = datagramOf(p)
			n = p.LenFrom(p.Data)
			p.CopyTo(b, int(p.Data-p.Start()))
			s.giveBack(p)
			return n, d, nil
		}
		s.rd.Prepare()
		s.mu.Unlock()
		s.rd.Sleep()
	}
}

// giveBack keeps a read packet for the lane's pool.
func (s *udpSocket) giveBack(p *packet.Packet) {
	s.mu.Lock()
	keep := s.spent.Len() < spentMax && !s.closed
	if keep {
		s.spent.Push(p)
	}
	s.mu.Unlock()
	if !keep {
		packet.Free(p)
	}
}

// close ends the socket; what is queued is dropped.
func (s *udpSocket) close() error {
	ln := s.lane
	ln.lock()
	defer ln.unlock(nil)
	if s.isClosed() {
		return errNetClosed
	}
	s.closeLocked(ln)
	return nil
}

func (s *udpSocket) isClosed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closed
}

func (s *udpSocket) closeLocked(ln *lane) {
	ln.judgeSocket(hook.SocketClose, s.proto, s.local, s.remote)
	delete(ln.sockets, s)
	s.leaveGroups(ln)
	s.unbind(ln)
	ln.wheel.Cancel(&s.rd.Timer)
	s.mu.Lock()
	s.closed = true
	s.forgetErrors()
	ln.pool.FreeList(&s.spent)
	for p := s.queue.Pop(); p != nil; p = s.queue.Pop() {
		ln.drop(p, packet.ReasonUDPClosed)
	}
	ln.host.mem.add(-udpSocketCost - int64(s.queued))
	s.queued = 0
	ln.wake(s.rd.Wake())
	s.mu.Unlock()
}

// setReadDeadline sets the instant from which on recv fails.
func (s *udpSocket) setReadDeadline(ln *lane, at clockInstant) {
	if s.rd.Timer.Fire == nil {
		s.rd.Timer.Fire = func(clockInstant) {
			s.mu.Lock()
			ln.wake(s.rd.Wake())
			s.mu.Unlock()
		}
	}
	s.mu.Lock()
	s.rd.SetDeadline(at)
	if at != clock.Never && at <= ln.now {
		ln.wake(s.rd.Wake())
	}
	s.mu.Unlock()
	ln.wheel.Cancel(&s.rd.Timer)
	if at > ln.now {
		ln.schedule(&s.rd.Timer, at)
	}
}

// udpError tells a socket of an ICMP error about a datagram it sent. Only
// connected sockets hear of them, and those that keep errors, as on Linux; of
// soft ones only those that keep them, and package net's types, who have no
// other way to learn why nobody answers.
func (ln *lane) udpError(q *quoted, c icmpCause) bool {
	var s *udpSocket
	if q.proto == wire.ProtoUDP {
		s = ln.ports.datagram(q.src, q.dst, q.srcPort, q.dstPort, 0)
	} else {
		s = ln.ports.echo(q.proto, q.src, q.dst, uint16(q.seq>>16), 0)
	}
	if s == nil {
		return false
	}
	if c.errno == syscall.EMSGSIZE {
		var d dst
		if ln.route(&d, q.dst, 0) == packet.NotDropped {
			ln.learnPMTU(q.dst, int(c.rest), ln.mtu(&d, q.dst))
		}
	}
	if c.errno != 0 && (s.keepError(ln, q, &c) || s.remote.IsValid() && (s.face == nil || c.hard(q.dst.Is6()))) {
		s.fail(ln, c.errno)
	}
	return true
}
