//go:build linux && (amd64 || arm64)

package run

import (
	"context"
	"errors"
	"io"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/towpath/towpath/host"
	"github.com/towpath/towpath/internal/testenv"
	"github.com/towpath/towpath/ip/route"
	"github.com/towpath/towpath/link/cable"
)

// routed is a host a at 10.1.0.2 and twp0, behind a router, and another beyond it
// at 10.2.0.2.
func routed(t *testing.T) (a, b *host.Host) {
	t.Helper()
	a, b = newHost(t, "a"), newHost(t, "b")
	r := newHost(t, "r")
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(r.SetForwarding(true))
	for i, h := range []*host.Host{a, b} {
		near, far := cable.New(cable.Config{})
		_, err := h.AddAdapter("twp0", near)
		must(err)
		name := []string{"twp1", "twp2"}[i]
		_, err = r.AddAdapter(name, far)
		must(err)
		net := netip.AddrFrom4([4]byte{10, byte(i + 1), 0, 0})
		must(h.AddAddress("twp0", netip.PrefixFrom(net.Next().Next(), 24)))
		must(r.AddAddress(name, netip.PrefixFrom(net.Next(), 24)))
		must(h.AddRoute(route.Route{Dst: netip.MustParsePrefix("0.0.0.0/0"), Via: net.Next()}))
	}
	return a, b
}

// TestTools: the programs by which people look at networks show the host's, and
// change it.
func TestTools(t *testing.T) {
	needsRun(t)
	a, b := routed(t)
	l, err := b.Listen("tcp", ":80")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c, err := a.Dial("tcp", "10.2.0.2:80")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	mine, err := a.Listen("tcp", "127.0.0.1:8080")
	if err != nil {
		t.Fatal(err)
	}
	defer mine.Close()
	u, err := a.ListenPacket("udp4", "10.1.0.2:5353")
	if err != nil {
		t.Fatal(err)
	}
	defer u.Close()
	if _, err := a.Ping(context.Background(), netip.MustParseAddr("10.2.0.2"), host.PingOptions{}); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		command string
		want    []string // without differences in white space
	}{
		{"ss -tan", []string{"LISTEN 0 4096 127.0.0.1:8080 0.0.0.0:*", " 10.2.0.2:80"}},
		{"ss -uan", []string{"UNCONN 0 0 10.1.0.2:5353 0.0.0.0:*"}},
		{"ss -tn dport = :80", []string{"ESTAB 0 0 10.1.0.2:", " 10.2.0.2:80"}},
		{"ss -tin dst 10.2.0.0/24", []string{" 10.2.0.2:80", "cubic", "mss:1448"}},
		{"ss -s", []string{"TCP: 2 (estab 1, closed 0, orphaned 0, timewait 0)"}},
		{"netstat -tln", []string{"tcp 0 0 127.0.0.1:8080 0.0.0.0:* LISTEN"}},
		{"netstat -un -a", []string{"udp 0 0 10.1.0.2:5353 0.0.0.0:*"}},
		{"netstat -rn", []string{"0.0.0.0 10.1.0.1 0.0.0.0 UG 0 0 0 twp0"}},
		{"netstat -i", []string{"twp0 1500 "}},
		{"netstat -s", []string{"1 active connection openings"}},
		{"arp -n", []string{"10.1.0.1 ether "}},
		{"route -n", []string{"0.0.0.0 10.1.0.1 0.0.0.0 UG 0 0 0 twp0", "10.1.0.0 0.0.0.0 255.255.255.0 U 0 0 0 twp0"}},
		{"ifconfig twp0", []string{"inet 10.1.0.2 netmask 255.255.255.0 broadcast 10.1.0.255", "mtu 1500"}},
		{"sysctl -n net.ipv4.ip_default_ttl", []string{"64"}},
		{"sysctl -w net.ipv4.ip_default_ttl=33", []string{"net.ipv4.ip_default_ttl = 33"}},
		{"ping -c1 -W5 127.0.0.1", []string{" ttl=33 ", "1 received"}},
		{"ping -c1 -W5 -t1 10.2.0.2", []string{"From 10.1.0.1 icmp_seq=1 Time to live exceeded"}},
		{"ping -c1 -W5 -t2 10.2.0.2", []string{"64 bytes from 10.2.0.2: icmp_seq=1 ttl=63 ", "1 received"}},
		{"traceroute -n -q1 10.2.0.2", []string{"1 10.1.0.1 ", "2 10.2.0.2 "}},
		{"tracepath -n 10.2.0.2", []string{"1: 10.1.0.1 ", "2: 10.2.0.2 ", "reached"}},
	} {
		t.Run(c.command, func(t *testing.T) { tool(t, a, c.command, c.want) })
	}
}

// tool runs a command and looks for pieces in what it prints, in which white space
// counts as one blank.
func tool(t *testing.T, h *host.Host, command string, want []string) {
	args := strings.Fields(command)
	testenv.NeedsTool(t, args[0])
	if args[0] == "ping" { // it fails if there is no reply
		args = []string{"sh", "-c", command + "; true"}
	}
	got := " " + strings.Join(strings.Fields(output(t, h, args...)), " ") + " "
	for _, s := range want {
		if !strings.Contains(got, s) {
			t.Errorf("%q is not in %q", s, got)
		}
	}
}

