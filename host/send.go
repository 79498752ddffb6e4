package host

import (
	"net/netip"
	"syscall"

	"github.com/towpath/towpath/firewall/hook"
	"github.com/towpath/towpath/ip/neigh"
	"github.com/towpath/towpath/ip/route"
	"github.com/towpath/towpath/link"
	"github.com/towpath/towpath/packet"
	"github.com/towpath/towpath/wire"
)

var (
	broadcast4 = netip.AddrFrom4([4]byte{255, 255, 255, 255})
	loopback4  = netip.AddrFrom4([4]byte{127, 0, 0, 1})
	allNodes4  = netip.AddrFrom4([4]byte{224, 0, 0, 1})
	allNodes6  = netip.MustParseAddr("ff02::1")
)

// dst is a way to a destination: the outcome of a routing decision. It is good
// as long as the configuration it was made from is in force.
type dst struct {
	conf  *config
	out   *link.Adapter
	next  netip.Addr // whom the frame is for
	src   netip.Addr // the source address to use
	entry *neigh.Entry

	mtu     int32  // of the route, 0 if it has none
	pmtu    int32  // of the path, 0 if nothing is known
	pmtuGen uint32 // of the cache that pmtu is from
	mtuLock bool   // nothing but mtu counts
}

// unzone splits an address's zone off, the name of an adapter, and returns the
// adapter's index.
func (ln *lane) unzone(ip netip.Addr) (bare netip.Addr, scope int32, e syscall.Errno) {
	if ip.Zone() == "" {
		return ip, 0, 0
	}
	a := ln.conf.byName(ip.Zone())
	if a == nil {
		return ip, 0, syscall.ENODEV
	}
	return ip.WithZone(""), a.Index(), 0
}

// route finds the way to ip. The source is left for those who need one. Of an
// address that means something on one link only, scope is the adapter; 0 lets
// the table say.
func (ln *lane) route(d *dst, ip netip.Addr, scope int32) packet.Reason {
	return ln.routeBy(d, &route.Key{Dst: ip}, scope, 0)
}

// routeBy is route for a packet of which more is known; by hash its flow is
// given one way of several.
func (ln *lane) routeBy(d *dst, k *route.Key, scope int32, hash uint32) packet.Reason {
	ip := k.Dst
	*d = dst{conf: ln.conf, next: ip}
	if _, ours := ln.conf.addrs.Local(ip); ours || ip.IsLoopback() {
		if d.out, d.src = ln.conf.adapters[1], ip; !ours && ip.Is4() {
			d.src = loopback4 // all of 127.0.0.0/8 is this host, by one address
		}
		return packet.NotDropped
	}
	if scope != 0 && (ip.IsLinkLocalUnicast() || ip.IsLinkLocalMulticast()) {
		if d.out = ln.conf.adapter(scope); d.out != nil {
			return packet.NotDropped
		}
	}
	r, ok := ln.conf.rules.Lookup(k, ln.conf.routes)
	if !ok && (ip == broadcast4 || ip.IsMulticast()) {
		// Groups and the limited broadcast need no route: the first adapter
		// that is on a network takes them (RFC 1112 §6.1).
		for _, a := range ln.conf.addrs.All() {
			if a.Adapter != 1 && a.Prefix.Addr().Is4() == ip.Is4() {
				r.Adapter, ok = a.Adapter, true
				break
			}
		}
	}
	if !ok && k.Out != 0 && ln.conf.adapter(k.Out) != nil {
		r.Adapter, ok = k.Out, true // then it is on that link, as Linux assumes
	}
	switch {
	case !ok:
		return packet.ReasonNoRoute
	case r.Kind == route.Blackhole:
		return packet.ReasonRouteBlackhole
	case r.Kind == route.Unreachable:
		return packet.ReasonRouteUnreachable
	case r.Kind == route.Prohibit:
		return packet.ReasonRouteProhibit
	}
	if r.Multi != nil {
		if hash == 0 {
			hash = ln.flowHash(k.Src, ip, 0)
		}
		h, ok := r.Multi.Choose(hash, func(h route.Hop) bool { return ln.conf.adapter(h.Adapter) != nil })
		if !ok {
			return packet.ReasonRouteDead
		}
		r.Via, r.Adapter = h.Via, h.Adapter
	}
	d.out, d.src = ln.conf.adapters[r.Adapter], r.Source
	d.mtu, d.mtuLock = int32(r.MTU), r.MTULock
	if r.Via.IsValid() {
		d.next = r.Via
	}
	return packet.NotDropped
}

