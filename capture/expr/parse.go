package expr

import (
	"math/bits"
	"strconv"
	"strings"

	"github.com/towpath/towpath/capture/bpf"
)

// A node is a part of an expression as it was written: an operator and its
// operands, or a primitive.
type node struct {
	op       nodeOp
	pos, end int    // in the expression
	text     string // of a primitive: with the qualifiers that it inherits
	cond     *cond
	x, y     *node
}

type nodeOp uint8

const (
	nPrimitive nodeOp = iota
	nAnd
	nOr
	nNot
)

// qualifiers say what an id is. The zero value says nothing, which is not
// enough for one.
type qualifiers struct {
	proto, dir, kind string
	set              bool
	text             string // as written
}

// A parser reads tokens and generates conditions in their order.
type parser struct {
	*generator
	src   string
	list  []token
	match map[int]int // from a "(" to its ")", by index
	at    int
	depth int
}

// depthMax bounds how deep parentheses and negations nest.
const depthMax = 500

// bail carries an *Error out of the parser.
type bail struct{ err *Error }

func parse(src string, g *generator) (root *node, err error) {
	defer func() {
		switch r := recover().(type) {
		case nil:
		case bail:
			err = r.err
		default:
			panic(r)
		}
	}()
	list, err := lex(src)
	if err != nil {
		return nil, err
	}
	p := &parser{generator: g, src: src, list: list, match: map[int]int{}}
	var open []int
	for i, t := range list {
		switch {
		case t.is("("):
			open = append(open, i)
		case t.is(")") && len(open) > 0:
			p.match[open[len(open)-1]] = i
			open = open[:len(open)-1]
		}
	}
	g.fail = p.fail
	if p.peek().kind == tEnd {
		return &node{cond: yes, text: "everything"}, nil
	}
	root, _ = p.expr(qualifiers{})
	if t := p.peek(); t.kind != tEnd {
		p.unexpected(`"and", "or" or the end`)
	}
	return root, nil
}

func (t token) is(op string) bool { return t.kind == tOp && t.text == op }

func (p *parser) peek() token { return p.list[p.at] }

func (p *parser) ahead(n int) token { return p.list[min(p.at+n, len(p.list)-1)] }

func (p *parser) next() token {
	t := p.list[p.at]
	if t.kind != tEnd {
		p.at++
	}
	return t
}

func (p *parser) accept(op string) bool {
	if p.peek().is(op) {
		p.at++
		return true
	}
	return false
}

// word accepts one of the keywords in list, which are separated by spaces.
func (p *parser) word(list string) (string, bool) {
	t := p.peek()
	if t.kind != tWord {
		return "", false
	}
	for _, w := range strings.Fields(list) {
		if w == t.text {
			p.at++
			return w, true
		}
	}
	return "", false
}

// fail ends the parsing with an error about the primitive being read.
func (p *parser) fail(format string, args ...any) {
	t := p.list[max(p.at-1, 0)]
	panic(bail{errorAt(p.src, t.pos, t.end, format, args...)})
}

// failAt ends it with one about t.
func (p *parser) failAt(t token, format string, args ...any) {
	panic(bail{errorAt(p.src, t.pos, t.end, format, args...)})
}

// unexpected says that the next token is not what was expected.
func (p *parser) unexpected(what string) {
	t := p.peek()
	if t.kind == tEnd {
		p.failAt(t, "expected %s, but the expression ends", what)
	}
	err := errorAt(p.src, t.pos, t.end, "expected %s, found %q", what, p.src[t.pos:t.end])
	switch {
	case t.is(")") && strings.HasPrefix(what, `"and"`):
		err.Hint = `there is no "(" for it`
	case t.kind == tName:
		err.Hint = didYouMean(t.text)
		if err.Hint == "" && p.at == 0 {
			err.Hint = `a name alone says too little: write "host ` + t.text + `"`
		}
	case t.kind == tDotted || t.kind == tIPv6:
		err.Hint = `write "host ` + t.text + `" or "net ` + t.text + `"`
	case t.kind == tNum:
		err.Hint = `a number alone says too little: write "port ` + t.text + `"`
	case t.kind == tMAC:
		err.Hint = `write "ether host ` + t.text + `"`
	}
	panic(bail{err})
}

