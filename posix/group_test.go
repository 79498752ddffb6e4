//go:build linux && amd64

package posix_test

import (
	"encoding/binary"
	"net/netip"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

func init() { scripts = append(scripts, groupScripts...) }

// storage is a struct sockaddr_storage.
func storage(a netip.Addr) []byte {
	b := make([]byte, 128)
	if a.Is4() {
		binary.LittleEndian.PutUint16(b, unix.AF_INET)
		copy(b[4:], a.AsSlice())
	} else {
		binary.LittleEndian.PutUint16(b, unix.AF_INET6)
		copy(b[8:], a.AsSlice())
	}
	return b
}

// u32s is a struct that begins with numbers, padded to eight bytes.
func u32s(list ...uint32) (b []byte) {
	for _, n := range list {
		b = binary.LittleEndian.AppendUint32(b, n)
	}
	return append(b, make([]byte, -len(b)&7)...)
}

func join(parts ...[]byte) (b []byte) {
	for _, p := range parts {
		b = append(b, p...)
	}
	return b
}

// mcast are the options of one family, on the loopback.
type mcast struct {
	t          *trace
	fd, level  int
	group, odd netip.Addr
	src        []netip.Addr
}

func (t *trace) mcast(d, typ int) *mcast {
	m := &mcast{t: t, fd: t.open(d, typ), level: unix.IPPROTO_IP, group: netip.MustParseAddr("239.1.2.3"), odd: lo6}
	first := netip.MustParseAddr("10.77.0.1")
	if d == unix.AF_INET6 {
		m.level, m.group, m.odd = unix.IPPROTO_IPV6, netip.MustParseAddr("ff05::77"), lo4
		first = netip.MustParseAddr("2001:db8::1")
	}
	for a := first; len(m.src) < 80; a = a.Next() {
		m.src = append(m.src, a)
	}
	return m
}

func (m *mcast) set(what string, name int, b []byte) {
	m.t.err(what, m.t.c.set(m.fd, m.level, name, b))
}

func (m *mcast) member(what string, name int, g netip.Addr, index uint32) {
	m.set(what, name, join(u32s(index), storage(g)))
}

func (m *mcast) source(what string, name, i int) {
	m.set(what, name, join(u32s(1), storage(m.group), storage(m.src[i])))
}

func (m *mcast) filter(what string, mode uint32, sources ...netip.Addr) {
	b := join(u32s(1), storage(m.group), u32s(mode, uint32(len(sources))))
	for _, a := range sources {
		b = append(b, storage(a)...)
	}
	m.set(what, unix.MCAST_MSFILTER, b)
}

// ask reads an option that asks, with room for n sources.
func (m *mcast) ask(what string, name int, value []byte) {
	var b []byte
	var e syscall.Errno
	switch c := m.t.c.(type) {
	case ours:
		b, e = c.p.GetSockOptOf(m.fd, m.level, name, value)
	default:
		b = append([]byte(nil), value...)
		size := uint32(len(b))
		_, _, e = unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(m.fd), uintptr(m.level), uintptr(name), uintptr(unsafe.Pointer(&b[0])), uintptr(unsafe.Pointer(&size)), 0)
		b = b[:size]
	}
	if e != 0 {
		b = nil
	}
	m.t.log("%s: % x %v", what, b, e)
}

func (m *mcast) askFilter(what string, g netip.Addr, index uint32, n int) {
	b := join(u32s(index), storage(g), u32s(7, uint32(n)))
	m.ask(what, unix.MCAST_MSFILTER, append(b, make([]byte, 128*n)...))
}

