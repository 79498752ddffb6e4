package frag

import (
	"encoding/binary"
	"net/netip"
	"sync"
	"time"

	"github.com/towpath/towpath/packet"
)

// Defaults of [Config], those of Linux where it has them.
const (
	MemoryDefault   = 4 << 20
	EntriesDefault  = 4096
	Timeout4Default = 30 * time.Second
	Timeout6Default = 60 * time.Second // RFC 8200 §4.5
)

const (
	// FragmentsMax is how many fragments a datagram may have: enough for the
	// largest one on a link of 296 bytes, the smallest in use.
	FragmentsMax = 256

	sourceShare = 4  // a source may have a fourth of a table
	spareMax    = 64 // entries kept for reuse

	never = time.Duration(1<<63 - 1)
)

// Config are the bounds of a table. Zero values mean the defaults.
type Config struct {
	MemoryMax          int           // bytes
	EntriesMax         int           // datagrams
	Timeout4, Timeout6 time.Duration // from a datagram's first fragment to come
	// Charge, if set, is told how many more bytes are in use, or fewer. It is
	// called under the table's lock.
	Charge func(bytes int)
}

// A Sender takes what a table gives up. Its methods are called without the
// table's lock.
type Sender interface {
	// Expired lends the first fragment of a datagram that was not completed in
	// time, for an ICMP error (time exceeded, code 1). It is not called if the
	// first fragment did not come (RFC 1122 §3.3.2, RFC 8200 §4.5).
	Expired(first *packet.Packet)
	// GivenUp takes a fragment that will not be part of a whole.
	GivenUp(p *packet.Packet, r packet.Reason)
}

// An Outcome is what became of a packet given to [Table.Add].
type Outcome struct {
	// Whole is the packet to go on with. It is the one given if that is no
	// fragment.
	Whole *packet.Packet
	// RecvFragMax is the largest fragment that Whole was put together from, as
	// an IP packet in bytes; 0 if there were none. Who sends Whole on cuts it
	// so that no fragment is larger. DF tells that IPv4 fragments of this size
	// had DF; it is set in Whole too.
	RecvFragMax int
	DF          bool

	// Reason is why the packet was refused. It is the caller's then, to answer
	// with Problem and to drop.
	Reason  packet.Reason
	Problem Problem
}

// A Table puts fragments together.
type Table struct {
	mu        sync.Mutex // leaf; guards all below
	datagrams map[key]*datagram
	sources   map[sourceKey]*source
	age       [2]order // IPv4, IPv6
	memory    int
	spare     *datagram // for reuse, linked by newer of byAge
	spares    int
	spareSrc  *source // likewise, linked by next
	spareSrcs int

	memoryMax, entriesMax             int             // (c)
	memorySourceMax, entriesSourceMax int             // (c)
	told                              func(bytes int) // (c) Config.Charge
	timeout                           [2]time.Duration
}

// New returns an empty table.
func New(c Config) *Table {
	def := func(v *int, d int) {
		if *v <= 0 {
			*v = d
		}
	}
	def(&c.MemoryMax, MemoryDefault)
	def(&c.EntriesMax, EntriesDefault)
	if c.Timeout4 <= 0 {
		c.Timeout4 = Timeout4Default
	}
	if c.Timeout6 <= 0 {
		c.Timeout6 = Timeout6Default
	}
	return &Table{
		datagrams:        make(map[key]*datagram),
		sources:          make(map[sourceKey]*source),
		memoryMax:        c.MemoryMax,
		told:             c.Charge,
		entriesMax:       c.EntriesMax,
		memorySourceMax:  c.MemoryMax / sourceShare,
		entriesSourceMax: max(1, c.EntriesMax/sourceShare),
		timeout:          [2]time.Duration{c.Timeout4, c.Timeout6},
	}
}

// A sourceKey names who answers for a datagram: an IPv4 address or an IPv6
// network of 64 bits, of which one machine may use every address.
type sourceKey struct {
	prefix uint64
	family int
}

func keyOf(a netip.Addr) sourceKey {
	if a.Is4() {
		b := a.As4()
		return sourceKey{uint64(binary.BigEndian.Uint32(b[:])), 0}
	}
	b := a.As16()
	return sourceKey{binary.BigEndian.Uint64(b[:]), 1}
}

