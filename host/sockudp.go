package host

import (
	"net/netip"
	"syscall"

	"github.com/towpath/towpath/firewall/hook"
	"github.com/towpath/towpath/packet"
	"github.com/towpath/towpath/socket"
	"github.com/towpath/towpath/wire"
)

// The datagram half of Socket. Its udpSocket has no port until it is bound,
// connected or sent from.

func (s *Socket) openDatagram(h *Host) syscall.Errno {
	ln := s.ln
	ln.lock()
	defer ln.unlock(nil)
	switch {
	case ln.closed:
		return syscall.ENETDOWN
	case h.mem.exceeded(udpSocketCost, ln.conf.set.MemoryMax):
		return syscall.ENOBUFS
	}
	s.udp = &udpSocket{
		lane: ln, proto: s.proto, face: s, limit: ln.conf.set.UDPRcvBuf,
		binding: binding{addr: s.any(), v4: !s.six || s.proto == wire.ProtoUDP && s.typ == SockDgram, v6: s.six},
		local:   netip.AddrPortFrom(s.any(), 0),
	}
	if s.typ == SockRaw {
		s.udp.openRaw(ln)
	}
	h.mem.add(udpSocketCost)
	ln.sockets[s] = struct{}{}
	return 0
}

// bindDatagram takes an address and a port.
func (s *Socket) bindDatagram(ln *lane, ip netip.Addr, port uint16) syscall.Errno {
	u := s.udp
	if u.raw != nil {
		return u.bindRaw(ln, ip)
	}
	if u.binding.port != 0 {
		return syscall.EINVAL
	}
	if !ip.IsUnspecified() && !s.mayBind(ln, ip) {
		return syscall.EADDRNOTAVAIL
	}
	b := s.bindingTo(ip, port)
	if port == 0 && s.opt.NoPort {
		u.binding.addr, u.wild, u.local = ip, ip, netip.AddrPortFrom(ip, 0)
		return 0
	}
	if e := u.take(ln, &b); e != 0 {
		return e
	}
	s.lockPort = true
	return 0
}

// autobind gives a datagram socket a port if it has none.
func (s *Socket) autobind(ln *lane) syscall.Errno {
	if s.udp.binding.port != 0 || s.udp.raw != nil {
		return 0
	}
	at := s.any()
	if s.udp.wild.IsValid() {
		at = s.udp.wild
	}
	b := s.bindingTo(at, 0)
	b.reuseAddr = false
	if e := s.udp.take(ln, &b); e != 0 {
		if e == syscall.EADDRINUSE {
			return syscall.EAGAIN // as Linux, if there is no port left
		}
		return e
	}
	return 0
}

// take binds the socket; a zero port means an ephemeral one.
func (s *udpSocket) take(ln *lane, b *binding) syscall.Errno {
	if b.port == 0 {
		b.port = ln.ephemeral(func(port uint16) bool {
			try := *b
			try.port, try.reuseAddr = port, false
			return ln.ports.free(s.proto, &try) && (s.proto == wire.ProtoUDP || ln.pings[port] == nil)
		})
	}
	if b.port == 0 || !ln.ports.free(s.proto, b) {
		return syscall.EADDRINUSE
	}
	local := netip.AddrPortFrom(b.addr, b.port)
	if e := ln.judgeSocket(hook.SocketBind, s.proto, local, s.remote); e != 0 {
		return e
	}
	s.binding, s.local = *b, local
	s.wild = b.addr
	ln.ports.add(s)
	return 0
}

// orLoopback is ip, or if it is unspecified this host itself.
func (s *Socket) orLoopback(ip netip.Addr) netip.Addr {
	switch {
	case !ip.IsUnspecified():
		return ip
	case s.six:
		return netip.IPv6Loopback()
	}
	return loopback4
}

func (s *Socket) connectDatagram(ln *lane, a netip.AddrPort) syscall.Errno {
	u := s.udp
	ip, e := s.family(a.Addr())
	if e != 0 {
		return e
	}
	ip, scope, e := ln.unzone(ip)
	if e != 0 {
		return e
	}
	ip = s.orLoopback(ip)
	if (ip == broadcast4 || ln.isBroadcast(ip)) && !s.opt.Broadcast {
		return syscall.EACCES
	}
	if e := s.autobind(ln); e != 0 {
		return e
	}
	src := u.wild
	if src.IsMulticast() || src == broadcast4 {
		src = netip.Addr{}
	}
	if ip.Is4() && !u.binding.v4 || ip.Is6() && !u.binding.v6 {
		return syscall.ENETUNREACH
	}
	var d dst
	if e := ln.routeFor(&d, ip, scope, src, &s.opt); e != 0 {
		return e
	}
	port := a.Port()
	if u.raw == nil && s.proto != wire.ProtoUDP {
		port = 0
	}
	u.remote, u.scope = netip.AddrPortFrom(ip, port), scope
	if u.wild.IsUnspecified() {
		u.local = netip.AddrPortFrom(d.src, u.binding.port)
		u.binding.addr = d.src
	}
	u.way.conf = nil
	return 0
}

