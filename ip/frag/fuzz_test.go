package frag

import (
	"bytes"
	"testing"
	"time"

	"github.com/towpath/towpath/packet"
	"github.com/towpath/towpath/wire"
)

// FuzzAdd feeds a table packets of any bytes: each is two bytes of length, two of
// layout, and itself. Nothing panics, leaks or makes a whole that is not in
// order, and memory stays bounded.
func FuzzAdd(f *testing.F) {
	record := func(words []string, v6 bool) []byte {
		var b []byte
		for _, w := range words {
			p := step(w, v6)
			b = append(b, byte(p.Len()>>8), byte(p.Len()), 60, 0)
			b = append(b, p.Bytes()...)
			packet.Free(p)
		}
		return b
	}
	for _, v6 := range []bool{false, true} {
		f.Add(record([]string{"0-16+", "16-24"}, v6))
		f.Add(record([]string{"16-24/opt/hop", "8-16+/ecn=1", "0-8+/ecn=3"}, v6))
		f.Add(record([]string{"0-16+", "8-24+", "24-32"}, v6))
		f.Add(record([]string{"65504-65515", "0-32+/dst"}, v6))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		account(t)
		tb, s := New(Config{MemoryMax: 64 << 10, EntriesMax: 8}), new(teller)
		for i := 0; len(b) >= 4; i++ {
			n := min(int(b[0])<<8|int(b[1]), len(b)-4)
			l := layout{linear: int(b[2]), chunk: max(int(b[3])*8, n/16+1)}
			ip := b[4 : 4+n]
			b = b[4+n:]
			// What the host checks before.
			switch {
			case len(ip) > 0 && ip[0]>>4 == 4:
				if h := wire.IPv4(ip); !h.Valid(len(ip)) {
					continue
				}
				ip = ip[:wire.IPv4(ip).TotalLen()]
			case len(ip) > 0 && ip[0]>>4 == 6:
				if h := wire.IPv6(ip); !h.Valid(len(ip)) {
					continue
				}
				ip = ip[:wire.IPv6(ip).TotalLen()]
			default:
				continue
			}
			p := l.receive(ip)
			o := tb.Add(time.Duration(i)*time.Second, p, nil, s)
			switch {
			case o.Whole != nil && o.RecvFragMax == 0:
				if o.Whole != p || !bytes.Equal(p.Bytes(), ip) {
					t.Fatal("changed in passing")
				}
				packet.Free(p)
			case o.Whole != nil:
				if o.Whole.Proto != wire.ProtoFragment {
					checkWhole(t, o.Whole)
				}
				packet.Free(o.Whole)
			case o.Reason != packet.NotDropped:
				if !bytes.Equal(p.Bytes(), ip) {
					t.Fatal("changed in refusing")
				}
				packet.Drop(p, o.Reason)
			}
			tb.Timeout(time.Duration(i)*time.Second, s)
			if u := tb.Usage(); u.Memory > 64<<10 || u.Datagrams > 8 {
				t.Fatalf("in use: %+v", u)
			}
		}
		tb.Flush(0, s)
		if u := tb.Usage(); u != (Usage{}) {
			t.Fatalf("in use: %+v", u)
		}
	})
}

// FuzzCut cuts any packet to any mtu: fragments fit, and together are what was
// cut.
func FuzzCut(f *testing.F) {
	var b wire.Builder
	f.Add(b.Payload(payload(300)).PushUDP(1, 2).PushIPv4(wire.IPv4Fields{Src: addr4(1), Dst: addr4(2)}).Bytes(), uint16(68))
	f.Add(b.Payload(payload(300)).PushUDP(1, 2).PushDestOpts(nil).PushHopByHop(nil).PushIPv6(wire.IPv6Fields{Src: addr6(1), Dst: addr6(2)}).Bytes(), uint16(100))
	f.Fuzz(func(t *testing.T, b []byte, mtu uint16) {
		v4 := wire.IPv4(b).Valid(len(b))
		if !v4 && !wire.IPv6(b).Valid(len(b)) {
			return
		}
		if v4 {
			b = b[:wire.IPv4(b).TotalLen()]
		} else {
			b = b[:wire.IPv6(b).TotalLen()]
		}
		account(t)
		p := layout{linear: 100, chunk: len(b)/16 + 1}.receive(b)
		var out packet.List
		if !Cut(p, int(mtu), 9, &out) {
			packet.Free(p)
			return
		}
		if len(b) > int(mtu) && !(v4 && wire.IPv4(b).IsFragment()) && out.Len() <= FragmentsMax {
			tb, s := New(Config{MemoryMax: 64 << 20}), new(teller)
			var w *packet.Packet
			for q := out.Pop(); q != nil; q = out.Pop() {
				if q.Len() > int(mtu) {
					t.Fatalf("fragment of %d bytes", q.Len())
				}
				o := tb.Add(0, q, nil, s)
				if o.Reason != packet.NotDropped || w != nil {
					t.Fatalf("refused: %v", o.Reason)
				}
				w = o.Whole
			}
			if w == nil {
				t.Fatal("not put together")
			}
			got := w.Bytes()
			if v4 { // the fields that a fragment sets
				for _, h := range []wire.IPv4{got, b} {
					h.SetID(0)
					h.SetFragment(0, 0)
					h.UpdateChecksum()
				}
			}
			if !bytes.Equal(got, b) {
				t.Fatalf("not what was sent:\n% x\n% x", got, b)
			}
			packet.Free(w)
		}
		out.Free()
	})
}
