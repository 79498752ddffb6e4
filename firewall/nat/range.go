package nat

import (
	"encoding/binary"
	"math/bits"
	"math/rand/v2"
	"net/netip"

	"github.com/towpath/towpath/firewall/conntrack"
	"github.com/towpath/towpath/packet"
	"github.com/towpath/towpath/wire"
)

// A Range says what one side of a flow may become.
type Range struct {
	Min, Max netip.Addr // addresses; neither: the address stays. Max may be left out
	// Prefix maps networks: the bits behind the prefix stay (iptables: NETMAP).
	Prefix netip.Prefix
	// PortMin and PortMax bound the port; 0: it stays if it can. PortBase is the
	// port that becomes PortMin, others in order, if it is not 0.
	PortMin, PortMax, PortBase uint16

	Masquerade bool // the source address is that of the leaving adapter
	Redirect   bool // the destination address is this host's own

	Random     bool // another port, by chance
	Persistent bool // a client has the same address for all destinations

	// EndpointIndependent gives all flows of a client's address and port the
	// same address and port outside (RFC 4787 REQ-1). With Open, anybody may
	// send to that (endpoint-independent filtering, REQ-8).
	EndpointIndependent, Open bool
}

// triesMax is how many ports are tried from one random place on.
const (
	triesMax = 128
	// hardTries is how many of the last tries may end a connection in TIME-WAIT.
	hardTries = triesMax / 4
	triesMin  = 16
)

// with fills the ends in that were left out.
func (r Range) with() Range {
	if !r.Max.IsValid() {
		r.Max = r.Min
	}
	if r.PortMax == 0 {
		r.PortMax = r.PortMin
	}
	if r.PortMax < r.PortMin {
		r.PortMin, r.PortMax = r.PortMax, r.PortMin
	}
	return r
}

// addrOf and portOf are the parts of a tuple that a side has.
func addrOf(t *packet.Tuple, side conntrack.Side) *netip.Addr {
	if side == conntrack.Source {
		return &t.Src
	}
	return &t.Dst
}

// portOf is nil for protocols without ports. The identifier of ICMP is the same
// in both directions.
func portOf(t *packet.Tuple, side conntrack.Side) *uint16 {
	switch t.Proto {
	case wire.ProtoICMP, wire.ProtoICMPv6:
		return &t.SrcPort
	case wire.ProtoTCP, wire.ProtoUDP, wire.ProtoUDPLite:
		if side == conntrack.Source {
			return &t.SrcPort
		}
		return &t.DstPort
	}
	return nil
}

func (r *Range) hasAddr(a netip.Addr) bool {
	return !r.Min.IsValid() || a.Compare(r.Min) >= 0 && a.Compare(r.Max) <= 0
}

func (r *Range) hasPort(p *uint16) bool {
	return p == nil || r.PortMin == 0 || *p >= r.PortMin && *p <= r.PortMax
}

// choose gives one side of b.Tuple another address and port. It may end with a
// tuple that is taken: then the packet is dropped when it is confirmed.
func (r *Range) choose(n *NAT, b *conntrack.Binding) {
	orig := b.Tuple
	if b.Side == conntrack.Source && !r.Random {
		if r.hasAddr(orig.Src) && r.hasPort(portOf(&orig, b.Side)) {
			if !n.taken(b, orig) {
				return
			}
		} else if m := n.sources[sourceOf(b)]; m != nil {
			t := orig
			t.Src, t.SrcPort = m.outside.addr, m.outside.port
			if r.hasAddr(t.Src) && r.hasPort(portOf(&t, b.Side)) && !b.Taken(t) {
				b.Tuple = t
				return
			}
		}
	}
	t := orig
	if r.Min.IsValid() {
		*addrOf(&t, b.Side) = r.pick(n.seed, &orig, b.Zone)
	}
	b.Tuple = t
	port := portOf(&t, b.Side)
	if port == nil {
		return
	}
	if !r.Random {
		if r.PortMin == 0 {
			if !n.taken(b, t) {
				return
			}
		} else if r.PortBase == 0 && r.hasPort(port) && (r.PortMin == r.PortMax || !n.taken(b, t)) {
			return
		}
	}
	min, size, ok := r.ports(*port, &t, b.Side)
	if !ok {
		return
	}
	off := uint32(0)
	switch {
	case r.PortBase != 0:
		off = uint32(*port - r.PortBase)
	case r.Random || b.Side == conntrack.Source:
		off = rand.Uint32()
	}
	for tries := uint32(triesMax); ; tries, off = tries/2, rand.Uint32() {
		tries = minOf(tries, size)
		for i := range tries {
			*port = min + uint16((off+i)%size)
			b.Tuple = t
			if tries-i > hardTries && !n.taken(b, t) || tries-i <= hardTries && !n.reserved(b, t) && !b.TakenHard(t) {
				return
			}
		}
		if tries >= size || tries < triesMin {
			return
		}
	}
}

