package netem

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// What is allowed, in the words of an error.
const (
	timeForm     = "a time is a number with a unit (ns, us, ms, s, m, h), such as 10ms"
	timeRange    = "a time is between 0 and 1h"
	percentForm  = "a percentage is a number with a percent sign, such as 1%"
	percentRange = "a percentage is between 0 and 100"
	countForm    = "a number is written in digits, such as 5"
	countRange   = "a number is between 0 and 1000000000"
	rateForm     = "a rate is a number of bits a second with a unit (bit, kbit, mbit, gbit, tbit), such as 10mbit"
	rateRange    = "a rate is between 100bit and 1tbit"
	limitForm    = "a limit is a number of packets, such as 1000, or of bytes with a unit (b, kb, mb), such as 64kb"

	overheadRange     = "an overhead is between -64 and 1024 bytes"
	distributionRange = "a distribution is uniform, normal, pareto or paretonormal"
)

// mistake is an error about a value, on one line.
func mistake(word, value, rule string) error {
	return fmt.Errorf("%s: %s", strings.TrimSpace(word+" "+plain(value)), rule)
}

// plain is a word as it stands in an error: quoted if it would not be readable
// otherwise, and cut if it is long.
func plain(s string) string {
	const most = 40
	if len(s) > most {
		s = s[:most] + "..."
	}
	if strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' || r == '"' }) {
		return strconv.Quote(s)
	}
	return s
}

func itoa(n int) string { return strconv.Itoa(n) }

// clauses are the words that an impairment's text is made of, in the order in
// which String writes them.
var clauses = [...]struct {
	word  string
	parse func(r *reader, im *Impairment)
}{
	{"delay", func(r *reader, im *Impairment) {
		im.Delay = r.time()
		if r.number() { // as in tc: delay 10ms 2ms 25%
			r.once("jitter")
			im.Jitter = r.time()
		}
		if r.number() {
			r.once("correlation")
			im.Correlation = r.percent()
		}
	}},
	{"jitter", func(r *reader, im *Impairment) {
		im.Jitter = r.time()
		if r.number() {
			r.once("correlation")
			im.Correlation = r.percent()
		}
	}},
	{"correlation", func(r *reader, im *Impairment) { im.Correlation = r.percent() }},
	{"distribution", func(r *reader, im *Impairment) { r.distribution(im, r.word(distributionRange)) }},
	{"ordered", func(r *reader, im *Impairment) {
		im.Ordered = true
		switch r.peek() {
		case "false":
			im.Ordered = false
			fallthrough
		case "true":
			r.next()
		}
	}},
	{"loss", (*reader).loss},
	{"duplicate", func(r *reader, im *Impairment) { im.Duplicate = r.percent() }},
	{"reorder", func(r *reader, im *Impairment) { im.Reorder = r.percent() }},
	{"gap", func(r *reader, im *Impairment) { im.Gap = r.count(1) }},
	{"corrupt", func(r *reader, im *Impairment) { im.Corrupt = r.percent() }},
	{"rate", func(r *reader, im *Impairment) {
		im.Rate = r.rate()
		if r.number() { // as in tc: rate 10mbit 24
			r.once("overhead")
			im.Overhead = r.overhead()
		}
	}},
	{"overhead", func(r *reader, im *Impairment) { im.Overhead = r.overhead() }},
	{"limit", func(r *reader, im *Impairment) {
		r.limit(im)
		if r.number() {
			r.limit(im)
		}
	}},
}

// Parse reads an impairment from clauses that are separated by commas or
// spaces; see [Impairment.String] for all of them. "" and "none" are none.
//
//	delay 10ms jitter 2ms normal, loss 1%, rate 10mbit, limit 1000
//	delay 10ms 2ms 25% distribution normal loss gemodel 1% 25%
func Parse(s string) (Impairment, error) {
	var im Impairment
	if strings.TrimSpace(s) == "none" {
		return im, nil
	}
	r := newReader(s)
	if r.clauses(&im); r.err == nil {
		r.err = im.Validate()
	}
	if r.err != nil {
		return Impairment{}, r.err
	}
	return im, nil
}

// Set reads one clause, given as its first word and the rest, as a file of keys
// and values has it: Set("loss", "1%"). Whether all clauses make sense together
// says [Impairment.Validate].
func (im *Impairment) Set(word, value string) error {
	if !slices.ContainsFunc(clauses[:], func(c struct {
		word  string
		parse func(*reader, *Impairment)
	}) bool {
		return c.word == word
	}) {
		return unknown(word)
	}
	next := *im
	r := newReader(word + " " + value)
	if r.clauses(&next); r.err == nil {
		*im = next
	}
	return r.err
}

