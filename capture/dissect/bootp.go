package dissect

import "github.com/towpath/towpath/wire"

// bootp prints a BOOTP or DHCP message of n bytes.
func (t *text) bootp(b []byte, n int) {
	t.proto = "bootp"
	op := t.u8(b, 0)
	hlen := int(t.u8(b, 2))
	if t.cut {
		return
	}
	t.str("BOOTP/DHCP, ")
	switch op {
	case 1:
		t.str("Request")
		if hlen == 6 && t.u8(b, 1) == 1 {
			t.str(" from ").mac(t.macAt(b, 28))
		}
	case 2:
		t.str("Reply")
	default:
		t.str("bootp-#").num(int(op))
	}
	t.str(", length ").num(n)
	if t.p.Verbose == 0 {
		return
	}
	secs := t.u16(b, 8)
	if htype := t.u8(b, 1); htype != 1 {
		t.str(", htype ").lookup([]name{{6, "TokenRing"}, {7, "ArcNet"}, {15, "FrameRelay"}}, int(htype), "%")
	}
	if hlen != 6 {
		t.str(", hlen ").num(hlen)
	}
	if hops := t.u8(b, 3); hops != 0 {
		t.str(", hops ").num(int(hops))
	}
	if xid := t.be32(b, 4); xid != 0 {
		t.str(", xid 0x").hex(uint64(xid))
	}
	if secs != 0 {
		t.str(", secs ").num(int(secs))
	}
	flags := t.u16(b, 10)
	t.str(", Flags [").flags([]name{{0x8000, "Broadcast"}}, int(flags), ", ", "none").str("]")
	if t.p.Verbose > 1 {
		t.str(" (0x").hexN(uint64(flags), 4).str(")")
	}
	for _, f := range []struct {
		at   int
		name string
	}{{12, "Client-IP"}, {16, "Your-IP"}, {20, "Server-IP"}, {24, "Gateway-IP"}} {
		if a := t.addr4(b, f.at); !a.IsUnspecified() {
			t.str("\n\t  ").str(f.name).str(" ").ip(a)
		}
	}
	if hlen == 6 {
		t.str("\n\t  Client-Ethernet-Address ").mac(t.macAt(b, 28))
	}
	for _, f := range []struct {
		at, size int
		name     string
	}{{44, 64, "sname"}, {108, 128, "file"}} {
		if t.u8(b, f.at) != 0 {
			t.str("\n\t  ").str(f.name).str(" \"")
			for _, c := range limit(skip(b, f.at), f.size) {
				if c == 0 {
					break
				}
				t.safe(c)
			}
			t.str("\"")
		}
	}
	if !t.has(b, 240) {
		return
	}
	if magic := t.be32(b, 236); magic == 0x63825363 {
		t.dhcp(skip(b, 236), n-236)
	} else if magic != 0 {
		t.str("\n\t  Vendor-#0x").hexN(uint64(magic), 8)
	}
}

// dhcpOption says how an option's value is printed: i addresses, l 32-bit, s
// 16-bit, b 8-bit numbers, a text, B a truth value, x hexadecimal.
type dhcpOption struct {
	name string
	kind byte
}

