package nft

import (
	"encoding/hex"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A context is what the statements of a rule have found out about its packets,
// so that later ones can be checked.
type context struct {
	l3     string // ip, ip6, arp; empty: either
	l4     uint64
	l4Said bool // l4 is known
}

// exprWords begin an expression.
func exprWord(s string) bool {
	if _, ok := headers[s]; ok {
		return true
	}
	if _, ok := extHeaders[s]; ok {
		return true
	}
	if k, ok := metaKeys[s]; ok && (k.brief || bareMeta(s)) {
		return true
	}
	return slices.Contains([]string{"meta", "ct", "fib", "socket", "rt", "rt0", "rt2", "srh", "numgen", "jhash", "symhash", "exthdr", "osf", "ipsec"}, s)
}

// bareMeta are the other keys that may stand without the word meta.
func bareMeta(s string) bool {
	switch s {
	case "mark", "iiftype", "oiftype", "skuid", "skgid", "nftrace", "rtclassid", "ibrname", "obrname", "pkttype", "cpu", "iifgroup", "oifgroup", "cgroup":
		return true
	}
	return false
}

func (p *parser) deeper(at token) func() {
	if p.depth++; p.depth > nestMax {
		p.fail(at.Pos, "braces and parentheses inside each other more than %d deep", nestMax)
	}
	return func() { p.depth-- }
}

// expression reads what may stand at the left of a comparison: fields, joined
// by operators and then by dots.
func (p *parser) expression() Expr {
	first := p.operand()
	if !p.is(".") {
		return first
	}
	c := &Concat{Parts: []Expr{first}}
	for p.take(".") {
		c.Parts = append(c.Parts, p.operand())
	}
	if len(c.Parts) > 8 {
		p.fail(p.peek().Pos, "more than 8 parts with dots between them")
	}
	return c
}

var operators = map[string]string{"&": "&", "and": "&", "|": "|", "or": "|", "^": "^", "xor": "^", "<<": "<<", "lshift": "<<", ">>": ">>", "rshift": ">>"}

func (p *parser) operator() (string, bool) {
	t := p.peek()
	op, ok := operators[t.text]
	if ok && (t.kind == sign || t.kind == word) {
		p.i++
		return op, true
	}
	return "", false
}

// operand reads a field and the constants that it is combined with.
func (p *parser) operand() Expr {
	defer p.deeper(p.peek())()
	var e Expr
	if p.take("(") {
		e = p.operand()
		p.expect(")", "to close the parenthesis")
	} else {
		e = p.primary()
	}
	for n := 0; ; n++ {
		t := p.peek()
		op, ok := p.operator()
		if !ok {
			return e
		}
		if n >= nestMax {
			p.fail(t.Pos, "more than %d operators in a row", nestMax)
		}
		if op == "<<" || op == ">>" {
			e = &Binary{op, e, p.literal(sized(types["integer"], 32))}
			continue
		}
		e = &Binary{op, e, p.constantAbove(e.typ(), precedence(op)+1)}
	}
}

// primary reads one field.
func (p *parser) primary() Expr {
	t := p.next()
	if t.kind == sign && t.text == "@" {
		return p.rawPayload(t)
	}
	if t.kind != word {
		p.fail(t.Pos, "%v stands where a statement or a field such as ip saddr should", t)
	}
	switch t.text {
	case "meta":
		k := p.next()
		key := metaKeys[k.text]
		if key == nil || k.kind != word {
			p.fail(k.Pos, "meta has no key %v%s", k, mean(k.text, sortedKeys(metaKeys), "", "write "+either(sortedKeys(metaKeys))))
		}
		return p.metaExpr(t, key)
	case "ct":
		return p.ct(t)
	case "fib":
		return p.fib(t)
	case "socket":
		s := &Socket{Key: p.oneOf("a key of socket", "transparent", "mark", "wildcard", "cgroupv2")}
		if s.Key == "cgroupv2" {
			p.expect("level", "and a number")
			s.Level = int(p.number("a level", 255))
		}
		return s
	case "rt":
		if w := p.peek().text; w != "nexthop" && w != "classid" && w != "mtu" && w != "ipsec" && w != "ip" && w != "ip6" {
			break
		}
		r := &Rt{}
		if w := p.peek().text; w == "ip" || w == "ip6" {
			p.i++
			r.Family = w
		}
		k := p.peek()
		r.Key = p.oneOf("a key of rt", "classid", "nexthop", "mtu", "ipsec")
		if r.Key == "nexthop" && r.Family == "" {
			if r.Family = p.l3(); r.Family == "" {
				p.fail(k.Pos, "the next hop is of one family; write rt ip nexthop or rt ip6 nexthop")
			}
		}
		if r.Key != "nexthop" {
			r.Family = ""
		}
		return r
	case "numgen":
		n := &Numgen{Random: p.oneOf("a way to make numbers", "inc", "random") == "random"}
		p.expect("mod", "and how many numbers")
		at := p.peek()
		if n.Mod = uint32(p.number("a number", 1<<32-1)); n.Mod == 0 {
			p.fail(at.Pos, "mod 0 leaves no number")
		}
		if p.take("offset") {
			n.Offset = uint32(p.number("an offset", 1<<32-1))
		}
		return n
	case "jhash", "symhash":
		h := &Hash{}
		if t.text == "jhash" {
			h.Of = p.expression()
		}
		p.expect("mod", "and how many numbers")
		at := p.peek()
		if h.Mod = uint32(p.number("a number", 1<<32-1)); h.Mod == 0 {
			p.fail(at.Pos, "mod 0 leaves no number")
		}
		if t.text == "jhash" && p.take("seed") {
			h.Seed, h.Seeded = uint32(p.number("a seed", 1<<32-1)), true
		}
		if p.take("offset") {
			h.Offset = uint32(p.number("an offset", 1<<32-1))
		}
		return h
	case "exthdr":
		h := extHeaders[p.oneOf("an extension header", sortedKeys(extHeaders)...)]
		return &Exthdr{Kind: "exthdr", Header: h}
	case "tcp":
		if p.take("option") {
			p.need(t, headers["tcp"])
			return p.option("tcp option", tcpOptions)
		}
	case "ip":
		if p.take("option") {
			p.need(t, headers["ip"])
			return p.option("ip option", ipOptions)
		}
	case "rt0", "rt2", "srh", "osf", "ipsec":
		p.fail(t.Pos, "%s is not something that this program looks at", t.text)
	}
	if k := metaKeys[t.text]; k != nil && (k.brief || bareMeta(t.text)) {
		return p.metaExpr(t, k)
	}
	if h := headers[t.text]; h != nil {
		f := p.fieldOf(h)
		p.need(t, h)
		return &Payload{Header: h, Field: f}
	}
	if h := extHeaders[t.text]; h != nil {
		return &Exthdr{Kind: "exthdr", Header: h, Field: p.fieldOf(h)}
	}
	p.fail(t.Pos, "%v is not a statement, nor a field%s", t, mean(t.text, statementWords, "", "write a statement such as accept, or a match such as tcp dport 22"))
	return nil
}

func sortedKeys[V any](m map[string]V) []string {
	var all []string
	for k := range m {
		all = append(all, k)
	}
	slices.Sort(all)
	return all
}

func (p *parser) metaExpr(t token, k *key) Expr {
	switch {
	case k.name == "nfproto" && p.family != Inet && p.family != Bridge && p.family != Netdev:
		p.fail(t.Pos, "meta nfproto tells families apart, and table family %s has only one; leave it out", p.family)
	case strings.HasPrefix(k.name, "ibr") && p.family != Bridge, k.name == "obrname" && p.family != Bridge:
		p.fail(t.Pos, "%s is for tables of family bridge", k.name)
	}
	return &Meta{Key: k}
}

// fieldOf takes a header's field.
func (p *parser) fieldOf(h *Header) *Field {
	t := p.next()
	name := t.text
	if h.Name == "arp" && (name == "saddr" || name == "daddr") {
		name += " " + p.oneOf("an address in ARP", "ip", "ether")
	}
	switch {
	case h.Name == "vlan" && name == "cfi":
		name = "dei"
	case h.Name == "th" && t.kind == word && h.field(name) == nil:
		p.fail(t.Pos, "th, any transport header, has only sport and dport")
	}
	f := h.field(name)
	if f == nil || t.kind != word {
		p.fail(t.Pos, "%s has no field %v%s", h.Name, t, mean(name, h.names(), "", "write "+either(h.names())))
	}
	return f
}

func (p *parser) option(kind string, known map[string]*Header) Expr {
	t := p.next()
	name := map[string]string{"sack-permitted": "sack-perm", "mss": "maxseg"}[t.text]
	if name == "" {
		name = t.text
	}
	h := known[name]
	if h == nil || t.kind != word {
		p.fail(t.Pos, "there is no %s %v%s", kind, t, mean(t.text, sortedKeys(known), "", "write "+either(sortedKeys(known))))
	}
	e := &Exthdr{Kind: kind, Header: h}
	if n := p.peek(); n.kind == word && h.field(n.text) != nil {
		p.i++
		e.Field = h.field(n.text)
	}
	return e
}

func (p *parser) rawPayload(t token) Expr {
	e := &Payload{Base: p.oneOf("where an offset is counted from", "ll", "nh", "th", "ih")}
	p.expect(",", "and an offset in bits")
	e.Offset = int(p.number("an offset in bits", 1<<16))
	p.expect(",", "and a length in bits")
	at := p.peek()
	e.Bits = int(p.number("a length in bits", 512))
	if e.Bits == 0 {
		p.fail(at.Pos, "a length of 0 bits; write at least 1")
	}
	return e
}

func (p *parser) ct(t token) Expr {
	e := &Ct{}
	if w := p.peek().text; w == "original" || w == "reply" {
		p.i++
		e.Dir = w
	}
	if w := p.peek().text; w == "ip" || w == "ip6" {
		p.i++
		e.Family = w
	}
	k := p.next()
	e.Key = ctKeys[k.text]
	if e.Key == nil || k.kind != word {
		p.fail(k.Pos, "ct has no key %v%s", k, mean(k.text, sortedKeys(ctKeys), "", "write "+either(sortedKeys(ctKeys))))
	}
	switch e.Key.name {
	case "saddr", "daddr":
		if e.Family == "" {
			if e.Family = p.l3(); e.Family == "" {
				p.fail(k.Pos, "the address is of one family; write ct %s ip %s or ct %s ip6 %s", e.Dir, k.text, e.Dir, k.text)
			}
		}
		fallthrough
	case "proto-src", "proto-dst":
		if e.Dir == "" {
			p.fail(k.Pos, "ct %s is that of one direction; write ct original %s or ct reply %s", k.text, k.text, k.text)
		}
		if e.Key.name[0] == 'p' && !p.ctx.l4Said {
			p.fail(k.Pos, "the ports are those of a transport protocol; write a match such as meta l4proto tcp before it")
		}
	case "bytes", "packets", "avgpkt", "zone", "l3proto", "protocol":
	default:
		if e.Dir != "" {
			p.fail(k.Pos, "ct %s is not that of a direction; leave %s out", k.text, e.Dir)
		}
	}
	return e
}

// l3 is the protocol that the rule is about, if the family or a match has said.
func (p *parser) l3() string {
	switch p.family {
	case IP, IP6:
		return string(p.family)
	}
	return p.ctx.l3
}

func (p *parser) fib(t token) Expr {
	e := &Fib{}
	for {
		e.Flags = append(e.Flags, p.oneOf("what fib looks up", "saddr", "daddr", "mark", "iif", "oif"))
		if !p.take(".") {
			break
		}
	}
	order := []string{"saddr", "daddr", "mark", "iif", "oif"}
	slices.SortFunc(e.Flags, func(a, b string) int { return slices.Index(order, a) - slices.Index(order, b) })
	e.Flags = slices.Compact(e.Flags)
	r := p.peek()
	e.Result = p.oneOf("a result of fib", "oif", "oifname", "type")
	has := func(s string) bool { return slices.Contains(e.Flags, s) }
	switch {
	case has("saddr") == has("daddr"):
		p.fail(t.Pos, "fib looks up one address; write saddr or daddr")
	case has("iif") && has("oif"):
		p.fail(t.Pos, "fib goes by one adapter; write iif or oif")
	case e.Result != "type" && has("oif"):
		p.fail(r.Pos, "fib with oif tells only the type; write type")
	}
	return e
}

// need checks that a header can be there, given what the rule has said so far.
func (p *parser) need(t token, h *Header) {
	clash := func(with string) {
		p.fail(t.Pos, "%s and %s are not in one packet; write two rules", with, h.Name)
	}
	switch h.Name {
	case "ip", "ip6", "arp":
		switch {
		case (p.family == IP || p.family == IP6 || p.family == ARP) && string(p.family) != h.Name:
			p.fail(t.Pos, "packets of family %s have no header %s; write table inet for both", p.family, h.Name)
		case p.family == Inet && h.Name == "arp":
			p.fail(t.Pos, "packets of family inet have no header arp; write table arp, bridge or netdev")
		case p.ctx.l3 != "" && p.ctx.l3 != h.Name:
			clash(p.ctx.l3)
		}
		p.ctx.l3 = h.Name
	case "ether", "vlan", "th":
		if p.family == ARP && h.Name == "th" {
			clash("arp")
		}
	default:
		if p.family == ARP {
			clash("arp")
		}
		if p.ctx.l4Said && p.ctx.l4 != h.Proto {
			name, _ := types["inet_proto"].name(p.ctx.l4)
			clash(name)
		}
		p.ctx.l4, p.ctx.l4Said = h.Proto, true
	}
}

// learn takes note of a match that says what packets the rule is about.
func (p *parser) learn(at Pos, m *Match) {
	v, ok := m.Right.(*Value)
	if !ok || m.Op != "" && m.Op != "==" {
		return
	}
	l3 := func(s string) {
		if p.ctx.l3 != "" && p.ctx.l3 != s {
			p.fail(at, "%s and %s are not in one packet; write two rules", p.ctx.l3, s)
		}
		p.ctx.l3 = s
	}
	l4 := func(clash bool) {
		if n := number(v.Data); clash && p.ctx.l4Said && p.ctx.l4 != n {
			a, _ := types["inet_proto"].name(p.ctx.l4)
			b, _ := types["inet_proto"].name(n)
			p.fail(at, "%s and %s are not in one packet; write two rules", a, b)
		}
		p.ctx.l4, p.ctx.l4Said = number(v.Data), true
	}
	byType := map[uint64]string{0x800: "ip", 0x86dd: "ip6", 0x806: "arp"}
	switch e := m.Left.(type) {
	case *Meta:
		switch e.Key.name {
		case "l4proto":
			l4(true)
		case "nfproto":
			l3(map[uint64]string{2: "ip", 10: "ip6"}[number(v.Data)])
		case "protocol":
			if s := byType[number(v.Data)]; s != "" {
				l3(s)
			}
		}
	case *Payload:
		switch {
		case e.Field == nil:
		case e.Header.Name == "ip" && e.Field.Name == "protocol" || e.Header.Name == "ip6" && e.Field.Name == "nexthdr":
			l4(false)
		case (e.Header.Name == "ether" || e.Header.Name == "vlan") && e.Field.Name == "type":
			if s := byType[number(v.Data)]; s != "" {
				l3(s)
			}
		}
	}
}

// constant reads a constant of a type, computed from others perhaps.
func (p *parser) constant(t *Type) *Value { return p.constantAbove(t, 0) }

// constantAbove reads operators of at least a precedence.
func (p *parser) constantAbove(t *Type, least int) *Value {
	defer p.deeper(p.peek())()
	v := p.constantTerm(t)
	for {
		at := p.peek()
		op := operators[at.text]
		if op == "" || at.kind != word && at.kind != sign || precedence(op) < least {
			return v
		}
		p.i++
		if t == nil || t.form == text {
			p.fail(at.Pos, "values of type %s cannot be computed with", typeName(t))
		}
		if op == "<<" || op == ">>" {
			n := p.number("a number of bits", 63)
			x := number(v.Data)
			if op == "<<" {
				x <<= n
			} else {
				x >>= n
			}
			b, _ := bigEndian(x, t.Bits)
			v = &Value{Type: t, Data: b}
			continue
		}
		v = &Value{Type: t, Data: combine(op, v.Data, p.constantAbove(t, precedence(op)+1).Data)}
	}
}

// combine computes a op b, byte by byte.
func combine(op string, a, b []byte) []byte {
	c := make([]byte, len(a))
	for i := range c {
		switch op {
		case "&":
			c[i] = a[i] & b[i]
		case "|":
			c[i] = a[i] | b[i]
		default:
			c[i] = a[i] ^ b[i]
		}
	}
	return c
}

func (p *parser) constantTerm(t *Type) *Value {
	if p.take("(") {
		defer p.deeper(p.peek())()
		v := p.constant(t)
		p.expect(")", "to close the parenthesis")
		return v
	}
	return p.literal(t)
}

func typeName(t *Type) string {
	if t == nil {
		return "unknown"
	}
	return t.Name
}

// literal reads one constant of a type.
func (p *parser) literal(t *Type) *Value {
	k := p.next()
	what := "a value of type " + typeName(t)
	if t == nil {
		p.fail(k.Pos, "%v has no type here; write the field that it belongs to before it", k)
	}
	bad := func(instead string) *Value {
		p.fail(k.Pos, "%v is not %s%s", k, what, mean(k.text, t.names(), "", instead))
		return nil
	}
	if k.kind != word && k.kind != quoted && k.kind != address {
		if k.kind == sign && k.text == "{" {
			p.fail(k.Pos, "a set stands where %s should", what)
		}
		return bad("")
	}
	for _, s := range t.symbols {
		if s.name == k.text {
			b, _ := bigEndian(s.value, t.Bits)
			return &Value{Type: t, Data: b}
		}
	}
	switch t.form {
	case text:
		s, wild := k.text, false
		if k.kind == address {
			return bad("write a name")
		}
		if strings.HasSuffix(s, "*") && t.Name != "string" {
			s, wild = strings.TrimSuffix(s, "*"), true
			if s == "" {
				p.fail(k.Pos, "the name * alone matches everything; leave the match out")
			}
		}
		most := 15
		if t.Name == "string" {
			most = 127
		}
		if len(s) > most || s == "" {
			p.fail(k.Pos, "%v has %d bytes; a name here has 1 to %d", k, len(s), most)
		}
		return &Value{Type: t, Data: []byte(s), Wild: wild}
	case ip4, ip6:
		a, err := netip.ParseAddr(k.text)
		if t.form == ip6 && err == nil && a.Is4In6() && k.kind == address {
			err = nil
		}
		if err != nil || a.Is4() != (t.form == ip4) || a.Zone() != "" {
			if n, e := strconv.ParseUint(k.text, 0, 32); e == nil && t.form == ip4 {
				b, _ := bigEndian(n, 32)
				return &Value{Type: t, Data: b}
			}
			if t.form == ip4 {
				return bad("write one such as 192.0.2.1; names are not looked up")
			}
			return bad("write one such as 2001:db8::1; names are not looked up")
		}
		return &Value{Type: t, Data: a.AsSlice()}
	case mac:
		var b []byte
		for _, part := range strings.Split(k.text, ":") {
			x, err := hex.DecodeString(fmt.Sprintf("%02s", part))
			if err != nil || len(x) != 1 {
				return bad("write one such as 02:00:00:00:00:01")
			}
			b = append(b, x...)
		}
		if len(b) != 6 {
			return bad("write one such as 02:00:00:00:00:01")
		}
		return &Value{Type: t, Data: b}
	case millis:
		d, ok := parseDuration(k.text)
		if !ok {
			return bad("write a time such as 30s or 1h30m")
		}
		b, _ := bigEndian(uint64(d/time.Millisecond), 64)
		return &Value{Type: t, Data: b[8-size(t.Bits):]}
	case class:
		return p.classValue(t, k)
	case clock:
		return p.clockValue(t, k)
	case date:
		for _, layout := range []string{"2006-01-02 15:04:05", "2006-01-02 15:04", "2006-01-02"} {
			if at, err := time.Parse(layout, k.text); err == nil {
				b, _ := bigEndian(uint64(at.UnixNano()), 64)
				return &Value{Type: t, Data: b}
			}
		}
		return bad(`write a time such as "2026-01-31 12:00:00"`)
	}
	if k.kind == quoted && t.Name != "day" {
		return bad("take the quotes away")
	}
	if len(k.text) > 18 && t.Bits > 64 && strings.HasPrefix(k.text, "0x") {
		h := strings.TrimPrefix(k.text, "0x")
		if len(h)%2 == 1 {
			h = "0" + h
		}
		raw, err := hex.DecodeString(h)
		if err != nil || len(raw) > size(t.Bits) {
			return bad("write a number of at most " + strconv.Itoa(t.Bits) + " bits")
		}
		return &Value{Type: t, Data: append(make([]byte, size(t.Bits)-len(raw)), raw...)}
	}
	n, err := strconv.ParseUint(k.text, 0, 64)
	if strings.ContainsAny(k.text, "_bBoO") && !strings.HasPrefix(k.text, "0x") {
		err = strconv.ErrSyntax
	}
	if err != nil {
		instead := "write a number"
		if t.symbols != nil && t.Name != "inet_service" {
			instead += ", " + either(t.names())
		}
		return bad(instead)
	}
	b, fits := bigEndian(n, t.Bits)
	if !fits {
		p.fail(k.Pos, "%s does not fit into %d bits; write a number up to %d", k.text, t.Bits, uint64(1)<<t.Bits-1)
	}
	return &Value{Type: t, Data: b}
}

func (p *parser) classValue(t *Type, k token) *Value {
	n, err := strconv.ParseUint(k.text, 16, 16)
	switch {
	case k.text == "none":
		n, err = 0, nil
	case k.text == "root":
		n, err = 1<<32-1, nil
	case err == nil && p.take(":"):
		l := p.next()
		low, e := strconv.ParseUint(l.text, 16, 16)
		if e != nil {
			p.fail(l.Pos, "%v is not the second half of a class; write one such as 1:2", l)
		}
		n = n<<16 | low
	default:
		if n, err = strconv.ParseUint(k.text, 0, 32); err != nil {
			p.fail(k.Pos, "%v is not a class; write one such as 1:2", k)
		}
	}
	b, _ := bigEndian(n, t.Bits)
	return &Value{Type: t, Data: b}
}

func (p *parser) clockValue(t *Type, k token) *Value {
	s := k.text
	for k.kind == word && p.take(":") {
		s += ":" + p.text("minutes or seconds")
	}
	for _, layout := range []string{"15:04:05", "15:04"} {
		if at, err := time.Parse(layout, s); err == nil {
			b, _ := bigEndian(uint64(at.Hour()*3600+at.Minute()*60+at.Second()), t.Bits)
			return &Value{Type: t, Data: b}
		}
	}
	n, err := strconv.ParseUint(s, 10, 32)
	if err != nil || n >= 86400 {
		p.fail(k.Pos, "%v is not a time of the day; write one such as 10:00", k)
	}
	b, _ := bigEndian(n, t.Bits)
	return &Value{Type: t, Data: b}
}

// value reads a constant, prefix or range of a type; of bitmasks also a list.
func (p *parser) value(t *Type) Expr {
	at := p.peek()
	if p.take("*") {
		return &Any{t}
	}
	v := p.constant(t)
	switch {
	case t.bitmask:
		// The comma may also be one between elements; then it is the caller's.
		return v
	case p.is("/") && (t.form == ip4 || t.form == ip6 || t.form == mac || t.form == hexFull || t.Name == "integer"):
		p.i++
		n := p.peek()
		bits := int(p.number("the length of a prefix", 1<<16))
		if bits > t.Bits {
			p.fail(n.Pos, "a prefix of %d bits; a value of type %s has %d", bits, t.Name, t.Bits)
		}
		x := &Prefix{&Value{Type: t, Data: masked(v.Data, bits)}, bits}
		if bits == t.Bits {
			return x.Value
		}
		return x
	case p.is("-"):
		p.i++
		w := p.constant(t)
		if v.Wild || w.Wild {
			p.fail(at.Pos, "a range of names with * is not one")
		}
		switch c := slices.Compare(pad(v), pad(w)); {
		case c > 0 && t.form != clock:
			p.fail(at.Pos, "the range ends before it begins; write %s-%s", w.text(false, &Options{}), v.text(false, &Options{}))
		}
		return &Range{v, w}
	}
	return v
}

// pad is a value's data, texts filled with zeros.
func pad(v *Value) []byte {
	if v.Type.form != text || len(v.Data) >= 16 {
		return v.Data
	}
	return append(slices.Clone(v.Data), make([]byte, 16-len(v.Data))...)
}

// masked is b with only its first n bits.
func masked(b []byte, n int) []byte {
	m := slices.Clone(b)
	for i := range m {
		switch {
		case n >= 8*(i+1):
		case n <= 8*i:
			m[i] = 0
		default:
			m[i] &= 0xff << (8*(i+1) - n)
		}
	}
	return m
}

// typesOf are an expression's types, one for each part.
func typesOf(e Expr) []*Type {
	if c, ok := e.(*Concat); ok {
		var all []*Type
		for _, x := range c.Parts {
			all = append(all, x.typ())
		}
		return all
	}
	return []*Type{e.typ()}
}

// values reads values of some types with dots between them.
func (p *parser) values(ts []*Type) Expr {
	if len(ts) == 1 {
		e := p.value(ts[0])
		if t := p.peek(); t.kind == sign && t.text == "." {
			p.fail(t.Pos, "a dot and another value; the key is of type %s alone", ts[0].Name)
		}
		return e
	}
	c := &Concat{}
	for i, t := range ts {
		if i > 0 {
			p.expect(".", fmt.Sprintf("and a value of type %s", typeName(t)))
		}
		c.Parts = append(c.Parts, p.value(t))
	}
	return c
}

// setTypes are what a set's elements are of.
type setTypes struct {
	key    []*Type
	data   []*Type
	object string
}

func (s *Set) types() setTypes { return setTypes{s.Key, s.Data, s.Object} }

// elements reads { ELEMENT, … }. Braces inside, which come from definitions,
// mean nothing.
func (p *parser) elements(ts setTypes) (all []*Elem) {
	defer p.deeper(p.peek())()
	p.expect("{", "and elements")
	for p.newlines(); !p.take("}"); p.newlines() {
		if p.is("{") {
			all = append(all, p.elements(ts)...)
		} else {
			all = append(all, p.element(ts))
		}
		p.newlines()
		if !p.take(",") {
			p.newlines()
			if t := p.peek(); !p.is("}") {
				p.fail(t.Pos, `%v stands where "," or "}" should`, t)
			}
		}
	}
	return all
}

func (p *parser) element(ts setTypes) *Elem {
	e := &Elem{Pos: p.peek().Pos}
	e.Key = p.values(ts.key)
	for done := false; !done; {
		switch {
		case p.take("timeout"):
			e.Timeout = p.duration("a timeout")
		case p.take("expires"):
			e.Expires = p.duration("a time")
		case p.take("comment"):
			e.Comment = p.comment()
		default:
			s := p.stateful()
			if s == nil {
				done = true
				break
			}
			e.Stmts = append(e.Stmts, s)
		}
	}
	isMap := ts.data != nil || ts.object != ""
	colon := p.peek()
	switch has := p.take(":"); {
	case has && !isMap:
		p.fail(colon.Pos, `":" gives an element a value, but this is a set; leave it out, or write map`)
	case !has && isMap:
		p.fail(colon.Pos, `%v stands where ":" and the element's value should`, colon)
	case has && ts.object != "":
		e.Data = &Value{Type: types["string"], Data: []byte(p.text("the name of a " + ts.object))}
	case has && ts.data[0] == types["verdict"]:
		e.Data = p.verdict()
	case has:
		e.Data = p.values(ts.data)
	}
	return e
}

// stateful reads a statement that an element can have, if one stands here.
func (p *parser) stateful() Stmt {
	switch t := p.peek(); t.text {
	case "counter":
		p.i++
		return p.counter()
	case "limit":
		p.i++
		p.expect("rate", "and a rate such as 10/second")
		return p.limit()
	case "quota":
		p.i++
		return p.quota()
	case "ct":
		if p.peek2().text == "count" {
			p.i++
			return p.connLimit()
		}
	}
	return nil
}

// anon reads the set at the right of a comparison or map.
func (p *parser) anon(ts setTypes) *Anon {
	at := p.peek()
	a := &Anon{Elems: p.elements(ts), Object: ts.object}
	if len(a.Elems) == 0 {
		p.fail(at.Pos, "the set is empty and matches nothing; write elements")
	}
	for _, e := range a.Elems {
		if e.Timeout != 0 {
			p.fail(e.Pos, "an element of a set without a name cannot time out")
		}
	}
	return a
}

// setRef reads @name and checks that the set is of the types.
func (p *parser) setRef(key []*Type) (*SetRef, *Set) {
	p.expect("@", "and a set's name")
	t := p.peek()
	name := p.name("a set")
	s := p.findSet(t.Pos, name)
	if !sameTypes(s.Key, key) {
		p.fail(t.Pos, "set %s has elements of type %s, but the match is of type %s", name, joinTypes(s.Key), joinTypes(key))
	}
	return &SetRef{t.Pos, name}, s
}

func sameTypes(a, b []*Type) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i] == nil || b[i] == nil {
			return false
		}
		if a[i].Name != b[i].Name && !interchangeable(a[i], b[i]) {
			return false
		}
	}
	return true
}

