package expr

import (
	"net/netip"
	"strconv"
	"strings"
)

// A token is a word of an expression.
type token struct {
	kind     tokenKind
	text     string // as written; of a name, without the backslash
	pos, end int    // in the expression, in bytes
	num      uint32
	bits     int // of a dotted number: how many it says
	mac      [6]byte
	addr     netip.Addr
}

type tokenKind uint8

const (
	tEnd    tokenKind = iota
	tWord             // a keyword
	tName             // any other word, or one behind a backslash
	tNum              // a number
	tDotted           // a.b, a.b.c or a.b.c.d
	tMAC              // a station address
	tArc              // $xx, an address on ARCnet
	tIPv6             // an IPv6 address
	tOp               // an operator or parenthesis
)

// operators, longer ones first.
var operators = []string{
	"&&", "||", "!=", "==", ">=", "<=", "<<", ">>", "!", "=", "<", ">", "+", "-", "*", "/", "%", "&", "|", "^", "(", ")", "[", "]", ":",
}

// spellings are operators that are written in more than one way.
var spellings = map[string]string{"&&": "and", "||": "or", "!": "not", "==": "="}

// lex cuts an expression into tokens, the last of which is tEnd.
func lex(s string) ([]token, error) {
	var list []token
	for pos := 0; ; {
		for pos < len(s) && strings.IndexByte(" \t\r\n\f\v", s[pos]) >= 0 {
			pos++
		}
		if pos == len(s) {
			return append(list, token{kind: tEnd, pos: pos, end: pos}), nil
		}
		t, err := lexOne(s, pos)
		if err != nil {
			return nil, err
		}
		list = append(list, t)
		pos = t.end
	}
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }
func isHex(c byte) bool   { return isDigit(c) || 'a' <= c|0x20 && c|0x20 <= 'f' }
func isAlnum(c byte) bool { return isDigit(c) || 'a' <= c|0x20 && c|0x20 <= 'z' }

// span returns where the bytes that ok accepts end.
func span(s string, pos int, ok func(byte) bool) int {
	for pos < len(s) && ok(s[pos]) {
		pos++
	}
	return pos
}

// lexOne reads the token at pos. As with lex(1), the longest match wins.
func lexOne(s string, pos int) (token, error) {
	c := s[pos]
	t := token{pos: pos}
	if c == '\\' {
		t.end = span(s, pos+1, func(c byte) bool { return strings.IndexByte(" !()\t\r\n", c) < 0 })
		if t.end == pos+1 {
			return t, errorAt(s, pos, t.end, `expected a name behind "\"`)
		}
		t.kind, t.text = tName, s[pos+1:t.end]
		return t, nil
	}
	if c == '$' {
		t.end = span(s, pos+1, isHex)
		n, err := strconv.ParseUint(s[pos+1:t.end], 16, 8)
		if err != nil {
			return t, errorAt(s, pos, max(t.end, pos+1), `expected one or two hexadecimal digits behind "$"`)
		}
		t.kind, t.text, t.num = tArc, s[pos:t.end], uint32(n)
		return t, nil
	}
	word := pos
	if isAlnum(c) {
		word = span(s, pos, func(c byte) bool { return isAlnum(c) || c == '-' || c == '_' || c == '.' })
		for s[word-1] == '-' || s[word-1] == '_' {
			word--
		}
	}
	// Addresses with colons may be longer than a word.
	if end := span(s, pos, func(c byte) bool { return isHex(c) || c == ':' || c == '.' }); end > word {
		text := s[pos:end]
		if m, ok := parseMAC(text); ok {
			t.kind, t.text, t.end, t.mac = tMAC, text, end, m
			return t, nil
		}
		if a, err := netip.ParseAddr(text); err == nil && a.Is6() {
			t.kind, t.text, t.end, t.addr = tIPv6, text, end, a
			return t, nil
		}
		if strings.Count(text, ":") > 2 {
			return t, errorAt(s, pos, end, "%q is no address: expected six bytes like 02:00:5e:10:00:01, or an IPv6 address", text)
		}
	}
	if word > pos {
		t.text, t.end = s[pos:word], word
		return t, t.classify(s)
	}
	for _, op := range operators {
		if strings.HasPrefix(s[pos:], op) {
			t.kind, t.text, t.end = tOp, op, pos+len(op)
			if name := spellings[op]; name != "" {
				t.text = name
			}
			return t, nil
		}
	}
	return t, errorAt(s, pos, pos+1, "%q has no meaning here", s[pos:pos+1])
}

// classify says what a word is.
func (t *token) classify(s string) error {
	w := t.text
	if m, ok := parseMAC(w); ok {
		t.kind, t.mac = tMAC, m
		return nil
	}
	hex := len(w) > 2 && (w[:2] == "0x" || w[:2] == "0X") && span(w, 2, isHex) == len(w)
	if hex || span(w, 0, isDigit) == len(w) {
		n, err := strconv.ParseUint(w, 0, 32)
		if err != nil && strings.HasPrefix(w, "0") && !hex && strings.ContainsAny(w, "89") {
			return errorAt(s, t.pos, t.end, "%s is no number: with a leading 0 it is octal; write %s", w, strings.TrimLeft(w, "0"))
		} else if err != nil {
			return errorAt(s, t.pos, t.end, "%s is too large: numbers have 32 bits", w)
		}
		t.kind, t.num = tNum, uint32(n)
		return nil
	}
	if v, bits, ok := parseDotted(w); ok && bits > 8 {
		t.kind, t.num, t.bits = tDotted, v, bits
		return nil
	}
	if span(w, 0, func(c byte) bool { return isDigit(c) || c == '.' }) == len(w) && strings.Count(w, ".") == 3 {
		return errorAt(s, t.pos, t.end, "%s is no IPv4 address: its four numbers are at most 255", w)
	}
	if n, ok := namedValues[w]; ok {
		t.kind, t.num = tNum, n
		return nil
	}
	t.kind = tName
	if canon, ok := keywords[w]; ok {
		t.kind, t.text = tWord, canon
		if t.text == "and" || t.text == "or" || t.text == "not" {
			t.kind = tOp
		}
	}
	return nil
}

