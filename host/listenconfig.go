package host

import (
	"net"
	"net/netip"
	"time"

	"github.com/towpath/towpath/packet"
	"github.com/towpath/towpath/wire"
)

// A ListenConfig opens sockets with options that must be set before they are
// bound, as [net.ListenConfig]'s Control does.
type ListenConfig struct {
	Host *Host
	// ReusePort lets several sockets have one port if all of them say so: what
	// comes is spread over them by flow (Linux: SO_REUSEPORT).
	ReusePort bool
	// ReuseAddr lets several datagram sockets have one port if all of them say
	// so, for groups and broadcasts, of which each gets a copy (Linux:
	// SO_REUSEADDR). Listeners need none: a port in TIME-WAIT is free.
	ReuseAddr bool
	// Backlog bounds the connections that wait to be accepted; 0 means
	// Settings.Somaxconn, which is also the most.
	Backlog int
}

// Listen is [Host.Listen] with options.
func (c ListenConfig) Listen(name, address string) (net.Listener, error) {
	return c.Host.listenTCP(name, address, c)
}

// ListenPacket is [Host.ListenPacket] with options.
func (c ListenConfig) ListenPacket(name, address string) (net.PacketConn, error) {
	return c.Host.listenUDP(name, address, c)
}

func (c *ListenConfig) apply(b *binding) { b.reuseAddr, b.reusePort = c.ReuseAddr, c.ReusePort }

// A PacketInfo is what else is known of a received datagram (Linux: IP_PKTINFO,
// IP_RECVTTL, IP_RECVTOS and their IPv6 twins), or is wanted of one to be sent.
type PacketInfo struct {
	Peer    netip.AddrPort // who sent it
	Local   netip.Addr     // whom it was sent to: an address of ours, a group, a broadcast address
	Adapter string         // by which it came
	// AdapterIndex is its number, from 1.
	AdapterIndex int32
	TTL          uint8 // TTL or hop limit
	TOS          uint8 // type of service or traffic class
	// SegmentSize is the size in bytes of all but the last of several datagrams
	// that are received or sent as one; 0 if it is one (UDP_GRO, UDP_SEGMENT).
	SegmentSize int
	// At is when it came, of a Socket with timestamps (SO_TIMESTAMP).
	At time.Time
}

// ReadPacket reads one datagram and what is known of it. What does not fit b is
// lost.
func (c *UDPConn) ReadPacket(b []byte) (n int, info PacketInfo, err error) {
	n, d, err := c.s.recv(b)
	if err != nil {
		return 0, info, c.fail("read", sysError("recvmsg", err), nil)
	}
	info = PacketInfo{Peer: d.from, Local: d.to, TTL: d.ttl, TOS: d.tos, AdapterIndex: d.ingress}
	if a := c.s.lane.host.conf.Load().adapter(d.ingress); a != nil {
		info.Adapter = a.Name()
	}
	return min(n, len(b)), info, nil
}

// WritePacket sends one datagram to info.Peer, or, if that is not valid, to the
// peer of a connected socket. A valid info.Local is its source address, which
// must be the host's; zero TTL and TOS are the socket's.
func (c *UDPConn) WritePacket(b []byte, info PacketInfo) (int, error) {
	to := info.Peer
	if !to.IsValid() {
		to = c.s.remote
	}
	if !to.IsValid() {
		return 0, c.fail("write", errMissingAddress, nil)
	}
	if err := c.s.send(b, netip.AddrPortFrom(to.Addr().Unmap(), to.Port()), &info); err != nil {
		return 0, c.fail("write", sysError("sendmsg", err), net.UDPAddrFromAddrPort(to))
	}
	return len(b), nil
}

// SetTTL sets the TTL or hop limit of what is sent; 0 means the host's.
func (c *UDPConn) SetTTL(ttl uint8) error { return c.set(func(s *udpSocket) { s.ttl = ttl }) }

// SetTOS sets the type of service or traffic class of what is sent.
func (c *UDPConn) SetTOS(tos uint8) error { return c.set(func(s *udpSocket) { s.tos = tos }) }

// SetMulticastLoopback says whether what is sent to groups that this host is
// part of comes to its own sockets too, as it does by default (Linux:
// IP_MULTICAST_LOOP).
func (c *UDPConn) SetMulticastLoopback(on bool) error {
	return c.set(func(s *udpSocket) { s.noLoop = !on })
}

// set changes what the lane guards.
func (c *UDPConn) set(f func(s *udpSocket)) error {
	ln := c.s.lane
	ln.lock()
	defer ln.unlock(nil)
	if c.s.isClosed() {
		return c.failSet()
	}
	f(c.s)
	return nil
}

// datagram is what recv tells of what it has copied.
type datagram struct {
	from     netip.AddrPort
	to       netip.Addr
	ingress  int32
	ttl, tos uint8
	at       time.Duration
}

func datagramOf(p *packet.Packet) datagram {
	var port uint16
	if p.Proto == wire.ProtoUDP && p.Data > p.Transport { // raw sockets read from before it
		port = wire.UDP(p.From(p.Transport)).SrcPort()
	}
	return datagram{
		from: netip.AddrPortFrom(p.Src, port),
		to:   p.Dst, ingress: p.Ingress, ttl: p.TTL, tos: p.TOS, at: p.Stamp,
	}
}
