package nft

import (
	"bytes"
	"encoding/binary"
	"slices"
	"strings"

	"github.com/towpath/towpath/firewall/classify"
	"github.com/towpath/towpath/firewall/conntrack"
	"github.com/towpath/towpath/packet"
	"github.com/towpath/towpath/wire"
)

// binary loads a value combined with constants.
func (g *generator) binary(e *Binary, dst classify.Reg) error {
	if err := g.load(e.L, dst); err != nil {
		return err
	}
	v, ok := e.R.(*Value)
	if !ok || e.Op == "<<" || e.Op == ">>" {
		return g.cannot("%s: only & | ^ with constants can be computed here", exprText(e))
	}
	n := len(v.Data)
	mask, xor := bytes.Repeat([]byte{0xff}, n), make([]byte, n)
	switch e.Op {
	case "&":
		mask = v.Data
	case "|":
		for i := range mask {
			mask[i] = ^v.Data[i]
		}
		xor = v.Data
	default:
		xor = v.Data
	}
	g.emit(classify.Bitwise{Src: dst, Dst: dst, Mask: mask, Xor: xor})
	return nil
}

// mapOf loads what a map has for a key.
func (g *generator) mapOf(e *MapOf, dst classify.Reg) error {
	set, err := g.lookup(e.Key, e.Set, []*Type{e.data}, "", dst)
	if err != nil {
		return err
	}
	if set.ranges {
		return g.cannot("the map leads to ranges, which only translations can have")
	}
	g.emit(classify.Lookup{Set: set.Set, Src: dst, Dst: dst})
	return nil
}

// lookup loads a key and finds the set that it is looked up in.
func (g *generator) lookup(key, in Expr, data []*Type, object string, dst classify.Reg) (*loadedSet, error) {
	if err := g.load(key, dst); err != nil {
		return nil, err
	}
	if ref, ok := in.(*SetRef); ok {
		if s := g.sets[ref.Name]; s != nil {
			return s, nil
		}
		return nil, fault(ref.Pos, "table %s %s has no set %q", g.table.Family, g.table.Name, ref.Name)
	}
	a := in.(*Anon)
	if len(a.Elems) > 0 && data != nil {
		if c, ok := a.Elems[0].Data.(*Concat); ok {
			data = typesOf(c)
		}
	}
	const name = "{ … }"
	c := classify.SetConfig{Name: name, Interval: intervals(a.Elems)}
	if err := g.elements(name, c, typesOf(key), data, object, a.Elems, g.at); err != nil {
		return nil, err
	}
	s := g.sets[name]
	delete(g.sets, name)
	return s, nil
}

var ops = map[string]classify.Op{"": classify.Equal, "==": classify.Equal, "!=": classify.NotEqual,
	"<": classify.Less, "<=": classify.LessOrEqual, ">": classify.Greater, ">=": classify.GreaterOrEqual}

// match makes a comparison.
func (g *generator) match(m *Match) error {
	g.needs(m.Left)
	defer g.learn(m)
	t := m.Left.typ()
	switch r := m.Right.(type) {
	case *Anon, *SetRef:
		set, err := g.lookup(m.Left, r, nil, "", reg)
		if err != nil {
			return err
		}
		g.emit(classify.Lookup{Set: set.Set, Src: reg, Invert: m.Op == "!="})
		return nil
	case *Value:
		if label, ok := m.Left.(*Ct); ok && label.Key.name == "label" {
			return g.label(m, r)
		}
		if m.bits() && (m.Op == "" || m.Op == "!") {
			if err := g.load(m.Left, reg); err != nil {
				return err
			}
			op := classify.NotEqual
			if m.Op == "!" {
				op = classify.Equal
			}
			g.emit(classify.Bitwise{Src: reg, Dst: reg, Mask: r.Data, Xor: make([]byte, len(r.Data))},
				classify.Cmp{Op: op, Reg: reg, Data: make([]byte, len(r.Data))})
			return nil
		}
		if f, ok := m.Left.(*Fib); ok && f.Result != "type" && r.Type.form != text {
			// Whether there is an adapter: its name is not empty.
			op := ops[m.Op]
			if number(r.Data) != 0 {
				op = map[classify.Op]classify.Op{classify.Equal: classify.NotEqual, classify.NotEqual: classify.Equal}[op]
			}
			g.emit(fibLoad(f, reg), classify.Cmp{Op: op, Reg: reg, Data: make([]byte, 16)})
			return nil
		}
		if p, ok := m.Left.(*Payload); ok && g.bitField(p, ops[m.Op], r) {
			return nil
		}
		if err := g.load(m.Left, reg); err != nil {
			return err
		}
		data := fixed(r.Data, t)
		if r.Wild {
			data = r.Data
		}
		g.emit(classify.Cmp{Op: ops[m.Op], Reg: reg, Data: data})
	case *Prefix:
		if err := g.load(m.Left, reg); err != nil {
			return err
		}
		// A range, not a mask, so that explanations have the whole value.
		lo, hi := bounds(r)
		g.emit(classify.Range{Reg: reg, Lo: lo, Hi: hi, Invert: m.Op == "!="})
	case *Range:
		if err := g.load(m.Left, reg); err != nil {
			return err
		}
		g.emit(classify.Range{Reg: reg, Lo: fixed(r.Lo.Data, t), Hi: fixed(r.Hi.Data, t), Invert: m.Op == "!="})
	case *Concat:
		return g.concat(m, r)
	default:
		return g.cannot("%s cannot be compared here", exprText(m.Left))
	}
	return nil
}

