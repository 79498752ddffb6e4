package host_test

import (
	"net"
	"testing"

	"github.com/towpath/towpath/link/cable"
	"golang.org/x/net/nettest"
)

// TestConn runs golang.org/x/net's suite for net.Conn over a cable.
func TestConn(t *testing.T) {
	for name, to := range map[string]string{"tcp4": "10.0.0.2", "tcp6": "fd00::2"} {
		t.Run(name, func(t *testing.T) {
			nettest.TestConn(t, func() (c1, c2 net.Conn, stop func(), err error) {
				a, b := pair(t, cable.Config{})
				c, s := connected(t, a, b, to)
				return c, s, func() { c.Close(); s.Close() }, nil
			})
		})
	}
}
