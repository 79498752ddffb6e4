package link_test

import (
	"encoding/binary"
	"errors"
	"fmt"
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

	"github.com/towpath/towpath/link"
	"github.com/towpath/towpath/link/cable"
	"github.com/towpath/towpath/link/loop"
	"github.com/towpath/towpath/packet"
	"github.com/towpath/towpath/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

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

// A device is a driver that keeps what it is sent.
type device struct {
	caps   link.Capabilities
	sent   packet.List
	sends  int
	closed int
	err    error // of Start
}

func (d *device) Capabilities() link.Capabilities { return d.caps }
func (d *device) Start(*link.Adapter) error       { return d.err }
func (d *device) Close() error                    { d.closed++; return nil }
func (d *device) Send(l *packet.List, w *link.Work) {
	d.sends++
	d.sent.Append(l)
}

// open makes an adapter over a device, open until the test is over.
func open(t *testing.T, m link.Miniport) *link.Adapter {
	t.Helper()
	a := link.NewAdapter("eth0", 7, m)
	if err := a.Open(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		a.Close()
		if d, ok := m.(*device); ok {
			d.sent.Free()
		}
	})
	return a
}

// joined makes a cable's two adapters, open until the test is over.
func joined(t *testing.T, c cable.Config) (a, b *link.Adapter) {
	pa, pb := cable.New(c)
	return open(t, pa), open(t, pb)
}

// numbered makes a frame that carries who sent it and which one it is.
func numbered(sender, seq int) *packet.Packet {
	p := frame(60)
	b := p.From(p.Net)
	binary.BigEndian.PutUint32(b, uint32(sender))
	binary.BigEndian.PutUint32(b[4:], uint32(seq))
	return p
}

func numbers(p *packet.Packet) (sender, seq int) {
	b := p.Head()[wire.EthernetLen:]
	return int(binary.BigEndian.Uint32(b)), int(binary.BigEndian.Uint32(b[4:]))
}

func one(p *packet.Packet) *packet.List {
	l := new(packet.List)
	l.Push(p)
	return l
}

// send puts packets on the wire as a host does.
func send(a *link.Adapter, l *packet.List, g *link.Group) {
	a.Enqueue(l)
	w := link.NewWork(g)
	a.Flush(w)
	w.Run()
}

// receiver is a protocol made of a function.
type receiver struct {
	f func(a *link.Adapter, l *packet.List, w *link.Work)
}

func (r *receiver) Receive(a *link.Adapter, l *packet.List, w *link.Work) { r.f(a, l, w) }

// ordered is a protocol that checks that each sender's packets come in order.
type ordered struct {
	t    *testing.T
	mu   sync.Mutex
	next map[int]int
	n    int
	gaps bool // packets may be missing
}

func (o *ordered) Receive(_ *link.Adapter, l *packet.List, _ *link.Work) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for p := l.First(); p != nil; p = p.Next() {
		sender, seq := numbers(p)
		if seq < o.next[sender] || seq > o.next[sender] && !o.gaps {
			o.t.Errorf("sender %d: number %d instead of %d", sender, seq, o.next[sender])
		}
		o.next[sender] = seq + 1
		o.n++
	}
	l.Free()
}

func newOrdered(t *testing.T) *ordered { return &ordered{t: t, next: make(map[int]int)} }

func dropped(a *link.Adapter, r packet.Reason) uint64 {
	var c packet.Counters
	a.Drops(&c)
	return c[r]
}

// A path writes down where packets have been.
type path struct {
	mu    sync.Mutex
	steps []string
}

func (p *path) note(s string) {
	p.mu.Lock()
	p.steps = append(p.steps, s)
	p.mu.Unlock()
}

func (p *path) take() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := strings.Join(p.steps, " ")
	p.steps = nil
	return s
}

// A station is a filter or tap that lets everything pass and writes it down.
type station struct {
	name string
	path *path
	at   *link.FilterModule
	err  error // of Attach
	gone atomic.Int32
}

func (s *station) Attach(at *link.FilterModule) error { s.at = at; return s.err }
func (s *station) Detach()                            { s.gone.Add(1) }
func (s *station) Receive(l *packet.List, w *link.Work) {
	s.path.note(s.name + "<")
	s.at.Indicate(l, w)
}
func (s *station) Send(l *packet.List, w *link.Work) {
	s.path.note(s.name + ">")
	s.at.Send(l, w)
}
func (s *station) Tap(_ *link.Adapter, dir link.Direction, p *packet.Packet) {
	s.path.note(s.name + map[link.Direction]string{link.In: "<", link.Out: ">"}[dir])
}

