//go:build linux

#include "textflag.h"
#include "funcdata.h"

// func call(code uintptr, ps *Packet, n int) (left int)
//
// The frame is the program's memory.
TEXT ·call(SB), NOSPLIT, $64-32
	NO_LOCAL_POINTERS
	MOVD code+0(FP), R9
	MOVD ps+8(FP), R0
	MOVD n+16(FP), R1
	CALL (R9)
	MOVD R1, left+24(FP)
	RET

// func callOne(code uintptr, data []byte, aux *bpf.Ancillary, wireLen int) (keep uint32, left int)
TEXT ·callOne(SB), NOSPLIT, $64-64
	NO_LOCAL_POINTERS
	MOVD code+0(FP), R9
	MOVD $data_base+8(FP), R0
	MOVD $1, R1
	CALL (R9)
	MOVD R1, left+56(FP)
	RET
