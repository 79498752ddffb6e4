package wire

import "encoding/binary"

// Sizes of IPsec headers in bytes.
const (
	ESPLen = 8  // what can be read of ESP without its key
	AHLen  = 12 // AH before its integrity check value
)

// ESP is a view of an encrypted payload from its header on (RFC 4303 §2).
type ESP []byte

// Valid reports whether the header is complete.
func (h ESP) Valid() bool { return len(h) >= ESPLen }

// SPI returns the security parameters index, which names the association.
func (h ESP) SPI() uint32 { return binary.BigEndian.Uint32(h) }

// Seq returns the lower half of the sequence number.
func (h ESP) Seq() uint32 { return binary.BigEndian.Uint32(h[4:]) }

// Payload returns the bytes after the header.
func (h ESP) Payload() []byte { return h[ESPLen:] }

// PutESP writes a header of ESPLen bytes to b.
func PutESP(b []byte, spi, seq uint32) {
	binary.BigEndian.PutUint32(b, spi)
	binary.BigEndian.PutUint32(b[4:], seq)
}

// AH is a view of an authentication header (RFC 4302 §2).
type AH []byte

// Valid reports whether the header is complete with its integrity check value.
func (h AH) Valid() bool { return len(h) >= AHLen && h.Len() >= AHLen && h.Len() <= len(h) }

// NextHeader returns what follows.
func (h AH) NextHeader() Proto { return Proto(h[0]) }

// Len returns the size of the header in bytes.
func (h AH) Len() int { return 8 + int(h[1])*4 }

// SPI returns the security parameters index, which names the association.
func (h AH) SPI() uint32 { return binary.BigEndian.Uint32(h[4:]) }

// Seq returns the lower half of the sequence number.
func (h AH) Seq() uint32 { return binary.BigEndian.Uint32(h[8:]) }

// ICV returns the integrity check value.
func (h AH) ICV() []byte { return h[AHLen:h.Len()] }

// PutAH writes a header of AHLen bytes to b, in front of an integrity check
// value of icv bytes, a multiple of 4.
func PutAH(b []byte, next Proto, icv int, spi, seq uint32) {
	binary.BigEndian.PutUint32(b, uint32(next)<<24|uint32((AHLen+icv)/4-2)<<16)
	binary.BigEndian.PutUint32(b[4:], spi)
	binary.BigEndian.PutUint32(b[8:], seq)
}
