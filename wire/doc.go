/*
Package wire reads and writes the header bytes of network protocols: Ethernet
and VLAN, ARP, IPv4 and IPv6 with their options and extension headers, ICMP,
neighbour discovery, IGMP and MLD, UDP, TCP, GRE, VXLAN, and what can be read of
IPsec; with the Internet checksum and a text form in tcpdump's words. It is for
code that meets every packet: nothing here allocates, except to make text.

Reading is looking at a slice through a type:

	eth := wire.Ethernet(frame)
	if !eth.Valid() || eth.Type() != wire.EtherTypeIPv4 {
		return
	}
	ip := wire.IPv4(eth.Payload())
	if !ip.Valid(len(ip)) || !ip.ChecksumOK() || ip.Proto() != wire.ProtoUDP {
		return
	}
	udp := wire.UDP(ip.Payload())
	if udp.Valid(ip.PayloadLen()) {
		fmt.Println(ip.Src(), udp.SrcPort(), udp.Payload())
	}

Writing is a Put function for a header in place, where the fast path knows
lengths and checksums itself, or a [Builder] that works them out.

# Theory of operation

A header is a view: a named []byte that begins at the header's first byte. It
owns nothing and decides nothing; what a field means for the packet's fate is
the business of whoever looks.

	slice      |<-- header -->|<-- options -->|<-- some payload -->|
	size       |<-- header -->|<-- options -->|<-- the packet to its end, here or elsewhere -->|

Valid looks at every length once. After it has said yes, no getter of the view
panics and no slice that a getter returns leaves the view. The contract has two
forms, because a packet's bytes may be split between the slice and elsewhere:

  - Where the header carries the length of its packet, Valid(size) compares it
    with size, the number of bytes from the start of this header to the end of
    the packet, at least the length of the slice.
  - Elsewhere Valid() compares the header with the slice alone.

In both forms the header, with all its options, must lie in the slice; getters
called Payload return only what the slice holds. Valid vouches for the bytes it
saw: after a setter has changed a length, ask again. Two getters ask for more:
one with an index stays below the count that its neighbour tells, and one that
names a kind of IPv4 option is for options of that kind.

A list of options is a view too. It stands at its first option, and Next is the
same list from the second on, so a loop over options needs no iterator and no
memory:

	for o := msg.Options(); len(o) > 0; o = o.Next() { … }

Setters write one field and leave checksums alone. [IPv4.DecTTL] and the
ChecksumUpdate functions change a checksum by the difference (RFC 1624).

Addresses are [netip.Addr]. A Put function that is given an address of the
wrong family panics, as [netip.Addr.As4] does: that is a mistake of the program
and not of the packet.

# Limits and omissions

Sizes end at 65,535 bytes: an IPv6 jumbogram reads as a packet without payload
and its UDP length of zero is invalid. ARP is for IPv4 over Ethernet only. GRE
is version 0 without source routes. Frames of 802.3 with LLC are recognized but
not taken apart. TCP options beyond those in [TCPOptions], multipath's among
them, are skipped. The extensions of RFC 4884 are cut off from ICMP errors, not
read. SCTP, MPLS and routing protocols are names only.

# Documents

Ethernet RFC 894, 1112, 2464, IEEE 802.1Q; ARP RFC 826, 5227; IPv4 RFC 791,
1122, 2113, 2474, 3168; IPv6 RFC 8200, 4291, 5095, 6437, 6946, 7112, 8883;
options RFC 2711, 6275; ICMP RFC 792, 1191, 1256, 1812, 4443, 4884; neighbour
discovery RFC 4861, 3971, 4191, 8106; IGMP RFC 2236, 3376; MLD RFC 2710, 3810;
UDP RFC 768; TCP RFC 9293, 2018, 2385, 5482, 5925, 7323, 7413, 9768; checksums
RFC 1071, 1624; GRE RFC 2784, 2890; VXLAN RFC 7348; IPsec RFC 4302, 4303.
*/
package wire
