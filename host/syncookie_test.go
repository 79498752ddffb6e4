package host_test

import (
	"net"
	"testing"
	"time"

	"github.com/towpath/towpath/firewall/hook"
	"github.com/towpath/towpath/host"
	"github.com/towpath/towpath/packet"
	tcpkg "github.com/towpath/towpath/tcp"
	"github.com/towpath/towpath/wire"
)

// TestSynCookies fills a listener's queue with one handshake and opens further
// connections from cookies, with every offer that a cookie keeps.
func TestSynCookies(t *testing.T) {
	full := wire.TCPOptions{HasMSS: true, MSS: 1400, SACKPermitted: true, HasWScale: true, WScale: 5, HasTS: true, TSVal: 77}
	for _, c := range []struct {
		name  string
		offer wire.TCPOptions
		ecn   bool
		mss   [2]int // what goes into a segment, by family
		is    tcpkg.Info
	}{
		{name: "everything", offer: full, ecn: true, mss: [2]int{1388, 1388}, is: tcpkg.Info{Timestamps: true, SACK: true, ECN: true, SndWScale: 5}},
		{name: "no ecn", offer: full, mss: [2]int{1388, 1388}, is: tcpkg.Info{Timestamps: true, SACK: true, SndWScale: 5}},
		{name: "timestamps alone", offer: wire.TCPOptions{HasTS: true, TSVal: 9}, mss: [2]int{524, 1208}, is: tcpkg.Info{Timestamps: true}},
		{name: "shift 0", offer: wire.TCPOptions{HasMSS: true, MSS: 1460, HasWScale: true, HasTS: true}, mss: [2]int{1448, 1428}, is: tcpkg.Info{Timestamps: true}},
		{name: "no timestamps", offer: wire.TCPOptions{HasMSS: true, MSS: 1399, SACKPermitted: true, HasWScale: true, WScale: 7}, mss: [2]int{1300, 1300}},
		{name: "nothing", mss: [2]int{536, 1220}},
		{name: "tiny", offer: wire.TCPOptions{HasMSS: true, MSS: 40}, mss: [2]int{88, 88}},
	} {
		for i, family := range []string{" over IPv4", " over IPv6"} {
			t.Run(c.name+family, func(t *testing.T) {
				six := i == 1
				r := cookieHost(t)
				l := listenAt(t, r, ":80")
				syn := wire.TCPFields{SrcPort: 5000, DstPort: 80, Seq: 100, Flags: wire.TCPSyn, Window: 60000}
				if c.ecn {
					syn.Flags |= wire.TCPEce | wire.TCPCwr
				}
				ans, o := r.exchange(six, syn, &c.offer)
				if ans == nil || ans.Flags()&(wire.TCPSyn|wire.TCPAck) != wire.TCPSyn|wire.TCPAck || ans.Ack() != 101 {
					t.Fatalf("answer %v", ans)
				}
				if st := r.host.Stats(); st.SynCookiesSent != 1 || st.TCPConnections != 1 {
					t.Fatalf("%d cookies, %d connections", st.SynCookiesSent, st.TCPConnections)
				}
				if o.HasTS != c.is.Timestamps || o.SACKPermitted != c.is.SACK || o.HasWScale && !c.offer.HasWScale {
					t.Errorf("answered with %+v", o)
				}
				ack := wire.TCPFields{SrcPort: 5000, DstPort: 80, Seq: 101, Ack: ans.Seq() + 1, Flags: wire.TCPAck | wire.TCPPsh, Window: 60000}
				back := wire.TCPOptions{HasTS: o.HasTS, TSVal: c.offer.TSVal + 5, TSEcr: o.TSVal}
				r.sendTCP(six, ack, &back, []byte("hello"))
				conn := accept(t, l)
				defer conn.Close()
				var buf [16]byte
				n, err := conn.Read(buf[:])
				if err != nil || string(buf[:n]) != "hello" {
					t.Fatalf("read %q, %v", buf[:n], err)
				}
				in := conn.(*host.TCPConn).Info()
				if in.State != tcpkg.StateEstablished || in.Timestamps != c.is.Timestamps || in.SACK != c.is.SACK || in.ECN != c.is.ECN || in.SndWScale != c.is.SndWScale || in.SndMSS != c.mss[i] {
					t.Errorf("connection %+v, want %v", in, c.mss[i])
				}
			})
		}
	}
}

