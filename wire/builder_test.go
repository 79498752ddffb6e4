package wire

import "testing"

var (
	macA, macB = MAC{2, 0, 0, 0, 0, 1}, MAC{2, 0, 0, 0, 0, 2}
	a4, b4     = ip("192.0.2.1"), ip("198.51.100.7")
	a6, b6     = ip("2001:db8::1"), ip("2001:db8::2")
)

// packets is a frame of every kind, each made by its own line, for tests of
// text and as seeds of fuzzing.
var packets = []struct {
	name  string
	frame []byte
	text  string // as Format tells it
}{
	{"tcp syn", build(func(b *Builder) {
		b.Reset().PushTCP(TCPFields{SrcPort: 49152, DstPort: 443, Seq: 0x12345678, Flags: TCPSyn, Window: 64240},
			&TCPOptions{HasMSS: true, MSS: 1460, SACKPermitted: true, HasTS: true, TSVal: 1000000, HasWScale: true, WScale: 7}).
			PushIPv4(IPv4Fields{ID: 0x1c46, DF: true, TTL: 64, Src: a4, Dst: b4}).PushEthernet(macB, macA)
	}), "02:00:00:00:00:01 > 02:00:00:00:00:02, ethertype IPv4 (0x0800), length 74: 192.0.2.1.49152 > 198.51.100.7.443: " +
		"Flags [S], seq 305419896, win 64240, options [mss 1460,sackOK,TS val 1000000 ecr 0,nop,wscale 7], length 0"},
	{"tcp data", build(func(b *Builder) {
		b.Payload([]byte("hello")).PushTCP(TCPFields{SrcPort: 80, DstPort: 1024, Seq: 100, Ack: 7, Flags: TCPPsh | TCPAck | TCPUrg, Window: 10, Urgent: 3},
			&TCPOptions{HasTS: true, TSVal: 2, TSEcr: 1, NSACK: 1, SACK: [4]SACKBlock{{10, 20}}}).
			PushIPv6(IPv6Fields{HopLimit: 64, Src: a6, Dst: b6}).PushEthernet(macB, macA)
	}), "02:00:00:00:00:01 > 02:00:00:00:00:02, ethertype IPv6 (0x86dd), length 103: 2001:db8::1.80 > 2001:db8::2.1024: " +
		"Flags [P.U], seq 100:105, ack 7, win 10, urg 3, options [nop,nop,TS val 2 ecr 1,nop,nop,sack 1 {10:20}], length 5"},
	{"udp", build(func(b *Builder) {
		b.Payload([]byte("hello")).PushUDP(7, 54321).
			PushIPv6(IPv6Fields{TrafficClass: 0xae, FlowLabel: 0x12345, HopLimit: 64, Src: a6, Dst: b6}).PushEthernet(macB, macA)
	}), "02:00:00:00:00:01 > 02:00:00:00:00:02, ethertype IPv6 (0x86dd), length 67: 2001:db8::1.7 > 2001:db8::2.54321: UDP, length 5"},
	{"arp", build(func(b *Builder) {
		b.Reset().PushARP(ARPRequest, macA, a4, MAC{}, ip("192.0.2.2")).PushEthernet(Broadcast, macA)
	}), "02:00:00:00:00:01 > ff:ff:ff:ff:ff:ff, ethertype ARP (0x0806), length 42: Request who-has 192.0.2.2 tell 192.0.2.1, length 28"},
	{"vlan", build(func(b *Builder) {
		b.Payload([]byte("abcdefgh")).PushICMPv4(ICMPv4EchoRequest, 0, ICMPEcho(1, 2)).
			PushIPv4(IPv4Fields{TTL: 64, Src: a4, Dst: b4}).PushVLAN(5, false, 100).PushEthernet(macB, macA)
	}), "02:00:00:00:00:01 > 02:00:00:00:00:02, ethertype 802.1Q (0x8100), length 54: vlan 100, p 5, ethertype IPv4 (0x0800), " +
		"192.0.2.1 > 198.51.100.7: ICMP echo request, id 1, seq 2, length 16"},
	{"neighbour solicitation", build(func(b *Builder) {
		b.Payload(neighborSolicit[NeighborSolicitLen:]).PushNeighborSolicit(ip("fe80::2")).
			PushIPv6(IPv6Fields{HopLimit: 255, Src: ip("fe80::1"), Dst: SolicitedNode(ip("fe80::2"))}).
			PushEthernet(MulticastMAC(SolicitedNode(ip("fe80::2"))), macA)
	}), "02:00:00:00:00:01 > 33:33:ff:00:00:02, ethertype IPv6 (0x86dd), length 86: fe80::1 > ff02::1:ff00:2: " +
		"ICMP6, neighbor solicitation, who has fe80::2, length 32"},
	{"listener report", build(func(b *Builder) {
		body := make([]byte, MLDv2ReportLen+GroupRecordLen(a6, 0))
		PutGroupRecord(body[MLDv2ReportLen:], RecordToExclude, ip("ff02::fb"))
		b.Payload(body[MLDv2ReportLen:]).PushICMPv6(ICMPv6MLDv2Report, 0, 1).PushHopByHop(IPv6RouterAlert).
			PushIPv6(IPv6Fields{HopLimit: 1, NextHeader: ProtoHopByHop, Src: ip("fe80::1"), Dst: ip("ff02::16")}).
			PushEthernet(MulticastMAC(ip("ff02::16")), macA)
	}), "02:00:00:00:00:01 > 33:33:00:00:00:16, ethertype IPv6 (0x86dd), length 90: fe80::1 > ff02::16: " +
		"ICMP6, multicast listener report v2, 1 group record(s) [ff02::fb to_ex 0], length 28"},
	{"igmp", build(func(b *Builder) {
		b.Reset().PushIGMP(IGMPv2Report, 0, ip("224.0.0.251")).
			PushIPv4(IPv4Fields{TOS: 0xc0, DF: true, TTL: 1, Src: a4, Dst: ip("224.0.0.251"), Options: IPv4RouterAlert}).
			PushEthernet(MulticastMAC(ip("224.0.0.251")), macA)
	}), "02:00:00:00:00:01 > 01:00:5e:00:00:fb, ethertype IPv4 (0x0800), length 46: 192.0.2.1 > 224.0.0.251: igmp v2 report 224.0.0.251"},
	{"fragment", build(func(b *Builder) {
		b.Payload(make([]byte, 16)).PushIPv4(IPv4Fields{ID: 7, MF: true, FragOffset: 1480, TTL: 64, Proto: ProtoUDP, Src: a4, Dst: b4}).
			PushEthernet(macB, macA)
	}), "02:00:00:00:00:01 > 02:00:00:00:00:02, ethertype IPv4 (0x0800), length 50: 192.0.2.1 > 198.51.100.7: UDP, frag id 7 (1480|16)+"},
	{"fragment of IPv6", build(func(b *Builder) {
		b.Payload(make([]byte, 16)).PushUDP(1, 2).PushFragment(0, true, 7).
			PushIPv6(IPv6Fields{HopLimit: 64, Src: a6, Dst: b6}).PushEthernet(macB, macA)
	}), "02:00:00:00:00:01 > 02:00:00:00:00:02, ethertype IPv6 (0x86dd), length 86: 2001:db8::1.1 > 2001:db8::2.2: UDP, length 16, " +
		"frag id 0x00000007 (0|24)+"},
	{"ip in ip", build(func(b *Builder) {
		b.Reset().PushUDP(1, 2).PushIPv6(IPv6Fields{HopLimit: 1, Src: a6, Dst: b6}).
			PushIPv4(IPv4Fields{TTL: 1, Src: a4, Dst: b4}).PushEthernet(macB, macA)
	}), "02:00:00:00:00:01 > 02:00:00:00:00:02, ethertype IPv4 (0x0800), length 82: 192.0.2.1 > 198.51.100.7: " +
		"IP6 2001:db8::1.1 > 2001:db8::2.2: UDP, length 0"},
	{"gre", build(func(b *Builder) {
		b.Reset().PushUDP(1, 2).PushIPv4(IPv4Fields{TTL: 1, Src: a4, Dst: b4}).PushGRE(GREFields{HasKey: true, Key: 42}).
			PushIPv4(IPv4Fields{TTL: 1, Src: a4, Dst: b4}).PushEthernet(macB, macA)
	}), "02:00:00:00:00:01 > 02:00:00:00:00:02, ethertype IPv4 (0x0800), length 70: 192.0.2.1 > 198.51.100.7: " +
		"GREv0, key=0x2a, length 36: IP 192.0.2.1.1 > 198.51.100.7.2: UDP, length 0"},
	{"vxlan", build(func(b *Builder) {
		b.Reset().PushARP(ARPReply, macA, a4, macB, b4).PushEthernet(macB, macA).PushVXLAN(99).PushUDP(50000, VXLANPort).
			PushIPv4(IPv4Fields{TTL: 1, Src: a4, Dst: b4}).PushEthernet(macB, macA)
	}), "02:00:00:00:00:01 > 02:00:00:00:00:02, ethertype IPv4 (0x0800), length 92: 192.0.2.1.50000 > 198.51.100.7.4789: VXLAN, vni 99: " +
		"02:00:00:00:00:01 > 02:00:00:00:00:02, ethertype ARP (0x0806), length 42: Reply 192.0.2.1 is-at 02:00:00:00:00:01, length 28"},
	{"esp", build(func(b *Builder) {
		b.Payload(raw("00000100 00000002 00112233")).SetProto(ProtoESP).
			PushIPv4(IPv4Fields{TTL: 1, Src: a4, Dst: b4}).PushEthernet(macB, macA)
	}), "02:00:00:00:00:01 > 02:00:00:00:00:02, ethertype IPv4 (0x0800), length 46: 192.0.2.1 > 198.51.100.7: " +
		"ESP(spi=0x00000100,seq=0x2), length 12"},
	{"icmp error", build(func(b *Builder) {
		b.Payload(raw(reported)).PushICMPv4(ICMPv4Unreachable, ICMPv4PortUnreachable, 0).
			PushIPv4(IPv4Fields{TTL: 64, Src: b4, Dst: a4}).PushEthernet(macA, macB)
	}), "02:00:00:00:00:02 > 02:00:00:00:00:01, ethertype IPv4 (0x0800), length 70: 198.51.100.7 > 192.0.2.1: " +
		"ICMP 198.51.100.7 udp port 53 unreachable, length 36"},
}

