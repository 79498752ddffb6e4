package nft

import (
	"slices"
	"strings"
)

const stmtsMax = 128 // statements of one rule (NFT_RULE_MAXEXPRS)

// rule reads the statements of a rule up to its end.
func (p *parser) rule() *Rule {
	r := &Rule{Pos: p.peek().Pos}
	p.ctx = context{}
	ended := false
	for {
		t := p.peek()
		if t.kind == newline || t.kind == eof || t.kind == sign && t.text == "}" {
			break
		}
		if p.take("comment") {
			r.Comment = p.comment()
			break
		}
		if len(r.Stmts) == stmtsMax {
			p.fail(t.Pos, "more than %d statements in a rule", stmtsMax)
		}
		if ended {
			p.fail(t.Pos, "the statement before %v ends the rule; write this one first", t)
		}
		s := p.statement()
		r.Stmts = append(r.Stmts, s)
		ended = terminal(s)
	}
	if len(r.Stmts) == 0 {
		t := p.peek()
		p.fail(t.Pos, "%v stands where a rule should begin", t)
	}
	return r
}

// terminal reports whether nothing can follow a statement.
func terminal(s Stmt) bool {
	switch s := s.(type) {
	case *Verdict:
		return s.Code != "continue"
	case *NAT, *Reject, *Queue, *Fwd:
		return true
	}
	return false
}

func (p *parser) statement() Stmt {
	t := p.peek()
	if t.kind == word {
		switch t.text {
		case "accept", "drop", "continue", "return", "jump", "goto":
			return p.verdict()
		case "counter":
			p.i++
			if r := p.objRef(t, "counter"); r != nil {
				return r
			}
			return p.counter()
		case "quota":
			p.i++
			if r := p.objRef(t, "quota"); r != nil {
				return r
			}
			return p.quota()
		case "limit":
			p.i++
			if r := p.objRef(t, "limit"); r != nil {
				return r
			}
			p.expect("rate", `and a rate such as 10/second, or "name" and the name of a limit`)
			return p.limit()
		case "synproxy":
			p.i++
			if r := p.objRef(t, "synproxy"); r != nil {
				return r
			}
			s := &SynProxy{MSS: -1, WScale: -1}
			p.synproxy(s)
			return s
		case "log":
			p.i++
			return p.log()
		case "reject":
			p.i++
			return p.reject(t)
		case "queue":
			p.i++
			return p.queue()
		case "notrack":
			p.i++
			return &Notrack{}
		case "add", "update", "delete":
			p.i++
			return p.dynSet(t)
		case "set":
			p.fail(t.Pos, "the set is named at the end in old rules; write add @NAME { … }")
		case "meter":
			p.fail(t.Pos, "meters are an old way to write dynamic sets; write add @NAME { … } and a set with flags dynamic")
		case "flow":
			p.i++
			p.expect("add", "and @FLOWTABLE")
			p.expect("@", "and a flowtable's name")
			return &FlowAdd{t.Pos, p.name("a flowtable")}
		case "snat", "dnat", "masquerade", "redirect":
			p.i++
			return p.nat(t)
		case "tproxy":
			p.i++
			return p.tproxy(t)
		case "dup":
			p.i++
			return p.dup(t)
		case "fwd":
			p.i++
			return p.fwd(t)
		case "reset":
			p.i++
			p.expect("tcp", "and option NAME")
			p.expect("option", "and its name")
			p.need(t, headers["tcp"])
			return &TCPReset{tcpOptions[p.oneOf("a TCP option", sortedKeys(tcpOptions)...)]}
		case "ct":
			if s := p.ctStatement(t); s != nil {
				return s
			}
		case "xt":
			p.fail(t.Pos, "xt names an extension of iptables; write what it does in nft's words")
		}
	}
	return p.matchOrMangle(t)
}

func (p *parser) verdict() *Verdict {
	t := p.peek()
	v := &Verdict{Pos: t.Pos}
	v.Code = p.oneOf("a verdict", "accept", "drop", "continue", "return", "jump", "goto")
	if v.Code == "jump" || v.Code == "goto" {
		if p.is("{") {
			p.fail(p.peek().Pos, "a chain without a name; write it as a chain, and %s its name", v.Code)
		}
		v.Chain = p.name("a chain")
	}
	return v
}

