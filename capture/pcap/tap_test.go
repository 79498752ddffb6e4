package pcap_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"testing"
	"time"

	"github.com/towpath/towpath/capture"
	"github.com/towpath/towpath/capture/pcap"
	"github.com/towpath/towpath/capture/savefile"
	"github.com/towpath/towpath/firewall/hook"
	"github.com/towpath/towpath/host"
	"github.com/towpath/towpath/internal/testenv"
	"github.com/towpath/towpath/link/cable"
	"github.com/towpath/towpath/packet"
	"github.com/towpath/towpath/wire"
)

// pair is two hosts on a cable.
func pair(t *testing.T) (a, b *host.Host) {
	p, q := cable.New(cable.Config{})
	for i, end := range []*cable.Port{p, q} {
		h := host.New(host.Config{Name: fmt.Sprint("host", i+1)})
		t.Cleanup(func() { h.Close(context.Background()) })
		_, err := h.AddAdapter("eth0", end)
		if err == nil {
			err = h.AddAddress("eth0", netip.MustParsePrefix(fmt.Sprintf("10.0.0.%d/24", i+1)))
		}
		if err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			a = h
		} else {
			b = h
		}
	}
	return a, b
}

func send(t *testing.T, h *host.Host, to string, texts ...string) {
	t.Helper()
	c, err := h.Dial("udp", to)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for _, s := range texts {
		if _, err := c.Write([]byte(s)); err != nil {
			t.Fatal(err)
		}
	}
}

