package host_test

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/towpath/towpath/host"
	"github.com/towpath/towpath/link/cable"
	"github.com/towpath/towpath/packet"
	"github.com/towpath/towpath/wire"
)

// TestReusePort opens four sockets on one port: what comes is spread over them
// by flow, and all of a flow comes to one.
func TestReusePort(t *testing.T) {
	a, b := pair(t, cable.Config{})
	lc := host.ListenConfig{Host: b, ReusePort: true}
	var mu sync.Mutex
	got := make([]map[string]int, 4)
	var wg sync.WaitGroup
	for i := range got {
		got[i] = make(map[string]int)
		c, err := lc.ListenPacket("udp", ":53")
		must(t, err)
		defer c.Close()
		wg.Go(func() {
			buf := make([]byte, 100)
			for {
				_, from, err := c.ReadFrom(buf)
				if err != nil {
					return
				}
				mu.Lock()
				got[i][from.String()]++
				mu.Unlock()
			}
		})
		l, err := lc.Listen("tcp", ":80")
		must(t, err)
		defer l.Close()
		wg.Go(func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				mu.Lock()
				got[i]["tcp"]++
				mu.Unlock()
				c.Close()
			}
		})
	}
	if _, err := b.ListenPacket("udp", ":53"); err == nil {
		t.Error("a socket that does not share got a shared port")
	}
	for range 200 {
		c, err := a.Dial("udp", "10.0.0.2:53")
		must(t, err)
		for range 3 {
			c.Write([]byte("x"))
		}
		c.Close()
		s, err := a.Dial("tcp", "10.0.0.2:80")
		must(t, err)
		s.Close()
	}
	time.Sleep(50 * time.Millisecond)
	mu.Lock()
	defer mu.Unlock()
	for i, m := range got {
		if m["tcp"] < 20 || len(m) < 20 {
			t.Errorf("socket %d: %d connections, %d flows of 200", i, m["tcp"], len(m)-1)
		}
		for from, n := range m {
			if from != "tcp" && n != 3 {
				t.Errorf("socket %d: %d datagrams of %s, want all 3", i, n, from)
			}
		}
	}
}

// TestManyReceivers sends to broadcast addresses and a group: every socket on
// the port gets a copy.
func TestManyReceivers(t *testing.T) {
	a, b := pair(t, cable.Config{})
	lc := host.ListenConfig{Host: b, ReuseAddr: true}
	var socks []net.PacketConn
	for range 3 {
		c, err := lc.ListenPacket("udp4", ":68")
		must(t, err)
		defer c.Close()
		c.SetReadDeadline(time.Now().Add(5 * time.Second))
		socks = append(socks, c)
	}
	s, err := a.ListenPacket("udp4", ":67")
	must(t, err)
	defer s.Close()
	if _, err := s.WriteTo([]byte("x"), &net.UDPAddr{IP: net.IPv4bcast, Port: 68}); err == nil {
		t.Error("broadcast without SetBroadcast")
	}
	must(t, s.(*host.UDPConn).SetBroadcast(true))
	for _, to := range []net.IP{net.IPv4bcast, net.IPv4(10, 0, 0, 255), net.IPv4(224, 0, 0, 1)} {
		msg := bytes.Repeat([]byte(to.String()), 40)
		_, err := s.WriteTo(msg, &net.UDPAddr{IP: to, Port: 68})
		must(t, err)
		for i, c := range socks {
			buf := make([]byte, 2000)
			n, _, err := c.ReadFrom(buf)
			if err != nil || !bytes.Equal(buf[:n], msg) {
				t.Errorf("%v at socket %d: %q, %v", to, i, buf[:n], err)
			}
		}
	}
}

