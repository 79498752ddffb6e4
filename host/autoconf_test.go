package host_test

import (
	"context"
	"net/netip"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/towpath/towpath/host"
	"github.com/towpath/towpath/ip/ifaddr"
	"github.com/towpath/towpath/link/cable"
	"github.com/towpath/towpath/packet"
	"github.com/towpath/towpath/wire"
)

var (
	ourLL   = netip.MustParseAddr("fe80::ff:fe00:1") // of usMAC
	theirLL = netip.MustParseAddr("fe80::ff:fe00:2")
	allV6   = netip.MustParseAddr("ff02::1")
)

// advert is a router's advertisement from theirLL to all.
func advert(lifetime uint16, prefixes ...wire.NDPPrefix) []byte {
	return eth6(wire.IPv6Fields{HopLimit: 255, Src: theirLL, Dst: allV6}, func(b *wire.Builder) {
		var options []byte
		for _, p := range prefixes {
			o := make([]byte, 64)
			options = append(options, o[:wire.PutPrefixInfoOption(o, p)]...)
		}
		o := make([]byte, 64)
		options = append(options, o[:wire.PutLinkAddrOption(o, wire.NDPSourceLinkAddr, themMAC)]...)
		b.Payload(options).PushRouterAdvert(wire.RouterAdvertFields{Lifetime: lifetime})
	})
}

func addrs(h *host.Host, of ifaddr.Origin) (list []ifaddr.Addr) {
	for _, a := range h.Addresses().All() {
		if a.Prefix.Addr().Is6() && !a.Prefix.Addr().IsLoopback() && a.Origin == of {
			list = append(list, a)
		}
	}
	return list
}

// TestAutoconf follows one host through router discovery: what it asks, the
// address and routes it makes of the answer, and their ends.
func TestAutoconf(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := rawHost(t, host.Config{})
		if got := addrs(r.host, ifaddr.LinkLocal); len(got) != 1 || got[0].Prefix != netip.PrefixFrom(ourLL, 64) || !got[0].Optimistic {
			t.Fatalf("link-local addresses %v", got)
		}
		time.Sleep(time.Minute)
		count := map[wire.ICMPv6Type]int{}
		for _, f := range r.take() {
			if ip := wire.IPv6(f[14:]); wire.Ethernet(f).Type() == wire.EtherTypeIPv6 && ip.NextHeader() == wire.ProtoICMPv6 {
				count[wire.ICMPv6(ip.Payload()).Type()]++
			}
		}
		// One probe for each of two addresses; three solicitations.
		if count[wire.ICMPv6NeighborSolicit] != 2 || count[wire.ICMPv6RouterSolicit] != 3 {
			t.Errorf("sent %v", count)
		}
		if got := addrs(r.host, ifaddr.LinkLocal); got[0].Optimistic {
			t.Error("still optimistic after a minute")
		}

		prefix := netip.MustParsePrefix("2001:db8:1::/64")
		r.send(advert(1800, wire.NDPPrefix{Prefix: prefix, OnLink: true, Autonomous: true, Valid: 86400, Preferred: 14400}))
		want := netip.MustParsePrefix("2001:db8:1::ff:fe00:1/64")
		if got := addrs(r.host, ifaddr.Autoconf); len(got) != 1 || got[0].Prefix != want || got[0].Deprecated {
			t.Fatalf("autoconfigured addresses %v", got)
		}
		route, ok := r.host.Routes().Lookup(netip.MustParseAddr("2001:db8:9::9"))
		if !ok || route.Via != theirLL {
			t.Errorf("default route %v", route)
		}
		if route, ok = r.host.Routes().Lookup(netip.MustParseAddr("2001:db8:1::9")); !ok || route.Via.IsValid() {
			t.Errorf("on-link route %v", route)
		}
		time.Sleep(31 * time.Minute)
		if route, ok := r.host.Routes().Lookup(netip.MustParseAddr("2001:db8:9::9")); ok {
			t.Errorf("the router's lifetime is over: %v", route)
		}
		time.Sleep(4 * time.Hour)
		if got := addrs(r.host, ifaddr.Autoconf); len(got) != 1 || !got[0].Deprecated {
			t.Errorf("after its preferred lifetime: %v", got)
		}
		// A lifetime of zero cannot end it within two hours.
		r.send(advert(0, wire.NDPPrefix{Prefix: prefix, OnLink: true, Autonomous: true}))
		time.Sleep(2*time.Hour - time.Second)
		if got := addrs(r.host, ifaddr.Autoconf); len(got) != 1 {
			t.Errorf("within two hours: %v", got)
		}
		time.Sleep(2 * time.Second)
		if got := addrs(r.host, ifaddr.Autoconf); len(got) != 0 {
			t.Errorf("after two hours: %v", got)
		}
	})
}

