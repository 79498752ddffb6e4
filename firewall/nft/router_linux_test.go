package nft_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/towpath/towpath/firewall/conntrack"
	"github.com/towpath/towpath/firewall/nat"
	"github.com/towpath/towpath/firewall/nft"
	"github.com/towpath/towpath/host"
	"github.com/towpath/towpath/internal/testenv"
	"github.com/towpath/towpath/internal/testenv/kernelrouter"
	"github.com/towpath/towpath/link"
	"github.com/towpath/towpath/packet"
	"github.com/towpath/towpath/wire"
)

// A router is a host of ours that has what a kernelrouter.Router has.
type router struct {
	h     *host.Host
	rules *nft.Ruleset
	ports [2]*port
}

// A port is a device of a router.
type port struct {
	a   *link.Adapter
	out [][]byte
}

func (p *port) Capabilities() link.Capabilities {
	return link.Capabilities{Medium: link.MediumIP, MTU: 1500}
}
func (p *port) Start(a *link.Adapter) error { return nil }
func (p *port) Close() error                { return nil }
func (p *port) Send(l *packet.List, _ *link.Work) {
	for q := l.Pop(); q != nil; q = l.Pop() {
		if b := q.Bytes(); !unruled(b) {
			p.out = append(p.out, bytes.Clone(b))
		}
		packet.Free(q)
	}
}

// unruled reports whether a packet tells of a shorter way, or that there is
// none. How often routers do so differs, and rules have no part in it.
func unruled(b []byte) bool {
	if b[0]>>4 == 6 {
		return b[6] == byte(wire.ProtoICMPv6) && (b[40] == byte(wire.ICMPv6Redirect) || b[40] == byte(wire.ICMPv6Unreachable) && b[41] == wire.ICMPv6NoRoute)
	}
	return b[9] == byte(wire.ProtoICMP) && (b[20] == byte(wire.ICMPv4Redirect) || b[20] == byte(wire.ICMPv4Unreachable) && b[21] == wire.ICMPv4NetUnreachable)
}

func newRouter(t testing.TB, file, text string) *router {
	r := &router{h: host.New(host.Config{Settings: host.Settings{Forward: true, NoAutoconf: true, NoAcceptRA: true, DADTransmits: -1, ICMPRateLimit: -1, ICMP6RateLimit: -1}})}
	t.Cleanup(func() { r.h.Close(context.Background()) })
	for i := range r.ports {
		r.ports[i] = new(port)
		name := fmt.Sprint("tun", i)
		a, err := r.h.AddAdapter(name, r.ports[i])
		if err != nil {
			t.Fatal(err)
		}
		r.ports[i].a = a
		for _, s := range []string{fmt.Sprintf("10.0.%d.254/24", i), fmt.Sprintf("2001:db8:%d::fe/64", i)} {
			if err := r.h.AddAddress(name, netip.MustParsePrefix(s)); err != nil {
				t.Fatal(err)
			}
		}
	}
	var err error
	if r.rules, err = nft.Read(file, text); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	flows := conntrack.NewTable(conntrack.Settings{})
	e, err := nft.NewEngine(nft.Config{Conntrack: flows, NAT: nat.New(flows), Now: r.h.Clock().Now}, r.h.AddJudge, r.h.RemoveJudge)
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Replace(r.rules); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	for _, p := range r.ports {
		p.out = nil
	}
	return r
}

// pass sends a packet in at a network and returns what comes out at both.
func (r *router) pass(network int, b []byte) (out [2][][]byte) {
	p := packet.Get()
	p.AppendBytes(b)
	var l packet.List
	l.Push(p)
	w := link.NewWork(nil)
	r.ports[network].a.Indicate(&l, w)
	w.Run()
	for i, p := range r.ports {
		out[i], p.out = p.out, nil
	}
	return out
}

// A contest lets the kernel and ours pass the same packets by the same rules.
type contest struct {
	t                               *testing.T
	kernel                          *kernelrouter.Router
	text                            string
	ours                            *router
	packets, through, changed, told int
}

func (c *contest) begin(file, text string) {
	exec.Command("conntrack", "-F").Run()
	c.text = text
	c.kernel.Rules(text)
	c.ours = newRouter(c.t, file, text)
}

