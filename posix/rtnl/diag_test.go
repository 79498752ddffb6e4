package rtnl

import (
	"encoding/binary"
	"net/netip"
	"syscall"
	"testing"

	"github.com/towpath/towpath/host"
)

// diagRequest is a struct inet_diag_req_v2 for all states.
func diagRequest(family, proto, ext uint8) []byte {
	b := make([]byte, inetDiagReqLen)
	b[0], b[1], b[2] = family, proto, ext
	native.PutUint32(b[4:], ^uint32(0))
	return b
}

// step is a step of a filter.
func step(code, yes uint8, no uint16, operand ...byte) []byte {
	return append(native.AppendUint16([]byte{code, yes}, no), operand...)
}

func TestDiag(t *testing.T) {
	h := newHost(t)
	l, err := h.Listen("tcp", "127.0.0.1:80")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c, err := h.Dial("tcp", "127.0.0.1:80")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	u, err := h.ListenPacket("udp6", "[::1]:53")
	if err != nil {
		t.Fatal(err)
	}
	defer u.Close()
	r, e := h.Socket(host.AFInet, host.SockRaw, 89)
	if e != 0 {
		t.Fatal(e)
	}
	defer r.Close()
	list := func(body []byte) (types []uint16, bodies [][]byte) {
		return parts(t, AnswerDiag(h, ask(diagByFamily, flagDump, body...), port))
	}
	filtered := func(code []byte) []byte { return with(diagRequest(afInet, 6, 0), diagReqBytecode, code) }
	states := diagRequest(afInet, 6, 0)
	native.PutUint32(states[4:], 1<<10)
	port80 := func(code uint8) []byte {
		return append(step(code, 8, 12), step(bcNop, 4, 80)...)
	}
	loopback := step(bcSrc, 16, 20, afInet, 8, 0, 0, 0xff, 0xff, 0xff, 0xff, 127, 0, 0, 0)
	for _, c := range []struct {
		name string
		body []byte
		want int
	}{
		{"tcp", diagRequest(afInet, 6, 0), 3},
		{"tcp over IPv6", diagRequest(afInet6, 6, 0), 0},
		{"listeners", states, 1},
		{"udp", diagRequest(afInet6, 17, 0), 1},
		{"raw", diagRequest(afInet, 255, 0), 1},
		{"unix sockets", []byte{afUnix, 0, 0, 0}, 0},
		{"to port 80", filtered(port80(bcDstEQ)), 1},
		{"from port 80", filtered(port80(bcSrcEQ)), 2},
		{"from above", filtered(port80(bcSrcGE)), 3},
		{"from an address", filtered(loopback), 3},
		{"none of it", filtered(append(step(bcJump, 4, 8), loopback[:0]...)), 0},
		{"a step to nowhere", filtered(step(bcNop, 0, 0)), 0},
		{"something unknown", filtered(step(99, 4, 8)), 0},
	} {
		types, _ := list(c.body)
		if got := len(types) - 1; got != c.want || types[len(types)-1] != msgDone {
			t.Errorf("%s: %d sockets, want %d", c.name, got, c.want)
		}
	}
	_, bodies := list(with(diagRequest(afInet, 6, 1<<(diagInfo-1)|1<<(diagCong-1)|1<<(diagMeminfo-1)), diagReqBytecode, port80(bcDstEQ)))
	b := bodies[0]
	attrs := attributes(b[inetDiagMsgLen:])
	if b[1] != 1 || binary.BigEndian.Uint16(b[6:]) != 80 || netip.AddrFrom4([4]byte(b[8:12])) != netip.MustParseAddr("127.0.0.1") {
		t.Errorf("% x", b)
	}
	if len(attrs[diagInfo]) < 200 || text(attrs[diagCong]) != "cubic" || len(attrs[diagMeminfo]) != 16 {
		t.Errorf("the attributes are %v", attrs)
	}
	one := append(diagRequest(afInet, 6, 0)[:8], b[4:4+sockidLen]...)
	if types, _ := parts(t, AnswerDiag(h, ask(diagByFamily, 0, one...), port)); len(types) != 1 || types[0] != diagByFamily {
		t.Errorf("one socket: %v", types)
	}
	for _, c := range []struct {
		typ  uint16
		body []byte
		want syscall.Errno
	}{
		{diagByFamily, diagRequest(afInet, 6, 0), syscall.ENOENT}, // no such socket
		{diagByFamily, nil, syscall.EINVAL},
		{diagByFamily, []byte{afInet, 6}, syscall.EINVAL},
		{diagByFamily, []byte{99, 0}, syscall.ENOENT},
		{diagDestroy, one, syscall.EOPNOTSUPP},
	} {
		if e := errorOf(t, AnswerDiag(h, ask(c.typ, 0, c.body...), port)); e != c.want {
			t.Errorf("%d % x: %v, want %v", c.typ, c.body, e, c.want)
		}
	}
}

