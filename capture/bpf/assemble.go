package bpf

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// A SyntaxError is a mistake in the text of a program.
type SyntaxError struct {
	Line, Column int // from 1; columns count bytes
	Msg          string
}

func (e *SyntaxError) Error() string { return fmt.Sprintf("%d:%d: %s", e.Line, e.Column, e.Msg) }

// Assemble reads a program in the language of Linux's bpf_asm:
//
//	       ldh [12]              ; an instruction a line, or a label, or both
//	       jne #0x800, drop      /* comments of two kinds */
//	       ldb [23]
//	       jeq #6, keep, drop
//	keep:  ret #262144
//	drop:  ret #0
//
// Mnemonics are ld, ldh, ldb, ldi, ldx, ldxb, ldxi, st, stx, add, sub, mul, div,
// mod, and, or, xor, lsh, rsh, neg, ja or jmp, jeq, jne or jneq, jgt, jge, jlt,
// jle, jset, tax, txa and ret. Operands are #k, [k], [x+k], M[k], 4*([k]&0xf), x,
// a, labels, len, and the names of ancillary data that listings have, and also
// vlan_avail and rand. Numbers are decimal, 0x, 0b or octal with a 0 in front,
// and may be negative. A conditional jump with one label goes on with the next
// instruction otherwise. Its labels follow it, by 255 instructions at most; ja
// reaches everything.
//
// The program is valid. Errors are of type *[SyntaxError].
func Assemble(text string) (Program, error) {
	a := &assembler{labels: map[string]int{}}
	line, comment := 0, false
	for s := range strings.Lines(text) {
		line++
		if err := a.line(line, strip(s, &comment)); err != nil {
			return nil, err
		}
	}
	return a.link()
}

// strip makes spaces of comments. comment says whether one has begun that has
// not ended.
func strip(s string, comment *bool) string {
	b := []byte(strings.TrimRight(s, "\r\n"))
	for i := 0; i < len(b); i++ {
		two := string(b[i:min(i+2, len(b))])
		switch {
		case *comment && two == "*/", !*comment && two == "/*":
			*comment = !*comment
			b[i], b[i+1] = ' ', ' '
			i++
		case *comment:
			b[i] = ' '
		case b[i] == ';':
			return string(b[:i])
		}
	}
	return string(b)
}

// An assembler holds what has been read.
type assembler struct {
	prog    Program
	places  []scanner // of instructions
	labels  map[string]int
	targets []target
}

// A target is a label that a jump names.
type target struct {
	pc    int
	field byte // of the instruction: 't', 'f', or 'k' of a ja
	label string
	place scanner
}

// link fills in the jumps and looks for what makes a program invalid.
func (a *assembler) link() (Program, error) {
	for _, t := range a.targets {
		to, ok := a.labels[t.label]
		d := to - t.pc - 1
		in := &a.prog[t.pc]
		switch {
		case !ok:
			return nil, t.place.fail("no label %q", t.label)
		case t.field == 'k':
			in.K = uint32(d)
		case d < 0:
			return nil, t.place.fail("%q stands before this jump, and only ja goes back", t.label)
		case d > 255:
			return nil, t.place.fail("there are %d instructions before %q, and this jump skips 255 at most", d, t.label)
		case t.field == 't':
			in.Jt = uint8(d)
		default:
			in.Jf = uint8(d)
		}
	}
	for pc, in := range a.prog {
		if reason := in.fault(pc, len(a.prog)); reason != "" {
			return nil, a.places[pc].fail("%s", reason)
		}
	}
	if err := a.prog.Validate(); err != nil {
		last := scanner{line: 1}
		if n := len(a.prog); n > 0 {
			last = a.places[n-1]
		}
		return nil, last.fail("%s", strings.TrimPrefix(err.Error(), "bpf: "))
	}
	return a.prog, nil
}

