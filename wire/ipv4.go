package wire

import (
	"encoding/binary"
	"net/netip"
)

// Sizes of an IPv4 header in bytes.
const (
	IPv4Len    = 20 // without options
	IPv4LenMax = 60 // with 40 bytes of options
)

// Offsets in an IPv4 header (RFC 791 §3.1).
const (
	ip4VerIHL = 0
	ip4TOS    = 1
	ip4Total  = 2
	ip4ID     = 4
	ip4Frag   = 6
	ip4TTL    = 8
	ip4Proto  = 9
	ip4Sum    = 10
	ip4Src    = 12
	ip4Dst    = 16
)

// IPv4Flags are the three bits before the fragment offset.
type IPv4Flags uint8

// The flags of an IPv4 header.
const (
	IPv4MF   IPv4Flags = 1 << iota // more fragments
	IPv4DF                         // don't fragment
	IPv4Evil                       // reserved, must be zero (RFC 3514 on its merits)
)

// IPv4 is a view of an IPv4 packet from its header on (RFC 791).
type IPv4 []byte

// Valid reports whether h begins with a whole header of version 4 whose
// lengths agree with each other and with size, the number of bytes in the
// packet from this header on; size may exceed len(h), when payload lies
// elsewhere, and the total length, when the link padded the frame. The
// checksum is not looked at; see ChecksumOK.
func (h IPv4) Valid(size int) bool {
	if len(h) < IPv4Len || h[ip4VerIHL]>>4 != 4 {
		return false
	}
	hl, total := h.HeaderLen(), h.TotalLen()
	return hl >= IPv4Len && hl <= len(h) && hl <= total && total <= size
}

// HeaderLen returns the size of the header with options, 20 to 60 bytes.
func (h IPv4) HeaderLen() int { return int(h[ip4VerIHL]&15) * 4 }

// TotalLen returns the size of header and payload in bytes.
func (h IPv4) TotalLen() int { return int(binary.BigEndian.Uint16(h[ip4Total:])) }

// PayloadLen returns the size of the payload in bytes.
func (h IPv4) PayloadLen() int { return h.TotalLen() - h.HeaderLen() }

// TOS returns the byte of type of service: DSCP in the upper six bits
// (RFC 2474), ECN in the lower two (RFC 3168).
func (h IPv4) TOS() uint8 { return h[ip4TOS] }

// ID returns the identification that fragments of one packet share.
func (h IPv4) ID() uint16 { return binary.BigEndian.Uint16(h[ip4ID:]) }

// Flags returns the three flag bits.
func (h IPv4) Flags() IPv4Flags { return IPv4Flags(h[ip4Frag] >> 5) }

// DontFragment reports whether routers must not fragment the packet.
func (h IPv4) DontFragment() bool { return h[ip4Frag]&0x40 != 0 }

// MoreFragments reports whether further fragments follow this one.
func (h IPv4) MoreFragments() bool { return h[ip4Frag]&0x20 != 0 }

// FragOffset returns where in the original payload this fragment begins, in
// bytes (the header counts in units of 8).
func (h IPv4) FragOffset() int { return int(binary.BigEndian.Uint16(h[ip4Frag:])&0x1fff) * 8 }

// IsFragment reports whether the packet is a part of a larger one.
func (h IPv4) IsFragment() bool { return binary.BigEndian.Uint16(h[ip4Frag:])&0x3fff != 0 }

// TTL returns the time to live, in hops.
func (h IPv4) TTL() uint8 { return h[ip4TTL] }

// Proto returns the protocol of the payload.
func (h IPv4) Proto() Proto { return Proto(h[ip4Proto]) }

// Checksum returns the header checksum as it stands in the header.
func (h IPv4) Checksum() uint16 { return binary.BigEndian.Uint16(h[ip4Sum:]) }

// Src returns the source address.
func (h IPv4) Src() netip.Addr { return netip.AddrFrom4([4]byte(h[ip4Src : ip4Src+4])) }

// Dst returns the destination address.
func (h IPv4) Dst() netip.Addr { return netip.AddrFrom4([4]byte(h[ip4Dst : ip4Dst+4])) }

// Options returns the options, 0 to 40 bytes.
func (h IPv4) Options() IPv4Options { return IPv4Options(h[IPv4Len:h.HeaderLen()]) }

// Payload returns as much of the payload as the slice holds, without padding
// of the link.
func (h IPv4) Payload() []byte { return h[h.HeaderLen():min(h.TotalLen(), len(h))] }

// ChecksumOK reports whether the header checksum is right (RFC 1071).
func (h IPv4) ChecksumOK() bool {
	if h[ip4VerIHL] == 0x45 {
		return Fold(sum20(h)) == 0xffff
	}
	return Fold(Sum(h[:h.HeaderLen()], 0)) == 0xffff
}

