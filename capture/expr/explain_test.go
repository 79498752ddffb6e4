package expr

import (
	"fmt"
	"strings"
	"testing"
)

// TestExplainAgrees compares the verdicts of explanations with programs'.
func TestExplainAgrees(t *testing.T) {
	for i, k := range sampled(t, tasks(t, "testdata/expressions.txt")) {
		if i%4 != 0 && !*full {
			continue
		}
		prog, err := Compile(k.expr, config(k.link, false))
		if err != nil {
			continue
		}
		for j, c := range packetsFor(k.link) {
			for n, p := range c.packets {
				if (n+i)%13 != 0 {
					continue
				}
				want, how := interpret(prog, p, len(p), meta{})
				x, err := Explain(k.expr, config(k.link, false), p, len(p))
				if err != nil {
					t.Fatal(err)
				}
				if x.Matched != (want != 0) || how != returned && x.Stopped == "" {
					t.Errorf("%v: capture %d, packet %d: the program returns %d (%d), the explanation is\n%v", k, j, n, want, how, x)
				}
			}
		}
	}
}

func TestExplain(t *testing.T) {
	in := ipv4(6, 0, 0, ip10, ip192, ports(80, 1025, tcpRest))
	p := cat(hx(macA+macB), be16(in.typ), in.b)
	for _, c := range []struct{ expr, want string }{
		{"udp port 80", `
			does not match
			  - udp port 80: byte 23 is 6, not 17 (0x11)`},
		{"tcp port 443 or 80", `
			matches
			  + or
			    - tcp port 443: bytes 34-35 are 80 (0x50), not 443 (0x1bb); bytes 36-37 are 1025 (0x401), not 443 (0x1bb)
			    + tcp port 80: bytes 34-35 are 80 (0x50)`},
		{"ip and not (src 10.0.0.1 and len > 20)", `
			does not match
			  - and
			    + ip: bytes 12-13 are 2048 (0x800)
			    - not
			      + and
			        + src 10.0.0.1: bytes 26-29 are 0x0a000001 (10.0.0.1)
			        + len > 20: the length is 100 (0x64), more than 20 (0x14)`},
		{"arp and tcp", `
			does not match
			  - and
			    - arp: bytes 12-13 are 2048 (0x800), not 2054 (0x806)
			      tcp (not looked at)`},
		{"not tcp[80] = 1", `
			does not match: byte 114 not captured: only the first 58 are
			  - not
			    - tcp[80] = 1: byte 114 not captured: only the first 58 are`},
		{"ip[8] / (ip[1] & 1) = 1", `
			does not match: a division by zero
			  - ip[8] / (ip[1] & 1) = 1: a division by zero`},
	} {
		length := 100
		if strings.Contains(c.expr, "80]") {
			length = 200
		}
		x, err := Explain(c.expr, config(EN10MB, false), p, length)
		if err != nil {
			t.Errorf("%s: %v", c.expr, err)
			continue
		}
		want := strings.TrimPrefix(strings.ReplaceAll(c.want, "\n\t\t\t", "\n"), "\n") + "\n"
		if got := x.String(); got != want {
			t.Errorf("%s:\n%swant:\n%s", c.expr, got, want)
		}
	}
}

func ExampleExplain() {
	arp := []byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 0, 0, 0, 0, 1, 0x08, 0x06}
	x, _ := Explain("ip or arp and less 10", Config{Link: EN10MB}, arp, 60)
	fmt.Print(x)
	// Output:
	// does not match
	//   - and
	//     + or
	//       - ip: bytes 12-13 are 2054 (0x806), not 2048 (0x800)
	//       + arp: bytes 12-13 are 2054 (0x806)
	//     - less 10: the length is 60 (0x3c), more than 10 (0xa)
}
