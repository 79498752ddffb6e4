package wire

import (
	"strings"
	"testing"
)

var udp6 = raw(`
	6a e1 23 45         # version 6, class 0xae, flow label 0x12345
	00 0d               # payload length 13
	11                  # next header: UDP
	40                  # hop limit 64
	20 01 0d b8 00 00 00 00 00 00 00 00 00 00 00 01   # source 2001:db8::1
	20 01 0d b8 00 00 00 00 00 00 00 00 00 00 00 02   # destination 2001:db8::2
	00 07               # source port 7
	d4 31               # destination port 54321
	00 0d               # length 13
	8c 54               # checksum
	68 65 6c 6c 6f      # hello`)

func TestIPv6(t *testing.T) {
	h := IPv6(udp6)
	eq(t, "Valid", h.Valid(len(h)), true)
	eq(t, "Valid with padding", h.Valid(60), true)
	eq(t, "Valid of a short packet", h.Valid(52), false)
	eq(t, "Valid of 39 bytes", h[:39].Valid(53), false)
	eq(t, "TrafficClass", h.TrafficClass(), 0xae)
	eq(t, "FlowLabel", h.FlowLabel(), 0x12345)
	eq(t, "PayloadLen", h.PayloadLen(), 13)
	eq(t, "TotalLen", h.TotalLen(), 53)
	eq(t, "NextHeader", h.NextHeader(), ProtoUDP)
	eq(t, "HopLimit", h.HopLimit(), 64)
	eq(t, "Src", h.Src(), ip("2001:db8::1"))
	eq(t, "Dst", h.Dst(), ip("2001:db8::2"))
	eqBytes(t, "Payload", h.Payload(), udp6[40:])
	eq(t, "String", h.String(), "IP6 (class 0xae, flowlabel 0x12345, hlim 64, next-header UDP (17), "+
		"payload length 13) 2001:db8::1 > 2001:db8::2")
	eq(t, "invalid", IPv6(tcpSYN).String(), "[invalid ip6]")

	s := append(IPv6(nil), udp6...)
	s.SetTrafficClass(0x51)
	s.SetFlowLabel(0xfffff)
	s.SetPayloadLen(7)
	s.SetNextHeader(ProtoNoNext)
	s.SetHopLimit(1)
	s.SetSrc(ip("fe80::1%eth0"))
	s.SetDst(ip("ff02::2"))
	want := make([]byte, IPv6Len)
	PutIPv6(want, &IPv6Fields{TrafficClass: 0x51, FlowLabel: 0xfffff, PayloadLen: 7, NextHeader: ProtoNoNext,
		HopLimit: 1, Src: ip("fe80::1"), Dst: ip("ff02::2")})
	eqBytes(t, "set field by field", s[:IPv6Len], want)
	eq(t, "version", s.Valid(47), true)
}

func FuzzIPv6RoundTrip(f *testing.F) {
	f.Add(udp6)
	f.Fuzz(func(t *testing.T, b []byte) {
		h := IPv6(b)
		if !h.Valid(sizeMax) {
			return
		}
		got := make([]byte, IPv6Len)
		PutIPv6(got, &IPv6Fields{TrafficClass: h.TrafficClass(), FlowLabel: h.FlowLabel(), PayloadLen: h.PayloadLen(),
			NextHeader: h.NextHeader(), HopLimit: h.HopLimit(), Src: h.Src(), Dst: h.Dst()})
		eqBytes(t, "IPv6", got, b[:IPv6Len])
	})
}

// chain is every kind of extension header, a first fragment among them.
var chain = raw(`
	2b 00 05 02 00 00 01 00   # hop-by-hop: next routing; router alert 0, padn
	3c 02 00 01 00 00 00 00   # routing: next destination options, type 0, one segment left
	20 01 0d b8 00 00 00 00 00 00 00 00 00 00 00 09
	2c 00 01 04 00 00 00 00   # destination options: next fragment; padn
	33 00 00 01 de ad be ef   # fragment: next AH, offset 0, more, id 0xdeadbeef
	3c 04 00 00               # AH: next destination options, 24 bytes
	00 00 01 00 00 00 00 02   #   SPI 256, sequence number 2
	00 01 02 03 04 05 06 07 08 09 0a 0b
	11 00 1e 04 01 02 03 04   # destination options: next UDP; an unknown option
	00 01 00 02 00 08 00 00   # UDP`)

