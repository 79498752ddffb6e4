package expr

import (
	"strconv"
	"strings"

	"github.com/towpath/towpath/capture/bpf"
)

// Protocols above IP.
const (
	protoICMP     = 1
	protoIGMP     = 2
	protoTCP      = 6
	protoIGRP     = 9
	protoUDP      = 17
	protoFragment = 44
	protoESP      = 50
	protoAH       = 51
	protoICMPv6   = 58
	protoPIM      = 103
	protoVRRP     = 112 // and CARP
	protoSCTP     = 132
)

// linkProtocols are the keywords that are protocols of the link.
var linkProtocols = map[string]uint32{
	"ip": etherIPv4, "ip6": etherIPv6, "arp": etherARP, "rarp": etherRARP, "atalk": etherAppleTalk, "aarp": etherAARP,
	"decnet": etherDECnet, "sca": etherSCA, "lat": etherLAT, "mopdl": etherMOPDL, "moprc": etherMOPRC,
	"iso": sapISO, "stp": sapSTP, "ipx": sapIPX, "netbeui": sapNetBEUI,
}

// ipProtocols are the keywords that are protocols of IP, and of which versions.
var ipProtocols = map[string]struct {
	number uint32
	v4, v6 bool
}{
	"tcp": {protoTCP, true, true}, "udp": {protoUDP, true, true}, "sctp": {protoSCTP, true, true},
	"pim": {protoPIM, true, true}, "ah": {protoAH, true, true}, "esp": {protoESP, true, true},
	"icmp": {protoICMP, true, false}, "igmp": {protoIGMP, true, false}, "igrp": {protoIGRP, true, false},
	"vrrp": {protoVRRP, true, false}, "carp": {protoVRRP, true, false}, "icmp6": {protoICMPv6, false, true},
}

// osiProtocols are the network layer's identifiers of ISO/IEC TR 9577.
var osiProtocols = map[string]uint32{"clnp": 0x81, "esis": 0x82, "isis": 0x83}

// isisTypes are the keywords that are types of packets of IS-IS (ISO 10589).
var isisTypes = map[string][]uint32{
	"l1": {26, 24, 18, 15, 17}, "l2": {27, 25, 20, 16, 17}, "iih": {17, 15, 16}, "lsp": {18, 20},
	"snp": {27, 26, 24, 25}, "csnp": {24, 25}, "psnp": {26, 27},
}

// abbreviation tests for a protocol.
func (g *generator) abbreviation(w string) *cond {
	if p, ok := linkProtocols[w]; ok {
		if g.conf.Modern {
			return g.modernLink(p)
		}
		return g.linkType(p)
	}
	if p, ok := ipProtocols[w]; ok {
		return g.ipProto(p.number, p.v4, p.v6)
	}
	if id, ok := osiProtocols[w]; ok {
		return g.osiProto(id)
	}
	var list []*cond
	for _, t := range isisTypes[w] {
		list = append(list, g.isisType(t))
	}
	if list == nil {
		g.fail("%q is no primitive", w)
	}
	return or(list...)
}

// ipProto tests for a protocol in IPv4, IPv6 or both; in IPv6 also behind a
// fragment header.
func (g *generator) ipProto(n uint32, v4, v6 bool) *cond {
	if g.conf.Modern {
		return g.modernProto(n, v4, v6)
	}
	var c4, c6 *cond
	nl := g.network()
	if v4 {
		c4 = and(g.linkType(etherIPv4), g.is(nl, 9, 1, n))
	}
	if v6 {
		c6 = and(g.linkType(etherIPv6),
			or(g.is(nl, 6, 1, n), and(g.is(nl, 6, 1, protoFragment), g.is(nl, 40, 1, n))))
	}
	return or(c4, c6)
}

// osiProto tests for a protocol of OSI.
func (g *generator) osiProto(id uint32) *cond {
	switch g.link {
	case FRELAY: // the identifier is the link's own
		return g.is(g.linkHdr, 2, 2, 3<<8|id)
	case C_HDLC: // a byte of padding is before it
		return and(g.linkType(sapISO), g.is(g.payload, 1, 1, id))
	}
	return and(g.linkType(sapISO), g.is(g.payload, g.nlNoSNAP, 1, id))
}

