package wire

import (
	"encoding/binary"
	"net/netip"
	"strconv"
)

// Sizes in bytes of the messages of neighbour discovery before their options,
// ICMPv6 header included (RFC 4861 §4).
const (
	RouterSolicitLen   = 8
	RouterAdvertLen    = 16
	NeighborSolicitLen = 24
	NeighborAdvertLen  = 24
	RedirectLen        = 40
)

// Offsets in messages of neighbour discovery.
const (
	ndpHopLimit  = 4
	ndpFlags     = 4 // in a neighbour advertisement
	raFlags      = 5
	raLifetime   = 6
	raReachable  = 8
	raRetrans    = 12
	ndpTarget    = 8
	redirectDest = 24
)

// SolicitedNode returns the multicast group ff02::1:ffXX:XXXX that a node
// joins for its address a (RFC 4291 §2.7.1).
func SolicitedNode(a netip.Addr) netip.Addr {
	v := a.As16()
	return netip.AddrFrom16([16]byte{0xff, 0x02, 11: 1, 12: 0xff, 13: v[13], 14: v[14], 15: v[15]})
}

// NeighborSolicit is a view of a neighbour solicitation from its ICMPv6 header
// on (RFC 4861 §4.3).
type NeighborSolicit []byte

// Valid reports whether h is a neighbour solicitation whose header is complete
// and whose options fill the rest. Hop limit, code, checksum and addresses are
// for the receiver to judge (RFC 4861 §7.1.1).
func (h NeighborSolicit) Valid() bool {
	return ndpValid(h, ICMPv6NeighborSolicit, NeighborSolicitLen)
}

// Target returns the address whose owner is asked for.
func (h NeighborSolicit) Target() netip.Addr { return addr16(h[ndpTarget:]) }

// Options returns the options.
func (h NeighborSolicit) Options() NDPOptions { return NDPOptions(h[NeighborSolicitLen:]) }

// NDFlags are the flags of a neighbour advertisement.
type NDFlags uint8

// The flags of a neighbour advertisement (RFC 4861 §4.4).
const (
	NDRouter    NDFlags = 0x80 // the sender is a router
	NDSolicited NDFlags = 0x40 // in answer to a solicitation
	NDOverride  NDFlags = 0x20 // replaces a cached link-layer address
)

// NeighborAdvert is a view of a neighbour advertisement from its ICMPv6 header
// on (RFC 4861 §4.4).
type NeighborAdvert []byte

// Valid reports whether h is a neighbour advertisement whose header is
// complete and whose options fill the rest.
func (h NeighborAdvert) Valid() bool {
	return ndpValid(h, ICMPv6NeighborAdvert, NeighborAdvertLen)
}

// Flags returns the flags.
func (h NeighborAdvert) Flags() NDFlags { return NDFlags(h[ndpFlags]) & 0xe0 }

// Router reports whether the sender is a router.
func (h NeighborAdvert) Router() bool { return h.Flags()&NDRouter != 0 }

// Solicited reports whether the message answers a solicitation.
func (h NeighborAdvert) Solicited() bool { return h.Flags()&NDSolicited != 0 }

// Override reports whether a cached link-layer address is to be replaced.
func (h NeighborAdvert) Override() bool { return h.Flags()&NDOverride != 0 }

// Target returns the address that is advertised.
func (h NeighborAdvert) Target() netip.Addr { return addr16(h[ndpTarget:]) }

// Options returns the options.
func (h NeighborAdvert) Options() NDPOptions { return NDPOptions(h[NeighborAdvertLen:]) }

// RouterSolicit is a view of a router solicitation from its ICMPv6 header on
// (RFC 4861 §4.1).
type RouterSolicit []byte

// Valid reports whether h is a router solicitation whose header is complete
// and whose options fill the rest.
func (h RouterSolicit) Valid() bool { return ndpValid(h, ICMPv6RouterSolicit, RouterSolicitLen) }

// Options returns the options.
func (h RouterSolicit) Options() NDPOptions { return NDPOptions(h[RouterSolicitLen:]) }

