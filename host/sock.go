package host

import (
	"net/netip"
	"slices"
	"syscall"
	"time"

	"github.com/towpath/towpath/firewall/hook"
	"github.com/towpath/towpath/socket"
	"github.com/towpath/towpath/tcp"
	"github.com/towpath/towpath/wire"
)

// A Socket is a socket as the BSD calls know it, that never waits: what cannot
// be done at once fails with EAGAIN, connecting with EINPROGRESS. Who wants to
// wait watches it ([Socket.Watch]) and tries again. Errors are the ones Linux
// gives, in its order of precedence; 0 means none.
//
// It is the face for other faces: system calls, kernel sockets. Programs in Go
// will rather want [Host.DialContext] and [Host.Listen], whose connections are
// the same sockets behind other methods.
type Socket struct {
	ln    *lane
	six   bool // AF_INET6
	typ   SockType
	proto wire.Proto

	// Guarded by lane.mu.
	opt                sockOptions
	state              sockState // of a stream
	bind               binding   // bound: its port is not 0
	lockAddr           bool      // the address was asked for, and stays (Linux: SOCK_BINDADDR_LOCK)
	lockPort           bool      // so with the port (Linux: SOCK_BINDPORT_LOCK)
	name               netip.AddrPort
	conn               *tcpSocket
	listen             *tcpListener
	udp                *udpSocket
	pkt                *packetSocket
	rdClosed, wrClosed bool // shut down while there was no connection
	err                syscall.Errno
	closed             bool
	deferred           bool // the SYN waits for the first write (TCP_FASTOPEN_CONNECT)
	watches            socket.Watches
}

// A sockState is what a stream socket's calls have made of it, whatever its
// connection has come to since (Linux: socket_state).
type sockState uint8

const (
	sockUnconnected   sockState = iota
	sockConnecting              // Connect has said EINPROGRESS, and nothing else yet
	sockConnected               // accepted, or Connect has said so
	sockDisconnecting           // shut down while connecting: good for nothing
)

// SockType is the type of a [Socket].
type SockType int

// The types, by their numbers on Linux.
const (
	SockStream SockType = 1
	SockDgram  SockType = 2
	SockRaw    SockType = 3
)

// Address families, by their numbers on Linux.
const (
	AFUnspec = 0
	AFInet   = 2
	AFInet6  = 10
)

// Socket makes a socket of a family, AFInet or AFInet6, a type and an IP
// protocol; 0 is the type's usual one. Datagram sockets of ICMP and ICMPv6 are
// ping sockets; raw sockets have no usual protocol. With the family AFPacket it
// makes a packet socket, of which the protocol is an EtherType.
func (h *Host) Socket(family int, t SockType, proto int) (*Socket, syscall.Errno) {
	if family == AFPacket {
		return h.packetSocket(t, proto)
	}
	if family != AFInet && family != AFInet6 {
		return nil, syscall.EAFNOSUPPORT
	}
	if proto < 0 || proto >= protocolMax {
		return nil, syscall.EINVAL
	}
	s := &Socket{ln: &h.lane, six: family == AFInet6, typ: t, proto: wire.Proto(proto)}
	s.opt = defaultOptions
	set := &h.conf.Load().set
	s.opt.KeepIdle, s.opt.KeepIntv = time.Duration(set.TCPKeepIdle)*time.Second, time.Duration(set.TCPKeepInterval)*time.Second
	s.opt.KeepCount, s.opt.V6Only = set.TCPKeepProbes, s.six && set.BindV6Only
	icmp := wire.ProtoICMP
	if s.six {
		icmp = wire.ProtoICMPv6
	}
	switch t {
	case SockStream:
		if proto == 0 {
			s.proto = wire.ProtoTCP
		}
		if s.proto != wire.ProtoTCP {
			return nil, syscall.EPROTONOSUPPORT
		}
	case SockDgram:
		if proto == 0 {
			s.proto = wire.ProtoUDP
		}
		if s.proto != wire.ProtoUDP && s.proto != icmp {
			return nil, syscall.EPROTONOSUPPORT
		}
	case SockRaw:
		if proto == 0 || proto > 255 {
			return nil, syscall.EPROTONOSUPPORT
		}
	default:
		return nil, syscall.ESOCKTNOSUPPORT
	}
	if t != SockStream {
		return s, s.openDatagram(h)
	}
	s.ln.lock()
	defer s.ln.unlock(nil)
	if s.ln.closed {
		return nil, syscall.ENETDOWN
	}
	s.name = netip.AddrPortFrom(s.any(), 0)
	s.ln.sockets[s] = struct{}{}
	return s, 0
}

