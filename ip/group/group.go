package group

import (
	"maps"
	"math/rand/v2"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/towpath/towpath/wire"
)

// Times and counts of RFC 3376 §8 and RFC 3810 §9, which RFC 2236 §8 and RFC 2710
// §7 have too.
const (
	robustnessDefault = 2
	repeatDefault2    = 10 * time.Second // Unsolicited Report Interval of IGMPv2 and MLDv1
	repeatDefault3    = time.Second      // of IGMPv3 and MLDv2
	queryDefault      = 125 * time.Second
	respDefault       = 10 * time.Second // Query Response Interval

	never = time.Duration(1<<63 - 1)
)

// Bounds.
const (
	// MaxDefault is how many groups a host may be a member of.
	MaxDefault = 1024

	sourcesPerGroup = 16  // that the parties of a table may list, on average
	askedMax        = 256 // sources of queries about a group that are remembered
)

var (
	allHosts4     = netip.AddrFrom4([4]byte{224, 0, 0, 1})
	allNodes6     = netip.MustParseAddr("ff02::1")
	allNodesHere6 = netip.MustParseAddr("ff01::1")
)

// A Version is one of the protocols, of which those of IPv4 and IPv6 that are
// alike have the same.
type Version uint8

const (
	V1 Version = iota + 1 // IGMPv1
	V2                    // IGMPv2 and MLDv1: groups
	V3                    // IGMPv3 and MLDv2: groups and sources
)

// A Link says how to speak of groups on an adapter. Zero fields mean what the
// RFCs say.
type Link struct {
	MTU     int     // bytes of the IP packets that fit; 0 means 1500
	Version Version // the newest to speak; 0 means V3
	Strict  bool    // queriers of older versions are not heeded (RFC 3810 §10)
	// LocalQuiet: groups of 224.0.0.0/24, which no router forwards, are not told
	// of.
	LocalQuiet bool
	// Robustness is how often news are told, unless the querier says otherwise.
	Robustness int
	// Repeat2 and Repeat3 are the longest times between them, of V2 and V3.
	Repeat2, Repeat3 time.Duration
}

func (l *Link) fill() {
	if l.MTU <= 0 {
		l.MTU = 1500
	}
	if l.Version == 0 {
		l.Version = V3
	}
	if l.Robustness <= 0 {
		l.Robustness = robustnessDefault
	}
	if l.Repeat2 <= 0 {
		l.Repeat2 = repeatDefault2
	}
	if l.Repeat3 <= 0 {
		l.Repeat3 = repeatDefault3
	}
}

// A Sender knows the adapters and sends for the table.
type Sender interface {
	// Link says how to speak on an adapter. It must not call the table.
	Link(adapter int32, v6 bool) Link
	// Send sends a message by an adapter. It is called without the table's
	// lock. See [Message.Put].
	Send(adapter int32, m *Message)
}

// A Key names a membership.
type Key struct {
	Adapter int32
	Group   netip.Addr
}

func (k Key) v6() bool { return k.Group.Is6() }

// A membership is a group that somebody here listens to on an adapter, or did so
// until a moment ago. It is guarded by the table's mutex.
type membership struct {
	key    Key
	wishes wishes
	filter Filter // what comes of them

	// What other systems are told without having asked.
	changeAt time.Duration      // when to tell again; never
	modeLeft int                // reports that still have the filter mode in them
	left     map[netip.Addr]int // likewise the source

	// Answers.
	at      time.Duration // when to answer, or of V1 and V2 to report again; never: IDLE
	asked   []netip.Addr  // the sources asked for; none: the group
	repeats int           // V1 and V2: unsolicited reports left
	last    bool          // V1 and V2: we were the last to report
}

// dead reports whether there is nothing more to do or to tell.
func (m *membership) dead() bool { return m.wishes.parties == 0 && m.changeAt == never }