// serve takes datagrams on a port, so that none is refused.
func serve(t *testing.T, h *host.Host, address string) {
	l, err := h.ListenPacket("udp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
}

func payloads(t *testing.T, h *pcap.Handle, head, n int) (all []string) {
	t.Helper()
	for len(all) < n {
		p, err := h.NextEx()
		if err != nil {
			t.Fatalf("after %q: %v", all, err)
		}
		all = append(all, string(p.Data[head+wire.IPv4Len+wire.UDPLen:]))
	}
	return all
}

func TestOpenAdapter(t *testing.T) {
	a, b := pair(t)
	serve(t, b, "10.0.0.2:9")
	h, err := pcap.OpenAdapter(b.Adapter("eth0"), b.Clock(), pcap.Options{Immediate: true, Timeout: 5 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	filter(t, h, "udp port 9")
	send(t, a, "10.0.0.2:9", "one", "two")
	p, err := h.NextEx()
	if err != nil || string(p.Data[42:]) != "one" || p.Direction != savefile.DirectionIn {
		t.Fatalf("%+v, %v", p, err)
	}
	frame := append([]byte(nil), p.Data...)
	if got := fmt.Sprint(payloads(t, h, wire.EthernetLen, 1)); got != "[two]" {
		t.Errorf("then came %s", got)
	}
	// What is sent is seen, and arrives.
	other, err := pcap.OpenAdapter(a.Adapter("eth0"), nil, pcap.Options{Immediate: true})
	if err != nil {
		t.Fatal(err)
	}
	if err := other.Inject(frame); err != nil {
		t.Error(err)
	}
	if p, err := other.NextEx(); err != nil || p.Direction != savefile.DirectionOut || p.Length != len(frame) {
		t.Errorf("sent: %+v, %v", p, err)
	}
	if got := fmt.Sprint(payloads(t, h, wire.EthernetLen, 1)); got != "[one]" {
		t.Errorf("sent, then arrived %s", got)
	}
	if s, err := h.Stats(); err != nil || s.Recv < 3 || s.Drop != 0 {
		t.Errorf("%+v, %v", s, err)
	}
	if err := errors.Join(h.Close(), other.Close()); err != nil {
		t.Error(err)
	}
	if _, err := h.NextEx(); err != io.EOF {
		t.Errorf("closed: %v", err)
	}
	if _, err := pcap.OpenAdapter(b.Adapter("eth0"), nil, pcap.Options{Snaplen: -1}); err == nil {
		t.Error("a negative snapshot length was taken")
	}
}

// TestOpenAdapters: what comes in at one adapter and goes out at another.
func TestOpenAdapters(t *testing.T) {
	a, b := pair(t)
	serve(t, b, "10.0.0.2:9")
	h, err := pcap.OpenAdapters(b.Adapters(), b.Clock(), pcap.Options{Timeout: 5 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	if h.Datalink() != wire.LinkSLL2 {
		t.Errorf("link type %d", h.Datalink())
	}
	filter(t, h, "udp port 9")
	send(t, a, "10.0.0.2:9", "cable")
	send(t, b, "127.0.0.1:9", "loop")
	const head = 20
	for _, want := range []struct {
		text, adapter string
		way           savefile.Direction
	}{{"cable", "eth0", savefile.DirectionIn}, {"loop", "lo", savefile.DirectionOut}, {"loop", "lo", savefile.DirectionIn}} {
		p, err := h.NextEx()
		if err != nil {
			t.Fatal(err)
		}
		text, index := string(p.Data[head+wire.IPv4Len+wire.UDPLen:]), int32(binary.BigEndian.Uint32(p.Data[4:]))
		if text != want.text || index != b.Adapter(want.adapter).Index() || p.Direction != want.way {
			t.Errorf("%q at %d, direction %d; want %+v", text, index, p.Direction, want)
		}
	}
	if err := h.Inject(nil); err != pcap.ErrNotSupported {
		t.Errorf("Inject: %v", err)
	}
}

// TestOpenTap: at a point of the walk.
func TestOpenTap(t *testing.T) {
	a, b := pair(t)
	serve(t, b, "10.0.0.2:9")
	h, err := pcap.OpenTap(wire.LinkRaw, b.Clock(), pcap.Options{Timeout: 5 * time.Second}, func(x *capture.Tap) (func(), error) {
		return func() { b.RemoveJudge(hook.Input, x) }, b.AddJudge(hook.Input, hook.PriorityFilter, x)
	})
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	send(t, a, "10.0.0.2:9", "one", "two")
	if got := fmt.Sprint(payloads(t, h, 0, 2)); got != "[one two]" {
		t.Errorf("came %s", got)
	}
	_, err = pcap.OpenTap(wire.LinkRaw, nil, pcap.Options{}, func(*capture.Tap) (func(), error) { return nil, errors.New("no place") })
	if err == nil || err.Error() != "no place" {
		t.Errorf("%v", err)
	}
}

// TestQueue: waiting, size, snapshot length and filters of a handle's queue.
func TestQueue(t *testing.T) {
	a, b := pair(t)
	serve(t, b, "10.0.0.2:9")
	open := func(o pcap.Options) *pcap.Handle {
		h, err := pcap.OpenAdapter(b.Adapter("eth0"), b.Clock(), o)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { h.Close() })
		filter(t, h, "udp")
		return h
	}
	h := open(pcap.Options{})
	time.AfterFunc(10*time.Millisecond, h.BreakLoop)
	if _, err := h.NextEx(); err != pcap.ErrBreak {
		t.Errorf("broken: %v", err)
	}
	h = open(pcap.Options{Timeout: time.Millisecond})
	if _, err := h.NextEx(); err != pcap.ErrTimeout {
		t.Errorf("no packet: %v", err)
	}
	// The filter sees what the snapshot leaves out.
	h = open(pcap.Options{Snaplen: 20, Timeout: 5 * time.Second})
	filter(t, h, "udp[8] = 0x78")
	send(t, a, "10.0.0.2:9", "y", "x")
	if p, err := h.NextEx(); err != nil || len(p.Data) != 20 || p.Length != 43 {
		t.Errorf("%d bytes of %d, %v", len(p.Data), p.Length, err)
	}
	// What does not fit is counted, and what waits is filtered again.
	h = open(pcap.Options{BufferSize: 1000, Timeout: time.Second})
	send(t, a, "10.0.0.2:9", "1", "2", "3", "4", "5", "6", "7", "8", "9")
	var s pcap.Stats
	for range 1000 { // the tap has a goroutine
		var err error
		if s, err = h.Stats(); err != nil || s.Recv+s.Drop >= 9 {
			break
		}
		time.Sleep(time.Millisecond)
	}
	filter(t, h, "udp[8] & 1 = 0")
	if err := h.Close(); err != nil {
		t.Error(err)
	}
	n := 0
	err := h.Loop(0, func(p pcap.Packet) {
		if p.Data[42]&1 != 0 {
			t.Errorf("%q has passed", p.Data[42:])
		}
		n++
	})
	if err != nil || s.Drop == 0 || n == 0 || n > 4 {
		t.Errorf("%d packets read; %+v, %v", n, s, err)
	}
}

// TestTapAllocs: once the banks have grown, packets cost no memory.
func TestTapAllocs(t *testing.T) {
	if testenv.Race {
		t.Skip("the race detector allocates")
	}
	_, b := pair(t)
	var tap *capture.Tap
	h, err := pcap.OpenTap(wire.LinkEthernet, b.Clock(), pcap.Options{Immediate: true}, func(x *capture.Tap) (func(), error) {
		tap = x
		return func() {}, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	filter(t, h, "ether[0] = 2")
	p := packet.Get()
	defer packet.Free(p)
	p.AppendBytes([]byte("\x02\x00\x00\x00\x00\x01\x02\x00\x00\x00\x00\x02\x12\x34payload"))
	one := func() {
		tap.Tap(b.Adapter("eth0"), 0, p)
		if _, err := h.NextEx(); err != nil {
			t.Fatal(err)
		}
	}
	for range 100 {
		one()
	}
	if n := testing.AllocsPerRun(200, one); n >= 1 {
		t.Errorf("%v allocations a packet", n)
	}
}