// objRef reads the name of an object, or the map that has it.
func (p *parser) objRef(t token, kind string) Stmt {
	if !p.take("name") {
		return nil
	}
	r := &ObjRef{Pos: t.Pos, Kind: kind}
	n := p.peek()
	if n.kind == quoted || n.kind == word && !exprWord(n.text) {
		r.Name = p.text("the name of a " + kind)
		return r
	}
	k := p.expression()
	p.expect("map", "and a map to objects of kind "+kind)
	r.Map = &MapOf{Key: k, data: types["string"]}
	if p.is("@") {
		ref, s := p.setRef(typesOf(k))
		if s.Object != kind {
			p.fail(n.Pos, "map %s does not lead to objects of kind %s", ref.Name, kind)
		}
		r.Map.Set = ref
	} else {
		r.Map.Set = p.anon(setTypes{key: typesOf(k), object: kind})
	}
	return r
}

func (p *parser) counter() *Counter {
	c := &Counter{}
	for {
		switch {
		case p.take("packets"):
			c.Packets = p.number("a number of packets", 1<<63)
		case p.take("bytes"):
			c.Bytes = p.number("a number of bytes", 1<<63)
		default:
			return c
		}
	}
}

var byteUnits = map[string]uint64{"bytes": 1, "kbytes": 1 << 10, "mbytes": 1 << 20}

// bytes reads a number of bytes with its unit.
func (p *parser) bytes(what string) uint64 {
	n := p.number(what, 1<<50)
	u := p.oneOf("a unit", "bytes", "kbytes", "mbytes")
	return n * byteUnits[u]
}

func (p *parser) quota() *Quota {
	q := &Quota{}
	if p.take("over") {
		q.Over = true
	} else {
		p.take("until")
	}
	q.Bytes = p.bytes("a quota")
	if p.take("used") {
		q.Used = p.bytes("a number of bytes")
	}
	return q
}

var rateUnits = []string{"second", "minute", "hour", "day", "week"}

// limit reads what stands behind "limit rate".
func (p *parser) limit() *Limit {
	l := &Limit{}
	l.Over = p.take("over")
	at := p.peek()
	l.Rate = p.number("a rate", 1<<50)
	// mbytes/second is one word, for it has no digit in front.
	u := p.peek()
	switch name, per, ok := strings.Cut(u.text, "/"); {
	case u.kind == word && byteUnits[name] != 0 && ok:
		p.i++
		l.Bytes, l.Unit = true, per
		l.Rate *= byteUnits[name]
	case u.kind == word && byteUnits[name] != 0:
		p.i++
		l.Bytes = true
		l.Rate *= byteUnits[name]
		fallthrough
	default:
		p.expect("/", "and second, minute, hour, day or week")
		l.Unit = p.text("a unit of time")
	}
	if l.Rate == 0 {
		p.fail(at.Pos, "a rate of 0; write at least 1")
	}
	if !slices.Contains(rateUnits, l.Unit) {
		p.fail(u.Pos, "%q is not a unit of time%s", l.Unit, mean(l.Unit, rateUnits, "", "write "+either(rateUnits)))
	}
	l.Burst = 5
	if l.Bytes {
		l.Burst = 0
	}
	if p.take("burst") {
		at := p.peek()
		l.Burst = p.number("a burst", 1<<32-1)
		u := p.oneOf("a unit", "packets", "bytes", "kbytes", "mbytes")
		if (u != "packets") != l.Bytes {
			p.fail(at.Pos, "the rate and the burst are in different units; write packets for both, or bytes for both")
		}
		if l.Bytes {
			l.Burst *= byteUnits[u]
		} else if l.Burst == 0 {
			p.fail(at.Pos, "a burst of 0 packets lets none pass; write at least 1")
		}
	}
	return l
}

// connLimit reads what stands behind "ct".
func (p *parser) connLimit() *ConnLimit {
	p.expect("count", "and a number of connections")
	c := &ConnLimit{Over: p.take("over")}
	c.Count = uint32(p.number("a number of connections", 1<<32-1))
	return c
}

var levels = []string{"emerg", "alert", "crit", "err", "warn", "notice", "info", "debug", "audit"}

