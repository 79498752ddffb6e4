package host_test

import (
	"net/netip"
	"runtime"
	"testing"
	"time"

	"github.com/towpath/towpath/host"
	"github.com/towpath/towpath/ip/route"
	"github.com/towpath/towpath/wire"
)

// TestSynFlood sends 100,000 SYNs from addresses where nobody is: memory stays
// flat, and a connection in earnest is served all the same.
func TestSynFlood(t *testing.T) {
	r := rawHost(t, host.Config{})
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
	r.send(new(wire.Builder).PushARP(wire.ARPRequest, themMAC, them4, wire.MAC{}, us4).PushEthernet(wire.Broadcast, themMAC).Bytes())
	heap := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	flood := func(n int) {
		for i := range n {
			src := netip.AddrFrom4([4]byte{198, 18, byte(i >> 8), byte(i)})
			r.send(eth4(wire.IPv4Fields{Src: src}, tcp(wire.TCPFields{SrcPort: uint16(i), DstPort: 80, Seq: uint32(i), Flags: wire.TCPSyn, Window: 9})))
			if i%1024 == 0 {
				r.take()
			}
		}
		r.take()
	}
	flood(10000)
	before := heap()
	flood(90000)
	if after := heap(); after > before+4<<20 {
		t.Errorf("heap grew from %d to %d KiB", before>>10, after>>10)
	}
	if n := r.host.Stats().TCPConnections; n > 1024 {
		t.Errorf("%d connections in the table", n)
	}
	if r.host.Stats().SynOverflow == 0 {
		t.Error("nothing gave way")
	}
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
