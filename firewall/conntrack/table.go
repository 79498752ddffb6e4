package conntrack

import (
	"bytes"
	"hash/maphash"
	"math/rand/v2"
	"sync"

	"github.com/towpath/towpath/packet"
	"github.com/towpath/towpath/wire"
)

const (
	// limboMin is how many entries wait in limbo before one of them is used
	// again: as many packets of new flows may wait for verdicts.
	limboMin = 1024
	// limboMax is how many are kept; the garbage collector has the others.
	limboMax = 1 << 16
)

// A Table holds the flows of one host.
type Table struct {
	mu      sync.Mutex
	set     Settings
	seed    maphash.Seed
	hashes  hashTable
	wheel   wheel
	evictor evictor
	limbo   list
	n       int
	lastID  uint32
	expects expectTable
	subs    []*Subscription
	stats   Stats
	binding Binding // scratch of Bind
}

// Stats counts what a table has done, in the words of conntrack -S.
type Stats struct {
	Entries       int    `json:"entries"`
	Found         uint64 `json:"found"`
	New           uint64 `json:"new"`
	Invalid       uint64 `json:"invalid"`
	Insert        uint64 `json:"insert"`
	InsertFailed  uint64 `json:"insert_failed"`
	Drop          uint64 `json:"drop"`
	EarlyDrop     uint64 `json:"early_drop"`
	Error         uint64 `json:"error"`
	SearchRestart uint64 `json:"search_restart"`
	ClashResolve  uint64 `json:"clash_resolve"`
	ExpectNew     uint64 `json:"expect_new"`
	ExpectCreate  uint64 `json:"expect_create"`
	ExpectDelete  uint64 `json:"expect_delete"`
}

// NewTable makes an empty table.
func NewTable(s Settings) *Table {
	s.fill()
	t := &Table{set: s, seed: maphash.MakeSeed(), hashes: newHashTable(s.Max), lastID: rand.Uint32()}
	return t
}

// Configure changes the settings.
func (t *Table) Configure(change func(s *Settings)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	change(&t.set)
	t.set.fill()
	t.hashes.max = max(bucketsFor(t.set.Max), len(t.hashes.buckets))
}

// Settings returns the settings, defaults filled in.
func (t *Table) Settings() Settings {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.set
}

// Stats returns the counters.
func (t *Table) Stats() Stats {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := t.stats
	s.Entries = t.n
	return s
}

// hash is that of k, and of the reverse of k.
func (t *Table) hash(k *key) uint32 {
	c := *k
	switch k.proto() {
	case wire.ProtoICMP, wire.ProtoICMPv6:
		c[keyDstPort], c[keyDstPort+1] = 0, 0 // the type depends on the direction
	default:
		if k.srcPort() > k.dstPort() {
			c.setPorts(k.dstPort(), k.srcPort())
		}
	}
	if bytes.Compare(k[keySrc:keyDst], k[keyDst:keySrcPort]) > 0 {
		copy(c[keySrc:], k[keyDst:keySrcPort])
		copy(c[keyDst:], k[keySrc:keyDst])
	}
	h := maphash.Bytes(t.seed, c[:])
	return uint32(h ^ h>>32)
}

// find returns the direction of a flow that k names. A flow that is over is
// removed.
func (t *Table) find(k *key, now instant) *node { return t.findHashed(k, t.hash(k), now) }

func (t *Table) findHashed(k *key, h uint32, now instant) *node {
	n := t.hashes.find(k, h)
	if n != nil && n.of.expires <= now {
		t.remove(n.of)
		return nil
	}
	return n
}

