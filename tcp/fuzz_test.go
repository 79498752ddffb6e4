package tcp

import (
	"testing"
	"time"

	"github.com/towpath/towpath/packet"
	"github.com/towpath/towpath/wire"
)

// discard counts what a connection sends and checks its shape.
type discard struct {
	pool *packet.Pool
	n    int
}

func (d *discard) Segment(_ *Conn, p *packet.Packet) {
	h := wire.TCP(p.Head())
	if !h.Valid() || p.Len()-h.HeaderLen() > packet.SizeMax-128 {
		panic("segment that cannot be")
	}
	if size := int(p.GSO.Size); size == 0 && p.Len()-h.HeaderLen() > 65535-60 {
		panic("segment too long")
	}
	d.n++
	d.pool.Free(p)
}

// A tape deals out the fuzzer's bytes.
type tape []byte

func (t *tape) byte() byte {
	if len(*t) == 0 {
		return 0
	}
	b := (*t)[0]
	*t = (*t)[1:]
	return b
}

func (t *tape) u16() int { return int(t.byte())<<8 | int(t.byte()) }

// near is a number at, or not far from, one of the interesting ones.
func (t *tape) near(base ...uint32) uint32 {
	b := t.byte()
	n := base[int(b)%len(base)]
	switch b >> 5 {
	case 0, 1, 2, 3:
		return n
	case 4:
		return n + uint32(t.byte())
	case 5:
		return n - uint32(t.byte())
	case 6:
		return n + uint32(t.u16())
	}
	return n ^ uint32(t.u16())<<16
}

// segment makes a segment that fits c's state more often than not.
func (t *tape) segment(c *Conn, pool *packet.Pool) *packet.Packet {
	f := wire.TCPFields{
		SrcPort: 2, DstPort: 1,
		Seq:    t.near(c.rcvNxt, c.rcvNxt, c.rcvAdv, c.irs, c.rcvAcked),
		Ack:    t.near(c.sndNxt, c.sndUna, c.sndUna+uint32(c.mss), c.iss+1, c.recover),
		Window: uint16(t.u16()),
	}
	switch b := t.byte(); b % 16 {
	case 0:
		f.Flags = wire.TCPFlags(t.u16())
	case 1:
		f.Flags = wire.TCPSyn
	case 2:
		f.Flags = wire.TCPSyn | wire.TCPAck
	case 3:
		f.Flags = wire.TCPFin | wire.TCPAck
	case 4:
		f.Flags = wire.TCPRst
	default:
		f.Flags = wire.TCPAck | wire.TCPFlags(b>>4)&wire.TCPPsh
	}
	var o wire.TCPOptions
	if c.ts || c.state == StateClosed && t.byte()&1 != 0 {
		o.HasTS, o.TSVal, o.TSEcr = true, t.near(c.tsRecent, c.tsRecent+1), t.near(c.tsOffset, 0)
	}
	if c.sack && t.byte()&1 != 0 {
		for o.NSACK = 1 + int(t.byte()%3); ; {
			l := t.near(c.sndUna, c.sndNxt, c.recover, c.sndUna+uint32(c.mss))
			o.SACK[o.NSACK-1] = wire.SACKBlock{Left: l, Right: t.near(l, c.sndNxt, l+uint32(c.mss))}
			if o.NSACK--; o.NSACK == 0 {
				o.NSACK = 1
				break
			}
		}
	}
	if b := t.byte(); b&7 == 1 {
		f.Flags |= wire.TCPUrg
		f.Urgent = uint16(t.byte())
	} else if b&7 == 2 {
		f.Flags |= wire.TCPEce
	} else if b&7 == 3 {
		f.Flags |= wire.TCPCwr
	}
	if f.Flags.Has(wire.TCPSyn) {
		if b := t.byte(); b&3 == 0 && o.NSACK == 0 {
			o.HasFastOpen, o.FastOpen = true, make([]byte, 8*(b>>2&1))
		}
		o.SACKPermitted = t.byte()&3 != 0
		o.HasMSS, o.MSS = true, uint16(t.u16())
		o.HasWScale, o.WScale = t.byte()&1 != 0, t.byte()&15
	}
	n := 0
	switch b := t.byte(); b % 4 {
	case 1:
		n = int(b)
	case 2:
		n = t.u16() % 9000
	case 3:
		n = t.u16() % 60000
	}
	p := pool.Get()
	opt := o.Len()
	b := p.Append(wire.TCPLen + opt)
	wire.PutTCP(b, &f, opt)
	o.Put(b[wire.TCPLen:])
	if t.byte() == 255 && opt > 0 {
		b[wire.TCPLen+int(t.byte())%opt] = t.byte() // options that make no sense
	}
	p.Transport = p.Start()
	p.Data = p.Start() + uint16(len(b))
	p.TOS = t.byte() & 3
	if n > 0 {
		if !p.AppendBytes(make([]byte, n)) {
			panic("too long")
		}
		if n > 1460 {
			p.GSO.Size = 1460
		}
	}
	return p
}