// TestAutoconfBounded takes advertisements of ever new prefixes and routers.
func TestAutoconfBounded(t *testing.T) {
	r := rawHost(t, host.Config{})
	for i := range 1000 {
		p := netip.PrefixFrom(netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, byte(i >> 8), byte(i)}), 64)
		f := advert(1800, wire.NDPPrefix{Prefix: p, OnLink: true, Autonomous: true, Valid: 1 << 31, Preferred: 1 << 31})
		f = edit(f, func(b []byte) { b[36], b[37] = byte(i>>8), byte(i) }) // another router
		h := wire.ICMPv6(f[54:])
		h.SetChecksum(0)
		ip := wire.IPv6(f[14:])
		h.SetChecksum(^wire.Fold(wire.Sum(h, wire.PseudoSum(ip.Src(), ip.Dst(), wire.ProtoICMPv6, len(h)))))
		r.send(f)
	}
	if n := len(addrs(r.host, ifaddr.Autoconf)); n != 16 {
		t.Errorf("%d autoconfigured addresses, want 16", n)
	}
	if n := r.host.Routes().Len(); n > 64 {
		t.Errorf("%d routes", n)
	}
}

// TestDuplicateAddress lets somebody else have, or want, an address that is
// still being probed; and one that is not any more.
func TestDuplicateAddress(t *testing.T) {
	probe := eth6(wire.IPv6Fields{HopLimit: 255, Src: netip.IPv6Unspecified(), Dst: wire.SolicitedNode(us6)}, func(b *wire.Builder) { b.PushNeighborSolicit(us6) })
	claim := eth6(wire.IPv6Fields{HopLimit: 255, Dst: allV6}, func(b *wire.Builder) { b.PushNeighborAdvert(wire.NDOverride, us6) })
	for name, frame := range map[string][]byte{"wanted": probe, "had": claim} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := rawHost(t, host.Config{})
				r.send(frame)
				if _, ours := r.host.Addresses().Local(us6); ours {
					t.Error("the address is still ours")
				}
				if n := r.host.Stats().DuplicateAddresses; n != 1 {
					t.Errorf("%d duplicates counted", n)
				}
				d := r.host.Drops()
				if d[packet.ReasonNDPDuplicate]+d[packet.ReasonNDPConflict] != 1 {
					t.Errorf("drops %v", d)
				}
			})
			synctest.Test(t, func(t *testing.T) {
				r := rawHost(t, host.Config{})
				time.Sleep(10 * time.Second)
				r.take()
				r.send(frame)
				if _, ours := r.host.Addresses().Local(us6); !ours {
					t.Error("an address in use was taken away")
				}
				defended := slices.ContainsFunc(r.take(), func(f []byte) bool {
					return len(f) >= 78 && wire.ICMPv6(f[54:]).Type() == wire.ICMPv6NeighborAdvert
				})
				if defended != (name == "wanted") {
					t.Errorf("defended: %v", defended)
				}
			})
		})
	}
}

