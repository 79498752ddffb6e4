package expr

import (
	"errors"
	"fmt"

	"github.com/towpath/towpath/capture/bpf"
)

// A block is a node of the graph that a condition is lowered to: a test with
// two ways out, a register that is set, a search along a chain, or the end.
// The graph has no cycles.
type block struct {
	kind blockKind
	rel  uint16
	a, b *value
	reg  uint32 // that becomes a
	far  *chain
	t, f *block // where it goes on; f is nil but for tests and chains
	ret  uint32 // of the end

	preds int     // how many blocks lead here
	mark  int     // the latest walk that came by
	label *label  // where its code begins
	entry *regs   // what the registers hold before it
	known factMap // what holds before it
}

type blockKind uint8

const (
	bTest blockKind = iota
	bSet
	bChain
	bEnd
)

// A graph is a program in the making.
type graph struct {
	in     intern
	regs   uint32 // registers of the condition; scratch memory behind them is free
	root   *block
	accept *block
	reject *block
	nodes  int
	walk   int

	asked  map[*value]bool // values that the optimizer remembers facts of, if true
	budget int             // how much it may still remember
}

// blocksMax bounds what is optimized and emitted. A program of the longest
// length has fewer.
const blocksMax = 4 * bpf.MaxLen

func newGraph(g *generator, c *cond) *graph {
	gr := &graph{in: g.in, regs: g.regs, accept: &block{kind: bEnd, ret: g.conf.Snaplen}, reject: &block{kind: bEnd}}
	gr.root = gr.lower(c, gr.accept, gr.reject)
	return gr
}

// lower makes blocks of c, which go on to t if it holds and to f otherwise.
func (gr *graph) lower(c *cond, t, f *block) *block {
	if gr.nodes > blocksMax {
		return f
	}
	switch c.op {
	case cTrue:
		return t
	case cFalse:
		return f
	case cAnd:
		return gr.lower(c.x, gr.lower(c.y, t, f), f)
	case cOr:
		return gr.lower(c.x, t, gr.lower(c.y, t, f))
	case cNot:
		return gr.lower(c.x, f, t)
	}
	gr.nodes++
	switch c.op {
	case cSet:
		return &block{kind: bSet, reg: c.reg, a: c.a, t: t}
	case cChain:
		return &block{kind: bChain, far: c.far, t: t, f: f}
	}
	return &block{kind: bTest, rel: c.rel, a: c.a, b: c.b, t: t, f: f}
}

// order returns the blocks that can be reached, each behind all that lead to it,
// and counts their predecessors.
func (gr *graph) order() []*block {
	gr.walk++
	var post []*block
	var visit func(b *block)
	visit = func(b *block) {
		if b.mark == gr.walk {
			b.preds++
			return
		}
		b.mark, b.preds = gr.walk, 1
		if b.f != nil {
			visit(b.f)
		}
		if b.t != nil {
			visit(b.t)
		}
		post = append(post, b)
	}
	visit(gr.root)
	for i, j := 0, len(post)-1; i < j; i, j = i+1, j-1 {
		post[i], post[j] = post[j], post[i]
	}
	return post
}

// clear sets registers to 0 at the start that may be read before they are set.
// Machines need not clear their memory, and the kernel insists on it.
func (gr *graph) clear() {
	order := gr.order()
	set := map[*block]uint32{gr.root: 0} // the registers set on every way here
	missing := uint32(0)
	for _, b := range order {
		have := set[b]
		for r := uint32(0); r < gr.regs; r++ {
			if have>>r&1 == 0 && (b.a.uses(r) || b.b.uses(r) || b.far != nil && b.far.base.reg.uses(r)) {
				missing |= 1 << r
			}
		}
		if b.kind == bSet {
			have |= 1 << b.reg
		}
		for _, next := range []*block{b.t, b.f} {
			if next == nil {
				continue
			}
			if old, ok := set[next]; ok {
				set[next] = old & have
			} else {
				set[next] = have
			}
		}
	}
	for r := uint32(0); r < gr.regs; r++ {
		if missing>>r&1 != 0 {
			gr.root = &block{kind: bSet, reg: r, a: gr.in.konst(0), t: gr.root}
		}
	}
}

// regs are the machine's registers: what A and X hold, or nil. A may also be
// known as alias.
type regs struct{ a, alias, x *value }

// meet is what holds on both ways.
func (r *regs) meet(s *regs) *regs {
	m := *r
	if m.a != s.a && m.a != s.alias {
		m.a = nil
	}
	if m.alias != s.a && m.alias != s.alias {
		m.alias = nil
	}
	if m.x != s.x {
		m.x = nil
	}
	return &m
}

// A label is a place in the code, or another name of one.
type label struct {
	at      int
	instead *label
}

