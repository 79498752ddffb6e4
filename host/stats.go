package host

// Stats counts what a host has done, beside its adapters' counters and its
// drops.
type Stats struct {
	Forwarded          uint64 // packets sent on for others
	Established        uint64 // TCP connections whose handshake was completed
	SynOverflow        uint64 // handshakes given up for newer ones
	SynCookiesSent     uint64 // SYNs answered with cookies
	SynCookiesReceived uint64 // cookies that came back
	FastOpenSent       uint64 // SYNs with data of which the peer has taken some
	FastOpenTaken      uint64 // connections that a SYN has opened for data before the handshake was complete
	FastOpenRefused    uint64 // SYNs with a wrong cookie
	FastOpenOverflow   uint64 // SYNs that a full queue kept from opening so
	TimeWaitOverflow   uint64 // connections for which TIME-WAIT had no room
	DuplicateAddresses uint64 // IPv6 addresses that turned out to be others'
	AddressConflicts   uint64 // times that somebody else used an IPv4 address of ours
	MemoryUsed         int64  // by sockets and their queues, in bytes
	TCPConnections     int    // in the table now, TIME-WAIT apart
	TCPTimeWait        int    // in TIME-WAIT now
}

// Stats returns the counters.
func (h *Host) Stats() Stats {
	ln := &h.lane
	ln.lock()
	defer ln.unlock(nil)
	s := ln.stats
	s.MemoryUsed = h.mem.used.Load()
	s.TCPTimeWait = ln.timeWait.n
	s.TCPConnections = ln.tcp.n - ln.timeWait.n
	return s
}
