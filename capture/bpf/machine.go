package bpf

import (
	"encoding/binary"
	"math/bits"
)

// Ancillary is what the system knows of a packet beside its bytes: what loads
// from AdOff, NetOff and LLOff yield. The zero value knows nothing.
type Ancillary struct {
	Protocol       uint16 // EtherType, in host order
	PktType        uint8  // PACKET_HOST and so on
	VlanTagPresent bool
	VlanTag        uint16 // TCI, in host order
	VlanTPID       uint16 // in host order
	Hatype         uint16 // ARPHRD_ETHER and so on
	Queue          uint16
	IfIndex        uint32
	Mark           uint32
	RxHash         uint32
	CPU            uint32
	PayOffset      uint32 // where the transport's payload begins
	Random         uint32

	NetOffset int // where the network header begins in the packet, may be negative
	LLOffset  int // where the link header begins in the packet, may be negative
}

// stepsMax bounds the run of a program that loops. A chain of the shortest
// headers in the longest packet needs less.
const stepsMax = 1 << 18

// code is an instruction's operation in the dense numbering of the machine.
type code uint8

const (
	retK code = iota
	retA
	ldW
	ldH
	ldB
	ldIndW
	ldIndH
	ldIndB
	ldLen
	ldImm
	ldMem
	ldAux // K is AdXxx − AdOff
	ldxLen
	ldxMsh
	ldxImm
	ldxMem
	st
	stx
	addK
	subK
	mulK
	divK
	modK
	andK
	orK
	xorK
	lshK
	rshK
	addX
	subX
	mulX
	divX
	modX
	andX
	orX
	xorX
	lshX
	rshX
	neg
	ja
	jeqK
	jgtK
	jgeK
	jsetK
	jeqX
	jgtX
	jgeX
	jsetX
	tax
	txa

	// Loads with the jeqK behind them, in the order of those without.
	ldWjeq
	ldHjeq
	ldBjeq
	ldIndWjeq
	ldIndHjeq
	ldIndBjeq
)

// codes are the machine's operations by opcode.
var codes = map[uint16]code{
	ClassRET | SrcK: retK, ClassRET | RetA: retA,
	ClassLD | SizeW | ModeABS: ldW, ClassLD | SizeH | ModeABS: ldH, ClassLD | SizeB | ModeABS: ldB,
	ClassLD | SizeW | ModeIND: ldIndW, ClassLD | SizeH | ModeIND: ldIndH, ClassLD | SizeB | ModeIND: ldIndB,
	ClassLD | ModeLEN: ldLen, ClassLD | ModeIMM: ldImm, ClassLD | ModeMEM: ldMem,
	ClassLDX | ModeLEN: ldxLen, ClassLDX | SizeB | ModeMSH: ldxMsh, ClassLDX | ModeIMM: ldxImm, ClassLDX | ModeMEM: ldxMem,
	ClassST: st, ClassSTX: stx,
	ClassALU | AluAdd: addK, ClassALU | AluAdd | SrcX: addX, ClassALU | AluSub: subK, ClassALU | AluSub | SrcX: subX,
	ClassALU | AluMul: mulK, ClassALU | AluMul | SrcX: mulX, ClassALU | AluDiv: divK, ClassALU | AluDiv | SrcX: divX,
	ClassALU | AluMod: modK, ClassALU | AluMod | SrcX: modX, ClassALU | AluAnd: andK, ClassALU | AluAnd | SrcX: andX,
	ClassALU | AluOr: orK, ClassALU | AluOr | SrcX: orX, ClassALU | AluXor: xorK, ClassALU | AluXor | SrcX: xorX,
	ClassALU | AluLsh: lshK, ClassALU | AluLsh | SrcX: lshX, ClassALU | AluRsh: rshK, ClassALU | AluRsh | SrcX: rshX,
	ClassALU | AluNeg: neg, ClassJMP | JmpA: ja,
	ClassJMP | JmpEq: jeqK, ClassJMP | JmpEq | SrcX: jeqX, ClassJMP | JmpGt: jgtK, ClassJMP | JmpGt | SrcX: jgtX,
	ClassJMP | JmpGe: jgeK, ClassJMP | JmpGe | SrcX: jgeX, ClassJMP | JmpSet: jsetK, ClassJMP | JmpSet | SrcX: jsetX,
	ClassMISC | MiscTAX: tax, ClassMISC | MiscTXA: txa,
}

