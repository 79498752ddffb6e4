package route

import (
	"net/netip"
	"slices"
)

// Numbers of routing tables (Linux: rt_class_t).
const (
	TableDefault uint32 = 253
	TableMain    uint32 = 254
)

// Priorities of the rules that are always there.
const (
	PriorityMain    uint32 = 32766
	PriorityDefault uint32 = 32767
)

// An Action is what a rule does with the packets it fits (Linux: fr_action).
type Action uint8

// Actions of rules.
const (
	ToTable         Action = iota // looks in a table; if there is no route, the next rule is asked
	Goto                          // goes on with the first rule of a priority
	Nop                           // nothing
	RuleBlackhole                 // drops in silence
	RuleUnreachable               // refuses: host unreachable
	RuleProhibit                  // refuses: administratively prohibited
)

// A Rule chooses the routing table for some packets (Linux: ip rule). Zero
// fields fit every packet.
type Rule struct {
	Priority   uint32 // lower ones are asked first, equal ones in the order of entry
	From, To   netip.Prefix
	In, Out    int32  // adapters: where it came in; what the socket is bound to
	Mark, Mask uint32 // fits if the packet's mark is Mark under Mask; 0 and 0 fit all
	TOS        uint8  // of the packet, without its ECN bits; 0 fits all
	Not        bool   // fits the packets that it would not

	Action Action
	Table  uint32 // of ToTable
	Goto   uint32 // priority, larger than the rule's own

	// Suppress: routes of prefixes not longer than SuppressBits are passed over
	// (Linux: suppress_prefixlength).
	Suppress     bool
	SuppressBits int
}

// A Key is what is known of a packet that looks for its way.
type Key struct {
	Dst, Src netip.Addr // Src may be unknown, the zero Addr
	In, Out  int32      // Out: the only adapter that will do, if not 0
	Mark     uint32
	TOS      uint8
}

func (r *Rule) fits(k *Key) bool {
	fit := (!r.From.IsValid() || r.From.Contains(k.Src) || r.From.Bits() == 0 && !k.Src.IsValid()) &&
		(!r.To.IsValid() || r.To.Contains(k.Dst)) &&
		(r.In == 0 || r.In == k.In) && (r.Out == 0 || r.Out == k.Out) &&
		k.Mark&r.mask() == r.Mark&r.mask() && (r.TOS == 0 || r.TOS&^3 == k.TOS&^3)
	return fit != r.Not
}

// mask is the rule's mask; a mark alone means all of it.
func (r *Rule) mask() uint32 {
	if r.Mask == 0 && r.Mark != 0 {
		return ^uint32(0)
	}
	return r.Mask
}

// Rules are an immutable policy: rules by priority, and the tables they choose
// beside the main one. Nil is the policy of a host without: the main table.
type Rules struct {
	rules  []Rule
	tables map[uint32]*Table
}

// defaultRules are those of every host. The local table has no rule: addresses
// of the host are known before anything is routed.
func defaultRules() *Rules {
	return &Rules{rules: []Rule{
		{Priority: PriorityMain, Table: TableMain},
		{Priority: PriorityDefault, Table: TableDefault},
	}}
}

func (p *Rules) copied() *Rules {
	if p == nil {
		return defaultRules()
	}
	c := &Rules{rules: slices.Clone(p.rules), tables: make(map[uint32]*Table, len(p.tables)+1)}
	for n, t := range p.tables {
		c.tables[n] = t
	}
	return c
}

// With returns a policy that has r too, behind those of its priority.
func (p *Rules) With(r Rule) *Rules {
	c := p.copied()
	at := slices.IndexFunc(c.rules, func(o Rule) bool { return o.Priority > r.Priority })
	if at < 0 {
		at = len(c.rules)
	}
	c.rules = slices.Insert(c.rules, at, r)
	return c
}

// Without returns a policy without the rules for which drop reports true.
func (p *Rules) Without(drop func(Rule) bool) *Rules {
	c := p.copied()
	c.rules = slices.DeleteFunc(c.rules, drop)
	return c
}

// All returns the rules in the order in which they are asked.
func (p *Rules) All() []Rule { return slices.Clone(p.copied().rules) }

// Table is a table of the policy beside the main one, perhaps empty.
func (p *Rules) Table(n uint32) *Table {
	if p != nil && p.tables[n] != nil {
		return p.tables[n]
	}
	return new(Table)
}

// WithTable returns a policy that has t as its table n.
func (p *Rules) WithTable(n uint32, t *Table) *Rules {
	c := p.copied()
	if c.tables == nil {
		c.tables = make(map[uint32]*Table)
	}
	c.tables[n] = t
	return c
}

// Each returns a policy of whose tables each is what f makes of it.
func (p *Rules) Each(f func(*Table) *Table) *Rules {
	if p == nil {
		return nil
	}
	c := p.copied()
	for n, t := range c.tables {
		c.tables[n] = f(t)
	}
	return c
}

// lookup is Lookup, or LookupOn if the key says by which adapter.
func (t *Table) lookup(k *Key) (Route, bool) {
	if k.Out != 0 {
		return t.LookupOn(k.Dst, k.Out)
	}
	return t.Lookup(k.Dst)
}

// Lookup finds the way of a packet by the rules, and in main where they say so.
// A rule that refuses packets gives a route of its kind.
func (p *Rules) Lookup(k *Key, main *Table) (r Route, ok bool) {
	if p == nil {
		return main.lookup(k)
	}
	from := uint32(0) // of a goto: it only ever goes on
	for i := range p.rules {
		rule := &p.rules[i]
		if rule.Priority < from || !rule.fits(k) {
			continue
		}
		switch rule.Action {
		case Goto:
			from = max(from, rule.Goto)
		case RuleBlackhole:
			return Route{Kind: Blackhole}, true
		case RuleUnreachable:
			return Route{Kind: Unreachable}, true
		case RuleProhibit:
			return Route{Kind: Prohibit}, true
		case ToTable:
			t := main
			if rule.Table != TableMain {
				t = p.tables[rule.Table]
			}
			if t == nil {
				continue
			}
			if r, ok = t.lookup(k); ok && !(rule.Suppress && r.Dst.Bits() <= rule.SuppressBits) {
				return r, true
			}
		}
	}
	return Route{}, false
}
