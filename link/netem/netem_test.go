package netem_test

import (
	"encoding/binary"
	"fmt"
	"math"
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/towpath/towpath/clock"
	"github.com/towpath/towpath/link"
	"github.com/towpath/towpath/link/cable"
	"github.com/towpath/towpath/link/linktest"
	"github.com/towpath/towpath/link/netem"
	"github.com/towpath/towpath/packet"
	"github.com/towpath/towpath/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	ms = time.Millisecond
	us = time.Microsecond
)

// balanced checks, when the test is over, that every packet has been ended.
func balanced(t *testing.T) {
	packet.Account(true)
	t.Cleanup(func() {
		if packets, chunks := packet.Live(); packets != 0 || chunks != 0 {
			t.Errorf("%d packets and %d chunks were not ended", packets, chunks)
		}
		packet.Account(false)
	})
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func parse(t testing.TB, s string) netem.Impairment {
	t.Helper()
	im, err := netem.Parse(s)
	must(t, err)
	return im
}

// A device ends what it is sent and notes the numbers and instants.
type device struct {
	clock clock.Clock
	keep  bool
	panic bool

	mu   sync.Mutex
	n    int
	got  []arrival
	kept packet.List
}

type arrival struct {
	seq int
	at  time.Duration
}

func (d *device) Capabilities() link.Capabilities {
	return link.Capabilities{MTU: 65535, GSOMax: packet.SizeMax, TxChecksum: true}
}
func (d *device) Start(*link.Adapter) error                             { return nil }
func (d *device) Close() error                                          { return nil }
func (d *device) Send(l *packet.List, _ *link.Work)                     { d.end(l) }
func (d *device) Receive(_ *link.Adapter, l *packet.List, _ *link.Work) { d.end(l) }

func (d *device) end(l *packet.List) {
	if d.panic {
		panic("device")
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for p := l.First(); p != nil; p = p.Next() {
		d.n++
		if d.clock != nil {
			d.got = append(d.got, arrival{int(binary.BigEndian.Uint32(p.From(p.Net))), d.clock.Now()})
		}
	}
	if d.keep {
		d.kept.Append(l)
		return
	}
	l.Free()
}

// A bench is an adapter with a filter between a device and a protocol, on a
// virtual clock.
type bench struct {
	v       *clock.Virtual
	f       *netem.Filter
	a       *link.Adapter
	m       *link.FilterModule
	out, in *device
	seq     int
}

func newBench(t testing.TB, c netem.Config) *bench {
	b := &bench{v: clock.NewVirtual(time.Unix(0, 0))}
	c.Clock = b.v
	b.out, b.in = &device{clock: b.v}, &device{clock: b.v}
	b.a = link.NewAdapter("eth0", 1, b.out)
	b.a.Bind(b.in)
	must(t, b.a.Open())
	b.f = netem.New(c)
	var err error
	b.m, err = b.a.Attach(b.f)
	must(t, err)
	t.Cleanup(func() {
		b.out.kept.Free()
		b.in.kept.Free()
		b.a.Close()
	})
	return b
}

func out(t testing.TB, text string) *bench {
	return newBench(t, netem.Config{Seed: 1, Out: parse(t, text)})
}

// frame is a frame of size bytes with its link header, that carries a number.
func frame(seq, size int) *packet.Packet {
	p := packet.Get()
	binary.BigEndian.PutUint32(p.Append(4), uint32(seq))
	p.AppendBytes(make([]byte, size-wire.EthernetLen-4))
	p.Net = p.Start()
	p.Push(wire.EthernetLen)
	return p
}

// send sends n frames of size bytes in one batch.
func (b *bench) send(n, size int) {
	var l packet.List
	for range n {
		l.Push(frame(b.seq, size))
		b.seq++
	}
	b.push(&l)
}

func (b *bench) push(l *packet.List) {
	w := link.NewWork(nil)
	b.a.Enqueue(l)
	b.a.Flush(w)
	w.Run()
}

func (b *bench) receive(n, size int) {
	var l packet.List
	for range n {
		l.Push(frame(b.seq, size))
		b.seq++
	}
	w := link.NewWork(nil)
	b.a.Indicate(&l, w)
	w.Run()
}

// many sends n frames of 100 bytes in batches.
func (b *bench) many(n int) {
	for n > 0 {
		k := min(n, 50)
		b.send(k, 100)
		n -= k
	}
}

func (d *device) expect(t *testing.T, want ...arrival) {
	t.Helper()
	if !slices.Equal(d.got, want) {
		t.Errorf("got  %v\nwant %v", d.got, want)
	}
	d.got = nil
}

func (b *bench) dropped(r packet.Reason) uint64 {
	var c packet.Counters
	b.a.Drops(&c)
	return c[r]
}

// conserved checks that every packet is accounted for.
func conserved(t *testing.T, s netem.Stats) {
	t.Helper()
	gone := s.Passed + s.Held + s.LostIf + s.LostEvery + s.LostBurst + s.Lost + s.Limit + s.Memory + s.Uncut + s.Detached
	if s.Received+s.Duplicated != gone {
		t.Errorf("%d packets and %d duplicates became %d: %+v", s.Received, s.Duplicated, gone, s)
	}
}

// share checks a number of events within four standard deviations.
func share(t *testing.T, what string, got uint64, n int, p float64) {
	t.Helper()
	want, sigma := float64(n)*p, math.Sqrt(float64(n)*p*(1-p))
	if math.Abs(float64(got)-want) > 4*sigma {
		t.Errorf("%s: %d of %d, want %.0f ± %.0f", what, got, n, want, 4*sigma)
	}
}

func TestDelay(t *testing.T) {
	balanced(t)
	b := out(t, "delay 10ms")
	b.send(2, 100)
	b.v.Advance(3 * ms)
	b.send(1, 100)
	b.v.Advance(7*ms - 1)
	b.out.expect(t)
	if s := b.f.Stats(link.Out); s.Held != 3 || s.HeldBytes != 300 {
		t.Errorf("%+v", s)
	}
	b.v.Advance(1)
	b.out.expect(t, arrival{0, 10 * ms}, arrival{1, 10 * ms})
	b.v.Advance(time.Second)
	b.out.expect(t, arrival{2, 13 * ms})
	// The other direction is not delayed.
	b.receive(1, 100)
	b.in.expect(t, arrival{3, b.v.Now()})
	must(t, b.f.Set(link.In, parse(t, "delay 1ms")))
	b.receive(1, 100)
	b.in.expect(t)
	b.v.Advance(ms)
	b.in.expect(t, arrival{4, b.v.Now()})
	if _, ok := b.v.Next(); ok {
		t.Error("a timer is pending and nothing is held")
	}
	conserved(t, b.f.Stats(link.Out))
	conserved(t, b.f.Stats(link.In))
}

// Packets sent at the instant at which others are due come behind them,
// although the timer has not fired yet.
func TestDueBeforeNew(t *testing.T) {
	b := out(t, "delay 10ms")
	b.send(1, 100)
	// The filter's timer moves to the back of those of this instant.
	b.v.AfterFunc(10*ms, func() { must(t, b.f.Set(link.Out, netem.Impairment{})); b.send(1, 100) })
	b.v.Advance(5 * ms)
	must(t, b.f.Set(link.Out, parse(t, "delay 1ms")))
	b.send(1, 100)
	b.v.Advance(ms)
	must(t, b.f.Set(link.Out, parse(t, "delay 4ms")))
	b.send(1, 100)
	b.v.Advance(time.Second)
	b.out.expect(t, arrival{1, 6 * ms}, arrival{0, 10 * ms}, arrival{2, 10 * ms}, arrival{3, 10 * ms})
	b.send(1, 100)
	b.out.expect(t, arrival{4, b.v.Now()})
}

// Each packet leaves when the bits before it have been sent, to the nanosecond.
func TestRate(t *testing.T) {
	balanced(t)
	for _, text := range []string{"rate 10mbit", "rate 7654321bit overhead 24", "rate 1gbit overhead -14", "rate 999bit", "rate 10mbit delay 30ms"} {
		im := parse(t, text)
		b := out(t, text)
		var want []arrival
		bits := 0
		for i := range 200 {
			size := 60 + i*37%1400
			b.send(1, size)
			bits += (size + im.Overhead) * 8
			want = append(want, arrival{i, time.Duration(float64(bits)*1e9/float64(im.Rate)) + im.Delay})
		}
		b.v.Advance(time.Hour)
		for i, g := range b.out.got {
			if d := g.at - want[i].at; g.seq != i || d < -1 || d > 1 { // the test's own rounding
				t.Fatalf("%s: packet %d came at %v, want %v", text, g.seq, g.at, want[i].at)
			}
		}
		if len(b.out.got) != 200 {
			t.Errorf("%s: %d packets came", text, len(b.out.got))
		}
		// An idle link begins anew.
		b.out.got = nil
		now := b.v.Now()
		b.send(1, 1000)
		b.v.Advance(time.Hour)
		b.out.expect(t, arrival{200, now + im.Delay + time.Duration(uint64(1000+im.Overhead)*8*1e9/uint64(im.Rate))})
	}
}

// The queue takes limit packets, the one being sent included, and drops what
// comes last.
func TestLimit(t *testing.T) {
	balanced(t)
	b := out(t, "rate 8mbit, limit 3, delay 1s") // a byte takes a microsecond
	b.send(5, 1000)
	b.v.Advance(ms - 1)
	b.send(1, 1000)
	b.v.Advance(1)
	b.send(2, 1000)
	b.v.Advance(time.Hour)
	b.out.expect(t, arrival{0, time.Second + ms}, arrival{1, time.Second + 2*ms}, arrival{2, time.Second + 3*ms}, arrival{6, time.Second + 4*ms})
	if s := b.f.Stats(link.Out); s.Limit != 4 || b.dropped(packet.ReasonNetemLimit) != 4 {
		t.Errorf("%+v", s)
	}
	must(t, b.f.Set(link.Out, parse(t, "rate 8mbit, limit 2500b")))
	b.send(2, 1000)
	b.send(1, 501)
	b.send(1, 500)
	b.v.Advance(time.Hour)
	if s := b.f.Stats(link.Out); s.Limit != 5 {
		t.Errorf("%+v", s)
	}
	// Without a rate the limit is one of what is held.
	must(t, b.f.Set(link.Out, parse(t, "delay 1s, limit 4")))
	b.send(6, 100)
	if s := b.f.Stats(link.Out); s.Limit != 7 || s.Held != 4 {
		t.Errorf("%+v", s)
	}
	b.v.Advance(time.Hour)
	// The default.
	must(t, b.f.Set(link.Out, parse(t, "rate 1mbit")))
	b.many(1200)
	if s := b.f.Stats(link.Out); s.Held != 1000 {
		t.Errorf("%+v", s)
	}
	b.v.Advance(time.Hour)
	conserved(t, b.f.Stats(link.Out))
}

// Packets in the queue get a new rate; what is being sent does not get slower.
func TestSetRate(t *testing.T) {
	balanced(t)
	b := out(t, "rate 8kbit") // a byte takes a millisecond
	b.send(3, 1000)
	b.v.Advance(500 * ms)
	must(t, b.f.Set(link.Out, parse(t, "rate 8mbit")))
	b.v.Advance(time.Hour)
	b.out.expect(t, arrival{0, 501 * ms}, arrival{1, 502 * ms}, arrival{2, 503 * ms})
	b.send(2, 1000)
	now := b.v.Now()
	must(t, b.f.Set(link.Out, parse(t, "rate 8kbit")))
	b.v.Advance(time.Hour)
	b.out.expect(t, arrival{3, now + ms}, arrival{4, now + ms + time.Second})
	b.send(2, 1000)
	now = b.v.Now()
	must(t, b.f.Set(link.Out, netem.Impairment{}))
	b.v.Advance(0)
	b.out.expect(t, arrival{5, now}, arrival{6, now})
}

func TestLoss(t *testing.T) {
	balanced(t)
	const n = 50000
	for _, text := range []string{"loss 0.1%", "loss 5%", "loss 50%", "loss 100%"} {
		b := out(t, text)
		b.many(n)
		s := b.f.Stats(link.Out)
		share(t, text, s.Lost, n, float64(parse(t, text).Loss))
		if int(s.Passed) != b.out.n || s.Lost != b.dropped(packet.ReasonNetemLoss) {
			t.Errorf("%s: %+v, %d came", text, s, b.out.n)
		}
		conserved(t, s)
	}
	b := out(t, "loss every 3")
	b.send(10, 100)
	if got := fmt.Sprint(b.out.got); got != "[{0 0} {1 0} {3 0} {4 0} {6 0} {7 0} {9 0}]" {
		t.Error(got)
	}
	b = newBench(t, netem.Config{Out: netem.Impairment{LossIf: func(p *packet.Packet) bool { return p.Len() > 200 }}})
	b.send(2, 201)
	b.send(2, 200)
	if s := b.f.Stats(link.Out); s.LostIf != 2 || s.Passed != 2 {
		t.Errorf("%+v", s)
	}
}

// Bursts are as long, and as far apart, as the Gilbert-Elliott model has them.
func TestGemodel(t *testing.T) {
	const n = 100000
	for _, c := range []struct{ p, r, bad, good float64 }{{0.01, 0.25, 1, 0}, {0.05, 0.5, 1, 0}, {0.002, 0.05, 1, 0}, {0.02, 0.1, 0.6, 0.01}} {
		b := newBench(t, netem.Config{Seed: 3, Out: netem.Impairment{Gemodel: netem.Gemodel{
			P: netem.Probability(c.p), R: netem.Probability(c.r), Bad: netem.Probability(c.bad), Good: netem.Probability(c.good)}}})
		b.many(n)
		lost := float64(b.f.Stats(link.Out).LostBurst) / n
		inBad := c.p / (c.p + c.r)
		want := inBad*c.bad + (1-inBad)*c.good
		// Neighbours are alike for 1/(p+r) packets or so.
		if sigma := math.Sqrt(want * (1 - want) / n * (2/(c.p+c.r) - 1)); math.Abs(lost-want) > 4*sigma {
			t.Errorf("%+v: %.4f lost, want %.4f ± %.4f", c, lost, want, 4*sigma)
		}
		if c.bad < 1 || c.good > 0 {
			continue
		}
		bursts, total, next := 0, 0, 0
		for _, g := range b.out.got {
			if g.seq > next {
				bursts++
				total += g.seq - next
			}
			next = g.seq + 1
		}
		mean, sigma := float64(total)/float64(bursts), math.Sqrt(1-c.r)/c.r/math.Sqrt(float64(bursts))
		if math.Abs(mean-1/c.r) > 4*sigma {
			t.Errorf("%+v: bursts of %.3f, want %.3f ± %.3f", c, mean, 1/c.r, 4*sigma)
		}
	}
}

func TestDuplicate(t *testing.T) {
	balanced(t)
	const n = 50000
	b := out(t, "duplicate 2%")
	b.many(n)
	s := b.f.Stats(link.Out)
	share(t, "duplicates", s.Duplicated, n, 0.02)
	if b.out.n != n+int(s.Duplicated) {
		t.Errorf("%d came", b.out.n)
	}
	conserved(t, s)
}

func TestReorder(t *testing.T) {
	balanced(t)
	const n = 50000
	for _, c := range []struct {
		text string
		want float64
	}{{"delay 10ms reorder 25%", 0.25}, {"delay 10ms reorder 25% gap 5", 1. / (4 + 4)}} {
		b := out(t, c.text)
		b.many(n)
		s := b.f.Stats(link.Out)
		share(t, c.text, s.Reordered, n, c.want)
		if b.out.n != int(s.Reordered) {
			t.Errorf("%s: %d came at once, %d were reordered", c.text, b.out.n, s.Reordered)
		}
		b.v.Advance(10 * ms)
		if b.out.n != n {
			t.Errorf("%s: %d came", c.text, b.out.n)
		}
	}
	b := out(t, "delay 10ms gap 3")
	b.send(7, 100)
	b.v.Advance(time.Second)
	b.out.expect(t, arrival{2, 0}, arrival{5, 0}, arrival{0, 10 * ms}, arrival{1, 10 * ms}, arrival{3, 10 * ms}, arrival{4, 10 * ms}, arrival{6, 10 * ms})
}

func TestJitterReorders(t *testing.T) {
	const n = 5000
	for _, text := range []string{"delay 10ms 2ms", "delay 10ms 2ms normal", "delay 10ms 2ms normal ordered", "delay 1ms 5ms pareto"} {
		im := parse(t, text)
		b := out(t, text)
		for range n {
			b.send(1, 100)
			b.v.Advance(100 * us)
		}
		b.v.Advance(time.Second)
		var sum, squares float64
		overtaken, next := 0, 0
		for _, g := range b.out.got {
			d := float64(g.at-time.Duration(g.seq)*100*us) / float64(ms)
			if d < 0 {
				t.Fatalf("%s: packet %d came before it was sent", text, g.seq)
			}
			sum += d
			squares += d * d
			if g.seq < next {
				overtaken++
			}
			next = g.seq
		}
		mean := sum / n
		dev := math.Sqrt(squares/n - mean*mean)
		if im.Ordered != (overtaken == 0) {
			t.Errorf("%s: %d of %d were overtaken", text, overtaken, n)
		}
		want := 2.
		if im.Distribution == netem.Uniform {
			want /= math.Sqrt(3)
		}
		if !im.Ordered && im.Delay > im.Jitter && (math.Abs(mean-10) > 0.15 || math.Abs(dev-want) > 0.1) {
			t.Errorf("%s: %.3f ± %.3f ms, want 10 ± %.3f", text, mean, dev, want)
		}
	}
}

// addrs of the packets that segment makes.
var src, dst = netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")

// segment is a TCP packet of n payload bytes with a partial checksum, a
// super-segment if size is less. Payload is in chunk, which it shares.
func segment(c *packet.Chunk, n, size int) *packet.Packet {
	p := packet.Get()
	p.AppendFrag(c, 0, n)
	p.Data = p.Start()
	p.Src, p.Dst, p.Proto = src, dst, wire.ProtoTCP
	sum := wire.Fold(wire.PseudoSum(src, dst, p.Proto, wire.TCPLen+n))
	wire.PutTCP(p.Push(wire.TCPLen), &wire.TCPFields{SrcPort: 1, DstPort: 2, Seq: 1, Flags: wire.TCPAck, Window: 1, Checksum: sum}, 0)
	p.Transport = p.Start()
	p.Checksum, p.CsumOffset = packet.ChecksumPartial, 16
	wire.PutIPv4(p.Push(wire.IPv4Len), &wire.IPv4Fields{TotalLen: wire.IPv4Len + wire.TCPLen + n, TTL: 9, Proto: p.Proto, Src: src, Dst: dst})
	p.Net = p.Start()
	wire.PutEthernet(p.Push(wire.EthernetLen), wire.MAC{2, 1}, wire.MAC{2, 2}, wire.EtherTypeIPv4)
	if size < n {
		p.GSO = packet.GSO{Type: packet.GSOTCP4, Size: uint16(size)}
	}
	return p
}

// intact reports whether the checksums of a segment's bytes are right.
func intact(b []byte) bool {
	ip := b[wire.EthernetLen:]
	return wire.Fold(wire.Sum(ip[:wire.IPv4Len], 0)) == 0xffff &&
		wire.Fold(wire.Sum(ip[wire.IPv4Len:], wire.PseudoSum(src, dst, wire.ProtoTCP, len(ip)-wire.IPv4Len))) == 0xffff
}

// Super-segments are cut and checksums completed on entry, but not where
// nothing is impaired.
func TestCut(t *testing.T) {
	balanced(t)
	c := packet.GetChunk(packet.LargeChunk)
	defer c.Release()
	b := out(t, "none")
	b.out.keep, b.out.clock = true, nil
	push := func() {
		var l packet.List
		l.Push(segment(c, 10500, 1000))
		l.Push(segment(c, 500, 500))
		b.push(&l)
	}
	push()
	if b.out.n != 2 || b.out.kept.First().Checksum != packet.ChecksumPartial {
		t.Errorf("%d packets, want 2 as they were", b.out.n)
	}
	b.out.kept.Free()
	b.out.n = 0
	must(t, b.f.Set(link.Out, parse(t, "loss every 4")))
	push()
	if b.out.n != 9 {
		t.Errorf("%d packets, want 9 of 12", b.out.n)
	}
	for p := b.out.kept.First(); p != nil; p = p.Next() {
		if p.Checksum != packet.ChecksumNone || p.GSO.Type != packet.GSONone || !intact(p.Bytes()) {
			t.Errorf("a packet of %d bytes is not as on a wire", p.Len())
		}
	}
}

// A corrupted packet differs in one bit behind the link header, its checksums
// tell, and nobody else's bytes change.
func TestCorrupt(t *testing.T) {
	balanced(t)
	const n = 2000
	c := packet.GetChunk(packet.LargeChunk)
	defer c.Release()
	for i := range c.Bytes() {
		c.Bytes()[i] = byte(i * 7)
	}
	before := string(c.Bytes())
	b := out(t, "corrupt 100%, duplicate 50%")
	b.out.keep, b.out.clock = true, nil
	good := segment(c, 1000, 1000)
	packet.Complete(good)
	want := good.Bytes()
	packet.Free(good)
	var where [2]int // head and payload
	for range n {
		var l packet.List
		p := segment(c, 1000, 1000)
		p.Checksum = packet.ChecksumVerified
		copy(p.Head(), want)
		l.Push(p)
		b.push(&l)
		for p := b.out.kept.Pop(); p != nil; p = b.out.kept.Pop() {
			flipped := 0
			for i, x := range p.Bytes() {
				if d := x ^ want[i]; d != 0 {
					if i < wire.EthernetLen || d&(d-1) != 0 {
						t.Fatalf("byte %d is %#x, was %#x", i, x, want[i])
					}
					flipped++
					where[min(i/(wire.EthernetLen+wire.IPv4Len+wire.TCPLen), 1)]++
				}
			}
			if flipped != 1 || intact(p.Bytes()) || p.Checksum != packet.ChecksumNone {
				t.Fatalf("%d bits flipped, checksums right %v, %v", flipped, intact(p.Bytes()), p.Checksum)
			}
			packet.Free(p)
		}
	}
	if string(c.Bytes()) != before {
		t.Error("a shared chunk was changed")
	}
	share(t, "bits in headers", uint64(where[0]), where[0]+where[1], 40./1040)
	share(t, "duplicates", b.f.Stats(link.Out).Duplicated, n, 0.5)
	if s := b.f.Stats(link.Out); s.Corrupted != s.Passed {
		t.Errorf("%+v", s)
	}
	// Nothing behind the link header, nothing to flip; a tag belongs to it.
	var l packet.List
	p := packet.Get()
	wire.PutEthernet(p.Append(wire.EthernetLen), wire.MAC{}, wire.MAC{}, wire.EtherTypeVLAN)
	wire.PutVLAN(p.Append(wire.VLANLen), 1, false, 1, wire.EtherTypeIPv4)
	l.Push(p)
	was := b.f.Stats(link.Out).Corrupted
	b.push(&l)
	if b.f.Stats(link.Out).Corrupted != was {
		t.Error("a bit of a link header was flipped")
	}
}

// trace runs a bench with everything and returns what came out and when.
func trace(t *testing.T, seed uint64, text string) string {
	b := newBench(t, netem.Config{Seed: seed, Out: parse(t, text), In: parse(t, text)})
	for i := range 400 {
		b.send(1+i%4, 60+i%1000)
		b.receive(1, 100)
		b.v.Advance(time.Duration(i%7) * ms)
	}
	b.v.Advance(time.Minute)
	return fmt.Sprint(b.out.got, b.in.got, b.f.Stats(link.Out), b.f.Stats(link.In))
}

func TestDeterminism(t *testing.T) {
	balanced(t)
	const text = "delay 10ms 3ms 20% paretonormal, loss 3%, loss gemodel 1% 30%, duplicate 2%, reorder 5% gap 2, corrupt 3%, rate 10mbit, limit 50"
	first := trace(t, 42, text)
	if second := trace(t, 42, text); second != first {
		t.Error("two runs differ")
	}
	if trace(t, 43, text) == first {
		t.Error("another seed is the same")
	}
}

// deaf is a clock whose calls never come.
type deaf struct{ *clock.Virtual }

type noTimer struct{}

func (deaf) AfterFunc(time.Duration, func()) clock.Timer { return noTimer{} }
func (noTimer) Stop() bool                               { return false }
func (noTimer) Reset(time.Duration) bool                 { return false }

// However late the clock's call comes, packets are due at instants computed from
// each other, not from when somebody looked.
func TestLate(t *testing.T) {
	balanced(t)
	v := clock.NewVirtual(time.Unix(0, 0))
	d := &device{clock: v}
	a := link.NewAdapter("eth0", 1, d)
	must(t, a.Open())
	defer a.Close()
	// A byte takes a microsecond.
	_, err := a.Attach(netem.New(netem.Config{Clock: deaf{v}, Out: parse(t, "rate 8mbit, delay 1ms, limit 3")}))
	must(t, err)
	b := &bench{v: v, a: a, out: d}
	b.send(3, 1000) // sent at 1, 2 and 3 ms, due at 2, 3 and 4 ms
	v.Advance(3500 * us)
	b.send(1, 1000) // sent at 4.5 ms, due at 5.5 ms
	d.expect(t, arrival{0, 3500 * us}, arrival{1, 3500 * us})
	v.Advance(2*ms - 1)
	b.send(1, 1000)
	d.expect(t, arrival{2, 5500*us - 1})
	v.Advance(1)
	b.send(1, 1000)
	d.expect(t, arrival{3, 5500 * us})
}

// In a bubble, instants are exact as well.
func TestBubble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		balanced(t)
		var g link.Group
		start := time.Now()
		d := &device{clock: clock.Real()}
		a := link.NewAdapter("eth0", 1, d)
		must(t, a.Open())
		_, err := a.Attach(netem.New(netem.Config{Out: parse(t, "delay 10ms, rate 8mbit"), Group: &g}))
		must(t, err)
		for i := range 100 {
			var l packet.List
			l.Push(frame(i, 1000))
			w := link.NewWork(&g)
			a.Enqueue(&l)
			a.Flush(w)
			w.Run()
		}
		time.Sleep(time.Minute)
		d.mu.Lock()
		defer d.mu.Unlock()
		for i, x := range d.got {
			if want := 10*ms + time.Duration(i+1)*ms; x.seq != i || x.at != want {
				t.Errorf("packet %d came at %v, want %v", x.seq, x.at, want)
			}
		}
		if len(d.got) != 100 || time.Since(start) != time.Minute {
			t.Errorf("%d came in %v", len(d.got), time.Since(start))
		}
		a.Close()
		g.Wait()
	})
}

