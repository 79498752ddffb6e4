package classify

import "testing"

// TestOverlaps: intervals that overlap so much that they tell rules apart badly
// do not keep the tree from asking for another field.
func TestOverlaps(t *testing.T) {
	ports := field{kind: payloadField, key: uint8(Transport), off: 2, len: 2}
	to := field{kind: payloadField, key: uint8(Network), off: 16, len: 4}
	boxes := make([][]side, 1000)
	for i := range boxes {
		n := uint64(i)
		boxes[i] = []side{
			{field: ports, lo: key{lo: n}, hi: key{lo: n + n%100}},
			{field: to, lo: key{lo: n % 200 << 8}, hi: key{lo: n%200<<8 | 255}},
		}
	}
	tr := buildTree(boxes)
	var most func(n *node) int
	most = func(n *node) int { // rules that one packet may meet
		if n == nil {
			return 0
		}
		worst := len(n.rules)
		for _, kid := range n.kids {
			worst = max(worst, most(kid))
		}
		for _, kid := range n.points {
			worst = max(worst, most(kid))
		}
		return worst + most(n.spill)
	}
	if n := most(tr.root); n > 50 {
		t.Errorf("a packet may meet %d of %d rules", n, len(boxes))
	}
}