// unbind takes the socket out of the tables by which packets find it.
func (s *udpSocket) unbind(ln *lane) {
	if s.raw != nil {
		ln.removeRaw(s)
		return
	}
	ln.ports.remove(s)
}

// disconnect takes the peer away, and a port that was not asked for.
func (s *udpSocket) disconnect(ln *lane, keep bool) {
	s.remote, s.scope, s.way.conf = netip.AddrPort{}, 0, nil
	s.binding.addr = s.wild
	if !s.wild.IsValid() {
		return
	}
	if !keep {
		s.unbind(ln)
		s.binding.port = 0
	}
	s.local = netip.AddrPortFrom(s.binding.addr, s.binding.port)
}

func (s *Socket) sendDatagram(b []byte, to netip.AddrPort, info *PacketInfo) (int, syscall.Errno) {
	u := s.udp
	if u.raw != nil {
		return s.sendRaw(b, to, info)
	}
	size := 0
	e := s.hold(func(ln *lane) syscall.Errno {
		size = s.opt.SegmentSize
		if e := s.autobind(ln); e != 0 {
			return e
		}
		switch {
		case len(b) > packet.SizeMax-wire.IPv4Len-wire.UDPLen && (u.binding.v4 && !u.binding.v6):
			return syscall.EMSGSIZE
		case to.IsValid() && to.Port() == 0 && s.proto == wire.ProtoUDP:
			return syscall.EINVAL
		case !to.IsValid() && !u.remote.IsValid():
			return syscall.EDESTADDRREQ
		case u.wrClosed:
			if e := u.takeError(); e != 0 {
				return e
			}
			return syscall.EPIPE
		}
		if !to.IsValid() {
			to = u.remote
		} else {
			ip, e := s.family(to.Addr())
			if e != 0 {
				return e
			}
			to = netip.AddrPortFrom(s.orLoopback(ip), to.Port())
		}
		return 0
	})
	if e != 0 {
		return 0, e
	}
	if info != nil && info.SegmentSize != 0 {
		size = info.SegmentSize
	}
	if size > 0 && s.proto == wire.ProtoUDP {
		if e := s.segmentable(b, size, to); e != 0 {
			return 0, e
		}
	} else {
		size = len(b)
	}
	for rest := b; ; {
		n := min(size, len(rest))
		switch err := u.send(rest[:n], to, info).(type) {
		case nil:
		case syscall.Errno:
			return 0, err
		default:
			return 0, syscall.EBADF // closed meanwhile
		}
		if rest = rest[n:]; len(rest) == 0 {
			return len(b), 0
		}
	}
}

// segmentable reports what is wrong with sending b as datagrams of a size.
func (s *Socket) segmentable(b []byte, size int, to netip.AddrPort) syscall.Errno {
	return s.hold(func(ln *lane) syscall.Errno {
		u := s.udp
		if most := packet.SizeMax - wire.UDPLen; len(b) > most || to.Addr().Is4() && len(b) > most-wire.IPv4Len {
			return syscall.EMSGSIZE
		}
		if u.way.conf != ln.conf || u.to != to.Addr() {
			if e := u.connectTo(ln, to.Addr()); e != 0 {
				return e
			}
		}
		switch {
		case ipSize(to.Addr(), wire.UDPLen+min(size, len(b))) > ln.mtu(&u.way, to.Addr()):
			return syscall.EMSGSIZE
		case len(b) > size*coalesceMax:
			return syscall.EINVAL
		}
		return 0
	})
}

func (s *Socket) recvDatagram(b []byte, flags int) (n int, info PacketInfo, e syscall.Errno) {
	s.ln.lockOnly()
	closed, together, stamps := s.closed, s.opt.Coalesce, s.opt.Timestamps
	s.ln.unlock(nil)
	if closed {
		return 0, info, syscall.EBADF
	}
	n, d, e := s.udp.tryRecv(b, flags&MsgPeek != 0)
	if e != 0 {
		return 0, info, e
	}
	if s.typ == SockRaw {
		d.from = netip.AddrPortFrom(d.from.Addr(), 0)
	}
	size := 0
	if together && flags&MsgPeek == 0 && n <= len(b) {
		size, n = s.udp.coalesce(b, n, &d)
	}
	info = PacketInfo{SegmentSize: size, Peer: s.shown(d.from), Local: d.to, TTL: d.ttl, TOS: d.tos, AdapterIndex: d.ingress}
	if a := s.ln.host.conf.Load().adapter(d.ingress); a != nil {
		info.Adapter = a.Name()
	}
	if stamps {
		orDefault(&d.at, s.ln.host.clock.Now()) // it came before they were wanted
		info.At = s.ln.host.clock.Wall(d.at)
	}
	return n, info, 0
}

