package expr

import (
	"fmt"

	"github.com/towpath/towpath/capture/bpf"
	"github.com/towpath/towpath/wire"
)

// Link types, by libpcap's names without LINKTYPE_ and in the numbers of pcap
// files (pcap-linktype(7)).
const (
	NULL                    wire.LinkType = 0
	EN10MB                  wire.LinkType = 1
	IEEE802                 wire.LinkType = 6
	ARCNET                  wire.LinkType = 7
	SLIP                    wire.LinkType = 8
	PPP                     wire.LinkType = 9
	FDDI                    wire.LinkType = 10
	PPP_SERIAL              wire.LinkType = 50
	PPP_ETHER               wire.LinkType = 51
	SYMANTEC_FIREWALL       wire.LinkType = 99
	ATM_RFC1483             wire.LinkType = 100
	RAW                     wire.LinkType = 101
	SLIP_BSDOS              wire.LinkType = 102
	PPP_BSDOS               wire.LinkType = 103
	C_HDLC                  wire.LinkType = 104
	IEEE802_11              wire.LinkType = 105
	ATM_CLIP                wire.LinkType = 106
	FRELAY                  wire.LinkType = 107
	LOOP                    wire.LinkType = 108
	ENC                     wire.LinkType = 109
	LINUX_SLL               wire.LinkType = 113
	LTALK                   wire.LinkType = 114
	PFLOG                   wire.LinkType = 117
	PRISM                   wire.LinkType = 119
	IP_OVER_FC              wire.LinkType = 122
	SUNATM                  wire.LinkType = 123
	IEEE802_11_RADIO        wire.LinkType = 127
	ARCNET_LINUX            wire.LinkType = 129
	APPLE_IP_OVER_IEEE1394  wire.LinkType = 138
	MTP2_WITH_PHDR          wire.LinkType = 139
	MTP2                    wire.LinkType = 140
	IEEE802_11_AVS          wire.LinkType = 163
	BACNET_MS_TP            wire.LinkType = 165
	PPP_PPPD                wire.LinkType = 166
	PPI                     wire.LinkType = 192
	ERF                     wire.LinkType = 197
	IPNET                   wire.LinkType = 226
	IPV4                    wire.LinkType = 228
	IPV6                    wire.LinkType = 229
	NETANALYZER             wire.LinkType = 240
	NETANALYZER_TRANSPARENT wire.LinkType = 241
	LINUX_SLL2              wire.LinkType = 276
)

// linkMax is the highest number that pcap files use.
const linkMax = 301

// juniper are the link types of Juniper Networks, and where behind their magic
// number the network layer begins; far if that varies.
var juniper = map[wire.LinkType]uint32{
	130: 4, 131: 4, 132: far, 133: 12, 134: 4, 135: 8, 136: far, 137: 4, 178: 32, 179: 4, 180: 4, 181: 4, 183: far,
	194: far, 200: far,
}

// far is an offset at which no packet has bytes.
const far = 0x7fffff00

// An offset is a place in the packet: k, and the value of reg unless it is nil.
type offset struct {
	reg *value
	k   uint32
}

func (o offset) add(n uint32) offset { return offset{o.reg, o.k + n} }

// A place is what is known, where the parser stands, of where headers are. The
// keywords vlan, mpls, pppoes, lane, geneve and vxlan change it for all that
// stands to the right of them.
type place struct {
	link     wire.LinkType // of the header at linkHdr
	linkHdr  offset
	linkType offset // of the field that says what the payload is
	payload  offset // behind the link header: LLC, if there is LLC
	nl       uint32 // from there to the network header with SNAP, or behind labels
	nlNoSNAP uint32 // and with LLC alone
	labels   int    // of MPLS seen
	tags     int    // of VLANs seen
	inner    *cond  // what must hold for there to be a link header at linkHdr, or nil
	lane     bool   // inner is about ATM's LAN emulation, and so also about linkType
}

func (p *place) network() offset { return p.payload.add(p.nl) }

