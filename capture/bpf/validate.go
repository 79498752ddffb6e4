package bpf

import (
	"errors"
	"fmt"
)

// shape is one known opcode: its mnemonic and the form of its operand, in which
// a verb stands for K.
type shape struct {
	name, operand string
}

// shapes are the opcodes that Linux's bpf_check_classic knows, as tcpdump -d
// prints them; ldx #pktlen is one that tcpdump has no words for.
var shapes = map[uint16]shape{
	ClassLD | SizeW | ModeABS:  {"ld", "[%d]"},
	ClassLD | SizeH | ModeABS:  {"ldh", "[%d]"},
	ClassLD | SizeB | ModeABS:  {"ldb", "[%d]"},
	ClassLD | SizeW | ModeIND:  {"ld", "[x + %d]"},
	ClassLD | SizeH | ModeIND:  {"ldh", "[x + %d]"},
	ClassLD | SizeB | ModeIND:  {"ldb", "[x + %d]"},
	ClassLD | ModeLEN:          {"ld", "#pktlen"},
	ClassLD | ModeIMM:          {"ld", "#0x%x"},
	ClassLD | ModeMEM:          {"ld", "M[%d]"},
	ClassLDX | ModeLEN:         {"ldx", "#pktlen"},
	ClassLDX | SizeB | ModeMSH: {"ldxb", "4*([%d]&0xf)"},
	ClassLDX | ModeIMM:         {"ldx", "#0x%x"},
	ClassLDX | ModeMEM:         {"ldx", "M[%d]"},
	ClassST:                    {"st", "M[%d]"},
	ClassSTX:                   {"stx", "M[%d]"},
	ClassALU | AluAdd | SrcK:   {"add", "#%d"},
	ClassALU | AluAdd | SrcX:   {"add", "x"},
	ClassALU | AluSub | SrcK:   {"sub", "#%d"},
	ClassALU | AluSub | SrcX:   {"sub", "x"},
	ClassALU | AluMul | SrcK:   {"mul", "#%d"},
	ClassALU | AluMul | SrcX:   {"mul", "x"},
	ClassALU | AluDiv | SrcK:   {"div", "#%d"},
	ClassALU | AluDiv | SrcX:   {"div", "x"},
	ClassALU | AluMod | SrcK:   {"mod", "#%d"},
	ClassALU | AluMod | SrcX:   {"mod", "x"},
	ClassALU | AluAnd | SrcK:   {"and", "#0x%x"},
	ClassALU | AluAnd | SrcX:   {"and", "x"},
	ClassALU | AluOr | SrcK:    {"or", "#0x%x"},
	ClassALU | AluOr | SrcX:    {"or", "x"},
	ClassALU | AluXor | SrcK:   {"xor", "#0x%x"},
	ClassALU | AluXor | SrcX:   {"xor", "x"},
	ClassALU | AluLsh | SrcK:   {"lsh", "#%d"},
	ClassALU | AluLsh | SrcX:   {"lsh", "x"},
	ClassALU | AluRsh | SrcK:   {"rsh", "#%d"},
	ClassALU | AluRsh | SrcX:   {"rsh", "x"},
	ClassALU | AluNeg:          {"neg", ""},
	ClassJMP | JmpA:            {"ja", "%d"},
	ClassJMP | JmpEq | SrcK:    {"jeq", "#0x%x"},
	ClassJMP | JmpEq | SrcX:    {"jeq", "x"},
	ClassJMP | JmpGt | SrcK:    {"jgt", "#0x%x"},
	ClassJMP | JmpGt | SrcX:    {"jgt", "x"},
	ClassJMP | JmpGe | SrcK:    {"jge", "#0x%x"},
	ClassJMP | JmpGe | SrcX:    {"jge", "x"},
	ClassJMP | JmpSet | SrcK:   {"jset", "#0x%x"},
	ClassJMP | JmpSet | SrcX:   {"jset", "x"},
	ClassRET | SrcK:            {"ret", "#%d"},
	ClassRET | RetA:            {"ret", ""},
	ClassMISC | MiscTAX:        {"tax", ""},
	ClassMISC | MiscTXA:        {"txa", ""},
}

// Validate reports why the machine cannot run p, or nil. The rules are those of
// Linux's bpf_check_classic with two exceptions. A ja may jump backwards, as in
// libpcap's protochain, which the kernel refuses: see [Program.Loops]. And
// memory that is read before it is written holds zero, where the kernel refuses
// to load such a program.
func (p Program) Validate() error {
	if len(p) == 0 {
		return errors.New("bpf: the program is empty")
	}
	if len(p) > MaxLen {
		return fmt.Errorf("bpf: the program has %d instructions, more than %d", len(p), MaxLen)
	}
	for pc, in := range p {
		if reason := in.fault(pc, len(p)); reason != "" {
			return fmt.Errorf("bpf: instruction %d: %s", pc, reason)
		}
	}
	if p[len(p)-1].Op&7 != ClassRET {
		return errors.New("bpf: the last instruction does not return")
	}
	return nil
}

// Loops reports whether a valid p jumps backwards. The kernel takes no such
// program.
func (p Program) Loops() bool {
	for _, in := range p {
		if in.Op == ClassJMP|JmpA && int32(in.K) < 0 {
			return true
		}
	}
	return false
}

// fault says what is wrong with the instruction at pc of n, "" for nothing.
func (in Instruction) fault(pc, n int) string {
	if _, ok := shapes[in.Op]; !ok {
		return fmt.Sprintf("unknown opcode %#x", in.Op)
	}
	switch in.Op {
	case ClassALU | AluDiv | SrcK, ClassALU | AluMod | SrcK:
		if in.K == 0 {
			return "division by zero"
		}
	case ClassALU | AluLsh | SrcK, ClassALU | AluRsh | SrcK:
		if in.K > 31 {
			return fmt.Sprintf("shift by %d, more than 31", in.K)
		}
	case ClassLD | ModeMEM, ClassLDX | ModeMEM, ClassST, ClassSTX:
		if in.K >= MemWords {
			return fmt.Sprintf("no memory word %d", in.K)
		}
	case ClassLD | SizeW | ModeABS, ClassLD | SizeH | ModeABS, ClassLD | SizeB | ModeABS:
		if in.K >= AdOff && (in.K > AdVlanTPID || in.K%4 != 0) {
			return fmt.Sprintf("no ancillary datum %d", in.K-AdOff)
		}
	case ClassJMP | JmpA:
		if to := pc + 1 + int(int32(in.K)); to < 0 || to >= n {
			return fmt.Sprintf("jump to %d, outside the program", to)
		}
	default:
		if in.Op&7 == ClassJMP && pc+1+int(max(in.Jt, in.Jf)) >= n {
			return fmt.Sprintf("jump to %d, outside the program", pc+1+int(max(in.Jt, in.Jf)))
		}
	}
	return ""
}
