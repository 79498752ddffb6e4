package host_test

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/towpath/towpath/host"
	"github.com/towpath/towpath/internal/testenv"
	"github.com/towpath/towpath/link"
	"github.com/towpath/towpath/link/cable"
	"github.com/towpath/towpath/packet"
	"github.com/towpath/towpath/wire"
)

// The IP layers beside this machine's kernel's: both are routers between two
// Ethernets, get the same unusual packets at the first, and must answer and
// forward alike, byte for byte but for what everybody chooses freely.

var (
	us1MAC = wire.MAC{2, 0, 0, 0, 0, 0x11} // the router's at the second Ethernet
	farMAC = wire.MAC{2, 0, 0, 0, 0, 0x12}
	far4   = netip.MustParseAddr("10.5.0.2")
	far6   = netip.MustParseAddr("fd05::2")
)

// mtu1 is that of the second Ethernet.
const mtu1 = 1280

// A router is one of the two. Ethernet is by number, 0 or 1.
type router interface {
	send(ethernet int, frame []byte)
	receive(wait time.Duration) (ethernet int, frame []byte, ok bool)
}

// ---- the kernel

type kernelRouter struct {
	t   *testing.T
	fds [2]int
}

func newKernelRouter(t *testing.T) *kernelRouter {
	testenv.NeedsTUN(t)
	testenv.NeedsTool(t, "ip")
	r := &kernelRouter{t: t}
	run := func(args string) {
		t.Helper()
		if out, err := exec.Command("ip", strings.Fields(args)...).CombinedOutput(); err != nil {
			t.Fatalf("ip %s: %v\n%s", args, err, out)
		}
	}
	write := func(name, value string) {
		t.Helper()
		if err := os.WriteFile("/proc/sys/net/"+name, []byte(value), 0); err != nil {
			t.Fatal(err)
		}
	}
	for _, x := range []string{"ipv4/ip_forward 1", "ipv6/conf/all/forwarding 1", "ipv4/icmp_ratelimit 0", "ipv6/icmp/ratelimit 0", "ipv4/conf/all/rp_filter 0", "ipv4/conf/default/rp_filter 0"} {
		name, value, _ := strings.Cut(x, " ")
		write(name, value)
	}
	run("link set lo up")
	for i, mac := range []wire.MAC{usMAC, us1MAC} {
		name := fmt.Sprintf("tap%d", i)
		fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { unix.Close(fd) })
		req, err := unix.NewIfreq(name)
		if err != nil {
			t.Fatal(err)
		}
		req.SetUint16(unix.IFF_TAP | unix.IFF_NO_PI)
		if err := unix.IoctlIfreq(fd, unix.TUNSETIFF, req); err != nil {
			t.Fatal(err)
		}
		r.fds[i] = fd
		write("ipv6/conf/"+name+"/accept_dad", "0")
		run(fmt.Sprintf("link set %s address %v up", name, mac))
	}
	run(fmt.Sprintf("link set tap1 mtu %d", mtu1))
	run("addr add 10.0.0.1/24 brd + dev tap0")
	run("addr add fd00::1/64 dev tap0")
	run("addr add 10.5.0.1/24 brd + dev tap1")
	run("addr add fd05::1/64 dev tap1")
	return r
}

func (r *kernelRouter) send(ethernet int, frame []byte) {
	if _, err := unix.Write(r.fds[ethernet], frame); err != nil {
		r.t.Fatal(err)
	}
}

func (r *kernelRouter) receive(wait time.Duration) (int, []byte, bool) {
	b := make([]byte, 4096)
	for end := time.Now().Add(wait); ; {
		for i, fd := range r.fds {
			if n, err := unix.Read(fd, b); err == nil {
				return i, b[:n], true
			}
		}
		left := time.Until(end)
		if left <= 0 {
			return 0, nil, false
		}
		unix.Poll([]unix.PollFd{{Fd: int32(r.fds[0]), Events: unix.POLLIN}, {Fd: int32(r.fds[1]), Events: unix.POLLIN}}, int(left.Milliseconds())+1)
	}
}

// ---- ours

type ourRouter struct {
	t    *testing.T
	host *host.Host
	ends [2]*link.Adapter

	mu  sync.Mutex
	got []sighting
}

// A sighting is a frame that came out at an Ethernet.
type sighting struct {
	ethernet int
	frame    []byte
}

