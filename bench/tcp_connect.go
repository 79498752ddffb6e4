package bench

import "sync/atomic"

func init() {
	register(Line{
		Name: "tcp-connect", Title: "TCP, connect and close", Unit: "connections/s",
		Terms: "A goroutine dials, gets the other end from the one that accepts, closes its own end and then " +
			"the other, no byte sent; both ends close with FIN and the dialing end stays in TIME-WAIT for " +
			"60 s, the default of all. b has 16 addresses, so that none runs out of ports.",
		Load: connects, Worlds: everyoneBut("gonet", "net.Pipe"),
		Targets: []Target{
			{Ours: "towpath", Peer: "gvisor-gso", Aim: 6},
			{Ours: "towpath", Peer: "gvisor-1ms-timewait"},
			{Ours: "towpath", Peer: "loopback", Aim: 3.5},
			{Ours: "towpath-plain", Peer: "gvisor-pipe", Aim: 6},
		},
		// gVisor keeps whole endpoints in TIME-WAIT, and its collector has to
		// go through them. This is how much that costs it.
		Contenders: map[string]func(*Run) float64{
			"gvisor-1ms-timewait": func(r *Run) float64 {
				w := newGvisorGSO().(*gvisorWorld)
				w.shortTimeWait()
				l := connects(w)
				defer l.Stop()
				return r.Observe(l).Rate()
			},
		},
	})
}

// connects is a load of connections opened and closed one after the other.
func connects(w World) *Load {
	l := new(Load)
	w.MoreAddresses(16) // connections to several share no ports
	ln := w.Listen(port)
	accepted := make(chan Conn)
	var stop atomic.Bool
	done := make(chan struct{})
	go func() {
		for {
			s, err := ln.Accept()
			if err != nil {
				break
			}
			accepted <- s
		}
		close(done)
	}()
	go func() {
		for i := 0; !stop.Load(); i++ {
			c := w.Dial(port, i)
			s := <-accepted
			c.Close()
			s.Close()
			l.Ops.Add(1)
		}
		ln.Close()
	}()
	l.Stop = func() {
		stop.Store(true)
		<-done
		w.Close()
	}
	return l
}