func (p *parser) log() *Log {
	l := &Log{Group: -1}
	for {
		t := p.peek()
		switch {
		case p.take("prefix"):
			if q := p.next(); q.kind == quoted && len(q.text) <= 127 {
				l.Prefix = q.text
			} else {
				p.fail(q.Pos, "%v stands where a prefix of at most 127 bytes in quotes should", q)
			}
		case p.take("level"):
			l.Level = p.oneOf("a level", levels...)
		case p.take("group"):
			l.Group = int(p.number("a group", 1<<16-1))
		case p.take("snaplen"):
			l.Snaplen = uint32(p.number("a length", 1<<32-1))
		case p.take("queue-threshold"):
			l.Threshold = uint32(p.number("a number of packets", 1<<16-1))
		case p.take("flags"):
			p.logFlags(l)
		default:
			if l.Group >= 0 && (l.Level != "" || l.Flags != nil) {
				p.fail(t.Pos, "level and flags are for the system's log, group is not; leave one out")
			}
			if l.Group < 0 && (l.Snaplen != 0 || l.Threshold != 0) {
				p.fail(t.Pos, "snaplen and queue-threshold belong to a group; write group NUMBER")
			}
			return l
		}
	}
}

func (p *parser) logFlags(l *Log) {
	add := func(s string) {
		if !slices.Contains(l.Flags, s) {
			l.Flags = append(l.Flags, s)
		}
	}
	switch p.oneOf("a flag of log", "all", "tcp", "ip", "skuid", "ether") {
	case "all":
		for _, s := range logFlags {
			add(s)
		}
	case "tcp":
		for _, s := range p.words("a flag of log flags tcp", "sequence", "options") {
			add("tcp " + s)
		}
	case "ip":
		p.expect("options", "of ip")
		add("ip options")
	case "skuid":
		add("skuid")
	case "ether":
		add("ether")
	}
}

var logFlags = []string{"tcp sequence", "tcp options", "ip options", "skuid", "ether"}

func (p *parser) reject(t token) *Reject {
	r := &Reject{}
	if p.family == ARP {
		p.fail(t.Pos, "there is nothing to tell a sender of ARP; write drop")
	}
	if !p.take("with") {
		return r
	}
	w := p.peek()
	r.With = p.oneOf("an answer", "tcp", "icmp", "icmpv6", "icmpx")
	if r.With == "tcp" {
		p.expect("reset", "of tcp")
		r.With = "tcp reset"
		if p.ctx.l4Said && p.ctx.l4 != 6 {
			p.fail(w.Pos, "only TCP knows a reset, but the rule is about another protocol; write reject alone")
		}
		p.ctx.l4, p.ctx.l4Said = 6, true
		return r
	}
	p.take("type")
	switch {
	case r.With == "icmp" && (p.family == IP6 || p.l3() == "ip6"), r.With == "icmpv6" && (p.family == IP || p.l3() == "ip"):
		p.fail(w.Pos, "%s is not an answer to these packets; write icmpx, or the other family's", r.With)
	case r.With == "icmpx" && (p.family == IP || p.family == IP6):
		p.fail(w.Pos, "icmpx is for families that have both; write %s", map[Family]string{IP: "icmp", IP6: "icmpv6"}[p.family])
	}
	r.Code = p.literal(types[r.With+"_code"])
	switch r.With {
	case "icmp":
		p.ctx.l3 = "ip"
	case "icmpv6":
		p.ctx.l3 = "ip6"
	}
	return r
}

func (p *parser) queue() *Queue {
	q := &Queue{}
	flags := func() {
		q.Flags = append(q.Flags, p.words("a flag of queue", "bypass", "fanout")...)
	}
	if p.take("flags") {
		flags()
	}
	switch {
	case p.take("num"), p.take("to"):
		if t := p.peek(); t.kind == word && !digit(t.text[0]) || t.kind == sign && t.text == "@" {
			q.Of = p.result([]*Type{sized(types["integer"], 16)})
			break
		}
		q.Num = uint16(p.number("a queue", 1<<16-1))
		q.NumEnd = q.Num
		if at := p.peek(); p.take("-") {
			q.NumEnd = uint16(p.number("a queue", 1<<16-1))
			if q.NumEnd < q.Num {
				p.fail(at.Pos, "the range of queues ends before it begins")
			}
		}
	}
	if t := p.peek(); t.text == "bypass" || t.text == "fanout" {
		flags()
	}
	slices.Sort(q.Flags)
	q.Flags = slices.Compact(q.Flags)
	return q
}

