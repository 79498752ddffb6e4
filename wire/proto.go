package wire

import "strconv"

// Proto is an IANA protocol number: the Protocol field of IPv4 and the Next
// Header field of IPv6.
type Proto uint8

// Protocols and IPv6 extension headers by their IANA numbers.
const (
	ProtoHopByHop Proto = 0 // IPv6 hop-by-hop options
	ProtoICMP     Proto = 1
	ProtoIGMP     Proto = 2
	ProtoIPIP     Proto = 4 // IPv4 in IP
	ProtoTCP      Proto = 6
	ProtoUDP      Proto = 17
	ProtoDCCP     Proto = 33
	ProtoIPv6     Proto = 41 // IPv6 in IP
	ProtoRouting  Proto = 43 // IPv6 routing header
	ProtoFragment Proto = 44 // IPv6 fragment header
	ProtoGRE      Proto = 47
	ProtoESP      Proto = 50
	ProtoAH       Proto = 51
	ProtoICMPv6   Proto = 58
	ProtoNoNext   Proto = 59 // IPv6: nothing follows
	ProtoDestOpts Proto = 60 // IPv6 destination options
	ProtoOSPF     Proto = 89
	ProtoPIM      Proto = 103
	ProtoIPComp   Proto = 108
	ProtoVRRP     Proto = 112
	ProtoSCTP     Proto = 132
	ProtoMobility Proto = 135 // IPv6 mobility header
	ProtoUDPLite  Proto = 136
	ProtoHIP      Proto = 139
	ProtoShim6    Proto = 140
	ProtoRaw      Proto = 255 // reserved; raw sockets use it for "any"
)

// IsExtension reports whether p names an IPv6 extension header that
// [WalkExtensions] steps over. ESP is not among them, for what it hides cannot
// be read, nor are the headers of mobility, HIP and Shim6, which no end node
// needs to know.
func (p Proto) IsExtension() bool {
	const extensions = 1<<ProtoHopByHop | 1<<ProtoRouting | 1<<ProtoFragment | 1<<ProtoAH | 1<<ProtoDestOpts
	return p < 64 && uint64(extensions)>>p&1 != 0
}

// String returns the name in upper case as tcpdump prints it, such as "TCP" or
// "ICMP6", or "proto 253" for a number without one.
func (p Proto) String() string {
	switch p {
	case ProtoHopByHop:
		return "HBH"
	case ProtoICMP:
		return "ICMP"
	case ProtoIGMP:
		return "IGMP"
	case ProtoIPIP:
		return "IPIP"
	case ProtoTCP:
		return "TCP"
	case ProtoUDP:
		return "UDP"
	case ProtoDCCP:
		return "DCCP"
	case ProtoIPv6:
		return "IPv6"
	case ProtoRouting:
		return "RT"
	case ProtoFragment:
		return "FRAG"
	case ProtoGRE:
		return "GRE"
	case ProtoESP:
		return "ESP"
	case ProtoAH:
		return "AH"
	case ProtoICMPv6:
		return "ICMP6"
	case ProtoNoNext:
		return "NONXT"
	case ProtoDestOpts:
		return "DSTOPT"
	case ProtoOSPF:
		return "OSPF"
	case ProtoPIM:
		return "PIM"
	case ProtoIPComp:
		return "IPCOMP"
	case ProtoVRRP:
		return "VRRP"
	case ProtoSCTP:
		return "SCTP"
	case ProtoMobility:
		return "MOBILITY"
	case ProtoUDPLite:
		return "UDPLITE"
	case ProtoHIP:
		return "HIP"
	case ProtoShim6:
		return "SHIM6"
	}
	return "proto " + strconv.Itoa(int(p))
}
