package dissect

import (
	"bytes"

	"github.com/towpath/towpath/wire"
)

// depthMax bounds how many headers inside others are printed.
const depthMax = 16

// link prints a packet from its first header on and returns how long the link
// header is, for dumps without it.
func (t *text) link(pkt *Packet) (head int) {
	b, n := pkt.Data, pkt.Length
	if n < len(b) {
		n = len(b)
	}
	switch pkt.Link {
	case wire.LinkEthernet:
		return t.ethernet(b, n)
	case wire.LinkRaw, linkRaw12, linkRaw14, wire.LinkIPv4, wire.LinkIPv6:
		t.raw(b, n)
	case linkNull, linkLoop:
		return t.null(b, n, pkt.Link == linkLoop)
	case linkSLL:
		return t.sll(b, n)
	case linkSLL2:
		return t.sll2(b, n)
	default:
		t.str("unsupported link type ").num(int(pkt.Link)).str(", length ").num(n)
	}
	return 0
}

// Link types beside wire's.
const (
	linkNull  wire.LinkType = 0
	linkRaw12 wire.LinkType = 12
	linkRaw14 wire.LinkType = 14
	linkLoop  wire.LinkType = 108
	linkSLL   wire.LinkType = 113
	linkSLL2  wire.LinkType = 276
)

func (t *text) raw(b []byte, n int) {
	t.proto = "raw"
	if t.p.LinkHeader {
		t.str("ip: ")
	}
	if len(b) == 0 {
		t.trunc()
		return
	}
	t.ipAny(b, n)
}

// ipAny prints a packet of the version that its first bits tell.
func (t *text) ipAny(b []byte, n int) {
	switch t.u8(b, 0) >> 4 {
	case 4:
		t.ipv4(b, n)
	case 6:
		t.ipv6(b, n)
	default:
		t.str("unknown ip ").num(int(t.u8(b, 0) >> 4))
	}
}

func (t *text) null(b []byte, n int, big bool) int {
	t.proto = "null"
	family := t.be32(b, 0)
	if !big && family&0xffff0000 != 0 {
		family = family>>24 | family>>8&0xff00 | family<<8&0xff0000 | family<<24
	}
	var typ wire.EtherType
	switch family {
	case 2:
		typ = wire.EtherTypeIPv4
	case 10, 24, 28, 30:
		typ = wire.EtherTypeIPv6
	}
	if t.p.LinkHeader {
		name := map[uint32]string{2: "IPv4", 24: "IPv6", 28: "IPv6", 30: "IPv6", 7: "OSI", 16: "AppleTalk", 23: "IPX"}[family]
		if name == "" {
			name = "Unknown"
		}
		if t.p.Quiet {
			t.str(name)
		} else {
			t.str("AF ").str(name).str(" (").u32(family).str(")")
		}
		t.str(", length ").num(n).str(": ")
	}
	if t.cut {
		return 4
	}
	if typ == 0 {
		if !t.p.LinkHeader {
			t.str("AF Unknown (").u32(family).str("), length ").num(n).str(": ")
		}
		t.unknown(skip(b, 4), n-4)
		return 4
	}
	t.etherPayload(skip(b, 4), n-4, typ)
	return 4
}

// etherTypes are the names that tcpdump prints, where they are not wire's.
var etherTypes = []name{
	{0x0800, "IPv4"}, {0x86dd, "IPv6"}, {0x8100, "802.1Q"}, {0x88a8, "802.1Q-QinQ"}, {0x9100, "802.1Q-9100"},
	{0x9200, "802.1Q-9200"}, {0x0806, "ARP"}, {0x8035, "Reverse ARP"}, {0x880b, "PPP"}, {0x8847, "MPLS unicast"},
	{0x8848, "MPLS multicast"}, {0x8863, "PPPoE D"}, {0x8864, "PPPoE S"}, {0x888e, "EAPOL"}, {0x8899, "RRCP"},
	{0x9000, "Loopback"}, {0x8906, "FCoE"}, {0x88cc, "LLDP"}, {0x6558, "TEB"}, {0x8808, "MPCP"}, {0x8809, "Slow Protocols"},
	{0x88e7, "I-TAG"}, {0x894f, "NSH"}, {0x88f7, "PTPv2"}, {0x8902, "CFM"}, {0x88e5, "MACsec"}, {0x0600, "NS"},
	{0x0500, "Sprite"}, {0x0200, "PUP"}, {0x6001, "MOPDL"}, {0x6002, "MOPRC"}, {0x6003, "DN"}, {0x6004, "LAT"},
	{0x6007, "SCA"}, {0x809b, "Appletalk"}, {0x80f3, "Appletalk ARP"}, {0x8137, "IPX"}, {0x88be, "GREBONDING"},
	{0x876b, "TCP/IP Compression"}, {0x00fe, "OSI"}, {0x22f3, "TRILL"}, {0x22f4, "L2-IS-IS"}, {0x8738, "MS NLB heartbeat"},
	{0x88a2, "AoE"}, {0x8912, "MEDSA"}, {0x892f, "HSR"},
}

