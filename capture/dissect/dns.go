package dissect

var dnsTypes = []name{
	{1, "A"}, {2, "NS"}, {3, "MD"}, {4, "MF"}, {5, "CNAME"}, {6, "SOA"}, {7, "MB"}, {8, "MG"}, {9, "MR"}, {10, "NULL"}, {11, "WKS"}, {12, "PTR"},
	{13, "HINFO"}, {14, "MINFO"}, {15, "MX"}, {16, "TXT"}, {17, "RP"}, {18, "AFSDB"}, {19, "X25"}, {20, "ISDN"}, {21, "RT"}, {22, "NSAP"},
	{23, "NSAP_PTR"}, {24, "SIG"}, {25, "KEY"}, {26, "PX"}, {27, "GPOS"}, {28, "AAAA"}, {29, "LOC"}, {30, "NXT"}, {31, "EID"}, {32, "NIMLOC"},
	{33, "SRV"}, {34, "ATMA"}, {35, "NAPTR"}, {36, "KX"}, {37, "CERT"}, {38, "A6"}, {39, "DNAME"}, {40, "SINK"}, {41, "OPT"}, {42, "APL"}, {43, "DS"},
	{44, "SSHFP"}, {45, "IPSECKEY"}, {46, "RRSIG"}, {47, "NSEC"}, {48, "DNSKEY"}, {49, "DHCID"}, {50, "NSEC3"}, {51, "NSEC3PARAM"}, {52, "TLSA"}, {53, "SMIMEA"},
	{55, "HIP"}, {56, "NINFO"}, {57, "RKEY"}, {58, "TALINK"}, {59, "CDS"}, {60, "CDNSKEY"}, {61, "OPENPGPKEY"}, {62, "CSYNC"}, {63, "ZONEMD"}, {64, "SVCB"}, {65, "HTTPS"},
	{99, "SPF"}, {100, "UINFO"}, {101, "UID"}, {102, "GID"}, {103, "UNSPEC"}, {104, "NID"}, {105, "L32"}, {106, "L64"}, {107, "LP"}, {108, "EUI48"}, {109, "EUI64"},
	{249, "TKEY"}, {250, "TSIG"}, {251, "IXFR"}, {252, "AXFR"}, {253, "MAILB"}, {254, "MAILA"}, {255, "ANY"}, {256, "URI"}, {257, "CAA"}, {258, "AVC"}, {259, "DOA"}, {260, "AMTRELAY"},
	{32768, "TA"}, {32769, "DLV"},
}

var dnsClasses = []name{{1, "IN"}, {3, "CHAOS"}, {4, "HS"}, {255, "ANY"}}

var dnsOps = []string{"", " inv_q", " stat", " op3", " notify", " update", " op6", " op7", " op8", " updateA", " updateD", " updateDA", " updateM", " updateMA", " zoneInit", " zoneRef"}

var dnsResponses = []string{
	"", " FormErr", " ServFail", " NXDomain", " NotImp", " Refused", " YXDomain", " YXRRSet", " NXRRSet", " NotAuth", " NotZone",
	" Resp11", " Resp12", " Resp13", " Resp14", " NoChange",
}

