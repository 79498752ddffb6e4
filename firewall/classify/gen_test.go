package classify

import (
	"encoding/binary"
	"math/rand/v2"
	"net/netip"

	"github.com/towpath/towpath/packet"
	"github.com/towpath/towpath/wire"
)

// A family is a manner of rule sets, after those that ClassBench learned from
// real ones: access lists, firewalls, and chains of the ipchains kind.
type family struct {
	name             string
	srcAny, dstAny   float64 // part of rules that leave an address open
	srcBits, dstBits [2]int  // prefix lengths
	ports            [3]float64
	protoAny         float64
	nets             int // networks around which addresses gather
}

var families = []family{
	{"acl", 0.3, 0.02, [2]int{16, 32}, [2]int{22, 32}, [3]float64{0.25, 0.6, 0.15}, 0.05, 200},
	{"fw", 0.5, 0.4, [2]int{8, 32}, [2]int{16, 32}, [3]float64{0.4, 0.35, 0.25}, 0.15, 60},
	{"ipc", 0.2, 0.2, [2]int{14, 32}, [2]int{14, 32}, [3]float64{0.5, 0.35, 0.15}, 0.2, 120},
}

var wellKnown = []uint16{20, 21, 22, 25, 53, 80, 110, 123, 143, 161, 389, 443, 445, 514, 993, 1433, 1521, 3306, 3389, 5060, 8080}

// A generator makes rules of a family.
type generator struct {
	family
	r    *rand.Rand
	nets []uint32
}

func newGenerator(f family, seed uint64) *generator {
	g := &generator{family: f, r: rand.New(rand.NewPCG(seed, 7))}
	for range f.nets {
		g.nets = append(g.nets, g.r.Uint32())
	}
	return g
}

func (g *generator) addr() uint32 {
	return g.nets[g.r.IntN(len(g.nets))]&0xffff0000 | g.r.Uint32()&0xffff
}

// prefix is what nft makes of one: a short load if it ends at a byte, a mask if
// it does not.
func (g *generator) prefix(off uint16, bits [2]int) []Expr {
	n := bits[0] + g.r.IntN(bits[1]-bits[0]+1)
	mask := uint32(0xffffffff) << (32 - n)
	var a, m [4]byte
	binary.BigEndian.PutUint32(a[:], g.addr()&mask)
	binary.BigEndian.PutUint32(m[:], mask)
	if n%8 == 0 {
		return []Expr{Payload{Network, off, uint8(n / 8), 1}, Cmp{Equal, 1, a[:n/8]}}
	}
	return []Expr{Payload{Network, off, 4, 1}, Bitwise{1, 1, m[:], make([]byte, 4)}, Cmp{Equal, 1, a[:]}}
}

func be16(n uint16) []byte { return []byte{byte(n >> 8), byte(n)} }

func (g *generator) port(off uint16) []Expr {
	load := Payload{Transport, off, 2, 2}
	lo := uint16(g.r.Uint32())
	switch x := g.r.Float64(); {
	case x < g.ports[0]:
		return nil
	case x < g.ports[0]+g.ports[1]:
		return []Expr{load, Cmp{Equal, 2, be16(wellKnown[g.r.IntN(len(wellKnown))])}}
	case g.r.IntN(2) == 0:
		return []Expr{load, Cmp{GreaterOrEqual, 2, be16(1024)}}
	default:
		return []Expr{load, Range{2, be16(lo), be16(uint16(min(65535, int(lo)+g.r.IntN(3000)))), false}}
	}
}

// exprs are a rule's conditions.
func (g *generator) exprs() (e []Expr) {
	if g.r.Float64() >= g.srcAny {
		e = append(e, g.prefix(12, g.srcBits)...)
	}
	if g.r.Float64() >= g.dstAny {
		e = append(e, g.prefix(16, g.dstBits)...)
	}
	if g.r.Float64() >= g.protoAny {
		proto := []byte{6, 6, 6, 17, 17, 1}[g.r.IntN(6)]
		e = append(e, Meta{MetaL4Proto, 3}, Cmp{Equal, 3, []byte{proto}})
		if proto != 1 {
			if g.r.IntN(4) == 0 {
				e = append(e, g.port(0)...)
			}
			e = append(e, g.port(2)...)
		}
	}
	return e
}

// rule is a rule as ClassBench has them: conditions, a counter, a verdict.
func (g *generator) rule() *Rule {
	return &Rule{Exprs: append(g.exprs(), new(Counter), Verdict{Code: []Code{Accept, Drop}[g.r.IntN(2)]})}
}

