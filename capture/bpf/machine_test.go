package bpf_test

import (
	"encoding/binary"
	"flag"
	"math/rand/v2"
	"strings"
	"testing"

	xbpf "golang.org/x/net/bpf"

	"github.com/towpath/towpath/capture/bpf"
)

var rounds = flag.Int("rounds", 3000, "random programs to compare")

func ld(size uint16, mode uint16, k uint32) bpf.Instruction {
	return bpf.Instruction{Op: bpf.ClassLD | size | mode, K: k}
}

func op(o uint16, k uint32) bpf.Instruction { return bpf.Instruction{Op: o, K: k} }

// jeq skips an instruction unless A is k.
func jeq(k uint32) bpf.Instruction { return bpf.Instruction{Op: bpf.ClassJMP | bpf.JmpEq, Jf: 1, K: k} }

var retA = op(bpf.ClassRET|bpf.RetA, 0)

// TestRun runs programs written by hand over one packet.
func TestRun(t *testing.T) {
	pkt := []byte{0x45, 1, 2, 3, 0xf4, 5, 6, 7}
	attrs := make([]byte, 16) // type 7, holding type 9
	binary.NativeEndian.PutUint16(attrs[4:], 12)
	binary.NativeEndian.PutUint16(attrs[6:], 7)
	binary.NativeEndian.PutUint16(attrs[8:], 8)
	binary.NativeEndian.PutUint16(attrs[10:], 9)
	aux := &bpf.Ancillary{
		Protocol: 0x800, PktType: 4, VlanTagPresent: true, VlanTag: 5, VlanTPID: 0x8100, Hatype: 1, Queue: 2,
		IfIndex: 3, Mark: 6, RxHash: 7, CPU: 8, PayOffset: 9, Random: 10, NetOffset: 4, LLOffset: -2,
	}
	const imm, ldximm = bpf.ClassLD | bpf.ModeIMM, bpf.ClassLDX | bpf.ModeIMM
	for _, c := range []struct {
		name string
		pkt  []byte
		prog bpf.Program
		want uint32
	}{
		{"word", pkt, bpf.Program{ld(bpf.SizeW, bpf.ModeABS, 4), retA}, 0xf4050607},
		{"word past the end", pkt, bpf.Program{ld(bpf.SizeW, bpf.ModeABS, 5), op(bpf.ClassRET, 1)}, 0},
		{"half past the end", pkt, bpf.Program{ld(bpf.SizeH, bpf.ModeABS, 7), op(bpf.ClassRET, 1)}, 0},
		{"byte past the end", pkt, bpf.Program{ld(bpf.SizeB, bpf.ModeABS, 8), op(bpf.ClassRET, 1)}, 0},
		{"wire length", pkt, bpf.Program{ld(0, bpf.ModeLEN, 0), retA}, 100},
		{"nibble", pkt, bpf.Program{op(bpf.ClassLDX|bpf.SizeB|bpf.ModeMSH, 4), op(bpf.ClassMISC|bpf.MiscTXA, 0), retA}, 16},
		{"index", pkt, bpf.Program{op(ldximm, 2), ld(bpf.SizeH, bpf.ModeIND, 1), retA}, 0x03f4},
		{"index never wraps", pkt, bpf.Program{op(ldximm, 0xffffffff), ld(bpf.SizeB, bpf.ModeIND, 3), op(bpf.ClassRET, 1)}, 0},
		{"memory is zero", pkt, bpf.Program{ld(0, bpf.ModeMEM, 15), retA}, 0},
		{"memory", pkt, bpf.Program{op(imm, 9), op(bpf.ClassST, 3), op(imm, 0), ld(0, bpf.ModeMEM, 3), retA}, 9},
		{"division by zero", pkt, bpf.Program{op(imm, 9), op(bpf.ClassALU|bpf.AluDiv|bpf.SrcX, 0), op(bpf.ClassRET, 1)}, 0},
		{"modulo zero", pkt, bpf.Program{op(imm, 9), op(bpf.ClassALU|bpf.AluMod|bpf.SrcX, 0), op(bpf.ClassRET, 1)}, 0},
		{"shift by 32", pkt, bpf.Program{op(imm, 9), op(ldximm, 32), op(bpf.ClassALU|bpf.AluLsh|bpf.SrcX, 0), retA}, 0},
		{"negation", pkt, bpf.Program{op(imm, 1), op(bpf.ClassALU|bpf.AluNeg, 0), retA}, 0xffffffff},
		{"endless loop", pkt, bpf.Program{op(bpf.ClassJMP|bpf.JmpA, 0xffffffff), op(bpf.ClassRET, 1)}, 0},
		{"network header", pkt, bpf.Program{ld(bpf.SizeB, bpf.ModeABS, bpf.NetOff+1), retA}, 5},
		{"network header past the end", pkt, bpf.Program{ld(bpf.SizeB, bpf.ModeABS, bpf.NetOff+4), op(bpf.ClassRET, 1)}, 0},
		{"link header", pkt, bpf.Program{ld(bpf.SizeB, bpf.ModeABS, bpf.LLOff+2), retA}, 0x45},
		{"link header before the start", pkt, bpf.Program{ld(bpf.SizeW, bpf.ModeABS, bpf.LLOff), op(bpf.ClassRET, 1)}, 0},
		{"network header, compared", pkt, bpf.Program{ld(bpf.SizeH, bpf.ModeABS, bpf.NetOff), jeq(0xf405), retA, op(bpf.ClassRET, 1)}, 0xf405},
		{"link header by X, compared", pkt, bpf.Program{op(ldximm, bpf.LLOff), ld(bpf.SizeH, bpf.ModeIND, 4), jeq(0x0203), retA, op(bpf.ClassRET, 1)}, 0x0203},
		{"word, compared", pkt, bpf.Program{ld(bpf.SizeW, bpf.ModeABS, 4), jeq(0xf4050607), retA, op(bpf.ClassRET, 1)}, 0xf4050607},
		{"word past the end, compared", pkt, bpf.Program{ld(bpf.SizeW, bpf.ModeABS, 5), jeq(1), retA, op(bpf.ClassRET, 1)}, 0},
		{"nibble of the network header", pkt, bpf.Program{op(bpf.ClassLDX|bpf.SizeB|bpf.ModeMSH, bpf.NetOff), op(bpf.ClassMISC|bpf.MiscTXA, 0), retA}, 16},
		{"protocol", pkt, bpf.Program{ld(0, bpf.ModeABS, bpf.AdProtocol), retA}, 0x800},
		{"packet type", pkt, bpf.Program{ld(0, bpf.ModeABS, bpf.AdPktType), retA}, 4},
		{"interface", pkt, bpf.Program{ld(0, bpf.ModeABS, bpf.AdIfIndex), retA}, 3},
		{"mark", pkt, bpf.Program{ld(0, bpf.ModeABS, bpf.AdMark), retA}, 6},
		{"queue", pkt, bpf.Program{ld(0, bpf.ModeABS, bpf.AdQueue), retA}, 2},
		{"hardware type", pkt, bpf.Program{ld(0, bpf.ModeABS, bpf.AdHatype), retA}, 1},
		{"hash", pkt, bpf.Program{ld(0, bpf.ModeABS, bpf.AdRxHash), retA}, 7},
		{"CPU", pkt, bpf.Program{ld(0, bpf.ModeABS, bpf.AdCPU), retA}, 8},
		{"exclusive or", pkt, bpf.Program{op(imm, 6), op(ldximm, 3), ld(0, bpf.ModeABS, bpf.AdAluXorX), retA}, 5},
		{"VLAN tag", pkt, bpf.Program{ld(0, bpf.ModeABS, bpf.AdVlanTag), retA}, 5},
		{"VLAN tag present", pkt, bpf.Program{ld(bpf.SizeB, bpf.ModeABS, bpf.AdVlanTagPresent), retA}, 1},
		{"VLAN TPID", pkt, bpf.Program{ld(0, bpf.ModeABS, bpf.AdVlanTPID), retA}, 0x8100},
		{"payload", pkt, bpf.Program{ld(0, bpf.ModeABS, bpf.AdPayOffset), retA}, 9},
		{"random", pkt, bpf.Program{ld(0, bpf.ModeABS, bpf.AdRandom), retA}, 10},
		{"attribute", attrs, bpf.Program{op(imm, 4), op(ldximm, 7), ld(0, bpf.ModeABS, bpf.AdNlAttr), retA}, 4},
		{"no attribute", attrs, bpf.Program{op(imm, 4), op(ldximm, 8), ld(0, bpf.ModeABS, bpf.AdNlAttr), retA}, 0},
		{"nested attribute", attrs, bpf.Program{op(imm, 4), op(ldximm, 9), ld(0, bpf.ModeABS, bpf.AdNlAttrNest), retA}, 8},
		{"attribute past the end", attrs, bpf.Program{op(imm, 0xffffffff), op(ldximm, 9), ld(0, bpf.ModeABS, bpf.AdNlAttrNest), retA}, 0},
	} {
		m, err := bpf.Compile(c.prog)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
		} else if got := m.Run(c.pkt, 100, aux); got != c.want {
			t.Errorf("%s: got %#x, want %#x", c.name, got, c.want)
		}
	}
}

