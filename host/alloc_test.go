package host_test

import (
	"context"
	"io"
	"net/netip"
	"testing"
	"time"

	"github.com/towpath/towpath/host"
	"github.com/towpath/towpath/link/cable"
	"github.com/towpath/towpath/packet"
)

// TestAllocs guards that packets of established flows allocate nothing.
func TestAllocs(t *testing.T) {
	if raceEnabled {
		t.Skip("under the race detector pools drop memory on purpose")
	}
	for i, addr := range []string{"10.0.0.2", "fd00::2", "10.0.0.2", "fd00::2"} {
		plain := i > 1
		a, b := pair(t, cable.Config{Plain: plain})
		c, s := connected(t, a, b, addr)
		small, big := make([]byte, 1), make([]byte, 48<<10)
		both := func(buf []byte) func() {
			return func() {
				if _, err := c.Write(buf); err != nil {
					t.Fatal(err)
				}
				if _, err := io.ReadFull(s, buf); err != nil {
					t.Fatal(err)
				}
			}
		}
		u, err := a.ListenPacket("udp", ":0")
		must(t, err)
		v, err := b.ListenPacket("udp", ":9")
		must(t, err)
		to := netip.AddrPortFrom(netip.MustParseAddr(addr), 9)
		datagram := func(buf []byte) func() {
			return func() {
				if _, err := u.(*host.UDPConn).WriteToUDPAddrPort(buf, to); err != nil {
					t.Fatal(err)
				}
				if _, _, err := v.(*host.UDPConn).ReadFromUDPAddrPort(buf); err != nil {
					t.Fatal(err)
				}
			}
		}
		for name, f := range map[string]func(){
			"tcp 1 byte": both(small), "tcp 48 KiB": both(big),
			"udp 1 byte": datagram(small), "udp 1400 bytes": datagram(big[:1400]),
		} {
			for range 100 {
				f() // warm up
			}
			if n := testing.AllocsPerRun(200, f); n != 0 {
				t.Errorf("%s, plain=%v: %s: %v allocations", addr, plain, name, n)
			}
		}
		c.Close()
		s.Close()
	}
}

// TestNoLeak closes hosts in the middle of everything: streams, datagrams in
// queues, packets that wait for a neighbour, connections nobody accepted. All
// packets and chunks come back.
func TestNoLeak(t *testing.T) {
	packet.Account(true)
	defer packet.Account(false)
	for range 20 {
		a, b := pair(t, cable.Config{})
		c, s := connected(t, a, b, "10.0.0.2")
		l, err := b.Listen("tcp", ":80")
		must(t, err)
		_, err = a.Dial("tcp", "10.0.0.2:80")
		must(t, err)
		u, err := b.ListenPacket("udp", ":9")
		must(t, err)
		w, err := a.Dial("udp", "10.0.0.2:9")
		must(t, err)
		w.Write(make([]byte, 1000))
		x, err := a.Dial("udp", "10.0.0.77:9")
		must(t, err)
		x.Write(make([]byte, 1000))
		done := make(chan bool)
		go func() {
			defer close(done)
			buf := make([]byte, 100<<10)
			for {
				if _, err := c.Write(buf); err != nil {
					return
				}
			}
		}()
		io.ReadFull(s, make([]byte, 1<<20))
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		must(t, a.Close(ctx))
		must(t, b.Close(ctx))
		cancel()
		<-done
		l.Close()
		u.Close()
		s.Read(make([]byte, 1))
	}
	if packets, chunks := packet.Live(); packets != 0 || chunks != 0 {
		t.Errorf("%d packets and %d chunks were not given back", packets, chunks)
	}
}