func (s *Socket) stream() bool { return s.typ == SockStream }

// Family is AFInet or AFInet6.
func (s *Socket) Family() int {
	switch {
	case s.pkt != nil:
		return AFPacket
	case s.six:
		return AFInet6
	}
	return AFInet
}

// Type is the socket's type.
func (s *Socket) Type() SockType { return s.typ }

// Protocol is its IP protocol.
func (s *Socket) Protocol() wire.Proto { return s.proto }

// hold runs f with the lane locked, unless the socket is closed.
func (s *Socket) hold(f func(ln *lane) syscall.Errno) syscall.Errno {
	s.ln.lock()
	defer s.ln.unlock(nil)
	if s.closed {
		return syscall.EBADF
	}
	return f(s.ln)
}

// tell tells the watches of events.
func (s *Socket) tell(ev socket.Events) { s.watches.Tell(ev, s.ln.wake) }

// Watch makes w be told of what happens to the socket.
func (s *Socket) Watch(w *socket.Watch) {
	s.ln.lock()
	s.watches.Add(w)
	s.ln.unlock(nil)
}

// Unwatch ends that.
func (s *Socket) Unwatch(w *socket.Watch) {
	s.ln.lock()
	s.watches.Remove(w)
	s.ln.unlock(nil)
}

// Pending returns and clears what w was told.
func (s *Socket) Pending(w *socket.Watch) socket.Events {
	s.ln.lock()
	defer s.ln.unlock(nil)
	ev := w.Pending
	w.Pending = 0
	return ev
}

// Arm makes what the socket is ready for now count as told to w, and returns
// it.
func (s *Socket) Arm(w *socket.Watch) socket.Events {
	s.ln.lock()
	defer s.ln.unlock(nil)
	if !s.closed {
		w.Pending = s.ready(s.ln)
	}
	return w.Pending
}

// ---- addresses

// local takes an address that a program gives for this socket and returns it
// without its IPv4-mapped form.
func (s *Socket) family(a netip.Addr) (netip.Addr, syscall.Errno) {
	switch {
	case !s.six && !a.Is4():
		return a, syscall.EAFNOSUPPORT
	case s.six && a.Is4In6():
		if s.opt.V6Only {
			return a, syscall.ENETUNREACH
		}
		return a.Unmap(), 0
	case s.six && a.Is4():
		return a, syscall.EINVAL
	}
	return a, 0
}

// shown is an address as the socket's family shows it.
func (s *Socket) shown(a netip.AddrPort) netip.AddrPort {
	if s.six && a.Addr().Is4() {
		if a.Addr().IsUnspecified() {
			return netip.AddrPortFrom(netip.IPv6Unspecified(), a.Port())
		}
		return netip.AddrPortFrom(netip.AddrFrom16(a.Addr().As16()), a.Port())
	}
	return a
}

func (s *Socket) any() netip.Addr {
	if s.six {
		return netip.IPv6Unspecified()
	}
	return netip.IPv4Unspecified()
}

// LocalName is the local address; of a socket that is not bound, the
// unspecified one, and the last port it had (getsockname).
func (s *Socket) LocalName() (a netip.AddrPort, e syscall.Errno) {
	e = s.hold(func(*lane) syscall.Errno {
		if s.pkt != nil {
			return syscall.EOPNOTSUPP
		}
		if a = s.name; s.udp != nil {
			a = s.udp.local
		}
		return 0
	})
	return s.shown(a), e
}

// PeerName is the peer's address (getpeername).
func (s *Socket) PeerName() (a netip.AddrPort, e syscall.Errno) {
	e = s.hold(func(*lane) syscall.Errno {
		switch {
		case s.pkt != nil:
			return syscall.EOPNOTSUPP
		case s.udp != nil && s.udp.remote.IsValid():
			if a = s.udp.remote; s.typ == SockRaw && a.Port() == 0 {
				return syscall.ENOTCONN // as Linux, which looks at the port
			}
		case s.conn != nil && s.conn.opened && s.conn.conn.State() != tcp.StateClosed:
			a = s.conn.remote()
		default:
			return syscall.ENOTCONN
		}
		return 0
	})
	return s.shown(a), e
}