// A reader reads clauses word by word. After a mistake it has an error, and
// whatever it returns is of no meaning.
type reader struct {
	words  []string // a comma is a word
	clause string   // the clause's first words, for errors
	seen   []string
	err    error
}

func newReader(s string) *reader {
	return &reader{words: strings.Fields(strings.ReplaceAll(s, ",", " , "))}
}

func (r *reader) clauses(im *Impairment) {
	for r.err == nil && len(r.words) > 0 {
		if r.next(); r.clause != "," {
			r.one(im)
		}
	}
}

// one reads the clause whose first word has just been taken.
func (r *reader) one(im *Impairment) {
	word := r.clause
	for i := range clauses {
		if c := &clauses[i]; c.word == word {
			if word != "loss" && word != "limit" && word != "distribution" { // these count what they set
				r.once(word)
			}
			c.parse(r, im)
			return
		}
	}
	if _, ok := distributionNamed(word); ok {
		r.distribution(im, word)
		return
	}
	r.fail(unknown(word))
}

func unknown(word string) error {
	names := make([]string, len(clauses))
	for i := range clauses {
		names[i] = clauses[i].word
	}
	return fmt.Errorf("%s: not an impairment; write %s or %s", plain(word), strings.Join(names[:len(names)-1], ", "), names[len(names)-1])
}

func (r *reader) fail(err error) {
	if r.err == nil {
		r.err = err
	}
}

// once makes a second time an error.
func (r *reader) once(word string) {
	if slices.Contains(r.seen, word) {
		r.fail(fmt.Errorf("%s: given twice", word))
	}
	r.seen = append(r.seen, word)
}

func (r *reader) peek() string {
	if len(r.words) == 0 {
		return ""
	}
	return r.words[0]
}

// next takes a word as the beginning of a clause or a part of it.
func (r *reader) next() string {
	w := r.words[0]
	r.words = r.words[1:]
	r.clause = w
	return w
}

// word takes a word that has to be there.
func (r *reader) word(rule string) string {
	w := r.peek()
	if w == "" || w == "," {
		r.fail(fmt.Errorf("%s: something is missing; %s", r.clause, rule))
		return ""
	}
	r.words = r.words[1:]
	return w
}

// number reports whether the next word is one.
func (r *reader) number() bool {
	w := r.peek()
	return w != "" && strings.IndexByte("0123456789.-+", w[0]) >= 0
}

func (r *reader) wrong(value, rule string) { r.fail(mistake(r.clause, value, rule)) }

// split takes a word that is a decimal number and a unit.
func (r *reader) split(form string) (w, number, unit string) {
	w = r.word(form)
	n := len(w) - len(strings.TrimLeft(w, "0123456789."))
	return w, w[:n], w[n:]
}

func (r *reader) time() time.Duration {
	w, number, unit := r.split(timeForm)
	if r.err != nil {
		return 0
	}
	d, err := time.ParseDuration(w)
	switch {
	case err != nil && number != "" && strings.ContainsAny(unit, "0123456789."):
		r.wrong(w, timeForm)
	case err != nil && durationUnit(unit) && number != ".": // too large for a Duration
		r.wrong(w, timeRange)
	case err != nil:
		r.wrong(w, timeForm)
	case d < 0 || d > timeMax:
		r.wrong(w, timeRange)
	}
	return d
}

func durationUnit(s string) bool {
	return slices.Contains([]string{"ns", "us", "µs", "ms", "s", "m", "h"}, s)
}

func (r *reader) percent() Probability {
	w := r.word(percentForm)
	if r.err != nil {
		return 0
	}
	p, rule := parsePercent(w)
	if rule != "" {
		r.wrong(w, rule)
	}
	return p
}

// parsePercent returns what is wrong, "" if nothing is. It shifts the decimal
// point instead of dividing, so that what String writes is read exactly.
func parsePercent(w string) (p Probability, rule string) {
	number, ok := strings.CutSuffix(w, "%")
	if !ok {
		return 0, percentForm
	}
	negative := strings.HasPrefix(number, "-")
	if number = strings.TrimPrefix(number, "-"); strings.Trim(number, "0123456789.") != "" {
		return 0, percentForm
	}
	f, err := strconv.ParseFloat(number+"e-2", 64)
	switch {
	case err != nil && !math.IsInf(f, 0):
		return 0, percentForm
	case negative && f != 0 || f > 1:
		return 0, percentRange
	}
	return Probability(f), ""
}

