package host

import (
	"context"
	crand "crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/towpath/towpath/clock"
	"github.com/towpath/towpath/firewall/hook"
	"github.com/towpath/towpath/ip/frag"
	"github.com/towpath/towpath/ip/group"
	"github.com/towpath/towpath/ip/ifaddr"
	"github.com/towpath/towpath/ip/neigh"
	"github.com/towpath/towpath/ip/route"
	"github.com/towpath/towpath/link"
	"github.com/towpath/towpath/link/loop"
	"github.com/towpath/towpath/packet"
)

// Config is what a host is made of. The zero value is a good one.
type Config struct {
	// Name of the host, for people and for its own name resolution.
	Name string
	// Names, if not nil, is asked for the addresses of names in lower case that
	// [Host.AddName] has not told of. It may be called at any time, and keeps no
	// reference to what it returns.
	Names func(name string) []netip.Addr
	// Clock is where time comes from; nil means [clock.Real].
	Clock clock.Clock
	// Seed makes the host's random choices (ports, sequence numbers)
	// repeatable; 0 draws them from the system's randomness.
	Seed uint64
	// Forward: packets for others are forwarded.
	Forward bool
	// Settings are the tunables; zero fields have their defaults. Forward above
	// is Settings.Forward in short.
	Settings Settings
}

var linkLocal6 = netip.MustParsePrefix("fe80::/64")

// LoopbackName is the name of the adapter every host begins with.
const LoopbackName = "lo"

// A Host is one host of a network. Its methods may be called by several
// goroutines at once.
type Host struct {
	name  string
	names func(string) []netip.Addr // nil: none
	clock clock.Clock
	conf  atomic.Pointer[config]
	neigh *neigh.Cache
	pmtu  route.PMTU
	frags *frag.Table
	mem   budget
	lane  lane
	group link.Group

	mu     sync.Mutex // configuration writers
	closed bool
	// Settings by name that have no effect, as they were set; see SetSysctl.
	remembered map[string]string
	seed       [2]uint64 // secret of this host's hashes

	fragIDs *frag.IDs
	groups  *group.Table // guarded by the lane, but for Member
}

// New makes a host with a loopback adapter and nothing else.
func New(c Config) *Host {
	if c.Clock == nil {
		c.Clock = clock.Real()
	}
	h := &Host{name: c.Name, names: c.Names, clock: c.Clock, neigh: neigh.New(0)}
	h.seed = [2]uint64{c.Seed, c.Seed ^ 0x746f7770617468}
	if c.Seed == 0 {
		var b [16]byte
		crand.Read(b[:])
		h.seed = [2]uint64{binary.LittleEndian.Uint64(b[:]), binary.LittleEndian.Uint64(b[8:])}
	}
	charge := func(n int) { h.mem.add(int64(n)) }
	h.frags = frag.New(frag.Config{Charge: charge})
	h.neigh.Charge = charge
	var secret [32]byte
	binary.LittleEndian.PutUint64(secret[:], h.seed[0])
	binary.LittleEndian.PutUint64(secret[8:], h.seed[1])
	h.fragIDs = frag.NewIDs(secret)
	h.groups = group.New(0, rand.NewPCG(h.seed[1], h.seed[0]))
	set := c.Settings
	set.Forward = set.Forward || c.Forward
	set.fill()
	set.fillFastOpen(h.seed)
	h.conf.Store(&config{
		adapters: make([]*link.Adapter, 1),
		addrs:    new(ifaddr.Set),
		routes:   new(route.Table),
		hooks:    new(hook.Table),
		set:      set,
		links:    newLinkConf(),
	})
	h.lane.init(h, rand.NewPCG(h.seed[0], h.seed[1]))
	if _, err := h.AddAdapter(LoopbackName, loop.New()); err != nil {
		panic("host: loopback: " + err.Error()) // a fresh host has no other adapter
	}
	for _, p := range []string{"127.0.0.1/8", "::1/128"} {
		if err := h.AddAddress(LoopbackName, netip.MustParsePrefix(p)); err != nil {
			panic("host: loopback: " + err.Error())
		}
	}
	return h
}

