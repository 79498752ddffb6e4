package lab

import (
	"fmt"
	"strconv"
	"strings"
)

const (
	countHighest = 10000   // of one node or link
	treeMax      = 1 << 18 // parts of a file once it is expanded
	numberName   = "n"     // of the variable that counts
)

// A scope is the variables that may stand in a text, as $name or in an
// expression, $(…).
type scope map[string]string

// expand replaces variables by their values, and nodes and links that are
// counted by as many. It is false if these are too many to be looked at.
func (d *diagnostics) expand(root *tree) bool {
	vars := scope{}
	for _, e := range root.entries {
		if e.key == "vars" {
			d.readVars(vars, e.value)
		}
	}
	e := &expander{d: d, room: treeMax}
	for i := range root.entries {
		switch x := &root.entries[i]; x.key {
		case "nodes":
			x.value.entries = e.nodes(x.value.entries, vars)
			continue
		case "links":
			x.value.items = e.links(x.value.items, vars)
			continue
		case "vars":
			continue
		}
		e.substitute(root.entries[i].value, vars)
	}
	for _, x := range root.entries {
		if x.key == "links" && e.room >= 0 {
			e.expandEnds(root, x.value)
		}
	}
	return e.room >= 0
}

// readVars reads the file's variables.
func (d *diagnostics) readVars(vars scope, t *tree) {
	if t.shape != mapping {
		d.errorf(t.Pos, "vars is %v; write a mapping from names to values, such as {net: 10.1}", t.shape)
		return
	}
	for _, e := range t.entries {
		switch {
		case e.key == numberName:
			d.errorf(e.Pos, "$n is the number of a counted node; write another name")
		case !isName(e.key):
			d.errorf(e.Pos, "%q cannot be a variable's name; write letters", e.key)
		case e.value.shape != scalar:
			d.errorf(e.value.Pos, "variable %s is %v; write a value", e.key, e.value.shape)
		default:
			vars[e.key] = e.value.text
		}
	}
}

func isName(s string) bool { return s != "" && nameLen(s) == len(s) }

// nameLen is how many letters a variable's name has at the beginning of s.
func nameLen(s string) int {
	n := 0
	for n < len(s) && (s[n] >= 'a' && s[n] <= 'z' || s[n] >= 'A' && s[n] <= 'Z' || s[n] == '_') {
		n++
	}
	return n
}

// An expander makes trees of trees, up to a bound.
type expander struct {
	d    *diagnostics
	room int // parts that may still be made
}

// count takes the key count out of a mapping. It is 0 if there is none, and
// negative if it is wrong.
func (e *expander) count(t *tree, vars scope) int {
	for i, x := range t.entries {
		if x.key != "count" {
			continue
		}
		t.entries = append(t.entries[:i:i], t.entries[i+1:]...)
		e.substitute(x.value, vars)
		if n := e.d.number(x.value, "a number of them", 1, countHighest); n > 0 {
			return n
		}
		return -1
	}
	return 0
}

// nodes expands the nodes: those that are counted have a number behind their
// names, or where $n stands in them.
func (e *expander) nodes(entries []entry, vars scope) (all []entry) {
	for _, x := range entries {
		n := 0
		if x.value.shape == mapping {
			n = e.count(x.value, vars)
		}
		if n <= 0 {
			x.key = vars.in(x.key)
			e.substitute(x.value, vars)
			all = append(all, x)
			continue
		}
		e.d.counted(x.Pos, x.value)
		name := x.key
		if vars.with(1).in(name) == vars.in(name) {
			name += "$n"
		}
		for i := range n {
			s := vars.with(i + 1)
			c := e.clone(x.value)
			if c == nil {
				return all
			}
			e.substitute(c, s)
			all = append(all, entry{x.Pos, s.in(name), c})
		}
	}
	return all
}

// links expands the links.
func (e *expander) links(items []*tree, vars scope) (all []*tree) {
	for _, t := range items {
		n := 0
		if t.shape == mapping {
			n = e.count(t, vars)
		}
		if n <= 0 {
			e.substitute(t, vars)
			all = append(all, t)
			continue
		}
		e.d.counted(t.Pos, t)
		for i := range n {
			c := e.clone(t)
			if c == nil {
				return all
			}
			e.substitute(c, vars.with(i+1))
			all = append(all, c)
		}
	}
	return all
}

// clone copies a tree; nil if there is no room for it.
func (e *expander) clone(t *tree) *tree {
	if e.room--; e.room < 0 {
		if e.room == -1 {
			e.d.errorf(t.Pos, "with all that is counted the file has more than %d parts; write smaller counts", treeMax)
		}
		return nil
	}
	c := &tree{Pos: t.Pos, shape: t.shape, text: t.text}
	for _, x := range t.items {
		y := e.clone(x)
		if y == nil {
			return nil
		}
		c.items = append(c.items, y)
	}
	for _, x := range t.entries {
		y := e.clone(x.value)
		if y == nil {
			return nil
		}
		c.entries = append(c.entries, entry{x.Pos, x.key, y})
	}
	return c
}

