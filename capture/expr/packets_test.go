package expr

import (
	"encoding/binary"
	"encoding/hex"
	"math/rand/v2"
	"strings"

	"github.com/towpath/towpath/wire"
)

func hx(s string) []byte {
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		panic(err)
	}
	return b
}

func cat(list ...[]byte) (b []byte) {
	for _, x := range list {
		b = append(b, x...)
	}
	return b
}

func be16(v int) []byte { return binary.BigEndian.AppendUint16(nil, uint16(v)) }
func be32(v int) []byte { return binary.BigEndian.AppendUint32(nil, uint32(v)) }

// A body is a network layer's packet and its EtherType.
type body struct {
	typ int
	b   []byte
}

func ipv4(proto, frag, options int, src, dst string, payload []byte) body {
	h := cat([]byte{byte(0x45 + options), 0}, be16(20+4*options+len(payload)), hx("1234"), be16(frag), []byte{64, byte(proto), 0, 0},
		hx(src), hx(dst), make([]byte, 4*options))
	return body{0x0800, cat(h, payload)}
}

func ipv6(next int, src, dst string, payload []byte) body {
	return body{0x86dd, cat(hx("60000000"), be16(len(payload)), []byte{byte(next), 64}, hx(src), hx(dst), payload)}
}

func ports(src, dst int, rest string) []byte { return cat(be16(src), be16(dst), hx(rest)) }

const (
	ip10     = "0a000001"
	ip192    = "c0a80105"
	ip1234   = "01020304"
	ipGroup  = "e0000001"
	ipAll    = "ffffffff"
	ip6a     = "20010db8000000000000000000000001"
	ip6b     = "20010db8800000000000000000000002"
	ip6one   = "00000000000000000000000000000001"
	ip6group = "ff020000000000000000000000000001"
	tcpRest  = "00000001 00000002 5012 ffff 0000 0000 4745 5420"
	macA     = "010203040506"
	macB     = "0a0b0c0d0e0f"
)

