package packet

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"

	"github.com/towpath/towpath/wire"
)

// A super describes a super-segment.
type super struct {
	v6       bool
	ether    bool
	options  int // bytes of IPv4 options, or of IPv6 extension headers
	tcpOpts  int
	size     int // payload bytes of a segment
	total    int // payload bytes
	linear   int // of them, in the head
	checksum Checksum
	flags    wire.TCPFlags
	id       uint16
	seq      uint32
}

var (
	src4, dst4 = netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("198.51.100.2")
	src6, dst6 = netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("2001:db8:1::2")
)

func (s super) addrs() (src, dst netip.Addr) {
	if s.v6 {
		return src6, dst6
	}
	return src4, dst4
}

// layout returns the positions of the headers in the flat bytes.
func (s super) layout() (ip, tcp, data int) {
	if s.ether {
		ip = wire.EthernetLen
	}
	tcp = ip + wire.IPv4Len + s.options
	if s.v6 {
		tcp = ip + wire.IPv6Len + s.options
	}
	return ip, tcp, tcp + wire.TCPLen + s.tcpOpts
}

// headers returns the bytes in front of the payload, all checksums zero.
func (s super) headers(payload int) []byte {
	ip, tcp, data := s.layout()
	b := make([]byte, data)
	src, dst := s.addrs()
	if s.ether {
		wire.PutEthernet(b, wire.MAC{2, 0, 0, 0, 0, 1}, wire.MAC{2, 0, 0, 0, 0, 2}, 0x0800)
	}
	if s.v6 {
		next := wire.ProtoTCP
		if s.options > 0 {
			next = wire.ProtoDestOpts
			x := b[ip+wire.IPv6Len:]
			x[0], x[1] = byte(wire.ProtoTCP), byte(s.options/8-1)
			x[2], x[3] = 1, byte(s.options-4) // PadN
		}
		wire.PutIPv6(b[ip:], &wire.IPv6Fields{
			TrafficClass: 7, FlowLabel: 0x12345, PayloadLen: data - ip - wire.IPv6Len + payload,
			NextHeader: next, HopLimit: 61, Src: src, Dst: dst,
		})
	} else {
		h := b[ip:]
		h[0] = 0x40 | byte((wire.IPv4Len+s.options)/4)
		h[1] = 3
		binary.BigEndian.PutUint16(h[2:], uint16(data-ip+payload))
		binary.BigEndian.PutUint16(h[4:], s.id)
		h[6] = 0x40
		h[8], h[9] = 61, byte(wire.ProtoTCP)
		copy(h[12:], src.AsSlice())
		copy(h[16:], dst.AsSlice())
		for i := range s.options {
			h[20+i] = 1 // no operation
		}
	}
	wire.PutTCP(b[tcp:], &wire.TCPFields{SrcPort: 4000, DstPort: 80, Seq: s.seq, Ack: 77, Flags: s.flags, Window: 501, Urgent: 9}, s.tcpOpts)
	for i := range s.tcpOpts {
		b[tcp+wire.TCPLen+i] = 1
	}
	return b
}

// finish computes the checksums of flat bytes the slow way.
func (s super) finish(b []byte) []byte {
	ip, tcp, _ := s.layout()
	if !s.v6 {
		b[ip+10], b[ip+11] = 0, 0
		binary.BigEndian.PutUint16(b[ip+10:], ^naive(b[ip:tcp]))
	}
	b[tcp+16], b[tcp+17] = 0, 0
	src, dst := s.addrs()
	pseudo := append(src.AsSlice(), dst.AsSlice()...)
	pseudo = binary.BigEndian.AppendUint32(pseudo, uint32(len(b)-tcp))
	pseudo = binary.BigEndian.AppendUint32(pseudo, uint32(wire.ProtoTCP))
	binary.BigEndian.PutUint16(b[tcp+16:], ^naive(append(pseudo, b[tcp:]...)))
	return b
}

