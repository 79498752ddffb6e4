//go:build linux

package sockd

import (
	"bufio"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/towpath/towpath/wire"
)

// A suite drives a server as one from outside does.
type suite struct {
	t    *testing.T
	dir  string
	rpc  net.Conn
	r    *bufio.Reader
	link *net.UnixConn
}

func start(t *testing.T, c Config) *suite {
	dir := t.TempDir()
	c.RPC, c.Link = filepath.Join(dir, "rpc"), filepath.Join(dir, "link")
	c.Local = []netip.Prefix{netip.MustParsePrefix("192.168.0.1/16"), netip.MustParsePrefix("fd3d:0a0b:17d6::1/48")}
	s, err := Listen(c)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- s.Serve() }()
	u := &suite{t: t, dir: dir}
	u.rpc = u.dial()
	u.r = bufio.NewReader(u.rpc)
	u.link, err = net.DialUnix("unixpacket", nil, &net.UnixAddr{Name: c.Link, Net: "unixpacket"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		u.rpc.Close()
		u.link.Close()
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	time.Sleep(20 * time.Millisecond) // until the link has been accepted
	return u
}

func (u *suite) dial() net.Conn {
	c, err := net.Dial("unix", filepath.Join(u.dir, "rpc"))
	if err != nil {
		u.t.Fatal(err)
	}
	return c
}

// line sends a request as it is and returns the reply.
func (u *suite) line(text string) (r map[string]any) {
	u.t.Helper()
	fmt.Fprintln(u.rpc, text)
	b, err := u.r.ReadBytes('\n')
	if err != nil {
		u.t.Fatal(err)
	}
	if err := json.Unmarshal(b, &r); err != nil {
		u.t.Fatalf("%s: %v", b, err)
	}
	return r
}

// want sends a request and compares some of the reply.
func (u *suite) want(text string, want map[string]any) map[string]any {
	u.t.Helper()
	r := u.line(text)
	for k, v := range want {
		if fmt.Sprint(r[k]) != fmt.Sprint(v) {
			u.t.Errorf("%s\n  answers %v\n  want %s = %v", text, r, k, v)
		}
	}
	return r
}

func (u *suite) packet() []byte {
	u.t.Helper()
	b := make([]byte, 2000)
	u.link.SetReadDeadline(time.Now().Add(5 * time.Second))
	n, err := u.link.Read(b)
	if err != nil {
		u.t.Fatalf("no packet: %v", err)
	}
	return b[:n]
}

// tcp injects a segment from 192.0.2.1:4000 to port 80.
func (u *suite) tcp(f wire.TCPFields, payload string) {
	f.SrcPort, f.DstPort, f.Window = 4000, 80, 1000
	b := new(wire.Builder).Payload([]byte(payload)).PushTCP(f, nil).
		PushIPv4(wire.IPv4Fields{TTL: 64, Src: netip.MustParseAddr("192.0.2.1"), Dst: netip.MustParseAddr("192.168.0.1")}).Bytes()
	if _, err := u.link.Write(b); err != nil {
		u.t.Fatal(err)
	}
}

func ok(ret int) map[string]any              { return map[string]any{"ret": ret, "errno": 0} }
func fails(errno int) map[string]any         { return map[string]any{"ret": -1, "errno": errno} }
func segment(b []byte) (wire.IPv4, wire.TCP) { return wire.IPv4(b), wire.TCP(wire.IPv4(b).Payload()) }

// connected opens a connection as a script does and returns our next sequence
// number.
func (u *suite) connected() uint32 {
	u.t.Helper()
	u.want(`{"op":"socket","fd":3,"a":[2,1,0]}`, ok(3))
	u.want(`{"op":"setsockopt","fd":3,"a":[1,2],"data":"01000000"}`, ok(0))
	u.want(`{"op":"bind","fd":3,"fam":2,"ip":"0.0.0.0","port":80}`, ok(0))
	u.want(`{"op":"listen","fd":3,"a":[1]}`, ok(0))
	u.tcp(wire.TCPFields{Flags: wire.TCPSyn}, "")
	_, synAck := segment(u.packet())
	if synAck.Flags() != wire.TCPSyn|wire.TCPAck || synAck.Ack() != 1 {
		u.t.Fatalf("answered by %v", synAck.Flags())
	}
	u.tcp(wire.TCPFields{Flags: wire.TCPAck, Seq: 1, Ack: synAck.Seq() + 1}, "")
	r := u.want(`{"op":"accept","fd":3,"a":[4]}`, ok(4))
	if r["ip"] != "192.0.2.1" || r["port"] != 4000.0 || r["fam"] != 2.0 {
		u.t.Errorf("accept tells %v", r)
	}
	return synAck.Seq() + 1
}

// TestConversation: what was injected before a call is seen by it.
func TestConversation(t *testing.T) {
	u := start(t, Config{})
	seq := u.connected()
	for range 50 {
		u.tcp(wire.TCPFields{Flags: wire.TCPAck | wire.TCPPsh, Seq: 1, Ack: seq}, "hello")
		u.want(`{"op":"recv","fd":4,"a":[100,2]}`, map[string]any{"ret": 5, "data": hex.EncodeToString([]byte("hello"))})
	}
	u.want(`{"op":"ioctl","fd":4,"a":[21531]}`, map[string]any{"ret": 0, "errno": 0, "val": 5})
	u.want(`{"op":"recv","fd":4,"a":[100,0]}`, ok(5))
	for u.link.SetReadDeadline(time.Now().Add(50 * time.Millisecond)); ; {
		if _, err := u.link.Read(make([]byte, 2000)); err != nil {
			break // the acknowledgments
		}
	}
	u.want(`{"op":"send","fd":4,"a":[3,0],"data":"616263"}`, ok(3))
	if _, s := segment(u.packet()); string(s.Payload()) != "abc" || s.Ack() != 6 {
		t.Errorf("sent %q, ack %d", s.Payload(), s.Ack())
	}
	u.want(`{"op":"getsockname","fd":4}`, map[string]any{"fam": 2, "ip": "192.168.0.1", "port": 80})
	u.tcp(wire.TCPFields{Flags: wire.TCPRst, Seq: 6}, "")
	u.want(`{"op":"poll","fd":-1,"t":1000,"a":[4,1]}`, map[string]any{"ret": 1, "rev": "[25]"})
	u.want(`{"op":"recv","fd":4,"a":[100,0]}`, fails(104))
	u.want(`{"op":"close","fd":4}`, ok(0))
	u.want(`{"op":"close","fd":4}`, fails(9))
}

// TestBlocking: a call that waits holds up its own connection only.
func TestBlocking(t *testing.T) {
	u := start(t, Config{})
	u.connected()
	other := u.dial()
	defer other.Close()
	fmt.Fprintln(other, `{"op":"recv","fd":4,"a":[10,0]}`)
	time.Sleep(20 * time.Millisecond)
	u.want(`{"op":"getpeername","fd":4}`, ok(0))
	u.tcp(wire.TCPFields{Flags: wire.TCPAck, Seq: 1, Ack: 0}, "no") // not acceptable
	u.want(`{"op":"shutdown","fd":4,"a":[0]}`, ok(0))               // ends the wait
	line, err := bufio.NewReader(other).ReadString('\n')
	if err != nil || !strings.Contains(line, `"ret":0`) {
		t.Errorf("the waiting call: %s %v", line, err)
	}
}

// TestVirtualClock: time stands still but for sleep and next_packet, and timers
// run at their instants.
func TestVirtualClock(t *testing.T) {
	u := start(t, Config{Virtual: true})
	now := func() float64 { return u.line(`{"op":"now"}`)["val"].(float64) }
	begin := now()
	time.Sleep(10 * time.Millisecond)
	if now() != begin {
		t.Error("time goes on by itself")
	}
	u.want(`{"op":"socket","fd":3,"a":[2,2049,0]}`, ok(3))
	u.want(`{"op":"connect","fd":3,"fam":2,"ip":"192.0.2.1","port":80}`, fails(115))
	first := u.packet()
	for i, gap := range []float64{1e6, 2e6, 4e6, 8e6} {
		before := now()
		r := u.want(`{"op":"next_packet"}`, ok(0))
		again, _ := hex.DecodeString(r["data"].(string))
		if _, s := segment(again); s.Flags()&wire.TCPSyn == 0 || wire.TCP(wire.IPv4(first).Payload()).Seq() != s.Seq() {
			t.Errorf("retransmission %d is %x", i, again)
		}
		if got := now() - before; got != gap {
			t.Errorf("retransmission %d after %v µs, want %v", i, got, gap)
		}
	}
	before := now()
	u.want(`{"op":"sleep","a":[1500]}`, ok(0))
	if got := now() - before; got != 1500 {
		t.Errorf("slept %v µs", got)
	}
}

func TestBadRequests(t *testing.T) {
	u := start(t, Config{})
	for _, tt := range []struct {
		text  string
		errno int
		says  string
	}{
		{`nonsense`, 22, "invalid character"},
		{`{}`, 38, "no such call"},
		{`{"op":"fly"}`, 38, "fly"},
		{`{"op":"socket","fd":3,"a":[2,1,0],"height":3}`, 22, "height"},
		{`{"op":"socket","fd":"three"}`, 22, "fd"},
		{`{"op":"socket","fd":3,"a":[2,1,0]} {}`, 22, "more than one"},
		{`{"op":"close","fd":77}`, 9, ""},
		{`{"op":"send","fd":3,"data":"xyz"}`, 22, ""},
		{`{"op":"bind","fd":3,"fam":2,"ip":"300.1.1.1"}`, 22, ""},
		{`{"op":"recv","fd":3,"a":[-1,0]}`, 22, ""},
		{`{"op":"sysctl","name":"net.ipv4.tcp_fly"}`, 2, ""},
		{`{"op":"next_packet"}`, 38, ""},
		{`[]`, 22, "array"},
	} {
		r := u.want(tt.text, fails(tt.errno))
		if says, _ := r["error"].(string); !strings.Contains(says, tt.says) {
			t.Errorf("%s: says %q, want %q in it", tt.text, says, tt.says)
		}
	}
	u.want(`{"op":"sysctl","name":"net.ipv4.tcp_sack","value":"0"}`, ok(0))
	u.want(`{"op":"sysctl","name":"net/ipv4/tcp_sack"}`, map[string]any{"ret": 0, "value": "0"})
	u.want(`{"op":"sysctl","name":"net.ipv4.tcp_rmem","value":"4096 many"}`, fails(22))
	u.want(`{"op":"socket","fd":3,"a":[2,1,0]}`, ok(3)) // all is well still
}

// FuzzAnswer gives a server any line.
func FuzzAnswer(f *testing.F) {
	for _, s := range []string{`{"op":"socket","fd":3,"a":[2,1,0]}`, `{"op":"poll","fd":-1,"t":0,"a":[3,1]}`, `{"op":"bind","fd":3,"fam":10,"ip":"::1","port":9}`,
		`{"op":"send","fd":3,"a":[3,64],"data":"616263","fam":2,"ip":"127.0.0.1","port":9}`, `{"op":"epoll_create","fd":5}`, `{"op":"setsockopt","fd":3,"a":[6,2],"data":"01"}`} {
		f.Add(s)
	}
	dir := f.TempDir()
	s, err := Listen(Config{RPC: filepath.Join(dir, "rpc"), Link: filepath.Join(dir, "link"), Local: []netip.Prefix{netip.MustParsePrefix("10.0.0.1/8")}, Virtual: true})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { s.Close() })
	for _, line := range []string{`{"op":"socket","fd":3,"a":[2,2049,0]}`, `{"op":"socket","fd":4,"a":[10,2050,0]}`} {
		s.answer([]byte(line))
	}
	f.Fuzz(func(t *testing.T, line string) {
		if strings.Contains(line, "wait") || strings.Contains(line, "poll") || strings.Contains(line, "sleep") || strings.Contains(line, "next") {
			return // may wait for ever
		}
		if strings.Contains(line, "recv") || strings.Contains(line, "accept") || strings.Contains(line, "connect") || strings.Contains(line, "send") || strings.Contains(line, "close") {
			return // likewise, on a socket that waits
		}
		if r := s.answer([]byte(line)); r == nil {
			t.Fatal("no answer")
		}
	})
}
