//go:build race

package host_test

// raceEnabled: the race detector makes pools drop memory on purpose.
const raceEnabled = true
