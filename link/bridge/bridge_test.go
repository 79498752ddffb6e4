package bridge_test

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/towpath/towpath/clock"
	"github.com/towpath/towpath/link"
	"github.com/towpath/towpath/link/bridge"
	"github.com/towpath/towpath/packet"
	"github.com/towpath/towpath/wire"
)

// A plug is the device of a port: it keeps what the bridge sends.
type plug struct {
	adapter *link.Adapter
	port    *bridge.Port
	got     [][]byte
	medium  link.Medium
}

func (p *plug) Capabilities() link.Capabilities {
	return link.Capabilities{MTU: 1500, Medium: p.medium}
}
func (p *plug) Start(a *link.Adapter) error { return nil }
func (p *plug) Close() error                { return nil }
func (p *plug) Send(l *packet.List, _ *link.Work) {
	for f := l.First(); f != nil; f = f.Next() {
		p.got = append(p.got, f.Bytes())
	}
	l.Free()
}

// indicate lets a frame come in.
func (p *plug) indicate(frame []byte) {
	f := packet.Get()
	f.AppendBytes(frame)
	var l packet.List
	l.Push(f)
	w := link.NewWork(nil)
	p.adapter.Indicate(&l, w)
	w.Run()
}

// newBridge makes a bridge of ports with these VLANs.
func newBridge(t testing.TB, c bridge.Config, ports ...bridge.PortConfig) (*bridge.Bridge, []*plug) {
	b := bridge.New(c)
	t.Cleanup(func() {
		if err := errors.Join(b.Close(), b.Close()); err != nil {
			t.Error(err)
		}
	})
	var plugs []*plug
	for i, pc := range ports {
		p := new(plug)
		p.adapter = link.NewAdapter(fmt.Sprint("p", i+1), int32(i+1), p)
		var err error
		if p.port, err = b.AddPort(p.adapter, pc); err != nil {
			t.Fatal(err)
		}
		plugs = append(plugs, p)
	}
	return b, plugs
}

func station(n byte) wire.MAC { return wire.MAC{2, 0, 0, 0, 0, n} }

var group = wire.MAC{0x33, 0x33, 0, 0, 0, 1}

// frame is one with a tag for each of tags.
func frame(dst, src wire.MAC, tags ...uint16) []byte {
	var b wire.Builder
	b.Payload(bytes.Repeat([]byte{0xab}, 46)).SetType(0x88b5)
	for _, tci := range slices.Backward(tags) {
		b.PushVLAN(uint8(tci>>13), tci&0x1000 != 0, tci&0xfff)
	}
	return slices.Clone(b.PushEthernet(dst, src).Bytes())
}

// took says by which ports a frame left, and with which tags: "2 3:10".
func took(t *testing.T, plugs []*plug, in int, f []byte) string {
	t.Helper()
	for _, p := range plugs {
		p.got = nil
	}
	plugs[in-1].indicate(f)
	var out []string
	for i, p := range plugs {
		for _, g := range p.got {
			s := fmt.Sprint(i + 1)
			h := wire.Ethernet(g)
			for body := h.Payload(); len(g) > len(f)-len(frame(group, group)) && wire.Ethernet(g).Type() == wire.EtherTypeVLAN; {
				s += fmt.Sprintf(":%d", wire.VLAN(body).TCI())
				break
			}
			if !bytes.HasSuffix(g, bytes.Repeat([]byte{0xab}, 46)) || h.Dst() != wire.Ethernet(f).Dst() || h.Src() != wire.Ethernet(f).Src() {
				t.Errorf("port %d sends % x for % x", i+1, g, f)
			}
			out = append(out, s)
		}
	}
	return strings.Join(out, " ")
}

