package expr

import (
	"maps"
	"math"
	"slices"

	"github.com/towpath/towpath/capture/bpf"
)

// A fact is what is known of a value.
type fact struct {
	in     []uint32 // sorted: it is one of these; nil if that is not known
	out    []uint32 // sorted: it is none of these
	lo, hi uint32   // it is from lo to hi
}

// A factMap is what is known where a block begins or ends.
type factMap map[*value]fact

const (
	// factsMax bounds the numbers that are remembered of one value.
	factsMax = 64
	// roundsMax bounds how often the passes run.
	roundsMax = 24
	// threadMax bounds how many blocks one jump is led past.
	threadMax = 256
	// budgetMax bounds how much is remembered in all, and so the time for an
	// expression of many thousand tests.
	budgetMax = 1 << 20
	// casesMax bounds how many numbers a value may be for them to be tried one
	// by one.
	casesMax = 8
	// depthOfCases bounds how far one looks ahead of tests that are not decided.
	depthOfCases = 3
)

var anything = fact{hi: math.MaxUint32}

// allows reports whether the value may be k.
func (f fact) allows(k uint32) bool {
	if f.in != nil {
		_, ok := slices.BinarySearch(f.in, k)
		return ok
	}
	_, not := slices.BinarySearch(f.out, k)
	return !not && f.lo <= k && k <= f.hi
}

// with is what is known if the comparison with k has turned out so.
func (f fact) with(rel uint16, k uint32, holds bool) fact {
	if f.in != nil {
		f.in = slices.DeleteFunc(slices.Clone(f.in), func(v uint32) bool { return compare(rel, v, k) != holds })
		return f
	}
	switch {
	case rel == bpf.JmpEq && holds:
		return fact{in: []uint32{k}, lo: k, hi: k}
	case rel == bpf.JmpEq:
		if i, found := slices.BinarySearch(f.out, k); !found && len(f.out) < factsMax {
			f.out = slices.Insert(slices.Clone(f.out), i, k)
		}
	case rel == bpf.JmpGt && holds && k < math.MaxUint32:
		f.lo = max(f.lo, k+1)
	case rel == bpf.JmpGt && !holds:
		f.hi = min(f.hi, k)
	case rel == bpf.JmpGe && holds:
		f.lo = max(f.lo, k)
	case rel == bpf.JmpGe && !holds && k > 0:
		f.hi = min(f.hi, k-1)
	}
	return f
}

// decide reports how a comparison with k must turn out, if that is known.
func (f fact) decide(rel uint16, k uint32) (holds, ok bool) {
	if f.in != nil {
		if len(f.in) == 0 {
			return false, false // this way is never taken
		}
		holds = compare(rel, f.in[0], k)
		for _, v := range f.in[1:] {
			if compare(rel, v, k) != holds {
				return false, false
			}
		}
		return holds, true
	}
	switch rel {
	case bpf.JmpEq:
		if f.lo == f.hi {
			return f.lo == k, true
		}
		return false, !f.allows(k)
	case bpf.JmpGt:
		return f.lo > k, f.lo > k || f.hi <= k
	case bpf.JmpGe:
		return f.lo >= k, f.lo >= k || f.hi < k
	}
	return false, false
}

// either is what is known if one of two facts holds.
func (f fact) either(g fact) fact {
	if f.in == nil && g.in != nil {
		f, g = g, f
	}
	switch {
	case f.in != nil && g.in != nil:
		u := slices.Concat(f.in, g.in)
		slices.Sort(u)
		u = slices.Compact(u)
		if len(u) <= factsMax {
			return fact{in: u, hi: math.MaxUint32}
		}
		return anything
	case f.in != nil:
		if len(f.in) == 0 {
			return g
		}
		g.out = slices.DeleteFunc(slices.Clone(g.out), func(k uint32) bool { return slices.Contains(f.in, k) })
		g.lo, g.hi = min(g.lo, f.in[0]), max(g.hi, f.in[len(f.in)-1])
		return g
	}
	h := fact{lo: min(f.lo, g.lo), hi: max(f.hi, g.hi)}
	for _, k := range f.out {
		if !g.allows(k) {
			h.out = append(h.out, k)
		}
	}
	return h
}

// constantOf evaluates v, if what is known suffices.
func (m factMap) constantOf(v *value) (uint32, bool) {
	if v.op == vConst {
		return v.k, true
	}
	if f, ok := m[v]; ok && len(f.in) == 1 {
		return f.in[0], true
	}
	switch {
	case v.op == vNeg:
		a, ok := m.constantOf(v.a)
		return -a, ok
	case v.b != nil:
		if a, ok := m.constantOf(v.a); ok {
			if b, ok := m.constantOf(v.b); ok {
				return calc(v.op, a, b)
			}
		}
	}
	return 0, false
}

