package host

import (
	"cmp"
	"context"
	"errors"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/towpath/towpath/firewall/hook"
	"github.com/towpath/towpath/tcp"
	"github.com/towpath/towpath/wire"
)

var errMissingAddress = errors.New("missing address")

// A family says which address families a network name stands for.
type family struct{ v4, v6 bool }

// network splits the name of a network of package net.
func network(name string) (proto wire.Proto, f family, err error) {
	base := strings.TrimRight(name, "46")
	switch {
	case base == "tcp":
		proto = wire.ProtoTCP
	case base == "udp":
		proto = wire.ProtoUDP
	case name == "ping4":
		proto = wire.ProtoICMP
	case name == "ping6":
		proto = wire.ProtoICMPv6
	default:
		return 0, f, net.UnknownNetworkError(name)
	}
	switch name[len(base):] {
	case "":
		f = family{true, true}
	case "4":
		f = family{v4: true}
	case "6":
		f = family{v6: true}
	default:
		return 0, f, net.UnknownNetworkError(name)
	}
	return proto, f, nil
}

func (f family) has(ip netip.Addr) bool { return ip.Is4() && f.v4 || ip.Is6() && f.v6 }

func canonicalName(name string) string {
	return strings.ToLower(strings.TrimSuffix(name, "."))
}

// resolve splits host:port and finds the addresses of the host. An empty host
// gives none.
func (h *Host) resolve(base, address string, f family) (ips []netip.Addr, port uint16, err error) {
	name, service, err := net.SplitHostPort(address)
	if base == "ping" && err != nil { // identifiers are seldom asked for
		name, service, err = address, "", nil
	}
	if err != nil {
		return nil, 0, err
	}
	if port, err = servicePort(base, service); err != nil || name == "" {
		return nil, port, err
	}
	if ip, err := netip.ParseAddr(name); err == nil {
		ip = ip.Unmap()
		if !f.has(ip) {
			return nil, 0, &net.AddrError{Err: "no suitable address found", Addr: name}
		}
		return []netip.Addr{ip}, port, nil
	}
	for _, ip := range h.lookup(name) {
		if f.has(ip) {
			ips = append(ips, ip)
		}
	}
	if len(ips) == 0 {
		return nil, 0, &net.DNSError{Err: "no such host", Name: name, IsNotFound: true}
	}
	return ips, port, nil
}

// lookup finds a name's addresses in the host's own table.
func (h *Host) lookup(name string) []netip.Addr {
	key := canonicalName(name)
	if ips := h.conf.Load().names[key]; ips != nil {
		return ips
	}
	if key == "localhost" {
		return []netip.Addr{netip.AddrFrom4([4]byte{127, 0, 0, 1}), netip.IPv6Loopback()}
	}
	if h.names != nil {
		return h.names(key)
	}
	return nil
}

// LookupNetIP returns the addresses of a name that the host knows, see
// [Host.AddName].
func (h *Host) LookupNetIP(name string) ([]netip.Addr, error) {
	ips := h.lookup(name)
	if len(ips) == 0 {
		return nil, &net.DNSError{Err: "no such host", Name: name, IsNotFound: true}
	}
	return append([]netip.Addr(nil), ips...), nil
}

// servicePort is a port's number; names are those of the services that this
// system knows.
func servicePort(base, service string) (uint16, error) {
	if service == "" {
		return 0, nil
	}
	if n, err := strconv.ParseUint(service, 10, 32); err == nil {
		if n > 65535 {
			return 0, &net.AddrError{Err: "invalid port", Addr: service}
		}
		return uint16(n), nil
	}
	n, err := net.LookupPort(base, service)
	return uint16(n), err
}

// Dial connects to an address; see [Host.DialContext].
func (h *Host) Dial(network, address string) (net.Conn, error) {
	return h.DialContext(context.Background(), network, address)
}

