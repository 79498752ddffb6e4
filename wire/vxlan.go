package wire

import "encoding/binary"

// VXLANLen is the size of a VXLAN header in bytes.
const VXLANLen = 8

// VXLANPort is the UDP port of VXLAN.
const VXLANPort = 4789

// VXLAN is a view of the content of a VXLAN datagram: a header, then an
// Ethernet frame (RFC 7348 §5).
type VXLAN []byte

// Valid reports whether the header is complete and has a network identifier.
func (h VXLAN) Valid() bool { return len(h) >= VXLANLen && h[0]&0x08 != 0 }

// VNI returns the network identifier of 24 bits.
func (h VXLAN) VNI() uint32 { return binary.BigEndian.Uint32(h[4:]) >> 8 }

// Payload returns the frame after the header.
func (h VXLAN) Payload() []byte { return h[VXLANLen:] }

// PutVXLAN writes a header of VXLANLen bytes to b; vni is cut to 24 bits.
func PutVXLAN(b []byte, vni uint32) {
	binary.BigEndian.PutUint32(b, 0x08<<24)
	binary.BigEndian.PutUint32(b[4:], vni<<8)
}
