package frag

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/towpath/towpath/packet"
	"github.com/towpath/towpath/wire"
)

// A model is one datagram as a plain array of bytes.
type model struct {
	has   [sizeMax + 8]bool
	data  [sizeMax + 8]byte
	parts []modelPart
	total int
	end   int
	dead  bool
}

type modelPart struct {
	off  int
	more bool
	data []byte
}

// add says what becomes of a part, and the whole if it is complete now.
func (m *model) add(off int, more bool, data []byte) (packet.Reason, []byte) {
	end := off + len(data)
	switch {
	case len(data) == 0:
		return packet.ReasonFragEmpty, nil
	case more && len(data)%8 != 0:
		return packet.ReasonFragLength, nil
	case m.dead:
		return packet.ReasonFragAbandoned, nil
	case wire.IPv4Len+max(end, m.end) > sizeMax:
		return packet.ReasonFragOversize, nil
	}
	r := packet.NotDropped
	same := false
	for _, p := range m.parts {
		pend := p.off + len(p.data)
		if p.off == off && p.more == more && bytes.Equal(p.data, data) {
			same = true
		}
		if !p.more && (end > pend || !more && end != pend) || !more && pend > end {
			r = packet.ReasonFragEnd
		}
	}
	switch {
	case r != packet.NotDropped:
	case same:
		return packet.ReasonFragDuplicate, nil
	default:
		for i := off; i < end; i++ {
			if m.has[i] {
				r = packet.ReasonFragOverlap
			}
		}
	}
	if r != packet.NotDropped {
		m.dead = true
		return r, nil
	}
	m.parts = append(m.parts, modelPart{off, more, data})
	m.end = max(m.end, end)
	copy(m.data[off:], data)
	for i := off; i < end; i++ {
		m.has[i] = true
	}
	if !more {
		m.total = end
	}
	if m.total == 0 {
		return packet.NotDropped, nil
	}
	for i := range m.total {
		if !m.has[i] {
			return packet.NotDropped, nil
		}
	}
	return packet.NotDropped, bytes.Clone(m.data[:m.total])
}

// Random fragments, good ones and bad ones mixed, of several datagrams at once:
// the table does what the model does.
func TestModel(t *testing.T) {
	account(t)
	outcomes := make(map[string]int)
	for seed := range uint64(60) {
		modelRun(t, rand.New(rand.NewPCG(seed, 7)), outcomes)
	}
	for _, want := range []string{"whole", "not dropped", "ip fragments overlap", "ip fragments disagree on end",
		"ip fragment duplicate", "ip fragment of abandoned datagram", "ip fragment length odd"} {
		if outcomes[want] < 20 {
			t.Errorf("%s: %d times only", want, outcomes[want])
		}
	}
}

func modelRun(t *testing.T, r *rand.Rand, outcomes map[string]int) {
	const ids = 4
	tb, s := New(Config{MemoryMax: 64 << 20}), new(teller)
	var models [ids]*model
	var pending [ids][]modelPart
	for range 300 {
		id := r.IntN(ids)
		if models[id] == nil {
			models[id] = new(model)
		}
		if len(pending[id]) == 0 {
			pending[id] = modelParts(r)
		}
		var part modelPart
		switch k := r.IntN(40); {
		case k == 0: // anything
			n := r.IntN(100)
			part = modelPart{8 * r.IntN(200), r.IntN(3) > 0, payload(n)}
		case k < 5 && len(models[id].parts) > 0: // something again, mostly the same
			part = models[id].parts[r.IntN(len(models[id].parts))]
			part.data = bytes.Clone(part.data)
			switch r.IntN(30) {
			case 0:
				part.data[r.IntN(len(part.data))]++
			case 1:
				part.more = !part.more
			case 2:
				part.off += 8
			case 3:
				part.data = part.data[:len(part.data)/2]
			}
		default:
			part, pending[id] = pending[id][0], pending[id][1:]
		}
		var b wire.Builder
		b.Payload(part.data).PushIPv4(wire.IPv4Fields{
			ID: uint16(id), MF: part.more, FragOffset: part.off, Src: addr4(1), Dst: addr4(2)})
		if part.off == 0 && !part.more {
			continue // no fragment at all
		}
		l := layout{linear: r.IntN(140), rand: r, link: r.IntN(2) == 0}
		if len(part.data) > 0 {
			l.chunk = len(b.Bytes())/(1+r.IntN(4)) + 1
		}
		p := l.receive(b.Bytes())
		reason, whole := models[id].add(part.off, part.more, part.data)
		o := tb.Add(0, p, nil, s)
		at := fmt.Sprintf("id %d, %d+%d %v", id, part.off, len(part.data), part.more)
		if o.Reason != reason || (o.Whole != nil) != (whole != nil) {
			t.Fatalf("%s: got %v and a whole: %v, want %v and %v", at, o.Reason, o.Whole != nil, reason, whole != nil)
		}
		switch {
		case o.Whole != nil:
			checkWhole(t, o.Whole)
			if got := o.Whole.Bytes()[wire.IPv4Len:]; !bytes.Equal(got, whole) {
				t.Fatalf("%s: another whole of %d bytes, want %d", at, len(got), len(whole))
			}
			packet.Free(o.Whole)
			models[id], pending[id] = nil, nil
			outcomes["whole"]++
		case o.Reason != packet.NotDropped:
			packet.Drop(p, o.Reason)
			fallthrough
		default:
			outcomes[o.Reason.String()]++
		}
		if models[id] != nil && models[id].dead && r.IntN(8) == 0 {
			tb.Timeout(time.Hour, s)
			clear(models[:])
			clear(pending[:])
		}
	}
	tb.Flush(0, s)
	if u := tb.Usage(); u != (Usage{}) {
		t.Errorf("in use: %+v", u)
	}
}

// modelParts cuts a random payload at random places and shuffles the parts.
func modelParts(r *rand.Rand) []modelPart {
	data := payload(1 + r.IntN(1<<(3+r.IntN(12))))
	var parts []modelPart
	for off := 0; off < len(data); {
		n := min(8*(1+r.IntN(1+len(data)/24)), len(data)-off)
		parts = append(parts, modelPart{off, off+n < len(data), data[off : off+n]})
		off += n
	}
	if r.IntN(3) > 0 {
		r.Shuffle(len(parts), func(i, j int) { parts[i], parts[j] = parts[j], parts[i] })
	}
	if len(parts) == 1 {
		return modelParts(r)
	}
	return parts
}
