package host_test

import (
	"net/netip"
	"syscall"
	"testing"

	"github.com/towpath/towpath/host"
	"github.com/towpath/towpath/packet"
	"github.com/towpath/towpath/wire"
)

// TestAcceptQueueFull completes handshakes that a listener has no room for: they
// wait until there is, or are reset where that is wanted.
func TestAcceptQueueFull(t *testing.T) {
	for _, abort := range []bool{false, true} {
		r := rawHost(t, host.Config{Settings: host.Settings{TCPAbortOnOverflow: abort}})
		r.known()
		l := newSocket(t, r.host, host.AFInet, host.SockStream, nil)
		mustE(t, l.Bind(netip.AddrPortFrom(us4, 80)))
		mustE(t, l.Listen(1))
		segments := func() (got []wire.TCP) {
			for _, f := range r.take() {
				if wire.Ethernet(f).Type() == wire.EtherTypeIPv4 && wire.IPv4(f[14:]).Proto() == wire.ProtoTCP {
					got = append(got, wire.TCP(wire.IPv4(f[14:]).Payload()))
				}
			}
			return got
		}
		r.handshake(999, 80)
		r.take()
		var last [2]wire.TCPFields
		for i := range last { // both begin while there is room for one more
			f := wire.TCPFields{SrcPort: uint16(1000 + i), DstPort: 80, Flags: wire.TCPSyn, Window: 1000}
			r.send(eth4(wire.IPv4Fields{}, tcp(f)))
			answer := segments()
			if len(answer) != 1 {
				t.Fatalf("%d answers to a SYN", len(answer))
			}
			f.Seq, f.Ack, f.Flags = 1, answer[0].Seq()+1, wire.TCPAck
			last[i] = f
		}
		for _, f := range last {
			r.send(eth4(wire.IPv4Fields{}, tcp(f)))
		}
		if n := r.host.Drops()[packet.ReasonTCPAcceptQueue]; n != 1 {
			t.Errorf("%d last acknowledgments dropped, want 1", n)
		}
		got := segments()
		if reset := len(got) == 1 && got[0].Flags() == wire.TCPRst; reset != abort {
			t.Errorf("abort %v: answers %v", abort, got)
		}
		accept := func() (e syscall.Errno) {
			c, e := l.Accept()
			if e == 0 {
				t.Cleanup(func() { c.Close() })
			}
			return e
		}
		mustE(t, accept())
		mustE(t, accept())
		if e := accept(); e != syscall.EAGAIN {
			t.Error("one too many:", e)
		}
		r.send(eth4(wire.IPv4Fields{}, tcp(last[1]))) // as the peer does when it is asked again
		if e := accept(); (e == 0) == abort {
			t.Errorf("abort %v: tried again: %v", abort, e)
		}
	}
}
