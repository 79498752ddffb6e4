package control

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/towpath/towpath/lab"
)

func TestMain(m *testing.M) {
	lab.Init()
	os.Exit(m.Run())
}

const file = `
name: test
nodes:
  a: {addresses: {eth0: 10.0.0.1/24}}
  b: {addresses: {eth0: 10.0.0.2/24}, serve: [echo]}
links:
  - {switch: lan, endpoints: ["a:eth0", "b:eth0"]}
`

// serve brings a lab up, with a socket in a directory of the test's own.
func serve(t testing.TB) (*Server, *Client) {
	t.Helper()
	// The path of a socket has at most 107 letters, and that of t.TempDir many.
	dir, err := os.MkdirTemp("", "ctl")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	t.Setenv("XDG_RUNTIME_DIR", dir)
	spec, err := lab.Parse("test.yaml", []byte(file))
	if err != nil {
		t.Fatal(err)
	}
	n, err := lab.Up(context.Background(), spec, lab.Options{})
	if err != nil {
		t.Fatal(err)
	}
	s, err := Listen(n, Options{Down: func() {}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.Close(context.Background()); err != nil {
			t.Error(err)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		if left, _ := filepath.Glob(dir + "/towpath/*"); len(left) > 0 {
			t.Errorf("left: %q", left)
		}
		goleak.VerifyNone(t)
	})
	c, err := Dial("")
	if err != nil {
		t.Fatal(err)
	}
	return s, c
}

// TestObjects: every path has JSON and text.
func TestObjects(t *testing.T) {
	_, c := serve(t)
	if _, err := c.Exec(t.Context(), "a", "", []string{"ping", "-c", "1", "b"}, nil, io.Discard, io.Discard); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		"/v1":                        "lab test of test.yaml",
		"/v1/lab":                    "lab test: 2 nodes, 2 links",
		"/v1/nodes":                  "b  host  eth0 10.0.0.2/24",
		"/v1/nodes/b":                "b  host  eth0 10.0.0.2/24",
		"/v1/links":                  "b:eth0 -- lan:p2",
		"/v1/links/b:eth0":           "b:eth0 -- lan:p2  up  MTU 1500",
		"/v1/links/lan:p2":           "b:eth0 -- lan:p2  up  MTU 1500",
		"/v1/switches":               "lan  forwarded",
		"/v1/switches/lan":           "lan  forwarded",
		"/v1/switches/lan/stations":  "02:00:00:01:00:00  p1 (a:eth0)",
		"/v1/events":                 "up test",
		"/v1/events?kind=up&after=0": "up test",
	} {
		var text bytes.Buffer
		if err := c.Stream(t.Context(), path, true, &text); err != nil || !strings.Contains(text.String(), want) {
			t.Errorf("%s is %q, %v", path, text.String(), err)
		}
		var object any
		if err := c.Get(t.Context(), path, &object); err != nil {
			t.Errorf("%s is no JSON: %v", path, err)
		}
	}
}

// TestRefused: wrong requests are told what is wrong.
func TestRefused(t *testing.T) {
	_, c := serve(t)
	for _, x := range []struct {
		method, path, body string
		status             int
		want               string
	}{
		{"GET", "/v2", "", 404, "there is nothing at /v2"},
		{"POST", "/v1/lab", "", 404, "there is nothing at /v1/lab for POST"},
		{"GET", "/v1/nodes/c", "", 404, `there is no node "c"`},
		{"GET", "/v1/links/a:eth9", "", 404, `there is no interface "a:eth9"; did you mean "a:eth0"?`},
		{"GET", "/v1/links/x/capture", "", 404, "there is no interface"},
		{"GET", "/v1/switches/x/stations", "", 404, `there is no switch "x"`},
		{"GET", "/v1/events?after=x", "", 400, "after=x is not a number"},
		{"POST", "/v1/actions", "", 400, "the body is not"},
		{"POST", "/v1/actions", `{"do": "x", "when": 1}`, 400, "unknown field"},
		{"POST", "/v1/actions", `{"do": "explode"}`, 400, "there is no action"},
		{"POST", "/v1/actions", `{"do": "stop a echo"}`, 500, `nothing called "echo" runs on a`},
		{"POST", "/v1/actions", `{"do": "` + strings.Repeat("x", bodyMax) + `"}`, 400, "too large"},
		{"POST", "/v1/exec", "", 426, "a program needs the connection"},
	} {
		r, err := http.NewRequest(x.method, "http://lab"+x.path, strings.NewReader(x.body))
		if err != nil {
			t.Fatal(err)
		}
		a, err := c.http.Do(r)
		if err != nil {
			t.Errorf("%s %s: %v", x.method, x.path, err)
			continue
		}
		var f failure
		err = json.NewDecoder(a.Body).Decode(&f)
		a.Body.Close()
		if a.StatusCode != x.status || err != nil || !strings.Contains(f.Error, x.want) {
			t.Errorf("%s %s: %d, %q, %v", x.method, x.path, a.StatusCode, f.Error, err)
		}
	}
}

