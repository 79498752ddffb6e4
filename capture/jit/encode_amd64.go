//go:build linux

package jit

import (
	"encoding/binary"
	"math"
	"math/bits"
	"unsafe"

	"github.com/towpath/towpath/capture/bpf"
)

// Registers, by their numbers in instructions. Go's registers for goroutine and
// frame (R14, RBP) are left alone.
const (
	rA       = 0 // EAX, as division wants it
	rX       = 1 // ECX, as shifts want it; the upper halves of A and X are zero
	rScratch = 2 // EDX, which division changes
	rLen     = 3 // RBX: captured length
	rSP      = 4
	rData    = 6 // RSI: the packet's bytes
	rPacket  = 7 // RDI: *Packet
	rLeft    = 8 // R8: packets that are left, this one among them
	rAux     = 9 // R9: *bpf.Ancillary
)

// Conditions.
const (
	ccBelow      = 0x2
	ccAboveEqual = 0x3
	ccEqual      = 0x4
	ccNotEqual   = 0x5
	ccAbove      = 0x7
)

// Operations with an immediate operand, by their numbers in instructions.
const (
	opAdd = 0
	opOr  = 1
	opAnd = 4
	opSub = 5
	opXor = 6
	opCmp = 7
)

func (a *assembler) bytes(b ...byte) { a.code = append(a.code, b...) }

func (a *assembler) word(v uint32) { a.code = binary.LittleEndian.AppendUint32(a.code, v) }

// memory writes the operand [base+disp] of an instruction with another operand
// in reg. Of both the lower three bits count.
func (a *assembler) memory(reg, base byte, disp uint32) {
	short := disp < 128
	modrm := byte(0x80)
	if short {
		modrm = 0x40
	}
	a.bytes(modrm | reg<<3 | base&7)
	if base == rSP {
		a.bytes(0x24)
	}
	if short {
		a.bytes(byte(disp))
	} else {
		a.word(disp)
	}
}

// constant makes reg the number v.
func (a *assembler) constant(reg byte, v uint32) {
	if v == 0 {
		a.bytes(0x31, 0xc0|reg<<3|reg) // xor reg, reg
		return
	}
	a.bytes(0xb8 | reg) // mov reg, v
	a.word(v)
}

// immediate applies op to a register and v.
func (a *assembler) immediate(op, reg byte, v uint32) {
	if int32(v) == int32(int8(v)) {
		a.bytes(0x83, 0xc0|op<<3|reg, byte(v))
		return
	}
	a.bytes(0x81, 0xc0|op<<3|reg)
	a.word(v)
}

// jumpTo goes to a label.
func (a *assembler) jumpTo(label int) { a.far([]byte{0xeb}, []byte{0xe9}, label) }

// jumpIf goes to a label on a condition.
func (a *assembler) jumpIf(cc byte, label int) {
	a.far([]byte{0x70 | cc}, []byte{0x0f, 0x80 | cc}, label)
}

func (a *assembler) far(short, long []byte, label int) {
	if d := a.distance(label); d == int(int8(d)) {
		a.bytes(short...)
		a.bytes(byte(d))
	} else {
		a.bytes(long...)
		a.word(uint32(d))
	}
	a.jumped()
}

// slot is the offset of a word of memory from RSP, where the return address is.
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
	a.bytes(0x48, 0x8b) // mov data, [packet]
	a.memory(rData, rPacket, offData)
	a.bytes(0x48, 0x8b)
	a.memory(rLen, rPacket, offLen)
	if a.aux {
		a.bytes(0x4c, 0x8b)
		a.memory(rAux&7, rPacket, offAux)
	}
	if a.live&liveA != 0 {
		a.constant(rA, 0)
	}
	if a.live&liveX != 0 {
		a.constant(rX, 0)
	}
	for k := range uint32(bpf.MemWords) {
		if a.live>>k&1 != 0 {
			a.bytes(0xc7)
			a.memory(0, rSP, slot(k))
			a.word(0)
		}
	}
	if a.known[0] == never {
		a.jumpTo(a.place(atReject))
	}
}

// end is what comes behind it.
func (a *assembler) end() {
	a.mark(atFar)
	a.constant(rA, bpf.LLOff)
	a.bytes(0x48, 0x39, 0xc2) // cmp scratch, A: 64 bits
	a.jumpIf(ccAboveEqual, a.place(atLeave))
	a.mark(atReject)
	a.bytes(0xc7) // mov [packet.Keep], 0
	a.memory(0, rPacket, offKeep)
	a.word(0)
	a.mark(atNext)
	a.bytes(0x48)
	a.immediate(opAdd, rPacket, uint32(unsafe.Sizeof(Packet{})))
	a.bytes(0x49, 0xff, 0xc8) // dec left
	a.jumpIf(ccNotEqual, a.place(atHead))
	a.mark(atLeave)
	a.bytes(0xc3) // ret
}

