// Package bpf is the classic BSD Packet Filter: its instructions, their text,
// an assembler, a validator and the machine.
//
//	p, err := bpf.ParseDecimal(text) // tcpdump -ddd 'tcp port 80'
//	m, err := bpf.Compile(p)
//	keep := m.Run(pkt, len(pkt), nil)
//
// # Theory of operation
//
// A program works on an accumulator A, an index X and sixteen words of memory,
// all zero at first, and reads the packet in network byte order. [Compile]
// validates it once ([Program.Validate]) and decodes it into steps with a dense
// numbering and absolute jump targets; [Machine.Run] is one switch over them
// that allocates nothing. A load and the comparison behind it, which is most of
// what filters do, are one step. What validation has settled is not looked at again:
// only loads, divisions by X and backward jumps are checked as they run.
//
// Where Linux and libpcap differ, the machine does as libpcap's bpf_filter: an
// indirect load whose offset exceeds 32 bits rejects the packet, and a shift by
// an X above 31 yields 0. Linux's ancillary loads are taken from an
// [Ancillary].
//
// Sources: bpf(4) of the BSDs, Linux's Documentation/networking/filter.rst.
package bpf

// An Instruction is one instruction of a program, as the kernel's struct
// sock_filter and libpcap's struct bpf_insn have it.
type Instruction struct {
	Op     uint16 // class, mode, size or operation, and source
	Jt, Jf uint8  // instructions to skip if a conditional jump's test holds, or does not
	K      uint32 // constant, offset or address, in host order
}

// A Program is a list of instructions. It runs from the first to a return, and
// yields how many bytes of the packet to keep; 0 rejects it.
type Program []Instruction

// Classes.
const (
	ClassLD   = 0x00
	ClassLDX  = 0x01
	ClassST   = 0x02
	ClassSTX  = 0x03
	ClassALU  = 0x04
	ClassJMP  = 0x05
	ClassRET  = 0x06
	ClassMISC = 0x07
)

// Sizes and modes of loads.
const (
	SizeW = 0x00
	SizeH = 0x08
	SizeB = 0x10

	ModeIMM = 0x00
	ModeABS = 0x20
	ModeIND = 0x40
	ModeMEM = 0x60
	ModeLEN = 0x80
	ModeMSH = 0xa0 // 4 × the low nibble of a byte
)

// Operations of ClassALU.
const (
	AluAdd = 0x00
	AluSub = 0x10
	AluMul = 0x20
	AluDiv = 0x30
	AluOr  = 0x40
	AluAnd = 0x50
	AluLsh = 0x60
	AluRsh = 0x70
	AluNeg = 0x80
	AluMod = 0x90
	AluXor = 0xa0
)

// Operations of ClassJMP.
const (
	JmpA   = 0x00
	JmpEq  = 0x10
	JmpGt  = 0x20
	JmpGe  = 0x30
	JmpSet = 0x40
)

// Operands, and what ClassRET and ClassMISC add.
const (
	SrcK = 0x00
	SrcX = 0x08

	RetA = 0x10

	MiscTAX = 0x00
	MiscTXA = 0x80
)

const (
	// MemWords is the number of words of scratch memory.
	MemWords = 16
	// MaxLen is the longest program that the kernel takes, in instructions.
	MaxLen = 4096
)

// Ancillary data: what a load with ModeABS from AdOff+n yields on Linux
// (SKF_AD_OFF).
const (
	AdOff            = 0xfffff000
	AdProtocol       = AdOff + 0
	AdPktType        = AdOff + 4
	AdIfIndex        = AdOff + 8
	AdNlAttr         = AdOff + 12
	AdNlAttrNest     = AdOff + 16
	AdMark           = AdOff + 20
	AdQueue          = AdOff + 24
	AdHatype         = AdOff + 28
	AdRxHash         = AdOff + 32
	AdCPU            = AdOff + 36
	AdAluXorX        = AdOff + 40
	AdVlanTag        = AdOff + 44
	AdVlanTagPresent = AdOff + 48
	AdPayOffset      = AdOff + 52
	AdRandom         = AdOff + 56
	AdVlanTPID       = AdOff + 60

	// NetOff and LLOff are where loads from the network and the link header
	// begin (SKF_NET_OFF, SKF_LL_OFF).
	NetOff = 0xfff00000
	LLOff  = 0xffe00000
)
