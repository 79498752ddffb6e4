package nat

import (
	"encoding/binary"
	"net/netip"

	"github.com/towpath/towpath/firewall/conntrack"
	"github.com/towpath/towpath/packet"
	"github.com/towpath/towpath/wire"
)

// rewrite makes one side of p as tr says, and of an error also the other side
// of the packet that it quotes: that one went the other way.
func rewrite(p *packet.Packet, side conntrack.Side, tr *conntrack.Translation) {
	p.Linear(min(p.Len(), int(p.Transport-p.Start())+wire.TCPLen))
	quotes := tr.Quoted.Src.IsValid()
	if quotes {
		rewriteQuote(p, side, &tr.Quoted)
	}
	to := *addrOf(&tr.To, side)
	old := p.Dst
	if side == conntrack.Source {
		old = p.Src
		p.Src = to
	} else {
		p.Dst = to
	}
	putAddr(p.From(p.Net), side, old, to)
	h := header{b: p.From(p.Transport), proto: p.Proto, partial: p.Checksum == packet.ChecksumPartial}
	h.addr(old, to)
	if port := portOf(&tr.To, side); port != nil && !quotes {
		h.port(side, *port)
	}
}

// putAddr writes an address into an IP header.
func putAddr(b []byte, side conntrack.Side, old, to netip.Addr) {
	if to.Is4() {
		ip := wire.IPv4(b)
		if side == conntrack.Source {
			ip.SetSrc(to)
		} else {
			ip.SetDst(to)
		}
		ip.SetChecksum(wire.ChecksumUpdateAddr(ip.Checksum(), old, to))
		return
	}
	if ip := wire.IPv6(b); side == conntrack.Source {
		ip.SetSrc(to)
	} else {
		ip.SetDst(to)
	}
}

// A header is what there is of a transport header: all of it, or in an error
// its beginning.
type header struct {
	b       []byte
	proto   wire.Proto
	partial bool // its checksum is of the pseudo header only
}

// sum is where the checksum is, nil if there is none.
func (h *header) sum() []byte {
	at := 0
	switch h.proto {
	case wire.ProtoTCP:
		at = 16
	case wire.ProtoUDP, wire.ProtoUDPLite:
		at = 6
	case wire.ProtoICMP, wire.ProtoICMPv6:
		at = 2
	default:
		return nil
	}
	if len(h.b) < at+2 || h.proto == wire.ProtoTCP && len(h.b) < wire.TCPLen {
		return nil // as in the kernel, TCP's is one only in a whole header
	}
	s := h.b[at : at+2]
	if h.proto == wire.ProtoUDP && !h.partial && s[0]|s[1] == 0 {
		return nil // none was computed
	}
	return s
}

func (h *header) putSum(s []byte, v uint16) {
	if h.proto == wire.ProtoUDP && !h.partial && v == 0 {
		v = 0xffff
	}
	binary.BigEndian.PutUint16(s, v)
}

// addr corrects the checksum for an address of the pseudo header. A partial
// one is not complemented.
func (h *header) addr(old, to netip.Addr) {
	s := h.sum()
	if s == nil || h.proto == wire.ProtoICMP {
		return
	}
	v := binary.BigEndian.Uint16(s)
	if h.partial {
		h.putSum(s, ^wire.ChecksumUpdateAddr(^v, old, to))
		return
	}
	h.putSum(s, wire.ChecksumUpdateAddr(v, old, to))
}

// port writes a port, or the identifier of an ICMP message.
func (h *header) port(side conntrack.Side, port uint16) {
	at := 0
	switch h.proto {
	case wire.ProtoTCP, wire.ProtoUDP, wire.ProtoUDPLite:
		if side == conntrack.Destination {
			at = 2
		}
	case wire.ProtoICMP, wire.ProtoICMPv6:
		at = 4
	default:
		return
	}
	if len(h.b) < at+2 {
		return
	}
	old := binary.BigEndian.Uint16(h.b[at:])
	binary.BigEndian.PutUint16(h.b[at:], port)
	if s := h.sum(); s != nil && !h.partial {
		h.putSum(s, wire.ChecksumUpdate16(binary.BigEndian.Uint16(s), old, port))
	}
}

// rewriteQuote makes the packet that an error quotes as quoted is, on the side
// that is not the error's own, and corrects the error's checksum.
func rewriteQuote(p *packet.Packet, side conntrack.Side, quoted *packet.Tuple) {
	q, ok := conntrack.ReadQuote(p)
	if !ok {
		return
	}
	other := conntrack.Destination
	if side == conntrack.Destination {
		other = conntrack.Source
	}
	message := p.From(p.Transport)
	end := min(len(message), q.Transport+wire.TCPLen)
	before := wire.Fold(wire.Sum(message[:end], 0))
	old, to := *addrOf(&q.Tuple, other), *addrOf(quoted, other)
	putAddr(message[q.Net:], other, old, to)
	h := header{b: message[q.Transport:end], proto: q.Tuple.Proto}
	h.addr(old, to)
	if port := portOf(quoted, other); port != nil {
		h.port(other, *port)
	}
	// The sum of the message without its own checksum has changed by this.
	now := wire.Fold(wire.Sum(message[:end], 0))
	outer := wire.ICMPv4(message)
	if p.Checksum != packet.ChecksumPartial {
		outer.SetChecksum(wire.ChecksumUpdate16(outer.Checksum(), before, now))
	}
}
