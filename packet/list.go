package packet

// A List is a queue of packets linked through the packets themselves. The zero
// value is an empty list. A packet is on at most one list.
type List struct {
	head, tail *Packet
	n          int
}

// Len is the number of packets.
func (l *List) Len() int { return l.n }

// Empty reports whether there is none.
func (l *List) Empty() bool { return l.head == nil }

// First lends the first packet, nil if there is none.
func (l *List) First() *Packet { return l.head }

// Last lends the last packet, nil if there is none.
func (l *List) Last() *Packet { return l.tail }

// Next lends the packet behind p in its list, nil if p is the last.
func (p *Packet) Next() *Packet { return p.next }

// Push takes p and puts it at the end.
func (l *List) Push(p *Packet) {
	p.next = nil
	if l.tail == nil {
		l.head = p
	} else {
		l.tail.next = p
	}
	l.tail = p
	l.n++
}

// PushFront takes p and puts it at the front.
func (l *List) PushFront(p *Packet) {
	p.next = l.head
	l.head = p
	if l.tail == nil {
		l.tail = p
	}
	l.n++
}

// InsertAfter takes q and puts it behind p, which is on l; a nil p means the
// front.
func (l *List) InsertAfter(p, q *Packet) {
	if p == nil {
		l.PushFront(q)
		return
	}
	q.next = p.next
	p.next = q
	if l.tail == p {
		l.tail = q
	}
	l.n++
}

// RemoveAfter takes the packet behind p off the list and returns it; a nil p
// means the first. It returns nil if there is none.
func (l *List) RemoveAfter(p *Packet) *Packet {
	if p == nil {
		return l.Pop()
	}
	q := p.next
	if q == nil {
		return nil
	}
	p.next = q.next
	if l.tail == q {
		l.tail = p
	}
	q.next = nil
	l.n--
	return q
}

// Pop takes the first packet off the list, nil if there is none.
func (l *List) Pop() *Packet {
	p := l.head
	if p == nil {
		return nil
	}
	l.head = p.next
	if l.head == nil {
		l.tail = nil
	}
	p.next = nil
	l.n--
	return p
}

// Append moves all packets of m to the end of l and leaves m empty.
func (l *List) Append(m *List) {
	if m.head == nil {
		return
	}
	if l.tail == nil {
		l.head = m.head
	} else {
		l.tail.next = m.head
	}
	l.tail = m.tail
	l.n += m.n
	*m = List{}
}

// Take moves the first n packets of l, or all if there are fewer, to the end
// of dst.
func (l *List) Take(dst *List, n int) {
	if n >= l.n {
		dst.Append(l)
		return
	}
	if n <= 0 {
		return
	}
	last := l.head
	for i := 1; i < n; i++ {
		last = last.next
	}
	part := List{head: l.head, tail: last, n: n}
	l.head = last.next
	l.n -= n
	last.next = nil
	dst.Append(&part)
}

// Free ends every packet on the list without a reason: they have served.
func (l *List) Free() {
	for p := l.Pop(); p != nil; p = l.Pop() {
		Free(p)
	}
}

// Drop ends every packet on the list for the reason r and returns how many
// there were, for the caller to count.
func (l *List) Drop(r Reason) int {
	n := 0
	for p := l.Pop(); p != nil; p = l.Pop() {
		Drop(p, r)
		n++
	}
	return n
}