func etherTypeName(typ wire.EtherType) string {
	for _, e := range etherTypes {
		if e.n == int(typ) {
			return e.s
		}
	}
	return "Unknown"
}

func (t *text) ethernet(b []byte, n int) int {
	t.proto = "ether"
	if n < wire.EthernetLen || !t.has(b, wire.EthernetLen) {
		if !t.cut {
			t.trunc()
		}
		return len(b)
	}
	h := wire.Ethernet(b)
	typ := h.Type()
	if t.p.LinkHeader {
		t.mac(h.Src()).str(" > ").mac(h.Dst())
		t.etherHeader(typ, n)
	}
	head := wire.EthernetLen
	b, n = b[head:], n-head
	return head + t.tagged(b, n, typ, h)
}

// etherHeader prints what -e tells of a type and a length.
func (t *text) etherHeader(typ wire.EtherType, n int) {
	switch {
	case typ.IsLength():
		t.str(", 802.3, length ").num(min(int(typ), n-wire.EthernetLen)).str(": ")
	case t.p.Quiet:
		t.str(", ").str(etherTypeName(typ))
		if !knownEtherType(typ) {
			t.str(" Ethertype (0x").hexN(uint64(typ), 4).str(")")
		}
		t.str(", length ").num(n).str(": ")
	default:
		t.str(", ethertype ").str(etherTypeName(typ)).str(" (0x").hexN(uint64(typ), 4).str("), length ").num(n).str(": ")
	}
}

// tagged prints what follows an Ethernet header, through VLAN tags, and returns
// how long those are.
func (t *text) tagged(b []byte, n int, typ wire.EtherType, h wire.Ethernet) (head int) {
	for tags := 0; ; tags++ {
		switch typ {
		case wire.EtherTypeVLAN, wire.EtherTypeQinQ, 0x9100, 0x9200:
			t.proto = "vlan"
			if n < 4 || tags > depthMax {
				t.trunc()
				return head
			}
			tag := t.u16(b, 0)
			inner := wire.EtherType(t.u16(b, 2))
			if t.cut {
				return head
			}
			if t.p.LinkHeader {
				t.vlanTag(tag)
				t.str(", ")
				if inner.IsLength() {
					t.str("802.3, length ").num(int(inner)).str(": ")
				} else {
					t.str("ethertype ").str(etherTypeName(inner)).str(" (0x").hexN(uint64(inner), 4).str("), ")
				}
			}
			typ, b, n, head = inner, b[4:], n-4, head+4
			continue
		}
		break
	}
	if typ.IsLength() {
		return head + t.llc(b, min(n, int(typ)), h)
	}
	if !t.p.LinkHeader && h != nil && !knownEtherType(typ) {
		t.mac(h.Src()).str(" > ").mac(h.Dst())
		t.etherHeader(typ, n+head+wire.EthernetLen)
		t.unknown(b, n)
		return head
	}
	t.etherPayload(b, n, typ)
	return head
}

// knownEtherType reports whether etherPayload knows how to print a protocol.
func knownEtherType(typ wire.EtherType) bool {
	switch typ {
	case wire.EtherTypeIPv4, wire.EtherTypeIPv6, wire.EtherTypeARP, 0x8035, 0x6558, 0x8847, 0x8848, 0x8863, 0x8864:
		return true
	}
	return false
}

func (t *text) vlanTag(tag uint16) {
	t.str("vlan ").num(int(tag & 0xfff)).str(", p ").num(int(tag >> 13))
	if tag&0x1000 != 0 {
		t.str(", DEI")
	}
}

