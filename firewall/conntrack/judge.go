package conntrack

import (
	"github.com/towpath/towpath/firewall/hook"
	"github.com/towpath/towpath/packet"
	"github.com/towpath/towpath/wire"
)

// Attach gives the table's judges their seats: the tracker at Prerouting and
// Output, the confirmer at Input and Postrouting. Fragments are put together
// before. add is that of the host whose
// packets are to be tracked (host.Host.AddJudge).
func (t *Table) Attach(add func(at hook.Point, priority int, j hook.PacketJudge) error) error {
	if err := add(hook.Prerouting, hook.PriorityDefrag, hook.Defragment); err != nil {
		return err
	}
	for _, at := range []hook.Point{hook.Prerouting, hook.Output} {
		if err := add(at, hook.PriorityConntrack, tracker{t}); err != nil {
			return err
		}
	}
	for _, at := range []hook.Point{hook.Input, hook.Postrouting} {
		if err := add(at, hook.PriorityConfirm, confirmer{t}); err != nil {
			return err
		}
	}
	return nil
}

// Detach takes the judges away; remove is host.Host.RemoveJudge. Flows stay.
func (t *Table) Detach(remove func(at hook.Point, j hook.PacketJudge) error) error {
	if err := remove(hook.Prerouting, hook.Defragment); err != nil {
		return err
	}
	for _, at := range []hook.Point{hook.Prerouting, hook.Output} {
		if err := remove(at, tracker{t}); err != nil {
			return err
		}
	}
	for _, at := range []hook.Point{hook.Input, hook.Postrouting} {
		if err := remove(at, confirmer{t}); err != nil {
			return err
		}
	}
	return nil
}

type tracker struct{ t *Table }

// JudgePacket finds out which flow a packet is of.
func (j tracker) JudgePacket(c *hook.Context, p *packet.Packet) hook.Verdict {
	if p.Track.State != packet.TrackNone {
		return hook.Accept // from our loopback, or not to be tracked
	}
	if !j.t.track(p, c.Now, c.Point == hook.Prerouting) {
		c.Rule = ruleRace
		return hook.Drop
	}
	return hook.Accept
}

type confirmer struct{ t *Table }

// JudgePacket puts a new flow into the table, whose first packet has come
// through.
func (j confirmer) JudgePacket(c *hook.Context, p *packet.Packet) hook.Verdict {
	if p.Track.Conn == nil {
		return hook.Accept
	}
	if r := j.t.confirm(p, c.Now); r != "" {
		c.Rule = r
		return hook.Drop
	}
	return hook.Accept
}

// A rule is a reason to drop a packet that is connection tracking's own.
type rule string

func (r rule) String() string { return string(r) }

const (
	ruleRace   rule = "conntrack: the connection was closed at this moment"
	ruleFull   rule = "conntrack: table full"
	ruleClash  rule = "conntrack: another flow has taken the tuple"
	ruleLost   rule = "conntrack: the packet waited for too long"
	ruleHelper rule = "conntrack: helper"
)

// An outcome is what a protocol's state machine says of a packet.
type outcome uint8

const (
	accept  outcome = iota
	invalid         // of no flow
	again           // its flow was removed; look again
	drop
)