// A generator makes conditions for one expression.
type generator struct {
	in   intern
	conf Config
	size int // operators and accessors seen
	fail func(format string, args ...any)

	place
	regs     uint32 // registers in use
	setup    []*cond
	setupReg []uint32 // which registers each of setup prepares, as bits; none for a check

	outermost place // where the parser began
	walked    *walk // in modern mode, once it is needed
}

// regMax bounds registers, so that scratch memory is left for arithmetic.
const regMax = 13

// newReg takes a register.
func (g *generator) newReg() uint32 {
	if g.regs == regMax {
		g.fail("too many headers of variable length before this")
	}
	g.regs++
	return g.regs - 1
}

func (g *generator) load(o offset, delta uint32, size uint8) *value {
	return g.in.load(size, o.k+delta, o.reg)
}

// is tests size bytes for v.
func (g *generator) is(o offset, delta uint32, size uint8, v uint32) *cond {
	return test(bpf.JmpEq, g.load(o, delta, size), g.in.konst(v))
}

// maskedIs tests the bits of mask in size bytes for v.
func (g *generator) maskedIs(o offset, delta uint32, size uint8, mask, v uint32) *cond {
	x := g.load(o, delta, size)
	if mask != 1<<32-1 {
		x = g.in.bin(vAnd, x, g.in.konst(mask))
	}
	return test(bpf.JmpEq, x, g.in.konst(v))
}

// bit tests whether one of the bits of mask is set in size bytes.
func (g *generator) bit(o offset, delta uint32, size uint8, mask uint32) *cond {
	return test(bpf.JmpSet, g.load(o, delta, size), g.in.konst(mask))
}

// bytesAre tests bytes, words from the end first.
func (g *generator) bytesAre(o offset, delta uint32, b []byte) *cond {
	var list []*cond
	for n := len(b); n > 0; {
		size := 4
		for size > n {
			size /= 2
		}
		n -= size
		v := uint32(0)
		for _, x := range b[n : n+size] {
			v = v<<8 | uint32(x)
		}
		list = append(list, g.is(o, delta+uint32(n), uint8(size), v))
	}
	return and(list...)
}

func newGenerator(c Config) (*generator, error) {
	g := &generator{in: intern{}, conf: c}
	g.link = c.Link
	at := func(typ, payload, nl, noSNAP uint32) {
		g.place.linkType.k, g.payload.k, g.nl, g.nlNoSNAP = typ, payload, nl, noSNAP
	}
	switch c.Link {
	case NULL, LOOP:
		at(0, 4, 0, 0)
	case EN10MB:
		at(12, 14, 0, 3)
	case IEEE802:
		at(14, 14, 8, 3)
	case ARCNET:
		at(2, 6, 0, 0)
	case ARCNET_LINUX:
		at(4, 8, 0, 0)
	case SLIP:
		at(0, 16, 0, 0)
	case SLIP_BSDOS:
		at(0, 24, 0, 0)
	case PPP, PPP_SERIAL, PPP_PPPD, C_HDLC:
		at(2, 4, 0, 0)
	case PPP_ETHER:
		at(6, 8, 0, 0)
	case PPP_BSDOS:
		at(5, 24, 0, 0)
	case FDDI:
		at(13, 13, 8, 3)
	case ATM_RFC1483, ATM_CLIP:
		at(0, 0, 8, 3)
	case SUNATM:
		at(4, 4, 8, 3)
	case RAW, IPV4, IPV6, FRELAY, LTALK:
	case LINUX_SLL:
		at(14, 16, 0, 0)
	case LINUX_SLL2:
		at(0, 20, 0, 0)
	case IP_OVER_FC:
		at(16, 16, 8, 3)
	case APPLE_IP_OVER_IEEE1394:
		at(16, 18, 0, 0)
	case SYMANTEC_FIREWALL:
		at(6, 44, 0, 0)
	case ENC:
		at(0, 12, 0, 0)
	case IPNET:
		at(1, 24, 0, 0)
	case NETANALYZER:
		at(16, 18, 0, 3)
		g.linkHdr.k = 4
	case NETANALYZER_TRANSPARENT:
		at(24, 26, 0, 3)
		g.linkHdr.k = 12
	case BACNET_MS_TP:
		at(0, far, 0, 0)
	case PFLOG:
		g.pflogPrefix()
	case IEEE802_11, IEEE802_11_RADIO, IEEE802_11_AVS, PRISM, PPI:
		g.wirelessPrefix()
	case MTP2, MTP2_WITH_PHDR, ERF:
	default:
		if nl, ok := juniper[c.Link]; ok {
			at(0, nl, 0, 0)
		} else if c.Link > linkMax {
			return nil, fmt.Errorf("link type %d is unknown", c.Link)
		}
	}
	g.outermost = g.place
	return g, nil
}

