package classify

import (
	"bytes"
	"math/rand/v2"
	"net/netip"
	"testing"

	"github.com/towpath/towpath/packet"
	"github.com/towpath/towpath/wire"
)

// near is a random address, often one that shares much with others.
func near(r *rand.Rand) (a [16]byte) {
	a[0], a[1] = 0x20, 0x01
	for i := 2; i < 16; i++ {
		if r.IntN(4) == 0 {
			a[i] = []byte{1, 2, 255, byte(r.Uint32())}[r.IntN(4)]
		}
	}
	return a
}

// prefix6 loads, masks and compares as nft does for a prefix of n bits.
func prefix6(off uint16, a [16]byte, n int) []Expr {
	if n%8 == 0 {
		return []Expr{Payload{Network, off, uint8(n / 8), 0}, Cmp{Equal, 0, a[:n/8]}}
	}
	mask := make([]byte, 16)
	for i := range n {
		mask[i/8] |= 0x80 >> (i % 8)
	}
	for i := range a {
		a[i] &= mask[i]
	}
	return []Expr{Payload{Network, off, 16, 0}, Bitwise{0, 0, mask, make([]byte, 16)}, Cmp{Equal, 0, a[:]}}
}

// IPv6 prefixes, which make keys of two words.
func TestLinearIPv6(t *testing.T) {
	r := rand.New(rand.NewPCG(6, 6))
	table := NewTable("t")
	c := table.NewChain("c", Drop)
	must(t, table.Edit(func(e *Edit) error {
		for range 1500 {
			x := prefix6(24, near(r), 8+r.IntN(121))
			switch r.IntN(4) {
			case 0:
				x = append(x, prefix6(8, near(r), 1+r.IntN(128))...)
			case 1:
				lo, hi := near(r), near(r)
				if bytes.Compare(lo[:], hi[:]) > 0 {
					lo, hi = hi, lo
				}
				x = append(x, Payload{Network, 8, 16, 0}, Range{0, lo[:], hi[:], r.IntN(4) == 0})
			case 2:
				lo := near(r)
				x = append(x, Payload{Network, 8, 16, 0}, Cmp{Op(r.IntN(int(opCount))), 0, lo[:]})
			}
			if err := e.Append(c, &Rule{Exprs: append(x, Verdict{Code: Accept})}); err != nil {
				return err
			}
		}
		return nil
	}))
	var w Walker
	hits := 0
	for range 5000 {
		p := packet.Get()
		src, dst := netip.AddrFrom16(near(r)), netip.AddrFrom16(near(r))
		p.Append(wire.IPv6Len)
		wire.PutIPv6(p.Head(), &wire.IPv6Fields{NextHeader: 59, Src: src, Dst: dst})
		p.Net, p.Src, p.Dst, p.Proto = p.Start(), src, dst, 59
		p.Truncate(wire.IPv6Len - max(0, r.IntN(50)-26)) // some are cut short
		in := Input{Packet: p}
		got, want := table.Run(&w, c, &in), table.RunLinear(&w, c, &in)
		if got.Rule != want.Rule {
			t.Fatalf("%v > %v: rule %d, linear %d", src, dst, handle(got.Rule), handle(want.Rule))
		}
		if got.Rule != nil {
			hits++
		}
		packet.Free(p)
	}
	if hits < 1000 {
		t.Errorf("only %d packets met a rule", hits)
	}
}

