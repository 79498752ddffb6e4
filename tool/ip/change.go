package ip

import (
	"net/netip"
	"syscall"

	"github.com/towpath/towpath/ip/route"
)

// changeAddr adds an address or removes it.
func (c *call) changeAddr(add bool, p netip.Prefix, name string) error {
	a, err := c.adapter(name)
	if err != nil {
		return err
	}
	have := false
	for _, x := range c.Host.Addresses().All() {
		have = have || x.Adapter == a.Index() && x.Prefix.Addr().WithZone("") == p.Addr()
	}
	switch {
	case add && have:
		return c.refused(syscall.EEXIST)
	case add:
		return c.refused(c.Host.AddAddress(name, p))
	case !have:
		return c.refused(syscall.EADDRNOTAVAIL)
	}
	return c.refused(c.Host.RemoveAddress(p.Addr()))
}

// flushAddrs removes the addresses of an interface.
func (c *call) flushAddrs(name string) error {
	a, err := c.adapter(name)
	if err != nil {
		return err
	}
	for _, x := range c.Host.Addresses().All() {
		if x.Adapter != a.Index() || !c.wants(x.Prefix.Addr()) {
			continue
		}
		if err := c.Host.RemoveAddress(x.Prefix.Addr()); err != nil {
			return c.refused(err)
		}
	}
	return nil
}

// changeRoute adds a route, replaces the one to its prefix, or removes it.
func (c *call) changeRoute(word string, s routeSpec) error {
	if s.dev != "" {
		a, err := c.adapter(s.dev)
		if err != nil {
			return err
		}
		s.Adapter = a.Index()
	}
	if s.Kind == route.Unicast && s.Adapter == 0 && !s.Via.IsValid() && word != "delete" {
		return c.refused(syscall.ENODEV)
	}
	same := func(r route.Route) bool {
		return r.Dst == s.Dst && (r.Table == 0 || r.Table == route.TableMain) && (r.Metric == s.Metric || word == "delete" && !s.metric)
	}
	have := 0
	for _, r := range c.Host.Routes().All() {
		if same(r) {
			have++
		}
	}
	switch {
	case word == "add" && have > 0:
		return c.refused(syscall.EEXIST)
	case word == "delete":
		gone := 0
		err := c.Host.RemoveRoutes(func(r route.Route) bool {
			if gone > 0 || !same(r) || s.Via.IsValid() && r.Via != s.Via || s.Adapter != 0 && r.Adapter != s.Adapter {
				return false
			}
			gone++
			return true
		})
		if err == nil && gone == 0 {
			err = syscall.ESRCH
		}
		return c.refused(err)
	case have > 0:
		if err := c.Host.RemoveRoutes(same); err != nil {
			return c.refused(err)
		}
	}
	return c.refused(c.Host.AddRoute(s.Route))
}
