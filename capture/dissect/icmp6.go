package dissect

import (
	"github.com/towpath/towpath/wire"
)

var icmp6Types = []name{
	{1, "destination unreachable"}, {2, "packet too big"}, {3, "time exceeded in-transit"}, {4, "parameter problem"}, {128, "echo request"}, {129, "echo reply"},
	{130, "multicast listener query"}, {131, "multicast listener report"}, {132, "multicast listener done"}, {133, "router solicitation"},
	{134, "router advertisement"}, {135, "neighbor solicitation"}, {136, "neighbor advertisement"}, {137, "redirect"}, {138, "router renumbering"},
	{139, "node information query"}, {140, "node information reply"}, {141, "inverse neighbor solicitation"}, {142, "inverse neighbor advertisement"}, {143, "multicast listener report v2"},
	{144, "dha discovery request"}, {145, "dha discovery reply"}, {146, "mobile prefix solicitation"}, {147, "mobile prefix advertisement"}, {155, "802.15.4 RPL"}, {200, "mtrace response"}, {201, "mtrace message"},
}

func (t *text) icmp6(b []byte, n int, fragment bool) {
	t.proto = "icmp6"
	kind, code := t.u8(b, 0), t.u8(b, 1)
	if !t.has(b, 4) {
		return
	}
	if t.p.Verbose > 0 && !fragment && len(b) >= n {
		if sum := wire.Fold(wire.Sum(b[:n], wire.PseudoSum(t.src, t.dst, wire.ProtoICMPv6, n))); sum != 0xffff {
			was := t.u16(b, 2)
			t.str("[bad icmp6 cksum 0x").hexN(uint64(was), 4).str(" -> 0x").hexN(uint64(right(was, sum)), 4).str("!] ")
		} else {
			t.str("[icmp6 sum ok] ")
		}
	}
	t.str("ICMP6, ").lookup(icmp6Types, int(kind), "unknown icmp6 type (%)")
	if t.p.Verbose > 0 && kind >= 133 && kind <= 137 {
		t.str(", length ").num(n)
	}
	switch kind {
	case 1:
		t.icmp6Unreachable(b, n, code)
	case 2:
		t.str(", mtu ").u32(t.be32(b, 4))
	case 3:
		switch code {
		case 0:
			t.str(" for ").host(t.addr6(b, 8+24))
		case 1:
			t.str(" (reassembly)")
		default:
			t.str(", unknown code (").num(int(code)).str(")")
		}
	case 4:
		at := t.be32(b, 4)
		switch code {
		case 0:
			t.str(", erroneous - octet ").u32(at)
		case 1:
			t.str(", next header - octet ").u32(at)
		case 2:
			t.str(", option - octet ").u32(at)
		case 3:
			t.str(", incomplete header chain - octet ").u32(at)
		default:
			t.str(", code-#").num(int(code))
		}
	case 128, 129:
		id, seq := t.u16(b, 4), t.u16(b, 6)
		t.str(", id ").num(int(id)).str(", seq ").num(int(seq))
	case 130:
		if n == 24 {
			t.mld(b)
		} else {
			t.mld2Query(b, n)
		}
	case 131, 132:
		t.mld(b)
	case 133:
		if t.p.Verbose > 0 {
			t.ndpOptions(skip(b, 8), n-8)
		}
	case 134:
		t.routerAdvert(b, n)
	case 135:
		t.str(", who has ").host(t.addr6(b, 8))
		if t.p.Verbose > 0 {
			t.ndpOptions(skip(b, 24), n-24)
		}
	case 136:
		t.str(", tgt is ").host(t.addr6(b, 8))
		if t.p.Verbose > 0 {
			t.str(", Flags [").flags([]name{{0x80, "router"}, {0x40, "solicited"}, {0x20, "override"}}, int(t.u8(b, 4)), ", ", "none").str("]")
			t.ndpOptions(skip(b, 24), n-24)
		}
	case 137:
		t.str(", ").host(t.addr6(b, 24)).str(" to ").host(t.addr6(b, 8))
		if t.p.Verbose > 0 {
			t.ndpOptions(skip(b, 40), n-40)
		}
	case 143:
		t.mld2Report(b, n)
		return
	default:
		t.str(", length ").num(n)
		if t.p.Verbose <= 1 {
			t.hexLines(b[:min(len(b), n)])
		}
		return
	}
	if t.p.Verbose == 0 && !t.cut {
		t.str(", length ").num(n)
	}
}

