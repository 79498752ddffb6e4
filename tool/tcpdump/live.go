package tcpdump

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"

	"github.com/towpath/towpath/capture/pcap"
	"github.com/towpath/towpath/wire"
)

// stampTypes are libpcap's names for where time stamps come from.
var stampTypes = map[string]string{
	"host": "Host", "host_lowprec": "Host, low precision", "host_hiprec": "Host, high precision",
	"host_hiprec_unsynced": "Host, high precision, not synced with system time",
	"adapter":              "Adapter", "adapter_unsynced": "Adapter, not synced with system time",
}

// linkSLL2 is what captures on all interfaces begin with.
const linkSLL2 wire.LinkType = 276

// live captures on a device.
func (s *session) live(ctx context.Context) (err error) {
	device, err := s.device()
	if err != nil {
		return err
	}
	if s.o.monitor {
		return fmt.Errorf("%s: there is no monitor mode", device.Name)
	}
	if t := s.o.stamp; t != "" {
		if stampTypes[t] == "" {
			return fmt.Errorf("invalid time stamp type %s", t)
		}
		if t != "host" {
			fmt.Fprintf(s.e.Stderr, "tcpdump: WARNING: time stamps of type %s are not supported on %s; they are the host's\n", t, device.Name)
		}
	}
	printing := !s.o.onlyCount && (s.o.write == "" || s.o.printToo)
	s.h, err = s.e.Devices.Open(device.Name, pcap.Options{
		Snaplen: s.o.snaplen, Promisc: !s.o.noPromisc, BufferSize: s.o.buffer, Nano: s.o.print.Nano,
		Immediate: s.o.immediate || printing && s.e.Terminal,
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.h.Close()) }()
	if s.o.hasLink && s.h.SetDatalink(s.o.link) != nil {
		return fmt.Errorf("%s is not one of the DLTs supported by this device", pcap.DatalinkName(s.o.link))
	}
	if s.o.listing > 0 {
		return s.list(s.h)
	}
	s.h.SetDirection(s.o.direction)
	p, err := s.compile(s.h, netmask(device.Addresses))
	if err == nil {
		err = s.h.SetFilter(p)
	}
	if err == nil && s.o.user != "" {
		err = relinquish(s.o.user)
	}
	if err == nil {
		err = s.sinks(ctx)
	}
	if err != nil {
		return err
	}
	if n, ok := s.e.Devices.(interface{ Name(uint32) string }); ok && s.printer != nil {
		s.printer.Interface = n.Name
	}
	s.announce(device.Name)
	if err = s.loop(ctx); s.files != nil {
		err = errors.Join(err, s.files.close())
	}
	s.report()
	return err
}

// device is what -i names, by name or number, or the first device.
func (s *session) device() (pcap.Interface, error) {
	all, err := s.e.Devices.List()
	if err != nil {
		return pcap.Interface{}, err
	}
	name := s.o.device
	if name == "" && len(all) > 0 {
		return all[0], nil
	}
	for _, d := range all {
		if d.Name == name {
			return d, nil
		}
	}
	if n, err := strconv.Atoi(name); err == nil {
		if n < 1 || n > len(all) {
			return pcap.Interface{}, fmt.Errorf("there is no interface %d; -D lists %d", n, len(all))
		}
		return all[n-1], nil
	}
	return pcap.Interface{Name: name}, nil // Open knows best what to say
}

// netmask is that of the first IPv4 address, or not valid.
func netmask(addrs []netip.Prefix) netip.Addr {
	for _, p := range addrs {
		if p.Addr().Is4() {
			return netip.AddrFrom4([4]byte(net.CIDRMask(p.Bits(), 32)))
		}
	}
	return netip.Addr{}
}

// announce says what is captured on.
func (s *session) announce(device string) {
	if s.h.Datalink() == linkSLL2 {
		fmt.Fprintln(s.e.Stderr, "tcpdump: data link type LINUX_SLL2")
	}
	if s.o.write == "" && s.o.print.Verbose == 0 {
		fmt.Fprintln(s.e.Stderr, "tcpdump: verbose output suppressed, use -v[v]... for full protocol decode")
	} else {
		fmt.Fprint(s.e.Stderr, "tcpdump: ")
	}
	fmt.Fprintf(s.e.Stderr, "listening on %s, link-type %s, snapshot length %d bytes\n", device, datalink(s.h.Datalink()), s.h.Snapshot())
}

// loop goes through packets until there are enough, none more, or ctx is done.
// Text is written out before each time that it would wait.
func (s *session) loop(ctx context.Context) error {
	stop := context.AfterFunc(ctx, s.h.BreakLoop)
	defer stop()
	for ctx.Err() == nil && !s.done() {
		if _, err := s.h.Dispatch(s.left(), s.packet); err != nil {
			return s.outcome(err)
		}
		if err := s.out.Flush(); err != nil {
			return err
		}
	}
	return nil
}

// report says how many packets there were.
func (s *session) report() {
	stats, err := s.h.Stats()
	if err != nil {
		return
	}
	say := func(n uint64, what string) {
		plural := "s"
		if n == 1 {
			plural = ""
		}
		fmt.Fprintf(s.e.Stderr, "%d packet%s %s\n", n, plural, what)
	}
	say(uint64(s.captured), "captured")
	say(stats.Recv, "received by filter")
	say(stats.Drop, "dropped by kernel")
	if stats.IfDrop > 0 {
		say(stats.IfDrop, "dropped by interface")
	}
}

// listDevices prints the devices, for -D.
func listDevices(e *Env) error {
	all, err := e.Devices.List()
	if err != nil {
		return err
	}
	for i, d := range all {
		fmt.Fprintf(e.Stdout, "%d.%s", i+1, d.Name)
		if d.Description != "" {
			fmt.Fprintf(e.Stdout, " (%s)", d.Description)
		}
		var flags []string
		for _, f := range []struct {
			set  bool
			name string
		}{
			{d.Up, "Up"}, {d.Running, "Running"}, {d.Loopback, "Loopback"}, {d.Wireless, "Wireless"},
			{d.Known && d.Connected, "Connected"}, {d.Known && !d.Connected, "Disconnected"},
		} {
			if f.set {
				flags = append(flags, f.name)
			}
		}
		if flags == nil {
			flags = []string{"none"}
		}
		fmt.Fprintf(e.Stdout, " [%s]\n", strings.Join(flags, ", "))
	}
	return nil
}

// listDatalinks prints the link types of a device, for -L.
func listDatalinks(o *options, e *Env) error {
	s := &session{o: o, e: e}
	device, err := s.device()
	if err != nil {
		return err
	}
	h, err := e.Devices.Open(device.Name, pcap.Options{})
	if err != nil {
		return err
	}
	defer h.Close()
	fmt.Fprintf(e.Stderr, "Data link types for %s (use option -y to set):\n", device.Name)
	for _, l := range h.ListDatalinks() {
		fmt.Fprintf(e.Stderr, "  %s\n", datalink(l))
	}
	return nil
}

// listTimestamps prints where the times of a device's packets may come from, for
// -J.
func listTimestamps(o *options, e *Env) error {
	device, err := (&session{o: o, e: e}).device()
	if err != nil {
		return err
	}
	fmt.Fprintf(e.Stderr, "Time stamp types for %s (use option -j to set):\n  host (Host)\n", device.Name)
	return nil
}
