package host_test

import (
	"bytes"
	"flag"
	"math/rand/v2"
	"net/netip"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/towpath/towpath/clock"
	"github.com/towpath/towpath/host"
	"github.com/towpath/towpath/ip/route"
	"github.com/towpath/towpath/link/cable"
	"github.com/towpath/towpath/packet"
	tcpcore "github.com/towpath/towpath/tcp"
	"github.com/towpath/towpath/wire"
)

var (
	floodRate = flag.Int("flood.rate", 0, "SYNs a second in TestTransferUnderFlood; 0: as many as it can")
	floodSYNs = flag.Int("flood.syns", 20_000, "SYNs in TestTransferUnderFlood")
)

// TestTransferUnderFlood has 100 connections transfer while SYNs from addresses
// where nobody is come to the port of their listener: none of them breaks, new
// ones are served, and memory stays flat.
//
//	go test ./host -run TestTransferUnderFlood -v -flood.rate 100000 -flood.syns 1000000
func TestTransferUnderFlood(t *testing.T) {
	r := rawHost(t, host.Config{})
	must(t, r.host.AddRoute(route.Route{Dst: pfx("0.0.0.0/0"), Via: them4}))
	r.meet()
	friend := host.New(host.Config{Name: "friend"})
	t.Cleanup(func() { friend.Close(t.Context()) })
	ours, theirs := cable.New(cable.Config{})
	_, err := r.host.AddAdapter("eth1", ours)
	must(t, err)
	must(t, r.host.AddAddress("eth1", pfx("10.5.0.1/24")))
	_, err = friend.AddAdapter("eth0", theirs)
	must(t, err)
	must(t, friend.AddAddress("eth0", pfx("10.5.0.2/24")))

	l, err := r.host.Listen("tcp", ":80")
	must(t, err)
	defer l.Close()
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer c.Close()
				c.(*host.TCPConn).WriteTo(c) // back to who sent it
			})
		}
	})
	const conns = 100
	over := make(chan struct{})
	var moved [conns]int64
	var clients sync.WaitGroup
	talk := func(i int) {
		c, err := friend.DialContext(t.Context(), "tcp", "10.5.0.1:80")
		if err != nil {
			t.Errorf("connection %d: %v", i, err)
			return
		}
		defer c.Close()
		out, in := make([]byte, 16<<10), make([]byte, 16<<10)
		src := newNoise(byte(i))
		for done := false; !done; {
			select {
			case <-over:
				done = true // one more round
			default:
			}
			src.Read(out)
			c.SetDeadline(time.Now().Add(time.Minute))
			if _, err := c.Write(out); err != nil {
				t.Errorf("connection %d, after %d bytes: %v", i, moved[i], err)
				return
			}
			for n := 0; n < len(in); {
				k, err := c.Read(in[n:])
				if err != nil {
					t.Errorf("connection %d, after %d bytes: %v", i, moved[i], err)
					return
				}
				n += k
			}
			if !bytes.Equal(in, out) {
				t.Errorf("connection %d, after %d bytes: other bytes came back", i, moved[i])
				return
			}
			moved[i] += int64(len(in))
		}
	}
	for i := range conns {
		clients.Go(func() { talk(i) })
	}
	time.Sleep(20 * time.Millisecond)
	syns := *floodSYNs
	if raceEnabled {
		syns /= 5
	}
	flood := func(from, to int) {
		begin := time.Now()
		for i := from; i < to; i++ {
			src := netip.AddrFrom4([4]byte{198, 18, byte(i >> 8), byte(i)})
			r.send(eth4(wire.IPv4Fields{Src: src}, tcpSeg(wire.TCPFields{SrcPort: uint16(i >> 16), DstPort: 80, Seq: uint32(i), Flags: wire.TCPSyn, Window: 9})))
			if i%256 == 0 {
				r.meet() // however long it takes, the way back is known
				r.take()
				if *floodRate > 0 {
					time.Sleep(time.Until(begin.Add(time.Duration(i-from) * time.Second / time.Duration(*floodRate))))
				}
			}
		}
		r.take()
	}
	begin := time.Now()
	flood(0, syns/4)
	before := heapInUse()
	flood(syns/4, syns)
	after := heapInUse()
	took := time.Since(begin)
	clients.Go(func() { talk(0) }) // a new one
	close(over)
	clients.Wait()
	l.Close()
	if after > before+16<<20 {
		t.Errorf("heap grew from %d to %d KiB", before>>10, after>>10)
	}
	least, all := moved[0], int64(0)
	for _, n := range moved {
		least, all = min(least, n), all+n
	}
	if least == 0 {
		t.Error("a connection moved nothing")
	}
	st := r.host.Stats()
	if dealt := st.SynCookiesSent + r.host.Drops()[packet.ReasonTCPBacklog] + uint64(r.host.Settings().SynBacklog); dealt < uint64(syns) {
		t.Errorf("of %d SYNs %d are accounted for", syns, dealt)
	}
	t.Logf("%d SYNs in %v (%.0f a second); %d connections moved %d KiB each way, at least %d KiB; heap %d then %d KiB; %d cookies",
		syns, took.Round(time.Millisecond), float64(syns)/took.Seconds(), conns, all>>10, least>>10, before>>10, after>>10, st.SynCookiesSent)
}