// TestPacketInfo looks at what is told of datagrams, and asks for it.
func TestPacketInfo(t *testing.T) {
	a, b := pair(t, cable.Config{})
	must(t, b.AddAddress("eth0", pfx("10.0.0.77/24")))
	s, err := b.ListenPacket("udp", ":9")
	must(t, err)
	defer s.Close()
	c, err := a.ListenPacket("udp", ":10")
	must(t, err)
	defer c.Close()
	us, them := s.(*host.UDPConn), c.(*host.UDPConn)
	must(t, them.SetTTL(9))
	must(t, them.SetTOS(0x10))
	them.WriteToUDPAddrPort([]byte("question"), netip.MustParseAddrPort("10.0.0.77:9"))
	buf := make([]byte, 100)
	n, info, err := us.ReadPacket(buf)
	want := host.PacketInfo{Peer: netip.MustParseAddrPort("10.0.0.1:10"), Local: netip.MustParseAddr("10.0.0.77"), Adapter: "eth0", AdapterIndex: 2, TTL: 9, TOS: 0x10}
	if err != nil || string(buf[:n]) != "question" || info != want {
		t.Fatalf("%q %+v %v, want %+v", buf[:n], info, err, want)
	}
	_, err = us.WritePacket([]byte("answer"), info)
	must(t, err)
	n, info, err = them.ReadPacket(buf)
	if err != nil || string(buf[:n]) != "answer" || info.Peer != netip.MustParseAddrPort("10.0.0.77:9") || info.TTL != 9 {
		t.Fatalf("%q %+v %v", buf[:n], info, err)
	}
	info.Local = netip.MustParseAddr("10.0.0.99")
	if _, err := us.WritePacket(nil, info); err == nil {
		t.Error("sent from an address that is not ours")
	}
}

// shout is a protocol of one's own: it answers what it gets in capitals. It
// shows what it takes to add one.
type shout struct {
	answers chan string
	errors  chan error
}

const protoShout = wire.Proto(253) // RFC 3692: for experiments

func (s *shout) Receive(x *host.TransportContext, p *packet.Packet) {
	msg := bytes.Clone(p.Bytes())
	if len(msg) < 1 {
		x.Drop(p, packet.ReasonProtocol)
		return
	}
	if msg[0] == '!' { // an answer
		s.answers <- string(msg[1:])
		x.Free(p)
		return
	}
	r := x.Packet()
	r.AppendBytes(append([]byte("!"), bytes.ToUpper(msg)...))
	x.Send(r, p.Dst, p.Src)
	x.Free(p)
}

func (s *shout) Error(_ *host.TransportContext, _, _ netip.Addr, errno syscall.Errno, _ []byte) {
	s.errors <- errno
}

func TestRegisterTransport(t *testing.T) {
	a, b := pair(t, cable.Config{})
	mine := &shout{answers: make(chan string, 1), errors: make(chan error, 1)}
	theirs := &shout{}
	x, err := a.RegisterTransport(protoShout, mine)
	must(t, err)
	y, err := b.RegisterTransport(protoShout, theirs)
	must(t, err)
	if _, err := b.RegisterTransport(protoShout, theirs); err == nil {
		t.Error("registered twice")
	}
	if _, err := b.RegisterTransport(wire.ProtoTCP, theirs); err == nil {
		t.Error("TCP replaced")
	}
	for _, to := range []string{"10.0.0.2", "fd00::2"} {
		p := packet.Get()
		p.AppendBytes([]byte("hello, far host"))
		must(t, x.Send(p, netip.Addr{}, netip.MustParseAddr(to)))
		if got := <-mine.answers; got != "HELLO, FAR HOST" {
			t.Errorf("%s answers %q", to, got)
		}
	}
	must(t, y.Close())
	p := packet.Get()
	p.AppendBytes([]byte("anybody there?"))
	must(t, x.Send(p, netip.Addr{}, netip.MustParseAddr("10.0.0.2")))
	select {
	case err := <-mine.errors:
		if err != syscall.ENOPROTOOPT {
			t.Errorf("error %v", err)
		}
	case <-time.After(5 * time.Second):
		t.Error("no error came of a protocol that is not there")
	}
	must(t, x.Close())
}

// TestBacklog fills a listener's backlog: established connections wait, more
// are not answered, and room is made by accepting.
func TestBacklog(t *testing.T) {
	a, b := pair(t, cable.Config{})
	l, err := host.ListenConfig{Host: b, Backlog: 2}.Listen("tcp", ":80")
	must(t, err)
	defer l.Close()
	var conns []net.Conn
	for i := range 5 {
		ctx, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
		c, err := a.DialContext(ctx, "tcp", "10.0.0.2:80")
		cancel()
		if fits := i < 3; fits != (err == nil) { // backlog + 1, as on Linux
			t.Errorf("connection %d: %v", i, err)
		}
		if err == nil {
			conns = append(conns, c)
		}
	}
	c, err := l.Accept()
	must(t, err)
	defer c.Close()
	d, err := a.Dial("tcp", "10.0.0.2:80")
	must(t, err)
	for _, c := range append(conns, d) {
		c.Close()
	}
	if fmt.Sprint(c.LocalAddr()) != "10.0.0.2:80" {
		t.Error(c.LocalAddr())
	}
}
