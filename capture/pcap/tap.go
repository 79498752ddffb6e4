package pcap

import (
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/towpath/towpath/capture"
	"github.com/towpath/towpath/capture/bpf"
	"github.com/towpath/towpath/capture/jit"
	"github.com/towpath/towpath/capture/savefile"
	"github.com/towpath/towpath/clock"
	"github.com/towpath/towpath/link"
	"github.com/towpath/towpath/packet"
	"github.com/towpath/towpath/wire"
)

// bufferUsual is the default of Options.BufferSize.
const bufferUsual = 4 << 20

// OpenAdapter begins to capture on an adapter of a host of ours. Times are those
// of c, which should be the host's clock; nil is real time. Promisc and Protocol
// of the options mean nothing: all that passes the adapter is seen.
func OpenAdapter(a *link.Adapter, c clock.Clock, o Options) (*Handle, error) {
	h, err := OpenTap(capture.LinkType(a), c, o, func(t *capture.Tap) (func(), error) {
		a.AddTap(t)
		return func() { a.RemoveTap(t) }, nil
	})
	if err == nil {
		h.src.(*tapSource).adapter = a
	}
	return h, err
}

// OpenAdapters begins to capture on several adapters at once, as OpenLive does
// on the device "any": packets begin with Linux's cooked header of version 2.
func OpenAdapters(all []*link.Adapter, c clock.Clock, o Options) (*Handle, error) {
	return OpenTap(wire.LinkSLL2, c, o, func(t *capture.Tap) (func(), error) {
		for _, a := range all {
			a.AddTap(t)
		}
		return func() {
			for _, a := range all {
				a.RemoveTap(t)
			}
		}, nil
	})
}

// OpenTap begins to capture with a tap that attach puts in its place, from which
// detach takes it again when the handle is closed. Packets begin with what link
// says; if that is [wire.LinkSLL2], the tap is cooked.
func OpenTap(link wire.LinkType, c clock.Clock, o Options, attach func(*capture.Tap) (detach func(), err error)) (*Handle, error) {
	if o.Snaplen < 0 || o.Snaplen > SnaplenMax {
		return nil, fmt.Errorf("pcap: snapshot length %d is not from 0 to %d", o.Snaplen, SnaplenMax)
	}
	if o.Snaplen == 0 {
		o.Snaplen = SnaplenMax
	}
	if o.BufferSize <= 0 {
		o.BufferSize = bufferUsual
	}
	wait := time.Duration(-1)
	if o.Timeout > 0 {
		wait = o.Timeout
	}
	s := &tapSource{queue: queue{
		snaplen: o.Snaplen, limit: o.BufferSize,
		filling: new(bank), reading: new(bank), wake: make(chan struct{}, 1),
	}}
	s.tap = capture.Start(&s.queue, capture.Config{Buffer: o.BufferSize, Clock: c, Cooked: link == wire.LinkSLL2})
	var err error
	if s.detach, err = attach(s.tap); err != nil {
		s.tap.Close()
		return nil, err
	}
	h := NewHandle(s, Info{Link: link, Snaplen: o.Snaplen}, wait)
	h.nano = o.Nano
	return h, nil
}

// A tapSource is a tap and the queue that it fills.
type tapSource struct {
	queue
	tap     *capture.Tap
	detach  func()
	adapter *link.Adapter // nil: packets cannot be sent
	closing sync.Once
}

// Stats counts packets that passed the filter, and those that did not fit into
// the tap's buffer or the queue.
func (s *tapSource) Stats() (Stats, error) {
	t := s.tap.Stats()
	s.mu.Lock()
	defer s.mu.Unlock()
	return Stats{Recv: s.received, Drop: s.dropped + t.Dropped}, nil
}

// Close ends the capture. What has been captured can still be read.
func (s *tapSource) Close() (err error) {
	s.closing.Do(func() {
		s.detach()
		err = s.tap.Close()
		s.mu.Lock()
		s.closed = true
		s.mu.Unlock()
		s.signal()
	})
	return err
}

// Inject sends a packet on the adapter.
func (s *tapSource) Inject(b []byte) error {
	if s.adapter == nil {
		return ErrNotSupported
	}
	p := packet.Get()
	if !p.AppendBytes(b) {
		packet.Free(p)
		return fmt.Errorf("pcap: a packet of %d bytes is too long", len(b))
	}
	p.Link = p.Start()
	var l packet.List
	l.Push(p)
	s.adapter.Enqueue(&l)
	w := link.NewWork(nil)
	w.Flush(s.adapter)
	w.Run()
	return nil
}

