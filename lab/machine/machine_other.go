//go:build !linux

package machine

import (
	"context"
	"errors"
	"os"

	"github.com/towpath/towpath/link"
)

// ErrUnsupported is what Start returns on systems other than Linux.
var ErrUnsupported = errors.New("machine: only Linux has network namespaces")

// Machine is a kernel's namespace; there are none on this system.
type Machine struct{}

// Process is a program on a machine.
type Process struct{}

// Init does nothing.
func Init() {}

// Start returns an error.
func Start(context.Context, Config) (*Machine, error) { return nil, ErrUnsupported }

// Probe says that there are no machines here.
func Probe() []Check {
	return []Check{{Name: "user namespaces", Detail: ErrUnsupported.Error()}}
}

// Ports returns nothing.
func (*Machine) Ports() []link.Miniport { return nil }

// Name returns nothing.
func (*Machine) Name() string { return "" }

// PID returns 0.
func (*Machine) PID() int { return 0 }

// Done returns nil.
func (*Machine) Done() <-chan struct{} { return nil }

// Close does nothing.
func (*Machine) Close(context.Context) error { return nil }

// Exec returns an error.
func (*Machine) Exec(context.Context, Cmd) (*Process, error) { return nil, ErrUnsupported }

// PID returns 0.
func (*Process) PID() int { return 0 }

// Done returns nil.
func (*Process) Done() <-chan struct{} { return nil }

// Signal returns an error.
func (*Process) Signal(os.Signal) error { return ErrUnsupported }

// Wait returns an error.
func (*Process) Wait() error { return ErrUnsupported }