// Packets pass protocols, filters, taps and driver in this order, and the
// other way up.
func TestOrderOfStations(t *testing.T) {
	balanced(t)
	var path path
	d := new(device)
	d.caps.MTU = 1500
	a := open(t, d)
	up := &receiver{func(_ *link.Adapter, l *packet.List, _ *link.Work) { path.note("protocol"); l.Free() }}
	a.Bind(up)
	add := func(name string) *link.FilterModule {
		s := &station{name: name, path: &path}
		m, err := a.Attach(s)
		if err != nil || m != s.at || m.Adapter() != a {
			t.Fatal("attach", err)
		}
		return m
	}
	expect := func(down, up string) {
		t.Helper()
		send(a, one(frame(60)), nil)
		if got := path.take(); got != down {
			t.Errorf("down: %s, want %s", got, down)
		}
		a.Indicate(&d.sent, nil)
		if got := path.take(); got != up {
			t.Errorf("up: %s, want %s", got, up)
		}
	}
	tap := &station{name: "tap", path: &path}
	expect("", "protocol")
	a.AddTap(tap)
	expect("tap>", "tap< protocol")
	low := add("low")
	mid := add("mid")
	top := add("top")
	expect("top> mid> low> tap>", "tap< low< mid< top< protocol")
	a.Detach(mid)
	expect("top> low> tap>", "tap< low< top< protocol")
	a.Detach(low)
	expect("top> tap>", "tap< top< protocol")
	next := add("next")
	expect("next> top> tap>", "tap< top< next< protocol")
	a.Detach(next)
	a.Detach(top)
	a.Detach(top) // is not there any more
	second := &station{name: "tap2", path: &path}
	a.AddTap(second)
	expect("tap> tap2>", "tap< tap2< protocol")
	a.RemoveTap(tap)
	expect("tap2>", "tap2< protocol")
	a.RemoveTap(second)
	a.RemoveTap(second)
	expect("", "protocol")

	// A module that has been taken out still reaches the neighbours it had.
	mid.Send(one(frame(60)), nil)
	if got := path.take(); got != "low>" {
		t.Errorf("detached, down: %s", got)
	}
	mid.Indicate(&d.sent, nil)
	if got := path.take(); got != "top< protocol" {
		t.Errorf("detached, up: %s", got)
	}
}

// Close takes the filters out, each once, after the driver has ended.
func TestCloseDetaches(t *testing.T) {
	balanced(t)
	var path path
	d := new(device)
	a := open(t, d)
	var all []*station
	for range 3 {
		s := &station{path: &path}
		all = append(all, s)
		if _, err := a.Attach(s); err != nil {
			t.Fatal(err)
		}
	}
	a.Close()
	for i, s := range all {
		if s.gone.Load() != 1 {
			t.Errorf("filter %d detached %d times", i, s.gone.Load())
		}
	}
	if d.closed != 1 || a.Up() {
		t.Errorf("driver closed %d times, up %v", d.closed, a.Up())
	}
}

func TestErrors(t *testing.T) {
	balanced(t)
	broken := errors.New("broken")
	a := link.NewAdapter("eth9", 9, &device{err: broken})
	if err := a.Open(); !errors.Is(err, broken) || !strings.Contains(err.Error(), "eth9") || a.Up() {
		t.Errorf("Open: %v, up %v", err, a.Up())
	}
	var path path
	d := &device{caps: link.Capabilities{MTU: 1500}}
	b := open(t, d)
	if m, err := b.Attach(&station{path: &path, name: "x", err: broken}); !errors.Is(err, broken) || m != nil {
		t.Errorf("Attach: %v %v", m, err)
	}
	send(b, one(frame(60)), nil)
	if got := path.take(); got != "" {
		t.Errorf("a filter that refused has seen %s", got)
	}
	if b.Name() != "eth0" || b.Index() != 7 || b.MTU() != 1500 || !b.MAC().IsZero() || !b.Up() {
		t.Errorf("%s %d %d", b.Name(), b.Index(), b.MTU())
	}
}

