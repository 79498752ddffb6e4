//go:build linux

package afpacket_test

import (
	"bytes"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/towpath/towpath/internal/sys"
	"github.com/towpath/towpath/internal/testenv"
	"github.com/towpath/towpath/link"
	"github.com/towpath/towpath/link/afpacket"
	"github.com/towpath/towpath/link/linktest"
	"github.com/towpath/towpath/packet"
	"github.com/towpath/towpath/wire"
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

// catch is a protocol that hands on what comes, as bytes.
type catch chan []byte

func (c catch) Receive(_ *link.Adapter, l *packet.List, _ *link.Work) {
	for p := l.Pop(); p != nil; p = l.Pop() {
		c <- p.Bytes()
		packet.Free(p)
	}
}

// A VLAN tag, which the kernel takes out of the frame, is back in its place.
func TestVLAN(t *testing.T) {
	testenv.InNamespace(t, func(t *testing.T) {
		veth(t, 0)
		var adapters [2]*link.Adapter
		got := make(catch, 10)
		for i, name := range []string{"v0", "v1"} {
			p, err := afpacket.Open(name, afpacket.Config{})
			if err != nil {
				t.Fatal(err)
			}
			a := link.NewAdapter(name, int32(i+1), p)
			a.Bind(got)
			if err := a.Open(); err != nil {
				t.Fatal(err)
			}
			defer a.Close()
			adapters[i] = a
		}
		for _, kind := range []wire.EtherType{wire.EtherTypeVLAN, wire.EtherTypeQinQ} {
			p := packet.Get()
			p.AppendBytes(bytes.Repeat([]byte{7}, 100))
			p.Net = p.Start()
			wire.PutVLAN(p.Push(wire.VLANLen), 3, false, 42, 0x88b5) // for local experiments
			wire.PutEthernet(p.Push(wire.EthernetLen), wire.MAC{2, 1}, wire.MAC{2, 2}, kind)
			want := p.Bytes()
			var l packet.List
			l.Push(p)
			w := link.NewWork(nil)
			adapters[0].Enqueue(&l)
			adapters[0].Flush(w)
			w.Run()
			select {
			case b := <-got:
				if !bytes.Equal(b, want) {
					t.Errorf("sent %x\ngot  %x", want, b)
				}
			case <-time.After(5 * time.Second):
				t.Fatal("nothing came")
			}
		}
	})
}

// stuck is a protocol that does not let go of a packet before it is told.
type stuck chan struct{}

func (c stuck) Receive(_ *link.Adapter, l *packet.List, _ *link.Work) {
	<-c
	l.Free()
}

func TestMissed(t *testing.T) {
	testenv.InNamespace(t, func(t *testing.T) {
		veth(t, 0)
		from, err := afpacket.Open("v0", afpacket.Config{})
		if err != nil {
			t.Fatal(err)
		}
		to, err := afpacket.Open("v1", afpacket.Config{})
		if err != nil {
			t.Fatal(err)
		}
		release := make(stuck)
		a, b := link.NewAdapter("v0", 1, from), link.NewAdapter("v1", 2, to)
		b.Bind(release)
		for _, x := range []*link.Adapter{a, b} {
			if err := x.Open(); err != nil {
				t.Fatal(err)
			}
			defer x.Close()
		}
		defer close(release)
		for i := 0; i < 1000 && to.Missed() == 0; i++ {
			var l packet.List
			for range 100 {
				p := packet.Get()
				p.AppendBytes(make([]byte, 1486))
				wire.PutEthernet(p.Push(wire.EthernetLen), wire.MAC{2, 1}, wire.MAC{2, 2}, 0x88b5)
				p.Net = p.Start() + wire.EthernetLen
				l.Push(p)
			}
			w := link.NewWork(nil)
			a.Enqueue(&l)
			a.Flush(w)
			w.Run()
		}
		if to.Missed() == 0 {
			t.Error("nothing was missed")
		}
	})
}
