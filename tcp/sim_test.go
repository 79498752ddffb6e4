package tcp

import (
	"container/heap"
	"flag"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"syscall"
	"testing"
	"time"

	"github.com/towpath/towpath/packet"
	"github.com/towpath/towpath/tcp/cc"
	"github.com/towpath/towpath/wire"
)

var simSeeds = flag.Int("seeds", 400, "worlds to simulate")

// check returns what is wrong with a connection, if anything.
func (c *Conn) check() error {
	unacked := c.sndEnd - c.sndUna
	switch {
	case c.state == StateClosed:
		unacked = c.q.len
	case c.sndUna == c.iss:
		unacked--
	case c.finSent && c.sndUna == c.sndEnd+1:
		unacked = 0
	}
	if c.q.len != unacked && c.state != StateTimeWait {
		return fmt.Errorf("send queue has %d bytes, sequence numbers say %d", c.q.len, unacked)
	}
	var sum uint32
	for i := range c.q.n {
		f := c.q.at(c.q.head + i)
		if f.Len == 0 || f.Chunk == nil {
			return fmt.Errorf("frag %d of send queue is empty", i)
		}
		sum += f.Len
	}
	if sum != c.q.len {
		return fmt.Errorf("send queue has %d bytes, not %d", sum, c.q.len)
	}
	if c.q.n == 0 && c.q.big != nil {
		return fmt.Errorf("empty send queue keeps a ring of %d", len(c.q.big))
	}
	if gt(c.sndUna, c.sndNxt) || gt(c.sndNxt, c.sndEnd+1) {
		return fmt.Errorf("una %d, nxt %d, end %d", c.sndUna-c.iss, c.sndNxt-c.iss, c.sndEnd-c.iss)
	}
	if c.ca == caLoss && !c.sack && (lt(c.rtxNxt, c.sndUna) || gt(c.rtxNxt, c.recover) || gt(c.recover, c.sndNxt)) {
		return fmt.Errorf("una %d, rtxNxt %d, recover %d, nxt %d", c.sndUna-c.iss, c.rtxNxt-c.iss, c.recover-c.iss, c.sndNxt-c.iss)
	}
	if err := c.checkBoard(); err != nil {
		return err
	}
	if err := c.checkFlow(); err != nil {
		return err
	}
	mem, readable := 0, 0
	for p := c.rq.First(); p != nil; p = p.Next() {
		mem += p.Footprint()
		readable += p.Len()
	}
	if readable != c.Readable() || readable > int(c.rcvUsed) {
		return fmt.Errorf("%d bytes are readable, booked %d of %d", readable, c.Readable(), c.rcvUsed)
	}
	hint := c.oooHint == nil
	at := c.rcvNxt
	for p := c.ooo.First(); p != nil; p = p.Next() {
		mem += p.Footprint()
		hint = hint || p == c.oooHint
		if lt(seqOf(p), at) || p == c.ooo.First() && seqOf(p) == at {
			return fmt.Errorf("out of order at %d, before %d", seqOf(p)-c.irs, at-c.irs)
		}
		at = endOf(p)
		if gt(at, c.rcvAdv) {
			return fmt.Errorf("out of order to %d, beyond the window's edge %d", at-c.irs, c.rcvAdv-c.irs)
		}
	}
	if !hint {
		return fmt.Errorf("oooHint is not on the list")
	}
	if mem != c.rcvMem {
		return fmt.Errorf("receive queue costs %d, booked %d", mem, c.rcvMem)
	}
	if mem > c.memoryMax()+packet.LargeChunk*2+4096 {
		return fmt.Errorf("receive queue costs %d, more than %d", mem, c.memoryMax())
	}
	if c.rcvUsed > c.rcvBuf+1<<c.rcvScale {
		return fmt.Errorf("%d bytes in a receive buffer of %d", c.rcvUsed, c.rcvBuf)
	}
	if lt(c.rcvAdv+1, c.rcvNxt) && c.state != StateSynSent {
		return fmt.Errorf("rcvNxt %d beyond the window's edge %d", c.rcvNxt-c.irs, c.rcvAdv-c.irs)
	}
	return nil
}

