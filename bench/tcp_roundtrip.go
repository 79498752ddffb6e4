package bench

import "sync/atomic"

func init() {
	register(Line{
		Name: "tcp-roundtrip", Title: "TCP, 1 byte there and back", Unit: "round trips/s",
		Terms: "A goroutine writes a byte and reads one; another echoes. Nagle off or without effect: " +
			"there is never unacknowledged data when a byte is written.",
		Load: roundTrips, Worlds: everyoneBut(),
		Targets: []Target{
			{Ours: "towpath", Peer: "gvisor-gso", Aim: 8},
			{Ours: "towpath", Peer: "loopback", Aim: 1.75},
			{Ours: "towpath", Peer: "net.Pipe", Aim: 0.7},
			{Ours: "towpath-plain", Peer: "gvisor-pipe", Aim: 8},
		},
	})
}

// roundTrips is a load of bytes sent and echoed one at a time.
func roundTrips(w World) *Load {
	l := new(Load)
	clients, servers := connect(w, 1)
	c, s := clients[0], servers[0]
	var stop atomic.Bool
	done := make(chan struct{}, 2)
	go func() {
		buf := make([]byte, 1)
		for !stop.Load() {
			if _, err := c.Write(buf); err != nil {
				panic(err)
			}
			if n, err := c.Read(buf); n != 1 {
				panic(err)
			}
			l.Ops.Add(1)
		}
		c.Close()
		done <- struct{}{}
	}()
	go func() {
		buf := make([]byte, 1)
		for {
			if n, err := s.Read(buf); n != 1 || err != nil {
				break
			}
			if _, err := s.Write(buf); err != nil {
				panic(err)
			}
		}
		s.Close()
		done <- struct{}{}
	}()
	l.Stop = func() {
		stop.Store(true)
		<-done
		<-done
		w.Close()
	}
	return l
}
