package dissect

import (
	"net/netip"

	"github.com/towpath/towpath/wire"
)

var unreachables = []string{
	0: "net # unreachable", 1: "host # unreachable", 5: "# unreachable - source route failed",
	6: "net # unreachable - unknown", 7: "host # unreachable - unknown", 8: "# unreachable - source host isolated",
	9: "net # unreachable - admin prohibited", 10: "host # unreachable - admin prohibited", 11: "net # unreachable - tos prohibited",
	12: "host # unreachable - tos prohibited", 13: "host # unreachable - admin prohibited filter",
	14: "host # unreachable - host precedence violation", 15: "host # unreachable - precedence cutoff",
}

// withHost prints a format in which # stands for an address.
func (t *text) withHost(format string, a netip.Addr) *text {
	for i := range len(format) {
		if format[i] == '#' {
			return t.str(format[:i]).host(a).str(format[i+1:])
		}
	}
	return t.str(format)
}

func (t *text) icmp(b []byte, n int, fragment bool) {
	t.proto = "icmp"
	kind, code := t.u8(b, 0), t.u8(b, 1)
	if t.cut {
		return
	}
	begin := len(t.b)
	t.str("ICMP ")
	switch kind {
	case 0, 8:
		id, seq := t.u16(b, 4), t.u16(b, 6)
		what := "request"
		if kind == 0 {
			what = "reply"
		}
		t.str("echo ").str(what).str(", id ").num(int(id)).str(", seq ").num(int(seq))
	case 3:
		t.icmpUnreachable(b, code)
	case 5:
		dst, gateway := t.addr4(b, 8+16), t.addr4(b, 4)
		switch code {
		case 0:
			t.withHost("redirect # to net ", dst).host(gateway)
		case 1:
			t.withHost("redirect # to host ", dst).host(gateway)
		case 2:
			t.withHost("redirect-tos # to net ", dst).host(gateway)
		case 3:
			t.withHost("redirect-tos # to host ", dst).host(gateway)
		default:
			t.str("redirect-#").num(int(code)).withHost(" # to ", dst).host(gateway)
		}
	case 9:
		t.icmpRouterAdvert(b)
	case 11:
		t.has(b, 8+wire.IPv4Len)
		switch code {
		case 0:
			t.str("time exceeded in-transit")
		case 1:
			t.str("ip reassembly time exceeded")
		default:
			t.str("time exceeded-#").num(int(code))
		}
	case 12:
		if code != 0 {
			t.str("parameter problem - code ").num(int(code))
		} else {
			t.str("parameter problem - octet ").num(int(t.u8(b, 4)))
		}
	case 18:
		t.str("address mask is 0x").hexN(uint64(t.be32(b, 8)), 8)
	case 13:
		t.str("time stamp query id ").num(int(t.u16(b, 4))).str(" seq ").num(int(t.u16(b, 6)))
	case 14:
		t.str("time stamp reply id ").num(int(t.u16(b, 4))).str(" seq ").num(int(t.u16(b, 6)))
		t.str(": org ").icmpTime(t.be32(b, 8)).str(", recv ").icmpTime(t.be32(b, 12)).str(", xmit ").icmpTime(t.be32(b, 16))
	default:
		t.lookup([]name{{4, "source quench"}, {10, "router solicitation"}, {15, "information request"}, {16, "information reply"}, {17, "address mask request"}}, int(kind), "type-#%")
	}
	if t.cut {
		t.b = append(t.b[:begin], " [|icmp]"...)
		return
	}
	t.str(", length ").num(n)
	if t.p.Verbose > 0 && !fragment && len(b) >= n {
		if sum := wire.Fold(wire.Sum(b[:n], 0)); sum != 0xffff {
			was := t.u16(b, 2)
			t.str(" (wrong icmp cksum ").hex(uint64(was)).str(" (->").hex(uint64(right(was, sum))).str(")!)")
		}
	}
	if t.p.Verbose > 0 && (kind == 3 || kind == 4 || kind == 5 || kind == 11 || kind == 12) && !t.cut {
		t.str("\n\t")
		inner := skip(b, 8)
		size := int(t.u16(inner, 2))
		src, dst := t.src, t.dst
		t.ipv4(limit(inner, size), size)
		t.src, t.dst = src, dst
	}
}

