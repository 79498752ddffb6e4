package nft

import (
	"fmt"
	"os"
	"slices"
)

// Table finds a table; nil if there is none.
func (rs *Ruleset) Table(f Family, name string) *Table {
	for _, t := range rs.Tables {
		if t.Family == f && t.Name == name {
			return t
		}
	}
	return nil
}

// Chain finds a chain; nil if there is none.
func (t *Table) Chain(name string) *Chain {
	for _, c := range t.Chains {
		if c.Name == name {
			return c
		}
	}
	return nil
}

// Set finds a set or map; nil if there is none.
func (t *Table) Set(name string) *Set {
	for _, s := range t.Sets {
		if s.Name == name {
			return s
		}
	}
	return nil
}

// Object finds an object; nil if there is none.
func (t *Table) Object(kind, name string) *Object {
	for _, o := range t.Objects {
		if o.Kind == kind && o.Name == name {
			return o
		}
	}
	return nil
}

// Flowtable finds a flowtable; nil if there is none.
func (t *Table) Flowtable(name string) *Flowtable {
	for _, f := range t.Flowtables {
		if f.Name == name {
			return f
		}
	}
	return nil
}

// Read makes a ruleset from a file's text.
func Read(file, src string) (*Ruleset, error) {
	rs := new(Ruleset)
	next, _, err := rs.Exec(file, src)
	return next, err
}

// Exec does the commands of a text on a copy of the rules and returns it, with
// what the text asks to be listed. If anything is wrong there is no copy: rules
// change all at once or not at all. Rules that stay are the same ones in the
// copy, with their counts.
func (rs *Ruleset) Exec(file, src string) (next *Ruleset, lists []List, err error) {
	p, err := parse(file, src, rs)
	if err != nil {
		return nil, nil, err
	}
	next = rs.clone()
	for _, c := range p.Commands {
		l, err := next.do(c)
		if err != nil {
			if e, ok := err.(*Error); ok {
				e.Source = sourceLine(e.Pos, file, src)
			}
			return nil, nil, err
		}
		if l != nil {
			lists = append(lists, *l)
		}
	}
	if err := next.check(); err != nil {
		if e, ok := err.(*Error); ok {
			e.Source = sourceLine(e.Pos, file, src)
		}
		return nil, nil, err
	}
	return next, lists, nil
}

// A List is a part of the rules that a list command asks for.
type List struct {
	Ruleset *Ruleset
	// Only what kind of thing, as in list sets; empty: all.
	Only string
	Name string
}

func (rs *Ruleset) clone() *Ruleset {
	c := &Ruleset{}
	for _, t := range rs.Tables {
		x := *t
		x.Chains, x.Sets = nil, nil
		for _, ch := range t.Chains {
			y := *ch
			y.Rules = slices.Clone(ch.Rules)
			x.Chains = append(x.Chains, &y)
		}
		for _, s := range t.Sets {
			y := *s
			y.Elems = slices.Clone(s.Elems)
			x.Sets = append(x.Sets, &y)
		}
		x.Objects, x.Flowtables = slices.Clone(t.Objects), slices.Clone(t.Flowtables)
		c.Tables = append(c.Tables, &x)
	}
	return c
}

func fault(at Pos, format string, args ...any) error {
	return &Error{Pos: at, Msg: fmt.Sprintf(format, args...)}
}

func (t *Table) nextHandle() uint64 {
	t.handles++
	return t.handles
}

// want finds a command's table, or says that there is none.
func (rs *Ruleset) want(c *Command) (*Table, error) {
	if t := rs.Table(c.Family, c.Table); t != nil {
		return t, nil
	}
	var known []string
	for _, t := range rs.Tables {
		if t.Family == c.Family {
			known = append(known, t.Name)
		} else if t.Name == c.Table {
			return nil, fault(c.Pos, "there is no table %s %s; did you mean table %s %s?", c.Family, c.Table, t.Family, t.Name)
		}
	}
	return nil, fault(c.Pos, "there is no table %s %s%s", c.Family, c.Table, mean(c.Table, known, "", fmt.Sprintf("write add table %s %s before", c.Family, c.Table)))
}

func (t *Table) wantChain(at Pos, name string) (*Chain, error) {
	if c := t.Chain(name); c != nil {
		return c, nil
	}
	var known []string
	for _, c := range t.Chains {
		known = append(known, c.Name)
	}
	return nil, fault(at, "table %s %s has no chain %q%s", t.Family, t.Name, name, mean(name, known, "", "write one"))
}

