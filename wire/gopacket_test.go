package wire

import (
	"net"
	"reflect"
	"testing"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
)

// FuzzAgainstGopacket reads bytes as every protocol with another decoder too.
// Where it sees a header, so must we, and both must read the same.
func FuzzAgainstGopacket(f *testing.F) {
	for _, b := range seeds() {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		againstEthernet(t, b)
		againstARP(t, b)
		againstIPv4(t, b)
		againstIPv6(t, b)
		againstUDP(t, b)
		againstTCP(t, b)
		againstICMP(t, b)
		againstNDP(t, b)
		againstTunnels(t, b)
	})
}

var feedback = gopacket.NilDecodeFeedback

func againstEthernet(t *testing.T, b []byte) {
	var g layers.Ethernet
	h := Ethernet(b)
	// An 802.3 length is shown as type LLC there.
	if g.DecodeFromBytes(b, feedback) == nil && g.EthernetType != layers.EthernetTypeLLC {
		eq(t, "Ethernet.Valid", h.Valid(), true)
		eq(t, "Ethernet", g.SrcMAC.String()+g.DstMAC.String(), h.Src().String()+h.Dst().String())
		eq(t, "Ethernet.Type", uint16(h.Type()), uint16(g.EthernetType))
	}
	var q layers.Dot1Q
	if v := VLAN(b); q.DecodeFromBytes(b, feedback) == nil {
		eq(t, "VLAN.Valid", v.Valid(), true)
		eq(t, "VLAN.PCP", v.PCP(), q.Priority)
		eq(t, "VLAN.DEI", v.DEI(), q.DropEligible)
		eq(t, "VLAN.ID", v.ID(), q.VLANIdentifier)
		eq(t, "VLAN.Type", uint16(v.Type()), uint16(q.Type))
	}
}

func againstARP(t *testing.T, b []byte) {
	var g layers.ARP
	if g.DecodeFromBytes(b, feedback) != nil || g.AddrType != layers.LinkTypeEthernet ||
		g.Protocol != layers.EthernetTypeIPv4 || g.HwAddressSize != 6 || g.ProtAddressSize != 4 {
		eq(t, "ARP.Valid", ARP(b).Valid(), false)
		return
	}
	h := ARP(b)
	eq(t, "ARP.Valid", h.Valid(), true)
	eq(t, "ARP.Op", h.Op(), g.Operation)
	eq(t, "ARP sender", h.SenderMAC().String()+h.SenderIP().String(),
		net.HardwareAddr(g.SourceHwAddress).String()+net.IP(g.SourceProtAddress).String())
	eq(t, "ARP target", h.TargetMAC().String()+h.TargetIP().String(),
		net.HardwareAddr(g.DstHwAddress).String()+net.IP(g.DstProtAddress).String())
}

func againstIPv4(t *testing.T, b []byte) {
	var g layers.IPv4
	h := IPv4(b)
	// There, any version will do, and a total length of 0 means "all".
	if g.DecodeFromBytes(b, feedback) != nil || b[0]>>4 != 4 || h.TotalLen() == 0 {
		return
	}
	eq(t, "IPv4.Valid", h.Valid(sizeMax), true)
	eq(t, "IPv4.HeaderLen", h.HeaderLen(), int(g.IHL)*4)
	eq(t, "IPv4.TOS", h.TOS(), g.TOS)
	eq(t, "IPv4.TotalLen", h.TotalLen(), int(g.Length))
	eq(t, "IPv4.ID", h.ID(), g.Id)
	eq(t, "IPv4.Flags", uint8(h.Flags()), uint8(g.Flags))
	eq(t, "IPv4.FragOffset", h.FragOffset(), int(g.FragOffset)*8)
	eq(t, "IPv4.TTL", h.TTL(), g.TTL)
	eq(t, "IPv4.Proto", uint8(h.Proto()), uint8(g.Protocol))
	eq(t, "IPv4.Checksum", h.Checksum(), g.Checksum)
	eq(t, "IPv4.Src", h.Src().String(), g.SrcIP.String())
	eq(t, "IPv4.Dst", h.Dst().String(), g.DstIP.String())
	eqBytes(t, "IPv4.Payload", h.Payload(), g.Payload)
	if _, ok := h.Options().Valid(); !ok {
		return // it does not look into options
	}
	o := h.Options().Skip()
	for _, want := range g.Options {
		if want.OptionType <= 1 {
			continue
		}
		eq(t, "IPv4Options.Type", uint8(o.Type()), want.OptionType)
		eqBytes(t, "IPv4Options.Body", o.Body(), want.OptionData)
		o = o.Next()
	}
	eq(t, "IPv4Options at the end", len(o), 0)
}