// TestLinkLocal pings and connects by link-local addresses with their zone.
func TestLinkLocal(t *testing.T) {
	mac := [2]wire.MAC{usMAC, themMAC}
	a, b := pair(t, cable.Config{MAC: mac})
	to := theirLL.WithZone("eth0")
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	r, err := a.Ping(ctx, to, host.PingOptions{})
	if err != nil || r.From != theirLL {
		t.Fatalf("%+v, %v", r, err)
	}
	c, s := connected(t, a, b, to.String())
	exchange(t, c, s, 1<<20)
	if _, err := a.Ping(ctx, theirLL.WithZone("eth9"), host.PingOptions{}); err == nil {
		t.Error("ping by an adapter that is not there")
	}
}

// TestRouterAdvice: what routers say of MTU, hop limit and neighbours is heeded.
func TestRouterAdvice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := rawHost(t, host.Config{})
		c, err := r.host.ListenPacket("udp6", ":0")
		must(t, err)
		defer c.Close()
		send := func() (sizes []int, hops uint8) {
			t.Helper()
			r.take()
			_, err := c.(*host.UDPConn).WriteToUDPAddrPort(make([]byte, 1400), netip.AddrPortFrom(them6, 9))
			must(t, err)
			synctest.Wait() // a timer of the host's may have the lane
			for _, f := range r.take() {
				ip := wire.IPv6(f[14:])
				if n := ip.NextHeader(); wire.Ethernet(f).Type() == wire.EtherTypeIPv6 && (n == wire.ProtoUDP || n == wire.ProtoFragment) {
					sizes, hops = append(sizes, ip.TotalLen()), ip.HopLimit()
				}
			}
			return sizes, hops
		}
		r.meet()
		if sizes, hops := send(); !slices.Equal(sizes, []int{1448}) || hops != 64 {
			t.Fatalf("before: packets of %v bytes with hop limit %d", sizes, hops)
		}
		announce := func(mtu uint32, hops uint8, retrans uint32) {
			r.send(eth6(wire.IPv6Fields{HopLimit: 255, Src: theirLL, Dst: allV6}, func(b *wire.Builder) {
				o := make([]byte, 8)
				wire.PutMTUOption(o, mtu)
				b.Payload(o).PushRouterAdvert(wire.RouterAdvertFields{HopLimit: hops, RetransTimer: retrans})
			}))
		}
		announce(1280, 9, 100)
		if sizes, hops := send(); len(sizes) != 2 || sizes[0] > 1280 || hops != 9 {
			t.Errorf("after: packets of %v bytes with hop limit %d", sizes, hops)
		}
		announce(1279, 0, 0) // says nothing
		if sizes, hops := send(); len(sizes) != 2 || hops != 9 {
			t.Errorf("after nothing new: packets of %v bytes with hop limit %d", sizes, hops)
		}
		announce(9000, 20, 0) // more than the link has
		if sizes, hops := send(); !slices.Equal(sizes, []int{1448}) || hops != 20 {
			t.Errorf("with a large MTU: packets of %v bytes with hop limit %d", sizes, hops)
		}
		// Solicitations follow each other after the time that was announced.
		r.take()
		c.(*host.UDPConn).WriteToUDPAddrPort([]byte("?"), netip.AddrPortFrom(netip.MustParseAddr("fd00::77"), 9))
		time.Sleep(250 * time.Millisecond)
		asked := 0
		for _, f := range r.take() {
			if ip := wire.IPv6(f[14:]); wire.Ethernet(f).Type() == wire.EtherTypeIPv6 && ip.NextHeader() == wire.ProtoICMPv6 &&
				wire.NeighborSolicit(ip.Payload()).Valid() && wire.NeighborSolicit(ip.Payload()).Target() == netip.MustParseAddr("fd00::77") {
				asked++
			}
		}
		if asked != 3 {
			t.Errorf("asked %d times in 250 ms, want 3", asked)
		}
	})
}
