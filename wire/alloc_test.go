package wire

import (
	"net/netip"
	"testing"
)

var (
	sinkAddr netip.Addr
	sinkMAC  MAC
	sinkInt  int
	sinkBool bool
)

// readPacket looks at a packet as the receive path does.
func readPacket(b []byte) {
	eth := Ethernet(b)
	if !eth.Valid() {
		return
	}
	sinkMAC = eth.Dst()
	h := IPv4(eth.Payload())
	if !h.Valid(len(h)) || !h.ChecksumOK() {
		return
	}
	sinkAddr, sinkAddr = h.Src(), h.Dst()
	t := TCP(h.Payload())
	if !t.Valid() {
		return
	}
	sinkUint32 = Sum(t, PseudoSum(h.Src(), h.Dst(), ProtoTCP, len(t)))
	var o TCPOptions
	sinkBool = o.Parse(t.Options())
	sinkInt = int(t.Seq()+t.Ack()) + int(t.Window()) + int(t.Flags()) + int(o.MSS)
}

// writePacket makes headers as the send path does.
func writePacket(b []byte) {
	o := TCPOptions{HasTS: true, TSVal: 1, TSEcr: 2}
	n := o.Len()
	PutEthernet(b, macB, macA, EtherTypeIPv4)
	PutIPv4(b[EthernetLen:], &IPv4Fields{TotalLen: IPv4Len + TCPLen + n, TTL: 64, Proto: ProtoTCP, Src: a4, Dst: b4})
	seg := b[EthernetLen+IPv4Len:]
	PutTCP(seg, &TCPFields{SrcPort: 1, DstPort: 2, Seq: 3, Ack: 4, Flags: TCPAck, Window: 5}, n)
	o.Put(seg[TCPLen:])
	seg = seg[:TCPLen+n]
	TCP(seg).SetChecksum(^Fold(Sum(seg, PseudoSum(a4, b4, ProtoTCP, len(seg)))))
}

func TestAllocs(t *testing.T) {
	buf := make([]byte, 200)
	ns, ra := NeighborSolicit(neighborSolicit), RouterAdvert(routerAdvert)
	for name, f := range map[string]func(){
		"read":  func() { readPacket(packets[0].frame) },
		"write": func() { writePacket(buf) },
		"extensions": func() {
			x, _ := WalkExtensions(chain, ProtoHopByHop)
			for o := ExtOptions(chain[x.DestAt:]).Skip(); len(o) > 0; o = o.Next() {
				sinkInt = o.Len()
			}
		},
		"ndp": func() {
			if ns.Valid() && ra.Valid() {
				sinkAddr = ns.Target()
			}
			for o := ra.Options(); len(o) > 0; o = o.Next() {
				sinkMAC, _ = o.LinkAddr()
				p, _ := o.PrefixInfo()
				sinkInt = p.Prefix.Bits()
			}
			PutNeighborSolicit(buf, a6)
			PutNeighborAdvert(buf, NDSolicited, a6)
			sinkAddr = SolicitedNode(a6)
		},
		"ipv6":    func() { PutIPv6(buf, &IPv6Fields{PayloadLen: 8, Src: a6, Dst: b6}); sinkAddr = IPv6(buf).Src() },
		"arp":     func() { PutARP(buf, ARPReply, macA, a4, macB, b4); sinkAddr = ARP(buf).SenderIP() },
		"decttl":  func() { IPv4(buf).DecTTL() },
		"records": func() { visitRecords(IGMP(igmpV3Report).Records()) },
		"copysum": func() { sinkUint32 = CopySum(buf, tcpSYN) },
	} {
		if n := testing.AllocsPerRun(100, f); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

func TestWritePacket(t *testing.T) {
	b := make([]byte, 66)
	writePacket(b)
	h := IPv4(b[EthernetLen:])
	eq(t, "ChecksumOK", h.Valid(len(h)) && h.ChecksumOK(), true)
	eq(t, "sum", Fold(Sum(h.Payload(), PseudoSum(a4, b4, ProtoTCP, h.PayloadLen()))), 0xffff)
}

func BenchmarkReadPacket(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		readPacket(packets[0].frame)
	}
}

func BenchmarkWritePacket(b *testing.B) {
	b.ReportAllocs()
	buf := make([]byte, 200)
	for b.Loop() {
		writePacket(buf)
	}
}

func BenchmarkWalkExtensions(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		x, _ := WalkExtensions(chain, ProtoHopByHop)
		sinkInt = x.Len
	}
}

func BenchmarkDecTTL(b *testing.B) {
	b.ReportAllocs()
	h := append(IPv4(nil), tcpSYN...)
	for b.Loop() {
		h.DecTTL()
	}
}
