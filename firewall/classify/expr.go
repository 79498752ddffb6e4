package classify

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/towpath/towpath/packet"
	"github.com/towpath/towpath/wire"
)

const (
	regBytes = 4  // of one register
	regCount = 16 // registers 0 to 15
	valueMax = regBytes * regCount
)

// A Reg is a register: four bytes, the first of a value that may continue in
// the registers behind it. What a value leaves of its last register is zero.
type Reg uint8

// An Expr is one expression of a rule. Expressions with a memory (counters,
// limits, quotas) are pointers and may be shared by rules.
type Expr interface {
	fmt.Stringer
	// exec is the expression's meaning.
	exec(w *Walker) status
	// check says what the expression reads and writes, for validation.
	check(c *checker) error
}

// A status is how an expression ended.
type status uint8

const (
	next  status = iota // go on with the next expression
	fail                // the rule does not match
	final               // w.verdict says how it goes on
)

// written fills the last register of a value with zeros, as nf_tables does, so
// that values one behind the other make the key of a concatenation.
func (w *Walker) written(r Reg, n int) status {
	w.whole = w.whole[:0]
	for i := int(r)*regBytes + n; i%regBytes != 0; i++ {
		w.regs[i] = 0
	}
	return next
}

// A Base is where an offset in the packet is counted from.
type Base uint8

// The headers that a payload expression can look at.
const (
	Link      Base = iota // the link header, where the packet has one
	Network               // the IP header
	Transport             // behind it and its extensions; fails in later fragments
)

var baseText = []string{"link", "network", "transport"}

// Payload loads bytes of the packet. It fails if the packet has none there.
type Payload struct {
	Base   Base
	Offset uint16 // bytes
	Len    uint8  // bytes, at most 64
	Dst    Reg
}

func (e Payload) exec(w *Walker) status {
	if !e.invariant(w.in.Packet) {
		w.variant = true
	}
	if !w.load(w.regs[e.Dst*regBytes:][:e.Len], e.Base, int(e.Offset), false) {
		return fail
	}
	return w.written(e.Dst, int(e.Len))
}

func (e Payload) String() string {
	return fmt.Sprintf("payload load %db @ %s header + %d => reg %d", e.Len, at(baseText, int(e.Base)), e.Offset, e.Dst)
}

// A MetaKey names something that is known about a packet but not in it.
type MetaKey uint8

// Keys of Meta, with the width of their values.
const (
	MetaLen     MetaKey = iota // 4 bytes: length from the IP header on
	MetaNFProto                // 1: 2 for IPv4, 10 for IPv6
	MetaL4Proto                // 1: IP protocol behind all extension headers
	MetaMark                   // 4
	MetaIif                    // 4: index of the adapter it came in by
	MetaOif                    // 4: of the one it leaves by
	MetaIifName                // 16: name, padded with zeros
	MetaOifName                // 16
	MetaPktType                // 1: 0 to this host or unknown, 1 broadcast, 2 multicast
	metaCount
)

var metaText = []string{"len", "nfproto", "l4proto", "mark", "iif", "oif", "iifname", "oifname", "pkttype"}
var metaLen = [metaCount]uint8{4, 1, 1, 4, 4, 4, 16, 16, 1}

// NFProto values of [MetaNFProto].
const (
	NFProtoIPv4 = 2
	NFProtoIPv6 = 10
)

// Meta loads a fact about the packet. It fails if there is none. An adapter that
// the packet does not have, such as the leaving one on input, has the index 0
// and no name.
type Meta struct {
	Key MetaKey
	Dst Reg
}

func (e Meta) exec(w *Walker) status {
	switch e.Key {
	case MetaLen, MetaMark, MetaPktType:
		w.variant = true
	}
	if !w.meta(w.regs[e.Dst*regBytes:], e.Key) {
		return fail
	}
	return w.written(e.Dst, int(metaLen[e.Key]))
}

func (e Meta) String() string {
	return fmt.Sprintf("meta load %s => reg %d", at(metaText, int(e.Key)), e.Dst)
}

// SetMark sets the packet's mark from a register.
type SetMark struct{ Src Reg }

func (e SetMark) exec(w *Walker) status {
	w.variant = true
	if w.acts() {
		w.in.Packet.Mark = binary.BigEndian.Uint32(w.regs[e.Src*regBytes:])
	}
	return next
}

func (e SetMark) String() string { return fmt.Sprintf("meta set mark with reg %d", e.Src) }

