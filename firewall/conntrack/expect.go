package conntrack

import "net/netip"

// An expectation is a flow that another one has announced.
type expectation struct {
	key     key // the source port is 0: any; so is the source address if anySrc
	anySrc  bool
	master  *Entry
	next    *expectation // of the same destination
	sibling *expectation // of the same master
	expires instant
	follow  Follow
}

// A Follow says how an expected flow is translated: as the flow that announced
// it is (Linux: nf_nat_follow_master).
type Follow struct {
	Set     bool
	Port    uint16 // the port that was announced
	Against bool   // the expected flow goes against its master's direction
}

// An expectTable finds expectations by their destination.
type expectTable struct {
	byDst map[key]*expectation
	n     int
}

// dstOf is the part of a key by which expectations are looked up.
func dstOf(k *key) (d key) {
	d = *k
	clear(d[keySrc:keyDst])
	d.setPorts(0, k.dstPort())
	return d
}

const (
	// expectsMax is how many flows one flow announces at a time: FTP and TFTP
	// have one transfer, and the next one replaces it.
	expectsMax = 1
	expectLife = 300e9
)

// expect notes that master announces a flow, and reports whether there was room
// and nobody else expects it.
func (t *Table) expect(master *Entry, x *expectation) bool {
	ext := master.extend()
	x.master = master
	n := 0
	for y := ext.expects; y != nil; y = y.sibling {
		if y.key == x.key {
			y.expires, y.follow = x.expires, x.follow // announced again
			return true
		}
		n++
	}
	if n >= expectsMax {
		oldest := ext.expects
		for oldest.sibling != nil {
			oldest = oldest.sibling
		}
		t.unexpect(oldest)
	}
	if t.expects.n >= t.set.ExpectMax || t.expects.find(&x.key, 0) != nil {
		return false
	}
	if t.expects.byDst == nil {
		t.expects.byDst = make(map[key]*expectation)
	}
	d := dstOf(&x.key)
	x.next, x.sibling = t.expects.byDst[d], ext.expects
	t.expects.byDst[d], ext.expects = x, x
	t.expects.n++
	t.stats.ExpectNew++
	return true
}

// find returns the expectation of a flow that begins with k.
func (x *expectTable) find(k *key, now instant) *expectation {
	if x.n == 0 {
		return nil
	}
	for y := x.byDst[dstOf(k)]; y != nil; y = y.next {
		if y.expires > now && (y.anySrc || k.src() == y.key.src()) {
			return y
		}
	}
	return nil
}

func (t *Table) unexpect(x *expectation) {
	d := dstOf(&x.key)
	var first *expectation
	for y, last := t.expects.byDst[d], &first; y != nil; y = y.next {
		if y != x {
			*last, last = y, &y.next
		} else {
			*last = y.next
		}
	}
	if first == nil {
		delete(t.expects.byDst, d)
	} else {
		t.expects.byDst[d] = first
	}
	for at := &x.master.ext.expects; *at != nil; at = &(*at).sibling {
		if *at == x {
			*at = x.sibling
			break
		}
	}
	t.expects.n--
	t.stats.ExpectDelete++
}

func (t *Table) unexpectAll(e *Entry) {
	for e.ext != nil && e.ext.expects != nil {
		t.unexpect(e.ext.expects)
	}
}

// expected looks whether a new flow was announced.
func (t *Table) expected(e *Entry, now instant) {
	x := t.expects.find(&e.nodes[original].key, now)
	if x == nil {
		return
	}
	t.unexpect(x)
	ext := e.extend()
	ext.master, ext.masterGen, ext.follow = x.master, x.master.gen, x.follow
	e.status |= Expected
	e.mark = x.master.mark
	t.stats.ExpectCreate++
}

// An Expectation is what a table tells of a flow that is expected.
type Expectation struct {
	Proto   string     `json:"proto"`
	Src     netip.Addr `json:"src"` // invalid: any
	Dst     netip.Addr `json:"dst"`
	DstPort uint16     `json:"dport"`
	Expires int        `json:"timeout"` // seconds from now
	Helper  string     `json:"helper"`
	Master  uint32     `json:"master"` // the ID of the flow that announced it
}

// Expectations lists the flows that are expected.
func (t *Table) Expectations(now instant) (all []Expectation) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, x := range t.expects.byDst {
		for ; x != nil; x = x.next {
			if x.expires <= now {
				continue
			}
			o := Expectation{Proto: protoName(x.key.proto()), Dst: x.key.dst(), DstPort: x.key.dstPort(),
				Expires: secondsLeft(x.expires, now), Master: x.master.id}
			if !x.anySrc {
				o.Src = x.key.src()
			}
			if h := x.master.helper(); h != nil {
				o.Helper = h.name
			}
			all = append(all, o)
		}
	}
	return all
}
