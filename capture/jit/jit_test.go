package jit

import (
	"bytes"
	"encoding/binary"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"runtime/pprof"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/towpath/towpath/capture/bpf"
	"github.com/towpath/towpath/internal/testenv"
)

var rounds = flag.Int("rounds", 3000, "random programs to compare")

// opcodes are all that validate.
var opcodes = func() (list []uint16) {
	for op := range uint16(256) {
		p := bpf.Program{{Op: op, K: 1}, {Op: bpf.ClassRET}, {Op: bpf.ClassRET}}
		if p.Validate() == nil {
			list = append(list, op)
		}
	}
	return list
}()

// random makes a valid program that does not loop. Most constants are small, so
// that loads succeed; some are at the edges of what is encoded in another way.
func random(r *rand.Rand) bpf.Program {
	constant := func() uint32 {
		switch r.IntN(16) {
		case 0:
			return r.Uint32()
		case 1:
			edges := []uint32{0, 1, 31, 32, 63, 126, 127, 128, 254, 255, 256, 4095, 4096, 8190, 65535, 65536, 1<<31 - 4, 1<<31 - 1, 1 << 31,
				bpf.LLOff, bpf.LLOff + 2, bpf.LLOff - 2, bpf.NetOff, bpf.NetOff + 1, bpf.AdOff, 1<<32 - 128, 1<<32 - 1}
			return edges[r.IntN(len(edges))]
		}
		return r.Uint32N(48)
	}
	// Some programs have few places of memory and few lengths, so that what is
	// known of them matters.
	p := make(bpf.Program, 1+r.IntN(30))
	for pc := range p {
		left := len(p) - pc - 1
		in := bpf.Instruction{Op: opcodes[r.IntN(len(opcodes))], K: constant()}
		if r.IntN(3) == 0 { // as compilers have them
			in.Op = []uint16{0x28, 0x30, 0x20, 0x15, 0x15, 0x45, 0xb1, 0x48}[r.IntN(8)]
		}
		if left == 0 || in.Op&7 == bpf.ClassRET && r.IntN(6) > 0 {
			in.Op = bpf.ClassRET | bpf.RetA
			if left > 0 {
				in.Op = bpf.ClassLD | bpf.SizeB | bpf.ModeABS
			}
		}
		if in.Op == bpf.ClassRET && r.IntN(2) == 0 {
			in.K = 0
		}
		switch {
		case isJump(in):
			in.Jt, in.Jf = uint8(r.IntN(min(left, 256))), uint8(r.IntN(min(left, 256)))
			if r.IntN(2) == 0 {
				in.Jf = 0
			}
			if in.Op == bpf.ClassJMP|bpf.JmpA {
				in.K = r.Uint32N(uint32(left))
			}
		case in.Op&7 == bpf.ClassLD && r.IntN(12) == 0:
			in.Op = bpf.ClassLD | bpf.ModeABS
			in.K = bpf.AdOff + 4*r.Uint32N(16)
		case in.Op&7 == bpf.ClassST, in.Op&7 == bpf.ClassSTX, in.Op&0xe6 == bpf.ModeMEM:
			in.K %= bpf.MemWords
		case in.Op == bpf.ClassALU|bpf.AluLsh, in.Op == bpf.ClassALU|bpf.AluRsh:
			in.K %= 32
		}
		p[pc] = in
		if in.Op&7 == bpf.ClassALU && in.K == 0 || in.Op&0xe7 == bpf.ClassLD|bpf.ModeABS && in.K >= bpf.AdOff && (in.K > bpf.AdVlanTPID || in.K%4 != 0) {
			p[pc].K = 3
		}
	}
	return p
}

func isJump(in bpf.Instruction) bool { return in.Op&7 == bpf.ClassJMP }

// aux is an Ancillary whose headers lie within and outside the packet.
func aux(r *rand.Rand) *bpf.Ancillary {
	if r.IntN(4) == 0 {
		return nil
	}
	return &bpf.Ancillary{
		Protocol: uint16(r.Uint32()), PktType: uint8(r.Uint32()), VlanTagPresent: r.IntN(2) == 0, VlanTag: uint16(r.Uint32()),
		VlanTPID: uint16(r.Uint32()), Hatype: uint16(r.Uint32()), Queue: uint16(r.Uint32()), IfIndex: r.Uint32(), Mark: r.Uint32(),
		RxHash: r.Uint32(), CPU: r.Uint32(), PayOffset: r.Uint32(), Random: r.Uint32(), NetOffset: r.IntN(20) - 4, LLOffset: r.IntN(9) - 6,
	}
}

