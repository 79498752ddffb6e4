//go:build linux && amd64

package posix_test

import (
	"encoding/binary"
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/towpath/towpath/posix"
)

func init() { scripts = append(scripts, wayScripts...) }

// recvCtl receives with control messages, of which those with times are named
// only.
func (t *trace) recvCtl(fd, size int) {
	b := make([]byte, size)
	show := func(level, typ int, data []byte) {
		if level == unix.SOL_SOCKET {
			when := time.Unix(int64(binary.LittleEndian.Uint64(data)), 0)
			t.log("cmsg %d %d of %d bytes, recent %v", level, typ, len(data), time.Since(when) < time.Minute)
			return
		}
		t.log("cmsg %d %d % x", level, typ, data)
	}
	switch c := t.c.(type) {
	case ours:
		m, e := c.p.Recv(fd, b, 0)
		t.log("recv %q %#x %v", b[:min(m.N, size)], m.Flags, e)
		for _, m := range m.Ctl {
			show(m.Level, m.Type, m.Data)
		}
	default:
		oob := make([]byte, 512)
		n, oobn, flags, _, err := unix.Recvmsg(fd, b, oob, 0)
		t.log("recv %q %#x %v", b[:max(n, 0)], flags, errno(err))
		ms, _ := unix.ParseSocketControlMessage(oob[:oobn])
		for _, m := range ms {
			show(int(m.Header.Level), int(m.Header.Type), m.Data)
		}
	}
}

func (t *trace) opt(fd, level, name, size int) {
	b, e := t.c.get(fd, level, name, size)
	t.log("getsockopt %d %d: % x %v", level, name, b, e)
}

