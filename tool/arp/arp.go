// Package arp is the tool that shows a host's IPv4 neighbours: arp, with
// net-tools' lines.
//
//	arp [-a | -e] [-n] [-i INTERFACE] [ADDRESS]
//
// Limits: names of addresses are not looked up. Entries are not changed (-s, -d),
// which [tool.Unknown] says.
package arp

import (
	"cmp"
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/towpath/towpath/ip/neigh"
	"github.com/towpath/towpath/tool"
)

// Tool is arp.
var Tool = tool.Tool{
	Name:  "arp",
	Usage: "arp [-a | -e] [-n] [-i INTERFACE] [ADDRESS]",
	Short: "shows IPv4 neighbours",
	Parse: Parse,
}

// Parse reads arp's arguments.
func Parse(args []string) (tool.Run, error) {
	bsd, device, only := false, "", netip.Addr{}
	for i := 0; i < len(args); i++ {
		letters, ok := strings.CutPrefix(args[i], "-")
		if !ok {
			a, err := netip.ParseAddr(args[i])
			if err != nil || only.IsValid() {
				return nil, fmt.Errorf("%q is no address to be shown", args[i])
			}
			only = a
			continue
		}
		for _, c := range letters {
			switch c {
			case 'a':
				bsd = true
			case 'n', 'e':
			case 'i':
				if i++; i == len(args) {
					return nil, fmt.Errorf("-i needs an interface")
				}
				device = args[i]
			default:
				return nil, tool.Unknown("option " + args[i])
			}
		}
	}
	return func(_ context.Context, e *tool.Env) error { show(e, bsd, device, only); return nil }, nil
}

func show(e *tool.Env, bsd bool, device string, only netip.Addr) {
	names := map[int32]string{}
	for _, a := range e.Host.Adapters() {
		names[a.Index()] = a.Name()
	}
	all := slices.DeleteFunc(e.Host.Neighbors(), func(n neigh.Info) bool {
		return !n.IP.Is4() || device != "" && names[n.Adapter] != device || only.IsValid() && n.IP != only
	})
	slices.SortFunc(all, func(a, b neigh.Info) int { return cmp.Or(cmp.Compare(a.Adapter, b.Adapter), a.IP.Compare(b.IP)) })
	switch {
	case len(all) == 0 && only.IsValid():
		fmt.Fprintf(e.Stdout, "%s (%s) -- no entry\n", only, only)
	case len(all) > 0 && !bsd:
		fmt.Fprintf(e.Stdout, "%-24s %-7s %-19s %-5s %-15s %s\n", "Address", "HWtype", "HWaddress", "Flags", "Mask", "Iface")
	}
	for _, n := range all {
		known := n.State != neigh.Incomplete && n.State != neigh.Failed
		line(e, bsd, n, known, names[n.Adapter])
	}
}

func line(e *tool.Env, bsd bool, n neigh.Info, known bool, device string) {
	flags := "C"
	if n.State == neigh.Permanent {
		flags = "CM"
	}
	switch {
	case bsd && known:
		fmt.Fprintf(e.Stdout, "? (%s) at %s [ether] on %s\n", n.IP, n.MAC, device)
	case bsd:
		fmt.Fprintf(e.Stdout, "? (%s) at <incomplete> on %s\n", n.IP, device)
	case known:
		fmt.Fprintf(e.Stdout, "%-24s %-7s %-19s %-5s %-15s %s\n", n.IP, "ether", n.MAC, flags, "", device)
	default:
		fmt.Fprintf(e.Stdout, "%-24s %-7s %-19s %-5s %-15s %s\n", n.IP, "", "(incomplete)", "", "", device)
	}
}