func TestWalkExtensions(t *testing.T) {
	x, err := WalkExtensions(chain, ProtoHopByHop)
	eq(t, "error", err, ExtOK)
	eq(t, "Proto", x.Proto, ProtoUDP)
	eq(t, "NamedAt", x.NamedAt, 72)
	eq(t, "Len", x.Len, 80)
	eq(t, "Count", x.Count, 6)
	eq(t, "HopByHop", x.HopByHop, true)
	eq(t, "Routing", x.Routing, true)
	eq(t, "RoutingAt", x.RoutingAt, 8)
	eq(t, "DestOpts", x.DestOpts, true)
	eq(t, "DestAt", x.DestAt, 72)
	eq(t, "AH", x.AH, true)
	eq(t, "AHAt", x.AHAt, 48)
	eq(t, "Fragment", x.Fragment, true)
	eq(t, "FragmentAt", x.FragmentAt, 40)
	eq(t, "FragmentNamedAt", x.FragmentNamedAt, 32)
	eq(t, "MoreFragments", x.MoreFragments, true)
	eq(t, "FragOffset", x.FragOffset, 0)
	eq(t, "FragID", x.FragID, 0xdeadbeef)
	eq(t, "Atomic", x.Atomic(), false)

	r := IPv6Routing(chain[x.RoutingAt:])
	eq(t, "Routing.Valid", r.Valid(), true)
	eq(t, "Routing.Len", r.Len(), 24)
	eq(t, "Routing.NextHeader", r.NextHeader(), ProtoDestOpts)
	eq(t, "Routing.String", r.String(), "RT (len=2, type=0, segleft=1)")
	f := IPv6Fragment(chain[x.FragmentAt:])
	eq(t, "Fragment.NextHeader", f.NextHeader(), ProtoAH)
	eq(t, "Fragment.String", f.String(), "frag (0|+), id 0xdeadbeef")
	a := AH(chain[x.AHAt:])
	eq(t, "AH.Valid", a.Valid(), true)
	eq(t, "AH.Len", a.Len(), 24)
	eq(t, "AH.String", a.String(), "AH(spi=0x00000100,seq=0x2)")
	eq(t, "len(AH.ICV)", len(a.ICV()), 12)
	b := make([]byte, 24)
	PutAH(b, ProtoDestOpts, 12, 256, 2)
	copy(b[AHLen:], a.ICV())
	eqBytes(t, "PutAH", b, a[:24])

	o := ExtOptions(chain)
	if _, ok := o.Valid(); !ok {
		t.Error("hop-by-hop options are not valid")
	}
	o = o.Skip()
	v, ok := o.RouterAlert()
	eq(t, "RouterAlert", v, 0)
	eq(t, "RouterAlert ok", ok, true)
	eq(t, "behind it", len(o.Next()), 0)
	o = ExtOptions(chain[x.DestAt:]).Skip()
	eq(t, "Type", o.Type(), 0x1e)
	eq(t, "Action", o.Type().Action(), IPv6OptionSkip)
	eqBytes(t, "Body", o.Body(), []byte{1, 2, 3, 4})
}

func TestWalkExtensionsNone(t *testing.T) {
	for _, p := range []Proto{ProtoTCP, ProtoESP, ProtoNoNext, ProtoMobility, ProtoHIP, 253} {
		x, err := WalkExtensions(nil, p)
		eq(t, p.String(), x, Extensions{Proto: p, NamedAt: -34})
		eq(t, p.String(), err, ExtOK)
	}
}

func TestWalkExtensionsFragments(t *testing.T) {
	x, err := WalkExtensions(raw("06 00 05 a8 00 00 00 07 3c 3c"), ProtoFragment)
	eq(t, "later fragment", err, ExtOK)
	eq(t, "later fragment: Proto", x.Proto, ProtoTCP)
	eq(t, "later fragment: Len", x.Len, 8)
	eq(t, "later fragment: FragOffset", x.FragOffset, 1448)
	eq(t, "later fragment: FragmentNamedAt", x.FragmentNamedAt, -34)

	// What looks like an extension header behind a later fragment is payload.
	x, err = WalkExtensions(raw("3c 00 05 a8 00 00 00 07 06 ff"), ProtoFragment)
	eq(t, "destination options in a later fragment", err, ExtOK)
	eq(t, "destination options in a later fragment: Proto", x.Proto, ProtoDestOpts)

	x, err = WalkExtensions(raw("06 00 00 00 00 00 00 07"), ProtoFragment)
	eq(t, "atomic fragment", err, ExtOK)
	eq(t, "atomic fragment: Atomic", x.Atomic(), true)

	x, err = WalkExtensions(raw("2c 00 00 00 00 00 00 07 06 00 00 00 00 00 00 08"), ProtoFragment)
	eq(t, "second fragment header", err, ExtOK)
	eq(t, "second fragment header: Proto", x.Proto, ProtoFragment)
	eq(t, "second fragment header: Len", x.Len, 8)
	x, err = WalkExtensions(raw("06 00 00 00 00 00 00 08"), x.Proto)
	eq(t, "walk from there", err, ExtOK)
	eq(t, "walk from there: Proto", x.Proto, ProtoTCP)
}

