// Command bench measures towpath beside its peers and prints a table.
//
//	go run ./cmd/bench                              # everything
//	go run ./cmd/bench -rounds 3 -lines 'udp|idle'  # some lines
//	go run ./cmd/bench -list                        # lines, contenders, terms
//	go run ./cmd/bench -md out.md -json out.json
//	go run ./cmd/bench -lines tcp-stream -contenders '^towpath$' -profile dir
//
// Every measurement is made in a process of its own: the command runs itself.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"runtime/pprof"
	"strconv"
	"strings"
	"time"

	"github.com/towpath/towpath/bench"
)

var (
	rounds     = flag.Int("rounds", 7, "measure every contender this many times, in turn")
	duration   = flag.Duration("time", 300*time.Millisecond, "length of a measurement")
	lineFlag   = flag.String("lines", "", "measure only lines whose name matches this `regexp`")
	contenders = flag.String("contenders", "", "measure only contenders whose name matches this `regexp`")
	jsonFile   = flag.String("json", "", "write all samples to this `file`")
	mdFile     = flag.String("md", "", "write Markdown tables to this `file`")
	svgDir     = flag.String("svg", "", "draw how figures grow with what lines are numbered by into this `directory`")
	profileDir = flag.String("profile", "", "write a processor profile of each contender to this `directory`")
	list       = flag.Bool("list", false, "list lines, contenders and terms, and measure nothing")
	patience   = flag.Duration("patience", 10*time.Second, "spend up to so much on each line to measure again what others on the machine disturbed")
	strict     = flag.Bool("strict", false, "exit with status 1 if towpath is behind a peer or could not be measured")

	child   = flag.String("child", "", "measure `line:contender` in this process; used by the command itself")
	profile = flag.String("cpuprofile", "", "with -child, write a processor profile to this `file`")
)

