package nft

import (
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Options shape how rules are printed.
type Options struct {
	Handles   bool // behind everything that has one
	Stateless bool // without counts
	Numeric   bool // numbers instead of names of protocols and values
	Terse     bool // without elements of named sets
	// Now is the instant that elements' remaining times count from.
	Now time.Duration
}

// Print writes rules as nft list ruleset does: Parse reads them back.
func (rs *Ruleset) Print(w io.Writer, o Options) error {
	b := &strings.Builder{}
	p := &printer{w: b, o: &o}
	for _, t := range rs.Tables {
		p.table(t)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// String is the rules as nft list ruleset prints them.
func (rs *Ruleset) String() string {
	var b strings.Builder
	rs.Print(&b, Options{}) // a strings.Builder does not fail
	return b.String()
}

type printer struct {
	w *strings.Builder
	o *Options
}

func (p *printer) f(format string, args ...any) { fmt.Fprintf(p.w, format, args...) }
func (p *printer) s(s string)                   { p.w.WriteString(s) }

func (p *printer) handle(h uint64) {
	if p.o.Handles && h != 0 {
		p.f(" # handle %d", h)
	}
}

// table prints a table. Its parts are set apart by empty lines.
func (p *printer) table(t *Table) {
	p.f("table %s %s {", t.Family, t.Name)
	p.handle(t.Handle)
	p.s("\n")
	gap := ""
	if t.Comment != "" {
		p.f("\tcomment %q\n", t.Comment)
	}
	if t.Dormant {
		p.s("\tflags dormant\n")
		gap = "\n"
	}
	part := func() {
		p.s(gap)
		gap = "\n"
	}
	for _, x := range t.Objects {
		part()
		p.object(x)
	}
	for _, x := range t.Sets {
		part()
		p.set(x)
	}
	for _, x := range t.Flowtables {
		part()
		p.flowtable(t.Family, x)
	}
	for _, x := range t.Chains {
		part()
		p.chain(t.Family, x)
	}
	p.s("}\n")
}

func (p *printer) object(x *Object) {
	p.f("\t%s %s {", x.Kind, x.Name)
	p.handle(x.Handle)
	p.s("\n")
	if x.Comment != "" {
		p.f("\t\tcomment %q\n", x.Comment)
	}
	switch s := x.Stmt.(type) {
	case *Counter:
		packets, bytes := s.counts()
		if p.o.Stateless {
			break
		}
		p.f("\t\tpackets %d bytes %d\n", packets, bytes)
	case *Quota:
		p.s("\t\t")
		p.quota(s)
		p.s("\n")
	case *Limit:
		p.s("\t\t")
		p.limit(s)
		p.s("\n")
	case *SynProxy:
		if s.MSS >= 0 {
			p.f("\t\tmss %d\n", s.MSS)
		}
		if s.WScale >= 0 {
			p.f("\t\twscale %d\n", s.WScale)
		}
		if flags := s.flags(); flags != "" {
			p.f("\t\t%s\n", flags)
		}
	}
	for _, kv := range x.Settings {
		if kv[0] == "policy" {
			p.f("\t\tpolicy = %s\n", kv[1])
			continue
		}
		p.f("\t\t%s %s\n", kv[0], kv[1])
	}
	p.s("\t}\n")
}

func (s *SynProxy) flags() string {
	switch {
	case s.Timestamp && s.SackPerm:
		return "timestamp sack-perm"
	case s.Timestamp:
		return "timestamp"
	case s.SackPerm:
		return "sack-perm"
	}
	return ""
}

func (p *printer) flowtable(f Family, x *Flowtable) {
	p.f("\tflowtable %s {", x.Name)
	p.handle(x.Handle)
	p.f("\n\t\thook %s priority %s\n", x.Hook, priorityText(f, "ingress", x.Priority))
	if len(x.Devices) > 0 {
		p.f("\t\tdevices = { %s }\n", strings.Join(x.Devices, ", "))
	}
	if len(x.Flags) > 0 {
		p.f("\t\tflags %s\n", strings.Join(x.Flags, ","))
	}
	if x.Counter {
		p.s("\t\tcounter\n")
	}
	p.s("\t}\n")
}

// priorityText is a priority with its name, if one is near.
func priorityText(f Family, hook string, n int) string {
	known := priorities
	switch f {
	case Bridge:
		known = bridgePriorities
	case ARP, Netdev:
		known = priorities[3:4]
	}
	for _, k := range known {
		switch {
		case f == Bridge && k.name == "dstnat" && hook != "prerouting", f == Bridge && k.name == "srcnat" && hook != "postrouting", f == Bridge && k.name == "out" && hook != "output":
			continue
		case k.name == "dstnat" && hook != "prerouting" && f != Bridge, k.name == "srcnat" && hook != "postrouting" && f != Bridge:
			continue
		}
		switch d := n - k.value; {
		case d == 0:
			return k.name
		case d > 0 && d <= 10:
			return fmt.Sprintf("%s + %d", k.name, d)
		case d < 0 && d >= -10:
			return fmt.Sprintf("%s - %d", k.name, -d)
		}
	}
	return strconv.Itoa(n)
}

func (p *printer) chain(f Family, c *Chain) {
	p.f("\tchain %s {", c.Name)
	p.handle(c.Handle)
	p.s("\n")
	if c.Comment != "" {
		p.f("\t\tcomment %q\n", c.Comment)
	}
	if h := c.Hook; h != nil {
		p.f("\t\ttype %s hook %s ", h.Type, h.Name)
		switch {
		case len(h.Devices) == 1:
			p.f("device %q ", h.Devices[0])
		case len(h.Devices) > 1:
			p.s("devices = { ")
			for i, d := range h.Devices {
				if i > 0 {
					p.s(", ")
				}
				p.s(d)
			}
			p.s(" } ")
		}
		policy := c.Policy
		if policy == "" {
			policy = "accept"
		}
		prio := priorityText(f, h.Name, h.Priority)
		if p.o.Numeric {
			prio = strconv.Itoa(h.Priority)
		}
		p.f("priority %s; policy %s;\n", prio, policy)
	}
	for _, r := range c.Rules {
		p.s("\t\t")
		p.rule(r)
		p.handle(r.Handle)
		p.s("\n")
	}
	p.s("\t}\n")
}

func (p *printer) rule(r *Rule) {
	for i, s := range r.Stmts {
		if i > 0 {
			p.s(" ")
		}
		p.stmt(s)
	}
	if r.Comment != "" {
		p.f(" comment %q", r.Comment)
	}
}

// String is the rule as it is written.
func (r *Rule) String() string {
	var b strings.Builder
	(&printer{w: &b, o: &Options{}}).rule(r)
	return b.String()
}

func (p *printer) types(ts []*Type) {
	for i, t := range ts {
		if i > 0 {
			p.s(" . ")
		}
		p.s(t.Name)
	}
}

func (p *printer) set(s *Set) {
	word := "set"
	if s.IsMap() {
		word = "map"
	}
	p.f("\t%s %s {", word, s.Name)
	p.handle(s.Handle)
	p.s("\n\t\t")
	if s.Typeof != nil {
		p.s("typeof ")
		p.expr(s.Typeof)
	} else {
		p.s("type ")
		p.types(s.Key)
	}
	switch {
	case s.Object != "":
		p.f(" : %s", s.Object)
	case s.TypeofData != nil:
		p.s(" : ")
		p.expr(s.TypeofData)
	case s.Data != nil:
		p.s(" : ")
		p.types(s.Data)
	}
	p.s("\n")
	if s.Policy == "memory" {
		p.s("\t\tpolicy memory\n")
	}
	if s.Size != 0 {
		p.f("\t\tsize %d\n", s.Size)
	}
	if len(s.Flags) > 0 {
		p.f("\t\tflags %s\n", strings.Join(s.Flags, ","))
	}
	if len(s.Stmts) > 0 {
		p.s("\t\t")
		for i, st := range s.Stmts {
			if i > 0 {
				p.s(" ")
			}
			if _, ok := st.(*Counter); ok {
				p.s("counter")
				continue
			}
			p.stmt(st)
		}
		p.s("\n")
	}
	if s.AutoMerge {
		p.s("\t\tauto-merge\n")
	}
	if s.Timeout != 0 {
		p.f("\t\ttimeout %s\n", duration(s.Timeout))
	}
	if s.GC != 0 {
		p.f("\t\tgc-interval %s\n", duration(s.GC))
	}
	if s.Comment != "" {
		p.f("\t\tcomment %q\n", s.Comment)
	}
	if len(s.Elems) > 0 && !p.o.Terse {
		p.s("\t\telements = { ")
		p.elems(s.Elems, perLine(s.Key))
		p.s(" }\n")
	}
	p.s("\t}\n")
}

// perLine is how many elements nft puts on a line.
func perLine(key []*Type) int {
	if len(key) != 1 {
		return 1
	}
	switch key[0].Name {
	case "nf_proto", "integer", "arp_op", "inet_proto", "inet_service", "tcp_flag", "dccp_pkttype", "mark", "iface_index", "classid", "uid", "ct_dir":
		return 5
	case "ipv4_addr", "ether_addr":
		return 2
	}
	return 1
}

func (p *printer) elems(all []*Elem, line int) {
	for i, e := range all {
		switch {
		case i == 0:
		case line > 0 && i%line == 0:
			p.s(",\n\t\t\t     ")
		default:
			p.s(", ")
		}
		p.elem(e)
	}
}

func (p *printer) elem(e *Elem) {
	p.expr(e.Key)
	for _, s := range e.Stmts {
		p.s(" ")
		p.stmt(s)
	}
	if e.Timeout != 0 {
		p.f(" timeout %s", duration(e.Timeout))
	}
	if e.Expires != 0 && !p.o.Stateless {
		p.f(" expires %s", duration(e.Expires-p.o.Now))
	}
	if e.Comment != "" {
		p.f(" comment %q", e.Comment)
	}
	if e.Data != nil {
		p.s(" : ")
		if v, ok := e.Data.(*Verdict); ok {
			p.stmt(v)
		} else {
			p.expr(e.Data)
		}
	}
}

func (p *printer) expr(e Expr) {
	switch e := e.(type) {
	case *Value:
		p.s(e.text(false, p.o))
	case *Prefix:
		p.f("%s/%d", e.Value.text(false, p.o), e.Len)
	case *Range:
		if e.Lo.Type.form == millis {
			p.f("%ds-%ds", number(e.Lo.Data)/1000, number(e.Hi.Data)/1000)
			break
		}
		p.f("%s-%s", e.Lo.text(false, p.o), e.Hi.text(false, p.o))
	case *Any:
		p.s("*")
	case *Concat:
		for i, x := range e.Parts {
			if i > 0 {
				p.s(" . ")
			}
			p.expr(x)
		}
	case *Binary:
		p.binary(e)
	case *Payload:
		if e.Header == nil {
			p.f("@%s,%d,%d", e.Base, e.Offset, e.Bits)
			break
		}
		name := e.Field.Name
		p.f("%s %s", e.Header.Name, name)
	case *Exthdr:
		switch {
		case e.Kind == "exthdr" && e.Field == nil:
			p.f("exthdr %s", e.Header.Name)
		case e.Kind == "exthdr":
			p.f("%s %s", e.Header.Name, e.Field.Name)
		case e.Field == nil:
			p.f("%s %s", e.Kind, e.Header.Name)
		default:
			p.f("%s %s %s", e.Kind, e.Header.Name, e.Field.Name)
		}
	case *Meta:
		if !e.Key.brief {
			p.s("meta ")
		}
		p.s(e.Key.name)
	case *Ct:
		p.s("ct ")
		if e.Dir != "" {
			p.s(e.Dir + " ")
		}
		if e.Family != "" {
			p.s(e.Family + " ")
		}
		p.s(e.Key.name)
	case *Fib:
		p.f("fib %s %s", strings.Join(e.Flags, " . "), e.Result)
	case *Socket:
		p.f("socket %s", e.Key)
		if e.Key == "cgroupv2" {
			p.f(" level %d", e.Level)
		}
	case *Rt:
		p.s("rt ")
		if e.Family != "" {
			p.s(e.Family + " ")
		}
		p.s(e.Key)
	case *Numgen:
		way := "inc"
		if e.Random {
			way = "random"
		}
		p.f("numgen %s mod %d", way, e.Mod)
		if e.Offset != 0 {
			p.f(" offset %d", e.Offset)
		}
	case *Hash:
		if e.Of != nil {
			p.s("jhash ")
			p.expr(e.Of)
		} else {
			p.s("symhash")
		}
		p.f(" mod %d", e.Mod)
		if e.Seeded {
			p.f(" seed 0x%x", e.Seed)
		}
		if e.Offset != 0 {
			p.f(" offset %d", e.Offset)
		}
	case *SetRef:
		p.s("@" + e.Name)
	case *Anon:
		p.s("{ ")
		p.elems(e.Elems, 0)
		p.s(" }")
	case *MapOf:
		p.expr(e.Key)
		p.s(" map ")
		p.expr(e.Set)
	case *Verdict:
		p.stmt(e)
	}
}

// precedence of operators; a lower one inside a higher one gets parentheses.
func precedence(op string) int {
	switch op {
	case "<<", ">>":
		return 3
	case "&":
		return 2
	case "^":
		return 1
	}
	return 0
}

func (p *printer) binary(e *Binary) {
	operand := func(x Expr) {
		if v, ok := x.(*Value); ok && v.Type.bitmask && strings.Contains(v.text(false, p.o), " ") {
			p.s("(")
			p.expr(x)
			p.s(")")
			return
		}
		if b, ok := x.(*Binary); ok && precedence(b.Op) < precedence(e.Op) {
			p.s("(")
			p.expr(x)
			p.s(")")
			return
		}
		p.expr(x)
	}
	operand(e.L)
	p.f(" %s ", e.Op)
	operand(e.R)
}

func (p *printer) match(m *Match) {
	if b, ok := m.Left.(*Binary); ok && b.Op == "&" && m.bits() {
		// flags VALUE / MASK
		if v, ok := m.Right.(*Value); ok {
			p.expr(b.L)
			if m.Op == "!=" {
				p.s(" !=")
			}
			p.f(" %s / %s", v.text(true, p.o), b.R.(*Value).text(true, p.o))
			return
		}
	}
	p.expr(m.Left)
	op := m.Op
	if op == "==" && !m.implied() {
		op = ""
	}
	if op != "" {
		p.s(" " + op)
	}
	p.s(" ")
	if v, ok := m.Right.(*Value); ok {
		p.s(v.text(m.Op == "" || m.Op == "!", p.o))
		return
	}
	p.expr(m.Right)
}

// bits reports whether a match is about a bitmask.
func (m *Match) bits() bool {
	t := m.Left.typ()
	return t != nil && t.bitmask
}

// implied reports whether == has to be written to mean that.
func (m *Match) implied() bool {
	if m.bits() {
		_, set := setOf(m.Right)
		return !set
	}
	_, computed := m.Left.(*Binary)
	return computed
}

func (p *printer) stmt(s Stmt) {
	switch s := s.(type) {
	case *Match:
		p.match(s)
	case *Verdict:
		p.s(s.Code)
		if s.Chain != "" {
			p.s(" " + s.Chain)
		}
	case *VMap:
		p.expr(s.Key)
		p.s(" vmap ")
		p.expr(s.Set)
	case *Counter:
		p.s("counter")
		if !p.o.Stateless {
			packets, bytes := s.counts()
			p.f(" packets %d bytes %d", packets, bytes)
		}
	case *Quota:
		p.s("quota ")
		p.quota(s)
	case *Limit:
		p.s("limit ")
		p.limit(s)
	case *ConnLimit:
		p.s("ct count ")
		if s.Over {
			p.s("over ")
		}
		p.f("%d", s.Count)
	case *Log:
		p.log(s)
	case *Reject:
		p.s("reject")
		switch {
		case s.With == "":
		case s.Code == nil:
			p.f(" with %s", s.With)
		default:
			p.f(" with %s %s", s.With, s.Code.text(false, p.o))
		}
	case *Queue:
		p.queue(s)
	case *Notrack:
		p.s("notrack")
	case *Mangle:
		p.expr(s.Target)
		p.s(" set ")
		if v, ok := s.Value.(*Value); ok {
			p.s(v.text(true, p.o))
		} else {
			p.expr(s.Value)
		}
	case *DynSet:
		p.f("%s @%s { ", s.Op, s.Set)
		p.expr(s.Key)
		if s.Timeout != 0 {
			p.f(" timeout %s", duration(s.Timeout))
		}
		for _, x := range s.Stmts {
			p.s(" ")
			if _, ok := x.(*Counter); ok {
				p.s("counter")
			} else {
				p.stmt(x)
			}
		}
		if s.Data != nil {
			p.s(" : ")
			p.expr(s.Data)
		}
		p.s(" }")
	case *NAT:
		p.nat(s)
	case *TProxy:
		p.s("tproxy ")
		if s.Family != "" {
			p.s(s.Family + " ")
		}
		p.s("to ")
		p.target(s.Addr, s.Port)
	case *Dup:
		p.s("dup to ")
		if s.Addr == nil {
			p.expr(s.Device)
			break
		}
		p.expr(s.Addr)
		if s.Device != nil {
			p.s(" device ")
			p.expr(s.Device)
		}
	case *Fwd:
		p.s("fwd ")
		if s.Family != "" {
			p.f("%s to ", s.Family)
			p.expr(s.Addr)
			p.s(" device ")
			p.expr(s.Device)
			break
		}
		p.s("to ")
		p.expr(s.Device)
	case *SynProxy:
		p.s("synproxy")
		if s.MSS >= 0 {
			p.f(" mss %d", s.MSS)
		}
		if s.WScale >= 0 {
			p.f(" wscale %d", s.WScale)
		}
		if f := s.flags(); f != "" {
			p.s(" " + f)
		}
	case *ObjRef:
		switch {
		case strings.HasPrefix(s.Kind, "ct "):
			p.f("%s set %q", s.Kind, s.Name)
		case s.Map != nil:
			p.f("%s name ", s.Kind)
			p.expr(s.Map)
		default:
			p.f("%s name %q", s.Kind, s.Name)
		}
	case *FlowAdd:
		p.f("flow add @%s", s.Name)
	case *TCPReset:
		p.f("reset tcp option %s", s.Header.Name)
	}
}

// byteText is a number of bytes in the largest unit that has it whole.
func byteText(n uint64) (uint64, string) {
	switch {
	case n > 0 && n%(1<<20) == 0:
		return n >> 20, "mbytes"
	case n > 0 && n%(1<<10) == 0:
		return n >> 10, "kbytes"
	}
	return n, "bytes"
}

func (p *printer) quota(q *Quota) {
	if q.Over {
		p.s("over ")
	}
	n, u := byteText(q.Bytes)
	p.f("%d %s", n, u)
	used := q.Used
	if q.live != nil {
		used = min(used+q.live.Used(), q.Bytes)
	}
	if used > 0 && !p.o.Stateless {
		n, u := byteText(used)
		p.f(" used %d %s", n, u)
	}
}

func (p *printer) limit(l *Limit) {
	p.s("rate ")
	if l.Over {
		p.s("over ")
	}
	if l.Bytes {
		n, u := byteText(l.Rate)
		p.f("%d %s/%s", n, u, l.Unit)
		if l.Burst != 0 {
			n, u := byteText(l.Burst)
			p.f(" burst %d %s", n, u)
		}
		return
	}
	p.f("%d/%s", l.Rate, l.Unit)
	if l.Burst != 5 {
		p.f(" burst %d packets", l.Burst)
	}
}

func (p *printer) log(l *Log) {
	p.s("log")
	if l.Prefix != "" {
		p.f(" prefix \"%s\"", l.Prefix)
	}
	if l.Group >= 0 {
		p.f(" group %d", l.Group)
		if l.Snaplen != 0 {
			p.f(" snaplen %d", l.Snaplen)
		}
		if l.Threshold != 0 {
			p.f(" queue-threshold %d", l.Threshold)
		}
		return
	}
	if l.Level != "" && l.Level != "warn" {
		p.f(" level %s", l.Level)
	}
	if len(l.Flags) == len(logFlags) {
		p.s(" flags all")
		return
	}
	var tcp []string
	for _, f := range []string{"sequence", "options"} {
		if slices.Contains(l.Flags, "tcp "+f) {
			tcp = append(tcp, f)
		}
	}
	if tcp != nil {
		p.f(" flags tcp %s", strings.Join(tcp, ","))
	}
	for _, f := range logFlags[2:] {
		if slices.Contains(l.Flags, f) {
			p.f(" flags %s", f)
		}
	}
}

func (p *printer) queue(q *Queue) {
	p.s("queue")
	if len(q.Flags) > 0 {
		p.f(" flags %s", strings.Join(q.Flags, ","))
	}
	switch {
	case q.Of != nil:
		p.s(" to ")
		p.expr(q.Of)
	case q.Num == q.NumEnd:
		p.f(" to %d", q.Num)
	default:
		p.f(" to %d-%d", q.Num, q.NumEnd)
	}
}

func (p *printer) nat(n *NAT) {
	p.s(n.Kind)
	if n.Addr != nil || n.Port != nil {
		if n.Family != "" && n.Addr != nil {
			p.s(" " + n.Family)
		}
		if n.Prefix {
			p.s(" prefix")
		}
		p.s(" to ")
		p.target(n.Addr, n.Port)
	}
	if len(n.Flags) > 0 {
		p.s(" " + strings.Join(n.Flags, ","))
	}
}

// target prints an address and port. IPv6 addresses before a port stand in
// brackets.
func (p *printer) target(addr, port Expr) {
	bracket := func(v *Value) {
		if port != nil && v.Type.form == ip6 {
			p.f("[%s]", v.text(false, p.o))
			return
		}
		p.s(v.text(false, p.o))
	}
	switch a := addr.(type) {
	case nil:
	case *Value:
		bracket(a)
	case *Range:
		bracket(a.Lo)
		p.s("-")
		bracket(a.Hi)
	default:
		p.expr(a)
	}
	if port != nil {
		p.s(":")
		p.expr(port)
	}
}

// counts is what a counter has: what it began with and what it counted.
func (c *Counter) counts() (packets, bytes uint64) {
	packets, bytes = c.Packets, c.Bytes
	if c.live != nil {
		p, b := c.live.Load()
		packets, bytes = packets+p, bytes+b
	}
	return packets, bytes
}
