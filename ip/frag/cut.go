package frag

import (
	"github.com/towpath/towpath/packet"
	"github.com/towpath/towpath/wire"
)

// headroomMin is what is kept free in front of a fragment for the headers of
// links and tunnels, if its own are so long that it must be less than
// [packet.Headroom].
const headroomMin = 64

// Cut makes of the IP packet p, whose header is at p.Net and linear up to
// p.Transport, fragments of at most mtu bytes and puts them at the end of out;
// each begins with its IP header. A packet that fits goes there as it is. They
// have p's facts, except that an IPv6 fragment's Proto is ProtoFragment, as it
// would be if it had been received. A partial checksum is completed.
//
// id identifies the fragments. An IPv4 packet that has an identification, or is
// a fragment itself, keeps its own. DF stays as it is.
//
// Cut takes p if it reports true. False means that p cannot be cut: the mtu is
// too small, p is a super-segment or an IPv6 fragment, or its headers are not
// in order. It is still the caller's then.
func Cut(p *packet.Packet, mtu int, id uint32, out *packet.List) bool {
	if p.GSO.Type != packet.GSONone {
		return false
	}
	if p.LenFrom(p.Net) <= mtu {
		if n := int(p.Net) - int(p.Start()); n >= 0 {
			p.Pull(n)
		} else {
			p.Push(-n)
		}
		out.Push(p)
		return true
	}
	var l packet.List
	var ok bool
	switch b := p.From(p.Net); {
	case len(b) > 0 && b[0]>>4 == 4:
		ok = cut4(p, mtu, uint16(id), &l)
	case len(b) > 0 && b[0]>>4 == 6:
		ok = cut6(p, mtu, id, &l)
	}
	if !ok {
		l.Free()
		return false
	}
	out.Append(&l)
	packet.Free(p)
	return true
}

// cut4 cuts an IPv4 packet (RFC 791 §3.2).
func cut4(p *packet.Packet, mtu int, id uint16, l *packet.List) bool {
	ip := wire.IPv4(p.From(p.Net))
	if !ip.Valid(p.LenFrom(p.Net)) {
		return false
	}
	if _, ok := ip.Options().Valid(); !ok {
		return false
	}
	base, total := ip.FragOffset(), ip.PayloadLen()
	if base+total > sizeMax {
		return false // its offsets would begin again at 0
	}
	if ip.ID() != 0 || ip.IsFragment() {
		id = ip.ID()
	}
	packet.Complete(p)
	var rest [wire.IPv4LenMax]byte
	head := ip[:ip.HeaderLen()]
	c := newCutter(p, len(head))
	for off := 0; off < total; {
		n, last := pieceLen(mtu-len(head), total-off)
		if n <= 0 {
			return false
		}
		q := c.next(head, 0, n, len(head))
		if q == nil {
			return false
		}
		q.Transport = q.Net + uint16(len(head))
		flags := ip.Flags()
		if !last {
			flags |= wire.IPv4MF
		}
		h := wire.IPv4(q.From(q.Net))
		h.SetTotalLen(len(head) + n)
		h.SetID(id)
		h.SetFragment(flags, base+off)
		h.UpdateChecksum()
		l.Push(q)
		if off == 0 {
			head = rest[:restHeader(&rest, ip)]
		}
		off += n
	}
	return true
}

// restHeader writes the header of the fragments behind the first: only options
// with the copied flag are repeated. It returns the header's length.
func restHeader(b *[wire.IPv4LenMax]byte, ip wire.IPv4) int {
	n := copy(b[:], ip[:wire.IPv4Len])
	for o := ip.Options().Skip(); len(o) > 0; o = o.Next() {
		if o.Type().Copied() {
			n += copy(b[n:], o[:o.Len()])
		}
	}
	n = (n + 3) &^ 3 // what is left of the word is zero: the end of the list
	b[0] = 0x40 | uint8(n/4)
	return n
}

