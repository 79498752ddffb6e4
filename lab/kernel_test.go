//go:build linux

package lab

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/towpath/towpath/lab/machine"
	"github.com/towpath/towpath/link/netem"
)

var streamBytes = flag.Int64("soak.bytes", 32<<20, "bytes that TestKernelStreams sends each way")

// The test binary is also the program that runs on the machine.
const peerEnv = "TOWPATH_TEST_STREAM_PEER"

func init() {
	if os.Getenv(peerEnv) != "" {
		if err := streamPeer(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
}

// streamPeer accepts connections on port 7000. A connection begins with a
// length; then that many bytes of noise go each way at the same time, and the
// peer ends with the hash of what it has received.
func streamPeer() error {
	l, err := net.Listen("tcp", ":7000")
	if err != nil {
		return err
	}
	for {
		c, err := l.Accept()
		if err != nil {
			return err
		}
		go func() {
			defer c.Close()
			var head [8]byte
			if _, err := io.ReadFull(c, head[:]); err != nil {
				return
			}
			n := int64(binary.BigEndian.Uint64(head[:]))
			sum := make(chan []byte, 1)
			go func() {
				h := sha256.New()
				io.CopyN(h, c, n)
				sum <- h.Sum(nil)
			}()
			if _, err := io.CopyN(c, streamNoise(2), n); err == nil {
				c.Write(<-sum)
			}
		}()
	}
}

// streamNoise is a deterministic stream of bytes.
func streamNoise(seed byte) io.Reader { return rand.NewChaCha8([32]byte{seed}) }

// kernelLine is a lab with a host, some routers in a row and a machine.
func kernelLine(routers int) string {
	var b strings.Builder
	fmt.Fprintf(&b, "nodes:\n  alice: {addresses: {eth0: [10.0.0.1/24, \"fd00::1/64\"]}, routes: [")
	if routers > 0 {
		fmt.Fprint(&b, `{to: default, via: 10.0.0.2}, {to: default, via: "fd00::2"}`)
	}
	fmt.Fprint(&b, "]}\n")
	for i := range routers {
		fmt.Fprintf(&b, "  r%d:\n    forward: true\n    addresses: {eth0: [10.0.%d.2/24, \"fd00:0:0:%d::2/64\"], eth1: [10.0.%d.1/24, \"fd00:0:0:%d::1/64\"]}\n    routes: [", i, i, i, i+1, i+1)
		var routes []string
		if i > 0 {
			routes = append(routes, fmt.Sprintf(`{to: 10.0.0.0/24, via: 10.0.%d.1}, {to: "fd00::/64", via: "fd00:0:0:%d::1"}`, i, i))
		}
		if i < routers-1 {
			routes = append(routes, fmt.Sprintf(`{to: default, via: 10.0.%d.2}, {to: default, via: "fd00:0:0:%d::2"}`, i+1, i+1))
		}
		fmt.Fprintf(&b, "%s]\n", strings.Join(routes, ", "))
	}
	fmt.Fprintf(&b, "  web:\n    kind: machine\n    addresses: {eth0: [10.0.%d.2/24, \"fd00:0:0:%d::2/64\"]}\n    routes: [", routers, routers)
	if routers > 0 {
		fmt.Fprintf(&b, `{to: default, via: 10.0.%d.1}, {to: default, via: "fd00:0:0:%d::1"}`, routers, routers)
	}
	fmt.Fprint(&b, "]\nlinks:\n")
	left := "alice:eth0"
	for i := range routers {
		fmt.Fprintf(&b, "  - {endpoints: [\"%s\", \"r%d:eth0\"]}\n", left, i)
		left = fmt.Sprintf("r%d:eth1", i)
	}
	fmt.Fprintf(&b, "  - {endpoints: [\"%s\", \"web:eth0\"]}\n", left)
	return b.String()
}

// withKernel brings a kernelLine up, with the peer running on the machine.
func withKernel(t *testing.T, routers int, f func(ctx context.Context, n *Net, v4, v6 string)) {
	needPrograms(t)
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	tr := try(t, kernelLine(routers))
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	n, err := Up(ctx, tr.spec, Options{Output: &tr.out})
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close(ctx)
	p, err := n.Machine("web").Exec(ctx, machine.Cmd{Args: []string{exe}, Env: append(os.Environ(), peerEnv+"=1"), Stdout: &tr.out, Stderr: &tr.out})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Wait()
	defer p.Signal(os.Kill)
	f(ctx, n, fmt.Sprintf("10.0.%d.2:7000", routers), fmt.Sprintf("[fd00:0:0:%d::2]:7000", routers))
}

// TestKernelStreams sends noise between a host and the kernel, both ways at
// once, directly and through one and three routers, and compares every byte.
func TestKernelStreams(t *testing.T) {
	for _, routers := range []int{0, 1, 3} {
		t.Run(fmt.Sprintf("routers=%d", routers), func(t *testing.T) {
			withKernel(t, routers, func(ctx context.Context, n *Net, v4, v6 string) {
				for _, to := range []string{v4, v6} {
					began := time.Now()
					if err := streamWith(ctx, n, to, *streamBytes); err != nil {
						t.Errorf("%s: %v", to, err)
					}
					d := time.Since(began)
					t.Logf("%s: %d MiB each way in %v, %.0f MB/s in all", to, *streamBytes>>20, d.Round(time.Millisecond), 2*float64(*streamBytes)/1e6/d.Seconds())
				}
			})
		})
	}
}

// TestKernelLossy does so over links that lose and mix up packets.
func TestKernelLossy(t *testing.T) {
	const size = 5 << 20
	withKernel(t, 1, func(ctx context.Context, n *Net, v4, v6 string) {
		for _, impair := range []string{"loss 1%", "delay 2ms, loss 2%", "delay 1ms, loss 5%", "delay 5ms jitter 1ms, reorder 10%, duplicate 1%, corrupt 0.1%"} {
			im, err := netem.Parse(impair)
			if err != nil {
				t.Fatal(err)
			}
			h := n.Host("alice")
			m, err := h.Adapter("eth0").Attach(netem.New(netem.Config{Clock: h.Clock(), Seed: 1, Out: im, In: im}))
			if err != nil {
				t.Fatal(err)
			}
			for _, to := range []string{v4, v6} {
				began := time.Now()
				if err := streamWith(ctx, n, to, size); err != nil {
					t.Errorf("%s: %s: %v", impair, to, err)
				}
				t.Logf("%s: %s: 5 MiB each way in %v", impair, to, time.Since(began).Round(time.Millisecond))
			}
			h.Adapter("eth0").Detach(m)
		}
	})
}

// TestKernelConnects opens and closes connections to the kernel one after the
// other.
func TestKernelConnects(t *testing.T) {
	const conns = 2000
	withKernel(t, 0, func(ctx context.Context, n *Net, v4, v6 string) {
		began := time.Now()
		for i := range conns {
			if err := streamWith(ctx, n, []string{v4, v6}[i%2], 0); err != nil {
				t.Fatalf("connection %d: %v", i, err)
			}
		}
		t.Logf("%.0f connections a second", conns/time.Since(began).Seconds())
	})
}

// streamWith exchanges n bytes each way with the peer at an address.
func streamWith(ctx context.Context, lab *Net, to string, n int64) error {
	var c net.Conn
	var err error
	for range 100 { // until the program listens
		if c, err = lab.Host("alice").DialContext(ctx, "tcp", to); err == nil {
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	if err != nil {
		return err
	}
	defer c.Close()
	var head [8]byte
	binary.BigEndian.PutUint64(head[:], uint64(n))
	if _, err := c.Write(head[:]); err != nil {
		return err
	}
	sent := make(chan error, 1)
	ours := sha256.New()
	go func() {
		_, err := io.CopyN(c, io.TeeReader(streamNoise(1), ours), n)
		sent <- err
	}()
	theirs, want := sha256.New(), sha256.New()
	if _, err := io.CopyN(theirs, c, n); err != nil {
		return fmt.Errorf("read: %w", err)
	}
	if err := <-sent; err != nil {
		return fmt.Errorf("write: %w", err)
	}
	io.CopyN(want, streamNoise(2), n)
	if string(theirs.Sum(nil)) != string(want.Sum(nil)) {
		return errors.New("what the kernel sent came differently")
	}
	sum := make([]byte, sha256.Size)
	if _, err := io.ReadFull(c, sum); err != nil {
		return fmt.Errorf("hash: %w", err)
	}
	if string(sum) != string(ours.Sum(nil)) {
		return errors.New("what we sent came differently at the kernel")
	}
	return nil
}