var dhcpOptions = map[uint8]dhcpOption{
	1: {"Subnet-Mask", 'i'}, 2: {"Time-Zone", 'Z'}, 3: {"Default-Gateway", 'i'}, 4: {"Time-Server", 'i'}, 5: {"IEN-Name-Server", 'i'}, 6: {"Domain-Name-Server", 'i'},
	7: {"LOG", 'i'}, 8: {"CS", 'i'}, 9: {"LPR-Server", 'i'}, 10: {"IM", 'i'}, 11: {"RL", 'i'}, 12: {"Hostname", 'a'}, 13: {"BS", 's'}, 14: {"DP", 'a'}, 15: {"Domain-Name", 'a'},
	16: {"SS", 'i'}, 17: {"RP", 'a'}, 18: {"EP", 'a'}, 19: {"IPF", 'B'}, 20: {"SRT", 'B'}, 21: {"PF", 'p'}, 22: {"RSZ", 's'}, 23: {"TTL", 'b'}, 24: {"MTU-Timeout", 'l'}, 26: {"MTU", 's'},
	27: {"SN", 'B'}, 28: {"BR", 'i'}, 29: {"MD", 'B'}, 30: {"MS", 'B'}, 31: {"Router-Discovery", 'B'}, 32: {"RS", 'i'}, 33: {"Static-Route", 'p'}, 34: {"TE", 'B'}, 35: {"AT", 'l'}, 36: {"IE", 'B'},
	37: {"TT", 'b'}, 38: {"KI", 'l'}, 39: {"KG", 'B'}, 40: {"YD", 'a'}, 41: {"YS", 'i'}, 42: {"NTP", 'i'}, 43: {"Vendor-Option", 'b'}, 44: {"Netbios-Name-Server", 'i'},
	45: {"WDD", 'i'}, 46: {"Netbios-Node", '$'}, 47: {"Netbios-Scope", 'a'}, 48: {"XFS", 'i'}, 49: {"XDM", 'i'}, 50: {"Requested-IP", 'i'}, 51: {"Lease-Time", 'l'}, 52: {"OO", '$'},
	53: {"DHCP-Message", '$'}, 54: {"Server-ID", 'i'}, 55: {"Parameter-Request", 'b'}, 56: {"MSG", 'a'}, 57: {"MSZ", 's'}, 58: {"RN", 'l'}, 59: {"RB", 'l'}, 60: {"Vendor-Class", 'a'},
	61: {"Client-ID", '$'}, 66: {"TFTP", 'a'}, 67: {"BF", 'a'}, 77: {"User-Class", '$'}, 80: {"Rapid-Commit", 'b'}, 81: {"FQDN", '$'}, 82: {"Agent-Information", '$'}, 116: {"Auto-Config", 'b'},
	118: {"Subnet-Selection", 'i'}, 121: {"Classless-Static-Route", '$'}, 150: {"TFTP-Server-Address", 'i'}, 252: {"WPAD", 'a'}, 249: {"Classless-Static-Route-Microsoft", '$'},
}

var dhcpMessages = []name{{1, "Discover"}, {2, "Offer"}, {3, "Request"}, {4, "Decline"}, {5, "ACK"}, {6, "NACK"}, {7, "Release"}, {8, "Inform"}}

func (t *text) dhcp(b []byte, n int) {
	t.str("\n\t  Vendor-rfc1048 Extensions")
	t.str("\n\t    Magic Cookie 0x").hexN(uint64(t.be32(b, 0)), 8)
	at := 4
	for at < n && at < len(b) {
		tag := b[at]
		at++
		if tag == 0 && t.p.Verbose < 3 {
			continue
		}
		if tag == 255 && t.p.Verbose < 3 {
			return
		}
		size := 0
		if tag != 0 && tag != 255 {
			size = int(t.u8(b, at))
			at++
		}
		o, known := dhcpOptions[tag]
		switch {
		case tag == 0:
			o, known = dhcpOption{"PAD", ' '}, true
		case tag == 255:
			o, known = dhcpOption{"END", ' '}, true
		}
		if !known {
			o = dhcpOption{"Unknown", 'x'}
		}
		t.str("\n\t    ").str(o.name).str(" (").num(int(tag)).str("), length ").num(size)
		if tag == 0 {
			more := 1
			for at < len(b) && b[at] == 0 {
				at, more = at+1, more+1
			}
			if more > 1 {
				t.str(", occurs ").num(more)
			}
			continue
		}
		if tag == 255 {
			return
		}
		if len(b) < at+size {
			t.trunc()
			return
		}
		v := b[at : at+size]
		at += size
		t.str(": ")
		t.dhcpValue(tag, o.kind, v)
		if t.cut {
			return
		}
	}
}

