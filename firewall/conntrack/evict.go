package conntrack

import "math/bits"

// sourceLists is how many lists there are for the entries that may be given
// up. Sources share one by chance.
const sourceLists = 1024

// An evictor keeps the entries that may be given up, in the order in which they
// came, by source. Lists of the same order of magnitude are chained, so that
// one of the longest is found without looking.
type evictor struct {
	lists   [sourceLists]sourceList
	classes [33]*sourceList // by bits.Len of the lengths
	n       int
}

type sourceList struct {
	list
	class      int
	next, prev *sourceList
}

func (v *evictor) add(e *Entry) {
	l := &v.lists[e.source]
	l.push(e)
	e.inLine = true
	v.n++
	v.classify(l)
}

func (v *evictor) remove(e *Entry) {
	if !e.inLine {
		return
	}
	l := &v.lists[e.source]
	l.remove(e)
	e.inLine = false
	v.n--
	v.classify(l)
}

// classify moves a list that has become of another magnitude.
func (v *evictor) classify(l *sourceList) {
	c := bits.Len(uint(l.n))
	if c == l.class {
		return
	}
	if l.class != 0 {
		if l.prev == nil {
			v.classes[l.class] = l.next
		} else {
			l.prev.next = l.next
		}
		if l.next != nil {
			l.next.prev = l.prev
		}
	}
	l.class, l.prev, l.next = c, nil, nil
	if c == 0 {
		return
	}
	if l.next = v.classes[c]; l.next != nil {
		l.next.prev = l
	}
	v.classes[c] = l
}

// victim is the entry to give up, nil if there is none.
func (v *evictor) victim() *Entry {
	if v.n == 0 {
		return nil
	}
	c := len(v.classes) - 1
	for v.classes[c] == nil {
		c--
	}
	return v.classes[c].first
}
