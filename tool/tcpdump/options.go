package tcpdump

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/towpath/towpath/capture/dissect"
	"github.com/towpath/towpath/capture/pcap"
	"github.com/towpath/towpath/capture/savefile"
	"github.com/towpath/towpath/wire"
)

// options are what a command line says.
type options struct {
	print dissect.Options

	device     string // -i
	read       string // -r
	readList   string // -V
	write      string // -w
	exprFile   string // -F
	expression string
	end        int // how many arguments stand before the -- that ends options, if there is one

	count     int // -c; 0: all
	snaplen   int // -s
	buffer    int // -B, in bytes
	direction savefile.Direction
	link      wire.LinkType // -y
	hasLink   bool
	stamp     string // -j

	numeric   int  // -n
	noDomain  bool // -N
	listing   int  // -d
	plain     bool // -O
	noPromisc bool // -p
	monitor   bool // -I
	immediate bool
	lines     bool // -l
	unbuf     bool // -U
	printToo  bool // --print
	onlyCount bool // --count
	user      string

	devices, links, stamps bool // -D, -L, -J: list them

	fileSize  int64         // -C, in bytes
	fileTime  time.Duration // -G
	fileCount int           // -W
	command   string        // -z

	help, version bool
}

// A usageError is a command line that cannot be understood, after which the
// options are listed.
type usageError struct{ msg string }

func (e *usageError) Error() string { return e.msg }

func usagef(format string, args ...any) error { return &usageError{fmt.Sprintf(format, args...)} }

// An option is one that a command line may have. Those without a letter have a
// number above all letters.
type option struct {
	letter rune
	name   string
	arg    bool
}

const (
	optCount = 0x100 + iota
	optPrint
	optVersion
	optMicro
	optNano
	optPrecision
	optImmediate
	optLengths
)

var optionList = []option{
	{'A', "", false}, {'B', "buffer-size", true}, {'c', "", true}, {'C', "", true}, {'d', "", false},
	{'D', "list-interfaces", false}, {'e', "", false}, {'F', "", true}, {'G', "", true}, {'h', "help", false},
	{'i', "interface", true}, {'I', "monitor-mode", false}, {'j', "time-stamp-type", true}, {'J', "list-time-stamp-types", false},
	{'K', "dont-verify-checksums", false}, {'l', "", false}, {'L', "list-data-link-types", false}, {'n', "", false},
	{'N', "", false}, {'O', "no-optimize", false}, {'p', "no-promiscuous-mode", false}, {'q', "", false}, {'Q', "direction", true},
	{'r', "", true}, {'s', "snapshot-length", true}, {'S', "absolute-tcp-sequence-numbers", false}, {'t', "", false},
	{'U', "packet-buffered", false}, {'v', "", false}, {'V', "", true}, {'w', "", true}, {'W', "", true}, {'x', "", false},
	{'X', "", false}, {'y', "linktype", true}, {'z', "", true}, {'Z', "relinquish-privileges", true}, {'#', "number", false},
	{optCount, "count", false}, {optPrint, "print", false}, {optVersion, "version", false}, {optMicro, "micro", false},
	{optNano, "nano", false}, {optPrecision, "time-stamp-precision", true}, {optImmediate, "immediate-mode", false},
	{optLengths, "lengths", false},
}

// missing are tcpdump's options that are not there, and what they would do.
var missing = map[rune]string{
	'a': "names of broadcast addresses", 'b': "dotted AS numbers", 'E': "decrypting ESP", 'f': "names of foreign hosts only", 'H': "802.11s", 'm': "SMI modules",
	'M': "checking TCP-MD5", 'T': "reading packets as another protocol", 'u': "NFS handles", 'Y': "the parser's debugging",
}