// do does one command.
func (rs *Ruleset) do(c *Command) (*List, error) {
	switch c.Verb {
	case "list", "reset":
		return rs.list(c)
	case "flush":
		return nil, rs.flush(c)
	case "delete":
		return nil, rs.delete(c)
	}
	if c.Object == "table" {
		return nil, rs.addTable(c)
	}
	t, err := rs.want(c)
	if err != nil {
		return nil, err
	}
	create := c.Verb == "create"
	switch c.Object {
	case "chain":
		if c.Verb == "rename" {
			ch, err := t.wantChain(c.Pos, c.Name)
			if err == nil && t.Chain(c.New) != nil {
				err = fault(c.Pos, "there is a chain %s already", c.New)
			}
			if err != nil {
				return nil, err
			}
			ch.Name = c.New
			return nil, nil
		}
		return nil, t.addChain(c.ChainSpec, create)
	case "rule":
		return nil, t.addRule(c)
	case "set", "map":
		return nil, t.addSet(c.SetSpec, create)
	case "element":
		s := t.Set(c.Name)
		if s == nil {
			return nil, fault(c.Pos, "table %s %s has no set %q", t.Family, t.Name, c.Name)
		}
		return nil, s.add(c.Elems, create)
	case "flowtable":
		return nil, t.addFlowtable(c.FlowSpec, create)
	default:
		return nil, t.addObject(c.ObjSpec, create)
	}
}

func (rs *Ruleset) addTable(c *Command) error {
	t := rs.Table(c.Family, c.Table)
	if t != nil && c.Verb == "create" {
		return fault(c.Pos, "table %s %s exists already; write add to add to it", c.Family, c.Table)
	}
	s := c.TableSpec
	if t == nil {
		t = &Table{Pos: c.Pos, Family: c.Family, Name: c.Table, Comment: s.Comment, Dormant: s.Dormant}
		for _, x := range rs.Tables {
			t.Handle = max(t.Handle, x.Handle)
		}
		t.Handle++
		rs.Tables = append(rs.Tables, t)
	}
	t.Dormant = s.Dormant
	// In nft's order: first what rules refer to.
	for _, x := range s.Chains {
		spec := *x
		spec.Rules = nil
		if err := t.addChain(&spec, false); err != nil {
			return err
		}
	}
	for _, x := range s.Objects {
		if err := t.addObject(x, false); err != nil {
			return err
		}
	}
	for _, x := range s.Sets {
		spec := *x
		spec.Elems = nil
		if err := t.addSet(&spec, false); err != nil {
			return err
		}
	}
	for _, x := range s.Flowtables {
		if err := t.addFlowtable(x, false); err != nil {
			return err
		}
	}
	for _, x := range s.Sets {
		if err := t.Set(x.Name).add(x.Elems, false); err != nil {
			return err
		}
	}
	for _, x := range s.Chains {
		ch := t.Chain(x.Name)
		for _, r := range x.Rules {
			n, err := t.normal(r)
			if err != nil {
				return err
			}
			ch.Rules = append(ch.Rules, n)
		}
	}
	return nil
}

func (t *Table) addChain(spec *Chain, create bool) error {
	c := t.Chain(spec.Name)
	switch {
	case c == nil:
		c = &Chain{Pos: spec.Pos, Name: spec.Name, Comment: spec.Comment, Hook: spec.Hook, Policy: spec.Policy, Handle: t.nextHandle()}
		t.Chains = append(t.Chains, c)
	case create:
		return fault(spec.Pos, "chain %s exists already; write add to add to it", spec.Name)
	case spec.Hook != nil && c.Hook == nil:
		return fault(spec.Pos, "chain %s exists already and is no base chain; delete it first", spec.Name)
	case spec.Hook != nil && (spec.Hook.Type != c.Hook.Type || spec.Hook.Name != c.Hook.Name || spec.Hook.Priority != c.Hook.Priority):
		return fault(spec.Pos, "chain %s exists already at another hook or priority; delete it first", spec.Name)
	case spec.Policy != "":
		c.Policy = spec.Policy
	}
	for _, r := range spec.Rules {
		n, err := t.normal(r)
		if err != nil {
			return err
		}
		c.Rules = append(c.Rules, n)
	}
	return nil
}

// normal is a rule as it stands in a table: with a handle, and written as nft
// lists it.
func (t *Table) normal(r *Rule) (*Rule, error) {
	n, anons, err := normalize(t.Family, r)
	if err != nil {
		return nil, err
	}
	t.handles += uint64(anons) // nf_tables counts sets without names too
	n.Handle = t.nextHandle()
	return n, nil
}

