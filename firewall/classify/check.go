package classify

import (
	"errors"
	"fmt"
	"slices"
)

// A checker validates a rule: every register that is read has been written in
// the same rule, and all values fit. On its way it follows the fields that the
// registers hold and gathers the rule's box.
type checker struct {
	written [regCount]bool
	held    [regCount]symbol
	box     []side
	acted   bool // behind a side effect or verdict: what follows does not belong to the box
	targets []*Chain
}

// A symbol is what is known of a register's value: the field, and how many
// bytes of it, from the left, were kept by a mask.
type symbol struct {
	known bool
	field field
	mask  []byte // nil: all of it
}

func (c *checker) write(r Reg, n int) error {
	if n == 0 || int(r)*regBytes+n > valueMax {
		return fmt.Errorf("value of %d bytes does not fit into register %d", n, r)
	}
	end := int(r) + (n+regBytes-1)/regBytes
	for i := range end {
		if s := c.held[i]; s.known && i+(int(s.field.len)+regBytes-1)/regBytes > int(r) {
			c.held[i] = symbol{}
		}
		c.written[i] = c.written[i] || i >= int(r)
	}
	return nil
}

func (c *checker) read(r Reg, n int) error {
	if n == 0 || int(r)*regBytes+n > valueMax {
		return fmt.Errorf("value of %d bytes does not fit into register %d", n, r)
	}
	if i := slices.Index(c.written[r:int(r)+(n+regBytes-1)/regBytes], false); i >= 0 {
		return fmt.Errorf("register %d is read and not written", int(r)+i)
	}
	return nil
}

// load notes that a register holds a field.
func (c *checker) load(r Reg, f field) error {
	err := c.write(r, int(f.len))
	if err == nil && f.len <= keyLen {
		c.held[r] = symbol{known: true, field: f}
	}
	return err
}

// within narrows the box to values from lo to hi in register r.
func (c *checker) within(r Reg, lo, hi []byte) {
	s := c.held[r]
	if c.acted || !s.known || !s.field.indexed() || len(lo) > int(s.field.len) {
		return
	}
	// A compare of fewer bytes than were loaded, or of masked ones, leaves the
	// rest open.
	n := int(s.field.len)
	l, h := make([]byte, n), slices.Repeat([]byte{0xff}, n)
	copy(l, lo)
	copy(h, hi)
	if s.mask != nil {
		if len(lo) < len(s.mask) || !slices.Equal(lo, hi) || !isPrefix(s.mask) {
			return
		}
		for i := range s.mask {
			h[i] |= ^s.mask[i]
		}
	}
	f := s.field.whole()
	c.narrow(side{f, makeKey(l, int(f.len), 0), makeKey(h, int(f.len), 0xff)})
}

// narrow adds a side to the box: a field has one, the common part of all that
// is asked of it.
func (c *checker) narrow(s side) {
	for i := range c.box {
		if b := &c.box[i]; b.field == s.field {
			if b.lo.less(s.lo) {
				b.lo = s.lo
			}
			if s.hi.less(b.hi) {
				b.hi = s.hi
			}
			return
		}
	}
	c.box = append(c.box, s)
}

// isPrefix reports whether a mask is ones followed by zeros.
func isPrefix(mask []byte) bool {
	ended := false
	for _, b := range mask {
		if ended && b != 0 {
			return false
		}
		if b != 0xff {
			ended = true
			if inv := ^b; inv&(inv+1) != 0 {
				return false
			}
		}
	}
	return true
}

func (e Payload) check(c *checker) error {
	if e.Base > Transport {
		return errors.New("no such header")
	}
	return c.load(e.Dst, field{kind: payloadField, key: uint8(e.Base), off: e.Offset, len: e.Len})
}

func (e Meta) check(c *checker) error {
	if e.Key >= metaCount {
		return errors.New("no such key")
	}
	return c.load(e.Dst, field{kind: metaField, key: uint8(e.Key), len: metaLen[e.Key]})
}

func (e SetMark) check(c *checker) error {
	c.acted = true
	return c.read(e.Src, 4)
}

func (e Ct) check(c *checker) error {
	if e.Key >= ctCount {
		return errors.New("no such key")
	}
	return c.write(e.Dst, int(ctLen[e.Key]))
}

