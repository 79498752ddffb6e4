package route

import (
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// PMTUAge is how long a path MTU is believed before the path is tried anew
	// (RFC 1191 §6.3, RFC 8201 §5.3: ten minutes; Linux: mtu_expires).
	PMTUAge = 10 * time.Minute
	// PMTUMax bounds the destinations remembered.
	PMTUMax = 4096
)

// PMTU remembers the path MTU of destinations whose path takes less than their
// first link, as ICMP has told. Its mutex is a leaf. The zero value is empty.
type PMTU struct {
	gen atomic.Uint32 // moves with every change

	mu    sync.Mutex
	paths map[netip.Addr]path
	next  time.Duration // earliest end, or earlier
}

type path struct {
	mtu   int
	until time.Duration
}

// Generation changes whenever some Lookup may have another result, so that who
// keeps one knows when to ask again.
func (t *PMTU) Generation() uint32 { return t.gen.Load() }

// Lookup is the path MTU to dst in bytes, 0 if nothing is known.
func (t *PMTU) Lookup(dst netip.Addr) int {
	if t.gen.Load() == 0 {
		return 0
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.paths[dst].mtu
}

// Learn takes a path MTU that ICMP told of. It reports whether that is news: a
// path's MTU is never raised by a message, and beyond PMTUMax destinations the
// one that ends first is forgotten.
func (t *PMTU) Learn(now time.Duration, dst netip.Addr, mtu int) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.paths == nil {
		t.paths = make(map[netip.Addr]path)
		t.next = never
	}
	if p, ok := t.paths[dst]; ok && p.mtu <= mtu {
		return false
	}
	if len(t.paths) >= PMTUMax {
		t.forgetOne()
	}
	t.paths[dst] = path{mtu, now + PMTUAge}
	t.next = min(t.next, now+PMTUAge)
	t.gen.Add(1)
	return true
}

const never = time.Duration(1<<63 - 1)

// forgetOne removes the path that ends first; of equals the least address.
func (t *PMTU) forgetOne() {
	var first netip.Addr
	end := never
	for dst, p := range t.paths {
		if p.until < end || p.until == end && dst.Less(first) {
			first, end = dst, p.until
		}
	}
	delete(t.paths, first)
}

// Deadline is the instant of the next Timeout call that may do something.
func (t *PMTU) Deadline() time.Duration {
	if t.gen.Load() == 0 {
		return never
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.next
}

// Timeout forgets paths that have been believed for long enough.
func (t *PMTU) Timeout(now time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.next = never
	for dst, p := range t.paths {
		if p.until <= now {
			delete(t.paths, dst)
			t.gen.Add(1)
		} else {
			t.next = min(t.next, p.until)
		}
	}
}
