package link

import (
	"github.com/towpath/towpath/packet"
	"github.com/towpath/towpath/wire"
)

// Medium says what stands in front of the IP header of an adapter's packets.
type Medium uint8

const (
	// MediumEthernet: packets are Ethernet frames, without frame check sequence.
	MediumEthernet Medium = iota
	// MediumIP: packets are bare IPv4 or IPv6 packets, as on a TUN device.
	MediumIP
)

// Capabilities is what a driver tells of its device. It does not change while
// the driver runs.
type Capabilities struct {
	Medium Medium
	// MAC is the station address of an Ethernet device.
	MAC wire.MAC
	// MTU is the largest IP packet the link carries, in bytes, super-segments
	// apart.
	MTU int
	// GSOMax is the length of the largest TCP super-segment, as an IP packet in
	// bytes, that Send accepts; 0 if it accepts none.
	GSOMax int
	// TxChecksum: Send accepts packets with partial checksums.
	TxChecksum bool
	// Loopback: what is sent is received by the sender.
	Loopback bool
}

// A Miniport is a driver: it moves packets between an adapter and a device
// (NDIS: miniport driver; Linux: net_device_ops).
//
// Start is called once, before any Send; from then on the driver hands what it
// receives to [Adapter.Indicate], whole batches at a time, from any goroutine.
// Packets it indicates begin with the link header (medium Ethernet) or the IP
// header (medium IP), have that header and those up to the transport header in
// their linear part as far as the packet reaches, or at least its first 128
// bytes, and at least 64 bytes of headroom.
//
// Send takes all packets of l and leaves l empty. It is called by one
// goroutine at a time and must not wait for the peer nor call up: a driver
// whose peer is in this process queues the packets and adds a [Runner] to w.
// Send and Indicate get a [Work] to pass down.
//
// Close ends the driver: it returns when its goroutines have ended and nothing
// will be indicated any more. Called again, it does nothing.
type Miniport interface {
	Capabilities() Capabilities
	Start(a *Adapter) error
	Send(l *packet.List, w *Work)
	Close() error
}

// A Protocol is what an adapter's received packets go to (NDIS: protocol
// driver; Linux: packet_type). A host is one.
type Protocol interface {
	// Receive takes all packets of l. What it sends in answer it enqueues on its
	// adapters, and owes their flush to w.
	Receive(a *Adapter, l *packet.List, w *Work)
}

// A Filter stands between an adapter's driver and its protocols (NDIS: filter
// or intermediate driver) and sees every packet both ways: to observe, change,
// delay, drop or add packets.
type Filter interface {
	// Attach gives the filter its place in the adapter's stack.
	Attach(at *FilterModule) error
	// Receive takes packets on their way up; what shall go on is handed to
	// FilterModule.Indicate.
	Receive(l *packet.List, w *Work)
	// Send takes packets on their way down; what shall go on is handed to
	// FilterModule.Send.
	Send(l *packet.List, w *Work)
	// Detach tells the filter that it has been taken out. It ends its timers
	// and drops what it holds.
	Detach()
}

// Direction of a packet as an adapter sees it.
type Direction uint8

const (
	In  Direction = iota // from the device
	Out                  // to the device
)

// A Tap sees the packets that pass an adapter, between its device and its
// filters, in both directions. The packet is lent: a tap must not change or
// keep it.
type Tap interface {
	Tap(a *Adapter, dir Direction, p *packet.Packet)
}

// A DropTap sees the packets that are dropped, while they can still be looked
// at (Linux: the tracepoint skb:kfree_skb). a is the adapter a packet came in
// by, or was about to leave by, and dir which of the two; nil if there was none.
// rule is the rule that wants the packet dropped, empty for other reasons. The
// packet is lent, and its bytes may begin anywhere: where Net is set, its IP or
// ARP header begins there. It is called under locks, and must not block.
type DropTap interface {
	TapDrop(a *Adapter, dir Direction, p *packet.Packet, r packet.Reason, rule string)
}
