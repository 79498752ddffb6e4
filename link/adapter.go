package link

import (
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/towpath/towpath/packet"
	"github.com/towpath/towpath/wire"
)

// outLimit bounds an adapter's out queue, in packets (Linux: txqueuelen). It is
// far above what one lane hold can put there.
const outLimit = 16384

// An Adapter is a network interface of a host (Linux: net_device; NDIS:
// miniport adapter with its stack of filter modules and bindings).
type Adapter struct {
	name  string
	index int32
	caps  Capabilities
	port  Miniport

	up        atomic.Bool
	protocols atomic.Pointer[[]Protocol]
	taps      atomic.Pointer[[]Tap]
	dropTap   atomic.Pointer[DropTap]
	top       atomic.Pointer[FilterModule] // next to the protocols
	bottom    atomic.Pointer[FilterModule] // next to the driver

	conf sync.Mutex // serializes changes of the above

	flushMu  sync.Mutex  // one flush at a time: keeps the order of the out queue
	txMu     sync.Mutex  // one Send at a time, once there are filters
	filtered bool        // guarded by flushMu: filters have been here, use txMu
	flushing packet.List // guarded by flushMu: the batch on its way down

	mu  sync.Mutex  // leaf
	out packet.List // guarded by mu

	rxPackets, rxBytes atomic.Uint64
	txPackets, txBytes atomic.Uint64
	drops              dropCounters
}

// Stats counts what passed an adapter (Linux: rtnl_link_stats64). Bytes include
// the link header; a super-segment counts as one packet.
type Stats struct {
	RxPackets, RxBytes uint64
	TxPackets, TxBytes uint64
	Dropped            uint64
}

// NewAdapter makes an adapter over a driver. It is down until [Adapter.Open].
func NewAdapter(name string, index int32, m Miniport) *Adapter {
	a := &Adapter{name: name, index: index, port: m, caps: m.Capabilities()}
	a.protocols.Store(&[]Protocol{})
	return a
}

// Name is the adapter's name, such as "eth0".
func (a *Adapter) Name() string { return a.name }

// Index is the adapter's number on its host, from 1.
func (a *Adapter) Index() int32 { return a.index }

// Capabilities is what its driver can do.
func (a *Adapter) Capabilities() *Capabilities { return &a.caps }

// MAC is the station address.
func (a *Adapter) MAC() wire.MAC { return a.caps.MAC }

// MTU is the largest IP packet, in bytes.
func (a *Adapter) MTU() int { return a.caps.MTU }

// Up reports whether packets pass.
func (a *Adapter) Up() bool { return a.up.Load() }

// SetUp lets packets pass, or drops them in both directions.
func (a *Adapter) SetUp(up bool) { a.up.Store(up) }

// Open starts the driver and lets packets pass.
func (a *Adapter) Open() error {
	a.flushMu.Lock() // nothing is sent before the driver has started
	defer a.flushMu.Unlock()
	a.up.Store(true)
	if err := a.port.Start(a); err != nil {
		a.up.Store(false)
		return fmt.Errorf("adapter %s: %w", a.name, err)
	}
	return nil
}

// Close ends the driver, then the filters. After it returns nothing more is
// received, and what is sent is dropped.
func (a *Adapter) Close() error {
	a.up.Store(false)
	err := a.port.Close()
	for m := a.top.Load(); m != nil; m = a.top.Load() {
		a.Detach(m)
	}
	a.mu.Lock()
	l := a.out
	a.out = packet.List{}
	a.mu.Unlock()
	a.Drop(&l, packet.ReasonOutQueueFlushed)
	return err
}

// Stats returns the counters.
func (a *Adapter) Stats() Stats {
	return Stats{
		RxPackets: a.rxPackets.Load(), RxBytes: a.rxBytes.Load(),
		TxPackets: a.txPackets.Load(), TxBytes: a.txBytes.Load(),
		Dropped: a.drops.total(),
	}
}

// Drops adds the adapter's drops by reason to c.
func (a *Adapter) Drops(c *packet.Counters) { a.drops.addTo(c) }

// Drop ends the packets of l, which were going out, counted on this adapter.
func (a *Adapter) Drop(l *packet.List, r packet.Reason) { a.dropAll(l, Out, r) }

// DropIn is Drop for packets that have come in.
func (a *Adapter) DropIn(l *packet.List, r packet.Reason) { a.dropAll(l, In, r) }

