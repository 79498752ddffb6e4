package host_test

import (
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/towpath/towpath/host"
	"github.com/towpath/towpath/ip/route"
	"github.com/towpath/towpath/packet"
	"github.com/towpath/towpath/wire"
)

// set writes settings by name.
func set(t *testing.T, h *host.Host, pairs ...string) {
	t.Helper()
	for i := 0; i < len(pairs); i += 2 {
		if e := h.SetSysctl(pairs[i], pairs[i+1]); e != 0 {
			t.Fatalf("%s=%s: %v", pairs[i], pairs[i+1], e)
		}
	}
}

// icmp4 returns the ICMP messages of a type among frames, as IP packets.
func icmp4(frames [][]byte, typ wire.ICMPv4Type) (found []wire.IPv4) {
	for _, f := range frames {
		if ip := wire.IPv4(f[14:]); wire.Ethernet(f).Type() == wire.EtherTypeIPv4 && ip.Proto() == wire.ProtoICMP &&
			wire.ICMPv4(ip.Payload()).Type() == typ {
			found = append(found, ip)
		}
	}
	return found
}

func icmp6(frames [][]byte, typ wire.ICMPv6Type) (found []wire.IPv6) {
	for _, f := range frames {
		ip := wire.IPv6(f[14:])
		if wire.Ethernet(f).Type() == wire.EtherTypeIPv6 && ip.NextHeader() == wire.ProtoICMPv6 && wire.ICMPv6(f[54:]).Type() == typ {
			found = append(found, ip)
		}
	}
	return found
}

// known makes them a neighbour whose station address is known, in both
// families.
func (r *raw) known() {
	r.send(new(wire.Builder).PushARP(wire.ARPRequest, themMAC, them4, wire.MAC{}, us4).PushEthernet(usMAC, themMAC).Bytes())
	opt := make([]byte, 8)
	wire.PutLinkAddrOption(opt, wire.NDPSourceLinkAddr, themMAC)
	r.send(eth6(wire.IPv6Fields{HopLimit: 255}, func(b *wire.Builder) { b.Payload(opt).PushNeighborSolicit(us6) }))
	r.take()
}

var elsewhere4, elsewhere6 = netip.MustParseAddr("10.9.9.9"), netip.MustParseAddr("fd09::9")

// TestRedirectOut: a router tells senders of a better first hop, less and less
// often, and forwards all the same.
func TestRedirectOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := rawHost(t, host.Config{Forward: true})
		time.Sleep(3 * time.Second) // addresses are known to be ours
		gw4, gw6 := netip.MustParseAddr("10.0.0.9"), netip.MustParseAddr("fe80::9")
		must(t, r.host.AddRoute(route.Route{Dst: pfx("10.9.0.0/16"), Via: gw4}))
		must(t, r.host.AddRoute(route.Route{Dst: pfx("fd09::/16"), Via: gw6, Adapter: r.host.Adapter("eth0").Index()}))
		r.known()
		p4 := eth4(wire.IPv4Fields{Dst: elsewhere4}, udp(1, 2, "x"))
		p6 := eth6(wire.IPv6Fields{Dst: elsewhere6}, udp(1, 2, "x"))
		count := func() (four, six int) {
			frames := r.take()
			for _, ip := range icmp4(frames, wire.ICMPv4Redirect) {
				four++
				if m := wire.ICMPv4(ip.Payload()); m.Gateway() != gw4 || m.Code() != wire.ICMPv4RedirectHost || wire.IPv4(m.Original()).Dst() != elsewhere4 {
					t.Errorf("redirect to %v", m.Gateway())
				}
			}
			for _, ip := range icmp6(frames, wire.ICMPv6Redirect) {
				six++
				m := wire.Redirect(ip.Payload())
				quote, ok := m.Options().Find(wire.NDPRedirectedHeader).RedirectedPacket()
				if !m.Valid() || m.Target() != gw6 || m.Destination() != elsewhere6 || !ok || wire.IPv6(quote).Dst() != elsewhere6 || ip.HopLimit() != 255 {
					t.Errorf("redirect %v", m)
				}
			}
			return four, six
		}
		for i, want := range []int{1, 0} {
			r.send(p4, p6)
			if four, six := count(); four != want || six != want {
				t.Errorf("packet %d: %d and %d redirects, want %d", i, four, six, want)
			}
		}
		more := 0
		for i := range 2000 {
			time.Sleep(10 * time.Millisecond)
			r.send(p4)
			if i%100 == 0 {
				four, _ := count()
				more += four
				r.known() // lest it be forgotten
			}
		}
		if four, _ := count(); more+four != 8 {
			t.Errorf("%d redirects in 20 s, want 8 more", more+four)
		}
		time.Sleep(time.Minute)
		set(t, r.host, "net.ipv4.conf.all.send_redirects", "0", "net.ipv4.conf.eth0.send_redirects", "0")
		r.send(p4)
		if four, _ := count(); four != 0 {
			t.Error("redirects sent in spite of the setting")
		}
	})
}

