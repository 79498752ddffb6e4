package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net/netip"
	"strings"

	"github.com/spf13/cobra"

	"github.com/towpath/towpath/posix/sockd"
)

// sockdCommand is hidden: it is for test suites, not for people.
func sockdCommand() *cobra.Command {
	return &cobra.Command{
		Use:    "sockd -rpc SOCKET {-link SOCKET | -tun NAME} -local ADDRESS/PREFIX... [-mtu N] [-clock virtual]",
		Short:  "Serve a host's sockets to a test suite",
		Hidden: true,
		// Suites write the flags with one dash.
		DisableFlagParsing: true,
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := sockdFlags(cmd, args)
			if err != nil {
				return err
			}
			s, err := sockd.Listen(*c)
			if err != nil {
				return &failed{err}
			}
			context.AfterFunc(cmd.Context(), func() { s.Close() })
			fmt.Fprintln(cmd.OutOrStdout(), "ready")
			return s.Serve()
		},
	}
}

func sockdFlags(cmd *cobra.Command, args []string) (*sockd.Config, error) {
	c := new(sockd.Config)
	f := flag.NewFlagSet("sockd", flag.ContinueOnError)
	f.SetOutput(cmd.ErrOrStderr())
	f.StringVar(&c.RPC, "rpc", "", "unix stream `socket` to make, for the calls: a line of JSON each")
	f.StringVar(&c.Link, "link", "", "unix SOCK_SEQPACKET `socket` to make, for the packets: a message each")
	f.StringVar(&c.Tun, "tun", "", "existing TUN `device`, for the packets")
	f.IntVar(&c.MTU, "mtu", 1500, "largest packet in `bytes`")
	f.Func("local", "`address` of the host, with its prefix (/16 and /48 if it has none); may be given again", func(text string) error {
		for text := range strings.SplitSeq(text, ",") {
			p, err := parseLocal(text)
			if err != nil {
				return err
			}
			c.Local = append(c.Local, p)
		}
		return nil
	})
	f.Func("clock", "`real` or virtual", func(text string) error {
		if text != "real" && text != "virtual" {
			return errors.New("there are real and virtual")
		}
		c.Virtual = text == "virtual"
		return nil
	})
	if err := f.Parse(args); err != nil {
		return nil, err
	}
	if c.RPC == "" || f.NArg() > 0 {
		return nil, errors.New("sockd needs -rpc SOCKET, and takes nothing but flags")
	}
	return c, nil
}

// parseLocal reads an address, whose prefix may be missing.
func parseLocal(text string) (netip.Prefix, error) {
	if a, err := netip.ParseAddr(text); err == nil {
		bits := 16
		if a.Is6() {
			bits = 48
		}
		return netip.PrefixFrom(a, bits), nil
	}
	return netip.ParsePrefix(text)
}
