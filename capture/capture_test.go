package capture

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/towpath/towpath/clock"
	"github.com/towpath/towpath/firewall/hook"
	"github.com/towpath/towpath/link"
	"github.com/towpath/towpath/link/cable"
	"github.com/towpath/towpath/packet"
	"github.com/towpath/towpath/wire"
)

// memory is a sink that keeps everything, and waits for the gate if there is
// one.
type memory struct {
	gate    chan struct{}
	err     error
	mu      sync.Mutex
	packets [][]byte
	lengths []int
	times   []time.Time
}

func (m *memory) WritePacket(t time.Time, data []byte, length int) error {
	if m.gate != nil {
		<-m.gate
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.packets = append(m.packets, bytes.Clone(data))
	m.lengths = append(m.lengths, length)
	m.times = append(m.times, t)
	return m.err
}

var (
	mac1 = wire.MAC{2, 0, 0, 0, 0, 1}
	mac2 = wire.MAC{2, 0, 0, 0, 0, 2}
)

// super makes a TCP super-segment in an Ethernet frame, as a host sends it.
func super(t testing.TB, src, dst string, size, payload int) *packet.Packet {
	t.Helper()
	data := make([]byte, payload)
	for i := range data {
		data[i] = byte(i * 7)
	}
	var b wire.Builder
	b.Payload(data).PushTCP(wire.TCPFields{SrcPort: 1234, DstPort: 80, Seq: 0xfffffff0, Ack: 9, Flags: wire.TCPAck | wire.TCPPsh | wire.TCPFin, Window: 100}, nil)
	s, d := netip.MustParseAddr(src), netip.MustParseAddr(dst)
	gso, ip := packet.GSOTCP4, wire.IPv4Len
	if s.Is4() {
		b.PushIPv4(wire.IPv4Fields{ID: 0xffff, TTL: 64, Src: s, Dst: d})
	} else {
		gso, ip = packet.GSOTCP6, wire.IPv6Len
		b.PushIPv6(wire.IPv6Fields{HopLimit: 64, Src: s, Dst: d})
	}
	frame := b.PushEthernet(mac2, mac1).Bytes()
	p := packet.Get()
	if !p.AppendBytes(frame[:wire.EthernetLen+ip+wire.TCPLen]) || !p.AppendBytes(frame[wire.EthernetLen+ip+wire.TCPLen:]) {
		t.Fatal("packet too long")
	}
	p.Link = p.Start()
	p.Net = p.Link + wire.EthernetLen
	p.Transport = p.Net + uint16(ip)
	p.Data = p.Transport + wire.TCPLen
	p.Proto, p.Src, p.Dst = wire.ProtoTCP, s, d
	p.Checksum, p.CsumOffset = packet.ChecksumPartial, 16
	if payload > size {
		p.GSO = packet.GSO{Type: gso, Size: uint16(size)}
	}
	wire.TCP(p.From(p.Transport)).SetChecksum(wire.Fold(wire.PseudoSum(s, d, wire.ProtoTCP, p.LenFrom(p.Transport))))
	return p
}

// TestOnTheWire compares what is captured of super-segments and partial
// checksums with what the link would have made of them.
func TestOnTheWire(t *testing.T) {
	for _, c := range []struct {
		name          string
		src, dst      string
		size, payload int
		want          int
	}{
		{"IPv4 whole", "10.0.0.1", "10.0.0.2", 1460, 100, 1},
		{"IPv4 odd", "10.0.0.1", "10.0.0.2", 1460, 1459, 1},
		{"IPv4 two", "10.0.0.1", "10.0.0.2", 1000, 1001, 2},
		{"IPv4 many", "10.0.0.1", "10.0.0.2", 1447, 60000, 42},
		{"IPv6 many", "fd00::1", "fd00::2", 1428, 14280, 10},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := new(memory)
			tap := Start(m, Config{})
			p := super(t, c.src, c.dst, c.size, c.payload)
			tap.Tap(nil, link.Out, p)
			if err := tap.Close(); err != nil {
				t.Fatal(err)
			}
			var want packet.List
			if p.GSO.Type == packet.GSONone {
				want.Push(p)
			} else if !packet.Segment(p, &want) {
				t.Fatal("cannot be cut")
			}
			if len(m.packets) != c.want || want.Len() != c.want {
				t.Fatalf("%d packets captured, the link makes %d, want %d", len(m.packets), want.Len(), c.want)
			}
			for i := 0; !want.Empty(); i++ {
				q := want.Pop()
				packet.Complete(q)
				if b := q.Bytes(); !bytes.Equal(m.packets[i], b) {
					t.Fatalf("packet %d is\n%s\nnot\n%s", i, wire.Format(m.packets[i], wire.LinkEthernet), wire.Format(b, wire.LinkEthernet))
				}
				packet.Free(q)
			}
			if s := tap.Stats(); s != (Stats{Seen: 1, Written: uint64(c.want)}) {
				t.Errorf("stats are %+v", s)
			}
		})
	}
}

