package wire

import (
	"encoding/binary"
	"net/netip"
	"strconv"
	"time"
)

// Sizes in bytes of IGMP messages before sources and records.
const (
	IGMPLen        = 8  // versions 1 and 2; a version 3 report before its records
	IGMPv3QueryLen = 12 // a version 3 query before its sources
)

// IGMPType is the type of an IGMP message.
type IGMPType uint8

// Types of IGMP messages.
const (
	IGMPQuery    IGMPType = 0x11 // all versions
	IGMPv1Report IGMPType = 0x12 // RFC 1112
	IGMPv2Report IGMPType = 0x16 // RFC 2236
	IGMPv2Leave  IGMPType = 0x17 // RFC 2236
	IGMPv3Report IGMPType = 0x22 // RFC 3376
)

// String returns the type in tcpdump's words.
func (t IGMPType) String() string {
	switch t {
	case IGMPQuery:
		return "query"
	case IGMPv1Report:
		return "v1 report"
	case IGMPv2Report:
		return "v2 report"
	case IGMPv2Leave:
		return "leave"
	case IGMPv3Report:
		return "v3 report"
	}
	return "type-#" + strconv.Itoa(int(t))
}

// IGMP is a view of an IGMP message of any version (RFC 1112, RFC 2236, RFC 3376). Its
// checksum covers the whole message and no pseudo header.
type IGMP []byte

// Valid reports whether the message is complete with the sources or records
// that it announces.
func (h IGMP) Valid() bool {
	if len(h) < IGMPLen {
		return false
	}
	if h.IsV3Query() {
		return len(h) >= IGMPv3QueryLen+4*h.NumSources()
	}
	return groupRecords(h[IGMPLen:], h.NumRecords(), 4)
}

// Type returns the type of the message.
func (h IGMP) Type() IGMPType { return IGMPType(h[0]) }

// IsV3Query reports whether the message is a query of version 3, which its
// length tells (RFC 3376 §7.1).
func (h IGMP) IsV3Query() bool { return h.Type() == IGMPQuery && len(h) >= IGMPv3QueryLen }

// MaxResp returns how long after a query a member may answer; 0 in version 1.
func (h IGMP) MaxResp() time.Duration {
	code := uint32(h[1])
	if h.IsV3Query() {
		code = expand8(h[1])
	}
	return time.Duration(code) * 100 * time.Millisecond
}

// Checksum returns the checksum as it stands in the message.
func (h IGMP) Checksum() uint16 { return binary.BigEndian.Uint16(h[2:]) }

// Group returns the group that the message is about, 0.0.0.0 in a general
// query; it means nothing in a version 3 report.
func (h IGMP) Group() netip.Addr { return netip.AddrFrom4([4]byte(h[4:8])) }

// Suppress returns the flag S of a version 3 query: routers do not update
// their timers.
func (h IGMP) Suppress() bool { return h.IsV3Query() && h[8]&8 != 0 }

// Robustness returns the querier's robustness variable from a version 3 query,
// 0 for more than 7 and in other messages.
func (h IGMP) Robustness() int {
	if !h.IsV3Query() {
		return 0
	}
	return int(h[8] & 7)
}

// QueryInterval returns the querier's query interval from a version 3 query, 0
// from other messages.
func (h IGMP) QueryInterval() time.Duration {
	if !h.IsV3Query() {
		return 0
	}
	return time.Duration(expand8(h[9])) * time.Second
}

// NumSources returns the number of sources in a version 3 query, 0 in other
// messages.
func (h IGMP) NumSources() int {
	if !h.IsV3Query() {
		return 0
	}
	return int(binary.BigEndian.Uint16(h[10:]))
}

// Source returns source i of a version 3 query, of NumSources.
func (h IGMP) Source(i int) netip.Addr {
	at := IGMPv3QueryLen + 4*i
	return netip.AddrFrom4([4]byte(h[at : at+4]))
}

// NumRecords returns the number of records in a version 3 report, 0 in other
// messages.
func (h IGMP) NumRecords() int {
	if h.Type() != IGMPv3Report {
		return 0
	}
	return int(binary.BigEndian.Uint16(h[6:]))
}

// Records returns the records of a version 3 report.
func (h IGMP) Records() GroupRecords { return GroupRecords{h[IGMPLen:], 4, h.NumRecords()} }

// expand8 reads the floating-point codes of IGMPv3 and MLDv2: from 128 on,
// three bits of exponent and four of mantissa (RFC 3376 §4.1.1).
func expand8(c uint8) uint32 {
	if c < 128 {
		return uint32(c)
	}
	return uint32(c&15|16) << (c>>4&7 + 3)
}

// GroupRecordType tells what a record of a version 3 report says about a
// group.
type GroupRecordType uint8

// Types of group records (RFC 3376 §4.2.12, RFC 3810 §5.2.12).
const (
	RecordIsInclude GroupRecordType = 1 + iota // the filter mode is INCLUDE
	RecordIsExclude                            // the filter mode is EXCLUDE
	RecordToInclude                            // the filter mode has become INCLUDE
	RecordToExclude                            // the filter mode has become EXCLUDE
	RecordAllow                                // new sources are wanted
	RecordBlock                                // old sources are no longer wanted
)

// String returns the type in tcpdump's words.
func (t GroupRecordType) String() string {
	switch t {
	case RecordIsInclude:
		return "is_in"
	case RecordIsExclude:
		return "is_ex"
	case RecordToInclude:
		return "to_in"
	case RecordToExclude:
		return "to_ex"
	case RecordAllow:
		return "allow"
	case RecordBlock:
		return "block"
	}
	return "record type " + strconv.Itoa(int(t))
}