// TestExec runs tools by the socket, and goes away in between.
func TestExec(t *testing.T) {
	_, c := serve(t)
	var out, errs bytes.Buffer
	status, err := c.Exec(t.Context(), "a", "", []string{"ping", "-c", "1", "b"}, strings.NewReader("unread"), &out, &errs)
	if status != 0 || err != nil || !strings.Contains(out.String(), "64 bytes from 10.0.0.2") || errs.Len() > 0 {
		t.Errorf("status %d, %v, %q %q", status, err, out.String(), errs.String())
	}
	if _, err := c.Exec(t.Context(), "c", "", []string{"ping"}, nil, &out, &errs); err == nil || !strings.Contains(err.Error(), `no node "c"`) {
		t.Errorf("on no node: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	r, w := io.Pipe()
	defer r.Close()
	go func() { r.Read(make([]byte, 1)); cancel(); io.Copy(io.Discard, r) }()
	if _, err := c.Exec(ctx, "a", "", []string{"ping", "-c", "0", "b"}, nil, w, &errs); err != context.Canceled {
		t.Errorf("a ping without end ended with %v", err)
	}
}

// TestDir: the directory is the user's alone, and what is dead is removed.
func TestDir(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("XDG_RUNTIME_DIR", dir)
	if all, err := Labs(); len(all) > 0 || err != nil {
		t.Errorf("labs are %q, %v", all, err)
	}
	own := filepath.Join(dir, "towpath")
	if err := os.Mkdir(own, 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := Labs(); err == nil || !strings.Contains(err.Error(), "is open to others") {
		t.Errorf("with a directory open to others: %v", err)
	}
	os.Chmod(own, 0o700)
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join(own, "old.sock")})
	if err != nil {
		t.Skipf("this directory's name is too long for sockets: %v", err)
	}
	l.SetUnlinkOnClose(false)
	l.Close()
	if all, err := Labs(); len(all) > 0 || err != nil {
		t.Errorf("labs are %q, %v", all, err)
	}
	if left, _ := os.ReadDir(own); len(left) > 0 {
		t.Errorf("%v is left", left)
	}
	if _, err := Dial(""); err == nil || !strings.Contains(err.Error(), "no lab is up") {
		t.Errorf("dialing nobody: %v", err)
	}
	os.Remove(own)
	if err := os.WriteFile(own, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Labs(); err == nil || !strings.Contains(err.Error(), "is not a directory") {
		t.Errorf("with a file: %v", err)
	}
}

func TestFileName(t *testing.T) {
	for in, want := range map[string]string{"": "lab", "a b/c": "a-b-c", "../x": "---x", strings.Repeat("y", 99): strings.Repeat("y", 40), "né": "n-"} {
		if got := fileName(in); got != want {
			t.Errorf("%q is %q, want %q", in, got, want)
		}
	}
}

// FuzzFrames sends anything to a server on a connection that was taken over.
func FuzzFrames(f *testing.F) {
	s, _ := serve(f)
	f.Add([]byte(`{"node":"a","args":["ping","-c","1","-W","0.01","b"]}` + "\n" + `{"stdin":"eA=="}{"end":true}`))
	f.Add([]byte(`{"node":"a","args":[]}`))
	f.Add([]byte(`{"node":7}`))
	f.Add([]byte(`{"node":"a","args":["ping","-c","0","b"]}{"stop":true}`))
	f.Fuzz(func(t *testing.T, in []byte) {
		var first Frame
		if json.NewDecoder(bytes.NewReader(in)).Decode(&first) == nil && len(first.Args) > 0 && first.Args[0] != "ping" {
			return // programs of this computer are not to be run
		}
		there, here := net.Pipe()
		done := make(chan struct{})
		go func() {
			defer close(done)
			defer here.Close()
			s.exec(here, json.NewDecoder(&lineReader{r: bytes.NewReader(in)}))
		}()
		io.Copy(io.Discard, there)
		<-done
		there.Close()
	})
}
