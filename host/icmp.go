package host

import (
	"encoding/binary"
	"net/netip"
	"syscall"

	"github.com/towpath/towpath/firewall/hook"
	"github.com/towpath/towpath/link"
	"github.com/towpath/towpath/packet"
	"github.com/towpath/towpath/wire"
)

// An icmpCause is something that an ICMP error tells, in both families' words.
type icmpCause struct {
	type4 wire.ICMPv4Type
	code4 uint8
	type6 wire.ICMPv6Type
	code6 uint8
	rest  uint32        // bytes 4 to 7 of the message
	errno syscall.Errno // what a local sender is told
}

var (
	icmpPort = icmpCause{type4: wire.ICMPv4Unreachable, code4: wire.ICMPv4PortUnreachable,
		type6: wire.ICMPv6Unreachable, code6: wire.ICMPv6PortUnreachable, errno: syscall.ECONNREFUSED}
	icmpProtocol = icmpCause{type4: wire.ICMPv4Unreachable, code4: wire.ICMPv4ProtoUnreachable,
		type6: wire.ICMPv6ParamProblem, code6: wire.ICMPv6UnknownNextHeader, errno: syscall.ENOPROTOOPT}
	icmpHost = icmpCause{type4: wire.ICMPv4Unreachable, code4: wire.ICMPv4HostUnreachable,
		type6: wire.ICMPv6Unreachable, code6: wire.ICMPv6AddressUnreachable, errno: syscall.EHOSTUNREACH}
	icmpNoRoute = icmpCause{type4: wire.ICMPv4Unreachable, code4: wire.ICMPv4NetUnreachable,
		type6: wire.ICMPv6Unreachable, code6: wire.ICMPv6NoRoute, errno: syscall.ENETUNREACH}
	icmpProhibited = icmpCause{type4: wire.ICMPv4Unreachable, code4: wire.ICMPv4AdminProhibited,
		type6: wire.ICMPv6Unreachable, code6: wire.ICMPv6AdminProhibited, errno: syscall.EACCES}
	icmpReassembly = icmpCause{type4: wire.ICMPv4TimeExceeded, code4: wire.ICMPv4ReassemblyExceeded,
		type6: wire.ICMPv6TimeExceeded, code6: wire.ICMPv6ReassemblyExceeded, errno: syscall.EHOSTUNREACH}
	icmpTTL = icmpCause{type4: wire.ICMPv4TimeExceeded, code4: wire.ICMPv4TTLExceeded,
		type6: wire.ICMPv6TimeExceeded, code6: wire.ICMPv6HopLimitExceeded, errno: syscall.EHOSTUNREACH}
)

func icmpTooBig(mtu int) icmpCause {
	return icmpCause{type4: wire.ICMPv4Unreachable, code4: wire.ICMPv4FragNeeded,
		type6: wire.ICMPv6PacketTooBig, rest: uint32(mtu), errno: syscall.EMSGSIZE}
}

// Lengths up to which errors quote the packet that caused them (RFC 1812
// §4.3.2.3, RFC 4443 §2.4 (c)), as IP packets in bytes.
const (
	icmpErrorMax4 = 576
	icmpErrorMax6 = 1280
)