// place is the label that l stands for.
func (l *label) place() *label {
	for l.instead != nil {
		l = l.instead
	}
	return l
}

// A line is an instruction and where it jumps.
type line struct {
	ins  bpf.Instruction
	t, f *label // f is nil for an unconditional jump, both for no jump
	// longT and longF say that the distance is too long for a conditional
	// jump, which then jumps to an unconditional one right behind it.
	longT, longF bool
	gone         bool // the same code stands further on
}

var errTooComplex = errors.New("the arithmetic is too complex: more scratch memory is needed than there is")

// An emitter writes code.
type emitter struct {
	in    intern
	lines []line
	marks map[int][]*label // before which lines labels stand
	now   regs
	temp  uint32 // the next free word of scratch memory
	err   error
}

// emit lays the blocks out and makes instructions of them.
func (gr *graph) emit() (bpf.Program, error) {
	if gr.nodes > blocksMax {
		return nil, fmt.Errorf("the expression needs more than %d instructions", bpf.MaxLen)
	}
	gr.clear()
	e := &emitter{in: gr.in, marks: map[int][]*label{}, temp: gr.regs}
	order := gr.order()
	// The ends stand last.
	var blocks []*block
	for _, b := range order {
		b.label, b.entry = new(label), nil
		if b.kind != bEnd {
			blocks = append(blocks, b)
		}
	}
	for _, b := range []*block{gr.accept, gr.reject} {
		if b.mark == gr.walk {
			blocks = append(blocks, b)
		}
	}
	gr.root.entry = new(regs)
	starts := make([]int, len(blocks)+1)
	for i, b := range blocks {
		starts[i] = len(e.lines)
		e.mark(b.label)
		e.now = *b.entry
		switch b.kind {
		case bEnd:
			e.op(bpf.ClassRET|bpf.SrcK, b.ret)
			continue
		case bSet:
			e.set(b.reg, b.a)
			if blocks[i+1] != b.t {
				e.jump(b.t.label)
			}
		case bTest:
			e.test(b)
		case bChain:
			e.chain(b.far, b.t.label, b.f.label)
		}
		for _, next := range []*block{b.t, b.f} {
			if next == nil {
				continue
			}
			now := e.now
			if next.entry == nil {
				next.entry = &now
			} else {
				next.entry = next.entry.meet(&now)
			}
		}
		if len(e.lines) > 4*bpf.MaxLen {
			return nil, fmt.Errorf("the expression needs more than %d instructions", bpf.MaxLen)
		}
	}
	if e.err != nil {
		return nil, e.err
	}
	starts[len(blocks)] = len(e.lines)
	e.merge(blocks, starts)
	return e.resolve()
}

// merge leaves out blocks whose code stands once more further on. They may test
// other values than those there, if these are in the same register.
func (e *emitter) merge(blocks []*block, starts []int) {
	same := map[string]*label{}
	for i := len(blocks) - 1; i >= 0; i-- {
		lines := e.lines[starts[i]:starts[i+1]]
		if blocks[i].kind != bTest {
			continue
		}
		var key []byte
		for _, l := range lines {
			key = fmt.Appendf(key, "%x %x ", l.ins.Op, l.ins.K)
		}
		jump := lines[len(lines)-1]
		key = fmt.Appendf(key, "%p %p", jump.t.place(), jump.f.place())
		other := same[string(key)]
		falls := i > 0 && e.lines[starts[i]-1].t == nil // from the block before
		if other == nil || falls {
			same[string(key)] = blocks[i].label
			continue
		}
		blocks[i].label.instead = other
		for j := range lines {
			lines[j].gone = true
		}
	}
}

func (e *emitter) mark(l *label) { e.marks[len(e.lines)] = append(e.marks[len(e.lines)], l) }

func (e *emitter) op(op uint16, k uint32) {
	e.lines = append(e.lines, line{ins: bpf.Instruction{Op: op, K: k}})
}

func (e *emitter) jump(to *label) {
	e.lines = append(e.lines, line{ins: bpf.Instruction{Op: bpf.ClassJMP | bpf.JmpA}, t: to})
}

func (e *emitter) branch(op uint16, k uint32, t, f *label) {
	e.lines = append(e.lines, line{ins: bpf.Instruction{Op: bpf.ClassJMP | op, K: k}, t: t, f: f})
}

// scratch takes a word of scratch memory.
func (e *emitter) scratch() uint32 {
	if e.temp >= bpf.MemWords {
		e.err = errTooComplex
	}
	e.temp++
	return e.temp - 1
}

var loadSizes = map[uint8]uint16{1: bpf.SizeB, 2: bpf.SizeH, 4: bpf.SizeW}