func (p *parser) synproxy(s *SynProxy) {
	for {
		switch {
		case p.take("mss"):
			s.MSS = int(p.number("a segment size", 1<<16-1))
		case p.take("wscale"):
			s.WScale = int(p.number("a window scale", 14))
		case p.take("timestamp"):
			s.Timestamp = true
		case p.take("sack-perm"):
			s.SackPerm = true
		default:
			return
		}
	}
}

func (p *parser) dynSet(t token) Stmt {
	d := &DynSet{Pos: t.Pos, Op: t.text}
	p.expect("@", "and a set's name")
	at := p.peek()
	d.Set = p.name("a set")
	s := p.findSet(at.Pos, d.Set)
	if s.Flag("interval") {
		p.fail(at.Pos, "rules cannot add intervals; take the flag interval from set %s", d.Set)
	}
	p.expect("{", "and what to "+t.text)
	k := p.peek()
	d.Key = p.expression()
	if !sameTypes(s.Key, typesOf(d.Key)) {
		p.fail(k.Pos, "set %s has elements of type %s, but this is of type %s", d.Set, joinTypes(s.Key), joinTypes(typesOf(d.Key)))
	}
	for {
		if p.take("timeout") {
			d.Timeout = p.duration("a timeout")
			continue
		}
		x := p.stateful()
		if x == nil {
			break
		}
		d.Stmts = append(d.Stmts, x)
	}
	if colon := p.peek(); p.take(":") {
		if s.Data == nil {
			p.fail(colon.Pos, "%s is a set, and its elements have no values; leave the value out", d.Set)
		}
		d.Data = p.result(s.Data)
	}
	p.expect("}", "at the end")
	return d
}

// transport checks that the rule is about a protocol that has ports.
func (p *parser) transport(t token, what string) {
	if !p.ctx.l4Said {
		p.fail(t.Pos, "%s needs to know the transport protocol; write a match such as meta l4proto tcp before it", what)
	}
}

func (p *parser) nat(t token) Stmt {
	n := &NAT{Pos: t.Pos, Kind: t.text}
	if p.family == ARP || p.family == Bridge || p.family == Netdev {
		p.fail(t.Pos, "family %s has no address translation; write it in a table of family ip, ip6 or inet", p.family)
	}
	if n.Kind == "snat" || n.Kind == "dnat" {
		if w := p.peek().text; w == "ip" && p.peek2().text != "saddr" && p.peek2().text != "daddr" || w == "ip6" && p.peek2().text != "saddr" && p.peek2().text != "daddr" {
			p.i++
			n.Family = w
		}
		interval, addrPort := false, false
		switch {
		case p.take("prefix"):
			n.Prefix = true
		case p.take("interval"):
			interval = true
		case p.take("addr"):
			p.expect(".", "and port")
			p.expect("port", "behind addr .")
			addrPort = true
		}
		if !p.take("to") && (interval || n.Prefix || addrPort) {
			p.fail(p.peek().Pos, `%v stands where "to" and an address should`, p.peek())
		}
		p.natTarget(t, n)
	} else if p.take("to") {
		p.expect(":", "and a port; "+n.Kind+" takes the adapter's own address")
		n.Port = p.result([]*Type{types["inet_service"]})
	}
	if n.Port != nil {
		p.transport(t, "a port")
	}
	for {
		w := p.peek()
		switch {
		case p.take(","):
		case p.take("random"), p.take("fully-random"), p.take("persistent"):
			n.Flags = append(n.Flags, w.text)
		default:
			order := []string{"random", "fully-random", "persistent"}
			slices.SortFunc(n.Flags, func(a, b string) int { return slices.Index(order, a) - slices.Index(order, b) })
			n.Flags = slices.Compact(n.Flags)
			return n
		}
	}
}