func runTape(t *testing.T, data []byte) {
	packet.Account(true)
	defer packet.Account(false)
	var pool packet.Pool
	tp := tape(data)
	d := &discard{pool: &pool}
	c := new(Conn)
	flags := tp.byte()
	cfg := Config{
		LocalPort: 1, RemotePort: 2, ISN: tp.near(0, 1<<31, 1<<32-1), TSOffset: 0xfffffff0,
		SACK: flags&64 != 0, ECN: ECNMode(flags >> 7),
		MSS: 88 + tp.u16(), RcvBuf: 2048 + tp.u16(), SndBuf: 2048 + tp.u16(),
		NoDelay: flags&1 != 0, Timestamps: flags&2 != 0, WindowScaling: flags&4 != 0,
		RcvBufMax: 1 << (11 + tp.byte()%14), Retries2: 3, SynRetries: 2,
	}
	if flags&8 != 0 {
		cfg.GSOMax = 65535
	}
	c.Init(&cfg, &pool, d)
	now := time.Second
	switch fast := tp.byte(); {
	case flags&16 != 0 && fast&3 == 0:
		c.ConnectData(now, &FastOpen{Cookie: make([]byte, 8*(fast>>2&1)), NoCookie: fast&16 != 0}, make([]byte, tp.u16()))
	case flags&16 != 0:
		c.Connect(now)
	default:
		if fast&3 == 0 {
			c.AcceptFastOpen(make([]byte, 8*(fast>>2&1)), fast&8 != 0)
		}
		p := tp.segment(c, &pool)
		if r := c.Listen(now, p); r != 0 {
			pool.Drop(p, r)
			c.FreeBuffers()
			return
		}
	}
	if flags&32 != 0 { // most interesting things happen behind the handshake
		f := wire.TCPFields{SrcPort: 2, DstPort: 1, Seq: 7, Ack: c.iss + 1, Flags: wire.TCPSyn | wire.TCPAck, Window: 65535}
		if c.state != StateSynSent {
			f.Seq, f.Flags = c.rcvNxt, wire.TCPAck
		}
		var o wire.TCPOptions
		o.HasTS, o.TSVal = c.ts, c.tsRecent
		o.SACKPermitted = f.Flags.Has(wire.TCPSyn)
		o.HasWScale, o.WScale = f.Flags.Has(wire.TCPSyn), 7
		p := pool.Get()
		b := p.Append(wire.TCPLen + o.Len())
		wire.PutTCP(b, &f, o.Len())
		o.Put(b[wire.TCPLen:])
		p.Transport, p.Data = p.Start(), p.Start()+uint16(len(b))
		if r := c.Receive(now, p); r != 0 {
			pool.Drop(p, r)
		}
	}
	fail := func(what string, err error) {
		if err != nil {
			t.Fatalf("%s in %v at %v: %v", what, c.state, now, err)
		}
	}
	taken := 0
	for len(tp) > 0 {
		switch b := tp.byte(); b % 16 {
		case 0:
			c.Write(make([]byte, tp.u16()))
		case 1:
			if n := min(c.Space(), 1+tp.u16()%packet.LargeChunk); n > 0 {
				ch := pool.Chunk(n)
				if c.Append([]packet.Frag{{Chunk: ch, Len: uint32(n)}}) != n {
					pool.Release(ch)
				}
			}
		case 2:
			var l packet.List
			taken += c.Take(&l, tp.u16())
			pool.FreeList(&l)
		case 3:
			n := min(taken, tp.u16())
			taken -= n
			c.Accept(now, n)
		case 4:
			now += time.Duration(tp.u16()) * time.Microsecond
		case 5:
			if at := c.Deadline(); at != never {
				now = max(now, at)
				c.Timeout(now)
				fail("timeout", c.check())
			}
		case 6:
			if b == 6 {
				c.Shutdown(now)
			} else if b == 22 {
				c.Close(now)
			} else if b == 38 {
				c.SetMSS(tp.u16(), now)
			} else if b == 54 {
				c.Abort(now)
			} else if b == 70 {
				c.WriteUrgent(1)
			} else if b == 86 {
				c.SetCork(tp.byte()&1 != 0)
			} else if b == 102 {
				c.SetUserTimeout(time.Duration(tp.u16()) * time.Millisecond)
			} else if b == 118 {
				c.SetWindowClamp(tp.u16())
			} else if b == 134 {
				c.ReadUrgent(false)
				c.Mark()
			}
			fail("call", c.check())
		case 7:
			if tw, ok := c.TimeWait(); ok {
				p := tp.segment(c, &pool)
				reply, _, _ := tw.Receive(now, p, &pool)
				pool.Free(p)
				if reply != nil {
					pool.Free(reply)
				}
			}
		case 8:
			c.Events()
			c.Info()
			c.EOF()
			c.Space()
		default:
			p := tp.segment(c, &pool)
			if r := c.Receive(now, p); r != 0 {
				pool.Drop(p, r)
			}
			fail("receive", c.check())
		}
		sent := d.n
		c.Output(now)
		if d.n-sent > 20000 {
			t.Fatal("endless output")
		}
		fail("output", c.check())
		fail("output", c.checkQuiet())
	}
	c.FreeBuffers()
	if p, ch := packet.Live(); p != 0 || ch != 0 {
		t.Fatalf("%d packets and %d chunks leaked", p, ch)
	}
}

// FuzzReceive feeds segments, calls and time into a connection in every state:
// nothing panics, the invariants of Conn.check hold, nothing leaks.
func FuzzReceive(f *testing.F) {
	f.Add([]byte{63, 0, 1, 2, 3, 4, 5, 6, 9, 9, 9, 9})
	f.Add([]byte{47, 0, 5, 180, 200, 0, 200, 0, 9, 0, 200, 200, 10, 0, 0, 0, 0, 5, 2, 0, 0, 5})
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) > 1<<12 {
			return
		}
		runTape(t, data)
	})
}

// TestTapes is the fuzzer on seeded noise, so that every test run has some.
func TestTapes(t *testing.T) {
	n := 3000
	if testing.Short() || raceEnabled {
		n = 1000
	}
	x := uint64(88172645463325252)
	for range n {
		data := make([]byte, 20+x%600)
		for i := range data {
			x ^= x << 13
			x ^= x >> 7
			x ^= x << 17
			data[i] = byte(x >> 32)
		}
		data[0] |= 32
		runTape(t, data)
		if t.Failed() {
			t.Logf("%#v", data)
			return
		}
	}
}