// Filters and taps come and go while packets pass: none is lost, and none
// overtakes another.
func TestAttachInTraffic(t *testing.T) {
	balanced(t)
	a, b := joined(t, cable.Config{})
	got := newOrdered(t)
	b.Bind(got)
	var g link.Group
	var senders, changers sync.WaitGroup
	var stop atomic.Bool
	const n = 4000
	sent := 0
	senders.Go(func() {
		for seq := 0; seq < n; {
			l := new(packet.List)
			for range 1 + seq%5 {
				l.Push(numbered(0, seq))
				seq++
				sent++
			}
			send(a, l, &g)
			runtime.Gosched()
		}
	})
	for _, end := range []*link.Adapter{a, b} {
		changers.Go(func() {
			for i := 0; !stop.Load(); i++ {
				var path path
				x, y := &station{name: "x", path: &path}, &station{name: "y", path: &path}
				mx, _ := end.Attach(x)
				end.AddTap(x)
				runtime.Gosched()
				my, _ := end.Attach(y)
				runtime.Gosched()
				if i%2 == 0 {
					mx, my = my, mx
				}
				end.Detach(mx)
				end.RemoveTap(x)
				runtime.Gosched()
				end.Detach(my)
				if x.gone.Load() != 1 || y.gone.Load() != 1 {
					t.Errorf("detached %d and %d times", x.gone.Load(), y.gone.Load())
				}
			}
		})
	}
	senders.Wait()
	stop.Store(true)
	changers.Wait()
	g.Wait()
	if got.n != sent {
		t.Errorf("%d of %d came", got.n, sent)
	}
	if s := a.Stats(); s.TxPackets != uint64(sent) || s.Dropped != 0 {
		t.Errorf("%+v", s)
	}
}

// Every protocol bound gets the packet; all but one a copy.
func TestBind(t *testing.T) {
	balanced(t)
	d := new(device)
	a := open(t, d)
	var heard []string
	var seen []*packet.Packet
	hear := func(name string) *receiver {
		return &receiver{func(from *link.Adapter, l *packet.List, _ *link.Work) {
			for p := l.Pop(); p != nil; p = l.Pop() {
				_, seq := numbers(p)
				heard = append(heard, fmt.Sprint(name, seq, "@", p.Ingress))
				if from != a {
					t.Error("from another adapter")
				}
				p.Head()[wire.EthernetLen+7]++ // must not be seen by the others
				seen = append(seen, p)
				packet.Free(p)
			}
		}}
	}
	x, y, z := hear("x"), hear("y"), hear("z")
	expect := func(want ...string) {
		t.Helper()
		l := one(numbered(0, 1))
		l.Push(numbered(0, 2))
		heard, seen = nil, nil
		a.Indicate(l, nil)
		if !slices.Equal(heard, want) {
			t.Errorf("heard %v, want %v", heard, want)
		}
	}
	expect()
	if n := dropped(a, packet.ReasonAdapterClosed); n != 2 {
		t.Errorf("%d dropped, for nobody was bound", n)
	}
	a.Bind(x)
	expect("x1@7", "x2@7")
	a.Bind(y)
	a.Bind(z)
	expect("x1@7", "x2@7", "y1@7", "y2@7", "z1@7", "z2@7")
	a.Unbind(y)
	a.Unbind(y)
	expect("x1@7", "x2@7", "z1@7", "z2@7")
	a.Unbind(x)
	expect("z1@7", "z2@7")
	a.Unbind(z)
	expect()
	if s := a.Stats(); s.RxPackets != 12 || s.RxBytes != 12*74 || s.Dropped != 4 {
		t.Errorf("%+v", s)
	}
}

// The order of Enqueue is the order on the wire, however many flush.
func TestOutQueueOrder(t *testing.T) {
	balanced(t)
	d := &device{caps: link.Capabilities{MTU: 1500}}
	a := open(t, d)
	var wg sync.WaitGroup
	var lane sync.Mutex
	seq := 0
	for range 4 {
		wg.Go(func() {
			for range 500 {
				lane.Lock()
				a.Enqueue(one(numbered(0, seq)))
				seq++
				lane.Unlock()
				w := link.NewWork(nil)
				a.Flush(w)
				w.Run()
			}
		})
	}
	wg.Wait()
	i := 0
	for p := d.sent.First(); p != nil; p = p.Next() {
		if _, seq := numbers(p); seq != i {
			t.Fatalf("number %d in the place of %d", seq, i)
		}
		i++
	}
	if i != seq || d.sends > i {
		t.Errorf("%d of %d sent in %d batches", i, seq, d.sends)
	}
	w := link.NewWork(nil)
	sends := d.sends
	a.Flush(w)
	if w.Run(); d.sends != sends {
		t.Error("an empty batch for the driver")
	}
}