// directed is a sink that is told of directions.
type directed struct {
	memory
	dirs []link.Direction
}

func (d *directed) WriteDirected(_ *link.Adapter, dir link.Direction, t time.Time, data []byte, length int) error {
	d.dirs = append(d.dirs, dir)
	return d.WritePacket(t, data, length)
}

// TestDirections: every segment of a super-segment went the way of the whole.
func TestDirections(t *testing.T) {
	d := new(directed)
	tap := Start(d, Config{})
	p := super(t, "10.0.0.1", "10.0.0.2", 1000, 1500)
	tap.Tap(nil, link.Out, p)
	tap.Tap(nil, link.In, p)
	tap.Close()
	packet.Free(p)
	if want := []link.Direction{link.Out, link.Out, link.In, link.In}; !slices.Equal(d.dirs, want) || len(d.packets) != 4 {
		t.Errorf("directions are %v of %d packets", d.dirs, len(d.packets))
	}
}

func TestSnaplenAndTime(t *testing.T) {
	m := new(memory)
	v := clock.NewVirtual(time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC))
	tap := Start(m, Config{Snaplen: 60, Clock: v})
	p := super(t, "10.0.0.1", "10.0.0.2", 1460, 500)
	tap.Tap(nil, link.In, p)
	v.Advance(3 * time.Second)
	tap.Tap(nil, link.In, p)
	tap.Close()
	packet.Free(p)
	if len(m.packets) != 2 || len(m.packets[0]) != 60 || m.lengths[0] != 554 {
		t.Fatalf("captured %d packets, the first of %d bytes and length %d", len(m.packets), len(m.packets[0]), m.lengths[0])
	}
	if d := m.times[1].Sub(m.times[0]); d != 3*time.Second || !m.times[0].Equal(v.Wall(0)) {
		t.Errorf("times are %v", m.times)
	}
	tcp := wire.TCP(m.packets[0][34:])
	packet.Complete(p)
	if tcp.Checksum() == 0 {
		t.Error("checksum not completed")
	}
}

// TestSlowSink makes the sink block: packets are counted and left out, and the
// packet path never waits.
func TestSlowSink(t *testing.T) {
	m := &memory{gate: make(chan struct{})}
	tap := Start(m, Config{Buffer: 10 * (54 + 100 + recordCost)})
	p := super(t, "10.0.0.1", "10.0.0.2", 1460, 100)
	const total = 1000
	for range total {
		tap.Tap(nil, link.Out, p)
	}
	packet.Free(p)
	s := tap.Stats()
	if s.Seen != total || s.Dropped < total-20 || s.Dropped > total-10 {
		t.Errorf("stats are %+v; 10 to 20 packets fit", s)
	}
	close(m.gate)
	if err := tap.Close(); err != nil {
		t.Fatal(err)
	}
	if s = tap.Stats(); s.Written+s.Dropped != s.Seen || int(s.Written) != len(m.packets) {
		t.Errorf("stats are %+v, %d packets arrived", s, len(m.packets))
	}
}

func TestFailingSink(t *testing.T) {
	full := errors.New("disk full")
	tap := Start(&memory{err: full}, Config{})
	p := super(t, "10.0.0.1", "10.0.0.2", 1460, 100)
	for range 3 {
		tap.Tap(nil, link.Out, p)
	}
	packet.Free(p)
	if err := tap.Close(); err != full {
		t.Errorf("Close returned %v", err)
	}
	if s := tap.Stats(); s.Seen != 3 || s.Written+s.Dropped < 3 {
		t.Errorf("stats are %+v", s)
	}
}

