package tcp

import (
	"bytes"
	"container/heap"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"testing"
	"time"

	"github.com/towpath/towpath/packet"
	"github.com/towpath/towpath/tcp/cc"
)

var update = flag.Bool("update", false, "write testdata/goodput.golden anew")

// A bottleneck is a path of a rate, with a queue in front of it, that loses and
// reorders.
type bottleneck struct {
	rate          float64 // bytes per second
	queue, mark   int     // bytes: beyond, packets are dropped, or marked if they may be
	delay         time.Duration
	loss, reorder float64       // shares of packets
	late          time.Duration // how much a reordered packet is
	idleAt        time.Duration
}

const goodputLen = 10 * time.Second

// A transfer is one stream over a bottleneck, and its acknowledgments back over
// a path without one. It implements Output for both ends.
type transfer struct {
	r       *rand.Rand
	now     time.Duration
	pool    packet.Pool
	a, b    Conn
	forth   bottleneck
	flights transferHeap
	n       int
	got     int
	left    int // bytes still to be written; negative: without end
}

type transferFlight struct {
	at time.Duration
	n  int
	to *Conn
	p  *packet.Packet
}

type transferHeap []transferFlight

func (h transferHeap) Len() int { return len(h) }
func (h transferHeap) Less(i, j int) bool {
	return h[i].at < h[j].at || h[i].at == h[j].at && h[i].n < h[j].n
}
func (h transferHeap) Swap(i, j int) { h[i], h[j] = h[j], h[i] }
func (h *transferHeap) Push(x any)   { *h = append(*h, x.(transferFlight)) }
func (h *transferHeap) Pop() any {
	x := (*h)[len(*h)-1]
	*h = (*h)[:len(*h)-1]
	return x
}

func (t *transfer) Segment(c *Conn, p *packet.Packet) {
	tos := p.TOS
	for _, p := range cut(p) {
		p.TOS = tos
		f := &t.forth
		at, to := t.now+f.delay, &t.a
		if t.r.Float64() < f.loss {
			t.pool.Free(p)
			continue
		}
		if c == &t.a {
			to = &t.b
			size := p.Len() + 40
			waiting := int(max(f.idleAt-t.now, 0).Seconds() * f.rate)
			if waiting+size > f.queue {
				t.pool.Free(p)
				continue
			}
			if p.TOS&3 == ecnECT0 && waiting > f.mark {
				p.TOS |= ecnCE
			}
			f.idleAt = max(f.idleAt, t.now) + time.Duration(float64(size)/f.rate*1e9)
			at = f.idleAt + f.delay
		}
		if t.r.Float64() < f.reorder {
			at += f.late
		}
		t.n++
		heap.Push(&t.flights, transferFlight{at, t.n, to, p})
	}
}

// run lets the stream flow until the end, or until all is there.
func (t *transfer) run(tb testing.TB, end time.Duration) {
	block := make([]byte, 64<<10)
	syn := false
	t.a.Connect(t.now)
	for t.got != t.left {
		at := min(t.a.Deadline(), t.b.Deadline())
		if len(t.flights) > 0 {
			at = min(at, t.flights[0].at)
		}
		if at >= end {
			t.now = end
			return
		}
		t.now = max(t.now, at)
		for len(t.flights) > 0 && t.flights[0].at <= t.now {
			f := heap.Pop(&t.flights).(transferFlight)
			var r packet.Reason
			if f.to == &t.b && !syn {
				syn = true
				r = t.b.Listen(t.now, f.p)
			} else {
				r = f.to.Receive(t.now, f.p)
			}
			if r != 0 {
				t.pool.Drop(f.p, r)
			}
		}
		for _, c := range []*Conn{&t.a, &t.b} {
			if c.Deadline() <= t.now {
				c.Timeout(t.now)
			}
			if err := c.Err(); err != nil {
				tb.Fatal(err)
			}
		}
		for n := 1; n > 0 && t.a.State() == StateEstablished; {
			n = t.a.Write(block)
		}
		var l packet.List
		if n := t.b.Take(&l, 1<<30); n > 0 {
			t.got += n
			for p := l.Pop(); p != nil; p = l.Pop() {
				t.pool.Free(p)
			}
			t.b.Accept(t.now, n)
		}
		t.a.Output(t.now)
		t.b.Output(t.now)
	}
}

func (t *transfer) free() {
	t.a.FreeBuffers()
	t.b.FreeBuffers()
	for _, f := range t.flights {
		t.pool.Free(f.p)
	}
}

