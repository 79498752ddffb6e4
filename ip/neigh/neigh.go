// Package neigh turns next hops into station addresses: the cache behind ARP
// and neighbour discovery alike.
//
// # Theory of operation
//
// An [Entry] is one neighbour on one adapter, in a state of RFC 4861 §7.3.2:
//
//	        Resolve                Confirm
//	(none) --------> INCOMPLETE -------------> REACHABLE
//	                   | 3 solicitations          | 30 s
//	                   v unanswered               v
//	                 FAILED                     STALE <--- unsolicited news
//	                   ^                          | Resolve
//	                   | 3 probes unanswered      v
//	                 PROBE <-------- 5 s ------ DELAY
//
// While INCOMPLETE an entry queues packets; when confirmed it hands them back
// to be sent. The cache sends nothing itself: what it wants sent it tells a
// [Sender], after unlocking. ARP and NDP differ only in the bytes of a
// solicitation, which are the sender's business.
//
// The address of a usable entry is read without a lock ([Entry.MAC]); callers
// keep the entry's pointer with their route and ask for it again once it is
// [Entry.Gone]. The cache's mutex is a leaf.
//
// The number of entries is bounded: beyond the limit the longest unused one that
// is not being resolved goes. Entries being resolved, and failed ones, have half
// the table at most; beyond that new ones are refused, so that a scan of empty
// addresses does not drive out live neighbours (RFC 6583).
package neigh

import (
	"cmp"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/towpath/towpath/packet"
	"github.com/towpath/towpath/wire"
)

// Constants of RFC 4861 §10, and Linux's bounds.
const (
	ReachableTime  = 30 * time.Second
	RetransTime    = time.Second
	DelayTime      = 5 * time.Second
	solicitsMax    = 3
	queueMax       = 101         // packets waiting for one neighbour
	queueBytes     = 212992      // their footprint (Linux: unres_qlen_bytes)
	failedTime     = time.Second // how long a failure is remembered
	EntriesDefault = 1024

	reachableMax = time.Hour             // RFC 4861 §6.2.1
	retransMin   = 10 * time.Millisecond // lest a router's word makes a storm
)

// State of an entry.
type State uint8

const (
	Incomplete State = iota
	Reachable
	Stale
	Delay
	Probe
	Failed
	Permanent
)

var stateText = [...]string{"INCOMPLETE", "REACHABLE", "STALE", "DELAY", "PROBE", "FAILED", "PERMANENT"}

func (s State) String() string { return stateText[s] }

// A Key names a neighbour.
type Key struct {
	Adapter int32
	IP      netip.Addr
}

// A Sender does what the cache wants done. Its methods are called without the
// cache's lock.
type Sender interface {
	// Solicit sends a solicitation for k: to all, or to the station mac if that
	// is not zero. src is the source of the packet that wants it, the zero Addr
	// for a repetition.
	Solicit(k Key, mac wire.MAC, src netip.Addr)
	// Unresolved takes a packet whose neighbour did not answer
	// (ReasonNeighborFailed) or that found the queue full.
	Unresolved(k Key, p *packet.Packet, r packet.Reason)
}

// An Entry is a neighbour. Its exported methods need no lock.
type Entry struct {
	key   Key
	mac   atomic.Uint64 // the address in the low 48 bits, macValid above; 0 if unusable
	until atomic.Int64  // instant until which MAC needs no second look
	gone  atomic.Bool

	// Guarded by the cache's mutex.
	state    State
	deadline time.Duration // of the state, Never if it has none
	tries    int
	queue    packet.List
	waiting  int // footprint of queue

	older, newer *Entry // in the order of use
}

const (
	macValid = 1 << 48
	never    = time.Duration(1<<63 - 1)
)

// MAC is the station address, if it may be used at the instant now without a
// look at the entry's state.
func (e *Entry) MAC(now time.Duration) (mac wire.MAC, ok bool) {
	v := e.mac.Load()
	if v == 0 || int64(now) > e.until.Load() {
		return mac, false
	}
	return unpack(v), true
}

// times are what routers say of neighbours on a link; 0: nothing.
type times struct{ reachable, retrans time.Duration }

// SetTimes says for how long a neighbour on an adapter counts as reachable once
// that was confirmed, and after how long solicitations are repeated (RFC 4861
// §6.3.4); 0 leaves what was said before. It concerns IPv6 only.
func (c *Cache) SetTimes(adapter int32, reachable, retrans time.Duration) {
	if reachable <= 0 && retrans <= 0 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	t := c.times[adapter]
	if reachable > 0 {
		t.reachable = min(reachable, reachableMax)
	}
	if retrans > 0 {
		t.retrans = max(retrans, retransMin)
	}
	if c.times == nil {
		c.times = make(map[int32]times)
	}
	c.times[adapter] = t
}