// tcpSeg is a segment as the tests of this file write it.
func tcpSeg(f wire.TCPFields) func(b *wire.Builder) { return tcp4(f, nil, nil) }

func tcp4(f wire.TCPFields, o *wire.TCPOptions, payload []byte) func(b *wire.Builder) {
	return func(b *wire.Builder) { b.Payload(payload).PushTCP(f, o) }
}

// An opponent is the other end of a connection, who does as it likes. The
// host's clock stands still unless moved, so that nothing happens by itself.
type opponent struct {
	*raw
	clock *clock.Virtual
	l, s  *host.Socket // the listener; the connection at the host
	isn   uint32       // of the host
	port  uint16
}

func oppose(t *testing.T, o *wire.TCPOptions) *opponent {
	t.Helper()
	c := clock.NewVirtual(time.Unix(0, 0))
	p := &opponent{raw: rawHost(t, host.Config{Clock: c, Seed: 1, Settings: host.Settings{NoAutoconf: true}}), clock: c, port: 4000}
	p.meet()
	p.take()
	p.l = newSocket(t, p.host, host.AFInet, host.SockStream, nil)
	mustE(t, p.l.Bind(netip.AddrPortFrom(us4, 80)))
	mustE(t, p.l.Listen(64))
	p.s = p.open(p.port, o)
	return p
}

// open makes a connection from a port, which the host has accepted.
func (p *opponent) open(port uint16, o *wire.TCPOptions) *host.Socket {
	p.t.Helper()
	p.send(eth4(wire.IPv4Fields{}, tcp4(wire.TCPFields{SrcPort: port, DstPort: 80, Flags: wire.TCPSyn, Window: 65535}, o, nil)))
	got := p.segments()
	if len(got) != 1 {
		p.t.Fatalf("%d answers to a SYN", len(got))
	}
	p.isn, p.port = got[0].Seq(), port
	p.segment(wire.TCPAck, 1, 1, nil, nil)
	s, e := p.l.Accept()
	if e != 0 {
		p.t.Fatal(e)
	}
	p.t.Cleanup(func() { s.Close() })
	return s
}

// segment sends a segment, by numbers that count from 0 at each side's SYN.
func (p *opponent) segment(flags wire.TCPFlags, seq, ack uint32, o *wire.TCPOptions, payload []byte) {
	f := wire.TCPFields{SrcPort: p.port, DstPort: 80, Flags: flags, Seq: seq, Ack: p.isn + ack, Window: 65535}
	p.send(eth4(wire.IPv4Fields{}, tcp4(f, o, payload)))
}

// segments returns what the host has sent on TCP.
func (p *opponent) segments() (got []wire.TCP) {
	for _, f := range p.take() {
		if wire.Ethernet(f).Type() == wire.EtherTypeIPv4 && wire.IPv4(f[14:]).Proto() == wire.ProtoTCP {
			got = append(got, wire.TCP(wire.IPv4(f[14:]).Payload()))
		}
	}
	return got
}

// write has the host send n bytes.
func (p *opponent) write(n int) {
	p.t.Helper()
	if k, e := p.s.Send(make([]byte, n), 0, netip.AddrPort{}, nil); e != 0 || k != n {
		p.t.Fatalf("wrote %d of %d bytes: %v", k, n, e)
	}
}

func (p *opponent) info() tcpcore.Info {
	i, e := p.s.Info()
	if e != 0 {
		p.t.Fatal(e)
	}
	return i
}