// TestRedirectIn: a host believes the router in use, and nobody else.
func TestRedirectIn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := rawHost(t, host.Config{})
		time.Sleep(3 * time.Second)
		index := r.host.Adapter("eth0").Index()
		router6 := netip.MustParseAddr("fe80::2")
		better4, better6 := netip.MustParseAddr("10.0.0.9"), netip.MustParseAddr("fe80::9")
		must(t, r.host.AddRoute(route.Route{Dst: pfx("0.0.0.0/0"), Via: them4}))
		must(t, r.host.AddRoute(route.Route{Dst: pfx("::/0"), Via: router6, Adapter: index}))
		redirect4 := func(from, gw, about netip.Addr) []byte {
			quote := new(wire.Builder).Payload([]byte("x")).PushUDP(9, 9).PushIPv4(wire.IPv4Fields{TTL: 1, Src: us4, Dst: about}).Bytes()
			g := gw.As4()
			return eth4(wire.IPv4Fields{Src: from}, func(b *wire.Builder) {
				b.Payload(quote).PushICMPv4(wire.ICMPv4Redirect, 1, uint32(g[0])<<24|uint32(g[1])<<16|uint32(g[2])<<8|uint32(g[3]))
			})
		}
		redirect6 := func(hops uint8, from, target, about netip.Addr) []byte {
			m := make([]byte, wire.RedirectLen-wire.ICMPLen)
			b := make([]byte, wire.RedirectLen)
			wire.PutRedirect(b, target, about)
			copy(m, b[wire.ICMPLen:])
			return eth6(wire.IPv6Fields{Src: from, HopLimit: hops}, func(b *wire.Builder) { b.Payload(m).PushICMPv6(wire.ICMPv6Redirect, 0, 0) })
		}
		via := func(dst netip.Addr) netip.Addr {
			x, _ := r.host.Routes().Lookup(dst)
			return x.Via
		}
		for _, c := range []struct {
			name   string
			reason packet.Reason
			frame  []byte
		}{
			{"from a stranger", packet.ReasonRedirectInvalid, redirect4(netip.MustParseAddr("10.0.0.3"), better4, elsewhere4)},
			{"to off the link", packet.ReasonRedirectInvalid, redirect4(them4, elsewhere4, elsewhere4)},
			{"to us", packet.ReasonRedirectInvalid, redirect4(them4, us4, elsewhere4)},
			{"to a broadcast address", packet.ReasonRedirectInvalid, redirect4(them4, netip.MustParseAddr("10.0.0.255"), elsewhere4)},
			{"about a neighbour", packet.ReasonRedirectInvalid, redirect4(them4, better4, netip.MustParseAddr("10.0.0.77"))},
			{"6: from a stranger", packet.ReasonNDPRedirect, redirect6(255, netip.MustParseAddr("fe80::3"), better6, elsewhere6)},
			{"6: from a global address", packet.ReasonNDPRedirect, redirect6(255, them6, better6, elsewhere6)},
			{"6: to a global address", packet.ReasonNDPRedirect, redirect6(255, router6, them6, elsewhere6)},
			{"6: about a group", packet.ReasonNDPRedirect, redirect6(255, router6, better6, netip.MustParseAddr("ff0e::1"))},
			{"6: from off the link", packet.ReasonNDPHopLimit, redirect6(254, router6, better6, elsewhere6)},
		} {
			before := r.host.Drops()[c.reason]
			r.send(c.frame)
			if n := r.host.Drops()[c.reason] - before; n != 1 {
				t.Errorf("%s: dropped %d times", c.name, n)
			}
			if via(elsewhere4) != them4 || via(elsewhere6) != router6 {
				t.Fatalf("%s: believed", c.name)
			}
		}
		r.send(redirect4(them4, better4, elsewhere4), redirect6(255, router6, better6, elsewhere6))
		if via(elsewhere4) != better4 || via(elsewhere6) != better6 {
			t.Errorf("redirected to %v and %v", via(elsewhere4), via(elsewhere6))
		}
		r.send(redirect6(255, router6, netip.MustParseAddr("fd08::1"), netip.MustParseAddr("fd08::1")))
		if x, ok := r.host.Routes().Lookup(netip.MustParseAddr("fd08::1")); !ok || x.Via.IsValid() {
			t.Errorf("a destination that is a neighbour: %v", x)
		}
		time.Sleep(6 * time.Minute)
		if via(elsewhere4) != them4 || via(elsewhere6) != router6 {
			t.Error("redirects are for ever")
		}
		set(t, r.host, "net.ipv4.conf.all.accept_redirects", "0", "net.ipv4.conf.eth0.accept_redirects", "0", "net.ipv6.conf.eth0.accept_redirects", "0")
		r.send(redirect4(them4, better4, elsewhere4), redirect6(255, router6, better6, elsewhere6))
		d := r.host.Drops()
		if d[packet.ReasonRedirectIgnored] != 1 || d[packet.ReasonNDPRedirectIgnored] != 1 {
			t.Error("redirects heard in spite of the settings")
		}
	})
}

