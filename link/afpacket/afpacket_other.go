//go:build !linux

package afpacket

import (
	"errors"

	"github.com/towpath/towpath/link"
	"github.com/towpath/towpath/packet"
)

// ErrUnsupported is what Open and FromFD return on systems other than Linux.
var ErrUnsupported = errors.New("afpacket: only Linux has packet sockets")

// Port is a packet socket; there are none on this system.
type Port struct{}

// Open returns an error.
func Open(string, Config) (*Port, error) { return nil, ErrUnsupported }

// FromFD returns an error.
func FromFD(int, Config) (*Port, error) { return nil, ErrUnsupported }

// Capabilities implements [link.Miniport].
func (*Port) Capabilities() link.Capabilities { return link.Capabilities{} }

// Start implements [link.Miniport].
func (*Port) Start(*link.Adapter) error { return ErrUnsupported }

// Send implements [link.Miniport].
func (*Port) Send(l *packet.List, _ *link.Work) { l.Drop(packet.ReasonDeviceWrite) }

// Close implements [link.Miniport].
func (*Port) Close() error { return nil }

// Missed returns 0.
func (*Port) Missed() uint64 { return 0 }