// routeFrom is route with a source address: the one asked for if it is valid,
// else the route's or the best the adapter has.
func (ln *lane) routeFrom(d *dst, ip netip.Addr, scope int32, src netip.Addr) syscall.Errno {
	return ln.routeFor(d, ip, scope, src, nil)
}

// routeFor is routeFrom for a socket with options, which may say more about the
// way.
func (ln *lane) routeFor(d *dst, ip netip.Addr, scope int32, src netip.Addr, o *sockOptions) syscall.Errno {
	k := route.Key{Dst: ip, Src: src}
	if o != nil {
		k.Out, k.Mark, k.TOS = o.Device, o.Mark, o.TOS
		if ip.IsMulticast() || ip == broadcast4 {
			orDefault(&k.Out, o.MulticastIf)
			if from := o.MulticastFrom; from.IsValid() && from.Is4() == ip.Is4() && (!src.IsValid() || src.IsUnspecified()) {
				src = from
			}
		}
		orDefault(&scope, k.Out)
	}
	if r := ln.routeBy(d, &k, scope, 0); r != packet.NotDropped {
		return routeErrno(r)
	}
	switch {
	case src.IsValid() && !src.IsUnspecified():
		d.src = src
	case !d.src.IsValid():
		var ok bool
		if d.src, ok = ln.conf.addrs.Source(d.out.Index(), ip, d.next); !ok {
			return syscall.EADDRNOTAVAIL
		}
	}
	return 0
}

// routeErrno is what a socket is told when it cannot be routed (Linux:
// fib_props).
func routeErrno(r packet.Reason) syscall.Errno {
	switch r {
	case packet.ReasonRouteBlackhole:
		return syscall.EINVAL
	case packet.ReasonRouteUnreachable:
		return syscall.EHOSTUNREACH
	case packet.ReasonRouteProhibit:
		return syscall.EACCES
	}
	return syscall.ENETUNREACH
}

// mtu is the largest IP packet, in bytes, that the path to ip carries, as far
// as is known.
func (ln *lane) mtu(d *dst, ip netip.Addr) int {
	if d.mtuLock && d.mtu != 0 {
		return min(int(d.mtu), d.out.MTU())
	}
	if gen := ln.host.pmtu.Generation(); gen != d.pmtuGen {
		d.pmtuGen = gen
		d.pmtu = int32(ln.host.pmtu.Lookup(ip))
	}
	mtu := d.linkMTU()
	if ln.conf.advice != nil && ip.Is6() {
		if a := ln.conf.advice[d.out.Index()]; a.MTU != 0 {
			mtu = min(mtu, a.MTU)
		}
	}
	if d.pmtu != 0 && int(d.pmtu) < mtu {
		return int(d.pmtu)
	}
	return mtu
}

// linkMTU is the largest IP packet, in bytes, that the first link carries and
// the route allows.
func (d *dst) linkMTU() int {
	if d.mtu != 0 {
		return min(int(d.mtu), d.out.MTU())
	}
	return d.out.MTU()
}

// flowHash tells flows apart, by their addresses and whatever else is mixed in.
// Which way a flow goes does not depend on its direction.
func (ln *lane) flowHash(src, dst netip.Addr, more uint64) uint32 {
	h := hashAddr(ln.tcp.seed, dst)
	if src.IsValid() && !src.IsUnspecified() {
		h ^= hashAddr(ln.tcp.seed, src)
	}
	return uint32((h ^ more*0x9e3779b97f4a7c15) >> 32)
}