// prologue is what must be computed before c: the lengths of headers that c
// asks for.
func (g *generator) prologue(c *cond) *cond {
	p := yes
	for i := len(g.setup) - 1; i >= 0; i-- { // later ones may need earlier ones
		needed := g.setupReg[i] == 0
		for r := uint32(0); r < g.regs; r++ {
			needed = needed || g.setupReg[i]>>r&1 != 0 && (c.uses(r) || p.uses(r))
		}
		if needed {
			p = and(g.setup[i], p)
		}
	}
	return p
}

// uses reports whether c depends on register r.
func (c *cond) uses(r uint32) bool {
	if c == nil {
		return false
	}
	if c.far != nil && c.far.base.reg.uses(r) {
		return true
	}
	return c.a.uses(r) || c.b.uses(r) || c.x.uses(r) || c.y.uses(r)
}

// EtherTypes, and the service access points of LLC that take their place where
// they are at most 1500.
const (
	etherIPv4           = 0x0800
	etherARP            = 0x0806
	etherMOPDL          = 0x6001
	etherMOPRC          = 0x6002
	etherDECnet         = 0x6003
	etherLAT            = 0x6004
	etherSCA            = 0x6007
	etherRARP           = 0x8035
	etherAppleTalk      = 0x809b
	etherAARP           = 0x80f3
	etherVLAN           = 0x8100
	etherIPX            = 0x8137
	etherIPv6           = 0x86dd
	etherMPLS           = 0x8847
	etherPPPoEDiscovery = 0x8863
	etherPPPoESession   = 0x8864
	etherQinQ           = 0x88a8
	etherQinQOld        = 0x9100
	etherBridge         = 0x6558
	etherMax802_3       = 1500

	sapIP      = 0x06
	sapSTP     = 0x42
	sapIPX     = 0xe0
	sapNetBEUI = 0xf0
	sapISO     = 0xfe

	llcSAPs     = 0xffff // both SAPs of IPX without LLC
	snapHeader  = 0xaaaa0300
	snapApple   = 0xaaaa0308 // the organization code's first byte is in here
	appleTalk32 = 0x0007809b // and the rest in here
)