// concat compares several values with constants, each by itself.
func (g *generator) concat(m *Match, r *Concat) error {
	if m.Op == "!=" {
		set := &Anon{Elems: []*Elem{{Key: r}}}
		s, err := g.lookup(m.Left, set, nil, "", reg)
		if err != nil {
			return err
		}
		g.emit(classify.Lookup{Set: s.Set, Src: reg, Invert: true})
		return nil
	}
	for i, x := range m.Left.(*Concat).Parts {
		if err := g.match(&Match{Pos: m.Pos, Left: x, Op: "==", Right: r.Parts[i]}); err != nil {
			return err
		}
	}
	return nil
}

// bitField compares a field that is not whole bytes in its place, where the
// classifier can see it.
func (g *generator) bitField(p *Payload, op classify.Op, v *Value) bool {
	b, off, bits := p.place()
	if off%8 == 0 && bits%8 == 0 || b > classify.Transport || bits > 56 || op != classify.Equal && op != classify.NotEqual {
		return false
	}
	n := (off%8 + bits + 7) / 8
	mask, data := make([]byte, n), make([]byte, n)
	writeBits(mask, off%8, bits, 1<<bits-1)
	writeBits(data, off%8, bits, number(v.Data))
	g.emit(classify.Payload{Base: b, Offset: uint16(off / 8), Len: uint8(n), Dst: reg},
		classify.Bitwise{Src: reg, Dst: reg, Mask: mask, Xor: make([]byte, n)},
		classify.Cmp{Op: op, Reg: reg, Data: data})
	return true
}

// label tests a bit of a flow's labels: bit n is bit n%8, counted from the
// right, of byte n/8.
func (g *generator) label(m *Match, v *Value) error {
	if err := g.load(m.Left, reg); err != nil {
		return err
	}
	n := number(v.Data)
	if n > 127 {
		return g.cannot("there are 128 labels, from 0 to 127")
	}
	mask := make([]byte, 16)
	mask[n/8] = 1 << (n % 8)
	op := classify.NotEqual
	if m.Op == "!=" {
		op = classify.Equal
	}
	g.emit(classify.Bitwise{Src: reg, Dst: reg, Mask: mask, Xor: make([]byte, 16)}, classify.Cmp{Op: op, Reg: reg, Data: make([]byte, 16)})
	return nil
}

// learn takes note of what a match has said about the packet's protocols.
func (g *generator) learn(m *Match) {
	v, ok := m.Right.(*Value)
	if !ok || m.Op != "" && m.Op != "==" {
		return
	}
	n := number(v.Data)
	switch e := m.Left.(type) {
	case *Meta:
		switch e.Key.name {
		case "l4proto":
			g.l4, g.l4Said = n, true
		case "nfproto":
			g.l3 = map[uint64]string{2: "ip", 10: "ip6"}[n]
		case "protocol":
			g.l3 = map[uint64]string{0x800: "ip", 0x86dd: "ip6"}[n]
		}
	case *Payload:
		if e.Field != nil && (e.Header.Name == "ip" && e.Field.Name == "protocol" || e.Header.Name == "ip6" && e.Field.Name == "nexthdr") {
			g.l4, g.l4Said = n, true
		}
	}
}

