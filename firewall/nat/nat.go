package nat

import (
	"math/rand/v2"
	"net/netip"

	"github.com/towpath/towpath/firewall/conntrack"
	"github.com/towpath/towpath/firewall/hook"
	"github.com/towpath/towpath/packet"
	"github.com/towpath/towpath/wire"
)

// A NAT translates the flows of a table.
type NAT struct {
	flows  *conntrack.Table
	seed   uint64
	chains [hook.PointCount]hook.Judges[hook.PacketJudge] // (c) once attached

	// What follows is guarded by the table's lock, which is held when a binding
	// is chosen and when a flow ends.
	sources map[source]*mapping
	outside map[endpoint]*mapping // of those that nobody else may have
	free    *mapping
}

// A source is a client's end of its flows.
type source struct {
	addr  netip.Addr
	port  uint16
	proto wire.Proto
	zone  uint16
}

// An endpoint is what a client's end looks like outside.
type endpoint source

// A mapping is a client's end and what it looks like outside, as long as one of
// its flows lives.
type mapping struct {
	n         *NAT
	inside    source
	outside   endpoint
	flows     int
	exclusive bool
	open      bool
	next      *mapping // free
}

// New makes a NAT for the flows of t, of which there is one for each table.
func New(t *conntrack.Table) *NAT {
	return &NAT{flows: t, seed: rand.Uint64(), sources: map[source]*mapping{}, outside: map[endpoint]*mapping{}}
}

// AddChain has j asked about the first packets of flows, at Prerouting, Input,
// Output or Postrouting, in the order of priorities, until a rule has chosen a
// translation. It is called before Attach.
func (n *NAT) AddChain(at hook.Point, priority int, j hook.PacketJudge) {
	n.chains[at] = n.chains[at].With(priority, j)
}

var seats = []struct {
	at       hook.Point
	priority int
	side     conntrack.Side
}{
	{hook.Prerouting, hook.PriorityNATDst, conntrack.Destination},
	{hook.Output, hook.PriorityNATDst, conntrack.Destination},
	{hook.Input, hook.PriorityNATSrc, conntrack.Source},
	{hook.Postrouting, hook.PriorityNATSrc, conntrack.Source},
}

// Attach gives the judges their seats; add is host.Host.AddJudge. The table is
// attached too, by its own Attach.
func (n *NAT) Attach(add func(at hook.Point, priority int, j hook.PacketJudge) error) error {
	for _, s := range seats {
		if err := add(s.at, s.priority, judge{n, s.side}); err != nil {
			return err
		}
	}
	return nil
}

// Detach takes the judges away; remove is host.Host.RemoveJudge. Flows that are
// translated are not any more, and should be deleted.
func (n *NAT) Detach(remove func(at hook.Point, j hook.PacketJudge) error) error {
	for _, s := range seats {
		if err := remove(s.at, judge{n, s.side}); err != nil {
			return err
		}
	}
	return nil
}

type judge struct {
	n    *NAT
	side conntrack.Side
}

// A rule is a reason to drop a packet.
type rule string

func (r rule) String() string { return string(r) }

const (
	ruleBind rule = "nat: the flow cannot be translated"
	ruleLost rule = "nat: the packet waited for too long"
)

// JudgePacket decides how a new flow is translated, and translates.
func (j judge) JudgePacket(c *hook.Context, p *packet.Packet) hook.Verdict {
	if p.Track.Conn == nil {
		return hook.Accept
	}
	var tr conntrack.Translation
	if !j.n.flows.Translation(p, j.side, &tr) {
		c.Rule = ruleLost
		return hook.Drop
	}
	if tr.Pending && !refusal(p) {
		if v := j.bind(c, p, &tr); v != hook.Accept {
			return v
		}
	}
	if tr.Change {
		rewrite(p, j.side, &tr)
	}
	return hook.Accept
}

// refusal reports whether p is an error about the first packet of a flow: it
// decides nothing about the flow.
func refusal(p *packet.Packet) bool {
	return p.Track.State == packet.TrackRelated && (p.Proto == wire.ProtoICMP || p.Proto == wire.ProtoICMPv6)
}

// bind asks the chains about a new flow.
func (j judge) bind(c *hook.Context, p *packet.Packet, tr *conntrack.Translation) hook.Verdict {
	n := j.n
	if !n.flows.Bind(p, c.Now, j.side, (*followed)(n), netip.Addr{}) {
		c.Rule = ruleBind
		return hook.Drop
	}
	for _, s := range n.chains[c.Point] {
		if n.flows.Translation(p, j.side, tr); !tr.Pending {
			return hook.Accept
		}
		if v := s.Judge.JudgePacket(c, p); v != hook.Accept {
			if v == hook.Stop {
				break
			}
			return v
		}
	}
	if !n.flows.Bind(p, c.Now, j.side, (*unruled)(n), netip.Addr{}) {
		c.Rule = ruleBind
		return hook.Drop
	}
	n.flows.Translation(p, j.side, tr)
	return hook.Accept
}
