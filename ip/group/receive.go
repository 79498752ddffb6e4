package group

import (
	"net/netip"
	"time"

	"github.com/towpath/towpath/packet"
	"github.com/towpath/towpath/wire"
)

// IGMPIn takes note of an IGMP message for us: p, which is lent, has its
// transport header at p.Transport. A reason says that nothing came of it.
func (t *Table) IGMPIn(now time.Duration, p *packet.Packet) packet.Reason {
	n := p.LenFrom(p.Transport)
	p.Linear(min(p.Len(), p.LinearMax()))
	m := wire.IGMP(p.From(p.Transport))
	if len(m) < wire.IGMPLen {
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
		// The sources of a version 3 query are nothing to a member that takes
		// all, so it does not matter if they are not all there.
		resp := m.MaxResp()
		if n < wire.IGMPv3QueryLen && resp == 0 { // RFC 2236 §4
			resp = respMaxV1
			t.v1Router(p.Ingress, now+v1RouterFor)
		}
		t.query(now, p.Ingress, group, true, resp)
	case wire.IGMPv1Report, wire.IGMPv2Report:
		t.heard(p.Ingress, group)
	default:
		return packet.ReasonIGMPType
	}
	return packet.NotDropped
}

// MLDIn takes note of a multicast listener query or report for us, whose ICMPv6
// checksum has been verified: p, which is lent, has its ICMPv6 header at
// p.Transport. A reason says that nothing came of it.
func (t *Table) MLDIn(now time.Duration, p *packet.Packet) packet.Reason {
	p.Linear(min(p.Len(), p.LinearMax()))
	m := wire.MLD(p.From(p.Transport))
	if len(m) < wire.MLDLen {
		return packet.ReasonMLDMalformed
	}
	// RFC 2710 §3; of a node without address a report comes from :: (RFC 3590).
	query := m.Type() == wire.ICMPv6MLDQuery
	if p.TTL != 1 || !p.Src.IsLinkLocalUnicast() && (query || !p.Src.IsUnspecified()) {
		return packet.ReasonMLDSource
	}
	group := m.Group()
	if !group.IsMulticast() && !(query && group.IsUnspecified()) {
		return packet.ReasonMLDGroup
	}
	switch m.Type() {
	case wire.ICMPv6MLDQuery:
		t.query(now, p.Ingress, group, false, m.MaxResp())
	case wire.ICMPv6MLDReport:
		t.heard(p.Ingress, group)
	default:
		return packet.ReasonMLDType
	}
	return packet.NotDropped
}

// v1Router notes that the querier is of version 1.
func (t *Table) v1Router(adapter int32, until time.Duration) {
	t.mu.Lock()
	t.v1[adapter] = until
	t.mu.Unlock()
}

// query starts timers of the memberships that a query is about: one group, or
// all of a family (RFC 2236 §3, RFC 2710 §4).
func (t *Table) query(now time.Duration, adapter int32, group netip.Addr, v4 bool, resp time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, m := range t.list {
		if m.key.Adapter != adapter || m.key.Group.Is4() != v4 || !reported(m.key.Group) ||
			!group.IsUnspecified() && m.key.Group != group {
			continue
		}
		// A timer that runs is set anew only if it would miss the response time.
		if m.at == never || m.at > now+resp {
			m.at = now + t.delay(resp)
		}
	}
}

// heard takes another member's report for ours.
func (t *Table) heard(adapter int32, group netip.Addr) {
	t.mu.Lock()
	defer t.mu.Unlock()
	// An idle member takes no notice, by the state diagrams: it may be the one
	// that reported to the last query.
	if m := t.find(Key{adapter, group}); m != nil && m.at != never {
		m.at, m.last = never, false
	}
}
