package lab

import (
	"encoding/json"
	"encoding/xml"
	"io"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// TestSchema: the schema's keys are those that the reader knows.
func TestSchema(t *testing.T) {
	// What a list of keys is asked with, and whose they are. The reader lists
	// them when something else stands in their place.
	const pair = "nodes: {a: {addresses: {eth0: []}}, b: {addresses: {eth0: []}}}\n"
	for _, c := range []struct {
		file string
		of   reflect.Type
		more string // keys that are read elsewhere
		less string
	}{
		{"- 1", reflect.TypeFor[fileLab](), "", ""},
		{"nodes: {a: 1}", reflect.TypeFor[fileNode](), "count", ""},
		{"nodes: {a: {addresses: {eth0: 10.0.0.1/24}, routes: [1]}}", reflect.TypeFor[fileRoute](), "", ""},
		{pair + "links: [1]", reflect.TypeFor[fileLink](), "count switch", ""},
		{pair + "events: [1]", reflect.TypeFor[fileEvent](), "", ""},
		{pair + "expect: [1]", reflect.TypeFor[fileExpect](), "", ""},
	} {
		_, err := Parse("x.yaml", []byte(c.file))
		if err == nil {
			t.Fatalf("%q is right", c.file)
		}
		_, list, ok := strings.Cut(firstLine(err.Error()), "with some of ")
		keys := append(strings.Split(list, ", "), strings.Fields(c.more)...)
		slices.Sort(keys)
		var have []string
		for i := range c.of.NumField() {
			name, _, _ := strings.Cut(c.of.Field(i).Tag.Get("json"), ",")
			have = append(have, name)
		}
		slices.Sort(have)
		if !ok || !slices.Equal(keys, have) {
			t.Errorf("%v has the keys %q, and the reader %q", c.of, have, keys)
		}
	}
	var s map[string]any
	if err := json.Unmarshal(Schema(), &s); err != nil || s["properties"] == nil {
		t.Errorf("schema: %v", err)
	}
}

// TestGraph draws the examples.
func TestGraph(t *testing.T) {
	text, err := os.ReadFile("../examples/campus.yaml")
	if err != nil {
		t.Fatal(err)
	}
	s, err := Parse("../examples/campus.yaml", text)
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	s.Graph(&b)
	for _, want := range []string{
		"campus\n\nann (host)\n└─ eth0 10.10.0.11/24 ── library:p1, VLAN 10\n",
		"\nrouter (host, router)\n├─ eth0 10.10.0.1/24 ── library:p4, VLAN 10\n└─ eth1 ",
		"└─ p6 ── science:p1, trunk 10 20, delay 1ms\n",
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("there is no %q in\n%s", want, b.String())
		}
	}
	b.Reset()
	if err := s.SVG(&b); err != nil {
		t.Fatal(err)
	}
	boxes := 0
	d := xml.NewDecoder(strings.NewReader(b.String()))
	for {
		tok, err := d.Token()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if e, ok := tok.(xml.StartElement); ok && e.Name.Local == "rect" {
			boxes++
		}
	}
	if want := 1 + len(s.Nodes) + len(s.Switches); boxes != want {
		t.Errorf("there are %d boxes, want %d", boxes, want)
	}
}
