package vnet

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"testing"

	"github.com/towpath/towpath/packet"
	"github.com/towpath/towpath/wire"
)

// frame builds the bytes of a packet with a partial checksum.
type frame struct {
	vlan, v6, ethernet bool
	proto              wire.Proto
	payload            int
	trailer            int // bytes behind the IP packet
}

func (f frame) build() []byte {
	p := packet.Get()
	defer packet.Free(p)
	src, dst := netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("10.0.0.2")
	if f.v6 {
		src, dst = netip.MustParseAddr("fd00::1"), netip.MustParseAddr("fd00::2")
	}
	p.AppendBytes(bytes.Repeat([]byte{0xab}, f.payload+f.trailer))
	length := f.payload
	switch f.proto {
	case wire.ProtoTCP:
		length += wire.TCPLen
		sum := wire.Fold(wire.PseudoSum(src, dst, f.proto, length))
		wire.PutTCP(p.Push(wire.TCPLen), &wire.TCPFields{SrcPort: 1, DstPort: 2, Flags: wire.TCPAck, Checksum: sum}, 0)
	case wire.ProtoUDP:
		length += wire.UDPLen
		sum := wire.Fold(wire.PseudoSum(src, dst, f.proto, length))
		wire.PutUDP(p.Push(wire.UDPLen), 1, 2, length, sum)
	}
	kind := wire.EtherTypeIPv4
	if f.v6 {
		kind = wire.EtherTypeIPv6
		wire.PutIPv6(p.Push(wire.IPv6Len), &wire.IPv6Fields{PayloadLen: length, NextHeader: f.proto, HopLimit: 9, Src: src, Dst: dst})
	} else {
		wire.PutIPv4(p.Push(wire.IPv4Len), &wire.IPv4Fields{TotalLen: wire.IPv4Len + length, TTL: 9, Proto: f.proto, Src: src, Dst: dst})
	}
	if f.vlan {
		wire.PutVLAN(p.Push(wire.VLANLen), 0, false, 5, kind)
		kind = wire.EtherTypeVLAN
	}
	if f.ethernet {
		wire.PutEthernet(p.Push(wire.EthernetLen), wire.MAC{2}, wire.MAC{4}, kind)
	}
	return p.Bytes()
}

// receive makes a packet of a frame, as a driver does.
func receive(b []byte) *packet.Packet {
	p := packet.Get()
	n := copy(p.Append(min(len(b), len(p.Room()))), b)
	p.AppendBytes(b[n:])
	return p
}

// header makes a vnet header.
func header(flags, gso byte, hdrLen, size, start, offset uint16) (h [Len]byte) {
	h[0], h[1] = flags, gso
	for i, v := range []uint16{hdrLen, size, start, offset} {
		binary.NativeEndian.PutUint16(h[2+2*i:], v)
	}
	return h
}

