package host

import (
	"time"

	"github.com/towpath/towpath/clock"
	"github.com/towpath/towpath/packet"
	"github.com/towpath/towpath/tcp"
)

// timeWait is a connection in TIME-WAIT: its entry in the table, and what
// answers its peer.
type timeWait struct {
	entry connEntry
	tcp.TimeWait
	next, prev *timeWait
}

// timeWaits keeps connections in TIME-WAIT in the order in which they came,
// which is nearly that of their ends: one timer serves them all.
type timeWaits struct {
	first, last *timeWait
	n           int
	timer       clock.Entry
}

// keepTimeWait puts a connection's remains in the table in place of its
// socket.
func (ln *lane) keepTimeWait(s *tcpSocket, tw tcp.TimeWait) {
	ln.tcp.remove(&s.entry)
	t := &ln.timeWait
	if t.n >= ln.conf.set.TimeWaitMax {
		ln.stats.TimeWaitOverflow++
		return
	}
	w := &timeWait{TimeWait: tw}
	if ln.conf.set.TCPRFC1337 {
		w.IgnoreResets()
	}
	w.entry.wait, w.entry.shares = w, s.entry.shares
	f := &s.entry.Tuple
	ln.tcp.insert(&w.entry, f.Src, f.Dst, f.SrcPort, f.DstPort)
	t.n++
	w.prev = t.last
	if t.last == nil {
		t.first = w
	} else {
		t.last.next = w
	}
	t.last = w
	if t.timer.Fire == nil {
		t.timer.Fire = ln.timeWaitsDue
	}
	if !t.timer.Pending() {
		ln.schedule(&t.timer, w.Deadline())
	}
}

// timeWaitsDue forgets connections whose time is over.
func (ln *lane) timeWaitsDue(now time.Duration) {
	t := &ln.timeWait
	for t.first != nil && t.first.Deadline() <= now {
		ln.endTimeWait(t.first)
	}
	if t.first != nil {
		ln.schedule(&t.timer, t.first.Deadline())
	}
}

// endTimeWait forgets a connection.
func (ln *lane) endTimeWait(w *timeWait) {
	ln.tcp.remove(&w.entry)
	t := &ln.timeWait
	if w.prev != nil {
		w.prev.next = w.next
	} else {
		t.first = w.next
	}
	if w.next != nil {
		w.next.prev = w.prev
	} else {
		t.last = w.prev
	}
	w.next, w.prev = nil, nil
	t.n--
}

func (t *timeWaits) clear(ln *lane) {
	for t.first != nil {
		ln.endTimeWait(t.first)
	}
	ln.wheel.Cancel(&t.timer)
}

// timeWaitReuseAge is how long a connection must have been in TIME-WAIT before
// connecting may take its addresses (Linux: tcp_tw_reuse_delay).
const timeWaitReuseAge = time.Second

// timeWaitIn takes a segment for a connection in TIME-WAIT. It reports whether
// the segment opens a new connection, whose sequence numbers shall then begin
// at isn; otherwise p is gone.
func (ln *lane) timeWaitIn(w *timeWait, p *packet.Packet) (isn uint32, reuse bool) {
	reply, verdict, reason := w.Receive(ln.now, p, &ln.pool)
	if verdict != tcp.TimeWaitDrop {
		ln.endTimeWait(w)
	}
	if verdict == tcp.TimeWaitReuse {
		return w.ISN(), true
	}
	if reply != nil {
		ln.tcpReply(reply, p)
	}
	ln.drop(p, reason)
	return 0, false
}