// Bind gives the socket a local address; a zero port means an ephemeral one.
func (s *Socket) Bind(a netip.AddrPort) syscall.Errno {
	return s.hold(func(ln *lane) syscall.Errno {
		if s.pkt != nil {
			return syscall.EINVAL
		}
		ip, e := s.family(a.Addr())
		if e != 0 {
			if e == syscall.ENETUNREACH {
				e = syscall.EINVAL
			}
			return e
		}
		ip, _, e = ln.unzone(ip)
		if e != 0 {
			return e
		}
		if s.udp != nil {
			return s.bindDatagram(ln, ip, a.Port())
		}
		if s.bind.port != 0 || s.live() {
			return syscall.EINVAL
		}
		if !ip.IsUnspecified() && (!s.mayBind(ln, ip) || ip.IsMulticast() || ip == broadcast4) {
			return syscall.EADDRNOTAVAIL
		}
		e = syscall.EADDRINUSE
		switch {
		case a.Port() == 0 && s.opt.NoPort:
			s.bind, s.name, e = binding{addr: ip}, netip.AddrPortFrom(ip, 0), 0
		case a.Port() == 0 || !ln.portInUse(s, ip, a.Port()):
			e = s.bindStream(ln, ip, a.Port())
		}
		if e != 0 {
			s.name = netip.AddrPortFrom(s.any(), s.name.Port()) // as on Linux
			return e
		}
		s.lockAddr, s.lockPort = s.lockAddr || !ip.IsUnspecified(), s.lockPort || a.Port() != 0
		return 0
	})
}

// mayBind reports whether the socket may have this address as its own, now or
// because it may come later.
func (s *Socket) mayBind(ln *lane, ip netip.Addr) bool {
	return s.opt.FreeBind || s.opt.Transparent || ln.conf.set.NonlocalBind || ln.bindable(ip)
}

// SavedSYN takes away the headers of the SYN that opened an accepted
// connection, IP's first: if the listener has had SaveSYN and a buffer of size
// bytes suffices. Otherwise n is how long it would have to be; there are none if
// that is 0.
func (s *Socket) SavedSYN(size int) (b []byte, n int, e syscall.Errno) {
	e = s.hold(func(*lane) syscall.Errno {
		if s.conn == nil || s.conn.syn == nil {
			return 0
		}
		if n = len(*s.conn.syn); n <= size {
			b, s.conn.syn = *s.conn.syn, nil
		}
		return 0
	})
	return b, n, e
}

// live reports whether a stream socket is anything but closed: it listens, or
// has a connection that is not over.
func (s *Socket) live() bool { return s.listen != nil || s.conn != nil && !s.conn.over() }

// portInUse reports whether a connection, even one in TIME-WAIT, has the
// address and port that a stream socket wants, and they do not share it.
func (ln *lane) portInUse(s *Socket, ip netip.Addr, port uint16) bool {
	b := s.bindingTo(ip, port)
	for e := ln.tcp.ports[port]; e != nil; e = e.nextPort {
		if b.score(e.Tuple.Src, 0) > 0 && !(s.opt.ReuseAddr && e.shares) {
			return true
		}
	}
	return false
}

// bindingTo is the binding that an address and a port make.
func (s *Socket) bindingTo(ip netip.Addr, port uint16) binding {
	b := binding{addr: ip, port: port, v4: ip.Is4(), v6: ip.Is6(), device: s.opt.Device, reuseAddr: s.opt.ReuseAddr, reusePort: s.opt.ReusePort}
	if ip == netip.IPv6Unspecified() {
		b.v4 = !s.opt.V6Only
	}
	return b
}

// bindStream takes a port for a stream socket.
func (s *Socket) bindStream(ln *lane, ip netip.Addr, port uint16) syscall.Errno {
	b := s.bindingTo(ip, port)
	if port == 0 {
		b.port = ln.ephemeral(func(port uint16) bool {
			try := b
			try.port, try.reuseAddr = port, false
			return ln.ports.bindable(&try)
		})
	}
	if b.port == 0 || !ln.ports.bindable(&b) {
		return syscall.EADDRINUSE
	}
	if e := ln.judgeSocket(hook.SocketBind, s.proto, netip.AddrPortFrom(ip, b.port), netip.AddrPort{}); e != 0 {
		return e
	}
	s.bind, s.name = b, netip.AddrPortFrom(ip, b.port)
	ln.ports.bound[b.port] = append(ln.ports.bound[b.port], s)
	return 0
}

// unbind gives a stream socket's port back.
func (s *Socket) unbind(ln *lane) {
	if s.stream() && s.bind.port != 0 {
		rest := slices.DeleteFunc(ln.ports.bound[s.bind.port], func(o *Socket) bool { return o == s })
		if len(rest) == 0 {
			delete(ln.ports.bound, s.bind.port)
		} else {
			ln.ports.bound[s.bind.port] = rest
		}
	}
	if s.bind.port = 0; !s.lockAddr {
		s.bind = binding{}
	}
}

// ended is told that the socket's connection is over. A port that was not asked
// for goes with it.
func (s *Socket) ended(ln *lane) {
	if !s.lockPort {
		s.unbind(ln)
	}
}

