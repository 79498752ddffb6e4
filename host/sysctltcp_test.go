package host_test

import (
	"bytes"
	"context"
	"io"
	"net/netip"
	"strconv"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/towpath/towpath/host"
	"github.com/towpath/towpath/link"
	"github.com/towpath/towpath/link/cable"
	"github.com/towpath/towpath/packet"
	"github.com/towpath/towpath/socket"
	tcpkg "github.com/towpath/towpath/tcp"
	"github.com/towpath/towpath/wire"
)

// TestSysctlTCP reads TCP's settings by Linux's names, with Linux's defaults,
// and writes them. What they do is in tcp/testdata/tuning.txt and mtu.txt.
func TestSysctlTCP(t *testing.T) {
	r := rawHost(t, host.Config{})
	for _, c := range []struct {
		name, was, set string
		bad            string // no value for it
	}{
		{"tcp_dsack", "1", "0", "x"},
		{"tcp_ecn_fallback", "1", "0", "x"},
		{"tcp_slow_start_after_idle", "1", "0", "x"},
		{"tcp_moderate_rcvbuf", "1", "0", "x"},
		{"tcp_reordering", "3", "5", "0"},
		{"tcp_max_reordering", "300", "9", "0"},
		{"tcp_recovery", "1", "7", "8"},
		{"tcp_early_retrans", "3", "0", "5"},
		{"tcp_retries1", "3", "1", "256"},
		{"tcp_min_snd_mss", "48", "500", "47"},
		{"tcp_mtu_probing", "0", "2", "3"},
		{"tcp_base_mss", "1024", "512", "0"},
		{"tcp_mtu_probe_floor", "48", "96", "47"},
		{"tcp_probe_threshold", "8", "16", "0"},
		{"tcp_probe_interval", "600", "10", "-1"},
		{"tcp_min_rtt_wlen", "300", "0", "-1"},
		{"tcp_invalid_ratelimit", "500", "0", "-1"},
		{"tcp_pacing_ss_ratio", "200", "300", "1001"},
		{"tcp_pacing_ca_ratio", "120", "100", "1001"},
		{"tcp_challenge_ack_limit", "2147483647", "100", "0"},
		{"tcp_syn_linear_timeouts", "0", "4", "128"},
		{"tcp_tw_reuse", "2", "0", "3"},
		{"tcp_notsent_lowat", "4294967295", "16384", "0"},
	} {
		name := "net.ipv4." + c.name
		if v, e := r.host.Sysctl(name); v != c.was || e != 0 {
			t.Errorf("%s = %q, %v, want %q", name, v, e, c.was)
		}
		if e := r.host.SetSysctl(name, c.bad); e != syscall.EINVAL {
			t.Errorf("%s = %s: %v", name, c.bad, e)
		}
		for _, set := range []string{c.set, c.was} {
			if e := r.host.SetSysctl(name, set); e != 0 {
				t.Errorf("%s = %s: %v", name, set, e)
			}
			if v, _ := r.host.Sysctl(name); v != set {
				t.Errorf("%s = %q after %q", name, v, set)
			}
		}
	}
}

// TestChallengeLimit: no more challenges go in a second than
// tcp_challenge_ack_limit says, more or less (RFC 5961 §10).
func TestChallengeLimit(t *testing.T) {
	const limit, conns = 10, 40
	r := cookieHostWith(t, host.Settings{TCPChallenges: limit})
	l, err := r.host.Listen("tcp", ":80")
	must(t, err)
	defer l.Close()
	for i := range conns {
		r.handshake(uint16(2000+i), 80)
	}
	r.take()
	for i := range conns {
		r.send(eth4(wire.IPv4Fields{}, tcp(wire.TCPFields{SrcPort: uint16(2000 + i), DstPort: 80, Seq: 1, Flags: wire.TCPSyn, Window: 1000})))
	}
	n := len(r.take())
	if n < limit/2 || n > 2*3*limit/2 { // a second may end meanwhile
		t.Errorf("%d challenges went, the limit is %d", n, limit)
	}
}

