package nat

import (
	"math/rand"
	"net/netip"
	"testing"
	"time"

	"github.com/towpath/towpath/firewall/classify"
	"github.com/towpath/towpath/firewall/conntrack"
	"github.com/towpath/towpath/firewall/hook"
	"github.com/towpath/towpath/packet"
	"github.com/towpath/towpath/wire"
)

func addr(s string) netip.Addr { return netip.MustParseAddr(s) }

// TestThereAndBack translates random packets of flows, and their answers:
// each end sees only the other end it knows, and all checksums are right.
func TestThereAndBack(t *testing.T) {
	vip := addr("10.0.0.200")
	r := newRouter(t, conntrack.Settings{},
		natRule{hook.Prerouting, func(p *packet.Packet) bool { return p.Dst == vip }, Range{Min: server}},
		natRule{hook.Postrouting, func(p *packet.Packet) bool { return p.Src.Is4() }, Range{Min: addr("198.51.100.1"), Max: addr("198.51.100.4"), Random: true}},
		natRule{hook.Postrouting, func(p *packet.Packet) bool { return p.Src.Is6() }, Range{Min: out6}})
	rnd := rand.New(rand.NewSource(1))
	for i := range 2000 {
		sport, dport := uint16(1+rnd.Intn(65535)), uint16(1+rnd.Intn(65535))
		c, s := client, server
		seen := s // as the client knows the server
		if rnd.Intn(3) == 0 {
			c, s = cli6, srv6
			seen = s
		} else if rnd.Intn(2) == 0 {
			seen = vip
		}
		payload := string(make([]byte, rnd.Intn(1200)))
		var there *packet.Packet
		switch rnd.Intn(3) {
		case 0:
			there = udp(c, seen, sport, dport, payload)
		case 1:
			there = tcp(c, seen, sport, dport, wire.TCPSyn, 99, 0, "")
		case 2:
			typ := uint8(8)
			if c.Is6() {
				typ = 128
			}
			there = icmp(c, seen, typ, 0, wire.ICMPEcho(sport, 1), []byte(payload))
		}
		before := tuple(there)
		if rnd.Intn(2) == 0 {
			makePartial(there)
		}
		out := r.forward(there)
		if out == nil {
			t.Fatalf("packet %d dropped", i)
		}
		sums(t, out)
		packet.Complete(out)
		wasPartial(t, out)
		o := tuple(out)
		if o.Dst != s || o.Src == c {
			t.Fatalf("packet %d: %v became %v", i, before, o)
		}
		back := r.forward(answerTo(out))
		if back == nil {
			t.Fatalf("answer %d dropped", i)
		}
		sums(t, back)
		b := tuple(back)
		if before.Proto != wire.ProtoICMP && before.Proto != wire.ProtoICMPv6 {
			b = b.Reverse()
		} else {
			b.Src, b.Dst = b.Dst, b.Src
		}
		if b != before {
			t.Fatalf("answer %d: %v, want %v", i, b, before)
		}
		packet.Free(back)
		packet.Free(out)
	}
}

// makePartial leaves only the pseudo header's sum in p's checksum, as a host
// does for a link that completes it.
func makePartial(p *packet.Packet) {
	at := uint16(16)
	switch p.Proto {
	case wire.ProtoTCP:
	case wire.ProtoUDP:
		at = 6
	default:
		return
	}
	b := p.From(p.Transport)
	sum := wire.Fold(pseudo(p))
	b[at], b[at+1] = byte(sum>>8), byte(sum)
	p.Checksum, p.CsumOffset = packet.ChecksumPartial, at
}

// wasPartial checks a checksum that has been completed.
func wasPartial(t testing.TB, p *packet.Packet) {
	t.Helper()
	p.Checksum = packet.ChecksumNone
	sums(t, p)
}

// answerTo makes the packet that answers p.
func answerTo(p *packet.Packet) *packet.Packet {
	o := tuple(p)
	switch p.Proto {
	case wire.ProtoUDP:
		return udp(o.Dst, o.Src, o.DstPort, o.SrcPort, "answer")
	case wire.ProtoTCP:
		return tcp(o.Dst, o.Src, o.DstPort, o.SrcPort, wire.TCPSyn|wire.TCPAck, 499, 100, "")
	case wire.ProtoICMP:
		return icmp(o.Dst, o.Src, 0, 0, wire.ICMPEcho(o.SrcPort, 1), nil)
	}
	return icmp(o.Dst, o.Src, 129, 0, wire.ICMPEcho(o.SrcPort, 1), nil)
}