// of is what is known of v.
func (m factMap) of(v *value) fact {
	if k, ok := m.constantOf(v); ok {
		return fact{in: []uint32{k}, lo: k, hi: k}
	}
	f, ok := m[v]
	if !ok {
		f = anything
		f.hi = v.max()
	}
	return f
}

// decide reports how a test must turn out, if that is known.
func (m factMap) decide(b *block) (holds, ok bool) {
	if k, ok := m.constantOf(b.b); ok {
		return m.of(b.a).decide(b.rel, k)
	}
	return false, false
}

// after is what is known behind a block, if it went on to t or not. Only what
// other tests may ask about is kept.
func (gr *graph) after(m factMap, b *block, t bool) factMap {
	switch b.kind {
	case bTest:
		if !b.b.isConst() || !gr.asked[b.a] {
			return m
		}
		gr.budget -= len(m) + 1
		n := make(factMap, len(m)+1)
		for v, f := range m {
			n[v] = f
		}
		n[b.a] = m.of(b.a).with(b.rel, b.b.k, t)
		return n
	case bSet:
		gr.budget -= len(m) + 1
		n := make(factMap, len(m))
		for v, f := range m {
			if !v.uses(b.reg) {
				n[v] = f
			}
		}
		return n
	}
	return m
}

// either is what holds on both of two ways.
func (m factMap) either(o factMap) factMap {
	n := make(factMap, min(len(m), len(o)))
	for v, f := range m {
		g, ok := o[v]
		if !ok {
			continue
		}
		if f = f.either(g); f.in != nil || f.out != nil || f.lo > 0 || f.hi < math.MaxUint32 {
			n[v] = f
		}
	}
	return n
}

// optimize makes the graph small: it leads jumps past tests whose outcome is
// known, joins blocks that are the same, and brings tests of the same value
// together, until nothing changes.
func (gr *graph) optimize() {
	if gr.nodes > blocksMax {
		return
	}
	gr.normalize()
	gr.budget = budgetMax
	for range roundsMax {
		changed := gr.thread()
		changed = gr.share() || changed
		changed = gr.gather() || changed
		if !changed || gr.budget < 0 {
			break
		}
	}
	gr.dropSets()
}

// normalize writes tests of bits as comparisons, of which facts are kept.
func (gr *graph) normalize() {
	for _, b := range gr.order() {
		if b.kind != bTest {
			continue
		}
		if b.rel == bpf.JmpSet && b.b.isConst() {
			b.rel, b.a, b.b = bpf.JmpEq, gr.in.bin(vAnd, b.a, b.b), gr.in.konst(0)
			b.t, b.f = b.f, b.t
		}
		if b.b.isConst() && (b.rel == bpf.JmpGt && b.b.k == 0 || b.rel == bpf.JmpGe && b.b.k == 1) {
			b.rel, b.b = bpf.JmpEq, gr.in.konst(0)
			b.t, b.f = b.f, b.t
		}
	}
}

// thread leads every jump as far as what is known where it starts decides.
func (gr *graph) thread() (changed bool) {
	order := gr.order()
	gr.ask(order)
	gr.root.known = factMap{}
	if to := gr.dest(gr.root.known, gr.root, 0); to != gr.root {
		gr.root, changed = to, true
		gr.root.known = factMap{}
	}
	for _, b := range order {
		if b.known == nil || b.kind == bEnd || gr.budget < 0 {
			continue
		}
		for _, way := range []struct {
			to    **block
			taken bool
		}{{&b.t, true}, {&b.f, false}} {
			if *way.to == nil {
				continue
			}
			m := gr.after(b.known, b, way.taken)
			to := gr.dest(m, *way.to, 0)
			if to != *way.to {
				*way.to, changed = to, true
			}
			if to.known == nil {
				to.known = m
			} else {
				gr.budget -= len(m) + 1
				to.known = to.known.either(m)
			}
		}
		b.known = nil
	}
	return changed
}

// ask notes which values more than one test depends on, and forgets what was
// known.
func (gr *graph) ask(order []*block) {
	gr.asked = map[*value]bool{}
	for _, b := range order {
		b.known = nil
		if b.kind != bTest {
			continue
		}
		for v := b.a; v != nil; v = v.a {
			_, again := gr.asked[v]
			gr.asked[v] = again
		}
	}
}

// dest is where a jump to b ends, if m is known.
func (gr *graph) dest(m factMap, b *block, depth int) *block {
	for range threadMax {
		if b.kind != bTest {
			return b
		}
		if b.t == b.f {
			b = b.t
			continue
		}
		holds, ok := m.decide(b)
		if !ok {
			return gr.cases(m, b, depth)
		}
		if holds {
			b = b.t
		} else {
			b = b.f
		}
	}
	return b
}

