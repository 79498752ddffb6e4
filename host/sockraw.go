package host

import (
	"net/netip"
	"slices"
	"syscall"

	"github.com/towpath/towpath/firewall/hook"
	"github.com/towpath/towpath/packet"
	"github.com/towpath/towpath/wire"
)

// Raw sockets: datagram sockets of any IP protocol, without ports (Linux:
// raw(7)). Each packet of the protocol that fits one is copied to it, whoever
// else takes the packet: of IPv4 with its header, of IPv6 without.

// protocolMax is above every protocol's number, also of those that are none of
// IP's (Linux: IPPROTO_MAX).
const protocolMax = 263

// protoRaw is the protocol of sockets that only send (Linux: IPPROTO_RAW).
const protoRaw wire.Proto = 255

// noChecksum is a [SocketOptions.ChecksumAt] for none.
const noChecksum = -1

// raw is what a raw socket has beside what other datagram sockets have. It is
// guarded by lane.mu.
type raw struct {
	included   bool      // what is sent begins with its IP header (Linux: IP_HDRINCL)
	checksumAt int       // IPv6: where in the payload the checksum is; noChecksum if nowhere
	blocked    [8]uint32 // ICMP types that are not wanted, a bit each (Linux: ICMP_FILTER, ICMPV6_FILTER)
}

// openRaw makes a datagram socket a raw one and has it found.
func (s *udpSocket) openRaw(ln *lane) {
	o := &s.face.opt
	o.HeaderIncluded, o.ChecksumAt = s.proto == protoRaw, noChecksum
	if s.binding.v6 && s.proto == wire.ProtoICMPv6 {
		o.ChecksumAt = 2
	}
	s.raw = new(raw)
	s.applyRaw(o)
	// Linux shows the protocol where others have a port.
	s.binding.port = uint16(s.proto)
	s.local = netip.AddrPortFrom(s.local.Addr(), s.binding.port)
	s.wild = s.local.Addr()
	ln.raws = append(ln.raws, s)
}

// applyRaw puts options into effect.
func (s *udpSocket) applyRaw(o *sockOptions) {
	s.raw.included, s.raw.checksumAt, s.raw.blocked = o.HeaderIncluded, o.ChecksumAt, o.ICMPBlocked
}

func (ln *lane) removeRaw(s *udpSocket) {
	ln.raws = slices.DeleteFunc(ln.raws, func(o *udpSocket) bool { return o == s })
}

// bindRaw gives a raw socket an address. It may be given another one as long as
// it has no peer.
func (s *udpSocket) bindRaw(ln *lane, ip netip.Addr) syscall.Errno {
	switch {
	case s.remote.IsValid():
		return syscall.EINVAL
	case ip.Is4() != s.binding.v4, !ip.IsUnspecified() && !ln.bindable(ip):
		return syscall.EADDRNOTAVAIL
	}
	local := netip.AddrPortFrom(ip, s.binding.port)
	if e := ln.judgeSocket(hook.SocketBind, s.proto, local, s.remote); e != 0 {
		return e
	}
	s.binding.addr, s.wild, s.local, s.way.conf = ip, ip, local, nil
	return 0
}

// fits reports whether packets of a protocol from one address to another, by an
// adapter, are for the raw socket.
func (s *udpSocket) fits(proto wire.Proto, dst, src netip.Addr, in int32) bool {
	return s.proto == proto && s.binding.score(dst, in) > 0 && !(s.remote.IsValid() && s.remote.Addr() != src)
}

// rawIn copies a packet to the raw sockets that it fits, and reports whether
// there is one. p begins with its transport header.
func (ln *lane) rawIn(p *packet.Packet) (heard bool) {
	for _, s := range ln.raws {
		if !s.fits(p.Proto, p.Dst, p.Src, p.Ingress) || !s.hears(p) {
			continue
		}
		heard = true
		if !s.raw.wants(p) {
			continue
		}
		c := p.Clone()
		if at := s.raw.checksumAt; at != noChecksum && p.Checksum == packet.ChecksumNone &&
			wire.Fold(c.TransportSum(wire.PseudoSum(p.Src, p.Dst, p.Proto, p.Len()))) != 0xffff {
			ln.drop(c, packet.ReasonRawChecksum)
			continue
		}
		if p.Dst.Is4() {
			c.Push(int(p.Transport - p.Net))
		}
		if s.filter != nil && s.filtered(ln, c) {
			ln.drop(c, packet.ReasonRawFilter)
			continue
		}
		c.Data = c.Start()
		switch s.enqueue(ln, c) {
		case queueFull:
			ln.drop(c, packet.ReasonRawQueueFull)
		case queueMemory:
			ln.drop(c, packet.ReasonRawMemory)
		}
	}
	return heard
}

// wants reports whether the socket wants an ICMP message of p's type. Of other
// protocols it wants all.
func (r *raw) wants(p *packet.Packet) bool {
	p.Linear(1)
	b := p.Head()
	switch {
	case len(b) == 0:
	case p.Proto == wire.ProtoICMP && p.Dst.Is4():
		return b[0] >= 32 || r.blocked[0]>>b[0]&1 == 0
	case p.Proto == wire.ProtoICMPv6 && p.Dst.Is6():
		return r.blocked[b[0]>>5]>>(b[0]&31)&1 == 0
	}
	return true
}

