package host_test

import (
	"errors"
	"syscall"
	"testing"
	"time"

	"github.com/towpath/towpath/host"
	"github.com/towpath/towpath/link/cable"
)

// TestCongestion chooses congestion controls: for the host by Linux's names of
// settings (and F-RTO), for a socket, and for a connection.
func TestCongestion(t *testing.T) {
	a, b := pair(t, cable.Config{})
	for _, c := range []struct {
		name, set string
		e         syscall.Errno
		is        string
	}{
		{"net.ipv4.tcp_frto", "0", 0, "0"},
		{"net.ipv4.tcp_frto", "3", syscall.EINVAL, "0"},
		{"net.ipv4.tcp_frto", "1", 0, "2"},
		{"net.ipv4.tcp_congestion_control", "vegas", syscall.EINVAL, "cubic"},
		{"net.ipv4.tcp_congestion_control", "reno", 0, "reno"},
		{"net.ipv4.tcp_available_congestion_control", "reno", syscall.EINVAL, allCongestion},
		{"net.ipv4.tcp_allowed_congestion_control", "reno vegas", syscall.EINVAL, allCongestion},
		{"net.ipv4.tcp_allowed_congestion_control", " reno\tcubic ", 0, "reno cubic"},
		{"net.ipv4.tcp_allowed_congestion_control", "reno", 0, "reno"},
	} {
		if e := a.SetSysctl(c.name, c.set); e != c.e {
			t.Errorf("%s = %s: %v, want %v", c.name, c.set, e, c.e)
		}
		if v, _ := a.Sysctl(c.name); v != c.is {
			t.Errorf("%s = %q after %q, want %q", c.name, v, c.set, c.is)
		}
	}

	x, y := connected(t, a, b, "10.0.0.2")
	if x.Info().Congestion != "reno" || y.Info().Congestion != "cubic" {
		t.Errorf("connected with %s and %s", x.Info().Congestion, y.Info().Congestion)
	}
	window := y.Info().Cwnd
	must(t, y.SetCongestion("reno"))
	if i := y.Info(); i.Congestion != "reno" || i.Cwnd != window {
		t.Errorf("%s took over a window of %d with %d", i.Congestion, window, i.Cwnd)
	}
	if err := x.SetCongestion("cubic"); !errors.Is(err, syscall.EPERM) {
		t.Errorf("what is not allowed: %v", err)
	}
	if err := x.SetCongestion("vegas"); !errors.Is(err, syscall.ENOENT) {
		t.Errorf("what there is not: %v", err)
	}
	must(t, x.SetMaxPacingRate(10<<20))
	began := time.Now()
	exchange(t, x, y, 1<<20)
	if i := x.Info(); i.PacingMax != 10<<20 || i.PacingRate > 10<<20 || time.Since(began) < 90*time.Millisecond {
		t.Errorf("1 MiB at 10 MiB/s took %v", time.Since(began))
	}

	k, e := a.Socket(2, host.SockStream, 0)
	if e != 0 {
		t.Fatal(e)
	}
	set := func(name string) syscall.Errno {
		return k.SetOptions(func(o *host.SocketOptions) syscall.Errno { o.Congestion = name; return 0 })
	}
	if e := set("cubic"); e != syscall.EPERM {
		t.Errorf("a socket asks for what is not allowed: %v", e)
	}
	if e := set("vegas"); e != syscall.ENOENT {
		t.Errorf("a socket asks for what there is not: %v", e)
	}
	if e := set("reno"); e != 0 || k.Options().Congestion != "reno" {
		t.Errorf("a socket asks for reno: %v", e)
	}
}

const allCongestion = "bbr cubic dctcp reno"
