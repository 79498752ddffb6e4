package frag

import (
	"time"
	"unsafe"

	"github.com/towpath/towpath/packet"
	"github.com/towpath/towpath/wire"
)

// A datagram is a packet of which fragments have come. All is guarded by the
// table's mutex until the datagram has left the table.
type datagram struct {
	datagramState
	in [orders]links
}

type datagramState struct {
	key            key
	list           packet.List    // pieces, by offset; no two overlap
	hint           *packet.Packet // the last one put on the list
	held           int            // bytes on the list
	end            int            // of the piece that reaches farthest
	total          int            // bytes of the fragmentable part; -1 while not known
	first          bool           // the piece at 0 is there
	dead           bool           // given up; remembered until the deadline
	ecns           uint8          // set of the codepoints seen
	sizeMax, dfMax int            // largest fragment, and largest with DF
	memory         int
	src            *source
	born, deadline time.Duration

	// Of the first fragment.
	hdr                 int
	proto               wire.Proto
	transport           uint16
	fragmentAt, namedAt int
}

// entryCost is the memory that a datagram costs beside its fragments: the entry,
// its source and their places in the maps.
const entryCost = int(unsafe.Sizeof(datagram{})+unsafe.Sizeof(source{})) + 2*int(unsafe.Sizeof(key{})) + 64

// place finds where on the list f belongs: behind prev, or first if that is nil.
// A reason says that it does not belong there: the datagram is to be given up,
// unless f is a mere duplicate.
func (d *datagram) place(f *fragment, p *packet.Packet) (prev *packet.Packet, r packet.Reason) {
	if ecns := d.ecns | 1<<f.ecn; ecns&1 != 0 && ecns != 1 {
		// Some fragments of a sender that knows ECN and some of one that does
		// not: there is no codepoint for the whole that hides no congestion
		// (RFC 3168 §5.3).
		return nil, packet.ReasonFragECN
	}
	if d.total >= 0 && f.end > d.total || !f.more && (f.end < d.end || d.total >= 0 && f.end != d.total) {
		return nil, packet.ReasonFragEnd
	}
	next := d.list.First()
	switch {
	case next == nil:
	case f.off >= d.end: // in order, as most are
		prev, next = d.list.Last(), nil
	default:
		if d.hint != nil && offset(d.hint) <= f.off {
			prev, next = d.hint, d.hint.Next()
		}
		for next != nil && offset(next) <= f.off {
			prev, next = next, next.Next()
		}
		if prev != nil && f.same(p, prev) {
			return nil, packet.ReasonFragDuplicate
		}
		if prev != nil && offset(prev)+prev.LenFrom(prev.Transport) > f.off || next != nil && offset(next) < f.end {
			return nil, packet.ReasonFragOverlap
		}
	}
	if d.list.Len() == FragmentsMax {
		return nil, packet.ReasonFragMany
	}
	return prev, packet.NotDropped
}

// insert puts p on the list behind prev and returns what it costs.
func (d *datagram) insert(f *fragment, p, prev *packet.Packet) int {
	next := d.list.First()
	if prev != nil {
		next = prev.Next()
	}
	if p.Len() <= p.LinearMax() {
		p.Linear(p.Len()) // rather than keep a chunk for a few bytes
	}
	n := cost(p, prev, next)
	p.Transport = f.at
	d.list.InsertAfter(prev, p)
	d.hint = p
	d.held += f.end - f.off
	d.end = max(d.end, f.end)
	d.ecns |= 1 << f.ecn
	d.sizeMax = max(d.sizeMax, f.size)
	if f.df {
		d.dfMax = max(d.dfMax, f.size)
	}
	if !f.more {
		d.total = f.end
	}
	if f.off == 0 {
		d.first = true
		d.hdr, d.proto, d.transport = f.hdr, f.proto, f.transport
		d.fragmentAt, d.namedAt = f.fragmentAt, f.namedAt
	}
	return n
}

// df reports whether the largest fragment must not be cut further.
func (d *datagramState) df() bool { return d.dfMax > 0 && d.dfMax == d.sizeMax }

// by reports whether a fragment came in by an adapter.
func (d *datagram) by(adapter int32) bool {
	for p := d.list.First(); p != nil; p = p.Next() {
		if p.Ingress == adapter {
			return true
		}
	}
	return false
}

// lendFirst returns the first fragment with what it tells of its upper layer.
func (d *datagramState) lendFirst() *packet.Packet {
	p := d.list.First()
	p.Proto, p.Transport = d.proto, d.transport
	return p
}
