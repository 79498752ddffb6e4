package packet

import (
	"encoding/binary"

	"github.com/towpath/towpath/wire"
)

const tcpCsumOffset = 16

// TransportSum adds up the bytes from Transport to the end of the packet,
// fragments included, on top of initial (see [wire.Sum]).
func (p *Packet) TransportSum(initial uint32) uint32 {
	b := p.From(p.Transport)
	sum := wire.Sum(b, initial)
	if p.nfrags == 0 {
		return sum
	}
	odd := len(b)&1 != 0
	for i := range p.frags[:p.nfrags] {
		b = p.frags[i].Bytes()
		sum = wire.SumAt(b, sum, odd)
		odd = odd != (len(b)&1 != 0)
	}
	return sum
}

// Complete finishes a partial checksum: it adds the transport header and the
// payload to the pseudo-header sum that stands in the field.
func Complete(p *Packet) {
	if p.Checksum != ChecksumPartial {
		return
	}
	sum := ^wire.Fold(p.TransportSum(0))
	if p.Proto == wire.ProtoUDP && sum == 0 {
		sum = 0xffff // zero would mean: no checksum
	}
	at := p.Transport + p.CsumOffset
	binary.BigEndian.PutUint16(p.head[at:], sum)
	p.Checksum = ChecksumNone
}

// Segment cuts a TCP super-segment into packets of at most GSO.Size payload
// bytes and puts them at the end of l. Payload is shared, headers are copied
// and corrected; checksums stay partial if they were, and are made whole
// otherwise. It takes p if it reports true; false means that p's headers are
// not those of a super-segment, and p is still the caller's.
func Segment(p *Packet, l *List) bool {
	size := int(p.GSO.Size)
	ip, tcp, data := p.Net, p.Transport, p.Data
	if size == 0 || p.Proto != wire.ProtoTCP || ip < p.off || tcp < ip+wire.IPv4Len || data < tcp+wire.TCPLen || data > p.end {
		return false
	}
	v6 := p.GSO.Type == GSOTCP6
	if v6 && tcp < ip+wire.IPv6Len || !v6 && p.GSO.Type != GSOTCP4 {
		return false
	}
	total := p.LenFrom(data)
	seq := wire.TCP(p.From(tcp)).Seq()
	flags := wire.TCP(p.From(tcp)).Flags()
	partial := p.Checksum == ChecksumPartial
	cut := cutter{p: p, lin: p.end - data}
	var pieces List
	for off, i := 0, uint16(0); ; i++ {
		n := min(size, total-off)
		q := Get()
		q.copyFacts(p)
		q.GSO = GSO{}
		q.off, q.end = p.off, data
		copy(q.head[q.off:q.end], p.head[p.off:data])
		if !cut.payload(q, n) {
			Free(q)
			pieces.Free()
			return false
		}
		h := wire.TCP(q.From(tcp))
		h.SetSeq(seq + uint32(off))
		f := flags
		if off+n < total {
			f &^= wire.TCPFin | wire.TCPPsh
		}
		if off > 0 {
			f &^= wire.TCPCwr
		}
		h.SetFlags(f)
		length := q.LenFrom(tcp)
		if v6 {
			wire.IPv6(q.From(ip)).SetPayloadLen(q.LenFrom(ip) - wire.IPv6Len)
		} else {
			h4 := wire.IPv4(q.From(ip))
			h4.SetTotalLen(q.LenFrom(ip))
			h4.SetID(h4.ID() + i)
			h4.UpdateChecksum()
		}
		h.SetChecksum(wire.Fold(wire.PseudoSum(p.Src, p.Dst, wire.ProtoTCP, length)))
		q.Checksum, q.CsumOffset = ChecksumPartial, tcpCsumOffset
		if !partial {
			Complete(q)
			q.Checksum = p.Checksum
		}
		pieces.Push(q)
		if off += n; off >= total {
			break
		}
	}
	l.Append(&pieces)
	Free(p)
	return true
}

// A cutter hands out a packet's payload piece by piece.
type cutter struct {
	p    *Packet
	lin  uint16 // linear payload bytes left
	frag int    // current fragment
	off  uint32 // bytes of it handed out
}

// payload adds the next n bytes to q, by reference but for linear ones.
func (c *cutter) payload(q *Packet, n int) bool {
	if c.lin > 0 {
		m := min(n, int(c.lin))
		if m > len(q.Room()) {
			return false
		}
		from := c.p.end - c.lin
		copy(q.Append(m), c.p.head[from:])
		c.lin -= uint16(m)
		n -= m
	}
	for n > 0 {
		f := c.p.frags[c.frag]
		m := min(n, int(f.Len-c.off))
		if !q.AppendFrag(f.Chunk, int(f.Off+c.off), m) {
			return false
		}
		if c.off += uint32(m); c.off == f.Len {
			c.frag++
			c.off = 0
		}
		n -= m
	}
	return true
}