// A source is what the datagrams of one source take of the table.
type source struct {
	key    sourceKey
	order  order
	memory int
	n      int     // datagrams
	next   *source // spare
}

// Add takes the packet p, unless the outcome has a reason; p begins at or before
// its IP header, which is at p.Net, and has Src, Dst, TOS and Ingress. A packet
// that is no fragment, or an atomic one, is the whole and unchanged. A fragment
// waits in the table until it is part of a whole, which then begins as its
// first fragment did, or goes to s.
//
// If keep is not nil and p completes a datagram, the fragments themselves are
// put there in the order of their offsets, for who wants to see them or send
// them on as they came; Proto and Transport of the first are those of the whole.
func (t *Table) Add(now time.Duration, p *packet.Packet, keep *packet.List, s Sender) Outcome {
	var f fragment
	is, pr, r := f.parse(p)
	switch {
	case r != packet.NotDropped:
		return Outcome{Reason: r, Problem: pr}
	case !is:
		return Outcome{Whole: p}
	}
	var done datagram
	var abandoned, evicted packet.List
	t.mu.Lock()
	o := t.add(now, &f, p, &done, &abandoned, &evicted)
	t.mu.Unlock()
	for q := abandoned.Pop(); q != nil; q = abandoned.Pop() {
		s.GivenUp(q, o.Reason)
	}
	for q := evicted.Pop(); q != nil; q = evicted.Pop() {
		s.GivenUp(q, packet.ReasonFragEvicted)
	}
	if !done.list.Empty() {
		o.RecvFragMax, o.DF = done.sizeMax, done.df()
		o.Whole = done.assemble(keep)
	}
	return o
}

// add is Add under the lock. A datagram that is complete is moved to done.
func (t *Table) add(now time.Duration, f *fragment, p *packet.Packet, done *datagram, abandoned, evicted *packet.List) Outcome {
	d := t.datagrams[f.key]
	if d != nil && d.dead {
		return Outcome{Reason: packet.ReasonFragAbandoned}
	}
	if !fits(d, f) {
		return Outcome{Reason: packet.ReasonFragOversize, Problem: f.problem(f.fragmentAt + 2)}
	}
	if d == nil {
		d = t.create(now, f)
	}
	prev, r := d.place(f, p)
	if r != packet.NotDropped {
		if r != packet.ReasonFragDuplicate {
			t.abandon(d, abandoned)
		}
		return Outcome{Reason: r}
	}
	t.charge(d, d.insert(f, p, prev))
	if d.held == d.total {
		done.datagramState = d.datagramState
		t.remove(d)
		t.recycle(d)
		return Outcome{}
	}
	for src := d.src; src.memory > t.memorySourceMax || src.n > t.entriesSourceMax; {
		t.evict(src.order.oldest, evicted)
	}
	for t.memory > t.memoryMax || len(t.datagrams) > t.entriesMax {
		t.evict(t.oldest(), evicted)
	}
	return Outcome{}
}

// fits reports whether the datagram d, nil if there is none yet, can have f and
// be a packet (RFC 8200 §4.5).
func fits(d *datagram, f *fragment) bool {
	hdr, end := f.hdr, f.end
	if d != nil {
		end = max(end, d.end)
		if d.first && f.off > 0 {
			hdr = d.hdr
		}
	}
	return hdr+end <= sizeMax
}

// create makes an entry.
func (t *Table) create(now time.Duration, f *fragment) *datagram {
	d := t.spare
	if d != nil {
		t.spare = d.in[byAge].newer
		t.spares--
		d.in[byAge] = links{}
	} else {
		d = new(datagram)
	}
	d.datagramState = datagramState{key: f.key, total: -1}
	sk := keyOf(f.key.src)
	d.born, d.deadline = now, now+t.timeout[sk.family]
	src := t.sources[sk]
	if src == nil {
		if src = t.spareSrc; src != nil {
			t.spareSrc = src.next
			t.spareSrcs--
		} else {
			src = new(source)
		}
		*src = source{key: sk, order: order{which: bySource}}
		t.sources[sk] = src
	}
	d.src = src
	src.n++
	src.order.push(d)
	t.age[sk.family].push(d)
	t.datagrams[f.key] = d
	t.charge(d, entryCost)
	return d
}

