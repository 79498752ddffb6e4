package tcp_test

import (
	"fmt"
	"time"

	"github.com/towpath/towpath/packet"
	"github.com/towpath/towpath/tcp"
)

// A peer is a host of one connection, on a wire to one other.
type peer struct {
	tcp.Conn
	in    packet.List
	other *peer
}

func (p *peer) Segment(_ *tcp.Conn, seg *packet.Packet) { p.other.in.Push(seg) }

// turn is what a host does with a batch of segments.
func (p *peer) turn(now time.Duration) {
	for seg := p.in.Pop(); seg != nil; seg = p.in.Pop() {
		var reason packet.Reason
		if p.State() == tcp.StateClosed {
			reason = p.Listen(now, seg)
		} else {
			reason = p.Receive(now, seg)
		}
		if reason != packet.NotDropped {
			packet.Drop(seg, reason)
		}
	}
	p.Output(now)
}

// Two connections in one process, without hosts, links or clocks.
func Example() {
	var pool packet.Pool
	var client, server peer
	client.other, server.other = &server, &client
	client.Init(&tcp.Config{LocalPort: 40000, RemotePort: 80, ISN: 1, MSS: 1460}, &pool, &client)
	server.Init(&tcp.Config{LocalPort: 80, RemotePort: 40000, ISN: 2, MSS: 1460}, &pool, &server)

	now := time.Second
	client.Connect(now)
	client.Write([]byte("GET /"))
	for !client.in.Empty() || !server.in.Empty() {
		now += time.Millisecond
		server.turn(now)
		client.turn(now)
	}
	fmt.Println(client.State(), server.State())

	if server.Events()&tcp.EventReadable != 0 {
		var l packet.List
		n := server.Take(&l, 100)
		fmt.Printf("%s\n", l.First().Bytes())
		pool.FreeList(&l)
		server.Accept(now, n)
	}
	client.Abort(now)
	server.turn(now)
	fmt.Println(server.State(), server.Err())
	// Output:
	// ESTABLISHED ESTABLISHED
	// GET /
	// CLOSED connection reset by peer
}