// create makes an entry for a flow that begins with k and is answered with r.
// It is in limbo until it is confirmed.
func (t *Table) create(k, r *key, h uint32, now instant) *Entry {
	var e *Entry
	if t.limbo.n >= limboMin {
		e = t.limbo.first
		t.limbo.remove(e)
		e.gen++
		if e.ext != nil {
			e.release()
			*e.ext = extension{}
		}
	} else {
		e = &Entry{table: t}
		e.nodes[original].of, e.nodes[reply].of = e, e
		e.nodes[reply].dir = reply
	}
	e.nodes[original].key, e.nodes[original].hash = *k, h
	e.nodes[reply].key = *r
	t.lastID++
	e.id, e.mark, e.status = t.lastID, 0, 0
	e.born, e.expires = now, now
	e.packets, e.bytes = [2]uint64{}, [2]uint64{}
	e.tcp = tcpConn{}
	t.limbo.push(e)
	t.stats.New++
	return e
}

// insert confirms an entry: from now on it is found.
func (t *Table) insert(e *Entry) {
	t.limbo.remove(e)
	e.nodes[reply].hash = t.hash(&e.nodes[reply].key)
	t.hashes.grow(t.n + 1)
	t.hashes.add(e)
	e.source = t.sourceOf(&e.nodes[original].key)
	e.status |= Confirmed
	t.n++
	t.stats.Insert++
	t.wheel.add(e)
	t.evictor.add(e)
	t.report(EventNew, e)
}

// sourceOf is the list of a flow's source: an IPv4 address, or the /64 of an
// IPv6 one, which is one site's to choose from.
func (t *Table) sourceOf(k *key) uint16 {
	part := k[keySrc+8 : keyDst]
	if !k.is4() {
		part = k[keySrc : keySrc+8]
	}
	return uint16(maphash.Bytes(t.seed, part) % sourceLists)
}

// remove takes an entry out of the table.
func (t *Table) remove(e *Entry) {
	if e.status&(Confirmed|Dying) != Confirmed {
		return
	}
	t.hashes.remove(e)
	t.wheel.remove(e)
	t.evictor.remove(e)
	t.unexpectAll(e)
	e.release()
	e.status |= Dying
	t.n--
	t.report(EventDestroy, e)
	if t.limbo.n < limboMax {
		t.limbo.push(e)
	}
}

// room makes room for one more entry in a full table, and reports whether
// there is some.
func (t *Table) room(now instant) bool {
	if t.n >= t.set.Max {
		t.sweep(now, 4*sweepMax)
	}
	for t.n >= t.set.Max {
		e := t.evictor.victim()
		if e == nil {
			t.stats.Drop++
			return false
		}
		t.stats.EarlyDrop++
		t.remove(e)
	}
	return true
}

// assure keeps an entry from being given up.
func (t *Table) assure(e *Entry) {
	if e.status&Assured == 0 {
		e.status |= Assured
		t.evictor.remove(e)
	}
}

// refresh gives a flow a new deadline, and counts the packet.
func (t *Table) refresh(e *Entry, dir direction, p *packet.Packet, now, timeout instant) {
	if e.status&FixedTimeout == 0 {
		t.extend(e, now+timeout)
	}
	t.count(e, dir, p)
}

func (t *Table) count(e *Entry, dir direction, p *packet.Packet) {
	if !t.set.NoAcct {
		e.packets[dir]++
		e.bytes[dir] += uint64(p.LenFrom(p.Net))
	}
}

// of returns the entry that p was found to be of, nil if there is none or if it
// has become another flow's since.
func (t *Table) of(p *packet.Packet) (*Entry, direction) {
	e, _ := p.Track.Conn.(*Entry)
	if e == nil || e.table != t || e.gen != p.Track.Gen {
		return nil, original
	}
	if p.Track.Reply {
		return e, reply
	}
	return e, original
}

// protocolTimeout is the timeout of a new flow of protocols without states.
func (t *Table) protocolTimeout(e *Entry) instant {
	answered := e.status&SeenReply != 0
	switch e.nodes[original].key.proto() {
	case wire.ProtoICMP:
		return t.set.ICMP
	case wire.ProtoICMPv6:
		return t.set.ICMPv6
	case wire.ProtoGRE:
		if answered {
			return t.set.GREStream
		}
		return t.set.GRE
	}
	return t.set.Generic
}