// TestConfigure: old programs change the host by requests of ioctl.
func TestConfigure(t *testing.T) {
	needsRun(t)
	h, _ := routed(t)
	for _, c := range []struct {
		command string
		want    []string
	}{
		{"ifconfig twp0 down", nil},
		{"ifconfig twp0", []string{"twp0: flags=4098<BROADCAST,MULTICAST> mtu 1500"}},
		{"ifconfig twp0 up", nil},
		{"ifconfig twp0 10.1.0.7 netmask 255.255.0.0", nil},
		{"ifconfig twp0", []string{"inet 10.1.0.7 netmask 255.255.0.0"}},
		{"route add -net 10.7.0.0 netmask 255.255.0.0 gw 10.1.0.9 metric 3", nil},
		{"route -n", []string{"10.7.0.0 10.1.0.9 255.255.0.0 UG 3 0 0 twp0"}},
		{"route del -net 10.7.0.0 netmask 255.255.0.0", nil},
		{"route add -host 192.0.2.1 dev twp0", nil},
		{"route -n", []string{"192.0.2.1 0.0.0.0 255.255.255.255 UH 0 0 0 twp0"}},
	} {
		t.Run(c.command, func(t *testing.T) { tool(t, h, c.command, c.want) })
	}
	if r, ok := h.Routes().Lookup(netip.MustParseAddr("10.7.1.1")); ok && r.Dst.Bits() > 0 {
		t.Errorf("%v was not removed", r)
	}
}

// TestSettings: settings are files that can be read and written, and everybody
// sees what was written.
func TestSettings(t *testing.T) {
	needsRun(t)
	h := newHost(t, "h")
	var told []string
	p, err := Start(h, Cmd{Args: []string{"sh", "-ec", `
ttl=/proc/sys/net/ipv4/ip_default_ttl
test $(cat $ttl) = 64
echo 77 >$ttl
test $(cat $ttl) = 77
if cat /proc/sys/net/ipv4/nothing; then exit 1; fi
if echo 1 >/proc/net/tcp; then exit 1; fi
test -d /proc/sys/net/ipv4
ls /proc/sys/net/ipv4 >/dev/null
grep -q '^ *lo: ' /proc/net/dev
grep -q '^ *lo: ' /proc/self/net/dev
echo 0 >$ttl
echo none >/proc/sys/net/ipv4/ip_forward
test $(cat $ttl) = 77`}, Warn: func(text string) { told = append(told, text) }})
	if err == nil {
		err = p.Wait()
	}
	if err != nil || h.Settings().TTL != 77 || len(told) != 2 || !strings.HasPrefix(told[0], "/proc/sys/net/ipv4/ip_default_ttl: \"0\": ") {
		t.Errorf("%v, TTL %d, told %q", err, h.Settings().TTL, told)
	}
}

// TestFlood: programs that send all the time, many datagrams at once, end when
// they are to.
func TestFlood(t *testing.T) {
	needsRun(t)
	testenv.NeedsTool(t, "python3")
	for _, c := range []struct {
		name, line string
		end        func(p *Process)
		want       syscall.Signal
	}{
		{"SIGTERM", "", func(p *Process) { p.Signal(syscall.SIGTERM) }, syscall.SIGTERM},
		{"SIGTERM while nobody reads", "r.close()", func(p *Process) { p.Signal(syscall.SIGTERM) }, syscall.SIGTERM},
		{"Kill", "signal.signal(signal.SIGTERM, signal.SIG_IGN)", (*Process).Kill, syscall.SIGKILL},
	} {
		t.Run(c.name, func(t *testing.T) {
			r, w, err := os.Pipe()
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			p, err := Start(newHost(t, "h"), Cmd{Stdout: w, OwnGroup: true, Args: []string{"python3", "-c", `
import os, signal, socket, struct
UDP_SEGMENT = 103
r, s, c = (socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for i in range(3))
r.bind(("127.0.0.1", 0))
to = r.getsockname()
c.setsockopt(socket.IPPROTO_UDP, UDP_SEGMENT, 1000)
c.connect(to)
s.sendmsg([b"x" * 3500], [(socket.IPPROTO_UDP, UDP_SEGMENT, struct.pack("H", 1000))], 0, to)
print([len(r.recv(5000)) for i in range(4)], flush=True)
if os.fork() == 0:
    s.close(); c.close()
    while True: r.recv(1)
` + c.line + `
while True:
    try:
        s.sendmsg([b"x" * 60000], [(socket.IPPROTO_UDP, UDP_SEGMENT, struct.pack("H", 1000))], 0, to)
        c.send(b"x" * 60000)
    except OSError: pass`}})
			w.Close()
			if err != nil {
				t.Fatal(err)
			}
			want := "[1000, 1000, 1000, 500]\n"
			got := make([]byte, len(want))
			io.ReadFull(r, got)
			if string(got) != want {
				t.Errorf("%q", got)
			}
			c.end(p)
			timer := time.AfterFunc(programMax, func() { panic("the program does not end") })
			defer timer.Stop()
			var exit *ExitError
			if err := p.Wait(); !errors.As(err, &exit) || exit.Signal != c.want {
				t.Errorf("the end: %v", err)
			}
		})
	}
}
