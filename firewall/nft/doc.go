// Package nft is nftables: rules as text, as a tree of Go values, and as what
// judges the packets of a host.
//
//	rules, err := nft.Read("gateway.nft", text)
//	if err != nil {
//		return err // gateway.nft:7:13: there is no protocol …
//	}
//	fmt.Print(rules) // as nft list ruleset prints them
//
// # Theory of operation
//
// Text becomes tokens, and tokens become commands, each with the tree of what it
// adds. Every value is read by the type of what it stands beside, so a mistake
// is found where it is, and the tree has no names left that mean something:
//
//	text ── lex ──> tokens ── Parse ──> Script ── Exec ──> Ruleset ── Print ──> text
//	                  ^ definitions and included files are put in here
//
// A [Ruleset] is what stands in force: tables with chains, sets and objects. It
// is not changed; [Ruleset.Exec] does all of a script's commands on a copy or,
// if one of them is wrong, none. Rules are kept as nft lists them after the
// kernel has had them: what a later match implies is left out, sets are in
// order, neighbouring fields stand in the order of the header. That is what
// makes text and tree two views of one thing: Read(rs.String()) is rs.
//
// An [Engine] puts a Ruleset in force on a host. Each base chain becomes a chain
// of a classifier's table, which finds the rules that may match without looking
// at all of them; chains of one hook and priority share a judge:
//
//	Ruleset ── Load ──> chains, by hook and priority ── Engine ──> judges of the host
//	                                                        └────> chains of type nat: the NAT's
//
// A judge reads what is in force through one pointer, so replacement is one
// store. Counters and quotas belong to the tree: what was not changed goes on
// counting, and the tree prints what they have.
//
// [Explain] has one packet walk through such an engine, with rules that tell
// what they do: which condition each failed at and what the packet has there,
// translations, and the fate.
//
//	flows := conntrack.NewTable(conntrack.Settings{})
//	e, err := nft.NewEngine(nft.Config{Conntrack: flows, NAT: nat.New(flows), Now: h.Clock().Now}, h.AddJudge, h.RemoveJudge)
//	…
//	err = e.Replace(rules)
//
// # Limits
//
// Host names are not looked up, and adapters are known by name, never by
// number. The README lists what the real nft accepts and this package does not.
package nft