func TestValidate(t *testing.T) {
	ret := op(bpf.ClassRET, 0)
	for _, c := range []struct {
		prog bpf.Program
		want string
	}{
		{nil, "empty"},
		{make(bpf.Program, bpf.MaxLen+1), "more than 4096"},
		{bpf.Program{op(0xff, 0), ret}, "unknown opcode 0xff"},
		{bpf.Program{op(bpf.ClassRET|bpf.SrcX, 0)}, "unknown opcode"},
		{bpf.Program{op(bpf.ClassALU|bpf.AluDiv, 0), ret}, "division by zero"},
		{bpf.Program{op(bpf.ClassALU|bpf.AluMod, 0), ret}, "division by zero"},
		{bpf.Program{op(bpf.ClassALU|bpf.AluLsh, 32), ret}, "shift by 32"},
		{bpf.Program{op(bpf.ClassST, 16), ret}, "no memory word 16"},
		{bpf.Program{ld(0, bpf.ModeABS, bpf.AdVlanTPID+4), ret}, "no ancillary datum 64"},
		{bpf.Program{op(bpf.ClassJMP, 1), ret}, "jump to 2"},
		{bpf.Program{op(bpf.ClassJMP, 0xfffffffe), ret}, "jump to -1"},
		{bpf.Program{{Op: bpf.ClassJMP | bpf.JmpEq, Jf: 1}, ret}, "jump to 2"},
		{bpf.Program{ret, op(bpf.ClassMISC, 0)}, "does not return"},
	} {
		if err := c.prog.Validate(); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v: %v, want %q", c.prog, err, c.want)
		}
	}
}

