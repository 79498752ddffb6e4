package wire

import (
	"net/netip"
	"strconv"
)

// LinkType tells what the bytes of a packet begin with, in the numbers of pcap
// files.
type LinkType uint16

// Link types that are written and printed here.
const (
	LinkEthernet LinkType = 1
	LinkRaw      LinkType = 101 // IPv4 or IPv6, as the first four bits tell
	LinkIPv4     LinkType = 228
	LinkIPv6     LinkType = 229
	LinkSLL2     LinkType = 276 // Linux's cooked header: type, adapter, direction, station; not by Format
)

// Format describes a packet in one line like tcpdump's, without names for
// addresses and ports:
//
//	IP 10.0.0.1.34567 > 10.0.0.2.80: Flags [S], seq 1, win 64240, options [mss 1460], length 0
//
// Frames of Ethernet begin with their addresses, as under tcpdump -e. Any
// bytes are accepted; what makes no sense is said to be invalid.
func Format(b []byte, link LinkType) string { return string(AppendFormat(nil, b, link)) }

// AppendFormat appends what Format returns to dst.
func AppendFormat(dst, b []byte, link LinkType) []byte {
	l := line{b: dst}
	switch link {
	case LinkEthernet:
		l.ethernet(b)
	case LinkRaw, LinkIPv4, LinkIPv6:
		l.ip(b)
	default:
		l.str("link type ").num(int(link)).str(", length ").num(len(b))
	}
	return l.b
}

// FormatType is Format for a packet without its link header, of type t.
func FormatType(b []byte, t EtherType) string {
	var l line
	l.payload(b, t, true)
	return string(l.b)
}

// depthMax bounds how many headers inside others a line describes.
const depthMax = 8

// line is a line in the making. Its methods append in the order of layers:
// link, network, transport.
type line struct {
	b     []byte
	depth int
}

func (l *line) str(s string) *line { l.b = append(l.b, s...); return l }
func (l *line) num(n int) *line    { l.b = strconv.AppendInt(l.b, int64(n), 10); return l }
func (l *line) u32(n uint32) *line { l.b = strconv.AppendUint(l.b, uint64(n), 10); return l }
func (l *line) mac(m MAC) *line    { l.b = m.appendTo(l.b); return l }

func (l *line) addr(a netip.Addr) *line { l.b = a.AppendTo(l.b); return l }

func (l *line) hex(n uint32) *line {
	l.b = strconv.AppendUint(append(l.b, "0x"...), uint64(n), 16)
	return l
}

func (l *line) hex32(n uint32) *line {
	l.str("0x")
	for shift := 28; shift >= 0; shift -= 4 {
		l.b = append(l.b, hexDigits[n>>shift&15])
	}
	return l
}

func (l *line) etherType(t EtherType) *line {
	return l.str("ethertype ").str(t.String()).str(" (").
		str(string([]byte{'0', 'x', hexDigits[t>>12], hexDigits[t>>8&15], hexDigits[t>>4&15], hexDigits[t&15]})).
		str(")")
}

func (l *line) length(n int) *line { return l.str(", length ").num(n) }

// enter counts a header inside another; at the bound it says so instead.
func (l *line) enter() bool {
	l.depth++
	if l.depth > depthMax {
		l.str("…")
		return false
	}
	return true
}

func (l *line) ethernet(b []byte) {
	h := Ethernet(b)
	if !h.Valid() {
		l.str("[invalid ethernet]").length(len(b))
		return
	}
	l.mac(h.Src()).str(" > ").mac(h.Dst())
	if h.Type().IsLength() {
		l.str(", 802.3").length(len(b))
		return
	}
	l.str(", ").etherType(h.Type()).length(len(b)).str(": ")
	l.payload(h.Payload(), h.Type(), false)
}

