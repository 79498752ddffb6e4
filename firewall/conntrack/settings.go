package conntrack

import (
	"strconv"
	"time"
)

// A TCPState is the state of a TCP connection as somebody between its ends sees
// it (Linux: enum tcp_conntrack).
type TCPState uint8

const (
	TCPNone TCPState = iota
	TCPSynSent
	TCPSynRecv
	TCPEstablished
	TCPFinWait
	TCPCloseWait
	TCPLastAck
	TCPTimeWait
	TCPClose
	TCPSynSent2 // both ends have sent a SYN
	tcpStateCount
)

var tcpStateNames = [tcpStateCount]string{"NONE", "SYN_SENT", "SYN_RECV", "ESTABLISHED", "FIN_WAIT", "CLOSE_WAIT",
	"LAST_ACK", "TIME_WAIT", "CLOSE", "SYN_SENT2"}

func (s TCPState) String() string { return tcpStateNames[s] }

// Settings are those of a table, with netfilter's defaults for what is zero.
// Each has the name that it has under /proc/sys/net/netfilter; see [Sysctls].
type Settings struct {
	Max       int // flows; 65,536
	ExpectMax int // expected flows; 1,024

	NoChecksum bool // believe checksums of what comes in without verifying them
	NoAcct     bool // do not count packets and bytes
	Helper     bool // let helpers read the flows on their protocols' ports

	TCPStrict           bool // do not pick up connections whose beginning was not seen
	TCPBeLiberal        bool // only resets outside the window are invalid
	TCPIgnoreInvalidRST bool // believe resets whatever their sequence number
	TCPRetransMax       int  // repetitions after which a shorter timeout holds; 3

	Generic    time.Duration
	ICMP       time.Duration
	ICMPv6     time.Duration
	UDP        time.Duration // not answered, or just so
	UDPStream  time.Duration // answered, and going on for two seconds
	GRE        time.Duration
	GREStream  time.Duration // answered
	TCP        [tcpStateCount]time.Duration
	TCPRetrans time.Duration // after TCPRetransMax repetitions, or with a window of zero
	TCPUnacked time.Duration // with data that was not acknowledged
}

func (s *Settings) fill() {
	fillZero(&s.Max, 65536)
	fillZero(&s.ExpectMax, 1024)
	fillZero(&s.TCPRetransMax, 3)
	fillZero(&s.Generic, 600*time.Second)
	fillZero(&s.ICMP, 30*time.Second)
	fillZero(&s.ICMPv6, 30*time.Second)
	fillZero(&s.UDP, 30*time.Second)
	fillZero(&s.UDPStream, 120*time.Second)
	fillZero(&s.GRE, 30*time.Second)
	fillZero(&s.GREStream, 180*time.Second)
	for st, def := range [tcpStateCount]time.Duration{
		TCPNone:        120 * time.Second,
		TCPSynSent:     120 * time.Second,
		TCPSynRecv:     60 * time.Second,
		TCPEstablished: 5 * 24 * time.Hour,
		TCPFinWait:     120 * time.Second,
		TCPCloseWait:   60 * time.Second,
		TCPLastAck:     30 * time.Second,
		TCPTimeWait:    120 * time.Second,
		TCPClose:       10 * time.Second,
		TCPSynSent2:    120 * time.Second,
	} {
		fillZero(&s.TCP[st], def)
	}
	fillZero(&s.TCPRetrans, 300*time.Second)
	fillZero(&s.TCPUnacked, 300*time.Second)
}

func fillZero[T comparable](v *T, def T) {
	var zero T
	if *v == zero {
		*v = def
	}
}

// A Sysctl is a setting under netfilter's name, without the directory
// net/netfilter.
type Sysctl struct {
	Name string
	Get  func(s *Settings) string
	Set  func(s *Settings, v string) bool // reports whether v is a value for it
}

