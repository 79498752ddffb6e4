package rtnl

import (
	"context"
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/towpath/towpath/host"
	"github.com/towpath/towpath/ip/route"
	"github.com/towpath/towpath/link/cable"
)

// newHost has a loopback and eth0 with 10.0.0.1/24.
func newHost(t testing.TB) *host.Host {
	t.Helper()
	h := host.New(host.Config{Name: "h"})
	near, far := cable.New(cable.Config{})
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		h.Close(ctx)
		far.Close()
	})
	if _, err := h.AddAdapter("eth0", near); err != nil {
		t.Fatal(err)
	}
	if err := h.AddAddress("eth0", netip.MustParsePrefix("10.0.0.1/24")); err != nil {
		t.Fatal(err)
	}
	return h
}

const port, seq = 4711, 99

// ask makes a message of a body, and attributes that are there already.
func ask(typ, flags uint16, body ...byte) []byte {
	r := &request{port: 0, seq: seq}
	b := r.finish(message{typ: typ, b: body}, flags|flagRequest)
	return b
}

// with adds an attribute to a body.
func with(body []byte, typ uint16, value []byte) []byte {
	m := message{b: body}
	m.attr(typ, value)
	return m.b
}

// parts takes datagrams apart: the types of messages, and their bodies.
func parts(t testing.TB, replies [][]byte) (types []uint16, bodies [][]byte) {
	t.Helper()
	for _, d := range replies {
		if len(d) > datagramMax {
			t.Errorf("a datagram of %d bytes", len(d))
		}
		for len(d) > 0 {
			n := int(native.Uint32(d))
			if n < headerLen || n > len(d) || native.Uint32(d[12:]) != port || native.Uint32(d[8:]) != seq {
				t.Fatalf("a bad message: % x", d)
			}
			types = append(types, native.Uint16(d[4:]))
			bodies = append(bodies, d[headerLen:n])
			d = d[min(align(n), len(d)):]
		}
	}
	return types, bodies
}

// errorOf is the number in a reply that is an error or an acknowledgement.
func errorOf(t testing.TB, replies [][]byte) syscall.Errno {
	t.Helper()
	types, bodies := parts(t, replies)
	if len(types) != 1 || types[0] != msgError {
		t.Fatalf("messages %v, want an error", types)
	}
	return syscall.Errno(-int32(native.Uint32(bodies[0])))
}

func TestDumps(t *testing.T) {
	h := newHost(t)
	for _, c := range []struct {
		name   string
		typ    uint16
		family uint8
		want   uint16
		least  int
	}{
		{"links", getLink, 0, newLink, 2},
		{"addresses", getAddr, 0, newAddr, 3},
		{"addresses of IPv4", getAddr, afInet, newAddr, 2},
		{"routes", getRoute, afInet, newRoute, 1},
		{"neighbours", getNeigh, 0, newNeigh, 0},
		{"rules", getRule, 0, newRule, 6},
		{"rules of IPv6", getRule, afInet6, newRule, 3},
	} {
		types, bodies := parts(t, Answer(h, ask(c.typ, flagDump, c.family, 0, 0, 0), port))
		if n := len(types) - 1; n < c.least || types[n] != msgDone {
			t.Errorf("%s: %v", c.name, types)
		}
		for i, typ := range types[:len(types)-1] {
			if typ != c.want || c.family != 0 && bodies[i][0] != c.family {
				t.Errorf("%s: message %d is of type %d and family %d", c.name, i, typ, bodies[i][0])
			}
		}
	}
}

// TestLink: one adapter by its name, in all that is told of it.
func TestLink(t *testing.T) {
	h := newHost(t)
	types, bodies := parts(t, Answer(h, ask(getLink, 0, with(make([]byte, ifinfoLen), iflaIfname, []byte("eth0\x00"))...), port))
	if len(types) != 1 || types[0] != newLink {
		t.Fatal(types)
	}
	b, attrs := bodies[0], attributes(bodies[0][ifinfoLen:])
	a := h.Adapter("eth0")
	mac := a.MAC()
	if native.Uint16(b[2:]) != typeEther || native.Uint32(b[4:]) != uint32(a.Index()) || native.Uint32(b[8:])&flagUp == 0 ||
		text(attrs[iflaIfname]) != "eth0" || u32(attrs[iflaMTU]) != uint32(a.MTU()) || string(attrs[iflaAddress]) != string(mac[:]) ||
		len(attrs[iflaStats64]) != 8*statsCount {
		t.Errorf("% x", b)
	}
	if e := errorOf(t, Answer(h, ask(getLink, 0, with(make([]byte, ifinfoLen), iflaIfname, []byte("eth9\x00"))...), port)); e != syscall.ENODEV {
		t.Error(e)
	}
}

