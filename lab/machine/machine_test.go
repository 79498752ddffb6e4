//go:build linux

package machine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"github.com/towpath/towpath/internal/testenv"
	"github.com/towpath/towpath/link"
	"github.com/towpath/towpath/packet"
	"github.com/towpath/towpath/wire"
)

func TestMain(m *testing.M) {
	Init()
	if os.Getenv("MACHINE_TEST_ORPHAN") != "" {
		orphanMain()
	}
	os.Exit(m.Run())
}

// both runs a test with each kind of interface.
func both(t *testing.T, f func(t *testing.T, veth bool)) {
	testenv.NeedsUserNS(t)
	t.Run("veth", func(t *testing.T) { f(t, true) })
	t.Run("tap", func(t *testing.T) {
		testenv.NeedsTUN(t)
		f(t, false)
	})
}

func prefixes(list ...string) (p []netip.Prefix) {
	for _, s := range list {
		p = append(p, netip.MustParsePrefix(s))
	}
	return p
}

// begin starts a machine for the length of a test.
func begin(t *testing.T, c Config) *Machine {
	t.Helper()
	m, err := Start(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := m.Close(ctx); err != nil {
			t.Error(err)
		}
	})
	return m
}

// noLeak looks for goroutines left at the end of a test, after its clean-ups.
func noLeak(t *testing.T) {
	known := goleak.IgnoreCurrent()
	t.Cleanup(func() { goleak.VerifyNone(t, known) })
}

// output runs a program and returns what it says.
func output(t *testing.T, m *Machine, args ...string) string {
	t.Helper()
	var out bytes.Buffer
	p, err := m.Exec(t.Context(), Cmd{Args: args, Stdout: &out, Stderr: &out})
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Wait(); err != nil {
		t.Fatalf("%s: %v\n%s", strings.Join(args, " "), err, out.String())
	}
	return out.String()
}

func wantIn(t *testing.T, text string, parts ...string) {
	t.Helper()
	for _, s := range parts {
		if !strings.Contains(text, s) {
			t.Errorf("no %q in:\n%s", s, text)
		}
	}
}

func TestMachine(t *testing.T) {
	noLeak(t)
	both(t, func(t *testing.T, veth bool) {
		m := begin(t, Config{
			Name: "web", Veth: veth, Forward: true,
			Interfaces: []Interface{
				{Name: "eth0", MAC: wire.MAC{2, 0, 0, 0, 0, 7}, Addresses: prefixes("10.1.0.2/24", "fd00::2/64")},
				{Name: "eth1", MTU: 9000, Addresses: prefixes("10.2.0.2/24")},
			},
			Routes: []Route{
				{To: netip.MustParsePrefix("0.0.0.0/0"), Via: netip.MustParseAddr("10.1.0.1")},
				{To: netip.MustParsePrefix("::/0"), Via: netip.MustParseAddr("fd00::1")},
				{To: netip.MustParsePrefix("10.3.0.0/16"), Interface: "eth1"},
			},
			Hosts:       map[string][]netip.Addr{"alice": {netip.MustParseAddr("10.1.0.9")}},
			Nameservers: []netip.Addr{netip.MustParseAddr("10.1.0.53")},
		})
		if n := len(m.Ports()); n != 2 {
			t.Fatalf("%d ports", n)
		}
		if mtu := m.Ports()[1].Capabilities().MTU; mtu != 9000 {
			t.Errorf("port MTU %d", mtu)
		}
		wantIn(t, output(t, m, "sh", "-c", "cat /etc/hosts /etc/resolv.conf; grep hosts: /etc/nsswitch.conf; hostname; id -u"),
			"127.0.0.1\tlocalhost\n", "10.1.0.9\talice\n", "127.0.1.1\tweb\n", "nameserver 10.1.0.53\n", "hosts: files dns\n", "\nweb\n0\n")
		wantIn(t, output(t, m, "getent", "ahostsv4", "alice"), "10.1.0.9")
		wantIn(t, output(t, m, "cat", "/proc/1/cmdline"), initName+"\x00web")
		wantIn(t, output(t, m, "cat", "/proc/sys/net/ipv4/ip_forward"), "1\n")
		if n := output(t, m, "cat", "/sys/class/net/eth0/statistics/rx_packets"); n != "0\n" {
			t.Errorf("%s packets came by themselves", n)
		}
		if files := output(t, m, "ls", "/sys/class/net"); len(strings.Fields(files)) != 3 {
			t.Errorf("/sys/class/net: %s", files)
		}
		testenv.NeedsTool(t, "ip")
		// Link-local addresses are made by the kernel's own worker, a moment later.
		text := output(t, m, "ip", "addr", "show", "scope", "global") + output(t, m, "ip", "addr", "show", "dev", "lo")
		wantIn(t, text, "eth0", "mtu 1500", "mtu 9000", "02:00:00:00:00:07", "inet 10.1.0.2/24 brd 10.1.0.255", "fd00::2/64", "inet 127.0.0.1/8")
		for _, bad := range []string{"tentative", "port0", "state DOWN", "tunl"} {
			if strings.Contains(text, bad) {
				t.Errorf("%q in:\n%s", bad, text)
			}
		}
		wantIn(t, output(t, m, "ip", "route"), "default via 10.1.0.1 dev eth0", "10.3.0.0/16 dev eth1")
		wantIn(t, output(t, m, "ip", "-6", "route"), "default via fd00::1 dev eth0")
	})
}

