//go:build race

package nft_test

// raceEnabled: the race detector makes pools drop memory on purpose.
const raceEnabled = true
