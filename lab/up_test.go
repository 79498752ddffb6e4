//go:build linux

package lab

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/towpath/towpath/capture/savefile"
	"github.com/towpath/towpath/internal/testenv"
	"github.com/towpath/towpath/wire"
)

func TestMain(m *testing.M) {
	Init()
	os.Exit(m.Run())
}

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

// A trial is a lab under test.
type trial struct {
	*testing.T
	dir  string
	big  []byte // site/big
	spec *Spec
	out  buffer
}

// try reads a lab file, which lies in a directory of its own, and makes sure
// that the lab leaves neither goroutine, process nor descriptor behind.
func try(t *testing.T, file string) *trial {
	t.Helper()
	tr := &trial{T: t, dir: t.TempDir()}
	tr.fill()
	before := descriptors(t)
	t.Cleanup(func() {
		goleak.VerifyNone(t)
		if kids := children(); len(kids) > 0 {
			t.Errorf("processes left: %q", kids)
		}
		if after := descriptors(t); len(after) > len(before) {
			t.Errorf("descriptors left: %q, before there were %q", after, before)
		}
		if t.Failed() {
			t.Logf("output:\n%s", tr.out.String())
		}
	})
	spec, err := Parse(filepath.Join(tr.dir, "lab.yaml"), []byte(file))
	if err != nil {
		t.Fatal(err)
	}
	tr.spec = spec
	return tr
}

// fill makes a directory site with a small and a big file.
func (tr *trial) fill() {
	tr.big = make([]byte, 8<<20)
	rand.NewChaCha8([32]byte{1}).Read(tr.big)
	site := filepath.Join(tr.dir, "site")
	err := errors.Join(
		os.Mkdir(site, 0o755),
		os.WriteFile(filepath.Join(site, "hello.txt"), []byte("hello, world\n"), 0o644),
		os.WriteFile(filepath.Join(site, "big"), tr.big, 0o644))
	if err != nil {
		tr.Fatal(err)
	}
}

// gotBig makes sure that a file has the big one's bytes.
func (tr *trial) gotBig(name string) {
	tr.Helper()
	if b, err := os.ReadFile(filepath.Join(tr.dir, name)); err != nil || !bytes.Equal(b, tr.big) {
		tr.Errorf("%s: %v, or its %d bytes are not the same", name, err, len(b))
	}
}

// descriptors lists what this process has open, other than what the test itself
// may open meanwhile.
func descriptors(t *testing.T) (open []string) {
	const dir = "/proc/self/fd"
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil // not Linux
	}
	for _, e := range entries {
		if to, err := os.Readlink(filepath.Join(dir, e.Name())); err == nil && !strings.HasPrefix(to, "anon_inode:") {
			open = append(open, to)
		}
	}
	return open
}

// children lists the command lines of this process's children.
func children() (kids []string) {
	tasks, _ := filepath.Glob("/proc/self/task/*/children")
	for _, f := range tasks {
		b, _ := os.ReadFile(f)
		for _, pid := range strings.Fields(string(b)) {
			line, _ := os.ReadFile("/proc/" + pid + "/cmdline")
			kids = append(kids, strings.ReplaceAll(string(line), "\x00", " "))
		}
	}
	return kids
}

// up brings the lab up, runs it and takes it down.
func (tr *trial) up(captures string) (Summary, error) {
	tr.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	net, err := Up(ctx, tr.spec, Options{Output: &tr.out, CaptureDir: captures})
	if err != nil {
		return Summary{}, err
	}
	err = net.Run(ctx)
	if e := net.Close(ctx); e != nil {
		tr.Errorf("Close: %v", e)
	}
	if e := net.Close(ctx); e != nil {
		tr.Errorf("the second Close: %v", e)
	}
	return net.Summary(), err
}

// says makes sure that the output has the words.
func (tr *trial) says(words ...string) {
	tr.Helper()
	for _, w := range words {
		if !strings.Contains(tr.out.String(), w) {
			tr.Errorf("%q is not printed", w)
		}
	}
}

func needPrograms(t *testing.T, programs ...string) {
	t.Helper()
	testenv.NeedsUserNS(t)
	testenv.NeedsTool(t, programs...)
}

