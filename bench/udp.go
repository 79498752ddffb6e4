package bench

import (
	"sync"
	"sync/atomic"
)

const udpTerms = "A goroutine sends as fast as it can, another receives with the sender's address, by the AddrPort " +
	"methods; counted where they are received. The receive buffer is 4 MiB; what finds it full is lost."

func init() {
	targets := []Target{
		{Ours: "towpath", Peer: "gvisor-gso", Aim: 6},
		{Ours: "towpath", Peer: "loopback", Aim: 2.5},
		{Ours: "towpath-plain", Peer: "gvisor-pipe", Aim: 6},
	}
	for _, size := range []struct {
		name, title string
		bytes       int
	}{
		{"udp-64", "UDP, 64 bytes", 64},
		{"udp-1400", "UDP, 1400 bytes", 1400},
	} {
		register(Line{
			Name: size.name, Title: size.title, Unit: "datagrams/s", Terms: udpTerms,
			Load: datagrams(size.bytes), Worlds: everyoneBut("gonet", "net.Pipe"), Targets: targets,
		})
	}
}

// datagrams is a one-way flood of datagrams of one size; an operation is one
// received.
func datagrams(size int) func(World) *Load {
	return func(w World) *Load {
		l := &Load{Also: map[string]*Counter{"sent/s": new(Counter)}}
		sent := l.Also["sent/s"]
		tx, rx, to := w.UDP()
		var stop atomic.Bool
		var wg sync.WaitGroup
		wg.Go(func() {
			buf := make([]byte, size)
			for !stop.Load() {
				if _, err := tx.WriteToUDPAddrPort(buf, to); err != nil {
					panic(err)
				}
				sent.Add(1)
			}
		})
		wg.Go(func() {
			buf := make([]byte, 2048)
			for {
				n, _, err := rx.ReadFromUDPAddrPort(buf)
				if err != nil {
					break
				}
				if n != size {
					panic("datagram of another size")
				}
				l.Ops.Add(1)
			}
		})
		l.Stop = func() {
			stop.Store(true)
			rx.Close()
			wg.Wait()
			tx.Close()
			w.Close()
		}
		return l
	}
}