// checkBoard looks at the scoreboard and the reports.
func (c *Conn) checkBoard() error {
	if c.sack && c.ca != caOpen && c.sb == nil && c.state != StateClosed && c.state != StateTimeWait {
		return fmt.Errorf("recovering without a scoreboard")
	}
	if b := c.sb; b != nil {
		if b.una != c.sndUna || len(b.runs) > runsMax {
			return fmt.Errorf("scoreboard of %d runs begins at %d, not %d", len(b.runs), b.una-c.iss, c.sndUna-c.iss)
		}
		if len(b.runs) == 0 && c.ca == caOpen {
			return fmt.Errorf("empty scoreboard kept")
		}
		var n [4]uint32
		at := b.una
		for _, r := range b.runs {
			if !lt(at, r.end) || gt(r.end, c.sndNxt) {
				return fmt.Errorf("run from %d to %d, nxt %d", at-c.iss, r.end-c.iss, c.sndNxt-c.iss)
			}
			n[r.fate] += r.end - at
			at = r.end
		}
		if n[sacked] != b.sacked || n[lost] != b.lost {
			return fmt.Errorf("scoreboard has %d sacked and %d lost, booked %d and %d", n[sacked], n[lost], b.sacked, b.lost)
		}
	}
	if r := c.rep; r != nil {
		if r.n == 0 && r.dup.Left == r.dup.Right {
			return fmt.Errorf("empty reports kept")
		}
		for _, b := range r.blocks[:r.n] {
			if !c.holds(b.Left, b.Right) {
				return fmt.Errorf("reports %d to %d, which is not there", b.Left-c.irs, b.Right-c.irs)
			}
		}
	} else if c.sack && !c.ooo.Empty() {
		return fmt.Errorf("packets behind a hole and no reports")
	}
	return nil
}

// checkFlow looks at the records of a flow.
func (c *Conn) checkFlow() error {
	if c.undo != nil && c.state == StateClosed {
		return fmt.Errorf("closed with an undo")
	}
	if !c.paced {
		return nil
	}
	f := c.rare.flow
	at := f.base
	for i := range f.n {
		r := f.record(i)
		if !lt(at, r.end) || gt(r.end, c.sndNxt) || r.delivered > f.delivered || r.lost > f.lost || r.first > r.sent {
			return fmt.Errorf("record %d from %d, nxt %d: %+v", i, at-c.iss, c.sndNxt-c.iss, *r)
		}
		at = r.end
	}
	return nil
}

// holds reports whether all from left to right is behind a hole.
func (c *Conn) holds(left, right uint32) bool {
	for p := c.ooo.First(); p != nil; p = p.Next() {
		if le(seqOf(p), left) && lt(left, endOf(p)) {
			left = endOf(p)
		}
		if left+1 == right && left == endOf(p) && hasFin(p) {
			left++
		}
	}
	return !lt(left, right)
}

// checkQuiet is what must hold after Output: something will happen.
func (c *Conn) checkQuiet() error {
	waits := canSend.has(c.state) && (c.sndUna != c.sndNxt || c.sndNxt != c.sndEnd && !c.finSent)
	if (waits || c.state == StateSynSent || c.state == StateSynReceived) && c.rtxAt == never && !(c.paced && c.rare.flow.at != never) {
		return fmt.Errorf("%v: una %d, nxt %d, end %d, and no timer", c.state, c.sndUna-c.iss, c.sndNxt-c.iss, c.sndEnd-c.iss)
	}
	if c.ackNow {
		return fmt.Errorf("ACK wanted after Output")
	}
	if c.state == StateClosed && c.Deadline() != never {
		return fmt.Errorf("timer in CLOSED: rtx %v ack %v life %v paced %v", c.rtxAt, c.ackAt, c.lifeAt, c.paced)
	}
	return nil
}