// TestDropReasons drops packets at every place of this package that does.
func TestDropReasons(t *testing.T) {
	for _, c := range []struct {
		reason packet.Reason
		want   uint64
		config string
		run    func(t *testing.T, b *bench)
	}{
		{packet.ReasonNetemUncut, 1, "delay 1ms", func(t *testing.T, b *bench) {
			p := frame(0, 2000)
			p.GSO = packet.GSO{Type: packet.GSOTCP4, Size: 500}
			var l packet.List
			l.Push(p)
			b.push(&l)
		}},
		{packet.ReasonNetemLossIf, 2, "none", func(t *testing.T, b *bench) {
			must(t, b.f.Set(link.Out, netem.Impairment{LossIf: func(*packet.Packet) bool { return true }}))
			b.send(2, 100)
		}},
		{packet.ReasonNetemLossEvery, 2, "loss every 3", func(t *testing.T, b *bench) { b.send(8, 100) }},
		{packet.ReasonNetemLossBurst, 9, "loss gemodel 100%", func(t *testing.T, b *bench) { b.send(10, 100) }},
		{packet.ReasonNetemLoss, 3, "loss 100%", func(t *testing.T, b *bench) { b.send(3, 100) }},
		{packet.ReasonNetemMemory, 9, "delay 1s", func(t *testing.T, b *bench) { b.send(18, 10000) }},
		{packet.ReasonNetemLimit, 2, "delay 1ms, limit 2", func(t *testing.T, b *bench) { b.send(4, 100) }},
		{packet.ReasonNetemDownIn, 2, "none", func(t *testing.T, b *bench) {
			must(t, b.f.Set(link.In, parse(t, "delay 1ms")))
			b.receive(2, 100)
			b.a.SetUp(false)
			b.v.Advance(ms)
		}},
		{packet.ReasonNetemRunner, 2, "delay 1ms", func(t *testing.T, b *bench) {
			b.send(2, 100)
			b.out.panic = true
			func() {
				defer func() { recover() }()
				b.v.Advance(ms)
			}()
			b.out.panic = false
			b.send(1, 100)
			b.v.Advance(ms)
			if b.out.n != 1 {
				t.Errorf("%d packets came after the panic, want 1", b.out.n)
			}
		}},
		{packet.ReasonNetemDetached, 5, "delay 1ms, rate 100kbit", func(t *testing.T, b *bench) {
			b.send(5, 100)
			b.a.Detach(b.m)
			b.send(1, 100)
			if b.out.n != 1 {
				t.Errorf("%d packets came", b.out.n)
			}
		}},
	} {
		t.Run(c.reason.String(), func(t *testing.T) {
			balanced(t)
			b := newBench(t, netem.Config{Seed: 1, Out: parse(t, c.config), Memory: 100 << 10})
			c.run(t, b)
			b.v.Advance(time.Second)
			var d packet.Counters
			b.a.Drops(&d)
			for r, n := range d {
				want := uint64(0)
				if packet.Reason(r) == c.reason {
					want = c.want
				}
				if n != want {
					t.Errorf("%v: %d, want %d", packet.Reason(r), n, want)
				}
			}
			conserved(t, b.f.Stats(link.Out))
			conserved(t, b.f.Stats(link.In))
		})
	}
}

