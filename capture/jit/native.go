//go:build linux && (amd64 || arm64)

package jit

import (
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/towpath/towpath/capture/bpf"
)

// call sets Keep of n packets, n > 0, and returns how many are left because the
// machine has to do the first of them.
//
//go:noescape
func call(code uintptr, ps *Packet, n int) (left int)

// callOne is call for one packet. Arguments and results of assembly functions
// are in memory, and these, but the first and the last, lie there as in a
// [Packet].
//
//go:noescape
func callOne(code uintptr, data []byte, aux *bpf.Ancillary, wireLen int) (keep uint32, left int)

// instructionsMax is about how many instructions of a program run without a
// return to Go, some tens of microseconds.
const instructionsMax = 1 << 16

// native is executable memory.
type native struct {
	entry uintptr
	batch int // how many packets to give it at once
}

// newNative makes code of a valid program that is encodable; nil if the system
// lets nobody.
func newNative(p bpf.Program) *native {
	code := assemble(p)
	mem, err := unix.Mmap(-1, 0, len(code), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
	if err != nil {
		return nil
	}
	copy(mem, code)
	// Making it executable also makes the instruction cache see it, on arm64 too:
	// the pages were never executable before.
	if err := unix.Mprotect(mem, unix.PROT_READ|unix.PROT_EXEC); err != nil {
		_ = unix.Munmap(mem)
		return nil
	}
	n := &native{entry: uintptr(unsafe.Pointer(&mem[0])), batch: max(1, min(256, instructionsMax/len(p)))}
	runtime.AddCleanup(n, func(mem []byte) { _ = unix.Munmap(mem) }, mem)
	return n
}

// run is call with the code of n.
func (n *native) run(ps *Packet, count int) (left int) {
	left = call(n.entry, ps, count)
	runtime.KeepAlive(n)
	return left
}

// runOne is callOne with the code of n.
func (n *native) runOne(data []byte, aux *bpf.Ancillary, wireLen int) (keep uint32, left int) {
	keep, left = callOne(n.entry, data, aux, wireLen)
	runtime.KeepAlive(n)
	return keep, left
}

// field is the place of ancillary data in an Ancillary: offset and size.
func field(k uint32) (off uint32, size uintptr) {
	var x bpf.Ancillary
	switch k {
	case bpf.AdProtocol:
		return uint32(unsafe.Offsetof(x.Protocol)), unsafe.Sizeof(x.Protocol)
	case bpf.AdPktType:
		return uint32(unsafe.Offsetof(x.PktType)), unsafe.Sizeof(x.PktType)
	case bpf.AdIfIndex:
		return uint32(unsafe.Offsetof(x.IfIndex)), unsafe.Sizeof(x.IfIndex)
	case bpf.AdMark:
		return uint32(unsafe.Offsetof(x.Mark)), unsafe.Sizeof(x.Mark)
	case bpf.AdQueue:
		return uint32(unsafe.Offsetof(x.Queue)), unsafe.Sizeof(x.Queue)
	case bpf.AdHatype:
		return uint32(unsafe.Offsetof(x.Hatype)), unsafe.Sizeof(x.Hatype)
	case bpf.AdRxHash:
		return uint32(unsafe.Offsetof(x.RxHash)), unsafe.Sizeof(x.RxHash)
	case bpf.AdCPU:
		return uint32(unsafe.Offsetof(x.CPU)), unsafe.Sizeof(x.CPU)
	case bpf.AdVlanTag:
		return uint32(unsafe.Offsetof(x.VlanTag)), unsafe.Sizeof(x.VlanTag)
	case bpf.AdVlanTagPresent:
		return uint32(unsafe.Offsetof(x.VlanTagPresent)), unsafe.Sizeof(x.VlanTagPresent)
	case bpf.AdPayOffset:
		return uint32(unsafe.Offsetof(x.PayOffset)), unsafe.Sizeof(x.PayOffset)
	case bpf.AdRandom:
		return uint32(unsafe.Offsetof(x.Random)), unsafe.Sizeof(x.Random)
	}
	return uint32(unsafe.Offsetof(x.VlanTPID)), unsafe.Sizeof(x.VlanTPID)
}