// dns prints a message of n bytes.
func (t *text) dns(b []byte, n int, mdns bool) {
	t.proto = "domain"
	if n < 12 {
		t.trunc()
		return
	}
	id, flags := t.u16(b, 0), t.u16(b, 2)
	questions, answers, servers, more := int(t.u16(b, 4)), int(t.u16(b, 6)), int(t.u16(b, 8)), int(t.u16(b, 10))
	if t.cut {
		return
	}
	op := dnsOps[flags>>11&15]
	at := 12
	if flags&0x8000 != 0 {
		t.num(int(id)).str(op).str(dnsResponses[flags&15])
		if flags&0x400 != 0 {
			t.str("*")
		}
		if flags&0x80 == 0 {
			t.str("-")
		}
		if flags&0x200 != 0 {
			t.str("|")
		}
		if flags&0x20 != 0 {
			t.str("$")
		}
		if questions != 1 {
			t.str(" [").num(questions).str("q]")
		}
		for i := range questions {
			if i > 0 {
				t.str(",")
			}
			if t.p.Verbose > 1 {
				t.str(" q:")
				at = t.dnsQuestion(b, at, mdns)
			} else {
				at = t.dnsSkip(b, at) + 4
				if at > len(b) {
					t.trunc()
				}
			}
			if t.cut {
				return
			}
		}
		t.str(" ").num(answers).str("/").num(servers).str("/").num(more)
		at = t.dnsRecords(b, at, answers, "", mdns)
		if t.p.Verbose > 1 {
			at = t.dnsRecords(b, at, servers, " ns:", mdns)
			t.dnsRecords(b, at, more, " ar:", mdns)
		}
	} else {
		t.num(int(id)).str(op)
		if flags&0x100 != 0 {
			t.str("+")
		}
		if flags&0x10 != 0 {
			t.str("%")
		}
		if flags&0x6cf != 0 {
			t.str(" [b2&3=0x").hex(uint64(flags)).str("]")
		}
		if flags>>11&15 == 1 {
			if questions != 0 {
				t.str(" [").num(questions).str("q]")
			}
			if answers != 1 {
				t.str(" [").num(answers).str("a]")
			}
		} else {
			if answers != 0 {
				t.str(" [").num(answers).str("a]")
			}
			if questions != 1 {
				t.str(" [").num(questions).str("q]")
			}
		}
		if servers != 0 {
			t.str(" [").num(servers).str("n]")
		}
		if more != 0 {
			t.str(" [").num(more).str("au]")
		}
		for i := range questions {
			if i > 0 {
				t.str(",")
			}
			at = t.dnsQuestion(b, at, mdns)
			if t.cut {
				return
			}
		}
		if t.p.Verbose > 1 {
			at = t.dnsRecords(b, at, answers, " an:", mdns)
			at = t.dnsRecords(b, at, servers, " ns:", mdns)
			t.dnsRecords(b, at, more, " ar:", mdns)
		}
	}
	t.str(" (").num(n).str(")")
}

func (t *text) dnsRecords(b []byte, at, count int, label string, mdns bool) int {
	for i := range count {
		if at >= len(b) {
			if i == 0 && label != "" {
				t.trunc()
				return at
			}
			if i == 0 {
				t.str(label)
			}
			t.trunc()
			return at
		}
		t.str([]string{label, ","}[min(i, 1)])
		at = t.dnsRecord(b, at, mdns)
		if t.cut {
			break
		}
	}
	return at
}

func (t *text) dnsQuestion(b []byte, at int, mdns bool) int {
	name := at
	at = t.dnsSkip(b, at)
	kind, class := t.u16(b, at), t.u16(b, at+2)
	if t.cut {
		return at
	}
	t.str(" ").lookup(dnsTypes, int(kind), "Type%")
	if mdns && class&0x8000 != 0 {
		class &^= 0x8000
		if class != 1 {
			t.str(" ").lookup(dnsClasses, int(class), "(Class %)")
		}
		t.str(" (QU)")
	} else {
		if class != 1 {
			t.str(" ").lookup(dnsClasses, int(class), "(Class %)")
		}
		if mdns {
			t.str(" (QM)")
		}
	}
	t.str("? ")
	t.dnsName(b, name)
	return at + 4
}

// dnsSkip is where a name ends.
func (t *text) dnsSkip(b []byte, at int) int {
	for {
		l := int(t.u8(b, at))
		at++
		switch {
		case t.cut || l == 0:
			return at
		case l&0xc0 == 0xc0:
			return at + 1
		case l&0xc0 == 0x40:
			bits := int(t.u8(b, at))
			if l&0x3f != 1 {
				t.trunc()
				return at
			}
			if bits == 0 {
				bits = 256
			}
			at += 1 + (bits+7)/8
		case l&0xc0 != 0:
			t.trunc()
			return at
		default:
			at += l
		}
	}
}

