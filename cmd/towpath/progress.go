package main

import (
	"fmt"
	"io"
	"os"
	"sync"
)

// A progressLine is the last line of a terminal, which tells what is going on
// and is written over. On everything else it is nothing.
type progressLine struct {
	w io.Writer // nil: no terminal

	mu    sync.Mutex
	shown bool
}

func progress(w io.Writer) *progressLine {
	if isTerminal(w) {
		return &progressLine{w: w}
	}
	return &progressLine{}
}

// isTerminal reports whether w is a terminal: a character device that is not
// the null device.
func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	fi, err := f.Stat()
	if err != nil || fi.Mode()&os.ModeCharDevice == 0 {
		return false
	}
	null, err := os.Stat(os.DevNull)
	return err != nil || !os.SameFile(fi, null)
}

// step shows a step.
func (p *progressLine) step(step, steps int, what string) {
	if p.w != nil {
		p.mu.Lock()
		defer p.mu.Unlock()
		fmt.Fprintf(p.w, "\r\x1b[K[%d/%d] %s", step, steps, what)
		p.shown = true
	}
}

// clear takes the line away.
func (p *progressLine) clear() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.shown {
		fmt.Fprint(p.w, "\r\x1b[K")
		p.shown = false
	}
}

// before is a writer to w that takes the line away first.
func (p *progressLine) before(w io.Writer) io.Writer { return &clearing{p, w} }

type clearing struct {
	p *progressLine
	w io.Writer
}

func (c *clearing) Write(b []byte) (int, error) {
	c.p.clear()
	return c.w.Write(b)
}
