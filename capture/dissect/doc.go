// Package dissect tells in text what captured packets are, line for line as
// tcpdump prints them.
//
//	p := dissect.Printer{Options: dissect.Options{Verbose: 1}}
//	line := p.Append(nil, &dissect.Packet{Time: at, Data: frame, Length: len(frame), Link: wire.LinkEthernet})
//
// # Theory of operation
//
// A packet goes from header to header: link, network, transport, application;
// each has a method that prints what it finds and calls the next one's. What
// was captured of a header is a slice of bytes, beside which goes the length
// that it had on the wire: the two differ where a capture was cut to a snapshot
// length. All reads of bytes are through a few methods of text. The first that
// reaches beyond what was captured prints [|proto] and ends the packet's text:
// what is printed after it is left out, so that no printer looks after its
// reads.
//
// A [Printer] remembers of each TCP connection the first sequence numbers, to
// which it prints others relative, of at most 65,536 connections. It allocates
// nothing for packets of connections it knows.
//
// # Limits
//
// Printed are Ethernet, its VLAN tags and LLC, Linux's cooked headers, BSD's
// null header, raw IP, ARP, IPv4 and IPv6 with options, ICMP, ICMPv6 with NDP
// and MLD, IGMP, TCP, UDP, GRE, VXLAN, Geneve, MPLS, PPPoE, STP, AH, ESP, DNS,
// DHCP and NTP. Others are printed as tcpdump prints unknown ones: by their
// number and in hexadecimal.
package dissect
