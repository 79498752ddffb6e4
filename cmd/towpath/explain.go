package main

import (
	"errors"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/towpath/towpath/firewall/nft"
	"github.com/towpath/towpath/lab"
	"github.com/towpath/towpath/packet"
)

func explainCommand() *cobra.Command {
	var file, labFile, node string
	var asJSON bool
	c := &cobra.Command{
		Use:   "explain (--rules FILE | --lab FILE --node NODE) PACKET",
		Short: "Tell what firewall rules do with a packet, and why",
		Long: `Has a packet walk through the rules of a file, or of a node of a lab, and tells
hook by hook, chain by chain and rule by rule which matched, or on which
condition it failed, what was translated, and the packet's fate. Nothing is sent.

PACKET is PROTOCOL SOURCE > DESTINATION, with ports for tcp and udp. Behind that
may stand TCP flags or a type of ICMP; in and out with adapters; ttl, tos, mark
and len (of the payload) with numbers; and what connection tracking is to say:
established, related, invalid or untracked.`,
		Example: "  towpath explain --rules gateway.nft 'tcp 10.1.0.2:4000 > 203.0.113.2:80 syn in eth0 out eth1'",
		RunE: func(c *cobra.Command, args []string) error {
			text := strings.Join(args, " ")
			if text == "" {
				return errors.New("explain: no packet; write one such as 'tcp 10.1.0.2:4000 > 203.0.113.2:80 syn'")
			}
			rules, err := explained(c, file, labFile, node)
			if err != nil {
				return err
			}
			x, err := nft.ParseProbe(text)
			if err != nil {
				return err
			}
			defer packet.Free(x.Packet)
			e, err := nft.Explain(rules, x)
			if err != nil {
				return &failed{err}
			}
			if asJSON {
				return printJSON(c.OutOrStdout(), e)
			}
			return e.Print(c.OutOrStdout())
		},
	}
	c.Flags().StringVar(&file, "rules", "", "the rules of `FILE`")
	c.Flags().StringVar(&labFile, "lab", "", "the rules of a node of the lab in `FILE`")
	c.Flags().StringVar(&node, "node", "", "the lab's `NODE`")
	jsonFlag(c, &asJSON)
	return c
}

// explained is the rules that are asked about.
func explained(c *cobra.Command, file, labFile, node string) (*nft.Ruleset, error) {
	switch {
	case (file == "") == (labFile == ""):
		return nil, errors.New("explain: whose rules? write --rules FILE, or --lab FILE --node NODE")
	case file != "":
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		rules, err := nft.Read(file, string(text))
		if err != nil {
			return nil, &failed{err}
		}
		return rules, nil
	}
	spec, err := load(c, labFile, false)
	if err != nil {
		return nil, err
	}
	return nodeRules(spec, node)
}

// nodeRules is the rules of a node, which need not be named if it is the only
// one that has some.
func nodeRules(spec *lab.Spec, name string) (*nft.Ruleset, error) {
	var have []string
	var found *lab.Node
	for _, n := range spec.Nodes {
		if n.Firewall == nil {
			continue
		}
		if have = append(have, n.Name); name == "" || n.Name == name {
			found = n
		}
	}
	switch {
	case len(have) == 0:
		return nil, errors.New("explain: no node of " + spec.File + " has a firewall; write firewall: FILE in one")
	case found == nil || name == "" && len(have) > 1:
		return nil, errors.New("explain: which node's rules? write --node and one of " + strings.Join(have, ", "))
	}
	return found.Firewall.Rules()
}
