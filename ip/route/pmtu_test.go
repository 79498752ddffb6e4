package route

import (
	"net/netip"
	"testing"
	"time"
)

func TestPMTU(t *testing.T) {
	var p PMTU
	a, b := netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("fd00::1")
	if p.Lookup(a) != 0 || p.Deadline() != never {
		t.Fatal("something is known of nothing")
	}
	for _, step := range []struct {
		now  time.Duration
		dst  netip.Addr
		mtu  int
		news bool
		want int
	}{
		{0, a, 1400, true, 1400},
		{1, a, 1400, false, 1400},
		{1, a, 1450, false, 1400}, // never raised
		{time.Minute, a, 1300, true, 1300},
		{2 * time.Minute, b, 1280, true, 1280},
	} {
		gen := p.Generation()
		if news := p.Learn(step.now, step.dst, step.mtu); news != step.news {
			t.Errorf("Learn %v %d: news %v", step.dst, step.mtu, news)
		}
		if moved := p.Generation() != gen; moved != step.news {
			t.Errorf("Learn %v %d: generation moved %v", step.dst, step.mtu, moved)
		}
		if got := p.Lookup(step.dst); got != step.want {
			t.Errorf("Lookup %v = %d, want %d", step.dst, got, step.want)
		}
	}
	p.Timeout(11*time.Minute - 1)
	if p.Lookup(a) != 1300 {
		t.Error("forgotten too early")
	}
	p.Timeout(11 * time.Minute)
	if p.Lookup(a) != 0 || p.Lookup(b) != 1280 {
		t.Error("forgotten too late, or the wrong one")
	}
	p.Timeout(p.Deadline())
	if p.Lookup(b) != 0 || p.Deadline() != never {
		t.Error("still known")
	}
}

func TestPMTUBounded(t *testing.T) {
	var p PMTU
	for i := range PMTUMax + 100 {
		p.Learn(time.Duration(i), netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}), 1000)
	}
	if len(p.paths) != PMTUMax || p.Lookup(netip.AddrFrom4([4]byte{10, 0, 0, 0})) != 0 {
		t.Errorf("%d paths", len(p.paths))
	}
}
