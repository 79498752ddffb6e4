package socket

// Events tell what a socket is ready for, in the bits of poll(2).
type Events uint32

const (
	EventIn    Events = 0x001  // POLLIN: something to read, or accept
	EventPri   Events = 0x002  // POLLPRI: urgent data
	EventOut   Events = 0x004  // POLLOUT: room to write
	EventErr   Events = 0x008  // POLLERR: an error is pending
	EventHup   Events = 0x010  // POLLHUP: both directions are over
	EventRdHup Events = 0x2000 // POLLRDHUP: the peer sends no more
)

// A Watch is told when something happens to a socket: its channel is signalled,
// and the events, which may be more than there are, are noted. It is guarded by
// the socket's lock.
type Watch struct {
	C       chan struct{} // has room for one
	Pending Events        // since somebody last cleared it
	next    *Watch
}

// Watches is a list of watches. The zero value is empty.
type Watches struct{ first *Watch }

// Add adds w, which must not be in a list.
func (l *Watches) Add(w *Watch) { w.next, l.first = l.first, w }

// Remove removes w. It does nothing if w is not in the list.
func (l *Watches) Remove(w *Watch) {
	for p := &l.first; *p != nil; p = &(*p).next {
		if *p == w {
			*p, w.next = w.next, nil
			return
		}
	}
}

// Empty reports whether nobody watches.
func (l *Watches) Empty() bool { return l.first == nil }

// Tell notes events and calls wake for the channel of each watch.
func (l *Watches) Tell(ev Events, wake func(chan struct{})) {
	for w := l.first; w != nil; w = w.next {
		w.Pending |= ev
		wake(w.C)
	}
}