func (p *parser) expect(op string) {
	if !p.accept(op) {
		p.unexpected(strconv.Quote(op))
	}
}

// deeper bounds recursion.
func (p *parser) deeper() func() {
	if p.depth++; p.depth > depthMax {
		p.failAt(p.peek(), "more than %d parentheses and negations in each other", depthMax)
	}
	return func() { p.depth-- }
}

// number reads a number.
func (p *parser) number(what string) uint32 {
	t := p.peek()
	if t.kind != tNum {
		p.unexpected(what)
	}
	p.at++
	return t.num
}

// both joins two nodes.
func both(op nodeOp, x, y *node) *node {
	n := &node{op: op, pos: x.pos, end: y.end, x: x, y: y}
	if op == nAnd {
		n.cond = and(x.cond, y.cond)
	} else {
		n.cond = or(x.cond, y.cond)
	}
	return n
}

func negate(pos int, x *node) *node {
	return &node{op: nNot, pos: pos, end: x.end, x: x, cond: not(x.cond)}
}

// expr reads terms joined by "and" and "or", which bind equally and to the
// left. Behind one of them an id may stand alone: it has the qualifiers q of
// what is left of it.
func (p *parser) expr(q qualifiers) (*node, qualifiers) {
	x, q := p.term(q)
	for {
		op := nAnd
		switch {
		case p.accept("and"):
		case p.accept("or"):
			op = nOr
		default:
			return x, q
		}
		var y *node
		if p.idAhead(q) {
			y = p.id(q)
		} else {
			y, q = p.term(q)
		}
		x = both(op, x, y)
	}
}

// idAhead reports whether an id without qualifiers follows.
func (p *parser) idAhead(q qualifiers) bool {
	i := p.at
	for p.list[i].is("not") || p.list[i].is("(") && !p.arithmeticAt(i) {
		i++
	}
	switch p.list[i].kind {
	case tNum:
		return !p.operatorAt(i+1) || q.kind == "net" && p.list[i+1].is("/")
	case tName, tDotted, tMAC, tArc, tIPv6:
		return true
	}
	return false
}

// operatorAt reports whether token i continues an arithmetic expression.
func (p *parser) operatorAt(i int) bool {
	if i >= len(p.list) || p.list[i].kind != tOp {
		return false
	}
	switch p.list[i].text {
	case "+", "-", "*", "/", "%", "&", "|", "^", "<<", ">>", "=", "!=", "<", ">", "<=", ">=":
		return true
	}
	return false
}

// arithmeticAt reports whether the "(" at i encloses arithmetic.
func (p *parser) arithmeticAt(i int) bool {
	end, ok := p.match[i]
	return ok && p.operatorAt(end+1)
}

// term reads a primitive, a negation, or an expression in parentheses.
func (p *parser) term(q qualifiers) (*node, qualifiers) {
	defer p.deeper()()
	t := p.peek()
	if p.accept("not") {
		if p.idAhead(q) && q.set {
			return negate(t.pos, p.id(q)), q
		}
		x, q := p.term(q)
		return negate(t.pos, x), q
	}
	if t.is("(") && !p.arithmeticAt(p.at) {
		p.at++
		outer := q
		x, _ := p.expr(q)
		p.expect(")")
		x.pos, x.end = t.pos, p.list[p.at-1].end
		return x, outer
	}
	start := p.at
	if c := p.relation(); c != nil {
		return p.primitive(start, c, ""), qualifiers{}
	}
	p.at = start
	if c := p.other(); c != nil {
		return p.primitive(start, c, ""), qualifiers{}
	}
	p.at = start
	if q := p.head(); q.set {
		q.text = p.src[t.pos:p.list[p.at-1].end]
		if !p.idAhead(q) {
			p.unexpected("a value for " + strconv.Quote(q.text))
		}
		x := p.id(q)
		x.pos = t.pos
		return x, q
	}
	p.at = start
	if w, ok := p.word(protocolWords); ok {
		if p.failsAlone(w) {
			p.unexpected(`a primitive behind "` + w + `"`)
		}
		return p.primitive(start, p.abbreviation(w), ""), qualifiers{proto: w}
	}
	p.unexpected("a primitive like \"host\", \"port\" or \"tcp\"")
	return nil, q
}

