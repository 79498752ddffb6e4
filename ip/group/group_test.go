package group

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/towpath/towpath/packet"
	"github.com/towpath/towpath/wire"
)

// A source of randomness that always draws the most: delays are as long as can
// be, so that scripts tell them exactly.
type most struct{}

func (most) Uint64() uint64 { return 1<<64 - 1 }

// names are the groups of the scripts.
var names = map[string]netip.Addr{
	"A": netip.MustParseAddr("239.1.2.3"), "B": netip.MustParseAddr("232.9.9.9"),
	"local4": netip.MustParseAddr("224.0.0.251"), "all4": allHosts4,
	"X": netip.MustParseAddr("ff05::1:3"), "Y": netip.MustParseAddr("ff02::1:ff00:1"),
	"node6": netip.MustParseAddr("ff01::5"), "all6": allNodes6,
	"uni4": netip.MustParseAddr("10.0.9.1"), "uni6": netip.MustParseAddr("2001:db8::9:1"),
	"a": netip.MustParseAddr("10.0.0.1"), "b": netip.MustParseAddr("10.0.0.2"), "c": netip.MustParseAddr("10.0.0.3"), "d": netip.MustParseAddr("10.0.0.4"),
	"p": netip.MustParseAddr("2001:db8::1"), "q": netip.MustParseAddr("2001:db8::2"), "r": netip.MustParseAddr("2001:db8::3"),
	"any4": netip.IPv4Unspecified(), "any6": netip.IPv6Unspecified(),
}

func nameOf(a netip.Addr) string {
	for n, x := range names {
		if a == x {
			return n
		}
	}
	return a.String()
}

// A world is a table with a sender that writes down what it is told.
type world struct {
	t       *Table
	link    Link
	parties map[string]Filter // of scripts, by party and group
	events  []string
}

func (w *world) Link(int32, bool) Link { return w.link }

func (w *world) Send(adapter int32, m *Message) {
	s := fmt.Sprintf("%v %s", m.Kind, nameOf(m.Group))
	if m.Records != nil {
		var all []string
		for _, r := range m.Records {
			all = append(all, fmt.Sprintf("%v %s{%s}", r.Type, nameOf(r.Group), namesOf(r.Sources)))
		}
		s = strings.Join(all, " + ")
	}
	if adapter != 1 {
		s += fmt.Sprintf(" on %d", adapter)
	}
	w.events = append(w.events, s)
}

// namesOf is a list of sources, which have names of one letter.
func namesOf(list []netip.Addr) (s string) {
	for _, a := range list {
		s += nameOf(a)
	}
	return s
}

// sourcesOf reads such a list.
func sourcesOf(s string) (list []netip.Addr) {
	for _, r := range s {
		a, ok := names[string(r)]
		if !ok {
			panic(s)
		}
		list = append(list, a)
	}
	return list
}

// set gives a party of a script another filter, such as in:ab or ex:.
func (w *world) set(now time.Duration, adapter int32, group netip.Addr, party, filter string) {
	f := Filter{}
	if mode, list, ok := strings.Cut(filter, ":"); ok {
		f = NewFilter(mode == "ex", sourcesOf(list)...)
	}
	if w.parties == nil {
		w.parties = make(map[string]Filter)
	}
	k := fmt.Sprint(party, adapter, group)
	if !w.t.Listen(now, Key{adapter, group}, w.parties[k], f, w) {
		w.events = append(w.events, "refused")
		return
	}
	w.parties[k] = f
}

// igmp makes a received IGMP message: bytes of type, code and group, and more.
func igmp(t wire.IGMPType, code uint8, group netip.Addr, more ...byte) *packet.Packet {
	b := make([]byte, wire.IGMPLen+len(more))
	wire.PutIGMP(b, t, code, group)
	copy(b[wire.IGMPLen:], more)
	b[2], b[3] = 0, 0
	c := wire.Checksum(b)
	b[2], b[3] = byte(c>>8), byte(c)
	p := packet.Get()
	p.AppendBytes(b)
	p.Transport, p.Ingress, p.Proto = p.Start(), 1, wire.ProtoIGMP
	p.Src, p.Dst, p.TTL = netip.MustParseAddr("10.0.0.9"), group, 1
	return p
}

