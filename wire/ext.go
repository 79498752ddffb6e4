package wire

import (
	"encoding/binary"
	"net/netip"
	"strconv"
)

// Bounds of [WalkExtensions]: no honest sender comes near them, and a receiver
// may refuse what exceeds them (RFC 8504 §5.3, RFC 8883).
const (
	ExtCountMax = 16   // extension headers in a packet
	ExtLenMax   = 4096 // bytes of extension headers in a packet
)

// ExtError tells what is wrong with a chain of extension headers. The zero
// value, ExtOK, is no error.
type ExtError uint8

// What can be wrong with a chain of extension headers.
const (
	ExtOK         ExtError = iota
	ExtTruncated           // the chain runs past the end of the packet
	ExtIncomplete          // it does so in a first fragment (RFC 7112 §5)
	ExtHopByHop            // hop-by-hop options not directly after the IPv6 header (RFC 8200 §4.1)
	ExtTooMany             // more than ExtCountMax headers
	ExtTooLong             // more than ExtLenMax bytes
)

// ParamProblem returns the code of the ICMPv6 parameter problem that answers
// the error; [Extensions.Pointer] has the pointer. It reports false if the
// packet is to be dropped in silence.
func (e ExtError) ParamProblem() (code uint8, ok bool) {
	switch e {
	case ExtIncomplete:
		return ICMPv6ChainIncomplete, true
	case ExtHopByHop:
		return ICMPv6UnknownNextHeader, true
	case ExtTooMany:
		return ICMPv6TooManyExtensions, true
	case ExtTooLong:
		return ICMPv6ChainTooLong, true
	}
	return 0, false
}

// String describes the error in a few words.
func (e ExtError) String() string {
	switch e {
	case ExtOK:
		return "ok"
	case ExtTruncated:
		return "extension headers truncated"
	case ExtIncomplete:
		return "first fragment without the whole header chain"
	case ExtHopByHop:
		return "hop-by-hop options not first"
	case ExtTooMany:
		return "too many extension headers"
	case ExtTooLong:
		return "extension headers too long"
	}
	return "ExtError(" + strconv.Itoa(int(e)) + ")"
}

// Extensions is what [WalkExtensions] learns on its way. Fields whose name ends
// in At are offsets from the first byte after the fixed IPv6 header; add
// IPv6Len for an offset in the packet. The Next Header field of the IPv6
// header itself is therefore at −34.
type Extensions struct {
	Proto   Proto // what follows the extension headers
	NamedAt int   // the byte that names Proto
	Len     int   // bytes of extension headers: where Proto begins
	Count   int   // extension headers

	// A Fragment header was met. In a fragment with an offset the walk ends
	// behind it, for what follows is a piece of payload. Behind a first
	// fragment's it goes on. A second Fragment header ends it too, with Proto
	// ProtoFragment: who has dealt with the first may walk on from there.
	Fragment        bool
	MoreFragments   bool
	FragOffset      int    // bytes into the fragmentable part
	FragID          uint32 // common to the fragments of one packet
	FragmentAt      int    // the Fragment header: length of the unfragmentable part
	FragmentNamedAt int    // the byte that names the Fragment header

	// Of the others, the place of the last one of each kind.
	HopByHop  bool // hop-by-hop options, always at 0
	DestOpts  bool // destination options
	DestAt    int
	Routing   bool // routing header, see [IPv6Routing]
	RoutingAt int
	AH        bool // authentication header, see [AH]
	AHAt      int

	ErrorAt int // the byte at fault, if there is an error
}

// Atomic reports whether the packet has a Fragment header and is nevertheless
// whole (RFC 6946).
func (x *Extensions) Atomic() bool { return x.Fragment && !x.MoreFragments && x.FragOffset == 0 }

// Pointer returns what the pointer of a parameter problem about an error would
// be: the offset in the packet of the byte at fault.
func (x *Extensions) Pointer() uint32 { return uint32(IPv6Len + x.ErrorAt) }

