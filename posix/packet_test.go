//go:build linux && amd64

package posix_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"net/netip"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/towpath/towpath/capture/bpf"
	"github.com/towpath/towpath/host"
	"github.com/towpath/towpath/link/cable"
	"github.com/towpath/towpath/posix"
	"github.com/towpath/towpath/wire"
)

func init() { scripts = append(scripts, packetScripts...) }

// loopback is the index of the adapter "lo", here and there.
const loopbackIndex = 1

func htons(n int) int { return n&0xff<<8 | n>>8&0xff }

// packetSocket makes a packet socket that does not wait, bound to the loopback.
func (t *trace) packetSocket(typ, proto int) int {
	fd, e := t.c.socket(unix.AF_PACKET, typ|unix.SOCK_NONBLOCK, htons(proto))
	if e != 0 {
		t.err("socket", e)
	}
	t.fds = append(t.fds, fd)
	t.err("bind", t.bindLink(fd, 0, loopbackIndex))
	return fd
}

func (t *trace) bindLink(fd, proto, index int) syscall.Errno {
	switch c := t.c.(type) {
	case ours:
		return c.p.Bind(fd, posix.AddrOfLink(host.LinkAddr{Protocol: uint16(proto), Adapter: int32(index)}))
	default:
		return errno(unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: uint16(htons(proto)), Ifindex: index}))
	}
}

// filter attaches a program that keeps what ret says of packets whose word at a
// place is as wanted.
func (t *trace) filter(fd int, at, want, keep uint32) {
	prog := bpf.Program{{Op: 0x20, K: at}, {Op: 0x15, Jf: 1, K: want}, {Op: 0x06, K: keep}, {Op: 0x06}}
	var e syscall.Errno
	switch c := t.c.(type) {
	case ours:
		var b []byte
		for _, in := range prog {
			b = binary.LittleEndian.AppendUint16(b, in.Op)
			b = binary.LittleEndian.AppendUint32(append(b, in.Jt, in.Jf), in.K)
		}
		e = c.p.SetSockOpt(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, b)
	default:
		var f []unix.SockFilter
		for _, in := range prog {
			f = append(f, unix.SockFilter{Code: in.Op, Jt: in.Jt, Jf: in.Jf, K: in.K})
		}
		e = errno(unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: uint16(len(f)), Filter: &f[0]}))
	}
	t.err("filter", e)
}

// recvFrame receives with the sender's address and control messages.
func (t *trace) recvFrame(fd, size, flags int) {
	b := make([]byte, size)
	switch c := t.c.(type) {
	case ours:
		m, e := c.p.Recv(fd, b, flags)
		x := m.From.Link
		s := fmt.Sprintf("%d % x flags %#x %v", m.N, b[:min(m.N, size)], m.Flags, e)
		if e == 0 {
			s += fmt.Sprintf(" proto %#x index %d hardware %d kind %d mac %d % x", x.Protocol, x.Adapter, x.Hardware, x.Kind, x.Len, x.MAC[:])
		}
		for _, m := range m.Ctl {
			s += fmt.Sprintf(" cmsg %d %d % x", m.Level, m.Type, m.Data)
		}
		t.log("frame: %s", s)
	default:
		oob := make([]byte, 256)
		n, oobn, got, from, err := unix.Recvmsg(fd, b, oob, flags)
		s := fmt.Sprintf("%d % x flags %#x %v", max(n, 0), b[:min(max(n, 0), size)], got, errno(err))
		if x, ok := from.(*unix.SockaddrLinklayer); ok && err == nil {
			s += fmt.Sprintf(" proto %#x index %d hardware %d kind %d mac %d % x", htons(int(x.Protocol)), x.Ifindex, x.Hatype, x.Pkttype, x.Halen, x.Addr[:6])
		}
		ms, _ := unix.ParseSocketControlMessage(oob[:oobn])
		for _, m := range ms {
			s += fmt.Sprintf(" cmsg %d %d % x", m.Header.Level, m.Header.Type, m.Data)
		}
		t.log("frame: %s", s)
	}
}