// others are served all the same: a new connection gets its bytes through.
func (p *opponent) others() {
	p.t.Helper()
	p.take()
	s := p.open(9, nil)
	p.segment(wire.TCPAck|wire.TCPPsh, 1, 1, nil, []byte("are you there"))
	b := make([]byte, 99)
	n, _, e := s.Recv(b, 0)
	if e != 0 || string(b[:n]) != "are you there" {
		p.t.Errorf("another connection: %q %v", b[:n], e)
	}
	if n, e := s.Send([]byte("yes"), 0, netip.AddrPort{}, nil); n != 3 || e != 0 {
		p.t.Errorf("another connection: %d %v", n, e)
	}
	for _, g := range p.segments() {
		if string(g.Payload()) == "yes" {
			return
		}
	}
	p.t.Error("another connection gets no answer")
}

// flat fails if do leaves more memory in use than bytes.
func (p *opponent) flat(bytes uint64, do func()) {
	p.t.Helper()
	before := heapInUse()
	do()
	p.take()
	if after := heapInUse(); after > before+bytes {
		p.t.Errorf("heap grew from %d to %d KiB", before>>10, after>>10)
	}
}

// TestSegmentBomb sends 100,000 bytes, each in a segment of its own and with a
// gap before the next: what is kept of them is bounded and counted, and the
// stream goes on when the gaps are filled.
func TestSegmentBomb(t *testing.T) {
	p := oppose(t, &wire.TCPOptions{HasMSS: true, MSS: 1460, SACKPermitted: true, HasWScale: true, WScale: 7})
	p.flat(16<<20, func() {
		for i := range uint32(100_000) {
			p.segment(wire.TCPAck, 3+2*i, 1, nil, []byte{byte(i)})
			if i%1024 == 0 {
				p.take()
			}
		}
	})
	used := p.host.Stats().MemoryUsed
	if used > 12<<20 {
		t.Errorf("%d bytes are kept", used)
	}
	if d := p.host.Drops(); d[packet.ReasonTCPBuffer]+d[packet.ReasonTCPWindow]+d[packet.ReasonTCPPruned] == 0 {
		t.Error("nothing was refused")
	}
	t.Logf("%d KiB kept; %v", used>>10, reasons(p.host))
	p.segment(wire.TCPAck, 1, 1, nil, make([]byte, 1000))
	b := make([]byte, 2000)
	if n, _, e := p.s.Recv(b, 0); e != 0 || n < 1000 {
		t.Errorf("after the gap: %d bytes, %v", n, e)
	}
	p.others()
}

// reasons are the drops of a host that there were any of.
func reasons(h *host.Host) map[string]uint64 {
	m := make(map[string]uint64)
	for r, n := range h.Drops() {
		if n > 0 {
			m[packet.Reason(r).String()] = n
		}
	}
	return m
}

// TestAckSplitting acknowledges a flight byte by byte: the window grows by the
// bytes, not by the acknowledgments (RFC 3465, RFC 5681 §3.1).
func TestAckSplitting(t *testing.T) {
	p := oppose(t, &wire.TCPOptions{HasMSS: true, MSS: 1000})
	p.write(100_000)
	p.segments()
	was := p.info().Cwnd
	for i := range uint32(5000) {
		p.segment(wire.TCPAck, 1, 2+i, nil, nil)
	}
	p.segments()
	if now := p.info().Cwnd; now > was+5000+1000 {
		t.Errorf("the window grew from %d to %d bytes by 5000 that were acknowledged", was, now)
	}
	p.others()
}

// TestOptimisticAcks acknowledges what has not been sent (RFC 9293 §3.10.7.4):
// nothing comes of it but few answers, and the stream goes on.
func TestOptimisticAcks(t *testing.T) {
	p := oppose(t, &wire.TCPOptions{HasMSS: true, MSS: 1000})
	p.write(50_000)
	p.segments()
	was := p.info()
	for i := range uint32(10_000) {
		p.segment(wire.TCPAck, 1, 60_000+i*100, nil, nil)
	}
	if n := len(p.segments()); n > 200 {
		t.Errorf("%d answers", n)
	}
	if n := p.host.Drops()[packet.ReasonTCPAckUnsent]; n != 10_000 {
		t.Errorf("%d of 10000 were refused", n)
	}
	if now := p.info(); now.Unacked != was.Unacked || now.Cwnd != was.Cwnd {
		t.Errorf("%d bytes in flight, window %d; before %d and %d", now.Unacked, now.Cwnd, was.Unacked, was.Cwnd)
	}
	p.segment(wire.TCPAck, 1, 10_001, nil, nil)
	if len(p.segments()) == 0 {
		t.Error("the stream does not go on")
	}
	p.others()
}