// ext6NextAt is where, seen from behind it, the IPv6 header names what follows.
const ext6NextAt = ip6Next - IPv6Len

// WalkExtensions steps over the extension headers of a packet. b begins after
// the fixed IPv6 header, must not reach past the end of the packet and must
// hold the whole chain; next is what the IPv6 header names. Headers may come in
// any order and number, except that hop-by-hop options come only first (RFC
// 8200 §4.1). ESP and upper layers end the chain, and so do the mobility, HIP
// and Shim6 headers, for which a node that does not know them answers as for
// an unknown protocol.
//
// Where next is no extension header, which [Proto.IsExtension] tells, there is
// nothing to learn and the call may be spared.
func WalkExtensions(b []byte, next Proto) (Extensions, ExtError) {
	x := Extensions{Proto: next, NamedAt: ext6NextAt}
	for x.Proto.IsExtension() {
		at := x.Len
		if x.Proto == ProtoHopByHop && at > 0 {
			return x.fail(x.NamedAt, ExtHopByHop)
		}
		if x.Proto == ProtoFragment && x.Fragment {
			return x, ExtOK
		}
		if x.Count == ExtCountMax {
			return x.fail(x.NamedAt, ExtTooMany)
		}
		n := extLen(b[at:], x.Proto)
		if n == 0 {
			if x.Fragment && x.MoreFragments {
				return x.fail(-IPv6Len, ExtIncomplete)
			}
			return x.fail(at, ExtTruncated)
		}
		if at+n > ExtLenMax {
			return x.fail(at, ExtTooLong)
		}
		x.note(b[at:])
		x.Proto, x.NamedAt, x.Len = Proto(b[at]), at, at+n
		x.Count++
		if x.FragOffset > 0 {
			return x, ExtOK
		}
	}
	return x, ExtOK
}

func (x *Extensions) fail(at int, e ExtError) (Extensions, ExtError) {
	x.ErrorAt = at
	return *x, e
}

// note records where the header h of type x.Proto stands.
func (x *Extensions) note(h []byte) {
	switch x.Proto {
	case ProtoHopByHop:
		x.HopByHop = true
	case ProtoDestOpts:
		x.DestOpts, x.DestAt = true, x.Len
	case ProtoRouting:
		x.Routing, x.RoutingAt = true, x.Len
	case ProtoAH:
		x.AH, x.AHAt = true, x.Len
	case ProtoFragment:
		f := IPv6Fragment(h)
		x.Fragment = true
		x.MoreFragments = f.More()
		x.FragOffset = f.Offset()
		x.FragID = f.ID()
		x.FragmentAt, x.FragmentNamedAt = x.Len, x.NamedAt
	}
}

// extLen returns the size in bytes of the extension header of type p at the
// start of b, at least 8, or 0 if it is not wholly there.
func extLen(b []byte, p Proto) int {
	if len(b) < 8 {
		return 0
	}
	n := 8 + int(b[1])*8
	switch p {
	case ProtoFragment:
		n = FragmentLen
	case ProtoAH:
		n = 8 + int(b[1])*4 // RFC 4302 §2.2
	}
	if n > len(b) {
		return 0
	}
	return n
}

// FragmentLen is the size of an IPv6 Fragment header in bytes.
const FragmentLen = 8

// IPv6Fragment is a view of an IPv6 Fragment header (RFC 8200 §4.5).
type IPv6Fragment []byte

// Valid reports whether the header is complete.
func (h IPv6Fragment) Valid() bool { return len(h) >= FragmentLen }

// NextHeader returns what the fragmentable part begins with.
func (h IPv6Fragment) NextHeader() Proto { return Proto(h[0]) }

// Offset returns where in the fragmentable part this piece begins, in bytes.
func (h IPv6Fragment) Offset() int { return int(binary.BigEndian.Uint16(h[2:]) &^ 7) }

// More reports whether further fragments follow this one.
func (h IPv6Fragment) More() bool { return h[3]&1 != 0 }