// sendFrame sends to the loopback.
func (t *trace) sendFrame(fd int, b []byte, to bool, proto, index int) {
	switch c := t.c.(type) {
	case ours:
		var a posix.Addr
		if to {
			a = posix.AddrOfLink(host.LinkAddr{Protocol: uint16(proto), Adapter: int32(index), Len: 6})
		}
		n, e := c.p.Send(fd, b, 0, a, nil)
		t.log("send frame %d: %d %v", len(b), n, e)
	default:
		var a unix.Sockaddr
		if to {
			a = &unix.SockaddrLinklayer{Protocol: uint16(htons(proto)), Ifindex: index, Halen: 6}
		}
		n, err := unix.SendmsgN(fd, b, nil, a, 0)
		if err != nil {
			n = -1
		}
		t.log("send frame %d: %d %v", len(b), n, errno(err))
	}
}

func (t *trace) linkName(fd int) {
	switch c := t.c.(type) {
	case ours:
		a, e := c.p.GetSockName(fd)
		t.log("name %#x %d %d %d %v", a.Link.Protocol, a.Link.Adapter, a.Link.Hardware, a.Link.Len, e)
	default:
		sa, err := unix.Getsockname(fd)
		x := sa.(*unix.SockaddrLinklayer)
		t.log("name %#x %d %d %d %v", htons(int(x.Protocol)), x.Ifindex, x.Hatype, x.Halen, errno(err))
	}
}

// markedWord is the source address by which a filter knows a script's packets.
const markedWord = 127<<24 | 93<<16 | 77<<8 | 5

func marked(payload string) []byte {
	return new(wire.Builder).Payload([]byte(payload)).
		PushIPv4(wire.IPv4Fields{Proto: testProto, TTL: 9, Src: only(unix.AF_INET), Dst: lo4}).Bytes()
}

