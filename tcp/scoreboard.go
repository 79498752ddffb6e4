package tcp

import (
	"sync"
	"time"
)

// A scoreboard tells what is known of the data in flight: what has arrived
// behind a hole, what is lost, and what has been sent again (RFC 6675 §3, RFC
// 8985 §5). A connection has one only while something is missing.
//
// It is a list of runs, each ending where the next begins, the first beginning
// at SND.UNA. What lies behind the last run is simply in flight:
//
//	una                                             SND.NXT
//	 |resent|sacked  |lost |sacked|inFlight|sacked|......|
//
// Which of two segments was sent later (RFC 8985 §6.2 step 2) is known without
// noting the time of each: data sent for the first time goes in sequence, and
// retransmissions are numbered and remember what SND.NXT was.
type scoreboard struct {
	runs []run
	una  uint32

	sacked, lost uint32 // bytes in such runs

	// What has arrived was sent later than all data below newest sent for the
	// first time, and later than retransmissions numbered below arrived.
	newest  uint32
	arrived uint32
	order   uint32 // number of the last retransmission

	// Of the acknowledgment being looked at:
	delivered uint32 // bytes that it says have arrived
	original  uint32 // bytes of those that a timeout declared lost, and that were not sent again
	reordered bool   // it shows that the network changes the order
	late      uint32 // by so many bytes
	minRTT    time.Duration
	flow      *flow // who wants to know; nil if nobody

	// Proportional rate reduction (RFC 6937 §3).
	prrDelivered, prrOut, prrFlight uint32
	rescued                         bool // RFC 6675 §4 NextSeg rule 4
	timedOut                        bool // what is lost was declared so by a timeout
}

// A run is a stretch of sequence numbers that share a fate.
type run struct {
	end   uint32
	next  uint32 // resent: SND.NXT at that time
	order uint32 // resent: number of the retransmission
	fate  fate
	again bool          // it has been sent again, once at least
	at    time.Duration // resent: when; inFlight: since when something later is there
}

type fate uint8

const (
	inFlight fate = iota
	sacked
	lost   // and not sent again since
	resent // and in flight again
)

// runsMax bounds a scoreboard. SACK blocks that would take more are not
// believed: their data is sent again, at worst.
const runsMax = 1024

var scoreboardPool = sync.Pool{New: func() any { return &scoreboard{runs: make([]run, 0, 32)} }}

// start makes an empty scoreboard.
func (b *scoreboard) start(una uint32) {
	*b = scoreboard{runs: b.runs[:0], una: una, newest: una}
}

func (b *scoreboard) begin(i int) uint32 {
	if i == 0 {
		return b.una
	}
	return b.runs[i-1].end
}

// end is where the list ends.
func (b *scoreboard) end() uint32 { return b.begin(len(b.runs)) }

// find returns the run that holds seq; len(b.runs) if it lies behind all.
func (b *scoreboard) find(seq uint32) int {
	i, j := 0, len(b.runs)
	for i < j {
		if m := (i + j) / 2; gt(b.runs[m].end, seq) {
			j = m
		} else {
			i = m + 1
		}
	}
	return i
}

func (b *scoreboard) insert(i int, r run) {
	b.runs = append(b.runs, run{})
	copy(b.runs[i+1:], b.runs[i:])
	b.runs[i] = r
}

// split makes a run end at seq.
func (b *scoreboard) split(seq uint32) {
	if i := b.find(seq); i < len(b.runs) && b.begin(i) != seq {
		r := b.runs[i]
		r.end = seq
		b.insert(i, r)
	}
}

// cover extends the list to seq.
func (b *scoreboard) cover(seq uint32) {
	if !gt(seq, b.end()) {
		return
	}
	if n := len(b.runs); n > 0 && b.runs[n-1].fate == inFlight && b.runs[n-1].at == 0 {
		b.runs[n-1].end = seq
		return
	}
	b.runs = append(b.runs, run{end: seq})
}

// join makes one of equal neighbours among the runs i to j.
func (b *scoreboard) join(i, j int) {
	i, j = max(i, 0), min(j, len(b.runs)-1)
	w := i
	for k := i + 1; k <= j; k++ {
		x, y := b.runs[w], b.runs[k]
		x.end = y.end
		if x.fate == sacked && y.fate == sacked || x == y {
			b.runs[w].end = y.end
		} else {
			w++
			b.runs[w] = y
		}
	}
	if w < j {
		b.runs = append(b.runs[:w+1], b.runs[j+1:]...)
	}
}

// cameLate notes that what lies at seq was overtaken.
func (b *scoreboard) cameLate(seq uint32) {
	b.reordered = true
	b.late = max(b.late, b.end()-seq)
}