// A step is a decoded instruction: jumps name their targets. A load that a jump
// on equality follows is decoded together with it: v is the jump's constant.
type step struct {
	k, v   uint32
	jt, jf uint16
	code   code
}

// A Machine runs one program. It is immutable: goroutines may share it.
type Machine struct {
	steps []step
	loops bool
}

// Compile validates p and decodes it.
func Compile(p Program) (*Machine, error) {
	if err := p.Validate(); err != nil {
		return nil, err
	}
	m := &Machine{steps: make([]step, len(p)), loops: p.Loops()}
	for pc := len(p) - 1; pc >= 0; pc-- {
		in := p[pc]
		s := step{code: codes[in.Op], jt: uint16(pc + 1 + int(in.Jt)), jf: uint16(pc + 1 + int(in.Jf)), k: in.K}
		switch {
		case s.code == ja:
			s.jt = uint16(pc + 1 + int(int32(in.K)))
		case s.code >= ldW && s.code <= ldB && in.K >= AdOff:
			s.code, s.k = ldAux, in.K-AdOff
		case s.code >= ldW && s.code <= ldIndB && m.steps[pc+1].code == jeqK:
			next := m.steps[pc+1]
			s.code, s.v, s.jt, s.jf = s.code-ldW+ldWjeq, next.k, next.jt, next.jf
		}
		m.steps[pc] = s
	}
	return m, nil
}

// registers are what changes with each step of a run.
type registers struct {
	a, x uint32
	pc   uint
}

// memory is the rest of a run's state.
type memory struct {
	words [MemWords]uint32
	jumps int // of a program that loops
}

// Run returns how many bytes of a packet to keep, 0 for none. pkt are the bytes
// captured, wireLen the length that the packet had, which is what the program
// sees as its length. A nil aux is the zero value. A load outside pkt, a
// division by zero and a loop that does not end reject the packet. As in
// libpcap, a shift by more than 31 yields 0, and an offset never wraps.
func (m *Machine) Run(pkt []byte, wireLen int, aux *Ancillary) uint32 {
	var mem memory
	r, ended := m.run(registers{}, &mem, pkt, wireLen)
	for !ended {
		if r, ended = m.rare(r, pkt, aux); !ended {
			r, ended = m.run(r, &mem, pkt, wireLen)
		}
	}
	return r.a
}

