package host

import (
	"net/netip"
	"slices"
	"time"

	"github.com/towpath/towpath/ip/neigh"
	"github.com/towpath/towpath/ip/route"
	"github.com/towpath/towpath/link"
	"github.com/towpath/towpath/packet"
	"github.com/towpath/towpath/wire"
)

const (
	redirectsKept = 256               // destinations; the oldest gives way
	redirectAge   = 300 * time.Second // for which one is believed (Linux: gc_timeout)
)

// A redirect is a better first hop to one destination, by the word of the
// router that had been it.
type redirect struct {
	dst, via netip.Addr // via is invalid for a neighbour
	adapter  int32
	until    time.Duration
}

// redirectOut tells the sender of p, who is a neighbour, that its packet leaves
// by the link it came by: the way d is open to it too (RFC 1812 §5.2.7.2, RFC
// 4861 §8.2).
func (ln *lane) redirectOut(in *link.Adapter, p *packet.Packet, d *dst) {
	l := ln.conf.link(in)
	switch {
	case !ln.onLink(in, p.Src) || stationGroup(in, p):
		return
	case p.Src.Is4() && (l.SendRedirects == 0 || l.SharedMedia == 0 && !ln.onLink(in, d.next)):
		return
	case p.Src.Is6() && d.next != p.Dst && !d.next.IsLinkLocalUnicast():
		return // a router is named by its link-local address only
	}
	if !ln.mayRedirect(p.Src) {
		return
	}
	if p.Src.Is4() {
		gw := d.next.As4()
		ln.icmpError(in, p, icmpCause{type4: wire.ICMPv4Redirect, code4: wire.ICMPv4RedirectHost,
			rest: uint32(gw[0])<<24 | uint32(gw[1])<<16 | uint32(gw[2])<<8 | uint32(gw[3])})
		return
	}
	ln.redirect6Out(in, p, d.next)
}

// redirect6Out sends a redirect for the destination of p to target, with as
// much of p as there is room for (RFC 4861 §4.5).
func (ln *lane) redirect6Out(a *link.Adapter, p *packet.Packet, target netip.Addr) {
	src, ok := ln.linkLocal(a)
	if !ok {
		return
	}
	e := ln.host.neigh.Get(neigh.Key{Adapter: a.Index(), IP: p.Src})
	if e == nil {
		return
	}
	mac, ok := e.MAC(ln.now)
	if !ok {
		mac = wire.Ethernet(p.From(p.Link)).Src()
	}
	quote := p.From(p.Net)
	quote = quote[:min(len(quote), redirectQuoteMax)&^7]
	size := wire.RedirectLen + 8 + len(quote)
	ln.ndpOut(a, mac, src, p.Src, size, func(b []byte) {
		clear(b)
		wire.PutRedirect(b, target, p.Dst)
		o := b[wire.RedirectLen:]
		o[0], o[1] = byte(wire.NDPRedirectedHeader), byte(1+len(quote)/8)
		copy(o[8:], quote)
	})
}

// redirectQuoteMax is how many bytes of a packet an IPv6 redirect quotes: what
// the linear part of one certainly holds.
const redirectQuoteMax = 104

// linkLocal is an adapter's IPv6 link-local address.
func (ln *lane) linkLocal(a *link.Adapter) (netip.Addr, bool) {
	for _, x := range ln.conf.addrs.All() {
		if x.Adapter == a.Index() && x.Prefix.Addr().Is6() && x.Prefix.Addr().IsLinkLocalUnicast() {
			return x.Prefix.Addr(), true
		}
	}
	return netip.Addr{}, false
}

// onLink reports whether an address is that of a neighbour on an adapter.
func (ln *lane) onLink(a *link.Adapter, ip netip.Addr) bool {
	if ip.Is6() && ip.IsLinkLocalUnicast() {
		return true
	}
	r, ok := ln.conf.routes.Lookup(ip)
	return ok && r.Kind == route.Unicast && r.Adapter == a.Index() && !r.Via.IsValid()
}

// redirect4In takes an ICMP redirect (RFC 1122 §3.2.2.2, RFC 1812 §5.2.7.2):
// routers and who does not want them do not, and nobody believes one that does
// not come from the first hop in use or names one that is not on the link.
func (ln *lane) redirect4In(a *link.Adapter, p *packet.Packet, m wire.ICMPv4) {
	via, l, from := m.Gateway(), ln.conf.link(a), p.Src
	if ln.conf.set.Forward || l.AcceptRedirects == 0 {
		ln.drop(p, packet.ReasonRedirectIgnored)
		return
	}
	p.Pull(wire.ICMPLen)
	p.Linear(min(p.Len(), p.LinearMax()))
	var q quoted
	if !q.parse(p.Head(), true) || !ln.believeRedirect(a, from, &q, via) ||
		l.SharedMedia == 0 && l.SecureRedirects != 0 && !ln.defaultRouter(a, via) {
		ln.drop(p, packet.ReasonRedirectInvalid)
		return
	}
	ln.redirected(redirect{dst: q.dst, via: via, adapter: a.Index()})
	ln.pool.Free(p)
}

