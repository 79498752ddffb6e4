package tcpdump

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/towpath/towpath/capture/bpf"
	"github.com/towpath/towpath/capture/dissect"
	"github.com/towpath/towpath/capture/expr"
	"github.com/towpath/towpath/capture/pcap"
	"github.com/towpath/towpath/wire"
)

// Env is where tcpdump runs.
type Env struct {
	Stdin          io.Reader
	Stdout, Stderr io.Writer
	// Terminal says that Stdout is one: each packet is printed as it comes.
	Terminal bool
	// Dir is where relative names of files begin; empty: the working directory.
	Dir string
	// Devices are what can be captured on; nil: a [System].
	Devices Devices
	// Lookup finds the name of an address, or ""; nil: the system's resolver.
	Lookup func(netip.Addr) string
	// Location is where the times of day are those of; nil: time.Local.
	Location *time.Location
}

// Devices are what packets can be captured on.
type Devices interface {
	// List are the devices, the one captured on by default first.
	List() ([]pcap.Interface, error)
	// Open begins a capture.
	Open(device string, o pcap.Options) (*pcap.Handle, error)
	// A method Name(index uint32) string, if there is one, tells the names of
	// interfaces by the numbers in headers LINUX_SLL2.
}

// usage lists the options.
const usage = `Usage: tcpdump [-AdDehIJKlLnNOpqStUvxX#] [ -B size ] [ -c count ] [--count]
		[ -C file_size ] [ -F file ] [ -G seconds ] [ -i interface ]
		[ --immediate-mode ] [ -j tstamptype ] [ --lengths ] [ --number ]
		[ --print ] [ -Q in|out|inout ] [ -r file ] [ -s snaplen ]
		[ --version ] [ -V file ] [ -w file ] [ -W filecount ]
		[ -y datalinktype ] [ --time-stamp-precision precision ]
		[ --micro ] [ --nano ] [ -z postrotate-command ] [ -Z user ]
		[ expression ]
`

// version is what --version prints first: whose options and lines these are.
const version = "tcpdump of towpath, after version 4.99"

// Main runs a command line and returns the exit status: 0, or 1 after an error,
// which has been printed. It ends when there are no more packets, after as many
// as -c says, or when ctx is done, which is no error.
func Main(ctx context.Context, args []string, e *Env) int {
	err := run(ctx, args, e)
	if err == nil {
		return 0
	}
	fmt.Fprintf(e.Stderr, "tcpdump: %v\n", err)
	var u *usageError
	if errors.As(err, &u) {
		fmt.Fprintf(e.Stderr, "%s\n%s", version, usage)
	}
	return 1
}

func run(ctx context.Context, args []string, e *Env) error {
	o, err := parse(args)
	if err != nil {
		return err
	}
	return o.run(ctx, e)
}

// run does what the options say.
func (o *options) run(ctx context.Context, e *Env) error {
	if e.Devices == nil {
		e.Devices = &System{}
	}
	switch {
	case o.help:
		_, err := fmt.Fprintf(e.Stdout, "%s\n%s", version, usage)
		return err
	case o.version:
		_, err := fmt.Fprintln(e.Stdout, version)
		return err
	case o.devices:
		return listDevices(e)
	case o.links:
		return listDatalinks(o, e)
	case o.stamps:
		return listTimestamps(o, e)
	}
	s := &session{o: o, e: e, out: bufio.NewWriterSize(e.Stdout, 32<<10)}
	return errors.Join(s.run(ctx), s.out.Flush())
}

// A session is a run that reads packets.
type session struct {
	o   *options
	e   *Env
	h   *pcap.Handle
	out *bufio.Writer

	printer  *dissect.Printer // nil: nothing is printed
	line     []byte
	files    *files // nil: nothing is written
	captured int
	err      error // of writing
}

// run opens what is read and what is written, and goes through the packets.
func (s *session) run(ctx context.Context) error {
	if s.o.listing > 0 && s.o.read == "" && s.o.readList == "" && s.o.device == "" {
		return s.list(s.dead())
	}
	names, err := s.inputs()
	if err != nil {
		return err
	}
	if names == nil {
		return s.live(ctx)
	}
	for i, name := range names {
		if s.h, err = s.open(name); err != nil {
			return err
		}
		err = s.file(ctx, i > 0)
		err = errors.Join(err, s.h.Close())
		if err != nil || ctx.Err() != nil || s.done() {
			break
		}
	}
	if s.files != nil {
		err = errors.Join(err, s.files.close())
	}
	if s.o.onlyCount && err == nil {
		plural := "s"
		if s.captured == 1 {
			plural = ""
		}
		fmt.Fprintf(s.out, "%d packet%s\n", s.captured, plural)
	}
	return err
}

func (s *session) location() *time.Location {
	if s.e.Location == nil {
		return time.Local
	}
	return s.e.Location
}

// done reports whether there are as many packets as -c asks for, or -W files.
func (s *session) done() bool {
	return s.o.count > 0 && s.captured >= s.o.count || s.files != nil && s.files.full
}

// inputs are the files to read; nil: a device.
func (s *session) inputs() ([]string, error) {
	switch {
	case s.o.read != "":
		return []string{s.o.read}, nil
	case s.o.readList == "":
		return nil, nil
	}
	b, err := s.contents(s.o.readList)
	if err != nil {
		return nil, err
	}
	names := strings.Fields(string(b))
	if len(names) == 0 {
		return nil, fmt.Errorf("%s names no files", s.o.readList)
	}
	return names, nil
}

// path is where a file is that the command line names.
func (s *session) path(name string) string {
	if s.e.Dir == "" || filepath.IsAbs(name) {
		return name
	}
	return filepath.Join(s.e.Dir, name)
}

