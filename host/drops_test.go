package host_test

import (
	"context"
	"net"
	"net/netip"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/towpath/towpath/firewall/hook"
	"github.com/towpath/towpath/host"
	"github.com/towpath/towpath/ip/route"
	"github.com/towpath/towpath/link"
	"github.com/towpath/towpath/packet"
	"github.com/towpath/towpath/wire"
)

// TestDropReasons has, for every place of this package that drops packets, a
// packet that is dropped there and counted by that reason alone.
func TestDropReasons(t *testing.T) {
	ping4 := func(b *wire.Builder) { b.Payload(make([]byte, 8)).PushICMPv4(wire.ICMPv4EchoRequest, 0, 1) }
	ping6 := func(b *wire.Builder) { b.Payload(make([]byte, 8)).PushICMPv6(wire.ICMPv6EchoRequest, 0, 1) }
	multicast := wire.MAC{1, 0, 0x5e, 0, 0, 1}
	quote := func(n int) func(b *wire.Builder) {
		return func(b *wire.Builder) {
			in := new(wire.Builder)
			in.Payload([]byte("x")).PushUDP(9, 9).PushIPv4(wire.IPv4Fields{TTL: 1, Src: us4, Dst: them4})
			b.Payload(in.Bytes()[:n]).PushICMPv4(wire.ICMPv4Unreachable, wire.ICMPv4PortUnreachable, 0)
		}
	}
	arp := func(change func(b []byte)) []byte {
		b := new(wire.Builder)
		return edit(b.PushARP(wire.ARPRequest, themMAC, them4, wire.MAC{}, us4).PushEthernet(wire.Broadcast, themMAC).Bytes(), change)
	}
	solicit := func(hops uint8, target netip.Addr) []byte {
		return eth6(wire.IPv6Fields{HopLimit: hops}, func(b *wire.Builder) { b.PushNeighborSolicit(target) })
	}
	listen := func(t *testing.T, r *raw) {
		l, err := r.host.Listen("tcp", ":80")
		must(t, err)
		t.Cleanup(func() { l.Close() })
	}
	syn := wire.TCPFields{SrcPort: 1000, DstPort: 80, Flags: wire.TCPSyn, Window: 1000}
	cookies := func(t *testing.T, r *raw) {
		s := r.host.Settings()
		s.SynBacklog = 1
		must(t, r.host.SetSettings(s))
		listenAt(t, r, ":80")
	}
	forward := func(t *testing.T, r *raw) { must(t, r.host.SetForwarding(true)) }
	away := netip.MustParseAddr("10.9.9.9")

	for _, c := range []struct {
		name   string
		reason packet.Reason
		setup  func(t *testing.T, r *raw)
		frame  []byte
	}{
		{"short frame", packet.ReasonEthernetShort, nil, make([]byte, 13)},
		{"other station", packet.ReasonEthernetNotForUs, nil, edit(eth4(wire.IPv4Fields{}, ping4), func(b []byte) { b[5] = 9 })},
		{"ethertype", packet.ReasonEtherType, nil, edit(eth4(wire.IPv4Fields{}, ping4), func(b []byte) { b[12] = 0x77 })},
		{"arp short", packet.ReasonARPMalformed, nil, arp(func([]byte) {})[:41]},
		{"arp hardware", packet.ReasonARPMalformed, nil, arp(func(b []byte) { b[15] = 6 })},
		{"arp sender", packet.ReasonARPSender, nil, arp(func(b []byte) { copy(b[22:], multicast[:]) })},
		{"arp for others", packet.ReasonARPNotForUs, nil, arp(func(b []byte) { b[41] = 77 })},
		{"ipv4 short", packet.ReasonIPMalformed, nil, eth4(wire.IPv4Fields{}, ping4)[:14+19]},
		{"ipv4 header length", packet.ReasonIPMalformed, nil, edit(eth4(wire.IPv4Fields{}, ping4), func(b []byte) { b[14] = 0x44 })},
		{"ipv4 total length", packet.ReasonIPMalformed, nil, edit(eth4(wire.IPv4Fields{}, ping4), func(b []byte) { b[16] = 9 })},
		{"ipv6 length", packet.ReasonIPMalformed, nil, edit(eth6(wire.IPv6Fields{}, ping6), func(b []byte) { b[18] = 9 })},
		{"ipv4 checksum", packet.ReasonIPChecksum, nil, edit(eth4(wire.IPv4Fields{}, ping4), func(b []byte) { b[24]++ })},
		{"source multicast", packet.ReasonIPSource, nil, eth4(wire.IPv4Fields{Src: netip.MustParseAddr("224.1.1.1")}, ping4)},
		{"source loopback", packet.ReasonIPSource, nil, eth4(wire.IPv4Fields{Src: netip.MustParseAddr("127.0.0.1")}, ping4)},
		{"source broadcast", packet.ReasonIPSource, nil, eth4(wire.IPv4Fields{Src: netip.MustParseAddr("10.0.0.255")}, ping4)},
		{"source multicast 6", packet.ReasonIPSource, nil, eth6(wire.IPv6Fields{Src: netip.MustParseAddr("ff02::9")}, ping6)},
		{"to loopback", packet.ReasonLoopback, nil, eth4(wire.IPv4Fields{Dst: netip.MustParseAddr("127.0.0.1")}, ping4)},
		{"to loopback 6", packet.ReasonLoopback, nil, eth6(wire.IPv6Fields{Dst: netip.IPv6Loopback()}, ping6)},
		{"options", packet.ReasonIPOptions, nil, edit(eth4(wire.IPv4Fields{Options: []byte{7, 3, 4, 0}}, ping4), func(b []byte) { b[35] = 1; fixIPv4(b) })},
		{"source route", packet.ReasonIPSourceRoute, nil, eth4(wire.IPv4Fields{Options: []byte{131, 7, 4, 1, 2, 3, 4, 0}}, ping4)},
		{"extensions", packet.ReasonIPExtension, nil, edit(eth6(wire.IPv6Fields{}, func(b *wire.Builder) { ping6(b); b.PushDestOpts(nil) }), func(b []byte) { b[55] = 200 })},
		{"not ours", packet.ReasonNotForUs, nil, eth4(wire.IPv4Fields{Dst: away}, ping4)},
		{"not ours 6", packet.ReasonNotForUs, nil, eth6(wire.IPv6Fields{Dst: netip.MustParseAddr("fd00::77")}, ping6)},
		{"group", packet.ReasonGroup, nil, eth4(wire.IPv4Fields{Dst: netip.MustParseAddr("224.0.0.9")}, ping4)},
		{"group, forwarding", packet.ReasonGroup, forward, eth6(wire.IPv6Fields{Dst: netip.MustParseAddr("ff02::2")}, ping6)},
		{"fragment in a fragment", packet.ReasonIPFragment, nil, eth6(wire.IPv6Fields{}, func(b *wire.Builder) { ping6(b); b.PushFragment(0, false, 2); b.PushFragment(0, false, 1) })},
		{"forward link-local", packet.ReasonForwardSource, forward, eth4(wire.IPv4Fields{Dst: netip.MustParseAddr("169.254.1.1")}, ping4)},
		{"source ours", packet.ReasonSourceOurs, nil, eth4(wire.IPv4Fields{Src: us4}, ping4)},
		{"forward frame to a group", packet.ReasonForwardStations, forward, edit(eth4(wire.IPv4Fields{Dst: away}, ping4), func(b []byte) { copy(b, wire.Broadcast[:]) })},
		{"directed broadcast", packet.ReasonDirectedBroadcast, func(t *testing.T, r *raw) { forward(t, r); narrow(t, r.host) },
			eth4(wire.IPv4Fields{Dst: netip.MustParseAddr("10.5.0.255")}, ping4)},
		{"forward ttl", packet.ReasonTTL, forward, eth4(wire.IPv4Fields{Dst: away, TTL: 1}, ping4)},
		{"forward no route", packet.ReasonNoRoute, forward, eth4(wire.IPv4Fields{Dst: away}, ping4)},
		{"forward too big", packet.ReasonTooBig, func(t *testing.T, r *raw) { forward(t, r); narrow(t, r.host) },
			eth4(wire.IPv4Fields{Dst: netip.MustParseAddr("10.5.0.2"), DF: true}, func(b *wire.Builder) {
				b.Payload(make([]byte, 900)).PushUDP(1, 2)
			})},
		{"protocol", packet.ReasonProtocol, nil, eth4(wire.IPv4Fields{Proto: 99}, func(b *wire.Builder) { b.Payload(make([]byte, 8)).SetProto(99) })},
		{"icmp short", packet.ReasonICMPMalformed, nil, eth4(wire.IPv4Fields{}, func(b *wire.Builder) { b.Payload(make([]byte, 7)).SetProto(wire.ProtoICMP) })},
		{"icmp short 6", packet.ReasonICMPMalformed, nil, eth6(wire.IPv6Fields{}, func(b *wire.Builder) { b.Payload(make([]byte, 7)).SetProto(wire.ProtoICMPv6) })},
		{"icmp checksum", packet.ReasonICMPChecksum, nil, edit(eth4(wire.IPv4Fields{}, ping4), func(b []byte) { b[36]++ })},
		{"icmp checksum 6", packet.ReasonICMPChecksum, nil, edit(eth6(wire.IPv6Fields{}, ping6), func(b []byte) { b[56]++ })},
		{"icmp type", packet.ReasonICMPType, nil, eth4(wire.IPv4Fields{}, func(b *wire.Builder) { b.PushICMPv4(wire.ICMPv4TimestampRequest, 0, 0) })},
		{"icmp type 6", packet.ReasonICMPType, nil, eth6(wire.IPv6Fields{}, func(b *wire.Builder) { b.PushICMPv6(200, 0, 0) })},
		{"echo to broadcast", packet.ReasonEchoIgnored, nil, eth4(wire.IPv4Fields{Dst: netip.MustParseAddr("10.0.0.255")}, ping4)},
		{"echo no route", packet.ReasonEchoNoRoute, nil, eth4(wire.IPv4Fields{Src: away}, ping4)},
		{"echo reply unasked", packet.ReasonEchoUnasked, nil, eth4(wire.IPv4Fields{}, func(b *wire.Builder) { b.PushICMPv4(wire.ICMPv4EchoReply, 0, 1) })},
		{"icmp quote", packet.ReasonICMPQuote, nil, eth4(wire.IPv4Fields{}, quote(27))},
		{"icmp no socket", packet.ReasonICMPNoSocket, nil, eth4(wire.IPv4Fields{}, quote(28))},
		{"ndp hop limit", packet.ReasonNDPHopLimit, nil, solicit(64, us6)},
		{"ndp solicitation", packet.ReasonNDPSolicit, nil, solicit(255, netip.MustParseAddr("ff02::1"))},
		{"ndp for others", packet.ReasonNDPNotForUs, nil, solicit(255, netip.MustParseAddr("fd00::77"))},
		{"ndp advertisement", packet.ReasonNDPAdvert, nil, eth6(wire.IPv6Fields{HopLimit: 255, Dst: netip.MustParseAddr("ff02::1")}, func(b *wire.Builder) {
			b.PushNeighborAdvert(wire.NDSolicited, them6)
		})},
		{"ndp router", packet.ReasonNDPRouter, nil, eth6(wire.IPv6Fields{HopLimit: 255, Dst: allV6}, func(b *wire.Builder) {
			b.PushRouterAdvert(wire.RouterAdvertFields{})
		})},
		{"ndp router ignored", packet.ReasonNDPRouterIgnored, forward, advert(1800)},
		{"ndp conflict", packet.ReasonNDPConflict, nil, eth6(wire.IPv6Fields{HopLimit: 255}, func(b *wire.Builder) { b.PushNeighborAdvert(0, us6) })},
		{"udp short", packet.ReasonUDPMalformed, nil, eth4(wire.IPv4Fields{}, func(b *wire.Builder) { b.Payload(make([]byte, 7)).SetProto(wire.ProtoUDP) })},
		{"udp length", packet.ReasonUDPMalformed, nil, edit(eth4(wire.IPv4Fields{}, udp(1, 2, "")), func(b []byte) { b[39] = 7 })},
		{"udp checksum", packet.ReasonUDPChecksum, nil, edit(eth4(wire.IPv4Fields{}, udp(1, 2, "")), func(b []byte) { b[40]++ })},
		{"udp no checksum 6", packet.ReasonUDPChecksum, nil, edit(eth6(wire.IPv6Fields{}, udp(1, 2, "")), func(b []byte) { b[60], b[61] = 0, 0 })},
		{"udp no socket", packet.ReasonUDPNoSocket, nil, eth4(wire.IPv4Fields{}, udp(1, 2, ""))},
		{"udp broadcast", packet.ReasonUDPNoListener, nil, eth4(wire.IPv4Fields{Dst: netip.MustParseAddr("10.0.0.255")}, udp(1, 2, ""))},
		{"udp queue", packet.ReasonUDPQueueFull, func(t *testing.T, r *raw) {
			c, err := r.host.ListenPacket("udp", ":2")
			must(t, err)
			t.Cleanup(func() { c.Close() })
			for range 4000 {
				r.send(eth4(wire.IPv4Fields{}, udp(1, 2, "")))
			}
			if n := r.host.Drops()[packet.ReasonUDPQueueFull]; n == 0 || n == 4000 {
				t.Fatalf("%d of 4000 datagrams dropped", n)
			}
		}, eth4(wire.IPv4Fields{}, udp(1, 2, ""))},
		{"tcp short", packet.ReasonTCPMalformed, nil, eth4(wire.IPv4Fields{}, func(b *wire.Builder) { b.Payload(make([]byte, 19)).SetProto(wire.ProtoTCP) })},
		{"tcp offset", packet.ReasonTCPMalformed, nil, edit(eth4(wire.IPv4Fields{}, tcp(syn)), func(b []byte) { b[46] = 0x40 })},
		{"tcp checksum", packet.ReasonTCPChecksum, nil, edit(eth4(wire.IPv4Fields{}, tcp(syn)), func(b []byte) { b[50]++ })},
		{"tcp no socket", packet.ReasonTCPNoSocket, nil, eth4(wire.IPv4Fields{}, tcp(syn))},
		{"tcp listener reset", packet.ReasonTCPListen, listen, eth4(wire.IPv4Fields{}, tcp(wire.TCPFields{SrcPort: 1, DstPort: 80, Flags: wire.TCPRst}))},
		{"tcp listener ack", packet.ReasonTCPListen, listen, eth4(wire.IPv4Fields{}, tcp(wire.TCPFields{SrcPort: 1, DstPort: 80, Flags: wire.TCPAck}))},
		{"tcp no route", packet.ReasonTCPNoRoute, listen, eth4(wire.IPv4Fields{Src: away}, tcp(syn))},
		{"tcp backlog", packet.ReasonTCPBacklog, func(t *testing.T, r *raw) {
			s := r.host.Settings()
			s.Somaxconn = 1
			must(t, r.host.SetSettings(s))
			listen(t, r)
			for i := range 2 {
				r.handshake(uint16(2000+i), 80)
			}
		}, eth4(wire.IPv4Fields{}, tcp(syn))},
		{"tcp cookie route", packet.ReasonTCPCookieRoute, cookies, eth4(wire.IPv4Fields{Src: away}, tcp(syn))},
		{"tcp cookie options", packet.ReasonTCPCookieOptions, cookies, badOptions(syn)},
		{"rule", packet.ReasonRule, func(t *testing.T, r *raw) {
			must(t, r.host.AddJudge(hook.Input, 0, judge{v: hook.Drop}))
		}, eth4(wire.IPv4Fields{}, ping4)},
		{"stolen", packet.ReasonStolen, func(t *testing.T, r *raw) {
			must(t, r.host.AddJudge(hook.Input, 0, judge{v: hook.Stolen}))
		}, eth4(wire.IPv4Fields{}, ping4)},
		{"socket rule", packet.ReasonSocketRule, func(t *testing.T, r *raw) {
			listen(t, r)
			must(t, r.host.AddSocketJudge(hook.FlowIn, 0, socketJudge{}))
		}, eth4(wire.IPv4Fields{}, tcp(syn))},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := rawHost(t, host.Config{})
			if c.setup != nil {
				c.setup(t, r)
			}
			before := r.host.Drops()
			r.send(c.frame)
			after := r.host.Drops()
			for reason := range after {
				want := before[reason]
				if packet.Reason(reason) == c.reason {
					want++
				}
				if after[reason] != want {
					t.Errorf("%v: %d, want %d", packet.Reason(reason), after[reason], want)
				}
			}
		})
	}
}

