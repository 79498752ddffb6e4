package ifaddr

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"time"
)

// Temporary addresses (RFC 8981): beside each address made of a router's prefix
// one with a random identifier, for some days, followed by another before it is
// deprecated. What is the same for long, and reachable, and in the DNS, is not
// what connects to others.
//
//	  created            successor    deprecated                      removed
//	     |- - - - - - - - - - -|- - - - - -|- - - - - - - - - - - - - - -|
//	     |<-------- Preferred - desync --->|                             |
//	     |<-------------------------- Valid ---------------------------->|
//	                            |<-advance->|

// tempMax bounds the temporary addresses of one adapter: those of a week, of
// some prefixes.
const tempMax = 32

// A temp is what a temporary address has beside what others have.
type temp struct {
	validMax, preferredMax time.Duration // when it ends whatever routers say (RFC 8981 §3.4)
	advance                time.Duration // how long before it is deprecated a successor is made
	succeeded              bool          // which is there
}

// successorAt is when the successor of a temporary address is due.
func (x *autoAddr) successorAt() time.Duration {
	if x.Origin != Temporary || x.succeeded {
		return never
	}
	return x.preferred - x.advance
}

// temporary makes a temporary address beside a public one, after as many others
// as turned out to be taken, if it is wanted and would live long enough (RFC
// 8981 §3.4).
func (a *Auto) temporary(now time.Duration, l *autoLink, public autoAddr, taken int) {
	want := a.do.Privacy(l.adapter)
	is := func(x autoAddr) bool { return x.Adapter == l.adapter && x.Origin == Temporary }
	if want.Temporary <= 0 || public.barren || count(a.addrs, is) >= tempMax {
		return
	}
	advance := want.RegenMin + time.Duration(want.RegenRetries*max(a.Transmits, 0))*retransTimer
	preferred := want.Preferred
	// The desync factor must leave time before the successor (RFC 8981 §3.8).
	if most := min(want.Desync, preferred-advance); most > 0 {
		preferred -= time.Duration(a.rand.Int64N(int64(most)))
	}
	t := temp{validMax: after(now, want.Valid), preferredMax: after(now, preferred), advance: advance}
	x := autoAddr{
		Addr:  Addr{Adapter: l.adapter, Prefix: form(public.Prefix, a.chance()), Origin: Temporary},
		temp:  t,
		taken: taken,
		valid: min(public.valid, t.validMax), preferred: min(public.preferred, t.preferredMax),
	}
	if x.preferred-now > advance && !public.Deprecated {
		a.add(now, x)
	}
}

// chance is a random identifier (RFC 8981 §3.3.1).
func (a *Auto) chance() (id [8]byte) {
	for reserved(id) {
		binary.BigEndian.PutUint64(id[:], a.rand.Uint64())
	}
	return id
}

// renewTemporary takes a router's lifetimes for the temporary addresses of a
// public one, and makes one if there is none that will do.
func (a *Auto) renewTemporary(now time.Duration, l *autoLink, public autoAddr, valid, preferred time.Duration) {
	current := false
	for i := range a.addrs {
		x := &a.addrs[i]
		if x.Adapter != l.adapter || x.Origin != Temporary || !beside(x.Prefix, public.Prefix) {
			continue
		}
		x.renew(now, valid, preferred)
		x.valid, x.preferred = min(x.valid, x.validMax), min(x.preferred, x.preferredMax)
		x.Deprecated = x.preferred <= now
		current = current || !x.Deprecated && !x.succeeded
	}
	if !current {
		a.temporary(now, l, public, 0)
	}
}

// beside reports whether two addresses are in one network.
func beside(a, b netip.Prefix) bool { return a.Masked() == b.Masked() }

// succeed makes the successors of temporary addresses that are due.
func (a *Auto) succeed(now time.Duration) (changed bool) {
	for i := 0; i < len(a.addrs); i++ {
		if x := &a.addrs[i]; x.successorAt() <= now {
			x.succeeded = true
			a.again(now, *x, 0)
			changed = true
		}
	}
	return changed
}

// again makes a temporary address in the place of one.
func (a *Auto) again(now time.Duration, x autoAddr, taken int) {
	l := a.link(x.Adapter)
	i := slices.IndexFunc(a.addrs, func(o autoAddr) bool {
		return o.Adapter == x.Adapter && o.Origin == Autoconf && beside(o.Prefix, x.Prefix)
	})
	if l != nil && i >= 0 {
		a.temporary(now, l, a.addrs[i], taken)
	}
}

// replace makes another address for one that is somebody else's, if its
// identifier was not given by the station address. Who has tried often enough
// does not go on: somebody is against it (RFC 7217 §6, RFC 8981 §3.4).
func (a *Auto) replace(now time.Duration, x autoAddr) {
	l := a.link(x.Adapter)
	if l == nil {
		return
	}
	switch x.Origin {
	case Temporary:
		if x.taken+1 < a.do.Privacy(x.Adapter).RegenRetries {
			a.again(now, x, x.taken+1)
			return
		}
		for i := range a.addrs {
			if o := &a.addrs[i]; o.Adapter == x.Adapter && o.Origin == Autoconf && beside(o.Prefix, x.Prefix) {
				o.barren = true
			}
		}
	case LinkLocal, Autoconf:
		ip, ok := a.address(l, x.Prefix, x.taken+1)
		if ok {
			x.Prefix, x.taken = ip, x.taken+1
			a.add(now, x)
		}
	}
}
