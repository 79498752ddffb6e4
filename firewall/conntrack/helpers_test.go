package conntrack

import (
	"net/netip"
	"testing"
	"time"

	"github.com/towpath/towpath/firewall/hook"
	"github.com/towpath/towpath/packet"
	"github.com/towpath/towpath/wire"
)

var (
	client = netip.MustParseAddr("10.0.0.1")
	server = netip.MustParseAddr("10.0.1.2")
	cli6   = netip.MustParseAddr("2001:db8::1")
	srv6   = netip.MustParseAddr("2001:db8:1::2")
)

// ipPacket makes a packet as the walk has it at Prerouting, with the transport
// header and payload l4, whose checksum is filled in.
func ipPacket(src, dst netip.Addr, proto wire.Proto, l4 []byte) *packet.Packet {
	p := packet.Get()
	if src.Is4() {
		wire.PutIPv4(p.Append(wire.IPv4Len), &wire.IPv4Fields{TotalLen: wire.IPv4Len + len(l4), TTL: 64, Proto: proto, Src: src, Dst: dst})
	} else {
		wire.PutIPv6(p.Append(wire.IPv6Len), &wire.IPv6Fields{PayloadLen: len(l4), NextHeader: proto, HopLimit: 64, Src: src, Dst: dst})
	}
	p.Net = p.Start()
	p.Transport = p.Net + uint16(p.HeadLen())
	p.Src, p.Dst, p.Proto, p.TTL, p.Ingress = src, dst, proto, 64, 2
	p.AppendBytes(l4)
	at := map[wire.Proto]int{wire.ProtoTCP: 16, wire.ProtoUDP: 6, wire.ProtoICMP: 2, wire.ProtoICMPv6: 2}[proto]
	if at == 0 || len(l4) < at+2 {
		return p
	}
	var pseudo uint32
	if proto != wire.ProtoICMP {
		pseudo = wire.PseudoSum(src, dst, proto, len(l4))
	}
	p.Linear(min(p.Len(), p.LinearMax()))
	b := p.From(p.Transport)
	b[at], b[at+1] = 0, 0
	sum := ^wire.Fold(p.TransportSum(pseudo))
	if sum == 0 && proto == wire.ProtoUDP {
		sum = 0xffff
	}
	b[at], b[at+1] = byte(sum>>8), byte(sum)
	return p
}

func udp(src, dst netip.Addr, sport, dport uint16, payload string) *packet.Packet {
	b := make([]byte, wire.UDPLen+len(payload))
	wire.PutUDP(b, sport, dport, len(b), 0)
	copy(b[wire.UDPLen:], payload)
	return ipPacket(src, dst, wire.ProtoUDP, b)
}

type tcpFields struct {
	flags    wire.TCPFlags
	seq, ack uint32
	win      uint16
	options  []byte
	payload  string
}

func tcp(src, dst netip.Addr, sport, dport uint16, f tcpFields) *packet.Packet {
	h := wire.TCPLen + len(f.options)
	b := make([]byte, h+len(f.payload))
	t := wire.TCP(b)
	t.SetSrcPort(sport)
	t.SetDstPort(dport)
	t.SetSeq(f.seq)
	t.SetAck(f.ack)
	t.SetHeaderLen(h)
	t.SetFlags(f.flags)
	t.SetWindow(f.win)
	copy(b[wire.TCPLen:], f.options)
	copy(b[h:], f.payload)
	return ipPacket(src, dst, wire.ProtoTCP, b)
}

func icmp(src, dst netip.Addr, typ, code uint8, rest uint32, body []byte) *packet.Packet {
	b := make([]byte, wire.ICMPLen+len(body))
	wire.PutICMP(b, typ, code, 0, rest)
	copy(b[wire.ICMPLen:], body)
	proto := wire.ProtoICMP
	if src.Is6() {
		proto = wire.ProtoICMPv6
	}
	return ipPacket(src, dst, proto, b)
}

// pass has p walk through a router, and returns what it was found to be.
func (t *Table) pass(p *packet.Packet, now time.Duration) (state packet.TrackState, reply bool) {
	defer packet.Free(p)
	c := hook.Context{Point: hook.Prerouting, Now: now}
	if (tracker{t}).JudgePacket(&c, p) != hook.Accept {
		return packet.TrackNone, false
	}
	c.Point = hook.Postrouting
	if (confirmer{t}).JudgePacket(&c, p) != hook.Accept {
		return packet.TrackNone, false
	}
	return p.Track.State, p.Track.Reply
}

// only returns the one flow of the table.
func (t *Table) only(tb testing.TB, now time.Duration) Flow {
	tb.Helper()
	l := t.List(now)
	if len(l) != 1 {
		tb.Fatalf("%d flows: %v", len(l), l)
	}
	return l[0]
}

func expectState(tb testing.TB, t *Table, p *packet.Packet, now time.Duration, want packet.TrackState, wantReply bool) {
	tb.Helper()
	if s, r := t.pass(p, now); s != want || r != wantReply {
		tb.Errorf("state %d reply %v, want %d %v", s, r, want, wantReply)
	}
}