var src, dst = netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")

// segment makes a TCP packet with total payload bytes; a size marks it as a
// super-segment.
func segment(total, size int, partial bool) *packet.Packet {
	p := packet.Get()
	p.AppendBytes(make([]byte, total))
	p.Data = p.Start()
	wire.PutTCP(p.Push(wire.TCPLen), &wire.TCPFields{SrcPort: 1, DstPort: 2, Flags: wire.TCPAck}, 0)
	p.Transport = p.Start()
	n := wire.TCPLen + total
	sum := wire.PseudoSum(src, dst, wire.ProtoTCP, n)
	p.Checksum, p.CsumOffset = packet.ChecksumPartial, 16
	wire.TCP(p.From(p.Transport)).SetChecksum(wire.Fold(sum))
	p.Proto, p.Src, p.Dst = wire.ProtoTCP, src, dst
	if !partial {
		packet.Complete(p)
	}
	wire.PutIPv4(p.Push(wire.IPv4Len), &wire.IPv4Fields{TotalLen: wire.IPv4Len + n, TTL: 64, Proto: wire.ProtoTCP, Src: src, Dst: dst})
	p.Net = p.Start()
	wire.PutEthernet(p.Push(wire.EthernetLen), wire.MAC{}, wire.MAC{}, wire.EtherTypeIPv4)
	p.Link = p.Start()
	if size > 0 {
		p.GSO = packet.GSO{Type: packet.GSOTCP4, Size: uint16(size)}
	}
	return p
}

// A driver gets what it can carry, and nothing else.
func TestFit(t *testing.T) {
	plain := link.Capabilities{MTU: 1500}
	sums := link.Capabilities{MTU: 1500, TxChecksum: true}
	whole := link.Capabilities{MTU: 1500, TxChecksum: true, GSOMax: packet.SizeMax}
	small := link.Capabilities{MTU: 1500, TxChecksum: true, GSOMax: 10000}
	for _, test := range []struct {
		name string
		caps link.Capabilities
		p    func() *packet.Packet
		want string // what the driver gets: payload lengths, * partial, G super
		drop packet.Reason
	}{
		{"fits", plain, func() *packet.Packet { return segment(1460, 0, false) }, "1460", 0},
		{"completed", plain, func() *packet.Packet { return segment(1460, 0, true) }, "1460", 0},
		{"partial", sums, func() *packet.Packet { return segment(1460, 0, true) }, "1460*", 0},
		{"too big", plain, func() *packet.Packet { return segment(1461, 0, false) }, "", packet.ReasonFrameTooBig},
		{"too big, whole", whole, func() *packet.Packet { return segment(1461, 0, true) }, "", packet.ReasonFrameTooBig},
		{"cut", plain, func() *packet.Packet { return segment(3000, 1460, true) }, "1460 1460 80", 0},
		{"cut, partial", sums, func() *packet.Packet { return segment(3000, 1460, true) }, "1460* 1460* 80*", 0},
		{"cut, was complete", plain, func() *packet.Packet { return segment(3000, 1460, false) }, "1460 1460 80", 0},
		{"whole", whole, func() *packet.Packet { return segment(60000, 1460, true) }, "60000*G", 0},
		{"as large as may be", small, func() *packet.Packet { return segment(9960, 1460, true) }, "9960*G", 0},
		{"larger", small, func() *packet.Packet { return segment(9961, 1460, true) }, "1460* 1460* 1460* 1460* 1460* 1460* 1201*", 0},
		{"segments too big", whole, func() *packet.Packet { return segment(60000, 1461, true) }, "", packet.ReasonFrameTooBig},
		{"segments too big, cut", plain, func() *packet.Packet { return segment(3000, 1500, true) }, "", packet.ReasonFrameTooBig},
		{"not to be cut", plain, func() *packet.Packet { p := segment(3000, 1460, true); p.Proto = 99; return p }, "", packet.ReasonSegmentFailed},
	} {
		t.Run(test.name, func(t *testing.T) {
			balanced(t)
			d := &device{caps: test.caps}
			a := open(t, d)
			l := one(frame(60)) // others are not touched
			l.Push(test.p())
			l.Push(frame(61))
			taps := 0
			tap := tapFunc{func(dir link.Direction, p *packet.Packet) { taps++ }}
			a.AddTap(&tap)
			send(a, l, nil)
			var got []string
			bytes := 0
			for p := d.sent.First(); p != nil; p = p.Next() {
				bytes += p.Len()
				if p.Data == 0 {
					got = append(got, "frame")
					continue
				}
				s := fmt.Sprint(p.LenFrom(p.Data))
				if p.Checksum == packet.ChecksumPartial {
					s += "*"
				} else if wire.Fold(p.TransportSum(wire.PseudoSum(src, dst, wire.ProtoTCP, p.LenFrom(p.Transport)))) != 0xffff {
					t.Error("wrong checksum")
				}
				if p.GSO != (packet.GSO{}) {
					s += "G"
				}
				got = append(got, s)
			}
			want := strings.Fields("frame " + test.want + " frame")
			if !slices.Equal(got, want) {
				t.Errorf("driver got %v, want %v", got, want)
			}
			if taps != len(want) {
				t.Errorf("taps saw %d", taps)
			}
			s := a.Stats()
			if s.TxPackets != uint64(len(want)) || s.TxBytes != uint64(bytes) {
				t.Errorf("%+v; %d bytes", s, bytes)
			}
			if test.drop != 0 && dropped(a, test.drop) != s.Dropped || (s.Dropped > 0) != (test.drop != 0) {
				t.Errorf("%d dropped", s.Dropped)
			}
		})
	}
}

