package group

import (
	"net/netip"
	"slices"
	"time"

	"github.com/towpath/towpath/wire"
)

// What is said unasked: changes, told at once and again after random delays.

// changed tells that a membership's filter is not any more what it was.
func (t *Table) changed(now time.Duration, m *membership, was Filter, q *querier, link *Link, l *told) {
	if q.speaking < V3 {
		t.changed2(now, m, was, q, link, l)
		return
	}
	n, news := q.robust(link), was.Exclude != m.filter.Exclude
	if news {
		m.modeLeft = n
	} else {
		differ(was, m.filter, func(a netip.Addr) {
			if m.left == nil {
				m.left = make(map[netip.Addr]int)
			}
			m.left[a], news = n, true
		})
	}
	if news {
		t.tellChange(now, m, link, l)
	}
}

// tellChange sends what there is to tell of a membership: a change of its mode
// with all its sources, and after that has been told often enough the sources
// that have come or gone (RFC 3376 §5.1, RFC 3810 §6.1). A report ends what was
// to be told before it, for it has all of that in it.
func (t *Table) tellChange(now time.Duration, m *membership, link *Link, l *told) {
	if m.modeLeft > 0 {
		m.modeLeft--
		kind := wire.RecordToInclude
		if m.filter.Exclude {
			kind = wire.RecordToExclude
		}
		l.record(link, m.key, kind, m.filter.Sources)
	} else {
		var allow, block []netip.Addr
		for a := range m.left {
			if m.filter.Allows(a) {
				allow = append(allow, a)
			} else {
				block = append(block, a)
			}
		}
		for _, x := range []struct {
			kind    wire.GroupRecordType
			sources []netip.Addr
		}{{wire.RecordAllow, allow}, {wire.RecordBlock, block}} {
			if len(x.sources) > 0 {
				slices.SortFunc(x.sources, netip.Addr.Compare)
				l.record(link, m.key, x.kind, x.sources)
			}
		}
	}
	for a := range m.left {
		if m.left[a]--; m.left[a] == 0 {
			delete(m.left, a)
		}
	}
	m.changeAt = never
	if m.modeLeft > 0 || len(m.left) > 0 {
		m.changeAt = now + t.delay(link.Repeat3)
	}
}

// changed2 is changed in the versions that know of groups only. Who listens to
// some sources is a member of the group.
func (t *Table) changed2(now time.Duration, m *membership, was Filter, q *querier, link *Link, l *told) {
	switch {
	case was.none() && !m.filter.none():
		m.repeats = q.robust(link)
		t.report(now, m, q, link, l)
	case was.none() || !m.filter.none() || !m.last:
		// Nothing to tell; or another member has reported after us, and is there
		// still (RFC 2236 §3).
	case m.key.v6():
		l.add(m.key, DoneMLD)
	case q.speaking == V2:
		l.add(m.key, LeaveV2)
	}
}

// report says that we are a member of a group, in V1 or V2, and sees to it that
// a new member says so more than once (RFC 2236 §3, RFC 2710 §4).
func (t *Table) report(now time.Duration, m *membership, q *querier, link *Link, l *told) {
	kind := ReportMLD
	if !m.key.v6() {
		kind = ReportV2
		if q.speaking == V1 {
			kind = ReportV1
		}
	}
	l.add(m.key, kind)
	m.last, m.at = true, never
	if m.repeats > 0 {
		m.repeats--
	}
	if m.repeats > 0 {
		m.at = now + t.delay(link.Repeat2)
	}
}
