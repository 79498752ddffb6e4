package wire

import "encoding/binary"

// UDPLen is the size of a UDP header in bytes.
const UDPLen = 8

// Offsets in a UDP header (RFC 768).
const (
	udpSrc = 0
	udpDst = 2
	udpLen = 4
	udpSum = 6
)

// UDP is a view of a UDP datagram from its header on (RFC 768).
type UDP []byte

// Valid reports whether the header is complete and its length is at least
// UDPLen and at most size, the number of bytes in the packet from this header
// on. A length of zero, which jumbograms use, is not accepted.
func (h UDP) Valid(size int) bool {
	return len(h) >= UDPLen && h.Len() >= UDPLen && h.Len() <= size
}

// SrcPort returns the source port, 0 if the sender wants no answer.
func (h UDP) SrcPort() uint16 { return binary.BigEndian.Uint16(h[udpSrc:]) }

// DstPort returns the destination port.
func (h UDP) DstPort() uint16 { return binary.BigEndian.Uint16(h[udpDst:]) }

// Len returns the size of header and payload in bytes.
func (h UDP) Len() int { return int(binary.BigEndian.Uint16(h[udpLen:])) }

// Checksum returns the checksum; 0 means that there is none.
func (h UDP) Checksum() uint16 { return binary.BigEndian.Uint16(h[udpSum:]) }

// Payload returns as much of the payload as the slice holds.
func (h UDP) Payload() []byte { return h[UDPLen:min(h.Len(), len(h))] }

// SetSrcPort sets the source port.
func (h UDP) SetSrcPort(p uint16) { binary.BigEndian.PutUint16(h[udpSrc:], p) }

// SetDstPort sets the destination port.
func (h UDP) SetDstPort(p uint16) { binary.BigEndian.PutUint16(h[udpDst:], p) }

// SetLen sets the size of header and payload in bytes.
func (h UDP) SetLen(n int) { binary.BigEndian.PutUint16(h[udpLen:], uint16(n)) }

// SetChecksum sets the checksum as given; see [UDPChecksum].
func (h UDP) SetChecksum(c uint16) { binary.BigEndian.PutUint16(h[udpSum:], c) }

// UDPChecksum turns a sum over pseudo header, header and payload into the
// checksum to send: where the result would be 0, which means "none", it is
// 0xffff (RFC 768).
func UDPChecksum(sum uint32) uint16 {
	if c := ^Fold(sum); c != 0 {
		return c
	}
	return 0xffff
}

// PutUDP writes a header of UDPLen bytes to b; length is the size of header
// and payload in bytes.
func PutUDP(b []byte, src, dst uint16, length int, checksum uint16) {
	h := UDP(b[:UDPLen])
	h.SetSrcPort(src)
	h.SetDstPort(dst)
	h.SetLen(length)
	h.SetChecksum(checksum)
}
