//go:build linux && (amd64 || arm64)

package run

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/towpath/towpath/host"
	"github.com/towpath/towpath/internal/testenv"
	"github.com/towpath/towpath/ip/ifaddr"
	"github.com/towpath/towpath/link/cable"
)

// goProgram makes the test binary a program in Go that serves and asks itself.
const goProgram = "TOWPATH_TEST_GO"

// probeInside makes it say what Probe does.
const probeInside = "TOWPATH_TEST_PROBE"

func TestMain(m *testing.M) {
	Init()
	if os.Getenv(probeInside) != "" {
		fmt.Println(Probe())
		os.Exit(0)
	}
	if os.Getenv(goInterfaces) != "" {
		printInterfaces()
		os.Exit(0)
	}
	if os.Getenv(goProgram) != "" {
		if err := serveAndGet(); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// goInterfaces makes it print the interfaces that package net sees.
const goInterfaces = "TOWPATH_TEST_INTERFACES"

func printInterfaces() {
	list, err := net.Interfaces()
	if err != nil {
		fmt.Println(err)
	}
	for _, i := range list {
		addrs, err := i.Addrs()
		fmt.Println(i.Index, i.Name, i.MTU, i.Flags, addrs, err)
	}
}

func serveAndGet() error {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	go http.Serve(l, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, r.RemoteAddr) }))
	var wg sync.WaitGroup
	errs := make(chan error, 50)
	for range 50 {
		wg.Go(func() {
			resp, err := http.Get("http://" + l.Addr().String() + "/")
			if err != nil {
				errs <- err
				return
			}
			defer resp.Body.Close()
			if b, err := io.ReadAll(resp.Body); err != nil || !strings.HasPrefix(string(b), "127.0.0.1:") {
				errs <- fmt.Errorf("got %q, %v", b, err)
			}
		})
	}
	wg.Wait()
	close(errs)
	return <-errs
}

// needsRun skips the test where programs cannot be run on hosts.
func needsRun(t *testing.T) {
	t.Helper()
	if err := Probe(); err != nil {
		t.Skipf("programs cannot be run on hosts: %v", err)
	}
}

func newHost(t *testing.T, name string) *host.Host {
	t.Helper()
	h := host.New(host.Config{Name: name})
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := h.Close(ctx); err != nil {
			t.Error(err)
		}
	})
	return h
}

// programMax bounds a program, which would hang otherwise.
const programMax = 60 * time.Second

// output runs a program and returns what it prints.
func output(t *testing.T, h *host.Host, args ...string) string {
	t.Helper()
	var out bytes.Buffer
	p, err := Start(h, Cmd{Args: args, Stdout: &out, Stderr: &out})
	if err != nil {
		t.Fatal(err)
	}
	timer := time.AfterFunc(programMax, p.Kill)
	defer timer.Stop()
	if err := p.Wait(); err != nil {
		t.Fatalf("%v: %v\n%s", args, err, out.String())
	}
	return out.String()
}

// TestSockets: a program in C that prints what its socket calls return prints
// the same on this system's loopback and on a host's.
func TestSockets(t *testing.T) {
	needsRun(t)
	testenv.NeedsTool(t, "gcc")
	prog := filepath.Join(t.TempDir(), "sockets")
	if out, err := exec.Command("gcc", "-O1", "-o", prog, "testdata/sockets.c", "-lpthread").CombinedOutput(); err != nil {
		t.Skipf("gcc cannot build testdata/sockets.c: %v\n%s", err, out)
	}
	for _, part := range []string{"streams", "errors", "nonblocking", "resets", "options", "signals", "many", "datagrams"} {
		t.Run(part, func(t *testing.T) {
			want, err := exec.Command(prog, part).CombinedOutput()
			if err != nil {
				t.Fatal(err)
			}
			got := output(t, newHost(t, "h"), prog, part)
			w, g := strings.Split(string(want), "\n"), strings.Split(got, "\n")
			for i := range max(len(w), len(g)) {
				var a, b string
				if i < len(w) {
					a = w[i]
				}
				if i < len(g) {
					b = g[i]
				}
				if a != b {
					t.Errorf("line %d: on Linux %q, on a host %q", i+1, a, b)
				}
			}
		})
	}
}

