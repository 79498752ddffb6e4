package host_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/towpath/towpath/host"
	"github.com/towpath/towpath/link"
	"github.com/towpath/towpath/link/cable"
	"github.com/towpath/towpath/packet"
	"github.com/towpath/towpath/wire"
)

// fastKeys are the keys that the cookies here are made with.
var fastKeys = []host.FastOpenKey{host.FastOpenKey([]byte("0123456789abcdef")), host.FastOpenKey([]byte("fedcba9876543210"))}

// The cookies of 10.0.0.2 at 10.0.0.1 and of fd00::2 at fd00::1 with the first.
const (
	cookie4 = "\xba\x9c\x4f\x91\xcc\x4e\x45\x94"
	cookie6 = "\xaf\x0b\x35\xc1\x20\x04\xab\xc0"
)

// fastHost is a raw host whose listener on port 80 takes data of n SYNs.
func fastHost(t *testing.T, set host.Settings, n int) (*raw, *host.TCPListener) {
	t.Helper()
	set.SynBacklog = 100
	r := cookieHostWith(t, set)
	l, err := r.host.Listen("tcp", ":80")
	must(t, err)
	must(t, l.(*host.TCPListener).SetFastOpen(n))
	t.Cleanup(func() { l.Close() })
	return r, l.(*host.TCPListener)
}

// open sends a SYN with a cookie and data and returns the answer.
func (r *raw) open(six bool, port uint16, cookie []byte, data string) (wire.TCP, wire.TCPOptions) {
	r.t.Helper()
	o := &wire.TCPOptions{HasMSS: true, MSS: 1400, FastOpen: cookie, HasFastOpen: cookie != nil}
	return r.exchangeData(six, wire.TCPFields{SrcPort: port, DstPort: 80, Seq: 100, Flags: wire.TCPSyn, Window: 60000}, o, []byte(data))
}

// TestFastOpenCookies: who asks is given the cookie that the kernel of Linux
// 6.18 gives with these keys, and who has it may send data, also with the key
// that was in use before.
func TestFastOpenCookies(t *testing.T) {
	for i, want := range []string{cookie4, cookie6} {
		six := i == 1
		r, l := fastHost(t, host.Settings{TCPFastOpen: host.FastOpenServer, TCPFastOpenKeys: fastKeys[:1]}, 10)
		ans, o := r.open(six, 5000, []byte{}, "")
		if ans == nil || string(o.FastOpen) != want || ans.Ack() != 101 {
			t.Fatalf("asking: %v, cookie %x, want %x", ans, o.FastOpen, want)
		}
		if ans, o = r.open(six, 5001, []byte(want), "hello"); ans == nil || ans.Ack() != 106 || o.HasFastOpen {
			t.Errorf("with it: %v, %x", ans, o.FastOpen)
		}
		c := accept(t, l)
		b := make([]byte, 10)
		if n, err := c.Read(b); string(b[:n]) != "hello" {
			t.Errorf("read %q, %v", b[:n], err)
		}
		r.take()
		if _, err := c.Write([]byte("early")); err != nil || len(r.take()) != 1 {
			t.Errorf("answer before the handshake is complete: %v", err)
		}
		if ans, o = r.open(six, 5002, []byte(want[:7]+"x"), "hello"); ans == nil || ans.Ack() != 101 || string(o.FastOpen) != want {
			t.Errorf("with a wrong one: %v, %x", ans, o.FastOpen)
		}
		if ans, o = r.open(six, 5003, nil, "hello"); ans == nil || ans.Ack() != 101 || o.HasFastOpen {
			t.Errorf("without: %v, %x", ans, o.FastOpen)
		}
		if st := r.host.Stats(); st.FastOpenTaken != 1 || st.FastOpenRefused != 1 {
			t.Errorf("%d taken, %d refused", st.FastOpenTaken, st.FastOpenRefused)
		}

		set := r.host.Settings()
		set.TCPFastOpenKeys = []host.FastOpenKey{fastKeys[1], fastKeys[0]}
		must(t, r.host.SetSettings(set))
		ans, o = r.open(six, 5004, []byte(want), "hello")
		if ans == nil || ans.Ack() != 106 || len(o.FastOpen) != 8 || string(o.FastOpen) == want {
			t.Errorf("with an old one: %v, %x", ans, o.FastOpen)
		}
		if ans, o = r.open(six, 5005, o.FastOpen, "hello"); ans == nil || ans.Ack() != 106 || o.HasFastOpen {
			t.Errorf("with its successor: %v, %x", ans, o.FastOpen)
		}
	}
}

