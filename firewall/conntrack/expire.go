package conntrack

// The wheel has slots of 2³⁰ ns, about a second. Deadlines beyond its end hang
// in its last slot and are looked at when it comes round.
const (
	tickShift  = 30
	wheelSlots = 512
	sweepMax   = 32 // entries that one packet looks at
)

type wheel struct {
	slots [wheelSlots]*Entry
	tick  uint32 // the slot that is looked at next
}

// tickOf is the tick at which whatever ends at an instant has ended.
func tickOf(at instant) uint32 { return uint32((at + 1<<tickShift - 1) >> tickShift) }

func (w *wheel) add(e *Entry) {
	e.tick = min(max(tickOf(e.expires), w.tick), w.tick+wheelSlots-1)
	head := &w.slots[e.tick%wheelSlots]
	e.wheel = link{next: *head}
	if *head != nil {
		(*head).wheel.prev = e
	}
	*head = e
	e.onWheel = true
}

func (w *wheel) remove(e *Entry) {
	if !e.onWheel {
		return
	}
	if head := &w.slots[e.tick%wheelSlots]; *head == e {
		*head = e.wheel.next
	} else {
		e.wheel.prev.wheel.next = e.wheel.next
	}
	if e.wheel.next != nil {
		e.wheel.next.wheel.prev = e.wheel.prev
	}
	e.wheel = link{}
	e.onWheel = false
}

// extend moves an entry's deadline. One that comes later is only written down.
func (t *Table) extend(e *Entry, at instant) {
	e.expires = at
	if e.onWheel && tickOf(at) < e.tick {
		t.wheel.remove(e)
		t.wheel.add(e)
	}
}

// sweep looks at entries that are due, at most n. It reports whether it has
// looked at all.
func (t *Table) sweep(now instant, n int) bool {
	w := &t.wheel
	for start, end := w.tick, uint32(now>>tickShift); w.tick <= end; w.tick++ {
		if w.tick-start == wheelSlots {
			return false // nobody has swept for long
		}
		head := &w.slots[w.tick%wheelSlots]
		for *head != nil {
			if n--; n < 0 {
				return false
			}
			e := *head
			w.remove(e)
			if e.expires <= now {
				t.remove(e)
				continue
			}
			w.add(e) // its life was extended, to beyond this tick
		}
	}
	return true
}