func (t *Table) charge(d *datagram, n int) {
	d.memory += n
	d.src.memory += n
	t.memory += n
	if t.told != nil {
		t.told(n)
	}
}

// remove takes an entry out of the table.
func (t *Table) remove(d *datagram) {
	src := d.src
	t.charge(d, -d.memory)
	delete(t.datagrams, d.key)
	t.age[src.key.family].remove(d)
	src.order.remove(d)
	if src.n--; src.n == 0 {
		delete(t.sources, src.key)
		if t.spareSrcs < spareMax {
			src.next, t.spareSrc = t.spareSrc, src
			t.spareSrcs++
		}
	}
}

// recycle keeps a removed entry for reuse.
func (t *Table) recycle(d *datagram) {
	d.datagramState = datagramState{}
	if t.spares < spareMax {
		d.in[byAge].newer = t.spare
		t.spare = d
		t.spares++
	}
}

// abandon gives up a datagram and remembers that.
func (t *Table) abandon(d *datagram, l *packet.List) {
	l.Append(&d.list)
	t.charge(d, entryCost-d.memory)
	d.dead, d.first, d.hint = true, false, nil
}

// evict gives up a datagram to make room.
func (t *Table) evict(d *datagram, l *packet.List) {
	l.Append(&d.list)
	t.remove(d)
	t.recycle(d)
}

// oldest is the entry that has been there longest.
func (t *Table) oldest() *datagram {
	a, b := t.age[0].oldest, t.age[1].oldest
	if a == nil || b != nil && b.born < a.born {
		return b
	}
	return a
}

// Deadline is the instant of the next Timeout call that will do something.
func (t *Table) Deadline() time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	at := never
	for i := range t.age {
		if d := t.age[i].oldest; d != nil {
			at = min(at, d.deadline)
		}
	}
	return at
}

// Timeout gives up the datagrams whose time is up.
func (t *Table) Timeout(now time.Duration, s Sender) {
	t.giveUp(s, packet.ReasonFragTimeout, func(d *datagram) (take, more bool) {
		due := d.deadline <= now
		return due, due
	})
}

// Flush gives up the datagrams of which fragments came in by an adapter; 0 means
// all.
func (t *Table) Flush(adapter int32, s Sender) {
	t.giveUp(s, packet.ReasonFragFlushed, func(d *datagram) (take, more bool) {
		return adapter == 0 || d.by(adapter), true
	})
}

// giveUp ends the datagrams that take is true of, in the order of their age,
// looking on while more is.
func (t *Table) giveUp(s Sender, r packet.Reason, choose func(*datagram) (take, more bool)) {
	var gone order // in the order of age, which they are not in any more
	t.mu.Lock()
	for i := range t.age {
		for d, more := t.age[i].oldest, true; d != nil && more; {
			at := d
			d = d.in[byAge].newer
			var take bool
			if take, more = choose(at); take {
				t.remove(at)
				gone.push(at)
			}
		}
	}
	t.mu.Unlock()
	if gone.oldest == nil {
		return
	}
	for d := gone.oldest; d != nil; d = d.in[byAge].newer {
		if d.first && r == packet.ReasonFragTimeout {
			s.Expired(d.lendFirst())
		}
		for p := d.list.Pop(); p != nil; p = d.list.Pop() {
			s.GivenUp(p, r)
		}
	}
	t.mu.Lock()
	for d := gone.oldest; d != nil; d = gone.oldest {
		gone.remove(d)
		t.recycle(d)
	}
	t.mu.Unlock()
}

// Usage is how much of a table is in use.
type Usage struct {
	Memory    int // bytes
	Datagrams int // those given up and remembered among them
	Sources   int
}

// Usage tells how much is in use.
func (t *Table) Usage() Usage {
	t.mu.Lock()
	defer t.mu.Unlock()
	return Usage{t.memory, len(t.datagrams), len(t.sources)}
}
