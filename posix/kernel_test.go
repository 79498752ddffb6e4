//go:build linux && amd64

package posix_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/towpath/towpath/host"
	"github.com/towpath/towpath/posix"
	"github.com/towpath/towpath/socket"
)

// calls are the system calls, of this machine's kernel or ours.
type calls interface {
	socket(domain, typ, proto int) (int, syscall.Errno)
	bind(fd int, a netip.AddrPort) syscall.Errno
	connect(fd int, a netip.AddrPort) syscall.Errno
	disconnect(fd int) syscall.Errno
	listen(fd, backlog int) syscall.Errno
	accept(fd int) (int, syscall.Errno)
	send(fd int, b string, flags int, to netip.AddrPort) (int, syscall.Errno)
	recv(fd, n, flags int) (data string, size int, e syscall.Errno)
	shutdown(fd, how int) syscall.Errno
	close(fd int) syscall.Errno
	name(fd int) (netip.AddrPort, syscall.Errno)
	peer(fd int) (netip.AddrPort, syscall.Errno)
	set(fd, level, name int, v []byte) syscall.Errno
	get(fd, level, name, size int) ([]byte, syscall.Errno)
	poll(fd int, ev int16, ms int) int16
	ioctl(fd int, req int) (int, syscall.Errno)
	epoll() (int, syscall.Errno)
	epollCtl(ep, op, fd int, ev uint32) syscall.Errno
	epollWait(ep, ms int) string
}

type ours struct{ p *posix.Process }

func (o ours) socket(d, t, p int) (int, syscall.Errno)     { return o.p.Socket(-1, d, t, p) }
func (o ours) bind(fd int, a netip.AddrPort) syscall.Errno { return o.p.Bind(fd, posix.AddrOf(a)) }
func (o ours) connect(fd int, a netip.AddrPort) syscall.Errno {
	return o.p.Connect(fd, posix.AddrOf(a))
}
func (o ours) disconnect(fd int) syscall.Errno             { return o.p.Connect(fd, posix.Addr{}) }
func (o ours) listen(fd, n int) syscall.Errno              { return o.p.Listen(fd, n) }
func (o ours) shutdown(fd, how int) syscall.Errno          { return o.p.Shutdown(fd, how) }
func (o ours) close(fd int) syscall.Errno                  { return o.p.Close(fd) }
func (o ours) set(fd, l, n int, v []byte) syscall.Errno    { return o.p.SetSockOpt(fd, l, n, v) }
func (o ours) get(fd, l, n, s int) ([]byte, syscall.Errno) { return o.p.GetSockOpt(fd, l, n, s) }
func (o ours) ioctl(fd, req int) (int, syscall.Errno)      { return o.p.Ioctl(fd, req) }
func (o ours) epoll() (int, syscall.Errno)                 { return o.p.EpollCreate(-1) }
func (o ours) epollCtl(ep, op, fd int, ev uint32) syscall.Errno {
	return o.p.EpollCtl(ep, op, fd, ev, uint64(ev))
}

func (o ours) accept(fd int) (int, syscall.Errno) {
	n, _, e := o.p.Accept(fd, -1, 0)
	return n, e
}

func (o ours) send(fd int, b string, flags int, to netip.AddrPort) (int, syscall.Errno) {
	return o.p.Send(fd, []byte(b), flags|unix.MSG_NOSIGNAL, posix.AddrOf(to), nil)
}

func (o ours) recv(fd, n, flags int) (string, int, syscall.Errno) {
	m, e := o.p.Recv(fd, make([]byte, n), flags)
	return string(m.Data[:min(m.N, len(m.Data))]), m.N, e
}

func (o ours) name(fd int) (netip.AddrPort, syscall.Errno) {
	a, e := o.p.GetSockName(fd)
	return a.AddrPort, e
}

func (o ours) peer(fd int) (netip.AddrPort, syscall.Errno) {
	a, e := o.p.GetPeerName(fd)
	return a.AddrPort, e
}

func (o ours) poll(fd int, ev int16, ms int) int16 {
	fds := []posix.PollFD{{FD: fd, Events: socket.Events(ev)}}
	o.p.Poll(fds, time.Duration(ms)*time.Millisecond)
	return int16(fds[0].Revents)
}

func (o ours) epollWait(ep, ms int) (s string) {
	evs, e := o.p.EpollWait(ep, 8, time.Duration(ms)*time.Millisecond)
	if e != 0 {
		return e.Error()
	}
	for _, ev := range evs {
		s += fmt.Sprintf("%#x ", ev.Events)
	}
	return s
}

type kernel struct{}

func errno(err error) syscall.Errno {
	if err == nil {
		return 0
	}
	return err.(syscall.Errno)
}

func sockaddr(a netip.AddrPort) unix.Sockaddr {
	if a.Addr().Is4() {
		return &unix.SockaddrInet4{Port: int(a.Port()), Addr: a.Addr().As4()}
	}
	return &unix.SockaddrInet6{Port: int(a.Port()), Addr: a.Addr().As16()}
}

func addrPort(sa unix.Sockaddr) netip.AddrPort {
	switch sa := sa.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(sa.Addr), uint16(sa.Port))
	case *unix.SockaddrInet6:
		return netip.AddrPortFrom(netip.AddrFrom16(sa.Addr), uint16(sa.Port))
	}
	return netip.AddrPort{}
}

