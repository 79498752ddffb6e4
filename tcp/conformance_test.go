package tcp

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestConformance sees to it that docs/conformance.md names nothing that does
// not exist, and that each of its rows names something.
func TestConformance(t *testing.T) {
	page, err := os.ReadFile("../docs/conformance.md")
	if err != nil {
		t.Fatal(err)
	}
	exists := map[string]bool{}
	collect := func(glob string, pattern *regexp.Regexp, prefix func(file string) string) {
		files, err := filepath.Glob(glob)
		if err != nil || len(files) == 0 {
			t.Fatal("no files", glob, err)
		}
		for _, file := range files {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			for _, m := range pattern.FindAllStringSubmatch(string(text), -1) {
				exists[prefix(file)+m[1]] = true
			}
		}
	}
	script := regexp.MustCompile(`(?m)^-- ([^:]+):`)
	collect("testdata/*.txt", script, func(file string) string {
		return strings.TrimSuffix(filepath.Base(file), ".txt") + "/"
	})
	test := regexp.MustCompile(`(?m)^func (Test\w+)\(`)
	literal := regexp.MustCompile(`"((?:[^"\\\n]|\\.)+)"`)
	for _, dir := range []string{"tcp", "tcp/cc", "host", "posix", "wire", "ip/frag", "ip/group", "ip/ifaddr", "ip/neigh", "ip/route"} {
		pkg := filepath.Base(dir)
		collect("../"+dir+"/*_test.go", test, func(string) string { return pkg + "." })
		collect("../"+dir+"/*_test.go", literal, func(string) string { return "case of " + pkg + " " })
	}
	name := regexp.MustCompile("`([^`]+)`")
	for line := range strings.Lines(string(page)) {
		if !strings.HasPrefix(line, "|") || strings.HasPrefix(line, "|---") || strings.Contains(line, "shown by |") {
			continue
		}
		names := name.FindAllStringSubmatch(line, -1)
		if len(names) == 0 {
			t.Errorf("nothing shows it: %s", line)
		}
		for _, m := range names {
			if exists[m[1]] {
				continue
			}
			// A test with the name of a case of its table.
			test, c, _ := strings.Cut(m[1], "/")
			pkg, _, _ := strings.Cut(test, ".")
			if !exists[test] || !exists["case of "+pkg+" "+c] {
				t.Errorf("there is no %s", m[1])
			}
		}
	}
}
