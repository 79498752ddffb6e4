package nft

import (
	"encoding/binary"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/towpath/towpath/firewall/classify"
	"github.com/towpath/towpath/firewall/conntrack"
	"github.com/towpath/towpath/firewall/hook"
	"github.com/towpath/towpath/firewall/nat"
	"github.com/towpath/towpath/packet"
	"github.com/towpath/towpath/wire"
)

// Config is what rules need beside themselves.
type Config struct {
	// Conntrack is what ct expressions read, and NAT what translates its flows;
	// nil: rules that need them are refused.
	Conntrack *conntrack.Table
	NAT       *nat.NAT
	// Logger is told of packets that come to a log statement; nil: nobody.
	Logger classify.Logger
	// Now is the clock of the packets' host, at which timeouts of elements
	// begin; nil: it stands at 0.
	Now func() time.Duration
	// Seed is of the numbers that numgen random and hashes without a seed make.
	Seed uint64
}

// A Loaded is rules that packets can be asked about.
type Loaded struct {
	Rules   *Ruleset
	config  Config
	bases   []*entrance // in the order in which packets meet them at one point and priority
	rules   map[*classify.Rule]*Cause
	causes  []*Cause                    // in the order of the text
	origins map[*classify.Rule][]origin // of each expression
	rand    *lockedRand
	now     time.Duration
}

// An origin is what an expression was made of.
type origin struct {
	stmt    int   // counted from 0
	implied *Type // of the value that is compared, if a statement only implies that
}

// An entrance is a base chain that has been loaded.
type entrance struct {
	family Family
	table  *Table
	chain  *Chain
	point  hook.Point
	rules  *classify.Table
	start  *classify.Chain
	policy *Cause
}

type lockedRand struct {
	mu sync.Mutex
	r  *rand.Rand
}

func (l *lockedRand) next() uint32 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.r.Uint32()
}

// Load makes what packets are asked about from rules. The counters of rules
// that have been loaded before go on. An error says which rule cannot be done,
// and why.
func Load(rs *Ruleset, c Config) (*Loaded, error) {
	l := &Loaded{
		Rules: rs, config: c, rules: map[*classify.Rule]*Cause{}, origins: map[*classify.Rule][]origin{},
		rand: &lockedRand{r: rand.New(rand.NewPCG(c.Seed, 1))},
	}
	if c.Now != nil {
		l.now = c.Now()
	}
	for _, t := range rs.Tables {
		if err := l.table(t); err != nil {
			return nil, err
		}
	}
	return l, nil
}

var points = map[string]hook.Point{
	"prerouting": hook.Prerouting, "input": hook.Input, "forward": hook.Forward, "output": hook.Output,
	"postrouting": hook.Postrouting, "ingress": hook.Ingress, "egress": hook.Egress,
}

var bridgePoints = map[string]hook.Point{
	"prerouting": hook.BridgePrerouting, "input": hook.BridgeInput, "forward": hook.BridgeForward,
	"output": hook.BridgeOutput, "postrouting": hook.BridgePostrouting,
}

// A loadedSet is a set, and what its elements lead to.
type loadedSet struct {
	*classify.Set
	data   []*Type
	ranges bool // the elements' data are two bounds, all lower ones first
}

// A loader makes one table.
type loader struct {
	*Loaded
	table  *Table
	out    *classify.Table
	chains map[string]*classify.Chain
	sets   map[string]*loadedSet
	// Objects are shared by all rules that name them.
	counters map[string]*classify.Counter
	quotas   map[string]*classify.Quota
	limits   map[string]*classify.Limit
}

