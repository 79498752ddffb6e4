// Package linktest is the suite that every driver passes.
//
//	func TestDriver(t *testing.T) {
//		linktest.Run(t, func(t *testing.T) (a, b link.Miniport) {
//			return cable.New(cable.Config{})
//		})
//	}
//
// [Run] is for drivers with both ends in this process; a loopback driver is
// given as both. [RunDevice] is for drivers whose other end is the kernel's: it
// listens there with a packet socket, and talks with the kernel's own UDP. Each
// test opens a pair of its own. Packets that the suite has not sent are
// ignored, for kernels like to talk.
//
// The suite counts packets in the whole process, so nothing else may handle
// any meanwhile: do not call it in parallel tests.
package linktest

import (
	"fmt"
	"net/netip"
	"runtime"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/towpath/towpath/link"
	"github.com/towpath/towpath/packet"
	"github.com/towpath/towpath/wire"
)

// waitMax is how long something may take that should happen at once.
const waitMax = 10 * time.Second

// headroomMin is the least headroom of a packet indicated: what a sender in
// this process has left of [packet.Headroom], if nobody copied the packet.
const headroomMin = packet.Headroom - wire.EthernetLen - wire.IPv6Len - wire.TCPLen

// Pair opens the two ends of a link. The suite closes them.
type Pair func(t *testing.T) (a, b link.Miniport)

// Run tests a driver.
func Run(t *testing.T, open Pair) {
	for _, test := range []struct {
		name string
		f    func(t *testing.T, a, b *end)
	}{
		{"Order", testOrder},
		{"Sizes", testSizes},
		{"TooBig", testTooBig},
		{"PartialChecksum", testPartial},
		{"SuperSegments", testSuper},
		{"Flood", testFlood},
		{"CloseInTraffic", testCloseInTraffic},
		{"SendAfterClose", testSendAfterClose},
	} {
		t.Run(test.name, func(t *testing.T) {
			a, b := openPair(t, open)
			test.f(t, a, b)
		})
	}
	t.Run("CloseOnly", func(t *testing.T) {
		balanced(t)
		a, b := open(t)
		for _, p := range []link.Miniport{a, b, a, b} {
			if err := p.Close(); err != nil {
				t.Error(err)
			}
		}
	})
}

// balanced checks, when the test is over, that all packets and goroutines are.
func balanced(t *testing.T) {
	packet.Account(true)
	known := goleak.IgnoreCurrent()
	t.Cleanup(func() {
		goleak.VerifyNone(t, known)
		if packets, chunks := packet.Live(); packets != 0 || chunks != 0 {
			t.Errorf("%d packets and %d chunks were not ended", packets, chunks)
		}
		packet.Account(false)
	})
}

// openPair makes adapters of a pair. Closing them is each test's clean-up, and
// done twice.
func openPair(t *testing.T, open Pair) (a, b *end) {
	balanced(t)
	pa, pb := open(t)
	a = newEnd("a", 1, pa)
	b = a
	if pb != pa {
		b = newEnd("b", 2, pb)
	}
	for _, e := range []*end{a, b} {
		t.Cleanup(func() {
			if err := e.adapter.Close(); err != nil {
				t.Errorf("close: %v", err)
			}
		})
		if e.adapter.Up() {
			continue // a loop's only one
		}
		if err := e.adapter.Open(); err != nil {
			t.Fatal(err)
		}
	}
	return a, b
}

// both runs a test in both directions.
func both(t *testing.T, a, b *end, f func(t *testing.T, from, to *end)) {
	t.Run("forth", func(t *testing.T) { f(t, a, b) })
	if a != b {
		t.Run("back", func(t *testing.T) { f(t, b, a) })
	}
}

func testOrder(t *testing.T, a, b *end) {
	both(t, a, b, func(t *testing.T, from, to *end) {
		to.clear()
		seq := 0
		for _, batch := range []int{1, 2, 3, 64, 65, 200, 1, 300} {
			var l packet.List
			for range batch {
				l.Push(from.datagram(seq, 100+seq%100))
				seq++
			}
			from.send(&l)
			to.wait(t, seq)
		}
		for i, g := range to.all() {
			if g.seq != i {
				t.Fatalf("packet %d came as number %d", g.seq, i)
			}
		}
	})
}

func testSizes(t *testing.T, a, b *end) {
	both(t, a, b, func(t *testing.T, from, to *end) {
		mtu := from.mtu()
		for _, size := range []int{28, 29, 30, 31, 33, 46, 47, 127, 128, 191, 192, 193, 320, 500, 1000, 1499, 2047, 2048, 2049, 2300, 9000, 20000, 40000, mtu - 1, mtu} {
			if size > mtu {
				continue
			}
			to.clear()
			p := from.datagram(size, size)
			want := string(p.Bytes())
			from.sendOne(p)
			got := to.wait(t, 1)[0]
			if got.bytes != want {
				t.Errorf("%d bytes: came as %d, or changed", size, len(got.bytes))
			}
			got.check(t, size)
		}
	})
}

