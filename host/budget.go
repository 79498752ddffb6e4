package host

import (
	"sync/atomic"
	"unsafe"
)

// What sockets cost without their queues, in bytes: the objects, their table
// entries, and the channels on which goroutines sleep.
const (
	tcpSocketCost = int64(unsafe.Sizeof(tcpSocket{})) + 256
	udpSocketCost = int64(unsafe.Sizeof(udpSocket{})) + 256
	// queueFloor is how much a connection may queue each way however short
	// memory is, so that everybody goes on: the packet that reaches it is still
	// taken, whole.
	queueFloor = 4 << 10
)

// A budget counts the memory that a host's sockets and queues hold, in bytes,
// against a limit. Beyond it new sockets are refused with ENOBUFS, datagrams and
// data are dropped with a reason of their own, and writers wait; a connection
// always has queueFloor each way.
type budget struct{ used atomic.Int64 }

// add counts n more bytes; n may be negative.
func (b *budget) add(n int64) { b.used.Add(n) }

// exceeded reports whether n more bytes would be beyond the limit.
func (b *budget) exceeded(n, limit int64) bool { return b.used.Load()+n > limit }

// charge counts what the connection's queues hold now.
func (s *tcpSocket) charge(ln *lane) {
	if n := s.conn.Footprint(); n != s.charged {
		ln.host.mem.add(int64(n - s.charged))
		s.charged = n
	}
	if s.starved && s.conn.Unacked() < queueFloor {
		s.starved = false
		ln.wake(s.wr.Wake())
	}
}

// allowance is how many of n bytes the connection may queue for sending.
func (s *tcpSocket) allowance(ln *lane, n int) int {
	if !ln.host.mem.exceeded(int64(n), ln.conf.set.MemoryMax) {
		return n
	}
	n = min(n, max(queueFloor-s.conn.Unacked(), 0))
	s.starved = n == 0
	return n
}
