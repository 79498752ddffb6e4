//go:build linux

package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/towpath/towpath/lab/machine"
)

// expect brings the lab up and tries its expectations.
func (tr *trial) expect() ([]Outcome, error) {
	tr.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	net, err := Up(ctx, tr.spec, Options{Output: &tr.out})
	if err != nil {
		tr.Fatal(err)
	}
	all, err := net.Expect(ctx)
	if e := net.Close(ctx); e != nil {
		tr.Errorf("Close: %v", e)
	}
	return all, err
}

// outcomes are expectations, as the list of a file, and behind # how each
// ends: ok or FAILED, and words of its detail.
const outcomes = `
  - {from: a, ping: b} # ok answered after
  - {from: a, ping: "fd00::2", count: 5, loss: "0%"} # ok 5 of 5 answered, 0% lost
  - {from: a, ping: b, count: 5, loss: ">0%"} # FAILED 5 of 5 answered, 0% lost
  - {from: a, ping: 10.0.0.9, within: 300ms} # FAILED no answer within 300ms
  - {from: a, ping: 10.0.0.9, within: 300ms, fails: true} # ok no answer within 300ms
  - {from: a, ping: 10.9.0.9, count: 2} # FAILED unreachable
  - {from: a, ping: b, fails: true} # FAILED answered after
  - {from: a, ping: 10.0.0.9, within: 1s, count: 2, loss: "100%"} # ok 0 of 2 answered, 100% lost
  - {from: a, get: "http://b/hello.txt"} # ok 200 OK, 13 bytes
  - {from: a, get: "http://b/hello.txt", status: 200, contains: "hello, w"} # ok 200 OK
  - {from: a, get: "http://b/hello.txt", contains: goodbye} # FAILED does not contain "goodbye"
  - {from: a, get: "http://b/nothing"} # FAILED the server answered 404
  - {from: a, get: "http://b/nothing", status: 404} # ok 404 Not Found
  - {from: a, get: "http://b/nothing", status: 200} # FAILED the server answered 404
  - {from: a, get: "http://b:81/"} # FAILED connection refused
  - {from: a, get: "http://b:81/", fails: true} # ok connection refused
  - {from: a, get: "http://10.0.0.9/", within: 300ms} # FAILED no answer within 300ms
  - {from: a, tcp: "b:80"} # ok connected in
  - {from: a, tcp: "[fd00::2]:80"} # ok connected in
  - {from: a, tcp: "b:81", refused: true} # ok refused
  - {from: a, tcp: "b:80", refused: true} # FAILED it was not refused but taken
  - {from: a, tcp: "b:81"} # FAILED connection refused
  - {from: a, tcp: "b:7", send: hello, receive: ell} # ok received "hello"
  - {from: a, tcp: "b:7", send: hello, receive: bye, within: 300ms} # FAILED received "hello", which does not contain "bye"
  - {from: a, udp: "b:7", send: hello, receive: hello} # ok received "hello"
  - {from: a, udp: "b:7", send: hello} # ok received "hello"
  - {from: a, udp: "b:7", send: hello, receive: bye, within: 300ms} # FAILED received "hello", which does not contain "bye"
  - {from: a, udp: "b:9", send: hello} # FAILED connection refused
  - {from: a, udp: "b:9", send: hello, refused: true} # ok refused
  - {from: a, udp: "b:7", send: hello, refused: true} # FAILED it was not refused but answered
  - {from: a, udp: "10.0.0.77:7", send: hello, within: 300ms} # FAILED no answer within 300ms
`

func TestExpectHost(t *testing.T) { testExpect(t, "host") }

func TestExpectMachine(t *testing.T) {
	needPrograms(t)
	t.Setenv("GORACE", "atexit_sleep_ms=0") // each attempt is a process
	testExpect(t, "machine")
}

