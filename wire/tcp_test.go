package wire

import (
	"bytes"
	"reflect"
	"testing"
)

func TestTCP(t *testing.T) {
	h := TCP(tcpSYN[IPv4Len:])
	eq(t, "Valid", h.Valid(), true)
	eq(t, "SrcPort", h.SrcPort(), 49152)
	eq(t, "DstPort", h.DstPort(), 443)
	eq(t, "Seq", h.Seq(), 0x12345678)
	eq(t, "Ack", h.Ack(), 0)
	eq(t, "HeaderLen", h.HeaderLen(), 40)
	eq(t, "Flags", h.Flags(), TCPSyn)
	eq(t, "Reserved", h.Reserved(), 0)
	eq(t, "Window", h.Window(), 64240)
	eq(t, "Checksum", h.Checksum(), 0xf41b)
	eq(t, "Urgent", h.Urgent(), 0)
	eq(t, "len(Options)", len(h.Options()), 20)
	eq(t, "len(Payload)", len(h.Payload()), 0)
	eq(t, "String", h.String(), "49152 > 443: Flags [S], seq 305419896, win 64240, "+
		"options [mss 1460,sackOK,TS val 1000000 ecr 0,nop,wscale 7]")
	sum := Sum(h, PseudoSum(IPv4(tcpSYN).Src(), IPv4(tcpSYN).Dst(), ProtoTCP, len(h)))
	eq(t, "sum with checksum", Fold(sum), 0xffff)

	eq(t, "Valid of 19 bytes", h[:19].Valid(), false)
	eq(t, "Valid without all options", h[:39].Valid(), false)
	eq(t, "String without all options", h[:39].String(), "[invalid tcp]")
	bad := append(TCP(nil), h...)
	bad.SetHeaderLen(16)
	eq(t, "Valid with a header of 16 bytes", bad.Valid(), false)

	b := make([]byte, 40)
	PutTCP(b, &TCPFields{SrcPort: 49152, DstPort: 443, Seq: 0x12345678, Flags: TCPSyn, Window: 64240, Checksum: 0xf41b}, 20)
	o := TCPOptions{HasMSS: true, MSS: 1460, SACKPermitted: true, HasTS: true, TSVal: 1000000, HasWScale: true, WScale: 7}
	eq(t, "Len", o.Len(), 20)
	eq(t, "Put", o.Put(b[TCPLen:]), 20)
	eqBytes(t, "written", b, h)

	s := make(TCP, TCPLen)
	s.SetSrcPort(1)
	s.SetDstPort(2)
	s.SetSeq(3)
	s.SetAck(4)
	s[12] = 0x0e
	s.SetHeaderLen(20)
	s.SetFlags(TCPAe | TCPCwr | TCPFin)
	s.SetWindow(5)
	s.SetChecksum(6)
	s.SetUrgent(7)
	eqBytes(t, "set field by field", s, raw("0001 0002 00000003 00000004 5f81 0005 0006 0007"))
	eq(t, "Flags", s.Flags(), TCPAe|TCPCwr|TCPFin)
	eq(t, "Reserved", s.Reserved(), 7)
}

func TestTCPFlags(t *testing.T) {
	for f, want := range map[TCPFlags]string{
		0: "[none]", TCPSyn: "[S]", TCPSyn | TCPAck: "[S.]", TCPPsh | TCPAck: "[P.]", TCPFin | TCPAck: "[F.]",
		TCPRst: "[R]", TCPAck: "[.]", TCPSyn | TCPEce | TCPCwr: "[SEW]", 0x1ff: "[FSRP.UEWe]", 0xfe00: "[none]",
	} {
		eq(t, want, f.String(), want)
	}
	eq(t, "Has", (TCPSyn | TCPAck).Has(TCPSyn), true)
	eq(t, "Has", TCPSyn.Has(TCPSyn|TCPAck), false)
}

// tcpOptionLayouts are options as Linux lays them out.
var tcpOptionLayouts = []struct {
	name string
	o    TCPOptions
	b    []byte
}{
	{"none", TCPOptions{}, nil},
	{"SYN", TCPOptions{HasMSS: true, MSS: 1460, SACKPermitted: true, HasTS: true, TSVal: 1, TSEcr: 2, HasWScale: true, WScale: 7},
		raw(`02 04 05 b4   04 02 08 0a 00 00 00 01 00 00 00 02   01 03 03 07`)},
	{"SYN without timestamps", TCPOptions{HasMSS: true, MSS: 1460, SACKPermitted: true, HasWScale: true, WScale: 7},
		raw(`02 04 05 b4   01 01 04 02   01 03 03 07`)},
	{"SYN without SACK", TCPOptions{HasMSS: true, MSS: 1460, HasTS: true, TSVal: 1, HasWScale: true},
		raw(`02 04 05 b4   01 01 08 0a 00 00 00 01 00 00 00 00   01 03 03 00`)},
	{"data", TCPOptions{HasTS: true, TSVal: 0x01020304, TSEcr: 0x05060708},
		raw(`01 01 08 0a 01 02 03 04 05 06 07 08`)},
	{"one SACK block", TCPOptions{NSACK: 1, SACK: [4]SACKBlock{{10, 20}}},
		raw(`01 01 05 0a 00 00 00 0a 00 00 00 14`)},
	{"timestamps and three SACK blocks", TCPOptions{HasTS: true, NSACK: 3, SACK: [4]SACKBlock{{1, 2}, {3, 4}, {5, 6}}},
		raw(`01 01 08 0a 00 00 00 00 00 00 00 00
			01 01 05 1a 00000001 00000002 00000003 00000004 00000005 00000006`)},
	{"request for a cookie", TCPOptions{HasMSS: true, MSS: 536, HasFastOpen: true, FastOpen: []byte{}},
		raw(`02 04 02 18   22 02 01 01`)},
	{"cookie", TCPOptions{HasFastOpen: true, FastOpen: []byte("12345678")},
		raw(`22 0a 31 32 33 34 35 36 37 38 01 01`)},
	{"MD5", TCPOptions{HasMSS: true, MSS: 1460, MD5: []byte("0123456789abcdef")},
		raw(`01 01 13 12 30 31 32 33 34 35 36 37 38 39 61 62 63 64 65 66   02 04 05 b4`)},
	{"AO", TCPOptions{AO: []byte("\x01\x02123456789012")},
		raw(`1d 10 01 02 31 32 33 34 35 36 37 38 39 30 31 32`)},
	{"AO of odd size", TCPOptions{AO: []byte("\x01\x02123")},
		raw(`1d 07 01 02 31 32 33 01`)},
	{"user timeout", TCPOptions{HasUserTimeout: true, UserTimeout: 0x8005},
		raw(`1c 04 80 05`)},
}

