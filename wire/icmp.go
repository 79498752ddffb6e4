package wire

import (
	"encoding/binary"
	"math"
	"net/netip"
	"strconv"
)

// ICMPLen is the size in bytes of the header that every ICMP message described
// here has, of either version.
const ICMPLen = 8

// Offsets in an ICMP header (RFC 792, RFC 4443 §2.1).
const (
	icmpType = 0
	icmpCode = 1
	icmpSum  = 2
	icmpRest = 4
)

// ICMPv4Type is the type of an ICMPv4 message.
type ICMPv4Type uint8

// Types of ICMPv4 messages.
const (
	ICMPv4EchoReply        ICMPv4Type = 0
	ICMPv4Unreachable      ICMPv4Type = 3
	ICMPv4SourceQuench     ICMPv4Type = 4 // deprecated (RFC 6633)
	ICMPv4Redirect         ICMPv4Type = 5
	ICMPv4EchoRequest      ICMPv4Type = 8
	ICMPv4RouterAdvert     ICMPv4Type = 9  // RFC 1256
	ICMPv4RouterSolicit    ICMPv4Type = 10 // RFC 1256
	ICMPv4TimeExceeded     ICMPv4Type = 11
	ICMPv4ParamProblem     ICMPv4Type = 12
	ICMPv4TimestampRequest ICMPv4Type = 13
	ICMPv4TimestampReply   ICMPv4Type = 14
	ICMPv4InfoRequest      ICMPv4Type = 15 // deprecated (RFC 6918)
	ICMPv4InfoReply        ICMPv4Type = 16 // deprecated (RFC 6918)
	ICMPv4MaskRequest      ICMPv4Type = 17 // deprecated (RFC 6918)
	ICMPv4MaskReply        ICMPv4Type = 18 // deprecated (RFC 6918)
)

// Codes of ICMPv4Unreachable.
const (
	ICMPv4NetUnreachable   uint8 = 0
	ICMPv4HostUnreachable  uint8 = 1
	ICMPv4ProtoUnreachable uint8 = 2
	ICMPv4PortUnreachable  uint8 = 3
	ICMPv4FragNeeded       uint8 = 4 // and DF was set; MTU has the limit (RFC 1191)
	ICMPv4SourceRouteFail  uint8 = 5
	ICMPv4NetUnknown       uint8 = 6
	ICMPv4HostUnknown      uint8 = 7
	ICMPv4HostIsolated     uint8 = 8
	ICMPv4NetProhibited    uint8 = 9
	ICMPv4HostProhibited   uint8 = 10
	ICMPv4NetTOS           uint8 = 11
	ICMPv4HostTOS          uint8 = 12
	ICMPv4AdminProhibited  uint8 = 13 // RFC 1812 §5.2.7.1
	ICMPv4HostPrecedence   uint8 = 14
	ICMPv4PrecedenceCutoff uint8 = 15
)

// Codes of ICMPv4Redirect.
const (
	ICMPv4RedirectNet     uint8 = 0
	ICMPv4RedirectHost    uint8 = 1
	ICMPv4RedirectTOSNet  uint8 = 2
	ICMPv4RedirectTOSHost uint8 = 3
)

// Codes of ICMPv4TimeExceeded.
const (
	ICMPv4TTLExceeded        uint8 = 0
	ICMPv4ReassemblyExceeded uint8 = 1
)

// Codes of ICMPv4ParamProblem.
const (
	ICMPv4PointerProblem uint8 = 0
	ICMPv4OptionMissing  uint8 = 1
	ICMPv4BadLength      uint8 = 2
)

// IsError reports whether a message of this type reports on another packet and
// must therefore never be answered with an error (RFC 1122 §3.2.2).
func (t ICMPv4Type) IsError() bool {
	switch t {
	case ICMPv4Unreachable, ICMPv4SourceQuench, ICMPv4Redirect, ICMPv4TimeExceeded, ICMPv4ParamProblem:
		return true
	}
	return false
}

