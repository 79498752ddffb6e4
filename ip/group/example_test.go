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

func (sender) Link(adapter int32, v6 bool) group.Link { return group.Link{MTU: 1500} }

func (sender) Send(adapter int32, m *group.Message) {
	p := packet.Get()
	m.Put(p, netip.MustParseAddr("10.0.0.1"))
	fmt.Println(m.Kind, "to", p.Dst, "at", wire.MulticastMAC(p.Dst))
	for _, r := range m.Records {
		fmt.Println("  ", r.Type, r.Group, r.Sources)
	}
	packet.Free(p)
}

func Example() {
	table := group.New(0, rand.NewPCG(1, 2))
	k := group.Key{Adapter: 1, Group: netip.MustParseAddr("232.1.2.3")}
	one := group.NewFilter(false, netip.MustParseAddr("10.0.0.7"))
	table.Listen(0, k, group.Filter{}, one, sender{})
	fmt.Println("member:", table.Member(k.Adapter, k.Group))
	table.Timeout(table.Deadline(), sender{}) // from the owner's timer
	table.Listen(table.Deadline(), k, one, group.Filter{}, sender{})
	// Output:
	// v3 report to 224.0.0.22 at 01:00:5e:00:00:16
	//    allow 232.1.2.3 [10.0.0.7]
	// member: true
	// v3 report to 224.0.0.22 at 01:00:5e:00:00:16
	//    allow 232.1.2.3 [10.0.0.7]
	// v3 report to 224.0.0.22 at 01:00:5e:00:00:16
	//    block 232.1.2.3 [10.0.0.7]
}