// statement makes a statement.
func (g *generator) statement(s Stmt) error {
	switch s := s.(type) {
	case *Match:
		return g.match(s)
	case *Verdict:
		g.emit(g.verdict(s))
	case *VMap:
		g.needs(s.Key)
		set, err := g.lookup(s.Key, s.Set, []*Type{types["verdict"]}, "", reg)
		if err != nil {
			return err
		}
		g.emit(classify.Lookup{Set: set.Set, Src: reg})
	case *Counter:
		g.emit(s.load())
	case *Quota:
		g.emit(s.load())
	case *Limit:
		g.emit(s.load())
	case *Log:
		g.emit(&classify.Log{Prefix: s.Prefix, Group: uint16(max(0, s.Group)), Level: uint8(max(0, slices.Index(levels, s.Level)))})
	case *Reject:
		return g.reject(s)
	case *Queue:
		if s.Of != nil || s.Num != s.NumEnd {
			return g.cannot("packets go to one queue here; write queue to NUMBER")
		}
		g.emit(classify.Verdict{Code: classify.Queue, Queue: s.Num, Bypass: slices.Contains(s.Flags, "bypass")})
	case *Notrack:
		g.emit(conntrack.NoTrack())
	case *Mangle:
		return g.mangle(s)
	case *DynSet:
		return g.dynSet(s)
	case *ObjRef:
		return g.objRef(s)
	case *NAT:
		return g.nat(s)
	case *ConnLimit:
		return g.cannot("ct count counts connections, which is not done here; limit rate bounds how fast they come")
	default:
		return g.cannot("%s is not done here; leave it out", strings.Fields(StmtText(s))[0])
	}
	return nil
}

func (g *generator) reject(s *Reject) error {
	r := &classify.Reject{Code: wire.ICMPv4PortUnreachable, Code6: wire.ICMPv6PortUnreachable}
	if s.Code != nil {
		n := byte(number(s.Code.Data))
		switch s.With {
		case "icmp":
			g.needL3("ip")
			r.Code = n
		case "icmpv6":
			g.needL3("ip6")
			r.Code6 = n
		case "icmpx":
			r.Code = []byte{wire.ICMPv4NetUnreachable, wire.ICMPv4PortUnreachable, wire.ICMPv4HostUnreachable, wire.ICMPv4AdminProhibited}[n&3]
			r.Code6 = []byte{wire.ICMPv6NoRoute, wire.ICMPv6PortUnreachable, wire.ICMPv6AddressUnreachable, wire.ICMPv6AdminProhibited}[n&3]
		}
	}
	if s.With == "tcp reset" {
		g.needL4(uint64(wire.ProtoTCP))
		r.Reset = true
	}
	g.emit(r)
	return nil
}

func (g *generator) dynSet(s *DynSet) error {
	g.needs(s.Key)
	if s.Data != nil {
		return g.cannot("rules cannot change maps here; only sets")
	}
	if err := g.load(s.Key, reg); err != nil {
		return err
	}
	x := classify.Dynset{Set: g.sets[s.Set].Set, Key: reg, Timeout: s.Timeout}
	x.Op = map[string]classify.DynsetOp{"add": classify.SetAdd, "update": classify.SetUpdate, "delete": classify.SetDelete}[s.Op]
	if len(s.Stmts) > 0 {
		for _, st := range s.Stmts {
			if _, err := g.stateful(copyStmt(st), g.at); err != nil {
				return err
			}
		}
		x.Make = func() (all []classify.Expr) {
			for _, st := range s.Stmts {
				e, _ := g.stateful(fresh(st), g.at) // it went well above
				all = append(all, e)
			}
			return all
		}
	}
	g.emit(x)
	return nil
}

// fresh is a copy of a statement with a memory of its own.
func fresh(s Stmt) Stmt {
	switch s := s.(type) {
	case *Counter:
		return &Counter{}
	case *Quota:
		return &Quota{Over: s.Over, Bytes: s.Bytes}
	}
	return copyStmt(s)
}

