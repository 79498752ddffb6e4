package dissect

import "time"

// ntp prints a message of n bytes.
func (t *text) ntp(b []byte, n int) {
	t.proto = "ntp"
	if n < 7 {
		t.trunc()
		return
	}
	first := t.u8(b, 0)
	mode := int(first & 7)
	t.str("NTPv").num(int(first >> 3 & 7))
	if mode == 6 || mode == 7 {
		t.str(", ").lookup(ntpModes, mode, "").str(", length ").num(n)
		return
	}
	if t.p.Verbose == 0 {
		t.str(", ").lookup(ntpModes, mode, "Unknown mode").str(", length ").num(n)
		return
	}
	t.str(", ").lookup(ntpModes, mode, "Unknown mode").str(", length ").num(n)
	t.str("\n\tLeap indicator: ").lookup([]name{{0, ""}, {0x40, "+1s"}, {0x80, "-1s"}, {0xc0, "clock unsynchronized"}}, int(first&0xc0), "").str(" (").num(int(first & 0xc0)).str(")")
	stratum := int(t.u8(b, 1))
	t.str(", Stratum ").num(stratum).str(" (")
	switch {
	case stratum == 0:
		t.str("unspecified")
	case stratum == 1:
		t.str("primary reference")
	case stratum >= 2 && stratum <= 15:
		t.str("secondary reference")
	case stratum == 16:
		t.str("unsynchronized")
	default:
		t.str("reserved")
	}
	t.str(")")
	poll := int8(t.u8(b, 2))
	t.str(", poll ").num(int(poll)).str(" (").power(poll).str("s)")
	t.str(", precision ").num(int(int8(t.u8(b, 3))))
	t.str("\n\tRoot Delay: ").fixed16(t.be32(b, 4))
	t.str(", Root dispersion: ").fixed16(t.be32(b, 8))
	t.str(", Reference-ID: ")
	switch {
	case stratum == 0:
		t.str("(unspec)")
	case stratum == 1:
		for i := 12; i < 16; i++ {
			t.safe(t.u8(b, i))
		}
	default:
		t.str("0x").hexN(uint64(t.be32(b, 12)), 8)
	}
	stamps := []string{"Reference Timestamp:  ", "Originator Timestamp: ", "Receive Timestamp:    ", "Transmit Timestamp:   "}
	for i, s := range stamps {
		t.str("\n\t  ").str(s)
		t.ntpTime(b, 16+8*i)
	}
	t.str("\n\t    Originator - Receive Timestamp:  ")
	t.ntpDelta(b, 24, 32)
	t.str("\n\t    Originator - Transmit Timestamp: ")
	t.ntpDelta(b, 24, 40)
	if n == 48+4 || n == 48+20 || n == 48+24 {
		t.str("\n\tKey id: ").u32(t.be32(b, 48))
		if n > 52 {
			t.str("\n\tAuthentication: ")
			for at := 52; at < n; at += 4 {
				t.hexN(uint64(t.be32(b, at)), 8)
			}
		}
	} else if n > 52 {
		t.str("\n\t(").num(n - 48).str(" more bytes after the Authenticator)")
	}
}

var ntpModes = []name{{0, "unspecified"}, {1, "symmetric active"}, {2, "symmetric passive"}, {3, "Client"}, {4, "Server"}, {5, "Broadcast"}, {6, "Control Message"}, {7, "Reserved"}}

func (t *text) power(n int8) *text {
	if n >= 0 {
		return t.u64(1 << uint(n&63))
	}
	return t.str("1/").u64(1 << uint(-n&63))
}

// fixed16 prints a fixed point number of 16 bits each.
func (t *text) fixed16(v uint32) *text {
	return t.num(int(v>>16)).byte('.').fraction(float64(v&0xffff)/65536, 6)
}

func (t *text) fraction(f float64, digits int) *text {
	scale := 1
	for range digits {
		scale *= 10
	}
	n := int(f * float64(scale))
	for scale /= 10; scale > 0; scale /= 10 {
		t.byte('0' + byte(n/scale%10))
	}
	return t
}

const ntpEpoch = 2208988800 // seconds from 1900 to 1970

func (t *text) ntpTime(b []byte, at int) {
	s, f := t.be32(b, at), t.be32(b, at+4)
	t.u32(s).byte('.').fraction(float64(f)/4294967296, 9)
	if s != 0 {
		t.str(" (").ntpDate(s).str(")")
	}
}

func (t *text) ntpDelta(b []byte, from, to int) {
	v := int64(uint64(t.be32(b, to))<<32|uint64(t.be32(b, to+4))) - int64(uint64(t.be32(b, from))<<32|uint64(t.be32(b, from+4)))
	if t.be32(b, from) == 0 && t.be32(b, from+4) == 0 {
		s, f := t.be32(b, to), t.be32(b, to+4)
		t.u32(s).byte('.').fraction(float64(f)/4294967296, 9)
		if s != 0 {
			t.str(" (").ntpDate(s).str(")")
		}
		return
	}
	if v <= 0 {
		t.str("-")
		v = -v
	} else {
		t.str("+")
	}
	t.num(int(v>>32)).byte('.').fraction(float64(uint32(v))/4294967296, 9)
}

func (t *text) ntpDate(s uint32) *text {
	if !t.cut {
		t.b = time.Unix(int64(s)-ntpEpoch, 0).UTC().AppendFormat(t.b, "2006-01-02T15:04:05Z")
	}
	return t
}