func againstIPv6(t *testing.T, b []byte) {
	var g layers.IPv6
	if g.DecodeFromBytes(b, feedback) != nil || g.Version != 6 {
		return
	}
	h := IPv6(b)
	eq(t, "IPv6.Valid", h.Valid(sizeMax), true)
	eq(t, "IPv6.TrafficClass", h.TrafficClass(), g.TrafficClass)
	eq(t, "IPv6.FlowLabel", h.FlowLabel(), g.FlowLabel)
	eq(t, "IPv6.PayloadLen", h.PayloadLen(), int(g.Length))
	eq(t, "IPv6.NextHeader", uint8(h.NextHeader()), uint8(g.NextHeader))
	eq(t, "IPv6.HopLimit", h.HopLimit(), g.HopLimit)
	eqBytes(t, "IPv6.Src", h.Src().AsSlice(), g.SrcIP)
	eqBytes(t, "IPv6.Dst", h.Dst().AsSlice(), g.DstIP)
	againstExtensions(t, h)
}

// againstExtensions follows the chain through the other decoder's layers.
func againstExtensions(t *testing.T, h IPv6) {
	if h.PayloadLen() == 0 || h.TotalLen() > len(h) {
		return
	}
	x, err := WalkExtensions(h.Payload(), h.NextHeader())
	if err != ExtOK || x.Fragment || x.AH {
		return // it stops at fragments and reads AH as something else
	}
	p := gopacket.NewPacket(h[:h.TotalLen()], layers.LayerTypeIPv6, gopacket.NoCopy)
	if p.ErrorLayer() != nil {
		return // about options, or about what follows
	}
	proto, n := uint8(h.NextHeader()), 0
	for _, l := range p.Layers() {
		switch l := l.(type) {
		case *layers.IPv6HopByHop:
			proto, n = uint8(l.NextHeader), n+l.ActualLength
		case *layers.IPv6Destination:
			proto, n = uint8(l.NextHeader), n+l.ActualLength
		case *layers.IPv6Routing:
			proto, n = uint8(l.NextHeader), n+l.ActualLength
		case *layers.IPv6:
		default:
			eq(t, "Extensions.Proto", uint8(x.Proto), proto)
			eq(t, "Extensions.Len", x.Len, n)
			return
		}
	}
}

func againstUDP(t *testing.T, b []byte) {
	var g layers.UDP
	if g.DecodeFromBytes(b, feedback) != nil || g.Length == 0 {
		eq(t, "UDP.Valid", UDP(b).Valid(sizeMax), false)
		return
	}
	h := UDP(b)
	eq(t, "UDP.Valid", h.Valid(sizeMax), true)
	eq(t, "UDP.SrcPort", h.SrcPort(), uint16(g.SrcPort))
	eq(t, "UDP.DstPort", h.DstPort(), uint16(g.DstPort))
	eq(t, "UDP.Len", h.Len(), int(g.Length))
	eq(t, "UDP.Checksum", h.Checksum(), g.Checksum)
	eqBytes(t, "UDP.Payload", h.Payload(), g.Payload)
}

