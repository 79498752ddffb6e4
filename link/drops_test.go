package link_test

import (
	"testing"

	"github.com/towpath/towpath/link"
	"github.com/towpath/towpath/link/cable"
	"github.com/towpath/towpath/packet"
	"github.com/towpath/towpath/wire"
)

// sink is a protocol that ends what it gets, or does worse.
type sink struct {
	n     int
	panic bool
}

func (s *sink) Receive(_ *link.Adapter, l *packet.List, _ *link.Work) {
	if s.panic {
		panic("sink")
	}
	s.n += l.Len()
	l.Free()
}

// frame is a frame of n payload bytes with nothing in its headers.
func frame(n int) *packet.Packet {
	p := packet.Get()
	p.AppendBytes(make([]byte, n))
	p.Net = p.Start()
	p.Push(wire.EthernetLen)
	return p
}

func frames(n int) *packet.List {
	l := new(packet.List)
	for range n {
		l.Push(frame(60))
	}
	return l
}

// TestDropReasons drops packets at every place of this package that does.
func TestDropReasons(t *testing.T) {
	type ends struct {
		a, b *link.Adapter
		s    *sink
	}
	join := func(t *testing.T, cfg cable.Config) ends {
		pa, pb := cable.New(cfg)
		e := ends{link.NewAdapter("a", 1, pa), link.NewAdapter("b", 2, pb), new(sink)}
		e.b.Bind(e.s)
		for _, a := range []*link.Adapter{e.a, e.b} {
			if err := a.Open(); err != nil {
				t.Fatal(err)
			}
		}
		return e
	}
	send := func(a *link.Adapter, l *packet.List) {
		w := link.NewWork(nil)
		a.Enqueue(l)
		a.Flush(w)
		w.Run()
	}
	for _, c := range []struct {
		reason packet.Reason
		want   uint64
		run    func(t *testing.T, e ends) *link.Adapter // whose drops count
	}{
		{packet.ReasonAdapterDown, 2, func(t *testing.T, e ends) *link.Adapter {
			e.a.SetUp(false)
			send(e.a, frames(2))
			return e.a
		}},
		{packet.ReasonAdapterDownIn, 2, func(t *testing.T, e ends) *link.Adapter {
			e.b.SetUp(false)
			send(e.a, frames(2))
			return e.b
		}},
		{packet.ReasonAdapterClosed, 2, func(t *testing.T, e ends) *link.Adapter {
			e.b.Unbind(e.s)
			send(e.a, frames(2))
			return e.b
		}},
		{packet.ReasonOutQueueFull, 1, func(t *testing.T, e ends) *link.Adapter {
			e.a.Enqueue(frames(20000))
			e.a.Enqueue(frames(1))
			return e.a
		}},
		{packet.ReasonOutQueueFlushed, 3, func(t *testing.T, e ends) *link.Adapter {
			e.a.Enqueue(frames(3))
			e.a.Close()
			return e.a
		}},
		{packet.ReasonFrameTooBig, 1, func(t *testing.T, e ends) *link.Adapter {
			l := frames(2)
			l.Push(frame(1501))
			send(e.a, l)
			return e.a
		}},
		{packet.ReasonSegmentFailed, 1, func(t *testing.T, e ends) *link.Adapter {
			p := frame(2000)
			p.GSO = packet.GSO{Type: packet.GSOTCP4, Size: 500}
			p.Data = p.Net
			var l packet.List
			l.Push(p)
			pa, pb := cable.New(cable.Config{Plain: true})
			defer pb.Close()
			a := link.NewAdapter("plain", 3, pa)
			if err := a.Open(); err != nil {
				t.Fatal(err)
			}
			defer a.Close()
			send(a, &l)
			return a
		}},
		{packet.ReasonCableQueueFull, 4, func(t *testing.T, e ends) *link.Adapter {
			pa, pb := cable.New(cable.Config{Queue: 8})
			defer pb.Close()
			a := link.NewAdapter("short", 3, pa)
			if err := a.Open(); err != nil {
				t.Fatal(err)
			}
			far := link.NewAdapter("far", 4, pb)
			far.Bind(new(sink))
			if err := far.Open(); err != nil {
				t.Fatal(err)
			}
			send(a, frames(12))
			a.Close()
			return a
		}},
		{packet.ReasonCableCut, 1, func(t *testing.T, e ends) *link.Adapter {
			e.a.Close()
			e.a.SetUp(true)
			send(e.a, frames(1))
			return e.a
		}},
		{packet.ReasonCableLoose, 1, func(t *testing.T, e ends) *link.Adapter {
			e.b.Close()
			send(e.a, frames(1))
			return e.a
		}},
		{packet.ReasonCableFlushed, 5, func(t *testing.T, e ends) *link.Adapter {
			w := link.NewWork(nil)
			e.a.Enqueue(frames(5))
			e.a.Flush(w) // and w is not run
			e.a.Close()
			w.Run()
			return e.a
		}},
		{packet.ReasonRunnerLost, 2, func(t *testing.T, e ends) *link.Adapter {
			e.s.panic = true
			func() {
				defer func() { recover() }()
				send(e.a, frames(2))
			}()
			e.s.panic = false
			send(e.a, frames(1))
			if e.s.n != 1 {
				t.Errorf("%d packets came after the panic, want 1", e.s.n)
			}
			return e.a
		}},
	} {
		t.Run(c.reason.String(), func(t *testing.T) {
			e := join(t, cable.Config{})
			a := c.run(t, e)
			var d packet.Counters
			a.Drops(&d)
			for r, n := range d {
				want := uint64(0)
				if packet.Reason(r) == c.reason {
					want = c.want
				}
				if n != want {
					t.Errorf("%v: %d, want %d", packet.Reason(r), n, want)
				}
			}
			e.a.Close()
			e.b.Close()
		})
	}
}
