package host

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"testing"

	"github.com/towpath/towpath/tcp"
)

// TestSocketList: every kind of socket is described, and what has happened is
// counted.
func TestSocketList(t *testing.T) {
	h := New(Config{Name: "h"})
	defer h.Close(context.Background())
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
	c.Write([]byte("hello"))
	u, err := h.ListenPacket("udp", ":53")
	if err != nil {
		t.Fatal(err)
	}
	defer u.Close()
	r, e := h.Socket(AFInet, SockRaw, 1)
	if e != 0 {
		t.Fatal(e)
	}
	defer r.Close()
	var got []string
	for _, s := range h.Sockets() {
		remote := "-"
		if s.Remote.IsValid() {
			remote = "peer"
		}
		local := s.Local.String()
		if s.Local.Port() > 1024 {
			local = "ephemeral"
		}
		got = append(got, fmt.Sprintf("%d %d %d %s %s %v rx=%d", s.Family, s.Type, s.Proto, local, remote, s.TCP.State, s.RxQueue))
	}
	slices.Sort(got)
	want := []string{
		"10 2 17 [::]:53 - " + tcp.StateClosed.String() + " rx=0",
		"2 1 6 127.0.0.1:80 - " + tcp.StateListen.String() + " rx=1",
		"2 1 6 127.0.0.1:80 peer " + tcp.StateEstablished.String() + " rx=5",
		"2 1 6 ephemeral peer " + tcp.StateEstablished.String() + " rx=0",
		"2 3 1 0.0.0.0:1 - " + tcp.StateClosed.String() + " rx=0",
	}
	if !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	a := netip.MustParseAddr("127.0.0.1")
	s := h.Stats()
	if ip := s.ip(a); ip.Received < 4 || ip.Sent != ip.Received || s.TCPReceived < 4 || s.TCPSent < 4 || s.TCPAccepted != 1 || s.Established != 2 {
		t.Errorf("%+v", s)
	}
}