// parse reads a command line as getopt_long does: options may stand behind the
// expression's words, and -- ends them.
func parse(args []string) (*options, error) {
	o := &options{end: len(args)}
	p := parser{o: o}
	var words []string
	for len(args) > 0 {
		arg := args[0]
		args = args[1:]
		var err error
		switch {
		case arg == "--":
			o.end -= len(args) + 1
			words = append(words, args...)
			args = nil
		case strings.HasPrefix(arg, "--"):
			args, err = p.long(arg[2:], args)
		case len(arg) > 1 && arg[0] == '-':
			args, err = p.letters(arg[1:], args)
		default:
			words = append(words, arg)
		}
		if err != nil {
			return nil, err
		}
	}
	o.expression = strings.Join(words, " ")
	return o, p.finish()
}

// A parser reads options.
type parser struct {
	o          *options
	x, X, A, t int
	precision  string
}

// letters reads options of one letter each.
func (p *parser) letters(arg string, rest []string) ([]string, error) {
	for i, c := range arg {
		opt, ok := findLetter(c)
		if !ok {
			if what := missing[c]; what != "" {
				return nil, fmt.Errorf("option -%c (%s) is not supported", c, what)
			}
			return nil, usagef("invalid option -- '%c'", c)
		}
		if !opt.arg {
			if err := p.set(opt.letter, ""); err != nil {
				return nil, err
			}
			continue
		}
		value := arg[i+len(string(c)):]
		if value == "" {
			if len(rest) == 0 {
				return nil, usagef("option requires an argument -- '%c'", c)
			}
			value, rest = rest[0], rest[1:]
		}
		return rest, p.set(opt.letter, value)
	}
	return rest, nil
}

func findLetter(c rune) (option, bool) {
	for _, o := range optionList {
		if o.letter == c && c < optCount {
			return o, true
		}
	}
	return option{}, false
}

// long reads an option by its name, which may be cut as long as it is clear.
func (p *parser) long(arg string, rest []string) ([]string, error) {
	name, value, hasValue := strings.Cut(arg, "=")
	var found []option
	for _, o := range optionList {
		if o.name == name && name != "" {
			found = []option{o}
			break
		}
		if o.name != "" && strings.HasPrefix(o.name, name) {
			found = append(found, o)
		}
	}
	switch {
	case len(found) == 0:
		return nil, usagef("unrecognized option '--%s'", name)
	case len(found) > 1:
		all := make([]string, len(found))
		for i, o := range found {
			all[i] = "'--" + o.name + "'"
		}
		return nil, usagef("option '--%s' is ambiguous; possibilities: %s", name, strings.Join(all, " "))
	case hasValue && !found[0].arg:
		return nil, usagef("option '--%s' doesn't allow an argument", found[0].name)
	case found[0].arg && !hasValue:
		if len(rest) == 0 {
			return nil, usagef("option '--%s' requires an argument", found[0].name)
		}
		value, rest = rest[0], rest[1:]
	}
	return rest, p.set(found[0].letter, value)
}

