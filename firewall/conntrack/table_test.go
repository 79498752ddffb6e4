package conntrack

import (
	"encoding/json"
	"strings"
	"testing"
	"time"
	"unsafe"

	"github.com/towpath/towpath/firewall/hook"
	"github.com/towpath/towpath/packet"
	"github.com/towpath/towpath/wire"
)

const sec = time.Second

func TestUDP(t *testing.T) {
	ct := NewTable(Settings{})
	ask := func(at time.Duration) (packet.TrackState, bool) {
		return ct.pass(udp(client, server, 1000, 53, "q"), at)
	}
	answer := func(at time.Duration) (packet.TrackState, bool) {
		return ct.pass(udp(server, client, 53, 1000, "answer"), at)
	}
	for _, step := range []struct {
		at    time.Duration
		pass  func(time.Duration) (packet.TrackState, bool)
		state packet.TrackState
		reply bool
		list  string
	}{
		{0, ask, packet.TrackNew, false,
			"udp      17 30 src=10.0.0.1 dst=10.0.1.2 sport=1000 dport=53 packets=1 bytes=29 [UNREPLIED] src=10.0.1.2 dst=10.0.0.1 sport=53 dport=1000 packets=0 bytes=0 mark=0 use=1"},
		{1 * sec, ask, packet.TrackNew, false, ""},
		{1 * sec, answer, packet.TrackEstablished, true,
			"udp      17 30 src=10.0.0.1 dst=10.0.1.2 sport=1000 dport=53 packets=2 bytes=58 src=10.0.1.2 dst=10.0.0.1 sport=53 dport=1000 packets=1 bytes=34 mark=0 use=1"},
		{2 * sec, ask, packet.TrackEstablished, false, ""},
		{3 * sec, answer, packet.TrackEstablished, true,
			"udp      17 120 src=10.0.0.1 dst=10.0.1.2 sport=1000 dport=53 packets=3 bytes=87 src=10.0.1.2 dst=10.0.0.1 sport=53 dport=1000 packets=2 bytes=68 [ASSURED] mark=0 use=1"},
		{124 * sec, answer, packet.TrackNew, false, ""}, // too late: a flow of its own
	} {
		if s, r := step.pass(step.at); s != step.state || r != step.reply {
			t.Errorf("at %v: state %d reply %v, want %d %v", step.at, s, r, step.state, step.reply)
		}
		if got := ct.only(t, step.at).String(); step.list != "" && got != step.list {
			t.Errorf("at %v:\n%s, want\n%s", step.at, got, step.list)
		}
	}
}

func TestICMP(t *testing.T) {
	ct := NewTable(Settings{})
	expectState(t, ct, icmp(server, client, 0, 0, wire.ICMPEcho(7, 1), nil), 0, packet.TrackInvalid, false)
	expectState(t, ct, icmp(client, server, 8, 0, wire.ICMPEcho(7, 1), nil), 0, packet.TrackNew, false)
	expectState(t, ct, icmp(server, client, 0, 0, wire.ICMPEcho(7, 1), nil), 0, packet.TrackEstablished, true)
	expectState(t, ct, icmp(server, client, 0, 0, wire.ICMPEcho(8, 1), nil), 0, packet.TrackInvalid, false)
	expectState(t, ct, icmp(client, server, 9, 0, 0, nil), 0, packet.TrackInvalid, false)
	expectState(t, ct, icmp(client, server, 42, 0, 0, nil), 0, packet.TrackInvalid, false)
	want := "icmp     1 30 src=10.0.0.1 dst=10.0.1.2 type=8 code=0 id=7 packets=1 bytes=28 src=10.0.1.2 dst=10.0.0.1 type=0 code=0 id=7 packets=1 bytes=28 mark=0 use=1"
	if got := ct.only(t, 0).String(); got != want {
		t.Errorf("%s, want\n%s", got, want)
	}
	ct = NewTable(Settings{})
	expectState(t, ct, icmp(cli6, srv6, 128, 0, wire.ICMPEcho(7, 1), nil), 0, packet.TrackNew, false)
	expectState(t, ct, icmp(srv6, cli6, 129, 0, wire.ICMPEcho(7, 1), nil), 0, packet.TrackEstablished, true)
	for _, typ := range []uint8{130, 131, 132, 133, 134, 135, 136, 143} {
		expectState(t, ct, icmp(cli6, srv6, typ, 0, 0, make([]byte, 16)), 0, packet.TrackUntracked, false)
	}
	expectState(t, ct, icmp(cli6, srv6, 137, 0, 0, make([]byte, 32)), 0, packet.TrackInvalid, false)
}

