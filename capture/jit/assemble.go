//go:build linux && (amd64 || arm64)

package jit

import "github.com/towpath/towpath/capture/bpf"

// Labels of places that are no instruction of the program. They follow those
// of the instructions.
const (
	atHead   = iota // take the next packet
	atFar           // an indirect load ended behind the packet
	atReject        // the packet is rejected
	atNext          // Keep is set
	atLeave         // return to Go, with the packets that are left
	labels
)

// An assembler makes the code of a plan.
type assembler struct {
	*plan
	code []byte
	at   []int // offset in code of each label
	// jumps are where the jumps end, in their order. They and at are of the
	// last pass until this pass has come there.
	jumps []int
	jump  int // the next one
}

// assemble makes the code of a program. A pass knows the distances of the pass
// before it, which are none too small, so code only gets shorter; when it does
// not, they are exact.
func assemble(p bpf.Program) []byte {
	a := &assembler{plan: newPlan(p), at: make([]int, len(p)+labels)}
	for i := range a.at {
		a.at[i] = 1 << 30
	}
	for size := -1; size != len(a.code); {
		size, a.code, a.jump = len(a.code), a.code[:0], 0
		a.begin()
		for pc := range p {
			if a.known[pc] != never {
				a.at[pc] = len(a.code)
				a.instruction(pc)
			}
		}
		a.end()
	}
	return a.code
}

// place is the label of one of the places that are no instruction.
func (a *assembler) place(label int) int { return len(a.prog) + label }

// mark sets such a label.
func (a *assembler) mark(label int) { a.at[a.place(label)] = len(a.code) }

// target is the label of what happens at pc.
func (a *assembler) target(pc int) int {
	for a.prog[pc].Op == bpf.ClassJMP|bpf.JmpA {
		pc, _ = a.ways(pc)
	}
	if a.need[pc] == never {
		return a.place(atReject)
	}
	return pc
}

// distance is how far a label is from where the next jump ends.
func (a *assembler) distance(label int) int {
	if a.jump == len(a.jumps) {
		a.jumps = append(a.jumps, 0)
	}
	return a.at[label] - a.jumps[a.jump]
}

// jumped notes that a jump ends here.
func (a *assembler) jumped() {
	a.jumps[a.jump] = len(a.code)
	a.jump++
}

// branch leads on from the jump at pc. Condition codes of both architectures
// turn into their opposite by the lowest bit.
func (a *assembler) branch(pc int, holds byte) {
	t, f := a.ways(pc)
	t, f = a.target(t), a.target(f)
	switch {
	case t == f && t == pc+1:
	case t == f:
		a.jumpTo(t)
	case t == pc+1:
		a.jumpIf(holds^1, f)
	case f == pc+1:
		a.jumpIf(holds, t)
	default:
		a.jumpIf(holds, t)
		a.jumpTo(f)
	}
}