// linkType tests whether the payload is of a protocol: an EtherType, or a SAP.
func (g *generator) linkType(proto uint32) *cond {
	if g.labels > 0 {
		return g.mplsType(proto)
	}
	switch g.link {
	case EN10MB, NETANALYZER, NETANALYZER_TRANSPARENT:
		return and(g.laneOnly(), g.etherType(proto))
	case C_HDLC:
		if proto == sapISO {
			return g.is(g.place.linkType, 0, 2, sapISO<<8|sapISO)
		}
		return g.is(g.place.linkType, 0, 2, proto)
	case FDDI, IEEE802, ATM_RFC1483, ATM_CLIP, IP_OVER_FC:
		return g.llcType(proto)
	case IEEE802_11, IEEE802_11_RADIO, IEEE802_11_AVS, PRISM, PPI:
		return and(g.dataFrame(), g.llcType(proto))
	case SUNATM:
		return and(g.atmLLC(), g.llcType(proto))
	case LINUX_SLL:
		return g.cookedType(proto)
	case SLIP, SLIP_BSDOS, RAW:
		// The version of IP is all that there is to see.
		switch proto {
		case etherIPv4:
			return g.maskedIs(g.payload, 0, 1, 0xf0, 0x40)
		case etherIPv6:
			return g.maskedIs(g.payload, 0, 1, 0xf0, 0x60)
		}
		return no
	case IPV4, IPV6:
		return constant(proto == etherIPv4 && g.link == IPV4 || proto == etherIPv6 && g.link == IPV6)
	case PPP, PPP_SERIAL, PPP_PPPD, PPP_ETHER, PPP_BSDOS:
		return g.pppType(proto)
	case NULL, LOOP, ENC:
		return g.familyType(proto)
	case PFLOG:
		return g.pflogType(proto)
	case IPNET:
		switch proto {
		case etherIPv4:
			return g.is(g.linkHdr, 1, 1, 2)
		case etherIPv6:
			return g.is(g.linkHdr, 1, 1, 26)
		}
		return no
	case ARCNET, ARCNET_LINUX:
		return g.arcType(proto)
	case LTALK:
		return constant(proto == etherAppleTalk)
	case FRELAY:
		// The network layer's identifier (RFC 2427) behind two bytes of address.
		switch proto {
		case etherIPv4:
			return g.is(g.linkHdr, 2, 2, 0x03cc)
		case etherIPv6:
			return g.is(g.linkHdr, 2, 2, 0x038e)
		case sapISO:
			return or(g.is(g.linkHdr, 2, 2, 0x0381), g.is(g.linkHdr, 2, 2, 0x0382), g.is(g.linkHdr, 2, 2, 0x0383))
		}
		return no
	case BACNET_MS_TP:
		return g.maskedIs(g.linkHdr, 0, 4, 0xffff0000, 0x55ff0000)
	case LINUX_SLL2, APPLE_IP_OVER_IEEE1394, SYMANTEC_FIREWALL:
		return g.is(g.place.linkType, 0, 2, proto)
	}
	if _, ok := juniper[g.link]; ok {
		return g.maskedIs(g.linkHdr, 0, 4, 0xffffff00, 0x4d474300)
	}
	g.fail("packets of link type %d have no protocol that is known here; only link[…], len and the like work", g.link)
	return no
}

// laneOnly is inner where the protocol field depends on it too.
func (g *generator) laneOnly() *cond {
	if g.lane {
		return g.inner
	}
	return nil
}

func constant(b bool) *cond {
	if b {
		return yes
	}
	return no
}

// etherType tests the field that is an EtherType, or a length before LLC.
func (g *generator) etherType(proto uint32) *cond {
	field := g.place.linkType
	llc := not(test(bpf.JmpGt, g.load(field, 0, 2), g.in.konst(etherMax802_3)))
	behind := field.add(2) // LLC stands right behind a length
	switch proto {
	case sapISO, sapIP, sapNetBEUI:
		return and(llc, g.is(behind, 0, 2, proto<<8|proto))
	case sapIPX:
		return or(g.is(field, 0, 2, etherIPX),
			and(llc, or(g.snap(behind, etherIPX), g.is(behind, 0, 1, sapIPX), g.is(behind, 0, 2, llcSAPs))))
	case etherAppleTalk, etherAARP:
		return or(g.is(field, 0, 2, proto), and(llc, g.snap(behind, proto)))
	}
	if proto <= etherMax802_3 {
		return and(llc, g.is(behind, 0, 1, proto))
	}
	return g.is(field, 0, 2, proto)
}

// snap tests LLC at o for SNAP with the protocol.
func (g *generator) snap(o offset, proto uint32) *cond {
	if proto == etherAppleTalk {
		return and(g.is(o, 4, 4, appleTalk32), g.is(o, 0, 4, snapApple))
	}
	return and(g.is(o, 4, 4, proto), g.is(o, 0, 4, snapHeader))
}

// llcType tests the LLC that the payload begins with.
func (g *generator) llcType(proto uint32) *cond {
	switch {
	case proto == sapISO || proto == sapIP || proto == sapNetBEUI:
		return g.is(g.payload, 0, 2, proto<<8|proto)
	case proto == etherAppleTalk:
		return g.snap(g.payload, proto)
	case proto <= etherMax802_3:
		return g.is(g.payload, 0, 1, proto)
	}
	return g.is(g.payload, 6, 2, proto)
}

