package neigh

import (
	"cmp"
	"slices"
)

// sortBy orders s by key, so that nothing that leaves the cache depends on the
// order of a map.
func sortBy[T any](s []T, key func(T) Key) {
	slices.SortFunc(s, func(a, b T) int {
		ka, kb := key(a), key(b)
		if c := cmp.Compare(ka.Adapter, kb.Adapter); c != 0 {
			return c
		}
		return ka.IP.Compare(kb.IP)
	})
}