func (g *generator) isisType(t uint32) *cond {
	return and(g.osiProto(osiProtocols["isis"]), g.is(g.payload, g.nlNoSNAP+4, 1, t))
}

// proto is "proto N" behind a protocol.
func (g *generator) proto(n uint32, q qualifiers) *cond {
	if q.dir != "" {
		g.fail("a protocol has no direction")
	}
	limit := uint32(255)
	if q.proto == "link" {
		limit = 65535
	}
	if n > limit {
		g.fail("a protocol's number is at most %d here", limit)
	}
	switch q.proto {
	case "":
		return g.ipProto(n, true, true)
	case "ip":
		return g.ipProto(n, true, false)
	case "ip6":
		return g.ipProto(n, false, true)
	case "link":
		return g.linkType(n)
	case "iso":
		return g.osiProto(n)
	case "isis":
		return g.isisType(n)
	}
	g.fail("%q has no protocols above it that are known here", q.proto)
	return no
}

// protochain searches a protocol behind the headers that say what follows.
func (g *generator) protochain(n uint32, q qualifiers) *cond {
	if n > 255 {
		g.fail("a protocol's number is at most 255 here")
	}
	if q.proto != "" && q.proto != "ip" && q.proto != "ip6" {
		g.fail("only IPv4 and IPv6 have chains of protocols")
	}
	var c4, c6 *cond
	if q.proto != "ip6" {
		c4 = and(g.linkType(etherIPv4), &cond{op: cChain, far: &chain{g.network(), false, n}})
	}
	if q.proto != "ip" {
		c6 = and(g.linkType(etherIPv6), &cond{op: cChain, far: &chain{g.network(), true, n}})
	}
	return or(c4, c6)
}

// host tests IPv4 addresses, or those of the protocols that carry them. A bare
// host or network may be in IPv4, ARP and RARP.
func (g *generator) host(v, mask uint32, q qualifiers) *cond {
	one := func(proto uint32, src, dst uint32) *cond {
		switch {
		case g.conf.Modern && proto == etherIPv4:
			return g.modernHost4(v, mask, q.dir)
		case g.conf.Modern:
			return g.modernARP(proto, v, mask, q.dir)
		}
		at := g.network()
		field := func(delta uint32) *cond {
			return and(g.linkType(proto), g.maskedIs(at, delta, 4, mask, v))
		}
		return g.directed(q.dir, field(src), field(dst))
	}
	ip := func() *cond { return one(etherIPv4, 12, 16) }
	arp := func() *cond { return one(etherARP, 14, 24) }
	rarp := func() *cond { return one(etherRARP, 14, 24) }
	switch q.proto {
	case "":
		if g.labels > 0 {
			return ip()
		}
		return or(ip(), arp(), rarp())
	case "ip":
		return ip()
	case "arp":
		return arp()
	case "rarp":
		return rarp()
	case "decnet":
		g.fail("an address of DECnet is two numbers, like 10.15")
	}
	g.fail("%q has no IPv4 addresses", q.proto)
	return no
}

// host6 tests n bits of IPv6 addresses.
func (g *generator) host6(addr [16]byte, n int, q qualifiers) *cond {
	if q.proto != "" && q.proto != "ip6" {
		g.fail("%q has no IPv6 addresses", q.proto)
	}
	if q.kind == "net" {
		for i := n; i < 128; i++ {
			if addr[i/8]>>(7-i%8)&1 != 0 {
				g.fail("the network has bits set behind the first %d", n)
			}
		}
	}
	if g.conf.Modern {
		return g.modernHost6(addr, n, q.dir)
	}
	field := func(delta uint32) *cond {
		return and(g.linkType(etherIPv6), g.addr6(g.network().add(delta), addr, n))
	}
	return g.directed(q.dir, field(8), field(24))
}

// addr6 tests the n bits of an address at o.
func (g *generator) addr6(o offset, addr [16]byte, n int) *cond {
	var list []*cond
	for i := 0; i < 4; i++ {
		v := uint32(addr[4*i])<<24 | uint32(addr[4*i+1])<<16 | uint32(addr[4*i+2])<<8 | uint32(addr[4*i+3])
		list = append(list, g.maskedIs(o, uint32(4*i), 4, mask(min(32, max(0, n-32*i))), v))
	}
	return and(list...)
}

