package pcap_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/towpath/towpath/capture/pcap"
	"github.com/towpath/towpath/capture/savefile"
	"github.com/towpath/towpath/wire"
)

// captureFile is a file of n IPv4 packets; the first is TCP, every second UDP.
func captureFile(t testing.TB, n int, h savefile.Header) []byte {
	var b bytes.Buffer
	h.Link = wire.LinkRaw
	w, err := savefile.NewWriter(&b, h)
	for i := range n {
		var p wire.Builder
		p.Payload(fmt.Append(nil, "packet ", i))
		if i%2 == 1 {
			p.PushUDP(1000, 2000)
		} else {
			p.PushTCP(wire.TCPFields{SrcPort: 1000, DstPort: 80}, nil)
		}
		p.PushIPv4(wire.IPv4Fields{TTL: 64, Src: netip.MustParseAddr("10.0.0.1"), Dst: netip.MustParseAddr("10.0.0.2")})
		if err == nil {
			err = w.WritePacket(time.Unix(int64(i), 1234567), p.Bytes(), p.Len())
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func offline(t testing.TB, b []byte) *pcap.Handle {
	h, err := pcap.NewOffline(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func filter(t testing.TB, h *pcap.Handle, expression string) {
	p, err := h.Compile(expression, true, netip.Addr{})
	if err == nil {
		err = h.SetFilter(p)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func TestOffline(t *testing.T) {
	h := offline(t, captureFile(t, 4, savefile.Header{Snaplen: 1000}))
	if h.Datalink() != wire.LinkRaw || h.Snapshot() != 1000 {
		t.Errorf("link type %d, snapshot length %d", h.Datalink(), h.Snapshot())
	}
	filter(t, h, "udp")
	var got []string
	for {
		p, err := h.NextEx()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, fmt.Sprint(string(p.Data[28:]), " ", p.Time.Unix(), " ", p.Time.Nanosecond()))
	}
	if want := "packet 1 1 1234000, packet 3 3 1234000"; strings.Join(got, ", ") != want {
		t.Errorf("packets %q, want %q", got, want)
	}
	if _, err := h.Stats(); err != pcap.ErrNotSupported {
		t.Errorf("Stats: %v", err)
	}
	if err := h.Inject(nil); err != pcap.ErrNotSupported {
		t.Errorf("Inject: %v", err)
	}
	h = offline(t, captureFile(t, 1, savefile.Header{}))
	h.SetNano(true)
	if p, err := h.NextEx(); err != nil || p.Time.Nanosecond() != 1234567 {
		t.Errorf("nanoseconds: %v, %v", p.Time, err)
	}
}

func TestLoop(t *testing.T) {
	h := offline(t, captureFile(t, 10, savefile.Header{}))
	n := 0
	count := func(pcap.Packet) { n++ }
	if err := h.Loop(3, count); err != nil || n != 3 {
		t.Errorf("Loop(3): %d packets, %v", n, err)
	}
	if got, err := h.Dispatch(2, count); err != nil || got != 2 || n != 5 {
		t.Errorf("Dispatch(2): %d packets, %v", got, err)
	}
	err := h.Loop(0, func(pcap.Packet) {
		if n++; n == 7 {
			h.BreakLoop()
		}
	})
	if err != pcap.ErrBreak || n != 7 {
		t.Errorf("broken Loop: %d packets, %v", n, err)
	}
	if got, err := h.Dispatch(-1, count); err != io.EOF || got != 3 {
		t.Errorf("Dispatch(-1): %d packets, %v", got, err)
	}
	if err := h.Loop(-1, count); err != nil {
		t.Errorf("Loop at the end: %v", err)
	}
	if err := pcap.OpenDead(wire.LinkRaw, 0).Loop(1, count); err != pcap.ErrNotSupported {
		t.Errorf("Loop without packets: %v", err)
	}
}

func TestMatch(t *testing.T) {
	h := pcap.OpenDead(wire.LinkRaw, 96)
	prog, err := h.Compile("tcp port 80", true, netip.Addr{})
	if err != nil {
		t.Fatal(err)
	}
	f := offline(t, captureFile(t, 2, savefile.Header{}))
	for _, want := range []uint32{96, 0} {
		p, err := f.NextEx()
		if err != nil {
			t.Fatal(err)
		}
		if got, err := pcap.Match(prog, p); got != want || err != nil {
			t.Errorf("%s: %d, %v, want %d", p.Data[28:], got, err, want)
		}
	}
	if _, err := pcap.Match(nil, pcap.Packet{}); err == nil {
		t.Error("an empty program was run")
	}
	if _, err := h.Compile("tcp prot 80", true, netip.Addr{}); err == nil {
		t.Error("a misspelt expression was compiled")
	}
	if err := f.SetFilter(nil); err != nil {
		t.Errorf("no filter: %v", err)
	}
	if err := f.SetFilter(prog[:1]); err == nil {
		t.Error("a program without an end was taken")
	}
}

func TestDump(t *testing.T) {
	whole := captureFile(t, 4, savefile.Header{Micro: true, Snaplen: 40})
	name := filepath.Join(t.TempDir(), "a.pcap")
	h := offline(t, whole)
	for i := range 2 {
		d, err := h.DumpOpenAppend(name)
		if err != nil {
			t.Fatal(err)
		}
		err = h.Loop(2, func(p pcap.Packet) {
			if err := d.Dump(p); err != nil {
				t.Error(err)
			}
		})
		if err == nil {
			err = d.Flush()
		}
		fi, e := os.Stat(name)
		if err != nil || e != nil || fi.Size() != d.Ftell() {
			t.Errorf("part %d: %v, %v, Ftell is %d", i, err, e, d.Ftell())
		}
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	}
	if got, err := os.ReadFile(name); err != nil || !bytes.Equal(got, whole) {
		t.Errorf("%v, the file differs: %d and %d bytes", err, len(got), len(whole))
	}
	for what, h := range map[string]*pcap.Handle{
		"link type": pcap.OpenDead(wire.LinkEthernet, 40), "snapshot length": pcap.OpenDead(wire.LinkRaw, 50),
	} {
		if _, err := h.DumpOpenAppend(name); err == nil || !strings.Contains(err.Error(), "its "+what+" is ") {
			t.Errorf("appending with another %s: %v", what, err)
		}
	}
	h = pcap.OpenDead(wire.LinkRaw, 40)
	h.SetNano(true)
	if _, err := h.DumpOpenAppend(name); err == nil || !strings.Contains(err.Error(), "precision") {
		t.Errorf("appending with another precision: %v", err)
	}
	if _, err := h.DumpOpen(t.TempDir()); err == nil {
		t.Error("a directory was written to")
	}
	if h, err := pcap.OpenOffline(name); err != nil {
		t.Error(err)
	} else if err := h.Close(); err != nil {
		t.Error(err)
	}
	if _, err := pcap.OpenOffline(t.TempDir() + "/none"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a file that is not there: %v", err)
	}
}

func TestDatalink(t *testing.T) {
	for _, c := range []struct {
		link              wire.LinkType
		name, description string
	}{
		{0, "NULL", "BSD loopback"}, {1, "EN10MB", "Ethernet"}, {101, "RAW", "Raw IP"}, {276, "LINUX_SLL2", "Linux cooked v2"}, {65000, "", ""},
	} {
		if n, d := pcap.DatalinkName(c.link), pcap.DatalinkDescription(c.link); n != c.name || d != c.description {
			t.Errorf("%d is %q, %q", c.link, n, d)
		}
		if l, ok := pcap.DatalinkByName(strings.ToLower(c.name)); c.name != "" && (!ok || l != c.link) {
			t.Errorf("%s is %d, %t", c.name, l, ok)
		}
	}
	if _, ok := pcap.DatalinkByName("FOO"); ok {
		t.Error("FOO is a link type")
	}
}

func TestDirection(t *testing.T) {
	var b bytes.Buffer
	w, err := savefile.NewPcapngWriter(&b, savefile.Section{})
	if err == nil {
		_, err = w.AddInterface(savefile.Interface{Link: wire.LinkRaw})
	}
	for d := range savefile.Direction(3) {
		if err == nil {
			err = w.WritePacket(savefile.Packet{Time: time.Unix(0, 0), Data: []byte{byte(d)}, Length: 1, Direction: d})
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	for d, want := range []string{"012", "01", "02"} {
		h := offline(t, b.Bytes())
		h.SetDirection(savefile.Direction(d))
		got := ""
		if err := h.Loop(0, func(p pcap.Packet) { got += fmt.Sprint(p.Data[0]) }); err != nil || got != want {
			t.Errorf("direction %d: %s, %v, want %s", d, got, err, want)
		}
	}
}

func ExampleHandle_SetFilter() {
	h := offline(new(testing.B), captureFile(new(testing.B), 4, savefile.Header{}))
	prog, err := h.Compile("udp dst port 2000", true, netip.Addr{})
	if err != nil {
		fmt.Println(err)
		return
	}
	if err := h.SetFilter(prog); err != nil {
		fmt.Println(err)
		return
	}
	h.Loop(0, func(p pcap.Packet) { fmt.Printf("%d bytes: %s\n", p.Length, p.Data[28:]) })
	// Output:
	// 36 bytes: packet 1
	// 36 bytes: packet 3
}
