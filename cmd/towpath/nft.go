package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/towpath/towpath/firewall/nft"
)

func nftCommand() *cobra.Command {
	var o nft.Options
	var file string
	var check, echo, lint bool
	c := &cobra.Command{
		Use:   "nft [-f FILE | COMMAND...]",
		Short: "Check firewall rules and print them",
		Long: `Reads rules in the language of nft(8) and prints the rules that they make, as
"nft list ruleset" does, or what the file itself lists. Mistakes are said with
file, line and column, and what to write instead. FILE may be - for the standard
input. The rules are those of the file alone; a lab's node has its own by
"firewall: FILE" in the lab's file.`,
		Example: "  towpath nft -c -f gateway.nft\n  towpath nft 'table inet t { chain c { tcp dport 22 accept; }; }'",
		RunE: func(c *cobra.Command, args []string) error {
			src, name, err := rulesText(c, file, args)
			if err != nil {
				return err
			}
			rules, lists, err := new(nft.Ruleset).Exec(name, src)
			var mistake *nft.Error
			if errors.As(err, &mistake) {
				return &failed{err}
			}
			out := c.OutOrStdout()
			if err == nil && lint {
				return lintRules(out, rules)
			}
			if err != nil || check && !echo {
				return err
			}
			if len(lists) == 0 {
				return rules.Print(out, o)
			}
			for _, l := range lists {
				if err := l.Ruleset.Print(out, o); err != nil {
					return err
				}
			}
			return nil
		},
	}
	f := c.Flags()
	f.StringVarP(&file, "file", "f", "", "read rules from `FILE`")
	f.BoolVarP(&check, "check", "c", false, "only check the rules, print nothing")
	f.BoolVar(&lint, "lint", false, "name rules that can do nothing, instead; status 1 if there are some")
	f.BoolVarP(&echo, "echo", "e", false, "print the rules even with -c")
	f.BoolVarP(&o.Handles, "handle", "a", false, "print handles")
	f.BoolVarP(&o.Stateless, "stateless", "s", false, "print no counts")
	f.BoolVarP(&o.Numeric, "numeric", "n", false, "print numbers instead of names")
	f.BoolVarP(&o.Terse, "terse", "t", false, "print no elements of sets with names")
	return c
}

// lintRules prints what is found.
func lintRules(w io.Writer, rules *nft.Ruleset) error {
	found := rules.Lint()
	for _, f := range found {
		fmt.Fprintln(w, f)
	}
	if len(found) > 0 {
		return exitStatus(1)
	}
	return nil
}

// rulesText is the text of a file or the one that stands on the command line.
func rulesText(c *cobra.Command, file string, args []string) (src, name string, err error) {
	var b []byte
	switch {
	case file == "" && len(args) == 0:
		return "", "", errors.New("nothing to read; write -f FILE, or a command such as 'add table t'")
	case file != "" && len(args) > 0:
		return "", "", errors.New("both a file and a command; write one of them")
	case file == "-":
		b, err = io.ReadAll(c.InOrStdin())
		return string(b), "(stdin)", err
	case file != "":
		b, err = os.ReadFile(file)
		return string(b), file, err
	}
	return strings.Join(args, " "), "(command)", nil
}
