package host_test

import (
	"context"
	"net/netip"
	"slices"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/towpath/towpath/host"
	"github.com/towpath/towpath/ip/ifaddr"
	"github.com/towpath/towpath/link/cable"
	"github.com/towpath/towpath/wire"
)

// TestTemporaryAddresses: with use_tempaddr 2 new flows come from a temporary
// address, each day from another; with 1 from the public one.
func TestTemporaryAddresses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := rawHost(t, host.Config{})
		must(t, r.host.RemoveAddress(us6))
		time.Sleep(10 * time.Second)
		set(t, r.host, "net.ipv6.conf.eth0.use_tempaddr", "2")
		prefix := netip.MustParsePrefix("2001:db8:1::/64")
		public := netip.MustParseAddr("2001:db8:1::ff:fe00:1")
		advertise := func() {
			r.send(advert(1800, wire.NDPPrefix{Prefix: prefix, OnLink: true, Autonomous: true, Valid: 86400 * 30, Preferred: 86400 * 30}))
			time.Sleep(10 * time.Second)
		}
		source := func() netip.Addr {
			c, err := r.host.Dial("udp", "[2001:db8:7::1]:9")
			must(t, err)
			defer c.Close()
			return netip.MustParseAddrPort(c.LocalAddr().String()).Addr()
		}
		advertise()
		first := source()
		if list := addrs(r.host, ifaddr.Temporary); len(list) != 1 || list[0].Prefix.Addr() != first || list[0].Optimistic {
			t.Fatalf("from %v, of %v", first, list)
		}
		set(t, r.host, "net.ipv6.conf.eth0.use_tempaddr", "1")
		if a := source(); a != public {
			t.Errorf("from %v, want the public address", a)
		}
		set(t, r.host, "net.ipv6.conf.eth0.use_tempaddr", "2")
		for day := 1; day < 3; day++ {
			time.Sleep(24 * time.Hour)
			advertise()
			next := source()
			if next == first || next == public || len(addrs(r.host, ifaddr.Temporary)) != 1+day {
				t.Errorf("day %d: from %v, before %v; %v", day, next, first, addrs(r.host, ifaddr.Temporary))
			}
			first = next
		}
		set(t, r.host, "net.ipv6.conf.eth0.temp_prefered_lft", "3600", "net.ipv6.conf.eth0.temp_valid_lft", "7200",
			"net.ipv6.conf.eth0.max_desync_factor", "0")
		time.Sleep(24 * time.Hour)
		advertise()
		a := source()
		time.Sleep(2 * time.Hour)
		if slices.ContainsFunc(addrs(r.host, ifaddr.Temporary), func(x ifaddr.Addr) bool { return x.Prefix.Addr() == a }) {
			t.Error("still valid after two hours")
		}
	})
}

// TestStableSecret: a secret makes addresses that say nothing of the station, the
// same ones each time.
func TestStableSecret(t *testing.T) {
	const secret = "6b8b:4567:327b:23c6:643c:0869:6633:4873"
	var first netip.Addr
	for try := range 2 {
		h := host.New(host.Config{Name: "us"})
		defer h.Close(context.Background())
		if _, e := h.Sysctl("net.ipv6.conf.default.stable_secret"); e != syscall.EIO {
			t.Errorf("no secret: %v", e)
		}
		for _, bad := range []struct{ of, value string }{{"default", "1.2.3.4"}, {"default", "secret"}, {"all", secret}} {
			if e := h.SetSysctl("net.ipv6.conf."+bad.of+".stable_secret", bad.value); e != syscall.EIO {
				t.Errorf("%v: %v", bad, e)
			}
		}
		if e := h.SetSysctl("net.ipv6.conf.eth0.stable_secret", secret); e != syscall.ENOENT {
			t.Errorf("of no adapter: %v", e)
		}
		set(t, h, "net.ipv6.conf.default.stable_secret", secret)
		mine, _ := cable.New(cable.Config{MAC: [2]wire.MAC{usMAC, themMAC}})
		_, err := h.AddAdapter("eth0", mine)
		must(t, err)
		if v, e := h.Sysctl("net.ipv6.conf.eth0.stable_secret"); v != secret || e != 0 {
			t.Errorf("secret %q, %v", v, e)
		}
		if v, _ := h.Sysctl("net.ipv6.conf.eth0.addr_gen_mode"); v != "2" {
			t.Errorf("addr_gen_mode %s", v)
		}
		list := addrs(h, ifaddr.LinkLocal)
		if len(list) != 1 || list[0].Prefix.Addr() == ourLL || try > 0 && list[0].Prefix.Addr() != first {
			t.Fatalf("link-local address %v, before %v", list, first)
		}
		first = list[0].Prefix.Addr()
	}
	h := host.New(host.Config{Name: "us"})
	defer h.Close(context.Background())
	set(t, h, "net.ipv6.conf.default.addr_gen_mode", "1")
	mine, _ := cable.New(cable.Config{MAC: [2]wire.MAC{usMAC, themMAC}})
	_, err := h.AddAdapter("eth0", mine)
	must(t, err)
	if list := addrs(h, ifaddr.LinkLocal); len(list) != 0 {
		t.Errorf("addr_gen_mode 1: %v", list)
	}
}