// TestSuperSegment translates 60 KiB at once, without touching its payload.
func TestSuperSegment(t *testing.T) {
	r := newRouter(t, conntrack.Settings{}, natRule{hook.Postrouting, nil, Range{Min: addr("198.51.100.1"), PortMin: 4000}})
	packet.Free(r.forward(tcp(client, server, 1, 80, wire.TCPSyn, 99, 0, "")))
	packet.Free(r.forward(tcp(server, addr("198.51.100.1"), 80, 4000, wire.TCPSyn|wire.TCPAck, 499, 100, "")))
	p := tcp(client, server, 1, 80, wire.TCPAck, 100, 500, "")
	chunk := packet.GetChunk(30000)
	for i := range chunk.Bytes() {
		chunk.Bytes()[i] = byte(i * 7)
	}
	p.AppendFrag(chunk, 0, 29000)
	wire.IPv4(p.From(p.Net)).SetTotalLen(p.Len())
	h := wire.IPv4(p.From(p.Net))
	h.SetChecksum(0)
	h.SetChecksum(^wire.Fold(wire.Sum(h[:20], 0)))
	p.Data = p.Transport + wire.TCPLen
	p.GSO = packet.GSO{Type: packet.GSOTCP4, Size: 1448}
	makePartial(p)
	q := r.forward(p)
	if q == nil || len(q.Frags()) != 1 || q.Frags()[0].Chunk != chunk || q.GSO.Size != 1448 || tuple(q).SrcPort != 4000 {
		t.Fatalf("%+v", q)
	}
	var l packet.List
	if !packet.Segment(q, &l) || l.Len() != 21 {
		t.Fatalf("%d segments", l.Len())
	}
	for s := l.Pop(); s != nil; s = l.Pop() {
		packet.Complete(s)
		s.Checksum = packet.ChecksumNone
		sums(t, s)
		packet.Free(s)
	}
	chunk.Release()
}

// TestCollision fills a range of ports for one destination; another
// destination has all of them for itself.
func TestCollision(t *testing.T) {
	r := newRouter(t, conntrack.Settings{}, natRule{hook.Postrouting, nil, Range{Min: outside, PortMin: 5000, PortMax: 5099}})
	used := map[uint16]bool{}
	for i := range 100 {
		q := r.forward(udp(client, server, uint16(1000+i), 53, ""))
		if q == nil {
			t.Fatalf("flow %d dropped", i)
		}
		p := tuple(q).SrcPort
		if p < 5000 || p > 5099 || used[p] {
			t.Fatalf("flow %d has port %d", i, p)
		}
		used[p] = true
		packet.Free(q)
	}
	if q := r.forward(udp(client, server, 2000, 53, "")); q != nil {
		t.Errorf("a flow beyond the range became %v", tuple(q))
	}
	q := r.forward(udp(client, server.Next(), 1000, 53, ""))
	if q == nil {
		t.Fatal("dropped")
	}
	packet.Free(q)
}

// TestNullBinding has a flow that no rule is about give way to one that has
// been translated into its tuple.
func TestNullBinding(t *testing.T) {
	r := newRouter(t, conntrack.Settings{}, natRule{hook.Postrouting, func(p *packet.Packet) bool { return p.Src == client }, Range{Min: outside}})
	packet.Free(r.forward(udp(client, server, 1000, 53, "")))
	q := r.forward(udp(outside, server, 1000, 53, ""))
	if q == nil || tuple(q).SrcPort == 1000 || tuple(q).Src != outside {
		t.Fatalf("%v", q)
	}
	sums(t, q)
	back := r.forward(answerTo(q))
	if tuple(back).DstPort != 1000 || tuple(back).Dst != outside {
		t.Errorf("%v", tuple(back))
	}
}

// TestHairpin has a client reach a neighbour by the address outside.
func TestHairpin(t *testing.T) {
	neighbour := client.Next()
	r := newRouter(t, conntrack.Settings{},
		natRule{hook.Prerouting, func(p *packet.Packet) bool { return p.Dst == outside && tuple(p).DstPort == 80 }, Range{Min: neighbour, PortMin: 8080}},
		natRule{hook.Postrouting, func(p *packet.Packet) bool { return p.Src == client }, Range{Masquerade: true}})
	q := r.forward(tcp(client, outside, 1000, 80, wire.TCPSyn, 99, 0, ""))
	o := tuple(q)
	if o.Src != outside || o.Dst != neighbour || o.DstPort != 8080 {
		t.Fatalf("%v", o)
	}
	b := tuple(r.forward(answerTo(q)))
	if b.Src != outside || b.SrcPort != 80 || b.Dst != client || b.DstPort != 1000 {
		t.Errorf("%v", b)
	}
}

