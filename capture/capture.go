package capture

import (
	"sync"
	"time"

	"github.com/towpath/towpath/clock"
	"github.com/towpath/towpath/firewall/hook"
	"github.com/towpath/towpath/link"
	"github.com/towpath/towpath/packet"
	"github.com/towpath/towpath/wire"
)

const (
	// SnaplenMax is the default of Config.Snaplen: everything.
	SnaplenMax = 262144
	// bufferUsual is the default of Config.Buffer.
	bufferUsual = 4 << 20
)

// A Sink takes captured packets. It is called by one goroutine at a time, and
// data are lent. If it has a method Flush() error, that is called whenever no
// more packets are waiting.
type Sink interface {
	// WritePacket takes a packet of which data are the first bytes and length
	// the length it had.
	WritePacket(t time.Time, data []byte, length int) error
}

// A DirectedSink is a [Sink] that is also told at which adapter a packet was
// seen, and which way it went. WriteDirected is called instead of WritePacket.
type DirectedSink interface {
	Sink
	WriteDirected(a *link.Adapter, dir link.Direction, t time.Time, data []byte, length int) error
}

// Config shapes a tap. The zero value is a good one.
type Config struct {
	// Snaplen bounds how many bytes of a packet the sink gets; 0 means
	// SnaplenMax.
	Snaplen int
	// Buffer bounds the memory, in bytes, that waits for the sink; there are
	// two of that size. 0 means 4 MiB.
	Buffer int
	// Clock is where times come from; nil means clock.Real. It should be that
	// of the adapters' host.
	Clock clock.Clock
	// Cooked writes Linux's cooked header of version 2 ([wire.LinkSLL2]) in the
	// place of each packet's own, so that the tap may be on adapters of all
	// kinds, and at points of the walk as well.
	Cooked bool
}

// Stats counts what a tap has done.
type Stats struct {
	Seen    uint64 // packets that passed the adapters
	Dropped uint64 // of these, how many did not fit into the buffer or failed to be written
	Written uint64 // packets given to the sink: segments, where super-segments passed
}

// A Tap is a capture going on: a [link.Tap], a [link.DropTap] and a
// [hook.PacketJudge].
type Tap struct {
	sink    Sink
	write   func(r *record, t time.Time, data []byte, length int) error
	clock   clock.Clock
	snaplen int
	limit   int
	cooked  bool
	wake    chan struct{} // has room for one
	done    chan struct{} // closed when the goroutine has ended

	mu     sync.Mutex // leaf: held while a packet is copied, never during I/O
	closed bool
	fill   *bank
	stats  Stats
	err    error // the sink's first

	spare *bank  // the goroutine's
	frame []byte // the goroutine's
}

// A bank is packets waiting for the sink.
type bank struct {
	records []record
	bytes   []byte
}

// recordCost is what a record counts for in a bank's limit.
const recordCost = 104

func (b *bank) size() int { return len(b.bytes) + recordCost*len(b.records) }

func (b *bank) reset() {
	clear(b.records) // of adapters
	b.records, b.bytes = b.records[:0], b.bytes[:0]
}

// Start begins a capture into sink.
func Start(sink Sink, c Config) *Tap {
	if c.Snaplen <= 0 {
		c.Snaplen = SnaplenMax
	}
	if c.Buffer <= 0 {
		c.Buffer = bufferUsual
	}
	if c.Clock == nil {
		c.Clock = clock.Real()
	}
	t := &Tap{
		sink: sink, clock: c.Clock, snaplen: c.Snaplen, limit: c.Buffer, cooked: c.Cooked,
		wake: make(chan struct{}, 1), done: make(chan struct{}),
		fill: new(bank), spare: new(bank),
	}
	t.write = func(_ *record, at time.Time, data []byte, length int) error {
		return sink.WritePacket(at, data, length)
	}
	if d, ok := sink.(DirectedSink); ok {
		t.write = func(r *record, at time.Time, data []byte, length int) error {
			return d.WriteDirected(r.adapter, r.dir, at, data, length)
		}
	}
	if d, ok := sink.(DropSink); ok {
		seen := t.write
		t.write = func(r *record, at time.Time, data []byte, length int) error {
			if r.reason == packet.NotDropped {
				return seen(r, at, data, length)
			}
			return d.WriteDropped(Drop{r.adapter, r.dir, r.reason, r.rule}, at, data, length)
		}
	}
	go t.run()
	return t
}