// arrive notes that the n bytes of r up to end have arrived.
func (b *scoreboard) arrive(now time.Duration, r *run, n, end uint32) {
	b.delivered += n
	if b.flow != nil {
		b.flow.arrived(end-n, end)
	}
	switch r.fate {
	case inFlight:
		if r.at != 0 && !r.again {
			b.cameLate(end - n)
		}
	case lost:
		b.lost -= n
		if !r.again && b.timedOut {
			b.original += n
		} else if !r.again {
			b.cameLate(end - n)
		}
	case resent:
		// RFC 8985 §6.2 step 2: sooner than a round trip it must be what was
		// sent first that has arrived.
		if now-r.at >= b.minRTT {
			b.sawNewest(r.next)
			if gt(r.order, b.arrived) {
				b.arrived = r.order
			}
		}
	}
	if !r.again {
		b.sawNewest(end)
	}
}

func (b *scoreboard) sawNewest(seq uint32) {
	if gt(seq, b.newest) {
		b.newest = seq
	}
}

// acked takes a cumulative acknowledgment, beyond una.
func (b *scoreboard) acked(now time.Duration, ack uint32) {
	i, left := 0, b.una
	for i < len(b.runs) && lt(left, ack) {
		r := &b.runs[i]
		to := r.end
		if gt(to, ack) {
			to = ack
		} else {
			i++
		}
		if r.fate == sacked {
			b.sacked -= to - left
		} else {
			b.arrive(now, r, to-left, to)
		}
		left = to
	}
	if lt(left, ack) {
		b.delivered += ack - left
		if b.flow != nil {
			b.flow.arrived(left, ack)
		}
		b.sawNewest(ack)
	}
	if i > 0 {
		b.runs = b.runs[:copy(b.runs, b.runs[i:])]
	}
	b.una = ack
}

// sack takes a block of a selective acknowledgment, which lies between SND.UNA
// and SND.NXT.
func (b *scoreboard) sack(now time.Duration, left, right uint32) {
	i := b.find(left)
	if i < len(b.runs) && b.runs[i].fate == sacked && le(right, b.runs[i].end) {
		return // known
	}
	if len(b.runs)+3 > runsMax {
		return
	}
	b.cover(right)
	b.split(left)
	b.split(right)
	i = b.find(left)
	j := i
	for ; j < len(b.runs) && lt(b.begin(j), right); j++ {
		if r := &b.runs[j]; r.fate != sacked {
			n := r.end - b.begin(j)
			b.arrive(now, r, n, r.end)
			b.sacked += n
			*r = run{end: r.end, fate: sacked}
		}
	}
	b.join(i-1, j)
}

// detect finds out what is lost (RFC 8985 §6.2 step 5): what was sent before
// something that has arrived, reo or more ago. It returns how many bytes that
// were, and how soon there may be more.
func (b *scoreboard) detect(now, reo, rtt time.Duration) (n uint32, wait time.Duration) {
	if len(b.runs) < runsMax {
		b.cover(b.newest)
	}
	wait = never
	for i := range b.runs {
		r := &b.runs[i]
		var due time.Duration
		switch {
		case r.fate == inFlight && le(r.end, b.newest):
			if r.at == 0 {
				r.at = now
			}
			due = r.at + reo
		case r.fate == resent && (lt(r.order, b.arrived) || lt(r.next, b.newest)):
			due = r.at + rtt + reo
		default:
			continue
		}
		if reo > 0 && due > now {
			wait = min(wait, due-now)
			continue
		}
		n += r.end - b.begin(i)
		if b.flow != nil {
			b.flow.miss(b.begin(i), r.end)
		}
		*r = run{end: r.end, fate: lost, again: r.again}
	}
	if n > 0 {
		b.lost += n
		b.join(0, len(b.runs))
	}
	return n, wait
}

// loseAll declares everything up to nxt lost that has not arrived: a timeout
// has. A receiver that has what comes first and does not acknowledge it has
// thrown it away, and may have thrown away everything (RFC 2018 §8).
func (b *scoreboard) loseAll(nxt uint32) {
	if len(b.runs) < runsMax {
		b.cover(nxt)
	}
	reneged := len(b.runs) > 0 && b.runs[0].fate == sacked
	for i := range b.runs {
		r := &b.runs[i]
		if r.fate == sacked {
			if !reneged {
				continue
			}
			b.sacked -= r.end - b.begin(i)
		}
		if r.fate != lost {
			b.lost += r.end - b.begin(i)
		}
		*r = run{end: r.end, fate: lost, again: r.again}
	}
	b.timedOut = true
	b.join(0, len(b.runs))
}

// resend notes that the first n bytes of run i have been sent again, and
// returns the run to look at next.
func (b *scoreboard) resend(now time.Duration, i int, n, nxt uint32) int {
	r := &b.runs[i]
	if r.fate == lost {
		b.lost -= n
	}
	b.order++
	end := b.begin(i) + n
	again := run{end: end, next: nxt, order: b.order, fate: resent, again: true, at: now}
	if end == r.end {
		*r = again
	} else if len(b.runs) < runsMax/2 {
		b.insert(i, again)
	} else if i > 0 && b.runs[i-1].fate == resent {
		// Crowded: a run for several retransmissions.
		b.runs[i-1] = again
		return i
	} else if len(b.runs) < runsMax {
		b.insert(i, again)
	} else {
		// No room to tell it from the rest: the next timeout will.
		b.lost -= r.end - end
		again.end = r.end
		*r = again
	}
	return i + 1
}
