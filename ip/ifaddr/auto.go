package ifaddr

import (
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"slices"
	"time"

	"github.com/towpath/towpath/wire"
)

// Constants of RFC 4861 §10 and RFC 4862 §5.1, and bounds against routers that
// announce without end.
const (
	retransTimer    = time.Second
	solicitsMax     = 3               // MAX_RTR_SOLICITATIONS
	solicitInterval = 4 * time.Second // RTR_SOLICITATION_INTERVAL
	delayMax        = time.Second     // MAX_RTR_SOLICITATION_DELAY
	twoHours        = 2 * time.Hour   // RFC 4862 §5.5.3 (e)
	addrsMax        = 16              // autoconfigured addresses of one adapter
	routersMax      = 16              // default routers of one adapter
	prefixesMax     = 32              // on-link prefixes of one adapter

	mtuMin, mtuMax = 1280, 65535 // RFC 8200 §5; larger is no news

	never = time.Duration(1<<63 - 1)
)

// Actions is what an [Auto] wants done. It must not call the Auto.
type Actions interface {
	// Probe sends a neighbour solicitation for duplicate address detection.
	// It has the nonce by which it is known if it comes back (RFC 7527).
	Probe(adapter int32, target netip.Addr, nonce [6]byte)
	// SolicitRouters sends a router solicitation from src.
	SolicitRouters(adapter int32, src netip.Addr)
	// Changed tells that Addrs, Routers or Prefixes have another result.
	Changed()
	// Privacy returns what is wanted of an adapter's addresses. It is asked when
	// one is made.
	Privacy(adapter int32) Privacy
	// Duplicate tells that somebody else has an address, which is gone.
	Duplicate(a Addr)
}

// A Router is a default router that has announced itself.
type Router struct {
	Adapter int32
	IP      netip.Addr // link-local
	// Preference among routers: 1 high, 0 medium, -1 low (RFC 4191 §2.2).
	Preference int
	until      time.Duration
}

// A Prefix is a network that routers say is on an adapter's link.
type Prefix struct {
	Adapter int32
	Prefix  netip.Prefix
	until   time.Duration
}

// Auto is a host's IPv6 stateless autoconfiguration: link-local addresses,
// duplicate address detection, router discovery, and addresses made of the
// prefixes that routers announce, with their lifetimes (RFC 4862, RFC 4861 §6).
//
// Addresses are optimistic (RFC 4429): they are used while they are being
// probed, and taken back if somebody else turns out to have them. It belongs to
// one lane and its lock; time comes as an argument.
type Auto struct {
	do   Actions
	rand *rand.Rand
	// Transmits is how many probes an address gets (Linux: dad_transmits).
	Transmits int

	links    []autoLink
	addrs    []autoAddr
	routers  []Router
	prefixes []Prefix
	routes   []Route
	servers  []server
	search   []domain
	next     time.Duration
}

type autoLink struct {
	adapter  int32
	name     string
	id       [8]byte  // identifier of the station address
	secret   [16]byte // for RandomOpaque; zero: not made yet
	solicits int      // router solicitations still to send
	at       time.Duration
	advice   Advice
}

// Advice is what routers say of how to send on a link (RFC 4861 §6.3.4); zero
// fields say nothing.
type Advice struct {
	MTU      int   // bytes, at least 1280
	HopLimit uint8 // of packets made here
}

type autoAddr struct {
	Addr
	probes    int     // still to send; -1: known to be ours
	nonce     [6]byte // of the last one
	at        time.Duration
	preferred time.Duration
	valid     time.Duration
	taken     int  // addresses before it that were somebody else's
	barren    bool // no temporary addresses beside it: all tried were taken
	temp
}

// NewAuto returns an Auto without adapters.
func NewAuto(do Actions, r *rand.Rand) *Auto {
	return &Auto{do: do, rand: r, Transmits: 1, next: never}
}

