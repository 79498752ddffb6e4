package bpf_test

import (
	"os/exec"
	"strings"
	"testing"

	"github.com/towpath/towpath/capture/bpf"
)

// TestTcpdump compares the three listings of a program with tcpdump's.
func TestTcpdump(t *testing.T) {
	if _, err := exec.LookPath("tcpdump"); err != nil {
		t.Skip("tcpdump is not installed")
	}
	for _, expression := range []string{
		"", "ip", "tcp port 80", "ip6 host 2001:db8::1 and udp", "vlan 5 and ip", "less 100", "ip6 protochain 6",
		"len > 10 and ip[0] & 0xf != 3 and ip[2 + ip[0] & 3] % len != 0 and -ip[3] == ip[1] ^ 3",
		"ip[0] * ip[1] / 3 - 7 >= ip[ip[2] : 4] << 3 | ip[5] >> ip[6]", "tcp[tcpflags] & (tcp-syn|tcp-fin) != 0",
	} {
		show := func(form string) string {
			out, err := exec.Command("tcpdump", "-y", "EN10MB", form, expression).Output()
			if err != nil {
				t.Skipf("tcpdump cannot compile for a link type here: %v", err)
			}
			return string(out)
		}
		p, err := bpf.ParseDecimal(show("-ddd"))
		if err != nil {
			t.Errorf("%q: %v", expression, err)
			continue
		}
		if err := p.Validate(); err != nil {
			t.Errorf("%q: %v", expression, err)
		}
		for _, c := range []struct{ form, got string }{{"-d", p.String()}, {"-dd", p.C()}, {"-ddd", p.Decimal()}} {
			if want := show(c.form); c.got != want {
				t.Errorf("%q %s: got\n%swant\n%s", expression, c.form, c.got, want)
			}
		}
		// libpcap leaves numbers in fields that tax and its like do not use.
		if back, err := bpf.ParseListing(p.String()); err != nil || back.String() != p.String() {
			t.Errorf("%q: listing read back as\n%v%v", expression, back, err)
		}
		if p.Loops() != strings.Contains(expression, "protochain") {
			t.Errorf("%q: Loops is %v", expression, p.Loops())
		}
	}
}

func TestParseDecimal(t *testing.T) {
	for _, text := range []string{"", "x", "1", "2\n6 0 0 1", "1\n6 0 0", "1\n6 0 256 0", "1\n6 0 0 4294967296", "-1"} {
		if p, err := bpf.ParseDecimal(text); err == nil {
			t.Errorf("%q: read as %v", text, p)
		}
	}
	if p, err := bpf.ParseDecimal("1,6 0 0 7"); err != nil || len(p) != 1 || p[0].K != 7 {
		t.Errorf("with commas: %v, %v", p, err)
	}
}

// TestString has the lines that tcpdump prints only for live interfaces, or
// never; libpcap's bpf_image gave all but the last.
func TestString(t *testing.T) {
	p := bpf.Program{
		ld(bpf.SizeB, bpf.ModeABS, bpf.AdVlanTagPresent),
		ld(bpf.SizeW, bpf.ModeABS, bpf.AdIfIndex),
		ld(bpf.SizeW, bpf.ModeABS, bpf.NetOff+2),
		ld(bpf.SizeW, bpf.ModeIND, 0xfffffff0),
		op(0xff, 3),
		op(bpf.ClassRET, 0xffffffff),
		op(bpf.ClassLDX|bpf.ModeLEN, 0),
	}
	const want = `(000) ldb      [vlanp]
(001) ld       [ifidx]
(002) ld       [-1048574]
(003) ld       [x + -16]
(004) unimp    0xff
(005) ret      #-1
(006) ldx      #pktlen
`
	if got := p.String(); got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
}

func TestParseListing(t *testing.T) {
	for _, line := range []string{
		"x", "(000)", "(001) ret #0", "(000) ret #4294967296", "(000) ret x", "(000) unimp 0xff", "(000) tax #1",
		"(000) jeq #0x1", "(000) jeq #0x1 jt 1 jf 257", "(000) jeq #0x1 jt 0 jf 1", "(000) ld [nothing]", "(000) ld proto",
	} {
		if p, err := bpf.ParseListing(line); err == nil {
			t.Errorf("%q: read as %v", line, p)
		}
	}
}
