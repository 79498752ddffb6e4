package nft

import (
	"time"

	"github.com/towpath/towpath/firewall/classify"
)

// A Family is the packets that a table is about.
type Family string

// The families of nft(8).
const (
	IP     Family = "ip"
	IP6    Family = "ip6"
	Inet   Family = "inet"
	ARP    Family = "arp"
	Bridge Family = "bridge"
	Netdev Family = "netdev"
)

var families = []string{"ip", "ip6", "inet", "arp", "bridge", "netdev"}

// A Ruleset is tables, in the order in which they were made.
type Ruleset struct{ Tables []*Table }

// A Table is a name space of chains, sets and objects of one family.
type Table struct {
	Pos        Pos
	Family     Family
	Name       string
	Dormant    bool
	Comment    string
	Handle     uint64
	Chains     []*Chain
	Sets       []*Set
	Objects    []*Object
	Flowtables []*Flowtable

	handles uint64 // the last one given in it
}

// A Chain is a list of rules; with a Hook it is a base chain, at which walks
// begin.
type Chain struct {
	Pos     Pos
	Name    string
	Handle  uint64
	Comment string
	Hook    *Hook
	Policy  string // accept or drop, of base chains
	Rules   []*Rule
}

// A Hook is where on the walk a base chain stands.
type Hook struct {
	Type     string // filter, nat or route
	Name     string
	Priority int
	Devices  []string
}

// A Rule is a list of statements, the first of which that fails ends it.
type Rule struct {
	Pos     Pos
	Handle  uint64
	Stmts   []Stmt
	Comment string
}

// A Set is a set, a map or a map of verdicts or objects.
type Set struct {
	Pos        Pos
	Name       string
	Handle     uint64
	Key        []*Type // several are a concatenation
	Data       []*Type // of a map
	Typeof     Expr    // what Key was taken from, if it was
	TypeofData Expr
	Object     string // what a map of objects leads to: counter, quota, limit, …
	Flags      []string
	Timeout    time.Duration
	GC         time.Duration
	Size       uint64
	Policy     string
	AutoMerge  bool
	Comment    string
	Stmts      []Stmt // that every element gets
	Elems      []*Elem
}

// IsMap reports whether a set is a map.
func (s *Set) IsMap() bool { return s.Data != nil || s.Object != "" }

// Flag reports whether a set has a flag.
func (s *Set) Flag(name string) bool {
	for _, f := range s.Flags {
		if f == name {
			return true
		}
	}
	return false
}

// An Elem is an element of a set or map.
type Elem struct {
	Pos     Pos
	Key     Expr
	Data    Expr // of maps: a value, or a *Verdict
	Timeout time.Duration
	Expires time.Duration
	Comment string
	Stmts   []Stmt
}

// An Object is a counter, quota or limit with a name, or what conntrack is told.
type Object struct {
	Pos     Pos
	Kind    string // counter, quota, limit, ct helper, ct timeout, ct expectation, synproxy
	Name    string
	Handle  uint64
	Comment string
	Stmt    Stmt // what it does, of counters, quotas, limits and synproxies
	// Settings are those of the others: words by key, as they are printed.
	Settings [][2]string
}

// A Flowtable names flows that go around the walk.
type Flowtable struct {
	Pos      Pos
	Name     string
	Handle   uint64
	Hook     string
	Priority int
	Devices  []string
	Flags    []string
	Counter  bool
}

// An Expr is something that has a value.
type Expr interface{ typ() *Type }

// The expressions.
type (
	// Value is a constant.
	Value struct {
		Type *Type
		Data []byte // big end first
		Wild bool   // of texts: more may follow
	}
	// Prefix is the values that have Len bits of an address.
	Prefix struct {
		Value *Value
		Len   int
	}
	// Range is the values between two.
	Range struct{ Lo, Hi *Value }
	// Any is *, every value.
	Any struct{ Type *Type }
	// Concat is several values one behind the other.
	Concat struct{ Parts []Expr }
	// Binary computes; Op is one of & | ^ << >>.
	Binary struct {
		Op   string
		L, R Expr
	}
	// Payload is a field of a header, or, with no Header, raw bits from a base.
	Payload struct {
		Header *Header
		Field  *Field
		Base   string // ll, nh, th, ih
		Offset int
		Bits   int
	}
	// Exthdr is a field of an IPv6 extension header, or an option of IPv4 or
	// TCP; without Field whether there is one.
	Exthdr struct {
		Kind   string // exthdr, ip option, tcp option
		Header *Header
		Field  *Field
	}
	// Meta is something known about the packet.
	Meta struct{ Key *key }
	// Ct is something that connection tracking knows.
	Ct struct {
		Key    *key
		Dir    string // original, reply, or empty
		Family string // ip, ip6, or empty
	}
	// Fib is the result of a look-up in the table of routes.
	Fib struct {
		Flags  []string // saddr daddr mark iif oif
		Result string   // oif oifname type
	}
	// Socket is something of the socket that would take the packet.
	Socket struct {
		Key   string
		Level int
	}
	// Rt is something of the packet's route.
	Rt struct {
		Key    string
		Family string
	}
	// Numgen makes numbers.
	Numgen struct {
		Random      bool
		Mod, Offset uint32
	}
	// Hash makes a number of what Of is; without it, of the flow.
	Hash struct {
		Of          Expr
		Mod, Offset uint32
		Seed        uint32
		Seeded      bool
	}
	// SetRef is a named set.
	SetRef struct {
		Pos  Pos
		Name string
	}
	// Anon is a set without a name.
	Anon struct {
		Elems []*Elem
		// Names of objects, in a map to them.
		Object string
	}
	// MapOf is what a map has for a key. Set is a *SetRef or *Anon.
	MapOf struct {
		Key  Expr
		Set  Expr
		data *Type
		wide bool // it leads to more than an address
	}
)