// SetTotalLen sets the size of header and payload in bytes. Like every setter
// here except DecTTL it leaves the checksum to UpdateChecksum.
func (h IPv4) SetTotalLen(n int) { binary.BigEndian.PutUint16(h[ip4Total:], uint16(n)) }

// SetTOS sets the byte of type of service.
func (h IPv4) SetTOS(tos uint8) { h[ip4TOS] = tos }

// SetID sets the identification.
func (h IPv4) SetID(id uint16) { binary.BigEndian.PutUint16(h[ip4ID:], id) }

// SetFragment sets the flags and the offset in bytes, a multiple of 8.
func (h IPv4) SetFragment(flags IPv4Flags, off int) {
	binary.BigEndian.PutUint16(h[ip4Frag:], uint16(flags)<<13|uint16(off>>3)&0x1fff)
}

// SetTTL sets the time to live.
func (h IPv4) SetTTL(ttl uint8) { h[ip4TTL] = ttl }

// SetProto sets the protocol of the payload.
func (h IPv4) SetProto(p Proto) { h[ip4Proto] = uint8(p) }

// SetChecksum sets the header checksum.
func (h IPv4) SetChecksum(c uint16) { binary.BigEndian.PutUint16(h[ip4Sum:], c) }

// SetSrc sets the source address, which must be IPv4.
func (h IPv4) SetSrc(a netip.Addr) { put4(h[ip4Src:ip4Src+4], a) }

// SetDst sets the destination address, which must be IPv4.
func (h IPv4) SetDst(a netip.Addr) { put4(h[ip4Dst:ip4Dst+4], a) }

// DecTTL lowers the time to live by one, which must not be zero, and adjusts
// the checksum without a look at the rest (RFC 1624).
func (h IPv4) DecTTL() {
	old := binary.BigEndian.Uint16(h[ip4TTL:])
	binary.BigEndian.PutUint16(h[ip4TTL:], old-0x100)
	h.SetChecksum(ChecksumUpdate16(h.Checksum(), old, old-0x100))
}

// UpdateChecksum computes the header checksum anew.
func (h IPv4) UpdateChecksum() {
	h.SetChecksum(0)
	if h[ip4VerIHL] == 0x45 {
		h.SetChecksum(^Fold(sum20(h)))
		return
	}
	h.SetChecksum(Checksum(h[:h.HeaderLen()]))
}

// sum20 is Sum for the 20 bytes of a header without options, small enough to
// need no loop.
func sum20(h []byte) uint32 {
	_ = h[19]
	s := uint64(binary.BigEndian.Uint32(h)) + uint64(binary.BigEndian.Uint32(h[4:])) +
		uint64(binary.BigEndian.Uint32(h[8:])) + uint64(binary.BigEndian.Uint32(h[12:])) +
		uint64(binary.BigEndian.Uint32(h[16:]))
	s = s>>32 + s&0xffffffff
	return uint32(s>>32 + s)
}

// IPv4Fields are the fields of an IPv4 header for [PutIPv4].
type IPv4Fields struct {
	TOS        uint8
	TotalLen   int // header and payload, bytes
	ID         uint16
	DF, MF     bool
	FragOffset int // bytes, a multiple of 8
	TTL        uint8
	Proto      Proto
	Src, Dst   netip.Addr
	Options    []byte // at most 40 bytes; padded with zeros to a multiple of 4
}

// HeaderLen returns the size in bytes of the header that PutIPv4 writes.
func (f *IPv4Fields) HeaderLen() int { return IPv4Len + (len(f.Options)+3)&^3 }

// PutIPv4 writes a header of f.HeaderLen() bytes with its checksum to b. The
// addresses must be IPv4.
func PutIPv4(b []byte, f *IPv4Fields) {
	hl := f.HeaderLen()
	if hl > IPv4LenMax {
		panic("wire: IPv4 options exceed 40 bytes")
	}
	h := IPv4(b[:hl])
	h[ip4VerIHL] = 0x40 | uint8(hl/4)
	h[ip4TOS] = f.TOS
	h.SetTotalLen(f.TotalLen)
	h.SetID(f.ID)
	var flags IPv4Flags
	if f.DF {
		flags |= IPv4DF
	}
	if f.MF {
		flags |= IPv4MF
	}
	h.SetFragment(flags, f.FragOffset)
	h[ip4TTL] = f.TTL
	h[ip4Proto] = uint8(f.Proto)
	h.SetSrc(f.Src)
	h.SetDst(f.Dst)
	if len(f.Options) > 0 {
		n := copy(h[IPv4Len:], f.Options)
		clear(h[IPv4Len+n:])
	}
	h.UpdateChecksum()
}
