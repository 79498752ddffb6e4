package nft

import (
	"fmt"
	"io"
	"strings"

	"github.com/towpath/towpath/firewall/classify"
	"github.com/towpath/towpath/firewall/hook"
)

// An Explanation is what rules say of a packet, and why.
type Explanation struct {
	Packet string          `json:"packet"`
	Hooks  []HookExplained `json:"hooks"`
	// Verdict is accept, drop, reject or queue.
	Verdict string    `json:"verdict"`
	By      *Decision `json:"by,omitempty"` // whose verdict it is, if not of nobody
	Reason  string    `json:"reason,omitempty"`
}

// A HookExplained is what the chains at one hook say, and what they change; or,
// with the name route, where the packet goes.
type HookExplained struct {
	Hook    string           `json:"hook"`
	Route   string           `json:"route,omitempty"`
	Chains  []ChainExplained `json:"chains,omitempty"`
	Changes []Change         `json:"changes,omitempty"`
}

// A Change is a fact about the packet that a hook has changed.
type Change struct {
	What string `json:"what"` // source, destination, mark, ttl or tos
	From string `json:"from"`
	To   string `json:"to"`
}

// A ChainExplained is what a base chain, and those it leads to, say.
type ChainExplained struct {
	Family   Family          `json:"family"`
	Table    string          `json:"table"`
	Chain    string          `json:"chain"`
	Type     string          `json:"type"`
	Priority int             `json:"priority"`
	Rules    []RuleExplained `json:"rules"`
	Verdict  string          `json:"verdict"`
	Policy   bool            `json:"policy,omitempty"` // it is the chain's policy
}

// A RuleExplained is a rule that the packet met.
type RuleExplained struct {
	Chain   string `json:"chain"`
	Handle  uint64 `json:"handle"`
	Comment string `json:"comment,omitempty"`
	File    string `json:"file,omitempty"`
	Line    int    `json:"line,omitempty"`
	Rule    string `json:"rule"`
	Matched bool   `json:"matched"`
	Failed  string `json:"failed,omitempty"` // the statement that ended it
	Is      string `json:"is,omitempty"`     // the value that the packet has there
}

// A Decision is a [Cause], for those who read JSON.
type Decision struct {
	Family  Family `json:"family"`
	Table   string `json:"table"`
	Chain   string `json:"chain"`
	Policy  bool   `json:"policy,omitempty"` // the chain's policy, no rule
	Handle  uint64 `json:"handle,omitempty"`
	Comment string `json:"comment,omitempty"`
	File    string `json:"file,omitempty"`
	Line    int    `json:"line,omitempty"`
	Rule    string `json:"rule,omitempty"`
}

// Decision is c, for those who read JSON.
func (c *Cause) Decision() *Decision {
	d := &Decision{Family: c.Table.Family, Table: c.Table.Name, Chain: c.Chain.Name, Policy: c.Rule == nil}
	if r := c.Rule; r != nil {
		d.Handle, d.Comment, d.File, d.Line, d.Rule = r.Handle, r.Comment, r.Pos.File, r.Pos.Line, r.stateless()
	}
	return d
}

// Explain tells what a packet meets on its path, hook by hook, chain by chain
// and rule by rule: it walks through the engine that hosts have, which is given
// the rules, with tables of flows that are empty before. The packet is changed
// as the rules say. Nothing is counted; limits and quotas are taken to match.
//
// Where it goes is what h knows; without h, what the packet's text says, and
// masquerading and redirecting have no addresses to translate to.
func Explain(rs *Ruleset, x *Probe, h *Host) (*Explanation, error) {
	t, err := newTrial(rs, x, h)
	if err != nil {
		return nil, err
	}
	e := &Explanation{Packet: x.String(), Verdict: "accept"}
	if !t.walk(e, t.before()) {
		return e, nil
	}
	after, how, ok := t.route()
	if how != "" {
		e.Hooks = append(e.Hooks, HookExplained{Hook: "route", Route: how})
	}
	if !ok {
		e.Verdict, e.Reason = "drop", how
		return e, nil
	}
	t.walk(e, after)
	return e, nil
}

// walk has the packet pass some points, and reports whether it goes on.
func (t *trial) walk(e *Explanation, points []hook.Point) bool {
	for _, at := range points {
		h := HookExplained{Hook: at.String()}
		t.said = &h.Chains
		var v hook.Verdict
		if v, h.Changes = t.pass(at); h.Chains != nil || h.Changes != nil {
			e.Hooks = append(e.Hooks, h)
		}
		if v == hook.Accept {
			continue
		}
		e.Verdict, e.Reason = v.String(), t.context.Rule.String()
		if n := len(h.Chains); n > 0 && h.Chains[n-1].Verdict != "accept" {
			e.Verdict = h.Chains[n-1].Verdict
		}
		if c, ok := t.context.Rule.(*Cause); ok {
			e.By = c.Decision()
		}
		return false
	}
	return true
}