func (kernel) socket(d, t, p int) (int, syscall.Errno) {
	fd, err := unix.Socket(d, t|unix.SOCK_CLOEXEC, p)
	return fd, errno(err)
}
func (kernel) bind(fd int, a netip.AddrPort) syscall.Errno { return errno(unix.Bind(fd, sockaddr(a))) }
func (kernel) connect(fd int, a netip.AddrPort) syscall.Errno {
	return errno(unix.Connect(fd, sockaddr(a)))
}
func (kernel) disconnect(fd int) syscall.Errno {
	var sa unix.RawSockaddrInet4
	_, _, e := unix.Syscall(unix.SYS_CONNECT, uintptr(fd), uintptr(unsafe.Pointer(&sa)), unsafe.Sizeof(sa))
	return e
}
func (kernel) listen(fd, n int) syscall.Errno { return errno(unix.Listen(fd, n)) }
func (kernel) accept(fd int) (int, syscall.Errno) {
	n, _, err := unix.Accept(fd)
	return n, errno(err)
}
func (kernel) send(fd int, b string, flags int, to netip.AddrPort) (int, syscall.Errno) {
	var sa unix.Sockaddr
	if to.IsValid() {
		sa = sockaddr(to)
	}
	n, err := unix.SendmsgN(fd, []byte(b), nil, sa, flags|unix.MSG_NOSIGNAL)
	if err != nil {
		n = -1
	}
	return n, errno(err)
}
func (kernel) recv(fd, n, flags int) (string, int, syscall.Errno) {
	b := make([]byte, n)
	m, _, err := unix.Recvfrom(fd, b, flags)
	if err != nil {
		return "", 0, errno(err)
	}
	return string(b[:min(m, n)]), m, 0
}
func (kernel) shutdown(fd, how int) syscall.Errno { return errno(unix.Shutdown(fd, how)) }
func (kernel) close(fd int) syscall.Errno         { return errno(unix.Close(fd)) }
func (kernel) name(fd int) (netip.AddrPort, syscall.Errno) {
	sa, err := unix.Getsockname(fd)
	return addrPort(sa), errno(err)
}
func (kernel) peer(fd int) (netip.AddrPort, syscall.Errno) {
	sa, err := unix.Getpeername(fd)
	return addrPort(sa), errno(err)
}
func (kernel) set(fd, l, n int, v []byte) syscall.Errno {
	return errno(unix.SetsockoptString(fd, l, n, string(v)))
}
func (kernel) get(fd, l, n, size int) ([]byte, syscall.Errno) {
	b := make([]byte, max(size, 1))
	length := uint32(size)
	_, _, e := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(fd), uintptr(l), uintptr(n), uintptr(unsafe.Pointer(&b[0])), uintptr(unsafe.Pointer(&length)), 0)
	if e != 0 {
		return nil, e
	}
	return b[:length], 0
}
func (kernel) poll(fd int, ev int16, ms int) int16 {
	fds := []unix.PollFd{{Fd: int32(fd), Events: ev}}
	unix.Poll(fds, ms)
	return fds[0].Revents
}
func (kernel) ioctl(fd, req int) (int, syscall.Errno) {
	n, err := unix.IoctlGetInt(fd, uint(req))
	return n, errno(err)
}
func (kernel) epoll() (int, syscall.Errno) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	return fd, errno(err)
}
func (kernel) epollCtl(ep, op, fd int, ev uint32) syscall.Errno {
	return errno(unix.EpollCtl(ep, op, fd, &unix.EpollEvent{Events: ev}))
}
func (kernel) epollWait(ep, ms int) (s string) {
	evs := make([]unix.EpollEvent, 8)
	n, err := unix.EpollWait(ep, evs, ms)
	if err != nil {
		return err.Error()
	}
	for _, ev := range evs[:n] {
		s += fmt.Sprintf("%#x ", ev.Events)
	}
	return s
}

// A trace is what a script saw.
type trace struct {
	c      calls
	sysctl func(name, value string) syscall.Errno
	lines  []string
	fds    []int
}

func (t *trace) log(format string, args ...any) {
	t.lines = append(t.lines, fmt.Sprintf(format, args...))
}

func (t *trace) err(what string, e syscall.Errno) {
	if e == 0 {
		t.log("%s: ok", what)
	} else {
		t.log("%s: %v", what, e)
	}
}

func (t *trace) open(domain, typ int) int {
	fd, e := t.c.socket(domain, typ, 0)
	if e != 0 {
		t.err("socket", e)
	}
	t.fds = append(t.fds, fd)
	return fd
}

func (t *trace) nonblock(typ int) int { return typ | unix.SOCK_NONBLOCK }

var (
	lo4   = netip.MustParseAddr("127.0.0.1")
	lo6   = netip.MustParseAddr("::1")
	any4  = netip.IPv4Unspecified()
	any6  = netip.IPv6Unspecified()
	nobdy = netip.AddrPort{}
)

func (t *trace) loopback(domain int) netip.Addr {
	if domain == unix.AF_INET6 {
		return lo6
	}
	return lo4
}

// server is a listener on the loopback.
func (t *trace) server(domain, backlog int) (fd int, at netip.AddrPort) {
	fd = t.open(domain, t.nonblock(unix.SOCK_STREAM))
	t.err("bind", t.c.bind(fd, netip.AddrPortFrom(t.loopback(domain), 0)))
	t.err("listen", t.c.listen(fd, backlog))
	at, e := t.c.name(fd)
	if e != 0 {
		t.err("getsockname", e)
	}
	return fd, at
}

// pair is two ends of a connection, neither of which waits.
func (t *trace) pair(domain int) (client, server int) {
	l, at := t.server(domain, 8)
	client = t.open(domain, t.nonblock(unix.SOCK_STREAM))
	if e := t.c.connect(client, at); e != 0 && e != syscall.EINPROGRESS {
		t.err("connect", e)
	}
	t.c.poll(l, unix.POLLIN, 1000)
	server, e := t.c.accept(l)
	if e != 0 {
		t.err("accept", e)
	}
	t.fds = append(t.fds, server)
	t.c.poll(client, unix.POLLOUT, 1000)
	t.unblock(server)
	t.err("close listener", t.c.close(l))
	return client, server
}

