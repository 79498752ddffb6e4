package procnet

import (
	"context"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/towpath/towpath/host"
	"github.com/towpath/towpath/ip/route"
	"github.com/towpath/towpath/link/cable"
)

// network is a host with an adapter, an address, a route, and a few sockets.
func network(t *testing.T) *host.Host {
	t.Helper()
	h := host.New(host.Config{Name: "h"})
	t.Cleanup(func() { h.Close(context.Background()) })
	c, _ := cable.New(cable.Config{})
	if _, err := h.AddAdapter("twp0", c); err != nil {
		t.Fatal(err)
	}
	if err := h.AddAddress("twp0", netip.MustParsePrefix("10.0.0.1/24")); err != nil {
		t.Fatal(err)
	}
	if err := h.AddAddress("twp0", netip.MustParsePrefix("fd00::1/64")); err != nil {
		t.Fatal(err)
	}
	if err := h.AddRoute(route.Route{Dst: netip.MustParsePrefix("0.0.0.0/0"), Via: netip.MustParseAddr("10.0.0.254"), Metric: 7}); err != nil {
		t.Fatal(err)
	}
	l, err := h.Listen("tcp", "127.0.0.1:80")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	d, err := h.Dial("tcp", "127.0.0.1:80")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	for _, network := range []string{"udp4", "udp6"} {
		u, err := h.ListenPacket(network, ":53")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { u.Close() })
	}
	r, e := h.Socket(host.AFInet, host.SockRaw, 1)
	if e != 0 {
		t.Fatal(e)
	}
	t.Cleanup(func() { r.Close() })
	return h
}

// TestFiles: what the host has stands in the files.
func TestFiles(t *testing.T) {
	h := network(t)
	for _, c := range []struct{ file, want string }{
		{"/proc/net/dev", "  twp0:       0       0    0 "},
		{"/proc/self/net/route", "twp0\t00000000\tFE00000A\t0003\t0\t0\t7\t00000000\t0\t0\t0 "},
		{"/proc/net/route", "twp0\t0000000A\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0 "},
		{"/proc/net/ipv6_route", "fd000000000000000000000000000000 40 00000000000000000000000000000000 00 00000000000000000000000000000000 00000400 00000001 00000000 00000001     twp0"},
		{"/proc/net/if_inet6", "00000000000000000000000000000001 01 80 10 80       lo"},
		{"/proc/net/if_inet6", "fd000000000000000000000000000001 02 40 00 "},
		{"/proc/net/tcp", "   0: 0100007F:0050 00000000:0000 0A 00000000:00000001 00:00000000 00000000     0        0 0 1 "},
		{"/proc/net/tcp", "   1: 0100007F:0050 0100007F:"},
		{"/proc/net/udp", "   0: 00000000:0035 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 0 2 0000000000000000 0 "},
		{"/proc/net/udp6", "   0: 00000000000000000000000000000000:0035 00000000000000000000000000000000:0000 07"},
		{"/proc/net/raw", "   0: 00000000:0001 00000000:0000 07"},
		{"/proc/net/snmp", "Udp: InDatagrams NoPorts InErrors OutDatagrams"},
		{"/proc/net/snmp", "Tcp: 1 200 120000 -1 1 1 0 0 2 "},
		{"/proc/net/sockstat", "TCP: inuse 3 orphan 0 tw 0 alloc 3 mem 0\nUDP: inuse 1 mem 0\n"},
		{"/proc/sys/net/ipv4/ip_default_ttl", "64\n"},
		{"/proc/sys/net/ipv4/conf/twp0/rp_filter", "0\n"},
	} {
		got, e := Read(h, c.file)
		if e != 0 || !strings.Contains(got, c.want) {
			t.Errorf("%s: %v, %q is not in\n%s", c.file, e, c.want, got)
		}
	}
	for path, want := range map[string]syscall.Errno{
		"/proc/net/nothing": syscall.ENOENT, "/proc/sys/net/": syscall.ENOENT, "/proc/sys/net/ipv4/nothing": syscall.ENOENT,
		"/proc/net/": syscall.ENOENT, "/etc/passwd": syscall.ENOENT,
	} {
		if got, e := Read(h, path); e != want {
			t.Errorf("%s: %q, %v, want %v", path, got, e, want)
		}
	}
}

// TestWrite: settings act, and other files cannot be written.
func TestWrite(t *testing.T) {
	h := network(t)
	for _, c := range []struct {
		path, value string
		want        syscall.Errno
	}{
		{"/proc/sys/net/ipv4/ip_forward", "1\n", 0},
		{"/proc/sys/net/ipv4/ip_default_ttl", "0", syscall.EINVAL},
		{"/proc/sys/net/ipv4/nothing", "0", syscall.ENOENT},
		{"/proc/net/tcp", "0", syscall.EACCES},
		{"/proc/net/nothing", "0", syscall.ENOENT},
	} {
		if e := Write(h, c.path, c.value); e != c.want {
			t.Errorf("%s: %v, want %v", c.path, e, c.want)
		}
	}
	if got, _ := Read(h, "/proc/sys/net/ipv4/ip_forward"); got != "1\n" || !h.Settings().Forward {
		t.Errorf("ip_forward is %q", got)
	}
}

// TestHeads: the first lines are those of the kernel's files.
func TestHeads(t *testing.T) {
	h := network(t)
	for _, name := range []string{"arp", "dev", "icmp", "packet", "raw", "raw6", "route", "tcp", "tcp6", "udp", "udp6"} {
		b, err := os.ReadFile("/proc/net/" + name)
		if err != nil {
			t.Logf("this system has no /proc/net/%s", name)
			continue
		}
		want, _, _ := strings.Cut(string(b), "\n")
		text, _ := Read(h, "/proc/net/"+name)
		if got, _, _ := strings.Cut(text, "\n"); got != want {
			t.Errorf("%s: %q, the kernel has %q", name, got, want)
		}
	}
}