// RouterAdvert is a view of a router advertisement from its ICMPv6 header on
// (RFC 4861 §4.2).
type RouterAdvert []byte

// Valid reports whether h is a router advertisement whose header is complete
// and whose options fill the rest.
func (h RouterAdvert) Valid() bool { return ndpValid(h, ICMPv6RouterAdvert, RouterAdvertLen) }

// HopLimit returns the hop limit that hosts should send with, 0 for no advice.
func (h RouterAdvert) HopLimit() uint8 { return h[ndpHopLimit] }

// Managed reports whether addresses are available by DHCPv6.
func (h RouterAdvert) Managed() bool { return h[raFlags]&0x80 != 0 }

// OtherConfig reports whether other configuration is available by DHCPv6.
func (h RouterAdvert) OtherConfig() bool { return h[raFlags]&0x40 != 0 }

// Preference returns the preference of the router: 1 high, 0 medium, -1 low
// (RFC 4191 §2.2).
func (h RouterAdvert) Preference() int { return ndpPreference(h[raFlags]) }

// Lifetime returns how long the router is good as a default router, in
// seconds; 0 means it is none.
func (h RouterAdvert) Lifetime() uint16 { return binary.BigEndian.Uint16(h[raLifetime:]) }

// ReachableTime returns how long a neighbour counts as reachable after a
// confirmation, in milliseconds; 0 for no advice.
func (h RouterAdvert) ReachableTime() uint32 { return binary.BigEndian.Uint32(h[raReachable:]) }

// RetransTimer returns the time between solicitations, in milliseconds; 0 for
// no advice.
func (h RouterAdvert) RetransTimer() uint32 { return binary.BigEndian.Uint32(h[raRetrans:]) }

// Options returns the options.
func (h RouterAdvert) Options() NDPOptions { return NDPOptions(h[RouterAdvertLen:]) }

// Redirect is a view of a redirect from its ICMPv6 header on (RFC 4861 §4.5).
type Redirect []byte

// Valid reports whether h is a redirect whose header is complete and whose
// options fill the rest.
func (h Redirect) Valid() bool { return ndpValid(h, ICMPv6Redirect, RedirectLen) }

// Target returns the better next hop, the same as Destination if that is a
// neighbour.
func (h Redirect) Target() netip.Addr { return addr16(h[ndpTarget:]) }

// Destination returns the address that is to be reached by Target.
func (h Redirect) Destination() netip.Addr { return addr16(h[redirectDest:]) }

// Options returns the options.
func (h Redirect) Options() NDPOptions { return NDPOptions(h[RedirectLen:]) }

func ndpValid(h []byte, t ICMPv6Type, size int) bool {
	return len(h) >= size && ICMPv6Type(h[icmpType]) == t && NDPOptions(h[size:]).Valid()
}

func addr16(b []byte) netip.Addr { return netip.AddrFrom16([16]byte(b[:16])) }

// ndpPreference reads the two bits of RFC 4191 §2.1; the reserved value reads
// as medium.
func ndpPreference(flags uint8) int {
	switch flags >> 3 & 3 {
	case 1:
		return 1
	case 3:
		return -1
	}
	return 0
}

// NDPOptionType is the type byte of an option of neighbour discovery.
type NDPOptionType uint8

// Options of neighbour discovery by their IANA numbers.
const (
	NDPSourceLinkAddr   NDPOptionType = 1  // RFC 4861 §4.6.1
	NDPTargetLinkAddr   NDPOptionType = 2  // RFC 4861 §4.6.1
	NDPPrefixInfo       NDPOptionType = 3  // RFC 4861 §4.6.2
	NDPRedirectedHeader NDPOptionType = 4  // RFC 4861 §4.6.3
	NDPMTU              NDPOptionType = 5  // RFC 4861 §4.6.4
	NDPNonce            NDPOptionType = 14 // RFC 3971 §5.3.2
	NDPRouteInfo        NDPOptionType = 24 // RFC 4191 §2.3
	NDPRDNSS            NDPOptionType = 25 // RFC 8106 §5.1
	NDPDNSSL            NDPOptionType = 31 // RFC 8106 §5.2
	NDPCaptivePortal    NDPOptionType = 37 // RFC 8910 §2.3
	NDPPREF64           NDPOptionType = 38 // RFC 8781 §4
)