// A CtKey names something that connection tracking knows of a packet.
type CtKey uint8

// Keys of Ct, with the width of their values.
const (
	CtState      CtKey = iota // 4: a CtStateBits
	CtDirection               // 1: 0 original, 1 reply
	CtStatus                  // 4
	CtMark                    // 4
	CtExpiration              // 4: milliseconds
	CtHelper                  // 16
	CtL3Proto                 // 1
	CtProtocol                // 1
	CtSrc                     // 4 or 16
	CtDst                     // 4 or 16
	CtProtoSrc                // 2
	CtProtoDst                // 2
	CtZone                    // 2
	CtID                      // 4
	CtLabels                  // 16
	CtBytes                   // 8
	CtPackets                 // 8
	CtBytesAll                // 8: of both directions
	CtPacketsAll              // 8
	ctCount
)

var ctText = []string{"state", "direction", "status", "mark", "expiration", "helper", "l3proto", "protocol",
	"saddr", "daddr", "proto_src", "proto_dst", "zone", "id", "labels", "bytes", "packets", "bytes of both", "packets of both"}
var ctLen = [ctCount]uint8{4, 1, 4, 4, 4, 16, 1, 1, 16, 16, 2, 2, 2, 4, 16, 8, 8, 8, 8}

// CtStateBits is a value of [CtState] (NF_CT_STATE_BIT).
type CtStateBits uint32

// States of a packet in connection tracking.
const (
	CtInvalid     CtStateBits = 1
	CtEstablished CtStateBits = 2
	CtRelated     CtStateBits = 4
	CtNew         CtStateBits = 8
	CtUntracked   CtStateBits = 64
)

// A Conn is what connection tracking tells of a packet.
type Conn interface {
	// LoadCt writes the value of a key, in network byte order and as wide as
	// the key says, and reports whether there is one. Reply asks for that of
	// the reply direction.
	LoadCt(key CtKey, reply bool, dst []byte) bool
}

// Ct loads what connection tracking knows. A packet without a connection has
// the state invalid; every other key fails on it.
type Ct struct {
	Key   CtKey
	Reply bool // of the reply direction; false is the original one
	Dst   Reg
}

func (e Ct) exec(w *Walker) status {
	w.variant = true
	dst := w.regs[e.Dst*regBytes:][:ctLen[e.Key]]
	switch {
	case w.in.Conn != nil:
		clear(dst)
		if !w.in.Conn.LoadCt(e.Key, e.Reply, dst) {
			return fail
		}
	case e.Key == CtState:
		binary.BigEndian.PutUint32(dst, uint32(CtInvalid))
	default:
		return fail
	}
	return w.written(e.Dst, len(dst))
}

func (e Ct) String() string {
	return fmt.Sprintf("ct load %s => reg %d", at(ctText, int(e.Key)), e.Dst)
}

// An Op is a comparison.
type Op uint8

// Comparisons of a register's value with data, byte by byte from the left.
const (
	Equal Op = iota
	NotEqual
	Less
	LessOrEqual
	Greater
	GreaterOrEqual
	opCount
)

var opText = []string{"eq", "neq", "lt", "lte", "gt", "gte"}

// Cmp compares a register with data.
type Cmp struct {
	Op   Op
	Reg  Reg
	Data []byte
}

func (e Cmp) exec(w *Walker) status {
	c := bytes.Compare(w.regs[e.Reg*regBytes:][:len(e.Data)], e.Data)
	var ok bool
	switch e.Op {
	case Equal:
		ok = c == 0
	case NotEqual:
		ok = c != 0
	case Less:
		ok = c < 0
	case LessOrEqual:
		ok = c <= 0
	case Greater:
		ok = c > 0
	default:
		ok = c >= 0
	}
	return w.matched(ok, e.Reg, len(e.Data))
}

func (e Cmp) String() string {
	return fmt.Sprintf("cmp %s reg %d %#x", at(opText, int(e.Op)), e.Reg, e.Data)
}

// Range compares a register with two bounds, which belong to the range.
type Range struct {
	Reg    Reg
	Lo, Hi []byte
	Invert bool // the value must lie outside
}

func (e Range) exec(w *Walker) status {
	v := w.regs[e.Reg*regBytes:][:len(e.Lo)]
	in := bytes.Compare(v, e.Lo) >= 0 && bytes.Compare(v, e.Hi) <= 0
	return w.matched(in != e.Invert, e.Reg, len(e.Lo))
}

