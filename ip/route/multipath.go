package route

import (
	"fmt"
	"math/bits"
	"net/netip"
	"strings"
)

const (
	HopsMax   = 256 // ways of one route
	WeightMax = 256 // share of one of them
)

// A Hop is one of the ways of a route that has several.
type Hop struct {
	Via     netip.Addr // next hop; invalid for destinations on the link
	Adapter int32
	Weight  int // share of the flows, at least 1
}

// A Multipath is the ways among which a route divides its flows, which must not
// be changed any more.
type Multipath struct {
	Hops []Hop
}

// Choose returns the way of a flow by its hash: each has a range of hashes as
// wide as its weight (RFC 2992), so that a way that comes or goes moves few
// flows. Ways for which usable reports false are passed over.
func (m *Multipath) Choose(hash uint32, usable func(Hop) bool) (h Hop, ok bool) {
	total := 0
	for _, h := range m.Hops {
		if usable(h) {
			total += max(h.Weight, 1)
		}
	}
	share, _ := bits.Mul32(hash, uint32(total))
	at := int(share)
	for _, h := range m.Hops {
		if !usable(h) {
			continue
		}
		if at -= max(h.Weight, 1); at < 0 {
			return h, true
		}
	}
	return Hop{}, false
}

// String is the ways in ip-route's words, with adapters as numbers.
func (m *Multipath) String() string {
	var b strings.Builder
	for _, h := range m.Hops {
		b.WriteString(" nexthop")
		if h.Via.IsValid() {
			b.WriteString(" via " + h.Via.String())
		}
		fmt.Fprintf(&b, " dev %d weight %d", h.Adapter, max(h.Weight, 1))
	}
	return b.String()
}