// natTarget reads an address and a port, each perhaps a range or from a map.
func (p *parser) natTarget(t token, n *NAT) {
	fam := n.Family
	if fam == "" {
		fam = p.l3()
	}
	if x := p.peek(); fam == "" && x.text != ":" {
		p.fail(x.Pos, "the address is of one family; write %s ip to … or %s ip6 to …", n.Kind, n.Kind)
	}
	if p.family == Inet && n.Family == "" {
		n.Family = fam
	}
	if n.Family != "" && p.ctx.l3 != "" && p.ctx.l3 != n.Family || (p.family == IP || p.family == IP6) && n.Family != "" && n.Family != string(p.family) {
		p.fail(t.Pos, "the rule is about the other family's packets; write %s %s to …", n.Kind, map[string]string{"ip": "ip6", "ip6": "ip"}[n.Family])
	}
	if p.family != Inet {
		n.Family = ""
	}
	addr := types[map[string]string{"ip": "ipv4_addr", "ip6": "ipv6_addr"}[fam]]
	if !p.is(":") {
		n.Addr = p.natAddr(addr)
	}
	if m, ok := n.Addr.(*MapOf); ok && m.wide || n.Prefix {
		n.Family = fam // as it is listed
	}
	if p.take(":") {
		if m, ok := n.Addr.(*MapOf); ok && m != nil {
			p.transport(t, "a port")
		}
		n.Port = p.result([]*Type{types["inet_service"]})
	}
	if n.Addr == nil && n.Port == nil {
		p.fail(p.peek().Pos, "%v stands where an address should", p.peek())
	}
}

func (p *parser) natAddr(addr *Type) Expr {
	one := func() *Value {
		if p.take("[") {
			v := p.constant(addr)
			p.expect("]", "behind the address")
			return v
		}
		return p.constant(addr)
	}
	x := p.peek()
	if x.kind == word && exprWord(x.text) || x.kind == sign && x.text == "@" {
		e := p.expression()
		if !p.take("map") {
			return e
		}
		m := &MapOf{Key: e, data: addr}
		if !p.is("@") {
			set := p.anon(setTypes{key: typesOf(e), data: p.natData(addr)})
			m.Set, m.wide = set, slices.ContainsFunc(set.Elems, func(e *Elem) bool {
				_, one := e.Data.(*Value)
				return !one
			})
			return m
		}
		at := p.peek2()
		ref, s := p.setRef(typesOf(e))
		if len(s.Data) == 0 || s.Data[0].Name != addr.Name {
			p.fail(at.Pos, "map %s does not lead to addresses of type %s", ref.Name, addr.Name)
		}
		m.Set, m.wide = ref, len(s.Data) > 1
		return m
	}
	if addr == nil {
		p.fail(x.Pos, "%v stands where an address should", x)
	}
	v := one()
	switch {
	case p.take("-"):
		w := one()
		if slices.Compare(v.Data, w.Data) > 0 {
			p.fail(x.Pos, "the range of addresses ends before it begins")
		}
		if slices.Equal(v.Data, w.Data) {
			return v
		}
		return &Range{v, w}
	case p.take("/"):
		n := int(p.number("the length of a prefix", uint64(addr.Bits)))
		return &Prefix{&Value{Type: addr, Data: masked(v.Data, n)}, n}
	}
	return v
}

// natData looks ahead whether the elements of a map have addresses alone or
// with ports.
func (p *parser) natData(addr *Type) []*Type {
	depth, colon := 0, false
	for _, t := range p.toks[p.i:] {
		switch {
		case t.kind == eof:
			return []*Type{addr}
		case t.kind != sign:
		case t.text == "{":
			depth++
		case t.text == "}":
			if depth--; depth <= 0 {
				return []*Type{addr}
			}
		case t.text == ":":
			colon = true
		case t.text == ",":
			colon = false
		case t.text == "." && colon:
			return []*Type{addr, types["inet_service"]}
		}
	}
	return []*Type{addr}
}

