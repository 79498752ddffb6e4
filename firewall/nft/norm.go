package nft

import (
	"bytes"
	"cmp"
	"slices"
	"strings"
)

// normalize returns a rule as nft lists it after it has been in the kernel, and
// how many sets without names it has. What a later match implies is left out,
// what an earlier one would be needed for is put in, and sets are in order.
func normalize(f Family, r *Rule) (*Rule, int, error) {
	n := &normalizer{family: f}
	for _, s := range r.Stmts {
		if err := n.add(s); err != nil {
			return nil, 0, err
		}
	}
	c := *r
	c.Stmts = merge(n.out)
	return &c, n.anons, nil
}

type normalizer struct {
	family Family
	out    []Stmt
	anons  int
	// What is known, and the match that said so, if it can still be left out.
	l3, l4       string
	l3dep, l4dep *Match
	icmp         bool // a match about the ICMP type has been
	icmpdep      *Match
}

func (n *normalizer) drop(m *Match) {
	if m != nil {
		n.out = slices.DeleteFunc(n.out, func(s Stmt) bool { return s == Stmt(m) })
	}
}

func (n *normalizer) add(s Stmt) error {
	switch s := s.(type) {
	case *Match:
		m, err := n.match(s)
		if err != nil {
			return err
		}
		n.uses(m.Left)
		n.out = append(n.out, m)
		n.learn(m)
		return nil
	case *VMap:
		v := *s
		n.uses(v.Key)
		var err error
		v.Set, err = n.set(v.Set, typesOf(v.Key), true)
		n.out = append(n.out, &v)
		n.l3dep, n.l4dep = nil, nil
		return err
	case *Mangle:
		c := *s
		n.uses(c.Target)
		n.uses(c.Value)
		v, err := n.value(c.Value)
		if err != nil {
			return err
		}
		c.Value = v
		n.out = append(n.out, &c)
	case *NAT:
		c := *s
		var err error
		if c.Addr != nil {
			if c.Addr, err = n.value(c.Addr); err != nil {
				return err
			}
		}
		if c.Port != nil {
			if c.Port, err = n.value(c.Port); err != nil {
				return err
			}
		}
		n.out = append(n.out, &c)
	case *ObjRef:
		c := *s
		if c.Map != nil {
			v, err := n.value(c.Map)
			if err != nil {
				return err
			}
			c.Map = v.(*MapOf)
		}
		n.out = append(n.out, &c)
	case *DynSet:
		n.uses(s.Key)
		n.out = append(n.out, s)
	case *Reject:
		n.reject(s)
		n.out = append(n.out, s)
	case *Counter:
		c := *s
		n.out = append(n.out, &c)
	default:
		n.out = append(n.out, s)
	}
	n.l3dep, n.l4dep, n.icmpdep = nil, nil, nil
	return nil
}

func (n *normalizer) value(e Expr) (Expr, error) {
	m, ok := e.(*MapOf)
	if !ok {
		return fold(e), nil
	}
	c := *m
	n.uses(c.Key)
	var err error
	c.Set, err = n.set(c.Set, typesOf(c.Key), true)
	return &c, err
}

// fold computes what constants behind each other make.
func fold(e Expr) Expr {
	b, ok := e.(*Binary)
	if !ok {
		return e
	}
	l := fold(b.L)
	inner, ok := l.(*Binary)
	if !ok {
		return &Binary{b.Op, l, b.R}
	}
	v, ok1 := inner.R.(*Value)
	w, ok2 := b.R.(*Value)
	merges := inner.Op == b.Op && (b.Op == "&" || b.Op == "|" || b.Op == "^")
	if !ok1 || !ok2 || !merges || len(v.Data) != len(w.Data) {
		return &Binary{b.Op, l, b.R}
	}
	return &Binary{b.Op, inner.L, &Value{Type: v.Type, Data: combine(b.Op, v.Data, w.Data)}}
}

