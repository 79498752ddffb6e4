package bench

import (
	"net/netip"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/adapters/gonet"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
)

// gonetWorld is gVisor at its best link, through its own net.Conn adapter.
type gonetWorld struct{ *gvisorWorld }

func newGonet() World { return gonetWorld{newGvisorGSO().(*gvisorWorld)} }

func (w gonetWorld) Listen(port uint16) Listener {
	l, err := gonet.ListenTCP(w.b, tcpip.FullAddress{Port: port}, ipv4.ProtocolNumber)
	check(err)
	return netListener{l}
}

func (w gonetWorld) Dial(port uint16, i int) Conn {
	addr := tcpip.FullAddress{Addr: tcpip.AddrFrom4(addressOfB(i % w.addresses).As4()), Port: port}
	c, err := gonet.DialTCP(w.a, addr, ipv4.ProtocolNumber)
	check(err)
	return c
}

// UDP has no AddrPort methods in gonet.
func (w gonetWorld) UDP() (tx, rx PacketConn, to netip.AddrPort) {
	panic("gonet has no AddrPort methods")
}
