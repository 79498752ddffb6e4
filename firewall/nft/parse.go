package nft

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A Script is the commands of a file, in order.
type Script struct {
	Commands []*Command
}

// ParseFile reads a file of rules and those that it includes.
func ParseFile(file string) (*Script, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	return Parse(file, string(b))
}

// Parse reads rules. The file's name is for errors, and for finding included
// files. The result has been checked as far as it can be without a ruleset that
// it is applied to. Errors are of type [*Error].
func Parse(file, src string) (*Script, error) { return parse(file, src, nil) }

// parse reads rules that may refer to what base has.
func parse(file, src string, base *Ruleset) (s *Script, err error) {
	toks, err := lex(file, src)
	if err != nil {
		return nil, err
	}
	p := &parser{
		toks: toks, base: base, sources: map[string][]string{file: strings.Split(src, "\n")},
		scopes: []map[string][]token{{}}, included: 0, family: IP,
	}
	defer func() {
		if v := recover(); v != nil {
			e, ok := v.(*Error)
			if !ok {
				panic(v)
			}
			s, err = nil, e
		}
	}()
	p.script()
	return &Script{p.cmds}, nil
}

const (
	includesMax = 256 // files included by one
	nestMax     = 32  // braces and operators inside each other
	chainsOfMax = 32  // definitions inside definitions
)

// A parser reads tokens from the left; what it does not like it panics with an
// *Error about, which Parse returns.
type parser struct {
	toks     []token
	i        int
	spliced  int // tokens that came from definitions and files
	base     *Ruleset
	sources  map[string][]string
	scopes   []map[string][]token
	included int
	depth    int
	cmds     []*Command

	// Where the statement stands that is being read.
	family Family
	table  *Table // the table whose block is read, or nil
	chain  *Chain
	ctx    context
}

func (p *parser) fail(at Pos, format string, args ...any) {
	e := &Error{Pos: at, Msg: fmt.Sprintf(format, args...)}
	if src := p.sources[at.File]; at.Line >= 1 && at.Line <= len(src) {
		e.Source = strings.TrimRight(src[at.Line-1], "\r")
	}
	panic(e)
}

// peek is the next token, after definitions have been put in.
func (p *parser) peek() token {
	for p.toks[p.i].kind == variable {
		t := p.toks[p.i]
		var with []token
		found := false
		for k := len(p.scopes) - 1; k >= 0 && !found; k-- {
			with, found = p.scopes[k][t.text]
		}
		if !found {
			var known []string
			for _, s := range p.scopes {
				for name := range s {
					known = append(known, name)
				}
			}
			p.fail(t.Pos, "$%s has not been defined%s", t.text, mean(t.text, known, "$", fmt.Sprintf("write define %s = … above", t.text)))
		}
		if t.depth >= chainsOfMax {
			p.fail(t.Pos, "definitions inside each other more than %d deep", chainsOfMax)
		}
		p.splice(1, with, t)
	}
	return p.toks[p.i]
}

// splice replaces n tokens by others, which take the place of t.
func (p *parser) splice(n int, with []token, t token) {
	if p.spliced += len(with); p.spliced > tokensMax {
		p.fail(t.Pos, "the definitions and included files are longer than %d words", tokensMax)
	}
	// What has been read is not looked at again, so there is often room for the
	// new tokens where it stands.
	need := len(with) - n
	if p.i < need {
		room := need + len(p.toks)
		p.toks = append(make([]token, room, room+len(p.toks)), p.toks...)
		p.i += room
	}
	p.i -= need
	for k, w := range with {
		w.depth = t.depth + 1
		p.toks[p.i+k] = w
	}
}

func (p *parser) next() token {
	t := p.peek()
	if t.kind != eof {
		p.i++
	}
	return t
}

// peek2 is the token behind the next one, if no definition stands there.
func (p *parser) peek2() token {
	p.peek()
	return p.toks[min(p.i+1, len(p.toks)-1)]
}

// is reports whether the next token is the word or sign s.
func (p *parser) is(s string) bool {
	t := p.peek()
	return (t.kind == word || t.kind == sign) && t.text == s
}

