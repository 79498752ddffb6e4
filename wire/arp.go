package wire

import (
	"encoding/binary"
	"net/netip"
)

// ARPLen is the size in bytes of an ARP packet for IPv4 over Ethernet.
const ARPLen = 28

// Operations of ARP.
const (
	ARPRequest uint16 = 1
	ARPReply   uint16 = 2
)

// Offsets in an ARP packet.
const (
	arpHType = 0
	arpPType = 2
	arpHLen  = 4
	arpPLen  = 5
	arpOp    = 6
	arpSHA   = 8
	arpSPA   = 14
	arpTHA   = 18
	arpTPA   = 24
)

// ARP is a view of an ARP packet for IPv4 over Ethernet, the only kind known
// here (RFC 826).
type ARP []byte

// Valid reports whether the packet is complete and speaks of IPv4 over
// Ethernet.
func (h ARP) Valid() bool {
	return len(h) >= ARPLen &&
		binary.BigEndian.Uint16(h[arpHType:]) == 1 &&
		EtherType(binary.BigEndian.Uint16(h[arpPType:])) == EtherTypeIPv4 &&
		h[arpHLen] == 6 && h[arpPLen] == 4
}

// Op returns the operation: ARPRequest, ARPReply or another number.
func (h ARP) Op() uint16 { return binary.BigEndian.Uint16(h[arpOp:]) }

// SenderMAC returns the sender's hardware address.
func (h ARP) SenderMAC() MAC { return MAC(h[arpSHA : arpSHA+6]) }

// SenderIP returns the sender's protocol address; 0.0.0.0 in a probe
// (RFC 5227 §2.1.1).
func (h ARP) SenderIP() netip.Addr { return netip.AddrFrom4([4]byte(h[arpSPA : arpSPA+4])) }

// TargetMAC returns the target's hardware address, zero in most requests.
func (h ARP) TargetMAC() MAC { return MAC(h[arpTHA : arpTHA+6]) }

// TargetIP returns the target's protocol address.
func (h ARP) TargetIP() netip.Addr { return netip.AddrFrom4([4]byte(h[arpTPA : arpTPA+4])) }

// PutARP writes a packet of ARPLen bytes to b. The addresses must be IPv4.
func PutARP(b []byte, op uint16, senderMAC MAC, senderIP netip.Addr, targetMAC MAC, targetIP netip.Addr) {
	h := b[:ARPLen]
	binary.BigEndian.PutUint16(h[arpHType:], 1)
	binary.BigEndian.PutUint16(h[arpPType:], uint16(EtherTypeIPv4))
	h[arpHLen] = 6
	h[arpPLen] = 4
	binary.BigEndian.PutUint16(h[arpOp:], op)
	copy(h[arpSHA:], senderMAC[:])
	put4(h[arpSPA:], senderIP)
	copy(h[arpTHA:], targetMAC[:])
	put4(h[arpTPA:], targetIP)
}

// put4 writes an IPv4 address; it panics if a is none.
func put4(b []byte, a netip.Addr) {
	v := a.As4()
	copy(b, v[:])
}

// put16 writes an address in 16 bytes; it panics if a is the zero Addr.
func put16(b []byte, a netip.Addr) {
	v := a.As16()
	copy(b, v[:])
}