func (g *generator) objRef(s *ObjRef) error {
	if strings.HasPrefix(s.Kind, "ct ") {
		return g.ctObject(s)
	}
	if s.Map == nil {
		x, err := g.object(s.Kind, s.Name, g.at)
		if err == nil {
			g.emit(x)
		}
		return err
	}
	g.needs(s.Map.Key)
	set, err := g.lookup(s.Map.Key, s.Map.Set, nil, s.Kind, reg)
	if err == nil {
		g.emit(classify.Lookup{Set: set.Set, Src: reg})
	}
	return err
}

func (g *generator) ctObject(s *ObjRef) error {
	if s.Kind != "ct helper" {
		return g.cannot("%s is not done here; leave it out", s.Kind)
	}
	if g.config.Conntrack == nil {
		return g.cannot("ct helper needs connection tracking, and there is none here")
	}
	name := ""
	for _, kv := range g.table.Object(s.Kind, s.Name).Settings {
		if kv[0] == "type" {
			name = strings.Trim(strings.Fields(kv[1])[0], `"`)
		}
	}
	x, err := g.config.Conntrack.SetHelper(name)
	if err != nil {
		return g.cannot("%v", err)
	}
	g.emit(x)
	return nil
}

// mangle makes the setting of a field.
func (g *generator) mangle(m *Mangle) error {
	g.needs(m.Target)
	g.needs(m.Value)
	switch t := m.Target.(type) {
	case *Meta:
		switch t.Key.name {
		case "mark":
			if err := g.load(m.Value, reg); err != nil {
				return err
			}
			g.emit(classify.SetMark{Src: reg})
			return nil
		case "nftrace", "priority", "pkttype", "secmark":
			return g.cannot("meta %s cannot be set here: packets do not carry it", t.Key.name)
		}
	case *Ct:
		return g.ctSet(t, m.Value)
	case *Payload:
		if err := g.load(m.Value, reg); err != nil {
			return err
		}
		return g.write(t)
	case *Exthdr:
		if err := g.load(m.Value, reg); err != nil {
			return err
		}
		g.emit(optionStore(t))
		return nil
	}
	return g.cannot("%s cannot be set here", exprText(m.Target))
}

func (g *generator) ctSet(t *Ct, value Expr) error {
	ct := g.config.Conntrack
	if t.Key.name == "zone" {
		v, ok := value.(*Value)
		if !ok {
			return g.cannot("ct zone can be set to a constant here")
		}
		dirs := map[string]packet.TrackDirs{"": packet.TrackBoth, "original": packet.TrackOriginal, "reply": packet.TrackReply}[t.Dir]
		g.emit(conntrack.SetZone(uint16(number(v.Data)), dirs))
		return nil
	}
	if ct == nil {
		return g.cannot("%s needs connection tracking, and there is none here", exprText(t))
	}
	switch t.Key.name {
	case "mark":
		keep, xor, from := uint32(1<<32-1), uint32(0), value
		for {
			b, ok := from.(*Binary)
			if !ok {
				break
			}
			v, ok := b.R.(*Value)
			if !ok || b.Op == "<<" || b.Op == ">>" {
				return g.cannot("ct mark can be set to its own value with & | ^ and constants here")
			}
			n := uint32(number(v.Data))
			// keep and xor are of what comes after.
			switch b.Op {
			case "&":
				keep &= n
			case "|":
				xor |= n & keep
				keep &^= n
			default:
				xor ^= n & keep
			}
			from = b.L
		}
		switch f := from.(type) {
		case *Value:
			g.emit(ct.SetMark(0, uint32(number(f.Data))&keep^xor))
			return nil
		case *Ct:
			if f.Key.name == "mark" {
				g.emit(ct.SetMark(keep, xor))
				return nil
			}
		case *Meta:
			if f.Key.name == "mark" {
				g.emit(ct.SetMark(0, xor), ct.SaveMark(keep))
				if xor&keep != 0 {
					return g.cannot("ct mark can be set to meta mark with & here, or to its own value with & | ^")
				}
				return nil
			}
		}
	case "label":
		if v, ok := value.(*Value); ok && number(v.Data) < 128 {
			var labels [16]byte
			labels[number(v.Data)/8] = 1 << (number(v.Data) % 8)
			g.emit(ct.SetLabels(labels))
			return nil
		}
	}
	return g.cannot("%s cannot be set so here", exprText(t))
}

