package classify

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
)

const (
	jumpsMax   = 16  // nested jumps (NFT_JUMP_STACK_SIZE)
	entriesMax = 256 // chains entered for one packet
)

// A Rule is a list of expressions, with what people know it by. It belongs to
// one chain and is not changed once it was added.
type Rule struct {
	Exprs   []Expr
	Handle  uint64 // given by the table if 0
	Comment string
	File    string // where it was written, if it was in a file
	Line    int

	box     []side
	targets []*Chain // of its verdicts
}

// String is the rule's comment, its place, or its handle.
func (r *Rule) String() string {
	switch {
	case r.File != "":
		return fmt.Sprintf("%s:%d", r.File, r.Line)
	case r.Comment != "":
		return r.Comment
	}
	return fmt.Sprintf("rule with handle %d", r.Handle)
}

// A Chain is a list of rules of a table. It stands for the list: the rules
// themselves are in the table's snapshot.
type Chain struct {
	table *Table
	name  string
	id    int
}

// Name is the chain's name.
func (c *Chain) Name() string { return c.name }

// A Table is a set of chains that are changed together. Walks and edits may be
// concurrent.
type Table struct {
	name string
	snap atomic.Pointer[snapshot]

	mu     sync.Mutex // of edits
	handle uint64     // the last one given
}

// A snapshot is a table's content at a time. It is immutable.
type snapshot struct{ chains []content }

// A content is what a chain has. A removed chain has none.
type content struct {
	chain  *Chain
	policy Code
	rules  []*Rule
	tree   *tree
}

// NewTable makes an empty table.
func NewTable(name string) *Table {
	t := &Table{name: name}
	t.snap.Store(new(snapshot))
	return t
}

// Name is the table's name.
func (t *Table) Name() string { return t.name }

// NewChain makes an empty chain. Policy is the verdict on packets about which
// no rule says anything, if a walk begins with the chain; it is Accept or Drop.
func (t *Table) NewChain(name string, policy Code) *Chain {
	t.mu.Lock()
	defer t.mu.Unlock()
	chains := t.snap.Load().chains
	c := &Chain{table: t, name: name, id: len(chains)}
	chains = append(slices.Clone(chains), content{chain: c, policy: policy, tree: buildTree(nil)})
	t.snap.Store(&snapshot{chains})
	return c
}

// Chains returns the chains, in the order in which they were made.
func (t *Table) Chains() (all []*Chain) {
	for _, c := range t.snap.Load().chains {
		if c.chain != nil {
			all = append(all, c.chain)
		}
	}
	return all
}

// Rules returns a chain's rules and its policy. They must not be changed.
func (t *Table) Rules(c *Chain) (rules []*Rule, policy Code) {
	ct := t.snap.Load().chains[c.id]
	return ct.rules, ct.policy
}

// An Edit is a change of a table, all of which happens at once.
type Edit struct {
	t      *Table
	chains []content
	dirty  map[int]bool // by chain
}

// Edit changes the table by what f does, or not at all if f or the table itself
// finds something wrong, in which case it returns the error.
func (t *Table) Edit(f func(e *Edit) error) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	e := &Edit{t: t, chains: slices.Clone(t.snap.Load().chains), dirty: make(map[int]bool)}
	if err := f(e); err != nil {
		return err
	}
	if err := e.loops(); err != nil {
		return err
	}
	for id := range e.dirty {
		c := &e.chains[id]
		boxes := make([][]side, len(c.rules))
		for i, r := range c.rules {
			boxes[i] = r.box
		}
		c.tree = buildTree(boxes)
	}
	t.snap.Store(&snapshot{e.chains})
	return nil
}

var errForeign = errors.New("the chain is not of this table, or was removed")

// content lends a chain for change.
func (e *Edit) content(c *Chain) (*content, error) {
	if c == nil || c.table != e.t || e.chains[c.id].chain == nil {
		return nil, errForeign
	}
	ct := &e.chains[c.id]
	if !e.dirty[c.id] {
		e.dirty[c.id] = true
		ct.rules = slices.Clone(ct.rules)
	}
	return ct, nil
}

