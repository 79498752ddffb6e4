package conntrack

import (
	"net/netip"
	"time"

	"github.com/towpath/towpath/packet"
	"github.com/towpath/towpath/wire"
)

// A Side is an end of a packet's tuple that can be translated.
type Side uint8

const (
	Source      Side = iota // at Postrouting and Input
	Destination             // at Prerouting and Output
)

// bits are the status bits of a side: translated, and decided.
func (s Side) bits() (translated, done Status) {
	if s == Source {
		return SrcNAT, SrcNATDone
	}
	return DstNAT, DstNATDone
}

// A Translation says how a packet is to look. Tuples of ICMP have the
// identifier for a source port.
type Translation struct {
	Pending bool // nothing has been decided about this side of the flow
	Change  bool // this side of the packet is to be as in To
	To      packet.Tuple
	Quoted  packet.Tuple // of an error: the other side of the packet that it quotes is to be as here
}

// Translation fills in what is to be done with one side of p. It reports false
// if p is of no flow.
func (t *Table) Translation(p *packet.Packet, side Side, tr *Translation) bool {
	if p.Track.Conn == nil {
		return false
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	e, dir := t.of(p)
	if e == nil {
		return false
	}
	translated, done := side.bits()
	if dir == reply {
		translated ^= SrcNAT | DstNAT
	}
	tr.Pending = e.status&(done|Confirmed) == 0
	tr.Change = e.status&translated != 0
	if tr.Change {
		back := &e.nodes[dir^1].key
		to, _ := back.reverse()
		tr.To = to.tuple()
		if p.Track.State == packet.TrackRelated && (p.Proto == wire.ProtoICMP || p.Proto == wire.ProtoICMPv6) {
			tr.Quoted = back.tuple()
		}
	}
	return true
}

// A Chooser decides how one side of a new flow is translated: it changes
// b.Tuple, or leaves it for a translation to itself.
type Chooser interface{ Choose(b *Binding) Choice }

// A Choice is what a Chooser has done.
type Choice uint8

const (
	Chosen     Choice = iota
	Undecided         // somebody else is to be asked
	Impossible        // the packet is to be dropped
)

// A Binding is a new flow whose translation is being decided. It is lent to the
// Chooser, with the table's lock held.
type Binding struct {
	Tuple    packet.Tuple // of its packets, behind what has been decided so far
	Original packet.Tuple // of its packets as they come
	Zone     uint16
	Side     Side
	Addr     netip.Addr // what Bind was given
	Follow   Follow     // set for a flow that one that is translated has announced
	// Master is the tuple of that one, in the direction against which the new
	// flow goes.
	Master packet.Tuple

	t   *Table
	e   *Entry
	now instant
}

// Bind has ch decide about a side of p's flow, if nothing has been decided yet.
// It hands addr on to ch, and reports false if p is to be dropped.
func (t *Table) Bind(p *packet.Packet, now time.Duration, side Side, ch Chooser, addr netip.Addr) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	e, _ := t.of(p)
	if e == nil {
		return false
	}
	translated, done := side.bits()
	if e.status&(Confirmed|done) != 0 {
		return true
	}
	b := &t.binding
	o, r := &e.nodes[original].key, &e.nodes[reply].key
	out, _ := r.reverse()
	*b = Binding{Tuple: out.tuple(), Original: o.tuple(), Zone: o.zone(), Side: side, Addr: addr, t: t, e: e, now: now}
	if x := e.ext; x != nil && x.follow.Set && x.master.gen == x.masterGen {
		b.Follow = x.follow
		dir := original
		if !x.follow.Against {
			dir = reply
		}
		b.Master = x.master.nodes[dir].key.tuple()
	}
	was := b.Tuple
	switch ch.Choose(b) {
	case Undecided:
		return true
	case Impossible:
		return false
	}
	e.status |= done
	if b.Tuple != was {
		k := keyOf(b.Tuple, r.zone())
		back, ok := k.reverse()
		if !ok {
			return false
		}
		e.nodes[reply].key = back
		e.status |= translated
	}
	return true
}

// Taken reports whether answers to t would be another flow's.
func (b *Binding) Taken(t packet.Tuple) bool { return b.other(t) != nil }

func (b *Binding) other(t packet.Tuple) *node {
	k := keyOf(t, b.e.nodes[reply].key.zone())
	k, ok := k.reverse()
	if !ok {
		return nil
	}
	n := b.t.find(&k, b.now)
	if n == nil || n.of == b.e {
		return nil
	}
	return n
}

// TakenHard is Taken, but a new TCP connection takes the place of one that is
// over, whose sequence numbers it has passed.
func (b *Binding) TakenHard(t packet.Tuple) bool {
	n := b.other(t)
	if n == nil {
		return false
	}
	o := n.of
	if t.Proto != wire.ProtoTCP || b.e.tcp.state != TCPSynSent || n.dir != reply ||
		o.tcp.state < TCPTimeWait || o.status&(SrcNAT|FixedTimeout) != SrcNAT ||
		!after(b.e.tcp.ends[original].end, o.tcp.ends[original].end) {
		return true
	}
	b.t.remove(o)
	return false
}

// Expected reports whether the flow was announced by another.
func (b *Binding) Expected() bool { return b.e.status&Expected != 0 }

// A Holder holds something for as long as a flow lives.
type Holder interface {
	// Release is called when the flow has ended, with the table's lock held.
	Release()
}

// Hold has h released when the flow ends.
func (b *Binding) Hold(h Holder) { b.e.extend().holder = h }

// release lets go what is held for a flow.
func (e *Entry) release() {
	if e.ext != nil && e.ext.holder != nil {
		e.ext.holder.Release()
		e.ext.holder = nil
	}
}
