package classify

import "bytes"

// A Result is what the rules say of a packet.
type Result struct {
	Verdict Verdict // Accept, Drop, Queue or Stolen
	Rule    *Rule   // the one that says so; nil if it is the policy
	Reject  *Reject // how to tell the sender of a Drop; nil for silence
	// TooDeep: the packet was dropped because of too many jumps, or one to
	// nowhere.
	TooDeep bool
	// Invariant: all packets of the flow have this result, as long as the table
	// is what it is now. Credits are then the counters to credit for each.
	Invariant bool
	Credits   []*Counter // lent until the Walker's next walk
}

// A Walker is the scratch memory of walks, one at a time. A lane has one; the
// zero value is ready.
type Walker struct {
	in      *Input
	rule    *Rule
	verdict Verdict
	reject  *Reject
	regs    [valueMax]byte
	variant bool // something was looked at that may differ in the flow's next packet
	changed bool // a statement may have changed the packet
	dry     bool // look, and do nothing
	// For explaining: where the register is that did not match, and how long;
	// and, if its value was computed with a mask, what it was before.
	failed  int
	length  int
	whole   []byte
	wholeAt Reg

	credits  [16]*Counter
	ncredits int
	frames   [jumpsMax]frame
	found    finder
	sets     finder
}

// A frame is where a walk goes on when a chain ends.
type frame struct {
	content *content
	pos     int32
}

// Run walks a packet through a chain. It does not allocate.
func (t *Table) Run(w *Walker, c *Chain, in *Input) Result { return t.walk(w, c, in, true, nil) }

// RunLinear is Run, done rule by rule: the meaning of the rules.
func (t *Table) RunLinear(w *Walker, c *Chain, in *Input) Result { return t.walk(w, c, in, false, nil) }

// A Step is a rule that was looked at for a packet.
type Step struct {
	Chain *Chain
	Rule  *Rule
	// Failed is the expression at which the rule ended without a match, At its
	// place in the rule, and Value what stood in the register that it compares,
	// without a mask. Nil: all matched.
	Failed Expr
	At     int
	Value  []byte
}

// Explain tells which rules a packet meets, in order, and why each does not
// match or does. Nothing is counted, logged, changed or asked of a memory:
// limits and quotas are taken to match, and statements to say their Verdict, but
// see [Input.Trial].
func (t *Table) Explain(c *Chain, in *Input) ([]Step, Result) {
	w := &Walker{dry: true}
	var steps []Step
	r := t.walk(w, c, in, false, func(s Step) { steps = append(steps, s) })
	return steps, r
}

func (t *Table) walk(w *Walker, c *Chain, in *Input, indexed bool, told func(Step)) Result {
	snap := t.snap.Load()
	w.in, w.reject, w.variant, w.changed, w.ncredits = in, nil, false, false, 0
	if c.table != t || c.id >= len(snap.chains) {
		return Result{Verdict: Verdict{Code: Drop}}
	}
	base := &snap.chains[c.id]
	ct, pos, depth, entries, fresh := base, int32(0), 0, 0, true
	for {
		ok := int(pos) < len(ct.rules)
		if ok && indexed {
			if fresh {
				w.found.start(ct.tree)
				fresh = false
			}
			pos, ok = w.found.next(ct.tree, w, pos, nil)
		}
		code := Return // behind the last rule
		if ok {
			w.rule = ct.rules[pos]
			pos++
			code = w.evaluate(ct, told)
			if w.changed {
				fresh, w.changed = true, false
			}
		}
		switch code {
		case Continue:
		case Jump, Goto:
			to := w.verdict.Chain
			if entries++; to == nil || entries > entriesMax || code == Jump && depth == jumpsMax || to.table != t || to.id >= len(snap.chains) {
				return Result{Verdict: Verdict{Code: Drop}, Rule: w.rule, TooDeep: true}
			}
			if code == Jump {
				w.frames[depth] = frame{ct, pos}
				depth++
			}
			ct, pos, fresh = &snap.chains[to.id], 0, true
		case Return:
			if depth == 0 {
				return w.result(Verdict{Code: base.policy}, nil)
			}
			depth--
			ct, pos, fresh = w.frames[depth].content, w.frames[depth].pos, true
		default:
			return w.result(w.verdict, w.rule)
		}
	}
}

// evaluate does the walker's rule.
func (w *Walker) evaluate(ct *content, told func(Step)) Code {
	code, failed, at := Continue, Expr(nil), 0
	w.length = 0
	for i, x := range w.rule.Exprs {
		st := x.exec(w)
		if st == fail {
			failed, at = x, i
			break
		}
		if st == final {
			code = w.verdict.Code
			break
		}
	}
	if told != nil {
		value := w.regs[w.failed:][:w.length]
		if len(w.whole) == w.length && int(w.wholeAt)*regBytes == w.failed {
			value = w.whole
		}
		told(Step{ct.chain, w.rule, failed, at, bytes.Clone(value)})
	}
	return code
}

// matched turns a comparison's result into a status.
func (w *Walker) matched(ok bool, r Reg, n int) status {
	if ok {
		return next
	}
	w.failed, w.length = int(r)*regBytes, n
	return fail
}

func (w *Walker) result(v Verdict, r *Rule) Result {
	return Result{
		Verdict: v, Rule: r, Reject: w.reject,
		Invariant: !w.variant, Credits: w.credits[:w.ncredits],
	}
}