func newOurRouter(t *testing.T) *ourRouter {
	r := &ourRouter{t: t, host: host.New(host.Config{Name: "us", Forward: true, Settings: host.Settings{DADTransmits: -1}})}
	set(t, r.host, "net.ipv4.icmp_ratelimit", "0", "net.ipv6.icmp.ratelimit", "0", "net.ipv4.icmp_msgs_per_sec", "100000", "net.ipv4.icmp_msgs_burst", "60000")
	t.Cleanup(func() { must(t, r.host.Close(context.Background())) })
	for i, c := range []cable.Config{
		{MAC: [2]wire.MAC{usMAC, themMAC}, Plain: true},
		{MAC: [2]wire.MAC{us1MAC, farMAC}, Plain: true, MTU: mtu1},
	} {
		mine, theirs := cable.New(c)
		r.ends[i] = link.NewAdapter("end", 1, theirs)
		r.ends[i].Bind(sight{r, i})
		must(t, r.ends[i].Open())
		_, err := r.host.AddAdapter(fmt.Sprintf("eth%d", i), mine)
		must(t, err)
		t.Cleanup(func() { must(t, r.ends[i].Close()) })
	}
	must(t, r.host.AddAddress("eth0", pfx("10.0.0.1/24")))
	must(t, r.host.AddAddress("eth0", pfx("fd00::1/64")))
	must(t, r.host.AddAddress("eth1", pfx("10.5.0.1/24")))
	must(t, r.host.AddAddress("eth1", pfx("fd05::1/64")))
	return r
}

// sight takes what comes out at an Ethernet.
type sight struct {
	r        *ourRouter
	ethernet int
}

func (s sight) Receive(_ *link.Adapter, l *packet.List, _ *link.Work) {
	s.r.mu.Lock()
	defer s.r.mu.Unlock()
	for p := l.Pop(); p != nil; p = l.Pop() {
		s.r.got = append(s.r.got, sighting{s.ethernet, p.Bytes()})
		packet.Free(p)
	}
}

func (r *ourRouter) send(ethernet int, frame []byte) {
	transmit(r.t, r.ends[ethernet], frame)
}

func (r *ourRouter) receive(wait time.Duration) (int, []byte, bool) {
	for end := time.Now().Add(wait); ; time.Sleep(time.Millisecond) {
		r.mu.Lock()
		if len(r.got) > 0 {
			s := r.got[0]
			r.got = r.got[1:]
			r.mu.Unlock()
			return s.ethernet, s.frame, true
		}
		r.mu.Unlock()
		if time.Now().After(end) {
			return 0, nil, false
		}
	}
}

// ---- comparing

// markID is the identifier of the echo requests that end each case.
const markID = 0x7777

// answers sends frames to a router and returns what comes out before the answer
// to an echo request that follows them.
func answers(t *testing.T, r router, frames [][]byte) (out []string) {
	for _, f := range frames {
		r.send(0, f)
	}
	r.send(0, eth4(wire.IPv4Fields{}, func(b *wire.Builder) {
		b.Payload(make([]byte, 8)).PushICMPv4(wire.ICMPv4EchoRequest, 0, markID<<16)
	}))
	for wait := 2 * time.Second; ; {
		ethernet, f, ok := r.receive(wait)
		if !ok && wait != 0 {
			t.Fatalf("%T does not answer pings any more", r)
		}
		if !ok {
			slices.Sort(out)
			return out
		}
		if e := wire.Ethernet(f); e.Type() == wire.EtherTypeIPv4 {
			if m := wire.ICMPv4(wire.IPv4(f[14:]).Payload()); wire.IPv4(f[14:]).Proto() == wire.ProtoICMP && m.Type() == wire.ICMPv4EchoReply && m.ID() == markID {
				wait = 0 // what is at the other Ethernet is there by now
				continue
			}
		}
		if s := plain(f); s != "" {
			out = append(out, fmt.Sprintf("eth%d %s", ethernet, s))
		}
	}
}

// plain is a frame in hexadecimal without what is chosen freely, empty if it is
// one that routers send by themselves.
func plain(f []byte) string {
	f = slices.Clone(f)
	switch wire.Ethernet(f).Type() {
	case wire.EtherTypeARP:
		if wire.ARP(f[14:]).Op() != wire.ARPReply {
			return ""
		}
		f = f[:14+28]
	case wire.EtherTypeIPv4:
		ip := wire.IPv4(f[14:])
		if ip.Proto() == wire.ProtoIGMP {
			return ""
		}
		n := ip.HeaderLen()
		if ip.Proto() == wire.ProtoICMP && ip.FragOffset() == 0 && ip.Dst() == them4 {
			f[14+6] &^= 0x40 // DF: chooses who makes the packet
			f[14+4], f[14+5] = 0, 0
		}
		if ip.Src() == us4 {
			f[14+4], f[14+5] = 0, 0 // identification
		}
		f[14+10], f[14+11] = 0, 0 // header checksum
		f = f[:14+max(ip.TotalLen(), n)]
	case wire.EtherTypeIPv6:
		ip := wire.IPv6(f[14:])
		t := wire.ICMPv6Type(0)
		if ip.NextHeader() == wire.ProtoICMPv6 {
			t = wire.ICMPv6(ip.Payload()).Type()
		}
		if ip.NextHeader() == wire.ProtoHopByHop && ip.Dst().IsMulticast() || t == wire.ICMPv6NeighborSolicit || t == wire.ICMPv6RouterSolicit {
			return ""
		}
		if ip.Dst() != far6 { // made here: the flow label is chosen
			f[14+1] &= 0xf0
			f[14+2], f[14+3] = 0, 0
		}
		f = f[:14+40+ip.PayloadLen()]
	}
	return fmt.Sprintf("%x", f)
}