// TestEndpointIndependent is RFC 4787's REQ-1: one port outside for all
// destinations, which no other client gets; and REQ-8, if it is open.
func TestEndpointIndependent(t *testing.T) {
	r := newRouter(t, conntrack.Settings{}, natRule{hook.Postrouting, from(client, 24), Range{Min: outside, EndpointIndependent: true, Open: true}})
	a := tuple(r.forward(udp(client, server, 1000, 53, "")))
	b := tuple(r.forward(udp(client, server.Next(), 1000, 99, "")))
	if a.SrcPort != b.SrcPort || a.Src != outside {
		t.Errorf("%v and %v", a, b)
	}
	if c := tuple(r.forward(udp(client.Next(), server.Next().Next(), 1000, 53, ""))); c.SrcPort == a.SrcPort {
		t.Errorf("two clients have %v", c)
	}
	stranger := addr("203.0.113.9")
	in := tuple(r.forward(udp(stranger, outside, 5, a.SrcPort, "")))
	if in.Dst != client || in.DstPort != 1000 || in.Src != stranger {
		t.Errorf("from a stranger: %v", in)
	}
	out := tuple(r.forward(udp(client, stranger, 1000, 5, "")))
	if out.SrcPort != a.SrcPort || out.Src != outside {
		t.Errorf("to the stranger: %v", out)
	}
	// The mapping ends with its flows.
	r.now = time.Hour
	r.flows.Sweep(r.now)
	if len(r.nat.sources) != 0 || len(r.nat.outside) != 0 {
		t.Errorf("%d and %d mappings are left", len(r.nat.sources), len(r.nat.outside))
	}
	if in := tuple(r.forward(udp(stranger, outside, 6, a.SrcPort, ""))); in.Dst != outside {
		t.Errorf("after an hour: %v", in)
	}
}

// TestSameSource has a client keep its port outside for all destinations as
// long as that is free.
func TestSameSource(t *testing.T) {
	r := newRouter(t, conntrack.Settings{}, natRule{hook.Postrouting, nil, Range{Min: outside, PortMin: 5000, PortMax: 6000}})
	a := tuple(r.forward(udp(client, server, 1000, 53, "")))
	for i := range 20 {
		if b := tuple(r.forward(udp(client, server, 1000, uint16(100+i), ""))); b.SrcPort != a.SrcPort {
			t.Errorf("%v and %v", a, b)
		}
	}
}

func TestPersistent(t *testing.T) {
	for _, persistent := range []bool{false, true} {
		r := newRouter(t, conntrack.Settings{}, natRule{hook.Postrouting, nil, Range{Min: addr("198.51.100.0"), Max: addr("198.51.100.255"), Persistent: persistent}})
		seen := map[netip.Addr]bool{}
		dst := server
		for i := range 50 {
			seen[tuple(r.forward(udp(client, dst, uint16(1000+i), 53, ""))).Src] = true
			dst = dst.Next()
		}
		if persistent != (len(seen) == 1) {
			t.Errorf("persistent %v: %d addresses", persistent, len(seen))
		}
	}
}

func TestPortBase(t *testing.T) {
	r := newRouter(t, conntrack.Settings{}, natRule{hook.Prerouting, nil, Range{Min: server, PortMin: 8000, PortMax: 8099, PortBase: 3000}})
	for _, p := range []uint16{3000, 3001, 3099} {
		if o := tuple(r.forward(udp(client, outside, 1, p, ""))); o.Dst != server || o.DstPort != p+5000 {
			t.Errorf("port %d: %v", p, o)
		}
	}
}

// TestLocal translates what this host itself sends and receives.
func TestLocal(t *testing.T) {
	r := newRouter(t, conntrack.Settings{},
		natRule{hook.Output, func(p *packet.Packet) bool { return p.Dst == addr("192.0.2.1") }, Range{Min: server, PortMin: 8053}},
		natRule{hook.Prerouting, func(p *packet.Packet) bool { return p.Dst == addr("192.0.2.7") }, Range{Redirect: true, PortMin: 3128}},
		natRule{hook.Input, func(p *packet.Packet) bool { return p.Src == server }, Range{Min: addr("192.0.2.99")}})
	send := func(p *packet.Packet) *packet.Packet {
		p.Ingress = 0
		if !r.at(hook.Output, p) || !r.at(hook.Postrouting, p) {
			t.Fatal("dropped")
		}
		return p
	}
	receive := func(p *packet.Packet) *packet.Packet {
		if !r.at(hook.Prerouting, p) || !r.at(hook.Input, p) {
			t.Fatal("dropped")
		}
		return p
	}
	out := send(udp(outside, addr("192.0.2.1"), 1000, 53, ""))
	if o := tuple(out); o.Dst != server || o.DstPort != 8053 {
		t.Errorf("%v", o)
	}
	in := receive(answerTo(out))
	sums(t, in)
	if o := tuple(in); o.Src != addr("192.0.2.1") || o.SrcPort != 53 {
		t.Errorf("%v", o)
	}
	in = receive(tcp(client, addr("192.0.2.7"), 1000, 80, wire.TCPSyn, 99, 0, ""))
	if o := tuple(in); o.Dst != outside || o.DstPort != 3128 {
		t.Errorf("%v", o)
	}
	out = send(answerTo(in))
	sums(t, out)
	if o := tuple(out); o.Src != addr("192.0.2.7") || o.SrcPort != 80 {
		t.Errorf("%v", o)
	}
	in = receive(udp(server, outside, 5, 6, ""))
	if o := tuple(in); o.Src != addr("192.0.2.99") {
		t.Errorf("%v", o)
	}
	out = send(answerTo(in))
	if o := tuple(out); o.Dst != server {
		t.Errorf("%v", o)
	}
}

