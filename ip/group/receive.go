package group

import (
	"net/netip"
	"time"

	"github.com/towpath/towpath/packet"
	"github.com/towpath/towpath/wire"
)

// message is all of p from its transport header on.
func message(p *packet.Packet) []byte {
	n := p.LenFrom(p.Transport)
	if p.Linear(p.Len()) {
		return p.From(p.Transport)
	}
	b := make([]byte, n)
	p.CopyTo(b, p.Len()-n)
	return b
}

// IGMPIn takes note of an IGMP message for us: p, which is lent, has its
// transport header at p.Transport. A reason says that nothing came of it.
func (t *Table) IGMPIn(now time.Duration, p *packet.Packet, s Sender) packet.Reason {
	m := wire.IGMP(message(p))
	// A query between the sizes of two versions is of none (RFC 3376 §7.1).
	if len(m) < wire.IGMPLen || m.Type() == wire.IGMPQuery && (len(m) > wire.IGMPLen && len(m) < wire.IGMPv3QueryLen || !m.Valid()) {
		return packet.ReasonIGMPMalformed
	}
	if p.Checksum == packet.ChecksumNone && wire.Fold(p.TransportSum(0)) != 0xffff {
		return packet.ReasonIGMPChecksum
	}
	group := m.Group()
	switch m.Type() {
	case wire.IGMPQuery:
		if !group.IsUnspecified() && !group.IsMulticast() {
			return packet.ReasonIGMPGroup
		}
		x := &query{version: V2, group: group, resp: m.MaxResp()}
		switch {
		case m.IsV3Query():
			x.version, x.robustness, x.interval = V3, m.Robustness(), m.QueryInterval()
			x.sources = sources(m.NumSources(), m.Source)
		case x.resp == 0:
			x.version = V1
		}
		t.queried(now, p.Ingress, false, x, s)
	case wire.IGMPv1Report, wire.IGMPv2Report:
		t.heard(now, p.Ingress, group, s)
	default:
		return packet.ReasonIGMPType
	}
	return packet.NotDropped
}

// MLDIn takes note of a multicast listener query or report for us, whose ICMPv6
// checksum has been verified: p, which is lent, has its ICMPv6 header at
// p.Transport. A reason says that nothing came of it.
func (t *Table) MLDIn(now time.Duration, p *packet.Packet, s Sender) packet.Reason {
	m := wire.MLD(message(p))
	if len(m) < wire.MLDLen || m.Type() == wire.ICMPv6MLDQuery && (len(m) > wire.MLDLen && len(m) < wire.MLDv2QueryLen || !m.Valid()) {
		return packet.ReasonMLDMalformed
	}
	// RFC 2710 §3; of a node without address a report comes from :: (RFC 3590).
	isQuery := m.Type() == wire.ICMPv6MLDQuery
	if p.TTL != 1 || !p.Src.IsLinkLocalUnicast() && (isQuery || !p.Src.IsUnspecified()) {
		return packet.ReasonMLDSource
	}
	group := m.Group()
	if !group.IsMulticast() && !(isQuery && group.IsUnspecified()) {
		return packet.ReasonMLDGroup
	}
	switch {
	case m.IsV2Query():
		t.queried(now, p.Ingress, true, &query{
			version: V3, group: group, sources: sources(m.NumSources(), m.Source), resp: m.MaxResp(),
			robustness: m.Robustness(), interval: m.QueryInterval(),
		}, s)
	case isQuery && !s.Link(p.Ingress, true).Strict:
		t.queried(now, p.Ingress, true, &query{version: V2, group: group, resp: m.MaxResp()}, s)
	case m.Type() == wire.ICMPv6MLDReport:
		t.heard(now, p.Ingress, group, s)
	default:
		return packet.ReasonMLDType
	}
	return packet.NotDropped
}

// sources are those of a query.
func sources(n int, at func(int) netip.Addr) []netip.Addr {
	list := make([]netip.Addr, n)
	for i := range list {
		list[i] = at(i)
	}
	return list
}
