package lab

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/towpath/towpath/lab/machine"
)

const (
	withinUsual = 2 * time.Second
	withinMax   = 10 * time.Minute
	countMax    = 10000
	countUsual  = 10 // of echo requests whose loss is measured
	graceReport = 5 * time.Second
)

// An Expectation is what shall be so once a lab is up.
type Expectation struct {
	Pos
	From *Node
	At   time.Duration // after the lab has come up; 0: when the one before has been tried
	attempt
	// Fails turns it round: what is tried shall not succeed.
	Fails bool
}

// An attempt is what is tried. It travels, as JSON, to the machine that tries
// it.
type attempt struct {
	Verb     verb
	Target   string        // address, URL, or host and port
	Within   time.Duration // to succeed in
	Count    int           `json:",omitempty"` // ping: requests; 0: until one is answered
	Loss     *bound        `json:",omitempty"` // ping: of the requests
	Status   int           `json:",omitempty"` // get: of the answer; 0: any below 400
	Contains string        `json:",omitempty"` // get: what the answer contains
	Refused  bool          `json:",omitempty"` // tcp, udp: nobody shall listen, and the node say so
	Send     string        `json:",omitempty"` // tcp, udp
	Receive  string        `json:",omitempty"` // tcp, udp: what the answer contains
}

// A verb is a kind of attempt.
type verb string

const (
	verbPing verb = "ping"
	verbGet  verb = "get"
	verbTCP  verb = "tcp"
	verbUDP  verb = "udp"
)

var verbs = []verb{verbGet, verbPing, verbTCP, verbUDP}

// verbKeys are the keys of an expectation that belong to a verb.
var verbKeys = map[string][]verb{
	"count": {verbPing}, "loss": {verbPing},
	"status": {verbGet}, "contains": {verbGet},
	"refused": {verbTCP, verbUDP}, "send": {verbTCP, verbUDP}, "receive": {verbTCP, verbUDP},
}

// A bound is what a measured share is compared with.
type bound struct {
	Op      string // <, <=, >, >= or =
	Percent float64
}

func (b *bound) String() string { return b.Op + strconv.FormatFloat(b.Percent, 'g', -1, 64) + "%" }

func (b *bound) holds(percent float64) bool {
	switch b.Op {
	case "<":
		return percent < b.Percent
	case "<=":
		return percent <= b.Percent
	case ">":
		return percent > b.Percent
	case ">=":
		return percent >= b.Percent
	}
	return percent == b.Percent
}

// String is the expectation in the file's words, without who tries it.
func (e *Expectation) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s", e.Verb, e.Target)
	if e.Loss != nil {
		fmt.Fprintf(&b, ", loss %v", e.Loss)
	}
	if e.Status != 0 {
		fmt.Fprintf(&b, ", status %d", e.Status)
	}
	if e.Contains != "" {
		fmt.Fprintf(&b, ", contains %q", e.Contains)
	}
	if e.Send != "" {
		fmt.Fprintf(&b, ", send %q", e.Send)
	}
	if e.Receive != "" {
		fmt.Fprintf(&b, ", receive %q", e.Receive)
	}
	if e.Refused {
		b.WriteString(", refused")
	}
	if e.Fails {
		b.WriteString(", fails")
	}
	return b.String()
}

// An Outcome is what became of an expectation.
type Outcome struct {
	Expectation *Expectation
	OK          bool
	Detail      string // what was seen, or why it failed
	Took        time.Duration
}

// Expect tries the file's expectations, one after the other, and returns what
// became of them. The error is nil if all are met; if ctx ends, the rest are
// left out.
func (n *Net) Expect(ctx context.Context) ([]Outcome, error) {
	var all []Outcome
	failed := 0
	for _, e := range n.spec.Expect {
		n.until(ctx, n.began.Add(e.At))
		begin := time.Now()
		seen, err := n.try(ctx, e)
		if ctx.Err() != nil {
			return all, context.Cause(ctx)
		}
		o := Outcome{Expectation: e, OK: (err == nil) != e.Fails, Detail: seen, Took: time.Since(begin)}
		var broken *brokenError
		if errors.As(err, &broken) {
			o.OK = false // it could not even be tried
		}
		if err != nil {
			o.Detail = strings.ReplaceAll(err.Error(), "\n", "; ")
		}
		if !o.OK {
			failed++
		}
		all = append(all, o)
		var bad error
		if !o.OK {
			bad = errors.New(o.Detail)
		}
		n.note(KindExpectation, e.From.Name, e.String(), bad)
		n.mu.Lock()
		n.outcomes = append(n.outcomes, o)
		n.mu.Unlock()
	}
	if failed > 0 {
		return all, errors.Join(fmt.Errorf("%d of %s not met", failed, plural(len(all), "expectation")), n.mishap())
	}
	return all, n.mishap()
}