// String returns the type in tcpdump's words.
func (t ICMPv4Type) String() string {
	switch t {
	case ICMPv4EchoReply:
		return "echo reply"
	case ICMPv4Unreachable:
		return "unreachable"
	case ICMPv4SourceQuench:
		return "source quench"
	case ICMPv4Redirect:
		return "redirect"
	case ICMPv4EchoRequest:
		return "echo request"
	case ICMPv4RouterAdvert:
		return "router advertisement"
	case ICMPv4RouterSolicit:
		return "router solicitation"
	case ICMPv4TimeExceeded:
		return "time exceeded"
	case ICMPv4ParamProblem:
		return "parameter problem"
	case ICMPv4TimestampRequest:
		return "time stamp query"
	case ICMPv4TimestampReply:
		return "time stamp reply"
	case ICMPv4InfoRequest:
		return "information request"
	case ICMPv4InfoReply:
		return "information reply"
	case ICMPv4MaskRequest:
		return "address mask request"
	case ICMPv4MaskReply:
		return "address mask reply"
	}
	return "type-#" + strconv.Itoa(int(t))
}

// ICMPv4 is a view of an ICMP message (RFC 792). Its checksum covers the whole
// message and no pseudo header.
type ICMPv4 []byte

// Valid reports whether the header of 8 bytes is complete.
func (h ICMPv4) Valid() bool { return len(h) >= ICMPLen }

// Type returns the type of the message.
func (h ICMPv4) Type() ICMPv4Type { return ICMPv4Type(h[icmpType]) }

// Code returns the code, whose meaning depends on the type.
func (h ICMPv4) Code() uint8 { return h[icmpCode] }

// Checksum returns the checksum as it stands in the message.
func (h ICMPv4) Checksum() uint16 { return binary.BigEndian.Uint16(h[icmpSum:]) }

// Rest returns bytes 4 to 7, whose meaning depends on the type.
func (h ICMPv4) Rest() uint32 { return binary.BigEndian.Uint32(h[icmpRest:]) }

// ID returns the identifier of an echo or timestamp message.
func (h ICMPv4) ID() uint16 { return binary.BigEndian.Uint16(h[icmpRest:]) }

// Seq returns the sequence number of an echo or timestamp message.
func (h ICMPv4) Seq() uint16 { return binary.BigEndian.Uint16(h[icmpRest+2:]) }

// MTU returns the size in bytes of the largest packet that would have passed,
// from an ICMPv4FragNeeded message; 0 from routers that do not tell.
func (h ICMPv4) MTU() int { return int(binary.BigEndian.Uint16(h[icmpRest+2:])) }

// Pointer returns the offset of the byte at fault in the reported packet, from
// a parameter problem.
func (h ICMPv4) Pointer() int { return int(h[icmpRest]) }

// Gateway returns the better next hop that a redirect names.
func (h ICMPv4) Gateway() netip.Addr {
	return netip.AddrFrom4([4]byte(h[icmpRest : icmpRest+4]))
}

// Body returns what follows the 8 bytes of header: in errors the packet that
// is reported on, cut short.
func (h ICMPv4) Body() []byte { return h[ICMPLen:] }

// Original returns the start of the packet that an error reports on, without
// the extensions of RFC 4884 that may follow it.
func (h ICMPv4) Original() []byte {
	if n := int(h[icmpRest+1]) * 4; n > 0 && n < len(h)-ICMPLen && h.hasLength() {
		return h[ICMPLen : ICMPLen+n]
	}
	return h.Body()
}

func (h ICMPv4) hasLength() bool {
	return h.Type() == ICMPv4Unreachable || h.Type() == ICMPv4TimeExceeded || h.Type() == ICMPv4ParamProblem
}

// SetChecksum sets the checksum.
func (h ICMPv4) SetChecksum(c uint16) { binary.BigEndian.PutUint16(h[icmpSum:], c) }

// SetType sets the type of the message.
func (h ICMPv4) SetType(t ICMPv4Type) { h[icmpType] = uint8(t) }

