package lab

import (
	"fmt"
	"slices"
	"strings"

	"github.com/towpath/towpath/link"
	"github.com/towpath/towpath/link/netem"
)

// readImpair reads what happens to a link's packets: an impairment for both
// directions, or a mapping from each direction to one.
func (d *diagnostics) readImpair(l *Link, t *tree) {
	if t.shape != mapping || !slices.ContainsFunc(t.entries, func(e entry) bool { return l.directional(e.key) }) {
		im := d.impairment(t)
		l.Impair = [2]netem.Impairment{im, im}
		return
	}
	seen := [2]int{}
	for _, e := range t.entries {
		from := l.sender(e.key)
		switch {
		case from < 0:
			a, b := l.Ends[0], l.Ends[1]
			d.errorf(e.Pos, `%q is no direction of the link; write "%s->%s" or "%s->%s"`, e.key, a, b, b, a)
		case seen[from] != 0:
			d.errorf(e.Pos, "what %s sends is impaired on line %d already; write it once", l.Ends[from], seen[from])
		default:
			seen[from] = e.Line
			l.Impair[from] = d.impairment(e.value)
		}
	}
}

// directional reports whether a key of impair was meant as a direction.
func (l *Link) directional(key string) bool {
	return strings.Contains(key, "->") || l.sender(key) >= 0
}

// sender finds the end whose packets a key speaks of: "a->b", "a:eth0->b:eth0",
// "a" or "a:eth0". It is -1 if there is none, or if it could be both.
func (l *Link) sender(key string) int {
	from, to, arrow := strings.Cut(key, "->")
	from, to = strings.TrimSpace(from), strings.TrimSpace(to)
	found := -1
	for i, end := range l.Ends {
		peer := l.Ends[1-i]
		if !end.called(from) || arrow && !peer.called(to) {
			continue
		}
		if found >= 0 {
			return -1
		}
		found = i
	}
	return found
}

// called reports whether a word names the interface or its node.
func (i *Interface) called(word string) bool { return word == i.String() || word == i.Node.Name }

// impairment reads an impairment: package netem's text, or a mapping from its
// words to their values.
func (d *diagnostics) impairment(t *tree) (im netem.Impairment) {
	if t.shape != mapping {
		text, ok := d.word(t, "an impairment, such as {delay: 10ms, loss: 1%}")
		if !ok {
			return im
		}
		im, err := netem.Parse(text)
		if err != nil {
			d.errorf(t.Pos, "impair: %v", err)
		}
		return im
	}
	bad := len(d.errors)
	for _, e := range t.entries {
		value, ok := d.word(e.value, "a value for "+e.key)
		if !ok {
			continue
		}
		if err := im.Set(e.key, value); err != nil {
			at := e.value.Pos
			if strings.Contains(err.Error(), "not an impairment") {
				at = e.Pos
			}
			d.errorf(at, "impair: %v", err)
		}
	}
	if len(d.errors) > bad {
		return netem.Impairment{}
	}
	if err := im.Validate(); err != nil {
		at := t.Pos
		for _, e := range t.entries {
			if strings.HasPrefix(err.Error(), e.key+" ") {
				at = e.value.Pos
			}
		}
		d.errorf(at, "impair: %v", err)
	}
	return im
}

// impairs are impairments in words, by the end whose packets they concern; nil
// if there are none.
func impairs(im [2]netem.Impairment) []string {
	if im[0].IsZero() && im[1].IsZero() {
		return nil
	}
	return []string{im[0].String(), im[1].String()}
}

// impairText is a link's impairments for people.
func (l *Link) impairText() string {
	all := impairs(l.Impair)
	switch {
	case all == nil:
		return ""
	case all[0] == all[1]:
		return ", " + all[0]
	}
	return fmt.Sprintf(", -> %s, <- %s", all[0], all[1])
}

// attach puts the filter of a link's impairments on its adapter. Both
// directions are impaired there, and each link has chances of its own.
func (n *Net) attach(w *wired) error {
	if w.impair[0].IsZero() && w.impair[1].IsZero() {
		return nil
	}
	c := netem.Config{Seed: n.seed(w.link), Out: w.impair[w.from], In: w.impair[1-w.from]}
	if h := n.hosts[w.link.Ends[w.from].Node.Name]; h != nil {
		c.Clock = h.Clock()
	}
	w.netem = netem.New(c)
	_, err := w.adapter.Attach(w.netem)
	return err
}

// seed is a link's own, made of the lab's.
func (n *Net) seed(l *Link) uint64 {
	seed := max(n.spec.Seed, 1)
	return seed + uint64(slices.Index(n.spec.Links, l))<<53
}

// Impair changes, while the lab is up, what happens to the packets that an end
// of a link sends: the first or, with from 1, the second.
func (n *Net) Impair(l *Link, from int, im netem.Impairment) error {
	if err := im.Validate(); err != nil {
		return err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	w := n.wire(l)
	w.impair[from] = im
	switch {
	case w.adapter == nil: // once its host is there again
		return nil
	case w.netem == nil:
		return n.attach(w)
	}
	dir := link.In
	if from == w.from {
		dir = link.Out
	}
	return w.netem.Set(dir, im)
}
