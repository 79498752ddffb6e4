package wire

import (
	"net/netip"
	"testing"
)

// tcpSYN is the first packet of a connection as Linux sends it.
var tcpSYN = raw(`
	45                  # version 4, header of 20 bytes
	00                  # type of service
	00 3c               # total length 60
	1c 46               # identification
	40 00               # don't fragment, offset 0
	40                  # time to live 64
	06                  # protocol: TCP
	32 3a               # header checksum
	c0 00 02 01         # source 192.0.2.1
	c6 33 64 07         # destination 198.51.100.7
	c0 00               # source port 49152
	01 bb               # destination port 443
	12 34 56 78         # sequence number
	00 00 00 00         # acknowledgment number
	a0 02               # header of 40 bytes, SYN
	fa f0               # window 64240
	f4 1b               # checksum
	00 00               # urgent pointer
	02 04 05 b4         # mss 1460
	04 02               # SACK permitted
	08 0a 00 0f 42 40 00 00 00 00   # timestamps 1000000, 0
	01                  # padding
	03 03 07            # window scale 7`)

// igmpReport is a report with the router alert option.
var igmpReport = raw(`
	46                  # version 4, header of 24 bytes
	c0                  # type of service: network control
	00 20               # total length 32
	00 00               # identification
	40 00               # don't fragment
	01                  # time to live 1
	02                  # protocol: IGMP
	41 1b               # header checksum
	c0 00 02 01         # source 192.0.2.1
	e0 00 00 fb         # destination 224.0.0.251
	94 04 00 00         # router alert, 0
	16                  # version 2 report
	00                  # no response time
	09 04               # checksum
	e0 00 00 fb         # group 224.0.0.251`)

func TestIPv4(t *testing.T) {
	h := IPv4(tcpSYN)
	eq(t, "Valid", h.Valid(len(h)), true)
	eq(t, "HeaderLen", h.HeaderLen(), 20)
	eq(t, "TotalLen", h.TotalLen(), 60)
	eq(t, "PayloadLen", h.PayloadLen(), 40)
	eq(t, "TOS", h.TOS(), 0)
	eq(t, "ID", h.ID(), 0x1c46)
	eq(t, "Flags", h.Flags(), IPv4DF)
	eq(t, "DontFragment", h.DontFragment(), true)
	eq(t, "MoreFragments", h.MoreFragments(), false)
	eq(t, "FragOffset", h.FragOffset(), 0)
	eq(t, "IsFragment", h.IsFragment(), false)
	eq(t, "TTL", h.TTL(), 64)
	eq(t, "Proto", h.Proto(), ProtoTCP)
	eq(t, "Checksum", h.Checksum(), 0x323a)
	eq(t, "ChecksumOK", h.ChecksumOK(), true)
	eq(t, "Src", h.Src(), ip("192.0.2.1"))
	eq(t, "Dst", h.Dst(), ip("198.51.100.7"))
	eq(t, "len(Options)", len(h.Options()), 0)
	eq(t, "len(Payload)", len(h.Payload()), 40)
	eq(t, "String", h.String(),
		"IP (tos 0x0, ttl 64, id 7238, offset 0, flags [DF], proto TCP (6), length 60) 192.0.2.1 > 198.51.100.7")
	eq(t, "invalid", h[:19].String(), "[invalid ip]")

	a := IPv4(igmpReport)
	eq(t, "alert.Valid", a.Valid(len(a)), true)
	eq(t, "alert.HeaderLen", a.HeaderLen(), 24)
	eq(t, "alert.ChecksumOK", a.ChecksumOK(), true)
	eq(t, "alert.String", a.String(), "IP (tos 0xc0, ttl 1, id 0, offset 0, flags [DF], proto IGMP (2), "+
		"length 32, options (RA)) 192.0.2.1 > 224.0.0.251")
}

func TestIPv4Valid(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(h IPv4)
		size   int // 0: as long as the slice
		want   bool
	}{
		{"as it is", func(h IPv4) {}, 0, true},
		{"padded by the link", func(h IPv4) {}, 64, true},
		{"cut by the link", func(h IPv4) {}, 59, false},
		{"version 6", func(h IPv4) { h[0] = 0x65 }, 0, false},
		{"header of 16 bytes", func(h IPv4) { h[0] = 0x44 }, 0, false},
		{"header of 60 bytes", func(h IPv4) { h[0] = 0x4f }, 0, true},
		{"total length below the header", func(h IPv4) { h.SetTotalLen(19) }, 0, false},
		{"total length of the header", func(h IPv4) { h.SetTotalLen(20) }, 0, true},
		{"total length 0", func(h IPv4) { h.SetTotalLen(0) }, 0, false},
		{"total length beyond the packet", func(h IPv4) { h.SetTotalLen(61) }, 0, false},
	} {
		h := append(IPv4(nil), tcpSYN...)
		c.change(h)
		size := c.size
		if size == 0 {
			size = len(h)
		}
		eq(t, c.name, h.Valid(size), c.want)
	}
	eq(t, "options beyond the slice", IPv4(igmpReport[:20]).Valid(32), false)
	eq(t, "19 bytes", IPv4(tcpSYN[:19]).Valid(60), false)
}

