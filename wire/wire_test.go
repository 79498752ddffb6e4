package wire

import (
	"encoding/hex"
	"net/netip"
	"os/exec"
	"reflect"
	"regexp"
	"strings"
	"testing"
)

// raw reads annotated bytes: hexadecimal digits, and on every line a comment
// from '#' on.
func raw(s string) []byte {
	var digits strings.Builder
	for line := range strings.Lines(s) {
		line, _, _ = strings.Cut(line, "#")
		digits.WriteString(strings.Join(strings.Fields(line), ""))
	}
	b, err := hex.DecodeString(digits.String())
	if err != nil {
		panic(err)
	}
	return b
}

// eq checks one value of a table.
func eq[T comparable](t *testing.T, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Errorf("%s = %v, want %v", what, got, want)
	}
}

// eqBytes checks bytes and shows them side by side.
func eqBytes(t *testing.T, what string, got, want []byte) {
	t.Helper()
	if string(got) != string(want) {
		t.Errorf("%s =\n  % x, want\n  % x", what, got, want)
	}
}

func ip(s string) netip.Addr { return netip.MustParseAddr(s) }

// eachView calls f with b under every view that finds it valid.
func eachView(b []byte, f func(view any)) {
	for _, v := range []any{
		Ethernet(b), VLAN(b), ARP(b), IPv4(b), IPv6(b), UDP(b), TCP(b), ICMPv4(b), ICMPv6(b),
		NeighborSolicit(b), NeighborAdvert(b), RouterSolicit(b), RouterAdvert(b), Redirect(b),
		MLD(b), MLDv2Report(b), IGMP(b), GRE(b), VXLAN(b), ESP(b), AH(b), IPv6Fragment(b), IPv6Routing(b),
	} {
		switch h := v.(type) {
		case interface{ Valid() bool }:
			if h.Valid() {
				f(v)
			}
		case interface{ Valid(int) bool }:
			if h.Valid(len(b)) || h.Valid(sizeMax) {
				f(v)
			}
		}
	}
}

// FuzzContract calls every getter of every view that says it is valid: none
// may panic. The slice is cut to its length, so a look beyond it would show.
func FuzzContract(f *testing.F) {
	for _, b := range seeds() {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		b = append(make([]byte, 0, len(b)), b...)
		eachView(b, func(view any) {
			v := reflect.ValueOf(view)
			for i := range v.NumMethod() {
				name, m := v.Type().Method(i).Name, v.Method(i)
				if m.Type().NumIn() > 0 || strings.HasPrefix(name, "Dec") || strings.HasPrefix(name, "Update") {
					continue
				}
				m.Call(nil)
			}
		})
		visitLists(b)
	})
}

// visitLists calls the getters of lists of options and records, and of indexed
// sources.
func visitLists(b []byte) {
	if o := IPv4Options(b[:min(len(b), 40)]); true {
		if bad, ok := o.Valid(); ok {
			for o = o.Skip(); len(o) > 0; o = o.Next() {
				visitIPv4Option(o)
			}
		} else if bad >= len(o) {
			panic("IPv4 options: the byte at fault is outside")
		}
	}
	if o := IPv6Options(b); true {
		if bad, ok := o.Valid(); ok {
			for o = o.Skip(); len(o) > 0; o = o.Next() {
				o.Body()
				o.RouterAlert()
				o.HomeAddr()
			}
		} else if bad >= len(o) {
			panic("IPv6 options: the byte at fault is outside")
		}
	}
	if o := NDPOptions(b); o.Valid() {
		for ; len(o) > 0; o = o.Next() {
			visitNDPOption(o)
		}
	}
	if h := IGMP(b); h.Valid() {
		for i := range h.NumSources() {
			h.Source(i)
		}
		visitRecords(h.Records())
	}
	if h := MLD(b); h.Valid() {
		for i := range h.NumSources() {
			h.Source(i)
		}
	}
	if h := MLDv2Report(b); h.Valid() {
		visitRecords(h.Records())
	}
}

func visitIPv4Option(o IPv4Options) {
	o.Body()
	switch o.Type() {
	case IPv4OptRecordRoute, IPv4OptLSRR, IPv4OptSSRR:
		o.Pointer()
		o.Addr()
	case IPv4OptTimestamp:
		o.TimestampFlag()
		o.TimestampOverflow()
	case IPv4OptRouterAlert:
		o.RouterAlert()
	}
}

func visitNDPOption(o NDPOptions) {
	o.Body()
	o.LinkAddr()
	o.MTU()
	o.Nonce()
	o.PrefixInfo()
	o.RouteInfo()
	o.RedirectedPacket()
	if _, n, ok := o.RDNSS(); ok {
		for i := range n {
			o.Server(i)
		}
	}
}

