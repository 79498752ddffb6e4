package frag

import (
	"net/netip"

	"github.com/towpath/towpath/packet"
	"github.com/towpath/towpath/wire"
)

// sizeMax is the largest IPv4 packet, and the largest payload of an IPv6 packet,
// in bytes.
const sizeMax = 65535

// A key names a datagram whose fragments belong together.
type key struct {
	src, dst netip.Addr
	adapter  int32 // for addresses that mean something else on each link
	id       uint32
	proto    wire.Proto // IPv4 only (RFC 791 §3.2, RFC 8200 §4.5)
}

// A fragment is what a packet says of itself as a part of a larger one.
type fragment struct {
	key      key
	off, end int  // its place in the fragmentable part, bytes
	more     bool // it is not the last
	at       uint16
	size     int // as an IP packet, bytes
	hdr      int // what the whole packet's 65,535 bytes have beside payload
	ecn      uint8
	df       bool

	// Of the upper layer; of a first fragment only.
	proto     wire.Proto
	transport uint16
	// IPv6: the Fragment header and the byte that names it, as offsets from Net.
	fragmentAt, namedAt int
}

// A Problem is an ICMPv6 parameter problem that is due to a fragment's sender.
type Problem struct {
	Due     bool
	Code    uint8
	Pointer uint32
}

// parse reads p's headers. It reports false if p is none: not a fragment, or one
// that is whole (RFC 6946); or, with a reason, not a good one.
func (f *fragment) parse(p *packet.Packet) (is bool, pr Problem, r packet.Reason) {
	if p.Src.Is4() {
		if !f.parse4(p) {
			return false, pr, packet.NotDropped
		}
	} else if is, pr, r = f.parse6(p); !is {
		return false, pr, r
	}
	f.key.src, f.key.dst = p.Src, p.Dst
	if p.Dst.IsMulticast() || p.Dst.IsLinkLocalUnicast() || p.Src.IsLinkLocalUnicast() {
		f.key.adapter = p.Ingress
	}
	f.ecn = p.TOS & 3
	f.size = p.LenFrom(p.Net)
	n := p.LenFrom(f.at)
	f.end = f.off + n
	switch {
	case n == 0:
		return false, pr, packet.ReasonFragEmpty
	case f.more && n%8 != 0:
		return false, f.problem(ip6PayloadAt), packet.ReasonFragLength
	}
	return true, pr, packet.NotDropped
}

// ip6PayloadAt is the offset of the Payload Length field in an IPv6 header.
const ip6PayloadAt = 4

// problem is a parameter problem, code 0, of an IPv6 packet.
func (f *fragment) problem(at int) Problem {
	if f.key.src.Is4() {
		return Problem{}
	}
	return Problem{Due: true, Code: wire.ICMPv6BadField, Pointer: uint32(at)}
}

func (f *fragment) parse4(p *packet.Packet) bool {
	ip := wire.IPv4(p.From(p.Net))
	if !ip.IsFragment() {
		return false
	}
	f.key.id, f.key.proto = uint32(ip.ID()), ip.Proto()
	f.off, f.more = ip.FragOffset(), ip.MoreFragments()
	f.df = ip.DontFragment()
	f.hdr = ip.HeaderLen()
	f.at = p.Net + uint16(f.hdr)
	f.proto, f.transport = ip.Proto(), f.at
	return true
}

func (f *fragment) parse6(p *packet.Packet) (is bool, pr Problem, r packet.Reason) {
	ip := wire.IPv6(p.From(p.Net))
	if !ip.NextHeader().IsExtension() {
		return false, pr, packet.NotDropped
	}
	if p.Linear(min(p.Len(), p.LinearMax())) {
		ip = p.From(p.Net)
	}
	x, bad := wire.WalkExtensions(ip[wire.IPv6Len:], ip.NextHeader())
	if bad == wire.ExtOK && (!x.Fragment || x.Atomic()) {
		return false, pr, packet.NotDropped
	}
	if bad == wire.ExtOK && x.FragOffset == 0 && p.LenFrom(p.Net) < wire.IPv6Len+x.Len+upperLen(x.Proto) {
		bad, x.ErrorAt = wire.ExtIncomplete, -wire.IPv6Len
	}
	if bad != wire.ExtOK {
		pr.Code, pr.Due = bad.ParamProblem()
		pr.Pointer = x.Pointer()
		return false, pr, packet.ReasonFragHeader
	}
	f.key.id = x.FragID
	f.off, f.more = x.FragOffset, x.MoreFragments
	f.hdr = x.FragmentAt
	f.fragmentAt, f.namedAt = wire.IPv6Len+x.FragmentAt, wire.IPv6Len+x.FragmentNamedAt
	f.at = p.Net + uint16(f.fragmentAt+wire.FragmentLen)
	f.proto, f.transport = x.Proto, p.Net+uint16(wire.IPv6Len+x.Len)
	return true, pr, packet.NotDropped
}

// upperLen is how many bytes of an upper layer's header a first fragment must
// have.
func upperLen(p wire.Proto) int {
	switch p {
	case wire.ProtoTCP:
		return wire.TCPLen
	case wire.ProtoUDP:
		return wire.UDPLen
	case wire.ProtoICMPv6:
		return wire.ICMPLen
	case wire.ProtoNoNext:
		return 0
	}
	return 1
}

// Of a fragment on a datagram's list, Transport is where its piece of the
// payload begins. offset is the place of the piece.
func offset(p *packet.Packet) int {
	if p.Src.Is4() {
		return wire.IPv4(p.From(p.Net)).FragOffset()
	}
	return wire.IPv6Fragment(p.From(p.Transport - wire.FragmentLen)).Offset()
}

func moreFollow(p *packet.Packet) bool {
	if p.Src.Is4() {
		return wire.IPv4(p.From(p.Net)).MoreFragments()
	}
	return wire.IPv6Fragment(p.From(p.Transport - wire.FragmentLen)).More()
}

// same reports whether q, which is on a list, is the fragment p of which f
// tells, byte for byte.
func (f *fragment) same(p, q *packet.Packet) bool {
	n := f.end - f.off
	if offset(q) != f.off || q.LenFrom(q.Transport) != n || moreFollow(q) != f.more {
		return false
	}
	var a, b [256]byte
	for i := 0; i < n; i += len(a) {
		m := p.CopyTo(a[:], int(f.at-p.Start())+i)
		k := q.CopyTo(b[:], int(q.Transport-q.Start())+i)
		if m != k || string(a[:m]) != string(b[:k]) {
			return false
		}
	}
	return true
}

// cost is the memory that p takes on a list between prev and next: itself, and
// the chunks that it keeps, but for those that its neighbours keep anyway.
func cost(p, prev, next *packet.Packet) int {
	n := p.Footprint() - (p.Len() - p.HeadLen())
	refs := p.Frags()
	if len(refs) == 0 {
		return n
	}
	var last *packet.Chunk
	if prev != nil {
		if r := prev.Frags(); len(r) > 0 {
			last = r[len(r)-1].Chunk
		}
	}
	var following *packet.Chunk
	if next != nil {
		if r := next.Frags(); len(r) > 0 {
			following = r[0].Chunk
		}
	}
	for _, f := range refs {
		if f.Chunk != last && f.Chunk != following {
			n += len(f.Chunk.Bytes())
		}
		last = f.Chunk
	}
	return n
}