// TestRelated has errors about flows arrive, from routers and from liars.
func TestRelated(t *testing.T) {
	for _, v6 := range []bool{false, true} {
		a, b, router := client, server, server.Next()
		unreachable, tooBig := uint8(3), uint8(3)
		if v6 {
			a, b, router = cli6, srv6, srv6.Next()
			unreachable, tooBig = 1, 2
		}
		ct := NewTable(Settings{})
		q := udp(a, b, 1000, 9, "x")
		quote := q.Bytes()
		expectState(t, ct, q, 0, packet.TrackNew, false)
		expectState(t, ct, icmp(router, a, unreachable, 3, 0, quote), 0, packet.TrackRelated, true)
		expectState(t, ct, icmp(router, a, tooBig, 4, 1280, quote), 0, packet.TrackRelated, true)
		expectState(t, ct, icmp(router, b, unreachable, 3, 0, quote), 0, packet.TrackInvalid, false)
		expectState(t, ct, icmp(router, a, unreachable, 3, 0, quote[:len(quote)-6]), 0, packet.TrackInvalid, false)
		r := udp(b, a, 9, 1000, "y")
		quote = r.Bytes()
		expectState(t, ct, r, 0, packet.TrackEstablished, true)
		expectState(t, ct, icmp(router, b, unreachable, 3, 0, quote), 0, packet.TrackRelated, false)
		ct.only(t, 0)
	}
}

func TestInvalid(t *testing.T) {
	ct := NewTable(Settings{})
	bad := udp(client, server, 1, 2, "checksum")
	bad.From(bad.Transport)[9]++
	expectState(t, ct, bad, 0, packet.TrackInvalid, false)
	short := udp(client, server, 1, 2, "length")
	wire.UDP(short.From(short.Transport)).SetLen(100)
	expectState(t, ct, short, 0, packet.TrackInvalid, false)
	expectState(t, ct, ipPacket(client, server, wire.ProtoTCP, make([]byte, 19)), 0, packet.TrackInvalid, false)
	frag := udp(client, server, 1, 2, "fragment")
	frag.From(frag.Net)[6] |= 0x20
	expectState(t, ct, frag, 0, packet.TrackInvalid, false)
	if s := ct.Stats(); s.Invalid != 4 || s.Entries != 0 {
		t.Errorf("%+v", s)
	}
}

func TestGREAndOthers(t *testing.T) {
	ct := NewTable(Settings{})
	gre := []byte{0, 0, 8, 0}
	expectState(t, ct, ipPacket(client, server, wire.ProtoGRE, gre), 0, packet.TrackNew, false)
	expectState(t, ct, ipPacket(server, client, wire.ProtoGRE, gre), 0, packet.TrackEstablished, true)
	expectState(t, ct, ipPacket(client, server, wire.ProtoGRE, gre), 0, packet.TrackEstablished, false)
	if f := ct.only(t, 0); !f.Assured || f.Timeout != 180 {
		t.Errorf("%v", f)
	}
	ct = NewTable(Settings{})
	expectState(t, ct, ipPacket(client, server, wire.ProtoESP, make([]byte, 20)), 0, packet.TrackNew, false)
	expectState(t, ct, ipPacket(server, client, wire.ProtoESP, make([]byte, 20)), 0, packet.TrackEstablished, true)
	if f := ct.only(t, 0); f.Timeout != 600 || f.Proto != "unknown" {
		t.Errorf("%v", f)
	}
}

// TestDroppedFirst drops the first packets of many flows on their way.
func TestDroppedFirst(t *testing.T) {
	ct := NewTable(Settings{})
	c := hook.Context{Point: hook.Prerouting}
	var waits *packet.Packet
	for i := range limboMin + 10 {
		p := udp(client, server, uint16(i), 53, "")
		tracker{ct}.JudgePacket(&c, p)
		if i == 0 {
			waits = p
		} else {
			packet.Free(p)
		}
	}
	if s := ct.Stats(); s.Entries != 0 || ct.limbo.n != limboMin {
		t.Errorf("%d entries, %d in limbo", s.Entries, ct.limbo.n)
	}
	// The first packet has waited for too long: its entry is another's.
	if v := (confirmer{ct}).JudgePacket(&c, waits); v != hook.Drop {
		t.Errorf("verdict %v", v)
	}
	packet.Free(waits)
}

