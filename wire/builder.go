package wire

import (
	"encoding/binary"
	"net/netip"
)

// Builder makes packets for tests and tools from the inside out: payload
// first, then each header in front of what is there. Lengths, protocol numbers
// and checksums follow from the order of calls:
//
//	var b wire.Builder
//	b.Payload([]byte("hello")).
//		PushUDP(1000, 53).
//		PushIPv4(wire.IPv4Fields{TTL: 64, Src: src, Dst: dst}).
//		PushEthernet(dstMAC, srcMAC)
//	send(b.Bytes())
//
// The zero value is ready to use. A Builder keeps its memory, so that one in a
// loop allocates only at first.
type Builder struct {
	buf []byte // the packet lies at its end
	n   int    // bytes of packet

	proto Proto     // what an IP header pushed now would carry
	ether EtherType // what an Ethernet header pushed now would carry

	// A checksum that waits for the pseudo header.
	pending      bool
	pendingEnd   int // bytes from the checksum field to the end of the packet
	pendingLen   int // bytes it covers
	pendingProto Proto
}

// Reset forgets the packet and keeps the memory.
func (b *Builder) Reset() *Builder {
	*b = Builder{buf: b.buf, proto: ProtoRaw}
	return b
}

// Payload starts a new packet with a copy of p. Pushed under an IP header
// directly, it goes by the protocol number 255.
func (b *Builder) Payload(p []byte) *Builder {
	b.Reset()
	copy(b.push(len(p)), p)
	return b
}

// Bytes returns the packet, which belongs to b until the next Reset or
// Payload.
func (b *Builder) Bytes() []byte { return b.buf[len(b.buf)-b.n:] }

// Len returns the size of the packet in bytes.
func (b *Builder) Len() int { return b.n }

// builderRoom is the headroom, in bytes, of a new Builder: enough for most
// stacks of headers.
const builderRoom = 192

// push makes room for n bytes in front of the packet and returns the packet
// from there on, the new bytes zeroed.
func (b *Builder) push(n int) []byte {
	if b.n+n > len(b.buf) {
		grown := make([]byte, 2*(b.n+n)+builderRoom)
		copy(grown[len(grown)-b.n:], b.Bytes())
		b.buf = grown
	}
	b.n += n
	p := b.Bytes()
	clear(p[:n])
	return p
}

// PushBytes puts a copy of p, a header that the builder does not know, in
// front. What follows in the protocols' chain is then up to SetProto or
// SetType.
func (b *Builder) PushBytes(p []byte) *Builder {
	copy(b.push(len(p)), p)
	return b
}

// SetProto sets the protocol by which the next IP or extension header
// announces what it carries.
func (b *Builder) SetProto(p Proto) *Builder {
	b.proto = p
	return b
}

// SetType sets the type by which the next VLAN tag, Ethernet or GRE header
// announces what it carries.
func (b *Builder) SetType(t EtherType) *Builder {
	b.ether = t
	return b
}

// wait leaves the checksum at offset at of the packet to the IP header that
// will come, for its pseudo header.
func (b *Builder) wait(p Proto, at int) {
	b.proto = p
	b.pending, b.pendingProto = true, p
	b.pendingEnd, b.pendingLen = b.n-at, b.n
}

// complete computes the checksum that waits for a pseudo header, if one does.
func (b *Builder) complete(src, dst netip.Addr) {
	if !b.pending {
		return
	}
	b.pending = false
	covered := b.buf[len(b.buf)-b.pendingLen:]
	sum := Sum(covered, PseudoSum(src, dst, b.pendingProto, b.pendingLen))
	c := ^Fold(sum)
	if b.pendingProto == ProtoUDP {
		c = UDPChecksum(sum)
	}
	binary.BigEndian.PutUint16(b.buf[len(b.buf)-b.pendingEnd:], c)
}

// PushUDP puts a UDP header in front.
func (b *Builder) PushUDP(src, dst uint16) *Builder {
	PutUDP(b.push(UDPLen), src, dst, b.n, 0)
	b.wait(ProtoUDP, udpSum)
	return b
}

// PushTCP puts a TCP header in front, with options if there are any. A
// checksum in f is kept, right or wrong; 0 is replaced by the right one.
func (b *Builder) PushTCP(f TCPFields, options *TCPOptions) *Builder {
	n := 0
	if options != nil {
		n = options.Len()
	}
	if n > tcpOptLenMax {
		panic("wire: TCP options exceed 40 bytes")
	}
	p := b.push(TCPLen + n)
	PutTCP(p, &f, n)
	if options != nil {
		options.Put(p[TCPLen : TCPLen+n])
	}
	b.proto = ProtoTCP
	if f.Checksum == 0 {
		b.wait(ProtoTCP, tcpSum)
	}
	return b
}

// PushICMPv4 puts an ICMP header in front; rest is bytes 4 to 7, see
// [ICMPEcho].
func (b *Builder) PushICMPv4(t ICMPv4Type, code uint8, rest uint32) *Builder {
	p := b.push(ICMPLen)
	PutICMP(p, uint8(t), code, 0, rest)
	ICMPv4(p).SetChecksum(Checksum(p))
	b.proto = ProtoICMP
	return b
}

