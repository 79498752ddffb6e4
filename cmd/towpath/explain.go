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
		Long: `Has a packet walk through the rules of a file, or through a node of a lab, and
tells hook by hook, chain by chain and rule by rule which matched, or on which
condition it failed, what was translated, and the packet's fate. Where it goes
is what the node's routes say; for a file alone, the adapters written with the
packet. Nothing is sent.

PACKET is PROTOCOL SOURCE > DESTINATION, with ports for tcp and udp. Behind that
may stand TCP flags or a type of ICMP; in and out with adapters; ttl, tos, mark
and len (of the payload) with numbers; and what connection tracking is to say:
established, related, invalid or untracked.`,
		Example: "  towpath explain --lab office.yaml --node gateway 'tcp 10.1.0.2:4000 > 203.0.113.2:80 syn'\n  towpath explain --rules gateway.nft 'tcp 10.1.0.2:4000 > 203.0.113.2:80 syn in eth0 out eth1'",
		RunE: func(c *cobra.Command, args []string) error {
			text := strings.Join(args, " ")
			if text == "" {
				return errors.New("explain: no packet; write one such as 'tcp 10.1.0.2:4000 > 203.0.113.2:80 syn'")
			}
			x, err := nft.ParseProbe(text)
			if err != nil {
				return err
			}
			defer packet.Free(x.Packet)
			var e *nft.Explanation
			switch {
			case (file == "") == (labFile == ""):
				return errors.New("explain: whose rules? write --rules FILE, or --lab FILE --node NODE")
			case file != "":
				e, err = explainFile(file, x)
			default:
				var n *lab.Node
				if n, err = explained(c, labFile, node); err != nil {
					return err
				}
				e, err = n.Explain(x)
			}
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

// explainFile explains by the rules of a file alone.
func explainFile(file string, x *nft.Probe) (*nft.Explanation, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	rules, err := nft.Read(file, string(text))
	if err != nil {
		return nil, err
	}
	return nft.Explain(rules, x, nil)
}

// explained is the node of a lab that is asked about. It need not be named if it
// is the only one that has a firewall.
func explained(c *cobra.Command, file, name string) (*lab.Node, error) {
	spec, err := load(c, file, false)
	if err != nil {
		return nil, err
	}
	if n := spec.Node(name); n != nil {
		return n, nil
	}
	var names []string
	var only []*lab.Node
	for _, n := range spec.Nodes {
		if names = append(names, n.Name); n.Firewall != nil {
			only = append(only, n)
		}
	}
	if name != "" || len(only) != 1 {
		return nil, errors.New("explain: which node? write --node and one of " + strings.Join(names, ", "))
	}
	return only[0], nil
}
