package bench

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// A Report is what one run of the command has measured.
type Report struct {
	Date    time.Time         `json:"date"`
	Machine map[string]string `json:"machine"`
	Rounds  int               `json:"rounds"`
	Time    time.Duration     `json:"time"` // of a measurement, in nanoseconds
	Results []*Result         `json:"-"`
}

// Judgements of a result, in the order of the line's targets.
func (r *Result) Judgements() []Judgement {
	var js []Judgement
	for _, t := range r.Line.Targets {
		if len(r.Samples[t.Ours]) > 0 && (t.Peer == "" || len(r.Samples[t.Peer]) > 0) {
			js = append(js, r.Judge(t))
		}
	}
	return js
}

// Noise describes how quiet the machine was.
func (r *Report) Noise() string {
	var others []float64
	bad := 0
	for _, res := range r.Results {
		for _, samples := range res.Samples {
			for _, s := range samples {
				if _, ok := s.Notes[othersNote]; !ok {
					continue
				}
				others = append(others, s.Others())
				if s.Disturbed() {
					bad++
				}
			}
		}
	}
	if len(others) == 0 {
		return "whether others used the machine was not seen"
	}
	return fmt.Sprintf("others on the machine disturbed %d of %d measurements (they used %.0f %% of the processors at the median, %.0f %% at worst)",
		bad, len(others), 100*Median(others), 100*slices.Max(others))
}

// Text writes one line's result for the terminal.
func (r *Result) Text(w io.Writer) {
	l := r.Line
	better := "higher is better"
	if l.LowerIsBetter {
		better = "lower is better"
	}
	fmt.Fprintf(w, "\n%s: %s, %s (%s)\n", l.Name, l.Title, l.Unit, better)
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, c := range l.ContenderNames() {
		if len(r.Samples[c]) == 0 {
			continue
		}
		fmt.Fprintf(tw, "  %s\t%s\t%s\t%s\n", c, Format(Median(r.Values(c))), r.spread(c), r.aside(c))
	}
	tw.Flush()
	tw = tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, j := range r.Judgements() {
		name := j.Ours
		if j.Peer != "" {
			name += " / " + j.Peer
		}
		fmt.Fprintf(tw, "  %s\t%s\t%s..%s\tper cpu %s\twant %s\t%s\n", name, Format(j.Figure),
			Format(j.Low), Format(j.High), Format(j.PerCPU), j.Wants(l.LowerIsBetter), j.Verdict)
	}
	tw.Flush()
}

// spread is a contender's extremes, or why it failed.
func (r *Result) spread(contender string) string {
	vs := r.Values(contender)
	why := r.Failure(contender)
	switch {
	case len(vs) == 0:
		return "failed: " + why
	case why != "":
		return fmt.Sprintf("%s..%s (some failed: %s)", Format(slices.Min(vs)), Format(slices.Max(vs)), why)
	}
	return Format(slices.Min(vs)) + ".." + Format(slices.Max(vs))
}

// aside is what a contender noted.
func (r *Result) aside(contender string) string {
	var parts []string
	names := map[string]bool{}
	for _, s := range r.Samples[contender] {
		for name := range s.Notes {
			names[name] = true
		}
	}
	for _, name := range slices.Sorted(maps.Keys(names)) {
		if v, ok := r.Note(contender, name); ok {
			parts = append(parts, name+" "+Format(v))
		}
	}
	return strings.Join(parts, ", ")
}

// Summary lists the targets that were missed.
func (r *Report) Summary(w io.Writer) {
	count := map[Verdict]int{}
	fmt.Fprintln(w)
	for _, res := range r.Results {
		for _, j := range res.Judgements() {
			count[j.Verdict]++
			if j.Verdict == Reached {
				continue
			}
			if j.Peer == "" {
				fmt.Fprintf(w, "%s: %s: %s is %s, want %s\n", j.Verdict, res.Line.Name, j.Ours, Format(j.Figure), j.Wants(true))
				continue
			}
			fmt.Fprintf(w, "%s: %s: %s / %s is %s, want %s\n", j.Verdict, res.Line.Name, j.Ours, j.Peer,
				Format(j.Figure), j.Wants(res.Line.LowerIsBetter))
		}
	}
	fmt.Fprintf(w, "%d targets reached, %d short of their aim, %d behind a peer, %d not measured; %s\n",
		count[Reached], count[Short], count[Behind], count[Unknown], r.Noise())
}

