package conntrack

import (
	"slices"
	"sync/atomic"
)

// An EventType is what has happened to a flow.
type EventType uint8

const (
	EventNew EventType = 1 << iota
	EventUpdate
	EventDestroy
)

// An Event is something that has happened to a flow.
type Event struct {
	Type EventType
	Flow Flow // as it is afterwards; Timeout is 0, for an event has no instant
}

// A Subscription receives events. What its channel has no room for is lost and
// counted: a packet does not wait for those who watch.
type Subscription struct {
	C    <-chan Event
	c    chan Event
	t    *Table
	mask EventType
	lost atomic.Uint64
}

// Subscribe returns a subscription to events of the types in mask, of which n
// wait at most.
func (t *Table) Subscribe(mask EventType, n int) *Subscription {
	c := make(chan Event, n)
	s := &Subscription{C: c, c: c, t: t, mask: mask}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.subs = append(slices.Clip(t.subs), s)
	return s
}

// Lost is how many events there was no room for.
func (s *Subscription) Lost() uint64 { return s.lost.Load() }

// Close ends the subscription and closes its channel.
func (s *Subscription) Close() {
	s.t.mu.Lock()
	defer s.t.mu.Unlock()
	if i := slices.Index(s.t.subs, s); i >= 0 {
		s.t.subs = slices.Delete(slices.Clone(s.t.subs), i, i+1)
		close(s.c)
	}
}

// report tells those who watch. A flow that is not in the table is no news.
func (t *Table) report(typ EventType, e *Entry) {
	if len(t.subs) == 0 || e.status&Confirmed == 0 {
		return
	}
	ev := Event{Type: typ}
	for _, s := range t.subs {
		if s.mask&typ == 0 {
			continue
		}
		if ev.Flow.Proto == "" {
			ev.Flow = t.flow(e, e.expires)
		}
		select {
		case s.c <- ev:
		default:
			s.lost.Add(1)
		}
	}
}