// TestNetBPF compares random programs with the machine of golang.org/x/net/bpf
// on random packets of all lengths. That machine has no negation.
func TestNetBPF(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	ops := []uint16{0x20, 0x28, 0x30, 0x40, 0x48, 0x50, 0x80, 0x00, 0x60, 0xb1, 0x01, 0x61, 0x02, 0x03,
		0x04, 0x0c, 0x14, 0x1c, 0x24, 0x2c, 0x34, 0x3c, 0x94, 0x9c, 0x54, 0x5c, 0x44, 0x4c, 0xa4, 0xac, 0x64, 0x6c, 0x74, 0x7c,
		0x05, 0x15, 0x1d, 0x25, 0x2d, 0x35, 0x3d, 0x45, 0x4d, 0x06, 0x16, 0x07, 0x87}
	kept := 0
	for range *rounds {
		p := make(bpf.Program, 2+r.IntN(24))
		raw := make([]xbpf.RawInstruction, len(p))
		for pc := range p {
			left := len(p) - pc - 1
			in := bpf.Instruction{Op: ops[r.IntN(len(ops))], K: 1 + r.Uint32N(15)}
			if left == 0 || in.Op&7 == bpf.ClassRET && r.IntN(8) > 0 {
				in.Op = bpf.ClassRET | bpf.RetA
				if left > 0 {
					in.Op = bpf.ClassLD | bpf.SizeB | bpf.ModeABS
				}
			}
			if in.Op&7 == bpf.ClassJMP {
				in.Jt, in.Jf, in.K = uint8(r.IntN(left)), uint8(r.IntN(left)), r.Uint32N(256)
				if in.Op == bpf.ClassJMP|bpf.JmpA {
					in.Jt, in.Jf, in.K = 0, 0, uint32(r.IntN(left))
				}
			}
			p[pc] = in
			raw[pc] = xbpf.RawInstruction{Op: in.Op, Jt: in.Jt, Jf: in.Jf, K: in.K}
		}
		m, err := bpf.Compile(p)
		if err != nil {
			t.Fatalf("%v\n%v", err, p)
		}
		theirs, all := xbpf.Disassemble(raw)
		if !all {
			t.Fatalf("x/net/bpf does not know an instruction of\n%v", p)
		}
		vm, err := xbpf.NewVM(theirs)
		if err != nil {
			continue
		}
		pkt := make([]byte, 40)
		for i := range pkt {
			pkt[i] = byte(r.Uint32())
		}
		for n := range pkt {
			want, err := vm.Run(pkt[:n])
			if err != nil {
				t.Fatalf("x/net/bpf: %v\n%v", err, p)
			}
			got := m.Run(pkt[:n], n, nil)
			if got != uint32(want) {
				t.Fatalf("%d bytes of %x: got %#x, want %#x\n%v", n, pkt, got, want, p)
			}
			if got != 0 {
				kept++
			}
		}
	}
	if kept == 0 {
		t.Error("no program kept a packet")
	}
}