func TestIPv4Setters(t *testing.T) {
	h := append(IPv4(nil), tcpSYN...)
	h.SetTOS(0x2e)
	h.SetTotalLen(52)
	h.SetID(0xbeef)
	h.SetFragment(IPv4MF, 1480)
	h.SetTTL(3)
	h.SetProto(ProtoUDP)
	h.SetSrc(ip("10.0.0.1"))
	h.SetDst(ip("10.0.0.2"))
	eq(t, "ChecksumOK", h.ChecksumOK(), false)
	h.UpdateChecksum()
	eq(t, "ChecksumOK after UpdateChecksum", h.ChecksumOK(), true)

	want := make([]byte, IPv4Len)
	PutIPv4(want, &IPv4Fields{TOS: 0x2e, TotalLen: 52, ID: 0xbeef, MF: true, FragOffset: 1480, TTL: 3,
		Proto: ProtoUDP, Src: ip("10.0.0.1"), Dst: ip("10.0.0.2")})
	eqBytes(t, "set field by field", h[:IPv4Len], want)
	eq(t, "FragOffset", h.FragOffset(), 1480)
	eq(t, "IsFragment", h.IsFragment(), true)
	eq(t, "Flags", h.Flags().String(), "+")
}

func TestIPv4DecTTL(t *testing.T) {
	for _, b := range [][]byte{tcpSYN, igmpReport} {
		h := append(IPv4(nil), b...)
		// All identifications bring all checksums, those at the corners of ones'
		// complement too.
		for id := range 1 << 16 {
			h.SetID(uint16(id))
			h.SetTTL(64)
			h.UpdateChecksum()
			h.DecTTL()
			got := h.Checksum()
			h.UpdateChecksum()
			if h.TTL() != 63 || got != h.Checksum() {
				t.Fatalf("id %#x: DecTTL leaves TTL %d, checksum %#x, want 63, %#x", id, h.TTL(), got, h.Checksum())
			}
		}
	}
}

func TestPutIPv4(t *testing.T) {
	b := make([]byte, IPv4Len)
	PutIPv4(b, &IPv4Fields{TotalLen: 60, ID: 0x1c46, DF: true, TTL: 64, Proto: ProtoTCP,
		Src: ip("192.0.2.1"), Dst: ip("198.51.100.7")})
	eqBytes(t, "header", b, tcpSYN[:IPv4Len])

	f := IPv4Fields{TOS: 0xc0, TotalLen: 32, DF: true, TTL: 1, Proto: ProtoIGMP,
		Src: ip("192.0.2.1"), Dst: ip("224.0.0.251"), Options: IPv4RouterAlert}
	b = raw("ff ff ff ff ff ff ff ff ff ff ff ff ff ff ff ff ff ff ff ff ff ff ff ff")
	eq(t, "HeaderLen", f.HeaderLen(), 24)
	PutIPv4(b, &f)
	eqBytes(t, "header with options", b, igmpReport[:24])

	f.Options = []byte{7, 3, 4, 1, 1}
	b = raw("ff ff ff ff ff ff ff ff ff ff ff ff ff ff ff ff ff ff ff ff ff ff ff ff ff ff ff ff")
	PutIPv4(b, &f)
	eqBytes(t, "padded options", b[20:], []byte{7, 3, 4, 1, 1, 0, 0, 0})
	eq(t, "ChecksumOK", IPv4(b).ChecksumOK(), true)
}

func TestIPv4MistakesPanic(t *testing.T) {
	for name, f := range map[string]func(){
		"IPv6 address": func() { PutIPv4(make([]byte, 20), &IPv4Fields{Src: ip("::1"), Dst: ip("10.0.0.1")}) },
		"no address":   func() { IPv4(make([]byte, 20)).SetDst(netip.Addr{}) },
		"options": func() {
			PutIPv4(make([]byte, 80), &IPv4Fields{Options: make([]byte, 41), Src: ip("10.0.0.1"), Dst: ip("10.0.0.1")})
		},
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: no panic", name)
				}
			}()
			f()
		}()
	}
}