// parseDotted reads one to four decimal bytes with dots between; bits is eight
// times how many they are.
func parseDotted(w string) (v uint32, bits int, ok bool) {
	parts := strings.Split(w, ".")
	if len(parts) > 4 {
		return 0, 0, false
	}
	for _, p := range parts {
		n, err := strconv.ParseUint(p, 10, 8)
		if err != nil {
			return 0, 0, false
		}
		v = v<<8 | uint32(n)
	}
	return v, 8 * len(parts), true
}

// parseMAC reads six bytes of one or two digits between colons, dashes or dots,
// three groups of four digits between dots, or twelve digits.
func parseMAC(w string) (m [6]byte, ok bool) {
	var parts []string
	switch {
	case len(w) == 12 && span(w, 0, isHex) == 12:
		for i := 0; i < 12; i += 2 {
			parts = append(parts, w[i:i+2])
		}
	case len(w) == 14 && w[4] == '.' && w[9] == '.':
		for _, i := range []int{0, 2, 5, 7, 10, 12} {
			parts = append(parts, w[i:i+2])
		}
	default:
		for _, sep := range ":-." {
			if parts = strings.Split(w, string(sep)); len(parts) == 6 {
				break
			}
		}
	}
	if len(parts) != 6 {
		return m, false
	}
	for i, p := range parts {
		n, err := strconv.ParseUint(p, 16, 8)
		if err != nil || len(p) > 2 {
			return m, false
		}
		m[i] = byte(n)
	}
	return m, true
}

// keywords are the words of the language and what they are short for.
var keywords = func() map[string]string {
	m := map[string]string{}
	for _, w := range strings.Fields(`and or not src dst host net mask port portrange gateway proto protochain
		ip ip6 arp rarp tcp udp sctp icmp icmp6 igmp igrp pim vrrp carp ah esp atalk aarp decnet lat sca moprc mopdl
		iso clnp esis isis l1 l2 iih lsp snp csnp psnp stp ipx netbeui
		link radio broadcast multicast less greater byte len inbound outbound ifindex llc
		vlan mpls pppoed pppoes geneve vxlan
		type subtype dir ra ta addr1 addr2 addr3 addr4
		lane metac bcc oam oamf4 oamf4sc oamf4ec sc ilmic connectmsg metaconnect vpi vci
		fisu lssu msu hfisu hlssu hmsu sio opc dpc sls hsio hopc hdpc hsls
		ifname rset rnr srnr reason action`) {
		m[w] = w
	}
	for _, pair := range strings.Fields(`ether=link fddi=link tr=link wlan=link ppp=link slip=link length=len
		es-is=esis is-is=isis lsu=lssu on=ifname ruleset=rset rulenum=rnr subrulenum=srnr
		address1=addr1 address2=addr2 address3=addr3 address4=addr4`) {
		alias, w, _ := strings.Cut(pair, "=")
		m[alias] = w
	}
	return m
}()

// namedValues are names for numbers: offsets and values of ICMP (RFC 792),
// ICMPv6 (RFC 4443 and IANA's list), and the flags of TCP (RFC 9293).
var namedValues = map[string]uint32{
	"icmptype": 0, "icmpcode": 1, "icmp6type": 0, "icmp6code": 1, "tcpflags": 13,

	"icmp-echoreply": 0, "icmp-unreach": 3, "icmp-sourcequench": 4, "icmp-redirect": 5, "icmp-echo": 8,
	"icmp-routeradvert": 9, "icmp-routersolicit": 10, "icmp-timxceed": 11, "icmp-paramprob": 12, "icmp-tstamp": 13,
	"icmp-tstampreply": 14, "icmp-ireq": 15, "icmp-ireqreply": 16, "icmp-maskreq": 17, "icmp-maskreply": 18,

	"icmp6-destinationrunreach": 1, "icmp6-packettoobig": 2, "icmp6-timeexceeded": 3, "icmp6-parameterproblem": 4,
	"icmp6-echo": 128, "icmp6-echoreply": 129, "icmp6-multicastlistenerquery": 130,
	"icmp6-multicastlistenerreportv1": 131, "icmp6-multicastlistenerdone": 132, "icmp6-routersolicit": 133,
	"icmp6-routeradvert": 134, "icmp6-neighborsolicit": 135, "icmp6-neighboradvert": 136, "icmp6-redirect": 137,
	"icmp6-routerrenum": 138, "icmp6-nodeinformationquery": 139, "icmp6-nodeinformationresponse": 140,
	"icmp6-ineighbordiscoverysolicit": 141, "icmp6-ineighbordiscoveryadvert": 142,
	"icmp6-multicastlistenerreportv2": 143, "icmp6-homeagentdiscoveryrequest": 144,
	"icmp6-homeagentdiscoveryreply": 145, "icmp6-mobileprefixsolicit": 146, "icmp6-mobileprefixadvert": 147,
	"icmp6-certpathsolicit": 148, "icmp6-certpathadvert": 149, "icmp6-multicastrouteradvert": 151,
	"icmp6-multicastroutersolicit": 152, "icmp6-multicastrouterterm": 153,

	"tcp-fin": 1, "tcp-syn": 2, "tcp-rst": 4, "tcp-push": 8, "tcp-ack": 16, "tcp-urg": 32, "tcp-ece": 64, "tcp-cwr": 128,
}
