package conntrack

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/towpath/towpath/packet"
	"github.com/towpath/towpath/wire"
)

// A Flow is what a table tells of a flow: a copy.
type Flow struct {
	ID        uint32    `json:"id"`
	Proto     string    `json:"proto"`
	ProtoNum  uint8     `json:"protonum"`
	State     string    `json:"state,omitempty"` // of TCP
	Timeout   int       `json:"timeout"`         // seconds from now
	Original  Direction `json:"original"`
	Reply     Direction `json:"reply"`
	Status    Status    `json:"status"`
	Unreplied bool      `json:"unreplied,omitempty"`
	Assured   bool      `json:"assured,omitempty"`
	Mark      uint32    `json:"mark"`
	Labels    string    `json:"labels,omitempty"` // hexadecimal, as nft writes them
	Helper    string    `json:"helper,omitempty"`
	Master    uint32    `json:"master,omitempty"` // ID of the flow that announced it
	Acct      bool      `json:"-"`                // packets and bytes are counted
}

// A Direction is one direction of a flow, as its packets look when they come
// in. Of ICMP, SrcPort is the identifier, and DstPort type and code.
type Direction struct {
	Src     netip.Addr `json:"src"`
	Dst     netip.Addr `json:"dst"`
	SrcPort uint16     `json:"sport"`
	DstPort uint16     `json:"dport"`
	Zone    uint16     `json:"zone,omitempty"`
	Packets uint64     `json:"packets"`
	Bytes   uint64     `json:"bytes"`
}

func secondsLeft(at, now instant) int { return int(max(at-now, 0) / time.Second) }

var protoNames = map[wire.Proto]string{wire.ProtoTCP: "tcp", wire.ProtoUDP: "udp", wire.ProtoICMP: "icmp",
	wire.ProtoICMPv6: "icmpv6", wire.ProtoGRE: "gre", wire.ProtoSCTP: "sctp", wire.ProtoDCCP: "dccp", wire.ProtoUDPLite: "udplite"}

func protoName(p wire.Proto) string {
	if n, ok := protoNames[p]; ok {
		return n
	}
	return "unknown"
}

// flow copies an entry.
func (t *Table) flow(e *Entry, now instant) (f Flow) {
	k := &e.nodes[original].key
	f = Flow{ID: e.id, Proto: protoName(k.proto()), ProtoNum: uint8(k.proto()), Timeout: secondsLeft(e.expires, now),
		Status: e.status, Unreplied: e.status&SeenReply == 0, Assured: e.status&Assured != 0, Mark: e.mark, Acct: !t.set.NoAcct}
	if k.proto() == wire.ProtoTCP {
		f.State = e.tcp.state.String()
	}
	for i, d := range []*Direction{&f.Original, &f.Reply} {
		k := &e.nodes[i].key
		*d = Direction{k.src(), k.dst(), k.srcPort(), k.dstPort(), k.zone(), e.packets[i], e.bytes[i]}
	}
	if x := e.ext; x != nil {
		if x.labels != [16]byte{} {
			f.Labels = fmt.Sprintf("%x", x.labels)
		}
		if x.helper != nil {
			f.Helper = x.helper.name
		}
		if x.master != nil && x.master.gen == x.masterGen {
			f.Master = x.master.id
		}
	}
	return f
}

// String is the flow as conntrack -L writes it.
func (f Flow) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%-8s %d %d ", f.Proto, f.ProtoNum, f.Timeout)
	if f.State != "" {
		b.WriteString(f.State + " ")
	}
	f.direction(&b, &f.Original)
	if f.Unreplied {
		b.WriteString("[UNREPLIED] ")
	}
	f.direction(&b, &f.Reply)
	if f.Assured {
		b.WriteString("[ASSURED] ")
	}
	fmt.Fprintf(&b, "mark=%d ", f.Mark)
	if f.Helper != "" {
		b.WriteString("helper=" + f.Helper + " ")
	}
	if z := f.Original.Zone; z != 0 && z == f.Reply.Zone {
		fmt.Fprintf(&b, "zone=%d ", z)
	} else if z != 0 {
		fmt.Fprintf(&b, "zone-orig=%d ", z)
	} else if f.Reply.Zone != 0 {
		fmt.Fprintf(&b, "zone-reply=%d ", f.Reply.Zone)
	}
	b.WriteString("use=1")
	return b.String()
}

