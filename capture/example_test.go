package capture_test

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"time"

	"github.com/towpath/towpath/capture"
	"github.com/towpath/towpath/capture/dissect"
	"github.com/towpath/towpath/firewall/conntrack"
	"github.com/towpath/towpath/firewall/hook"
	"github.com/towpath/towpath/firewall/nat"
	"github.com/towpath/towpath/firewall/nft"
	"github.com/towpath/towpath/host"
	"github.com/towpath/towpath/ip/route"
	"github.com/towpath/towpath/link/cable"
	"github.com/towpath/towpath/wire"
)

// A seen is a sink that notes lines like tcpdump's.
type seen struct {
	where   string
	printer dissect.Printer
	lines   []string
}

func (s *seen) WritePacket(at time.Time, data []byte, length int) error {
	line := s.printer.Append(nil, &dissect.Packet{Time: at, Data: data, Length: length, Link: wire.LinkRaw})
	if strings.Contains(string(line), "UDP") {
		s.lines = append(s.lines, s.where+strings.TrimSpace(string(line)))
	}
	return nil
}

// A datagram is seen before and after the gateway has translated its source.
func ExampleTap_JudgePacket() {
	check := func(err error) {
		if err != nil {
			panic(err)
		}
	}
	client, gateway, server := host.New(host.Config{}), host.New(host.Config{}), host.New(host.Config{})
	inside, lan := cable.New(cable.Config{})
	wan, outside := cable.New(cable.Config{})
	for _, x := range []struct {
		host    *host.Host
		adapter string
		end     *cable.Port
		address string
	}{
		{client, "eth0", inside, "10.0.0.2/24"}, {gateway, "lan", lan, "10.0.0.1/24"},
		{gateway, "wan", wan, "203.0.113.1/24"}, {server, "eth0", outside, "203.0.113.2/24"},
	} {
		defer x.host.Close(context.Background())
		_, err := x.host.AddAdapter(x.adapter, x.end)
		check(err)
		check(x.host.AddAddress(x.adapter, netip.MustParsePrefix(x.address)))
	}
	check(client.AddRoute(route.Route{Dst: netip.MustParsePrefix("0.0.0.0/0"), Via: netip.MustParseAddr("10.0.0.1")}))
	check(gateway.SetForwarding(true))
	rules, err := nft.Read("gateway.nft", `table ip nat {
		chain postrouting {
			type nat hook postrouting priority srcnat
			oifname "wan" masquerade
		}
	}`)
	check(err)
	flows := conntrack.NewTable(conntrack.Settings{})
	engine, err := nft.NewEngine(nft.Config{Conntrack: flows, NAT: nat.New(flows), Now: gateway.Clock().Now}, gateway.AddJudge, gateway.RemoveJudge)
	check(err)
	check(engine.Replace(rules))

	options := dissect.Options{Time: dissect.TimeNone}
	before := &seen{where: "before NAT: ", printer: dissect.Printer{Options: options}}
	after := &seen{where: "after NAT:  ", printer: dissect.Printer{Options: options}}
	first, last := capture.Start(before, capture.Config{}), capture.Start(after, capture.Config{})
	check(gateway.AddJudge(hook.Postrouting, hook.PriorityNATSrc-1, first))
	check(gateway.AddJudge(hook.Postrouting, hook.PriorityNATSrc+1, last))

	to, err := server.ListenPacket("udp", "203.0.113.2:9")
	check(err)
	from, err := client.ListenPacket("udp", "10.0.0.2:5000")
	check(err)
	_, err = from.WriteTo([]byte("hello"), &net.UDPAddr{IP: net.IPv4(203, 0, 113, 2), Port: 9})
	check(err)
	_, _, err = to.ReadFrom(make([]byte, 10))
	check(err)

	check(first.Close())
	check(last.Close())
	fmt.Println(strings.Join(append(before.lines, after.lines...), "\n"))
	// Output:
	// before NAT: IP 10.0.0.2.5000 > 203.0.113.2.9: UDP, length 5
	// after NAT:  IP 203.0.113.1.5000 > 203.0.113.2.9: UDP, length 5
}
