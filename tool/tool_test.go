package tool_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/towpath/towpath/host"
	"github.com/towpath/towpath/tool"
	"github.com/towpath/towpath/tool/get"
	"github.com/towpath/towpath/tool/ping"
	"github.com/towpath/towpath/tool/sleep"
)

// run runs a tool on a host whose name is server and which serves HTTP.
func run(t *testing.T, ctx context.Context, x tool.Tool, args ...string) (out, errs string, err error) {
	t.Helper()
	h := host.New(host.Config{Name: "server"})
	defer h.Close(context.Background())
	h.AddName("server", netip.MustParseAddr("127.0.0.1"))
	l, err := h.Listen("tcp", ":80")
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/slow":
			select {
			case <-r.Context().Done():
			case <-time.After(10 * time.Second):
			}
		case "/":
			fmt.Fprint(w, "hello")
		default:
			http.NotFound(w, r)
		}
	})}
	defer s.Close()
	go s.Serve(l)
	r, err := x.Parse(args)
	if err != nil {
		t.Fatal(err)
	}
	var o, e bytes.Buffer
	err = r(ctx, &tool.Env{Host: h, Stdout: &o, Stderr: &e})
	return o.String(), e.String(), err
}

func TestPing(t *testing.T) {
	out, _, err := run(t, t.Context(), ping.Tool, "server", "-c", "2", "-i", "10ms", "-s", "100")
	want := regexp.MustCompile(`^PING server \(127\.0\.0\.1\) 100 bytes of data\.
108 bytes from 127\.0\.0\.1: icmp_seq=1 ttl=64 time=[0-9.e-]+ ms
108 bytes from 127\.0\.0\.1: icmp_seq=2 ttl=64 time=[0-9.e-]+ ms
--- server ping statistics ---
2 packets transmitted, 2 received, 0% packet loss, time [0-9]+ms
rtt min/avg/max/mdev = [0-9.]+/[0-9.]+/[0-9.]+/[0-9.]+ ms
$`)
	if err != nil || !want.MatchString(out) {
		t.Errorf("%v\n%s", err, out)
	}
}

func TestPingFails(t *testing.T) {
	out, _, err := run(t, t.Context(), ping.Tool, "-c", "1", "192.0.2.1")
	if err == nil || err.Error() != "no answer from 192.0.2.1" || !strings.Contains(out, "1 packets transmitted, 0 received, 100% packet loss") {
		t.Errorf("%v\n%s", err, out)
	}
	if _, _, err = run(t, t.Context(), ping.Tool, "nobody"); err == nil || err.Error() != "lookup nobody: no such host" {
		t.Errorf("unknown name: %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
	defer cancel()
	out, _, err = run(t, ctx, ping.Tool, "-c", "0", "-i", "10ms", "server")
	if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(out, "ping statistics") {
		t.Errorf("stopped: %v\n%s", err, out)
	}
}

func TestGet(t *testing.T) {
	file := filepath.Join(t.TempDir(), "got")
	out, errs, err := run(t, t.Context(), get.Tool, "http://server/")
	if err != nil || out != "hello" || !strings.HasPrefix(errs, "HTTP/1.1 200 OK, 5 bytes in ") {
		t.Errorf("%q, %q, %v", out, errs, err)
	}
	out, _, err = run(t, t.Context(), get.Tool, "-o", file, "http://server/")
	if b, _ := os.ReadFile(file); err != nil || out != "" || string(b) != "hello" {
		t.Errorf("%q, file %q, %v", out, b, err)
	}
	if out, _, err = run(t, t.Context(), get.Tool, "-q", "http://server/"); err != nil || out != "" {
		t.Errorf("%q, %v", out, err)
	}
	for url, want := range map[string]string{
		"http://server/nothing": "the server answered 404 Not Found",
		"http://server:81/":     `Get "http://server:81/": dial tcp 127.0.0.1:81: connect: connection refused`,
		"http://nobody/":        `Get "http://nobody/": dial tcp: lookup nobody: no such host`,
	} {
		if _, _, err = run(t, t.Context(), get.Tool, url); err == nil || err.Error() != want {
			t.Errorf("%s: %v, want %s", url, err, want)
		}
	}
	if _, _, err = run(t, t.Context(), get.Tool, "-m", "50ms", "http://server/slow"); err == nil || err.Error() != `Get "http://server/slow": no complete answer within 50ms` {
		t.Errorf("slow: %v", err)
	}
}

func TestSleep(t *testing.T) {
	begin := time.Now()
	if _, _, err := run(t, t.Context(), sleep.Tool, "0.02"); err != nil || time.Since(begin) < 20*time.Millisecond {
		t.Errorf("%v after %v", err, time.Since(begin))
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if _, _, err := run(t, ctx, sleep.Tool, "1h"); !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
}

func TestArguments(t *testing.T) {
	for _, c := range []struct {
		x    tool.Tool
		args string
		want string
	}{
		{ping.Tool, "", "one address is wanted, there are 0"},
		{ping.Tool, "a b", "one address is wanted, there are 2"},
		{ping.Tool, "-x a", "there is no option -x"},
		{ping.Tool, "-c -1 a", "-1 is no number of requests"},
		{ping.Tool, "-s 70000 a", "size 70000 is not from 1 to 65507"},
		{ping.Tool, "-t 256 a", "TTL 256 is not from 1 to 255"},
		{ping.Tool, "-i soon a", `invalid value "soon" for flag -i: not a time`},
		{get.Tool, "", "one URL is wanted, there are 0"},
		{get.Tool, "ftp://a/", `"ftp://a/" is not a URL that begins with http://`},
		{get.Tool, "http://", `"http://" is not a URL that begins with http://`},
		{sleep.Tool, "", "0 arguments"},
		{sleep.Tool, "long", "a duration is a number with a unit, such as 500ms or 2s"},
		{sleep.Tool, "-1s", "a duration is a number with a unit, such as 500ms or 2s"},
	} {
		if _, err := c.x.Parse(strings.Fields(c.args)); err == nil || err.Error() != c.want {
			t.Errorf("%s %s: %v, want %s", c.x.Name, c.args, err, c.want)
		}
	}
}