// run goes on from r until the program has ended, when A is the verdict, or
// until there is a load for rare to do. It calls nothing, so that A, X and the
// rest stay in the processor's registers.
func (m *Machine) run(r registers, mem *memory, pkt []byte, wireLen int) (_ registers, ended bool) {
	pkt = pkt[:len(pkt):len(pkt)] // one length to keep, not two
	steps := m.steps
	a, x, pc := r.a, r.x, r.pc
	for pc < uint(len(steps)) {
		s := &steps[pc]
		pc++
		switch s.code {
		case retK:
			return registers{a: s.k}, true
		case retA:
			return registers{a: a}, true
		case ldW:
			off := uint64(s.k)
			if off+4 > uint64(len(pkt)) {
				return registers{a, x, pc - 1}, false
			}
			a = binary.BigEndian.Uint32(pkt[off : off+4])
		case ldH:
			off := uint64(s.k)
			if off+2 > uint64(len(pkt)) {
				return registers{a, x, pc - 1}, false
			}
			a = uint32(binary.BigEndian.Uint16(pkt[off : off+2]))
		case ldB:
			off := uint64(s.k)
			if off >= uint64(len(pkt)) {
				return registers{a, x, pc - 1}, false
			}
			a = uint32(pkt[off])
		case ldIndW:
			off := uint64(x) + uint64(s.k)
			if off+4 > uint64(len(pkt)) {
				return registers{a, x, pc - 1}, false
			}
			a = binary.BigEndian.Uint32(pkt[off : off+4])
		case ldIndH:
			off := uint64(x) + uint64(s.k)
			if off+2 > uint64(len(pkt)) {
				return registers{a, x, pc - 1}, false
			}
			a = uint32(binary.BigEndian.Uint16(pkt[off : off+2]))
		case ldIndB:
			off := uint64(x) + uint64(s.k)
			if off >= uint64(len(pkt)) {
				return registers{a, x, pc - 1}, false
			}
			a = uint32(pkt[off])
		case ldWjeq:
			off := uint64(s.k)
			if off+4 > uint64(len(pkt)) {
				return registers{a, x, pc - 1}, false
			}
			a = binary.BigEndian.Uint32(pkt[off : off+4])
			pc = s.next(a == s.v)
		case ldHjeq:
			off := uint64(s.k)
			if off+2 > uint64(len(pkt)) {
				return registers{a, x, pc - 1}, false
			}
			a = uint32(binary.BigEndian.Uint16(pkt[off : off+2]))
			pc = s.next(a == s.v)
		case ldBjeq:
			off := uint64(s.k)
			if off >= uint64(len(pkt)) {
				return registers{a, x, pc - 1}, false
			}
			a = uint32(pkt[off])
			pc = s.next(a == s.v)
		case ldIndWjeq:
			off := uint64(x) + uint64(s.k)
			if off+4 > uint64(len(pkt)) {
				return registers{a, x, pc - 1}, false
			}
			a = binary.BigEndian.Uint32(pkt[off : off+4])
			pc = s.next(a == s.v)
		case ldIndHjeq:
			off := uint64(x) + uint64(s.k)
			if off+2 > uint64(len(pkt)) {
				return registers{a, x, pc - 1}, false
			}
			a = uint32(binary.BigEndian.Uint16(pkt[off : off+2]))
			pc = s.next(a == s.v)
		case ldIndBjeq:
			off := uint64(x) + uint64(s.k)
			if off >= uint64(len(pkt)) {
				return registers{a, x, pc - 1}, false
			}
			a = uint32(pkt[off])
			pc = s.next(a == s.v)
		case ldLen:
			a = uint32(wireLen)
		case ldImm:
			a = s.k
		case ldMem:
			a = mem.words[s.k%MemWords]
		case ldAux:
			return registers{a, x, pc - 1}, false
		case ldxLen:
			x = uint32(wireLen)
		case ldxMsh:
			off := uint64(s.k)
			if off >= uint64(len(pkt)) {
				return registers{a, x, pc - 1}, false
			}
			x = uint32(pkt[off]&0xf) * 4
		case ldxImm:
			x = s.k
		case ldxMem:
			x = mem.words[s.k%MemWords]
		case st:
			mem.words[s.k%MemWords] = a
		case stx:
			mem.words[s.k%MemWords] = x
		case addK:
			a += s.k
		case subK:
			a -= s.k
		case mulK:
			a *= s.k
		case divK:
			a /= s.k
		case modK:
			a %= s.k
		case andK:
			a &= s.k
		case orK:
			a |= s.k
		case xorK:
			a ^= s.k
		case lshK:
			a <<= s.k
		case rshK:
			a >>= s.k
		case addX:
			a += x
		case subX:
			a -= x
		case mulX:
			a *= x
		case divX:
			if x == 0 {
				return registers{}, true
			}
			a /= x
		case modX:
			if x == 0 {
				return registers{}, true
			}
			a %= x
		case andX:
			a &= x
		case orX:
			a |= x
		case xorX:
			a ^= x
		case lshX:
			a <<= x
		case rshX:
			a >>= x
		case neg:
			a = -a
		case ja:
			pc = uint(s.jt)
			if m.loops {
				if mem.jumps++; mem.jumps == stepsMax {
					return registers{}, true
				}
			}
		case jeqK:
			pc = s.next(a == s.k)
		case jgtK:
			pc = s.next(a > s.k)
		case jgeK:
			pc = s.next(a >= s.k)
		case jsetK:
			pc = s.next(a&s.k != 0)
		case jeqX:
			pc = s.next(a == x)
		case jgtX:
			pc = s.next(a > x)
		case jgeX:
			pc = s.next(a >= x)
		case jsetX:
			pc = s.next(a&x != 0)
		case tax:
			x = a
		case txa:
			a = x
		}
	}
	return registers{}, true
}

// next is where a conditional jump leads.
func (s *step) next(holds bool) uint {
	if holds {
		return uint(s.jt)
	}
	return uint(s.jf)
}

