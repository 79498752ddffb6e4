package nft

import (
	"fmt"
	"net/netip"
	"strings"
)

// A Pos is a place in a file.
type Pos struct {
	File      string
	Line, Col int // from 1; columns count bytes
}

func (p Pos) String() string { return fmt.Sprintf("%s:%d:%d", p.File, p.Line, p.Col) }

// An Error is a mistake in rules, with its place, the line that has it, and
// what to write instead.
type Error struct {
	Pos
	Msg    string
	Source string // the offending line; empty if the rules are not from text
}

func (e *Error) Error() string {
	if e.Line == 0 {
		return e.Msg
	}
	s := e.Pos.String() + ": " + e.Msg
	if e.Source != "" {
		pad := strings.Map(func(r rune) rune {
			if r == '\t' {
				return r
			}
			return ' '
		}, e.Source[:min(max(0, e.Col-1), len(e.Source))])
		s += "\n  " + e.Source + "\n  " + pad + "^"
	}
	return s
}

type kind uint8

const (
	eof      kind = iota
	newline       // or a semicolon
	word          // a name, keyword, number or time
	quoted        // in quotes
	address       // an IPv6 or MAC address
	sign          // punctuation
	variable      // $name
)

type token struct {
	Pos
	kind  kind
	text  string
	depth uint8 // how many definitions it came out of
	glued bool  // no space stands before it
}

func (t token) String() string {
	switch t.kind {
	case eof:
		return "the end of the file"
	case newline:
		if t.text == ";" {
			return `";"`
		}
		return "the end of the line"
	case quoted:
		return fmt.Sprintf("the text %q", t.text)
	case variable:
		return "$" + t.text
	}
	return fmt.Sprintf("%q", t.text)
}

const (
	fileMax   = 16 << 20 // bytes of a file
	stringMax = 4096     // bytes of one word
	tokensMax = 1 << 20  // of a file with all that it includes and defines
)

// lex cuts a text into tokens; the last one is eof. Lines are those of the
// text, for errors.
func lex(file string, src string) ([]token, error) {
	var all []token
	line, begin := 1, 0
	fail := func(at int, format string, args ...any) error {
		rest, _, _ := strings.Cut(src[begin:], "\n")
		return &Error{Pos: Pos{file, line, at - begin + 1}, Msg: fmt.Sprintf(format, args...), Source: rest}
	}
	if len(src) > fileMax {
		return nil, &Error{Msg: fmt.Sprintf("%s has %d bytes; a file of rules has at most %d", file, len(src), fileMax)}
	}
	spaced := true
	for i := 0; i < len(src); {
		c := src[i]
		emit := func(k kind, n int, s string) {
			all = append(all, token{Pos: Pos{file, line, i - begin + 1}, kind: k, text: s, glued: !spaced})
			i += n
			spaced = false
		}
		switch {
		case c == '\n':
			emit(newline, 1, "\n")
			line, begin, spaced = line+1, i, true
		case c == '\\' && strings.HasPrefix(src[i+1:], "\n"):
			i += 2
			line, begin, spaced = line+1, i, true
		case c == ' ' || c == '\t' || c == '\r':
			i++
			spaced = true
		case c == '#':
			for i < len(src) && src[i] != '\n' {
				i++
			}
		case c == '"':
			n := strings.IndexAny(src[i+1:], "\"\n")
			if n < 0 || src[i+1+n] == '\n' {
				return nil, fail(i, `the text that begins here does not end on its line; write a closing "`)
			}
			emit(quoted, n+2, src[i+1:i+1+n])
		case addressLen(src[i:]) > 0 && (i == 0 || !wordByte(src[i-1])):
			n := addressLen(src[i:])
			emit(address, n, src[i:i+n])
		case digit(c):
			n := 1
			for i+n < len(src) && (digit(src[i+n]) || letter(src[i+n]) || src[i+n] == '.' && i+n+1 < len(src) && digit(src[i+n+1])) {
				n++
			}
			emit(word, n, src[i:i+n])
		case letter(c):
			n := 1
			for i+n < len(src) && (wordByte(src[i+n]) || src[i+n] == '-' || src[i+n] == '/') {
				n++
			}
			if strings.HasPrefix(src[i+n:], "*") {
				n++
			}
			emit(word, n, src[i:i+n])
		case c == '$' && i+1 < len(src) && letter(src[i+1]):
			n := 1
			for i+n < len(src) && (wordByte(src[i+n])) {
				n++
			}
			emit(variable, n, src[i+1:i+n])
		case c == ';':
			emit(newline, 1, ";")
		default:
			n := 1
			switch two := src[i:min(i+2, len(src))]; two {
			case "==", "!=", "<=", ">=", "<<", ">>":
				n = 2
			}
			if !strings.ContainsRune("{}()[],:./-+!=<>&|^@$*", rune(c)) {
				return nil, fail(i, "%q means nothing here; take it out, or write text in quotes", []rune(src[i:min(i+4, len(src))])[0])
			}
			emit(sign, n, src[i:i+n])
		}
		if n := len(all); n > 0 && len(all[n-1].text) > stringMax {
			return nil, fail(i, "a word of %d bytes; at most %d", len(all[n-1].text), stringMax)
		}
	}
	all = append(all, token{Pos: Pos{file, line, len(src) - begin + 1}, kind: eof})
	return all, nil
}

func digit(c byte) bool  { return '0' <= c && c <= '9' }
func letter(c byte) bool { return 'a' <= c|0x20 && c|0x20 <= 'z' || c == '_' }

func wordByte(c byte) bool { return digit(c) || letter(c) || c == '.' }

// addressLen is the length of the IPv6 or MAC address that s begins with, 0 if
// there is none.
func addressLen(s string) int {
	n, colons := 0, 0
	for n < len(s) && n < 64 && (digit(s[n]) || 'a' <= s[n]|0x20 && s[n]|0x20 <= 'f' || s[n] == ':' || s[n] == '.') {
		if s[n] == ':' {
			colons++
		}
		n++
	}
	if colons < 2 || n < len(s) && (letter(s[n])) {
		return 0
	}
	for ; n > 0; n-- {
		if c := s[:n]; isMAC(c) {
			return n
		} else if a, err := netip.ParseAddr(c); err == nil && a.Is6() {
			return n
		}
		if c := s[n-1]; c != ':' && c != '.' {
			return 0
		}
	}
	return 0
}

func isMAC(s string) bool {
	parts := strings.Split(s, ":")
	if len(parts) != 6 {
		return false
	}
	for _, p := range parts {
		if len(p) < 1 || len(p) > 2 {
			return false
		}
	}
	return true
}

// lines are those of a text, without their ends.
func lines(s string) func(yield func(string) bool) {
	return func(yield func(string) bool) {
		for line := range strings.Lines(s) {
			if !yield(strings.TrimRight(line, "\r\n")) {
				return
			}
		}
	}
}
