package netem

import (
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/towpath/towpath/clock"
	"github.com/towpath/towpath/link"
	"github.com/towpath/towpath/packet"
	"github.com/towpath/towpath/wire"
)

const (
	runPackets = 64             // one run delivers, as a link.Queue's does
	longReady  = 4 * runPackets // from here on a sender delivers too
)

// A direction is one way through the filter: a [link.Runner] of what is due.
type direction struct {
	f         *Filter
	dir       link.Direction
	clock     clock.Clock
	group     *link.Group
	memoryMax int

	direct  atomic.Bool   // nothing impaired, held or being delivered
	through atomic.Uint64 // packets passed while direct

	mu     sync.Mutex
	im     Impairment
	active bool // im is not zero
	closed bool
	n      Stats

	// Loss and the other stages.
	loss, bad, good        chance // bad and good: loss in the model's states
	toBad, toGood          chance
	duplicate              chance
	reorder, corrupt       chance
	bit                    rand.PCG // which one to flip
	jitter                 jitter
	inBurst                bool // the model's state
	sinceEvery, sinceReord int  // packets since the last one lost or reordered
	lastAt                 time.Duration

	// Packets on their way.
	cut    packet.List   // what take is cutting
	queue  packet.List   // waits for the rate; the first is being sent
	bytes  int           // in queue
	sentAt time.Duration // when the first of queue has been sent
	rest   uint64        // of the division that made sentAt, in bits·ns/s
	held   held
	ready  packet.List // due
	memory int         // footprints of all of these

	scheduled bool // some Work has ready
	running   bool // a run has let go of mu
	timer     clock.Timer
	armed     time.Duration // when the timer will fire

	runMu sync.Mutex  // held while delivering: one runner at a time
	batch packet.List // guarded by runMu: what is being delivered
}

func (d *direction) init(f *Filter, dir link.Direction, c *Config) {
	d.f, d.dir, d.clock, d.group, d.memoryMax = f, dir, c.Clock, c.Group, c.Memory
	d.armed = clock.Never
	seed := mix(c.Seed + uint64(dir))
	for stage, g := range []*rand.PCG{
		stageLoss: &d.loss.gen, stageToBad: &d.toBad.gen, stageToGood: &d.toGood.gen, stageBad: &d.bad.gen, stageGood: &d.good.gen,
		stageDuplicate: &d.duplicate.gen, stageReorder: &d.reorder.gen, stageCorrupt: &d.corrupt.gen, stageBit: &d.bit, stageJitter: &d.jitter.gen,
	} {
		seedGen(g, seed, stage)
	}
}

// set replaces the impairment.
func (d *direction) set(im *Impairment) {
	d.mu.Lock()
	defer d.mu.Unlock()
	now := d.clock.Now()
	d.advance(now)
	d.im, d.active = *im, !im.IsZero()
	g := im.Gemodel.filled()
	d.loss.set(im.Loss)
	d.toBad.set(g.P)
	d.toGood.set(g.R)
	d.bad.set(g.Bad)
	d.good.set(g.Good)
	d.duplicate.set(im.Duplicate)
	d.corrupt.set(im.Corrupt)
	d.reorder.set(im.Reorder)
	if im.Gap > 0 && im.Reorder == 0 {
		d.reorder.set(1)
	}
	d.jitter.set(im)
	d.inBurst, d.sinceEvery, d.sinceReord, d.jitter.begun = false, 0, 0, false
	d.rerate(now)
	d.advance(now)
	if d.closed {
		return
	}
	d.settle()
	d.arm(now)
}

// rerate gives the packets in the queue the new rate.
func (d *direction) rerate(now time.Duration) {
	switch {
	case d.queue.Empty():
	case d.im.Rate == 0:
		for p := d.queue.Pop(); p != nil; p = d.queue.Pop() {
			d.held.push(p, d.instant(now))
		}
		d.bytes = 0
	default: // what is being sent does not get slower
		old := d.sentAt
		d.rest = 0
		d.transmit(now)
		d.sentAt = min(d.sentAt, old)
	}
}

