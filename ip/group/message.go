package group

import (
	"net/netip"

	"github.com/towpath/towpath/packet"
	"github.com/towpath/towpath/wire"
)

var (
	allRouters4 = netip.AddrFrom4([4]byte{224, 0, 0, 2})
	allRouters6 = netip.MustParseAddr("ff02::2")
)

// tosControl is the precedence of internetwork control, as Linux sends IGMP.
const tosControl = 0xc0

// Message writes a message about a group into p, which is empty: an IP packet
// with a router alert, with the facts that go with it, from its IP header on. It
// goes out by the adapter directly to the station address of p.Dst
// ([wire.MulticastMAC]).
//
// src is the adapter's address: of IPv4 any, of IPv6 the link-local one. Without
// one it is 0.0.0.0 or :: (RFC 3590).
func Message(p *packet.Packet, src netip.Addr, group netip.Addr, k Kind) {
	p.Src, p.Dst, p.TTL = src, group, 1
	if k == ReportMLD || k == DoneMLD {
		mld(p, group, k)
		return
	}
	t := wire.IGMPv2Report
	switch k {
	case ReportV1:
		t = wire.IGMPv1Report
	case LeaveV2:
		t, p.Dst = wire.IGMPv2Leave, allRouters4
	}
	wire.PutIGMP(p.Append(wire.IGMPLen), t, 0, group)
	p.Proto, p.TOS, p.Transport = wire.ProtoIGMP, tosControl, p.Start()
	f := wire.IPv4Fields{TOS: tosControl, DF: true, TTL: 1, Proto: wire.ProtoIGMP, Src: p.Src, Dst: p.Dst, Options: wire.IPv4RouterAlert}
	f.TotalLen = f.HeaderLen() + wire.IGMPLen
	wire.PutIPv4(p.Push(f.HeaderLen()), &f)
	p.Net = p.Start()
}

func mld(p *packet.Packet, group netip.Addr, k Kind) {
	t := wire.ICMPv6MLDReport
	if k == DoneMLD {
		t, p.Dst = wire.ICMPv6MLDDone, allRouters6
	}
	b := p.Append(wire.MLDLen)
	wire.PutMLD(b, t, 0, group)
	wire.ICMPv6(b).SetChecksum(^wire.Fold(wire.Sum(b, wire.PseudoSum(p.Src, p.Dst, wire.ProtoICMPv6, len(b)))))
	p.Proto, p.Transport = wire.ProtoICMPv6, p.Start()
	n := wire.OptionsHeaderLen(len(wire.IPv6RouterAlert))
	wire.PutOptionsHeader(p.Push(n), wire.ProtoICMPv6, wire.IPv6RouterAlert)
	wire.PutIPv6(p.Push(wire.IPv6Len), &wire.IPv6Fields{
		PayloadLen: n + wire.MLDLen, NextHeader: wire.ProtoHopByHop, HopLimit: 1, Src: p.Src, Dst: p.Dst,
	})
	p.Net = p.Start()
}
