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

// arps returns the ARP packets among frames.
func arps(frames [][]byte) (found []wire.ARP) {
	for _, f := range frames {
		if wire.Ethernet(f).Type() == wire.EtherTypeARP {
			found = append(found, wire.ARP(f[14:]))
		}
	}
	return found
}

func whoHas(target, sender netip.Addr) []byte {
	return new(wire.Builder).PushARP(wire.ARPRequest, themMAC, sender, wire.MAC{}, target).PushEthernet(wire.Broadcast, themMAC).Bytes()
}

// TestARPSettings: which questions are answered, by arp_ignore, arp_filter and
// proxy_arp, and what becomes of announcements.
func TestARPSettings(t *testing.T) {
	other := netip.MustParseAddr("10.5.0.1") // of eth1
	behind := netip.MustParseAddr("10.5.0.77")
	for _, c := range []struct {
		name           string
		settings       []string
		target, sender netip.Addr
		answered       bool
	}{
		{"ours", nil, us4, them4, true},
		{"another adapter's", nil, other, them4, true},
		{"nobody's", nil, netip.MustParseAddr("10.0.0.77"), them4, false},
		{"loopback", nil, netip.MustParseAddr("127.0.0.1"), them4, false},
		{"arp_ignore 1", []string{"net.ipv4.conf.all.arp_ignore", "1"}, us4, them4, true},
		{"arp_ignore 1, another adapter's", []string{"net.ipv4.conf.all.arp_ignore", "1"}, other, them4, false},
		{"arp_ignore 2", []string{"net.ipv4.conf.eth0.arp_ignore", "2"}, us4, them4, true},
		{"arp_ignore 2, from elsewhere", []string{"net.ipv4.conf.eth0.arp_ignore", "2"}, us4, elsewhere4, false},
		{"arp_ignore 8", []string{"net.ipv4.conf.eth0.arp_ignore", "8"}, us4, them4, false},
		{"arp_filter", []string{"net.ipv4.conf.all.arp_filter", "1"}, us4, them4, true},
		{"arp_filter, way back by another", []string{"net.ipv4.conf.all.arp_filter", "1"}, us4, behind, false},
		{"behind us", nil, behind, them4, false},
		{"proxy_arp", []string{"net.ipv4.conf.eth0.proxy_arp", "1"}, behind, them4, true},
		{"proxy_arp, same side", []string{"net.ipv4.conf.eth0.proxy_arp", "1"}, netip.MustParseAddr("10.0.0.77"), them4, false},
		{"proxy_arp, no route", []string{"net.ipv4.conf.eth0.proxy_arp", "1"}, elsewhere4, them4, false},
		{"proxy_arp, announcement", []string{"net.ipv4.conf.eth0.proxy_arp", "1"}, behind, behind, false},
		{"probe for ours", nil, us4, netip.IPv4Unspecified(), true},
	} {
		r := rawHost(t, host.Config{Forward: true})
		narrow(t, r.host)
		r.take()
		set(t, r.host, c.settings...)
		r.send(whoHas(c.target, c.sender))
		got := arps(r.take())
		if (len(got) == 1) != c.answered {
			t.Errorf("%s: %d answers", c.name, len(got))
		}
		if len(got) == 1 && (got[0].Op() != wire.ARPReply || got[0].SenderIP() != c.target || got[0].SenderMAC() != usMAC || got[0].TargetIP() != c.sender) {
			t.Errorf("%s: answer %v", c.name, got[0])
		}
	}

	r := rawHost(t, host.Config{Forward: true})
	news := netip.MustParseAddr("10.0.0.50")
	r.send(whoHas(news, news))
	if n := len(r.host.Neighbors()); n != 0 {
		t.Errorf("%d neighbours known after an announcement", n)
	}
	set(t, r.host, "net.ipv4.conf.eth0.arp_accept", "1")
	r.send(whoHas(news, news))
	if n := len(r.host.Neighbors()); n != 1 {
		t.Errorf("%d neighbours known with arp_accept", n)
	}
	set(t, r.host, "net.ipv4.conf.eth0.drop_gratuitous_arp", "1")
	r.send(whoHas(news, news))
	if n := r.host.Drops()[packet.ReasonARPGratuitous]; n != 1 {
		t.Errorf("%d announcements dropped, want 1", n)
	}
	narrow(t, r.host)
	must(t, r.host.AddProxy("eth0", netip.MustParseAddr("10.5.0.99")))
	r.take()
	r.send(whoHas(netip.MustParseAddr("10.5.0.99"), them4), whoHas(netip.MustParseAddr("10.5.0.98"), them4))
	if got := arps(r.take()); len(got) != 1 || got[0].SenderIP() != netip.MustParseAddr("10.5.0.99") {
		t.Errorf("%d answers for one address of two", len(got))
	}
	must(t, r.host.RemoveProxy("eth0", netip.MustParseAddr("10.5.0.99")))
	if r.host.RemoveProxy("eth0", netip.MustParseAddr("10.5.0.99")) == nil || r.host.AddProxy("eth9", us4) == nil {
		t.Error("mistakes accepted")
	}
	set(t, r.host, "net.ipv4.conf.eth0.arp_notify", "1")
	must(t, r.host.AddAddress("eth0", pfx("10.0.7.1/24")))
	if got := arps(r.take()); len(got) != 1 || got[0].Op() != wire.ARPRequest || got[0].SenderIP() != got[0].TargetIP() || got[0].SenderIP() != netip.MustParseAddr("10.0.7.1") {
		t.Errorf("announced by %v", got)
	}
}

