package dissect

import (
	"net/netip"

	"github.com/towpath/towpath/wire"
)

// protocols are the names that tcpdump prints for IP protocols.
var protocols = []name{
	{0, "Options"}, {1, "ICMP"}, {2, "IGMP"}, {4, "IPIP"}, {6, "TCP"}, {8, "EGP"}, {9, "IGRP"}, {17, "UDP"}, {33, "DCCP"}, {41, "IPv6"},
	{43, "Routing"}, {44, "Fragment"}, {46, "RSVP"}, {47, "GRE"}, {50, "ESP"}, {51, "AH"}, {55, "Mobile IP"}, {58, "ICMPv6"},
	{88, "EIGRP"}, {89, "OSPF"}, {103, "PIM"}, {108, "Compressed IP"}, {112, "VRRP"}, {113, "PGM"}, {132, "SCTP"}, {135, "Mobility"},
}

func (t *text) ipv4(b []byte, n int) {
	t.proto = "ip"
	first := t.u8(b, 0)
	if t.cut {
		return
	}
	if v := first >> 4; v != 4 {
		if v == 6 {
			t.str("IP6, wrong link-layer encapsulation")
		} else {
			t.str("IP").num(int(v))
		}
		t.invalid()
		return
	}
	if !t.p.LinkHeader {
		t.str("IP ")
	}
	if !t.has(b, wire.IPv4Len) {
		return
	}
	h := wire.IPv4(b)
	switch {
	case n < wire.IPv4Len:
		t.str("truncated-ip ").num(n)
		return
	case h.HeaderLen() < wire.IPv4Len:
		t.str("bad-hlen ").num(h.HeaderLen())
		return
	}
	size := h.TotalLen()
	if n < size {
		t.str("truncated-ip - ").num(size - n).str(" bytes missing! ")
	}
	if size < h.HeaderLen() {
		if size != 0 {
			t.str("bad-len ").num(size)
			return
		}
		size = n // made by an adapter that cuts segments
	}
	b = limit(b, size)
	off := int(t.u16(b, 6))
	if t.p.Verbose > 0 {
		t.ipv4Verbose(b, h, size, off)
	}
	t.src, t.dst = h.Src(), h.Dst()
	proto := h.Proto()
	t.outer = proto
	if off&0x1fff != 0 {
		t.addresses(":")
		if name := t.protoName(proto); name != "" {
			t.str(" ").str(name)
		} else {
			t.str(" ip-proto-").num(int(proto))
		}
		return
	}
	if !hasPorts(proto) {
		t.addresses(": ")
	}
	if len(b) < h.HeaderLen() {
		t.str(" [remaining caplen(").num(len(b)).str(") < header length(").num(h.HeaderLen()).str(")]")
		t.trunc()
		return
	}
	t.upper(proto, skip(b, h.HeaderLen()), size-h.HeaderLen(), off&0x2000 != 0)
}

func hasPorts(p wire.Proto) bool {
	return p == wire.ProtoTCP || p == wire.ProtoUDP || p == 132 || p == 33
}

func (t *text) protoName(p wire.Proto) string {
	if t.p.Names == nil {
		return ""
	}
	return t.p.Names.Proto(p)
}

func (t *text) addresses(end string) { t.host(t.src).str(" > ").host(t.dst).str(end) }

// host prints an address, or its name.
func (t *text) host(a netip.Addr) *text {
	if t.p.Names != nil {
		if s := t.p.Names.Addr(a); s != "" {
			return t.str(s)
		}
	}
	return t.ip(a)
}

func (t *text) port(proto wire.Proto, port uint16) *text {
	if t.p.Names != nil {
		if s := t.p.Names.Port(proto, port); s != "" {
			return t.str(s)
		}
	}
	return t.num(int(port))
}

