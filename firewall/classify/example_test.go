package classify_test

import (
	"fmt"

	"github.com/towpath/towpath/firewall/classify"
	"github.com/towpath/towpath/packet"
)

// A rule loads, compares, counts and decides. Explain says why a packet does
// not meet it.
func ExampleTable_Explain() {
	table := classify.NewTable("filter")
	input := table.NewChain("input", classify.Drop)
	ssh := new(classify.Counter)
	err := table.Edit(func(e *classify.Edit) error {
		return e.Append(input, &classify.Rule{
			File: "gateway.nft", Line: 7,
			Exprs: []classify.Expr{
				classify.Payload{Base: classify.Transport, Offset: 2, Len: 2, Dst: 1},
				classify.Cmp{Op: classify.Equal, Reg: 1, Data: []byte{0, 22}},
				ssh,
				classify.Verdict{Code: classify.Accept},
			},
		})
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	var w classify.Walker
	for _, port := range []uint16{22, 80} {
		p := tcpPacket(port)
		in := &classify.Input{Packet: p}
		fmt.Println(port, table.Run(&w, input, in).Verdict)
		steps, _ := table.Explain(input, in)
		for _, s := range steps {
			if s.Failed != nil {
				fmt.Printf("  %v: %v, but it is %#x\n", s.Rule, s.Failed, s.Value)
			}
		}
		packet.Free(p)
	}
	fmt.Println(ssh)
	// Output:
	// 22 accept
	// 80 drop
	//   gateway.nft:7: cmp eq reg 1 0x0016, but it is 0x0050
	// counter pkts 1 bytes 40
}