// TestFastOpenOff: neither the option nor data is looked at.
func TestFastOpenOff(t *testing.T) {
	for _, c := range []struct {
		name string
		bits int
		n    int
	}{{"no server", 0, 10}, {"off", -1, 10}, {"listener", host.FastOpenServer, 0}} {
		r, _ := fastHost(t, host.Settings{TCPFastOpen: c.bits, TCPFastOpenKeys: fastKeys[:1]}, c.n)
		if ans, o := r.open(false, 5000, []byte(cookie4), "hello"); ans == nil || ans.Ack() != 101 || o.HasFastOpen {
			t.Errorf("%s: %v, %x", c.name, ans, o.FastOpen)
		}
	}
}

// TestFastOpenQueue: connections whose handshake is not complete are bounded,
// and those that were reset count for a minute more (RFC 7413 §5.1).
func TestFastOpenQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, l := fastHost(t, host.Settings{TCPFastOpen: host.FastOpenServer, TCPFastOpenKeys: fastKeys[:1]}, 2)
		taken := func(port uint16) (seq uint32, ok bool) {
			ans, _ := r.open(false, port, []byte(cookie4), "hello")
			if ans == nil {
				t.Fatal("no answer")
			}
			return ans.Seq(), ans.Ack() == 106
		}
		first, ok1 := taken(5000)
		second, ok2 := taken(5001)
		_, ok3 := taken(5002)
		if !ok1 || !ok2 || ok3 || r.host.Stats().FastOpenOverflow != 1 {
			t.Fatalf("taken %v %v %v, %d too many", ok1, ok2, ok3, r.host.Stats().FastOpenOverflow)
		}
		// One completes its handshake and makes room.
		r.sendTCP(false, wire.TCPFields{SrcPort: 5000, DstPort: 80, Seq: 106, Ack: first + 1, Flags: wire.TCPAck, Window: 1000}, nil, nil)
		if _, ok := taken(5003); !ok {
			t.Error("no room after the handshake")
		}
		// One is reset and makes none.
		r.sendTCP(false, wire.TCPFields{SrcPort: 5001, DstPort: 80, Seq: 106, Ack: second + 1, Flags: wire.TCPRst, Window: 1000}, nil, nil)
		if _, ok := taken(5004); ok {
			t.Error("room after a reset")
		}
		time.Sleep(59 * time.Second)
		r.meet()
		if _, ok := taken(5005); ok {
			t.Error("room 59 s after a reset")
		}
		time.Sleep(time.Second)
		if _, ok := taken(5006); !ok {
			t.Error("no room 60 s after a reset")
		}
		for range 3 {
			accept(t, l).Close()
		}
	})
}

// fastPair is two hosts, us and them, joined by a cable that loses SYNs with
// data while lose is set.
func fastPair(t *testing.T, lose *atomic.Bool) (us, them *host.Host) {
	t.Helper()
	set := host.Settings{TCPFastOpen: host.FastOpenClient | host.FastOpenServer}
	us, them = host.New(host.Config{Name: "us", Settings: set}), host.New(host.Config{Name: "them", Settings: set})
	a, b := cable.New(cable.Config{MAC: [2]wire.MAC{usMAC, themMAC}, Plain: true})
	mine, err := us.AddAdapter("eth0", a)
	must(t, err)
	_, err = them.AddAdapter("eth0", b)
	must(t, err)
	if lose != nil {
		_, err := mine.Attach(&synDataFilter{lose: lose})
		must(t, err)
	}
	for h, addrs := range map[*host.Host][2]netip.Addr{us: {us4, us6}, them: {them4, them6}} {
		must(t, h.AddAddress("eth0", netip.PrefixFrom(addrs[0], 24)))
		must(t, h.AddAddress("eth0", netip.PrefixFrom(addrs[1], 64)))
	}
	t.Cleanup(func() {
		must(t, us.Close(context.Background()))
		must(t, them.Close(context.Background()))
	})
	return us, them
}

