package bridge_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/netip"
	"testing"

	"go.uber.org/goleak"

	"github.com/towpath/towpath/host"
	"github.com/towpath/towpath/link"
	"github.com/towpath/towpath/link/bridge"
	"github.com/towpath/towpath/link/cable"
	"github.com/towpath/towpath/packet"
)

// TestHosts sends a stream over two bridges with a trunk between them, and
// makes sure that another VLAN does not hear of it.
func TestHosts(t *testing.T) {
	packet.Account(true)
	defer packet.Account(false)
	defer goleak.VerifyNone(t)
	left, right := bridge.New(bridge.Config{Filtering: true}), bridge.New(bridge.Config{Filtering: true})
	port := func(b *bridge.Bridge, m link.Miniport, c bridge.PortConfig) {
		if _, err := b.AddPort(link.NewAdapter("p", int32(len(b.Ports())+1), m), c); err != nil {
			t.Fatal(err)
		}
	}
	a, z := cable.New(cable.Config{})
	port(left, a, bridge.PortConfig{Tagged: []uint16{10, 20}})
	port(right, z, bridge.PortConfig{Tagged: []uint16{10, 20}})
	var hosts []*host.Host
	for i, b := range []*bridge.Bridge{left, right, right} {
		h := host.New(host.Config{Name: fmt.Sprint("h", i)})
		near, far := cable.New(cable.Config{})
		if _, err := h.AddAdapter("eth0", near); err != nil {
			t.Fatal(err)
		}
		port(b, far, bridge.PortConfig{PVID: []uint16{10, 10, 20}[i]})
		if err := h.AddAddress("eth0", netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 0, 0, byte(1 + i)}), 24)); err != nil {
			t.Fatal(err)
		}
		hosts = append(hosts, h)
	}
	l, err := hosts[1].Listen("tcp", ":7")
	if err != nil {
		t.Fatal(err)
	}
	sent := bytes.Repeat([]byte("0123456789abcdef"), 1<<16)
	go func() {
		c, err := hosts[0].Dial("tcp", "10.0.0.2:7")
		if err != nil {
			t.Error(err)
			l.Close()
			return
		}
		c.Write(sent)
		c.Close()
	}()
	c, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(c); err != nil || !bytes.Equal(got, sent) {
		t.Errorf("%d bytes came, %v", len(got), err)
	}
	c.Close()
	if n := hosts[2].Adapter("eth0").Stats().RxPackets; n > 20 {
		t.Errorf("the other VLAN heard %d packets", n)
	}
	for _, h := range hosts {
		if err := h.Close(context.Background()); err != nil {
			t.Error(err)
		}
	}
	left.Close()
	right.Close()
	if n, _ := packet.Live(); n != 0 {
		t.Errorf("%d packets are left", n)
	}
}
