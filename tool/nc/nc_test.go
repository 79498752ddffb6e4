package nc

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/towpath/towpath/host"
	"github.com/towpath/towpath/link/cable"
	"github.com/towpath/towpath/tool"
)

// buffer is a writer for several goroutines.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

func pair(t *testing.T) [2]*host.Host {
	t.Cleanup(func() { goleak.VerifyNone(t) })
	var hosts [2]*host.Host
	pa, pb := cable.New(cable.Config{})
	for i, p := range []*cable.Port{pa, pb} {
		h := host.New(host.Config{})
		t.Cleanup(func() { h.Close(context.Background()) })
		if _, err := h.AddAdapter("eth0", p); err != nil {
			t.Fatal(err)
		}
		if err := h.AddAddress("eth0", netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 0, 0, byte(i + 1)}), 24)); err != nil {
			t.Fatal(err)
		}
		hosts[i] = h
	}
	return hosts
}

func start(t *testing.T, ctx context.Context, h *host.Host, line string, in io.Reader, out, errs io.Writer) error {
	t.Helper()
	r, err := Parse(strings.Fields(line))
	if err != nil {
		t.Fatalf("nc %s: %v", line, err)
	}
	return r(ctx, &tool.Env{Host: h, Stdin: in, Stdout: out, Stderr: errs})
}

// TestTalk connects two of them, over TCP and UDP.
func TestTalk(t *testing.T) {
	for _, c := range []struct{ server, client string }{
		{"-l -v -N 7", "-v 10.0.0.2 7"}, {"-lu -w 1 7", "-u -w 1 10.0.0.2 7"}, {"-l -p 9 -N", "-4 -w 5 10.0.0.2 9"},
	} {
		hosts := pair(t)
		var there, here, errs buffer
		ended := make(chan error, 1)
		go func() {
			ended <- start(t, t.Context(), hosts[1], c.server, strings.NewReader("from the server\n"), &there, &errs)
		}()
		for len(hosts[1].Sockets()) == 0 {
			time.Sleep(time.Millisecond)
		}
		if err := start(t, t.Context(), hosts[0], c.client, strings.NewReader("from the client\n"), &here, &errs); err != nil {
			t.Errorf("nc %s: %v", c.client, err)
		}
		if err := <-ended; err != nil {
			t.Errorf("nc %s: %v", c.server, err)
		}
		if there.String() != "from the client\n" || here.String() != "from the server\n" {
			t.Errorf("nc %s got %q, nc %s got %q; %s", c.server, there.String(), c.client, here.String(), errs.String())
		}
		if strings.Contains(c.client, "-v") && !strings.Contains(errs.String(), "Connection to 10.0.0.2 7 port [tcp/*] succeeded!\n") {
			t.Errorf("-v says %q", errs.String())
		}
	}
}

// TestScan looks for open ports.
func TestScan(t *testing.T) {
	hosts := pair(t)
	l, err := hosts[1].Listen("tcp", ":81")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for _, c := range []struct {
		line, want string
		status     int
	}{
		{"-zv 10.0.0.2 80-82", "nc: connect to 10.0.0.2 port 80 (tcp) failed: Connection refused\nConnection to 10.0.0.2 81 port [tcp/*] succeeded!\n", 0},
		{"-z 10.0.0.2 82", "", 1},
		{"-zuv 10.0.0.2 9", "nc: connect to 10.0.0.2 port 9 (udp) failed: Connection refused\n", 1},
		{"10.0.0.2 82", "nc: connect to 10.0.0.2 port 82 (tcp) failed: Connection refused\n", 1},
		{"-w 1 10.0.0.9 82", "nc: connect to 10.0.0.9 port 82 (tcp) failed: ", 1},
	} {
		var errs buffer
		var told tool.ExitStatus
		err := start(t, t.Context(), hosts[0], c.line, nil, io.Discard, &errs)
		errors.As(err, &told)
		if int(told) != c.status || !strings.HasPrefix(errs.String(), c.want) {
			t.Errorf("nc %s: status %d, %q", c.line, told, errs.String())
		}
	}
}

// TestStop: a server ends when it is told to.
func TestStop(t *testing.T) {
	for _, line := range []string{"-l 7", "-lu 7", "-lk 7"} {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		if err := start(t, ctx, pair(t)[0], line, nil, io.Discard, io.Discard); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("nc %s: %v", line, err)
		}
		cancel()
	}
}

func TestParse(t *testing.T) {
	for line, unknown := range map[string]bool{
		"": false, "a": false, "a 0": false, "a 80-81": false, "-l": false, "-w": false, "-w x a 1": false, "-s x a 1": false, "-x a 1": true, "-U /x": true,
		"-z a 2-1": false, "-l 1 2 3": false,
	} {
		_, err := Parse(strings.Fields(line))
		var u tool.Unknown
		if err == nil || errors.As(err, &u) != unknown {
			t.Errorf("nc %s: %v", line, err)
		}
	}
}