// ttl is what packets to ip leave with: of IPv6, what the link's routers say
// (RFC 4861 §6.3.4).
func (ln *lane) ttl(d *dst, ip netip.Addr) uint8 {
	if ln.conf.advice != nil && ip.Is6() {
		if a := ln.conf.advice[d.out.Index()]; a.HopLimit != 0 {
			return a.HopLimit
		}
	}
	return ln.conf.set.TTL
}

// ipOut sends a packet made here: p begins with its transport header and has
// Proto, Src, Dst, TTL and TOS; its checksum is complete or partial.
func (ln *lane) ipOut(p *packet.Packet, d *dst) { ln.ipOutWith(p, d, nil, MTUWant) }

// ipOutWith is ipOut with IPv4 options and a say in whether the packet may be
// fragmented.
func (ln *lane) ipOutWith(p *packet.Packet, d *dst, options []byte, m MTUDiscover) {
	p.Transport = p.Start()
	size := p.Len()
	if p.Dst.Is4() {
		ip := wire.IPv4Fields{
			TOS: p.TOS, TTL: p.TTL, Proto: p.Proto, Src: p.Src, Dst: p.Dst, Options: options,
		}
		ip.TotalLen = ip.HeaderLen() + size
		switch {
		case p.GSO.Type != packet.GSONone, m == MTUDo, m == MTUProbe:
			ip.DF = true
		case m == MTUWant:
			ip.DF = ip.TotalLen <= ln.mtu(d, p.Dst) && !d.mtuLock
		}
		if p.GSO.Type != packet.GSONone {
			// Segments cut from it count up from here; alone, a packet that
			// must not be fragmented needs no identification (RFC 6864 §4.1).
			ip.ID = uint16(ln.rand.Uint32())
		}
		wire.PutIPv4(p.Push(ip.HeaderLen()), &ip)
	} else {
		wire.PutIPv6(p.Push(wire.IPv6Len), &wire.IPv6Fields{
			TrafficClass: p.TOS, PayloadLen: size, NextHeader: p.Proto,
			HopLimit: p.TTL, Src: p.Src, Dst: p.Dst,
		})
	}
	p.Net = p.Start()
	ln.localOut(p, d)
}

// localOut sends a packet made here whose IP header is complete: p begins with
// it.
func (ln *lane) localOut(p *packet.Packet, d *dst) {
	ln.stats.ip(p.Src).Sent++
	if js := ln.conf.hooks.Packet[hook.Output]; js != nil {
		to, mark, tos := p.Dst, p.Mark, p.TOS
		if !ln.judge(hook.Output, js, nil, d.out, p) {
			return
		}
		if p.Dst != to || p.Mark != mark || p.TOS != tos {
			var again dst
			if r := ln.routeBy(&again, &route.Key{Dst: p.Dst, Src: p.Src, Mark: p.Mark, TOS: p.TOS}, 0, 0); r != packet.NotDropped {
				ln.drop(p, r)
				return
			}
			d = &again
		}
	}
	ln.postroute(p, d)
}

// postroute is where packets made here and forwarded ones meet: p begins
// before its IP header, which is at p.Net.
func (ln *lane) postroute(p *packet.Packet, d *dst) {
	if js := ln.conf.hooks.Packet[hook.Postrouting]; js != nil && !ln.judge(hook.Postrouting, js, ln.conf.adapter(p.Ingress), d.out, p) {
		return
	}
	if n := int(p.Net) - int(p.Start()); n > 0 {
		p.Pull(n) // the link header it came with
	} else if n < 0 {
		p.Push(-n) // deliver or a judge pulled the IP header; it is still there
	}
	if p.Ingress == 0 && !ln.unlooped && (p.Dst.IsMulticast() || p.Dst.Is4() && ln.isBroadcast4(d.out, p.Dst)) {
		ln.loopBack(p, d.out)
	}
	mtu := ln.mtu(d, p.Dst)
	if p.FragMax != 0 {
		mtu = min(mtu, int(p.FragMax))
	}
	if ipLen(p) > mtu && fragmentable(p) {
		ln.fragmentOut(p, d, mtu)
		return
	}
	ln.linkOut(p, d)
}