func againstTCP(t *testing.T, b []byte) {
	var g layers.TCP
	if g.DecodeFromBytes(b, feedback) != nil {
		return
	}
	h := TCP(b)
	eq(t, "TCP.Valid", h.Valid(), true)
	eq(t, "TCP.SrcPort", h.SrcPort(), uint16(g.SrcPort))
	eq(t, "TCP.DstPort", h.DstPort(), uint16(g.DstPort))
	eq(t, "TCP.Seq", h.Seq(), g.Seq)
	eq(t, "TCP.Ack", h.Ack(), g.Ack)
	eq(t, "TCP.HeaderLen", h.HeaderLen(), int(g.DataOffset)*4)
	eq(t, "TCP.Window", h.Window(), g.Window)
	eq(t, "TCP.Checksum", h.Checksum(), g.Checksum)
	eq(t, "TCP.Urgent", h.Urgent(), g.Urgent)
	var flags TCPFlags
	for i, set := range []bool{g.FIN, g.SYN, g.RST, g.PSH, g.ACK, g.URG, g.ECE, g.CWR, g.NS} {
		if set {
			flags |= 1 << i
		}
	}
	eq(t, "TCP.Flags", h.Flags(), flags)
	eqBytes(t, "TCP.Payload", h.Payload(), g.Payload)

	var got, want TCPOptions
	if !got.Parse(h.Options()) || g.Multipath {
		return // it goes on where options are malformed
	}
	for _, o := range g.Options {
		if o.OptionType > layers.TCPOptionKindNop {
			want.take(append([]byte{byte(o.OptionType), o.OptionLength}, o.OptionData...))
		}
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("TCPOptions =\n  %+v, want\n  %+v", got, want)
	}
}

func againstICMP(t *testing.T, b []byte) {
	var g layers.ICMPv4
	if h := ICMPv4(b); g.DecodeFromBytes(b, feedback) == nil {
		eq(t, "ICMPv4.Valid", h.Valid(), true)
		eq(t, "ICMPv4.Type", uint8(h.Type()), g.TypeCode.Type())
		eq(t, "ICMPv4.Code", h.Code(), g.TypeCode.Code())
		eq(t, "ICMPv4.Checksum", h.Checksum(), g.Checksum)
		eq(t, "ICMPv4.ID", h.ID(), g.Id)
		eq(t, "ICMPv4.Seq", h.Seq(), g.Seq)
	} else {
		eq(t, "ICMPv4.Valid", h.Valid(), false)
	}
	var g6 layers.ICMPv6
	if h := ICMPv6(b); len(b) >= ICMPLen && g6.DecodeFromBytes(b, feedback) == nil {
		eq(t, "ICMPv6.Type", uint8(h.Type()), g6.TypeCode.Type())
		eq(t, "ICMPv6.Code", h.Code(), g6.TypeCode.Code())
		eq(t, "ICMPv6.Checksum", h.Checksum(), g6.Checksum)
	}
}

func againstNDP(t *testing.T, b []byte) {
	if h := NeighborSolicit(b); h.Valid() {
		var g layers.ICMPv6NeighborSolicitation
		if err := g.DecodeFromBytes(b[4:], feedback); err != nil {
			t.Errorf("NeighborSolicit: %v", err)
			return
		}
		eqBytes(t, "NeighborSolicit.Target", h.Target().AsSlice(), g.TargetAddress)
		againstNDPOptions(t, h.Options(), g.Options)
	}
	if h := NeighborAdvert(b); h.Valid() {
		var g layers.ICMPv6NeighborAdvertisement
		if err := g.DecodeFromBytes(b[4:], feedback); err != nil {
			t.Errorf("NeighborAdvert: %v", err)
			return
		}
		eqBytes(t, "NeighborAdvert.Target", h.Target().AsSlice(), g.TargetAddress)
		eq(t, "NeighborAdvert.Router", h.Router(), g.Router())
		eq(t, "NeighborAdvert.Solicited", h.Solicited(), g.Solicited())
		eq(t, "NeighborAdvert.Override", h.Override(), g.Override())
		againstNDPOptions(t, h.Options(), g.Options)
	}
	if h := RouterAdvert(b); h.Valid() {
		var g layers.ICMPv6RouterAdvertisement
		if err := g.DecodeFromBytes(b[4:], feedback); err != nil {
			t.Errorf("RouterAdvert: %v", err)
			return
		}
		eq(t, "RouterAdvert.HopLimit", h.HopLimit(), g.HopLimit)
		eq(t, "RouterAdvert.Managed", h.Managed(), g.ManagedAddressConfig())
		eq(t, "RouterAdvert.OtherConfig", h.OtherConfig(), g.OtherConfig())
		eq(t, "RouterAdvert.Lifetime", h.Lifetime(), g.RouterLifetime)
		eq(t, "RouterAdvert.ReachableTime", h.ReachableTime(), g.ReachableTime)
		eq(t, "RouterAdvert.RetransTimer", h.RetransTimer(), g.RetransTimer)
		againstNDPOptions(t, h.Options(), g.Options)
	}
}