// DialContext connects to an address from this host, as net.Dialer's method
// does. Networks are "tcp", "udp" and these with "4" or "6", and those of ping
// sockets, see [Host.ListenPacket]. The host part of
// the address is an IP address or a name that the host knows; names with
// several addresses are tried in order. The connection is a *TCPConn or a
// *UDPConn.
func (h *Host) DialContext(ctx context.Context, name, address string) (net.Conn, error) {
	return h.dialNames(ctx, name, address, nil)
}

// dialNames connects to the first of a name's addresses that can be connected
// to, and over TCP, if data is not nil, with Fast Open.
func (h *Host) dialNames(ctx context.Context, name, address string, data *[]byte) (net.Conn, error) {
	proto, f, err := network(name)
	if err == nil && data != nil && proto != wire.ProtoTCP {
		err = net.UnknownNetworkError(name)
	}
	var ips []netip.Addr
	var port uint16
	if err == nil {
		base := strings.TrimRight(name, "46")
		ips, port, err = h.resolve(base, address, f)
	}
	if err != nil {
		return nil, &net.OpError{Op: "dial", Net: name, Err: err}
	}
	if len(ips) == 0 { // this host itself, as package net says
		ips = []netip.Addr{netip.AddrFrom4([4]byte{127, 0, 0, 1})}
		if !f.v4 {
			ips[0] = netip.IPv6Loopback()
		}
	}
	var first error
	for _, ip := range ips {
		if ip.IsUnspecified() {
			if ip = netip.IPv6Loopback(); f.v4 {
				ip = netip.AddrFrom4([4]byte{127, 0, 0, 1})
			}
		}
		c, err := h.dial(ctx, name, proto, netip.AddrPortFrom(ip, port), data)
		if err == nil {
			return c, nil
		}
		if first == nil {
			first = err
		}
		if ctx.Err() != nil {
			break
		}
	}
	return nil, first
}

// dial connects to one address.
func (h *Host) dial(ctx context.Context, name string, proto wire.Proto, to netip.AddrPort, data *[]byte) (net.Conn, error) {
	if proto != wire.ProtoTCP {
		if proto == wire.ProtoUDP && to.Port() == 0 {
			return nil, &net.OpError{Op: "dial", Net: name, Addr: net.UDPAddrFromAddrPort(to), Err: sysError("connect", syscall.EINVAL)}
		}
		any := netip.IPv4Unspecified()
		if to.Addr().Is6() {
			any = netip.IPv6Unspecified()
		}
		s, err := h.udpOpen(proto, binding{addr: any, v4: to.Addr().Is4(), v6: to.Addr().Is6()}, to)
		if err != nil {
			return nil, &net.OpError{Op: "dial", Net: name, Addr: net.UDPAddrFromAddrPort(to), Err: sysError("connect", err)}
		}
		return &UDPConn{s}, nil
	}
	s, rest, err := h.connect(ctx, to, data)
	if err != nil {
		return nil, &net.OpError{Op: "dial", Net: name, Addr: net.TCPAddrFromAddrPort(to), Err: sysError("connect", err)}
	}
	c := (*TCPConn)(s)
	if len(rest) > 0 {
		stop := context.AfterFunc(ctx, func() { c.SetWriteDeadline(time.Unix(1, 0)) })
		_, err := c.Write(rest)
		if !stop() {
			err = cmp.Or(err, contextError(ctx))
		}
		if err != nil {
			c.Close()
			return nil, err
		}
	}
	return c, nil
}

