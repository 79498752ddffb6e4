package host_test

import (
	"net/netip"
	"runtime"
	"testing"
	"time"

	"github.com/towpath/towpath/host"
	"github.com/towpath/towpath/ip/route"
	"github.com/towpath/towpath/packet"
	"github.com/towpath/towpath/wire"
)

// fewer is how many times less the floods here are under the race detector,
// which makes them as many times slower.
func fewer() int {
	if raceEnabled {
		return 5
	}
	return 1
}

// TestSynFlood sends 100,000 SYNs from addresses where nobody is: memory stays
// flat, and a connection in earnest is served all the same, by a cookie or,
// without them, because the oldest handshakes give way.
func TestSynFlood(t *testing.T) {
	t.Run("cookies", func(t *testing.T) {
		r := rawHost(t, host.Config{})
		synFlood(t, r)
		if st := r.host.Stats(); st.SynCookiesSent < 85_000/uint64(fewer()) || st.SynCookiesReceived != 1 || st.SynOverflow != 0 {
			t.Errorf("%d cookies sent, %d came back, %d handshakes gave way", st.SynCookiesSent, st.SynCookiesReceived, st.SynOverflow)
		}
	})
	t.Run("none", func(t *testing.T) {
		r := rawHost(t, host.Config{Settings: host.Settings{NoSynCookies: true}})
		synFlood(t, r)
		if st := r.host.Stats(); st.SynCookiesSent != 0 || st.SynOverflow < 85_000/uint64(fewer()) {
			t.Errorf("%d cookies sent, %d handshakes gave way", st.SynCookiesSent, st.SynOverflow)
		}
	})
}

func synFlood(t *testing.T, r *raw) {
	l, err := r.host.Listen("tcp", ":80")
	must(t, err)
	defer l.Close()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			c.Write([]byte("served"))
			c.Close()
		}
	}()
	must(t, r.host.AddRoute(route.Route{Dst: pfx("0.0.0.0/0"), Via: them4}))
	r.meet()
	flood := func(n int) {
		for i := range n {
			src := netip.AddrFrom4([4]byte{198, 18, byte(i >> 8), byte(i)})
			r.send(eth4(wire.IPv4Fields{Src: src}, tcp(wire.TCPFields{SrcPort: uint16(i), DstPort: 80, Seq: uint32(i), Flags: wire.TCPSyn, Window: 9})))
			if i%1024 == 0 {
				r.meet() // however long it takes, the way back is known
				r.take()
			}
		}
		r.take()
	}
	flood(10_000 / fewer())
	before := heapInUse()
	flood(90_000 / fewer())
	if after := heapInUse(); after > before+4<<20 {
		t.Errorf("heap grew from %d to %d KiB", before>>10, after>>10)
	}
	if n := r.host.Stats().TCPConnections; n > 1024 {
		t.Errorf("%d connections in the table", n)
	}
	r.meet() // the flood may have taken longer than a neighbour is believed
	r.handshake(4000, 80)
	deadline := time.Now().Add(5 * time.Second)
	for {
		for _, f := range r.take() {
			if wire.Ethernet(f).Type() == wire.EtherTypeIPv4 && string(wire.TCP(wire.IPv4(f[14:]).Payload()).Payload()) == "served" {
				return
			}
		}
		if time.Now().After(deadline) {
			t.Fatal("not served")
		}
		time.Sleep(time.Millisecond)
	}
}

func heapInUse() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// served pings the host from beside it, which answers at once.
func (r *raw) served() {
	r.t.Helper()
	r.meet() // the flood may have taken longer than a neighbour is believed
	r.take()
	before := r.host.Drops()
	r.send(eth4(wire.IPv4Fields{}, func(b *wire.Builder) { b.Payload([]byte("ping")).PushICMPv4(wire.ICMPv4EchoRequest, 0, 1) }))
	for range 50 { // timers have something to send as well
		for _, f := range r.answer() {
			if wire.Ethernet(f).Type() == wire.EtherTypeIPv4 && wire.IPv4(f[14:]).Proto() == wire.ProtoICMP {
				return
			}
		}
	}
	for reason, n := range r.host.Drops() {
		if n -= before[reason]; n > 0 {
			r.t.Logf("%d × %v", n, packet.Reason(reason))
		}
	}
	r.t.Error("not served")
}

