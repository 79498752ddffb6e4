package classify

import (
	"bytes"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// setSizeMax bounds a dynamic set whose configuration does not.
const setSizeMax = 65535

// A SetConfig says what a set holds.
type SetConfig struct {
	Name string
	// Parts are the widths of a key's parts in bytes; several make a
	// concatenation. In registers and in keys each part begins at a multiple of
	// four bytes. A part of an interval set has at most 16 bytes.
	Parts    []int
	Interval bool          // elements are ranges, in each part
	Dynamic  bool          // rules may change it
	Timeout  time.Duration // of elements that have none of their own; 0: they stay
	SizeMax  int           // elements that rules may add; 0: 65535
	DataLen  int           // of a map: bytes of each element's data
	Verdicts bool          // a map of verdicts
}

// An Element is a member of a set. It is immutable once added.
type Element struct {
	Key     []byte
	KeyEnd  []byte // of interval sets: the last key, part by part; nil: Key
	Data    []byte
	Verdict Verdict
	Comment string
	Expires time.Duration // the instant at which it ends; 0: it stays
	// Exprs are evaluated for a packet that finds the element: counters, limits,
	// quotas. The first one that fails ends the rule.
	Exprs []Expr
}

// A Set is a set, or a map from keys to data or verdicts. Elements given by
// configuration are an immutable snapshot; those added by rules stand beside
// them under a lock of their own, which only dynamic sets take.
type Set struct {
	config SetConfig
	keyLen int
	static atomic.Pointer[elements]

	mu      sync.Mutex
	dynamic map[string]*dynElement
	oldest  *dynElement // in the order of their last change
	newest  *dynElement
}

// elements are those of a configuration.
type elements struct {
	all     []Element
	byKey   map[string]*Element // unless intervals
	tree    *tree               // of intervals
	expires bool                // some do
}

// A dynElement is an element that a rule added.
type dynElement struct {
	Element
	key        string
	prev, next *dynElement
}

// NewSet makes an empty set.
func NewSet(c SetConfig) (*Set, error) {
	s := &Set{config: c, dynamic: map[string]*dynElement{}}
	for _, n := range c.Parts {
		if n < 1 || c.Interval && n > keyLen {
			return nil, fmt.Errorf("set %s: part of %d bytes", c.Name, n)
		}
		s.keyLen += (n + regBytes - 1) / regBytes * regBytes
	}
	if len(c.Parts) == 1 {
		s.keyLen = c.Parts[0]
	}
	switch {
	case s.keyLen == 0 || s.keyLen > valueMax || c.DataLen < 0 || c.DataLen > valueMax:
		return nil, fmt.Errorf("set %s: keys of %d bytes, data of %d", c.Name, s.keyLen, c.DataLen)
	case c.Dynamic && (c.Interval || c.DataLen > 0 || c.Verdicts):
		return nil, fmt.Errorf("set %s: rules can change sets of single keys only", c.Name)
	case c.DataLen > 0 && c.Verdicts:
		return nil, fmt.Errorf("set %s: data and verdicts", c.Name)
	}
	if s.config.SizeMax == 0 {
		s.config.SizeMax = setSizeMax
	}
	s.static.Store(&elements{})
	return s, nil
}

// Replace gives the set other elements, all at once. It keeps all. Of elements
// that overlap the first one counts.
func (s *Set) Replace(all []Element) error {
	e := &elements{all: all, byKey: make(map[string]*Element)}
	boxes := make([][]side, 0, len(all))
	for i := range all {
		el := &all[i]
		end := el.KeyEnd
		if end == nil {
			end = el.Key
		}
		if len(el.Key) != s.keyLen || len(end) != s.keyLen || len(el.Data) != s.config.DataLen {
			return fmt.Errorf("set %s: element %x of a wrong length", s.config.Name, el.Key)
		}
		if !s.config.Interval && !bytes.Equal(end, el.Key) {
			return fmt.Errorf("set %s: an interval in a set of single keys", s.config.Name)
		}
		if s.config.Verdicts {
			if err := el.Verdict.valid(); err != nil {
				return fmt.Errorf("set %s: %w", s.config.Name, err)
			}
		}
		e.expires = e.expires || el.Expires != 0
		if !s.config.Interval {
			if _, twice := e.byKey[string(el.Key)]; !twice {
				e.byKey[string(el.Key)] = el
			}
			continue
		}
		box, off := make([]side, 0, len(s.config.Parts)), 0
		for _, n := range s.config.Parts {
			lo, hi := makeKey(el.Key[off:off+n], n, 0), makeKey(end[off:off+n], n, 0)
			if hi.less(lo) {
				return errors.New("set " + s.config.Name + ": an interval ends before it begins")
			}
			box = append(box, side{field{kind: partField, off: uint16(off), len: uint8(n)}, lo, hi})
			off += (n + regBytes - 1) / regBytes * regBytes
		}
		boxes = append(boxes, box)
	}
	if s.config.Interval {
		e.tree = buildTree(boxes)
	}
	s.static.Store(e)
	return nil
}

// Elements returns the elements of the configuration, which must not be
// changed, and a copy of those that rules have added and that are not over.
func (s *Set) Elements(now time.Duration) (static, dynamic []Element) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for d := s.oldest; d != nil; d = d.next {
		if !d.over(now) {
			dynamic = append(dynamic, d.Element)
		}
	}
	return s.static.Load().all, dynamic
}

