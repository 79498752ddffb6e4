package nft

import (
	"bytes"
	"fmt"
	"slices"
)

// A Finding is a rule or chain that can do nothing, or nothing of its own.
type Finding struct {
	Pos   Pos
	Table *Table
	Chain *Chain
	Rule  *Rule // nil: it is about the chain
	Msg   string
	By    *Rule // the earlier rule that is to blame; nil if there is none
}

// String is the finding in one line, with both places.
func (f *Finding) String() string {
	s := fmt.Sprintf("%v: %s %s %s: ", f.Pos, f.Table.Family, f.Table.Name, f.Chain.Name)
	if f.Rule != nil {
		s += f.Rule.stateless() + ": "
	}
	s += f.Msg
	if f.By != nil {
		s += fmt.Sprintf(" %s: %s", f.By.place(), f.By.stateless())
	}
	return s
}

// Lint finds rules that are never reached, that never match, or that say what
// an earlier rule has said, and chains to which nothing leads. It looks at
// constants, and takes a rule to be hidden only by one other rule of its chain,
// so there may be more; what it finds is so.
func (rs *Ruleset) Lint() (all []*Finding) {
	for _, t := range rs.Tables {
		led := map[string]bool{}
		for _, c := range t.Chains {
			for _, v := range t.verdicts(c) {
				led[v.Chain] = true
			}
		}
		for _, s := range t.Sets {
			for _, e := range s.Elems {
				if v, ok := e.Data.(*Verdict); ok {
					led[v.Chain] = true
				}
			}
		}
		for _, c := range t.Chains {
			if c.Hook == nil && !led[c.Name] {
				all = append(all, &Finding{Pos: c.Pos, Table: t, Chain: c, Msg: "no rule leads to this chain"})
			}
			all = append(all, t.lint(c)...)
		}
	}
	return all
}

// lintMax bounds the rules of a chain to which a later one is compared.
const lintMax = 1024

func (t *Table) lint(c *Chain) (all []*Finding) {
	var earlier []*claim
	for _, r := range c.Rules {
		x := claimOf(r)
		f := &Finding{Pos: r.Pos, Table: t, Chain: c, Rule: r}
		if x.never != "" {
			f.Msg = "it never matches: nothing has two values of " + x.never
			all = append(all, f)
			continue
		}
		if i := slices.IndexFunc(earlier, func(e *claim) bool { return e.covers(x) }); i >= 0 {
			e := earlier[i]
			f.By = e.rule
			switch {
			case len(e.sets)+len(e.texts) == 0:
				f.Msg = "it is never reached behind"
			case x.end != "" && e.end == x.end:
				f.Msg = "it is redundant: its packets have ended at"
			default:
				f.Msg = "it is never reached: its packets have ended at"
			}
			all = append(all, f)
			continue
		}
		if changes(r) || leads(r) && slices.ContainsFunc(t.Chains, func(c *Chain) bool { return slices.ContainsFunc(c.Rules, changes) }) {
			earlier = nil // what did not match before may match now
		}
		if x.end != "" && x.sure && len(earlier) < lintMax {
			earlier = append(earlier, x)
		}
	}
	return all
}

// changes reports whether a rule changes what others look at.
func changes(r *Rule) bool {
	return slices.ContainsFunc(r.Stmts, func(s Stmt) bool {
		switch s.(type) {
		case *Mangle, *DynSet, *Notrack, *ObjRef, *TCPReset:
			return true
		}
		return false
	})
}

// leads reports whether a rule has other chains looked at.
func leads(r *Rule) bool {
	return slices.ContainsFunc(r.Stmts, func(s Stmt) bool {
		switch s := s.(type) {
		case *Verdict:
			return s.Chain != ""
		case *VMap:
			return true
		}
		return false
	})
}

// A claim is which packets a rule is about, and what becomes of them.
type claim struct {
	rule  *Rule
	sets  map[string][]span // the values of each field, one of which a packet has
	texts map[string]bool   // of other conditions
	sure  bool              // all packets that it is about end at it
	end   string            // the verdict that ends them in this chain; empty: none
	never string            // the field that would need two values at once
}