// Interval sets find what looking at each element finds, the ends of all
// values included.
func TestIntervals(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 5))
	for _, parts := range [][]int{{1}, {2}, {4}, {8}, {9}, {16}, {4, 2}, {2, 1, 8}, {16, 2}} {
		s, err := NewSet(SetConfig{Name: "s", Parts: parts, Interval: true})
		must(t, err)
		// value is a key: each part's first and last byte random, the others
		// zeros or ones.
		value := func() []byte {
			key := make([]byte, s.keyLen)
			off := 0
			for _, n := range parts {
				v := key[off : off+n]
				if r.IntN(2) == 0 {
					copy(v, bytes.Repeat([]byte{0xff}, n))
				}
				v[0] = []byte{0, 0xff, byte(r.Uint32())}[r.IntN(3)]
				if r.IntN(2) == 0 {
					v[n-1] = byte(r.Uint32())
				}
				off += (n + regBytes - 1) / regBytes * regBytes
			}
			return key
		}
		var all []Element
		for len(all) < 60 {
			all = append(all, Element{Key: value()})
			if end := value(); r.IntN(2) == 0 {
				all[len(all)-1].KeyEnd = end
			}
			if s.Replace(all) != nil { // it ends before it begins
				all = all[:len(all)-1]
			}
		}
		must(t, s.Replace(all))
		var w Walker
		w.in = new(Input)
		for range 1000 {
			key := value()
			var want *Element
			for i := range all {
				if s.contains(&all[i], key) {
					want = &all[i]
					break
				}
			}
			if got := s.find(&w, key); got != want {
				t.Fatalf("parts %v, key %x: %v, want %v", parts, key, got, want)
			}
		}
	}
}

// Rules that overlap in many fields do not make a tree that grows without
// bound.
func TestTreeBound(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 3))
	boxes := make([][]side, 400)
	for i := range boxes {
		for j := range 20 {
			lo := uint64(r.IntN(200))
			boxes[i] = append(boxes[i], side{field{off: uint16(j), len: 1}, key{lo: lo}, key{lo: lo + uint64(r.IntN(3))}})
		}
		boxes[i] = boxes[i][:1+r.IntN(20)]
	}
	places := 0
	var count func(n *node) int
	count = func(n *node) int { // returns how many leaves one look-up meets at most
		if n == nil {
			return 0
		}
		places += len(n.rules)
		if n.rules != nil {
			return 1
		}
		most := 0
		for _, kid := range n.kids {
			most = max(most, count(kid))
		}
		for _, kid := range n.points {
			most = max(most, count(kid))
		}
		return most + count(n.spill)
	}
	if most := count(buildTree(boxes).root); most > leavesMax || places > copiesMax*len(boxes) {
		t.Errorf("%d leaves, %d places", most, places)
	}
}

func TestSetRefused(t *testing.T) {
	for _, c := range []SetConfig{
		{},
		{Parts: []int{0}},
		{Parts: []int{65}},
		{Parts: []int{17}, Interval: true},
		{Parts: []int{32, 32, 4}},
		{Parts: []int{4}, Interval: true, Dynamic: true},
		{Parts: []int{4}, DataLen: 65},
		{Parts: []int{4}, DataLen: 4, Verdicts: true},
	} {
		if _, err := NewSet(c); err == nil {
			t.Errorf("%+v was taken", c)
		}
	}
	for _, test := range []struct {
		c SetConfig
		e Element
	}{
		{SetConfig{Parts: []int{4}}, Element{Key: []byte{1}}},
		{SetConfig{Parts: []int{1}}, Element{Key: []byte{1}, KeyEnd: []byte{2}}},
		{SetConfig{Parts: []int{1}, Interval: true}, Element{Key: []byte{2}, KeyEnd: []byte{1}}},
		{SetConfig{Parts: []int{1}, DataLen: 2}, Element{Key: []byte{2}, Data: []byte{1}}},
		{SetConfig{Parts: []int{1}, Verdicts: true}, Element{Key: []byte{2}, Verdict: Verdict{Code: Jump}}},
	} {
		s, err := NewSet(test.c)
		must(t, err)
		if s.Replace([]Element{test.e}) == nil {
			t.Errorf("%+v was taken into %+v", test.e, test.c)
		}
		if all, _ := s.Elements(0); len(all) != 0 {
			t.Error("and is there")
		}
	}
}
