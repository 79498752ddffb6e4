package host

import (
	"syscall"

	"github.com/towpath/towpath/packet"
	"github.com/towpath/towpath/wire"
)

// A PacketFilter decides which packets a socket gets, and how much of them
// (Linux: SO_ATTACH_FILTER). It is called under the host's lane lock: it must
// not block, nor keep or change what it is lent.
type PacketFilter interface {
	// Keep returns how many bytes of a packet are kept, 0 for none of it.
	Keep(pkt []byte, about *FilterContext) uint32
}

// A FilterContext is what a PacketFilter may know of a packet beside its bytes.
type FilterContext struct {
	Protocol  uint16 // EtherType
	Kind      PacketKind
	Hardware  uint16 // ARPHRD_ETHER and so on, by Linux's numbers
	Adapter   int32  // its index
	Mark      uint32
	NetOffset int // where the network header is; negative: before the packet's first byte
}

// SetFilter gives a datagram, raw or packet socket a filter, or with nil takes
// it away. The filter of a datagram socket sees packets from the UDP header on,
// that of a raw one what the socket would receive, that of a packet socket
// frames. It fails with ENOPROTOOPT for other sockets.
func (s *Socket) SetFilter(f PacketFilter) syscall.Errno {
	return s.hold(func(*lane) syscall.Errno {
		switch {
		case s.pkt != nil:
			s.pkt.filter = f
		case s.udp != nil:
			s.udp.filter = f
		default:
			return syscall.ENOPROTOOPT
		}
		return 0
	})
}

// keep asks a filter about p, which begins with what the filter sees, and cuts
// it to what is kept, but not below least bytes. It reports whether any is.
func (ln *lane) keep(f PacketFilter, p *packet.Packet, least int, x *FilterContext) bool {
	b := p.Head()
	if len(b) < p.Len() {
		ln.linear = append(ln.linear[:0], make([]byte, p.Len())...)
		p.CopyTo(ln.linear, 0)
		b = ln.linear
	}
	n := f.Keep(b, x)
	if size := max(n, uint32(least)); size < uint32(p.Len()) {
		p.Truncate(int(size))
	}
	return n > 0
}

// filtered lets a datagram socket's filter look at p, which begins with its
// transport header, or as it does for a raw socket. It reports whether p is not
// wanted. Of a datagram the header is never cut (Linux: sk_filter_trim_cap).
func (s *udpSocket) filtered(ln *lane, p *packet.Packet) bool {
	x := FilterContext{Protocol: uint16(wire.EtherTypeIPv4), Adapter: p.Ingress, Mark: p.Mark, NetOffset: int(p.Net) - int(p.Start())}
	if p.Dst.Is6() {
		x.Protocol = uint16(wire.EtherTypeIPv6)
	}
	if a := ln.conf.adapter(p.Ingress); a != nil {
		x.Hardware = hardware(a)
	}
	least := 0
	if s.raw == nil {
		least = wire.UDPLen
	}
	return !ln.keep(s.filter, p, least, &x)
}