// TestChanges: each request, and the number it is answered with.
func TestChanges(t *testing.T) {
	h := newHost(t)
	eth0 := byte(h.Adapter("eth0").Index())
	addr := func(index byte, ip ...byte) []byte {
		return with([]byte{afInet, 24, 0, 0, index, 0, 0, 0}, ifaLocal, ip)
	}
	via := func(bits byte, dst, gateway []byte) []byte {
		b := with([]byte{afInet, bits, 0, 0, 254, 3, 0, 1, 0, 0, 0, 0}, rtaDst, dst)
		return with(b, rtaGateway, gateway)
	}
	rule := with([]byte{afInet, 0, 24, 0, 100, 0, 0, 1, 0, 0, 0, 0}, fraSrc, []byte{10, 0, 0, 0})
	up := func(flags byte) []byte {
		return []byte{0, 0, 0, 0, eth0, 0, 0, 0, flags, 0, 0, 0, 1, 0, 0, 0}
	}
	for _, c := range []struct {
		name       string
		typ, flags uint16
		body       []byte
		want       syscall.Errno
	}{
		{"an address", newAddr, flagCreate | flagExcl, addr(eth0, 10, 0, 1, 1), 0},
		{"an address again", newAddr, flagCreate | flagExcl, addr(eth0, 10, 0, 1, 1), syscall.EEXIST},
		{"an address nowhere", newAddr, flagCreate, addr(99, 10, 0, 1, 2), syscall.ENODEV},
		{"no address", newAddr, flagCreate, addr(eth0, 10, 0), syscall.EINVAL},
		{"half a body", newAddr, flagCreate, []byte{afInet, 24}, syscall.EINVAL},
		{"a route", newRoute, flagCreate | flagExcl, via(16, []byte{10, 9, 0, 0}, []byte{10, 0, 1, 2}), 0},
		{"a route again", newRoute, flagCreate | flagExcl, via(16, []byte{10, 9, 0, 0}, []byte{10, 0, 1, 3}), syscall.EEXIST},
		{"another way", newRoute, flagCreate | flagReplace, via(16, []byte{10, 9, 0, 0}, []byte{10, 0, 1, 3}), 0},
		{"bits beyond the prefix", newRoute, flagCreate, via(16, []byte{10, 9, 0, 1}, []byte{10, 0, 1, 2}), syscall.EINVAL},
		{"no way to the router", newRoute, flagCreate, via(16, []byte{10, 8, 0, 0}, []byte{192, 0, 2, 1}), syscall.ENETUNREACH},
		{"a rule", newRule, flagCreate | flagExcl, rule, 0},
		{"the rule's end", delRule, 0, rule, 0},
		{"a rule that is not", delRule, 0, rule, syscall.ENOENT},
		{"the route's end", delRoute, 0, via(16, []byte{10, 9, 0, 0}, nil), 0},
		{"a route that is not", delRoute, 0, via(16, []byte{10, 9, 0, 0}, nil), syscall.ESRCH},
		{"the address's end", delAddr, 0, addr(eth0, 10, 0, 1, 1), 0},
		{"an address that is not", delAddr, 0, addr(eth0, 10, 0, 1, 1), syscall.EADDRNOTAVAIL},
		{"down", setLink, 0, up(0), 0},
		{"up", newLink, 0, up(1), 0},
		{"a new link", newLink, flagCreate | flagExcl, with(make([]byte, ifinfoLen), iflaIfname, []byte("br0\x00")), syscall.EOPNOTSUPP},
		{"another MTU", newLink, 0, with(up(1), iflaMTU, []byte{0, 5, 0, 0}), syscall.EOPNOTSUPP},
		{"a neighbour", newNeigh, flagCreate, make([]byte, ndmsgLen), syscall.EOPNOTSUPP},
		{"something unknown", 99, 0, nil, syscall.EOPNOTSUPP},
	} {
		if e := errorOf(t, Answer(h, ask(c.typ, c.flags|flagAck, c.body...), port)); e != c.want {
			t.Errorf("%s: %v, want %v", c.name, e, c.want)
		}
		if c.name == "another way" {
			r, ok := h.Routes().Lookup(netip.MustParseAddr("10.9.1.1"))
			if !ok || r.Via != netip.MustParseAddr("10.0.1.3") {
				t.Errorf("the way is %v", r)
			}
		}
		if c.name == "down" && h.Adapter("eth0").Up() {
			t.Error("the adapter is up")
		}
	}
}

