// Package capture sees the packets that pass adapters and hands copies of them
// to a sink, such as a file.
//
//	f, err := savefile.Create("eth0.pcap", savefile.Header{Link: capture.LinkType(adapter)})
//	t := capture.Start(f, capture.Config{})
//	adapter.AddTap(t)
//	…
//	adapter.RemoveTap(t)
//	err = errors.Join(t.Close(), f.Close())
//
// # Theory of operation
//
//	Indicate, Flush                                 the tap's goroutine
//	      |                                                 |
//	      v           +-------------------+                 v
//	  Tap: copy ----> | bank being filled |   swap   cut, complete, snap ---> Sink
//	                  | bank being written| ------->
//	                  +-------------------+
//
// The packet path does as little as can be done: it reads the clock and copies
// the packet, as it is, behind others into a bank of memory. A goroutine, the
// tap's only one, swaps the banks and does the rest. A bank has a limit, and
// what does not fit is counted in [Stats.Dropped] and left out, so that a slow
// disk or a sink that blocks never holds up a packet. Banks are used again, and
// nothing is allocated once they have grown.
//
// Copies look as on a real wire, whatever the link they were seen on: partial
// checksums are completed, and TCP super-segments are cut into the segments
// they stand for, with the time of the whole. A capture so has more packets
// than its adapter's counters where super-segments pass; in return lengths
// never exceed the MTU, sequence numbers read as TCP meant them, and every
// checksum is right or was wrong before.
//
// # Points of the walk
//
// A tap is also a judge that accepts everything, and so can stand at any point
// of a host's walk, before or behind another judge. This one sees what leaves
// as source translation has made it:
//
//	h.AddJudge(hook.Postrouting, hook.PriorityNATSrc+1, t)
//
// # Drops
//
// A tap can also be a host's observer of drops ([link.DropTap]). What is
// dropped has, by then, its link header or not, and may not even have an IP
// header yet. So all are written behind the same kind of header, Linux's cooked
// one of version 2 ([wire.LinkSLL2]), which tells the adapter, the direction
// and the station that sent it; a [DropSink] is told the reason too.
//
// A tap is to be closed. It may be on several adapters at once, if their
// packets begin with the same kind of header, or [Config.Cooked] gives them one.
package capture