// network is two hosts on a cable, of which the second is named web.
func network(t *testing.T) (client, server *host.Host) {
	t.Helper()
	a, b := newHost(t, "client"), newHost(t, "web")
	ca, cb := cable.New(cable.Config{})
	if _, err := a.AddAdapter("eth0", ca); err != nil {
		t.Fatal(err)
	}
	if _, err := b.AddAdapter("eth0", cb); err != nil {
		t.Fatal(err)
	}
	for _, h := range []struct {
		*host.Host
		addr string
	}{{a, "10.0.0.1/24"}, {b, "10.0.0.2/24"}} {
		if err := h.AddAddress("eth0", netip.MustParsePrefix(h.addr)); err != nil {
			t.Fatal(err)
		}
		if err := h.AddName("web.test", netip.MustParseAddr("10.0.0.2")); err != nil {
			t.Fatal(err)
		}
	}
	return a, b
}

// serveBytes serves a body on port 80 of a host.
func serveBytes(t *testing.T, h *host.Host, body []byte) {
	t.Helper()
	l, err := h.Listen("tcp", ":80")
	if err != nil {
		t.Fatal(err)
	}
	go http.Serve(l, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.Write(body) }))
	t.Cleanup(func() { l.Close() })
}

// TestCurl: over a network, by address and by a name that the host knows.
func TestCurl(t *testing.T) {
	needsRun(t)
	testenv.NeedsTool(t, "curl")
	a, b := network(t)
	body := bytes.Repeat([]byte("0123456789abcdef"), 1<<18)
	serveBytes(t, b, body)
	for _, url := range []string{"http://10.0.0.2/", "http://web.test/"} {
		if got := output(t, a, "curl", "-sS", "--noproxy", "*", url); got != string(body) {
			t.Errorf("%s: %d bytes, want %d", url, len(got), len(body))
		}
	}
	var out bytes.Buffer
	p, err := Start(a, Cmd{Args: []string{"curl", "-sS", "--noproxy", "*", "http://10.0.0.2:81/"}, Stderr: &out})
	if err != nil {
		t.Fatal(err)
	}
	var exit *ExitError
	if err := p.Wait(); !errors.As(err, &exit) || exit.Code != 7 { // CURLE_COULDNT_CONNECT
		t.Errorf("a port nobody listens on: %v, %s", err, out.String())
	}
}