// ---- streams

// Listen makes the socket a listener, or changes a listener's backlog.
func (s *Socket) Listen(backlog int) syscall.Errno {
	return s.hold(func(ln *lane) syscall.Errno {
		if !s.stream() {
			return syscall.EOPNOTSUPP
		}
		if backlog < 0 || backlog > ln.conf.set.Somaxconn {
			backlog = ln.conf.set.Somaxconn
		}
		if s.listen != nil {
			s.listen.backlog = backlog
			return 0
		}
		if s.state != sockUnconnected {
			return syscall.EINVAL
		}
		if s.bind.port == 0 {
			ip := s.any()
			if s.bind.addr.IsValid() {
				ip = s.bind.addr
			}
			if e := s.bindStream(ln, ip, 0); e != 0 {
				return e
			}
		}
		if !ln.ports.bindable(&s.bind) {
			return syscall.EADDRINUSE
		}
		if e := ln.judgeSocket(hook.SocketListen, s.proto, netip.AddrPortFrom(s.bind.addr, s.bind.port), netip.AddrPort{}); e != 0 {
			return e
		}
		if s.opt.FastOpen == 0 && ln.conf.set.FastOpen(FastOpenServer|FastOpenAllListeners) {
			s.opt.FastOpen = backlog
		}
		l := &tcpListener{lane: ln, binding: s.bind, backlog: backlog, face: s}
		l.fast.max = s.opt.FastOpen
		ln.ports.listeners[s.bind.port] = append(ln.ports.listeners[s.bind.port], l)
		s.listen = l
		return 0
	})
}

// Accept takes the next connection of a listener.
func (s *Socket) Accept() (c *Socket, e syscall.Errno) {
	e = s.hold(func(ln *lane) syscall.Errno {
		switch {
		case !s.stream():
			return syscall.EOPNOTSUPP
		case s.listen == nil:
			return syscall.EINVAL
		}
		conn := s.listen.next()
		if conn == nil {
			return syscall.EAGAIN
		}
		c = &Socket{ln: ln, six: s.six, typ: s.typ, proto: s.proto, opt: s.opt, conn: conn, state: sockConnected, lockAddr: s.lockAddr}
		c.name, c.bind.addr = conn.local(), s.bind.addr
		c.opt.FastOpen, c.opt.DeferAccept = 0, 0
		c.opt.MD5Keys = s.opt.onlyFor(c.name.Addr(), conn.remote().Addr())
		conn.face, conn.linger = c, c.opt.Linger
		ln.sockets[c] = struct{}{}
		return 0
	})
	return c, e
}

// Connect begins a connection, or gives a datagram socket its peer. A stream
// socket says EINPROGRESS and is ready to write, or has a pending error, when
// it is done.
func (s *Socket) Connect(a netip.AddrPort) syscall.Errno {
	return s.hold(func(ln *lane) syscall.Errno {
		switch {
		case s.pkt != nil:
			return syscall.EOPNOTSUPP
		case s.udp != nil:
			return s.connectDatagram(ln, a)
		}
		_, e := s.connect(ln, a, nil)
		return e
	})
}

// connect is Connect of a stream socket, with Fast Open if data is not nil; it
// returns how much of that was sent.
func (s *Socket) connect(ln *lane, a netip.AddrPort, data *[]byte) (n int, e syscall.Errno) {
	switch s.state {
	case sockDisconnecting:
		return 0, syscall.EINVAL
	case sockConnected:
		return 0, syscall.EISCONN
	case sockConnecting:
		switch {
		case s.conn.over(): // nobody has heard why, unless by SO_ERROR
			e := s.takeError()
			if e == 0 {
				e = syscall.ECONNABORTED
			}
			s.state = sockUnconnected
			s.disconnect(ln)
			return 0, e
		case s.deferred:
			return 0, syscall.EISCONN
		case !s.conn.opened:
			return 0, syscall.EALREADY
		}
		s.state = sockConnected
		return 0, 0
	}
	if s.live() {
		return 0, syscall.EISCONN
	}
	ip, e := s.family(a.Addr())
	if e != 0 {
		return 0, e
	}
	if ip.IsUnspecified() { // this host itself
		if ip = netip.IPv6Loopback(); !s.six || s.bind.port != 0 && s.bind.addr.Is4() {
			ip = netip.AddrFrom4([4]byte{127, 0, 0, 1})
		}
	}
	s.forget(ln)
	conn, e := ln.connect(netip.AddrPortFrom(ip, a.Port()), s)
	if e != 0 {
		return 0, e
	}
	s.conn, s.state, s.name = conn, sockConnecting, conn.local()
	s.err = 0
	conn.face, conn.linger = s, s.opt.Linger
	conn.rdClosed, conn.wrClosed = s.rdClosed, s.wrClosed
	switch {
	case data != nil:
		n = conn.sendFast(ln, *data, &s.opt)
	case !s.opt.FastOpenConnect:
		conn.sendSyn(ln)
	case conn.defers(ln, &s.opt):
		s.deferred = true
		conn.conn.ConnectLater()
		return 0, 0
	default:
		conn.sendFast(ln, nil, &s.opt) // asks for a cookie
	}
	return n, syscall.EINPROGRESS
}

