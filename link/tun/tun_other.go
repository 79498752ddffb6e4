//go:build !linux

package tun

import (
	"errors"

	"github.com/towpath/towpath/link"
	"github.com/towpath/towpath/packet"
)

// ErrUnsupported is what Open and FromFD return on systems other than Linux.
var ErrUnsupported = errors.New("tun: only Linux has these devices")

// Device is a TUN or TAP device; there are none on this system.
type Device struct{}

// Open returns an error.
func Open(Config) (*Device, error) { return nil, ErrUnsupported }

// FromFD returns an error.
func FromFD(int, Config) (*Device, error) { return nil, ErrUnsupported }

// Name implements nothing.
func (*Device) Name() string { return "" }

// Capabilities implements [link.Miniport].
func (*Device) Capabilities() link.Capabilities { return link.Capabilities{} }

// Start implements [link.Miniport].
func (*Device) Start(*link.Adapter) error { return ErrUnsupported }

// Send implements [link.Miniport].
func (*Device) Send(l *packet.List, _ *link.Work) { l.Drop(packet.ReasonDeviceWrite) }

// Close implements [link.Miniport].
func (*Device) Close() error { return nil }
