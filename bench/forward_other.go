//go:build !linux

package bench

var forwardKernel func(r *Run, rules string) float64
