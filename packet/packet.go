package packet

import (
	"net/netip"
	"time"

	"github.com/towpath/towpath/wire"
)

const (
	// HeadLen is the size of a packet's linear part, in bytes.
	HeadLen = 320
	// Headroom is where a fresh packet's bytes begin: the room for headers
	// that will be pushed in front (Ethernet, VLAN, tunnels, IPv6, TCP).
	Headroom = 160
	// FragsMax is how many chunk references one packet can hold.
	FragsMax = 18
	// SizeMax is the largest IP packet, super-segments included, in bytes.
	SizeMax = 65535
)

// A Frag refers to Len bytes of a chunk beginning at Off.
type Frag struct {
	Chunk    *Chunk
	Off, Len uint32
}

// Bytes lends the bytes referred to. They must not be changed.
func (f Frag) Bytes() []byte { return f.Chunk.buf[f.Off : f.Off+f.Len : f.Off+f.Len] }

// Checksum says what is known of a packet's transport checksum
// (Linux: skb->ip_summed).
type Checksum uint8

const (
	// ChecksumNone: the field is as it was on the wire; a receiver verifies it.
	ChecksumNone Checksum = iota
	// ChecksumPartial: the field holds the folded, uncomplemented sum of the
	// pseudo header; the rest is to be added by the link. A receiver inside
	// the process takes it as good.
	ChecksumPartial
	// ChecksumVerified: a link has verified it already.
	ChecksumVerified
)

// GSOType names the protocol whose segments a super-segment carries.
type GSOType uint8

const (
	GSONone GSOType = iota
	GSOTCP4
	GSOTCP6
)

// GSO marks a super-segment. The zero value marks an ordinary packet.
type GSO struct {
	Type GSOType
	// Size is the payload length of each segment but the last, in bytes.
	Size uint16
}

// A Packet is one packet and what the walk has learned about it. It is
// obtained from a [Pool] and has exactly one owner.
type Packet struct {
	next *Packet // intrusive list or free list

	off, end uint16 // the linear bytes are head[off:end]
	nfrags   uint8
	fragLen  uint32 // sum of the fragments' lengths

	// Offsets of headers in the head; valid once the walk has set them.
	Link, Net, Transport, Data uint16

	Checksum   Checksum
	CsumOffset uint16 // of the checksum field, from Transport; with ChecksumPartial
	GSO        GSO
	// FragMax is the largest fragment that the packet was put together from, as
	// an IP packet in bytes; 0 if it came whole. Sent on, it is cut again into
	// fragments that are no larger.
	FragMax uint16

	// What ipv4In and ipv6In learn, and what ipOut is told.
	Proto    wire.Proto
	TOS      uint8
	TTL      uint8
	Src, Dst netip.Addr

	Ingress int32         // index of the adapter it came in by; 0 for packets made here
	Mark    uint32        // set by rules (Linux: skb->mark)
	Flow    *Flow         // the flow it belongs to, once looked up
	Trace   *Trace        // nil unless this packet is being watched
	Stamp   time.Duration // when it came, for sockets that want to know
	Origin  uint32        // the packet socket that sent it, which does not see it; 0: none
	Track   Track         // what connection tracking says of it

	frags [FragsMax]Frag
	batch int32 // packets chained behind a free list's head, in the depot
	freed bool
	head  [HeadLen]byte
}

func (p *Packet) reset() {
	p.next = nil
	p.off, p.end = Headroom, Headroom
	p.nfrags, p.fragLen = 0, 0
	p.Link, p.Net, p.Transport, p.Data = 0, 0, 0, 0
	p.Checksum, p.CsumOffset, p.GSO, p.FragMax = ChecksumNone, 0, GSO{}, 0
	p.Proto, p.TOS, p.TTL = 0, 0, 0
	p.Src, p.Dst = netip.Addr{}, netip.Addr{}
	p.Ingress, p.Mark, p.Flow, p.Trace, p.Origin, p.Stamp = 0, 0, nil, nil, 0, 0
	p.Track = Track{}
	p.freed = false
}

// Len is the packet's length in bytes, head and fragments.
func (p *Packet) Len() int { return int(p.end-p.off) + int(p.fragLen) }

// Head lends the linear bytes.
func (p *Packet) Head() []byte { return p.head[p.off:p.end:p.end] }

// HeadLen is the number of linear bytes.
func (p *Packet) HeadLen() int { return int(p.end - p.off) }

// Start is the position in the head of the packet's first byte.
func (p *Packet) Start() uint16 { return p.off }

// From lends the linear bytes from the head position off on, for example
// p.From(p.Net). off must come from Start or one of the offset fields.
func (p *Packet) From(off uint16) []byte { return p.head[off:p.end:p.end] }