func TestIPv4Options(t *testing.T) {
	b := raw(`
		01                  # nop
		07 0b 08            # record route, 11 bytes, next slot at 8
		c0 00 02 fe         #   192.0.2.254
		00 00 00 00         #   free
		44 0c 09 21         # timestamp, 12 bytes, pointer 9, overflow 2, flag 1
		00 00 00 01 00 00 00 02
		83 07 04            # loose source route, next hop at 4
		0a 00 00 01         #   10.0.0.1
		94 04 00 00         # router alert
		00                  # end of list
		ff                  # behind it`)
	o := IPv4Options(b)
	bad, ok := o.Valid()
	eq(t, "Valid", ok, true)
	eq(t, "bad", bad, 0)

	o = o.Skip()
	eq(t, "first", o.Type(), IPv4OptRecordRoute)
	eq(t, "Len", o.Len(), 11)
	eq(t, "Pointer", o.Pointer(), 8)
	eq(t, "RecordAddr", o.RecordAddr(ip("198.51.100.1")), true)
	eqBytes(t, "recorded", o.Body(), raw("0c c0 00 02 fe c6 33 64 01"))
	eq(t, "RecordAddr when full", o.RecordAddr(ip("198.51.100.2")), false)

	o = o.Next()
	eq(t, "second", o.Type(), IPv4OptTimestamp)
	eq(t, "TimestampFlag", o.TimestampFlag(), 1)
	eq(t, "TimestampOverflow", o.TimestampOverflow(), 2)
	eq(t, "Copied", o.Type().Copied(), false)

	o = o.Next()
	eq(t, "third", o.Type(), IPv4OptLSRR)
	eq(t, "IsSourceRoute", o.Type().IsSourceRoute() && o.Type().Copied(), true)
	a, ok := o.Addr()
	eq(t, "Addr", a, ip("10.0.0.1"))
	eq(t, "Addr ok", ok, true)
	o.SetPointer(8)
	_, ok = o.Addr()
	eq(t, "Addr at the end", ok, false)

	o = o.Next()
	eq(t, "fourth", o.Type(), IPv4OptRouterAlert)
	eq(t, "RouterAlert", o.RouterAlert(), 0)
	eq(t, "behind the end", len(o.Next()), 0)
}

func TestIPv4OptionsValid(t *testing.T) {
	for _, c := range []struct {
		name string
		b    []byte
		bad  int
		ok   bool
	}{
		{"none", nil, 0, true},
		{"padding", []byte{1, 1, 1, 0}, 0, true},
		{"no length", []byte{1, 7}, 1, false},
		{"length 0", []byte{7, 0, 4, 0}, 1, false},
		{"length 1", []byte{7, 1, 4, 0}, 1, false},
		{"length beyond the list", []byte{1, 7, 4, 4}, 2, false},
		{"route without pointer", []byte{131, 2, 0, 0}, 1, false},
		{"route pointing into itself", []byte{137, 3, 3, 0}, 2, false},
		{"timestamp of three bytes", []byte{68, 3, 5, 0}, 1, false},
		{"timestamp pointing into itself", []byte{1, 68, 4, 4, 0}, 3, false},
		{"router alert of three bytes", []byte{148, 3, 0, 0}, 1, false},
		{"unknown", []byte{222, 3, 9, 1}, 0, true},
	} {
		bad, ok := IPv4Options(c.b).Valid()
		eq(t, c.name+": ok", ok, c.ok)
		eq(t, c.name+": bad", bad, c.bad)
	}
}

func FuzzIPv4RoundTrip(f *testing.F) {
	f.Add(tcpSYN)
	f.Add(igmpReport)
	f.Fuzz(func(t *testing.T, b []byte) {
		h := append(IPv4(nil), b...)
		if !h.Valid(sizeMax) {
			return
		}
		h.SetFragment(h.Flags()&^IPv4Evil, h.FragOffset())
		h.UpdateChecksum()
		got := make([]byte, h.HeaderLen())
		PutIPv4(got, &IPv4Fields{TOS: h.TOS(), TotalLen: h.TotalLen(), ID: h.ID(), DF: h.DontFragment(),
			MF: h.MoreFragments(), FragOffset: h.FragOffset(), TTL: h.TTL(), Proto: h.Proto(),
			Src: h.Src(), Dst: h.Dst(), Options: h.Options()})
		eqBytes(t, "IPv4", got, h[:h.HeaderLen()])
		if !h.ChecksumOK() {
			t.Fatal("UpdateChecksum left a wrong checksum")
		}
	})
}

func TestProto(t *testing.T) {
	eq(t, "TCP", ProtoTCP.String(), "TCP")
	eq(t, "unknown", Proto(253).String(), "proto 253")
	var n int
	for p := range 256 {
		if Proto(p).IsExtension() {
			n++
		}
	}
	eq(t, "extension headers", n, 5)
	for _, p := range []Proto{ProtoHopByHop, ProtoRouting, ProtoFragment, ProtoAH, ProtoDestOpts} {
		eq(t, p.String(), p.IsExtension(), true)
	}
}