// take takes the next token if it is s.
func (p *parser) take(s string) bool {
	if p.is(s) {
		p.i++
		return true
	}
	return false
}

// expect takes s, or fails saying what it is for.
func (p *parser) expect(s, why string) {
	if t := p.peek(); !p.take(s) {
		p.fail(t.Pos, "%v stands here; write %q %s", t, s, why)
	}
}

// oneOf takes one of some words.
func (p *parser) oneOf(what string, words ...string) string {
	t := p.next()
	if t.kind != word || !slices.Contains(words, t.text) {
		p.fail(t.Pos, "%v is not %s%s", t, what, mean(t.text, words, "", "write "+either(words)))
	}
	return t.text
}

func either(words []string) string {
	if len(words) > 12 {
		words = append(slices.Clone(words[:12]), "…")
	}
	if len(words) == 1 {
		return words[0]
	}
	return strings.Join(words[:len(words)-1], ", ") + " or " + words[len(words)-1]
}

// mean is the end of a sentence about a word that is not known: a known one
// that is close, or else what else to do.
func mean(s string, known []string, sigil, otherwise string) string {
	best, least := "", min(3, (len(s)+2)/3+1)
	for _, k := range slices.Sorted(slices.Values(known)) {
		if d := distance(s, k); d < least {
			best, least = k, d
		}
	}
	if best != "" {
		return fmt.Sprintf("; did you mean %s%s?", sigil, best)
	}
	if otherwise == "" {
		return ""
	}
	return "; " + otherwise
}