// TestPythonServer: a server among the programs, a client in this process.
func TestPythonServer(t *testing.T) {
	needsRun(t)
	testenv.NeedsTool(t, "python3")
	a, b := network(t)
	p, err := Start(b, Cmd{
		Args: []string{"python3", "-m", "http.server", "8000"}, Dir: "testdata", OwnGroup: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	client := http.Client{Transport: &http.Transport{DialContext: a.DialContext, DisableKeepAlives: true}}
	var resp *http.Response
	for deadline := time.Now().Add(programMax); ; time.Sleep(20 * time.Millisecond) {
		if resp, err = client.Get("http://10.0.0.2:8000/sockets.c"); err == nil || time.Now().After(deadline) {
			break
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(resp.Body)
	resp.Body.Close()
	want, _ := os.ReadFile("testdata/sockets.c")
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("got %d bytes, want %d: %v", len(got), len(want), err)
	}
	p.Signal(syscall.SIGTERM)
	var exit *ExitError
	if err := p.Wait(); !errors.As(err, &exit) || exit.Signal != syscall.SIGTERM {
		t.Errorf("the end: %v", err)
	}
}

// TestGo: a program in Go, with its own poller and system calls.
func TestGo(t *testing.T) {
	needsRun(t)
	t.Setenv(goProgram, "1")
	output(t, newHost(t, "h"), testBinary(t))
}

// TestAsyncio: Python's event loop, with streams and datagrams.
func TestAsyncio(t *testing.T) {
	needsRun(t)
	testenv.NeedsTool(t, "python3")
	got := output(t, newHost(t, "h"), "python3", "-c", `
import asyncio
async def handle(r, w):
    w.write(await r.readexactly(100000)); await w.drain(); w.close()
class Echo(asyncio.DatagramProtocol):
    def connection_made(self, t): self.t = t
    def datagram_received(self, d, a): self.t.sendto(d, a)
class Ask(asyncio.DatagramProtocol):
    def __init__(self): self.f = asyncio.get_running_loop().create_future()
    def connection_made(self, t): t.sendto(b"question")
    def datagram_received(self, d, a): self.f.set_result(d)
async def main():
    loop = asyncio.get_running_loop()
    s = await asyncio.start_server(handle, "127.0.0.1", 7000)
    async def ask(i):
        r, w = await asyncio.open_connection("127.0.0.1", 7000)
        w.write(bytes([i]) * 100000)
        b = await r.read(-1); w.close()
        return b == bytes([i]) * 100000
    print(all(await asyncio.gather(*[ask(i) for i in range(30)])))
    await loop.create_datagram_endpoint(Echo, ("127.0.0.1", 7001))
    t, p = await loop.create_datagram_endpoint(Ask, remote_addr=("127.0.0.1", 7001))
    print(await asyncio.wait_for(p.f, 10))
    try: await asyncio.open_connection("127.0.0.1", 7002)
    except ConnectionRefusedError as e: print("refused")
asyncio.run(main())`)
	if got != "True\nb'question'\nrefused\n" {
		t.Error(got)
	}
}

// TestPing: echo requests through sockets for them, and through raw ones.
func TestPing(t *testing.T) {
	needsRun(t)
	a, _ := network(t)
	t.Run("ping", func(t *testing.T) {
		testenv.NeedsTool(t, "ping")
		if got := output(t, a, "ping", "-c1", "-W5", "10.0.0.2"); !strings.Contains(got, "1 received, 0% packet loss") {
			t.Error(got)
		}
	})
	t.Run("raw", func(t *testing.T) {
		testenv.NeedsTool(t, "python3")
		got := output(t, a, "python3", "-c", `
import socket, struct
def sum16(b):
    s = sum(struct.unpack("!%dH" % (len(b) // 2), b))
    return ~((s & 0xffff) + (s >> 16)) & 0xffff
b = struct.pack("!BBHHH", 8, 0, 0, 7, 1) + b"12345678"
b = b[:2] + struct.pack("!H", sum16(b)) + b[4:]
s = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
s.settimeout(10)
s.sendto(b, ("10.0.0.2", 0))
r, a = s.recvfrom(100)
print(a, len(r), r[9], r[20], r[28:])
s.connect(("10.0.0.2", 0))
s.send(b)
r = s.recv(100)
print(len(r), r[20])
e = socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6)
print(e.getsockname())`)
		want := "('10.0.0.2', 0) 36 1 0 b'12345678'\n36 0\n('::', 58, 0, 0)\n"
		if got != want {
			t.Errorf("%q, want %q", got, want)
		}
	})
}

// TestKill: programs that wait in calls of ours end when they are to.
func TestKill(t *testing.T) {
	needsRun(t)
	testenv.NeedsTool(t, "python3")
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	p, err := Start(newHost(t, "h"), Cmd{Args: []string{"python3", "-c", `
import socket
s = socket.create_server(("127.0.0.1", 9))
print("listening", flush=True)
s.accept()`}, Stdout: w})
	w.Close()
	if err != nil {
		t.Fatal(err)
	}
	io.ReadFull(r, make([]byte, len("listening")))
	p.Kill()
	var exit *ExitError
	if err := p.Wait(); !errors.As(err, &exit) || exit.Signal != syscall.SIGKILL {
		t.Error(err)
	}
}

// TestInterfaces: programs see the host's adapters, not the system's, and what
// they change is the host's. The names are none that a system has.
func TestInterfaces(t *testing.T) {
	needsRun(t)
	a, b := newHost(t, "a"), newHost(t, "b")
	ca, cb := cable.New(cable.Config{MTU: 1400})
	if _, err := a.AddAdapter("twp0", ca); err != nil {
		t.Fatal(err)
	}
	if _, err := b.AddAdapter("twp0", cb); err != nil {
		t.Fatal(err)
	}
	if err := a.AddAddress("twp0", netip.MustParsePrefix("10.0.0.1/24")); err != nil {
		t.Fatal(err)
	}
	t.Run("go", func(t *testing.T) {
		t.Setenv(goInterfaces, "1")
		got := output(t, a, testBinary(t))
		for _, want := range []string{"1 lo 65535 up|loopback|running [127.0.0.1/8 ::1/128]", "2 twp0 1400 up|broadcast|multicast|running [", "10.0.0.1/24"} {
			if !strings.Contains(got, want) {
				t.Errorf("%q is not in %q", want, got)
			}
		}
	})
	t.Run("python", func(t *testing.T) {
		testenv.NeedsTool(t, "python3")
		got := output(t, a, "python3", "-c", `
import socket, fcntl, struct
print(socket.if_nameindex(), socket.if_nametoindex("twp0"), socket.if_indextoname(2))
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
r = fcntl.ioctl(s, 0x8915, struct.pack("40s", b"twp0")) # SIOCGIFADDR
print(socket.inet_ntoa(r[20:24]))
try: fcntl.ioctl(s, 0x8915, struct.pack("40s", b"twp9"))
except OSError as e: print(e.errno)
n = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)
n.settimeout(0.05)
try: n.recv(10)
except TimeoutError: print("nothing")
n.bind((0, 0))
print(n.getsockname()[0] != 0, n.recv(1, socket.MSG_DONTWAIT) if n.send(b"") else "empty")`)
		if want := "[(1, 'lo'), (2, 'twp0')] 2 twp0\n10.0.0.1\n19\nnothing\nTrue empty\n"; got != want {
			t.Errorf("%q, want %q", got, want)
		}
	})
	t.Run("ip", func(t *testing.T) {
		testenv.NeedsTool(t, "ip")
		cases := []struct{ args, want string }{
			{"-o -4 addr show dev twp0", "inet 10.0.0.1/24 brd 10.0.0.255 scope global twp0"},
			{"-o link show dev twp0", "2: twp0: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1400 qdisc noqueue state UP"},
			{"addr add 10.0.1.1/24 dev twp0", ""},
			{"-o -4 addr show dev twp0", "inet 10.0.1.1/24"},
			{"route add 10.9.0.0/16 via 10.0.1.2 dev twp0 metric 7", ""},
			{"route", "10.9.0.0/16 via 10.0.1.2 dev twp0 proto static metric 7"},
			{"route get 10.9.1.1", "10.9.1.1 via 10.0.1.2 dev twp0 src 10.0.1.1"},
			{"route get 10.0.0.1", "local 10.0.0.1 dev lo src 10.0.0.1"},
			{"rule add from 10.0.1.0/24 iif twp0 table 100", ""},
			{"rule", "32765:\tfrom 10.0.1.0/24 iif twp0 lookup 100"},
			{"route add default via 10.0.1.3 dev twp0 table 100", ""},
			{"route show table 100", "default via 10.0.1.3 dev twp0"},
			{"rule del from 10.0.1.0/24 iif twp0", ""},
			{"route del 10.9.0.0/16 dev twp0", ""},
			{"addr del 10.0.1.1/24 dev twp0", ""},
			{"link set twp0 down", ""},
			{"-o link show dev twp0", "2: twp0: <BROADCAST,MULTICAST> mtu 1400 qdisc noqueue state DOWN"},
			{"link set twp0 up", ""},
		}
		var script string
		for _, c := range cases {
			script += "ip " + c.args + " || exit 1; echo ----\n"
		}
		got := strings.Split(output(t, a, "sh", "-c", script), "----\n")
		for i, c := range cases {
			if !strings.Contains(got[i], c.want) {
				t.Errorf("ip %s: %q, want %q", c.args, got[i], c.want)
			}
		}
		if got := a.Addresses().All(); slices.ContainsFunc(got, func(x ifaddr.Addr) bool { return x.Prefix.Addr() == netip.MustParseAddr("10.0.1.1") }) {
			t.Errorf("the address was not removed: %v", got)
		}
	})
}

// TestNested: a program that is run cannot run programs.
func TestNested(t *testing.T) {
	needsRun(t)
	t.Setenv(probeInside, "1")
	got := output(t, newHost(t, "h"), testBinary(t))
	if !strings.HasPrefix(got, "another process answers this one's system calls already: towpath run does not work inside towpath run") || strings.Count(got, "\n") != 1 {
		t.Errorf("%q", got)
	}
}

// testBinary is this test's program.
func testBinary(t *testing.T) string {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return exe
}

// ordinary is nobody's number.
const ordinary = 65534

// TestOrdinaryUser: root is not needed for any of the other tests.
func TestOrdinaryUser(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("the tests are run by an ordinary user already")
	}
	needsRun(t)
	dir, err := os.MkdirTemp("/tmp", "towpath-run")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile("testdata/sockets.c")
	if err == nil {
		err = os.Mkdir(filepath.Join(dir, "testdata"), 0o755)
	}
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "testdata/sockets.c"), data, 0o644)
	}
	exe := filepath.Join(dir, "run.test")
	if err == nil {
		err = exec.Command("cp", testBinary(t), exe).Run()
	}
	if err == nil {
		err = os.Chmod(exe, 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe, "-test.v", "-test.count=1")
	cmd.Dir = dir
	// Root's PATH may lead to what only root may see.
	cmd.Env = []string{"HOME=" + dir, "TMPDIR=" + dir, "PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"}
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Credential: &syscall.Credential{Uid: ordinary, Gid: ordinary}, Setpgid: true,
	}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	for line := range strings.Lines(string(out)) {
		if strings.Contains(line, "SKIP") {
			t.Log(strings.TrimSpace(line))
		}
	}
}