var packetScripts = []struct {
	name string
	run  func(t *trace, domain int)
}{
	{"packet: frames", func(t *trace, d int) {
		all, ip, cooked := t.packetSocket(unix.SOCK_RAW, unix.ETH_P_ALL), t.packetSocket(unix.SOCK_RAW, unix.ETH_P_IP), t.packetSocket(unix.SOCK_DGRAM, unix.ETH_P_ALL)
		t.filter(all, 14+12, markedWord, 0xffff)
		t.filter(ip, 14+12, markedWord, 30)
		t.filter(cooked, 12, markedWord, 0xffff)
		t.setInt(all, unix.SOL_PACKET, unix.PACKET_AUXDATA, 1)
		t.setInt(ip, unix.SOL_PACKET, unix.PACKET_AUXDATA, 1)
		for _, fd := range []int{all, ip, cooked} { // what others have sent meanwhile
			for {
				if _, _, e := t.c.recv(fd, 1, 0); e != 0 {
					break
				}
			}
			t.c.get(fd, unix.SOL_PACKET, unix.PACKET_STATISTICS, 8)
		}
		t.linkName(all)
		t.sendFrame(cooked, marked("hello"), true, unix.ETH_P_IP, loopbackIndex)
		settle()
		t.poll(all)
		n, e := t.c.ioctl(all, unix.SIOCINQ)
		t.log("SIOCINQ %d %v", n, e)
		t.recvFrame(all, 100, 0) // looking first makes Linux lose the auxiliary data
		t.recvFrame(all, 100, 0)
		t.recvFrame(all, 100, 0)
		t.recvFrame(ip, 100, 0)
		t.recvFrame(ip, 100, 0)
		t.recvFrame(cooked, 100, 0) // not what it has sent itself
		t.recvFrame(cooked, 100, 0)
		s := t.packetSocket(unix.SOCK_RAW, 0)
		frame := append(make([]byte, 12), 8, 0)
		t.sendFrame(s, append(frame, marked("raw")...), true, 0, loopbackIndex)
		settle()
		t.recvFrame(s, 100, 0)
		t.recvFrame(cooked, 5, unix.MSG_PEEK)
		t.recvFrame(cooked, 5, unix.MSG_TRUNC)
		t.recvFrame(cooked, 5, 0)
		for range 2 {
			b, e := t.c.get(all, unix.SOL_PACKET, unix.PACKET_STATISTICS, 8)
			t.log("statistics % x %v", b, e)
		}
		t.err("detach", t.c.set(all, unix.SOL_SOCKET, unix.SO_DETACH_FILTER, []byte{0, 0, 0, 0}))
		t.setInt(cooked, unix.SOL_PACKET, unix.PACKET_IGNORE_OUTGOING, 1)
		t.setInt(cooked, unix.SOL_PACKET, unix.PACKET_IGNORE_OUTGOING, 2)
		t.sendFrame(s, append(frame, marked("in only")...), true, 0, loopbackIndex)
		settle()
		t.recvFrame(cooked, 100, 0)
		t.recvFrame(cooked, 100, 0)
	}},
	{"packet: wrong calls", func(t *trace, d int) {
		s := t.packetSocket(unix.SOCK_DGRAM, 0)
		for _, o := range []int{unix.SO_TYPE, unix.SO_DOMAIN, unix.SO_ERROR} {
			t.int(s, unix.SOL_SOCKET, o)
		}
		t.recvFrame(s, 10, 0)
		t.poll(s)
		t.err("no such adapter", t.bindLink(s, 0, 4711))
		t.err("all", t.bindLink(s, unix.ETH_P_IPV6, 0))
		t.linkName(s)
		t.sendFrame(s, marked("x"), false, 0, 0)
		t.sendFrame(s, marked("x"), true, unix.ETH_P_IP, 4711)
		t.sendFrame(s, make([]byte, 70000), true, unix.ETH_P_IP, loopbackIndex)
		t.err("listen", t.c.listen(s, 1))
		_, e := t.c.accept(s)
		t.err("accept", e)
		_, e = t.c.peer(s)
		t.err("peer", e)
		t.err("disconnect", t.c.disconnect(s))
		t.err("shutdown", t.c.shutdown(s, unix.SHUT_RD))
		_, e = t.c.socket(unix.AF_PACKET, unix.SOCK_STREAM, 0)
		t.err("stream", e)
		mreq := make([]byte, 16)
		mreq[0], mreq[4] = loopbackIndex, unix.PACKET_MR_PROMISC
		t.err("drop before", t.c.set(s, unix.SOL_PACKET, unix.PACKET_DROP_MEMBERSHIP, mreq))
		t.err("promiscuous", t.c.set(s, unix.SOL_PACKET, unix.PACKET_ADD_MEMBERSHIP, mreq))
		t.err("drop", t.c.set(s, unix.SOL_PACKET, unix.PACKET_DROP_MEMBERSHIP, mreq))
		mreq[0] = 200
		t.err("no such", t.c.set(s, unix.SOL_PACKET, unix.PACKET_ADD_MEMBERSHIP, mreq))
		t.err("short", t.c.set(s, unix.SOL_PACKET, unix.PACKET_ADD_MEMBERSHIP, mreq[:4]))
		t.setInt(s, unix.SOL_PACKET, 999, 1)
		t.int(s, unix.SOL_PACKET, 999)
		t.setInt(s, unix.IPPROTO_IP, unix.IP_TTL, 1)
		t.int(s, unix.IPPROTO_IP, unix.IP_TTL)
	}},
	{"packet: filters of datagrams", func(t *trace, d int) {
		a, b := t.open(d, t.nonblock(unix.SOCK_DGRAM)), t.open(d, t.nonblock(unix.SOCK_DGRAM))
		t.err("bind", t.c.bind(b, netip.AddrPortFrom(t.loopback(d), 0)))
		to, _ := t.c.name(b)
		t.filter(b, 8, 'a'<<24|'b'<<16|'c'<<8|'d', 14)
		t.send(a, "abcdefghij", 0, to)
		t.send(a, "nothing of this", 0, to)
		settle()
		t.recv(b, 100, 0)
		t.recv(b, 100, 0)
		t.filter(b, 8, 'a'<<24|'b'<<16|'c'<<8|'d', 2)
		t.send(a, "abcdefghij", 0, to)
		settle()
		t.recv(b, 100, 0)
	}},
}

