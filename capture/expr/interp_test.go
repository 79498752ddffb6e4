package expr

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"

	"github.com/towpath/towpath/capture/bpf"
	"github.com/towpath/towpath/capture/jit"
)

// An outcome is how a program ended.
type outcome uint8

const (
	returned outcome = iota
	outside          // a load from behind the packet
	divided          // by zero
	endless          // too many steps
	invalid          // no such instruction
)

// A meta is what Linux knows of a packet beside its bytes.
type meta struct {
	pktType, ifindex, vlanTag uint32
	tagged                    bool
}

// An engine is a program for the machine, and as machine code.
type engine struct {
	prog    bpf.Program
	machine *bpf.Machine
	filter  *jit.Filter
}

// engines are of the programs that ran last.
var engines [4]engine

// interpret runs a program, and panics if the machine or machine code do not
// say the same.
func interpret(prog bpf.Program, p []byte, length int, m meta) (uint32, outcome) {
	want, how := plainly(prog, p, length, m)
	if how > divided {
		return want, how
	}
	i := slices.IndexFunc(engines[:], func(e engine) bool { return len(e.prog) == len(prog) && &e.prog[0] == &prog[0] })
	if i < 0 {
		machine, err := bpf.Compile(prog)
		if err != nil {
			panic(err)
		}
		filter, err := jit.Compile(prog)
		if err != nil {
			panic(err)
		}
		i = copy(engines[:], engines[1:])
		engines[i] = engine{prog, machine, filter}
	}
	// Nothing is at negative offsets.
	aux := &bpf.Ancillary{
		PktType: uint8(m.pktType), IfIndex: m.ifindex, VlanTag: uint16(m.vlanTag), VlanTagPresent: m.tagged,
		NetOffset: math.MaxInt32, LLOffset: math.MaxInt32,
	}
	if got := engines[i].machine.Run(p, length, aux); got != want {
		panic(fmt.Sprintf("the machine returns %d, not %d, for %x\n%v", got, want, p, prog))
	}
	if got := engines[i].filter.Run(p, length, aux); got != want {
		panic(fmt.Sprintf("machine code returns %d, not %d, for %x\n%v", got, want, p, prog))
	}
	return want, how
}

// plainly runs a program as plainly as possible.
func plainly(prog bpf.Program, p []byte, length int, m meta) (uint32, outcome) {
	var a, x uint32
	var mem [bpf.MemWords]uint32
	load := func(k uint64, size uint16) (uint32, bool) {
		switch k {
		case bpf.AdPktType:
			return m.pktType, true
		case bpf.AdIfIndex:
			return m.ifindex, true
		case bpf.AdVlanTag:
			return m.vlanTag, true
		case bpf.AdVlanTagPresent:
			if m.tagged {
				return 1, true
			}
			return 0, true
		}
		n := map[uint16]uint64{bpf.SizeW: 4, bpf.SizeH: 2, bpf.SizeB: 1}[size]
		if k+n > uint64(len(p)) {
			return 0, false
		}
		switch n {
		case 4:
			return binary.BigEndian.Uint32(p[k:]), true
		case 2:
			return uint32(binary.BigEndian.Uint16(p[k:])), true
		}
		return uint32(p[k]), true
	}
	pc := 0
	for range 100000 {
		if pc >= len(prog) {
			return 0, invalid
		}
		in := prog[pc]
		pc++
		size := in.Op & 0x18
		switch in.Op & 7 {
		case bpf.ClassRET:
			if in.Op&0x18 == bpf.RetA {
				return a, returned
			}
			return in.K, returned
		case bpf.ClassLD, bpf.ClassLDX:
			var v uint32
			ok := true
			switch in.Op & 0xe0 {
			case bpf.ModeIMM:
				v = in.K
			case bpf.ModeABS:
				v, ok = load(uint64(in.K), size)
			case bpf.ModeIND:
				v, ok = load(uint64(in.K)+uint64(x), size)
				if uint64(in.K)+uint64(x) >= bpf.LLOff {
					ok = false
				}
			case bpf.ModeMEM:
				v = mem[in.K]
			case bpf.ModeLEN:
				v = uint32(length)
			case bpf.ModeMSH:
				v, ok = load(uint64(in.K), bpf.SizeB)
				v = v & 15 * 4
			}
			if !ok {
				return 0, outside
			}
			if in.Op&7 == bpf.ClassLD {
				a = v
			} else {
				x = v
			}
		case bpf.ClassST:
			mem[in.K] = a
		case bpf.ClassSTX:
			mem[in.K] = x
		case bpf.ClassMISC:
			if in.Op&0xf8 == bpf.MiscTXA {
				a = x
			} else {
				x = a
			}
		case bpf.ClassALU:
			b := in.K
			if in.Op&bpf.SrcX != 0 {
				b = x
			}
			op := in.Op & 0xf0
			if (op == bpf.AluDiv || op == bpf.AluMod) && b == 0 {
				return 0, divided
			}
			switch op {
			case bpf.AluAdd:
				a += b
			case bpf.AluSub:
				a -= b
			case bpf.AluMul:
				a *= b
			case bpf.AluDiv:
				a /= b
			case bpf.AluMod:
				a %= b
			case bpf.AluOr:
				a |= b
			case bpf.AluAnd:
				a &= b
			case bpf.AluXor:
				a ^= b
			case bpf.AluLsh:
				a <<= b
			case bpf.AluRsh:
				a >>= b
			case bpf.AluNeg:
				a = -a
			}
		case bpf.ClassJMP:
			if in.Op&0xf0 == bpf.JmpA {
				pc += int(int32(in.K))
				continue
			}
			b := in.K
			if in.Op&bpf.SrcX != 0 {
				b = x
			}
			if compare(in.Op&0xf0, a, b) {
				pc += int(in.Jt)
			} else {
				pc += int(in.Jf)
			}
		}
	}
	return 0, endless
}

// valid reports what is wrong with a program, or "".
func valid(prog bpf.Program) string {
	if err := prog.Validate(); err != nil {
		return err.Error()
	}
	return ""
}
