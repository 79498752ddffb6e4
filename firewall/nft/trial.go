package nft

import (
	"fmt"
	"net/netip"

	"github.com/towpath/towpath/firewall/classify"
	"github.com/towpath/towpath/firewall/conntrack"
	"github.com/towpath/towpath/firewall/hook"
	"github.com/towpath/towpath/firewall/nat"
	"github.com/towpath/towpath/link"
	"github.com/towpath/towpath/packet"
	"github.com/towpath/towpath/wire"
)

// A trial is a host that has nothing but an engine, for one packet.
type trial struct {
	x       *Probe
	judges  [hook.PointCount]hook.Judges[hook.PacketJudge]
	in, out *link.Adapter
	context hook.Context
	said    *[]ChainExplained // where the chains of the present hook are put
}

// paths are the points that packets pass.
var paths = map[string][]hook.Point{
	"input":   {hook.Ingress, hook.Prerouting, hook.Input},
	"forward": {hook.Ingress, hook.Prerouting, hook.Forward, hook.Postrouting, hook.Egress},
	"output":  {hook.Output, hook.Postrouting, hook.Egress},
}

func newTrial(rs *Ruleset, x *Probe) (*trial, error) {
	t := &trial{x: x, in: link.NewAdapter(x.In, 1, nothing{}), out: link.NewAdapter(x.Out, 2, nothing{})}
	switch x.Path {
	case "input":
		t.out = link.NewAdapter("lo", 3, nothing{loopback: true})
	case "output":
		t.in = nil
	}
	flows := conntrack.NewTable(conntrack.Settings{Max: 16})
	e, err := NewEngine(Config{Conntrack: flows, NAT: nat.New(flows)}, t.add, t.remove)
	if err != nil {
		return nil, err
	}
	if x.State != 0 {
		for _, at := range []hook.Point{hook.Prerouting, hook.Output} {
			t.add(at, hook.PriorityConntrack, state(x.State))
		}
	}
	e.told = func(_ hook.Point, b *entrance, steps []classify.Step, r classify.Result) {
		*t.said = append(*t.said, e.loaded.Load().explain(b, steps, r))
	}
	return t, e.Replace(rs)
}

func (t *trial) add(at hook.Point, priority int, j hook.PacketJudge) error {
	t.judges[at] = t.judges[at].With(priority, j)
	return nil
}

func (t *trial) remove(at hook.Point, j hook.PacketJudge) error {
	t.judges[at] = t.judges[at].Without(j)
	return nil
}

// pass has the packet pass a point, with what the walk does in front of it, and
// tells what the judges have changed.
func (t *trial) pass(at hook.Point) (hook.Verdict, []Change) {
	p := t.x.Packet
	t.context = hook.Context{Point: at, Env: t}
	switch at {
	case hook.Ingress, hook.Prerouting, hook.Input, hook.Forward, hook.Postrouting:
		t.context.In = t.in
	}
	switch at {
	case hook.Forward, hook.Output, hook.Postrouting, hook.Egress:
		t.context.Out = t.out
	}
	switch at {
	case hook.Ingress, hook.Egress:
		eth := wire.Ethernet(p.Push(wire.EthernetLen))
		clear(eth)
		eth.SetType(wire.EtherTypeIPv4)
		if p.Src.Is6() {
			eth.SetType(wire.EtherTypeIPv6)
		}
		p.Link = p.Start()
		defer p.Pull(wire.EthernetLen)
	case hook.Forward:
		if p.TTL <= 1 {
			t.context.Rule = note("the time to live is over")
			return hook.Drop, nil
		}
		p.TTL--
		if p.Src.Is4() {
			wire.IPv4(p.From(p.Net)).DecTTL()
		} else {
			wire.IPv6(p.From(p.Net)).SetHopLimit(p.TTL)
		}
	}
	was := look(p)
	v := hook.Run(t.judges[at], &t.context, p)
	return v, was.changes(look(p))
}

