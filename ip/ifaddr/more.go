package ifaddr

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/towpath/towpath/wire"
)

// Bounds against routers that announce without end, for one adapter.
const (
	routesMax  = 32
	serversMax = 8
	searchMax  = 8
)

// A Route is a way to a prefix that a router has announced (RFC 4191).
type Route struct {
	Adapter    int32
	Prefix     netip.Prefix
	Via        netip.Addr // link-local
	Preference int        // 1 high, 0 medium, -1 low
	until      time.Duration
}

// A server is a recursive DNS server, a domain one in which names are looked
// for, by a router's word (RFC 8106).
type server struct {
	adapter int32
	ip      netip.Addr
	until   time.Duration
}

type domain struct {
	adapter int32
	name    string
	until   time.Duration
}

// Routes returns the routes that routers have announced beside the default.
func (a *Auto) Routes() []Route { return slices.Clone(a.routes) }

// DNS returns the DNS servers and the search domains that routers have
// announced, the newest last. Of a link-local server the adapter is told by its
// index.
func (a *Auto) DNS(each func(adapter int32, server netip.Addr), domains func(name string)) {
	for _, s := range a.servers {
		each(s.adapter, s.ip)
	}
	for _, d := range a.search {
		domains(d.name)
	}
}

// keep replaces the element of a bounded list that is the same as x, or adds x;
// a lifetime of zero removes it. A full list stays as it is.
func keep[T any](list []T, x T, lifetime time.Duration, most int, same, sameAdapter func(T) bool) []T {
	i := slices.IndexFunc(list, same)
	switch {
	case i >= 0 && lifetime == 0:
		return slices.Delete(list, i, i+1)
	case i >= 0:
		list[i] = x
	case lifetime > 0 && count(list, sameAdapter) < most:
		return append(list, x)
	}
	return list
}

// routeInfo takes a route information option. One of ::/0 says more of the
// router than the advertisement's header (RFC 4191 §3.1).
func (a *Auto) routeInfo(now time.Duration, adapter int32, from netip.Addr, r wire.NDPRoute) {
	lifetime := seconds(r.Lifetime)
	if r.Prefix.Bits() == 0 {
		a.router(now, Router{Adapter: adapter, IP: from, Preference: r.Preference}, lifetime)
		return
	}
	if r.Prefix.Addr().IsLinkLocalUnicast() || r.Prefix.Addr().IsMulticast() {
		return
	}
	x := Route{Adapter: adapter, Prefix: r.Prefix, Via: from, Preference: r.Preference, until: after(now, lifetime)}
	a.routes = keep(a.routes, x, lifetime, routesMax,
		func(o Route) bool { return o.Adapter == adapter && o.Prefix == x.Prefix && o.Via == from },
		func(o Route) bool { return o.Adapter == adapter })
}

// resolver takes a recursive DNS server option or a search list.
func (a *Auto) resolver(now time.Duration, adapter int32, o wire.NDPOptions) {
	if n, servers, ok := o.RDNSS(); ok {
		for i := range servers {
			x := server{adapter, o.Server(i), after(now, seconds(n))}
			if x.ip.IsMulticast() || x.ip.IsUnspecified() {
				continue
			}
			a.servers = keep(a.servers, x, seconds(n), serversMax,
				func(o server) bool { return o.adapter == adapter && o.ip == x.ip },
				func(o server) bool { return o.adapter == adapter })
		}
	}
	if o.Type() == wire.NDPDNSSL && o.Len() >= 16 {
		lifetime := seconds(binary.BigEndian.Uint32(o[4:]))
		for _, name := range domainNames(o[8:o.Len()]) {
			x := domain{adapter, name, after(now, lifetime)}
			a.search = keep(a.search, x, lifetime, searchMax,
				func(o domain) bool { return o.adapter == adapter && o.name == name },
				func(o domain) bool { return o.adapter == adapter })
		}
	}
}

// domainNames reads names in the form of RFC 1035 §3.1 without compression,
// padded with zeros (RFC 8106 §5.2). What is malformed ends the list.
func domainNames(b []byte) (names []string) {
	for len(b) > 0 && b[0] != 0 {
		var labels []string
		size := 0
		for len(b) > 0 && b[0] != 0 {
			n := int(b[0])
			if n > 63 || n >= len(b) || size+n+1 > 254 {
				return names
			}
			label := string(b[1 : 1+n])
			if strings.ContainsFunc(label, func(r rune) bool { return r <= ' ' || r >= 0x7f || r == '.' }) {
				return names
			}
			labels, size, b = append(labels, label), size+n+1, b[1+n:]
		}
		if len(b) == 0 {
			return names
		}
		b = b[1:]
		names = append(names, strings.Join(labels, "."))
	}
	return names
}

// Looped reports whether a probe for an address is one that was sent from here
// and has come back: it has the nonce of the last one (RFC 7527 §4.2).
func (a *Auto) Looped(adapter int32, ip netip.Addr, nonce []byte) bool {
	for i := range a.addrs {
		x := &a.addrs[i]
		if x.Adapter == adapter && x.Prefix.Addr() == ip {
			return x.nonce != [6]byte{} && string(nonce) == string(x.nonce[:])
		}
	}
	return false
}