// ID returns the identification that fragments of one packet share.
func (h IPv6Fragment) ID() uint32 { return binary.BigEndian.Uint32(h[4:]) }

// PutFragment writes a Fragment header of FragmentLen bytes to b; off is in
// bytes, a multiple of 8.
func PutFragment(b []byte, next Proto, off int, more bool, id uint32) {
	offM := uint16(off) &^ 7
	if more {
		offM |= 1
	}
	binary.BigEndian.PutUint16(b, uint16(next)<<8)
	binary.BigEndian.PutUint16(b[2:], offM)
	binary.BigEndian.PutUint32(b[4:], id)
}

// IPv6Routing is a view of an IPv6 routing header (RFC 8200 §4.4).
type IPv6Routing []byte

// Valid reports whether the header is complete.
func (h IPv6Routing) Valid() bool { return extLen(h, ProtoRouting) > 0 }

// NextHeader returns what follows.
func (h IPv6Routing) NextHeader() Proto { return Proto(h[0]) }

// Len returns the size of the header in bytes.
func (h IPv6Routing) Len() int { return 8 + int(h[1])*8 }

// RoutingType returns the variant: 0 is forbidden (RFC 5095), 2 belongs to
// mobile IPv6, 3 to RPL, 4 to segment routing.
func (h IPv6Routing) RoutingType() uint8 { return h[2] }

// SegmentsLeft returns how many of the listed nodes are still to be visited.
// With 0 a node skips the header; otherwise one that does not know the type
// answers with a parameter problem that points at RoutingType.
func (h IPv6Routing) SegmentsLeft() uint8 { return h[3] }

// IPv6OptionType is the type of an option in a hop-by-hop or destination
// options header. Its upper two bits tell what a node does that does not know
// it (RFC 8200 §4.2).
type IPv6OptionType uint8

// Options of IPv6 by their IANA numbers.
const (
	IPv6OptPad1        IPv6OptionType = 0x00
	IPv6OptPadN        IPv6OptionType = 0x01
	IPv6OptTunnelLimit IPv6OptionType = 0x04 // RFC 2473 §4.1.1
	IPv6OptRouterAlert IPv6OptionType = 0x05 // RFC 2711
	IPv6OptCALIPSO     IPv6OptionType = 0x07 // RFC 5570
	IPv6OptQuickStart  IPv6OptionType = 0x26 // RFC 4782
	IPv6OptPathMTU     IPv6OptionType = 0x30 // RFC 9268
	IPv6OptRPL         IPv6OptionType = 0x63 // RFC 6553
	IPv6OptJumbo       IPv6OptionType = 0xc2 // RFC 2675
	IPv6OptHomeAddr    IPv6OptionType = 0xc9 // RFC 6275
)

// IPv6OptionAction is what a node does with a packet that has an option of a
// type unknown to it.
type IPv6OptionAction uint8

// What to do about an unknown option (RFC 8200 §4.2).
const (
	IPv6OptionSkip          IPv6OptionAction = iota // go on with the next
	IPv6OptionDiscard                               // drop the packet
	IPv6OptionReport                                // and send a parameter problem, code ICMPv6UnknownOption
	IPv6OptionReportUnicast                         // the same unless the destination is multicast
)

// Action returns what to do with the packet if the option is unknown.
func (t IPv6OptionType) Action() IPv6OptionAction { return IPv6OptionAction(t >> 6) }

// Mutable reports whether the option's data may change on the way.
func (t IPv6OptionType) Mutable() bool { return t&0x20 != 0 }

// String returns the option's name.
func (t IPv6OptionType) String() string {
	switch t {
	case IPv6OptPad1:
		return "pad1"
	case IPv6OptPadN:
		return "padn"
	case IPv6OptTunnelLimit:
		return "tunnel limit"
	case IPv6OptRouterAlert:
		return "rtalert"
	case IPv6OptCALIPSO:
		return "calipso"
	case IPv6OptQuickStart:
		return "quick start"
	case IPv6OptPathMTU:
		return "path mtu"
	case IPv6OptRPL:
		return "rpl"
	case IPv6OptJumbo:
		return "jumbo"
	case IPv6OptHomeAddr:
		return "homeaddr"
	}
	return "option " + strconv.Itoa(int(t))
}