// redirect6In takes an IPv6 redirect (RFC 4861 §8.1, §8.3).
func (ln *lane) redirect6In(a *link.Adapter, p *packet.Packet, m wire.Redirect) {
	if ln.conf.set.Forward || ln.conf.link(a).AcceptRedirects6 == 0 {
		ln.drop(p, packet.ReasonNDPRedirectIgnored)
		return
	}
	if !m.Valid() || !p.Src.IsLinkLocalUnicast() || m.Destination().IsMulticast() ||
		m.Target() != m.Destination() && !m.Target().IsLinkLocalUnicast() ||
		!ln.believeRedirect(a, p.Src, &quoted{src: p.Dst, dst: m.Destination()}, m.Target()) {
		ln.drop(p, packet.ReasonNDPRedirect)
		return
	}
	if mac, ok := m.Options().Find(wire.NDPTargetLinkAddr).LinkAddr(); ok && !mac.IsMulticast() {
		var ready packet.List
		ln.host.neigh.Learn(ln.now, neigh.Key{Adapter: a.Index(), IP: m.Target()}, neigh.News{MAC: mac, Override: true, Create: true}, &ready)
		ln.learned(a, mac, &ready)
	}
	x := redirect{dst: m.Destination(), via: m.Target(), adapter: a.Index()}
	if x.via == x.dst {
		x.via = netip.Addr{}
	}
	ln.redirected(x)
	ln.pool.Free(p)
}

// believeRedirect reports whether from is the router that our packets to q.dst
// go to, and via a neighbour who may be the next.
func (ln *lane) believeRedirect(a *link.Adapter, from netip.Addr, q *quoted, via netip.Addr) bool {
	if _, ours := ln.conf.addrs.Local(q.src); !ours {
		return false
	}
	_, ours := ln.conf.addrs.Local(via)
	if ours || via.IsMulticast() || via.IsUnspecified() || via == broadcast4 || ln.conf.addrs.Broadcast(a.Index(), via) {
		return false
	}
	var d dst
	if ln.route(&d, q.dst, a.Index()) != packet.NotDropped || d.out != a || d.next != from || d.next == q.dst || via == from {
		return false
	}
	return ln.onLink(a, via) || via == q.dst && via.Is6()
}

func (ln *lane) defaultRouter(a *link.Adapter, ip netip.Addr) bool {
	return slices.ContainsFunc(ln.conf.routes.All(), func(r route.Route) bool {
		return r.Dst.Bits() == 0 && r.Via == ip && r.Adapter == a.Index()
	})
}

// redirected notes a better way, as a route of its own that ends with time.
func (ln *lane) redirected(x redirect) {
	x.until = ln.now + redirectAge
	ln.redirects = slices.DeleteFunc(ln.redirects, func(o redirect) bool { return o.dst == x.dst })
	if len(ln.redirects) >= redirectsKept {
		ln.redirects = slices.Delete(ln.redirects, 0, 1)
	}
	ln.redirects = append(ln.redirects, x)
	ln.autoChanged = true
	if ln.redirectTimer.Fire == nil {
		ln.redirectTimer.Fire = func(now time.Duration) {
			ln.redirects = slices.DeleteFunc(ln.redirects, func(o redirect) bool { return o.until <= now })
			ln.autoChanged = true
			if len(ln.redirects) > 0 {
				ln.schedule(&ln.redirectTimer, ln.redirects[0].until)
			}
		}
	}
	ln.scheduleLazily(&ln.redirectTimer, ln.redirects[0].until)
}

// mergeRedirects puts what routers have told into c, in place of what they told
// earlier.
func mergeRedirects(c *config, ln *lane) {
	routes := c.routes.Without(func(r route.Route) bool { return r.Protocol == route.Redirect })
	for _, x := range ln.redirects {
		if c.adapter(x.adapter) != nil {
			routes = routes.With(route.Route{
				Dst: netip.PrefixFrom(x.dst, x.dst.BitLen()), Via: x.via, Adapter: x.adapter, Protocol: route.Redirect,
			})
		}
	}
	c.routes = routes
}
