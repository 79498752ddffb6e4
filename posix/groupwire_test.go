//go:build linux && amd64

package posix_test

import (
	"context"
	"fmt"
	"net"
	"net/netip"
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
	"github.com/towpath/towpath/posix"
	"github.com/towpath/towpath/wire"
)

// What members say on the wire, the kernel's and ours, to the same calls and the
// same queries. Reports are compared by their records: the kernel sends those of
// a moment together, and repeats MLD's if the querier says that once is enough.

// A segment is one end of an Ethernet to which a member speaks.
type segment struct {
	c     calls
	index uint32
	write func([]byte)

	mu  sync.Mutex
	got []string // records about the groups of the test
}

// heard notes what a frame says of groups.
func (s *segment) heard(frame []byte) {
	var r wire.GroupRecords
	e := wire.Ethernet(frame)
	switch {
	case len(frame) < wire.EthernetLen+wire.IPv4Len:
		return
	case e.Type() == wire.EtherTypeIPv4:
		m := wire.IGMP(wire.IPv4(frame[wire.EthernetLen:]).Payload())
		if wire.IPv4(frame[wire.EthernetLen:]).Proto() != wire.ProtoIGMP || !m.Valid() {
			return
		}
		if m.Type() != wire.IGMPv3Report {
			s.note(m.Type().String(), m.Group(), nil)
			return
		}
		r = m.Records()
	case e.Type() == wire.EtherTypeIPv6:
		b := frame[wire.EthernetLen+wire.IPv6Len:]
		if wire.IPv6(frame[wire.EthernetLen:]).NextHeader() != wire.ProtoHopByHop || len(b) < 8+wire.MLDv2ReportLen {
			return
		}
		if m := wire.MLD(b[8:]); m.Valid() {
			s.note(fmt.Sprint(m.Type()), m.Group(), nil)
			return
		}
		m := wire.MLDv2Report(b[8:])
		if !m.Valid() {
			return
		}
		r = m.Records()
	}
	for ; r.More(); r = r.Next() {
		var list []string
		for i := range r.NumSources() {
			list = append(list, r.Source(i).String())
		}
		slices.Sort(list)
		s.note(r.Type().String(), r.Group(), list)
	}
}

func (s *segment) note(what string, group netip.Addr, sources []string) {
	if group != testGroup4 && group != testGroup6 {
		return
	}
	s.mu.Lock()
	s.got = append(s.got, fmt.Sprintf("%s %v %v", what, group, sources))
	s.mu.Unlock()
}

// said is what was heard, each record once, in an order that does not depend on
// the member.
func (s *segment) said() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Compact(slices.Sorted(slices.Values(s.got)))
}

func (s *segment) forget() {
	s.mu.Lock()
	s.got = nil
	s.mu.Unlock()
}

var (
	testGroup4 = netip.MustParseAddr("239.1.2.3")
	testGroup6 = netip.MustParseAddr("ff05::77")
)

// kernelSegment is a TAP device of the namespace that the test is in.
func kernelSegment(t *testing.T) *segment {
	testenv.NeedsTUN(t)
	testenv.NeedsTool(t, "ip")
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	req, err := unix.NewIfreq("tap0")
	if err != nil {
		t.Fatal(err)
	}
	req.SetUint16(unix.IFF_TAP | unix.IFF_NO_PI)
	if err := unix.IoctlIfreq(fd, unix.TUNSETIFF, req); err != nil {
		t.Fatal(err)
	}
	for _, x := range []struct{ name, value string }{
		{"net.ipv6.conf.tap0.accept_dad", "0"}, // when it ends, all groups are told of again
		{"net.ipv6.conf.tap0.mldv2_unsolicited_report_interval", "10"},
	} {
		if e := kernelSysctl(x.name, x.value); e != 0 {
			t.Fatalf("%s: %v", x.name, e)
		}
	}
	for _, args := range []string{"addr add 10.0.0.1/24 dev tap0", "link set tap0 up", "route add 224.0.0.0/4 dev tap0"} {
		if out, err := exec.Command("ip", strings.Fields(args)...).CombinedOutput(); err != nil {
			t.Fatalf("ip %s: %v\n%s", args, err, out)
		}
	}
	tap, err := net.InterfaceByName("tap0")
	if err != nil {
		t.Fatal(err)
	}
	s := &segment{c: kernel{}, index: uint32(tap.Index), write: func(b []byte) {
		if _, err := unix.Write(fd, b); err != nil {
			t.Error(err)
		}
	}}
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		b := make([]byte, 2000)
		for {
			select {
			case <-stop:
				unix.Close(fd)
				return
			default:
			}
			unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 20)
			for {
				n, err := unix.Read(fd, b)
				if err != nil {
					break
				}
				s.heard(b[:n])
			}
		}
	})
	t.Cleanup(func() { close(stop); wg.Wait() })
	return s
}

