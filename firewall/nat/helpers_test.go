package nat

import (
	"net/netip"
	"testing"
	"time"

	"github.com/towpath/towpath/firewall/classify"
	"github.com/towpath/towpath/firewall/conntrack"
	"github.com/towpath/towpath/firewall/hook"
	"github.com/towpath/towpath/link"
	"github.com/towpath/towpath/packet"
	"github.com/towpath/towpath/wire"
)

var (
	client  = netip.MustParseAddr("10.0.0.1")
	server  = netip.MustParseAddr("10.0.1.2")
	outside = netip.MustParseAddr("10.0.1.254")
	cli6    = netip.MustParseAddr("2001:db8::1")
	srv6    = netip.MustParseAddr("2001:db8:1::2")
	out6    = netip.MustParseAddr("2001:db8:1::fe")
)

// ipPacket makes a packet as the walk has it at Prerouting, checksums filled in.
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
	p.Linear(min(p.Len(), p.LinearMax()))
	b := p.From(p.Transport)
	b[at], b[at+1] = 0, 0
	sum := ^wire.Fold(p.TransportSum(pseudo(p)))
	if sum == 0 && proto == wire.ProtoUDP {
		sum = 0xffff
	}
	b[at], b[at+1] = byte(sum>>8), byte(sum)
	return p
}

// pseudo is the sum of p's pseudo header, if its protocol has one.
func pseudo(p *packet.Packet) uint32 {
	if p.Proto == wire.ProtoICMP {
		return 0
	}
	return wire.PseudoSum(p.Src, p.Dst, p.Proto, p.LenFrom(p.Transport))
}

func udp(src, dst netip.Addr, sport, dport uint16, payload string) *packet.Packet {
	b := make([]byte, wire.UDPLen+len(payload))
	wire.PutUDP(b, sport, dport, len(b), 0)
	copy(b[wire.UDPLen:], payload)
	return ipPacket(src, dst, wire.ProtoUDP, b)
}

func tcp(src, dst netip.Addr, sport, dport uint16, flags wire.TCPFlags, seq, ack uint32, payload string) *packet.Packet {
	b := make([]byte, wire.TCPLen+len(payload))
	t := wire.TCP(b)
	t.SetSrcPort(sport)
	t.SetDstPort(dport)
	t.SetSeq(seq)
	t.SetAck(ack)
	t.SetHeaderLen(wire.TCPLen)
	t.SetFlags(flags)
	t.SetWindow(30000)
	copy(b[wire.TCPLen:], payload)
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

// A router is a table and a NAT with the judges of both, in their places.
type router struct {
	flows *conntrack.Table
	nat   *NAT
	seats [hook.PointCount]hook.Judges[hook.PacketJudge]
	now   time.Duration
	c     hook.Context
}

func (r *router) add(at hook.Point, priority int, j hook.PacketJudge) error {
	r.seats[at] = r.seats[at].With(priority, j)
	return nil
}

// A natRule is a chain of one rule.
type natRule struct {
	at    hook.Point
	match func(p *packet.Packet) bool
	r     Range
}

type chain struct {
	s     *classify.Statement
	match func(p *packet.Packet) bool
	in    classify.Input
}

func (c *chain) JudgePacket(h *hook.Context, p *packet.Packet) hook.Verdict {
	if c.match != nil && !c.match(p) {
		return hook.Accept
	}
	c.in = classify.Input{Packet: p, Now: h.Now, Context: h}
	if c.s.Do(&c.in).Code == classify.Drop {
		return hook.Drop
	}
	return hook.Accept
}

func newRouter(t testing.TB, set conntrack.Settings, rules ...natRule) *router {
	r := &router{flows: conntrack.NewTable(set)}
	r.nat = New(r.flows)
	for _, rule := range rules {
		side := conntrack.Source
		if rule.at == hook.Prerouting || rule.at == hook.Output {
			side = conntrack.Destination
		}
		s, err := r.nat.Translate(side, rule.r)
		if err != nil {
			t.Fatal(err)
		}
		r.nat.AddChain(rule.at, 0, &chain{s: s, match: rule.match})
	}
	r.flows.Attach(r.add)
	r.nat.Attach(r.add)
	return r
}

// testEnv knows the router's own addresses.
type testEnv struct{ hook.Env }

func (testEnv) Source(adapter int32, dst netip.Addr) (netip.Addr, bool) {
	if dst.Is4() {
		return outside, true
	}
	return out6, true
}

var adapter = new(link.Adapter)

// at has p pass a point.
func (r *router) at(at hook.Point, p *packet.Packet) bool {
	r.c = hook.Context{Point: at, Now: r.now, In: adapter, Out: adapter, Env: testEnv{}}
	return hook.Run(r.seats[at], &r.c, p) == hook.Accept
}

// forward has p walk through the router, and returns it, or nil.
func (r *router) forward(p *packet.Packet) *packet.Packet {
	if !r.at(hook.Prerouting, p) {
		packet.Free(p)
		return nil
	}
	if p.Src.Is4() {
		wire.IPv4(p.From(p.Net)).DecTTL()
	} else {
		wire.IPv6(p.From(p.Net)).SetHopLimit(63)
	}
	if !r.at(hook.Postrouting, p) {
		packet.Free(p)
		return nil
	}
	return p
}

// sums checks p's checksums and that its fields are those of its header.
func sums(t testing.TB, p *packet.Packet) {
	t.Helper()
	if p.Src.Is4() {
		ip := wire.IPv4(p.From(p.Net))
		if !ip.ChecksumOK() || ip.Src() != p.Src || ip.Dst() != p.Dst {
			t.Errorf("IP header %v", ip)
		}
	} else if ip := wire.IPv6(p.From(p.Net)); ip.Src() != p.Src || ip.Dst() != p.Dst {
		t.Errorf("IP header %v", ip)
	}
	if p.Checksum != packet.ChecksumPartial && wire.Fold(p.TransportSum(pseudo(p))) != 0xffff {
		t.Errorf("checksum of %v", wire.Format(p.Bytes(), wire.LinkRaw))
	}
}

// from matches packets from the network of n bits around a.
func from(a netip.Addr, n int) func(p *packet.Packet) bool {
	net, _ := a.Prefix(n)
	return func(p *packet.Packet) bool { return net.Contains(p.Src) }
}

// tuple is what p's header says.
func tuple(p *packet.Packet) packet.Tuple {
	t := packet.Tuple{Src: p.Src, Dst: p.Dst, Proto: p.Proto}
	b := p.From(p.Transport)
	switch p.Proto {
	case wire.ProtoTCP, wire.ProtoUDP:
		t.SrcPort, t.DstPort = uint16(b[0])<<8|uint16(b[1]), uint16(b[2])<<8|uint16(b[3])
	case wire.ProtoICMP, wire.ProtoICMPv6:
		t.SrcPort = uint16(b[4])<<8 | uint16(b[5])
	}
	return t
}
