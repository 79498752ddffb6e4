package conntrack

import (
	"encoding/binary"
	"testing"
	"time"

	"github.com/towpath/towpath/firewall/hook"
	"github.com/towpath/towpath/packet"
	"github.com/towpath/towpath/wire"
)

// asWalked makes a packet of bytes as ipv4In and ipv6In would, nil if they
// would drop it.
func asWalked(b []byte) *packet.Packet {
	p := packet.Get()
	if len(b) > 1500 || !p.AppendBytes(b) {
		packet.Free(p)
		return nil
	}
	p.Net = p.Start()
	p.Linear(min(p.Len(), p.LinearMax()))
	ok := false
	switch h := p.Head(); {
	case len(h) > 0 && h[0]>>4 == 4 && wire.IPv4(h).Valid(len(b)):
		ip := wire.IPv4(h)
		p.Truncate(ip.TotalLen())
		p.Src, p.Dst, p.Proto, p.Transport = ip.Src(), ip.Dst(), ip.Proto(), p.Net+uint16(ip.HeaderLen())
		ok = true
	case len(h) > 0 && h[0]>>4 == 6 && wire.IPv6(h).Valid(len(b)):
		ip := wire.IPv6(h)
		p.Truncate(ip.TotalLen())
		p.Src, p.Dst, p.Proto, p.Transport = ip.Src(), ip.Dst(), ip.NextHeader(), p.Net+wire.IPv6Len
		ok = !p.Proto.IsExtension()
	}
	if !ok {
		packet.Free(p)
		return nil
	}
	p.Ingress = 1
	return p
}

// FuzzTable passes hostile packets through a small table at random times, and
// checks its invariants.
func FuzzTable(f *testing.F) {
	seed := func(ps ...*packet.Packet) {
		var all []byte
		for i, p := range ps {
			b := p.Bytes()
			packet.Free(p)
			all = append(all, byte(i), 0)
			all = binary.BigEndian.AppendUint16(all, uint16(len(b)))
			all = append(all, b...)
		}
		f.Add(all)
	}
	seed(tcp(client, server, 1, 21, tcpFields{flags: syn, seq: 99, win: 9, options: sackOK}),
		tcp(server, client, 21, 1, tcpFields{flags: syn | ack, seq: 499, ack: 100, win: 9}),
		tcp(client, server, 1, 21, tcpFields{flags: ack, seq: 100, ack: 500, win: 9, payload: "\n"}),
		tcp(client, server, 1, 21, tcpFields{flags: ack, seq: 101, ack: 500, win: 9, payload: "PORT 10,0,0,1,8,1\r\n"}),
		tcp(server, client, 20, 2049, tcpFields{flags: syn, seq: 99, win: 9}))
	q := udp(cli6, srv6, 1000, 69, "\x00\x01file")
	quote := q.Bytes()
	seed(q, icmp(srv6, cli6, 1, 4, 0, quote), udp(srv6, cli6, 3000, 1000, "data"))
	seed(icmp(client, server, 8, 0, 1, nil), icmp(server, client, 0, 0, 1, nil), ipPacket(client, server, wire.ProtoGRE, []byte{0x30, 1, 0x88, 0xb, 0, 0, 0, 7}))
	f.Fuzz(func(t *testing.T, b []byte) {
		ct := NewTable(Settings{Max: 4, ExpectMax: 2, Helper: true, NoChecksum: true})
		now := time.Duration(0)
		for len(b) >= 4 {
			now += time.Duration(b[0]) * sec
			n := min(int(binary.BigEndian.Uint16(b[2:])), len(b)-4)
			p, seen := asWalked(b[4:4+n]), b[1]
			b = b[4+n:]
			if p == nil {
				continue
			}
			c := hook.Context{Point: hook.Prerouting, Now: now}
			if (tracker{ct}).JudgePacket(&c, p) == hook.Accept && seen&1 == 0 {
				confirmer{ct}.JudgePacket(&c, p)
			}
			packet.Free(p)
			ct.check(t)
		}
		ct.Sweep(now + 10*24*3600*sec)
		ct.check(t)
		if ct.n != 0 || ct.evictor.n != 0 {
			t.Fatalf("%d flows left, %d to give up", ct.n, ct.evictor.n)
		}
	})
}