// etherPayload prints what an EtherType announces.
func (t *text) etherPayload(b []byte, n int, typ wire.EtherType) {
	if t.depth++; t.depth > depthMax {
		t.str(" (more headers)")
		t.cut = true
		return
	}
	switch typ {
	case wire.EtherTypeIPv4:
		t.ipv4(b, n)
	case wire.EtherTypeIPv6:
		t.ipv6(b, n)
	case wire.EtherTypeARP, 0x8035:
		t.arp(b, n, typ == 0x8035)
	case 0x6558:
		t.ethernet(b, n)
	case 0x8847, 0x8848:
		t.mpls(b, n)
	case 0x8863, 0x8864:
		t.pppoe(b, n)
	default:
		if !t.p.LinkHeader {
			t.str("ethertype ").str(etherTypeName(typ)).str(" (0x").hexN(uint64(typ), 4).str("), length ").num(n).str(": ")
		}
		t.unknown(b, n)
	}
}

// unknown prints the bytes of a protocol that is not known.
func (t *text) unknown(b []byte, n int) {
	if d := t.p.Dump; !t.p.Quiet && (d == DumpNone || d >= DumpText) {
		t.defaultDump(b, n)
	}
}

func (t *text) defaultDump(b []byte, n int) {
	if t.cut {
		return
	}
	t.b = append(t.b, '\n')
	t.b = appendHex(t.b, limit(b, n), true)
	t.b = t.b[:len(t.b)-1] // the line feed follows
}

func (t *text) llc(b []byte, n int, h wire.Ethernet) (head int) {
	t.proto = "llc"
	dsap, ssap := t.u8(b, 0), t.u8(b, 1)
	control := t.u8(b, 2)
	if t.cut {
		return 0
	}
	if dsap == 0x42 && ssap == 0x42 && control == 3 {
		if t.p.LinkHeader {
			t.str("LLC, dsap STP (0x42) Individual, ssap STP (0x42) Command, ctrl 0x03: ")
		}
		t.stp(skip(b, 3), n-3)
		return 3
	}
	if dsap == 0xaa && ssap == 0xaa && control == 3 {
		t.proto = "snap"
		oui, typ := t.u24(b, 3), wire.EtherType(t.u16(b, 6))
		if t.cut {
			return
		}
		if t.p.LinkHeader {
			t.str("LLC, dsap SNAP (0xaa) Individual, ssap SNAP (0xaa) Command, ctrl 0x03: ")
			t.str("oui ").lookup([]name{{0, "Ethernet"}, {0xc, "Cisco"}, {0xf8, "Cisco bridged"}}, int(oui), "Unknown").str(" (0x").hexN(uint64(oui), 6).str("), ")
			if oui == 0 {
				t.str("ethertype ").str(etherTypeName(typ)).str(" (0x").hexN(uint64(typ), 4).str("), length ").num(n - 8).str(": ")
			} else {
				t.str("pid Unknown (0x").hexN(uint64(typ), 4).str("), length ").num(n - 8).str(": ")
			}
		}
		if oui == 0 {
			t.etherPayload(skip(b, 8), n-8, typ)
			return 8
		}
		t.unknown(skip(b, 8), n-8)
		return 8
	}
	if !t.p.LinkHeader {
		if h != nil {
			t.mac(h.Src()).str(" > ").mac(h.Dst()).str(" ")
		}
		t.str("Unknown DSAP 0x").hexN(uint64(dsap), 2).str(" ")
	} else {
		t.str("LLC, dsap Unknown (0x").hexN(uint64(dsap), 2).str(") Individual, ssap Unknown (0x").hexN(uint64(ssap), 2).str(") Command, ctrl 0x").hexN(uint64(control), 2).str(": ")
	}
	if control == 3 {
		t.str("Unnumbered, ui, Flags [Command], length ").num(n)
	} else {
		t.str("ctrl 0x").hexN(uint64(control), 2).str(", length ").num(n)
	}
	t.unknown(b, n)
	return 3
}

// arpOps are the operations by number.
var arpOps = []name{
	{1, "Request"}, {2, "Reply"}, {3, "Reverse Request"}, {4, "Reverse Reply"}, {8, "Inverse Request"}, {9, "Inverse Reply"}, {10, "NACK Reply"},
}