// unblock makes receiving not wait for long: accept gives sockets that wait.
func (t *trace) unblock(fd int) {
	tv := make([]byte, 16)
	binary.LittleEndian.PutUint64(tv[8:], 1000)
	t.err("SO_RCVTIMEO", t.c.set(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, tv))
}

func (t *trace) send(fd int, b string, flags int, to netip.AddrPort) {
	n, e := t.c.send(fd, b, flags, to)
	t.log("send %d: %d %v", len(b), n, e)
}

func (t *trace) recv(fd, n, flags int) {
	s, size, e := t.c.recv(fd, n, flags)
	t.log("recv %d %#x: %q %d %v", n, flags, s, size, e)
}

func (t *trace) poll(fd int) {
	const all = unix.POLLIN | unix.POLLOUT | unix.POLLRDHUP | unix.POLLPRI
	t.log("poll: %#x", t.c.poll(fd, all, 0))
}

func (t *trace) int(fd, level, name int) {
	b, e := t.c.get(fd, level, name, 4)
	t.log("getsockopt %d %d: % x %v", level, name, b, e)
}

func (t *trace) setInt(fd, level, name int, v int32) {
	t.err(fmt.Sprintf("setsockopt %d %d %d", level, name, v), t.c.set(fd, level, name, binary.LittleEndian.AppendUint32(nil, uint32(v))))
}

func (t *trace) same(what string, a, b netip.AddrPort) { t.log("%s: same=%v", what, a == b) }

// settle gives the kernel's loopback time.
func settle() { time.Sleep(3 * time.Millisecond) }

