package nft

import (
	"encoding/binary"
	"math/bits"
	"net/netip"
	"slices"
	"sync/atomic"

	"github.com/towpath/towpath/firewall/classify"
	"github.com/towpath/towpath/firewall/hook"
	"github.com/towpath/towpath/link"
	"github.com/towpath/towpath/packet"
	"github.com/towpath/towpath/wire"
)

// env is the host that a packet is on; nil if it is on none.
func env(in *classify.Input) hook.Env {
	if c, ok := in.Context.(*hook.Context); ok && c != nil {
		return c.Env
	}
	return nil
}

// fibLoad loads the result of a look-up in the table of routes.
func fibLoad(e *Fib, dst classify.Reg) classify.Expr {
	n := e.typ().width()
	if e.Result == "oif" {
		n = 16
	}
	return &classify.Load{Name: exprText(e), Len: uint8(n), Dst: dst, Get: func(in *classify.Input, b []byte) bool {
		a := in.Packet.Dst
		if slices.Contains(e.Flags, "saddr") {
			a = in.Packet.Src
		}
		out := wayTo(in, a)
		if e.Result == "type" {
			binary.BigEndian.PutUint32(b, addrType(a, out))
			return true
		}
		if out == nil || slices.Contains(e.Flags, "iif") && out.Index() != in.Iif {
			return true // nothing: missing
		}
		copy(b, out.Name())
		return true
	}}
}

// wayTo is the adapter by which packets go to an address; nil if none does.
func wayTo(in *classify.Input, a netip.Addr) *link.Adapter {
	h := env(in)
	if h == nil || !a.IsValid() {
		return nil
	}
	out, _, ok := h.Route(a)
	if !ok {
		return nil
	}
	return out
}

// Numbers of address types (linux/rtnetlink.h).
const (
	addrUnicast     = 1
	addrLocal       = 2
	addrBroadcast   = 3
	addrMulticast   = 5
	addrUnreachable = 7
)

func addrType(a netip.Addr, out *link.Adapter) uint32 {
	switch {
	case a.IsMulticast():
		return addrMulticast
	case a == netip.AddrFrom4([4]byte{255, 255, 255, 255}):
		return addrBroadcast
	case out == nil:
		return addrUnreachable
	case out.Capabilities().Loopback:
		return addrLocal
	}
	return addrUnicast
}

func nexthop(e *Rt, dst classify.Reg) classify.Expr {
	n := e.typ().width()
	return &classify.Load{Name: exprText(e), Len: uint8(n), Dst: dst, Get: func(in *classify.Input, b []byte) bool {
		h := env(in)
		if h == nil {
			return false
		}
		_, next, ok := h.Route(in.Packet.Dst)
		return ok && copy(b, next.AsSlice()) == n
	}}
}

func (g *generator) numgen(e *Numgen, dst classify.Reg) classify.Expr {
	var count atomic.Uint32
	return &classify.Load{Name: exprText(e), Len: 4, Dst: dst, Get: func(_ *classify.Input, b []byte) bool {
		n := count.Add(1) - 1
		if e.Random {
			n = g.rand.next()
		}
		binary.BigEndian.PutUint32(b, n%e.Mod+e.Offset)
		return true
	}}
}

// hash loads a number made of fields of the packet, which are read again here:
// an opaque value sees no registers.
func (g *generator) hash(e *Hash, dst classify.Reg) error {
	seed := e.Seed
	if !e.Seeded {
		seed = g.rand.next()
	}
	get := func(in *classify.Input) ([]byte, bool) {
		p := in.Packet
		b := append(p.Src.AsSlice(), p.Dst.AsSlice()...)
		b = append(b, byte(p.Proto))
		if h := header(p, classify.Transport); len(h) >= 4 && (p.Proto == wire.ProtoTCP || p.Proto == wire.ProtoUDP) {
			b = append(b, h[:4]...)
		}
		return b, true
	}
	if e.Of != nil {
		var parts []*Payload
		for _, x := range hashed(e.Of) {
			p, ok := x.(*Payload)
			if !ok {
				return g.cannot("jhash of %s: only fields of headers are hashed here", exprText(x))
			}
			if b, off, n := p.place(); b > classify.Transport || off%8 != 0 || n%8 != 0 {
				return g.cannot("jhash of %s: only whole bytes are hashed here", exprText(x))
			}
			parts = append(parts, p)
		}
		get = func(in *classify.Input) (all []byte, ok bool) {
			for _, p := range parts {
				b, off, n := p.place()
				h := header(in.Packet, b)
				if len(h) < (off+n)/8 {
					return nil, false
				}
				all = append(all, h[off/8:(off+n)/8]...)
				for len(parts) > 1 && len(all)%4 != 0 {
					all = append(all, 0)
				}
			}
			return all, true
		}
	}
	g.emit(&classify.Load{Name: exprText(e), Len: 4, Dst: dst, Get: func(in *classify.Input, b []byte) bool {
		k, ok := get(in)
		if !ok {
			return false
		}
		h := uint32(uint64(jhash(k, seed)) * uint64(e.Mod) >> 32)
		binary.BigEndian.PutUint32(b, h+e.Offset)
		return true
	}})
	return nil
}

func hashed(e Expr) []Expr {
	if c, ok := e.(*Concat); ok {
		return c.Parts
	}
	return []Expr{e}
}