// Sysctls are all settings, in the order of their names. Timeouts are in
// seconds.
var Sysctls = []Sysctl{
	inverse("nf_conntrack_acct", func(s *Settings) *bool { return &s.NoAcct }),
	inverse("nf_conntrack_checksum", func(s *Settings) *bool { return &s.NoChecksum }),
	integer("nf_conntrack_expect_max", func(s *Settings) *int { return &s.ExpectMax }),
	seconds("nf_conntrack_generic_timeout", func(s *Settings) *time.Duration { return &s.Generic }),
	seconds("nf_conntrack_gre_timeout", func(s *Settings) *time.Duration { return &s.GRE }),
	seconds("nf_conntrack_gre_timeout_stream", func(s *Settings) *time.Duration { return &s.GREStream }),
	boolean("nf_conntrack_helper", func(s *Settings) *bool { return &s.Helper }),
	seconds("nf_conntrack_icmp_timeout", func(s *Settings) *time.Duration { return &s.ICMP }),
	seconds("nf_conntrack_icmpv6_timeout", func(s *Settings) *time.Duration { return &s.ICMPv6 }),
	integer("nf_conntrack_max", func(s *Settings) *int { return &s.Max }),
	boolean("nf_conntrack_tcp_be_liberal", func(s *Settings) *bool { return &s.TCPBeLiberal }),
	boolean("nf_conntrack_tcp_ignore_invalid_rst", func(s *Settings) *bool { return &s.TCPIgnoreInvalidRST }),
	inverse("nf_conntrack_tcp_loose", func(s *Settings) *bool { return &s.TCPStrict }),
	integer("nf_conntrack_tcp_max_retrans", func(s *Settings) *int { return &s.TCPRetransMax }),
	seconds("nf_conntrack_tcp_timeout_close", tcpTimeout(TCPClose)),
	seconds("nf_conntrack_tcp_timeout_close_wait", tcpTimeout(TCPCloseWait)),
	seconds("nf_conntrack_tcp_timeout_established", tcpTimeout(TCPEstablished)),
	seconds("nf_conntrack_tcp_timeout_fin_wait", tcpTimeout(TCPFinWait)),
	seconds("nf_conntrack_tcp_timeout_last_ack", tcpTimeout(TCPLastAck)),
	seconds("nf_conntrack_tcp_timeout_max_retrans", func(s *Settings) *time.Duration { return &s.TCPRetrans }),
	seconds("nf_conntrack_tcp_timeout_syn_recv", tcpTimeout(TCPSynRecv)),
	seconds("nf_conntrack_tcp_timeout_syn_sent", tcpTimeout(TCPSynSent)),
	seconds("nf_conntrack_tcp_timeout_time_wait", tcpTimeout(TCPTimeWait)),
	seconds("nf_conntrack_tcp_timeout_unacknowledged", func(s *Settings) *time.Duration { return &s.TCPUnacked }),
	seconds("nf_conntrack_udp_timeout", func(s *Settings) *time.Duration { return &s.UDP }),
	seconds("nf_conntrack_udp_timeout_stream", func(s *Settings) *time.Duration { return &s.UDPStream }),
}

func tcpTimeout(st TCPState) func(s *Settings) *time.Duration {
	return func(s *Settings) *time.Duration { return &s.TCP[st] }
}

func boolean(name string, field func(s *Settings) *bool) Sysctl { return switchOf(name, field, "1") }

// inverse is a setting that is on unless the field is set.
func inverse(name string, field func(s *Settings) *bool) Sysctl { return switchOf(name, field, "0") }

func switchOf(name string, field func(s *Settings) *bool, whenSet string) Sysctl {
	return Sysctl{name,
		func(s *Settings) string {
			if *field(s) == (whenSet == "1") {
				return "1"
			}
			return "0"
		},
		func(s *Settings, v string) bool {
			if v != "0" && v != "1" {
				return false
			}
			*field(s) = v == whenSet
			return true
		},
	}
}

func integer(name string, field func(s *Settings) *int) Sysctl {
	return Sysctl{name,
		func(s *Settings) string { return strconv.Itoa(*field(s)) },
		func(s *Settings, v string) bool { return setPositive(field(s), v, 1) },
	}
}

func seconds(name string, field func(s *Settings) *time.Duration) Sysctl {
	return Sysctl{name,
		func(s *Settings) string { return strconv.Itoa(int(*field(s) / time.Second)) },
		func(s *Settings, v string) bool { return setPositive(field(s), v, time.Second) },
	}
}

// setPositive sets a field to the number v of units. Zero is no value: it
// stands for the default.
func setPositive[T ~int | ~int64](field *T, v string, unit T) bool {
	n, err := strconv.ParseUint(v, 10, 31)
	if err != nil || n == 0 {
		return false
	}
	*field = T(n) * unit
	return true
}
