package packet

// A Reason says why a packet was dropped. There is one reason per place that
// drops packets, so a counter leads to the line of code; the IPv4 and IPv6
// twins of one place share theirs. Engines return reasons, and the owner of
// the packet (host or adapter) counts them.
type Reason uint16

// The zero Reason means: not dropped.
const (
	NotDropped Reason = iota

	// Adapters and links.
	ReasonAdapterDown     // sent on an adapter that is down
	ReasonAdapterDownIn   // received on an adapter that is down
	ReasonAdapterClosed   // received on an adapter that nobody is bound to
	ReasonOutQueueFull    // adapter's out queue full
	ReasonOutQueueFlushed // on the adapter's out queue when it was closed
	ReasonCableQueueFull  // cable's queue full
	ReasonCableCut        // this end of the cable closed
	ReasonCableLoose      // nobody at the other end of the cable
	ReasonCableFlushed    // on the cable when it was closed
	ReasonRunnerLost      // being delivered when the deliverer panicked
	ReasonFrameTooBig     // larger than the link's MTU
	ReasonDeviceWrite     // device refused the write
	ReasonDeviceClosed    // device closed, or not started yet, while sending
	ReasonDeviceShort     // shorter than its device header
	ReasonDeviceOffload   // offload header that makes no sense
	ReasonSegmentFailed   // super-segment that cannot be cut
	ReasonNetemUncut      // impaired super-segment that cannot be cut
	ReasonNetemLossIf     // lost to a predicate of an impairment
	ReasonNetemLossEvery  // lost as every n-th
	ReasonNetemLossBurst  // lost in a burst of the Gilbert-Elliott model
	ReasonNetemLoss       // lost by chance
	ReasonNetemMemory     // impaired link holds too much
	ReasonNetemLimit      // impaired link's queue full
	ReasonNetemDownIn     // held back on its way in until the adapter was down
	ReasonNetemRunner     // being delivered after a delay when the deliverer panicked
	ReasonNetemDetached   // held back when the impairment was taken out
	ReasonBridgeShort     // shorter than an Ethernet header, or than its tag
	ReasonBridgeSource    // to be bridged, from a group's address
	ReasonBridgeReserved  // to a group that bridges do not pass on
	ReasonBridgeVLAN      // of a VLAN that is not that of the port
	ReasonBridgeBack      // for a station at the port it came in by
	ReasonBridgeGone      // for a station at a port that is down or not of the VLAN
	ReasonBridgeNobody    // for every other port, and there is none

	// Ethernet and neighbours.
	ReasonEthernetShort    // shorter than an Ethernet header
	ReasonEthernetNotForUs // unicast to another station's address
	ReasonEtherType        // EtherType without a handler
	ReasonARPMalformed     // ARP that is short or not Ethernet/IPv4
	ReasonARPSender        // ARP with a sender that cannot be one
	ReasonARPNotForUs      // ARP for somebody else's address
	ReasonARPConflict      // ARP by somebody else who uses an address of ours
	ReasonARPGratuitous    // ARP announcement that is not to be listened to
	ReasonNeighborMemory   // waiting for a neighbour, beyond the host's memory budget
	ReasonNeighborQueue    // queue of packets waiting for a neighbour full
	ReasonNeighborFailed   // neighbour did not answer
	ReasonNeighborRecent   // neighbour did not answer a moment ago
	ReasonNeighborTable    // neighbour table full
	ReasonNeighborFlushed  // waiting for a neighbour when the adapter went
	ReasonNeighborGone     // neighbour forgotten at this moment

	// IP.
	ReasonIPVersion         // neither IPv4 nor IPv6
	ReasonIPMalformed       // header shorter or longer than can be
	ReasonIPChecksum        // IPv4 header checksum wrong
	ReasonIPExtension       // IPv6 extension header malformed or not understood
	ReasonHopByHop          // IPv6 hop-by-hop option that is not known and must be
	ReasonDestOption        // IPv6 destination option that is not known and must be
	ReasonRoutingHeader     // IPv6 routing header with a way still to go (RFC 5095)
	ReasonIPOptions         // IPv4 options malformed
	ReasonIPSourceRoute     // IPv4 source route (RFC 7126)
	ReasonIPSource          // source address that cannot be one
	ReasonSourceOurs        // from another machine with one of our addresses as its source
	ReasonReversePath       // source that is routed by another adapter (rp_filter)
	ReasonIPFragment        // fragment, where reassembly does not happen
	ReasonFragMemory        // fragment beyond the host's memory budget
	ReasonFragHeader        // first fragment without the whole header chain (RFC 7112)
	ReasonFragEmpty         // fragment without payload
	ReasonFragLength        // fragment, not the last, whose length is no multiple of 8
	ReasonFragOversize      // fragment that reaches beyond 65,535 bytes
	ReasonFragDuplicate     // fragment that is there already
	ReasonFragOverlap       // fragments that overlap (RFC 5722)
	ReasonFragEnd           // fragments that disagree on the end of their datagram
	ReasonFragECN           // fragments partly ECN-capable (RFC 3168 §5.3)
	ReasonFragMany          // datagram in too many fragments
	ReasonFragAbandoned     // fragment of a datagram given up before
	ReasonFragEvicted       // fragment given up to make room for others
	ReasonFragTimeout       // fragment of a datagram not completed in time
	ReasonFragFlushed       // waiting for other fragments when the adapter went
	ReasonLoopback          // loopback destination from a link
	ReasonNotForUs          // destination not ours and forwarding off
	ReasonGroup             // multicast group that we are not in
	ReasonForwardSource     // not to be forwarded: link-local, loopback, multicast
	ReasonForwardStations   // in a frame for a group of stations, not to be forwarded
	ReasonDirectedBroadcast // to the broadcast address of another network here
	ReasonTTL               // TTL or hop limit used up
	ReasonNoRoute           // no route to the destination
	ReasonRouteBlackhole    // blackhole route
	ReasonRouteUnreachable  // unreachable route
	ReasonRouteProhibit     // prohibit route
	ReasonRouteDead         // route of several ways of which none is left
	ReasonTooBig            // larger than the path's MTU and not to be fragmented
	ReasonFragmentSuper     // super-segment that is to be fragmented and cannot be cut
	ReasonFragmentFailed    // headers that leave a fragment no room
	ReasonRule              // dropped by a judge of packets
	ReasonSocketRule        // dropped by a judge of sockets
	ReasonInjectGone        // given back behind a judge that is gone
	ReasonInjectAdapter     // given back on an adapter that is gone
	ReasonStolen            // taken over by a judge; not a loss
	ReasonProtocol          // transport protocol without a handler
	ReasonIGMPMalformed     // IGMP message too short
	ReasonIGMPChecksum      // IGMP checksum wrong
	ReasonIGMPGroup         // IGMP query about no group
	ReasonIGMPType          // IGMP message of no interest to a member
	ReasonMLDMalformed      // MLD message too short
	ReasonMLDSource         // MLD from beyond the link (RFC 2710 §3)
	ReasonMLDGroup          // MLD message about no group
	ReasonMLDType           // MLD message of no interest to a listener

	// ICMP.
	ReasonICMPMalformed      // ICMP message too short
	ReasonICMPChecksum       // ICMP checksum wrong
	ReasonICMPType           // ICMP message of no interest
	ReasonICMPQuote          // ICMP error quoting too little of a packet
	ReasonICMPNoSocket       // ICMP error about no packet of ours
	ReasonEchoIgnored        // echo request that is not to be answered
	ReasonEchoNoRoute        // no route for an echo reply
	ReasonEchoUnasked        // echo reply that nobody waits for
	ReasonNDPHopLimit        // neighbour discovery from beyond the link (RFC 4861 §7.1)
	ReasonNDPSolicit         // neighbour solicitation malformed
	ReasonNDPAdvert          // neighbour advertisement malformed
	ReasonNDPNotForUs        // neighbour solicitation for somebody else's address
	ReasonNDPConflict        // neighbour advertisement of our own address
	ReasonNDPDuplicate       // solicitation by somebody who wants the same address
	ReasonNDPLooped          // our own address probe, come back (RFC 7527)
	ReasonNDPRouter          // router advertisement malformed
	ReasonNDPRouterIgnored   // router advertisement that is not to be listened to
	ReasonNDPRedirect        // IPv6 redirect malformed or not from the first hop
	ReasonNDPRedirectIgnored // IPv6 redirect that is not to be listened to
	ReasonRedirectInvalid    // ICMP redirect malformed or not from the first hop
	ReasonRedirectIgnored    // ICMP redirect that is not to be listened to

	// UDP.
	ReasonUDPMalformed  // UDP header short or its length wrong
	ReasonUDPChecksum   // UDP checksum wrong
	ReasonUDPNoSocket   // no socket on the port
	ReasonUDPNoListener // group or broadcast datagram that nobody here listens to
	ReasonUDPSource     // group datagram of a source that nobody here wants
	ReasonUDPQueueFull  // socket's receive buffer full
	ReasonUDPMemory     // host's memory budget used up
	ReasonUDPClosed     // in the queue when its socket was closed
	ReasonUDPFilter     // not wanted by the socket's filter

	// Raw and packet sockets: of each packet they get copies.
	ReasonRawChecksum     // copy for a raw socket that wants checksums right
	ReasonRawQueueFull    // raw socket's receive buffer full
	ReasonRawMemory       // raw socket's copy beyond the host's memory budget
	ReasonRawFilter       // copy not wanted by the raw socket's filter
	ReasonPacketQueueFull // packet socket's receive buffer full
	ReasonPacketMemory    // packet socket's copy beyond the host's memory budget
	ReasonPacketClosed    // in a packet socket's queue when it was closed

	// TCP.
	ReasonTCPMalformed        // header shorter or longer than can be
	ReasonTCPChecksum         // TCP checksum wrong
	ReasonTCPNoSocket         // no connection and no listener
	ReasonTCPEnded            // for a connection that has just ended
	ReasonTCPOptions          // option lengths that cannot be
	ReasonTCPSynOptions       // likewise, in the SYN of a new connection
	ReasonTCPFlags            // combination of flags that cannot be
	ReasonTCPWindow           // outside the receive window
	ReasonTCPOldAck           // acknowledgment older than the window allows
	ReasonTCPAckUnsent        // acknowledges what was never sent
	ReasonTCPSynSentAck       // answers our SYN with another number
	ReasonTCPSynSentEcho      // echoes a timestamp that our SYN has not had
	ReasonTCPSynAckAck        // answers our SYN-ACK with another number
	ReasonTCPReset            // reset that does not fit the sequence
	ReasonTCPResetWindow      // reset outside the window
	ReasonTCPSynSentReset     // answers our SYN with a reset that acknowledges nothing
	ReasonTCPSyn              // SYN in a synchronized connection
	ReasonTCPSynWindow        // SYN outside the window
	ReasonTCPSynRepeated      // SYN of a connection in SYN-RECEIVED, again
	ReasonTCPPaws             // timestamp older than the last (RFC 7323 PAWS)
	ReasonTCPNoAck            // segment without ACK in a synchronized connection
	ReasonTCPDuplicate        // data received already
	ReasonTCPKnown            // data behind a hole, all of it there already
	ReasonTCPAfterFin         // data behind the peer's FIN
	ReasonTCPClosedWindow     // data of which nothing fits the window
	ReasonTCPPruned           // behind a hole, given up for want of memory
	ReasonTCPBuffer           // receive buffer full
	ReasonTCPClosed           // data for a closed reader
	ReasonTCPCookieRoute      // SYN to be answered with a cookie, with no way back
	ReasonTCPCookieOptions    // the same, with malformed options
	ReasonTCPCookieAck        // cookie that came back with malformed options
	ReasonTCPAcceptQueue      // completes a handshake while the listener's accept queue is full
	ReasonTCPBacklog          // listener's backlog full
	ReasonTCPSynMemory        // host's memory budget used up
	ReasonTCPMemory           // host's memory budget used up, and this connection has its share
	ReasonTCPListen           // segment to a listener that opens nothing
	ReasonTCPNotSyn           // segment that opens nothing, in a fresh connection
	ReasonTCPNoRoute          // no route to answer a SYN
	ReasonTCPTimeWait         // segment in TIME-WAIT
	ReasonTCPTimeWaitAck      // bare ACK in TIME-WAIT
	ReasonTCPTimeWaitReset    // reset that ends TIME-WAIT
	ReasonTCPTimeWaitOldReset // reset in TIME-WAIT that does not fit
	ReasonTCPTimeWaitPaws     // old timestamp in TIME-WAIT
	ReasonTCPTimeWaitOptions  // malformed options in TIME-WAIT
	ReasonTCPMD5Missing       // no MD5 signature where there must be one (RFC 2385)
	ReasonTCPMD5Unexpected    // MD5 signature of a peer without a key
	ReasonTCPMD5Wrong         // MD5 signature by another key, or of something else
	ReasonTCPDeferred         // completes a handshake that waits for data (Linux: TCP_DEFER_ACCEPT)

	// Host.
	ReasonHostClosed // host closed

	ReasonCount
)

