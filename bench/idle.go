package bench

import (
	"io"
	"runtime"
)

// idleConns is how many connections the lines "idle" hold. The kernel's need
// two descriptors each, of which a process commonly has 20,000 at most.
func idleConns(world string) int {
	if world == "loopback" {
		return 9_000
	}
	return 10_000
}

func init() {
	registerIdle("idle", "TCP, an idle connection, never used", "no byte sent", 0)
	registerIdle("idle-used", "TCP, an idle connection, used before", "1000 bytes sent each way and read", 1000)
	register(Line{
		Name: "idle-million", Title: "TCP, 1,000,000 idle connections between two hosts", Unit: "bytes per end",
		Terms:         "As idle, with so many; the listening host has 64 addresses.",
		LowerIsBetter: true, Rounds: 1,
		Contenders: map[string]func(*Run) float64{
			"towpath": func(r *Run) float64 { return idle(newWorld("towpath"), 1_000_000, 0, r) },
		},
		Targets: []Target{{Ours: "towpath", Limit: 2048}},
	})
}

func registerIdle(name, title, use string, bytes int) {
	l := Line{
		Name: name, Title: title, Unit: "bytes per end",
		Terms: "10,000 connections, " + use + "; heap and goroutine stacks after collection, less those with one " +
			"connection, shared out among both ends. Includes the net.Conn, for gVisor the wrapper that blocks on an " +
			"endpoint (0.4 KB). For loopback 9,000 connections, and the kernel's own memory, about 4 KB an end, is not seen.",
		LowerIsBetter: true, Rounds: 2,
		Contenders: make(map[string]func(*Run) float64),
		Targets: []Target{
			{Ours: "towpath", Peer: "gvisor-pipe", Aim: 0.4},
			{Ours: "towpath", Peer: "gonet", Aim: 0.4},
			{Ours: "towpath", Limit: 2048},
		},
	}
	for _, name := range everyoneBut("towpath-plain", "gvisor-gso", "net.Pipe") {
		l.Contenders[name] = func(r *Run) float64 { return idle(newWorld(name), idleConns(name), bytes, r) }
	}
	register(l)
}

func idle(w World, conns, use int, r *Run) float64 {
	w.MoreAddresses(1 + conns/16_000) // ports suffice for 28,000 connections to each
	ln := w.Listen(port)
	keep := make([]Conn, 0, 2*conns)
	buf := make([]byte, use)
	open := func(i int) {
		c := w.Dial(port, i)
		s, err := ln.Accept()
		check(err)
		keep = append(keep, c, s)
		exchange(c, s, buf)
		exchange(s, c, buf)
	}
	open(0)
	before := memoryInUse()
	for i := 1; i < conns; i++ {
		open(i)
	}
	after := memoryInUse()
	ends := float64(2 * (conns - 1))
	r.Note("stack-bytes", (after.stacks-before.stacks)/ends)
	r.Note("goroutines", float64(runtime.NumGoroutine()))
	runtime.KeepAlive(keep)
	ln.Close()
	for _, c := range keep {
		c.Close()
	}
	w.Close()
	return (after.heap + after.stacks - before.heap - before.stacks) / ends
}

// exchange sends buf from one end to the other.
func exchange(from, to Conn, buf []byte) {
	if len(buf) == 0 {
		return
	}
	_, err := from.Write(buf)
	check(err)
	_, err = io.ReadFull(to, buf)
	check(err)
}

type memory struct{ heap, stacks float64 }

func memoryInUse() memory {
	for range 3 { // finalizers and pools need more than one
		runtime.GC()
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return memory{float64(m.HeapAlloc), float64(m.StackInuse)}
}