var wayScripts = []struct {
	name string
	run  func(t *trace, domain int)
}{
	{"way: options", func(t *trace, d int) {
		for _, typ := range []int{unix.SOCK_STREAM, unix.SOCK_DGRAM} {
			s := t.open(d, typ)
			ints := []struct{ level, name int }{
				{unix.SOL_SOCKET, unix.SO_MARK}, {unix.SOL_SOCKET, unix.SO_TIMESTAMP}, {unix.SOL_SOCKET, unix.SO_TIMESTAMPNS},
				{unix.IPPROTO_IP, unix.IP_MTU_DISCOVER}, {unix.IPPROTO_IP, unix.IP_MULTICAST_TTL}, {unix.IPPROTO_IP, unix.IP_BIND_ADDRESS_NO_PORT},
				{unix.IPPROTO_IP, unix.IP_MTU},
			}
			if d == unix.AF_INET6 {
				ints = append(ints, []struct{ level, name int }{
					{unix.IPPROTO_IPV6, unix.IPV6_MTU_DISCOVER}, {unix.IPPROTO_IPV6, unix.IPV6_MULTICAST_HOPS}, {unix.IPPROTO_IPV6, unix.IPV6_MULTICAST_IF},
				}...)
			}
			if typ == unix.SOCK_DGRAM {
				ints = append(ints, []struct{ level, name int }{{unix.IPPROTO_UDP, unix.UDP_SEGMENT}, {unix.IPPROTO_UDP, unix.UDP_GRO}}...)
			}
			for _, o := range ints {
				t.int(s, o.level, o.name)
				for _, v := range []int32{0, 1, 4, 255, 256, -1, 70000} {
					if o.name == unix.IPV6_MULTICAST_IF && v > 1 {
						continue // there may be such an adapter
					}
					if o.name == unix.IP_MTU {
						continue
					}
					t.setInt(s, o.level, o.name, v)
					t.int(s, o.level, o.name)
				}
			}
			t.opt(s, unix.SOL_SOCKET, unix.SO_BINDTODEVICE, 16)
			t.err("no such", t.c.set(s, unix.SOL_SOCKET, unix.SO_BINDTODEVICE, []byte("nonesuch0")))
			t.err("lo", t.c.set(s, unix.SOL_SOCKET, unix.SO_BINDTODEVICE, []byte("lo")))
			t.opt(s, unix.SOL_SOCKET, unix.SO_BINDTODEVICE, 16)
			t.err("none", t.c.set(s, unix.SOL_SOCKET, unix.SO_BINDTODEVICE, []byte{0}))
			t.opt(s, unix.SOL_SOCKET, unix.SO_BINDTODEVICE, 16)
			t.opt(s, unix.IPPROTO_IP, unix.IP_MULTICAST_IF, 4)
			t.err("by address", t.c.set(s, unix.IPPROTO_IP, unix.IP_MULTICAST_IF, []byte{127, 0, 0, 1}))
			t.opt(s, unix.IPPROTO_IP, unix.IP_MULTICAST_IF, 4)
			t.err("not ours", t.c.set(s, unix.IPPROTO_IP, unix.IP_MULTICAST_IF, []byte{203, 0, 113, 9}))
			mreq := []byte{239, 1, 2, 3, 0, 0, 0, 0, 1, 0, 0, 0}
			t.err("leave", t.c.set(s, unix.IPPROTO_IP, unix.IP_DROP_MEMBERSHIP, mreq))
			t.err("join", t.c.set(s, unix.IPPROTO_IP, unix.IP_ADD_MEMBERSHIP, mreq))
			t.err("join again", t.c.set(s, unix.IPPROTO_IP, unix.IP_ADD_MEMBERSHIP, mreq))
			t.err("leave", t.c.set(s, unix.IPPROTO_IP, unix.IP_DROP_MEMBERSHIP, mreq))
			mreq[0] = 10
			t.err("no group", t.c.set(s, unix.IPPROTO_IP, unix.IP_ADD_MEMBERSHIP, mreq))
			mreq[0], mreq[9] = 239, 99
			t.err("no adapter", t.c.set(s, unix.IPPROTO_IP, unix.IP_ADD_MEMBERSHIP, mreq))
			t.err("short", t.c.set(s, unix.IPPROTO_IP, unix.IP_ADD_MEMBERSHIP, mreq[:7]))
		}
	}},
	{"way: timestamps", func(t *trace, d int) {
		a, b := t.open(d, t.nonblock(unix.SOCK_DGRAM)), t.open(d, t.nonblock(unix.SOCK_DGRAM))
		t.err("bind", t.c.bind(b, netip.AddrPortFrom(t.loopback(d), 0)))
		to, _ := t.c.name(b)
		for _, n := range []int{unix.SO_TIMESTAMP, unix.SO_TIMESTAMPNS} {
			t.setInt(b, unix.SOL_SOCKET, n, 1)
			t.send(a, "when", 0, to)
			settle()
			t.recvCtl(b, 10)
			t.setInt(b, unix.SOL_SOCKET, n, 0)
		}
		t.setInt(b, unix.SOL_SOCKET, unix.SO_TIMESTAMPING, unix.SOF_TIMESTAMPING_RX_SOFTWARE|unix.SOF_TIMESTAMPING_SOFTWARE)
		t.send(a, "when", 0, to)
		settle()
		t.recvCtl(b, 10)
		t.setInt(b, unix.SOL_SOCKET, unix.SO_TIMESTAMPING, 1<<30)
	}},
	{"way: segments of datagrams", func(t *trace, d int) {
		a, b := t.open(d, t.nonblock(unix.SOCK_DGRAM)), t.open(d, t.nonblock(unix.SOCK_DGRAM))
		t.err("bind", t.c.bind(b, netip.AddrPortFrom(t.loopback(d), 0)))
		to, _ := t.c.name(b)
		t.setInt(a, unix.IPPROTO_UDP, unix.UDP_SEGMENT, 4)
		t.send(a, "0123456789", 0, to)
		t.send(a, "abc", 0, to)
		settle()
		for range 5 {
			t.recvCtl(b, 100)
		}
		t.setInt(b, unix.IPPROTO_UDP, unix.UDP_GRO, 1)
		t.send(a, "0123456789", 0, to)
		settle()
		t.recvCtl(b, 100)
		t.recvCtl(b, 100)
		t.send(a, strings.Repeat("x", 4*129), 0, to)
		t.send(a, strings.Repeat("x", 65508), 0, to)
		t.setInt(a, unix.IPPROTO_UDP, unix.UDP_SEGMENT, 0)
		t.send(a, "0123456789", 0, to)
		settle()
		t.recvCtl(b, 100)
	}},
	{"way: port by connecting", func(t *trace, d int) {
		l, at := t.server(d, 4)
		_ = l
		for _, typ := range []int{unix.SOCK_STREAM, unix.SOCK_DGRAM} {
			s := t.open(d, typ)
			t.setInt(s, unix.IPPROTO_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1)
			t.err("bind", t.c.bind(s, netip.AddrPortFrom(t.loopback(d), 0)))
			n, e := t.c.name(s)
			t.log("name %v %v", n, e)
			t.err("connect", t.c.connect(s, at))
			n, e = t.c.name(s)
			t.log("name %v %v %v", n.Addr(), n.Port() != 0, e)
		}
	}},
	{"way: kept to an adapter", func(t *trace, d int) {
		l, at := t.server(d, 4)
		t.err("lo", t.c.set(l, unix.SOL_SOCKET, unix.SO_BINDTODEVICE, []byte("lo")))
		s := t.open(d, unix.SOCK_STREAM)
		t.err("lo", t.c.set(s, unix.SOL_SOCKET, unix.SO_BINDTODEVICE, []byte("lo")))
		t.err("connect", t.c.connect(s, at))
		a, b := t.open(d, t.nonblock(unix.SOCK_DGRAM)), t.open(d, t.nonblock(unix.SOCK_DGRAM))
		t.err("lo", t.c.set(b, unix.SOL_SOCKET, unix.SO_BINDTODEVICE, []byte("lo")))
		t.err("bind", t.c.bind(b, netip.AddrPortFrom(t.loopback(d), 0)))
		to, _ := t.c.name(b)
		t.setInt(a, unix.SOL_SOCKET, unix.SO_MARK, 77)
		t.send(a, "here", 0, to)
		settle()
		t.recv(b, 10, 0)
		t.err("connect", t.c.connect(a, to))
		level, mtu := unix.IPPROTO_IP, unix.IP_MTU
		if d == unix.AF_INET6 {
			level, mtu = unix.IPPROTO_IPV6, unix.IPV6_MTU
		}
		v, e := t.c.get(a, level, mtu, 4)
		t.log("mtu of %d bytes %v", len(v), e)
	}},
}