var reasonText = [ReasonCount]string{
	NotDropped:                "not dropped",
	ReasonAdapterDown:         "adapter down",
	ReasonAdapterDownIn:       "received while adapter down",
	ReasonAdapterClosed:       "adapter not bound",
	ReasonOutQueueFull:        "adapter queue full",
	ReasonOutQueueFlushed:     "adapter queue flushed",
	ReasonCableQueueFull:      "cable queue full",
	ReasonCableCut:            "cable cut",
	ReasonCableLoose:          "cable loose at the other end",
	ReasonCableFlushed:        "cable flushed",
	ReasonRunnerLost:          "delivery lost",
	ReasonFrameTooBig:         "frame larger than MTU",
	ReasonDeviceWrite:         "device refused write",
	ReasonDeviceClosed:        "device closed",
	ReasonDeviceShort:         "device frame short",
	ReasonDeviceOffload:       "device offload header invalid",
	ReasonSegmentFailed:       "super-segment cannot be cut",
	ReasonNetemUncut:          "netem super-segment cannot be cut",
	ReasonNetemLossIf:         "netem loss by predicate",
	ReasonNetemLossEvery:      "netem loss of every n-th",
	ReasonNetemLossBurst:      "netem loss in burst",
	ReasonNetemLoss:           "netem loss",
	ReasonNetemMemory:         "netem memory full",
	ReasonNetemLimit:          "netem queue full",
	ReasonNetemDownIn:         "netem held until adapter down",
	ReasonNetemRunner:         "netem delivery lost",
	ReasonNetemDetached:       "netem detached",
	ReasonBridgeShort:         "bridge frame short",
	ReasonBridgeSource:        "bridge source is a group",
	ReasonBridgeReserved:      "bridge reserved group",
	ReasonBridgeVLAN:          "bridge vlan not of port",
	ReasonBridgeBack:          "bridge station at same port",
	ReasonBridgeGone:          "bridge station at port gone",
	ReasonBridgeNobody:        "bridge no other port",
	ReasonEthernetShort:       "ethernet header short",
	ReasonEthernetNotForUs:    "ethernet address not ours",
	ReasonEtherType:           "ethertype unknown",
	ReasonARPMalformed:        "arp malformed",
	ReasonARPSender:           "arp sender invalid",
	ReasonARPNotForUs:         "arp not for us",
	ReasonARPConflict:         "arp address conflict",
	ReasonARPGratuitous:       "arp announcement ignored",
	ReasonNeighborMemory:      "neighbour queue beyond memory budget",
	ReasonNeighborQueue:       "neighbour queue full",
	ReasonNeighborFailed:      "neighbour unreachable",
	ReasonNeighborRecent:      "neighbour unreachable still",
	ReasonNeighborTable:       "neighbour table full",
	ReasonNeighborFlushed:     "neighbour flushed",
	ReasonNeighborGone:        "neighbour forgotten",
	ReasonIPVersion:           "ip version unknown",
	ReasonIPMalformed:         "ip header malformed",
	ReasonIPChecksum:          "ip checksum wrong",
	ReasonIPExtension:         "ipv6 extension header invalid",
	ReasonHopByHop:            "ipv6 hop-by-hop option unknown",
	ReasonDestOption:          "ipv6 destination option unknown",
	ReasonRoutingHeader:       "ipv6 routing header",
	ReasonIPOptions:           "ip options invalid",
	ReasonIPSourceRoute:       "ip source route",
	ReasonIPSource:            "ip source invalid",
	ReasonSourceOurs:          "source is our own address",
	ReasonReversePath:         "reverse path filter",
	ReasonIPFragment:          "ip fragment not reassembled",
	ReasonFragMemory:          "ip fragment beyond memory budget",
	ReasonFragHeader:          "ip fragment header incomplete",
	ReasonFragEmpty:           "ip fragment empty",
	ReasonFragLength:          "ip fragment length odd",
	ReasonFragOversize:        "ip fragment beyond 65535 bytes",
	ReasonFragDuplicate:       "ip fragment duplicate",
	ReasonFragOverlap:         "ip fragments overlap",
	ReasonFragEnd:             "ip fragments disagree on end",
	ReasonFragECN:             "ip fragments disagree on ecn",
	ReasonFragMany:            "ip fragments too many",
	ReasonFragAbandoned:       "ip fragment of abandoned datagram",
	ReasonFragEvicted:         "ip fragment evicted",
	ReasonFragTimeout:         "ip reassembly timed out",
	ReasonFragFlushed:         "ip fragment flushed",
	ReasonLoopback:            "loopback destination",
	ReasonNotForUs:            "destination not ours",
	ReasonGroup:               "multicast group not joined",
	ReasonForwardSource:       "address not to be forwarded",
	ReasonForwardStations:     "frame to a group not forwarded",
	ReasonDirectedBroadcast:   "directed broadcast",
	ReasonTTL:                 "ttl exceeded",
	ReasonNoRoute:             "no route",
	ReasonRouteBlackhole:      "route is a black hole",
	ReasonRouteUnreachable:    "route is unreachable",
	ReasonRouteProhibit:       "route is prohibited",
	ReasonRouteDead:           "no way of the route left",
	ReasonTooBig:              "larger than path mtu",
	ReasonFragmentSuper:       "super-segment not to be fragmented",
	ReasonFragmentFailed:      "cannot be fragmented",
	ReasonRule:                "dropped by rule",
	ReasonSocketRule:          "refused by rule",
	ReasonInjectGone:          "judge gone",
	ReasonInjectAdapter:       "adapter gone",
	ReasonStolen:              "taken by a judge",
	ReasonProtocol:            "protocol unreachable",
	ReasonIGMPMalformed:       "igmp malformed",
	ReasonIGMPChecksum:        "igmp checksum wrong",
	ReasonIGMPGroup:           "igmp group invalid",
	ReasonIGMPType:            "igmp type ignored",
	ReasonMLDMalformed:        "mld malformed",
	ReasonMLDSource:           "mld from off the link",
	ReasonMLDGroup:            "mld group invalid",
	ReasonMLDType:             "mld type ignored",
	ReasonICMPMalformed:       "icmp malformed",
	ReasonICMPChecksum:        "icmp checksum wrong",
	ReasonICMPType:            "icmp type ignored",
	ReasonICMPQuote:           "icmp quote short",
	ReasonICMPNoSocket:        "icmp for no socket",
	ReasonEchoIgnored:         "echo request ignored",
	ReasonEchoNoRoute:         "echo reply without route",
	ReasonEchoUnasked:         "echo reply not asked for",
	ReasonNDPHopLimit:         "ndp from off the link",
	ReasonNDPSolicit:          "ndp solicitation malformed",
	ReasonNDPAdvert:           "ndp advertisement malformed",
	ReasonNDPConflict:         "ndp address conflict",
	ReasonNDPDuplicate:        "ndp duplicate address",
	ReasonNDPLooped:           "ndp probe looped back",
	ReasonNDPRouter:           "ndp router advertisement malformed",
	ReasonNDPRouterIgnored:    "ndp router advertisement ignored",
	ReasonNDPRedirect:         "ndp redirect not believed",
	ReasonNDPRedirectIgnored:  "ndp redirect ignored",
	ReasonRedirectInvalid:     "redirect not believed",
	ReasonRedirectIgnored:     "redirect ignored",
	ReasonNDPNotForUs:         "ndp not for us",
	ReasonUDPMalformed:        "udp malformed",
	ReasonUDPChecksum:         "udp checksum wrong",
	ReasonUDPNoSocket:         "udp port unreachable",
	ReasonUDPNoListener:       "udp nobody listens",
	ReasonUDPSource:           "udp source unwanted",
	ReasonUDPQueueFull:        "udp receive buffer full",
	ReasonUDPMemory:           "udp beyond host memory",
	ReasonUDPClosed:           "udp socket closed",
	ReasonUDPFilter:           "udp socket filter",
	ReasonRawChecksum:         "raw socket checksum wrong",
	ReasonRawQueueFull:        "raw socket receive buffer full",
	ReasonRawMemory:           "raw socket beyond host memory",
	ReasonRawFilter:           "raw socket filter",
	ReasonPacketQueueFull:     "packet socket receive buffer full",
	ReasonPacketMemory:        "packet socket beyond host memory",
	ReasonPacketClosed:        "packet socket closed",
	ReasonTCPMalformed:        "tcp malformed",
	ReasonTCPChecksum:         "tcp checksum wrong",
	ReasonTCPNoSocket:         "tcp port closed",
	ReasonTCPEnded:            "tcp connection ended",
	ReasonTCPOptions:          "tcp options malformed",
	ReasonTCPSynOptions:       "tcp syn options malformed",
	ReasonTCPFlags:            "tcp flags invalid",
	ReasonTCPWindow:           "tcp outside window",
	ReasonTCPOldAck:           "tcp old ack",
	ReasonTCPAckUnsent:        "tcp ack of unsent data",
	ReasonTCPSynSentAck:       "tcp ack of another syn",
	ReasonTCPSynSentEcho:      "tcp echo of another syn",
	ReasonTCPSynAckAck:        "tcp ack of another syn-ack",
	ReasonTCPReset:            "tcp reset out of sequence",
	ReasonTCPResetWindow:      "tcp reset outside window",
	ReasonTCPSynSentReset:     "tcp reset without ack",
	ReasonTCPSyn:              "tcp syn in connection",
	ReasonTCPSynWindow:        "tcp syn outside window",
	ReasonTCPSynRepeated:      "tcp syn repeated",
	ReasonTCPPaws:             "tcp timestamp old",
	ReasonTCPNoAck:            "tcp ack flag missing",
	ReasonTCPDuplicate:        "tcp duplicate data",
	ReasonTCPKnown:            "tcp data known behind hole",
	ReasonTCPAfterFin:         "tcp data after fin",
	ReasonTCPClosedWindow:     "tcp window closed",
	ReasonTCPPruned:           "tcp data pruned",
	ReasonTCPBuffer:           "tcp receive buffer full",
	ReasonTCPClosed:           "tcp reader closed",
	ReasonTCPCookieRoute:      "tcp syn cookie without route",
	ReasonTCPCookieOptions:    "tcp syn options malformed, no cookie",
	ReasonTCPCookieAck:        "tcp syn cookie came back with malformed options",
	ReasonTCPAcceptQueue:      "tcp accept queue full",
	ReasonTCPBacklog:          "tcp backlog full",
	ReasonTCPSynMemory:        "tcp syn beyond host memory",
	ReasonTCPMemory:           "tcp data beyond host memory",
	ReasonTCPListen:           "tcp segment opens nothing",
	ReasonTCPNotSyn:           "tcp segment is no syn",
	ReasonTCPNoRoute:          "tcp without route",
	ReasonTCPTimeWait:         "tcp time-wait",
	ReasonTCPTimeWaitAck:      "tcp time-wait ack",
	ReasonTCPTimeWaitReset:    "tcp time-wait reset",
	ReasonTCPTimeWaitOldReset: "tcp time-wait reset out of sequence",
	ReasonTCPTimeWaitPaws:     "tcp time-wait timestamp old",
	ReasonTCPTimeWaitOptions:  "tcp time-wait options malformed",
	ReasonTCPMD5Missing:       "tcp md5 signature missing",
	ReasonTCPMD5Unexpected:    "tcp md5 signature unexpected",
	ReasonTCPMD5Wrong:         "tcp md5 signature wrong",
	ReasonTCPDeferred:         "tcp handshake waits for data",
	ReasonHostClosed:          "host closed",
}

// String is the reason in words that people can search for.
func (r Reason) String() string {
	if r < ReasonCount && reasonText[r] != "" {
		return reasonText[r]
	}
	return "unknown reason"
}

// Counters counts drops by reason. It belongs to one owner and its lock.
type Counters [ReasonCount]uint64

// Drop ends a packet for the reason r and returns r, for the caller to count.
func Drop(p *Packet, r Reason) Reason {
	p.Trace.Note("drop", r.String())
	Free(p)
	return r
}

// Drop is [Drop] for a lane's own pool.
func (pl *Pool) Drop(p *Packet, r Reason) Reason {
	p.Trace.Note("drop", r.String())
	pl.Free(p)
	return r
}