func testTooBig(t *testing.T, a, b *end) {
	both(t, a, b, func(t *testing.T, from, to *end) {
		if from.mtu() >= packet.SizeMax {
			t.Skip("its MTU is the largest there is")
		}
		to.clear()
		from.sendOne(from.datagram(1, from.mtu()+1))
		from.sendOne(from.datagram(2, from.mtu()))
		if got := to.wait(t, 1); got[0].seq != 2 {
			t.Errorf("got packet %d", got[0].seq)
		}
		var c packet.Counters
		from.adapter.Drops(&c)
		if c[packet.ReasonFrameTooBig] != 1 {
			t.Errorf("%d drops for %q", c[packet.ReasonFrameTooBig], packet.ReasonFrameTooBig)
		}
	})
}

func testPartial(t *testing.T, a, b *end) {
	both(t, a, b, func(t *testing.T, from, to *end) {
		for _, size := range []int{40, 41, 191, 300, 301, 1279, 1280} {
			for _, v6 := range []bool{false, true} {
				to.clear()
				from.sendOne(from.build(segment{seq: size, size: size + 40, v6: v6, partial: true}))
				to.wait(t, 1)[0].check(t, size+40)
			}
		}
	})
}

func testSuper(t *testing.T, a, b *end) {
	both(t, a, b, func(t *testing.T, from, to *end) {
		whole := from.caps().GSOMax > 0 && to.caps().GSOMax > 0
		const mss = 1200
		for _, v6 := range []bool{false, true} {
			for _, payload := range []int{mss + 1, 10 * mss, 11*mss + 7, packet.SizeMax - 100} {
				to.clear()
				p := from.build(segment{seq: 7, size: headerLen(v6, true) + payload, v6: v6, tcp: true, partial: true, mss: mss})
				want := payloadOf(p.Bytes(), from.linkLen(), v6, true)
				from.sendOne(p)
				n := 1
				if !whole {
					n = (payload + mss - 1) / mss
				}
				got := ""
				for _, g := range to.wait(t, n) {
					g.check(t, 0)
					if whole && g.gso.Size != mss {
						t.Errorf("segment size %d", g.gso.Size)
					}
					got += payloadOf([]byte(g.bytes), to.linkLen(), v6, true)
				}
				if got != want {
					t.Errorf("%d bytes of payload: came as %d, or changed", len(want), len(got))
				}
			}
		}
	})
}

// testFlood sends without anybody receiving: memory stays bounded.
func testFlood(t *testing.T, a, _ *end) {
	const n, bound = 40000, 2*link.QueueLimit + 1000
	w := link.NewWork(nil)
	for seq := 0; seq < n; seq += 100 {
		var l packet.List
		for i := range 100 {
			l.Push(a.datagram(seq+i, 60))
		}
		a.adapter.Enqueue(&l)
		a.adapter.Flush(w)
		if live, _ := packet.Live(); live > bound {
			t.Fatalf("%d packets held after %d", live, seq)
		}
	}
	w.Run()
}

// testCloseInTraffic closes both ends while packets go both ways.
func testCloseInTraffic(t *testing.T, a, b *end) {
	stop := make(chan struct{})
	var senders sync.WaitGroup
	for _, e := range []*end{a, b} {
		senders.Go(func() {
			for seq := 0; ; seq++ {
				select {
				case <-stop:
					return
				default:
				}
				var l packet.List
				for range 10 {
					l.Push(e.datagram(seq, 200))
				}
				l.Push(e.build(segment{seq: seq, size: 9000, tcp: true, partial: true, mss: 1000}))
				e.send(&l)
				runtime.Gosched()
			}
		})
	}
	b.wait(t, 100)
	for _, e := range []*end{a, b} {
		if err := e.adapter.Close(); err != nil {
			t.Error(err)
		}
		after := e.count()
		time.Sleep(2 * time.Millisecond)
		if e.count() != after {
			t.Error("packets were indicated after Close")
		}
	}
	close(stop)
	senders.Wait()
}

// testSendAfterClose hands packets to a closed driver, as an adapter does that
// was sending when it was closed.
func testSendAfterClose(t *testing.T, a, b *end) {
	if err := a.adapter.Close(); err != nil {
		t.Fatal(err)
	}
	var l packet.List
	l.Push(a.datagram(1, 100))
	w := link.NewWork(nil)
	a.port.Send(&l, w)
	w.Run()
	if !l.Empty() {
		t.Error("Send left packets to its caller")
		l.Free()
	}
	if a.adapter.Stats().Dropped == 0 {
		t.Error("the packet was not counted as dropped")
	}
}