// TestLearning follows stations as they speak, move and are silent.
func TestLearning(t *testing.T) {
	v := clock.NewVirtual(time.Unix(0, 0))
	b, plugs := newBridge(t, bridge.Config{Clock: v, Ageing: 10 * time.Second}, make([]bridge.PortConfig, 4)...)
	a, z := station(1), station(2)
	for i, c := range []struct {
		wait     time.Duration
		in       int
		dst, src wire.MAC
		want     string
	}{
		{0, 1, z, a, "2 3 4"}, // nobody knows z
		{0, 3, a, z, "1"},
		{0, 1, z, a, "3"},
		{0, 1, wire.Broadcast, a, "2 3 4"},
		{0, 1, group, a, "2 3 4"},
		{0, 1, wire.MAC{0x01, 0x80, 0xc2, 0, 0, 0}, a, "2 3 4"},
		{0, 1, wire.MAC{0x01, 0x80, 0xc2, 0, 0, 0x10}, a, "2 3 4"},
		{0, 1, wire.MAC{0x01, 0x80, 0xc2, 0, 0, 0x0e}, a, ""},
		{9 * time.Second, 1, z, a, "3"},
		{2 * time.Second, 1, z, a, "2 3 4"}, // z has been silent for 11 s
		{0, 4, wire.Broadcast, z, "1 2 3"},
		{0, 1, z, a, "4"}, // it has moved
		{0, 4, a, z, "1"},
		{0, 2, wire.Broadcast, a, "1 3 4"}, // and so has a
		{0, 4, a, z, "2"},
	} {
		v.Advance(c.wait)
		if got := took(t, plugs, c.in, frame(c.dst, c.src)); got != c.want {
			t.Errorf("frame %d left by %q, want %q", i, got, c.want)
		}
	}
	if got, want := b.Stats(), (bridge.Stats{Forwarded: 6, Flooded: 8, Learned: 3, Moved: 1}); got != want {
		t.Errorf("stats are %+v, want %+v", got, want)
	}
	if s := b.Stations(); len(s) != 2 || s[0].MAC != a || s[0].Port != plugs[1].port || s[1].MAC != z || s[0].VLAN != 0 {
		t.Errorf("stations are %+v", s)
	}
	plugs[3].port.Flush()
	if s := b.Stations(); len(s) != 1 {
		t.Errorf("after Flush stations are %+v", s)
	}
	if err := b.RemovePort(plugs[1].port); err != nil || len(b.Stations()) != 0 || len(b.Ports()) != 3 {
		t.Errorf("after RemovePort: %v, %+v", err, b.Stations())
	}
}

// TestVLANs: frames pass between ports of one VLAN, with and without tags.
func TestVLANs(t *testing.T) {
	_, plugs := newBridge(t, bridge.Config{Filtering: true},
		bridge.PortConfig{PVID: 10},
		bridge.PortConfig{PVID: 10},
		bridge.PortConfig{PVID: 20},
		bridge.PortConfig{Tagged: []uint16{10, 20}},
		bridge.PortConfig{PVID: 1, Tagged: []uint16{20}},
		bridge.PortConfig{})
	prio := uint16(5 << 13)
	for i, c := range []struct {
		in       int
		dst, src wire.MAC
		tags     []uint16
		want     string
	}{
		{1, group, station(1), nil, "2 4:10"},
		{1, group, station(1), []uint16{10}, "2 4:10"}, // the PVID with its tag
		{1, group, station(1), []uint16{prio}, fmt.Sprintf("2 4:%d", prio|10)},
		{1, group, station(1), []uint16{20}, ""},
		{3, group, station(3), nil, "4:20 5:20"},
		{4, group, station(4), nil, ""},
		{4, group, station(4), []uint16{20}, "3 5:20"},
		{4, group, station(4), []uint16{prio}, ""},
		{4, group, station(4), []uint16{4095}, ""},
		{5, group, station(5), nil, ""}, // VLAN 1 is nowhere else
		{6, group, station(6), nil, ""},
		{2, station(1), station(2), nil, "1"},
		{3, station(1), station(3), nil, "4:20 5:20"}, // not known in VLAN 20
		{4, station(1), station(4), []uint16{10}, "1"},
		{4, station(1), station(4), []uint16{10, 99}, "1:99"}, // the inner tag stays
	} {
		if got := took(t, plugs, c.in, frame(c.dst, c.src, c.tags...)); got != c.want {
			t.Errorf("frame %d left by %q, want %q", i, got, c.want)
		}
	}
	if err := plugs[5].port.Configure(bridge.PortConfig{PVID: 20}); err != nil {
		t.Error(err)
	}
	if got, want := took(t, plugs, 3, frame(group, station(3))), "4:20 5:20 6"; got != want {
		t.Errorf("after Configure it left by %q, want %q", got, want)
	}
}

// TestTableBound: a station that invents addresses does not make others
// forgotten.
func TestTableBound(t *testing.T) {
	v := clock.NewVirtual(time.Unix(0, 0))
	b, plugs := newBridge(t, bridge.Config{Clock: v, TableMax: 8, Ageing: time.Minute}, make([]bridge.PortConfig, 3)...)
	for i := range 100 {
		plugs[0].indicate(frame(group, station(byte(100+i))))
	}
	plugs[1].indicate(frame(group, station(1)))
	if got := took(t, plugs, 1, frame(station(1), station(100))); got != "2" {
		t.Errorf("station 1 is at %q", got)
	}
	if s, st := b.Stations(), b.Stats(); len(s) != 5 || st.Refused != 96 {
		t.Errorf("%d stations, %+v", len(s), st)
	}
	v.Advance(2 * time.Minute)
	plugs[0].indicate(frame(group, station(50))) // there is room again
	if s := b.Stations(); len(s) != 1 || s[0].MAC != station(50) {
		t.Errorf("stations are %+v", s)
	}
}