// Name is the host's name.
func (h *Host) Name() string { return h.name }

// Clock is the host's clock.
func (h *Host) Clock() clock.Clock { return h.clock }

var errClosed = errors.New("host is closed")

// edit publishes a changed copy of the configuration.
func (h *Host) edit(change func(c *config) error) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return errClosed
	}
	c := *h.conf.Load()
	if err := change(&c); err != nil {
		return err
	}
	h.conf.Store(&c)
	return nil
}

// AddAdapter puts a driver's adapter on the host and opens it. The host owns
// the driver from then on, even if an error is returned.
func (h *Host) AddAdapter(name string, m link.Miniport) (*link.Adapter, error) {
	var a *link.Adapter
	err := h.edit(func(c *config) error {
		if name == "" || c.byName(name) != nil {
			return fmt.Errorf("adapter %q: the host %s has one of that name", name, h.name)
		}
		a = link.NewAdapter(name, int32(len(c.adapters)), m)
		a.Bind(h)
		// Never in place: readers hold the old slice.
		c.adapters = append(c.adapters[:len(c.adapters):len(c.adapters)], a)
		a.SetDropTap(c.dropTap)
		c.links = c.links.edited(len(c.adapters), func(*linkConf) {})
		return nil
	})
	if err != nil {
		return nil, errors.Join(err, m.Close())
	}
	if err := a.Open(); err != nil {
		h.forget(a)
		return nil, errors.Join(err, m.Close())
	}
	h.edit(func(c *config) error {
		if a.Capabilities().Medium == link.MediumEthernet && !c.set.NoAutoconf {
			h.auto(c, func(ln *lane, auto *ifaddr.Auto) {
				auto.Transmits = c.set.DADTransmits
				auto.Start(ln.now, a.Index(), a.Name(), a.MAC(), !c.set.Forward && !c.set.NoAcceptRA)
			})
			c.routes = c.routes.With(route.Route{Dst: linkLocal6, Adapter: a.Index(), Metric: metricPrefix, Protocol: route.Kernel})
		}
		return nil
	})
	h.tapAdapters()
	return a, nil
}

// SetDropTap sets the observer of all packets that the host, its adapters and
// their links drop; nil for none. What is dropped as the host or an adapter
// closes is counted only.
func (h *Host) SetDropTap(t link.DropTap) error {
	return h.edit(func(c *config) error {
		c.dropTap = t
		for _, a := range c.adapters {
			if a != nil {
				a.SetDropTap(t)
			}
		}
		return nil
	})
}

// RemoveAdapter closes an adapter and removes it with its addresses and routes.
func (h *Host) RemoveAdapter(name string) error {
	a := h.Adapter(name)
	if a == nil {
		return fmt.Errorf("adapter %q: the host %s has none of that name", name, h.name)
	}
	h.forget(a)
	return a.Close()
}

func (h *Host) forget(a *link.Adapter) {
	h.edit(func(c *config) error {
		adapters := append([]*link.Adapter(nil), c.adapters...)
		h.auto(c, func(_ *lane, auto *ifaddr.Auto) { auto.Stop(a.Index()) })
		adapters[a.Index()] = nil
		c.adapters = adapters
		c.addrs = c.addrs.Without(func(x ifaddr.Addr) bool { return x.Adapter == a.Index() })
		gone := func(t *route.Table) *route.Table {
			return t.Without(func(r route.Route) bool { return r.Multi == nil && r.Kind == route.Unicast && r.Adapter == a.Index() })
		}
		c.routes, c.rules = gone(c.routes), c.rules.Each(gone)
		return nil
	})
	h.flushNeighbors(a.Index())
	h.lane.lock()
	h.lane.adapterGone(a.Index())
	h.lane.unlock(nil)
}

// flushNeighbors forgets the neighbours on an adapter, or all if it is 0.
func (h *Host) flushNeighbors(adapter int32) {
	var l packet.List
	h.neigh.Flush(adapter, &l)
	n := l.Drop(packet.ReasonNeighborFlushed)
	h.lane.mu.Lock()
	h.lane.drops[packet.ReasonNeighborFlushed] += uint64(n)
	h.lane.mu.Unlock()
}

