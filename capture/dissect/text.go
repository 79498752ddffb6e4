package dissect

import (
	"encoding/binary"
	"net/netip"
	"strconv"

	"github.com/towpath/towpath/wire"
)

// text is the line or lines of one packet in the making. Headers are slices of
// the captured bytes: a read beyond their end means that the capture was cut
// off there. The protocol being printed is then named, and everything that is
// still printed about the packet is left out, so that printers need not look
// after each read.
type text struct {
	b     []byte
	p     *Printer
	proto string // being printed, for [|proto]
	cut   bool   // nothing more is printed
	short bool   // because a read went beyond the capture
	depth int

	// The packet's addresses, for what lies above IP.
	src, dst netip.Addr
	outer    wire.Proto // what the IP header says is next
}

const hexDigits = "0123456789abcdef"

func (t *text) str(s string) *text {
	if !t.cut {
		t.b = append(t.b, s...)
	}
	return t
}

func (t *text) byte(c byte) *text {
	if !t.cut {
		t.b = append(t.b, c)
	}
	return t
}

func (t *text) num(n int) *text {
	if !t.cut {
		t.b = strconv.AppendInt(t.b, int64(n), 10)
	}
	return t
}

func (t *text) u32(n uint32) *text { return t.num(int(n)) }

func (t *text) u64(n uint64) *text {
	if !t.cut {
		t.b = strconv.AppendUint(t.b, n, 10)
	}
	return t
}

// hex prints n without leading zeros.
func (t *text) hex(n uint64) *text {
	if !t.cut {
		t.b = strconv.AppendUint(t.b, n, 16)
	}
	return t
}

// hexN prints n in so many digits.
func (t *text) hexN(n uint64, digits int) *text {
	for shift := 4 * (digits - 1); shift >= 0; shift -= 4 {
		t.byte(hexDigits[n>>shift&15])
	}
	return t
}

// hexBytes prints bytes one after the other.
func (t *text) hexBytes(b []byte) *text {
	for _, c := range b {
		t.hexN(uint64(c), 2)
	}
	return t
}

func (t *text) ip(a netip.Addr) *text {
	if !t.cut {
		t.b = a.AppendTo(t.b)
	}
	return t
}

// mac prints a station address. With names it is followed by whose addresses
// begin so.
func (t *text) mac(m wire.MAC) *text {
	if t.cut {
		return t
	}
	if t.p.Names == nil {
		t.b, _ = m.AppendText(t.b)
		return t
	}
	if s := t.p.Names.Ether(m); s != "" {
		return t.str(s)
	}
	t.b, _ = m.AppendText(t.b)
	if m == wire.Broadcast {
		return t
	}
	return t.str(" (oui ").lookup(ouis, int(m[0])<<16|int(m[1])<<8|int(m[2]), "Unknown").byte(')')
}

// trunc says that the capture ends within the protocol being printed.
func (t *text) trunc() {
	t.str(" [|").str(t.proto).str("]")
	t.cut = true
}

// invalid says that a packet makes no sense, and that nothing more will be
// said of it.
func (t *text) invalid() {
	t.str(" (invalid)")
	t.cut = true
}

// has makes sure that b has n bytes.
func (t *text) has(b []byte, n int) bool {
	if len(b) >= n {
		return true
	}
	if !t.cut {
		t.trunc()
		t.short = t.proto != "domain" // whose printer ends by itself
	}
	return false
}

func (t *text) u8(b []byte, at int) uint8 {
	if !t.has(b, at+1) {
		return 0
	}
	return b[at]
}

func (t *text) u16(b []byte, at int) uint16 {
	if !t.has(b, at+2) {
		return 0
	}
	return binary.BigEndian.Uint16(b[at:])
}

func (t *text) u24(b []byte, at int) uint32 {
	if !t.has(b, at+3) {
		return 0
	}
	return uint32(b[at])<<16 | uint32(b[at+1])<<8 | uint32(b[at+2])
}

func (t *text) be32(b []byte, at int) uint32 {
	if !t.has(b, at+4) {
		return 0
	}
	return binary.BigEndian.Uint32(b[at:])
}

func (t *text) addr4(b []byte, at int) netip.Addr {
	if !t.has(b, at+4) {
		return netip.IPv4Unspecified()
	}
	return netip.AddrFrom4([4]byte(b[at:]))
}

func (t *text) addr6(b []byte, at int) netip.Addr {
	if !t.has(b, at+16) {
		return netip.IPv6Unspecified()
	}
	return netip.AddrFrom16([16]byte(b[at:]))
}

func (t *text) macAt(b []byte, at int) wire.MAC {
	if !t.has(b, at+6) {
		return wire.MAC{}
	}
	return wire.MAC(b[at:])
}

// hexLines prints bytes in lines of their own, and nothing after them.
func (t *text) hexLines(b []byte) {
	for at := 0; at < len(b); at += 16 {
		t.str("\n\t0x").hexN(uint64(at), 4).str(": ")
		for i, c := range b[at:min(at+16, len(b))] {
			if i%2 == 0 {
				t.byte(' ')
			}
			t.hexN(uint64(c), 2)
		}
	}
	t.cut = true
}

// limit is b without what lies beyond its first n bytes.
func limit(b []byte, n int) []byte {
	if n >= 0 && n < len(b) {
		return b[:n]
	}
	return b
}

// skip is b from n on; nothing if that is beyond its end.
func skip(b []byte, n int) []byte {
	if n > len(b) {
		return nil
	}
	return b[n:]
}

// A name is a number's.
type name struct {
	n int
	s string
}

// lookup finds a number's name; missing, with a % for the number, is used if
// there is none.
func (t *text) lookup(names []name, n int, missing string) *text {
	for _, e := range names {
		if e.n == n {
			return t.str(e.s)
		}
	}
	for i := range len(missing) {
		if missing[i] == '%' {
			return t.str(missing[:i]).num(n).str(missing[i+1:])
		}
	}
	return t.str(missing)
}

// flags prints the names of the bits that are set in n, and none if none is.
func (t *text) flags(names []name, n int, sep, none string) *text {
	first := true
	for _, e := range names {
		if n&e.n == e.n {
			if !first {
				t.str(sep)
			}
			t.str(e.s)
			first = false
		}
	}
	if first {
		t.str(none)
	}
	return t
}

// safe prints a byte of text; what cannot be printed as ^C and M-c.
func (t *text) safe(c byte) *text {
	switch {
	case c >= 0x80:
		return t.str("M-").safe(c & 0x7f)
	case c < ' ' || c == 0x7f:
		return t.byte('^').byte(c ^ 0x40)
	}
	return t.byte(c)
}
