package wire

import "encoding/binary"

// Sizes of a GRE header in bytes.
const (
	GRELen    = 4  // without checksum, key and sequence number
	GRELenMax = 16 // with all of them
)

// The flags of a GRE header that tell which fields follow.
const (
	greChecksum = 0x8000
	greRouting  = 0x4000 // RFC 1701 only; not accepted
	greKey      = 0x2000
	greSeq      = 0x1000
	greVersion  = 0x0007
)

// GRE is a view of a GRE packet, version 0, from its header on (RFC 2784, RFC
// 2890).
type GRE []byte

// Valid reports whether the header is complete, of version 0 and without the
// routing fields of RFC 1701.
func (h GRE) Valid() bool {
	return len(h) >= GRELen && h.bits()&(greRouting|greVersion) == 0 && len(h) >= h.HeaderLen()
}

func (h GRE) bits() uint16 { return binary.BigEndian.Uint16(h) }

// Type returns the protocol of the payload.
func (h GRE) Type() EtherType { return EtherType(binary.BigEndian.Uint16(h[2:])) }

// HasChecksum reports whether there is a checksum, over header and payload.
func (h GRE) HasChecksum() bool { return h.bits()&greChecksum != 0 }

// HasKey reports whether there is a key.
func (h GRE) HasKey() bool { return h.bits()&greKey != 0 }

// HasSeq reports whether there is a sequence number.
func (h GRE) HasSeq() bool { return h.bits()&greSeq != 0 }

// HeaderLen returns the size of the header in bytes, 4 to 16.
func (h GRE) HeaderLen() int { return greLen(h.bits()) }

// Key returns the key, which tells tunnels between the same ends apart; 0
// without one.
func (h GRE) Key() uint32 {
	if !h.HasKey() {
		return 0
	}
	return binary.BigEndian.Uint32(h[greLen(h.bits()&greChecksum):])
}

// Seq returns the sequence number, 0 without one.
func (h GRE) Seq() uint32 {
	if !h.HasSeq() {
		return 0
	}
	return binary.BigEndian.Uint32(h[greLen(h.bits()&(greChecksum|greKey)):])
}

// Payload returns the bytes after the header.
func (h GRE) Payload() []byte { return h[h.HeaderLen():] }

func greLen(bits uint16) int {
	n := GRELen
	for _, f := range [...]uint16{greChecksum, greKey, greSeq} {
		if bits&f != 0 {
			n += 4
		}
	}
	return n
}

// GREFields are the fields of a GRE header for [PutGRE].
type GREFields struct {
	Type   EtherType
	HasKey bool
	Key    uint32
	HasSeq bool
	Seq    uint32
}

// HeaderLen returns the size in bytes of the header that PutGRE writes.
func (f *GREFields) HeaderLen() int { return greLen(f.bits()) }

func (f *GREFields) bits() (bits uint16) {
	if f.HasKey {
		bits |= greKey
	}
	if f.HasSeq {
		bits |= greSeq
	}
	return bits
}

// PutGRE writes a header of f.HeaderLen() bytes without a checksum to b.
func PutGRE(b []byte, f *GREFields) {
	binary.BigEndian.PutUint16(b, f.bits())
	binary.BigEndian.PutUint16(b[2:], uint16(f.Type))
	at := GRELen
	if f.HasKey {
		binary.BigEndian.PutUint32(b[at:], f.Key)
		at += 4
	}
	if f.HasSeq {
		binary.BigEndian.PutUint32(b[at:], f.Seq)
	}
}
