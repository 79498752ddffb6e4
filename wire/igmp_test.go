package wire

import (
	"net/netip"
	"testing"
	"time"
)

var igmpV3Query = raw(`
	11                  # query
	64                  # maximum response 10 s
	60 08               # checksum
	00 00 00 00         # general: all groups
	0a                  # suppress, robustness 2
	7d                  # query interval 125 s
	00 02               # two sources
	c0 00 02 09         # 192.0.2.9
	c0 00 02 0a         # 192.0.2.10`)

var igmpV3Report = raw(`
	22 00               # version 3 report
	3c eb               # checksum
	00 00 00 02         # two records
	04 00 00 00         # now EXCLUDE, no sources
	ef 01 02 03         # 239.1.2.3
	01 00 00 01         # INCLUDE, one source
	e8 01 01 01         # 232.1.1.1
	c0 00 02 09         # 192.0.2.9`)

func TestIGMP(t *testing.T) {
	r := IGMP(igmpReport[24:])
	eq(t, "Valid", r.Valid(), true)
	eq(t, "Type", r.Type(), IGMPv2Report)
	eq(t, "Group", r.Group(), ip("224.0.0.251"))
	eq(t, "Checksum", r.Checksum(), 0x0904)
	eq(t, "String", r.String(), "igmp v2 report 224.0.0.251")
	eq(t, "Valid of 7 bytes", r[:7].Valid(), false)
	b := make([]byte, IGMPLen)
	PutIGMP(b, IGMPv2Report, 0, ip("224.0.0.251"))
	eqBytes(t, "PutIGMP", b, r)
}

func TestIGMPv3(t *testing.T) {
	q := IGMP(igmpV3Query)
	eq(t, "Valid", q.Valid(), true)
	eq(t, "Valid without a source", q[:16].Valid(), false)
	eq(t, "IsV3Query", q.IsV3Query(), true)
	eq(t, "MaxResp", q.MaxResp(), 10*time.Second)
	eq(t, "Suppress", q.Suppress(), true)
	eq(t, "Robustness", q.Robustness(), 2)
	eq(t, "QueryInterval", q.QueryInterval(), 125*time.Second)
	eq(t, "NumSources", q.NumSources(), 2)
	eq(t, "Source", q.Source(1), ip("192.0.2.10"))
	b := make([]byte, len(q))
	PutIGMPv3Query(b, &IGMPv3QueryFields{MaxResp: 100, Group: ip("0.0.0.0"), Suppress: true, Robustness: 2, Interval: 125,
		Sources: []netip.Addr{ip("192.0.2.9"), ip("192.0.2.10")}})
	eqBytes(t, "PutIGMPv3Query", b, q)

	h := IGMP(igmpV3Report)
	eq(t, "Valid", h.Valid(), true)
	eq(t, "Valid without a source", h[:len(h)-1].Valid(), false)
	eq(t, "String", h.String(), "igmp v3 report, 2 group record(s) [239.1.2.3 to_ex 0] [232.1.1.1 is_in 1]")
	rec := h.Records()
	eq(t, "Type", rec.Type(), RecordToExclude)
	eq(t, "NumSources", rec.NumSources(), 0)
	rec = rec.Next()
	eq(t, "Group", rec.Group(), ip("232.1.1.1"))
	eq(t, "Source", rec.Source(0), ip("192.0.2.9"))
	eq(t, "More", rec.Next().More(), false)
	b = make([]byte, len(h))
	at := IGMPLen
	at += PutGroupRecord(b[at:], RecordToExclude, ip("239.1.2.3"))
	at += PutGroupRecord(b[at:], RecordIsInclude, ip("232.1.1.1"), ip("192.0.2.9"))
	PutIGMPv3Report(b[:at], 2)
	eqBytes(t, "PutIGMPv3Report", b, h)
}

func TestExpand8(t *testing.T) {
	for c, want := range map[uint8]uint32{0: 0, 127: 127, 0x80: 128, 0x8f: 248, 0x90: 256, 0xff: 31744} {
		eq(t, "expand8", expand8(c), want)
	}
}

func TestMLD(t *testing.T) {
	b := make([]byte, MLDLen)
	PutMLD(b, ICMPv6MLDReport, 0, ip("ff02::fb"))
	h := MLD(b)
	eq(t, "Valid", h.Valid(), true)
	eq(t, "Valid of 23 bytes", h[:23].Valid(), false)
	eq(t, "Group", h.Group(), ip("ff02::fb"))
	eq(t, "String", h.String(), "multicast listener report ff02::fb")
	eq(t, "an echo", MLD(make([]byte, 24)).Valid(), false)

	b = make([]byte, MLDv2QueryLen+16)
	n := PutMLDv2Query(b, &MLDv2QueryFields{MaxResp: 10000, Group: ip("ff05::5"), Robustness: 3, Interval: 125,
		Sources: []netip.Addr{ip("2001:db8::9")}})
	q := MLD(b)
	eq(t, "size", n, len(b))
	eq(t, "Valid", q.Valid(), true)
	eq(t, "Valid without a source", q[:43].Valid(), false)
	eq(t, "MaxResp", q.MaxResp(), 10*time.Second)
	eq(t, "Robustness", q.Robustness(), 3)
	eq(t, "QueryInterval", q.QueryInterval(), 125*time.Second)
	eq(t, "NumSources", q.NumSources(), 1)
	eq(t, "Source", q.Source(0), ip("2001:db8::9"))
	q[4], q[5] = 0x80, 0x00
	eq(t, "MaxResp from 32768 on", q.MaxResp(), 32768*time.Millisecond)

	b = make([]byte, MLDv2ReportLen+GroupRecordLen(ip("::"), 1))
	PutMLDv2Report(b, 1)
	PutGroupRecord(b[MLDv2ReportLen:], RecordAllow, ip("ff05::5"), ip("2001:db8::9"))
	r := MLDv2Report(b)
	eq(t, "Valid", r.Valid(), true)
	eq(t, "Valid without a byte", r[:len(r)-1].Valid(), false)
	eq(t, "Source", r.Records().Source(0), ip("2001:db8::9"))
	eq(t, "String", r.String(), "multicast listener report v2, 1 group record(s) [ff05::5 allow 1]")
}

func FuzzGroupRecordRoundTrip(f *testing.F) {
	f.Add(igmpV3Report)
	f.Add(igmpV3Query)
	f.Fuzz(func(t *testing.T, b []byte) {
		h := IGMP(b)
		if !h.Valid() {
			return
		}
		for r := h.Records(); r.More(); r = r.Next() {
			var sources []netip.Addr
			for i := range r.NumSources() {
				sources = append(sources, r.Source(i))
			}
			buf := make([]byte, GroupRecordLen(r.Group(), len(sources)))
			PutGroupRecord(buf, r.Type(), r.Group(), sources...)
			want := append([]byte(nil), r.b[:len(buf)]...)
			want[1] = 0 // auxiliary data is not written
			eqBytes(t, "record", buf, want)
		}
	})
}
