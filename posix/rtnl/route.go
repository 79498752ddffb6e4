package rtnl

import (
	"net/netip"
	"syscall"

	"github.com/towpath/towpath/ip/route"
)

// Attributes of routes.
const (
	rtaDst       = 1
	rtaOif       = 4
	rtaGateway   = 5
	rtaPriority  = 6
	rtaPrefsrc   = 7
	rtaMetrics   = 8
	rtaMultipath = 9
	rtaTable     = 15

	rtaxLock = 1
	rtaxMTU  = 2
)

const (
	rtmsgLen   = 12
	rtnexthop  = 8
	tableLocal = 255
	flagCloned = 0x200 // RTM_F_CLONED
	tableByte0 = 252   // RT_TABLE_COMPAT: the number does not fit its byte
)

// Types of routes.
const (
	rtnUnicast = 1
	rtnLocal   = 2
)

var rtnTypes = map[route.Kind]uint8{
	route.Unicast: rtnUnicast, route.Blackhole: 6, route.Unreachable: 7, route.Prohibit: 8,
}

// rtprot are the protocols in Linux's numbers.
var rtprot = map[route.Protocol]uint8{route.Redirect: 1, route.Kernel: 2, route.Static: 4, route.RA: 9}

func tableByte(n uint32) uint8 {
	if n > 255 {
		return tableByte0
	}
	return uint8(n)
}

func (r *request) newRouteMessage(x route.Route) message {
	if x.Table == 0 {
		x.Table = route.TableMain
	}
	dst := x.Dst.Addr().WithZone("")
	scope := uint8(scopeUniverse)
	if dst.Is4() && x.Kind == route.Unicast && !x.Via.IsValid() && x.Multi == nil {
		scope = scopeLink
	}
	m := message{typ: newRoute, b: []byte{
		familyOf(dst), uint8(x.Dst.Bits()), 0, 0, tableByte(x.Table), rtprot[x.Protocol], scope, rtnTypes[x.Kind], 0, 0, 0, 0,
	}}
	m.attr32(rtaTable, x.Table)
	if x.Dst.Bits() > 0 {
		m.ip(rtaDst, dst)
	}
	if x.Metric != 0 {
		m.attr32(rtaPriority, x.Metric)
	}
	if x.Source.IsValid() {
		m.ip(rtaPrefsrc, x.Source.WithZone(""))
	}
	if x.MTU != 0 {
		var inner message
		if x.MTULock {
			inner.attr32(rtaxLock, 1<<rtaxMTU)
		}
		inner.attr32(rtaxMTU, uint32(x.MTU))
		m.attr(rtaMetrics, inner.b)
	}
	switch {
	case x.Kind != route.Unicast:
	case x.Multi != nil:
		var hops []byte
		for _, hop := range x.Multi.Hops {
			var inner message
			inner.ip(rtaGateway, hop.Via.WithZone(""))
			if !hop.Via.IsValid() {
				inner.b = nil
			}
			hops = native.AppendUint16(hops, uint16(rtnexthop+len(inner.b)))
			hops = append(hops, 0, uint8(hop.Weight-1))
			hops = append(native.AppendUint32(hops, uint32(hop.Adapter)), inner.b...)
		}
		m.attr(rtaMultipath, hops)
	default:
		if x.Via.IsValid() {
			m.ip(rtaGateway, x.Via.WithZone(""))
		}
		m.attr32(rtaOif, uint32(x.Adapter))
	}
	return m
}

// allRoutes are the routes of all tables but that of local addresses.
func (r *request) allRoutes() []route.Route {
	list := r.host.Routes().All()
	seen := map[uint32]bool{0: true, route.TableMain: true, tableLocal: true}
	for _, x := range r.policy() {
		if x.Action != route.ToTable || seen[x.Table] {
			continue
		}
		seen[x.Table] = true
		for _, y := range r.host.Rules().Table(x.Table).All() {
			y.Table = x.Table
			list = append(list, y)
		}
	}
	return list
}

func (r *request) routes() (list []message, e syscall.Errno) {
	attrs, e := r.attributes(min(rtmsgLen, len(r.body)))
	if e != 0 {
		return nil, e
	}
	if !r.dump() {
		return r.lookup()
	}
	table := u32(attrs[rtaTable])
	for _, x := range r.allRoutes() {
		n := x.Table
		if n == 0 {
			n = route.TableMain
		}
		if r.wants(x.Dst.Addr()) && (table == 0 || table == n) {
			list = append(list, r.newRouteMessage(x))
		}
	}
	return list, 0
}