func TestHosts(t *testing.T) {
	tr := try(t, `
nodes:
  alice:
    addresses: {eth0: [10.1.0.2/24, "fd00:1::2/64"]}
    routes: [{to: default, via: 10.1.0.1}, {to: default, via: "fd00:1::1"}]
    run:
      - ping -c 2 -i 0.01 -s 1000 10.2.0.2
      - ping -c 1 fd00:2::2
      - get http://bob:8080/hello.txt
      - get -q http://10.2.0.2/big
  router: {forward: true, addresses: {eth0: [10.1.0.1/24, "fd00:1::1/64"], eth1: [10.2.0.1/24, "fd00:2::1/64"]}}
  bob:
    addresses: {eth0: [10.2.0.2/24, "fd00:2::2/64"]}
    routes: [{to: default, via: 10.2.0.1}, {to: default, via: "fd00:2::1"}]
    serve: [http site, {run: http site, port: 8080}, echo]
links:
  - {endpoints: ["alice:eth0", "router:eth0"]}
  - {endpoints: ["router:eth1", "bob:eth0"], mtu: 1400}
`)
	dir := filepath.Join(tr.dir, "captures")
	s, err := tr.up(dir)
	if err != nil {
		t.Error(err)
	}
	tr.says("1008 bytes from 10.2.0.2: icmp_seq=2 ttl=63", "bytes from fd00:2::2:", "alice  | hello, world",
		`"/hello.txt" 200, 13 bytes`, "HTTP/1.1 200 OK, 8388608 bytes")
	for i, l := range s.Links {
		if l.Packets[0] == 0 || l.Packets[1] == 0 || l.Capture.Written < l.Packets[0]+l.Packets[1] || l.Capture.Dropped > 0 {
			t.Errorf("link %v: %+v", l.Link, l)
		}
		checkCapture(t, l.File, 1500-100*i)
		checkDirections(t, l)
	}
	if len(s.Results) != 4 || s.Nodes[1].Forwarded == 0 {
		t.Errorf("summary: %+v", s)
	}
}

