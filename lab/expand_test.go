package lab

import (
	"context"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"
)

func TestScope(t *testing.T) {
	s := scope{"net": "10.1", "k": "3"}.with(7)
	for in, want := range map[string]string{
		"$net.0.$n/24": "10.1.0.7/24", "$(n*k+1)": "22", "$( n / 2 )$(n%4)": "33", "$n$n": "77",
		"$(10-n-1)": "2", "$other $": "$other $", "$(date)": "$(date)", "$(n/0)": "$(n/0)", "$(n": "$(n",
		"$(net+1)": "$(net+1)", "$()": "$()", "$(1 2)": "$(1 2)", "no": "no",
	} {
		if got := s.in(in); got != want {
			t.Errorf("%s is %s, want %s", in, got, want)
		}
	}
}

// TestCount: one entry of the file makes many nodes and links.
func TestCount(t *testing.T) {
	s, err := Parse("x.yaml", []byte(`
vars: {net: 10.7, many: 3}
nodes:
  hub: {addresses: {eth0: $net.0.1/16, eth1: [], eth2: []}}
  leaf: {count: $many, addresses: {eth0: "$net.$(n/2+1).$(n%2+1)/16"}, run: ["ping -c $n hub", "sh -c 'echo $HOME'"]}
  west$n-end: {count: 2, addresses: {eth0: []}}
links:
  - {switch: lan, endpoints: ["hub:eth0", {end: "leaf*:eth0", impair: delay 1ms}]}
  - {count: 2, endpoints: ["hub:eth$n", "west$n-end:eth0"]}
`))
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	s.Describe(&b)
	for _, want := range []string{
		"6 nodes, 6 links", "leaf1      host    eth0 10.7.1.2/16", "leaf3      host    eth0 10.7.2.2/16",
		"leaf2:eth0 -- lan:p3, delay 1ms", "hub:eth2 -- west2-end:eth0",
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("there is no %q in\n%s", want, b.String())
		}
	}
	if run := s.Node("leaf3").Run; run[0].Text != "ping -c 3 hub" || run[1].Text != "sh -c 'echo $HOME'" {
		t.Errorf("leaf3 runs %q and %q", run[0].Text, run[1].Text)
	}
}

// thousand is a tree: a core router, ten switches, and a hundred hosts at each.
func thousand() string {
	var b strings.Builder
	b.WriteString("nodes:\n  core:\n    forward: true\n    addresses: {")
	for i := range 10 {
		fmt.Fprintf(&b, "eth%d: 10.%d.0.1/16, ", i, i)
	}
	b.WriteString("}\n")
	for i := range 10 {
		fmt.Fprintf(&b, "  s%d-$n: {count: 100, addresses: {eth0: 10.%d.1.$n/16}, routes: [{to: default, via: 10.%d.0.1}]}\n", i, i, i)
	}
	b.WriteString("links:\n")
	for i := range 10 {
		fmt.Fprintf(&b, "  - {switch: sw%d, endpoints: [\"core:eth%d\", \"s%d-*:eth0\"]}\n", i, i, i)
	}
	return b.String()
}

// TestThousand brings up a lab of 1,000 hosts, and some of them ping each other.
func TestThousand(t *testing.T) {
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	begin := time.Now()
	spec, err := Parse("x.yaml", []byte(thousand()))
	if err != nil {
		t.Fatal(err)
	}
	read := time.Since(begin)
	n, err := Up(t.Context(), spec, Options{})
	if err != nil {
		t.Fatal(err)
	}
	took := time.Since(begin)
	runtime.GC()
	runtime.ReadMemStats(&after)
	t.Logf("%d nodes: read in %v, up in %v, %d KiB a host", len(spec.Nodes), read, took, (after.HeapAlloc-before.HeapAlloc)/uint64(len(spec.Nodes))>>10)
	for i := range 20 {
		from, to := fmt.Sprintf("s%d-%d", i%10, i*5+1), fmt.Sprintf("s%d-%d", (i*7+3)%10, 100-i)
		var out buffer
		if err := n.Exec(t.Context(), Exec{Node: from, Args: []string{"ping", "-c", "1", to}, Stdout: &out, Stderr: &out}); err != nil {
			t.Errorf("from %s to %s: %v\n%s", from, to, err, out.String())
		}
	}
	if err := n.Close(context.Background()); err != nil {
		t.Error(err)
	}
}