// cut divides a super-segment, as a link would.
func cut(p *packet.Packet) []*packet.Packet {
	size := int(p.GSO.Size)
	if size == 0 {
		return []*packet.Packet{p}
	}
	b := p.Bytes()
	h := wire.TCP(b)
	head, body := b[:h.HeaderLen()], b[h.HeaderLen():]
	var list []*packet.Packet
	for off := 0; off < len(body); off += size {
		part := body[off:min(off+size, len(body))]
		q := packet.Get()
		q.AppendBytes(head)
		q.AppendBytes(part)
		q.Transport = q.Start()
		q.Data = q.Start() + uint16(len(head))
		qh := wire.TCP(q.Head())
		qh.SetSeq(h.Seq() + uint32(off))
		if off+size < len(body) {
			qh.SetFlags(h.Flags() &^ (wire.TCPPsh | wire.TCPFin))
		}
		list = append(list, q)
	}
	packet.Free(p)
	return list
}

type flying struct {
	at time.Duration
	n  int // keeps the order of what arrives together
	to *simEnd
	p  *packet.Packet
}

type flyingHeap []flying

func (h flyingHeap) Len() int { return len(h) }
func (h flyingHeap) Less(i, j int) bool {
	return h[i].at < h[j].at || h[i].at == h[j].at && h[i].n < h[j].n
}
func (h flyingHeap) Swap(i, j int) { h[i], h[j] = h[j], h[i] }
func (h *flyingHeap) Push(x any)   { *h = append(*h, x.(flying)) }
func (h *flyingHeap) Pop() any {
	x := (*h)[len(*h)-1]
	*h = (*h)[:len(*h)-1]
	return x
}

// A world is two connections and a bad wire, all from one seed.
type world struct {
	r                     *rand.Rand
	now                   time.Duration
	pool                  packet.Pool
	ends                  [2]simEnd
	wire                  flyingHeap
	n                     int
	loss, dup, cut        float64
	delay, jitter, pauses time.Duration
	byTheBook             bool // no header prediction
	signed                bool
	longest               int // payload that the path takes, dropping what is longer without a word; 0: any
	trace                 func(format string, a ...any)
	weather               func() // changes the wire as time passes; nil: nothing does
}

type simEnd struct {
	w        *world
	name     string
	c        Conn
	peer     *simEnd
	salt     uint32
	total    int // to be written
	written  int
	read     int
	maxWrite int
	maxRead  int
	writeAt  time.Duration
	readAt   time.Duration
	shut     bool
	eof      bool
	closed   bool
	listen   bool // passive, no SYN yet
	cfg      Config
}

func pattern(salt uint32, off int) byte {
	x := uint32(off)*2654435761 + salt
	return byte(x >> 24)
}

func (e *simEnd) Segment(_ *Conn, p *packet.Packet) {
	w := e.w
	list := []*packet.Packet{p}
	if w.r.Float64() < w.cut || w.loss > 0 || w.longest > 0 {
		list = cut(p)
	}
	for _, p := range list {
		if w.r.Float64() < w.loss || w.longest != 0 && p.LenFrom(p.Data) > w.longest {
			packet.Free(p)
			continue
		}
		if w.r.Float64() < w.dup {
			w.fly(e.peer, p.Clone())
		}
		w.fly(e.peer, p)
	}
}

func (w *world) fly(to *simEnd, p *packet.Packet) {
	at := w.now + w.delay
	if w.jitter > 0 {
		at += time.Duration(w.r.Int64N(int64(w.jitter)))
	}
	w.n++
	heap.Push(&w.wire, flying{at, w.n, to, p})
}