func (t *text) arp(b []byte, n int, reverse bool) {
	t.proto = "arp"
	hrd, pro := t.u16(b, 0), t.u16(b, 2)
	hln, pln := int(t.u8(b, 4)), int(t.u8(b, 5))
	op := t.u16(b, 6)
	size := 8 + 2*hln + 2*pln
	if !t.has(b, size) {
		return
	}
	if !t.p.LinkHeader {
		if reverse {
			t.str("RARP, ")
		} else {
			t.str("ARP, ")
		}
	}
	if pro != 0x800 && pro != 0x600 || pln != 4 || hln == 0 || t.p.Verbose > 0 {
		t.lookup([]name{{1, "Ethernet"}, {6, "TokenRing"}, {7, "ArcNet"}, {15, "FrameRelay"}, {17, "Strip"}, {24, "IEEE 1394"}, {32, "Infiniband"}}, int(hrd), "Unknown Hardware (%)")
		t.str(" (len ").num(hln).str("), ")
		t.lookup([]name{{0x800, "IPv4"}, {0x600, "IPv4"}}, int(pro), "Unknown Protocol (0x").trailHex(pro, pro != 0x800 && pro != 0x600)
		t.str(" (len ").num(pln).str(")")
		if t.p.Verbose == 0 {
			t.str(", length ").num(n)
			return
		}
		t.str(", ")
	}
	t.lookup(arpOps, int(op), "Unknown (%)").str(" ")
	// Addresses of other protocols, and of other than six bytes, are not printed.
	ip := func(at int) *text {
		switch {
		case pro != 0x800 && pro != 0x600:
			return t.str("<wrong proto type>")
		case pln != 4:
			return t.str("<wrong len>")
		}
		return t.ip(t.addr4(b, at))
	}
	mac := func(at int) *text {
		for i, c := range b[at : at+hln] {
			if i > 0 {
				t.byte(':')
			}
			t.hexN(uint64(c), 2)
		}
		return t
	}
	sha, spa, tha, tpa := 8, 8+hln, 8+hln+pln, 8+2*hln+pln
	switch op {
	case 1:
		t.str("who-has ")
		ip(tpa)
		switch target := b[tha:tpa]; {
		case bytes.Count(target, []byte{0}) == hln:
		case hln == 6 && wire.MAC(target) == wire.Broadcast:
			t.str(" (Broadcast)")
		default:
			t.str(" (")
			mac(tha).str(")")
		}
		t.str(" tell ")
		ip(spa)
	case 2:
		ip(spa).str(" is-at ")
		mac(sha)
	case 3:
		t.str("who-is ")
		mac(tha).str(" tell ")
		mac(sha)
	case 4:
		mac(tha).str(" at ")
		ip(tpa)
	case 8:
		t.str("who-is ")
		mac(tha).str(" tell ")
		mac(sha)
	case 9:
		mac(sha).str(" at ")
		ip(spa)
	default:
		t.defaultDump(b, n)
		return
	}
	t.str(", length ").num(n)
}

func (t *text) trailHex(n uint16, show bool) *text {
	if show {
		t.hexN(uint64(n), 4).str(")")
	}
	return t
}

func (t *text) sll(b []byte, n int) int {
	t.proto = "linux_sll"
	const head = 16
	kind, alen := t.u16(b, 0), int(t.u16(b, 4))
	typ := wire.EtherType(t.u16(b, 14))
	if t.cut {
		return len(b)
	}
	t.sllType(kind, "")
	if t.p.LinkHeader {
		if alen == 6 {
			t.mac(wire.MAC(b[6:12])).byte(' ')
		}
		if !t.p.Quiet {
			t.str("ethertype ").str(etherTypeName(typ)).str(" (0x").hexN(uint64(typ), 4).str(")")
		} else {
			t.str(etherTypeName(typ))
		}
		t.str(", length ").num(n).str(": ")
	}
	t.sllPayload(b[head:], n-head, typ)
	return head
}

func (t *text) sllType(kind uint16, space string) {
	if t.p.LinkHeader {
		t.str(space)
		for i, s := range []string{" In", "  B", "  M", "  P", "Out"} {
			if int(kind) == i {
				t.str(s).byte(' ')
				return
			}
		}
		t.str("  ? ")
	}
}

func (t *text) sllPayload(b []byte, n int, typ wire.EtherType) {
	switch {
	case typ == wire.EtherTypeVLAN:
		t.tagged(b, n, typ, nil)
	case typ.IsLength():
		t.unknown(b, n)
	default:
		t.etherPayload(b, n, typ)
	}
}

