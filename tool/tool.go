// Package tool is what the tools that run on a host, in this process, have in
// common: ping, get and the rest, each a package of its own.
//
//	run, err := ping.Tool.Parse([]string{"-c", "3", "10.0.0.2"})
//	err = run(ctx, &tool.Env{Host: h, Stdout: os.Stdout, Stderr: os.Stderr})
//
// Parsing the arguments and running are two steps, so that whoever has many
// commands to run finds the mistakes in all of them before the first runs.
package tool

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"strings"

	"github.com/towpath/towpath/host"
)

// Env is where a tool runs.
type Env struct {
	Host   *host.Host
	Dir    string    // where relative names of files begin; empty: the working directory
	Stdin  io.Reader // nil: nothing
	Stdout io.Writer // results
	Stderr io.Writer // what else there is to say
}

// A Tool is a program for hosts.
type Tool struct {
	Name  string
	Usage string // one line, beginning with the name
	Short string // what it does, in one sentence
	// Parse reads arguments. Its errors say what is wrong, without the tool's
	// name and usage.
	Parse func(args []string) (Run, error)
}

// A Run runs a tool until it is done or ctx is. An error is what a program
// would exit with a status other than 0 for: an [ExitStatus] if the tool has
// said itself what went wrong.
type Run func(ctx context.Context, e *Env) error

// ExitStatus is the status that a program exits with, from 1 on.
type ExitStatus int

func (s ExitStatus) Error() string { return fmt.Sprintf("exit status %d", int(s)) }

// ParseFlags reads options, which may stand before and behind the other
// arguments, and returns these.
func ParseFlags(f *flag.FlagSet, args []string) ([]string, error) {
	f.SetOutput(io.Discard)
	f.Usage = func() {}
	var rest []string
	for {
		if err := f.Parse(args); err != nil {
			if errors.Is(err, flag.ErrHelp) {
				return nil, errors.New("help is this line")
			}
			return nil, errors.New(strings.Replace(err.Error(), "flag provided but not defined:", "there is no option", 1))
		}
		args = f.Args()
		if len(args) == 0 {
			return rest, nil
		}
		rest = append(rest, args[0])
		args = args[1:]
	}
}

// Unknown is the error of what a tool's original may know, and the tool does
// not.
type Unknown string

func (u Unknown) Error() string { return string(u) + " is not known here" }
