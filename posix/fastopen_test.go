//go:build linux && amd64

package posix_test

import (
	"net/netip"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/towpath/towpath/internal/testenv"
)

// fastServer is a listener that takes early data.
func (t *trace) fastServer(domain int) (fd int, at netip.AddrPort) {
	t.err("tcp_fastopen", t.sysctl("net.ipv4.tcp_fastopen", "3"))
	fd, at = t.server(domain, 8)
	t.setInt(fd, unix.IPPROTO_TCP, unix.TCP_FASTOPEN, 5)
	return fd, at
}

// getCookie connects once, so that a cookie is known.
func (t *trace) getCookie(l, domain int, at netip.AddrPort) {
	c := t.open(domain, unix.SOCK_STREAM)
	t.send(c, "first", unix.MSG_FASTOPEN, at)
	t.poll(l)
	s := t.accept(l)
	t.recv(s, 100, 0)
	t.err("close", t.c.close(c))
	t.err("close", t.c.close(s))
}

func (t *trace) accept(l int) int {
	s, e := t.c.accept(l)
	t.err("accept", e)
	t.fds = append(t.fds, s)
	return s
}

func (t *trace) tcpInfo(fd int) {
	b, e := t.c.get(fd, unix.IPPROTO_TCP, unix.TCP_INFO, 8)
	if e == 0 {
		t.log("state %d syn data %v", b[0], b[5]&32 != 0)
	} else {
		t.err("TCP_INFO", e)
	}
}

