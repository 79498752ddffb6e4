package jit

import "github.com/towpath/towpath/capture/bpf"

// A Filter runs one program. It is immutable: goroutines may share it.
type Filter struct {
	machine *bpf.Machine
	native  *native // nil if the machine has to do
}

// A Packet is one of a batch.
type Packet struct {
	Data    []byte         // the bytes captured
	Aux     *bpf.Ancillary // nil is the zero value
	WireLen int            // the length that the packet had
	Keep    uint32         // result: how many bytes to keep, 0 for none
}

// Compile validates p and makes a filter of it.
func Compile(p bpf.Program) (*Filter, error) {
	m, err := bpf.Compile(p)
	if err != nil {
		return nil, err
	}
	f := &Filter{machine: m}
	if encodable(p) {
		f.native = newNative(p)
	}
	return f, nil
}

// Native reports whether f runs as machine code.
func (f *Filter) Native() bool { return f.native != nil }

// Run returns how many bytes of a packet to keep, as [bpf.Machine.Run] does.
func (f *Filter) Run(pkt []byte, wireLen int, aux *bpf.Ancillary) uint32 {
	if f.native != nil {
		if keep, left := f.native.runOne(pkt, aux, wireLen); left == 0 {
			return keep
		}
	}
	return f.machine.Run(pkt, wireLen, aux)
}

// RunBatch sets Keep of all packets.
func (f *Filter) RunBatch(ps []Packet) {
	for len(ps) > 0 {
		if f.native != nil {
			n := min(len(ps), f.native.batch)
			left := f.native.run(&ps[0], n)
			ps = ps[n-left:]
			if left == 0 {
				continue
			}
		}
		p := &ps[0]
		p.Keep = f.machine.Run(p.Data, p.WireLen, p.Aux)
		ps = ps[1:]
	}
}

// encodable reports whether native code can be made of a valid program.
func encodable(p bpf.Program) bool {
	for _, in := range p {
		switch in.Op {
		case bpf.ClassLD | bpf.SizeW | bpf.ModeABS, bpf.ClassLD | bpf.SizeH | bpf.ModeABS, bpf.ClassLD | bpf.SizeB | bpf.ModeABS:
			if in.K >= bpf.LLOff && in.K < bpf.AdOff {
				return false
			}
		case bpf.ClassLDX | bpf.SizeB | bpf.ModeMSH:
			if in.K >= bpf.LLOff {
				return false
			}
		}
	}
	return !p.Loops()
}
