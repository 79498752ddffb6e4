package expr

import (
	"fmt"
	"strings"

	"github.com/towpath/towpath/capture/bpf"
)

// An Explanation is what an expression says about a packet, part by part.
type Explanation struct {
	// Matched is the verdict, that of a program that is not optimized.
	Matched bool
	// Stopped says why the program ended early, or is "": then the packet is
	// refused whatever the rest of the expression says.
	Stopped string
	Root    *Part
}

// A Part is a primitive, or an operator and what it joins.
type Part struct {
	Text     string // the primitive, with the qualifiers that it inherits; or "and", "or", "not"
	Pos, End int    // where it stands in the expression, in bytes
	Reached  bool   // whether it was looked at; it is not where the rest has decided already
	Matched  bool
	Why      string // of a primitive that was reached: what in the packet made it so
	Parts    []*Part
}

// Explain evaluates an expression for a packet, of which data are the captured
// bytes and length the length on the wire. It looks at the parts in the order
// in which a program does. What Linux knows beside a packet is not known here.
func Explain(expression string, c Config, data []byte, length int) (*Explanation, error) {
	g, root, err := compile(expression, c)
	if err != nil {
		return nil, err
	}
	e := &evaluation{data: data, length: uint32(length), in: g.in}
	x := &Explanation{}
	if r := e.cond(g.prologue(root.cond)); !r.ok && e.stopped == "" {
		e.stopped = "the headers before the packet are not those of 802.11: " + strings.Join(r.why, ", ")
	}
	x.Root = e.part(root)
	x.Stopped = e.stopped
	x.Matched = e.stopped == "" && x.Root.Matched
	return x, nil
}

// String returns a line for each part, those within others indented, with a
// mark for those that match.
func (x *Explanation) String() string {
	var b strings.Builder
	verdict := "does not match"
	if x.Matched {
		verdict = "matches"
	}
	b.WriteString(verdict)
	if x.Stopped != "" {
		b.WriteString(": " + x.Stopped)
	}
	b.WriteByte('\n')
	x.Root.append(&b, 1)
	return b.String()
}

func (p *Part) append(b *strings.Builder, depth int) {
	mark := "-"
	switch {
	case p.Reached && p.Matched:
		mark = "+"
	case !p.Reached:
		mark = " "
	}
	fmt.Fprintf(b, "%s%s %s", strings.Repeat("  ", depth), mark, p.Text)
	switch {
	case !p.Reached:
		b.WriteString(" (not looked at)")
	case p.Why != "":
		b.WriteString(": " + p.Why)
	}
	b.WriteByte('\n')
	for _, q := range p.Parts {
		q.append(b, depth+1)
	}
}

// An evaluation is a packet being looked at.
type evaluation struct {
	in      intern
	data    []byte
	length  uint32
	reg     [bpf.MemWords]uint32
	stopped string
}

// part evaluates a node, unless the evaluation has stopped.
func (e *evaluation) part(n *node) *Part {
	p := &Part{Pos: n.pos, End: n.end, Reached: e.stopped == ""}
	if n.op == nPrimitive {
		p.Text = n.text
		if p.Reached {
			r := e.cond(n.cond)
			p.Matched, p.Why = r.ok && e.stopped == "", strings.Join(r.why, "; ")
			if e.stopped != "" {
				p.Why = e.stopped
			}
		}
		return p
	}
	x := e.part(n.x)
	p.Parts = []*Part{x}
	if n.op == nNot {
		p.Text, p.Matched = "not", !x.Matched && e.stopped == ""
		return p
	}
	p.Text = "or"
	if n.op == nAnd {
		p.Text = "and"
	}
	if e.stopped == "" && x.Matched == (n.op == nAnd) {
		y := e.part(n.y)
		p.Parts = append(p.Parts, y)
		p.Matched = y.Matched
		return p
	}
	p.Parts = append(p.Parts, skipped(n.y))
	p.Matched = x.Matched
	return p
}

// skipped describes a node that is not looked at.
func skipped(n *node) *Part {
	p := &Part{Text: n.text, Pos: n.pos, End: n.end}
	switch n.op {
	case nAnd, nOr:
		p.Text = map[nodeOp]string{nAnd: "and", nOr: "or"}[n.op]
		p.Parts = []*Part{skipped(n.x), skipped(n.y)}
	case nNot:
		p.Text, p.Parts = "not", []*Part{skipped(n.x)}
	}
	return p
}

// A result is how a condition came out, and why.
type result struct {
	ok   bool
	why  []string
	deep int // how many tests held on the way: the more, the better it explains
}

// whyMax bounds the reasons that are given.
const whyMax = 3

// cond evaluates c as a program does.
func (e *evaluation) cond(c *cond) result {
	if e.stopped != "" {
		return result{}
	}
	switch c.op {
	case cTrue:
		return result{ok: true}
	case cFalse:
		return result{why: []string{"packets of this link type never do"}}
	case cNot:
		r := e.cond(c.x)
		r.ok = !r.ok
		return r
	case cAnd:
		x := e.cond(c.x)
		if !x.ok {
			return x
		}
		y := e.cond(c.y)
		y.deep += x.deep + 1
		if len(y.why) == 0 {
			y.why = x.why
		}
		return y
	case cOr:
		x := e.cond(c.x)
		if x.ok {
			return x
		}
		y := e.cond(c.y)
		switch {
		case y.ok || y.deep > x.deep:
			return y
		case y.deep < x.deep:
			return x
		}
		for _, w := range y.why {
			if len(x.why) < whyMax && !contains(x.why, w) {
				x.why = append(x.why, w)
			}
		}
		return x
	case cSet:
		if v, ok := e.value(c.a); ok {
			e.reg[c.reg] = v
		}
		return result{ok: true}
	case cChain:
		return e.chain(c.far)
	}
	a, ok := e.value(c.a)
	b, ok2 := e.value(c.b)
	if !ok || !ok2 {
		return result{}
	}
	holds := compare(c.rel, a, b)
	return result{ok: holds, why: []string{e.reason(c, a, b, holds)}}
}