func (t *text) icmp6Unreachable(b []byte, n int, code uint8) {
	names := []name{{0, "unreachable route"}, {1, " unreachable prohibited"}, {2, "beyond scope"}, {3, "unreachable address"}, {4, "unreachable port"}}
	t.str(", ").lookup(names, int(code), "unknown unreach code (%)")
	dst := t.addr6(b, 8+24)
	switch code {
	case 0, 1, 3:
		t.str(" ").host(dst)
	case 2:
		t.str(" ").host(dst).str(", source address ").host(t.addr6(b, 8+8))
	case 4:
		next, at := wire.Proto(t.u8(b, 8+6)), 8+wire.IPv6Len
		if x, err := wire.WalkExtensions(skip(b, at), next); err == wire.ExtOK {
			next, at = x.Proto, at+x.Len
		}
		port := t.u16(b, at+2)
		t.str(", ").host(dst)
		switch next {
		case wire.ProtoTCP:
			t.str(" tcp port ").port(next, port)
		case wire.ProtoUDP:
			t.str(" udp port ").port(next, port)
		default:
			t.str(" protocol ").num(int(next)).str(" port ").num(int(port)).str(" unreachable")
		}
	default:
		if t.p.Verbose <= 1 {
			t.hexLines(b[:min(len(b), n)])
		}
	}
}

func (t *text) mld(b []byte) {
	t.str("max resp delay: ").num(int(t.u16(b, 4))).str(" ").str("addr: ").host(t.addr6(b, 8))
}

func (t *text) mld2Query(b []byte, n int) {
	if n < 28 {
		t.invalid()
		return
	}
	t.str(" v2")
	resp := int(t.u16(b, 4))
	if resp >= 32768 {
		resp = (resp&0xfff | 0x1000) << (resp>>12&7 + 3)
	}
	if t.p.Verbose > 0 {
		t.str(" [max resp delay=").num(resp).str("]")
	}
	t.str(" [")
	g := t.addr6(b, 8)
	t.str("gaddr ").host(g)
	if t.p.Verbose > 0 {
		if t.u8(b, 24)&8 != 0 {
			t.str(" sflag")
		}
		if r := t.u8(b, 24) & 7; r != 0 {
			t.str(" robustness=").num(int(r))
		}
		q := int(t.u8(b, 25))
		if q >= 128 {
			q = (q&15 | 16) << (q>>4&7 + 3)
		}
		t.str(" qqi=").num(q)
	}
	if count := int(t.u16(b, 26)); count > 0 {
		if n < 28+16*count {
			t.str(" [invalid number of sources]")
		} else if t.p.Verbose > 1 {
			t.str(" {")
			for i := range count {
				t.str(" ").host(t.addr6(b, 28+16*i))
			}
			t.str(" }")
		} else {
			t.str(", ").num(count).str(" source(s)")
		}
	}
	t.str("]")
}

func (t *text) mld2Report(b []byte, n int) {
	count := int(t.u16(b, 6))
	t.str(", ").num(count).str(" group record(s)")
	if t.p.Verbose > 0 {
		at := 8
		for i := 0; i < count; i++ {
			if n < at+20 {
				t.str(" [invalid number of groups]")
				return
			}
			kind, sources := t.u8(b, at), int(t.u16(b, at+2))
			t.str(" [gaddr ").host(t.addr6(b, at+4))
			t.str(" ").lookup(recordTypes, int(kind), " [v2-report-#%]")
			if n < at+20+16*sources {
				t.str(" [invalid number of sources ").num(sources).str("]")
				return
			}
			if t.p.Verbose > 1 {
				t.str(" {")
				for j := range sources {
					t.str(" ").host(t.addr6(b, at+20+16*j))
				}
				t.str(" }")
			} else {
				t.str(", ").num(sources).str(" source(s)")
			}
			t.str("]")
			at += 20 + 16*sources
			if t.cut {
				return
			}
		}
	}
	if t.p.Verbose == 0 {
		t.str(", length ").num(n)
	}
}