func (t *Table) addRule(c *Command) error {
	ch, err := t.wantChain(c.Pos, c.Name)
	if err != nil {
		return err
	}
	r, err := t.normal(c.Rule)
	if err != nil {
		return err
	}
	i := len(ch.Rules)
	if c.Verb == "insert" {
		i = 0
	}
	switch {
	case c.At != 0:
		if i = slices.IndexFunc(ch.Rules, func(r *Rule) bool { return r.Handle == c.At }); i < 0 {
			return fault(c.Pos, "chain %s has no rule with handle %d", c.Name, c.At)
		}
	case c.Index >= 0:
		if i = c.Index; i >= len(ch.Rules) {
			return fault(c.Pos, "chain %s has %d rules and none with index %d", c.Name, len(ch.Rules), c.Index)
		}
	}
	switch {
	case c.Verb == "replace":
		r.Handle = t.handles
		ch.Rules[i] = r
		return nil
	case c.Verb == "add" && (c.At != 0 || c.Index >= 0):
		i++
	}
	ch.Rules = slices.Insert(ch.Rules, i, r)
	return nil
}

func (t *Table) addSet(spec *Set, create bool) error {
	s := t.Set(spec.Name)
	switch {
	case s == nil:
		x := *spec
		s = &x
		s.Handle, s.Elems = t.nextHandle(), nil
		t.Sets = append(t.Sets, s)
	case create:
		return fault(spec.Pos, "set %s exists already; write add to add to it", spec.Name)
	case joinTypes(s.Key) != joinTypes(spec.Key) || joinTypes(s.Data) != joinTypes(spec.Data) || s.Object != spec.Object:
		return fault(spec.Pos, "set %s exists already and is of another type; delete it first", spec.Name)
	}
	return s.add(spec.Elems, false)
}

func (t *Table) addObject(spec *Object, create bool) error {
	o := t.Object(spec.Kind, spec.Name)
	switch {
	case o == nil:
		x := *spec
		x.Handle = t.nextHandle()
		t.Objects = append(t.Objects, &x)
	case create:
		return fault(spec.Pos, "%s %s exists already", spec.Kind, spec.Name)
	}
	return nil
}

func (t *Table) addFlowtable(spec *Flowtable, create bool) error {
	f := t.Flowtable(spec.Name)
	switch {
	case f == nil:
		x := *spec
		x.Handle = t.nextHandle()
		t.Flowtables = append(t.Flowtables, &x)
	case create:
		return fault(spec.Pos, "flowtable %s exists already", spec.Name)
	}
	return nil
}

// keep leaves only tables that a command is not about.
func (c *Command) about(t *Table) bool {
	return (c.Family == "" || c.Family == t.Family) && (c.Table == "" || c.Table == t.Name)
}

func (rs *Ruleset) flush(c *Command) error {
	switch c.Object {
	case "ruleset":
		rs.Tables = slices.DeleteFunc(slices.Clone(rs.Tables), c.about)
		return nil
	case "table", "chain", "set", "map":
	default:
		return fault(c.Pos, "flush %s is not known; write flush ruleset, table, chain, set or map", c.Object)
	}
	t, err := rs.want(c)
	if err != nil {
		return err
	}
	switch c.Object {
	case "table":
		for _, ch := range t.Chains {
			ch.Rules = nil
		}
	case "chain":
		ch, err := t.wantChain(c.Pos, c.Name)
		if err != nil {
			return err
		}
		ch.Rules = nil
	default:
		s := t.Set(c.Name)
		if s == nil {
			return fault(c.Pos, "table %s %s has no set %q", t.Family, t.Name, c.Name)
		}
		s.Elems = nil
	}
	return nil
}