// coalesceMax bounds the datagrams that are received, and sent, as one (Linux:
// UDP_MAX_SEGMENTS).
const coalesceMax = 128

// coalesce reads datagrams that follow one of n bytes, of the same flow and not
// larger, behind it into b. It returns the size of all but the last, 0 if there
// is none to follow, and the size of all.
func (s *udpSocket) coalesce(b []byte, n int, d *datagram) (size, all int) {
	if n == 0 || s.proto != wire.ProtoUDP || s.raw != nil {
		return 0, n
	}
	all = n
	for range coalesceMax - 1 {
		s.mu.Lock()
		p := s.queue.First()
		if p == nil || s.err != nil {
			s.mu.Unlock()
			break
		}
		next, k := datagramOf(p), p.LenFrom(p.Data)
		next.at = d.at
		if next != *d || k > n || k == 0 || all+k > len(b) {
			s.mu.Unlock()
			break
		}
		s.queue.Pop()
		s.queued -= p.Footprint()
		s.lane.host.mem.add(-int64(p.Footprint()))
		s.mu.Unlock()
		p.CopyTo(b[all:all+k], int(p.Data-p.Start()))
		s.giveBack(p)
		all, size = all+k, n
		if k < n {
			break
		}
	}
	return size, all
}

func (s *Socket) closedNow() bool {
	s.ln.lockOnly()
	defer s.ln.unlock(nil)
	return s.closed
}

// tryRecv takes one datagram off the queue if there is one, or looks at it.
func (s *udpSocket) tryRecv(b []byte, peek bool) (n int, d datagram, e syscall.Errno) {
	s.mu.Lock()
	if err := s.err; err != nil {
		s.err = nil
		s.mu.Unlock()
		e, _ = err.(syscall.Errno)
		return 0, d, e
	}
	p := s.queue.First()
	if p == nil {
		s.mu.Unlock()
		return 0, d, syscall.EAGAIN
	}
	d = datagramOf(p)
	n = p.LenFrom(p.Data)
	if peek {
		p.CopyTo(b, int(p.Data-p.Start()))
		s.mu.Unlock()
		return n, d, 0
	}
	s.queue.Pop()
	s.queued -= p.Footprint()
	s.lane.host.mem.add(-int64(p.Footprint()))
	s.mu.Unlock()
	p.CopyTo(b, int(p.Data-p.Start()))
	s.giveBack(p)
	return n, d, 0
}

func (s *udpSocket) takeError() syscall.Errno {
	s.mu.Lock()
	defer s.mu.Unlock()
	e, _ := s.err.(syscall.Errno)
	s.err = nil
	return e
}

func (s *udpSocket) hasError() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err != nil || len(s.errs) > 0
}

// ready is what poll tells of a datagram socket.
func (s *udpSocket) ready() socket.Events {
	s.mu.Lock()
	defer s.mu.Unlock()
	ev := socket.EventOut
	if !s.queue.Empty() {
		ev |= socket.EventIn
	}
	if s.rdClosed {
		ev |= socket.EventIn | socket.EventRdHup
	}
	if s.rdClosed && s.wrClosed {
		ev |= socket.EventHup
	}
	return ev
}

// firstLen is the length of the datagram that is read next.
func (s *udpSocket) firstLen() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if p := s.queue.First(); p != nil {
		return p.LenFrom(p.Data)
	}
	return 0
}

// shutdown ends a direction of a connected datagram socket.
func (s *udpSocket) shutdown(ln *lane, how int) syscall.Errno {
	s.mu.Lock()
	s.rdClosed = s.rdClosed || how != ShutWr
	s.wrClosed = s.wrClosed || how != ShutRd
	s.mu.Unlock()
	s.tell(socket.EventIn | socket.EventRdHup)
	if !s.remote.IsValid() {
		return syscall.ENOTCONN // though it has been done, as on Linux
	}
	return 0
}

// tell tells those who watch.
func (s *udpSocket) tell(ev socket.Events) {
	if s.face != nil {
		s.face.tell(ev)
	}
}
