package arp

import (
	"bytes"
	"context"
	"net/netip"
	"os"
	"strings"
	"testing"

	"github.com/towpath/towpath/host"
	"github.com/towpath/towpath/internal/testenv"
	"github.com/towpath/towpath/ip/route"
	"github.com/towpath/towpath/link/cable"
	"github.com/towpath/towpath/run"
	"github.com/towpath/towpath/tool"
)

func TestMain(m *testing.M) {
	run.Init()
	os.Exit(m.Run())
}

// network is a host with a neighbour and some routes.
func network(t *testing.T) *host.Host {
	t.Helper()
	var hosts []*host.Host
	pa, pb := cable.New(cable.Config{})
	for i, p := range []*cable.Port{pa, pb} {
		h := host.New(host.Config{})
		t.Cleanup(func() { h.Close(context.Background()) })
		if _, err := h.AddAdapter("eth0", p); err != nil {
			t.Fatal(err)
		}
		if err := h.AddAddress("eth0", netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 0, 0, byte(i + 1)}), 24)); err != nil {
			t.Fatal(err)
		}
		hosts = append(hosts, h)
	}
	if _, err := hosts[0].Ping(t.Context(), netip.MustParseAddr("10.0.0.2"), host.PingOptions{}); err != nil {
		t.Fatal(err)
	}
	for _, dst := range []string{"0.0.0.0/0", "10.9.0.0/16", "10.8.0.1/32"} {
		if err := hosts[0].AddRoute(route.Route{Dst: netip.MustParsePrefix(dst), Via: netip.MustParseAddr("10.0.0.2")}); err != nil {
			t.Fatal(err)
		}
	}
	return hosts[0]
}

// TestOriginal compares with the original on the same host.
func TestOriginal(t *testing.T) {
	testenv.NeedsTool(t, "arp")
	if err := run.Probe(); err != nil {
		t.Skipf("programs cannot be run on hosts: %v", err)
	}
	h := network(t)
	for _, line := range []string{"-n", "-an", "-n -i eth0", "-n 10.0.0.2", "-n 10.0.0.77"} {
		var want bytes.Buffer
		p, err := run.Start(h, run.Cmd{Args: append([]string{"arp"}, strings.Fields(line)...), Stdout: &want})
		if err != nil {
			t.Fatal(err)
		}
		wantErr := p.Wait()
		r, err := Parse(strings.Fields(line))
		if err != nil {
			t.Fatalf("arp %s: %v", line, err)
		}
		var got bytes.Buffer
		err = r(t.Context(), &tool.Env{Host: h, Stdout: &got, Stderr: &got})
		if got.String() != want.String() || (err == nil) != (wantErr == nil) {
			t.Errorf("arp %s prints\n%s%v\nand the original\n%s%v", line, got.String(), err, want.String(), wantErr)
		}
	}
	if _, err := Parse([]string{"-Z"}); err == nil {
		t.Error("-Z is known")
	}
}