// A querier is what is known of the routers of one family on an adapter, and how
// they are spoken to.
type querier struct {
	adapter  int32
	v6       bool
	until    [V3]time.Duration // by version: until when one of an older version is taken to be there
	speaking Version           // as found last

	// As the last query of V3 said; 0: it did not.
	robustness int
	interval   time.Duration
	response   time.Duration

	answerAt time.Duration // when to tell of all groups; never
}

// A Table is a host's memberships.
type Table struct {
	snapshot atomic.Pointer[map[Key]struct{}] // for Member

	mu       sync.Mutex // leaf; guards all below
	index    map[Key]*membership
	list     []*membership // in the order of their joining
	queriers []*querier
	sources  int // listed by all parties
	rand     *rand.Rand
	limit    int
}

// New returns an empty table of at most limit memberships, 0 means MaxDefault,
// that draws its delays from src.
func New(limit int, src rand.Source) *Table {
	if limit <= 0 {
		limit = MaxDefault
	}
	t := &Table{index: make(map[Key]*membership), rand: rand.New(src), limit: limit}
	t.snapshot.Store(new(map[Key]struct{}))
	return t
}

// Member reports whether packets to a group that come in by an adapter are for
// us, of some sources at least. It takes no lock.
func (t *Table) Member(adapter int32, group netip.Addr) bool {
	if group == allHosts4 || group == allNodes6 || group == allNodesHere6 {
		return true
	}
	_, ok := (*t.snapshot.Load())[Key{adapter, group.WithZone("")}]
	return ok
}

// publish has Member know which memberships there are.
func (t *Table) publish(k Key, member bool) {
	m := maps.Clone(*t.snapshot.Load())
	if m == nil {
		m = make(map[Key]struct{})
	}
	if member {
		m[k] = struct{}{}
	} else {
		delete(m, k)
	}
	t.snapshot.Store(&m)
}

// Join makes one more party listen to all sources of a group. It reports false
// if the table is full or the address is not a group's.
func (t *Table) Join(now time.Duration, adapter int32, group netip.Addr, s Sender) bool {
	return t.Listen(now, Key{adapter, group}, Filter{}, Everything, s)
}

// Leave takes back one Join. It reports false if there was none.
func (t *Table) Leave(now time.Duration, adapter int32, group netip.Addr, s Sender) bool {
	k := Key{adapter, group.WithZone("")}
	t.mu.Lock()
	m := t.index[k]
	ok := m != nil && m.wishes.exclude > 0
	t.mu.Unlock()
	return ok && t.Listen(now, k, Everything, Filter{}, s)
}

// Listen changes what one party wants of a group: before is the filter that it
// gave the last time, the zero Filter if none, after the one that takes its
// place (RFC 3376 §2, RFC 3810 §3). Systems on the link are told if it makes a
// difference to them. It reports false, and changes nothing, if there is no room
// or the address is not a group's.
func (t *Table) Listen(now time.Duration, k Key, before, after Filter, s Sender) bool {
	if k.Group = k.Group.WithZone(""); !k.Group.IsMulticast() || k.Group.Is4In6() {
		return false
	}
	var l told
	t.mu.Lock()
	ok := t.listen(now, k, before, after, s, &l)
	t.mu.Unlock()
	l.tell(s)
	return ok
}

func (t *Table) listen(now time.Duration, k Key, before, after Filter, s Sender, l *told) bool {
	more := len(after.Sources) - len(before.Sources)
	if more > 0 && t.sources+more > t.limit*sourcesPerGroup {
		return false
	}
	q, link := t.look(now, k.Adapter, k.v6(), s)
	m := t.index[k]
	if m == nil {
		if after.none() {
			return true
		}
		if len(t.list) >= t.limit && !t.bury() {
			return false
		}
		m = &membership{key: k, at: never, changeAt: never}
		t.index[k] = m
		t.list = append(t.list, m)
	}
	was := m.filter
	m.wishes.add(before, -1)
	m.wishes.add(after, 1)
	m.filter = m.wishes.merge()
	t.sources += more
	if was.none() != m.filter.none() {
		t.publish(k, !m.filter.none())
	}
	if link.reported(k.Group) {
		t.changed(now, m, was, q, &link, l)
	}
	if m.dead() {
		t.remove(m)
	}
	return true
}

