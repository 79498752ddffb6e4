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

// A Track is what connection tracking says of a packet (Linux: skb->_nfct). The
// zero value is that of a packet at which it has not looked.
type Track struct {
	Conn  any    // its entry; nil if the packet is invalid or not tracked
	Gen   uint32 // of the entry: it may have become another flow's since
	Zone  uint16 // set before tracking: flows of different zones are different
	State TrackState
	Reply bool      // the packet goes against the direction of the flow's first one
	Dirs  TrackDirs // of the flow in which Zone counts
}

// Answer is the track of a packet by which a host tells the sender of this one
// that it is refused: related to its flow, and against its direction, whether
// or not the flow is known to others (Linux: nf_ct_attach).
func (t Track) Answer() Track {
	if t.Conn == nil {
		return Track{}
	}
	t.State, t.Reply = TrackRelated, !t.Reply
	return t
}

// A TrackState is the state of a packet in its flow (Linux: enum
// ip_conntrack_info).
type TrackState uint8

const (
	TrackNone        TrackState = iota // not looked at yet
	TrackNew                           // the flow has not been answered
	TrackEstablished                   // it has been seen in both directions
	TrackRelated                       // it belongs to another flow: an error, or a flow that was expected
	TrackInvalid                       // it cannot be of any flow
	TrackUntracked                     // rules, or its nature, say not to track it
)

// TrackDirs are directions of a flow.
type TrackDirs uint8

const (
	TrackBoth TrackDirs = iota
	TrackOriginal
	TrackReply
)

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