type judge struct{ v hook.Verdict }

func (j judge) JudgePacket(_ *hook.Context, p *packet.Packet) hook.Verdict {
	if j.v == hook.Stolen {
		packet.Free(p)
	}
	return j.v
}

type socketJudge struct{}

func (socketJudge) JudgeSocket(*hook.SocketEvent) hook.Verdict { return hook.Drop }

// narrow gives a host a second adapter with an MTU of 600, at 10.5.0.1/24.
func narrow(t *testing.T, h *host.Host) {
	mine, theirs := narrowCable()
	end := link.NewAdapter("end", 1, theirs)
	end.Bind(&raw{t: t, a: end}) // what comes is no drop
	must(t, end.Open())
	t.Cleanup(func() { must(t, end.Close()) })
	_, err := h.AddAdapter("eth1", mine)
	must(t, err)
	must(t, h.AddAddress("eth1", pfx("10.5.0.1/24")))
}

// TestDropNeighbors reaches the drops of packets that wait for a neighbour.
func TestDropNeighbors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := rawHost(t, host.Config{})
		c, err := r.host.ListenPacket("udp", ":1")
		must(t, err)
		defer c.Close()
		to := &net.UDPAddr{IP: them4.AsSlice(), Port: 9}
		for range 150 {
			c.WriteTo([]byte("x"), to)
		}
		d := r.host.Drops()
		if n := d[packet.ReasonNeighborQueue]; n != 150-101 {
			t.Errorf("%d dropped from a full queue, want 49", n)
		}
		time.Sleep(3*time.Second + 500*time.Millisecond)
		c.WriteTo([]byte("x"), to)
		time.Sleep(5 * time.Second)
		d = r.host.Drops()
		if n := d[packet.ReasonNeighborRecent]; n != 1 {
			t.Errorf("%d dropped for a neighbour that has just failed, want 1", n)
		}
		if n := d[packet.ReasonNeighborFailed]; n != 101 {
			t.Errorf("%d dropped for want of a neighbour, want 101", n)
		}
		// Others ask on; each takes an entry until the table is full of them.
		for i := range 2000 {
			c.WriteTo([]byte("x"), &net.UDPAddr{IP: net.IPv4(10, 0, 0, byte(2+i%200)), Port: 9})
		}
		must(t, r.host.AddRoute(route.Route{Dst: pfx("10.64.0.0/16"), Adapter: r.host.Adapter("eth0").Index()}))
		for i := range 2000 {
			c.WriteTo([]byte("x"), &net.UDPAddr{IP: net.IPv4(10, 64, byte(i>>8), byte(i)), Port: 9})
		}
		d = r.host.Drops()
		if d[packet.ReasonNeighborTable] == 0 {
			t.Error("a full neighbour table dropped nothing")
		}
		must(t, r.host.RemoveAdapter("eth0"))
		d = r.host.Drops()
		if d[packet.ReasonNeighborFlushed] == 0 {
			t.Error("an adapter that went flushed nothing")
		}
	})
}