// LenFrom is the packet's length counted from the head position off on.
func (p *Packet) LenFrom(off uint16) int { return int(p.end) - int(off) + int(p.fragLen) }

// Push makes room for n bytes in front and lends them. It panics if the
// headroom is used up, which only a programmer's mistake can do: [Headroom]
// has room for every header a host pushes.
func (p *Packet) Push(n int) []byte {
	if n > int(p.off) {
		panic("packet: Push: headroom used up")
	}
	p.off -= uint16(n)
	return p.head[p.off : int(p.off)+n : int(p.off)+n]
}

// Headroom is the number of bytes that can still be pushed.
func (p *Packet) Headroom() int { return int(p.off) }

// Pull takes n linear bytes off the front. n must not exceed HeadLen.
func (p *Packet) Pull(n int) {
	if n > int(p.end-p.off) {
		panic("packet: Pull: beyond the linear bytes")
	}
	p.off += uint16(n)
}

// Reset empties the packet and places its first byte at the head position
// off, leaving off bytes of headroom and HeadLen-off bytes of room.
func (p *Packet) Reset(off int) {
	p.releaseFrags(nil)
	p.off, p.end = uint16(off), uint16(off)
}

// Room lends the free bytes behind the linear part. Bytes written there become
// part of the packet with [Packet.Append].
func (p *Packet) Room() []byte { return p.head[p.end:] }

// Append makes the first n bytes of Room part of the packet and lends them.
// The packet must have no fragments.
func (p *Packet) Append(n int) []byte {
	if p.nfrags != 0 {
		panic("packet: Append: behind fragments")
	}
	if n > HeadLen-int(p.end) {
		panic("packet: Append: beyond the room")
	}
	b := p.head[p.end : int(p.end)+n : int(p.end)+n]
	p.end += uint16(n)
	return b
}

// AppendBytes copies b behind the packet's bytes: into the head if there is
// room and no fragment yet, else into chunks. It is for callers off the fast
// path, and reports false, having added nothing, if b does not fit.
func (p *Packet) AppendBytes(b []byte) bool {
	if p.nfrags == 0 && len(b) <= len(p.Room()) {
		copy(p.Append(len(b)), b)
		return true
	}
	if need := (len(b) + LargeChunk - 1) / LargeChunk; int(p.nfrags)+need > FragsMax || p.Len()+len(b) > SizeMax+Headroom {
		return false
	}
	for len(b) > 0 {
		c := GetChunk(len(b))
		n := copy(c.buf, b)
		p.AppendFrag(c, 0, n)
		c.Release()
		b = b[n:]
	}
	return true
}

// AppendFrag makes the packet refer to n bytes of c from off on. It takes a
// reference of its own. It reports false if the packet holds FragsMax already.
func (p *Packet) AppendFrag(c *Chunk, off, n int) bool {
	if p.nfrags > 0 {
		// Grow the last reference when the bytes follow it.
		if f := &p.frags[p.nfrags-1]; f.Chunk == c && int(f.Off+f.Len) == off {
			f.Len += uint32(n)
			p.fragLen += uint32(n)
			return true
		}
	}
	if p.nfrags == FragsMax {
		return false
	}
	c.Retain()
	p.frags[p.nfrags] = Frag{c, uint32(off), uint32(n)}
	p.nfrags++
	p.fragLen += uint32(n)
	return true
}

// AppendOwned is AppendFrag with the caller's reference handed over. If it
// reports false the caller keeps it.
func (p *Packet) AppendOwned(c *Chunk, off, n int) bool {
	if p.nfrags == FragsMax {
		return false
	}
	p.frags[p.nfrags] = Frag{c, uint32(off), uint32(n)}
	p.nfrags++
	p.fragLen += uint32(n)
	return true
}

// Frags lends the chunk references behind the head.
func (p *Packet) Frags() []Frag { return p.frags[:p.nfrags] }

// Linear makes the first n bytes linear, copying them out of fragments if
// need be. It reports false if the packet is shorter or the head too small.
func (p *Packet) Linear(n int) bool {
	have := int(p.end - p.off)
	if n <= have {
		return true
	}
	need := n - have
	if need > int(p.fragLen) || need > HeadLen-int(p.end) {
		return false
	}
	for need > 0 {
		f := &p.frags[0]
		m := copy(p.head[p.end:int(p.end)+need], f.Bytes())
		p.end += uint16(m)
		need -= m
		p.trimFirst(m)
	}
	return true
}

// LinearMax is the most bytes that can be made linear.
func (p *Packet) LinearMax() int { return HeadLen - int(p.off) }