// Disconnect ends a connection with a reset, or takes a datagram socket's peer
// away (connect with AF_UNSPEC).
func (s *Socket) Disconnect() syscall.Errno {
	return s.hold(func(ln *lane) syscall.Errno {
		switch {
		case s.pkt != nil:
			return syscall.EOPNOTSUPP
		case s.udp != nil:
			s.udp.disconnect(ln, s.lockPort)
			return 0
		}
		s.state = sockUnconnected
		s.disconnect(ln)
		return 0
	})
}

// disconnect makes a stream socket what it was before it listened or connected.
// Its pending error stays (Linux: tcp_disconnect).
func (s *Socket) disconnect(ln *lane) {
	if s.listen != nil {
		s.listen.closeLocked(ln)
		s.listen = nil
	}
	if c := s.conn; c != nil {
		switch st := c.conn.State(); {
		case c.over():
			if e := s.takeError(); e != 0 {
				s.err = e
			}
		case st != tcp.StateLastAck && st != tcp.StateClosing || c.conn.Unsent() > 0:
			s.err = syscall.ECONNRESET
		}
		c.detached = true
		c.abort(ln)
		s.forget(ln)
	}
	s.rdClosed, s.wrClosed, s.deferred = false, false, false
	s.ended(ln)
	if !s.lockAddr {
		s.name = netip.AddrPortFrom(s.any(), s.name.Port())
	}
	s.tell(socket.EventIn | socket.EventOut | socket.EventErr | socket.EventHup)
}

// forget lets go of a connection that is over.
func (s *Socket) forget(ln *lane) {
	if c := s.conn; c != nil {
		c.face = nil
		c.detached = true
		delete(ln.sockets, c)
		if c.gone {
			c.conn.FreeBuffers()
		}
		c.purge()
		s.conn = nil
	}
}

// takeError returns and clears the pending error (SO_ERROR).
func (s *Socket) takeError() syscall.Errno {
	if e := s.err; e != 0 {
		s.err = 0
		return e
	}
	switch {
	case s.pkt != nil:
		return s.pkt.takeError()
	case s.udp != nil:
		return s.udp.takeError()
	case s.conn != nil && s.conn.conn.State() == tcp.StateClosed:
		e, _ := s.conn.takeError().(syscall.Errno)
		return e
	}
	return 0
}

// Error returns and clears the pending error (SO_ERROR).
func (s *Socket) Error() (pending, e syscall.Errno) {
	e = s.hold(func(*lane) syscall.Errno {
		pending = s.takeError()
		return 0
	})
	return pending, e
}

// hasError reports whether an error is pending.
func (s *Socket) hasError() bool {
	switch {
	case s.err != 0:
		return true
	case s.pkt != nil:
		return s.pkt.err != 0
	case s.udp != nil:
		return s.udp.hasError()
	case s.conn != nil:
		return s.conn.conn.State() == tcp.StateClosed && !s.conn.errTaken && s.conn.conn.Err() != nil
	}
	return false
}

// Ready tells what the socket is ready for (poll).
func (s *Socket) Ready() (ev socket.Events) {
	s.hold(func(ln *lane) syscall.Errno {
		ev = s.ready(ln)
		return 0
	})
	return ev
}

func (s *Socket) ready(ln *lane) (ev socket.Events) {
	if s.listen != nil {
		if s.listen.first != nil {
			ev |= socket.EventIn
		}
		return ev
	}
	if s.hasError() {
		ev |= socket.EventErr
	}
	switch c := s.conn; {
	case s.pkt != nil:
		return ev | s.pkt.ready()
	case s.udp != nil:
		return ev | s.udp.ready()
	case c == nil:
		ev |= socket.EventOut | socket.EventHup
		if s.rdClosed {
			ev |= socket.EventIn | socket.EventRdHup
		}
	default:
		over := c.over()
		rd := over || c.rdClosed || c.conn.EOF() || c.conn.FINReceived()
		wr := over || c.wrClosed || c.conn.FINQueued()
		if rd {
			ev |= socket.EventIn | socket.EventRdHup
		}
		if rd && wr {
			ev |= socket.EventHup
		}
		if !c.opened && !over {
			if s.deferred {
				ev |= socket.EventOut
			}
			return ev
		}
		n := c.left + c.conn.Readable()
		if c.conn.AtMark() && !s.opt.OOBInline {
			n-- // that byte is not read
		}
		if n > 0 && n >= s.opt.RcvLowat {
			ev |= socket.EventIn
		}
		if c.conn.UrgentReady() {
			ev |= socket.EventPri
		}
		if wr || c.conn.Space() >= c.conn.SndBuf()/3 && s.sentEnough(ln) {
			ev |= socket.EventOut
		}
	}
	return ev
}