func visitRecords(r GroupRecords) {
	for ; r.More(); r = r.Next() {
		r.Type()
		r.Group()
		for i := range r.NumSources() {
			r.Source(i)
		}
	}
}

// TestValidIsExact cuts every seed short at every length: a view may say yes or
// no, but getters hold.
func TestValidIsExact(t *testing.T) {
	for _, b := range seeds() {
		for n := range len(b) {
			eachView(b[:n:n], func(view any) {
				if s, ok := view.(interface{ String() string }); ok {
					_ = s.String()
				}
			})
			visitLists(b[:n:n])
		}
	}
}

// TestSplitPayload: the slice holds the headers only, the payload is
// elsewhere.
func TestSplitPayload(t *testing.T) {
	src, dst := ip("10.0.0.1"), ip("10.0.0.2")
	b := make([]byte, IPv4Len+UDPLen)
	PutIPv4(b, &IPv4Fields{TotalLen: 1500, TTL: 64, Proto: ProtoUDP, Src: src, Dst: dst})
	PutUDP(b[IPv4Len:], 1, 2, 1480, 0)
	h := IPv4(b)
	eq(t, "IPv4.Valid(1500)", h.Valid(1500), true)
	eq(t, "IPv4.Valid(1514)", h.Valid(1514), true)
	eq(t, "IPv4.Valid(1499)", h.Valid(1499), false)
	eq(t, "len(Payload)", len(h.Payload()), UDPLen)
	u := UDP(h.Payload())
	eq(t, "UDP.Valid(1480)", u.Valid(h.PayloadLen()), true)
	eq(t, "UDP.Valid(1479)", u.Valid(1479), false)
	eq(t, "len(UDP.Payload)", len(u.Payload()), 0)

	b6 := make([]byte, IPv6Len)
	PutIPv6(b6, &IPv6Fields{PayloadLen: 1000, Src: ip("::1"), Dst: ip("::2")})
	eq(t, "IPv6.Valid(1040)", IPv6(b6).Valid(1040), true)
	eq(t, "IPv6.Valid(1039)", IPv6(b6).Valid(1039), false)
}

// TestInlining guards what makes getters free.
func TestInlining(t *testing.T) {
	if testing.Short() {
		t.Skip("compiles the package")
	}
	goTool, err := exec.LookPath("go")
	if err != nil {
		t.Skip("no go command")
	}
	out, err := exec.Command(goTool, "build", "-gcflags=-m", ".").CombinedOutput()
	if err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	can := map[string]bool{}
	for _, m := range regexp.MustCompile(`can inline (\S+)`).FindAllStringSubmatch(string(out), -1) {
		can[m[1]] = true
	}
	for _, name := range strings.Fields(`
		Ethernet.Valid Ethernet.Dst Ethernet.Src Ethernet.Type Ethernet.SetDst Ethernet.SetSrc Ethernet.SetType
		PutEthernet VLAN.ID VLAN.PCP VLAN.Type PutVLAN ARP.Op ARP.SenderIP ARP.TargetIP ARP.SenderMAC
		IPv4.HeaderLen IPv4.TotalLen IPv4.PayloadLen IPv4.TOS IPv4.ID IPv4.DontFragment IPv4.MoreFragments
		IPv4.FragOffset IPv4.IsFragment IPv4.TTL IPv4.Proto IPv4.Checksum IPv4.Src IPv4.Dst IPv4.Options
		IPv4.SetTotalLen IPv4.SetID IPv4.SetTTL IPv4.SetFragment IPv4.DecTTL
		IPv6.Valid IPv6.TrafficClass IPv6.FlowLabel IPv6.PayloadLen IPv6.NextHeader IPv6.HopLimit IPv6.Src IPv6.Dst
		IPv6.SetPayloadLen IPv6.SetHopLimit Proto.IsExtension
		UDP.Valid UDP.SrcPort UDP.DstPort UDP.Len UDP.Checksum UDP.SetLen UDP.SetChecksum PutUDP
		TCP.Valid TCP.SrcPort TCP.DstPort TCP.Seq TCP.Ack TCP.HeaderLen TCP.Flags TCP.Window TCP.Checksum TCP.Urgent
		TCP.Options TCP.Payload TCP.SetSeq TCP.SetAck TCP.SetFlags TCP.SetWindow TCP.SetChecksum
		ICMPv4.Type ICMPv4.Code ICMPv4.ID ICMPv4.Seq ICMPv4.MTU ICMPv6.Type ICMPv6.Code ICMPv6.MTU ICMPv6.Pointer
		NDPOptions.Next NDPOptions.Len Fold ChecksumUpdate16 ChecksumUpdate32 UDPChecksum`) {
		if !can[name] {
			t.Errorf("%s is not inlined", name)
		}
	}
}