// payload describes what an EtherType announces; named tells whether the line
// is still to say which protocol that is.
func (l *line) payload(b []byte, t EtherType, named bool) {
	if !l.enter() {
		return
	}
	switch t {
	case EtherTypeVLAN, EtherTypeQinQ:
		h := VLAN(b)
		if !h.Valid() {
			l.str("[invalid vlan]").length(len(b))
			return
		}
		l.vlan(h)
		l.str(", ")
		l.payload(h.Payload(), h.Type(), false)
	case EtherTypeARP:
		if named {
			l.str("ARP, ")
		}
		l.arp(b)
		l.length(len(b))
	case EtherTypeIPv4:
		l.ipv4(b, named)
	case EtherTypeIPv6:
		l.ipv6(b, named)
	case EtherTypeTEB:
		l.ethernet(b)
	default:
		if named {
			l.etherType(t).str(", ")
		}
		l.str("length ").num(len(b))
	}
}

func (l *line) vlan(h VLAN) {
	l.str("vlan ").num(int(h.ID())).str(", p ").num(int(h.PCP()))
	if h.DEI() {
		l.str(", DEI")
	}
	l.str(", ").etherType(h.Type())
}

func (l *line) arp(b []byte) {
	h := ARP(b)
	switch {
	case !h.Valid():
		l.str("[invalid arp]")
	case h.Op() == ARPRequest:
		l.str("Request who-has ").addr(h.TargetIP())
		if !h.TargetMAC().IsZero() {
			l.str(" (").mac(h.TargetMAC()).str(")")
		}
		l.str(" tell ").addr(h.SenderIP())
	case h.Op() == ARPReply:
		l.str("Reply ").addr(h.SenderIP()).str(" is-at ").mac(h.SenderMAC())
	default:
		l.str("op ").num(int(h.Op())).str(", ").addr(h.SenderIP()).str(" > ").addr(h.TargetIP())
	}
}

// ip describes a packet of the version that its first four bits tell.
func (l *line) ip(b []byte) {
	if !l.enter() {
		return
	}
	if len(b) > 0 && b[0]>>4 == 6 {
		l.ipv6(b, true)
	} else {
		l.ipv4(b, true)
	}
}

// sizeMax is larger than any length a header can hold; views are asked with it
// whether a header is sound whatever became of the payload.
const sizeMax = 1 << 20

func (l *line) ipv4(b []byte, named bool) {
	h := IPv4(b)
	if named {
		l.str("IP ")
	}
	if !h.Valid(sizeMax) {
		l.str("[invalid ip]").length(len(b))
		return
	}
	l.truncated(h.TotalLen() - len(b))
	if h.FragOffset() > 0 {
		l.addr(h.Src()).str(" > ").addr(h.Dst()).str(": ").str(h.Proto().String())
	} else {
		l.transport(h.Src(), h.Dst(), h.Proto(), h.Payload(), h.PayloadLen())
	}
	if h.IsFragment() {
		l.str(", frag id ").num(int(h.ID())).str(" (").num(h.FragOffset()).str("|").num(h.PayloadLen()).str(")")
		if h.MoreFragments() {
			l.str("+")
		}
	}
}

func (l *line) truncated(n int) {
	if n > 0 {
		l.str("truncated-ip - ").num(n).str(" bytes missing! ")
	}
}

func (l *line) ipv6(b []byte, named bool) {
	h := IPv6(b)
	if named {
		l.str("IP6 ")
	}
	if !h.Valid(sizeMax) {
		l.str("[invalid ip6]").length(len(b))
		return
	}
	l.truncated(h.TotalLen() - len(b))
	p := h.Payload()
	x, err := WalkExtensions(p, h.NextHeader())
	switch {
	case err != ExtOK:
		l.addr(h.Src()).str(" > ").addr(h.Dst()).str(": [").str(err.String()).str("]").length(h.PayloadLen())
	case x.FragOffset > 0:
		l.addr(h.Src()).str(" > ").addr(h.Dst()).str(": ").str(x.Proto.String())
	default:
		l.transport(h.Src(), h.Dst(), x.Proto, p[x.Len:], h.PayloadLen()-x.Len)
	}
	if err == ExtOK && x.Fragment {
		l.str(", frag id ").hex32(x.FragID).str(" (").num(x.FragOffset).str("|").
			num(h.PayloadLen() - x.FragmentAt - FragmentLen).str(")")
		if x.MoreFragments {
			l.str("+")
		}
	}
}