// uses leaves out the matches that fields in e imply, and puts in those that
// nft puts in visibly.
func (n *normalizer) uses(e Expr) {
	switch e := e.(type) {
	case *Concat:
		for _, x := range e.Parts {
			n.uses(x)
		}
	case *Binary:
		n.uses(e.L)
	case *MapOf:
		n.uses(e.Key)
	case *Hash:
		if e.Of != nil {
			n.uses(e.Of)
		}
	case *Exthdr:
		if e.Kind == "exthdr" {
			n.network("ip6")
		}
	case *Payload:
		if e.Header != nil {
			n.payload(e)
		}
	}
}

func (n *normalizer) network(l3 string) {
	if n.l3dep != nil && n.l3 == l3 {
		n.drop(n.l3dep)
	}
	n.l3, n.l3dep = l3, nil
}

func (n *normalizer) transport(l4 string) {
	if n.l4dep != nil && n.l4 == l4 {
		n.drop(n.l4dep)
	}
	n.l4, n.l4dep = l4, nil
}

func (n *normalizer) payload(e *Payload) {
	switch h := e.Header.Name; h {
	case "ip", "ip6", "arp":
		n.network(h)
	case "ether", "vlan", "th":
	case "igmp":
		if n.family == Inet && n.l3 == "" {
			n.out = append(n.out, &Match{Left: &Meta{metaKeys["nfproto"]}, Op: "", Right: &Value{Type: types["nf_proto"], Data: []byte{2}}})
			n.l3 = "ip"
		}
		n.transport(h)
	case "icmp", "icmpv6":
		n.network(map[string]string{"icmp": "ip", "icmpv6": "ip6"}[h])
		n.transport(h)
		if echo(e) && !n.icmp {
			n.out = append(n.out, echoMatch(h))
			n.anons++
		}
		if m := n.icmpdep; m != nil && number(m.Right.(*Value).Data) == icmpTypes[h+" "+e.Field.Name] {
			n.drop(m)
		}
		n.icmpdep = nil
		n.icmp = n.icmp || e.Field.Name == "type" || echo(e)
	default:
		n.transport(h)
	}
}

// icmpTypes are the types of messages that have a field.
var icmpTypes = map[string]uint64{"icmp mtu": 3, "icmp gateway": 5, "icmpv6 mtu": 2, "icmpv6 packet-too-big": 2, "icmpv6 parameter-problem": 4}

// echo reports whether a field is one of echo messages.
func echo(e *Payload) bool { return e.Field.Name == "id" || e.Field.Name == "sequence" }

// echoMatch is the match that is needed in front of such fields.
func echoMatch(header string) *Match {
	h := headers[header]
	t := h.field("type").Type
	a, b := byte(0), byte(8)
	if header == "icmpv6" {
		a, b = 128, 129
	}
	return &Match{Left: &Payload{Header: h, Field: h.field("type")}, Right: &Anon{Elems: []*Elem{
		{Key: &Value{Type: t, Data: []byte{a}}}, {Key: &Value{Type: t, Data: []byte{b}}}}}}
}

func (n *normalizer) reject(s *Reject) {
	switch s.With {
	case "icmp":
		n.network("ip")
	case "icmpv6":
		n.network("ip6")
	case "tcp reset":
		switch {
		case n.family == IP || n.family == IP6:
			n.transport("tcp")
		case n.l4 == "":
			n.out = append(n.out, &Match{Left: &Meta{metaKeys["l4proto"]}, Right: &Value{Type: types["inet_proto"], Data: []byte{6}}})
		}
	}
}