// settle opens the direct way if there is nothing to be done.
func (d *direction) settle() {
	d.direct.Store(d.closed || !d.active && d.memory == 0 && !d.scheduled && !d.running)
}

// take is the way in.
func (d *direction) take(l *packet.List, w *link.Work) {
	if d.direct.Load() {
		d.through.Add(uint64(l.Len()))
		d.pass(l, w)
		return
	}
	if run, closed := d.admit(l); closed {
		d.pass(l, w)
	} else if run {
		w.Add(d)
	}
}

// admit takes the packets in and reports whether the caller's Work is to run
// us; closed means that it has taken none.
func (d *direction) admit(l *packet.List) (run, closed bool) {
	d.mu.Lock()
	defer d.mu.Unlock() // a predicate may panic
	if d.closed {
		return false, true
	}
	now := d.clock.Now()
	d.advance(now)
	for p := l.Pop(); p != nil; p = l.Pop() {
		d.enter(p, now)
	}
	run = d.schedule()
	d.arm(now)
	return run, false
}

func (d *direction) pass(l *packet.List, w *link.Work) {
	at := d.f.at.Load()
	if d.dir == link.In {
		at.Indicate(l, w)
	} else {
		at.Send(l, w)
	}
}

// enter makes packets of a wire: small ones, with complete checksums.
func (d *direction) enter(p *packet.Packet, now time.Duration) {
	if p.GSO.Type == packet.GSONone {
		packet.Complete(p)
		d.lose(p, now)
		return
	}
	if !packet.Segment(p, &d.cut) {
		d.cut.Free() // what has been cut until then
		d.n.Received++
		d.n.Uncut++
		d.drop(p, packet.ReasonNetemUncut)
		return
	}
	for q := d.cut.Pop(); q != nil; q = d.cut.Pop() {
		packet.Complete(q)
		d.lose(q, now)
	}
}

// lose decides whether the packet is lost.
func (d *direction) lose(p *packet.Packet, now time.Duration) {
	d.n.Received++
	switch {
	case d.im.LossIf != nil && d.im.LossIf(p):
		d.n.LostIf++
		d.drop(p, packet.ReasonNetemLossIf)
	case d.im.LossEvery > 0 && d.isEvery():
		d.n.LostEvery++
		d.drop(p, packet.ReasonNetemLossEvery)
	case d.im.Gemodel.P > 0 && d.isBurst():
		d.n.LostBurst++
		d.drop(p, packet.ReasonNetemLossBurst)
	case d.loss.happens():
		d.n.Lost++
		d.drop(p, packet.ReasonNetemLoss)
	default:
		d.double(p, now)
	}
}

func (d *direction) isEvery() bool {
	d.sinceEvery++
	if d.sinceEvery < d.im.LossEvery {
		return false
	}
	d.sinceEvery = 0
	return true
}

// isBurst takes one step of the Gilbert-Elliott model: the state that the link
// is in decides about this packet, the one it turns to about the next.
func (d *direction) isBurst() bool {
	if d.inBurst {
		d.inBurst = !d.toGood.happens()
		return d.bad.happens()
	}
	d.inBurst = d.toBad.happens()
	return d.good.happens()
}

// double duplicates and corrupts.
func (d *direction) double(p *packet.Packet, now time.Duration) {
	var q *packet.Packet
	if d.duplicate.happens() {
		q = p.Clone()
		q.Trace = nil // a trace has one packet
		d.n.Duplicated++
	}
	for ; p != nil; p, q = q, nil {
		if d.corrupt.happens() {
			d.flip(p)
		}
		d.queueUp(p, now)
	}
}

// flip flips one bit behind the link header, in bytes of the packet's own.
func (d *direction) flip(p *packet.Packet) {
	begin := linkLen(p, d.f.at.Load().Adapter().Capabilities().Medium)
	n := p.Len() - begin
	x := d.bit.Uint64()
	if n <= 0 {
		return
	}
	d.n.Corrupted++
	at, mask := begin+int(x>>32%uint64(n)), byte(1)<<(x&7)
	p.Checksum = packet.ChecksumNone // whoever verified it saw other bytes
	p.Trace.Note("netem", "bit flipped")
	if at < p.HeadLen() {
		p.Head()[at] ^= mask
		return
	}
	p.MakePrivate()
	at -= p.HeadLen()
	for _, f := range p.Frags() {
		b := f.Bytes()
		if at < len(b) {
			b[at] ^= mask
			return
		}
		at -= len(b)
	}
}