// substitute puts values in the place of variables.
func (e *expander) substitute(t *tree, s scope) {
	t.text = s.in(t.text)
	for _, x := range t.items {
		e.substitute(x, s)
	}
	for i := range t.entries {
		t.entries[i].key = s.in(t.entries[i].key)
		e.substitute(t.entries[i].value, s)
	}
}

// with is the scope in which $n is a number.
func (s scope) with(n int) scope {
	c := scope{numberName: strconv.Itoa(n)}
	for k, v := range s {
		c[k] = v
	}
	return c
}

// in replaces the variables of a text that are known, and expressions of
// numbers. Anything else is left: shells have dollars too.
func (s scope) in(text string) string {
	if !strings.Contains(text, "$") || len(s) == 0 {
		return text
	}
	var b strings.Builder
	for {
		before, rest, ok := strings.Cut(text, "$")
		b.WriteString(before)
		if !ok {
			return b.String()
		}
		if value, n, ok := s.value(rest); ok {
			b.WriteString(value)
			text = rest[n:]
			continue
		}
		b.WriteByte('$')
		text = rest
	}
}

// value is that of the variable or expression behind a dollar, and the length
// of what it replaces.
func (s scope) value(text string) (value string, n int, ok bool) {
	if inside, found := strings.CutPrefix(text, "("); found {
		end := strings.IndexByte(inside, ')')
		if end < 0 {
			return "", 0, false
		}
		x := sum{scope: s, text: inside[:end]}
		v := x.sum()
		if x.bad || x.skip() != 0 {
			return "", 0, false
		}
		return strconv.Itoa(v), end + 2, true
	}
	n = nameLen(text)
	value, ok = s[text[:n]]
	return value, n, ok
}

// A sum is an expression of numbers and variables, such as n/250+1, that is
// being worked out: * / and % go before + and -.
type sum struct {
	scope scope
	text  string
	bad   bool
}

// skip passes over spaces and returns the next letter; 0 at the end.
func (x *sum) skip() byte {
	if x.text = strings.TrimLeft(x.text, " "); x.text == "" {
		return 0
	}
	return x.text[0]
}

func (x *sum) sum() int {
	v := x.product()
	for {
		switch x.skip() {
		case '+':
			x.text = x.text[1:]
			v += x.product()
		case '-':
			x.text = x.text[1:]
			v -= x.product()
		default:
			return v
		}
	}
}

func (x *sum) product() int {
	v := x.operand()
	for {
		c := x.skip()
		if c != '*' && c != '/' && c != '%' {
			return v
		}
		x.text = x.text[1:]
		w := x.operand()
		switch {
		case c == '*':
			v *= w
		case w == 0:
			x.bad = true
		case c == '/':
			v /= w
		default:
			v %= w
		}
	}
}

func (x *sum) operand() int {
	x.skip()
	n := nameLen(x.text)
	word := x.scope[x.text[:n]]
	if n == 0 {
		for n < len(x.text) && x.text[n] >= '0' && x.text[n] <= '9' {
			n++
		}
		word = x.text[:n]
	}
	v, err := strconv.ParseInt(word, 10, 32)
	x.text, x.bad = x.text[n:], x.bad || err != nil
	return int(v)
}

// counted remembers that a tree is read several times, and that one mistake at
// each of its places is enough.
func (d *diagnostics) counted(at Pos, t *tree) {
	if d.once == nil {
		d.once = map[Pos]bool{}
	}
	d.once[at], d.once[t.Pos] = false, false
	for _, x := range t.items {
		d.counted(x.Pos, x)
	}
	for _, x := range t.entries {
		d.counted(x.Pos, x.value)
	}
}

// expandEnds lets an end of a switch stand for those of several nodes:
// "client*:eth0".
func (e *expander) expandEnds(root, links *tree) {
	var names []string
	for _, x := range root.entries {
		if x.key == "nodes" {
			for _, n := range x.value.entries {
				names = append(names, n.key)
			}
		}
	}
	for _, l := range links.items {
		for _, x := range l.entries {
			if x.key == "endpoints" {
				x.value.items = e.ends(x.value.items, names)
			}
		}
	}
}

// ends expands the ends of a link or switch.
func (e *expander) ends(items []*tree, names []string) (all []*tree) {
	for _, t := range items {
		end := t
		for _, x := range t.entries {
			if x.key == "end" {
				end = x.value
			}
		}
		node, port, ok := strings.Cut(end.text, ":")
		before, after, star := strings.Cut(node, "*")
		if !ok || !star || end.shape != scalar {
			all = append(all, t)
			continue
		}
		found := false
		for _, name := range names {
			if len(name) < len(before)+len(after) || !strings.HasPrefix(name, before) || !strings.HasSuffix(name, after) {
				continue
			}
			found = true
			c := e.clone(t)
			if c == nil {
				return all
			}
			text := fmt.Sprintf("%s:%s", name, port)
			if c.shape == scalar {
				c.text = text
			}
			for _, x := range c.entries {
				if x.key == "end" {
					x.value.text = text
				}
			}
			all = append(all, c)
		}
		if !found {
			e.d.errorf(end.Pos, "there is no node %q; write the beginning of some nodes' names and a star", node)
		}
	}
	return all
}