// transport describes what IP carries: b, of n bytes of which some may be
// missing.
func (l *line) transport(src, dst netip.Addr, p Proto, b []byte, n int) {
	switch p {
	case ProtoTCP:
		if h := TCP(b); h.Valid() {
			l.ports(src, dst, h.SrcPort(), h.DstPort())
			l.tcp(h, n-h.HeaderLen())
			l.length(n - h.HeaderLen())
			return
		}
	case ProtoUDP:
		if h := UDP(b); h.Valid(sizeMax) {
			l.ports(src, dst, h.SrcPort(), h.DstPort())
			l.udp(h)
			return
		}
	}
	l.addr(src).str(" > ").addr(dst).str(": ")
	switch p {
	case ProtoTCP:
		l.str("[invalid tcp]").length(n)
	case ProtoUDP:
		l.str("[invalid udp]").length(n)
	case ProtoICMP:
		l.str("ICMP ")
		l.icmpv4(b)
		l.length(n)
	case ProtoICMPv6:
		l.str("ICMP6, ")
		l.icmpv6(b)
		l.length(n)
	case ProtoIGMP:
		l.str("igmp ")
		l.igmp(b)
	case ProtoIPIP, ProtoIPv6:
		l.ip(b)
	case ProtoGRE:
		l.gre(b, n)
	case ProtoESP:
		l.esp(b)
		l.length(n)
	case ProtoNoNext:
		l.str("no next header")
	default:
		l.str(p.String()).length(n)
	}
}

func (l *line) ports(src, dst netip.Addr, sp, dp uint16) {
	l.addr(src).str(".").num(int(sp)).str(" > ").addr(dst).str(".").num(int(dp)).str(": ")
}

// tcp describes a header that precedes n bytes of payload.
func (l *line) tcp(h TCP, n int) {
	f := h.Flags()
	l.str("Flags ")
	l.b = f.appendTo(l.b)
	if n > 0 || f&(TCPSyn|TCPFin|TCPRst) != 0 {
		l.str(", seq ").u32(h.Seq())
		if n > 0 {
			l.str(":").u32(h.Seq() + uint32(n))
		}
	}
	if f&TCPAck != 0 {
		l.str(", ack ").u32(h.Ack())
	}
	l.str(", win ").num(int(h.Window()))
	if f&TCPUrg != 0 {
		l.str(", urg ").num(int(h.Urgent()))
	}
	if len(h.Options()) > 0 {
		l.str(", options [")
		l.tcpOptions(h.Options())
		l.str("]")
	}
}

func (l *line) tcpOptions(b []byte) {
	for first := true; len(b) > 0; first = false {
		if !first {
			l.str(",")
		}
		kind := TCPOptionKind(b[0])
		if kind <= TCPOptNop {
			l.str(kind.String())
			if kind == TCPOptEnd {
				return
			}
			b = b[1:]
			continue
		}
		if len(b) < 2 || b[1] < 2 || int(b[1]) > len(b) {
			l.str("[bad opt]")
			return
		}
		l.tcpOption(kind, b[:b[1]])
		b = b[b[1]:]
	}
}

func (l *line) tcpOption(kind TCPOptionKind, b []byte) {
	var o TCPOptions
	o.take(b)
	l.str(kind.String())
	switch {
	case o.HasMSS:
		l.str(" ").num(int(o.MSS))
	case o.HasWScale:
		l.str(" ").num(int(o.WScale))
	case o.HasTS:
		l.str(" val ").u32(o.TSVal).str(" ecr ").u32(o.TSEcr)
	case o.NSACK > 0:
		l.str(" ").num(o.NSACK).str(" ")
		for _, s := range o.SACK[:o.NSACK] {
			l.str("{").u32(s.Left).str(":").u32(s.Right).str("}")
		}
	case o.HasUserTimeout:
		l.str(" ").hex(uint32(o.UserTimeout))
	case o.HasFastOpen && len(o.FastOpen) == 0:
		l.str(" cookiereq")
	case o.HasFastOpen:
		l.str(" cookie ")
		for _, c := range o.FastOpen {
			l.b = append(l.b, hexDigits[c>>4], hexDigits[c&15])
		}
	}
}