// write stores a register into a header field, and mends the checksums.
func (g *generator) write(t *Payload) error {
	b, off, bits := t.place()
	if b > classify.Transport || bits > 128 || bits > 64 && (off%8 != 0 || bits%8 != 0) {
		return g.cannot("%s cannot be set here", exprText(t))
	}
	n := size(bits)
	g.emit(&classify.Store{Name: exprText(t), Src: reg, Len: uint8(n), Do: func(in *classify.Input, v []byte) (classify.Verdict, bool) {
		return classify.Verdict{}, setField(in.Packet, b, off, bits, v)
	}})
	return nil
}

// setField changes bits of a header, the checksums that cover them, and what
// the walk has noted of them.
func setField(p *packet.Packet, b classify.Base, off, bits int, v []byte) bool {
	h := header(p, b)
	first, last := off/8, (off+bits-1)/8+1
	if len(h) < last {
		return false
	}
	// Checksums are sums of words, so whole words are looked at.
	lo, hi := first&^1, min((last+1)&^1, len(h))
	old := slices.Clone(h[lo:hi])
	if off%8 == 0 && bits%8 == 0 {
		copy(h[first:last], v)
	} else {
		writeBits(h, off, bits, number(v))
	}
	new := h[lo:hi]
	if b == classify.Link {
		return true
	}
	overIP := b == classify.Network && p.Src.Is4()
	if overIP && !(lo <= 10 && hi > 10) {
		mend(p.From(p.Net)[10:12], old, new)
	}
	if sum := transportSum(p); sum != nil {
		pseudo := b == classify.Network && p.Proto != wire.ProtoICMP && (p.Src.Is4() && lo >= 12 || p.Src.Is6() && lo >= 8)
		switch at := checksumAt(p.Proto); {
		case pseudo && p.Checksum == packet.ChecksumPartial:
			mendPartial(sum, old, new)
		case pseudo, b == classify.Transport && !(lo <= at && hi > at) && p.Checksum != packet.ChecksumPartial:
			if p.Proto != wire.ProtoUDP || sum[0]|sum[1] != 0 {
				mend(sum, old, new)
				if p.Proto == wire.ProtoUDP && sum[0]|sum[1] == 0 {
					sum[0], sum[1] = 0xff, 0xff
				}
			}
		}
	}
	noteFields(p)
	return true
}

// noteFields reads again what the walk knows of the IP header.
func noteFields(p *packet.Packet) {
	if p.Net == 0 {
		return
	}
	h := p.From(p.Net)
	switch {
	case p.Src.Is4() && len(h) >= wire.IPv4Len:
		ip := wire.IPv4(h)
		p.Src, p.Dst, p.TTL, p.TOS = ip.Src(), ip.Dst(), ip.TTL(), ip.TOS()
	case p.Src.Is6() && len(h) >= wire.IPv6Len:
		ip := wire.IPv6(h)
		p.Src, p.Dst, p.TTL, p.TOS = ip.Src(), ip.Dst(), ip.HopLimit(), ip.TrafficClass()
	}
}

func checksumAt(proto wire.Proto) int {
	switch proto {
	case wire.ProtoTCP:
		return 16
	case wire.ProtoUDP:
		return 6
	case wire.ProtoICMP, wire.ProtoICMPv6:
		return 2
	}
	return -1
}

// transportSum is the checksum field of a packet's transport header.
func transportSum(p *packet.Packet) []byte {
	at := checksumAt(p.Proto)
	h := header(p, classify.Transport)
	if at < 0 || len(h) < at+2 {
		return nil
	}
	return h[at : at+2]
}

// mend changes a checksum for words that have changed (RFC 1624).
func mend(sum, old, new []byte) {
	s := uint32(^binary.BigEndian.Uint16(sum))
	for i := range old {
		shift := 8 * (1 - i%2)
		s += uint32(^old[i]) << shift & (0xff << shift)
		s += uint32(new[i]) << shift
	}
	for s>>16 != 0 {
		s = s>>16 + s&0xffff
	}
	binary.BigEndian.PutUint16(sum, ^uint16(s))
}

// mendPartial is mend for a field that has the sum of the pseudo header, not
// its complement.
func mendPartial(sum, old, new []byte) {
	b := []byte{^sum[0], ^sum[1]}
	mend(b, old, new)
	sum[0], sum[1] = ^b[0], ^b[1]
}
