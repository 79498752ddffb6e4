// Package sockfilter puts classic BPF programs on sockets of the Linux kernel.
//
//	p, err := expr.Compile("tcp port 80", expr.Config{Link: expr.EN10MB, Live: true})
//	err = sockfilter.Attach(fd, p)
//
// The kernel runs the program on every packet that the socket would receive,
// and cuts the packet to what the program returns. Elsewhere than on Linux,
// functions return [errors.ErrUnsupported].
//
// # What the kernel does otherwise
//
// Four things differ from [bpf.Machine]. Programs that jump backwards are
// refused. Memory has to be written before it is read, so Attach writes zeros
// to words that a program reads, in front of it. A shift by X takes X modulo 32.
// And an indirect load adds in 32 bits: a sum that is too large wraps.
package sockfilter

import (
	"errors"

	"github.com/towpath/towpath/capture/bpf"
)

// kernelProgram is p as the kernel accepts it.
func kernelProgram(p bpf.Program) (bpf.Program, error) {
	if err := p.Validate(); err != nil {
		return nil, err
	}
	if p.Loops() {
		return nil, errors.New("bpf: the program jumps backwards, which the kernel refuses")
	}
	var read [bpf.MemWords]bool
	for _, in := range p {
		if in.Op == bpf.ClassLD|bpf.ModeMEM || in.Op == bpf.ClassLDX|bpf.ModeMEM {
			read[in.K] = true
		}
	}
	var k bpf.Program
	for word, read := range read {
		if read {
			k = append(k, bpf.Instruction{Op: bpf.ClassST, K: uint32(word)}) // A is zero
		}
	}
	k = append(k, p...)
	return k, k.Validate() // it may have become too long
}