// pass sends a packet to both and returns what comes out of the kernel.
func (c *contest) pass(network int, b []byte) (out [2][][]byte) {
	c.t.Helper()
	c.packets++
	c.kernel.Send(network, b)
	for i := range out {
		for {
			p := c.kernel.Receive(i, 0)
			if p == nil {
				break
			}
			if unruled(p) {
				continue
			}
			out[i] = append(out[i], bytes.Clone(p))
		}
	}
	ours := c.ours.pass(network, b)
	for i := range out {
		if !equal(out[i], ours[i]) {
			c.t.Errorf("packet %d %s at %d: out of network %d came\nkernel %s\nours   %s", c.packets, wire.Format(b, wire.LinkRaw), network, i, texts(out[i]), texts(ours[i]))
		}
	}
	switch {
	case len(out[1-network]) > 0:
		c.through++
		if !bytes.Equal(b[12:], out[1-network][0][12:]) {
			c.changed++
		}
	case len(out[network]) > 0:
		c.told++
	}
	return out
}

// end compares what is listed.
func (c *contest) end() {
	c.t.Helper()
	out, err := exec.Command("nft", "list", "ruleset").CombinedOutput()
	if err != nil {
		c.t.Fatalf("nft: %v\n%s", err, out)
	}
	if got, want := c.ours.rules.String(), string(out); got != want {
		c.t.Errorf("nft:\n%sours:\n%s", differing(want, got), differing(got, want))
	}
	if c.t.Failed() {
		c.t.Logf("rules:\n%s", c.text)
	}
}

func equal(a, b [][]byte) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if !bytes.Equal(anonymous(a[i]), anonymous(b[i])) {
			return false
		}
	}
	return true
}

// anonymous is a packet without what is anybody's choice in those that a router
// makes itself: class of service, identification, and whether it may be
// fragmented.
func anonymous(b []byte) []byte {
	if b[0]>>4 == 6 && b[23] == 0xfe {
		b = bytes.Clone(b)
		copy(b, []byte{0x60, 0}) // resets have the class of what they answer, or not
	}
	if b[0]>>4 == 4 {
		made := b[15] == 254 || b[9] == byte(wire.ProtoICMP) && b[20] == 3 || b[9] == byte(wire.ProtoTCP) && b[33]&4 != 0
		if made {
			b = bytes.Clone(b)
			b[1] = 0
			clear(b[4:8])
			clear(b[10:12])
		}
	}
	return b
}

func texts(all [][]byte) string {
	var s []string
	for _, b := range all {
		s = append(s, fmt.Sprintf("%s %x", wire.Format(b, wire.LinkRaw), b))
	}
	if s == nil {
		return "nothing"
	}
	return strings.Join(s, "\n       ")
}

// Packets through a router that filters and translates come out as from the
// kernel, byte for byte, and the rules are listed with the same counts.
func TestRouterAsRealNft(t *testing.T) {
	testenv.NeedsTool(t, "nft", "conntrack")
	if os.Getenv(filesEnv) == "" {
		files, first := 12, firstSeed()
		if *all {
			files = 300
		}
		t.Logf("%d random files from -rules-seed %d on; -all takes 300", files, first)
		t.Setenv(filesEnv, fmt.Sprint(files, " ", first))
	}
	testenv.InNamespace(t, func(t *testing.T) {
		var files int
		var first uint64
		fmt.Sscan(os.Getenv(filesEnv), &files, &first)
		c := &contest{t: t, kernel: kernelrouter.New(t, "")}
		c.kernel.Sysctl("net/ipv6/auto_flowlabels", "0")
		c.kernel.Sysctl("net/ipv6/icmp/ratelimit", "0")
		written, err := filepath.Glob("testdata/router/*.nft")
		if err != nil || len(written) == 0 {
			t.Fatalf("no rule files: %v", err)
		}
		turns := len(written) * (1 + files/30)
		for i := range turns + files {
			seed := first + uint64(i)
			g := generator{rand.New(rand.NewPCG(seed, 1))}
			file, text := "rules.nft", ""
			if i < turns {
				file = written[i%len(written)]
				b, err := os.ReadFile(file)
				if err != nil {
					t.Fatal(err)
				}
				text = string(b)
			} else {
				text = g.routerFile()
			}
			c.begin(file, text)
			c.talk(g)
			if c.end(); t.Failed() {
				t.Fatalf("%s, -rules-seed %d", file, seed)
			}
		}
		t.Logf("%d packets, %d came through, %d of those translated, %d answered by the router", c.packets, c.through, c.changed, c.told)
		if c.changed == 0 || c.told == 0 {
			t.Error("nothing was translated, or nothing rejected")
		}
	})
}

func firstSeed() uint64 {
	if *seed != 0 {
		return *seed
	}
	return uint64(time.Now().UnixNano()) % 1e9
}