// A note is a reason to drop a packet that is no rule.
type note string

func (n note) String() string { return string(n) }

// A state is a judge that says what connection tracking would say of a packet
// if it knew its flow.
type state classify.CtStateBits

var states = map[classify.CtStateBits]packet.TrackState{
	classify.CtNew: packet.TrackNew, classify.CtEstablished: packet.TrackEstablished, classify.CtRelated: packet.TrackRelated,
	classify.CtInvalid: packet.TrackInvalid, classify.CtUntracked: packet.TrackUntracked,
}

func (s state) JudgePacket(_ *hook.Context, p *packet.Packet) hook.Verdict {
	if st := states[classify.CtStateBits(s)]; st != packet.TrackNew {
		p.Track.State, p.Track.Conn = st, nil
	}
	return hook.Accept
}

// Inject implements [hook.Env]: packets that somebody takes are gone.
func (t *trial) Inject(hook.Point, hook.PacketJudge, *packet.Packet) {}

// Adapter implements [hook.Env].
func (t *trial) Adapter(index int32) *link.Adapter {
	for _, a := range []*link.Adapter{t.in, t.out} {
		if a != nil && a.Index() == index {
			return a
		}
	}
	return nil
}

// Socket implements [hook.Env]: there are none.
func (t *trial) Socket(packet.Tuple) bool { return false }

// Route implements [hook.Env]: the packet's path is given, and its source is
// where it came from.
func (t *trial) Route(dst netip.Addr) (out *link.Adapter, next netip.Addr, ok bool) {
	switch {
	case dst == t.x.Packet.Dst:
		return t.out, dst, true
	case dst == t.x.Packet.Src && t.in != nil:
		return t.in, dst, true
	}
	return nil, dst, false
}

// Source implements [hook.Env]. The adapters' addresses are not known, so what
// would become one of them stays as it is.
func (t *trial) Source(_ int32, dst netip.Addr) (netip.Addr, bool) {
	if t.context.Point == hook.Prerouting {
		return t.x.Packet.Dst, true
	}
	return t.x.Packet.Src, true
}

// nothing is a driver without a device.
type nothing struct{ loopback bool }

func (n nothing) Capabilities() link.Capabilities { return link.Capabilities{Loopback: n.loopback} }
func (nothing) Start(*link.Adapter) error         { return nil }
func (nothing) Send(l *packet.List, _ *link.Work) { l.Free() }
func (nothing) Close() error                      { return nil }

// A looked is what is told of a packet when it changes.
type looked struct {
	src, dst netip.AddrPort
	mark     uint32
	ttl, tos uint8
}

func look(p *packet.Packet) looked {
	l := looked{mark: p.Mark, ttl: p.TTL, tos: p.TOS}
	var sport, dport uint16
	if h := header(p, classify.Transport); len(h) >= 4 && (p.Proto == wire.ProtoTCP || p.Proto == wire.ProtoUDP) {
		sport, dport = uint16(h[0])<<8|uint16(h[1]), uint16(h[2])<<8|uint16(h[3])
	}
	l.src, l.dst = netip.AddrPortFrom(p.Src, sport), netip.AddrPortFrom(p.Dst, dport)
	return l
}

func (l looked) changes(now looked) (all []Change) {
	diff := func(what, from, to string) {
		if from != to {
			all = append(all, Change{what, from, to})
		}
	}
	end := func(a netip.AddrPort) string {
		if a.Port() == 0 {
			return a.Addr().String()
		}
		return a.String()
	}
	diff("source", end(l.src), end(now.src))
	diff("destination", end(l.dst), end(now.dst))
	diff("mark", fmt.Sprintf("%#x", l.mark), fmt.Sprintf("%#x", now.mark))
	diff("tos", fmt.Sprintf("%#x", l.tos), fmt.Sprintf("%#x", now.tos))
	diff("ttl", fmt.Sprint(l.ttl), fmt.Sprint(now.ttl))
	return all
}
