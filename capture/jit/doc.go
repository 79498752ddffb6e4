// Package jit runs classic BPF programs as machine code.
//
//	f, err := jit.Compile(prog)
//	keep := f.Run(pkt, len(pkt), nil)
//	f.RunBatch(packets) // saves most of what a call costs
//
// A [Filter] decides as [bpf.Machine] does on every packet. Native code is made
// on Linux, for amd64 and arm64, of programs that do not jump backwards and
// have no loads from NetOff and LLOff; other programs, and other systems, are
// served by a machine behind the same methods.
//
// # Theory of operation
//
//	program → plan    → code                             → memory
//	          plan.go   encode_amd64.go, encode_arm64.go   native.go
//
// A plan is what is known of a program before it runs. Programs have no effects
// but their result, so a packet that will be rejected may be rejected at once.
// That makes most bounds checks disappear: plan.need tells from which length on
// a packet can still be kept, the first load on a way checks that much, and
// later ones find it known. The plan also tells which registers and words of
// memory are read before they are written; only these are cleared.
//
// The code is one loop over a batch of [Packet]. A and X are registers, memory
// is in the frame of the assembly function that calls the code. It reads packets
// through pointers and lengths in registers, keeps no pointer, calls nothing,
// and writes nothing but Packet.Keep and that frame.
//
// What is rare is not encoded: netlink attributes, offsets beyond 2 GiB,
// indirect loads that fall into the range of NetOff and LLOff. The code then
// leaves its loop, and the machine runs the program on that packet from its
// start.
//
// # Living with the runtime
//
// Generated code is not a place where the runtime can stop a goroutine: it
// belongs to no Go function, so a signal for preemption finds no safe point and
// is tried again. Therefore a call into it is short. Programs have at most
// bpf.MaxLen instructions, each of which runs once, and RunBatch returns to Go
// between parts of a long batch. The stack cannot grow or move meanwhile; what
// code and call need of it is within the limit of functions without a check.
//
// Memory is mapped writable, written once and made executable, never both. It
// belongs to the Filter and is unmapped after the Filter has become
// unreachable. There is no Close that could come too early.
//
// # Limits
//
// A system that forbids executable memory gets machines, without an error;
// [Filter.Native] tells. Constants of the program stand in the code, so whoever
// chooses programs chooses some bytes of executable memory.
package jit