// failsAlone reports whether a protocol's name is no primitive.
func (p *parser) failsAlone(w string) bool { return w == "link" || w == "radio" }

// primitive makes a node of what was read since start.
func (p *parser) primitive(start int, c *cond, inherited string) *node {
	pos, end := p.list[start].pos, p.list[p.at-1].end
	text := p.src[pos:end]
	if inherited != "" {
		text = inherited + " " + text
	}
	return &node{pos: pos, end: end, text: text, cond: c}
}

const protocolWords = "link ip ip6 arp rarp tcp udp sctp icmp icmp6 igmp igrp pim vrrp carp ah esp atalk aarp decnet lat " +
	"sca moprc mopdl iso clnp esis isis l1 l2 iih lsp snp csnp psnp stp ipx netbeui radio"

// head reads qualifiers that an id must follow: [proto] [dir] [type].
func (p *parser) head() (q qualifiers) {
	q.proto, _ = p.word(protocolWords)
	if k, ok := p.word("proto protochain"); ok {
		q.kind, q.set = k, true
		return q
	}
	q.dir = p.direction()
	if k, ok := p.word("host net port portrange gateway"); ok {
		q.kind = k
	}
	q.set = q.dir != "" || q.kind != ""
	return q
}

// direction reads "src", "dst", both joined, or an 802.11 address.
func (p *parser) direction() string {
	if w, ok := p.word("addr1 addr2 addr3 addr4 ra ta"); ok {
		return w
	}
	w, ok := p.word("src dst")
	if !ok {
		return ""
	}
	other := map[string]string{"src": "dst", "dst": "src"}[w]
	for _, op := range []string{"and", "or"} {
		if t := p.ahead(1); p.peek().is(op) && t.kind == tWord && t.text == other && !p.ahead(2).is("[") {
			p.at += 2
			return op
		}
	}
	return w
}

// id reads ids, which may be negated, and joined in parentheses.
func (p *parser) id(q qualifiers) *node {
	defer p.deeper()()
	t := p.peek()
	if p.accept("not") {
		return negate(t.pos, p.id(q))
	}
	if p.accept("(") {
		x := p.id(q)
		for {
			op := nAnd
			switch {
			case p.accept("and"):
			case p.accept("or"):
				op = nOr
			default:
				p.expect(")")
				x.pos, x.end = t.pos, p.list[p.at-1].end
				return x
			}
			if !p.idAhead(q) {
				p.unexpected("a value for " + strconv.Quote(q.text))
			}
			x = both(op, x, p.id(q))
		}
	}
	if !q.set {
		if q.proto != "" {
			p.unexpected(`a primitive; "` + q.proto + `" says too little about a value alone`)
		}
		p.unexpected(`a primitive like "host", "port" or "tcp"`)
	}
	start := p.at
	c := p.value(q)
	return p.primitive(start, c, q.text)
}

