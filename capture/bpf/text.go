package bpf

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// String is p as tcpdump -d prints it, one line an instruction.
func (p Program) String() string {
	var b strings.Builder
	for pc, in := range p {
		b.WriteString(in.text(pc))
		b.WriteByte('\n')
	}
	return b.String()
}

// ancillary are libpcap's names of the loads from AdOff, every fourth.
var ancillary = [...]string{
	"proto", "type", "ifidx", "nla", "nlan", "mark", "queue", "hatype", "rxhash", "cpu", "xor_x",
	"vlan_tci", "vlanp", "poff", "random", "vlan_tpid",
}

// text is the line of the instruction at pc.
func (in Instruction) text(pc int) string {
	s, ok := shapes[in.Op]
	if !ok {
		s = shape{"unimp", fmt.Sprintf("%#x", in.Op)}
	}
	operand := s.operand
	if operand == "[%d]" && in.K >= AdOff && in.K <= AdVlanTPID && in.K%4 == 0 {
		operand = "[" + ancillary[(in.K-AdOff)/4] + "]"
	} else if strings.Contains(operand, "%x") {
		operand = fmt.Sprintf(operand, in.K)
	} else if strings.Contains(operand, "%d") {
		k := int32(in.K)
		if in.Op == ClassJMP|JmpA {
			k += int32(pc) + 1
		}
		operand = fmt.Sprintf(operand, k)
	}
	if ok && in.Op&7 == ClassJMP && in.Op != ClassJMP|JmpA {
		return fmt.Sprintf("(%03d) %-8s %-16s jt %d\tjf %d", pc, s.name, operand, pc+1+int(in.Jt), pc+1+int(in.Jf))
	}
	return fmt.Sprintf("(%03d) %-8s %s", pc, s.name, operand)
}

// C is p as tcpdump -dd prints it: initializers of struct bpf_insn.
func (p Program) C() string {
	var b strings.Builder
	for _, in := range p {
		fmt.Fprintf(&b, "{ 0x%x, %d, %d, 0x%08x },\n", in.Op, in.Jt, in.Jf, in.K)
	}
	return b.String()
}

// Decimal is p as tcpdump -ddd prints it: the number of instructions, then one a
// line.
func (p Program) Decimal() string {
	var b strings.Builder
	fmt.Fprintln(&b, len(p))
	for _, in := range p {
		fmt.Fprintln(&b, in.Op, in.Jt, in.Jf, in.K)
	}
	return b.String()
}

// ParseDecimal reads what [Program.Decimal] and tcpdump -ddd write. Commas may
// stand for newlines, as iptables' bpf match has them. The program is not
// validated.
func ParseDecimal(text string) (Program, error) {
	lines := strings.FieldsFunc(text, func(r rune) bool { return r == '\n' || r == ',' })
	if len(lines) == 0 {
		return nil, fmt.Errorf("bpf: no number of instructions")
	}
	n, err := strconv.Atoi(strings.TrimSpace(lines[0]))
	if err != nil || n != len(lines)-1 || n > MaxLen {
		return nil, fmt.Errorf("bpf: %d instructions follow %q, the number of them", len(lines)-1, lines[0])
	}
	p := make(Program, n)
	for i, line := range lines[1:] {
		f := strings.Fields(line)
		if len(f) != 4 {
			return nil, fmt.Errorf("bpf: instruction %d: %q is not four numbers", i, line)
		}
		var v [4]uint64
		for j, bits := range [4]int{16, 8, 8, 32} {
			if v[j], err = strconv.ParseUint(f[j], 10, bits); err != nil {
				return nil, fmt.Errorf("bpf: instruction %d: %q is not a number of %d bits", i, f[j], bits)
			}
		}
		p[i] = Instruction{uint16(v[0]), uint8(v[1]), uint8(v[2]), uint32(v[3])}
	}
	return p, nil
}

// ParseListing reads what [Program.String] and tcpdump -d write. Instructions
// are numbered from 0 without gaps. Fields that an instruction does not use are
// not in the text and become zero. The program is not validated.
func ParseListing(text string) (Program, error) {
	var p Program
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\r\n")
		if strings.TrimSpace(line) == "" {
			continue
		}
		in, ok := parseLine(line, len(p))
		if !ok || len(p) == MaxLen {
			return nil, fmt.Errorf("bpf: instruction %d: cannot read %q", len(p), line)
		}
		p = append(p, in)
	}
	return p, nil
}

// parseLine reads the line of the instruction at pc. It tries the shapes of the
// mnemonic and takes the one that prints as the line, spaces aside.
func parseLine(line string, pc int) (Instruction, bool) {
	f := strings.Fields(line)
	if len(f) < 2 {
		return Instruction{}, false
	}
	var in Instruction
	operand := strings.Join(f[2:], " ")
	if at := strings.Index(operand, " jt "); at >= 0 {
		var jt, jf int
		if _, err := fmt.Sscanf(operand[at:], " jt %d jf %d", &jt, &jf); err != nil {
			return Instruction{}, false
		}
		operand = operand[:at]
		in.Jt, in.Jf = uint8(jt-pc-1), uint8(jf-pc-1) // those out of range print differently
	}
	for op, s := range shapes {
		if s.name != f[1] {
			continue
		}
		in.Op, in.K = op, 0
		if name := slices.Index(ancillary[:], strings.Trim(operand, "[]")); name >= 0 && s.operand == "[%d]" {
			in.K = AdOff + 4*uint32(name)
		} else if strings.Contains(s.operand, "%x") {
			if _, err := fmt.Sscanf(operand, s.operand, &in.K); err != nil {
				continue
			}
		} else if strings.Contains(s.operand, "%d") {
			var k int32
			if _, err := fmt.Sscanf(operand, s.operand, &k); err != nil {
				continue
			}
			if op == ClassJMP|JmpA {
				k -= int32(pc) + 1
			}
			in.K = uint32(k)
		}
		if slices.Equal(strings.Fields(in.text(pc)), f) {
			return in, true
		}
	}
	return Instruction{}, false
}