// TestNonsense gives a tap packets whose marks are wrong: they are captured as
// they are.
func TestNonsense(t *testing.T) {
	for name, spoil := range map[string]func(p *packet.Packet){
		"checksum beyond": func(p *packet.Packet) { p.CsumOffset = 9999 },
		"transport before": func(p *packet.Packet) {
			p.Transport = 0
			p.GSO = packet.GSO{Type: packet.GSOTCP4, Size: 10}
		},
		"data beyond": func(p *packet.Packet) {
			p.Checksum = packet.ChecksumNone
			p.Data = 9999
			p.GSO = packet.GSO{Type: packet.GSOTCP4, Size: 10}
		},
		"IPv4 as IPv6": func(p *packet.Packet) {
			p.Checksum = packet.ChecksumNone
			p.GSO = packet.GSO{Type: packet.GSOTCP6, Size: 10}
		},
	} {
		t.Run(name, func(t *testing.T) {
			m := new(memory)
			tap := Start(m, Config{})
			p := super(t, "10.0.0.1", "10.0.0.2", 1460, 100)
			spoil(p)
			tap.Tap(nil, link.Out, p)
			tap.Close()
			if len(m.packets) != 1 || !bytes.Equal(m.packets[0], p.Bytes()) {
				t.Errorf("captured %x", m.packets)
			}
			packet.Free(p)
		})
	}
}

func BenchmarkTap(b *testing.B) {
	tap := Start(discard{}, Config{})
	defer tap.Close()
	p := super(b, "10.0.0.1", "10.0.0.2", 1460, 1400)
	b.ReportAllocs()
	for b.Loop() {
		tap.Tap(nil, link.Out, p)
	}
}

type discard struct{}

func (discard) WritePacket(time.Time, []byte, int) error { return nil }

// TestJudge: what a tap sees at points of the walk, cooked or not, begins where
// it says, and frames without IP are left out of raw captures.
func TestJudge(t *testing.T) {
	one, two := netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("10.0.0.2")
	udp := new(wire.Builder).Payload([]byte("hi")).PushUDP(1000, 9).PushIPv4(wire.IPv4Fields{TTL: 64, Src: one, Dst: two}).
		PushEthernet(mac2, mac1).Bytes()
	arp := new(wire.Builder).PushARP(wire.ARPRequest, mac1, one, wire.MAC{}, two).PushEthernet(wire.Broadcast, mac1).Bytes()
	end, _ := cable.New(cable.Config{MAC: [2]wire.MAC{mac2, mac1}})
	a := link.NewAdapter("eth0", 7, end)
	// A cooked header: type, index of the adapter, ARPHRD, packet type, station.
	cooked := func(typ, way string, frame []byte) string {
		return fmt.Sprintf("%s 00 00 00 00 00 07 00 01 %s 06 02 00 00 00 00 01 00 00 % x", typ, way, frame[wire.EthernetLen:])
	}
	raw := fmt.Sprintf("% x", udp[wire.EthernetLen:])
	for _, c := range []struct {
		config Config
		want   []string
	}{
		{Config{}, []string{raw, raw}},
		{Config{Cooked: true}, []string{cooked("08 00", "00", udp), cooked("08 00", "04", udp), cooked("08 06", "01", arp), cooked("08 06", "04", arp)}},
	} {
		sink := new(memory)
		tap := Start(sink, c.config)
		for _, frame := range [][]byte{udp, arp} {
			for _, at := range []hook.Context{{Point: hook.Ingress, In: a}, {Point: hook.Egress, Out: a}} {
				p := packet.Get()
				p.AppendBytes(frame)
				if v := tap.JudgePacket(&at, p); v != hook.Accept {
					t.Errorf("verdict %v", v)
				}
				packet.Free(p)
			}
		}
		if err := tap.Close(); err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, b := range sink.packets {
			got = append(got, fmt.Sprintf("% x", b))
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%+v: got\n%q, want\n%q", c.config, got, c.want)
		}
	}
}