type tapFunc struct {
	f func(dir link.Direction, p *packet.Packet)
}

func (f *tapFunc) Tap(_ *link.Adapter, dir link.Direction, p *packet.Packet) { f.f(dir, p) }

// A full queue drops what is too much, keeps its bound and every sender's
// order.
func TestQueueBounded(t *testing.T) {
	balanced(t)
	const limit, senders, each = 300, 6, 3000
	a, b := joined(t, cable.Config{Queue: limit})
	got := newOrdered(t)
	got.gaps = true
	b.Bind(got)
	var g link.Group
	var wg sync.WaitGroup
	for s := range senders {
		wg.Go(func() {
			for seq := 0; seq < each; {
				l := new(packet.List)
				for range 1 + seq%90 {
					l.Push(numbered(s, seq))
					seq++
				}
				send(a, l, &g)
			}
		})
	}
	wg.Wait()
	g.Wait()
	s := a.Stats()
	if uint64(got.n)+dropped(a, packet.ReasonCableQueueFull) != s.TxPackets || got.n == 0 {
		t.Errorf("%d came, %d were dropped, of %d", got.n, s.Dropped, s.TxPackets)
	}
	if r := b.Stats(); r.RxPackets != uint64(got.n) {
		t.Errorf("%+v", r)
	}

	// With nobody to deliver, a batch larger than the queue loses its end.
	w := link.NewWork(nil)
	got.next = make(map[int]int)
	got.gaps, got.n = false, 0
	before := a.Stats().Dropped
	l := new(packet.List)
	for seq := range limit + 50 {
		l.Push(numbered(0, seq))
	}
	a.Enqueue(l)
	a.Flush(w)
	w.Run()
	if n := a.Stats().Dropped - before; n != 50 || got.n != limit {
		t.Errorf("%d dropped, %d came", n, got.n)
	}
}

// A receiver that panics, or whose goroutine exits, gives the runner's role
// back: what it was given is lost, what comes after is delivered.
func TestRunnerGivesBack(t *testing.T) {
	for name, die := range map[string]func(){"panic": func() { panic("receiver") }, "Goexit": runtime.Goexit} {
		t.Run(name, func(t *testing.T) {
			balanced(t)
			a, b := joined(t, cable.Config{})
			var dying atomic.Bool
			n := 0
			b.Bind(&receiver{func(_ *link.Adapter, l *packet.List, _ *link.Work) {
				if dying.Load() {
					packet.Free(l.Pop()) // one was taken
					die()
				}
				n += l.Len()
				l.Free()
			}})
			for range 3 {
				n = 0
				dying.Store(true)
				done := make(chan struct{})
				go func() {
					defer close(done)
					defer func() { recover() }()
					send(a, frames(100), nil) // 64 are given, 36 stay queued
				}()
				<-done
				dying.Store(false)
				send(a, frames(1), nil)
				if n != 37 {
					t.Errorf("%d came afterwards, want 37", n)
				}
			}
			if got := dropped(a, packet.ReasonRunnerLost); got != 3*63 {
				t.Errorf("%d lost, want %d", got, 3*63)
			}
		})
	}
}