func (e *simEnd) receive(p *packet.Packet) error {
	w := e.w
	if w.trace != nil {
		h := wire.TCP(p.From(p.Transport))
		w.trace("%v %s < %v seq %d ack %d len %d win %d (gso %d) [%v nxt %d adv %d]", w.now, e.name, h.Flags(), h.Seq(), h.Ack(), p.LenFrom(p.Data), h.Window(), p.GSO.Size, e.c.State(), e.c.rcvNxt, e.c.rcvAdv)
	}
	var r packet.Reason
	if e.listen {
		if r = e.cfg.Signature.Check(p); r != 0 {
		} else if r = e.c.Listen(w.now, p); r == 0 {
			e.listen = false
		}
	} else if w.byTheBook {
		e.c.countIn(p, uint32(p.LenFrom(p.Data)))
		r = e.c.unpredicted(w.now, wire.TCP(p.From(p.Transport)), p, uint32(p.LenFrom(p.Data)))
	} else {
		r = e.c.Receive(w.now, p)
	}
	if r != 0 {
		if r == packet.ReasonTCPNoSocket || r == packet.ReasonTCPListen {
			if f, ok := Reset(wire.TCP(p.From(p.Transport)), p.LenFrom(p.Data)); ok {
				q := packet.Get()
				wire.PutTCP(q.Push(wire.TCPLen), &f, 0)
				q.Transport = q.Start()
				q.Data = q.Start() + wire.TCPLen
				e.Segment(nil, q)
			}
		}
		packet.Drop(p, r)
	}
	return e.c.check()
}

// app does what the program at e would do now.
func (e *simEnd) app() error {
	w, c := e.w, &e.c
	if e.listen {
		return nil
	}
	if w.now >= e.writeAt && !e.shut && c.State() != StateClosed {
		n := min(1+w.r.IntN(e.maxWrite), e.total-e.written)
		buf := make([]byte, n)
		for i := range buf {
			buf[i] = pattern(e.salt, e.written+i)
		}
		if w.r.IntN(3) == 0 {
			for len(buf) > 0 && c.Space() > 0 {
				m := min(len(buf), c.Space(), 1+w.r.IntN(packet.LargeChunk))
				ch := w.pool.Chunk(m)
				off := w.r.IntN(len(ch.Bytes()) - m + 1)
				copy(ch.Bytes()[off:], buf[:m])
				if got := c.Append([]packet.Frag{{Chunk: ch, Off: uint32(off), Len: uint32(m)}}); got != m {
					w.pool.Release(ch)
					return fmt.Errorf("Append took %d of %d", got, m)
				}
				e.written += m
				buf = buf[m:]
			}
		} else {
			e.written += c.Write(buf)
		}
		e.writeAt = w.now + time.Duration(w.r.Int64N(int64(w.pauses)))
		if e.written == e.total && c.State() != StateSynSent {
			e.shut = true
			c.Shutdown(w.now)
		}
	}
	if w.now >= e.readAt {
		var l packet.List
		n := c.Take(&l, 1+w.r.IntN(e.maxRead))
		for p := l.Pop(); p != nil; p = l.Pop() {
			for _, v := range p.Bytes() {
				if want := pattern(e.peer.salt, e.read); v != want {
					return fmt.Errorf("byte %d is %#x, not %#x", e.read, v, want)
				}
				e.read++
			}
			packet.Free(p)
		}
		if n > 0 {
			c.Accept(w.now, n)
			e.readAt = w.now + time.Duration(w.r.Int64N(int64(w.pauses)))
		}
		if c.EOF() {
			e.eof = true
		}
	}
	if e.eof && e.shut && !e.closed {
		e.closed = true
		c.Close(w.now)
	}
	c.Output(w.now)
	if err := c.check(); err != nil {
		return err
	}
	return c.checkQuiet()
}

func (e *simEnd) deadline() time.Duration {
	at := e.c.Deadline()
	if e.listen {
		return at
	}
	waits := e.written == e.total && e.c.State() == StateSynSent // to be able to shut down
	if !e.shut && e.c.Space() > 0 && e.c.State() != StateClosed && !waits {
		at = min(at, e.writeAt)
	}
	if e.c.Readable() > 0 || e.c.EOF() && !e.eof {
		at = min(at, e.readAt)
	}
	return at
}

var simAddrs = [2]netip.Addr{netip.MustParseAddr("fd00::1"), netip.MustParseAddr("fd00::2")}