// contents reads a file of names or of an expression.
func (s *session) contents(name string) ([]byte, error) {
	const most = 1 << 20
	r := s.e.Stdin
	if name != "-" {
		f, err := os.Open(s.path(name))
		if err != nil {
			return nil, brief(err)
		}
		defer f.Close()
		r = f
	}
	b, err := io.ReadAll(io.LimitReader(r, most+1))
	if len(b) > most {
		err = fmt.Errorf("%s has more than %d bytes", name, most)
	}
	return b, err
}

// brief is an error of the file system without the operation.
func brief(err error) error {
	var p *os.PathError
	if errors.As(err, &p) {
		return fmt.Errorf("%s: %w", p.Path, p.Err)
	}
	return err
}

// open opens a file to read.
func (s *session) open(name string) (h *pcap.Handle, err error) {
	if name == "-" {
		h, err = pcap.NewOffline(s.e.Stdin)
	} else {
		h, err = pcap.OpenOffline(s.path(name))
	}
	if err != nil {
		return nil, brief(err)
	}
	h.SetNano(s.o.print.Nano)
	fmt.Fprintf(s.e.Stderr, "reading from file %s, link-type %s, snapshot length %d\n", name, datalink(h.Datalink()), h.Snapshot())
	return h, nil
}

// datalink is a link type as people are told of it.
func datalink(l wire.LinkType) string {
	name := pcap.DatalinkName(l)
	if name == "" {
		return strconv.Itoa(int(l))
	}
	return fmt.Sprintf("%s (%s)", name, pcap.DatalinkDescription(l))
}

// dead is the handle that -d compiles for where there is no file or device.
func (s *session) dead() *pcap.Handle {
	link := wire.LinkEthernet
	if s.o.hasLink {
		link = s.o.link
	} else {
		fmt.Fprintln(s.e.Stderr, "Warning: assuming Ethernet")
	}
	return pcap.OpenDead(link, s.o.snaplen)
}

// list prints the program of the expression, for -d.
func (s *session) list(h *pcap.Handle) error {
	p, err := s.compile(h, netip.Addr{})
	if err != nil {
		return err
	}
	text := p.String
	switch s.o.listing {
	case 1:
	case 2:
		text = p.C
	default:
		text = p.Decimal
	}
	_, err = s.out.WriteString(text())
	return err
}

// compile makes a program of the words of the command line, or of the file of
// -F.
func (s *session) compile(h *pcap.Handle, netmask netip.Addr) (bpf.Program, error) {
	text := s.o.expression
	if s.o.exprFile != "" {
		b, err := s.contents(s.o.exprFile)
		if err != nil {
			return nil, err
		}
		text = uncommented(string(b))
	}
	p, err := h.Compile(text, !s.o.plain, netmask)
	var e *expr.Error
	if errors.As(err, &e) {
		return nil, fmt.Errorf("can't parse filter expression: %w\n%s", err, strings.TrimSuffix(e.Show(), "\n"))
	}
	return p, err
}

// uncommented blanks out what is behind a # in each line.
func uncommented(text string) string {
	b := []byte(text)
	comment := false
	for i, c := range b {
		switch {
		case c == '\n':
			comment = false
		case c == '#':
			comment = true
		}
		if comment {
			b[i] = ' '
		}
	}
	return string(b)
}

// file goes through the packets of the file that has been opened.
func (s *session) file(ctx context.Context, further bool) error {
	if s.o.listing > 0 {
		return s.list(s.h)
	}
	p, err := s.compile(s.h, netip.IPv4Unspecified())
	if err == nil {
		err = s.h.SetFilter(p)
	}
	if err == nil && !further {
		if s.o.user != "" {
			err = relinquish(s.o.user)
		}
		if err == nil {
			err = s.sinks(ctx)
		}
	}
	if err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, s.h.BreakLoop)
	defer stop()
	_, err = s.h.Dispatch(s.left(), s.packet)
	return s.outcome(err)
}

// left is how many packets are still wanted; 0: all.
func (s *session) left() int {
	if s.o.count == 0 {
		return 0
	}
	return s.o.count - s.captured
}

// outcome is the error of a loop over packets.
func (s *session) outcome(err error) error {
	switch {
	case s.err != nil:
		return s.err
	case err == pcap.ErrBreak || err == io.EOF:
		return nil
	}
	return err
}

// sinks makes what takes the packets.
func (s *session) sinks(ctx context.Context) (err error) {
	if s.o.write != "" {
		if s.files, err = newFiles(ctx, s); err != nil {
			return err
		}
	}
	if s.o.onlyCount || s.files != nil && !s.o.printToo {
		return nil
	}
	s.printer = &dissect.Printer{Options: s.o.print}
	s.printer.Location = s.e.Location
	if s.o.numeric == 0 {
		lookup := s.e.Lookup
		if lookup == nil {
			lookup = resolve(ctx)
		}
		s.printer.Names = newNames(lookup, s.o.noDomain)
	}
	return nil
}

// packet takes a packet.
func (s *session) packet(p pcap.Packet) {
	if s.files != nil {
		if s.err = s.files.write(p); s.err != nil || s.files.full {
			s.h.BreakLoop()
			return
		}
	}
	s.captured++
	if s.printer == nil {
		return
	}
	s.line = s.printer.Append(s.line[:0], &dissect.Packet{Time: p.Time, Data: p.Data, Length: p.Length, Link: s.h.Datalink()})
	_, err := s.out.Write(s.line)
	if s.o.lines || s.o.unbuf {
		err = s.out.Flush()
	}
	if err != nil {
		s.err = err
		s.h.BreakLoop()
	}
}
