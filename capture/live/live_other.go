//go:build !linux

package live

import (
	"errors"
	"time"

	"github.com/towpath/towpath/capture/bpf"
	"github.com/towpath/towpath/capture/savefile"
	"github.com/towpath/towpath/wire"
)

// errLinux is the error of all that is here.
var errLinux = errors.New("capturing on interfaces needs Linux")

// A Capture is packets of an interface, on Linux.
type Capture struct{}

// Open begins to capture on an interface, on Linux.
func Open(string, Config) (*Capture, error) { return nil, errLinux }

// Link is what packets begin with.
func (*Capture) Link() wire.LinkType { return 0 }

// Beside reports whether filters find the VLAN tag beside the packet.
func (*Capture) Beside() bool { return false }

// Snaplen is the snapshot length in bytes.
func (*Capture) Snaplen() int { return 0 }

// SetFilter leaves out packets for which the program returns 0.
func (*Capture) SetFilter(bpf.Program) error { return errLinux }

// Next returns the next packet.
func (*Capture) Next(time.Duration) (savefile.Packet, error) { return savefile.Packet{}, errLinux }

// Interrupt makes a Next that waits return ErrTimeout.
func (*Capture) Interrupt() {}

// Stats returns the counters.
func (*Capture) Stats() (Stats, error) { return Stats{}, errLinux }

// Inject sends a packet.
func (*Capture) Inject([]byte) error { return errLinux }

// Close ends the capture.
func (*Capture) Close() error { return errLinux }
