// Package vnet is the header that Linux puts in front of packets on TUN and TAP
// devices and packet sockets (virtio_net_hdr of linux/virtio_net.h). It tells
// of checksums and segmentation left undone, so that super-segments and partial
// checksums cross between the kernel and this process:
//
//	 0      1         2         4          6            8             10
//	+-------+---------+---------+----------+------------+-------------+
//	| flags | gso type| hdr len | gso size | csum start | csum offset |
//	+-------+---------+---------+----------+------------+-------------+
//
// in the machine's byte order, offsets counted from the packet's first byte.
//
// [Slot] is the memory that one packet is received into without a copy.
package vnet

import (
	"encoding/binary"
	"net/netip"

	"github.com/towpath/towpath/packet"
	"github.com/towpath/towpath/wire"
)

// Len is the header's length in bytes: the form without a buffer count, which
// both TUN devices and packet sockets use unless told otherwise.
const Len = 10

const (
	flagNeedsCsum = 1
	flagDataValid = 2

	gsoNone  = 0
	gsoTCPv4 = 1
	gsoTCPv6 = 4
	gsoECN   = 0x80

	// gsoSizeMin keeps a hostile peer from making us cut a super-segment into
	// tens of thousands of packets. Linux accepts no smaller MSS either.
	gsoSizeMin = 8

	tcpChecksumAt    = 16
	udpChecksumAt    = 6
	icmpv6ChecksumAt = 2
)

var native = binary.NativeEndian

// Encode writes the header that tells of p's GSO and Checksum.
func Encode(h *[Len]byte, p *packet.Packet) {
	*h = [Len]byte{}
	if p.Checksum != packet.ChecksumPartial {
		return
	}
	start := p.Start()
	h[0] = flagNeedsCsum
	native.PutUint16(h[6:], p.Transport-start)
	native.PutUint16(h[8:], p.CsumOffset)
	if p.GSO.Type == packet.GSONone || p.LenFrom(p.Data) <= int(p.GSO.Size) {
		return
	}
	h[1] = gsoTCPv4
	if p.GSO.Type == packet.GSOTCP6 {
		h[1] = gsoTCPv6
	}
	if wire.TCP(p.From(p.Transport)).Flags().Has(wire.TCPCwr) {
		h[1] |= gsoECN
	}
	native.PutUint16(h[2:], p.Data-start)
	native.PutUint16(h[4:], p.GSO.Size)
}

// bad is why a packet is dropped whose header makes no sense.
const bad = packet.ReasonDeviceOffload

// Decode sets p's GSO and Checksum, and the offsets that go with them, to what
// the header of a received packet says. ethernet tells whether p begins with an
// Ethernet or with an IP header. Headers are taken as hostile: one that makes
// no sense yields a reason to drop the packet.
func Decode(h *[Len]byte, p *packet.Packet, ethernet bool) packet.Reason {
	flags, gso := h[0], h[1]&^gsoECN
	if flags&(flagNeedsCsum|flagDataValid) == 0 && gso == gsoNone {
		return packet.NotDropped
	}
	if gso == gsoNone && flags&flagNeedsCsum == 0 {
		p.Checksum = packet.ChecksumVerified
		return packet.NotDropped
	}
	l, ok := parse(p, ethernet)
	if gso == gsoNone {
		return partial(h, p, l, ok)
	}
	if !ok {
		return bad
	}
	return super(h, p, l)
}

// partial is for an ordinary packet with a partial checksum. If it is not that
// of the packet's own transport header, but of one in a tunnel, it is completed
// here, as nobody behind will know about it.
func partial(h *[Len]byte, p *packet.Packet, l layers, ok bool) packet.Reason {
	start, offset := int(native.Uint16(h[6:])), int(native.Uint16(h[8:]))
	if start+offset+2 > p.HeadLen() {
		return bad
	}
	if ok && l.transport == start && !l.fragment && checksumAt(l.proto) == offset {
		p.Net, p.Transport = p.Start()+uint16(l.net), p.Start()+uint16(start)
		p.Checksum, p.CsumOffset = packet.ChecksumPartial, uint16(offset)
		p.Proto = l.proto
		return packet.NotDropped
	}
	complete(p, start, start+offset)
	return packet.NotDropped
}

// checksumAt is where a protocol has its checksum, -1 if we do not know.
func checksumAt(proto wire.Proto) int {
	switch proto {
	case wire.ProtoTCP:
		return tcpChecksumAt
	case wire.ProtoUDP:
		return udpChecksumAt
	case wire.ProtoICMPv6:
		return icmpv6ChecksumAt
	}
	return -1
}