// A kernelCase is some packets, and why they are of interest.
type kernelCase struct {
	name   string
	frames [][]byte
}

// parts4 cuts an ICMP echo request of size bytes into fragments of off-to
// ranges in multiples of eight bytes; the last one ends at the end. A range may
// be marked as other, with other bytes.
func parts4(dst netip.Addr, id uint16, size int, ranges ...[2]int) (frames [][]byte) {
	whole := new(wire.Builder).Payload(payload(size-8)).PushICMPv4(wire.ICMPv4EchoRequest, 0, 1<<16|1).Bytes()
	for _, x := range ranges {
		end := min(x[1]*8, size)
		f := wire.IPv4Fields{ID: id, FragOffset: x[0] * 8, MF: end < size, Proto: wire.ProtoICMP, Dst: dst}
		frames = append(frames, eth4(f, func(b *wire.Builder) { b.Payload(whole[x[0]*8 : end]).SetProto(wire.ProtoICMP) }))
	}
	return frames
}

func parts6(id uint32, size int, ranges ...[2]int) (frames [][]byte) {
	b := new(wire.Builder).Payload(payload(size-8)).PushICMPv6(wire.ICMPv6EchoRequest, 0, 1<<16|1)
	whole := b.PushIPv6(wire.IPv6Fields{Src: them6, Dst: us6, HopLimit: 64}).Bytes()[40:]
	for _, x := range ranges {
		end := min(x[1]*8, size)
		frames = append(frames, eth6(wire.IPv6Fields{}, func(b *wire.Builder) {
			b.Payload(whole[x[0]*8:end]).SetProto(wire.ProtoICMPv6).PushFragment(x[0]*8, end < size, id)
		}))
	}
	return frames
}

func payload(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i)
	}
	return b
}