// Adapter finds an adapter by name; nil if there is none.
func (h *Host) Adapter(name string) *link.Adapter { return h.conf.Load().byName(name) }

// Adapters returns the host's adapters in the order of their indices.
func (h *Host) Adapters() []*link.Adapter {
	var all []*link.Adapter
	for _, a := range h.conf.Load().adapters {
		if a != nil {
			all = append(all, a)
		}
	}
	return all
}

// AddAddress gives an adapter an address, and the host the route to the
// address's network.
func (h *Host) AddAddress(adapter string, p netip.Prefix) error {
	err := h.edit(func(c *config) error {
		a := c.byName(adapter)
		ip := p.Addr()
		switch {
		case a == nil:
			return fmt.Errorf("address %v: the host %s has no adapter %q", p, h.name, adapter)
		case !p.IsValid() || ip.IsUnspecified() || ip.IsMulticast() || ip.Is4In6():
			return fmt.Errorf("address %v: not an address that an adapter can have", p)
		}
		if _, dup := c.addrs.Local(ip); dup {
			return fmt.Errorf("address %v: the host %s has it already", p, h.name)
		}
		if ip.Is6() && a.Capabilities().Medium == link.MediumEthernet {
			h.auto(c, func(ln *lane, auto *ifaddr.Auto) {
				auto.Transmits = c.set.DADTransmits
				auto.Add(ln.now, a.Index(), p)
			})
		} else {
			c.addrs = c.addrs.With(ifaddr.Addr{Adapter: a.Index(), Prefix: p})
		}
		if !ip.IsLoopback() {
			c.routes = c.routes.With(route.Route{Dst: p.Masked(), Adapter: a.Index(), Source: ip, Protocol: route.Kernel})
		}
		return nil
	})
	if err == nil && p.Addr().Is4() {
		h.announce(adapter, p.Addr())
	}
	return err
}

// RemoveAddress takes an address from whichever adapter has it, and the route
// that came with it.
func (h *Host) RemoveAddress(ip netip.Addr) error {
	return h.edit(func(c *config) error {
		if _, ok := c.addrs.Local(ip); !ok {
			return fmt.Errorf("address %v: the host %s does not have it", ip, h.name)
		}
		h.auto(c, func(_ *lane, auto *ifaddr.Auto) { auto.Remove(ip) })
		c.addrs = c.addrs.Without(func(a ifaddr.Addr) bool { return a.Prefix.Addr() == ip })
		c.routes = c.routes.Without(func(r route.Route) bool { return r.Source == ip })
		return nil
	})
}

// AddRoute adds a route. If Adapter is 0 it is found through Via, which must
// then be in a network that the host is on.
func (h *Host) AddRoute(r route.Route) error {
	return h.edit(func(c *config) error {
		if !r.Dst.IsValid() {
			return errors.New("route: the destination is not a prefix")
		}
		r.Dst = r.Dst.Masked()
		switch {
		case r.MTU != 0 && r.MTU < route.MTUMin(r.Dst):
			return fmt.Errorf("route %v: an MTU of %d bytes is too small; the least is %d", r.Dst, r.MTU, route.MTUMin(r.Dst))
		case r.Kind != route.Unicast:
			c.addRoute(route.Route{Dst: r.Dst, Metric: r.Metric, Kind: r.Kind, Table: r.Table})
			return nil
		case r.Multi != nil:
			m := &route.Multipath{Hops: slices.Clone(r.Multi.Hops)}
			if len(m.Hops) == 0 || len(m.Hops) > route.HopsMax {
				return fmt.Errorf("route %v: it has %d ways; write 1 to %d", r.Dst, len(m.Hops), route.HopsMax)
			}
			for i := range m.Hops {
				hop := &m.Hops[i]
				if hop.Weight < 0 || hop.Weight > route.WeightMax {
					return fmt.Errorf("route %v: weight %d; write 1 to %d", r.Dst, hop.Weight, route.WeightMax)
				}
				if err := h.checkHop(c, r.Dst, hop.Via, &hop.Adapter); err != nil {
					return err
				}
			}
			r.Multi, r.Via, r.Adapter = m, netip.Addr{}, 0
		default:
			if err := h.checkHop(c, r.Dst, r.Via, &r.Adapter); err != nil {
				return err
			}
		}
		c.addRoute(r)
		return nil
	})
}