// value reads one id and generates what q means with it.
func (p *parser) value(q qualifiers) *cond {
	t := p.next()
	switch t.kind {
	case tName:
		return p.named(q, t.text)
	case tNum:
		v, width := t.num, 32
		if q.kind == "net" {
			width = numBits(v)
			v <<= 32 - width
			if p.maskAhead() {
				return p.masked(t, v, q)
			}
		}
		return p.numbered(q, t.num, v, mask(width))
	case tDotted:
		v := t.num << (32 - t.bits)
		if p.maskAhead() {
			return p.masked(t, v, q)
		}
		return p.numbered(q, v, v, mask(t.bits))
	case tMAC:
		if q.proto == "link" && (q.kind == "" || q.kind == "host") {
			return p.etherHost(t.mac[:], q.dir)
		}
		p.fail("a station address needs \"ether host\", \"ether src\" or the like")
	case tArc:
		if q.proto == "link" && (q.kind == "" || q.kind == "host") {
			return p.arcHost(t.num, q.dir)
		}
		p.fail("an ARCnet address needs \"link host\", \"link src\" or the like")
	case tIPv6:
		n := uint32(128)
		if p.accept("/") {
			n = p.number("the length of the prefix")
			if n > 128 {
				p.fail("a prefix of IPv6 has at most 128 bits")
			}
			if q.kind != "net" && n != 128 {
				p.fail("only networks have prefixes: write \"net %s\"", t.text)
			}
		} else if p.peek().kind == tWord && p.peek().text == "mask" {
			p.failAt(p.peek(), "masks are for IPv4: write the prefix's length behind a \"/\"")
		}
		if q.kind != "net" && q.kind != "host" && q.kind != "" {
			p.fail("an IPv6 address is no %s", q.kind)
		}
		return p.host6(t.addr.As16(), int(n), q)
	}
	p.at--
	p.unexpected("a value for " + strconv.Quote(q.text))
	return nil
}

// maskAhead accepts what a mask stands behind: "/" or "mask".
func (p *parser) maskAhead() bool {
	if p.accept("/") {
		return true
	}
	_, ok := p.word("mask")
	return ok
}

// masked reads a prefix's length or a mask behind the network v.
func (p *parser) masked(t token, v uint32, q qualifiers) *cond {
	if q.kind != "net" {
		p.fail("only networks have masks: write \"net %s\"", t.text)
	}
	m := p.next()
	var bitmask uint32
	slash := p.list[p.at-2].is("/")
	switch {
	case slash && m.kind == tNum:
		if m.num > 32 {
			p.fail("a prefix of IPv4 has at most 32 bits")
		}
		bitmask = mask(int(m.num))
	case !slash && m.kind == tDotted:
		bitmask = m.num << (32 - m.bits)
	case !slash && m.kind == tNum:
		bitmask = m.num << (32 - numBits(m.num))
	default:
		p.at--
		if slash {
			p.unexpected("the length of the prefix")
		}
		p.unexpected("a mask like 255.255.255.0")
	}
	if v&^bitmask != 0 {
		pos := p.list[p.at-3].pos
		err := errorAt(p.src, pos, m.end, "the network has bits set outside its mask")
		if n := bits.LeadingZeros32(^bitmask); bitmask == mask(n) {
			a := v & bitmask
			err.Hint = "write " + dotted(a) + "/" + strconv.Itoa(n)
		}
		panic(bail{err})
	}
	return p.host(v, bitmask, q)
}

// mask has the n highest bits set.
func mask(n int) uint32 { return ^uint32(1<<(32-n) - 1) }

// numBits is how many bits the bytes of v are, from the lowest that is not 0.
func numBits(v uint32) int { return max(8, (bits.Len32(v)+7)&^7) }

func dotted(v uint32) string {
	return strconv.Itoa(int(v>>24)) + "." + strconv.Itoa(int(v>>16&255)) + "." + strconv.Itoa(int(v>>8&255)) + "." + strconv.Itoa(int(v&255))
}

// relation reads a comparison of two arithmetic expressions, or returns nil if
// none begins here.
func (p *parser) relation() *cond {
	t := p.peek()
	accessor := t.kind == tWord && p.ahead(1).is("[")
	if !(accessor || t.is("-") || t.is("(") || t.kind == tNum && p.operatorAt(p.at+1) || t.kind == tWord && t.text == "len") {
		return nil
	}
	a := p.arithmetic(0)
	op := p.next()
	rel, inverted := uint16(0), false
	switch {
	case op.is("="):
		rel = bpf.JmpEq
	case op.is("!="):
		rel, inverted = bpf.JmpEq, true
	case op.is(">"):
		rel = bpf.JmpGt
	case op.is(">="):
		rel = bpf.JmpGe
	case op.is("<"):
		rel, inverted = bpf.JmpGe, true
	case op.is("<="):
		rel, inverted = bpf.JmpGt, true
	default:
		if op.kind != tEnd {
			p.at--
		}
		p.unexpected("a comparison: = != < <= > or >=")
	}
	b := p.arithmetic(0)
	c := test(rel, a.v, b.v)
	if inverted {
		c = not(c)
	}
	return and(a.need, b.need, c)
}

