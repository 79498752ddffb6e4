package frag

import "testing"

// Identifications follow each other between two addresses, differ from one pair
// to the next, and depend on the secret alone.
func TestIDs(t *testing.T) {
	g, same, other := NewIDs([32]byte{1}), NewIDs([32]byte{1}), NewIDs([32]byte{2})
	first := g.Next(addr4(1), addr4(2))
	if id := same.Next(addr4(1), addr4(2)); id != first {
		t.Errorf("same secret: %d, want %d", id, first)
	}
	if id := other.Next(addr4(1), addr4(2)); id == first {
		t.Error("another secret gives the same")
	}
	for i := range uint32(1000) {
		if id := g.Next(addr4(1), addr4(2)); id != first+1+i {
			t.Fatalf("number %d is %d, want %d", i, id, first+1+i)
		}
	}
	// What one destination sees says nothing of what others are sent.
	seen := make(map[uint16]int)
	near := 0
	for i := range 1000 {
		id := g.Next(addr6(1), addr6(i))
		seen[uint16(id)]++
		if id-first < 4000 {
			near++
		}
	}
	if len(seen) < 950 || near > 2 {
		t.Errorf("of 1000 destinations' first numbers %d differ, %d are near another's", len(seen), near)
	}
}

func BenchmarkIDs(b *testing.B) {
	b.ReportAllocs()
	g := NewIDs([32]byte{1})
	for b.Loop() {
		g.Next(addr6(1), addr6(2))
	}
}