// learn takes note of what a match says.
func (n *normalizer) learn(m *Match) {
	v, ok := m.Right.(*Value)
	if !ok || m.Op != "" && m.Op != "==" {
		return
	}
	num := number(v.Data)
	l3 := func(name string, elide bool) {
		if name == "" {
			return
		}
		n.l3 = name
		n.l3dep = nil
		if elide {
			n.l3dep = m
		}
	}
	l4 := func(elide bool) {
		n.l4 = ""
		for name, h := range headers {
			if h.Proto == num && h.Base == headers["tcp"].Base && name != "th" {
				n.l4 = name
			}
		}
		if n.l4 == "" {
			n.l4 = "other"
		}
		n.l4dep = nil
		if elide {
			n.l4dep = m
		}
	}
	byType := map[uint64]string{0x800: "ip", 0x86dd: "ip6", 0x806: "arp"}
	below := n.family == Bridge || n.family == Netdev
	switch e := m.Left.(type) {
	case *Meta:
		switch e.Key.name {
		case "l4proto":
			l4(true)
		case "nfproto":
			l3(map[uint64]string{2: "ip", 10: "ip6"}[num], n.family == Inet)
		case "protocol":
			l3(byType[num], n.family != Inet || n.l3 == byType[num])
		}
	case *Payload:
		switch {
		case e.Header == nil:
		case (e.Header.Name == "icmp" || e.Header.Name == "icmpv6") && e.Field.Name == "type":
			n.icmpdep = m
		case e.Header.Name == "ip" && e.Field.Name == "protocol":
			l4(n.family == IP)
		case e.Header.Name == "ip6" && e.Field.Name == "nexthdr":
			l4(n.family == IP6)
		case e.Header.Name == "ether" && e.Field.Name == "type":
			l3(byType[num], below)
		}
	}
}

// match writes a match the way nft lists it.
func (n *normalizer) match(m *Match) (*Match, error) {
	c := *m
	c.Left = fold(n.named(c.Left))
	if a, ok := c.Right.(*Anon); ok && c.Left != m.Left {
		c.Right = retype(a, c.Left)
	}
	switch r := c.Right.(type) {
	case *Anon:
		if one := single(r); one != nil {
			c.Right = one
			if c.Op == "" && c.bits() {
				c.Op = "=="
			}
			if c.bits() {
				c.Op = map[string]string{"==": "", "!=": "!="}[c.Op]
			}
		} else {
			var err error
			if c.Right, err = n.set(r, typesOf(c.Left), false); err != nil {
				return nil, err
			}
		}
	case *Value:
		n.flags(&c, r)
		if c.Left != m.Left {
			c.Right = raw(c.Right, c.Left)
		}
	}
	if c.Op == "==" && !c.bits() {
		if _, computed := c.Left.(*Binary); !computed {
			c.Op = ""
		}
	}
	if _, computed := c.Left.(*Binary); computed && c.Op == "" {
		c.Op = "=="
	}
	return &c, nil
}

// retype gives the elements of a set the type of what they are compared with.
func retype(a *Anon, left Expr) *Anon {
	b := &Anon{Object: a.Object}
	for _, e := range a.Elems {
		c := *e
		c.Key = raw(e.Key, left)
		b.Elems = append(b.Elems, &c)
	}
	return b
}

// raw gives a value the type of what it is compared with.
func raw(v Expr, left Expr) Expr {
	x, ok := v.(*Value)
	t := left.typ()
	if !ok || t == nil || x.Type == t || t.bitmask || len(x.Data) != size(t.Bits) {
		return v
	}
	return &Value{Type: t, Data: x.Data}
}

// flags writes comparisons of masked values: those of bitmasks as lists, those
// of addresses as prefixes.
func (n *normalizer) flags(m *Match, v *Value) {
	b, ok := m.Left.(*Binary)
	if !ok || b.Op != "&" {
		return
	}
	mask, ok := b.R.(*Value)
	if !ok {
		return
	}
	zero := number(v.Data) == 0 && len(v.Data) <= 8
	switch {
	case m.bits() && zero && m.Op == "!=":
		m.Left, m.Op, m.Right = b.L, "", mask
	case m.bits() && zero && (m.Op == "==" || m.Op == ""):
		m.Left, m.Op, m.Right = b.L, "!", mask
	case m.bits():
	case (v.Type.form == ip4 || v.Type.form == ip6) && isPrefix(mask.Data) && (m.Op == "" || m.Op == "==" || m.Op == "!="):
		if l := prefixLen(mask.Data); l > 0 && bytes.Equal(masked(v.Data, l), v.Data) {
			m.Left, m.Right = b.L, Expr(&Prefix{v, l})
			if l == v.Type.Bits {
				m.Right = v
			}
			if m.Op == "==" {
				m.Op = ""
			}
		}
	}
}

