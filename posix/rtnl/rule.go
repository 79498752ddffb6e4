package rtnl

import (
	"math"
	"net/netip"
	"syscall"

	"github.com/towpath/towpath/ip/route"
)

// Attributes of rules (linux/fib_rules.h).
const (
	fraDst      = 1
	fraSrc      = 2
	fraIifname  = 3
	fraGoto     = 4
	fraPriority = 6
	fraFwmark   = 10
	fraSuppress = 14
	fraTable    = 15
	fraFwmask   = 16
	fraOifname  = 17
)

const (
	ruleLen    = 12
	ruleInvert = 2
)

// ruleActions are the actions in Linux's numbers.
var ruleActions = map[route.Action]uint8{
	route.ToTable: 1, route.Goto: 2, route.Nop: 3,
	route.RuleBlackhole: 6, route.RuleUnreachable: 7, route.RuleProhibit: 8,
}

// policy is the host's rules, or those that stand where there are none. The
// first one says what hosts do in any case.
func (r *request) policy() []route.Rule {
	local := route.Rule{Table: tableLocal}
	if p := r.host.Rules(); p != nil {
		return append([]route.Rule{local}, p.All()...)
	}
	return []route.Rule{
		local,
		{Priority: route.PriorityMain, Table: route.TableMain},
		{Priority: route.PriorityMain + 1, Table: route.TableDefault},
	}
}

// of reports whether a rule fits packets of a family.
func of(x route.Rule, family uint8) bool {
	for _, p := range []netip.Prefix{x.From, x.To} {
		if p.IsValid() && familyOf(p.Addr()) != family {
			return false
		}
	}
	return true
}

func (r *request) rules() (list []message, e syscall.Errno) {
	if !r.dump() {
		return nil, syscall.EOPNOTSUPP
	}
	for _, family := range []uint8{afInet, afInet6} {
		if f := r.family(); f != 0 && f != family {
			continue
		}
		for _, x := range r.policy() {
			if of(x, family) {
				list = append(list, r.newRuleMessage(x, family))
			}
		}
	}
	return list, 0
}

func (r *request) newRuleMessage(x route.Rule, family uint8) message {
	m := message{typ: newRule, b: make([]byte, ruleLen)}
	m.b[0], m.b[3], m.b[4], m.b[7] = family, x.TOS, tableByte(x.Table), ruleActions[x.Action]
	if x.Not {
		native.PutUint32(m.b[8:], ruleInvert)
	}
	if x.To.IsValid() && x.To.Bits() > 0 {
		m.b[1] = uint8(x.To.Bits())
		m.ip(fraDst, x.To.Addr())
	}
	if x.From.IsValid() && x.From.Bits() > 0 {
		m.b[2] = uint8(x.From.Bits())
		m.ip(fraSrc, x.From.Addr())
	}
	if a := adapter(r.host, x.In, ""); a != nil {
		m.text(fraIifname, a.Name())
	}
	if a := adapter(r.host, x.Out, ""); a != nil {
		m.text(fraOifname, a.Name())
	}
	m.attr32(fraPriority, x.Priority)
	if x.Mask != 0 {
		m.attr32(fraFwmark, x.Mark)
		m.attr32(fraFwmask, x.Mask)
	}
	switch x.Action {
	case route.ToTable:
		m.attr32(fraTable, x.Table)
		suppress := uint32(math.MaxUint32)
		if x.Suppress {
			suppress = uint32(x.SuppressBits)
		}
		m.attr32(fraSuppress, suppress)
	case route.Goto:
		m.attr32(fraGoto, x.Goto)
	}
	return m
}

// rule reads the rule that is to be changed. has tells which attributes it has.
func (r *request) rule() (x route.Rule, has map[uint16][]byte, e syscall.Errno) {
	if has, e = r.attributes(ruleLen); e != 0 {
		return x, nil, e
	}
	family := r.family()
	if family != afInet && family != afInet6 {
		return x, nil, syscall.EAFNOSUPPORT
	}
	if x.To, e = prefixOf(family, has[fraDst], r.body[1]); e != 0 {
		return x, nil, e
	}
	if x.From, e = prefixOf(family, has[fraSrc], r.body[2]); e != 0 {
		return x, nil, e
	}
	if x.To.Bits() == 0 {
		x.To = netip.Prefix{} // From says the family
	}
	x.TOS, x.Priority, x.Goto = r.body[3], u32(has[fraPriority]), u32(has[fraGoto])
	x.Not = native.Uint32(r.body[8:])&ruleInvert != 0
	if x.Table = u32(has[fraTable]); has[fraTable] == nil {
		x.Table = uint32(r.body[4])
	}
	if has[fraFwmark] != nil {
		if x.Mark, x.Mask = u32(has[fraFwmark]), math.MaxUint32; has[fraFwmask] != nil {
			x.Mask = u32(has[fraFwmask])
		}
	}
	if v := u32(has[fraSuppress]); has[fraSuppress] != nil && v <= 128 {
		x.Suppress, x.SuppressBits = true, int(v)
	}
	for typ, to := range map[uint16]*int32{fraIifname: &x.In, fraOifname: &x.Out} {
		if has[typ] == nil {
			continue
		}
		a := adapter(r.host, 0, text(has[typ]))
		if a == nil {
			return x, nil, syscall.ENODEV
		}
		*to = a.Index()
	}
	for action, n := range ruleActions {
		if n == max(r.body[7], 1) { // who removes need not say
			x.Action = action
			return x, has, 0
		}
	}
	return x, nil, syscall.EINVAL
}

func (r *request) addRule() syscall.Errno {
	x, has, e := r.rule()
	if e != 0 {
		return e
	}
	if has[fraPriority] == nil { // before all but the first
		x.Priority = route.PriorityMain - 1
		if all := r.policy(); len(all) > 1 && all[1].Priority > 0 {
			x.Priority = all[1].Priority - 1
		}
	}
	return errnoOf(r.host.AddRule(x))
}

func (r *request) removeRule() syscall.Errno {
	x, has, e := r.rule()
	if e != 0 {
		return e
	}
	found := false
	err := r.host.RemoveRules(func(y route.Rule) bool {
		if found || !of(y, r.family()) || has[fraPriority] != nil && y.Priority != x.Priority ||
			x.Table != 0 && y.Table != x.Table || x.From.Bits() > 0 && y.From != x.From ||
			x.To.IsValid() && y.To != x.To || x.Mask != 0 && (y.Mark != x.Mark || y.Mask != x.Mask) ||
			x.In != 0 && y.In != x.In || x.Out != 0 && y.Out != x.Out || r.body[7] != 0 && y.Action != x.Action {
			return false
		}
		found = true
		return true
	})
	if err == nil && !found {
		return syscall.ENOENT
	}
	return errnoOf(err)
}
