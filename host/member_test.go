package host_test

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/towpath/towpath/host"
	"github.com/towpath/towpath/packet"
	"github.com/towpath/towpath/wire"
)

// TestSourceFilters: what a socket gets of a group is what its filter lets
// through, whatever others on the host want.
func TestSourceFilters(t *testing.T) {
	for _, f := range []struct {
		network    string
		group      netip.Addr
		them, more netip.Addr
	}{
		{"udp4", netip.MustParseAddr("239.1.2.3"), them4, netip.MustParseAddr("10.0.0.3")},
		{"udp6", netip.MustParseAddr("ff05::7"), them6, netip.MustParseAddr("fd00::3")},
	} {
		r := rawHost(t, host.Config{})
		open := func() *host.UDPConn {
			c, err := host.ListenConfig{Host: r.host, ReuseAddr: true}.ListenPacket(f.network, ":4000")
			must(t, err)
			t.Cleanup(func() { c.Close() })
			return c.(*host.UDPConn)
		}
		a, b := open(), open()
		buf := make([]byte, 10)
		say := func(src netip.Addr, to ...*host.UDPConn) {
			t.Helper()
			if f.group.Is4() {
				r.send(eth4(wire.IPv4Fields{Src: src, Dst: f.group}, udp(9, 4000, "hello")))
			} else {
				r.send(eth6(wire.IPv6Fields{Src: src, Dst: f.group}, udp(9, 4000, "hello")))
			}
			for _, c := range []*host.UDPConn{a, b} {
				c.SetReadDeadline(time.Now())
				if slices.Contains(to, c) {
					c.SetReadDeadline(time.Time{})
				}
				if _, _, err := c.ReadFromUDPAddrPort(buf); (err == nil) != slices.Contains(to, c) {
					t.Errorf("%v from %v: first %v, error %v", f.group, src, c == a, err)
				}
			}
		}
		do := func(c *host.UDPConn, src netip.Addr, op host.SourceOp, want error) {
			t.Helper()
			if err := c.SetGroupSource("eth0", f.group, src, op); !errors.Is(err, want) {
				t.Errorf("%v: %v, want %v", src, err, want)
			}
		}
		do(a, f.them, host.SourceBlock, syscall.EINVAL)
		do(a, f.them, host.SourceJoin, nil)
		say(f.them, a, b) // b has joined nothing, and takes what comes
		say(f.more, b)
		must(t, b.JoinGroup("eth0", f.group))
		do(b, f.them, host.SourceBlock, nil)
		say(f.them, a)
		say(f.more, b)
		do(a, f.more, host.SourceBlock, syscall.EINVAL)
		do(b, f.more, host.SourceBlock, nil)
		before := r.host.Drops()[packet.ReasonUDPSource]
		say(f.more)
		if n := r.host.Drops()[packet.ReasonUDPSource] - before; n != 1 {
			t.Errorf("%d dropped for their source, want 1", n)
		}
		must(t, b.SetGroupFilter("eth0", f.group, false, f.more, f.them))
		say(f.more, b)
		do(b, f.more, host.SourceLeave, nil)
		do(b, f.more, host.SourceLeave, syscall.EADDRNOTAVAIL)
		say(f.them, a, b)
		must(t, b.SetGroupFilter("eth0", f.group, true))
		say(f.more, b)
		if err := b.SetGroupFilter("eth0", f.group, true, netip.MustParseAddr("::ffff:1.2.3.4")); err == nil && f.group.Is4() {
			t.Error("a source of another family is accepted")
		}
		must(t, b.LeaveGroup("eth0", f.group))
		do(a, f.them, host.SourceLeave, nil)
		if err := a.LeaveGroup("eth0", f.group); !errors.Is(err, syscall.EADDRNOTAVAIL) {
			t.Errorf("the last source is left, and the group: %v", err)
		}
	}
}

