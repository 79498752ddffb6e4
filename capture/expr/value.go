package expr

import "github.com/towpath/towpath/capture/bpf"

// A value is a number that a program computes: unsigned, 32 bits wide. Values
// are interned, so that equal ones are the same pointer. They have no effects
// but one: a load from outside the packet, and a division by zero, end the
// program.
type value struct {
	op   valueOp
	size uint8  // of a load, in bytes: 1, 2 or 4
	k    uint32 // constant, offset, or number of a register
	a, b *value // operands; a is the index of a load, if it has one
}

type valueOp uint8

const (
	vConst valueOp = iota // k
	vLen                  // the packet's length on the wire
	vLoad                 // big-endian, at k or a+k
	vHdr                  // 4 × the low nibble of the byte at k: an IPv4 header's length
	vReg                  // register k
	vNeg                  // -a
	vAdd                  // and so on: a op b
	vSub
	vMul
	vDiv
	vMod
	vOr
	vAnd
	vXor
	vLsh
	vRsh
)

// aluOps are the instructions of operations.
var aluOps = map[valueOp]uint16{
	vAdd: bpf.AluAdd, vSub: bpf.AluSub, vMul: bpf.AluMul, vDiv: bpf.AluDiv, vMod: bpf.AluMod,
	vOr: bpf.AluOr, vAnd: bpf.AluAnd, vXor: bpf.AluXor, vLsh: bpf.AluLsh, vRsh: bpf.AluRsh,
}

func (v *value) isConst() bool { return v.op == vConst }

// uses reports whether v depends on register r.
func (v *value) uses(r uint32) bool {
	return v != nil && (v.op == vReg && v.k == r || v.a.uses(r) || v.b.uses(r))
}

// max is a bound of v.
func (v *value) max() uint32 {
	switch {
	case v.op == vConst:
		return v.k
	case v.op == vHdr:
		return 60
	case v.op == vLoad && v.size < 4 && v.k < bpf.LLOff:
		return 1<<(8*v.size) - 1
	case v.op == vAnd:
		return min(v.a.max(), v.b.max())
	case v.op == vRsh && v.b.isConst():
		return v.a.max() >> v.b.k
	case v.op == vAdd || v.op == vMul || v.op == vLsh && v.b.isConst() && v.b.k < 32:
		if x := wide(v.op, uint64(v.a.max()), uint64(v.b.max())); x < 1<<32 {
			return uint32(x)
		}
	}
	return 1<<32 - 1
}

// wide is op without overflow.
func wide(op valueOp, a, b uint64) uint64 {
	switch op {
	case vAdd:
		return a + b
	case vMul:
		return a * b
	}
	return a << b
}

// calc computes a op b; ok is false for a division by zero.
func calc(op valueOp, a, b uint32) (x uint32, ok bool) {
	switch op {
	case vAdd:
		return a + b, true
	case vSub:
		return a - b, true
	case vMul:
		return a * b, true
	case vDiv:
		if b == 0 {
			return 0, false
		}
		return a / b, true
	case vMod:
		if b == 0 {
			return 0, false
		}
		return a % b, true
	case vOr:
		return a | b, true
	case vAnd:
		return a & b, true
	case vXor:
		return a ^ b, true
	case vLsh:
		return a << b, true
	case vRsh:
		return a >> b, true
	}
	return -a, true
}

// An intern makes values.
type intern map[value]*value

func (in intern) make(v value) *value {
	p := in[v]
	if p == nil {
		p = new(value)
		*p = v
		in[v] = p
	}
	return p
}

func (in intern) konst(k uint32) *value { return in.make(value{op: vConst, k: k}) }
func (in intern) length() *value        { return in.make(value{op: vLen}) }
func (in intern) reg(r uint32) *value   { return in.make(value{op: vReg, k: r}) }

// load is the size bytes at k, or at index+k.
func (in intern) load(size uint8, k uint32, index *value) *value {
	if index != nil && index.op == vAdd && index.b.isConst() && k < 1<<31 && index.a.max() < 1<<30 && index.b.k < 1<<30 {
		k, index = k+index.b.k, index.a
	}
	if index != nil && index.isConst() {
		if sum := uint64(index.k) + uint64(k); sum < bpf.LLOff {
			k, index = uint32(sum), nil
		} else if k < bpf.LLOff && sum < 1<<32 {
			// Ancillary data are no index: this is simply far behind the end.
			k, index = bpf.LLOff-8, nil
		}
	}
	return in.make(value{op: vLoad, size: size, k: k, a: index})
}

