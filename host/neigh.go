package host

import (
	"net/netip"

	"github.com/towpath/towpath/ip/neigh"
	"github.com/towpath/towpath/link"
	"github.com/towpath/towpath/packet"
	"github.com/towpath/towpath/wire"
)

// ndpLinkAddrLen is the length of a link-layer address option for Ethernet.
const ndpLinkAddrLen = 8

// arpIn learns from an ARP packet and answers requests for our addresses (RFC
// 826, with RFC 1122 §2.3.2).
func (ln *lane) arpIn(a *link.Adapter, p *packet.Packet) {
	if !p.Linear(wire.ARPLen) || !wire.ARP(p.Head()).Valid() {
		ln.drop(p, packet.ReasonARPMalformed)
		return
	}
	arp := wire.ARP(p.Head())
	sender, mac := arp.SenderIP(), arp.SenderMAC()
	if mac.IsMulticast() || mac.IsZero() || sender.IsMulticast() || sender == broadcast4 {
		ln.drop(p, packet.ReasonARPSender)
		return
	}
	at, ours := ln.conf.addrs.Local(arp.TargetIP())
	ours = ours && at == a.Index()
	if _, stolen := ln.conf.addrs.Local(sender); stolen {
		ours = false // somebody else says to have our address: not to be learned
	} else if !sender.IsUnspecified() {
		var ready packet.List
		ln.host.neigh.Learn(ln.now, neigh.Key{Adapter: a.Index(), IP: sender}, neigh.News{
			MAC: mac, Solicited: ours && arp.Op() == wire.ARPReply,
			Override: true, Create: ours && arp.Op() == wire.ARPRequest,
		}, &ready)
		ln.learned(a, mac, &ready)
	}
	if !ours {
		ln.drop(p, packet.ReasonARPNotForUs)
		return
	}
	if arp.Op() == wire.ARPRequest {
		ln.arpOut(a, wire.ARPReply, arp.TargetIP(), mac, sender)
	}
	ln.pool.Free(p)
}

// arpOut sends an ARP packet.
func (ln *lane) arpOut(a *link.Adapter, op uint16, src netip.Addr, mac wire.MAC, target netip.Addr) {
	p := ln.pool.Get()
	to := mac
	if op == wire.ARPRequest {
		if mac.IsZero() {
			to = wire.Broadcast
		}
		mac = wire.MAC{}
	}
	wire.PutARP(p.Append(wire.ARPLen), op, a.MAC(), src, mac, target)
	p.Net = p.Start()
	wire.PutEthernet(p.Push(wire.EthernetLen), to, a.MAC(), wire.EtherTypeARP)
	p.Link = p.Start()
	ln.frameOut(p, a)
}

// solicit asks for the station address of a neighbour: everybody, or the
// station that had it last. The question is put from the address want, if that
// is one of ours on the neighbour's network.
func (ln *lane) solicit(k neigh.Key, mac wire.MAC, want netip.Addr) {
	a := ln.conf.adapter(k.Adapter)
	if a == nil {
		return
	}
	src := want
	if at, ours := ln.conf.addrs.Local(src); !ours || at != k.Adapter {
		if src, ours = ln.conf.addrs.Source(k.Adapter, k.IP, k.IP); !ours {
			src = netip.IPv4Unspecified()
		}
	}
	if k.IP.Is4() {
		ln.arpOut(a, wire.ARPRequest, src, mac, k.IP)
		return
	}
	dst := k.IP
	if mac.IsZero() {
		dst = wire.SolicitedNode(k.IP)
		mac = wire.MulticastMAC(dst)
	}
	if !src.Is6() {
		src = netip.IPv6Unspecified()
	}
	size := wire.NeighborSolicitLen
	// RFC 4429 §3.2 would have an optimistic address keep its station address to
	// itself; but then Linux does not answer, and the first second is lost.
	tell := !src.IsUnspecified()
	if tell {
		size += ndpLinkAddrLen
	}
	ln.ndpOut(a, mac, src, dst, size, func(b []byte) {
		wire.PutNeighborSolicit(b, k.IP)
		if tell {
			wire.PutLinkAddrOption(b[wire.NeighborSolicitLen:], wire.NDPSourceLinkAddr, a.MAC())
		}
	})
}

