package cable

import (
	"github.com/towpath/towpath/link"
	"github.com/towpath/towpath/packet"
	"github.com/towpath/towpath/wire"
)

// Patch joins two adapters whose devices reach elsewhere, such as two TAP
// devices, as if a cable ran between the devices: what one receives, the other
// sends. The adapters' filters and taps see everything; nobody else needs to be
// bound to them. The joint ends when the adapters close.
func Patch(a, b *link.Adapter) {
	a.Bind(patch{b})
	b.Bind(patch{a})
}

// A patch is one direction, bound to the adapter that receives.
type patch struct{ to *link.Adapter }

// Receive implements [link.Protocol].
func (c patch) Receive(a *link.Adapter, l *packet.List, w *link.Work) {
	for p := l.First(); p != nil; p = p.Next() {
		p.Link = p.Start()
		p.Net = p.Link
		if a.Capabilities().Medium == link.MediumEthernet {
			p.Net += linkLen(p.Head())
		}
	}
	c.to.Enqueue(l)
	c.to.Flush(w)
}

// linkLen is the length of an Ethernet header with its VLAN tags.
func linkLen(b []byte) uint16 {
	if !wire.Ethernet(b).Valid() {
		return uint16(len(b))
	}
	n := wire.EthernetLen
	for t := wire.Ethernet(b).Type(); t.IsVLAN() && len(b) >= n+wire.VLANLen; n += wire.VLANLen {
		t = wire.VLAN(b[n:]).Type()
	}
	return uint16(n)
}