// bodies are packets of many kinds.
func bodies() (list []body) {
	add := func(b ...body) { list = append(list, b...) }
	tcp := func(s, d int) []byte { return ports(s, d, tcpRest) }
	udp := func(s, d int) []byte { return ports(s, d, "0010 0000 0102030405060708") }
	for _, p := range [][2]int{{80, 1025}, {1025, 80}, {22, 53}, {443, 8080}, {15, 12}, {5, 5}} {
		add(ipv4(6, 0, 0, ip10, ip192, tcp(p[0], p[1])), ipv4(17, 0, 0, ip192, ip10, udp(p[0], p[1])),
			ipv4(132, 0, 0, ip1234, ip10, udp(p[0], p[1])), ipv6(6, ip6a, ip6b, tcp(p[0], p[1])),
			ipv6(17, ip6b, ip6one, udp(p[0], p[1])), ipv6(132, ip6one, ip6a, udp(p[0], p[1])),
			ipv4(6, 0, 3, ip1234, ip192, tcp(p[0], p[1])), ipv4(6, 0x2000, 0, ip10, ip1234, tcp(p[0], p[1])),
			ipv4(6, 0x0010, 0, ip10, ip192, tcp(p[0], p[1])), ipv4(17, 0x00ff, 10, ip10, ip192, udp(p[0], p[1])))
	}
	for _, flags := range []string{"5002", "5012", "5001", "5004", "5018", "5029", "50c2"} {
		add(ipv4(6, 0, 0, ip192, ip10, ports(1000, 443, "00000001 00000002 "+flags+" 1000 0000 0000")))
	}
	for _, t := range []string{"0800", "0000", "0301", "0b00", "0503"} {
		add(ipv4(1, 0, 0, ip10, ip192, hx(t+"0000 0001 0002 61626364")))
		add(ipv6(58, ip6a, ip6group, hx("80"+t[2:]+"0000 0001 0002")), ipv6(58, ip6a, ip6b, hx("8700 0000 00000000"+ip6a)))
	}
	for _, p := range []int{2, 9, 47, 50, 51, 88, 89, 103, 112, 4, 41, 59, 0} {
		add(ipv4(p, 0, 0, ip10, ipGroup, hx("1600000000000000 45000020")), ipv6(p, ip6a, ip6group, hx("0600000000000000 0600010203040506 00500051")))
	}
	// Chains of extension headers.
	add(ipv6(0, ip6a, ip6b, cat(hx("3c00 0104 00000000"), hx("0600 0104 00000000"), tcp(80, 81))),
		ipv6(43, ip6a, ip6b, cat(hx("1101 0000 00000000 0000000000000000"), udp(53, 54))),
		ipv6(44, ip6a, ip6b, cat(hx("0600 0001 12345678"), tcp(80, 81))), ipv6(44, ip6a, ip6b, cat(hx("1100 0100 12345678"), udp(53, 5))),
		ipv6(51, ip6a, ip6b, cat(hx("0604 0000 00000001 00000001 0000000000000000 00000000"), tcp(80, 22))),
		ipv4(51, 0, 0, ip10, ip192, cat(hx("0604 0000 00000001 00000001 0000000000000000 00000000"), tcp(80, 22))),
		ipv6(60, ip6a, ip6b, hx("3b00 0104 00000000")))
	// Tunnels.
	inner := func(b body) []byte { return cat(hx(macA+macB), be16(b.typ), b.b) }
	in4, in6 := ipv4(6, 0, 0, ip1234, ip10, tcp(80, 1025)), ipv6(17, ip6a, ip6b, udp(53, 80))
	for _, in := range []body{in4, in6} {
		geneve := cat(be16(5000), be16(6081), hx("00500000"), hx("0140 6558 000005 00 01020304"), inner(in))
		bare := cat(be16(5000), be16(6081), hx("00500000"), hx("0000"), be16(in.typ), hx("000007 00"), in.b)
		vxlan := cat(be16(5000), be16(4789), hx("00500000"), hx("08000000 000005 00"), inner(in))
		tagged := cat(be16(5000), be16(4789), hx("00500000"), hx("08000000 000007 00"), hx(macB+macA), hx("81000005"), be16(in.typ), in.b)
		for _, u := range [][]byte{geneve, bare, vxlan, tagged} {
			add(ipv4(17, 0, 0, ip10, ip192, u), ipv4(17, 0, 2, ip10, ip192, u), ipv6(17, ip6a, ip6b, u))
		}
		p := map[int]int{0x0800: 4, 0x86dd: 41}[in.typ]
		add(ipv4(p, 0, 0, ip10, ip192, in.b), ipv6(p, ip6a, ip6b, in.b),
			ipv4(47, 0, 0, ip10, ip192, cat(hx("0000"), be16(in.typ), in.b)),
			ipv4(47, 0, 0, ip10, ip192, cat(hx("2000 6558 00000001"), inner(in))))
	}
	// Other protocols.
	arp := cat(hx("0001 0800 06 04 0001"), hx(macA), hx(ip10), hx(macB), hx(ip1234), make([]byte, 18))
	add(body{0x0806, arp}, body{0x8035, arp}, body{0x0806, cat(hx("0001 0800 06 04 0002"), hx(macB), hx(ip192), hx(macA), hx(ip10))})
	for _, t := range []int{0x6001, 0x6002, 0x6003, 0x6004, 0x6007, 0x809b, 0x80f3, 0x8137, 0x88cc, 0x8809, 0x8863, 0x9000} {
		add(body{t, hx("0000 02 0f28 0f28 0102 0f28 0f28 00112233445566778899aabbccddeeff")})
	}
	add(body{0x6003, hx("2500 8102 0f28 0f28 00000000000000000000000000000000000000000000")},
		body{0x6003, hx("2500 06 00000000000000 0f28 000000000000 0f28 00000000000000000000")})
	// Tags, labels and sessions.
	for _, in := range []body{in4, in6, {0x0806, arp}} {
		tag := func(t, id int, b body) body { return body{t, cat(be16(id), be16(b.typ), b.b)} }
		add(tag(0x8100, 5, in), tag(0x88a8, 0x2064, tag(0x8100, 5, in)), tag(0x9100, 7, in), tag(0x8100, 5, tag(0x8100, 6, tag(0x8100, 7, in))))
		label := func(n, s int) []byte { return be32(n<<12 | s<<8 | 64) }
		add(body{0x8847, cat(label(5, 1), in.b)}, body{0x8847, cat(label(5, 0), label(6, 1), in.b)},
			body{0x8847, cat(label(16, 0), label(1024, 0), label(6, 1), in.b)}, tag(0x8100, 5, body{0x8847, cat(label(5, 1), in.b)}))
		ppp := map[int]string{0x0800: "0021", 0x86dd: "0057", 0x0806: "c021"}[in.typ]
		add(body{0x8864, cat(hx("1100 0005"), be16(len(in.b)+2), hx(ppp), in.b)}, body{0x8864, cat(hx("1100 0007"), be16(len(in.b)+2), hx(ppp), in.b)},
			tag(0x8100, 5, body{0x8864, cat(hx("1100 0005"), be16(len(in.b)+2), hx(ppp), in.b)}))
	}
	return list
}