func TestExec(t *testing.T) {
	testenv.NeedsUserNS(t)
	noLeak(t)
	m := begin(t, Config{Name: "m"})

	for _, c := range []struct {
		script, want string
	}{
		{"exit 0", ""},
		{"exit 3", "exit status 3"},
		{"kill -TERM $$", "killed by signal: terminated"},
	} {
		p, err := m.Exec(t.Context(), Cmd{Args: []string{"sh", "-c", c.script}})
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		if err := p.Wait(); err != nil {
			got = err.Error()
		}
		if got != c.want || p.Signal(os.Kill) != os.ErrProcessDone {
			t.Errorf("%s: %q, want %q", c.script, got, c.want)
		}
	}
	for _, c := range []struct {
		cmd  Cmd
		want error
		text string
	}{
		{Cmd{Args: []string{"no-such-program"}}, nil, "machine m: no-such-program: executable file not found in $PATH"},
		{Cmd{Args: []string{"/no/such"}}, syscall.ENOENT, "machine m: /no/such: no such file or directory"},
		{Cmd{Args: []string{"/etc/passwd"}}, syscall.EACCES, "machine m: /etc/passwd: permission denied"},
		{Cmd{Args: []string{"true"}, Dir: "/no/dir"}, syscall.ENOENT, "machine m: directory /no/dir: no such file or directory"},
		{Cmd{Args: []string{"true"}, Env: []string{"PATH=/nowhere"}}, nil, "machine m: true: executable file not found in $PATH"},
		{Cmd{Args: []string{"true", strings.Repeat("x", 300<<10)}}, syscall.E2BIG, ""},
		{Cmd{}, nil, "machine m: no program given"},
	} {
		_, err := m.Exec(t.Context(), c.cmd)
		if err == nil || c.want != nil && !errors.Is(err, c.want) || c.text != "" && err.Error() != c.text {
			t.Errorf("%.40q: %v, want %q", c.cmd.Args, err, c.text)
		}
	}

	// Input, output, environment and directory.
	var out, errOut bytes.Buffer
	p, err := m.Exec(t.Context(), Cmd{
		Args: []string{"sh", "-c", "read line; echo got $line; echo $X in $(pwd) >&2; cat"},
		Env:  []string{"X=y", "PATH=" + os.Getenv("PATH")}, Dir: "/usr",
		Stdin: strings.NewReader("one\ntwo\n"), Stdout: &out, Stderr: &errOut,
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Wait(); err != nil || out.String() != "got one\ntwo\n" || errOut.String() != "y in /usr\n" {
		t.Errorf("%v %q %q", err, out.String(), errOut.String())
	}

	// The context kills the whole group.
	ctx, cancel := context.WithCancel(t.Context())
	p, err = m.Exec(ctx, Cmd{Args: []string{"sh", "-c", "sleep 1000 & sleep 1000"}, Stdout: &out})
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	if err := p.Wait(); !errors.Is(err, context.Canceled) {
		t.Errorf("after cancel: %v", err)
	}

	// Orphans are reaped: process 1 has no children left.
	output(t, m, "sh", "-c", "(sleep 0.01 &) ; (true &)")
	if s := waitFor(func() bool {
		return strings.TrimSpace(output(t, m, "sh", "-c", "ls -d /proc/[0-9]* | wc -l")) <= "5"
	}); !s {
		t.Errorf("left over: %s", output(t, m, "sh", "-c", "cat /proc/[0-9]*/stat"))
	}
}

func waitFor(f func() bool) bool {
	for range 200 {
		if f() {
			return true
		}
		time.Sleep(5 * time.Millisecond)
	}
	return false
}

func TestCloseKills(t *testing.T) {
	testenv.NeedsUserNS(t)
	noLeak(t)
	m, err := Start(t.Context(), Config{Name: "m", Interfaces: []Interface{{Name: "eth0"}}})
	if err != nil {
		t.Fatal(err)
	}
	p, err := m.Exec(t.Context(), Cmd{Args: []string{"sh", "-c", "trap '' TERM INT; sleep 1000 & sleep 1000"}})
	if err != nil {
		t.Fatal(err)
	}
	tree := descendants(m.PID())
	if len(tree) < 2 {
		t.Errorf("processes %v", tree)
	}
	if err := m.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	var exit *ExitError
	if err := p.Wait(); !errors.As(err, &exit) || exit.Signal != syscall.SIGKILL {
		t.Errorf("Wait: %v", err)
	}
	for _, pid := range tree {
		if !dead(pid) {
			t.Errorf("process %d lives", pid)
		}
	}
	if _, err := m.Exec(t.Context(), Cmd{Args: []string{"true"}}); !errors.Is(err, ErrClosed) {
		t.Errorf("Exec after Close: %v", err)
	}
	if err := m.Close(t.Context()); err != nil {
		t.Errorf("second Close: %v", err)
	}
}

// TestTerminal runs a program on a terminal of its own.
func TestTerminal(t *testing.T) {
	testenv.NeedsUserNS(t)
	noLeak(t)
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Skip(err)
	}
	defer master.Close()
	n, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0)
	}
	if err != nil {
		t.Skip(err)
	}
	slave, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Skip(err)
	}
	m := begin(t, Config{Name: "m"})
	p, err := m.Exec(t.Context(), Cmd{Args: []string{"sh", "-c", "echo hello >/dev/tty"}, Stdin: slave, Stdout: slave, Stderr: slave, Terminal: true})
	slave.Close()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Wait(); err != nil {
		t.Error(err)
	}
	b := make([]byte, 100)
	k, err := master.Read(b)
	if err != nil || string(b[:k]) != "hello\r\n" {
		t.Errorf("%q %v", b[:k], err)
	}
}

