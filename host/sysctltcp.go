package host

import (
	"math"
	"strconv"
	"time"

	"github.com/towpath/towpath/tcp"
)

// tcpSysctls are the settings of TCP that connections have from their [tcp.Tuning],
// and what belongs to all of them.
var tcpSysctls = map[string]sysctl{
	"net.ipv4.tcp_dsack":                 inverse(func(s *Settings) *bool { return &s.TCP.NoDSACK }),
	"net.ipv4.tcp_ecn_fallback":          inverse(func(s *Settings) *bool { return &s.TCP.NoECNFallback }),
	"net.ipv4.tcp_slow_start_after_idle": inverse(func(s *Settings) *bool { return &s.TCP.NoIdleRestart }),
	"net.ipv4.tcp_moderate_rcvbuf":       inverse(func(s *Settings) *bool { return &s.TCP.FixedRcvBuf }),
	"net.ipv4.tcp_reordering":            integer(func(s *Settings) *int { return &s.TCP.Reordering }, 1, 1<<16),
	"net.ipv4.tcp_max_reordering":        integer(func(s *Settings) *int { return &s.TCP.MaxReordering }, 1, 1<<16),
	"net.ipv4.tcp_retries1":              integer(func(s *Settings) *int { return &s.TCP.Retries1 }, 1, 255),
	"net.ipv4.tcp_min_snd_mss":           integer(func(s *Settings) *int { return &s.TCP.MinSndMSS }, 48, math.MaxUint16),
	"net.ipv4.tcp_base_mss":              integer(func(s *Settings) *int { return &s.TCP.BaseMSS }, 1, math.MaxUint16),
	"net.ipv4.tcp_mtu_probe_floor":       integer(func(s *Settings) *int { return &s.TCP.ProbeFloor }, 48, math.MaxUint16),
	"net.ipv4.tcp_probe_threshold":       integer(func(s *Settings) *int { return &s.TCP.ProbeThreshold }, 1, math.MaxUint16),
	"net.ipv4.tcp_pacing_ss_ratio":       integer(func(s *Settings) *int { return &s.TCP.PaceSlowStart }, 1, 1000),
	"net.ipv4.tcp_pacing_ca_ratio":       integer(func(s *Settings) *int { return &s.TCP.PaceAvoidance }, 1, 1000),
	"net.ipv4.tcp_probe_interval":        duration(func(s *Settings) *time.Duration { return &s.TCP.ProbeInterval }, time.Second),
	"net.ipv4.tcp_min_rtt_wlen":          duration(func(s *Settings) *time.Duration { return &s.TCP.MinRTTWindow }, time.Second),
	"net.ipv4.tcp_invalid_ratelimit":     duration(func(s *Settings) *time.Duration { return &s.TCP.InvalidRate }, time.Millisecond),
	"net.ipv4.tcp_challenge_ack_limit":   integer(func(s *Settings) *int { return &s.TCPChallenges }, 1, math.MaxInt32),
	"net.ipv4.tcp_syn_linear_timeouts":   integer(func(s *Settings) *int { return &s.TCPSynLinear }, 0, 127),
	"net.ipv4.tcp_tw_reuse": {
		func(s *Settings) string { return strconv.Itoa(max(s.TCPTimeWaitReuse, 0)) },
		func(s *Settings, v string) bool {
			n, err := strconv.ParseUint(v, 10, 2)
			if s.TCPTimeWaitReuse = int(n); n == 0 {
				s.TCPTimeWaitReuse = TimeWaitReuseOff
			}
			return err == nil && n <= TimeWaitReuseLoopback
		},
	},
	"net.ipv4.ip_nonlocal_bind": boolean(func(s *Settings) *bool { return &s.NonlocalBind }),
	"net.ipv6.ip_nonlocal_bind": boolean(func(s *Settings) *bool { return &s.NonlocalBind }),
	"net.core.rmem_max":         integer(func(s *Settings) *int { return &s.RcvBufMax }, 2304, 1<<30),
	"net.core.wmem_max":         integer(func(s *Settings) *int { return &s.SndBufMax }, 4608, 1<<30),
	// Linux up to 6.16 knew a third bit, or rather the lack of it: loss
	// recovery without RACK.
	"net.ipv4.tcp_recovery": {
		func(s *Settings) string {
			return strconv.Itoa(1 + 2*boolNumber(s.TCP.StaticReorder) + 4*boolNumber(s.TCP.NoDupThreshold))
		},
		func(s *Settings, v string) bool {
			n, err := strconv.ParseUint(v, 10, 3)
			s.TCP.StaticReorder, s.TCP.NoDupThreshold = n&2 != 0, n&4 != 0
			return err == nil
		},
	},
	// 3 and 4 are the same: on.
	"net.ipv4.tcp_early_retrans": {
		func(s *Settings) string { return strconv.Itoa(3 * boolNumber(!s.TCP.NoTailProbe)) },
		func(s *Settings, v string) bool {
			n, err := strconv.ParseUint(v, 10, 8)
			s.TCP.NoTailProbe = n < 3
			return err == nil && n <= 4
		},
	},
	"net.ipv4.tcp_mtu_probing": {
		func(s *Settings) string { return strconv.Itoa(int(s.TCP.MTUProbing)) },
		func(s *Settings, v string) bool {
			n, err := strconv.ParseUint(v, 10, 8)
			s.TCP.MTUProbing = tcp.MTUProbing(n)
			return err == nil && n <= uint64(tcp.MTUProbingOn)
		},
	},
	"net.ipv4.tcp_notsent_lowat": {
		func(s *Settings) string {
			if s.TCPNotSentLowat == 0 {
				return strconv.Itoa(math.MaxUint32)
			}
			return strconv.Itoa(s.TCPNotSentLowat)
		},
		func(s *Settings, v string) bool {
			n, err := strconv.ParseUint(v, 10, 32)
			if s.TCPNotSentLowat = int(n); n == math.MaxUint32 {
				s.TCPNotSentLowat = 0
			}
			return err == nil && n > 0
		},
	},
}