// A brokenError says that something could not be tried, which is not the
// failure that an expectation may ask for.
type brokenError struct{ error }

func (b *brokenError) Unwrap() error { return b.error }

// try makes an attempt from its node.
func (n *Net) try(ctx context.Context, e *Expectation) (seen string, err error) {
	if e.From.Kind == Host {
		h := n.Host(e.From.Name)
		if h == nil {
			return "", errCrashed(e.From)
		}
		return e.run(ctx, hostNet{h})
	}
	if !initCalled.Load() {
		return "", &brokenError{errors.New("main, or TestMain, must call lab.Init first")}
	}
	task, err := json.Marshal(e.attempt)
	if err != nil {
		return "", &brokenError{err}
	}
	self, err := os.Executable()
	if err != nil {
		return "", &brokenError{err}
	}
	ctx, cancel := context.WithTimeout(ctx, e.Within+graceReport)
	defer cancel()
	var out, noise strings.Builder
	p, err := n.machines[e.From.Name].Exec(ctx, machine.Cmd{
		Args: []string{self}, Env: append(environment(), attemptEnv+"="+string(task)), Stdout: &out, Stderr: &noise,
	})
	if err == nil {
		err = p.Wait()
	}
	var r report
	if err == nil {
		err = json.Unmarshal([]byte(out.String()), &r)
	}
	switch {
	case err != nil:
		return "", &brokenError{fmt.Errorf("%w %s", err, strings.TrimSpace(noise.String()))}
	case r.Error != "":
		return "", errors.New(r.Error)
	}
	return r.Seen, nil
}

// readExpect reads an entry of the list of expectations.
func (d *diagnostics) readExpect(s *Spec, t *tree) {
	e := &Expectation{Pos: t.Pos}
	e.Within = withinUsual
	var from, target *tree
	given := map[string]Pos{}
	known := fields{
		"from":     func(t *tree) { from = t },
		"at":       func(t *tree) { e.At = d.instant(t) },
		"within":   func(t *tree) { e.Within = d.duration(t, withinMax) },
		"fails":    func(t *tree) { e.Fails = d.boolean(t) },
		"count":    func(t *tree) { e.Count = d.number(t, "a number of requests", 1, countMax) },
		"loss":     func(t *tree) { e.Loss = d.bound(t) },
		"status":   func(t *tree) { e.Status = d.number(t, "an HTTP status", 100, 599) },
		"contains": func(t *tree) { e.Contains, _ = d.word(t, "some text") },
		"refused":  func(t *tree) { e.Refused = d.boolean(t) },
		"send":     func(t *tree) { e.Send, _ = d.word(t, "some text") },
		"receive":  func(t *tree) { e.Receive, _ = d.word(t, "some text") },
	}
	for _, v := range verbs {
		known[string(v)] = func(t *tree) {
			if target != nil {
				d.errorf(t.Pos, "an expectation tries one thing, and %s stands here already; write two expectations", e.Verb)
			}
			e.Verb, target = v, t
		}
	}
	before := len(d.errors)
	if !d.mapping(t, "an expectation", known) || len(d.errors) > before {
		return
	}
	for _, x := range t.entries {
		given[x.key] = x.Pos
	}
	switch {
	case from == nil:
		d.errorf(t.Pos, "an expectation needs from; write {from: NODE, ping: NODE}")
		return
	case target == nil:
		d.errorf(t.Pos, "an expectation needs something to try; write one of get, ping, tcp, udp, such as {from: NODE, ping: NODE}")
		return
	}
	for _, key := range sortedKeys(verbKeys) {
		if at, ok := given[key]; ok && !contains(verbKeys[key], e.Verb) {
			d.errorf(at, "%s means nothing for %s; leave it out", key, e.Verb)
			return
		}
	}
	name, ok := d.word(from, "a node's name")
	if !ok {
		return
	}
	if e.From = s.Node(name); e.From == nil {
		d.errorf(from.Pos, "there is no node %q; %s", name, suggest(name, s.nodeNames()))
		return
	}
	if e.Refused && (e.Send != "" || e.Receive != "") && e.Verb == verbTCP {
		d.errorf(given["refused"], "who is refused can neither send nor receive; leave those out")
		return
	}
	if e.Loss != nil && !d.readCount(e, given) {
		return
	}
	if !d.readTarget(s, e, target) {
		return
	}
	s.Expect = append(s.Expect, e)
}