// TestClash confirms two packets of one flow that both were its first.
func TestClash(t *testing.T) {
	ct := NewTable(Settings{})
	c := hook.Context{Point: hook.Prerouting}
	a, b := udp(client, server, 1, 53, ""), udp(client, server, 1, 53, "")
	x, y := tcp(client, server, 1, 2, tcpFields{flags: wire.TCPSyn}), tcp(client, server, 1, 2, tcpFields{flags: wire.TCPSyn})
	for _, p := range []*packet.Packet{a, b, x, y} {
		tracker{ct}.JudgePacket(&c, p)
	}
	for i, p := range []*packet.Packet{a, b, x, y} {
		want := hook.Accept
		if p == y {
			want = hook.Drop
		}
		if v := (confirmer{ct}).JudgePacket(&c, p); v != want {
			t.Errorf("packet %d: %v", i, v)
		}
		packet.Free(p)
	}
	if s := ct.Stats(); s.Entries != 2 || s.ClashResolve != 1 || s.InsertFailed != 1 {
		t.Errorf("%+v", s)
	}
}

func TestExpiry(t *testing.T) {
	ct := NewTable(Settings{})
	sub := ct.Subscribe(EventDestroy, 100)
	for i := range 50 {
		ct.pass(udp(client, server, uint16(i), 53, ""), 0)
	}
	ct.pass(udp(client, server, 7, 53, ""), 29*sec) // lives on
	ct.Sweep(29 * sec)
	if n := ct.Stats().Entries; n != 50 {
		t.Errorf("%d entries", n)
	}
	ct.Sweep(31 * sec)
	if n := ct.Stats().Entries; n != 1 || len(sub.C) != 49 {
		t.Errorf("%d entries, %d events", n, len(sub.C))
	}
	ct.Sweep(100 * 24 * 3600 * sec)
	if n := ct.Stats().Entries; n != 0 || len(sub.C) != 50 {
		t.Errorf("%d entries, %d events", n, len(sub.C))
	}
}

// TestWheel extends and shortens deadlines at random, beyond the wheel's end
// too, and looks that each flow ends within two seconds of its deadline.
func TestWheel(t *testing.T) {
	ct := NewTable(Settings{})
	sub := ct.Subscribe(EventDestroy, 1000)
	ends := map[uint16]time.Duration{}
	now := time.Duration(0)
	rnd := uint32(1)
	for i := range 20000 {
		rnd = rnd*1664525 + 1013904223
		port := uint16(rnd>>16) % 200
		life := time.Duration(rnd>>8%2000) * sec
		if i > 10000 {
			life = 0
		}
		tuple := packet.Tuple{Src: client, Dst: server, SrcPort: port, DstPort: 53, Proto: wire.ProtoUDP}
		if life > 0 {
			if ends[port] <= now {
				ct.pass(udp(client, server, port, 53, ""), now)
				for len(sub.C) > 0 {
					<-sub.C // of the flow that was over already
				}
			}
			if !ct.Update(now, tuple, 0, Update{Timeout: &life}) {
				t.Fatalf("at %v: no flow with port %d", now, port)
			}
			ends[port] = now + life
		}
		now += time.Duration(rnd>>4%500) * time.Millisecond
		ct.Sweep(now)
		for len(sub.C) > 0 {
			ev := <-sub.C
			if end := ends[ev.Flow.Original.SrcPort]; end > now {
				t.Fatalf("at %v: port %d is to end at %v", now, ev.Flow.Original.SrcPort, end)
			}
			delete(ends, ev.Flow.Original.SrcPort)
		}
		for port, end := range ends {
			if end+2*sec < now {
				t.Fatalf("at %v: port %d was to end at %v", now, port, end)
			}
		}
	}
}

func TestFull(t *testing.T) {
	ct := NewTable(Settings{Max: 100})
	assured := func(port uint16) {
		ct.pass(udp(client, server, port, 53, ""), 0)
		ct.pass(udp(server, client, 53, port, ""), 0)
		ct.pass(udp(client, server, port, 53, ""), 3*sec)
	}
	for i := range 50 {
		assured(uint16(i))
	}
	// A flood from one source displaces itself, not the flow of another.
	other := client.Next()
	ct.pass(udp(other, server, 1, 53, ""), 3*sec)
	for i := range 1000 {
		ct.pass(udp(other.Next(), server, uint16(i), 53, ""), 3*sec)
	}
	l := ct.List(3 * sec)
	var nAssured, nOther int
	for _, f := range l {
		if f.Assured {
			nAssured++
		}
		if f.Original.Src == other {
			nOther++
		}
	}
	if len(l) != 100 || nAssured != 50 || nOther != 1 {
		t.Errorf("%d flows, %d assured, %d of another source", len(l), nAssured, nOther)
	}
	// When all are assured, what is new is dropped.
	ct.Flush(3*sec, func(f *Flow) bool { return !f.Assured })
	for i := range 50 {
		assured(uint16(100 + i))
	}
	if s, _ := ct.pass(udp(other, server, 5, 53, ""), 3*sec); s != packet.TrackNone {
		t.Errorf("state %d", s)
	}
	if s := ct.Stats(); s.Drop != 1 || s.Entries != 100 {
		t.Errorf("%+v", s)
	}
}