// Params are what may be set of the neighbours of a family on an adapter
// (Linux: net.ipv4.neigh, net.ipv6.neigh).
type Params struct {
	Reachable  time.Duration // for which a confirmed neighbour counts as reachable
	Retrans    time.Duration // between solicitations
	Delay      time.Duration // from the use of a stale entry to its first probe
	Unicast    int           // probes of a stale entry
	Multicast  int           // solicitations of one that is not known
	QueueBytes int           // footprint of the packets that wait for one neighbour
}

// ParamsDefault are RFC 4861's, and Linux's.
var ParamsDefault = Params{ReachableTime, RetransTime, DelayTime, solicitsMax, solicitsMax, queueBytes}

type paramsKey struct {
	adapter int32
	v6      bool
}

// SetParams sets the parameters of a family on an adapter; 0 stands for the
// adapters that have none of their own.
func (c *Cache) SetParams(adapter int32, v6 bool, p Params) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.params == nil {
		c.params = make(map[paramsKey]Params)
	}
	c.params[paramsKey{adapter, v6}] = p
}

// Params returns the parameters of a family on an adapter.
func (c *Cache) Params(adapter int32, v6 bool) Params {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.paramsOf(paramsKey{adapter, v6})
}

func (c *Cache) paramsOf(k paramsKey) Params {
	if p, ok := c.params[k]; ok {
		return p
	}
	if p, ok := c.params[paramsKey{0, k.v6}]; ok {
		return p
	}
	return ParamsDefault
}

func (c *Cache) param(k Key) Params { return c.paramsOf(paramsKey{k.Adapter, k.IP.Is6()}) }

func (c *Cache) reachableTime(k Key) time.Duration {
	if t := c.times[k.Adapter].reachable; t > 0 && k.IP.Is6() {
		return t
	}
	return c.param(k).Reachable
}

func (c *Cache) retransTime(k Key) time.Duration {
	if t := c.times[k.Adapter].retrans; t > 0 && k.IP.Is6() {
		return t
	}
	return c.param(k).Retrans
}

// Unknown reports whether no address is known: packets have to wait.
func (e *Entry) Unknown() bool { return e.mac.Load() == 0 }

// Gone reports whether the entry has left the cache.
func (e *Entry) Gone() bool { return e.gone.Load() }

// Key names the neighbour.
func (e *Entry) Key() Key { return e.key }

func pack(m wire.MAC) uint64 {
	return macValid | uint64(m[0])<<40 | uint64(m[1])<<32 | uint64(m[2])<<24 | uint64(m[3])<<16 | uint64(m[4])<<8 | uint64(m[5])
}

func unpack(v uint64) wire.MAC {
	return wire.MAC{byte(v >> 40), byte(v >> 32), byte(v >> 24), byte(v >> 16), byte(v >> 8), byte(v)}
}

// A Cache is a host's neighbours.
type Cache struct {
	mu             sync.Mutex // leaf
	entries        map[Key]*Entry
	oldest, newest *Entry // in the order of use
	limit          int
	idle           int           // entries in FAILED and INCOMPLETE
	next           time.Duration // earliest deadline, or earlier

	times  map[int32]times // of adapters whose routers have said
	params map[paramsKey]Params

	// Charge, if set, is told how many more bytes wait in queues, or fewer. It
	// is called under the cache's lock.
	Charge func(bytes int)
}

// New returns an empty cache of at most limit entries; 0 means EntriesDefault.
func New(limit int) *Cache {
	if limit <= 0 {
		limit = EntriesDefault
	}
	return &Cache{entries: make(map[Key]*Entry), limit: limit, next: never}
}

// Get returns the entry for k, making it if need be; nil if the cache is full.
func (c *Cache) Get(k Key) *Entry {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.get(k, false)
}

// get is Get. Half of the cache is for neighbours whose address is known: those
// that have yet to answer cannot keep them out.
func (c *Cache) get(k Key, known bool) *Entry {
	if e := c.entries[k]; e != nil {
		return e
	}
	switch {
	case !known && c.idle > 0 && c.idle >= c.limit/2:
		if !c.evict(func(s State) bool { return s == Failed }) {
			return nil
		}
	case len(c.entries) >= c.limit:
		if !c.evict(func(s State) bool { return s != Permanent && s != Incomplete }) {
			return nil
		}
	}
	e := &Entry{key: k, state: Failed, deadline: never}
	c.entries[k] = e
	c.idle++
	c.append(e)
	return e
}

// evict removes the longest unused entry in one of some states.
func (c *Cache) evict(may func(State) bool) bool {
	for e := c.oldest; e != nil; e = e.newer {
		if may(e.state) {
			c.remove(e)
			return true
		}
	}
	return false
}

func (c *Cache) remove(e *Entry) {
	c.setState(e, Stale) // not idle any more
	c.unlink(e)
	e.mac.Store(0)
	e.gone.Store(true)
	delete(c.entries, e.key)
}