func (f *Flow) direction(b *strings.Builder, d *Direction) {
	fmt.Fprintf(b, "src=%v dst=%v ", d.Src, d.Dst)
	switch wire.Proto(f.ProtoNum) {
	case wire.ProtoTCP, wire.ProtoUDP, wire.ProtoUDPLite, wire.ProtoSCTP, wire.ProtoDCCP:
		b.WriteString("sport=" + strconv.Itoa(int(d.SrcPort)) + " dport=" + strconv.Itoa(int(d.DstPort)) + " ")
	case wire.ProtoICMP, wire.ProtoICMPv6:
		fmt.Fprintf(b, "type=%d code=%d id=%d ", d.DstPort>>8, d.DstPort&0xff, d.SrcPort)
	case wire.ProtoGRE:
		fmt.Fprintf(b, "srckey=0x%x dstkey=0x%x ", d.SrcPort, d.DstPort)
	}
	if f.Acct {
		fmt.Fprintf(b, "packets=%d bytes=%d ", d.Packets, d.Bytes)
	}
}

// each calls f for every flow that is not over, under the lock. f may remove
// the flow.
func (t *Table) each(now instant, f func(e *Entry)) {
	t.hashes.each(func(e *Entry) {
		if e.expires > now {
			f(e)
		}
	})
}

// List copies all flows. It holds the table's lock meanwhile.
func (t *Table) List(now time.Duration) (all []Flow) {
	t.mu.Lock()
	defer t.mu.Unlock()
	all = make([]Flow, 0, t.n)
	t.each(now, func(e *Entry) { all = append(all, t.flow(e, now)) })
	return all
}

// Find returns the flow of which tuple is a direction.
func (t *Table) Find(now time.Duration, tuple packet.Tuple, zone uint16) (f Flow, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	k := keyOf(tuple, zone)
	n := t.find(&k, now)
	if n == nil {
		return f, false
	}
	return t.flow(n.of, now), true
}

// Delete removes the flow of which tuple is a direction, and reports whether
// there was one.
func (t *Table) Delete(now time.Duration, tuple packet.Tuple, zone uint16) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	k := keyOf(tuple, zone)
	n := t.find(&k, now)
	if n == nil {
		return false
	}
	t.remove(n.of)
	return true
}

// Flush removes the flows that match says, all if it is nil, and returns how
// many there were.
func (t *Table) Flush(now time.Duration, match func(f *Flow) bool) (n int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.each(now, func(e *Entry) {
		if match != nil {
			if f := t.flow(e, now); !match(&f) {
				return
			}
		}
		t.remove(e)
		n++
	})
	return n
}

// An Update changes a flow; what is nil stays as it is.
type Update struct {
	Mark    *uint32
	Labels  *[16]byte
	Timeout *time.Duration // from now on
	Fixed   *bool          // packets do not extend its life
	Helper  *string        // "" for none
}

// Update changes the flow of which tuple is a direction. It reports false if
// there is none, or no such helper.
func (t *Table) Update(now time.Duration, tuple packet.Tuple, zone uint16, u Update) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	k := keyOf(tuple, zone)
	n := t.find(&k, now)
	if n == nil {
		return false
	}
	e := n.of
	if u.Helper != nil {
		h := helperNamed(*u.Helper)
		if *u.Helper != "" && (h == nil || h.proto != k.proto()) {
			return false
		}
		e.extend().helper = h
	}
	if u.Mark != nil {
		e.mark = *u.Mark
	}
	if u.Labels != nil {
		e.extend().labels = *u.Labels
	}
	if u.Fixed != nil {
		e.status &^= FixedTimeout
		if *u.Fixed {
			e.status |= FixedTimeout
		}
	}
	if u.Timeout != nil {
		t.extend(e, now+*u.Timeout)
	}
	t.report(EventUpdate, e)
	return true
}

// Sweep forgets flows that are over, all that are. Packets do so too, a few at
// a time; it is for whoever wants their events while there are no packets.
func (t *Table) Sweep(now time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for !t.sweep(now, wheelSlots) {
	}
}
