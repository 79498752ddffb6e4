//go:build linux

package jit

import (
	"encoding/binary"
	"math/bits"
	"unsafe"

	"github.com/towpath/towpath/capture/bpf"
)

// Registers. Go's for goroutine and frame (R28, R29) and the platform's (R18)
// are left alone.
const (
	rPacket   = 0 // *Packet
	rLeft     = 1 // packets that are left, this one among them
	rData     = 2 // the packet's bytes
	rLen      = 3 // captured length
	rA        = 4 // W4; the upper halves of A and X are zero
	rX        = 5 // W5
	rAux      = 6 // *bpf.Ancillary
	rScratch  = 8
	rConstant = 9
	rSP       = 31
	rZero     = 31
)

// Conditions.
const (
	ccEqual      = 0
	ccNotEqual   = 1
	ccAboveEqual = 2
	ccBelow      = 3
	ccAbove      = 8
	ccBelowEqual = 9
)

// Instructions whose operands are registers; d, n and m are written into them.
// Those ending in X work on 64 bits, others on 32.
const (
	opAdd   = 0x0b000000
	opSub   = 0x4b000000
	opAnd   = 0x0a000000
	opOr    = 0x2a000000
	opXor   = 0x4a000000
	opMul   = 0x1b007c00
	opDiv   = 0x1ac00800
	opShl   = 0x1ac02000
	opShr   = 0x1ac02400
	opCmp   = 0x6b000000 // d is rZero
	opTest  = 0x6a000000 // d is rZero
	opRev   = 0x5ac00800 // without m
	opRev16 = 0x5ac00400
	opAddX  = 0x8b000000
	opCmpX  = 0xeb000000
)

// Loads and stores: base register and an offset that counts in operands.
const (
	opLoad8   = 0x39400000
	opLoad16  = 0x79400000
	opLoad32  = 0xb9400000
	opLoad64  = 0xf9400000
	opStore32 = 0xb9000000
	// indexed turns one into its form with a register as the offset.
	indexed = 0x38606800 ^ opLoad8
)

func (a *assembler) emit(v uint32) { a.code = binary.LittleEndian.AppendUint32(a.code, v) }

func (a *assembler) op(op, d, n, m uint32) { a.emit(op | m<<16 | n<<5 | d) }

// constant makes reg the number v.
func (a *assembler) constant(reg, v uint32) {
	a.emit(0x52800000 | v&0xffff<<5 | reg) // movz
	if v>>16 != 0 {
		a.emit(0x72a00000 | v>>16<<5 | reg) // movk, lsl 16
	}
}

// memory loads or stores a register at [base+off]; off is a multiple of the
// operand's size.
func (a *assembler) memory(op, reg, base, off uint32) {
	a.emit(op | off>>(op>>30)<<10 | base<<5 | reg)
}

// jumpTo goes to a label.
func (a *assembler) jumpTo(label int) {
	d := a.distance(label) + 4
	a.emit(0x14000000 | uint32(d>>2)&(1<<26-1))
	a.jumped()
}

// jumpIf goes to a label on a condition. Programs are too short to be out of its
// reach of 1 MiB.
func (a *assembler) jumpIf(cc byte, label int) { a.conditional(0x54000000|uint32(cc), label) }

// jumpZero goes to a label if X is zero.
func (a *assembler) jumpZero(label int) { a.conditional(0x34000000|rX, label) }

func (a *assembler) conditional(op uint32, label int) {
	d := a.distance(label) + 4
	a.emit(op | uint32(d>>2)&(1<<19-1)<<5)
	a.jumped()
}

// slot is the offset of a word of memory from SP, where the call has saved its
// return address.
func slot(k uint32) uint32 { return 8 + 4*k }

var (
	offData    = uint32(unsafe.Offsetof(Packet{}.Data))
	offLen     = offData + uint32(unsafe.Sizeof(uintptr(0)))
	offAux     = uint32(unsafe.Offsetof(Packet{}.Aux))
	offWireLen = uint32(unsafe.Offsetof(Packet{}.WireLen))
	offKeep    = uint32(unsafe.Offsetof(Packet{}.Keep))
)