func build(f func(b *Builder)) []byte {
	var b Builder
	f(&b)
	return b.Bytes()
}

// seeds are all packets and messages of the tables, with and without their
// link headers.
func seeds() [][]byte {
	s := [][]byte{
		taggedFrame, arpRequest, tcpSYN, tcpSYN[IPv4Len:], igmpReport, udp6, udp6[IPv6Len:], chain, echoRequest, fragNeeded,
		neighborSolicit, neighborAdvert, routerAdvert, igmpV3Query, igmpV3Report,
		raw("30 00 08 00 00 00 00 2a 00 00 00 07"), raw("08 00 00 00 12 34 56 00"),
	}
	for _, p := range packets {
		s = append(s, p.frame, p.frame[EthernetLen:])
	}
	return s
}

func TestBuilder(t *testing.T) {
	eqBytes(t, "tcp syn", packets[0].frame[EthernetLen:], tcpSYN)
	eqBytes(t, "udp", packets[2].frame[EthernetLen:], udp6)
	eqBytes(t, "igmp", packets[7].frame[EthernetLen:], igmpReport)
	eqBytes(t, "neighbour solicitation", packets[5].frame[EthernetLen+IPv6Len:], neighborSolicit)
}

// TestBuilderChecksums: whatever is built sums up to 0xffff.
func TestBuilderChecksums(t *testing.T) {
	for _, p := range packets {
		h := Ethernet(p.frame)
		b := h.Payload()
		var src, dst = a4, b4
		var proto Proto
		switch h.Type() {
		case EtherTypeIPv4:
			h := IPv4(b)
			eq(t, p.name+": IPv4.Valid", h.Valid(len(h)), true)
			eq(t, p.name+": ChecksumOK", h.ChecksumOK(), true)
			if h.IsFragment() {
				continue
			}
			src, dst, proto, b = h.Src(), h.Dst(), h.Proto(), h.Payload()
		case EtherTypeIPv6:
			h := IPv6(b)
			eq(t, p.name+": IPv6.Valid", h.Valid(len(h)), true)
			x, err := WalkExtensions(h.Payload(), h.NextHeader())
			eq(t, p.name+": extensions", err, ExtOK)
			src, dst, proto, b = h.Src(), h.Dst(), x.Proto, h.Payload()[x.Len:]
		}
		switch proto {
		case ProtoTCP, ProtoUDP, ProtoICMPv6:
			eq(t, p.name+": sum", Fold(Sum(b, PseudoSum(src, dst, proto, len(b)))), 0xffff)
		case ProtoICMP, ProtoIGMP:
			eq(t, p.name+": sum", Fold(Sum(b, 0)), 0xffff)
		}
	}
}

