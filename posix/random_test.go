//go:build linux && amd64

package posix_test

import (
	"context"
	"encoding/binary"
	"flag"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/towpath/towpath/host"
	"github.com/towpath/towpath/posix"
)

var (
	sequences = flag.Int("sequences", 40, "how many random sequences of calls to compare with the kernel's")
	firstSeed = flag.Uint64("seed", 1, "the first sequence's seed")
)

// A walk makes a random sequence of calls. What it does next follows from the
// seed and from what it has been told, so that it is the same on both sides
// until they differ.
type walk struct {
	trace
	r      *rand.Rand
	domain int
	base   uint16       // of the few ports it binds
	shut   map[int]bool // sockets shut down while they were not connected
}

const (
	walkPorts = 3
	walkCalls = 40
	walkFds   = 6
)

// socket remembers a socket, which shall not wait.
func (w *walk) keep(fd int) {
	switch c := w.c.(type) {
	case kernel:
		unix.SetNonblock(fd, true)
	case ours:
		c.p.Fcntl(fd, posix.F_SETFL, posix.O_NONBLOCK)
	}
	w.fds = append(w.fds, fd)
}

// port is a port's name in the log: numbers that were not asked for differ.
func (w *walk) port(a netip.AddrPort) string {
	switch n := int(a.Port()) - int(w.base); {
	case !a.IsValid():
		return "none"
	case a.Port() == 0:
		return fmt.Sprintf("%v:0", a.Addr())
	case n >= 0 && n < walkPorts:
		return fmt.Sprintf("%v:p%d", a.Addr(), n)
	}
	return fmt.Sprintf("%v:ephemeral", a.Addr())
}

// step makes one call.
func (w *walk) step() {
	if len(w.fds) < 2 || len(w.fds) < walkFds && w.r.IntN(8) == 0 {
		typ := []int{unix.SOCK_STREAM, unix.SOCK_STREAM, unix.SOCK_DGRAM}[w.r.IntN(3)]
		fd, e := w.c.socket(w.domain, typ, 0)
		w.log("s%d = socket %d: %v", len(w.fds), typ, e)
		w.keep(fd)
		return
	}
	i := w.r.IntN(len(w.fds))
	fd := w.fds[i]
	at := netip.AddrPortFrom(w.loopback(w.domain), w.base+uint16(w.r.IntN(walkPorts)))
	size := 1 + w.r.IntN(12)
	switch w.r.IntN(20) {
	case 0, 1:
		if w.r.IntN(4) == 0 {
			at = netip.AddrPortFrom(map[int]netip.Addr{unix.AF_INET: any4, unix.AF_INET6: any6}[w.domain], at.Port())
		}
		w.err(fmt.Sprintf("bind s%d %s", i, w.port(at)), w.c.bind(fd, at))
	case 2, 3:
		if w.shut[fd] {
			return // as below
		}
		w.err(fmt.Sprintf("listen s%d", i), w.c.listen(fd, 16))
	case 4, 5, 6:
		// Neither to itself, nor after a shutdown that came too early: what
		// Linux does then has its reasons in its own code only.
		if a, _ := w.c.name(fd); a.Port() == at.Port() || w.shut[fd] {
			return
		}
		w.err(fmt.Sprintf("connect s%d %s", i, w.port(at)), w.c.connect(fd, at))
	case 7, 8:
		n, e := w.c.accept(fd)
		w.err(fmt.Sprintf("accept s%d", i), e)
		if e == 0 {
			w.keep(n)
		}
	case 9, 10:
		n, e := w.c.send(fd, strings.Repeat("a", size), unix.MSG_DONTWAIT, nobdy)
		w.log("send s%d %d: %d %v", i, size, n, e)
	case 11:
		n, e := w.c.send(fd, strings.Repeat("b", size), unix.MSG_DONTWAIT, at)
		w.log("send s%d %d to %s: %d %v", i, size, w.port(at), n, e)
	case 12, 13:
		flags := []int{0, 0, unix.MSG_PEEK, unix.MSG_TRUNC}[w.r.IntN(4)]
		s, n, e := w.c.recv(fd, size, flags|unix.MSG_DONTWAIT)
		if flags == unix.MSG_TRUNC {
			s = "" // of a stream, whatever it was
		}
		w.log("recv s%d %d %#x: %q %d %v", i, size, flags, s, n, e)
	case 14:
		how := w.r.IntN(3)
		e := w.c.shutdown(fd, how)
		w.err(fmt.Sprintf("shutdown s%d %d", i, how), e)
		w.shut[fd] = w.shut[fd] || e == syscall.ENOTCONN
	case 15:
		w.err(fmt.Sprintf("close s%d", i), w.c.close(fd))
		delete(w.shut, fd)
		w.fds = slices.Delete(w.fds, i, i+1)
	case 16:
		a, e := w.c.name(fd)
		w.log("name s%d: %s %v", i, w.port(a), e)
		a, e = w.c.peer(fd)
		w.log("peer s%d: %s %v", i, w.port(a), e)
	case 17:
		if w.r.IntN(2) == 0 {
			w.log("s%d", i)
			w.setInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, int32(w.r.IntN(2)))
			return
		}
		b, e := w.c.get(fd, unix.SOL_SOCKET, unix.SO_ERROR, 4)
		w.log("SO_ERROR s%d: % x %v", i, b, e)
	case 18:
		if w.r.IntN(2) == 0 {
			w.err(fmt.Sprintf("disconnect s%d", i), w.c.disconnect(fd))
			return
		}
		v := binary.LittleEndian.AppendUint64(nil, uint64(w.r.IntN(2)))
		w.err(fmt.Sprintf("linger s%d %d", i, v[0]), w.c.set(fd, unix.SOL_SOCKET, unix.SO_LINGER, v))
	case 19:
		n, e := w.c.ioctl(fd, unix.SIOCINQ)
		n = max(n, 0)
		w.log("SIOCINQ s%d: %d %v", i, n, e)
	}
}

