package group

import (
	"maps"
	"math/rand/v2"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Times of RFC 2236 §8 and RFC 2710 §7.
const (
	repeatMax4  = 10 * time.Second  // Unsolicited Report Interval
	repeatMax6  = time.Second       // likewise; RFC 3810 §9.11
	respMaxV1   = 10 * time.Second  // Max Response Time of a querier of version 1
	v1RouterFor = 400 * time.Second // Version 1 Router Present Timeout

	// MaxDefault is how many memberships a host may have.
	MaxDefault = 1024

	never = time.Duration(1<<63 - 1)
)

var (
	allHosts4     = netip.AddrFrom4([4]byte{224, 0, 0, 1})
	allNodes6     = netip.MustParseAddr("ff02::1")
	allNodesHere6 = netip.MustParseAddr("ff01::1")
)

// A Kind is a message about a group.
type Kind uint8

const (
	ReportV1  Kind = iota + 1 // IGMPv1 membership report
	ReportV2                  // IGMPv2 membership report
	LeaveV2                   // IGMPv2 leave group
	ReportMLD                 // MLDv1 multicast listener report
	DoneMLD                   // MLDv1 multicast listener done
)

var kindText = [...]string{ReportV1: "v1 report", ReportV2: "v2 report", LeaveV2: "leave", ReportMLD: "mld report", DoneMLD: "mld done"}

func (k Kind) String() string { return kindText[k] }

// A Sender does what the table wants done. Its method is called without the
// table's lock.
type Sender interface {
	// Report sends a message of the kind k about a group by an adapter. See
	// [Message].
	Report(adapter int32, group netip.Addr, k Kind)
}

// A Key names a membership.
type Key struct {
	Adapter int32
	Group   netip.Addr
}

// A membership is a group that somebody here has joined. It is guarded by the
// table's mutex.
type membership struct {
	key   Key
	count int           // joins without their leave
	at    time.Duration // when to report: DELAYING; never: IDLE
	last  bool          // we were the last to report it
}

// A Table is a host's memberships.
type Table struct {
	snapshot atomic.Pointer[map[Key]*membership] // for Member: keys only

	mu    sync.Mutex // leaf; guards all below
	list  []*membership
	v1    map[int32]time.Duration // until when an adapter's querier is of version 1
	rand  *rand.Rand
	limit int
}

// New returns an empty table of at most limit memberships, 0 means MaxDefault,
// that draws its delays from src.
func New(limit int, src rand.Source) *Table {
	if limit <= 0 {
		limit = MaxDefault
	}
	t := &Table{v1: make(map[int32]time.Duration), rand: rand.New(src), limit: limit}
	t.snapshot.Store(new(map[Key]*membership))
	return t
}

// Member reports whether packets to a group that come in by an adapter are for
// us. It takes no lock.
func (t *Table) Member(adapter int32, group netip.Addr) bool {
	if group == allHosts4 || group == allNodes6 || group == allNodesHere6 {
		return true
	}
	_, ok := (*t.snapshot.Load())[Key{adapter, group.WithZone("")}]
	return ok
}

// find returns a membership, nil if there is none.
func (t *Table) find(k Key) *membership { return (*t.snapshot.Load())[k] }

// change publishes a changed copy of the memberships.
func (t *Table) change(f func(map[Key]*membership)) {
	m := maps.Clone(*t.snapshot.Load())
	if m == nil {
		m = make(map[Key]*membership)
	}
	f(m)
	t.snapshot.Store(&m)
}

// told is what is to be sent once the table is unlocked.
type told []struct {
	k    Key
	kind Kind
}

func (l *told) add(k Key, kind Kind) {
	*l = append(*l, struct {
		k    Key
		kind Kind
	}{k, kind})
}

func (l told) tell(s Sender) {
	for _, x := range l {
		s.Report(x.k.Adapter, x.k.Group, x.kind)
	}
}

// Join adds a membership, or counts one more. It reports false if the table is
// full or the address is not a group's.
func (t *Table) Join(now time.Duration, adapter int32, group netip.Addr, s Sender) bool {
	if !group.IsMulticast() || group.Is4In6() {
		return false
	}
	k := Key{adapter, group.WithZone("")}
	var l told
	t.mu.Lock()
	m := t.find(k)
	switch {
	case m != nil:
		m.count++
	case len(t.list) >= t.limit:
		t.mu.Unlock()
		return false
	default:
		m = &membership{key: k, count: 1, at: never}
		t.list = append(t.list, m)
		t.change(func(all map[Key]*membership) { all[k] = m })
		t.announce(now, m, &l)
	}
	t.mu.Unlock()
	l.tell(s)
	return true
}

// announce reports a new membership, at once and once more later (RFC 2236 §3,
// RFC 2710 §4).
func (t *Table) announce(now time.Duration, m *membership, l *told) {
	if !reported(m.key.Group) {
		return
	}
	t.report(now, m, l)
	m.at = now + t.delay(repeatMax(m.key.Group))
}

func repeatMax(group netip.Addr) time.Duration {
	if group.Is4() {
		return repeatMax4
	}
	return repeatMax6
}

// report says that we are a member.
func (t *Table) report(now time.Duration, m *membership, l *told) {
	kind := ReportMLD
	if m.key.Group.Is4() {
		kind = ReportV2
		if now < t.v1[m.key.Adapter] {
			kind = ReportV1
		}
	}
	m.last, m.at = true, never
	l.add(m.key, kind)
}

// delay is a random time greater than 0 and at most most; 0 if that is.
func (t *Table) delay(most time.Duration) time.Duration {
	if most <= 0 {
		return 0
	}
	return 1 + time.Duration(t.rand.Int64N(int64(most)))
}

// reported reports whether routers are told of a group: not of all nodes (RFC
// 2236 §6, RFC 2710 §5), nor of what never leaves the link or the node.
func reported(group netip.Addr) bool {
	if group.Is4() {
		b := group.As4()
		return b[0] != 224 || b[1] != 0 || b[2] != 0
	}
	scope := group.As16()[1] & 15
	return scope > 1 && group != allNodes6
}

// Leave takes back one Join. It reports false if there was none.
func (t *Table) Leave(now time.Duration, adapter int32, group netip.Addr, s Sender) bool {
	k := Key{adapter, group.WithZone("")}
	var l told
	t.mu.Lock()
	m := t.find(k)
	if m == nil {
		t.mu.Unlock()
		return false
	}
	if m.count--; m.count == 0 {
		t.list = slices.DeleteFunc(t.list, func(x *membership) bool { return x == m })
		t.change(func(all map[Key]*membership) { delete(all, k) })
		switch {
		case !m.last:
			// Another member reported after us, and is there still (RFC 2236 §3).
		case k.Group.Is6():
			l.add(k, DoneMLD)
		case now >= t.v1[k.Adapter]:
			l.add(k, LeaveV2)
		}
	}
	t.mu.Unlock()
	l.tell(s)
	return true
}

// Announce reports an adapter's memberships as if they were new, for an adapter
// that has come up or has got its first address.
func (t *Table) Announce(now time.Duration, adapter int32, s Sender) {
	var l told
	t.mu.Lock()
	for _, m := range t.list {
		if m.key.Adapter == adapter {
			t.announce(now, m, &l)
		}
	}
	t.mu.Unlock()
	l.tell(s)
}

// Flush forgets the memberships of an adapter that is gone; 0 means all. Nobody
// is told.
func (t *Table) Flush(adapter int32) {
	gone := func(k Key) bool { return adapter == 0 || k.Adapter == adapter }
	t.mu.Lock()
	defer t.mu.Unlock()
	t.list = slices.DeleteFunc(t.list, func(m *membership) bool { return gone(m.key) })
	t.change(func(all map[Key]*membership) {
		maps.DeleteFunc(all, func(k Key, _ *membership) bool { return gone(k) })
	})
	maps.DeleteFunc(t.v1, func(a int32, _ time.Duration) bool { return adapter == 0 || a == adapter })
}

// Deadline is the instant of the next Timeout call that will do something.
func (t *Table) Deadline() time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	at := never
	for _, m := range t.list {
		at = min(at, m.at)
	}
	return at
}

// Timeout reports the memberships whose delay is over, in the order of their
// joining. After a query that allows no delay one is due at once.
func (t *Table) Timeout(now time.Duration, s Sender) {
	var l told
	t.mu.Lock()
	for _, m := range t.list {
		if m.at <= now {
			t.report(now, m, &l)
		}
	}
	t.mu.Unlock()
	l.tell(s)
}

// An Info describes one membership for people.
type Info struct {
	Key
	Count    int  // joins
	Delaying bool // a report is to be sent
	Last     bool // we were the last to report
}

// All returns the memberships in the order of their joining.
func (t *Table) All() []Info {
	t.mu.Lock()
	defer t.mu.Unlock()
	all := make([]Info, 0, len(t.list))
	for _, m := range t.list {
		all = append(all, Info{m.key, m.count, m.at != never, m.last})
	}
	return all
}
