package lab

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
)

// eventsName stands where a node's name does in the output, for what events do.
const eventsName = "lab"

const (
	atMax    = 24 * time.Hour
	everyMin = 10 * time.Millisecond
)

// A Timed is an entry of a lab file's events: what is done at a time after the
// lab has come up, and perhaps again and again.
type Timed struct {
	Pos
	At, Every time.Duration // 0: not said
	Do        []*Action     // one after the other
}

// String is the entry in the file's words.
func (e *Timed) String() string {
	var b strings.Builder
	if e.At != 0 || e.Every == 0 {
		fmt.Fprintf(&b, "at %v", e.At)
	}
	if e.Every != 0 {
		if b.Len() > 0 {
			b.WriteString(", then ")
		}
		fmt.Fprintf(&b, "every %v", e.Every)
	}
	for i, a := range e.Do {
		b.WriteString([]string{": ", "; "}[min(i, 1)] + a.Text)
	}
	return b.String()
}

// readEvent reads an entry of the list of events.
func (d *diagnostics) readEvent(s *Spec, t *tree) {
	e := &Timed{Pos: t.Pos}
	var at, every, do *tree
	ok := d.mapping(t, "an event", fields{
		"at":    func(t *tree) { at = t },
		"every": func(t *tree) { every = t },
		"do":    func(t *tree) { do = t },
	})
	switch {
	case !ok:
		return
	case do == nil || at == nil && every == nil:
		d.errorf(t.Pos, `an event needs do, and at or every; write {at: 5s, do: "link down %s"}`, s.someEnd())
		return
	}
	if at != nil {
		e.At = d.instant(at)
	}
	if every != nil {
		if e.Every = d.duration(every, atMax); e.Every != 0 && e.Every < everyMin {
			d.errorf(every.Pos, "every %v is too often; write %v or more", e.Every, everyMin)
		}
	}
	d.each(do, `an action, such as "link down a:eth0"`, func(t *tree) {
		text, ok := d.word(t, `an action, such as "link down a:eth0"`)
		if !ok {
			return
		}
		a, err := s.ParseAction(text)
		if err != nil {
			d.errorf(t.Pos, "%v", err)
			return
		}
		e.Do = append(e.Do, a)
	})
	s.Events = append(s.Events, e)
}

// instant reads a time after the lab has come up, which may be 0s.
func (d *diagnostics) instant(t *tree) time.Duration {
	if t.shape == scalar && (t.text == "0" || t.text == "0s") {
		return 0
	}
	return d.duration(t, atMax)
}

// startEvents begins to count time.
func (n *Net) startEvents() {
	n.began = time.Now()
	for _, e := range n.spec.Events {
		n.programs.Go(func() { n.happen(e) })
	}
}

// happen does what an event says, when it says.
func (n *Net) happen(e *Timed) {
	next := n.began.Add(e.At)
	if e.At == 0 && e.Every != 0 {
		next = n.began.Add(e.Every)
	}
	for n.until(n.stop, next) {
		for _, a := range e.Do {
			n.output.printf(eventsName, "%v", a)
			err := n.Do(n.stop, a)
			if err == nil {
				continue
			}
			if n.stop.Err() != nil || errors.Is(err, ErrClosed) {
				return
			}
			n.output.printf(eventsName, "failed: %v", err)
			n.mu.Lock()
			if len(n.mishaps) < mishapsMax {
				n.mishaps = append(n.mishaps, fmt.Errorf("%s:%d: %v: %w", n.spec.File, e.Line, a, err))
			}
			n.mu.Unlock()
		}
		if e.Every == 0 {
			return
		}
		next = next.Add(e.Every)
	}
}

// mishapsMax bounds the failures of events that are remembered.
const mishapsMax = 100

// until sleeps until an instant; it is false if ctx ends before.
func (n *Net) until(ctx context.Context, at time.Time) bool {
	t := time.NewTimer(time.Until(at))
	defer t.Stop()
	select {
	case <-t.C:
		return ctx.Err() == nil
	case <-ctx.Done():
		return false
	}
}