func main() {
	flag.Parse()
	var err error
	switch {
	case *child != "":
		err = measure(*child)
	case *list:
		printList(os.Stdout)
	default:
		err = run()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// warm is how long a load runs before it is measured.
func warm() time.Duration { return max(*duration/3, 50*time.Millisecond) }

// measure is a child's life: one sample, on standard output.
func measure(what string) error {
	name, contender, _ := strings.Cut(what, ":")
	for _, l := range bench.Lines() {
		if l.Name != name {
			continue
		}
		if *profile != "" {
			f, err := os.Create(*profile)
			if err != nil {
				return err
			}
			defer f.Close()
			if err := pprof.StartCPUProfile(f); err != nil {
				return err
			}
			defer pprof.StopCPUProfile()
		}
		r := &bench.Run{Time: *duration, Warm: warm()}
		v, err := l.Measure(contender, r)
		if err != nil {
			return err
		}
		return json.NewEncoder(os.Stdout).Encode(bench.Sample{Value: v, Notes: r.Notes})
	}
	return fmt.Errorf("no line %q", name)
}

// run measures what the flags ask for, line by line, round by round.
func run() error {
	selected, err := selectLines()
	if err != nil {
		return err
	}
	if *profileDir != "" {
		if err := os.MkdirAll(*profileDir, 0o777); err != nil {
			return err
		}
	}
	report := &bench.Report{Date: time.Now(), Machine: machine(), Rounds: *rounds, Time: *duration}
	for _, s := range selected {
		res := &bench.Result{Line: s.line, Samples: make(map[string][]bench.Sample)}
		n := *rounds
		if s.line.Rounds > 0 {
			n = min(n, s.line.Rounds)
		}
		left := *patience
		if s.line.LowerIsBetter {
			left = 0 // what allocations and memory are does not hang on the time
		}
		for round := range n {
			for i := range s.contenders {
				// Another one begins each round, so that none always follows the same.
				c := s.contenders[(i+round)%len(s.contenders)]
				progress("%s: round %d of %d: %s", s.line.Name, round+1, n, c)
				res.Samples[c] = append(res.Samples[c], sample(s.line, c, &left))
			}
		}
		progress("")
		res.Text(os.Stdout)
		report.Results = append(report.Results, res)
	}
	report.Summary(os.Stdout)
	if err := write(*jsonFile, report.JSON); err != nil {
		return err
	}
	if err := write(*mdFile, func(w io.Writer) error { report.Markdown(w); return nil }); err != nil {
		return err
	}
	if *svgDir != "" {
		for _, p := range report.Plots() {
			if err := write(filepath.Join(*svgDir, p.Name+".svg"), p.SVG); err != nil {
				return err
			}
		}
	}
	if *strict {
		return verdict(report)
	}
	return nil
}

// progress shows on a terminal what is going on.
func progress(format string, args ...any) {
	if fi, err := os.Stderr.Stat(); err == nil && fi.Mode()&os.ModeCharDevice != 0 {
		fmt.Fprintf(os.Stderr, "\r\x1b[K"+format, args...)
	}
}

func verdict(report *bench.Report) error {
	for _, res := range report.Results {
		for _, j := range res.Judgements() {
			if j.Verdict == bench.Behind || j.Verdict == bench.Unknown {
				return errors.New("not ahead of every peer")
			}
		}
	}
	return nil
}

type selection struct {
	line       *bench.Line
	contenders []string
}

func selectLines() ([]selection, error) {
	lineRE, err := regexp.Compile(*lineFlag)
	if err != nil {
		return nil, err
	}
	contenderRE, err := regexp.Compile(*contenders)
	if err != nil {
		return nil, err
	}
	var selected []selection
	for _, l := range bench.Lines() {
		if !lineRE.MatchString(l.Name) {
			continue
		}
		s := selection{line: &l}
		for _, c := range l.ContenderNames() {
			if contenderRE.MatchString(c) {
				s.contenders = append(s.contenders, c)
			}
		}
		if len(s.contenders) > 0 {
			selected = append(selected, s)
		}
	}
	if len(selected) == 0 {
		return nil, errors.New("nothing matches; -list shows lines and contenders")
	}
	return selected, nil
}

// sample measures one contender once. If that was disturbed it waits for quiet
// and measures again, as long as patience lasts, and returns the least
// disturbed sample.
func sample(line *bench.Line, contender string, patience *time.Duration) bench.Sample {
	best := spawn(line, contender)
	for best.Disturbed() && *patience > 0 {
		begin := time.Now()
		for time.Since(begin) < *patience && bench.Busy(50*time.Millisecond) > 0.1 {
		}
		if s := spawn(line, contender); s.Failed == "" && s.Others() < best.Others() {
			best = s
		}
		*patience -= time.Since(begin)
	}
	return best
}

// spawn measures one contender once in a process of its own.
func spawn(line *bench.Line, contender string) bench.Sample {
	const timeout = 5 * time.Minute
	exe, err := os.Executable()
	if err != nil {
		return bench.Sample{Failed: err.Error()}
	}
	ctx, cancel := context.WithTimeout(context.Background(), timeout+*duration+warm())
	defer cancel()
	args := []string{"-child", line.Name + ":" + contender, "-time", duration.String()}
	if *profileDir != "" {
		args = append(args, "-cpuprofile", filepath.Join(*profileDir, line.Name+"-"+contender+".pprof"))
	}
	cmd := exec.CommandContext(ctx, exe, args...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if line.Namespace {
		bench.Isolate(cmd)
	}
	err = cmd.Run()
	if ctx.Err() != nil {
		return bench.Sample{Failed: "timed out"}
	}
	if err != nil {
		return bench.Sample{Failed: firstLine(stderr.String(), err)}
	}
	var s bench.Sample
	if err := json.Unmarshal(stdout.Bytes(), &s); err != nil {
		return bench.Sample{Failed: err.Error()}
	}
	return s
}

// firstLine says why a child failed.
func firstLine(stderr string, err error) string {
	if line, _, _ := strings.Cut(strings.TrimSpace(stderr), "\n"); line != "" {
		return line
	}
	return err.Error()
}

func machine() map[string]string {
	m := map[string]string{
		"go":         strings.TrimPrefix(runtime.Version(), "go"),
		"system":     runtime.GOOS + "/" + runtime.GOARCH,
		"processors": strconv.Itoa(runtime.GOMAXPROCS(0)),
	}
	if b, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		for line := range strings.Lines(string(b)) {
			if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
				m["model"] = strings.TrimSpace(value)
				break
			}
		}
	}
	return m
}

func printList(w io.Writer) {
	for _, l := range bench.Lines() {
		fmt.Fprintf(w, "%s: %s, %s\n  %s\n  %s\n", l.Name, l.Title, l.Unit, l.Terms, strings.Join(l.ContenderNames(), ", "))
	}
	fmt.Fprintln(w)
	bench.Worlds(w)
}

func write(name string, f func(io.Writer) error) error {
	if name == "" {
		return nil
	}
	var b bytes.Buffer
	if err := f(&b); err != nil {
		return err
	}
	return os.WriteFile(name, b.Bytes(), 0o666)
}