// TestSACKPatterns sends 50,000 acknowledgments with blocks in every order,
// overlapping, beyond what was sent, and taken back: what is sent in answer is
// bounded, and the stream goes on.
func TestSACKPatterns(t *testing.T) {
	p := oppose(t, &wire.TCPOptions{HasMSS: true, MSS: 48, SACKPermitted: true})
	p.write(100_000)
	p.segments()
	rnd := rand.New(rand.NewPCG(7, 7))
	flight := uint32(p.info().Unacked)
	if flight == 0 {
		t.Fatal("nothing is in flight")
	}
	sent := 0
	p.flat(16<<20, func() {
		for i := range 50_000 {
			var o wire.TCPOptions
			for o.NSACK = range 4 {
				left := p.isn + 1 + rnd.Uint32N(flight)
				o.SACK[o.NSACK] = wire.SACKBlock{Left: left, Right: left + rnd.Uint32N(200)}
				if i%7 == 0 { // nonsense
					o.SACK[o.NSACK] = wire.SACKBlock{Left: rnd.Uint32(), Right: rnd.Uint32()}
				}
			}
			p.segment(wire.TCPAck, 1, 1, &o, nil)
			if i%256 == 0 {
				sent += len(p.segments())
			}
		}
	})
	if most := 100_000/48 + 50_000; sent > most {
		t.Errorf("%d segments were sent in answer", sent)
	}
	i := p.info()
	t.Logf("%d segments in answer, %d sent again; window %d", sent, i.Retrans, i.Cwnd)
	p.segment(wire.TCPAck, 1, 1+flight, nil, nil)
	p.clock.Advance(time.Second)
	if len(p.segments()) == 0 {
		t.Error("the stream does not go on")
	}
	p.others()
}

// TestTinyWindows offers a window of one byte, again and again, as the host
// sends 64 KiB: it does not send a segment for each (RFC 9293 §3.8.6.2.1).
func TestTinyWindows(t *testing.T) {
	p := oppose(t, &wire.TCPOptions{HasMSS: true, MSS: 1000})
	p.write(64 << 10)
	acked := uint32(1)
	for _, g := range p.segments() {
		acked = max(acked, g.Seq()+uint32(len(g.Payload()))-p.isn)
	}
	f := wire.TCPFields{SrcPort: p.port, DstPort: 80, Flags: wire.TCPAck, Seq: 1, Ack: p.isn + acked, Window: 0}
	sent := 0
	for i := range 10_000 {
		f.Window = uint16(i % 2)
		p.send(eth4(wire.IPv4Fields{}, tcpSeg(f)))
		sent += len(p.segments())
	}
	if sent > 10 {
		t.Errorf("%d segments into windows of a byte", sent)
	}
	p.others()
}

// TestConnectionFlood completes 20,000 handshakes with a listener that nobody
// accepts from: its backlog bounds what they cost, and the rest is counted.
func TestConnectionFlood(t *testing.T) {
	p := oppose(t, nil)
	l := newSocket(t, p.host, host.AFInet, host.SockStream, nil)
	mustE(t, l.Bind(netip.AddrPortFrom(us4, 81)))
	mustE(t, l.Listen(100))
	p.flat(8<<20, func() {
		for i := range 20_000 {
			f := wire.TCPFields{SrcPort: uint16(10_000 + i), DstPort: 81, Flags: wire.TCPSyn, Window: 9}
			p.send(eth4(wire.IPv4Fields{}, tcpSeg(f)))
			for _, g := range p.segments() {
				f.Seq, f.Ack, f.Flags = 1, g.Seq()+1, wire.TCPAck
				p.send(eth4(wire.IPv4Fields{}, tcpSeg(f)))
			}
		}
	})
	if n := p.host.Stats().TCPConnections; n > 110 {
		t.Errorf("%d connections", n)
	}
	if n := p.host.Drops()[packet.ReasonTCPBacklog]; n < 19_000 {
		t.Errorf("%d of 20000 were refused", n)
	}
	p.others()
}