// linkLen is the length of the link header, VLAN tags included.
func linkLen(p *packet.Packet, m link.Medium) int {
	switch {
	case p.Net >= p.Start() && p.Net > 0:
		return int(p.Net - p.Start())
	case m != link.MediumEthernet || p.HeadLen() < wire.EthernetLen:
		return 0
	}
	h := p.Head()
	n := wire.EthernetLen
	for t := wire.Ethernet(h).Type(); t.IsVLAN() && len(h) >= n+wire.VLANLen; n += wire.VLANLen {
		t = wire.VLAN(h[n:]).Type()
	}
	return n
}

// queueUp puts the packet into the queue, or without a rate among those held.
func (d *direction) queueUp(p *packet.Packet, now time.Duration) {
	if d.memory+p.Footprint() > d.memoryMax {
		d.n.Memory++
		d.drop(p, packet.ReasonNetemMemory)
		return
	}
	at := now
	if d.im.Rate == 0 {
		at = d.instant(now)
	}
	if d.full(p, at > now) {
		d.n.Limit++
		d.drop(p, packet.ReasonNetemLimit)
		return
	}
	d.memory += p.Footprint()
	switch {
	case d.im.Rate != 0:
		d.queue.Push(p)
		d.bytes += p.Len()
		if d.queue.Len() == 1 {
			d.transmit(now)
		}
	case at > now:
		d.held.push(p, at)
	default: // nothing held is due, so it overtakes nobody
		d.ready.Push(p)
	}
}

// full reports whether the limit keeps the packet out.
func (d *direction) full(p *packet.Packet, later bool) bool {
	limit, n, bytes := d.im.Limit, d.held.len(), d.held.bytes
	switch {
	case d.im.Rate != 0:
		n, bytes = d.queue.Len(), d.bytes
		if limit == 0 {
			limit = limitDefault
		}
	case !later:
		return false
	}
	return limit > 0 && n >= limit || d.im.LimitBytes > 0 && bytes+p.Len() > d.im.LimitBytes
}

// transmit begins to send the first packet of the queue at an instant.
func (d *direction) transmit(at time.Duration) {
	bits := uint64(max(d.queue.First().Len()+d.im.Overhead, 0)) * 8
	// The rest is carried on to the next packet, so that no rounding adds up.
	x := bits*uint64(time.Second) + d.rest
	d.rest = x % uint64(d.im.Rate)
	d.sentAt = at + time.Duration(x/uint64(d.im.Rate))
}

// instant is when a packet that enters the delay at some instant leaves it.
func (d *direction) instant(at time.Duration) time.Duration {
	if d.reorder.bar != 0 && d.sinceReord >= d.im.Gap-1 && d.reorder.happens() {
		d.sinceReord = 0
		d.n.Reordered++
		return at
	}
	d.sinceReord++
	at += max(d.im.Delay+d.jitter.draw(), 0)
	if d.im.Ordered {
		at = max(at, d.lastAt)
		d.lastAt = at
	}
	return at
}

// advance moves what is due: from the queue to those held, from there to ready,
// each at its own instant, however late we are.
func (d *direction) advance(now time.Duration) {
	for {
		sent := clock.Never
		if !d.queue.Empty() {
			sent = d.sentAt
		}
		next := d.held.next()
		switch {
		case min(sent, next) > now:
			return
		case next <= sent:
			d.ready.Push(d.held.pop())
		default:
			p := d.queue.Pop()
			d.bytes -= p.Len()
			d.held.push(p, d.instant(sent))
			if d.queue.Empty() {
				d.rest = 0
			} else {
				d.transmit(sent)
			}
		}
	}
}