// run makes the calls, and looks at all sockets after each.
func (w *walk) run(settle time.Duration) []string {
	for range walkCalls {
		w.step()
		time.Sleep(settle)
		var ready []string
		for _, fd := range w.fds {
			const all = unix.POLLIN | unix.POLLOUT | unix.POLLRDHUP | unix.POLLPRI
			ready = append(ready, fmt.Sprintf("%#x", w.c.poll(fd, all, 0)))
		}
		w.log("    poll %v", ready)
	}
	w.end()
	return w.lines
}

// TestRandomCalls compares random sequences of calls on the kernel's loopback
// and ours. The kernel may be late: what it does not do twice is not held
// against us.
func TestRandomCalls(t *testing.T) {
	base := uint16(10000 + os.Getpid()%1000*10)
	for seed := *firstSeed; seed < *firstSeed+uint64(*sequences); seed++ {
		for _, domain := range []int{unix.AF_INET, unix.AF_INET6} {
			fd, err := unix.Socket(domain, unix.SOCK_STREAM, 0)
			if err != nil {
				t.Skipf("the kernel has no such sockets to compare with: %v", err)
			}
			unix.Close(fd)
			start := func(c calls) *walk {
				return &walk{trace: trace{c: c}, r: rand.New(rand.NewPCG(seed, uint64(domain))), domain: domain, base: base, shut: make(map[int]bool)}
			}
			ourWalk := func() []string {
				h := host.New(host.Config{Name: "h"})
				defer h.Close(context.Background())
				p := posix.New(h)
				defer p.CloseAll()
				return start(ours{p}).run(0)
			}
			theirWalk := func() []string {
				base += walkPorts // old ports may be in TIME-WAIT
				return start(kernel{}).run(300 * time.Microsecond)
			}
			want, got := theirWalk(), ourWalk()
			for range 3 {
				if slices.Equal(want, got) {
					break
				}
				again := theirWalk()
				if slices.Equal(again, want) {
					break
				}
				want, got = again, ourWalk()
			}
			for i := range max(len(want), len(got)) {
				if i >= len(want) || i >= len(got) || want[i] != got[i] {
					t.Errorf("seed %d, domain %d, call %d\n  before\n    %s\n  kernel\n    %s\n  towpath\n    %s", seed, domain, i,
						strings.Join(want[:i], "\n    "), strings.Join(want[i:min(i+2, len(want))], "\n    "), strings.Join(got[min(i, len(got)):min(i+2, len(got))], "\n    "))
					break
				}
			}
		}
	}
}
