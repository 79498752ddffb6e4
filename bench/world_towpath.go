package bench

import (
	"context"
	"net/netip"
	"strconv"
	"time"

	"github.com/towpath/towpath/host"
	"github.com/towpath/towpath/link/cable"
)

// towpathWorld is two towpath hosts joined by a cable, used as package net is.
type towpathWorld struct {
	a, b      *host.Host
	addresses int // of b
}

func newTowpath() World      { return newTowpathWorld(cable.Config{MTU: 1500}) }
func newTowpathPlain() World { return newTowpathWorld(cable.Config{MTU: 1500, Plain: true}) }

func newTowpathWorld(c cable.Config) World {
	set := host.Settings{UDPRcvBuf: udpBuffer}
	w := &towpathWorld{
		a: host.New(host.Config{Name: "a", Settings: set}),
		b: host.New(host.Config{Name: "b", Settings: set}),
	}
	pa, pb := cable.New(c)
	_, err := w.a.AddAdapter("eth0", pa)
	check(err)
	_, err = w.b.AddAdapter("eth0", pb)
	check(err)
	check(w.a.AddAddress("eth0", netip.MustParsePrefix("10.0.0.1/24")))
	w.MoreAddresses(1)
	return w
}

func (w *towpathWorld) MoreAddresses(n int) {
	for ; w.addresses < n; w.addresses++ {
		check(w.b.AddAddress("eth0", netip.PrefixFrom(addressOfB(w.addresses), 24)))
	}
}

func (w *towpathWorld) Listen(port uint16) Listener {
	l, err := w.b.Listen("tcp", ":"+strconv.Itoa(int(port)))
	check(err)
	return netListener{l}
}

func (w *towpathWorld) Dial(port uint16, i int) Conn {
	c, err := w.a.DialContext(context.Background(), "tcp", netip.AddrPortFrom(addressOfB(i%w.addresses), port).String())
	check(err)
	return c
}

func (w *towpathWorld) UDP() (tx, rx PacketConn, to netip.AddrPort) {
	a, err := w.a.ListenPacket("udp", "10.0.0.1:1000")
	check(err)
	b, err := w.b.ListenPacket("udp", ":2000")
	check(err)
	return a.(PacketConn), b.(PacketConn), netip.AddrPortFrom(addressOfB(0), 2000)
}

func (w *towpathWorld) Close() {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	check(w.a.Close(ctx))
	check(w.b.Close(ctx))
}