func (t *text) ipv4Verbose(b []byte, h wire.IPv4, size, off int) {
	t.str("(tos 0x").hex(uint64(h.TOS()))
	t.str([]string{"", ",ECT(1)", ",ECT(0)", ",CE"}[h.TOS()&3])
	if ttl := h.TTL(); ttl >= 1 {
		t.str(", ttl ").num(int(ttl))
	}
	t.str(", id ").num(int(h.ID())).str(", offset ").num(off & 0x1fff * 8).str(", flags [")
	t.flags([]name{{0x2000, "+"}, {0x4000, "DF"}, {0x8000, "rsvd"}}, off, ", ", "none")
	t.str("], proto ").lookup(protocols, int(h.Proto()), "unknown").str(" (").num(int(h.Proto())).str(")")
	t.str(", length ").num(size)
	if n := h.HeaderLen() - wire.IPv4Len; n > 0 {
		t.str(", options (")
		t.ipv4Options(skip(b, wire.IPv4Len), n)
		t.str(")")
	}
	if !t.p.NoChecksums && len(b) >= h.HeaderLen() {
		if sum := wire.Fold(wire.Sum(b[:h.HeaderLen()], 0)); sum != 0xffff {
			was := t.u16(b, 10)
			t.str(", bad cksum ").hex(uint64(was)).str(" (->").hex(uint64(right(was, sum))).str(")!")
		}
	}
	t.str(")\n    ")
}

// right is what a checksum that is was should be, if the sum over everything
// with it is sum.
func right(was, sum uint16) uint16 {
	// ~(sum - was), in ones' complement.
	s := uint32(sum) + uint32(^was)
	return ^wire.Fold(s)
}

func (t *text) ipv4Options(b []byte, n int) {
	sep := ""
	for n > 0 && !t.cut {
		t.str(sep)
		sep = ","
		kind := t.u8(b, 0)
		size := 1
		if kind > 1 {
			size = int(t.u8(b, 1))
		}
		t.lookup([]name{{0, "EOL"}, {1, "NOP"}, {68, "timestamp"}, {130, "security"}, {7, "RR"}, {137, "SSRR"}, {131, "LSRR"}, {148, "RA"}, {82, "traceroute"}}, int(kind), "unknown %")
		if kind > 1 && size < 2 {
			t.str(" [bad length ").num(size).str("]")
			return
		}
		if size > n {
			t.str(" [bad length ").num(size).str("]")
			return
		}
		v := limit(b, size)
		if len(v) < size {
			t.trunc()
			return
		}
		switch kind {
		case 0:
			return
		case 7, 131, 137:
			t.ipv4Route(v)
		case 68:
			t.ipv4Timestamp(v)
		case 148:
			if size < 4 {
				t.str("[|router alert]")
			} else if x := t.u16(v, 2); x != 0 {
				t.str(" value ").num(int(x))
			}
		}
		b, n = skip(b, size), n-size
	}
}

func (t *text) ipv4Route(v []byte) {
	if len(v) < 3 {
		t.str(" [bad length ").num(len(v)).str("]")
		return
	}
	if (len(v)+1)&3 != 0 {
		t.str(" [bad length ").num(len(v)).str("]")
	}
	ptr := int(v[2]) - 1
	if ptr < 3 || (ptr+1)&3 != 0 {
		t.str(" [bad ptr ").num(int(v[2])).str("]")
	}
	for at := 3; at < len(v) && !t.cut; at += 4 {
		if at+4 > len(v) {
			t.trunc()
			return
		}
		t.str(" ").host(t.addr4(v, at))
		if ptr > at {
			t.str(",")
		}
	}
}

func (t *text) ipv4Timestamp(v []byte) {
	if len(v) < 4 {
		t.str("[bad length ").num(len(v)).str("]")
		return
	}
	t.str(" TS{")
	hop := 4
	if v[3]&15 != 0 {
		hop = 8
	}
	if (len(v)-4)%hop != 0 {
		t.str("[bad length ").num(len(v)).str("]")
	}
	ptr := int(v[2]) - 1
	mark := ""
	if ptr < 4 || (ptr-4)%hop != 0 || ptr > len(v) {
		t.str("[bad ptr ").num(int(v[2])).str("]")
	}
	switch v[3] & 15 {
	case 0:
		t.str("TSONLY")
	case 1:
		t.str("TS+ADDR")
	case 3:
		t.str("PRESPEC")
	default:
		t.str("[bad ts type ").num(int(v[3] & 15)).str("]")
		return
	}
	mark = " "
	for at := 4; at+hop <= len(v); at += hop {
		if at == ptr {
			mark = " ^ "
		}
		t.str(mark).u32(t.be32(v, at+hop-4)).str("@")
		if hop == 8 {
			t.host(t.addr4(v, at))
		}
		mark = " "
	}
	if at := ptr; at == len(v) {
		t.str(" ^ ")
	}
	if v[3]>>4 != 0 {
		t.str(" [").num(int(v[3] >> 4)).str(" hops not recorded]} ")
	} else {
		t.str("}")
	}
}