// IPv6Options is a list of options seen from its first one on. Once Valid has
// said yes, this loop meets every option but the padding:
//
//	for o := wire.ExtOptions(b[x.DestAt:]).Skip(); len(o) > 0; o = o.Next() {
//		switch o.Type() {
//		case wire.IPv6OptRouterAlert: …
//		default: o.Type().Action() …
//		}
//	}
type IPv6Options []byte

// ExtOptions returns the options of the hop-by-hop or destination options
// header at the start of b, which WalkExtensions has stepped over.
func ExtOptions(b []byte) IPv6Options { return IPv6Options(b[2 : 8+int(b[1])*8]) }

// Valid reports whether the list is made of whole options. bad is the offset
// of the option that is not.
func (o IPv6Options) Valid() (bad int, ok bool) {
	for at := 0; at < len(o); {
		if IPv6OptionType(o[at]) == IPv6OptPad1 {
			at++
			continue
		}
		if len(o)-at < 2 || len(o)-at < 2+int(o[at+1]) {
			return at, false
		}
		at += 2 + int(o[at+1])
	}
	return 0, true
}

// Skip steps over padding to the first option; the result is empty if there is
// none.
func (o IPv6Options) Skip() IPv6Options {
	for len(o) > 0 && o.Type() <= IPv6OptPadN {
		o = o[o.Len():]
	}
	return o
}

// Type returns the type of the first option.
func (o IPv6Options) Type() IPv6OptionType { return IPv6OptionType(o[0]) }

// Len returns the size of the first option in bytes, with its type and length.
func (o IPv6Options) Len() int {
	if o.Type() == IPv6OptPad1 {
		return 1
	}
	return 2 + int(o[1])
}

// Body returns the data of the first option.
func (o IPv6Options) Body() []byte {
	if o.Type() == IPv6OptPad1 {
		return nil
	}
	return o[2:o.Len()]
}

// Next steps over the first option and the padding behind it.
func (o IPv6Options) Next() IPv6Options { return o[o.Len():].Skip() }

// RouterAlert returns the value of a router alert option, 0 for MLD.
func (o IPv6Options) RouterAlert() (uint16, bool) {
	if len(o) < 4 || o.Type() != IPv6OptRouterAlert || o.Len() != 4 {
		return 0, false
	}
	return binary.BigEndian.Uint16(o[2:]), true
}

// HomeAddr returns the address of a home address option.
func (o IPv6Options) HomeAddr() (netip.Addr, bool) {
	if len(o) < 18 || o.Type() != IPv6OptHomeAddr || o.Len() != 18 {
		return netip.Addr{}, false
	}
	return addr16(o[2:]), true
}

// IPv6RouterAlert is a router alert option with the value of MLD in its four
// bytes (RFC 2711 §2.1).
var IPv6RouterAlert = []byte{byte(IPv6OptRouterAlert), 2, 0, 0}

// OptionsHeaderLen returns the size in bytes of a hop-by-hop or destination
// options header around n bytes of options, a multiple of 8.
func OptionsHeaderLen(n int) int { return (2 + n + 7) &^ 7 }

// PutOptionsHeader writes a hop-by-hop or destination options header around
// options to b, pads it and returns its size, OptionsHeaderLen(len(options)).
func PutOptionsHeader(b []byte, next Proto, options []byte) int {
	n := OptionsHeaderLen(len(options))
	h := b[:n]
	h[0], h[1] = uint8(next), uint8(n/8-1)
	at := 2 + copy(h[2:], options)
	clear(h[at:])
	if pad := n - at; pad >= 2 {
		h[at], h[at+1] = byte(IPv6OptPadN), uint8(pad-2)
	}
	return n
}
