package service_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"go.uber.org/goleak"

	"github.com/towpath/towpath/host"
	"github.com/towpath/towpath/service"
	"github.com/towpath/towpath/service/echo"
	httpservice "github.com/towpath/towpath/service/http"
)

// begin starts a service on a host of its own, reached by its loopback, and
// makes sure that nothing of both is left.
func begin(t *testing.T, s service.Service, o service.Options, log io.Writer, args ...string) *host.Host {
	t.Helper()
	t.Cleanup(func() { goleak.VerifyNone(t) })
	start, err := s.Parse(args, o)
	if err != nil {
		t.Fatal(err)
	}
	h := host.New(host.Config{Name: "server"})
	r, err := start(&service.Env{Host: h, Log: log})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(r.Close(), h.Close(context.Background())); err != nil {
			t.Error(err)
		}
	})
	if r.Addr() == "" {
		t.Error("no address")
	}
	return h
}

func TestEcho(t *testing.T) {
	h := begin(t, echo.Service, service.Options{}, io.Discard)
	for _, c := range []struct{ network, address string }{
		{"tcp", "127.0.0.1:7"}, {"udp", "127.0.0.1:7"}, {"tcp", "[::1]:7"}, {"udp", "[::1]:7"},
	} {
		conn, err := h.DialContext(t.Context(), c.network, c.address)
		if err != nil {
			t.Fatal(err)
		}
		for _, word := range []string{"one", "two"} {
			b := make([]byte, 3)
			if _, err := io.WriteString(conn, word); err != nil {
				t.Fatal(err)
			}
			if _, err := io.ReadFull(conn, b); err != nil || string(b) != word {
				t.Errorf("%s %s: %q comes back as %q, %v", c.network, c.address, word, b, err)
			}
		}
		if c.address == "[::1]:7" {
			continue // left open: Close of the service ends it
		}
		conn.Close()
	}
}

// TestEchoCloses: closing the service resets or ends the connections it has.
func TestEchoCloses(t *testing.T) {
	defer goleak.VerifyNone(t)
	h := host.New(host.Config{})
	defer h.Close(context.Background())
	start, _ := echo.Service.Parse(nil, service.Options{Port: 1007})
	r, err := start(&service.Env{Host: h, Log: io.Discard})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := start(&service.Env{Host: h, Log: io.Discard}); !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("a second one on the port: %v", err)
	}
	conn, err := h.DialContext(t.Context(), "tcp", "127.0.0.1:1007")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := r.Close(); err != nil {
		t.Error(err)
	}
	if _, err := conn.Read(make([]byte, 1)); err == nil {
		t.Error("the connection goes on")
	}
	if _, err := h.DialContext(t.Context(), "tcp", "127.0.0.1:1007"); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("dialing a closed service: %v", err)
	}
}

func TestHTTP(t *testing.T) {
	dir := t.TempDir()
	err := errors.Join(
		os.WriteFile(filepath.Join(dir, "secret"), []byte("secret"), 0o644),
		os.Mkdir(filepath.Join(dir, "site"), 0o755),
		os.WriteFile(filepath.Join(dir, "site", "index.html"), []byte("<p>home"), 0o644),
		os.Symlink("../secret", filepath.Join(dir, "site", "out")))
	if err != nil {
		t.Fatal(err)
	}
	var log lockedBuffer
	h := begin(t, httpservice.Service, service.Options{Dir: dir, Port: 8080}, &log, "site")
	transport := &http.Transport{DialContext: h.DialContext}
	// A connection that is kept alive must not keep the service from closing.
	t.Cleanup(transport.CloseIdleConnections)
	client := http.Client{Transport: transport}
	get := func(path string) (int, string) {
		resp, err := client.Get("http://localhost:8080" + path)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, string(b)
	}
	if code, body := get("/"); code != 200 || body != "<p>home" {
		t.Errorf("/: %d %q", code, body)
	}
	for _, path := range []string{"/nothing", "/../secret", "/out"} {
		if code, body := get(path); code < 400 || body == "secret" {
			t.Errorf("%s: %d %q", path, code, body)
		}
	}
	if !strings.Contains(log.String(), `GET "/" 200, 7 bytes`) {
		t.Errorf("log is %q", log.String())
	}
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
