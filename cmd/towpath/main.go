// Command towpath brings up networks of user-space hosts and real machines from
// a file. See towpath help, and package lab for the file.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/towpath/towpath/lab"
	"github.com/towpath/towpath/run"
)

func main() {
	lab.Init() // does not return in the processes of machines, nor of programs on hosts
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second Ctrl-C ends us at once
	os.Exit(execute(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// execute runs the command and returns the exit status: 1 if what was asked for
// failed, 2 if it was asked wrongly.
func execute(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	root := &cobra.Command{
		Use:           "towpath",
		Short:         "A network in user space: hosts, links, captures and tools, without root",
		Args:          known,
		RunE:          func(c *cobra.Command, _ []string) error { return c.Help() },
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.AddCommand(labCommand(), doctorCommand(), versionCommand(), sockdCommand(), runCommand(), tcpdumpCommand(), nftCommand(), explainCommand())
	root.CompletionOptions.HiddenDefaultCmd = true
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	var mistakes lab.Errors
	var failure *failed
	var program *run.ExitError
	var told exitStatus
	switch {
	case err == nil:
		return 0
	case errors.As(err, &told):
		return int(told)
	case errors.As(err, &failure):
		fmt.Fprintf(stderr, "towpath: %v\n", err)
		return 1
	case errors.As(err, &program) && program.Code < 0:
		return 128 + int(program.Signal) // as shells say it
	case errors.As(err, &program):
		return program.Code
	case errors.As(err, &mistakes):
		fmt.Fprintln(stderr, err)
	default:
		fmt.Fprintf(stderr, "towpath: %v\n", err)
	}
	return 2
}

// failed is an error of what was asked for, not of how.
type failed struct{ error }

func (f *failed) Unwrap() error { return f.error }

// exitStatus is the error of a command that has said itself what went wrong.
type exitStatus int

func (s exitStatus) Error() string { return fmt.Sprintf("exit status %d", int(s)) }

func versionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version",
		Args:  cobra.NoArgs,
		Run: func(c *cobra.Command, _ []string) {
			version := "(unknown)"
			if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
				version = info.Main.Version
			}
			fmt.Fprintf(c.OutOrStdout(), "towpath %s %s %s/%s\n", version, runtime.Version(), runtime.GOOS, runtime.GOARCH)
		},
	}
}
