package host_test

import (
	"context"
	"errors"
	"net/netip"
	"syscall"
	"testing"
	"time"

	"github.com/towpath/towpath/ip/route"
	"github.com/towpath/towpath/link/cable"
	"github.com/towpath/towpath/packet"
)

// TestPathMTU sends streams through a narrower link: the router's ICMP errors
// tell the sender, who remembers.
func TestPathMTU(t *testing.T) {
	for _, c := range []struct {
		to  string
		mtu int
	}{{"10.0.2.2", 600}, {"10.0.2.2", 1300}, {"fd00:0:0:2::2", 1280}, {"fd00:0:0:2::2", 1400}} {
		hosts := lineOf(t, cable.Config{}, cable.Config{MTU: c.mtu}, cable.Config{})
		a, r, b := hosts[0], hosts[1], hosts[3]
		x, y := connected(t, a, b, c.to)
		exchange(t, x, y, 1<<20)
		if n := r.Drops()[packet.ReasonTooBig]; n == 0 || n > 64 {
			t.Errorf("to %s by MTU %d: %d packets too big, want a few", c.to, c.mtu, n)
		}
		// The next connection knows from the start.
		before := r.Drops()[packet.ReasonTooBig]
		x, y = connected(t, a, b, c.to)
		exchange(t, x, y, 1<<20)
		if n := r.Drops()[packet.ReasonTooBig] - before; n != 0 {
			t.Errorf("to %s by MTU %d: %d packets too big on a known path", c.to, c.mtu, n)
		}
	}
}

// TestRouteKinds looks at what routes that lead nowhere do to sockets and to
// forwarded packets.
func TestRouteKinds(t *testing.T) {
	for _, c := range []struct {
		kind  route.Kind
		local syscall.Errno
		far   syscall.Errno // 0: silence
	}{
		{route.Blackhole, syscall.EINVAL, 0},
		{route.Unreachable, syscall.EHOSTUNREACH, syscall.EHOSTUNREACH},
		{route.Prohibit, syscall.EACCES, syscall.EHOSTUNREACH},
	} {
		t.Run(c.kind.String(), func(t *testing.T) {
			hosts := line(t, 1, cable.Config{})
			a, r := hosts[0], hosts[1]
			nowhere := route.Route{Dst: pfx("192.0.2.0/24"), Kind: c.kind}
			must(t, r.AddRoute(nowhere))
			must(t, a.AddRoute(route.Route{Dst: pfx("0.0.0.0/0"), Via: netip.MustParseAddr("10.0.0.2")}))
			if _, err := r.Dial("tcp", "192.0.2.1:80"); !errors.Is(err, c.local) {
				t.Errorf("on the router: %v, want %v", err, c.local)
			}
			ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
			defer cancel()
			_, err := a.DialContext(ctx, "tcp", "192.0.2.1:80")
			switch {
			case c.far != 0 && !errors.Is(err, c.far):
				t.Errorf("behind the router: %v, want %v", err, c.far)
			case c.far == 0 && !errors.Is(err, context.DeadlineExceeded):
				t.Errorf("behind the router: %v, want silence", err)
			}
			want := map[route.Kind]packet.Reason{route.Blackhole: packet.ReasonRouteBlackhole,
				route.Unreachable: packet.ReasonRouteUnreachable, route.Prohibit: packet.ReasonRouteProhibit}[c.kind]
			if r.Drops()[want] == 0 {
				t.Errorf("nothing dropped for %v: %v", want, r.Drops())
			}
		})
	}
}
