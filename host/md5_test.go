package host_test

import (
	"net/netip"
	"syscall"
	"testing"

	"github.com/towpath/towpath/host"
	"github.com/towpath/towpath/packet"
	tcpkg "github.com/towpath/towpath/tcp"
	"github.com/towpath/towpath/wire"
)

// signed is a segment from them to us with no option but a signature; without a
// key it has none.
func signed(f wire.TCPFields, key string) []byte {
	p := packet.Get()
	defer packet.Free(p)
	p.Data = p.Start()
	if key == "" {
		wire.PutTCP(p.Push(wire.TCPLen), &f, 0)
	} else {
		(&tcpkg.Signature{Local: them4, Remote: us4, Key: []byte(key)}).Push(p, &f)
	}
	seg := wire.TCP(p.Bytes())
	seg.SetChecksum(^wire.Fold(wire.Sum(seg, wire.PseudoSum(them4, us4, wire.ProtoTCP, len(seg)))))
	return new(wire.Builder).PushBytes(seg).PushIPv4(wire.IPv4Fields{TTL: 64, Src: them4, Dst: us4, Proto: wire.ProtoTCP}).PushEthernet(usMAC, themMAC).Bytes()
}

// signedBy reports whether a segment of ours has the signature by a key, or for
// an empty one none.
func signedBy(seg wire.TCP, key string) bool {
	p := packet.Get()
	defer packet.Free(p)
	p.AppendBytes(seg)
	p.Transport = p.Start()
	var g *tcpkg.Signature
	if key != "" {
		g = &tcpkg.Signature{Local: them4, Remote: us4, Key: []byte(key)}
	}
	return g.Check(p) == packet.NotDropped
}

// exchangeSigned sends a frame and returns what TCP answers.
func (r *raw) exchangeFrame(frame []byte) (ans wire.TCP) {
	r.take()
	r.send(frame)
	for _, b := range r.take() {
		if wire.Ethernet(b).Type() == wire.EtherTypeIPv4 {
			ans = wire.TCP(wire.IPv4(b[14:]).Payload())
		}
	}
	return ans
}

