//go:build race

package netem_test

// raceEnabled: the race detector makes pools drop memory on purpose.
const raceEnabled = true