func (l *Loaded) table(t *Table) error {
	if t.Family == ARP {
		for _, c := range t.Chains {
			if c.Hook != nil {
				return fault(c.Pos, "ARP packets pass no point where rules could see them; write the chain in a table of family netdev, at ingress")
			}
		}
	}
	d := &loader{
		Loaded: l, table: t, out: classify.NewTable(t.Name), chains: map[string]*classify.Chain{}, sets: map[string]*loadedSet{},
		counters: map[string]*classify.Counter{}, quotas: map[string]*classify.Quota{}, limits: map[string]*classify.Limit{},
	}
	for _, c := range t.Chains {
		policy := classify.Accept
		if c.Policy == "drop" {
			policy = classify.Drop
		}
		d.chains[c.Name] = d.out.NewChain(c.Name, policy)
	}
	if len(t.Flowtables) > 0 {
		return fault(t.Flowtables[0].Pos, "flowtables are not done: every packet goes the whole way; leave flowtable %s and the rules with flow add out", t.Flowtables[0].Name)
	}
	for _, o := range t.Objects {
		switch s := o.Stmt.(type) {
		case *Counter:
			d.counters[o.Name] = s.load()
		case *Quota:
			d.quotas[o.Name] = s.load()
		case *Limit:
			d.limits[o.Name] = s.load()
		}
	}
	for _, s := range t.Sets {
		if err := d.set(s); err != nil {
			return err
		}
	}
	err := d.out.Edit(func(e *classify.Edit) error {
		for _, c := range t.Chains {
			for _, r := range c.Rules {
				x, err := d.rule(c, r)
				if err != nil {
					return err
				}
				if err := e.Append(d.chains[c.Name], x); err != nil {
					return fault(r.Pos, "%v", err)
				}
				cause := &Cause{Table: t, Chain: c, Rule: r}
				l.rules[x], l.causes = cause, append(l.causes, cause)
			}
		}
		return nil
	})
	if err != nil || t.Dormant {
		return err
	}
	for _, c := range t.Chains {
		if c.Hook == nil {
			continue
		}
		b := &entrance{family: t.Family, table: t, chain: c, point: points[c.Hook.Name], rules: d.out, start: d.chains[c.Name], policy: &Cause{Table: t, Chain: c}}
		l.causes = append(l.causes, b.policy)
		if t.Family == Bridge {
			b.point = bridgePoints[c.Hook.Name]
		}
		l.bases = append(l.bases, b)
	}
	slices.SortStableFunc(l.bases, func(a, b *entrance) int {
		if a.point != b.point {
			return int(a.point) - int(b.point)
		}
		return a.chain.Hook.Priority - b.chain.Hook.Priority
	})
	return nil
}

func (c *Counter) load() *classify.Counter {
	if c.live == nil {
		c.live = new(classify.Counter)
	}
	return c.live
}

func (q *Quota) load() *classify.Quota {
	if q.live == nil {
		q.live = &classify.Quota{Bytes: q.Bytes, Over: q.Over}
	}
	return q.live
}

func (l *Limit) load() *classify.Limit {
	return &classify.Limit{Rate: l.Rate, Unit: rateUnit(l.Unit), Burst: l.Burst, Bytes: l.Bytes, Over: l.Over}
}

// rateUnit is a rate's unit as a time.
func rateUnit(s string) time.Duration {
	switch s {
	case "minute":
		return time.Minute
	case "hour":
		return time.Hour
	case "day":
		return 24 * time.Hour
	case "week":
		return 7 * 24 * time.Hour
	}
	return time.Second
}

// round4 is n bytes in whole registers.
func round4(n int) int { return (n + 3) / 4 * 4 }

// width is how many bytes a value of a type has in a register.
func (t *Type) width() int {
	switch {
	case t.Name == "string":
		return 16
	case t.form == text:
		return 16
	}
	return size(t.Bits)
}

// fixed is a value's bytes, as wide as registers have them.
func fixed(b []byte, t *Type) []byte {
	w := t.width()
	if t.form == text {
		return append(slices.Clone(b), make([]byte, max(0, w-len(b)))...)[:w]
	}
	return b
}

// keyBounds are the first and last values of an element. Several stand side by
// side, each in whole registers.
func keyBounds(e Expr, ts []*Type) (lo, hi []byte) {
	parts := []Expr{e}
	if c, ok := e.(*Concat); ok {
		parts = c.Parts
	}
	for i, x := range parts {
		a, b := bounds(x)
		lo, hi = append(lo, fixed(a, ts[i])...), append(hi, fixed(b, ts[i])...)
		if len(parts) > 1 {
			lo, hi = padded(lo), padded(hi)
		}
	}
	return lo, hi
}

