package packet

import (
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// items reads a list through its links.
func items(l *List) (all []*Packet) {
	for p := l.First(); p != nil; p = p.Next() {
		all = append(all, p)
	}
	return all
}

func TestListModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		Account(true)
		defer Account(false)
		var lists [2]List
		var want [2][]*Packet
		which := func() int { return rapid.IntRange(0, 1).Draw(t, "list") }
		// place chooses the packet behind which to act, nil for the front.
		place := func(i int) (at int, p *Packet) {
			at = rapid.IntRange(0, len(want[i])).Draw(t, "at")
			if at > 0 {
				p = want[i][at-1]
			}
			return at, p
		}
		t.Repeat(map[string]func(*rapid.T){
			"": func(t *rapid.T) {
				for i := range lists {
					l, w := &lists[i], want[i]
					if got := items(l); !slices.Equal(got, w) || l.Len() != len(w) || l.Empty() != (len(w) == 0) {
						t.Fatalf("list %d has %d packets, Len %d; want %d", i, len(got), l.Len(), len(w))
					}
					if len(w) > 0 && l.Last() != w[len(w)-1] || len(w) == 0 && l.Last() != nil {
						t.Fatal("Last is not the last")
					}
				}
			},
			"Push": func(t *rapid.T) {
				i, p := which(), Get()
				lists[i].Push(p)
				want[i] = append(want[i], p)
			},
			"PushFront": func(t *rapid.T) {
				i, p := which(), Get()
				lists[i].PushFront(p)
				want[i] = slices.Insert(want[i], 0, p)
			},
			"InsertAfter": func(t *rapid.T) {
				i, q := which(), Get()
				at, p := place(i)
				lists[i].InsertAfter(p, q)
				want[i] = slices.Insert(want[i], at, q)
			},
			"RemoveAfter": func(t *rapid.T) {
				i := which()
				at, p := place(i)
				got := lists[i].RemoveAfter(p)
				if at == len(want[i]) {
					if got != nil {
						t.Fatal("removed what is not there")
					}
					return
				}
				if got != want[i][at] || got.Next() != nil {
					t.Fatal("removed another packet")
				}
				want[i] = slices.Delete(want[i], at, at+1)
				Free(got)
			},
			"Pop": func(t *rapid.T) {
				i := which()
				got := lists[i].Pop()
				if len(want[i]) == 0 {
					if got != nil {
						t.Fatal("popped what is not there")
					}
					return
				}
				if got != want[i][0] || got.Next() != nil {
					t.Fatal("popped another packet")
				}
				want[i] = slices.Delete(want[i], 0, 1)
				Free(got)
			},
			"Append": func(t *rapid.T) {
				i := which()
				lists[i].Append(&lists[1-i])
				want[i] = append(want[i], want[1-i]...)
				want[1-i] = nil
			},
			"Take": func(t *rapid.T) {
				i := which()
				n := rapid.IntRange(-1, len(want[i])+1).Draw(t, "n")
				lists[i].Take(&lists[1-i], n)
				n = min(max(n, 0), len(want[i]))
				want[1-i] = append(want[1-i], want[i][:n]...)
				want[i] = slices.Clone(want[i][n:])
			},
			"Free": func(t *rapid.T) {
				i := which()
				lists[i].Free()
				want[i] = nil
			},
			"FreeList": func(t *rapid.T) {
				i := which()
				var pl Pool
				pl.FreeList(&lists[i])
				pl.Trim()
				want[i] = nil
			},
			"Drop": func(t *rapid.T) {
				i := which()
				if n := lists[i].Drop(ReasonTTL); n != len(want[i]) {
					t.Fatalf("Drop = %d, want %d", n, len(want[i]))
				}
				want[i] = nil
			},
		})
		for i := range lists {
			lists[i].Free()
		}
		if packets, _ := Live(); packets != 0 {
			t.Fatalf("%d packets were not ended", packets)
		}
	})
}