// schedule reports whether the caller's Work is to run us.
func (d *direction) schedule() (run bool) {
	if d.ready.Empty() {
		return false
	}
	run = !d.scheduled || d.ready.Len() > longReady
	d.scheduled = true
	return run
}

// arm sets the timer for what is next, unless it fires earlier.
func (d *direction) arm(now time.Duration) {
	next := d.held.next()
	if !d.queue.Empty() {
		next = min(next, d.sentAt)
	}
	if !d.ready.Empty() && !d.scheduled {
		next = now
	}
	if next >= d.armed {
		return
	}
	d.armed = next
	if d.timer == nil {
		d.timer = d.clock.AfterFunc(next-now, d.fire)
		return
	}
	d.timer.Reset(next - now)
}

// fire is the clock's call.
func (d *direction) fire() {
	d.mu.Lock()
	d.armed = clock.Never
	if d.closed {
		d.mu.Unlock()
		return
	}
	now := d.clock.Now()
	d.advance(now)
	run := d.schedule()
	d.arm(now)
	d.mu.Unlock()
	if run {
		w := link.NewWork(d.group)
		w.Add(d)
		w.Run()
	}
}

// RunWork implements [link.Runner]: it hands on up to 64 packets.
func (d *direction) RunWork(w *link.Work) (more bool) {
	d.runMu.Lock()
	defer d.runMu.Unlock()
	l := &d.batch
	d.mu.Lock()
	d.ready.Take(l, runPackets)
	more = !d.ready.Empty()
	d.scheduled = more
	for p := l.First(); p != nil; p = p.Next() {
		d.memory -= p.Footprint()
	}
	d.n.Passed += uint64(l.Len())
	d.running = true
	d.mu.Unlock()
	returned := false
	defer func() {
		if !returned {
			d.f.at.Load().Drop(d.dir, l, packet.ReasonNetemRunner)
			d.Abandon()
		}
		d.mu.Lock()
		d.running = false
		d.settle()
		d.mu.Unlock()
	}()
	d.deliver(l, w)
	returned = true
	return more
}

// deliver is pass for packets that come later than they came.
func (d *direction) deliver(l *packet.List, w *link.Work) {
	at := d.f.at.Load()
	switch {
	case l.Empty():
	case d.dir == link.In && !at.Adapter().Up():
		at.Drop(d.dir, l, packet.ReasonNetemDownIn) // below us the adapter looks itself
	default:
		d.pass(l, w)
	}
}

// Abandon implements [link.Runner]: the timer takes over.
func (d *direction) Abandon() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.scheduled = false; !d.closed {
		d.arm(d.clock.Now())
	}
}

func (d *direction) drop(p *packet.Packet, r packet.Reason) {
	var l packet.List
	l.Push(p)
	d.f.at.Load().Drop(d.dir, &l, r)
}

// close drops what is held and lets everything pass from now on.
func (d *direction) close() {
	d.mu.Lock()
	d.closed = true
	if d.timer != nil {
		d.timer.Stop()
	}
	l := d.ready
	d.ready = packet.List{}
	for d.held.len() > 0 {
		l.Push(d.held.pop())
	}
	l.Append(&d.queue)
	d.held.h, d.bytes, d.memory = nil, 0, 0
	d.n.Detached += uint64(l.Len())
	d.settle()
	d.mu.Unlock()
	d.f.at.Load().Drop(d.dir, &l, packet.ReasonNetemDetached)
	d.runMu.Lock()
	//lint:ignore SA2001 waits for the delivery that may be going on
	d.runMu.Unlock()
}

func (d *direction) stats() Stats {
	d.mu.Lock()
	defer d.mu.Unlock()
	s := d.n
	through := d.through.Load()
	s.Received += through
	s.Passed += through
	s.Held = uint64(d.queue.Len() + d.held.len() + d.ready.Len())
	bytes := d.bytes + d.held.bytes
	for p := d.ready.First(); p != nil; p = p.Next() {
		bytes += p.Len()
	}
	s.HeldBytes = uint64(bytes)
	return s
}