func (l *line) udp(h UDP) {
	if v := VXLAN(h.Payload()); h.DstPort() == VXLANPort && v.Valid() && l.enter() {
		l.vxlan(v)
		l.str(": ")
		l.ethernet(v.Payload())
		return
	}
	l.str("UDP").length(h.Len() - UDPLen)
}

func (l *line) vxlan(h VXLAN) { l.str("VXLAN, vni ").u32(h.VNI()) }

func (l *line) gre(b []byte, n int) {
	h := GRE(b)
	if !h.Valid() {
		l.str("[invalid gre]").length(n)
		return
	}
	l.greHeader(h)
	l.length(n).str(": ")
	l.payload(h.Payload(), h.Type(), true)
}

func (l *line) greHeader(h GRE) {
	l.str("GREv0")
	if h.HasKey() {
		l.str(", key=").hex(h.Key())
	}
	if h.HasSeq() {
		l.str(", seq ").u32(h.Seq())
	}
}

func (l *line) esp(b []byte) {
	h := ESP(b)
	if !h.Valid() {
		l.str("[invalid esp]")
		return
	}
	l.str("ESP(spi=").hex32(h.SPI()).str(",seq=").hex(h.Seq()).str(")")
}

func (l *line) icmpv4(b []byte) {
	h := ICMPv4(b)
	if !h.Valid() {
		l.str("[invalid icmp]")
		return
	}
	switch h.Type() {
	case ICMPv4EchoRequest, ICMPv4EchoReply, ICMPv4TimestampRequest, ICMPv4TimestampReply:
		l.str(h.Type().String()).str(", id ").num(int(h.ID())).str(", seq ").num(int(h.Seq()))
	case ICMPv4Unreachable:
		l.unreachable(h)
	case ICMPv4Redirect:
		l.str("redirect ")
		if o := IPv4(h.Original()); o.Valid(sizeMax) {
			l.addr(o.Dst()).str(" ")
		}
		l.str("to host ").addr(h.Gateway())
	case ICMPv4TimeExceeded:
		if h.Code() == ICMPv4ReassemblyExceeded {
			l.str("ip reassembly time exceeded")
		} else {
			l.str("time exceeded in-transit")
		}
	case ICMPv4ParamProblem:
		l.str("parameter problem - octet ").num(h.Pointer())
	default:
		l.str(h.Type().String()).str(", code ").num(int(h.Code()))
	}
}

// unreachable names what of the reported packet was not reached.
func (l *line) unreachable(h ICMPv4) {
	o := IPv4(h.Original())
	known := o.Valid(sizeMax)
	switch code := h.Code(); {
	case code == ICMPv4PortUnreachable && known && len(o.Payload()) >= 4:
		l.addr(o.Dst()).str(" ").str(lower(o.Proto().String())).
			str(" port ").num(int(UDP(o.Payload()).DstPort())).str(" unreachable")
	case code == ICMPv4ProtoUnreachable && known:
		l.addr(o.Dst()).str(" protocol ").num(int(o.Proto())).str(" unreachable")
	case code == ICMPv4HostUnreachable && known:
		l.str("host ").addr(o.Dst()).str(" unreachable")
	case code == ICMPv4NetUnreachable && known:
		l.str("net ").addr(o.Dst()).str(" unreachable")
	case code == ICMPv4FragNeeded && known:
		l.addr(o.Dst()).str(" unreachable - need to frag (mtu ").num(h.MTU()).str(")")
	case (code == ICMPv4AdminProhibited || code == ICMPv4HostProhibited || code == ICMPv4NetProhibited) && known:
		l.str("host ").addr(o.Dst()).str(" unreachable - admin prohibited")
	default:
		l.str("unreachable, code ").num(int(code))
	}
}