func (p *parser) tproxy(t token) Stmt {
	x := &TProxy{Pos: t.Pos}
	if w := p.peek().text; w == "ip" || w == "ip6" {
		p.i++
		x.Family = w
	}
	if p.family != IP && p.family != IP6 && p.family != Inet {
		p.fail(t.Pos, "family %s has no tproxy; write it in a table of family ip, ip6 or inet", p.family)
	}
	p.transport(t, "tproxy")
	p.expect("to", "and an address or :PORT")
	fam := x.Family
	if fam == "" && p.family != Inet {
		fam = string(p.family)
	}
	if fam == "" && !p.is(":") {
		p.fail(p.peek().Pos, "the address is of one family; write tproxy ip to … or tproxy ip6 to …")
	}
	if !p.is(":") {
		x.Addr = p.natAddr(types[map[string]string{"ip": "ipv4_addr", "ip6": "ipv6_addr"}[fam]])
	}
	if p.take(":") {
		x.Port = p.result([]*Type{types["inet_service"]})
	}
	return x
}

func (p *parser) dup(t token) Stmt {
	d := &Dup{Pos: t.Pos}
	p.expect("to", "and an address")
	switch p.family {
	case IP, IP6:
		d.Addr = p.result([]*Type{types[map[Family]string{IP: "ipv4_addr", IP6: "ipv6_addr"}[p.family]]})
		if p.take("device") {
			d.Device = p.result([]*Type{types["iface_index"]})
		}
	case Netdev:
		d.Device = p.result([]*Type{types["iface_index"]})
	default:
		p.fail(t.Pos, "family %s has no dup; write it in a table of family ip, ip6 or netdev", p.family)
	}
	return d
}

func (p *parser) fwd(t token) Stmt {
	f := &Fwd{Pos: t.Pos}
	if p.family != Netdev {
		p.fail(t.Pos, "family %s has no fwd; write it in a table of family netdev", p.family)
	}
	if w := p.peek().text; w == "ip" || w == "ip6" {
		p.i++
		f.Family = w
	}
	p.expect("to", "and an adapter's name")
	if f.Family == "" {
		f.Device = p.result([]*Type{types["iface_index"]})
		return f
	}
	f.Addr = p.result([]*Type{types[map[string]string{"ip": "ipv4_addr", "ip6": "ipv6_addr"}[f.Family]]})
	p.expect("device", "and an adapter's name")
	f.Device = p.result([]*Type{types["iface_index"]})
	return f
}

// ctStatement reads what begins with ct and is no match.
func (p *parser) ctStatement(t token) Stmt {
	switch n := p.peek2(); n.text {
	case "count":
		p.i++
		return p.connLimit()
	case "helper", "timeout", "expectation":
		if i := p.i + 2; i < len(p.toks) && p.toks[i].text == "set" {
			p.i += 3
			return &ObjRef{Pos: t.Pos, Kind: "ct " + n.text, Name: p.text("the name of a ct " + n.text)}
		}
	}
	return nil
}

var comparisons = map[string]string{"==": "==", "eq": "==", "!=": "!=", "ne": "!=", "<": "<", "lt": "<", ">": ">", "gt": ">",
	"<=": "<=", "le": "<=", ">=": ">=", "ge": ">=", "!": "!"}

