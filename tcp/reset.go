package tcp

import "github.com/towpath/towpath/wire"

// Reset returns the reset that answers a segment which belongs to no
// connection (RFC 9293 §3.10.7.1). It reports false for a segment that must
// not be answered: a reset.
func Reset(seg wire.TCP, payloadLen int) (f wire.TCPFields, ok bool) {
	flags := seg.Flags()
	if flags.Has(wire.TCPRst) {
		return f, false
	}
	f.SrcPort, f.DstPort = seg.DstPort(), seg.SrcPort()
	f.Flags = wire.TCPRst
	if flags.Has(wire.TCPAck) {
		f.Seq = seg.Ack()
		return f, true
	}
	s := segment{seq: seg.Seq(), n: uint32(payloadLen), flags: flags}
	f.Flags |= wire.TCPAck
	f.Ack = s.end()
	return f, true
}