// An arith is a value and what must hold for it to make sense.
type arith struct {
	v    *value
	need *cond
}

// levels are the operators of arithmetic and how strongly they bind, as in C.
var levels = map[string]struct {
	bind int
	op   valueOp
}{
	"|": {1, vOr}, "^": {2, vXor}, "&": {3, vAnd}, "<<": {4, vLsh}, ">>": {4, vRsh}, "+": {5, vAdd}, "-": {5, vSub},
	"*": {6, vMul}, "/": {6, vDiv}, "%": {6, vMod},
}

// arithmetic reads operators that bind more strongly than bind.
func (p *parser) arithmetic(bind int) arith {
	defer p.deeper()()
	x := p.operand()
	for {
		t := p.peek()
		l, ok := levels[t.text]
		if t.kind != tOp || !ok || l.bind <= bind {
			return x
		}
		p.at++
		y := p.arithmetic(l.bind)
		if y.v.isConst() {
			switch {
			case l.op == vDiv && y.v.k == 0, l.op == vMod && y.v.k == 0:
				p.failAt(t, "division by zero")
			case (l.op == vLsh || l.op == vRsh) && y.v.k > 31:
				p.failAt(t, "a shift by more than 31 bits")
			}
		}
		if p.size++; p.size > sizeMax {
			p.failAt(t, "an arithmetic expression that is too large")
		}
		x = arith{p.in.bin(l.op, x.v, y.v), and(x.need, y.need)}
	}
}

// sizeMax bounds the operators and accessors of an expression.
const sizeMax = 10000

// operand reads a number, the length, an accessor, or something in parentheses.
func (p *parser) operand() arith {
	t := p.next()
	switch {
	case t.kind == tNum:
		return arith{p.in.konst(t.num), nil}
	case t.is("-"):
		defer p.deeper()()
		x := p.operand()
		return arith{p.in.neg(x.v), x.need}
	case t.is("("):
		x := p.arithmetic(0)
		p.expect(")")
		return x
	case t.kind == tWord && t.text == "len":
		return arith{p.in.length(), nil}
	case t.kind == tWord && p.peek().is("["):
		p.at++
		index := p.arithmetic(0)
		size := uint32(1)
		if p.accept(":") {
			size = p.number("1, 2 or 4")
			if size != 1 && size != 2 && size != 4 {
				p.fail("an access has 1, 2 or 4 bytes")
			}
		}
		p.expect("]")
		if p.size++; p.size > sizeMax {
			p.fail("an arithmetic expression that is too large")
		}
		return p.access(t, index, uint8(size))
	}
	if t.kind != tEnd {
		p.at--
	}
	p.unexpected("a number, \"len\" or an access like ip[0]")
	return arith{}
}