// duration is a time in whole units, of which 0 is the shortest there can be.
func duration(field func(s *Settings) *time.Duration, unit time.Duration) sysctl {
	return sysctl{
		func(s *Settings) string { return strconv.Itoa(int(*field(s) / unit)) },
		func(s *Settings, v string) bool {
			n, err := strconv.ParseUint(v, 10, 31)
			*field(s) = max(time.Duration(n)*unit, 1)
			return err == nil
		},
	}
}

// challenges counts the challenges of all of a lane's connections in a second.
type challenges struct {
	second time.Duration
	left   int
}

// MayChallenge implements [tcp.ChallengeLimiter]. How many may go in a second is
// between half the limit and one and a half times that, for a number that is
// known tells an attacker which of his guesses were answered (Linux:
// tcp_send_challenge_ack).
func (s *tcpSocket) MayChallenge() bool {
	ln := s.lane
	limit := ln.conf.set.TCPChallenges
	if limit == math.MaxInt32 {
		return true
	}
	c := &ln.challenges
	if second := ln.now/time.Second + 1; second != c.second { // + 1: 0 is none yet
		h := ln.secret(s.entry.Tuple.Src, s.entry.Tuple.Dst, 0, 0, uint32(second))
		*c = challenges{second, (limit+1)/2 + int(h%uint64(limit))}
	}
	if c.left == 0 {
		return false
	}
	c.left--
	return true
}

// reusable reports whether a connection to an address may replace one in
// TIME-WAIT: with timestamps, whatever is left of it in the network will be
// told from the new one's segments (RFC 6191).
func (ln *lane) reusable(w *timeWait) bool {
	switch ln.conf.set.TCPTimeWaitReuse {
	case TimeWaitReuseLoopback:
		if !w.entry.Tuple.Dst.IsLoopback() && !w.entry.Tuple.Src.IsLoopback() {
			return false
		}
	case TimeWaitReuseOn:
	default:
		return false
	}
	return w.Timestamps() && ln.now-(w.Deadline()-tcp.TimeWaitLen) >= timeWaitReuseAge
}