// What a panic of one run leaves behind, the timer takes up.
func TestAbandon(t *testing.T) {
	balanced(t)
	b := out(t, "delay 1ms")
	b.many(200)
	b.out.panic = true
	func() {
		defer func() { recover() }()
		b.v.Advance(ms)
	}()
	b.out.panic = false
	b.v.Advance(0)
	if b.out.n != 200-64 || b.dropped(packet.ReasonNetemRunner) != 64 {
		t.Errorf("%d came, %d were lost", b.out.n, b.dropped(packet.ReasonNetemRunner))
	}
}

// A predicate that panics leaves the filter usable.
func TestPredicatePanics(t *testing.T) {
	b := newBench(t, netem.Config{Out: netem.Impairment{LossIf: func(*packet.Packet) bool { panic("predicate") }}})
	func() {
		defer func() { recover() }()
		b.send(1, 100)
	}()
	must(t, b.f.Set(link.Out, netem.Impairment{}))
	b.send(1, 100)
	if b.out.n != 1 {
		t.Errorf("%d came", b.out.n)
	}
}

func TestAttachTwice(t *testing.T) {
	b := out(t, "none")
	if _, err := b.a.Attach(b.f); err == nil || !strings.Contains(err.Error(), "attached already") {
		t.Errorf("got %v", err)
	}
	b.a.Detach(b.m)
	b.a.Detach(b.m)
	if err := b.f.Set(link.Out, parse(t, "delay 1s")); err != nil {
		t.Error(err)
	}
	b.send(1, 100)
	if b.out.n != 1 {
		t.Error("a detached filter holds packets back")
	}
	if err := b.f.Set(link.Out, netem.Impairment{Loss: 2}); err == nil {
		t.Error("a loss of 200% was taken")
	}
}

