package conntrack

import (
	"fmt"
	"math/rand/v2"

	"github.com/towpath/towpath/packet"
	"github.com/towpath/towpath/wire"
)

// expectTries is how many ports are tried for a data connection.
const expectTries = 128

// translateFTP has the line of FTP in p announce the address that the other end
// sees, and expects a connection to it. It reports false if p is to be dropped:
// its receiver would connect to somebody else.
func (t *Table) translateFTP(e *Entry, dir direction, p *packet.Packet, c *ftpCommand, x *expectation) bool {
	x.follow = Follow{Set: true, Port: c.port, Against: dir == original}
	port := c.port
	for n := 0; !t.expect(e, x); n++ {
		if n == expectTries {
			return true
		}
		// The ports of few registered services, as Linux chooses them.
		port = 1024 + uint16(rand.Uint32N(65536-1024))
		x.key.setPorts(0, port)
	}
	addr := x.key.dst()
	var text string
	switch {
	case !c.extended:
		a := addr.As4()
		text = fmt.Sprintf("%d,%d,%d,%d,%d,%d", a[0], a[1], a[2], a[3], port>>8, port&0xff)
	case c.passive:
		text = fmt.Sprintf("|||%d|", port)
	case addr.Is4():
		text = fmt.Sprintf("|1|%v|%d|", addr, port)
	default:
		text = fmt.Sprintf("|2|%v|%d|", addr, port)
	}
	seq := wire.TCP(p.From(p.Transport)).Seq()
	grown := len(text) - (c.end - c.start)
	if !replacePayload(p, c.start, c.end, text) {
		t.unexpect(x)
		return false
	}
	if grown != 0 {
		e.ext.adjust[dir].change(seq, grown)
		e.status |= SeqAdjust
	}
	return true
}

// replacePayload puts text in the place of the bytes start to end of a TCP
// segment's payload, and corrects lengths and checksums.
func replacePayload(p *packet.Packet, start, end int, text string) bool {
	at := int(p.Transport-p.Start()) + wire.TCP(p.From(p.Transport)).HeaderLen()
	b := make([]byte, p.Len()-at)
	p.CopyTo(b, at)
	if p.LenFrom(p.Net)+len(text)-(end-start) > packet.SizeMax {
		return false
	}
	p.Truncate(at)
	if !p.AppendBytes(b[:start]) || !p.AppendBytes([]byte(text)) || !p.AppendBytes(b[end:]) {
		return false
	}
	size := p.LenFrom(p.Transport)
	if p.Src.Is4() {
		ip := wire.IPv4(p.From(p.Net))
		old := ip.TotalLen()
		ip.SetTotalLen(p.LenFrom(p.Net))
		ip.SetChecksum(wire.ChecksumUpdate16(ip.Checksum(), uint16(old), uint16(p.LenFrom(p.Net))))
	} else {
		wire.IPv6(p.From(p.Net)).SetPayloadLen(p.LenFrom(p.Net) - wire.IPv6Len)
	}
	h := wire.TCP(p.From(p.Transport))
	pseudo := wire.PseudoSum(p.Src, p.Dst, wire.ProtoTCP, size)
	if p.Checksum == packet.ChecksumPartial {
		h.SetChecksum(wire.Fold(pseudo))
		return true
	}
	h.SetChecksum(0)
	h.SetChecksum(^wire.Fold(p.TransportSum(pseudo)))
	return true
}
