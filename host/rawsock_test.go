package host_test

import (
	"net/netip"
	"syscall"
	"testing"

	"github.com/towpath/towpath/host"
	"github.com/towpath/towpath/packet"
	"github.com/towpath/towpath/wire"
)

// rawSocket opens a raw socket on the host.
func rawSocket(t *testing.T, r *raw, family, proto int, change func(o *host.SocketOptions)) *host.Socket {
	t.Helper()
	s, e := r.host.Socket(family, host.SockRaw, proto)
	if e != 0 {
		t.Fatal(e)
	}
	if change != nil {
		mustE(t, s.SetOptions(func(o *host.SocketOptions) syscall.Errno { change(o); return 0 }))
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func mustE(t *testing.T, e syscall.Errno) {
	t.Helper()
	if e != 0 {
		t.Fatal(e)
	}
}

// TestRawDrops reaches the drops of copies for raw sockets. The packets
// themselves go where they would have gone.
func TestRawDrops(t *testing.T) {
	const proto = 253
	r := rawHost(t, host.Config{})
	full := rawSocket(t, r, host.AFInet, proto, func(o *host.SocketOptions) { o.RcvBuf = 1 })
	summed := rawSocket(t, r, host.AFInet6, proto, func(o *host.SocketOptions) { o.ChecksumAt = 0 })
	was := r.host.Drops()
	count := func(reason packet.Reason, want uint64) {
		t.Helper()
		if got := r.host.Drops()[reason] - was[reason]; got != want {
			t.Errorf("%v: %d dropped, want %d", reason, got, want)
		}
	}
	r.send(eth4(wire.IPv4Fields{Proto: proto}, func(b *wire.Builder) { b.Payload([]byte("no room")) }))
	count(packet.ReasonRawQueueFull, 1)
	r.send(eth6(wire.IPv6Fields{NextHeader: proto}, func(b *wire.Builder) { b.Payload([]byte("no sum")) }))
	count(packet.ReasonRawChecksum, 1)
	count(packet.ReasonProtocol, 0)
	for _, s := range []*host.Socket{full, summed} {
		if _, _, e := s.Recv(make([]byte, 99), 0); e != syscall.EAGAIN {
			t.Errorf("a socket that got nothing says %v", e)
		}
	}
	rawSocket(t, r, host.AFInet, proto+1, nil)
	set := r.host.Settings()
	set.MemoryMax = 1
	must(t, r.host.SetSettings(set))
	r.send(eth4(wire.IPv4Fields{Proto: proto + 1}, func(b *wire.Builder) { b.Payload([]byte("too much")) }))
	count(packet.ReasonRawMemory, 1)
	r.send(eth4(wire.IPv4Fields{Proto: proto + 2}, func(b *wire.Builder) { b.Payload([]byte("nobody")) }))
	count(packet.ReasonProtocol, 1)
}

// TestRawTCP shows that a raw socket sees what another socket takes.
func TestRawTCP(t *testing.T) {
	r := rawHost(t, host.Config{})
	s := rawSocket(t, r, host.AFInet, int(wire.ProtoTCP), nil)
	u := rawSocket(t, r, host.AFInet, int(wire.ProtoUDP), nil)
	l, err := r.host.Listen("tcp", ":80")
	must(t, err)
	defer l.Close()
	r.handshake(1000, 80)
	b := make([]byte, 200)
	for i, flags := range []wire.TCPFlags{wire.TCPSyn, wire.TCPAck} {
		n, info, e := s.Recv(b, 0)
		if e != 0 {
			t.Fatal(i, e)
		}
		ip := wire.IPv4(b[:n])
		if f := wire.TCP(ip.Payload()).Flags(); f != flags || info.Peer != netip.AddrPortFrom(them4, 0) || info.Local != us4 {
			t.Errorf("segment %d: flags %v from %v to %v", i, f, info.Peer, info.Local)
		}
	}
	if _, _, e := u.Recv(b, 0); e != syscall.EAGAIN {
		t.Error("a socket of UDP heard of TCP:", e)
	}
}

// TestRawFragments shows that raw sockets get whole packets, and that large
// ones leave in pieces.
func TestRawFragments(t *testing.T) {
	const proto = 253
	r := rawHost(t, host.Config{})
	s := rawSocket(t, r, host.AFInet, proto, nil)
	for i := range 2 {
		f := wire.IPv4Fields{Proto: proto, ID: 7, FragOffset: i * 8, MF: i == 0}
		r.send(eth4(f, func(b *wire.Builder) { b.Payload([]byte("12345678")) }))
	}
	b := make([]byte, 200)
	n, _, e := s.Recv(b, 0)
	if e != 0 || n != 36 || wire.IPv4(b[:n]).TotalLen() != 36 || string(b[20:n]) != "1234567812345678" {
		t.Errorf("%q %v", b[:n], e)
	}
}

// keepFunc is a filter.
type keepFunc func(pkt []byte, x *host.FilterContext) uint32

func (f keepFunc) Keep(pkt []byte, x *host.FilterContext) uint32 { return f(pkt, x) }

// TestSocketFilter has filters refuse what raw and datagram sockets would get.
func TestSocketFilter(t *testing.T) {
	r := rawHost(t, host.Config{})
	s := rawSocket(t, r, host.AFInet, int(wire.ProtoUDP), nil)
	u, e := r.host.Socket(host.AFInet, host.SockDgram, 0)
	mustE(t, e)
	defer u.Close()
	mustE(t, u.Bind(netip.AddrPortFrom(us4, 9)))
	var sizes []int
	mustE(t, s.SetFilter(keepFunc(func(b []byte, x *host.FilterContext) uint32 { sizes = append(sizes, len(b)); return 0 })))
	mustE(t, u.SetFilter(keepFunc(func(b []byte, x *host.FilterContext) uint32 { sizes = append(sizes, len(b)); return 0 })))
	r.send(eth4(wire.IPv4Fields{}, udp(1, 9, "unwanted")))
	d := r.host.Drops()
	if d[packet.ReasonRawFilter] != 1 || d[packet.ReasonUDPFilter] != 1 {
		t.Errorf("%d copies and %d datagrams not wanted, want 1 each", d[packet.ReasonRawFilter], d[packet.ReasonUDPFilter])
	}
	if len(sizes) != 2 || sizes[0] != 36 || sizes[1] != 16 {
		t.Errorf("the filters saw %v bytes, want 36 and 16", sizes)
	}
	// What a filter cuts off is gone, but never a datagram's header; a large
	// packet is seen whole.
	mustE(t, u.SetFilter(keepFunc(func(b []byte, x *host.FilterContext) uint32 { return 2 })))
	mustE(t, s.SetFilter(keepFunc(func(b []byte, x *host.FilterContext) uint32 { return uint32(b[len(b)-1]) })))
	r.send(eth4(wire.IPv4Fields{}, udp(1, 9, string(make([]byte, 1000))+"!")))
	b := make([]byte, 2000)
	if n, info, e := u.Recv(b, 0); n != 0 || e != 0 || info.Peer.Port() != 1 {
		t.Error(n, info, e)
	}
	if n, _, e := s.Recv(b, 0); n != '!' || e != 0 {
		t.Error(n, e)
	}
	l, e := r.host.Socket(host.AFInet, host.SockStream, 0)
	mustE(t, e)
	defer l.Close()
	if e := l.SetFilter(nil); e != syscall.ENOPROTOOPT {
		t.Error("a stream's filter:", e)
	}
}

// TestPacketDrops reaches the drops of packet sockets.
func TestPacketDrops(t *testing.T) {
	r := rawHost(t, host.Config{})
	s, e := r.host.Socket(host.AFPacket, host.SockRaw, host.EtherTypeAll)
	mustE(t, e)
	frame := edit(eth4(wire.IPv4Fields{}, udp(1, 9, "x")), func(b []byte) { b[12] = 0x77 }) // nothing answers it
	count := func(reason packet.Reason, want uint64) {
		t.Helper()
		if got := r.host.Drops()[reason]; got != want {
			t.Errorf("%v: %d dropped, want %d", reason, got, want)
		}
	}
	r.send(frame)
	seen, lost, e := s.FrameStats()
	if seen < 1 || lost != 0 || e != 0 {
		t.Error(seen, lost, e)
	}
	mustE(t, s.SetOptions(func(o *host.SocketOptions) syscall.Errno { o.RcvBuf = 1; return 0 }))
	mustE(t, s.IgnoreOutgoing(true))
	r.send(frame)
	count(packet.ReasonPacketQueueFull, 1)
	if seen, lost, _ := s.FrameStats(); seen != 1 || lost != 1 {
		t.Errorf("%d seen, %d lost, want 1 each", seen, lost)
	}
	mustE(t, s.SetOptions(func(o *host.SocketOptions) syscall.Errno { o.RcvBuf = 1 << 20; return 0 }))
	set := r.host.Settings()
	set.MemoryMax = 1
	must(t, r.host.SetSettings(set))
	r.send(frame)
	count(packet.ReasonPacketMemory, 1)
	mustE(t, s.Close())
	if r.host.Drops()[packet.ReasonPacketClosed] == 0 {
		t.Error("a closed socket dropped nothing")
	}
	if used := r.host.Stats().MemoryUsed; used != 0 {
		t.Errorf("%d bytes still charged", used)
	}
	r.send(frame) // nobody listens any more
	count(packet.ReasonPacketMemory, 1)
}
