package tcpdump

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/towpath/towpath/capture/pcap"
	"github.com/towpath/towpath/host"
	"github.com/towpath/towpath/tool"
)

// Tool is tcpdump on a host.
var Tool = tool.Tool{
	Name:  "tcpdump",
	Usage: "tcpdump [-D] [-i ADAPTER|any] [-c COUNT] [-r FILE] [-w FILE] [OPTION...] [EXPRESSION]",
	Short: "prints or writes the packets that pass a host's adapters",
	Parse: func(args []string) (tool.Run, error) {
		o, err := parse(args)
		if err != nil {
			return nil, err
		}
		if o.user != "" {
			return nil, errors.New("a host has no users; leave -Z out")
		}
		return o.onHost, nil
	},
}

// onHost is a tool's run. Addresses have no names: the system's resolver knows
// nothing of a host's network.
func (o *options) onHost(ctx context.Context, e *tool.Env) error {
	env := &Env{
		Stdin: e.Stdin, Stdout: e.Stdout, Stderr: e.Stderr, Dir: e.Dir,
		Devices: Host{e.Host}, Lookup: func(netip.Addr) string { return "" },
	}
	if env.Stdin == nil {
		env.Stdin = strings.NewReader("")
	}
	return o.run(ctx, env)
}

// A NodeDevice is a device of a lab's node, NODE:ADAPTER.
type NodeDevice struct {
	Node, Adapter string
	Args          []string // the command line as the node is to have it
}

// OnNode finds the device of a node that a command line captures on. It reports
// false if that is another one, or what is wrong will be said of it anyway.
func OnNode(args []string) (d NodeDevice, ok bool) {
	o, err := parse(args)
	if err != nil || o.read != "" || o.readList != "" {
		return d, false
	}
	d.Node, d.Adapter, ok = strings.Cut(o.device, ":")
	if !ok || d.Node == "" || d.Adapter == "" {
		return NodeDevice{}, false
	}
	// Of two options -i the last one counts.
	d.Args = slices.Insert(slices.Clone(args), o.end, "-i", d.Adapter)
	return d, true
}

// Host are the devices of a host: its adapters, and all of them as "any".
type Host struct{ *host.Host }

// anyAdapter is the device that is all adapters.
const anyAdapter = "any"

// List implements [Devices].
func (h Host) List() ([]pcap.Interface, error) {
	var all []pcap.Interface
	loop := pcap.Interface{Name: host.LoopbackName}
	for _, a := range h.Adapters() {
		d := pcap.Interface{Name: a.Name(), Up: a.Up(), Running: a.Up()}
		for _, x := range h.Addresses().All() {
			if x.Adapter == a.Index() {
				d.Addresses = append(d.Addresses, x.Prefix)
			}
		}
		if d.Name == host.LoopbackName {
			d.Loopback = true
			loop = d
			continue
		}
		all = append(all, d)
	}
	whole := pcap.Interface{Name: anyAdapter, Description: "Pseudo-device that captures on all interfaces", Up: true, Running: true}
	return append(all, whole, loop), nil
}

// Open implements [Devices].
func (h Host) Open(device string, o pcap.Options) (*pcap.Handle, error) {
	if a := h.Adapter(device); a != nil {
		return pcap.OpenAdapter(a, h.Clock(), o)
	}
	if device == anyAdapter {
		return pcap.OpenAdapters(h.Adapters(), h.Clock(), o)
	}
	var names []string
	for _, a := range h.Adapters() {
		names = append(names, a.Name())
	}
	return nil, fmt.Errorf("%s: no such adapter; write one of %s, %s", device, strings.Join(names, ", "), anyAdapter)
}

// Name is the name of an adapter, or "".
func (h Host) Name(index uint32) string {
	for _, a := range h.Adapters() {
		if uint32(a.Index()) == index {
			return a.Name()
		}
	}
	return ""
}