// numbered generates what q means with a number: n as written, and as an
// address v with its mask.
func (g *generator) numbered(q qualifiers, n, v, mask uint32) *cond {
	switch q.kind {
	case "", "host", "net":
		switch q.proto {
		case "link":
			g.fail("%q needs a station address", "ether")
		case "decnet":
			return g.decnet(n, mask, q.dir)
		}
		return g.host(v, mask, q)
	case "port":
		return g.ports(n, n, q, false)
	case "portrange":
		return g.ports(n, n, q, true)
	case "proto":
		return g.proto(n, q)
	case "protochain":
		return g.protochain(n, q)
	}
	g.fail("a gateway is a name")
	return no
}

// transports are the protocols with ports, in the order of tests.
var transports = []struct {
	name   string
	number uint32
}{{"sctp", protoSCTP}, {"tcp", protoTCP}, {"udp", protoUDP}}

// ports tests for ports from lo to hi.
func (g *generator) ports(lo, hi uint32, q qualifiers, isRange bool) *cond {
	if lo > hi {
		lo, hi = hi, lo
	}
	if hi > 65535 {
		g.fail("a port is at most 65535")
	}
	var protos []uint32
	for _, t := range transports {
		if q.proto == "" || q.proto == t.name {
			protos = append(protos, t.number)
		}
	}
	if protos == nil {
		g.fail("%q has no ports; only tcp, udp and sctp have", q.proto)
	}
	number := func(at offset, delta uint32) *cond {
		v := g.load(at, delta, 2)
		if isRange {
			return and(test(bpf.JmpGe, v, g.in.konst(lo)), not(test(bpf.JmpGt, v, g.in.konst(hi))))
		}
		return test(bpf.JmpEq, v, g.in.konst(lo))
	}
	if g.conf.Modern {
		return g.modernPorts(protos, func(at offset) *cond {
			return g.directed(q.dir, number(at, 0), number(at, 2))
		})
	}
	nl := g.network()
	var v6, v4 []*cond
	for _, p := range protos {
		at := nl.add(40)
		v6 = append(v6, and(g.is(nl, 6, 1, p), g.directed(q.dir, number(at, 0), number(at, 2))))
		at = g.behindIPv4()
		v4 = append(v4, and(g.is(nl, 9, 1, p), g.first(), g.directed(q.dir, number(at, 0), number(at, 2))))
	}
	return or(and(g.linkType(etherIPv6), or(v6...)), and(g.linkType(etherIPv4), or(v4...)))
}

// first tests that an IPv4 packet is whole or a first fragment.
func (g *generator) first() *cond { return not(g.bit(g.network(), 6, 2, 0x1fff)) }

// access is proto[index:size].
func (g *generator) access(t token, index arith, size uint8) arith {
	at := func(o offset) *value {
		i := index.v
		if o.reg != nil {
			i = g.in.bin(vAdd, i, o.reg)
		}
		return g.in.load(size, o.k, i)
	}
	if p, ok := linkProtocols[t.text]; ok {
		switch t.text {
		case "aarp", "iso", "stp", "ipx", "netbeui":
		default:
			if g.conf.Modern && (t.text == "ip" || t.text == "ip6") {
				return g.modernAccess(t.text, index, size)
			}
			return arith{at(g.network()), and(g.linkType(p), index.need)}
		}
	}
	if p, ok := ipProtocols[t.text]; ok && t.text != "ah" && t.text != "esp" {
		if g.conf.Modern {
			return g.modernAccess(t.text, index, size)
		}
		if t.text == "icmp6" {
			return arith{at(g.network().add(40)), and(g.linkType(etherIPv6), g.is(g.network(), 6, 1, p.number), index.need)}
		}
		o := g.behindIPv4()
		return arith{at(o), and(g.linkType(etherIPv4), index.need, g.ipProto(p.number, p.v4, p.v6), g.first())}
	}
	switch t.text {
	case "link":
		return arith{at(g.linkHdr), index.need}
	case "radio":
		switch g.conf.Link {
		case IEEE802_11_RADIO, IEEE802_11_AVS, PRISM:
			return arith{at(offset{}), index.need}
		}
		g.fail("packets of link type %d have no radio header", g.conf.Link)
	}
	g.fail("%q cannot be indexed", t.text)
	return arith{}
}

