//go:build !linux

package sockfilter

import (
	"errors"
	"fmt"

	"github.com/towpath/towpath/capture/bpf"
)

// Attach puts p on a socket of Linux.
func Attach(_ int, p bpf.Program) error {
	if _, err := kernelProgram(p); err != nil {
		return err
	}
	return fmt.Errorf("socket filter: %w", errors.ErrUnsupported)
}

// Detach takes the filter off a socket of Linux.
func Detach(int) error { return fmt.Errorf("socket filter: %w", errors.ErrUnsupported) }