// icmpError tells the sender of p what became of it. p is lent; its IP header
// is at p.Net. A sender on this host is told without a packet.
func (ln *lane) icmpError(in *link.Adapter, p *packet.Packet, c icmpCause) {
	if p.Ingress == 0 {
		var q quoted
		if q.parse(p.From(p.Net), p.Src.Is4()) {
			ln.senderError(&q, c)
		}
		return
	}
	if in == nil {
		in = ln.conf.adapter(p.Ingress)
	}
	if in == nil || !ln.mayAnswer(in, p, &c) {
		return
	}
	var d dst
	if ln.route(&d, p.Src, in.Index()) != packet.NotDropped {
		return
	}
	if !ln.mayError(p.Src, &c, d.out.Capabilities().Loopback) {
		return
	}
	src := p.Dst
	if _, ours := ln.conf.addrs.Local(src); !ours {
		var ok bool
		if src, ok = ln.conf.addrs.Source(in.Index(), p.Src, p.Src); !ok {
			return
		}
	}
	e := ln.pool.Get()
	max, hdr := icmpErrorMax4, wire.IPv4Len
	if p.Src.Is6() {
		max, hdr = icmpErrorMax6, wire.IPv6Len
	}
	n := min(p.LenFrom(p.Net), max-hdr-wire.ICMPLen)
	msg := ln.pool.Chunk(n)
	// What is quoted begins at the IP header, wherever the packet begins now.
	k := copy(msg.Bytes()[:n], p.From(p.Net))
	if k < n {
		p.CopyTo(msg.Bytes()[k:n], p.HeadLen())
	}
	e.AppendOwned(msg, 0, n)
	if p.Src.Is6() {
		wire.PutICMP(e.Push(wire.ICMPLen), uint8(c.type6), c.code6, 0, c.rest)
		e.Proto = wire.ProtoICMPv6
	} else {
		wire.PutICMP(e.Push(wire.ICMPLen), uint8(c.type4), c.code4, 0, c.rest)
		e.Proto = wire.ProtoICMP
		// A control message goes before what it is about (RFC 1812 §4.3.2.5).
		e.TOS = p.TOS&0x1e | 0xc0
	}
	e.Src, e.Dst, e.TTL = src, p.Src, ln.ttl(&d, p.Src)
	e.Track = p.Track.Answer()
	ln.icmpOut(e, &d)
}

// tellRefusal tells the sender of p that a judge has dropped it. p is lent.
func (ln *lane) tellRefusal(in *link.Adapter, p *packet.Packet, r hook.Refusal) {
	if !r.Reset {
		ln.icmpError(in, p, icmpCause{type4: wire.ICMPv4Unreachable, code4: r.Code4,
			type6: wire.ICMPv6Unreachable, code6: r.Code6, errno: syscall.EPERM})
		return
	}
	seg := wire.TCP(p.From(p.Transport))
	if p.Proto != wire.ProtoTCP || !seg.Valid() {
		return
	}
	p.Data = p.Transport + uint16(seg.HeaderLen())
	ln.refuse(p, nil, p.Track.Answer())
}

// mayAnswer keeps the rules of RFC 1122 §3.2.2 and RFC 4443 §2.4 (e): no error
// about an error, a fragment but the first, or a packet to or from a group; but
// IPv6 groups are told what only the sender can mend (RFC 4443 §2.4 (e.3)).
func (ln *lane) mayAnswer(in *link.Adapter, p *packet.Packet, c *icmpCause) bool {
	if p.Src.IsUnspecified() || p.Src.IsMulticast() || p.Src.IsLoopback() && !in.Capabilities().Loopback ||
		p.Dst == broadcast4 || ln.conf.addrs.Broadcast(in.Index(), p.Dst) {
		return false
	}
	toGroup := p.Dst.Is6() && (c.type6 == wire.ICMPv6PacketTooBig || c.type6 == wire.ICMPv6ParamProblem && c.code6 == wire.ICMPv6UnknownOption)
	if (p.Dst.IsMulticast() || stationGroup(in, p)) && !toGroup {
		return false
	}
	if p.Src.Is4() {
		if wire.IPv4(p.From(p.Net)).FragOffset() != 0 {
			return false
		}
		if p.Proto == wire.ProtoICMP {
			b := p.From(p.Transport)
			return len(b) > 0 && !wire.ICMPv4Type(b[0]).IsError()
		}
		return true
	}
	proto, b := p.Proto, p.From(p.Transport)
	if proto == wire.ProtoFragment { // the first one has what tells
		ip := wire.IPv6(p.From(p.Net))
		x, _ := wire.WalkExtensions(ip[wire.IPv6Len:], ip.NextHeader())
		if proto, b = x.Proto, ip[wire.IPv6Len+x.Len:]; x.FragOffset != 0 {
			return true
		}
	}
	if proto == wire.ProtoICMPv6 {
		return len(b) > 0 && !wire.ICMPv6Type(b[0]).IsError() && wire.ICMPv6Type(b[0]) != wire.ICMPv6Redirect
	}
	return true
}