var fastOpenScripts = []struct {
	name string
	run  func(t *trace, domain int)
}{
	{"options", func(t *trace, d int) {
		const tcp = unix.IPPROTO_TCP
		all := func(fd int) {
			for _, name := range []int{unix.TCP_FASTOPEN, unix.TCP_FASTOPEN_CONNECT, unix.TCP_FASTOPEN_NO_COOKIE} {
				for _, v := range []int32{-1, 2, 1, 100000, 0} {
					t.setInt(fd, tcp, name, v)
					t.int(fd, tcp, name)
				}
			}
		}
		l, at := t.server(d, 8)
		t.log("listening")
		all(l)
		c := t.open(d, unix.SOCK_STREAM)
		t.log("closed")
		all(c)
		for _, n := range []int{0, 4, 15, 16, 17, 31, 32, 33} {
			t.err("TCP_FASTOPEN_KEY", t.c.set(c, tcp, unix.TCP_FASTOPEN_KEY, []byte(strings.Repeat("k", n))))
		}
		for _, n := range []int{0, 1, 15, 16, 32, 64} {
			b, e := t.c.get(c, tcp, unix.TCP_FASTOPEN_KEY, n)
			t.log("TCP_FASTOPEN_KEY of %d: %q %v", n, b, e)
		}
		t.setInt(l, tcp, unix.TCP_FASTOPEN, 7)
		t.err("connect", t.c.connect(c, at))
		s := t.accept(l)
		t.log("connected")
		all(c)
		t.log("accepted")
		t.int(s, tcp, unix.TCP_FASTOPEN)
		all(s)
		t.err("tcp_fastopen", t.sysctl("net.ipv4.tcp_fastopen", "0"))
		t.log("off")
		all(t.open(d, unix.SOCK_STREAM))
		t.err("tcp_fastopen", t.sysctl("net.ipv4.tcp_fastopen", "x"))
	}},
	{"all listeners", func(t *trace, d int) {
		t.err("tcp_fastopen", t.sysctl("net.ipv4.tcp_fastopen", "1027"))
		l, at := t.server(d, 8)
		t.int(l, unix.IPPROTO_TCP, unix.TCP_FASTOPEN)
		t.getCookie(l, d, at)
		c := t.open(d, t.nonblock(unix.SOCK_STREAM))
		t.send(c, "hello", unix.MSG_FASTOPEN, at)
		settle()
		s := t.accept(l)
		t.tcpInfo(s)
		t.recv(s, 100, 0)
	}},
	{"without waiting", func(t *trace, d int) {
		l, at := t.fastServer(d)
		c := t.open(d, t.nonblock(unix.SOCK_STREAM))
		t.send(c, "hello", unix.MSG_FASTOPEN, at)
		settle()
		t.poll(c)
		t.tcpInfo(c)
		t.send(c, "hello", 0, nobdy)
		s := t.accept(l)
		t.recv(s, 100, 0)
		t.tcpInfo(s)
		c = t.open(d, t.nonblock(unix.SOCK_STREAM))
		t.send(c, "hello", unix.MSG_FASTOPEN, at)
		settle()
		t.poll(c)
		t.tcpInfo(c)
		t.send(c, "more", unix.MSG_FASTOPEN, at)
		t.send(c, "more", unix.MSG_FASTOPEN, nobdy)
		t.send(c, "more", 0, nobdy)
		t.err("connect", t.c.connect(c, at))
		settle()
		s = t.accept(l)
		t.recv(s, 100, 0)
		t.tcpInfo(s)
		a, e := t.c.peer(c)
		t.same("peer", a, at)
		t.err("getpeername", e)
	}},
	{"waiting", func(t *trace, d int) {
		l, at := t.fastServer(d)
		t.getCookie(l, d, at)
		c := t.open(d, unix.SOCK_STREAM)
		t.send(c, strings.Repeat("a", 100000), unix.MSG_FASTOPEN, at)
		t.tcpInfo(c)
		s := t.accept(l)
		t.tcpInfo(s)
		settle()
		n := 0
		for {
			b, _, e := t.c.recv(s, 1<<20, unix.MSG_DONTWAIT)
			if n += len(b); e != 0 || len(b) == 0 {
				break
			}
		}
		t.log("received %d", n)
		t.send(s, "answer", 0, nobdy)
		settle()
		t.recv(c, 100, 0)
		t.send(c, "", unix.MSG_FASTOPEN, at)
	}},
	{"nobody there", func(t *trace, d int) {
		l, at := t.fastServer(d)
		t.getCookie(l, d, at)
		t.err("close", t.c.close(l))
		c := t.open(d, unix.SOCK_STREAM)
		t.send(c, "hello", unix.MSG_FASTOPEN, at)
		t.poll(c)
		t.int(c, unix.SOL_SOCKET, unix.SO_ERROR)
		c = t.open(d, t.nonblock(unix.SOCK_STREAM))
		t.send(c, "hello", unix.MSG_FASTOPEN, at)
		settle()
		t.poll(c)
		t.send(c, "hello", 0, nobdy)
		t.send(c, "hello", 0, nobdy)
	}},
	{"later", func(t *trace, d int) {
		l, at := t.fastServer(d)
		c := t.open(d, t.nonblock(unix.SOCK_STREAM))
		t.setInt(c, unix.IPPROTO_TCP, unix.TCP_FASTOPEN_CONNECT, 1)
		t.err("connect, no cookie", t.c.connect(c, at))
		settle()
		t.send(c, "first", 0, nobdy)
		s := t.accept(l)
		t.recv(s, 100, 0)
		t.tcpInfo(s)
		for _, typ := range []int{unix.SOCK_STREAM, t.nonblock(unix.SOCK_STREAM)} {
			c = t.open(d, typ)
			t.setInt(c, unix.IPPROTO_TCP, unix.TCP_FASTOPEN_CONNECT, 1)
			t.err("connect", t.c.connect(c, at))
			t.poll(c)
			t.tcpInfo(c)
			_, e := t.c.peer(c)
			t.err("getpeername", e)
			a, e := t.c.name(c)
			t.log("getsockname %v %v %v", a.Addr(), a.Port() != 0, e)
			t.recv(c, 100, unix.MSG_DONTWAIT)
			if typ != unix.SOCK_STREAM { // the kernel's waits for a SYN that nobody sends
				t.err("connect again", t.c.connect(c, at))
			}
			t.setInt(c, unix.IPPROTO_TCP, unix.TCP_FASTOPEN_CONNECT, 1)
			t.send(c, "hello", 0, nobdy)
			settle()
			t.poll(c)
			t.tcpInfo(c)
			t.send(c, " world", 0, nobdy)
			settle()
			s = t.accept(l)
			t.recv(s, 100, 0)
			t.tcpInfo(s)
		}
		for _, how := range []int{unix.SHUT_WR, unix.SHUT_RD} {
			c = t.open(d, t.nonblock(unix.SOCK_STREAM))
			t.setInt(c, unix.IPPROTO_TCP, unix.TCP_FASTOPEN_CONNECT, 1)
			t.err("connect", t.c.connect(c, at))
			t.err("shutdown", t.c.shutdown(c, how))
			t.poll(c)
			t.send(c, "x", 0, nobdy)
		}
		c = t.open(d, t.nonblock(unix.SOCK_STREAM))
		t.setInt(c, unix.IPPROTO_TCP, unix.TCP_FASTOPEN_CONNECT, 1)
		t.err("connect", t.c.connect(c, at))
		t.send(c, "", 0, nobdy)
		settle()
		t.send(c, "after nothing", 0, nobdy)
		settle()
		s = t.accept(l)
		t.recv(s, 100, unix.MSG_DONTWAIT)
		t.tcpInfo(s)
		c = t.open(d, t.nonblock(unix.SOCK_STREAM))
		t.setInt(c, unix.IPPROTO_TCP, unix.TCP_FASTOPEN_CONNECT, 1)
		t.err("connect", t.c.connect(c, at))
		t.err("disconnect", t.c.disconnect(c))
		t.poll(c)
		t.tcpInfo(c)
	}},
	{"without cookies", func(t *trace, d int) {
		t.err("tcp_fastopen", t.sysctl("net.ipv4.tcp_fastopen", "519"))
		l, at := t.server(d, 8)
		t.setInt(l, unix.IPPROTO_TCP, unix.TCP_FASTOPEN, 5)
		c := t.open(d, t.nonblock(unix.SOCK_STREAM))
		t.send(c, "hello", unix.MSG_FASTOPEN, at)
		settle()
		s := t.accept(l)
		t.recv(s, 100, unix.MSG_DONTWAIT)
		t.tcpInfo(s)
	}},
	{"sockets without cookies", func(t *trace, d int) {
		l, at := t.fastServer(d)
		t.setInt(l, unix.IPPROTO_TCP, unix.TCP_FASTOPEN_NO_COOKIE, 1)
		c := t.open(d, t.nonblock(unix.SOCK_STREAM))
		t.setInt(c, unix.IPPROTO_TCP, unix.TCP_FASTOPEN_NO_COOKIE, 1)
		t.send(c, "hello", unix.MSG_FASTOPEN, at)
		settle()
		s := t.accept(l)
		t.recv(s, 100, unix.MSG_DONTWAIT)
		t.tcpInfo(s)
	}},
	{"wrong calls", func(t *trace, d int) {
		l, at := t.fastServer(d)
		c := t.open(d, t.nonblock(unix.SOCK_STREAM))
		t.send(c, "x", unix.MSG_FASTOPEN, nobdy)
		t.send(l, "x", unix.MSG_FASTOPEN, at)
		t.err("tcp_fastopen", t.sysctl("net.ipv4.tcp_fastopen", "2"))
		t.send(c, "x", unix.MSG_FASTOPEN, at)
		t.poll(c)
		u := t.open(d, t.nonblock(unix.SOCK_DGRAM))
		t.send(u, "x", unix.MSG_FASTOPEN, at)
	}},
}

// TestFastOpenLikeTheKernel compares what Fast Open's calls say with what the
// kernel's do, in a namespace for each script: the kernel keeps cookies.
func TestFastOpenLikeTheKernel(t *testing.T) {
	for _, s := range fastOpenScripts {
		for _, domain := range []int{unix.AF_INET, unix.AF_INET6} {
			t.Run(s.name+map[int]string{unix.AF_INET: "/IPv4", unix.AF_INET6: "/IPv6"}[domain], func(t *testing.T) {
				testenv.InNamespace(t, func(t *testing.T) {
					loopbackUp(t)
					compare(t, domain, s.run)
				})
			})
		}
	}
}

// loopbackUp brings this namespace's loopback up.
func loopbackUp(t *testing.T) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	ifr, err := unix.NewIfreq("lo")
	if err != nil {
		t.Fatal(err)
	}
	ifr.SetUint16(unix.IFF_UP)
	if err := unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, ifr); err != nil {
		t.Fatal(err)
	}
}
