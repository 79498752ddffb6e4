package bench

import (
	"encoding/xml"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/towpath/towpath/internal/testenv"
)

// BenchmarkLine runs the loads of the table the way go test does, for
// profiles:
//
//	go test -run '^$' -bench 'Line/tcp-stream/towpath$' -cpuprofile cpu.out
func BenchmarkLine(b *testing.B) {
	for _, l := range Lines() {
		if l.Load == nil || l.LowerIsBetter {
			continue
		}
		b.Run(l.Name, func(b *testing.B) {
			for _, world := range l.Worlds {
				b.Run(world, func(b *testing.B) { benchmark(b, l.Load(newWorld(world))) })
			}
		})
	}
}

// benchmark waits until a load has done b.N operations more.
func benchmark(b *testing.B, l *Load) {
	defer l.Stop()
	per := max(l.PerOp, 1)
	for l.Ops.Load() < 100*per { // warm
		time.Sleep(100 * time.Microsecond)
	}
	b.ReportAllocs()
	if per > 1 {
		b.SetBytes(per)
	}
	b.ResetTimer()
	begin := l.Ops.Load()
	for l.Ops.Load()-begin < int64(b.N)*per {
		time.Sleep(20 * time.Microsecond)
	}
	done := l.Ops.Load() - begin
	b.StopTimer()
	b.ReportMetric(float64(done)/float64(per)/b.Elapsed().Seconds(), "ops/s")
}

// TestLines makes every contender of every line do some of its work. It does
// not look at how fast: the machine may be busy.
func TestLines(t *testing.T) {
	for _, l := range Lines() {
		for _, c := range l.ContenderNames() {
			t.Run(l.Name+"/"+c, func(t *testing.T) {
				if c == "libpcap" {
					if _, err := buildLibpcap(t.TempDir()); err != nil {
						t.Skip(err)
					}
				}
				if f := l.Contenders[c]; f != nil {
					if testing.Short() {
						t.Skip("takes seconds")
					}
					measure := func(t *testing.T) {
						if v := f(&Run{Time: 10 * time.Millisecond, Warm: 10 * time.Millisecond}); v < 0 || v == 0 && l.Unit != "allocations" || math.IsNaN(v) {
							t.Errorf("%v %s", v, l.Unit)
						}
					}
					if l.Namespace {
						testenv.NeedsTool(t, "ip")
						testenv.InNamespace(t, func(t *testing.T) {
							testenv.NeedsTUN(t)
							measure(t)
						})
					} else {
						measure(t)
					}
					return
				}
				load := l.Load(newWorld(c))
				defer load.Stop()
				for begin := time.Now(); load.Ops.Load() < 10*max(load.PerOp, 1); time.Sleep(time.Millisecond) {
					if time.Since(begin) > 10*time.Second {
						t.Fatalf("only %d after 10 s", load.Ops.Load())
					}
				}
			})
		}
	}
}

func TestTargetsNameContenders(t *testing.T) {
	for _, l := range Lines() {
		names := " " + strings.Join(l.ContenderNames(), " ") + " "
		for _, target := range l.Targets {
			for _, name := range []string{target.Ours, target.Peer} {
				if name != "" && !strings.Contains(names, " "+name+" ") {
					t.Errorf("%s: a target names %q, which is none of%s", l.Name, name, names)
				}
			}
		}
	}
}

func TestJudge(t *testing.T) {
	samples := func(vs ...float64) (ss []Sample) {
		for _, v := range vs {
			ss = append(ss, Sample{Value: v})
		}
		return ss
	}
	for _, tt := range []struct {
		name       string
		lower      bool
		ours, peer []Sample
		target     Target
		want       Verdict
		figure     float64
	}{
		{"ahead", false, samples(30, 20, 10), samples(10, 10, 10), Target{Peer: "p", Aim: 2}, Reached, 2},
		{"short", false, samples(15, 15), samples(10, 10), Target{Peer: "p", Aim: 2}, Short, 1.5},
		{"behind", false, samples(5), samples(10), Target{Peer: "p", Aim: 2}, Behind, 0.5},
		{"modest aim", false, samples(8), samples(10), Target{Peer: "p", Aim: 0.7}, Reached, 0.8},
		{"no aim", false, samples(8), samples(10), Target{Peer: "p"}, Behind, 0.8},
		{"cost", true, samples(4), samples(10), Target{Peer: "p", Aim: 0.5}, Reached, 0.4},
		{"higher cost", true, samples(12), samples(10), Target{Peer: "p", Aim: 0.5}, Behind, 1.2},
		{"limit", true, samples(4, 4, 9), nil, Target{Limit: 5}, Reached, 4},
		{"over the limit", true, samples(6), nil, Target{Limit: 5}, Short, 6},
		{"failed", false, []Sample{{Failed: "no"}}, samples(1), Target{Peer: "p"}, Unknown, math.NaN()},
		{"failed once", false, []Sample{{Failed: "no"}, {Value: 3}}, samples(1, 1), Target{Peer: "p"}, Reached, 3},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.target.Ours = "o"
			r := &Result{Line: &Line{LowerIsBetter: tt.lower}, Samples: map[string][]Sample{"o": tt.ours, "p": tt.peer}}
			j := r.Judge(tt.target)
			if j.Verdict != tt.want {
				t.Errorf("verdict %q, want %q", j.Verdict, tt.want)
			}
			if j.Figure != tt.figure && !(math.IsNaN(j.Figure) && math.IsNaN(tt.figure)) {
				t.Errorf("figure %v, want %v", j.Figure, tt.figure)
			}
		})
	}
}

func TestFormat(t *testing.T) {
	for v, want := range map[float64]string{
		0: "0", 0.0001: "0", 0.001: "0.001", 0.5: "0.50", 12.34: "12.3", 1234: "1234", 12345: "12.3 k", 2.5e6: "2.50 M",
	} {
		if got := Format(v); got != want {
			t.Errorf("Format(%v) = %q, want %q", v, got, want)
		}
	}
	if got := Format(math.NaN()); got != "-" {
		t.Errorf("Format(NaN) = %q", got)
	}
}

// TestPlots draws lines that differ in a number, in its order.
func TestPlots(t *testing.T) {
	line := func(name string, values ...float64) *Result {
		r := &Result{Line: &Line{Name: name, Unit: "ns", Contenders: map[string]func(*Run) float64{"a": nil, "b": nil}}, Samples: map[string][]Sample{}}
		for i, v := range values {
			r.Samples[string(rune('a'+i))] = []Sample{{Value: v}}
		}
		return r
	}
	report := &Report{Results: []*Result{line("rules-1000", 300, 9000), line("other-1", 1), line("rules-10", 200, 400), line("plain", 1)}}
	plots := report.Plots()
	if len(plots) != 1 || plots[0].Name != "rules" || plots[0].Results[0].Line.Name != "rules-10" {
		t.Fatalf("%d plots", len(plots))
	}
	var b strings.Builder
	if err := plots[0].SVG(&b); err != nil {
		t.Fatal(err)
	}
	if svg := b.String(); strings.Count(svg, "<polyline") != 2 || strings.Count(svg, "<circle") != 4 || xml.Unmarshal([]byte(svg), new(any)) != nil {
		t.Error(svg)
	}
	if err := (&Plot{Name: "x", Results: []*Result{line("x-1"), line("x-2")}, ns: []float64{1, 2}}).SVG(&b); err == nil {
		t.Error("nothing was measured, and was drawn")
	}
}