// upper prints what IP carries, of n bytes.
func (t *text) upper(proto wire.Proto, b []byte, n int, fragment bool) {
	if t.depth++; t.depth > depthMax {
		t.str(" (more headers)")
		t.cut = true
		return
	}
	switch proto {
	case wire.ProtoTCP:
		t.tcp(b, n, fragment)
	case wire.ProtoUDP:
		t.udp(b, n, fragment)
	case wire.ProtoICMP:
		if t.only4("ICMP") {
			t.icmp(b, n, fragment)
		}
	case wire.ProtoICMPv6:
		if t.src.Is4() {
			t.str("[ICMPv6 requires IPv6]").invalid()
		} else {
			t.icmp6(b, n, fragment)
		}
	case wire.ProtoIGMP:
		if t.only4("IGMP") {
			t.igmp(b, n)
		}
	case wire.ProtoIPIP:
		t.ipv4(b, n)
	case wire.ProtoIPv6:
		t.ipv6(b, n)
	case wire.ProtoGRE:
		t.gre(b, n)
	case wire.ProtoESP:
		t.proto = "esp"
		t.str("ESP(spi=0x").hexN(uint64(t.be32(b, 0)), 8).str(",seq=0x").hex(uint64(t.be32(b, 4))).str("), length ").num(n)
	case wire.ProtoAH:
		t.ah(b, n, fragment)
	case wire.ProtoNoNext:
		t.str("no next header")
	default:
		if name := t.protoName(proto); name != "" {
			t.str(" ").str(name)
		} else {
			t.str(" ip-proto-").num(int(proto))
		}
		t.str(" ").num(n)
	}
}

// only4 says so if a protocol is not on IPv4, which it needs.
func (t *text) only4(what string) bool {
	if !t.src.Is4() {
		t.str("[").str(what).str(" requires IPv4]").invalid()
	}
	return !t.cut
}

func (t *text) ah(b []byte, n int, fragment bool) {
	t.proto = "ah"
	next, words := t.u8(b, 0), int(t.u8(b, 1))
	spi, seq := t.be32(b, 4), t.be32(b, 8)
	if t.cut {
		return
	}
	size := (words + 2) * 4
	t.str("AH(")
	if t.p.Verbose > 0 {
		t.str("length=").num(words).str("(").num(size).str("-bytes),")
		if r := t.u16(b, 2); r != 0 {
			t.str("reserved[not MBZ],")
		}
	}
	t.str("spi=0x").hexN(uint64(spi), 8).str(",")
	t.str("seq=0x").hex(uint64(seq)).str(",icv=0x")
	for at := 12; at < size && !t.cut; at += 4 {
		t.hexN(uint64(t.be32(b, at)), 8)
	}
	t.str("): ")
	t.upper(wire.Proto(next), skip(b, size), n-size, fragment)
}

func (t *text) ipv6(b []byte, n int) {
	t.proto = "ip6"
	if !t.has(b, wire.IPv6Len) {
		return
	}
	if !t.p.LinkHeader {
		t.str("IP6 ")
	}
	if v := b[0] >> 4; v != 6 {
		t.str("version error: ").num(int(v)).str(" != 6")
		return
	}
	if n < wire.IPv6Len {
		t.str("truncated-ip6 ").num(n)
		return
	}
	h := wire.IPv6(b)
	payload := int(t.u16(b, 4))
	size := payload + wire.IPv6Len
	if n < size {
		t.str("truncated-ip6 - ").num(size - n).str(" bytes missing!")
	}
	next := h.NextHeader()
	if t.p.Verbose > 0 {
		flow := t.be32(b, 0)
		t.str("(")
		if class := flow >> 20 & 0xff; class != 0 {
			t.str("class 0x").hexN(uint64(class), 2).str(", ")
		}
		if label := flow & 0xfffff; label != 0 {
			t.str("flowlabel 0x").hexN(uint64(label), 5).str(", ")
		}
		t.str("hlim ").num(int(h.HopLimit())).str(", next-header ").lookup(protocols, int(next), "unknown").str(" (").num(int(next)).str(")")
		t.str(" payload length: ").num(payload).str(") ")
	}
	t.src, t.dst = h.Src(), h.Dst()
	b = limit(b, size)
	t.ipv6Headers(skip(b, wire.IPv6Len), payload, next)
}

