package pcap_test

import (
	"errors"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/towpath/towpath/capture/pcap"
	"github.com/towpath/towpath/internal/sys"
	"github.com/towpath/towpath/internal/testenv"
)

func TestOpenLive(t *testing.T) {
	testenv.InNamespace(t, func(t *testing.T) {
		nl, err := sys.OpenNetlink()
		if err != nil {
			t.Fatal(err)
		}
		defer nl.Close()
		lo, err := nl.Index("lo")
		if err == nil {
			err = nl.SetLink(lo, sys.Link{Up: true})
		}
		if err != nil {
			t.Fatal(err)
		}
		h, err := pcap.OpenLive("lo", pcap.Options{Snaplen: 1000, Promisc: true, Immediate: true, Nano: true})
		if err != nil {
			t.Fatal(err)
		}
		defer h.Close()
		if h.Snapshot() != 1000 || pcap.DatalinkName(h.Datalink()) != "EN10MB" || !h.Nano() {
			t.Errorf("snapshot length %d, link type %d", h.Snapshot(), h.Datalink())
		}
		if err := h.SetDatalink(h.ListDatalinks()[0]); err != nil {
			t.Error(err)
		}
		if err := h.SetDatalink(101); !errors.Is(err, pcap.ErrNotSupported) {
			t.Errorf("SetDatalink: %v", err)
		}
		filter(t, h, "udp port 9")
		c, err := net.Dial("udp", "127.0.0.1:9")
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		c.Write([]byte("one"))
		var frame []byte
		if n, err := h.Dispatch(0, func(p pcap.Packet) { frame = append(frame, p.Data...) }); n != 1 || err != nil {
			t.Fatalf("Dispatch: %d, %v", n, err)
		}
		if err := h.Inject(frame); err != nil {
			t.Error(err)
		}
		if p, err := h.NextEx(); err != nil || string(p.Data[42:]) != "one" {
			t.Errorf("injected: %q, %v", p.Data, err)
		}
		time.AfterFunc(10*time.Millisecond, h.BreakLoop)
		if err := h.Loop(0, func(pcap.Packet) {}); err != pcap.ErrBreak {
			t.Errorf("broken Loop: %v", err)
		}
		if s, err := h.Stats(); err != nil || s.Recv < 3 || s.Drop != 0 {
			t.Errorf("%+v, %v", s, err)
		}
		if n, err := pcap.LookupNet("lo"); err != nil || n != netip.MustParsePrefix("127.0.0.0/8") {
			t.Errorf("LookupNet: %v, %v", n, err)
		}
	})
}

func TestNoDevice(t *testing.T) {
	if _, err := pcap.LookupNet("nothing"); err == nil {
		t.Error("a device that is not there has a network")
	}
	if _, err := pcap.OpenLive("nothing", pcap.Options{}); err == nil {
		t.Error("a device that is not there was opened")
	}
}
