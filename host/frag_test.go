package host_test

import (
	"bytes"
	"context"
	"math/rand/v2"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/towpath/towpath/firewall/hook"
	"github.com/towpath/towpath/host"
	"github.com/towpath/towpath/link/cable"
	"github.com/towpath/towpath/packet"
	"github.com/towpath/towpath/wire"
)

// TestFragments sends datagrams and pings of all sizes through links of all
// sizes: they are cut at the sender, and IPv4's again on the way.
func TestFragments(t *testing.T) {
	hosts := lineOf(t, cable.Config{MTU: 9000}, cable.Config{}, cable.Config{MTU: 1280})
	a, b := hosts[0], hosts[3]
	s, err := b.ListenPacket("udp", ":9")
	must(t, err)
	defer s.Close()
	buf := make([]byte, 70000)
	for _, to := range []string{"10.0.2.2:9", "[fd00:0:0:2::2]:9"} {
		c, err := a.Dial("udp", to)
		must(t, err)
		for _, size := range []int{0, 1, 1200, 1232, 1233, 1472, 1473, 3000, 8972, 8973, 20000, 65000, 65507} {
			msg := make([]byte, size)
			rand.NewChaCha8([32]byte{byte(size)}).Read(msg)
			// The first tells the sender the path's MTU and may be lost.
			for try := 0; ; try++ {
				if _, err := c.Write(msg); err != nil && try > 2 {
					t.Fatalf("%s: write %d bytes: %v", to, size, err)
				}
				s.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
				n, _, err := s.ReadFrom(buf)
				if err == nil {
					if !bytes.Equal(buf[:n], msg) {
						t.Errorf("%s: %d bytes came as %d others", to, size, n)
					}
					break
				}
				if try > 3 {
					t.Fatalf("%s: %d bytes did not come", to, size)
				}
			}
		}
		if _, err := c.Write(make([]byte, 65528)); err == nil {
			t.Errorf("%s: a datagram longer than can be was sent", to)
		}
		c.Close()
	}
	for _, to := range []string{"10.0.2.2", "fd00:0:0:2::2"} {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		if r, err := a.Ping(ctx, netip.MustParseAddr(to), host.PingOptions{Size: 20000}); err != nil || r.Bytes != 20008 {
			t.Errorf("ping %s: %+v, %v", to, r, err)
		}
		cancel()
	}
}

// TestReassemblyTimeout sends the first fragment of a datagram and nothing more.
func TestReassemblyTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := rawHost(t, host.Config{})
		r.send(new(wire.Builder).PushARP(wire.ARPRequest, themMAC, them4, wire.MAC{}, us4).PushEthernet(wire.Broadcast, themMAC).Bytes())
		r.send(eth4(wire.IPv4Fields{MF: true, ID: 7}, udp(1, 2, "0123456789abcdef")))
		r.take()
		time.Sleep(31 * time.Second)
		for _, f := range r.take() {
			if ip := wire.IPv4(f[14:]); wire.Ethernet(f).Type() == wire.EtherTypeIPv4 && ip.Proto() == wire.ProtoICMP {
				if m := wire.ICMPv4(ip.Payload()); m.Type() == wire.ICMPv4TimeExceeded && m.Code() == wire.ICMPv4ReassemblyExceeded {
					return
				}
			}
		}
		t.Errorf("no word of it; dropped %v", r.host.Drops())
	})
}

// TestGroups joins groups: reports leave, what is sent to them arrives, and
// what is not joined does not.
func TestGroups(t *testing.T) {
	a, b := pair(t, cable.Config{})
	for _, g := range []string{"239.1.2.3", "ff02::1234"} {
		group := netip.MustParseAddr(g)
		rx, err := b.ListenPacket("udp", ":5000")
		must(t, err)
		tx, err := a.ListenPacket("udp", ":0")
		must(t, err)
		us, them := rx.(*host.UDPConn), tx.(*host.UDPConn)
		to := group
		if group.Is6() {
			to = group.WithZone("eth0")
		}
		send := func() {
			_, err := them.WriteToUDPAddrPort([]byte("to all of you"), netip.AddrPortFrom(to, 5000))
			must(t, err)
		}
		send()
		if n := b.Drops()[packet.ReasonGroup]; n == 0 {
			t.Errorf("%s: delivered to who has not joined", g)
		}
		must(t, us.JoinGroup("eth0", group))
		if err := us.JoinGroup("eth0", group); err == nil {
			t.Errorf("%s: joined twice", g)
		}
		send()
		us.SetReadDeadline(time.Now().Add(5 * time.Second))
		n, info, err := us.ReadPacket(make([]byte, 100))
		if err != nil || n != 13 || info.Local != group || info.TTL != 1 {
			t.Errorf("%s: %d bytes, %+v, %v", g, n, info, err)
		}
		must(t, us.LeaveGroup("eth0", group))
		before := b.Drops()[packet.ReasonGroup]
		send()
		if b.Drops()[packet.ReasonGroup] == before {
			t.Errorf("%s: delivered to who has left", g)
		}
		rx.Close()
		tx.Close()
	}
}

// A fragSpy notes the lengths of the IP packets that pass it.
type fragSpy struct{ lens []int }

func (s *fragSpy) JudgePacket(_ *hook.Context, p *packet.Packet) hook.Verdict {
	if p.Proto == wire.ProtoUDP || p.Proto == wire.ProtoFragment {
		s.lens = append(s.lens, p.LenFrom(p.Net))
	}
	return hook.Accept
}

// TestDefragment has a router put fragments together for its judges: they see
// the datagram whole, and the next link, which could carry it whole, carries
// fragments as they came.
func TestDefragment(t *testing.T) {
	for _, to := range []string{"10.0.1.2:9", "[fd00:0:0:1::2]:9"} {
		hosts := lineOf(t, cable.Config{}, cable.Config{MTU: 9000})
		var whole, pieces fragSpy
		must(t, hosts[1].AddJudge(hook.Prerouting, hook.PriorityDefrag, hook.Defragment))
		must(t, hosts[1].AddJudge(hook.Prerouting, hook.PriorityRaw, &whole))
		must(t, hosts[2].AddJudge(hook.Prerouting, hook.PriorityRaw, &pieces))
		s, err := hosts[2].ListenPacket("udp", ":9")
		must(t, err)
		c, err := hosts[0].Dial("udp", to)
		must(t, err)
		msg := make([]byte, 4000)
		_, err = c.Write(msg)
		must(t, err)
		s.SetReadDeadline(time.Now().Add(5 * time.Second))
		n, _, err := s.ReadFrom(make([]byte, 5000))
		if err != nil || n != len(msg) {
			t.Fatalf("%s: %d bytes, %v", to, n, err)
		}
		headers := wire.IPv4Len + wire.UDPLen
		if to[0] == '[' {
			headers = wire.IPv6Len + wire.UDPLen
		}
		if len(whole.lens) != 1 || whole.lens[0] != headers+len(msg) {
			t.Errorf("%s: the router's judge saw %v", to, whole.lens)
		}
		if len(pieces.lens) != 3 || pieces.lens[0] > 1500 || pieces.lens[0] < 1400 {
			t.Errorf("%s: the next one's saw %v", to, pieces.lens)
		}
		s.Close()
		c.Close()
	}
}
