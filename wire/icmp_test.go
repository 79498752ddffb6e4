package wire

import (
	"math"
	"testing"
)

var echoRequest = raw(`
	08 00               # echo request
	66 67               # checksum
	00 01               # identifier 1
	00 02               # sequence number 2
	61 62 63 64 65 66 67 68   # data`)

// reported is the packet that the errors below report on.
const reported = `
	45 00 00 1d 00 07 00 00 40 11 8e 8d   # IPv4, id 7, UDP
	c0 00 02 01 c6 33 64 07               # 192.0.2.1 > 198.51.100.7
	c0 00 00 35 00 09 00 00               # ports 49152 > 53`

var fragNeeded = raw(`
	03 04               # unreachable, fragmentation needed
	37 45               # checksum
	00 00               # unused
	05 78               # MTU 1400
	` + reported)

var portUnreachable = raw(`
	03 03               # unreachable, port
	3c be               # checksum
	00 00 00 00         # unused
	` + reported)

func TestICMPv4(t *testing.T) {
	h := ICMPv4(echoRequest)
	eq(t, "Valid", h.Valid(), true)
	eq(t, "Valid of 7 bytes", h[:7].Valid(), false)
	eq(t, "Type", h.Type(), ICMPv4EchoRequest)
	eq(t, "Code", h.Code(), 0)
	eq(t, "Checksum", h.Checksum(), 0x6667)
	eq(t, "Checksum is right", Checksum(h), 0)
	eq(t, "ID", h.ID(), 1)
	eq(t, "Seq", h.Seq(), 2)
	eq(t, "Rest", h.Rest(), ICMPEcho(1, 2))
	eq(t, "Body", string(h.Body()), "abcdefgh")
	eq(t, "String", h.String(), "ICMP echo request, id 1, seq 2")
	eq(t, "invalid", h[:7].String(), "ICMP [invalid icmp]")
	b := make([]byte, ICMPLen)
	PutICMP(b, uint8(ICMPv4EchoRequest), 0, 0x6667, ICMPEcho(1, 2))
	eqBytes(t, "PutICMP", b, h[:ICMPLen])

	// An echo becomes its reply in place.
	r := append(ICMPv4(nil), h...)
	r.SetType(ICMPv4EchoReply)
	r.SetID(9)
	r.SetChecksum(0)
	r.SetChecksum(Checksum(r))
	eq(t, "reply", r.String(), "ICMP echo reply, id 9, seq 2")
	eq(t, "Checksum of the reply", Checksum(r), 0)
}

func TestICMPv4Errors(t *testing.T) {
	f := ICMPv4(fragNeeded)
	eq(t, "MTU", f.MTU(), 1400)
	eq(t, "checksum", Checksum(f), 0)
	eqBytes(t, "Original", f.Original(), raw(reported))
	eq(t, "Original.Dst", IPv4(f.Original()).Dst(), ip("198.51.100.7"))
	for _, c := range []struct {
		b    []byte
		want string
	}{
		{fragNeeded, "ICMP 198.51.100.7 unreachable - need to frag (mtu 1400)"},
		{portUnreachable, "ICMP 198.51.100.7 udp port 53 unreachable"},
		{raw("03 01 0000 00000000" + reported), "ICMP host 198.51.100.7 unreachable"},
		{raw("03 00 0000 00000000" + reported), "ICMP net 198.51.100.7 unreachable"},
		{raw("03 02 0000 00000000" + reported), "ICMP 198.51.100.7 protocol 17 unreachable"},
		{raw("03 0d 0000 00000000" + reported), "ICMP host 198.51.100.7 unreachable - admin prohibited"},
		{raw("03 01 0000 00000000"), "ICMP unreachable, code 1"},
		{raw("05 01 0000 0a0000fe" + reported), "ICMP redirect 198.51.100.7 to host 10.0.0.254"},
		{raw("0b 00 0000 00000000" + reported), "ICMP time exceeded in-transit"},
		{raw("0b 01 0000 00000000" + reported), "ICMP ip reassembly time exceeded"},
		{raw("0c 00 0000 14000000" + reported), "ICMP parameter problem - octet 20"},
		{raw("2a 07 0000 14000000"), "ICMP type-#42, code 7"},
	} {
		eq(t, c.want, ICMPv4(c.b).String(), c.want)
	}
	eq(t, "Gateway", ICMPv4(raw("05 01 0000 0a0000fe")).Gateway(), ip("10.0.0.254"))
	eq(t, "IsError", ICMPv4Redirect.IsError() && !ICMPv4EchoRequest.IsError() && !ICMPv4TimestampReply.IsError(), true)

	// With the length of RFC 4884, 7 words, extensions are cut off.
	e := ICMPv4(raw("0b 00 0000 00 07 0000" + reported + "20 00 00 00"))
	eqBytes(t, "Original before extensions", e.Original(), raw(reported))
}

func TestICMPv6(t *testing.T) {
	big := ICMPv6(raw("02 00 0000 00000500"))
	eq(t, "Type", big.Type(), ICMPv6PacketTooBig)
	eq(t, "MTU", big.MTU(), 1280)
	eq(t, "String", big.String(), "ICMP6, packet too big, mtu 1280")
	eq(t, "MTU of nonsense", ICMPv6(raw("02 00 0000 ffffffff")).MTU(), math.MaxInt32)
	eq(t, "IsError", big.Type().IsError() && !ICMPv6EchoRequest.IsError(), true)
	eq(t, "IsNDP", ICMPv6Redirect.IsNDP() && !ICMPv6MLDv2Report.IsNDP(), true)

	original := "60000000 0008 11 40 20010db8000000000000000000000001 20010db8000000000000000000000002 c000 0035 0008 0000"
	for _, c := range []struct {
		b    []byte
		want string
	}{
		{raw("80 00 0000 0001 0002"), "ICMP6, echo request, id 1, seq 2"},
		{raw("81 00 0000 0001 0002"), "ICMP6, echo reply, id 1, seq 2"},
		{raw("01 04 0000 00000000" + original), "ICMP6, destination unreachable, unreachable port, 2001:db8::2 udp port 53"},
		{raw("01 00 0000 00000000"), "ICMP6, destination unreachable, unreachable route"},
		{raw("03 00 0000 00000000" + original), "ICMP6, time exceeded in-transit, 2001:db8::2 udp port 53"},
		{raw("04 01 0000 00000028" + original), "ICMP6, parameter problem, code 1, octet 40"},
		{raw("87 00 0000 00000000"), "ICMP6, neighbor solicitation [invalid]"},
		{raw("c8 00 0000 00000000"), "ICMP6, type-#200"},
		{raw("80"), "ICMP6, [invalid icmp6]"},
	} {
		eq(t, c.want, ICMPv6(c.b).String(), c.want)
	}
}

func FuzzICMPRoundTrip(f *testing.F) {
	f.Add(echoRequest)
	f.Add(fragNeeded)
	f.Fuzz(func(t *testing.T, b []byte) {
		if h := ICMPv4(b); h.Valid() {
			got := make([]byte, ICMPLen)
			PutICMP(got, uint8(h.Type()), h.Code(), h.Checksum(), h.Rest())
			eqBytes(t, "ICMP", got, b[:ICMPLen])
		}
	})
}