// TestErrors: what cannot be a port.
func TestErrors(t *testing.T) {
	b := bridge.New(bridge.Config{})
	add := func(m link.Miniport, c bridge.PortConfig) error {
		_, err := b.AddPort(link.NewAdapter("x", 1, m), c)
		return err
	}
	for want, err := range map[string]error{
		"there is no VLAN 4095":     add(&plug{}, bridge.PortConfig{PVID: 4095}),
		"there is no VLAN 0":        add(&plug{}, bridge.PortConfig{Tagged: []uint16{0}}),
		"VLAN 7 cannot be with and": add(&plug{}, bridge.PortConfig{PVID: 7, Tagged: []uint16{7}}),
		"x is not an Ethernet":      add(&plug{medium: link.MediumIP}, bridge.PortConfig{}),
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
	if len(b.Ports()) != 0 {
		t.Error("there are ports")
	}
	b.Close()
	if err := add(&plug{}, bridge.PortConfig{}); !errors.Is(err, bridge.ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
}

// TestDropReasons drops frames at every place of this package that does.
func TestDropReasons(t *testing.T) {
	_, plugs := newBridge(t, bridge.Config{Filtering: true},
		bridge.PortConfig{PVID: 1}, bridge.PortConfig{PVID: 1}, bridge.PortConfig{PVID: 2}, bridge.PortConfig{})
	plugs[1].indicate(frame(group, station(2)))
	for _, c := range []struct {
		reason packet.Reason
		in     int
		frame  []byte
	}{
		{packet.ReasonBridgeShort, 1, make([]byte, 13)},
		{packet.ReasonBridgeShort, 1, frame(group, station(1), 1)[:17]},
		{packet.ReasonBridgeSource, 1, frame(station(2), group)},
		{packet.ReasonBridgeSource, 1, frame(station(2), wire.MAC{})},
		{packet.ReasonBridgeReserved, 1, frame(wire.MAC{0x01, 0x80, 0xc2, 0, 0, 3}, station(1))},
		{packet.ReasonBridgeVLAN, 1, frame(station(2), station(1), 7)},
		{packet.ReasonBridgeVLAN, 4, frame(station(2), station(1))},
		{packet.ReasonBridgeBack, 2, frame(station(2), station(5))},
		{packet.ReasonBridgeNobody, 3, frame(group, station(3))},
	} {
		drops := count(plugs[c.in-1], c.reason)
		if got := took(t, plugs, c.in, c.frame); got != "" || count(plugs[c.in-1], c.reason) != drops+1 {
			t.Errorf("%v: frame left by %q", c.reason, got)
		}
	}
	plugs[1].adapter.SetUp(false)
	plugs[0].indicate(frame(station(2), station(1)))
	if count(plugs[0], packet.ReasonBridgeGone) != 1 {
		t.Errorf("%v: not dropped", packet.ReasonBridgeGone)
	}
}

func count(p *plug, r packet.Reason) uint64 {
	var c packet.Counters
	p.adapter.Drops(&c)
	return c[r]
}

// FuzzFrames: whatever comes in is forwarded or counted, and no packet is lost.
func FuzzFrames(f *testing.F) {
	f.Add(frame(group, station(1)), true)
	f.Add(frame(station(2), station(1), 10, 7), true)
	f.Add(frame(group, station(1))[:15], false)
	f.Fuzz(func(t *testing.T, data []byte, filtering bool) {
		if len(data) > 2000 {
			return
		}
		packet.Account(true)
		defer packet.Account(false)
		b, plugs := newBridge(t, bridge.Config{Filtering: filtering},
			bridge.PortConfig{PVID: 10}, bridge.PortConfig{Tagged: []uint16{10, 20}}, bridge.PortConfig{PVID: 20})
		plugs[2].indicate(frame(group, station(2)))
		for _, p := range plugs {
			p.got = nil
		}
		plugs[0].indicate(data)
		sent := 0
		for i, p := range plugs {
			sent += len(p.got)
			if i == 0 && len(p.got) > 0 {
				t.Error("a frame left by the port it came in by")
			}
		}
		if dropped := plugs[0].adapter.Stats().Dropped; (sent == 0) == (dropped == 0) && plugs[1].adapter.Stats().Dropped+plugs[2].adapter.Stats().Dropped == 0 {
			t.Errorf("%d sent, %d dropped", sent, dropped)
		}
		b.Close()
		if n, _ := packet.Live(); n != 0 {
			t.Errorf("%d packets are left", n)
		}
	})
}