// rawError tells the raw sockets that may have sent a packet what became of it,
// and reports whether there is one.
func (ln *lane) rawError(q *quoted, c *icmpCause) (heard bool) {
	for _, s := range ln.raws {
		if !s.fits(q.proto, q.src, q.dst, 0) {
			continue
		}
		heard = true
		if c.errno != 0 && (s.keepError(ln, q, c) || s.remote.IsValid() && c.hard(q.dst.Is6())) {
			s.fail(ln, c.errno)
		}
	}
	return heard
}

// sendRaw sends a packet of the socket's protocol: its payload, or all of it if
// the header is included.
func (s *Socket) sendRaw(b []byte, to netip.AddrPort, info *PacketInfo) (int, syscall.Errno) {
	u := s.udp
	e := s.hold(func(ln *lane) syscall.Errno {
		if len(b) > packet.SizeMax {
			return syscall.EMSGSIZE
		}
		var ip netip.Addr
		switch {
		case to.IsValid():
			var e syscall.Errno
			if ip, e = s.family(to.Addr()); e != 0 {
				return e
			}
			if port := to.Port(); s.six && port != 0 && s.proto != protoRaw && port != uint16(s.proto) {
				return syscall.EINVAL // it names the protocol
			}
			ip = s.orLoopback(ip)
		case u.remote.IsValid():
			ip = u.remote.Addr()
		default:
			return syscall.EDESTADDRREQ
		}
		if u.wrClosed {
			if e := u.takeError(); e != 0 {
				return e
			}
			return syscall.EPIPE
		}
		if e := u.takeError(); e != 0 {
			return e
		}
		if u.way.conf != ln.conf || u.to != ip {
			if e := u.connectTo(ln, ip); e != 0 {
				return e
			}
		}
		if u.raw.included {
			return u.includedOut(ln, b)
		}
		return u.rawOut(ln, b, ip, info)
	})
	if e != 0 {
		return 0, e
	}
	return len(b), 0
}

// rawOut sends b to ip, by the socket's way, behind an IP header.
func (s *udpSocket) rawOut(ln *lane, b []byte, ip netip.Addr, info *PacketInfo) syscall.Errno {
	p := ln.pool.Get()
	if e := s.address(ln, p, ip, info); e != 0 {
		ln.pool.Free(p)
		return e
	}
	if at := s.raw.checksumAt; ip.Is6() && at != noChecksum {
		if at+2 > len(b) {
			ln.pool.Free(p)
			return syscall.EINVAL
		}
		b = slices.Clone(b)
		b[at], b[at+1] = 0, 0
		sum := ^wire.Fold(wire.Sum(b, wire.PseudoSum(p.Src, p.Dst, s.proto, len(b))))
		b[at], b[at+1] = byte(sum>>8), byte(sum)
	}
	if e := s.fitsPath(ln, netip.AddrPortFrom(ip, 0), len(b)); e != 0 {
		ln.pool.Free(p)
		return e
	}
	if ipSize(ip, len(b)) > packet.SizeMax || !p.AppendBytes(b) {
		ln.pool.Free(p)
		return syscall.EMSGSIZE
	}
	ln.unlooped = s.noLoop
	ln.ipOutWith(p, &s.way, nil, s.discover(ip))
	ln.unlooped = false
	return 0
}

// includedOut sends b, an IP packet of which an IPv4 header may lack source,
// identification, length and checksum (Linux: raw_send_hdrinc).
func (s *udpSocket) includedOut(ln *lane, b []byte) syscall.Errno {
	d := &s.way
	hdr := wire.IPv6Len
	switch v4 := s.binding.v4; {
	case len(b) > d.linkMTU():
		return syscall.EMSGSIZE
	case v4 && (len(b) < wire.IPv4Len || b[0]>>4 != 4), !v4 && (len(b) < wire.IPv6Len || b[0]>>4 != 6):
		return syscall.EINVAL
	case v4:
		if hdr = wire.IPv4(b).HeaderLen(); hdr < wire.IPv4Len || hdr > len(b) {
			return syscall.EINVAL
		}
	}
	p := ln.pool.Get()
	copy(p.Append(hdr), b)
	p.Net, p.Transport = p.Start(), p.Start()+uint16(hdr)
	if !p.AppendBytes(b[hdr:]) {
		ln.pool.Free(p)
		return syscall.EMSGSIZE
	}
	if s.binding.v4 {
		ip := wire.IPv4(p.Head())
		ip.SetTotalLen(len(b))
		if ip.Src().IsUnspecified() {
			ip.SetSrc(d.src)
		}
		if ip.ID() == 0 && !ip.DontFragment() {
			ip.SetID(uint16(ln.rand.Uint32()))
		}
		ip.UpdateChecksum()
		p.Src, p.Dst, p.Proto, p.TTL, p.TOS = ip.Src(), ip.Dst(), ip.Proto(), ip.TTL(), ip.TOS()
	} else {
		ip := wire.IPv6(p.Head())
		p.Src, p.Dst, p.Proto, p.TTL, p.TOS = ip.Src(), ip.Dst(), ip.NextHeader(), ip.HopLimit(), ip.TrafficClass()
	}
	ln.unlooped = s.noLoop
	ln.localOut(p, d)
	ln.unlooped = false
	return 0
}
