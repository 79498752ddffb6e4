package dissect_test

import (
	"bytes"
	"flag"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/towpath/towpath/capture/dissect"
	"github.com/towpath/towpath/capture/savefile"
	"github.com/towpath/towpath/internal/testenv"
	"github.com/towpath/towpath/wire"
)

var mutants = flag.Int("mutants", 20, "compare so many damaged copies of each packet with tcpdump")

var (
	macA = wire.MAC{2, 0, 0, 0, 0, 1}
	macB = wire.MAC{2, 0, 0, 0, 0, 2}
	a4   = netip.MustParseAddr("10.0.0.1")
	b4   = netip.MustParseAddr("192.168.7.2")
	a6   = netip.MustParseAddr("2001:db8::1")
	b6   = netip.MustParseAddr("fe80::2")
)

// packets are frames of every protocol that is printed.
func packets() (all [][]byte) {
	var b wire.Builder
	add := func() { all = append(all, bytes.Clone(b.PushEthernet(macB, macA).Bytes())) }
	v4 := wire.IPv4Fields{TTL: 64, Src: a4, Dst: b4, ID: 7, DF: true}
	v6 := wire.IPv6Fields{HopLimit: 64, Src: a6, Dst: b6}
	ip := func(build func()) {
		build()
		b.PushIPv4(v4)
		add()
		build()
		b.PushIPv6(v6)
		add()
	}
	text := []byte("hello, world")

	// ARP
	for op := range uint16(11) {
		b.Payload(nil).PushARP(op, macA, a4, wire.MAC{}, b4)
		add()
		b.Payload(make([]byte, 18)).PushARP(op, macA, a4, macB, b4)
		add()
	}

	// TCP: a conversation, then options.
	conv := []struct {
		flags    wire.TCPFlags
		seq, ack uint32
		n        int
		back     bool
	}{
		{wire.TCPSyn, 1000, 0, 0, false}, {wire.TCPSyn | wire.TCPAck, 5000, 1001, 0, true}, {wire.TCPAck, 1001, 5001, 0, false},
		{wire.TCPAck | wire.TCPPsh, 1001, 5001, 12, false}, {wire.TCPAck, 5001, 1013, 0, true}, {wire.TCPFin | wire.TCPAck, 1013, 5001, 0, false},
		{wire.TCPRst, 5001, 0, 0, true}, {wire.TCPRst | wire.TCPAck, 5001, 1014, 4, true}, {wire.TCPUrg | wire.TCPAck, 1014, 5001, 3, false},
		{0xff, 9, 8, 1, false}, {0, 9, 8, 0, false},
	}
	for _, c := range conv {
		ip(func() {
			f := wire.TCPFields{SrcPort: 40000, DstPort: 7, Seq: c.seq, Ack: c.ack, Flags: c.flags, Window: 502, Urgent: 3}
			if c.back {
				f.SrcPort, f.DstPort = f.DstPort, f.SrcPort
			}
			b.Payload(text[:c.n]).PushTCP(f, nil)
		})
	}
	for _, o := range [][]byte{
		{2, 4, 5, 180, 4, 2, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2, 1, 3, 3, 7},
		{1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2},
		{1, 1, 5, 18, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0, 4, 0},
		{1, 1, 5, 11, 0, 0, 1, 0, 0, 0, 2, 0},
		{34, 2, 1, 1}, {34, 10, 1, 2, 3, 4, 5, 6, 7, 8, 1, 1}, {34, 3, 1, 0},
		{28, 4, 0x80, 5}, {28, 4, 0, 5}, {19, 18, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 1, 0},
		{29, 8, 1, 2, 3, 4, 5, 6}, {6, 6, 0, 0, 0, 9, 1, 1}, {99, 4, 1, 2}, {99, 1, 1, 1}, {2, 9, 1, 1}, {0, 0, 0, 0}, {1, 0, 7, 7},
		{11, 6, 0, 0, 0, 9, 1, 1}, {2, 3, 1, 1}, {3, 4, 1, 1}, {4, 3, 1, 1}, {254, 4, 0xf9, 0x89}, {253, 4, 1, 2},
	} {
		ip(func() {
			b.Payload(nil)
			b.PushBytes(append([]byte{0x9c, 0x40, 0, 9, 0, 0, 4, 0, 0, 0, 0, 0, byte(5+len(o)/4) << 4, 2, 1, 0, 0, 0, 0, 0}, o...)).SetProto(wire.ProtoTCP)
		})
	}
	ip(func() { // a request of text
		b.Payload([]byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n")).PushTCP(wire.TCPFields{SrcPort: 40001, DstPort: 80, Seq: 1, Ack: 1, Flags: wire.TCPAck | wire.TCPPsh, Window: 1}, nil)
	})

	// UDP
	for _, n := range []int{0, 1, 12} {
		ip(func() { b.Payload(text[:n]).PushUDP(5000, 6000) })
	}
	ip(func() { b.Payload([]byte{0x13, 0x88, 0, 9, 0, 12, 0, 0, 1, 2, 3, 4}).SetProto(wire.ProtoUDP) })
	ip(func() { b.Payload([]byte{0x13, 0x88, 0, 9, 0, 4, 0, 0, 1, 2, 3, 4}).SetProto(wire.ProtoUDP) })
	ip(func() { b.Payload([]byte{0x13, 0x88, 0, 9, 0, 99, 1, 2, 1, 2, 3, 4}).SetProto(wire.ProtoUDP) })
	for _, m := range dnsMessages() {
		ip(func() { b.Payload(m).PushUDP(5000, 53) })
		ip(func() { b.Payload(m).PushUDP(5353, 5353) })
	}
	for _, m := range dhcpMessages() {
		b.Payload(m).PushUDP(68, 67).PushIPv4(v4)
		add()
	}
	for _, m := range ntpMessages() {
		ip(func() { b.Payload(m).PushUDP(123, 123) })
	}

	// ICMP
	for kind := range uint8(20) {
		for code := range uint8(3) {
			b.Payload(text).PushICMPv4(wire.ICMPv4Type(kind), code, 0x00010002).PushIPv4(v4)
			add()
		}
	}
	for _, proto := range []wire.Proto{wire.ProtoTCP, wire.ProtoUDP, 99} {
		for code := range uint8(17) {
			for _, kind := range []uint8{3, 5, 11, 12} {
				b.Payload([]byte{0x13, 0x88, 0, 9, 0, 12, 0, 0, 1, 2, 3, 4}).SetProto(proto).PushIPv4(v4).PushICMPv4(wire.ICMPv4Type(kind), code, 1400).PushIPv4(v4)
				add()
			}
		}
	}
	for _, kind := range []uint8{1, 2, 3, 4, 128, 129, 130, 131, 132, 133, 134, 135, 136, 137, 143, 200} {
		for code := range uint8(6) {
			b.Payload([]byte{0x13, 0x88, 0, 9, 0, 12, 0, 0, 1, 2, 3, 4}).SetProto(wire.ProtoUDP).PushIPv6(v6).PushICMPv6(wire.ICMPv6Type(kind), code, 1400).PushIPv6(v6)
			add()
		}
	}
	option := make([]byte, 256)
	n := wire.PutLinkAddrOption(option, wire.NDPSourceLinkAddr, macA)
	n += wire.PutMTUOption(option[n:], 1400)
	n += wire.PutPrefixInfoOption(option[n:], wire.NDPPrefix{Prefix: netip.MustParsePrefix("2001:db8:1::/64"), OnLink: true, Autonomous: true, Valid: 3600, Preferred: 0xffffffff})
	n += wire.PutRDNSSOption(option[n:], 600, a6, b6)
	n += copy(option[n:], []byte{99, 1, 1, 2, 3, 4, 5, 6})
	b.Payload(option[:n]).PushRouterAdvert(wire.RouterAdvertFields{HopLimit: 64, Managed: true, Lifetime: 1800}).PushIPv6(v6)
	add()
	b.Payload(option[:8]).PushNeighborSolicit(a6).PushIPv6(v6)
	add()
	b.Payload(option[:8]).PushNeighborAdvert(0xe0000000>>24, a6).PushIPv6(v6)
	add()

	// IGMP
	for _, kind := range []wire.IGMPType{0x11, 0x12, 0x16, 0x17} {
		for _, resp := range []uint8{0, 100, 20, 200} {
			b.Payload(nil).PushIGMP(kind, resp, netip.MustParseAddr("239.1.2.3")).PushIPv4(v4)
			add()
		}
	}
	b.Payload([]byte{0x11, 100, 0, 0, 239, 1, 2, 3, 2, 20, 0, 1, 10, 0, 0, 9}).SetProto(wire.ProtoIGMP).PushIPv4(v4)
	add()
	b.Payload([]byte{0x22, 0, 0, 0, 0, 0, 0, 2, 4, 0, 0, 0, 239, 1, 2, 3, 1, 0, 0, 1, 239, 1, 2, 4, 10, 0, 0, 9}).SetProto(wire.ProtoIGMP).PushIPv4(v4)
	add()

	// IP itself: fragments, options, tunnels, unknown protocols.
	f := v4
	f.DF, f.MF = false, true
	b.Payload(text).PushUDP(5000, 6000).PushIPv4(f)
	add()
	f.FragOffset = 1480
	b.Payload(text).SetProto(wire.ProtoUDP).PushIPv4(f)
	add()
	for _, o := range [][]byte{
		{7, 11, 4, 1, 2, 3, 4, 0, 0, 0, 0, 0}, {68, 12, 5, 0, 0, 0, 0, 1, 0, 0, 0, 2}, {68, 12, 13, 1, 10, 0, 0, 1, 0, 0, 0, 2},
		{148, 4, 0, 0}, {148, 4, 0, 9}, {131, 7, 4, 1, 2, 3, 4, 0}, {137, 7, 8, 1, 2, 3, 4, 0}, {1, 1, 1, 0}, {130, 4, 1, 2}, {99, 4, 1, 2}, {7, 3, 1, 0},
	} {
		f := v4
		f.Options = o
		b.Payload(text).PushUDP(5000, 6000).PushIPv4(f)
		add()
	}
	for _, tos := range []uint8{1, 2, 3, 0xb8} {
		f := v4
		f.TOS = tos
		b.Payload(text).PushUDP(5000, 6000).PushIPv4(f)
		add()
		g := v6
		g.TrafficClass, g.FlowLabel = tos, 0x12345
		b.Payload(text).PushUDP(5000, 6000).PushIPv6(g)
		add()
	}
	for _, proto := range []wire.Proto{0, 2, 8, 33, 46, 50, 51, 59, 88, 89, 103, 108, 112, 132, 253} {
		if proto == 33 || proto == 46 || proto == 88 || proto == 89 || proto == 103 || proto == 108 || proto == 112 || proto == 132 || proto == 8 {
			continue // printed as unknown ones
		}
		ip(func() { b.Payload(make([]byte, 24)).SetProto(proto) })
	}
	b.Payload(text).PushUDP(5000, 6000).PushIPv4(v4).PushIPv4(v4)
	add()
	b.Payload(text).PushUDP(5000, 6000).PushIPv6(v6).PushIPv4(v4)
	add()
	b.Payload(text).PushUDP(5000, 6000).PushHopByHop([]byte{5, 2, 0, 0, 1, 0}).PushIPv6(v6)
	add()
	b.Payload(text).PushUDP(5000, 6000).PushDestOpts([]byte{1, 4, 0, 0, 0, 0}).PushIPv6(v6)
	add()
	b.Payload(text).PushUDP(5000, 6000).PushFragment(0, true, 99).PushIPv6(v6)
	add()
	b.Payload(text).SetProto(wire.ProtoUDP).PushFragment(1280, false, 99).PushIPv6(v6)
	add()
	for _, g := range []wire.GREFields{{}, {HasKey: true, Key: 7}, {HasKey: true, Key: 7, HasSeq: true, Seq: 9}} {
		ip(func() { b.Payload(text).PushUDP(5000, 6000).PushIPv4(v4).PushGRE(g) })
	}
	ip(func() {
		b.Payload(text).PushUDP(5000, 6000).PushIPv4(v4).PushEthernet(macA, macB).PushVXLAN(77).PushUDP(1, 4789)
	})

	// VLAN, LLC and friends.
	b.Payload(text).PushUDP(5000, 6000).PushIPv4(v4).PushVLAN(3, false, 42)
	add()
	b.Payload(text).PushUDP(5000, 6000).PushIPv4(v4).PushVLAN(3, true, 42).PushVLAN(0, false, 7)
	add()
	raw := func(h string) {
		var p []byte
		fmt.Sscanf(strings.ReplaceAll(h, " ", ""), "%x", &p)
		all = append(all, p)
	}
	const eth = "020000000002 020000000001 "
	raw(eth + "0026 424203 0000 00 00 00 8000020000000001 00000000 8000020000000001 8001 0000 1400 0200 0f00 0000000000000000")
	raw(eth + "0027 424203 0000 02 02 3c 8000020000000001 00000004 8000020000000001 8001 0000 1400 0200 0f00 00 00000000000000")
	raw(eth + "0026 aaaa03 000000 0800 4500001c000100004011 0000 0a000001 0a000002 13880009 00080000 ")
	raw(eth + "8847 000641ff 4500001c000100004011 0000 0a000001 0a000002 13880009 00080000 0000")
	raw(eth + "8847 00064040 000651ff 4500001c000100004011 0000 0a000001 0a000002 13880009 00080000 0000")
	raw(eth + "8863 11090000000c 0101 0000 0103 0004 01020304")
	raw(eth + "8864 1100 0007 001e 0021 4500001c000100004011 0000 0a000001 0a000002 13880009 00080000")
	raw(eth + "1234 0102030405060708090a0b0c0d0e0f10111213")
	raw(eth + "0010 101003 0102030405060708090a0b0c0d")
	return all
}

func dnsMessages() [][]byte {
	var out [][]byte
	add := func(h string) {
		var p []byte
		fmt.Sscanf(strings.ReplaceAll(h, " ", ""), "%x", &p)
		out = append(out, p)
	}
	const q = "076578616d706c6503636f6d00 "
	add("1234 0100 0001 0000 0000 0000 " + q + "0001 0001")
	add("1234 0120 0001 0000 0000 0001 " + q + "001c 0001 00 0029 1000 00000000 0000")
	add("1234 0110 0001 0000 0000 0001 " + q + "00ff 0003 00 0029 1000 00008000 0000")
	add("1234 8180 0001 0002 0000 0000 " + q + "0001 0001 c00c 0001 0001 00000e10 0004 01020304 c00c 0005 0001 00000e10 0006 03777777c00c")
	add("1234 8583 0001 0000 0001 0000 " + q + "0001 0001 c00c 0006 0001 00000e10 0022 026e73c00c 0a686f73746d6173746572c00c 00000001 00000002 00000003 00000004 00000005")
	add("1234 8400 0001 0003 0001 0001 " + q + "000f 0001 c00c 000f 0001 00000e10 0009 000a 046d61696cc00c c00c 0010 0001 00000e10 0006 0568656c6c6f c00c 0021 0001 00000e10 0008 0001 0002 0050 c00c c00c 0002 0001 00000e10 0006 036e7331c00c c00c 001c 0001 00000e10 0010 20010db8000000000000000000000001")
	add("0000 2800 0001 0000 0001 0000 " + q + "0006 0001 c00c 0001 00fe 00000000 0000")
	add("0000 8182 0002 0000 0000 0000 " + q + "0001 0001 c00c 0001 0001")
	add("0000 0000 0001 0000 0000 0000 05 5f68747470 045f746370 056c6f63616c 00 000c 8001")
	add("0000 8400 0000 0001 0000 0000 05 5f68747470 045f746370 056c6f63616c 00 000c 8001 00000078 0002 c00c")
	add("1234 0100 0001 0000 0000 0000 c00c 0001 0001")
	add("1234 0100 0001 0000 0000 0000 00 0002 0001")
	add("1234 8180 0001 0001 0000 0000 00 0001 0001 00 ffff 0001 00000001 0002 0102")
	return out
}

func dhcpMessages() [][]byte {
	base := make([]byte, 236)
	base[0], base[1], base[2] = 1, 1, 6
	copy(base[4:], []byte{0x12, 0x34, 0x56, 0x78})
	copy(base[28:], macA[:])
	cookie := []byte{0x63, 0x82, 0x53, 0x63}
	one := append(append(bytes.Clone(base), cookie...), 53, 1, 1, 61, 7, 1, 2, 0, 0, 0, 0, 1, 12, 4, 'h', 'o', 's', 't', 55, 5, 1, 3, 6, 15, 119, 57, 2, 5, 220, 255, 0, 0, 0)
	reply := bytes.Clone(base)
	reply[0], reply[10] = 2, 0x80
	copy(reply[16:], []byte{10, 0, 0, 9, 10, 0, 0, 1})
	two := append(append(bytes.Clone(reply), cookie...), 53, 1, 5, 54, 4, 10, 0, 0, 1, 51, 4, 0, 0, 14, 16, 1, 4, 255, 255, 255, 0, 3, 4, 10, 0, 0, 1, 6, 8, 8, 8, 8, 8, 1, 1, 1, 1,
		15, 5, 'l', 'o', 'c', 'a', 'l', 121, 8, 24, 10, 1, 2, 10, 0, 0, 2, 26, 2, 5, 220, 200, 2, 1, 2, 255)
	return [][]byte{base, one, two}
}

func ntpMessages() [][]byte {
	m := make([]byte, 48)
	m[0], m[1], m[2], m[3] = 0x23, 0, 6, 0xec
	copy(m[40:], []byte{0xe0, 1, 2, 3, 0x80, 0, 0, 0})
	r := bytes.Clone(m)
	r[0], r[1] = 0x24, 2
	copy(r[4:], []byte{0, 0, 1, 0, 0, 0, 2, 0, 10, 0, 0, 1, 0xe0, 1, 2, 0, 0x40, 0, 0, 0, 0xe0, 1, 2, 3, 0x80, 0, 0, 0, 0xe0, 1, 2, 4, 0x80, 0, 0, 0})
	p := bytes.Clone(r)
	p[1] = 1
	copy(p[12:], "GPS\x00")
	return [][]byte{m, r, p}
}

// styles are options of tcpdump, and ours.
var styles = []struct {
	args string
	o    dissect.Options
}{
	{"-n", dissect.Options{}},
	{"-ne", dissect.Options{LinkHeader: true}},
	{"-nq", dissect.Options{Quiet: true}},
	{"-nv", dissect.Options{Verbose: 1}},
	{"-nvv", dissect.Options{Verbose: 2}},
	{"-nvvv", dissect.Options{Verbose: 3}},
	{"-nev", dissect.Options{LinkHeader: true, Verbose: 1}},
	{"-nS", dissect.Options{AbsoluteSeq: true}},
	{"-nt", dissect.Options{Time: dissect.TimeNone}},
	{"-ntt", dissect.Options{Time: dissect.TimeUnix}},
	{"-nttt", dissect.Options{Time: dissect.TimeDelta}},
	{"-ntttt", dissect.Options{Time: dissect.TimeDate}},
	{"-nttttt", dissect.Options{Time: dissect.TimeElapsed}},
	{"-nx", dissect.Options{Dump: dissect.DumpHex}},
	{"-nxx", dissect.Options{Dump: dissect.DumpHexLink}},
	{"-nX", dissect.Options{Dump: dissect.DumpBoth}},
	{"-nXX", dissect.Options{Dump: dissect.DumpBothLink}},
	{"-nA", dissect.Options{Dump: dissect.DumpText}},
	{"-n#", dissect.Options{Number: true}},
}

// write makes a capture file of packets, cut to snap bytes.
func write(t *testing.T, name string, link wire.LinkType, pkts [][]byte, snap int) []dissect.Packet {
	f, err := savefile.Create(name, savefile.Header{Link: link, Micro: true})
	if err != nil {
		t.Fatal(err)
	}
	var out []dissect.Packet
	at := time.Unix(1700000000, 123456000)
	for _, p := range pkts {
		at = at.Add(1234567 * time.Microsecond)
		b := p[:min(len(p), snap)]
		if err := f.WritePacket(at, b, len(p)); err != nil {
			t.Fatal(err)
		}
		out = append(out, dissect.Packet{Time: at, Data: b, Length: len(p), Link: link})
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	return out
}

// compare prints packets by tcpdump and by us and returns how many lines agree.
func compare(t *testing.T, file string, args string, o dissect.Options, pkts []dissect.Packet, report int) (equal, all int) {
	cmd := exec.Command("tcpdump", append(strings.Fields(args), "-r", file)...)
	cmd.Env = append(os.Environ(), "TZ=UTC")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	want, err := cmd.Output()
	if err != nil {
		t.Fatalf("tcpdump %s: %v: %s", args, err, stderr.String())
	}
	o.Location = time.UTC
	p := dissect.Printer{Options: o}
	var got []byte
	for i := range pkts {
		got = p.Append(got, &pkts[i])
	}
	// Line by line, per packet: a packet with a line too many or too few must
	// not spoil those after it.
	theirs := split(want, args)
	ours := split(got, args)
	for i := range max(len(theirs), len(ours)) {
		var a, b []string
		if i < len(theirs) {
			a = theirs[i]
		}
		if i < len(ours) {
			b = ours[i]
		}
		for j := range max(len(a), len(b)) {
			var x, y string
			if j < len(a) {
				x = a[j]
			}
			if j < len(b) {
				y = b[j]
			}
			all++
			if x == y {
				equal++
			} else if report > 0 {
				report--
				t.Logf("%s packet %d\n  tcpdump %q\n  towpath %q", args, i, x, y)
			}
		}
	}
	return equal, all
}

// split parts output into packets: their further lines begin with space.
func split(out []byte, args string) (pkts [][]string) {
	for line := range strings.Lines(string(out)) {
		line = strings.TrimRight(line, "\n")
		begins := len(line) > 0 && line[0] >= '0' && line[0] <= '9' || strings.Contains(args, "ttt") && len(line) > 3 && (line[3] == ':') || strings.Contains(args, "#") && strings.HasPrefix(line, "    ") && strings.Contains(line, ":")
		if begins || len(pkts) == 0 {
			pkts = append(pkts, nil)
		}
		pkts[len(pkts)-1] = append(pkts[len(pkts)-1], line)
	}
	return pkts
}

func TestAgainstTcpdump(t *testing.T) {
	testenv.NeedsTool(t, "tcpdump")
	dir := t.TempDir()
	file := filepath.Join(dir, "a.pcap")
	base := packets()
	pkts := write(t, file, wire.LinkEthernet, base, 1<<16)
	var equal, all int
	for _, s := range styles {
		e, n := compare(t, file, s.args, s.o, pkts, 400)
		t.Logf("%s: %d of %d lines equal", s.args, e, n)
		equal, all = equal+e, all+n
	}
	enough(t, equal, all, 0.995)
}

// enough fails if fewer lines are equal than should be.
func enough(t *testing.T, equal, all int, share float64) {
	t.Logf("%d of %d lines equal (%.2f %%)", equal, all, 100*float64(equal)/float64(all))
	if float64(equal) < share*float64(all) {
		t.Errorf("fewer than %.1f %% of the lines are equal", 100*share)
	}
}

func TestDamagedAgainstTcpdump(t *testing.T) {
	testenv.NeedsTool(t, "tcpdump")
	dir := t.TempDir()
	file := filepath.Join(dir, "a.pcap")
	var damaged [][]byte
	rng := rand.New(rand.NewPCG(1, 2))
	for _, p := range packets() {
		for range *mutants {
			q := bytes.Clone(p)
			if rng.IntN(3) == 0 {
				q = q[:rng.IntN(len(q))+1]
			}
			for range rng.IntN(4) {
				q[rng.IntN(len(q))] = byte(rng.Uint32())
			}
			damaged = append(damaged, q)
		}
	}
	pkts := write(t, file, wire.LinkEthernet, damaged, 90)
	var equal, all int
	for _, s := range styles[:7] {
		e, n := compare(t, file, s.args, s.o, pkts, 4)
		equal, all = equal+e, all+n
	}
	enough(t, equal, all, 0.95)
}

// FuzzAppend prints any bytes as packets of any link type.
func FuzzAppend(f *testing.F) {
	for _, p := range packets() {
		f.Add(p, uint16(wire.LinkEthernet), uint8(0), 0)
		f.Add(p[wire.EthernetLen:], uint16(wire.LinkRaw), uint8(3), 10)
	}
	for _, l := range []uint16{0, 12, 108, 113, 276} {
		f.Add(packets()[30], l, uint8(2), 0)
	}
	f.Fuzz(func(t *testing.T, b []byte, link uint16, verbose uint8, more int) {
		p := dissect.Printer{Options: dissect.Options{Verbose: int(verbose % 4), LinkHeader: verbose&4 != 0, Quiet: verbose&8 != 0}}
		pkt := dissect.Packet{Data: b, Length: len(b) + more&0xffff, Link: wire.LinkType(link)}
		out := p.Append(nil, &pkt)
		if len(out) == 0 || out[len(out)-1] != '\n' {
			t.Fatalf("no line: %q", out)
		}
		if len(out) > 1<<20 {
			t.Fatalf("%d bytes of text for %d bytes of packet", len(out), len(b))
		}
	})
}

// TestAllocs: packets of known connections are printed without allocation.
func TestAllocs(t *testing.T) {
	if testenv.Race {
		t.Skip("the race detector allocates")
	}
	p := dissect.Printer{Options: dissect.Options{Verbose: 1, Location: time.UTC, Time: dissect.TimeUnix}}
	var pkts []dissect.Packet
	for _, b := range packets() {
		pkts = append(pkts, dissect.Packet{Data: b, Length: len(b), Link: wire.LinkEthernet})
	}
	out := make([]byte, 0, 1<<16)
	for i := range pkts {
		p.Append(out, &pkts[i])
	}
	if n := testing.AllocsPerRun(10, func() {
		for i := range pkts {
			p.Append(out, &pkts[i])
		}
	}); n > 0 {
		t.Errorf("%v allocations for %d packets", n, len(pkts))
	}
}

func BenchmarkAppend(b *testing.B) {
	p := dissect.Printer{Options: dissect.Options{Location: time.UTC}}
	all := packets()
	out := make([]byte, 0, 1<<16)
	for i := 0; b.Loop(); i++ {
		pkt := dissect.Packet{Data: all[i%len(all)], Length: len(all[i%len(all)]), Link: wire.LinkEthernet}
		p.Append(out, &pkt)
	}
}