func (e Range) String() string {
	return fmt.Sprintf("range %s reg %d %#x %#x", at(opText, int(flag(e.Invert))), e.Reg, e.Lo, e.Hi)
}

// Bitwise computes Dst = Src & Mask ^ Xor. Mask and Xor are of one length.
type Bitwise struct {
	Src, Dst  Reg
	Mask, Xor []byte
}

func (e Bitwise) exec(w *Walker) status {
	src, dst := w.regs[e.Src*regBytes:][:len(e.Mask)], w.regs[e.Dst*regBytes:][:len(e.Mask)]
	if w.dry {
		w.whole = append(w.whole[:0], src...)
		w.wholeAt = e.Dst
	}
	for i := range dst {
		dst[i] = src[i]&e.Mask[i] ^ e.Xor[i]
	}
	for i := int(e.Dst)*regBytes + len(dst); i%regBytes != 0; i++ {
		w.regs[i] = 0
	}
	return next
}

func (e Bitwise) String() string {
	return fmt.Sprintf("bitwise reg %d = ( reg %d & %#x ) ^ %#x", e.Dst, e.Src, e.Mask, e.Xor)
}

// Byteorder reverses the bytes of each unit of Size bytes.
type Byteorder struct {
	Src, Dst Reg
	Len      uint8 // bytes, a multiple of Size
	Size     uint8 // 2, 4 or 8
}

func (e Byteorder) exec(w *Walker) status {
	var b [valueMax]byte
	n := copy(b[:], w.regs[e.Src*regBytes:][:e.Len])
	for unit := range slices.Chunk(b[:n], int(e.Size)) {
		slices.Reverse(unit)
	}
	copy(w.regs[e.Dst*regBytes:], b[:n])
	return w.written(e.Dst, n)
}

func (e Byteorder) String() string {
	return fmt.Sprintf("byteorder reg %d = swap(reg %d, %d, %d)", e.Dst, e.Src, e.Size, e.Len)
}

// Immediate loads data.
type Immediate struct {
	Dst  Reg
	Data []byte
}

func (e Immediate) exec(w *Walker) status {
	copy(w.regs[e.Dst*regBytes:], e.Data)
	return w.written(e.Dst, len(e.Data))
}

func (e Immediate) String() string { return fmt.Sprintf("immediate reg %d %#x", e.Dst, e.Data) }

// A Code is how a packet goes on.
type Code uint8

// What a verdict can say.
const (
	Continue Code = iota // with the next rule
	Accept               // it passes this base chain
	Drop                 // it ends
	Queue                // it waits for a verdict from elsewhere
	Stolen               // a statement has taken it
	Jump                 // with the rules of Chain, and then here again
	Goto                 // with the rules of Chain, and then where this chain was jumped from
	Return               // behind the jump to this chain
	codeCount
)

var codeText = []string{"continue", "accept", "drop", "queue", "stolen", "jump", "goto", "return"}

func (c Code) String() string { return at(codeText, int(c)) }

// A Verdict ends a rule.
type Verdict struct {
	Code   Code
	Chain  *Chain // of Jump and Goto
	Queue  uint16 // of Queue: its number
	Bypass bool   // of Queue: accept if nobody takes it
}

func (e Verdict) exec(w *Walker) status {
	w.verdict = e
	return final
}

func (e Verdict) String() string {
	switch e.Code {
	case Jump, Goto:
		if e.Chain != nil {
			return e.Code.String() + " " + e.Chain.name
		}
	case Queue:
		return fmt.Sprintf("queue to %d", e.Queue)
	}
	return e.Code.String()
}

// Lookup looks a register's value up in a set. With a map, what is found goes
// into Dst; with a map of verdicts it is the rule's verdict.
type Lookup struct {
	Set    *Set
	Src    Reg
	Dst    Reg  // of maps with data
	Invert bool // the value must not be in the set
}

func (e Lookup) exec(w *Walker) status {
	s := e.Set
	if s.config.Dynamic || s.config.Timeout > 0 {
		w.variant = true
	}
	el := s.find(w, w.regs[e.Src*regBytes:][:s.keyLen])
	if el != nil == e.Invert {
		return w.matched(false, e.Src, s.keyLen)
	}
	if el != nil && el.Exprs != nil {
		w.variant = true
		if st := w.all(el.Exprs); st != next {
			return st
		}
	}
	switch {
	case s.config.DataLen > 0:
		copy(w.regs[e.Dst*regBytes:], el.Data)
		return w.written(e.Dst, len(el.Data))
	case s.config.Verdicts:
		w.verdict = el.Verdict
		return final
	}
	return next
}