// other reads the primitives that are neither ids nor relations, or returns nil
// if none begins here.
func (p *parser) other() *cond {
	if w, ok := p.word(protocolWords); ok {
		t := p.peek()
		if t.kind == tWord {
			switch t.text {
			case "broadcast", "multicast":
				p.at++
				if t.text == "broadcast" {
					return p.broadcast(w)
				}
				return p.multicast(w)
			case "type", "subtype", "dir":
				return p.frameType()
			}
		}
		return nil
	}
	t := p.peek()
	if t.kind != tWord {
		return nil
	}
	switch p.at++; t.text {
	case "broadcast":
		return p.broadcast("")
	case "multicast":
		return p.multicast("")
	case "less":
		return not(test(bpf.JmpGt, p.in.length(), p.in.konst(p.number("a length"))))
	case "greater":
		return test(bpf.JmpGe, p.in.length(), p.in.konst(p.number("a length")))
	case "byte":
		return p.byteTest()
	case "inbound", "outbound":
		return p.direct(t.text == "outbound")
	case "ifindex":
		return p.ifindex(p.number("an interface's index"))
	case "vlan", "mpls", "pppoes", "geneve", "vxlan":
		return p.encapsulation(t.text)
	case "pppoed":
		return p.linkType(etherPPPoEDiscovery)
	case "llc":
		return p.llcPrimitive()
	case "type", "subtype", "dir":
		p.at--
		return p.frameType()
	case "ifname", "rset", "rnr", "srnr", "reason", "action":
		return p.pflog(t.text)
	case "lane", "metac", "bcc", "oam", "oamf4", "oamf4sc", "oamf4ec", "sc", "ilmic", "connectmsg", "metaconnect":
		return p.atm(t.text)
	case "vpi", "vci", "sio", "opc", "dpc", "sls", "hsio", "hopc", "hdpc", "hsls":
		return p.field(t.text)
	case "fisu", "lssu", "msu", "hfisu", "hlssu", "hmsu":
		return p.signalUnit(t.text)
	}
	return nil
}

// byteTest reads "byte offset operator value".
func (p *parser) byteTest() *cond {
	v := p.load(p.linkHdr, p.number("an offset"), 1)
	op := p.next()
	k := p.in.konst(p.number("a value"))
	switch {
	case op.is("="):
		return test(bpf.JmpEq, v, k)
	case op.is("<"):
		return not(test(bpf.JmpGe, v, k))
	case op.is(">"):
		return test(bpf.JmpGt, v, k)
	case op.is("&"):
		return test(bpf.JmpSet, v, k)
	case op.is("|"):
		return not(test(bpf.JmpEq, p.in.bin(vOr, v, k), p.in.konst(0)))
	}
	p.failAt(op, "expected one of = < > & |")
	return nil
}

// encapsulation reads the keywords behind which offsets are others.
func (p *parser) encapsulation(w string) *cond {
	id, has := uint32(0), false
	if t := p.peek(); t.kind == tNum && !p.operatorAt(p.at+1) {
		id, has = t.num, true
		p.at++
	}
	limit := map[string]uint32{"vlan": 4095, "mpls": 1<<20 - 1, "pppoes": 65535, "geneve": 1<<24 - 1, "vxlan": 1<<24 - 1}[w]
	if id > limit {
		p.fail("the number of %s is at most %d", w, limit)
	}
	switch w {
	case "vlan":
		return p.vlan(id, has)
	case "mpls":
		return p.mpls(id, has)
	case "pppoes":
		return p.pppoes(id, has)
	}
	return p.udpTunnel(w, id, has)
}

// field reads what a field of ATM or SS7 is compared with: a number behind an
// operator or none, or numbers joined in parentheses.
func (p *parser) field(name string) *cond {
	f := p.fieldOf(name)
	one := func() *cond {
		rel, inverted := uint16(bpf.JmpEq), false
		switch {
		case p.accept("="):
		case p.accept("!="):
			inverted = true
		case p.accept(">"):
			rel = bpf.JmpGt
		case p.accept(">="):
			rel = bpf.JmpGe
		case p.accept("<"):
			rel, inverted = bpf.JmpGe, true
		case p.accept("<="):
			rel, inverted = bpf.JmpGt, true
		}
		v := p.number("a number")
		if v > f.max {
			p.fail("%s is at most %d", name, f.max)
		}
		c := test(rel, f.v, p.in.konst(f.encode(v)))
		if inverted {
			return not(c)
		}
		return c
	}
	if !p.accept("(") {
		return one()
	}
	var list func() *cond
	list = func() *cond {
		defer p.deeper()()
		item := func() *cond {
			if p.accept("(") {
				c := list()
				p.expect(")")
				return c
			}
			return one()
		}
		c := item()
		for {
			switch {
			case p.accept("or"):
				c = or(c, item())
			case p.accept("and"):
				c = and(c, item())
			default:
				return c
			}
		}
	}
	c := list()
	p.expect(")")
	return c
}
