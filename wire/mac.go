package wire

import (
	"errors"
	"net/netip"
)

// MAC is a 48-bit IEEE 802 hardware address in the order in which it travels.
type MAC [6]byte

// Broadcast is ff:ff:ff:ff:ff:ff, the address of every station on the link.
var Broadcast = MAC{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}

// IsMulticast reports whether the group bit is set; it is set in Broadcast too.
func (m MAC) IsMulticast() bool { return m[0]&1 != 0 }

// IsBroadcast reports whether m is ff:ff:ff:ff:ff:ff.
func (m MAC) IsBroadcast() bool { return m == Broadcast }

// IsZero reports whether m is 00:00:00:00:00:00, which no station has.
func (m MAC) IsZero() bool { return m == MAC{} }

// IsLocal reports whether m is locally administered rather than assigned from
// a vendor's block.
func (m MAC) IsLocal() bool { return m[0]&2 != 0 }

// String returns the form "02:00:00:00:00:01".
func (m MAC) String() string {
	var buf [17]byte
	return string(m.appendTo(buf[:0]))
}

// AppendText implements [encoding.TextAppender] with the form of String.
func (m MAC) AppendText(b []byte) ([]byte, error) { return m.appendTo(b), nil }

// MarshalText implements [encoding.TextMarshaler] with the form of String.
func (m MAC) MarshalText() ([]byte, error) { return m.appendTo(nil), nil }

// UnmarshalText implements [encoding.TextUnmarshaler] with ParseMAC.
func (m *MAC) UnmarshalText(text []byte) error {
	parsed, err := ParseMAC(string(text))
	if err != nil {
		return err
	}
	*m = parsed
	return nil
}

func (m MAC) appendTo(dst []byte) []byte {
	for i, c := range m {
		if i > 0 {
			dst = append(dst, ':')
		}
		dst = append(dst, hexDigits[c>>4], hexDigits[c&15])
	}
	return dst
}

const hexDigits = "0123456789abcdef"

// ParseMAC reads the forms "02:00:00:00:00:01", "02-00-00-00-00-01" and
// "0200.0000.0001", digits in either case.
func ParseMAC(s string) (MAC, error) {
	var m MAC
	// Octets between separators: one for ':' and '-', two for '.'.
	sep, group := byte('.'), 2
	switch len(s) {
	case 17:
		sep, group = s[2], 1
		if sep != ':' && sep != '-' {
			return MAC{}, macError(s)
		}
	case 14:
	default:
		return MAC{}, macError(s)
	}
	at := 0
	for i := range m {
		if i > 0 && i%group == 0 {
			if s[at] != sep {
				return MAC{}, macError(s)
			}
			at++
		}
		hi, ok1 := unhex(s[at])
		lo, ok2 := unhex(s[at+1])
		if !ok1 || !ok2 {
			return MAC{}, macError(s)
		}
		m[i] = hi<<4 | lo
		at += 2
	}
	return m, nil
}

func macError(s string) error {
	return errors.New("MAC address " + quote(s) + `: want six octets in hexadecimal, such as "02:00:00:00:00:01"`)
}

func unhex(c byte) (byte, bool) {
	switch {
	case '0' <= c && c <= '9':
		return c - '0', true
	case 'a' <= c && c <= 'f':
		return c - 'a' + 10, true
	case 'A' <= c && c <= 'F':
		return c - 'A' + 10, true
	}
	return 0, false
}

// MulticastMAC returns the link address to which packets for the multicast
// address ip are sent: 01:00:5e and the low 23 bits for IPv4 (RFC 1112 §6.4),
// 33:33 and the low 32 bits for IPv6 (RFC 2464 §7).
func MulticastMAC(ip netip.Addr) MAC {
	if ip.Is4() || ip.Is4In6() {
		a := ip.As4()
		return MAC{0x01, 0x00, 0x5e, a[1] & 0x7f, a[2], a[3]}
	}
	a := ip.As16()
	return MAC{0x33, 0x33, a[12], a[13], a[14], a[15]}
}
