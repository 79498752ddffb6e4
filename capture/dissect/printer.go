package dissect

import (
	"net/netip"
	"strconv"
	"time"

	"github.com/towpath/towpath/wire"
)

// A TimeStyle is how a packet's time is printed.
type TimeStyle uint8

const (
	TimeOfDay   TimeStyle = iota // 12:34:56.789012, local time
	TimeNone                     // -t
	TimeUnix                     // -tt: seconds since 1970
	TimeDelta                    // -ttt: since the packet before
	TimeDate                     // -tttt: with the date
	TimeElapsed                  // -ttttt: since the first packet
)

// A Dump is how a packet's bytes are printed below its line.
type Dump uint8

const (
	DumpNone     Dump = iota
	DumpHex           // -x
	DumpHexLink       // -xx: with the link header
	DumpBoth          // -X: hexadecimal and ASCII
	DumpBothLink      // -XX
	DumpText          // -A
	DumpTextLink      // -AA
)

// Options are those of tcpdump.
type Options struct {
	LinkHeader  bool // -e
	Quiet       bool // -q
	Verbose     int  // how many -v
	AbsoluteSeq bool // -S
	NoChecksums bool // -K
	Number      bool // -#
	Lengths     bool // --lengths
	Nano        bool // times in nanoseconds
	Time        TimeStyle
	Dump        Dump
	// Names finds the names of ports and addresses; nil means numbers only (-n).
	Names Names
	// Interface finds the name of an interface, or ""; nil means numbers only.
	Interface func(index uint32) string
	// Location is where the time of day is that of; nil means time.Local.
	Location *time.Location
}

// Names finds names to print. An empty name means that there is none.
type Names interface {
	Addr(netip.Addr) string
	Port(proto wire.Proto, port uint16) string
	Proto(wire.Proto) string
	Ether(wire.MAC) string
}

// A Printer prints packets, one after the other. It remembers TCP connections,
// whose sequence numbers it prints relative to their first, and times.
type Printer struct {
	Options
	n           int
	first, last time.Time
	conns       map[connKey]*connSeq
}

// A Packet is what is printed.
type Packet struct {
	Time   time.Time
	Data   []byte // the captured bytes
	Length int    // of the packet on the wire
	Link   wire.LinkType
}

// Append appends the packet's line or lines, each with its line feed, to dst.
func (p *Printer) Append(dst []byte, pkt *Packet) []byte {
	t := text{b: dst, p: p}
	p.n++
	if p.Number {
		for n := p.n; n < 10_000; n *= 10 {
			t.byte(' ')
		}
		t.num(p.n)
		t.str("  ")
	}
	t.b = p.appendTime(t.b, pkt.Time)
	if p.Lengths {
		t.str("caplen ").num(len(pkt.Data)).str(", len ").num(max(pkt.Length, len(pkt.Data))).str(", ")
	}
	head := t.link(pkt)
	if t.short {
		head = 0 // as tcpdump, which has forgotten it
	}
	t.cut = false
	t.byte('\n')
	t.b = p.appendDump(t.b, pkt.Data, head)
	return t.b
}

func (p *Printer) appendTime(b []byte, at time.Time) []byte {
	if p.first.IsZero() {
		p.first, p.last = at, at
	}
	loc := p.Location
	if loc == nil {
		loc = time.Local
	}
	switch p.Time {
	case TimeOfDay:
		b = p.fraction(at.In(loc).AppendFormat(b, "15:04:05"), at.Nanosecond())
	case TimeNone:
		return b
	case TimeUnix:
		b = p.fraction(strconv.AppendInt(b, at.Unix(), 10), at.Nanosecond())
	case TimeDelta:
		b = p.since(b, at.Sub(p.last))
	case TimeDate:
		b = p.fraction(at.In(loc).AppendFormat(b, "2006-01-02 15:04:05"), at.Nanosecond())
	case TimeElapsed:
		b = p.since(b, at.Sub(p.first))
	}
	p.last = at
	return append(b, ' ')
}

// fraction appends the part of a second.
func (p *Printer) fraction(b []byte, nano int) []byte {
	b = append(b, '.')
	if p.Nano {
		return digits(b, nano, 9)
	}
	return digits(b, nano/1000, 6)
}

// digits appends n with leading zeros.
func digits(b []byte, n, width int) []byte {
	for range width {
		b = append(b, '0')
	}
	for at := len(b) - 1; n > 0 && at >= len(b)-width; at-- {
		b[at] = '0' + byte(n%10)
		n /= 10
	}
	return b
}

// since appends a duration.
func (p *Printer) since(b []byte, d time.Duration) []byte {
	if d < 0 {
		b, d = append(b, '-'), -d
	} else {
		b = append(b, ' ')
	}
	s := int(d / time.Second)
	b = append(digits(b, s/3600, 2), ':')
	b = append(digits(b, s/60%60, 2), ':')
	return p.fraction(digits(b, s%60, 2), int(d%time.Second))
}

// appendDump appends the packet's bytes as Dump asks.
func (p *Printer) appendDump(b, data []byte, head int) []byte {
	switch p.Dump {
	case DumpHex:
		return appendHex(b, skip(data, head), false)
	case DumpHexLink:
		return appendHex(b, data, false)
	case DumpBoth:
		return appendHex(b, skip(data, head), true)
	case DumpBothLink:
		return appendHex(b, data, true)
	case DumpText:
		return appendASCII(b, skip(data, head))
	case DumpTextLink:
		return appendASCII(b, data)
	}
	return b
}

// appendHex appends lines of 16 bytes in hexadecimal, and in ASCII if so asked.
func appendHex(b, data []byte, ascii bool) []byte {
	for at := 0; at < len(data); at += 16 {
		line := data[at:min(at+16, len(data))]
		b = append(b, "\t0x"...)
		for shift := 12; shift >= 0; shift -= 4 {
			b = append(b, hexDigits[at>>shift&15])
		}
		b = append(b, ": "...)
		width := 0
		for i, c := range line {
			if i%2 == 0 {
				b = append(b, ' ')
				width++
			}
			b = append(b, hexDigits[c>>4], hexDigits[c&15])
			width += 2
		}
		if ascii {
			for ; width < 40; width++ {
				b = append(b, ' ')
			}
			b = append(b, "  "...)
			for _, c := range line {
				if c <= ' ' || c >= 0x7f {
					c = '.'
				}
				b = append(b, c)
			}
		}
		b = append(b, '\n')
	}
	return b
}

// appendASCII appends bytes as text.
func appendASCII(b, data []byte) []byte {
	for i, c := range data {
		switch {
		case c == '\r':
			if i+1 < len(data) && data[i+1] == '\n' {
				continue
			}
			b = append(b, '.')
		case c == '\n' || c == '\t' || c >= ' ' && c < 0x7f:
			b = append(b, c)
		default:
			b = append(b, '.')
		}
	}
	return append(b, '\n')
}
