package lab

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
)

// lineMax is how much of a line is kept back to be printed whole.
const lineMax = 64 << 10

// Of a program's last lines, tailLines of tailWidth bytes are remembered for
// the error that it may become.
const tailLines, tailWidth = 5, 200

// output prints lines of several nodes, each behind its node's name.
type output struct {
	width   int
	dir     string   // for logs; empty: none
	journal *journal // nil: none

	mu   sync.Mutex
	w    io.Writer
	all  []*lines
	errs []error // of logs
}

func newOutput(w io.Writer, s *Spec) *output {
	o := &output{w: w}
	for _, n := range s.Nodes {
		o.width = max(o.width, len(n.Name))
	}
	if len(s.Events) > 0 {
		o.width = max(o.width, len(eventsName))
	}
	return o
}

func (o *output) line(node string, text []byte) {
	o.mu.Lock()
	defer o.mu.Unlock()
	fmt.Fprintf(o.w, "%-*s | %s\n", o.width, node, text)
	if o.journal != nil {
		o.journal.add(Event{Kind: KindOutput, Node: node, Text: string(text)})
	}
}

func (o *output) printf(node, format string, args ...any) {
	o.line(node, fmt.Appendf(nil, format, args...))
}

// of is a writer whose lines are the node's. Close prints a last line without
// its end.
func (o *output) of(node string) *lines { return &lines{o: o, node: node} }

// command is a writer for what a command of a node prints, which goes into the
// command's log too.
func (o *output) command(node string, c *Command) *lines {
	l := o.of(node)
	if c.Ready != "" {
		l.awaited, l.seen = c.Ready, make(chan struct{})
	}
	if o.dir == "" {
		return l
	}
	f, err := os.Create(filepath.Join(o.dir, c.log))
	if err == nil {
		l.log = f
		_, err = fmt.Fprintf(f, "$ %s\n", c.Text)
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.all = append(o.all, l)
	if err != nil {
		o.errs = append(o.errs, err)
	}
	return l
}

// close closes what command has opened, and returns what went wrong with logs.
func (o *output) close() error {
	o.mu.Lock()
	all := o.all
	o.mu.Unlock()
	for _, l := range all {
		l.Close()
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	return errors.Join(o.errs...)
}

type lines struct {
	o    *output
	node string
	seen chan struct{} // closed once the awaited text has been printed

	mu      sync.Mutex
	buf     []byte   // an unfinished line
	log     *os.File // nil: none
	awaited string
	recent  []byte // what may be the beginning of the awaited text
	tail    []string
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.record(b)
	l.await(b)
	l.buf = append(l.buf, b...)
	for {
		i := bytes.IndexByte(l.buf, '\n')
		if i < 0 && len(l.buf) < lineMax {
			return len(b), nil
		}
		end := i + 1
		if i < 0 {
			i, end = lineMax, lineMax
		}
		l.print(bytes.TrimSuffix(l.buf[:i], []byte{'\r'}))
		l.buf = l.buf[end:]
	}
}

func (l *lines) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.buf) > 0 {
		l.print(l.buf)
		l.buf = nil
	}
	if l.log == nil {
		return nil
	}
	err := l.log.Close()
	l.log = nil
	return err
}

// print prints a line and remembers it.
func (l *lines) print(line []byte) {
	l.o.line(l.node, line)
	if len(l.tail) == tailLines {
		l.tail = append(l.tail[:0], l.tail[1:]...)
	}
	l.tail = append(l.tail, string(line[:min(len(line), tailWidth)]))
}

// record adds to the log.
func (l *lines) record(b []byte) {
	if l.log == nil {
		return
	}
	if _, err := l.log.Write(b); err != nil {
		l.o.mu.Lock()
		l.o.errs = append(l.o.errs, err)
		l.o.mu.Unlock()
		l.log.Close()
		l.log = nil
	}
}

// await looks for the awaited text, which may come in pieces.
func (l *lines) await(b []byte) {
	if l.awaited == "" {
		return
	}
	l.recent = append(l.recent, b...)
	if bytes.Contains(l.recent, []byte(l.awaited)) {
		close(l.seen)
		l.awaited, l.recent = "", nil
		return
	}
	l.recent = l.recent[max(len(l.recent)-len(l.awaited)+1, 0):]
}

// last is the last lines, to be put behind an error.
func (l *lines) last() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	tail := l.tail
	if len(l.buf) > 0 {
		tail = append(tail[:len(tail):len(tail)], string(l.buf[:min(len(l.buf), tailWidth)]))
	}
	if len(tail) == 0 {
		return "it printed nothing"
	}
	return "its last lines:\n    " + strings.Join(tail, "\n    ")
}
