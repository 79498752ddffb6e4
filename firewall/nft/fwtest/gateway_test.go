package fwtest_test

import (
	"testing"

	"github.com/towpath/towpath/firewall/nft/fwtest"
)

// An example: what a gateway lets through is a table of packets.
func TestGateway(t *testing.T) {
	for _, c := range []struct{ packet, verdict string }{
		{"tcp 10.1.0.2:4000 > 203.0.113.2:80 syn in eth0 out eth1", "accept"},
		{"tcp 10.1.0.2:4000 > 203.0.113.2:22 syn in eth0 out eth1", "reject"},
		{"tcp 203.0.113.2:443 > 10.1.0.2:4000 ack established in eth1 out eth0", "accept"},
		{"tcp 203.0.113.2:4000 > 203.0.113.1:80 syn in eth1 out eth0", "accept"},
		{"tcp 203.0.113.2:4000 > 203.0.113.1:81 syn in eth1 out eth0", "drop"},
		{"tcp 203.0.113.2:4000 > 203.0.113.1:22 syn in eth1", "drop"},
		{"tcp 10.1.0.2:4000 > 10.1.0.1:22 syn in eth0", "accept"},
	} {
		fwtest.Expect(t, "testdata/gateway.nft", c.packet, c.verdict)
	}
}
