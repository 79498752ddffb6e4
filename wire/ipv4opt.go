package wire

import (
	"encoding/binary"
	"net/netip"
	"strconv"
)

// IPv4OptionType is the type byte of an IPv4 option: a copied flag, two bits
// of class and five of number (RFC 791 §3.1).
type IPv4OptionType uint8

// Options of IPv4.
const (
	IPv4OptEnd         IPv4OptionType = 0   // end of list
	IPv4OptNop         IPv4OptionType = 1   // padding between options
	IPv4OptRecordRoute IPv4OptionType = 7   // routers write their addresses
	IPv4OptTimestamp   IPv4OptionType = 68  // routers write their clocks
	IPv4OptSecurity    IPv4OptionType = 130 // RFC 1108
	IPv4OptLSRR        IPv4OptionType = 131 // loose source and record route
	IPv4OptCIPSO       IPv4OptionType = 134 // commercial security
	IPv4OptStreamID    IPv4OptionType = 136 // obsolete (RFC 6814)
	IPv4OptSSRR        IPv4OptionType = 137 // strict source and record route
	IPv4OptRouterAlert IPv4OptionType = 148 // RFC 2113
)

// Copied reports whether the option goes into every fragment, rather than only
// the first.
func (t IPv4OptionType) Copied() bool { return t&0x80 != 0 }

// IsSourceRoute reports whether the option steers the packet over given hops.
func (t IPv4OptionType) IsSourceRoute() bool { return t == IPv4OptLSRR || t == IPv4OptSSRR }

// String returns the option's name in tcpdump's words.
func (t IPv4OptionType) String() string {
	switch t {
	case IPv4OptEnd:
		return "EOL"
	case IPv4OptNop:
		return "NOP"
	case IPv4OptRecordRoute:
		return "RR"
	case IPv4OptTimestamp:
		return "TS"
	case IPv4OptSecurity:
		return "SECURITY"
	case IPv4OptLSRR:
		return "LSRR"
	case IPv4OptCIPSO:
		return "CIPSO"
	case IPv4OptStreamID:
		return "SID"
	case IPv4OptSSRR:
		return "SSRR"
	case IPv4OptRouterAlert:
		return "RA"
	}
	return "option " + strconv.Itoa(int(t))
}

// IPv4Options is a list of options seen from its first one on. Once Valid has
// said yes, this loop meets every option but the padding:
//
//	for o := h.Options().Skip(); len(o) > 0; o = o.Next() {
//		switch o.Type() {
//		case wire.IPv4OptRouterAlert: …
//		}
//	}
type IPv4Options []byte

// Valid reports whether every option lies within the list, has a length that
// its type allows, and points (where it has a pointer) behind its own header.
// bad is the offset of the first byte at fault, to which a parameter problem
// message would point after adding IPv4Len (RFC 1122 §3.2.1.8).
func (o IPv4Options) Valid() (bad int, ok bool) {
	for at := 0; at < len(o); {
		t := IPv4OptionType(o[at])
		if t == IPv4OptEnd {
			return 0, true
		}
		if t == IPv4OptNop {
			at++
			continue
		}
		if at+1 >= len(o) {
			return at, false
		}
		n := int(o[at+1])
		if n < 2 || n > len(o)-at {
			return at + 1, false
		}
		if bad, ok := ipv4OptionOK(t, o[at:at+n]); !ok {
			return at + bad, false
		}
		at += n
	}
	return 0, true
}

// ipv4OptionOK checks one option whose length byte is known to be sound.
func ipv4OptionOK(t IPv4OptionType, o []byte) (bad int, ok bool) {
	switch t {
	case IPv4OptRecordRoute, IPv4OptLSRR, IPv4OptSSRR:
		if len(o) < 3 {
			return 1, false
		}
		if o[2] < 4 {
			return 2, false
		}
	case IPv4OptTimestamp:
		if len(o) < 4 {
			return 1, false
		}
		if o[2] < 5 {
			return 2, false
		}
	case IPv4OptRouterAlert:
		if len(o) != 4 {
			return 1, false
		}
	}
	return 0, true
}

// Skip steps over padding to the first option; the result is empty if there
// is none.
func (o IPv4Options) Skip() IPv4Options {
	for len(o) > 0 {
		switch IPv4OptionType(o[0]) {
		case IPv4OptEnd:
			return nil
		case IPv4OptNop:
			o = o[1:]
		default:
			return o
		}
	}
	return nil
}

// Type returns the type of the first option.
func (o IPv4Options) Type() IPv4OptionType { return IPv4OptionType(o[0]) }

// Len returns the size of the first option in bytes, with its type and length.
func (o IPv4Options) Len() int {
	if o[0] <= byte(IPv4OptNop) {
		return 1
	}
	return int(o[1])
}

// Body returns the bytes of the first option after its type and length.
func (o IPv4Options) Body() []byte {
	if o[0] <= byte(IPv4OptNop) {
		return nil
	}
	return o[2:o[1]]
}

// Next steps over the first option and the padding behind it.
func (o IPv4Options) Next() IPv4Options { return o[o.Len():].Skip() }

// Pointer returns the pointer of a record route, source route or timestamp
// option: the offset of the next free or next used slot, counted from 1 at the
// type byte. The option is full, or the route walked to its end, when Pointer
// is larger than Len.
func (o IPv4Options) Pointer() int { return int(o[2]) }

// SetPointer sets the pointer of a route or timestamp option.
func (o IPv4Options) SetPointer(p int) { o[2] = uint8(p) }

// Addr returns the address of a route option to which its pointer points, and
// whether there is one.
func (o IPv4Options) Addr() (netip.Addr, bool) {
	at := o.Pointer() - 1
	if at+4 > o.Len() {
		return netip.Addr{}, false
	}
	return netip.AddrFrom4([4]byte(o[at : at+4])), true
}

// RecordAddr writes a over the slot of a route option to which its pointer
// points and moves the pointer on; false means there is no slot left.
func (o IPv4Options) RecordAddr(a netip.Addr) bool {
	at := o.Pointer() - 1
	if at+4 > o.Len() {
		return false
	}
	put4(o[at:at+4], a)
	o.SetPointer(at + 5)
	return true
}

// TimestampFlag returns the kind of a timestamp option: 0 clocks only, 1
// address and clock, 3 the clocks of the addresses named in advance.
func (o IPv4Options) TimestampFlag() uint8 { return o[3] & 15 }

// TimestampOverflow returns how many routers found no slot.
func (o IPv4Options) TimestampOverflow() int { return int(o[3] >> 4) }

// RouterAlert returns the value of a router alert option, 0 in practice.
func (o IPv4Options) RouterAlert() uint16 { return binary.BigEndian.Uint16(o[2:]) }

// IPv4RouterAlert is a router alert option in its four bytes, as IGMP sends it
// (RFC 2113 §2.1).
var IPv4RouterAlert = []byte{byte(IPv4OptRouterAlert), 4, 0, 0}