// An end is an adapter and what it has received of the suite's packets.
type end struct {
	adapter *link.Adapter
	port    link.Miniport

	mu   sync.Mutex
	got  []got
	more chan struct{} // has a token after got has grown
}

// got is a packet received.
type got struct {
	seq      int
	bytes    string
	gso      packet.GSO
	checksum packet.Checksum
	err      string // what is wrong with it
}

func newEnd(name string, index int32, m link.Miniport) *end {
	e := &end{adapter: link.NewAdapter(name, index, m), port: m, more: make(chan struct{}, 1)}
	e.adapter.Bind(e)
	return e
}

func (e *end) caps() *link.Capabilities { return e.adapter.Capabilities() }

func (e *end) mtu() int { return e.caps().MTU }

func (e *end) linkLen() int {
	if e.caps().Medium == link.MediumEthernet {
		return wire.EthernetLen
	}
	return 0
}

func (e *end) send(l *packet.List) {
	w := link.NewWork(nil)
	e.adapter.Enqueue(l)
	e.adapter.Flush(w)
	w.Run()
}

func (e *end) sendOne(p *packet.Packet) {
	var l packet.List
	l.Push(p)
	e.send(&l)
}

// Receive implements [link.Protocol].
func (e *end) Receive(_ *link.Adapter, l *packet.List, _ *link.Work) {
	for p := l.Pop(); p != nil; p = l.Pop() {
		if g, ok := e.examine(p); ok {
			e.mu.Lock()
			e.got = append(e.got, g)
			e.mu.Unlock()
		}
		packet.Free(p)
	}
	select {
	case e.more <- struct{}{}:
	default:
	}
}

// wait waits until n packets have come and returns them.
func (e *end) wait(t *testing.T, n int) []got {
	t.Helper()
	timeout := time.After(waitMax)
	for e.count() < n {
		select {
		case <-e.more:
		case <-timeout:
			t.Fatalf("%d of %d packets came; dropped here: %v", e.count(), n, e.drops())
		}
	}
	return e.all()
}

func (e *end) drops() string {
	var c packet.Counters
	e.adapter.Drops(&c)
	s := ""
	for r, n := range c {
		if n > 0 {
			s += fmt.Sprintf(" %s %d", packet.Reason(r), n)
		}
	}
	return s
}

func (e *end) count() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return len(e.got)
}

func (e *end) all() []got {
	e.mu.Lock()
	defer e.mu.Unlock()
	return append([]got(nil), e.got...)
}

func (e *end) clear() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.got = nil
}

// The suite's packets are known by their addresses, of documentation networks,
// and numbered in the IPv4 identification or the IPv6 flow label.
var (
	src4 = netip.MustParseAddr("192.0.2.1")
	dst4 = netip.MustParseAddr("192.0.2.2")
	src6 = netip.MustParseAddr("2001:db8::1")
	dst6 = netip.MustParseAddr("2001:db8::2")

	peerMAC = wire.MAC{2, 0, 0, 0, 0, 0x99}
)

// segment describes a packet.
type segment struct {
	seq, size int // size of the IP packet
	v6, tcp   bool
	partial   bool
	mss       int // of a super-segment
}

func headerLen(v6, tcp bool) int {
	n := wire.IPv4Len
	if v6 {
		n = wire.IPv6Len
	}
	if tcp {
		return n + wire.TCPLen
	}
	return n + wire.UDPLen
}

// datagram is a UDP packet with a complete checksum.
func (e *end) datagram(seq, size int) *packet.Packet { return e.build(segment{seq: seq, size: size}) }