// mld makes a received MLD message.
func mldPacket(t wire.ICMPv6Type, resp uint16, group netip.Addr, more ...byte) *packet.Packet {
	b := make([]byte, wire.MLDLen+len(more))
	wire.PutMLD(b, t, resp, group)
	copy(b[wire.MLDLen:], more)
	p := packet.Get()
	p.AppendBytes(b)
	p.Transport, p.Ingress, p.Proto = p.Start(), 1, wire.ProtoICMPv6
	p.Src, p.Dst, p.TTL = netip.MustParseAddr("fe80::9"), group, 1
	return p
}

// in hands the table a packet and notes the reason, if it gives one.
func (w *world) in(now time.Duration, p *packet.Packet) {
	in := w.t.MLDIn
	if p.Proto == wire.ProtoIGMP {
		in = w.t.IGMPIn
	}
	r := in(now, p, w)
	if r != packet.NotDropped {
		w.events = append(w.events, r.String())
	}
	packet.Free(p)
}

// do performs one step of a script.
func (w *world) do(now time.Duration, words []string) {
	group := names["A"]
	if len(words) > 1 {
		group = names[words[1]]
	}
	if words[0] == "set" {
		w.set(now, 1, group, words[2], words[3])
		return
	}
	adapter, resp, qrv, qqi := int32(1), 0, 2, 125
	var src []netip.Addr
	for _, x := range words[min(2, len(words)):] {
		name, value, _ := strings.Cut(x, "=")
		if name == "src" {
			src = sourcesOf(value)
			continue
		}
		n, err := strconv.Atoi(value)
		if err != nil {
			panic(x)
		}
		switch name {
		case "on":
			adapter = int32(n)
		case "resp": // tenths of a second or milliseconds
			resp = n
		case "qrv":
			qrv = n
		case "qqi": // seconds
			qqi = n
		}
	}
	var p *packet.Packet
	switch words[0] {
	case "join":
		if !w.t.Join(now, adapter, group, w) {
			w.events = append(w.events, "refused")
		}
	case "leave":
		if !w.t.Leave(now, adapter, group, w) {
			w.events = append(w.events, "refused")
		}
	case "timeout":
		w.t.Timeout(now, w)
	case "announce":
		w.t.Announce(now, adapter, group.Is6(), w)
	case "flush":
		w.t.Flush(adapter)
	case "deadline":
		if d := w.t.Deadline(); d != never {
			w.events = append(w.events, d.String())
		}
	case "query": // IGMPv2 or MLDv1
		if group.Is4() {
			p = igmp(wire.IGMPQuery, uint8(resp), group)
		} else {
			p = mldPacket(wire.ICMPv6MLDQuery, uint16(resp), group)
		}
	case "query3": // IGMPv3 or MLDv2
		more := []byte{byte(qrv), byte(qqi), 0, byte(len(src))}
		for _, a := range src {
			more = append(more, a.AsSlice()...)
		}
		if group.Is4() {
			p = igmp(wire.IGMPQuery, uint8(resp), group, more...)
		} else {
			p = mldPacket(wire.ICMPv6MLDQuery, uint16(resp), group, more...)
		}
	case "report":
		if group.Is4() {
			p = igmp(wire.IGMPv2Report, 0, group)
		} else {
			p = mldPacket(wire.ICMPv6MLDReport, 0, group)
		}
	case "report1":
		p = igmp(wire.IGMPv1Report, 0, group)
	default:
		panic("unknown step " + words[0])
	}
	if p != nil {
		p.Ingress = adapter
		w.in(now, p)
	}
}

