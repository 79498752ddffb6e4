package host

import (
	"context"
	"net"
	"os"
	"syscall"
	"time"
)

// clockInstant is an instant of the host's clock.
type clockInstant = time.Duration

var (
	errNetClosed = net.ErrClosed
	errDeadline  = os.ErrDeadlineExceeded
)

// canceledError is what a dial says whose context was cancelled, in the words
// of package net.
type canceledError struct{}

func (canceledError) Error() string   { return "operation was canceled" }
func (canceledError) Is(e error) bool { return e == context.Canceled }

// timeoutError is what a dial says whose context's deadline has come.
type timeoutError struct{}

func (timeoutError) Error() string   { return "i/o timeout" }
func (timeoutError) Timeout() bool   { return true }
func (timeoutError) Temporary() bool { return true }
func (timeoutError) Is(e error) bool {
	return e == context.DeadlineExceeded || e == os.ErrDeadlineExceeded
}

// contextError is why ctx is done, as package net says it.
func contextError(ctx context.Context) error {
	switch err := ctx.Err(); err {
	case context.Canceled:
		return canceledError{}
	case context.DeadlineExceeded:
		return timeoutError{}
	default:
		return err
	}
}

// sysError wraps an errno with the name of the system call that would have
// returned it, as package net does. Other errors stay as they are.
func sysError(call string, err error) error {
	if e, ok := err.(syscall.Errno); ok {
		return os.NewSyscallError(call, e)
	}
	return err
}
