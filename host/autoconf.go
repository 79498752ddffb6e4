package host

import (
	"net/netip"
	"time"

	"github.com/towpath/towpath/ip/ifaddr"
	"github.com/towpath/towpath/ip/neigh"
	"github.com/towpath/towpath/ip/route"
	"github.com/towpath/towpath/link"
	"github.com/towpath/towpath/packet"
	"github.com/towpath/towpath/wire"
)

// Metrics of what routers announce, as on Linux: a route that somebody entered
// wins over it. A router's preference makes its metric one less or one more.
const (
	metricPrefix = 256
	metricRouter = 1024
)

var allRouters6 = netip.MustParseAddr("ff02::2")

// autoActions does for the lane's autoconfiguration what it wants done. The
// lane is locked.
type autoActions lane

// Probe sends a duplicate address detection probe (RFC 4862 §5.4.2).
func (x *autoActions) Probe(adapter int32, target netip.Addr, nonce [6]byte) {
	ln := (*lane)(x)
	if a := ln.conf.adapter(adapter); a != nil {
		dst := wire.SolicitedNode(target)
		ln.ndpOut(a, wire.MulticastMAC(dst), netip.IPv6Unspecified(), dst, wire.NeighborSolicitLen+ndpNonceLen, func(b []byte) {
			wire.PutNeighborSolicit(b, target)
			wire.PutNonceOption(b[wire.NeighborSolicitLen:], nonce)
		})
	}
}

// SolicitRouters asks for advertisements. From an optimistic address it does
// not tell the station address (RFC 4429 §3.2).
func (x *autoActions) SolicitRouters(adapter int32, src netip.Addr) {
	ln := (*lane)(x)
	a := ln.conf.adapter(adapter)
	if a == nil {
		return
	}
	size := wire.RouterSolicitLen
	tell := !src.IsUnspecified() && !ln.optimistic(src)
	if tell {
		size += ndpLinkAddrLen
	}
	ln.ndpOut(a, wire.MulticastMAC(allRouters6), src, allRouters6, size, func(b []byte) {
		wire.PutRouterSolicit(b)
		if tell {
			wire.PutLinkAddrOption(b[wire.RouterSolicitLen:], wire.NDPSourceLinkAddr, a.MAC())
		}
	})
}

// Changed notes that addresses and routes are to be published after unlocking.
func (x *autoActions) Changed() { x.autoChanged = true }

// Privacy tells what is wanted of addresses, by the settings of the adapter.
func (x *autoActions) Privacy(adapter int32) ifaddr.Privacy {
	a := x.conf.adapter(adapter)
	if a == nil {
		return ifaddr.Privacy{}
	}
	l := x.conf.link(a)
	return ifaddr.Privacy{
		Identifiers: ifaddr.Identifiers(l.AddrGenMode), Secret: l.StableSecret, Temporary: l.UseTempAddr,
		Valid:     time.Duration(l.TempValid) * time.Second,
		Preferred: time.Duration(l.TempPreferred) * time.Second,
		Desync:    time.Duration(l.MaxDesync) * time.Second,
		RegenMin:  time.Duration(l.RegenMinAdvance) * time.Second, RegenRetries: l.RegenMaxRetry,
	}
}

// Duplicate counts an address that turned out to be somebody else's.
func (x *autoActions) Duplicate(ifaddr.Addr) { x.stats.DuplicateAddresses++ }

// optimistic reports whether an address is ours and still being probed.
func (ln *lane) optimistic(ip netip.Addr) bool {
	for _, a := range ln.conf.addrs.All() {
		if a.Prefix.Addr() == ip {
			return a.Optimistic
		}
	}
	return false
}

// auto runs f on the autoconfiguration, in a hold of the lane that sends
// nothing, and puts its outcome into c. host.mu is held.
func (h *Host) auto(c *config, f func(ln *lane, auto *ifaddr.Auto)) {
	ln := &h.lane
	ln.lock()
	defer ln.unlock(nil)
	f(ln, ln.auto)
	ln.autoArm()
	ln.autoChanged = false
	mergeAuto(c, ln.auto)
	mergeRedirects(c, ln)
	ln.schedule(&ln.groupTimer, ln.now) // groups follow addresses
}