// ndpOut sends a neighbour discovery message of size bytes, written by put.
func (ln *lane) ndpOut(a *link.Adapter, mac wire.MAC, src, dst netip.Addr, size int, put func(b []byte)) {
	p := ln.pool.Get()
	b := p.Append(size)
	put(b)
	h := wire.ICMPv6(b)
	h.SetChecksum(0)
	h.SetChecksum(^wire.Fold(wire.Sum(b, wire.PseudoSum(src, dst, wire.ProtoICMPv6, size))))
	p.Proto, p.Src, p.Dst = wire.ProtoICMPv6, src, dst
	p.Transport = p.Start()
	wire.PutIPv6(p.Push(wire.IPv6Len), &wire.IPv6Fields{
		PayloadLen: size, NextHeader: wire.ProtoICMPv6, HopLimit: 255, Src: src, Dst: dst,
	})
	p.Net = p.Start()
	ln.ethernetOut(p, a, mac)
}

// ndpIn takes a neighbour discovery message (RFC 4861 §6, §7).
func (ln *lane) ndpIn(a *link.Adapter, p *packet.Packet) {
	m := wire.ICMPv6(p.Head())
	if p.TTL != 255 || m.Code() != 0 || a.Capabilities().Medium != link.MediumEthernet {
		ln.drop(p, packet.ReasonNDPHopLimit)
		return
	}
	switch m.Type() {
	case wire.ICMPv6NeighborSolicit:
		ln.solicitIn(a, p, wire.NeighborSolicit(m))
	case wire.ICMPv6NeighborAdvert:
		ln.advertIn(a, p, wire.NeighborAdvert(m))
	case wire.ICMPv6Redirect:
		ln.redirect6In(a, p, wire.Redirect(m))
	default:
		ln.routerAdvertIn(a, p, wire.RouterAdvert(m))
	}
}

func (ln *lane) solicitIn(a *link.Adapter, p *packet.Packet, ns wire.NeighborSolicit) {
	if !ns.Valid() || ns.Target().IsMulticast() {
		ln.drop(p, packet.ReasonNDPSolicit)
		return
	}
	target := ns.Target()
	if at, ours := ln.conf.addrs.Local(target); !ours || at != a.Index() {
		ln.drop(p, packet.ReasonNDPNotForUs)
		return
	}
	if p.Src.IsUnspecified() && ln.auto.Taken(a.Index(), target) {
		ln.drop(p, packet.ReasonNDPDuplicate) // two want it: neither gets it
		return
	}
	to, mac, flags := p.Src, wire.MAC{}, wire.NDOverride
	if ln.optimistic(target) {
		flags = 0 // RFC 4429 §3.3
	}
	if ln.conf.set.Forward {
		flags |= wire.NDRouter
	}
	sender, known := ns.Options().Find(wire.NDPSourceLinkAddr).LinkAddr()
	switch {
	case to.IsUnspecified(): // somebody's duplicate address detection
		to, mac = allNodes6, wire.MulticastMAC(allNodes6)
	case known && !sender.IsMulticast():
		var ready packet.List
		mac = sender
		ln.host.neigh.Learn(ln.now, neigh.Key{Adapter: a.Index(), IP: to}, neigh.News{MAC: mac, Override: true, Create: true}, &ready)
		ln.learned(a, mac, &ready)
		flags |= wire.NDSolicited
	default: // a unicast probe needs no option: the frame says where from
		mac = wire.Ethernet(p.From(p.Link)).Src()
		flags |= wire.NDSolicited
	}
	ln.ndpOut(a, mac, target, to, wire.NeighborAdvertLen+ndpLinkAddrLen, func(b []byte) {
		wire.PutNeighborAdvert(b, flags, target)
		wire.PutLinkAddrOption(b[wire.NeighborAdvertLen:], wire.NDPTargetLinkAddr, a.MAC())
	})
	ln.pool.Free(p)
}

func (ln *lane) advertIn(a *link.Adapter, p *packet.Packet, na wire.NeighborAdvert) {
	if !na.Valid() || na.Target().IsMulticast() || na.Solicited() && p.Dst.IsMulticast() {
		ln.drop(p, packet.ReasonNDPAdvert)
		return
	}
	if _, ours := ln.conf.addrs.Local(na.Target()); ours {
		ln.auto.Taken(a.Index(), na.Target())
		ln.drop(p, packet.ReasonNDPConflict)
		return
	}
	if mac, ok := na.Options().Find(wire.NDPTargetLinkAddr).LinkAddr(); ok && !mac.IsMulticast() {
		var ready packet.List
		mac = ln.host.neigh.Learn(ln.now, neigh.Key{Adapter: a.Index(), IP: na.Target()}, neigh.News{
			MAC: mac, Solicited: na.Solicited(), Override: na.Override(),
		}, &ready)
		ln.learned(a, mac, &ready)
	}
	ln.pool.Free(p)
}