// job is a runner made of a function.
type job struct{ f func(w *link.Work) bool }

func (j *job) Abandon() {}

func (j *job) RunWork(w *link.Work) bool { return j.f(w) }

// Runners take turns in the order in which they were added, however many.
func TestWorkOrder(t *testing.T) {
	var got []string
	runner := func(name string, times int) *job {
		return &job{func(w *link.Work) bool {
			got = append(got, name)
			times--
			if name == "a" && times == 2 {
				w.Add(&job{func(*link.Work) bool { got = append(got, "(late)"); return false }})
			}
			return times > 0
		}}
	}
	for range 2 { // the second time with a Work that was used
		got = nil
		w := link.NewWork(nil)
		for i, name := range strings.Split("abcdefghijklmnopqrstuvwxyz", "") {
			w.Add(runner(name, 3-i%3))
		}
		w.Run()
		want := "abcdefghijklmnopqrstuvwxyz(late)abdeghjkmnpqstvwyzadgjmpsvy"
		if s := strings.Join(got, ""); s != want {
			t.Errorf("order %s, want %s", s, want)
		}
	}
}

// After 16 deliveries the caller goes on with its own life; the rest runs on
// one goroutine, for which Wait waits.
func TestWorkMovesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g link.Group
		gate := make(chan struct{})
		var ran atomic.Int32
		var outside atomic.Int32
		returned := false
		w := link.NewWork(&g)
		for range 2 {
			w.Add(&job{func(*link.Work) bool {
				if ran.Add(1) > 16 {
					outside.Add(1)
					<-gate // would hold the caller up for ever
				}
				return ran.Load() < 50
			}})
		}
		w.Run()
		returned = true
		synctest.Wait()
		if !returned || outside.Load() != 1 {
			t.Fatalf("%d run beside the caller", outside.Load())
		}
		waited := false
		go func() {
			g.Wait()
			waited = true
		}()
		synctest.Wait()
		if waited {
			t.Fatal("Wait has not waited")
		}
		close(gate)
		synctest.Wait()
		if !waited || ran.Load() < 50 {
			t.Errorf("waited %v, %d runs", waited, ran.Load())
		}
		// A group that was waited for starts nothing: the caller does it all.
		n := 0
		w = link.NewWork(&g)
		w.Add(&job{func(*link.Work) bool { n++; return n < 40 }})
		w.Run()
		if n != 40 {
			t.Errorf("%d runs", n)
		}
		g.Wait()
		new(link.Group).Wait()
	})
}

// depth counts the frames of Receive on the caller's stack.
func depth() (n int) {
	pc := make([]uintptr, 200)
	frames := runtime.CallersFrames(pc[:runtime.Callers(1, pc)])
	for {
		f, more := frames.Next()
		if strings.HasSuffix(f.Function, ".Receive") {
			n++
		}
		if !more {
			return n
		}
	}
}

// A router passes everything from one adapter on to another, and takes one off
// each packet's life.
type router struct {
	out  *link.Adapter
	deep atomic.Int32
	ends atomic.Int64
}

func (r *router) Receive(_ *link.Adapter, l *packet.List, w *link.Work) {
	if d := int32(depth()); d > r.deep.Load() {
		r.deep.Store(d)
	}
	out := new(packet.List)
	for p := l.Pop(); p != nil; p = l.Pop() {
		b := p.Head()[wire.EthernetLen+8:]
		if r.out == nil || b[0] == 0 {
			r.ends.Add(1)
			packet.Free(p)
			continue
		}
		b[0]--
		out.Push(p)
	}
	if r.out != nil && !out.Empty() {
		r.out.Enqueue(out)
		r.out.Flush(w)
	}
}

