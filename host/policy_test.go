package host_test

import (
	"net/netip"
	"slices"
	"testing"

	"github.com/towpath/towpath/firewall/hook"
	"github.com/towpath/towpath/host"
	"github.com/towpath/towpath/ip/route"
	"github.com/towpath/towpath/packet"
	"github.com/towpath/towpath/wire"
)

// marker marks packets to a port.
type marker struct{}

func (marker) JudgePacket(_ *hook.Context, p *packet.Packet) hook.Verdict {
	if b := p.From(p.Transport); p.Proto == wire.ProtoUDP && wire.UDP(b).DstPort() == 77 {
		p.Mark = 7
	}
	return hook.Accept
}

// TestPolicy forwards by rules: by mark, source and adapter.
func TestPolicy(t *testing.T) {
	r := rawHost(t, host.Config{Forward: true})
	r.known()
	narrow(t, r.host)
	must(t, r.host.AddRoute(route.Route{Dst: pfx("0.0.0.0/0"), Via: them4}))
	must(t, r.host.AddRoute(route.Route{Dst: pfx("0.0.0.0/0"), Kind: route.Blackhole, Table: 100}))
	must(t, r.host.AddRule(route.Rule{Priority: 10, Mark: 7, Action: route.ToTable, Table: 100}))
	must(t, r.host.AddRule(route.Rule{Priority: 20, From: pfx("10.0.0.66/32"), Action: route.RuleProhibit}))
	must(t, r.host.AddRule(route.Rule{Priority: 30, In: r.host.Adapter("eth0").Index(), To: pfx("192.0.2.0/24"), Action: route.RuleUnreachable}))
	must(t, r.host.AddJudge(hook.Prerouting, 0, marker{}))
	for _, c := range []struct {
		src, dst string
		port     uint16
		reason   packet.Reason
	}{
		{"10.0.0.2", "10.9.9.9", 9, packet.NotDropped},
		{"10.0.0.2", "10.9.9.9", 77, packet.ReasonRouteBlackhole},
		{"10.0.0.66", "10.9.9.9", 9, packet.ReasonRouteProhibit},
		{"10.0.0.2", "192.0.2.1", 9, packet.ReasonRouteUnreachable},
	} {
		before, forwarded := r.host.Drops(), r.host.Stats().Forwarded
		r.send(eth4(wire.IPv4Fields{Src: netip.MustParseAddr(c.src), Dst: netip.MustParseAddr(c.dst)}, udp(1, c.port, "x")))
		if n := r.host.Drops()[c.reason] - before[c.reason]; c.reason != packet.NotDropped && n != 1 {
			t.Errorf("%v: dropped %d times for %v", c, n, c.reason)
		}
		if n := r.host.Stats().Forwarded - forwarded; (n == 1) != (c.reason == packet.NotDropped) {
			t.Errorf("%v: forwarded %d times", c, n)
		}
	}
	for _, bad := range []route.Rule{{Priority: 5, Action: route.Goto, Goto: 5}, {Priority: 5}, {Priority: 5, Table: 9, From: pfx("::/0"), To: pfx("0.0.0.0/0")}} {
		if r.host.AddRule(bad) == nil {
			t.Errorf("%+v accepted", bad)
		}
	}
	must(t, r.host.RemoveRules(func(r route.Rule) bool { return r.Priority == 20 }))
	if n := len(r.host.Rules().All()); n != 4 {
		t.Errorf("%d rules, want 4", n)
	}
}