func (rs *Ruleset) delete(c *Command) error {
	if c.Object == "table" {
		i := slices.IndexFunc(rs.Tables, func(t *Table) bool {
			return t.Family == c.Family && (c.Table != "" && t.Name == c.Table || c.Handle != 0 && t.Handle == c.Handle)
		})
		if i < 0 {
			_, err := rs.want(c)
			return err
		}
		rs.Tables = slices.Delete(rs.Tables, i, i+1)
		return nil
	}
	t, err := rs.want(c)
	if err != nil {
		return err
	}
	gone := func(name string, handle uint64) bool {
		return c.Handle != 0 && handle == c.Handle || c.Handle == 0 && name == c.Name
	}
	n := 0
	switch c.Object {
	case "chain":
		t.Chains = slices.DeleteFunc(t.Chains, func(x *Chain) bool {
			if !gone(x.Name, x.Handle) {
				return false
			}
			n++
			return true
		})
	case "rule":
		ch, err := t.wantChain(c.Pos, c.Name)
		if err != nil {
			return err
		}
		ch.Rules = slices.DeleteFunc(ch.Rules, func(r *Rule) bool {
			if r.Handle == c.At {
				n++
				return true
			}
			return false
		})
		if n == 0 {
			return fault(c.Pos, "chain %s has no rule with handle %d", c.Name, c.At)
		}
	case "set", "map":
		t.Sets = slices.DeleteFunc(t.Sets, func(x *Set) bool {
			if gone(x.Name, x.Handle) {
				n++
				return true
			}
			return false
		})
	case "element":
		s := t.Set(c.Name)
		if s == nil {
			return fault(c.Pos, "table %s %s has no set %q", t.Family, t.Name, c.Name)
		}
		return s.remove(c.Elems)
	case "flowtable":
		t.Flowtables = slices.DeleteFunc(t.Flowtables, func(x *Flowtable) bool {
			if gone(x.Name, x.Handle) {
				n++
				return true
			}
			return false
		})
	default:
		t.Objects = slices.DeleteFunc(t.Objects, func(x *Object) bool {
			if x.Kind == c.Object && gone(x.Name, x.Handle) {
				n++
				return true
			}
			return false
		})
	}
	if n == 0 && err == nil {
		return fault(c.Pos, "table %s %s has no %s %q", t.Family, t.Name, c.Object, c.Name)
	}
	return err
}

// list gathers what a command lists.
func (rs *Ruleset) list(c *Command) (*List, error) {
	if c.Verb == "reset" {
		return nil, fault(c.Pos, "reset is not known; counters begin anew when rules are loaded again")
	}
	l := &List{Ruleset: &Ruleset{}, Name: c.Name, Only: c.Object}
	if c.Object == "ruleset" || c.Object == "table" {
		l.Only = ""
	}
	if c.Table != "" {
		if _, err := rs.want(c); err != nil {
			return nil, err
		}
	}
	for _, t := range rs.Tables {
		if !c.about(t) {
			continue
		}
		x := *t
		kind := c.Object
		if p := plural[kind]; p != "" {
			kind = p
		}
		named := func(n string) bool { return c.Name == "" || c.Name == n }
		if l.Only != "" {
			x.Chains = slices.DeleteFunc(slices.Clone(x.Chains), func(y *Chain) bool { return kind != "chain" || !named(y.Name) })
			x.Sets = slices.DeleteFunc(slices.Clone(x.Sets), func(y *Set) bool {
				return kind != "set" && kind != "map" || (kind == "map") != y.IsMap() || !named(y.Name)
			})
			x.Objects = slices.DeleteFunc(slices.Clone(x.Objects), func(y *Object) bool { return kind != y.Kind || !named(y.Name) })
			x.Flowtables = slices.DeleteFunc(slices.Clone(x.Flowtables), func(y *Flowtable) bool { return kind != "flowtable" || !named(y.Name) })
			if c.Name != "" && len(x.Chains)+len(x.Sets)+len(x.Objects)+len(x.Flowtables) == 0 {
				return nil, fault(c.Pos, "table %s %s has no %s %q", t.Family, t.Name, c.Object, c.Name)
			}
		}
		l.Ruleset.Tables = append(l.Ruleset.Tables, &x)
	}
	if c.Object == "tables" {
		for i, t := range l.Ruleset.Tables {
			l.Ruleset.Tables[i] = &Table{Family: t.Family, Name: t.Name, Handle: t.Handle}
		}
	}
	return l, nil
}

func sourceLine(at Pos, file, src string) string {
	if at.File != file || at.Line == 0 {
		return ""
	}
	n := 1
	for line := range lines(src) {
		if n == at.Line {
			return line
		}
		n++
	}
	return ""
}

// check finds what refers to something that is not there.
func (rs *Ruleset) check() error {
	for _, t := range rs.Tables {
		for _, c := range t.Chains {
			for _, r := range c.Rules {
				if err := t.checkRule(c, r); err != nil {
					return err
				}
			}
		}
		for _, s := range t.Sets {
			for _, e := range s.Elems {
				if v, ok := e.Data.(*Verdict); ok && v.Chain != "" {
					if _, err := t.target(v); err != nil {
						return err
					}
				}
			}
		}
		if err := t.loops(); err != nil {
			return err
		}
	}
	return nil
}

// target finds the chain that a verdict leads to.
func (t *Table) target(v *Verdict) (*Chain, error) {
	c, err := t.wantChain(v.Pos, v.Chain)
	if err != nil {
		return nil, err
	}
	if c.Hook != nil {
		return nil, fault(v.Pos, "chain %s is a base chain, where walks begin; %s to a chain without a hook", v.Chain, v.Code)
	}
	return c, nil
}