// TestFragmentFlood sends 100,000 fragments of each family from as many
// addresses, of datagrams that never become whole: memory stays flat, and a
// datagram in two pieces is put together all the same.
func TestFragmentFlood(t *testing.T) {
	r := rawHost(t, host.Config{})
	r.meet()
	payload := make([]byte, 1024)
	flood := func(from, to int) {
		for i := from; i < to; i++ {
			src := netip.AddrFrom4([4]byte{198, 18, byte(i >> 8), byte(i)})
			src6 := netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, 15: byte(i), 14: byte(i >> 8), 13: byte(i >> 16)})
			r.send(
				eth4(wire.IPv4Fields{Src: src, ID: uint16(i >> 16), MF: true, FragOffset: 8 * (i % 16)}, func(b *wire.Builder) { b.Payload(payload).SetProto(wire.ProtoUDP) }),
				eth6(wire.IPv6Fields{Src: src6}, func(b *wire.Builder) {
					b.Payload(payload).SetProto(wire.ProtoUDP).PushFragment(8*(i%16+1), true, uint32(i))
				}))
			if i%1024 == 0 {
				r.take()
			}
		}
		r.take()
	}
	flood(0, 20_000/fewer())
	before, used := heapInUse(), r.host.Stats().MemoryUsed
	flood(20_000/fewer(), 100_000/fewer())
	if after := heapInUse(); after > before+4<<20 {
		t.Errorf("heap grew from %d to %d KiB", before>>10, after>>10)
	}
	if now := r.host.Stats().MemoryUsed; now > used+1<<20 || used < 1<<20 {
		t.Errorf("%d bytes counted, then %d", used, now)
	}
	u, err := r.host.ListenPacket("udp", ":53")
	must(t, err)
	defer u.Close()
	whole := udp(1000, 53, string(make([]byte, 1200)))
	b := new(wire.Builder)
	whole(b)
	datagram := b.PushIPv4(wire.IPv4Fields{Src: them4, Dst: us4, TTL: 1}).Bytes()[wire.IPv4Len:]
	r.send(eth4(wire.IPv4Fields{ID: 9, MF: true}, func(b *wire.Builder) { b.Payload(datagram[:800]).SetProto(wire.ProtoUDP) }),
		eth4(wire.IPv4Fields{ID: 9, FragOffset: 800}, func(b *wire.Builder) { b.Payload(datagram[800:]).SetProto(wire.ProtoUDP) }))
	u.SetReadDeadline(time.Now().Add(5 * time.Second))
	if n, _, err := u.ReadFrom(make([]byte, 2000)); n != 1200 || err != nil {
		t.Errorf("a datagram in two pieces: %d bytes, %v", n, err)
	}
	r.served()
}

// TestNeighborFlood sends 100,000 datagrams of each family to as many addresses
// on the link where nobody is, and has the host forward as many more: memory
// stays flat, and a live neighbour is served all the same.
func TestNeighborFlood(t *testing.T) {
	r := rawHost(t, host.Config{Forward: true})
	r.meet()
	must(t, r.host.AddAddress("eth0", pfx("172.16.0.1/12")))
	payload := make([]byte, 1024)
	c, err := r.host.ListenPacket("udp", ":0")
	must(t, err)
	defer c.Close()
	u := c.(*host.UDPConn)
	flood := func(from, to int) {
		for i := from; i < to; i++ {
			dst := netip.AddrFrom4([4]byte{172, 17, byte(i >> 8), byte(i)})
			dst6 := netip.AddrFrom16([16]byte{0xfd, 15: byte(i), 14: byte(i >> 8), 13: byte(i>>16) | 1})
			u.WriteToUDPAddrPort(payload, netip.AddrPortFrom(dst, 9))
			u.WriteToUDPAddrPort(payload, netip.AddrPortFrom(dst6, 9))
			r.send(eth4(wire.IPv4Fields{Dst: dst}, udp(1, 9, string(payload))), eth6(wire.IPv6Fields{Dst: dst6}, udp(1, 9, string(payload))))
			if i%1024 == 0 {
				r.take()
			}
		}
		r.take()
	}
	flood(0, 20_000/fewer())
	before := heapInUse()
	flood(20_000/fewer(), 100_000/fewer())
	if after := heapInUse(); after > before+4<<20 {
		t.Errorf("heap grew from %d to %d KiB", before>>10, after>>10)
	}
	if n := len(r.host.Neighbors()); n > 1024 {
		t.Errorf("%d neighbours", n)
	}
	r.served()
}

// TestFragmentBudget: a host at its budget keeps no fragments.
func TestFragmentBudget(t *testing.T) {
	r := rawHost(t, host.Config{Settings: host.Settings{MemoryMax: 64 << 10}})
	for i := range 100 {
		r.send(eth4(wire.IPv4Fields{ID: uint16(i), MF: true}, func(b *wire.Builder) { b.Payload(make([]byte, 1400)).SetProto(wire.ProtoUDP) }),
			eth6(wire.IPv6Fields{}, func(b *wire.Builder) {
				b.Payload(make([]byte, 1400)).SetProto(wire.ProtoUDP).PushFragment(1448, true, uint32(i))
			}))
	}
	if used := r.host.Stats().MemoryUsed; used > 64<<10+16<<10 || used == 0 {
		t.Errorf("%d bytes used of 64 KiB", used)
	}
	if r.host.Drops()[packet.ReasonFragMemory] == 0 {
		t.Error("no fragment was refused")
	}
}

// TestNeighborBudget: a host at its budget keeps no packets for neighbours that
// have not answered.
func TestNeighborBudget(t *testing.T) {
	r := rawHost(t, host.Config{Settings: host.Settings{MemoryMax: 64 << 10}})
	c, err := r.host.ListenPacket("udp", ":0")
	must(t, err)
	defer c.Close()
	for i := range 100 {
		for _, to := range []string{"10.0.0.77", "fd00::77"} {
			c.(*host.UDPConn).WriteToUDPAddrPort(make([]byte, 1400), netip.AddrPortFrom(netip.MustParseAddr(to), uint16(1+i)))
		}
	}
	if used := r.host.Stats().MemoryUsed; used > 64<<10+16<<10 || used < 16<<10 {
		t.Errorf("%d bytes used of 64 KiB", used)
	}
	if r.host.Drops()[packet.ReasonNeighborMemory] == 0 {
		t.Error("no packet was refused")
	}
}
