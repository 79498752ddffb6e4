package bpf_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/towpath/towpath/capture/bpf"
)

// TestAssemble has each form of each instruction; the listing is tcpdump's.
func TestAssemble(t *testing.T) {
	const text = `
; every operand
begin:	ld #0x10		/* a comment
	that goes on */ ldi 5 /* twice */ ; and ends
	ld [4]
	ldh [ 12 ]
	ldb [0x17]
	ld [x + 4]
	ldh [x+0b11]
	ldb [%x + -1]
	ld M[3]
	ld len
	ld #pktlen
	ld #proto
	ld vlan_avail
	ldb [poff]
	ld rand
	ldx #1
	ldxi 010
	ldx M[15]
	ldx len
	ldxb 4*([14]&0xf)
	ldx 4 * ( [ 14 ] & 0xf )
	st M[0]
	stx M[1]
	add #-1
	sub x
	mul #3
	div %x
	mod #7
	and #0xfff
	or #1
	xor x
	lsh #4
	rsh x
	neg
	tax
	txa
	jeq #1, one, two
one:
two:	jne #2, end
	jneq x, end
	jlt #3, end
	jle #4, end
	jgt x, end
	jge #5, end, three
three: four: jset #6, five
five:	ja end
	ret a
end:	ret #262144`
	const want = `(000) ld       #0x10
(001) ld       #0x5
(002) ld       [4]
(003) ldh      [12]
(004) ldb      [23]
(005) ld       [x + 4]
(006) ldh      [x + 3]
(007) ldb      [x + -1]
(008) ld       M[3]
(009) ld       #pktlen
(010) ld       #pktlen
(011) ld       [proto]
(012) ld       [vlanp]
(013) ldb      [poff]
(014) ld       [random]
(015) ldx      #0x1
(016) ldx      #0x8
(017) ldx      M[15]
(018) ldx      #pktlen
(019) ldxb     4*([14]&0xf)
(020) ldxb     4*([14]&0xf)
(021) st       M[0]
(022) stx      M[1]
(023) add      #-1
(024) sub      x
(025) mul      #3
(026) div      x
(027) mod      #7
(028) and      #0xfff
(029) or       #0x1
(030) xor      x
(031) lsh      #4
(032) rsh      x
(033) neg      ` + `
(034) tax      ` + `
(035) txa      ` + `
(036) jeq      #0x1             jt 37	jf 37
(037) jeq      #0x2             jt 38	jf 46
(038) jeq      x                jt 39	jf 46
(039) jge      #0x3             jt 40	jf 46
(040) jgt      #0x4             jt 41	jf 46
(041) jgt      x                jt 46	jf 42
(042) jge      #0x5             jt 46	jf 43
(043) jset     #0x6             jt 44	jf 44
(044) ja       46
(045) ret      ` + `
(046) ret      #262144
`
	p, err := bpf.Assemble(text)
	if err != nil {
		t.Fatal(err)
	}
	if got := p.String(); got != want {
		t.Errorf("got\n%s", got)
	}
	p, err = bpf.Assemble("back: ja back\nret #0")
	if err != nil || !p.Loops() {
		t.Errorf("a jump backwards: %v, %v", p, err)
	}
}

func TestAssembleMistakes(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"", "1:1: the program is empty"},
		{"ret #0\nlod [1]", `2:1: no instruction "lod"`},
		{"  ld 12", "1:6: no operand of ld"},
		{"ldh #12", "1:5: no operand of ldh"},
		{"ld [12", "1:4: no operand of ld"},
		{"ld [nothing]", "1:4: no operand of ld"},
		{"ld #0x100000000", "1:4: no operand of ld"},
		{"ldxb 4*([14]&0xe)", "1:6: no operand of ldxb"},
		{"ret x", "1:5: no operand of ret"},
		{"ret #0 #1", "1:8: expected the end of the line"},
		{"[12]", "1:1: expected an instruction or a label"},
		{"jeq #1", "1:7: expected a comma and a label"},
		{"jeq #1, ", "1:9: expected a label"},
		{"jne #1, a, b", "1:10: expected the end of the line"},
		{"jeq #1, a\nret #0", `1:9: no label "a"`},
		{"a: ret #0\n a: ret #1", `2:2: a second label "a"`},
		{"a: ret #0\njeq #1, a\nret #0", `2:9: "a" stands before this jump, and only ja goes back`},
		{"jeq #1, a\n" + strings.Repeat("tax\n", 256) + "a: ret #0", `1:9: there are 256 instructions before "a", and this jump skips 255 at most`},
		{"x: div #0\nret #0", "1:4: division by zero"},
		{"st M[16]\nret #0", "1:1: no memory word 16"},
		{"ja end\nend:", "1:1: jump to 1, outside the program"},
		{"tax\n/* ret #0", "1:1: the last instruction does not return"},
		{strings.Repeat("tax\n", 4096) + "ret #0", "4097:1: more than 4096 instructions"},
	} {
		p, err := bpf.Assemble(c.text)
		var e *bpf.SyntaxError
		if err == nil || err.Error() != c.want || !errors.As(err, &e) {
			t.Errorf("%.40q: %v, %v; want %s", c.text, p, err, c.want)
		}
	}
}

func ExampleAssemble() {
	p, err := bpf.Assemble(`
		ldh [12]
		jne #0x800, drop
		ret #96
	drop:	ret #0`)
	fmt.Printf("%v%v\n", p, err)
	// Output:
	// (000) ldh      [12]
	// (001) jeq      #0x800           jt 2	jf 3
	// (002) ret      #96
	// (003) ret      #0
	// <nil>
}

// FuzzAssemble looks for text that is not refused and makes no program.
func FuzzAssemble(f *testing.F) {
	f.Add("a: ldh [x + 12] ; c\njne #0x800, a /* \n*/ ja b\nb: ret #0")
	f.Add("ldxb 4*([14]&0xf)\nld #proto\nst M[1]\njset x, l, m\nl: m: ret a")
	f.Fuzz(func(t *testing.T, text string) {
		p, err := bpf.Assemble(text)
		if err != nil {
			var e *bpf.SyntaxError
			if !errors.As(err, &e) || e.Line < 1 || e.Column < 1 || e.Line > 1+strings.Count(text, "\n") || e.Column > 1+len(text) {
				t.Fatalf("%q: %v", text, err)
			}
			return
		}
		if err := p.Validate(); err != nil {
			t.Fatalf("%q: %v\n%v", text, err, p)
		}
		if back, err := bpf.ParseListing(p.String()); err != nil || back.String() != p.String() {
			t.Fatalf("%v\n%v%v", err, p, back)
		}
	})
}
