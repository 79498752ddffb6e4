//go:build linux

package afpacket_test

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/towpath/towpath/internal/sys"
	"github.com/towpath/towpath/internal/testenv"
	"github.com/towpath/towpath/link"
	"github.com/towpath/towpath/link/afpacket"
	"github.com/towpath/towpath/link/linktest"
)

// veth makes a pair of interfaces, up and with IPv6 silent.
func veth(t *testing.T, mtu int) {
	t.Helper()
	for _, which := range []string{"all", "default"} {
		os.WriteFile("/proc/sys/net/ipv6/conf/"+which+"/disable_ipv6", []byte("1"), 0)
	}
	nl, err := sys.OpenNetlink()
	if err != nil {
		t.Fatal(err)
	}
	index := 0
	if err := nl.AddVeth(sys.Link{Name: "v0", MTU: mtu}, sys.Link{Name: "v1", MTU: mtu}, -1); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"v0", "v1"} {
		if index, err = nl.Index(name); err != nil {
			t.Fatal(err)
		}
		if err := nl.SetLink(index, sys.Link{Up: true}); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"v0", "v1"} {
		if err := nl.WaitRunning(name, 5*time.Second); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() {
		if err := nl.DeleteLink(index); err != nil {
			t.Error(err)
		}
		nl.Close()
	})
}

func TestDriver(t *testing.T) {
	testenv.InNamespace(t, func(t *testing.T) {
		for name, mtu := range map[string]int{"ethernet": 0, "jumbo": 9000} {
			t.Run(name, func(t *testing.T) {
				linktest.RunDevice(t, func(t *testing.T) (link.Miniport, string) {
					veth(t, mtu)
					p, err := afpacket.Open("v0", afpacket.Config{})
					if err != nil {
						t.Fatal(err)
					}
					return p, "v1"
				})
			})
		}
	})
}

func TestErrors(t *testing.T) {
	if _, err := afpacket.Open("no-such", afpacket.Config{}); err == nil || !strings.Contains(err.Error(), "no-such") {
		t.Error(err)
	}
	f, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := afpacket.FromFD(int(f.Fd()), afpacket.Config{}); err == nil {
		t.Error("made a port of /dev/null")
	} else {
		t.Log(err)
	}
}