func kernelCases() (list []kernelCase) {
	add := func(name string, frames ...[]byte) { list = append(list, kernelCase{name, frames}) }
	ip := netip.MustParseAddr
	ping4 := func(b *wire.Builder) { b.Payload(payload(33)).PushICMPv4(wire.ICMPv4EchoRequest, 0, 1<<16|1) }
	ping6 := func(b *wire.Builder) { b.Payload(payload(33)).PushICMPv6(wire.ICMPv6EchoRequest, 0, 1<<16|1) }
	closed := udp(5, 4999, "nobody is here")
	big := func(n int) func(b *wire.Builder) {
		return func(b *wire.Builder) { b.Payload(payload(n)).PushUDP(5, 6) }
	}
	broadcast := func(f []byte) []byte { return edit(f, func(b []byte) { copy(b, wire.Broadcast[:]) }) }
	group := func(f []byte, mac wire.MAC) []byte { return edit(f, func(b []byte) { copy(b, mac[:]) }) }

	// IPv4. Linux does not tell often of packets without a route, nor after it
	// has told of a better one.
	add("4 forward no route", eth4(wire.IPv4Fields{Dst: ip("192.0.2.1")}, closed))
	add("4 echo", eth4(wire.IPv4Fields{}, ping4))
	add("4 echo with TOS and TTL 1", eth4(wire.IPv4Fields{TOS: 0x48, TTL: 1}, ping4))
	add("4 echo to another of our addresses", eth4(wire.IPv4Fields{Dst: ip("10.5.0.1")}, ping4))
	add("4 echo checksum", edit(eth4(wire.IPv4Fields{}, ping4), func(b []byte) { b[36]++ }))
	add("4 header checksum", edit(eth4(wire.IPv4Fields{}, ping4), func(b []byte) { b[24]++ }))
	add("4 version", edit(eth4(wire.IPv4Fields{}, ping4), func(b []byte) { b[14] = 0x55; fixIPv4(b) }))
	add("4 header length", edit(eth4(wire.IPv4Fields{}, ping4), func(b []byte) { b[14] = 0x44 }))
	add("4 total length too large", edit(eth4(wire.IPv4Fields{}, ping4), func(b []byte) { b[17] += 9; fixIPv4(b) }))
	add("4 total length below the header", edit(eth4(wire.IPv4Fields{}, ping4), func(b []byte) { b[17] = 19; fixIPv4(b) }))
	add("4 padded frame", append(eth4(wire.IPv4Fields{}, ping4), 1, 2, 3))
	add("4 cut short", eth4(wire.IPv4Fields{}, ping4)[:14+19])
	for _, a := range []string{"127.0.0.1", "224.1.1.1", "255.255.255.255", "0.0.0.0", "0.1.2.3", "240.0.0.1", "10.0.0.255", "10.0.0.0", "10.0.0.1", "10.5.0.1", "169.254.1.1"} {
		add("4 echo from "+a, eth4(wire.IPv4Fields{Src: ip(a)}, ping4))
		add("4 closed port from "+a, eth4(wire.IPv4Fields{Src: ip(a)}, closed))
	}
	for _, a := range []string{"127.0.0.1", "0.0.0.0", "240.0.0.1", "224.0.0.1", "239.1.2.3", "10.0.0.255", "255.255.255.255", "10.5.0.255"} {
		add("4 echo to "+a, eth4(wire.IPv4Fields{Dst: ip(a)}, ping4))
		add("4 closed port of "+a, eth4(wire.IPv4Fields{Dst: ip(a)}, closed))
		add("4 echo to broadcast frame and "+a, broadcast(eth4(wire.IPv4Fields{Dst: ip(a)}, ping4)))
	}
	add("4 closed port", eth4(wire.IPv4Fields{}, closed))
	add("4 closed port, long datagram", eth4(wire.IPv4Fields{}, big(1400)))
	add("4 closed port, UDP without checksum", edit(eth4(wire.IPv4Fields{}, closed), func(b []byte) { b[40], b[41] = 0, 0 }))
	add("4 closed port, UDP checksum wrong", edit(eth4(wire.IPv4Fields{}, closed), func(b []byte) { b[40]++ }))
	add("4 closed port, UDP length too large", edit(eth4(wire.IPv4Fields{}, closed), func(b []byte) { b[39] += 9 }))
	add("4 closed port in a broadcast frame", broadcast(eth4(wire.IPv4Fields{}, closed)))
	add("4 closed port of TCP", eth4(wire.IPv4Fields{}, tcp(wire.TCPFields{SrcPort: 9, DstPort: 99, Flags: wire.TCPSyn, Seq: 7})))
	add("4 closed port of TCP, ACK", eth4(wire.IPv4Fields{}, tcp(wire.TCPFields{SrcPort: 9, DstPort: 99, Flags: wire.TCPAck, Seq: 7, Ack: 99})))
	add("4 closed port of TCP, RST", eth4(wire.IPv4Fields{}, tcp(wire.TCPFields{SrcPort: 9, DstPort: 99, Flags: wire.TCPRst, Seq: 7})))
	add("4 protocol unknown", eth4(wire.IPv4Fields{}, func(b *wire.Builder) { b.Payload(payload(20)).SetProto(253) }))
	add("4 ICMP of unknown type", eth4(wire.IPv4Fields{}, func(b *wire.Builder) { b.PushICMPv4(77, 0, 0) }))
	add("4 echo reply", eth4(wire.IPv4Fields{}, func(b *wire.Builder) { b.PushICMPv4(wire.ICMPv4EchoReply, 0, 5) }))
	for _, a := range []string{"169.254.1.1", "0.1.2.3", "10.0.0.0"} {
		add("4 closed port of "+a, eth4(wire.IPv4Fields{Dst: ip(a)}, closed))
	}
	add("4 forward", eth4(wire.IPv4Fields{Dst: far4, TOS: 0x28, ID: 77}, closed))
	add("4 forward DF", eth4(wire.IPv4Fields{Dst: far4, DF: true, ID: 78}, closed))
	add("4 forward TTL 1", eth4(wire.IPv4Fields{Dst: far4, TTL: 1}, closed))
	add("4 forward TTL 1, ICMP error", eth4(wire.IPv4Fields{Dst: far4, TTL: 1}, func(b *wire.Builder) {
		in := new(wire.Builder).Payload([]byte("x")).PushUDP(9, 9).PushIPv4(wire.IPv4Fields{TTL: 1, Src: far4, Dst: them4})
		b.Payload(in.Bytes()).PushICMPv4(wire.ICMPv4Unreachable, wire.ICMPv4PortUnreachable, 0)
	}))
	add("4 forward TTL 1, second fragment", eth4(wire.IPv4Fields{Dst: far4, TTL: 1, FragOffset: 8}, func(b *wire.Builder) { b.Payload(payload(16)).SetProto(wire.ProtoUDP) }))
	add("4 forward in a broadcast frame", broadcast(eth4(wire.IPv4Fields{Dst: far4}, closed)))
	add("4 forward in a group's frame", group(eth4(wire.IPv4Fields{Dst: far4}, closed), wire.MAC{1, 0, 0x5e, 1, 1, 1}))
	add("4 forward too big", eth4(wire.IPv4Fields{Dst: far4, ID: 79}, big(1400)))
	add("4 forward too big, DF", eth4(wire.IPv4Fields{Dst: far4, DF: true}, big(1400)))
	add("4 forward a large fragment", eth4(wire.IPv4Fields{Dst: far4, ID: 80, MF: true, FragOffset: 64}, func(b *wire.Builder) { b.Payload(payload(1400)).SetProto(wire.ProtoUDP) }))
	for _, o := range []struct {
		name string
		b    []byte
	}{
		{"no-ops", []byte{1, 1, 1, 0}}, {"router alert", []byte{148, 4, 0, 0}}, {"unknown", []byte{94, 4, 7, 7}},
		{"record route", []byte{7, 11, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0}}, {"record route, full", []byte{7, 7, 8, 9, 9, 9, 9, 0}},
		{"record route, pointer small", []byte{7, 7, 3, 0, 0, 0, 0, 0}}, {"record route, length", []byte{7, 12, 4, 0}}, {"record route twice", []byte{7, 7, 4, 0, 0, 0, 0, 7, 7, 4, 0, 0}},
		{"loose source route", []byte{131, 7, 4, 10, 5, 0, 2, 0}}, {"strict source route", []byte{137, 7, 4, 10, 5, 0, 2, 0}}, {"source route, at its end", []byte{131, 7, 8, 10, 5, 0, 2, 0}},
		{"length zero", []byte{94, 0, 0, 0}}, {"length one", []byte{94, 1, 0, 0}}, {"end and rubbish", []byte{0, 9, 9, 9}}, {"security", []byte{130, 11, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}},
	} {
		add("4 options to us: "+o.name, eth4(wire.IPv4Fields{Options: o.b}, ping4))
		add("4 options to forward: "+o.name, eth4(wire.IPv4Fields{Options: o.b, Dst: far4, ID: 81}, closed))
		add("4 options, closed port: "+o.name, eth4(wire.IPv4Fields{Options: o.b}, closed))
	}
	id := uint16(0x1000)
	frag4 := func(name string, size int, ranges ...[2]int) {
		id++
		add("4 fragments "+name, parts4(us4, id, size, ranges...)...)
	}
	frag4("in order", 100, [2]int{0, 4}, [2]int{4, 8}, [2]int{8, 13})
	frag4("in reverse", 100, [2]int{8, 13}, [2]int{4, 8}, [2]int{0, 4})
	frag4("with a duplicate", 100, [2]int{0, 4}, [2]int{0, 4}, [2]int{4, 13})
	frag4("that overlap", 100, [2]int{0, 6}, [2]int{4, 13})
	frag4("that overlap in front", 100, [2]int{4, 13}, [2]int{0, 6})
	frag4("one within another", 100, [2]int{0, 8}, [2]int{2, 4}, [2]int{8, 13})
	frag4("with a hole", 100, [2]int{0, 4}, [2]int{8, 13})
	id++
	add("4 fragment of a length not divisible by 8", eth4(wire.IPv4Fields{ID: id, MF: true}, func(b *wire.Builder) { b.Payload(payload(13)).SetProto(wire.ProtoICMP) }))
	id++
	add("4 fragment beyond 65535", eth4(wire.IPv4Fields{ID: id, FragOffset: 65528}, func(b *wire.Builder) { b.Payload(payload(100)).SetProto(wire.ProtoICMP) }))
	id++
	add("4 fragments of a large datagram to a closed port", parts4(far4, id, 2000, [2]int{0, 100}, [2]int{100, 250})...)

	// ARP.
	add("ARP who has us", whoHas(us4, them4))
	add("ARP who has another of ours", whoHas(ip("10.5.0.1"), them4))
	add("ARP who has nobody", whoHas(ip("10.0.0.9"), them4))
	add("ARP probe", whoHas(us4, ip("0.0.0.0")))
	add("ARP who has us from elsewhere", whoHas(us4, ip("192.0.2.1")))

	// IPv6.
	add("6 echo", eth6(wire.IPv6Fields{}, ping6))
	add("6 echo with traffic class, hop limit 1", eth6(wire.IPv6Fields{TrafficClass: 0x48, HopLimit: 1}, ping6))
	add("6 echo to another of our addresses", eth6(wire.IPv6Fields{Dst: ip("fd05::1")}, ping6))
	add("6 echo to our link-local address", eth6(wire.IPv6Fields{Src: theirLL, Dst: ourLL}, ping6))
	add("6 echo checksum", edit(eth6(wire.IPv6Fields{}, ping6), func(b []byte) { b[56]++ }))
	add("6 payload length too large", edit(eth6(wire.IPv6Fields{}, ping6), func(b []byte) { b[19] += 9 }))
	add("6 version", edit(eth6(wire.IPv6Fields{}, ping6), func(b []byte) { b[14] = 0x50 }))
	add("6 padded frame", append(eth6(wire.IPv6Fields{}, ping6), 1, 2, 3))
	for _, a := range []string{"::", "::1", "ff02::9", "fd00::1", "fd05::1", "::ffff:10.0.0.2", "fe80::77"} {
		add("6 echo from "+a, eth6(wire.IPv6Fields{Src: ip(a)}, ping6))
		add("6 closed port from "+a, eth6(wire.IPv6Fields{Src: ip(a)}, closed))
		add("6 forward from "+a, eth6(wire.IPv6Fields{Src: ip(a), Dst: far6}, closed))
	}
	for _, a := range []string{"::", "::1", "ff02::1", "ff02::9", "ff01::1", "ff05::2", "ff02::1:ff00:1", "fe80::77", "::ffff:10.0.0.1", "fd00::"} {
		add("6 echo to "+a, eth6(wire.IPv6Fields{Dst: ip(a)}, ping6))
		add("6 closed port of "+a, eth6(wire.IPv6Fields{Dst: ip(a)}, closed))
	}
	add("6 closed port", eth6(wire.IPv6Fields{}, closed))
	add("6 closed port, long datagram", eth6(wire.IPv6Fields{}, big(1400)))
	add("6 closed port, UDP without checksum", edit(eth6(wire.IPv6Fields{}, closed), func(b []byte) { b[60], b[61] = 0, 0 }))
	add("6 closed port in a group's frame", group(eth6(wire.IPv6Fields{}, closed), wire.MAC{0x33, 0x33, 0, 0, 0, 1}))
	add("6 closed port of TCP", eth6(wire.IPv6Fields{}, tcp(wire.TCPFields{SrcPort: 9, DstPort: 99, Flags: wire.TCPSyn, Seq: 7})))
	add("6 next header unknown", eth6(wire.IPv6Fields{}, func(b *wire.Builder) { b.Payload(payload(20)).SetProto(253) }))
	add("6 no next header", eth6(wire.IPv6Fields{}, func(b *wire.Builder) { b.Payload(payload(20)).SetProto(59) }))
	add("6 ICMPv6 error of unknown type", eth6(wire.IPv6Fields{}, func(b *wire.Builder) { b.PushICMPv6(99, 0, 0) }))
	add("6 forward", eth6(wire.IPv6Fields{Dst: far6, TrafficClass: 0x28, FlowLabel: 0x12345}, closed))
	add("6 forward hop limit 1", eth6(wire.IPv6Fields{Dst: far6, HopLimit: 1}, closed))
	add("6 forward hop limit 1, ICMPv6 error", eth6(wire.IPv6Fields{Dst: far6, HopLimit: 1}, func(b *wire.Builder) {
		in := new(wire.Builder).Payload([]byte("x")).PushUDP(9, 9).PushIPv6(wire.IPv6Fields{HopLimit: 1, Src: far6, Dst: them6})
		b.Payload(in.Bytes()).PushICMPv6(wire.ICMPv6Unreachable, 4, 0)
	}))
	add("6 forward no route", eth6(wire.IPv6Fields{Dst: ip("2001:db8::1")}, closed))
	add("6 forward too big", eth6(wire.IPv6Fields{Dst: far6}, big(1400)))
	add("6 forward in a group's frame", group(eth6(wire.IPv6Fields{Dst: far6}, closed), wire.MAC{0x33, 0x33, 0, 0, 0, 1}))
	for _, o := range []struct {
		name string
		b    []byte
	}{
		{"padding", []byte{1, 2, 0, 0}}, {"router alert", []byte{5, 2, 0, 0}}, {"skip", []byte{0x1e, 2, 0, 0}}, {"discard", []byte{0x5e, 2, 0, 0}},
		{"report", []byte{0x9e, 2, 0, 0}}, {"report unicast", []byte{0xde, 2, 0, 0}}, {"jumbo", []byte{0xc2, 4, 0, 1, 0, 0}}, {"too long", []byte{0x1e, 200, 0, 0}},
	} {
		hbh := func(inner func(*wire.Builder)) func(*wire.Builder) {
			return func(b *wire.Builder) { inner(b); b.PushHopByHop(o.b) }
		}
		dst := func(inner func(*wire.Builder)) func(*wire.Builder) {
			return func(b *wire.Builder) { inner(b); b.PushDestOpts(o.b) }
		}
		add("6 hop-by-hop to us: "+o.name, eth6(wire.IPv6Fields{}, hbh(ping6)))
		add("6 hop-by-hop to forward: "+o.name, eth6(wire.IPv6Fields{Dst: far6}, hbh(closed)))
		add("6 hop-by-hop to a group: "+o.name, eth6(wire.IPv6Fields{Dst: allV6}, hbh(ping6)))
		add("6 destination options to us: "+o.name, eth6(wire.IPv6Fields{}, dst(ping6)))
		add("6 destination options to forward: "+o.name, eth6(wire.IPv6Fields{Dst: far6}, dst(closed)))
		add("6 destination options to a group: "+o.name, eth6(wire.IPv6Fields{Dst: allV6}, dst(ping6)))
	}
	add("6 hop-by-hop behind another header", eth6(wire.IPv6Fields{}, func(b *wire.Builder) { ping6(b); b.PushHopByHop(nil); b.PushDestOpts(nil) }))
	for _, typ := range []byte{0, 1, 2, 3, 99} {
		for _, left := range []byte{0, 1, 200} {
			add(fmt.Sprintf("6 routing header type %d, %d left", typ, left), eth6(wire.IPv6Fields{}, func(b *wire.Builder) {
				ping6(b)
				b.PushBytes([]byte{byte(wire.ProtoICMPv6), 2, typ, left, 0, 0, 0, 0, 0xfd, 5, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2}).SetProto(wire.ProtoRouting)
			}))
		}
	}
	id6 := uint32(0x1000)
	frag6 := func(name string, size int, ranges ...[2]int) {
		id6++
		add("6 fragments "+name, parts6(id6, size, ranges...)...)
	}
	frag6("in order", 100, [2]int{0, 4}, [2]int{4, 8}, [2]int{8, 13})
	frag6("in reverse", 100, [2]int{8, 13}, [2]int{4, 8}, [2]int{0, 4})
	frag6("with a duplicate", 100, [2]int{0, 4}, [2]int{0, 4}, [2]int{4, 13})
	frag6("that overlap", 100, [2]int{0, 6}, [2]int{4, 13})
	frag6("that overlap in front", 100, [2]int{4, 13}, [2]int{0, 6})
	frag6("one within another", 100, [2]int{0, 8}, [2]int{2, 4}, [2]int{8, 13})
	frag6("with a hole", 100, [2]int{0, 4}, [2]int{8, 13})
	frag6("of one", 100, [2]int{0, 13})
	id6++
	add("6 fragment of a length not divisible by 8", eth6(wire.IPv6Fields{}, func(b *wire.Builder) {
		b.Payload(append([]byte{128}, payload(12)...)).SetProto(wire.ProtoICMPv6).PushFragment(0, true, id6)
	}))
	id6++
	add("6 likewise, of an error", eth6(wire.IPv6Fields{}, func(b *wire.Builder) {
		b.Payload(append([]byte{1}, payload(12)...)).SetProto(wire.ProtoICMPv6).PushFragment(0, true, id6)
	}))
	id6++
	add("6 fragment beyond 65535", eth6(wire.IPv6Fields{}, func(b *wire.Builder) {
		b.Payload(payload(100)).SetProto(wire.ProtoICMPv6).PushFragment(65528, false, id6)
	}))
	id6++
	add("6 first fragment without its upper header", eth6(wire.IPv6Fields{}, func(b *wire.Builder) {
		b.Payload(payload(8)).SetProto(wire.ProtoTCP).PushFragment(0, true, id6)
	}))
	solicit := func(hops uint8, target netip.Addr, src netip.Addr) []byte {
		return eth6(wire.IPv6Fields{HopLimit: hops, Src: src}, func(b *wire.Builder) { b.PushNeighborSolicit(target) })
	}
	add("6 solicitation", solicit(255, us6, them6))
	add("6 solicitation, hop limit 254", solicit(254, us6, them6))
	add("6 solicitation for others", solicit(255, ip("fd00::9"), them6))
	add("6 solicitation for another adapter's", solicit(255, ip("fd05::1"), them6))
	add("6 solicitation for a group", solicit(255, ip("ff02::1"), them6))
	return list
}

