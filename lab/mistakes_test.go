package lab

import (
	"flag"
	"os"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"
)

var update = flag.Bool("update", false, "write testdata anew")

// TestMistakes goes through the lab files of mistakes.txtar.
func TestMistakes(t *testing.T) {
	const file = "testdata/mistakes.txtar"
	// Programs are to be missing or there on every system alike.
	bin := t.TempDir()
	for _, name := range []string{"sh", "cat"} {
		if err := os.WriteFile(bin+"/"+name, []byte("#!/bin/sh\n"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", bin)
	a, err := txtar.ParseFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i+1 < len(a.Files); i += 2 {
		in, want := a.Files[i], &a.Files[i+1]
		name := strings.TrimSuffix(in.Name, ".yaml")
		if want.Name != name+".txt" {
			t.Fatalf("%s: %s is not followed by %s.txt", file, in.Name, name)
		}
		t.Run(name, func(t *testing.T) {
			spec, err := Parse(name+".yaml", in.Data)
			if err == nil {
				t.Fatalf("no mistake found; read %+v", spec)
			}
			got := err.Error() + "\n"
			if *update {
				want.Data = []byte(got)
				return
			}
			if got != string(want.Data) {
				t.Errorf("got:\n%s\nwant:\n%s", got, want.Data)
			}
		})
	}
	if *update {
		if err := os.WriteFile(file, txtar.Format(a), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}
