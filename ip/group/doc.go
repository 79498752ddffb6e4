// Package group keeps a host's memberships in multicast groups and tells routers
// of them: the host's side of IGMPv2 and MLDv1 alike.
//
//	table.Join(now, adapter, group, sender)
//	if table.Member(p.Ingress, p.Dst) { … } // deliver p
//
// # Theory of operation
//
// A membership is one group on one adapter, counted: whoever joins must leave.
// It is in a state of RFC 2236 §6, which RFC 2710 §5 repeats with other names:
//
//	                   last Leave (leave message if we reported last)
//	   +-----------------------+------------------------+
//	   v                       |                        |
//	(none) --- Join -------> DELAYING --------------> IDLE
//	           report,        ^   |     time up: report  |
//	           start timer    |   |     other's report   |
//	                          |   +--------------------->|
//	                          +--------------------------+
//	                                query: start timer
//
// A join is reported at once and once more after a random delay. A query starts
// a timer with a random delay of up to what it allows; the report of another
// member heard before that makes ours superfluous, and whoever reported last
// says when it leaves. The two protocols differ in a few constants and in the
// bytes of their messages, which [Message] writes.
//
// If the querier speaks IGMPv1, reports are of version 1 and nobody says that it
// leaves (RFC 2236 §4). Queries of IGMPv3 and MLDv2 are answered as if they were
// of the older version, which their routers accept (RFC 3376 §7.3.1, RFC 3810
// §8.3.1).
//
// All nodes (224.0.0.1, ff01::1, ff02::1) are groups of which everybody is a
// member, without joining. They are never reported, nor are other groups of
// 224.0.0.0/24, which no router forwards, nor IPv6 groups of an interface's
// scope. Solicited-node groups are ordinary groups that somebody joins.
//
// The walk asks [Table.Member] without a lock: the memberships are an immutable
// map behind an atomic pointer, copied when one comes or goes. Everything else
// is under a mutex that is a leaf. The table sends nothing: what is to be sent
// it tells a [Sender], after unlocking.
//
// # Limits and omissions
//
// No source filters (IGMPv3 and MLDv2 as a member), no router's side. MLD's
// report of a join is repeated within a second and not ten (RFC 2710 §7.10), as
// its version 2 does, because duplicate address detection waits for it.
//
// # Documents
//
// RFC 1112, 2113, 2236, 2710, 2711, 3376 §7, 3590, 3810 §8.
package group