func contains(list []string, w string) bool {
	for _, x := range list {
		if x == w {
			return true
		}
	}
	return false
}

// value computes v; ok is false if the program ends here.
func (e *evaluation) value(v *value) (uint32, bool) {
	if e.stopped != "" {
		return 0, false
	}
	switch v.op {
	case vConst:
		return v.k, true
	case vLen:
		return e.length, true
	case vReg:
		return e.reg[v.k], true
	case vHdr:
		b, ok := e.load(uint64(v.k), 1)
		return b & 15 * 4, ok
	case vLoad:
		at := uint64(v.k)
		if v.a != nil {
			i, ok := e.value(v.a)
			if !ok {
				return 0, false
			}
			at += uint64(i)
		}
		return e.load(at, int(v.size))
	}
	a, ok := e.value(v.a)
	if !ok {
		return 0, false
	}
	b := uint32(0)
	if v.b != nil {
		if b, ok = e.value(v.b); !ok {
			return 0, false
		}
	}
	x, ok := calc(v.op, a, b)
	if !ok {
		e.stopped = "a division by zero"
	}
	return x, ok
}

func (e *evaluation) load(at uint64, size int) (v uint32, ok bool) {
	switch n := uint64(len(e.data)); {
	case at >= bpf.AdOff && at < 1<<32:
		e.stopped = "what Linux knows beside the packet is not known here"
	case at+uint64(size) > n && at+uint64(size) <= uint64(e.length):
		e.stopped = fmt.Sprintf("%s not captured: only the first %d are", where(at, size), n)
	case at+uint64(size) > n:
		e.stopped = fmt.Sprintf("the packet ends before %s", where(at, size))
	default:
		for _, b := range e.data[at : at+uint64(size)] {
			v = v<<8 | uint32(b)
		}
		return v, true
	}
	return 0, false
}

// where names bytes of the packet.
func where(at uint64, size int) string {
	if size == 1 {
		return fmt.Sprintf("byte %d", at)
	}
	return fmt.Sprintf("bytes %d-%d", at, at+uint64(size)-1)
}

// name describes a value of a test.
func (e *evaluation) name(v *value) string {
	switch v.op {
	case vLen:
		return "the length"
	case vHdr:
		return fmt.Sprintf("the header's length at byte %d", v.k)
	case vLoad:
		at := uint64(v.k)
		if v.a != nil {
			i, _ := e.value(v.a)
			at += uint64(i)
		}
		return where(at, int(v.size))
	case vAnd:
		if v.b.isConst() {
			return fmt.Sprintf("%s with mask 0x%x", e.name(v.a), v.b.k)
		}
	}
	return "the value"
}

// number writes a number as whoever reads v may want it.
func number(v *value, n uint32) string {
	for v.op == vAnd {
		v = v.a
	}
	if v.op == vLoad && v.size == 4 {
		return fmt.Sprintf("0x%08x (%s)", n, dotted(n))
	}
	if n < 10 {
		return fmt.Sprint(n)
	}
	return fmt.Sprintf("%d (0x%x)", n, n)
}

// reason says how a test came out.
func (e *evaluation) reason(c *cond, a, b uint32, holds bool) string {
	is := fmt.Sprintf("%s is %s", e.name(c.a), number(c.a, a))
	if strings.HasPrefix(is, "bytes") {
		is = fmt.Sprintf("%s are %s", e.name(c.a), number(c.a, a))
	}
	k := number(c.a, b)
	switch {
	case c.rel == bpf.JmpEq && holds:
		return is
	case c.rel == bpf.JmpEq:
		return is + ", not " + k
	case c.rel == bpf.JmpSet && holds:
		return fmt.Sprintf("%s, with bits of 0x%x", is, b)
	case c.rel == bpf.JmpSet:
		return fmt.Sprintf("%s, with no bit of 0x%x", is, b)
	case c.rel == bpf.JmpGt && holds:
		return is + ", more than " + k
	case c.rel == bpf.JmpGt:
		return is + ", not more than " + k
	case holds:
		return is + ", at least " + k
	}
	return is + ", less than " + k
}

// chain walks headers as a program does.
func (e *evaluation) chain(c *chain) result {
	base := uint64(c.base.k)
	if c.base.reg != nil {
		r, _ := e.value(c.base.reg)
		base += uint64(r)
	}
	at, next := base+40, base+6
	if !c.v6 {
		b, ok := e.load(base, 1)
		if !ok {
			return result{}
		}
		at, next = base+uint64(b&15*4), base+9
	}
	seen := []string{}
	for {
		proto, ok := e.load(next, 1)
		if !ok {
			return result{}
		}
		seen = append(seen[max(0, len(seen)-8):], fmt.Sprint(proto))
		why := []string{"the headers are " + strings.Join(seen, ", ")}
		plus, times := uint64(1), uint64(8)
		switch {
		case proto == c.proto:
			return result{ok: true, why: why}
		case proto == nextNone:
			return result{why: why}
		case proto == protoAH:
			plus, times = 2, 4
		case c.v6 && (proto == nextHopByHop || proto == nextDestinations || proto == nextRouting || proto == protoFragment):
		default:
			return result{why: why}
		}
		length, ok := e.load(at+1, 1)
		if !ok {
			return result{}
		}
		next, at = at, at+(uint64(length)+plus)*times
	}
}