func TestBuilderKeeps(t *testing.T) {
	var b Builder
	p := b.Reset().PushTCP(TCPFields{Checksum: 0xbad}, nil).PushIPv4(IPv4Fields{TotalLen: 99, Proto: 250, Src: a4, Dst: b4}).Bytes()
	eq(t, "TCP.Checksum", TCP(p[IPv4Len:]).Checksum(), 0xbad)
	eq(t, "IPv4.TotalLen", IPv4(p).TotalLen(), 99)
	eq(t, "IPv4.Proto", IPv4(p).Proto(), 250)
	p = b.Payload([]byte{1, 2, 3}).PushIPv4(IPv4Fields{Src: a4, Dst: b4}).Bytes()
	eq(t, "Proto of a payload", IPv4(p).Proto(), ProtoRaw)
	p = b.Payload([]byte("opaque")).PushBytes([]byte{0x12, 0x34}).SetProto(ProtoSCTP).
		PushDestOpts(nil).PushIPv6(IPv6Fields{PayloadLen: 5, Src: a6, Dst: b6}).Bytes()
	eqBytes(t, "opaque header", p[IPv6Len:], append(raw("84 00 01 04 00 00 00 00 12 34"), "opaque"...))
	eq(t, "NextHeader", IPv6(p).NextHeader(), ProtoDestOpts)
	eq(t, "PayloadLen", IPv6(p).PayloadLen(), 5)
	eq(t, "Len", b.Len(), len(p))
}

// TestBuilderGrows pushes more than the headroom and reuses the memory.
func TestBuilderGrows(t *testing.T) {
	var b Builder
	payload := make([]byte, 3000)
	b.Payload(payload)
	for range 100 {
		b.PushIPv4(IPv4Fields{TTL: 1, Src: a4, Dst: b4})
	}
	h := IPv4(b.Bytes())
	eq(t, "TotalLen", h.TotalLen(), 3000+100*IPv4Len)
	eq(t, "Proto", h.Proto(), ProtoIPIP)
	n := testing.AllocsPerRun(10, func() {
		b.Payload(payload).PushUDP(1, 2).PushIPv4(IPv4Fields{TTL: 1, Src: a4, Dst: b4}).PushEthernet(macB, macA)
	})
	eq(t, "allocations", n, 0)
}

func TestBuilderMistakesPanic(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("no panic")
		}
	}()
	new(Builder).Payload(make([]byte, 70000)).PushIPv4(IPv4Fields{Src: a4, Dst: b4})
}