// interchangeable are types that nft compares by width: integers.
func interchangeable(a, b *Type) bool {
	return a.Name == "integer" && a.Bits == b.Bits || b.Name == "integer" && a.Bits == b.Bits
}

func joinTypes(ts []*Type) string {
	var all []string
	for _, t := range ts {
		all = append(all, typeName(t))
	}
	return strings.Join(all, " . ")
}

// result reads the expression that a statement takes a value from: a constant,
// a field, or what a map has for one.
func (p *parser) result(ts []*Type) Expr {
	t := p.peek()
	isField := t.kind == sign && (t.text == "@" || t.text == "(") || t.kind == word && exprWord(t.text)
	if isField && len(ts) == 1 && ts[0] != nil {
		for _, s := range ts[0].symbols {
			if n := p.peek2(); s.name == t.text && (n.kind == newline || n.kind == eof) {
				isField = false
			}
		}
	}
	if !isField {
		if len(ts) == 1 && ts[0] != nil && ts[0].bitmask {
			return p.flagList(ts[0])
		}
		return p.values(ts)
	}
	e := p.expression()
	if p.take("map") {
		return p.mapOf(e, ts)
	}
	return e
}

func (p *parser) mapOf(k Expr, data []*Type) *MapOf {
	m := &MapOf{Key: k}
	if len(data) > 0 {
		m.data = data[0]
	}
	if p.is("@") {
		at := p.peek2()
		ref, s := p.setRef(typesOf(k))
		if s.Data == nil || s.Data[0] == types["verdict"] {
			p.fail(at.Pos, "%s is not a map to values", ref.Name)
		}
		m.Set, m.data = ref, s.Data[0]
		return m
	}
	m.Set = p.anon(setTypes{key: typesOf(k), data: data})
	return m
}

// flagList reads a bitmask: symbols with commas between them, or computed.
func (p *parser) flagList(t *Type) *Value {
	v := p.constant(t)
	for p.is(",") {
		p.i++
		p.newlines()
		w := p.constant(t)
		b := slices.Clone(v.Data)
		for i := range b {
			b[i] |= w.Data[i]
		}
		v = &Value{Type: t, Data: b}
	}
	return v
}
