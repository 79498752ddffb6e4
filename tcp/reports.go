package tcp

import (
	"sync"
	"time"

	"github.com/towpath/towpath/packet"
	"github.com/towpath/towpath/wire"
)

// reports is what our acknowledgments say beyond their number: which data is
// here behind holes (RFC 2018), and which came twice (RFC 2883). A connection
// has one only while there is such a thing to say.
type reports struct {
	blocks [reportsMax]wire.SACKBlock // newest first; disjoint, not adjacent
	n      int
	dup    wire.SACKBlock // to be told once; empty if there is none
}

// reportsMax is how many blocks fit an ACK (RFC 2018 §3); beside timestamps
// it is one less.
const reportsMax = 4

var reportsPool = sync.Pool{New: func() any { return new(reports) }}

// add notes that the bytes of b are here. The block that they belong to is
// the first from now on (RFC 2018 §4).
func (r *reports) add(b wire.SACKBlock) {
	var list [reportsMax]wire.SACKBlock
	n := 1
	for _, o := range r.blocks[:r.n] {
		if le(o.Left, b.Right) && le(b.Left, o.Right) {
			if lt(o.Left, b.Left) {
				b.Left = o.Left
			}
			if gt(o.Right, b.Right) {
				b.Right = o.Right
			}
			continue
		}
		if n < reportsMax {
			list[n] = o
			n++
		}
	}
	list[0] = b
	r.blocks, r.n = list, n
}

// within forgets what does not lie between the sequence numbers low and high.
func (r *reports) within(low, high uint32) {
	n := 0
	for _, b := range r.blocks[:r.n] {
		if lt(b.Left, low) {
			b.Left = low
		}
		if gt(b.Right, high) {
			b.Right = high
		}
		if lt(b.Left, b.Right) {
			r.blocks[n] = b
			n++
		}
	}
	r.n = n
}

// put adds as many blocks to o as may be, and forgets the duplicate that they
// begin with.
func (r *reports) put(o *wire.TCPOptions, most int) {
	if r.dup != (wire.SACKBlock{}) && most > 0 {
		o.SACK[0], o.NSACK = r.dup, 1
		r.dup = wire.SACKBlock{}
	}
	for _, b := range r.blocks[:r.n] {
		if o.NSACK == most {
			break
		}
		o.SACK[o.NSACK] = b
		o.NSACK++
	}
}

// report notes data behind a hole.
func (c *Conn) report(left, right uint32) {
	if c.sack {
		c.reports().add(wire.SACKBlock{Left: left, Right: right})
	}
}

// reportDup notes data that had been here before: the next ACK tells it first
// of all (RFC 2883 §4).
func (c *Conn) reportDup(left, right uint32) {
	if c.sack && lt(left, right) && !c.tune().NoDSACK {
		c.reports().dup = wire.SACKBlock{Left: left, Right: right}
	}
}

// widenDup notes more of such data, if it adjoins what is noted (Linux:
// tcp_dsack_extend).
func (c *Conn) widenDup(left, right uint32) {
	if c.rep == nil || c.rep.dup == (wire.SACKBlock{}) {
		c.reportDup(left, right)
		return
	}
	if d := &c.rep.dup; le(left, d.Right) && le(d.Left, right) {
		if lt(left, d.Left) {
			d.Left = left
		}
		if gt(right, d.Right) {
			d.Right = right
		}
	}
}

func (c *Conn) reports() *reports {
	if c.rep == nil {
		c.rep = reportsPool.Get().(*reports)
	}
	return c.rep
}

// trimReports forgets what no longer lies behind a hole, or before high.
func (c *Conn) trimReports(high uint32) {
	if c.rep != nil {
		c.rep.within(c.rcvNxt, high)
		if c.rep.n == 0 {
			c.recallReports(high)
		}
		c.settleReports()
	}
}

// recallReports looks at the first packets behind holes: there were more
// blocks than could be remembered, and those have been filled.
func (c *Conn) recallReports(high uint32) {
	p := c.ooo.First()
	for i := 0; i < 4*reportsMax && p != nil && lt(seqOf(p), high); i++ {
		right := endOf(p)
		if hasFin(p) {
			right++
		}
		c.rep.add(wire.SACKBlock{Left: seqOf(p), Right: right})
		p = p.Next()
	}
	c.rep.within(c.rcvNxt, high)
}

// settleReports gives the reports back when nothing is left to say.
func (c *Conn) settleReports() {
	if r := c.rep; r != nil && r.n == 0 && r.dup == (wire.SACKBlock{}) {
		c.rep = nil
		reportsPool.Put(r)
	}
}

func (c *Conn) freeReports() {
	if r := c.rep; r != nil {
		c.rep = nil
		*r = reports{}
		reportsPool.Put(r)
	}
}

// pushOptions writes the header in front of p's payload with as many blocks as
// the segment has room for, none beside full segments, and signs it if sign is
// not nil.
func (c *Conn) pushOptions(now time.Duration, p *packet.Packet, f *wire.TCPFields, sign *Signature) {
	var o wire.TCPOptions
	if c.ts {
		o.HasTS, o.TSVal, o.TSEcr = true, c.tsNow(now), c.tsRecent
	}
	if sign != nil {
		o.MD5 = noDigest
	}
	if c.rep != nil {
		used := o.Len() + 4
		most := max(tcpOptionsMax-used, 0) / 8
		if p.GSO.Size != 0 {
			most = 0
		} else if n := p.Len(); n > 0 {
			room := int(min(c.ourMSS, c.peerMSS)) - n - used
			most = max(min(most, room/8), 0)
		}
		c.rep.put(&o, most)
		c.settleReports()
	}
	pushHeader(p, f, &o, sign)
}