// icmpTime prints milliseconds since midnight.
func (t *text) icmpTime(ms uint32) *text {
	two := func(n uint32) *text { return t.byte('0' + byte(n/10%10)).byte('0' + byte(n%10)) }
	if h := ms / 3600000; h < 100 {
		two(h)
	} else {
		t.u32(h)
	}
	t.byte(':')
	two(ms / 60000 % 60)
	t.byte(':')
	two(ms / 1000 % 60)
	return t.byte('.').byte('0' + byte(ms/100%10)).byte('0' + byte(ms/10%10)).byte('0' + byte(ms%10))
}

func (t *text) icmpUnreachable(b []byte, code uint8) {
	dst := t.addr4(b, 8+16)
	switch code {
	case 2:
		t.host(dst).str(" protocol ").num(int(t.u8(b, 8+9))).str(" unreachable")
	case 3:
		head := int(t.u8(b, 8)&15) * 4
		proto := wire.Proto(t.u8(b, 8+9))
		port := t.u16(b, 8+head+2)
		switch proto {
		case wire.ProtoTCP:
			t.host(dst).str(" tcp port ").port(proto, port).str(" unreachable")
		case wire.ProtoUDP:
			t.host(dst).str(" udp port ").port(proto, port).str(" unreachable")
		default:
			t.host(dst).str(" protocol ").num(int(proto)).str(" port ").num(int(port)).str(" unreachable")
		}
	case 4:
		t.host(dst).str(" unreachable - need to frag")
		if mtu := t.u16(b, 6); mtu != 0 {
			t.str(" (mtu ").num(int(mtu)).str(")")
		}
	default:
		if int(code) < len(unreachables) {
			t.withHost(unreachables[code], dst)
		} else {
			t.host(dst).str(" unreachable - #").num(int(code))
		}
	}
}

func (t *text) icmpRouterAdvert(b []byte) {
	t.str("router advertisement lifetime ")
	life := int(t.u16(b, 6))
	switch {
	case life < 60:
		t.num(life)
	case life < 3600:
		t.num(life / 60).byte(':').byte('0' + byte(life%60/10)).byte('0' + byte(life%60%10))
	default:
		t.num(life / 3600).byte(':').byte('0' + byte(life/60%60/10)).byte('0' + byte(life/60%60%10)).byte(':').byte('0' + byte(life%60/10)).byte('0' + byte(life%60%10))
	}
	count, size := int(t.u8(b, 4)), int(t.u8(b, 5))
	t.str(" ").num(count).str(":")
	if size != 2 {
		t.str(" [size ").num(size).str("]")
		return
	}
	for i := range count {
		t.str(" {").host(t.addr4(b, 8+8*i)).str(" ").u32(t.be32(b, 12+8*i)).str("}")
	}
}