// ipv6Headers prints extension headers and what follows them.
func (t *text) ipv6Headers(b []byte, n int, next wire.Proto) {
	fragment, hop := false, false
	t.outer = next
	if !hasPorts(next) {
		t.addresses(": ")
	} else if len(b) == 0 && n > 0 {
		t.upper(next, b, n, false) // which says that nothing of it is there
	}
	for range depthMax {
		if t.cut || len(b) == 0 && next != wire.ProtoNoNext {
			if len(b) == 0 && n > 0 && !t.cut {
				return
			}
			if n <= 0 && !t.cut && next != wire.ProtoNoNext {
				t.upper(next, b, n, fragment)
			}
			return
		}
		switch next {
		case wire.ProtoHopByHop, wire.ProtoDestOpts:
			t.proto = "hbhopt"
			label := "HBH "
			if next == wire.ProtoDestOpts {
				t.proto, label = "dstopt", "DSTOPT "
			} else if hop {
				t.str("[The Hop-by-Hop Options header was already found]").invalid()
				return
			} else {
				hop = true
			}
			size := 8 * (1 + int(t.u8(b, 1)))
			if t.cut {
				return
			}
			if len(b) < size {
				t.trunc()
				return
			}
			t.str(label)
			if t.p.Verbose > 0 {
				t.options6(b[2:size])
			}
			next, b, n = wire.Proto(b[0]), b[size:], n-size
		case wire.ProtoFragment:
			t.proto = "frag6"
			field, id := t.u16(b, 2), t.be32(b, 4)
			if t.cut {
				return
			}
			if t.p.Verbose > 0 {
				t.str("frag (0x").hexN(uint64(id), 8).str(":").num(int(field &^ 7)).str("|").num(n - 8).str(")")
			} else {
				t.str("frag (").num(int(field &^ 7)).str("|").num(n - 8).str(")")
			}
			if field&^7 != 0 {
				return
			}
			t.str(" ")
			fragment = true
			next, b, n = wire.Proto(b[0]), b[8:], n-8
		case wire.ProtoRouting:
			t.proto = "rt6"
			size := 8 * (1 + int(t.u8(b, 1)))
			kind, left := t.u8(b, 2), t.u8(b, 3)
			if t.cut {
				return
			}
			if len(b) < size {
				t.trunc()
				return
			}
			t.routing6(b[:size], kind, left)
			next, b, n = wire.Proto(b[0]), b[size:], n-size
		default:
			t.upper(next, b, n, fragment)
			return
		}
	}
}

func (t *text) routing6(b []byte, kind, left uint8) {
	t.str("srcrt (len=").num(int(b[1])).str(", type=").num(int(kind)).str(", segleft=").num(int(left))
	switch kind {
	case 0, 2:
		if v := t.be32(b, 4); v != 0 || t.p.Verbose > 1 {
			t.str(", rsv=0x").hex(uint64(v))
		}
		if int(b[1])%2 == 1 {
			t.invalid()
			return
		}
		for i := range int(b[1]) / 2 {
			t.str(", [").num(i).str("]").ip(t.addr6(b, 8+16*i))
		}
		t.str(") ")
	default:
		t.str(" unknown type)")
	}
}

func (t *text) options6(b []byte) {
	for len(b) > 0 && !t.cut {
		kind := b[0]
		if kind == 0 {
			t.str("(pad1)")
			if b = b[1:]; len(b) == 0 {
				t.byte(' ')
			}
			continue
		}
		if len(b) < 2 || len(b) < 2+int(b[1]) {
			t.trunc()
			return
		}
		v := b[2 : 2+int(b[1])]
		switch {
		case kind == 1:
			t.str("(padn) ")
		case kind == 5 && len(v) == 2:
			t.str("(rtalert: 0x").hexN(uint64(t.u16(v, 0)), 4).str(") ")
		case kind == 0xc2 && len(v) == 4:
			t.str("(jumbo: ").u32(t.be32(v, 0)).str(") ")
		default:
			t.str("(opt_type 0x").hexN(uint64(kind), 2).str(": len=").num(len(v)).str(") ")
		}
		b = b[2+len(v):]
	}
}