// line reads labels and an instruction.
func (a *assembler) line(n int, text string) error {
	s := scanner{text: text, line: n}
	for {
		s.space()
		place := s
		word := s.word()
		switch {
		case word == "" && s.rest() == "":
			return nil
		case word == "":
			return s.fail("expected an instruction or a label")
		case !s.accept(":"):
			if len(a.prog) == MaxLen {
				return place.fail("more than %d instructions", MaxLen)
			}
			a.places = append(a.places, place)
			in, err := a.instruction(&s, place, word)
			if err == nil && s.rest() != "" {
				err = s.fail("expected the end of the line")
			}
			a.prog = append(a.prog, in)
			return err
		}
		if _, twice := a.labels[word]; twice {
			return place.fail("a second label %q", word)
		}
		a.labels[word] = len(a.prog)
	}
}

// Kinds of operands, as bits.
const (
	immediate = 1 << iota // #k
	absolute              // [k], or a name
	indirect              // [x+k]
	scratch               // M[k]
	nibble                // 4*([k]&0xf)
	length                // len
	index                 // x
	accum                 // a
	plain                 // k
)

// mnemonics are instructions with one operand or, without kinds, none.
var mnemonics = map[string]struct {
	op    uint16 // without mode and source
	kinds int
}{
	"ld": {ClassLD, immediate | absolute | indirect | scratch | length}, "ldi": {ClassLD, immediate | plain},
	"ldh": {ClassLD | SizeH, absolute | indirect}, "ldb": {ClassLD | SizeB, absolute | indirect},
	"ldx": {ClassLDX, immediate | scratch | nibble | length}, "ldxi": {ClassLDX, immediate | plain}, "ldxb": {ClassLDX, nibble},
	"st": {ClassST, scratch}, "stx": {ClassSTX, scratch},
	"add": {ClassALU | AluAdd, immediate | index}, "sub": {ClassALU | AluSub, immediate | index},
	"mul": {ClassALU | AluMul, immediate | index}, "div": {ClassALU | AluDiv, immediate | index},
	"mod": {ClassALU | AluMod, immediate | index}, "and": {ClassALU | AluAnd, immediate | index},
	"or": {ClassALU | AluOr, immediate | index}, "xor": {ClassALU | AluXor, immediate | index},
	"lsh": {ClassALU | AluLsh, immediate | index}, "rsh": {ClassALU | AluRsh, immediate | index},
	"neg": {ClassALU | AluNeg, 0}, "tax": {ClassMISC | MiscTAX, 0}, "txa": {ClassMISC | MiscTXA, 0},
	"ret": {ClassRET, immediate | accum},
	"jeq": {ClassJMP | JmpEq, immediate | index}, "jgt": {ClassJMP | JmpGt, immediate | index},
	"jge": {ClassJMP | JmpGe, immediate | index}, "jset": {ClassJMP | JmpSet, immediate | index},
}

// opposites are jumps that hold where another does not.
var opposites = map[string]string{"jne": "jeq", "jneq": "jeq", "jlt": "jge", "jle": "jgt"}

// instruction reads what follows a mnemonic.
func (a *assembler) instruction(s *scanner, place scanner, name string) (in Instruction, err error) {
	if name == "ja" || name == "jmp" {
		in.Op = ClassJMP | JmpA
		return in, a.target(s, 'k')
	}
	opposite, not := opposites[name]
	if not {
		name = opposite
	}
	m, ok := mnemonics[name]
	if !ok {
		return in, place.fail("no instruction %q", name)
	}
	in.Op = m.op
	if m.kinds == 0 {
		return in, nil
	}
	s.space()
	before := *s
	kind, k, ok := s.operand()
	if !ok || kind&m.kinds == 0 {
		return in, before.fail("no operand of %s", name)
	}
	in.K = k
	switch kind {
	case absolute:
		in.Op |= ModeABS
	case indirect:
		in.Op |= ModeIND
	case scratch:
		if m.op == ClassLD || m.op == ClassLDX {
			in.Op |= ModeMEM
		}
	case nibble:
		in.Op |= SizeB | ModeMSH
	case length:
		in.Op |= ModeLEN
	case index:
		in.Op |= SrcX
	case accum:
		in.Op |= RetA
	}
	if m.op&7 != ClassJMP {
		return in, nil
	}
	holds, fails := byte('t'), byte('f')
	if not {
		holds, fails = fails, holds
	}
	if !s.accept(",") {
		return in, s.fail("expected a comma and a label")
	}
	if err := a.target(s, holds); err != nil {
		return in, err
	}
	if !not && s.accept(",") {
		return in, a.target(s, fails)
	}
	return in, nil
}

