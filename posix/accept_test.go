package posix_test

import (
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"
)

// listening is a listener with an option set before it listens.
func (t *trace) listening(d, name int, v int32) (fd int, at netip.AddrPort) {
	fd = t.open(d, t.nonblock(unix.SOCK_STREAM))
	t.setInt(fd, unix.IPPROTO_TCP, name, v)
	t.err("bind", t.c.bind(fd, netip.AddrPortFrom(t.loopback(d), 0)))
	t.err("listen", t.c.listen(fd, 4))
	at, _ = t.c.name(fd)
	return fd, at
}

var acceptScripts = []struct {
	name string
	run  func(t *trace, domain int)
}{
	{"deferred accept: seconds", func(t *trace, d int) {
		s := t.open(d, unix.SOCK_STREAM)
		for _, v := range []int32{0, 1, 2, 3, 4, 7, 8, 60, 100, 1000, 1_000_000, -1} {
			t.setInt(s, unix.IPPROTO_TCP, unix.TCP_DEFER_ACCEPT, v)
			t.int(s, unix.IPPROTO_TCP, unix.TCP_DEFER_ACCEPT)
		}
	}},
	{"deferred accept", func(t *trace, d int) {
		l, at := t.listening(d, unix.TCP_DEFER_ACCEPT, 5)
		c := t.open(d, unix.SOCK_STREAM)
		t.err("connect", t.c.connect(c, at))
		settle()
		t.poll(l)
		t.tcpInfo(c)
		t.send(c, "hello", 0, netip.AddrPort{})
		settle()
		t.poll(l)
		s := t.accept(l)
		t.recv(s, 100, unix.MSG_DONTWAIT)
		t.int(s, unix.IPPROTO_TCP, unix.TCP_DEFER_ACCEPT)
	}},
	{"deferred accept: end", func(t *trace, d int) {
		l, at := t.listening(d, unix.TCP_DEFER_ACCEPT, 5)
		c := t.open(d, unix.SOCK_STREAM)
		t.err("connect", t.c.connect(c, at))
		t.err("shutdown", t.c.shutdown(c, unix.SHUT_WR))
		settle()
		t.poll(l)
		s := t.accept(l)
		t.recv(s, 100, unix.MSG_DONTWAIT)
	}},
	{"saved SYN", func(t *trace, d int) {
		for _, v := range []int32{-1, 3, 1} {
			s := t.open(d, unix.SOCK_STREAM)
			t.setInt(s, unix.IPPROTO_TCP, unix.TCP_SAVE_SYN, v)
			t.int(s, unix.IPPROTO_TCP, unix.TCP_SAVE_SYN)
		}
		l, at := t.listening(d, unix.TCP_SAVE_SYN, 1)
		c := t.open(d, unix.SOCK_STREAM)
		t.err("connect", t.c.connect(c, at))
		settle()
		s := t.accept(l)
		for _, size := range []int{10, 200, 200} {
			b, e := t.c.get(s, unix.IPPROTO_TCP, unix.TCP_SAVED_SYN, size)
			t.log("saved %d %v", len(b), e)
			if len(b) > 20 {
				t.log("version %d", b[0]>>4)
			}
		}
		t.err("set", t.c.set(s, unix.IPPROTO_TCP, unix.TCP_SAVED_SYN, []byte{1, 0, 0, 0}))
	}},
	{"bytes left", func(t *trace, d int) {
		l, at := t.listening(d, unix.TCP_INQ, 1)
		c := t.open(d, unix.SOCK_STREAM)
		t.setInt(c, unix.IPPROTO_TCP, unix.TCP_INQ, 2)
		t.int(c, unix.IPPROTO_TCP, unix.TCP_INQ)
		t.err("connect", t.c.connect(c, at))
		settle()
		s := t.accept(l)
		t.int(s, unix.IPPROTO_TCP, unix.TCP_INQ)
		t.setInt(s, unix.IPPROTO_TCP, unix.TCP_INQ, 1)
		t.send(c, "0123456789", 0, netip.AddrPort{})
		settle()
		t.recvCtl(s, 4)
		t.recvCtl(s, 100)
		t.send(c, "the end", 0, netip.AddrPort{})
		t.err("shutdown", t.c.shutdown(c, unix.SHUT_WR))
		settle()
		t.recvCtl(s, 3)
		t.recvCtl(s, 100)
		t.recvCtl(s, 100)
		t.setInt(s, unix.IPPROTO_TCP, unix.TCP_INQ, 0)
		t.recvCtl(s, 100)
	}},
	{"addresses of others", func(t *trace, d int) {
		level, name, away := unix.IPPROTO_IP, unix.IP_FREEBIND, netip.MustParseAddrPort("192.0.2.7:4711")
		if d == unix.AF_INET6 {
			level, name, away = unix.IPPROTO_IPV6, unix.IPV6_FREEBIND, netip.MustParseAddrPort("[2001:db8::7]:4711")
		}
		for _, typ := range []int{unix.SOCK_STREAM, unix.SOCK_DGRAM} {
			s := t.open(d, typ)
			t.err("bind", t.c.bind(s, away))
			t.int(s, level, name)
			t.setInt(s, level, name, 7)
			t.int(s, level, name)
			t.err("bind", t.c.bind(s, away))
			a, e := t.c.name(s)
			t.log("name %v %v", a, e)
			if typ == unix.SOCK_STREAM {
				t.err("listen", t.c.listen(s, 1))
			}
		}
	}},
}

// TestAcceptLikeTheKernel compares what listeners can be told, and what they
// tell, with the kernel's.
func TestAcceptLikeTheKernel(t *testing.T) {
	for _, s := range acceptScripts {
		for _, domain := range []int{unix.AF_INET, unix.AF_INET6} {
			t.Run(s.name+map[int]string{unix.AF_INET: "/IPv4", unix.AF_INET6: "/IPv6"}[domain], func(t *testing.T) {
				compare(t, domain, s.run)
			})
		}
	}
}