func (a *Adapter) dropAll(l *packet.List, dir Direction, r packet.Reason) {
	if l.Empty() {
		return
	}
	if t := a.dropTap.Load(); t != nil {
		for p := l.First(); p != nil; p = p.Next() {
			(*t).TapDrop(a, dir, p, r, "")
		}
	}
	a.drops.add(r, l.Drop(r))
}

// SetDropTap sets the observer of the packets that the adapter, its filters and
// its driver drop; nil for none.
func (a *Adapter) SetDropTap(t DropTap) {
	if t == nil {
		a.dropTap.Store(nil)
		return
	}
	a.dropTap.Store(&t)
}

// Bind adds a protocol. Every protocol but the last bound gets copies.
func (a *Adapter) Bind(p Protocol) {
	a.conf.Lock()
	defer a.conf.Unlock()
	next := append(slices.Clone(*a.protocols.Load()), p)
	a.protocols.Store(&next)
}

// Unbind removes a protocol.
func (a *Adapter) Unbind(p Protocol) {
	a.conf.Lock()
	defer a.conf.Unlock()
	next := slices.DeleteFunc(slices.Clone(*a.protocols.Load()), func(q Protocol) bool { return q == p })
	a.protocols.Store(&next)
}

// AddTap adds an observer of all packets.
func (a *Adapter) AddTap(t Tap) {
	a.conf.Lock()
	defer a.conf.Unlock()
	var next []Tap
	if old := a.taps.Load(); old != nil {
		next = slices.Clone(*old)
	}
	next = append(next, t)
	a.taps.Store(&next)
}

// RemoveTap removes an observer.
func (a *Adapter) RemoveTap(t Tap) {
	a.conf.Lock()
	defer a.conf.Unlock()
	old := a.taps.Load()
	if old == nil {
		return
	}
	next := slices.DeleteFunc(slices.Clone(*old), func(q Tap) bool { return q == t })
	if len(next) == 0 {
		a.taps.Store(nil)
		return
	}
	a.taps.Store(&next)
}

// Indicate takes a batch that the driver has received and passes it up: taps,
// filters, protocols.
func (a *Adapter) Indicate(l *packet.List, w *Work) {
	if a.downIn(l) {
		return
	}
	var n, bytes uint64
	for p := l.First(); p != nil; p = p.Next() {
		p.Ingress = a.index
		n++
		bytes += uint64(p.Len())
	}
	a.rxPackets.Add(n)
	a.rxBytes.Add(bytes)
	if taps := a.taps.Load(); taps != nil {
		a.tap(*taps, In, l)
	}
	if m := a.bottom.Load(); m != nil {
		m.filter.Receive(l, w)
		return
	}
	a.deliver(l, w)
}

// downIn drops what comes in while the adapter is down, and reports whether it
// is.
func (a *Adapter) downIn(l *packet.List) bool {
	if a.up.Load() {
		return false
	}
	a.DropIn(l, packet.ReasonAdapterDownIn)
	return true
}

func (a *Adapter) tap(taps []Tap, dir Direction, l *packet.List) {
	for p := l.First(); p != nil; p = p.Next() {
		for _, t := range taps {
			t.Tap(a, dir, p)
		}
	}
}

// deliver hands a batch to the bound protocols.
func (a *Adapter) deliver(l *packet.List, w *Work) {
	protocols := *a.protocols.Load()
	if len(protocols) == 0 {
		a.DropIn(l, packet.ReasonAdapterClosed)
		return
	}
	last := len(protocols) - 1
	for _, protocol := range protocols[:last] {
		var copies packet.List
		for p := l.First(); p != nil; p = p.Next() {
			copies.Push(p.Clone())
		}
		protocol.Receive(a, &copies, w)
	}
	protocols[last].Receive(a, l, w)
}

// Enqueue takes a batch to be sent. It only queues, and may be called under a
// lane's lock; the order of calls is the order on the wire. The caller calls
// Flush after unlocking.
func (a *Adapter) Enqueue(l *packet.List) {
	a.mu.Lock()
	if a.out.Len() <= outLimit {
		a.out.Append(l)
		a.mu.Unlock()
		return
	}
	a.mu.Unlock()
	a.Drop(l, packet.ReasonOutQueueFull)
}

