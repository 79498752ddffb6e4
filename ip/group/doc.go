// Package group keeps a host's memberships in multicast groups and tells routers
// of them: the host's side of IGMPv3 and MLDv2 alike, and of the versions before.
//
//	table.Join(now, adapter, group, sender)
//	table.Listen(now, key, was, group.NewFilter(false, source), sender)
//	if table.Member(p.Ingress, p.Dst) { … } // deliver p to who wants its source
//
// # Theory of operation
//
// A membership is one group on one adapter. Any number of parties, sockets for
// the most part, listen to it, each with a [Filter] of sources. The table counts
// how many parties list a source in which mode, which makes one filter for the
// adapter:
//
//	party 1   EXCLUDE{a, b, c}
//	party 2   EXCLUDE{b, c, d}     together: EXCLUDE{b}
//	party 3   INCLUDE{c}
//
// A party is not known by name: who changes its filter tells the one before. The
// filter of a party also decides what it receives, which is the business of
// whoever delivers packets; the merged filter is for routers.
//
// There are two reasons to say something. A change of the merged filter is told
// at once and again, [Link.Robustness] times in all, after random delays, by what
// is true when it is told (change.go). A query is answered after a random delay
// of up to what it allows (query.go): about all groups by one timer for each
// adapter and family, about one by that of the group. What has become due is put
// together in as few messages as it fits. A group that is left stays in the table
// until that has been told often enough.
//
//	             Listen                   Timeout               Timeout, last
//	(none) -----------------> told once ------------> told again -------> quiet
//	        TO_EX, TO_IN,         ^                                         |
//	        ALLOW, BLOCK          |        Listen: another change           |
//	                              +-----------------------------------------+
//
// If a querier of an older version has been heard of late, the table speaks that
// version on that adapter ([Version]), in which there are groups only: a member
// reports for all, who hears another's report keeps quiet, and who reported last
// says when it leaves (RFC 2236 §6, RFC 2710 §5). IGMPv1 has no leaving. When the
// version changes, what was to be said is forgotten: the querier will ask.
//
// All nodes (224.0.0.1, ff01::1, ff02::1) are groups of which everybody is a
// member, without joining. They are never reported, nor are IPv6 groups of an
// interface's scope. Groups that no router forwards are, for bridges that listen;
// solicited-node groups are ordinary groups that somebody joins.
//
// The walk asks [Table.Member] without a lock: the memberships are an immutable
// set behind an atomic pointer, copied when one comes or goes. Everything else
// is under a mutex that is a leaf. The table sends nothing: what is to be sent
// it tells a [Sender], after unlocking.
//
// # Limits and omissions
//
// Memberships, the sources that all parties list, and the sources of queries
// that are remembered have bounds. No router's side. Reports of older versions
// do not suppress records of version 3, as they may (RFC 3376 §7.2.2).
//
// # Documents
//
// RFC 1112, 2113, 2236, 2710, 2711, 3376, 3590, 3810, 4604.
package group