// checkHop finds the adapter of a next hop, if it is not given, and reports
// what is wrong with the two.
func (h *Host) checkHop(c *config, dst netip.Prefix, via netip.Addr, adapter *int32) error {
	if *adapter == 0 {
		if !via.IsValid() {
			return fmt.Errorf("route %v: it has neither a next hop nor an adapter", dst)
		}
		direct, ok := c.routes.Lookup(via)
		if !ok || direct.Via.IsValid() || direct.Multi != nil {
			return fmt.Errorf("route %v via %v: the host %s is on no network with %v", dst, via, h.name, via)
		}
		*adapter = direct.Adapter
	}
	switch {
	case c.adapter(*adapter) == nil:
		return fmt.Errorf("route %v: the host %s has no adapter with index %d", dst, h.name, *adapter)
	case via.IsValid() && via.Is4() != dst.Addr().Is4():
		return fmt.Errorf("route %v via %v: the next hop is of the other address family", dst, via)
	}
	if _, ours := c.addrs.Local(via); via.IsValid() && ours {
		return fmt.Errorf("route %v via %v: the next hop is the host %s itself", dst, via, h.name)
	}
	return nil
}

// addRoute puts a route into its table.
func (c *config) addRoute(r route.Route) {
	if r.Table == 0 || r.Table == route.TableMain {
		c.routes = c.routes.With(r)
		return
	}
	c.rules = c.rules.WithTable(r.Table, c.rules.Table(r.Table).With(r))
}

// AddRule adds a rule that chooses a routing table for some packets (Linux: ip
// rule add).
func (h *Host) AddRule(r route.Rule) error {
	return h.edit(func(c *config) error {
		switch {
		case r.Action == route.Goto && r.Goto <= r.Priority:
			return fmt.Errorf("rule %d: goto %d does not lead on; write a larger priority", r.Priority, r.Goto)
		case r.Action == route.ToTable && r.Table == 0:
			return fmt.Errorf("rule %d: it has no table", r.Priority)
		case r.From.IsValid() && r.To.IsValid() && r.From.Addr().Is4() != r.To.Addr().Is4():
			return fmt.Errorf("rule %d: from %v to %v is of two address families", r.Priority, r.From, r.To)
		}
		c.rules = c.rules.With(r)
		return nil
	})
}

// RemoveRules removes the rules for which drop reports true.
func (h *Host) RemoveRules(drop func(route.Rule) bool) error {
	return h.edit(func(c *config) error {
		c.rules = c.rules.Without(drop)
		return nil
	})
}

// Rules is the host's policy; it lends its tables too.
func (h *Host) Rules() *route.Rules { return h.conf.Load().rules }

// RemoveRoutes removes the routes of all tables for which drop reports true.
func (h *Host) RemoveRoutes(drop func(route.Route) bool) error {
	return h.edit(func(c *config) error {
		c.routes = c.routes.Without(drop)
		c.rules = c.rules.Each(func(t *route.Table) *route.Table { return t.Without(drop) })
		return nil
	})
}

// Routes is the routing table.
func (h *Host) Routes() *route.Table { return h.conf.Load().routes }

// Addresses is the host's addresses.
func (h *Host) Addresses() *ifaddr.Set { return h.conf.Load().addrs }

// Neighbors returns what the host knows of its neighbours.
func (h *Host) Neighbors() []neigh.Info { return h.neigh.All(h.clock.Now()) }

// Settings returns the tunables in force.
func (h *Host) Settings() Settings { return h.conf.Load().set }

// SetSettings changes the tunables; zero fields take their defaults.
func (h *Host) SetSettings(s Settings) error {
	s.fill()
	s.fillFastOpen(h.seed)
	if err := s.checkCongestion(); err != nil {
		return err
	}
	return h.edit(func(c *config) error {
		c.set = s
		return nil
	})
}

