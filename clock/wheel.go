package clock

import (
	"math"
	"math/bits"
	"time"
)

// Never is the instant that does not come: no deadline.
const Never = time.Duration(math.MaxInt64)

const (
	tickShift  = 20 // the lowest level's slots are 2^20 ns wide, about 1 ms
	slotBits   = 6
	slots      = 1 << slotBits
	levelCount = 7
	tickMax    = 1<<(levelCount*slotBits) - 1 // 2^62 ns: more than a century
)

// An Entry is one timer on a [Wheel]. Embed it in what it times; the zero
// value is an entry that is not on a wheel.
type Entry struct {
	next, prev *Entry
	at         time.Duration
	slot       int16 // level*slots + index, +1; 0 if not on the wheel

	// Fire is called by Advance, with the entry off the wheel.
	Fire func(now time.Duration)
}

// Pending reports whether the entry is on a wheel.
func (e *Entry) Pending() bool { return e.slot != 0 }

// At is the instant the entry is on the wheel for, Never if it is on none.
func (e *Entry) At() time.Duration {
	if e.slot == 0 {
		return Never
	}
	return e.at
}

// A Wheel is a hierarchical timing wheel (Varghese and Lauck 1987) without a
// tick: occupied slots are found through bit maps, and entries fire at their
// exact instants. Scheduling and cancelling take constant time. It belongs to
// one lane and its lock. The zero value is an empty wheel.
type Wheel struct {
	tick  int64 // everything before this tick has been fired or moved down
	n     int
	used  [levelCount]uint64
	heads [levelCount*slots + 1]*Entry
}

// Len is the number of entries on the wheel.
func (w *Wheel) Len() int { return w.n }

// Schedule puts e on the wheel for the instant at, moving it if it is there
// already. An instant that has passed fires at the next Advance.
func (w *Wheel) Schedule(e *Entry, at time.Duration) {
	if e.slot != 0 {
		w.Cancel(e)
	}
	e.at = at
	w.insert(e)
	w.n++
}

func (w *Wheel) insert(e *Entry) {
	tick := min(max(int64(e.at)>>tickShift, w.tick), tickMax)
	level := 0
	if diff := uint64(tick ^ w.tick); diff != 0 {
		level = min((bits.Len64(diff)-1)/slotBits, levelCount-1)
	}
	index := int(tick>>(level*slotBits)) & (slots - 1)
	i := level*slots + index
	e.slot = int16(i + 1)
	e.prev = nil
	e.next = w.heads[i]
	if e.next != nil {
		e.next.prev = e
	}
	w.heads[i] = e
	w.used[level] |= 1 << index
}

// Cancel takes e off the wheel. It does nothing if e is on none.
func (w *Wheel) Cancel(e *Entry) {
	if e.slot == 0 {
		return
	}
	w.unlink(e)
	w.n--
}

func (w *Wheel) unlink(e *Entry) {
	i := int(e.slot - 1)
	if e.next != nil {
		e.next.prev = e.prev
	}
	if e.prev != nil {
		e.prev.next = e.next
	} else {
		w.heads[i] = e.next
		if e.next == nil && i < due {
			w.used[i/slots] &^= 1 << (i % slots)
		}
	}
	e.next, e.prev, e.slot = nil, nil, 0
}

// Next is the earliest instant at which Advance has something to do: the
// exact deadline of the earliest entry if that is near, else an instant not
// after it. It is Never for an empty wheel.
func (w *Wheel) Next() time.Duration {
	if w.n == 0 {
		return Never
	}
	for level := range levelCount {
		if w.used[level] == 0 {
			continue
		}
		index := bits.TrailingZeros64(w.used[level])
		if level == 0 {
			earliest := Never
			for e := w.heads[index]; e != nil; e = e.next {
				earliest = min(earliest, e.at)
			}
			return earliest
		}
		return time.Duration(w.slotStart(level, index) << tickShift)
	}
	return Never
}

// slotStart is the first tick of a slot that lies in the future of w.tick.
func (w *Wheel) slotStart(level, index int) int64 {
	shift := level * slotBits
	above := w.tick >> (shift + slotBits) << (shift + slotBits)
	return above | int64(index)<<shift
}

// Advance fires, in the order of their instants, the entries whose instant is
// not after now. Fire functions may schedule and cancel entries; what they
// schedule for an instant that is not after now is fired too, last.
func (w *Wheel) Advance(now time.Duration) {
	for {
		at := w.Next()
		if at > now {
			break
		}
		if w.used[0] != 0 {
			w.fire(bits.TrailingZeros64(w.used[0]), now)
			continue
		}
		w.cascade()
	}
	// Slots behind us are empty; move on, but not past an occupied slot.
	if tick := int64(now) >> tickShift; tick > w.tick {
		w.moveTo(tick)
	}
}

// due is the slot of entries that are being fired, behind all others.
const due = levelCount * slots

// fire fires the entries of a lowest-level slot that are due, in order: they
// are taken off it and sorted once.
func (w *Wheel) fire(slot int, now time.Duration) {
	var list *Entry
	for e := w.heads[slot]; e != nil; {
		next := e.next
		if e.at <= now {
			w.unlink(e)
			e.next = list
			list = e
		}
		e = next
	}
	// Entries are pushed in front of a slot's list, so this one has the oldest
	// first; sorting keeps that order for equal instants.
	list = sortEntries(list)
	w.heads[due] = list
	for prev := (*Entry)(nil); list != nil; list = list.next {
		list.prev, list.slot = prev, due+1
		prev = list
	}
	for e := w.heads[due]; e != nil; e = w.heads[due] {
		w.unlink(e)
		w.n--
		e.Fire(now)
	}
}

// sortEntries sorts a list linked through next by instant: a merge sort that
// keeps the order of equals.
func sortEntries(list *Entry) *Entry {
	if list == nil || list.next == nil {
		return list
	}
	slow, fast := list, list.next
	for fast != nil && fast.next != nil {
		slow, fast = slow.next, fast.next.next
	}
	a, b := list, slow.next
	slow.next = nil
	a, b = sortEntries(a), sortEntries(b)
	var head Entry
	tail := &head
	for a != nil && b != nil {
		if b.at < a.at {
			tail.next, b = b, b.next
		} else {
			tail.next, a = a, a.next
		}
		tail = tail.next
	}
	if a == nil {
		a = b
	}
	tail.next = a
	return head.next
}

// cascade moves the entries of the first occupied slot above level 0 down.
func (w *Wheel) cascade() {
	for level := 1; level < levelCount; level++ {
		if w.used[level] == 0 {
			continue
		}
		w.moveTo(w.slotStart(level, bits.TrailingZeros64(w.used[level])))
		return
	}
}

// moveTo makes tick the wheel's current one and sorts down the entries of the
// higher-level slots that it falls into.
func (w *Wheel) moveTo(tick int64) {
	w.tick = tick
	for level := levelCount - 1; level >= 1; level-- {
		index := int(tick>>(level*slotBits)) & (slots - 1)
		if w.used[level]&(1<<index) == 0 {
			continue
		}
		// Slots at this level hold entries of the current turn only, so all
		// of these belong further down now, the oldest first.
		var e *Entry
		for x := w.heads[level*slots+index]; x != nil; x = x.next {
			x.prev, e = e, x
		}
		w.heads[level*slots+index] = nil
		w.used[level] &^= 1 << index
		for e != nil {
			next := e.prev
			w.insert(e)
			e = next
		}
	}
}
