package sysctl

import (
	"bytes"
	"context"
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/towpath/towpath/host"
	"github.com/towpath/towpath/internal/testenv"
	"github.com/towpath/towpath/run"
	"github.com/towpath/towpath/tool"
)

func TestMain(m *testing.M) {
	run.Init()
	os.Exit(m.Run())
}

func output(t *testing.T, h *host.Host, line string) (out, errs string, status int) {
	t.Helper()
	r, err := Parse(strings.Fields(line))
	if err != nil {
		t.Fatalf("sysctl %s: %v", line, err)
	}
	var o, e bytes.Buffer
	var told tool.ExitStatus
	if err := r(t.Context(), &tool.Env{Host: h, Stdout: &o, Stderr: &e}); err != nil && !errors.As(err, &told) {
		t.Fatalf("sysctl %s: %v", line, err)
	}
	return o.String(), e.String(), int(told)
}

// TestOriginal compares with the original on the same host.
func TestOriginal(t *testing.T) {
	testenv.NeedsTool(t, "sysctl")
	if err := run.Probe(); err != nil {
		t.Skipf("programs cannot be run on hosts: %v", err)
	}
	h := host.New(host.Config{})
	defer h.Close(context.Background())
	for _, line := range []string{
		"net.ipv4.ip_forward", "-n net.ipv4.ip_forward net/ipv4/tcp_sack", "-w net.ipv4.ip_forward=1", "net.ipv4.tcp_rmem",
		"net.ipv4.conf.lo.rp_filter=1", "-q net.ipv4.ip_forward=0", "net.nope", "-e net.nope", "-N net.ipv4.tcp_sack",
	} {
		var o, e bytes.Buffer
		p, err := run.Start(h, run.Cmd{Args: append([]string{"sysctl"}, strings.Fields(line)...), Stdout: &o, Stderr: &e})
		if err != nil {
			t.Fatal(err)
		}
		want := 0
		var exit *run.ExitError
		if errors.As(p.Wait(), &exit) {
			want = exit.Code
		}
		out, errs, status := output(t, h, line)
		if out != o.String() || errs != e.String() || status != want {
			t.Errorf("sysctl %s: status %d, %q %q; the original's %d, %q %q", line, status, out, errs, want, o.String(), e.String())
		}
	}
}

// TestAll: everything that is listed can be read.
func TestAll(t *testing.T) {
	h := host.New(host.Config{})
	defer h.Close(context.Background())
	out, errs, status := output(t, h, "-a -r ip")
	if status != 0 || errs != "" || strings.Count(out, "\n") < 50 || !strings.Contains(out, "net.ipv4.conf.lo.rp_filter = 0\n") {
		t.Errorf("status %d, %q\n%s", status, errs, out)
	}
	if out, _, status := output(t, h, "net.ipv4.ip_default_ttl=many"); status != 1 || out != "" {
		t.Errorf("status %d, %q", status, out)
	}
	for _, line := range []string{"", "-p x", "-a -r", "-a -r ("} {
		if _, err := Parse(strings.Fields(line)); err == nil {
			t.Errorf("sysctl %s is right", line)
		}
	}
}
