package ip

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/netip"
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/towpath/towpath/host"
	"github.com/towpath/towpath/internal/testenv"
	"github.com/towpath/towpath/link/cable"
	"github.com/towpath/towpath/run"
	"github.com/towpath/towpath/tool"
	"github.com/towpath/towpath/wire"
)

func TestMain(m *testing.M) {
	run.Init()
	os.Exit(m.Run())
}

// network is a host with two interfaces, of which the first leads to another.
func network(t *testing.T) *host.Host {
	var hosts []*host.Host
	for _, name := range []string{"a", "b"} {
		h := host.New(host.Config{Name: name, Settings: host.Settings{NoAutoconf: true, DADTransmits: -1}})
		t.Cleanup(func() { h.Close(context.Background()) })
		hosts = append(hosts, h)
	}
	pa, pb := cable.New(cable.Config{MAC: [2]wire.MAC{{2, 0, 0, 0, 0, 1}, {2, 0, 0, 0, 0, 2}}})
	loose, _ := cable.New(cable.Config{MTU: 9000, MAC: [2]wire.MAC{{2, 0, 0, 0, 0, 3}}})
	for i, p := range []*cable.Port{pa, pb} {
		if _, err := hosts[i].AddAdapter("eth0", p); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := hosts[0].AddAdapter("eth1", loose); err != nil {
		t.Fatal(err)
	}
	for _, x := range []struct {
		h *host.Host
		p string
	}{{hosts[0], "10.0.0.1/24"}, {hosts[0], "fd00::1/64"}, {hosts[1], "10.0.0.2/24"}, {hosts[1], "fd00::2/64"}} {
		if err := x.h.AddAddress("eth0", netip.MustParsePrefix(x.p)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := hosts[0].Ping(t.Context(), netip.MustParseAddr("10.0.0.2"), host.PingOptions{}); err != nil {
		t.Fatal(err)
	}
	return hosts[0]
}

// runTool runs ip and returns what it prints and its exit status.
func runTool(t *testing.T, h *host.Host, line string) (out, errs string, status int) {
	t.Helper()
	r, err := Parse(strings.Fields(line))
	if err != nil {
		t.Fatalf("ip %s: %v", line, err)
	}
	var o, e bytes.Buffer
	err = r(t.Context(), &tool.Env{Host: h, Stdout: &o, Stderr: &e})
	var told tool.ExitStatus
	if err != nil && !errors.As(err, &told) {
		t.Fatalf("ip %s: %v", line, err)
	}
	return o.String(), e.String(), int(told)
}

// TestOriginal gives the same words to ip and to the original, both on one host,
// and compares what they print.
func TestOriginal(t *testing.T) {
	testenv.NeedsTool(t, "ip")
	if err := run.Probe(); err != nil {
		t.Skipf("programs cannot be run on hosts: %v", err)
	}
	h := network(t)
	for _, line := range []string{
		"addr", "-4 addr", "-6 addr", "-br addr", "-br -4 a", "-o addr", "addr show dev eth0", "addr show eth1", "-j addr", "-br -j addr", "-j -4 addr show eth0",
		"link", "-br link", "-j link", "-br -j link", "link show eth1", "-o link",
		"route add 10.9.0.0/16 via 10.0.0.2", "route add default via 10.0.0.2 metric 7", "route add 10.10.0.0/16 dev eth1 mtu 1400",
		"route add blackhole 10.11.0.0/16", "-6 route add fd01::/64 via fd00::2", "route add 10.12.0.1 via 10.0.0.2 src 10.0.0.1",
		"route", "-j route", "-6 route", "-6 -j route", "route show 10.9.0.0/16", "route show dev eth1",
		"-j route get 10.9.1.1", "-j route get 10.0.0.2", "-j route get fd01::7",
		"neigh", "-j neigh", "-4 neigh show dev eth0", "-6 neigh",
	} {
		want := original(t, h, line)
		if want.status != 0 {
			t.Errorf("the original's ip %s: status %d, %s", line, want.status, want.errs)
			continue
		}
		if strings.Contains(line, " add ") {
			continue // it is done; ours would be a second
		}
		got, errs, status := runTool(t, h, line)
		if status != 0 {
			t.Errorf("ip %s: status %d, %s", line, status, errs)
			continue
		}
		if !strings.Contains(line, "-j") {
			if got != want.out {
				t.Errorf("ip %s prints\n%s\nand the original\n%s", line, got, want.out)
			}
			continue
		}
		var x, y any
		if err := errors.Join(json.Unmarshal([]byte(got), &x), json.Unmarshal([]byte(want.out), &y)); err != nil {
			t.Errorf("ip %s: %v\n%s\n%s", line, err, got, want.out)
		}
		if !reflect.DeepEqual(without(x, "uid"), without(y, "uid")) {
			t.Errorf("ip %s prints\n%s\nand the original\n%s", line, got, want.out)
		}
	}
	for _, line := range []string{
		"addr show dev nope", "link set nope up", "route add default dev nope", "route add 10.9.0.0/16 via 10.0.0.2", "route del 10.99.0.0/16",
		"addr add 10.0.0.1/24 dev eth0", "addr del 10.0.0.9/24 dev eth0",
	} {
		want := original(t, h, line)
		if _, errs, status := runTool(t, h, line); status != want.status || firstWords(errs) != firstWords(want.errs) {
			t.Errorf("ip %s: status %d, %q; the original's is %d, %q", line, status, errs, want.status, want.errs)
		}
	}
}

// firstWords are those of an error before words that differ by version.
func firstWords(s string) string {
	f := strings.Fields(strings.TrimPrefix(s, "Error: "))
	return strings.Join(f[:min(len(f), 3)], " ")
}

type printed struct {
	out, errs string
	status    int
}

func original(t *testing.T, h *host.Host, line string) printed {
	t.Helper()
	var o, e bytes.Buffer
	p, err := run.Start(h, run.Cmd{Args: append([]string{"ip"}, strings.Fields(line)...), Stdout: &o, Stderr: &e})
	if err != nil {
		t.Fatal(err)
	}
	var exit *run.ExitError
	status := 0
	if err := p.Wait(); errors.As(err, &exit) {
		status = exit.Code
	}
	return printed{o.String(), e.String(), status}
}

// without takes a key out of objects, at any depth.
func without(v any, key string) any {
	switch v := v.(type) {
	case []any:
		for i := range v {
			v[i] = without(v[i], key)
		}
	case map[string]any:
		delete(v, key)
		for k := range v {
			v[k] = without(v[k], key)
		}
	}
	return v
}

// TestChange changes what a host has, and looks.
func TestChange(t *testing.T) {
	h := network(t)
	for _, c := range []struct{ line, then, want string }{
		{"addr add 10.5.0.1/16 dev eth1", "-br addr show eth1", "10.5.0.1/16"},
		{"addr del 10.5.0.1/16 dev eth1", "-br addr show eth1", ""},
		{"addr flush dev eth0", "-br addr show eth0", ""},
		{"a add 10.0.0.1/24 dev eth0", "r", "10.0.0.0/24 dev eth0 proto kernel scope link src 10.0.0.1"},
		{"route add default via 10.0.0.2", "route", "default via 10.0.0.2 dev eth0 proto static"},
		{"route replace default via 10.0.0.3", "route show default", "default via 10.0.0.3 dev eth0 proto static"},
		{"route del default", "route show default", ""},
		{"link set eth0 down", "-br link show eth0", "DOWN"},
		{"link set dev eth0 up", "-br link show eth0", "UP"},
		{"-s link show eth0", "-s -j link show eth0", `"stats64":{"rx":{"bytes":`},
		{"route add prohibit 10.7.0.0/16", "r get 10.0.0.1", "local 10.0.0.1 dev lo src 10.0.0.1"},
	} {
		if _, errs, status := runTool(t, h, c.line); status != 0 {
			t.Errorf("ip %s: %s", c.line, errs)
		}
		if out, _, _ := runTool(t, h, c.then); !strings.Contains(out, c.want) || c.want == "" && strings.Contains(out, "10.") {
			t.Errorf("after ip %s, ip %s prints %q", c.line, c.then, out)
		}
	}
	if _, errs, status := runTool(t, h, "route get 10.7.0.1"); status != 2 || errs != "RTNETLINK answers: Permission denied\n" {
		t.Errorf("status %d, %q", status, errs)
	}
}

// TestParse: what is wrong, and what the original may know.
func TestParse(t *testing.T) {
	for line, unknown := range map[string]bool{
		"": false, "-x addr": true, "tunnel": true, "addr add": false, "addr add 10.0.0.1/24 dev": false, "addr add x dev eth0": false,
		"addr show dev": false, "addr show a b": true, "addr flush": false, "link set eth0 mtu 9": true, "link add x": true, "-f link addr": true, "-f": false,
		"route add": false, "route add x": false, "route add 10.0.0.1/24": false, "route add default via": false, "route add default via x": false,
		"route add default hoplimit 7": true, "route get": false, "route get x": false, "route flush": true, "neigh add x": true, "route add default table 7": true,
		"route add default mtu lock": false, "route add default metric x": false,
	} {
		_, err := Parse(strings.Fields(line))
		var u tool.Unknown
		if err == nil || errors.As(err, &u) != unknown {
			t.Errorf("ip %s: %v", line, err)
		}
	}
}

// FuzzParse: no words panic.
func FuzzParse(f *testing.F) {
	for _, line := range []string{"-4 -br addr show dev eth0", "route add blackhole 10.0.0.0/8 via 1.2.3.4 mtu lock 7", "r g ::1", "n", "l set x up"} {
		f.Add(line)
	}
	f.Fuzz(func(t *testing.T, line string) { Parse(strings.Fields(line)) })
}