// SetID sets the identifier of an echo or timestamp message.
func (h ICMPv4) SetID(id uint16) { binary.BigEndian.PutUint16(h[icmpRest:], id) }

// ICMPv6Type is the type of an ICMPv6 message; those below 128 are errors.
type ICMPv6Type uint8

// Types of ICMPv6 messages.
const (
	ICMPv6Unreachable     ICMPv6Type = 1
	ICMPv6PacketTooBig    ICMPv6Type = 2
	ICMPv6TimeExceeded    ICMPv6Type = 3
	ICMPv6ParamProblem    ICMPv6Type = 4
	ICMPv6EchoRequest     ICMPv6Type = 128
	ICMPv6EchoReply       ICMPv6Type = 129
	ICMPv6MLDQuery        ICMPv6Type = 130 // RFC 2710, RFC 3810
	ICMPv6MLDReport       ICMPv6Type = 131 // RFC 2710
	ICMPv6MLDDone         ICMPv6Type = 132 // RFC 2710
	ICMPv6RouterSolicit   ICMPv6Type = 133 // RFC 4861
	ICMPv6RouterAdvert    ICMPv6Type = 134 // RFC 4861
	ICMPv6NeighborSolicit ICMPv6Type = 135 // RFC 4861
	ICMPv6NeighborAdvert  ICMPv6Type = 136 // RFC 4861
	ICMPv6Redirect        ICMPv6Type = 137 // RFC 4861
	ICMPv6MLDv2Report     ICMPv6Type = 143 // RFC 3810
)

// Codes of ICMPv6Unreachable (RFC 4443 §3.1).
const (
	ICMPv6NoRoute            uint8 = 0
	ICMPv6AdminProhibited    uint8 = 1
	ICMPv6BeyondScope        uint8 = 2
	ICMPv6AddressUnreachable uint8 = 3
	ICMPv6PortUnreachable    uint8 = 4
	ICMPv6PolicyFail         uint8 = 5
	ICMPv6RejectRoute        uint8 = 6
)

// Codes of ICMPv6TimeExceeded (RFC 4443 §3.3).
const (
	ICMPv6HopLimitExceeded   uint8 = 0
	ICMPv6ReassemblyExceeded uint8 = 1
)

// Codes of ICMPv6ParamProblem (RFC 4443 §3.4, RFC 7112, RFC 8883).
const (
	ICMPv6BadField          uint8 = 0
	ICMPv6UnknownNextHeader uint8 = 1
	ICMPv6UnknownOption     uint8 = 2
	ICMPv6ChainIncomplete   uint8 = 3 // first fragment without the whole header chain
	ICMPv6ExtensionTooBig   uint8 = 6
	ICMPv6ChainTooLong      uint8 = 7
	ICMPv6TooManyExtensions uint8 = 8
	ICMPv6TooManyOptions    uint8 = 9
	ICMPv6OptionTooBig      uint8 = 10
)

// IsError reports whether a message of this type reports on another packet and
// must therefore never be answered with an error (RFC 4443 §2.4 e).
func (t ICMPv6Type) IsError() bool { return t < 128 }

// IsNDP reports whether the message belongs to neighbour discovery, which is
// believed only with a hop limit of 255 (RFC 4861).
func (t ICMPv6Type) IsNDP() bool { return t >= ICMPv6RouterSolicit && t <= ICMPv6Redirect }

// String returns the type in tcpdump's words.
func (t ICMPv6Type) String() string {
	switch t {
	case ICMPv6Unreachable:
		return "unreachable"
	case ICMPv6PacketTooBig:
		return "packet too big"
	case ICMPv6TimeExceeded:
		return "time exceeded"
	case ICMPv6ParamProblem:
		return "parameter problem"
	case ICMPv6EchoRequest:
		return "echo request"
	case ICMPv6EchoReply:
		return "echo reply"
	case ICMPv6MLDQuery:
		return "multicast listener query"
	case ICMPv6MLDReport:
		return "multicast listener report"
	case ICMPv6MLDDone:
		return "multicast listener done"
	case ICMPv6RouterSolicit:
		return "router solicitation"
	case ICMPv6RouterAdvert:
		return "router advertisement"
	case ICMPv6NeighborSolicit:
		return "neighbor solicitation"
	case ICMPv6NeighborAdvert:
		return "neighbor advertisement"
	case ICMPv6Redirect:
		return "redirect"
	case ICMPv6MLDv2Report:
		return "multicast listener report v2"
	}
	return "type-#" + strconv.Itoa(int(t))
}

