// Package route is the tool that shows a host's IPv4 routes: route, with
// net-tools' lines.
//
//	route [-n]
//
// Limits: names are not looked up, which is -n. Changes (add, del) and IPv6 (-A)
// are not known, which [tool.Unknown] says; package ip knows them.
package route

import (
	"context"
	"fmt"
	"net"
	"net/netip"

	"github.com/towpath/towpath/ip/route"
	"github.com/towpath/towpath/tool"
)

// Tool is route.
var Tool = tool.Tool{
	Name:  "route",
	Usage: "route [-n]",
	Short: "shows IPv4 routes",
	Parse: Parse,
}

// Parse reads route's arguments.
func Parse(args []string) (tool.Run, error) {
	for _, a := range args {
		if a != "-n" {
			return nil, tool.Unknown(a)
		}
	}
	return func(_ context.Context, e *tool.Env) error { show(e, len(args) > 0); return nil }, nil
}

func show(e *tool.Env, numeric bool) {
	names := map[int32]string{}
	for _, a := range e.Host.Adapters() {
		names[a.Index()] = a.Name()
	}
	fmt.Fprintln(e.Stdout, "Kernel IP routing table")
	fmt.Fprintln(e.Stdout, "Destination     Gateway         Genmask         Flags Metric Ref    Use Iface")
	for _, r := range e.Host.Routes().All() {
		if !r.Dst.Addr().Is4() {
			continue
		}
		dst, via, device, flags := r.Dst.Addr().String(), "0.0.0.0", names[r.Adapter], "U"
		if r.Multi != nil {
			r.Via, device = r.Multi.Hops[0].Via, names[r.Multi.Hops[0].Adapter]
		}
		if r.Via.IsValid() {
			via, flags = r.Via.String(), flags+"G"
		}
		if r.Dst.IsSingleIP() {
			flags += "H"
		}
		if r.Protocol == route.Redirect {
			flags += "D"
		}
		if r.Kind != route.Unicast {
			via, device, flags = "-", "-", "!"
			if r.Dst.IsSingleIP() {
				flags += "H"
			}
		}
		if !numeric && r.Dst.Bits() == 0 {
			dst = "default"
		}
		fmt.Fprintf(e.Stdout, "%-15s %-15s %-15s %-5s %-6d %-3d %6s %s\n", dst, via, mask(r.Dst), flags, r.Metric, 0, "0", device)
	}
}

// mask is a prefix's length as an address.
func mask(p netip.Prefix) string { return net.IP(net.CIDRMask(p.Bits(), 32)).String() }
