package nft

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"github.com/towpath/towpath/firewall/classify"
	"github.com/towpath/towpath/packet"
	"github.com/towpath/towpath/wire"
)

// A Probe is a packet that rules are asked about, and where it is.
type Probe struct {
	Packet  *packet.Packet
	In, Out string // adapters
	// Path is input, forward or output; empty: what follows from the adapters,
	// or from the host's addresses and routes.
	Path string
	// State is what connection tracking says of it; 0: what it says of the first
	// packet of a flow.
	State classify.CtStateBits
	text  string
}

func (p *Probe) String() string { return p.text }

// ParseProbe reads a packet from text:
//
//	tcp 10.1.0.2:4000 > 203.0.113.2:80 syn
//	udp 10.1.0.2:4000 > 10.1.0.1:53 in eth0
//	icmp 10.1.0.2 > 10.1.0.1 echo-request
//	tcp [fd00::2]:4000 > [fd00::1]:80 ack established in eth0 out eth1
//
// The protocol is tcp, udp, icmp, icmpv6 or a number. Behind the addresses may
// stand TCP flags, a type of ICMP, ttl N, tos N, mark N, len N (of the payload),
// in and out with adapters, a state (new, established, related, invalid,
// untracked) and a path (input, forward, output).
func ParseProbe(s string) (*Probe, error) {
	f := strings.Fields(s)
	bad := func(format string, args ...any) (*Probe, error) {
		return nil, fmt.Errorf("packet %q: %s; write one such as tcp 10.1.0.2:4000 > 203.0.113.2:80 syn", s, fmt.Sprintf(format, args...))
	}
	if len(f) < 4 || f[2] != ">" {
		return bad("it has no PROTOCOL SOURCE > DESTINATION")
	}
	x := &Probe{text: s}
	b := buildPacket{ttl: 64, kind: -1}
	switch f[0] {
	case "tcp":
		b.proto = wire.ProtoTCP
	case "udp":
		b.proto = wire.ProtoUDP
	case "icmp":
		b.proto = wire.ProtoICMP
	case "icmpv6":
		b.proto = wire.ProtoICMPv6
	default:
		n, err := strconv.ParseUint(f[0], 10, 8)
		if err != nil {
			return bad("%q is not a protocol", f[0])
		}
		b.proto = wire.Proto(n)
	}
	ported := b.proto == wire.ProtoTCP || b.proto == wire.ProtoUDP
	for i, at := range []int{1, 3} {
		var err error
		if ported {
			b.ends[i], err = netip.ParseAddrPort(f[at])
		} else {
			var a netip.Addr
			a, err = netip.ParseAddr(f[at])
			b.ends[i] = netip.AddrPortFrom(a, 0)
		}
		if err != nil {
			return bad("%q is not an address%s", f[at], map[bool]string{true: " with a port"}[ported])
		}
	}
	if b.ends[0].Addr().Is4() != b.ends[1].Addr().Is4() {
		return bad("the addresses are of two families")
	}
	for i := 4; i < len(f); i++ {
		w := strings.TrimSuffix(f[i], ",")
		arg := func() string {
			if i++; i < len(f) {
				return f[i]
			}
			return ""
		}
		num := func(bits int) (uint64, bool) {
			n, err := strconv.ParseUint(arg(), 0, bits)
			return n, err == nil
		}
		ok := true
		var n uint64
		switch w {
		case "in":
			x.In = arg()
		case "out":
			x.Out = arg()
		case "input", "forward", "output":
			x.Path = w
		case "ttl":
			n, ok = num(8)
			b.ttl = uint8(n)
		case "tos":
			n, ok = num(8)
			b.tos = uint8(n)
		case "mark":
			n, ok = num(32)
			b.mark = uint32(n)
		case "len":
			n, ok = num(10)
			b.payload = int(n)
		default:
			ok = b.word(w) || x.state(w)
		}
		if !ok {
			return bad("%q means nothing here", w)
		}
	}
	x.Packet = b.packet()
	return x, nil
}

