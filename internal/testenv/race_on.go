//go:build race

package testenv

// Race tells whether the race detector is on: it allocates by itself.
const Race = true