// However long a chain of routers is, no delivery happens inside another.
func TestNeverNests(t *testing.T) {
	balanced(t)
	const hops = 50
	first, next := joined(t, cable.Config{})
	var all []*router
	for range hops {
		r := new(router)
		next.Bind(r)
		all = append(all, r)
		r.out, next = joined(t, cable.Config{})
	}
	last := new(router)
	next.Bind(last)
	var g link.Group
	p := numbered(0, 0)
	p.Head()[wire.EthernetLen+8] = hops
	send(first, one(p), &g)
	g.Wait()
	if last.ends.Load() != 1 {
		t.Fatalf("%d arrived", last.ends.Load())
	}
	for i, r := range append(all, last) {
		if r.deep.Load() != 1 {
			t.Errorf("hop %d: %d deliveries nested", i, r.deep.Load())
		}
	}
}

// Three hosts in a ring, all forwarding, flooded from all sides: nothing waits
// for itself, queues stay bounded, every packet comes to an end.
func TestRing(t *testing.T) {
	balanced(t)
	const n = 3
	var routers [n]*router
	var right, left [n]*link.Adapter // host i sends right to left of host i+1
	for i := range n {
		right[i], left[(i+1)%n] = joined(t, cable.Config{Queue: 600})
	}
	for i := range n {
		routers[i] = &router{out: right[i]}
		left[i].Bind(routers[i])
	}
	var g link.Group
	var wg sync.WaitGroup
	var made atomic.Int64
	for s := range 2 * n {
		wg.Go(func() {
			for seq := range 60 {
				l := new(packet.List)
				for range 40 {
					p := numbered(s, seq)
					p.Head()[wire.EthernetLen+8] = 10
					l.Push(p)
					made.Add(1)
				}
				send(right[s%n], l, &g)
			}
		})
	}
	wg.Wait()
	g.Wait()
	var ends, lost int64
	for i := range n {
		ends += routers[i].ends.Load()
		lost += int64(right[i].Stats().Dropped)
		if d := routers[i].deep.Load(); d != 1 {
			t.Errorf("host %d: %d deliveries nested", i, d)
		}
	}
	if ends+lost != made.Load() || ends == 0 {
		t.Errorf("%d arrived and %d were lost of %d", ends, lost, made.Load())
	}
}

// On a loop the receiver answers on the adapter it has received from.
func TestLoop(t *testing.T) {
	balanced(t)
	a := open(t, loop.New())
	left := 100
	deep := 0
	a.Bind(&receiver{f: func(a *link.Adapter, l *packet.List, w *link.Work) {
		deep = max(deep, depth())
		if left--; left == 0 {
			l.Free()
			return
		}
		a.Enqueue(l)
		a.Flush(w)
	}})
	send(a, one(segment(100, 0, true)), nil)
	if left != 0 || deep > 1 {
		t.Errorf("%d rounds left, %d deep", left, deep)
	}
}

// Closing while others send, receive and change filters.
func TestCloseInTraffic(t *testing.T) {
	balanced(t)
	for range 20 {
		a, b := joined(t, cable.Config{})
		got := newOrdered(t)
		got.gaps = true
		b.Bind(got)
		var g link.Group
		var wg sync.WaitGroup
		for s := range 3 {
			wg.Go(func() {
				for seq := range 50 {
					send(a, one(numbered(s, seq)), &g)
				}
			})
		}
		wg.Go(func() {
			for range 5 {
				m, err := b.Attach(&station{path: new(path)})
				if err != nil {
					t.Error(err)
				}
				runtime.Gosched()
				b.Detach(m)
			}
		})
		wg.Go(func() { runtime.Gosched(); b.Close() })
		wg.Go(func() { runtime.Gosched(); a.Close() })
		wg.Wait()
		g.Wait()
	}
}

