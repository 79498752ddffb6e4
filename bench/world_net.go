package bench

import (
	"net"
	"net/netip"
)

// loopbackWorld is package net over the kernel's loopback: 127.0.0.1 and on.
type loopbackWorld struct {
	port      uint16 // of the one listener, the kernel's choice
	addresses int
}

func newLoopback() World { return &loopbackWorld{addresses: 1} }

func (w *loopbackWorld) MoreAddresses(n int) { w.addresses = n }

func (w *loopbackWorld) Listen(uint16) Listener {
	l, err := net.Listen("tcp4", "0.0.0.0:0") // all of 127.0.0.0/8
	check(err)
	w.port = l.Addr().(*net.TCPAddr).AddrPort().Port()
	return netListener{l}
}

func (w *loopbackWorld) Dial(_ uint16, i int) Conn {
	to := netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, byte(1 + i%w.addresses)}), w.port)
	c, err := net.Dial("tcp4", to.String())
	check(err)
	return c
}

// bulk prepares a connection for a stream. The kernel's BBR paces, on loopback
// too; cubic is faster there.
func bulk(c Conn) {
	if k, ok := c.(*net.TCPConn); ok {
		raw, err := k.SyscallConn()
		check(err)
		check(raw.Control(useCubic))
	}
}

func (w *loopbackWorld) UDP() (tx, rx PacketConn, to netip.AddrPort) {
	local := net.UDPAddrFromAddrPort(netip.MustParseAddrPort("127.0.0.1:0"))
	a, err := net.ListenUDP("udp4", local)
	check(err)
	b, err := net.ListenUDP("udp4", local)
	check(err)
	check(b.SetReadBuffer(udpBuffer)) // the kernel grants at most net.core.rmem_max
	return a, b, b.LocalAddr().(*net.UDPAddr).AddrPort()
}

func (*loopbackWorld) Close() {}

// pipeWorld is net.Pipe: a connection without a network.
type pipeWorld chan net.Conn

func newPipe() World { return make(pipeWorld, 1) }

func (w pipeWorld) Listen(uint16) Listener { return pipeListener(w) }

func (w pipeWorld) Dial(uint16, int) Conn {
	a, b := net.Pipe()
	w <- b
	return a
}

func (pipeWorld) MoreAddresses(int) {}
func (pipeWorld) Close()            {}

type pipeListener chan net.Conn

func (l pipeListener) Accept() (Conn, error) {
	c, ok := <-l
	if !ok {
		return nil, net.ErrClosed
	}
	return c, nil
}

func (l pipeListener) Close() error {
	close(l)
	return nil
}

func (pipeWorld) UDP() (tx, rx PacketConn, to netip.AddrPort) { panic("net.Pipe has no datagrams") }

// netListener makes a Listener of a net.Listener.
type netListener struct{ net.Listener }

func (l netListener) Accept() (Conn, error) { return l.Listener.Accept() }