// TestMultipath: a route of several ways is written as it is read.
func TestMultipath(t *testing.T) {
	h := newHost(t)
	hop := func(via byte, weight byte) []byte {
		b := []byte{16, 0, 0, weight - 1, byte(h.Adapter("eth0").Index()), 0, 0, 0}
		return with(b, rtaGateway, []byte{10, 0, 0, via})
	}
	hops := append(hop(2, 1), hop(3, 4)...)
	body := with([]byte{afInet, 0, 0, 0, 254, 3, 0, 1, 0, 0, 0, 0}, rtaMultipath, hops)
	if e := errorOf(t, Answer(h, ask(newRoute, flagCreate|flagAck, body...), port)); e != 0 {
		t.Fatal(e)
	}
	_, bodies := parts(t, Answer(h, ask(getRoute, flagDump, afInet), port))
	for _, b := range bodies {
		if got := attributes(b[min(rtmsgLen, len(b)):])[rtaMultipath]; string(got) == string(hops) {
			return
		}
	}
	t.Errorf("% x is not in % x", hops, bodies)
}

// TestMany: a dump of many routes comes in datagrams that fit a page.
func TestMany(t *testing.T) {
	h := newHost(t)
	for i := range 200 {
		p := netip.PrefixFrom(netip.AddrFrom4([4]byte{172, 16, byte(i), 0}), 24)
		if err := h.AddRoute(route.Route{Dst: p, Via: netip.MustParseAddr("10.0.0.2")}); err != nil {
			t.Fatal(err)
		}
	}
	if types, _ := parts(t, Answer(h, ask(getRoute, flagDump, afInet), port)); len(types) < 201 {
		t.Errorf("%d messages", len(types))
	}
}

func TestIoctl(t *testing.T) {
	h := newHost(t)
	ifr := func(name string) []byte { return append([]byte(name), make([]byte, IfreqLen-len(name))...) }
	for _, c := range []struct {
		request int
		want    []byte
	}{
		{SIOCGIFINDEX, []byte{byte(h.Adapter("eth0").Index()), 0, 0, 0}},
		{SIOCGIFADDR, []byte{afInet, 0, 0, 0, 10, 0, 0, 1}},
		{SIOCGIFNETMASK, []byte{afInet, 0, 0, 0, 255, 255, 255, 0}},
		{SIOCGIFBRDADDR, []byte{afInet, 0, 0, 0, 10, 0, 0, 255}},
		{SIOCGIFHWADDR, []byte{typeEther, 0}},
	} {
		b := ifr("eth0")
		if e := Ioctl(h, c.request, b); e != 0 || !strings.HasPrefix(string(b[value:]), string(c.want)) {
			t.Errorf("%#x: % x, %v, want % x", c.request, b[value:], e, c.want)
		}
	}
	if e := Ioctl(h, SIOCGIFADDR, ifr("eth9")); e != syscall.ENODEV {
		t.Error(e)
	}
	if e := Ioctl(h, 0x8999, ifr("eth0")); e != syscall.ENOTTY {
		t.Error(e)
	}
	if n := len(Conf(h)); n != 2*IfreqLen {
		t.Errorf("%d bytes of addresses", n)
	}
}

// FuzzAnswer: whatever a program sends, what comes back is whole, and bounded.
func FuzzAnswer(f *testing.F) {
	h := newHost(f)
	for _, typ := range []uint16{getLink, getAddr, getRoute, getNeigh, getRule} {
		f.Add(ask(typ, flagDump, 0, 0, 0, 0))
	}
	f.Add(ask(newRoute, flagCreate|flagAck, with(make([]byte, rtmsgLen), rtaMultipath, make([]byte, 20))...))
	f.Add(ask(newRule, flagCreate|flagAck, with(append([]byte{afInet}, make([]byte, ruleLen-1)...), fraIifname, []byte("eth0"))...))
	f.Add(ask(getRoute, 0, with(append([]byte{afInet, 32}, make([]byte, rtmsgLen-2)...), rtaDst, []byte{10, 0, 0, 9})...))
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, d := range Answer(h, b, port) {
			for len(d) > 0 {
				n := int(native.Uint32(d))
				if n < headerLen || n > len(d) {
					t.Fatalf("a bad message: % x", d)
				}
				d = d[min(align(n), len(d)):]
			}
		}
	})
}