// LinkType is what an adapter's packets begin with, as capture files tell it.
func LinkType(a *link.Adapter) wire.LinkType {
	if a.Capabilities().Medium == link.MediumIP {
		return wire.LinkRaw
	}
	return wire.LinkEthernet
}

// Tap implements [link.Tap].
func (t *Tap) Tap(a *link.Adapter, dir link.Direction, p *packet.Packet) {
	if t.cooked {
		t.cook(a, dir, p, packet.NotDropped, "")
		return
	}
	r := describe(p)
	r.adapter, r.dir = a, dir
	t.keep(&r, nil, p, p.Start())
}

// JudgePacket implements [hook.PacketJudge]: every packet is seen, from its IP
// header on ([wire.LinkRaw]), and accepted. Frames that carry something else
// are not seen, unless the tap is cooked.
func (t *Tap) JudgePacket(c *hook.Context, p *packet.Packet) hook.Verdict {
	a, dir := c.In, link.In
	switch c.Point {
	case hook.Output, hook.Postrouting, hook.Egress:
		a, dir = c.Out, link.Out
	}
	if t.cooked {
		t.cook(a, dir, p, packet.NotDropped, "")
		return hook.Accept
	}
	if _, start, typ := locate(a, p); typ == wire.EtherTypeIPv4 || typ == wire.EtherTypeIPv6 {
		r := describeFrom(p, start, 0)
		r.adapter, r.dir = a, dir
		t.keep(&r, nil, p, start)
	}
	return hook.Accept
}

// keep copies a packet from the position start on, behind a header.
func (t *Tap) keep(r *record, header []byte, p *packet.Packet, start uint16) {
	r.len = len(header) + p.LenFrom(start)
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return
	}
	t.stats.Seen++
	b := t.fill
	if t.err != nil || b.size()+recordCost+r.len > t.limit {
		t.stats.Dropped++
		return
	}
	r.at, r.off = t.clock.Now(), len(b.bytes)
	b.bytes = append(append(b.bytes, header...), p.From(start)...)
	for _, f := range p.Frags() {
		b.bytes = append(b.bytes, f.Bytes()...)
	}
	b.records = append(b.records, *r)
	if len(b.records) == 1 {
		t.signal()
	}
}

// signal wakes the goroutine, now or as soon as it would sleep.
func (t *Tap) signal() {
	select {
	case t.wake <- struct{}{}:
	default:
	}
}

// Stats returns the counters.
func (t *Tap) Stats() Stats {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.stats
}

// Close ends the capture, waits until everything captured has been given to the
// sink, and returns the sink's first error. It does not close the sink. It may
// be called more than once.
func (t *Tap) Close() error {
	t.mu.Lock()
	t.closed = true
	t.signal()
	t.mu.Unlock()
	<-t.done
	return t.err
}

// run writes banks until the tap is closed and empty.
func (t *Tap) run() {
	defer close(t.done)
	for range t.wake {
		for {
			t.mu.Lock()
			b, closed := t.fill, t.closed
			if len(b.records) == 0 {
				t.mu.Unlock()
				if closed {
					return
				}
				break
			}
			t.fill, t.spare = t.spare, b
			t.mu.Unlock()
			t.drain(b)
		}
	}
}

// drain writes a bank and flushes the sink.
func (t *Tap) drain(b *bank) {
	var written, lost uint64
	var err error
	for i := range b.records {
		r := &b.records[i]
		if err != nil {
			lost++
			continue
		}
		var n int
		n, err = t.finish(r, b.bytes[r.off:r.off+r.len])
		written += uint64(n)
		if err != nil {
			lost++
		}
	}
	if f, ok := t.sink.(interface{ Flush() error }); ok && err == nil {
		err = f.Flush()
	}
	b.reset()
	t.mu.Lock()
	t.stats.Written += written
	t.stats.Dropped += lost
	if t.err == nil {
		t.err = err
	}
	t.mu.Unlock()
}