func lower(s string) string {
	b := []byte(s)
	for i, c := range b {
		if 'A' <= c && c <= 'Z' {
			b[i] = c + 'a' - 'A'
		}
	}
	return string(b)
}

func (l *line) icmpv6(b []byte) {
	h := ICMPv6(b)
	if !h.Valid() {
		l.str("[invalid icmp6]")
		return
	}
	switch t := h.Type(); t {
	case ICMPv6EchoRequest, ICMPv6EchoReply:
		l.str(t.String()).str(", id ").num(int(h.ID())).str(", seq ").num(int(h.Seq()))
	case ICMPv6Unreachable:
		l.str("destination unreachable, ").str(unreachable6(h.Code()))
		l.original6(h)
	case ICMPv6PacketTooBig:
		l.str("packet too big, mtu ").num(h.MTU())
	case ICMPv6TimeExceeded:
		if h.Code() == ICMPv6ReassemblyExceeded {
			l.str("ip reassembly time exceeded")
		} else {
			l.str("time exceeded in-transit")
		}
		l.original6(h)
	case ICMPv6ParamProblem:
		l.str("parameter problem, code ").num(int(h.Code())).str(", octet ").num(h.Pointer())
	default:
		l.ndp(h)
	}
}

func unreachable6(code uint8) string {
	switch code {
	case ICMPv6NoRoute:
		return "unreachable route"
	case ICMPv6AdminProhibited:
		return "unreachable prohibited"
	case ICMPv6BeyondScope:
		return "beyond scope"
	case ICMPv6AddressUnreachable:
		return "unreachable address"
	case ICMPv6PortUnreachable:
		return "unreachable port"
	case ICMPv6PolicyFail:
		return "policy fail"
	case ICMPv6RejectRoute:
		return "reject route"
	}
	return "code " + strconv.Itoa(int(code))
}

// original6 names the destination, protocol and port of the packet that an
// error reports on, as far as they can be read.
func (l *line) original6(h ICMPv6) {
	o := IPv6(h.Original())
	if !o.Valid(sizeMax) {
		return
	}
	l.str(", ").addr(o.Dst())
	x, err := WalkExtensions(o.Payload(), o.NextHeader())
	if err != ExtOK || x.FragOffset > 0 {
		return
	}
	if p := o.Payload()[x.Len:]; (x.Proto == ProtoUDP || x.Proto == ProtoTCP) && len(p) >= 4 {
		l.str(" ").str(lower(x.Proto.String())).str(" port ").num(int(UDP(p).DstPort()))
	}
}

// ndp describes neighbour discovery and multicast listeners, and names
// whatever else ICMPv6 has.
func (l *line) ndp(h ICMPv6) {
	t := h.Type()
	l.str(t.String())
	switch {
	case NeighborSolicit(h).Valid():
		l.str(", who has ").addr(NeighborSolicit(h).Target())
	case NeighborAdvert(h).Valid():
		l.str(", tgt is ").addr(NeighborAdvert(h).Target())
		l.ndFlags(NeighborAdvert(h).Flags())
	case Redirect(h).Valid():
		l.str(", ").addr(Redirect(h).Destination()).str(" to ").addr(Redirect(h).Target())
	case RouterAdvert(h).Valid():
		l.str(", router lifetime ").num(int(RouterAdvert(h).Lifetime())).str("s")
	case RouterSolicit(h).Valid():
	case MLD(h).Valid():
		l.str(" ").addr(MLD(h).Group())
	case MLDv2Report(h).Valid():
		l.records(MLDv2Report(h).Records())
	case t.IsNDP() || t == ICMPv6MLDv2Report || t >= ICMPv6MLDQuery && t <= ICMPv6MLDDone:
		l.str(" [invalid]")
	}
}

