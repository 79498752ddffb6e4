package host_test

import (
	"bytes"
	"net/netip"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/towpath/towpath/host"
	"github.com/towpath/towpath/packet"
	"github.com/towpath/towpath/wire"
)

// TestRouterChoice: of several routers the preferred one is used, for prefixes
// that one says it leads to that one (RFC 4191), and what they tell of DNS can
// be read (RFC 8106). All of it ends.
func TestRouterChoice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := rawHost(t, host.Config{})
		time.Sleep(3 * time.Second)
		first, second := netip.MustParseAddr("fe80::1"), netip.MustParseAddr("fe80::2")
		server, local := netip.MustParseAddr("fd00::53"), netip.MustParseAddr("fe80::53")
		routerAdvert := func(from netip.Addr, f wire.RouterAdvertFields, lifetime uint32, more bool) {
			o := make([]byte, 256)
			n := 0
			if more {
				n += wire.PutRouteInfoOption(o[n:], wire.NDPRoute{Prefix: pfx("fd09::/16"), Preference: 0, Lifetime: lifetime})
				n += wire.PutRDNSSOption(o[n:], lifetime, server, local)
				search := []byte("\x1f\x02\x00\x00\x00\x00\x00\x00\x03lab\x00\x00\x00\x00")
				search[6], search[7] = byte(lifetime>>8), byte(lifetime)
				n += copy(o[n:], append(search, 0)[:16])
			}
			r.send(eth6(wire.IPv6Fields{HopLimit: 255, Src: from, Dst: allV6}, func(b *wire.Builder) { b.Payload(o[:n]).PushRouterAdvert(f) }))
		}
		via := func(dst netip.Addr) netip.Addr {
			x, _ := r.host.Routes().Lookup(dst)
			return x.Via
		}
		far := netip.MustParseAddr("2001:db8::1")
		routerAdvert(first, wire.RouterAdvertFields{Lifetime: 1800}, 0, false)
		routerAdvert(second, wire.RouterAdvertFields{Lifetime: 600, Preference: 1}, 300, true)
		if via(far) != second || via(elsewhere6) != second {
			t.Errorf("by %v and %v, want the preferred router", via(far), via(elsewhere6))
		}
		routerAdvert(second, wire.RouterAdvertFields{Lifetime: 600, Preference: -1}, 300, true)
		if via(far) != first || via(elsewhere6) != second {
			t.Errorf("by %v and %v, want the default router and the one of the route", via(far), via(elsewhere6))
		}
		servers, search := r.host.Resolvers()
		if !slices.Equal(servers, []netip.Addr{server, local.WithZone("eth0")}) || !slices.Equal(search, []string{"lab"}) {
			t.Errorf("DNS servers %v, domains %q", servers, search)
		}
		time.Sleep(301 * time.Second)
		if servers, search = r.host.Resolvers(); via(elsewhere6) != first || len(servers) != 0 || len(search) != 0 {
			t.Errorf("after their lifetimes: by %v, servers %v, domains %q", via(elsewhere6), servers, search)
		}
		routerAdvert(second, wire.RouterAdvertFields{Lifetime: 600}, 300, true)
		routerAdvert(second, wire.RouterAdvertFields{Lifetime: 600}, 0, true)
		if servers, search = r.host.Resolvers(); via(elsewhere6) != first || len(servers) != 0 || len(search) != 0 {
			t.Errorf("taken back: by %v, servers %v, domains %q", via(elsewhere6), servers, search)
		}
	})
}

// TestProbeLooped: a probe that comes back is no duplicate, one with another
// nonce is (RFC 7527).
func TestProbeLooped(t *testing.T) {
	for _, other := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			r := rawHost(t, host.Config{})
			var probe []byte
			for range 100 {
				time.Sleep(10 * time.Millisecond)
				for _, f := range r.take() {
					if len(icmp6([][]byte{f}, wire.ICMPv6NeighborSolicit)) == 1 && wire.NeighborSolicit(f[54:]).Target() == us6 {
						probe = bytes.Clone(f)
					}
				}
				if probe != nil {
					break
				}
			}
			if probe == nil {
				t.Fatal("no probe")
			}
			if other {
				probe[len(probe)-6] ^= 1
				m := wire.ICMPv6(probe[54:])
				m.SetChecksum(0)
				ip := wire.IPv6(probe[14:])
				m.SetChecksum(^wire.Fold(wire.Sum(m, wire.PseudoSum(ip.Src(), ip.Dst(), wire.ProtoICMPv6, len(m)))))
			}
			r.send(probe)
			d := r.host.Drops()
			looped, duplicate := d[packet.ReasonNDPLooped], d[packet.ReasonNDPDuplicate]
			if other && (looped != 0 || duplicate != 1) || !other && (looped != 1 || duplicate != 0) {
				t.Errorf("other nonce %v: %d looped back, %d duplicate", other, looped, duplicate)
			}
		})
	}
}
