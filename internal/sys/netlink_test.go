//go:build linux

package sys_test

import (
	"errors"
	"net"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/towpath/towpath/internal/sys"
	"github.com/towpath/towpath/internal/testenv"
)

func TestNetlink(t *testing.T) {
	testenv.InNamespace(t, func(t *testing.T) {
		must := func(err error) {
			t.Helper()
			if err != nil {
				t.Fatal(err)
			}
		}
		nl, err := sys.OpenNetlink()
		must(err)
		defer nl.Close()
		must(nl.AddVeth(sys.Link{Name: "v0", MTU: 9000, MAC: []byte{2, 0, 0, 0, 0, 5}}, sys.Link{Name: "v1"}, -1))
		v0, err := nl.Index("v0")
		must(err)
		v1, err := nl.Index("v1")
		must(err)
		must(nl.SetLink(v0, sys.Link{Up: true}))
		must(nl.SetLink(v1, sys.Link{Up: true, MTU: 1400}))
		must(nl.WaitRunning("v0", 5*time.Second))
		must(nl.AddAddress(v0, netip.MustParsePrefix("10.0.0.1/24")))
		must(nl.AddAddress(v0, netip.MustParsePrefix("fd00::1/64")))
		must(nl.AddRoute(netip.MustParsePrefix("0.0.0.0/0"), netip.MustParseAddr("10.0.0.9"), 0))
		must(nl.AddRoute(netip.MustParsePrefix("10.7.0.0/16"), netip.Addr{}, v0))
		must(nl.AddRoute(netip.MustParsePrefix("10.8.0.0/16"), netip.MustParseAddr("fd00::9"), v0))
		must(nl.AddRoute(netip.MustParsePrefix("fd01::/48"), netip.MustParseAddr("fd00::9"), v0))
		must(nl.AddNeighbor(v0, netip.MustParseAddr("10.0.0.9"), []byte{2, 0, 0, 0, 0, 9}))

		ifi, err := net.InterfaceByName("v0")
		must(err)
		if ifi.Index != v0 || ifi.MTU != 9000 || ifi.HardwareAddr.String() != "02:00:00:00:00:05" || ifi.Flags&net.FlagRunning == 0 {
			t.Errorf("%+v", ifi)
		}
		addrs, err := ifi.Addrs()
		must(err)
		if len(addrs) < 2 || addrs[0].String() != "10.0.0.1/24" || addrs[1].String() != "fd00::1/64" {
			t.Errorf("%v", addrs)
		}
		must(nl.DeleteLink(v0))
		if _, err := nl.Index("v1"); !errors.Is(err, unix.ENODEV) {
			t.Errorf("v1 after v0 was deleted: %v", err)
		}
	})
}
