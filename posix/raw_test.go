//go:build linux && amd64

package posix_test

import (
	"encoding/binary"
	"net/netip"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/towpath/towpath/wire"
)

func init() { scripts = append(scripts, rawScripts...) }

// testProto is a protocol for experiments (RFC 3692).
const testProto = 253

// raw makes a raw socket that does not wait.
func (t *trace) raw(d, proto int) int {
	fd, e := t.c.socket(d, unix.SOCK_RAW|unix.SOCK_NONBLOCK, proto)
	if e != 0 {
		t.err("socket", e)
	}
	t.fds = append(t.fds, fd)
	return fd
}

// recvRaw receives, and logs the bytes without those of an IPv4 header that are
// chosen freely.
func (t *trace) recvRaw(fd, d int) {
	s, n, e := t.c.recv(fd, 2000, 0)
	b := []byte(s)
	if d == unix.AF_INET && len(b) >= 20 {
		b[4], b[5], b[10], b[11] = 0, 0, 0, 0
		if b[9] == unix.IPPROTO_ICMP {
			b[6] = 0 // DF: Linux answers without
		}
	}
	t.log("recv: % x %d %v", b, n, e)
}

// only is an address of the loopback that nobody else talks to.
func only(d int) netip.Addr {
	if d == unix.AF_INET6 {
		return lo6
	}
	return netip.MustParseAddr("127.93.77.5")
}

func echo(d int, id uint16, payload string) string {
	b := new(wire.Builder).Payload([]byte(payload))
	if d == unix.AF_INET6 {
		b.PushICMPv6(wire.ICMPv6EchoRequest, 0, uint32(id)<<16|1)
	} else {
		b.PushICMPv4(wire.ICMPv4EchoRequest, 0, uint32(id)<<16|1)
	}
	return string(b.Bytes())
}