// knownDifferences are cases in which we answer otherwise than Linux, and why.
var knownDifferences = []struct {
	why   string
	cases []string
}{
	{"a broadcast address is nobody's source (RFC 1122 §3.2.1.3)", []string{"4 echo from 10.0.0.255", "4 closed port from 10.0.0.255"}},
	{"who asks for what cannot be is told that there is no way", []string{"4 closed port of 0.1.2.3"}},
	{"errors quote the packet as it came: Linux has counted its TTL down", []string{"4 closed port of 10.0.0.0"}},
	{"an echo reply has all options of the request, not only those that record", []string{
		"4 options to us: no-ops", "4 options to us: router alert", "4 options to us: unknown", "4 options to us: end and rubbish", "4 options to us: security",
	}},
	{"a host is recorded once in an echo, not when it comes and when it goes", []string{"4 options to us: record route"}},
	{"errors have no options", []string{
		"4 options, closed port: record route", "4 options, closed port: record route, full", "4 options to us: record route twice",
		"4 options to forward: record route twice", "4 options, closed port: record route twice",
	}},
	{"a parameter problem points at the wrong length, not at the option", []string{
		"4 options to us: record route, length", "4 options to forward: record route, length", "4 options, closed port: record route, length",
		"4 options to us: length zero", "4 options to forward: length zero", "4 options, closed port: length zero",
		"4 options to us: length one", "4 options to forward: length one", "4 options, closed port: length one",
	}},
	{"what is behind the end of options is left as it is", []string{"4 options to forward: end and rubbish", "4 options, closed port: end and rubbish"}},
	{"any overlap is the end of a datagram (RFC 5722), but for exact duplicates", []string{"4 fragments one within another", "6 fragments one within another"}},
	{"IPv4-mapped and unspecified addresses are not on the wire (RFC 4291 §2.5)", []string{
		"6 forward from ::ffff:10.0.0.2", "6 echo to ::", "6 closed port of ::", "6 echo to ::ffff:10.0.0.1", "6 closed port of ::ffff:10.0.0.1",
	}},
	{"there is no anycast of a subnet's routers", []string{"6 echo to fd00::", "6 closed port of fd00::"}},
	{"a jumbo payload option is one that is not known", []string{"6 hop-by-hop to us: jumbo", "6 hop-by-hop to forward: jumbo"}},
	{"routing headers of RPL are like any others (RFC 8200 §4.4)", []string{
		"6 routing header type 3, 0 left", "6 routing header type 3, 1 left", "6 routing header type 3, 200 left",
	}},
	{"the answer to a solicitation has the station address always (RFC 4861 §7.2.4)", []string{"6 solicitation"}},
}