// trimFirst takes n bytes off the front of the first fragment.
func (p *Packet) trimFirst(n int) {
	f := &p.frags[0]
	f.Off += uint32(n)
	f.Len -= uint32(n)
	p.fragLen -= uint32(n)
	if f.Len == 0 {
		f.Chunk.Release()
		copy(p.frags[:], p.frags[1:p.nfrags])
		p.nfrags--
		p.frags[p.nfrags] = Frag{}
	}
}

// TrimFront takes n bytes off the front, head and fragments alike.
func (p *Packet) TrimFront(n int) {
	if m := int(p.end - p.off); n > m {
		p.off = p.end
		n -= m
	} else {
		p.off += uint16(n)
		return
	}
	for n > 0 && p.nfrags > 0 {
		m := min(n, int(p.frags[0].Len))
		p.trimFirst(m)
		n -= m
	}
}

// Truncate cuts the packet to its first n bytes: link padding, or the part of
// a segment beyond the window.
func (p *Packet) Truncate(n int) {
	have := int(p.end - p.off)
	if n <= have {
		p.releaseFrags(nil)
		p.end = p.off + uint16(n)
		return
	}
	rest := uint32(n - have)
	if rest >= p.fragLen {
		return
	}
	var sum uint32
	for i := range p.frags[:p.nfrags] {
		f := &p.frags[i]
		if sum+f.Len < rest {
			sum += f.Len
			continue
		}
		f.Len = rest - sum
		for j := i + 1; j < int(p.nfrags); j++ {
			p.frags[j].Chunk.Release()
			p.frags[j] = Frag{}
		}
		p.nfrags = uint8(i + 1)
		break
	}
	p.fragLen = rest
}

// CopyTo copies the bytes from the packet offset from on into b and returns
// how many there were.
func (p *Packet) CopyTo(b []byte, from int) int {
	n := 0
	if h := p.Head(); from < len(h) {
		n = copy(b, h[from:])
		from = 0
	} else {
		from -= len(h)
	}
	for i := range p.frags[:p.nfrags] {
		if n == len(b) {
			break
		}
		s := p.frags[i].Bytes()
		if from >= len(s) {
			from -= len(s)
			continue
		}
		n += copy(b[n:], s[from:])
		from = 0
	}
	return n
}

// Bytes returns the whole packet as one new slice. It allocates; it is for
// captures, tests and text.
func (p *Packet) Bytes() []byte {
	b := make([]byte, p.Len())
	p.CopyTo(b, 0)
	return b
}

// Clone returns a packet with the same bytes and facts: the head is copied,
// the chunks are shared. A trace goes on with p alone.
func (p *Packet) Clone() *Packet {
	c := Get()
	c.copyFacts(p)
	c.Trace = nil
	c.off, c.end = p.off, p.end
	copy(c.head[:p.end], p.head[:p.end]) // pulled headers too
	for i := range p.frags[:p.nfrags] {
		p.frags[i].Chunk.Retain()
		c.frags[i] = p.frags[i]
	}
	c.nfrags, c.fragLen = p.nfrags, p.fragLen
	return c
}

func (c *Packet) copyFacts(p *Packet) {
	c.Link, c.Net, c.Transport, c.Data = p.Link, p.Net, p.Transport, p.Data
	c.Checksum, c.CsumOffset, c.GSO, c.FragMax = p.Checksum, p.CsumOffset, p.GSO, p.FragMax
	c.Proto, c.TOS, c.TTL = p.Proto, p.TOS, p.TTL
	c.Src, c.Dst = p.Src, p.Dst
	c.Ingress, c.Mark, c.Flow, c.Trace, c.Origin = p.Ingress, p.Mark, p.Flow, p.Trace, p.Origin
	c.Track = p.Track
}

// MakePrivate replaces every shared chunk by a copy, so that the payload may
// be edited through [Packet.Frags] without anybody else seeing it.
func (p *Packet) MakePrivate() {
	for i := range p.frags[:p.nfrags] {
		f := &p.frags[i]
		if f.Chunk.Sole() {
			continue
		}
		c := GetChunk(int(f.Len))
		n := copy(c.buf, f.Bytes())
		f.Chunk.Release()
		*f = Frag{c, 0, uint32(n)}
	}
}

// Footprint is the memory that holding this packet in a queue costs, in
// bytes: the packet itself and its share of its chunks (Linux: truesize).
func (p *Packet) Footprint() int { return footprint + int(p.fragLen) }

func (p *Packet) releaseFrags(pl *Pool) {
	for i := range p.frags[:p.nfrags] {
		f := &p.frags[i]
		if f.Chunk.drop() {
			if pl != nil {
				pl.putChunk(f.Chunk)
			} else {
				putChunk(f.Chunk)
			}
		}
		f.Chunk = nil
	}
	p.nfrags, p.fragLen = 0, 0
}
