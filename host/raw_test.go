package host_test

import (
	"context"
	"net/netip"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/towpath/towpath/host"
	"github.com/towpath/towpath/link"
	"github.com/towpath/towpath/link/cable"
	"github.com/towpath/towpath/packet"
	"github.com/towpath/towpath/wire"
)

var (
	usMAC   = wire.MAC{2, 0, 0, 0, 0, 1}
	themMAC = wire.MAC{2, 0, 0, 0, 0, 2}
	us4     = netip.MustParseAddr("10.0.0.1")
	them4   = netip.MustParseAddr("10.0.0.2")
	us6     = netip.MustParseAddr("fd00::1")
	them6   = netip.MustParseAddr("fd00::2")
)

// A raw is a bare adapter at the other end of a host's cable: it sends any
// bytes and keeps what comes.
type raw struct {
	t    testing.TB
	a    *link.Adapter
	host *host.Host

	mu   sync.Mutex // the host's timers send too
	got  [][]byte
	seen uint64 // frames, ever
}

// rawHost is a host with usMAC, 10.0.0.1/24 and fd00::1/64, and the station
// themMAC beside it. It answers nothing.
func rawHost(t testing.TB, cfg host.Config) *raw {
	t.Helper()
	cfg.Name = "us"
	h := host.New(cfg)
	mine, theirs := cable.New(cable.Config{MAC: [2]wire.MAC{usMAC, themMAC}, Plain: true})
	r := &raw{t: t, host: h, a: link.NewAdapter("raw", 1, theirs)}
	r.a.Bind(r)
	must(t, r.a.Open()) // first, so that it sees all
	_, err := h.AddAdapter("eth0", mine)
	must(t, err)
	must(t, h.AddAddress("eth0", netip.PrefixFrom(us4, 24)))
	must(t, h.AddAddress("eth0", netip.PrefixFrom(us6, 64)))
	t.Cleanup(func() {
		must(t, h.Close(context.Background()))
		must(t, r.a.Close())
	})
	return r
}

func (r *raw) Receive(_ *link.Adapter, l *packet.List, _ *link.Work) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for p := l.Pop(); p != nil; p = l.Pop() {
		r.seen++
		r.got = append(r.got, p.Bytes())
		packet.Free(p)
	}
}

// send delivers frames to the host and returns when it is done with them.
func (r *raw) send(frames ...[]byte) {
	transmit(r.t, r.a, frames...)
	r.settle()
}

// transmit sends frames by an adapter and returns when they are delivered.
func transmit(t testing.TB, a *link.Adapter, frames ...[]byte) {
	var l packet.List
	for _, f := range frames {
		p := packet.Get()
		p.Reset(64)
		n := copy(p.Append(min(len(f), 128)), f)
		if n < len(f) && !p.AppendBytes(f[n:]) {
			t.Fatalf("frame of %d bytes does not fit a packet", len(f))
		}
		p.Net = p.Start() + uint16(min(wire.EthernetLen, p.HeadLen()))
		l.Push(p)
	}
	w := link.NewWork(nil)
	a.Enqueue(&l)
	a.Flush(w)
	w.Run()
}

// settle waits for what the host has sent to be here: one of its timers may
// have been delivering just then, and does so with others' frames too.
func (r *raw) settle() {
	eth0 := r.host.Adapter("eth0")
	for i := 0; eth0 != nil && i < 10000; i++ {
		r.mu.Lock()
		seen := r.seen
		r.mu.Unlock()
		if seen >= eth0.Stats().TxPackets {
			return
		}
		runtime.Gosched()
	}
}