func (e Lookup) String() string {
	return fmt.Sprintf("lookup reg %d set %s%s", e.Src, e.Set.config.Name, map[bool]string{true: " inverted"}[e.Invert])
}

// A DynsetOp is a change of a set by a rule.
type DynsetOp uint8

// What a rule can do to a set.
const (
	SetAdd    DynsetOp = iota // fails if the set is full
	SetUpdate                 // as SetAdd; the timeout of an element that is there begins anew
	SetDelete
)

var dynsetText = []string{"add", "update", "delete"}

// Dynset changes a dynamic set by what a register holds.
type Dynset struct {
	Set     *Set
	Op      DynsetOp
	Key     Reg
	Timeout time.Duration // 0: the set's own
	// Make makes the expressions of a new element, which are then evaluated for
	// each packet that comes here; nil: there are none.
	Make func() []Expr
}

func (e Dynset) exec(w *Walker) status {
	w.variant = true
	if w.dry {
		return next
	}
	exprs, ok := e.Set.change(e.Op, w.regs[e.Key*regBytes:][:e.Set.keyLen], w.in.Now, e.Timeout, e.Make)
	if !ok {
		return fail
	}
	return w.all(exprs)
}

// all evaluates an element's expressions.
func (w *Walker) all(exprs []Expr) status {
	for _, x := range exprs {
		if st := x.exec(w); st != next {
			return st
		}
	}
	return next
}

func (e Dynset) String() string {
	return fmt.Sprintf("dynset %s reg %d set %s", at(dynsetText, int(e.Op)), e.Key, e.Set.config.Name)
}

// A Counter counts the packets that come as far. The zero value is ready.
type Counter struct{ packets, bytes atomic.Uint64 }

// Add credits a packet of n bytes, for verdicts that were remembered.
func (e *Counter) Add(n int) {
	e.packets.Add(1)
	e.bytes.Add(uint64(n))
}

// Load returns the counts. They are read one after the other.
func (e *Counter) Load() (packets, bytes uint64) { return e.packets.Load(), e.bytes.Load() }

func (e *Counter) exec(w *Walker) status {
	if w.dry {
		return next
	}
	e.Add(w.in.len())
	if w.ncredits < len(w.credits) {
		w.credits[w.ncredits] = e
		w.ncredits++
	} else {
		w.variant = true // too many to remember
	}
	return next
}

func (e *Counter) String() string {
	p, b := e.Load()
	return fmt.Sprintf("counter pkts %d bytes %d", p, b)
}

const (
	burstDefault = 5       // packets (NFT_LIMIT_PKT_BURST_DEFAULT)
	tokensMax    = 1 << 62 // nanoseconds
)

// A Limit fails beyond a rate: a bucket of tokens, as nft's. Its fields are set
// before it is used.
type Limit struct {
	Rate  uint64        // packets or bytes per Unit; at least 1
	Unit  time.Duration // a second, a minute, …
	Burst uint64        // packets or bytes beyond the rate; 0 packets mean 5
	Bytes bool          // count bytes, not packets
	Over  bool          // fail below the rate instead

	mu     sync.Mutex
	begun  bool
	last   time.Duration
	tokens time.Duration
}

func (e *Limit) exec(w *Walker) status {
	w.variant = true
	if w.dry {
		return next
	}
	unit := float64(e.Unit) / float64(e.Rate) // nanoseconds of one packet or byte
	full, cost := unit*float64(cmp.Or(e.Burst, burstDefault)), unit
	if e.Bytes {
		full, cost = unit*float64(e.Rate+e.Burst), unit*float64(w.in.len())
	}
	full, cost = min(full, tokensMax), min(cost, tokensMax)
	e.mu.Lock()
	defer e.mu.Unlock()
	if !e.begun {
		e.begun, e.last, e.tokens = true, w.in.Now, time.Duration(full)
	}
	e.tokens = min(e.tokens+w.in.Now-e.last, time.Duration(full))
	e.last = w.in.Now
	within := e.tokens >= time.Duration(cost)
	if within {
		e.tokens -= time.Duration(cost)
	}
	if within == e.Over {
		return fail
	}
	return next
}