// cut6 cuts an IPv6 packet (RFC 8200 §4.5).
func cut6(p *packet.Packet, mtu int, id uint32, l *packet.List) bool {
	ip := wire.IPv6(p.From(p.Net))
	if !ip.Valid(p.LenFrom(p.Net)) {
		return false
	}
	x, bad := wire.WalkExtensions(ip.Payload(), ip.NextHeader())
	if bad != wire.ExtOK || x.Fragment {
		return false
	}
	// The unfragmentable part goes up to the routing header if there is one,
	// else to the hop-by-hop options, else it is the IPv6 header.
	unfrag, next, namedAt := wire.IPv6Len, ip.NextHeader(), ip6NextAt
	switch {
	case x.Routing:
		namedAt = wire.IPv6Len + x.RoutingAt
		unfrag = namedAt + wire.IPv6Routing(ip[namedAt:]).Len()
		next = wire.Proto(ip[namedAt])
	case x.HopByHop:
		namedAt = wire.IPv6Len
		unfrag = namedAt + 8 + 8*int(ip[namedAt+1])
		next = wire.Proto(ip[namedAt])
	}
	total := ip.TotalLen() - unfrag
	// The first fragment has all headers (RFC 7112 §5).
	chain := wire.IPv6Len + x.Len - unfrag + upperLen(x.Proto)
	if n, _ := pieceLen(mtu-unfrag-wire.FragmentLen, total); n < min(chain, total) {
		return false
	}
	packet.Complete(p)
	c := newCutter(p, unfrag)
	for off := 0; off < total; {
		n, last := pieceLen(mtu-unfrag-wire.FragmentLen, total-off)
		if n <= 0 {
			return false
		}
		linear := unfrag + wire.FragmentLen
		if off == 0 {
			linear += min(chain, total) // for its receiver to walk
		}
		q := c.next(ip[:unfrag], wire.FragmentLen, n, linear)
		if q == nil {
			return false
		}
		b := q.From(q.Net)
		b[namedAt] = uint8(wire.ProtoFragment)
		wire.IPv6(b).SetPayloadLen(unfrag + wire.FragmentLen + n - wire.IPv6Len)
		wire.PutFragment(b[unfrag:], next, off, !last, id)
		q.Proto = wire.ProtoFragment
		q.Transport = q.Net + uint16(unfrag+wire.FragmentLen)
		if off == 0 {
			q.Transport = q.Net + uint16(wire.IPv6Len+x.Len+wire.FragmentLen)
		}
		l.Push(q)
		off += n
	}
	return true
}

// ip6NextAt is the offset of the Next Header field in an IPv6 header.
const ip6NextAt = 6

// pieceLen is how many of left bytes go into a fragment with room for room, and
// whether these are the last.
func pieceLen(room, left int) (n int, last bool) {
	if left <= room {
		return left, true
	}
	return room &^ 7, false
}

// A cutter hands out a packet's payload piece by piece, by reference but for
// what is linear.
type cutter struct {
	p    *packet.Packet
	lin  []byte // linear payload left
	frag int    // current reference
	off  int    // bytes of it handed out
}

// newCutter returns one for the payload that begins hdr bytes behind p.Net.
func newCutter(p *packet.Packet, hdr int) cutter {
	return cutter{p: p, lin: p.From(p.Net)[hdr:]}
}

// next returns a packet with p's facts, a copy of the header head, space for
// extra bytes, and the next n bytes of payload; linear bytes of all that can be
// made linear. It returns nil if these do not fit.
func (c *cutter) next(head []byte, extra, n, linear int) *packet.Packet {
	start := min(packet.Headroom, packet.HeadLen-linear)
	if start < headroomMin {
		return nil
	}
	q := packet.Get()
	q.Reset(start)
	q.Net = q.Start()
	copyFacts(q, c.p)
	copy(q.Append(len(head)+extra), head)
	if !c.payload(q, n) {
		packet.Free(q)
		return nil
	}
	return q
}

func copyFacts(q, p *packet.Packet) {
	q.Src, q.Dst, q.Proto, q.TTL, q.TOS = p.Src, p.Dst, p.Proto, p.TTL, p.TOS
	q.Ingress, q.Mark, q.Flow, q.Trace = p.Ingress, p.Mark, p.Flow, p.Trace
	q.Track = p.Track
}

// payload adds the next n bytes to q.
func (c *cutter) payload(q *packet.Packet, n int) bool {
	if m := min(n, len(c.lin), len(q.Room())); m > 0 {
		copy(q.Append(m), c.lin)
		c.lin = c.lin[m:]
		n -= m
	}
	if m := min(n, len(c.lin)); m > 0 { // more than there is room for
		if !q.AppendBytes(c.lin[:m]) {
			return false
		}
		c.lin = c.lin[m:]
		n -= m
	}
	for refs := c.p.Frags(); n > 0; {
		f := refs[c.frag]
		m := min(n, int(f.Len)-c.off)
		if !q.AppendFrag(f.Chunk, int(f.Off)+c.off, m) {
			return false
		}
		if c.off += m; c.off == int(f.Len) {
			c.frag, c.off = c.frag+1, 0
		}
		n -= m
	}
	return true
}