// begin is what comes before a program, once for each packet.
func (a *assembler) begin() {
	a.mark(atHead)
	a.memory(opLoad64, rData, rPacket, offData)
	a.memory(opLoad64, rLen, rPacket, offLen)
	if a.aux {
		a.memory(opLoad64, rAux, rPacket, offAux)
	}
	if a.live&liveA != 0 {
		a.constant(rA, 0)
	}
	if a.live&liveX != 0 {
		a.constant(rX, 0)
	}
	for k := range uint32(bpf.MemWords) {
		if a.live>>k&1 != 0 {
			a.memory(opStore32, rZero, rSP, slot(k))
		}
	}
	if a.known[0] == never {
		a.jumpTo(a.place(atReject))
	}
}

// end is what comes behind it.
func (a *assembler) end() {
	a.mark(atFar)
	a.constant(rConstant, bpf.LLOff)
	a.op(opCmpX, rZero, rScratch, rConstant)
	a.jumpIf(ccAboveEqual, a.place(atLeave))
	a.mark(atReject)
	a.memory(opStore32, rZero, rPacket, offKeep)
	a.mark(atNext)
	a.emit(0x91000000 | uint32(unsafe.Sizeof(Packet{}))<<10 | rPacket<<5 | rPacket) // add
	a.emit(0xf1000400 | rLeft<<5 | rLeft)                                           // subs left, left, 1
	a.jumpIf(ccNotEqual, a.place(atHead))
	a.mark(atLeave)
	a.emit(0xd65f03c0) // ret
}

// instruction makes the code of the instruction at pc.
func (a *assembler) instruction(pc int) {
	in := a.prog[pc]
	switch in.Op & 7 {
	case bpf.ClassLD:
		a.load(pc, rA)
	case bpf.ClassLDX:
		a.load(pc, rX)
	case bpf.ClassST:
		a.memory(opStore32, rA, rSP, slot(in.K))
	case bpf.ClassSTX:
		a.memory(opStore32, rX, rSP, slot(in.K))
	case bpf.ClassALU:
		a.alu(in)
	case bpf.ClassJMP:
		a.branch(pc, a.compare(in))
	case bpf.ClassRET:
		from := uint32(rA)
		if in.Op&0x18 != bpf.RetA {
			from = rConstant
			a.constant(rConstant, in.K)
		}
		a.memory(opStore32, from, rPacket, offKeep)
		a.jumpTo(a.place(atNext))
	case bpf.ClassMISC:
		if in.Op&0xf8 == bpf.MiscTXA {
			a.op(opOr, rA, rZero, rX)
		} else {
			a.op(opOr, rX, rZero, rA)
		}
	}
}

// load makes the code of a load to A or X.
func (a *assembler) load(pc int, to uint32) {
	in := a.prog[pc]
	switch {
	case leaves(in):
		a.jumpTo(a.place(atLeave))
	case ancillary(in):
		a.ancillary(in)
	case fixed(in):
		if a.known[pc] < end(in) {
			a.constant(rScratch, uint32(a.need[pc]))
			a.op(opCmpX, rZero, rLen, rScratch)
			a.jumpIf(ccBelow, a.place(atReject))
		}
		a.constant(rScratch, in.K)
		a.fetch(in)
	case indirect(in):
		a.constant(rScratch, in.K)
		a.op(opAddX, rScratch, rScratch, rX)
		a.emit(0x91000000 | uint32(width(in))<<10 | rScratch<<5 | rConstant) // add constant, scratch, width
		a.op(opCmpX, rZero, rConstant, rLen)
		a.jumpIf(ccAbove, a.place(atFar))
		a.fetch(in)
	case in.Op&0xe0 == bpf.ModeIMM:
		a.constant(to, in.K)
	case in.Op&0xe0 == bpf.ModeMEM:
		a.memory(opLoad32, to, rSP, slot(in.K))
	case in.Op&0xe0 == bpf.ModeLEN:
		a.memory(opLoad32, to, rPacket, offWireLen)
	}
}