func TestDecode(t *testing.T) {
	const (
		needs, valid = flagNeedsCsum, flagDataValid
		none         = packet.ChecksumNone
		partial      = packet.ChecksumPartial
	)
	tcp4 := frame{proto: wire.ProtoTCP, payload: 3000}
	tcp6 := frame{proto: wire.ProtoTCP, payload: 3000, v6: true}
	udp4 := frame{proto: wire.ProtoUDP, payload: 100}
	eth := func(f frame) frame { f.ethernet = true; return f }
	vlan := func(f frame) frame { f.ethernet, f.vlan = true, true; return f }
	for _, c := range []struct {
		name   string
		f      frame
		h      [Len]byte
		reason packet.Reason
		sum    packet.Checksum
		size   uint16
	}{
		{"nothing", udp4, header(0, 0, 0, 0, 0, 0), 0, none, 0},
		{"verified", udp4, header(valid, 0, 0, 0, 0, 0), 0, packet.ChecksumVerified, 0},
		{"udp partial", udp4, header(needs, 0, 0, 0, 20, 6), 0, partial, 0},
		{"udp partial in ethernet", eth(udp4), header(needs, 0, 0, 0, 34, 6), 0, partial, 0},
		{"tcp super-segment", tcp4, header(needs, gsoTCPv4, 40, 1400, 20, 16), 0, partial, 1400},
		{"tcp super-segment with ECN", tcp4, header(needs, gsoTCPv4|gsoECN, 40, 1400, 20, 16), 0, partial, 1400},
		{"tcp6 super-segment", tcp6, header(needs, gsoTCPv6, 60, 1400, 40, 16), 0, partial, 1400},
		{"tcp6 super-segment in VLAN", vlan(tcp6), header(needs, gsoTCPv6, 78, 1400, 58, 16), 0, partial, 1400},
		{"merged by a device", tcp4, header(valid, gsoTCPv4, 40, 1400, 0, 0), 0, partial, 1400},
		{"header length is only a hint", tcp4, header(needs, gsoTCPv4, 9999, 1400, 20, 16), 0, partial, 1400},
		{"one segment", tcp4, header(needs, gsoTCPv4, 40, 3000, 20, 16), 0, partial, 0},
		// Partial checksums that are not the packet's own are completed.
		{"unknown start", udp4, header(needs, 0, 0, 0, 24, 6), 0, none, 0},
		{"unknown offset", udp4, header(needs, 0, 0, 0, 20, 4), 0, none, 0},
		// Hostile.
		{"start behind the end", udp4, header(needs, 0, 0, 0, 60000, 6), bad, none, 0},
		{"offset behind the end", udp4, header(needs, 0, 0, 0, 20, 60000), bad, none, 0},
		{"sum behind the linear bytes", tcp4, header(needs, 0, 0, 0, 200, 16), bad, none, 0},
		{"segment size 0", tcp4, header(needs, gsoTCPv4, 40, 0, 20, 16), bad, none, 0},
		{"segment size 1", tcp4, header(needs, gsoTCPv4, 40, 1, 20, 16), bad, none, 0},
		{"type of the other family", tcp4, header(needs, gsoTCPv6, 40, 1400, 20, 16), bad, none, 0},
		{"type unknown", tcp4, header(needs, 9, 40, 1400, 20, 16), bad, none, 0},
		{"super-segment of UDP", udp4, header(needs, gsoTCPv4, 28, 10, 20, 6), bad, none, 0},
		{"super-segment without checksum", tcp4, header(0, gsoTCPv4, 40, 1400, 0, 0), bad, none, 0},
		{"checksum elsewhere", tcp4, header(needs, gsoTCPv4, 40, 1400, 24, 16), bad, none, 0},
		{"trailer", frame{proto: wire.ProtoTCP, payload: 3000, trailer: 1}, header(needs, gsoTCPv4, 40, 1400, 20, 16), bad, none, 0},
	} {
		b := c.f.build()
		p := receive(b)
		h := c.h
		reason := Decode(&h, p, c.f.ethernet)
		if reason != c.reason || p.Checksum != c.sum || p.GSO.Size != c.size {
			t.Errorf("%s: %v, checksum %d, segment size %d", c.name, reason, p.Checksum, p.GSO.Size)
		}
		if p.GSO.Size != 0 {
			// What is sent again says the same.
			var again [Len]byte
			Encode(&again, p)
			q := receive(p.Bytes())
			if r := Decode(&again, q, c.f.ethernet); r != 0 || q.GSO != p.GSO || q.Data != p.Data || q.Transport != p.Transport {
				t.Errorf("%s: sent again: %v %+v", c.name, r, q.GSO)
			}
			packet.Free(q)
			// And it can be cut.
			var l packet.List
			if !packet.Segment(p, &l) {
				t.Errorf("%s: cannot be cut", c.name)
				packet.Free(p)
			}
			l.Free()
			continue
		}
		packet.Free(p)
	}
}

// A partial checksum within a tunnel is completed.
func TestComplete(t *testing.T) {
	inner := frame{proto: wire.ProtoUDP, payload: 501}.build()
	outer := frame{proto: wire.ProtoUDP, payload: len(inner)}.build()
	b := append(outer[:28:28], inner...)
	p := receive(b)
	defer packet.Free(p)
	h := header(flagNeedsCsum, 0, 0, 0, 48, 6)
	if r := Decode(&h, p, false); r != packet.NotDropped {
		t.Fatal(r)
	}
	ip := wire.IPv4(p.Bytes()[28:])
	if wire.Fold(wire.Sum(ip.Payload(), wire.PseudoSum(ip.Src(), ip.Dst(), ip.Proto(), ip.PayloadLen()))) != 0xffff {
		t.Error("the inner checksum is wrong")
	}
}

func FuzzDecode(f *testing.F) {
	for _, c := range []frame{
		{proto: wire.ProtoTCP, payload: 3000}, {proto: wire.ProtoTCP, payload: 300, v6: true, ethernet: true, vlan: true},
		{proto: wire.ProtoUDP, payload: 30, ethernet: true}, {proto: wire.ProtoHopByHop, payload: 64, v6: true},
	} {
		h := header(flagNeedsCsum, gsoTCPv4, 40, 1000, 20, 16)
		f.Add(h[:], c.build(), c.ethernet)
	}
	f.Fuzz(func(t *testing.T, head, b []byte, ethernet bool) {
		var h [Len]byte
		copy(h[:], head)
		if len(b) > 1<<16 {
			return
		}
		p := receive(b)
		if Decode(&h, p, ethernet) != packet.NotDropped {
			packet.Free(p)
			return
		}
		if len(b) != p.Len() {
			t.Fatal("length changed")
		}
		if p.Checksum == packet.ChecksumPartial {
			q := p.Clone()
			packet.Complete(q) // must not be out of range
			packet.Free(q)
		}
		if p.GSO.Size != 0 {
			var l packet.List
			if !packet.Segment(p, &l) {
				t.Fatal("a super-segment that cannot be cut")
			}
			l.Free()
			return
		}
		packet.Free(p)
	})
}