// randomTuning is a tuning with some things different.
func randomTuning(r *rand.Rand) *Tuning {
	flip := func() bool { return r.IntN(3) == 0 }
	t := Tuning{
		NoDSACK: flip(), NoECNFallback: flip(), NoTailProbe: flip(), NoIdleRestart: flip(), FixedRcvBuf: flip(),
		StaticReorder: flip(), NoDupThreshold: flip(), Reordering: r.IntN(8), MinSndMSS: r.IntN(300), Retries1: r.IntN(4),
		MTUProbing: MTUProbing(r.IntN(3)), BaseMSS: r.IntN(1500), ProbeFloor: r.IntN(300), ProbeThreshold: 1 + r.IntN(100),
		ProbeInterval: time.Duration(r.IntN(5)) * time.Second, InvalidRate: time.Duration(r.IntN(600)-50) * time.Millisecond,
		MinRTTWindow: time.Duration(r.IntN(10)) * time.Second, PaceSlowStart: r.IntN(400), PaceAvoidance: r.IntN(400),
	}.Filled()
	return &t
}

func newWorld(seed uint64) *world {
	w := &world{r: rand.New(rand.NewPCG(seed, 1)), now: time.Second}
	w.populate()
	w.ends[0].c.Connect(w.now)
	return w
}

// populate makes the wire and the two ends anew, and lets b listen.
func (w *world) populate() {
	r := w.r
	w.loss, w.dup, w.jitter, w.longest = 0, 0, 0, 0
	if r.IntN(4) > 0 {
		w.loss = r.Float64() * 0.15
		w.dup = r.Float64() * 0.1
	}
	w.cut = r.Float64()
	w.delay = time.Duration(1 + r.Int64N(int64(50*time.Millisecond)))
	if r.IntN(2) == 0 {
		w.jitter = time.Duration(1 + r.Int64N(int64(2*w.delay)))
	}
	w.pauses = time.Duration(1 + r.Int64N(int64(20*time.Millisecond)))
	w.signed = r.IntN(8) == 0
	if r.IntN(3) == 0 {
		w.longest = 300 + r.IntN(1500)
	}
	for i := range w.ends {
		e := &w.ends[i]
		*e = simEnd{w: w, name: string(rune('a' + i)), peer: &w.ends[1-i], salt: r.Uint32(), listen: i == 1}
		e.total = r.IntN(1 << (4 + r.IntN(15)))
		e.maxWrite = 1 + r.IntN(1<<(1+r.IntN(17)))
		e.maxWrite = max(e.maxWrite, e.total/3000)
		e.maxRead = 1 + r.IntN(1<<(4+r.IntN(17)))
		e.maxRead = max(e.maxRead, 100)
		e.cfg = Config{
			LocalPort: uint16(1 + i), RemotePort: uint16(2 - i), ISN: r.Uint32(), TSOffset: r.Uint32(),
			MSS: 88 + r.IntN(9000), NoDelay: r.IntN(2) == 0, Timestamps: r.IntN(3) > 0, WindowScaling: r.IntN(3) > 0, SACK: r.IntN(4) > 0,
			RcvBuf: 2048 + r.IntN(1<<(1+r.IntN(18))), SndBuf: 2048 + r.IntN(1<<(1+r.IntN(18))),
			RcvBufMax: 1 << (11 + r.IntN(12)), SndBufMax: 1 << (11 + r.IntN(12)),
		}
		if r.IntN(2) == 0 {
			e.cfg.GSOMax = 65535
		}
		if r.IntN(3) == 0 {
			e.cfg.ISN = -uint32(r.IntN(e.total + 2)) // wraps
		}
		e.cfg.Congestion = cc.Names()[r.IntN(len(cc.Names()))]
		if w.longest != 0 || r.IntN(4) == 0 {
			e.cfg.Tuning = randomTuning(r)
		}
		if w.longest != 0 { // nobody else gets over it
			e.cfg.Tuning.MTUProbing = max(e.cfg.Tuning.MTUProbing, MTUProbingBlackHole)
		}
		if w.signed {
			local, remote := simAddrs[i], simAddrs[1-i]
			e.cfg.Signature = &Signature{local, remote, []byte("key")}
		}
		e.c.Init(&e.cfg, &w.pool, e)
		if r.IntN(4) == 0 {
			e.c.SetMaxPacingRate(w.now, 1<<(14+r.Uint64N(16)))
		}
	}
}