// bury makes room by forgetting a group that is left, though that is not told as
// often as it should be. It reports whether there was one.
func (t *Table) bury() bool {
	i := slices.IndexFunc(t.list, func(m *membership) bool { return m.wishes.parties == 0 })
	if i < 0 {
		return false
	}
	t.remove(t.list[i])
	return true
}

func (t *Table) remove(m *membership) {
	delete(t.index, m.key)
	t.list = slices.DeleteFunc(t.list, func(x *membership) bool { return x == m })
}

// sweep forgets the groups that are left and of which all is told.
func (t *Table) sweep() {
	t.list = slices.DeleteFunc(t.list, func(m *membership) bool {
		if m.dead() {
			delete(t.index, m.key)
		}
		return m.dead()
	})
}

// look finds how to speak of a family's groups on an adapter: in the newest
// version that is allowed and that all queriers heard of late understand (RFC
// 3376 §7.2.1, RFC 3810 §8.2.1). If it is not that of before, what was to be
// said is not said.
func (t *Table) look(now time.Duration, adapter int32, v6 bool, s Sender) (*querier, Link) {
	link := s.Link(adapter, v6)
	link.fill()
	i := slices.IndexFunc(t.queriers, func(q *querier) bool { return q.adapter == adapter && q.v6 == v6 })
	if i < 0 {
		i = len(t.queriers)
		t.queriers = append(t.queriers, &querier{adapter: adapter, v6: v6, answerAt: never})
	}
	q := t.queriers[i]
	v := link.Version
	for old := V2; old >= V1; old-- {
		if now < q.until[old] {
			v = min(v, old)
		}
	}
	if v != q.speaking && q.speaking != 0 {
		q.answerAt = never
		for _, m := range t.list {
			if q.asks(m) {
				m.at, m.changeAt, m.modeLeft, m.repeats = never, never, 0, 0
				m.left, m.asked = nil, nil
			}
		}
		t.sweep()
	}
	q.speaking = v
	return q, link
}

// asks reports whether a membership is one that the querier asks about.
func (q *querier) asks(m *membership) bool { return m.key.Adapter == q.adapter && m.key.v6() == q.v6 }

// robust is how often news are told: as the querier says, so that one who knows
// its link to lose much may ask for more (RFC 3376 §4.1.6).
func (q *querier) robust(link *Link) int {
	if q.robustness > 0 {
		return q.robustness
	}
	return link.Robustness
}

// reported reports whether others are told of a group: not of all nodes (RFC 3376
// §5, RFC 3810 §6), nor of what never leaves the node.
func (l *Link) reported(group netip.Addr) bool {
	if group.Is4() {
		b := group.As4()
		return group != allHosts4 && !(l.LocalQuiet && b[0] == 224 && b[1] == 0 && b[2] == 0)
	}
	scope := group.As16()[1] & 15
	return scope > 1 && group != allNodes6
}

// delay is a random time greater than 0 and at most most; 0 if that is.
func (t *Table) delay(most time.Duration) time.Duration {
	if most <= 0 {
		return 0
	}
	return 1 + time.Duration(t.rand.Int64N(int64(most)))
}

// Announce tells of a family's memberships on an adapter as if they were new,
// when the adapter has come up or has got its first address.
func (t *Table) Announce(now time.Duration, adapter int32, v6 bool, s Sender) {
	var l told
	t.mu.Lock()
	q, link := t.look(now, adapter, v6, s)
	for _, m := range t.list {
		if q.asks(m) && !m.filter.none() && link.reported(m.key.Group) {
			t.changed(now, m, Filter{}, q, &link, &l)
		}
	}
	t.mu.Unlock()
	l.tell(s)
}