// llcs are the payloads of frames with LLC that are not SNAP.
var llcs = []string{
	"4242 03 0000 00 00 00", "fefe 03 83 1b 0100 0f 01 00", "fefe 03 83 1b 0100 12 01 00", "fefe 03 83 1b 0100 1a 01 00",
	"fefe 03 81 00000000", "fefe 03 82 00000000", "fefe 03 83 1b 0100 10", "fefe 03 83 1b 0100 18", "fefe 03 83 1b 0100 11",
	"e0e0 03 ffff 0022", "ffff 0022 0001", "f0f0 03 2c00ff", "f0f0 0102", "aaaa03 080007 809b 0102", "aaaa03 000000 80f3 0102",
	"aaaa03 000000 8137 0102", "0606 03 4500", "0505 e3", "0505 af 81", "0505 63", "0505 43", "0505 0f", "0505 6f", "0505 87", "0505 0100", "0505 0500", "0505 0900", "0505 0002",
}

// A frame is a captured packet.
type frame []byte

// snap is a body behind LLC and SNAP.
func (b body) snap() []byte {
	if b.typ == 0x809b {
		return cat(hx("aaaa03 080007"), be16(b.typ), b.b)
	}
	return cat(hx("aaaa03 000000"), be16(b.typ), b.b)
}