// meet has a router learn who is there, and waits until it answers and forwards.
func meet(t *testing.T, r router) {
	solicitation := func(src, dst netip.Addr, mac, to wire.MAC) []byte {
		opt := make([]byte, 8)
		wire.PutLinkAddrOption(opt, wire.NDPSourceLinkAddr, mac)
		return new(wire.Builder).Payload(opt).PushNeighborSolicit(dst).PushIPv6(wire.IPv6Fields{HopLimit: 255, Src: src, Dst: dst}).PushEthernet(to, mac).Bytes()
	}
	hello := func(b *wire.Builder) { b.Payload(nil).PushUDP(5, 6) }
	for range 100 {
		r.send(0, new(wire.Builder).PushARP(wire.ARPRequest, themMAC, them4, wire.MAC{}, us4).PushEthernet(usMAC, themMAC).Bytes())
		r.send(0, solicitation(them6, us6, themMAC, usMAC))
		r.send(0, solicitation(theirLL, ourLL, themMAC, usMAC))
		r.send(1, new(wire.Builder).PushARP(wire.ARPRequest, farMAC, far4, wire.MAC{}, netip.MustParseAddr("10.5.0.1")).PushEthernet(us1MAC, farMAC).Bytes())
		r.send(1, solicitation(far6, netip.MustParseAddr("fd05::1"), farMAC, us1MAC))
		answers(t, r, nil) // those to all this
		if len(answers(t, r, [][]byte{eth4(wire.IPv4Fields{Dst: far4}, hello), eth6(wire.IPv6Fields{Dst: far6}, hello)})) == 2 &&
			len(answers(t, r, [][]byte{eth6(wire.IPv6Fields{}, hello), eth6(wire.IPv6Fields{Src: theirLL, Dst: ourLL}, hello)})) == 2 {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Fatalf("%T does not forward", r)
}

// TestPacketsLikeTheKernel sends unusual packets to the kernel and to a host and
// compares what comes out at both their Ethernets.
func TestPacketsLikeTheKernel(t *testing.T) {
	testenv.InNamespace(t, func(t *testing.T) {
		routers := []router{newKernelRouter(t), newOurRouter(t)}
		for _, r := range routers {
			meet(t, r)
		}
		known, different := make(map[string]bool), make(map[string]bool)
		for _, d := range knownDifferences {
			for _, name := range d.cases {
				known[name] = true
			}
		}
		for _, c := range kernelCases() {
			time.Sleep(2 * time.Millisecond) // both send 1000 errors a second at most
			want, got := answers(t, routers[0], c.frames), answers(t, routers[1], c.frames)
			if slices.Equal(want, got) {
				continue
			}
			different[c.name] = true
			if !known[c.name] {
				t.Errorf("%s\n kernel  %s\n towpath %s", c.name, strings.Join(want, "\n         "), strings.Join(got, "\n         "))
			}
		}
		for name := range known {
			if !different[name] {
				t.Errorf("%s: no difference any more", name)
			}
		}
	})
}
