package host_test

import (
	"io"
	"net"
	"net/netip"
	"testing"

	"github.com/towpath/towpath/host"
	"github.com/towpath/towpath/link/cable"
)

// connected is a TCP connection from a to b.
func connected(t testing.TB, a, b *host.Host, to string) (client, server *host.TCPConn) {
	t.Helper()
	l, err := b.Listen("tcp", ":7")
	must(t, err)
	defer l.Close()
	ch := make(chan net.Conn, 1)
	go func() {
		c, err := l.Accept()
		if err != nil {
			t.Error(err)
		}
		ch <- c
	}()
	c, err := a.Dial("tcp", net.JoinHostPort(to, "7"))
	must(t, err)
	return c.(*host.TCPConn), (<-ch).(*host.TCPConn)
}

func BenchmarkRoundTrip(b *testing.B) {
	ha, hb := pair(b, cable.Config{})
	c, s := connected(b, ha, hb, "10.0.0.2")
	defer c.Close()
	go func() {
		defer s.Close()
		buf := make([]byte, 1)
		for {
			if _, err := s.Read(buf); err != nil {
				return
			}
			s.Write(buf)
		}
	}()
	b.ReportAllocs()
	buf := make([]byte, 1)
	for b.Loop() {
		c.Write(buf)
		if _, err := io.ReadFull(c, buf); err != nil {
			b.Fatal(err)
		}
	}
}

func benchmarkStream(b *testing.B, cfg cable.Config) {
	ha, hb := pair(b, cfg)
	c, s := connected(b, ha, hb, "10.0.0.2")
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer s.Close()
		buf := make([]byte, 64<<10)
		for {
			if _, err := s.Read(buf); err != nil {
				return
			}
		}
	}()
	buf := make([]byte, 64<<10)
	b.SetBytes(int64(len(buf)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := c.Write(buf); err != nil {
			b.Fatal(err)
		}
	}
	c.Close()
	<-done
}

func BenchmarkStream(b *testing.B)      { benchmarkStream(b, cable.Config{}) }
func BenchmarkStreamPlain(b *testing.B) { benchmarkStream(b, cable.Config{Plain: true}) }

func BenchmarkConnect(b *testing.B) {
	ha, hb := pair(b, cable.Config{})
	l, err := hb.Listen("tcp", ":7")
	must(b, err)
	defer l.Close()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			c.Close()
		}
	}()
	b.ReportAllocs()
	for b.Loop() {
		c, err := ha.Dial("tcp", "10.0.0.2:7")
		if err != nil {
			b.Fatal(err)
		}
		c.Read(make([]byte, 1))
		c.Close()
	}
}

func BenchmarkUDP(b *testing.B) {
	ha, hb := pair(b, cable.Config{})
	s, err := hb.ListenPacket("udp", ":7")
	must(b, err)
	c, err := ha.ListenPacket("udp", ":7")
	must(b, err)
	go func() {
		buf := make([]byte, 2000)
		for {
			if _, _, err := s.(*host.UDPConn).ReadFromUDPAddrPort(buf); err != nil {
				return
			}
		}
	}()
	to := netip.MustParseAddrPort("10.0.0.2:7")
	buf := make([]byte, 64)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := c.(*host.UDPConn).WriteToUDPAddrPort(buf, to); err != nil {
			b.Fatal(err)
		}
	}
	b.StopTimer()
	s.Close()
	c.Close()
}
