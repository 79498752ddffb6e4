package nat

import (
	"encoding/binary"
	"fmt"
	"net/netip"

	"github.com/towpath/towpath/firewall/classify"
	"github.com/towpath/towpath/firewall/conntrack"
	"github.com/towpath/towpath/packet"
	"github.com/towpath/towpath/wire"
)

// An npt maps one IPv6 prefix to another so that checksums stay right.
type npt struct {
	from, to netip.Prefix
	side     conntrack.Side
	adjust   uint16 // ones' complement difference of the prefixes' sums
}

// Prefix is the statement that addresses of one side that are in the prefix
// from get the prefix to (RFC 6296; iptables: SNPT and DNPT). It keeps no
// state, so packets should not be tracked; the opposite translation is another
// statement. The longer prefix counts, which is at most 64 bits. Packets that
// cannot be translated are dropped.
func Prefix(side conntrack.Side, from, to netip.Prefix) (*classify.Statement, error) {
	if !from.IsValid() || !to.IsValid() || from.Addr().Is4() || to.Addr().Is4() {
		return nil, fmt.Errorf("nat: prefix translation is from an IPv6 prefix to another, not from %v to %v", from, to)
	}
	bits := max(from.Bits(), to.Bits())
	if bits > 64 {
		return nil, fmt.Errorf("nat: prefix translation is of prefixes of at most 64 bits, not %d", bits)
	}
	from, to = from.Masked(), to.Masked()
	from, to = netip.PrefixFrom(from.Addr(), bits), netip.PrefixFrom(to.Addr(), bits)
	f, t := from.Addr().As16(), to.Addr().As16()
	x := &npt{from, to, side, wire.Fold(uint32(wire.Fold(wire.Sum(f[:], 0))) + uint32(^wire.Fold(wire.Sum(t[:], 0))))}
	name := "snpt"
	if side == conntrack.Destination {
		name = "dnpt"
	}
	return &classify.Statement{Name: fmt.Sprintf("%s from %v to %v", name, from, to), Do: x.do}, nil
}

func (x *npt) do(in *classify.Input) classify.Verdict {
	p := in.Packet
	if !p.Src.Is6() {
		return classify.Verdict{}
	}
	if p.Proto == wire.ProtoICMPv6 {
		x.quoted(p)
	}
	a := &p.Src
	if x.side == conntrack.Destination {
		a = &p.Dst
	}
	if !x.from.Contains(*a) {
		return classify.Verdict{}
	}
	to, ok := x.translate(*a)
	if !ok {
		return classify.Verdict{Code: classify.Drop}
	}
	*a = to
	setAddr6(p.From(p.Net), x.side, to)
	return classify.Verdict{}
}

func setAddr6(b []byte, side conntrack.Side, to netip.Addr) {
	if side == conntrack.Source {
		wire.IPv6(b).SetSrc(to)
	} else {
		wire.IPv6(b).SetDst(to)
	}
}

// quoted translates the packet that an error quotes, which went the other way.
// The error's checksum stays right as the packet's own does.
func (x *npt) quoted(p *packet.Packet) {
	q, ok := conntrack.ReadQuote(p)
	b := p.From(p.Transport)
	if !ok || !wire.ICMPv6Type(b[0]).IsError() {
		return
	}
	other, a := conntrack.Destination, q.Tuple.Dst
	if x.side == conntrack.Destination {
		other, a = conntrack.Source, q.Tuple.Src
	}
	if !x.from.Contains(a) {
		return
	}
	if to, ok := x.translate(a); ok {
		setAddr6(b[q.Net:], other, to)
	}
}

// translate gives an address the other prefix and takes the difference back in
// a word behind it: the fourth if the prefix leaves it, else the first of the
// interface identifier that is not 0xffff (RFC 6296 §3.4, §3.5).
func (x *npt) translate(a netip.Addr) (netip.Addr, bool) {
	m := mapNet(a, x.to).As16()
	at := 6
	if x.to.Bits() > 48 {
		for at = 8; at < 16 && binary.BigEndian.Uint16(m[at:]) == 0xffff; at += 2 {
		}
		if at == 16 {
			return a, false
		}
	}
	w := wire.Fold(uint32(binary.BigEndian.Uint16(m[at:])) + uint32(x.adjust))
	if w == 0xffff {
		w = 0
	}
	binary.BigEndian.PutUint16(m[at:], w)
	return netip.AddrFrom16(m), true
}