// ports prints addresses with ports.
func (t *text) ports(proto wire.Proto, sp, dp uint16) {
	if t.outer != proto { // the addresses stand in front of what is between
		t.port(proto, sp).str(" > ").port(proto, dp).str(": ")
		return
	}
	t.host(t.src).byte('.').port(proto, sp).str(" > ").host(t.dst).byte('.').port(proto, dp).str(": ")
}

var greFlags = []name{
	{0x8000, "checksum present"}, {0x4000, "routing present"}, {0x2000, "key present"}, {0x1000, "sequence# present"},
	{0x0800, "source routing present"}, {0x0080, "ack present"},
}

func (t *text) gre(b []byte, n int) {
	t.proto = "gre"
	flags := t.u16(b, 0)
	typ := wire.EtherType(t.u16(b, 2))
	if t.cut {
		return
	}
	version := int(flags & 7)
	t.str("GREv").num(version)
	if version > 1 {
		t.str(" ERROR: unknown-version")
		return
	}
	if t.p.Verbose > 0 {
		t.str(", Flags [").flags(greFlags, int(flags), ", ", "none").str("]")
	}
	b, n = skip(b, 4), n-4
	if version == 1 {
		t.str(", call ").num(int(t.u16(b, 2)))
		if t.p.Verbose > 0 {
			t.str(", proto ").str(etherTypeName(typ)).str(" (0x").hexN(uint64(typ), 4).str(")")
		}
		b, n = skip(b, 4), n-4
	} else {
		if flags&0xc000 != 0 {
			if t.p.Verbose > 0 && flags&0x8000 != 0 {
				t.str(", sum 0x").hexN(uint64(t.u16(b, 0)), 4).str(", off 0x").hexN(uint64(t.u16(b, 2)), 4)
			} else if t.p.Verbose > 0 {
				t.str(", off 0x").hexN(uint64(t.u16(b, 2)), 4)
			}
			b, n = skip(b, 4), n-4
		}
		if flags&0x2000 != 0 {
			t.str(", key=0x").hex(uint64(t.be32(b, 0)))
			b, n = skip(b, 4), n-4
		}
	}
	if flags&0x1000 != 0 {
		if version == 0 {
			t.str(", seq ").u32(t.be32(b, 0))
		} else {
			t.str(", seq ").u32(t.be32(b, 0))
		}
		b, n = skip(b, 4), n-4
	}
	if version == 1 && flags&0x80 != 0 {
		t.str(", ack ").u32(t.be32(b, 0))
		b, n = skip(b, 4), n-4
	}
	if t.p.LinkHeader && version == 0 {
		t.str(", proto ").str(etherTypeName(typ)).str(" (0x").hexN(uint64(typ), 4).str(")")
	}
	t.str(", length ").num(t.greLen(n, flags, version))
	if t.cut {
		return
	}
	if t.p.Verbose < 1 {
		t.str(": ")
	} else {
		t.str("\n\t")
	}
	switch {
	case typ == wire.EtherTypeIPv4:
		t.ipv4(b, n)
	case typ == wire.EtherTypeIPv6:
		t.ipv6(b, n)
	case typ == 0x880b:
		t.ppp(b, n)
	case typ == 0x6558:
		t.ethernet(b, n)
	case typ == 0x8847:
		t.mpls(b, n)
	default:
		t.str("gre-proto-0x").hex(uint64(typ))
	}
}

// greLen is the length of a GRE packet whose payload has n bytes.
func (t *text) greLen(n int, flags uint16, version int) int {
	n += 4
	if version == 1 {
		n += 4
	} else {
		if flags&0xc000 != 0 {
			n += 4
		}
		if flags&0x2000 != 0 {
			n += 4
		}
	}
	if flags&0x1000 != 0 {
		n += 4
	}
	if version == 1 && flags&0x80 != 0 {
		n += 4
	}
	return n
}