// cookedType tests the protocol field of Linux's cooked header, which says 1
// for IPX without LLC, and 4 for LLC (linux/if_ether.h).
func (g *generator) cookedType(proto uint32) *cond {
	field := g.place.linkType
	llc := g.is(field, 0, 2, 4)
	switch {
	case proto == sapISO || proto == sapIP || proto == sapNetBEUI:
		return and(llc, g.is(g.payload, 0, 2, proto<<8|proto))
	case proto == sapIPX:
		return or(g.is(field, 0, 2, etherIPX), g.is(field, 0, 2, 1),
			and(llc, or(g.is(g.payload, 0, 1, sapIPX), g.snap(g.payload, etherIPX))))
	case proto == etherAppleTalk || proto == etherAARP:
		return or(g.is(field, 0, 2, proto), and(llc, g.snap(g.payload, proto)))
	case proto <= etherMax802_3:
		return and(llc, g.is(g.payload, 0, 1, proto))
	}
	return g.is(field, 0, 2, proto)
}

// pppProtocols are PPP's numbers for protocols (IANA's list).
var pppProtocols = map[uint32]uint32{
	etherIPv4: 0x21, etherIPv6: 0x57, etherDECnet: 0x27, etherAppleTalk: 0x29, sapISO: 0x23, sapSTP: 0x31, sapIPX: 0x2b,
}

func (g *generator) pppType(proto uint32) *cond {
	field := g.place.linkType
	if g.link == PPP_BSDOS && proto == etherIPv4 { // also with its header compressed, and not
		return or(g.is(field, 0, 2, 0x21), g.is(field, 0, 2, 0x2d), g.is(field, 0, 2, 0x2f))
	}
	if n, ok := pppProtocols[proto]; ok {
		proto = n
	}
	return g.is(field, 0, 2, proto)
}

// inet6Families are the numbers that systems have for IPv6: Linux; NetBSD,
// OpenBSD and BSD/OS; FreeBSD; Darwin.
var inet6Families = []uint32{10, 24, 28, 30}

// familyType tests a system's number of an address family, in 32 bits: in
// network order for LOOP, in that of whatever machine captured otherwise.
func (g *generator) familyType(proto uint32) *cond {
	families := []uint32{2}
	if proto == etherIPv6 {
		families = inet6Families
	} else if proto != etherIPv4 {
		return no
	}
	var list []*cond
	for _, f := range families {
		if g.link != LOOP {
			list = append(list, g.is(g.linkHdr, 0, 4, f<<24))
		}
		list = append(list, g.is(g.linkHdr, 0, 4, f))
	}
	return or(list...)
}

// arcType tests the protocol's number on ARCnet (RFC 1201, RFC 1051).
func (g *generator) arcType(proto uint32) *cond {
	var codes []uint32
	switch proto {
	case etherIPv4:
		codes = []uint32{212, 240}
	case etherARP:
		codes = []uint32{213, 241}
	case etherRARP:
		codes = []uint32{214}
	case etherIPv6:
		codes = []uint32{196}
	case etherAppleTalk:
		codes = []uint32{221}
	}
	var list []*cond
	for _, c := range codes {
		list = append(list, g.is(g.place.linkType, 0, 1, c))
	}
	return or(list...)
}

// arcHost tests an address on ARCnet.
func (g *generator) arcHost(addr uint32, dir string) *cond {
	if g.link != ARCNET && g.link != ARCNET_LINUX {
		g.fail("ARCnet addresses are found on ARCnet only")
	}
	src, dst := g.is(g.linkHdr, 0, 1, addr), g.is(g.linkHdr, 1, 1, addr)
	return g.directed(dir, src, dst)
}

// directed joins what is tested at the source and at the destination.
func (g *generator) directed(dir string, src, dst *cond) *cond {
	switch dir {
	case "src":
		return src
	case "dst":
		return dst
	case "and":
		return and(src, dst)
	case "", "or":
		return or(src, dst)
	}
	g.fail("%q is for addresses of 802.11 only", dir)
	return no
}

// addresses are where the station addresses of a link are; ok is false if it
// has none, or the header varies.
func (g *generator) addresses() (src, dst uint32, ok bool) {
	switch g.link {
	case EN10MB, NETANALYZER, NETANALYZER_TRANSPARENT:
		return 6, 0, true
	case FDDI:
		return 7, 1, true
	case IEEE802:
		return 8, 2, true
	case IP_OVER_FC:
		return 10, 2, true
	}
	return 0, 0, false
}