func (t *Table) checkRule(c *Chain, r *Rule) error {
	at := r.Pos
	var verdicts []*Verdict
	for _, s := range r.Stmts {
		switch s := s.(type) {
		case *Verdict:
			verdicts = append(verdicts, s)
		case *VMap:
			if a, ok := s.Set.(*Anon); ok {
				for _, e := range a.Elems {
					if v, ok := e.Data.(*Verdict); ok {
						verdicts = append(verdicts, v)
					}
				}
			}
		case *NAT:
			if err := natChain(t, c, s); err != nil {
				return err
			}
		case *ObjRef:
			if s.Name != "" && t.Object(s.Kind, s.Name) == nil {
				var known []string
				for _, o := range t.Objects {
					if o.Kind == s.Kind {
						known = append(known, o.Name)
					}
				}
				return fault(s.Pos, "table %s %s has no %s %q%s", t.Family, t.Name, s.Kind, s.Name, mean(s.Name, known, "", ""))
			}
		case *FlowAdd:
			if t.Flowtable(s.Name) == nil {
				return fault(s.Pos, "table %s %s has no flowtable %q", t.Family, t.Name, s.Name)
			}
		case *TProxy:
			if c.Hook != nil && c.Hook.Name != "prerouting" {
				return fault(s.Pos, "tproxy belongs to prerouting, not to %s", c.Hook.Name)
			}
		case *Reject:
			if c.Hook != nil && (c.Hook.Name == "postrouting" || c.Hook.Name == "egress") {
				return fault(at, "nothing can be rejected at %s any more; write it in a chain at input, forward or output", c.Hook.Name)
			}
		}
	}
	for _, v := range verdicts {
		if v.Chain == "" {
			continue
		}
		if _, err := t.target(v); err != nil {
			return err
		}
	}
	return nil
}

// natChain checks that a translation stands where it can be done.
func natChain(t *Table, c *Chain, s *NAT) error {
	if c.Hook == nil {
		return nil
	}
	if c.Hook.Type != "nat" {
		return fault(s.Pos, "%s belongs into a chain of type nat, and chain %s is of type %s", s.Kind, c.Name, c.Hook.Type)
	}
	var where []string
	switch s.Kind {
	case "snat":
		where = []string{"postrouting", "input"}
	case "masquerade":
		where = []string{"postrouting"}
	default:
		where = []string{"prerouting", "output"}
	}
	if !slices.Contains(where, c.Hook.Name) {
		return fault(s.Pos, "%s is done at %s, and chain %s is at %s", s.Kind, either(where), c.Name, c.Hook.Name)
	}
	return nil
}

const jumpsMax = 16 // chains inside each other (NFT_JUMP_STACK_SIZE)

// loops refuses chains that come back to themselves.
func (t *Table) loops() error {
	state := map[*Chain]int{}
	var visit func(c *Chain, depth int) error
	visit = func(c *Chain, depth int) error {
		if depth > jumpsMax {
			return fault(c.Pos, "chain %s is inside more than %d others", c.Name, jumpsMax)
		}
		state[c] = 1
		for _, v := range t.verdicts(c) {
			to := t.Chain(v.Chain)
			if to == nil {
				continue
			}
			if state[to] == 1 {
				return fault(v.Pos, "chain %s comes back to itself", to.Name)
			}
			if state[to] == 0 {
				if err := visit(to, depth+1); err != nil {
					return err
				}
			}
		}
		state[c] = 2
		return nil
	}
	for _, c := range t.Chains {
		if state[c] == 0 {
			if err := visit(c, 0); err != nil {
				return err
			}
		}
	}
	return nil
}

// verdicts are those that lead from a chain to others.
func (t *Table) verdicts(c *Chain) (all []*Verdict) {
	of := func(elems []*Elem) {
		for _, e := range elems {
			if v, ok := e.Data.(*Verdict); ok && v.Chain != "" {
				all = append(all, v)
			}
		}
	}
	for _, r := range c.Rules {
		for _, s := range r.Stmts {
			switch s := s.(type) {
			case *Verdict:
				if s.Chain != "" {
					all = append(all, s)
				}
			case *VMap:
				switch x := s.Set.(type) {
				case *Anon:
					of(x.Elems)
				case *SetRef:
					if set := t.Set(x.Name); set != nil {
						of(set.Elems)
					}
				}
			}
		}
	}
	return all
}

// ReadFile makes a ruleset from a file.
func ReadFile(file string) (*Ruleset, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	return Read(file, string(b))
}
