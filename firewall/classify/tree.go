package classify

import (
	"cmp"
	"encoding/binary"
	"slices"
)

const (
	keyLen    = 16 // widest field that the tree can tell apart, in bytes
	leafLen   = 6  // rules that are not worth a node
	leavesMax = 24 // leaves that one look-up meets
	spanMax   = 4  // intervals of a node into which one rule is put
	fieldsMax = 64 // fields of one tree
)

type fieldKind uint8

const (
	payloadField fieldKind = iota
	metaField
	partField // part of a set's key
)

// A field is something of a packet that rules compare.
type field struct {
	kind fieldKind
	key  uint8  // Base, MetaKey
	off  uint16 // of payload; of a part, in the key
	len  uint8  // bytes
}

// indexed reports whether the tree may use a field: whether no rule can change
// it on the way but by a Statement, which makes the walk start anew.
func (f field) indexed() bool { return f.kind != metaField || MetaKey(f.key) != MetaMark }

// whole is the address of which f is the leading part, or f. nft loads just the
// bytes that a prefix has.
func (f field) whole() field {
	if f.kind != payloadField || Base(f.key) != Network {
		return f
	}
	switch {
	case (f.off == 12 || f.off == 16) && f.len < 4:
		f.len = 4
	case (f.off == 8 || f.off == 24) && f.len > 4 && f.len < 16:
		f.len = 16
	}
	return f
}

// A key is a field's value as a number.
type key struct{ hi, lo uint64 }

// makeKey makes a number of the first n bytes of b, extended by fill.
func makeKey(b []byte, n int, fill byte) key {
	var buf [keyLen]byte
	v := buf[keyLen-n:]
	for i := copy(v, b); i < n; i++ {
		v[i] = fill
	}
	return key{binary.BigEndian.Uint64(buf[:]), binary.BigEndian.Uint64(buf[8:])}
}

func (k key) compare(l key) int {
	if k.hi != l.hi {
		return cmp.Compare(k.hi, l.hi)
	}
	return cmp.Compare(k.lo, l.lo)
}

func (k key) less(l key) bool { return k.hi < l.hi || k.hi == l.hi && k.lo < l.lo }

// succ is k+1; the highest key of all has none.
func (k key) succ() key {
	k.lo++
	if k.lo == 0 {
		k.hi++
	}
	return k
}

// A side is the interval in which a rule wants a field.
type side struct {
	field  field
	lo, hi key
}

// A tree finds the boxes in which a packet may lie.
type tree struct {
	fields []field
	root   *node
}

// A node tells rules apart by a field. Leaves have rules only.
type node struct {
	rules []int32 // of a leaf, ascending

	field  uint8         // in tree.fields
	points map[key]*node // by value, if all intervals are single values
	bounds []key         // else: kids[i] is for values from bounds[i] on
	kids   []*node       // nil where there are no rules
	spill  *node         // rules that are too wide, or do not ask for the field
}

// A boxed rule is its position and the sides it has in each field of a tree.
type boxed struct {
	pos   int32
	sides []side // at most one a field
}

// buildTree makes a tree of boxes, whose positions are their indexes.
func buildTree(boxes [][]side) *tree {
	t := new(tree)
	rules := make([]boxed, 0, len(boxes))
	for i, box := range boxes {
		rules = append(rules, boxed{int32(i), box})
		for _, s := range box {
			if !slices.Contains(t.fields, s.field) && len(t.fields) < fieldsMax {
				t.fields = append(t.fields, s.field)
			}
		}
	}
	t.root = t.build(rules, leavesMax)
	return t
}

func leaf(rules []boxed) *node {
	if len(rules) == 0 {
		return nil
	}
	n := &node{rules: make([]int32, len(rules))}
	for i := range rules {
		n.rules[i] = rules[i].pos
	}
	return n
}

// side is the interval of field f that the rule wants, and whether it asks for
// it at all.
func (r *boxed) side(f field) (side, bool) {
	for _, s := range r.sides {
		if s.field == f {
			return s, true
		}
	}
	return side{}, false
}

