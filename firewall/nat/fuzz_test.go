package nat

import (
	"encoding/binary"
	"testing"
	"time"

	"github.com/towpath/towpath/firewall/conntrack"
	"github.com/towpath/towpath/firewall/hook"
	"github.com/towpath/towpath/packet"
	"github.com/towpath/towpath/wire"
)

// asWalked makes a packet of bytes as ipv4In and ipv6In would, nil if they
// would drop it.
func asWalked(b []byte) *packet.Packet {
	p := packet.Get()
	if len(b) > 1500 || !p.AppendBytes(b) {
		packet.Free(p)
		return nil
	}
	p.Net = p.Start()
	p.Linear(min(p.Len(), p.LinearMax()))
	ok := false
	switch h := p.Head(); {
	case len(h) > 0 && h[0]>>4 == 4 && wire.IPv4(h).Valid(len(b)):
		ip := wire.IPv4(h)
		p.Truncate(ip.TotalLen())
		p.Src, p.Dst, p.Proto, p.Transport = ip.Src(), ip.Dst(), ip.Proto(), p.Net+uint16(ip.HeaderLen())
		ok = true
	case len(h) > 0 && h[0]>>4 == 6 && wire.IPv6(h).Valid(len(b)):
		ip := wire.IPv6(h)
		p.Truncate(ip.TotalLen())
		p.Src, p.Dst, p.Proto, p.Transport = ip.Src(), ip.Dst(), ip.NextHeader(), p.Net+wire.IPv6Len
		ok = !p.Proto.IsExtension()
	}
	if !ok {
		packet.Free(p)
		return nil
	}
	p.Ingress = 1
	return p
}

// FuzzRouter has hostile packets be translated: whatever had a right checksum
// has one afterwards, and no mapping outlives its flows.
func FuzzRouter(f *testing.F) {
	seed := func(ps ...*packet.Packet) {
		var all []byte
		for _, p := range ps {
			b := p.Bytes()
			packet.Free(p)
			all = append(all, 0, 0)
			all = binary.BigEndian.AppendUint16(all, uint16(len(b)))
			all = append(all, b...)
		}
		f.Add(all)
	}
	seed(udp(client, server, 1000, 53, "q"), udp(server, outside, 53, 1000, "a"), icmp(server, outside, 3, 3, 0, udp(outside, server, 1000, 53, "q").Bytes()))
	seed(icmp(cli6, srv6, 128, 0, 7<<16, nil), icmp(srv6, out6, 129, 0, 7<<16, nil), icmp(srv6, out6, 1, 0, 0, icmp(out6, srv6, 128, 0, 7<<16, nil).Bytes()))
	seed(tcp(client, server, 3, 21, wire.TCPSyn, 99, 0, ""), tcp(server, outside, 21, 3, wire.TCPSyn|wire.TCPAck, 499, 100, ""),
		tcp(client, server, 3, 21, wire.TCPAck, 100, 500, "NOOP\n"), tcp(client, server, 3, 21, wire.TCPAck, 105, 500, "PORT 10,0,0,1,8,1\r\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		r := newRouter(t, conntrack.Settings{Max: 8, Helper: true},
			natRule{hook.Prerouting, func(p *packet.Packet) bool { return p.Dst == outside }, Range{Min: client, PortMin: 1, PortMax: 3}},
			natRule{hook.Postrouting, func(p *packet.Packet) bool { return p.Src.Is4() }, Range{Min: outside, EndpointIndependent: true}},
			natRule{hook.Postrouting, nil, Range{Min: out6}})
		for len(b) >= 4 {
			r.now += time.Duration(b[0]) * time.Second
			n := min(int(binary.BigEndian.Uint16(b[2:])), len(b)-4)
			p := asWalked(b[4 : 4+n])
			b = b[4+n:]
			if p == nil {
				continue
			}
			p.TTL = 64
			good := whole(p)
			q := r.forward(p)
			if q == nil {
				continue
			}
			if good && !whole(q) {
				t.Errorf("wrong checksum: %v", wire.Format(q.Bytes(), wire.LinkRaw))
			}
			packet.Free(q)
		}
		r.now += 10 * 24 * time.Hour
		r.flows.Sweep(r.now)
		if len(r.nat.sources) > 8 {
			t.Errorf("%d mappings are left", len(r.nat.sources))
		}
	})
}

// whole reports whether p's checksums are right.
func whole(p *packet.Packet) bool {
	if p.Src.Is4() && (!wire.IPv4(p.From(p.Net)).ChecksumOK() || wire.IPv4(p.From(p.Net)).IsFragment()) {
		return false
	}
	switch p.Proto {
	case wire.ProtoUDP:
		u := wire.UDP(p.From(p.Transport))
		if !u.Valid(p.LenFrom(p.Transport)) || u.Len() != p.LenFrom(p.Transport) || u.Checksum() == 0 {
			return false
		}
	case wire.ProtoTCP, wire.ProtoICMP, wire.ProtoICMPv6:
	default:
		return false
	}
	return wire.Fold(p.TransportSum(pseudo(p))) == 0xffff
}
