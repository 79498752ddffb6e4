package main

import (
	"bytes"
	"io"
	"net"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/towpath/towpath/internal/testenv"
	"github.com/towpath/towpath/lab"
	"github.com/towpath/towpath/run"
)

func TestMain(m *testing.M) {
	lab.Init()
	testscript.Main(m, map[string]func(){"towpath": main})
}

// TestScripts runs the scripts in testdata.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{Dir: "testdata", Setup: func(e *testscript.Env) error {
		e.Setenv("XDG_RUNTIME_DIR", "")
		e.Defer(func() { takeDown(e.WorkDir) })
		return nil
	}})
}

// takeDown ends labs in the background that a script which has failed has left.
func takeDown(work string) {
	sockets, _ := filepath.Glob(filepath.Join(work, "t", "towpath-*", "*.sock"))
	for _, file := range sockets {
		if c, err := net.Dial("unix", file); err == nil {
			io.WriteString(c, "POST /v1/down HTTP/1.1\r\nHost: lab\r\nContent-Length: 0\r\n\r\n")
			c.Close()
		}
	}
}

// TestExamples tries the expectations of the examples in which all nodes are
// hosts.
func TestExamples(t *testing.T) {
	files, err := filepath.Glob("../../examples/*.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		spec, err := lab.Load(file)
		if err != nil || len(spec.Expect) == 0 || slices.ContainsFunc(spec.Nodes, func(n *lab.Node) bool { return n.Kind == lab.Machine }) {
			continue // other tests say what is wrong with it, or need what it needs
		}
		t.Run(spec.Name, func(t *testing.T) {
			t.Parallel()
			var out, errs bytes.Buffer
			if code := execute(t.Context(), []string{"lab", "test", file}, &out, &errs); code != 0 {
				t.Errorf("exit status %d\n%s%s", code, out.String(), errs.String())
			}
		})
	}
}

// TestMachineScripts runs those that need machines and real programs.
func TestMachineScripts(t *testing.T) {
	testenv.NeedsUserNS(t)
	testenv.NeedsTool(t, "ping", "curl", "tcpdump", "python3")
	testscript.Run(t, testscript.Params{Dir: "testdata/machine"})
}

// TestStaticBinary: the program is to run anywhere.
func TestStaticBinary(t *testing.T) {
	testenv.NeedsTool(t, "go")
	file := t.TempDir() + "/towpath"
	c := exec.Command("go", "build", "-o", file, ".")
	c.Env = append(c.Environ(), "CGO_ENABLED=0")
	if out, err := c.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if out, err := exec.Command(file, "version").Output(); err != nil || len(out) == 0 {
		t.Errorf("%q, %v", out, err)
	}
}

// TestRunScripts runs those that run programs on hosts.
func TestRunScripts(t *testing.T) {
	if err := run.Probe(); err != nil {
		t.Skipf("programs cannot be run on hosts: %v", err)
	}
	testenv.NeedsTool(t, "curl")
	testscript.Run(t, testscript.Params{Dir: "testdata/run"})
}