func (e *Element) over(now time.Duration) bool { return e.Expires != 0 && e.Expires <= now }

// contains reports whether an interval element has the key in every part.
func (s *Set) contains(e *Element, key []byte) bool {
	end, off := e.KeyEnd, 0
	if end == nil {
		end = e.Key
	}
	for _, n := range s.config.Parts {
		if v := key[off : off+n]; bytes.Compare(v, e.Key[off:off+n]) < 0 || bytes.Compare(v, end[off:off+n]) > 0 {
			return false
		}
		off += (n + regBytes - 1) / regBytes * regBytes
	}
	return true
}

// find returns the element that has the key, nil if there is none.
func (s *Set) find(w *Walker, key []byte) *Element {
	st := s.static.Load()
	if st.expires {
		w.variant = true
	}
	if st.tree != nil {
		fd := &w.sets
		fd.start(st.tree)
		for pos, ok := fd.next(st.tree, w, 0, key); ok; pos, ok = fd.next(st.tree, w, pos+1, key) {
			if e := &st.all[pos]; s.contains(e, key) && !e.over(w.in.Now) {
				return e
			}
		}
	} else if e := st.byKey[string(key)]; e != nil && !e.over(w.in.Now) {
		return e
	}
	if !s.config.Dynamic {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if d := s.dynamic[string(key)]; d != nil && !d.over(w.in.Now) {
		return &d.Element
	}
	return nil
}

// change does what a rule asks for and reports whether the set now is so, with
// the expressions of the element, which are made if it is new.
func (s *Set) change(op DynsetOp, key []byte, now, timeout time.Duration, make func() []Expr) ([]Expr, bool) {
	if timeout == 0 {
		timeout = s.config.Timeout
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	d := s.dynamic[string(key)]
	var kept []Expr
	switch {
	case op == SetDelete:
		if d != nil {
			s.remove(d)
		}
		return nil, true
	case d != nil && op == SetAdd && !d.over(now):
		return d.Exprs, true
	case d != nil:
		if !d.over(now) {
			kept = d.Exprs
		}
		s.remove(d)
	}
	// Two a time: the set shrinks faster than it grows.
	for range 2 {
		if d := s.oldest; d != nil && d.over(now) {
			s.remove(d)
		}
	}
	if len(s.dynamic) >= s.config.SizeMax {
		return nil, false
	}
	if kept == nil && make != nil {
		kept = make()
	}
	d = &dynElement{key: string(key), prev: s.newest}
	d.Key, d.Exprs = []byte(d.key), kept
	if timeout > 0 {
		d.Expires = now + timeout
	}
	if s.newest != nil {
		s.newest.next = d
	} else {
		s.oldest = d
	}
	s.newest = d
	s.dynamic[d.key] = d
	return d.Exprs, true
}

func (s *Set) remove(d *dynElement) {
	delete(s.dynamic, d.key)
	if d.prev != nil {
		d.prev.next = d.next
	} else {
		s.oldest = d.next
	}
	if d.next != nil {
		d.next.prev = d.prev
	} else {
		s.newest = d.prev
	}
}