func (l *line) ndFlags(f NDFlags) {
	if f == 0 {
		return
	}
	l.str(", flags [")
	sep := ""
	for _, v := range [...]struct {
		bit  NDFlags
		name string
	}{{NDRouter, "router"}, {NDSolicited, "solicited"}, {NDOverride, "override"}} {
		if f&v.bit != 0 {
			l.str(sep).str(v.name)
			sep = ", "
		}
	}
	l.str("]")
}

func (l *line) igmp(b []byte) {
	h := IGMP(b)
	switch {
	case !h.Valid():
		l.str("[invalid igmp]")
	case h.Type() == IGMPv3Report:
		l.str("v3 report")
		l.records(h.Records())
	case h.IsV3Query():
		l.str("query v3 ").addr(h.Group())
	default:
		l.str(h.Type().String()).str(" ").addr(h.Group())
	}
}

// records lists at most four group records.
func (l *line) records(r GroupRecords) {
	l.str(", ").num(r.n).str(" group record(s)")
	for i := 0; r.More() && i < 4; i, r = i+1, r.Next() {
		l.str(" [").addr(r.Group()).str(" ").str(r.Type().String()).str(" ").num(r.NumSources()).str("]")
	}
}

// text collects what a String method appends.
func text(describe func(l *line)) string {
	var l line
	describe(&l)
	return string(l.b)
}

// String describes the header: addresses and type.
func (h Ethernet) String() string {
	if !h.Valid() {
		return "[invalid ethernet]"
	}
	return text(func(l *line) { l.mac(h.Src()).str(" > ").mac(h.Dst()).str(", ").etherType(h.Type()) })
}

// String describes the tag: "vlan 7, p 0, ethertype IPv4 (0x0800)".
func (h VLAN) String() string {
	if !h.Valid() {
		return "[invalid vlan]"
	}
	return text(func(l *line) { l.vlan(h) })
}

// String describes the packet: "Request who-has 10.0.0.2 tell 10.0.0.1".
func (h ARP) String() string { return text(func(l *line) { l.arp(h) }) }

// String describes the header, not the payload.
func (h IPv4) String() string {
	if !h.Valid(sizeMax) {
		return "[invalid ip]"
	}
	return text(func(l *line) {
		l.str("IP (tos ").hex(uint32(h.TOS())).str(", ttl ").num(int(h.TTL())).str(", id ").num(int(h.ID())).
			str(", offset ").num(h.FragOffset()).str(", flags [").str(h.Flags().String()).
			str("], proto ").str(h.Proto().String()).str(" (").num(int(h.Proto())).str(")").length(h.TotalLen())
		if len(h.Options()) > 0 {
			l.str(", options (")
			l.ipv4Options(h.Options())
			l.str(")")
		}
		l.str(") ").addr(h.Src()).str(" > ").addr(h.Dst())
	})
}

func (l *line) ipv4Options(o IPv4Options) {
	if _, ok := o.Valid(); !ok {
		l.str("[invalid]")
		return
	}
	sep := ""
	for o = o.Skip(); len(o) > 0; o = o.Next() {
		l.str(sep).str(o.Type().String())
		sep = ","
	}
}

// String returns the flags in tcpdump's words: "DF", "+" for more fragments,
// "none".
func (f IPv4Flags) String() string {
	switch f & 7 {
	case 0:
		return "none"
	case IPv4MF:
		return "+"
	case IPv4DF:
		return "DF"
	case IPv4DF | IPv4MF:
		return "+, DF"
	}
	return "rsvd " + strconv.Itoa(int(f))
}

// String describes the fixed header, not what follows.
func (h IPv6) String() string {
	if !h.Valid(sizeMax) {
		return "[invalid ip6]"
	}
	return text(func(l *line) {
		l.str("IP6 (class ").hex(uint32(h.TrafficClass())).str(", flowlabel ").hex(h.FlowLabel()).
			str(", hlim ").num(int(h.HopLimit())).str(", next-header ").str(h.NextHeader().String()).
			str(" (").num(int(h.NextHeader())).str("), payload length ").num(h.PayloadLen()).
			str(") ").addr(h.Src()).str(" > ").addr(h.Dst())
	})
}