// Filters come, change and go while packets pass both ways.
func TestConcurrent(t *testing.T) {
	balanced(t)
	pa, pb := cable.New(cable.Config{})
	a, b := link.NewAdapter("a", 1, pa), link.NewAdapter("b", 2, pb)
	var got [2]device
	a.Bind(&got[0])
	b.Bind(&got[1])
	var g link.Group
	var stop atomic.Bool
	var senders, changers sync.WaitGroup
	for _, x := range []*link.Adapter{a, b} {
		must(t, x.Open())
		for range 2 {
			senders.Go(func() {
				for i := 0; !stop.Load(); i++ {
					var l packet.List
					for range 1 + i%20 {
						l.Push(frame(i, 60+i%1000))
					}
					w := link.NewWork(&g)
					x.Enqueue(&l)
					x.Flush(w)
					w.Run()
					runtime.Gosched()
				}
			})
		}
		changers.Go(func() {
			ims := []netem.Impairment{{}, parse(t, "delay 200us 100us normal, duplicate 10%"), parse(t, "loss 10%, corrupt 10%"),
				parse(t, "rate 100mbit, limit 100, delay 100us, reorder 10%"), parse(t, "delay 100us, ordered")}
			for i := 0; !stop.Load(); i++ {
				f := netem.New(netem.Config{Seed: uint64(i), Out: ims[i%len(ims)], Group: &g})
				m, err := x.Attach(f)
				must(t, err)
				for j := range 10 {
					time.Sleep(100 * us)
					must(t, f.Set(link.Direction(j%2), ims[(i+j)%len(ims)]))
					f.Stats(link.In)
				}
				x.Detach(m)
				if s := f.Stats(link.Out); s.Held != 0 {
					t.Errorf("detached and holding %d", s.Held)
				}
				conserved(t, f.Stats(link.Out))
				conserved(t, f.Stats(link.In))
			}
		})
	}
	time.Sleep(300 * ms)
	stop.Store(true)
	senders.Wait()
	changers.Wait()
	must(t, a.Close())
	must(t, b.Close())
	g.Wait()
	if got[0].n == 0 || got[1].n == 0 {
		t.Errorf("%d and %d packets came", got[0].n, got[1].n)
	}
}