func (e *Limit) String() string {
	return fmt.Sprintf("limit rate %s%d/%v burst %d", map[bool]string{true: "over "}[e.Over], e.Rate, e.Unit, e.Burst)
}

// A Quota fails once more bytes have passed it (as in Linux 6.18; older kernels
// fail with the packet that makes it as many).
type Quota struct {
	Bytes uint64
	Over  bool // fail until then instead
	used  atomic.Uint64
}

// Used is how many bytes have been counted.
func (e *Quota) Used() uint64 { return e.used.Load() }

func (e *Quota) exec(w *Walker) status {
	w.variant = true
	if w.dry {
		return next
	}
	if over := e.used.Add(uint64(w.in.len())) > e.Bytes; over != e.Over {
		return fail
	}
	return next
}

func (e *Quota) String() string { return fmt.Sprintf("quota bytes %d consumed %d", e.Bytes, e.Used()) }

// Log hands the packet to the input's Logger, if it has one.
type Log struct {
	Prefix string
	Group  uint16
	Level  uint8
}

// A Logger is told of packets that come to a Log. It must not block.
type Logger interface {
	LogPacket(l *Log, r *Rule, in *Input)
}

func (e *Log) exec(w *Walker) status {
	w.variant = true
	if !w.dry && w.in.Logger != nil {
		w.in.Logger.LogPacket(e, w.rule, w.in)
	}
	return next
}

func (e *Log) String() string { return fmt.Sprintf("log prefix %q", e.Prefix) }

// Reject drops the packet; the result carries it, for whoever sends the reply.
type Reject struct {
	Reset bool  // a TCP reset, not an ICMP error
	Code  uint8 // of the ICMP destination unreachable message
	Code6 uint8 // of ICMPv6's
}

func (e *Reject) exec(w *Walker) status {
	w.verdict, w.reject = Verdict{Code: Drop}, e
	return final
}

func (e *Reject) String() string {
	if e.Reset {
		return "reject with tcp reset"
	}
	return fmt.Sprintf("reject with icmp code %d", e.Code)
}

// A Match is an opaque condition: an extension of xtables, a callout.
type Match struct {
	Name      string
	Test      func(in *Input) bool
	Invariant bool // the same for all packets of a flow
}

func (e *Match) exec(w *Walker) status {
	w.variant = w.variant || !e.Invariant
	if !e.Test(w.in) {
		return fail
	}
	return next
}

func (e *Match) String() string { return "match " + e.Name }

// A Load is an opaque value: what a function finds out about a packet. It fails
// if there is none.
type Load struct {
	Name      string
	Len       uint8 // bytes
	Dst       Reg
	Get       func(in *Input, dst []byte) bool // dst is zeros
	Invariant bool                             // the same for all packets of a flow
}

func (e *Load) exec(w *Walker) status {
	w.variant = w.variant || !e.Invariant
	dst := w.regs[e.Dst*regBytes:][:e.Len]
	clear(dst)
	if !e.Get(w.in, dst) {
		return fail
	}
	return w.written(e.Dst, int(e.Len))
}

func (e *Load) String() string { return fmt.Sprintf("load %s => reg %d", e.Name, e.Dst) }

// A Store is an opaque act with a register's value: the setting of a field, a
// translation to what a map has. It is not done when a walk only explains.
type Store struct {
	Name string
	Src  Reg
	Len  uint8 // bytes
	// Do returns false if the rule ends here; Continue goes on behind it.
	Do      func(in *Input, v []byte) (Verdict, bool)
	Verdict Verdict // what a walk that only explains takes for its result
}

func (e *Store) exec(w *Walker) status {
	w.variant = true
	v, ok := e.Verdict, true
	if w.acts() {
		w.changed = true
		v, ok = e.Do(w.in, w.regs[e.Src*regBytes:][:e.Len])
	}
	switch {
	case !ok:
		return fail
	case v.Code == Continue:
		return next
	}
	w.verdict = v
	return final
}

func (e *Store) String() string { return fmt.Sprintf("store %s with reg %d", e.Name, e.Src) }

// A Statement is an opaque act: address translation, a target of xtables. It
// may change the packet, and is not done when a walk only explains.
type Statement struct {
	Name    string
	Do      func(in *Input) Verdict // Continue goes on behind it
	Verdict Verdict                 // what a walk that only explains takes for its result
}

