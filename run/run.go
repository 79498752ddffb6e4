package run

import (
	"fmt"
	"io"
	"syscall"
)

// Cmd is a program to be started.
type Cmd struct {
	// Args is the program and its arguments. A name without a slash is looked
	// up in PATH.
	Args           []string
	Env            []string // nil: this process's
	Dir            string   // empty: this process's
	Stdin          io.Reader
	Stdout, Stderr io.Writer
	// OwnGroup puts the program into a process group of its own, out of reach of
	// the terminal's signals.
	OwnGroup bool
	// Warn is told in one line of what cannot be served, once of each kind. It
	// is called by goroutines that others wait for. Nil: nobody is told.
	Warn func(text string)
}

// An ExitError is the end of a program that did not end well.
type ExitError struct {
	Code   int            // exit status; -1: killed
	Signal syscall.Signal // that killed it
}

func (e *ExitError) Error() string {
	if e.Code < 0 {
		return "killed: " + e.Signal.String()
	}
	return fmt.Sprintf("exit status %d", e.Code)
}
