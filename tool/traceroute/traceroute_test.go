package traceroute

import (
	"bytes"
	"context"
	"errors"
	"net/netip"
	"regexp"
	"strings"
	"testing"

	"github.com/towpath/towpath/host"
	"github.com/towpath/towpath/ip/route"
	"github.com/towpath/towpath/link/cable"
	"github.com/towpath/towpath/tool"
)

// row is four hosts in a row, of which those in the middle are routers.
func row(t *testing.T) *host.Host {
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	var hosts []*host.Host
	for i := range 4 {
		h := host.New(host.Config{Forward: i == 1 || i == 2, Settings: host.Settings{ICMPRateLimit: -1, ICMP6RateLimit: -1}})
		t.Cleanup(func() { h.Close(context.Background()) })
		hosts = append(hosts, h)
	}
	for i := range 3 {
		a, b := cable.New(cable.Config{})
		for k, p := range []*cable.Port{a, b} {
			name := []string{"right", "left"}[k]
			_, err := hosts[i+k].AddAdapter(name, p)
			must(err)
			must(hosts[i+k].AddAddress(name, netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 0, byte(i), byte(1 + k)}), 24)))
			six := netip.MustParseAddr("fd00::").As16()
			six[7], six[15] = byte(i), byte(1+k)
			must(hosts[i+k].AddAddress(name, netip.PrefixFrom(netip.AddrFrom16(six), 64)))
		}
	}
	for _, r := range []struct {
		host     int
		dst, via string
	}{
		{0, "0.0.0.0/0", "10.0.0.2"}, {1, "10.0.2.0/24", "10.0.1.2"}, {2, "10.0.0.0/24", "10.0.1.1"}, {3, "0.0.0.0/0", "10.0.2.1"},
		{0, "::/0", "fd00::2"}, {1, "fd00:0:0:2::/64", "fd00:0:0:1::2"}, {2, "fd00::/64", "fd00:0:0:1::1"}, {3, "::/0", "fd00:0:0:2::1"},
	} {
		must(hosts[r.host].AddRoute(route.Route{Dst: netip.MustParsePrefix(r.dst), Via: netip.MustParseAddr(r.via)}))
	}
	must(hosts[0].AddName("end", netip.MustParseAddr("10.0.2.2")))
	return hosts[0]
}

func output(t *testing.T, h *host.Host, line string) string {
	t.Helper()
	r, err := Parse(strings.Fields(line))
	if err != nil {
		t.Fatalf("traceroute %s: %v", line, err)
	}
	var b bytes.Buffer
	if err := r(t.Context(), &tool.Env{Host: h, Stdout: &b, Stderr: &b}); err != nil {
		t.Fatalf("traceroute %s: %v", line, err)
	}
	return b.String()
}

// TestWay follows the way to the end of the row.
func TestWay(t *testing.T) {
	h := row(t)
	const ms = `  [0-9.]+ ms`
	for line, want := range map[string]string{
		"-n end":                  `traceroute to end \(10.0.2.2\), 30 hops max, 60 byte packets\n 1  10.0.0.2 MS MS MS\n 2  10.0.1.2 MS MS MS\n 3  10.0.2.2 MS MS MS\n`,
		"-n -I -q 1 end":          `.*\n 1  10.0.0.2 MS\n 2  10.0.1.2 MS\n 3  10.0.2.2 MS\n`,
		"-q 1 -f 3 10.0.2.2 100":  `.*, 100 byte packets\n 3  10.0.2.2 \(10.0.2.2\) MS\n`,
		"-6 -n -q1 fd00:0:0:2::2": `.*\n 1  fd00::2 MS\n 2  fd00:0:0:1::2 MS\n 3  fd00:0:0:2::2 MS\n`,
		"-6In -q 1 fd00:0:0:2::2": `.*\n 1  fd00::2 MS\n 2  fd00:0:0:1::2 MS\n 3  fd00:0:0:2::2 MS\n`,
		"-n -q 1 10.7.0.1":        `.*\n 1  10.0.0.2 MS\n 2  10.0.0.2 MS !N\n`,
		"-n -q 1 -m 2 10.0.2.2":   `.*, 2 hops max, .*\n 1  10.0.0.2 MS\n 2  10.0.1.2 MS\n`,
	} {
		want = "^" + strings.ReplaceAll(want, " MS", ms) + "$"
		if got := output(t, h, line); !regexp.MustCompile(want).MatchString(got) {
			t.Errorf("traceroute %s prints\n%s", line, got)
		}
	}
}

func TestParse(t *testing.T) {
	for line, unknown := range map[string]bool{
		"": false, "a b": false, "-T a": true, "-f": false, "-f 0 a": false, "-f 9 -m 3 a": false, "-w x a": false, "-q 99 a": false, "a 1 2": false,
	} {
		_, err := Parse(strings.Fields(line))
		var u tool.Unknown
		if err == nil || errors.As(err, &u) != unknown {
			t.Errorf("traceroute %s: %v", line, err)
		}
	}
}
