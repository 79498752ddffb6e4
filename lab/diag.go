package lab

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Pos is a place in a lab file. Lines and columns begin at 1; a column is a
// character.
type Pos struct{ Line, Column int }

// An Error is one mistake in a lab file.
type Error struct {
	File string
	Pos
	Message string // what is wrong; what to write instead
	Source  string // the offending line
}

// Error is the mistake in one line.
func (e *Error) Error() string {
	if e.Line == 0 {
		return e.File + ": " + e.Message
	}
	return fmt.Sprintf("%s:%d:%d: %s", e.File, e.Line, e.Column, e.Message)
}

// Detail is the mistake, followed by the offending line with a caret under it.
func (e *Error) Detail() string {
	if e.Line == 0 || strings.TrimSpace(e.Source) == "" {
		return e.Error()
	}
	src := []rune(e.Source)
	pad := make([]rune, 0, len(src))
	for _, c := range src[:min(max(e.Column-1, 0), len(src))] {
		if c != '\t' {
			c = ' '
		}
		pad = append(pad, c)
	}
	return fmt.Sprintf("%s\n    %s\n    %s^", e.Error(), e.Source, string(pad))
}

// Errors is all mistakes of a file, in the order of their places.
type Errors []*Error

// Error is the mistakes with their lines.
func (l Errors) Error() string {
	var b strings.Builder
	for i, e := range l {
		if i > 0 {
			b.WriteByte('\n')
		}
		b.WriteString(e.Detail())
	}
	return b.String()
}

func (l Errors) sort() {
	slices.SortStableFunc(l, func(a, b *Error) int {
		return cmp.Or(a.Line-b.Line, a.Column-b.Column)
	})
}

// diagnostics collects the mistakes of one file.
type diagnostics struct {
	file             string
	lines            []string
	errors, warnings Errors
	// Places that are read several times, and whether there is a mistake.
	once map[Pos]bool
}

func newDiagnostics(file string, text []byte) *diagnostics {
	s := strings.TrimPrefix(string(text), "\ufeff")
	s = strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(s) // YAML 1.2 §5.4
	return &diagnostics{file: file, lines: strings.Split(s, "\n")}
}

func (d *diagnostics) at(p Pos, format string, args ...any) *Error {
	e := &Error{File: d.file, Pos: p, Message: fmt.Sprintf(format, args...)}
	if p.Line >= 1 && p.Line <= len(d.lines) {
		e.Source = strings.ToValidUTF8(d.lines[p.Line-1], "\ufffd")
	}
	return e
}

func (d *diagnostics) errorf(p Pos, format string, args ...any) {
	if said, several := d.once[p]; several {
		if said {
			return
		}
		d.once[p] = true
	}
	d.errors = append(d.errors, d.at(p, format, args...))
}

func (d *diagnostics) warnf(p Pos, format string, args ...any) {
	d.warnings = append(d.warnings, d.at(p, format, args...))
}

// nearest returns the known word that word was probably meant to be, or "".
func nearest(word string, known []string) string {
	best, bestDist := "", max(1, (len(word)+1)/3)+1
	for _, k := range known {
		if d := distance(strings.ToLower(word), k); d < bestDist {
			best, bestDist = k, d
		}
	}
	return best
}

// distance counts the letters to be inserted, deleted, replaced or swapped
// with their neighbour to make b of a.
func distance(a, b string) int {
	if len(a) > 64 || len(b) > 64 {
		return 64
	}
	var before, last []int
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		before, last = last, row
		row = make([]int, len(b)+1)
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
	}
	return row[len(b)]
}

// suggest is the second half of an error about an unknown word.
func suggest(word string, known []string) string {
	if k := nearest(word, known); k != "" {
		return fmt.Sprintf("did you mean %q?", k)
	}
	return "write one of " + strings.Join(known, ", ")
}