// ourSegment is the other end of a host's cable.
func ourSegment(t *testing.T) *segment {
	left, right := cable.New(cable.Config{MAC: macs, Plain: true})
	h := host.New(host.Config{Name: "h", Settings: host.Settings{DADTransmits: -1}})
	p := posix.New(h)
	a := link.NewAdapter("tap", 1, right)
	s := &segment{c: ours{p}, write: func(b []byte) {
		var l packet.List
		p := packet.Get()
		p.Reset(64)
		copy(p.Append(len(b)), b)
		p.Net = p.Start() + wire.EthernetLen
		l.Push(p)
		w := link.NewWork(nil)
		a.Enqueue(&l)
		a.Flush(w)
		w.Run()
	}}
	a.Bind(receiver(s.heard))
	if err := a.Open(); err != nil {
		t.Fatal(err)
	}
	eth0, err := h.AddAdapter("eth0", left)
	if err != nil {
		t.Fatal(err)
	}
	s.index = uint32(eth0.Index())
	if err := h.AddAddress("eth0", netip.MustParsePrefix("10.0.0.1/24")); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		p.CloseAll()
		h.Close(context.Background())
		a.Close()
	})
	return s
}

// A receiver is told of the frames that come to an adapter.
type receiver func([]byte)

func (f receiver) Receive(_ *link.Adapter, l *packet.List, _ *link.Work) {
	for p := l.Pop(); p != nil; p = l.Pop() {
		f(p.Bytes())
		packet.Free(p)
	}
}

// query4 and query6 are queries as a router on the segment sends them, general
// ones without a group.
func query4(sources []netip.Addr, group bool) []byte {
	f := wire.IGMPv3QueryFields{MaxResp: 1, Group: netip.IPv4Unspecified(), Robustness: 1, Interval: 125, Sources: sources}
	dst := netip.MustParseAddr("224.0.0.1")
	if group {
		f.Group, dst = testGroup4, testGroup4
	}
	m := make([]byte, 200)
	m = m[:wire.PutIGMPv3Query(m, &f)]
	return new(wire.Builder).Payload(m).SetProto(wire.ProtoIGMP).
		PushIPv4(wire.IPv4Fields{TTL: 1, Src: netip.MustParseAddr("10.0.0.9"), Dst: dst, Options: wire.IPv4RouterAlert}).
		PushEthernet(wire.MulticastMAC(dst), macs[1]).Bytes()
}

func query6(sources []netip.Addr, group bool) []byte {
	f := wire.MLDv2QueryFields{MaxResp: 20, Group: netip.IPv6Unspecified(), Robustness: 1, Interval: 125, Sources: sources}
	src, dst := netip.MustParseAddr("fe80::9"), netip.MustParseAddr("ff02::1")
	if group {
		f.Group, dst = testGroup6, testGroup6
	}
	b := make([]byte, 200)
	m := b[wire.IPv6Len+8:]
	m = m[:wire.PutMLDv2Query(m, &f)]
	wire.ICMPv6(m).SetChecksum(^wire.Fold(wire.Sum(m, wire.PseudoSum(src, dst, wire.ProtoICMPv6, len(m)))))
	wire.PutOptionsHeader(b[wire.IPv6Len:], wire.ProtoICMPv6, wire.IPv6RouterAlert)
	wire.PutIPv6(b, &wire.IPv6Fields{PayloadLen: 8 + len(m), NextHeader: wire.ProtoHopByHop, HopLimit: 1, Src: src, Dst: dst})
	mac := wire.MulticastMAC(dst)
	e := append(append(append([]byte{}, mac[:]...), macs[1][:]...), 0x86, 0xdd)
	return append(e, b[:wire.IPv6Len+8+len(m)]...)
}

