package lab

import (
	"bytes"
	"fmt"
	"io"
	"sync"
)

// lineMax is how much of a line is kept back to be printed whole.
const lineMax = 64 << 10

// output prints lines of several nodes, each behind its node's name.
type output struct {
	mu    sync.Mutex
	w     io.Writer
	width int
}

func newOutput(w io.Writer, s *Spec) *output {
	o := &output{w: w}
	for _, n := range s.Nodes {
		o.width = max(o.width, len(n.Name))
	}
	return o
}

func (o *output) line(node string, text []byte) {
	o.mu.Lock()
	defer o.mu.Unlock()
	fmt.Fprintf(o.w, "%-*s | %s\n", o.width, node, text)
}

func (o *output) printf(node, format string, args ...any) {
	o.line(node, fmt.Appendf(nil, format, args...))
}

// of is a writer whose lines are the node's. Close prints a last line without
// its end.
func (o *output) of(node string) *lines { return &lines{o: o, node: node} }

type lines struct {
	o    *output
	node string

	mu  sync.Mutex
	buf []byte // an unfinished line
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
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
		l.o.line(l.node, bytes.TrimSuffix(l.buf[:i], []byte{'\r'}))
		l.buf = l.buf[end:]
	}
}

func (l *lines) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.buf) > 0 {
		l.o.line(l.node, l.buf)
		l.buf = nil
	}
	return nil
}