func againstNDPOptions(t *testing.T, o NDPOptions, g layers.ICMPv6Options) {
	for _, want := range g {
		if len(o) == 0 {
			t.Errorf("NDPOptions end before %v", want)
			return
		}
		eq(t, "NDPOptions.Type", uint8(o.Type()), uint8(want.Type))
		eqBytes(t, "NDPOptions.Body", o.Body(), want.Data)
		o = o.Next()
	}
	eq(t, "NDPOptions at the end", len(o), 0)
}

func againstTunnels(t *testing.T, b []byte) {
	if h := GRE(b); h.Valid() {
		var g layers.GRE
		if err := g.DecodeFromBytes(b, feedback); err != nil {
			t.Errorf("GRE: %v", err)
			return
		}
		eq(t, "GRE.Type", uint16(h.Type()), uint16(g.Protocol))
		eq(t, "GRE.HasKey", h.HasKey(), g.KeyPresent)
		eq(t, "GRE.Key", h.Key(), g.Key)
		eq(t, "GRE.HasSeq", h.HasSeq(), g.SeqPresent)
		eq(t, "GRE.Seq", h.Seq(), g.Seq)
		eqBytes(t, "GRE.Payload", h.Payload(), g.Payload)
	}
	if h := VXLAN(b); h.Valid() {
		var g layers.VXLAN
		if err := g.DecodeFromBytes(b, feedback); err != nil {
			t.Errorf("VXLAN: %v", err)
			return
		}
		eq(t, "VXLAN.VNI", h.VNI(), g.VNI)
	}
}

// TestBuilderAgainstGopacket builds packets with another encoder too.
func TestBuilderAgainstGopacket(t *testing.T) {
	for _, p := range packets {
		g := gopacket.NewPacket(p.frame, layers.LayerTypeEthernet, gopacket.Default)
		if e := g.ErrorLayer(); e != nil {
			t.Errorf("%s: %v", p.name, e.Error())
		}
	}
	ip4 := &layers.IPv4{Version: 4, TTL: 64, Id: 9, Protocol: layers.IPProtocolUDP, SrcIP: a4.AsSlice(), DstIP: b4.AsSlice()}
	udp := &layers.UDP{SrcPort: 1000, DstPort: 53}
	if err := udp.SetNetworkLayerForChecksum(ip4); err != nil {
		t.Fatal(err)
	}
	eth := &layers.Ethernet{SrcMAC: macA[:], DstMAC: macB[:], EthernetType: layers.EthernetTypeDot1Q}
	tag := &layers.Dot1Q{Priority: 3, VLANIdentifier: 7, Type: layers.EthernetTypeIPv4}
	buf := gopacket.NewSerializeBuffer()
	payload := gopacket.Payload(make([]byte, 101))
	err := gopacket.SerializeLayers(buf, gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}, eth, tag, ip4, udp, payload)
	if err != nil {
		t.Fatal(err)
	}
	got := new(Builder).Payload(payload).PushUDP(1000, 53).PushIPv4(IPv4Fields{ID: 9, TTL: 64, Src: a4, Dst: b4}).
		PushVLAN(3, false, 7).PushEthernet(macB, macA)
	eqBytes(t, "frame", got.Bytes(), buf.Bytes())
}
