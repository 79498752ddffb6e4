// Package netem impairs the packets that pass an adapter: delay and jitter,
// loss, duplication, reordering, corruption, and a rate with a queue. It is a
// [link.Filter], and does what Linux's tc-netem does for a qdisc.
//
//	im, err := netem.Parse("delay 10ms jitter 2ms normal, loss 1%, rate 10mbit")
//	f := netem.New(netem.Config{Clock: h.Clock(), Seed: 1, Out: im})
//	h.Adapter("eth0").Attach(f)
//	f.Set(link.Out, netem.Impairment{}) // and the link is good again
//
// # Theory of operation
//
// Each direction is impaired apart from the other:
//
//	take     cut super-segments, complete checksums: one packet is one on a wire
//	  |
//	loss     by predicate, every n-th, Gilbert-Elliott, by chance
//	  |
//	copy     duplicates; corrupts one bit of a packet of its own
//	  |
//	queue    [ ][ ][ ]  waits for the rate; bounded, drops what comes last
//	  |
//	held     a heap by instant: delay and jitter, or none if reordered
//	  |
//	ready    due; a Runner hands it on, at most 64 at a time
//
// What happens does not depend on when somebody looks: packets leave the queue
// and the heap at computed instants, also where the clock's call comes late.
// One timer of the clock is armed for the earliest instant. When it fires, and
// whenever packets come, what is due moves to the ready list, and a
// [link.Work] delivers that without any lock of ours but the runner's turn, so
// filters, hosts and cables never nest. A direction without impairment that
// holds nothing hands its batches on at once.
//
// Chance comes from a generator of each stage, seeded by [Config.Seed], so
// switching one impairment on changes no decision of another. The same seed,
// settings and packets give the same packets at the same instants.
//
// Differences from tc-netem: the rate stands in front of the delay, as on a
// real link, so that the limit bounds the queue and not what is in flight; a
// packet reordered skips the delay but not the queue; correlated jitter keeps
// its distribution; duplicates are made of packets that were not lost.
//
// Locks: a direction's run lock, then whatever Send and Indicate lock; its mu
// is a leaf but for the clock's lock and the adapter's counters.
//
// Limits: loss, duplication, reordering and corruption have no correlation
// (bursts of loss are [Gemodel]'s), there are no ECN marks, slots or rate cells.
package netem
