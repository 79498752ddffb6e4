// Package expr compiles expressions in the language of pcap-filter(7), that of
// tcpdump, into programs of the packet filter machine.
//
//	prog, err := expr.Compile("tcp port 80 and not host 10.0.0.1", expr.Config{
//		Link: expr.EN10MB, Snaplen: 262144, Optimize: true,
//	})
//	var e *expr.Error
//	if errors.As(err, &e) {
//		fmt.Println(e)        // column 5: expected a primitive …; did you mean "port"?
//		fmt.Println(e.Show()) // the expression, with a mark below the place
//	}
//
// The language is whole: every primitive, qualifiers that are inherited,
// arithmetic and accessors, the names of files in /etc, chains of headers,
// VLAN, MPLS, PPPoE, Geneve and VXLAN, 802.11, ATM, SS7 and the log of OpenBSD's
// packet filter. Programs that are not optimized decide as those of libpcap
// 1.10.3 do, for packets that are whole, broken and truncated alike;
// testdata/differences.txt lists where they do not, and why.
//
// # Theory of operation
//
//	text → tokens → conditions → graph of blocks → optimizer → instructions
//	       lex.go   parse.go     graph.go          optimize.go graph.go
//	                link.go, gen.go, wireless.go, special.go
//
// A condition is a tree of tests of values (value.go). Values are pure and
// interned: two loads of the same bytes are one pointer. A value knows nothing
// of A and X, and a condition nothing of jumps; so the parser and what it calls
// only say what has to hold.
//
// The parser generates while it reads, from left to right, because some
// keywords move what is to the right of them: behind "vlan", offsets are four
// larger, also across "or", "not" and parentheses. Where headers are is the
// generator's place, and such keywords change it. Offsets that are known only
// when the program runs are registers, words of scratch memory; a leaf of a
// condition can set one, and what a link type always needs is set before
// everything else, if it is used at all.
//
// Conditions become blocks: a test with two ways out, a register being set, a
// search through headers, the ends. The graph has no cycles. The optimizer runs
// three passes until nothing changes. One carries along each way what is known
// of values (that one is 6 or 17, that another is not 80), and leads jumps past
// tests whose outcome is known or does not matter. One makes equal blocks one.
// One brings tests of the same value together in rows whose order is free.
// Instructions are selected last; what A and X hold on all ways to a block is
// not loaded again, and code that stands twice, because what it tests is in A for
// different reasons, is left out. The optimizer has a budget: an expression of
// thousands of tests is optimized less, not for minutes.
//
// # What the optimizer may change
//
// A load from outside the captured bytes, and a division by zero, end the
// program and refuse the packet, also under "not" and "or". An optimized
// program may leave out a load whose value does not matter, and then goes on
// where the plain one ends. On every other packet both decide alike.
//
// # Modern mode
//
// The language was made when a frame held a packet and a packet a segment. With
// [Config.Modern] a program first walks the headers: tags, labels, sessions, the
// extension headers of IPv6, and one tunnel (IP in IP, GRE, VXLAN, Geneve). What
// is asked about IP, its protocols, addresses and ports is then asked about the
// packet wherever it is, and about the one in the tunnel. Keywords like "vlan"
// remain tests, and move only what is asked about the link.
//
// # Limits
//
// Names are never looked up in the DNS. Programs have at most bpf.MaxLen
// instructions. Expressions have at most 1 MiB, and parentheses nest 500 deep.
// Operators bind as in C, also "%" and "^", for which libpcap 1.10 has no rule.
// The rare link types know what libpcap knows of them; those that it knows
// nothing about have link[…], len and the like.
package expr
