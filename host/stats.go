package host

import "net/netip"

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
	IPv4, IPv6         IPStats
	TCPAccepted        uint64 // of the established connections, those that others began
	TCPReceived        uint64 // segments, super-segments counted once
	TCPSent            uint64
	TCPRetransmitted   uint64
	UDPReceived        uint64 // datagrams that were queued for a socket
	UDPSent            uint64
	MemoryUsed         int64 // by sockets and their queues, in bytes
	TCPConnections     int   // in the table now, TIME-WAIT apart
	TCPTimeWait        int   // in TIME-WAIT now
}

// IPStats counts the packets of one version of IP.
type IPStats struct {
	Received  uint64 // all that came, forwarded ones too
	Delivered uint64 // handed to a transport protocol
	Sent      uint64 // made here
	ICMPIn    uint64 // messages of ICMP, or of ICMPv6, neighbour discovery included
	ICMPOut   uint64
}

// ip are the counters of the version that an address is of.
func (s *Stats) ip(a netip.Addr) *IPStats {
	if a.Is4() {
		return &s.IPv4
	}
	return &s.IPv6
}

// Stats returns the counters.
func (h *Host) Stats() Stats {
	ln := &h.lane
	ln.lock()
	defer ln.unlock(nil)
	s := ln.stats
	s.MemoryUsed = h.mem.used.Load()
	for _, c := range ln.tcp.all() {
		s.TCPRetransmitted += uint64(c.conn.Info().Retrans)
	}
	s.TCPTimeWait = ln.timeWait.n
	s.TCPConnections = ln.tcp.n - ln.timeWait.n
	return s
}