func (e Cmp) check(c *checker) error {
	if e.Op >= opCount {
		return errors.New("no such comparison")
	}
	lowest, highest := make([]byte, len(e.Data)), slices.Repeat([]byte{0xff}, len(e.Data))
	switch e.Op {
	case Equal:
		c.within(e.Reg, e.Data, e.Data)
	case Less, LessOrEqual:
		c.within(e.Reg, lowest, e.Data)
	case Greater, GreaterOrEqual:
		c.within(e.Reg, e.Data, highest)
	}
	return c.read(e.Reg, len(e.Data))
}

func (e Range) check(c *checker) error {
	if len(e.Lo) != len(e.Hi) {
		return errors.New("bounds of different lengths")
	}
	if !e.Invert {
		c.within(e.Reg, e.Lo, e.Hi)
	}
	return c.read(e.Reg, len(e.Lo))
}

func (e Bitwise) check(c *checker) error {
	if len(e.Mask) != len(e.Xor) {
		return errors.New("mask and xor of different lengths")
	}
	if err := c.read(e.Src, len(e.Mask)); err != nil {
		return err
	}
	s := c.held[e.Src]
	if err := c.write(e.Dst, len(e.Mask)); err != nil {
		return err
	}
	if s.known && s.mask == nil && len(e.Mask) == int(s.field.len) && !slices.ContainsFunc(e.Xor, func(b byte) bool { return b != 0 }) {
		s.mask = e.Mask
		c.held[e.Dst] = s
	}
	return nil
}

func (e Byteorder) check(c *checker) error {
	if e.Size != 2 && e.Size != 4 && e.Size != 8 || e.Len%e.Size != 0 {
		return errors.New("units of 2, 4 or 8 bytes only")
	}
	if err := c.read(e.Src, int(e.Len)); err != nil {
		return err
	}
	return c.write(e.Dst, int(e.Len))
}

func (e Immediate) check(c *checker) error { return c.write(e.Dst, len(e.Data)) }

func (e Verdict) check(c *checker) error {
	c.acted = true // nothing behind it counts
	if e.Chain != nil {
		c.targets = append(c.targets, e.Chain)
	}
	return e.valid()
}

func (e Verdict) valid() error {
	if e.Code >= codeCount || (e.Code == Jump || e.Code == Goto) != (e.Chain != nil) {
		return errors.New("a chain belongs to jump and goto, and to no other verdict")
	}
	return nil
}

func (e Lookup) check(c *checker) error {
	if e.Set == nil || e.Invert && (e.Set.config.DataLen > 0 || e.Set.config.Verdicts) {
		return errors.New("no set, or an inverted look-up in a map")
	}
	c.acted = c.acted || e.Set.config.Verdicts
	if err := c.read(e.Src, e.Set.keyLen); err != nil || e.Set.config.DataLen == 0 {
		return err
	}
	return c.write(e.Dst, e.Set.config.DataLen)
}

func (e Dynset) check(c *checker) error {
	if e.Set == nil || !e.Set.config.Dynamic {
		return errors.New("the set is not dynamic")
	}
	c.acted = true
	return c.read(e.Key, e.Set.keyLen)
}

func (e *Counter) check(c *checker) error {
	c.acted = true
	return nil
}

func (e *Limit) check(c *checker) error {
	c.acted = true
	if e.Rate == 0 || e.Unit <= 0 {
		return errors.New("limit without a rate")
	}
	return nil
}

func (e *Quota) check(c *checker) error {
	c.acted = true
	return nil
}

func (e *Log) check(c *checker) error {
	c.acted = true
	return nil
}

func (e *Reject) check(c *checker) error {
	c.acted = true
	return nil
}

func (e *Match) check(c *checker) error {
	c.acted = true // it may have a memory
	if e.Test == nil {
		return errors.New("match without a function")
	}
	return nil
}

func (e *Load) check(c *checker) error {
	c.acted = c.acted || !e.Invariant // it may have a memory
	if e.Get == nil {
		return errors.New("load without a function")
	}
	return c.write(e.Dst, int(e.Len))
}

func (e *Store) check(c *checker) error {
	c.acted = true
	if e.Do == nil {
		return errors.New("store without a function")
	}
	if err := c.read(e.Src, int(e.Len)); err != nil {
		return err
	}
	return e.Verdict.valid()
}

func (e *Statement) check(c *checker) error {
	c.acted = true
	if e.Do == nil {
		return errors.New("statement without a function")
	}
	return e.Verdict.valid()
}