// jhash is Bob Jenkins' lookup3 over bytes, as the kernel has it.
func jhash(k []byte, seed uint32) uint32 {
	a := 0xdeadbeef + uint32(len(k)) + seed
	b, c := a, a
	for len(k) > 12 {
		a += binary.LittleEndian.Uint32(k)
		b += binary.LittleEndian.Uint32(k[4:])
		c += binary.LittleEndian.Uint32(k[8:])
		a = a - c ^ bits.RotateLeft32(c, 4)
		c += b
		b = b - a ^ bits.RotateLeft32(a, 6)
		a += c
		c = c - b ^ bits.RotateLeft32(b, 8)
		b += a
		a = a - c ^ bits.RotateLeft32(c, 16)
		c += b
		b = b - a ^ bits.RotateLeft32(a, 19)
		a += c
		c = c - b ^ bits.RotateLeft32(b, 4)
		b += a
		k = k[12:]
	}
	if len(k) == 0 {
		return c
	}
	var last [12]byte
	copy(last[:], k)
	a += binary.LittleEndian.Uint32(last[:])
	b += binary.LittleEndian.Uint32(last[4:])
	c += binary.LittleEndian.Uint32(last[8:])
	c = c ^ b - bits.RotateLeft32(b, 14)
	a = a ^ c - bits.RotateLeft32(c, 11)
	b = b ^ a - bits.RotateLeft32(a, 25)
	c = c ^ b - bits.RotateLeft32(b, 16)
	a = a ^ c - bits.RotateLeft32(c, 4)
	b = b ^ a - bits.RotateLeft32(a, 14)
	c = c ^ b - bits.RotateLeft32(b, 24)
	return c
}

// exthdrLoad loads a field of an extension header or option, or whether there
// is one.
func exthdrLoad(e *Exthdr, dst classify.Reg) classify.Expr {
	n := 1
	if e.Field != nil {
		n = size(e.Field.Bits)
	}
	return &classify.Load{Name: exprText(e), Len: uint8(n), Dst: dst, Get: func(in *classify.Input, b []byte) bool {
		h := extension(in.Packet, e)
		if e.Field == nil {
			if h != nil {
				b[0] = 1
			}
			return true
		}
		if len(h)*8 < e.Field.Offset+e.Field.Bits {
			return false
		}
		v, _ := bigEndian(readBits(h, e.Field.Offset, e.Field.Bits), e.Field.Bits)
		copy(b, v)
		return true
	}}
}

// extension finds an extension header or option; nil if there is none.
func extension(p *packet.Packet, e *Exthdr) []byte {
	switch e.Kind {
	case "tcp option":
		h := header(p, classify.Transport)
		if p.Proto != wire.ProtoTCP || len(h) < wire.TCPLen {
			return nil
		}
		return option(h[wire.TCPLen:max(wire.TCPLen, min(len(h), int(h[12]>>4)*4))], byte(e.Header.Proto))
	case "ip option":
		h := header(p, classify.Network)
		if !p.Src.Is4() || len(h) < wire.IPv4Len {
			return nil
		}
		return option(h[wire.IPv4Len:max(wire.IPv4Len, min(len(h), int(h[0]&15)*4))], byte(e.Header.Proto))
	}
	h := header(p, classify.Network)
	if !p.Src.Is6() || len(h) < wire.IPv6Len {
		return nil
	}
	next, rest := h[6], h[wire.IPv6Len:]
	for len(rest) >= 8 {
		if next == byte(e.Header.Proto) {
			return rest
		}
		n := 8
		switch wire.Proto(next) {
		case wire.ProtoHopByHop, wire.ProtoRouting, wire.ProtoDestOpts, wire.ProtoMobility:
			n = 8 + 8*int(rest[1])
		case wire.ProtoFragment:
		case wire.ProtoAH:
			n = 8 + 4*int(rest[1])
		default:
			return nil
		}
		if len(rest) < n {
			return nil
		}
		next, rest = rest[0], rest[n:]
	}
	return nil
}

// option finds a kind in a list of options of TCP or IPv4.
func option(b []byte, kind byte) []byte {
	for len(b) > 0 {
		n := 1
		if b[0] > 1 {
			if len(b) < 2 || b[1] < 2 || int(b[1]) > len(b) {
				return nil
			}
			n = int(b[1])
		}
		if b[0] == kind {
			return b[:n]
		}
		if b[0] == 0 {
			return nil
		}
		b = b[n:]
	}
	return nil
}

// optionStore sets a field of a TCP option. As in the kernel, a maximum segment
// size only becomes smaller.
func optionStore(e *Exthdr) classify.Expr {
	n := size(e.Field.Bits)
	return &classify.Store{Name: exprText(e), Src: reg, Len: uint8(n), Do: func(in *classify.Input, v []byte) (next classify.Verdict, ok bool) {
		p := in.Packet
		o := extension(p, e)
		at := e.Field.Offset / 8
		if len(o) < at+n {
			return next, false
		}
		if e.Header.Name == "maxseg" && binary.BigEndian.Uint16(v) >= binary.BigEndian.Uint16(o[at:]) {
			return next, true
		}
		h := header(p, classify.Transport)
		return next, setField(p, classify.Transport, 8*(cap(h)-cap(o)+at), e.Field.Bits, v)
	}}
}
