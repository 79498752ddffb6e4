package bridge

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/towpath/towpath/clock"
	"github.com/towpath/towpath/link"
	"github.com/towpath/towpath/packet"
	"github.com/towpath/towpath/wire"
)

const (
	ageingUsual = 300 * time.Second // IEEE 802.1D-2004 §7.9.2, table 7-5
	tableUsual  = 16384
)

// Config describes a bridge. The zero value is a good one.
type Config struct {
	// Clock is what stations' ages are told by; nil means clock.Real().
	Clock clock.Clock
	// Ageing is for how long a silent station is remembered; 0 means 300 s.
	Ageing time.Duration
	// TableMax bounds the stations that are remembered; 0 means 16384. A port
	// may have half of them.
	TableMax int
	// Filtering: ports belong to VLANs.
	Filtering bool
}

// ErrClosed is the error of adding a port to a bridge that has been closed.
var ErrClosed = errors.New("bridge is closed")

// A Bridge forwards frames between its ports. Its methods may be called by
// several goroutines at once.
type Bridge struct {
	clock     clock.Clock
	filtering bool

	mu     sync.Mutex // before the ports' out queues
	closed bool
	ports  []*Port
	table  table
	stats  Stats
	// While a batch is worked on: ports with something in out, and a frame that
	// is dropped.
	out []*Port
	one packet.List
}

// Stats counts what a bridge has done. Frames that were dropped are counted on
// the port's adapter where they came in.
type Stats struct {
	Forwarded uint64 // frames for a known station
	Flooded   uint64 // frames for a group, or for a station that is not known
	Learned   uint64 // stations
	Moved     uint64 // stations that were heard at another port than before
	Refused   uint64 // stations for which there was no room
}

// New makes a bridge without ports.
func New(c Config) *Bridge {
	if c.Clock == nil {
		c.Clock = clock.Real()
	}
	if c.Ageing <= 0 {
		c.Ageing = ageingUsual
	}
	if c.TableMax <= 0 {
		c.TableMax = tableUsual
	}
	return &Bridge{clock: c.Clock, filtering: c.Filtering, table: newTable(c.Ageing, c.TableMax)}
}

// A Port is an adapter's place in a bridge.
type Port struct {
	bridge  *Bridge
	adapter *link.Adapter

	// Guarded by the bridge's mu.
	vlans   vlans
	learned int // stations in the table
	out     packet.List
}

// Adapter is what the port sends and receives by.
func (p *Port) Adapter() *link.Adapter { return p.adapter }

// AddPort makes an adapter that has not been opened a port, and opens it. The
// bridge closes it.
func (b *Bridge) AddPort(a *link.Adapter, c PortConfig) (*Port, error) {
	p := &Port{bridge: b, adapter: a}
	err := p.vlans.set(c)
	if err == nil && a.Capabilities().Medium != link.MediumEthernet {
		err = fmt.Errorf("%s is not an Ethernet", a.Name())
	}
	b.mu.Lock()
	if err == nil && b.closed {
		err = ErrClosed
	}
	if err == nil {
		b.ports = append(b.ports, p)
	}
	b.mu.Unlock()
	if err == nil {
		a.Bind(p)
		if err = a.Open(); err == nil {
			return p, nil
		}
		b.remove(p)
	}
	return nil, errors.Join(err, a.Close())
}

// RemovePort closes a port's adapter and forgets the stations behind it.
func (b *Bridge) RemovePort(p *Port) error {
	b.remove(p)
	return p.adapter.Close()
}

func (b *Bridge) remove(p *Port) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.ports = slices.DeleteFunc(b.ports, func(q *Port) bool { return p == q })
	b.table.forget(p)
}

// Configure changes the VLANs of a port.
func (p *Port) Configure(c PortConfig) error {
	p.bridge.mu.Lock()
	defer p.bridge.mu.Unlock()
	return p.vlans.set(c)
}

// Flush forgets the stations behind a port, as is to be done when its link has
// been down.
func (p *Port) Flush() {
	p.bridge.mu.Lock()
	defer p.bridge.mu.Unlock()
	p.bridge.table.forget(p)
}

// Ports returns the ports in the order in which they were added.
func (b *Bridge) Ports() []*Port {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.ports)
}

// Stats returns the counters.
func (b *Bridge) Stats() Stats {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.stats
}

