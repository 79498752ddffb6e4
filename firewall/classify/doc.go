// Package classify finds out what a list of rules says of a packet, at a cost
// that hardly grows with the number of rules. It is the core under every
// dialect of rules: a face translates nft's, iptables' or the Windows
// Filtering Platform's words into rules, and keeps no packets.
//
//	t := classify.NewTable("filter")
//	input := t.NewChain("input", classify.Drop)
//	t.Edit(func(e *classify.Edit) error {
//		return e.Append(input, &classify.Rule{Exprs: []classify.Expr{
//			classify.Payload{Base: classify.Transport, Offset: 2, Len: 2, Dst: 1},
//			classify.Cmp{Op: classify.Equal, Reg: 1, Data: []byte{0, 22}},
//			new(classify.Counter),
//			classify.Verdict{Code: classify.Accept},
//		}})
//	})
//	result := t.Run(&walker, input, &classify.Input{Packet: p})
//
// # Theory of operation
//
// A rule is a list of expressions, those of nf_tables (nft(8); the kernel's
// nf_tables.h): they load fields of the packet into registers, compare them,
// and act. The first expression that fails ends the rule. The first rule that
// gives a verdict ends the chain. That is the whole meaning of a rule, and
// [Table.RunLinear] is that meaning in code.
//
// [Table.Run] gives the same results faster. When a rule is added, the
// expressions in front of its first side effect are followed symbolically: a
// field that is loaded, masked with a prefix and compared makes an interval of
// that field, and all of them make the rule's box. The boxes of a chain are
// put into a tree:
//
//	node: field ── key ──> kid      rules whose interval lies around the key
//	        └──── spill             rules too wide to be told apart by the field
//	leaf: positions of rules, ascending
//
// A packet is looked for in a node's kid and in its spill, so it meets several
// leaves, of which there are at most leavesMax on any way down. They are merged
// by position, spills being entered only when no leaf has an earlier rule, and
// each rule found there is evaluated from its first expression. So a leaf may hold too many rules, never too few, and everything
// that the tree does not understand (opaque matches, marks, connection
// tracking, sets that change) is simply not in the boxes. Counters, limits and
// sets are touched by exactly the rules that the linear walk would have brought
// as far.
//
// The rules and trees of a table are an immutable snapshot behind an atomic
// pointer. An edit builds a new one beside it, and only the trees of chains
// that it changes; a walk never waits.
//
// Register contents are in network byte order, whatever the field, so that
// order of values is order of bytes. (In nf_tables meta and ct values are in
// the machine's order; a face that translates such rules drops the conversion.)
//
// # Remembering verdicts
//
// A [Result] says whether it is the same for every packet of the flow: whether
// nothing that was looked at, by the tree or by expressions, is other than
// addresses, ports, protocols and adapters, and nothing with a memory was asked
// but counters. Those to credit for each further packet come with it.
//
// # Limits
//
// At most jumpsMax nested jumps, as in nf_tables, and entriesMax entries into
// chains for one packet; beyond that the packet is dropped. A table that is
// changed by tens of thousands of rules is fastest in one edit.
package classify
