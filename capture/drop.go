package capture

import (
	"encoding/binary"
	"fmt"
	"time"

	"github.com/towpath/towpath/link"
	"github.com/towpath/towpath/packet"
	"github.com/towpath/towpath/wire"
)

// A Drop says what became of a packet that was dropped.
type Drop struct {
	Adapter *link.Adapter // nil: none yet
	Dir     link.Direction
	Reason  packet.Reason
	Rule    string // whose wish it was; empty if it was no rule's
}

// String is the reason, and where a rule is it, the rule.
func (d Drop) String() string {
	if d.Rule != "" {
		return fmt.Sprintf("%v: %s", d.Reason, d.Rule)
	}
	return d.Reason.String()
}

// A DropSink is a [Sink] that is also told why packets were dropped.
// WriteDropped is called for these instead of WritePacket.
type DropSink interface {
	Sink
	WriteDropped(d Drop, t time.Time, data []byte, length int) error
}

// The fields of Linux's cooked header, version 2. Numbers are big-endian.
const (
	sllLen     = 20 // type, 2 zeros, adapter's index, ARPHRD, packet type, length of the address, address
	sllIndex   = 4
	sllARPHRD  = 8
	sllPktType = 10
	sllAddrLen = 11
	sllAddr    = 12

	arphrdEther = 1
	arphrdNone  = 0xfffe

	// Packet types, as those of packet(7).
	packetHost      = 0
	packetBroadcast = 1
	packetMulticast = 2
	packetOtherHost = 3
	packetOutgoing  = 4
)

// TapDrop implements [link.DropTap].
func (t *Tap) TapDrop(a *link.Adapter, dir link.Direction, p *packet.Packet, why packet.Reason, rule string) {
	t.cook(a, dir, p, why, rule)
}

// cook keeps a packet behind a cooked header, and what became of it.
func (t *Tap) cook(a *link.Adapter, dir link.Direction, p *packet.Packet, why packet.Reason, rule string) {
	var room [sllLen + wire.IPv6Len]byte
	h := room[:sllLen]
	frame, start, typ := locate(a, p)
	binary.BigEndian.PutUint16(h[sllARPHRD:], arphrdNone)
	if a != nil {
		binary.BigEndian.PutUint32(h[sllIndex:], uint32(a.Index()))
	}
	if dir == link.Out {
		h[sllPktType] = packetOutgoing
	}
	if frame != nil {
		binary.BigEndian.PutUint16(h[sllARPHRD:], arphrdEther)
		src := frame.Src()
		h[sllAddrLen] = byte(len(src))
		copy(h[sllAddr:], src[:])
		if dst := frame.Dst(); dir == link.In {
			switch {
			case dst == wire.Broadcast:
				h[sllPktType] = packetBroadcast
			case dst.IsMulticast():
				h[sllPktType] = packetMulticast
			case a != nil && dst != a.MAC():
				h[sllPktType] = packetOtherHost
			}
		}
	}
	if start == 0 { // made here, and nothing in front of its transport header yet
		start, typ = p.Start(), wire.EtherTypeIPv6
		if p.Src.Is4() && p.Dst.Is4() {
			typ = wire.EtherTypeIPv4
			h = room[:sllLen+wire.IPv4Len]
			wire.PutIPv4(h[sllLen:], &wire.IPv4Fields{TotalLen: wire.IPv4Len + p.Len(), TTL: p.TTL, TOS: p.TOS, Proto: p.Proto, Src: p.Src, Dst: p.Dst})
		} else if p.Src.Is6() && p.Dst.Is6() {
			h = room[:sllLen+wire.IPv6Len]
			wire.PutIPv6(h[sllLen:], &wire.IPv6Fields{PayloadLen: p.Len(), HopLimit: p.TTL, TrafficClass: p.TOS, NextHeader: p.Proto, Src: p.Src, Dst: p.Dst})
		} else {
			typ = 0
		}
	}
	binary.BigEndian.PutUint16(h, uint16(typ))
	r := describeFrom(p, start, uint16(len(h)))
	r.adapter, r.dir, r.reason, r.rule = a, dir, why, rule
	t.keep(&r, h, p, start)
}

// locate finds where a packet's IP or ARP header begins, and what is in front
// of it: nil if there is no link header, 0 if there is no such header yet.
func locate(a *link.Adapter, p *packet.Packet) (frame wire.Ethernet, start uint16, typ wire.EtherType) {
	first := p.Start()
	end := first + uint16(p.HeadLen())
	ethernet := a != nil && a.Capabilities().Medium == link.MediumEthernet
	switch {
	case p.Net == 0 && !ethernet && p.Ingress == 0:
		return nil, 0, 0
	case ethernet && (p.Link != 0 && p.Net == p.Link+wire.EthernetLen || p.Net == first+wire.EthernetLen) && p.Net <= end:
		frame, start = wire.Ethernet(p.From(p.Net-wire.EthernetLen)), p.Net
	case p.Net != 0 && p.Net <= end:
		start = p.Net
	case ethernet && p.HeadLen() >= wire.EthernetLen:
		frame, start = wire.Ethernet(p.Head()), first+wire.EthernetLen
	default:
		return nil, first, 0
	}
	if frame != nil {
		return frame, start, frame.Type()
	}
	if b := p.From(start); len(b) > 0 {
		switch b[0] >> 4 {
		case 4:
			return nil, start, wire.EtherTypeIPv4
		case 6:
			return nil, start, wire.EtherTypeIPv6
		}
	}
	return nil, start, 0
}
