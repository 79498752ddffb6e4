// Package cable is an in-memory wire between two adapters.
//
//	a, b := cable.New(cable.Config{MTU: 1500})
//	alice.AddAdapter("eth0", a)
//	bob.AddAdapter("eth0", b)
//
// # Theory of operation
//
// Each direction is a [link.Queue]: a sender puts its frames there and its Work
// delivers them at the other end, up to 64 at a time. By default a cable
// carries TCP super-segments of up to 64 KiB whole, and checksums as partial as
// they were sent, like Linux's veth: bytes that stay in the process need no
// checksum. [Config.Plain] makes a wire that does neither.
//
// A cable has no delay, no loss and no rate; those are filters of the adapters
// at its ends. When one end closes, the other's frames are dropped.
package cable

import (
	"math/rand/v2"
	"sync"

	"github.com/towpath/towpath/link"
	"github.com/towpath/towpath/packet"
	"github.com/towpath/towpath/wire"
)

// Config describes a cable. The zero value is a good one.
type Config struct {
	// MTU in bytes; 0 means 1500. Both ends have the same.
	MTU int
	// MAC addresses of the two ends; zero ones are drawn at random from the
	// locally administered unicast range.
	MAC [2]wire.MAC
	// Plain cables carry neither super-segments nor partial checksums.
	Plain bool
	// Queue bounds each direction, in packets; 0 means link.QueueLimit.
	Queue int
}

// A Port is one end of a cable, a [link.Miniport].
type Port struct {
	caps  link.Capabilities
	limit int
	out   link.Queue
	peer  *Port

	mu      *sync.Mutex   // of both ends
	adapter *link.Adapter // guarded by mu: while the port is started
}

// New returns the two ends of a cable.
func New(c Config) (a, b *Port) {
	if c.MTU == 0 {
		c.MTU = 1500
	}
	caps := link.Capabilities{Medium: link.MediumEthernet, MTU: c.MTU}
	if !c.Plain {
		caps.GSOMax, caps.TxChecksum = packet.SizeMax, true
	}
	a = &Port{caps: caps, limit: c.Queue}
	b = &Port{caps: caps, limit: c.Queue}
	a.peer, b.peer = b, a
	a.mu = new(sync.Mutex)
	b.mu = a.mu
	for i, p := range []*Port{a, b} {
		p.caps.MAC = c.MAC[i]
		if p.caps.MAC.IsZero() {
			p.caps.MAC = RandomMAC(rand.Uint64())
		}
	}
	return a, b
}

// RandomMAC makes a locally administered unicast address of 46 bits of seed.
func RandomMAC(seed uint64) (m wire.MAC) {
	for i := range m {
		m[i] = byte(seed >> (8 * i))
	}
	m[0] = m[0]&^1 | 2
	return m
}

// Capabilities implements [link.Miniport].
func (p *Port) Capabilities() link.Capabilities { return p.caps }

// Start implements [link.Miniport].
func (p *Port) Start(a *link.Adapter) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.adapter = a
	p.out.Open(a, p.limit)
	p.peer.out.Deliver(a)
	if p.peer.adapter != nil { // it may have been started again
		p.out.Deliver(p.peer.adapter)
	}
	return nil
}

// Send implements [link.Miniport].
func (p *Port) Send(l *packet.List, w *link.Work) { p.out.Send(l, w) }

// Close implements [link.Miniport]: nothing is sent or delivered here any more,
// until a new adapter starts the port again, as of a computer that was off.
func (p *Port) Close() error {
	p.mu.Lock()
	p.adapter = nil
	p.mu.Unlock()
	p.out.Close()
	p.peer.out.Disconnect()
	return nil
}
