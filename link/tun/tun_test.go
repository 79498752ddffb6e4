//go:build linux

package tun_test

import (
	"net"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/towpath/towpath/internal/sys"
	"github.com/towpath/towpath/internal/testenv"
	"github.com/towpath/towpath/link"
	"github.com/towpath/towpath/link/linktest"
	"github.com/towpath/towpath/link/tun"
	"github.com/towpath/towpath/packet"
)

// up sets an interface up, with IPv6 silent.
func up(t *testing.T, name string) {
	t.Helper()
	os.WriteFile("/proc/sys/net/ipv6/conf/"+name+"/disable_ipv6", []byte("1"), 0)
	nl, err := sys.OpenNetlink()
	if err != nil {
		t.Fatal(err)
	}
	defer nl.Close()
	index, err := nl.Index(name)
	if err != nil {
		t.Fatal(err)
	}
	if err := nl.SetLink(index, sys.Link{Up: true}); err != nil {
		t.Fatal(err)
	}
}

func open(t *testing.T, c tun.Config) *tun.Device {
	t.Helper()
	d, err := tun.Open(c)
	if err != nil {
		t.Fatal(err)
	}
	up(t, d.Name())
	return d
}

func TestDriver(t *testing.T) {
	testenv.InNamespace(t, func(t *testing.T) {
		testenv.NeedsTUN(t)
		for _, test := range []struct {
			name string
			c    tun.Config
		}{
			{"tun", tun.Config{}},
			{"tap", tun.Config{Mode: tun.TAP}},
			{"jumbo", tun.Config{Mode: tun.TAP, MTU: 9000}},
			{"plain tun", tun.Config{Plain: true}},
			{"plain tap", tun.Config{Mode: tun.TAP, Plain: true}},
			{"queues", tun.Config{Mode: tun.TAP, Queues: 2}},
		} {
			t.Run(test.name, func(t *testing.T) {
				linktest.RunDevice(t, func(t *testing.T) (link.Miniport, string) {
					d := open(t, test.c)
					return d, d.Name()
				})
			})
		}
	})
}

func TestFromFD(t *testing.T) {
	testenv.InNamespace(t, func(t *testing.T) {
		testenv.NeedsTUN(t)
		linktest.RunDevice(t, func(t *testing.T) (link.Miniport, string) {
			fd, name, err := sys.OpenTun("", unix.IFF_TAP|unix.IFF_NO_PI|unix.IFF_VNET_HDR)
			if err != nil {
				t.Fatal(err)
			}
			up(t, name)
			d, err := tun.FromFD(fd, tun.Config{})
			if err != nil {
				t.Fatal(err)
			}
			if d.Name() != name || d.Capabilities().Medium != link.MediumEthernet || d.Capabilities().GSOMax == 0 {
				t.Errorf("%s %+v", d.Name(), d.Capabilities())
			}
			return d, name
		})
	})
}

func TestOpen(t *testing.T) {
	testenv.InNamespace(t, func(t *testing.T) {
		testenv.NeedsTUN(t)
		d, err := tun.Open(tun.Config{Name: "abc0", MTU: 1280})
		if err != nil {
			t.Fatal(err)
		}
		ifi, err := net.InterfaceByName("abc0")
		if err != nil || ifi.MTU != 1280 || d.Capabilities().MTU != 1280 {
			t.Errorf("%+v %v", ifi, err)
		}
		if _, err := tun.Open(tun.Config{Name: "abc0"}); err == nil {
			t.Error("opened twice")
		} else {
			t.Log(err)
		}
		if _, err := tun.Open(tun.Config{Name: "a-very-long-name"}); err == nil {
			t.Error("opened with a long name")
		} else {
			t.Log(err)
		}
		d.Close()
		for range 100 { // the kernel takes its time
			if _, err = net.InterfaceByName("abc0"); err != nil {
				break
			}
			time.Sleep(time.Millisecond)
		}
		if err == nil {
			t.Error("the interface is still there")
		}
		if _, err := tun.FromFD(int(os.Stdin.Fd()), tun.Config{}); err == nil {
			t.Error("made a device of standard input")
		}
	})
}

// An adapter whose interface is deleted goes down, and closes as any other.
func TestDeleted(t *testing.T) {
	testenv.InNamespace(t, func(t *testing.T) {
		testenv.NeedsTUN(t)
		d := open(t, tun.Config{})
		a := adapter(t, d, new(counter))
		nl, err := sys.OpenNetlink()
		if err != nil {
			t.Fatal(err)
		}
		defer nl.Close()
		index, err := nl.Index(d.Name())
		if err != nil {
			t.Fatal(err)
		}
		if err := nl.DeleteLink(index); err != nil {
			t.Fatal(err)
		}
		for begun := time.Now(); a.Up(); time.Sleep(time.Millisecond) {
			if time.Since(begun) > 5*time.Second {
				t.Fatal("the adapter is still up")
			}
		}
	})
}

// TestDropReasons sends what the kernel refuses to take, and to an interface
// that is gone.
func TestDropReasons(t *testing.T) {
	testenv.InNamespace(t, func(t *testing.T) {
		testenv.NeedsTUN(t)
		d := open(t, tun.Config{})
		a := link.NewAdapter("tun", 1, d)
		if err := a.Open(); err != nil {
			t.Fatal(err)
		}
		send := func() {
			p := packet.Get()
			p.Append(20)[0] = 0x50 // neither IPv4 nor IPv6
			p.Net = p.Start()
			var l packet.List
			l.Push(p)
			a.SetUp(true)
			a.Enqueue(&l)
			w := link.NewWork(nil)
			a.Flush(w)
			w.Run()
		}
		count := func(r packet.Reason) uint64 {
			var c packet.Counters
			a.Drops(&c)
			return c[r]
		}
		send()
		if n := count(packet.ReasonDeviceWrite); n != 1 {
			t.Errorf("%d packets refused by the device, want 1", n)
		}
		if err := a.Close(); err != nil {
			t.Fatal(err)
		}
		send()
		if n := count(packet.ReasonDeviceClosed); n != 1 {
			t.Errorf("%d packets dropped by a closed device, want 1", n)
		}
	})
}