// Start begins for an adapter that has come up: a link-local address, and, if
// discover is set, the search for routers.
func (a *Auto) Start(now time.Duration, adapter int32, name string, mac wire.MAC, discover bool) {
	l := autoLink{adapter: adapter, name: name, id: eui64(mac), at: never}
	if discover {
		l.solicits, l.at = solicitsMax, now+a.delay()
	}
	a.links = append(a.links, l)
	if ip, ok := a.address(a.link(adapter), netip.MustParsePrefix("fe80::/64"), 0); ok {
		a.add(now, autoAddr{
			Addr:      Addr{Adapter: adapter, Prefix: ip, Origin: LinkLocal},
			preferred: never, valid: never,
		})
	}
	a.rearm()
}

// Stop forgets an adapter.
func (a *Auto) Stop(adapter int32) {
	a.links = slices.DeleteFunc(a.links, func(l autoLink) bool { return l.adapter == adapter })
	a.addrs = slices.DeleteFunc(a.addrs, func(x autoAddr) bool { return x.Adapter == adapter })
	a.routers = slices.DeleteFunc(a.routers, func(r Router) bool { return r.Adapter == adapter })
	a.prefixes = slices.DeleteFunc(a.prefixes, func(p Prefix) bool { return p.Adapter == adapter })
	a.routes = slices.DeleteFunc(a.routes, func(r Route) bool { return r.Adapter == adapter })
	a.servers = slices.DeleteFunc(a.servers, func(s server) bool { return s.adapter == adapter })
	a.search = slices.DeleteFunc(a.search, func(d domain) bool { return d.adapter == adapter })
	a.do.Changed()
}

// Add begins the probing of an address that somebody gave to an adapter.
func (a *Auto) Add(now time.Duration, adapter int32, p netip.Prefix) {
	a.add(now, autoAddr{Addr: Addr{Adapter: adapter, Prefix: p}, preferred: never, valid: never})
	a.rearm()
}

// Remove forgets an address.
func (a *Auto) Remove(ip netip.Addr) {
	a.addrs = slices.DeleteFunc(a.addrs, func(x autoAddr) bool { return x.Prefix.Addr() == ip })
	a.do.Changed()
}

func (a *Auto) add(now time.Duration, x autoAddr) {
	x.probes, x.at = -1, never
	if a.Transmits > 0 {
		x.Optimistic = true
		x.probes, x.at = a.Transmits, now+a.delay()
	}
	a.addrs = append(a.addrs, x)
	a.do.Changed()
}

// delay is random, so that hosts that start together do not speak together
// (RFC 4862 §5.4.2).
func (a *Auto) delay() time.Duration { return time.Duration(a.rand.Int64N(int64(delayMax))) }

// Addrs returns the addresses in the order in which they were made, those that
// were added by hand included.
func (a *Auto) Addrs() []Addr {
	all := make([]Addr, len(a.addrs))
	for i := range a.addrs {
		x := a.addrs[i].Addr
		x.Favored = (x.Origin == Temporary) == (a.do.Privacy(x.Adapter).Temporary > 1)
		all[i] = x
	}
	return all
}

// Routers returns the default routers, the first heard first.
func (a *Auto) Routers() []Router { return slices.Clone(a.routers) }

// Prefixes returns the networks that routers say are on links.
func (a *Auto) Prefixes() []Prefix { return slices.Clone(a.prefixes) }

// Advice returns what routers say of links, by adapter; nil if nothing.
func (a *Auto) Advice() map[int32]Advice {
	var all map[int32]Advice
	for _, l := range a.links {
		if l.advice != (Advice{}) {
			if all == nil {
				all = make(map[int32]Advice)
			}
			all[l.adapter] = l.advice
		}
	}
	return all
}

// Taken tells that a message shows somebody else to have or to want an address
// on an adapter. It reports whether that was being probed, and so is gone;
// another may be tried in its place.
func (a *Auto) Taken(now time.Duration, adapter int32, ip netip.Addr) bool {
	for i, x := range a.addrs {
		if x.Adapter == adapter && x.Prefix.Addr() == ip && x.Optimistic {
			a.addrs = slices.Delete(a.addrs, i, i+1)
			a.do.Duplicate(x.Addr)
			a.replace(now, x)
			a.do.Changed()
			a.rearm()
			return true
		}
	}
	return false
}