// target reads a label.
func (a *assembler) target(s *scanner, field byte) error {
	s.space()
	place := *s
	word := s.word()
	if word == "" {
		return place.fail("expected a label")
	}
	a.targets = append(a.targets, target{len(a.prog), field, word, place})
	return nil
}

// A scanner reads a line.
type scanner struct {
	text string
	at   int // what is before has been read
	line int
}

func (s scanner) fail(format string, args ...any) error {
	return &SyntaxError{s.line, s.at + 1, fmt.Sprintf(format, args...)}
}

// space skips spaces.
func (s *scanner) space() {
	for s.at < len(s.text) && (s.text[s.at] == ' ' || s.text[s.at] == '\t') {
		s.at++
	}
}

// rest is what has not been read, after spaces.
func (s *scanner) rest() string {
	s.space()
	return s.text[s.at:]
}

// accept skips tokens, with spaces between them, if they all come next.
func (s *scanner) accept(tokens ...string) bool {
	t := *s
	for _, token := range tokens {
		if !strings.HasPrefix(t.rest(), token) {
			return false
		}
		t.at += len(token)
	}
	*s = t
	return true
}

// word reads a name; "" if there is none.
func (s *scanner) word() string {
	rest := s.rest()
	n := 0
	for n < len(rest) && (rest[n] == '_' || rest[n]|0x20 >= 'a' && rest[n]|0x20 <= 'z' || n > 0 && rest[n] >= '0' && rest[n] <= '9') {
		n++
	}
	s.at += n
	return rest[:n]
}

// number reads one of 32 bits, which may be negative.
func (s *scanner) number() (uint32, bool) {
	rest := s.rest()
	n := 0
	if strings.HasPrefix(rest, "-") || strings.HasPrefix(rest, "+") {
		n++
	}
	for n < len(rest) && (rest[n] >= '0' && rest[n] <= '9' || rest[n]|0x20 >= 'a' && rest[n]|0x20 <= 'z') {
		n++
	}
	v, err := strconv.ParseInt(rest[:n], 0, 64)
	if err != nil || v < -1<<31 || v >= 1<<32 {
		return 0, false
	}
	s.at += n
	return uint32(v), true
}

// operand reads one of any kind.
func (s *scanner) operand() (kind int, k uint32, ok bool) {
	switch {
	case s.accept("[", "x", "+"), s.accept("[", "%", "x", "+"):
		k, ok = s.number()
		return indirect, k, ok && s.accept("]")
	case s.accept("["):
		if k, ok = s.number(); !ok {
			k, ok = s.ancillary()
		}
		return absolute, k, ok && s.accept("]")
	case s.accept("M", "["):
		k, ok = s.number()
		return scratch, k, ok && s.accept("]")
	case s.accept("4", "*", "(", "["):
		k, ok = s.number()
		return nibble, k, ok && s.accept("]", "&", "0xf", ")")
	}
	sharp := s.accept("#")
	if k, ok = s.number(); ok {
		if sharp {
			return immediate, k, true
		}
		return plain, k, true
	}
	if !sharp {
		s.accept("%")
	}
	before := *s
	switch s.word() {
	case "x":
		return index, 0, !sharp
	case "a":
		return accum, 0, !sharp
	case "len", "pktlen":
		return length, 0, true
	}
	*s = before
	k, ok = s.ancillary()
	return absolute, k, ok
}

// ancillary reads the name of ancillary data.
func (s *scanner) ancillary() (k uint32, ok bool) {
	name := s.word()
	switch name {
	case "vlan_avail":
		name = "vlanp"
	case "rand":
		name = "random"
	}
	i := slices.Index(ancillary[:], name)
	return AdOff + 4*uint32(i), i >= 0
}
