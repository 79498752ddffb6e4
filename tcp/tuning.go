package tcp

import "time"

// A Tuning is what seldom differs from its defaults: connections share one, and
// those that have the defaults have none. It does not change while it is in
// use. The names in parentheses are Linux's settings in net.ipv4; the zero value
// of a size, time or count means the default beside it, see [Tuning.Filled].
type Tuning struct {
	NoDSACK        bool // what came twice is not told (tcp_dsack is 0)
	NoECNFallback  bool // a SYN asks for ECN again when it was lost (tcp_ecn_fallback is 0)
	NoTailProbe    bool // no tail loss probes (tcp_early_retrans is 0)
	NoIdleRestart  bool // the congestion window survives pauses (tcp_slow_start_after_idle is 0)
	FixedRcvBuf    bool // the receive buffer does not grow (tcp_moderate_rcvbuf is 0)
	StaticReorder  bool // D-SACKs do not widen the reordering window (tcp_recovery has 2)
	NoDupThreshold bool // segments behind a hole prove no loss before the reordering window is over (tcp_recovery has 4)

	// Reordering is how many segments behind a hole prove a loss at first,
	// MaxReordering to how many that grows where the network changes the order
	// (3, tcp_reordering; 300, tcp_max_reordering).
	Reordering, MaxReordering int

	MinSndMSS int // bytes: no peer and no path has less sent (48, tcp_min_snd_mss)
	Retries1  int // timeouts after which the path is suspected (3, tcp_retries1)

	// Packetization layer path MTU discovery, see search.go.
	MTUProbing     MTUProbing    // (tcp_mtu_probing)
	BaseMSS        int           // bytes: what it begins with (1024, tcp_base_mss)
	ProbeFloor     int           // bytes: what it does not go below (48, tcp_mtu_probe_floor)
	ProbeThreshold int           // bytes: it ends when no more is left to gain (8, tcp_probe_threshold)
	ProbeInterval  time.Duration // after which it begins again (10 min, tcp_probe_interval)

	// InvalidRate is the least time between two answers to segments that are
	// not acceptable (500 ms, tcp_invalid_ratelimit); negative: none.
	InvalidRate time.Duration
	// MinRTTWindow is for how long the shortest round trip counts (5 min,
	// tcp_min_rtt_wlen).
	MinRTTWindow time.Duration
	// PaceSlowStart and PaceAvoidance are how much faster than the window a
	// controller without a rate of its own is paced, in percent (200,
	// tcp_pacing_ss_ratio; 120, tcp_pacing_ca_ratio).
	PaceSlowStart, PaceAvoidance int
}

// MTUProbing says when packetization layer path MTU discovery is used, by
// Linux's numbers.
type MTUProbing uint8

const (
	MTUProbingOff       MTUProbing = iota
	MTUProbingBlackHole            // once large segments seem to vanish
	MTUProbingOn                   // from the beginning
)

var defaultTuning = Tuning{}.Filled()

// Filled is t with its defaults.
func (t Tuning) Filled() Tuning {
	for _, v := range []struct {
		field *int
		def   int
	}{
		{&t.Reordering, dupThresh}, {&t.MaxReordering, 300}, {&t.MinSndMSS, 48}, {&t.Retries1, 3},
		{&t.BaseMSS, 1024}, {&t.ProbeFloor, 48}, {&t.ProbeThreshold, 8},
		{&t.PaceSlowStart, 200}, {&t.PaceAvoidance, 120},
	} {
		*v.field = or(*v.field, v.def)
	}
	t.ProbeInterval = or(t.ProbeInterval, 10*time.Minute)
	t.InvalidRate = or(t.InvalidRate, 500*time.Millisecond)
	t.MinRTTWindow = or(t.MinRTTWindow, 5*time.Minute)
	return t
}

// tune is the connection's tuning.
func (c *Conn) tune() *Tuning {
	if c.rare == nil || c.rare.tuning == nil {
		return &defaultTuning
	}
	return c.rare.tuning
}

// degree is how many segments behind a hole prove a loss.
func (c *Conn) degree() uint32 {
	n := uint32(c.tune().Reordering)
	if c.rare != nil {
		n = max(n, c.rare.degree)
	}
	return n
}

// disorder notes that the network has changed the order, by so many bytes.
func (c *Conn) disorder(bytes uint32) {
	x := c.extra()
	c.reordered = true
	x.disorders++
	if n := (bytes + uint32(c.mss) - 1) / uint32(c.mss); n > c.degree() {
		x.degree = min(n, uint32(c.tune().MaxReordering))
	}
}