// TestMTUDiscover refuses datagrams that would have to be fragmented, and tells
// by how much.
func TestMTUDiscover(t *testing.T) {
	ps, _ := cabled(t)
	s, e := ps[0].Socket(-1, posix.AF_INET, posix.SOCK_DGRAM, 0)
	if e != 0 {
		t.Fatal(e)
	}
	set := func(name, v int) {
		t.Helper()
		if e := ps[0].SetSockOpt(s, posix.IPPROTO_IP, name, binary.LittleEndian.AppendUint32(nil, uint32(v))); e != 0 {
			t.Fatal(e)
		}
	}
	to := posix.AddrOf(netip.MustParseAddrPort("10.0.0.2:9"))
	big := make([]byte, 1473)
	if _, e := ps[0].Send(s, big, 0, to, nil); e != 0 {
		t.Error("fragmented:", e)
	}
	set(posix.IP_RECVERR, 1)
	set(posix.IP_MTU_DISCOVER, 2)
	if _, e := ps[0].Send(s, big, 0, to, nil); e != syscall.EMSGSIZE {
		t.Error("not to be fragmented:", e)
	}
	m, e := ps[0].Recv(s, make([]byte, 10), posix.MSG_ERRQUEUE)
	if e != 0 || m.From.AddrPort != to.AddrPort || len(m.Ctl) != 1 {
		t.Fatalf("%+v %v", m, e)
	}
	if b := m.Ctl[0].Data; syscall.Errno(b[0]) != syscall.EMSGSIZE || b[4] != 1 || binary.LittleEndian.Uint32(b[8:]) != 1500 {
		t.Errorf("error % x", b)
	}
	if _, e := ps[0].Send(s, big[:1472], 0, to, nil); e != 0 {
		t.Error("it fits:", e)
	}
	if e := ps[0].Connect(s, to); e != 0 {
		t.Fatal(e)
	}
	if b, e := ps[0].GetSockOpt(s, posix.IPPROTO_IP, posix.IP_MTU, 4); e != 0 || binary.LittleEndian.Uint32(b) != 1500 {
		t.Errorf("MTU % x %v", b, e)
	}
}
