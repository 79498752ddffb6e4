package frag

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/towpath/towpath/packet"
	"github.com/towpath/towpath/wire"
)

// routing is a routing header of 8 bytes and 16 of addresses.
func routing(next wire.Proto) []byte {
	b := make([]byte, 24)
	b[0], b[1], b[2] = uint8(next), 2, 4
	return b
}

// describe says of each fragment where it lies and how its headers are.
func describe(l *packet.List) string {
	var said []string
	for p := l.First(); p != nil; p = p.Next() {
		b := p.Bytes()
		var s string
		if b[0]>>4 == 4 {
			ip := wire.IPv4(b)
			s = fmt.Sprintf("%d+%d id %d", ip.FragOffset(), ip.PayloadLen(), ip.ID())
			if ip.MoreFragments() {
				s += " more"
			}
			if ip.DontFragment() {
				s += " df"
			}
			for o := ip.Options().Skip(); len(o) > 0; o = o.Next() {
				s += " " + o.Type().String()
			}
			if !ip.Valid(len(b)) || ip.TotalLen() != len(b) || !ip.ChecksumOK() {
				s += " BAD"
			}
		} else {
			ip := wire.IPv6(b)
			x, bad := wire.WalkExtensions(ip.Payload(), ip.NextHeader())
			s = fmt.Sprintf("%d+%d id %d", x.FragOffset, len(b)-wire.IPv6Len-x.FragmentAt-wire.FragmentLen, x.FragID)
			if x.MoreFragments {
				s += " more"
			}
			for p, b := ip.NextHeader(), []byte(ip.Payload()); ; {
				s += " " + p.String()
				if p == wire.ProtoFragment && x.FragOffset > 0 || !p.IsExtension() {
					break
				}
				n := 8
				if p != wire.ProtoFragment {
					n += 8 * int(b[1])
				}
				p, b = wire.Proto(b[0]), b[n:]
			}
			if bad != wire.ExtOK || !ip.Valid(len(b)) || ip.TotalLen() != len(b) {
				s += " BAD"
			}
		}
		said = append(said, s)
	}
	return strings.Join(said, "; ")
}