func TestWalkExtensionsErrors(t *testing.T) {
	pad := "3c 00 01 04 00 00 00 00 "
	for _, c := range []struct {
		name    string
		b       string
		next    Proto
		err     ExtError
		pointer uint32
	}{
		{"empty", "", ProtoHopByHop, ExtTruncated, 40},
		{"header cut short", "06 01 01 0c 00 00 00 00", ProtoDestOpts, ExtTruncated, 40},
		{"fragment cut short", pad + "06 00 00", ProtoDestOpts, ExtTruncated, 48},
		{"first fragment without its chain", "3c 00 00 01 00 00 00 07 06 01 01 0c 00 00 00 00", ProtoFragment, ExtIncomplete, 0},
		{"hop-by-hop second", "00 00 01 04 00 00 00 00 06 00 01 04 00 00 00 00", ProtoDestOpts, ExtHopByHop, 40},
		{"hop-by-hop twice", "00 00 01 04 00 00 00 00 06 00 01 04 00 00 00 00", ProtoHopByHop, ExtHopByHop, 40},
		{"17 headers", strings.Repeat(pad, 17), ProtoDestOpts, ExtTooMany, 40 + 15*8},
		{"long headers", strings.Repeat("3c ff"+strings.Repeat(" 00", 2046), 3), ProtoDestOpts, ExtTooLong, 40 + 2*2048},
	} {
		x, err := WalkExtensions(raw(c.b), c.next)
		eq(t, c.name, err, c.err)
		eq(t, c.name+": pointer", x.Pointer(), c.pointer)
	}
	for e := ExtOK; e <= ExtTooLong; e++ {
		if strings.HasPrefix(e.String(), "ExtError") {
			t.Errorf("%d has no words", e)
		}
	}
	code, ok := ExtHopByHop.ParamProblem()
	eq(t, "code", code, ICMPv6UnknownNextHeader)
	eq(t, "code", ok, true)
	_, ok = ExtTruncated.ParamProblem()
	eq(t, "truncated reports", ok, false)
}

func TestIPv6OptionActions(t *testing.T) {
	for typ, want := range map[IPv6OptionType]IPv6OptionAction{
		0x1e: IPv6OptionSkip, 0x5e: IPv6OptionDiscard, 0x9e: IPv6OptionReport, 0xde: IPv6OptionReportUnicast,
	} {
		eq(t, typ.String(), typ.Action(), want)
	}
	eq(t, "Mutable", IPv6OptQuickStart.Mutable(), true)
	home := IPv6Options(append([]byte{0xc9, 16}, ip("2001:db8::5").AsSlice()...))
	a, ok := home.HomeAddr()
	eq(t, "HomeAddr", a, ip("2001:db8::5"))
	eq(t, "HomeAddr ok", ok, true)
}

func TestPutExtensions(t *testing.T) {
	b := raw("ff ff ff ff ff ff ff ff")
	PutFragment(b, ProtoTCP, 1448, true, 7)
	eqBytes(t, "fragment", b, raw("06 00 05 a9 00 00 00 07"))
	for n, want := range []string{
		"06 00 01 04 00 00 00 00", // no options
		"06 00 07 01 03 00 00 00", // one byte: padn of 5
		"06 00 07 07 01 02 00 00",
		"06 00 07 07 07 01 01 00",
		"06 00 07 07 07 07 01 00",
		"06 00 07 07 07 07 07 00", // five: pad1
		"06 00 07 07 07 07 07 07",
		"06 01 07 07 07 07 07 07 07 01 05 00 00 00 00 00",
	} {
		got := raw(strings.Repeat("ff ", 16))
		options := []byte{7, 7, 7, 7, 7, 7, 7}[:n]
		size := PutOptionsHeader(got, ProtoTCP, options)
		if n == 1 {
			want = "06 00 07 01 03 00 00 00"
		}
		eqBytes(t, "options header", got[:size], raw(want))
	}
}

// FuzzWalkExtensions checks the walk's promises: it ends, it stays inside, and
// what it names is where it says.
func FuzzWalkExtensions(f *testing.F) {
	f.Add(chain, uint8(0))
	f.Add(raw("2c 00 00 00 00 00 00 07 06 00 00 00 00 00 00 08"), uint8(44))
	f.Fuzz(func(t *testing.T, b []byte, next uint8) {
		x, err := WalkExtensions(b, Proto(next))
		if x.Len < 0 || x.Len > len(b) || x.Len > ExtLenMax || x.Count > ExtCountMax {
			t.Fatalf("%d headers of %d bytes in %d", x.Count, x.Len, len(b))
		}
		if x.NamedAt >= 0 && Proto(b[x.NamedAt]) != x.Proto {
			t.Fatalf("Proto is %v, byte %d names %v", x.Proto, x.NamedAt, Proto(b[x.NamedAt]))
		}
		if x.Fragment && x.FragmentNamedAt >= 0 && Proto(b[x.FragmentNamedAt]) != ProtoFragment {
			t.Fatalf("byte %d does not name a Fragment header", x.FragmentNamedAt)
		}
		if int(x.Pointer()) > IPv6Len+len(b) {
			t.Fatalf("pointer %d is outside", x.Pointer())
		}
		if err == ExtOK && x.Proto.IsExtension() && !x.Fragment {
			t.Fatalf("the walk ended at %v", x.Proto)
		}
		for _, at := range []struct {
			has bool
			at  int
		}{{x.HopByHop, 0}, {x.DestOpts, x.DestAt}} {
			if !at.has {
				continue
			}
			if o := ExtOptions(b[at.at:]); true {
				if _, ok := o.Valid(); ok {
					for o = o.Skip(); len(o) > 0; o = o.Next() {
						o.Body()
					}
				}
			}
		}
	})
}