// String returns the option's name in tcpdump's words.
func (t NDPOptionType) String() string {
	switch t {
	case NDPSourceLinkAddr:
		return "source link-address option"
	case NDPTargetLinkAddr:
		return "destination link-address option"
	case NDPPrefixInfo:
		return "prefix info option"
	case NDPRedirectedHeader:
		return "redirected header option"
	case NDPMTU:
		return "mtu option"
	case NDPNonce:
		return "nonce option"
	case NDPRouteInfo:
		return "route info option"
	case NDPRDNSS:
		return "rdnss option"
	case NDPDNSSL:
		return "dnssl option"
	case NDPCaptivePortal:
		return "captive portal option"
	case NDPPREF64:
		return "pref64 option"
	}
	return "option " + strconv.Itoa(int(t))
}

// NDPOptions is a list of options seen from its first one on. The messages'
// Valid vouches for it, after which this loop meets every option:
//
//	for o := m.Options(); len(o) > 0; o = o.Next() {
//		switch o.Type() {
//		case wire.NDPPrefixInfo:
//			if p, ok := o.PrefixInfo(); ok { … }
//		}
//	}
//
// The getters of particular options report false if the option is of another
// type or too small for it.
type NDPOptions []byte

// Valid reports whether the list is made of whole options, none of length zero
// (RFC 4861 §4.6).
func (o NDPOptions) Valid() bool {
	for len(o) > 0 {
		if len(o) < 8 || o[1] == 0 || o.Len() > len(o) {
			return false
		}
		o = o.Next()
	}
	return true
}

// Type returns the type of the first option.
func (o NDPOptions) Type() NDPOptionType { return NDPOptionType(o[0]) }

// Len returns the size of the first option in bytes, a multiple of 8.
func (o NDPOptions) Len() int { return int(o[1]) * 8 }

// Body returns the bytes of the first option after its type and length.
func (o NDPOptions) Body() []byte { return o[2:o.Len()] }

// Next steps over the first option.
func (o NDPOptions) Next() NDPOptions { return o[o.Len():] }

// Find returns the list from the first option of type t on, or an empty one.
func (o NDPOptions) Find(t NDPOptionType) NDPOptions {
	for len(o) > 0 && o.Type() != t {
		o = o.Next()
	}
	return o
}

// is reports whether the first option is of type t and at least size bytes.
func (o NDPOptions) is(t NDPOptionType, size int) bool {
	return len(o) > 0 && o.Type() == t && o.Len() >= size
}

// LinkAddr returns the Ethernet address of a source or target link-layer
// address option.
func (o NDPOptions) LinkAddr() (MAC, bool) {
	if !o.is(NDPSourceLinkAddr, 8) && !o.is(NDPTargetLinkAddr, 8) {
		return MAC{}, false
	}
	return MAC(o[2:8]), true
}

// MTU returns the largest packet, in bytes, that the link carries.
func (o NDPOptions) MTU() (uint32, bool) {
	if !o.is(NDPMTU, 8) {
		return 0, false
	}
	return binary.BigEndian.Uint32(o[4:]), true
}

// Nonce returns the number that tells a node's own solicitation from another's
// (RFC 7527 §4), at least 6 bytes.
func (o NDPOptions) Nonce() ([]byte, bool) {
	if !o.is(NDPNonce, 8) {
		return nil, false
	}
	return o.Body(), true
}

// NDPPrefix is the content of a prefix information option.
type NDPPrefix struct {
	Prefix     netip.Prefix
	OnLink     bool   // addresses under Prefix are neighbours
	Autonomous bool   // hosts may make themselves addresses under Prefix
	Valid      uint32 // lifetime in seconds; 0xffffffff for ever
	Preferred  uint32 // lifetime in seconds; 0xffffffff for ever
}

