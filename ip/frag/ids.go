package frag

import (
	"crypto/sha256"
	"encoding/binary"
	"net/netip"
	"sync/atomic"
)

// idCounters is how many counters identifications are drawn from.
const idCounters = 256

// IDs makes the identifications of fragmented packets: hard to guess for
// anybody who does not see the packets, and not repeated soon between the same
// addresses (RFC 7739 §5.3). It may be used by many goroutines.
type IDs struct {
	secret   [32]byte                  // (c)
	counters [idCounters]atomic.Uint32 // (a)
}

// NewIDs returns a generator with a secret that nobody else knows.
func NewIDs(secret [32]byte) *IDs { return &IDs{secret: secret} }

// Next returns an identification for a packet from src to dst. IPv4 has room
// for the low half of it.
func (g *IDs) Next(src, dst netip.Addr) uint32 {
	var b [32 + 16 + 16]byte
	copy(b[:], g.secret[:])
	s, d := src.As16(), dst.As16()
	copy(b[32:], s[:])
	copy(b[48:], d[:])
	sum := sha256.Sum256(b[:])
	// F() and G() of the RFC are different parts of one keyed hash.
	f, i := binary.LittleEndian.Uint32(sum[0:]), sum[4]
	return f + g.counters[i].Add(1)
}
