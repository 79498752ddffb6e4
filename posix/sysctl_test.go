package posix_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"testing"

	"github.com/towpath/towpath/host"
	"github.com/towpath/towpath/posix"
)

// TestSysctlDefaults: new sockets begin with what the settings say, and old ones
// keep what they have.
func TestSysctlDefaults(t *testing.T) {
	h := host.New(host.Config{Name: "h"})
	defer h.Close(context.Background())
	p := posix.New(h)
	defer p.CloseAll()
	for _, c := range []struct {
		sysctl      string
		level, name int
		was, set    string
		old, now    uint32
	}{
		{"net.ipv4.tcp_keepalive_time", posix.IPPROTO_TCP, posix.TCP_KEEPIDLE, "7200", "60", 7200, 60},
		{"net.ipv4.tcp_keepalive_intvl", posix.IPPROTO_TCP, posix.TCP_KEEPINTVL, "75", "5", 75, 5},
		{"net.ipv4.tcp_keepalive_probes", posix.IPPROTO_TCP, posix.TCP_KEEPCNT, "9", "3", 9, 3},
		{"net.ipv6.bindv6only", posix.IPPROTO_IPV6, posix.IPV6_V6ONLY, "0", "1", 0, 1},
	} {
		open := func() int {
			fd, e := p.Socket(-1, posix.AF_INET6, posix.SOCK_STREAM, 0)
			if e != 0 {
				t.Fatal(e)
			}
			return fd
		}
		expect := func(fd int, want uint32) {
			t.Helper()
			if b, e := p.GetSockOpt(fd, c.level, c.name, 4); e != 0 || !bytes.Equal(b, binary.LittleEndian.AppendUint32(nil, want)) {
				t.Errorf("%s: option %d/%d is % x, %v, not %d", c.sysctl, c.level, c.name, b, e, want)
			}
		}
		before := open()
		if v, e := h.Sysctl(c.sysctl); v != c.was || e != 0 {
			t.Errorf("%s is %q, %v, not %q", c.sysctl, v, e, c.was)
		}
		if e := h.SetSysctl(c.sysctl, c.set); e != 0 {
			t.Errorf("%s: %v", c.sysctl, e)
		}
		expect(before, c.old)
		expect(open(), c.now)
	}
}
