package host_test

import (
	"net/netip"
	"testing"

	"github.com/towpath/towpath/host"
	"github.com/towpath/towpath/ip/route"
	"github.com/towpath/towpath/packet"
	"github.com/towpath/towpath/wire"
)

// TestReversePath: what may come in by an adapter, by where its answer would go
// (RFC 3704; Linux: rp_filter).
func TestReversePath(t *testing.T) {
	for _, c := range []struct {
		all, own string
		src      string
		dropped  bool
	}{
		{"0", "0", "10.5.0.9", false},   // routed by eth1
		{"0", "0", "172.16.9.9", false}, // not routed
		{"1", "0", "10.5.0.9", true},
		{"0", "1", "10.5.0.9", true},
		{"1", "2", "10.5.0.9", false}, // the larger one counts
		{"2", "0", "172.16.9.9", true},
		{"0", "1", "172.16.9.9", true},
		{"0", "1", "10.0.0.9", false},
		{"0", "1", "192.0.2.9", false},   // by a router on eth0
		{"0", "2", "198.51.100.9", true}, // a blackhole
		{"0", "1", "0.0.0.0", false},
	} {
		r := rawHost(t, host.Config{})
		narrow(t, r.host)
		must(t, r.host.AddRoute(route.Route{Dst: pfx("192.0.2.0/24"), Via: them4}))
		must(t, r.host.AddRoute(route.Route{Dst: pfx("198.51.100.0/24"), Kind: route.Blackhole}))
		set(t, r.host, "net.ipv4.conf.all.rp_filter", c.all, "net.ipv4.conf.eth0.rp_filter", c.own)
		r.send(eth4(wire.IPv4Fields{Src: netip.MustParseAddr(c.src)}, udp(1, 2, "x")))
		if n := r.host.Drops()[packet.ReasonReversePath]; (n == 1) != c.dropped {
			t.Errorf("rp_filter %s and %s, from %s: dropped %d times", c.all, c.own, c.src, n)
		}
	}
}
