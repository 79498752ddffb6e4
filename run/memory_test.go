//go:build linux && (amd64 || arm64)

package run

import (
	"bytes"
	"net/netip"
	"testing"

	"github.com/towpath/towpath/host"
	"github.com/towpath/towpath/posix"
)

// TestFormatAddr: names that were made up, by which anybody can send to a far end,
// are addresses too.
func TestFormatAddr(t *testing.T) {
	s := newServer(newHost(t, "h"), nil, nil)
	defer s.end()
	k := &sock{srv: s}
	for _, c := range []struct {
		name string
		want netip.AddrPort
	}{
		{k.nameOf(&host.PacketInfo{Peer: netip.MustParseAddrPort("192.0.2.1:7")}), netip.MustParseAddrPort("192.0.2.1:7")},
		{k.nameOf(&host.PacketInfo{Peer: netip.MustParseAddrPort("[2001:db8::1]:7")}), netip.MustParseAddrPort("0.0.0.0:7")},
		{"@somebody", netip.MustParseAddrPort("0.0.0.0:0")},
		{"@towpath.x.1.AAAA", netip.MustParseAddrPort("0.0.0.0:0")},
		{"", netip.MustParseAddrPort("0.0.0.0:0")},
	} {
		peer := infoOf(c.name).Peer
		got := s.formatAddr(posix.Addr{Family: posix.AF_INET, AddrPort: peer}, 0)
		want := s.formatAddr(posix.AddrOf(c.want), 0)
		if !bytes.Equal(got, want) {
			t.Errorf("%s: % x, want % x", c.name, got, want)
		}
		if b := s.formatAddr(posix.Addr{Family: posix.AF_INET6, AddrPort: peer}, 0); len(b) != 28 {
			t.Errorf("%s: % x", c.name, b)
		}
	}
}