// distance is the number of letters that differ (Levenshtein), with
// transpositions as one.
func distance(a, b string) int {
	if len(a) > 64 || len(b) > 64 {
		return 64
	}
	prev2, prev, cur := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range prev {
		prev[j] = j
	}
	for i := 1; i <= len(a); i++ {
		cur[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			cur[j] = min(prev[j]+1, cur[j-1]+1, prev[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				cur[j] = min(cur[j], prev2[j-2]+1)
			}
		}
		prev2, prev, cur = prev, cur, prev2
	}
	return prev[len(b)]
}

// newlines skips ends of lines.
func (p *parser) newlines() {
	for p.peek().kind == newline && p.peek().text == "\n" {
		p.i++
	}
}

// ends skips ends of statements.
func (p *parser) ends() {
	for p.peek().kind == newline {
		p.i++
	}
}

// end takes the end of a statement; a closing brace may stand there too if
// inside is set.
func (p *parser) end(inside bool) {
	t := p.peek()
	switch {
	case t.kind == newline:
		p.ends()
	case t.kind == eof && !inside:
	default:
		if inside && t.kind == sign && t.text == "}" {
			p.fail(t.Pos, `the statement before "}" does not end; write ; or a new line`)
		}
		p.fail(t.Pos, "%v stands where the statement should end%s", t, mean(t.text, statementWords, "", ""))
	}
}

// name takes a name.
func (p *parser) name(what string) string {
	t := p.next()
	if t.kind == word && (letter(t.text[0])) && !strings.HasSuffix(t.text, "*") {
		if slices.Contains(reserved, t.text) {
			p.fail(t.Pos, "%q is a word of the language and cannot be the name of %s", t.text, what)
		}
		return t.text
	}
	p.fail(t.Pos, "%v stands where the name of %s should", t, what)
	return ""
}

// reserved are words of the language, at which nft does not take a name.
var reserved = strings.Fields(`accept add and bridge chain chains comment continue counter counters create ct define delete drop dup element ether
fib flow flush fwd goto hook icmp icmpv6 inet insert ip ip6 jump limit limits list log map maps masquerade meta netdev not notrack
numgen or policy priority queue quota quotas redirect redefine reject rename replace reset return rule ruleset saddr daddr set sets snat dnat
socket table tables tcp tproxy type typeof udp undefine update vlan vmap xor arp element exthdr osf rt th sctp dccp`)

// statementWords are what a statement can begin with.
var statementWords = strings.Fields(`accept drop continue return jump goto counter quota limit log reject queue notrack add update delete
snat dnat masquerade redirect tproxy dup fwd synproxy meta ct ip ip6 tcp udp icmp icmpv6 ether arp vlan th fib socket rt numgen jhash symhash
iif oif iifname oifname mark comment exthdr frag sctp dccp esp ah igmp`)

func (p *parser) number(what string, most uint64) uint64 {
	t := p.next()
	n, err := strconv.ParseUint(t.text, 0, 64)
	if t.kind != word || err != nil || n > most {
		p.fail(t.Pos, "%v is not %s; write a number up to %d", t, what, most)
	}
	return n
}

func (p *parser) duration(what string) time.Duration {
	t := p.next()
	d, ok := parseDuration(t.text)
	if t.kind != word && t.kind != quoted || !ok {
		p.fail(t.Pos, "%v is not %s; write a time such as 30s, 5m or 1h30m", t, what)
	}
	return d
}

// text takes a word or a text in quotes.
func (p *parser) text(what string) string {
	t := p.next()
	if t.kind != word && t.kind != quoted {
		p.fail(t.Pos, "%v stands where %s should", t, what)
	}
	return t.text
}

const commentMax = 128 // bytes of a comment (NFTNL_UDATA_COMMENT_MAXLEN)

func (p *parser) comment() string {
	t := p.peek()
	s := p.text("a comment")
	if len(s) > commentMax {
		p.fail(t.Pos, "the comment has %d bytes; at most %d", len(s), commentMax)
	}
	return s
}

// script reads all commands.
func (p *parser) script() {
	for p.ends(); p.peek().kind != eof; p.ends() {
		if p.common() {
			continue
		}
		p.command()
		p.end(false)
	}
}

// common reads what may stand everywhere: definitions and included files.
func (p *parser) common() bool {
	t := p.peek()
	switch {
	case p.take("include"):
		p.include(t)
	case p.is("define") || p.is("redefine"):
		p.i++
		n := p.peek()
		name := p.text("a name")
		scope := p.scopes[len(p.scopes)-1]
		if _, twice := scope[name]; twice && t.text == "define" {
			p.fail(n.Pos, "$%s is defined already; write redefine %s = … to change it", name, name)
		}
		p.expect("=", "and what $"+name+" stands for")
		scope[name] = p.definition()
		p.end(false)
	case p.take("undefine"):
		n := p.peek()
		name := p.text("a name")
		scope := p.scopes[len(p.scopes)-1]
		if _, known := scope[name]; !known {
			p.fail(n.Pos, "$%s has not been defined", name)
		}
		delete(scope, name)
		p.end(false)
	default:
		return false
	}
	return true
}

// definition gathers the tokens up to the end of the line, or beyond it while a
// brace is open or a comma came last.
func (p *parser) definition() []token {
	var all []token
	depth := 0
	for {
		t := p.peek()
		switch {
		case t.kind == eof || t.kind == newline && depth == 0 && t.text == ";":
			if len(all) == 0 {
				p.fail(t.Pos, "the definition is empty; write a value")
			}
			return all
		case t.kind == newline && depth == 0 && (len(all) == 0 || all[len(all)-1].text != ","):
			if len(all) == 0 {
				p.fail(t.Pos, "the definition is empty; write a value")
			}
			return all
		case t.kind == newline:
			p.i++
			continue
		case t.kind == sign && t.text == "{":
			depth++
		case t.kind == sign && t.text == "}":
			if depth--; depth < 0 {
				return all
			}
		}
		all = append(all, t)
		p.i++
	}
}

func (p *parser) include(at token) {
	t := p.next()
	if t.kind != quoted {
		p.fail(t.Pos, `%v stands where a file should; write include "FILE"`, t)
	}
	p.end(false)
	name := t.text
	dirs := []string{""}
	if !filepath.IsAbs(name) {
		dirs = []string{"", filepath.Dir(t.File), "/etc"}
	}
	wild := strings.ContainsAny(name, "*?[")
	var files []string
	for _, dir := range dirs {
		if files, _ = filepath.Glob(filepath.Join(dir, name)); len(files) > 0 {
			break
		}
	}
	if len(files) == 0 && !wild {
		p.fail(t.Pos, "there is no file %q, here, in %s or in /etc", name, filepath.Dir(t.File))
	}
	var with []token
	for _, f := range files {
		if wild && strings.HasPrefix(filepath.Base(f), ".") {
			continue
		}
		if p.included++; p.included > includesMax {
			p.fail(t.Pos, "more than %d files are included; does a file include itself?", includesMax)
		}
		b, err := os.ReadFile(f)
		if err != nil {
			p.fail(t.Pos, "%v", err)
		}
		toks, err := lex(f, string(b))
		if err != nil {
			panic(err)
		}
		p.sources[f] = strings.Split(string(b), "\n")
		with = append(with, toks[:len(toks)-1]...)
		with = append(with, token{Pos: toks[len(toks)-1].Pos, kind: newline, text: "\n"})
	}
	p.splice(0, with, token{Pos: at.Pos})
}

// scope reads in a scope of definitions of its own.
func (p *parser) scope(read func()) {
	p.scopes = append(p.scopes, map[string][]token{})
	read()
	p.scopes = p.scopes[:len(p.scopes)-1]
}

// block reads the statements between braces.
func (p *parser) block(what string, read func()) {
	open := p.peek()
	p.expect("{", "and what "+what+" has")
	p.scope(func() {
		for p.ends(); !p.take("}"); p.ends() {
			if t := p.peek(); t.kind == eof {
				p.fail(open.Pos, `%s that begins here does not end; write "}"`, what)
			}
			if !p.common() {
				read()
			}
		}
	})
}

var plural = map[string]string{
	"tables": "table", "chains": "chain", "sets": "set", "maps": "map", "counters": "counter", "quotas": "quota",
	"limits": "limit", "flowtables": "flowtable", "meters": "meter",
}

func (p *parser) command() {
	t := p.peek()
	c := &Command{Pos: t.Pos, Verb: "add", Family: IP, Index: -1}
	verbs := []string{"add", "create", "insert", "replace", "delete", "flush", "list", "reset", "rename"}
	objects := []string{"table", "chain", "rule", "set", "map", "element", "flowtable", "counter", "quota", "limit", "ct", "synproxy"}
	switch {
	case t.kind == word && slices.Contains(verbs, t.text):
		p.i++
		c.Verb = t.text
	case t.kind == word && slices.Contains(objects, t.text):
	case t.kind == word && slices.Contains(families, t.text):
		c.Object = "rule" // ip filter input …
	default:
		p.fail(t.Pos, "%v is not a command%s", t, mean(t.text, append(verbs, objects...), "", "write "+either(append([]string{"table"}, verbs...))))
	}
	if c.Object == "" {
		o := p.peek()
		switch {
		case o.kind == word && (slices.Contains(objects, o.text) || o.text == "ruleset" || plural[o.text] != ""):
			p.i++
			c.Object = o.text
			if c.Object == "ct" {
				c.Object = "ct " + p.oneOf("an object of connection tracking", "helper", "timeout", "expectation", "helpers")
			}
		case c.Verb == "add" || c.Verb == "insert" || c.Verb == "replace":
			c.Object = "rule"
		default:
			p.fail(o.Pos, "%v cannot be %s%s", o, past(c.Verb), mean(o.text, append(objects, "ruleset", "tables", "chains", "sets", "maps"), "", "write "+either(objects)))
		}
	}
	p.ctx = context{}
	p.scope(func() { p.commandOn(c) })
	p.cmds = append(p.cmds, c)
}

func past(verb string) string {
	switch verb {
	case "flush":
		return "flushed"
	case "list", "insert", "add":
		return strings.TrimSuffix(verb, "t") + map[string]string{"list": "ted", "insert": "ted", "add": "ed"}[verb]
	case "reset":
		return verb
	}
	return strings.TrimSuffix(verb, "e") + "ed"
}

func (p *parser) familyWord() Family {
	if t := p.peek(); t.kind == word && slices.Contains(families, t.text) {
		p.i++
		return Family(t.text)
	}
	return IP
}

// commandOn reads what a command is about.
func (p *parser) commandOn(c *Command) {
	many := plural[c.Object] != "" || c.Object == "ruleset" || c.Object == "ct helpers"
	if many {
		if t := p.peek(); t.kind == word && slices.Contains(families, t.text) {
			p.i++
			c.Family = Family(t.text)
		} else {
			c.Family = ""
		}
		if p.take("table") {
			c.Family = p.familyWord()
			c.Table = p.name("a table")
		}
		if c.Verb != "list" && c.Verb != "flush" && c.Verb != "reset" {
			p.fail(c.Pos, "%s works on one at a time; write %s %s NAME", c.Verb, c.Verb, strings.TrimSuffix(c.Object, "s"))
		}
		return
	}
	c.Family = p.familyWord()
	p.family = c.Family
	if c.Object == "table" {
		p.tableCommand(c)
		return
	}
	if p.take("handle") && c.Verb == "delete" {
		p.fail(p.peek().Pos, "a handle belongs to a table; write delete %s TABLE handle NUMBER", c.Object)
	}
	c.Table = p.name("a table")
	p.table = p.find(c.Family, c.Table)
	defer func() { p.table, p.chain = nil, nil }()
	adding := c.Verb == "add" || c.Verb == "create"
	if c.Verb == "delete" && p.is("handle") {
		p.i++
		c.Handle = p.number("a handle", 1<<63)
		return
	}
	switch c.Object {
	case "chain":
		c.Name = p.name("a chain")
		switch {
		case adding:
			c.ChainSpec = &Chain{Pos: c.Pos, Name: c.Name}
			if p.is("{") {
				p.block("the chain", func() { p.chainItem(c.ChainSpec) })
			}
		case c.Verb == "rename":
			c.New = p.name("a chain")
		}
	case "rule":
		c.Name = p.name("a chain")
		p.ruleCommand(c)
	case "set", "map":
		c.Name = p.name("a " + c.Object)
		if adding {
			c.SetSpec = &Set{Pos: c.Pos, Name: c.Name}
			p.setBlock(c.SetSpec, c.Object == "map")
		}
	case "element":
		t := p.peek()
		c.Name = p.name("a set")
		s := p.findSet(t.Pos, c.Name)
		c.Elems = p.elements(setTypes{s.Key, s.Data, s.Object})
	case "flowtable":
		c.Name = p.name("a flowtable")
		if adding {
			c.FlowSpec = &Flowtable{Pos: c.Pos, Name: c.Name}
			p.block("the flowtable", func() { p.flowtableItem(c.FlowSpec) })
		}
	default:
		c.Name = p.name("a " + c.Object)
		if adding {
			c.ObjSpec = p.object(c.Object, c.Name)
		}
	}
}

func (p *parser) tableCommand(c *Command) {
	if c.Verb == "delete" && p.take("handle") {
		c.Handle = p.number("a handle", 1<<63)
		return
	}
	c.Table = p.name("a table")
	if c.Verb != "add" && c.Verb != "create" {
		return
	}
	t := &Table{Pos: c.Pos, Family: c.Family, Name: c.Table}
	c.TableSpec = t
	p.table = t
	if p.is("{") {
		p.block("the table", func() { p.tableItem(t) })
	}
	p.table = nil
}

// find is the table that a command is about, as far as it is known here: what
// this script and the ruleset before it have of it.
func (p *parser) find(f Family, name string) *Table {
	all := &Table{Family: f, Name: name}
	if p.base != nil {
		if t := p.base.Table(f, name); t != nil {
			all.Sets = append(all.Sets, t.Sets...)
		}
	}
	for _, c := range p.cmds {
		if c.Family != f || c.Table != name {
			continue
		}
		if c.TableSpec != nil {
			all.Sets = append(all.Sets, c.TableSpec.Sets...)
		}
		if c.SetSpec != nil {
			all.Sets = append(all.Sets, c.SetSpec)
		}
	}
	return all
}

// findSet is a set of the table that is being read, or that stood in a block of
// the same table before.
func (p *parser) findSet(at Pos, name string) *Set {
	var known []string
	for _, t := range []*Table{p.table, p.find(p.table.Family, p.table.Name)} {
		for _, s := range t.Sets {
			if s.Name == name {
				return s
			}
			known = append(known, s.Name)
		}
	}
	p.fail(at, "table %s %s has no set or map %q%s", p.table.Family, p.table.Name, name,
		mean(name, known, "", "write it above"))
	return nil
}

func (p *parser) tableItem(t *Table) {
	at := p.peek()
	words := []string{"chain", "set", "map", "flowtable", "flags", "comment", "counter", "quota", "limit", "ct", "synproxy"}
	switch w := p.oneOf("part of a table", words...); w {
	case "flags":
		for ok := true; ok; ok = p.take(",") {
			switch f := p.oneOf("a table's flag", "dormant"); f {
			case "dormant":
				t.Dormant = true
			}
		}
		p.end(true)
	case "comment":
		t.Comment = p.comment()
		p.end(true)
	case "chain":
		c := &Chain{Pos: at.Pos, Name: p.name("a chain")}
		// A chain that stands in the block twice is one.
		if i := slices.IndexFunc(t.Chains, func(x *Chain) bool { return x.Name == c.Name }); i >= 0 {
			c = t.Chains[i]
		} else {
			t.Chains = append(t.Chains, c)
		}
		p.chain = c
		p.block("the chain", func() { p.chainItem(c) })
		p.chain = nil
	case "set", "map":
		s := &Set{Pos: at.Pos, Name: p.name("a " + w)}
		for _, x := range t.Sets {
			if x.Name == s.Name {
				p.fail(at.Pos, "set %s stands here a second time; it is on line %d already", s.Name, x.Pos.Line)
			}
		}
		p.setBlock(s, w == "map")
		t.Sets = append(t.Sets, s)
	case "flowtable":
		f := &Flowtable{Pos: at.Pos, Name: p.name("a flowtable")}
		p.block("the flowtable", func() { p.flowtableItem(f) })
		t.Flowtables = append(t.Flowtables, f)
	default:
		if w == "ct" {
			w += " " + p.oneOf("an object of connection tracking", "helper", "timeout", "expectation")
		}
		t.Objects = append(t.Objects, p.object(w, p.name("a "+w)))
	}
}

var (
	chainTypes = []string{"filter", "nat", "route"}
	hookNames  = []string{"prerouting", "input", "forward", "output", "postrouting", "ingress", "egress"}
)

// hooksOf are the points at which a family has base chains.
var hooksOf = map[Family][]string{
	IP:     hookNames[:5],
	IP6:    hookNames[:5],
	Inet:   hookNames[:6],
	ARP:    {"input", "output"},
	Bridge: hookNames[:5],
	Netdev: {"ingress", "egress"},
}

func (p *parser) chainItem(c *Chain) {
	t := p.peek()
	switch {
	case p.is("type"):
		p.i++
		p.hookSpec(c, t)
		p.end(true)
	case p.take("policy"):
		if c.Hook == nil {
			p.fail(t.Pos, "only base chains have a policy; write type filter hook … priority …; before it")
		}
		if c.Policy != "" {
			p.fail(t.Pos, "the chain has a policy already")
		}
		c.Policy = p.oneOf("a policy", "accept", "drop")
		p.end(true)
	case p.is("comment"):
		p.i++
		c.Comment = p.comment()
		p.end(true)
	case p.is("devices"):
		p.fail(t.Pos, "devices belong to the hook; write type … hook … devices = { … } priority …")
	default:
		c.Rules = append(c.Rules, p.rule())
		p.end(true)
	}
}

func (p *parser) hookSpec(c *Chain, at token) {
	if c.Hook != nil {
		p.fail(at.Pos, "the chain has a type already")
	}
	h := &Hook{Type: p.oneOf("a chain's type", chainTypes...)}
	p.expect("hook", "and the name of one")
	t := p.peek()
	h.Name = p.oneOf("a hook", hookNames...)
	if known := hooksOf[p.family]; !slices.Contains(known, h.Name) {
		p.fail(t.Pos, "family %s has no hook %s; write %s", p.family, h.Name, either(known))
	}
	switch {
	case h.Type == "nat" && !slices.Contains([]Family{IP, IP6, Inet}, p.family), h.Type == "route" && !slices.Contains([]Family{IP, IP6, Inet}, p.family):
		p.fail(at.Pos, "family %s has no chains of type %s; write type filter", p.family, h.Type)
	case h.Type == "nat" && !slices.Contains([]string{"prerouting", "input", "output", "postrouting"}, h.Name):
		p.fail(t.Pos, "a nat chain cannot be at %s; write prerouting, input, output or postrouting", h.Name)
	case h.Type == "route" && h.Name != "output":
		p.fail(t.Pos, "a route chain is at output only")
	}
	if p.take("device") {
		h.Devices = []string{p.text("an adapter's name")}
	} else if p.take("devices") {
		p.expect("=", "and { NAME, … }")
		h.Devices = p.nameList("an adapter's name")
	}
	if h.Devices == nil && (h.Name == "ingress" || h.Name == "egress") {
		p.fail(p.peek().Pos, "a chain at %s is about an adapter; write device NAME before priority", h.Name)
	}
	if h.Devices != nil && h.Name != "ingress" && h.Name != "egress" {
		p.fail(t.Pos, "a chain at %s is about all adapters; leave device out, and match iifname in rules", h.Name)
	}
	p.expect("priority", "and a number or a name such as filter")
	h.Priority = p.priority(h.Name)
	if h.Type == "nat" && h.Priority <= -200 {
		p.fail(t.Pos, "a nat chain comes behind connection tracking; write a priority above -200")
	}
	c.Hook = h
}

// nameList reads { a, b } or one name.
func (p *parser) nameList(what string) (all []string) {
	if !p.take("{") {
		return []string{p.text(what)}
	}
	for p.newlines(); !p.take("}"); p.newlines() {
		all = append(all, p.text(what))
		p.newlines()
		if !p.take(",") {
			p.newlines()
			p.expect("}", "at the end of the list")
			return all
		}
	}
	return all
}

var priorities = []struct {
	name  string
	value int
}{{"raw", -300}, {"mangle", -150}, {"dstnat", -100}, {"filter", 0}, {"security", 50}, {"srcnat", 100}}

// The bridge's (linux/netfilter_bridge.h).
var bridgePriorities = []struct {
	name  string
	value int
}{{"dstnat", -300}, {"filter", -200}, {"out", 100}, {"srcnat", 300}}

func (p *parser) priority(at string) int {
	t := p.peek()
	sign := func() int {
		switch {
		case p.take("-"):
			return -1
		case p.take("+"):
			return 1
		}
		return 0
	}
	if s := sign(); s != 0 {
		return s * int(p.number("a priority", 1<<31-1))
	}
	if t.kind == word && digit(t.text[0]) {
		return int(p.number("a priority", 1<<31-1))
	}
	known := priorities
	if p.family == Bridge {
		known = bridgePriorities
	}
	p.next()
	var names []string
	for _, k := range known {
		names = append(names, k.name)
		if k.name != t.text || t.kind != word && t.kind != quoted {
			continue
		}
		switch {
		case k.name == "dstnat" && at != "prerouting" && p.family != Bridge,
			k.name == "srcnat" && at != "postrouting" && p.family != Bridge,
			(p.family == ARP || p.family == Netdev) && k.name != "filter":
			p.fail(t.Pos, "the name %s is not for %s at %s; write a number", k.name, p.family, at)
		}
		if s := sign(); s != 0 {
			return k.value + s*int(p.number("a distance", 1<<30))
		}
		return k.value
	}
	p.fail(t.Pos, "%v is not a priority%s", t, mean(t.text, names, "", "write a number or "+either(names)))
	return 0
}

func (p *parser) flowtableItem(f *Flowtable) {
	switch p.oneOf("part of a flowtable", "hook", "devices", "counter", "flags") {
	case "hook":
		f.Hook = p.oneOf("a flowtable's hook", "ingress")
		p.expect("priority", "and a number or filter")
		f.Priority = p.priority("ingress")
	case "devices":
		p.expect("=", "and { NAME, … }")
		f.Devices = p.nameList("an adapter's name")
	case "counter":
		f.Counter = true
	case "flags":
		f.Flags = p.words("a flag", "offload")
	}
	p.end(true)
}

// words reads words with commas between them.
func (p *parser) words(what string, known ...string) (all []string) {
	for ok := true; ok; ok = p.take(",") {
		w := p.oneOf(what, known...)
		if !slices.Contains(all, w) {
			all = append(all, w)
		}
	}
	return all
}

// object reads what an object has: in a block, or behind its name.
func (p *parser) object(kind, name string) *Object {
	o := &Object{Pos: p.peek().Pos, Kind: kind, Name: name}
	read := func() { p.objectItem(o) }
	switch {
	case p.is("{"):
		p.block("the "+kind, func() { read(); p.end(true) })
	case p.peek().kind != newline && p.peek().kind != eof:
		read()
	}
	switch {
	case o.Stmt != nil || o.Settings != nil:
	case kind == "counter":
		o.Stmt = &Counter{}
	default:
		p.fail(o.Pos, "%s %s says nothing of what it does", kind, name)
	}
	return o
}

func (p *parser) objectItem(o *Object) {
	if p.take("comment") {
		o.Comment = p.comment()
		return
	}
	switch o.Kind {
	case "counter":
		p.expect("packets", "and a number")
		c := &Counter{Packets: p.number("a number of packets", 1<<63)}
		p.expect("bytes", "and a number")
		c.Bytes = p.number("a number of bytes", 1<<63)
		o.Stmt = c
	case "quota":
		o.Stmt = p.quota()
	case "limit":
		p.expect("rate", "and a rate such as 10/second")
		o.Stmt = p.limit()
	case "synproxy":
		s, _ := o.Stmt.(*SynProxy)
		if s == nil {
			s = &SynProxy{MSS: -1, WScale: -1}
		}
		p.synproxy(s)
		o.Stmt = s
	default:
		p.ctObject(o)
	}
}

// ctObject reads a setting of a helper, timeout or expectation.
func (p *parser) ctObject(o *Object) {
	known := map[string][]string{
		"ct helper":      {"type", "l3proto"},
		"ct timeout":     {"protocol", "l3proto", "policy"},
		"ct expectation": {"protocol", "dport", "timeout", "size", "l3proto"},
	}[o.Kind]
	k := p.oneOf("a setting of "+o.Kind, known...)
	var v string
	switch k {
	case "type":
		t := p.next()
		if t.kind != quoted {
			p.fail(t.Pos, "%v stands where a helper should; write one in quotes, such as \"ftp\"", t)
		}
		p.expect("protocol", "and tcp or udp")
		v = fmt.Sprintf("%q protocol %s", t.text, p.oneOf("a protocol", "tcp", "udp"))
	case "protocol":
		v = p.oneOf("a protocol", "tcp", "udp", "dccp", "sctp")
	case "l3proto":
		v = p.oneOf("a family", "ip", "ip6", "inet")
	case "policy":
		p.expect("=", "and { STATE : TIME, … }")
		p.expect("{", "and STATE : TIME")
		var parts []string
		for p.newlines(); !p.take("}"); p.newlines() {
			s := p.text("a state")
			p.expect(":", "and a time")
			parts = append(parts, fmt.Sprintf("%s : %d", s, int(p.duration("a time").Seconds())))
			p.newlines()
			if !p.take(",") {
				p.newlines()
				p.expect("}", "at the end of the policy")
				break
			}
		}
		v = "{ " + strings.Join(parts, ", ") + " }"
	case "timeout":
		v = duration(p.duration("a time"))
	default:
		v = fmt.Sprint(p.number("a number", 1<<32-1))
	}
	o.Settings = append(o.Settings, [2]string{k, v})
}

func (p *parser) ruleCommand(c *Command) {
	p.chain = &Chain{Name: c.Name}
	switch {
	case p.take("handle"):
		c.At = p.number("a handle", 1<<63)
	case p.take("position"):
		c.At = p.number("a handle", 1<<63)
	case p.take("index"):
		c.Index = int(p.number("an index", 1<<31-1))
	}
	switch c.Verb {
	case "delete":
		if c.At == 0 {
			p.fail(p.peek().Pos, "a rule is deleted by its handle; write handle NUMBER, as list -a shows it")
		}
	case "replace":
		if c.At == 0 {
			p.fail(p.peek().Pos, "a rule is replaced by its handle; write handle NUMBER, as list -a shows it")
		}
		c.Rule = p.rule()
	case "add", "insert", "create":
		c.Rule = p.rule()
	}
}