// connect opens a TCP connection and waits for its handshake, with Fast Open if
// data is not nil. It returns what has not been sent of data.
func (h *Host) connect(ctx context.Context, to netip.AddrPort, data *[]byte) (s *tcpSocket, rest []byte, err error) {
	if ctx.Err() != nil {
		return nil, nil, contextError(ctx)
	}
	ln := &h.lane
	ln.lock()
	s, errno := ln.connect(to, nil)
	if errno != 0 || ln.closed {
		ln.unlock(nil)
		if ln.closed {
			return nil, nil, errNetClosed
		}
		return nil, nil, errno
	}
	if data != nil {
		rest = (*data)[s.sendFast(ln, *data, nil):]
	} else {
		s.sendSyn(ln)
	}
	ln.unlock(nil)
	if ctx.Done() != nil {
		s := s // s itself would be on the heap
		stop := context.AfterFunc(ctx, func() {
			ln.lock()
			ln.wake(s.wr.Wake())
			ln.unlock(nil)
		})
		defer stop()
	}
	for {
		ln.lock()
		switch {
		case s.detached: // the host was closed
			ln.unlock(nil)
			return nil, nil, errNetClosed
		case s.opened:
			ln.unlock(nil)
			return s, rest, nil
		case s.gone || s.conn.State() == tcp.StateClosed:
			err := s.takeError()
			delete(ln.sockets, s)
			s.conn.FreeBuffers()
			ln.unlock(nil)
			if err == nil {
				err = syscall.ECONNABORTED
			}
			return nil, nil, err
		case ctx.Err() != nil:
			s.detached = true
			delete(ln.sockets, s)
			s.abort(ln)
			ln.unlock(nil)
			return nil, nil, contextError(ctx)
		}
		s.wr.Prepare()
		ln.unlock(nil)
		s.wr.Sleep()
	}
}

// connect makes a connection's socket, with the binding and the options of face
// if that is not nil. The caller sends its SYN.
func (ln *lane) connect(to netip.AddrPort, face *Socket) (*tcpSocket, syscall.Errno) {
	if ln.closed {
		return nil, 0
	}
	ip, scope, e := ln.unzone(to.Addr())
	if e != 0 {
		return nil, e
	}
	to = netip.AddrPortFrom(ip, to.Port())
	if to.Port() == 0 {
		return nil, syscall.ECONNREFUSED // as a SYN to port 0 would bring
	}
	if to.Addr().IsMulticast() || to.Addr() == broadcast4 || ln.isBroadcast(to.Addr()) {
		return nil, syscall.ENETUNREACH
	}
	var d dst
	var from netip.Addr
	if face != nil && face.bind.addr.IsValid() && !face.bind.addr.IsUnspecified() {
		if from = face.bind.addr; from.Is4() != ip.Is4() {
			return nil, syscall.EAFNOSUPPORT
		}
	}
	var opt *sockOptions
	if face != nil {
		opt = &face.opt
	}
	if e := ln.routeFor(&d, to.Addr(), scope, from, opt); e != 0 {
		return nil, e
	}
	if d.out.Capabilities().Loopback && to.Addr().IsLoopback() && !from.IsValid() {
		d.src = to.Addr()
	}
	var port uint16
	var old *timeWait
	if face != nil && face.bind.port != 0 {
		port = face.bind.port
		if e := ln.tcp.find(d.src, to.Addr(), port, to.Port()); e != nil {
			if old = e.wait; old == nil || !ln.reusable(old) {
				return nil, syscall.EADDRNOTAVAIL
			}
		}
	} else if port, old = ln.connectPort(d.src, to); port == 0 {
		return nil, syscall.EADDRNOTAVAIL
	}
	local := netip.AddrPortFrom(d.src, port)
	if e := ln.judgeSocket(hook.SocketConnect, wire.ProtoTCP, local, to); e != 0 {
		return nil, e
	}
	if ln.host.mem.exceeded(tcpSocketCost, ln.conf.set.MemoryMax) {
		return nil, syscall.ENOBUFS
	}
	var isn uint32
	if old != nil {
		isn = old.ISN()
		ln.endTimeWait(old)
	}
	s := ln.newSocket(local, to, d)
	s.initConn(isn, old != nil, opt)
	ln.sockets[s] = struct{}{}
	return s, 0
}

