package group

import (
	"net/netip"

	"github.com/towpath/towpath/packet"
	"github.com/towpath/towpath/wire"
)

var (
	allRouters4   = netip.AddrFrom4([4]byte{224, 0, 0, 2})
	allRouters6   = netip.MustParseAddr("ff02::2")
	allReportees4 = netip.AddrFrom4([4]byte{224, 0, 0, 22}) // RFC 3376 §4.2.14
	allReportees6 = netip.MustParseAddr("ff02::16")         // RFC 3810 §5.2.14
)

// tosControl is the precedence of internetwork control, as Linux sends IGMP.
const tosControl = 0xc0

// A Kind is a kind of message about groups.
type Kind uint8

const (
	ReportV1    Kind = iota + 1 // IGMPv1 membership report
	ReportV2                    // IGMPv2 membership report
	LeaveV2                     // IGMPv2 leave group
	ReportV3                    // IGMPv3 membership report
	ReportMLD                   // MLDv1 multicast listener report
	DoneMLD                     // MLDv1 multicast listener done
	ReportMLDv2                 // MLDv2 multicast listener report
)

var kindText = [...]string{
	ReportV1: "v1 report", ReportV2: "v2 report", LeaveV2: "leave", ReportV3: "v3 report",
	ReportMLD: "mld report", DoneMLD: "mld done", ReportMLDv2: "mld v2 report",
}

func (k Kind) String() string { return kindText[k] }

// V6 reports whether messages of the kind are MLD's.
func (k Kind) V6() bool { return k >= ReportMLD }

// room is how many bytes of records a message of V3 has in a packet of mtu bytes.
func (k Kind) room(mtu int) int {
	mtu = min(mtu, packet.SizeMax)
	if k.V6() {
		return mtu - wire.IPv6Len - wire.OptionsHeaderLen(len(wire.IPv6RouterAlert)) - wire.MLDv2ReportLen
	}
	return mtu - wire.IPv4Len - len(wire.IPv4RouterAlert) - wire.IGMPLen
}

// A Message is one to be sent.
type Message struct {
	Kind    Kind
	Group   netip.Addr // of the kinds that are about one
	Records []Record   // of the others
}

// A Record tells of a group (RFC 3376 §4.2.4, RFC 3810 §5.2.4).
type Record struct {
	Type    wire.GroupRecordType
	Group   netip.Addr
	Sources []netip.Addr
}

func (r *Record) len() int { return wire.GroupRecordLen(r.Group, len(r.Sources)) }

// split divides records among messages that have room bytes for them. One that
// is too long for any goes in parts, unless it excludes: then sources are left
// out, so that too much is received and not too little (RFC 3376 §4.2.16, RFC
// 3810 §5.2.15).
func split(records []Record, room int, each func([]Record)) {
	var part []Record
	left := room
	flush := func() {
		if len(part) > 0 {
			each(part)
		}
		part, left = nil, room
	}
	for _, r := range records {
		if r.len() > left {
			flush()
		}
		for r.len() > room && len(r.Sources) > 1 {
			most := max(1, (room-wire.GroupRecordLen(r.Group, 0))/(r.Group.BitLen()/8))
			rest := r.Sources[most:]
			r.Sources = r.Sources[:most]
			if r.Type == wire.RecordIsExclude || r.Type == wire.RecordToExclude {
				break
			}
			each([]Record{r})
			r.Sources = rest
		}
		part = append(part, r)
		left -= r.len()
	}
	flush()
}

// Put writes the message into p, which is empty: an IP packet with a router
// alert, with the facts that go with it, from its IP header on. It goes out by
// the adapter directly to the station address of p.Dst ([wire.MulticastMAC]).
//
// src is the adapter's address: of IPv4 any, of IPv6 the link-local one. Without
// one it is 0.0.0.0 or :: (RFC 3376 §4.2.13, RFC 3590).
func (m *Message) Put(p *packet.Packet, src netip.Addr) {
	p.Src, p.Dst, p.TTL = src, m.Group, 1
	switch m.Kind {
	case LeaveV2:
		p.Dst = allRouters4
	case ReportV3:
		p.Dst = allReportees4
	case DoneMLD:
		p.Dst = allRouters6
	case ReportMLDv2:
		p.Dst = allReportees6
	}
	b := m.body(p.Src, p.Dst)
	p.Transport = p.Start()
	p.AppendBytes(b)
	if m.Kind.V6() {
		p.Proto = wire.ProtoICMPv6
		n := wire.OptionsHeaderLen(len(wire.IPv6RouterAlert))
		wire.PutOptionsHeader(p.Push(n), wire.ProtoICMPv6, wire.IPv6RouterAlert)
		wire.PutIPv6(p.Push(wire.IPv6Len), &wire.IPv6Fields{
			PayloadLen: n + len(b), NextHeader: wire.ProtoHopByHop, HopLimit: 1, Src: p.Src, Dst: p.Dst,
		})
	} else {
		p.Proto, p.TOS = wire.ProtoIGMP, tosControl
		f := wire.IPv4Fields{TOS: tosControl, DF: true, TTL: 1, Proto: wire.ProtoIGMP, Src: p.Src, Dst: p.Dst, Options: wire.IPv4RouterAlert}
		f.TotalLen = f.HeaderLen() + len(b)
		wire.PutIPv4(p.Push(f.HeaderLen()), &f)
	}
	p.Net = p.Start()
}

// body is the message behind its IP headers.
func (m *Message) body(src, dst netip.Addr) []byte {
	size := wire.IGMPLen // MLDv2ReportLen is the same
	if m.Kind == ReportMLD || m.Kind == DoneMLD {
		size = wire.MLDLen
	}
	at := size
	for i := range m.Records {
		size += m.Records[i].len()
	}
	b := make([]byte, size)
	for _, r := range m.Records {
		at += wire.PutGroupRecord(b[at:], r.Type, r.Group, r.Sources...)
	}
	switch m.Kind {
	case ReportV1:
		wire.PutIGMP(b, wire.IGMPv1Report, 0, m.Group)
	case ReportV2:
		wire.PutIGMP(b, wire.IGMPv2Report, 0, m.Group)
	case LeaveV2:
		wire.PutIGMP(b, wire.IGMPv2Leave, 0, m.Group)
	case ReportV3:
		wire.PutIGMPv3Report(b, len(m.Records))
	case ReportMLD:
		wire.PutMLD(b, wire.ICMPv6MLDReport, 0, m.Group)
	case DoneMLD:
		wire.PutMLD(b, wire.ICMPv6MLDDone, 0, m.Group)
	case ReportMLDv2:
		wire.PutMLDv2Report(b, len(m.Records))
	}
	if m.Kind.V6() {
		wire.ICMPv6(b).SetChecksum(^wire.Fold(wire.Sum(b, wire.PseudoSum(src, dst, wire.ProtoICMPv6, len(b)))))
	}
	return b
}