func (r *reader) count(least int) int {
	w := r.word(countForm)
	if r.err != nil {
		return 0
	}
	if strings.Trim(w, "0123456789") != "" {
		r.wrong(w, countForm)
		return 0
	}
	n, err := strconv.Atoi(w)
	switch {
	case err != nil || n > countMax:
		r.wrong(w, countRange)
	case n < least:
		r.wrong(w, fmt.Sprintf("a number here is at least %d", least))
	}
	return n
}

func (r *reader) overhead() int {
	w := r.word(overheadRange)
	if r.err != nil {
		return 0
	}
	n, err := strconv.Atoi(w)
	if err != nil || n < overheadMin || n > overheadMax {
		r.wrong(w, overheadRange)
	}
	return n
}

// rateUnits are from large to small.
var rateUnits = [...]struct {
	name string
	bits uint64
}{{"tbit", 1e12}, {"gbit", 1e9}, {"mbit", 1e6}, {"kbit", 1e3}, {"bit", 1}}

func (r *reader) rate() Rate {
	w := r.word(rateForm)
	if r.err != nil {
		return 0
	}
	rate, rule := parseRate(w)
	if rule != "" {
		r.wrong(w, rule)
	}
	return rate
}

// parseRate returns what is wrong, "" if nothing is.
func parseRate(w string) (rate Rate, rule string) {
	n := len(w) - len(strings.TrimLeft(w, "0123456789."))
	for _, u := range rateUnits {
		if !strings.EqualFold(w[n:], u.name) {
			continue
		}
		f, err := strconv.ParseFloat(w[:n], 64)
		f = math.Round(f * float64(u.bits))
		switch {
		case err != nil && !math.IsInf(f, 0):
			return 0, rateForm
		case f < rateMin || f > rateMax:
			return 0, rateRange
		}
		return Rate(f), ""
	}
	return 0, rateForm
}

func (r *reader) distribution(im *Impairment, name string) {
	if r.err != nil {
		return
	}
	r.once("distribution")
	d, ok := distributionNamed(name)
	if !ok {
		r.wrong(name, distributionRange)
	}
	im.Distribution = d
}

func (r *reader) loss(im *Impairment) {
	const form = "write a percentage such as 1%, gemodel 1% 25%, or every 10"
	switch w := r.peek(); {
	case w == "gemodel":
		r.words = r.words[1:]
		r.clause = "loss gemodel"
		r.once(r.clause)
		g := &im.Gemodel
		g.P = r.positive()
		if r.number() {
			g.R = r.positive()
		}
		if r.number() {
			g.Bad = r.positive()
		}
		if r.number() {
			g.Good = r.percent()
		}
	case w == "every":
		r.words = r.words[1:]
		r.clause = "loss every"
		r.once(r.clause)
		im.LossEvery = r.count(1)
	case w == "random" || r.number():
		if w == "random" {
			r.words = r.words[1:]
		}
		r.once("loss")
		im.Loss = r.percent()
		if r.number() {
			r.wrong(r.peek(), "loss has no correlation; write bursts as: loss gemodel 1% 25%")
		}
	case w == "" || w == ",":
		r.word(form)
	default:
		r.wrong(w, form)
	}
}

// positive is a percentage that must not be zero.
func (r *reader) positive() Probability {
	w := r.peek()
	p := r.percent()
	if p == 0 && r.err == nil {
		r.wrong(w, "this probability is above 0")
	}
	return p
}

// limit reads a number of packets, or of bytes if it has a unit.
func (r *reader) limit(im *Impairment) {
	w, number, unit := r.split(limitForm)
	if r.err != nil {
		return
	}
	scale := 1
	switch strings.ToLower(unit) {
	case "", "p":
		r.once("limit in packets")
		im.Limit = r.limitNumber(w, number, scale)
		return
	case "b":
	case "kb":
		scale = 1 << 10
	case "mb":
		scale = 1 << 20
	default:
		r.wrong(w, limitForm)
		return
	}
	r.once("limit in bytes")
	im.LimitBytes = r.limitNumber(w, number, scale)
}

func (r *reader) limitNumber(w, number string, scale int) int {
	n, err := strconv.Atoi(number)
	switch {
	case number == "" || strings.Contains(number, "."):
		r.wrong(w, limitForm)
	case err != nil || n > countMax/scale:
		r.wrong(w, countRange)
	case n == 0:
		r.wrong(w, "a number here is at least 1")
	}
	return n * scale
}