// needsX reports whether computing v in A changes X.
func needsX(v *value) bool {
	if v == nil {
		return false
	}
	switch v.op {
	case vConst, vLen, vReg:
		return false
	case vHdr:
		return true
	case vLoad:
		return v.a != nil
	case vNeg:
		return needsX(v.a)
	}
	return !v.b.isConst() || needsX(v.a)
}

// simple reports whether v can be loaded into X without A.
func (e *emitter) simple(v *value) bool {
	switch v.op {
	case vConst, vLen, vReg, vHdr:
		return true
	}
	return e.now.x == v
}

// toA computes v in A.
func (e *emitter) toA(v *value) {
	if e.now.a == v || e.now.alias == v {
		return
	}
	switch {
	case v.op == vConst:
		e.op(bpf.ClassLD|bpf.ModeIMM, v.k)
	case e.now.x == v:
		e.op(bpf.ClassMISC|bpf.MiscTXA, 0)
	case v.op == vLen:
		e.op(bpf.ClassLD|bpf.SizeW|bpf.ModeLEN, 0)
	case v.op == vReg:
		e.op(bpf.ClassLD|bpf.ModeMEM, v.k)
	case v.op == vHdr:
		e.toX(v)
		e.op(bpf.ClassMISC|bpf.MiscTXA, 0)
	case v.op == vLoad && v.a == nil:
		e.op(bpf.ClassLD|bpf.ModeABS|loadSizes[v.size], v.k)
	case v.op == vLoad:
		e.toX(v.a)
		e.op(bpf.ClassLD|bpf.ModeIND|loadSizes[v.size], v.k)
	case v.op == vNeg:
		e.toA(v.a)
		e.op(bpf.ClassALU|bpf.AluNeg, 0)
	case v.b.isConst():
		e.toA(v.a)
		e.op(bpf.ClassALU|aluOps[v.op]|bpf.SrcK, v.b.k)
	default:
		a, b := v.a, v.b
		switch v.op {
		case vAdd, vMul, vOr, vAnd, vXor:
			if !e.simple(b) && e.simple(a) {
				a, b = b, a
			}
		}
		e.pair(a, b)
		e.op(bpf.ClassALU|aluOps[v.op]|bpf.SrcX, 0)
	}
	e.now.a, e.now.alias = v, nil
}

// toX computes v in X.
func (e *emitter) toX(v *value) {
	if e.now.x == v {
		return
	}
	switch {
	case e.now.a == v || e.now.alias == v:
		e.op(bpf.ClassMISC|bpf.MiscTAX, 0)
	case v.op == vConst:
		e.op(bpf.ClassLDX|bpf.ModeIMM, v.k)
	case v.op == vLen:
		e.op(bpf.ClassLDX|bpf.SizeW|bpf.ModeLEN, 0)
	case v.op == vReg:
		e.op(bpf.ClassLDX|bpf.ModeMEM, v.k)
	case v.op == vHdr:
		e.op(bpf.ClassLDX|bpf.SizeB|bpf.ModeMSH, v.k)
	default:
		e.toA(v)
		e.op(bpf.ClassMISC|bpf.MiscTAX, 0)
	}
	e.now.x = v
}

// pair computes a in A and b in X.
func (e *emitter) pair(a, b *value) {
	switch {
	case e.now.x == b && (!needsX(a) || e.now.a == a || e.now.alias == a):
		e.toA(a)
	case e.simple(b) && b.op != vConst && e.now.x != b, b.isConst():
		e.toA(a)
		e.toX(b)
	case !needsX(a):
		e.toX(b)
		e.toA(a)
	default:
		keep := e.scratch()
		e.toA(b)
		e.op(bpf.ClassST, keep)
		e.toA(a)
		e.op(bpf.ClassLDX|bpf.ModeMEM, keep)
		e.now.x = b
		e.temp--
	}
}

// set computes v and keeps it in register r.
func (e *emitter) set(r uint32, v *value) {
	e.toA(v)
	e.op(bpf.ClassST, r)
	if e.now.x.uses(r) {
		e.now.x = nil
	}
	if v.uses(r) {
		e.now.a = nil
	}
	e.now.alias = e.in.reg(r)
}

// test compares and branches.
func (e *emitter) test(b *block) {
	t, f := b.t.label, b.f.label
	switch {
	case !b.b.isConst():
		e.pair(b.a, b.b)
		e.branch(b.rel|bpf.SrcX, 0, t, f)
	case b.rel == bpf.JmpEq && b.b.k == 0 && b.a.op == vAnd && b.a.b.isConst() && e.now.a != b.a:
		e.toA(b.a.a)
		e.branch(bpf.JmpSet, b.a.b.k, f, t)
	default:
		e.toA(b.a)
		e.branch(b.rel, b.b.k, t, f)
	}
}

