package packet_test

import (
	"fmt"

	"github.com/towpath/towpath/packet"
	"github.com/towpath/towpath/wire"
)

// Payload first, then headers in front; on the way up they are pulled again.
func Example() {
	var pool packet.Pool
	p := pool.Get()
	p.Append(copy(p.Room(), "payload"))
	wire.PutUDP(p.Push(wire.UDPLen), 53, 5353, wire.UDPLen+7, 0)
	p.Transport = p.Start()

	fmt.Println(p.Len(), "bytes to port", wire.UDP(p.Head()).DstPort())
	p.Pull(wire.UDPLen)
	fmt.Printf("%s\n", p.Head())
	pool.Free(p)
	// Output:
	// 15 bytes to port 5353
	// payload
}

// A clone shares the payload until it is made private.
func ExamplePacket_MakePrivate() {
	p := packet.Get()
	p.AppendBytes(make([]byte, 1000))
	c := p.Clone()
	c.MakePrivate()
	c.Frags()[0].Bytes()[0] = 1
	fmt.Println(p.Bytes()[0], c.Bytes()[0])
	packet.Free(p)
	packet.Free(c)
	// Output: 0 1
}