func prefixLen(mask []byte) (n int) {
	for _, b := range mask {
		for b&0x80 != 0 {
			n++
			b <<= 1
		}
	}
	return n
}

func isPrefix(mask []byte) bool {
	return bytes.Equal(masked(bytes.Repeat([]byte{0xff}, len(mask)), prefixLen(mask)), mask)
}

// named turns raw bits into the field that they are, if nft can tell.
func (n *normalizer) named(e Expr) Expr {
	x, ok := e.(*Payload)
	if !ok || x.Header != nil {
		return e
	}
	h := headers["th"]
	switch {
	case x.Base == "th" && headers[n.l4] != nil:
		h = headers[n.l4]
		n.l4dep = nil
	case x.Base == "th":
	case x.Base == "nh" && (n.family == IP || n.family == IP6):
		h = headers[string(n.family)]
	default:
		return e
	}
	for _, f := range h.fields {
		if f.Offset == x.Offset && f.Bits == x.Bits && f.Bits%8 == 0 {
			return &Payload{Header: h, Field: f}
		}
	}
	return e
}

// single is the only element of a set that is no more than that.
func single(a *Anon) Expr {
	if len(a.Elems) != 1 || a.Object != "" {
		return nil
	}
	e := a.Elems[0]
	if len(e.Stmts) > 0 || e.Data != nil {
		return nil
	}
	switch e.Key.(type) {
	case *Any, *Concat:
		return nil
	}
	return e.Key
}

// set puts the elements of a set without a name in order.
func (n *normalizer) set(e Expr, key []*Type, isMap bool) (Expr, error) {
	a, ok := e.(*Anon)
	if !ok {
		return e, nil
	}
	n.anons++
	elems := a.Elems
	if len(key) == 1 && key[0] != nil && key[0].Bits > 0 && (key[0].form == ip4 || key[0].form == ip6) {
		elems = slices.Clone(elems)
	}
	elems, err := arrange(elems, key, intervals(elems), true, isMap || a.Object != "")
	if err != nil {
		return nil, err
	}
	return &Anon{Elems: elems, Object: a.Object}, nil
}

// intervals reports whether some element is one.
func intervals(elems []*Elem) bool {
	for _, e := range elems {
		switch k := e.Key.(type) {
		case *Prefix, *Range, *Any:
			return true
		case *Value:
			if k.Wild {
				return true
			}
		case *Concat:
			for _, x := range k.Parts {
				switch x.(type) {
				case *Prefix, *Range, *Any:
					return true
				}
			}
		}
	}
	return false
}

// bounds are the first and the last value of an expression.
func bounds(e Expr) (lo, hi []byte) {
	switch e := e.(type) {
	case *Value:
		lo, hi = pad(e), pad(e)
		if e.Wild {
			hi = slices.Clone(hi)
			for i := len(e.Data); i < len(hi); i++ {
				hi[i] = 0xff
			}
		}
	case *Prefix:
		lo, hi = e.Value.Data, slices.Clone(e.Value.Data)
		for i := range hi {
			hi[i] |= ^masked([]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, e.Len)[i]
		}
		if e.Value.Type.Bits%8 != 0 {
			hi[0] &= 0xff >> (8 - e.Value.Type.Bits%8)
		}
	case *Range:
		lo, hi = pad(e.Lo), pad(e.Hi)
	case *Any:
		lo = make([]byte, max(1, size(e.Type.Bits)))
		hi = bytes.Repeat([]byte{0xff}, max(1, size(e.Type.Bits)))
		if e.Type.Bits%8 != 0 {
			hi[0] &= 0xff >> (8 - e.Type.Bits%8)
		}
	}
	return lo, hi
}