// String writes the impairment as [Parse] reads it, but for LossIf, which has
// no text:
//
//	delay TIME, jitter TIME, correlation PERCENT, distribution NAME, ordered,
//	loss PERCENT, loss gemodel P [R [1-H [1-K]]], loss every N,
//	duplicate PERCENT, reorder PERCENT, gap N, corrupt PERCENT,
//	rate RATE, overhead BYTES, limit PACKETS, limit BYTESb
//
// An impairment that is zero is "none".
func (im Impairment) String() string {
	var s []string
	add := func(there bool, format string, args ...any) {
		if there {
			s = append(s, fmt.Sprintf(format, args...))
		}
	}
	add(im.Delay != 0, "delay %v", im.Delay)
	add(im.Jitter != 0, "jitter %v", im.Jitter)
	add(im.Correlation != 0, "correlation %v", im.Correlation)
	add(im.Distribution != Uniform, "distribution %v", im.Distribution)
	add(im.Ordered, "ordered")
	add(im.Loss != 0, "loss %v", im.Loss)
	add(im.Gemodel != Gemodel{}, "loss gemodel %v", im.Gemodel)
	add(im.LossEvery != 0, "loss every %d", im.LossEvery)
	add(im.Duplicate != 0, "duplicate %v", im.Duplicate)
	add(im.Reorder != 0, "reorder %v", im.Reorder)
	add(im.Gap != 0, "gap %d", im.Gap)
	add(im.Corrupt != 0, "corrupt %v", im.Corrupt)
	add(im.Rate != 0, "rate %v", im.Rate)
	add(im.Overhead != 0, "overhead %d", im.Overhead)
	add(im.Limit != 0, "limit %d", im.Limit)
	add(im.LimitBytes != 0, "limit %db", im.LimitBytes)
	if s == nil {
		return "none"
	}
	return strings.Join(s, ", ")
}

// String is tc's: p r 1-h 1-k.
func (g Gemodel) String() string {
	g = g.filled()
	return fmt.Sprintf("%v %v %v %v", g.P, g.R, g.Bad, g.Good)
}

// filled is g with what zeros stand for.
func (g Gemodel) filled() Gemodel {
	if g.R == 0 {
		g.R = 1 - g.P
	}
	if g.Bad == 0 {
		g.Bad = 1
	}
	return g
}

// String is the percentage, exactly and without an exponent.
func (p Probability) String() string {
	if f := float64(p); !(f >= 0 && f <= 1) {
		return strconv.FormatFloat(f*100, 'g', 6, 64) + "%"
	}
	// Shift the decimal point of the shortest form by two.
	s := strconv.FormatFloat(float64(p), 'f', -1, 64)
	whole, part, _ := strings.Cut(s, ".")
	part += strings.Repeat("0", max(0, 2-len(part)))
	whole, part = strings.TrimLeft(whole+part[:2], "0"), part[2:]
	if whole == "" {
		whole = "0"
	}
	if part != "" {
		whole += "." + part
	}
	return whole + "%"
}

// MarshalText implements [encoding.TextMarshaler].
func (p Probability) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// UnmarshalText implements [encoding.TextUnmarshaler].
func (p *Probability) UnmarshalText(b []byte) error {
	v, rule := parsePercent(string(b))
	if rule != "" {
		return mistake("", string(b), rule)
	}
	*p = v
	return nil
}

// String is the rate in the largest unit that divides it.
func (r Rate) String() string {
	for _, u := range rateUnits {
		if r != 0 && uint64(r)%u.bits == 0 {
			return fmt.Sprintf("%d%s", uint64(r)/u.bits, u.name)
		}
	}
	return "0bit"
}

// MarshalText implements [encoding.TextMarshaler].
func (r Rate) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// UnmarshalText implements [encoding.TextUnmarshaler].
func (r *Rate) UnmarshalText(b []byte) error {
	v, rule := parseRate(string(b))
	if rule != "" {
		return mistake("", string(b), rule)
	}
	*r = v
	return nil
}

// MarshalText implements [encoding.TextMarshaler].
func (d Distribution) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText implements [encoding.TextUnmarshaler].
func (d *Distribution) UnmarshalText(b []byte) error {
	v, ok := distributionNamed(string(b))
	if !ok {
		return mistake("", string(b), distributionRange)
	}
	*d = v
	return nil
}