func (t *text) routerAdvert(b []byte, n int) {
	if t.p.Verbose == 0 {
		return
	}
	flags := t.u8(b, 5)
	t.str("\n\thop limit ").num(int(t.u8(b, 4)))
	t.str(", Flags [").flags([]name{{0x80, "managed"}, {0x40, "other stateful"}, {0x20, "home agent"}}, int(flags), ", ", "none").str("]")
	t.str(", pref ").str([]string{"medium", "high", "reserved", "low"}[flags>>3&3])
	t.str(", router lifetime ").num(int(t.u16(b, 6))).str("s, reachable time ").u32(t.be32(b, 8)).str("ms, retrans timer ").u32(t.be32(b, 12)).str("ms")
	t.ndpOptions(skip(b, 16), n-16)
}

var ndpOptionNames = []name{
	{1, "source link-address"}, {2, "destination link-address"}, {3, "prefix info"}, {4, "redirected header"}, {5, "mtu"}, {7, "advertisement interval"},
	{8, "homeagent information"}, {14, "nonce"}, {24, "route info"}, {25, "rdnss"}, {31, "dnssl"},
}

func (t *text) ndpOptions(b []byte, n int) {
	for n > 0 && !t.cut {
		if n < 2 {
			t.trunc()
			return
		}
		kind, units := t.u8(b, 0), int(t.u8(b, 1))
		if t.cut {
			return
		}
		size := units * 8
		if units == 0 || size > n {
			t.trunc()
			return
		}
		t.str("\n\t  ").lookup(ndpOptionNames, int(kind), "unknown").str(" option (").num(int(kind)).str("), length ").num(size).str(" (").num(units).str("): ")
		v := limit(b, size)
		if len(v) < size {
			t.trunc()
			return
		}
		switch kind {
		case 1, 2:
			for i, c := range v[2:] {
				if i > 0 {
					t.byte(':')
				}
				t.hexN(uint64(c), 2)
			}
		case 3:
			t.host(t.addr6(v, 16)).str("/").num(int(t.u8(v, 2)))
			t.str(", Flags [").flags([]name{{0x80, "onlink"}, {0x40, "auto"}, {0x20, "router"}}, int(t.u8(v, 3)), ", ", "none").str("]")
			t.str(", valid time ").ndpSeconds(t.be32(v, 4)).str(", pref. time ").ndpSeconds(t.be32(v, 8))
		case 4:
		case 5:
			t.str(" ").u32(t.be32(v, 4))
			if units != 1 {
				t.str(", bad option length ").num(units)
			}
		case 24:
			t.str(" ").route6(v)
		case 25:
			t.str(" lifetime ").num(int(t.be32(v, 4))).str("s,")
			for at := 8; at+16 <= len(v); at += 16 {
				t.str(" addr: ").host(t.addr6(v, at))
			}
		case 31:
			t.str(" lifetime ").num(int(t.be32(v, 4))).str("s, domain(s):")
			for at := 8; at < len(v) && v[at] != 0; {
				t.str(" ")
				at = t.dnsName(v, at)
				if t.cut {
					return
				}
			}
		default:
			if t.p.Verbose <= 1 {
				t.hexBlock(v, "\n\t  0x")
			}
		}
		if t.p.Verbose > 1 {
			t.hexBlock(v, "\n\t    0x")
		}
		b, n = skip(b, size), n-size
	}
}

// hexBlock prints an option's bytes behind its type and length.
func (t *text) hexBlock(v []byte, begin string) {
	for at := 2; at < len(v); at += 16 {
		t.str(begin).hexN(uint64(at-2), 4).str(": ")
		for i := at; i < min(at+16, len(v)); i++ {
			if (i-at)%2 == 0 {
				t.str(" ")
			}
			t.hexN(uint64(v[i]), 2)
		}
	}
}

func (t *text) route6(v []byte) *text {
	var a [16]byte
	copy(a[:], v[8:])
	return t.host(t.addr6(a[:], 0)).str("/").num(int(v[2])).str(", pref=").str([]string{"medium", "high", "reserved", "low"}[v[3]>>3&3]).str(", lifetime=").ndpSeconds(t.be32(v, 4))
}

func (t *text) ndpSeconds(s uint32) *text {
	if s == 0xffffffff {
		return t.str("infinity")
	}
	return t.u32(s).str("s")
}