func (t *text) igmp(b []byte, n int) {
	t.proto = "igmp"
	if t.p.Quiet {
		t.str("igmp")
		return
	}
	kind := t.u8(b, 0)
	if t.cut {
		return
	}
	switch kind {
	case 0x11:
		t.str("igmp query")
		if n >= 12 {
			t.igmp3Query(b)
			break
		}
		if resp := t.u8(b, 1); resp != 0 {
			t.str(" v2")
			if resp != 100 {
				t.str(" [max resp time ").num(int(resp)).str("]")
			}
		} else {
			t.str(" v1")
		}
		if g := t.addr4(b, 4); !g.IsUnspecified() {
			t.str(" [gaddr ").ip(g).str("]")
		}
		if n != 8 {
			t.str(" [len ").num(n).str("]")
		}
	case 0x12, 0x16:
		t.str("igmp v").num(map[uint8]int{0x12: 1, 0x16: 2}[kind]).str(" report ").ip(t.addr4(b, 4))
		if n != 8 {
			t.str(" [len ").num(n).str("]")
		}
	case 0x22:
		t.str("igmp v3 report")
		t.igmp3Report(b, n)
	case 0x17:
		t.str("igmp leave ").ip(t.addr4(b, 4))
		if n != 8 {
			t.str(" [len ").num(n).str("]")
		}
	default:
		t.str("igmp-").num(int(kind))
	}
	if t.p.Verbose > 0 && len(b) >= n && !t.cut {
		if sum := wire.Fold(wire.Sum(b[:n], 0)); sum != 0xffff {
			t.str(" bad igmp cksum ").hex(uint64(t.u16(b, 2))).str("!")
		}
	}
}

func (t *text) tenths(n int) {
	if n < 100 {
		t.num(n / 10).byte('.').num(n % 10).byte('s')
	} else {
		t.num(n / 10).byte('s')
	}
}

func (t *text) igmp3Query(b []byte) {
	t.str(" v3")
	resp := int(t.u8(b, 1))
	if resp >= 128 {
		resp = (resp&15 | 16) << (resp>>4&7 + 3)
	}
	if resp != 100 {
		t.str(" [max resp time ")
		if resp < 600 {
			t.tenths(resp)
		} else {
			t.duration(resp / 10)
			if resp%10 != 0 {
				t.str(".").num(resp % 10).str("s")
			}
		}
		t.str("]")
	}
	g := t.addr4(b, 4)
	if g.IsUnspecified() {
		return
	}
	t.str(" [gaddr ").ip(g)
	if count := int(t.u16(b, 10)); count > 0 {
		if t.p.Verbose > 1 {
			t.str(" {")
			for i := range count {
				if t.cut {
					return
				}
				t.str(" ").ip(t.addr4(b, 12+4*i))
			}
			t.str(" }")
		} else {
			t.str(", ").num(count).str(" source(s)")
		}
	}
	t.str("]")
}

var recordTypes = []name{{1, "is_in"}, {2, "is_ex"}, {3, "to_in"}, {4, "to_ex"}, {5, "allow"}, {6, "block"}}

func (t *text) igmp3Report(b []byte, n int) {
	count := int(t.u16(b, 6))
	t.str(", ").num(count).str(" group record(s)")
	if t.p.Verbose == 0 {
		return
	}
	at := 8
	for range count {
		if at+8 > n {
			t.trunc()
			return
		}
		kind, sources := t.u8(b, at), int(t.u16(b, at+2))
		t.str(" [gaddr ").ip(t.addr4(b, at+4)).str(" ").lookup(recordTypes, int(kind), " [v3-report-#%]")
		if at+8+4*sources > n {
			t.str(" [invalid number of sources ").num(sources).str("]")
			t.trunc()
			return
		}
		if t.p.Verbose > 1 || t.p.Verbose > 0 && sources > 0 && sources <= 0 {
			t.str(" {")
			for i := range sources {
				t.str(" ").ip(t.addr4(b, at+8+4*i))
			}
			t.str(" }")
		} else {
			t.str(", ").num(sources).str(" source(s)")
		}
		t.str("]")
		if t.cut {
			return
		}
		at += 8 + 4*sources
	}
}

// duration prints seconds as 1w2d3h4m5s.
func (t *text) duration(s int) *text {
	if s == 0 {
		return t.str("0s")
	}
	for _, u := range []name{{7 * 86400, "w"}, {86400, "d"}, {3600, "h"}, {60, "m"}, {1, "s"}} {
		if s >= u.n {
			t.num(s / u.n).str(u.s)
			s %= u.n
		}
	}
	return t
}