// padded is b in whole registers.
func padded(b []byte) []byte { return append(b, make([]byte, round4(len(b))-len(b))...) }

// set loads a named set.
func (d *loader) set(s *Set) error {
	c := classify.SetConfig{Name: s.Name, Timeout: s.Timeout, SizeMax: int(s.Size)}
	c.Interval = s.Flag("interval")
	c.Dynamic = s.Flag("dynamic") || d.updated(s.Name)
	if c.Dynamic && (c.Interval || s.IsMap()) {
		return fault(s.Pos, "rules change %s, which is an interval set or a map; only sets of single values can be changed by rules here", s.Name)
	}
	return d.elements(s.Name, c, s.Key, s.Data, s.Object, s.Elems, s.Pos)
}

// updated reports whether rules change a set.
func (d *loader) updated(name string) bool {
	for _, c := range d.table.Chains {
		for _, r := range c.Rules {
			for _, s := range r.Stmts {
				if x, ok := s.(*DynSet); ok && x.Set == name {
					return true
				}
			}
		}
	}
	return false
}

func (d *loader) elements(name string, c classify.SetConfig, key, data []*Type, object string, elems []*Elem, at Pos) error {
	for _, k := range key {
		c.Parts = append(c.Parts, k.width())
	}
	s := &loadedSet{data: data}
	switch {
	case data != nil && data[0] == types["verdict"]:
		c.Verdicts = true
	case data != nil:
		s.ranges = slices.ContainsFunc(elems, func(e *Elem) bool { return !plain(e.Data) })
		n := dataLen(data)
		if c.DataLen = n; s.ranges {
			c.DataLen = round4(n) + n
		}
	}
	set, err := classify.NewSet(c)
	if err != nil {
		return fault(at, "%v", err)
	}
	var all []classify.Element
	for _, e := range elems {
		x := classify.Element{Comment: e.Comment}
		lo, hi := keyBounds(e.Key, key)
		x.Key = lo
		if c.Interval {
			x.KeyEnd = hi
		}
		switch {
		case e.Expires != 0:
			x.Expires = d.now + e.Expires
		case e.Timeout != 0:
			x.Expires = d.now + e.Timeout
		case c.Timeout != 0:
			x.Expires = d.now + c.Timeout
		}
		for _, s := range e.Stmts {
			ex, err := d.stateful(s, at)
			if err != nil {
				return err
			}
			x.Exprs = append(x.Exprs, ex)
		}
		switch {
		case c.Verdicts:
			x.Verdict = d.verdict(e.Data.(*Verdict))
		case object != "":
			ex, err := d.object(object, string(e.Data.(*Value).Data), at)
			if err != nil {
				return err
			}
			x.Exprs = append(x.Exprs, ex)
		case data != nil:
			lo, hi := keyBounds(e.Data, data)
			x.Data = lo
			if s.ranges {
				x.Data = append(padded(lo), hi...)
			}
		}
		all = append(all, x)
	}
	if err := set.Replace(all); err != nil {
		return fault(at, "%v", err)
	}
	s.Set = set
	d.sets[name] = s
	return nil
}

// plain reports whether e is one value, or several side by side.
func plain(e Expr) bool {
	switch e := e.(type) {
	case *Value:
		return true
	case *Concat:
		return !slices.ContainsFunc(e.Parts, func(x Expr) bool { return !plain(x) })
	}
	return false
}

// dataLen is how long data are, as keyBounds makes them.
func dataLen(data []*Type) (n int) {
	if len(data) == 1 {
		return data[0].width()
	}
	for _, t := range data {
		n += round4(t.width())
	}
	return n
}

// stateful loads a statement of an element.
func (d *loader) stateful(s Stmt, at Pos) (classify.Expr, error) {
	switch s := s.(type) {
	case *Counter:
		return s.load(), nil
	case *Quota:
		return s.load(), nil
	case *Limit:
		return s.load(), nil
	}
	return nil, fault(at, "%s cannot be asked here: connections are not counted by key", StmtText(s))
}