// between is the shortest way to write the values from lo to hi.
func between(t *Type, lo, hi []byte) Expr {
	if bytes.Equal(lo, hi) {
		if t.form == text {
			lo = trimZeros(lo)
		}
		return &Value{Type: t, Data: lo}
	}
	if t.form == ip4 || t.form == ip6 || t.form == hexFull {
		mask := make([]byte, len(lo))
		for i := range mask {
			mask[i] = ^(lo[i] ^ hi[i])
		}
		if isPrefix(mask) {
			if n := prefixLen(mask); bytes.Equal(masked(lo, n), lo) && bytes.Equal(masked(hi, n), lo) {
				return &Prefix{&Value{Type: t, Data: lo}, n}
			}
		}
	}
	return &Range{&Value{Type: t, Data: lo}, &Value{Type: t, Data: hi}}
}

// arrange sorts the elements of a set. Of intervals, those that overlap or, if
// merging is asked for, touch become one; otherwise overlapping is an error.
func arrange(elems []*Elem, key []*Type, interval, mergeThem, isMap bool) ([]*Elem, error) {
	elems = slices.Clone(elems)
	if len(key) > 1 {
		for i, e := range elems {
			c := *e
			c.Key = shorten(e.Key)
			elems[i] = &c
		}
		if !interval {
			slices.SortStableFunc(elems, func(a, b *Elem) int { return cmp.Compare(sortKey(a.Key), sortKey(b.Key)) })
		}
		return unique(elems, isMap)
	}
	if !interval {
		slices.SortStableFunc(elems, func(a, b *Elem) int { return cmp.Compare(sortKey(a.Key), sortKey(b.Key)) })
		return unique(elems, isMap)
	}
	var rest []*Elem // *
	var out []*Elem
	for _, e := range elems {
		if _, any := e.Key.(*Any); any {
			rest = append(rest, e)
			continue
		}
		out = append(out, e)
	}
	less := func(a, b *Elem) int {
		al, ah := bounds(a.Key)
		bl, bh := bounds(b.Key)
		if c := bytes.Compare(al, bl); c != 0 {
			return c
		}
		return -bytes.Compare(ah, bh)
	}
	slices.SortStableFunc(out, less)
	joined := out[:0:0]
	for _, e := range out {
		lo, hi := bounds(e.Key)
		if k := len(joined) - 1; k >= 0 {
			plo, phi := bounds(joined[k].Key)
			overlap := bytes.Compare(lo, phi) <= 0
			same := bytes.Equal(lo, plo) && bytes.Equal(hi, phi)
			switch {
			case overlap && isMap && (!same || !mergeThem && exprOr(joined[k].Data) != exprOr(e.Data)):
				return nil, fault(e.Pos, "%s overlaps with %s, and it is not clear which value counts; write ranges that do not", exprText(e.Key), exprText(joined[k].Key))
			case overlap && same:
				continue
			case overlap && !mergeThem:
				return nil, fault(e.Pos, "%s overlaps with %s; write ranges that do not, or auto-merge in the set", exprText(e.Key), exprText(joined[k].Key))
			case !isMap && mergeThem && (overlap || follows(phi, lo)):
				if bytes.Compare(hi, phi) < 0 {
					hi = phi
				}
				c := *joined[k]
				if v, ok := c.Key.(*Value); ok && v.Wild || wild(e.Key) {
					break
				}
				c.Key = between(key[0], plo, hi)
				joined[k] = &c
				continue
			}
		}
		c := *e
		if !wild(e.Key) && lo != nil {
			c.Key = between(key[0], lo, hi)
		}
		joined = append(joined, &c)
	}
	return append(joined, rest...), nil
}

func exprOr(e Expr) string {
	if e == nil {
		return ""
	}
	return exprText(e)
}

func wild(e Expr) bool {
	v, ok := e.(*Value)
	return ok && v.Wild
}

