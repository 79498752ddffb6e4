package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/towpath/towpath/lab"
)

// closeMax bounds the taking down of a lab.
const closeMax = 15 * time.Second

func labCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "lab",
		Short: "Networks from a file",
		Long: `A lab is a network described in one YAML file: towpath hosts, real machines, and
the links between them. It runs as an ordinary user and leaves nothing behind.

  name: first
  nodes:
    alice: {addresses: {eth0: 10.0.0.1/24}, run: ["ping -c 3 bob"]}
    bob:   {addresses: {eth0: 10.0.0.2/24}}
  links:
    - {endpoints: ["alice:eth0", "bob:eth0"]}`,
		Args: known,
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(labUpCommand(), labCheckCommand())
	return c
}

// known refuses words that are no commands. Cobra does so for the root only.
func known(c *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	c.SuggestionsMinimumDistance = 2
	hint := "see " + c.CommandPath() + " --help"
	if near := c.SuggestionsFor(args[0]); len(near) > 0 {
		hint = fmt.Sprintf("did you mean %q?", near[0])
	}
	return fmt.Errorf("unknown command %q for %q; %s", args[0], c.CommandPath(), hint)
}

func labCheckCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "check FILE",
		Short: "Find the mistakes in a lab file, and start nothing",
		Args:  oneFile,
		RunE: func(c *cobra.Command, args []string) error {
			spec, err := load(c, args[0])
			if err == nil {
				spec.Describe(c.OutOrStdout())
			}
			return err
		},
	}
}

func labUpCommand() *cobra.Command {
	var captures string
	c := &cobra.Command{
		Use:   "up FILE",
		Short: "Bring a lab up until its programs end, or Ctrl-C",
		Long: `Bring the network of FILE up and run its programs. When they have ended, or with
Ctrl-C, everything is taken down and a summary printed. The exit status is 0 if
every program ended well, 1 if one did not or the lab could not be brought up,
and 2 if the file has mistakes.`,
		Args: oneFile,
		RunE: func(c *cobra.Command, args []string) error {
			spec, err := load(c, args[0])
			if err != nil {
				return err
			}
			return up(c.Context(), spec, captures, c.OutOrStdout())
		},
	}
	c.Flags().StringVarP(&captures, "write", "w", "", "write the packets of each link to a file in this `directory`")
	return c
}

func oneFile(c *cobra.Command, args []string) error {
	if len(args) != 1 {
		return fmt.Errorf("%s: one file is wanted, there are %d; write %s", c.CommandPath(), len(args), c.UseLine())
	}
	return nil
}

// load reads a lab file and prints the warnings.
func load(c *cobra.Command, file string) (*lab.Spec, error) {
	spec, err := lab.Load(file)
	if err != nil {
		return nil, err
	}
	for _, w := range spec.Warnings {
		fmt.Fprintf(c.ErrOrStderr(), "warning: %s\n", w.Detail())
	}
	return spec, nil
}

// up brings a lab up, runs its programs and takes it down.
func up(ctx context.Context, spec *lab.Spec, captures string, stdout io.Writer) (err error) {
	spec.Describe(stdout)
	net, err := lab.Up(ctx, spec, lab.Options{CaptureDir: captures, Output: stdout})
	if err != nil {
		return &failed{err}
	}
	if captures != "" {
		fmt.Fprintf(stdout, "captures: %s\n", filepath.Join(captures, "*.pcap"))
	}
	if !spec.Runs() {
		fmt.Fprintln(stdout, "up; end it with Ctrl-C")
	}
	fmt.Fprintln(stdout)
	err = net.Run(ctx)
	if ctx.Err() != nil {
		err = errors.New("interrupted")
		if !spec.Runs() {
			err = nil // which is how such a lab ends
		}
	}
	closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeMax)
	defer cancel()
	err = errors.Join(err, net.Close(closing))
	fmt.Fprintln(stdout)
	s := net.Summary()
	s.Print(stdout)
	if err != nil {
		return &failed{err}
	}
	return nil
}
