package live_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/towpath/towpath/capture/bpf"
	"github.com/towpath/towpath/capture/expr"
	"github.com/towpath/towpath/capture/live"
	"github.com/towpath/towpath/capture/savefile"
	"github.com/towpath/towpath/internal/sys"
	"github.com/towpath/towpath/internal/testenv"
	"github.com/towpath/towpath/wire"
)

// modes are the two ways in which packets come.
var modes = map[string]live.Config{"ring": {Delay: 20 * time.Millisecond}, "immediate": {Immediate: true}}

// loopback is a namespace whose loopback is up.
func loopback(t *testing.T) *sys.Netlink {
	nl, err := sys.OpenNetlink()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { nl.Close() })
	up(t, nl, "lo")
	return nl
}

func up(t *testing.T, nl *sys.Netlink, name string) (index int) {
	index, err := nl.Index(name)
	if err == nil {
		err = nl.SetLink(index, sys.Link{Up: true})
	}
	if err != nil {
		t.Fatal(err)
	}
	return index
}

func open(t *testing.T, device string, c live.Config) *live.Capture {
	t.Helper()
	h, err := live.Open(device, c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.Close() })
	return h
}

// send sends datagrams to a port of the loopback.
func send(t *testing.T, port uint16, texts ...string) {
	t.Helper()
	c, err := net.Dial("udp", netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), port).String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for _, s := range texts {
		for { // the answer to the one before is that nobody listens
			if _, err = c.Write([]byte(s)); !errors.Is(err, unix.ECONNREFUSED) {
				break
			}
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// texts are the payloads of the datagrams that come, until there are none for a
// while.
func texts(t *testing.T, h *live.Capture, head int) (all []string) {
	t.Helper()
	for {
		p, err := h.Next(100 * time.Millisecond)
		if err == live.ErrTimeout {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, string(p.Data[min(len(p.Data), head+wire.IPv4Len+wire.UDPLen):]))
	}
}

func compile(t *testing.T, h *live.Capture, expression string) bpf.Program {
	t.Helper()
	p, err := expr.Compile(expression, expr.Config{Link: h.Link(), Snaplen: uint32(h.Snaplen()), Optimize: true, Live: h.Beside()})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func each(t *testing.T, f func(t *testing.T, c live.Config)) {
	testenv.InNamespace(t, func(t *testing.T) {
		for name, c := range modes {
			t.Run(name, func(t *testing.T) { f(t, c) })
		}
	})
}

func TestCapture(t *testing.T) {
	each(t, func(t *testing.T, c live.Config) {
		loopback(t)
		h := open(t, "lo", c)
		if h.Link() != wire.LinkEthernet || !h.Beside() {
			t.Errorf("link type %d", h.Link())
		}
		if err := h.SetFilter(compile(t, h, "udp")); err != nil {
			t.Fatal(err)
		}
		before := time.Now()
		send(t, 9, "one", "two", "three")
		p, err := h.Next(-1)
		if err != nil {
			t.Fatal(err)
		}
		if s := wire.Format(p.Data, h.Link()); !strings.Contains(s, "127.0.0.1") || p.Length != len(p.Data) || p.Direction != savefile.DirectionIn {
			t.Errorf("%s, %d of %d bytes, direction %d", s, len(p.Data), p.Length, p.Direction)
		}
		if p.Time.Before(before.Add(-time.Second)) || p.Time.After(time.Now().Add(time.Second)) {
			t.Errorf("time is %v, now is %v", p.Time, time.Now())
		}
		if got := fmt.Sprint(texts(t, h, wire.EthernetLen)); got != "[two three]" {
			t.Errorf("then came %s", got)
		}
		s, err := h.Stats()
		if err != nil || s.Received < 3 || s.Dropped != 0 {
			t.Errorf("%+v, %v", s, err)
		}
	})
}

// TestSetFilter: packets that wait are filtered too, exactly, also by what is
// known beside them.
func TestSetFilter(t *testing.T) {
	each(t, func(t *testing.T, c live.Config) {
		loopback(t)
		for _, x := range []struct{ expression, want string }{
			{"udp dst port 9", "[a c e]"}, {"udp and inbound", "[a b c d e]"}, {"udp and outbound", "[]"},
			{"udp and ifindex 1", "[a b c d e]"}, {"udp and ifindex 2", "[]"}, {"udp and not vlan", "[a b c d e]"},
			{"udp and ip[28] = 0x62", "[b]"},
			{"ip protochain 17", "[a b c d e]"}, // the kernel takes no loops
		} {
			h := open(t, "lo", c)
			send(t, 9, "a")
			send(t, 10, "b")
			time.Sleep(time.Millisecond) // "a" and "b" wait
			if err := h.SetFilter(compile(t, h, x.expression)); err != nil {
				t.Fatal(err)
			}
			send(t, 9, "c")
			send(t, 10, "d")
			send(t, 9, "e")
			if got := fmt.Sprint(texts(t, h, wire.EthernetLen)); got != x.want {
				t.Errorf("%s: %s, want %s", x.expression, got, x.want)
			}
			h.Close()
		}
		h := open(t, "lo", c)
		if err := h.SetFilter(bpf.Program{{Op: bpf.ClassALU}}); err == nil {
			t.Error("a program without an end was taken")
		}
		if err := h.SetFilter(compile(t, h, "udp dst port 9")); err != nil {
			t.Fatal(err)
		}
		if err := h.SetFilter(nil); err != nil {
			t.Fatal(err)
		}
		send(t, 10, "x")
		if got := strings.Join(texts(t, h, wire.EthernetLen), ""); !strings.Contains(got, "x") {
			t.Errorf("without a filter: %q", got)
		}
	})
}

func TestSnaplen(t *testing.T) {
	each(t, func(t *testing.T, c live.Config) {
		loopback(t)
		c.Snaplen = 44
		h := open(t, "lo", c)
		for _, expression := range []string{"", "udp"} {
			if err := h.SetFilter(compile(t, h, expression)); err != nil {
				t.Fatal(err)
			}
			send(t, 9, "0123456789")
			for {
				p, err := h.Next(time.Second)
				if err != nil {
					t.Fatal(err)
				}
				if p.Length == 52 {
					if len(p.Data) != 44 {
						t.Errorf("%q: %d of %d bytes", expression, len(p.Data), p.Length)
					}
					break
				}
			}
			texts(t, h, 0)
		}
	})
}

// TestAny: all interfaces, with a header that tells which.
func TestAny(t *testing.T) {
	each(t, func(t *testing.T, c live.Config) {
		loopback(t)
		h := open(t, live.Any, c)
		if err := h.SetFilter(compile(t, h, "udp and ifindex 1 and inbound")); err != nil {
			t.Fatal(err)
		}
		send(t, 9, "one", "two")
		p, err := h.Next(time.Second)
		if err != nil {
			t.Fatal(err)
		}
		want := []byte{8, 0, 0, 0, 0, 0, 0, 1, 3, 4, 0, 6, 0, 0, 0, 0, 0, 0, 0, 0, 0x45}
		if h.Link() != 276 || !bytes.HasPrefix(p.Data, want) || p.Length != len(p.Data) {
			t.Errorf("link type %d, packet % x", h.Link(), p.Data)
		}
		if got := fmt.Sprint(texts(t, h, 20)); got != "[two]" {
			t.Errorf("then came %s", got)
		}
		if err := h.Inject(p.Data); !errors.Is(err, unix.EOPNOTSUPP) {
			t.Errorf("Inject: %v", err)
		}
	})
}

// TestVLAN: the kernel takes the tag away, and it is seen where it was.
func TestVLAN(t *testing.T) {
	each(t, func(t *testing.T, c live.Config) {
		nl := loopback(t)
		if err := nl.AddVeth(sys.Link{Name: "a"}, sys.Link{Name: "b"}, -1); err != nil {
			t.Skipf("needs veth pairs: %v", err)
		}
		t.Cleanup(func() { // for the other mode
			if i, err := nl.Index("a"); err == nil {
				nl.DeleteLink(i)
			}
		})
		up(t, nl, "a")
		up(t, nl, "b")
		from, to := open(t, "a", c), open(t, "b", c)
		var b wire.Builder
		frame := bytes.Clone(b.Payload([]byte("payload of the frame, more than forty-six bytes long")).SetType(0x1234).
			PushVLAN(5, false, 42).PushEthernet(wire.Broadcast, wire.MAC{2, 0, 0, 0, 0, 1}).Bytes())
		for _, expression := range []string{"vlan 42 and ether proto 0x1234", "vlan and ether src 2:0:0:0:0:1 and inbound"} {
			if err := to.SetFilter(compile(t, to, expression)); err != nil {
				t.Fatal(err)
			}
			if err := from.Inject(frame); err != nil {
				t.Fatal(err)
			}
			p, err := to.Next(time.Second)
			if err != nil || !bytes.Equal(p.Data, frame) || p.Length != len(frame) {
				t.Errorf("%s: %v\n% x, want\n% x", expression, err, p.Data, frame)
			}
		}
		// Here the packet waits when the filter is set.
		if err := to.SetFilter(nil); err != nil {
			t.Fatal(err)
		}
		if err := from.Inject(frame); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Millisecond)
		if err := to.SetFilter(compile(t, to, "vlan 43")); err != nil {
			t.Fatal(err)
		}
		if p, err := to.Next(100 * time.Millisecond); err != live.ErrTimeout {
			t.Errorf("another tag: % x, %v", p.Data, err)
		}
		// What leaves is seen as well, but by who sent it.
		other := open(t, "a", c)
		if err := from.SetFilter(compile(t, from, "outbound and vlan 42")); err != nil {
			t.Fatal(err)
		}
		if err := other.Inject(frame); err != nil {
			t.Fatal(err)
		}
		if p, err := from.Next(time.Second); err != nil || p.Direction != savefile.DirectionOut || !bytes.Equal(p.Data, frame) {
			t.Errorf("leaving: %v, direction %d, % x", err, p.Direction, p.Data)
		}
	})
}

func TestInterrupt(t *testing.T) {
	each(t, func(t *testing.T, c live.Config) {
		loopback(t)
		h := open(t, "lo", c)
		if _, err := h.Next(0); err != live.ErrTimeout {
			t.Errorf("without waiting: %v", err)
		}
		for range 20 {
			go h.Interrupt()
			if _, err := h.Next(-1); err != live.ErrTimeout {
				t.Fatalf("interrupted: %v", err)
			}
			time.Sleep(time.Millisecond)
			h.Next(0) // an interruption may be left over
		}
	})
}

func TestDown(t *testing.T) {
	each(t, func(t *testing.T, c live.Config) {
		nl := loopback(t)
		if err := nl.AddVeth(sys.Link{Name: "a"}, sys.Link{Name: "b"}, -1); err != nil {
			t.Skipf("needs veth pairs: %v", err)
		}
		up(t, nl, "a")
		h := open(t, "a", c)
		index := up(t, nl, "b")
		done := make(chan error)
		go func() {
			for {
				if _, err := h.Next(-1); err != nil {
					done <- err
					return
				}
			}
		}()
		if err := nl.DeleteLink(index); err != nil {
			t.Fatal(err)
		}
		if err := <-done; !errors.Is(err, unix.ENETDOWN) || !strings.HasPrefix(err.Error(), "capture on a: the interface ") {
			t.Errorf("%v", err)
		}
	})
}

// TestLoad: more packets than a block holds, none of them lost or seen twice.
func TestLoad(t *testing.T) {
	testenv.InNamespace(t, func(t *testing.T) {
		loopback(t)
		h := open(t, "lo", live.Config{Buffer: 8 << 20, Delay: 10 * time.Millisecond})
		if err := h.SetFilter(compile(t, h, "udp port 9")); err != nil {
			t.Fatal(err)
		}
		const n = 20000
		go func() {
			c, err := net.Dial("udp", "127.0.0.1:9")
			if err != nil {
				return
			}
			defer c.Close()
			b := make([]byte, 1000)
			for i := 0; i < n; {
				binary.BigEndian.PutUint32(b, uint32(i))
				if _, err := c.Write(b); err == nil {
					i++
				}
			}
		}()
		seen := 0
		last := -1
		for {
			p, err := h.Next(300 * time.Millisecond)
			if err == live.ErrTimeout {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			i := int(binary.BigEndian.Uint32(p.Data[42:]))
			if i <= last {
				t.Fatalf("packet %d after %d", i, last)
			}
			last = i
			seen++
		}
		s, err := h.Stats()
		// The kernel counts packets of the loopback twice, leaving and arriving.
		if err != nil || s.Received != 2*n || uint64(seen)+s.Dropped < n {
			t.Errorf("saw %d of %d packets; %+v, %v", seen, n, s, err)
		}
	})
}

func TestOpenFails(t *testing.T) {
	_, err := live.Open("nothing", live.Config{})
	if !errors.Is(err, unix.ENODEV) || !strings.HasPrefix(err.Error(), `there is no interface "nothing", but `) {
		t.Errorf("%v", err)
	}
	if os.Getuid() == 0 {
		t.Skip("root may capture")
	}
	if _, err := live.Open("lo", live.Config{}); !errors.Is(err, unix.EPERM) {
		t.Errorf("%v", err)
	}
}

func TestDevices(t *testing.T) {
	all, err := live.Devices()
	if err != nil {
		t.Fatal(err)
	}
	found := false
	for _, d := range all {
		found = found || d.Name == live.Any
		if d.Loopback && d.Name != "lo" {
			t.Errorf("%+v", d)
		}
	}
	if !found {
		t.Errorf("%v is without any", all)
	}
}