// Flags of [Socket.Send] and [Socket.Recv].
const (
	MsgPeek  = 0x2    // MSG_PEEK: leave what is read
	MsgTrunc = 0x20   // MSG_TRUNC: of a datagram, its length; of a stream, discard
	MsgMore  = 0x8000 // MSG_MORE: another write follows
)

// sendStream queues bytes.
func (s *Socket) sendStream(ln *lane, b []byte, flags int) (int, syscall.Errno) {
	c := s.conn
	switch {
	case c == nil:
		if e := s.takeError(); e != 0 {
			return 0, e
		}
		return 0, syscall.EPIPE
	case s.hasError():
		return 0, s.takeError()
	case c.wrClosed || c.over():
		return 0, syscall.EPIPE
	case s.deferred:
		return 0, syscall.EINPROGRESS // SendFastOpen's
	case !c.opened:
		return 0, syscall.EAGAIN
	case len(b) == 0:
		return 0, 0
	}
	n := min(c.allowance(ln, c.conn.Space()), len(b))
	if n > 0 {
		c.conn.SetMore(flags&MsgMore != 0)
		n = c.conn.Write(b[:n])
		c.touch(ln)
	}
	if n == 0 {
		return 0, syscall.EAGAIN
	}
	return n, 0
}

// recvStream reads bytes.
func (s *Socket) recvStream(ln *lane, b []byte, flags int) (int, syscall.Errno) {
	c := s.conn
	switch {
	case s.listen != nil:
		return 0, syscall.ENOTCONN
	case c == nil:
		if e := s.takeError(); e != 0 || s.rdClosed {
			return 0, e
		}
		return 0, syscall.ENOTCONN
	}
	have := c.left + c.conn.Readable()
	switch {
	case have > 0 && len(b) == 0:
		return 0, 0
	case have > 0:
		return s.take(ln, c, b[:min(len(b), have)], flags), 0
	case c.conn.FINReceived(): // whatever has come later (Linux: SOCK_DONE)
		return 0, 0
	case s.hasError():
		return 0, s.takeError()
	case c.rdClosed || c.over():
		return 0, 0
	}
	return 0, syscall.EAGAIN
}

// take copies bytes that have arrived, and unless they are only looked at,
// takes them away.
func (s *Socket) take(ln *lane, c *tcpSocket, b []byte, flags int) int {
	c.rd.Take()
	defer c.rd.Give()
	before, skip := c.conn.Mark()
	if skip && flags&MsgPeek == 0 {
		s.consume(ln, c, make([]byte, 1), MsgTrunc)
		before, _ = c.conn.Mark()
		b = b[:min(len(b), c.left+c.conn.Readable())]
	}
	b = b[:min(len(b), before)]
	if flags&MsgPeek != 0 {
		n := 0
		for p := c.rq.First(); p != nil && n < len(b); p = p.Next() {
			n += p.CopyTo(b[n:], 0)
		}
		return n + c.conn.Peek(b[n:], 0)
	}
	return s.consume(ln, c, b, flags)
}

// consume is take with the read turn.
func (s *Socket) consume(ln *lane, c *tcpSocket, b []byte, flags int) int {
	n := 0
	for n < len(b) {
		if c.rq.Empty() {
			c.left = c.conn.Take(&c.rq, len(b)-n)
			if c.left == 0 {
				break
			}
		}
		p := c.rq.First()
		m := min(p.Len(), len(b)-n)
		if flags&MsgTrunc == 0 {
			p.CopyTo(b[n:n+m], 0)
		}
		n += m
		c.left -= m
		if p.TrimFront(m); p.Len() == 0 {
			ln.pool.Free(c.rq.Pop())
		}
	}
	c.conn.Accept(ln.now, n)
	c.touchIf(ln)
	return n
}

