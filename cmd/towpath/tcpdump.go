package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/towpath/towpath/control"
	"github.com/towpath/towpath/lab"
	"github.com/towpath/towpath/tool/tcpdump"
)

func tcpdumpCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "tcpdump [options] [expression]",
		Short: "Print, filter and write packets, with tcpdump's options",
		Long: `Print, filter and write packets, with tcpdump's options. Packets are those of a
file (-r) or of an interface (-i): of this system, or of a node of a lab that is
up, as NODE:INTERFACE. On a host that is its tool of this name, for which NODE:any
is all interfaces; of a machine one sees the link, as with lab capture. Files are
found and made here in any case.`,
		// Its options are not of the kind that cobra reads.
		DisableFlagParsing: true,
		RunE: func(c *cobra.Command, args []string) error {
			if d, ok := tcpdump.OnNode(args); ok {
				to, kind, err := labWith(c.Context(), d.Node)
				switch {
				case err != nil:
					return &failed{err}
				case kind == "machine":
					return told(tcpdumpOfLink(c, to, capturePath(d.Node+":"+d.Adapter), args))
				case to != nil:
					dir, err := os.Getwd()
					if err != nil {
						return &failed{err}
					}
					return told(runOn(c.Context(), c, to, d.Node, dir, append([]string{"tcpdump"}, d.Args...), nil))
				}
			}
			status := tcpdump.Main(c.Context(), args, &tcpdump.Env{
				Stdin: os.Stdin, Stdout: c.OutOrStdout(), Stderr: c.ErrOrStderr(), Terminal: isTerminal(c.OutOrStdout()),
			})
			if status != 0 {
				return exitStatus(status)
			}
			return nil
		},
	}
}

// told makes an error one of a command, if it is not an exit status.
func told(err error) error {
	var status exitStatus
	if err != nil && !errors.As(err, &status) {
		return &failed{err}
	}
	return err
}

// labWith finds the lab that has a node, and which kind of one; nil if none has.
func labWith(ctx context.Context, node string) (to *control.Client, kind string, err error) {
	names, err := control.Labs()
	if err != nil {
		return nil, "", err
	}
	var labs []string
	for _, name := range names {
		c, err := control.Dial(name)
		if err != nil {
			continue // it has gone down
		}
		var n lab.DocumentNode
		if c.Get(ctx, "/v1/nodes/"+url.PathEscape(node), &n) == nil {
			to, kind, labs = c, n.Kind, append(labs, name)
		}
	}
	if len(labs) > 1 {
		return nil, "", fmt.Errorf("several labs have a node %s; say which, of %s: towpath lab exec -l LAB %s tcpdump …", node, strings.Join(labs, ", "), node)
	}
	return to, kind, nil
}