func (e *Statement) exec(w *Walker) status {
	w.variant = true
	v := e.Verdict
	if w.acts() {
		v, w.changed = e.Do(w.in), true
	}
	if v.Code == Continue {
		return next
	}
	w.verdict = v
	return final
}

func (e *Statement) String() string { return "statement " + e.Name }

// at is s[i], or the number if there is none.
func at(s []string, i int) string {
	if i < len(s) {
		return s[i]
	}
	return fmt.Sprint(i)
}

func flag(b bool) uint8 {
	if b {
		return 1
	}
	return 0
}

// invariant reports whether a field is the same in all packets of a flow:
// addresses and protocol of the IP header, ports of TCP and UDP.
func (e Payload) invariant(p *packet.Packet) bool {
	off, end := int(e.Offset), int(e.Offset)+int(e.Len)
	switch e.Base {
	case Network:
		if p.Src.Is4() {
			return off >= 12 && end <= wire.IPv4Len || off == 9 && end == 10
		}
		return off >= 8 && end <= wire.IPv6Len || off == 6 && end == 7
	case Transport:
		return end <= 4 && (p.Proto == wire.ProtoTCP || p.Proto == wire.ProtoUDP)
	}
	return false
}

// An Input is what a walk through rules is about.
type Input struct {
	Packet  *packet.Packet
	Now     time.Duration
	Iif     int32 // index of the adapter it came in by; 0 if none
	Oif     int32
	IifName string
	OifName string
	Conn    Conn   // nil if the packet is not tracked
	Logger  Logger // nil to log nothing
	// Context is for statements that ask for more: what the judge that walks
	// was told, a *hook.Context.
	Context any
	// Trial: a walk that explains changes the packet as the rules say, so that
	// later rules see it. It is then the caller's own, as is the table of flows
	// that it is in.
	Trial bool
}

// acts reports whether the packet is changed.
func (w *Walker) acts() bool { return !w.dry || w.in.Trial }

// len is the packet's length as counters count it: from the IP header on.
func (in *Input) len() int {
	if p := in.Packet; p.Net != 0 {
		return p.LenFrom(p.Net)
	}
	return in.Packet.Len()
}

var broadcast = netip.AddrFrom4([4]byte{255, 255, 255, 255})

// meta writes a fact about the packet.
func (w *Walker) meta(dst []byte, key MetaKey) bool {
	p := w.in.Packet
	switch key {
	case MetaLen:
		binary.BigEndian.PutUint32(dst, uint32(w.in.len()))
	case MetaNFProto:
		switch {
		case p.Src.Is4():
			dst[0] = NFProtoIPv4
		case p.Src.Is6():
			dst[0] = NFProtoIPv6
		default:
			return false
		}
	case MetaL4Proto:
		dst[0] = byte(p.Proto)
		return p.Src.IsValid()
	case MetaMark:
		binary.BigEndian.PutUint32(dst, p.Mark)
	case MetaIif:
		binary.BigEndian.PutUint32(dst, uint32(w.in.Iif))
	case MetaOif:
		binary.BigEndian.PutUint32(dst, uint32(w.in.Oif))
	case MetaIifName:
		clear(dst[copy(dst[:16], w.in.IifName):16])
	case MetaOifName:
		clear(dst[copy(dst[:16], w.in.OifName):16])
	case MetaPktType:
		switch {
		case p.Dst.IsMulticast():
			dst[0] = 2
		case p.Dst == broadcast:
			dst[0] = 1
		default:
			dst[0] = 0
		}
	}
	return true
}

// load copies bytes of the packet. If pad is set, those missing are zero, and
// it fails only if the packet has no such header at all.
func (w *Walker) load(dst []byte, base Base, off int, pad bool) bool {
	p := w.in.Packet
	var from uint16
	switch base {
	case Link:
		from = p.Link
	case Network:
		from = p.Net
	default:
		from = p.Transport
		if p.Proto == wire.ProtoFragment || p.Src.Is4() && p.LenFrom(p.Net) >= wire.IPv4Len && wire.IPv4(p.From(p.Net)).FragOffset() != 0 {
			return false
		}
	}
	if from == 0 {
		return false
	}
	linear := p.From(from)
	if off+len(dst) <= len(linear) {
		copy(dst, linear[off:])
		return true
	}
	n := 0
	if off < len(linear) {
		n = copy(dst, linear[off:])
	}
	n += p.CopyTo(dst[n:], p.HeadLen()+max(0, off-len(linear)))
	clear(dst[n:])
	return pad || n == len(dst)
}