// TestInitKilled is the machine's sudden death.
func TestInitKilled(t *testing.T) {
	testenv.NeedsUserNS(t)
	noLeak(t)
	m := begin(t, Config{Name: "m", Interfaces: []Interface{{Name: "eth0"}}})
	p, err := m.Exec(t.Context(), Cmd{Args: []string{"sleep", "1000"}, Stdout: new(bytes.Buffer)})
	if err != nil {
		t.Fatal(err)
	}
	syscall.Kill(m.PID(), syscall.SIGKILL)
	<-m.Done()
	if err := p.Wait(); err == nil || err.Error() != "killed by signal: killed" {
		t.Errorf("Wait: %v", err)
	}
	if _, err := m.Exec(t.Context(), Cmd{Args: []string{"true"}}); err == nil {
		t.Error("Exec on a dead machine")
	}
}

// descendants lists a process and those below it.
func descendants(pid int) []int {
	list := []int{pid}
	tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	for _, f := range tasks {
		b, _ := os.ReadFile(f)
		for _, s := range strings.Fields(string(b)) {
			child, _ := strconv.Atoi(s)
			list = append(list, descendants(child)...)
		}
	}
	return list
}

// dead reports whether a process has ended, even if its adoptive parent has not
// noticed.
func dead(pid int) bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err != nil || bytes.Contains(b, []byte(") Z "))
}

// orphanMain is a parent that will be killed: it starts a machine with a
// program in it and says so.
func orphanMain() {
	m, err := Start(context.Background(), Config{Name: "orphan", Interfaces: []Interface{{Name: "eth0"}}})
	if err == nil {
		_, err = m.Exec(context.Background(), Cmd{Args: []string{"sleep", "1000"}})
	}
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Println("up")
	select {}
}

func TestParentKilled(t *testing.T) {
	testenv.NeedsUserNS(t)
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), "MACHINE_TEST_ORPHAN=1")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line := make([]byte, 100)
	n, _ := out.Read(line)
	if string(line[:n]) != "up\n" {
		t.Fatalf("%q", line[:n])
	}
	tree := descendants(cmd.Process.Pid)
	if len(tree) < 3 {
		t.Errorf("processes %v", tree)
	}
	cmd.Process.Kill()
	cmd.Wait()
	for _, pid := range tree {
		if !waitFor(func() bool { return dead(pid) }) {
			t.Errorf("process %d lives", pid)
		}
	}
}