// checkCapture makes sure that a link's packets are what a wire would carry.
func checkCapture(t *testing.T, name string, mtu int) {
	t.Helper()
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var r interface {
		Next() (savefile.Packet, error)
	}
	if r, err = savefile.NewPcapngReader(f); strings.HasSuffix(name, ".pcap") {
		f.Seek(0, io.SeekStart)
		r, err = savefile.NewReader(f)
	}
	if err != nil {
		t.Fatal(err)
	}
	for n := 1; ; n++ {
		p, err := r.Next()
		if err == io.EOF {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		if len(p.Data) != p.Length || p.Length > mtu+wire.EthernetLen {
			t.Errorf("%s: packet %d has %d bytes", name, n, p.Length)
		}
		if text := wire.Format(p.Data, wire.LinkEthernet); strings.Contains(text, "bad") || !checksumOK(p.Data) {
			t.Errorf("%s: packet %d: %s", name, n, text)
		}
	}
}

// checkDirections makes sure that a capture has the interface's name, both
// directions and the counters.
func checkDirections(t *testing.T, l LinkSummary) {
	t.Helper()
	f, err := os.Open(l.File)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	r, err := savefile.NewPcapngReader(f)
	if err != nil {
		t.Fatal(err)
	}
	var n [3]uint64
	for {
		p, err := r.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		n[p.Direction]++
	}
	const early = 4 // packets that a host sends as soon as it has an adapter
	if n[savefile.DirectionUnknown] > 0 || n[savefile.DirectionOut]+early < l.Packets[0] || n[savefile.DirectionIn]+early < l.Packets[1] {
		t.Errorf("%s: %d packets of unknown direction, %d in, %d out; %v passed", l.File, n[0], n[1], n[2], l.Packets)
	}
	all := r.Interfaces()
	if len(all) != 1 || all[0].Name != l.Link.Ends[0].String() || !all[0].Counted || all[0].Received != n[1]+n[2] || all[0].Dropped != 0 {
		t.Errorf("%s: interfaces are %+v", l.File, all)
	}
}

// checksumOK verifies the transport checksum of a TCP frame.
func checksumOK(b []byte) bool {
	b = wire.Ethernet(b).Payload()
	ip := wire.IPv4(b)
	if !ip.Valid(len(b)) || ip.Proto() != wire.ProtoTCP {
		return true
	}
	return wire.Fold(wire.Sum(ip.Payload(), wire.PseudoSum(ip.Src(), ip.Dst(), ip.Proto(), ip.PayloadLen()))) == 0xffff
}

// everything is a lab of both kinds of nodes on all kinds of links.
const everything = `
nodes:
  desk:
    addresses: {eth0: 10.1.0.2/24}
    routes: [{to: default, via: 10.1.0.1}]
    run: ["ping -c 2 -i 0.05 wiki", "get -q http://wiki:8000/big", "get http://wiki:8000/hello.txt"]
  laptop:
    kind: machine
    addresses: {eth0: [10.2.0.2/24, "fd00:2::2/64"]}
    routes: [{to: default, via: 10.2.0.1}, {to: default, via: "fd00:2::1"}]
    run:
      - ping -n -c 2 -i 0.2 intranet
      - curl -4 -fsS --max-time 20 -o got4 http://intranet/big
      - curl -6 -fsS --max-time 20 -o got6 http://intranet/big
      - curl -fsS --max-time 20 http://wiki:8000/hello.txt
      - sh -c 'test "$(hostname)" = laptop && echo "quoted  words"'
  router:
    forward: true
    addresses: {eth0: 10.1.0.1/24, eth1: [10.2.0.1/24, "fd00:2::1/64"], eth2: [10.3.0.1/24, "fd00:3::1/64"], eth3: 10.4.0.1/24}
    routes: [{to: 10.5.0.0/24, via: 10.4.0.2}]
  intranet:
    addresses: {eth0: [10.3.0.2/24, "fd00:3::2/64"]}
    routes: [{to: default, via: 10.3.0.1}, {to: default, via: "fd00:3::1"}]
    serve: [http site]
  gateway:
    kind: machine
    forward: true
    addresses: {eth0: 10.4.0.2/24, eth1: 10.5.0.1/24}
    routes: [{to: default, via: 10.4.0.1}]
  wiki:
    kind: machine
    addresses: {eth0: 10.5.0.2/24}
    routes: [{to: default, via: 10.5.0.1}]
    serve: [{run: python3 -m http.server --directory site 8000, port: 8000}]
links:
  - {endpoints: ["desk:eth0", "router:eth0"]}
  - {endpoints: ["laptop:eth0", "router:eth1"]}
  - {endpoints: ["router:eth2", "intranet:eth0"]}
  - {endpoints: ["gateway:eth0", "router:eth3"]}
  - {endpoints: ["gateway:eth1", "wiki:eth0"]}
`

func TestMachines(t *testing.T) {
	needPrograms(t, "ping", "curl", "python3")
	tr := try(t, everything)
	s, err := tr.up(filepath.Join(tr.dir, "captures"))
	if err != nil {
		t.Error(err)
	}
	tr.says("icmp_seq=2 ttl=62", "icmp_seq=2 ttl=63", "desk     | hello, world", "laptop   | hello, world",
		"laptop   | quoted  words", "HTTP/1.0 200 OK, 8388608 bytes")
	tr.gotBig("got4")
	tr.gotBig("got6")
	for _, l := range s.Links {
		if l.Packets[0] == 0 || l.Packets[1] == 0 || l.Capture.Written == 0 || l.Capture.Dropped > 0 {
			t.Errorf("link %v: %+v", l.Link, l)
		}
		checkCapture(t, l.File, 1500)
	}
}

// TestOrdinaryUser runs TestMachines again without root's privileges.
func TestOrdinaryUser(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("this is not root, so TestMachines has shown it")
	}
	needPrograms(t, "ping", "curl", "/usr/bin/python3")
	dir := t.TempDir()
	for d := dir; d != os.TempDir() && d != "/"; d = filepath.Dir(d) {
		if err := os.Chmod(d, 0o777); err != nil {
			t.Fatal(err)
		}
	}
	self, err := os.ReadFile("/proc/self/exe")
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "lab.test"), self, 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
	c := exec.Command(filepath.Join(dir, "lab.test"), "-test.run", "^TestMachines$", "-test.v")
	c.Dir = dir
	c.Env = []string{"PATH=/usr/bin:/bin:/usr/sbin:/sbin", "HOME=/", "TMPDIR=" + dir}
	const nobody = 65534
	c.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	out, err := c.CombinedOutput()
	if reason, skipped := strings.CutPrefix(firstWith(string(out), "SKIP"), "--- SKIP"); skipped {
		t.Skipf("an ordinary user cannot: %s\n%s", reason, out)
	}
	if err != nil || !strings.Contains(string(out), "--- PASS: TestMachines") {
		t.Errorf("%v\n%s", err, out)
	}
}

func firstWith(text, word string) string {
	for line := range strings.Lines(text) {
		if strings.Contains(line, word) {
			return line
		}
	}
	return ""
}

// pair is a lab of two hosts, with more keys for each.
func pair(a, b string) string {
	for _, more := range []*string{&a, &b} {
		if *more != "" {
			*more = ", " + *more
		}
	}
	return fmt.Sprintf(`
nodes:
  a: {addresses: {eth0: 10.0.0.1/24}%s}
  b: {addresses: {eth0: 10.0.0.2/24}%s}
links:
  - {endpoints: ["a:eth0", "b:eth0"]}
`, a, b)
}