// wireless reports whether the link is 802.11.
func (g *generator) wireless() bool {
	switch g.link {
	case IEEE802_11, IEEE802_11_RADIO, IEEE802_11_AVS, PRISM, PPI:
		return true
	}
	return false
}

const whatHasStations = "on Ethernet, FDDI, Token Ring, 802.11, Fibre Channel and ATM LANE only"

// etherHost tests a station's address.
func (g *generator) etherHost(mac []byte, dir string) *cond {
	if g.wireless() {
		return g.wirelessHost(mac, dir)
	}
	src, dst, ok := g.addresses()
	if !ok {
		g.fail("station addresses are found %s", whatHasStations)
	}
	return and(g.inner, g.directed(dir, g.bytesAre(g.linkHdr, src, mac), g.bytesAre(g.linkHdr, dst, mac)))
}

var everyone = []byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}

// broadcast tests for packets to everyone.
func (g *generator) broadcast(proto string) *cond {
	switch proto {
	case "", "link":
		if g.link == ARCNET || g.link == ARCNET_LINUX {
			return g.is(g.linkHdr, 1, 1, 0)
		}
		if _, _, ok := g.addresses(); !ok && !g.wireless() {
			g.fail("this link has no broadcasts; they are seen %s", whatHasStations)
		}
		return g.etherHost(everyone, "dst")
	case "ip":
		if !g.conf.Netmask.Is4() {
			g.fail("\"ip broadcast\" needs to know the netmask")
		}
		b := g.conf.Netmask.As4()
		hosts := ^(uint32(b[0])<<24 | uint32(b[1])<<16 | uint32(b[2])<<8 | uint32(b[3]))
		dst := g.in.bin(vAnd, g.load(g.network(), 16, 4), g.in.konst(hosts))
		return and(g.linkType(etherIPv4), or(test(bpf.JmpEq, dst, g.in.konst(0)), test(bpf.JmpEq, dst, g.in.konst(hosts))))
	}
	g.fail("only \"ether broadcast\" and \"ip broadcast\" exist")
	return no
}

// multicast tests for packets to groups.
func (g *generator) multicast(proto string) *cond {
	switch proto {
	case "", "link":
		if g.link == ARCNET || g.link == ARCNET_LINUX {
			return g.is(g.linkHdr, 1, 1, 0)
		}
		if g.wireless() {
			return g.wirelessMulticast()
		}
		_, dst, ok := g.addresses()
		if !ok {
			g.fail("this link has no multicast; it is seen %s", whatHasStations)
		}
		return and(g.inner, g.bit(g.linkHdr, dst, 1, 1))
	case "ip":
		return and(g.linkType(etherIPv4), g.maskedIs(g.network(), 16, 1, 0xf0, 0xe0))
	case "ip6":
		return and(g.linkType(etherIPv6), g.is(g.network(), 24, 1, 0xff))
	}
	g.fail("only \"ether multicast\", \"ip multicast\" and \"ip6 multicast\" exist")
	return no
}

// direct tests whether a packet was sent by the machine that captured it.
func (g *generator) direct(out bool) *cond {
	flag := func(delta uint32, size uint8, in, outgoing uint32) *cond {
		if out {
			return g.is(offset{}, delta, size, outgoing)
		}
		return g.is(offset{}, delta, size, in)
	}
	switch g.conf.Link {
	case SLIP:
		return flag(0, 1, 0, 1)
	case PPP_PPPD:
		return flag(0, 1, 0, 1)
	case PFLOG:
		return flag(60, 1, 1, 2)
	case IPNET:
		return flag(2, 2, 2, 1)
	case LINUX_SLL, LINUX_SLL2: // PACKET_OUTGOING is 4
		c := g.is(offset{}, 0, 2, 4)
		if g.conf.Link == LINUX_SLL2 {
			c = g.is(offset{}, 10, 1, 4)
		}
		if !out {
			return not(c)
		}
		return c
	}
	if _, ok := juniper[g.conf.Link]; ok {
		return constantOr(out, g.maskedIs(offset{}, 3, 1, 1, 0), g.maskedIs(offset{}, 3, 1, 1, 1))
	}
	if !g.conf.Live {
		g.fail("packets of link type %d do not say which way they went", g.conf.Link)
	}
	c := g.is(offset{}, bpf.AdPktType, 2, 4)
	if !out {
		return not(c)
	}
	return c
}