// TestMultipath divides flows among the ways of a route, by addresses or by
// ports too, and uses what is left when adapters go.
func TestMultipath(t *testing.T) {
	r := rawHost(t, host.Config{Forward: true})
	r.known()
	narrow(t, r.host)
	must(t, r.host.AddRoute(route.Route{Dst: pfx("10.9.0.0/16"), Multi: &route.Multipath{Hops: []route.Hop{
		{Via: them4, Weight: 1}, {Via: netip.MustParseAddr("10.5.0.2"), Weight: 1},
	}}}))
	here := func(n int, frame func(i int) []byte) (count int) {
		for i := range n {
			r.send(frame(i))
			for _, f := range r.take() {
				if wire.Ethernet(f).Type() == wire.EtherTypeIPv4 && wire.IPv4(f[14:]).Proto() == wire.ProtoUDP {
					count++
				}
			}
		}
		return count
	}
	hosts := func(i int) []byte {
		return eth4(wire.IPv4Fields{Dst: netip.AddrFrom4([4]byte{10, 9, byte(i), 1})}, udp(1, 2, "x"))
	}
	ports := func(i int) []byte { return eth4(wire.IPv4Fields{Dst: elsewhere4}, udp(uint16(i), 2, "x")) }
	if n := here(200, hosts); n < 60 || n > 140 {
		t.Errorf("%d of 200 destinations by one of two ways", n)
	}
	if n := here(50, ports); n != 0 && n != 50 {
		t.Errorf("%d of 50 flows between two hosts by one of two ways", n)
	}
	set(t, r.host, "net.ipv4.fib_multipath_hash_policy", "1")
	if n := here(200, ports); n < 60 || n > 140 {
		t.Errorf("%d of 200 flows by one of two ways", n)
	}
	must(t, r.host.AddRoute(route.Route{Dst: pfx("10.8.0.0/16"), Multi: &route.Multipath{Hops: []route.Hop{{Via: netip.MustParseAddr("10.5.0.2")}}}}))
	must(t, r.host.RemoveAdapter("eth1"))
	if n := here(50, hosts); n != 50 {
		t.Errorf("%d of 50 by the way that is left", n)
	}
	r.send(eth4(wire.IPv4Fields{Dst: netip.MustParseAddr("10.8.0.1")}, udp(1, 2, "x")))
	if n := r.host.Drops()[packet.ReasonRouteDead]; n != 1 {
		t.Errorf("%d dropped for want of a way, want 1", n)
	}
	for _, bad := range []route.Route{
		{Dst: pfx("10.7.0.0/16"), Multi: &route.Multipath{}},
		{Dst: pfx("10.7.0.0/16"), Multi: &route.Multipath{Hops: []route.Hop{{Adapter: 1, Weight: 1000}}}},
		{Dst: pfx("10.7.0.0/16"), Adapter: 1, MTU: 60},
		{Dst: pfx("fd07::/16"), Adapter: 1, MTU: 1200},
	} {
		if r.host.AddRoute(bad) == nil {
			t.Errorf("%v accepted", bad)
		}
	}
}

// TestRouteMTU: a route bounds what is sent to its prefix, and if it is locked
// routers may cut it.
func TestRouteMTU(t *testing.T) {
	for _, lock := range []bool{false, true} {
		r := rawHost(t, host.Config{})
		r.known()
		must(t, r.host.AddRoute(route.Route{Dst: pfx("10.9.0.0/16"), Via: them4, MTU: 700, MTULock: lock}))
		c, err := r.host.ListenPacket("udp", ":0")
		must(t, err)
		defer c.Close()
		for _, size := range []int{600, 1000} {
			_, err := c.(*host.UDPConn).WriteToUDPAddrPort(make([]byte, size), netip.AddrPortFrom(elsewhere4, 9))
			must(t, err)
		}
		r.settle()
		frames := slices.DeleteFunc(r.take(), func(f []byte) bool { return wire.Ethernet(f).Type() != wire.EtherTypeIPv4 })
		if len(frames) != 3 {
			t.Fatalf("%d frames, want one and a datagram in two", len(frames))
		}
		for i, f := range frames {
			ip := wire.IPv4(f[14:])
			if ip.TotalLen() > 700 || ip.DontFragment() != (i == 0 && !lock) {
				t.Errorf("lock %v: packet %d of %d bytes, DF %v", lock, i, ip.TotalLen(), ip.DontFragment())
			}
		}
	}
}
