//go:build !linux

package bench

var kernelLinks map[string]func(local, kernel string) (World, func())
