package lab

import (
	"errors"
	"fmt"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

const (
	fileMax  = 1 << 20 // bytes of a lab file
	depthMax = 32      // of lists and mappings inside each other
)

type shape uint8

const (
	empty shape = iota // nothing, ~ or null
	scalar
	list
	mapping
)

func (s shape) String() string {
	return [...]string{"nothing", "a value", "a list", "a mapping"}[s]
}

// A tree is a part of a YAML document with its place, and as much of YAML as
// lab files need: no anchors, no tags, and scalars as they are written.
type tree struct {
	Pos
	shape   shape
	text    string
	items   []*tree
	entries []entry
}

type entry struct {
	Pos
	key   string
	value *tree
}

// parseYAML reads a document. It is the only place that knows the YAML library.
func (d *diagnostics) parseYAML(text []byte) (root *tree) {
	if len(text) > fileMax {
		d.errorf(Pos{}, "the file has %d bytes; a lab file has at most %d", len(text), fileMax)
		return nil
	}
	defer func() {
		// The library panics on some broken documents.
		if v := recover(); v != nil {
			d.errorf(Pos{}, "this is not YAML; the reader gave up with: %v", v)
			root = nil
		}
	}()
	text = []byte(strings.Join(d.lines, "\n"))
	for i, l := range d.lines {
		// The library takes tabs in some places, and loses its way.
		if indent := l[:len(l)-len(strings.TrimLeft(l, " \t"))]; strings.Contains(indent, "\t") && strings.TrimSpace(l) != "" {
			d.errorf(Pos{i + 1, strings.IndexByte(l, '\t') + 1}, "a tab indents this line; write spaces")
			return nil
		}
	}
	f, err := parser.ParseBytes(text, 0, parser.AllowDuplicateMapKey())
	if err != nil {
		var syntax *yaml.SyntaxError
		if errors.As(err, &syntax) && syntax.Token != nil {
			d.errorf(place(syntax.Token), "this is not YAML: %s", syntax.Message)
		} else {
			d.errorf(Pos{}, "this is not YAML: %s", firstLine(err.Error()))
		}
		return nil
	}
	var docs []*ast.DocumentNode
	for _, doc := range f.Docs {
		if doc.Body != nil {
			docs = append(docs, doc)
		}
	}
	switch len(docs) {
	case 0:
		return &tree{Pos: Pos{1, 1}}
	case 1:
		return d.convert(docs[0].Body, 0)
	}
	d.errorf(d.start(docs[1].Body), "a second document begins here; write one lab a file")
	return nil
}

func firstLine(s string) string {
	s, _, _ = strings.Cut(s, "\n")
	return s
}

func place(t *token.Token) Pos {
	if t == nil || t.Position == nil {
		return Pos{}
	}
	return Pos{t.Position.Line, t.Position.Column}
}

// start is where a node begins.
func (d *diagnostics) start(n ast.Node) Pos {
	switch n := n.(type) {
	case *ast.MappingNode:
		if !n.IsFlowStyle && len(n.Values) > 0 {
			return d.start(n.Values[0].Key)
		}
		return place(n.Start)
	case *ast.MappingValueNode:
		return d.start(n.Key)
	case *ast.SequenceNode:
		return place(n.Start)
	case *ast.LiteralNode:
		return place(n.Start)
	}
	return place(n.GetToken())
}

func (d *diagnostics) convert(n ast.Node, depth int) *tree {
	t := &tree{Pos: d.start(n)}
	if depth > depthMax {
		d.errorf(t.Pos, "more than %d levels inside each other; a lab file needs no more than six", depthMax)
		return t
	}
	switch n := n.(type) {
	case nil:
	case *ast.NullNode:
	case *ast.MappingNode:
		t.shape = mapping
		for _, v := range n.Values {
			d.addEntry(t, v, depth)
		}
	case *ast.MappingValueNode:
		t.shape = mapping
		d.addEntry(t, n, depth)
	case *ast.SequenceNode:
		t.shape = list
		for _, v := range n.Values {
			t.items = append(t.items, d.convert(v, depth+1))
		}
	case *ast.LiteralNode:
		t.shape, t.text = scalar, strings.TrimSpace(n.Value.Value)
	case *ast.StringNode:
		t.shape, t.text = scalar, n.Value
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode, *ast.InfinityNode, *ast.NanNode:
		t.shape, t.text = scalar, n.GetToken().Value
	case *ast.AnchorNode, *ast.AliasNode, *ast.MergeKeyNode:
		d.errorf(t.Pos, "YAML's anchors and aliases mean nothing in lab files; write the value out")
	case *ast.TagNode:
		d.errorf(t.Pos, "YAML's tags mean nothing in lab files; leave %s out", n.GetToken().Value)
	default:
		d.errorf(t.Pos, "YAML's %s means nothing in lab files; leave it out", strings.ToLower(n.Type().String()))
	}
	return t
}

func (d *diagnostics) addEntry(t *tree, v *ast.MappingValueNode, depth int) {
	e := entry{Pos: d.start(v.Key)}
	key := d.convert(v.Key, depth+1)
	if key.shape != scalar {
		d.errorf(e.Pos, "%v cannot be a key; write a word", key.shape)
		return
	}
	e.key = key.text
	e.value = d.convert(v.Value, depth+1)
	if e.value.shape == empty {
		e.value.Pos = e.Pos
	}
	for _, other := range t.entries {
		if other.key == e.key {
			d.errorf(e.Pos, "%q stands here a second time; it is on line %d already", e.key, other.Line)
			return
		}
	}
	t.entries = append(t.entries, e)
}

// fields are the keys that a mapping may have and what reads their values.
type fields map[string]func(*tree)

// mapping reads a mapping; where says in words what it describes. It reports
// whether it is one and has only known keys, and values for them.
func (d *diagnostics) mapping(t *tree, where string, known fields) bool {
	if t.shape != mapping {
		d.errorf(t.Pos, "%s is %v; write a mapping with some of %s", where, t.shape, strings.Join(sortedKeys(known), ", "))
		return false
	}
	ok := true
	for _, e := range t.entries {
		read := known[e.key]
		switch {
		case read == nil:
			d.errorf(e.Pos, "%s has no key %q; %s", where, e.key, suggest(e.key, sortedKeys(known)))
			ok = false
		case e.value.shape == empty:
			d.errorf(e.Pos, "%q has no value; give it one or leave it out", e.key)
			ok = false
		default:
			read(e.value)
		}
	}
	return ok
}

// word reads a scalar; what says what it should be.
func (d *diagnostics) word(t *tree, what string) (string, bool) {
	if t.shape != scalar || t.text == "" {
		d.errorf(t.Pos, "%v stands here; write %s", t.shapeWord(), what)
		return "", false
	}
	return t.text, true
}

func (t *tree) shapeWord() string {
	if t.shape == scalar {
		return "an empty text"
	}
	return t.shape.String()
}

// each reads a list's items. A single value is a list of one.
func (d *diagnostics) each(t *tree, what string, read func(*tree)) {
	switch t.shape {
	case list:
		for _, item := range t.items {
			read(item)
		}
	case scalar, mapping:
		read(t)
	default:
		d.errorf(t.Pos, "nothing stands here; write %s", what)
	}
}

func (d *diagnostics) boolean(t *tree) bool {
	s, ok := d.word(t, "true or false")
	if !ok {
		return false
	}
	switch s {
	case "true", "false":
		return s == "true"
	}
	d.errorf(t.Pos, "%q is neither true nor false; write one of them", s)
	return false
}

func (d *diagnostics) number(t *tree, what string, least, most int) int {
	s, ok := d.word(t, what)
	if !ok {
		return 0
	}
	var n int
	if _, err := fmt.Sscanf(s, "%d", &n); err != nil || fmt.Sprint(n) != s || n < least || n > most {
		d.errorf(t.Pos, "%q is not %s; write a number from %d to %d", s, what, least, most)
		return 0
	}
	return n
}
