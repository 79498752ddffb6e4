package wire_test

import (
	"fmt"
	"net/netip"

	"github.com/towpath/towpath/wire"
)

var (
	src = netip.MustParseAddr("10.0.0.1")
	dst = netip.MustParseAddr("10.0.0.2")
)

// Payload first, then header by header outwards.
func ExampleBuilder() {
	var b wire.Builder
	b.Payload([]byte("hello")).
		PushUDP(1000, 53).
		PushIPv4(wire.IPv4Fields{TTL: 64, Src: src, Dst: dst}).
		PushEthernet(wire.Broadcast, wire.MAC{2, 0, 0, 0, 0, 1})
	fmt.Println(wire.Format(b.Bytes(), wire.LinkEthernet))
	// Output:
	// 02:00:00:00:00:01 > ff:ff:ff:ff:ff:ff, ethertype IPv4 (0x0800), length 47: 10.0.0.1.1000 > 10.0.0.2.53: UDP, length 5
}

// A packet is read by looking at its bytes through one view after the other.
func ExampleIPv4_Valid() {
	var b wire.Builder
	packet := b.Payload([]byte("hello")).PushUDP(1000, 53).PushIPv4(wire.IPv4Fields{TTL: 64, Src: src, Dst: dst}).Bytes()

	ip := wire.IPv4(packet)
	if !ip.Valid(len(packet)) || !ip.ChecksumOK() || ip.Proto() != wire.ProtoUDP {
		return
	}
	udp := wire.UDP(ip.Payload())
	if udp.Valid(ip.PayloadLen()) {
		fmt.Printf("%v port %d says %s\n", ip.Src(), udp.SrcPort(), udp.Payload())
	}
	// Output:
	// 10.0.0.1 port 1000 says hello
}

// A router lowers the time to live; the checksum follows.
func ExampleIPv4_DecTTL() {
	h := make(wire.IPv4, wire.IPv4Len)
	wire.PutIPv4(h, &wire.IPv4Fields{TotalLen: 20, TTL: 64, Proto: wire.ProtoUDP, Src: src, Dst: dst})
	h.DecTTL()
	fmt.Println(h.TTL(), h.ChecksumOK())
	// Output:
	// 63 true
}

// Options are written in the order and with the padding of Linux.
func ExampleTCPOptions() {
	o := wire.TCPOptions{HasMSS: true, MSS: 1460, SACKPermitted: true, HasWScale: true, WScale: 7}
	b := make([]byte, o.Len())
	o.Put(b)
	fmt.Printf("% x\n", b)

	var read wire.TCPOptions
	fmt.Println(read.Parse(b), read.MSS, read.WScale)
	// Output:
	// 02 04 05 b4 01 01 04 02 01 03 03 07
	// true 1460 7
}

// A router advertisement's options are met one by one.
func ExampleNDPOptions() {
	m := make(wire.RouterAdvert, wire.RouterAdvertLen+8+32)
	wire.PutRouterAdvert(m, &wire.RouterAdvertFields{HopLimit: 64, Lifetime: 1800})
	n := wire.RouterAdvertLen
	n += wire.PutMTUOption(m[n:], 1280)
	wire.PutPrefixInfoOption(m[n:], wire.NDPPrefix{Prefix: netip.MustParsePrefix("2001:db8::/64"), Autonomous: true, Valid: 3600})

	if !m.Valid() {
		return
	}
	for o := m.Options(); len(o) > 0; o = o.Next() {
		switch o.Type() {
		case wire.NDPMTU:
			mtu, _ := o.MTU()
			fmt.Println("MTU", mtu)
		case wire.NDPPrefixInfo:
			p, _ := o.PrefixInfo()
			fmt.Println("prefix", p.Prefix, "for", p.Valid, "s")
		}
	}
	// Output:
	// MTU 1280
	// prefix 2001:db8::/64 for 3600 s
}

// Pieces of a packet are summed one after the other, at odd boundaries too.
func ExampleSumAt() {
	packet := []byte("an odd number of bytes, then more")
	sum := wire.Sum(packet[:23], 0)
	sum = wire.SumAt(packet[23:], sum, true)
	fmt.Println(^wire.Fold(sum) == wire.Checksum(packet))
	// Output:
	// true
}