// A synDataFilter loses SYNs with data.
type synDataFilter struct {
	at   *link.FilterModule
	lose *atomic.Bool
}

func (f *synDataFilter) Attach(at *link.FilterModule) error   { f.at = at; return nil }
func (f *synDataFilter) Receive(l *packet.List, w *link.Work) { f.at.Indicate(l, w) }
func (f *synDataFilter) Detach()                              {}

func (f *synDataFilter) Send(l *packet.List, w *link.Work) {
	var rest packet.List
	for p := l.Pop(); p != nil; p = l.Pop() {
		seg := wire.TCP(p.From(p.Transport))
		if f.lose.Load() && p.Proto == wire.ProtoTCP && seg.Flags().Has(wire.TCPSyn) && p.LenFrom(p.Transport) > seg.HeaderLen() {
			packet.Free(p)
			continue
		}
		rest.Push(p)
	}
	f.at.Send(&rest, w)
}

// TestDialFastOpen: the first connection brings a cookie, the next ones data
// with their SYN, over both families; what does not fit the SYN follows.
func TestDialFastOpen(t *testing.T) {
	us, them := fastPair(t, nil)
	fastEcho(t, them, 16)
	for _, addr := range []netip.Addr{them4, them6} {
		for _, c := range []struct {
			size int
			syn  bool // data goes with it
		}{{10, false}, {10, true}, {0, false}, {1400, true}, {200_000, true}} {
			data := bytes.Repeat([]byte("x"), c.size)
			conn, err := us.DialFastOpen(context.Background(), "tcp", netip.AddrPortFrom(addr, 80).String(), data)
			if err != nil {
				t.Fatal(err)
			}
			got := make([]byte, c.size)
			if _, err := io.ReadFull(conn, got); err != nil || !bytes.Equal(got, data) {
				t.Errorf("%v, %d bytes: %v", addr, c.size, err)
			}
			if in := conn.(*host.TCPConn).Info(); in.SynData != c.syn {
				t.Errorf("%v, %d bytes: with the SYN: %v", addr, c.size, in.SynData)
			}
			conn.Close()
		}
	}
	if sent, taken := us.Stats().FastOpenSent, them.Stats().FastOpenTaken; sent != 6 || taken != 8 {
		t.Errorf("%d SYNs with data were taken, %d connections opened early", sent, taken)
	}
}

// fastEcho runs a server on port 80 that takes data of n SYNs.
func fastEcho(t *testing.T, h *host.Host, n int) {
	t.Helper()
	l, err := h.Listen("tcp", ":80")
	must(t, err)
	must(t, l.(*host.TCPListener).SetFastOpen(n))
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				io.Copy(c, c)
				c.Close()
			}()
		}
	}()
}

// TestDialFastOpenErrors: wrong networks, a peer that refuses, a context that
// ends while data waits for room.
func TestDialFastOpenErrors(t *testing.T) {
	us, them := fastPair(t, nil)
	ctx := context.Background()
	if _, err := us.DialFastOpen(ctx, "udp", "10.0.0.2:80", nil); !errors.As(err, new(net.UnknownNetworkError)) {
		t.Errorf("udp: %v", err)
	}
	if _, err := us.DialFastOpen(ctx, "tcp", "10.0.0.2:80", []byte("x")); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("refused: %v", err)
	}
	l, err := them.Listen("tcp", ":80") // whose connections nobody reads
	must(t, err)
	defer l.Close()
	ctx, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
	defer cancel()
	if _, err := us.DialFastOpen(ctx, "tcp", "10.0.0.2:80", make([]byte, 64<<20)); err == nil || !strings.Contains(err.Error(), "timeout") {
		t.Errorf("without end: %v", err)
	}
}