// instruction makes the code of the instruction at pc.
func (a *assembler) instruction(pc int) {
	in := a.prog[pc]
	switch in.Op & 7 {
	case bpf.ClassLD:
		a.load(pc)
	case bpf.ClassLDX:
		switch in.Op & 0xe0 {
		case bpf.ModeLEN:
			a.bytes(0x8b)
			a.memory(rX, rPacket, offWireLen)
		case bpf.ModeIMM:
			a.constant(rX, in.K)
		case bpf.ModeMEM:
			a.bytes(0x8b)
			a.memory(rX, rSP, slot(in.K))
		case bpf.ModeMSH:
			if !a.guard(pc) {
				return
			}
			a.bytes(0x0f, 0xb6) // movzx X, byte [data+k]
			a.memory(rX, rData, in.K)
			a.immediate(opAnd, rX, 15)
			a.bytes(0xc1, 0xe1, 2) // shl X, 2
		}
	case bpf.ClassST:
		a.bytes(0x89)
		a.memory(rA, rSP, slot(in.K))
	case bpf.ClassSTX:
		a.bytes(0x89)
		a.memory(rX, rSP, slot(in.K))
	case bpf.ClassALU:
		a.alu(in)
	case bpf.ClassJMP:
		a.branch(pc, a.compare(in))
	case bpf.ClassRET:
		if in.Op&0x18 == bpf.RetA {
			a.bytes(0x89)
			a.memory(rA, rPacket, offKeep)
		} else {
			a.bytes(0xc7)
			a.memory(0, rPacket, offKeep)
			a.word(in.K)
		}
		a.jumpTo(a.place(atNext))
	case bpf.ClassMISC:
		if in.Op&0xf8 == bpf.MiscTXA {
			a.bytes(0x89, 0xc8) // mov A, X
		} else {
			a.bytes(0x89, 0xc1) // mov X, A
		}
	}
}

// guard checks what a load from a constant offset needs. It reports whether the
// load follows.
func (a *assembler) guard(pc int) bool {
	in := a.prog[pc]
	if leaves(in) {
		a.jumpTo(a.place(atLeave))
		return false
	}
	if a.known[pc] < end(in) {
		a.bytes(0x48)
		a.immediate(opCmp, rLen, uint32(a.need[pc]))
		a.jumpIf(ccBelow, a.place(atReject))
	}
	return true
}

func (a *assembler) load(pc int) {
	in := a.prog[pc]
	switch in.Op & 0xe0 {
	case bpf.ModeIMM:
		a.constant(rA, in.K)
	case bpf.ModeMEM:
		a.bytes(0x8b)
		a.memory(rA, rSP, slot(in.K))
	case bpf.ModeLEN:
		a.bytes(0x8b)
		a.memory(rA, rPacket, offWireLen)
	case bpf.ModeABS:
		if !a.guard(pc) {
			return
		}
		if ancillary(in) {
			a.ancillary(in)
			return
		}
		a.bytes(fetch(in)...)
		a.memory(rA, rData, in.K)
		a.swap(in)
	case bpf.ModeIND:
		if leaves(in) {
			a.jumpTo(a.place(atLeave))
			return
		}
		a.bytes(0x48, 0x8d) // lea scratch, [X+end]: 64 bits
		a.memory(rScratch, rX, uint32(end(in)))
		a.bytes(0x48, 0x39, 0xda) // cmp scratch, len
		a.jumpIf(ccAbove, a.place(atFar))
		a.bytes(fetch(in)...)
		a.bytes(0x44, 0x16, byte(-width(in))) // A, [data+scratch-width]
		a.swap(in)
	}
}

// fetch is the opcode that moves a load's bytes into a register of 32 bits.
func fetch(in bpf.Instruction) []byte {
	switch width(in) {
	case 4:
		return []byte{0x8b}
	case 2:
		return []byte{0x0f, 0xb7}
	}
	return []byte{0x0f, 0xb6}
}

// swap turns A into host order.
func (a *assembler) swap(in bpf.Instruction) {
	switch width(in) {
	case 4:
		a.bytes(0x0f, 0xc8) // bswap A
	case 2:
		a.bytes(0x66, 0xc1, 0xc0, 8) // rol of the lower half
	}
}