func (t *text) dhcpValue(tag uint8, kind byte, v []byte) {
	if tag == 55 {
		for i, o := range v {
			switch {
			case i == 0:
				t.str("\n\t      ")
			case i%4 == 0:
				t.str("\n\t      ")
			default:
				t.str(", ")
			}
			if k, ok := dhcpOptions[o]; ok {
				t.str(k.name)
			} else {
				t.str("Unknown")
			}
			t.str(" (").num(int(o)).str(")")
		}
		return
	}
	sep := func(i int) {
		if i > 0 {
			t.str(",")
		}
	}
	switch kind {
	case 'a':
		t.str("\"")
		for _, c := range v {
			if c != 0 {
				t.safe(c)
			}
		}
		t.str("\"")
	case 'i':
		for i := 0; i+4 <= len(v); i += 4 {
			sep(i)
			t.ip(t.addr4(v, i))
		}
		t.spare(len(v) % 4)
	case 'p':
		for i := 0; i+8 <= len(v); i += 8 {
			sep(i)
			t.str("(").ip(t.addr4(v, i)).str(":").ip(t.addr4(v, i+4)).str(")")
		}
	case 'l':
		for i := 0; i+4 <= len(v); i += 4 {
			sep(i)
			t.u32(t.be32(v, i))
		}
		t.spare(len(v) % 4)
	case 's':
		for i := 0; i+2 <= len(v); i += 2 {
			sep(i)
			t.num(int(t.u16(v, i)))
		}
		t.spare(len(v) % 2)
	case 'b':
		for i, c := range v {
			if i > 0 {
				t.str(".")
			}
			t.num(int(c))
		}
	case 'x':
		for i := 0; i < len(v); i += 2 {
			sep(i)
			if i+1 < len(v) {
				t.num(int(t.u16(v, i)))
			} else {
				t.num(int(v[i]))
			}
		}
	case 'B':
		for i, c := range v {
			sep(i)
			switch c {
			case 0:
				t.str("N")
			case 1:
				t.str("Y")
			default:
				t.num(int(c)).str("?")
			}
		}
	case 'Z':
		if len(v) >= 4 {
			t.num(int(int32(t.be32(v, 0))))
		}
	case '$':
		t.dhcpSpecial(tag, v)
	}
}

func (t *text) spare(n int) {
	if n > 0 {
		t.str("[ERROR: ").num(n).str(" undecoded octets]")
	}
}

func (t *text) dhcpSpecial(tag uint8, v []byte) {
	if len(v) == 0 {
		return
	}
	switch tag {
	case 53:
		t.lookup(dhcpMessages, int(v[0]), "Unknown (%)")
	case 52:
		t.lookup([]name{{1, "file"}, {2, "sname"}, {3, "file+sname"}}, int(v[0]), "Unknown (%)")
	case 46:
		t.lookup([]name{{1, "b-node"}, {2, "p-node"}, {4, "m-node"}, {8, "h-node"}}, int(v[0]), "Unknown (%)")
	case 61:
		switch {
		case v[0] == 0:
			t.str("\"")
			for _, c := range v[1:] {
				t.safe(c)
			}
			t.str("\"")
		case v[0] == 1 && len(v) == 7:
			t.str("ether ").mac(wire.MAC(v[1:7]))
		default:
			t.lookup([]name{{1, "ether"}, {255, "hardware-type 255,"}}, int(v[0]), "hardware-type %,")
			for i, c := range v[1:] {
				t.str([]string{" ", ":"}[min(i, 1)]).hexN(uint64(c), 2)
			}
		}
	case 121, 249:
		for first := true; len(v) > 0; first = false {
			if !first {
				t.str(",")
			}
			bits := int(v[0])
			size := (bits + 7) / 8
			if bits > 32 || len(v) < 1+size+4 {
				t.str("[ERROR: length < ").num(1 + size + 4).str("]")
				return
			}
			var a [4]byte
			copy(a[:], v[1:1+size])
			t.str("(")
			if bits == 0 {
				t.str("default")
			} else {
				for i := range size {
					if i > 0 {
						t.byte('.')
					}
					t.num(int(a[i]))
				}
				for i := size; i < 4; i++ {
					t.str(".0")
				}
				t.str("/").num(bits)
			}
			t.str(":").ip(t.addr4(v, 1+size)).str(")")
			v = v[1+size+4:]
		}
	default:
		for i, c := range v {
			if i > 0 {
				t.str(":")
			}
			t.hexN(uint64(c), 2)
		}
	}
}