// IPv6's next headers that say what follows them (RFC 8200, RFC 4302).
const (
	nextHopByHop     = 0
	nextRouting      = 43
	nextNone         = 59
	nextDestinations = 60
)

// chain searches a protocol. A is what follows, X where it begins, from the IP
// header on. Every turn makes X larger, and loads end the program when it is
// behind the packet.
func (e *emitter) chain(c *chain, t, f *label) {
	loop, step, ah := new(label), new(label), new(label)
	k := c.base.k
	next := e.in.load(1, k+9, c.base.reg)
	if c.v6 {
		next = e.in.load(1, k+6, c.base.reg)
	}
	start := e.in.konst(40)
	switch {
	case c.v6 && c.base.reg != nil:
		start = e.in.bin(vAdd, c.base.reg, start)
	case !c.v6 && c.base.reg == nil:
		start = e.in.hdr(k)
	case !c.v6:
		n := e.in.bin(vLsh, e.in.bin(vAnd, e.in.load(1, k, c.base.reg), e.in.konst(15)), e.in.konst(2))
		start = e.in.bin(vAdd, n, c.base.reg)
	}
	e.pair(next, start)
	keep := e.scratch()
	skip := func(plus, times uint32) { // over a header whose second byte is its length
		e.op(bpf.ClassLD|bpf.ModeIND|bpf.SizeB, k)
		e.op(bpf.ClassST, keep)
		e.op(bpf.ClassLD|bpf.ModeIND|bpf.SizeB, k+1)
		e.op(bpf.ClassALU|bpf.AluAdd, plus)
		e.op(bpf.ClassALU|bpf.AluMul, times)
		e.op(bpf.ClassALU|bpf.AluAdd|bpf.SrcX, 0)
		e.op(bpf.ClassMISC|bpf.MiscTAX, 0)
		e.op(bpf.ClassLD|bpf.ModeMEM, keep)
		e.jump(loop)
	}
	els := func(n uint32, to *label) {
		next := new(label)
		e.branch(bpf.JmpEq, n, to, next)
		e.mark(next)
	}
	e.mark(loop)
	els(c.proto, t)
	els(nextNone, f)
	if c.v6 {
		els(nextHopByHop, step)
		els(nextDestinations, step)
		els(nextRouting, step)
		els(protoFragment, step)
	}
	e.branch(bpf.JmpEq, protoAH, ah, f)
	if c.v6 {
		e.mark(step)
		skip(1, 8)
	}
	e.mark(ah)
	skip(2, 4)
	e.temp--
	e.now = regs{}
}

// resolve finds the distances of jumps, and makes long ones possible.
func (e *emitter) resolve() (bpf.Program, error) {
	for {
		at := 0
		for i := range e.lines {
			for _, l := range e.marks[i] {
				l.at = at
			}
			at += e.lines[i].length()
		}
		if at > bpf.MaxLen {
			return nil, fmt.Errorf("the expression needs %d instructions; a program has at most %d", at, bpf.MaxLen)
		}
		again := false
		at = 0
		for i := range e.lines {
			l := &e.lines[i]
			if l.f != nil && !l.gone {
				if !l.longT && l.t.place().at-at-1 > 255 {
					l.longT, again = true, true
				}
				if !l.longF && l.f.place().at-at-1 > 255 {
					l.longF, again = true, true
				}
			}
			at += l.length()
		}
		if !again {
			break
		}
	}
	var prog bpf.Program
	for i := range e.lines {
		l := &e.lines[i]
		next := len(prog) + 1
		ins := l.ins
		switch {
		case l.gone:
		case l.t == nil:
			prog = append(prog, ins)
		case l.f == nil:
			ins.K = uint32(l.t.place().at - next)
			prog = append(prog, ins)
		default:
			far := func(to *label) { // the jump behind
				at := len(prog) + 1
				prog = append(prog, bpf.Instruction{Op: bpf.ClassJMP | bpf.JmpA, K: uint32(to.at - at)})
			}
			prog = append(prog, ins)
			p := len(prog) - 1
			if l.longT {
				prog[p].Jt = 0
				far(l.t.place())
			} else {
				prog[p].Jt = uint8(l.t.place().at - next)
			}
			if l.longF {
				prog[p].Jf = uint8(len(prog) - next)
				far(l.f.place())
			} else {
				prog[p].Jf = uint8(l.f.place().at - next)
			}
		}
	}
	return prog, nil
}

// length is how many instructions a line becomes.
func (l *line) length() int {
	if l.gone {
		return 0
	}
	n := 1
	if l.longT {
		n++
	}
	if l.longF {
		n++
	}
	return n
}