// ancillary loads what is not in the packet: zero if there is no Ancillary.
func (a *assembler) ancillary(in bpf.Instruction) {
	if in.K == bpf.AdAluXorX {
		a.bytes(0x31, 0xc8) // xor A, X
		return
	}
	off, size := field(in.K)
	a.constant(rA, 0)
	a.bytes(0x4d, 0x85, 0xc9) // test aux, aux
	load := []byte{0x41, 0x8b}
	switch size {
	case 1:
		load = []byte{0x41, 0x0f, 0xb6}
	case 2:
		load = []byte{0x41, 0x0f, 0xb7}
	}
	a.bytes(0x70|ccEqual, byte(len(load)+2)) // over the load
	a.bytes(load...)
	a.memory(rA, rAux, off)
}

func (a *assembler) alu(in bpf.Instruction) {
	if in.Op&bpf.SrcX != 0 {
		a.aluX(in)
		return
	}
	switch in.Op & 0xf0 {
	case bpf.AluAdd:
		a.immediate(opAdd, rA, in.K)
	case bpf.AluSub:
		a.immediate(opSub, rA, in.K)
	case bpf.AluMul:
		a.bytes(0x69, 0xc0) // imul A, A, K
		a.word(in.K)
	case bpf.AluDiv:
		if in.K&(in.K-1) == 0 {
			a.bytes(0xc1, 0xe8, byte(bits.TrailingZeros32(in.K)))
			return
		}
		a.divide(in.K)
	case bpf.AluMod:
		if in.K&(in.K-1) == 0 {
			a.immediate(opAnd, rA, in.K-1)
			return
		}
		a.divide(in.K)
		a.bytes(0x89, 0xd0) // mov A, scratch
	case bpf.AluOr:
		a.immediate(opOr, rA, in.K)
	case bpf.AluAnd:
		a.immediate(opAnd, rA, in.K)
	case bpf.AluXor:
		a.immediate(opXor, rA, in.K)
	case bpf.AluLsh:
		a.bytes(0xc1, 0xe0, byte(in.K))
	case bpf.AluRsh:
		a.bytes(0xc1, 0xe8, byte(in.K))
	case bpf.AluNeg:
		a.bytes(0xf7, 0xd8)
	}
}

// divide leaves A/k in A and the remainder in the scratch register.
func (a *assembler) divide(k uint32) {
	a.bytes(0x41, 0xba) // mov R10D, k
	a.word(k)
	a.constant(rScratch, 0)
	a.bytes(0x41, 0xf7, 0xf2) // div R10D
}

func (a *assembler) aluX(in bpf.Instruction) {
	switch in.Op & 0xf0 {
	case bpf.AluAdd:
		a.bytes(0x01, 0xc8)
	case bpf.AluSub:
		a.bytes(0x29, 0xc8)
	case bpf.AluMul:
		a.bytes(0x0f, 0xaf, 0xc1)
	case bpf.AluDiv, bpf.AluMod:
		a.bytes(0x85, 0xc9) // test X, X
		a.jumpIf(ccEqual, a.place(atReject))
		a.constant(rScratch, 0)
		a.bytes(0xf7, 0xf1) // div X
		if in.Op&0xf0 == bpf.AluMod {
			a.bytes(0x89, 0xd0)
		}
	case bpf.AluOr:
		a.bytes(0x09, 0xc8)
	case bpf.AluAnd:
		a.bytes(0x21, 0xc8)
	case bpf.AluXor:
		a.bytes(0x31, 0xc8)
	case bpf.AluLsh, bpf.AluRsh:
		if in.Op&0xf0 == bpf.AluLsh {
			a.bytes(0xd3, 0xe0)
		} else {
			a.bytes(0xd3, 0xe8)
		}
		// The processor shifts by X modulo 32: clear A unless X < 32.
		a.immediate(opCmp, rX, 32)
		a.bytes(0x19, 0xd2) // sbb scratch, scratch
		a.bytes(0x21, 0xd0) // and A, scratch
	case bpf.AluNeg:
		a.bytes(0xf7, 0xd8)
	}
}

// compare sets the flags for a jump and returns the condition under which its
// test holds.
func (a *assembler) compare(in bpf.Instruction) byte {
	op := in.Op & 0xf0
	switch {
	case op == bpf.JmpA:
	case op == bpf.JmpSet && in.Op&bpf.SrcX != 0:
		a.bytes(0x85, 0xc8) // test A, X
	case op == bpf.JmpSet && in.K <= math.MaxUint8:
		a.bytes(0xa8, byte(in.K)) // test AL, K
	case op == bpf.JmpSet:
		a.bytes(0xa9)
		a.word(in.K)
	case in.Op&bpf.SrcX != 0:
		a.bytes(0x39, 0xc8) // cmp A, X
	default:
		a.immediate(opCmp, rA, in.K)
	}
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
