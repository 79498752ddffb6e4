//go:build !linux

package bench

var forwardKernel func(*Run) float64