func (t *text) sll2(b []byte, n int) int {
	t.proto = "linux_sll2"
	const head = 20
	typ := wire.EtherType(t.u16(b, 0))
	index, kind, alen := t.be32(b, 4), t.u8(b, 10), int(t.u8(b, 11))
	if !t.has(b, head) {
		return len(b)
	}
	named := t.iface(index)
	if t.p.LinkHeader && kind > 4 {
		t.str("?   ")
	}
	for i, s := range []string{"In  ", "B   ", "M   ", "P   ", "Out "} {
		if int(kind) == i {
			t.str(s)
		}
	}
	if t.p.LinkHeader {
		if named {
			t.str("ifindex ").u32(index).byte(' ')
		}
		if alen == 6 {
			t.mac(wire.MAC(b[12:18])).byte(' ')
		}
		t.str("ethertype ").str(etherTypeName(typ)).str(" (0x").hexN(uint64(typ), 4).str("), length ").num(n).str(": ")
	}
	t.sllPayload(b[head:], n-head, typ)
	return head
}

// iface prints an interface by its name, filled up to five letters, or by its
// number, and reports which.
func (t *text) iface(index uint32) (named bool) {
	name := ""
	if t.p.Interface != nil {
		name = t.p.Interface(index)
	}
	if name == "" {
		t.str("ifindex ").u32(index).byte(' ')
		return false
	}
	t.str(name)
	for n := len(name); n < 5; n++ {
		t.byte(' ')
	}
	t.byte(' ')
	return true
}

func (t *text) mpls(b []byte, n int) {
	t.proto = "mpls"
	t.str("MPLS ")
	bottom := false
	for !bottom && !t.cut {
		if len(b) < 4 {
			t.trunc()
			return
		}
		label := t.be32(b, 0)
		bottom = label&0x100 != 0
		t.str("(label ").u32(label >> 12)
		if l := label >> 12; t.p.Verbose > 0 && l < 16 {
			if s := map[uint32]string{0: "IPv4 explicit NULL", 1: "router alert", 2: "IPv6 explicit NULL", 3: "implicit NULL"}[l]; s != "" {
				t.str(" (").str(s).str(")")
			} else {
				t.str(" (rsvd)")
			}
		}
		t.str(", tc ").u32(label >> 9 & 7)
		if bottom {
			t.str(", [S]")
		}
		t.str(", ttl ").u32(label & 255).str(")")
		if !bottom && t.p.Verbose > 0 {
			t.str("\n\t")
		} else if !bottom {
			t.str(" ")
		}
		b, n = b[4:], n-4
	}
	if n <= 0 {
		return
	}
	switch t.u8(b, 0) >> 4 {
	case 4, 6:
		if t.p.Verbose > 0 {
			t.str("\n\t")
		} else {
			t.str(" ")
		}
		t.ipAny(b, n)
	}
}

func (t *text) pppoe(b []byte, n int) {
	t.proto = "pppoe"
	vt, code := t.u8(b, 0), t.u8(b, 1)
	session, size := t.u16(b, 2), int(t.u16(b, 4))
	if t.cut {
		return
	}
	t.str("PPPoE ")
	if vt != 0x11 {
		t.str(" [ver ").num(int(vt >> 4)).str("]")
		if vt&15 != 1 {
			t.str(" [type ").num(int(vt & 15)).str("]")
		}
	}
	names := []name{{9, "PADI"}, {7, "PADO"}, {0x19, "PADR"}, {0x65, "PADS"}, {0xa7, "PADT"}}
	if code != 0 {
		t.lookup(names, int(code), "PAD-%")
	}
	if code == 0 || session != 0 {
		t.str(" [ses 0x").hex(uint64(session)).str("]")
	}
	b, n = limit(skip(b, 6), size), min(n-6, size)
	if code != 0 {
		for n >= 4 && !t.cut {
			tag, l := t.u16(b, 0), int(t.u16(b, 2))
			t.str(" [").lookup([]name{{0, "EOL"}, {0x101, "Service-Name"}, {0x102, "AC-Name"}, {0x103, "Host-Uniq"}, {0x104, "AC-Cookie"}, {0x105, "Vendor-Specific"}, {0x110, "Relay-Session-ID"}, {0x120, "PPP-Max-Payload"}, {0x201, "Service-Name-Error"}, {0x202, "AC-System-Error"}, {0x203, "Generic-Error"}}, int(tag), "TAG-0x%")
			if l > 0 {
				v := limit(skip(b, 4), l)
				if len(v) < l {
					t.trunc()
					return
				}
				ascii := 0
				for _, c := range v {
					if c >= ' ' && c < 0x7f {
						ascii++
					}
				}
				if ascii > l-ascii {
					t.str(" \"").str(string(v)).str("\"")
				} else {
					t.str(" 0x").hexBytes(v[:min(len(v), 20)])
					if len(v) > 20 {
						t.str("...")
					}
				}
			}
			t.str("]")
			b, n = skip(b, 4+l), n-4-l
		}
		return
	}
	t.str(" ")
	t.ppp(b, n)
}

