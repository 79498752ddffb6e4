//go:build !race

package nft_test

const raceEnabled = false