func constantOr(b bool, x, y *cond) *cond {
	if b {
		return x
	}
	return y
}

// ifindex tests at which interface a packet was seen.
func (g *generator) ifindex(n uint32) *cond {
	switch {
	case g.conf.Link == LINUX_SLL2:
		return g.is(offset{}, 4, 4, n)
	case g.conf.Live:
		return g.is(offset{}, bpf.AdIfIndex, 4, n)
	}
	g.fail("packets of link type %d do not say which interface they were seen at", g.conf.Link)
	return no
}

// vlan tests for a tag, and moves the place behind it.
func (g *generator) vlan(id uint32, has bool) *cond {
	if g.labels > 0 {
		g.fail("no VLAN is found behind MPLS")
	}
	switch g.link {
	case EN10MB, NETANALYZER, NETANALYZER_TRANSPARENT, IEEE802_11, IEEE802_11_RADIO, IEEE802_11_AVS, PRISM, PPI:
	default:
		g.fail("no VLANs are found on link type %d", g.link)
	}
	live := g.conf.Live && g.tags == 0 && g.link == g.conf.Link && g.link == EN10MB && g.linkHdr.reg == nil
	var r *value
	if live {
		r = g.in.reg(g.newReg())
		g.place.linkType.reg, g.payload.reg = r, r
	}
	inBand := or(g.linkTypeRaw(etherVLAN, live), g.linkTypeRaw(etherQinQ, live), g.linkTypeRaw(etherQinQOld, live))
	if has {
		o := g.network()
		if live {
			o.reg = nil
		}
		inBand = and(inBand, g.maskedIs(o, 0, 2, 0x0fff, id))
	}
	g.tags++
	if !live {
		g.place.linkType.k += 4
		g.payload.k += 4
		return inBand
	}
	// Linux takes the outer tag out of the packet, if it was received so.
	tagged := g.is(offset{}, bpf.AdVlanTagPresent, 1, 1)
	beside := set(r.k, g.in.konst(0))
	if has {
		beside = and(beside, g.maskedIs(offset{}, bpf.AdVlanTag, 2, 0x0fff, id))
	}
	return or(and(tagged, beside), and(not(tagged), set(r.k, g.in.konst(4)), inBand))
}

// linkTypeRaw is linkType for the tag that may be beside the packet.
func (g *generator) linkTypeRaw(proto uint32, live bool) *cond {
	if live {
		return g.is(offset{k: g.place.linkType.k}, 0, 2, proto)
	}
	return g.linkType(proto)
}

// mpls tests for a label, and moves the place behind it.
func (g *generator) mpls(id uint32, has bool) *cond {
	var c *cond
	switch {
	case g.labels > 0: // the label before is not the last
		c = g.maskedIs(g.network(), 1<<32-2, 1, 1, 0)
	case g.link == PPP:
		c = g.is(g.place.linkType, 0, 2, 0x0281)
	case g.link == EN10MB || g.link == NETANALYZER || g.link == NETANALYZER_TRANSPARENT || g.link == C_HDLC:
		c = g.linkType(etherMPLS)
	default:
		g.fail("no MPLS is found on link type %d", g.link)
	}
	if has {
		c = and(c, g.maskedIs(g.network(), 0, 4, 0xfffff000, id<<12))
	}
	g.labels++
	g.nl += 4
	g.nlNoSNAP += 4
	return c
}

// mplsType looks at the payload itself, which MPLS says nothing about.
func (g *generator) mplsType(proto uint32) *cond {
	last := g.maskedIs(g.network(), 1<<32-2, 1, 1, 1)
	switch proto {
	case etherIPv4:
		return and(last, g.maskedIs(g.network(), 0, 1, 0xf0, 0x40))
	case etherIPv6:
		return and(last, g.maskedIs(g.network(), 0, 1, 0xf0, 0x60))
	}
	g.fail("behind MPLS only IPv4 and IPv6 are found")
	return no
}