// rawScripts need a kernel that lets us open raw sockets.
var rawScripts = []struct {
	name string
	run  func(t *trace, domain int)
}{
	{"raw: protocols", func(t *trace, d int) {
		for _, proto := range []int{0, -1, 263, 300} {
			_, e := t.c.socket(d, unix.SOCK_RAW, proto)
			t.err("socket", e)
		}
		s := t.raw(d, testProto)
		n, e := t.c.name(s)
		t.log("name %v %v", n, e)
		_, e = t.c.peer(s)
		t.err("peer", e)
		for _, o := range []int{unix.SO_TYPE, unix.SO_PROTOCOL, unix.SO_DOMAIN} {
			t.int(s, unix.SOL_SOCKET, o)
		}
		t.poll(s)
		t.recvRaw(s, d)
		t.err("listen", t.c.listen(s, 1))
		_, e = t.c.accept(s)
		t.err("accept", e)
		t.send(s, "nowhere", 0, nobdy)
		t.send(s, "urgent", unix.MSG_OOB, netip.AddrPortFrom(only(d), 0))
		t.err("shutdown", t.c.shutdown(s, unix.SHUT_RD))
	}},
	{"raw: copies", func(t *trace, d int) {
		at := netip.AddrPortFrom(only(d), 0)
		a, b, c := t.raw(d, testProto), t.raw(d, testProto), t.raw(d, testProto+1)
		t.send(a, "hello", 0, at)
		settle()
		t.poll(a)
		n, e := t.c.ioctl(b, unix.SIOCINQ)
		t.log("SIOCINQ %d %v", n, e)
		t.recvRaw(a, d)
		t.recvRaw(b, d)
		t.recvRaw(c, d)
		t.recvRaw(b, d)
		t.err("bind", t.c.bind(b, netip.AddrPortFrom(t.loopback(d), 7)))
		name, _ := t.c.name(b)
		t.log("name %v", name)
		t.send(a, "again", 0, at)
		settle()
		t.recvRaw(b, d)
		t.recvRaw(a, d)
		any := any4
		if d == unix.AF_INET6 {
			any = any6
		}
		t.err("bind again", t.c.bind(b, netip.AddrPortFrom(any, 0)))
		t.send(a, "third", 0, netip.AddrPortFrom(only(d), testProto))
		t.send(a, "wrong port", 0, netip.AddrPortFrom(only(d), 77))
		settle()
		t.recvRaw(b, d)
		foreign := netip.MustParseAddr("203.0.113.9")
		if d == unix.AF_INET6 {
			foreign = netip.MustParseAddr("2001:db8::9")
		}
		t.err("not ours", t.c.bind(b, netip.AddrPortFrom(foreign, 0)))
	}},
	{"raw: connected", func(t *trace, d int) {
		a, b := t.raw(d, testProto), t.raw(d, testProto)
		t.err("connect", t.c.connect(a, netip.AddrPortFrom(only(d), 0)))
		_, e := t.c.peer(a)
		t.err("peer", e)
		n, _ := t.c.name(a)
		t.log("name %v", n)
		t.err("bind", t.c.bind(a, netip.AddrPortFrom(t.loopback(d), 0)))
		t.send(a, "one", 0, nobdy)
		settle()
		t.recvRaw(b, d)
		t.recvRaw(a, d)
		t.err("connect", t.c.connect(a, netip.AddrPortFrom(only(d), 9)))
		p, e := t.c.peer(a)
		t.log("peer %v %v", p, e)
		t.err("disconnect", t.c.disconnect(a))
		n, _ = t.c.name(a)
		t.log("name %v", n)
		t.send(a, "two", 0, nobdy)
		t.send(b, "three", 0, netip.AddrPortFrom(only(d), 0))
		settle()
		t.recvRaw(a, d)
		t.recvRaw(b, d)
	}},
	{"raw: echo", func(t *trace, d int) {
		proto, level, size := unix.IPPROTO_ICMP, unix.SOL_RAW, 4
		if d == unix.AF_INET6 {
			proto, level, size = unix.IPPROTO_ICMPV6, unix.SOL_ICMPV6, 32
		}
		s := t.raw(d, proto)
		b, e := t.c.get(s, level, 1, size)
		t.log("filter % x %v", b, e)
		block := make([]byte, size)
		for i := range block {
			block[i] = 0xff
		}
		t.err("block all", t.c.set(s, level, 1, block))
		t.err("connect", t.c.connect(s, netip.AddrPortFrom(only(d), 1)))
		t.send(s, echo(d, 0x9377, "unheard"), 0, nobdy)
		settle()
		t.recvRaw(s, d)
		if d == unix.AF_INET6 {
			block[128/8], block[129/8] = 0, 0
		} else {
			block[0], block[1] = 0xfe, 0xfe
		}
		t.err("pass echoes", t.c.set(s, level, 1, block))
		b, e = t.c.get(s, level, 1, size)
		t.log("filter % x %v", b, e)
		t.send(s, echo(d, 0x9377, "heard"), 0, nobdy)
		settle()
		t.recvRaw(s, d)
		t.recvRaw(s, d)
		t.recvRaw(s, d)
		t.err("short filter", t.c.set(s, level, 1, block[:1]))
		x := t.raw(d, testProto)
		t.err("filter of others", t.c.set(x, level, 1, block))
		_, e = t.c.get(x, level, 1, size)
		t.err("filter of others", e)
	}},
	{"raw: header included", func(t *trace, d int) {
		at := netip.AddrPortFrom(only(d), 0)
		in, out := t.raw(d, testProto), t.raw(d, unix.IPPROTO_RAW)
		level, name := unix.IPPROTO_IP, unix.IP_HDRINCL
		if d == unix.AF_INET6 {
			level, name = unix.IPPROTO_IPV6, unix.IPV6_HDRINCL
		}
		t.int(in, level, name)
		t.int(out, level, name)
		build := func(src netip.Addr) string {
			b := new(wire.Builder).Payload([]byte("made by hand"))
			if d == unix.AF_INET6 {
				return string(b.PushIPv6(wire.IPv6Fields{NextHeader: testProto, HopLimit: 9, TrafficClass: 8, Src: src, Dst: at.Addr()}).Bytes())
			}
			return string(b.PushIPv4(wire.IPv4Fields{Proto: testProto, TTL: 9, TOS: 8, Src: src, Dst: at.Addr()}).Bytes())
		}
		t.send(out, build(t.loopback(d)), 0, at)
		settle()
		t.recvRaw(in, d)
		if d == unix.AF_INET {
			b := []byte(build(any4))
			b[2], b[3], b[10] = 0, 0, 77 // length and checksum are filled in
			t.send(out, string(b), 0, at)
			settle()
			t.recvRaw(in, d)
		}
		t.send(out, "short", 0, at)
		t.setInt(in, level, name, 1)
		t.int(in, level, name)
		t.send(in, build(t.loopback(d)), 0, at)
		settle()
		t.recvRaw(in, d)
		u := t.open(d, unix.SOCK_DGRAM)
		t.setInt(u, level, name, 1)
	}},
	{"raw: checksum", func(t *trace, d int) {
		at := netip.AddrPortFrom(lo6, 0)
		a, b := t.raw(unix.AF_INET6, testProto), t.raw(unix.AF_INET6, testProto)
		t.int(a, unix.IPPROTO_IPV6, unix.IPV6_CHECKSUM)
		t.setInt(a, unix.IPPROTO_IPV6, unix.IPV6_CHECKSUM, 3)
		t.setInt(a, unix.IPPROTO_IPV6, unix.IPV6_CHECKSUM, 4)
		t.int(a, unix.SOL_RAW, unix.IPV6_CHECKSUM)
		t.send(a, "too", 0, at)
		t.send(a, "0123xx6789", 0, at)
		settle()
		t.recvRaw(b, unix.AF_INET6)
		t.recvRaw(a, unix.AF_INET6)
		t.send(b, "no sum there", 0, at)
		settle()
		t.recvRaw(a, unix.AF_INET6)
		t.recvRaw(b, unix.AF_INET6)
		t.setInt(a, unix.SOL_RAW, unix.IPV6_CHECKSUM, -1)
		t.int(a, unix.SOL_RAW, unix.IPV6_CHECKSUM)
		t.send(b, "no sum asked", 0, at)
		settle()
		t.recvRaw(a, unix.AF_INET6)
		i := t.raw(unix.AF_INET6, unix.IPPROTO_ICMPV6)
		t.int(i, unix.IPPROTO_IPV6, unix.IPV6_CHECKSUM)
		t.setInt(i, unix.IPPROTO_IPV6, unix.IPV6_CHECKSUM, 2)
	}},
	{"raw: errors", func(t *trace, d int) {
		// Packets of a protocol that nobody here has.
		at := netip.AddrPortFrom(only(d), 0)
		level, name, recverr := unix.IPPROTO_IP, unix.IP_HDRINCL, unix.IP_RECVERR
		if d == unix.AF_INET6 {
			level, name, recverr = unix.IPPROTO_IPV6, unix.IPV6_HDRINCL, unix.IPV6_RECVERR
		}
		p := t.raw(d, testProto)
		t.err("connect", t.c.connect(p, at))
		t.setInt(p, level, recverr, 1)
		t.int(p, level, name)
		t.send(p, strings.Repeat("y", 70000), 0, nobdy)
		t.int(p, unix.SOL_SOCKET, unix.SO_ERROR)
		t.setInt(p, level, recverr, 0)
		t.setInt(p, unix.SOL_SOCKET, unix.SO_RCVTIMEO, 1) // too short
		v := make([]byte, 16)
		binary.LittleEndian.PutUint64(v[8:], 1000)
		t.err("timeout", t.c.set(p, unix.SOL_SOCKET, unix.SO_RCVTIMEO, v))
		t.recvRaw(p, d)
		if _, e := t.c.socket(d, unix.SOCK_DGRAM, testProto); e != syscall.EPROTONOSUPPORT {
			t.err("datagram", e)
		}
	}},
}
