package conntrack

import "math/bits"

// bucketLen makes a bucket one cache line. At two flows a bucket, one in sixty
// has more than fit.
const bucketLen = 5

// A bucket holds nodes of the hash table: the tag is a part of the hash that is
// compared before the node itself is touched. Hashes do not depend on the
// direction, so the two nodes of a flow that is not translated would be in the
// same bucket; then the original one stands for both.
type bucket struct {
	nodes [bucketLen]*node
	more  *node // those that did not fit, chained
	tags  [bucketLen]uint16
}

// A hashTable has a bucket for two flows, up to those of its maximum.
// When it grows, the old buckets are emptied little by little, by those who
// add.
type hashTable struct {
	buckets []bucket
	old     []bucket // being emptied, from moved on
	moved   int
	max     int // buckets
}

func bucketsFor(flows int) int { return (flows + 1) / 2 }

const (
	bucketsMin = 512
	growth     = 4 // times
)

func newHashTable(flows int) hashTable {
	max := bucketsFor(flows)
	return hashTable{buckets: make([]bucket, min(bucketsMin, max)), max: max}
}

// at is the bucket of a hash: the hash scaled to their number.
func at(b []bucket, h uint32) *bucket {
	hi, _ := bits.Mul64(uint64(h)<<32, uint64(len(b)))
	return &b[hi]
}

// tag is taken from the low bits, which say least about the bucket. No tag is
// 0: that of an empty place.
func tag(h uint32) uint16 { return uint16(h) | 1 }

// find returns the node of k, whose hash is h.
func (t *hashTable) find(k *key, h uint32) *node {
	if n := at(t.buckets, h).find(k, h); n != nil || t.old == nil {
		return n
	}
	return at(t.old, h).find(k, h)
}

func (b *bucket) find(k *key, h uint32) *node {
	for i, g := range b.tags {
		if g == tag(h) {
			if n := b.nodes[i].match(k, h); n != nil {
				return n
			}
		}
	}
	for n := b.more; n != nil; n = n.next {
		if m := n.match(k, h); m != nil {
			return m
		}
	}
	return nil
}

// match returns n, or the node for which it stands, if its key is k.
func (n *node) match(k *key, h uint32) *node {
	if n.key == *k {
		return n
	}
	if o := &n.of.nodes[n.dir^1]; o.hash == h && o.key == *k {
		return o
	}
	return nil
}

func (b *bucket) add(n *node) {
	for i, g := range b.tags {
		if g == 0 {
			b.tags[i], b.nodes[i] = tag(n.hash), n
			return
		}
	}
	n.next, b.more = b.more, n
}

func (b *bucket) remove(n *node) bool {
	for i := range b.nodes {
		if b.nodes[i] == n {
			b.tags[i], b.nodes[i] = 0, nil
			return true
		}
	}
	for m := &b.more; *m != nil; m = &(*m).next {
		if *m == n {
			*m, n.next = n.next, nil
			return true
		}
	}
	return false
}

// add adds a flow.
func (t *hashTable) add(e *Entry) {
	t.move(2)
	o, r := &e.nodes[original], &e.nodes[reply]
	at(t.buckets, o.hash).add(o)
	if r.hash != o.hash {
		at(t.buckets, r.hash).add(r)
	}
}

// remove removes a flow.
func (t *hashTable) remove(e *Entry) {
	o, r := &e.nodes[original], &e.nodes[reply]
	t.removeNode(o)
	if r.hash != o.hash {
		t.removeNode(r)
	}
}

func (t *hashTable) removeNode(n *node) {
	if !at(t.buckets, n.hash).remove(n) {
		at(t.old, n.hash).remove(n)
	}
}

// grow makes room for the given number of flows.
func (t *hashTable) grow(flows int) {
	if bucketsFor(flows) <= len(t.buckets) || len(t.buckets) >= t.max || t.old != nil {
		return
	}
	t.old, t.moved = t.buckets, 0
	t.buckets = make([]bucket, min(len(t.buckets)*growth, t.max))
}

// move empties n of the old buckets.
func (t *hashTable) move(n int) {
	for ; t.old != nil && n > 0; n-- {
		b := &t.old[t.moved]
		for i, m := range b.nodes {
			if m != nil {
				at(t.buckets, m.hash).add(m)
				b.tags[i], b.nodes[i] = 0, nil
			}
		}
		for b.more != nil {
			m := b.more
			b.more, m.next = m.next, nil
			at(t.buckets, m.hash).add(m)
		}
		if t.moved++; t.moved == len(t.old) {
			t.old = nil
		}
	}
}

// each calls f for the original direction of every flow. f may remove the flow.
func (t *hashTable) each(f func(e *Entry)) {
	t.move(len(t.old))
	var all []*Entry
	for i := range t.buckets {
		b := &t.buckets[i]
		all = all[:0]
		for _, n := range b.nodes {
			if n != nil && n.dir == original {
				all = append(all, n.of)
			}
		}
		for n := b.more; n != nil; n = n.next {
			if n.dir == original {
				all = append(all, n.of)
			}
		}
		for _, e := range all {
			f(e)
		}
	}
}