// named generates what q means with a name.
func (g *generator) named(q qualifiers, name string) *cond {
	names := g.conf.Names
	switch q.kind {
	case "net":
		n, ok := names.Network(name)
		if !ok {
			g.fail("the network %q is not known", name)
		}
		return g.host(n<<(32-numBits(n)), mask(32), q)
	case "", "host":
		switch q.proto {
		case "link":
			m, ok := names.Ether(name)
			if !ok || len(m) != 6 {
				g.fail("the station %q is not known", name)
			}
			return g.etherHost(m, q.dir)
		case "decnet":
			g.fail("hosts of DECnet have no names here")
		}
		return g.hostNamed(q, name)
	case "port":
		return g.portNamed(q, name)
	case "portrange":
		lo, hi, ok := strings.Cut(name, "-")
		if !ok {
			q, n := g.service(q, name)
			return g.ports(n, n, q, true)
		}
		q, from := g.service(q, lo)
		q, to := g.service(q, hi)
		return g.ports(from, to, q, true)
	case "gateway":
		return g.gateway(q, name)
	case "proto", "protochain":
		return g.protoNamed(q, name)
	}
	g.fail("a %s has no name", q.kind)
	return no
}

// hostNamed tests the addresses of a host.
func (g *generator) hostNamed(q qualifiers, name string) *cond {
	var list []*cond
	for _, a := range g.conf.Names.Host(name) {
		switch {
		case a.Is4() && q.proto != "ip6":
			b := a.As4()
			list = append(list, g.host(uint32(b[0])<<24|uint32(b[1])<<16|uint32(b[2])<<8|uint32(b[3]), mask(32), q))
		case a.Is6() && (q.proto == "" || q.proto == "ip6"):
			list = append(list, g.host6(a.As16(), 128, q))
		}
	}
	if list == nil {
		g.fail("the host %q is not known; names are not looked up in the DNS", name)
	}
	return or(list...)
}

// service finds a port by a service's name. Where both TCP and UDP have it, q
// stays as it is; else it gets the protocol.
func (g *generator) service(q qualifiers, name string) (qualifiers, uint32) {
	if n, err := strconv.ParseUint(name, 10, 16); err == nil {
		return q, uint32(n)
	}
	find := func(proto string) (uint32, bool) {
		n, ok := g.conf.Names.Service(name, proto)
		return uint32(n), ok
	}
	if q.proto != "" {
		if n, ok := find(q.proto); ok {
			return q, n
		}
		g.fail("the service %q of %s is not known", name, q.proto)
	}
	t, tcp := find("tcp")
	u, udp := find("udp")
	s, sctp := find("sctp")
	switch {
	case tcp && udp && t == u:
		return q, t
	case tcp:
		q.proto = "tcp"
		return q, t
	case udp:
		q.proto = "udp"
		return q, u
	case sctp:
		q.proto = "sctp"
		return q, s
	}
	g.fail("the service %q is not known", name)
	return q, 0
}

func (g *generator) portNamed(q qualifiers, name string) *cond {
	q, n := g.service(q, name)
	return g.ports(n, n, q, false)
}

// gateway tests that a host's station sends or receives what is neither from
// nor to the host itself.
func (g *generator) gateway(q qualifiers, name string) *cond {
	switch q.proto {
	case "", "ip", "arp", "rarp":
	default:
		g.fail("a gateway is one of ip, arp or rarp")
	}
	if q.dir != "" {
		g.fail("a gateway has no direction")
	}
	m, ok := g.conf.Names.Ether(name)
	if !ok || len(m) != 6 {
		g.fail("the station of gateway %q is not known", name)
	}
	return and(g.etherHost(m, ""), not(g.hostNamed(q, name)))
}

// etherNames are names for EtherTypes and SAPs that are no keywords, or differ.
var etherNames = map[string]uint32{"loopback": 0x9000, "lldp": 0x88cc, "slow": 0x8809}