func (d *loader) object(kind, name string, at Pos) (classify.Expr, error) {
	switch kind {
	case "counter":
		if c := d.counters[name]; c != nil {
			return c, nil
		}
	case "quota":
		if q := d.quotas[name]; q != nil {
			return q, nil
		}
	case "limit":
		if l := d.limits[name]; l != nil {
			return l, nil
		}
	case "synproxy":
		return nil, fault(at, "synproxy is not done here; let the server answer for itself")
	}
	return nil, fault(at, "table %s %s has no %s %q", d.table.Family, d.table.Name, kind, name)
}

func (d *loader) verdict(v *Verdict) classify.Verdict {
	code := map[string]classify.Code{
		"accept": classify.Accept, "drop": classify.Drop, "continue": classify.Continue,
		"return": classify.Return, "jump": classify.Jump, "goto": classify.Goto,
	}[v.Code]
	x := classify.Verdict{Code: code}
	if v.Chain != "" {
		x.Chain = d.chains[v.Chain]
	}
	return x
}

// rule makes a rule's expressions.
func (d *loader) rule(c *Chain, r *Rule) (*classify.Rule, error) {
	g := &generator{loader: d, chain: c, at: r.Pos}
	for i, s := range r.Stmts {
		g.stmt = i
		if err := g.statement(s); err != nil {
			return nil, err
		}
	}
	x := &classify.Rule{Exprs: g.out, Handle: r.Handle, Comment: r.Comment, File: r.Pos.File, Line: r.Pos.Line}
	d.origins[x] = g.origins
	return x, nil
}

// A generator makes one rule's expressions.
type generator struct {
	*loader
	chain   *Chain
	at      Pos
	stmt    int // that is being made
	out     []classify.Expr
	origins []origin
	l3      string
	l4      uint64
	l4Said  bool
	icmp    bool
}

func (g *generator) emit(e ...classify.Expr) {
	for _, x := range e {
		g.out, g.origins = append(g.out, x), append(g.origins, origin{stmt: g.stmt})
	}
}

// imply makes a comparison that is not written, but without which a field means
// nothing.
func (g *generator) imply(t *Type, load classify.Expr, data ...byte) {
	g.emit(load, classify.Cmp{Reg: reg, Data: data})
	g.origins[len(g.origins)-1].implied = t
}

func (g *generator) cannot(format string, args ...any) error { return fault(g.at, format, args...) }

// The registers that values are loaded into. A key has up to 16 registers, so
// there is one place for it.
const reg classify.Reg = 0

// needL3 makes the rule one about packets of a protocol.
func (g *generator) needL3(l3 string) {
	if g.l3 == l3 || g.table.Family == IP || g.table.Family == IP6 {
		return
	}
	g.l3 = l3
	switch l3 {
	case "ip":
		g.imply(types["nf_proto"], classify.Meta{Key: classify.MetaNFProto, Dst: reg}, classify.NFProtoIPv4)
	case "ip6":
		g.imply(types["nf_proto"], classify.Meta{Key: classify.MetaNFProto, Dst: reg}, classify.NFProtoIPv6)
	case "arp":
		g.imply(types["ether_type"], etherTypeLoad, 8, 6)
	}
}

// etherTypeLoad is the EtherType of a frame that may have an IP packet or not.
var etherTypeLoad = classify.Payload{Base: classify.Link, Offset: 12, Len: 2, Dst: reg}

func (g *generator) needL4(n uint64) {
	if g.l4Said && g.l4 == n {
		return
	}
	g.l4, g.l4Said = n, true
	g.imply(types["inet_proto"], classify.Meta{Key: classify.MetaL4Proto, Dst: reg}, byte(n))
}