func (c *Cache) setState(e *Entry, s State) {
	if e.idle() {
		c.idle--
	}
	e.state = s
	if e.idle() {
		c.idle++
	}
}

func (e *Entry) idle() bool { return e.state == Failed || e.state == Incomplete }

// touch makes e the last used entry.
func (c *Cache) touch(e *Entry) {
	if c.newest != e {
		c.unlink(e)
		c.append(e)
	}
}

func (c *Cache) append(e *Entry) {
	e.older, e.newer = c.newest, nil
	if c.newest != nil {
		c.newest.newer = e
	} else {
		c.oldest = e
	}
	c.newest = e
}

func (c *Cache) unlink(e *Entry) {
	if e.older != nil {
		e.older.newer = e.newer
	} else {
		c.oldest = e.newer
	}
	if e.newer != nil {
		e.newer.older = e.older
	} else {
		c.newest = e.older
	}
	e.older, e.newer = nil, nil
}

// Resolve returns the address to send p to. If it is not known, p is taken:
// it waits for an answer, or goes to s.Unresolved.
func (c *Cache) Resolve(now time.Duration, e *Entry, p *packet.Packet, s Sender) (mac wire.MAC, ok bool) {
	c.mu.Lock()
	if e.gone.Load() { // between the caller's look and ours
		c.mu.Unlock()
		s.Unresolved(e.key, p, packet.ReasonNeighborGone)
		return mac, false
	}
	c.touch(e)
	switch e.state {
	case Permanent, Reachable, Delay, Probe:
		if e.state == Reachable && now > e.deadline {
			c.delay(now, e)
		}
		mac = unpack(e.mac.Load())
		c.mu.Unlock()
		return mac, true
	case Stale:
		c.delay(now, e)
		mac = unpack(e.mac.Load())
		c.mu.Unlock()
		return mac, true
	case Failed:
		if e.deadline != never && now < e.deadline {
			c.mu.Unlock()
			s.Unresolved(e.key, p, packet.ReasonNeighborRecent)
			return mac, false
		}
		c.setState(e, Incomplete)
		e.tries = 1
		c.set(e, now+c.retransTime(e.key))
		src := p.Src
		c.push(e, p)
		c.mu.Unlock()
		s.Solicit(e.key, wire.MAC{}, src)
		return mac, false
	}
	// INCOMPLETE: keep the newest (RFC 4861 §7.2.2, RFC 1122 §2.3.2.2).
	var dropped packet.List
	most := c.param(e.key).QueueBytes
	for e.queue.Len() >= queueMax || !e.queue.Empty() && e.waiting+p.Footprint() > most {
		dropped.Push(c.pop(e))
	}
	c.push(e, p)
	c.mu.Unlock()
	for p := dropped.Pop(); p != nil; p = dropped.Pop() {
		s.Unresolved(e.key, p, packet.ReasonNeighborQueue)
	}
	return mac, false
}

// push, pop and take keep an entry's queue and tell what it holds.
func (c *Cache) push(e *Entry, p *packet.Packet) {
	e.queue.Push(p)
	c.charge(e, p.Footprint())
}

func (c *Cache) pop(e *Entry) *packet.Packet {
	p := e.queue.Pop()
	c.charge(e, -p.Footprint())
	return p
}

func (c *Cache) take(e *Entry, to *packet.List) {
	to.Append(&e.queue)
	c.charge(e, -e.waiting)
}

func (c *Cache) charge(e *Entry, n int) {
	e.waiting += n
	if c.Charge != nil && n != 0 {
		c.Charge(n)
	}
}

// delay begins the time in which an upper layer may confirm a stale entry.
func (c *Cache) delay(now time.Duration, e *Entry) {
	c.setState(e, Delay)
	e.tries = 0
	until := now + c.param(e.key).Delay
	c.set(e, until)
	e.until.Store(int64(until))
}

func (c *Cache) set(e *Entry, deadline time.Duration) {
	e.deadline = deadline
	c.next = min(c.next, deadline)
}

// News is what a received ARP packet or NDP message says of a neighbour.
type News struct {
	MAC       wire.MAC
	Solicited bool // an answer to our solicitation: proves reachability
	Override  bool // replaces an address we know
	Create    bool // make an entry if there is none
}

