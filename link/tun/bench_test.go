//go:build linux

package tun_test

import (
	"net/netip"
	"sync/atomic"
	"testing"

	"github.com/towpath/towpath/internal/testenv"
	"github.com/towpath/towpath/link"
	"github.com/towpath/towpath/link/afpacket"
	"github.com/towpath/towpath/link/tun"
	"github.com/towpath/towpath/packet"
	"github.com/towpath/towpath/wire"
)

// counter is a protocol that counts packets and sends nothing.
type counter struct {
	n    atomic.Int64
	more chan struct{} // if not nil, gets a token after n has grown
}

func (c *counter) Receive(_ *link.Adapter, l *packet.List, _ *link.Work) {
	c.n.Add(int64(l.Len()))
	l.Free()
	select {
	case c.more <- struct{}{}:
	default:
	}
}

func adapter(t *testing.T, m link.Miniport, p link.Protocol) *link.Adapter {
	t.Helper()
	a := link.NewAdapter("eth0", 1, m)
	a.Bind(p)
	if err := a.Open(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.Close() })
	return a
}

// sender returns a function that sends a batch of n UDP packets of the size.
func sender(a *link.Adapter, n, size int) func() {
	src, dst := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
	var pool packet.Pool
	return func() {
		var l packet.List
		for range n {
			p := pool.Get()
			if c := size - 28; c > 0 {
				chunk := pool.Chunk(c)
				p.AppendOwned(chunk, 0, c)
			}
			p.Transport = p.Start() - wire.UDPLen
			wire.PutUDP(p.Push(wire.UDPLen), 9, 9, size-20, 0)
			wire.PutIPv4(p.Push(wire.IPv4Len), &wire.IPv4Fields{TotalLen: size, TTL: 1, Proto: wire.ProtoUDP, Src: src, Dst: dst})
			p.Net = p.Start()
			l.Push(p)
		}
		w := link.NewWork(nil)
		a.Enqueue(&l)
		a.Flush(w)
		w.Run()
	}
}

func TestAllocs(t *testing.T) {
	testenv.InNamespace(t, func(t *testing.T) {
		testenv.NeedsTUN(t)
		if testenv.Race {
			t.Skip("the race detector allocates")
		}
		d := open(t, tun.Config{})
		got, back := counter{more: make(chan struct{}, 1)}, counter{more: make(chan struct{}, 1)}
		a := adapter(t, d, &got)
		peer, err := afpacket.Open(d.Name(), afpacket.Config{})
		if err != nil {
			t.Fatal(err)
		}
		b := adapter(t, peer, &back)
		for _, way := range []struct {
			name     string
			from     *link.Adapter
			received *counter
		}{{"tun to packet socket", a, &back}, {"packet socket to tun", b, &got}} {
			send := sender(way.from, 16, 1000)
			allocs := testing.AllocsPerRun(200, func() {
				want := way.received.n.Load() + 16
				send()
				for way.received.n.Load() < want {
					<-way.received.more
				}
			})
			if allocs > 0 {
				t.Errorf("%s: %v allocations for 16 packets", way.name, allocs)
			}
		}
	})
}

// TestFigures prints what a packet costs; run it with -v.
func TestFigures(t *testing.T) {
	testenv.InNamespace(t, func(t *testing.T) {
		testenv.NeedsTUN(t)
		if !testing.Verbose() || testenv.Race {
			t.Skip("prints figures; run with -v")
		}
		d := open(t, tun.Config{MTU: 65000})
		var got counter
		a := adapter(t, d, &got)
		for _, size := range []int{64, 1500, 30000} {
			send := sender(a, 64, size)
			r := testing.Benchmark(func(b *testing.B) {
				for b.Loop() {
					send()
				}
			})
			t.Logf("send %5d bytes: %4.0f ns a packet, %d allocations for 64", size, float64(r.NsPerOp())/64, r.AllocsPerOp())
		}
	})
}
