package procnet

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"net/netip"

	"github.com/towpath/towpath/ip/neigh"
	"github.com/towpath/towpath/ip/route"
)

// adapter is the name of an adapter.
func (w *writer) adapter(index int32) string {
	for _, a := range w.host.Adapters() {
		if a.Index() == index {
			return a.Name()
		}
	}
	return "*"
}

func (w *writer) dev() {
	w.printf("Inter-|   Receive                                                |  Transmit\n" +
		" face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed\n")
	for _, a := range w.host.Adapters() {
		s := a.Stats()
		w.printf("%6s: %7d %7d %4d %4d %4d %5d %10d %9d %8d %7d %4d %4d %4d %5d %7d %10d\n",
			a.Name(), s.RxBytes, s.RxPackets, 0, s.Dropped, 0, 0, 0, 0, s.TxBytes, s.TxPackets, 0, 0, 0, 0, 0, 0)
	}
}

// Flags of entries of the ARP cache (arp(7)).
const (
	arpComplete  = 0x2
	arpPermanent = 0x4
)

func (w *writer) arp() {
	w.printf("IP address       HW type     Flags       HW address            Mask     Device\n")
	for _, n := range w.host.Neighbors() {
		if !n.IP.Is4() {
			continue
		}
		flags := arpComplete
		switch n.State {
		case neigh.Incomplete, neigh.Failed:
			flags, n.MAC = 0, [6]byte{}
		case neigh.Permanent:
			flags |= arpPermanent
		}
		w.printf("%-16s 0x%-10x0x%-10x%-17s     *        %s\n", n.IP, 1, flags, n.MAC, w.adapter(n.Adapter))
	}
}

// Flags of routes (linux/route.h, linux/ipv6_route.h).
const (
	routeUp      = 0x1
	routeGateway = 0x2
	routeHost    = 0x4
	routeReject  = 0x200
)

func routeFlags(r *route.Route) int {
	f := routeUp
	if r.Via.IsValid() {
		f |= routeGateway
	}
	if r.Dst.IsSingleIP() {
		f |= routeHost
	}
	if r.Kind != route.Unicast {
		f |= routeReject
	}
	return f
}

// routes are those of the main table, of several ways the first.
func (w *writer) routes() (list []route.Route) {
	for _, r := range w.host.Routes().All() {
		if r.Table != 0 && r.Table != route.TableMain {
			continue
		}
		if r.Multi != nil {
			r.Via, r.Adapter = r.Multi.Hops[0].Via, r.Multi.Hops[0].Adapter
		}
		list = append(list, r)
	}
	return list
}

// number is an IPv4 address as a number.
func number(a netip.Addr) uint32 {
	if !a.Is4() {
		return 0
	}
	ip := a.As4()
	return binary.NativeEndian.Uint32(ip[:])
}

func (w *writer) routes4() {
	line := func(s string) { w.printf("%-127s\n", s) }
	line("Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT")
	for _, r := range w.routes() {
		if !r.Dst.Addr().Is4() {
			continue
		}
		mask, _ := netip.AddrFrom4([4]byte{255, 255, 255, 255}).Prefix(r.Dst.Bits())
		line(fmt.Sprintf("%s\t%08X\t%08X\t%04X\t%d\t%d\t%d\t%08X\t%d\t%d\t%d",
			w.adapter(r.Adapter), number(r.Dst.Addr()), number(r.Via), routeFlags(&r), 0, 0, r.Metric, number(mask.Addr()), r.MTU, 0, 0))
	}
}

// digits is an IPv6 address in 32 digits; of none, that of all addresses.
func digits(a netip.Addr) string {
	if !a.Is6() {
		a = netip.IPv6Unspecified()
	}
	ip := a.As16()
	return hex.EncodeToString(ip[:])
}

// metric6 is the metric of a route that has been given none.
const metric6 = 1024

func (w *writer) routes6() {
	for _, r := range w.routes() {
		if !r.Dst.Addr().Is6() {
			continue
		}
		metric := r.Metric
		if metric == 0 {
			metric = metric6
		}
		w.printf("%s %02x %s 00 %s %08x %08x %08x %08x %8s\n", digits(r.Dst.Addr()), r.Dst.Bits(), digits(netip.Addr{}),
			digits(r.Via), metric, 1, 0, routeFlags(&r), w.adapter(r.Adapter))
	}
}

// Scopes and flags of addresses (linux/ipv6.h, linux/if_addr.h).
const (
	scopeLoopback = 0x10
	scopeLink     = 0x20
	flagDeprecate = 0x20
	flagTentative = 0x40
	flagPermanent = 0x80
)

func (w *writer) addresses6() {
	for _, a := range w.host.Addresses().All() {
		ip := a.Prefix.Addr()
		if !ip.Is6() {
			continue
		}
		scope, flags := 0, flagPermanent
		switch {
		case ip.IsLoopback():
			scope = scopeLoopback
		case ip.IsLinkLocalUnicast():
			scope = scopeLink
		}
		if a.Optimistic {
			flags |= flagTentative
		}
		if a.Deprecated {
			flags |= flagDeprecate
		}
		w.printf("%s %02x %02x %02x %02x %8s\n", digits(ip), a.Adapter, a.Prefix.Bits(), scope, flags, w.adapter(a.Adapter))
	}
}