// TestRouteRequest: the routes that a struct rtentry describes.
func TestRouteRequest(t *testing.T) {
	h := newHost(t)
	entry := func(dst, via, mask [4]byte, flags uint16) []byte {
		b := make([]byte, RtentryLen)
		for i, a := range [][4]byte{dst, via, mask} {
			native.PutUint16(b[8+16*i:], afInet)
			copy(b[12+16*i:], a[:])
		}
		native.PutUint16(b[56:], flags)
		return b
	}
	net, via, mask := [4]byte{10, 7, 0, 0}, [4]byte{10, 0, 0, 2}, [4]byte{255, 255, 0, 0}
	for _, c := range []struct {
		request int
		rt      []byte
		dev     string
		want    syscall.Errno
	}{
		{SIOCADDRT, entry(net, via, mask, rtGateway), "", 0},
		{SIOCADDRT, entry(net, via, mask, rtGateway), "eth0", syscall.EEXIST},
		{SIOCDELRT, entry(net, via, mask, rtGateway), "", 0},
		{SIOCDELRT, entry(net, via, mask, rtGateway), "", syscall.ESRCH},
		{SIOCADDRT, entry(net, via, [4]byte{255, 0, 255, 0}, rtGateway), "", syscall.EINVAL},
		{SIOCADDRT, entry([4]byte{10, 7, 0, 1}, via, mask, rtGateway), "", syscall.EINVAL},
		{SIOCADDRT, entry(net, [4]byte{192, 0, 2, 1}, mask, rtGateway), "", syscall.ENETUNREACH},
		{SIOCADDRT, entry(net, via, mask, 0), "", syscall.ENODEV},
		{SIOCADDRT, entry(net, via, mask, 0), "eth9", syscall.ENODEV},
		{SIOCADDRT, entry(net, via, mask, rtReject), "", 0},
		{SIOCADDRT, entry([4]byte{192, 0, 2, 1}, via, mask, rtHost), "eth0", 0},
		{SIOCADDRT, nil, "", syscall.EINVAL},
	} {
		if e := ChangeRoute(h, c.request, c.rt, c.dev); e != c.want {
			t.Errorf("%#x % x %q: %v, want %v", c.request, c.rt, c.dev, e, c.want)
		}
	}
}

func FuzzDiag(f *testing.F) {
	f.Add(ask(diagByFamily, flagDump, diagRequest(afInet, 6, 0xff)...))
	f.Add(ask(diagByFamily, flagDump, with(diagRequest(afInet, 6, 0), diagReqBytecode, step(bcSrc, 16, 20, afInet, 8))...))
	f.Fuzz(func(t *testing.T, b []byte) {
		h := host.New(host.Config{Name: "h"})
		defer h.Close(t.Context())
		l, err := h.Listen("tcp", "127.0.0.1:80")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		AnswerDiag(h, b, port)
	})
}