// TestICMPLimits: errors to one destination come in a burst of six and then one
// a second, all together within a bound, and echo replies are no errors.
func TestICMPLimits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := rawHost(t, host.Config{})
		time.Sleep(3 * time.Second)
		must(t, r.host.AddRoute(route.Route{Dst: pfx("198.18.0.0/15"), Via: them4}))
		must(t, r.host.AddRoute(route.Route{Dst: pfx("fd18::/16"), Via: them6}))
		r.known()
		errors := func(n int, from func(i int) (netip.Addr, netip.Addr)) (four, six int) {
			for i := range n {
				src4, src6 := from(i)
				r.send(eth4(wire.IPv4Fields{Src: src4}, udp(1, 2, "x")), eth6(wire.IPv6Fields{Src: src6}, udp(1, 2, "x")))
			}
			frames := r.take()
			return len(icmp4(frames, wire.ICMPv4Unreachable)), len(icmp6(frames, wire.ICMPv6Unreachable))
		}
		same := func(int) (netip.Addr, netip.Addr) { return them4, them6 }
		if four, six := errors(20, same); four != 6 || six != 6 {
			t.Errorf("%d and %d errors at once, want 6", four, six)
		}
		time.Sleep(2 * time.Second)
		if four, six := errors(20, same); four != 2 || six != 2 {
			t.Errorf("%d and %d errors after two seconds, want 2", four, six)
		}
		many := func(i int) (netip.Addr, netip.Addr) {
			return netip.AddrFrom4([4]byte{198, 18, byte(i >> 8), byte(i)}), netip.AddrFrom16([16]byte{0xfd, 0x18, 14: byte(i >> 8), 15: byte(i)})
		}
		time.Sleep(2 * time.Second)
		if four, six := errors(400, many); four+six != 50 {
			t.Errorf("%d errors to many at once, want 50", four+six)
		}
		set(t, r.host, "net.ipv4.icmp_ratelimit", "0", "net.ipv4.icmp_ratemask", "2048")
		if four, _ := errors(100, same); four != 100 {
			t.Errorf("%d errors of a type that is not limited, want 100", four)
		}
	})
}