// rare does the load at r.pc, whose bytes run does not find in the packet. If
// they are nowhere the program has ended.
func (m *Machine) rare(r registers, pkt []byte, aux *Ancillary) (_ registers, ended bool) {
	if aux == nil {
		aux = &Ancillary{}
	}
	s := &m.steps[r.pc]
	r.pc++ // also if a jump was decoded with s: it is the next step
	off, n := uint64(s.k), uint64(1)
	switch s.code {
	case ldAux:
		r.a = aux.load(s.k, pkt, r.a, r.x)
		return r, false
	case ldIndW, ldIndH, ldIndB, ldIndWjeq, ldIndHjeq, ldIndBjeq:
		off += uint64(r.x)
	}
	switch s.code {
	case ldW, ldWjeq, ldIndW, ldIndWjeq:
		n = 4
	case ldH, ldHjeq, ldIndH, ldIndHjeq:
		n = 2
	}
	b := elsewhere(pkt, off, n, aux)
	if b == nil {
		return registers{}, true
	}
	var v uint32
	for _, c := range b {
		v = v<<8 | uint32(c)
	}
	if s.code == ldxMsh {
		r.x = v & 0xf * 4
	} else {
		r.a = v
	}
	return r, false
}

// elsewhere is the n bytes at off, which end behind pkt: offsets from NetOff and
// LLOff count from the headers that aux places, at others there is nothing. It
// is nil if the bytes are not all there.
func elsewhere(pkt []byte, off, n uint64, aux *Ancillary) []byte {
	switch {
	case off < LLOff || off > 1<<32-1:
		return nil
	case off >= NetOff:
		off += uint64(aux.NetOffset) - NetOff
	default:
		off += uint64(aux.LLOffset) - LLOff
	}
	// A header before the packet leaves off huge, and off+n may wrap.
	if end, carry := bits.Add64(off, n, 0); carry != 0 || end > uint64(len(pkt)) {
		return nil
	}
	return pkt[off : off+n]
}

// load is the datum at AdOff+k (linux/filter.h, SKF_AD_*).
func (x *Ancillary) load(k uint32, pkt []byte, a, rx uint32) uint32 {
	switch k {
	case AdProtocol - AdOff:
		return uint32(x.Protocol)
	case AdPktType - AdOff:
		return uint32(x.PktType)
	case AdIfIndex - AdOff:
		return x.IfIndex
	case AdNlAttr - AdOff:
		return attribute(pkt, uint64(a), uint64(len(pkt)), rx)
	case AdNlAttrNest - AdOff:
		if len(pkt) < 4 || uint64(a) > uint64(len(pkt)-4) {
			return 0
		}
		end := uint64(a) + uint64(binary.NativeEndian.Uint16(pkt[a:]))
		return attribute(pkt, uint64(a)+4, end, rx)
	case AdMark - AdOff:
		return x.Mark
	case AdQueue - AdOff:
		return uint32(x.Queue)
	case AdHatype - AdOff:
		return uint32(x.Hatype)
	case AdRxHash - AdOff:
		return x.RxHash
	case AdCPU - AdOff:
		return x.CPU
	case AdAluXorX - AdOff:
		return a ^ rx
	case AdVlanTag - AdOff:
		return uint32(x.VlanTag)
	case AdVlanTagPresent - AdOff:
		if x.VlanTagPresent {
			return 1
		}
	case AdPayOffset - AdOff:
		return x.PayOffset
	case AdRandom - AdOff:
		return x.Random
	case AdVlanTPID - AdOff:
		return uint32(x.VlanTPID)
	}
	return 0
}

// attribute is the offset of the first netlink attribute of a type between off
// and end, 0 if there is none (netlink(7): length and type in host order, padded
// to four bytes).
func attribute(pkt []byte, off, end uint64, kind uint32) uint32 {
	if end > uint64(len(pkt)) {
		return 0
	}
	for off+4 <= end {
		n := uint64(binary.NativeEndian.Uint16(pkt[off:]))
		if n < 4 || n > end-off {
			return 0
		}
		if uint32(binary.NativeEndian.Uint16(pkt[off+2:])&0x3fff) == kind {
			return uint32(off)
		}
		off += (n + 3) &^ 3
	}
	return 0
}