// TestReportsLikeTheKernel compares the reports of two sockets in one group, of
// each family.
func TestReportsLikeTheKernel(t *testing.T) {
	testenv.InNamespace(t, func(t *testing.T) {
		ends := []*segment{kernelSegment(t), ourSegment(t)}
		var socks [2][2][2]*mcast // by end, family and party
		for i, s := range ends {
			for f, d := range []int{unix.AF_INET, unix.AF_INET6} {
				for n := range socks[i][f] {
					tr := &trace{c: s.c, sysctl: kernelSysctl}
					socks[i][f][n] = tr.mcast(d, unix.SOCK_DGRAM)
					t.Cleanup(tr.end)
				}
			}
		}
		// The querier says that once is enough: no step waits for repetitions.
		for _, s := range ends {
			s.write(query4(nil, false))
			s.write(query6(nil, false))
		}
		time.Sleep(300 * time.Millisecond)
		member := func(name int) func(*mcast, uint32) {
			return func(m *mcast, index uint32) { m.member("", name, m.group, index) }
		}
		source := func(name, i int) func(*mcast, uint32) {
			return func(m *mcast, index uint32) { m.set("", name, join(u32s(index), storage(m.group), storage(m.src[i]))) }
		}
		filter := func(mode uint32, list ...int) func(*mcast, uint32) {
			return func(m *mcast, index uint32) {
				b := join(u32s(index), storage(m.group), u32s(mode, uint32(len(list))))
				for _, i := range list {
					b = append(b, storage(m.src[i])...)
				}
				m.set("", unix.MCAST_MSFILTER, b)
			}
		}
		for _, step := range []struct {
			name  string
			party int
			do    func(m *mcast, index uint32)
			group bool  // a query about the group
			ask   []int // about sources
		}{
			{name: "join a source", do: source(unix.MCAST_JOIN_SOURCE_GROUP, 0)},
			{name: "and another", do: source(unix.MCAST_JOIN_SOURCE_GROUP, 1)},
			{name: "general query"},
			{name: "query about the group", group: true},
			{name: "query about sources", group: true, ask: []int{1, 2}},
			{name: "query about others", group: true, ask: []int{3}},
			{name: "leave a source", do: source(unix.MCAST_LEAVE_SOURCE_GROUP, 0)},
			{name: "another party excludes", party: 1, do: member(unix.MCAST_JOIN_GROUP)},
			{name: "general query"},
			{name: "it blocks one", party: 1, do: source(unix.MCAST_BLOCK_SOURCE, 2)},
			{name: "and one that is wanted", party: 1, do: source(unix.MCAST_BLOCK_SOURCE, 1)},
			{name: "query about the group", group: true},
			{name: "the first leaves", do: source(unix.MCAST_LEAVE_SOURCE_GROUP, 1)},
			{name: "query about what is blocked", group: true, ask: []int{1, 2}},
			{name: "filter", party: 1, do: filter(0, 3, 4)},
			{name: "filter of the other mode", party: 1, do: filter(1, 4, 5)},
			{name: "filter of the first mode", party: 1, do: filter(0, 5)},
			{name: "unblock", party: 1, do: source(unix.MCAST_UNBLOCK_SOURCE, 5)},
			{name: "leave", party: 1, do: member(unix.MCAST_LEAVE_GROUP)},
			{name: "query after all is left", group: true},
		} {
			for i, s := range ends {
				for f := range socks[i] {
					m := socks[i][f][step.party]
					if step.do != nil {
						step.do(m, s.index)
						continue
					}
					var src []netip.Addr
					for _, n := range step.ask {
						src = append(src, m.src[n])
					}
					s.write([]func([]netip.Addr, bool) []byte{query4, query6}[f](src, step.group))
				}
			}
			// Both have spoken when they have been quiet for longer than a query
			// gives them.
			var got [2][]string
			for i, quiet := 0, 0; i < 50 && quiet < 7; i++ {
				time.Sleep(20 * time.Millisecond)
				now := [2][]string{ends[0].said(), ends[1].said()}
				if quiet++; !slices.Equal(now[0], got[0]) || !slices.Equal(now[1], got[1]) || !slices.Equal(now[0], now[1]) {
					quiet = 0
				}
				got = now
			}
			if !slices.Equal(got[0], got[1]) {
				t.Errorf("%s:\n kernel  %v\n towpath %v", step.name, got[0], got[1])
			}
			for _, s := range ends {
				s.forget()
			}
		}
	})
}
