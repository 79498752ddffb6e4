//go:build !linux

package bench

func useCubic(uintptr) {}