// lookup is the way to one address.
func (r *request) lookup() ([]message, syscall.Errno) {
	attrs, e := r.attributes(rtmsgLen)
	if e != 0 {
		return nil, e
	}
	dst := addrOf(r.family(), attrs[rtaDst])
	if !dst.IsValid() {
		return nil, syscall.EINVAL
	}
	whole := netip.PrefixFrom(dst, dst.BitLen())
	if _, ok := r.host.Addresses().Local(dst); ok {
		lo := adapter(r.host, 0, "lo")
		if lo == nil {
			return nil, syscall.ENETUNREACH
		}
		m := r.cloned(route.Route{Dst: whole, Adapter: lo.Index(), Source: dst})
		m.b[7] = rtnLocal
		return []message{m}, 0
	}
	x, ok := r.host.Routes().Lookup(dst)
	if p := r.host.Rules(); p != nil {
		x, ok = p.Lookup(&route.Key{Dst: dst}, r.host.Routes())
	}
	switch {
	case !ok || x.Kind == route.Unreachable:
		return nil, syscall.ENETUNREACH
	case x.Kind == route.Blackhole:
		return nil, syscall.EINVAL
	case x.Kind == route.Prohibit:
		return nil, syscall.EACCES
	}
	if x.Multi != nil {
		hop := x.Multi.Hops[0]
		x.Via, x.Adapter, x.Multi = hop.Via, hop.Adapter, nil
	}
	next := x.Via
	if !next.IsValid() {
		next = dst
	}
	if !x.Source.IsValid() {
		x.Source, _ = r.host.Addresses().Source(x.Adapter, dst, next)
	}
	x.Dst, x.Metric, x.Table = whole, 0, route.TableMain
	return []message{r.cloned(x)}, 0
}

// cloned is a route that is the result of a look-up.
func (r *request) cloned(x route.Route) message {
	m := r.newRouteMessage(x)
	m.b[5], m.b[6] = 0, scopeUniverse // nobody entered it
	native.PutUint32(m.b[8:], flagCloned)
	return m
}

// route reads the route that is to be changed.
func (r *request) route() (x route.Route, e syscall.Errno) {
	attrs, e := r.attributes(rtmsgLen)
	if e != 0 {
		return x, e
	}
	family := r.family()
	if x.Dst, e = prefixOf(family, attrs[rtaDst], r.body[1]); e != 0 {
		return x, e
	}
	if x.Table = u32(attrs[rtaTable]); x.Table == 0 {
		x.Table = uint32(r.body[4])
	}
	found := false
	for kind, n := range rtnTypes {
		if n == r.body[7] {
			x.Kind, found = kind, true
		}
	}
	if !found && r.body[7] != 0 {
		return x, syscall.EOPNOTSUPP
	}
	x.Via = addrOf(family, attrs[rtaGateway])
	x.Source = addrOf(family, attrs[rtaPrefsrc])
	x.Adapter, x.Metric = int32(u32(attrs[rtaOif])), u32(attrs[rtaPriority])
	metrics := attributes(attrs[rtaMetrics])
	x.MTU, x.MTULock = int(u32(metrics[rtaxMTU])), u32(metrics[rtaxLock])&(1<<rtaxMTU) != 0
	var hops []route.Hop
	for b := attrs[rtaMultipath]; len(b) >= rtnexthop && len(hops) < route.HopsMax; {
		n := int(native.Uint16(b))
		if n < rtnexthop || n > len(b) {
			return x, syscall.EINVAL
		}
		hops = append(hops, route.Hop{
			Via:     addrOf(family, attributes(b[rtnexthop:n])[rtaGateway]),
			Adapter: int32(native.Uint32(b[4:])), Weight: int(b[3]) + 1,
		})
		b = b[min(align(n), len(b)):]
	}
	if len(hops) > 0 {
		x.Multi = &route.Multipath{Hops: hops}
	}
	if x.Adapter == 0 && x.Via.IsValid() { // on the link of its gateway
		if y, ok := r.host.Routes().Lookup(x.Via); ok {
			x.Adapter = y.Adapter
		}
	}
	return x, 0
}

func (r *request) addRoute() syscall.Errno {
	x, e := r.route()
	if e != 0 {
		return e
	}
	if x.Kind == route.Unicast && x.Multi == nil && adapter(r.host, x.Adapter, "") == nil {
		if x.Adapter == 0 {
			return syscall.ENETUNREACH
		}
		return syscall.ENODEV
	}
	if r.flags&flagReplace == 0 && r.flags&flagExcl != 0 {
		for _, y := range r.allRoutes() {
			if y.Dst == x.Dst && y.Metric == x.Metric && sameTable(x, y) {
				return syscall.EEXIST
			}
		}
	}
	if r.flags&flagReplace != 0 {
		if err := r.host.RemoveRoutes(func(y route.Route) bool {
			return y.Dst == x.Dst && y.Metric == x.Metric && sameTable(x, y)
		}); err != nil {
			return errnoOf(err)
		}
	}
	return errnoOf(r.host.AddRoute(x))
}

func sameTable(x, y route.Route) bool {
	for _, n := range []*uint32{&x.Table, &y.Table} {
		if *n == 0 {
			*n = route.TableMain
		}
	}
	return x.Table == y.Table
}

func (r *request) removeRoute() syscall.Errno {
	x, e := r.route()
	if e != 0 {
		return e
	}
	attrs, _ := r.attributes(rtmsgLen)
	found := false
	err := r.host.RemoveRoutes(func(y route.Route) bool {
		if found || y.Dst != x.Dst || !sameTable(x, y) || x.Metric != 0 && y.Metric != x.Metric ||
			x.Via.IsValid() && y.Via != x.Via || len(attrs[rtaOif]) > 0 && y.Adapter != x.Adapter ||
			r.body[7] != 0 && y.Kind != x.Kind {
			return false
		}
		found = true
		return true
	})
	if err == nil && !found {
		return syscall.ESRCH
	}
	return errnoOf(err)
}