func TestRunAllocs(t *testing.T) {
	m, err := bpf.Compile(bpf.Program{ld(bpf.SizeH, bpf.ModeABS, 12), op(bpf.ClassST, 0), retA})
	if err != nil {
		t.Fatal(err)
	}
	pkt := make([]byte, 60)
	if n := testing.AllocsPerRun(100, func() { m.Run(pkt, 60, nil) }); n != 0 {
		t.Errorf("%v allocations a run", n)
	}
}

// BenchmarkRun runs tcpdump's "tcp port 80" and x/net/bpf beside it.
func BenchmarkRun(b *testing.B) {
	p, err := bpf.ParseDecimal("20,40 0 0 12,21 0 6 34525,48 0 0 20,21 0 15 6,40 0 0 54,21 12 0 80,40 0 0 56,21 10 11 80," +
		"21 0 10 2048,48 0 0 23,21 0 8 6,40 0 0 20,69 6 0 8191,177 0 0 14,72 0 0 14,21 2 0 80,72 0 0 16,21 0 1 80,6 0 0 262144,6 0 0 0")
	if err != nil {
		b.Fatal(err)
	}
	m, err := bpf.Compile(p)
	if err != nil {
		b.Fatal(err)
	}
	raw := make([]xbpf.RawInstruction, len(p))
	for i, in := range p {
		raw[i] = xbpf.RawInstruction{Op: in.Op, Jt: in.Jt, Jf: in.Jf, K: in.K}
	}
	theirs, _ := xbpf.Disassemble(raw)
	vm, err := xbpf.NewVM(theirs)
	if err != nil {
		b.Fatal(err)
	}
	pkt := make([]byte, 60)
	pkt[12], pkt[14], pkt[23], pkt[37] = 8, 0x45, 6, 80
	b.Run("machine", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if m.Run(pkt, len(pkt), nil) == 0 {
				b.Fatal("rejected")
			}
		}
	})
	b.Run("xnet", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if n, err := vm.Run(pkt); n == 0 || err != nil {
				b.Fatal("rejected")
			}
		}
	})
}

// FuzzMachine feeds programs in the form of struct sock_filter, in big-endian
// order: whatever validates runs to an end and survives its decimal form.
func FuzzMachine(f *testing.F) {
	f.Add([]byte{0, 0x28, 0, 0, 0, 0, 0, 12, 0, 6, 0, 0, 0, 0, 0, 1}, make([]byte, 14))
	f.Add([]byte{0, 5, 0, 0, 0xff, 0xff, 0xff, 0xff, 0, 6, 0, 0, 0, 0, 0, 1}, []byte{})
	f.Add([]byte{0, 0x20, 0, 0, 0xff, 0xff, 0xf0, 12, 0, 0x16, 0, 0, 0, 0, 0, 0}, make([]byte, 8))
	f.Fuzz(func(t *testing.T, code, pkt []byte) {
		var p bpf.Program
		for ; len(code) >= 8; code = code[8:] {
			p = append(p, bpf.Instruction{
				Op: binary.BigEndian.Uint16(code), Jt: code[2], Jf: code[3], K: binary.BigEndian.Uint32(code[4:]),
			})
		}
		_ = p.String()
		m, err := bpf.Compile(p)
		if err != nil {
			return
		}
		m.Run(pkt, len(pkt), &bpf.Ancillary{NetOffset: 14, LLOffset: -1 << 62})
		back, err := bpf.ParseDecimal(p.Decimal())
		if err != nil || back.Decimal() != p.Decimal() {
			t.Fatalf("%v: %v", err, back)
		}
		// Jumps print only what they mean: an unused field is lost.
		if back, err = bpf.ParseListing(p.String()); err != nil || back.String() != p.String() {
			t.Fatalf("%v\n%v%v", err, p, back)
		}
	})
}