// run lets the world run until both ends are closed.
func (w *world) run() error {
	for range 2_000_000 {
		at := never
		if len(w.wire) > 0 {
			at = w.wire[0].at
		}
		for i := range w.ends {
			at = min(at, w.ends[i].deadline())
		}
		if at == never {
			break
		}
		w.now = max(w.now, at)
		if w.weather != nil {
			w.weather()
		}
		for len(w.wire) > 0 && w.wire[0].at <= w.now {
			f := heap.Pop(&w.wire).(flying)
			if err := f.to.receive(f.p); err != nil {
				return fmt.Errorf("%v %s receive: %w", w.now, f.to.name, err)
			}
		}
		for i := range w.ends {
			e := &w.ends[i]
			if e.c.Deadline() <= w.now {
				if w.trace != nil {
					w.trace("%v %s timeout rtx %v ack %v life %v persist %v", w.now, e.name, e.c.rtxAt, e.c.ackAt, e.c.lifeAt, e.c.persist)
				}
				e.c.Timeout(w.now)
				if err := e.c.check(); err != nil {
					return fmt.Errorf("%v %s timeout: %w", w.now, e.name, err)
				}
			}
			if err := e.app(); err != nil {
				return fmt.Errorf("%v %s: %w", w.now, e.name, err)
			}
		}
	}
	for i := range w.ends {
		e := &w.ends[i]
		// Who waits for the last acknowledgment may give up: the peer, which has
		// it all, waits in FIN-WAIT-2 for no more than a minute.
		gaveUp := e.c.Err() == syscall.ETIMEDOUT && e.peer.c.State() == StateClosed && e.peer.c.Err() == nil
		if e.c.State() != StateClosed || e.read != e.peer.total || e.written != e.total || !e.eof || e.c.Err() != nil && !gaveUp {
			return fmt.Errorf("%v %s stands in %v with error %v: wrote %d of %d, read %d of %d, eof %v", w.now, e.name,
				e.c.State(), e.c.Err(), e.written, e.total, e.read, e.peer.total, e.eof)
		}
	}
	return nil
}

func (w *world) free() {
	for i := range w.ends {
		w.ends[i].c.FreeBuffers()
	}
	for _, f := range w.wire {
		packet.Free(f.p)
	}
}

// TestWorlds lets two programs talk over wires that lose, repeat, delay and
// reorder: the streams must be equal, every timer set, every buffer returned.
func TestWorlds(t *testing.T) {
	seeds := *simSeeds
	if testing.Short() || raceEnabled {
		seeds = min(seeds, 60)
	}
	packet.Account(true)
	defer packet.Account(false)
	for seed := range uint64(seeds) {
		w := newWorld(seed)
		if err := w.run(); err != nil {
			w.free()
			t.Errorf("seed %d: %v", seed, err)
			replay(t, seed)
			return
		}
		w.free()
		if p, c := packet.Live(); p != 0 || c != 0 {
			t.Fatalf("seed %d: %d packets and %d chunks leaked", seed, p, c)
		}
	}
}

// replay runs a failing seed again and prints how it ended.
func replay(t *testing.T, seed uint64) {
	var lines []string
	w := newWorld(seed)
	w.trace = func(f string, a ...any) {
		if lines = append(lines, fmt.Sprintf(f, a...)); len(lines) > 400 {
			lines = lines[200:]
		}
	}
	w.run()
	w.free()
	for _, l := range lines[max(0, len(lines)-60):] {
		t.Log(l)
	}
	for i := range w.ends {
		t.Logf("%s: %+v cfg %+v", w.ends[i].name, w.ends[i].c.Info(), w.ends[i].cfg)
	}
}