// state is that of a membership on adapter 1, in RFC 2236's words.
func (w *world) state(group netip.Addr) string {
	for _, i := range w.t.All() {
		if i.Key == (Key{1, group}) && i.Count > 0 {
			if i.Delaying {
				return "DELAYING"
			}
			return "IDLE"
		}
	}
	return "NONE"
}

const (
	joined4 = `
		0s join A -> DELAYING, v2 report A
	`
	idle4 = joined4 + `
		10s timeout A -> IDLE, v2 report A
	`
	joined6 = `
		0s join X -> DELAYING, mld report X
	`
	idle6 = joined6 + `
		1s timeout X -> IDLE, mld report X
	`
)

// The state diagrams of RFC 2236 §6 and RFC 2710 §5: the instant, what happens
// to a group, its state after it, and what was sent. Delays are the longest.
func TestScripts(t *testing.T) {
	for _, test := range []struct{ name, script string }{
		{"a join is reported twice", idle4 + `
			10s deadline A -> IDLE
			1h timeout A -> IDLE
		`},
		{"not too early", joined4 + `
			0s deadline A -> DELAYING, 10s
			9999ms timeout A -> DELAYING
		`},
		{"joins are counted", idle4 + `
			20s join A -> IDLE
			21s leave A -> IDLE
			22s leave A -> NONE, leave A
			23s leave A -> NONE, refused
		`},
		{"leave while delaying", joined4 + `
			1s leave A -> NONE, leave A
			10s timeout A -> NONE
		`},
		{"general query", idle4 + `
			20s query any4 resp=100 -> NONE
			20s deadline A -> DELAYING, 30s
			29999ms timeout A -> DELAYING
			30s timeout A -> IDLE, v2 report A
		`},
		{"query about the group", idle4 + `
			20s query A resp=10 -> DELAYING
			21s timeout A -> IDLE, v2 report A
		`},
		{"query about another group", idle4 + `
			20s query B resp=10 -> NONE
			21s timeout A -> IDLE
		`},
		{"query on another adapter", idle4 + `
			20s query A resp=10 on=2 -> IDLE
		`},
		{"a timer is shortened", idle4 + `
			20s query any4 resp=100 -> NONE
			21s query A resp=20 -> DELAYING
			21s deadline A -> DELAYING, 23s
		`},
		{"and not made longer", idle4 + `
			20s query A resp=20 -> DELAYING
			21s query any4 resp=100 -> NONE
			21s deadline A -> DELAYING, 22s
		`},
		{"another's report suppresses ours, and our leave", joined4 + `
			5s report A -> IDLE
			10s timeout A -> IDLE
			20s leave A -> NONE
		`},
		{"who answers a query says when it leaves", joined4 + `
			5s report A -> IDLE
			20s query any4 resp=100 -> NONE
			30s timeout A -> IDLE, v2 report A
			31s leave A -> NONE, leave A
		`},
		{"an idle member ignores reports", idle4 + `
			20s report A -> IDLE
			21s leave A -> NONE, leave A
		`},
		{"a report of version 1 counts", joined4 + `
			5s report1 A -> IDLE
		`},
		{"reports of other groups do not", joined4 + `
			5s report B -> NONE
			5s report A on=2 -> DELAYING
		`},
		{"quiet: groups of the link are not reported", `
			0s join local4 -> IDLE
			1s query any4 resp=100 -> NONE
			1s query local4 resp=100 -> IDLE
			20s timeout local4 -> IDLE
			21s leave local4 -> NONE
		`},
		{"all hosts are not reported", `
			0s join all4 -> IDLE
			1s query any4 resp=100 -> NONE
			1s query all4 resp=100 -> IDLE
			21s leave all4 -> NONE
		`},
		{"querier of version 1 (RFC 2236 §4)", idle4 + `
			20s query any4 resp=0 -> NONE
			20s deadline A -> DELAYING, 30s
			30s timeout A -> IDLE, v1 report A
			31s leave A -> NONE
			40s join A -> DELAYING, v1 report A
			50s timeout A -> IDLE, v1 report A
			51s join B on=2 -> NONE, v2 report B on 2
			61s timeout A -> IDLE, v2 report B on 2
			280s query any4 resp=100 -> NONE
			290s timeout A -> IDLE, v2 report A
			291s leave A -> NONE, leave A
		`},
		{"querier of version 1 heard again", idle4 + `
			20s query any4 resp=0 -> NONE
			200s query any4 resp=0 -> NONE
			400s timeout A -> IDLE, v1 report A
		`},
		{"queries of version 3 where 2 is spoken", idle4 + `
			20s query3 any4 resp=0 -> NONE
			20s timeout A -> IDLE, v2 report A
			21s query3 A resp=136 -> DELAYING
			21s deadline A -> DELAYING, 40.2s
		`},
		{"announced when an adapter comes up", idle4 + `
			20s announce A -> DELAYING, v2 report A
			30s timeout A -> IDLE, v2 report A
			40s announce A on=2 -> IDLE
		`},
		{"forgotten when an adapter goes", joined4 + `
			1s join A on=2 -> DELAYING, v2 report A on 2
			2s flush A -> NONE
			20s timeout A -> NONE, v2 report A on 2
		`},
		{"unicast is no group", `
			0s join uni4 -> NONE, refused
			0s join uni6 -> NONE, refused
			0s leave uni6 -> NONE, refused
			0s query uni4 resp=10 -> NONE, igmp group invalid
			0s query uni6 resp=10 -> NONE, mld group invalid
		`},

		{"IPv6: a join is reported twice", idle6 + `
			1h timeout X -> IDLE
		`},
		{"IPv6: solicited-node groups are reported", `
			0s join Y -> DELAYING, mld report Y
			1s leave Y -> NONE, mld done Y
		`},
		{"IPv6: queries", idle6 + `
			20s query any6 resp=10000 -> NONE
			20s deadline X -> DELAYING, 30s
			21s query X resp=2000 -> DELAYING
			23s timeout X -> IDLE, mld report X
			24s query Y resp=10 -> NONE
			24s deadline X -> IDLE
			25s query3 any6 resp=0 -> NONE
			25s deadline X -> DELAYING, 25s
			25s timeout X -> IDLE, mld report X
			26s query any4 resp=10 -> NONE
			26s deadline X -> IDLE
		`},
		{"IPv6: another's report suppresses ours, and our done", joined6 + `
			500ms report X -> IDLE
			1s timeout X -> IDLE
			2s leave X -> NONE
		`},
		{"IPv6: leave", idle6 + `
			2s leave X -> NONE, mld done X
		`},
		{"IPv6: not reported", `
			0s join node6 -> IDLE
			0s join all6 -> IDLE
			1s query any6 resp=100 -> NONE
			2s timeout all6 -> IDLE
			3s leave all6 -> NONE
			3s leave node6 -> NONE
		`},
	} {
		t.Run(test.name, func(t *testing.T) {
			repeat := 10 * time.Second
			if strings.HasPrefix(test.name, "IPv6") {
				repeat = time.Second
			}
			quiet := strings.HasPrefix(test.name, "quiet")
			w := &world{t: New(0, most{}), link: Link{Version: V2, Repeat2: repeat, LocalQuiet: quiet}}
			for line := range strings.Lines(test.script) {
				if line = strings.TrimSpace(line); line == "" {
					continue
				}
				step, want, _ := strings.Cut(line, " -> ")
				words := strings.Fields(step)
				now, err := time.ParseDuration(words[0])
				if err != nil {
					t.Fatal(err)
				}
				w.events = nil
				w.do(now, words[1:])
				got := strings.Join(append([]string{w.state(names[words[2]])}, w.events...), ", ")
				if got != want {
					t.Fatalf("%s\n got %s\nwant %s", step, got, want)
				}
			}
		})
	}
}

