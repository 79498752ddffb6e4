package bench

import (
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

func init() {
	for _, others := range []int{0, 100, 10_000} {
		l := Line{
			Name: fmt.Sprintf("latency-%d", others), Title: fmt.Sprintf("TCP, 1 byte there and back, %d others busy", others), Unit: "µs at the 99th percentile",
			Terms: "One connection's round trips are timed one by one, while so many others do the same as fast as they can; " +
				"two goroutines each. p50, p99.9 and the longest are in microseconds.",
			LowerIsBetter: true,
			Contenders:    make(map[string]func(*Run) float64),
			Targets: []Target{
				{Ours: "towpath", Peer: "gvisor-gso", Aim: 0.5},
				{Ours: "towpath", Peer: "loopback"},
			},
		}
		if others > 1000 {
			l.Rounds = 2
		}
		for _, name := range []string{"towpath", "gvisor-gso", "loopback"} {
			if others > 9000 && name == "loopback" {
				continue // descriptors: 20,000 are the limit of many processes
			}
			l.Contenders[name] = func(r *Run) float64 { return latency(newWorld(name), others, r) }
		}
		if others > 9000 {
			l.Targets = l.Targets[:1]
		}
		register(l)
	}
}

// latency is the 99th percentile of a connection's round trips, in µs.
func latency(w World, others int, r *Run) float64 {
	w.MoreAddresses(16)
	clients, servers := connect(w, 1+others)
	var stop atomic.Bool
	var wg sync.WaitGroup
	for _, s := range servers {
		wg.Go(func() {
			buf := make([]byte, 1)
			for {
				if n, _ := s.Read(buf); n != 1 {
					break
				}
				if _, err := s.Write(buf); err != nil {
					panic(err)
				}
			}
			s.Close()
		})
	}
	trip := func(c Conn, buf []byte) {
		if _, err := c.Write(buf); err != nil {
			panic(err)
		}
		if n, err := c.Read(buf); n != 1 {
			panic(err)
		}
	}
	for _, c := range clients[1:] {
		wg.Go(func() {
			buf := make([]byte, 1)
			for !stop.Load() {
				trip(c, buf)
			}
			c.Close()
		})
	}
	c, buf := clients[0], make([]byte, 1)
	times := make([]time.Duration, 0, 1<<20)
	measure := func(d time.Duration) {
		times = times[:0]
		// Few trips fit where many are busy: some hundred are wanted for a
		// percentile.
		for begin := time.Now(); len(times) < cap(times) && (time.Since(begin) < d || len(times) < 300 && time.Since(begin) < 20*d); {
			at := time.Now()
			trip(c, buf)
			times = append(times, time.Since(at))
		}
	}
	measure(r.Warm)
	measure(r.Time)
	stop.Store(true)
	c.Close()
	wg.Wait()
	w.Close()
	slices.Sort(times)
	at := func(q float64) float64 { return float64(times[int(q*float64(len(times)-1))]) / 1e3 }
	r.Note("p50", at(0.5))
	r.Note("p99.9", at(0.999))
	r.Note("longest", at(1))
	r.Note("trips", float64(len(times)))
	return at(0.99)
}
