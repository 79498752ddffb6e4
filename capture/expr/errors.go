package expr

import (
	"fmt"
	"strings"
)

// An Error says what is wrong with an expression, and where.
type Error struct {
	Expr string // the expression
	// Pos and End delimit the offending part of Expr, in bytes; at the end of
	// the expression both are its length.
	Pos, End int
	Msg      string // what is wrong, and what was expected
	Hint     string // what to write instead, or ""
}

// Column is where the offending part begins, counted in bytes from 1.
func (e *Error) Column() int { return e.Pos + 1 }

// Error returns one line.
func (e *Error) Error() string {
	s := fmt.Sprintf("column %d: %s", e.Column(), e.Msg)
	if e.Hint != "" {
		s += "; " + e.Hint
	}
	return s
}

// Show returns the expression with a mark below the offending part.
func (e *Error) Show() string {
	plain := strings.Map(func(r rune) rune {
		if r < ' ' {
			return ' '
		}
		return r
	}, e.Expr)
	return plain + "\n" + strings.Repeat(" ", e.Pos) + strings.Repeat("^", max(1, e.End-e.Pos))
}

func errorAt(s string, pos, end int, format string, args ...any) *Error {
	return &Error{Expr: s, Pos: pos, End: end, Msg: fmt.Sprintf(format, args...)}
}

// didYouMean returns the hint of the keyword nearest to w, or "".
func didYouMean(w string) string {
	best, near := "", 2
	if len(w) < 4 {
		near = 1
	}
	for k := range keywords {
		if d := distance(w, k, near+1); d < near || d == near && (best == "" || k < best) {
			best, near = k, d
		}
	}
	if best == "" || len(w) < 2 {
		return ""
	}
	return fmt.Sprintf("did you mean %q?", best)
}

// distance is how many letters have to be inserted, deleted, replaced or
// swapped with their neighbour to make b of a, or limit if that is less.
func distance(a, b string, limit int) int {
	if d := len(a) - len(b); d >= limit || -d >= limit || len(a) > 32 {
		return limit
	}
	rows := make([][]int, len(a)+1)
	for i := range rows {
		rows[i] = make([]int, len(b)+1)
		rows[i][0] = i
	}
	for j := range rows[0] {
		rows[0][j] = j
	}
	for i := 1; i <= len(a); i++ {
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			rows[i][j] = min(rows[i-1][j]+1, rows[i][j-1]+1, rows[i-1][j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				rows[i][j] = min(rows[i][j], rows[i-2][j-2]+1)
			}
		}
	}
	return min(limit, rows[len(a)][len(b)])
}
