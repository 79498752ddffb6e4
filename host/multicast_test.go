package host_test

import (
	"net/netip"
	"testing"
	"time"

	"github.com/towpath/towpath/host"
	"github.com/towpath/towpath/link/cable"
)

// TestMulticastLoopback sends to groups of which the sender's host is part, and
// to its network's broadcast address: its own sockets hear it, and the other
// host's, once each.
func TestMulticastLoopback(t *testing.T) {
	for _, tt := range []struct{ name, network, group string }{
		{"IPv4", "udp4", "239.1.2.3"},
		{"IPv6", "udp6", "ff05::1:3"},
		{"broadcast", "udp4", "10.0.0.255"},
		{"limited broadcast", "udp4", "255.255.255.255"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a, b := pair(t, cable.Config{})
			to := netip.AddrPortFrom(netip.MustParseAddr(tt.group), 4000)
			open := func(h *host.Host, port string) *host.UDPConn {
				c, err := h.ListenPacket(tt.network, port)
				must(t, err)
				t.Cleanup(func() { c.Close() })
				u := c.(*host.UDPConn)
				must(t, u.SetBroadcast(true))
				return u
			}
			mine, theirs, sender := open(a, ":4000"), open(b, ":4000"), open(a, ":0")
			if to.Addr().IsMulticast() {
				must(t, mine.JoinGroup("eth0", to.Addr()))
				must(t, theirs.JoinGroup("eth0", to.Addr()))
			}
			buf := make([]byte, 10)
			hears := func(who string, c *host.UDPConn, want string) {
				t.Helper()
				wait := time.Second
				if want == "" {
					wait = 50 * time.Millisecond
				}
				c.SetReadDeadline(time.Now().Add(wait))
				n, _, err := c.ReadFromUDPAddrPort(buf)
				if want == "" && err == nil || want != "" && (err != nil || string(buf[:n]) != want) {
					t.Errorf("%s hears %q, %v; want %q", who, buf[:n], err, want)
				}
			}
			_, err := sender.WriteToUDPAddrPort([]byte("one"), to)
			must(t, err)
			hears("its own host", mine, "one")
			hears("the other host", theirs, "one")
			hears("its own host again", mine, "")
			must(t, sender.SetMulticastLoopback(false))
			_, err = sender.WriteToUDPAddrPort([]byte("two"), to)
			must(t, err)
			hears("the other host", theirs, "two")
			hears("its own host", mine, "")
		})
	}
}
