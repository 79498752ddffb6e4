package bench

import (
	"fmt"
	"strings"

	"github.com/towpath/towpath/firewall/conntrack"
	"github.com/towpath/towpath/firewall/nat"
	"github.com/towpath/towpath/firewall/nft"
	"github.com/towpath/towpath/host"
)

const rulesTerms = "As forward-64, with the same text of rules in the forward hook of both, in nftables' language. "

func init() {
	for _, n := range []int{10, 1000, 10_000} {
		registerRules(fmt.Sprintf("rules-%d", n), fmt.Sprintf("Forwarding through %d rules, the last of which matches", n),
			rulesTerms+"Each rule compares the destination port of UDP with another number and drops; the last "+
				"accepts that of the flood. Nothing is remembered of a flow.", linearRules(n))
	}
	registerRules("rules-classbench", "Forwarding through 1000 rules of addresses and ports, the last of which matches",
		rulesTerms+"Each rule asks for a source prefix, a destination prefix, a protocol and a range of ports, in the manner of "+
			"access lists, and drops; the last accepts.", accessRules(1000))
	registerRules("rules-tracked", "Forwarding flows that are tracked", rulesTerms+
		"The only rule accepts what belongs to a flow of connection tracking, of which there are 64.",
		"table ip t {\n chain f {\n type filter hook forward priority 0; policy drop;\n ct state new,established,related accept\n }\n}\n")
}

func registerRules(name, title, terms, rules string) {
	l := Line{
		Name: name, Title: title, Unit: "ns per packet", Terms: terms, LowerIsBetter: true,
		Contenders: map[string]func(*Run) float64{
			"towpath":          func(r *Run) float64 { return forwardTowpath(r, rules) },
			"towpath-no-rules": func(r *Run) float64 { return forwardTowpath(r, "") },
		},
		Targets: []Target{{Ours: "towpath", Peer: "towpath-no-rules"}},
	}
	if forwardKernel != nil {
		l.Namespace = true
		l.Contenders["kernel"] = func(r *Run) float64 { return forwardKernel(r, rules) }
		l.Targets = append(l.Targets, Target{Ours: "towpath", Peer: "kernel", Aim: 0.7})
	}
	register(l)
}

// linearRules are n rules of which the last accepts the flood.
func linearRules(n int) string {
	var b strings.Builder
	b.WriteString("table ip t {\n chain f {\n type filter hook forward priority 0; policy drop;\n")
	for i := range n - 1 {
		fmt.Fprintf(&b, " udp dport %d drop\n", 10_000+i)
	}
	b.WriteString(" udp dport 7777 accept\n }\n}\n")
	return b.String()
}

// accessRules are n rules of several fields each, of which the last accepts the
// flood.
func accessRules(n int) string {
	var b strings.Builder
	b.WriteString("table ip t {\n chain f {\n type filter hook forward priority 0; policy drop;\n")
	for i := range n - 1 {
		fmt.Fprintf(&b, " ip saddr 10.%d.%d.0/%d ip daddr 10.2.%d.0/24 %s dport %d-%d drop\n",
			i%4, i%251, 16+i%9, 1+i%200, []string{"tcp", "udp"}[i%2], 1024+i, 1024+i+i%100)
	}
	b.WriteString(" ip saddr 10.1.0.0/24 ip daddr 10.2.0.0/24 udp dport 7777 accept\n }\n}\n")
	return b.String()
}

func loadRules(h *host.Host, text string) {
	rules, err := nft.Read("rules", text)
	check(err)
	flows := conntrack.NewTable(conntrack.Settings{})
	c := nft.Config{}
	if strings.Contains(text, "ct ") {
		c.Conntrack, c.NAT = flows, nat.New(flows)
	}
	e, err := nft.NewEngine(c, h.AddJudge, h.RemoveJudge)
	check(err)
	check(e.Replace(rules))
}