// Messages that say nothing to a member, and why.
func TestRefused(t *testing.T) {
	packet.Account(true)
	defer packet.Account(false)
	wrong := igmp(wire.IGMPQuery, 100, names["any4"])
	wrong.Head()[1]++
	verified := igmp(wire.IGMPQuery, 100, names["any4"])
	verified.Head()[1]++
	verified.Checksum = packet.ChecksumVerified
	short := igmp(wire.IGMPQuery, 100, names["any4"])
	short.Truncate(7)
	short6 := mldPacket(wire.ICMPv6MLDQuery, 1, names["any6"])
	short6.Truncate(23)
	far := mldPacket(wire.ICMPv6MLDQuery, 1, names["any6"])
	far.Src = names["uni6"]
	hops := mldPacket(wire.ICMPv6MLDQuery, 1, names["any6"])
	hops.TTL = 2
	nobody := mldPacket(wire.ICMPv6MLDQuery, 1, names["any6"])
	nobody.Src = names["any6"]
	nameless := mldPacket(wire.ICMPv6MLDReport, 1, names["X"])
	nameless.Src = names["any6"]
	for _, c := range []struct {
		name string
		p    *packet.Packet
		want packet.Reason
	}{
		{"short", short, packet.ReasonIGMPMalformed},
		{"wrong checksum", wrong, packet.ReasonIGMPChecksum},
		{"checksum verified by the link", verified, packet.NotDropped},
		{"query about a unicast address", igmp(wire.IGMPQuery, 1, names["uni4"]), packet.ReasonIGMPGroup},
		{"another's leave", igmp(wire.IGMPv2Leave, 0, names["A"]), packet.ReasonIGMPType},
		{"report of version 3", igmp(wire.IGMPv3Report, 0, names["any4"]), packet.ReasonIGMPType},
		{"between two versions", igmp(wire.IGMPQuery, 1, names["any4"], 2, 125), packet.ReasonIGMPMalformed},
		{"fewer sources than it says", igmp(wire.IGMPQuery, 1, names["A"], 2, 125, 0, 2, 10, 0, 0, 1), packet.ReasonIGMPMalformed},
		{"MLD between two versions", mldPacket(wire.ICMPv6MLDQuery, 1, names["any6"], 2, 125), packet.ReasonMLDMalformed},
		{"MLD with fewer sources than it says", mldPacket(wire.ICMPv6MLDQuery, 1, names["X"], 2, 125, 0, 1), packet.ReasonMLDMalformed},
		{"short MLD", short6, packet.ReasonMLDMalformed},
		{"MLD from afar", far, packet.ReasonMLDSource},
		{"MLD with a hop limit of 2", hops, packet.ReasonMLDSource},
		{"MLD query from nobody", nobody, packet.ReasonMLDSource},
		{"MLD report from nobody (RFC 3590)", nameless, packet.NotDropped},
		{"MLD query about a unicast address", mldPacket(wire.ICMPv6MLDQuery, 1, names["uni6"]), packet.ReasonMLDGroup},
		{"MLD report about all", mldPacket(wire.ICMPv6MLDReport, 1, names["any6"]), packet.ReasonMLDGroup},
		{"another's done", mldPacket(wire.ICMPv6MLDDone, 1, names["X"]), packet.ReasonMLDType},
	} {
		w := &world{t: New(0, most{})}
		in := w.t.MLDIn
		if c.p.Proto == wire.ProtoIGMP {
			in = w.t.IGMPIn
		}
		if r := in(0, c.p, w); r != c.want {
			t.Errorf("%s: %v, want %v", c.name, r, c.want)
		}
		packet.Free(c.p)
	}
	if p, c := packet.Live(); p != 0 || c != 0 {
		t.Errorf("%d packets and %d chunks are not back", p, c)
	}
}

