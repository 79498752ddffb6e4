package frag

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"

	"github.com/towpath/towpath/packet"
	"github.com/towpath/towpath/wire"
)

func addr4(i int) netip.Addr {
	return netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)})
}

func addr6(i int) netip.Addr {
	return netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, byte(i >> 24), byte(i >> 16), byte(i >> 8), byte(i), 15: 1})
}

// payload returns n bytes that tell their places.
func payload(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i*7 + i>>8*13)
	}
	return b
}

// A layout is how a packet's bytes lie in memory.
type layout struct {
	linear int // bytes in the head; all that fit if negative
	chunk  int // bytes of a chunk used for each reference; 0 means whole ones
	link   bool
	rand   *rand.Rand // shares chunks between references at random
}

// receive makes a packet of an IP packet's bytes and takes down what ipv4In and
// ipv6In do.
func (l layout) receive(b []byte) *packet.Packet {
	p := packet.Get()
	if l.link {
		wire.PutEthernet(p.Append(wire.EthernetLen), wire.MAC{2}, wire.MAC{4}, wire.EtherTypeIPv4)
		p.Link = p.Start()
		p.Pull(wire.EthernetLen)
	}
	p.Net = p.Start()
	n := min(len(b), len(p.Room()))
	if l.linear >= 0 {
		n = min(n, l.linear)
	}
	copy(p.Append(n), b)
	for b = b[n:]; len(b) > 0; {
		size := len(b)
		if l.chunk > 0 {
			size = min(size, l.chunk)
		}
		c := packet.GetChunk(size)
		off := 0
		if l.rand != nil {
			off = l.rand.IntN(max(1, len(c.Bytes())-size+1))
		}
		n := copy(c.Bytes()[off:], b[:size])
		if !p.AppendFrag(c, off, n) {
			panic("too many references")
		}
		c.Release()
		b = b[n:]
	}
	learn(p)
	return p
}

// learn takes down what the receive walk does.
func learn(p *packet.Packet) {
	p.Ingress = 2
	p.Linear(min(p.Len(), wire.IPv6Len))
	if p.From(p.Net)[0]>>4 == 4 {
		ip := wire.IPv4(p.From(p.Net))
		p.Linear(ip.HeaderLen())
		ip = p.From(p.Net)
		p.Src, p.Dst, p.Proto, p.TTL, p.TOS = ip.Src(), ip.Dst(), ip.Proto(), ip.TTL(), ip.TOS()
		p.Transport = p.Net + uint16(ip.HeaderLen())
		return
	}
	ip := wire.IPv6(p.From(p.Net))
	p.Src, p.Dst, p.Proto, p.TTL, p.TOS = ip.Src(), ip.Dst(), ip.NextHeader(), ip.HopLimit(), ip.TrafficClass()
	p.Transport = p.Net + wire.IPv6Len
	if p.Proto.IsExtension() {
		p.Linear(min(p.Len(), p.LinearMax()))
		if x, bad := wire.WalkExtensions(p.From(p.Transport), p.Proto); bad == wire.ExtOK {
			p.Proto = x.Proto
			p.Transport += uint16(x.Len)
			if x.Fragment && !x.Atomic() {
				p.Proto = wire.ProtoFragment
			}
		}
	}
}

// account looks for leaks: every packet and chunk must be back at the end.
func account(t testing.TB) {
	packet.Account(true)
	t.Cleanup(func() {
		p, c := packet.Live()
		packet.Account(false)
		if p != 0 || c != 0 {
			t.Errorf("%d packets and %d chunks are not back", p, c)
		}
	})
}

// A teller writes down what a table gives up, and ends it.
type teller struct {
	expired []string
	counts  map[packet.Reason]int
}

func (s *teller) Expired(first *packet.Packet) {
	s.expired = append(s.expired, fmt.Sprintf("%v %v %d", first.Src, first.Proto, first.LenFrom(first.Transport)))
}

func (s *teller) GivenUp(p *packet.Packet, r packet.Reason) {
	if s.counts == nil {
		s.counts = make(map[packet.Reason]int)
	}
	s.counts[packet.Drop(p, r)]++
}

// checkWhole looks whether a packet is what its own bytes say.
func checkWhole(t testing.TB, p *packet.Packet) {
	t.Helper()
	b := p.Bytes()
	if p.Start() != p.Net {
		t.Fatalf("begins at %d, its IP header is at %d", p.Start(), p.Net)
	}
	if p.Src.Is4() {
		ip := wire.IPv4(b)
		if !ip.Valid(len(b)) || !ip.ChecksumOK() || ip.TotalLen() != len(b) || ip.IsFragment() ||
			ip.TOS() != p.TOS || ip.TTL() != p.TTL || ip.Proto() != p.Proto || int(p.Transport-p.Net) != ip.HeaderLen() {
			t.Fatalf("headers are not in order: % x", b[:20])
		}
		return
	}
	ip := wire.IPv6(b)
	if !ip.Valid(len(b)) || ip.TotalLen() != len(b) || ip.TrafficClass() != p.TOS {
		t.Fatalf("headers are not in order: % x", b[:40])
	}
	x, bad := wire.WalkExtensions(ip.Payload(), ip.NextHeader())
	if bad != wire.ExtOK || x.Fragment || x.Proto != p.Proto || int(p.Transport-p.Net) != wire.IPv6Len+x.Len {
		t.Fatalf("extension headers are not in order: %v %+v, Proto %v", bad, x, p.Proto)
	}
}