// SetForwarding switches forwarding on or off.
func (h *Host) SetForwarding(on bool) error {
	return h.edit(func(c *config) error {
		c.set.Forward = on
		return nil
	})
}

// AddName makes a name resolve to addresses in this host's Dial, Listen and
// ListenPacket, as a line of /etc/hosts does. Names are not case sensitive.
func (h *Host) AddName(name string, addrs ...netip.Addr) error {
	return h.edit(func(c *config) error {
		names := maps.Clone(c.names)
		if names == nil {
			names = make(map[string][]netip.Addr)
		}
		key := canonicalName(name)
		names[key] = append(names[key][:len(names[key]):len(names[key])], addrs...)
		c.names = names
		return nil
	})
}

// AddJudge makes a judge look at every packet that passes a point. Lower
// priorities go first; those of netfilter's hooks are a good scale.
func (h *Host) AddJudge(at hook.Point, priority int, j hook.PacketJudge) error {
	return h.editHooks(func(t *hook.Table) { t.Packet[at] = t.Packet[at].With(priority, j) })
}

// RemoveJudge takes a judge from a point.
func (h *Host) RemoveJudge(at hook.Point, j hook.PacketJudge) error {
	return h.editHooks(func(t *hook.Table) { t.Packet[at] = t.Packet[at].Without(j) })
}

// AddSocketJudge makes a judge look at an operation of every socket.
func (h *Host) AddSocketJudge(at hook.SocketPoint, priority int, j hook.SocketJudge) error {
	return h.editHooks(func(t *hook.Table) { t.Socket[at] = t.Socket[at].With(priority, j) })
}

// RemoveSocketJudge takes a judge from an operation.
func (h *Host) RemoveSocketJudge(at hook.SocketPoint, j hook.SocketJudge) error {
	return h.editHooks(func(t *hook.Table) { t.Socket[at] = t.Socket[at].Without(j) })
}

// SetQueuer says who takes packets of which a judge says that they wait for a
// verdict from elsewhere; nil for nobody.
func (h *Host) SetQueuer(q hook.Queuer) error {
	return h.editHooks(func(t *hook.Table) { t.Queuer = q })
}

func (h *Host) editHooks(change func(t *hook.Table)) error {
	return h.edit(func(c *config) error {
		t := *c.hooks
		change(&t)
		c.hooks = &t
		return nil
	})
}

// Receive implements [link.Protocol]: the beginning of the receive walk for a
// host.
func (h *Host) Receive(a *link.Adapter, l *packet.List, w *link.Work) {
	ln := &h.lane
	ln.lock()
	if ln.closed {
		n := l.Drop(packet.ReasonHostClosed)
		ln.drops[packet.ReasonHostClosed] += uint64(n)
		ln.unlock(w)
		return
	}
	for p := l.Pop(); p != nil; p = l.Pop() {
		ln.frameIn(a, p)
	}
	ln.unlock(w)
}

// Drops returns how many packets were dropped here for each reason, the
// adapters' included.
func (h *Host) Drops() packet.Counters {
	h.lane.mu.Lock()
	c := h.lane.drops
	h.lane.mu.Unlock()
	for _, a := range h.Adapters() {
		a.Drops(&c)
	}
	return c
}

// Close resets the host's connections, closes its sockets and adapters and
// waits until nothing of it runs any more, or ctx is done. Calls blocked in its
// sockets return net.ErrClosed.
func (h *Host) Close(ctx context.Context) error {
	h.mu.Lock()
	closed := h.closed
	h.closed = true
	adapters := h.Adapters()
	h.mu.Unlock()
	if closed {
		return nil
	}
	h.lane.close()
	done := make(chan error, 1)
	go func() {
		var errs []error
		for _, a := range adapters {
			errs = append(errs, a.Close())
		}
		h.flushNeighbors(0)
		h.group.Wait()
		h.lane.trim()
		done <- errors.Join(errs...)
	}()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return fmt.Errorf("host %s: close: %w", h.name, context.Cause(ctx))
	}
}