// routerFile is rules of a router that filters and translates.
func (g generator) routerFile() string {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	some := func(n int, rules ...string) {
		for range 1 + g.IntN(n) {
			line("\t\t%s", pick(g, rules...))
		}
	}
	line("table inet t {")
	line("\tmap servers {\n\t\ttype inet_service : ipv4_addr . inet_service\n\t\telements = { 8080 : 10.0.1.2 . 80, 8443 : 10.0.1.3 . 443 }\n\t}")
	line("\tmap hosts {\n\t\ttype ipv4_addr : ipv4_addr\n\t\telements = { 10.0.0.200 : 10.0.1.2, 10.0.0.201 : 10.0.1.3 }\n\t}")
	if g.IntN(2) == 0 {
		line("\tchain raw {\n\t\ttype filter hook prerouting priority raw; policy accept;")
		some(2, "udp dport 53 counter notrack", "ip saddr 10.0.0.3 counter notrack", "ip6 saddr 2001:db8::3 notrack counter", "meta mark set 0x7 counter")
		line("\t}")
	}
	if g.IntN(2) == 0 {
		line("\tchain mangle {\n\t\ttype filter hook %s priority mangle; policy accept;", pick(g, "prerouting", "forward", "postrouting"))
		for _, own := range []string{"icmpv6 type { mld2-listener-report, nd-redirect }", "icmp type redirect", "icmp type destination-unreachable icmp code net-unreachable"} {
			line("\t\t%s accept", own) // what routers send by themselves, each as it likes
		}
		some(3, "ip saddr 10.0.0.1 counter ip ttl set 33", "tcp dport 80 counter meta mark set 0x3", "udp dport 1000-1003 ip dscp set ef counter",
			"ct state new counter ct mark set 0x5", "ct mark 0x5 counter meta mark set ct mark", "tcp flags syn tcp option maxseg size set 400 counter",
			"ip6 hoplimit set 50 counter", "meta mark 0x3 counter ct mark set meta mark")
		line("\t}")
	}
	line("\tchain pre {\n\t\ttype nat hook prerouting priority dstnat; policy accept;")
	some(4, "ip daddr 10.0.0.200 counter dnat ip to 10.0.1.2", "ip daddr 10.0.0.200 tcp dport 8080 counter dnat ip to 10.0.1.2:80",
		"ip daddr 10.0.0.201 udp dport 53 counter dnat ip to 10.0.1.3:1053", "counter dnat ip to ip daddr map @hosts", "ip protocol tcp counter dnat ip to tcp dport map @servers",
		"ip daddr 10.0.0.200 counter dnat ip to tcp dport map { 80 : 10.0.1.2, 443 : 10.0.1.3 }", "ip6 daddr 2001:db8::200 counter dnat ip6 to 2001:db8:1::2",
		"tcp dport 8081 counter redirect to :9", "ip6 daddr 2001:db8::200 tcp dport 8080 counter dnat ip6 to [2001:db8:1::2]:80", "ct state invalid counter drop",
		"udp dport 1007 counter redirect", "tcp dport 1007 counter drop")
	line("\t}")
	line("\tchain post {\n\t\ttype nat hook postrouting priority srcnat; policy accept;")
	some(3, `oifname "tun1" counter masquerade`, "ip saddr 10.0.0.0/28 counter snat ip to 10.0.1.100", "ip saddr 10.0.0.0/24 counter snat ip prefix to ip saddr map { 10.0.0.0/24 : 10.9.9.0/24 }",
		"ip saddr 10.0.0.1 counter accept", `meta mark 0x3 oifname "tun1" counter masquerade`, "ip6 saddr 2001:db8::/64 counter snat ip6 to 2001:db8:1::100",
		"counter snat ip to ip saddr map { 10.0.0.1 : 10.0.1.101, 10.0.0.2 : 10.0.1.102 }", `iifname "tun1" oifname "tun0" ip saddr 10.0.1.2 counter snat ip to 10.0.0.77`)
	line("\t}")
	line("\tchain sub {")
	some(4, "ct direction original counter", "ct direction reply counter return", "ct status dnat counter accept", "ct status snat counter", "ct original ip daddr 10.0.0.200 counter",
		"ct reply ip saddr 10.0.1.2 counter", "meta l4proto tcp ct original proto-dst 8080 counter", "ct state established,related counter accept", "ct mark != 0 counter", "tcp flags syn / syn,ack counter", "ct l3proto ipv6 counter")
	line("\t}")
	line("\tchain forward {\n\t\ttype filter hook forward priority filter; policy %s;", pick(g, "accept", "drop"))
	some(8, "ct state vmap { established : accept, related : accept, invalid : drop }", "ct state established counter accept", "ct state related counter accept", "ct state invalid counter drop",
		"ct state untracked counter accept", "ct state new counter jump sub", "counter jump sub", "tcp dport 443 counter reject with tcp reset", "udp dport 1001 counter reject", "ip saddr 10.0.0.2 counter accept",
		`iifname "tun0" oifname "tun1" counter accept`, `iifname "tun1" tcp flags syn counter drop`, "meta mark 0x3 counter accept", "icmp type echo-request counter accept", "icmpv6 type echo-request counter accept",
		"tcp dport 22 counter reject with icmpx admin-prohibited", "ct status dnat counter accept", "udp dport 53 counter accept", "tcp dport 1005 counter reject")
	line("\t}")
	if g.IntN(3) == 0 {
		line("\tchain input {\n\t\ttype filter hook input priority filter; policy accept;")
		some(3, "ct status dnat counter", "icmp type echo-request counter drop", "tcp dport 9 counter reject with tcp reset", "udp dport 1007 counter drop", "ct state new counter")
		line("\t}")
	}
	line("}")
	return b.String()
}