// A port is a driver over an adapter that has a filter.
type port struct {
	inner  *link.Adapter
	outer  atomic.Pointer[link.Adapter]
	closed atomic.Bool
}

func newPort(t *testing.T, m link.Miniport, c netem.Config) *port {
	p := &port{inner: link.NewAdapter("inner", 9, m)}
	p.inner.Bind(p)
	_, err := p.inner.Attach(netem.New(c))
	must(t, err)
	return p
}

func (p *port) Capabilities() link.Capabilities { return *p.inner.Capabilities() }
func (p *port) Start(a *link.Adapter) error     { p.outer.Store(a); return p.inner.Open() }
func (p *port) Close() error                    { p.closed.Store(true); return p.inner.Close() }
func (p *port) Send(l *packet.List, w *link.Work) {
	if p.closed.Load() {
		p.outer.Load().Drop(l, packet.ReasonCableCut)
		return
	}
	p.inner.Enqueue(l)
	w.Flush(p.inner)
}
func (p *port) Receive(_ *link.Adapter, l *packet.List, w *link.Work) { p.outer.Load().Indicate(l, w) }

// A cable with filters at its ends is a good driver, if they do nothing, and
// if they delay on a cable that carries no super-segments.
func TestDriver(t *testing.T) {
	for _, c := range []struct {
		text  string
		cable cable.Config
	}{{"none", cable.Config{}}, {"none", cable.Config{Plain: true}}, {"delay 100us", cable.Config{Plain: true}}} {
		t.Run(strings.ReplaceAll(fmt.Sprint(c.text, " plain=", c.cable.Plain), " ", ","), func(t *testing.T) {
			linktest.Run(t, func(t *testing.T) (a, b link.Miniport) {
				config := netem.Config{Out: parse(t, c.text), In: parse(t, c.text), Memory: 16 << 20}
				x, y := cable.New(c.cable)
				return newPort(t, x, config), newPort(t, y, config)
			})
		})
	}
}

