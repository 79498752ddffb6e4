package classify

import (
	"cmp"
	"encoding/binary"
	"math"
	"math/bits"
	"slices"
)

const (
	keyLen    = 16 // widest field that the tree can tell apart, in bytes
	leafLen   = 6  // rules that are not worth a node
	leavesMax = 24 // leaves that one look-up meets
	spanMax   = 4  // intervals of a node into which one rule is put
	fieldsMax = 64 // fields of one tree
	copiesMax = 64 // places in which a rule may stand, on average
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
	case (f.off == 8 || f.off == 24) && f.len > 2 && f.len < 16:
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

// A builder makes a tree.
type builder struct {
	tree
	boxes []boxed // by position
	slab  []node  // free ones
	room  int     // places left for rules; then everything is a leaf
}

// A node tells rules apart by a field. Leaves have rules only.
type node struct {
	first int32   // lowest position of all rules below
	rules []int32 // of a leaf, ascending

	field  uint8         // in tree.fields
	points map[key]*node // by value, if all intervals are single values
	narrow []uint64      // else: kids[i] is for values from narrow[i] on,
	bounds []key         // or, for fields of more than eight bytes, bounds[i]
	kids   []*node       // nil where there are no rules
	spill  *node         // rules that are too wide, or do not ask for the field
}

// A boxed rule is its box, whose sides are sorted by field.
type boxed struct {
	asked uint64 // the fields that have a side, by number
	sides []side // one for each bit of asked
}

// buildTree makes a tree of boxes, whose positions are their indexes.
func buildTree(boxes [][]side) *tree {
	b := &builder{boxes: make([]boxed, len(boxes)), room: copiesMax * len(boxes)}
	number := make(map[field]int)
	rules := make([]int32, len(boxes))
	total := 0
	for _, box := range boxes {
		total += len(box)
	}
	all := make([]side, 0, total) // one array for all rules
	for i, box := range boxes {
		r := &b.boxes[i]
		rules[i] = int32(i)
		from := len(all)
		for _, s := range box {
			n, ok := number[s.field]
			if !ok {
				if n = len(b.fields); n == fieldsMax {
					continue
				}
				number[s.field] = n
				b.fields = append(b.fields, s.field)
			}
			at := from + bits.OnesCount64(r.asked&(1<<n-1))
			all = slices.Insert(all, at, s)
			r.asked |= 1 << n
		}
		r.sides = all[from:len(all):len(all)]
	}
	b.root = b.build(rules, 0, leavesMax)
	return &tree{b.fields, b.root}
}

// node makes a node for some rules, in order.
func (b *builder) node(rules []int32) *node {
	if len(b.slab) == 0 {
		b.slab = make([]node, 64)
	}
	n := &b.slab[0]
	b.slab = b.slab[1:]
	n.first = rules[0]
	return n
}

func (b *builder) leaf(rules []int32) *node {
	if len(rules) == 0 {
		return nil
	}
	n := b.node(rules)
	n.rules = rules
	return n
}

// side is the interval of a field that a rule wants, nil if it does not ask.
func (b *builder) side(rule int32, number int) *side {
	r := &b.boxes[rule]
	if r.asked>>number&1 == 0 {
		return nil
	}
	return &r.sides[bits.OnesCount64(r.asked&(1<<number-1))]
}

// build makes the node for some rules, in order; a look-up may meet so many
// leaves in it. Fields that were used on the way tell nothing more.
func (b *builder) build(rules []int32, used uint64, leaves int) *node {
	if len(rules) <= leafLen || leaves < 2 || b.room < spanMax*len(rules) {
		return b.leaf(rules)
	}
	best, bounds, points, spans := b.choose(rules, used)
	if best < 0 {
		return b.leaf(rules)
	}
	parts, spilled := b.split(rules, bounds, spans)
	n, mine := b.node(rules), leaves
	n.field = uint8(best)
	if len(spilled) > 0 {
		mine = max(1, leaves/3)
		n.spill = b.build(spilled, used, leaves-mine)
	}
	kids := make([]*node, len(parts))
	for j, part := range parts {
		kids[j] = b.build(part, used|1<<best, mine)
	}
	switch {
	case points:
		n.points = make(map[key]*node, len(parts))
		for j, kid := range kids {
			if kid != nil {
				n.points[bounds[j]] = kid
			}
		}
	case b.fields[best].len <= 8:
		n.kids, n.narrow = kids, make([]uint64, len(bounds))
		for j := range bounds {
			n.narrow[j] = bounds[j].lo
		}
	default:
		n.kids, n.bounds = kids, bounds
	}
	return n
}

// choose picks the field that tells rules apart best: the one with the most
// different intervals, unless they overlap so much that most rules would be
// spilled, when the next ones are looked at too. It returns a negative number if
// there is none.
func (b *builder) choose(rules []int32, used uint64) (best int, bounds []key, points bool, spans []span) {
	var order [fieldsMax]int
	var distinct [fieldsMax]int
	n := 0
	for i := range b.fields {
		if used>>i&1 != 0 {
			continue
		}
		if d := b.distinct(rules, i); d > 1 {
			order[n], distinct[i] = i, d
			n++
		}
	}
	slices.SortStableFunc(order[:n], func(i, j int) int { return distinct[j] - distinct[i] })
	best = -1
	least := len(rules)
	for _, i := range order[:n] {
		bs, pts := b.bounds(rules, i)
		sp, spilled := b.spans(rules, i, bs)
		if spilled < least {
			best, bounds, points, spans, least = i, bs, pts, sp, spilled
		}
		if least <= len(rules)*3/4 {
			break
		}
	}
	return best, bounds, points, spans
}

// A span is which of the intervals of a node a rule is put into: none if to is
// from, and aside if to is negative.
type span struct{ from, to int32 }

// spans finds the intervals between bounds of each rule, and how many rules
// would be in too many, or do not ask for the field.
func (b *builder) spans(rules []int32, number int, bounds []key) (spans []span, spilled int) {
	spans = make([]span, len(rules))
	for i, r := range rules {
		s := b.side(r, number)
		if s == nil {
			spans[i].to = -1
			spilled++
			continue
		}
		if s.hi.less(s.lo) {
			continue // it can never match
		}
		from, _ := slices.BinarySearchFunc(bounds, s.lo, key.compare)
		to := from
		for to < len(bounds) && !s.hi.less(bounds[to]) && to-from <= spanMax {
			to++
		}
		if spans[i] = (span{int32(from), int32(to)}); to-from > spanMax {
			spans[i].to = -1
			spilled++
		}
	}
	return spans, spilled
}

// split puts rules into their intervals, or aside.
func (b *builder) split(rules []int32, bounds []key, spans []span) (parts [][]int32, spilled []int32) {
	sizes := make([]int32, len(bounds))
	total := 0
	for i, s := range spans {
		if s.to < 0 {
			spilled = append(spilled, rules[i])
			continue
		}
		for j := s.from; j < s.to; j++ {
			sizes[j]++
		}
		total += int(s.to - s.from)
	}
	b.room -= total
	array := make([]int32, total) // of all parts
	parts = make([][]int32, len(bounds))
	for j, n := range sizes {
		parts[j], array = array[:0:n], array[n:]
	}
	for i, s := range spans {
		for j := s.from; j < s.to; j++ {
			parts[j] = append(parts[j], rules[i])
		}
	}
	return parts, spilled
}

// bounds returns where the rules' intervals of a field begin, and behind their
// ends, ascending; and whether all are single values.
func (b *builder) bounds(rules []int32, number int) (bounds []key, points bool) {
	points = true
	width := b.fields[number].len
	last := key{lo: math.MaxUint64 >> (64 - 8*min(width, 8))}
	if width > 8 {
		last.hi = math.MaxUint64 >> (64 - 8*(width-8))
	}
	bounds = make([]key, 0, 2*len(rules))
	for _, r := range rules {
		s := b.side(r, number)
		if s == nil {
			continue
		}
		points = points && s.lo == s.hi
		bounds = append(bounds, s.lo)
		if s.hi.less(last) {
			bounds = append(bounds, s.hi.succ())
		}
	}
	if width > 8 {
		slices.SortFunc(bounds, key.compare)
	} else { // sorting plain numbers is several times as fast
		words := make([]uint64, len(bounds))
		for i := range bounds {
			words[i] = bounds[i].lo
		}
		slices.Sort(words)
		for i := range bounds {
			bounds[i].lo = words[i]
		}
	}
	return slices.Compact(bounds), points
}

// sampleLen is of how many rules a node's field is chosen.
const sampleLen = 256

// distinct estimates how well a field tells rules apart.
func (b *builder) distinct(rules []int32, number int) int {
	var buf [sampleLen]side
	seen := buf[:0]
	for i := 0; i < len(rules) && len(seen) < sampleLen; i += 1 + len(rules)/sampleLen {
		if s := b.side(rules[i], number); s != nil {
			seen = append(seen, *s)
		}
	}
	order := func(a, b side) int { return cmp.Or(a.lo.compare(b.lo), a.hi.compare(b.hi)) }
	slices.SortFunc(seen, order)
	return len(slices.CompactFunc(seen, func(a, b side) bool { return order(a, b) == 0 }))
}

// A finder is a look-up on its way: leaves that it met, and nodes into which it
// has not gone yet. Those wait until no leaf has a lower rule than they may
// have, so that what an early rule decides is not looked for any further.
type finder struct {
	leaves  [leavesMax][]int32
	waiting [leavesMax]*node
	n, m    int    // leaves, waiting
	known   uint64 // fields whose value stands in values
	absent  uint64 // fields that the packet does not have
	values  [fieldsMax]key
}

// start begins a look-up.
func (fd *finder) start(t *tree) {
	fd.n, fd.m, fd.known, fd.absent = 0, 0, 0, 0
	fd.wait(t.root)
}

func (fd *finder) wait(n *node) {
	if n != nil {
		fd.waiting[fd.m] = n
		fd.m++
	}
}

// next returns the lowest position, from pos on, of a rule in whose box the
// packet may lie. Part is the key of a set, for trees of its parts.
func (fd *finder) next(t *tree, w *Walker, pos int32, part []byte) (int32, bool) {
	const none = math.MaxInt32
	best := int32(none)
	for i := range fd.leaves[:fd.n] {
		l := fd.leaves[i]
		for len(l) > 0 && l[0] < pos {
			l = l[1:]
		}
		fd.leaves[i] = l
		if len(l) > 0 {
			best = min(best, l[0])
		}
	}
	for i := 0; i < fd.m; {
		n := fd.waiting[i]
		if n.first >= best {
			i++
			continue
		}
		fd.m--
		fd.waiting[i] = fd.waiting[fd.m]
		if l := fd.descend(n, t, w, part); l != nil {
			for len(l) > 0 && l[0] < pos {
				l = l[1:]
			}
			if len(l) > 0 {
				fd.leaves[fd.n] = l
				fd.n++
				best = min(best, l[0])
			}
		}
	}
	return best, best != none
}

// descend goes down to a leaf and lets spills wait; it returns nil if there is
// no leaf for the packet.
func (fd *finder) descend(n *node, t *tree, w *Walker, part []byte) []int32 {
	for n != nil {
		if n.rules != nil {
			return n.rules
		}
		fd.wait(n.spill)
		bit := uint64(1) << n.field
		if fd.known&bit == 0 {
			fd.known |= bit
			k, ok := w.value(t.fields[n.field], part)
			fd.values[n.field] = k
			if !ok {
				fd.absent |= bit
			}
		}
		if fd.absent&bit != 0 {
			return nil
		}
		n = n.kid(fd.values[n.field])
	}
	return nil
}

// kid is the node for values like k.
func (n *node) kid(k key) *node {
	if n.points != nil {
		return n.points[k]
	}
	lo, hi := 0, len(n.kids) // lo will be behind the last bound that is not above k
	if n.narrow != nil {
		for lo < hi {
			if m := int(uint(lo+hi) >> 1); k.lo < n.narrow[m] {
				hi = m
			} else {
				lo = m + 1
			}
		}
	} else {
		for lo < hi {
			if m := int(uint(lo+hi) >> 1); k.less(n.bounds[m]) {
				hi = m
			} else {
				lo = m + 1
			}
		}
	}
	if lo == 0 {
		return nil
	}
	return n.kids[lo-1]
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