// TestFailingCommand: the rest of the list is left, other nodes go on, and the
// error says who failed and why.
func TestFailingCommand(t *testing.T) {
	tr := try(t, pair(`run: ["get http://b/", "ping -c 1 b"]`, `run: ["sleep 0.05", "ping -c 1 a"]`))
	s, err := tr.up("")
	if err == nil || !strings.HasPrefix(err.Error(), "a: get http://b/: ") || !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("error is %v", err)
	}
	if len(s.Results) != 3 {
		t.Errorf("%d commands were run: %+v", len(s.Results), s.Results)
	}
	if !strings.Contains(tr.out.String(), "a | failed: ") {
		t.Error("the failure is not printed")
	}
}

func TestFailingProgram(t *testing.T) {
	needPrograms(t, "sh")
	tr := try(t, pair(`kind: machine, run: ["sh -c 'echo going; exit 3'"]`, ``))
	if _, err := tr.up(""); err == nil || err.Error() != "a: sh -c 'echo going; exit 3': exit status 3" {
		t.Errorf("error is %v", err)
	}
	tr.says("a | going", "a | failed: exit status 3")
}

// TestServiceEnds: a service that ends by itself ends the lab.
func TestServiceEnds(t *testing.T) {
	needPrograms(t, "sh", "sleep")
	tr := try(t, pair(`kind: machine, serve: ["sh -c 'sleep 0.2; exit 5'"]`, `run: ["sleep 30"]`))
	_, err := tr.up("")
	if err == nil || !strings.HasSuffix(err.Error(), "lab.yaml:3: service \"sh -c 'sleep 0.2; exit 5'\" on a: exit status 5") {
		t.Errorf("error is %v", err)
	}
}

// TestNothingHalfStarted: what fails in the middle takes everything down.
func TestNothingHalfStarted(t *testing.T) {
	t.Run("port taken", func(t *testing.T) {
		tr := try(t, pair(`serve: [echo]`, `serve: [echo, echo]`))
		if _, err := tr.up(""); err == nil || !strings.Contains(err.Error(), `lab.yaml:4: service "echo" on b: listen tcp`) || !errors.Is(err, syscall.EADDRINUSE) {
			t.Errorf("error is %v", err)
		}
	})
	t.Run("captures", func(t *testing.T) {
		tr := try(t, pair(`serve: [echo]`, ``))
		if _, err := tr.up(filepath.Join(tr.dir, "site", "hello.txt")); !errors.Is(err, syscall.ENOTDIR) {
			t.Errorf("error is %v", err)
		}
	})
	t.Run("service dies before it listens", func(t *testing.T) {
		needPrograms(t, "sh")
		tr := try(t, pair(`kind: machine, serve: [{run: "sh -c 'echo cannot; exit 1'", port: 80}]`, `serve: [echo]`))
		if _, err := tr.up(""); err == nil || !strings.HasSuffix(err.Error(), "on a: it ended (exit status 1) before it was ready; its last lines:\n    cannot") {
			t.Errorf("error is %v", err)
		}
		tr.says("a | cannot")
	})
	t.Run("interrupted", func(t *testing.T) {
		needPrograms(t, "sleep")
		tr := try(t, pair(`kind: machine, serve: [{run: sleep 60, port: 80}]`, `serve: [echo]`))
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		defer cancel()
		if _, err := Up(ctx, tr.spec, Options{Output: &tr.out}); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("error is %v", err)
		}
	})
}

// TestInterrupt ends a lab from outside: programs are told to end, and those
// that do not want to are killed.
func TestInterrupt(t *testing.T) {
	needPrograms(t, "sh", "sleep")
	tr := try(t, pair(`kind: machine, serve: ["sleep 1000"], run: ["sh -c 'trap \"echo told; exit 0\" TERM; echo begun; while :; do sleep 0.05; done'"]`, `run: ["sleep 1000"]`))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	net, err := Up(ctx, tr.spec, Options{Output: &tr.out})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error)
	go func() { done <- net.Run(ctx) }()
	for !strings.Contains(tr.out.String(), "begun\n") && t.Context().Err() == nil {
		time.Sleep(10 * time.Millisecond)
	}
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("Run returned %v", err)
	}
	if err := net.Close(t.Context()); err != nil {
		t.Error(err)
	}
	tr.says("a | told")
}

// TestCloseDuringRun: Close alone ends everything too.
func TestCloseDuringRun(t *testing.T) {
	tr := try(t, pair(`run: ["sleep 1000"]`, `run: ["ping -c 0 -i 0.01 a"]`))
	net, err := Up(t.Context(), tr.spec, Options{Output: &tr.out})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error)
	go func() { done <- net.Run(t.Context()) }()
	time.Sleep(20 * time.Millisecond)
	if err := net.Close(t.Context()); err != nil {
		t.Error(err)
	}
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("Run returned %v", err)
	}
}
