package frag

import (
	"github.com/towpath/towpath/packet"
	"github.com/towpath/towpath/wire"
)

// assemble makes one packet of a complete datagram. The fragments end, or go to
// keep if that is not nil.
func (d *datagramState) assemble(keep *packet.List) *packet.Packet {
	by := d.references() <= packet.FragsMax
	w := d.lendFirst()
	d.list.Pop()
	if keep != nil {
		first := w
		w = first.Clone()
		keep.Push(first)
	}
	if by {
		refer(w, &d.list)
	} else {
		gather(w, &d.list)
	}
	if keep != nil {
		keep.Append(&d.list)
	} else {
		d.list.Free()
	}
	w.Checksum, w.GSO = packet.ChecksumNone, packet.GSO{}
	if w.Src.Is4() {
		d.mend4(w)
	} else {
		d.mend6(w)
	}
	return w
}

// references is how many references to chunks the whole packet takes, or a few
// more.
func (d *datagramState) references() int {
	n, linear := 0, 0
	var last packet.Frag
	for p := d.list.First(); p != nil; p = p.Next() {
		if b := len(p.From(p.Transport)); p != d.list.First() && b > 0 {
			linear += b
			last = packet.Frag{}
			n++
		}
		for _, f := range p.Frags() {
			if f.Chunk != last.Chunk || f.Off != last.Off+last.Len {
				n++
			}
			last = f
		}
	}
	return n + linear/packet.LargeChunk
}

// refer makes w refer to the payload of the pieces on l. Linear bytes are copied
// into a chunk that they share.
func refer(w *packet.Packet, l *packet.List) {
	left := 0
	for p := l.First(); p != nil; p = p.Next() {
		left += len(p.From(p.Transport))
	}
	var c *packet.Chunk
	used := 0
	for p := l.First(); p != nil; p = p.Next() {
		for b := p.From(p.Transport); len(b) > 0; {
			if c == nil || used == len(c.Bytes()) {
				if c != nil {
					c.Release()
				}
				c, used = packet.GetChunk(left), 0
			}
			n := copy(c.Bytes()[used:], b)
			must(w.AppendFrag(c, used, n))
			used, left, b = used+n, left-n, b[n:]
		}
		for _, f := range p.Frags() {
			must(w.AppendFrag(f.Chunk, int(f.Off), int(f.Len)))
		}
	}
	if c != nil {
		c.Release()
	}
}

// gather copies everything behind w's head, and the payload of the pieces on l,
// into chunks of w's own.
func gather(w *packet.Packet, l *packet.List) {
	left := w.Len() - w.HeadLen()
	for p := l.First(); p != nil; p = p.Next() {
		left += p.LenFrom(p.Transport)
	}
	g := gatherer{left: left}
	for _, f := range w.Frags() {
		g.add(f.Bytes())
	}
	w.Truncate(w.HeadLen())
	g.w = w
	for p := l.First(); p != nil; p = p.Next() {
		g.add(p.From(p.Transport))
		for _, f := range p.Frags() {
			g.add(f.Bytes())
		}
	}
	g.flush()
}

// A gatherer fills chunks and hands them to w, once that is set.
type gatherer struct {
	w    *packet.Packet
	left int // bytes to come
	c    *packet.Chunk
	used int
	full [2]*packet.Chunk // filled before w was set
	n    int
}

func (g *gatherer) add(b []byte) {
	for len(b) > 0 {
		if g.c == nil {
			g.c, g.used = packet.GetChunk(g.left), 0
		}
		n := copy(g.c.Bytes()[g.used:], b)
		g.used, g.left, b = g.used+n, g.left-n, b[n:]
		if g.used == len(g.c.Bytes()) {
			g.full[g.n], g.n, g.c = g.c, g.n+1, nil
		}
	}
}

func (g *gatherer) flush() {
	for _, c := range g.full[:g.n] {
		must(g.w.AppendOwned(c, 0, len(c.Bytes())))
	}
	if g.c != nil {
		must(g.w.AppendOwned(g.c, 0, g.used))
	}
}

// must says that references have been counted.
func must(ok bool) {
	if !ok {
		panic("frag: more references than counted")
	}
}

// ecn is the codepoint of the whole: congestion experienced if any fragment says
// so, else the first fragment's (RFC 3168 §5.3).
func (d *datagramState) ecn(first uint8) uint8 {
	const ce = 3
	if d.ecns&(1<<ce) != 0 {
		return ce
	}
	return first & 3
}

// mend4 makes the first fragment's header the whole packet's.
func (d *datagramState) mend4(w *packet.Packet) {
	ip := wire.IPv4(w.From(w.Net))
	w.TOS = w.TOS&^3 | d.ecn(w.TOS)
	var flags wire.IPv4Flags
	if d.df() {
		flags = wire.IPv4DF
	}
	ip.SetTOS(w.TOS)
	ip.SetTotalLen(ip.HeaderLen() + d.total)
	ip.SetFragment(flags, 0)
	ip.UpdateChecksum()
}

// mend6 takes the Fragment header out: what stands before it moves up.
func (d *datagramState) mend6(w *packet.Packet) {
	from := min(w.Start(), w.Net)
	if w.Link != 0 && w.Link < from {
		from = w.Link
	}
	b := w.From(from)
	at := int(w.Net-from) + d.fragmentAt
	next := b[at]
	copy(b[wire.FragmentLen:], b[:at])
	if w.Link >= from {
		w.Link += wire.FragmentLen
	}
	w.Net += wire.FragmentLen
	w.Pull(wire.FragmentLen)
	ip := wire.IPv6(w.From(w.Net))
	ip[d.namedAt] = next
	w.TOS = w.TOS&^3 | d.ecn(w.TOS)
	ip.SetTrafficClass(w.TOS)
	ip.SetPayloadLen(d.hdr + d.total)
}
