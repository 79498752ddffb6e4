package nft_test

import (
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/towpath/towpath/firewall/conntrack"
	"github.com/towpath/towpath/firewall/hook"
	"github.com/towpath/towpath/firewall/nat"
	"github.com/towpath/towpath/firewall/nft"
	"github.com/towpath/towpath/link"
	"github.com/towpath/towpath/packet"
	"github.com/towpath/towpath/wire"
)

// FuzzPackets has packets of any bytes meet any rules at every point.
func FuzzPackets(f *testing.F) {
	files, err := filepath.Glob("testdata/router/*.nft")
	if err != nil {
		f.Fatal(err)
	}
	packets := []string{
		"tcp 10.0.0.1:1000 > 10.0.0.200:8080 syn", "udp 10.0.0.1:1000 > 10.0.1.2:53 len 8", "icmp 10.0.0.1 > 10.0.1.2 echo-request",
		"tcp [2001:db8::1]:1000 > [2001:db8::200]:8080 ack", "icmpv6 2001:db8::1 > 2001:db8:1::2 packet-too-big", "47 10.0.0.1 > 10.0.1.2 len 40",
	}
	var texts []string
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		texts = append(texts, string(b))
	}
	for _, c := range readRules(f) {
		if loads(c.text()) {
			texts = append(texts, strings.Replace(c.text(), "hook input", "hook prerouting", 1))
		}
	}
	for i, text := range texts {
		for k, s := range packets {
			if i >= len(files) && k != i%len(packets) {
				continue // one is enough for a single rule
			}
			x, err := nft.ParseProbe(s)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(text, x.Packet.Bytes())
			packet.Free(x.Packet)
		}
	}
	f.Fuzz(func(t *testing.T, text string, b []byte) {
		if strings.Contains(text, "include") || len(b) > 2000 {
			return // no files of this machine
		}
		rs, err := nft.Read("rules.nft", text)
		if err != nil {
			return
		}
		var judges [hook.PointCount]hook.Judges[hook.PacketJudge]
		flows := conntrack.NewTable(conntrack.Settings{Max: 16})
		e, err := nft.NewEngine(nft.Config{Conntrack: flows, NAT: nat.New(flows)}, func(at hook.Point, priority int, j hook.PacketJudge) error {
			judges[at] = judges[at].With(priority, j)
			return nil
		}, nil)
		if err != nil {
			t.Fatal(err)
		}
		if e.Replace(rs) != nil {
			return
		}
		for n := range 2 {
			p := packet.Get()
			copy(p.Append(wire.EthernetLen), "\x02\x00\x00\x00\x00\x01\x02\x00\x00\x00\x00\x02\x08\x00")
			p.AppendBytes(b)
			p.Link, p.Net = p.Start(), p.Start()+wire.EthernetLen
			if nft.SetHeaders(p) {
				for at := range hook.PointCount {
					hook.Run(judges[at], &hook.Context{Point: at, Now: time.Duration(n) * time.Second, Env: noEnv{}}, p)
				}
			}
			packet.Free(p)
		}
		_ = rs.String()
		rs.Lint()
	})
}

// loads reports whether a text's rules can be put in force.
func loads(text string) bool {
	rs, err := nft.Read("rules.nft", text)
	if err != nil {
		return false
	}
	flows := conntrack.NewTable(conntrack.Settings{Max: 1})
	_, err = nft.Load(rs, nft.Config{Conntrack: flows, NAT: nat.New(flows)})
	return err == nil
}

// noEnv is a host without adapters.
type noEnv struct{}

func (noEnv) Inject(hook.Point, hook.PacketJudge, *packet.Packet) {}
func (noEnv) Adapter(int32) *link.Adapter                         { return nil }
func (noEnv) Socket(packet.Tuple) bool                            { return false }
func (noEnv) Route(netip.Addr) (*link.Adapter, netip.Addr, bool)  { return nil, netip.Addr{}, false }
func (noEnv) Source(int32, netip.Addr) (src netip.Addr, ok bool)  { return netip.Addr{}, false }