// An endpoint is an end of a flow.
type endpoint struct {
	addr netip.Addr
	port uint16
}

// talk has clients and servers on both networks say things to each other.
func (c *contest) talk(g generator) {
	type seen struct {
		network int // that it came out of
		b       []byte
	}
	var heard []seen
	port := uint16(2000)
	for range 60 {
		network := pick(g, 0, 0, 0, 1)
		var b []byte
		if len(heard) > 0 && g.IntN(2) == 0 {
			h := pick(g, heard...)
			network = h.network
			b = g.answer(h.b)
		} else {
			v6 := g.IntN(4) == 0
			port++
			src := endpoint{side(network, 1+g.IntN(4), v6), port}
			dst := endpoint{side(1-network, 2+g.IntN(3), v6), uint16(pick(g, 22, 53, 80, 443, 8080, 8081, 8443, 1000+g.IntN(8)))}
			if network == 0 && g.IntN(2) == 0 {
				dst.addr = side(0, 200+g.IntN(2), v6)
			}
			if g.IntN(12) == 0 {
				dst.addr = side(network, 254, v6)
			}
			b = g.request(src, dst)
		}
		if b == nil {
			continue
		}
		out := c.pass(network, b)
		for i := range out {
			for _, o := range out[i] {
				heard = append(heard, seen{i, o})
			}
		}
		if c.t.Failed() {
			return
		}
	}
}

// side is an address of a network.
func side(network, n int, v6 bool) netip.Addr {
	if !v6 {
		return netip.AddrFrom4([4]byte{10, 0, byte(network), byte(n)})
	}
	if n == 254 {
		return netip.MustParseAddr(fmt.Sprintf("2001:db8:%d::fe", network))
	}
	return netip.MustParseAddr(fmt.Sprintf("2001:db8:%d::%d", network, n))
}

// request is the first packet of a flow.
func (g generator) request(src, dst endpoint) []byte {
	switch g.IntN(4) {
	case 0, 1:
		syn := wire.TCPSyn
		if g.IntN(10) == 0 {
			syn = pick(g, wire.TCPAck, wire.TCPRst, wire.TCPSyn|wire.TCPFin)
		}
		return tcpPacket(src, dst, syn, 1000, 0, "")
	case 2:
		return udpPacket(src, dst, strings.Repeat("q", 1+g.IntN(20)))
	}
	typ := byte(8)
	if src.addr.Is6() {
		typ = 128
	}
	return icmpPacket(src.addr, dst.addr, typ, 0, uint32(src.port)<<16|1, []byte("ping"))
}