// matchOrMangle reads a comparison, a look-up of a verdict, or the setting of a
// field.
func (p *parser) matchOrMangle(t token) Stmt {
	left := p.expression()
	at := p.peek()
	switch {
	case p.take("vmap"):
		v := &VMap{Pos: t.Pos, Key: left}
		if p.is("@") {
			ref, s := p.setRef(typesOf(left))
			if s.Data == nil || s.Data[0] != types["verdict"] {
				p.fail(ref.Pos, "%s is not a map to verdicts", ref.Name)
			}
			v.Set = ref
		} else {
			v.Set = p.anon(setTypes{key: typesOf(left), data: []*Type{types["verdict"]}})
		}
		return v
	case p.take("map"):
		p.fail(at.Pos, "a map gives a value, which nothing uses here; write vmap for verdicts, or set FIELD to … map")
	case p.take("set"):
		return p.mangle(t, left)
	}
	m := &Match{Pos: t.Pos, Left: left}
	if op, ok := comparisons[at.text]; ok && (at.kind == sign || at.kind == word) {
		p.i++
		m.Op = op
	}
	if at := p.peek(); at.kind == newline || at.kind == eof {
		p.fail(at.Pos, "the line ends where a value should be compared with %s", exprText(left))
	}
	if k, ok := left.(*Ct); ok && k.Key.only {
		p.fail(t.Pos, "ct %s can be set, not compared", k.Key.name)
	}
	ts := typesOf(left)
	if f, ok := left.(*Fib); ok && f.Result != "type" {
		switch w := p.peek().text; {
		case w == "exists" || w == "missing":
			ts = []*Type{types["boolean"]}
		case w != "" && digit(w[0]):
			ts = []*Type{sized(types["integer"], 32)}
		}
	}
	switch {
	case p.is("@"):
		m.Right, _ = p.setRef(ts)
	case p.is("{"):
		m.Right = p.anon(setTypes{key: ts})
	case len(ts) == 1 && ts[0] != nil && ts[0].bitmask:
		p.bitmask(m, ts[0])
	default:
		m.Right = p.values(ts)
	}
	if _, isSet := setOf(m.Right); isSet && m.Op != "" && m.Op != "!=" && m.Op != "==" {
		p.fail(at.Pos, "a set has no order; write == or !=")
	}
	if m.Op == "!" && (len(ts) != 1 || ts[0] == nil || !ts[0].bitmask) {
		p.fail(at.Pos, "! tells that bits are not set, and this has no bits; write !=")
	}
	if _, ranged := m.Right.(*Range); ranged && m.Op != "" && m.Op != "!=" && m.Op != "==" {
		p.fail(at.Pos, "a range has no order; write == or !=")
	}
	p.learn(t.Pos, m)
	return m
}

// setOf reports whether an expression is a set.
func setOf(e Expr) (Expr, bool) {
	switch e.(type) {
	case *Anon, *SetRef:
		return e, true
	}
	return e, false
}

// bitmask reads the right side of a comparison of bits: a list, or VALUE / MASK.
func (p *parser) bitmask(m *Match, t *Type) {
	v := p.flagList(t)
	if p.take("/") {
		mask := p.flagList(t)
		m.Left = &Binary{"&", m.Left, mask}
		if m.Op == "" {
			m.Op = "=="
		}
	}
	m.Right = v
}

func (p *parser) mangle(t token, target Expr) Stmt {
	m := &Mangle{Pos: t.Pos, Target: target}
	can := true
	switch x := target.(type) {
	case *Payload:
	case *Exthdr:
		can = x.Field != nil && x.Kind == "tcp option"
	case *Meta:
		can = x.Key.set
	case *Ct:
		can = x.Key.set
	default:
		can = false
	}
	if !can {
		p.fail(t.Pos, "%s cannot be set; fields of headers, meta mark, priority, pkttype and nftrace, and ct mark, zone, label and event can", exprText(target))
	}
	if _, ok := target.(*Exthdr); ok && p.take("rt") {
		p.expect("mtu", "of rt")
		m.Value = &Rt{Key: "mtu"}
		return m
	}
	ts := []*Type{target.typ()}
	at := p.peek()
	m.Value = p.result(ts)
	if v := m.Value.typ(); v != nil && !compatible(ts[0], v) {
		p.fail(at.Pos, "%s is of type %s, but %s is of type %s", exprText(m.Value), typeName(v), exprText(target), typeName(ts[0]))
	}
	if _, ranged := m.Value.(*Range); ranged {
		p.fail(at.Pos, "a range is not one value")
	}
	if _, prefix := m.Value.(*Prefix); prefix {
		p.fail(at.Pos, "a prefix is not one value")
	}
	return m
}

// compatible reports whether a value of type b can be put where a type a is.
func compatible(a, b *Type) bool {
	if a.Name == b.Name {
		return true
	}
	return b.Name == "integer" || a.Name == "integer" || b.Name == "raw" || a.Name == "raw"
}

// setBlock reads what a set or map has.
func (p *parser) setBlock(s *Set, isMap bool) {
	open := p.peek()
	p.block("the set", func() { p.setItem(s) })
	switch {
	case s.Key == nil:
		p.fail(open.Pos, "set %s has no type; write type … or typeof …", s.Name)
	case isMap && !s.IsMap():
		p.fail(open.Pos, "map %s leads nowhere; write type KEY : VALUE", s.Name)
	case !isMap && s.IsMap():
		p.fail(open.Pos, "set %s has a type with values; write map %s", s.Name, s.Name)
	}
	if s.Timeout != 0 && !s.Flag("timeout") {
		s.Flags = append(s.Flags, "timeout")
	}
	order := []string{"constant", "dynamic", "interval", "timeout"}
	slices.SortFunc(s.Flags, func(a, b string) int { return slices.Index(order, a) - slices.Index(order, b) })
	s.Flags = slices.Compact(s.Flags)
}

