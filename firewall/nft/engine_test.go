package nft_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/towpath/towpath/firewall/conntrack"
	"github.com/towpath/towpath/firewall/hook"
	"github.com/towpath/towpath/firewall/nat"
	"github.com/towpath/towpath/firewall/nft"
	"github.com/towpath/towpath/host"
	"github.com/towpath/towpath/ip/route"
	"github.com/towpath/towpath/link/cable"
	"github.com/towpath/towpath/packet"
	"github.com/towpath/towpath/wire"
)

// network is a client and a server with a gateway between them.
func network(t *testing.T) (client, gateway, server *host.Host) {
	var hosts [3]*host.Host
	for i, name := range []string{"client", "gateway", "server"} {
		h := host.New(host.Config{Name: name, Forward: i == 1})
		t.Cleanup(func() { h.Close(context.Background()) })
		hosts[i] = h
	}
	join := func(i int, a, b *host.Host, adapter [2]string, addr [2]string) {
		x, y := cable.New(cable.Config{})
		for k, p := range []*cable.Port{x, y} {
			h := []*host.Host{a, b}[k]
			if _, err := h.AddAdapter(adapter[k], p); err != nil {
				t.Fatal(err)
			}
			if err := h.AddAddress(adapter[k], netip.MustParsePrefix(addr[k])); err != nil {
				t.Fatal(err)
			}
		}
	}
	join(0, hosts[0], hosts[1], [2]string{"eth0", "eth0"}, [2]string{"10.1.0.2/24", "10.1.0.1/24"})
	join(1, hosts[1], hosts[2], [2]string{"eth1", "eth0"}, [2]string{"203.0.113.1/24", "203.0.113.2/24"})
	err := hosts[0].AddRoute(route.Route{Dst: netip.MustParsePrefix("0.0.0.0/0"), Via: netip.MustParseAddr("10.1.0.1")})
	if err != nil {
		t.Fatal(err)
	}
	return hosts[0], hosts[1], hosts[2]
}

func engine(t *testing.T, h *host.Host, text string) *nft.Engine {
	t.Helper()
	rs, err := nft.Read("gateway.nft", text)
	if err != nil {
		t.Fatal(err)
	}
	flows := conntrack.NewTable(conntrack.Settings{})
	e, err := nft.NewEngine(nft.Config{Conntrack: flows, NAT: nat.New(flows), Now: h.Clock().Now}, h.AddJudge, h.RemoveJudge)
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Replace(rs); err != nil {
		t.Fatal(err)
	}
	return e
}

const gateway = `table inet gateway {
	chain forward {
		type filter hook forward priority filter; policy drop
		ct state established,related accept
		tcp dport 80 accept
		tcp dport 22 reject with tcp reset comment "no shell"
		tcp dport 23 reject with icmpx admin-prohibited
	}
	chain prerouting {
		type nat hook prerouting priority dstnat
		ip daddr 10.1.0.1 tcp dport { 8080, 8022 } dnat ip to tcp dport map { 8080 : 203.0.113.2 . 80, 8022 : 203.0.113.2 . 22 }
	}
	chain postrouting {
		type nat hook postrouting priority srcnat
		oifname "eth1" masquerade
	}
}
`

// Connections through a gateway are translated, or refused as rules say; also
// those whose refusal must be translated back.
func TestGateway(t *testing.T) {
	client, gw, server := network(t)
	e := engine(t, gw, gateway)
	l, err := server.Listen("tcp", ":80")
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			fmt.Fprint(c, c.RemoteAddr().(*net.TCPAddr).IP)
			c.Close()
		}
	}()
	for _, to := range []string{"203.0.113.2:80", "10.1.0.1:8080"} {
		c, err := client.Dial("tcp", to)
		if err != nil {
			t.Fatalf("%s: %v", to, err)
		}
		b, err := io.ReadAll(c)
		if string(b) != "203.0.113.1" || err != nil {
			t.Errorf("%s: the server sees %q, %v", to, b, err)
		}
		c.Close()
	}
	for _, test := range []struct {
		to   string
		want syscall.Errno
	}{
		{"203.0.113.2:22", syscall.ECONNREFUSED},
		{"10.1.0.1:8022", syscall.ECONNREFUSED},
		{"203.0.113.2:23", syscall.EHOSTUNREACH},
	} {
		if _, err := client.Dial("tcp", test.to); !errors.Is(err, test.want) {
			t.Errorf("%s: %v, want %v", test.to, err, test.want)
		}
	}
	var drops []*nft.Cause
	for _, c := range e.Causes() {
		if c.Dropped() > 0 {
			drops = append(drops, c)
		}
	}
	if len(drops) != 2 {
		t.Fatalf("drops by %v", drops)
	}
	const want = `inet gateway forward handle 6 (gateway.nft:6): tcp dport 22 reject with tcp reset comment "no shell"`
	if got := drops[0].String(); got != want || drops[0].Dropped() != 2 {
		t.Errorf("%d dropped by\n%s\nwant 2 by\n%s", drops[0].Dropped(), got, want)
	}
	if d := drops[0].Decision(); d.Comment != "no shell" || d.Line != 6 || d.Table != "gateway" || d.Chain != "forward" {
		t.Errorf("decision %+v", d)
	}
}