// mergeAuto replaces in c what earlier came from the autoconfiguration.
func mergeAuto(c *config, auto *ifaddr.Auto) {
	mine := func(a ifaddr.Addr) bool {
		x := c.adapter(a.Adapter)
		return a.Prefix.Addr().Is6() && x != nil && x.Capabilities().Medium == link.MediumEthernet
	}
	addrs := c.addrs.Without(mine)
	for _, a := range auto.Addrs() {
		addrs = addrs.With(a)
	}
	routes := c.routes.Without(func(r route.Route) bool { return r.Protocol == route.RA })
	for _, p := range auto.Prefixes() {
		routes = routes.With(route.Route{Dst: p.Prefix, Adapter: p.Adapter, Metric: metricPrefix, Protocol: route.RA})
	}
	for _, r := range auto.Routers() {
		routes = routes.With(route.Route{
			Dst: netip.PrefixFrom(netip.IPv6Unspecified(), 0), Via: r.IP, Adapter: r.Adapter,
			Metric: uint32(metricRouter - r.Preference), Protocol: route.RA,
		})
	}
	for _, r := range auto.Routes() {
		routes = routes.With(route.Route{
			Dst: r.Prefix, Via: r.Via, Adapter: r.Adapter, Metric: uint32(metricRouter - r.Preference), Protocol: route.RA,
		})
	}
	c.addrs, c.routes, c.advice = addrs, routes, auto.Advice()
}

// Resolvers returns the DNS servers and search domains that routers have
// announced (RFC 8106). The host itself does not use them.
func (h *Host) Resolvers() (servers []netip.Addr, search []string) {
	ln := &h.lane
	ln.lock()
	defer ln.unlock(nil)
	ln.auto.DNS(func(adapter int32, ip netip.Addr) {
		if a := ln.conf.adapter(adapter); a != nil && ip.IsLinkLocalUnicast() {
			ip = ip.WithZone(a.Name())
		}
		servers = append(servers, ip)
	}, func(name string) { search = append(search, name) })
	return servers, search
}

// publishAuto publishes what the autoconfiguration has come to.
func (h *Host) publishAuto() {
	h.edit(func(c *config) error {
		h.auto(c, func(*lane, *ifaddr.Auto) {})
		return nil
	})
}

// autoArm keeps the autoconfiguration's timer.
func (ln *lane) autoArm() {
	if ln.autoTimer.Fire == nil {
		ln.autoTimer.Fire = func(now time.Duration) {
			ln.auto.Timeout(now)
			ln.autoArm()
		}
	}
	ln.scheduleLazily(&ln.autoTimer, ln.auto.Deadline())
}

// routerAdvertIn takes a router's advertisement (RFC 4861 §6.1.2, §6.3.4).
// Routers do not listen to others (Linux: accept_ra).
func (ln *lane) routerAdvertIn(a *link.Adapter, p *packet.Packet, ra wire.RouterAdvert) {
	if !ra.Valid() || !p.Src.IsLinkLocalUnicast() {
		ln.drop(p, packet.ReasonNDPRouter)
		return
	}
	if ln.conf.set.Forward || ln.conf.set.NoAcceptRA {
		ln.drop(p, packet.ReasonNDPRouterIgnored)
		return
	}
	if mac, ok := ra.Options().Find(wire.NDPSourceLinkAddr).LinkAddr(); ok && !mac.IsMulticast() {
		var ready packet.List
		ln.host.neigh.Learn(ln.now, neigh.Key{Adapter: a.Index(), IP: p.Src}, neigh.News{MAC: mac, Override: true, Create: true}, &ready)
		ln.learned(a, mac, &ready)
	}
	ln.host.neigh.SetTimes(a.Index(), time.Duration(ra.ReachableTime())*time.Millisecond, time.Duration(ra.RetransTimer())*time.Millisecond)
	ln.auto.Advert(ln.now, a.Index(), p.Src, ra)
	ln.autoArm()
	ln.pool.Free(p)
}
