package lab

import (
	"context"
	"iter"
	"sync"
	"time"
)

// A journal keeps the last journalMax events, and of their texts no more than
// journalBytes.
const (
	journalMax   = 8192
	journalBytes = 4 << 20
)

// An Event is something that has happened in a lab.
type Event struct {
	Seq  uint64    `json:"seq"` // from 1, one after the other
	Time time.Time `json:"time"`
	Kind string    `json:"kind"` // one of the Kind constants
	Node string    `json:"node,omitempty"`
	Text string    `json:"text"`
	// Error is what went wrong; empty: nothing.
	Error string `json:"error,omitempty"`
}

// String is the event for people.
func (e Event) String() string {
	text := e.Time.Format("15:04:05.000") + " " + e.Kind
	for _, s := range []string{e.Node, e.Text} {
		if s != "" {
			text += " " + s
		}
	}
	if e.Error != "" {
		text += ": " + e.Error
	}
	return text
}

// Kinds of events.
const (
	KindUp          = "up"          // the lab is up
	KindDown        = "down"        // it is being taken down
	KindOutput      = "output"      // a line that a program has printed
	KindCommand     = "command"     // a command has been started, or has ended
	KindAction      = "action"      // something has been done to the lab
	KindExpectation = "expectation" // one has been tried
)

// journal is a lab's events. The zero value is an empty one.
type journal struct {
	mu     sync.Mutex
	events []Event // the last ones
	bytes  int     // of their texts
	last   uint64  // number of the last
	closed bool
	more   chan struct{} // closed when there is another, or an end; nil: nobody waits
}

func (j *journal) add(e Event) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.closed {
		return
	}
	j.last++
	e.Seq, e.Time = j.last, time.Now()
	j.events = append(j.events, e)
	j.bytes += len(e.Text)
	for len(j.events) > journalMax || j.bytes > journalBytes {
		j.bytes -= len(j.events[0].Text)
		j.events = j.events[1:]
	}
	j.wake()
}

func (j *journal) close() {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.closed = true
	j.wake()
}

func (j *journal) wake() {
	if j.more != nil {
		close(j.more)
		j.more = nil
	}
}

// after returns the events behind a number, and what to wait for if there are
// none; nil if none will come.
func (j *journal) after(seq uint64) ([]Event, <-chan struct{}) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if n := int(min(j.last-min(seq, j.last), uint64(len(j.events)))); n > 0 {
		return append([]Event(nil), j.events[len(j.events)-n:]...), nil
	}
	if j.closed {
		return nil, nil
	}
	if j.more == nil {
		j.more = make(chan struct{})
	}
	return nil, j.more
}

// Events returns the lab's events behind a number, 0 for all that are still
// known: the last few thousand. With follow it goes on with those that are to
// come, until ctx ends or the lab is down.
func (n *Net) Events(ctx context.Context, after uint64, follow bool) iter.Seq[Event] {
	return func(yield func(Event) bool) {
		for {
			events, more := n.journal.after(after)
			for _, e := range events {
				if !yield(e) {
					return
				}
				after = e.Seq
			}
			if len(events) > 0 {
				continue
			}
			if more == nil || !follow {
				return
			}
			select {
			case <-more:
			case <-ctx.Done():
				return
			}
		}
	}
}

// note adds an event of which err is the end.
func (n *Net) note(kind, node, text string, err error) {
	e := Event{Kind: kind, Node: node, Text: text}
	if err != nil {
		e.Error = err.Error()
	}
	n.journal.add(e)
}