// String describes the header: "frag (1448|+), id 0x00000001".
func (h IPv6Fragment) String() string {
	if !h.Valid() {
		return "[invalid frag]"
	}
	return text(func(l *line) {
		l.str("frag (").num(h.Offset())
		if h.More() {
			l.str("|+")
		}
		l.str("), id ").hex32(h.ID())
	})
}

// String describes the header: "RT (len=2, type=0, segleft=1)".
func (h IPv6Routing) String() string {
	if !h.Valid() {
		return "[invalid rt]"
	}
	return text(func(l *line) {
		l.str("RT (len=").num(int(h[1])).str(", type=").num(int(h.RoutingType())).
			str(", segleft=").num(int(h.SegmentsLeft())).str(")")
	})
}

// String describes the header: "53 > 34567: UDP, length 12".
func (h UDP) String() string {
	if !h.Valid(sizeMax) {
		return "[invalid udp]"
	}
	return text(func(l *line) {
		l.num(int(h.SrcPort())).str(" > ").num(int(h.DstPort())).str(": UDP").length(h.Len() - UDPLen)
	})
}

// String describes the header with its options.
func (h TCP) String() string {
	if !h.Valid() {
		return "[invalid tcp]"
	}
	return text(func(l *line) {
		l.num(int(h.SrcPort())).str(" > ").num(int(h.DstPort())).str(": ")
		l.tcp(h, len(h)-h.HeaderLen())
	})
}

// String describes the message: "ICMP echo request, id 1, seq 1".
func (h ICMPv4) String() string { return text(func(l *line) { l.str("ICMP "); l.icmpv4(h) }) }

// String describes the message: "ICMP6, echo request, id 1, seq 1".
func (h ICMPv6) String() string { return text(func(l *line) { l.str("ICMP6, "); l.icmpv6(h) }) }

// String describes the message: "neighbor solicitation, who has fe80::1".
func (h NeighborSolicit) String() string { return ndpText(h) }

// String describes the message: "neighbor advertisement, tgt is fe80::1".
func (h NeighborAdvert) String() string { return ndpText(h) }

// String describes the message: "router solicitation".
func (h RouterSolicit) String() string { return ndpText(h) }

// String describes the message: "router advertisement, router lifetime 1800s".
func (h RouterAdvert) String() string { return ndpText(h) }

// String describes the message: "redirect, 2001:db8::1 to fe80::1".
func (h Redirect) String() string { return ndpText(h) }

// String describes the message: "multicast listener query ff02::1".
func (h MLD) String() string { return ndpText(h) }

// String describes the message with its first records.
func (h MLDv2Report) String() string { return ndpText(h) }

func ndpText(h []byte) string { return text(func(l *line) { l.icmpv6(h) }) }

// String describes the message: "igmp v2 report 239.1.2.3".
func (h IGMP) String() string { return text(func(l *line) { l.str("igmp "); l.igmp(h) }) }

// String describes the header: "GREv0, key=0x1".
func (h GRE) String() string {
	if !h.Valid() {
		return "[invalid gre]"
	}
	return text(func(l *line) { l.greHeader(h) })
}

// String describes the header: "VXLAN, vni 1".
func (h VXLAN) String() string {
	if !h.Valid() {
		return "[invalid vxlan]"
	}
	return text(func(l *line) { l.vxlan(h) })
}

// String describes the header: "ESP(spi=0x00000001,seq=0x1)".
func (h ESP) String() string { return text(func(l *line) { l.esp(h) }) }

// String describes the header: "AH(spi=0x00000001,seq=0x1)".
func (h AH) String() string {
	if !h.Valid() {
		return "[invalid ah]"
	}
	return text(func(l *line) { l.str("AH(spi=").hex32(h.SPI()).str(",seq=").hex(h.Seq()).str(")") })
}

// quote is strconv.Quote for error messages, cut to a length people read.
func quote(s string) string {
	if len(s) > 40 {
		s = s[:40] + "…"
	}
	return strconv.Quote(s)
}
