//go:build !linux

package lab

import (
	"context"
	"net/netip"
	"time"

	"github.com/towpath/towpath/lab/machine"
)

func (kernelNet) ping(context.Context, netip.Addr, uint16) (time.Duration, error) {
	return 0, machine.ErrUnsupported
}
