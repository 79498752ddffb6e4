//go:build !(linux && (amd64 || arm64))

package run

import (
	"errors"
	"syscall"

	"github.com/towpath/towpath/host"
)

var errUnsupported = errors.New("programs can be run on hosts only on Linux, on amd64 and arm64")

// Init does nothing here.
func Init() {}

// Probe tells that programs cannot be run here.
func Probe() error { return errUnsupported }

// A Process is a program that runs on a host.
type Process struct{}

// Start fails here.
func Start(*host.Host, Cmd) (*Process, error) { return nil, errUnsupported }

// Wait fails here.
func (*Process) Wait() error { return errUnsupported }

// Done is closed when the program has ended.
func (*Process) Done() <-chan struct{} { return nil }

// Signal fails here.
func (*Process) Signal(syscall.Signal) error { return errUnsupported }

// Kill does nothing here.
func (*Process) Kill() {}