// cabled is two hosts, 10.0.0.1 and 10.0.0.2, and their processes.
func cabled(t *testing.T) (ps [2]*posix.Process, hosts [2]*host.Host) {
	left, right := cable.New(cable.Config{MAC: macs})
	for i, port := range []*cable.Port{left, right} {
		h := host.New(host.Config{Settings: host.Settings{NoAutoconf: true}})
		if _, err := h.AddAdapter("eth0", port); err != nil {
			t.Fatal(err)
		}
		if err := h.AddAddress("eth0", netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 0, 0, byte(1 + i)}), 24)); err != nil {
			t.Fatal(err)
		}
		p := posix.New(h)
		t.Cleanup(func() {
			p.CloseAll()
			h.Close(context.Background())
		})
		ps[i], hosts[i] = p, h
	}
	return ps, hosts
}

var macs = [2]wire.MAC{{2, 0, 0, 0, 0, 1}, {2, 0, 0, 0, 0, 2}}

// TestPacketSockets sends and receives frames by Ethernet, where stations have
// addresses.
func TestPacketSockets(t *testing.T) {
	ps, hosts := cabled(t)
	const proto = 0x88b5 // for experiments
	send, e := ps[0].Socket(-1, posix.AF_PACKET, posix.SOCK_DGRAM, 0)
	if e != 0 {
		t.Fatal(e)
	}
	recv, e := ps[1].Socket(-1, posix.AF_PACKET, posix.SOCK_RAW|posix.SOCK_NONBLOCK, htons(proto))
	if e != 0 {
		t.Fatal(e)
	}
	index := hosts[0].Adapter("eth0").Index()
	other := wire.MAC{2, 9, 9, 9, 9, 9}
	frames := func(want ...host.PacketKind) {
		t.Helper()
		for _, to := range []wire.MAC{macs[1], wire.Broadcast, {1, 0, 0x5e, 0, 0, 9}, other} {
			a := posix.AddrOfLink(host.LinkAddr{Protocol: proto, Adapter: index, Len: 6, MAC: to})
			if n, e := ps[0].Send(send, []byte("frame"), 0, a, nil); n != 5 || e != 0 {
				t.Fatal(n, e)
			}
		}
		b := make([]byte, 100)
		for _, kind := range want {
			m, e := ps[1].Recv(recv, b, 0)
			if x := m.From.Link; e != 0 || m.N != 19 || x.Kind != kind || x.MAC != macs[0] || x.Protocol != proto || x.Hardware != 1 {
				t.Errorf("%q from %+v: %v, want kind %d", b[:m.N], m.From.Link, e, kind)
			}
		}
		if m, e := ps[1].Recv(recv, b, 0); e != syscall.EAGAIN {
			t.Errorf("one more: %+v %v", m.From.Link, e)
		}
	}
	frames(host.PacketHost, host.PacketBroadcast, host.PacketMulticast)
	mreq := []byte{byte(hosts[1].Adapter("eth0").Index()), 0, 0, 0, unix.PACKET_MR_PROMISC, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}
	if e := ps[1].SetSockOpt(recv, posix.SOL_PACKET, posix.PACKET_ADD_MEMBERSHIP, mreq); e != 0 {
		t.Fatal(e)
	}
	frames(host.PacketHost, host.PacketBroadcast, host.PacketMulticast, host.PacketOtherHost)
	bad := posix.AddrOfLink(host.LinkAddr{Protocol: proto, Adapter: index})
	if _, e := ps[0].Send(send, []byte("to nobody"), 0, bad, nil); e != syscall.EINVAL {
		t.Error("a frame without a destination:", e)
	}
	// An adapter that goes tells the sockets that are bound to it.
	if e := ps[1].Bind(recv, posix.AddrOfLink(host.LinkAddr{Adapter: hosts[1].Adapter("eth0").Index()})); e != 0 {
		t.Fatal(e)
	}
	if err := hosts[1].RemoveAdapter("eth0"); err != nil {
		t.Fatal(err)
	}
	if _, e := ps[1].Recv(recv, make([]byte, 10), 0); e != syscall.ENETDOWN {
		t.Error("the adapter has gone:", e)
	}
}