// Memberships belong to an adapter; everybody is one of all nodes.
func TestMember(t *testing.T) {
	w := &world{t: New(3, rand.NewPCG(1, 2))}
	for _, g := range []string{"all4", "all6"} {
		if !w.t.Member(7, names[g]) {
			t.Errorf("no member of %s", g)
		}
	}
	w.t.Join(0, 1, names["A"], w)
	w.t.Join(0, 2, names["X"], w)
	w.t.Join(0, 2, names["X"].WithZone("eth0"), w)
	for _, c := range []struct {
		adapter int32
		group   string
		want    bool
	}{{1, "A", true}, {2, "A", false}, {1, "X", false}, {2, "X", true}, {1, "B", false}, {1, "uni4", false}} {
		if got := w.t.Member(c.adapter, names[c.group]); got != c.want {
			t.Errorf("%s on %d: %v", c.group, c.adapter, got)
		}
	}
	if !w.t.Join(0, 1, names["B"], w) || w.t.Join(0, 1, names["Y"], w) {
		t.Error("the limit of 3 does not hold")
	}
	if !w.t.Join(0, 1, names["B"], w) {
		t.Error("a membership that is there is refused")
	}
	w.t.Leave(0, 2, names["X"], w)
	if !w.t.Member(2, names["X"]) {
		t.Error("gone with the first of two leaves")
	}
	w.t.Leave(0, 2, names["X"], w)
	if w.t.Member(2, names["X"]) {
		t.Error("member still after the last leave")
	}
	if !w.t.Join(0, 1, names["Y"], w) {
		t.Error("no place after a leave")
	}
	w.t.Flush(0)
	if w.t.Member(1, names["A"]) || len(w.t.All()) != 0 {
		t.Error("member still after Flush")
	}
}