// TestMD5Listener opens connections to a listener with keys, by a kept
// handshake and by a cookie, and sends it what it must not answer.
func TestMD5Listener(t *testing.T) {
	r := cookieHost(t)
	s, e := r.host.Socket(host.AFInet, host.SockStream, 0)
	set := func(prefix, key string) syscall.Errno { return s.SetMD5Key(netip.MustParsePrefix(prefix), []byte(key)) }
	for _, got := range []syscall.Errno{
		e, s.Bind(netip.AddrPortFrom(us4, 179)), s.Listen(4),
		set("0.0.0.0/0", "anybody"), set("10.0.0.0/24", "network"), set("10.0.0.0/8", "wide"),
	} {
		if got != 0 {
			t.Fatal(got)
		}
	}
	defer s.Close()
	drops := func(reason packet.Reason, frame []byte) {
		t.Helper()
		before := r.host.Drops()[reason]
		if ans := r.exchangeFrame(frame); ans != nil {
			t.Errorf("%v: answered with %v", reason, ans.Flags())
		}
		if n := r.host.Drops()[reason] - before; n != 1 {
			t.Errorf("%v counted %d times", reason, n)
		}
	}
	for i, port := range []uint16{4001, 4002} { // the second gets a cookie
		syn := wire.TCPFields{SrcPort: port, DstPort: 179, Seq: 100, Flags: wire.TCPSyn, Window: 1000}
		drops(packet.ReasonTCPMD5Missing, signed(syn, ""))
		drops(packet.ReasonTCPMD5Wrong, signed(syn, "anybody"))
		ans := r.exchangeFrame(signed(syn, "network"))
		if ans == nil || ans.Flags() != wire.TCPSyn|wire.TCPAck || !signedBy(ans, "network") {
			t.Fatalf("answer %v", ans)
		}
		if n := r.host.Stats().SynCookiesSent; n != uint64(i) {
			t.Fatalf("%d cookies", n)
		}
		ack := wire.TCPFields{SrcPort: port, DstPort: 179, Seq: 101, Ack: ans.Seq() + 1, Flags: wire.TCPAck, Window: 1000}
		if i == 0 {
			defer func() { // completes when the cookie has been tried
				r.send(signed(ack, "network"))
				if c, e := s.Accept(); e != 0 {
					t.Error("accept", e)
				} else {
					c.Close()
				}
			}()
			continue
		}
		drops(packet.ReasonTCPMD5Missing, signed(ack, ""))
		r.send(signed(ack, "network"))
		c, e := s.Accept()
		if e != 0 {
			t.Fatal("accept", e)
		}
		if k := c.Options().MD5Keys; len(k) != 1 || k[0].Peers != netip.PrefixFrom(them4, 32) || string(k[0].Key) != "network" {
			t.Errorf("accepted with %v", k)
		}
		c.Close()
	}
	// What a listener refuses it refuses in its hand.
	stray := wire.TCPFields{SrcPort: 4003, DstPort: 179, Seq: 100, Ack: 7, Flags: wire.TCPAck, Window: 1000}
	drops(packet.ReasonTCPMD5Missing, signed(stray, ""))
	if ans := r.exchangeFrame(signed(stray, "network")); ans == nil || ans.Flags() != wire.TCPRst || !signedBy(ans, "network") {
		t.Errorf("refused with %v", ans)
	}
	// At a port where nobody is, by the listener at the port that the segment
	// has come from.
	stray.SrcPort, stray.DstPort = 179, 4004
	if ans := r.exchangeFrame(signed(stray, "")); ans == nil || !signedBy(ans, "") {
		t.Errorf("unsigned: %v", ans)
	}
	if ans := r.exchangeFrame(signed(stray, "network")); ans == nil || !signedBy(ans, "network") {
		t.Errorf("signed: %v", ans)
	}
	if ans := r.exchangeFrame(signed(stray, "wrong")); ans != nil {
		t.Errorf("wrong key: %v", ans)
	}
	stray.SrcPort = 180
	if ans := r.exchangeFrame(signed(stray, "network")); ans != nil {
		t.Errorf("no key known: %v", ans)
	}
}

// TestMD5Keys is about what a socket refuses.
func TestMD5Keys(t *testing.T) {
	h := rawHost(t, host.Config{}).host
	four, _ := h.Socket(host.AFInet, host.SockStream, 0)
	six, _ := h.Socket(host.AFInet6, host.SockStream, 0)
	udp, _ := h.Socket(host.AFInet, host.SockDgram, 0)
	for _, s := range []*host.Socket{four, six, udp} {
		defer s.Close()
	}
	key := []byte("key")
	for _, c := range []struct {
		s      *host.Socket
		prefix string
		key    []byte
		want   syscall.Errno
	}{
		{udp, "10.0.0.1/32", key, syscall.ENOPROTOOPT},
		{four, "fd00::/64", key, syscall.EINVAL},
		{four, "10.0.0.1/32", make([]byte, 81), syscall.EINVAL},
		{four, "10.0.0.1/32", nil, syscall.ENOENT},
		{four, "10.0.0.1/24", key, 0},
		{four, "10.0.0.9/24", nil, 0}, // the same prefix
		{six, "fd00::/64", key, 0},
		{six, "::ffff:10.0.0.0/104", key, 0},
		{six, "::ffff:10.0.0.0/90", key, syscall.EINVAL},
		{six, "10.0.0.0/8", nil, 0},
	} {
		if e := c.s.SetMD5Key(netip.MustParsePrefix(c.prefix), c.key); e != c.want {
			t.Errorf("%s with %q: %v, not %v", c.prefix, c.key, e, c.want)
		}
	}
	for i := range 257 {
		want := syscall.Errno(0)
		if i == 256 {
			want = syscall.ENOMEM
		}
		if e := four.SetMD5Key(netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 1, byte(i >> 8), byte(i)}), 32), key); e != want {
			t.Errorf("key %d: %v", i, e)
		}
	}
}