func TestZones(t *testing.T) {
	ct := NewTable(Settings{})
	zoned := func(p *packet.Packet, z uint16, d packet.TrackDirs) *packet.Packet {
		p.Track.Zone, p.Track.Dirs = z, d
		return p
	}
	for z := range uint16(3) {
		expectState(t, ct, zoned(udp(client, server, 1, 53, ""), z, packet.TrackBoth), 0, packet.TrackNew, false)
	}
	expectState(t, ct, zoned(udp(server, client, 53, 1, ""), 2, packet.TrackBoth), 0, packet.TrackEstablished, true)
	if l := ct.List(0); len(l) != 3 {
		t.Errorf("%d flows", len(l))
	}
	// The zone counts on the way out only: answers come without.
	expectState(t, ct, zoned(udp(client, server, 2, 53, ""), 7, packet.TrackOriginal), 0, packet.TrackNew, false)
	expectState(t, ct, udp(server, client, 53, 2, ""), 0, packet.TrackEstablished, true)
	expectState(t, ct, zoned(udp(client, server, 2, 53, ""), 7, packet.TrackOriginal), 0, packet.TrackEstablished, false)
	f, ok := ct.Find(0, packet.Tuple{Src: client, Dst: server, SrcPort: 2, DstPort: 53, Proto: wire.ProtoUDP}, 7)
	if !ok || !strings.Contains(f.String(), "zone-orig=7") {
		t.Errorf("%v %v", f, ok)
	}
}

func TestControl(t *testing.T) {
	ct := NewTable(Settings{})
	sub := ct.Subscribe(EventNew|EventUpdate|EventDestroy, 3)
	tuple := packet.Tuple{Src: client, Dst: server, SrcPort: 1, DstPort: 53, Proto: wire.ProtoUDP}
	ct.pass(udp(client, server, 1, 53, ""), 0)
	mark, labels, fixed, life := uint32(7), [16]byte{15: 1}, true, 10*sec
	if !ct.Update(0, tuple.Reverse(), 0, Update{Mark: &mark, Labels: &labels, Fixed: &fixed, Timeout: &life}) {
		t.Error("not updated")
	}
	ct.pass(udp(client, server, 1, 53, ""), sec)
	f := ct.only(t, sec)
	if f.Mark != 7 || f.Timeout != 9 || f.Labels != "00000000000000000000000000000001" {
		t.Errorf("%+v", f)
	}
	b, err := json.Marshal(f)
	if err != nil || !strings.Contains(string(b), `"original":{"src":"10.0.0.1","dst":"10.0.1.2","sport":1,"dport":53,"packets":2,`) {
		t.Errorf("%s %v", b, err)
	}
	if !ct.Delete(sec, tuple, 0) || ct.Delete(sec, tuple, 0) {
		t.Error("delete")
	}
	ct.pass(udp(client, server, 1, 53, ""), sec) // nobody reads: lost
	for i, want := range []EventType{EventNew, EventUpdate, EventDestroy} {
		if ev := <-sub.C; ev.Type != want || ev.Flow.Original.Src != client {
			t.Errorf("event %d: %+v", i, ev)
		}
	}
	if sub.Lost() != 1 {
		t.Errorf("lost %d", sub.Lost())
	}
	sub.Close()
	if n := ct.Flush(sec, nil); n != 1 {
		t.Errorf("flushed %d", n)
	}
}

func TestSysctls(t *testing.T) {
	s := Settings{}
	s.fill()
	seen := map[string]bool{}
	for _, c := range Sysctls {
		v := c.Get(&s)
		if seen[c.Name] || v == "" || !c.Set(&s, v) || c.Get(&s) != v || c.Set(&s, "x") || c.Set(&s, "-1") {
			t.Errorf("%s = %s", c.Name, v)
		}
		seen[c.Name] = true
		if !c.Set(&s, "1") || c.Get(&s) != "1" {
			t.Errorf("%s cannot be 1", c.Name)
		}
	}
	if s.TCP[TCPEstablished] != sec || s.Max != 1 || s.TCPStrict {
		t.Errorf("%+v", s)
	}
}

func TestSize(t *testing.T) {
	// A million entries, each with a bucket, stay below 400 bytes each.
	if n := unsafe.Sizeof(Entry{}); n > 352 {
		t.Errorf("an entry has %d bytes", n)
	}
}
