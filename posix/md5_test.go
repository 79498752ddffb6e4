package posix_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/towpath/towpath/host"
	"github.com/towpath/towpath/internal/testenv"
	"github.com/towpath/towpath/link/tun"
	"github.com/towpath/towpath/packet"
	"github.com/towpath/towpath/posix"
	"github.com/towpath/towpath/socket"
)

// md5sig is a struct tcp_md5sig.
func md5sig(peer netip.Addr, flags, prefix int, key string) []byte {
	b := make([]byte, 216)
	if peer.Is4() {
		b[0] = unix.AF_INET
		copy(b[4:], peer.AsSlice())
	} else {
		b[0] = unix.AF_INET6
		copy(b[8:], peer.AsSlice())
	}
	b[128], b[129] = byte(flags), byte(prefix)
	binary.LittleEndian.PutUint16(b[130:], uint16(len(key)))
	copy(b[136:], key)
	return b
}

var md5Scripts = []struct {
	name string
	run  func(t *trace, domain int)
}{
	{"options", func(t *trace, d int) {
		s := t.open(d, unix.SOCK_STREAM)
		set := func(text string, name int, b []byte) { t.err(text, t.c.set(s, unix.IPPROTO_TCP, name, b)) }
		me := t.loopback(d)
		set("delete none", unix.TCP_MD5SIG, md5sig(me, 0, 0, ""))
		set("set", unix.TCP_MD5SIG, md5sig(me, 0, 0, "key"))
		set("set again", unix.TCP_MD5SIG, md5sig(me, 0, 0, strings.Repeat("k", 80)))
		set("long prefix without ext", unix.TCP_MD5SIG, md5sig(me, 1, 200, "key"))
		set("long prefix", unix.TCP_MD5SIG_EXT, md5sig(me, 1, 129, "key"))
		set("prefix", unix.TCP_MD5SIG_EXT, md5sig(me, 1, 8, "key"))
		set("delete other prefix", unix.TCP_MD5SIG_EXT, md5sig(me, 1, 9, ""))
		set("delete prefix", unix.TCP_MD5SIG_EXT, md5sig(me, 1, 8, ""))
		set("delete", unix.TCP_MD5SIG, md5sig(me, 0, 0, ""))
		set("short", unix.TCP_MD5SIG, md5sig(me, 0, 0, "key")[:215])
		long := md5sig(me, 0, 0, "key")
		long[130] = 81
		set("long key", unix.TCP_MD5SIG, long)
		other := md5sig(me, 0, 0, "key")
		other[0] = unix.AF_INET + unix.AF_INET6 - other[0]
		set("other family", unix.TCP_MD5SIG, other)
		set("any adapter", unix.TCP_MD5SIG_EXT, md5sig(me, 2, 0, "key"))
		adapter := md5sig(me, 2, 0, "key")
		adapter[132] = 1
		set("adapter", unix.TCP_MD5SIG_EXT, adapter)
		b, e := t.c.get(s, unix.IPPROTO_TCP, unix.TCP_MD5SIG, 216)
		t.log("get %d %v", len(b), e)
		b, e = t.c.get(s, unix.IPPROTO_TCP, unix.TCP_MD5SIG_EXT, 216)
		t.log("get %d %v", len(b), e)
	}},
	{"conversation", func(t *trace, d int) {
		l := t.open(d, unix.SOCK_STREAM)
		t.err("prefix", t.c.set(l, unix.IPPROTO_TCP, unix.TCP_MD5SIG_EXT, md5sig(t.loopback(d), 1, 8, "secret")))
		t.err("bind", t.c.bind(l, netip.AddrPortFrom(t.loopback(d), 0)))
		t.err("listen", t.c.listen(l, 1))
		at, _ := t.c.name(l)
		c := t.open(d, unix.SOCK_STREAM)
		t.err("key", t.c.set(c, unix.IPPROTO_TCP, unix.TCP_MD5SIG, md5sig(t.loopback(d), 0, 0, "secret")))
		t.err("connect", t.c.connect(c, at))
		s := t.accept(l)
		t.send(c, "hello", 0, netip.AddrPort{})
		t.recv(s, 100, 0)
		t.tcpInfo(s)
		// What is accepted has the peer's key, not the prefix's.
		t.err("prefix", t.c.set(s, unix.IPPROTO_TCP, unix.TCP_MD5SIG_EXT, md5sig(t.loopback(d), 1, 8, "")))
		t.err("key", t.c.set(s, unix.IPPROTO_TCP, unix.TCP_MD5SIG, md5sig(t.loopback(d), 0, 0, "")))
		t.err("key", t.c.set(c, unix.IPPROTO_TCP, unix.TCP_MD5SIG, md5sig(t.loopback(d), 0, 0, "")))
		t.send(c, "in clear", 0, netip.AddrPort{})
		t.recv(s, 100, 0)
		stranger := t.open(d, t.nonblock(unix.SOCK_STREAM))
		t.err("without", t.c.connect(stranger, at))
		settle()
		t.poll(stranger)
	}},
}

