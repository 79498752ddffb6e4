package host_test

import (
	"net/netip"
	"syscall"
	"testing"

	"github.com/towpath/towpath/host"
	"github.com/towpath/towpath/ip/route"
	"github.com/towpath/towpath/wire"
)

// newSocket opens a socket with options.
func newSocket(t *testing.T, h *host.Host, family int, typ host.SockType, change func(o *host.SocketOptions)) *host.Socket {
	t.Helper()
	s, e := h.Socket(family, typ, 0)
	mustE(t, e)
	t.Cleanup(func() { s.Close() })
	if change != nil {
		mustE(t, s.SetOptions(func(o *host.SocketOptions) syscall.Errno { change(o); return 0 }))
	}
	return s
}

// TestSocketWay has options of sockets choose the way: rules by mark, an
// adapter to keep to, and one for groups.
func TestSocketWay(t *testing.T) {
	r := rawHost(t, host.Config{})
	r.known()
	narrow(t, r.host)
	eth0, eth1 := r.host.Adapter("eth0").Index(), r.host.Adapter("eth1").Index()
	must(t, r.host.AddRoute(route.Route{Dst: pfx("0.0.0.0/0"), Via: netip.MustParseAddr("10.5.0.2")}))
	must(t, r.host.AddRoute(route.Route{Dst: pfx("0.0.0.0/0"), Via: them4, Table: 100}))
	must(t, r.host.AddRule(route.Rule{Priority: 5, Mark: 7, Table: 100}))
	seen := func() (frames []wire.IPv4) {
		for _, f := range r.take() {
			if wire.Ethernet(f).Type() == wire.EtherTypeIPv4 && wire.IPv4(f[14:]).Proto() == wire.ProtoUDP {
				frames = append(frames, wire.IPv4(f[14:]))
			}
		}
		return frames
	}
	to := netip.AddrPortFrom(elsewhere4, 9)
	for _, c := range []struct {
		name   string
		to     netip.AddrPort
		change func(o *host.SocketOptions)
		here   bool // by eth0
	}{
		{"by the main table", to, nil, false},
		{"by mark", to, func(o *host.SocketOptions) { o.Mark = 7 }, true},
		{"by another mark", to, func(o *host.SocketOptions) { o.Mark = 8 }, false},
		{"kept to eth0, on link", netip.AddrPortFrom(them4, 9), func(o *host.SocketOptions) { o.Device = eth0 }, true},
		{"kept to eth1, by route", to, func(o *host.SocketOptions) { o.Device = eth1 }, false},
		{"a group", netip.MustParseAddrPort("239.1.2.3:9"), func(o *host.SocketOptions) { o.MulticastIf, o.MulticastTTL = eth0, 9 }, true},
		{"a group elsewhere", netip.MustParseAddrPort("239.1.2.3:9"), func(o *host.SocketOptions) { o.MulticastIf = eth1 }, false},
	} {
		s := newSocket(t, r.host, host.AFInet, host.SockDgram, c.change)
		if _, e := s.Send([]byte("x"), 0, c.to, nil); e != 0 {
			t.Errorf("%s: %v", c.name, e)
		}
		got := seen()
		if len(got) > 0 != c.here {
			t.Errorf("%s: %d packets by eth0", c.name, len(got))
		}
		if c.to.Addr().IsMulticast() && c.here && got[0].TTL() != 9 {
			t.Errorf("%s: TTL %d", c.name, got[0].TTL())
		}
	}
	// What is kept to one adapter does not hear the others, and two sockets may
	// share a port so.
	bound := func(device int32) *host.Socket {
		s := newSocket(t, r.host, host.AFInet, host.SockDgram, func(o *host.SocketOptions) { o.Device = device })
		mustE(t, s.Bind(netip.AddrPortFrom(netip.IPv4Unspecified(), 99)))
		return s
	}
	a, b := bound(eth0), bound(eth1)
	r.send(eth4(wire.IPv4Fields{}, udp(1, 99, "for eth0")))
	if n, _, e := a.Recv(make([]byte, 99), 0); n != 8 || e != 0 {
		t.Error(n, e)
	}
	if _, _, e := b.Recv(make([]byte, 99), 0); e != syscall.EAGAIN {
		t.Error("heard by eth1's:", e)
	}
}

// TestSocketDF has the option say whether routers may fragment.
func TestSocketDF(t *testing.T) {
	r := rawHost(t, host.Config{})
	r.known()
	for m, want := range map[host.MTUDiscover]bool{
		host.MTUDont: false, host.MTUWant: true, host.MTUDo: true, host.MTUProbe: true, host.MTUInterface: false, host.MTUOmit: false,
	} {
		s := newSocket(t, r.host, host.AFInet, host.SockDgram, func(o *host.SocketOptions) { o.MTUDiscover = m })
		r.take()
		if _, e := s.Send([]byte("x"), 0, netip.AddrPortFrom(them4, 9), nil); e != 0 {
			t.Fatal(e)
		}
		for _, f := range r.take() {
			if wire.Ethernet(f).Type() == wire.EtherTypeIPv4 && wire.IPv4(f[14:]).DontFragment() != want {
				t.Errorf("mode %d: DF %v", m, !want)
			}
		}
	}
}