// shorten writes the ranges in a concatenation as prefixes where they are some.
func shorten(e Expr) Expr {
	c, ok := e.(*Concat)
	if !ok {
		return e
	}
	n := &Concat{}
	for _, x := range c.Parts {
		if r, ok := x.(*Range); ok {
			x = between(r.Lo.Type, r.Lo.Data, r.Hi.Data)
		}
		n.Parts = append(n.Parts, x)
	}
	return n
}

// follows reports whether b is a + 1.
func follows(a, b []byte) bool {
	next := slices.Clone(a)
	for i := len(next) - 1; i >= 0; i-- {
		if next[i]++; next[i] != 0 {
			return bytes.Equal(next, b)
		}
	}
	return false
}

// sortKey is what nft sorts an element by: its value as a number. Texts are
// numbers with their first letter as the least; combined bits come first.
func sortKey(e Expr) string {
	switch e := e.(type) {
	case *Value:
		if e.Type.form == text {
			b := pad(e)
			if len(b) < 16 {
				b = append(slices.Clone(b), make([]byte, 16-len(b))...)
			}
			if e.Wild {
				return string(b)
			}
			b = slices.Clone(b)
			slices.Reverse(b)
			return string(b)
		}
		if e.Type.bitmask && strings.Contains(e.text(false, &Options{}), "|") {
			return ""
		}
		return string(e.Data)
	case *Prefix:
		return string(e.Value.Data)
	case *Range:
		return string(pad(e.Lo))
	case *Concat:
		// The bytes as they stand in memory, read as a number of this machine.
		var all []byte
		for _, x := range e.Parts {
			v, ok := x.(*Value)
			if !ok {
				return ""
			}
			b := slices.Clone(pad(v))
			if v.Type.hostOrder() {
				slices.Reverse(b)
			}
			all = append(all, b...)
		}
		slices.Reverse(all)
		return string(all)
	}
	return ""
}

// hostOrder reports whether the kernel has values of a type in its machine's
// order: those that are not from packets.
func (t *Type) hostOrder() bool {
	switch t.Name {
	case "mark", "ct_state", "ct_status", "uid", "gid", "classid", "realm", "devgroup", "fib_addrtype":
		return true
	}
	return false
}

// unique leaves equal elements out.
func unique(elems []*Elem, isMap bool) ([]*Elem, error) {
	seen := map[string]*Elem{}
	out := elems[:0:0]
	for _, e := range elems {
		k := exprText(e.Key)
		if first := seen[k]; first != nil {
			if isMap && exprOr(first.Data) != exprOr(e.Data) {
				return nil, fault(e.Pos, "%s has two values; write one", k)
			}
			continue
		}
		seen[k] = e
		out = append(out, e)
	}
	return out, nil
}

// merge puts matches of neighbouring fields together, lowest first, as nft does
// because it looks at them in one go.
func merge(stmts []Stmt) []Stmt {
	var run []*Match
	gone := map[*Match]bool{}
	behind := map[*Match][]*Match{}
	flush := func() {
		slices.SortStableFunc(run, func(a, b *Match) int {
			x, y := a.Left.(*Payload), b.Left.(*Payload)
			return cmp.Or(cmp.Compare(base(x), base(y)), cmp.Compare(offset(x), offset(y)))
		})
		var first *Match
		end, length := 0, 0
		for _, m := range run {
			x := m.Left.(*Payload)
			if first != nil && base(x) == base(first.Left.(*Payload)) && offset(x) == end && length+width(x) <= 32 {
				gone[m] = true
				behind[first] = append(behind[first], m)
				length += width(x)
				end += width(x)
				continue
			}
			first, end, length = m, offset(x)+width(x), width(x)
		}
		run = nil
	}
	for _, s := range stmts {
		m, ok := s.(*Match)
		if !ok {
			flush()
			continue
		}
		x, isField := m.Left.(*Payload)
		_, isValue := m.Right.(*Value)
		if isField && isValue && m.Op == "" && !m.bits() && offset(x)%8 == 0 && width(x)%8 == 0 {
			run = append(run, m)
		}
	}
	flush()
	var out []Stmt
	for _, s := range stmts {
		m, ok := s.(*Match)
		if ok && behind[m] != nil && m.Left.(*Payload).Header == headers["th"] {
			out = append(out, joinRaw(append([]*Match{m}, behind[m]...)))
			continue
		}
		if !ok || !gone[m] {
			out = append(out, s)
			if ok {
				for _, x := range behind[m] {
					out = append(out, x)
				}
			}
		}
	}
	return out
}

