package wire

import "encoding/binary"

// Sizes of a TCP header in bytes.
const (
	TCPLen    = 20 // without options
	TCPLenMax = 60 // with 40 bytes of options
)

// Offsets in a TCP header (RFC 9293 §3.1).
const (
	tcpSrc    = 0
	tcpDst    = 2
	tcpSeq    = 4
	tcpAck    = 8
	tcpOff    = 12
	tcpFlags  = 13
	tcpWindow = 14
	tcpSum    = 16
	tcpUrgent = 18
)

// TCPFlags are the control bits of a TCP header, nine of them.
type TCPFlags uint16

// The control bits.
const (
	TCPFin TCPFlags = 1 << iota
	TCPSyn
	TCPRst
	TCPPsh
	TCPAck
	TCPUrg
	TCPEce // ECN echo (RFC 3168)
	TCPCwr // congestion window reduced (RFC 3168)
	TCPAe  // accurate ECN (RFC 9768), once the nonce sum

	tcpFlagsAll = 0x1ff
)

// Has reports whether every bit of f is set.
func (t TCPFlags) Has(f TCPFlags) bool { return t&f == f }

// String returns the flags in tcpdump's form: "[S.]", "[P.]", "[none]".
func (t TCPFlags) String() string {
	var buf [12]byte
	return string(t.appendTo(buf[:0]))
}

func (t TCPFlags) appendTo(dst []byte) []byte {
	const letters = "FSRP.UEWe"
	if t&tcpFlagsAll == 0 {
		return append(dst, "[none]"...)
	}
	dst = append(dst, '[')
	for i := range len(letters) {
		if t>>i&1 != 0 {
			dst = append(dst, letters[i])
		}
	}
	return append(dst, ']')
}

// TCP is a view of a TCP segment from its header on (RFC 9293).
type TCP []byte

// Valid reports whether the slice holds the whole header with its options.
func (h TCP) Valid() bool {
	return len(h) >= TCPLen && h.HeaderLen() >= TCPLen && h.HeaderLen() <= len(h)
}

// SrcPort returns the source port.
func (h TCP) SrcPort() uint16 { return binary.BigEndian.Uint16(h[tcpSrc:]) }

// DstPort returns the destination port.
func (h TCP) DstPort() uint16 { return binary.BigEndian.Uint16(h[tcpDst:]) }

// Seq returns the sequence number of the first byte, or of the SYN.
func (h TCP) Seq() uint32 { return binary.BigEndian.Uint32(h[tcpSeq:]) }

// Ack returns the next sequence number that the sender expects; it means
// something only if TCPAck is set.
func (h TCP) Ack() uint32 { return binary.BigEndian.Uint32(h[tcpAck:]) }

// HeaderLen returns the size of the header with options, 20 to 60 bytes.
func (h TCP) HeaderLen() int { return int(h[tcpOff]>>4) * 4 }

// Flags returns the nine control bits. The three reserved bits before them
// must be ignored in received segments (RFC 9293 §3.1); see Reserved.
func (h TCP) Flags() TCPFlags {
	return TCPFlags(binary.BigEndian.Uint16(h[tcpOff:])) & tcpFlagsAll
}

// Reserved returns the three reserved bits, 0 in all segments so far.
func (h TCP) Reserved() uint8 { return h[tcpOff] >> 1 & 7 }

// Window returns the receive window, not scaled.
func (h TCP) Window() uint16 { return binary.BigEndian.Uint16(h[tcpWindow:]) }

// Checksum returns the checksum as it stands in the header.
func (h TCP) Checksum() uint16 { return binary.BigEndian.Uint16(h[tcpSum:]) }

// Urgent returns the urgent pointer; it means something only if TCPUrg is set.
func (h TCP) Urgent() uint16 { return binary.BigEndian.Uint16(h[tcpUrgent:]) }

// Options returns the options, 0 to 40 bytes; see [TCPOptions.Parse].
func (h TCP) Options() []byte { return h[TCPLen:h.HeaderLen()] }

// Payload returns as much of the payload as the slice holds.
func (h TCP) Payload() []byte { return h[h.HeaderLen():] }

// SetSrcPort sets the source port.
func (h TCP) SetSrcPort(p uint16) { binary.BigEndian.PutUint16(h[tcpSrc:], p) }

// SetDstPort sets the destination port.
func (h TCP) SetDstPort(p uint16) { binary.BigEndian.PutUint16(h[tcpDst:], p) }

// SetSeq sets the sequence number.
func (h TCP) SetSeq(n uint32) { binary.BigEndian.PutUint32(h[tcpSeq:], n) }

// SetAck sets the acknowledgment number.
func (h TCP) SetAck(n uint32) { binary.BigEndian.PutUint32(h[tcpAck:], n) }

// SetFlags sets the nine control bits and leaves the reserved ones.
func (h TCP) SetFlags(f TCPFlags) {
	h[tcpOff] = h[tcpOff]&^1 | uint8(f>>8)&1
	h[tcpFlags] = uint8(f)
}

// SetHeaderLen sets the size of the header with options in bytes, a multiple
// of 4.
func (h TCP) SetHeaderLen(n int) { h[tcpOff] = uint8(n/4)<<4 | h[tcpOff]&15 }

// SetWindow sets the receive window, already scaled down.
func (h TCP) SetWindow(w uint16) { binary.BigEndian.PutUint16(h[tcpWindow:], w) }

// SetChecksum sets the checksum.
func (h TCP) SetChecksum(c uint16) { binary.BigEndian.PutUint16(h[tcpSum:], c) }

// SetUrgent sets the urgent pointer.
func (h TCP) SetUrgent(n uint16) { binary.BigEndian.PutUint16(h[tcpUrgent:], n) }

// TCPFields are the fields of a TCP header for [PutTCP].
type TCPFields struct {
	SrcPort, DstPort uint16
	Seq, Ack         uint32
	Flags            TCPFlags
	Window           uint16
	Checksum, Urgent uint16
}

// PutTCP writes a header of TCPLen bytes to b whose data offset leaves room
// for optLen bytes of options, a multiple of 4 up to 40; the options
// themselves are the caller's to write, see [TCPOptions.Put].
func PutTCP(b []byte, f *TCPFields, optLen int) {
	h := b[:TCPLen]
	binary.BigEndian.PutUint16(h[tcpSrc:], f.SrcPort)
	binary.BigEndian.PutUint16(h[tcpDst:], f.DstPort)
	binary.BigEndian.PutUint32(h[tcpSeq:], f.Seq)
	binary.BigEndian.PutUint32(h[tcpAck:], f.Ack)
	binary.BigEndian.PutUint16(h[tcpOff:], uint16(TCPLen+optLen)<<10|uint16(f.Flags&tcpFlagsAll))
	binary.BigEndian.PutUint16(h[tcpWindow:], f.Window)
	binary.BigEndian.PutUint16(h[tcpSum:], f.Checksum)
	binary.BigEndian.PutUint16(h[tcpUrgent:], f.Urgent)
}
