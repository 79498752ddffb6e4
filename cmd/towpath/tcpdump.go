package main

import (
	"os"

	"github.com/spf13/cobra"

	"github.com/towpath/towpath/tool/tcpdump"
)

func tcpdumpCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "tcpdump [options] [expression]",
		Short: "Print, filter and write packets, with tcpdump's options",
		// Its options are not of the kind that cobra reads.
		DisableFlagParsing: true,
		RunE: func(c *cobra.Command, args []string) error {
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