// Flush sends what is on the out queue. It must be called without any lane's
// lock.
func (a *Adapter) Flush(w *Work) {
	a.flushMu.Lock()
	defer a.flushMu.Unlock()
	l := &a.flushing // not a local: it would escape to the heap
	a.mu.Lock()
	l.Append(&a.out)
	a.mu.Unlock()
	if l.Empty() {
		return
	}
	if m := a.top.Load(); m != nil {
		m.filter.Send(l, w)
		return
	}
	if a.filtered {
		a.txMu.Lock()
		defer a.txMu.Unlock()
	}
	a.transmit(l, w)
}

// transmit fits the packets to the driver and hands them over.
func (a *Adapter) transmit(l *packet.List, w *Work) {
	if !a.up.Load() {
		a.Drop(l, packet.ReasonAdapterDown)
		return
	}
	if a.misfit(l) {
		if a.fit(l); l.Empty() {
			return
		}
	}
	var n, bytes uint64
	for p := l.First(); p != nil; p = p.Next() {
		n++
		bytes += uint64(p.Len())
	}
	a.txPackets.Add(n)
	a.txBytes.Add(bytes)
	if taps := a.taps.Load(); taps != nil {
		a.tap(*taps, Out, l)
	}
	a.port.Send(l, w)
}

// linkLen is the length of the link header, VLAN tags included. A packet that
// does not say where its network header is has a plain one.
func (a *Adapter) linkLen(p *packet.Packet) int {
	switch {
	case p.Net >= p.Start() && p.Net > 0:
		return int(p.Net - p.Start())
	case a.caps.Medium == MediumEthernet:
		return wire.EthernetLen
	}
	return 0
}

// misfit reports whether some packet cannot go to the driver as it is.
func (a *Adapter) misfit(l *packet.List) bool {
	for p := l.First(); p != nil; p = p.Next() {
		size := p.Len() - a.linkLen(p)
		switch {
		case p.GSO.Type != packet.GSONone:
			if size > a.caps.GSOMax || int(p.GSO.Size)+int(p.Data-p.Net) > a.caps.MTU {
				return true
			}
		case size > a.caps.MTU:
			return true
		}
		if p.Checksum == packet.ChecksumPartial && !a.caps.TxChecksum {
			return true
		}
	}
	return false
}

// fit cuts super-segments and completes checksums that the driver cannot
// carry, and drops what is larger than the link. It is the one place where
// that happens.
func (a *Adapter) fit(l *packet.List) {
	var fits packet.List
	for p := l.Pop(); p != nil; p = l.Pop() {
		if p.GSO.Type != packet.GSONone && (p.Len()-a.linkLen(p) > a.caps.GSOMax || !a.caps.TxChecksum) {
			if !packet.Segment(p, &fits) {
				a.drop(p, packet.ReasonSegmentFailed)
			}
			continue
		}
		fits.Push(p)
	}
	for p := fits.Pop(); p != nil; p = fits.Pop() {
		size := p.Len() - a.linkLen(p)
		if p.GSO.Type != packet.GSONone {
			size = int(p.GSO.Size) + int(p.Data-p.Net)
		}
		if size > a.caps.MTU {
			a.drop(p, packet.ReasonFrameTooBig)
			continue
		}
		if p.Checksum == packet.ChecksumPartial && !a.caps.TxChecksum {
			packet.Complete(p)
		}
		l.Push(p)
	}
}

func (a *Adapter) drop(p *packet.Packet, r packet.Reason) {
	if t := a.dropTap.Load(); t != nil {
		(*t).TapDrop(a, Out, p, r, "")
	}
	packet.Drop(p, r)
	a.drops.add(r, 1)
}

// dropCounters counts drops outside of lanes. Its memory is there once
// something has been dropped.
type dropCounters struct {
	mu sync.Mutex // leaf
	c  *packet.Counters
}

func (d *dropCounters) add(r packet.Reason, n int) {
	d.mu.Lock()
	if d.c == nil {
		d.c = new(packet.Counters)
	}
	d.c[r] += uint64(n)
	d.mu.Unlock()
}

func (d *dropCounters) addTo(c *packet.Counters) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.c != nil {
		for r, n := range d.c {
			c[r] += n
		}
	}
}

func (d *dropCounters) total() (n uint64) {
	var c packet.Counters
	d.addTo(&c)
	for _, k := range c {
		n += k
	}
	return n
}
