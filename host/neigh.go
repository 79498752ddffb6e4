package host

import (
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/towpath/towpath/ip/neigh"
	"github.com/towpath/towpath/link"
	"github.com/towpath/towpath/packet"
	"github.com/towpath/towpath/wire"
)

// ndpLinkAddrLen is the length of a link-layer address option for Ethernet.
const ndpLinkAddrLen = 8

// ndpNonceLen is the length of a nonce option with a nonce of six bytes.
const ndpNonceLen = 8

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
	l, gratuitous := ln.conf.link(a), sender == arp.TargetIP()
	if gratuitous && l.DropGratuitousARP != 0 {
		ln.drop(p, packet.ReasonARPGratuitous)
		return
	}
	ours := ln.answersARP(a, arp.TargetIP(), sender)
	if at, stolen := ln.conf.addrs.Local(sender); stolen {
		if !ln.ourStation(mac) {
			ln.defend(at, a, sender)
			ln.drop(p, packet.ReasonARPConflict)
			return
		}
		ours = false // another adapter of ours on the same link
	} else if !sender.IsUnspecified() {
		var ready packet.List
		ln.host.neigh.Learn(ln.now, neigh.Key{Adapter: a.Index(), IP: sender}, neigh.News{
			MAC: mac, Solicited: ours && arp.Op() == wire.ARPReply,
			Override: true, Create: ours && arp.Op() == wire.ARPRequest || gratuitous && l.ARPAccept != 0,
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

// answersARP reports whether a question for target is answered on an adapter:
// by its settings if target is ours, else for somebody behind us (RFC 1027).
func (ln *lane) answersARP(a *link.Adapter, target, sender netip.Addr) bool {
	l := ln.conf.link(a)
	at, ours := ln.conf.addrs.Local(target)
	var d dst
	if !ours {
		return ln.conf.set.Forward && target != sender && !sender.IsUnspecified() && !target.IsLoopback() &&
			(l.ProxyARP != 0 || ln.conf.proxied(a, target)) &&
			ln.route(&d, target, 0) == packet.NotDropped && d.out != a
	}
	switch {
	case target.IsLoopback() || l.ARPIgnore > 2:
		return false
	case l.ARPIgnore > 0 && at != a.Index():
		return false
	case l.ARPIgnore == 2 && !ln.sameNetwork(target, sender):
		return false
	}
	return l.ARPFilter == 0 || sender.IsUnspecified() || ln.route(&d, sender, 0) == packet.NotDropped && d.out == a
}

// sameNetwork reports whether an address is in the network of one of ours.
func (ln *lane) sameNetwork(ours, other netip.Addr) bool {
	for _, x := range ln.conf.addrs.All() {
		if x.Prefix.Addr() == ours {
			return x.Prefix.Contains(other)
		}
	}
	return false
}

// ourStation reports whether a station address is that of an adapter here.
func (ln *lane) ourStation(mac wire.MAC) bool {
	for _, a := range ln.conf.adapters {
		if a != nil && a.MAC() == mac {
			return true
		}
	}
	return false
}

// defendInterval is for how long an address that was defended is not defended
// again, lest two hosts do nothing else (RFC 5227 §2.4 (b): DEFEND_INTERVAL).
const defendInterval = 10 * time.Second

// defend answers somebody who uses our IPv4 address with one announcement.
func (ln *lane) defend(at int32, a *link.Adapter, ip netip.Addr) {
	if at != a.Index() {
		return
	}
	ln.stats.AddressConflicts++
	last, again := ln.defended[ip]
	if again && ln.now-last < defendInterval {
		return
	}
	if ln.defended == nil {
		ln.defended = make(map[netip.Addr]time.Duration)
	}
	ln.defended[ip] = ln.now // one for each address of ours at most
	ln.arpOut(a, wire.ARPRequest, ip, wire.MAC{}, ip)
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
	at, ours := ln.conf.addrs.Local(src)
	if k.IP.Is6() {
		ours = ours && at == k.Adapter
	} else if level := ln.conf.link(a).ARPAnnounce; level > 0 {
		ours = ours && level == 1 && ln.sameNetwork(src, k.IP)
	}
	if !ours {
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
	at, ours := ln.conf.addrs.Local(target)
	ours = ours && at == a.Index()
	if !ours && !(ln.conf.set.Forward && ln.conf.link(a).ProxyNDP != 0 && ln.conf.proxied(a, target)) {
		ln.drop(p, packet.ReasonNDPNotForUs)
		return
	}
	if nonce, ok := ns.Options().Find(wire.NDPNonce).Nonce(); ok && p.Src.IsUnspecified() && ln.auto.Looped(a.Index(), target, nonce) {
		ln.drop(p, packet.ReasonNDPLooped)
		return
	}
	if p.Src.IsUnspecified() && ln.auto.Taken(ln.now, a.Index(), target) {
		ln.drop(p, packet.ReasonNDPDuplicate) // two want it: neither gets it
		return
	}
	to, mac, flags := p.Src, wire.MAC{}, wire.NDOverride
	if !ours || ln.optimistic(target) {
		flags = 0 // RFC 4861 §7.2.8, RFC 4429 §3.3
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
		ln.auto.Taken(ln.now, a.Index(), na.Target())
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

// A proxy is somebody else's address for which solicitations are answered on an
// adapter (Linux: ip neigh add proxy).
type proxy struct {
	adapter int32
	ip      netip.Addr
}

func (c *config) proxied(a *link.Adapter, ip netip.Addr) bool {
	return slices.Contains(c.proxies, proxy{a.Index(), ip})
}

// AddProxy makes a host that forwards answer solicitations on an adapter for an
// address that is somebody's behind it: of IPv4, and of IPv6 if proxy_ndp is on
// (RFC 1027, RFC 4861 §7.2.8).
func (h *Host) AddProxy(adapter string, ip netip.Addr) error {
	err := h.edit(func(c *config) error {
		a := c.byName(adapter)
		switch {
		case a == nil:
			return fmt.Errorf("proxy %v: the host %s has no adapter %q", ip, h.name, adapter)
		case !ip.IsValid() || ip.IsMulticast() || ip.IsUnspecified() || ip.Is4In6():
			return fmt.Errorf("proxy %v: not an address that an adapter can have", ip)
		case c.proxied(a, ip):
			return fmt.Errorf("proxy %v: %q has it already", ip, adapter)
		}
		c.proxies = append(c.proxies[:len(c.proxies):len(c.proxies)], proxy{a.Index(), ip})
		return nil
	})
	h.lane.groupsSoon()
	return err
}

// RemoveProxy undoes AddProxy.
func (h *Host) RemoveProxy(adapter string, ip netip.Addr) error {
	err := h.edit(func(c *config) error {
		a := c.byName(adapter)
		if a == nil || !c.proxied(a, ip) {
			return fmt.Errorf("proxy %v: the host %s has none on %q", ip, h.name, adapter)
		}
		c.proxies = slices.DeleteFunc(slices.Clone(c.proxies), func(x proxy) bool { return x == proxy{a.Index(), ip} })
		return nil
	})
	h.lane.groupsSoon()
	return err
}

// announce tells neighbours of an IPv4 address that was added (RFC 5227 §2.3).
func (h *Host) announce(adapter string, ip netip.Addr) {
	ln := &h.lane
	ln.lock()
	defer ln.unlock(nil)
	if a := ln.conf.byName(adapter); a != nil && !ln.closed && a.Capabilities().Medium == link.MediumEthernet && ln.conf.link(a).ARPNotify != 0 {
		ln.arpOut(a, wire.ARPRequest, ip, wire.MAC{}, ip)
	}
}