func TestAllocs(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector makes pools drop memory on purpose")
	}
	for _, text := range []string{"none", "delay 1ms", "delay 1ms 1ms 50% normal, loss 1%", "rate 10gbit, delay 1ms, corrupt 1%, duplicate 1%, reorder 1%"} {
		b := out(t, text)
		b.out.clock = nil
		var l packet.List
		n := testing.AllocsPerRun(500, func() {
			for range 16 {
				p := packet.Get()
				p.Append(100)
				p.Net = p.Start()
				p.Push(wire.EthernetLen)
				l.Push(p)
			}
			b.push(&l)
			b.v.Advance(100 * us)
		})
		if n != 0 {
			t.Errorf("%s: %v allocations in 16 packets", text, n)
		}
	}
}

func BenchmarkFilter(b *testing.B) {
	for _, text := range []string{"without", "none", "loss 1%", "delay 1ms", "delay 1ms 200us normal", "rate 10gbit, delay 1ms"} {
		b.Run(strings.ReplaceAll(text, " ", "_"), func(b *testing.B) {
			x := out(b, strings.ReplaceAll(text, "without", "none"))
			if text == "without" {
				x.a.Detach(x.m)
			}
			x.out.clock = nil
			var l packet.List
			b.ReportAllocs()
			for i := 0; i < b.N; i += 16 {
				for range 16 {
					p := packet.Get()
					p.Append(100)
					p.Net = p.Start()
					p.Push(wire.EthernetLen)
					l.Push(p)
				}
				x.push(&l)
				x.v.Advance(10 * us)
			}
		})
	}
}
