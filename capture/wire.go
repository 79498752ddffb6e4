package capture

import (
	"encoding/binary"
	"time"

	"github.com/towpath/towpath/link"
	"github.com/towpath/towpath/packet"
	"github.com/towpath/towpath/wire"
)

// A record is what is known of a copied packet. Offsets are counted from the
// packet's first byte.
type record struct {
	at       time.Duration
	off, len int // in the bank

	adapter *link.Adapter
	dir     link.Direction

	partial              bool // the checksum is to be completed
	v6                   bool
	proto                wire.Proto
	gso                  uint16 // payload bytes of a segment; 0: not a super-segment
	net, transport, data uint16
	checksum             uint16 // of the field

	reason packet.Reason // of a drop
	rule   string
}

// describe learns of a packet what finishing its copy needs. What makes no
// sense is left out, and the copy then written as it is.
func describe(p *packet.Packet) record { return describeFrom(p, p.Start(), 0) }

// describeFrom is describe for a copy of the bytes from the position start on,
// behind other bytes.
func describeFrom(p *packet.Packet, start, behind uint16) (r record) {
	n := uint16(len(p.From(start))) + behind
	start -= behind // may wrap around, and back in the differences below
	if p.Checksum == packet.ChecksumPartial && p.Transport-start >= behind && p.Transport-start < n {
		r.transport, r.proto = p.Transport-start, p.Proto
		r.checksum = r.transport + p.CsumOffset
		r.partial = r.checksum+2 <= n
	}
	if p.GSO.Type == packet.GSONone || p.Net-start < behind || p.Net-start > n || p.Transport < p.Net || p.Data < p.Transport {
		return r
	}
	r.net, r.transport, r.data = p.Net-start, p.Transport-start, p.Data-start
	r.v6 = p.GSO.Type == packet.GSOTCP6
	ip := uint16(wire.IPv4Len)
	if r.v6 {
		ip = wire.IPv6Len
	}
	if r.data <= n && r.transport >= r.net+ip && r.data >= r.transport+wire.TCPLen {
		r.gso = p.GSO.Size
	}
	return r
}

// finish gives the sink a copied packet, finished, and returns how many packets
// it became.
func (t *Tap) finish(r *record, b []byte) (n int, err error) {
	at := t.clock.Wall(r.at)
	if r.gso == 0 || len(b)-int(r.data) <= int(r.gso) {
		if r.partial {
			complete(b, r)
		}
		return 1, t.emit(r, at, b)
	}
	payload := b[r.data:]
	for off := 0; off < len(payload); off += int(r.gso) {
		t.frame = append(append(t.frame[:0], b[:r.data]...), payload[off:min(off+int(r.gso), len(payload))]...)
		segment(t.frame, r, off, n, off+int(r.gso) >= len(payload))
		if err := t.emit(r, at, t.frame); err != nil {
			return n, err
		}
		n++
	}
	return n, nil
}

func (t *Tap) emit(r *record, at time.Time, b []byte) error {
	return t.write(r, at, b[:min(len(b), t.snaplen)], len(b))
}

// complete adds the transport header and the payload to the sum of the pseudo
// header that stands in the checksum field.
func complete(b []byte, r *record) {
	sum := ^wire.Fold(wire.Sum(b[r.transport:], 0))
	if sum == 0 && r.proto == wire.ProtoUDP {
		sum = 0xffff // zero would mean: no checksum
	}
	binary.BigEndian.PutUint16(b[r.checksum:], sum)
}

// segment makes the headers of b those of the i-th segment of a super-segment,
// whose payload begins off bytes into the whole's.
func segment(b []byte, r *record, off, i int, last bool) {
	var pseudo uint32
	length := len(b) - int(r.transport)
	if r.v6 {
		h := wire.IPv6(b[r.net:])
		h.SetPayloadLen(len(b) - int(r.net) - wire.IPv6Len)
		pseudo = wire.PseudoSum(h.Src(), h.Dst(), wire.ProtoTCP, length)
	} else {
		h := wire.IPv4(b[r.net:])
		h.SetTotalLen(len(b) - int(r.net))
		h.SetID(h.ID() + uint16(i))
		h.UpdateChecksum()
		pseudo = wire.PseudoSum(h.Src(), h.Dst(), wire.ProtoTCP, length)
	}
	h := wire.TCP(b[r.transport:])
	h.SetSeq(h.Seq() + uint32(off))
	flags := h.Flags()
	if !last {
		flags &^= wire.TCPFin | wire.TCPPsh
	}
	if i > 0 {
		flags &^= wire.TCPCwr
	}
	h.SetFlags(flags)
	h.SetChecksum(0)
	h.SetChecksum(^wire.Fold(wire.Sum(h, pseudo)))
}