// Advert takes a router's advertisement, which has been found valid (RFC 4861
// §6.1.2): from is link-local.
func (a *Auto) Advert(now time.Duration, adapter int32, from netip.Addr, ra wire.RouterAdvert) {
	l := a.link(adapter)
	if l == nil {
		return
	}
	l.solicits, l.at = 0, never // somebody is there
	a.router(now, Router{Adapter: adapter, IP: from, Preference: ra.Preference()}, seconds(uint32(ra.Lifetime())))
	if n := ra.HopLimit(); n != 0 {
		l.advice.HopLimit = n
	}
	for o := ra.Options(); len(o) > 0; o = o.Next() {
		if n, ok := o.MTU(); ok && n >= mtuMin && n <= mtuMax {
			l.advice.MTU = int(n)
		}
		if p, ok := o.PrefixInfo(); ok {
			a.prefix(now, l, p)
		}
		if r, ok := o.RouteInfo(); ok {
			a.routeInfo(now, adapter, from, r)
		}
		a.resolver(now, adapter, o)
	}
	a.do.Changed()
	a.rearm()
}

// seconds is a lifetime; all bits set mean for ever.
func seconds(n uint32) time.Duration {
	if n == 1<<32-1 {
		return never
	}
	return time.Duration(n) * time.Second
}

// after is the end of a lifetime.
func after(now, lifetime time.Duration) time.Duration {
	if lifetime > never-now {
		return never
	}
	return now + lifetime
}

func (a *Auto) link(adapter int32) *autoLink {
	for i := range a.links {
		if a.links[i].adapter == adapter {
			return &a.links[i]
		}
	}
	return nil
}

// router enters or renews a default router; a lifetime of zero ends it.
func (a *Auto) router(now time.Duration, r Router, lifetime time.Duration) {
	r.until = after(now, lifetime)
	same := func(o Router) bool { return o.Adapter == r.Adapter && o.IP == r.IP }
	i := slices.IndexFunc(a.routers, same)
	switch {
	case lifetime == 0 && i >= 0:
		a.routers = slices.Delete(a.routers, i, i+1)
	case i >= 0:
		a.routers[i] = r
	case lifetime > 0 && count(a.routers, func(o Router) bool { return o.Adapter == r.Adapter }) < routersMax:
		a.routers = append(a.routers, r)
	}
}

func count[T any](s []T, f func(T) bool) (n int) {
	for _, x := range s {
		if f(x) {
			n++
		}
	}
	return n
}

// prefix takes one prefix of an advertisement.
func (a *Auto) prefix(now time.Duration, l *autoLink, p wire.NDPPrefix) {
	valid, preferred := seconds(p.Valid), seconds(p.Preferred)
	prefix := p.Prefix.Masked()
	if prefix.Addr().IsLinkLocalUnicast() || prefix.Addr().IsMulticast() || prefix.Addr().IsUnspecified() {
		return
	}
	if p.OnLink {
		a.onLink(now, Prefix{Adapter: l.adapter, Prefix: prefix}, valid)
	}
	if !p.Autonomous || prefix.Bits() != 64 || preferred > valid {
		return
	}
	mine := func(x autoAddr) bool { return x.Adapter == l.adapter && x.Origin == Autoconf }
	if i := slices.IndexFunc(a.addrs, func(x autoAddr) bool { return mine(x) && x.Prefix.Masked() == prefix }); i >= 0 {
		a.addrs[i].renew(now, valid, preferred)
		a.renewTemporary(now, l, a.addrs[i], valid, preferred)
		return
	}
	ip, ok := a.address(l, prefix, 0)
	if !ok || valid == 0 || count(a.addrs, mine) >= addrsMax {
		return
	}
	x := autoAddr{
		Addr:      Addr{Adapter: l.adapter, Prefix: ip, Origin: Autoconf, Deprecated: preferred == 0},
		preferred: after(now, preferred), valid: after(now, valid),
	}
	a.add(now, x)
	a.temporary(now, l, x, 0)
}

// renew takes new lifetimes. An unauthenticated message cannot take an address
// away within two hours (RFC 4862 §5.5.3 (e)).
func (x *autoAddr) renew(now, valid, preferred time.Duration) {
	x.preferred, x.Deprecated = after(now, preferred), preferred == 0
	left := x.valid - now
	switch {
	case valid > twoHours || valid > left:
		x.valid = after(now, valid)
	case left <= twoHours:
	default:
		x.valid = now + twoHours
	}
}