// complete sums the packet from start to its end into the field at the offset
// field, which holds the sum of the pseudo header.
func complete(p *packet.Packet, start, field int) {
	head := p.Head()
	sum, odd := wire.Sum(head[start:], 0), (len(head)-start)%2 == 1
	for _, f := range p.Frags() {
		sum = wire.SumAt(f.Bytes(), sum, odd)
		odd = odd != (f.Len%2 == 1)
	}
	c := ^wire.Fold(sum)
	if c == 0 {
		c = 0xffff // as UDP wants it; the same number to everybody else
	}
	binary.BigEndian.PutUint16(head[field:], c)
}

// super is for a TCP super-segment. Its headers must be whole, linear and say
// the packet's length.
func super(h *[Len]byte, p *packet.Packet, l layers) packet.Reason {
	size := native.Uint16(h[4:])
	kind := packet.GSOTCP4
	if l.v6 {
		kind = packet.GSOTCP6
	}
	switch h[1] &^ gsoECN {
	case gsoTCPv4:
		if l.v6 {
			return bad
		}
	case gsoTCPv6:
		if !l.v6 {
			return bad
		}
	default:
		return bad
	}
	head := p.Head()
	if size < gsoSizeMin || l.proto != wire.ProtoTCP || l.fragment || l.end != p.Len() {
		return bad
	}
	tcp := wire.TCP(head[l.transport:])
	if !tcp.Valid() {
		return bad
	}
	switch {
	case h[0]&flagNeedsCsum != 0:
		start, offset := int(native.Uint16(h[6:])), int(native.Uint16(h[8:]))
		if start != l.transport || offset != tcpChecksumAt {
			return bad
		}
	case h[0]&flagDataValid != 0:
		// Merged by a device that checked each segment's checksum: make it
		// partial, as super-segments have it everywhere here.
		src, dst := l.addrs(head)
		tcp.SetChecksum(wire.Fold(wire.PseudoSum(src, dst, wire.ProtoTCP, p.Len()-l.transport)))
	default:
		return bad
	}
	at := p.Start()
	p.Net, p.Transport = at+uint16(l.net), at+uint16(l.transport)
	p.Data = p.Transport + uint16(tcp.HeaderLen())
	p.Checksum, p.CsumOffset = packet.ChecksumPartial, tcpChecksumAt
	p.Proto = wire.ProtoTCP
	p.Src, p.Dst = l.addrs(head)
	if p.LenFrom(p.Data) > int(size) {
		p.GSO = packet.GSO{Type: kind, Size: size}
	}
	return packet.NotDropped
}

// layers is where a packet's headers are, counted from its first byte.
type layers struct {
	net, transport int
	end            int // of the IP packet
	proto          wire.Proto
	v6, fragment   bool
}

// parse finds the IP and the transport header in the linear bytes.
func parse(p *packet.Packet, ethernet bool) (l layers, ok bool) {
	b := p.Head()
	if ethernet {
		if !wire.Ethernet(b).Valid() {
			return l, false
		}
		kind := wire.Ethernet(b).Type()
		l.net = wire.EthernetLen
		for kind.IsVLAN() && len(b) >= l.net+wire.VLANLen {
			kind = wire.VLAN(b[l.net:]).Type()
			l.net += wire.VLANLen
		}
		if kind != wire.EtherTypeIPv4 && kind != wire.EtherTypeIPv6 {
			return l, false
		}
	}
	b = b[l.net:]
	if len(b) == 0 {
		return l, false
	}
	size := p.Len() - l.net
	switch b[0] >> 4 {
	case 4:
		h := wire.IPv4(b)
		if !h.Valid(size) {
			return l, false
		}
		l.transport, l.end = l.net+h.HeaderLen(), l.net+h.TotalLen()
		l.proto, l.fragment = h.Proto(), h.IsFragment()
		return l, l.transport <= p.HeadLen()
	case 6:
		h := wire.IPv6(b)
		if !h.Valid(size) {
			return l, false
		}
		l.v6, l.end = true, l.net+h.TotalLen()
		n, proto := wire.IPv6Len, h.NextHeader()
		for proto == wire.ProtoHopByHop || proto == wire.ProtoDestOpts || proto == wire.ProtoRouting {
			if len(b) < n+8 {
				return l, false
			}
			proto, n = wire.Proto(b[n]), n+8+8*int(b[n+1])
		}
		l.transport, l.proto = l.net+n, proto
		return l, n <= len(b)
	}
	return l, false
}

// addrs returns the packet's addresses.
func (l layers) addrs(head []byte) (src, dst netip.Addr) {
	if l.v6 {
		h := wire.IPv6(head[l.net:])
		return h.Src(), h.Dst()
	}
	h := wire.IPv4(head[l.net:])
	return h.Src(), h.Dst()
}