// ICMPv6 is a view of an ICMPv6 message (RFC 4443). Its checksum covers the
// pseudo header of IPv6 too.
type ICMPv6 []byte

// Valid reports whether the header of 8 bytes is complete.
func (h ICMPv6) Valid() bool { return len(h) >= ICMPLen }

// Type returns the type of the message.
func (h ICMPv6) Type() ICMPv6Type { return ICMPv6Type(h[icmpType]) }

// Code returns the code, whose meaning depends on the type.
func (h ICMPv6) Code() uint8 { return h[icmpCode] }

// Checksum returns the checksum as it stands in the message.
func (h ICMPv6) Checksum() uint16 { return binary.BigEndian.Uint16(h[icmpSum:]) }

// Rest returns bytes 4 to 7, whose meaning depends on the type.
func (h ICMPv6) Rest() uint32 { return binary.BigEndian.Uint32(h[icmpRest:]) }

// ID returns the identifier of an echo message.
func (h ICMPv6) ID() uint16 { return binary.BigEndian.Uint16(h[icmpRest:]) }

// Seq returns the sequence number of an echo message.
func (h ICMPv6) Seq() uint16 { return binary.BigEndian.Uint16(h[icmpRest+2:]) }

// MTU returns the size in bytes of the largest packet that would have passed,
// from a packet too big message; values beyond 2³¹−1 read as that.
func (h ICMPv6) MTU() int { return int(min(h.Rest(), math.MaxInt32)) }

// Pointer returns the offset of the byte at fault in the reported packet, from
// a parameter problem; values beyond 2³¹−1 read as that.
func (h ICMPv6) Pointer() int { return int(min(h.Rest(), math.MaxInt32)) }

// Body returns what follows the 8 bytes of header: in errors the packet that
// is reported on, cut short.
func (h ICMPv6) Body() []byte { return h[ICMPLen:] }

// Original returns the start of the packet that an error reports on, without
// the extensions of RFC 4884 that may follow it.
func (h ICMPv6) Original() []byte {
	if n := int(h[icmpRest]) * 8; n > 0 && n < len(h)-ICMPLen && h.hasLength() {
		return h[ICMPLen : ICMPLen+n]
	}
	return h.Body()
}

func (h ICMPv6) hasLength() bool {
	return h.Type() == ICMPv6Unreachable || h.Type() == ICMPv6TimeExceeded
}

// SetChecksum sets the checksum.
func (h ICMPv6) SetChecksum(c uint16) { binary.BigEndian.PutUint16(h[icmpSum:], c) }

// SetType sets the type of the message.
func (h ICMPv6) SetType(t ICMPv6Type) { h[icmpType] = uint8(t) }

// SetID sets the identifier of an echo message.
func (h ICMPv6) SetID(id uint16) { binary.BigEndian.PutUint16(h[icmpRest:], id) }

// ICMPEcho packs identifier and sequence number into the rest of an ICMP
// header for [PutICMP].
func ICMPEcho(id, seq uint16) uint32 { return uint32(id)<<16 | uint32(seq) }

// PutICMP writes an ICMP header of either version, ICMPLen bytes, to b; rest
// is bytes 4 to 7.
func PutICMP(b []byte, typ, code uint8, checksum uint16, rest uint32) {
	h := b[:ICMPLen]
	h[icmpType] = typ
	h[icmpCode] = code
	binary.BigEndian.PutUint16(h[icmpSum:], checksum)
	binary.BigEndian.PutUint32(h[icmpRest:], rest)
}
