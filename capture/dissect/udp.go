package dissect

import (
	"github.com/towpath/towpath/wire"
)

func (t *text) udp(b []byte, n int, fragment bool) {
	t.proto = "udp"
	if len(b) < 4 {
		t.addresses(": ")
		t.trunc()
		return
	}
	sp, dp := t.u16(b, 0), t.u16(b, 2)
	if n < wire.UDPLen {
		t.udpPorts(sp, dp)
		t.str("truncated-udp ").num(n)
		return
	}
	if len(b) < 6 {
		t.udpPorts(sp, dp)
		t.trunc()
		return
	}
	size := int(t.u16(b, 4))
	if size < wire.UDPLen {
		t.udpPorts(sp, dp)
		t.str("truncated-udplength ").num(size)
		return
	}
	size -= wire.UDPLen
	rest := min(n-wire.UDPLen, size)
	t.udpPorts(sp, dp)
	if !t.has(b, wire.UDPLen) {
		return
	}
	if t.p.Quiet {
		t.udpLength(size, n-wire.UDPLen, fragment)
		return
	}
	body := limit(b[wire.UDPLen:], rest)
	if (t.p.Verbose > 1 || t.p.Verbose > 0 && t.src.Is6()) && !t.p.NoChecksums && !fragment {
		was := t.u16(b, 6)
		if was == 0 && t.src.Is4() {
			t.str("[no cksum] ")
		} else if len(body) >= rest {
			sum := wire.Fold(wire.Sum(b[:wire.UDPLen+rest], wire.PseudoSum(t.src, t.dst, wire.ProtoUDP, rest+wire.UDPLen)))
			if sum != 0xffff {
				t.str("[bad udp cksum 0x").hexN(uint64(was), 4).str(" -> 0x").hexN(uint64(right(was, sum)), 4).str("!] ")
			} else {
				t.str("[udp sum ok] ")
			}
		}
	}
	is := func(port uint16) bool { return sp == port || dp == port }
	switch {
	case is(53):
		t.dns(body, rest, false)
	case is(67) || is(68):
		t.bootp(body, rest)
	case is(123):
		t.ntp(body, rest)
	case is(5353):
		t.dns(body, rest, true)
	case is(4789):
		t.vxlan(body, rest)
	case is(6081):
		t.geneve(body, rest)
	default:
		t.udpLength(size, n-wire.UDPLen, fragment)
	}
}

func (t *text) udpLength(size, n int, fragment bool) {
	if size > n && !fragment {
		t.str("UDP, bad length ").num(size).str(" > ").num(n)
	} else {
		t.str("UDP, length ").num(size)
	}
}

func (t *text) udpPorts(sp, dp uint16) { t.ports(wire.ProtoUDP, sp, dp) }

func (t *text) vxlan(b []byte, n int) {
	t.proto = "vxlan"
	if n < 8 {
		t.str("VXLAN").trunc()
		return
	}
	t.str("VXLAN, ")
	flags, vni := t.u8(b, 0), t.u24(b, 4)
	if !t.has(b, 8) {
		return
	}
	t.str("flags [").flagChar(flags&8 != 0, "I", ".").str("] (0x").hexN(uint64(flags), 2).str("), vni ").u32(vni).str("\n")
	t.ethernet(b[8:], n-8)
}

func (t *text) flagChar(on bool, yes, no string) *text {
	if on {
		return t.str(yes)
	}
	return t.str(no)
}

func (t *text) geneve(b []byte, n int) {
	t.proto = "geneve"
	t.str("Geneve")
	if n < 8 {
		t.trunc()
		return
	}
	first, flags, typ, vni := t.u8(b, 0), t.u8(b, 1), wire.EtherType(t.u16(b, 2)), t.u24(b, 4)
	if !t.has(b, 8) {
		return
	}
	if v := first >> 6; v != 0 {
		t.str(" ERROR: unknown-version ").num(int(v))
		return
	}
	t.str(", Flags [").flags([]name{{0x80, "O"}, {0x40, "C"}}, int(flags), "", "none").str("]")
	if flags&0x3f != 0 {
		t.str(" (invalid)")
	}
	t.str(", vni 0x").hex(uint64(vni))
	if b[7] != 0 {
		t.str(", rsvd 0x").hex(uint64(b[7]))
	}
	if t.p.LinkHeader || t.p.Verbose > 0 {
		t.str(", proto ").str(etherTypeName(typ)).str(" (0x").hexN(uint64(typ), 4).str(")")
	}
	options := int(first&0x3f) * 4
	b, n = b[8:], n-8
	if options > 0 {
		if len(b) < options {
			t.trunc()
			return
		}
		t.str(", options [")
		if t.p.Verbose > 0 {
			t.geneveOptions(b[:options])
		} else {
			t.num(options).str(" bytes")
		}
		t.str("]")
		b, n = b[options:], n-options
	}
	if t.p.Verbose < 1 {
		t.str(": ")
	} else {
		t.str("\n\t")
	}
	switch typ {
	case 0x6558:
		t.ethernet(b, n)
	case wire.EtherTypeIPv4, wire.EtherTypeIPv6:
		t.etherPayload(b, n, typ)
	default:
		t.str("geneve-proto-0x").hex(uint64(typ))
	}
}

func (t *text) geneveOptions(b []byte) {
	for sep := ""; len(b) >= 4 && !t.cut; sep = ", " {
		t.str(sep).str("class ").lookup([]name{{0x100, "Linux"}, {0, "Standard"}}, int(t.u16(b, 0)), "Unknown").str(" (0x").hex(uint64(t.u16(b, 0))).str(") type 0x").hex(uint64(b[2]))
		if b[2]&0x80 != 0 {
			t.str("(C)")
		}
		size := int(b[3]&0x1f) * 4
		t.str(" len ").num(4 + size)
		if len(b) < 4+size {
			t.str(" [bad length]")
			return
		}
		if size > 0 {
			t.str(" data")
			for at := 0; at < size; at += 4 {
				t.str(" ").hexN(uint64(t.be32(b, 4+at)), 8)
			}
		}
		b = b[4+size:]
	}
}