// Markdown writes the report for docs/performance.md.
func (r *Report) Markdown(w io.Writer) {
	fmt.Fprintf(w, "%s; rounds: %d of %v; %s, Go %s, %s processors (%s); %s.\n", r.Date.Format(time.DateOnly), r.Rounds, r.Time,
		r.Machine["system"], r.Machine["go"], r.Machine["processors"], cmp.Or(r.Machine["model"], "model unknown"), r.Noise())
	fmt.Fprintf(w, "\n| line | contender | median | spread |\n| --- | --- | --: | --- |\n")
	for _, res := range r.Results {
		l := res.Line
		title := fmt.Sprintf("**%s**, %s", l.Title, l.Unit)
		for _, c := range l.ContenderNames() {
			if len(res.Samples[c]) == 0 {
				continue
			}
			fmt.Fprintf(w, "| %s | %s | %s | %s |\n", title, c, Format(Median(res.Values(c))), res.spread(c))
			title = ""
		}
	}
	fmt.Fprintf(w, "\n| line | ratio | measured | spread | per processor second | wanted | |\n| --- | --- | --: | --- | --: | --- | --- |\n")
	for _, res := range r.Results {
		title := res.Line.Title + ", " + res.Line.Unit
		for _, j := range res.Judgements() {
			name := j.Ours
			if j.Peer != "" {
				name += " / " + j.Peer
			}
			verdict := string(j.Verdict)
			if j.Verdict != Reached {
				verdict = "**" + verdict + "**"
			}
			fmt.Fprintf(w, "| %s | %s | %s | %s..%s | %s | %s | %s |\n", title, name, Format(j.Figure),
				Format(j.Low), Format(j.High), Format(j.PerCPU), j.Wants(res.Line.LowerIsBetter), verdict)
			title = ""
		}
	}
}

// JSON writes everything measured.
func (r *Report) JSON(w io.Writer) error {
	type judgement struct {
		Ours    string  `json:"ours"`
		Peer    string  `json:"peer,omitempty"`
		Wants   string  `json:"wants"`
		Verdict Verdict `json:"verdict"`
		// Null where nothing was measured.
		Figure *float64 `json:"figure"`
		Low    *float64 `json:"low"`
		High   *float64 `json:"high"`
		PerCPU *float64 `json:"perCPU"`
	}
	type line struct {
		Name          string              `json:"name"`
		Title         string              `json:"title"`
		Unit          string              `json:"unit"`
		Terms         string              `json:"terms"`
		LowerIsBetter bool                `json:"lowerIsBetter"`
		Samples       map[string][]Sample `json:"samples"`
		Judgements    []judgement         `json:"judgements"`
	}
	number := func(v float64) *float64 {
		if math.IsNaN(v) {
			return nil
		}
		return &v
	}
	var ls []line
	for _, res := range r.Results {
		l := line{
			Name: res.Line.Name, Title: res.Line.Title, Unit: res.Line.Unit, Terms: res.Line.Terms,
			LowerIsBetter: res.Line.LowerIsBetter, Samples: res.Samples,
		}
		for _, j := range res.Judgements() {
			l.Judgements = append(l.Judgements, judgement{
				j.Ours, j.Peer, j.Wants(res.Line.LowerIsBetter), j.Verdict,
				number(j.Figure), number(j.Low), number(j.High), number(j.PerCPU),
			})
		}
		ls = append(ls, l)
	}
	e := json.NewEncoder(w)
	e.SetIndent("", "\t")
	return e.Encode(struct {
		*Report
		Lines []line `json:"lines"`
	}{r, ls})
}

// Worlds describes the contenders that are worlds.
func Worlds(w io.Writer) {
	for _, world := range worlds {
		fmt.Fprintf(w, "- `%s`: %s\n", world.name, world.what)
	}
}