func minOf(a, b uint32) uint32 {
	if a < b {
		return a
	}
	return b
}

// ports are those among which one is searched.
func (r *Range) ports(port uint16, t *packet.Tuple, side conntrack.Side) (min uint16, size uint32, ok bool) {
	icmp := t.Proto == wire.ProtoICMP || t.Proto == wire.ProtoICMPv6
	switch {
	case r.PortMin != 0:
		return r.PortMin, uint32(r.PortMax-r.PortMin) + 1, true
	case icmp:
		return 0, 65536, true
	case side == conntrack.Destination:
		return 0, 0, false // nothing else would answer there
	case port < 512:
		return 1, 511, true // whom some services trust for their ports stays there
	case port < 1024:
		return 600, 424, true
	}
	return 1024, 64512, true
}

// pick chooses an address by a hash of the flow's addresses: the same for the
// same pair, and with Persistent for the same client.
func (r *Range) pick(seed uint64, t *packet.Tuple, zone uint16) netip.Addr {
	if r.Min == r.Max {
		return r.Min
	}
	h := mixAddr(seed, t.Src)
	if !r.Persistent {
		h = mixAddr(h^uint64(zone), t.Dst)
	}
	lo, hi := r.Min.As16(), r.Max.As16()
	// What is chosen is an offset; ranges of more than 2⁶⁴ addresses are used in
	// their first 2⁶⁴.
	size := binary.BigEndian.Uint64(hi[8:]) - binary.BigEndian.Uint64(lo[8:])
	if [8]byte(hi[:8]) != [8]byte(lo[:8]) {
		size = 1<<64 - 1
	}
	off := h
	if size != 1<<64-1 {
		off, _ = bits.Mul64(h, size+1)
	}
	low, carry := bits.Add64(binary.BigEndian.Uint64(lo[8:]), off, 0)
	high, _ := bits.Add64(binary.BigEndian.Uint64(lo[:8]), 0, carry)
	var a [16]byte
	binary.BigEndian.PutUint64(a[:8], high)
	binary.BigEndian.PutUint64(a[8:], low)
	return netip.AddrFrom16(a).Unmap()
}

func mixAddr(h uint64, a netip.Addr) uint64 {
	b := a.As16()
	for _, w := range [2]uint64{binary.BigEndian.Uint64(b[:8]), binary.BigEndian.Uint64(b[8:])} {
		hi, lo := bits.Mul64(h^w, 0x9e3779b97f4a7c15)
		h = hi ^ lo
	}
	return h
}

// mapNet gives addr the bits of prefix.
func mapNet(addr netip.Addr, prefix netip.Prefix) netip.Addr {
	a, p := addr.AsSlice(), prefix.Addr().AsSlice()
	for i, n := 0, prefix.Bits(); n > 0; i, n = i+1, n-8 {
		mask := byte(0xff)
		if n < 8 {
			mask <<= 8 - n
		}
		a[i] = a[i]&^mask | p[i]&mask
	}
	m, _ := netip.AddrFromSlice(a)
	return m
}