// needs makes the rule one about packets that have a field.
func (g *generator) needs(e Expr) {
	switch e := e.(type) {
	case *Concat:
		for _, x := range e.Parts {
			g.needs(x)
		}
	case *Binary:
		g.needs(e.L)
		g.needs(e.R)
	case *MapOf:
		g.needs(e.Key)
	case *Hash:
		if e.Of != nil {
			g.needs(e.Of)
		}
	case *Exthdr:
		if e.Kind == "exthdr" {
			g.needL3("ip6")
		}
	case *Payload:
		if e.Header == nil {
			return
		}
		switch h := e.Header; h.Name {
		case "ip", "ip6", "arp":
			g.needL3(h.Name)
		case "ether", "th":
		case "vlan":
			g.imply(types["ether_type"], etherTypeLoad, 0x81, 0)
		default:
			switch h.Name {
			case "icmp", "igmp":
				g.needL3("ip")
			case "icmpv6":
				g.needL3("ip6")
			}
			g.needL4(h.Proto)
			if t, ok := icmpTypes[h.Name+" "+e.Field.Name]; ok && !g.icmp {
				g.icmp = true
				g.imply(types[h.Name+"_type"], classify.Payload{Base: classify.Transport, Len: 1, Dst: reg}, byte(t))
			}
			if strings.HasPrefix(h.Name, "icmp") && e.Field.Name == "type" {
				g.icmp = true
			}
		}
	}
}

// metaLoads are metadata that classify knows.
var metaLoads = map[string]classify.MetaKey{
	"length": classify.MetaLen, "nfproto": classify.MetaNFProto, "l4proto": classify.MetaL4Proto, "mark": classify.MetaMark,
	"iif": classify.MetaIifName, "iifname": classify.MetaIifName, "oif": classify.MetaOifName, "oifname": classify.MetaOifName,
	"pkttype": classify.MetaPktType,
}

var ctLoads = map[string]classify.CtKey{
	"state": classify.CtState, "direction": classify.CtDirection, "status": classify.CtStatus, "mark": classify.CtMark,
	"expiration": classify.CtExpiration, "helper": classify.CtHelper, "l3proto": classify.CtL3Proto, "protocol": classify.CtProtocol,
	"saddr": classify.CtSrc, "daddr": classify.CtDst, "proto-src": classify.CtProtoSrc, "proto-dst": classify.CtProtoDst,
	"zone": classify.CtZone, "id": classify.CtID, "label": classify.CtLabels, "bytes": classify.CtBytes, "packets": classify.CtPackets,
}

// load loads an expression's value into registers from dst on. Values stand
// there as wide as their types say.
func (g *generator) load(e Expr, dst classify.Reg) error {
	switch e := e.(type) {
	case *Value:
		g.emit(classify.Immediate{Dst: dst, Data: fixed(e.Data, e.Type)})
	case *Concat:
		for _, x := range e.Parts {
			if err := g.load(x, dst); err != nil {
				return err
			}
			dst += classify.Reg(round4(x.typ().width()) / 4)
		}
	case *Binary:
		return g.binary(e, dst)
	case *Payload:
		return g.payload(e, dst)
	case *Meta:
		return g.meta(e, dst)
	case *Ct:
		k, ok := ctLoads[e.Key.name]
		if !ok {
			return g.cannot("ct %s cannot be asked here", e.Key.name)
		}
		if g.config.Conntrack == nil {
			return g.cannot("%s needs connection tracking, and there is none here", exprText(e))
		}
		switch {
		case e.Dir == "" && k == classify.CtBytes:
			k = classify.CtBytesAll
		case e.Dir == "" && k == classify.CtPackets:
			k = classify.CtPacketsAll
		}
		g.emit(classify.Ct{Key: k, Reply: e.Dir == "reply", Dst: dst})
	case *Fib:
		g.emit(fibLoad(e, dst))
	case *Rt:
		if e.Key != "nexthop" {
			return g.cannot("rt %s cannot be asked here", e.Key)
		}
		g.emit(nexthop(e, dst))
	case *Numgen:
		g.emit(g.numgen(e, dst))
	case *Hash:
		return g.hash(e, dst)
	case *Exthdr:
		g.emit(exthdrLoad(e, dst))
	case *MapOf:
		return g.mapOf(e, dst)
	default:
		return g.cannot("%s cannot be asked here", exprText(e))
	}
	return nil
}