// Learn takes news of k and moves the packets that waited for them to ready;
// their destination is the returned address.
func (c *Cache) Learn(now time.Duration, k Key, n News, ready *packet.List) wire.MAC {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.entries[k]
	if e == nil {
		if !n.Create {
			return n.MAC
		}
		if e = c.get(k, true); e == nil {
			return n.MAC
		}
	}
	c.touch(e)
	known := e.mac.Load()
	changed := known != pack(n.MAC)
	switch {
	case e.state == Permanent:
		return unpack(known)
	case known == 0:
		// Nothing known: any news will do.
	case changed && !n.Override:
		if e.state == Reachable { // RFC 4861 §7.2.5: doubt it
			c.stale(e)
		}
		return unpack(known)
	}
	e.mac.Store(pack(n.MAC))
	switch {
	case n.Solicited:
		c.reachable(now, e)
	case changed || e.state == Incomplete || e.state == Failed:
		c.stale(e)
	}
	c.take(e, ready)
	return n.MAC
}

// reachable marks an entry that is known to answer.
func (c *Cache) reachable(now time.Duration, e *Entry) {
	c.setState(e, Reachable)
	e.tries = 0
	e.deadline = now + c.reachableTime(e.key)
	e.until.Store(int64(e.deadline))
}

// stale marks an entry whose address is to be verified when next used.
func (c *Cache) stale(e *Entry) {
	c.setState(e, Stale)
	e.tries = 0
	e.deadline = never
	e.until.Store(-1)
}

// Confirm tells that k has been heard of by an upper layer (RFC 4861 §7.3.1).
func (c *Cache) Confirm(now time.Duration, e *Entry) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e.mac.Load() != 0 && e.state != Permanent && !e.gone.Load() {
		c.touch(e)
		c.reachable(now, e)
	}
}

// SetPermanent enters an address that is not to be resolved, and moves the
// packets that waited for it to ready. It reports false if the cache is full.
func (c *Cache) SetPermanent(k Key, mac wire.MAC, ready *packet.List) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.get(k, true)
	if e == nil {
		return false
	}
	e.mac.Store(pack(mac))
	c.setState(e, Permanent)
	e.deadline = never
	e.until.Store(int64(never))
	c.take(e, ready)
	return true
}

// Deadline is the instant of the next Timeout call that may do something.
func (c *Cache) Deadline() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.next
}

// Timeout repeats and gives up solicitations that are due, in the order of
// their neighbours' last use.
func (c *Cache) Timeout(now time.Duration, s Sender) {
	type ask struct {
		k   Key
		mac wire.MAC
	}
	type loss struct {
		k Key
		l packet.List
	}
	var asks []ask
	var losses []loss
	c.mu.Lock()
	c.next = never
	for e := c.oldest; e != nil; {
		at := e
		e = e.newer // at may be removed
		if at.state == Reachable || at.deadline == never {
			continue
		}
		if now < at.deadline {
			c.next = min(c.next, at.deadline)
			continue
		}
		switch at.state {
		case Incomplete, Probe, Delay:
			most := c.param(at.key).Unicast
			if at.state == Incomplete {
				most = c.param(at.key).Multicast
			}
			if at.tries >= most {
				c.setState(at, Failed)
				at.mac.Store(0)
				c.set(at, now+failedTime)
				lost := loss{k: at.key}
				c.take(at, &lost.l)
				losses = append(losses, lost)
				continue
			}
			if at.state == Delay {
				c.setState(at, Probe)
			}
			at.tries++
			c.set(at, now+c.retransTime(at.key))
			at.until.Store(int64(never)) // usable, if it was, until it fails
			a := ask{k: at.key}
			if at.state == Probe {
				a.mac = unpack(at.mac.Load())
			}
			asks = append(asks, a)
		case Failed:
			c.remove(at)
		}
	}
	c.mu.Unlock()
	for _, a := range asks {
		s.Solicit(a.k, a.mac, netip.Addr{})
	}
	for i := range losses {
		for p := losses[i].l.Pop(); p != nil; p = losses[i].l.Pop() {
			s.Unresolved(losses[i].k, p, packet.ReasonNeighborFailed)
		}
	}
}

// An Info describes one entry for people.
type Info struct {
	Key
	MAC   wire.MAC
	State State
}

// All returns the entries as they are at the instant now, by adapter and
// address.
func (c *Cache) All(now time.Duration) []Info {
	c.mu.Lock()
	defer c.mu.Unlock()
	all := make([]Info, 0, len(c.entries))
	for e := c.oldest; e != nil; e = e.newer {
		i := Info{e.key, unpack(e.mac.Load()), e.state}
		if e.state == Reachable && now > e.deadline {
			i.State = Stale
		}
		all = append(all, i)
	}
	slices.SortFunc(all, func(a, b Info) int {
		if c := cmp.Compare(a.Adapter, b.Adapter); c != 0 {
			return c
		}
		return a.IP.Compare(b.IP)
	})
	return all
}

// Flush removes the entries of an adapter (0 means all) and moves the packets
// that waited to l.
func (c *Cache) Flush(adapter int32, l *packet.List) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for e := c.oldest; e != nil; {
		at := e
		e = e.newer
		if adapter == 0 || at.key.Adapter == adapter {
			c.take(at, l)
			c.remove(at)
		}
	}
}
