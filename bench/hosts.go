package bench

import (
	"context"
	"fmt"
	"net/netip"
	"runtime"
	"time"

	"github.com/towpath/towpath/host"
	"github.com/towpath/towpath/link/cable"
)

func init() {
	const terms = "10,000 hosts in one process, joined by cables in pairs, with an address each; they have found one another " +
		"by a datagram there and back, and then do nothing."
	register(Line{
		Name: "hosts-memory", Title: "An idle host", Unit: "bytes",
		Terms:         terms + " Heap and goroutine stacks after collection, shared out among them.",
		LowerIsBetter: true, Rounds: 2,
		Contenders: map[string]func(*Run) float64{
			"towpath": func(r *Run) float64 { bytes, _ := manyHosts(r); return bytes },
		},
		Targets: []Target{{Ours: "towpath", Limit: 64 << 10}},
	})
	register(Line{
		Name: "hosts-up", Title: "10,000 hosts up", Unit: "s",
		Terms:         terms + " From nothing until the last pair has spoken.",
		LowerIsBetter: true, Rounds: 3,
		Contenders: map[string]func(*Run) float64{
			"towpath": func(r *Run) float64 { _, took := manyHosts(r); return took.Seconds() },
		},
		Targets: []Target{{Ours: "towpath", Limit: 5}},
	})
}

const hostCount = 10_000

// manyHosts brings hosts up and tells their memory and how long it took.
func manyHosts(r *Run) (bytesEach float64, took time.Duration) {
	before := memoryInUse()
	begin := time.Now()
	hosts := make([]*host.Host, 0, hostCount)
	a, b := netip.AddrFrom4([4]byte{10, 0, 0, 1}), netip.AddrFrom4([4]byte{10, 0, 0, 2})
	newHost := func(m *cable.Port, ip netip.Addr) *host.Host {
		h := host.New(host.Config{Name: fmt.Sprintf("host%d", len(hosts))})
		_, err := h.AddAdapter("eth0", m)
		check(err)
		check(h.AddAddress("eth0", netip.PrefixFrom(ip, 24)))
		hosts = append(hosts, h)
		return h
	}
	buf := make([]byte, 16)
	for len(hosts) < hostCount {
		pa, pb := cable.New(cable.Config{})
		ha, hb := newHost(pa, a), newHost(pb, b)
		greet(ha, hb, netip.AddrPortFrom(b, 7), buf)
	}
	took = time.Since(begin)
	after := memoryInUse()
	r.Note("goroutines", float64(runtime.NumGoroutine()))
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for _, h := range hosts {
		check(h.Close(ctx))
	}
	return (after.heap + after.stacks - before.heap - before.stacks) / hostCount, took
}

// greet sends a datagram there and another back.
func greet(a, b *host.Host, to netip.AddrPort, buf []byte) {
	open := func(h *host.Host) PacketConn {
		c, err := h.ListenPacket("udp4", ":7")
		check(err)
		return c.(PacketConn)
	}
	ca, cb := open(a), open(b)
	_, err := ca.WriteToUDPAddrPort(buf, to)
	check(err)
	_, from, err := cb.ReadFromUDPAddrPort(buf)
	check(err)
	_, err = cb.WriteToUDPAddrPort(buf, from)
	check(err)
	_, _, err = ca.ReadFromUDPAddrPort(buf)
	check(err)
	check(ca.Close())
	check(cb.Close())
}