// Send sends b, as much of it as there is room for, to the peer, or a datagram
// to another address if to is valid.
func (s *Socket) Send(b []byte, flags int, to netip.AddrPort, info *PacketInfo) (n int, e syscall.Errno) {
	switch {
	case s.pkt != nil:
		return 0, s.SendFrame(b, nil)
	case !s.stream():
		return s.sendDatagram(b, to, info)
	}
	e = s.hold(func(ln *lane) (e syscall.Errno) {
		n, e = s.sendStream(ln, b, flags)
		return e
	})
	return n, e
}

// SendUrgent sends a byte of urgent data (MSG_OOB).
func (s *Socket) SendUrgent(b byte) syscall.Errno {
	return s.hold(func(ln *lane) syscall.Errno {
		if !s.stream() {
			return syscall.EOPNOTSUPP
		}
		if _, e := s.sendStream(ln, nil, 0); e != 0 {
			return e
		}
		if !s.conn.conn.WriteUrgent(b) {
			return syscall.EAGAIN
		}
		s.conn.touch(ln)
		return 0
	})
}

// RecvUrgent reads the byte of urgent data that the peer has told of (MSG_OOB),
// or looks at it.
func (s *Socket) RecvUrgent(peek bool) (b byte, e syscall.Errno) {
	e = s.hold(func(*lane) (e syscall.Errno) {
		switch {
		case !s.stream():
			return syscall.EOPNOTSUPP
		case s.conn == nil:
			return syscall.EINVAL
		}
		b, e = s.conn.conn.ReadUrgent(peek)
		return e
	})
	return b, e
}

// AtMark reports whether what is read next stands where the urgent byte does
// (SIOCATMARK).
func (s *Socket) AtMark() (at bool, e syscall.Errno) {
	e = s.hold(func(*lane) syscall.Errno {
		if s.listen != nil {
			return syscall.EINVAL
		}
		at = s.conn != nil && s.conn.conn.AtMark()
		return 0
	})
	return at, e
}

// QuickAck acknowledges at once from now on, or not (TCP_QUICKACK).
func (s *Socket) QuickAck(on bool) syscall.Errno {
	return s.hold(func(ln *lane) syscall.Errno {
		if s.conn != nil {
			s.conn.conn.SetQuickAck(on)
			s.conn.touchIf(ln)
		}
		return 0
	})
}

// Recv reads up to len(b) bytes of a stream, or a datagram, of which what does
// not fit is lost. Of a datagram n is its whole length, and info tells of it.
func (s *Socket) Recv(b []byte, flags int) (n int, info PacketInfo, e syscall.Errno) {
	switch {
	case s.pkt != nil:
		n, _, e = s.RecvFrame(b, flags)
		return n, info, e
	case !s.stream():
		return s.recvDatagram(b, flags)
	}
	e = s.hold(func(ln *lane) (e syscall.Errno) {
		n, e = s.recvStream(ln, b, flags)
		return e
	})
	return n, info, e
}

// Directions of [Socket.Shutdown].
const (
	ShutRd = iota
	ShutWr
	ShutRdWr
)

// Shutdown ends one direction of a connection, or both.
func (s *Socket) Shutdown(how int) syscall.Errno {
	return s.hold(func(ln *lane) syscall.Errno {
		if how < ShutRd || how > ShutRdWr {
			return syscall.EINVAL
		}
		switch {
		case s.pkt != nil:
			return syscall.EOPNOTSUPP
		case s.udp != nil:
			return s.udp.shutdown(ln, how)
		}
		c := s.conn
		if s.state == sockConnecting {
			if s.state = sockDisconnecting; c.opened && !c.over() {
				s.state = sockConnected
			}
		}
		switch {
		case s.listen != nil:
			if how != ShutWr {
				s.state = sockUnconnected
				s.disconnect(ln)
			}
			return 0
		case c == nil:
			s.rdClosed, s.wrClosed = s.rdClosed || how != ShutWr, s.wrClosed || how != ShutRd
			s.tell(socket.EventIn | socket.EventOut | socket.EventRdHup)
			return syscall.ENOTCONN // though it has been done, as on Linux
		case c.over():
			return syscall.ENOTCONN
		case !c.opened:
			s.state = sockUnconnected
			s.disconnect(ln)
			return 0
		}
		if how != ShutWr {
			c.rdClosed = true
			ln.wake(c.rd.Wake())
		}
		if how != ShutRd && !c.conn.FINQueued() {
			c.wrClosed = true
			ln.wake(c.wr.Wake())
			c.conn.Shutdown(ln.now)
			c.touch(ln)
		}
		s.tell(socket.EventIn | socket.EventOut | socket.EventRdHup)
		return 0
	})
}