// TestHidden: a process that does not let itself be looked into does not hang.
func TestHidden(t *testing.T) {
	needsRun(t)
	testenv.NeedsTool(t, "python3")
	if os.Geteuid() == 0 {
		t.Skip("root may look into every process")
	}
	var told []string
	p, err := Start(newHost(t, "h"), Cmd{Args: []string{"python3", "-c", `
import ctypes, socket
s = socket.socket()
ctypes.CDLL(None).prctl(4, 0, 0, 0, 0) # PR_SET_DUMPABLE
a, b = socket.socketpair()
a.sendmsg([b"x"]); b.recvmsg(1)
for i in range(2):
    try: s.bind(("127.0.0.1", 0))
    except OSError: continue
    exit(1)`}, Stderr: os.Stderr, Warn: func(text string) { told = append(told, text) }})
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Wait(); err != nil || len(told) != 1 || !strings.Contains(told[0], "does not let itself be looked into") {
		t.Errorf("%v, told %q", err, told)
	}
}

// TestRefuse: programs that would be served by halves are not started.
func TestRefuse(t *testing.T) {
	dir := t.TempDir()
	h := newHost(t, "h")
	elf := "\x7fELF\x01\x01\x01" + strings.Repeat("\x00", 11) + "\x03\x00"
	for _, c := range []struct {
		name, data string
		mode       os.FileMode
		want       string
	}{
		{"old", elf, 0o755, "it is a 32-bit program"},
		{"other", strings.Replace(elf, "\x01", "\x02", 1), 0o755, "it is a program for another machine (ELF type 3)"},
		{"empty", "", 0o755, "it cannot be read: EOF"},
		{"setgid", "x", 0o755 | os.ModeSetgid, "it is a setgid program"},
		{"setuid", "x", 0o755 | os.ModeSetuid, "it is a setuid program"},
	} {
		path := filepath.Join(dir, c.name)
		if err := os.WriteFile(path, []byte(c.data), 0o600); err != nil {
			t.Fatal(err)
		}
		if c.mode&(os.ModeSetuid|os.ModeSetgid) != 0 {
			if err := os.Chown(path, ordinary, ordinary); err != nil || os.Geteuid() == ordinary {
				t.Logf("%s: needs root", c.name)
				continue
			}
		}
		if err := os.Chmod(path, c.mode); err != nil {
			t.Fatal(err)
		}
		p, err := Start(h, Cmd{Args: []string{path}})
		if err == nil {
			p.Wait()
		}
		if err == nil || !strings.HasPrefix(err.Error(), c.want) {
			t.Errorf("%s: %v, want %s", c.name, err, c.want)
		}
	}
}

func TestNoProgram(t *testing.T) {
	h := newHost(t, "h")
	for _, args := range [][]string{nil, {""}, {"no-such-program-here"}, {"./testdata"}, {"./testdata/nothing"}} {
		if _, err := Start(h, Cmd{Args: args}); err == nil {
			t.Errorf("%q was started", args)
		}
	}
}