// set notes an option.
func (p *parser) set(c rune, v string) (err error) {
	o := p.o
	switch c {
	case 'A':
		p.A++
	case 'x':
		p.x++
	case 'X':
		p.X++
	case 't':
		p.t++
	case 'n':
		o.numeric++
	case 'd':
		o.listing++
	case 'v':
		o.print.Verbose++
	case 'e':
		o.print.LinkHeader = true
	case 'q':
		o.print.Quiet = true
	case 'S':
		o.print.AbsoluteSeq = true
	case 'K':
		o.print.NoChecksums = true
	case '#':
		o.print.Number = true
	case optLengths:
		o.print.Lengths = true
	case 'D':
		o.devices = true
	case 'L':
		o.links = true
	case 'J':
		o.stamps = true
	case 'h':
		o.help = true
	case optVersion:
		o.version = true
	case 'I':
		o.monitor = true
	case 'l':
		o.lines = true
	case 'N':
		o.noDomain = true
	case 'O':
		o.plain = true
	case 'p':
		o.noPromisc = true
	case 'U':
		o.unbuf = true
	case optCount:
		o.onlyCount = true
	case optPrint:
		o.printToo = true
	case optImmediate:
		o.immediate = true
	case optMicro:
		p.precision = "micro"
	case optNano:
		p.precision = "nano"
	case optPrecision:
		p.precision = v
	case 'F':
		o.exprFile = v
	case 'i':
		o.device = v
	case 'r':
		o.read = v
	case 'V':
		o.readList = v
	case 'w':
		o.write = v
	case 'z':
		o.command = v
	case 'Z':
		o.user = v
	case 'j':
		o.stamp = v
	case 'B':
		o.buffer, err = number(v, "packet buffer size", 1, 1<<21, 1<<10)
	case 'c':
		o.count, err = number(v, "packet count", 1, 1<<31-1, 1)
	case 'C':
		o.fileSize, err = size(v)
	case 'G':
		var s int
		s, err = number(v, "number of seconds", 1, 1<<31-1, 1)
		o.fileTime = time.Duration(s) * time.Second
	case 'W':
		o.fileCount, err = number(v, "number of output files", 1, 1<<31-1, 1)
	case 's':
		n, e := strconv.ParseUint(v, 0, 32)
		if e != nil || n > pcap.SnaplenMax {
			return fmt.Errorf("invalid snaplen %s (must be >= 0 and <= %d)", v, pcap.SnaplenMax)
		}
		o.snaplen = int(n)
	case 'Q':
		way, ok := map[string]savefile.Direction{"in": savefile.DirectionIn, "out": savefile.DirectionOut, "inout": savefile.DirectionUnknown}[strings.ToLower(v)]
		if !ok {
			return fmt.Errorf("unknown capture direction `%s'", v)
		}
		o.direction = way
	case 'y':
		if o.link, o.hasLink = pcap.DatalinkByName(v); !o.hasLink {
			return fmt.Errorf("invalid data link type %s", v)
		}
	}
	return err
}

// number reads a number of units.
func number(v, what string, least, most, unit int) (int, error) {
	n, err := strconv.Atoi(v)
	if err != nil || n < least || n > most {
		return 0, fmt.Errorf("invalid %s %s", what, v)
	}
	return n * unit, nil
}

// size reads a size of files in millions of bytes, or in the unit of a letter.
func size(v string) (int64, error) {
	unit, digits := int64(1_000_000), v
	if n := len(v); n > 0 {
		switch v[n-1] {
		case 'k', 'K':
			unit, digits = 1<<10, v[:n-1]
		case 'm', 'M':
			unit, digits = 1<<20, v[:n-1]
		case 'g', 'G':
			unit, digits = 1<<30, v[:n-1]
		}
	}
	n, err := strconv.ParseInt(digits, 10, 32)
	if err != nil || n < 1 {
		return 0, fmt.Errorf("invalid file size %s", v)
	}
	return n * unit, nil
}

// finish puts together what several options say.
func (p *parser) finish() error {
	o := p.o
	if p.t > int(dissect.TimeElapsed) {
		return fmt.Errorf("only -t, -tt, -ttt, -tttt and -ttttt are supported")
	}
	o.print.Time = dissect.TimeStyle(p.t)
	switch {
	case p.X > 0:
		o.print.Dump = dissect.DumpBoth + dissect.Dump(min(p.X, 2)-1)
	case p.x > 0:
		o.print.Dump = dissect.DumpHex + dissect.Dump(min(p.x, 2)-1)
	case p.A > 0:
		o.print.Dump = dissect.DumpText + dissect.Dump(min(p.A, 2)-1)
	}
	switch p.precision {
	case "", "micro":
	case "nano":
		o.print.Nano = true
	default:
		return fmt.Errorf("unsupported time stamp precision %s; there are micro and nano", p.precision)
	}
	switch {
	case o.read != "" && o.readList != "":
		return fmt.Errorf("-r and -V exclude each other")
	case o.fileTime > 0 && o.write == "-", o.fileSize > 0 && o.write == "-":
		return fmt.Errorf("-C and -G need a file for -w, not standard output")
	}
	return nil
}