func (a *Auto) onLink(now time.Duration, p Prefix, valid time.Duration) {
	p.until = after(now, valid)
	i := slices.IndexFunc(a.prefixes, func(o Prefix) bool { return o.Adapter == p.Adapter && o.Prefix == p.Prefix })
	switch {
	case valid == 0 && i >= 0:
		a.prefixes = slices.Delete(a.prefixes, i, i+1)
	case i >= 0:
		a.prefixes[i] = p
	case valid > 0 && count(a.prefixes, func(o Prefix) bool { return o.Adapter == p.Adapter }) < prefixesMax:
		a.prefixes = append(a.prefixes, p)
	}
}

// Deadline is the instant of the next Timeout call that may do something.
func (a *Auto) Deadline() time.Duration { return a.next }

// rearm finds the next deadline.
func (a *Auto) rearm() {
	a.next = never
	for i := range a.links {
		a.next = min(a.next, a.links[i].at)
	}
	for i := range a.addrs {
		x := &a.addrs[i]
		a.next = min(a.next, x.at, x.valid, x.successorAt())
		if !x.Deprecated {
			a.next = min(a.next, x.preferred)
		}
	}
	for i := range a.routers {
		a.next = min(a.next, a.routers[i].until)
	}
	for i := range a.prefixes {
		a.next = min(a.next, a.prefixes[i].until)
	}
	for i := range a.routes {
		a.next = min(a.next, a.routes[i].until)
	}
	for i := range a.servers {
		a.next = min(a.next, a.servers[i].until)
	}
	for i := range a.search {
		a.next = min(a.next, a.search[i].until)
	}
}

// Timeout sends the probes and solicitations that are due, and ends what has
// lived its time.
func (a *Auto) Timeout(now time.Duration) {
	changed := false
	for i := range a.links {
		if l := &a.links[i]; l.at <= now {
			a.solicitRouters(now, l)
		}
	}
	for i := range a.addrs {
		x := &a.addrs[i]
		if x.at <= now {
			changed = a.probe(now, x) || changed
		}
		if x.preferred <= now && !x.Deprecated {
			x.Deprecated, changed = true, true
		}
	}
	changed = a.succeed(now) || changed
	n := len(a.addrs) + len(a.routers) + len(a.prefixes) + len(a.routes)
	a.addrs = slices.DeleteFunc(a.addrs, func(x autoAddr) bool { return x.valid <= now })
	a.routers = slices.DeleteFunc(a.routers, func(r Router) bool { return r.until <= now })
	a.prefixes = slices.DeleteFunc(a.prefixes, func(p Prefix) bool { return p.until <= now })
	a.routes = slices.DeleteFunc(a.routes, func(r Route) bool { return r.until <= now })
	a.servers = slices.DeleteFunc(a.servers, func(s server) bool { return s.until <= now })
	a.search = slices.DeleteFunc(a.search, func(d domain) bool { return d.until <= now })
	if changed || n != len(a.addrs)+len(a.routers)+len(a.prefixes)+len(a.routes) {
		a.do.Changed()
	}
	a.rearm()
}

// solicitRouters asks for routers, three times at most (RFC 4861 §6.3.7).
func (a *Auto) solicitRouters(now time.Duration, l *autoLink) {
	src := netip.IPv6Unspecified()
	for _, x := range a.addrs {
		if x.Adapter == l.adapter && x.Origin == LinkLocal {
			src = x.Prefix.Addr()
		}
	}
	a.do.SolicitRouters(l.adapter, src)
	l.at = never
	if l.solicits--; l.solicits > 0 {
		l.at = now + solicitInterval
	}
}

// probe sends the next probe for an address, or ends its probation.
func (a *Auto) probe(now time.Duration, x *autoAddr) (done bool) {
	if x.probes > 0 {
		x.probes--
		x.at = now + retransTimer
		binary.BigEndian.PutUint32(x.nonce[:], a.rand.Uint32())
		binary.BigEndian.PutUint16(x.nonce[4:], uint16(a.rand.Uint32())|1) // never all zeros
		a.do.Probe(x.Adapter, x.Prefix.Addr(), x.nonce)
		return false
	}
	x.probes, x.at, x.Optimistic = -1, never, false
	return true
}