// PrefixInfo returns the content of a prefix information option; the bits
// behind the prefix length are cleared.
func (o NDPOptions) PrefixInfo() (NDPPrefix, bool) {
	if !o.is(NDPPrefixInfo, 32) || o[2] > 128 {
		return NDPPrefix{}, false
	}
	return NDPPrefix{
		Prefix:     netip.PrefixFrom(addr16(o[16:]), int(o[2])).Masked(),
		OnLink:     o[3]&0x80 != 0,
		Autonomous: o[3]&0x40 != 0,
		Valid:      binary.BigEndian.Uint32(o[4:]),
		Preferred:  binary.BigEndian.Uint32(o[8:]),
	}, true
}

// NDPRoute is the content of a route information option.
type NDPRoute struct {
	Prefix     netip.Prefix
	Preference int    // 1 high, 0 medium, -1 low
	Lifetime   uint32 // seconds; 0xffffffff for ever
}

// RouteInfo returns the content of a route information option. One with the
// reserved preference is to be ignored (RFC 4191 §2.3) and reports false.
func (o NDPOptions) RouteInfo() (NDPRoute, bool) {
	if !o.is(NDPRouteInfo, 8) || o[2] > 128 || o[3]>>3&3 == 2 {
		return NDPRoute{}, false
	}
	var a [16]byte
	copy(a[:], o[8:min(o.Len(), 24)])
	if int(o[2]) > (o.Len()-8)*8 {
		return NDPRoute{}, false
	}
	return NDPRoute{
		Prefix:     netip.PrefixFrom(netip.AddrFrom16(a), int(o[2])).Masked(),
		Preference: ndpPreference(o[3]),
		Lifetime:   binary.BigEndian.Uint32(o[4:]),
	}, true
}

// RDNSS returns the lifetime in seconds of the DNS servers that the option
// names, and their number; Server returns them.
func (o NDPOptions) RDNSS() (lifetime uint32, servers int, ok bool) {
	if !o.is(NDPRDNSS, 24) {
		return 0, 0, false
	}
	return binary.BigEndian.Uint32(o[4:]), (o.Len() - 8) / 16, true
}

// Server returns DNS server i of an option whose number of servers RDNSS told.
func (o NDPOptions) Server(i int) netip.Addr { return addr16(o[8+16*i:]) }

// RedirectedPacket returns the start of the packet that led to a redirect.
func (o NDPOptions) RedirectedPacket() ([]byte, bool) {
	if !o.is(NDPRedirectedHeader, 8) {
		return nil, false
	}
	return o[8:o.Len()], true
}

// PutNeighborSolicit writes a solicitation of NeighborSolicitLen bytes to b,
// with checksum zero; options follow it.
func PutNeighborSolicit(b []byte, target netip.Addr) {
	PutICMP(b, uint8(ICMPv6NeighborSolicit), 0, 0, 0)
	put16(b[ndpTarget:NeighborSolicitLen], target)
}

// PutNeighborAdvert writes an advertisement of NeighborAdvertLen bytes to b,
// with checksum zero; options follow it.
func PutNeighborAdvert(b []byte, flags NDFlags, target netip.Addr) {
	PutICMP(b, uint8(ICMPv6NeighborAdvert), 0, 0, uint32(flags)<<24)
	put16(b[ndpTarget:NeighborAdvertLen], target)
}

// PutRouterSolicit writes a solicitation of RouterSolicitLen bytes to b, with
// checksum zero; options follow it.
func PutRouterSolicit(b []byte) { PutICMP(b, uint8(ICMPv6RouterSolicit), 0, 0, 0) }

// RouterAdvertFields are the fields of a router advertisement for
// [PutRouterAdvert]; the getters of RouterAdvert tell their meaning.
type RouterAdvertFields struct {
	HopLimit      uint8
	Managed       bool
	OtherConfig   bool
	Preference    int    // 1 high, 0 medium, -1 low
	Lifetime      uint16 // seconds
	ReachableTime uint32 // milliseconds
	RetransTimer  uint32 // milliseconds
}