// Sending costs no allocation, whole or through a filter.
func TestAllocs(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector makes sync.Pool forget at random")
	}
	pa, pb := cable.New(cable.Config{})
	a, b := open(t, pa), open(t, pb)
	b.Bind(&receiver{func(_ *link.Adapter, l *packet.List, _ *link.Work) { l.Free() }})
	var g link.Group
	l := new(packet.List)
	f := func() {
		for range 100 {
			p := packet.Get()
			p.Append(60)
			p.Net = p.Start()
			l.Push(p)
		}
		send(a, l, &g)
	}
	f()
	if n := testing.AllocsPerRun(100, f); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func benchmarkCable(b *testing.B, batch int) {
	b.ReportAllocs()
	pa, pb := cable.New(cable.Config{})
	from, to := link.NewAdapter("a", 1, pa), link.NewAdapter("b", 2, pb)
	for _, a := range []*link.Adapter{from, to} {
		if err := a.Open(); err != nil {
			b.Fatal(err)
		}
		defer a.Close()
	}
	to.Bind(&receiver{func(_ *link.Adapter, l *packet.List, _ *link.Work) { l.Free() }})
	l := new(packet.List)
	for b.Loop() {
		for range batch {
			p := packet.Get()
			p.Append(60)
			p.Net = p.Start()
			l.Push(p)
		}
		send(from, l, nil)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*batch), "ns/packet")
}

func BenchmarkCable1(b *testing.B)  { benchmarkCable(b, 1) }
func BenchmarkCable64(b *testing.B) { benchmarkCable(b, 64) }

// When a receiver panics, the other deliveries of the same Work find a runner
// too.
func TestOtherQueuesAfterPanic(t *testing.T) {
	a1, b1 := joined(t, cable.Config{})
	a2, b2 := joined(t, cable.Config{})
	b1.Bind(&receiver{func(*link.Adapter, *packet.List, *link.Work) { panic("receiver") }})
	s := new(sink)
	b2.Bind(s)
	func() {
		defer func() { recover() }()
		w := link.NewWork(nil)
		a1.Enqueue(frames(1))
		a2.Enqueue(frames(1))
		a1.Flush(w)
		a2.Flush(w)
		w.Run()
	}()
	for range 50 {
		send(a2, frames(1), nil)
	}
	if s.n != 51 {
		t.Errorf("%d of 51 came", s.n)
	}
}

// Taking a filter out twice takes it out once.
func TestDetachTwice(t *testing.T) {
	var path path
	d := &device{caps: link.Capabilities{MTU: 1500}}
	a := open(t, d)
	var all []*station
	var mods []*link.FilterModule
	for _, name := range []string{"low", "mid", "top"} {
		s := &station{name: name, path: &path}
		m, _ := a.Attach(s)
		all, mods = append(all, s), append(mods, m)
	}
	a.Detach(mods[1])
	a.Detach(mods[0])
	a.Detach(mods[1])
	if n := all[1].gone.Load(); n != 1 {
		t.Errorf("told %d times", n)
	}
	send(a, one(frame(60)), nil)
	if got := path.take(); got != "top>" {
		t.Errorf("passes %s", got)
	}
}

// Without Net a packet has no known link header; it is too big all the same.
func TestTooBigWithoutNet(t *testing.T) {
	d := &device{caps: link.Capabilities{MTU: 1500}}
	a := open(t, d)
	p := frame(9000)
	p.Net = 0
	send(a, one(p), nil)
	if d.sent.Len() != 0 {
		t.Errorf("a frame of %d bytes passed MTU 1500", d.sent.First().Len())
	}
}

// bouncer answers on its way down.
type bouncer struct{ at *link.FilterModule }

func (b *bouncer) Attach(at *link.FilterModule) error   { b.at = at; return nil }
func (b *bouncer) Detach()                              {}
func (b *bouncer) Receive(l *packet.List, w *link.Work) { b.at.Indicate(l, w) }
func (b *bouncer) Send(l *packet.List, w *link.Work)    { b.at.Indicate(l, w) }

func TestIndicateFromSend(t *testing.T) {
	d := &device{caps: link.Capabilities{MTU: 1500}}
	a := open(t, d)
	n := 0
	a.Bind(&receiver{func(a *link.Adapter, l *packet.List, w *link.Work) {
		if n++; n > 3 {
			l.Free()
			return
		}
		a.Enqueue(l)
		w.Flush(a)
	}})
	a.Attach(&bouncer{})
	done := make(chan bool)
	go func() { send(a, one(frame(60)), nil); close(done) }()
	select {
	case <-done:
	case <-time.After(2 * time.Second):
		panic("deadlock: a filter that indicates from Send")
	}
}

// An empty batch does not reach the driver.
func TestNoEmptyBatch(t *testing.T) {
	d := &device{caps: link.Capabilities{MTU: 1500}}
	a := open(t, d)
	send(a, one(frame(9000)), nil)
	if d.sends != 0 {
		t.Errorf("%d batches of nothing", d.sends)
	}
}
