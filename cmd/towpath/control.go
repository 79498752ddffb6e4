package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/towpath/towpath/control"
	"github.com/towpath/towpath/lab"
	"github.com/towpath/towpath/tool/tcpdump"
)

// labControlCommands are those that speak to a lab that is up.
func labControlCommands() []*cobra.Command {
	return []*cobra.Command{
		labDownCommand(), labStatusCommand(), labExecCommand(), labShellCommand(), labLogsCommand(),
		labCaptureCommand(), labImpairCommand(), labEventCommand(),
	}
}

// toLab makes a command speak to a lab, which its flag names.
func toLab(c *cobra.Command, run func(c *cobra.Command, to *control.Client, args []string) error) *cobra.Command {
	var name string
	c.Flags().StringVarP(&name, "lab", "l", "", "the lab's `NAME`; not needed if only one is up")
	c.RunE = func(c *cobra.Command, args []string) error {
		to, err := control.Dial(name)
		if err != nil {
			return &failed{err}
		}
		err = run(c, to, args)
		var told exitStatus
		if err != nil && !errors.As(err, &told) {
			return &failed{err}
		}
		return err
	}
	return c
}

func labDownCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "down [LAB]",
		Short: "Take a lab down",
		Args:  cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			to, err := control.Dial(strings.Join(args, ""))
			if err == nil {
				err = to.Down(c.Context())
			}
			if err != nil {
				return &failed{err}
			}
			return nil
		},
	}
}

func labStatusCommand() *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:   "status [PATH]",
		Short: "Show what a lab is doing, or the object at a path: /, nodes/alice, links/alice:eth0, …",
		Args:  cobra.MaximumNArgs(1),
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return toLab(c, func(c *cobra.Command, to *control.Client, args []string) error {
		path := "/lab"
		if len(args) > 0 {
			path = strings.TrimSuffix("/"+strings.Trim(args[0], "/"), "/")
		}
		return to.Stream(c.Context(), "/v1"+path, !asJSON, c.OutOrStdout())
	})
}

func labExecCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "exec NODE -- COMMAND",
		Short: "Run a tool or a program on a node",
		Long: `Run COMMAND on NODE: on a host a tool built in here, or a real program whose
sockets are the host's; on a machine a real program. The exit status is the
command's.`,
		Args: cobra.MinimumNArgs(2),
	}
	c.Flags().SetInterspersed(false) // what stands behind NODE is the command's
	return toLab(c, func(c *cobra.Command, to *control.Client, args []string) error {
		rest := args[1:]
		if rest[0] == "--" {
			rest = rest[1:]
		}
		return runOn(c.Context(), c, to, args[0], "", rest, os.Stdin)
	})
}

func runOn(ctx context.Context, c *cobra.Command, to *control.Client, node, dir string, args []string, stdin io.Reader) error {
	status, err := to.Exec(ctx, node, dir, args, stdin, c.OutOrStdout(), c.ErrOrStderr())
	switch {
	case err != nil:
		return err
	case status != 0:
		return exitStatus(status)
	}
	return nil
}

func labShellCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "shell NODE",
		Short: "Run commands on a node, one a line",
		Long: `Read commands, one a line, and run each on NODE as lab exec does. Quotes work as
in a shell; for pipes and the like write sh -c '…'. The line exit, or the end of
the input, ends it.`,
		Args: cobra.ExactArgs(1),
	}
	return toLab(c, func(c *cobra.Command, to *control.Client, args []string) error {
		prompt := func() {}
		if isTerminal(os.Stdin) {
			prompt = func() { fmt.Fprintf(c.ErrOrStderr(), "%s# ", args[0]) }
		}
		var last error
		lines := bufio.NewScanner(c.InOrStdin())
		for prompt(); lines.Scan() && c.Context().Err() == nil; prompt() {
			text := strings.TrimSpace(lines.Text())
			if text == "" || strings.HasPrefix(text, "#") {
				continue
			}
			if text == "exit" {
				break
			}
			words, err := lab.Words(text)
			if err == nil {
				err = runOn(c.Context(), c, to, args[0], "", words, nil)
			}
			var told exitStatus
			if last = err; err != nil && !errors.As(err, &told) {
				fmt.Fprintf(c.ErrOrStderr(), "towpath: %v\n", err)
				last = exitStatus(1)
			}
		}
		return errors.Join(lines.Err(), last)
	})
}