// ppp prints a packet from PPP's protocol number on.
func (t *text) ppp(b []byte, n int) {
	t.proto = "ppp"
	proto, head := int(t.u8(b, 0)), 1
	if proto&1 == 0 {
		proto, head = int(t.u16(b, 0)), 2
	}
	if t.cut {
		return
	}
	names := []name{{0x21, "IP"}, {0x57, "IP6"}, {0xc021, "LCP"}, {0x8021, "IPCP"}, {0x8057, "IP6CP"}, {0xc023, "PAP"}, {0xc223, "CHAP"}, {0x80fd, "CCP"}, {0xfd, "Compressed"}, {0x281, "MPLS"}}
	switch {
	case t.p.LinkHeader:
		t.lookup(names, proto, "unknown").str(" (0x").hexN(uint64(proto), 4).str("), length ").num(n).str(": ")
	case proto != 0x21 && proto != 0x57:
		t.lookup(names, proto, "unknown PPP protocol").str(" ")
	}
	switch proto {
	case 0x21:
		t.ipv4(skip(b, head), n-head)
	case 0x57:
		t.ipv6(skip(b, head), n-head)
	default:
		t.unknown(skip(b, head), n-head)
	}
}

func (t *text) stp(b []byte, n int) {
	t.proto = "stp"
	if n < 4 {
		t.trunc()
		return
	}
	version, kind := t.u8(b, 2), t.u8(b, 3)
	if id := t.u16(b, 0); id != 0 {
		t.str("unknown STP version, length ").num(n)
		return
	}
	t.str("STP ").lookup([]name{{0, "802.1d"}, {2, "802.1w"}, {3, "802.1s"}, {4, "802.1aq"}}, int(version), "Unknown STP protocol (0x%)")
	switch kind {
	case 0x80:
		t.str(", Topology Change")
	case 0, 2:
		t.str(", ").str(map[uint8]string{0: "Config", 2: "Rapid STP"}[kind])
		flags := t.u8(b, 4)
		t.str(", Flags [").flags([]name{{1, "Topology change"}, {2, "Proposal"}, {0x10, "Learn"}, {0x20, "Forward"}, {0x40, "Agreement"}, {0x80, "Topology change ACK"}}, int(flags), ", ", "none").str("]")
		t.str(", bridge-id ").bridgeID(b, 17).byte('.').hexN(uint64(t.u16(b, 25)), 4)
		t.str(", length ").num(n)
		if t.p.Verbose > 0 {
			second := func(at int) {
				v := t.u16(b, at)
				t.num(int(v>>8)).byte('.').fraction(float64(v&255)/256, 2).byte('s')
			}
			t.str("\n\tmessage-age ")
			second(27)
			t.str(", max-age ")
			second(29)
			t.str(", hello-time ")
			second(31)
			t.str(", forwarding-delay ")
			second(33)
			t.str("\n\troot-id ").bridgeID(b, 5).str(", root-pathcost ").u32(t.be32(b, 13))
			if kind == 2 {
				t.str(", port-role ").lookup([]name{{0, "Unknown"}, {1, "Alternate"}, {2, "Root"}, {3, "Designated"}}, int(flags>>2&3), "Unknown")
			}
		}
	default:
		t.str(", unknown type ").num(int(kind))
	}
}

func (t *text) bridgeID(b []byte, at int) *text {
	return t.hexN(uint64(t.u16(b, at)), 4).byte('.').mac(t.macAt(b, at+2))
}