// protoNamed is "proto \name".
func (g *generator) protoNamed(q qualifiers, name string) *cond {
	switch q.proto {
	case "link":
		n, ok := linkProtocols[name]
		if !ok {
			n, ok = etherNames[name]
		}
		if !ok || q.kind == "protochain" {
			g.fail("the protocol %q of the link is not known", name)
		}
		return g.proto(n, q)
	case "iso":
		n, ok := osiProtocols[name]
		if !ok {
			g.fail("the protocol %q of OSI is not known", name)
		}
		return g.proto(n, q)
	}
	n, ok := g.conf.Names.Protocol(name)
	if !ok {
		g.fail("the protocol %q is not known", name)
	}
	if q.kind == "protochain" {
		return g.protochain(uint32(n), q)
	}
	return g.proto(uint32(n), q)
}

// decnet tests an address of DECnet Phase IV: area and node, little-endian in
// headers that are long or short, and padded or not.
func (g *generator) decnet(v, bitmask uint32, dir string) *cond {
	if bitmask != mask(16) {
		g.fail("an address of DECnet is two numbers, like 10.15")
	}
	area, node := v>>24, v>>16&255
	if area > 63 {
		g.fail("an area of DECnet is at most 63")
	}
	addr := area<<10 | node
	addr = addr&255<<8 | addr>>8
	nl := g.network()
	forms := func(short, long uint32) *cond {
		return or(
			and(g.maskedIs(nl, 2, 1, 7, 2), g.is(nl, short, 2, addr)),
			and(g.maskedIs(nl, 2, 2, 0xff07, 0x8102), g.is(nl, short+1, 2, addr)),
			and(g.maskedIs(nl, 2, 1, 7, 6), g.is(nl, long, 2, addr)),
			and(g.maskedIs(nl, 2, 2, 0xff07, 0x8106), g.is(nl, long+1, 2, addr)))
	}
	src := and(g.linkType(etherDECnet), forms(5, 17))
	dst := and(g.linkType(etherDECnet), forms(3, 9))
	return g.directed(dir, src, dst)
}

// llcForms are the control fields of LLC (IEEE 802.2) and their masks.
var llcForms = map[string]struct{ mask, v uint32 }{
	"i": {1, 0}, "s": {3, 1}, "u": {3, 3}, "rr": {15, 1}, "rnr": {15, 5}, "rej": {15, 9},
	"ui": {0xef, 0x03}, "ua": {0xef, 0x63}, "disc": {0xef, 0x43}, "dm": {0xef, 0x0f}, "sabme": {0xef, 0x6f},
	"test": {0xef, 0xe3}, "xid": {0xef, 0xaf}, "frmr": {0xef, 0x87},
}

// llcPrimitive reads what may follow "llc".
func (p *parser) llcPrimitive() *cond {
	c := p.llc()
	t := p.peek()
	if t.kind != tName && (t.kind != tWord || t.text != "rnr") {
		return c
	}
	f, ok := llcForms[t.text]
	if !ok {
		p.unexpected("a kind of LLC frame: i s u rr rnr rej ui ua disc dm sabme test xid or frmr")
	}
	p.at++
	if f.mask == 1 {
		return and(c, not(p.bit(p.payload, 2, 1, 1)))
	}
	return and(c, p.maskedIs(p.payload, 2, 1, f.mask, f.v))
}

// llc tests whether the payload begins with LLC.
func (g *generator) llc() *cond {
	switch g.link {
	case EN10MB, NETANALYZER, NETANALYZER_TRANSPARENT:
		field := g.place.linkType
		return and(not(test(bpf.JmpGt, g.load(field, 0, 2), g.in.konst(etherMax802_3))), not(g.is(field, 2, 2, llcSAPs)))
	case FDDI, IEEE802, ATM_RFC1483, ATM_CLIP:
		return yes
	case SUNATM:
		return g.atmLLC()
	case IEEE802_11, IEEE802_11_RADIO, IEEE802_11_AVS, PRISM, PPI:
		return g.dataFrame()
	}
	g.fail("link type %d has no LLC", g.link)
	return no
}
