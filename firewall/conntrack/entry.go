package conntrack

import "time"

// A Status is the bits that say what has become of a flow (Linux: enum
// ip_conntrack_status).
type Status uint32

const (
	Expected   Status = 1 << iota // another flow announced it
	SeenReply                     // it has been answered
	Assured                       // it is not given up when the table is full
	Confirmed                     // it is in the table
	SrcNAT                        // its source is translated
	DstNAT                        // its destination is translated
	SeqAdjust                     // its TCP sequence numbers are
	SrcNATDone                    // it has been decided whether its source is
	DstNATDone
	Dying // it has been in the table
	FixedTimeout
	_
	_
	HelperSet // a rule has chosen its helper
)

// A direction is an index: of the flow's first packet, or against it.
type direction uint8

const (
	original direction = iota
	reply
)

// An Entry is a flow. It belongs to its table, whose lock guards it.
type Entry struct {
	nodes   [2]node
	table   *Table
	ext     *extension
	wheel   link    // when it is to be looked at
	line    link    // of its source's list if it is not assured, or of limbo
	expires instant // the deadline
	born    instant
	tick    uint32 // of the wheel, at which it is looked at
	gen     uint32 // counts the flows that this entry has been
	id      uint32
	mark    uint32
	status  Status
	source  uint16 // list of its source
	inLine  bool
	onWheel bool
	packets [2]uint64
	bytes   [2]uint64
	tcp     tcpConn
}

// An instant is that of a host's clock.
type instant = time.Duration

// A node is one direction of a flow in the hash table.
type node struct {
	key  key
	next *node // of those that a bucket has no room for
	of   *Entry
	hash uint32
	dir  direction
}

// A link is an entry's place in a list.
type link struct{ next, prev *Entry }

// An extension is what few flows have.
type extension struct {
	labels    [16]byte
	helper    *helper
	master    *Entry // of the flow that announced it
	masterGen uint32
	expects   *expectation // those it has announced
	follow    Follow       // how it is translated, if the master was
	adjust    [2]seqAdjust
	ftp       ftpState
	holder    Holder
}

func (e *Entry) extend() *extension {
	if e.ext == nil {
		e.ext = new(extension)
	}
	return e.ext
}

func (e *Entry) helper() *helper {
	if e.ext == nil {
		return nil
	}
	return e.ext.helper
}

// A list is a queue of entries through one of their links.
type list struct {
	first, last *Entry
	n           int
}

func (l *list) push(e *Entry) {
	e.line = link{prev: l.last}
	if l.last == nil {
		l.first = e
	} else {
		l.last.line.next = e
	}
	l.last = e
	l.n++
}

// remove takes e out. The link back of the first entry means nothing: so the
// entry behind a removed first one is not touched.
func (l *list) remove(e *Entry) {
	next := e.line.next
	if l.first == e {
		l.first = next
		if next == nil {
			l.last = nil
		}
	} else {
		e.line.prev.line.next = next
		if next == nil {
			l.last = e.line.prev
		} else {
			next.line.prev = e.line.prev
		}
	}
	e.line = link{}
	l.n--
}