// oddRule is a rule with whatever the language has.
func (g *generator) oddRule(table *Table, targets []*Chain, sets []*Set) *Rule {
	e := g.exprs()
	for range g.r.IntN(3) {
		switch g.r.IntN(12) {
		case 0:
			e = append(e, new(Counter))
		case 1:
			e = append(e, Ct{Key: CtState, Dst: 4}, Bitwise{4, 4, []byte{0, 0, 0, 6}, make([]byte, 4)}, Cmp{NotEqual, 4, make([]byte, 4)})
		case 2:
			e = append(e, Immediate{5, []byte{0, 0, 0, byte(g.r.IntN(3))}}, SetMark{5})
		case 3:
			e = append(e, Meta{MetaMark, 6}, Cmp{Op(g.r.IntN(int(opCount))), 6, []byte{0, 0, 0, byte(g.r.IntN(3))}})
		case 4:
			e = append(e, Payload{Network, 16, 4, 1}, Lookup{Set: sets[g.r.IntN(2)], Src: 1, Invert: g.r.IntN(2) == 0})
		case 5:
			e = append(e, Payload{Network, 12, 4, 1}, Dynset{Set: sets[2], Op: DynsetOp(g.r.IntN(3)), Key: 1})
		case 6:
			e = append(e, Payload{Network, 12, 4, 1}, Lookup{Set: sets[2], Src: 1})
		case 7:
			e = append(e, &Limit{Rate: 100, Unit: 1e9, Burst: 5, Over: g.r.IntN(2) == 0})
		case 8:
			e = append(e, &Quota{Bytes: 5000, Over: g.r.IntN(2) == 0})
		case 9:
			e = append(e, &Match{Name: "odd ttl", Test: func(in *Input) bool { return in.Packet.TTL&1 != 0 }})
		case 10:
			to := g.addr()
			e = append(e, &Statement{Name: "rewrite", Do: func(in *Input) Verdict {
				binary.BigEndian.PutUint32(in.Packet.From(in.Packet.Net)[16:], to)
				return Verdict{}
			}})
		case 11:
			e = append(e, Meta{MetaLen, 7}, Cmp{Less, 7, []byte{0, 0, 0, 60}})
		}
	}
	e = append(e, new(Counter))
	switch g.r.IntN(8) {
	case 0, 1:
		e = append(e, Verdict{Code: []Code{Accept, Drop, Queue, Return}[g.r.IntN(4)]})
	case 2:
		if len(targets) > 0 {
			e = append(e, Verdict{Code: []Code{Jump, Goto}[g.r.IntN(2)], Chain: targets[g.r.IntN(len(targets))]})
		}
	case 3:
		e = append(e, Meta{MetaL4Proto, 3}, Lookup{Set: sets[3], Src: 3})
	case 4:
		e = append(e, &Reject{Code: 3})
	}
	return &Rule{Exprs: e}
}

// A flow is what a packet is made of.
type flow struct {
	src, dst     uint32
	proto        wire.Proto
	sport, dport uint16
	ttl          uint8
	frag         uint16 // offset in units of eight bytes
	cut          int    // bytes of the IP packet to leave out
	length       int    // of the payload
}

func (f flow) packet() *packet.Packet {
	p := packet.Get()
	b := p.Append(wire.IPv4Len + 20 + f.length)
	clear(b)
	b[0] = 0x45
	binary.BigEndian.PutUint16(b[2:], uint16(len(b)))
	binary.BigEndian.PutUint16(b[6:], f.frag)
	b[8], b[9] = f.ttl, byte(f.proto)
	binary.BigEndian.PutUint32(b[12:], f.src)
	binary.BigEndian.PutUint32(b[16:], f.dst)
	binary.BigEndian.PutUint16(b[20:], f.sport)
	binary.BigEndian.PutUint16(b[22:], f.dport)
	p.Net, p.Transport = p.Start(), p.Start()+wire.IPv4Len
	p.Proto, p.TTL = f.proto, f.ttl
	p.Src, p.Dst = netip.AddrFrom4([4]byte(b[12:])), netip.AddrFrom4([4]byte(b[16:]))
	p.Truncate(len(b) - f.cut)
	return p
}

// flow is a random one, near the rules.
func (g *generator) flow() flow {
	f := flow{src: g.addr(), dst: g.addr(), proto: []wire.Proto{6, 6, 6, 17, 1, 47}[g.r.IntN(6)],
		sport: uint16(g.r.Uint32()), dport: wellKnown[g.r.IntN(len(wellKnown))], ttl: uint8(g.r.Uint32()), length: g.r.IntN(40)}
	if g.r.IntN(3) == 0 {
		f.dport = uint16(g.r.Uint32())
	}
	switch g.r.IntN(20) {
	case 0:
		f.frag = uint16(1 + g.r.IntN(100))
	case 1:
		f.cut = f.length + g.r.IntN(21) // into the transport header
	}
	return f
}

// matching is a flow that a rule's own conditions accept, or nearly so.
func (g *generator) matching(r *Rule) flow {
	f := g.flow()
	for i, x := range r.Exprs {
		l, ok := x.(Payload)
		if !ok {
			if m, ok := x.(Meta); ok && m.Key == MetaL4Proto && i+1 < len(r.Exprs) {
				if c, ok := r.Exprs[i+1].(Cmp); ok {
					f.proto = wire.Proto(c.Data[0])
				}
			}
			continue
		}
		var v []byte
		for _, y := range r.Exprs[i+1:] {
			if c, ok := y.(Cmp); ok {
				v = c.Data
				break
			}
			if c, ok := y.(Range); ok {
				v = [][]byte{c.Lo, c.Hi}[g.r.IntN(2)]
				break
			}
			if _, ok := y.(Bitwise); !ok {
				break
			}
		}
		if v == nil {
			continue
		}
		var b [4]byte
		binary.BigEndian.PutUint32(b[:], g.r.Uint32()&0xff)
		copy(b[:], v)
		switch {
		case l.Base == Network && l.Offset == 12:
			f.src = binary.BigEndian.Uint32(b[:])
		case l.Base == Network && l.Offset == 16:
			f.dst = binary.BigEndian.Uint32(b[:])
		case l.Base == Transport && l.Offset == 0:
			f.sport = binary.BigEndian.Uint16(b[:])
		case l.Base == Transport && l.Offset == 2:
			f.dport = binary.BigEndian.Uint16(b[:])
		}
	}
	f.dport += []uint16{0, 0, 0, 0, 1, 65535}[g.r.IntN(6)]
	return f
}