// While rules are replaced, a packet meets either the old ones or the new ones.
func TestReplace(t *testing.T) {
	var judges hook.Judges[hook.PacketJudge]
	e, err := nft.NewEngine(nft.Config{}, func(_ hook.Point, priority int, j hook.PacketJudge) error {
		judges = judges.With(priority, j)
		return nil
	}, func(_ hook.Point, j hook.PacketJudge) error {
		judges = judges.Without(j)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	read := func(first, then string) *nft.Ruleset {
		rs, err := nft.Read("r.nft", fmt.Sprintf("table ip t { chain c { type filter hook input priority 0; meta mark set %s; meta mark %s counter drop; }; }", first, then))
		if err != nil {
			t.Fatal(err)
		}
		return rs
	}
	rules := []*nft.Ruleset{read("1", "1"), read("2", "2")}
	if err := e.Replace(rules[0]); err != nil {
		t.Fatal(err)
	}
	x, err := nft.ParseProbe("udp 10.0.0.1:1 > 10.0.0.2:2")
	if err != nil {
		t.Fatal(err)
	}
	seated, done := judges, make(chan struct{})
	var packets sync.WaitGroup
	for range 2 {
		p := x.Packet.Clone()
		packets.Go(func() {
			defer packet.Free(p)
			for {
				select {
				case <-done:
					return
				default:
				}
				if v := hook.Run(seated, &hook.Context{Point: hook.Input}, p); v != hook.Drop {
					t.Errorf("%v by a mixture of rules", v)
					return
				}
			}
		})
	}
	for i := range 200 {
		if err := e.Replace(rules[i%2]); err != nil {
			t.Error(err)
		}
	}
	close(done)
	packets.Wait()
	packet.Free(x.Packet)
	if err := e.Replace(new(nft.Ruleset)); err != nil || judges != nil {
		t.Errorf("without rules there are judges %v, %v", judges, err)
	}
}

// What cannot be done is refused when rules are loaded, and those in force stay.
func TestNotLoaded(t *testing.T) {
	e, err := nft.NewEngine(nft.Config{}, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ rule, want string }{
		{"ct state new accept", "r.nft:3:1: ct state needs connection tracking, and there is none here"},
		{"ct count 10 accept", "r.nft:3:1: ct count counts connections, which is not done here; limit rate bounds how fast they come"},
		{"meta skuid 0 accept", "r.nft:3:1: meta skuid cannot be asked here: packets do not carry it"},
		{"queue to 1-3", "r.nft:3:1: packets go to one queue here; write queue to NUMBER"},
		{"meta mark set meta mark << 2", "only & | ^ with constants can be computed here"},
	} {
		rs, err := nft.Read("r.nft", "table ip t {\nchain c { type filter hook input priority 0\n"+c.rule+"\n}\n}\n")
		if err != nil {
			t.Errorf("%s: %v", c.rule, err)
			continue
		}
		if err := e.Replace(rs); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s:\n%v\nwant\n%s", c.rule, err, c.want)
		}
	}
	if len(e.Rules().Tables) != 0 {
		t.Error("rules in force")
	}
}

// A packet that meets rules costs no memory.
func TestAllocs(t *testing.T) {
	rs, err := nft.Read("r.nft", gateway)
	if err != nil {
		t.Fatal(err)
	}
	var judges [hook.PointCount]hook.Judges[hook.PacketJudge]
	flows := conntrack.NewTable(conntrack.Settings{})
	e, err := nft.NewEngine(nft.Config{Conntrack: flows, NAT: nat.New(flows)}, func(at hook.Point, priority int, j hook.PacketJudge) error {
		judges[at] = judges[at].With(priority, j)
		return nil
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Replace(rs); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		packet string
		want   hook.Verdict
	}{
		{"tcp 10.1.0.2:4000 > 203.0.113.2:80 syn", hook.Accept},
		{"tcp 10.1.0.2:4000 > 203.0.113.2:22 syn", hook.Drop},
		{"udp 10.1.0.2:4000 > 203.0.113.2:80", hook.Drop},
	} {
		x, err := nft.ParseProbe(c.packet)
		if err != nil {
			t.Fatal(err)
		}
		var context hook.Context
		walk := func() {
			x.Packet.Track = packet.Track{}
			v := hook.Accept
			for _, at := range []hook.Point{hook.Prerouting, hook.Forward} {
				context = hook.Context{Point: at}
				if v = hook.Run(judges[at], &context, x.Packet); v != hook.Accept {
					break
				}
			}
			if v != c.want {
				t.Fatalf("%s: %v", c.packet, v)
			}
		}
		for range 5000 { // until connection tracking takes entries of flows that came to nothing
			walk()
		}
		if n := testing.AllocsPerRun(100, walk); n != 0 && !raceEnabled {
			t.Errorf("%s: %v allocations", c.packet, n)
		}
		packet.Free(x.Packet)
	}
}

// What rules set in headers leaves the checksums right.
func TestMangle(t *testing.T) {
	for _, c := range []struct{ packet, rule string }{
		{"tcp 10.1.0.2:4000 > 203.0.113.2:80 syn", "ip saddr set 10.9.9.9"},
		{"udp 10.1.0.2:4000 > 203.0.113.2:80 len 9", "ip daddr set 10.9.9.9"},
		{"icmp 10.1.0.2 > 203.0.113.2 len 9", "ip daddr set 10.9.9.9"},
		{"icmp 10.1.0.2 > 203.0.113.2 len 9", "icmp sequence set 99"},
		{"tcp 10.1.0.2:4000 > 203.0.113.2:80 syn", "tcp dport set 8080"},
		{"udp 10.1.0.2:4000 > 203.0.113.2:80 len 9", "udp sport set 8080"},
		{"udp 10.1.0.2:4000 > 203.0.113.2:80 len 9", "ip dscp set ef"},
		{"udp 10.1.0.2:4000 > 203.0.113.2:80 len 9", "ip ttl set 3"},
		{"tcp [fd00::1]:4000 > [fd00::2]:80 ack", "ip6 saddr set fd00::7"},
		{"icmpv6 fd00::1 > fd00::2 len 8", "ip6 daddr set fd00::7"},
		{"icmpv6 fd00::1 > fd00::2 len 8", "icmpv6 id set 7"},
		{"udp [fd00::1]:4000 > [fd00::2]:80", "ip6 hoplimit set 7 ip6 dscp set ef ip6 flowlabel set 5"},
	} {
		rs, err := nft.Read("r.nft", "table inet t { chain c { type filter hook input priority 0; "+c.rule+" counter; }; }")
		if err != nil {
			t.Errorf("%s: %v", c.rule, err)
			continue
		}
		var judge hook.PacketJudge
		e, err := nft.NewEngine(nft.Config{}, func(_ hook.Point, _ int, j hook.PacketJudge) error {
			judge = j
			return nil
		}, nil)
		if err == nil {
			err = e.Replace(rs)
		}
		if err != nil {
			t.Errorf("%s: %v", c.rule, err)
			continue
		}
		x, err := nft.ParseProbe(c.packet)
		if err != nil {
			t.Fatal(err)
		}
		p := x.Packet
		before := p.Bytes()
		judge.JudgePacket(&hook.Context{Point: hook.Input}, p)
		var pseudo uint32
		if p.Proto != wire.ProtoICMP {
			pseudo = wire.PseudoSum(p.Src, p.Dst, p.Proto, p.LenFrom(p.Transport))
		}
		if wire.Fold(p.TransportSum(pseudo)) != 0xffff || p.Src.Is4() && !wire.IPv4(p.From(p.Net)).ChecksumOK() || bytes.Equal(before, p.Bytes()) {
			t.Errorf("%s: %s makes %x of %x", c.packet, c.rule, p.Bytes(), before)
		}
		packet.Free(p)
	}
}