// Close ends the socket. What has been written is still sent; unread bytes, or
// a linger of 0, reset the connection.
func (s *Socket) Close() syscall.Errno {
	e := s.hold(func(ln *lane) syscall.Errno {
		s.closeLocked(ln)
		return 0
	})
	if s.pkt != nil && e == 0 {
		s.ln.host.tapAdapters()
	}
	return e
}

// Lingering reports whether a closed socket's connection still has bytes to
// send, or waits for the peer to acknowledge its end (SO_LINGER).
func (s *Socket) Lingering() bool {
	s.ln.lock()
	defer s.ln.unlock(nil)
	c := s.conn
	return c != nil && !c.gone && c.conn.State() != tcp.StateClosed && c.conn.State() != tcp.StateFinWait2 && c.conn.State() != tcp.StateTimeWait
}

func (s *Socket) closeLocked(ln *lane) {
	if s.closed {
		return
	}
	s.closed = true
	delete(ln.sockets, s)
	if s.pkt != nil || s.udp != nil {
		if s.pkt != nil {
			s.pkt.closeLocked(ln)
		} else {
			s.udp.closeLocked(ln)
		}
		s.tell(socket.EventHup)
		return
	}
	if s.listen != nil {
		s.listen.closeLocked(ln)
	}
	if c := s.conn; c != nil {
		delete(ln.sockets, c)
		c.detached = true
		ln.wake(c.rd.Wake())
		ln.wake(c.wr.Wake())
		if ln.closed || c.linger == 0 || !c.opened {
			c.conn.Abort(ln.now)
		} else if c.left > 0 {
			c.conn.Abort(ln.now) // RFC 2525 §2.17: taken and not read
		} else {
			c.conn.Close(ln.now)
		}
		if c.gone {
			c.conn.FreeBuffers()
		} else {
			c.touch(ln)
		}
		c.purge()
	}
	s.unbind(ln)
	s.tell(socket.EventHup)
}

// Unread, Unsent and Unacked are the bytes that wait (SIOCINQ, SIOCOUTQNSD,
// SIOCOUTQ).
func (s *Socket) Queued() (unread, unsent, unacked int, e syscall.Errno) {
	e = s.hold(func(*lane) syscall.Errno {
		switch {
		case s.listen != nil:
			return syscall.EINVAL
		case s.pkt != nil:
			if len(s.pkt.queue) > 0 {
				unread = s.pkt.queue[0].p.Len()
			}
		case s.udp != nil:
			unread = s.udp.firstLen()
		case s.conn != nil:
			unread = s.conn.left + s.conn.conn.Readable()
			switch before, skip := s.conn.conn.Mark(); {
			case skip:
				unread = 0
			default:
				unread = min(unread, before)
			}
			unsent, unacked = s.conn.conn.Unsent(), s.conn.conn.Unacked()
		}
		return 0
	})
	return unread, unsent, unacked, e
}

// Info tells of the connection (TCP_INFO); of a socket without one, its state.
func (s *Socket) Info() (i tcp.Info, e syscall.Errno) {
	e = s.hold(func(*lane) syscall.Errno {
		switch {
		case !s.stream():
			return syscall.ENOPROTOOPT
		case s.conn != nil:
			i = s.conn.conn.Info()
		case s.listen != nil:
			i.State = tcp.StateListen
		}
		return 0
	})
	return i, e
}

// PathMTU is the largest packet, in bytes, that goes to the peer whole (IP_MTU);
// without a peer it fails with ENOTCONN.
func (s *Socket) PathMTU() (mtu int, e syscall.Errno) {
	e = s.hold(func(ln *lane) syscall.Errno {
		var d dst
		switch {
		case s.udp != nil && s.udp.remote.IsValid():
			to := s.udp.remote.Addr()
			if e := ln.routeFor(&d, to, s.udp.scope, s.udp.local.Addr(), &s.opt); e != 0 {
				return e
			}
			mtu = ln.mtu(&d, to)
		case s.conn != nil && s.conn.opened:
			mtu = ln.mtu(&s.conn.way, s.conn.entry.Tuple.Dst)
		default:
			return syscall.ENOTCONN
		}
		return 0
	})
	return mtu, e
}

// Listening reports whether the socket is a listener (SO_ACCEPTCONN).
func (s *Socket) Listening() bool {
	s.ln.lock()
	defer s.ln.unlock(nil)
	return s.listen != nil
}

// sentEnough reports whether so little waits to be sent that more may be
// written (Linux: TCP_NOTSENT_LOWAT).
func (s *Socket) sentEnough(ln *lane) bool {
	low := s.opt.NotSentLowat
	if low == 0 {
		low = ln.conf.set.TCPNotSentLowat
	}
	return low == 0 || s.conn.conn.Unsent() < low
}