// TestExpectWithoutInit: a program that cannot be run again is not.
func TestExpectWithoutInit(t *testing.T) {
	needPrograms(t)
	tr := try(t, pair("kind: machine", "")+"expect: [{from: a, ping: b, fails: true}]\n")
	initCalled.Store(false)
	defer initCalled.Store(true)
	if all, err := tr.expect(); err == nil || len(all) != 1 || all[0].Detail != "main, or TestMain, must call lab.Init first" {
		t.Errorf("%v, %v", all, err)
	}
}

func testExpect(t *testing.T, kind string) {
	tr := try(t, `
nodes:
  a: {kind: `+kind+`, addresses: {eth0: [10.0.0.1/24, "fd00::1/64"]}}
  b: {addresses: {eth0: [10.0.0.2/24, "fd00::2/64"]}, serve: [http site, echo]}
links:
  - {endpoints: ["a:eth0", "b:eth0"]}
expect:`+outcomes)
	all, err := tr.expect()
	lines := strings.Split(strings.TrimSpace(outcomes), "\n")
	if len(all) != len(lines) {
		t.Fatalf("%d outcomes of %d expectations", len(all), len(lines))
	}
	failed := 0
	for i, o := range all {
		_, want, _ := strings.Cut(lines[i], " # ")
		word, detail, _ := strings.Cut(want, " ")
		if !o.OK {
			failed++
		}
		if o.OK != (word == "ok") || !strings.Contains(o.Detail, detail) {
			t.Errorf("%v: got %v, %s; want %s", o.Expectation, o.OK, o.Detail, want)
		}
	}
	if err == nil || err.Error() != fmt.Sprintf("%d of %d expectations not met", failed, len(all)) {
		t.Errorf("error is %v", err)
	}
}

// TestExpectStops: an end from outside leaves the rest out.
func TestExpectStops(t *testing.T) {
	tr := try(t, pair("", "")+"expect: [{from: a, ping: 10.0.0.9, within: 1m}, {from: a, ping: b}]\n")
	net, err := Up(t.Context(), tr.spec, Options{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if all, err := net.Expect(ctx); len(all) != 0 || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v, %v", all, err)
	}
	if err := net.Close(t.Context()); err != nil {
		t.Error(err)
	}
}

// TestReady waits for what a program prints, which comes in pieces.
func TestReady(t *testing.T) {
	needPrograms(t, "sh", "sleep")
	tr := try(t, pair(`kind: machine, serve: [{run: "sh -c 'printf now-lis; sleep 0.1; echo tening; exec sleep 60'", ready: listening}], run: ["sh -c 'echo run'"]`, ``))
	if _, err := tr.up(""); err != nil {
		t.Error(err)
	}
	ready, run := strings.Index(tr.out.String(), "now-listening"), strings.Index(tr.out.String(), "| run")
	if ready < 0 || run < ready {
		t.Error("it was not waited for")
	}
}

// TestLogs: each program's output is in a file, services first.
func TestLogs(t *testing.T) {
	needPrograms(t, "sh", "sleep")
	tr := try(t, pair(`kind: machine, serve: [{run: "sh -c 'echo ready to go; exec sleep 60'", ready: to go}], run: ["sh -c 'echo out; echo err >&2; printf end'", "sh -c 'exit 0'"]`,
		`serve: [http site], run: [ping -c 1 a]`))
	dir := filepath.Join(tr.dir, "out")
	if _, err := tr.up(dir); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"a-1.log": "$ sh -c 'echo ready to go; exec sleep 60'\nready to go\n",
		"a-2.log": "$ sh -c 'echo out; echo err >&2; printf end'\nout\nerr\nend",
		"a-3.log": "$ sh -c 'exit 0'\n",
		"b-1.log": "$ http site\n",
		"b-2.log": "$ ping -c 1 a\nPING a (10.0.0.1) 56 bytes of data.\n64 bytes from",
	} {
		b, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil || !strings.HasPrefix(string(b), want) {
			t.Errorf("%s is %q, %v; want %q", name, b, err, want)
		}
	}
}