// pppoes tests for a session (RFC 2516), and moves the place into its PPP.
func (g *generator) pppoes(id uint32, has bool) *cond {
	c := g.linkType(etherPPPoESession)
	if has {
		c = and(c, g.maskedIs(g.network(), 0, 4, 0xffff, id))
	}
	at := g.network().add(6)
	g.place = place{link: PPP, linkHdr: at, linkType: at, payload: at.add(2)}
	return c
}

// UDP ports of tunnels.
const (
	portGeneve = 6081
	portVXLAN  = 4789
)

// udpTunnel tests for Geneve (RFC 8926) or VXLAN (RFC 7348) in UDP, and moves
// the place to what is inside.
func (g *generator) udpTunnel(kind string, vni uint32, has bool) *cond {
	base := g.in.reg(g.newReg())
	at := offset{reg: base}
	header := func(udp offset) *cond {
		c := g.is(udp, 2, 2, portGeneve)
		if kind == "geneve" {
			c = and(c, g.maskedIs(udp, 8, 1, 0xc0, 0)) // version 0
		} else {
			c = and(g.is(udp, 2, 2, portVXLAN), g.bit(udp, 8, 1, 0x08)) // the VNI is valid
		}
		if has {
			c = and(c, g.maskedIs(udp, 12, 4, 0xffffff00, vni<<8))
		}
		return c
	}
	nl := g.network()
	udp4 := g.behindIPv4()
	v4 := and(g.linkType(etherIPv4), g.is(nl, 9, 1, protoUDP), not(g.bit(nl, 6, 2, 0x1fff)), header(udp4),
		set(base.k, g.sum(udp4.add(8))))
	udp6 := nl.add(40)
	v6 := and(g.linkType(etherIPv6), g.is(nl, 6, 1, protoUDP), header(udp6), set(base.k, g.sum(udp6.add(8))))

	if kind == "vxlan" {
		hdr := at.add(8)
		g.place = place{link: EN10MB, linkHdr: hdr, linkType: hdr.add(12), payload: hdr.add(14), nlNoSNAP: 3}
		return or(v4, v6)
	}
	typ, hdr, payload := g.in.reg(g.newReg()), g.in.reg(g.newReg()), g.in.reg(g.newReg())
	length := g.in.bin(vMul, g.in.bin(vAnd, g.load(at, 0, 1), g.in.konst(0x3f)), g.in.konst(4))
	enter := and(
		set(typ.k, g.in.bin(vAdd, base, g.in.konst(2))),
		set(hdr.k, g.in.bin(vAdd, g.in.bin(vAdd, length, g.in.konst(8)), base)),
		or(and(g.is(at, 2, 2, etherBridge), set(typ.k, g.in.bin(vAdd, hdr, g.in.konst(12))), set(payload.k, g.in.bin(vAdd, hdr, g.in.konst(14)))),
			set(payload.k, hdr)))
	g.place = place{link: EN10MB, linkHdr: offset{reg: hdr}, linkType: offset{reg: typ}, payload: offset{reg: payload}, nlNoSNAP: 3,
		inner: not(test(bpf.JmpEq, hdr, payload))}
	return and(or(v4, v6), enter)
}

// sum is an offset as a value.
func (g *generator) sum(o offset) *value {
	if o.reg == nil {
		return g.in.konst(o.k)
	}
	return g.in.bin(vAdd, o.reg, g.in.konst(o.k))
}

// behindIPv4 is where the header behind that of IPv4 begins.
func (g *generator) behindIPv4() offset {
	nl := g.network()
	if nl.reg == nil {
		return offset{reg: g.in.hdr(nl.k), k: nl.k}
	}
	n := g.in.bin(vLsh, g.in.bin(vAnd, g.load(nl, 0, 1), g.in.konst(15)), g.in.konst(2))
	return offset{reg: g.in.bin(vAdd, n, nl.reg), k: nl.k}
}
