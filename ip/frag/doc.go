// Package frag cuts IP packets into fragments and puts fragments together, for
// both families.
//
//	if frag.Cut(p, mtu, ids.Next(p.Src, p.Dst), &out) { … } // send out's packets
//
//	switch o := table.Add(now, p, nil, sender); {
//	case o.Whole != nil: // go on with it
//	case o.Reason != packet.NotDropped: // p is to be dropped
//	}
//
// # Theory of operation
//
// [Cut] copies headers and refers to payload: fragments share the chunks of the
// packet they are cut from. An IPv4 fragment has the options with the copied
// flag only, unless it is the first; an IPv6 fragment has the headers that
// routers look at, up to the routing header, and a Fragment header behind them.
//
// A [Table] holds datagrams of which fragments have come. Each is a list of the
// fragments themselves, in the order of their offsets, linked through the
// packets:
//
//	datagram  0        1480               4440           5920
//	list      [ first ][ fragment ]       [ fragment ]     total known: 5920
//	held        1480  +   1480          +    1480
//
// The holes of RFC 815 are what lies between. No two fragments on the list
// overlap, so none is left when the bytes held are as many as the total, which
// the last fragment tells. Fragments mostly come in order or close to it, so the
// place of a new one is looked for at the end, then from where the last one
// went. Fewer than FragmentsMax are walked, whatever an enemy sends.
//
// The whole packet is the first fragment with its headers mended, referring to
// the payload of the others. If that took more references than a packet holds
// ([packet.FragsMax]), everything behind the head is copied into large chunks.
//
// What must not be is decided as follows. A fragment that cannot be part of
// anything is refused alone: empty, of a length that is no multiple of 8, beyond
// 65,535 bytes (RFC 8200 §4.5), a first one without its upper header (RFC 7112).
// A fragment that contradicts others ends the datagram: one that overlaps (RFC
// 5722, for IPv4 too), one that has another idea of the end, a mix of ECN
// codepoints (RFC 3168 §5.3), one too many. Such a datagram stays as an empty
// entry until its time is up and swallows what still comes. The same fragment
// once more, byte for byte, is ignored. Atomic fragments (RFC 6946) and packets
// that are no fragments pass unchanged, and never meet a datagram.
//
// # Memory
//
// A fragment costs the packet and the chunks that it keeps from being used, whole
// chunks and not its share of them; chunks that neighbours on the list share are
// counted once. A datagram costs its entry. The sum never exceeds MemoryMax, nor
// the entries EntriesMax: beyond that the oldest datagram is given up. A single
// source, which for IPv6 is a network of 64 bits, has a quarter of both at most;
// beyond that its own oldest is given up, so that a flood from one place costs
// nobody else anything. Against a flood from invented sources helps only that
// fragments of one datagram follow each other closely: a datagram survives as
// long as it takes the flood to fill the table.
//
// The table's mutex is a leaf. Nobody is called with it held: what was given up
// goes to a [Sender] after unlocking, and whole packets are put together then.
//
// # Limits and omissions
//
// Super-segments are not cut; [packet.Segment] makes packets of them first. Of
// nested Fragment headers the outer one is dealt with, and the whole packet's
// Proto is ProtoFragment again. IPv6 jumbograms are never fragments. Whether a
// packet may be cut (DF, IPv6 on its way) is the caller's business, and so are
// ICMP errors: [Outcome] and [Sender] say when one is due. A whole packet's
// transport checksum is for its receiver to verify.
//
// # Documents
//
// RFC 791, 815, 1122 §3.3.2, 3168, 5722, 6864, 6946, 7112, 7739, 8200.
package frag