// TestNotReady: the error names the program and has what it printed last.
func TestNotReady(t *testing.T) {
	needPrograms(t, "sh", "sleep")
	defer func(d time.Duration) { readyMax = d }(readyMax)
	readyMax = 300 * time.Millisecond
	for more, want := range map[string]string{
		"port: 80":           `service "sh -c 'echo one; echo two; exec sleep 60'" on a: nothing listens on port 80 after 300ms; its last lines:` + "\n    one\n    two",
		"ready: at last":     `on a: it has not printed "at last" after 300ms; its last lines:` + "\n    one\n    two",
		"ready: o, port: 80": `nothing listens on port 80 after 300ms; its last lines:` + "\n    one\n    two",
	} {
		tr := try(t, pair(`kind: machine, serve: [{run: "sh -c 'echo one; echo two; exec sleep 60'", `+more+`}]`, ``))
		if _, err := tr.up(""); err == nil || !strings.HasSuffix(err.Error(), want) {
			t.Errorf("%s: error is %v", more, err)
		}
	}
}

// TestNoMachines: a system that allows no machines is told of before anything
// starts.
func TestNoMachines(t *testing.T) {
	good := []machine.Check{{Name: "user namespaces", OK: true}, {Name: "tap devices", OK: true}, {Name: "veth", OK: true}, {Name: "mounts", OK: true}}
	with := func(bad ...int) (c []machine.Check) {
		c = append(c, good...)
		for _, i := range bad {
			c[i].OK, c[i].Detail = false, "not here"
		}
		return c
	}
	for _, c := range []struct {
		checks []machine.Check
		want   string
	}{
		{with(), ""}, {with(1), ""}, {with(2), ""},
		{with(1, 2), "tap devices: not here; veth: not here"},
		{with(3), "mounts: not here"},
		{[]machine.Check{{Name: "user namespaces", Detail: "switched off"}}, "user namespaces: switched off"},
	} {
		if why, ok := MachinesAllowed(c.checks); ok != (c.want == "") || why != c.want {
			t.Errorf("%v: %q, %v", c.checks, why, ok)
		}
	}
	tr := try(t, pair(`serve: [echo]`, `kind: machine`))
	defer func(p func() []machine.Check) { probe = p }(probe)
	probe = func() []machine.Check { return with(1, 2) }
	const want = "lab.yaml:4:3: node b is a machine, and this system allows none: tap devices: not here; veth: not here; towpath doctor says what to do, or leave kind: machine out"
	if _, err := tr.up(filepath.Join(tr.dir, "out")); err == nil || !strings.HasSuffix(err.Error(), want) {
		t.Errorf("error is %v", err)
	}
	if _, err := os.Stat(filepath.Join(tr.dir, "out")); err == nil {
		t.Error("something was started")
	}
}

// TestProgress: every step is told once.
func TestProgress(t *testing.T) {
	tr := try(t, pair(`serve: [echo]`, `serve: [echo]`))
	var steps []string
	net, err := Up(t.Context(), tr.spec, Options{Progress: func(step, of int, what string) {
		if step != len(steps)+1 || of != 3 {
			t.Errorf("step %d of %d", step, of)
		}
		steps = append(steps, what)
	}})
	if err != nil {
		t.Fatal(err)
	}
	net.Close(t.Context())
	if got := strings.Join(steps, ", "); got != "link a:eth0 -- b:eth0, service echo on a, service echo on b" {
		t.Errorf("steps are %s", got)
	}
}

// TestPcap writes files for old tools.
func TestPcap(t *testing.T) {
	tr := try(t, pair(`run: [ping -c 1 b]`, ``))
	net, err := Up(t.Context(), tr.spec, Options{CaptureDir: tr.dir, Pcap: true})
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(net.Run(t.Context()), net.Close(t.Context())); err != nil {
		t.Error(err)
	}
	checkCapture(t, filepath.Join(tr.dir, "a-eth0--b-eth0.pcap"), 1500)
}
