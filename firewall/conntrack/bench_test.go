package conntrack

import (
	"encoding/binary"
	"net/netip"
	"runtime"
	"testing"
	"time"

	"github.com/towpath/towpath/firewall/hook"
	"github.com/towpath/towpath/internal/testenv"
	"github.com/towpath/towpath/packet"
	"github.com/towpath/towpath/wire"
)

// setSource gives a packet another source, without checksums.
func setSource(p *packet.Packet, a uint32, port uint16) {
	var b [4]byte
	binary.BigEndian.PutUint32(b[:], a)
	p.Src = netip.AddrFrom4(b)
	binary.BigEndian.PutUint16(p.From(p.Transport), port)
	p.Track = packet.Track{}
}

// A walker passes one packet through a table again and again.
type walker struct {
	t       *Table
	in, out hook.Context
	p       *packet.Packet
}

func newWalker(t *Table, p *packet.Packet) *walker {
	p.Checksum = packet.ChecksumVerified
	return &walker{t, hook.Context{Point: hook.Prerouting}, hook.Context{Point: hook.Postrouting}, p}
}

func (w *walker) pass(now time.Duration) bool {
	w.in.Now, w.out.Now = now, now
	return tracker{w.t}.JudgePacket(&w.in, w.p) == hook.Accept && confirmer{w.t}.JudgePacket(&w.out, w.p) == hook.Accept
}

// BenchmarkEstablished is what a packet of an established flow costs, of one
// or of a million.
func BenchmarkEstablished(b *testing.B) {
	for _, c := range []struct {
		name  string
		proto wire.Proto
		flows uint32
	}{{"udp/1", wire.ProtoUDP, 1}, {"tcp/1", wire.ProtoTCP, 1}, {"udp/1000", wire.ProtoUDP, 1000}, {"tcp/1000", wire.ProtoTCP, 1000},
		{"udp/1000000", wire.ProtoUDP, 1000000}} {
		b.Run(c.name, func(b *testing.B) {
			t := NewTable(Settings{Max: 1 << 20})
			var w *walker
			if c.proto == wire.ProtoUDP {
				w = newWalker(t, udp(client, server, 1, 53, ""))
			} else {
				w = newWalker(t, tcp(client, server, 1, 53, tcpFields{flags: ack, seq: 1, ack: 1, win: 100}))
			}
			for i := range c.flows {
				setSource(w.p, i, 1)
				w.pass(0)
			}
			b.ReportAllocs()
			b.ResetTimer()
			r := uint32(1)
			for range b.N {
				r = r*1664525 + 1013904223
				setSource(w.p, r>>8%c.flows, 1)
				w.pass(0)
			}
		})
	}
}

// BenchmarkNew is what the first packet of a flow costs, in a table that is
// full: each takes the place of an older one.
func BenchmarkNew(b *testing.B) {
	for _, c := range []struct {
		name string
		max  int
		p    *packet.Packet
	}{
		{"udp/1000", 1000, udp(client, server, 1, 53, "")},
		{"tcp/1000", 1000, tcp(client, server, 1, 53, tcpFields{flags: syn, win: 100})},
		{"udp/100000", 100000, udp(client, server, 1, 53, "")},
	} {
		b.Run(c.name, func(b *testing.B) {
			t := NewTable(Settings{Max: c.max})
			w := newWalker(t, c.p)
			i := uint32(0)
			for ; i < 2*uint32(c.max); i++ {
				setSource(w.p, i*2654435761, uint16(i))
				w.pass(0)
			}
			b.ReportAllocs()
			b.ResetTimer()
			for range b.N {
				i++
				setSource(w.p, i*2654435761, uint16(i))
				w.pass(0)
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds()/1e6, "Mflows/s")
		})
	}
}

// BenchmarkMemory measures what a million flows hold.
func BenchmarkMemory(b *testing.B) {
	const flows = 1000000
	for b.Loop() {
		var m0, m1 runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m0)
		t := NewTable(Settings{Max: flows})
		w := newWalker(t, udp(client, server, 1, 53, ""))
		for i := range uint32(flows) {
			setSource(w.p, i, 1)
			w.pass(0)
		}
		runtime.GC()
		runtime.ReadMemStats(&m1)
		b.ReportMetric(float64(m1.HeapAlloc-m0.HeapAlloc)/flows, "B/flow")
		if n := t.Stats().Entries; n != flows {
			b.Fatal(n)
		}
	}
}

func TestAllocs(t *testing.T) {
	if testenv.Race {
		t.Skip("the race detector allocates by itself")
	}
	ct := NewTable(Settings{Max: 2000})
	w := newWalker(ct, udp(client, server, 1, 53, ""))
	i := uint32(0)
	for ; i < 5000; i++ {
		setSource(w.p, i, 1)
		w.pass(0)
	}
	if n := testing.AllocsPerRun(1000, func() {
		i++
		setSource(w.p, i, 1)
		w.pass(0)
	}); n != 0 {
		t.Errorf("%v allocations per new flow", n)
	}
	if n := testing.AllocsPerRun(1000, func() {
		setSource(w.p, i, 1)
		w.pass(0)
	}); n != 0 {
		t.Errorf("%v allocations per packet", n)
	}
}
