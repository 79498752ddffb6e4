package nft

import (
	"encoding/binary"
	"net/netip"

	"github.com/towpath/towpath/packet"
	"github.com/towpath/towpath/wire"
)

var noAddr netip.Addr

// SetHeaders notes in p what its IP header, at p.Net, says: addresses, protocol
// and where the transport header is, as the walk does of packets that come in.
// It reports whether there is a header.
func SetHeaders(p *packet.Packet) bool {
	h := p.From(p.Net)
	if len(h) < 1 {
		return false
	}
	switch h[0] >> 4 {
	case 4:
		ip := wire.IPv4(h)
		if len(h) < wire.IPv4Len || ip.HeaderLen() < wire.IPv4Len || ip.HeaderLen() > len(h) {
			return false
		}
		p.Src, p.Dst, p.Proto, p.TTL, p.TOS = ip.Src(), ip.Dst(), ip.Proto(), ip.TTL(), ip.TOS()
		p.Transport = p.Net + uint16(ip.HeaderLen())
	case 6:
		ip := wire.IPv6(h)
		if len(h) < wire.IPv6Len {
			return false
		}
		p.Src, p.Dst, p.TTL, p.TOS = ip.Src(), ip.Dst(), ip.HopLimit(), ip.TrafficClass()
		next, at := wire.Proto(h[6]), wire.IPv6Len
		for next.IsExtension() && len(h) >= at+8 {
			n := 8
			switch next {
			case wire.ProtoFragment:
				if binary.BigEndian.Uint16(h[at+2:])&^7 != 0 {
					p.Proto, p.Transport = wire.ProtoFragment, p.Net+uint16(at)
					return true
				}
			case wire.ProtoAH:
				n = 8 + 4*int(h[at+1])
			default:
				n = 8 + 8*int(h[at+1])
			}
			if len(h) < at+n {
				break
			}
			next, at = wire.Proto(h[at]), at+n
		}
		p.Proto, p.Transport = next, p.Net+uint16(at)
	default:
		return false
	}
	return true
}
