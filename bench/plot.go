package bench

import (
	"cmp"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
)

// A Plot shows how a figure grows with a number: the lines whose names differ
// in their last word only, which is that number, such as rules-10 and
// rules-1000.
type Plot struct {
	Name    string // "rules"
	Results []*Result
	ns      []float64 // the numbers, ascending
}

// Plots returns the plots of a report.
func (r *Report) Plots() (plots []*Plot) {
	by := make(map[string]*Plot)
	for _, res := range r.Results {
		i := strings.LastIndexByte(res.Line.Name, '-')
		if i < 0 {
			continue
		}
		n, err := strconv.Atoi(res.Line.Name[i+1:])
		if err != nil {
			continue
		}
		name := res.Line.Name[:i]
		p := by[name]
		if p == nil {
			p = &Plot{Name: name}
			by[name] = p
			plots = append(plots, p)
		}
		p.Results = append(p.Results, res)
		p.ns = append(p.ns, float64(n))
	}
	plots = slices.DeleteFunc(plots, func(p *Plot) bool { return len(p.Results) < 2 })
	for _, p := range plots {
		slices.SortFunc(p.Results, func(a, b *Result) int { return cmp.Compare(number(a), number(b)) })
		slices.Sort(p.ns)
	}
	return plots
}

func number(r *Result) int {
	n, _ := strconv.Atoi(r.Line.Name[strings.LastIndexByte(r.Line.Name, '-')+1:])
	return n
}

const (
	plotWidth, plotHeight = 640, 360
	plotLeft, plotRight   = 70, 150 // the right has the names
	plotTop, plotBottom   = 40, 40
)

var plotColours = []string{"#d1242f", "#0969da", "#1a7f37", "#8250df", "#9a6700", "#57606a", "#bf3989"}

// SVG draws a plot. Both axes are logarithmic, but for numbers that begin with
// 0, which stand at equal distances.
func (p *Plot) SVG(w io.Writer) error {
	var names []string
	low, high := math.Inf(1), math.Inf(-1)
	for _, r := range p.Results {
		for _, c := range r.Line.ContenderNames() {
			if v := Median(r.Values(c)); v > 0 {
				low, high = min(low, v), max(high, v)
				if !slices.Contains(names, c) {
					names = append(names, c)
				}
			}
		}
	}
	if len(names) == 0 {
		return fmt.Errorf("plot %s: nothing was measured", p.Name)
	}
	low, high = math.Floor(math.Log10(low)), math.Ceil(math.Log10(high))
	high = max(high, low+1)
	x := func(i int) float64 {
		at := float64(i) / float64(len(p.ns)-1)
		if first, last := p.ns[0], p.ns[len(p.ns)-1]; first > 0 {
			at = math.Log(p.ns[i]/first) / math.Log(last/first)
		}
		return plotLeft + at*(plotWidth-plotLeft-plotRight)
	}
	y := func(v float64) float64 {
		return plotHeight - plotBottom - (math.Log10(v)-low)/(high-low)*(plotHeight-plotTop-plotBottom)
	}
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="sans-serif" font-size="12">`+"\n", plotWidth, plotHeight)
	fmt.Fprintf(&b, `<rect width="%d" height="%d" fill="white"/>`+"\n", plotWidth, plotHeight)
	fmt.Fprintf(&b, `<text x="%d" y="20" font-size="14">%s: %s</text>`+"\n", plotLeft, escape(p.Name), escape(p.Results[0].Line.Unit))
	for d := low; d <= high; d++ {
		at := y(math.Pow(10, d))
		fmt.Fprintf(&b, `<path d="M%d %.1fH%d" stroke="#d0d7de"/><text x="%d" y="%.1f" text-anchor="end">%s</text>`+"\n",
			plotLeft, at, plotWidth-plotRight, plotLeft-6, at+4, escape(Format(math.Pow(10, d))))
	}
	for i, n := range p.ns {
		fmt.Fprintf(&b, `<text x="%.1f" y="%d" text-anchor="middle">%s</text>`+"\n", x(i), plotHeight-plotBottom+18, escape(Format(n)))
	}
	ends := make([]float64, 0, len(names)) // where names stand
	for k, c := range names {
		colour := plotColours[k%len(plotColours)]
		var points []string
		last := 0.0
		for i, r := range p.Results {
			if v := Median(r.Values(c)); v > 0 {
				last = y(v)
				points = append(points, fmt.Sprintf("%.1f,%.1f", x(i), last))
				fmt.Fprintf(&b, `<circle cx="%.1f" cy="%.1f" r="3" fill="%s"/>`+"\n", x(i), last, colour)
			}
		}
		fmt.Fprintf(&b, `<polyline points="%s" fill="none" stroke="%s" stroke-width="2"/>`+"\n", strings.Join(points, " "), colour)
		for slices.ContainsFunc(ends, func(e float64) bool { return math.Abs(e-last) < 13 }) {
			last += 2
		}
		ends = append(ends, last)
		fmt.Fprintf(&b, `<text x="%d" y="%.1f" fill="%s">%s</text>`+"\n", plotWidth-plotRight+10, last+4, colour, escape(c))
	}
	b.WriteString("</svg>\n")
	_, err := io.WriteString(w, b.String())
	return err
}

func escape(s string) string {
	return strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;").Replace(s)
}
