//go:build !unix

package tcpdump

import "errors"

// relinquish makes this process another user's, on Unix.
func relinquish(string) error { return errors.New("option -Z needs Unix") }