// scripts are what programs do to sockets; each runs on the kernel's loopback
// and on a host's, in both families, and must see the same.
var scripts = []struct {
	name string
	run  func(t *trace, domain int)
}{
	{"fresh stream", func(t *trace, d int) {
		s := t.open(d, t.nonblock(unix.SOCK_STREAM))
		t.poll(s)
		t.recv(s, 10, 0)
		t.send(s, "x", 0, nobdy)
		_, e := t.c.peer(s)
		t.err("getpeername", e)
		a, e := t.c.name(s)
		t.log("getsockname: %v %v", a, e)
		_, e = t.c.accept(s)
		t.err("accept", e)
		t.err("shutdown", t.c.shutdown(s, unix.SHUT_RDWR))
		t.err("shutdown 9", t.c.shutdown(s, 9))
		t.int(s, unix.SOL_SOCKET, unix.SO_ERROR)
	}},
	{"refused", func(t *trace, d int) {
		l, at := t.server(d, 1)
		t.err("close", t.c.close(l))
		s := t.open(d, unix.SOCK_STREAM)
		t.err("connect", t.c.connect(s, at))
		t.int(s, unix.SOL_SOCKET, unix.SO_ERROR)
		t.poll(s)
		t.err("connect again", t.c.connect(s, at))
		n := t.open(d, t.nonblock(unix.SOCK_STREAM))
		if e := t.c.connect(n, at); e != syscall.EINPROGRESS && e != syscall.ECONNREFUSED {
			t.err("connect without waiting", e)
		}
		settle()
		t.poll(n)
		t.int(n, unix.SOL_SOCKET, unix.SO_ERROR)
		t.int(n, unix.SOL_SOCKET, unix.SO_ERROR)
		t.poll(n)
	}},
	{"refused, then connect", func(t *trace, d int) {
		l, at := t.server(d, 1)
		t.err("close", t.c.close(l))
		n := t.open(d, t.nonblock(unix.SOCK_STREAM))
		t.c.connect(n, at)
		settle()
		t.err("connect tells", t.c.connect(n, at))
		t.poll(n)
		t.recv(n, 10, 0)
		t.send(n, "x", 0, nobdy)
	}},
	{"accept", func(t *trace, d int) {
		l, at := t.server(d, 1)
		t.poll(l)
		_, e := t.c.accept(l)
		t.err("accept", e)
		s := t.open(d, unix.SOCK_STREAM)
		t.err("connect", t.c.connect(s, at))
		settle()
		t.poll(l)
		t.poll(s)
		t.err("connect again", t.c.connect(s, at))
		t.err("bind", t.c.bind(s, netip.AddrPortFrom(t.loopback(d), 0)))
		t.err("listen connected", t.c.listen(s, 1))
		c, e := t.c.accept(l)
		t.err("accept", e)
		t.fds = append(t.fds, c)
		p, e := t.c.peer(s)
		t.same("peer", p, at)
		t.err("getpeername", e)
		n, _ := t.c.name(s)
		q, _ := t.c.peer(c)
		t.same("names", n, q)
		t.recv(l, 10, 0)
		t.send(l, "x", 0, nobdy)
		t.err("connect listener", t.c.connect(l, at))
		t.int(l, unix.SOL_SOCKET, unix.SO_ACCEPTCONN)
		t.int(s, unix.SOL_SOCKET, unix.SO_ACCEPTCONN)
		t.err("shutdown listener", t.c.shutdown(l, unix.SHUT_WR))
		t.err("shutdown listener", t.c.shutdown(l, unix.SHUT_RD))
		t.poll(l)
		_, e = t.c.accept(l)
		t.err("accept", e)
	}},
	{"stream", func(t *trace, d int) {
		c, s := t.pair(d)
		t.poll(c)
		t.recv(c, 10, 0)
		t.send(s, "hello", 0, nobdy)
		settle()
		t.poll(c)
		n, e := t.c.ioctl(c, unix.SIOCINQ)
		t.log("SIOCINQ: %d %v", n, e)
		t.recv(c, 3, unix.MSG_PEEK)
		t.recv(c, 100, unix.MSG_PEEK)
		t.recv(c, 2, 0)
		t.recv(c, 0, 0)
		t.recv(c, 2, unix.MSG_TRUNC)
		t.recv(c, 100, 0)
		t.recv(c, 100, 0)
		t.send(c, "", 0, nobdy)
		n, e = t.c.ioctl(c, unix.SIOCOUTQ)
		t.log("SIOCOUTQ: %d %v", n, e)
	}},
	{"peer closes", func(t *trace, d int) {
		c, s := t.pair(d)
		t.send(s, "bye", 0, nobdy)
		t.err("close", t.c.close(s))
		settle()
		t.poll(c)
		t.recv(c, 100, 0)
		t.recv(c, 100, 0)
		t.poll(c)
		t.send(c, "late", 0, nobdy)
		settle()
		t.poll(c)
		t.send(c, "later", 0, nobdy)
		t.send(c, "latest", 0, nobdy)
		t.recv(c, 100, 0)
		t.poll(c)
		_, e := t.c.peer(c)
		t.err("getpeername", e)
	}},
	{"reset by unread data", func(t *trace, d int) {
		c, s := t.pair(d)
		t.send(c, "unread", 0, nobdy)
		settle()
		t.err("close", t.c.close(s))
		settle()
		t.poll(c)
		t.recv(c, 100, 0)
		t.recv(c, 100, 0)
		t.poll(c)
		t.send(c, "x", 0, nobdy)
		t.int(c, unix.SOL_SOCKET, unix.SO_ERROR)
		t.err("shutdown", t.c.shutdown(c, unix.SHUT_WR))
	}},
	{"reset, send first", func(t *trace, d int) {
		c, s := t.pair(d)
		t.err("SO_LINGER", t.c.set(s, unix.SOL_SOCKET, unix.SO_LINGER, []byte{1, 0, 0, 0, 0, 0, 0, 0}))
		t.err("close", t.c.close(s))
		settle()
		t.send(c, "x", 0, nobdy)
		t.send(c, "x", 0, nobdy)
		t.recv(c, 10, 0)
	}},
	{"reset, with data to read", func(t *trace, d int) {
		c, s := t.pair(d)
		t.send(s, "data", 0, nobdy)
		settle()
		t.err("SO_LINGER", t.c.set(s, unix.SOL_SOCKET, unix.SO_LINGER, []byte{1, 0, 0, 0, 0, 0, 0, 0}))
		t.err("close", t.c.close(s))
		settle()
		t.poll(c)
		t.int(c, unix.SOL_SOCKET, unix.SO_ERROR)
		t.poll(c)
	}},
	{"half close", func(t *trace, d int) {
		c, s := t.pair(d)
		t.err("shutdown", t.c.shutdown(c, unix.SHUT_WR))
		settle()
		t.poll(c)
		t.poll(s)
		t.recv(s, 10, 0)
		t.send(s, "still", 0, nobdy)
		settle()
		t.recv(c, 10, 0)
		t.send(c, "no", 0, nobdy)
		t.err("shutdown again", t.c.shutdown(c, unix.SHUT_WR))
		t.err("shutdown", t.c.shutdown(s, unix.SHUT_WR))
		settle()
		t.poll(c)
		t.poll(s)
		t.recv(c, 10, 0)
		t.err("shutdown over", t.c.shutdown(c, unix.SHUT_WR))
	}},
	{"shutdown of reading", func(t *trace, d int) {
		c, s := t.pair(d)
		t.err("shutdown", t.c.shutdown(c, unix.SHUT_RD))
		t.poll(c)
		t.recv(c, 10, 0)
		t.send(s, "there", 0, nobdy)
		settle()
		t.poll(c)
		t.recv(c, 10, 0)
		t.recv(c, 10, 0)
	}},
	{"bind rules", func(t *trace, d int) {
		a := t.open(d, unix.SOCK_STREAM)
		t.err("bind", t.c.bind(a, netip.AddrPortFrom(t.loopback(d), 0)))
		at, _ := t.c.name(a)
		t.err("bind again", t.c.bind(a, netip.AddrPortFrom(t.loopback(d), 0)))
		b := t.open(d, unix.SOCK_STREAM)
		t.err("same port", t.c.bind(b, at))
		t.setInt(a, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1)
		t.err("one reuses", t.c.bind(b, at))
		t.setInt(b, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1)
		t.err("both reuse", t.c.bind(b, at))
		t.err("listen", t.c.listen(a, 1))
		t.err("other listens", t.c.listen(b, 1))
		x := t.open(d, unix.SOCK_STREAM)
		t.setInt(x, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1)
		t.err("under a listener", t.c.bind(x, at))
		y := t.open(d, unix.SOCK_STREAM)
		foreign := netip.MustParseAddr("203.0.113.9")
		if d == unix.AF_INET6 {
			foreign = netip.MustParseAddr("2001:db8::9")
		}
		t.err("not ours", t.c.bind(y, netip.AddrPortFrom(foreign, 0)))
	}},
	{"reuseport", func(t *trace, d int) {
		a, b := t.open(d, unix.SOCK_STREAM), t.open(d, unix.SOCK_STREAM)
		t.setInt(a, unix.SOL_SOCKET, unix.SO_REUSEPORT, 1)
		t.err("bind", t.c.bind(a, netip.AddrPortFrom(t.loopback(d), 0)))
		at, _ := t.c.name(a)
		t.err("one shares", t.c.bind(b, at))
		t.setInt(b, unix.SOL_SOCKET, unix.SO_REUSEPORT, 1)
		t.err("both share", t.c.bind(b, at))
		t.err("listen", t.c.listen(a, 1))
		t.err("listen", t.c.listen(b, 1))
	}},
	{"wildcard and address", func(t *trace, d int) {
		a, b := t.open(d, unix.SOCK_STREAM), t.open(d, unix.SOCK_STREAM)
		any := any4
		if d == unix.AF_INET6 {
			any = any6
		}
		t.err("bind", t.c.bind(a, netip.AddrPortFrom(any, 0)))
		at, _ := t.c.name(a)
		t.err("bind one", t.c.bind(b, netip.AddrPortFrom(t.loopback(d), at.Port())))
		u, v := t.open(d, unix.SOCK_DGRAM), t.open(d, unix.SOCK_DGRAM)
		t.err("other protocol", t.c.bind(u, netip.AddrPortFrom(any, at.Port())))
		t.err("datagrams", t.c.bind(v, netip.AddrPortFrom(t.loopback(d), at.Port())))
		t.setInt(u, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1)
		t.setInt(v, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1)
		t.err("datagrams that reuse", t.c.bind(v, netip.AddrPortFrom(t.loopback(d), at.Port())))
	}},
	{"both families", func(t *trace, d int) {
		six := t.open(unix.AF_INET6, unix.SOCK_STREAM)
		t.int(six, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY)
		t.err("bind", t.c.bind(six, netip.AddrPortFrom(any6, 0)))
		at, _ := t.c.name(six)
		four := t.open(unix.AF_INET, unix.SOCK_STREAM)
		t.err("IPv4 behind it", t.c.bind(four, netip.AddrPortFrom(any4, at.Port())))
		t.setInt(six, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 1)
		t.err("listen", t.c.listen(six, 4))
		c := t.open(unix.AF_INET, unix.SOCK_STREAM)
		t.err("connect by IPv4", t.c.connect(c, netip.AddrPortFrom(lo4, at.Port())))
		s, e := t.c.accept(six)
		t.err("accept", e)
		t.fds = append(t.fds, s)
		p, _ := t.c.peer(s)
		t.log("peer %v", p.Addr())
		n, _ := t.c.name(s)
		t.log("name %v", n.Addr())
		only := t.open(unix.AF_INET6, unix.SOCK_STREAM)
		t.setInt(only, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 1)
		t.err("bind only", t.c.bind(only, netip.AddrPortFrom(any6, 0)))
		at, _ = t.c.name(only)
		t.err("IPv4 beside it", t.c.bind(four, netip.AddrPortFrom(any4, at.Port())))
		m := t.open(unix.AF_INET6, unix.SOCK_STREAM)
		t.err("bind mapped", t.c.bind(m, netip.AddrPortFrom(netip.AddrFrom16(lo4.As16()), 0)))
		t.err("connect by IPv6", t.c.connect(m, netip.AddrPortFrom(lo6, 1)))
	}},
	{"datagrams", func(t *trace, d int) {
		a, b := t.open(d, t.nonblock(unix.SOCK_DGRAM)), t.open(d, t.nonblock(unix.SOCK_DGRAM))
		t.poll(a)
		t.recv(a, 10, 0)
		t.send(a, "nowhere", 0, nobdy)
		n, _ := t.c.name(a)
		t.log("name %v %v", n.Addr(), n.Port() != 0)
		t.err("bind", t.c.bind(b, netip.AddrPortFrom(t.loopback(d), 0)))
		to, _ := t.c.name(b)
		t.send(a, "hello", 0, to)
		n, _ = t.c.name(a)
		t.log("bound %v %v", n.Addr(), n.Port() != 0)
		settle()
		t.poll(b)
		size, e := t.c.ioctl(b, unix.SIOCINQ)
		t.log("SIOCINQ %d %v", size, e)
		t.recv(b, 2, unix.MSG_PEEK)
		t.recv(b, 2, unix.MSG_PEEK|unix.MSG_TRUNC)
		t.recv(b, 2, unix.MSG_TRUNC)
		t.recv(b, 10, 0)
		t.send(a, "", 0, to)
		settle()
		t.poll(b)
		t.recv(b, 10, 0)
		t.err("listen", t.c.listen(a, 1))
		_, e = t.c.accept(a)
		t.err("accept", e)
		_, e = t.c.peer(a)
		t.err("peer", e)
		t.err("shutdown", t.c.shutdown(a, unix.SHUT_WR))
		t.send(a, strings.Repeat("x", 65508), 0, to)
		t.send(a, "port 0", 0, netip.AddrPortFrom(t.loopback(d), 0))
	}},
	{"connected datagrams", func(t *trace, d int) {
		a, b := t.open(d, t.nonblock(unix.SOCK_DGRAM)), t.open(d, t.nonblock(unix.SOCK_DGRAM))
		t.err("bind", t.c.bind(b, netip.AddrPortFrom(t.loopback(d), 0)))
		to, _ := t.c.name(b)
		t.err("connect", t.c.connect(a, to))
		n, _ := t.c.name(a)
		t.log("name %v %v", n.Addr(), n.Port() != 0)
		p, e := t.c.peer(a)
		t.same("peer", p, to)
		t.err("peer", e)
		t.send(a, "one", 0, nobdy)
		settle()
		t.recv(b, 10, 0)
		t.err("close", t.c.close(b))
		t.send(a, "two", 0, nobdy)
		settle()
		t.poll(a)
		t.send(a, "three", 0, nobdy)
		settle()
		t.int(a, unix.SOL_SOCKET, unix.SO_ERROR)
		t.send(a, "four", 0, nobdy)
		settle()
		t.recv(a, 10, 0)
		t.recv(a, 10, 0)
		t.err("shutdown", t.c.shutdown(a, unix.SHUT_RD))
		t.poll(a)
		t.recv(a, 10, 0)
		t.err("shutdown", t.c.shutdown(a, unix.SHUT_WR))
		t.send(a, "five", 0, nobdy)
		t.poll(a)
		t.err("disconnect", t.c.disconnect(a))
		_, e = t.c.peer(a)
		t.err("peer", e)
		n, _ = t.c.name(a)
		t.log("name %v", n)
	}},
	{"options", func(t *trace, d int) {
		for _, typ := range []int{unix.SOCK_STREAM, unix.SOCK_DGRAM} {
			s := t.open(d, typ)
			for _, n := range []int{
				unix.SO_TYPE, unix.SO_DOMAIN, unix.SO_PROTOCOL, unix.SO_ERROR, unix.SO_ACCEPTCONN, unix.SO_REUSEADDR, unix.SO_REUSEPORT,
				unix.SO_BROADCAST, unix.SO_KEEPALIVE, unix.SO_RCVLOWAT, unix.SO_SNDLOWAT, unix.SO_OOBINLINE, unix.SO_DONTROUTE, unix.SO_PRIORITY, unix.SO_MARK,
			} {
				t.int(s, unix.SOL_SOCKET, n)
			}
			for _, v := range []int32{0, 1, 5, -1} {
				t.setInt(s, unix.SOL_SOCKET, unix.SO_KEEPALIVE, v)
				t.int(s, unix.SOL_SOCKET, unix.SO_KEEPALIVE)
				t.setInt(s, unix.SOL_SOCKET, unix.SO_RCVLOWAT, max(v, 0)) // what -1 means differs from machine to machine
				t.int(s, unix.SOL_SOCKET, unix.SO_RCVLOWAT)
				t.setInt(s, unix.IPPROTO_TCP, unix.TCP_NODELAY, v)
				t.int(s, unix.IPPROTO_TCP, unix.TCP_NODELAY)
				for _, n := range []int{unix.TCP_KEEPIDLE, unix.TCP_KEEPINTVL, unix.TCP_KEEPCNT, unix.TCP_SYNCNT, unix.TCP_MAXSEG} {
					t.setInt(s, unix.IPPROTO_TCP, n, v)
				}
			}
			for _, n := range []int{unix.TCP_KEEPIDLE, unix.TCP_KEEPINTVL, unix.TCP_KEEPCNT, unix.TCP_SYNCNT} {
				t.int(s, unix.IPPROTO_TCP, n)
			}
			for _, v := range []int32{1000, 100000, 0} {
				t.setInt(s, unix.SOL_SOCKET, unix.SO_RCVBUF, v)
				t.int(s, unix.SOL_SOCKET, unix.SO_RCVBUF)
				t.setInt(s, unix.SOL_SOCKET, unix.SO_SNDBUF, v)
				t.int(s, unix.SOL_SOCKET, unix.SO_SNDBUF)
			}
			if d == unix.AF_INET {
				for _, v := range []int32{1, 255, 0, 256, -1} {
					t.setInt(s, unix.IPPROTO_IP, unix.IP_TTL, v)
					t.int(s, unix.IPPROTO_IP, unix.IP_TTL)
				}
				t.int(s, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY)
			} else {
				for _, v := range []int32{1, 255, 256, -2} {
					t.setInt(s, unix.IPPROTO_IPV6, unix.IPV6_UNICAST_HOPS, v)
					t.int(s, unix.IPPROTO_IPV6, unix.IPV6_UNICAST_HOPS)
				}
			}
			t.setInt(s, unix.SOL_SOCKET, 9999, 1)
			t.int(s, unix.SOL_SOCKET, 9999)
			t.setInt(s, 250, 1, 1)
			t.err("short", t.c.set(s, unix.SOL_SOCKET, unix.SO_KEEPALIVE, []byte{1, 0}))
			t.err("linger", t.c.set(s, unix.SOL_SOCKET, unix.SO_LINGER, []byte{1, 0, 0, 0, 7, 0, 0, 0}))
			b, e := t.c.get(s, unix.SOL_SOCKET, unix.SO_LINGER, 8)
			t.log("linger % x %v", b, e)
			b, e = t.c.get(s, unix.SOL_SOCKET, unix.SO_TYPE, 2)
			t.log("half a type % x %v", b, e)
			for _, v := range [][]byte{nil, {0, 0, 1, 0, 0, 0, 0, 0}, {0, 0, 1, 0, 1, 0, 0, 0}, {1, 2, 3, 4}, {1, 2}, {255, 255, 255, 255}} {
				if v != nil {
					t.err("pacing", t.c.set(s, unix.SOL_SOCKET, unix.SO_MAX_PACING_RATE, v))
				}
				for _, n := range []int{8, 4} {
					b, e = t.c.get(s, unix.SOL_SOCKET, unix.SO_MAX_PACING_RATE, n)
					t.log("pacing % x %v", b, e)
				}
			}
			b, e = t.c.get(s, unix.IPPROTO_TCP, unix.TCP_CONGESTION, 16)
			t.log("congestion %d %v", len(b), e)
			t.err("congestion", t.c.set(s, unix.IPPROTO_TCP, unix.TCP_CONGESTION, []byte("reno")))
			t.err("congestion", t.c.set(s, unix.IPPROTO_TCP, unix.TCP_CONGESTION, []byte("nonesuch")))
		}
	}},
	{"epoll", func(t *trace, d int) {
		c, s := t.pair(d)
		ep, e := t.c.epoll()
		t.err("epoll_create", e)
		t.fds = append(t.fds, ep)
		const in, out, et, one = unix.EPOLLIN, unix.EPOLLOUT, 1 << 31, unix.EPOLLONESHOT
		t.err("add", t.c.epollCtl(ep, unix.EPOLL_CTL_ADD, c, in))
		t.err("add again", t.c.epollCtl(ep, unix.EPOLL_CTL_ADD, c, in))
		t.err("itself", t.c.epollCtl(ep, unix.EPOLL_CTL_ADD, ep, in))
		t.err("mod none", t.c.epollCtl(ep, unix.EPOLL_CTL_MOD, s, in))
		t.log("wait %s", t.c.epollWait(ep, 0))
		t.send(s, "level", 0, nobdy)
		settle()
		t.log("level %s", t.c.epollWait(ep, 100))
		t.log("level %s", t.c.epollWait(ep, 0))
		t.err("mod", t.c.epollCtl(ep, unix.EPOLL_CTL_MOD, c, in|et))
		t.log("edge %s", t.c.epollWait(ep, 0))
		t.log("edge %s", t.c.epollWait(ep, 0))
		t.send(s, "more", 0, nobdy)
		settle()
		t.log("edge %s", t.c.epollWait(ep, 0))
		t.log("edge %s", t.c.epollWait(ep, 0))
		t.err("mod", t.c.epollCtl(ep, unix.EPOLL_CTL_MOD, c, in|out|et|one))
		t.log("once %s", t.c.epollWait(ep, 0))
		t.send(s, "more", 0, nobdy)
		settle()
		t.log("once %s", t.c.epollWait(ep, 0))
		t.err("mod", t.c.epollCtl(ep, unix.EPOLL_CTL_MOD, c, in|unix.EPOLLRDHUP))
		t.recv(c, 100, 0)
		t.err("close", t.c.close(s))
		settle()
		t.log("closed %s", t.c.epollWait(ep, 0))
		t.err("del", t.c.epollCtl(ep, unix.EPOLL_CTL_DEL, c, 0))
		t.err("del again", t.c.epollCtl(ep, unix.EPOLL_CTL_DEL, c, 0))
		t.log("deleted %s", t.c.epollWait(ep, 0))
	}},
	{"wrong calls", func(t *trace, d int) {
		_, e := t.c.socket(d, 9, 0)
		t.err("type 9", e)
		_, e = t.c.socket(d, unix.SOCK_STREAM, unix.IPPROTO_UDP)
		t.err("stream of UDP", e)
		_, e = t.c.socket(d, unix.SOCK_DGRAM, unix.IPPROTO_TCP)
		t.err("datagrams of TCP", e)
		_, e = t.c.socket(d, unix.SOCK_DGRAM, 200)
		t.err("protocol 200", e)
		s := t.open(d, unix.SOCK_STREAM)
		if other := netip.AddrPortFrom(lo6, 80); d == unix.AF_INET {
			t.err("bind other family", t.c.bind(s, other))
			t.err("connect other family", t.c.connect(s, other))
		}
		t.err("bad descriptor", t.c.close(4321))
		t.err("bad descriptor", t.c.listen(4321, 1))
		ep, _ := t.c.epoll()
		t.fds = append(t.fds, ep)
		t.err("no socket", t.c.listen(ep, 1))
	}},
	{"urgent data", func(t *trace, d int) {
		c, s := t.pair(d)
		at := func() {
			n, e := t.c.ioctl(s, unix.SIOCATMARK)
			t.log("SIOCATMARK %d %v", n, e)
		}
		t.recv(s, 1, unix.MSG_OOB)
		t.send(c, "abcU", unix.MSG_OOB, nobdy)
		t.send(c, "def", 0, nobdy)
		settle()
		t.poll(s)
		at()
		n, e := t.c.ioctl(s, unix.SIOCINQ)
		t.log("SIOCINQ %d %v", n, e)
		t.recv(s, 2, 0)
		at()
		t.recv(s, 100, 0)
		at()
		t.poll(s)
		t.recv(s, 1, unix.MSG_OOB|unix.MSG_PEEK)
		t.recv(s, 1, unix.MSG_OOB)
		t.recv(s, 1, unix.MSG_OOB)
		t.poll(s)
		t.recv(s, 100, 0)
		at()
		t.setInt(s, unix.SOL_SOCKET, unix.SO_OOBINLINE, 1)
		t.send(c, "gV", unix.MSG_OOB, nobdy)
		settle()
		t.poll(s)
		t.recv(s, 1, unix.MSG_OOB)
		t.recv(s, 100, 0)
		t.recv(s, 100, 0)
		at()
	}},
	{"holding back", func(t *trace, d int) {
		c, s := t.pair(d)
		t.setInt(c, unix.IPPROTO_TCP, unix.TCP_CORK, 1)
		t.send(c, "corked", 0, nobdy)
		settle()
		t.recv(s, 100, unix.MSG_DONTWAIT)
		t.setInt(c, unix.IPPROTO_TCP, unix.TCP_CORK, 0)
		settle()
		t.recv(s, 100, unix.MSG_DONTWAIT)
		t.setInt(c, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
		t.send(c, "more", unix.MSG_MORE, nobdy)
		settle()
		t.recv(s, 100, unix.MSG_DONTWAIT)
		t.send(c, "and", 0, nobdy)
		settle()
		t.recv(s, 100, unix.MSG_DONTWAIT)
	}},
	{"waiting for all", func(t *trace, d int) {
		c, s := t.pair(d)
		t.send(c, "abc", 0, nobdy)
		settle()
		t.recv(s, 10, unix.MSG_WAITALL) // gives up
		t.send(c, "0123456789", 0, nobdy)
		settle()
		t.recv(s, 4, unix.MSG_WAITALL)
		t.setInt(s, unix.SOL_SOCKET, unix.SO_RCVLOWAT, 20)
		t.poll(s)
		t.err("shutdown", t.c.shutdown(c, unix.SHUT_WR))
		settle()
		t.poll(s)
		t.recv(s, 100, unix.MSG_WAITALL)
	}},
	{"error queue", func(t *trace, d int) {
		level, name := unix.IPPROTO_IP, unix.IP_RECVERR
		if d == unix.AF_INET6 {
			level, name = unix.IPPROTO_IPV6, unix.IPV6_RECVERR
		}
		a, b := t.open(d, t.nonblock(unix.SOCK_DGRAM)), t.open(d, t.nonblock(unix.SOCK_DGRAM))
		t.err("bind", t.c.bind(b, netip.AddrPortFrom(t.loopback(d), 0)))
		to, _ := t.c.name(b)
		t.err("close", t.c.close(b))
		t.send(a, "unheard", 0, to)
		settle()
		t.poll(a)
		t.setInt(a, level, name, 1)
		t.int(a, level, name)
		t.recv(a, 10, unix.MSG_ERRQUEUE)
		for _, s := range []string{"one", "three"} {
			t.send(a, s, 0, to)
			settle()
			t.poll(a)
		}
		t.recv(a, 10, 0)
		t.poll(a)
		t.errorQueue(a, 10, to)
		t.poll(a)
		t.send(a, "four", 0, to)
		settle()
		t.errorQueue(a, 2, to)
		t.int(a, unix.SOL_SOCKET, unix.SO_ERROR)
		t.poll(a)
		t.errorQueue(a, 10, to)
		t.send(a, "gone", 0, to)
		settle()
		t.setInt(a, level, name, 0)
		t.recv(a, 10, unix.MSG_ERRQUEUE)
		t.recv(a, 10, 0)
	}},
	{"disconnect", func(t *trace, d int) {
		c, s := t.pair(d)
		t.err("disconnect", t.c.disconnect(c))
		settle()
		t.poll(c)
		t.recv(s, 10, 0)
		_, e := t.c.peer(c)
		t.err("peer", e)
		t.recv(c, 10, 0)
	}},
}

// errorQueue reads the error queue, with addresses and control messages; the
// datagrams were sent to the address to.
func (t *trace) errorQueue(fd, n int, to netip.AddrPort) {
	b := make([]byte, n)
	switch c := t.c.(type) {
	case kernel:
		oob := make([]byte, 256)
		n, oobn, flags, from, err := unix.Recvmsg(fd, b, oob, unix.MSG_ERRQUEUE)
		t.log("errqueue: %q %#x %v %v", b[:max(n, 0)], flags, err == nil && addrPort(from) == to, err)
		ms, _ := unix.ParseSocketControlMessage(oob[:oobn])
		for _, m := range ms {
			t.log("cmsg %d %d % x", m.Header.Level, m.Header.Type, m.Data)
		}
	case ours:
		m, e := c.p.Recv(fd, b, posix.MSG_ERRQUEUE)
		var err error
		if e != 0 {
			err = e
		}
		t.log("errqueue: %q %#x %v %v", b[:m.N], m.Flags, e == 0 && m.From.AddrPort == to, err)
		for _, m := range m.Ctl {
			t.log("cmsg %d %d % x", m.Level, m.Type, m.Data)
		}
	}
}

func (t *trace) end() {
	for _, fd := range t.fds {
		if fd >= 0 {
			t.c.close(fd)
		}
	}
}

// TestLikeTheKernel compares every script on the kernel's loopback and ours.
func TestLikeTheKernel(t *testing.T) {
	for _, s := range scripts {
		for _, domain := range []int{unix.AF_INET, unix.AF_INET6} {
			t.Run(s.name+map[int]string{unix.AF_INET: "/IPv4", unix.AF_INET6: "/IPv6"}[domain], func(t *testing.T) {
				typ, proto := unix.SOCK_STREAM, 0
				if strings.HasPrefix(s.name, "raw:") || strings.HasPrefix(s.name, "packet:") {
					typ, proto = unix.SOCK_RAW, testProto // for superusers
				}
				if fd, err := unix.Socket(domain, typ, proto); err != nil {
					t.Skipf("the kernel has no such sockets to compare with: %v", err)
				} else {
					unix.Close(fd)
				}
				compare(t, domain, s.run)
			})
		}
	}
}

// compare runs a script on the kernel's loopback and on a fresh host's.
func compare(t *testing.T, domain int, run func(t *trace, domain int)) {
	t.Helper()
	h := host.New(host.Config{Name: "h"})
	defer h.Close(context.Background())
	p := posix.New(h)
	defer p.CloseAll()
	want, got := &trace{c: kernel{}, sysctl: kernelSysctl}, &trace{c: ours{p}, sysctl: h.SetSysctl}
	run(want, domain)
	run(got, domain)
	want.end()
	got.end()
	for i := range max(len(want.lines), len(got.lines)) {
		var w, g string
		if i < len(want.lines) {
			w = want.lines[i]
		}
		if i < len(got.lines) {
			g = got.lines[i]
		}
		if w != g {
			t.Errorf("line %d:\n  kernel  %s\n  towpath %s", i, w, g)
		}
	}
}

// kernelSysctl writes a setting of this machine's kernel.
func kernelSysctl(name, value string) syscall.Errno {
	err := os.WriteFile("/proc/sys/"+strings.ReplaceAll(name, ".", "/"), []byte(value), 0)
	var e syscall.Errno
	errors.As(err, &e)
	return e
}
