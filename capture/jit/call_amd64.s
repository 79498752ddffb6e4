//go:build linux

#include "textflag.h"
#include "funcdata.h"

// func call(code uintptr, ps *Packet, n int) (left int)
//
// The frame is the program's memory.
TEXT ·call(SB), NOSPLIT, $64-32
	NO_LOCAL_POINTERS
	MOVQ code+0(FP), AX
	MOVQ ps+8(FP), DI
	MOVQ n+16(FP), R8
	CALL AX
	MOVQ R8, left+24(FP)
	RET

// func callOne(code uintptr, data []byte, aux *bpf.Ancillary, wireLen int) (keep uint32, left int)
TEXT ·callOne(SB), NOSPLIT, $64-64
	NO_LOCAL_POINTERS
	MOVQ code+0(FP), AX
	LEAQ data_base+8(FP), DI
	MOVL $1, R8
	CALL AX
	MOVQ R8, left+56(FP)
	RET
