package host

import (
	"net"
	"net/netip"
	"time"
)

// A UDPConn is a datagram socket with the methods, deadlines and errors of
// [net.UDPConn]. Addresses of IPv4 peers are always given as IPv4 addresses.
type UDPConn struct{ s *udpSocket }

// LocalAddr returns the local address, a *net.UDPAddr.
func (c *UDPConn) LocalAddr() net.Addr { return net.UDPAddrFromAddrPort(c.s.local) }

// RemoteAddr returns the peer's address, a *net.UDPAddr, or nil if the socket
// is not connected.
func (c *UDPConn) RemoteAddr() net.Addr {
	if !c.s.remote.IsValid() {
		return nil
	}
	return net.UDPAddrFromAddrPort(c.s.remote)
}

func (c *UDPConn) fail(op string, err error, to net.Addr) error {
	if err == nil {
		return nil
	}
	if to == nil {
		to = c.RemoteAddr()
	}
	return &net.OpError{Op: op, Net: "udp", Source: c.LocalAddr(), Addr: to, Err: err}
}

// failSet is the error of a setting on a closed socket.
func (c *UDPConn) failSet() error {
	return &net.OpError{Op: "set", Net: "udp", Addr: c.LocalAddr(), Err: errNetClosed}
}

// ReadFromUDPAddrPort reads one datagram. What does not fit b is lost.
func (c *UDPConn) ReadFromUDPAddrPort(b []byte) (n int, addr netip.AddrPort, err error) {
	n, d, err := c.s.recv(b)
	addr = d.from
	if err != nil {
		return 0, addr, c.fail("read", sysError("recvfrom", err), nil)
	}
	return min(n, len(b)), addr, nil
}

// ReadFromUDP reads one datagram.
func (c *UDPConn) ReadFromUDP(b []byte) (n int, addr *net.UDPAddr, err error) {
	n, from, err := c.ReadFromUDPAddrPort(b)
	if err != nil {
		return n, nil, err
	}
	return n, net.UDPAddrFromAddrPort(from), nil
}

// ReadFrom implements [net.PacketConn].
func (c *UDPConn) ReadFrom(b []byte) (int, net.Addr, error) {
	n, addr, err := c.ReadFromUDP(b)
	if err != nil {
		return n, nil, err
	}
	return n, addr, nil
}

// Read reads one datagram.
func (c *UDPConn) Read(b []byte) (int, error) {
	n, _, err := c.s.recv(b)
	if err != nil {
		return 0, c.fail("read", sysError("read", err), nil)
	}
	return min(n, len(b)), nil
}

// WriteToUDPAddrPort sends one datagram to addr.
func (c *UDPConn) WriteToUDPAddrPort(b []byte, addr netip.AddrPort) (int, error) {
	if c.s.remote.IsValid() {
		return 0, c.fail("write", net.ErrWriteToConnected, net.UDPAddrFromAddrPort(addr))
	}
	if ip := addr.Addr(); ip.Is4In6() {
		addr = netip.AddrPortFrom(ip.Unmap(), addr.Port())
	}
	if err := c.s.send(b, addr, nil); err != nil {
		return 0, c.fail("write", sysError("sendto", err), net.UDPAddrFromAddrPort(addr))
	}
	return len(b), nil
}

// WriteToUDP sends one datagram to addr.
func (c *UDPConn) WriteToUDP(b []byte, addr *net.UDPAddr) (int, error) {
	if addr == nil {
		return 0, c.fail("write", errMissingAddress, nil)
	}
	return c.WriteToUDPAddrPort(b, addr.AddrPort())
}

// WriteTo implements [net.PacketConn]; addr is a *net.UDPAddr.
func (c *UDPConn) WriteTo(b []byte, addr net.Addr) (int, error) {
	a, ok := addr.(*net.UDPAddr)
	if !ok {
		return 0, c.fail("write", &net.AddrError{Err: "not a UDP address", Addr: addrString(addr)}, addr)
	}
	return c.WriteToUDP(b, a)
}

func addrString(a net.Addr) string {
	if a == nil {
		return ""
	}
	return a.String()
}

// Write sends one datagram to the peer of a connected socket.
func (c *UDPConn) Write(b []byte) (int, error) {
	if !c.s.remote.IsValid() {
		return 0, c.fail("write", errMissingAddress, nil)
	}
	if err := c.s.send(b, c.s.remote, nil); err != nil {
		return 0, c.fail("write", sysError("write", err), nil)
	}
	return len(b), nil
}

// Close closes the socket.
func (c *UDPConn) Close() error { return c.fail("close", c.s.close(), nil) }

// SetDeadline sets both deadlines; see [net.PacketConn].
func (c *UDPConn) SetDeadline(t time.Time) error { return c.deadlines(t, true, true) }

// SetReadDeadline sets the instant from which on reads fail.
func (c *UDPConn) SetReadDeadline(t time.Time) error { return c.deadlines(t, true, false) }

// SetWriteDeadline sets the instant from which on writes fail. Writes never
// wait.
func (c *UDPConn) SetWriteDeadline(t time.Time) error { return c.deadlines(t, false, true) }

func (c *UDPConn) deadlines(t time.Time, read, write bool) error {
	ln := c.s.lane
	ln.lock()
	defer ln.unlock(nil)
	if c.s.isClosed() {
		return c.failSet()
	}
	at := ln.instant(t)
	if read {
		c.s.setReadDeadline(ln, at)
	}
	if write {
		c.s.mu.Lock()
		c.s.wrSide.SetDeadline(at)
		c.s.mu.Unlock()
	}
	return nil
}

// SetReadBuffer bounds the receive queue, in bytes with the packets' overhead.
func (c *UDPConn) SetReadBuffer(bytes int) error {
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	if c.s.closed {
		return c.failSet()
	}
	c.s.limit = max(bytes, udpRcvBufMin)
	return nil
}

// udpRcvBufMin is the least bound of a receive queue: a largest datagram fits.
const udpRcvBufMin = 128 << 10

// SetWriteBuffer does nothing: datagrams leave at once.
func (c *UDPConn) SetWriteBuffer(int) error {
	if c.s.isClosed() {
		return c.failSet()
	}
	return nil
}

// SetBroadcast allows sending to broadcast addresses (Linux: SO_BROADCAST).
func (c *UDPConn) SetBroadcast(on bool) error {
	ln := c.s.lane
	ln.lock()
	defer ln.unlock(nil)
	c.s.bcast = on
	c.s.to, c.s.way.conf = netip.Addr{}, nil
	return nil
}