// TestSlowReaders has peers that open a connection, ask for much and read
// nothing, until the host's budget is used up: it stays within it, refuses more
// of them, and serves others as soon as they are gone.
func TestSlowReaders(t *testing.T) {
	p := oppose(t, nil)
	set := p.host.Settings()
	set.MemoryMax = 16 << 20
	must(t, p.host.SetSettings(set))
	opened := make(map[uint16]bool)
	cost := int64(0) // of a connection that has sent nothing
	for port := uint16(20_000); p.host.Stats().MemoryUsed+cost <= set.MemoryMax; port++ {
		before := p.host.Stats().MemoryUsed
		s := p.open(port, &wire.TCPOptions{HasMSS: true, MSS: 1000})
		if cost == 0 {
			cost = p.host.Stats().MemoryUsed - before
		}
		opened[port] = true
		p.send(eth4(wire.IPv4Fields{}, tcpSeg(wire.TCPFields{SrcPort: port, DstPort: 80, Flags: wire.TCPAck, Seq: 1, Ack: p.isn + 1, Window: 0})))
		for {
			n, e := s.Send(make([]byte, 64<<10), 0, netip.AddrPort{}, nil)
			if e == syscall.EAGAIN || n == 0 {
				break
			}
			if e != 0 {
				t.Fatal(e)
			}
		}
		p.take()
		if len(opened) == 1000 {
			t.Fatalf("1000 of them use %d bytes of %d", p.host.Stats().MemoryUsed, set.MemoryMax)
		}
	}
	if used := p.host.Stats().MemoryUsed; used > set.MemoryMax+1<<20 {
		t.Errorf("%d bytes used of %d", used, set.MemoryMax)
	}
	p.send(eth4(wire.IPv4Fields{}, tcpSeg(wire.TCPFields{SrcPort: 8, DstPort: 80, Flags: wire.TCPSyn, Window: 9})))
	if n := p.host.Drops()[packet.ReasonTCPSynMemory]; n != 1 || len(p.segments()) != 0 {
		t.Errorf("%d refused for want of memory, want 1", n)
	}
	for port := range opened {
		p.send(eth4(wire.IPv4Fields{}, tcpSeg(wire.TCPFields{SrcPort: port, DstPort: 80, Flags: wire.TCPRst, Seq: 1})))
	}
	p.others()
}

// TestICMPStorm sends 100,000 errors about packets that were never sent, or
// about a connection with other numbers, and as many requests for errors: they
// are counted, answers are limited, and the connection goes on.
func TestICMPStorm(t *testing.T) {
	p := oppose(t, &wire.TCPOptions{HasMSS: true, MSS: 1000})
	p.write(2000)
	p.segments()
	rnd := rand.New(rand.NewPCG(3, 3))
	answers := 0
	p.flat(8<<20, func() {
		for i := range 50_000 {
			quote := new(wire.Builder).PushTCP(wire.TCPFields{SrcPort: 80, DstPort: p.port, Seq: p.isn + 100_000 + rnd.Uint32N(1<<31), Flags: wire.TCPAck}, nil).
				PushIPv4(wire.IPv4Fields{TTL: 1, Src: us4, Dst: them4}).Bytes()
			code := uint8(i % 16)
			p.send(eth4(wire.IPv4Fields{}, func(b *wire.Builder) { b.Payload(quote).PushICMPv4(wire.ICMPv4Unreachable, code, 600) }),
				eth4(wire.IPv4Fields{}, udp(uint16(i), 9999, "nobody listens")))
			if i%512 == 0 {
				answers += len(p.take())
			}
		}
		answers += len(p.take())
	})
	if answers > 200 {
		t.Errorf("%d answers while the clock stood still", answers)
	}
	if n := p.host.Drops()[packet.ReasonICMPNoSocket]; n != 50_000 {
		t.Errorf("%d of 50000 errors were about nothing", n)
	}
	if i := p.info(); i.State != tcpcore.StateEstablished || i.SndMSS != 1000 {
		t.Errorf("the connection: %v, segments of %d bytes", i.State, i.SndMSS)
	}
	p.segment(wire.TCPAck, 1, 2001, nil, nil)
	if n := p.info().Unacked; n != 0 {
		t.Errorf("%d bytes unacknowledged", n)
	}
	p.others()
}