// thief steals packets and gives them back when told.
type thief struct {
	mu  sync.Mutex
	env hook.Env
	l   packet.List
}

func (j *thief) JudgePacket(c *hook.Context, p *packet.Packet) hook.Verdict {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.env = c.Env
	j.l.Push(p)
	return hook.Stolen
}

func (j *thief) giveBack(at hook.Point) {
	j.mu.Lock()
	p, env := j.l.Pop(), j.env
	j.mu.Unlock()
	if p != nil {
		env.Inject(at, j, p)
	}
}

// TestInject steals a ping at every point it passes and gives it back: it is
// answered all the same.
func TestInject(t *testing.T) {
	for _, at := range []hook.Point{hook.Ingress, hook.Prerouting, hook.LocalRx, hook.Input, hook.Output, hook.Postrouting, hook.Egress} {
		t.Run(at.String(), func(t *testing.T) {
			a, b := pair(t, cableConfig())
			ping := func(ctx context.Context) error {
				_, err := a.Ping(ctx, netip.MustParseAddr("10.0.0.2"), host.PingOptions{})
				return err
			}
			must(t, ping(context.Background()))
			j := new(thief)
			must(t, b.AddJudge(at, 0, j))
			ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
			defer cancel()
			done := make(chan error, 1)
			go func() { done <- ping(ctx) }()
			for {
				select {
				case err := <-done:
					must(t, err)
					must(t, b.RemoveJudge(at, j))
					return
				default:
					j.giveBack(at)
					runtime.Gosched()
				}
			}
		})
	}
}

