package nft_test

import (
	"bufio"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/towpath/towpath/firewall/nft"
)

var all = flag.Bool("all", false, "compare everything with the real nft, not a sample")

// realNft is nft in a network namespace of its own: a shell that is told what
// to do line by line, since starting one a rule takes long.
type realNft struct {
	in  io.WriteCloser
	out *bufio.Scanner
	dir string
}

// startReal starts it; a test that cannot have it is skipped.
func startReal(t testing.TB) *realNft {
	t.Helper()
	for _, p := range []string{"nft", "unshare", "sh"} {
		if _, err := exec.LookPath(p); err != nil {
			t.Skipf("no %s on this machine: %v", p, err)
		}
	}
	args := []string{"-n"}
	if os.Getuid() != 0 {
		args = []string{"-U", "-r", "-n"}
	}
	if out, err := exec.Command("unshare", append(args, "nft", "list", "ruleset")...).CombinedOutput(); err != nil {
		t.Skipf("no nftables in a namespace here: %v: %s", err, out)
	}
	c := exec.Command("unshare", append(args, "sh")...)
	in, err := c.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	c.Stderr = c.Stdout
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		in.Close()
		c.Wait()
	})
	s := bufio.NewScanner(out)
	s.Buffer(nil, 64<<20)
	return &realNft{in, s, t.TempDir()}
}

// sh runs a command line and returns what it prints, and whether it succeeds.
func (r *realNft) sh(line string) (string, bool) {
	fmt.Fprintf(r.in, "{ %s; } 2>&1; echo \"== $?\"\n", line)
	var b strings.Builder
	for r.out.Scan() {
		if s, done := strings.CutPrefix(r.out.Text(), "== "); done {
			return b.String(), s == "0"
		}
		b.WriteString(r.out.Text())
		b.WriteByte('\n')
	}
	return b.String(), false
}

// list loads a text alone and lists what the kernel then has.
func (r *realNft) list(text, options string) (string, bool) {
	f := filepath.Join(r.dir, "rules.nft")
	if err := os.WriteFile(f, []byte(text), 0o644); err != nil {
		return err.Error(), false
	}
	return r.sh("nft flush ruleset; nft -f " + f + " && nft " + options + " list ruleset")
}

// sampled leaves some of the cases, others each time, and says which.
func sampled[T any](t *testing.T, cases []T, n int) []T {
	if *all || len(cases) <= n {
		return cases
	}
	step := (len(cases) + n - 1) / n
	start := os.Getpid() % step
	t.Logf("every %dth of %d cases, from number %d on; -all takes them all", step, len(cases), start)
	var some []T
	for i := start; i < len(cases); i += step {
		some = append(some, cases[i])
	}
	return some
}

// A ruleCase is a rule in a table of a family.
type ruleCase struct{ family, hook, rule string }

// text is a file that has the rule.
func (c ruleCase) text() string {
	spec := "type filter hook " + c.hook + " priority 0;"
	if c.family == "netdev" {
		spec = "type filter hook ingress device \"lo\" priority 0;"
	}
	var sets string
	if strings.Contains(c.rule, "@s4") {
		sets += "\tset s4 { type ipv4_addr; size 100; flags dynamic,timeout; }\n"
	}
	if strings.Contains(c.rule, "@s5") {
		sets += "\tset s5 { type inet_service; flags interval; }\n"
	}
	if strings.Contains(c.rule, "@vm") {
		sets += "\tmap vm { type inet_service : verdict; }\n"
	}
	return fmt.Sprintf("table %s t {\n%s\tchain other {\n\t}\n\tchain c {\n\t\t%s\n\t\t%s\n\t}\n}\n", c.family, sets, spec, c.rule)
}

func readRules(t testing.TB) (cases []ruleCase) {
	for _, family := range []string{"inet", "ip", "ip6", "netdev", "arp", "bridge"} {
		b, err := os.ReadFile("testdata/rules/" + family + ".txt")
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(b)) {
			if line = strings.TrimSpace(line); line != "" {
				cases = append(cases, ruleCase{family, "input", line})
			}
		}
	}
	return cases
}

// kernelRefuses are words in nft's complaint about rules that are well formed,
// but that this kernel cannot do.
var kernelRefuses = []string{"Could not process rule", "queue"}

func TestRulesListAsRealNft(t *testing.T) {
	r := startReal(t)
	cases := readRules(t)
	differ := 0
	for _, c := range sampled(t, cases, 50) {
		theirs, ok := r.list(c.text(), "")
		rs, err := nft.Read("rules.nft", c.text())
		if !ok && slices.ContainsFunc(kernelRefuses, func(s string) bool { return strings.Contains(theirs, s) }) {
			continue
		}
		switch {
		case differences[c.rule] != "":
		case ok != (err == nil):
			t.Errorf("%s: %s\nnft: %v %s\nours: %v", c.family, c.rule, ok, theirs, err)
			differ++
		case ok && rs.String() != theirs:
			t.Errorf("%s: %s\nnft:\n%sours:\n%s", c.family, c.rule, differing(theirs, rs.String()), differing(rs.String(), theirs))
			differ++
		}
	}
	t.Logf("%d differ", differ)
}

// differing is the lines of a that b does not have.
func differing(a, b string) string {
	has := map[string]bool{}
	for line := range strings.Lines(b) {
		has[line] = true
	}
	var s strings.Builder
	for line := range strings.Lines(a) {
		if !has[line] {
			s.WriteString(line)
		}
	}
	return s.String()
}

// Whole files, with all kinds of tables, chains, sets and objects, are listed
// alike, down to the handles.
func TestFilesListAsRealNft(t *testing.T) {
	r := startReal(t)
	files, err := filepath.Glob("testdata/*.nft")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		theirs, ok := r.list(string(b), "-a")
		rs, err := nft.Read(f, string(b))
		if !ok || err != nil {
			t.Errorf("%s: nft: %v %s ours: %v", f, ok, theirs, err)
			continue
		}
		var ours strings.Builder
		rs.Print(&ours, nft.Options{Handles: true})
		if ours.String() != theirs {
			t.Errorf("%s:\nnft:\n%sours:\n%s", f, differing(theirs, ours.String()), differing(ours.String(), theirs))
		}
	}
}
