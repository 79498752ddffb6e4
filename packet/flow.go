package packet

import (
	"net/netip"

	"github.com/towpath/towpath/wire"
)

// A Tuple names one direction of a flow.
type Tuple struct {
	Src, Dst         netip.Addr
	SrcPort, DstPort uint16
	Proto            wire.Proto
}

// Reverse is the tuple of the opposite direction.
func (t Tuple) Reverse() Tuple {
	return Tuple{t.Dst, t.Src, t.DstPort, t.SrcPort, t.Proto}
}

// A Flow is what a host remembers of a flow of packets. Connection tracking
// embeds it in its entries; a packet refers to the flow it was found to be in.
type Flow struct {
	Tuple Tuple
}

// A Trace records the fate of one packet. Packets have none (nil) unless
// somebody asked to watch them; all methods may be called on nil.
type Trace struct {
	Steps []Step
}

// A Step is one station of a traced packet: the function of the walk, and what
// happened there.
type Step struct {
	Where, What string
}

// Note adds a step.
func (t *Trace) Note(where, what string) {
	if t != nil {
		t.Steps = append(t.Steps, Step{where, what})
	}
}
