package host

import "testing"

// TestSipHash compares with another implementation, one that agrees with the
// example in the algorithm's description: key and message count up from 0.
func TestSipHash(t *testing.T) {
	key := [2]uint64{0x0706050403020100, 0x0f0e0d0c0b0a0908}
	var msg [64]byte
	for i := range msg {
		msg[i] = byte(i)
	}
	for n, want := range map[int]uint64{
		0:  0x726fdb47dd0e0e31,
		8:  0x93f5f5799a932462,
		16: 0x3f2acc7f57c29bdb,
		56: 0xb78dbfaf3a8d83bd,
	} {
		if got := sipHash(key, msg[:n]); got != want {
			t.Errorf("%d bytes: %016x, want %016x", n, got, want)
		}
	}
}