var groupScripts = []struct {
	name string
	run  func(t *trace, domain int)
}{
	{"groups: members", func(t *trace, d int) {
		m := t.mcast(d, unix.SOCK_DGRAM)
		m.member("leave", unix.MCAST_LEAVE_GROUP, m.group, 1)
		m.member("join", unix.MCAST_JOIN_GROUP, m.group, 1)
		m.member("again", unix.MCAST_JOIN_GROUP, m.group, 1)
		m.member("no group", unix.MCAST_JOIN_GROUP, m.src[0], 1)
		m.member("other family", unix.MCAST_JOIN_GROUP, m.odd, 1)
		m.member("no adapter", unix.MCAST_JOIN_GROUP, m.group, 999)
		m.set("short", unix.MCAST_JOIN_GROUP, u32s(1))
		m.member("leave", unix.MCAST_LEAVE_GROUP, m.group, 1)
		m.member("leave again", unix.MCAST_LEAVE_GROUP, m.group, 1)
	}},
	{"groups: sources included", func(t *trace, d int) {
		m := t.mcast(d, unix.SOCK_DGRAM)
		m.source("leave before", unix.MCAST_LEAVE_SOURCE_GROUP, 0)
		m.source("join", unix.MCAST_JOIN_SOURCE_GROUP, 0)
		m.source("twice", unix.MCAST_JOIN_SOURCE_GROUP, 0)
		m.source("another", unix.MCAST_JOIN_SOURCE_GROUP, 1)
		m.source("block", unix.MCAST_BLOCK_SOURCE, 0)
		m.source("unblock", unix.MCAST_UNBLOCK_SOURCE, 0)
		m.source("not there", unix.MCAST_LEAVE_SOURCE_GROUP, 2)
		m.source("leave", unix.MCAST_LEAVE_SOURCE_GROUP, 0)
		m.source("leave the last", unix.MCAST_LEAVE_SOURCE_GROUP, 1)
		m.source("leave none", unix.MCAST_LEAVE_SOURCE_GROUP, 1)
		m.member("is left", unix.MCAST_LEAVE_GROUP, m.group, 1)
		for i := range 70 {
			m.source("many", unix.MCAST_JOIN_SOURCE_GROUP, i)
		}
		m.member("leave all", unix.MCAST_LEAVE_GROUP, m.group, 1)
	}},
	{"groups: sources excluded", func(t *trace, d int) {
		m := t.mcast(d, unix.SOCK_DGRAM)
		m.source("no member", unix.MCAST_BLOCK_SOURCE, 0)
		m.member("join", unix.MCAST_JOIN_GROUP, m.group, 1)
		m.source("nothing to unblock", unix.MCAST_UNBLOCK_SOURCE, 0)
		m.source("block", unix.MCAST_BLOCK_SOURCE, 0)
		m.source("twice", unix.MCAST_BLOCK_SOURCE, 0)
		m.source("join of the other mode", unix.MCAST_JOIN_SOURCE_GROUP, 1)
		m.source("unblock", unix.MCAST_UNBLOCK_SOURCE, 0)
		m.source("mode stays though the list is empty", unix.MCAST_JOIN_SOURCE_GROUP, 1)
		m.source("not there", unix.MCAST_UNBLOCK_SOURCE, 0)
		m.member("leave", unix.MCAST_LEAVE_GROUP, m.group, 1)
		m.member("join", unix.MCAST_JOIN_GROUP, m.group, 1)
		m.source("mode changes without a list", unix.MCAST_JOIN_SOURCE_GROUP, 1)
		m.source("leave", unix.MCAST_LEAVE_SOURCE_GROUP, 1)
		m.member("join", unix.MCAST_JOIN_GROUP, m.group, 1)
		m.source("leaving changes the mode too", unix.MCAST_LEAVE_SOURCE_GROUP, 1)
		m.source("block", unix.MCAST_BLOCK_SOURCE, 1)
	}},
	{"groups: filters", func(t *trace, d int) {
		m := t.mcast(d, unix.SOCK_DGRAM)
		m.filter("no member", 0, m.src[0])
		m.filter("no member, leaving", 1)
		m.member("join", unix.MCAST_JOIN_GROUP, m.group, 1)
		m.filter("exclude", 0, m.src[:2]...)
		m.source("unblock", unix.MCAST_UNBLOCK_SOURCE, 1)
		m.filter("include", 1, m.src[:10]...)
		m.source("leave", unix.MCAST_LEAVE_SOURCE_GROUP, 3)
		m.filter("exclude none", 0)
		m.source("mode is free", unix.MCAST_JOIN_SOURCE_GROUP, 3)
		m.filter("bad mode", 2, m.src[0])
		m.filter("too many", 1, m.src[:65]...)
		m.filter("other family", 1, m.odd)
		m.set("short", unix.MCAST_MSFILTER, join(u32s(1), storage(m.group)))
		m.set("fewer than it says", unix.MCAST_MSFILTER, join(u32s(1), storage(m.group), u32s(1, 2), storage(m.src[0])))
		m.filter("include none", 1)
		m.filter("again", 1)
		m.set("short source", unix.MCAST_JOIN_SOURCE_GROUP, join(u32s(1), storage(m.group)))
		m.set("source of another family", unix.MCAST_JOIN_SOURCE_GROUP, join(u32s(1), storage(m.group), storage(m.odd)))
		m.set("no group", unix.MCAST_JOIN_SOURCE_GROUP, join(u32s(1), storage(m.src[0]), storage(m.src[0])))
		m.set("no adapter", unix.MCAST_JOIN_SOURCE_GROUP, join(u32s(999), storage(m.group), storage(m.src[0])))
	}},
	{"groups: filters read", func(t *trace, d int) {
		m := t.mcast(d, unix.SOCK_DGRAM)
		m.askFilter("no member", m.group, 1, 3)
		m.member("join", unix.MCAST_JOIN_GROUP, m.group, 1)
		m.askFilter("all", m.group, 1, 3)
		m.filter("exclude", 0, m.src[:2]...)
		m.askFilter("room for three", m.group, 1, 3)
		m.askFilter("room for one", m.group, 1, 1)
		m.askFilter("room for none", m.group, 1, 0)
		m.filter("include", 1, m.src[3])
		m.askFilter("included", m.group, 1, 1)
		m.askFilter("no adapter", m.group, 999, 1)
		m.askFilter("another group", m.group.Next(), 1, 1)
		m.askFilter("no group", m.src[0], 1, 1)
		m.askFilter("other family", m.odd, 1, 1)
		m.ask("short", unix.MCAST_MSFILTER, u32s(1, 2))
		if d == unix.AF_INET {
			req := func(a netip.Addr, n uint32) []byte {
				return append(join(a.AsSlice(), lo4.AsSlice(), u32s(7, n)), make([]byte, 4*n)...)
			}
			m.ask("by address", unix.IP_MSFILTER, req(m.group, 2))
			m.ask("no room", unix.IP_MSFILTER, req(m.group, 0))
			m.ask("no group", unix.IP_MSFILTER, req(m.src[0], 2))
			m.ask("another group", unix.IP_MSFILTER, req(m.group.Next(), 2))
			m.ask("short", unix.IP_MSFILTER, req(m.group, 2)[:12])
		}
	}},
	{"groups: options of IPv4", func(t *trace, d int) {
		if d != unix.AF_INET {
			return
		}
		m := t.mcast(d, unix.SOCK_DGRAM)
		req := func(i int) []byte { return join(m.group.AsSlice(), lo4.AsSlice(), m.src[i].AsSlice()) }
		m.set("leave before", unix.IP_DROP_SOURCE_MEMBERSHIP, req(0))
		m.set("join", unix.IP_ADD_SOURCE_MEMBERSHIP, req(0))
		m.set("twice", unix.IP_ADD_SOURCE_MEMBERSHIP, req(0))
		m.set("block", unix.IP_BLOCK_SOURCE, req(0))
		m.set("leave", unix.IP_DROP_SOURCE_MEMBERSHIP, req(0))
		m.set("unblock", unix.IP_UNBLOCK_SOURCE, req(0))
		m.set("join", unix.IP_ADD_MEMBERSHIP, join(m.group.AsSlice(), lo4.AsSlice()))
		m.set("block", unix.IP_BLOCK_SOURCE, req(0))
		m.set("unblock", unix.IP_UNBLOCK_SOURCE, req(0))
		m.set("short", unix.IP_BLOCK_SOURCE, req(0)[:11])
		m.set("long", unix.IP_BLOCK_SOURCE, append(req(0), 0))
		m.set("no group", unix.IP_BLOCK_SOURCE, join(m.src[0].AsSlice(), lo4.AsSlice(), m.src[0].AsSlice()))
		m.set("not ours", unix.IP_BLOCK_SOURCE, join(m.group.AsSlice(), []byte{203, 0, 113, 9}, m.src[0].AsSlice()))
		filter := func(mode, n uint32, list ...netip.Addr) []byte {
			b := join(m.group.AsSlice(), lo4.AsSlice(), u32s(mode, n))
			for _, a := range list {
				b = append(b, a.AsSlice()...)
			}
			return b
		}
		m.set("filter", unix.IP_MSFILTER, filter(1, 2, m.src[:2]...))
		m.set("fewer", unix.IP_MSFILTER, filter(1, 3, m.src[:2]...))
		m.set("too many", unix.IP_MSFILTER, filter(1, 11, m.src[:11]...))
		m.set("bad mode", unix.IP_MSFILTER, filter(7, 1, m.src[0]))
		m.set("short", unix.IP_MSFILTER, filter(1, 1)[:15])
		m.set("leave", unix.IP_MSFILTER, filter(1, 0))
		m.set("leave again", unix.IP_MSFILTER, filter(1, 0))
		for range 22 {
			m.group = m.group.Next()
			m.set("many groups", unix.IP_ADD_MEMBERSHIP, join(m.group.AsSlice(), lo4.AsSlice()))
		}
	}},
	{"groups: what is received", func(t *trace, d int) {
		if d == unix.AF_INET6 {
			return // not every loopback has a route to groups
		}
		m := t.mcast(d, t.nonblock(unix.SOCK_DGRAM))
		t.err("bind", t.c.bind(m.fd, netip.AddrPortFrom(any4, 0)))
		at, _ := t.c.name(m.fd)
		to := netip.AddrPortFrom(m.group, at.Port())
		a := t.open(d, t.nonblock(unix.SOCK_DGRAM))
		t.err("bind", t.c.bind(a, netip.AddrPortFrom(t.loopback(d), 0)))
		t.err("adapter", t.c.set(a, m.level, unix.IP_MULTICAST_IF, lo4.AsSlice()))
		other := t.open(d, t.nonblock(unix.SOCK_DGRAM))
		say := func(what string) {
			t.send(a, what, 0, to)
			settle()
			t.recv(m.fd, 20, 0)
		}
		say("nobody")
		m2 := *m
		m2.fd = other
		m2.member("other joins", unix.MCAST_JOIN_GROUP, m.group, 1)
		say("all hear")
		t.int(m.fd, m.level, unix.IP_MULTICAST_ALL)
		t.setInt(m.fd, m.level, unix.IP_MULTICAST_ALL, 0)
		t.int(m.fd, m.level, unix.IP_MULTICAST_ALL)
		say("not joined")
		m.member("join", unix.MCAST_JOIN_GROUP, m.group, 1)
		say("joined")
		m.src[0] = t.loopback(d)
		m.source("block", unix.MCAST_BLOCK_SOURCE, 0)
		say("blocked")
		m.source("unblock", unix.MCAST_UNBLOCK_SOURCE, 0)
		m.source("block", unix.MCAST_BLOCK_SOURCE, 1)
		say("other blocked")
		m.filter("include", 1, m.src[1])
		say("not included")
		m.filter("include", 1, m.src[:2]...)
		say("included")
		m.member("leave", unix.MCAST_LEAVE_GROUP, m.group, 1)
		say("left")
		t.setInt(m.fd, m.level, unix.IP_MULTICAST_ALL, 2)
	}},
}
