package lab

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"
)

func TestWords(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{`ping -c 3 bob`, `ping|-c|3|bob`},
		{"  curl\thttp://a/?x=1&y=2 ", `curl|http://a/?x=1&y=2`},
		{`sh -c 'echo "a b" | cat'`, `sh|-c|echo "a b" | cat`},
		{`echo "a \"b\" \\ \n" c\ d`, `echo|a "b" \ \n|c d`},
		{`printf '' ""`, `printf||`},
		{`grep '|' x"y"z`, `grep|||xyz`},
	} {
		got, err := words(c.in)
		if err != nil || strings.Join(got, "|") != c.want {
			t.Errorf("%s is split into %q, %v; want %s", c.in, got, err, c.want)
		}
	}
	for _, in := range []string{``, ` `, `'a`, `"a`, `a\`, `a | b`, `a && b`, `a > b`, "a\x00", `''`} {
		if got, err := words(in); err == nil {
			t.Errorf("%q is split into %q", in, got)
		}
	}
}

func TestNearest(t *testing.T) {
	known := []string{"addresses", "forward", "kind", "routes", "run", "serve"}
	for word, want := range map[string]string{
		"adresses": "addresses", "route": "routes", "rnu": "run", "Kind": "kind", "sever": "serve",
		"colour": "", "x": "", "": "", "address": "addresses",
	} {
		if got := nearest(word, known); got != want {
			t.Errorf("nearest to %q is %q, want %q", word, got, want)
		}
	}
}

func TestTableListens(t *testing.T) {
	const table = `  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 00000000:0050 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1 1 0 100 0 0 10 0
   1: 0100007F:1F90 0100007F:9C40 01 00000000:00000000 00:00000000 00000000     0        0 2 1 0 100 0 0 10 0
`
	for port, want := range map[int]bool{80: true, 8080: false, 40000: false, 0: false} {
		if got := tableListens(table, port); got != want {
			t.Errorf("port %d listens: %v", port, got)
		}
	}
	if tableListens("", 80) || tableListens("sl local\n 0: x\n", 80) {
		t.Error("an empty table listens")
	}
}

func TestOutput(t *testing.T) {
	var b bytes.Buffer
	o := newOutput(&b, &Spec{Nodes: []*Node{{Name: "a"}, {Name: "long"}}})
	w := o.of("a")
	w.Write([]byte("one\ntw"))
	o.printf("long", "%d", 1)
	w.Write([]byte("o\r\n\nrest"))
	w.Close()
	w.Close()
	w.Write(bytes.Repeat([]byte("x"), lineMax+1))
	w.Close()
	want := "a    | one\nlong | 1\na    | two\na    | \na    | rest\na    | " +
		strings.Repeat("x", lineMax) + "\na    | x\n"
	if b.String() != want {
		t.Errorf("got %q", b.String())
	}
}

// TestNames: the addresses in a network that one is on come first.
func TestNames(t *testing.T) {
	s, err := Parse("x.yaml", []byte(`
nodes:
  a: {addresses: {eth0: 10.1.0.2/24}}
  r: {forward: true, addresses: {eth0: 10.2.0.1/24, eth1: 10.1.0.1/24}}
  b: {addresses: {eth0: 10.2.0.2/24}}
links:
  - {endpoints: ["b:eth0", "r:eth0"]}
  - {endpoints: ["a:eth0", "r:eth1"]}
`))
	if err != nil {
		t.Fatal(err)
	}
	for near, want := range map[string]string{"a": "10.1.0.1", "b": "10.2.0.1"} {
		if got := s.names(s.Node(near))["r"]; len(got) != 2 || got[0].String() != want {
			t.Errorf("%s knows r as %v", near, got)
		}
	}
}

// TestWarnings: what is allowed but probably not meant.
func TestWarnings(t *testing.T) {
	s, err := Parse("x.yaml", []byte(`
nodes:
  a: {addresses: {eth0: 10.1.0.2/24}, routes: [{to: default, via: 10.1.0.1}]}
  r: {addresses: {eth0: 10.1.0.1/24}}
links: [{endpoints: ["a:eth0", "r:eth0"]}]
`))
	if err != nil {
		t.Fatal(err)
	}
	const want = "x.yaml:3:67: r does not forward packets, so nothing goes beyond it; write forward: true in node r"
	if len(s.Warnings) != 1 || s.Warnings[0].Error() != want {
		t.Errorf("warnings are %v", s.Warnings)
	}
}

// TestExamples: the examples have no mistakes.
func TestExamples(t *testing.T) {
	// Which programs are installed does not matter here.
	bin := t.TempDir()
	for _, name := range []string{"curl", "ping", "python3", "sh"} {
		if err := os.WriteFile(filepath.Join(bin, name), []byte("#!/bin/sh\n"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", bin)
	files, _ := filepath.Glob("../examples/*.yaml")
	if len(files) < 2 {
		t.Fatalf("only %q", files)
	}
	for _, f := range files {
		s, err := Load(f)
		if err != nil {
			t.Error(err)
			continue
		}
		if len(s.Warnings) > 0 {
			t.Errorf("warnings: %v", s.Warnings)
		}
	}
}

// TestReadme: the lab of the README is the first example.
func TestReadme(t *testing.T) {
	readme, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, text, _ := strings.Cut(string(readme), "```yaml\n")
	text, _, ok := strings.Cut(text, "```")
	example, err := os.ReadFile("../examples/first.yaml")
	if err != nil || !ok || !strings.HasSuffix(string(example), "\n"+text) {
		t.Errorf("examples/first.yaml does not end with the README's\n%s%v", text, err)
	}
}

// FuzzParse: every text is either a lab or has mistakes with places in it, and
// nothing panics.
func FuzzParse(f *testing.F) {
	a, err := txtar.ParseFile("testdata/mistakes.txtar")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range a.Files {
		if strings.HasSuffix(file.Name, ".yaml") {
			f.Add(file.Data)
		}
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		s, err := Parse("fuzz.yaml", text)
		if err == nil {
			for _, l := range s.Links {
				if l.Ends[0].Link != l || l.Ends[1].Link != l || l.String() == "" {
					t.Errorf("link %v is not that of its ends", l)
				}
			}
			s.Describe(&bytes.Buffer{})
			return
		}
		mistakes, ok := err.(Errors)
		if !ok || len(mistakes) == 0 {
			t.Fatalf("error is a %T: %v", err, err)
		}
		lines := len(newDiagnostics("", text).lines)
		for _, e := range mistakes {
			if e.Line < 0 || e.Line > lines || e.Message == "" || strings.ContainsRune(e.Message, '\n') {
				t.Errorf("mistake %+v", e)
			}
		}
		if !slices.IsSortedFunc(mistakes, func(a, b *Error) int { return a.Line - b.Line }) {
			t.Error("mistakes are not in order")
		}
	})
}
