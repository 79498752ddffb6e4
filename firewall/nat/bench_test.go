package nat

import (
	"encoding/binary"
	"net/netip"
	"testing"

	"github.com/towpath/towpath/firewall/conntrack"
	"github.com/towpath/towpath/firewall/hook"
	"github.com/towpath/towpath/internal/testenv"
	"github.com/towpath/towpath/packet"
	"github.com/towpath/towpath/wire"
)

// reset makes p, which was translated, the i-th client's packet again. It
// leaves checksums wrong.
func reset(p *packet.Packet, i uint32) {
	var b [4]byte
	binary.BigEndian.PutUint32(b[:], 0x0a000000|i>>8)
	p.Src = netip.AddrFrom4(b)
	wire.IPv4(p.From(p.Net)).SetSrc(p.Src)
	wire.UDP(p.From(p.Transport)).SetSrcPort(uint16(1024 + i&0xff))
	p.Track = packet.Track{}
}

func (r *router) walk(p *packet.Packet) bool {
	return r.at(hook.Prerouting, p) && r.at(hook.Postrouting, p)
}

func newBench(tb testing.TB, max int) (*router, *packet.Packet) {
	r := newRouter(tb, conntrack.Settings{Max: max}, natRule{hook.Postrouting, nil, Range{Min: outside}})
	p := udp(client, server, 1, 53, "")
	p.Checksum = packet.ChecksumVerified
	return r, p
}

// BenchmarkEstablished is what a packet of a translated flow costs, connection
// tracking included.
func BenchmarkEstablished(b *testing.B) {
	r, p := newBench(b, 10000)
	b.ReportAllocs()
	for range b.N {
		reset(p, 1)
		r.walk(p)
	}
}

// BenchmarkNew is what the first packet of a flow costs, in a full table.
func BenchmarkNew(b *testing.B) {
	r, p := newBench(b, 10000)
	for i := range uint32(20000) {
		reset(p, i)
		r.walk(p)
	}
	b.ReportAllocs()
	b.ResetTimer()
	for i := range b.N {
		reset(p, uint32(20000+i)&0xffffff)
		r.walk(p)
	}
}

func TestAllocs(t *testing.T) {
	if testenv.Race {
		t.Skip("the race detector allocates by itself")
	}
	r, p := newBench(t, 2000)
	i := uint32(0)
	for ; i < 10000; i++ {
		reset(p, i)
		r.walk(p)
	}
	if n := testing.AllocsPerRun(1000, func() {
		i++
		reset(p, i)
		r.walk(p)
	}); n >= 1 {
		t.Errorf("%v allocations per new flow", n)
	}
	if n := testing.AllocsPerRun(1000, func() {
		reset(p, i)
		r.walk(p)
	}); n != 0 {
		t.Errorf("%v allocations per packet", n)
	}
}
