package bench

import (
	"fmt"
	"math"
	"slices"
)

// A Sample is one measurement of one contender, or why there is none.
type Sample struct {
	Value  float64            `json:"value"`
	Notes  map[string]float64 `json:"notes,omitempty"`
	Failed string             `json:"failed,omitempty"`
}

// A Result is what was measured of a line: for each contender, a sample for
// each round.
type Result struct {
	Line    *Line
	Samples map[string][]Sample
}

// Values returns a contender's good samples.
func (r *Result) Values(contender string) []float64 {
	var vs []float64
	for _, s := range r.Samples[contender] {
		if s.Failed == "" {
			vs = append(vs, s.Value)
		}
	}
	return vs
}

// Failure returns why a contender failed, if it did in any round.
func (r *Result) Failure(contender string) string {
	for _, s := range r.Samples[contender] {
		if s.Failed != "" {
			return s.Failed
		}
	}
	return ""
}

// Note returns the median of a contender's note.
func (r *Result) Note(contender, note string) (float64, bool) {
	var vs []float64
	for _, s := range r.Samples[contender] {
		if v, ok := s.Notes[note]; ok && s.Failed == "" {
			vs = append(vs, v)
		}
	}
	return Median(vs), len(vs) > 0
}

// Ratios returns ours over peer's, round by round, of the rounds in which both
// were measured.
func (r *Result) Ratios(ours, peer string) []float64 {
	var vs []float64
	a, b := r.Samples[ours], r.Samples[peer]
	for i := range min(len(a), len(b)) {
		if a[i].Failed == "" && b[i].Failed == "" && b[i].Value > 0 {
			vs = append(vs, a[i].Value/b[i].Value)
		}
	}
	return vs
}

// A Verdict says how a line stands to a target.
type Verdict string

const (
	Reached Verdict = "ok"
	Short   Verdict = "short of aim"
	Behind  Verdict = "BEHIND"
	Unknown Verdict = "not measured"
)

// A Judgement is a target compared with what was measured.
type Judgement struct {
	Target
	// Figure is the median ratio to the peer, or our median if the target is a
	// limit; Low and High are its extremes.
	Figure, Low, High float64
	// PerCPU is the median ratio to the peer of what is done in a second of
	// processor time; NaN where that is unknown. It hardly feels who else uses
	// the machine.
	PerCPU  float64
	Verdict Verdict
}

// Judge compares a result with a target.
func (r *Result) Judge(t Target) Judgement {
	var vs []float64
	if t.Peer != "" {
		vs = r.Ratios(t.Ours, t.Peer)
	} else {
		vs = r.Values(t.Ours)
	}
	if len(vs) == 0 {
		nan := math.NaN()
		return Judgement{Target: t, Figure: nan, Low: nan, High: nan, PerCPU: nan, Verdict: Unknown}
	}
	j := Judgement{
		Target: t, Figure: Median(vs), Low: slices.Min(vs), High: slices.Max(vs),
		PerCPU: Median(r.cpuRatios(t)), Verdict: Reached,
	}
	reached := func(aim float64) bool {
		if r.Line.LowerIsBetter {
			return j.Figure <= aim
		}
		return j.Figure >= aim
	}
	switch {
	case t.Peer == "":
		if j.Figure > t.Limit {
			j.Verdict = Short
		}
	case t.Aim != 0 && reached(t.Aim): // also an aim below the peer
	case !reached(1):
		j.Verdict = Behind
	case t.Aim != 0:
		j.Verdict = Short
	}
	return j
}

const (
	// cpuNote is the note that cpuRatios compares.
	cpuNote = "cpu-ns/op"
	// waitedNote says for how much of the window a thread of the process stood
	// ready to run without a processor.
	waitedNote = "waited"
	// othersNote says how much of the machine's processors others used.
	othersNote = "others"
)

// disturbed is how much of both spoils a sample. One is not enough: threads
// that wake each other often wait also on an idle machine, and others may use
// a processor that a contender leaves free.
const disturbed = 0.1

// Others says how much of the machine others used during the sample.
func (s *Sample) Others() float64 { return s.Notes[othersNote] }

// Disturbed reports whether others have probably spoiled the sample.
func (s *Sample) Disturbed() bool {
	return s.Failed == "" && s.Notes[waitedNote] > disturbed && s.Others() > disturbed
}

func (r *Result) cpuRatios(t Target) []float64 {
	if t.Peer == "" || r.Line.LowerIsBetter {
		return nil
	}
	var vs []float64
	a, b := r.Samples[t.Ours], r.Samples[t.Peer]
	for i := range min(len(a), len(b)) {
		if ours, peer := a[i].Notes[cpuNote], b[i].Notes[cpuNote]; ours > 0 && peer > 0 {
			vs = append(vs, peer/ours)
		}
	}
	return vs
}

// Wants is a target in words.
func (j Judgement) Wants(lowerIsBetter bool) string {
	switch {
	case j.Peer == "":
		return "at most " + Format(j.Limit)
	case j.Aim == 0:
		return "-"
	case lowerIsBetter:
		return fmt.Sprintf("at most %.3g", j.Aim)
	}
	return fmt.Sprintf("at least %.3g", j.Aim)
}

// Median of vs; NaN if there are none.
func Median(vs []float64) float64 {
	if len(vs) == 0 {
		return math.NaN()
	}
	s := slices.Sorted(slices.Values(vs))
	n := len(s)
	return (s[(n-1)/2] + s[n/2]) / 2
}

// Format writes a figure with three or four digits.
func Format(v float64) string {
	switch a := math.Abs(v); {
	case math.IsNaN(v):
		return "-"
	case a >= 1e6:
		return fmt.Sprintf("%.2f M", v/1e6)
	case a >= 1e4:
		return fmt.Sprintf("%.1f k", v/1e3)
	case a >= 100:
		return fmt.Sprintf("%.0f", v)
	case a >= 10:
		return fmt.Sprintf("%.1f", v)
	case a >= 0.005:
		return fmt.Sprintf("%.2f", v)
	case a >= 0.0005:
		return fmt.Sprintf("%.3f", v)
	}
	return "0"
}