// check validates a rule and learns what the table needs to know of it.
func (e *Edit) check(r *Rule) error {
	var c checker
	for i, x := range r.Exprs {
		if err := x.check(&c); err != nil {
			return fmt.Errorf("%v: expression %d, %v: %w", r, i+1, x, err)
		}
	}
	for _, to := range c.targets {
		if to.table != e.t || e.chains[to.id].chain == nil {
			return fmt.Errorf("%v: %w", r, errForeign)
		}
	}
	r.box, r.targets = c.box, c.targets
	if r.Handle == 0 {
		r.Handle = e.t.handle + 1
	}
	e.t.handle = max(e.t.handle, r.Handle)
	return nil
}

// Append adds a rule at the end of a chain.
func (e *Edit) Append(c *Chain, r *Rule) error {
	ct, err := e.content(c)
	if err != nil {
		return err
	}
	return e.insert(ct, len(ct.rules), r)
}

// Insert adds a rule in front of the one with a handle; 0 means in front of
// all.
func (e *Edit) Insert(c *Chain, before uint64, r *Rule) error {
	ct, err := e.content(c)
	if err != nil {
		return err
	}
	i := 0
	if before != 0 {
		if i, err = ct.find(before); err != nil {
			return err
		}
	}
	return e.insert(ct, i, r)
}

func (e *Edit) insert(ct *content, i int, r *Rule) error {
	if err := e.check(r); err != nil {
		return err
	}
	ct.rules = slices.Insert(ct.rules, i, r)
	return nil
}

// Replace puts a rule in the place of the one with a handle.
func (e *Edit) Replace(c *Chain, handle uint64, r *Rule) error {
	ct, err := e.content(c)
	if err != nil {
		return err
	}
	i, err := ct.find(handle)
	if err != nil {
		return err
	}
	if err := e.check(r); err != nil {
		return err
	}
	ct.rules[i] = r
	return nil
}

// Delete takes the rule with a handle away.
func (e *Edit) Delete(c *Chain, handle uint64) error {
	ct, err := e.content(c)
	if err != nil {
		return err
	}
	i, err := ct.find(handle)
	if err != nil {
		return err
	}
	ct.rules = slices.Delete(ct.rules, i, i+1)
	return nil
}

// Flush takes all rules of a chain away.
func (e *Edit) Flush(c *Chain) error {
	ct, err := e.content(c)
	if err == nil {
		ct.rules = nil
	}
	return err
}

// SetPolicy changes a chain's policy.
func (e *Edit) SetPolicy(c *Chain, policy Code) error {
	ct, err := e.content(c)
	if err == nil {
		ct.policy = policy
	}
	return err
}

// Remove takes a chain away, to which no rule may refer. A verdict map that
// does is left with a chain without rules.
func (e *Edit) Remove(c *Chain) error {
	ct, err := e.content(c)
	if err != nil {
		return err
	}
	for _, other := range e.chains {
		for _, r := range other.rules {
			if slices.Contains(r.targets, c) {
				return fmt.Errorf("chain %s is in use by %v in chain %s", c.name, r, other.chain.name)
			}
		}
	}
	*ct = content{policy: Accept}
	return nil
}

func (ct *content) find(handle uint64) (int, error) {
	i := slices.IndexFunc(ct.rules, func(r *Rule) bool { return r.Handle == handle })
	if i < 0 {
		return 0, fmt.Errorf("chain %s has no rule with handle %d", ct.chain.name, handle)
	}
	return i, nil
}

// loops refuses chains that come back to themselves by the verdicts of rules.
// (Those of maps change later; the walk bounds them.)
func (e *Edit) loops() error {
	const open, done = 1, 2
	state := make([]uint8, len(e.chains))
	var visit func(id int) error
	visit = func(id int) error {
		state[id] = open
		for _, r := range e.chains[id].rules {
			for _, to := range r.targets {
				if state[to.id] == open {
					return fmt.Errorf("%v: chain %s comes back to itself", r, to.name)
				}
				if state[to.id] != done {
					if err := visit(to.id); err != nil {
						return err
					}
				}
			}
		}
		state[id] = done
		return nil
	}
	for id := range e.chains {
		if state[id] == 0 {
			if err := visit(id); err != nil {
				return err
			}
		}
	}
	return nil
}
