package vnet

import (
	"github.com/towpath/towpath/packet"
	"golang.org/x/sys/unix"
)

// restMin is the least rest of a large chunk worth receiving into.
const restMin = packet.SmallChunk

// A Slot is memory laid out for receiving one packet of any length behind a
// vnet header, in the order in which the kernel is to fill it:
//
//	Hdr, the packet's head, a small chunk, large chunks
//
// so that a packet of an ordinary MTU costs one small chunk at most and a
// super-segment is not copied. The rest of a large chunk serves the next
// packet. The zero value is ready.
type Slot struct {
	Hdr [Len]byte

	p     *packet.Packet
	small *packet.Chunk
	large [3]*packet.Chunk
	off   int // where the free bytes of large[0] begin
	iov   [6]unix.Iovec
}

// Prepare replaces the memory that the last packet took and returns the
// vector to receive into.
func (s *Slot) Prepare(pl *packet.Pool) []unix.Iovec {
	if s.p == nil {
		s.p = pl.Get()
	}
	if s.small == nil {
		s.small = pl.Chunk(packet.SmallChunk)
	}
	large := 2 // whole ones: enough for 64 KiB
	if s.off > 0 {
		large = 3
	}
	for i := range s.large[:large] {
		if s.large[i] == nil {
			s.large[i] = pl.Chunk(packet.LargeChunk)
		}
	}
	iov := append(s.iov[:0], unix.Iovec{Base: &s.Hdr[0]})
	iov[0].SetLen(Len)
	iov = appendIovec(iov, s.p.Room())
	iov = appendIovec(iov, s.small.Bytes())
	iov = appendIovec(iov, s.large[0].Bytes()[s.off:])
	for _, c := range s.large[1:large] {
		iov = appendIovec(iov, c.Bytes())
	}
	return iov
}

func appendIovec(iov []unix.Iovec, b []byte) []unix.Iovec {
	v := unix.Iovec{Base: &b[0]}
	v.SetLen(len(b))
	return append(iov, v)
}

// Take returns the packet of n bytes, vnet header not counted, that has been
// received.
func (s *Slot) Take(pl *packet.Pool, n int) *packet.Packet {
	p := s.p
	s.p = nil
	m := min(n, len(p.Room()))
	p.Append(m)
	n -= m
	if n > 0 {
		m = min(n, packet.SmallChunk)
		p.AppendOwned(s.small, 0, m)
		s.small = nil
		n -= m
	}
	for n > 0 && s.large[0] != nil {
		m = min(n, packet.LargeChunk-s.off)
		p.AppendFrag(s.large[0], s.off, m)
		n -= m
		s.off += m
		if packet.LargeChunk-s.off < restMin {
			pl.Release(s.large[0])
			s.large = [3]*packet.Chunk{s.large[1], s.large[2], nil}
			s.off = 0
		}
	}
	return p
}

// Release gives all memory back.
func (s *Slot) Release(pl *packet.Pool) {
	if s.p != nil {
		pl.Free(s.p)
	}
	if s.small != nil {
		pl.Release(s.small)
	}
	for _, c := range s.large {
		if c != nil {
			pl.Release(c)
		}
	}
	*s = Slot{}
}

// AppendPacket appends the vector of p's bytes to iov.
func AppendPacket(iov []unix.Iovec, p *packet.Packet) []unix.Iovec {
	if p.HeadLen() > 0 {
		iov = appendIovec(iov, p.Head())
	}
	for _, f := range p.Frags() {
		if f.Len > 0 {
			iov = appendIovec(iov, f.Bytes())
		}
	}
	return iov
}

// IovecMax is the most vectors a packet and its vnet header need.
const IovecMax = 2 + packet.FragsMax