// TestTimeWaitReuse: whose addresses in TIME-WAIT connecting may take.
func TestTimeWaitReuse(t *testing.T) {
	for reuse, want := range map[int][2]syscall.Errno{
		host.TimeWaitReuseOff: {syscall.EADDRNOTAVAIL, syscall.EADDRNOTAVAIL},
		host.TimeWaitReuseOn:  {syscall.EINPROGRESS, syscall.EINPROGRESS},
		0:                     {syscall.EADDRNOTAVAIL, syscall.EINPROGRESS},
	} {
		synctest.Test(t, func(t *testing.T) {
			a, b := pair(t, cable.Config{})
			s := a.Settings()
			s.TCPTimeWaitReuse = reuse
			must(t, a.SetSettings(s))
			for i, at := range []struct {
				server   *host.Host
				from, to string
			}{{b, "10.0.0.1:1234", "10.0.0.2:80"}, {a, "127.0.0.1:1234", "127.0.0.1:80"}} {
				l, err := at.server.Listen("tcp", at.to)
				must(t, err)
				dial := func() (*host.Socket, syscall.Errno) {
					s, _ := a.Socket(host.AFInet, host.SockStream, 0)
					s.SetOptions(func(o *host.SocketOptions) syscall.Errno { o.ReuseAddr = true; return 0 })
					if e := s.Bind(netip.MustParseAddrPort(at.from)); e != 0 {
						t.Fatal(e)
					}
					return s, s.Connect(netip.MustParseAddrPort(at.to))
				}
				c, e := dial()
				if e != syscall.EINPROGRESS {
					t.Fatal(e)
				}
				theirs, err := l.Accept()
				must(t, err)
				time.Sleep(time.Second)
				c.Shutdown(1)
				time.Sleep(time.Second)
				theirs.Close()
				c.Close()
				time.Sleep(2 * time.Second)
				again, e := dial()
				if e != want[i] {
					t.Errorf("tw_reuse %d, %s: %v, want %v", reuse, at.to, e, want[i])
				}
				again.Close()
				l.Close()
			}
			time.Sleep(time.Minute)
			must(t, a.Close(context.Background()))
			must(t, b.Close(context.Background()))
		})
	}
}

// TestNotSentLowat: a socket is not ready for writing while more waits to be
// sent than tcp_notsent_lowat says.
func TestNotSentLowat(t *testing.T) {
	r := cookieHostWith(t, host.Settings{TCPNotSentLowat: 2000})
	s, _ := r.host.Socket(host.AFInet, host.SockStream, 0)
	defer s.Close()
	must4 := func(e syscall.Errno) {
		t.Helper()
		if e != 0 {
			t.Fatal(e)
		}
	}
	must4(s.Bind(netip.AddrPortFrom(us4, 80)))
	must4(s.Listen(1))
	r.handshake(2000, 80) // with a window of 1000 bytes
	c, e := s.Accept()
	must4(e)
	defer c.Close()
	for _, wrote := range []struct {
		n     int
		ready bool
	}{{2000, true}, {1500, false}} {
		if _, e := c.Send(make([]byte, wrote.n), 0, netip.AddrPort{}, nil); e != 0 {
			t.Fatal(e)
		}
		if ready := c.Ready()&socket.EventOut != 0; ready != wrote.ready {
			t.Errorf("after %d bytes: ready %v", wrote.n, ready)
		}
	}
}

// A hole is a router's link that drops packets of more than so many bytes, and
// says nothing.
type hole struct {
	at   *link.FilterModule
	most int
}

func (f *hole) Attach(at *link.FilterModule) error   { f.at = at; return nil }
func (f *hole) Receive(l *packet.List, w *link.Work) { f.at.Indicate(l, w) }
func (f *hole) Detach()                              {}

func (f *hole) Send(l *packet.List, w *link.Work) {
	var rest packet.List
	for p := l.Pop(); p != nil; p = l.Pop() {
		if p.LenFrom(p.Net) > f.most {
			packet.Free(p)
			continue
		}
		rest.Push(p)
	}
	f.at.Send(&rest, w)
}

// TestBlackHole: a stream gets over a router that drops large packets in
// silence, by tcp_mtu_probing 1 after a while and by 2 at once, and ends with
// segments nearly as large as the path takes.
func TestBlackHole(t *testing.T) {
	const most = 1300
	for _, mode := range []tcpkg.MTUProbing{tcpkg.MTUProbingBlackHole, tcpkg.MTUProbingOn} {
		for _, to := range []string{"10.0.1.2:80", "[fd00:0:0:1::2]:80"} {
			t.Run(strconv.Itoa(int(mode))+" "+to, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					hosts := line(t, 1, cable.Config{Plain: true})
					a, b := hosts[0], hosts[2]
					s := a.Settings()
					s.TCP.MTUProbing = mode
					must(t, a.SetSettings(s))
					_, err := hosts[1].Adapter("right").Attach(&hole{most: most})
					must(t, err)
					l, err := b.Listen("tcp", ":80")
					must(t, err)
					began := time.Now()
					c, err := a.Dial("tcp", to)
					must(t, err)
					theirs, err := l.Accept()
					must(t, err)
					data := bytes.Repeat([]byte("over the hole "), 1<<17)
					go c.Write(data)
					got := make([]byte, len(data))
					if _, err := io.ReadFull(theirs, got); err != nil || !bytes.Equal(got, data) {
						t.Error("the streams differ", err)
					}
					mss := c.(*host.TCPConn).Info().SndMSS
					hdr := wire.IPv4Len + wire.TCPLen + 12
					if to[0] == '[' {
						hdr = wire.IPv6Len + wire.TCPLen + 12
					}
					if mss > most-hdr || mss < most-hdr-16 {
						t.Errorf("segments of %d bytes, the path takes %d", mss, most-hdr)
					}
					t.Logf("%d bytes in %v, segments of %d bytes", len(data), time.Since(began), mss)
					c.Close()
					theirs.Close()
					l.Close()
					for _, h := range hosts {
						must(t, h.Close(context.Background()))
					}
				})
			})
		}
	}
}