// GroupRecords is the list of records of an IGMPv3 or MLDv2 report, which are
// alike but for the size of addresses, seen from its first one on:
//
//	for r := h.Records(); r.More(); r = r.Next() { … }
type GroupRecords struct {
	b    []byte
	addr int // bytes in an address
	n    int // records left
}

// groupRecords reports whether b holds n whole records with addresses of addr
// bytes.
func groupRecords(b []byte, n, addr int) bool {
	for range n {
		if len(b) < 4+addr {
			return false
		}
		size := GroupRecords{b, addr, 1}.len()
		if size > len(b) {
			return false
		}
		b = b[size:]
	}
	return true
}

// More reports whether there is a first record.
func (r GroupRecords) More() bool { return r.n > 0 }

// Next steps over the first record.
func (r GroupRecords) Next() GroupRecords { return GroupRecords{r.b[r.len():], r.addr, r.n - 1} }

// Type returns the type of the first record.
func (r GroupRecords) Type() GroupRecordType { return GroupRecordType(r.b[0]) }

// Group returns the group of the first record.
func (r GroupRecords) Group() netip.Addr { return r.at(4) }

// NumSources returns the number of sources in the first record.
func (r GroupRecords) NumSources() int { return int(binary.BigEndian.Uint16(r.b[2:])) }

// Source returns source i of the first record.
func (r GroupRecords) Source(i int) netip.Addr { return r.at(4 + r.addr*(1+i)) }

func (r GroupRecords) at(i int) netip.Addr {
	if r.addr == 4 {
		return netip.AddrFrom4([4]byte(r.b[i : i+4]))
	}
	return addr16(r.b[i:])
}

// len is the size of the first record; the byte before the number of sources
// counts words of auxiliary data.
func (r GroupRecords) len() int { return 4 + r.addr*(1+r.NumSources()) + 4*int(r.b[1]) }

// PutIGMP writes a message of IGMPLen bytes to b, with its checksum; maxResp
// is in tenths of a second and belongs to queries of version 2.
func PutIGMP(b []byte, t IGMPType, maxResp uint8, group netip.Addr) {
	h := b[:IGMPLen]
	h[0], h[1], h[2], h[3] = uint8(t), maxResp, 0, 0
	put4(h[4:], group)
	binary.BigEndian.PutUint16(h[2:], Checksum(h))
}

// PutIGMPv3Report writes the head of a report, IGMPLen bytes, to b, before n
// records that are already there and end with b, and computes the checksum.
func PutIGMPv3Report(b []byte, n int) {
	binary.BigEndian.PutUint32(b, uint32(IGMPv3Report)<<24)
	binary.BigEndian.PutUint32(b[4:], uint32(n))
	binary.BigEndian.PutUint16(b[2:], Checksum(b))
}

// IGMPv3QueryFields are the fields of a version 3 query for [PutIGMPv3Query],
// in the codes of RFC 3376 §4.1.
type IGMPv3QueryFields struct {
	MaxResp    uint8 // tenths of a second, floating point from 128 on
	Group      netip.Addr
	Suppress   bool
	Robustness uint8 // 0 to 7
	Interval   uint8 // seconds, floating point from 128 on
	Sources    []netip.Addr
}

// PutIGMPv3Query writes a query with its checksum to b and returns its size,
// IGMPv3QueryLen and 4 bytes for each source.
func PutIGMPv3Query(b []byte, f *IGMPv3QueryFields) int {
	h := b[:IGMPv3QueryLen+4*len(f.Sources)]
	PutIGMP(h, IGMPQuery, f.MaxResp, f.Group)
	putQueryTail(h[8:], f.Suppress, f.Robustness, f.Interval, len(f.Sources))
	for i, s := range f.Sources {
		put4(h[IGMPv3QueryLen+4*i:], s)
	}
	binary.BigEndian.PutUint16(h[2:], 0)
	binary.BigEndian.PutUint16(h[2:], Checksum(h))
	return len(h)
}

// putQueryTail writes the four bytes that queries of IGMPv3 and MLDv2 share.
func putQueryTail(b []byte, suppress bool, robustness, interval uint8, sources int) {
	b[0], b[1] = robustness&7, interval
	if suppress {
		b[0] |= 8
	}
	binary.BigEndian.PutUint16(b[2:], uint16(sources))
}

// GroupRecordLen returns the size in bytes of a record about a group with n
// sources.
func GroupRecordLen(group netip.Addr, n int) int { return 4 + group.BitLen()/8*(1+n) }

// PutGroupRecord writes a record of an IGMPv3 or MLDv2 report, as the family of
// group tells, to b and returns its size.
func PutGroupRecord(b []byte, t GroupRecordType, group netip.Addr, sources ...netip.Addr) int {
	n := GroupRecordLen(group, len(sources))
	b = b[:n]
	b[0], b[1] = uint8(t), 0
	binary.BigEndian.PutUint16(b[2:], uint16(len(sources)))
	at := 4 + putAddr(b[4:], group)
	for _, s := range sources {
		at += putAddr(b[at:], s)
	}
	return n
}

// putAddr writes an address in the size of its family, which it returns.
func putAddr(b []byte, a netip.Addr) int {
	if a.Is4() {
		put4(b, a)
		return 4
	}
	put16(b, a)
	return 16
}
