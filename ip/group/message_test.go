package group

import (
	"encoding/hex"
	"net/netip"
	"strings"
	"testing"

	"github.com/towpath/towpath/packet"
	"github.com/towpath/towpath/wire"
)

// What is sent, byte by byte, and what a receiver makes of it.
func TestMessage(t *testing.T) {
	src4, src6 := netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("fe80::1")
	for _, c := range []struct {
		m    Message
		src  netip.Addr
		dst  string
		want string
	}{
		{Message{Kind: ReportV2, Group: names["A"]}, src4, "239.1.2.3", `
			46c0 0020 0000 4000 0102 e912 0a000001 ef010203  IPv4, TOS c0, DF, TTL 1
			94040000                                         router alert (RFC 2113)
			16 00 f8fa ef010203                              v2 report`},
		{Message{Kind: ReportV1, Group: names["A"]}, src4, "239.1.2.3", `
			46c0 0020 0000 4000 0102 e912 0a000001 ef010203
			94040000
			12 00 fcfa ef010203                              v1 report`},
		{Message{Kind: LeaveV2, Group: names["A"]}, netip.IPv4Unspecified(), "224.0.0.2", `
			46c0 0020 0000 4000 0102 0416 00000000 e0000002  to all routers
			94040000
			17 00 f7fa ef010203                              leave`},
		{Message{Kind: ReportMLD, Group: names["X"]}, src6, "ff05::1:3", `
			60000000 0020 00 01 fe800000000000000000000000000001 ff050000000000000000000000010003
			3a 00 0502 0000 0100                             hop-by-hop: router alert MLD, PadN
			83 00 8017 0000 0000 ff050000000000000000000000010003`},
		{Message{Kind: DoneMLD, Group: names["X"]}, netip.IPv6Unspecified(), "ff02::2", `
			60000000 0020 00 01 00000000000000000000000000000000 ff020000000000000000000000000002
			3a 00 0502 0000 0100
			84 00 7d9e 0000 0000 ff050000000000000000000000010003`},
		{Message{Kind: ReportV3, Records: []Record{{wire.RecordToExclude, names["A"], nil}, {wire.RecordAllow, names["B"], []netip.Addr{names["a"], names["b"]}}}}, src4, "224.0.0.22", `
			46c0 0038 0000 4000 0102 f9e8 0a000001 e0000016
			94040000
			22 00 dee0 0000 0002                             v3 report, two records
			04 00 0000 ef010203                              to_ex
			05 00 0002 e8090909 0a000001 0a000002            allow two`},
		{Message{Kind: ReportMLDv2, Records: []Record{{wire.RecordBlock, names["X"], []netip.Addr{names["p"]}}}}, src6, "ff02::16", `
			60000000 0034 00 01 fe800000000000000000000000000001 ff020000000000000000000000000016
			3a 00 0502 0000 0100
			8f 00 4038 0000 0001
			06 00 0001 ff050000000000000000000000010003 20010db8000000000000000000000001`},
	} {
		p := packet.Get()
		c.m.Put(p, c.src)
		var want []byte
		for line := range strings.Lines(strings.TrimSpace(c.want)) {
			line, _, _ = strings.Cut(strings.TrimSpace(line), "  ")
			b, err := hex.DecodeString(strings.ReplaceAll(line, " ", ""))
			if err != nil {
				t.Fatal(err)
			}
			want = append(want, b...)
		}
		b := p.Bytes()
		if string(b) != string(want) {
			t.Errorf("%v:\n got % x\nwant % x", c.m.Kind, b, want)
		}
		if p.Dst.String() != c.dst || p.Src != c.src || p.TTL != 1 || p.Start() != p.Net {
			t.Errorf("%v: facts %v to %v, TTL %d", c.m.Kind, p.Src, p.Dst, p.TTL)
		}
		pseudo := uint32(0)
		if c.src.Is6() {
			pseudo = wire.PseudoSum(p.Src, p.Dst, wire.ProtoICMPv6, p.LenFrom(p.Transport))
		}
		if c.src.Is4() && !wire.IPv4(b).ChecksumOK() || wire.Fold(p.TransportSum(pseudo)) != 0xffff {
			t.Errorf("%v: checksum wrong", c.m.Kind)
		}
		if c.m.Records != nil { // hosts have no use for it
			packet.Free(p)
			continue
		}
		// Another host understands it.
		w := &world{t: New(0, most{}), link: Link{Version: V2}}
		w.t.Join(0, 1, c.m.Group, w)
		p.Ingress = 1
		in := w.t.MLDIn
		if c.src.Is4() {
			in = w.t.IGMPIn
		}
		if r, done := in(0, p, w), c.m.Kind == LeaveV2 || c.m.Kind == DoneMLD; (r == packet.NotDropped) == done {
			t.Errorf("%v is received as %v", c.m.Kind, r)
		}
		if delaying := w.t.All()[0].Delaying; delaying != (c.m.Kind == LeaveV2 || c.m.Kind == DoneMLD) {
			t.Errorf("%v: delaying %v", c.m.Kind, delaying)
		}
		packet.Free(p)
	}
}

func BenchmarkMember(b *testing.B) {
	b.ReportAllocs()
	w := &world{t: New(0, most{})}
	for i := range 20 {
		w.t.Join(0, 1, netip.AddrFrom16([16]byte{0xff, 5, 15: byte(i)}), w)
	}
	g := netip.AddrFrom16([16]byte{0xff, 5, 15: 3})
	for b.Loop() {
		if !w.t.Member(1, g) {
			b.Fatal("no member")
		}
	}
}

// FuzzIn takes messages of any bytes.
func FuzzIn(f *testing.F) {
	for _, p := range []*packet.Packet{
		igmp(wire.IGMPQuery, 0, names["any4"]), igmp(wire.IGMPQuery, 9, names["A"], 2, 9, 0, 1), igmp(wire.IGMPv2Report, 0, names["A"]),
		mldPacket(wire.ICMPv6MLDQuery, 9, names["any6"]), mldPacket(wire.ICMPv6MLDReport, 9, names["X"]),
	} {
		f.Add(p.Bytes())
		packet.Free(p)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		w := &world{t: New(0, most{})}
		w.t.Join(0, 1, names["A"], w)
		w.t.Join(0, 1, names["X"], w)
		for _, proto := range []wire.Proto{wire.ProtoIGMP, wire.ProtoICMPv6} {
			p := packet.Get()
			if !p.AppendBytes(b) {
				packet.Free(p)
				return
			}
			p.Transport, p.Proto, p.Ingress, p.TTL, p.Src = p.Start(), proto, 1, 1, netip.MustParseAddr("fe80::9")
			p.Checksum = packet.ChecksumVerified
			w.in(0, p)
		}
		// Whatever was said, it has an end.
		for range 3 * 8 { // robustness is at most 7
			w.t.Timeout(never/2, w)
		}
		if len(w.t.All()) != 2 || w.t.Deadline() != never {
			t.Errorf("%+v", w.t.All())
		}
	})
}
