package conntrack

import (
	"encoding/binary"
	"sync"
	"testing"
	"time"

	"github.com/towpath/towpath/firewall/classify"
	"github.com/towpath/towpath/firewall/hook"
	"github.com/towpath/towpath/packet"
	"github.com/towpath/towpath/wire"
)

// TestReading loads every key of rules' ct expressions.
func TestReading(t *testing.T) {
	ct := NewTable(Settings{Helper: true})
	c := hook.Context{Point: hook.Prerouting}
	labels := [16]byte{15: 4}
	first := tcp(client, server, 1000, 21, tcpFields{flags: syn, seq: 99, win: 9000})
	first.Track.Zone = 3
	tracker{ct}.JudgePacket(&c, first)
	for _, s := range []*classify.Statement{ct.SetMark(0, 0x70), ct.SetLabels(labels)} {
		s.Do(&classify.Input{Packet: first})
	}
	confirmer{ct}.JudgePacket(&c, first)
	p := tcp(server, client, 21, 1000, tcpFields{flags: syn | ack, seq: 499, ack: 100, win: 9000})
	p.Track.Zone = 3
	tracker{ct}.JudgePacket(&c, p)
	r := &Reading{Table: ct, Packet: p, Now: sec}
	for _, k := range []struct {
		key   classify.CtKey
		reply bool
		want  string
	}{
		{classify.CtState, false, "\x00\x00\x00\x02"},
		{classify.CtDirection, false, "\x01"},
		{classify.CtStatus, false, "\x00\x00\x00\x0a"},
		{classify.CtMark, false, "\x00\x00\x00\x70"},
		{classify.CtExpiration, false, "\x00\x00\xe6\x78"}, // 59 s
		{classify.CtHelper, false, "ftp\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"},
		{classify.CtL3Proto, false, "\x02"},
		{classify.CtProtocol, false, "\x06"},
		{classify.CtSrc, false, "\x0a\x00\x00\x01"},
		{classify.CtDst, false, "\x0a\x00\x01\x02"},
		{classify.CtSrc, true, "\x0a\x00\x01\x02"},
		{classify.CtProtoSrc, false, "\x03\xe8"},
		{classify.CtProtoDst, false, "\x00\x15"},
		{classify.CtProtoDst, true, "\x03\xe8"},
		{classify.CtZone, false, "\x00\x03"},
		{classify.CtID, false, string(binary.BigEndian.AppendUint32(nil, ct.only(t, 0).ID))},
		{classify.CtLabels, false, string(labels[:])},
		{classify.CtBytes, false, "\x00\x00\x00\x00\x00\x00\x00\x28"},
		{classify.CtPackets, true, "\x00\x00\x00\x00\x00\x00\x00\x01"},
		{classify.CtBytesAll, false, "\x00\x00\x00\x00\x00\x00\x00\x50"},
		{classify.CtPacketsAll, false, "\x00\x00\x00\x00\x00\x00\x00\x02"},
	} {
		var buf [16]byte
		if !r.LoadCt(k.key, k.reply, buf[:len(k.want)]) || string(buf[:len(k.want)]) != k.want {
			t.Errorf("key %d reply %v: %q, want %q", k.key, k.reply, buf[:len(k.want)], k.want)
		}
	}
	for state, want := range map[packet.TrackState]classify.CtStateBits{packet.TrackInvalid: classify.CtInvalid,
		packet.TrackUntracked: classify.CtUntracked, packet.TrackNew: classify.CtNew, packet.TrackRelated: classify.CtRelated} {
		q := packet.Get()
		q.Track.State = state
		var buf [4]byte
		r := &Reading{Table: ct, Packet: q}
		if !r.LoadCt(classify.CtState, false, buf[:]) || binary.BigEndian.Uint32(buf[:]) != uint32(want) || r.LoadCt(classify.CtMark, false, buf[:]) {
			t.Errorf("state %d: %x", state, buf)
		}
		packet.Free(q)
	}
}

// A zone takes back that a packet is not to be tracked, and forestalls it; the
// first packet's flow does not expire yet.
func TestNoTrackZone(t *testing.T) {
	ct := NewTable(Settings{})
	for _, s := range [][]*classify.Statement{{NoTrack(), SetZone(7, packet.TrackBoth)}, {SetZone(7, packet.TrackBoth), NoTrack()}} {
		p := udp(client, server, 1000, 53, "")
		for _, s := range s {
			s.Do(&classify.Input{Packet: p})
		}
		tracker{ct}.JudgePacket(&hook.Context{}, p)
		if p.Track.State != packet.TrackNew || p.Track.Zone != 7 {
			t.Errorf("track %+v", p.Track)
		}
		var left [4]byte
		r := &Reading{Table: ct, Packet: p}
		if !r.LoadCt(classify.CtExpiration, false, left[:]) || left != [4]byte{} {
			t.Errorf("expires in %x", left)
		}
		packet.Free(p)
	}
}

func TestStatements(t *testing.T) {
	ct := NewTable(Settings{})
	p := udp(client, server, 1000, 69, "\x00\x01file")
	in := &classify.Input{Packet: p}
	NoTrack().Do(in)
	expectState(t, ct, p, 0, packet.TrackUntracked, false)
	p = udp(client, server, 1000, 69, "\x00\x01file")
	in.Packet = p
	SetZone(9, packet.TrackBoth).Do(in)
	c := hook.Context{Point: hook.Prerouting}
	tracker{ct}.JudgePacket(&c, p)
	tftp, err := ct.SetHelper("tftp")
	if err != nil {
		t.Fatal(err)
	}
	p.Mark = 0xff
	for _, s := range []*classify.Statement{tftp, ct.SaveMark(0x0f), ct.SetMark(^uint32(0), 0x100)} {
		s.Do(in)
	}
	p.Mark = 0
	ct.RestoreMark(0x10f).Do(in)
	if p.Mark != 0x10f {
		t.Errorf("mark %#x", p.Mark)
	}
	confirmer{ct}.JudgePacket(&c, p)
	if f := ct.only(t, 0); f.Original.Zone != 9 || f.Helper != "tftp" || len(ct.Expectations(0)) != 1 {
		t.Errorf("%v", f)
	}
	if _, err := ct.SetHelper("h323"); err == nil {
		t.Error("a helper that is not there")
	}
}

// TestConcurrent walks, lists, changes and watches at the same time.
func TestConcurrent(t *testing.T) {
	ct := NewTable(Settings{Max: 200})
	sub := ct.Subscribe(EventNew|EventUpdate|EventDestroy, 10)
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			for i := range 500 {
				now := time.Duration(i) * sec / 10
				ct.pass(udp(client, server, uint16(g*50+i%60), 53, ""), now)
				ct.pass(udp(server, client, 53, uint16(g*50+i%60), ""), now)
				switch i % 50 {
				case 0:
					for _, f := range ct.List(now) {
						_ = f.String()
					}
				case 10:
					mark := uint32(i)
					ct.Update(now, packet.Tuple{Src: client, Dst: server, SrcPort: uint16(i % 60), DstPort: 53, Proto: wire.ProtoUDP}, 0, Update{Mark: &mark})
				case 20:
					ct.Configure(func(s *Settings) { s.Max = 100 + i })
				case 30:
					ct.Flush(now, func(f *Flow) bool { return f.Unreplied })
				case 40:
					ct.Sweep(now)
				}
			}
		})
	}
	for done := false; !done; {
		select {
		case <-sub.C:
		default:
			done = sub.Lost() > 0 || ct.Stats().Insert > 100
		}
	}
	wg.Wait()
	sub.Close()
	ct.check(t)
}