// cases is where a jump to the test b ends, if all of its outcomes lead there,
// and b otherwise.
func (gr *graph) cases(m factMap, b *block, depth int) *block {
	if gr.budget--; depth == depthOfCases || gr.budget < 0 {
		return b
	}
	if f := m.of(b.a); b.b.isConst() && len(f.in) > 1 && len(f.in) <= casesMax {
		var end *block
		for _, k := range f.in {
			gr.budget -= len(m) + 1
			n := maps.Clone(m)
			n[b.a] = fact{in: []uint32{k}, hi: math.MaxUint32}
			d := gr.dest(n, b, depth+1)
			if end != nil && d != end {
				return b
			}
			end = d
		}
		return end
	}
	t := gr.dest(gr.after(m, b, true), b.t, depth+1)
	if f := gr.dest(gr.after(m, b, false), b.f, depth+1); f == t {
		return t
	}
	return b
}

// share makes one of blocks that do the same and go on to the same.
func (gr *graph) share() (changed bool) {
	order := gr.order()
	type key struct {
		kind blockKind
		rel  uint16
		a, b *value
		reg  uint32
		far  *chain
		t, f *block
	}
	same := map[key]*block{}
	instead := map[*block]*block{}
	for _, b := range slices.Backward(order) {
		if b.kind == bEnd {
			continue
		}
		for _, way := range []**block{&b.t, &b.f} {
			if i := instead[*way]; i != nil {
				*way, changed = i, true
			}
		}
		k := key{b.kind, b.rel, b.a, b.b, b.reg, b.far, b.t, b.f}
		if other := same[k]; other != nil {
			instead[b] = other
		} else {
			same[k] = b
		}
	}
	if i := instead[gr.root]; i != nil {
		gr.root, changed = i, true
	}
	return changed
}

// kept is the value that A holds behind a test.
func (b *block) kept() *value {
	if b.rel == bpf.JmpEq && b.b.isConst() && b.b.k == 0 && b.a.op == vAnd && b.a.b.isConst() {
		return b.a.a
	}
	return b.a
}

// begins reports whether computing v can begin with from in A.
func (v *value) begins(from *value) bool {
	for v != nil {
		if v == from {
			return true
		}
		if v.b == nil || !v.b.isConst() {
			return false
		}
		v = v.a
	}
	return false
}

// gatherMax bounds how far along a row of tests one is sought to bring near.
const gatherMax = 200

// gather brings tests of the same value together. In a row of tests of which
// one outcome leads to the same block, the order is free but for loads, which
// may end the program: so what is moved up loads nothing that has not been
// loaded above it.
func (gr *graph) gather() (changed bool) {
	order := gr.order()
	for _, p := range order {
		if p.kind != bTest || p.t == p.f {
			continue
		}
		for _, side := range []bool{true, false} {
			for gr.pull(p, side) {
				changed = true
			}
		}
	}
	return changed
}

// exits reports whether b goes on to end one way, and returns the other.
func (b *block) exits(end *block) (other **block) {
	switch {
	case b.kind != bTest:
		return nil
	case b.t == end && b.f != end:
		return &b.f
	case b.f == end && b.t != end:
		return &b.t
	}
	return nil
}

// pull moves the next test of p's value, in the row whose common end is p.t or
// p.f, up behind p.
func (gr *graph) pull(p *block, side bool) bool {
	end, rest := p.f, &p.t
	if side {
		end, rest = p.t, &p.f
	}
	// Tests that stand behind p already go first.
	last := rest
	for *last != end && (*last).preds == 1 && (*last).kind == bTest && (*last).a.begins(p.kept()) && (*last).exits(end) != nil {
		if (*last).kept() != p.kept() {
			return false
		}
		last = (*last).exits(end)
	}
	at := last
	for n := 0; n < gatherMax; n++ {
		b := *at
		next := b.exits(end)
		if next == nil || b.preds != 1 {
			return false
		}
		if n > 0 && b.b.isConst() && b.a.begins(p.kept()) && !reads(*last, b) {
			*at = *next
			*next = *last
			*last = b
			return true
		}
		at = next
	}
	return false
}

// reads reports whether a and b test the same value, so that nothing is gained.
func reads(a, b *block) bool { return a.kind == bTest && a.a.begins(b.kept()) && a.kept() == b.kept() }

// dropSets removes registers that nothing reads.
func (gr *graph) dropSets() {
	for {
		used := uint32(0)
		order := gr.order()
		for _, b := range order {
			for r := uint32(0); r < gr.regs; r++ {
				if b.a.uses(r) || b.b.uses(r) || b.far != nil && b.far.base.reg.uses(r) {
					used |= 1 << r
				}
			}
		}
		dropped := false
		past := func(b *block) *block {
			for b != nil && b.kind == bSet && used>>b.reg&1 == 0 {
				b, dropped = b.t, true
			}
			return b
		}
		gr.root = past(gr.root)
		for _, b := range order {
			b.t, b.f = past(b.t), past(b.f)
		}
		if !dropped {
			return
		}
		gr.thread()
		gr.share()
	}
}