// TestMD5LikeTheKernel compares the calls of signatures with the kernel's.
func TestMD5LikeTheKernel(t *testing.T) {
	for _, s := range md5Scripts {
		for _, domain := range []int{unix.AF_INET, unix.AF_INET6} {
			t.Run(s.name+map[int]string{unix.AF_INET: "/IPv4", unix.AF_INET6: "/IPv6"}[domain], func(t *testing.T) {
				needsMD5(t)
				compare(t, domain, s.run)
			})
		}
	}
}

// needsMD5 skips a test if the kernel has no signatures.
func needsMD5(t *testing.T) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
	if err != nil {
		t.Skipf("the kernel has no sockets: %v", err)
	}
	defer unix.Close(fd)
	if err := unix.SetsockoptString(fd, unix.IPPROTO_TCP, unix.TCP_MD5SIG, string(md5sig(netip.AddrFrom4([4]byte{127, 0, 0, 1}), 0, 0, "x"))); err != nil {
		t.Skipf("the kernel has no TCP MD5 signatures to compare with: %v", err)
	}
}

// kernelAddress gives a device of this namespace an address.
func kernelAddress(t *testing.T, name string, a netip.Prefix) {
	t.Helper()
	domain := unix.AF_INET6
	if a.Addr().Is4() {
		domain = unix.AF_INET
	}
	fd, err := unix.Socket(domain, unix.SOCK_DGRAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	ifr, err := unix.NewIfreq(name)
	if err != nil {
		t.Fatal(err)
	}
	fail := func(err error) {
		if err != nil {
			t.Fatalf("%s %v: %v", name, a, err)
		}
	}
	if domain == unix.AF_INET {
		fail(ifr.SetInet4Addr(a.Addr().AsSlice()))
		fail(unix.IoctlIfreq(fd, unix.SIOCSIFADDR, ifr))
		fail(ifr.SetInet4Addr(net.CIDRMask(a.Bits(), 32)))
		fail(unix.IoctlIfreq(fd, unix.SIOCSIFNETMASK, ifr))
	} else {
		fail(os.WriteFile("/proc/sys/net/ipv6/conf/"+name+"/accept_dad", []byte("0"), 0))
		fail(unix.IoctlIfreq(fd, unix.SIOCGIFINDEX, ifr))
		in6 := struct {
			addr  [16]byte
			bits  uint32
			index uint32
		}{a.Addr().As16(), uint32(a.Bits()), ifr.Uint32()}
		if _, _, e := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.SIOCSIFADDR, uintptr(unsafe.Pointer(&in6))); e != 0 {
			fail(e)
		}
	}
	ifr.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	fail(unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, ifr))
}

// besideTheKernel makes a host that has a device of this namespace's kernel as
// its only wire: it is 10.9.0.1 and fd09::1, the kernel 10.9.0.2 and fd09::2.
func besideTheKernel(t *testing.T) (*host.Host, *posix.Process) {
	t.Helper()
	d, err := tun.Open(tun.Config{})
	if err != nil {
		t.Fatal(err)
	}
	kernelAddress(t, d.Name(), netip.MustParsePrefix("10.9.0.2/24"))
	kernelAddress(t, d.Name(), netip.MustParsePrefix("fd09::2/64"))
	h := host.New(host.Config{Name: "h"})
	p := posix.New(h)
	t.Cleanup(func() {
		p.CloseAll()
		h.Close(context.Background())
	})
	if _, err := h.AddAdapter("eth0", d); err != nil {
		t.Fatal(err)
	}
	for _, a := range []string{"10.9.0.1/24", "fd09::1/64"} {
		if err := h.AddAddress("eth0", netip.MustParsePrefix(a)); err != nil {
			t.Fatal(err)
		}
	}
	return h, p
}

// withKey is the control of a kernel's socket that signs with a key.
func withKey(peer netip.Addr, key string) func(_, _ string, c syscall.RawConn) error {
	return func(_, _ string, c syscall.RawConn) (err error) {
		c.Control(func(fd uintptr) {
			err = unix.SetsockoptString(int(fd), unix.IPPROTO_TCP, unix.TCP_MD5SIG, string(md5sig(peer, 0, 0, key)))
		})
		return err
	}
}

