//go:build !(linux && (amd64 || arm64))

package jit

import "github.com/towpath/towpath/capture/bpf"

// native is never made here.
type native struct{ batch int }

func newNative(bpf.Program) *native { return nil }

func (*native) run(_ *Packet, count int) (left int) { return count }

func (*native) runOne([]byte, *bpf.Ancillary, int) (keep uint32, left int) { return 0, 1 }