// loopBack gives a packet that leaves to a group or network of which this host
// is part to its own sockets too (RFC 1112 §6.1; Linux: IP_MULTICAST_LOOP).
// What is sent in answer is not looped back again.
func (ln *lane) loopBack(p *packet.Packet, out *link.Adapter) {
	if out.Capabilities().Loopback || p.Dst.IsMulticast() && !ln.inGroup(out, p) {
		return
	}
	c := p.Clone()
	c.Ingress, c.Flow, c.Link = out.Index(), nil, c.Net
	c.Track = packet.Track{}
	ln.unlooped = true
	ln.ipIn(out, c)
	ln.unlooped = false
}

func (ln *lane) isBroadcast4(a *link.Adapter, ip netip.Addr) bool {
	return ip == broadcast4 || ln.conf.addrs.Broadcast(a.Index(), ip)
}

// linkOut puts the link header in front and the frame on this hold's output.
func (ln *lane) linkOut(p *packet.Packet, d *dst) {
	if d.out.Capabilities().Medium == link.MediumEthernet {
		mac, ok := ln.resolve(p, d)
		if !ok {
			return // it waits for its neighbour, or is gone
		}
		ln.ethernetOut(p, d.out, mac)
		return
	}
	p.Link = p.Start()
	ln.frameOut(p, d.out)
}

// ethernetOut puts an Ethernet header in front of the IP packet p.
func (ln *lane) ethernetOut(p *packet.Packet, out *link.Adapter, mac wire.MAC) {
	t := wire.EtherTypeIPv4
	if p.Dst.Is6() {
		t = wire.EtherTypeIPv6
	}
	wire.PutEthernet(p.Push(wire.EthernetLen), mac, out.MAC(), t)
	p.Link = p.Start()
	ln.frameOut(p, out)
}

// frameOut is the end of the walk under the lane's lock.
func (ln *lane) frameOut(p *packet.Packet, out *link.Adapter) {
	if js := ln.conf.hooks.Packet[hook.Egress]; js != nil && !ln.judge(hook.Egress, js, nil, out, p) {
		return
	}
	p.Ingress = 0
	ln.enqueue(out, p)
}

// resolve finds the station address of the next hop. If it is not known, p is
// taken: it waits in the neighbour cache.
func (ln *lane) resolve(p *packet.Packet, d *dst) (mac wire.MAC, ok bool) {
	if e := d.entry; e != nil {
		if mac, ok = e.MAC(ln.now); ok {
			return mac, true
		}
	}
	switch {
	case d.next == broadcast4 || ln.conf.addrs.Broadcast(d.out.Index(), d.next):
		return wire.Broadcast, true
	case d.next.IsMulticast():
		return wire.MulticastMAC(d.next), true
	}
	if d.entry == nil || d.entry.Gone() {
		d.entry = ln.host.neigh.Get(neigh.Key{Adapter: d.out.Index(), IP: d.next})
		if d.entry == nil {
			ln.drop(p, packet.ReasonNeighborTable)
			return mac, false
		}
	}
	if d.entry.Unknown() && ln.host.mem.exceeded(int64(p.Footprint()), ln.conf.set.MemoryMax) {
		ln.drop(p, packet.ReasonNeighborMemory)
		return mac, false
	}
	mac, ok = ln.host.neigh.Resolve(ln.now, d.entry, p, (*neighSender)(ln))
	ln.scheduleLazily(&ln.neighTimer, ln.host.neigh.Deadline())
	return mac, ok
}

// learned sends the packets that waited for a neighbour.
func (ln *lane) learned(a *link.Adapter, mac wire.MAC, ready *packet.List) {
	for p := ready.Pop(); p != nil; p = ready.Pop() {
		ln.ethernetOut(p, a, mac)
	}
}

// unresolved ends a packet whose next hop did not answer. Its sender, who may
// be one of our sockets, is told.
func (ln *lane) unresolved(k neigh.Key, p *packet.Packet, r packet.Reason) {
	if r == packet.ReasonNeighborFailed || r == packet.ReasonNeighborRecent {
		ln.icmpError(ln.conf.adapter(p.Ingress), p, icmpHost)
	}
	ln.drop(p, r)
}
