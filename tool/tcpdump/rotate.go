package tcpdump

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/towpath/towpath/capture/pcap"
)

// commandsMax bounds how many commands of -z run at once.
const commandsMax = 16

// files writes packets to the file of -w, or to several as -C, -G and -W say.
type files struct {
	s    *session
	ctx  context.Context
	d    *pcap.Dumper // nil: none yet
	name string       // of the file being written

	begun  time.Time // when the time of -G began
	times  int       // how many have ended
	number int       // of the file, for -C
	digits int       // of numbers
	full   bool      // -W files have been written, and there are to be no more

	running []*exec.Cmd // -z
	said    sharedWriter
}

// A sharedWriter lets commands that run at once say something, where they
// cannot have a file for it.
type sharedWriter struct {
	mu sync.Mutex
	w  io.Writer
}

func (w *sharedWriter) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.w.Write(b)
}

// newFiles begins the first file, which so is there even if no packet comes.
// With -G it has to wait for a packet, whose time may be in its name.
func newFiles(ctx context.Context, s *session) (*files, error) {
	f := &files{s: s, ctx: ctx, said: sharedWriter{w: s.e.Stderr}}
	if s.o.fileSize > 0 {
		for n := s.o.fileCount - 1; n > 0; n /= 10 {
			f.digits++
		}
	}
	if s.o.fileTime > 0 {
		return f, nil
	}
	return f, f.open(time.Time{})
}

// open begins the next file.
func (f *files) open(now time.Time) (err error) {
	o := f.s.o
	f.name = o.write
	if o.fileTime > 0 {
		f.begun = now
		f.name = strftime(f.name, now.In(f.s.location()))
	}
	if o.fileSize > 0 && (f.number > 0 || f.digits > 0) {
		f.name += fmt.Sprintf("%0*d", f.digits, f.number)
	}
	if f.name == "-" {
		f.d, err = f.s.h.NewDumper(onlyWriter{f.s.e.Stdout})
	} else {
		f.name = f.s.path(f.name)
		f.d, err = f.s.h.DumpOpen(f.name)
	}
	return brief(err)
}

// onlyWriter keeps a dumper from closing standard output.
type onlyWriter struct{ io.Writer }

// write writes a packet, into another file if it is time for one. If there are
// to be no more files, full is set and the packet left out.
func (f *files) write(p pcap.Packet) error {
	o := f.s.o
	switch {
	case f.d == nil:
		if err := f.open(p.Time); err != nil {
			return err
		}
	case o.fileTime > 0 && p.Time.Sub(f.begun) >= o.fileTime:
		f.times++
		if o.fileSize == 0 && o.fileCount > 0 && f.times >= o.fileCount {
			fmt.Fprintf(&f.said, "Maximum file limit reached: %d\n", o.fileCount)
			f.full = true
			return f.end()
		}
		f.number = 0
		if err := f.next(p.Time); err != nil {
			return err
		}
	case o.fileSize > 0 && f.d.Ftell() > o.fileSize:
		f.number++
		if o.fileCount > 0 && f.number >= o.fileCount {
			f.number = 0
		}
		if err := f.next(f.begun); err != nil {
			return err
		}
	}
	if err := f.d.Dump(p); err != nil {
		return err
	}
	if o.unbuf {
		return f.d.Flush()
	}
	return nil
}

// next ends a file and begins another.
func (f *files) next(now time.Time) error {
	if err := f.end(); err != nil {
		return err
	}
	return f.open(now)
}

// end ends a file, which is then given to the command of -z.
func (f *files) end() error {
	err := f.d.Close()
	f.d = nil
	if err != nil || f.s.o.command == "" {
		return err
	}
	if len(f.running) == commandsMax {
		f.wait(f.running[0])
		f.running = f.running[1:]
	}
	c := exec.CommandContext(f.ctx, f.s.o.command, f.name)
	w := f.s.e.Stderr // standard output is for packets
	if _, ok := w.(*os.File); !ok {
		w = &f.said
	}
	c.Stdout, c.Stderr = w, w
	if err := c.Start(); err != nil {
		return fmt.Errorf("-z: %w", err)
	}
	f.running = append(f.running, c)
	return nil
}

func (f *files) wait(c *exec.Cmd) {
	if err := c.Wait(); err != nil && f.ctx.Err() == nil {
		fmt.Fprintf(&f.said, "tcpdump: %s %s: %v\n", f.s.o.command, c.Args[1], err)
	}
}

// close ends the last file, and waits for commands.
func (f *files) close() (err error) {
	if f.d == nil && !f.full {
		err = f.open(time.Now())
	}
	if err == nil && f.d != nil {
		err = f.d.Close()
	}
	for _, c := range f.running {
		f.wait(c)
	}
	return err
}

// strftime puts the parts of a time into a name, as strftime(3) does in the C
// locale. Letters that are not known stay.
func strftime(name string, t time.Time) string {
	var b strings.Builder
	for i := 0; i < len(name); i++ {
		if name[i] != '%' || i+1 == len(name) {
			b.WriteByte(name[i])
			continue
		}
		i++
		switch c := name[i]; c {
		case '%':
			b.WriteByte('%')
		case 's':
			b.WriteString(strconv.FormatInt(t.Unix(), 10))
		case 'C':
			fmt.Fprintf(&b, "%02d", t.Year()/100)
		case 'u':
			b.WriteString(strconv.Itoa((int(t.Weekday())+6)%7 + 1))
		case 'w':
			b.WriteString(strconv.Itoa(int(t.Weekday())))
		case 'k':
			fmt.Fprintf(&b, "%2d", t.Hour())
		default:
			layout, ok := timeLayouts[c]
			if !ok {
				b.WriteString(name[i-1 : i+1])
				continue
			}
			b.WriteString(t.Format(layout))
		}
	}
	return b.String()
}

// timeLayouts are what strftime's letters are in package time's words.
var timeLayouts = map[byte]string{
	'a': "Mon", 'A': "Monday", 'b': "Jan", 'B': "January", 'c': "Mon Jan _2 15:04:05 2006", 'd': "02", 'D': "01/02/06",
	'e': "_2", 'F': "2006-01-02", 'h': "Jan", 'H': "15", 'I': "03", 'j': "002", 'm': "01", 'M': "04", 'p': "PM",
	'r': "03:04:05 PM", 'R': "15:04", 'S': "05", 'T': "15:04:05", 'x': "01/02/06", 'X': "15:04:05", 'y': "06", 'Y': "2006",
	'z': "-0700", 'Z': "MST",
}
