package bench

import (
	"sync"
	"sync/atomic"
)

const (
	port  = 80
	chunk = 64 << 10 // what streams write at a time
)

const streamTerms = "64 KiB writes and reads; a goroutine writes, another reads; counted where they are read. " +
	"towpath's and gVisor's buffers begin at 256 KiB and may grow to 8 MiB, the kernel's are its own; the kernel uses cubic."

func init() {
	targets := []Target{
		{Ours: "towpath", Peer: "gvisor-gso", Aim: 2},
		{Ours: "towpath", Peer: "loopback", Aim: 1.25},
		{Ours: "towpath", Peer: "net.Pipe"},
		{Ours: "towpath-plain", Peer: "gvisor-pipe", Aim: 8},
	}
	many := []Target{
		{Ours: "towpath", Peer: "gvisor-gso", Aim: 3},
		{Ours: "towpath", Peer: "loopback", Aim: 1.2},
		{Ours: "towpath", Peer: "net.Pipe"},
		{Ours: "towpath-plain", Peer: "gvisor-pipe", Aim: 3},
	}
	register(Line{
		Name: "tcp-stream", Title: "TCP, one flow", Unit: "MB/s", Terms: streamTerms,
		Load: streams(1), Worlds: everyoneBut(), Value: megabytes, Targets: targets,
	})
	register(Line{
		Name: "tcp-flows-16", Title: "TCP, 16 flows at once", Unit: "MB/s", Terms: streamTerms,
		Load: streams(16), Worlds: everyoneBut("gonet"), Value: megabytes, Targets: many,
	})
	register(Line{
		Name: "tcp-flows-128", Title: "TCP, 128 flows at once", Unit: "MB/s", Terms: streamTerms,
		Load: streams(128), Worlds: everyoneBut("gonet"), Value: megabytes, Targets: many,
	})
}

func megabytes(w Window) float64 { return w.Rate() * chunk / 1e6 }

// streams is a load of so many one-way flows from a to b; an operation is
// 64 KiB received.
func streams(flows int) func(World) *Load {
	return func(w World) *Load {
		l := &Load{PerOp: chunk}
		var stop atomic.Bool
		var wg sync.WaitGroup
		clients, servers := connect(w, flows)
		for i := range flows {
			c, s := clients[i], servers[i]
			bulk(c)
			wg.Go(func() {
				buf := make([]byte, chunk)
				for !stop.Load() {
					if _, err := c.Write(buf); err != nil {
						panic(err)
					}
				}
				c.Close()
			})
			wg.Go(func() {
				buf := make([]byte, chunk)
				for {
					n, err := s.Read(buf)
					l.Ops.Add(n)
					if err != nil {
						break
					}
				}
				s.Close()
			})
		}
		l.Stop = func() {
			stop.Store(true)
			wg.Wait()
			w.Close()
		}
		return l
	}
}

// connect makes n connections, one after the other.
func connect(w World, n int) (clients, servers []Conn) {
	ln := w.Listen(port)
	accepted := make(chan Conn)
	go func() {
		for range n {
			s, err := ln.Accept()
			check(err)
			accepted <- s
		}
	}()
	for i := range n {
		clients = append(clients, w.Dial(port, i))
		servers = append(servers, <-accepted)
	}
	check(ln.Close())
	return clients, servers
}