// track finds the flow of p, or makes one. It reports false if p is to be
// dropped.
func (t *Table) track(p *packet.Packet, now instant, received bool) bool {
	p.Track.State = packet.TrackInvalid
	k := key{}
	if !t.read(p, &k) || received && !t.set.NoChecksum && !checksumOK(p) {
		t.mu.Lock()
		t.stats.Invalid++
		t.mu.Unlock()
		return true
	}
	if untracked(&k) {
		p.Track.State = packet.TrackUntracked
		return true
	}
	if p.Track.Dirs != packet.TrackReply {
		k.setZone(p.Track.Zone)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.sweep(now, sweepMax)
	if isICMPError(&k) {
		if !t.related(p, now) {
			t.stats.Invalid++
		}
		return true
	}
	for range 2 {
		switch t.resolve(p, &k, now) {
		case accept:
			return true
		case drop:
			t.stats.Drop++
			return false
		case invalid:
			t.stats.Invalid++
			p.Track.Conn, p.Track.State = nil, packet.TrackInvalid
			return true
		}
		t.stats.SearchRestart++
	}
	p.Track.Conn, p.Track.State = nil, packet.TrackInvalid
	return true
}

// read makes p's key, and reports whether p has one.
func (t *Table) read(p *packet.Packet, k *key) bool {
	if p.Proto == wire.ProtoFragment || p.Src.Is4() && wire.IPv4(p.From(p.Net)).IsFragment() {
		return false
	}
	// The ports are in the first eight bytes, and TCP's state machine reads all
	// of its header.
	n := min(p.LenFrom(p.Transport), 8)
	if p.Proto == wire.ProtoTCP {
		if n = wire.TCPLen; !p.Linear(int(p.Transport-p.Start()) + n) {
			return false
		}
		if n = wire.TCP(p.From(p.Transport)).HeaderLen(); n < wire.TCPLen {
			return false
		}
	}
	if !p.Linear(int(p.Transport-p.Start()) + n) {
		return false
	}
	b := p.From(p.Transport)
	k.setAddrs(p.Src, p.Dst)
	if !k.setTransport(p.Proto, b) {
		return false
	}
	if p.Proto == wire.ProtoUDP {
		size := p.LenFrom(p.Transport)
		if size < wire.UDPLen {
			return false
		}
		if l := wire.UDP(b).Len(); l > size || l < wire.UDPLen {
			return false
		}
	}
	return true
}

// checksumOK verifies the checksum of what comes from outside, once.
func checksumOK(p *packet.Packet) bool {
	if p.Checksum != packet.ChecksumNone {
		return true
	}
	var pseudo uint32
	switch p.Proto {
	case wire.ProtoUDP:
		if p.Src.Is4() && wire.UDP(p.From(p.Transport)).Checksum() == 0 {
			return true
		}
		fallthrough
	case wire.ProtoTCP, wire.ProtoICMPv6:
		pseudo = wire.PseudoSum(p.Src, p.Dst, p.Proto, p.LenFrom(p.Transport))
	case wire.ProtoICMP:
	default:
		return true
	}
	if wire.Fold(p.TransportSum(pseudo)) != 0xffff {
		return false
	}
	p.Checksum = packet.ChecksumVerified
	return true
}

// untracked reports whether a message is of those that are of no flow by their
// nature: neighbour discovery and group membership.
func untracked(k *key) bool {
	if k.proto() != wire.ProtoICMPv6 {
		return false
	}
	switch t := wire.ICMPv6Type(k[keyDstPort]); t {
	case wire.ICMPv6MLDQuery, wire.ICMPv6MLDReport, wire.ICMPv6MLDDone, wire.ICMPv6MLDv2Report:
		return true
	default:
		return t.IsNDP() && t != wire.ICMPv6Redirect
	}
}

// resolve finds or makes the entry of a packet with key k, and asks its
// protocol what the packet means.
func (t *Table) resolve(p *packet.Packet, k *key, now instant) outcome {
	h := t.hash(k)
	n := t.findHashed(k, h, now)
	if n == nil && p.Track.Zone != 0 && p.Track.Dirs != packet.TrackBoth {
		n = t.findOtherZone(k, p, now)
	}
	var e *Entry
	dir := original
	if n != nil {
		e, dir = n.of, n.dir
		t.stats.Found++
	} else if e = t.begin(p, k, h, now); e == nil {
		return invalid
	}
	p.Track.Conn, p.Track.Gen, p.Track.Reply = e, e.gen, dir == reply
	switch {
	case dir == reply || e.status&SeenReply != 0:
		p.Track.State = packet.TrackEstablished
	case e.status&Expected != 0:
		p.Track.State = packet.TrackRelated
	default:
		p.Track.State = packet.TrackNew
	}
	o := t.protocol(e, dir, p, now)
	if o == accept && dir == reply && e.status&(SeenReply|Dying) == 0 {
		e.status |= SeenReply
		t.report(EventUpdate, e)
	}
	return o
}

// findOtherZone looks for a flow whose zone counts in one direction only: k has
// the zone of the direction in which it does, if p goes the other way.
func (t *Table) findOtherZone(k *key, p *packet.Packet, now instant) *node {
	other := *k
	if k.zone() != 0 {
		other.setZone(0)
	} else {
		other.setZone(p.Track.Zone)
	}
	n := t.find(&other, now)
	if n == nil || (n.dir == reply) != (p.Track.Dirs == packet.TrackReply) == (other.zone() != 0) {
		return nil
	}
	return n
}

// begin makes an entry for the first packet of a flow, nil if the packet cannot
// be one.
func (t *Table) begin(p *packet.Packet, k *key, h uint32, now instant) *Entry {
	r, ok := k.reverse()
	if !ok {
		return nil
	}
	switch p.Track.Dirs {
	case packet.TrackOriginal:
		r.setZone(0)
	case packet.TrackReply:
		r.setZone(p.Track.Zone)
	}
	switch p.Proto {
	case wire.ProtoICMP, wire.ProtoICMPv6:
		if !icmpAsks(p.Proto, k[keyDstPort]) {
			return nil
		}
	case wire.ProtoTCP:
		if !t.tcpMayBegin(p) {
			return nil
		}
	}
	e := t.create(k, &r, h, now)
	if p.Proto == wire.ProtoTCP {
		t.tcpBegin(e, p)
	}
	t.expected(e, now)
	if t.set.Helper && e.helper() == nil {
		if hp := helperFor(k); hp != nil {
			e.extend().helper = hp
		}
	}
	return e
}

func (t *Table) protocol(e *Entry, dir direction, p *packet.Packet, now instant) outcome {
	switch p.Proto {
	case wire.ProtoTCP:
		return t.tcpPacket(e, dir, p, now)
	case wire.ProtoUDP, wire.ProtoUDPLite:
		t.datagram(e, dir, p, now)
	case wire.ProtoGRE:
		t.refresh(e, dir, p, now, t.protocolTimeout(e))
		if e.status&SeenReply != 0 && e.status&Assured == 0 {
			t.assure(e)
			t.report(EventUpdate, e)
		}
	default:
		t.refresh(e, dir, p, now, t.protocolTimeout(e))
	}
	return accept
}

// streamAfter is how long a flow of datagrams must go on to be more than a
// question and its answer.
const streamAfter = 2e9

func (t *Table) datagram(e *Entry, dir direction, p *packet.Packet, now instant) {
	timeout := t.set.UDP
	stream := e.status&SeenReply != 0 && now > e.born+streamAfter
	if stream {
		timeout = t.set.UDPStream
	}
	t.refresh(e, dir, p, now, timeout)
	if stream && e.status&Assured == 0 {
		t.assure(e)
		t.report(EventUpdate, e)
	}
}

// confirm puts the flow of p into the table, if it is not there. It returns a
// reason to drop p, or nothing.
func (t *Table) confirm(p *packet.Packet, now instant) rule {
	t.mu.Lock()
	defer t.mu.Unlock()
	e, dir := t.of(p)
	if e == nil {
		return ruleLost
	}
	if hp := e.helper(); hp != nil && p.Track.State != packet.TrackRelated || e.status&SeqAdjust != 0 {
		if !t.help(hp, e, dir, p, now) {
			return ruleHelper
		}
	}
	if e.status&(Confirmed|Dying) != 0 || dir == reply {
		return "" // the latter: a refusal of the flow's first packet
	}
	e.nodes[reply].hash = t.hash(&e.nodes[reply].key)
	for i := range e.nodes {
		if n := t.findHashed(&e.nodes[i].key, e.nodes[i].hash, now); n != nil {
			return t.clash(p, e, n, i)
		}
	}
	if !t.room(now) {
		return ruleFull
	}
	// The deadline counts from now on: the packet may have waited.
	e.expires += now - e.born
	e.born = now
	t.insert(e)
	return ""
}

// clash is about a packet whose flow got into the table while it was on its
// way, by another packet of the same flow: with the same translation it goes on
// as one of that flow.
func (t *Table) clash(p *packet.Packet, e *Entry, n *node, at int) rule {
	other := n.of
	if at != int(original) || n.dir != original || other.nodes[reply].key != e.nodes[reply].key {
		t.stats.InsertFailed++
		return ruleClash
	}
	if p.Proto == wire.ProtoTCP {
		t.stats.InsertFailed++
		return ruleClash // its sender repeats it
	}
	t.count(other, original, p)
	p.Track.Conn, p.Track.Gen = other, other.gen
	t.stats.ClashResolve++
	return ""
}