func (e *Value) typ() *Type  { return e.Type }
func (e *Prefix) typ() *Type { return e.Value.Type }
func (e *Range) typ() *Type  { return e.Lo.Type }
func (e *Any) typ() *Type    { return e.Type }
func (e *Concat) typ() *Type { return nil }
func (e *Binary) typ() *Type { return e.L.typ() }
func (e *Payload) typ() *Type {
	if e.Field != nil {
		return sized(e.Field.Type, e.Field.Bits)
	}
	return sized(types["raw"], e.Bits)
}
func (e *Exthdr) typ() *Type {
	if e.Field != nil {
		return sized(e.Field.Type, e.Field.Bits)
	}
	return types["boolean"]
}
func (e *Meta) typ() *Type { return sized(e.Key.typ, e.Key.bits) }
func (e *Ct) typ() *Type {
	if e.Key.name == "saddr" || e.Key.name == "daddr" {
		return types[map[string]string{"ip": "ipv4_addr", "ip6": "ipv6_addr"}[e.Family]]
	}
	return sized(e.Key.typ, e.Key.bits)
}
func (e *Fib) typ() *Type {
	switch e.Result {
	case "type":
		return types["fib_addrtype"]
	case "oifname":
		return types["ifname"]
	}
	return types["iface_index"]
}
func (e *Socket) typ() *Type {
	switch e.Key {
	case "mark":
		return types["mark"]
	case "cgroupv2":
		return types["string"]
	}
	return sized(types["integer"], 1)
}
func (e *Rt) typ() *Type {
	switch e.Key {
	case "classid":
		return types["realm"]
	case "mtu":
		return sized(types["integer"], 16)
	case "ipsec":
		return types["boolean"]
	}
	return types[map[string]string{"ip": "ipv4_addr", "ip6": "ipv6_addr"}[e.Family]]
}
func (e *Numgen) typ() *Type { return sized(types["integer"], 32) }
func (e *Hash) typ() *Type   { return sized(types["integer"], 32) }
func (e *SetRef) typ() *Type { return nil }
func (e *Anon) typ() *Type   { return nil }
func (e *MapOf) typ() *Type  { return e.data }

// sized is a type with a field's width.
func sized(t *Type, bits int) *Type {
	if t.Bits == bits || bits == 0 || t.form == text {
		return t
	}
	key := sizedKey{t.Name, bits}
	if v, ok := sizedTypes[key]; ok {
		return v
	}
	c := *t
	c.Bits = bits
	return &c
}

type sizedKey struct {
	name string
	bits int
}

// sizedTypes are the widths that fields have, so that types can be compared.
var sizedTypes = func() map[sizedKey]*Type {
	all := map[sizedKey]*Type{}
	for _, name := range []string{"integer", "raw"} {
		for bits := 1; bits <= 512; bits++ {
			c := *types[name]
			c.Bits = bits
			all[sizedKey{name, bits}] = &c
		}
	}
	return all
}()

// A Stmt is a part of a rule that does or decides something.
type Stmt interface{ stmt() }