func (e *end) build(s segment) *packet.Packet {
	p := packet.Get()
	payload := make([]byte, s.size-headerLen(s.v6, s.tcp))
	for i := range payload {
		payload[i] = byte(i*7 + s.seq)
	}
	if !p.AppendBytes(payload) {
		panic("linktest: packet too big")
	}
	p.Data = p.Start()
	src, dst := src4, dst4
	if s.v6 {
		src, dst = src6, dst6
	}
	p.Src, p.Dst, p.Proto = src, dst, wire.ProtoUDP
	length := wire.UDPLen + len(payload)
	if s.tcp {
		p.Proto, length = wire.ProtoTCP, wire.TCPLen+len(payload)
	}
	sum := wire.Fold(wire.PseudoSum(src, dst, p.Proto, length))
	if s.tcp {
		wire.PutTCP(p.Push(wire.TCPLen), &wire.TCPFields{SrcPort: 9, DstPort: 9, Seq: 1000, Flags: wire.TCPAck, Window: 100, Checksum: sum}, 0)
		p.CsumOffset = 16
	} else {
		wire.PutUDP(p.Push(wire.UDPLen), 9, 9, length, sum)
		p.CsumOffset = 6
	}
	p.Transport = p.Start()
	p.Checksum = packet.ChecksumPartial
	if !s.partial {
		packet.Complete(p)
	}
	if s.mss > 0 && s.mss < len(payload) {
		p.GSO = packet.GSO{Type: packet.GSOTCP4, Size: uint16(s.mss)}
		if s.v6 {
			p.GSO.Type = packet.GSOTCP6
		}
	}
	kind := wire.EtherTypeIPv4
	if s.v6 {
		kind = wire.EtherTypeIPv6
		wire.PutIPv6(p.Push(wire.IPv6Len), &wire.IPv6Fields{FlowLabel: uint32(s.seq), PayloadLen: length, NextHeader: p.Proto, HopLimit: 1, Src: src, Dst: dst})
	} else {
		wire.PutIPv4(p.Push(wire.IPv4Len), &wire.IPv4Fields{TotalLen: wire.IPv4Len + length, ID: uint16(s.seq), DF: true, TTL: 1, Proto: p.Proto, Src: src, Dst: dst})
	}
	p.Net = p.Start()
	if e.caps().Medium == link.MediumEthernet {
		wire.PutEthernet(p.Push(wire.EthernetLen), peerMAC, e.caps().MAC, kind)
	}
	p.Link = p.Start()
	return p
}

// examine records a packet if it is one of the suite's.
func (e *end) examine(p *packet.Packet) (g got, ok bool) {
	b := p.Bytes()
	ip := b[min(e.linkLen(), len(b)):]
	if len(ip) < wire.IPv4Len {
		return g, false
	}
	v6 := ip[0]>>4 == 6
	var proto wire.Proto
	var src, dst netip.Addr
	if v6 {
		h := wire.IPv6(ip)
		if !h.Valid(len(ip)) || h.Src() != src6 || h.Dst() != dst6 {
			return g, false
		}
		g.seq, proto, src, dst = int(h.FlowLabel()), h.NextHeader(), h.Src(), h.Dst()
	} else {
		h := wire.IPv4(ip)
		if !h.Valid(len(ip)) || h.Src() != src4 || h.Dst() != dst4 {
			return g, false
		}
		g.seq, proto, src, dst = int(h.ID()), h.Proto(), h.Src(), h.Dst()
	}
	g.bytes, g.gso, g.checksum = string(b), p.GSO, p.Checksum
	header := len(b) - len(ip) + headerLen(v6, proto == wire.ProtoTCP)
	transport := ip[headerLen(v6, false)-wire.UDPLen:]
	sum := wire.Fold(wire.PseudoSum(src, dst, proto, len(transport)))
	at := 6
	if proto == wire.ProtoTCP {
		at = 16
	}
	field := uint16(transport[at])<<8 | uint16(transport[at+1])
	switch {
	case p.HeadLen() < min(header, 128):
		g.err = fmt.Sprintf("only %d bytes are linear", p.HeadLen())
	case p.Headroom() < headroomMin:
		g.err = fmt.Sprintf("only %d bytes of headroom", p.Headroom())
	case p.Ingress != e.adapter.Index():
		g.err = "ingress not set"
	case p.Checksum == packet.ChecksumPartial:
		if field != sum || int(p.CsumOffset) != at || int(p.Transport-p.Start()) != len(b)-len(transport) {
			g.err = fmt.Sprintf("partial checksum %#x at %d+%d, want %#x at %d+%d", field, p.Transport-p.Start(), p.CsumOffset, sum, len(b)-len(transport), at)
		}
	case wire.Fold(wire.Sum(transport, uint32(sum))) != 0xffff:
		g.err = fmt.Sprintf("checksum %#x is wrong", field)
	case g.gso.Type != packet.GSONone:
		g.err = "super-segment without a partial checksum"
	}
	if g.gso.Type != packet.GSONone && int(p.Data-p.Start()) != header {
		g.err = fmt.Sprintf("data offset %d, want %d", p.Data-p.Start(), header)
	}
	return g, true
}

// check reports what is wrong with a packet.
func (g got) check(t *testing.T, size int) {
	t.Helper()
	if g.err != "" {
		t.Errorf("packet %d of %d bytes: %s", g.seq, size, g.err)
	}
}

func payloadOf(b []byte, linkLen int, v6, tcp bool) string {
	return string(b[linkLen+headerLen(v6, tcp):])
}
