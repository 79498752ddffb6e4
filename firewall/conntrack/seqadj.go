package conntrack

import (
	"encoding/binary"

	"github.com/towpath/towpath/packet"
	"github.com/towpath/towpath/wire"
)

// A seqAdjust is by how much one sender's sequence numbers are changed because
// what it sends was rewritten to another length: before and after the place of
// the last change.
type seqAdjust struct {
	at            uint32 // in the sender's own numbers
	before, after int32
}

// offset is by how much the number seq, as the receiver sees it, is changed.
func (a *seqAdjust) offset(seq uint32) uint32 {
	if after(seq, a.at) {
		return uint32(a.after)
	}
	return uint32(a.before)
}

// change notes that what begins at seq grew by n bytes.
func (a *seqAdjust) change(seq uint32, n int) {
	if a.before == a.after || after(seq, a.at) {
		a.at = seq
		a.before = a.after
		a.after += int32(n)
	}
}

// adjustTCP changes the numbers of a segment: the sender's own by sent, those
// that it acknowledges by what was done to its peer's, got.
func adjustTCP(p *packet.Packet, sent, got *seqAdjust) {
	h := wire.TCP(p.From(p.Transport))
	sum := h.Checksum()
	if p.Checksum == packet.ChecksumPartial {
		sum = 0 // holds the pseudo header only
	}
	if d := sent.offset(h.Seq()); d != 0 {
		old := h.Seq()
		h.SetSeq(old + d)
		sum = wire.ChecksumUpdate32(sum, old, old+d)
	}
	if h.Flags().Has(wire.TCPAck) && (got.before != 0 || got.after != 0) {
		old := h.Ack()
		ack := got.undo(old)
		h.SetAck(ack)
		sum = wire.ChecksumUpdate32(sum, old, ack)
		sum = got.undoSACK(h, sum)
	}
	if p.Checksum != packet.ChecksumPartial {
		h.SetChecksum(sum)
	}
}

// undo turns a number that acknowledges changed bytes into the sender's own.
func (a *seqAdjust) undo(ack uint32) uint32 {
	if after(ack-uint32(a.before), a.at) {
		return ack - uint32(a.after)
	}
	return ack - uint32(a.before)
}

// undoSACK does so with the blocks of selective acknowledgments.
func (a *seqAdjust) undoSACK(h wire.TCP, sum uint16) uint16 {
	options := h.Options()
	for b := options; len(b) > 0; {
		kind, body, rest, ok := nextOption(b)
		if !ok {
			break
		}
		if kind == optSACK && len(body)%8 == 0 {
			for i := 0; i < len(body); i += 4 {
				old := binary.BigEndian.Uint32(body[i:])
				edge := a.undo(old)
				binary.BigEndian.PutUint32(body[i:], edge)
				// An option may begin at an odd offset: its words then straddle.
				if (len(options)-len(rest)-len(body)+i)%2 == 0 {
					sum = wire.ChecksumUpdate32(sum, old, edge)
				} else {
					sum = swap(wire.ChecksumUpdate32(swap(sum), old, edge))
				}
			}
		}
		b = rest
	}
	return sum
}

func swap(v uint16) uint16 { return v<<8 | v>>8 }