// Close closes the ports. Called again, it does nothing.
func (b *Bridge) Close() error {
	b.mu.Lock()
	ports := b.ports
	b.ports, b.closed = nil, true
	b.table.clear()
	b.mu.Unlock()
	var errs []error
	for _, p := range ports {
		errs = append(errs, p.adapter.Close())
	}
	return errors.Join(errs...)
}

// Receive implements [link.Protocol].
func (p *Port) Receive(_ *link.Adapter, l *packet.List, w *link.Work) {
	b := p.bridge
	now := b.clock.Now()
	b.mu.Lock()
	defer b.mu.Unlock()
	for f := l.Pop(); f != nil; f = l.Pop() {
		if r := b.frameIn(p, f, now); r != packet.NotDropped {
			b.one.Push(f)
			p.adapter.DropIn(&b.one, r)
		}
	}
	for i, o := range b.out {
		o.adapter.Enqueue(&o.out)
		w.Flush(o.adapter)
		b.out[i] = nil
	}
	b.out = b.out[:0]
}

// frameIn takes a frame to the ports by which it leaves, or says why there is
// none.
func (b *Bridge) frameIn(p *Port, f *packet.Packet, now time.Duration) packet.Reason {
	h := wire.Ethernet(f.Head())
	if !h.Valid() || h.Type() == wire.EtherTypeVLAN && !wire.VLAN(h.Payload()).Valid() {
		return packet.ReasonBridgeShort
	}
	src, dst := h.Src(), h.Dst()
	if src.IsMulticast() || src.IsZero() {
		return packet.ReasonBridgeSource
	}
	setOffsets(f)
	vid := noVLAN
	if b.filtering {
		if vid = p.vlans.ingress(f); vid == noVLAN {
			return packet.ReasonBridgeVLAN
		}
	}
	b.learn(p, key(vid, src), now)
	// Between neighbours only: IEEE 802.1D-2004 §7.12.6. The first is the
	// spanning tree's, which who does not speak it passes on (Linux does).
	if reserved := (wire.MAC{0x01, 0x80, 0xc2, 0, 0, dst[5]}); dst == reserved && dst[5] != 0 && dst[5] <= 0x0f {
		return packet.ReasonBridgeReserved
	}
	if dst.IsMulticast() {
		b.stats.Flooded++
		return b.flood(p, f, vid)
	}
	to := b.table.find(key(vid, dst), now)
	switch {
	case to == nil:
		b.stats.Flooded++
		return b.flood(p, f, vid)
	case to == p:
		return packet.ReasonBridgeBack
	case !to.adapter.Up() || b.filtering && !to.vlans.has(vid):
		return packet.ReasonBridgeGone
	}
	b.stats.Forwarded++
	b.forward(to, f, vid)
	return packet.NotDropped
}

// setOffsets says where the frame's headers are, for the adapters that it
// leaves by. Drivers of devices have not looked.
func setOffsets(f *packet.Packet) {
	f.Link = f.Start()
	f.Net = f.Link + wire.EthernetLen
	h := f.Head()
	for t := wire.Ethernet(h).Type(); t.IsVLAN() && len(h) >= int(f.Net-f.Link)+wire.VLANLen; f.Net += wire.VLANLen {
		t = wire.VLAN(h[f.Net-f.Link:]).Type()
	}
}

// learn notes where a station was heard.
func (b *Bridge) learn(p *Port, k uint64, now time.Duration) {
	switch b.table.learn(p, k, now) {
	case learned:
		b.stats.Learned++
	case moved:
		b.stats.Moved++
	case refused:
		b.stats.Refused++
	}
}

// flood sends a frame by every port of its VLAN but the one it came in by.
func (b *Bridge) flood(from *Port, f *packet.Packet, vid uint16) packet.Reason {
	var last *Port
	for _, p := range b.ports {
		if p == from || !p.adapter.Up() || b.filtering && !p.vlans.has(vid) {
			continue
		}
		if last != nil {
			b.forward(last, f.Clone(), vid)
		}
		last = p
	}
	if last == nil {
		return packet.ReasonBridgeNobody
	}
	b.forward(last, f, vid)
	return packet.NotDropped
}

// forward puts a frame on a port's list.
func (b *Bridge) forward(to *Port, f *packet.Packet, vid uint16) {
	if b.filtering {
		to.vlans.egress(f, vid)
	}
	if to.out.Empty() {
		b.out = append(b.out, to)
	}
	to.out.Push(f)
}
