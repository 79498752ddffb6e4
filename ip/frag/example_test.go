package frag_test

import (
	"fmt"
	"net/netip"

	"github.com/towpath/towpath/ip/frag"
	"github.com/towpath/towpath/packet"
	"github.com/towpath/towpath/wire"
)

// A sender sends ICMP errors and counts drops; this one only ends packets.
type sender struct{}

func (sender) Expired(first *packet.Packet)              {}
func (sender) GivenUp(p *packet.Packet, r packet.Reason) { packet.Drop(p, r) }

func Example() {
	var b wire.Builder
	b.Payload(make([]byte, 3000)).PushUDP(1000, 53).PushIPv4(wire.IPv4Fields{
		TTL: 64, Src: netip.MustParseAddr("10.0.0.1"), Dst: netip.MustParseAddr("10.0.0.2")})
	p := packet.Get()
	p.AppendBytes(b.Bytes())
	p.Linear(wire.IPv4Len)
	p.Net, p.Transport = p.Start(), p.Start()+wire.IPv4Len
	p.Src, p.Dst, p.Proto = netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("10.0.0.2"), wire.ProtoUDP

	ids := frag.NewIDs([32]byte{ /* random */ })
	var out packet.List
	if !frag.Cut(p, 1500, ids.Next(p.Src, p.Dst), &out) {
		packet.Free(p)
	}

	table := frag.New(frag.Config{})
	for p := out.Pop(); p != nil; p = out.Pop() {
		fmt.Print(p.Len(), " bytes: ")
		switch o := table.Add(0, p, nil, sender{}); {
		case o.Whole != nil:
			fmt.Println("a whole of", o.Whole.Len(), "from fragments of at most", o.RecvFragMax)
			packet.Free(o.Whole)
		case o.Reason != packet.NotDropped:
			packet.Drop(p, o.Reason)
		default:
			fmt.Println("waits")
		}
	}
	// Output:
	// 1500 bytes: waits
	// 1500 bytes: waits
	// 68 bytes: a whole of 3028 from fragments of at most 1500
}