// A queue is packets that wait to be read: two banks of memory, one that is
// filled while the other is read. It is a [capture.DirectedSink].
type queue struct {
	snaplen int
	limit   int           // bytes of a bank
	wake    chan struct{} // has room for one

	mu          sync.Mutex
	filling     *bank
	filter      *jit.Filter // nil: everything
	epoch       int         // how often a filter has been set
	received    uint64
	dropped     uint64
	interrupted bool
	closed      bool

	reading *bank // the reader's
}

// A bank is packets, with their bytes behind one another.
type bank struct {
	packets []entry
	bytes   []byte
	at      int // the next to be read
}

type entry struct {
	savefile.Packet
	off, n int
	epoch  int
}

// entryCost is what a packet counts for in a bank beside its bytes.
const entryCost = 128

func (b *bank) size() int { return len(b.bytes) + entryCost*len(b.packets) }

// WritePacket implements [capture.Sink].
func (q *queue) WritePacket(t time.Time, data []byte, length int) error {
	return q.add(savefile.Packet{Time: t, Data: data, Length: length})
}

// WriteDirected implements [capture.DirectedSink].
func (q *queue) WriteDirected(_ *link.Adapter, dir link.Direction, t time.Time, data []byte, length int) error {
	p := savefile.Packet{Time: t, Data: data, Length: length, Direction: savefile.DirectionIn}
	if dir == link.Out {
		p.Direction = savefile.DirectionOut
	}
	return q.add(p)
}

// add copies a packet, if the filter keeps it.
func (q *queue) add(p savefile.Packet) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	data := p.Data
	if q.filter != nil {
		keep := q.filter.Run(data, p.Length, nil)
		if keep == 0 {
			return nil
		}
		data = data[:min(len(data), int(keep))]
	}
	data = data[:min(len(data), q.snaplen)]
	q.received++
	b := q.filling
	if b.size()+entryCost+len(data) > q.limit {
		q.dropped++
		return nil
	}
	p.Data = nil // lent
	b.packets = append(b.packets, entry{Packet: p, off: len(b.bytes), n: len(data), epoch: q.epoch})
	b.bytes = append(b.bytes, data...)
	if len(b.packets) == 1 {
		q.signal()
	}
	return nil
}

// signal wakes the reader, now or as soon as it would sleep.
func (q *queue) signal() {
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

// SetFilter implements [FilteringSource].
func (q *queue) SetFilter(p bpf.Program) (err error) {
	var f *jit.Filter
	if len(p) > 0 {
		if f, err = jit.Compile(p); err != nil {
			return err
		}
	}
	q.mu.Lock()
	q.filter = f
	q.epoch++
	q.mu.Unlock()
	return nil
}

// Interrupt implements [Source].
func (q *queue) Interrupt() {
	q.mu.Lock()
	q.interrupted = true
	q.mu.Unlock()
	q.signal()
}

// Next implements [Source].
func (q *queue) Next(wait time.Duration) (Packet, error) {
	var late <-chan time.Time // nil: never
	for {
		if p, ok := q.take(); ok {
			return p, nil
		}
		if done, err := q.swap(); err != nil {
			return Packet{}, err
		} else if done {
			continue
		}
		switch {
		case wait == 0:
			return Packet{}, ErrTimeout
		case wait > 0 && late == nil:
			t := time.NewTimer(wait)
			defer t.Stop()
			late = t.C
		}
		select {
		case <-q.wake:
		case <-late:
			return Packet{}, ErrTimeout
		}
	}
}

// take returns the next packet of the bank that is read.
func (q *queue) take() (Packet, bool) {
	b := q.reading
	for b.at < len(b.packets) {
		e := &b.packets[b.at]
		b.at++
		e.Data = b.bytes[e.off : e.off+e.n]
		// Only the reader sets filters, so it may look at them unlocked. A
		// packet that came before the last one has to pass it too.
		if e.epoch != q.epoch && q.filter != nil {
			keep := q.filter.Run(e.Data, e.Length, nil)
			if keep == 0 {
				continue
			}
			e.Data = e.Data[:min(e.n, int(keep))]
		}
		return e.Packet, true
	}
	return Packet{}, false
}

// swap begins to read what has been filled, if there is something.
func (q *queue) swap() (done bool, err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	switch {
	case q.interrupted:
		q.interrupted = false
		return false, ErrTimeout
	case len(q.filling.packets) > 0:
		q.filling, q.reading = q.reading, q.filling
		*q.filling = bank{packets: q.filling.packets[:0], bytes: q.filling.bytes[:0]}
		return true, nil
	case q.closed:
		return false, io.EOF
	}
	return false, nil
}