func newTransfer(name string, path bottleneck) *transfer {
	t := &transfer{r: rand.New(rand.NewPCG(7, 7)), now: time.Second, forth: path, left: -1}
	for i, c := range []*Conn{&t.a, &t.b} {
		cfg := Config{
			LocalPort: uint16(1 + i), RemotePort: uint16(2 - i), MSS: 1460, Timestamps: true, WindowScaling: true, SACK: true, NoDelay: true,
			RcvBuf: 256 << 10, RcvBufMax: 8 << 20, SndBuf: 256 << 10, SndBufMax: 8 << 20, GSOMax: 65000, Congestion: name,
		}
		c.Init(&cfg, &t.pool, t)
	}
	return t
}

// TestGoodputTable measures streams of each controller over paths of many kinds, on
// virtual time, and compares with what testdata/goodput.golden says. A change
// to that file is reviewed like one of code.
func TestGoodputTable(t *testing.T) {
	if raceEnabled {
		t.Skip("slow under the race detector, and of one goroutine")
	}
	if runtime.GOARCH != "amd64" {
		t.Skip("other processors round otherwise; the table is amd64's")
	}
	const file = "testdata/goodput.golden"
	packet.Account(true)
	defer packet.Account(false)
	var out bytes.Buffer
	const mbit = 10.0
	fmt.Fprintf(&out, "# Mbit/s of payload in %v over a bottleneck of %v Mbit/s; its queue holds one round trip, 30 kB at least,\n", goodputLen, mbit)
	fmt.Fprintf(&out, "# and marks from a fifth of that on. Loss strikes acknowledgments too; what is reordered is late by a quarter\n# of the round trip.\n")
	fmt.Fprintf(&out, "%5s %6s %8s ", "rtt", "loss", "reorder")
	for _, name := range cc.Names() {
		fmt.Fprintf(&out, " %6s", name)
	}
	out.WriteByte('\n')
	for _, rtt := range []time.Duration{10, 50, 200} {
		for _, loss := range []float64{0, 0.001, 0.01, 0.05} {
			for _, reorder := range []float64{0, 0.2} {
				fmt.Fprintf(&out, "%3dms %5.1f%% %7.0f%% ", rtt, loss*100, reorder*100)
				for _, name := range cc.Names() {
					rtt := rtt * time.Millisecond
					queue := max(int(mbit/8*1e6*rtt.Seconds()), 30_000)
					w := newTransfer(name, bottleneck{
						rate: mbit / 8 * 1e6, queue: queue, mark: queue / 5, delay: rtt / 2, loss: loss, reorder: reorder, late: rtt / 4,
					})
					w.run(t, time.Second+goodputLen)
					fmt.Fprintf(&out, " %6.2f", float64(w.got)*8/1e6/goodputLen.Seconds())
					w.free()
					if p, c := packet.Live(); p != 0 || c != 0 {
						t.Fatalf("%s: %d packets and %d chunks leaked", name, p, c)
					}
				}
				out.WriteByte('\n')
			}
		}
	}
	if *update {
		if err := os.WriteFile(file, out.Bytes(), 0o666); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(want, out.Bytes()) {
		t.Errorf("goodput has changed; look whether that is meant, and run go test -run TestGoodputTable -update\n%s", out.Bytes())
	}
}

// TestQueues: controllers that look at more than loss keep the queue of a
// bottleneck short, at little cost.
func TestQueues(t *testing.T) {
	if raceEnabled {
		t.Skip("slow under the race detector, and of one goroutine")
	}
	const rate = 10e6 / 8
	for _, tt := range []struct {
		name  string
		least float64       // share of the rate
		most  time.Duration // round trip in the end, of 40 ms without a queue
	}{
		{"reno", 0.85, 500 * time.Millisecond},
		{"dctcp", 0.85, 80 * time.Millisecond},
		{"bbr", 0.85, 100 * time.Millisecond},
	} {
		w := newTransfer(tt.name, bottleneck{rate: rate, queue: 500_000, mark: 20_000, delay: 20 * time.Millisecond})
		w.run(t, time.Second+goodputLen)
		i := w.a.Info()
		t.Logf("%s: %.2f of the rate, round trip %v, at least %v, pacing %d, delivery %d", tt.name, float64(w.got)/rate/goodputLen.Seconds(),
			i.RTT, i.MinRTT, i.PacingRate, i.DeliveryRate)
		if share := float64(w.got) / rate / goodputLen.Seconds(); share < tt.least || i.RTT > tt.most {
			t.Errorf("%s: %.2f of the rate, round trip %v", tt.name, share, i.RTT)
		}
		if paced := i.PacingRate > 0 && i.DeliveryRate > 0; paced != (tt.name == "bbr") {
			t.Errorf("%s: pacing %d, delivery %d", tt.name, i.PacingRate, i.DeliveryRate)
		}
		w.free()
	}
}
