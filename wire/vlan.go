package wire

import "encoding/binary"

// VLANLen is the size of a VLAN tag in bytes.
const VLANLen = 4

// VLANIDMax is the largest identifier a VLAN may have; 0 means "priority
// only" and 4095 is reserved.
const VLANIDMax = 4094

// VLAN is a view of the four bytes that follow an EtherType of EtherTypeVLAN
// or EtherTypeQinQ: tag control information and the EtherType of what is
// inside (IEEE 802.1Q §9.6).
type VLAN []byte

// Valid reports whether the tag is complete.
func (h VLAN) Valid() bool { return len(h) >= VLANLen }

// TCI returns the tag control information: three bits of priority, one of
// drop eligibility, twelve of identifier.
func (h VLAN) TCI() uint16 { return binary.BigEndian.Uint16(h) }

// PCP returns the priority code point, 0 to 7.
func (h VLAN) PCP() uint8 { return h[0] >> 5 }

// DEI returns the drop eligible indicator.
func (h VLAN) DEI() bool { return h[0]&0x10 != 0 }

// ID returns the VLAN identifier, 0 to 4095.
func (h VLAN) ID() uint16 { return h.TCI() & 0x0fff }

// Type returns the protocol of the payload, or of the tag that follows.
func (h VLAN) Type() EtherType { return EtherType(binary.BigEndian.Uint16(h[2:])) }

// Payload returns the bytes after the tag.
func (h VLAN) Payload() []byte { return h[VLANLen:] }

// SetTCI sets the tag control information, see [VLANTCI].
func (h VLAN) SetTCI(tci uint16) { binary.BigEndian.PutUint16(h, tci) }

// SetType sets the protocol of the payload.
func (h VLAN) SetType(t EtherType) { binary.BigEndian.PutUint16(h[2:], uint16(t)) }

// VLANTCI packs tag control information; pcp and id are cut to their three and
// twelve bits.
func VLANTCI(pcp uint8, dei bool, id uint16) uint16 {
	tci := uint16(pcp&7)<<13 | id&0x0fff
	if dei {
		tci |= 0x1000
	}
	return tci
}

// PutVLAN writes a tag of VLANLen bytes to b; t is the protocol inside.
func PutVLAN(b []byte, pcp uint8, dei bool, id uint16, t EtherType) {
	h := VLAN(b[:VLANLen])
	h.SetTCI(VLANTCI(pcp, dei, id))
	h.SetType(t)
}