// naive adds words one at a time (RFC 1071 §1).
func naive(b []byte) uint16 {
	var sum uint64
	for i := 0; i < len(b); i += 2 {
		sum += uint64(b[i]) << 8
		if i+1 < len(b) {
			sum += uint64(b[i+1])
		}
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return uint16(sum)
}

// segments is what Segment and Complete together should make.
func (s super) segments(payload []byte) (all [][]byte) {
	ip, tcp, _ := s.layout()
	for off := 0; off < s.total || off == 0; off += s.size {
		part := payload[off:min(off+s.size, s.total)]
		b := append(s.headers(len(part)), part...)
		if !s.v6 {
			binary.BigEndian.PutUint16(b[ip+4:], s.id+uint16(off/s.size))
		}
		binary.BigEndian.PutUint32(b[tcp+4:], s.seq+uint32(off))
		if off+len(part) < s.total {
			b[tcp+13] &^= 0x01 | 0x08 // FIN, PSH: on the last only
		}
		if off > 0 {
			b[tcp+13] &^= 0x80 // CWR: on the first only
		}
		all = append(all, s.finish(b))
	}
	return all
}

// packet builds the super-segment, its payload scattered.
func (s super) packet(r *rand.Rand, payload []byte) *Packet {
	p := Get()
	ip, tcp, data := s.layout()
	h := s.headers(s.total)
	b := s.finish(append(bytes.Clone(h), payload...))
	copy(h, b) // with the checksums
	p.Reset(64)
	copy(p.Append(data+s.linear), b)
	p.Link = p.Start()
	p.Net, p.Transport, p.Data = p.Start()+uint16(ip), p.Start()+uint16(tcp), p.Start()+uint16(data)
	p.Proto, p.GSO, p.Checksum = wire.ProtoTCP, GSO{GSOTCP4, uint16(s.size)}, s.checksum
	p.Src, p.Dst = s.addrs()
	if s.v6 {
		p.GSO.Type = GSOTCP6
	}
	if s.checksum == ChecksumPartial {
		p.CsumOffset = 16
		wire.TCP(p.From(p.Transport)).SetChecksum(wire.Fold(wire.PseudoSum(p.Src, p.Dst, wire.ProtoTCP, len(b)-tcp)))
	}
	scatter(r, p, payload[s.linear:])
	return p
}

// scatter puts b behind a packet in pieces of odd and even lengths, some of
// them in one chunk.
func scatter(r *rand.Rand, p *Packet, b []byte) {
	for i := FragsMax; len(b) > 0; i-- {
		n := len(b)
		if i > 1 && n > 1 {
			n = 1 + r.IntN(min(n, 1+2*n/i))
		}
		n = min(n, LargeChunk-3)
		if i == 0 {
			panic("scatter: does not fit")
		}
		c := GetChunk(n + 3)
		off := r.IntN(4)
		copy(c.Bytes()[off:], b[:n])
		p.AppendFrag(c, off, n)
		c.Release()
		b = b[n:]
	}
}

func (s super) String() string {
	return fmt.Sprintf("v6=%v ether=%v options=%d+%d size=%d total=%d linear=%d checksum=%d flags=%v",
		s.v6, s.ether, s.options, s.tcpOpts, s.size, s.total, s.linear, s.checksum, s.flags)
}

// checkSegments compares Segment and Complete with the slow twin.
func checkSegments(t *testing.T, r *rand.Rand, s super) {
	t.Helper()
	payload := random(r, s.total)
	p := s.packet(r, payload)
	p.Mark, p.TTL, p.Ingress = 8, 61, 4
	want := s.segments(payload)
	l := new(List)
	first := Get()
	l.Push(first)
	if !Segment(p, l) {
		t.Fatalf("%v: not cut", s)
	}
	if l.Pop() != first {
		t.Fatalf("%v: segments are not at the end of the list", s)
	}
	Free(first)
	if l.Len() != len(want) {
		t.Fatalf("%v: %d segments, want %d", s, l.Len(), len(want))
	}
	for i := 0; !l.Empty(); i++ {
		q := l.Pop()
		if q.Checksum != s.checksum || q.GSO != (GSO{}) {
			t.Fatalf("%v: segment %d has checksum state %d, %+v", s, i, q.Checksum, q.GSO)
		}
		if q.Mark != 8 || q.TTL != 61 || q.Ingress != 4 || q.Proto != wire.ProtoTCP || !q.Src.IsValid() {
			t.Fatalf("%v: segment %d has lost facts", s, i)
		}
		if h := wire.TCP(q.From(q.Transport)); s.checksum == ChecksumPartial &&
			h.Checksum() != wire.Fold(wire.PseudoSum(q.Src, q.Dst, wire.ProtoTCP, q.LenFrom(q.Transport))) {
			t.Fatalf("%v: segment %d has a wrong partial checksum", s, i)
		}
		Complete(q)
		if s.checksum == ChecksumPartial && q.Checksum != ChecksumNone {
			t.Fatalf("%v: still partial", s)
		}
		if got := q.Bytes(); !bytes.Equal(got, want[i]) {
			t.Fatalf("%v: segment %d\n got % x\nwant % x", s, i, got, want[i])
		}
		Free(q)
	}
}

const allFlags = wire.TCPFin | wire.TCPPsh | wire.TCPAck | wire.TCPEce | wire.TCPCwr

func TestSegment(t *testing.T) {
	balanced(t)
	r := seeded(t)
	for _, s := range []super{
		{size: 1000, total: 3000, checksum: ChecksumPartial, flags: wire.TCPAck | wire.TCPPsh},
		{size: 1000, total: 3001, checksum: ChecksumPartial, flags: allFlags},
		{size: 1000, total: 2999, checksum: ChecksumPartial, flags: allFlags | wire.TCPAe},
		{size: 1000, total: 1000, flags: allFlags},
		{size: 1000, total: 1, flags: allFlags},
		{size: 1000, total: 0, flags: allFlags},
		{size: 1, total: 200, flags: allFlags, ether: true},
		{size: 7, total: 500, linear: 50, flags: allFlags, ether: true},
		{size: 1448, total: 65000, tcpOpts: 12, checksum: ChecksumPartial, flags: allFlags, ether: true},
		{size: 1448, total: 65000, linear: 101, tcpOpts: 12, checksum: ChecksumVerified, flags: allFlags},
		{size: 100, total: 1000, options: 40, tcpOpts: 40, linear: 51, checksum: ChecksumPartial, flags: allFlags, ether: true},
		{size: 1000, total: 5000, id: 65534, flags: allFlags},
		{size: 1000, total: 5000, seq: 0xffffff00, flags: allFlags},
		{v6: true, size: 1000, total: 3001, checksum: ChecksumPartial, flags: allFlags},
		{v6: true, size: 1428, total: 65000, tcpOpts: 12, linear: 3, flags: allFlags, ether: true},
		{v6: true, size: 333, total: 3000, options: 16, checksum: ChecksumPartial, flags: allFlags},
		{v6: true, size: 1000, total: 1000, options: 8, checksum: ChecksumVerified, flags: wire.TCPAck},
	} {
		checkSegments(t, r, s)
	}
}

func TestSegmentRandom(t *testing.T) {
	balanced(t)
	r := seeded(t)
	n := 300
	if raceEnabled {
		n = 30 // the slow twin is slower still
	}
	for range n {
		s := super{
			v6: r.IntN(2) == 0, ether: r.IntN(2) == 0, tcpOpts: 4 * r.IntN(11),
			size: 1 + r.IntN(1500), checksum: Checksum(r.IntN(3)),
			flags: wire.TCPFlags(r.IntN(512)), id: uint16(r.Uint32()), seq: r.Uint32(),
		}
		if s.options = 4 * r.IntN(11); s.v6 {
			s.options = 8 * r.IntN(5)
		}
		_, _, data := s.layout()
		s.total = r.IntN(min(60*s.size, SizeMax-data-1))
		s.linear = r.IntN(min(HeadLen-64-data, s.total) + 1)
		checkSegments(t, r, s)
	}
}

// Segment refuses what is no super-segment, and does not take it.
func TestSegmentRefuses(t *testing.T) {
	for _, test := range []struct {
		name string
		f    func(p *Packet)
	}{
		{"no size", func(p *Packet) { p.GSO.Size = 0 }},
		{"no type", func(p *Packet) { p.GSO.Type = GSONone }},
		{"unknown type", func(p *Packet) { p.GSO.Type = 9 }},
		{"not TCP", func(p *Packet) { p.Proto = wire.ProtoUDP }},
		{"IP header pulled", func(p *Packet) { p.Pull(1) }},
		{"TCP inside IP", func(p *Packet) { p.Transport-- }},
		{"IPv6 too short", func(p *Packet) { p.GSO.Type = GSOTCP6 }},
		{"data inside TCP", func(p *Packet) { p.Data-- }},
		{"data not linear", func(p *Packet) { p.Data = HeadLen }},
		{"no offsets", func(p *Packet) { p.Net, p.Transport, p.Data = 0, 0, 0 }},
	} {
		t.Run(test.name, func(t *testing.T) {
			balanced(t)
			s := super{size: 100, total: 1000, checksum: ChecksumPartial}
			p := s.packet(seeded(t), make([]byte, s.total))
			test.f(p)
			before := p.Bytes()
			var l List
			if Segment(p, &l) || !l.Empty() {
				t.Fatal("cut")
			}
			if !bytes.Equal(p.Bytes(), before) {
				t.Error("changed")
			}
			Free(p)
		})
	}
}

// Complete adds up any transport's bytes, wherever fragments end.
func TestComplete(t *testing.T) {
	balanced(t)
	r := seeded(t)
	for _, proto := range []struct {
		p   wire.Proto
		at  uint16
		len int
	}{{wire.ProtoUDP, 6, wire.UDPLen}, {wire.ProtoTCP, 16, wire.TCPLen}, {wire.ProtoICMPv6, 2, wire.ICMPLen}} {
		for range 100 {
			payload := random(r, r.IntN(3000))
			header := random(r, proto.len)
			src, dst := src6, dst6
			if proto.p != wire.ProtoICMPv6 && r.IntN(2) == 0 {
				src, dst = src4, dst4
			}
			pseudo := wire.Fold(wire.PseudoSum(src, dst, proto.p, proto.len+len(payload)))
			binary.BigEndian.PutUint16(header[proto.at:], pseudo)
			p := Get()
			copy(p.Append(proto.len), header)
			p.Transport = p.Start()
			scatter(r, p, payload)
			copy(p.Push(wire.IPv6Len), random(r, wire.IPv6Len)) // not summed
			p.Proto, p.Checksum, p.CsumOffset = proto.p, ChecksumPartial, proto.at

			flat := append(bytes.Clone(header), payload...)
			if got, want := wire.Fold(p.TransportSum(5)), wire.Fold(wire.Sum(flat, 5)); got != want {
				t.Fatalf("TransportSum %#x, want %#x", got, want)
			}
			want := ^naive(flat)
			Complete(p)
			if got := binary.BigEndian.Uint16(p.From(p.Transport)[proto.at:]); got != want || p.Checksum != ChecksumNone {
				t.Fatalf("%v: checksum %#x, want %#x", proto.p, got, want)
			}
			before := p.Bytes()
			Complete(p) // nothing left to do
			if !bytes.Equal(p.Bytes(), before) {
				t.Fatal("completed twice")
			}
			Free(p)
		}
	}
}

// A UDP checksum of zero would mean that there is none (RFC 768); a TCP one
// of zero is as good as any.
func TestCompleteZero(t *testing.T) {
	balanced(t)
	for _, test := range []struct {
		proto wire.Proto
		at    uint16
		want  uint16
	}{{wire.ProtoUDP, 6, 0xffff}, {wire.ProtoTCP, 16, 0}} {
		p := Get()
		b := p.Append(30)
		clear(b)
		p.Transport, p.Proto, p.CsumOffset, p.Checksum = p.Start(), test.proto, test.at, ChecksumPartial
		binary.BigEndian.PutUint16(b[test.at:], 0x1234)
		binary.BigEndian.PutUint16(b[28:], 0xffff-0x1234)
		Complete(p)
		if got := binary.BigEndian.Uint16(b[test.at:]); got != test.want {
			t.Errorf("%v: checksum %#x, want %#x", test.proto, got, test.want)
		}
		Free(p)
	}
}