// TestARPAnnounce: the source of questions, by arp_announce.
func TestARPAnnounce(t *testing.T) {
	for level, want := range []string{"10.5.0.1", "10.0.0.1", "10.0.0.1"} {
		r := rawHost(t, host.Config{})
		narrow(t, r.host)
		set(t, r.host, "net.ipv4.conf.eth0.arp_announce", string(rune('0'+level)))
		c, err := r.host.ListenPacket("udp", "10.5.0.1:0")
		must(t, err)
		defer c.Close()
		r.take()
		c.(*host.UDPConn).WriteToUDPAddrPort([]byte("x"), netip.AddrPortFrom(them4, 9))
		got := arps(r.take())
		if len(got) != 1 || got[0].SenderIP() != netip.MustParseAddr(want) {
			t.Errorf("level %d: %v, want from %s", level, got, want)
		}
	}
}

// TestARPConflict: an address that somebody else uses is defended once in ten
// seconds (RFC 5227 §2.4).
func TestARPConflict(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := rawHost(t, host.Config{})
		time.Sleep(3 * time.Second)
		for i, want := range []int{1, 0, 1} {
			r.take()
			r.send(whoHas(them4, us4))
			got := arps(r.take())
			if len(got) != want {
				t.Errorf("conflict %d: %d announcements, want %d", i, len(got), want)
			}
			if len(got) == 1 && (got[0].SenderIP() != us4 || got[0].TargetIP() != us4 || got[0].SenderMAC() != usMAC) {
				t.Errorf("announcement %v", got[0])
			}
			time.Sleep(6 * time.Second)
		}
		if n := r.host.Stats().AddressConflicts; n != 3 {
			t.Errorf("%d conflicts counted, want 3", n)
		}
		if n := r.host.Drops()[packet.ReasonARPConflict]; n != 3 {
			t.Errorf("%d dropped, want 3", n)
		}
	})
}

// TestProxyNDP: a router answers for who is behind it, without override (RFC
// 4861 §7.2.8).
func TestProxyNDP(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := rawHost(t, host.Config{Forward: true})
		behind := netip.MustParseAddr("fd00::77")
		must(t, r.host.AddProxy("eth0", behind))
		time.Sleep(3 * time.Second)
		r.known()
		ask := func() int {
			f := eth6(wire.IPv6Fields{HopLimit: 255, Dst: wire.SolicitedNode(behind)}, func(b *wire.Builder) { b.PushNeighborSolicit(behind) })
			m := wire.MulticastMAC(wire.SolicitedNode(behind))
			copy(f, m[:])
			r.send(f)
			got := icmp6(r.take(), wire.ICMPv6NeighborAdvert)
			for _, ip := range got {
				if na := wire.NeighborAdvert(ip.Payload()); na.Target() != behind || na.Override() || !na.Solicited() || !na.Router() {
					t.Errorf("%v", na)
				}
			}
			return len(got)
		}
		if n := ask(); n != 0 {
			t.Errorf("%d answers while proxy_ndp is off", n)
		}
		set(t, r.host, "net.ipv6.conf.eth0.proxy_ndp", "1")
		if n := ask(); n != 1 {
			t.Errorf("%d answers, want 1", n)
		}
	})
}

// TestNeighborSysctls: how often and how long neighbours are asked for.
func TestNeighborSysctls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := rawHost(t, host.Config{})
		set(t, r.host, "net.ipv4.neigh.default.mcast_solicit", "5", "net.ipv4.neigh.eth0.retrans_time_ms", "200", "net.ipv6.neigh.eth0.mcast_solicit", "1")
		for name, want := range map[string]string{
			"net.ipv4.neigh.eth0.mcast_solicit": "5", "net.ipv4.neigh.eth0.retrans_time_ms": "200", "net.ipv6.neigh.eth0.retrans_time_ms": "1000",
			"net.ipv4.neigh.default.base_reachable_time_ms": "30000", "net.ipv6.neigh.default.delay_first_probe_time": "5",
			"net.ipv4.neigh.lo.ucast_solicit": "3", "net.ipv4.neigh.eth0.unres_qlen_bytes": "212992",
		} {
			if v, _ := r.host.Sysctl(name); v != want {
				t.Errorf("%s = %q, want %s", name, v, want)
			}
		}
		for _, bad := range []string{"net.ipv4.neigh.eth0.mcast_solicit", "net.ipv4.neigh.eth0.retrans_time_ms", "net.ipv4.neigh.eth9.ucast_solicit", "net.ipv4.neigh.eth0.x", "net.ipv4.neigh.x"} {
			if r.host.SetSysctl(bad, "0") == 0 {
				t.Errorf("%s = 0 accepted", bad)
			}
		}
		time.Sleep(3 * time.Second)
		must(t, r.host.AddRoute(route.Route{Dst: pfx("0.0.0.0/0"), Via: them4}))
		r.take()
		c, err := r.host.ListenPacket("udp", ":0")
		must(t, err)
		defer c.Close()
		c.(*host.UDPConn).WriteToUDPAddrPort([]byte("x"), netip.AddrPortFrom(elsewhere4, 9))
		c.(*host.UDPConn).WriteToUDPAddrPort([]byte("x"), netip.AddrPortFrom(them6, 9))
		time.Sleep(1500 * time.Millisecond)
		frames := r.take()
		if four, six := len(arps(frames)), len(icmp6(frames, wire.ICMPv6NeighborSolicit)); four != 5 || six != 1 {
			t.Errorf("%d and %d solicitations, want 5 and 1", four, six)
		}
	})
}