func labLogsCommand() *cobra.Command {
	var follow, all, asJSON bool
	c := &cobra.Command{
		Use:   "logs [NODE]",
		Short: "Print what programs have printed",
		Args:  cobra.MaximumNArgs(1),
	}
	c.Flags().BoolVarP(&follow, "follow", "f", false, "go on with what they will print")
	c.Flags().BoolVarP(&all, "events", "e", false, "print all events, not only what programs print")
	c.Flags().BoolVar(&asJSON, "json", false, "print one JSON object a line")
	return toLab(c, func(c *cobra.Command, to *control.Client, args []string) error {
		q := url.Values{}
		if follow {
			q.Set("follow", "")
		}
		if !all {
			q.Set("kind", lab.KindOutput)
		}
		if len(args) > 0 {
			q.Set("node", args[0])
		}
		return to.Stream(c.Context(), "/v1/events?"+q.Encode(), !asJSON, c.OutOrStdout())
	})
}

func labCaptureCommand() *cobra.Command {
	var file string
	c := &cobra.Command{
		Use:   "capture NODE:INTERFACE [-w FILE] [-- TCPDUMP OPTIONS AND EXPRESSION]",
		Short: "Capture the packets of a link",
		Long: `Print the packets of the link that an interface is on, as tcpdump does and with
its options, or write them to FILE as pcapng; - is the standard output. It ends
with Ctrl-C, with -c COUNT, or with the lab.`,
		Args: cobra.MinimumNArgs(1),
	}
	c.Flags().StringVarP(&file, "write", "w", "", "write packets to this `FILE`")
	return toLab(c, func(c *cobra.Command, to *control.Client, args []string) error {
		path := capturePath(args[0])
		switch {
		case file != "" && len(args) > 1:
			return errors.New("options of tcpdump are for what is printed; leave -w or them out")
		case file == "-":
			return whole(c.Context(), to.Stream(c.Context(), path, false, c.OutOrStdout()))
		case file != "":
			f, err := os.Create(file)
			if err != nil {
				return err
			}
			return errors.Join(whole(c.Context(), to.Stream(c.Context(), path, false, f)), f.Close())
		}
		return tcpdumpOfLink(c, to, path, args[1:])
	})
}

// capturePath is where the packets of the link are that an interface is on.
func capturePath(end string) string { return "/v1/links/" + url.PathEscape(end) + "/capture" }

// tcpdumpOfLink runs tcpdump on the packets that come from a path.
func tcpdumpOfLink(c *cobra.Command, to *control.Client, path string, args []string) error {
	ctx, cancel := context.WithCancel(c.Context())
	defer cancel()
	r, w := io.Pipe()
	copied := make(chan error, 1)
	go func() {
		err := to.Stream(ctx, path, false, w)
		w.CloseWithError(io.EOF)
		copied <- whole(ctx, err)
	}()
	status := tcpdump.Main(c.Context(), append([]string{"-l", "-r", "-"}, args...), &tcpdump.Env{
		Stdin: r, Stdout: c.OutOrStdout(), Stderr: c.ErrOrStderr(), Terminal: isTerminal(c.OutOrStdout()),
	})
	cancel()
	r.Close()
	if err := <-copied; err != nil {
		return err
	}
	if status != 0 {
		return exitStatus(status)
	}
	return nil
}

// whole is the error of something that ends when ctx does.
func whole(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	return err
}

func labImpairCommand() *cobra.Command {
	return toLab(&cobra.Command{
		Use:   "impair NODE:INTERFACE|NODE->NODE IMPAIRMENT",
		Short: "Change what happens to a link's packets, such as: alice->bob delay 10ms, loss 1%; or none",
		Args:  cobra.MinimumNArgs(2),
	}, func(c *cobra.Command, to *control.Client, args []string) error {
		return to.Do(c.Context(), "impair '"+args[0]+"' "+strings.Join(args[1:], " "))
	})
}

func labEventCommand() *cobra.Command {
	return toLab(&cobra.Command{
		Use:   "event ACTION",
		Short: "Do what a lab file's events do, such as: link down alice:eth0",
		Args:  cobra.MinimumNArgs(1),
	}, func(c *cobra.Command, to *control.Client, args []string) error {
		return to.Do(c.Context(), strings.Join(args, " "))
	})
}