// connectPort chooses the local port of a connection: one with which its four
// addresses are new, or those of a connection that has been in TIME-WAIT for
// long enough.
func (ln *lane) connectPort(src netip.Addr, to netip.AddrPort) (port uint16, old *timeWait) {
	port = ln.ephemeral(func(port uint16) bool {
		return ln.ports.listeners[port] == nil && ln.ports.bound[port] == nil && ln.tcp.find(src, to.Addr(), port, to.Port()) == nil
	})
	if port != 0 {
		return port, nil
	}
	port = ln.ephemeral(func(port uint16) bool {
		e := ln.tcp.find(src, to.Addr(), port, to.Port())
		if e != nil && e.wait != nil && ln.reusable(e.wait) {
			old = e.wait
		}
		return old != nil
	})
	return port, old
}

// Listen listens for connections, as [net.Listen] does: on "tcp", "tcp4" or
// "tcp6". Without an address it listens on all of the host's. The listener is
// a *TCPListener.
func (h *Host) Listen(name, address string) (net.Listener, error) {
	return h.listenTCP(name, address, ListenConfig{})
}

func (h *Host) listenTCP(name, address string, c ListenConfig) (net.Listener, error) {
	b, err := h.bind(name, address, wire.ProtoTCP)
	c.apply(&b)
	var l *tcpListener
	if err == nil {
		l, err = h.listen(b, c.Backlog)
	}
	if err != nil {
		e := &net.OpError{Op: "listen", Net: name, Err: sysError("bind", err)}
		if b.addr.IsValid() {
			e.Addr = net.TCPAddrFromAddrPort(netip.AddrPortFrom(b.addr, b.port))
		}
		return nil, e
	}
	return &TCPListener{l}, nil
}

// ListenPacket opens a datagram socket, as [net.ListenPacket] does: on "udp",
// "udp4" or "udp6". The connection is a *UDPConn.
//
// On "ping4" and "ping6" it opens a ping socket (Linux: SOCK_DGRAM with
// IPPROTO_ICMP or IPPROTO_ICMPV6), which sends echo requests and receives their
// replies, ICMP headers included. Its port is the identifier of its echoes,
// which it fills in as well as the checksum; the address needs no port.
func (h *Host) ListenPacket(name, address string) (net.PacketConn, error) {
	return h.listenUDP(name, address, ListenConfig{})
}

func (h *Host) listenUDP(name, address string, c ListenConfig) (net.PacketConn, error) {
	proto := wire.ProtoUDP
	if p, _, err := network(name); err == nil && p != wire.ProtoTCP {
		proto = p
	}
	b, err := h.bind(name, address, proto)
	c.apply(&b)
	var s *udpSocket
	if err == nil {
		s, err = h.udpOpen(proto, b, netip.AddrPort{})
	}
	if err != nil {
		e := &net.OpError{Op: "listen", Net: name, Err: sysError("bind", err)}
		if b.addr.IsValid() {
			e.Addr = net.UDPAddrFromAddrPort(netip.AddrPortFrom(b.addr, b.port))
		}
		return nil, e
	}
	return &UDPConn{s}, nil
}

// bind reads the address of a listening socket.
func (h *Host) bind(name, address string, want wire.Proto) (b binding, err error) {
	proto, f, err := network(name)
	if err != nil {
		return b, err
	}
	ips, port, err := h.resolve(strings.TrimRight(name, "46"), address, f)
	if err != nil {
		return b, err
	}
	b = binding{port: port, v4: f.v4, v6: f.v6}
	switch {
	case len(ips) > 0:
		b.addr = ips[0]
		if !b.addr.IsUnspecified() || b.addr.Is4() {
			b.v4, b.v6 = b.addr.Is4(), b.addr.Is6()
		}
	case f.v6:
		b.addr = netip.IPv6Unspecified()
	default:
		b.addr = netip.IPv4Unspecified()
	}
	if proto != want {
		return b, &net.AddrError{Err: "unexpected address type", Addr: address}
	}
	return b, nil
}