// compare runs p on packets, one by one and in a batch, and returns how many
// are kept.
func compare(t *testing.T, p bpf.Program, batch []Packet) (kept int) {
	t.Helper()
	m, err := bpf.Compile(p)
	if err != nil {
		t.Fatalf("%v\n%v", err, p)
	}
	f, err := Compile(p)
	if err != nil {
		t.Fatalf("%v\n%v", err, p)
	}
	if f.Native() && (p.Loops() || !encodable(p)) {
		t.Fatalf("native code of\n%v", p)
	}
	f.RunBatch(batch)
	for _, k := range batch {
		want := m.Run(k.Data, k.WireLen, k.Aux)
		if k.Keep != want {
			t.Fatalf("%d bytes %x in a batch: got %#x, want %#x\n%v%#v", len(k.Data), k.Data, k.Keep, want, p, k)
		}
		if got := f.Run(k.Data, k.WireLen, k.Aux); got != want {
			t.Fatalf("%d bytes %x: got %#x, want %#x\n%v%#v", len(k.Data), k.Data, got, want, p, k)
		}
		if want != 0 {
			kept++
		}
	}
	return kept
}

// cut makes a batch of a packet: all its lengths, or some if it is long.
func cut(pkt []byte, wireLen int, aux *bpf.Ancillary) (batch []Packet) {
	step := 1 + len(pkt)/80
	for n := len(pkt); n >= 0; n -= step {
		batch = append(batch, Packet{Data: pkt[:n:n], WireLen: wireLen, Aux: aux, Keep: 12345})
	}
	return batch
}

// TestMachine compares random programs with the machine on random packets of
// all lengths.
func TestMachine(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	kept, native := 0, 0
	for range *rounds {
		p := random(r)
		pkt := make([]byte, 1+r.IntN(64))
		if r.IntN(8) == 0 {
			pkt = make([]byte, 100+r.IntN(10000))
		}
		for i := range pkt {
			if pkt[i] = byte(r.Uint32()); r.IntN(3) == 0 {
				pkt[i] &= 7
			}
		}
		if compare(t, p, cut(pkt, r.IntN(100)*r.IntN(1000), aux(r))) > 0 {
			kept++
		}
		if encodable(p) {
			native++
		}
	}
	t.Logf("of %d programs %d can be encoded and %d keep a packet", *rounds, native, kept)
	if kept < *rounds/10 || native < *rounds/2 {
		t.Error("these programs show too little")
	}
}

// TestNative says where code is native, and why not.
func TestNative(t *testing.T) {
	p := web(t)
	f, err := Compile(p)
	if err != nil {
		t.Fatal(err)
	}
	if f.Native() {
		t.Logf("native on %s/%s", runtime.GOOS, runtime.GOARCH)
	} else if runtime.GOOS == "linux" && (runtime.GOARCH == "amd64" || runtime.GOARCH == "arm64") {
		t.Skip("the system gives no executable memory")
	}
	for _, c := range []struct {
		name string
		in   bpf.Instruction
	}{
		{"a loop", bpf.Instruction{Op: bpf.ClassJMP | bpf.JmpA, K: 1<<32 - 1}},
		{"the network header", bpf.Instruction{Op: bpf.ClassLD | bpf.ModeABS, K: bpf.NetOff}},
		{"the link header", bpf.Instruction{Op: bpf.ClassLDX | bpf.SizeB | bpf.ModeMSH, K: bpf.LLOff}},
	} {
		f, err := Compile(bpf.Program{c.in, {Op: bpf.ClassRET, K: 7}})
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
		} else if f.Native() {
			t.Errorf("%s: native", c.name)
		} else if ps := make([]Packet, 3); true {
			f.RunBatch(ps)
			if got := f.Run(nil, 0, nil); ps[2].Keep != got {
				t.Errorf("%s: %d in a batch, %d alone", c.name, ps[2].Keep, got)
			}
		}
	}
	if _, err := Compile(nil); err == nil {
		t.Error("the empty program compiles")
	}
}