// handshake opens a connection from a port to a listener of the host.
func (r *raw) handshake(from, to uint16) {
	r.take()
	r.send(eth4(wire.IPv4Fields{}, tcp(wire.TCPFields{SrcPort: from, DstPort: to, Flags: wire.TCPSyn, Window: 1000})))
	for _, f := range r.answer() {
		if ip := wire.IPv4(f[14:]); wire.Ethernet(f).Type() == wire.EtherTypeIPv4 && ip.Proto() == wire.ProtoTCP {
			seq := wire.TCP(ip.Payload()).Seq()
			r.send(eth4(wire.IPv4Fields{}, tcp(wire.TCPFields{SrcPort: from, DstPort: to, Seq: 1, Ack: seq + 1, Flags: wire.TCPAck, Window: 1000})))
			return
		}
		if wire.Ethernet(f).Type() == wire.EtherTypeARP {
			r.send(new(wire.Builder).PushARP(wire.ARPReply, themMAC, them4, usMAC, us4).PushEthernet(usMAC, themMAC).Bytes())
			for _, g := range r.answer() {
				if wire.Ethernet(g).Type() == wire.EtherTypeIPv4 {
					seq := wire.TCP(wire.IPv4(g[14:]).Payload()).Seq()
					r.send(eth4(wire.IPv4Fields{}, tcp(wire.TCPFields{SrcPort: from, DstPort: to, Seq: 1, Ack: seq + 1, Flags: wire.TCPAck, Window: 1000})))
					return
				}
			}
		}
	}
	r.t.Fatal("no SYN-ACK")
}

// meet makes the host know the neighbour's station address by both families.
func (r *raw) meet() {
	r.send(new(wire.Builder).PushARP(wire.ARPRequest, themMAC, them4, wire.MAC{}, us4).PushEthernet(wire.Broadcast, themMAC).Bytes(),
		eth6(wire.IPv6Fields{HopLimit: 255}, func(b *wire.Builder) {
			o := make([]byte, 8)
			wire.PutLinkAddrOption(o, wire.NDPSourceLinkAddr, themMAC)
			b.Payload(o).PushNeighborSolicit(us6)
		}))
}

// answer is take for who has sent something that is answered: one of the
// host's timers may have the lane just then, and answers a little later.
func (r *raw) answer() [][]byte {
	got := r.take()
	for i := 0; len(got) == 0 && i < 100; i++ {
		time.Sleep(time.Millisecond)
		got = r.take()
	}
	return got
}

// take returns what the host has sent since the last call.
func (r *raw) take() [][]byte {
	r.mu.Lock()
	defer r.mu.Unlock()
	got := r.got
	r.got = nil
	return got
}

// eth4, eth6 and arp build whole frames from them to us.
func eth4(f wire.IPv4Fields, build func(b *wire.Builder)) []byte {
	b := new(wire.Builder)
	build(b)
	if !f.Src.IsValid() {
		f.Src = them4
	}
	if !f.Dst.IsValid() {
		f.Dst = us4
	}
	if f.TTL == 0 {
		f.TTL = 64
	}
	return b.PushIPv4(f).PushEthernet(usMAC, themMAC).Bytes()
}

func eth6(f wire.IPv6Fields, build func(b *wire.Builder)) []byte {
	b := new(wire.Builder)
	build(b)
	if !f.Src.IsValid() {
		f.Src = them6
	}
	if !f.Dst.IsValid() {
		f.Dst = us6
	}
	if f.HopLimit == 0 {
		f.HopLimit = 64
	}
	return b.PushIPv6(f).PushEthernet(usMAC, themMAC).Bytes()
}

func udp(src, dst uint16, payload string) func(b *wire.Builder) {
	return func(b *wire.Builder) { b.Payload([]byte(payload)).PushUDP(src, dst) }
}

func tcp(f wire.TCPFields) func(b *wire.Builder) {
	return func(b *wire.Builder) { b.PushTCP(f, nil) }
}

// edit changes bytes of a frame, for what a Builder would not build.
func edit(frame []byte, change func(b []byte)) []byte {
	frame = append([]byte(nil), frame...)
	change(frame)
	return frame
}

// fixIPv4 makes the IPv4 header's checksum right again.
func fixIPv4(b []byte) { wire.IPv4(b[14:]).UpdateChecksum() }