// stationGroup reports whether the frame of p was for a group of stations.
func stationGroup(in *link.Adapter, p *packet.Packet) bool {
	return in.Capabilities().Medium == link.MediumEthernet && p.Link < p.Net && p.From(p.Link)[0]&1 != 0
}

// icmpOut fills in the checksum of the ICMP message p and sends it.
func (ln *lane) icmpOut(p *packet.Packet, d *dst) {
	ln.stats.ip(p.Src).ICMPOut++
	ln.icmpSum(p)
	ln.ipOut(p, d)
}

// icmpSum fills in the checksum of the ICMP message p.
func (ln *lane) icmpSum(p *packet.Packet) {
	p.Transport = p.Start()
	var pseudo uint32
	if p.Proto == wire.ProtoICMPv6 {
		pseudo = wire.PseudoSum(p.Src, p.Dst, wire.ProtoICMPv6, p.Len())
	}
	h := wire.ICMPv4(p.Head())
	h.SetChecksum(0)
	h.SetChecksum(^wire.Fold(p.TransportSum(pseudo)))
}

// icmpv4In takes an ICMP message for us.
func (ln *lane) icmpv4In(a *link.Adapter, p *packet.Packet) {
	ln.stats.IPv4.ICMPIn++
	if !p.Linear(wire.ICMPLen) {
		ln.drop(p, packet.ReasonICMPMalformed)
		return
	}
	if p.Checksum == packet.ChecksumNone && wire.Fold(p.TransportSum(0)) != 0xffff {
		ln.drop(p, packet.ReasonICMPChecksum)
		return
	}
	m := wire.ICMPv4(p.Head())
	switch t := m.Type(); {
	case t == wire.ICMPv4EchoRequest:
		ln.echoIn(a, p, uint8(wire.ICMPv4EchoReply))
	case t == wire.ICMPv4EchoReply:
		ln.echoReplyIn(p, m.ID(), m.Seq())
	case t == wire.ICMPv4Redirect:
		ln.redirect4In(a, p, m)
	case t == wire.ICMPv4Unreachable || t == wire.ICMPv4TimeExceeded || t == wire.ICMPv4ParamProblem:
		c := icmpCause{type4: t, code4: m.Code(), rest: uint32(m.MTU()), errno: errnoOf4(t, m.Code())}
		ln.errorIn(p, c)
	default:
		ln.drop(p, packet.ReasonICMPType)
	}
}

// icmpv6In takes an ICMPv6 message for us.
func (ln *lane) icmpv6In(a *link.Adapter, p *packet.Packet) {
	ln.stats.IPv6.ICMPIn++
	if p.Len() < wire.ICMPLen || !p.Linear(min(p.Len(), p.LinearMax())) {
		ln.drop(p, packet.ReasonICMPMalformed)
		return
	}
	if p.Checksum == packet.ChecksumNone &&
		wire.Fold(p.TransportSum(wire.PseudoSum(p.Src, p.Dst, wire.ProtoICMPv6, p.Len()))) != 0xffff {
		ln.drop(p, packet.ReasonICMPChecksum)
		return
	}
	m := wire.ICMPv6(p.Head())
	switch t := m.Type(); t {
	case wire.ICMPv6EchoRequest:
		ln.echoIn(a, p, uint8(wire.ICMPv6EchoReply))
	case wire.ICMPv6EchoReply:
		ln.echoReplyIn(p, m.ID(), m.Seq())
	case wire.ICMPv6NeighborSolicit, wire.ICMPv6NeighborAdvert, wire.ICMPv6RouterAdvert, wire.ICMPv6Redirect:
		ln.ndpIn(a, p)
	case wire.ICMPv6MLDQuery, wire.ICMPv6MLDReport:
		ln.membershipIn(p, ln.host.groups.MLDIn(ln.now, p, (*groupSender)(ln)))
	case wire.ICMPv6Unreachable, wire.ICMPv6PacketTooBig, wire.ICMPv6TimeExceeded, wire.ICMPv6ParamProblem:
		c := icmpCause{type6: t, code6: m.Code(), rest: m.Rest(), errno: errnoOf6(t, m.Code())}
		ln.errorIn(p, c)
	default:
		ln.drop(p, packet.ReasonICMPType)
	}
}