func (x *Probe) state(w string) bool {
	for _, s := range types["ct_state"].symbols {
		if s.name == w {
			x.State = classify.CtStateBits(s.value)
			return true
		}
	}
	return false
}

// A buildPacket is what a packet is made from.
type buildPacket struct {
	proto   wire.Proto
	ends    [2]netip.AddrPort
	ttl     uint8
	tos     uint8
	mark    uint32
	flags   uint8
	kind    int // of ICMP; -1: echo request
	payload int
}

// word takes a TCP flag or a type of ICMP.
func (b *buildPacket) word(w string) bool {
	var t *Type
	switch b.proto {
	case wire.ProtoTCP:
		t = types["tcp_flag"]
	case wire.ProtoICMP:
		t = types["icmp_type"]
	case wire.ProtoICMPv6:
		t = types["icmpv6_type"]
	default:
		return false
	}
	for _, s := range t.symbols {
		if s.name == w {
			b.flags |= uint8(s.value)
			b.kind = int(s.value)
			return true
		}
	}
	return false
}

// packet makes the packet, from its IP header on, with right checksums.
func (b *buildPacket) packet() *packet.Packet {
	p := packet.Get()
	body := make([]byte, b.payload)
	src, dst := b.ends[0].Addr(), b.ends[1].Addr()
	var h []byte
	switch b.proto {
	case wire.ProtoTCP:
		h = make([]byte, wire.TCPLen)
		binary.BigEndian.PutUint16(h, b.ends[0].Port())
		binary.BigEndian.PutUint16(h[2:], b.ends[1].Port())
		h[12], h[13] = 5<<4, b.flags
		binary.BigEndian.PutUint16(h[14:], 65535)
	case wire.ProtoUDP:
		h = make([]byte, wire.UDPLen)
		binary.BigEndian.PutUint16(h, b.ends[0].Port())
		binary.BigEndian.PutUint16(h[2:], b.ends[1].Port())
		binary.BigEndian.PutUint16(h[4:], uint16(wire.UDPLen+b.payload))
	case wire.ProtoICMP, wire.ProtoICMPv6:
		h = make([]byte, 8)
		h[0] = 8
		if b.proto == wire.ProtoICMPv6 {
			h[0] = 128
		}
		if b.kind >= 0 {
			h[0] = byte(b.kind)
		}
	}
	l4 := append(h, body...)
	if at := checksumAt(b.proto); at >= 0 {
		sum := checksum(src, dst, b.proto, l4)
		if b.proto == wire.ProtoUDP && sum == 0 {
			sum = 0xffff
		}
		binary.BigEndian.PutUint16(l4[at:], sum)
	}
	p.AppendBytes(l4)
	if src.Is4() {
		f := wire.IPv4Fields{TOS: b.tos, TTL: b.ttl, Proto: b.proto, Src: src, Dst: dst, TotalLen: wire.IPv4Len + len(l4)}
		wire.PutIPv4(p.Push(wire.IPv4Len), &f)
	} else {
		wire.PutIPv6(p.Push(wire.IPv6Len), &wire.IPv6Fields{TrafficClass: b.tos, PayloadLen: len(l4), NextHeader: b.proto, HopLimit: b.ttl, Src: src, Dst: dst})
	}
	p.Net, p.Mark = p.Start(), b.mark
	SetHeaders(p)
	return p
}

// checksum is the transport checksum over the pseudo header and b, but for
// ICMP, which has no pseudo header.
func checksum(src, dst netip.Addr, proto wire.Proto, b []byte) uint16 {
	var s uint32
	add := func(b []byte) {
		for i, x := range b {
			s += uint32(x) << (8 * (1 - i%2))
		}
	}
	if proto != wire.ProtoICMP {
		add(src.AsSlice())
		add(dst.AsSlice())
		s += uint32(len(b)) + uint32(proto)
	}
	add(b)
	for s>>16 != 0 {
		s = s>>16 + s&0xffff
	}
	return ^uint16(s)
}