// TestMD5Kernel has sockets of the kernel and ours talk over a wire with
// signatures, and not talk if their keys differ.
func TestMD5Kernel(t *testing.T) {
	testenv.InNamespace(t, func(t *testing.T) {
		testenv.NeedsTUN(t)
		needsMD5(t)
		h, p := besideTheKernel(t)
		said := bytes.Repeat([]byte("signed "), 30_000)
		for _, c := range []struct {
			name         string
			domain       int
			ours, theirs netip.Addr
		}{
			{"IPv4", unix.AF_INET, netip.MustParseAddr("10.9.0.1"), netip.MustParseAddr("10.9.0.2")},
			{"IPv6", unix.AF_INET6, netip.MustParseAddr("fd09::1"), netip.MustParseAddr("fd09::2")},
		} {
			open := func(t *testing.T, flags int, key string) int {
				fd, e := p.Socket(-1, c.domain, posix.SOCK_STREAM|flags, 0)
				if e == 0 {
					e = p.SetSockOpt(fd, posix.IPPROTO_TCP, posix.TCP_MD5SIG, md5sig(c.theirs, 0, 0, key))
				}
				if e != 0 {
					t.Fatal(e)
				}
				t.Cleanup(func() { p.Close(fd) })
				return fd
			}
			// talk has both sides send and check all of said.
			talk := func(t *testing.T, fd int, k net.Conn) {
				defer k.Close()
				k.SetDeadline(time.Now().Add(20 * time.Second))
				go k.Write(said)
				done := make(chan syscall.Errno, 1)
				go func() {
					_, e := p.Send(fd, said, 0, posix.Addr{}, nil)
					done <- e
				}()
				p.SetSockOpt(fd, posix.SOL_SOCKET, posix.SO_RCVTIMEO, binary.LittleEndian.AppendUint64([]byte{20, 15: 0}[:8], 0))
				got := make([]byte, len(said))
				back := make([]byte, len(said))
				if _, err := io.ReadFull(k, back); err != nil || !bytes.Equal(back, said) {
					t.Error("what we have sent is not what came", err)
				}
				if m, e := p.Recv(fd, got, posix.MSG_WAITALL); e != 0 || m.N != len(got) {
					t.Error("recv", m.N, e)
				}
				if e := <-done; e != 0 {
					t.Error("send", e)
				}
				if !bytes.Equal(got, said) {
					t.Error("what the kernel has sent is not what came")
				}
			}
			t.Run(c.name+"/kernel connects", func(t *testing.T) {
				l := open(t, 0, "secret")
				if e := p.Bind(l, posix.AddrOf(netip.AddrPortFrom(c.ours, 179))); e != 0 {
					t.Fatal(e)
				}
				p.Listen(l, 4)
				dial := net.Dialer{Control: withKey(c.ours, "secret"), Timeout: 10 * time.Second}
				k, err := dial.Dial("tcp", netip.AddrPortFrom(c.ours, 179).String())
				if err != nil {
					t.Fatal(err)
				}
				fd, _, e := p.Accept(l, -1, 0)
				if e != 0 {
					t.Fatal(e)
				}
				defer p.Close(fd)
				talk(t, fd, k)
				for key, reason := range map[string]packet.Reason{"": packet.ReasonTCPMD5Missing, "other": packet.ReasonTCPMD5Wrong} {
					dial := net.Dialer{Timeout: 50 * time.Millisecond}
					if key != "" {
						dial.Control = withKey(c.ours, key)
					}
					before := h.Drops()[reason]
					if k, err := dial.Dial("tcp", netip.AddrPortFrom(c.ours, 179).String()); err == nil {
						k.Close()
						t.Errorf("connected with the key %q", key)
					}
					if h.Drops()[reason] == before {
						t.Errorf("key %q: no %v counted", key, reason)
					}
				}
			})
			t.Run(c.name+"/kernel listens", func(t *testing.T) {
				lc := net.ListenConfig{Control: withKey(c.ours, "secret")}
				l, err := lc.Listen(context.Background(), "tcp", netip.AddrPortFrom(c.theirs, 0).String())
				if err != nil {
					t.Fatal(err)
				}
				defer l.Close()
				at := netip.MustParseAddrPort(l.Addr().String())
				fd := open(t, 0, "secret")
				if e := p.Connect(fd, posix.AddrOf(at)); e != 0 {
					t.Fatal(e)
				}
				k, err := l.Accept()
				if err != nil {
					t.Fatal(err)
				}
				talk(t, fd, k)
				wrong := open(t, posix.SOCK_NONBLOCK, "other")
				if e := p.Connect(wrong, posix.AddrOf(at)); e != syscall.EINPROGRESS {
					t.Fatal(e)
				}
				fds := []posix.PollFD{{FD: wrong, Events: socket.EventOut}}
				if n, _ := p.Poll(fds, 50*time.Millisecond); n != 0 {
					t.Errorf("with the wrong key: %#x", fds[0].Revents)
				}
			})
		}
	})
}
