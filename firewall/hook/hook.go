// Package hook names the points of the walk at which judges look at packets
// and sockets, and the verdicts they give.
//
// # Theory of operation
//
// A point has a list of judges, lowest priority number first, as netfilter's
// hooks have. The list is immutable and read through one pointer: an empty
// point costs a load and a branch. [Run] asks the judges in order until one
// gives another verdict than Accept. They run under a lane's lock and must not
// block; a judge that needs time takes the packet ([Stolen]) and gives it back
// later through [Env.Inject], or has it queued for whoever decides elsewhere
// ([Queue]).
//
// The order of points on the walk:
//
//	Ingress → Prerouting → LocalRx → Input → (FlowIn, FlowUp) → socket
//	                    ↘ Forward ↘
//	socket → Output ──────────────→ Postrouting → Egress
//
// Netfilter and the Windows Filtering Platform are both clients of these
// points; the table of their names is in ARCHITECTURE.md.
//
// Judges of streams look at what a connection carries. A [Stream] is their
// waterfall for one direction: each sees what those before it have let through,
// may wait for more, edit, or put off its verdict.
//
// # Limits
//
// The points of a bridge have names, but there is no bridge whose frames pass
// them. A [Stream] is led by whoever has the bytes; a host's own connections do
// not lead theirs through one.
package hook

import (
	"fmt"
	"math"
	"net/netip"
	"slices"
	"time"

	"github.com/towpath/towpath/link"
	"github.com/towpath/towpath/packet"
	"github.com/towpath/towpath/wire"
)

// A Point is a place on the walk where packets are judged.
type Point uint8

const (
	Ingress     Point = iota // from an adapter, before the IP header is looked at
	Prerouting               // IP header valid, before routing
	LocalRx                  // for us, before reassembly
	Input                    // for us, reassembled, before the transport protocol
	Forward                  // to be forwarded, TTL decremented
	Output                   // made here, before the route is final
	Postrouting              // about to leave, before fragmentation
	Egress                   // frame complete
	// The points of a bridge, passed by the frames it switches. A host that is
	// no bridge never asks their judges.
	BridgePrerouting
	BridgeInput
	BridgeForward
	BridgeOutput
	BridgePostrouting
	PointCount
)

var pointText = [PointCount]string{
	"ingress", "prerouting", "localrx", "input", "forward", "output", "postrouting", "egress",
	"bridge prerouting", "bridge input", "bridge forward", "bridge output", "bridge postrouting",
}

func (p Point) String() string {
	if p < PointCount {
		return pointText[p]
	}
	return "unknown point"
}

// Priorities of judges, lowest first: those of netfilter
// (linux/netfilter_ipv4.h), and one for the Windows Filtering Platform, whose
// filters see what netfilter's let pass.
const (
	PriorityFirst     = math.MinInt32
	PriorityDefrag    = -400 // reassembly for connection tracking
	PriorityRaw       = -300
	PriorityConntrack = -200
	PriorityMangle    = -150
	PriorityNATDst    = -100
	PriorityFilter    = 0
	PriorityWFP       = 25
	PrioritySecurity  = 50
	PriorityNATSrc    = 100
	PriorityHelper    = 300 // connection tracking's helpers
	PriorityConfirm   = math.MaxInt32

	// On the points of a bridge (linux/netfilter_bridge.h).
	PriorityBridgeNATDst = -300
	PriorityBridgeFilter = -200
	PriorityBridgeOut    = 100
	PriorityBridgeNATSrc = 300
)

// A Verdict is what a judge says.
type Verdict uint8

const (
	Accept Verdict = iota // go on to the next judge
	Drop                  // end the packet; Context.Rule says who wants it
	Stolen                // the judge has taken the packet
	Queue                 // let the host's Queuer take it (NF_QUEUE)
	Repeat                // ask this judge again (NF_REPEAT)
	Stop                  // go on behind the point, without the judges that follow
)

var verdictText = [...]string{"accept", "drop", "stolen", "queue", "repeat", "stop"}

func (v Verdict) String() string {
	if int(v) < len(verdictText) {
		return verdictText[v]
	}
	return "unknown verdict"
}

// repeatMax is how often one judge may say Repeat for one packet. The kernel
// has no bound and trusts the judge.
const repeatMax = 8

// A Context is what a judge is told beside the packet, and where it puts what
// belongs to its verdict.
type Context struct {
	Point   Point
	Now     time.Duration
	In, Out *link.Adapter // nil where not known at the point
	Env     Env
	Queuer  Queuer // nil if nobody takes queued packets

	// Rule is set by a judge that drops: the rule that says so. It is turned
	// into text only for packets that are being watched.
	Rule fmt.Stringer
	// Refusal is set by a judge that drops: how the sender is told.
	Refusal Refusal
	// QueueNumber and QueueBypass are set by a judge that says Queue: for whom
	// the packet waits, and whether it goes on to the next judge, instead of
	// being dropped, if nobody takes it.
	QueueNumber uint16
	QueueBypass bool
}