func (g *generator) meta(e *Meta, dst classify.Reg) error {
	if k, ok := metaLoads[e.Key.name]; ok {
		g.emit(classify.Meta{Key: k, Dst: dst})
		return nil
	}
	switch e.Key.name {
	case "protocol":
		g.emit(&classify.Load{Name: "meta protocol", Len: 2, Dst: dst, Invariant: true, Get: etherType})
	case "random":
		g.emit(&classify.Load{Name: "meta random", Len: 4, Dst: dst, Get: func(_ *classify.Input, b []byte) bool {
			binary.BigEndian.PutUint32(b, g.rand.next())
			return true
		}})
	default:
		return g.cannot("meta %s cannot be asked here: packets do not carry it", e.Key.name)
	}
	return nil
}

// etherType is a packet's EtherType, from its frame if it has one.
func etherType(in *classify.Input, b []byte) bool {
	p := in.Packet
	switch {
	case p.Src.Is4():
		binary.BigEndian.PutUint16(b, 0x800)
	case p.Src.Is6():
		binary.BigEndian.PutUint16(b, 0x86dd)
	default:
		eth := p.From(p.Link)
		if p.Link == 0 || len(eth) < 14 {
			return false
		}
		copy(b, eth[12:14])
	}
	return true
}

var bases = map[string]classify.Base{"ll": classify.Link, "nh": classify.Network, "th": classify.Transport}

// payload loads a field. Fields that are not whole bytes are shifted to the
// right end of theirs.
func (g *generator) payload(e *Payload, dst classify.Reg) error {
	b, off, bits := e.place()
	if b > classify.Transport {
		return g.cannot("@ih is what stands behind the transport header, whose end is not known here; write @th and an offset from there")
	}
	if off%8 == 0 && bits%8 == 0 && bits <= 512 {
		g.emit(classify.Payload{Base: b, Offset: uint16(off / 8), Len: uint8(bits / 8), Dst: dst})
		return nil
	}
	if bits > 64 {
		return g.cannot("%s: fields of more than 64 bits that are not whole bytes cannot be looked at", exprText(e))
	}
	g.emit(&classify.Load{Name: exprText(e), Len: uint8(size(bits)), Dst: dst, Get: func(in *classify.Input, v []byte) bool {
		raw := header(in.Packet, b)
		if len(raw)*8 < off+bits {
			return false
		}
		n, _ := bigEndian(readBits(raw, off, bits), bits)
		copy(v, n)
		return true
	}})
	return nil
}

// header is the linear bytes of a packet from a header on; nil if it has none.
func header(p *packet.Packet, b classify.Base) []byte {
	from := p.Net
	switch b {
	case classify.Link:
		from = p.Link
	case classify.Transport:
		from = p.Transport
		if p.Proto == wire.ProtoFragment || p.Src.Is4() && p.LenFrom(p.Net) >= wire.IPv4Len && wire.IPv4(p.From(p.Net)).FragOffset() != 0 {
			return nil
		}
	}
	if from == 0 {
		return nil
	}
	return p.From(from)
}

func readBits(b []byte, off, n int) (v uint64) {
	for i := off; i < off+n; i++ {
		v = v<<1 | uint64(b[i/8]>>(7-i%8)&1)
	}
	return v
}

func writeBits(b []byte, off, n int, v uint64) {
	for i := range n {
		bit, at := byte(v>>(n-1-i)&1), off+i
		b[at/8] = b[at/8]&^(0x80>>(at%8)) | bit<<(7-at%8)
	}
}

// place is where a field is: from which header, and its offset and length in
// bits.
func (e *Payload) place() (b classify.Base, off, bits int) {
	if e.Header != nil {
		return e.Header.Base, e.Field.Offset, e.Field.Bits
	}
	b, ok := bases[e.Base]
	if !ok {
		b = classify.Transport + 1
	}
	return b, e.Offset, e.Bits
}
