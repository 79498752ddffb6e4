package host_test

import (
	"flag"
	"math/rand/v2"
	"net/netip"
	"runtime"
	"testing"
	"time"

	"github.com/towpath/towpath/host"
	"github.com/towpath/towpath/packet"
	"github.com/towpath/towpath/wire"
)

var feedTime = flag.Duration("feed", time.Second, "how long TestHostileFeed feeds a host")

// templates are whole frames of every kind a host takes, for strangers to
// mangle.
func templates() [][]byte {
	arp := new(wire.Builder).PushARP(wire.ARPRequest, themMAC, them4, wire.MAC{}, us4).PushEthernet(wire.Broadcast, themMAC).Bytes()
	var all [][]byte
	all = append(all, arp)
	for _, b := range []func(b *wire.Builder){
		udp(53, 53, "question"),
		tcp(wire.TCPFields{SrcPort: 1, DstPort: 80, Seq: 7, Flags: wire.TCPSyn, Window: 1000}),
		tcp(wire.TCPFields{SrcPort: 1, DstPort: 80, Seq: 8, Ack: 9, Flags: wire.TCPAck | wire.TCPPsh, Window: 1000}),
		tcp(wire.TCPFields{SrcPort: 1, DstPort: 80, Seq: 8, Flags: wire.TCPRst}),
		func(b *wire.Builder) { b.Payload(make([]byte, 500)).PushUDP(1, 53) },
		func(b *wire.Builder) {
			b.PushTCP(wire.TCPFields{SrcPort: 2, DstPort: 80, Flags: wire.TCPSyn, Window: 9},
				&wire.TCPOptions{HasMSS: true, MSS: 1460, HasWScale: true, WScale: 7, HasTS: true, TSVal: 1, SACKPermitted: true})
		},
	} {
		all = append(all, eth4(wire.IPv4Fields{}, b), eth6(wire.IPv6Fields{}, b),
			eth4(wire.IPv4Fields{Options: []byte{7, 7, 4, 0, 0, 0, 0, 0}}, b),
			eth6(wire.IPv6Fields{}, func(x *wire.Builder) { b(x); x.PushFragment(0, true, 7); x.PushHopByHop(nil) }))
	}
	quote := new(wire.Builder).Payload([]byte("x")).PushUDP(9, 9).PushIPv4(wire.IPv4Fields{TTL: 1, Src: us4, Dst: them4}).Bytes()
	return append(all,
		eth4(wire.IPv4Fields{}, func(b *wire.Builder) { b.Payload(make([]byte, 56)).PushICMPv4(wire.ICMPv4EchoRequest, 0, 1) }),
		eth4(wire.IPv4Fields{}, func(b *wire.Builder) { b.Payload(quote).PushICMPv4(wire.ICMPv4Unreachable, 3, 0) }),
		eth6(wire.IPv6Fields{}, func(b *wire.Builder) { b.Payload(make([]byte, 56)).PushICMPv6(wire.ICMPv6EchoRequest, 0, 1) }),
		eth6(wire.IPv6Fields{HopLimit: 255}, func(b *wire.Builder) { b.PushNeighborSolicit(us6) }),
		eth6(wire.IPv6Fields{HopLimit: 255}, func(b *wire.Builder) { b.PushNeighborAdvert(wire.NDSolicited, them6) }),
		eth4(wire.IPv4Fields{Dst: netip.MustParseAddr("10.7.7.7")}, udp(1, 2, "to be forwarded")),
	)
}

// mangle changes a frame as a stranger would: bytes, bits, length; sometimes it
// repairs the checksums so that the damage gets further in.
func mangle(r *rand.Rand, f []byte) []byte {
	f = append([]byte(nil), f...)
	for range r.IntN(4) {
		switch r.IntN(5) {
		case 0:
			f[r.IntN(len(f))] ^= 1 << r.IntN(8)
		case 1:
			f[r.IntN(len(f))] = byte(r.Uint32())
		case 2:
			f = f[:1+r.IntN(len(f))]
		case 3:
			f = append(f, make([]byte, r.IntN(300))...)
		case 4:
			i := 14 + r.IntN(max(1, min(len(f)-14, 60)))
			if i < len(f) {
				f[i] = []byte{0, 255, 127, 128, 1}[r.IntN(5)]
			}
		}
		if len(f) == 0 {
			return []byte{1}
		}
	}
	if r.IntN(2) == 0 {
		repair(f)
	}
	return f
}

// repair makes the checksums of a frame right where its headers can be read.
func repair(f []byte) {
	if len(f) < 14+20 || f[14]>>4 != 4 {
		return
	}
	ip := wire.IPv4(f[14:])
	if !ip.Valid(len(ip)) {
		return
	}
	ip.UpdateChecksum()
	l4 := ip[ip.HeaderLen():ip.TotalLen()]
	at := map[wire.Proto]int{wire.ProtoTCP: 16, wire.ProtoUDP: 6, wire.ProtoICMP: 2}[ip.Proto()]
	if at == 0 || len(l4) < at+2 {
		return
	}
	var sum uint32
	if ip.Proto() != wire.ProtoICMP {
		sum = wire.PseudoSum(ip.Src(), ip.Dst(), ip.Proto(), len(l4))
	}
	l4[at], l4[at+1] = 0, 0
	c := ^wire.Fold(wire.Sum(l4, sum))
	l4[at], l4[at+1] = byte(c>>8), byte(c)
}

// hostileHost is a forwarding host with a listener that nobody accepts from and
// a datagram socket that nobody reads.
func hostileHost(t testing.TB) *raw {
	r := rawHost(t, host.Config{Forward: true, Seed: 1})
	l, err := r.host.Listen("tcp", ":80")
	must(t, err)
	c, err := r.host.ListenPacket("udp", ":53")
	must(t, err)
	t.Cleanup(func() { l.Close(); c.Close() })
	return r
}

// TestHostileFeed feeds a host with mangled frames: it must not panic, must not
// grow, and must say of every frame why it went no further.
func TestHostileFeed(t *testing.T) {
	r := hostileHost(t)
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	frames := templates()
	n := 0
	feed := func(until time.Time) {
		for time.Now().Before(until) {
			for range 64 {
				r.send(mangle(rnd, frames[rnd.IntN(len(frames))]))
				n++
			}
			r.take()
		}
	}
	heap := func() uint64 {
		runtime.GC()
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	feed(time.Now().Add(*feedTime / 4))
	before := heap()
	feed(time.Now().Add(*feedTime * 3 / 4))
	after := heap()
	var dropped uint64
	for reason, k := range r.host.Drops() {
		dropped += k
		if k > 0 {
			t.Logf("%8d × %v", k, packet.Reason(reason))
		}
	}
	t.Logf("%d frames, %d dropped; heap %d KiB, then %d KiB", n, dropped, before>>10, after>>10)
	if after > before+8<<20 {
		t.Errorf("heap grew from %d to %d KiB", before>>10, after>>10)
	}
	if dropped < uint64(n)/4 {
		t.Errorf("only %d of %d mangled frames were dropped", dropped, n)
	}
}

// FuzzHost feeds one frame to a host.
func FuzzHost(f *testing.F) {
	for _, b := range templates() {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, frame []byte) {
		if len(frame) > 60000 {
			return
		}
		r := hostileHost(t)
		r.send(frame)
		repaired := append([]byte(nil), frame...)
		repair(repaired)
		r.send(repaired)
	})
}
