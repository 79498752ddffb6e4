package bench

import (
	"fmt"
	"io"
	"net/netip"
)

// A World is two hosts, a and b, and what joins them. Clients and senders live
// on a, servers and receivers on b. Its methods panic if they fail: there is
// nothing to measure then.
type World interface {
	// Listen makes b listen for TCP connections on all its addresses.
	Listen(port uint16) Listener
	// Dial connects from a to b's i-th address, the 0th if it has one only.
	Dial(port uint16, i int) Conn
	// UDP makes a socket on a to send from, and one on b to receive at, and
	// tells its address. The receiver has a buffer of udpBuffer bytes.
	UDP() (tx, rx PacketConn, to netip.AddrPort)
	// MoreAddresses gives b so many addresses in all.
	MoreAddresses(n int)
	// Close takes both hosts down.
	Close()
}

// udpBuffer is the receive buffer that every UDP receiver asks for.
const udpBuffer = 4 << 20

// A Listener is what this package needs of net.Listener.
type Listener interface {
	Accept() (Conn, error)
	Close() error
}

// A Conn is what this package needs of net.Conn.
type Conn = io.ReadWriteCloser

// A PacketConn is what this package needs of net.UDPConn.
type PacketConn interface {
	ReadFromUDPAddrPort(b []byte) (int, netip.AddrPort, error)
	WriteToUDPAddrPort(b []byte, to netip.AddrPort) (int, error)
	Close() error
}

// The worlds, ours first.
var worlds = []struct {
	name string
	what string
	make func() World
}{
	{"towpath", "two hosts, a cable with MTU 1500 that carries super-segments", newTowpath},
	{"towpath-plain", "two hosts, a plain cable: packets of 1500 bytes with full checksums", newTowpathPlain},
	{"gvisor-pipe", "two gVisor stacks, its pipe as shipped, MTU 1500; raw endpoints", newGvisorPipe},
	{"gvisor-gso", "the same with checksum offload and 64 KiB segments, the best that gVisor can do; raw endpoints", newGvisorGSO},
	{"gonet", "the same through gVisor's net.Conn adapter", newGonet},
	{"loopback", "Go's net over the kernel's loopback", newLoopback},
	{"net.Pipe", "no network at all", newPipe},
}

func newWorld(name string) World {
	for _, w := range worlds {
		if w.name == name {
			return w.make()
		}
	}
	panic(fmt.Sprintf("no world %q", name))
}

// everyoneBut lists the worlds, for a line that all can run but those left out.
func everyoneBut(out ...string) []string {
	var names []string
next:
	for _, w := range worlds {
		for _, o := range out {
			if w.name == o {
				continue next
			}
		}
		names = append(names, w.name)
	}
	return names
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}

// addressOfB is b's i-th address in the in-memory worlds, 10.0.0.2 and on.
func addressOfB(i int) netip.Addr {
	return netip.AddrFrom4([4]byte{10, 0, 0, byte(2 + i)})
}
