package capture_test

import (
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/towpath/towpath/capture"
	"github.com/towpath/towpath/capture/dissect"
	"github.com/towpath/towpath/firewall/hook"
	"github.com/towpath/towpath/host"
	"github.com/towpath/towpath/link"
	"github.com/towpath/towpath/link/cable"
	"github.com/towpath/towpath/link/netem"
	"github.com/towpath/towpath/packet"
	"github.com/towpath/towpath/wire"
)

// lines prints drops as text.
type lines struct {
	mu      sync.Mutex
	printer dissect.Printer
	all     []string
}

func (l *lines) WritePacket(time.Time, []byte, int) error { panic("not a drop") }

func (l *lines) WriteDropped(d capture.Drop, at time.Time, data []byte, length int) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	line := l.printer.Append(nil, &dissect.Packet{Time: at, Data: data, Length: length, Link: wire.LinkSLL2})
	l.all = append(l.all, fmt.Sprintf("%s [%v]", strings.TrimSpace(string(line)), d))
	return nil
}

type rule string

func (r rule) String() string { return string(r) }

func (r rule) JudgePacket(c *hook.Context, p *packet.Packet) hook.Verdict {
	if p.Proto == wire.ProtoTCP && wire.TCP(p.From(p.Transport)).DstPort() == 23 {
		c.Rule = r
		return hook.Drop
	}
	return hook.Accept
}

// TestDrops sees packets dropped at every depth of the walk, at an adapter and
// by a rule, and reads them again.
func TestDrops(t *testing.T) {
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	ours, theirs := wire.MAC{2, 0, 0, 0, 0, 1}, wire.MAC{2, 0, 0, 0, 0, 2}
	h := host.New(host.Config{Name: "h", Settings: host.Settings{NoAutoconf: true}})
	sink := &lines{printer: dissect.Printer{Options: dissect.Options{
		Time: dissect.TimeNone, Interface: func(i uint32) string { return h.Adapters()[i-1].Name() },
	}}}
	tap := capture.Start(sink, capture.Config{})
	must(h.SetDropTap(tap))
	a, b := cable.New(cable.Config{MAC: [2]wire.MAC{ours, theirs}})
	eth0, err := h.AddAdapter("eth0", a)
	must(err)
	must(h.AddAddress("eth0", netip.MustParsePrefix("10.0.0.1/24")))
	must(h.AddJudge(hook.Input, 0, rule("no telnet, gateway.nft:7")))
	peer := link.NewAdapter("peer", 1, b)
	must(peer.Open())
	defer peer.Close()

	from := netip.MustParseAddr("10.0.0.2")
	us := netip.MustParseAddr("10.0.0.1")
	send := func(f []byte) {
		p := packet.Get()
		p.AppendBytes(f)
		var l packet.List
		l.Push(p)
		w := link.NewWork(nil)
		peer.Enqueue(&l)
		peer.Flush(w)
		w.Run()
	}
	frame := func(dst wire.MAC, ip wire.IPv4Fields, build func(*wire.Builder)) []byte {
		w := new(wire.Builder)
		build(w)
		if !ip.Src.IsValid() {
			ip.Src = from
		}
		ip.Dst, ip.TTL = us, 64
		return w.PushIPv4(ip).PushEthernet(dst, theirs).Bytes()
	}
	udp := func(w *wire.Builder) { w.Payload([]byte("hello")).PushUDP(1000, 9) }
	syn := func(port uint16) func(*wire.Builder) {
		return func(w *wire.Builder) {
			w.PushTCP(wire.TCPFields{SrcPort: 1000, DstPort: port, Flags: wire.TCPSyn, Window: 100}, nil)
		}
	}
	send(new(wire.Builder).PushARP(wire.ARPRequest, theirs, from, wire.MAC{}, us).PushEthernet(wire.Broadcast, theirs).Bytes())
	send([]byte{1, 2, 3})
	send(frame(ours, wire.IPv4Fields{}, udp))
	send(frame(wire.MAC{2, 9}, wire.IPv4Fields{}, udp))
	send(frame(ours, wire.IPv4Fields{}, syn(80)))
	send(frame(ours, wire.IPv4Fields{}, syn(23)))
	send(frame(wire.Broadcast, wire.IPv4Fields{Src: netip.MustParseAddr("224.1.1.1")}, udp))
	send(new(wire.Builder).PushARP(wire.ARPRequest, theirs, from, wire.MAC{}, netip.MustParseAddr("10.0.0.9")).PushEthernet(wire.Broadcast, theirs).Bytes())

	// On the way out, behind an impairment that loses everything.
	_, err = eth0.Attach(netem.New(netem.Config{Out: netem.Impairment{Loss: 1}}))
	must(err)
	send(frame(ours, wire.IPv4Fields{}, func(w *wire.Builder) { w.Payload(make([]byte, 8)).PushICMPv4(wire.ICMPv4EchoRequest, 0, 1<<16|1) }))
	must(h.Close(t.Context()))
	must(tap.Close())

	want := []string{
		"eth0  In  \n\t0x0000:  0102 03                                  ... [ethernet header short]",
		"eth0  In  IP 10.0.0.2.1000 > 10.0.0.1.9: UDP, length 5 [udp port unreachable]",
		"eth0  P   IP 10.0.0.2.1000 > 10.0.0.1.9: UDP, length 5 [ethernet address not ours]",
		"eth0  In  IP 10.0.0.2.1000 > 10.0.0.1.80: Flags [S], seq 0, win 100, length 0 [tcp port closed]",
		"eth0  In  IP 10.0.0.2.1000 > 10.0.0.1.23: Flags [S], seq 0, win 100, length 0 [dropped by rule: no telnet, gateway.nft:7]",
		"eth0  B   IP 224.1.1.1.1000 > 10.0.0.1.9: UDP, length 5 [ip source invalid]",
		"eth0  B   ARP, Request who-has 10.0.0.9 tell 10.0.0.2, length 28 [arp not for us]",
		"eth0  Out IP 10.0.0.1 > 10.0.0.2: ICMP echo reply, id 1, seq 1, length 16 [netem loss]",
	}
	if got := strings.Join(sink.all, "\n"); got != strings.Join(want, "\n") {
		t.Errorf("got\n%s", got)
	}
}