// A Queuer takes packets that wait for a verdict from elsewhere (Linux:
// nfnetlink_queue).
type Queuer interface {
	// Queue takes p, to be given back by c.Env.Inject(c.Point, after, p), and
	// reports true; or it reports false, and p stays the caller's. It must not
	// block, nor keep c.
	Queue(c *Context, after PacketJudge, p *packet.Packet) bool
}

// Run asks the judges of a point in order. The result is Accept if p may go on,
// Drop if the caller is to end it, and Stolen if it is not the caller's any
// more. A packet being watched (p.Trace) gets a note of who dropped it.
func Run(js Judges[PacketJudge], c *Context, p *packet.Packet) Verdict {
	for i := range js {
		j := js[i].Judge
		v := j.JudgePacket(c, p)
		for n := 1; v == Repeat && n < repeatMax; n++ {
			v = j.JudgePacket(c, p)
		}
		switch v {
		case Accept:
		case Stop:
			return Accept
		case Stolen:
			return Stolen
		case Queue:
			if c.Queuer != nil && c.Queuer.Queue(c, j, p) {
				return Stolen
			}
			if !c.QueueBypass {
				return dropped(c, p)
			}
		default: // also who repeats for ever
			return dropped(c, p)
		}
	}
	return Accept
}

func dropped(c *Context, p *packet.Packet) Verdict {
	if p.Trace != nil && c.Rule != nil {
		p.Trace.Note(c.Point.String(), "dropped by "+c.Rule.String())
	}
	return Drop
}

// A PacketJudge looks at packets at a point. p is lent unless the verdict is
// Stolen. A judge may change p's headers and, after MakePrivate, its payload.
type PacketJudge interface {
	JudgePacket(c *Context, p *packet.Packet) Verdict
}

// Defragment is a judge that has its host put fragments together before the
// judges of Prerouting see them, and cut again what it sends on. It is for
// those who look at ports; its place is PriorityDefrag.
var Defragment PacketJudge = defragment{}

type defragment struct{}

// JudgePacket says nothing: the walk itself does the work.
func (defragment) JudgePacket(*Context, *packet.Packet) Verdict { return Accept }

// Has reports whether j is in the list.
func (l Judges[J]) Has(j J) bool {
	return slices.ContainsFunc(l, func(s Seat[J]) bool { return s.Judge == j })
}

// A SocketPoint is an operation of a socket that is judged.
type SocketPoint uint8

const (
	SocketBind SocketPoint = iota
	SocketListen
	SocketConnect
	SocketSendNewPeer // first datagram to a peer
	FlowIn            // first packet of a flow found its socket
	FlowUp            // flow established
	SocketClose
	SocketPointCount
)

// A SocketEvent is what a socket judge looks at. Addresses may be zero where
// they are not known yet.
type SocketEvent struct {
	Point         SocketPoint
	Now           time.Duration
	Proto         wire.Proto
	Local, Remote netip.AddrPort
	Env           Env
}

// A SocketJudge looks at socket operations. Drop refuses the operation (EPERM
// to the caller, or the packet dropped); Stolen is not allowed.
type SocketJudge interface {
	JudgeSocket(e *SocketEvent) Verdict
}

// A Refusal tells the sender of a dropped packet of it: with a TCP reset, or
// with an ICMP message that the destination is unreachable. The zero value does
// not tell.
type Refusal struct {
	Reset        bool
	Unreachable  bool
	Code4, Code6 uint8 // of ICMP's and ICMPv6's message
}

// Env is what a judge may ask of its host.
type Env interface {
	// Inject puts a packet that was stolen at a point back behind the judge
	// that stole it, or drops it if that judge is gone.
	Inject(at Point, after PacketJudge, p *packet.Packet)
	// Adapter finds an adapter by index; nil if there is none.
	Adapter(index int32) *link.Adapter
	// Socket reports whether a socket would receive a packet of the tuple.
	Socket(t packet.Tuple) bool
	// Route finds the adapter and next hop to dst.
	Route(dst netip.Addr) (out *link.Adapter, next netip.Addr, ok bool)
	// Source finds the address that a packet to dst has when it leaves by an
	// adapter and nobody has chosen another.
	Source(adapter int32, dst netip.Addr) (src netip.Addr, ok bool)
}

// A Seat is a judge with its place in the order.
type Seat[J any] struct {
	Priority int
	Judge    J
}

// Judges is an ordered list; nil is the empty one. It is immutable.
type Judges[J comparable] []Seat[J]

// With returns the list with j at its place: behind those of the same priority.
func (l Judges[J]) With(priority int, j J) Judges[J] {
	i := 0
	for i < len(l) && l[i].Priority <= priority {
		i++
	}
	return slices.Insert(slices.Clone(l), i, Seat[J]{priority, j})
}

// Without returns the list without j.
func (l Judges[J]) Without(j J) Judges[J] {
	next := slices.DeleteFunc(slices.Clone(l), func(s Seat[J]) bool { return s.Judge == j })
	if len(next) == 0 {
		return nil
	}
	return next
}

// Table is every point's judges: an immutable snapshot.
type Table struct {
	Packet [PointCount]Judges[PacketJudge]
	Socket [SocketPointCount]Judges[SocketJudge]
	Queuer Queuer // nil if there is none
}