// TestSynCookieRefused: what is not a cookie of ours, or one too old, is
// answered with a reset; a rule and a full queue apply to cookies too.
func TestSynCookieRefused(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(t *testing.T, r *raw, ack *wire.TCPFields)
		reset  bool
		reason packet.Reason
	}{
		{"wrong hash", func(t *testing.T, r *raw, ack *wire.TCPFields) { ack.Ack ^= 1 << 7 }, true, packet.ReasonTCPListen},
		{"wrong size", func(t *testing.T, r *raw, ack *wire.TCPFields) { ack.Ack ^= 1 << 24 }, true, packet.ReasonTCPListen},
		{"wrong minute", func(t *testing.T, r *raw, ack *wire.TCPFields) { ack.Ack -= 1 << 27 }, true, packet.ReasonTCPListen},
		{"wrong sequence", func(t *testing.T, r *raw, ack *wire.TCPFields) { ack.Seq++ }, true, packet.ReasonTCPListen},
		{"wrong port", func(t *testing.T, r *raw, ack *wire.TCPFields) { ack.SrcPort++ }, true, packet.ReasonTCPListen},
		{"a reset", func(t *testing.T, r *raw, ack *wire.TCPFields) { ack.Flags |= wire.TCPRst }, false, packet.ReasonTCPListen},
		{"full", func(t *testing.T, r *raw, ack *wire.TCPFields) {
			s := r.host.Settings()
			s.SynBacklog = 100
			must(t, r.host.SetSettings(s))
			for i := range uint16(3) {
				r.handshake(6000+i, 80)
			}
		}, false, packet.ReasonTCPBacklog},
		{"options", func(t *testing.T, r *raw, ack *wire.TCPFields) {
			r.send(badOptions(*ack))
			ack.Flags |= wire.TCPRst
		}, false, packet.ReasonTCPCookieAck},
		{"rule", func(t *testing.T, r *raw, ack *wire.TCPFields) {
			must(t, r.host.AddSocketJudge(hook.FlowIn, 0, socketJudge{}))
		}, false, packet.ReasonSocketRule},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := cookieHost(t)
			s := r.host.Settings()
			s.Somaxconn = 2
			must(t, r.host.SetSettings(s))
			listenAt(t, r, ":80")
			ans, _ := r.exchange(false, wire.TCPFields{SrcPort: 5000, DstPort: 80, Seq: 100, Flags: wire.TCPSyn, Window: 60000}, nil)
			ack := wire.TCPFields{SrcPort: 5000, DstPort: 80, Seq: 101, Ack: ans.Seq() + 1, Flags: wire.TCPAck, Window: 60000}
			before := r.host.Drops()[c.reason]
			c.change(t, r, &ack)
			ans, _ = r.exchange(false, ack, nil)
			if got := ans != nil && ans.Flags().Has(wire.TCPRst); got != c.reset {
				t.Errorf("answer %v", ans)
			}
			if n := r.host.Drops()[c.reason] - before; n != 1 {
				t.Errorf("%d drops for: %v", n, c.reason)
			}
			if n := r.host.Stats().SynCookiesReceived; n != 0 {
				t.Errorf("%d cookies taken", n)
			}
		})
	}
}

// badOptions is a segment whose options end in the middle of one; the checksum
// is right.
func badOptions(f wire.TCPFields) []byte {
	return edit(eth4(wire.IPv4Fields{}, func(b *wire.Builder) { b.PushTCP(f, &wire.TCPOptions{HasMSS: true, MSS: 1460}) }), func(b []byte) {
		at := wire.EthernetLen + wire.IPv4Len + wire.TCPLen
		b[at+1]++
		b[at+3]--
	})
}

// cookieHost is a raw host that knows its neighbour's station address, and
// whose listeners keep one handshake.
func cookieHost(t *testing.T) *raw {
	t.Helper()
	return cookieHostWith(t, host.Settings{SynBacklog: 1})
}

// cookieHostWith is a raw host that knows its neighbour's station address.
func cookieHostWith(t *testing.T, set host.Settings) *raw {
	t.Helper()
	r := rawHost(t, host.Config{Settings: set})
	r.meet()
	return r
}

// listenAt listens, and fills the listener's queue of handshakes.
func listenAt(t *testing.T, r *raw, addr string) net.Listener {
	t.Helper()
	l, err := r.host.Listen("tcp", addr)
	must(t, err)
	t.Cleanup(func() { l.Close() })
	r.send(eth4(wire.IPv4Fields{}, tcp(wire.TCPFields{SrcPort: 4999, DstPort: 80, Flags: wire.TCPSyn, Window: 1000})))
	r.take()
	return l
}

func accept(t *testing.T, l net.Listener) net.Conn {
	t.Helper()
	l.(*host.TCPListener).SetDeadline(time.Now().Add(5 * time.Second))
	c, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// sendTCP sends a segment by either family.
func (r *raw) sendTCP(six bool, f wire.TCPFields, o *wire.TCPOptions, data []byte) {
	build := func(b *wire.Builder) { b.Payload(data).PushTCP(f, o) }
	if six {
		r.send(eth6(wire.IPv6Fields{}, build))
	} else {
		r.send(eth4(wire.IPv4Fields{}, build))
	}
}

// exchange sends a segment and returns what TCP answers, nil if it does not.
func (r *raw) exchange(six bool, f wire.TCPFields, o *wire.TCPOptions) (ans wire.TCP, opts wire.TCPOptions) {
	r.t.Helper()
	return r.exchangeData(six, f, o, nil)
}

// exchangeData is exchange with data in the segment.
func (r *raw) exchangeData(six bool, f wire.TCPFields, o *wire.TCPOptions, data []byte) (ans wire.TCP, opts wire.TCPOptions) {
	r.t.Helper()
	r.take()
	r.sendTCP(six, f, o, data)
	for _, b := range r.answer() {
		switch wire.Ethernet(b).Type() {
		case wire.EtherTypeIPv4:
			ans = wire.TCP(wire.IPv4(b[14:]).Payload())
		case wire.EtherTypeIPv6:
			if ip := wire.IPv6(b[14:]); ip.NextHeader() == wire.ProtoTCP {
				ans = wire.TCP(ip.Payload())
			}
		}
	}
	if ans != nil && !opts.Parse(ans.Options()) {
		r.t.Fatalf("malformed options in % x", ans)
	}
	return ans, opts
}
