package tcp

import (
	"slices"
	"testing"
	"time"

	"github.com/towpath/towpath/tcp/cc"
)

// noter is a controller that keeps its samples.
type noter struct {
	cc.Reno
	samples []cc.Sample
	lost    []cc.Lost
}

func (n *noter) OnSample(s cc.Sample) { n.samples = append(n.samples, s) }
func (n *noter) OnLost(l cc.Lost)     { n.lost = append(n.lost, l) }

// TestSamples plays a conversation over a path of 10 ms and looks at what a
// controller hears of it (draft-cheng-iccrg-delivery-rate-estimation §3).
func TestSamples(t *testing.T) {
	n := new(noter)
	s := &script{now: time.Second, irs: 0x30000000}
	s.cfg = Config{LocalPort: 80, RemotePort: 4000, ISN: 0x10000000, MSS: 1000, SACK: true, SndBuf: 256 << 10}
	s.init()
	s.c.SetController(s.now, n)
	play := func(lines ...string) (last cc.Sample) {
		t.Helper()
		for _, l := range lines {
			if err := s.line(l); err != nil {
				t.Fatalf("%s: %v", l, err)
			}
			if err := s.c.check(); err != nil {
				t.Fatalf("after %s: %v", l, err)
			}
		}
		if len(n.samples) > 0 {
			last = n.samples[len(n.samples)-1]
		}
		return last
	}
	same := func(got, want cc.Sample) {
		t.Helper()
		if want.Now = got.Now; got != want {
			t.Errorf("sample %+v\nwant   %+v", got, want)
		}
	}
	play("listen", "< S 0 win 65535 mss 1000 sackok", "> S. 0 ack 1 sackok", "+0.01 < . 1 ack 1 win 65535",
		"write 4000", "> . 1:1001 ack 1", "> . 1001:2001 ack 1", "> . 2001:3001 ack 1", "> P. 3001:4001 ack 1")
	// Two segments in a round trip: 200 kB/s. There had been nothing to send.
	same(play("+0.01 < . 1 ack 2001"), cc.Sample{
		Delivered: 2000, Rate: 200_000, RTT: 10 * time.Millisecond, Acked: 2000, InFlight: 2000, TxInFlight: 2000, AppLimited: true,
	})
	// The others come 10 ms later: four segments in 20 ms.
	same(play("+0.01 < . 1 ack 4001"), cc.Sample{
		Delivered: 4000, Rate: 200_000, RTT: 20 * time.Millisecond, Acked: 2000, TxInFlight: 4000, AppLimited: true,
	})
	// After a pause the clock begins anew, and the flow is the application's.
	same(play("+1 write 3000", "> . 4001:5001 ack 1", "> . 5001:6001 ack 1", "> P. 6001:7001 ack 1", "+0.01 < . 1 ack 5001"), cc.Sample{
		Delivered: 5000, PriorDelivered: 4000, Rate: 100_000, RTT: 10 * time.Millisecond, Acked: 1000, InFlight: 2000, TxInFlight: 1000, AppLimited: true,
	})
	// A block counts as it comes, its acknowledgment no more; what is lost is
	// told, and what is sent again measures from then.
	same(play("+0.001 < . 1 ack 5001 sack 6001:7001"), cc.Sample{
		Delivered: 6000, PriorDelivered: 4000, Rate: 2000 * 1000 / 11, RTT: 11 * time.Millisecond, Acked: 1000, InFlight: 1000, TxInFlight: 3000, AppLimited: true,
	})
	if len(n.lost) != 0 {
		t.Errorf("lost too early: %v", n.lost)
	}
	play("+0.003 > . 5001:6001 ack 1")
	if want := []cc.Lost{{Bytes: 1000, TxInFlight: 2000, LostSince: 1000, AppLimited: true}}; !slices.Equal(n.lost, want) {
		t.Errorf("lost %+v, want %+v", n.lost, want)
	}
	same(play("+0.01 < . 1 ack 7001"), cc.Sample{
		Delivered: 7000, PriorDelivered: 6000, Rate: 1000 * 10000 / 135, Acked: 1000, TxInFlight: 1000, AppLimited: true,
	})
	for _, o := range s.out {
		s.pool.Free(o.p)
	}
	s.c.FreeBuffers()
}

// TestRecords: a flow remembers no more than it may, and a connection whose
// controller is content without it none.
func TestRecords(t *testing.T) {
	f := &flow{sampler: new(noter)}
	for i := range uint32(3 * recordsMax) {
		f.sent(time.Duration(i), i*10, 10, 1000)
	}
	if f.n != recordsMax || len(f.ring) != recordsMax || f.record(f.n-1).end != 30*recordsMax {
		t.Errorf("%d records in a ring of %d, to %d", f.n, len(f.ring), f.record(f.n-1).end)
	}
	for _, seq := range []uint32{0, 9, 10, 70005, 10*recordsMax - 1, 10 * recordsMax, 30*recordsMax - 1} {
		if i, want := f.find(seq), min(seq/10, recordsMax-1); i != want {
			t.Errorf("%d is in record %d, want %d", seq, i, want)
		}
	}
	var c Conn
	c.cc = &c.cubic
	c.follow(0)
	if c.paced || c.rare != nil {
		t.Error("CUBIC has a flow")
	}
	c.SetMaxPacingRate(0, 0)
	if c.rare != nil {
		t.Error("no rate needs memory")
	}
	c.state = StateEstablished
	c.SetMaxPacingRate(0, 1000)
	if !c.paced || c.rare.flow.rate != 1000 {
		t.Error("not paced")
	}
	c.SetMaxPacingRate(0, 0)
	if c.paced || c.rare.flow != nil {
		t.Error("still paced")
	}
}