// PutRouterAdvert writes an advertisement of RouterAdvertLen bytes to b, with
// checksum zero; options follow it.
func PutRouterAdvert(b []byte, f *RouterAdvertFields) {
	flags := uint8(f.Preference&3) << 3
	if f.Managed {
		flags |= 0x80
	}
	if f.OtherConfig {
		flags |= 0x40
	}
	PutICMP(b, uint8(ICMPv6RouterAdvert), 0, 0,
		uint32(f.HopLimit)<<24|uint32(flags)<<16|uint32(f.Lifetime))
	binary.BigEndian.PutUint32(b[raReachable:], f.ReachableTime)
	binary.BigEndian.PutUint32(b[raRetrans:], f.RetransTimer)
}

// PutRedirect writes a redirect of RedirectLen bytes to b, with checksum zero;
// options follow it.
func PutRedirect(b []byte, target, destination netip.Addr) {
	PutICMP(b, uint8(ICMPv6Redirect), 0, 0, 0)
	put16(b[ndpTarget:redirectDest], target)
	put16(b[redirectDest:RedirectLen], destination)
}

// PutLinkAddrOption writes a source or target link-layer address option of 8
// bytes to b and returns its size.
func PutLinkAddrOption(b []byte, t NDPOptionType, m MAC) int {
	b[0], b[1] = uint8(t), 1
	copy(b[2:8], m[:])
	return 8
}

// PutMTUOption writes an MTU option of 8 bytes to b and returns its size.
func PutMTUOption(b []byte, mtu uint32) int {
	binary.BigEndian.PutUint32(b, uint32(NDPMTU)<<24|1<<16)
	binary.BigEndian.PutUint32(b[4:], mtu)
	return 8
}

// PutNonceOption writes a nonce option of 8 bytes to b and returns its size.
func PutNonceOption(b []byte, nonce [6]byte) int {
	b[0], b[1] = uint8(NDPNonce), 1
	copy(b[2:8], nonce[:])
	return 8
}

// PutPrefixInfoOption writes a prefix information option of 32 bytes to b and
// returns its size.
func PutPrefixInfoOption(b []byte, p NDPPrefix) int {
	var flags uint32
	if p.OnLink {
		flags |= 0x80
	}
	if p.Autonomous {
		flags |= 0x40
	}
	binary.BigEndian.PutUint32(b, uint32(NDPPrefixInfo)<<24|4<<16|uint32(p.Prefix.Bits())<<8|flags)
	binary.BigEndian.PutUint32(b[4:], p.Valid)
	binary.BigEndian.PutUint32(b[8:], p.Preferred)
	binary.BigEndian.PutUint32(b[12:], 0)
	put16(b[16:32], p.Prefix.Masked().Addr())
	return 32
}

// PutRouteInfoOption writes a route information option of 8, 16 or 24 bytes,
// as the prefix needs, to b and returns its size.
func PutRouteInfoOption(b []byte, r NDPRoute) int {
	n := 8 + (r.Prefix.Bits()+63)/64*8
	binary.BigEndian.PutUint32(b,
		uint32(NDPRouteInfo)<<24|uint32(n/8)<<16|uint32(r.Prefix.Bits())<<8|uint32(r.Preference&3)<<3)
	binary.BigEndian.PutUint32(b[4:], r.Lifetime)
	a := r.Prefix.Masked().Addr().As16()
	copy(b[8:n], a[:])
	return n
}

// PutRDNSSOption writes an option that names DNS servers, good for lifetime
// seconds, to b and returns its size.
func PutRDNSSOption(b []byte, lifetime uint32, servers ...netip.Addr) int {
	n := 8 + 16*len(servers)
	binary.BigEndian.PutUint32(b, uint32(NDPRDNSS)<<24|uint32(n/8)<<16)
	binary.BigEndian.PutUint32(b[4:], lifetime)
	for i, s := range servers {
		put16(b[8+16*i:n], s)
	}
	return n
}
