package host_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/towpath/towpath/host"
	"github.com/towpath/towpath/link/cable"
	"github.com/towpath/towpath/packet"
	"github.com/towpath/towpath/wire"
)

// echo is an echo request as a program hands it to a ping socket.
func echo(kind uint8, seq uint16, payload string) []byte {
	b := make([]byte, wire.ICMPLen, wire.ICMPLen+len(payload))
	wire.PutICMP(b, kind, 0, 0, wire.ICMPEcho(0xdead, seq))
	return append(b, payload...)
}

// synctestRun is t.Run on virtual time.
func synctestRun(t *testing.T, name string, f func(t *testing.T)) {
	t.Run(name, func(t *testing.T) { synctest.Test(t, f) })
}

func TestPingSockets(t *testing.T) {
	for _, tt := range []struct {
		network, any, to   string
		request, reply     uint8
		nobody, wrongFirst string
	}{
		{"ping4", "0.0.0.0", "10.0.0.2", 8, 0, "10.0.0.77", "hello"},
		{"ping6", "::", "fd00::2", 128, 129, "fd00::77", "hello"},
	} {
		synctestRun(t, tt.network, func(t *testing.T) {
			a, _ := pair(t, cable.Config{})
			open := func() *host.UDPConn {
				c, err := a.ListenPacket(tt.network, tt.any)
				must(t, err)
				t.Cleanup(func() { c.Close() })
				c.SetDeadline(time.Now().Add(5 * time.Second))
				return c.(*host.UDPConn)
			}
			one, two := open(), open()
			id := func(c *host.UDPConn) uint16 { return uint16(c.LocalAddr().(*net.UDPAddr).Port) }
			if id(one) == id(two) || id(one) == 0 {
				t.Errorf("identifiers %d and %d", id(one), id(two))
			}
			buf := make([]byte, 2000)
			to := net.UDPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(tt.to), 0))
			for seq, payload := range []string{"", "hello", string(make([]byte, 1900))} {
				for _, c := range []*host.UDPConn{one, two} {
					_, err := c.WriteTo(echo(tt.request, uint16(seq), payload), to)
					must(t, err)
				}
				for _, c := range []*host.UDPConn{two, one} {
					n, from, err := c.ReadFromUDPAddrPort(buf)
					must(t, err)
					m := wire.ICMPv4(buf[:n])
					if from.Addr().String() != tt.to || from.Port() != 0 || uint8(m.Type()) != tt.reply ||
						m.ID() != id(c) || m.Seq() != uint16(seq) || !bytes.Equal(buf[wire.ICMPLen:n], []byte(payload)) {
						t.Errorf("seq %d: from %v: % x, want identifier %d", seq, from, buf[:min(n, 16)], id(c))
					}
				}
			}
			// Only echo requests may be sent.
			for _, b := range [][]byte{nil, []byte("hello"), echo(tt.reply, 1, ""), echo(13, 1, ""), append([]byte{tt.request, 1}, make([]byte, 6)...)} {
				if _, err := one.WriteTo(b, to); !errors.Is(err, syscall.EINVAL) {
					t.Errorf("% x sent: %v", b, err)
				}
			}
			// A connected socket hears of errors, and of its peer only.
			c, err := a.Dial(tt.network, tt.nobody)
			must(t, err)
			defer c.Close()
			c.SetDeadline(time.Now().Add(10 * time.Second))
			_, err = c.Write(echo(tt.request, 7, ""))
			must(t, err)
			if _, err := c.Read(buf); !errors.Is(err, syscall.EHOSTUNREACH) {
				t.Errorf("a ping to nobody: %v", err)
			}
		})
	}
}

// TestPingID: the requests of one program have one identifier, and may be under
// way at the same time.
func TestPingID(t *testing.T) {
	r := rawHost(t, host.Config{})
	r.meet()
	r.take()
	id := r.host.PingID()
	const n = 3
	errs := make(chan error, n)
	for seq := range uint16(n) {
		go func() {
			reply, err := r.host.Ping(t.Context(), them4, host.PingOptions{ID: id, Seq: seq})
			if err == nil && reply.From != them4 {
				err = fmt.Errorf("from %v", reply.From)
			}
			errs <- err
		}()
	}
	var asked [][]byte
	for deadline := time.Now().Add(5 * time.Second); len(asked) < n && time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		for _, f := range r.take() {
			if wire.Ethernet(f).Type() == wire.EtherTypeIPv4 && wire.IPv4(f[14:]).Proto() == wire.ProtoICMP {
				asked = append(asked, wire.IPv4(f[14:]).Payload())
			}
		}
	}
	if len(asked) != n {
		t.Fatalf("%d requests", len(asked))
	}
	for i := range asked { // the last first
		q := wire.ICMPv4(asked[n-1-i])
		if q.ID() != id {
			t.Errorf("identifier %d, want %d", q.ID(), id)
		}
		r.send(eth4(wire.IPv4Fields{}, func(b *wire.Builder) {
			b.Payload(asked[n-1-i][8:]).PushICMPv4(wire.ICMPv4EchoReply, 0, wire.ICMPEcho(id, q.Seq()))
		}))
	}
	for range n {
		must(t, <-errs)
	}
	r.send(eth4(wire.IPv4Fields{}, func(b *wire.Builder) {
		b.PushICMPv4(wire.ICMPv4EchoReply, 0, wire.ICMPEcho(id, 1))
	}))
	if d := r.host.Drops()[packet.ReasonEchoUnasked]; d != 1 {
		t.Errorf("%d replies were unasked for, want 1", d)
	}
}

// TestPingUnreachable: who did not answer a moment ago is not waited for, nor is
// the echo request that says so at once.
func TestPingUnreachable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := rawHost(t, host.Config{})
		for range 2 {
			for _, to := range []string{"10.0.0.77", "fd00::77"} {
				ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
				if _, err := r.host.Ping(ctx, netip.MustParseAddr(to), host.PingOptions{}); !errors.Is(err, syscall.EHOSTUNREACH) {
					t.Errorf("%s: %v", to, err)
				}
				cancel()
			}
		}
	})
}
