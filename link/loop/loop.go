// Package loop is the loopback driver: what a host sends on it, the host
// receives. Packets keep their super-segments and partial checksums.
//
// # Theory of operation
//
// A [Driver] is one [link.Queue] that leads back to its own adapter. The
// sender's Work delivers, as on a cable.
package loop

import (
	"github.com/towpath/towpath/link"
	"github.com/towpath/towpath/packet"
)

// MTU is the loopback adapter's MTU in bytes, as on Linux.
const MTU = 65535

// Driver is the loopback miniport.
type Driver struct{ q link.Queue }

// New returns a loopback driver.
func New() *Driver { return new(Driver) }

// Capabilities implements [link.Miniport].
func (d *Driver) Capabilities() link.Capabilities {
	return link.Capabilities{Medium: link.MediumIP, MTU: MTU, GSOMax: packet.SizeMax, TxChecksum: true, Loopback: true}
}

// Start implements [link.Miniport].
func (d *Driver) Start(a *link.Adapter) error {
	d.q.Open(a, 0)
	d.q.Deliver(a)
	return nil
}

// Send implements [link.Miniport].
func (d *Driver) Send(l *packet.List, w *link.Work) { d.q.Send(l, w) }

// Close implements [link.Miniport].
func (d *Driver) Close() error {
	d.q.Close()
	return nil
}
