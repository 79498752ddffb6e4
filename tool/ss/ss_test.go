package ss

import (
	"bytes"
	"context"
	"net/netip"
	"os"
	"slices"
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

// talking is a host with sockets of all kinds.
func talking(t *testing.T) *host.Host {
	h := host.New(host.Config{})
	t.Cleanup(func() { h.Close(context.Background()) })
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	var closers []interface{ Close() error }
	for _, l := range [][2]string{{"tcp", ":80"}, {"tcp4", "127.0.0.1:22"}, {"tcp6", "[::]:443"}} {
		x, err := h.Listen(l[0], l[1])
		must(err)
		closers = append(closers, x)
		if l[1] == ":80" {
			go func() {
				for {
					c, err := x.Accept()
					if err != nil {
						return
					}
					defer c.Close()
				}
			}()
		}
	}
	for _, l := range [][2]string{{"udp", ":53"}, {"udp4", "127.0.0.1:123"}, {"udp6", "[::1]:5353"}} {
		x, err := h.ListenPacket(l[0], l[1])
		must(err)
		closers = append(closers, x)
	}
	for _, d := range [][2]string{{"tcp", "127.0.0.1:80"}, {"tcp", "[::1]:80"}, {"udp", "127.0.0.1:53"}} {
		x, err := h.Dial(d[0], d[1])
		must(err)
		closers = append(closers, x)
		if c, ok := x.(*host.TCPConn); ok {
			_, err := c.Write([]byte("hello"))
			must(err)
		}
	}
	t.Cleanup(func() {
		for _, c := range closers {
			c.Close()
		}
	})
	return h
}

func output(t *testing.T, h *host.Host, line string) string {
	t.Helper()
	r, err := Parse(strings.Fields(line))
	if err != nil {
		t.Fatalf("ss %s: %v", line, err)
	}
	var b bytes.Buffer
	if err := r(t.Context(), &tool.Env{Host: h, Stdout: &b, Stderr: &b}); err != nil {
		t.Fatalf("ss %s: %v", line, err)
	}
	return b.String()
}

// rows are the lines of an output, as words, in an order of their own. The
// original sets columns closer when a line is full.
func rows(s string) []string {
	s = strings.ReplaceAll(s, "PortProcess", "Port Process")
	var all []string
	for line := range strings.Lines(s) {
		all = append(all, strings.Join(strings.Fields(line), " "))
	}
	slices.Sort(all)
	return all
}

// TestOriginal compares with the original on the same host.
func TestOriginal(t *testing.T) {
	testenv.NeedsTool(t, "ss")
	if err := run.Probe(); err != nil {
		t.Skipf("programs cannot be run on hosts: %v", err)
	}
	h := talking(t)
	for _, line := range []string{"-tan", "-tln", "-tn", "-uan", "-uln", "-tuln", "-4 -tan", "-6 -tan", "-tuanH", "-s"} {
		var want bytes.Buffer
		p, err := run.Start(h, run.Cmd{Args: append([]string{"ss"}, strings.Fields(line)...), Stdout: &want})
		if err != nil {
			t.Fatal(err)
		}
		if err := p.Wait(); err != nil {
			t.Fatalf("the original's ss %s: %v", line, err)
		}
		if got := output(t, h, line); !slices.Equal(rows(got), rows(want.String())) {
			t.Errorf("ss %s prints\n%s\nand the original\n%s", line, got, want.String())
		}
	}
}

// TestInfo: -i tells of connections.
func TestInfo(t *testing.T) {
	out := output(t, talking(t), "-tni")
	for _, want := range []string{" cubic ", "wscale:", "rto:", "mss:", "cwnd:", "bytes_sent:5", "segs_out:"} {
		if !strings.Contains(out, want) {
			t.Errorf("there is no %q in\n%s", want, out)
		}
	}
}

func TestPlace(t *testing.T) {
	for _, c := range []struct {
		a    string
		s    host.SocketInfo
		want string
	}{
		{"10.0.0.1:80", host.SocketInfo{Family: host.AFInet}, "10.0.0.1:80"},
		{"10.0.0.1:80", host.SocketInfo{Family: host.AFInet6}, "[::ffff:10.0.0.1]:80"},
		{"[fe80::1]:80", host.SocketInfo{Family: host.AFInet6}, "[fe80::1]:80"},
		{"[::]:80", host.SocketInfo{Family: host.AFInet6}, "*:80"},
		{"[::]:80", host.SocketInfo{Family: host.AFInet6, V6Only: true}, "[::]:80"},
		{"", host.SocketInfo{Family: host.AFInet}, "0.0.0.0:*"},
	} {
		a, _ := netip.ParseAddrPort(c.a)
		addr, port := place(a, &c.s)
		if got := addr + ":" + port; got != c.want {
			t.Errorf("%s is %s, want %s", c.a, got, c.want)
		}
	}
	for _, line := range []string{"-x", "-o", "state established", "--what", "-"} {
		if _, err := Parse(strings.Fields(line)); err == nil {
			t.Errorf("ss %s is known", line)
		}
	}
}