// answer is what somebody who gets a packet may say.
func (g generator) answer(b []byte) []byte {
	var src, dst endpoint
	var l4 []byte
	var proto wire.Proto
	if b[0]>>4 == 4 {
		ip := wire.IPv4(b)
		src.addr, dst.addr, proto, l4 = ip.Dst(), ip.Src(), ip.Proto(), b[ip.HeaderLen():]
	} else {
		ip := wire.IPv6(b)
		src.addr, dst.addr, proto, l4 = ip.Dst(), ip.Src(), ip.NextHeader(), b[wire.IPv6Len:]
	}
	if g.IntN(6) == 0 && proto != wire.ProtoICMP && proto != wire.ProtoICMPv6 {
		if src.addr.Is4() {
			return icmpPacket(src.addr, dst.addr, 3, pick[byte](g, 1, 3), 0, b[:min(len(b), 28+g.IntN(20))])
		}
		return icmpPacket(src.addr, dst.addr, 1, 4, 0, b)
	}
	switch proto {
	case wire.ProtoTCP:
		t := wire.TCP(l4)
		src.port, dst.port = t.DstPort(), t.SrcPort()
		switch f := t.Flags(); {
		case f&wire.TCPRst != 0:
			return nil
		case f&(wire.TCPSyn|wire.TCPAck) == wire.TCPSyn:
			return tcpPacket(src, dst, pick(g, wire.TCPSyn|wire.TCPAck, wire.TCPSyn|wire.TCPAck, wire.TCPRst|wire.TCPAck), 5000, t.Seq()+1, "")
		case f&wire.TCPSyn != 0:
			return tcpPacket(src, dst, wire.TCPAck, t.Ack(), t.Seq()+1, "data")
		}
		return tcpPacket(src, dst, pick(g, wire.TCPAck, wire.TCPAck|wire.TCPFin), t.Ack(), t.Seq()+uint32(len(l4)-t.HeaderLen()), pick(g, "", "more"))
	case wire.ProtoUDP:
		u := wire.UDP(l4)
		src.port, dst.port = u.DstPort(), u.SrcPort()
		return udpPacket(src, dst, "answer")
	case wire.ProtoICMP, wire.ProtoICMPv6:
		if l4[0] == 8 || l4[0] == 128 {
			return icmpPacket(src.addr, dst.addr, map[byte]byte{8: 0, 128: 129}[l4[0]], 0, binary.BigEndian.Uint32(l4[4:]), l4[8:])
		}
	}
	return nil
}

func tcpPacket(src, dst endpoint, flags wire.TCPFlags, seq, ack uint32, data string) []byte {
	n := wire.TCPLen
	if flags&wire.TCPSyn != 0 {
		n += 4
	}
	b := make([]byte, n, n+len(data))
	t := wire.TCP(b)
	t.SetSrcPort(src.port)
	t.SetDstPort(dst.port)
	t.SetSeq(seq)
	t.SetAck(ack)
	t.SetHeaderLen(n)
	t.SetFlags(flags)
	t.SetWindow(30000)
	if flags&wire.TCPSyn != 0 {
		copy(b[wire.TCPLen:], []byte{2, 4, 5, 180})
	}
	return ipPacket(src.addr, dst.addr, wire.ProtoTCP, append(b, data...), 16)
}

func udpPacket(src, dst endpoint, data string) []byte {
	b := make([]byte, wire.UDPLen, wire.UDPLen+len(data))
	wire.PutUDP(b, src.port, dst.port, wire.UDPLen+len(data), 0)
	return ipPacket(src.addr, dst.addr, wire.ProtoUDP, append(b, data...), 6)
}

func icmpPacket(src, dst netip.Addr, typ, code byte, rest uint32, data []byte) []byte {
	b := make([]byte, wire.ICMPLen, wire.ICMPLen+len(data))
	wire.PutICMP(b, typ, code, 0, rest)
	proto := wire.ProtoICMP
	if src.Is6() {
		proto = wire.ProtoICMPv6
	}
	return ipPacket(src, dst, proto, append(b, data...), 2)
}

// ipPacket puts an IP header in front of l4, whose checksum is at sum.
func ipPacket(src, dst netip.Addr, proto wire.Proto, l4 []byte, sum int) []byte {
	pseudo := wire.PseudoSum(src, dst, proto, len(l4))
	if proto == wire.ProtoICMP {
		pseudo = 0
	}
	binary.BigEndian.PutUint16(l4[sum:], ^wire.Fold(wire.Sum(l4, pseudo)))
	if src.Is6() {
		b := make([]byte, wire.IPv6Len)
		wire.PutIPv6(b, &wire.IPv6Fields{PayloadLen: len(l4), NextHeader: proto, HopLimit: 64, Src: src, Dst: dst})
		return append(b, l4...)
	}
	b := make([]byte, wire.IPv4Len)
	wire.PutIPv4(b, &wire.IPv4Fields{TotalLen: wire.IPv4Len + len(l4), TTL: 64, Proto: proto, ID: 7, Src: src, Dst: dst})
	return append(b, l4...)
}