// groupTalk is what frames say of groups, other than those of solicited nodes.
func groupTalk(frames [][]byte) (said []string) {
	for _, f := range frames {
		switch e := wire.Ethernet(f); e.Type() {
		case wire.EtherTypeIPv4:
			ip := wire.IPv4(f[14:])
			if m := wire.IGMP(ip.Payload()); ip.Proto() != wire.ProtoIGMP {
			} else if m.Type() != wire.IGMPv3Report {
				said = append(said, fmt.Sprint(m.Type(), " ", m.Group()))
			} else {
				for r := m.Records(); r.More(); r = r.Next() {
					said = append(said, fmt.Sprint(r.Type(), " ", r.Group(), " ", r.NumSources()))
				}
			}
		case wire.EtherTypeIPv6:
			ip := wire.IPv6(f[14:])
			if ip.NextHeader() != wire.ProtoHopByHop {
				continue
			}
			if m := wire.MLD(ip.Payload()[8:]); m.Valid() {
				said = append(said, fmt.Sprint("v1 ", m.Group(), " from ", ip.Src()))
				continue
			}
			for r := wire.MLDv2Report(ip.Payload()[8:]).Records(); r.More(); r = r.Next() {
				said = append(said, fmt.Sprint(r.Type(), " ", r.Group(), " ", r.NumSources(), " from ", ip.Src()))
			}
		}
	}
	return slices.DeleteFunc(said, func(s string) bool { return len(s) > 12 && (s[6:12] == "ff02::" || s[:9] == "v1 ff02::") })
}

// TestGroupReports: what is told of groups goes from the address that there is,
// again when there is a better one, and in the version that is set.
func TestGroupReports(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := rawHost(t, host.Config{})
		g4, g6 := netip.MustParseAddr("239.1.2.3"), netip.MustParseAddr("ff05::7")
		c, err := r.host.ListenPacket("udp", ":4000")
		must(t, err)
		defer c.Close()
		u := c.(*host.UDPConn)
		expect := func(when string, want ...string) {
			t.Helper()
			synctest.Wait()
			got := groupTalk(r.take())
			slices.Sort(got)
			if got = slices.Compact(got); !slices.Equal(got, want) {
				t.Errorf("%s: %q, want %q", when, got, want)
			}
		}
		must(t, u.JoinGroup("eth0", g4))
		must(t, u.JoinGroup("eth0", g6))
		expect("at once", "to_ex 239.1.2.3 0", "to_ex ff05::7 0 from ::")
		time.Sleep(10 * time.Second)
		expect("with an address", "to_ex 239.1.2.3 0", "to_ex ff05::7 0 from ::", "to_ex ff05::7 0 from "+ourLL.String())
		must(t, u.SetGroupFilter("eth0", g4, true, them4))
		expect("blocked", "block 239.1.2.3 1")
		time.Sleep(10 * time.Second)
		expect("again", "block 239.1.2.3 1")
		set(t, r.host, "net.ipv4.conf.all.force_igmp_version", "2", "net.ipv6.conf.eth0.force_mld_version", "1")
		must(t, u.LeaveGroup("eth0", g4))
		must(t, u.JoinGroup("eth0", g4))
		must(t, u.LeaveGroup("eth0", g6))
		must(t, u.JoinGroup("eth0", g6))
		expect("version 2", "v1 ff05::7 from "+ourLL.String(), "v2 report 239.1.2.3")
		time.Sleep(time.Minute)
		expect("again", "v1 ff05::7 from "+ourLL.String(), "v2 report 239.1.2.3")
		must(t, u.Close())
		expect("closed", "leave 239.1.2.3", "v1 ff05::7 from "+ourLL.String())
	})
}

// TestGroupLimits: a socket's groups and sources are as many as is set.
func TestGroupLimits(t *testing.T) {
	r := rawHost(t, host.Config{})
	c, err := r.host.ListenPacket("udp", ":4000")
	must(t, err)
	defer c.Close()
	u := c.(*host.UDPConn)
	set(t, r.host, "net.ipv4.igmp_max_memberships", "3", "net.ipv4.igmp_max_msf", "2", "net.ipv6.mld_max_msf", "1")
	g4, g6 := netip.MustParseAddr("239.0.0.1"), netip.MustParseAddr("ff05::7")
	for range 3 {
		must(t, u.JoinGroup("eth0", g4))
		g4 = g4.Next()
	}
	if err := u.JoinGroup("eth0", g4); !errors.Is(err, syscall.ENOBUFS) {
		t.Errorf("a fourth group: %v", err)
	}
	if err := u.SetGroupFilter("eth0", g4.Prev(), true, us4, them4, elsewhere4); !errors.Is(err, syscall.ENOBUFS) {
		t.Errorf("three sources: %v", err)
	}
	must(t, u.JoinGroup("eth0", g6))
	must(t, u.SetGroupFilter("eth0", g6, true, us6))
	if err := u.SetGroupSource("eth0", g6, them6, host.SourceBlock); !errors.Is(err, syscall.ENOBUFS) {
		t.Errorf("two sources: %v", err)
	}
}