// echoIn answers an echo request with the same packet.
func (ln *lane) echoIn(a *link.Adapter, p *packet.Packet, reply uint8) {
	broadcast := p.Dst == broadcast4 || p.Dst.Is4() && p.Dst.IsMulticast() || ln.conf.addrs.Broadcast(a.Index(), p.Dst)
	if ln.conf.set.ICMPEchoIgnoreAll || broadcast && !ln.conf.set.ICMPEchoBroadcasts || p.Src.IsUnspecified() {
		ln.drop(p, packet.ReasonEchoIgnored)
		return
	}
	src := p.Dst
	if broadcast || src.IsMulticast() {
		src = netip.Addr{} // let the route choose
	}
	var d dst
	if ln.routeFrom(&d, p.Src, a.Index(), src) != 0 {
		ln.drop(p, packet.ReasonEchoNoRoute)
		return
	}
	var buf [wire.IPv4LenMax - wire.IPv4Len]byte
	options := ln.echoOptions(p, d.src, &buf)
	p.Head()[0] = reply
	p.Src, p.Dst = d.src, p.Src
	p.TTL, p.Checksum, p.Mark, p.Ingress = ln.ttl(&d, p.Dst), packet.ChecksumNone, 0, 0
	p.Track, p.FragMax = packet.Track{}, 0
	ln.icmpSum(p)
	ln.ipOutWith(p, &d, options, MTUWant)
}

// errnoOf4 is what a socket is told of an ICMP error (RFC 1122 §4.2.3.9; the
// numbers are Linux's icmp_err_convert).
func errnoOf4(t wire.ICMPv4Type, code uint8) syscall.Errno {
	switch t {
	case wire.ICMPv4Unreachable:
		switch code {
		case wire.ICMPv4NetUnreachable, wire.ICMPv4NetUnknown, wire.ICMPv4NetProhibited, wire.ICMPv4NetTOS:
			return syscall.ENETUNREACH
		case wire.ICMPv4ProtoUnreachable:
			return syscall.ENOPROTOOPT
		case wire.ICMPv4PortUnreachable:
			return syscall.ECONNREFUSED
		case wire.ICMPv4FragNeeded:
			return syscall.EMSGSIZE
		case wire.ICMPv4SourceRouteFail:
			return syscall.EOPNOTSUPP
		}
		return syscall.EHOSTUNREACH
	case wire.ICMPv4ParamProblem:
		return syscall.EPROTO
	}
	return syscall.EHOSTUNREACH
}

// errnoOf6 is errnoOf4 for ICMPv6 (Linux's icmpv6_err_convert).
func errnoOf6(t wire.ICMPv6Type, code uint8) syscall.Errno {
	switch t {
	case wire.ICMPv6Unreachable:
		switch code {
		case wire.ICMPv6NoRoute:
			return syscall.ENETUNREACH
		case wire.ICMPv6AdminProhibited, wire.ICMPv6PolicyFail, wire.ICMPv6RejectRoute:
			return syscall.EACCES
		case wire.ICMPv6PortUnreachable:
			return syscall.ECONNREFUSED
		}
		return syscall.EHOSTUNREACH
	case wire.ICMPv6PacketTooBig:
		return syscall.EMSGSIZE
	case wire.ICMPv6ParamProblem:
		return syscall.EPROTO
	}
	return syscall.EHOSTUNREACH
}

// hard reports whether a socket that has a peer is told of the error even if it
// does not keep errors. The others are soft: they may pass (RFC 1122
// §4.2.3.9; Linux: the fatal ones of icmp_err_convert and tab_unreach).
func (c *icmpCause) hard(v6 bool) bool {
	if c.errno == syscall.EMSGSIZE {
		return true
	}
	if v6 {
		switch c.type6 {
		case wire.ICMPv6Unreachable:
			return c.errno == syscall.EACCES || c.errno == syscall.ECONNREFUSED
		case wire.ICMPv6ParamProblem:
			return true
		}
		return false
	}
	switch c.type4 {
	case wire.ICMPv4Unreachable:
		switch c.code4 {
		case wire.ICMPv4NetUnreachable, wire.ICMPv4HostUnreachable, wire.ICMPv4SourceRouteFail, wire.ICMPv4NetTOS, wire.ICMPv4HostTOS:
			return false
		}
		return true
	case wire.ICMPv4ParamProblem:
		return true
	}
	return false
}