// web is tcpdump's program for "tcp port 80".
func web(t testing.TB) bpf.Program {
	p, err := bpf.ParseDecimal("20,40 0 0 12,21 0 6 34525,48 0 0 20,21 0 15 6,40 0 0 54,21 12 0 80,40 0 0 56,21 10 11 80," +
		"21 0 10 2048,48 0 0 23,21 0 8 6,40 0 0 20,69 6 0 8191,177 0 0 14,72 0 0 14,21 2 0 80,72 0 0 16,21 0 1 80,6 0 0 262144,6 0 0 0")
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// webPacket is a frame with a TCP segment to a port.
func webPacket(port byte) []byte {
	pkt := make([]byte, 60)
	pkt[12], pkt[14], pkt[23], pkt[37] = 8, 0x45, 6, port
	return pkt
}

// TestLong runs the longest programs, whose code has jumps of all lengths, in
// batches longer than what is run at once.
func TestLong(t *testing.T) {
	p := make(bpf.Program, bpf.MaxLen)
	for pc := range p {
		p[pc] = bpf.Instruction{Op: bpf.ClassLD | bpf.SizeB | bpf.ModeABS, K: uint32(pc % 50)}
		if pc%2 == 1 {
			p[pc] = bpf.Instruction{Op: bpf.ClassJMP | bpf.JmpEq, Jt: uint8(min(pc*7%256, len(p)-pc-2)), K: uint32(pc % 5)}
		}
	}
	p[len(p)/2] = bpf.Instruction{Op: bpf.ClassJMP | bpf.JmpA, K: uint32(len(p)/2 - 3)}
	p[len(p)-1] = bpf.Instruction{Op: bpf.ClassRET, K: 9}
	pkt := make([]byte, 60)
	for i := range pkt {
		pkt[i] = byte(i * 5 % 11)
	}
	batch := cut(pkt, 0, nil)
	for len(batch) < 1000 {
		batch = append(batch, batch...)
	}
	if compare(t, p, batch) == 0 {
		t.Error("keeps no packet")
	}
}

func TestAllocs(t *testing.T) {
	if testenv.Race {
		t.Skip("the race detector allocates")
	}
	f, err := Compile(web(t))
	if err != nil {
		t.Fatal(err)
	}
	pkt, batch := make([]byte, 60), make([]Packet, 10)
	if n := testing.AllocsPerRun(100, func() { f.Run(pkt, 60, nil); f.RunBatch(batch) }); n != 0 {
		t.Errorf("%v allocations a run", n)
	}
}

// TestRuntime runs code on stacks that have to grow, while the collector stops
// everybody and a profiler interrupts.
func TestRuntime(t *testing.T) {
	f, err := Compile(web(t))
	if err != nil {
		t.Fatal(err)
	}
	var profile bytes.Buffer
	if err := pprof.StartCPUProfile(&profile); err != nil {
		t.Logf("without a profile: %v", err)
	} else {
		defer pprof.StopCPUProfile()
	}
	var stop atomic.Bool
	var wg sync.WaitGroup
	defer wg.Wait()
	defer stop.Store(true)
	for range 4 {
		wg.Go(func() {
			for !stop.Load() {
				deep(t, f, 200)
			}
		})
	}
	for begin := time.Now(); time.Since(begin) < 300*time.Millisecond; {
		runtime.GC()
	}
}

// deep runs f in frames of a deeper and deeper stack.
func deep(t *testing.T, f *Filter, depth int) {
	batch := [8]Packet{}
	for i := range batch {
		batch[i].Data = webPacket(80 + byte(i&1))
	}
	f.RunBatch(batch[:])
	for i := range batch {
		if want := 262144 * uint32(1-i&1); batch[i].Keep != want {
			t.Errorf("%d, want %d", batch[i].Keep, want)
		}
	}
	if depth > 0 {
		deep(t, f, depth-1)
	}
}

// TestUnmap waits until the memory of filters that nobody has is gone.
func TestUnmap(t *testing.T) {
	size := func() (sum uint64) {
		maps, err := os.ReadFile("/proc/self/maps")
		if err != nil {
			t.Skipf("cannot see what is mapped: %v", err)
		}
		for line := range strings.Lines(string(maps)) {
			f := strings.Fields(line)
			if len(f) != 5 || f[1] != "r-xp" { // a name is the sixth
				continue
			}
			var from, to uint64
			if _, err := fmt.Sscanf(f[0], "%x-%x", &from, &to); err != nil {
				t.Fatalf("%q: %v", line, err)
			}
			sum += to - from
		}
		return sum
	}
	p := web(t)
	before := size()
	kept, err := Compile(p)
	if err != nil {
		t.Fatal(err)
	}
	if !kept.Native() {
		t.Skip("not native here")
	}
	const n = 100
	var all []*Filter // until they have been seen
	for range n {
		f, err := Compile(p)
		if err != nil || !f.Native() {
			t.Fatal(f, err)
		}
		all = append(all, f)
	}
	if now := size(); now <= before {
		t.Errorf("%d bytes are executable, and were %d before", now, before)
	}
	runtime.KeepAlive(all)
	all = nil
	for begin := time.Now(); size() > before+n/10*uint64(os.Getpagesize()); time.Sleep(time.Millisecond) {
		runtime.GC()
		if time.Since(begin) > 10*time.Second {
			t.Fatalf("%d bytes are executable, and were %d before", size(), before)
		}
	}
	pkt := webPacket(80)
	if kept.Run(pkt, 60, nil) == 0 {
		t.Error("the filter that is in use rejects")
	}
}

// FuzzMachine feeds programs in the form of struct sock_filter, in big-endian
// order: whatever validates runs as in the machine.
func FuzzMachine(f *testing.F) {
	add := func(p bpf.Program, pkt []byte) {
		var code []byte
		for _, in := range p {
			code = binary.BigEndian.AppendUint16(code, in.Op)
			code = append(code, in.Jt, in.Jf)
			code = binary.BigEndian.AppendUint32(code, in.K)
		}
		f.Add(code, pkt, uint32(len(pkt)), int8(4), int8(-2), true)
	}
	r := rand.New(rand.NewPCG(3, 4))
	for range 200 {
		add(random(r), make([]byte, 40))
	}
	add(web(f), webPacket(80))
	add(bpf.Program{{Op: bpf.ClassJMP, K: 1<<32 - 1}, {Op: bpf.ClassRET}}, nil)
	f.Fuzz(func(t *testing.T, code, pkt []byte, wireLen uint32, net, ll int8, known bool) {
		var p bpf.Program
		for ; len(code) >= 8; code = code[8:] {
			p = append(p, bpf.Instruction{
				Op: binary.BigEndian.Uint16(code), Jt: code[2], Jf: code[3], K: binary.BigEndian.Uint32(code[4:]),
			})
		}
		if p.Validate() != nil {
			return
		}
		var x *bpf.Ancillary
		if known {
			x = &bpf.Ancillary{
				Protocol: 1, PktType: 2, VlanTagPresent: true, VlanTag: 3, VlanTPID: 4, Hatype: 5, Queue: 6, IfIndex: 7, Mark: 8,
				RxHash: 9, CPU: 10, PayOffset: 11, Random: 12, NetOffset: int(net), LLOffset: int(ll),
			}
		}
		compare(t, p, cut(pkt, int(wireLen), x))
	})
}

// BenchmarkRun runs "tcp port 80" over one packet, alone and in a batch.
func BenchmarkRun(b *testing.B) {
	f, err := Compile(web(b))
	if err != nil {
		b.Fatal(err)
	}
	pkt := webPacket(80)
	b.Run("alone", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if f.Run(pkt, len(pkt), nil) == 0 {
				b.Fatal("rejected")
			}
		}
	})
	b.Run("batch", func(b *testing.B) {
		b.ReportAllocs()
		batch := make([]Packet, 64)
		for i := range batch {
			batch[i] = Packet{Data: pkt, WireLen: len(pkt)}
		}
		for n := 0; n < b.N; n += len(batch) {
			f.RunBatch(batch)
		}
	})
}
