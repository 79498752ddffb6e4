//go:build linux && (amd64 || arm64)

package jit

import (
	"math"

	"github.com/towpath/towpath/capture/bpf"
)

// never is the length that no packet has.
const never = math.MaxInt

// The registers' bits in plan.live; those below are words of memory.
const (
	liveA = 1 << (bpf.MemWords + iota)
	liveX
)

// A plan is what is known of a program before it runs.
type plan struct {
	prog bpf.Program
	// need, by instruction: a packet shorter than this is rejected if the
	// program goes on here.
	need []int
	// known, by instruction: whatever packet comes here is at least so long;
	// never if none comes here, or none that is kept.
	known []int
	// live is what the program may read before it has written it.
	live uint32
	// aux says that the program has ancillary loads.
	aux bool
}

// newPlan looks at a valid program without backward jumps.
func newPlan(p bpf.Program) *plan {
	pl := &plan{prog: p, need: make([]int, len(p)), known: make([]int, len(p))}
	live := make([]uint32, len(p))
	for pc := len(p) - 1; pc >= 0; pc-- {
		in := p[pc]
		pl.known[pc] = never
		pl.aux = pl.aux || ancillary(in)
		switch {
		case leaves(in): // the machine starts again, and needs nothing
		case in.Op == bpf.ClassRET && in.K == 0:
			pl.need[pc] = never
		case in.Op&7 == bpf.ClassRET:
			live[pc], _ = registers(in)
		default:
			t, f := pl.ways(pc)
			pl.need[pc] = min(pl.need[t], pl.need[f])
			if fixed(in) {
				pl.need[pc] = max(pl.need[pc], end(in))
			}
			read, written := registers(in)
			live[pc] = (live[t]|live[f])&^written | read
		}
		if pl.need[pc] == never {
			live[pc] = 0
		}
	}
	pl.live = live[0]

	pl.reach(0, 0)
	for pc, in := range p {
		known := pl.known[pc]
		if known == never || leaves(in) || in.Op&7 == bpf.ClassRET {
			continue
		}
		switch {
		case fixed(in) && known < end(in):
			known = pl.need[pc]
		case indirect(in):
			known = max(known, end(in))
		}
		t, f := pl.ways(pc)
		pl.reach(t, known)
		pl.reach(f, known)
	}
	return pl
}

// reach notes that packets of a length and more come to pc.
func (pl *plan) reach(pc, known int) {
	if pl.need[pc] != never {
		pl.known[pc] = min(pl.known[pc], known)
	}
}

// ways are the instructions that may follow the one at pc, which is no return:
// where a conditional jump leads if its test holds and if not, else twice the
// same.
func (pl *plan) ways(pc int) (t, f int) {
	in := pl.prog[pc]
	switch {
	case in.Op == bpf.ClassJMP|bpf.JmpA:
		return pc + 1 + int(in.K), pc + 1 + int(in.K)
	case in.Op&7 == bpf.ClassJMP:
		return pc + 1 + int(in.Jt), pc + 1 + int(in.Jf)
	}
	return pc + 1, pc + 1
}

// fixed reports whether in loads from a constant offset.
func fixed(in bpf.Instruction) bool {
	return isLoad(in, bpf.ModeABS) && in.K < bpf.AdOff || in.Op == bpf.ClassLDX|bpf.SizeB|bpf.ModeMSH
}

// indirect reports whether in loads from an offset that X is part of.
func indirect(in bpf.Instruction) bool { return isLoad(in, bpf.ModeIND) }

// ancillary reports whether in loads what is not in the packet.
func ancillary(in bpf.Instruction) bool { return isLoad(in, bpf.ModeABS) && in.K >= bpf.AdOff }

// leaves reports whether the machine has to do in.
func leaves(in bpf.Instruction) bool {
	if ancillary(in) {
		return in.K == bpf.AdNlAttr || in.K == bpf.AdNlAttrNest
	}
	return (fixed(in) || indirect(in)) && end(in) > math.MaxInt32
}

func isLoad(in bpf.Instruction, mode uint16) bool {
	return in.Op&7 == bpf.ClassLD && in.Op&0xe0 == mode
}

// width is how many bytes a load takes.
func width(in bpf.Instruction) int {
	switch in.Op & 0x18 {
	case bpf.SizeW:
		return 4
	case bpf.SizeH:
		return 2
	}
	return 1
}

// end is where the bytes of a load end, without X.
func end(in bpf.Instruction) int { return int(in.K) + width(in) }

// registers are what in reads and writes of A, X and memory.
func registers(in bpf.Instruction) (read, written uint32) {
	switch in.Op & 7 {
	case bpf.ClassLD:
		written = liveA
		switch {
		case in.Op&0xe0 == bpf.ModeMEM:
			read = 1 << in.K
		case indirect(in):
			read = liveX
		case ancillary(in) && in.K == bpf.AdAluXorX:
			read = liveA | liveX
		}
	case bpf.ClassLDX:
		written = liveX
		if in.Op&0xe0 == bpf.ModeMEM {
			read = 1 << in.K
		}
	case bpf.ClassST:
		read, written = liveA, 1<<in.K
	case bpf.ClassSTX:
		read, written = liveX, 1<<in.K
	case bpf.ClassALU, bpf.ClassJMP:
		if in.Op == bpf.ClassJMP|bpf.JmpA {
			break
		}
		read = liveA
		if in.Op&bpf.SrcX != 0 {
			read |= liveX
		}
		if in.Op&7 == bpf.ClassALU {
			written = liveA
		}
	case bpf.ClassRET:
		if in.Op&0x18 == bpf.RetA {
			read = liveA
		}
	case bpf.ClassMISC:
		read, written = liveA, liveX
		if in.Op&0xf8 == bpf.MiscTXA {
			read, written = liveX, liveA
		}
	}
	return read, written
}