// PushICMPv6 puts an ICMPv6 header in front; rest is bytes 4 to 7, see
// [ICMPEcho].
func (b *Builder) PushICMPv6(t ICMPv6Type, code uint8, rest uint32) *Builder {
	PutICMP(b.push(ICMPLen), uint8(t), code, 0, rest)
	b.wait(ProtoICMPv6, icmpSum)
	return b
}

// PushNeighborSolicit puts a neighbour solicitation in front of its options.
func (b *Builder) PushNeighborSolicit(target netip.Addr) *Builder {
	PutNeighborSolicit(b.push(NeighborSolicitLen), target)
	b.wait(ProtoICMPv6, icmpSum)
	return b
}

// PushNeighborAdvert puts a neighbour advertisement in front of its options.
func (b *Builder) PushNeighborAdvert(flags NDFlags, target netip.Addr) *Builder {
	PutNeighborAdvert(b.push(NeighborAdvertLen), flags, target)
	b.wait(ProtoICMPv6, icmpSum)
	return b
}

// PushRouterAdvert puts a router advertisement in front of its options.
func (b *Builder) PushRouterAdvert(f RouterAdvertFields) *Builder {
	PutRouterAdvert(b.push(RouterAdvertLen), &f)
	b.wait(ProtoICMPv6, icmpSum)
	return b
}

// PushIGMP puts an IGMP message of version 1 or 2 in front of nothing.
func (b *Builder) PushIGMP(t IGMPType, maxResp uint8, group netip.Addr) *Builder {
	PutIGMP(b.push(IGMPLen), t, maxResp, group)
	b.proto = ProtoIGMP
	return b
}

// PushIPv4 puts an IPv4 header in front. A TotalLen or Proto in f is kept,
// right or wrong; 0 is replaced by what the packet has.
func (b *Builder) PushIPv4(f IPv4Fields) *Builder {
	b.complete(f.Src, f.Dst)
	if f.Proto == 0 {
		f.Proto = b.proto
	}
	p := b.push(f.HeaderLen())
	if f.TotalLen == 0 {
		f.TotalLen = lengthOf(p)
	}
	PutIPv4(p, &f)
	b.proto, b.ether = ProtoIPIP, EtherTypeIPv4
	return b
}

// PushIPv6 puts a fixed IPv6 header in front. A PayloadLen or NextHeader in f
// is kept, right or wrong; 0 is replaced by what the packet has.
func (b *Builder) PushIPv6(f IPv6Fields) *Builder {
	b.complete(f.Src, f.Dst)
	if f.NextHeader == 0 {
		f.NextHeader = b.proto
	}
	if f.PayloadLen == 0 {
		f.PayloadLen = lengthOf(b.Bytes())
	}
	PutIPv6(b.push(IPv6Len), &f)
	b.proto, b.ether = ProtoIPv6, EtherTypeIPv6
	return b
}

// lengthOf returns the size of p for a length field of 16 bits.
func lengthOf(p []byte) int {
	if len(p) > 0xffff {
		panic("wire: packet exceeds 65535 bytes")
	}
	return len(p)
}

// PushHopByHop puts a hop-by-hop options header around options in front.
func (b *Builder) PushHopByHop(options []byte) *Builder {
	return b.pushOptions(ProtoHopByHop, options)
}

// PushDestOpts puts a destination options header around options in front.
func (b *Builder) PushDestOpts(options []byte) *Builder {
	return b.pushOptions(ProtoDestOpts, options)
}

func (b *Builder) pushOptions(p Proto, options []byte) *Builder {
	PutOptionsHeader(b.push(OptionsHeaderLen(len(options))), b.proto, options)
	b.proto = p
	return b
}

// PushFragment puts an IPv6 Fragment header in front; off is in bytes.
func (b *Builder) PushFragment(off int, more bool, id uint32) *Builder {
	PutFragment(b.push(FragmentLen), b.proto, off, more, id)
	b.proto = ProtoFragment
	return b
}

// PushGRE puts a GRE header in front. A Type in f is kept; 0 is replaced by
// what the packet has.
func (b *Builder) PushGRE(f GREFields) *Builder {
	if f.Type == 0 {
		f.Type = b.ether
	}
	PutGRE(b.push(f.HeaderLen()), &f)
	b.proto = ProtoGRE
	return b
}

// PushVXLAN puts a VXLAN header in front.
func (b *Builder) PushVXLAN(vni uint32) *Builder {
	PutVXLAN(b.push(VXLANLen), vni)
	return b
}

// PushARP puts an ARP packet in front of nothing, or of padding.
func (b *Builder) PushARP(op uint16, senderMAC MAC, senderIP netip.Addr, targetMAC MAC, targetIP netip.Addr) *Builder {
	PutARP(b.push(ARPLen), op, senderMAC, senderIP, targetMAC, targetIP)
	b.ether = EtherTypeARP
	return b
}

// PushVLAN puts an 802.1Q tag in front. For an outer tag of 802.1ad, call
// SetType(EtherTypeQinQ) after it.
func (b *Builder) PushVLAN(pcp uint8, dei bool, id uint16) *Builder {
	PutVLAN(b.push(VLANLen), pcp, dei, id, b.ether)
	b.ether = EtherTypeVLAN
	return b
}

// PushEthernet puts an Ethernet header in front. It does not pad short frames.
func (b *Builder) PushEthernet(dst, src MAC) *Builder {
	PutEthernet(b.push(EthernetLen), dst, src, b.ether)
	b.ether = EtherTypeTEB
	return b
}
