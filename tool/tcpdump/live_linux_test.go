package tcpdump_test

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/towpath/towpath/internal/sys"
	"github.com/towpath/towpath/internal/testenv"
	"github.com/towpath/towpath/tool/tcpdump"
)

// A running tcpdump is waited for until it listens.
type running struct {
	stdout    output
	stderr    bytes.Buffer
	listening chan struct{}
	ended     chan int // status
	stop      func()
}

// output may be looked at while it is written.
type output struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.Write(b)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}

// watch reads what is said until it ends.
func (r *running) watch(from io.Reader) {
	b := bufio.NewReader(from)
	for {
		line, err := b.ReadString('\n')
		r.stderr.WriteString(line)
		if strings.Contains(line, "listening on") {
			close(r.listening)
		}
		if err != nil {
			return
		}
	}
}

func startOurs(t *testing.T, args ...string) *running {
	r := &running{listening: make(chan struct{}), ended: make(chan int, 1)}
	ctx, cancel := context.WithCancel(t.Context())
	r.stop = cancel
	from, to := io.Pipe()
	watched := make(chan struct{})
	go func() { r.watch(from); close(watched) }()
	go func() {
		status := tcpdump.Main(ctx, args, &tcpdump.Env{Stdout: &r.stdout, Stderr: to, Location: time.UTC})
		to.Close()
		<-watched
		r.ended <- status
	}()
	return r
}

// startTheirs gives the real one room: with the usual buffer its ring holds eight
// packets of "any".
func startTheirs(t *testing.T, args ...string) *running {
	r := &running{listening: make(chan struct{}), ended: make(chan int, 1)}
	c := exec.Command("tcpdump", append([]string{"-l", "--immediate-mode", "-B", "16384"}, args...)...)
	c.Env = append(os.Environ(), "TZ=UTC")
	c.Stdout = &r.stdout
	from, err := c.StderrPipe()
	if err == nil {
		err = c.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	r.stop = func() { c.Process.Signal(os.Interrupt) }
	go func() {
		r.watch(from)
		c.Wait()
		r.ended <- c.ProcessState.ExitCode()
	}()
	return r
}

// traffic is a conversation over the loopback.
func traffic(t *testing.T) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			io.Copy(c, c)
			c.Close()
		}
	}()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	c.Write([]byte("hello"))
	io.ReadFull(c, make([]byte, 5))
	c.(*net.TCPConn).CloseWrite()
	io.Copy(io.Discard, c)
	c.Close()
	u, err := net.Dial("udp", "127.0.0.1:9")
	if err != nil {
		t.Fatal(err)
	}
	u.Write([]byte("datagram"))
	u.Close()
}

var stamps = regexp.MustCompile(`(?m)^\d\d:\d\d:\d\d\.\d{6} `)

// TestLive: two captures of the same packets print the same, and say the same
// about what they do.
func TestLive(t *testing.T) {
	testenv.NeedsTool(t, "tcpdump")
	testenv.InNamespaceAs(t, 1000, func(t *testing.T) {
		nl, err := sys.OpenNetlink()
		if err != nil {
			t.Fatal(err)
		}
		defer nl.Close()
		lo, err := nl.Index("lo")
		if err == nil {
			err = nl.SetLink(lo, sys.Link{Up: true})
		}
		if err != nil {
			t.Fatal(err)
		}
		for _, line := range []string{"-n -i lo tcp", "-nv -i lo", "-ne -i lo udp or icmp", "-n -i any tcp", "-ni any -e udp", "-n -i lo -c 4", "-n -i 2 -q tcp", "-nS -Q in -i lo tcp", "-Uw FILE -i lo tcp"} {
			t.Run(line, func(t *testing.T) {
				dir := t.TempDir()
				args := func(file string) []string {
					return strings.Fields(strings.Replace(line, "FILE", filepath.Join(dir, file), 1))
				}
				both := []*running{startOurs(t, args("ours")...), startTheirs(t, args("theirs")...)}
				for _, r := range both {
					select {
					case <-r.listening:
					case <-time.After(10 * time.Second):
						t.Fatalf("does not listen\n%s", &r.stderr)
					}
				}
				traffic(t)
				// What both have seen is complete when neither has more to say.
				amount := func(i int, file string) int {
					return len(both[i].stdout.String()) + len(list(t, dir)[file])
				}
				was, quiet := -1, 0
				for range 100 {
					a, b := amount(0, "ours"), amount(1, "theirs")
					if quiet++; a != was || a != b {
						was, quiet = a, 0
					}
					if quiet == 4 {
						break
					}
					time.Sleep(50 * time.Millisecond)
				}
				var status [2]int
				for i, r := range both {
					r.stop()
					status[i] = <-r.ended
				}
				if status[0] != status[1] {
					t.Errorf("status %d, tcpdump's is %d", status[0], status[1])
				}
				got, want := both[0].stdout.String(), strings.TrimSuffix(both[1].stdout.String(), "\n\n")
				want = strings.TrimSuffix(want, "\n") // one more after Ctrl-C
				got = strings.TrimSuffix(got, "\n")
				if len(stamps.FindAllString(got, -1)) == 0 && !strings.Contains(line, "FILE") {
					t.Errorf("nothing was printed: %q", got)
				}
				if d := difference(stamps.ReplaceAllString(got, ""), stamps.ReplaceAllString(want, "")); d != "" {
					t.Errorf("standard output: %s", d)
				}
				if d := difference(both[0].stderr.String(), both[1].stderr.String()); d != "" && !strings.Contains(d, "received by filter") {
					t.Errorf("standard error: %s", d)
				}
				a, b := list(t, dir)["ours"], list(t, dir)["theirs"]
				if len(a) != len(b) {
					t.Errorf("the file has %d bytes, tcpdump's has %d", len(a), len(b))
				}
			})
		}
	})
}

// TestLiveFails: devices that are not there, and lists.
func TestLiveFails(t *testing.T) {
	for _, c := range []struct{ args, stderr string }{
		{"-i nothing", "tcpdump: there is no interface \"nothing\", but "},
		{"-i 99", "tcpdump: there is no interface 99; -D lists "},
		{"-I -i lo", "tcpdump: lo: there is no monitor mode\n"},
		{"-i lo -j sundial", "tcpdump: invalid time stamp type sundial\n"},
	} {
		if r := ours(t, "", strings.Fields(c.args)...); r.status != 1 || !strings.HasPrefix(r.stderr, c.stderr) {
			t.Errorf("%s: status %d, %q", c.args, r.status, r.stderr)
		}
	}
	if r := ours(t, "", "-D"); r.status != 0 || !regexp.MustCompile(`(?m)^[1-9]\.any \(Pseudo-device that captures on all interfaces\) \[Up, Running\]$`).MatchString(r.stdout) {
		t.Errorf("-D: %+v", r)
	}
	if r := ours(t, "", "-J", "-i", "lo"); r.status != 0 || r.stderr != "Time stamp types for lo (use option -j to set):\n  host (Host)\n" {
		t.Errorf("-J: %+v", r)
	}
}
