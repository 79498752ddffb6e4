package bench

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// A Line is one row of the table: the same work done by every contender.
type Line struct {
	Name  string // "tcp-stream"; what -lines matches
	Title string // "TCP, one flow"
	Unit  string // "MB/s"
	Terms string // on what terms the contenders meet, in a sentence or two

	// LowerIsBetter: the unit is a cost.
	LowerIsBetter bool
	// Rounds bounds the rounds of a line that does not vary; 0: no bound.
	Rounds int
	// Namespace: each measurement needs to be root of a network namespace of
	// its own.
	Namespace bool

	// Load is the work, done in each of Worlds; Value makes the line's figure of
	// what happened in a window, by default operations per second.
	Load   func(World) *Load
	Worlds []string
	Value  func(Window) float64

	// Contenders are measured by functions of their own, for lines that are
	// not a load in a world. A function panics if it cannot.
	Contenders map[string]func(*Run) float64

	Targets []Target
}

// A Target is what one contender, towpath, should reach.
type Target struct {
	Ours string
	// Peer is the contender to beat; Ours/Peer should be at least Aim, or at
	// most if lower is better. To be on the wrong side of 1 is to be behind. An
	// Aim of 0 asks nothing: the ratio is only shown.
	Peer string
	Aim  float64
	// Limit, where there is no Peer, is a figure not to exceed.
	Limit float64
}

var lines []Line

func register(l Line) {
	if l.Value == nil {
		l.Value = Window.Rate
	}
	lines = append(lines, l)
}

// Lines returns all lines, in the order of the table.
func Lines() []Line {
	all := slices.Clone(lines)
	slices.SortStableFunc(all, func(a, b Line) int { return rank(a) - rank(b) })
	return all
}

// order is that of the table; lines not named here follow as registered.
var order = []string{"tcp-stream", "tcp-flows", "tcp-roundtrip", "latency", "tcp-connect", "udp", "kernel", "forward", "bpf", "allocs", "idle", "hosts", "build"}

func rank(l Line) int {
	for i, prefix := range order {
		if strings.HasPrefix(l.Name, prefix) {
			return i
		}
	}
	return len(order)
}

// ContenderNames returns the names of a line's contenders, ours first.
func (l *Line) ContenderNames() []string {
	var names []string
	for _, w := range worlds {
		if slices.Contains(l.Worlds, w.name) || l.Contenders[w.name] != nil {
			names = append(names, w.name)
		}
	}
	var others []string
	for name := range l.Contenders {
		if !slices.Contains(names, name) {
			others = append(others, name)
		}
	}
	slices.Sort(others)
	return append(names, others...)
}

// Measure runs one contender once, in this process.
func (l *Line) Measure(contender string, r *Run) (float64, error) {
	if f := l.Contenders[contender]; f != nil {
		return f(r), nil
	}
	if !slices.Contains(l.Worlds, contender) {
		return 0, fmt.Errorf("line %s has no contender %q", l.Name, contender)
	}
	return l.do(newWorld(contender), r), nil
}

// do does the line's work in a world.
func (l *Line) do(w World, r *Run) float64 {
	load := l.Load(w)
	win := r.Observe(load)
	load.Stop()
	if !l.LowerIsBetter {
		r.Note("allocs/op", win.AllocsPerOp())
	}
	r.Note(cpuNote, float64(win.CPU)/max(win.Ops, 1))
	r.Note("cores", win.CPU.Seconds()/win.Time.Seconds())
	return l.Value(win)
}

// A Run is one measurement of one contender.
type Run struct {
	Time  time.Duration      // how long to measure
	Warm  time.Duration      // how long to warm up before
	Notes map[string]float64 // what else was seen
}

// Note records a figure beside the line's own.
func (r *Run) Note(name string, v float64) {
	if r.Notes == nil {
		r.Notes = make(map[string]float64)
	}
	r.Notes[name] = v
}
