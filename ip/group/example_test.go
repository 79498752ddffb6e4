package group_test

import (
	"fmt"
	"math/rand/v2"
	"net/netip"

	"github.com/towpath/towpath/ip/group"
	"github.com/towpath/towpath/packet"
	"github.com/towpath/towpath/wire"
)

// A sender has the addresses of the adapters and puts packets on the wire.
type sender struct{}

func (sender) Report(adapter int32, g netip.Addr, k group.Kind) {
	p := packet.Get()
	group.Message(p, netip.MustParseAddr("10.0.0.1"), g, k)
	fmt.Println(k, "to", p.Dst, "at", wire.MulticastMAC(p.Dst))
	packet.Free(p)
}

func Example() {
	table := group.New(0, rand.NewPCG(1, 2))
	g := netip.MustParseAddr("239.1.2.3")
	table.Join(0, 1, g, sender{})
	fmt.Println("member:", table.Member(1, g))
	table.Timeout(table.Deadline(), sender{}) // from the owner's timer
	table.Leave(0, 1, g, sender{})
	// Output:
	// v2 report to 239.1.2.3 at 01:00:5e:01:02:03
	// member: true
	// v2 report to 239.1.2.3 at 01:00:5e:01:02:03
	// leave to 224.0.0.2 at 01:00:5e:00:00:02
}