// TestInjectGone gives packets back when their judge or adapter is gone.
func TestInjectGone(t *testing.T) {
	r := rawHost(t, host.Config{})
	j := new(thief)
	must(t, r.host.AddJudge(hook.Ingress, 0, j))
	for range 2 {
		r.send(eth4(wire.IPv4Fields{}, udp(1, 2, "")))
	}
	must(t, r.host.RemoveAdapter("eth0"))
	j.giveBack(hook.Ingress)
	must(t, r.host.RemoveJudge(hook.Ingress, j))
	j.giveBack(hook.Ingress)
	d := r.host.Drops()
	if d[packet.ReasonInjectAdapter] != 1 || d[packet.ReasonInjectGone] != 1 {
		t.Errorf("adapter gone %d, judge gone %d, want 1 each", d[packet.ReasonInjectAdapter], d[packet.ReasonInjectGone])
	}
}

// TestDropClosed reaches the drops of sockets and hosts that close.
func TestDropClosed(t *testing.T) {
	r := rawHost(t, host.Config{})
	c, err := r.host.ListenPacket("udp", ":2")
	must(t, err)
	r.send(eth4(wire.IPv4Fields{}, udp(1, 2, "")))
	must(t, c.Close())
	if d := r.host.Drops(); d[packet.ReasonUDPClosed] != 1 {
		t.Errorf("%d datagrams dropped with their socket, want 1", d[packet.ReasonUDPClosed])
	}
	must(t, r.host.Close(context.Background()))
	var l packet.List
	l.Push(packet.Get())
	w := link.NewWork(nil)
	r.host.Receive(r.a, &l, w)
	w.Run()
	if d := r.host.Drops(); d[packet.ReasonHostClosed] != 1 {
		t.Errorf("%d packets dropped by a closed host, want 1", d[packet.ReasonHostClosed])
	}
}

var _ link.Protocol = (*raw)(nil)

// TestDropVersion receives a packet that is neither IPv4 nor IPv6 on an adapter
// without link headers.
func TestDropVersion(t *testing.T) {
	h := host.New(host.Config{})
	defer func() { must(t, h.Close(context.Background())) }()
	var l packet.List
	p := packet.Get()
	p.Append(40)[0] = 0x50
	l.Push(p)
	w := link.NewWork(nil)
	h.Receive(h.Adapter(host.LoopbackName), &l, w)
	w.Run()
	if d := h.Drops(); d[packet.ReasonIPVersion] != 1 {
		t.Errorf("%d packets of an unknown version dropped, want 1", d[packet.ReasonIPVersion])
	}
}
