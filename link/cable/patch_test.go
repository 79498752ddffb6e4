package cable

import (
	"bytes"
	"testing"

	"github.com/towpath/towpath/link"
	"github.com/towpath/towpath/packet"
	"github.com/towpath/towpath/wire"
)

// sink keeps the frames that its adapter receives.
type sink struct{ frames [][]byte }

func (s *sink) Receive(_ *link.Adapter, l *packet.List, _ *link.Work) {
	for p := l.Pop(); p != nil; p = l.Pop() {
		s.frames = append(s.frames, p.Bytes())
		packet.Free(p)
	}
}

// TestPatch sends frames over two cables that a patch joins.
func TestPatch(t *testing.T) {
	left, a := New(Config{})
	b, right := New(Config{MTU: 1400})
	var adapters []*link.Adapter
	for i, p := range []link.Miniport{left, a, b, right} {
		ad := link.NewAdapter("eth", int32(i+1), p)
		if err := ad.Open(); err != nil {
			t.Fatal(err)
		}
		defer ad.Close()
		adapters = append(adapters, ad)
	}
	Patch(adapters[1], adapters[2])
	ends := [2]sink{}
	adapters[0].Bind(&ends[0])
	adapters[3].Bind(&ends[1])

	send := func(from *link.Adapter, frame []byte) {
		p := packet.Get()
		p.AppendBytes(frame[:60]) // headers are linear
		p.AppendBytes(frame[60:])
		p.Net = p.Start() + wire.EthernetLen
		var l packet.List
		l.Push(p)
		from.Enqueue(&l)
		w := link.NewWork(nil)
		from.Flush(w)
		w.Run()
	}
	frame := func(n int, tags int) []byte {
		var b wire.Builder
		b.Payload(make([]byte, n)).SetType(wire.EtherTypeIPv4)
		for range tags {
			b.PushVLAN(0, false, 7)
		}
		return b.PushEthernet(wire.MAC{2, 1}, wire.MAC{2, 2}).Bytes()
	}
	send(adapters[0], frame(1400, 0))
	send(adapters[0], frame(1400, 1)) // a tag is not part of the MTU
	send(adapters[0], frame(1401, 0)) // too long for the second cable
	send(adapters[3], frame(60, 0))
	if len(ends[1].frames) != 2 || !bytes.Equal(ends[1].frames[1], frame(1400, 1)) {
		t.Errorf("the right end got %d frames", len(ends[1].frames))
	}
	if len(ends[0].frames) != 1 || !bytes.Equal(ends[0].frames[0], frame(60, 0)) {
		t.Errorf("the left end got %d frames", len(ends[0].frames))
	}
	var drops packet.Counters
	adapters[2].Drops(&drops)
	if drops[packet.ReasonFrameTooBig] != 1 {
		t.Errorf("%d frames were too long", drops[packet.ReasonFrameTooBig])
	}
}
