// Package afpacket is the driver over a Linux packet socket bound to a network
// interface: a second way to the kernel where no TUN or TAP device may be
// opened. Bound to one end of a veth pair, it makes this process the cable's
// other end.
//
//	port, err := afpacket.Open("veth1", afpacket.Config{})
//	adapter := link.NewAdapter("eth0", 1, port)
//
// # Theory of operation
//
//	host     Adapter.Flush -> Send      Indicate <- readLoop      this process
//	                           | sendmmsg         ^ recvmmsg
//	-----------------------  [vnet header | packet]  ------------------------
//	                           v                  |
//	kernel                       veth1 =========== veth0 (another namespace)
//
// The socket sees what arrives at the interface and not what leaves by it, and
// each packet has a vnet header in front, so super-segments and partial
// checksums cross whole. A VLAN tag, which the kernel keeps apart, is put back
// where it was on the wire.
//
// The interface's own kernel sees the packets too. An interface used this way
// should have no addresses, and IPv6 disabled, lest its kernel answers.
//
// Limits: the interface must be of Ethernet kind, or one with bare IP packets
// as TUN. What arrives faster than it is read is dropped by the kernel once the
// socket's buffer is full, which [Port.Missed] counts; an ordinary user can
// raise that buffer to net.core.rmem_max only.
package afpacket

import "github.com/towpath/towpath/wire"

// Config describes a port. The zero value is a good one for [Open].
type Config struct {
	// MTU in bytes; 0 means that of the interface if it can be known, or 1500.
	MTU int
	// MAC is the station address of this end. Zero means the interface's if it
	// can be known, or one drawn at random. The socket is promiscuous, so any
	// will do.
	MAC wire.MAC
	// IP: packets begin with an IP header, as on TUN interfaces. Open finds it
	// out itself.
	IP bool
}