func TestTCPOptionLayouts(t *testing.T) {
	for _, c := range tcpOptionLayouts {
		b := bytes.Repeat([]byte{0xff}, 40)
		n := c.o.Put(b)
		eqBytes(t, c.name, b[:n], c.b)
		eq(t, c.name+": Len", c.o.Len(), n)
		var got TCPOptions
		eq(t, c.name+": Parse", got.Parse(c.b), true)
		if !reflect.DeepEqual(got, c.o) {
			t.Errorf("%s: Parse gives\n  %+v, want\n  %+v", c.name, got, c.o)
		}
	}
}

func TestTCPOptionsParse(t *testing.T) {
	for _, c := range []struct {
		name string
		b    []byte
		ok   bool
		want TCPOptions
	}{
		{"end of list", raw("00 02 04 05 b4"), true, TCPOptions{}},
		{"unknown option", raw("fd 04 f9 89 03 03 05 00"), true, TCPOptions{HasWScale: true, WScale: 5}},
		{"mss of three bytes", raw("02 03 05 01 03 03 05 00"), true, TCPOptions{HasWScale: true, WScale: 5}},
		{"sack of odd size", raw("05 0b 00 00 00 01 00 00 00 02 00 00"), true, TCPOptions{}},
		{"empty sack", raw("05 02 01 01"), true, TCPOptions{}},
		{"five sack blocks", append(raw("05 2a"), bytes.Repeat([]byte{0, 0, 0, 9}, 10)...), true,
			TCPOptions{NSACK: 4, SACK: [4]SACKBlock{{9, 9}, {9, 9}, {9, 9}, {9, 9}}}},
		{"timestamps not aligned", raw("08 0a 00 00 00 01 00 00 00 02 01 01"), true, TCPOptions{HasTS: true, TSVal: 1, TSEcr: 2}},
		{"cookie of odd size", raw("22 07 01 02 03 04 05 00"), true, TCPOptions{}},
		{"last one wins", raw("03 03 05 03 03 06 00 00"), true, TCPOptions{HasWScale: true, WScale: 6}},

		{"length 0", raw("02 04 05 b4 03 00 07 00"), false, TCPOptions{HasMSS: true, MSS: 1460}},
		{"length 1", raw("03 01 07 00"), false, TCPOptions{}},
		{"no length", raw("01 01 01 03"), false, TCPOptions{}},
		{"length beyond the list", raw("08 0a 00 00"), false, TCPOptions{}},
	} {
		got := TCPOptions{HasMSS: true, NSACK: 3} // to be overwritten
		eq(t, c.name, got.Parse(c.b), c.ok)
		if !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: Parse gives\n  %+v, want\n  %+v", c.name, got, c.want)
		}
	}
}

func FuzzTCPOptions(f *testing.F) {
	for _, c := range tcpOptionLayouts {
		f.Add(c.b)
	}
	f.Add(raw("02 04 05 b4 03 00 07 00"))
	f.Fuzz(func(t *testing.T, b []byte) {
		var o, back TCPOptions
		o.Parse(b)
		buf := make([]byte, o.Len())
		if n := o.Put(buf); n != len(buf) || n%4 != 0 {
			t.Fatalf("Put writes %d bytes, Len is %d", n, len(buf))
		}
		if !back.Parse(buf) {
			t.Fatalf("Parse refuses what Put wrote: % x", buf)
		}
		if !reflect.DeepEqual(o, back) {
			t.Fatalf("options changed from\n  %+v to\n  %+v", o, back)
		}
	})
}

func FuzzTCPRoundTrip(f *testing.F) {
	f.Add(tcpSYN[IPv4Len:])
	f.Fuzz(func(t *testing.T, b []byte) {
		h := append(TCP(nil), b...)
		if !h.Valid() {
			return
		}
		h[tcpOff] &^= 0x0e // the reserved bits
		got := make([]byte, TCPLen)
		PutTCP(got, &TCPFields{h.SrcPort(), h.DstPort(), h.Seq(), h.Ack(), h.Flags(), h.Window(), h.Checksum(), h.Urgent()},
			len(h.Options()))
		eqBytes(t, "TCP", got, h[:TCPLen])
	})
}

func BenchmarkTCPOptionsParse(b *testing.B) {
	for _, c := range tcpOptionLayouts[1:7] {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			var o TCPOptions
			for b.Loop() {
				o.Parse(c.b)
			}
		})
	}
}

func BenchmarkTCPOptionsPut(b *testing.B) {
	for _, c := range tcpOptionLayouts[1:7] {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			buf := make([]byte, 40)
			for b.Loop() {
				c.o.Put(buf[:c.o.Len()])
			}
		})
	}
}