// A pump is a trivial protocol: what comes in by one adapter leaves by another.
type pump struct{ to *link.Adapter }

func (p pump) Receive(_ *link.Adapter, l *packet.List, w *link.Work) {
	p.to.Enqueue(l)
	p.to.Flush(w)
}

// join connects two ports and returns the adapters.
func join(t *testing.T, a, b link.Miniport) (*link.Adapter, *link.Adapter) {
	left, right := link.NewAdapter("left", 1, a), link.NewAdapter("right", 2, b)
	left.Bind(pump{right})
	right.Bind(pump{left})
	for _, x := range []*link.Adapter{left, right} {
		if err := x.Open(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { x.Close() })
	}
	return left, right
}

func twoMachines(t *testing.T, veth bool) (a, b *Machine, left, right *link.Adapter) {
	hosts := map[string][]netip.Addr{"a": {netip.MustParseAddr("10.1.0.1")}, "b": {netip.MustParseAddr("10.1.0.2")}}
	a = begin(t, Config{Name: "a", Veth: veth, Hosts: hosts, Interfaces: []Interface{{Name: "eth0", Addresses: prefixes("10.1.0.1/24", "fd00::1/64")}}})
	b = begin(t, Config{Name: "b", Veth: veth, Hosts: hosts, Interfaces: []Interface{{Name: "eth0", Addresses: prefixes("10.1.0.2/24", "fd00::2/64")}}})
	left, right = join(t, a.Ports()[0], b.Ports()[0])
	return a, b, left, right
}

func TestPing(t *testing.T) {
	testenv.NeedsTool(t, "ping")
	both(t, func(t *testing.T, veth bool) {
		a, _, _, _ := twoMachines(t, veth)
		t.Log(output(t, a, "ping", "-c", "3", "-i", "0.1", "-q", "b"))
		output(t, a, "ping", "-c", "1", "fd00::2")
		t.Log(output(t, a, "ping", "-c", "1000", "-f", "-q", "b"))
	})
}

// TestStream moves TCP between two kernels: super-segments and partial
// checksums go through whole.
func TestStream(t *testing.T) {
	testenv.NeedsTool(t, "python3")
	both(t, func(t *testing.T, veth bool) {
		for _, addr := range []string{"10.1.0.2", "fd00::2"} {
			a, b, left, right := twoMachines(t, veth)
			const size = 64 << 20
			server, err := b.Exec(t.Context(), Cmd{Args: []string{"python3", "-c", `
import socket, hashlib
s = socket.socket(socket.AF_INET6); s.setsockopt(41, 26, 0); s.bind(("::", 80)); s.listen()
print("up", flush=True)
c, _ = s.accept(); h = hashlib.md5(); n = 0
while b := c.recv(1 << 18): h.update(b); n += len(b)
c.sendall(f"{n} {h.hexdigest()}".encode())
`}, Stdout: upWriter(t), Stderr: os.Stderr})
			if err != nil {
				t.Fatal(err)
			}
			begun := time.Now()
			got := output(t, a, "python3", "-c", fmt.Sprintf(`
import socket, time, hashlib
for _ in range(100):
    try: c = socket.create_connection((%q, 80)); break
    except ConnectionRefusedError: time.sleep(.05)
d = bytes(range(256)) * 4096; h = hashlib.md5()
for _ in range(%d): c.sendall(d); h.update(d)
c.shutdown(1); got = c.recv(100).decode()
assert got == f"{%d} {h.hexdigest()}", got
`, addr, size>>20, size))
			took := time.Since(begun)
			if err := server.Wait(); err != nil {
				t.Error(err, got)
			}
			s := left.Stats()
			t.Logf("%s: %.1f Gbit/s with python's start, %d packets of %d bytes, dropped %d and %d", addr,
				size*8/took.Seconds()/1e9, s.RxPackets, s.RxBytes/max(s.RxPackets, 1), s.Dropped, right.Stats().Dropped)
			if s.RxBytes/s.RxPackets < 4000 {
				t.Error("no super-segments")
			}
		}
	})
}

// upWriter is a place for output nobody needs.
func upWriter(t *testing.T) *testWriter { return &testWriter{t} }

type testWriter struct{ t *testing.T }

func (w *testWriter) Write(b []byte) (int, error) { return len(b), nil }

