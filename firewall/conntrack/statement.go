package conntrack

import (
	"fmt"

	"github.com/towpath/towpath/firewall/classify"
	"github.com/towpath/towpath/packet"
)

// NoTrack is the statement that a packet is not to be tracked (nft: notrack).
// It acts before the tracker, at hook.PriorityRaw. A packet that has got a zone
// stays one to be tracked, as with the kernel.
func NoTrack() *classify.Statement {
	return &classify.Statement{Name: "notrack", Do: func(in *classify.Input) classify.Verdict {
		if in.Packet.Track == (packet.Track{}) {
			in.Packet.Track.State = packet.TrackUntracked
		}
		return classify.Verdict{}
	}}
}

// SetZone is the statement that a packet's flow is looked for in a zone, which
// counts in the directions dirs (nft: ct zone set). It acts before the tracker,
// and takes NoTrack back.
func SetZone(zone uint16, dirs packet.TrackDirs) *classify.Statement {
	return &classify.Statement{Name: fmt.Sprintf("ct zone set %d", zone), Do: func(in *classify.Input) classify.Verdict {
		if t := &in.Packet.Track; t.Conn == nil {
			*t = packet.Track{Zone: zone, Dirs: dirs}
		}
		return classify.Verdict{}
	}}
}

// SetMark is the statement that a flow's mark becomes mark & keep ^ xor (nft:
// ct mark set; iptables: CONNMARK).
func (t *Table) SetMark(keep, xor uint32) *classify.Statement {
	return t.act(fmt.Sprintf("ct mark set ct mark & %#x ^ %#x", keep, xor), func(e *Entry, _ *packet.Packet) bool {
		return t.setMark(e, e.mark&keep^xor)
	})
}

// SaveMark is the statement that a flow gets its packet's mark, in the bits of
// mask (iptables: CONNMARK --save-mark).
func (t *Table) SaveMark(mask uint32) *classify.Statement {
	return t.act(fmt.Sprintf("ct mark set meta mark & %#x", mask), func(e *Entry, p *packet.Packet) bool {
		return t.setMark(e, e.mark&^mask|p.Mark&mask)
	})
}

// RestoreMark is the statement that a packet gets its flow's mark, in the bits
// of mask (iptables: CONNMARK --restore-mark).
func (t *Table) RestoreMark(mask uint32) *classify.Statement {
	return t.act(fmt.Sprintf("meta mark set ct mark & %#x", mask), func(e *Entry, p *packet.Packet) bool {
		p.Mark = p.Mark&^mask | e.mark&mask
		return false
	})
}

func (t *Table) setMark(e *Entry, mark uint32) (changed bool) {
	changed = e.mark != mark
	e.mark = mark
	return changed
}

// SetLabels is the statement that a flow gets the labels, beside those it has
// (nft: ct label set).
func (t *Table) SetLabels(labels [16]byte) *classify.Statement {
	return t.act(fmt.Sprintf("ct label set %#x", labels), func(e *Entry, _ *packet.Packet) bool {
		x := e.extend()
		was := x.labels
		for i, b := range labels {
			x.labels[i] |= b
		}
		return was != x.labels
	})
}

// SetHelper is the statement that a helper reads a new flow: "ftp" or "tftp"
// (nft: ct helper set). Of another protocol's flows it does nothing.
func (t *Table) SetHelper(name string) (*classify.Statement, error) {
	h := helperNamed(name)
	if h == nil {
		return nil, fmt.Errorf("conntrack: no helper %q; there are ftp and tftp", name)
	}
	return t.act("ct helper set "+name, func(e *Entry, _ *packet.Packet) bool {
		if e.status&Confirmed == 0 && e.nodes[original].key.proto() == h.proto {
			e.extend().helper = h
			e.status |= HelperSet
		}
		return false
	}), nil
}

// act makes a statement about the flow of a packet. do reports whether it has
// changed what others watch.
func (t *Table) act(name string, do func(e *Entry, p *packet.Packet) bool) *classify.Statement {
	return &classify.Statement{Name: name, Do: func(in *classify.Input) classify.Verdict {
		if in.Packet.Track.Conn == nil {
			return classify.Verdict{}
		}
		t.mu.Lock()
		defer t.mu.Unlock()
		if e, _ := t.of(in.Packet); e != nil && do(e, in.Packet) {
			t.report(EventUpdate, e)
		}
		return classify.Verdict{}
	}}
}