func (in intern) hdr(k uint32) *value { return in.make(value{op: vHdr, k: k}) }

func (in intern) neg(a *value) *value {
	if a.isConst() {
		return in.konst(-a.k)
	}
	return in.make(value{op: vNeg, a: a})
}

// bin is a op b, folded if both are constants.
func (in intern) bin(op valueOp, a, b *value) *value {
	if a.isConst() && b.isConst() {
		if x, ok := calc(op, a.k, b.k); ok {
			return in.konst(x)
		}
	}
	switch op {
	case vAdd, vMul, vOr, vAnd, vXor:
		if a.isConst() { // constants are cheaper on the right
			a, b = b, a
		}
	}
	if b.isConst() {
		switch {
		case b.k == 0 && (op == vAdd || op == vSub || op == vOr || op == vXor || op == vLsh || op == vRsh),
			b.k == 1 && (op == vMul || op == vDiv), b.k == 1<<32-1 && op == vAnd:
			return a
		case op == a.op && a.b != nil && a.b.isConst() && (op == vAdd || op == vMul || op == vAnd || op == vOr || op == vXor):
			x, _ := calc(op, a.b.k, b.k)
			return in.bin(op, a.a, in.konst(x))
		}
	}
	return in.make(value{op: op, a: a, b: b})
}

// A cond is a condition on a packet: a tree of tests, evaluated from left to
// right only as far as needed. Some of its leaves have an effect and are true.
type cond struct {
	op   condOp
	rel  uint16 // of a test: a jump of package bpf
	a, b *value // of a test
	reg  uint32 // of a set: the register that becomes a
	x, y *cond
	far  *chain
}

type condOp uint8

const (
	cTrue condOp = iota
	cFalse
	cTest  // a rel b
	cSet   // register reg becomes a; true
	cAnd   // x and y
	cOr    // x or y
	cNot   // not x
	cChain // protochain
)

var (
	yes = &cond{op: cTrue}
	no  = &cond{op: cFalse}
)

func test(rel uint16, a, b *value) *cond {
	if a.isConst() && !b.isConst() {
		switch rel {
		case bpf.JmpEq, bpf.JmpSet:
			a, b = b, a
		case bpf.JmpGt: // k > b is !(b >= k)
			return not(&cond{op: cTest, rel: bpf.JmpGe, a: b, b: a})
		case bpf.JmpGe:
			return not(&cond{op: cTest, rel: bpf.JmpGt, a: b, b: a})
		}
	}
	return &cond{op: cTest, rel: rel, a: a, b: b}
}

func set(r uint32, v *value) *cond { return &cond{op: cSet, reg: r, a: v} }

func not(x *cond) *cond {
	switch x.op {
	case cNot:
		return x.x
	case cTrue:
		return no
	case cFalse:
		return yes
	}
	return &cond{op: cNot, x: x}
}

// and is the conjunction of list, in its order.
func and(list ...*cond) *cond { return join(cAnd, yes, no, list) }

// or is the disjunction of list, in its order.
func or(list ...*cond) *cond { return join(cOr, no, yes, list) }

// join leaves out what is neutral, and what stands behind what decides.
func join(op condOp, neutral, decides *cond, list []*cond) *cond {
	var c *cond
	for _, x := range list {
		switch {
		case x == nil || x.op == neutral.op:
		case c == nil:
			c = x
		default:
			c = &cond{op: op, x: c, y: x}
		}
		if x != nil && x.op == decides.op {
			break
		}
	}
	if c == nil {
		return neutral
	}
	return c
}

// compare evaluates a relation of two numbers.
func compare(rel uint16, a, b uint32) bool {
	switch rel {
	case bpf.JmpEq:
		return a == b
	case bpf.JmpGt:
		return a > b
	case bpf.JmpGe:
		return a >= b
	}
	return a&b != 0
}

// A chain is the search for a protocol behind the headers of an IP packet that
// say what follows them.
type chain struct {
	base  offset // of the IP header
	v6    bool
	proto uint32
}