func TestCycles(t *testing.T) {
	noLeak(t)
	both(t, func(t *testing.T, veth bool) {
		cycle := func() {
			m, err := Start(t.Context(), Config{Name: "m", Veth: veth, Interfaces: []Interface{{Name: "eth0", Addresses: prefixes("10.1.0.2/24")}}})
			if err != nil {
				t.Fatal(err)
			}
			p, err := m.Exec(t.Context(), Cmd{Args: []string{"sleep", "1000"}})
			if err != nil {
				t.Fatal(err)
			}
			if err := m.Close(t.Context()); err != nil {
				t.Fatal(err)
			}
			p.Wait()
		}
		cycle()
		fds := openFiles(t)
		n := 100
		if testing.Short() {
			n = 10
		}
		begun := time.Now()
		for range n {
			cycle()
		}
		t.Logf("%v a cycle", time.Since(begun)/time.Duration(n))
		if now := openFiles(t); now > fds {
			t.Errorf("%d descriptors before, %d after", fds, now)
		}
		if left := descendants(os.Getpid())[1:]; len(left) > 0 {
			t.Errorf("processes left: %v", left)
		}
	})
}

func openFiles(t *testing.T) int {
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(list)
}

func TestStartErrors(t *testing.T) {
	testenv.NeedsUserNS(t)
	for _, c := range []struct {
		config Config
		want   string
	}{
		{Config{Name: "m", Interfaces: []Interface{{Name: ""}}}, "interface name"},
		{Config{Name: "m", Interfaces: []Interface{{Name: "lo"}}}, "the name is taken"},
		{Config{Name: "m", Interfaces: []Interface{{Name: "eth0", MTU: 7}}}, "MTU 7"},
		{Config{Name: "m", Routes: []Route{{To: netip.MustParsePrefix("0.0.0.0/0"), Via: netip.MustParseAddr("10.1.0.1")}}}, "machine m: add route to 0.0.0.0/0 via 10.1.0.1: network is unreachable"},
		{Config{Name: "m", Hosts: map[string][]netip.Addr{"a b": nil}}, "not a name"},
	} {
		m, err := Start(t.Context(), c.config)
		if err == nil {
			m.Close(t.Context())
			t.Errorf("no error, want %q", c.want)
		} else if !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v, want %q", err, c.want)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if m, err := Start(ctx, Config{Name: "m"}); err == nil {
		m.Close(t.Context())
	} else if !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

func TestProbe(t *testing.T) {
	for _, c := range Probe() {
		t.Logf("%-24s %-5v %s", c.Name, c.OK, c.Detail)
	}
}

// TestBig has more to say than fits a packet.
func TestBig(t *testing.T) {
	testenv.NeedsUserNS(t)
	noLeak(t)
	hosts := map[string][]netip.Addr{}
	for i := range 20000 {
		hosts[fmt.Sprintf("node-%d", i)] = []netip.Addr{netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)})}
	}
	c := Config{Name: "m", Hosts: hosts}
	for i := range 50 {
		c.Interfaces = append(c.Interfaces, Interface{Name: fmt.Sprintf("eth%d", i)})
	}
	c.Interfaces[0].Addresses = prefixes("10.0.255.1/16")
	m := begin(t, c)
	wantIn(t, output(t, m, "getent", "ahostsv4", "node-19999"), "10.0.78.31")
	if n := strings.TrimSpace(output(t, m, "sh", "-c", "echo $# ${#1}", "x", strings.Repeat("y", 100<<10), strings.Repeat("z", 100<<10))); n != "2 102400" {
		t.Errorf("long arguments: %s", n)
	}
}

func TestFiles(t *testing.T) {
	if got := nsswitchFile("passwd: files systemd\n hosts: mymachines resolve files dns\nrpc: db files"); got != "passwd: files systemd\nrpc: db files\nhosts: files dns\n" {
		t.Errorf("%q", got)
	}
	if got := nsswitchFile(""); got != "hosts: files dns\n" {
		t.Errorf("%q", got)
	}
}

// TestForbidden asks for a machine where there must be none.
func TestForbidden(t *testing.T) {
	testenv.InNamespace(t, func(t *testing.T) {
		const file = "/proc/sys/user/max_user_namespaces"
		if err := os.WriteFile(file, []byte("0"), 0); err != nil {
			t.Skip(err)
		}
		m, err := Start(t.Context(), Config{Name: "m"})
		if err == nil {
			m.Close(t.Context())
			t.Fatal("no error")
		}
		const want = "machine m: user namespaces are switched off (user.max_user_namespaces=0): "
		if !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
		if c := Probe(); len(c) != 1 || c[0].OK {
			t.Errorf("%+v", c)
		}
	})
}
