// Package conntrack tracks flows: it finds out of each packet whether it begins
// a flow, belongs to one, is related to one, or to none. It does what netfilter's
// connection tracking does, by its rules, names and numbers.
//
//	t := conntrack.NewTable(conntrack.Settings{})
//	err := t.Attach(h.AddJudge)
//	…
//	for _, f := range t.List(now) {
//		fmt.Println(f) // as conntrack -L does
//	}
//
// # Theory of operation
//
// A flow has one [Entry] with two keys, one for each direction: addresses,
// ports (or what stands for them) and zone. Both keys are in one hash table, so
// that a packet of either direction is found by what it says itself. Address
// translation changes the second key before it is put there.
//
//	Prerouting, Output    tracker      key → entry? else a new one, known to
//	   priority -200                   its packet only; the protocol's state
//	                                   machine says what the packet means
//	Input, Postrouting    confirmer    helpers read, sequence numbers are
//	   last                            adjusted; a new entry goes into the table
//
// What a packet was found to be stands in its [packet.Track]. A packet that is
// dropped on its way leaves nothing: its entry never was in the table.
//
// Entries that are no more, and new ones that are not confirmed yet, stand in
// line in limbo. New entries are taken from the front of that line once it is
// long enough, so a packet that waits somewhere keeps its entry for as long as
// limboMin others take; then the entry's generation tells that it is another's.
//
// Expiry never scans. Entries hang on a wheel of slots of about a second, by
// the instant at which they must be looked at next, which is not after their
// deadline; a packet that extends its flow's life writes the deadline and
// nothing else. Each packet sweeps a few entries of the slots that are due.
// An entry whose deadline has passed is not found, swept or not.
//
// A full table gives up flows that are not assured: that have not been answered,
// or that are closing. Those hang on a list of their source's, hashed to one of
// sourceLists, and the lists are kept in order of magnitude: the oldest entry of
// a longest list goes. So who floods displaces mostly himself, and assured flows
// are never displaced; when there is nothing else left, what is new is dropped.
//
// One leaf lock guards a table. A packet takes it once or twice.
//
// # Limits and omissions
//
// SCTP and DCCP have ports, but no state machine. GRE of version 1 has the call
// ID for its key; there is no helper for PPTP. Counters of packets and bytes are
// on, unlike netfilter's. Fragments have no ports: a host that Attach is given puts
// them together before; elsewhere they are invalid.
//
// RFC 5961 challenge ACKs, RFC 7323 window scaling, RFC 2018 SACK; RFC 792 and
// RFC 4443 errors; FTP RFC 959, RFC 2428; TFTP RFC 1350.
package conntrack