// readCount makes sure that there is time for the requests whose loss is
// measured.
func (d *diagnostics) readCount(e *Expectation, given map[string]Pos) bool {
	if e.Count == 0 {
		e.Count = countUsual
	}
	takes := time.Duration(e.Count) * pingEvery
	at, ok := given["within"]
	if !ok {
		e.Within += takes
	} else if e.Within < takes {
		d.errorf(at, "%d requests, of which one is sent every %v, take %v; write within: %v, or a smaller count", e.Count, pingEvery, takes, takes+withinUsual)
		return false
	}
	return true
}

func contains(list []verb, v verb) bool {
	for _, x := range list {
		if x == v {
			return true
		}
	}
	return false
}

// readTarget reads what an attempt is directed at.
func (d *diagnostics) readTarget(s *Spec, e *Expectation, t *tree) bool {
	example := map[verb]string{
		verbPing: "a node or an address, such as 10.0.0.1",
		verbGet:  "a URL, such as http://10.0.0.1/",
		verbTCP:  "a node or an address with a port, such as 10.0.0.1:80",
		verbUDP:  "a node or an address with a port, such as 10.0.0.1:53",
	}[e.Verb]
	word, ok := d.word(t, example)
	if !ok {
		return false
	}
	e.Target = word
	name := word
	switch e.Verb {
	case verbGet:
		u, err := url.Parse(word)
		if err != nil || u.Scheme != "http" || u.Hostname() == "" {
			d.errorf(t.Pos, "%q is not a URL that begins with http://; write one, such as http://10.0.0.1/", word)
			return false
		}
		name = u.Hostname()
	case verbTCP, verbUDP:
		host, port, err := net.SplitHostPort(word)
		n, perr := strconv.ParseUint(port, 10, 16)
		if err != nil || perr != nil || n == 0 || host == "" {
			d.errorf(t.Pos, "%q is not an address with a port; write one, such as 10.0.0.1:80 or [fd00::1]:80", word)
			return false
		}
		name = host
	}
	if _, err := netip.ParseAddr(name); err == nil || name == "localhost" {
		return true
	}
	n := s.Node(name)
	switch {
	case n == nil:
		d.errorf(t.Pos, "%q is neither an address nor a node; %s", name, suggest(name, s.nodeNames()))
	case len(n.addresses(n)) == 0 && !n.partial:
		d.errorf(t.Pos, "node %s has no address; give it one", name)
	default:
		return true
	}
	return false
}

// bound reads a bound of a share, such as <5%.
func (d *diagnostics) bound(t *tree) *bound {
	s, ok := d.word(t, `a bound, such as "<5%"`)
	if !ok {
		return nil
	}
	rest := strings.TrimLeft(s, "<>=")
	b := &bound{Op: s[:len(s)-len(rest)]}
	number, percent := strings.CutSuffix(strings.TrimSpace(rest), "%")
	var err error
	b.Percent, err = strconv.ParseFloat(number, 64)
	switch b.Op {
	case "":
		b.Op = "<="
	case "<", "<=", ">", ">=", "=":
	default:
		percent = false
	}
	if err != nil || !percent || !(b.Percent >= 0 && b.Percent <= 100) {
		d.errorf(t.Pos, `%q is not a bound; write one such as "<5%%", ">=10%%" or "0%%"`, s)
		return nil
	}
	return b
}

// duration reads a time.
func (d *diagnostics) duration(t *tree, most time.Duration) time.Duration {
	s, ok := d.word(t, "a duration, such as 500ms or 2s")
	if !ok {
		return 0
	}
	v, err := time.ParseDuration(s)
	if err != nil || v <= 0 || v > most {
		d.errorf(t.Pos, "%q is not a duration of up to %v; write one such as 500ms or 2s", s, most)
		return 0
	}
	return v
}