func (p *parser) setItem(s *Set) {
	t := p.peek()
	words := []string{"type", "typeof", "flags", "timeout", "gc-interval", "size", "policy", "auto-merge", "elements", "comment", "counter", "quota", "limit", "ct"}
	switch p.oneOf("part of a set", words...) {
	case "type":
		s.Key = p.typeList()
		if p.take(":") {
			if w := p.peek().text; w == "counter" || w == "quota" || w == "limit" || w == "synproxy" {
				p.i++
				s.Object = w
			} else {
				p.take("interval")
				s.Data = p.typeList()
			}
		}
	case "typeof":
		s.Typeof = p.expression()
		s.Key = typesOf(s.Typeof)
		if p.take(":") {
			switch w := p.peek().text; w {
			case "verdict":
				p.i++
				s.Data = []*Type{types["verdict"]}
			case "counter", "quota", "limit", "synproxy":
				p.i++
				s.Object = w
			default:
				p.take("interval")
				s.TypeofData = p.expression()
				s.Data = typesOf(s.TypeofData)
			}
		}
		for _, k := range s.Key {
			if k == nil || size(k.Bits) == 0 && k.form != text {
				p.fail(t.Pos, "the type has no size")
			}
		}
		p.ctx = context{}
	case "flags":
		s.Flags = append(s.Flags, p.words("a set's flag", "constant", "interval", "timeout", "dynamic")...)
	case "timeout":
		s.Timeout = p.duration("a timeout")
	case "gc-interval":
		s.GC = p.duration("a time")
	case "size":
		s.Size = p.number("a size", 1<<32-1)
	case "policy":
		s.Policy = p.oneOf("a policy of sets", "performance", "memory")
	case "auto-merge":
		s.AutoMerge = true
	case "comment":
		s.Comment = p.comment()
	case "elements":
		p.expect("=", "and { … }")
		if s.Key == nil {
			p.fail(t.Pos, "elements before the set's type; write the type first")
		}
		if p.is("*") {
			p.fail(p.peek().Pos, "* is not a set of elements")
		}
		s.Elems = append(s.Elems, p.elements(s.types())...)
	case "counter":
		s.Stmts = append(s.Stmts, p.counter())
	case "quota":
		s.Stmts = append(s.Stmts, p.quota())
	case "limit":
		p.expect("rate", "and a rate such as 10/second")
		s.Stmts = append(s.Stmts, p.limit())
	case "ct":
		s.Stmts = append(s.Stmts, p.connLimit())
	}
	p.end(true)
}

// typeList reads names of types with dots between them.
func (p *parser) typeList() (all []*Type) {
	for {
		t := p.next()
		x := types[t.text]
		switch t.text {
		case "counter", "quota", "limit", "raw", "date", "hour", "day":
			x = nil
		}
		if x == nil || t.kind != word {
			names := slices.DeleteFunc(sortedKeys(types), func(s string) bool {
				return slices.Contains([]string{"counter", "quota", "limit", "raw"}, s)
			})
			p.fail(t.Pos, "there is no type %v%s", t, mean(t.text, names, "", "write "+either([]string{"ipv4_addr", "ipv6_addr", "inet_service", "ifname", "mark"})))
		}
		if x.Name == "integer" || x.Name == "string" {
			p.fail(t.Pos, "type %s has no size of its own; write typeof and a field", x.Name)
		}
		all = append(all, x)
		if !p.take(".") {
			return all
		}
	}
}

func exprText(e Expr) string {
	var b strings.Builder
	(&printer{w: &b, o: &Options{}}).expr(e)
	return b.String()
}

// StmtText is a statement as it is written.
func StmtText(s Stmt) string {
	var b strings.Builder
	(&printer{w: &b, o: &Options{}}).stmt(s)
	return b.String()
}