// TestPrefix is RFC 6296's translation, there and back.
func TestPrefix(t *testing.T) {
	for _, c := range []struct{ inside, outside, addr, want string }{
		{"fd01:203:405::/48", "2001:db8:1::/48", "fd01:203:405:1::1234", "2001:db8:1:d550::1234"}, // RFC 6296 §2.2.1
		{"fd01:203:405:1::/64", "2001:db8:1:2::/64", "fd01:203:405:1::1234", ""},
		{"fd01:203:405:100::/56", "2001:db8:1::/48", "fd01:203:405:101::1234", ""},
	} {
		in, out := netip.MustParsePrefix(c.inside), netip.MustParsePrefix(c.outside)
		there, err := Prefix(conntrack.Source, in, out)
		if err != nil {
			t.Fatal(err)
		}
		back, err := Prefix(conntrack.Destination, out, in)
		if err != nil {
			t.Fatal(err)
		}
		a := addr(c.addr)
		p := udp(a, srv6, 1000, 53, "question")
		there.Do(&classify.Input{Packet: p})
		sums(t, p)
		if !out.Contains(p.Src) || c.want != "" && p.Src != addr(c.want) {
			t.Errorf("%v became %v", a, p.Src)
		}
		e := icmp(srv6, p.Src, 1, 4, 0, p.Bytes())
		q := udp(srv6, p.Src, 53, 1000, "answer")
		back.Do(&classify.Input{Packet: q})
		sums(t, q)
		if q.Dst != a {
			t.Errorf("back: %v, want %v", q.Dst, a)
		}
		back.Do(&classify.Input{Packet: e})
		sums(t, e)
		if x, ok := conntrack.ReadQuote(e); !ok || x.Tuple.Src != a || e.Dst != a {
			t.Errorf("error: %v to %v", x.Tuple, e.Dst)
		}
	}
	for _, bad := range [][2]string{{"10.0.0.0/8", "2001:db8::/32"}, {"2001:db8::/65", "fd00::/64"}} {
		if _, err := Prefix(conntrack.Source, netip.MustParsePrefix(bad[0]), netip.MustParsePrefix(bad[1])); err == nil {
			t.Errorf("%v", bad)
		}
	}
}

func TestStatements(t *testing.T) {
	n := New(conntrack.NewTable(conntrack.Settings{}))
	for _, c := range []struct {
		side conntrack.Side
		r    Range
		want string
	}{
		{conntrack.Source, Range{Min: outside}, "snat to 10.0.1.254"},
		{conntrack.Source, Range{Min: client, Max: outside, PortMin: 1, PortMax: 9, Random: true}, "snat to 10.0.0.1-10.0.1.254 port 1-9 fully-random"},
		{conntrack.Destination, Range{Min: srv6, PortMin: 80}, "dnat to 2001:db8:1::2 port 80"},
		{conntrack.Source, Range{Masquerade: true}, "masquerade"},
		{conntrack.Destination, Range{Redirect: true, PortMin: 3128}, "redirect port 3128"},
		{conntrack.Source, Range{Prefix: netip.MustParsePrefix("10.0.0.0/8")}, "snat to 10.0.0.0/8"},
		{conntrack.Destination, Range{Masquerade: true}, ""},
		{conntrack.Source, Range{Redirect: true}, ""},
		{conntrack.Source, Range{Min: outside, Max: client}, ""},
		{conntrack.Source, Range{Min: outside, Max: srv6}, ""},
		{conntrack.Source, Range{Min: outside, Masquerade: true}, ""},
		{conntrack.Source, Range{Open: true}, ""},
		{conntrack.Source, Range{PortMax: 5}, ""},
	} {
		s, err := n.Translate(c.side, c.r)
		if (err == nil) != (c.want != "") || err == nil && s.Name != c.want {
			t.Errorf("%+v: %v %v, want %q", c.r, s, err, c.want)
		}
	}
}
