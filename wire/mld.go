package wire

import (
	"encoding/binary"
	"net/netip"
	"time"
)

// Sizes in bytes of multicast listener discovery, ICMPv6 header included.
const (
	MLDLen         = 24 // version 1
	MLDv2QueryLen  = 28 // a version 2 query before its sources
	MLDv2ReportLen = 8  // a version 2 report before its records
)

// MLD is a view of a multicast listener query of either version, or a report
// or done of version 1, from its ICMPv6 header on (RFC 2710, RFC 3810 §5.1).
type MLD []byte

// Valid reports whether the message is one of those and complete with the
// sources that it announces.
func (h MLD) Valid() bool {
	if len(h) < MLDLen {
		return false
	}
	switch ICMPv6(h).Type() {
	case ICMPv6MLDQuery:
		return h.NumSources() == 0 || len(h) >= MLDv2QueryLen+16*h.NumSources()
	case ICMPv6MLDReport, ICMPv6MLDDone:
		return true
	}
	return false
}

// Type returns the type of the message.
func (h MLD) Type() ICMPv6Type { return ICMPv6Type(h[icmpType]) }

// IsV2Query reports whether the message is a query of version 2, which its
// length tells (RFC 3810 §8.1).
func (h MLD) IsV2Query() bool { return h.Type() == ICMPv6MLDQuery && len(h) >= MLDv2QueryLen }

// MaxResp returns how long after a query a listener may answer.
func (h MLD) MaxResp() time.Duration {
	code := uint32(binary.BigEndian.Uint16(h[4:]))
	if h.IsV2Query() && code >= 0x8000 {
		// Three bits of exponent and twelve of mantissa (RFC 3810 §5.1.3).
		code = (code&0xfff | 0x1000) << (code>>12&7 + 3)
	}
	return time.Duration(code) * time.Millisecond
}

// Group returns the group that the message is about, :: in a general query.
func (h MLD) Group() netip.Addr { return addr16(h[8:]) }

// Suppress returns the flag S of a version 2 query: routers do not update
// their timers.
func (h MLD) Suppress() bool { return h.IsV2Query() && h[24]&8 != 0 }

// Robustness returns the querier's robustness variable from a version 2 query,
// 0 for more than 7 and in other messages.
func (h MLD) Robustness() int {
	if !h.IsV2Query() {
		return 0
	}
	return int(h[24] & 7)
}

// QueryInterval returns the querier's query interval from a version 2 query, 0
// from other messages.
func (h MLD) QueryInterval() time.Duration {
	if !h.IsV2Query() {
		return 0
	}
	return time.Duration(expand8(h[25])) * time.Second
}

// NumSources returns the number of sources in a version 2 query, 0 in other
// messages.
func (h MLD) NumSources() int {
	if !h.IsV2Query() {
		return 0
	}
	return int(binary.BigEndian.Uint16(h[26:]))
}

// Source returns source i of a version 2 query, of NumSources.
func (h MLD) Source(i int) netip.Addr { return addr16(h[MLDv2QueryLen+16*i:]) }

// MLDv2Report is a view of a multicast listener report of version 2 from its
// ICMPv6 header on (RFC 3810 §5.2).
type MLDv2Report []byte

// Valid reports whether the message is one and complete with the records that
// it announces.
func (h MLDv2Report) Valid() bool {
	return len(h) >= MLDv2ReportLen && ICMPv6(h).Type() == ICMPv6MLDv2Report &&
		groupRecords(h[MLDv2ReportLen:], h.NumRecords(), 16)
}

// NumRecords returns the number of records.
func (h MLDv2Report) NumRecords() int { return int(binary.BigEndian.Uint16(h[6:])) }

// Records returns the records.
func (h MLDv2Report) Records() GroupRecords {
	return GroupRecords{h[MLDv2ReportLen:], 16, h.NumRecords()}
}

// PutMLD writes a version 1 message of MLDLen bytes to b, with checksum zero;
// maxResp is in milliseconds and belongs to queries.
func PutMLD(b []byte, t ICMPv6Type, maxResp uint16, group netip.Addr) {
	PutICMP(b, uint8(t), 0, 0, uint32(maxResp)<<16)
	put16(b[8:MLDLen], group)
}

// MLDv2QueryFields are the fields of a version 2 query for [PutMLDv2Query], in
// the codes of RFC 3810 §5.1.
type MLDv2QueryFields struct {
	MaxResp    uint16 // milliseconds, floating point from 32768 on
	Group      netip.Addr
	Suppress   bool
	Robustness uint8 // 0 to 7
	Interval   uint8 // seconds, floating point from 128 on
	Sources    []netip.Addr
}

// PutMLDv2Query writes a query, with checksum zero, to b and returns its size,
// MLDv2QueryLen and 16 bytes for each source.
func PutMLDv2Query(b []byte, f *MLDv2QueryFields) int {
	h := b[:MLDv2QueryLen+16*len(f.Sources)]
	PutMLD(h, ICMPv6MLDQuery, f.MaxResp, f.Group)
	putQueryTail(h[24:], f.Suppress, f.Robustness, f.Interval, len(f.Sources))
	for i, s := range f.Sources {
		put16(h[MLDv2QueryLen+16*i:], s)
	}
	return len(h)
}

// PutMLDv2Report writes the head of a report, MLDv2ReportLen bytes, to b, with
// checksum zero; n records follow, see [PutGroupRecord].
func PutMLDv2Report(b []byte, n int) {
	PutICMP(b, uint8(ICMPv6MLDv2Report), 0, 0, uint32(uint16(n)))
}