// check looks at what must always hold.
func (t *Table) check(tb testing.TB) {
	tb.Helper()
	if t.n > t.set.Max || t.expects.n > t.set.ExpectMax {
		tb.Fatalf("%d flows, %d expected", t.n, t.expects.n)
	}
	n, line := 0, 0
	t.hashes.each(func(e *Entry) {
		n++
		if e.inLine {
			line++
		}
		if e.status&(Confirmed|Dying) != Confirmed || !e.onWheel {
			tb.Fatalf("an entry with status %#x in the table", e.status)
		}
		for i := range e.nodes {
			if m := t.hashes.find(&e.nodes[i].key, t.hash(&e.nodes[i].key)); m != &e.nodes[i] {
				tb.Fatal("a node is not found")
			}
		}
	})
	wheel := 0
	for _, e := range t.wheel.slots {
		for ; e != nil; e = e.wheel.next {
			wheel++
		}
	}
	if n != t.n || wheel != n || line != t.evictor.n {
		tb.Fatalf("%d flows: %d in buckets, %d on the wheel, %d of %d to give up", t.n, n, wheel, line, t.evictor.n)
	}
}

func TestFTPLines(t *testing.T) {
	for _, l := range []struct {
		text   string
		server bool
		found  ftpFound
		addr   string
		port   uint16
	}{
		{"PORT 10,0,0,1,8,1\r\n", false, ftpAddress, "10.0.0.1", 2049},
		{"PORT 10,0,0,1,8,999\r\n", false, ftpBroken, "", 0},
		{"PORT 10,0,0,1,0,0\r\n", false, ftpAddress, "10.0.0.1", 0},
		{"POR", false, ftpBroken, "", 0},
		{"PORT 10,0,", false, ftpBroken, "", 0},
		{"EPRT |1|10.0.0.1|5282|\r\n", false, ftpAddress, "10.0.0.1", 5282},
		{"EPRT |1|10.0.0.1|70000|\r\n", false, ftpBroken, "", 0},
		{"227 Entering Passive Mode (10,0,1,2,200,1).\r\n", true, ftpAddress, "10.0.1.2", 51201},
		{"229 Entering Extended Passive Mode (|||6446|)\r\n", true, ftpAddress, "invalid IP", 6446},
		{"200 PORT command successful\r\n", true, ftpNothing, "", 0},
		{"RETR file\r\n", false, ftpNothing, "", 0},
	} {
		c, found := readFTPLine([]byte(l.text), l.server, true)
		if found != l.found || found == ftpAddress && (c.addr.String() != l.addr || c.port != l.port) {
			t.Errorf("%q: %v %v %d", l.text, found, c.addr, c.port)
		}
	}
}

func FuzzFTPLine(f *testing.F) {
	f.Add([]byte("PORT 10,0,0,1,8,1\r\n"), false, true)
	f.Add([]byte("229 Entering Extended Passive Mode (|||6446|)\r\n"), true, false)
	f.Add([]byte("EPRT |2|2001:db8::1|5282|\r\n"), false, false)
	f.Fuzz(func(t *testing.T, b []byte, server, is4 bool) {
		c, found := readFTPLine(b, server, is4)
		if found == ftpAddress && (c.start < 4 || c.end <= c.start || c.end > len(b)) {
			t.Errorf("%q: %d to %d", b, c.start, c.end)
		}
	})
}

// TestTFTP has a server answer from another port.
func TestTFTP(t *testing.T) {
	ct := NewTable(Settings{Helper: true})
	expectState(t, ct, udp(client, server, 1000, 69, "\x00\x01file"), 0, packet.TrackNew, false)
	if x := ct.Expectations(0); len(x) != 1 || x[0].DstPort != 1000 || x[0].Src != server || x[0].Helper != "tftp" {
		t.Errorf("%v", x)
	}
	expectState(t, ct, udp(server, client, 3000, 1000, "data"), 0, packet.TrackRelated, false)
	expectState(t, ct, udp(client, server, 1000, 3000, "ack"), 0, packet.TrackEstablished, true)
	expectState(t, ct, udp(server, client, 3001, 1000, "data"), 0, packet.TrackNew, false)
}