// Flush forgets the memberships of an adapter that is gone; 0 means all. Nobody
// is told.
func (t *Table) Flush(adapter int32) {
	gone := func(a int32) bool { return adapter == 0 || a == adapter }
	t.mu.Lock()
	defer t.mu.Unlock()
	t.list = slices.DeleteFunc(t.list, func(m *membership) bool {
		if !gone(m.key.Adapter) {
			return false
		}
		delete(t.index, m.key)
		return true
	})
	left := make(map[Key]struct{})
	for k := range *t.snapshot.Load() {
		if !gone(k.Adapter) {
			left[k] = struct{}{}
		}
	}
	t.snapshot.Store(&left)
	t.queriers = slices.DeleteFunc(t.queriers, func(q *querier) bool { return gone(q.adapter) })
	t.sources = 0
	for _, m := range t.list {
		for _, x := range m.wishes.sources {
			t.sources += x.include + x.exclude
		}
	}
}

// Deadline is the instant of the next Timeout call that will do something.
func (t *Table) Deadline() time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	at := never
	for _, q := range t.queriers {
		at = min(at, q.answerAt)
	}
	for _, m := range t.list {
		at = min(at, m.at, m.changeAt)
	}
	return at
}

// Timeout says what is due, in the order of joining. After a query that allows
// no delay an answer is due at once.
func (t *Table) Timeout(now time.Duration, s Sender) {
	var l told
	t.mu.Lock()
	for _, q := range t.queriers {
		_, link := t.look(now, q.adapter, q.v6, s)
		all := q.answerAt <= now
		if all {
			q.answerAt = never
		}
		for _, m := range t.list {
			if !q.asks(m) {
				continue
			}
			if all && link.reported(m.key.Group) {
				l.state(&link, m)
			}
			if m.at <= now && q.speaking == V3 {
				t.answer(m, &link, &l)
			} else if m.at <= now {
				t.report(now, m, q, &link, &l)
			}
			if m.changeAt <= now {
				t.tellChange(now, m, &link, &l)
			}
		}
	}
	t.sweep()
	t.mu.Unlock()
	l.tell(s)
}

// An Info describes one membership for people.
type Info struct {
	Key
	Filter
	Count    int  // parties that listen; 0: it is left, and that is still being told
	Delaying bool // something is to be said
	Last     bool // V1 and V2: we were the last to report
}

// All returns the memberships in the order of their joining.
func (t *Table) All() []Info {
	t.mu.Lock()
	defer t.mu.Unlock()
	all := make([]Info, 0, len(t.list))
	for _, m := range t.list {
		all = append(all, Info{m.key, m.filter, m.wishes.parties, min(m.at, m.changeAt) != never, m.last})
	}
	return all
}

// told is what is to be sent once the table is unlocked.
type told []struct {
	adapter int32
	mtu     int
	m       Message
}

// add has a message of V1 or V2 sent.
func (l *told) add(k Key, kind Kind) {
	*l = append(*l, struct {
		adapter int32
		mtu     int
		m       Message
	}{k.Adapter, 0, Message{Kind: kind, Group: k.Group}})
}

// record has a record sent, together with others that go by the same adapter.
func (l *told) record(link *Link, k Key, t wire.GroupRecordType, sources []netip.Addr) {
	kind := ReportV3
	if k.v6() {
		kind = ReportMLDv2
	}
	n := len(*l)
	if n == 0 || (*l)[n-1].adapter != k.Adapter || (*l)[n-1].m.Kind != kind {
		l.add(k, kind)
		(*l)[n].mtu, (*l)[n].m.Group = link.MTU, netip.Addr{}
		n++
	}
	m := &(*l)[n-1].m
	m.Records = append(m.Records, Record{t, k.Group, sources})
}

func (l told) tell(s Sender) {
	for i := range l {
		x := &l[i]
		if x.m.Records == nil {
			s.Send(x.adapter, &x.m)
			continue
		}
		split(x.m.Records, x.m.Kind.room(x.mtu), func(part []Record) {
			s.Send(x.adapter, &Message{Kind: x.m.Kind, Records: part})
		})
	}
}