func TestCut(t *testing.T) {
	f4 := wire.IPv4Fields{TTL: 64, Proto: wire.ProtoUDP, Src: addr4(1), Dst: addr4(2)}
	f6 := wire.IPv6Fields{HopLimit: 64, Src: addr6(1), Dst: addr6(2)}
	with := func(f wire.IPv4Fields, set func(*wire.IPv4Fields)) wire.IPv4Fields {
		set(&f)
		return f
	}
	v4 := func(n int, set func(*wire.IPv4Fields)) []byte {
		var b wire.Builder
		return b.Payload(payload(n)).PushIPv4(with(f4, set)).Bytes()
	}
	var b wire.Builder
	for _, c := range []struct {
		name string
		b    []byte
		mtu  int
		want string // "" if it cannot be cut
	}{
		{"fits", v4(80, func(f *wire.IPv4Fields) {}), 100, "0+80 id 0"},
		{"IPv4", v4(100, func(f *wire.IPv4Fields) {}), 68, "0+48 id 7 more; 48+48 id 7 more; 96+4 id 7"},
		{"mtu no multiple of 8", v4(100, func(f *wire.IPv4Fields) {}), 75, "0+48 id 7 more; 48+52 id 7"},
		{"own identification", v4(60, func(f *wire.IPv4Fields) { f.ID = 9 }), 68, "0+48 id 9 more; 48+12 id 9"},
		{"DF stays", v4(60, func(f *wire.IPv4Fields) { f.DF = true }), 68, "0+48 id 7 more df; 48+12 id 7 df"},
		{"a fragment", v4(56, func(f *wire.IPv4Fields) { f.MF, f.FragOffset = true, 800 }), 68,
			"800+48 id 0 more; 848+8 id 0 more"},
		{"the last fragment", v4(57, func(f *wire.IPv4Fields) { f.FragOffset = 800 }), 68, "800+48 id 0 more; 848+9 id 0"},
		{"options copied and not", v4(100, func(f *wire.IPv4Fields) {
			f.Options = []byte{1, 148, 4, 0, 0, 7, 7, 4, 0, 0, 0, 0, 136, 4, 1, 2}
		}), 84, "0+48 id 7 more RA RR SID; 48+52 id 7 RA SID"},
		{"options not copied", v4(100, func(f *wire.IPv4Fields) { f.Options = []byte{7, 7, 4, 0, 0, 0, 0} }), 76,
			"0+48 id 7 more RR; 48+52 id 7"},
		{"IPv4, no room", v4(100, func(f *wire.IPv4Fields) {}), 27, ""},
		{"options malformed", v4(100, func(f *wire.IPv4Fields) { f.Options = []byte{7, 1} }), 68, ""},
		{"beyond the end", v4(100, func(f *wire.IPv4Fields) { f.FragOffset = 65528 }), 68, ""},
		{"IPv6", b.Payload(payload(1300)).PushUDP(1, 2).PushIPv6(f6).Bytes(), 1280,
			"0+1232 id 7 more FRAG UDP; 1232+76 id 7 FRAG"},
		{"hop-by-hop", new(wire.Builder).Payload(payload(1300)).PushUDP(1, 2).PushHopByHop(nil).PushIPv6(f6).Bytes(), 1280,
			"0+1224 id 7 more HBH FRAG UDP; 1224+84 id 7 HBH FRAG"},
		{"destination options", new(wire.Builder).Payload(payload(1300)).PushUDP(1, 2).PushDestOpts(nil).PushIPv6(f6).Bytes(), 1280,
			"0+1232 id 7 more FRAG DSTOPT UDP; 1232+84 id 7 FRAG"},
		{"routing", new(wire.Builder).Payload(payload(1300)).PushUDP(1, 2).PushDestOpts(nil).
			PushBytes(routing(wire.ProtoDestOpts)).SetProto(wire.ProtoRouting).PushDestOpts(nil).PushHopByHop(nil).PushIPv6(f6).Bytes(), 1280,
			"0+1192 id 7 more HBH DSTOPT RT FRAG DSTOPT UDP; 1192+124 id 7 HBH DSTOPT RT FRAG"},
		{"routing after all", new(wire.Builder).Payload(payload(1300)).PushUDP(1, 2).
			PushBytes(routing(wire.ProtoUDP)).SetProto(wire.ProtoRouting).PushIPv6(f6).Bytes(), 1280,
			"0+1208 id 7 more RT FRAG UDP; 1208+100 id 7 RT FRAG"},
		{"IPv6 fragment", new(wire.Builder).Payload(payload(1300)).PushFragment(8, true, 3).PushIPv6(f6).Bytes(), 1280, ""},
		{"IPv6, no room for the UDP header", new(wire.Builder).Payload(payload(100)).PushUDP(1, 2).PushIPv6(f6).Bytes(), 55, ""},
		{"IPv6, room for it", new(wire.Builder).Payload(payload(9)).PushUDP(1, 2).PushIPv6(f6).Bytes(), 56,
			"0+8 id 7 more FRAG UDP; 8+8 id 7 more FRAG; 16+1 id 7 FRAG"},
		{"neither", make([]byte, 100), 68, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			account(t)
			p := layout{linear: 100}.receive(c.b)
			p.Mark, p.Flow = 5, new(packet.Flow)
			flow := p.Flow
			var out packet.List
			ok := Cut(p, c.mtu, 7, &out)
			if !ok {
				if p.Len() != len(c.b) {
					t.Error("p was changed")
				}
				packet.Free(p)
			}
			if got := describe(&out); got != c.want || ok != (c.want != "") {
				t.Errorf("%v\n got %s\nwant %s", ok, got, c.want)
			}
			for q := out.First(); q != nil; q = q.Next() {
				if q.Len() > c.mtu || q.Mark != 5 || q.Flow != flow || q.Ingress != 2 || q.TTL != 64 {
					t.Errorf("facts are lost: %d bytes, mark %d, ingress %d", q.Len(), q.Mark, q.Ingress)
				}
			}
			out.Free()
		})
	}
}

