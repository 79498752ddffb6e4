// Package packet is the buffer in which one packet travels through a host:
// what Linux calls an sk_buff and NDIS a NET_BUFFER.
//
//	p := pool.Get()
//	p.Append(copy(p.Room(), "payload"))
//	wire.PutUDP(p.Push(wire.UDPLen), 53, 5353, wire.UDPLen+7, 0)
//	list.Push(p)
//
// # Theory of operation
//
// A packet is a short linear head followed by references to payload chunks:
//
//	Packet.head  [ free | Ethernet | IP | TCP | first payload bytes | free ]
//	                    ^off                                        ^end
//	Packet.frags   -> Chunk A [......xxxxxxxx]   -> Chunk B [xxxx......]
//
// All header bytes a host looks at are linear. Headers are pushed in front
// while a packet goes down and pulled while it goes up; the offsets Link, Net,
// Transport and Data are positions in the head, so they stay true whatever is
// pushed or pulled. Payload bytes are written once, into chunks, and everybody
// after that only refers to them: the send buffer, its segments, their
// retransmissions, the wire, the receive queue. Chunk bytes never change once
// a packet refers to them; who must edit payload calls [Packet.MakePrivate].
//
// A packet has one owner. Whoever is handed it keeps it, passes it on, or ends
// it: in [Pool.Free] or [Free] when it has served its purpose, in [Drop] with
// a [Reason] when it has not. Reference counts are on chunks only.
//
// Packets and chunks come from a [Pool], a last-in-first-out free list that
// belongs to one lane (and is guarded by that lane's lock). Pools trade with
// each other in batches through one process-wide depot, which the garbage
// collector may empty; pooled memory is never cleared.
//
// # Super-segments
//
// A packet may carry many segments' worth of one TCP stream: GSO.Size then
// says how many payload bytes each segment on a real wire may have. Its
// checksum is usually partial ([ChecksumPartial]): the field holds the folded
// pseudo-header sum only. [Segment] cuts a super-segment and [Complete]
// finishes a partial checksum, for links that cannot carry them.
package packet