// Delays are spread over all the time there is, and never outside.
func TestDelays(t *testing.T) {
	w := &world{t: New(2000, rand.NewPCG(1, 2)), link: Link{Version: V2}}
	for i := range 1000 {
		w.t.Join(0, 1, netip.AddrFrom4([4]byte{239, 0, byte(i >> 8), byte(i)}), w)
	}
	w.t.Timeout(10*time.Second, w)
	if len(w.events) != 2000 {
		t.Fatalf("%d reports of 1000 joins", len(w.events))
	}
	w.do(time.Minute, []string{"query", "any4", "resp=80"})
	var last int
	for i := range 8 {
		w.events = nil
		w.t.Timeout(time.Minute+time.Duration(i+1)*time.Second, w)
		if n := len(w.events); n < 80 || n > 170 {
			t.Errorf("%d of 1000 reports in second %d of 8", n, i)
		}
		last += len(w.events)
	}
	if last != 1000 {
		t.Errorf("%d reports in time, want 1000", last)
	}
}

// The walk reads while others join and leave.
func TestConcurrent(t *testing.T) {
	tb := New(0, rand.NewPCG(1, 2))
	tb.Join(0, 1, names["A"], &world{})
	var wg sync.WaitGroup
	for g := range 3 {
		wg.Go(func() {
			w := new(world)
			for i := range 500 {
				now := time.Duration(i) * time.Second
				a := netip.AddrFrom4([4]byte{239, byte(g), 1, byte(i)})
				tb.Join(now, 1, a, w)
				tb.Timeout(now, w)
				if !tb.Member(1, a) || !tb.Member(1, names["A"]) {
					t.Error("no member of what was joined")
				}
				tb.queried(now, 1, false, &query{version: V3, group: names["any4"], resp: time.Second}, w)
				tb.heard(now, 1, a, w)
				tb.Leave(now, 1, a, w)
			}
		})
	}
	wg.Wait()
	tb.Timeout(time.Hour, &world{})
	tb.Timeout(2*time.Hour, &world{})
	if n := len(tb.All()); n != 1 {
		t.Errorf("%d memberships left, want 1", n)
	}
}