// TestFastOpenLoss: where SYNs with data get lost, the connection comes about
// without, and after two of them the next ones do not try, for a while.
func TestFastOpenLoss(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var lose atomic.Bool
		us, them := fastPair(t, &lose)
		fastEcho(t, them, 16)
		try := func() (took time.Duration, syn bool) {
			t.Helper()
			began := time.Now()
			c, err := us.DialFastOpen(context.Background(), "tcp", "10.0.0.2:80", []byte("hello"))
			if err != nil {
				t.Fatal(err)
			}
			took = time.Since(began)
			if _, err := io.ReadFull(c, make([]byte, 5)); err != nil {
				t.Fatal(err)
			}
			syn = c.(*host.TCPConn).Info().SynData
			c.Close()
			return took, syn
		}
		try() // brings the cookie
		if _, syn := try(); !syn {
			t.Fatal("no data with the SYN")
		}
		lose.Store(true)
		for i, want := range []time.Duration{time.Second, time.Second, 0, 0} {
			if took, syn := try(); took.Round(100*time.Millisecond) != want || syn {
				t.Errorf("try %d took %v, with data %v", i, took, syn)
			}
		}
		lose.Store(false)
		time.Sleep(3 * time.Minute)
		if _, syn := try(); syn {
			t.Error("with data after three minutes")
		}
		time.Sleep(time.Minute)
		if _, syn := try(); !syn {
			t.Error("without data after four minutes")
		}
	})
}

// TestFastOpenSysctls: settings and keys by their names.
func TestFastOpenSysctls(t *testing.T) {
	h := host.New(host.Config{Name: "h"})
	defer h.Close(context.Background())
	get := func(name string) string {
		v, e := h.Sysctl(name)
		if e != 0 {
			t.Errorf("%s: %v", name, e)
		}
		return v
	}
	if v := get("net.ipv4.tcp_fastopen"); v != "1" {
		t.Errorf("tcp_fastopen = %s", v)
	}
	if v := get("net.ipv4.tcp_fastopen_key"); len(v) != 35 || v == "00000000-00000000-00000000-00000000" {
		t.Errorf("tcp_fastopen_key = %s", v)
	}
	for _, c := range []struct {
		name, value string
		e           syscall.Errno
	}{
		{"tcp_fastopen", "0", 0}, {"tcp_fastopen", "1543", 0}, {"tcp_fastopen", "-1", syscall.EINVAL}, {"tcp_fastopen", "on", syscall.EINVAL},
		{"tcp_fastopen_key", "00010203-04050607-08090a0b-0c0d0e0f", 0},
		{"tcp_fastopen_key", "00010203-04050607-08090a0b-0c0d0e0f,10010203-04050607-08090a0b-0c0d0e0f", 0},
		{"tcp_fastopen_key", "00010203-04050607-08090a0b", syscall.EINVAL},
		{"tcp_fastopen_key", "00010203-04050607-08090a0b-0c0d0e0g", syscall.EINVAL},
		{"tcp_fastopen_key", "00010203-04050607-08090a0b-100000000", syscall.EINVAL},
		{"tcp_fastopen_key", "1-2-3-4,1-2-3-4,1-2-3-4", syscall.EINVAL},
	} {
		name := "net.ipv4." + c.name
		if e := h.SetSysctl(name, c.value); e != c.e {
			t.Errorf("%s = %s: %v", name, c.value, e)
		} else if e == 0 && get(name) != c.value {
			t.Errorf("%s = %s, but was set to %s", name, get(name), c.value)
		}
	}
}