// fetch loads the bytes at the offset in the scratch register.
func (a *assembler) fetch(in bpf.Instruction) {
	switch {
	case in.Op == bpf.ClassLDX|bpf.SizeB|bpf.ModeMSH:
		a.op(opLoad8^indexed, rX, rData, rScratch)
		a.emit(0x531e0c00 | rX<<5 | rX) // ubfiz X, X, 2, 4: 4 × the low nibble
	case width(in) == 4:
		a.op(opLoad32^indexed, rA, rData, rScratch)
		a.op(opRev, rA, rA, 0)
	case width(in) == 2:
		a.op(opLoad16^indexed, rA, rData, rScratch)
		a.op(opRev16, rA, rA, 0)
	default:
		a.op(opLoad8^indexed, rA, rData, rScratch)
	}
}

// ancillary loads what is not in the packet: zero if there is no Ancillary.
func (a *assembler) ancillary(in bpf.Instruction) {
	if in.K == bpf.AdAluXorX {
		a.op(opXor, rA, rA, rX)
		return
	}
	off, size := field(in.K)
	op := []uint32{opLoad8, opLoad16, opLoad32}[bits.TrailingZeros(uint(size))]
	a.constant(rA, 0)
	a.emit(0xb4000040 | rAux) // cbz aux, over the load
	a.memory(op, rA, rAux, off)
}

func (a *assembler) alu(in bpf.Instruction) {
	op := in.Op & 0xf0
	if op == bpf.AluNeg {
		a.op(opSub, rA, rZero, rA)
		return
	}
	b := uint32(rX)
	if in.Op&bpf.SrcX == 0 {
		b = rConstant
		a.constant(b, in.K)
	}
	switch op {
	case bpf.AluAdd:
		a.op(opAdd, rA, rA, b)
	case bpf.AluSub:
		a.op(opSub, rA, rA, b)
	case bpf.AluMul:
		a.op(opMul, rA, rA, b)
	case bpf.AluDiv, bpf.AluMod:
		if b == rX {
			a.jumpZero(a.place(atReject))
		}
		if op == bpf.AluDiv {
			a.op(opDiv, rA, rA, b)
			return
		}
		a.op(opDiv, rScratch, rA, b)
		a.emit(0x1b008000 | b<<16 | rA<<10 | rScratch<<5 | rA) // msub A, scratch, b, A
	case bpf.AluOr:
		a.op(opOr, rA, rA, b)
	case bpf.AluAnd:
		a.op(opAnd, rA, rA, b)
	case bpf.AluXor:
		a.op(opXor, rA, rA, b)
	case bpf.AluLsh, bpf.AluRsh:
		if op == bpf.AluLsh {
			a.op(opShl, rA, rA, b)
		} else {
			a.op(opShr, rA, rA, b)
		}
		if b == rX { // the processor shifts by X modulo 32
			a.emit(0x71007c1f | rX<<5)                                     // cmp X, 31
			a.emit(0x1a800000 | rZero<<16 | ccBelowEqual<<12 | rA<<5 | rA) // csel A, A, zero
		}
	}
}

// compare sets the flags for a jump and returns the condition under which its
// test holds.
func (a *assembler) compare(in bpf.Instruction) byte {
	op := in.Op & 0xf0
	if op == bpf.JmpA {
		return ccNotEqual
	}
	b := uint32(rX)
	switch {
	case in.Op&bpf.SrcX != 0:
	case op != bpf.JmpSet && in.K < 4096:
		a.emit(0x7100001f | in.K<<10 | rA<<5) // cmp A, K
		return condition(op)
	default:
		b = rConstant
		a.constant(b, in.K)
	}
	if op == bpf.JmpSet {
		a.op(opTest, rZero, rA, b)
	} else {
		a.op(opCmp, rZero, rA, b)
	}
	return condition(op)
}

// condition is the one under which a jump's test holds.
func condition(op uint16) byte {
	switch op {
	case bpf.JmpEq:
		return ccEqual
	case bpf.JmpGt:
		return ccAbove
	case bpf.JmpGe:
		return ccAboveEqual
	}
	return ccNotEqual
}
