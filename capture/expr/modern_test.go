package expr

import (
	"testing"

	"github.com/towpath/towpath/wire"
)

// TestModern asks about a packet that is wrapped in many ways.
func TestModern(t *testing.T) {
	tcp := ports(80, 1025, "00000001 00000002 5012 ffff 0000 0000 4745 5420")
	udp := ports(53, 5000, "0010 0000 0102030405060708")
	four := ipv4(6, 0, 0, ip1234, ip10, tcp)
	six := ipv6(6, ip6a, ip6b, tcp)
	ether := func(b body) []byte { return cat(hx(macA+macB), be16(b.typ), b.b) }
	tag := func(typ, id int, b body) body { return body{typ, cat(be16(id), be16(b.typ), b.b)} }
	session := func(b body) body {
		return body{0x8864, cat(hx("1100 0005"), be16(len(b.b)+2), map[int][]byte{0x800: hx("0021"), 0x86dd: hx("0057")}[b.typ], b.b)}
	}
	labels := func(n int, b body) body {
		var s []byte
		for i := range n {
			last := 0
			if i == n-1 {
				last = 1
			}
			s = cat(s, be32(100+i<<12|last<<8|64))
		}
		return body{0x8847, cat(s, b.b)}
	}
	in := func(proto int, payload []byte) []body {
		return []body{ipv4(proto, 0, 0, ipGroup, ipGroup, payload), ipv4(proto, 0, 2, ipGroup, ipGroup, payload), ipv6(proto, ip6one, ip6one, payload)}
	}

	for _, inner := range []body{four, six} {
		wrapped := []body{inner, tag(0x8100, 5, inner), tag(0x88a8, 7, tag(0x8100, 5, inner)), tag(0x9100, 7, tag(0x8100, 6, tag(0x8100, 5, inner))),
			labels(1, inner), labels(3, inner), tag(0x8100, 5, labels(2, inner)), session(inner), tag(0x8100, 5, session(inner))}
		ipInIP := map[int]int{0x800: 4, 0x86dd: 41}[inner.typ]
		wrapped = append(wrapped, in(ipInIP, inner.b)...)
		for _, flags := range []string{"0000", "2000", "3000", "8000", "b000"} {
			opts := map[string]int{"0000": 0, "2000": 4, "3000": 8, "8000": 4, "b000": 12}[flags]
			wrapped = append(wrapped, in(47, cat(hx(flags), be16(inner.typ), make([]byte, opts), inner.b))...)
			wrapped = append(wrapped, in(47, cat(hx(flags+"6558"), make([]byte, opts), ether(inner)))...)
			wrapped = append(wrapped, in(47, cat(hx(flags+"6558"), make([]byte, opts), ether(tag(0x8100, 9, inner))))...)
		}
		for _, payload := range [][]byte{
			cat(hx("c000 12b5 0000 0000 08000000 00000500"), ether(inner)),
			cat(hx("c000 12b5 0000 0000 08000000 00000500"), ether(tag(0x8100, 9, inner))),
			cat(hx("c000 17c1 0000 0000 0000 6558 00000500"), ether(inner)),
			cat(hx("c000 17c1 0000 0000 0240 6558 00000500 0000000000000000"), ether(inner)),
			cat(hx("c000 17c1 0000 0000 0100"), be16(inner.typ), hx("00000500 00000000"), inner.b),
		} {
			wrapped = append(wrapped, in(17, payload)...)
		}
		wrapped = append(wrapped, tag(0x8100, 5, in(ipInIP, inner.b)[2]))
		for l, frame := range map[wire.LinkType]func(b body) []byte{
			EN10MB:     ether,
			LINUX_SLL:  func(b body) []byte { return cat(make([]byte, 14), be16(b.typ), b.b) },
			FDDI:       func(b body) []byte { return cat(make([]byte, 13), hx("aaaa03000000"), be16(b.typ), b.b) },
			IEEE802_11: func(b body) []byte { return cat(hx("0800"), make([]byte, 22), hx("aaaa03000000"), be16(b.typ), b.b) },
		} {
			for e, want := range map[string]bool{
				"tcp port 80": true, "tcp port 81": false, "port 80 or 443": true, "tcp": true, "icmp": false, "arp": false,
				"tcp src port 80 and dst port 1025": true, "src port 1025": false, "tcp[tcpflags] & tcp-ack != 0": true,
				"tcp[0:2] = 80 and tcp[20:4] = 0x47455420": true, "portrange 70-90": true, "ip proto 6 or ip6 proto 6": true,
				"host 1.2.3.4": inner.typ == 0x800, "src host 1.2.3.4 and dst net 10.0.0.0/8": inner.typ == 0x800,
				"dst host 1.2.3.4": false, "ip6 host 2001:db8::1": inner.typ == 0x86dd, "src net 2001:db8::/32": inner.typ == 0x86dd,
				"not tcp": false, "ip or ip6": true, "sctp": false,
			} {
				ask := bothWays(t, e, Config{Link: l, Modern: true})
				for i, w := range wrapped {
					if got := ask(t, frame(w), meta{}); got != want {
						t.Errorf("%s on %s, wrap %d: %v: %x", e, linkName(l), i, got, frame(w))
					}
				}
			}
		}
	}

	// Chains of headers, and fragments.
	option, routing := hx("0600 0104 00000000"), hx("3c01 0000 00000000 0000000000000000")
	arp := body{0x0806, cat(hx("0001 0800 06 04 0001"), hx(macA), hx(ip10), hx(macB), hx(ip1234))}
	for _, c := range []struct {
		expr string
		b    body
		want bool
	}{
		{"tcp port 80", ipv6(60, ip6a, ip6b, cat(option, tcp)), true},
		{"tcp port 80", ipv6(43, ip6a, ip6b, cat(routing, option, tcp)), true},
		{"tcp port 80", ipv6(44, ip6a, ip6b, cat(hx("0600 0001 12345678"), tcp)), true},
		{"tcp port 80", ipv6(44, ip6a, ip6b, cat(hx("0600 0100 12345678"), tcp)), false},
		{"tcp", ipv6(44, ip6a, ip6b, cat(hx("0600 0100 12345678"), tcp)), true},
		{"tcp port 80", ipv6(51, ip6a, ip6b, cat(hx("0601 0000 00000001 00000001"), tcp)), true},
		{"tcp port 80", ipv4(6, 0x2000, 0, ip10, ip1234, tcp), true},
		{"tcp port 80", ipv4(6, 0x2001, 0, ip10, ip1234, tcp), false},
		{"tcp", ipv4(6, 0x0001, 0, ip10, ip1234, tcp), true},
		{"tcp[0:2] = 80", ipv4(6, 0x0001, 0, ip10, ip1234, tcp), false},
		{"udp port 53", ipv4(17, 0, 0, ip10, ip1234, udp), true},
		{"udp[4:2] = 16", ipv6(17, ip6a, ip6b, udp), true},
		{"ip6[6] = 17", ipv6(17, ip6a, ip6b, udp), true},
		{"ip[9] = 17 and ip[len - 58] = 0x45", ipv4(17, 0, 0, ip10, ip1234, udp), false},
		{"icmp6[0] = 135", ipv6(58, ip6a, ip6b, hx("8700 0000 00000000")), true},
		{"icmp[0] = 8", ipv4(1, 0, 0, ip10, ip192, hx("0800 0000 0001 0002")), true},
		{"arp", arp, true},
		{"arp", tag(0x8100, 5, arp), true},
		{"arp host 10.0.0.1", tag(0x8100, 5, arp), true},
		{"host 10.0.0.1", tag(0x88a8, 5, tag(0x8100, 5, arp)), true},
		{"arp src host 1.2.3.4", tag(0x8100, 5, arp), false},
		{"rarp", tag(0x8100, 5, arp), false},
		{"vlan 5 and tcp port 80", tag(0x8100, 5, four), true},
		{"vlan 6 and tcp port 80", tag(0x8100, 5, four), false},
		{"not vlan and tcp port 80", four, true},
		{"not vlan and tcp port 80", tag(0x8100, 5, four), false},
		{"vlan or tcp", four, true},
		{"geneve and port 80", ipv4(17, 0, 0, ip10, ip192, cat(hx("c000 17c1 0000 0000 0000 6558 00000500"), ether(four))), true},
		{"udp and tcp", ipv4(17, 0, 0, ip10, ip192, cat(hx("c000 12b5 0000 0000 08000000 00000500"), ether(four))), true},
	} {
		if got := run(t, c.expr, Config{Link: EN10MB, Modern: true}, ether(c.b), meta{}); got != c.want {
			t.Errorf("%s: %v: %x", c.expr, got, ether(c.b))
		}
	}
	for _, l := range []wire.LinkType{RAW, NULL, PPP} {
		p := map[wire.LinkType][]byte{RAW: four.b, NULL: cat(hx("02000000"), four.b), PPP: cat(hx("ff030021"), four.b)}[l]
		if !run(t, "tcp port 80 and not udp", Config{Link: l, Modern: true}, p, meta{}) {
			t.Errorf("%s: no match", linkName(l))
		}
	}
}

// TestModernOptimizer compares programs in modern mode with what the optimizer
// makes of them.
func TestModernOptimizer(t *testing.T) {
	for i, k := range tasks(t, "testdata/expressions.txt") {
		if i%40 != 0 && !*full {
			continue
		}
		c := config(k.link, false)
		c.Modern = true
		plain, err := Compile(k.expr, c)
		if err != nil {
			continue
		}
		c.Optimize = true
		short, err := Compile(k.expr, c)
		if err != nil {
			t.Errorf("%v: %v", k, err)
			continue
		}
		if err := verdicts(k.link, plain, short, true); err != nil {
			t.Errorf("%v: the optimized program differs: %v", k, err)
		}
	}
}