// joinRaw is matches of ports of some protocol as the raw bits that they are.
func joinRaw(ms []*Match) *Match {
	first := ms[0].Left.(*Payload)
	c := *ms[0]
	p := &Payload{Base: "th", Offset: offset(first)}
	var data []byte
	for _, m := range ms {
		p.Bits += width(m.Left.(*Payload))
		data = append(data, m.Right.(*Value).Data...)
	}
	c.Left, c.Right = p, &Value{Type: p.typ(), Data: data}
	return &c
}

func base(x *Payload) int {
	if x.Header != nil {
		return int(x.Header.Base)
	}
	return map[string]int{"ll": 0, "nh": 1, "th": 2, "ih": 3}[x.Base]
}

func offset(x *Payload) int {
	if x.Header != nil {
		return x.Field.Offset
	}
	return x.Offset
}

func width(x *Payload) int {
	if x.Header != nil {
		return x.Field.Bits
	}
	return x.Bits
}

// add puts elements into a named set.
func (s *Set) add(elems []*Elem, create bool) error {
	if len(elems) == 0 {
		return nil
	}
	interval := s.Flag("interval")
	for _, e := range elems {
		switch {
		case !interval && intervals([]*Elem{e}):
			return fault(e.Pos, "%s is more than one value, and set %s has single ones; write flags interval in the set", exprText(e.Key), s.Name)
		case e.Timeout != 0 && !s.Flag("timeout"):
			return fault(e.Pos, "set %s has no timeouts; write flags timeout in the set", s.Name)
		}
		if create && slices.ContainsFunc(s.Elems, func(x *Elem) bool { return exprText(x.Key) == exprText(e.Key) }) {
			return fault(e.Pos, "%s is in set %s already", exprText(e.Key), s.Name)
		}
	}
	all := slices.Clone(s.Elems)
	for _, e := range elems {
		c := *e
		for _, st := range s.Stmts {
			if len(e.Stmts) == 0 {
				c.Stmts = append(c.Stmts, copyStmt(st))
			}
		}
		all = append(all, &c)
	}
	all, err := arrange(all, s.Key, interval, s.AutoMerge, s.IsMap())
	if err != nil {
		return err
	}
	if s.Size != 0 && uint64(len(all)) > s.Size {
		return fault(elems[len(elems)-1].Pos, "set %s is for %d elements and would have %d", s.Name, s.Size, len(all))
	}
	s.Elems = all
	return nil
}

func copyStmt(s Stmt) Stmt {
	switch s := s.(type) {
	case *Counter:
		c := *s
		return &c
	case *Quota:
		c := *s
		return &c
	case *Limit:
		c := *s
		return &c
	}
	return s
}

// remove takes elements out of a named set.
func (s *Set) remove(elems []*Elem) error {
	for _, e := range elems {
		lo, hi := bounds(e.Key)
		i := slices.IndexFunc(s.Elems, func(x *Elem) bool {
			xl, xh := bounds(x.Key)
			return exprText(x.Key) == exprText(e.Key) || lo != nil && bytes.Equal(lo, xl) && bytes.Equal(hi, xh)
		})
		if i < 0 {
			return fault(e.Pos, "%s is not in set %s", exprText(e.Key), s.Name)
		}
		s.Elems = slices.Delete(slices.Clone(s.Elems), i, i+1)
	}
	return nil
}