// A span is the values between two.
type span struct{ lo, hi []byte }

func claimOf(r *Rule) *claim {
	c := &claim{rule: r, sets: map[string][]span{}, texts: map[string]bool{}, sure: true}
	for _, s := range r.Stmts {
		switch s := s.(type) {
		case *Match:
			c.match(s)
		case *Counter, *Log:
		case *Verdict:
			if s.Code != "continue" && s.Code != "jump" {
				c.end = s.Code + s.Chain
			}
		case *Reject:
			c.end = StmtText(s)
		case *Queue, *NAT:
			c.end, c.sure = StmtText(s), false // they may let the packet go on
		default:
			c.sure = false
		}
	}
	return c
}

// match notes a condition.
func (c *claim) match(m *Match) {
	if _, draws := m.Left.(*Numgen); draws || exprText(m.Left) == "meta random" {
		c.sure = false // the next one has another number
	}
	c.implied(m.Left)
	spans, ok := spansOf(m)
	if !ok {
		c.texts[StmtText(m)] = true
		return
	}
	c.narrow(exprText(m.Left), spans)
}

func (c *claim) narrow(field string, spans []span) {
	if old, ok := c.sets[field]; ok {
		spans = common(old, spans)
	}
	if c.sets[field] = spans; len(spans) == 0 && c.never == "" {
		c.never = field
	}
}

// implied notes what a packet is that has a field.
func (c *claim) implied(e Expr) {
	p, ok := e.(*Payload)
	if !ok || p.Header == nil {
		return
	}
	one := func(v byte) []span { return []span{{[]byte{v}, []byte{v}}} }
	switch p.Header.Name {
	case "ip":
		c.narrow("meta nfproto", one(2))
	case "ip6":
		c.narrow("meta nfproto", one(10))
	case "tcp", "udp", "icmp", "icmpv6", "sctp", "dccp", "udplite", "esp", "ah":
		c.narrow("meta l4proto", one(byte(p.Header.Proto)))
	}
}

// spansOf is the values that a condition lets pass, if they are constants of a
// single field.
func spansOf(m *Match) (all []span, ok bool) {
	switch m.Left.(type) {
	case *Payload, *Meta:
	case *Ct:
		if m.bits() {
			return nil, false
		}
	default:
		return nil, false
	}
	if m.bits() || m.Op != "" && m.Op != "==" {
		return nil, false
	}
	elems := []*Elem{{Key: m.Right}}
	if a, is := m.Right.(*Anon); is {
		elems = a.Elems
	}
	for _, e := range elems {
		switch e.Key.(type) {
		case *Value, *Prefix, *Range:
		default:
			return nil, false
		}
		lo, hi := bounds(e.Key)
		all = append(all, span{lo, hi})
	}
	return all, true
}

// common is the values that are in both.
func common(a, b []span) (both []span) {
	for _, x := range a {
		for _, y := range b {
			lo, hi := x.lo, x.hi
			if bytes.Compare(y.lo, lo) > 0 {
				lo = y.lo
			}
			if bytes.Compare(y.hi, hi) < 0 {
				hi = y.hi
			}
			if bytes.Compare(lo, hi) <= 0 {
				both = append(both, span{lo, hi})
			}
		}
	}
	return both
}

// covers reports whether each packet that x is about is one that c is about.
func (c *claim) covers(x *claim) bool {
	for text := range c.texts {
		if !x.texts[text] {
			return false
		}
	}
	for field, spans := range c.sets {
		inner, ok := x.sets[field]
		if !ok {
			return false
		}
		for _, s := range inner {
			if !slices.ContainsFunc(spans, func(o span) bool {
				return bytes.Compare(o.lo, s.lo) <= 0 && bytes.Compare(s.hi, o.hi) <= 0
			}) {
				return false
			}
		}
	}
	return true
}