// The statements.
type (
	// Match goes on if Left is in the relation Op with Right. Op is "" (equal,
	// or for bitmasks: has one of), ==, !=, <, >, <= or >=, or "!": has none of.
	Match struct {
		Pos   Pos
		Left  Expr
		Op    string
		Right Expr
	}
	// Verdict ends the rule: accept, drop, continue, return, jump or goto.
	Verdict struct {
		Pos   Pos
		Code  string
		Chain string
	}
	// VMap is the verdict that a map has for a key. Set is a *SetRef or *Anon.
	VMap struct {
		Pos Pos
		Key Expr
		Set Expr
	}
	// Counter counts.
	Counter struct {
		Packets, Bytes uint64

		live *classify.Counter
	}
	// Quota ends the rule at some bytes; Over: until then.
	Quota struct {
		Over        bool
		Bytes, Used uint64

		live *classify.Quota
	}
	// Limit ends the rule beyond a rate; Over: below it.
	Limit struct {
		Over  bool
		Rate  uint64
		Unit  string // second, minute, hour, day, week
		Burst uint64
		Bytes bool
	}
	// ConnLimit ends the rule if there are more connections; Over: fewer.
	ConnLimit struct {
		Over  bool
		Count uint32
	}
	// Log tells of the packet.
	Log struct {
		Prefix    string
		Level     string // empty: as usual
		Group     int    // -1: to the system's log
		Snaplen   uint32
		Threshold uint32
		Flags     []string
	}
	// Reject ends the packet and tells its sender.
	Reject struct {
		With string // "", "tcp reset", icmp, icmpv6, icmpx
		Code *Value
	}
	// Queue gives the packet to somebody else.
	Queue struct {
		Num, NumEnd uint16
		Of          Expr // computes the number, instead
		Flags       []string
	}
	// Notrack keeps connection tracking off the packet.
	Notrack struct{}
	// Mangle sets Target, a field, a meta or a ct key, to Value.
	Mangle struct {
		Pos    Pos
		Target Expr
		Value  Expr
	}
	// DynSet changes a set by a rule.
	DynSet struct {
		Pos     Pos
		Op      string // add, update, delete
		Set     string
		Key     Expr
		Data    Expr // of maps
		Timeout time.Duration
		Stmts   []Stmt
	}
	// NAT translates: snat, dnat, masquerade or redirect.
	NAT struct {
		Pos    Pos
		Kind   string
		Family string // ip, ip6, or empty
		Prefix bool
		Addr   Expr // nil: the adapter's, or only the port
		Port   Expr
		Flags  []string
	}
	// TProxy gives the packet to a socket here.
	TProxy struct {
		Pos    Pos
		Family string
		Addr   Expr
		Port   Expr
	}
	// Dup sends a copy.
	Dup struct {
		Pos    Pos
		Addr   Expr
		Device Expr
	}
	// Fwd sends the packet out of another adapter.
	Fwd struct {
		Pos    Pos
		Family string
		Addr   Expr
		Device Expr
	}
	// SynProxy answers for a server until the client has shown itself.
	SynProxy struct {
		MSS, WScale         int // -1: not said
		Timestamp, SackPerm bool
	}
	// ObjRef uses an object: by name, or by what a map has for a key.
	ObjRef struct {
		Pos  Pos
		Kind string
		Name string
		Map  *MapOf
	}
	// FlowAdd puts the flow into a flowtable.
	FlowAdd struct {
		Pos  Pos
		Name string
	}
	// TCPReset takes a TCP option out of the packet.
	TCPReset struct{ Header *Header }
)

func (*Match) stmt()     {}
func (*Verdict) stmt()   {}
func (*VMap) stmt()      {}
func (*Counter) stmt()   {}
func (*Quota) stmt()     {}
func (*Limit) stmt()     {}
func (*ConnLimit) stmt() {}
func (*Log) stmt()       {}
func (*Reject) stmt()    {}
func (*Queue) stmt()     {}
func (*Notrack) stmt()   {}
func (*Mangle) stmt()    {}
func (*DynSet) stmt()    {}
func (*NAT) stmt()       {}
func (*TProxy) stmt()    {}
func (*Dup) stmt()       {}
func (*Fwd) stmt()       {}
func (*SynProxy) stmt()  {}
func (*ObjRef) stmt()    {}
func (*FlowAdd) stmt()   {}
func (*TCPReset) stmt()  {}

func (*Verdict) typ() *Type { return types["verdict"] }

// A Command is one thing that a file of rules asks for.
type Command struct {
	Pos    Pos
	Verb   string // add, create, insert, replace, delete, flush, list, reset, rename
	Object string // ruleset, table(s), chain(s), rule, set(s), map(s), element, counter(s), …
	Family Family
	Table  string
	Name   string // of the chain, set or object
	New    string // of rename
	Handle uint64
	At     uint64 // position or handle that a rule goes behind, or in front of
	Index  int    // the same, counted from 0; -1: not said

	TableSpec *Table
	ChainSpec *Chain
	SetSpec   *Set
	ObjSpec   *Object
	FlowSpec  *Flowtable
	Rule      *Rule
	Elems     []*Elem
}
