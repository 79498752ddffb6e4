package bench

import (
	"runtime"
	"sync/atomic"
	"time"
)

// A Load is work going on until it is stopped.
type Load struct {
	// Ops counts what has been done. PerOp is how much of that one operation
	// is, for the notes beside the line's figure; 0 means 1.
	Ops   Counter
	PerOp int64
	// Stop ends the work and takes its world down.
	Stop func()
	// Also are further counters, shown as rates beside the line's figure.
	Also map[string]*Counter
}

// A Counter is written by one goroutine or a few and read now and then. It has
// its cache lines for itself.
type Counter struct {
	_ [64]byte
	n atomic.Int64
	_ [64]byte
}

func (c *Counter) Add(n int)   { c.n.Add(int64(n)) }
func (c *Counter) Load() int64 { return c.n.Load() }

// A Window is what happened while a load was watched.
type Window struct {
	Time    time.Duration
	Ops     float64
	CPU     time.Duration // user and system time of the process
	Waited  time.Duration // threads of the process stood ready, without a processor
	Mallocs uint64
}

// Rate is operations per second.
func (w Window) Rate() float64 { return w.Ops / w.Time.Seconds() }

// AllocsPerOp is heap allocations per operation, of all goroutines.
func (w Window) AllocsPerOp() float64 { return float64(w.Mallocs) / max(w.Ops, 1) }

// Observe warms a load up, collects garbage so that all contenders begin alike,
// and watches the load for r.Time. Collections that fall due after that are
// part of what a contender costs.
func (r *Run) Observe(l *Load) Window {
	time.Sleep(r.Warm)
	runtime.GC()
	time.Sleep(r.Warm / 4) // pools that the collection emptied fill again
	also := make(map[string]int64)
	for name, c := range l.Also {
		also[name] = c.Load()
	}
	waited0, busy0 := waited(), processors()
	begin := read(l)
	time.Sleep(r.Time)
	end := read(l)
	waited1, busy1 := waited(), processors()
	w := Window{
		Time:    end.at.Sub(begin.at),
		Ops:     float64(end.ops-begin.ops) / float64(max(l.PerOp, 1)),
		CPU:     end.cpu - begin.cpu,
		Mallocs: end.mallocs - begin.mallocs,
		Waited:  waited1 - waited0,
	}
	r.Note(waitedNote, w.Waited.Seconds()/w.Time.Seconds())
	if all := (busy1.all - busy0.all).Seconds(); all > 0 {
		r.Note(othersNote, max(0, (busy1.busy-busy0.busy-w.CPU).Seconds()/all))
	}
	for name, c := range l.Also {
		r.Note(name, float64(c.Load()-also[name])/w.Time.Seconds())
	}
	return w
}

type reading struct {
	at      time.Time
	ops     int64
	cpu     time.Duration
	mallocs uint64
}

func read(l *Load) reading {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return reading{time.Now(), l.Ops.Load(), cpuTime(), m.Mallocs}
}
