package nft

import (
	"fmt"
	"net/netip"

	"github.com/towpath/towpath/firewall/classify"
	"github.com/towpath/towpath/firewall/conntrack"
	"github.com/towpath/towpath/firewall/hook"
	"github.com/towpath/towpath/firewall/nat"
	"github.com/towpath/towpath/ip/ifaddr"
	"github.com/towpath/towpath/ip/route"
	"github.com/towpath/towpath/link"
	"github.com/towpath/towpath/packet"
	"github.com/towpath/towpath/wire"
)

// A Host is what is known of the host that a packet walks through.
type Host struct {
	Adapters  []*link.Adapter
	Addresses *ifaddr.Set
	Routes    *route.Table
	Forward   bool // it is a router
}

// local reports whether an address is the host's own.
func (h *Host) local(a netip.Addr) bool {
	_, ours := h.Addresses.Local(a)
	return ours || a.IsLoopback()
}

// way is the adapter and the next hop to an address of others.
func (h *Host) way(a netip.Addr) (out *link.Adapter, next netip.Addr, ok bool) {
	r, ok := h.Routes.Lookup(a)
	if !ok || r.Kind != route.Unicast {
		return nil, a, false
	}
	if next = a; r.Via.IsValid() {
		next = r.Via
	}
	for _, out := range h.Adapters {
		if out.Index() == r.Adapter {
			return out, next, true
		}
	}
	return nil, a, false
}

// adapter finds an adapter by name.
func (h *Host) adapter(name string) (*link.Adapter, error) {
	for _, a := range h.Adapters {
		if a.Name() == name {
			return a, nil
		}
	}
	return nil, fmt.Errorf("the host has no adapter %q", name)
}

// A trial is a host that has nothing but an engine, for one packet.
type trial struct {
	x        *Probe
	host     *Host // nil: only what x says
	judges   [hook.PointCount]hook.Judges[hook.PacketJudge]
	path     string
	in, out  *link.Adapter
	loopback *link.Adapter
	context  hook.Context
	said     *[]ChainExplained // where the chains of the present hook are put
}

func newTrial(rs *Ruleset, x *Probe, h *Host) (*trial, error) {
	t := &trial{x: x, host: h, path: x.Path, loopback: link.NewAdapter("lo", 1, nothing{loopback: true})}
	if err := t.place(); err != nil {
		return nil, err
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

// place finds out where the packet begins.
func (t *trial) place() (err error) {
	x := t.x
	if t.host == nil {
		t.in, t.out = link.NewAdapter(x.In, 2, nothing{}), link.NewAdapter(x.Out, 3, nothing{})
		switch {
		case t.path != "":
		case x.In != "" && x.Out == "":
			t.path = "input"
		case x.Out != "" && x.In == "":
			t.path = "output"
		default:
			t.path = "forward"
		}
		switch t.path {
		case "input":
			t.out = t.loopback
		case "output":
			t.in = nil
		}
		return nil
	}
	p := x.Packet
	switch {
	case x.In != "":
		t.in, err = t.host.adapter(x.In)
	case t.path == "output" || t.host.local(p.Src):
		t.path = "output"
		var ok bool
		if t.out, _, ok = t.host.way(p.Dst); !ok {
			t.out = t.loopback
		}
	default:
		var ok bool
		if t.in, _, ok = t.host.way(p.Src); !ok {
			err = fmt.Errorf("no route leads to %v, so it is not known by which adapter the packet comes; write in and the adapter", p.Src)
		}
	}
	return err
}

// before is the points in front of the decision where the packet goes.
func (t *trial) before() []hook.Point {
	if t.path == "output" {
		return []hook.Point{hook.Output}
	}
	return []hook.Point{hook.Ingress, hook.Prerouting}
}

// route decides where the packet goes: the points behind, and in words. It
// reports false if it goes nowhere.
func (t *trial) route() (after []hook.Point, how string, ok bool) {
	input := []hook.Point{hook.Input}
	leaving := []hook.Point{hook.Postrouting, hook.Egress}
	forward := append([]hook.Point{hook.Forward}, leaving...)
	if t.host == nil {
		return map[string][]hook.Point{"input": input, "output": leaving, "forward": forward}[t.path], "", true
	}
	dst := t.x.Packet.Dst
	switch local := t.host.local(dst); {
	case local && t.path == "output":
		t.out = t.loopback
		return leaving[:1], fmt.Sprintf("%v is this host", dst), true
	case local:
		return input, fmt.Sprintf("%v is this host", dst), true
	case t.path != "output" && !t.host.Forward:
		return nil, fmt.Sprintf("%v is not this host, which does not forward", dst), false
	}
	var next netip.Addr
	if t.out, next, ok = t.host.way(dst); !ok {
		return nil, fmt.Sprintf("no route to %v", dst), false
	}
	how = fmt.Sprintf("to %v by %s", dst, t.out.Name())
	if next != dst {
		how += fmt.Sprintf(", by way of %v", next)
	}
	if t.path == "output" {
		return leaving, how, true
	}
	return forward, how, true
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

// Route implements [hook.Env]. Without a host the packet's path is given, and
// its source is where it came from.
func (t *trial) Route(dst netip.Addr) (out *link.Adapter, next netip.Addr, ok bool) {
	switch {
	case t.host != nil && t.host.local(dst):
		return t.loopback, dst, true
	case t.host != nil:
		return t.host.way(dst)
	case dst == t.x.Packet.Dst:
		return t.out, dst, true
	case dst == t.x.Packet.Src && t.in != nil:
		return t.in, dst, true
	}
	return nil, dst, false
}

// Source implements [hook.Env]. Without a host the adapters' addresses are not
// known, so what would become one of them stays as it is.
func (t *trial) Source(adapter int32, dst netip.Addr) (netip.Addr, bool) {
	switch {
	case t.host != nil:
		return t.host.Addresses.Source(adapter, dst, dst)
	case t.context.Point == hook.Prerouting:
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
