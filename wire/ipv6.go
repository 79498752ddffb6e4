package wire

import (
	"encoding/binary"
	"net/netip"
)

// IPv6Len is the size of the fixed IPv6 header in bytes.
const IPv6Len = 40

// IPv6MTUMin is the size in bytes of the largest packet that every IPv6 link
// carries (RFC 8200 §5).
const IPv6MTUMin = 1280

// Offsets in an IPv6 header (RFC 8200 §3).
const (
	ip6Vtf     = 0
	ip6Payload = 4
	ip6Next    = 6
	ip6Hop     = 7
	ip6Src     = 8
	ip6Dst     = 24
)

// IPv6 is a view of an IPv6 packet from its fixed header on (RFC 8200).
// Extension headers are part of the payload; see [WalkExtensions].
type IPv6 []byte

// Valid reports whether h begins with a whole header of version 6 whose
// payload length fits in size, the number of bytes in the packet from this
// header on; size may exceed len(h), when payload lies elsewhere, and the
// length of the packet, when the link padded the frame. Jumbograms (RFC 2675)
// read as packets without payload.
func (h IPv6) Valid(size int) bool {
	return len(h) >= IPv6Len && h[ip6Vtf]>>4 == 6 && IPv6Len+h.PayloadLen() <= size
}

// TrafficClass returns DSCP in the upper six bits and ECN in the lower two.
func (h IPv6) TrafficClass() uint8 { return uint8(binary.BigEndian.Uint16(h) >> 4) }

// FlowLabel returns the flow label of 20 bits (RFC 6437).
func (h IPv6) FlowLabel() uint32 { return binary.BigEndian.Uint32(h) & 0xfffff }

// PayloadLen returns the number of bytes after the fixed header.
func (h IPv6) PayloadLen() int { return int(binary.BigEndian.Uint16(h[ip6Payload:])) }

// TotalLen returns the size of header and payload in bytes.
func (h IPv6) TotalLen() int { return IPv6Len + h.PayloadLen() }

// NextHeader returns what follows the fixed header: an extension header or the
// protocol.
func (h IPv6) NextHeader() Proto { return Proto(h[ip6Next]) }

// HopLimit returns how many hops the packet may still take.
func (h IPv6) HopLimit() uint8 { return h[ip6Hop] }

// Src returns the source address, without a zone.
func (h IPv6) Src() netip.Addr { return netip.AddrFrom16([16]byte(h[ip6Src : ip6Src+16])) }

// Dst returns the destination address, without a zone.
func (h IPv6) Dst() netip.Addr { return netip.AddrFrom16([16]byte(h[ip6Dst : ip6Dst+16])) }

// Payload returns as much of the payload as the slice holds, without padding
// of the link.
func (h IPv6) Payload() []byte { return h[IPv6Len:min(h.TotalLen(), len(h))] }

// SetTrafficClass sets the traffic class.
func (h IPv6) SetTrafficClass(tc uint8) {
	binary.BigEndian.PutUint16(h, binary.BigEndian.Uint16(h)&0xf00f|uint16(tc)<<4)
}

// SetFlowLabel sets the flow label; label is cut to 20 bits.
func (h IPv6) SetFlowLabel(label uint32) {
	binary.BigEndian.PutUint32(h, binary.BigEndian.Uint32(h)&^0xfffff|label&0xfffff)
}

// SetPayloadLen sets the number of bytes after the fixed header.
func (h IPv6) SetPayloadLen(n int) { binary.BigEndian.PutUint16(h[ip6Payload:], uint16(n)) }

// SetNextHeader sets what follows the fixed header.
func (h IPv6) SetNextHeader(p Proto) { h[ip6Next] = uint8(p) }

// SetHopLimit sets the hop limit.
func (h IPv6) SetHopLimit(n uint8) { h[ip6Hop] = n }

// SetSrc sets the source address; a zone is dropped.
func (h IPv6) SetSrc(a netip.Addr) { put16(h[ip6Src:ip6Src+16], a) }

// SetDst sets the destination address; a zone is dropped.
func (h IPv6) SetDst(a netip.Addr) { put16(h[ip6Dst:ip6Dst+16], a) }

// IPv6Fields are the fields of an IPv6 header for [PutIPv6].
type IPv6Fields struct {
	TrafficClass uint8
	FlowLabel    uint32 // 20 bits
	PayloadLen   int    // bytes after the fixed header
	NextHeader   Proto
	HopLimit     uint8
	Src, Dst     netip.Addr
}

// PutIPv6 writes a header of IPv6Len bytes to b.
func PutIPv6(b []byte, f *IPv6Fields) {
	h := IPv6(b[:IPv6Len])
	binary.BigEndian.PutUint32(h, 6<<28|uint32(f.TrafficClass)<<20|f.FlowLabel&0xfffff)
	h.SetPayloadLen(f.PayloadLen)
	h[ip6Next] = uint8(f.NextHeader)
	h[ip6Hop] = f.HopLimit
	h.SetSrc(f.Src)
	h.SetDst(f.Dst)
}