// frames returns packets of a link type.
func frames(l wire.LinkType) (list []frame) {
	add := func(parts ...[]byte) { list = append(list, cat(parts...)) }
	ppp := func(t int) []byte {
		for k, v := range pppProtocols {
			if k > 1500 && int(k) == t {
				return be16(int(v))
			}
		}
		return be16(t)
	}
	af := func(t int) []byte {
		switch t {
		case 0x0800:
			return []byte{2}
		case 0x86dd:
			return []byte{10}
		}
		return []byte{7}
	}
	macs := [][]byte{hx(macA + macB), hx(macB + macA), hx("ffffffffffff" + macA), hx("01005e000001" + macB), hx(macB + macB)}
	withLLC := func(prefix ...[]byte) {
		for i, s := range llcs {
			add(prefix[i%len(prefix)], hx(s), make([]byte, 12))
		}
	}
	all := bodies()
	for i, b := range all {
		m := macs[i%len(macs)]
		switch l {
		case EN10MB:
			add(m, be16(b.typ), b.b)
			if i%7 == 0 {
				s := b.snap()
				add(m, be16(min(len(s), 1500)), s)
			}
		case NETANALYZER:
			add(hx("00010203"), m, be16(b.typ), b.b)
		case NETANALYZER_TRANSPARENT:
			add(hx("00010203 55555555555555d5"), m, be16(b.typ), b.b)
		case RAW, IPV4, IPV6:
			add(b.b)
		case NULL:
			switch i % 3 {
			case 0:
				add(af(b.typ), make([]byte, 3), b.b)
			case 1:
				add(make([]byte, 3), af(b.typ), b.b)
			default:
				if b.typ == 0x86dd {
					add([]byte{30, 0, 0, 0}, b.b)
				} else {
					add(af(b.typ), make([]byte, 3), b.b)
				}
			}
		case LOOP:
			add(make([]byte, 3), af(b.typ), b.b)
		case ENC:
			add(af(b.typ), make([]byte, 11), b.b)
		case LINUX_SLL:
			add(be16(i%5), hx("0001 0006"), m[6:], hx("0000"), be16(b.typ), b.b)
		case LINUX_SLL2:
			add(be16(b.typ), hx("0000"), be32(i%4), hx("0001"), []byte{byte(i % 5), 6}, m[6:], hx("0000"), b.b)
		case PPP, PPP_SERIAL, PPP_PPPD:
			add([]byte{byte(i % 2), 3}, ppp(b.typ), b.b)
		case PPP_ETHER:
			add(hx("1100 0005"), be16(len(b.b)), ppp(b.typ), b.b)
		case PPP_BSDOS:
			add(make([]byte, 5), ppp(b.typ), make([]byte, 17), b.b)
		case C_HDLC:
			add(hx("0f00"), be16(b.typ), b.b)
		case FRELAY:
			add(hx("1841"), map[int][]byte{0x0800: hx("03cc"), 0x86dd: hx("038e")}[b.typ], b.b)
		case SLIP:
			add([]byte{byte(i % 2)}, make([]byte, 15), b.b)
		case SLIP_BSDOS:
			add(make([]byte, 24), b.b)
		case IPNET:
			f := af(b.typ)
			if f[0] == 10 {
				f[0] = 26
			}
			add([]byte{1}, f, be16(1+i%2), make([]byte, 20), b.b)
		case PFLOG:
			add([]byte{61}, af(b.typ), []byte{byte(i % 3), byte(i % 16)}, []byte("eth0\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"),
				[]byte("foo\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"), be32(i%8), be32(i%5), make([]byte, 16), []byte{byte(1 + i%2), 0, 0, 0}, b.b)
		case FDDI:
			add([]byte{0x50}, m, b.snap())
		case IEEE802:
			add(hx("1040"), m, b.snap())
		case IP_OVER_FC:
			add(hx("0000"), m[:6], hx("0000"), m[6:], b.snap())
		case ATM_RFC1483:
			add(b.snap())
		case SUNATM:
			switch i % 4 {
			case 0:
				add(hx("01 05 0006 0001"), m, be16(b.typ), b.b)
			case 1:
				add(hx("01 05 0006 ff00"), m, be16(b.typ), b.b)
			default:
				add([]byte{2, byte(i % 3 * 5)}, be16(i%7), b.snap())
			}
		case APPLE_IP_OVER_IEEE1394:
			add(make([]byte, 16), be16(b.typ), b.b)
		case SYMANTEC_FIREWALL:
			add(make([]byte, 6), be16(b.typ), make([]byte, 36), b.b)
		case ARCNET, ARCNET_LINUX:
			code := map[int]byte{0x0800: 212, 0x0806: 213, 0x8035: 214, 0x86dd: 196, 0x809b: 221}[b.typ]
			add([]byte{0x1f, byte(i % 3)}, make([]byte, 2*int(l-ARCNET)/122), []byte{code, 0, 0, 0}, b.b)
		case LTALK:
			add(b.b)
		case MTP2, MTP2_WITH_PHDR, ERF:
			pad := map[wire.LinkType]int{MTP2: 0, MTP2_WITH_PHDR: 4, ERF: 20}[l]
			add(make([]byte, pad), []byte{1, 2, byte(i % 6), byte(5 * (i % 2)), byte(i), byte(i % 3), 0x40, byte(i), byte(5 << 4 * (i % 2)), 5, byte(i), 0x40, 1, 0x50})
		case 130, 137, 133:
			add(hx("4d4743"), []byte{byte(i % 4)}, b.b)
		case IEEE802_11, IEEE802_11_RADIO, IEEE802_11_AVS, PRISM, PPI:
			var prefix []byte
			pad := 0
			switch l {
			case IEEE802_11_RADIO:
				prefix = [][]byte{hx("0000 0800 00000000"), hx("0000 0900 02000000 00"), hx("0000 0900 02000000 20"),
					hx("0000 1200 03000000 0000000000000000 20 02"), hx("0000 1200 03000080 0000000000000000 20 02")}[i%5]
				if i%5 == 2 || i%5 == 3 {
					pad = 2
				}
			case IEEE802_11_AVS:
				prefix = cat(hx("80211001"), be32(64), make([]byte, 56))
			case PRISM:
				if prefix = cat(hx("44000000"), make([]byte, 140)); i%3 == 0 {
					prefix = cat(hx("80211001"), be32(64), make([]byte, 56))
				}
			case PPI:
				prefix = hx("0000 0c00 69000000 02000000")
				if i%5 == 4 {
					prefix = hx("0000 0c00 01000000 02000000")
				}
			}
			ds := byte(i % 4)
			third := macs[(i+1)%len(macs)][:6]
			switch i % 6 {
			case 0: // management
				add(prefix, []byte{byte(i%16) << 4, ds, 0, 0}, m, third, hx("0000"), b.b)
			case 1: // control
				add(prefix, []byte{4 | byte(i%16)<<4, ds, 0, 0}, m, b.b)
			case 2, 3: // data with QoS
				h := cat([]byte{0x88, ds, 0, 0}, m, third, hx("0000"), hx("0000"))
				add(prefix, h, make([]byte, pad), b.snap())
			default:
				h := cat([]byte{0x08 | byte(i%2)<<4, ds, 0, 0}, m, third, hx("0000"))
				if ds == 3 {
					h = cat(h, hx(macA))
				}
				add(prefix, h, b.snap())
			}
		default:
			add(b.b)
		}
	}
	switch l {
	case EN10MB:
		for i, s := range llcs {
			p := hx(s)
			add(macs[i%len(macs)], be16(len(p)), p, make([]byte, 30))
		}
	case LINUX_SLL:
		withLLC(cat(hx("0000 0001 0006"), hx(macA), hx("0000 0004")), cat(hx("0004 0001 0006"), hx(macA), hx("0000 0001")))
	case FDDI:
		withLLC(cat([]byte{0x50}, macs[0]))
	case IEEE802:
		withLLC(cat(hx("1040"), macs[0]))
	case ATM_RFC1483:
		withLLC(nil)
	case SUNATM:
		withLLC(hx("02000005"), hx("02000001"), cat(hx("0100 0006 0001"), macs[0], be16(20)))
		for i, t := range []string{"5a", "4d", "0f", "07", "05", "02", "01"} {
			add(hx("0f00"), be16([]int{5, 1}[i%2]), hx("0901000001"), hx(t), make([]byte, 10))
			add(hx("0f00"), be16([]int{1, 5}[i%2]), hx("0901000001"), hx(t), make([]byte, 10))
		}
		for i := range 20 {
			add(hx("0f00"), be16(i), make([]byte, 10))
		}
	case PPP, PPP_SERIAL, C_HDLC:
		withLLC(hx("ff03 0023"), hx("ff03 0031"), hx("ff03 002b"), hx("0f00 fefe"))
	case FRELAY:
		for _, s := range []string{"0381", "0382", "0383"} {
			add(hx("1841"), hx(s), make([]byte, 20))
		}
	case IEEE802_11:
		withLLC(cat(hx("0801 0000"), macs[0], hx(macA), hx("0000")))
	}
	return list
}

// A capture is packets of one link type.
type capture struct {
	link    wire.LinkType
	packets []frame
}

// captures makes for a link type a capture of whole packets, one of truncated
// ones, and one of noise.
func captures(l wire.LinkType) []capture {
	r := rand.New(rand.NewPCG(1, uint64(l)))
	whole := frames(l)
	var cut, noise []frame
	for _, f := range whole {
		if len(f) > 0 {
			cut = append(cut, f[:r.IntN(len(f))])
		}
		g := append(frame(nil), f...)
		for range 1 + r.IntN(3) {
			if len(g) > 0 {
				g[r.IntN(min(len(g), 64))] = byte(r.Uint32())
			}
		}
		noise = append(noise, g)
	}
	for range 30 {
		b := make(frame, r.IntN(100))
		for i := range b {
			b[i] = byte(r.Uint32())
		}
		noise = append(noise, b)
	}
	return []capture{{l, whole}, {l, cut}, {l, noise}}
}