// explain is what a walk through a chain looked like.
func (l *Loaded) explain(b *entrance, steps []classify.Step, r classify.Result) ChainExplained {
	c := ChainExplained{
		Family: b.family, Table: b.table.Name, Chain: b.chain.Name, Type: b.chain.Hook.Type, Priority: b.chain.Hook.Priority,
		Verdict: r.Verdict.Code.String(), Policy: r.Rule == nil,
	}
	if r.Reject != nil {
		c.Verdict = "reject"
	}
	for _, s := range steps {
		rule := l.rules[s.Rule].Rule
		x := RuleExplained{
			Chain: s.Chain.Name(), Handle: rule.Handle, Comment: rule.Comment, File: rule.Pos.File, Line: rule.Pos.Line,
			Rule: rule.stateless(), Matched: s.Failed == nil,
		}
		if s.Failed != nil {
			x.Failed, x.Is = l.failed(s, rule)
		}
		c.Rules = append(c.Rules, x)
	}
	return c
}

// failed is the statement at which a rule ended, in nft's words, and what the
// packet has there.
func (l *Loaded) failed(s classify.Step, r *Rule) (stmt, is string) {
	o := l.origins[s.Rule][s.At]
	var ts []*Type
	switch st := r.Stmts[o.stmt].(type) {
	case *Match:
		ts = typesOf(st.Left)
	case *VMap:
		ts = typesOf(st.Key)
	}
	if o.implied != nil {
		ts = []*Type{o.implied}
	}
	return StmtText(r.Stmts[o.stmt]), valuesText(ts, s.Value)
}

// valuesText is values of some types, one behind the other in registers.
func valuesText(ts []*Type, b []byte) string {
	var all []string
	for _, t := range ts {
		n := len(b)
		if len(ts) > 1 {
			n = min(n, t.width())
		}
		v := b[:n]
		b = b[min(len(b), round4(n)):]
		all = append(all, valueText(t, v))
	}
	return strings.Join(all, " . ")
}

func valueText(t *Type, b []byte) string {
	switch {
	case len(b) == 0:
		return ""
	case t == nil || t.Bits%8 != 0 || len(b) != t.width():
		return fmt.Sprintf("0x%x", b)
	case t.form == text:
		b = trimZeros(b)
	}
	return (&Value{Type: t, Data: b}).text(true, &Options{})
}

// Print writes an explanation for people.
func (e *Explanation) Print(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintln(&b, e.Packet)
	for _, h := range e.Hooks {
		fmt.Fprintln(&b, h.Hook)
		if h.Route != "" {
			fmt.Fprintf(&b, "  %s\n", h.Route)
		}
		for _, c := range h.Chains {
			fmt.Fprintf(&b, "  table %s %s chain %s, %s, priority %d\n", c.Family, c.Table, c.Chain, c.Type, c.Priority)
			for _, r := range c.Rules {
				r.print(&b, c.Chain)
			}
			by := ""
			if c.Policy {
				by = " (policy)"
			}
			fmt.Fprintf(&b, "    %s%s\n", c.Verdict, by)
		}
		for _, c := range h.Changes {
			fmt.Fprintf(&b, "  %s %s becomes %s\n", c.What, c.From, c.To)
		}
	}
	fmt.Fprint(&b, e.Verdict)
	if e.Reason != "" {
		fmt.Fprintf(&b, ": %s", e.Reason)
	}
	fmt.Fprintln(&b)
	_, err := io.WriteString(w, b.String())
	return err
}

func (r *RuleExplained) print(b *strings.Builder, base string) {
	b.WriteString("    ")
	if r.Chain != base {
		fmt.Fprintf(b, "%s: ", r.Chain)
	}
	if r.File != "" {
		fmt.Fprintf(b, "%s:%d: ", r.File, r.Line)
	}
	b.WriteString(r.Rule)
	switch {
	case r.Matched:
		b.WriteString("\n      matches\n")
	case r.Is != "":
		fmt.Fprintf(b, "\n      no: %s, but it is %s\n", r.Failed, r.Is)
	default:
		fmt.Fprintf(b, "\n      no: %s\n", r.Failed)
	}
}