// build makes the node for some rules; a look-up may meet so many leaves in it.
func (t *tree) build(rules []boxed, leaves int) *node {
	if len(rules) <= leafLen || leaves < 2 {
		return leaf(rules)
	}
	best, distinct := -1, 1
	for i, f := range t.fields {
		if n := countDistinct(rules, f); n > distinct {
			best, distinct = i, n
		}
	}
	if best < 0 {
		return leaf(rules)
	}
	f := t.fields[best]
	n := &node{field: uint8(best)}
	var bounds []key
	points := true
	for i := range rules {
		s, ok := rules[i].side(f)
		if !ok {
			continue
		}
		points = points && s.lo == s.hi
		bounds = append(bounds, s.lo)
		if next := s.hi.succ(); s.hi.less(next) {
			bounds = append(bounds, next)
		}
	}
	slices.SortFunc(bounds, key.compare)
	bounds = slices.Compact(bounds)
	parts := make([][]boxed, len(bounds))
	var spilled []boxed
	placed := 0
	for i := range rules {
		s, ok := rules[i].side(f)
		if !ok || s.hi.less(s.lo) {
			if !ok {
				spilled = append(spilled, rules[i])
			}
			continue
		}
		from, _ := slices.BinarySearchFunc(bounds, s.lo, key.compare)
		to := from
		for to < len(bounds) && !s.hi.less(bounds[to]) && to-from <= spanMax {
			to++
		}
		if to-from > spanMax {
			spilled = append(spilled, rules[i])
			continue
		}
		placed++
		for j := from; j < to; j++ {
			// What fills an interval needs not ask for the field in it again.
			parts[j] = append(parts[j], boxed{rules[i].pos, without(rules[i].sides, f)})
		}
	}
	if placed == 0 {
		return leaf(rules)
	}
	mine := leaves
	if len(spilled) > 0 {
		mine = max(1, leaves/3)
	}
	n.spill = t.build(spilled, leaves-mine)
	if points {
		n.points = make(map[key]*node, len(parts))
	} else {
		n.bounds, n.kids = bounds, make([]*node, len(parts))
	}
	for j, part := range parts {
		switch kid := t.build(part, mine); {
		case kid == nil:
		case points:
			n.points[bounds[j]] = kid
		default:
			n.kids[j] = kid
		}
	}
	return n
}

func without(sides []side, f field) []side {
	rest := make([]side, 0, len(sides))
	for _, s := range sides {
		if s.field != f {
			rest = append(rest, s)
		}
	}
	return rest
}

// sampleLen is of how many rules a node's field is chosen.
const sampleLen = 256

// countDistinct estimates how well a field tells rules apart.
func countDistinct(rules []boxed, f field) int {
	var buf [sampleLen]side
	seen := buf[:0]
	for i := 0; i < len(rules) && len(seen) < sampleLen; i += 1 + len(rules)/sampleLen {
		if s, ok := rules[i].side(f); ok {
			seen = append(seen, s)
		}
	}
	order := func(a, b side) int { return cmp.Or(a.lo.compare(b.lo), a.hi.compare(b.hi)) }
	slices.SortFunc(seen, order)
	return len(slices.CompactFunc(seen, func(a, b side) bool { return order(a, b) == 0 }))
}

// A finder is where a look-up finds field values and leaves what it met.
type finder struct {
	leaves [leavesMax][]int32
	n      int
	known  uint64 // fields whose value stands in values
	absent uint64 // fields that the packet does not have
	values [fieldsMax]key
}

// find gathers the leaves in which a packet's boxes are.
func (t *tree) find(w *Walker, fd *finder, part []byte) {
	fd.n, fd.known, fd.absent = 0, 0, 0
	t.root.find(t, w, fd, part)
}

func (n *node) find(t *tree, w *Walker, fd *finder, part []byte) {
	for ; n != nil; n = n.spill {
		if n.rules != nil {
			fd.leaves[fd.n] = n.rules
			fd.n++
			return
		}
		bit := uint64(1) << n.field
		if fd.known&bit == 0 {
			fd.known |= bit
			if k, ok := w.value(t.fields[n.field], part); ok {
				fd.values[n.field] = k
			} else {
				fd.absent |= bit
			}
		}
		if fd.absent&bit != 0 {
			continue
		}
		k := fd.values[n.field]
		if n.points != nil {
			n.points[k].find(t, w, fd, part)
			continue
		}
		lo, hi := 0, len(n.bounds) // the last bound that is not above k
		for lo < hi {
			if m := int(uint(lo+hi) >> 1); k.less(n.bounds[m]) {
				hi = m
			} else {
				lo = m + 1
			}
		}
		if lo > 0 {
			n.kids[lo-1].find(t, w, fd, part)
		}
	}
}

// value reads a field; part is the key of a set, for its parts.
func (w *Walker) value(f field, part []byte) (key, bool) {
	var buf [keyLen]byte
	b := buf[keyLen-f.len:]
	switch f.kind {
	case partField:
		copy(b, part[f.off:])
	case metaField:
		if MetaKey(f.key) == MetaLen || MetaKey(f.key) == MetaPktType {
			w.variant = true
		}
		if !w.meta(b, MetaKey(f.key)) {
			return key{}, false
		}
	default:
		if !(Payload{Base: Base(f.key), Offset: f.off, Len: f.len}).invariant(w.in.Packet) {
			w.variant = true
		}
		if !w.load(b, Base(f.key), int(f.off), true) {
			return key{}, false
		}
	}
	if f.len <= 8 {
		return key{lo: binary.BigEndian.Uint64(buf[8:])}, true
	}
	return key{binary.BigEndian.Uint64(buf[:]), binary.BigEndian.Uint64(buf[8:])}, true
}

// next merges the leaves in order of rules: it returns the
// lowest position found in the leaves that is at least pos.
func (fd *finder) next(pos int32) (int32, bool) {
	best, ok := int32(0), false
	for i := range fd.leaves[:fd.n] {
		l := fd.leaves[i]
		for len(l) > 0 && l[0] < pos {
			l = l[1:]
		}
		fd.leaves[i] = l
		if len(l) > 0 && (!ok || l[0] < best) {
			best, ok = l[0], true
		}
	}
	return best, ok
}