// A super-segment is not cut, nor what has headers too long for a head.
func TestCutRefuses(t *testing.T) {
	account(t)
	var out packet.List
	var b wire.Builder
	b.Payload(payload(3000)).PushTCP(wire.TCPFields{}, nil).PushIPv4(wire.IPv4Fields{Src: addr4(1), Dst: addr4(2)})
	p := layout{linear: -1}.receive(b.Bytes())
	p.GSO = packet.GSO{Type: packet.GSOTCP4, Size: 1460}
	if Cut(p, 1500, 1, &out) {
		t.Error("a super-segment is cut")
	}
	packet.Free(p)
	b.Payload(payload(3000)).PushUDP(1, 2).PushHopByHop(make([]byte, 222))
	b.PushIPv6(wire.IPv6Fields{Src: addr6(1), Dst: addr6(2)})
	p = packet.Get()
	p.Reset(8)
	p.Net = p.Start()
	copy(p.Append(312), b.Bytes())
	p.AppendBytes(b.Bytes()[312:])
	p.Src = addr6(1)
	if Cut(p, 1500, 1, &out) {
		t.Error("headers that leave no headroom are copied")
	}
	packet.Free(p)
}

// A partial checksum is completed before the payload is cut apart.
func TestCutChecksum(t *testing.T) {
	account(t)
	for _, v6 := range []bool{false, true} {
		var b wire.Builder
		b.Payload(payload(3001)).PushUDP(1000, 53)
		if v6 {
			b.PushIPv6(wire.IPv6Fields{Src: addr6(1), Dst: addr6(2)})
		} else {
			b.PushIPv4(wire.IPv4Fields{ID: 4, Src: addr4(1), Dst: addr4(2)})
		}
		p := layout{linear: 100}.receive(b.Bytes())
		udp := wire.UDP(p.From(p.Transport))
		udp.SetChecksum(wire.Fold(wire.PseudoSum(p.Src, p.Dst, wire.ProtoUDP, 3009)))
		p.Checksum, p.CsumOffset = packet.ChecksumPartial, 6
		var out packet.List
		if !Cut(p, 1280, 1, &out) {
			t.Fatal("not cut")
		}
		tb, s := New(Config{}), new(teller)
		for q := out.Pop(); q != nil; q = out.Pop() {
			if q.Checksum != packet.ChecksumNone {
				t.Errorf("checksum %d", q.Checksum)
			}
			if w := tb.Add(0, q, nil, s).Whole; w != nil {
				if !bytes.Equal(w.Bytes(), b.Bytes()) {
					t.Error("not what was sent")
				}
				packet.Free(w)
			}
		}
	}
}

// randomPacket is an IP packet with any headers and its facts.
func randomPacket(r *rand.Rand, v6 bool, size int) []byte {
	var b wire.Builder
	body := make([]byte, size)
	for i := range body {
		body[i] = byte(r.Uint32())
	}
	b.Payload(body).PushUDP(uint16(r.Uint32()), 53)
	tos := uint8(r.Uint32())
	if !v6 {
		f := wire.IPv4Fields{TTL: 9, TOS: tos, ID: uint16(1 + r.IntN(65535)), Src: addr4(r.IntN(3)), Dst: addr4(99)}
		if r.IntN(3) == 0 {
			f.Options = []byte{7, 7, 4, 0, 0, 0, 0, 148, 4, 0, 0}[r.IntN(2)*7:]
		}
		return b.PushIPv4(f).Bytes()
	}
	for _, i := range r.Perm(3)[:r.IntN(3)] {
		switch i {
		case 0:
			b.PushDestOpts(make([]byte, r.IntN(20)))
		case 1:
			b.PushBytes(routing(wire.ProtoUDP)).SetProto(wire.ProtoRouting)
			b.Bytes()[0] = uint8(wire.ProtoUDP)
		}
		if b.Bytes()[0] == uint8(wire.ProtoUDP) && i == 1 {
			break // the routing header names UDP: nothing may stand between
		}
	}
	if r.IntN(2) == 0 {
		b.PushHopByHop(make([]byte, r.IntN(20)))
	}
	return b.PushIPv6(wire.IPv6Fields{HopLimit: 9, TrafficClass: tos, FlowLabel: 5, Src: addr6(r.IntN(3)), Dst: addr6(99)}).Bytes()
}

