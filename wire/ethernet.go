package wire

import "encoding/binary"

// EtherType names the protocol inside an Ethernet frame or VLAN tag. Values up
// to 1500 are no types but lengths, see [EtherType.IsLength].
type EtherType uint16

// Protocols by their IEEE 802 numbers.
const (
	EtherTypeIPv4  EtherType = 0x0800
	EtherTypeARP   EtherType = 0x0806
	EtherTypeTEB   EtherType = 0x6558 // transparent Ethernet bridging, inside GRE
	EtherTypeRARP  EtherType = 0x8035
	EtherTypeVLAN  EtherType = 0x8100 // 802.1Q customer tag
	EtherTypeIPv6  EtherType = 0x86dd
	EtherTypeMPLS  EtherType = 0x8847
	EtherTypePPPoE EtherType = 0x8864 // session stage
	EtherTypeEAPOL EtherType = 0x888e
	EtherTypeQinQ  EtherType = 0x88a8 // 802.1ad service tag
	EtherTypeLLDP  EtherType = 0x88cc
)

// IsLength reports whether the field holds the length of an IEEE 802.3 frame
// (followed by LLC) instead of a type.
func (t EtherType) IsLength() bool { return t <= 1500 }

// IsVLAN reports whether a VLAN tag follows.
func (t EtherType) IsVLAN() bool { return t == EtherTypeVLAN || t == EtherTypeQinQ }

// String returns the name tcpdump prints, or the number as in "0x88b5".
func (t EtherType) String() string {
	switch t {
	case EtherTypeIPv4:
		return "IPv4"
	case EtherTypeARP:
		return "ARP"
	case EtherTypeTEB:
		return "TEB"
	case EtherTypeRARP:
		return "RARP"
	case EtherTypeVLAN:
		return "802.1Q"
	case EtherTypeIPv6:
		return "IPv6"
	case EtherTypeMPLS:
		return "MPLS"
	case EtherTypePPPoE:
		return "PPPoE"
	case EtherTypeEAPOL:
		return "EAPOL"
	case EtherTypeQinQ:
		return "802.1Q-QinQ"
	case EtherTypeLLDP:
		return "LLDP"
	}
	return string([]byte{'0', 'x',
		hexDigits[t>>12], hexDigits[t>>8&15], hexDigits[t>>4&15], hexDigits[t&15]})
}

// EthernetLen is the size of an Ethernet header in bytes, without tags.
const EthernetLen = 14

// Offsets in an Ethernet header.
const (
	ethDst  = 0
	ethSrc  = 6
	ethType = 12
)

// Ethernet is a view of an Ethernet II frame from its destination address on;
// preamble and frame check sequence are no part of it (RFC 894, RFC 2464).
type Ethernet []byte

// Valid reports whether the header is complete.
func (h Ethernet) Valid() bool { return len(h) >= EthernetLen }

// Dst returns the destination address.
func (h Ethernet) Dst() MAC { return MAC(h[ethDst : ethDst+6]) }

// Src returns the source address.
func (h Ethernet) Src() MAC { return MAC(h[ethSrc : ethSrc+6]) }

// Type returns the protocol of the payload, or of the tag that follows.
func (h Ethernet) Type() EtherType { return EtherType(binary.BigEndian.Uint16(h[ethType:])) }

// Payload returns the bytes after the header.
func (h Ethernet) Payload() []byte { return h[EthernetLen:] }

// SetDst sets the destination address.
func (h Ethernet) SetDst(m MAC) { copy(h[ethDst:ethDst+6], m[:]) }

// SetSrc sets the source address.
func (h Ethernet) SetSrc(m MAC) { copy(h[ethSrc:ethSrc+6], m[:]) }

// SetType sets the protocol of the payload.
func (h Ethernet) SetType(t EtherType) { binary.BigEndian.PutUint16(h[ethType:], uint16(t)) }

// PutEthernet writes a header of EthernetLen bytes to b.
func PutEthernet(b []byte, dst, src MAC, t EtherType) {
	h := Ethernet(b[:EthernetLen])
	h.SetDst(dst)
	h.SetSrc(src)
	h.SetType(t)
}