// quoted is what an ICMP error tells of the packet it is about. src and dst are
// those of that packet: src is ours.
type quoted struct {
	src, dst         netip.Addr
	proto            wire.Proto
	srcPort, dstPort uint16
	seq              uint32     // TCP: sequence number
	from             netip.Addr // who sent the error; invalid: we did
	packet           []byte     // lent: all that is quoted
	header           []byte     // lent: of it the transport header and what follows
}

// errorIn finds out which packet of ours an ICMP error is about, and tells its
// sender. Everything in it is a stranger's word: nothing is believed that does
// not fit a socket.
func (ln *lane) errorIn(p *packet.Packet, c icmpCause) {
	p.Pull(wire.ICMPLen)
	p.Linear(min(p.Len(), p.LinearMax()))
	var q quoted
	q.from = p.Src
	if !q.parse(p.Head(), p.Src.Is4()) {
		ln.drop(p, packet.ReasonICMPQuote)
		return
	}
	if !ln.senderError(&q, c) {
		ln.drop(p, packet.ReasonICMPNoSocket)
		return
	}
	ln.pool.Free(p)
}

// parse reads the beginning of the packet that an error quotes. It reports
// whether there was enough of it: eight bytes of the transport header (RFC 792).
func (q *quoted) parse(b []byte, v4 bool) bool {
	var l4 []byte
	q.packet = b
	if v4 {
		ip := wire.IPv4(b)
		if len(b) < wire.IPv4Len || b[0]>>4 != 4 || ip.HeaderLen() < wire.IPv4Len || len(b) < ip.HeaderLen() || ip.FragOffset() != 0 {
			return false
		}
		q.src, q.dst, q.proto, l4 = ip.Src(), ip.Dst(), ip.Proto(), b[ip.HeaderLen():]
	} else {
		ip := wire.IPv6(b)
		if len(b) < wire.IPv6Len || b[0]>>4 != 6 {
			return false
		}
		q.src, q.dst, q.proto, l4 = ip.Src(), ip.Dst(), ip.NextHeader(), b[wire.IPv6Len:]
		if q.proto.IsExtension() {
			x, bad := wire.WalkExtensions(l4, q.proto)
			if bad != wire.ExtOK || x.FragOffset != 0 {
				return false
			}
			q.proto, l4 = x.Proto, l4[x.Len:]
		}
	}
	if len(l4) < 8 {
		return false
	}
	q.srcPort, q.dstPort = binary.BigEndian.Uint16(l4), binary.BigEndian.Uint16(l4[2:])
	q.seq = binary.BigEndian.Uint32(l4[4:])
	q.header = l4
	return true
}

// senderError tells the socket that sent a packet what became of it, and
// reports whether there is one.
func (ln *lane) senderError(q *quoted, c icmpCause) bool {
	heard := len(ln.raws) != 0 && ln.rawError(q, &c)
	return ln.protocolError(q, c) || heard
}

func (ln *lane) protocolError(q *quoted, c icmpCause) bool {
	switch q.proto {
	case wire.ProtoTCP:
		return ln.tcpError(q, c)
	case wire.ProtoUDP:
		return ln.udpError(q, c)
	case wire.ProtoICMP, wire.ProtoICMPv6:
		// Of an echo request the four bytes after the checksum are identifier
		// and sequence number.
		if w := ln.pingOf(uint16(q.seq>>16), uint16(q.seq), q.dst); w != nil {
			w.fail(ln, c.errno)
			return true
		}
		return ln.udpError(q, c)
	default:
		if b := ln.conf.transport(q.proto); b != nil {
			b.t.Error(&TransportContext{ln, b, nil}, q.src, q.dst, c.errno, q.header)
			return true
		}
	}
	return false
}