// What is cut, in any size and memory layout, is put together again from any
// order, and is what it was.
func TestRoundTrip(t *testing.T) {
	account(t)
	r := rand.New(rand.NewPCG(1, 2))
	tb, s := New(Config{}), new(teller)
	ids := NewIDs([32]byte{1})
	var keep packet.List
	n := 4000
	if testing.Short() || raceEnabled {
		n = 800
	}
	for i := range n {
		v6 := i%2 == 1
		b := randomPacket(r, v6, r.IntN([]int{300, 3000, 60000}[r.IntN(3)]))
		l := layout{linear: 60 + r.IntN(100), link: r.IntN(2) == 0}
		if r.IntN(2) == 0 {
			l.chunk, l.rand = len(b)/(1+r.IntN(16))+1, r
		}
		if !v6 && r.IntN(8) > 0 {
			l.linear = -1
		}
		p := l.receive(b)
		var out packet.List
		mtu := 576 + r.IntN(9000)
		if !Cut(p, mtu, ids.Next(p.Src, p.Dst), &out) {
			t.Fatalf("packet %d: %d bytes not cut to %d", i, len(b), mtu)
		}
		var fragments []*packet.Packet
		driver := r.IntN(2) == 0 // over a link, or by reference
		for q := out.Pop(); q != nil; q = out.Pop() {
			if q.Len() > mtu {
				t.Fatalf("packet %d: fragment of %d bytes for an mtu of %d", i, q.Len(), mtu)
			}
			// The facts are those that a receiver learns.
			c := q.Clone()
			learn(c)
			if c.Proto != q.Proto || c.Transport != q.Transport || c.Src != q.Src || c.Dst != q.Dst || c.TOS != q.TOS || c.TTL != q.TTL {
				t.Fatalf("packet %d: facts %v %d, a receiver learns %v %d", i, q.Proto, q.Transport-q.Net, c.Proto, c.Transport-c.Net)
			}
			packet.Free(c)
			if driver {
				b := q.Bytes()
				packet.Free(q)
				q = layout{linear: -1, link: true}.receive(b)
			}
			fragments = append(fragments, q)
		}
		if r.IntN(2) == 0 {
			r.Shuffle(len(fragments), func(i, j int) { fragments[i], fragments[j] = fragments[j], fragments[i] })
		}
		k := &keep
		if r.IntN(4) > 0 {
			k = nil
		}
		for j, q := range fragments {
			o := tb.Add(0, q, k, s)
			if o.Reason != packet.NotDropped || (o.Whole != nil) != (j == len(fragments)-1) {
				t.Fatalf("packet %d, fragment %d of %d: %+v", i, j, len(fragments), o)
			}
			if o.Whole == nil {
				continue
			}
			checkWhole(t, o.Whole)
			if !bytes.Equal(o.Whole.Bytes(), b) {
				t.Fatalf("packet %d of %d bytes in %d fragments came back different", i, len(b), len(fragments))
			}
			packet.Free(o.Whole)
		}
		keep.Free()
	}
	if len(s.counts) > 0 {
		t.Errorf("given up: %v", s.counts)
	}
	if u := tb.Usage(); u != (Usage{}) {
		t.Errorf("in use: %+v", u)
	}
}
