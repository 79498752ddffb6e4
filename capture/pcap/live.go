package pcap

import (
	"fmt"
	"net/netip"
	"time"

	"github.com/towpath/towpath/capture/live"
	"github.com/towpath/towpath/wire"
)

// Options are what is set on a handle before it is activated. The zero value is
// a good one.
type Options struct {
	// Snaplen bounds how many bytes of a packet are captured; 0 means
	// SnaplenMax (pcap_set_snaplen).
	Snaplen int
	// Promisc also captures what is addressed to other stations
	// (pcap_set_promisc).
	Promisc bool
	// Timeout bounds how long packets may wait to be seen together, and how
	// long NextEx and Dispatch wait for the first one; 0 means 100 ms and for
	// ever (pcap_set_timeout).
	Timeout time.Duration
	// Immediate shows each packet as soon as it is there
	// (pcap_set_immediate_mode).
	Immediate bool
	// BufferSize is how many bytes of packets may wait; 0 means 4 MiB
	// (pcap_set_buffer_size).
	BufferSize int
	// Nano asks for time stamps in nanoseconds (pcap_set_tstamp_precision).
	Nano bool
	// Protocol is the EtherType captured; 0 means all (pcap_set_protocol_linux).
	Protocol uint16
}

// An Interface is a device to capture on, a pcap_if_t.
type Interface = live.Device

// FindAllDevs are the system's devices, the one most likely wanted first.
func FindAllDevs() ([]Interface, error) { return live.Devices() }

// LookupNet is the IPv4 network of a device.
func LookupNet(device string) (netip.Prefix, error) {
	all, err := live.Devices()
	if err != nil {
		return netip.Prefix{}, err
	}
	for _, d := range all {
		if d.Name != device {
			continue
		}
		for _, a := range d.Addresses {
			if a.Addr().Is4() {
				return a.Masked(), nil
			}
		}
		return netip.Prefix{}, fmt.Errorf("%s has no IPv4 address", device)
	}
	return netip.Prefix{}, fmt.Errorf("there is no interface %q", device)
}

// OpenLive begins to capture on a device of the system (pcap_create,
// pcap_activate).
func OpenLive(device string, o Options) (*Handle, error) {
	c, err := live.Open(device, live.Config{
		Snaplen: o.Snaplen, Promisc: o.Promisc, Immediate: o.Immediate, Delay: o.Timeout, Buffer: o.BufferSize, Protocol: o.Protocol,
	})
	if err != nil {
		return nil, err
	}
	wait := time.Duration(-1)
	if o.Timeout > 0 {
		wait = o.Timeout
	}
	h := NewHandle(&adapterSource{c}, Info{Link: c.Link(), Snaplen: c.Snaplen(), Live: c.Beside()}, wait)
	h.nano = o.Nano
	return h, nil
}

// adapterSource is a Source.
type adapterSource struct{ *live.Capture }

func (d *adapterSource) Stats() (Stats, error) {
	s, err := d.Capture.Stats()
	return Stats{Recv: s.Received, Drop: s.Dropped, IfDrop: s.IfDropped}, err
}

// ListDatalinks are the link types that SetDatalink takes.
func (h *Handle) ListDatalinks() []wire.LinkType { return []wire.LinkType{h.info.Link} }

// SetDatalink chooses among the link types that a device has.
func (h *Handle) SetDatalink(l wire.LinkType) error {
	if l != h.info.Link {
		return fmt.Errorf("pcap: link type %d is not one of the device's, %d: %w", l, h.info.Link, ErrNotSupported)
	}
	return nil
}