// dnsName prints a name and returns where it ends. Pointers must go backwards.
func (t *text) dnsName(b []byte, at int) int {
	end, lowest := -1, at
	if t.u8(b, at) == 0 {
		t.str(".")
		return at + 1
	}
	for !t.cut {
		l := int(t.u8(b, at))
		if t.cut {
			break
		}
		at++
		switch {
		case l == 0:
			if end < 0 {
				end = at
			}
			return end
		case l&0xc0 == 0xc0:
			to := l&0x3f<<8 | int(t.u8(b, at))
			at++
			if end < 0 {
				end = at
			}
			if to >= lowest {
				t.str("<BAD PTR>").trunc()
				return end
			}
			if to >= len(b) {
				t.trunc()
				return end
			}
			lowest, at = to, to
		case l&0xc0 != 0:
			t.str("<BAD LABEL>").trunc()
			return at
		default:
			if at+l > len(b) {
				for _, c := range skip(b, at) {
					t.safe(c)
				}
				t.trunc()
				return at
			}
			for _, c := range b[at : at+l] {
				t.safe(c)
			}
			at += l
			t.str(".")
		}
	}
	return at
}

func (t *text) dnsRecord(b []byte, at int, mdns bool) int {
	if t.p.Verbose > 0 {
		t.str(" ")
		at = t.dnsName(b, at)
	} else {
		at = t.dnsSkip(b, at)
	}
	kind, class := t.u16(b, at), t.u16(b, at+2)
	ttl, size := t.be32(b, at+4), int(t.u16(b, at+8))
	if t.cut {
		return at
	}
	if mdns && class&0x8000 != 0 && kind != 41 {
		class &^= 0x8000
		if class != 1 {
			t.str(" ").lookup(dnsClasses, int(class), "(Class %)")
		}
		t.str(" (Cache flush)")
	} else if class != 1 && kind != 41 {
		t.str(" ").lookup(dnsClasses, int(class), "(Class %)")
	}
	if kind != 41 && t.p.Verbose > 2 {
		t.str(" [").duration(int(ttl)).str("]")
	}
	at += 10
	t.str(" ").lookup(dnsTypes, int(kind), "Type%")
	end := at + size
	if end > len(b) {
		t.trunc()
		return at
	}
	switch kind {
	case 1:
		if size < 4 {
			t.trunc()
			return end
		}
		t.str(" ").ip(t.addr4(b, at))
	case 2, 5, 12, 39:
		t.str(" ")
		t.dnsName(b, at)
	case 6:
		if t.p.Verbose == 0 {
			break
		}
		t.str(" ")
		x := t.dnsName(b, at)
		t.str(" ")
		x = t.dnsName(b, x)
		for range 5 {
			t.str(" ").u32(t.be32(b, x))
			x += 4
		}
	case 15:
		t.str(" ")
		t.dnsName(b, at+2)
		t.str(" ").num(int(t.u16(b, at)))
	case 16, 99:
		for x := at; x < end && !t.cut; {
			l := int(b[x])
			t.str(" \"")
			for _, c := range limit(skip(b, x+1), l) {
				t.safe(c)
			}
			t.str("\"")
			x += 1 + l
		}
	case 28:
		if size < 16 {
			t.trunc()
			return end
		}
		t.str(" ").ip(t.addr6(b, at))
	case 33:
		t.str(" ")
		t.dnsName(b, at+6)
		t.str(":").num(int(t.u16(b, at+4))).str(" ").num(int(t.u16(b, at))).str(" ").num(int(t.u16(b, at+2)))
	case 41:
		t.str(" UDPsize=").num(int(class))
		if ttl&0x8000 != 0 {
			t.str(" DO")
		}
	case 250:
		t.str(" ")
	}
	return end
}
