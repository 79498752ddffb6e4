// Package live captures packets on the network interfaces of the system, by
// Linux's packet sockets (packet(7)).
//
//	c, err := live.Open("eth0", live.Config{Promisc: true})
//	defer c.Close()
//	err = c.SetFilter(prog)
//	for {
//		p, err := c.Next(-1)
//		…
//	}
//
// # Theory of operation
//
//	interface → kernel filter → ring of blocks, or the socket's buffer → Next
//
// Packets come through a ring of memory that kernel and process share
// (TPACKET_V3). The kernel fills blocks and hands one over when it is full, or
// when [Config.Delay] has passed since its first packet; so Delay bounds how old
// a packet is when it is seen. With [Config.Immediate] there is no ring: each
// packet is received from the socket as soon as it is there, which costs a system
// call for every few packets.
//
// A filter runs in the kernel, if the kernel takes the program; else, and on
// cooked captures, it runs here. Packets that waited when a filter was set are
// filtered here by the time of their arrival, with all that the kernel knows
// beside them, so that nothing is lost or left over.
//
// The kernel keeps the outer VLAN tag beside a packet. Filters see it there;
// whoever reads a packet sees the tag where it was on the wire.
//
// # Link types
//
// Interfaces of Ethernet kind yield frames, those with bare IP packets (TUN) RAW.
// All others, and the device "any", which stands for all interfaces, are
// captured cooked: with the header LINUX_SLL2 in place of the link's.
//
// # Limits
//
// Time stamps are those of the kernel. There is no monitor mode. On "any" no
// interface is made promiscuous, and packets cannot be sent. Other systems than
// Linux have no captures.
package live
