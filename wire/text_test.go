package wire

import (
	"strings"
	"testing"
	"unicode/utf8"
)

func TestFormat(t *testing.T) {
	for _, p := range packets {
		eq(t, p.name, Format(p.frame, LinkEthernet), p.text)
	}
	for _, c := range []struct {
		b    []byte
		link LinkType
		want string
	}{
		{tcpSYN, LinkRaw, "IP 192.0.2.1.49152 > 198.51.100.7.443: Flags [S], seq 305419896, win 64240, " +
			"options [mss 1460,sackOK,TS val 1000000 ecr 0,nop,wscale 7], length 0"},
		{udp6, LinkIPv6, "IP6 2001:db8::1.7 > 2001:db8::2.54321: UDP, length 5"},
		{udp6[:50], LinkRaw, "IP6 truncated-ip - 3 bytes missing! 2001:db8::1.7 > 2001:db8::2.54321: UDP, length 5"},
		{tcpSYN[:40], LinkIPv4, "IP truncated-ip - 20 bytes missing! 192.0.2.1 > 198.51.100.7: [invalid tcp], length 40"},
		{tcpSYN[:10], LinkRaw, "IP [invalid ip], length 10"},
		{nil, LinkRaw, "IP [invalid ip], length 0"},
		{nil, LinkEthernet, "[invalid ethernet], length 0"},
		{taggedFrame, LinkEthernet, "02:00:00:00:00:01 > 01:00:5e:00:00:fb, ethertype 802.1Q-QinQ (0x88a8), length 23: " +
			"vlan 100, p 1, ethertype 802.1Q (0x8100), vlan 7, p 7, DEI, ethertype IPv4 (0x0800), [invalid ip], length 1"},
		{raw("ffffffffffff 020000000001 0026 4242"), LinkEthernet, "02:00:00:00:00:01 > ff:ff:ff:ff:ff:ff, 802.3, length 16"},
		{raw("ffffffffffff 020000000001 88b5 4242"), LinkEthernet,
			"02:00:00:00:00:01 > ff:ff:ff:ff:ff:ff, ethertype 0x88b5 (0x88b5), length 16: length 2"},
		{[]byte{1, 2}, 147, "link type 147, length 2"},
	} {
		eq(t, c.want, Format(c.b, c.link), c.want)
	}
	eq(t, "FormatType", FormatType(arpReply, EtherTypeARP), "ARP, Reply 192.0.2.2 is-at 02:00:00:00:00:02, length 28")
	eq(t, "FormatType", FormatType([]byte{1}, EtherTypeLLDP), "ethertype LLDP (0x88cc), length 1")
	eq(t, "AppendFormat", string(AppendFormat([]byte("1: "), nil, LinkRaw)), "1: IP [invalid ip], length 0")
}

// TestFormatDepth: tunnels in tunnels end in an ellipsis.
func TestFormatDepth(t *testing.T) {
	var b Builder
	b.Reset()
	for range 20 {
		b.PushIPv4(IPv4Fields{TTL: 1, Src: a4, Dst: b4})
	}
	s := Format(b.Bytes(), LinkRaw)
	eq(t, "headers", strings.Count(s, "IP "), depthMax)
	eq(t, "ends in …", strings.HasSuffix(s, ": …"), true)
}

func FuzzFormat(f *testing.F) {
	for _, b := range seeds() {
		f.Add(b, uint16(LinkEthernet))
		f.Add(b, uint16(LinkRaw))
	}
	f.Fuzz(func(t *testing.T, b []byte, link uint16) {
		b = append(make([]byte, 0, len(b)), b...)
		for _, s := range []string{Format(b, LinkType(link)), FormatType(b, EtherType(link))} {
			if s == "" || strings.Contains(s, "\n") || !utf8.ValidString(s) {
				t.Fatalf("%q is not a line", s)
			}
		}
	})
}

func BenchmarkAppendFormat(b *testing.B) {
	for _, p := range packets[:4] {
		b.Run(p.name, func(b *testing.B) {
			b.ReportAllocs()
			var buf []byte
			for b.Loop() {
				buf = AppendFormat(buf[:0], p.frame, LinkEthernet)
			}
		})
	}
}
