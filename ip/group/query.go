package group

import (
	"net/netip"
	"slices"
	"time"

	"github.com/towpath/towpath/wire"
)

// What is said when somebody asks.

// A query is one that has been received.
type query struct {
	version    Version
	group      netip.Addr   // unspecified: all
	sources    []netip.Addr // V3: the only ones asked for, if there are any
	resp       time.Duration
	robustness int // V3; 0: not said
	interval   time.Duration
}

// queried takes note of a query.
func (t *Table) queried(now time.Duration, adapter int32, v6 bool, x *query, s Sender) {
	t.mu.Lock()
	defer t.mu.Unlock()
	q, link := t.look(now, adapter, v6, s)
	if x.version == V3 {
		q.robustness, q.interval = x.robustness, x.interval
		if x.group.IsUnspecified() {
			q.response = x.resp
		}
	} else {
		// The Older Version Querier Present Timeout (RFC 3376 §8.12, RFC 3810
		// §9.12).
		interval, response := q.interval, q.response
		if interval == 0 {
			interval = queryDefault
		}
		if response == 0 {
			response = respDefault
		}
		q.until[x.version] = now + time.Duration(q.robust(&link))*interval + response
		q, _ = t.look(now, adapter, v6, s)
	}
	if q.speaking == V3 {
		t.answerLater(now, q, &link, x)
		return
	}
	resp := x.resp
	if q.speaking == V1 { // RFC 2236 §4
		resp = respDefault
	}
	for _, m := range t.list {
		if !q.asks(m) || m.filter.none() || !link.reported(m.key.Group) || !x.group.IsUnspecified() && m.key.Group != x.group {
			continue
		}
		// A timer that runs is set anew only if it would miss the response time
		// (RFC 2236 §3, RFC 2710 §4).
		if m.at == never || m.at > now+resp {
			m.at = now + t.delay(resp)
		}
	}
}

// answerLater has a query of V3 answered after a random delay, by the rules of
// RFC 3376 §5.2 and RFC 3810 §6.2, which are numbered alike.
func (t *Table) answerLater(now time.Duration, q *querier, link *Link, x *query) {
	at := now + t.delay(x.resp)
	if q.answerAt <= at {
		return // 1: all will be told before
	}
	if x.group.IsUnspecified() {
		if len(x.sources) == 0 {
			q.answerAt = at // 2
		}
		return
	}
	m := t.index[Key{q.adapter, x.group}]
	if m == nil || m.filter.none() || !link.reported(x.group) {
		return
	}
	switch asked := NewFilter(false, slices.Concat(m.asked, x.sources)...).Sources; {
	case m.at == never: // 3
		m.at, m.asked = at, asked
	case len(x.sources) == 0 || len(m.asked) == 0: // 4
		m.at, m.asked = min(m.at, at), nil
	default: // 5
		m.at, m.asked = min(m.at, at), asked
	}
	if len(m.asked) > askedMax {
		m.asked = nil // the answer will be all that there is to know
	}
}

// answer tells a router of a group, or which of the sources it has asked for are
// wanted (RFC 3376 §5.2, RFC 3810 §6.3).
func (t *Table) answer(m *membership, link *Link, l *told) {
	asked := m.asked
	m.at, m.asked = never, nil
	if len(asked) == 0 {
		l.state(link, m)
		return
	}
	asked = slices.DeleteFunc(asked, func(a netip.Addr) bool { return !m.filter.Allows(a) })
	if len(asked) > 0 {
		l.record(link, m.key, wire.RecordIsInclude, asked)
	}
}

// state has a membership's filter told as it is.
func (l *told) state(link *Link, m *membership) {
	switch {
	case m.filter.none():
	case m.filter.Exclude:
		l.record(link, m.key, wire.RecordIsExclude, m.filter.Sources)
	default:
		l.record(link, m.key, wire.RecordIsInclude, m.filter.Sources)
	}
}

// heard takes another member's report for ours, in the versions in which one is
// enough. In V3 routers want to know of every member.
func (t *Table) heard(now time.Duration, adapter int32, group netip.Addr, s Sender) {
	t.mu.Lock()
	defer t.mu.Unlock()
	q, _ := t.look(now, adapter, group.Is6(), s)
	// An idle member takes no notice, by the state diagrams: it may be the one
	// that reported to the last query.
	if m := t.index[Key{adapter, group}]; m != nil && m.at != never && q.speaking < V3 {
		m.at, m.last, m.repeats = never, false, 0
	}
}
