package host

import (
	"fmt"
	"math"
	"net/netip"
	"slices"
	"strings"
	"syscall"

	"github.com/towpath/towpath/firewall/hook"
	"github.com/towpath/towpath/ip/ifaddr"
	"github.com/towpath/towpath/ip/route"
	"github.com/towpath/towpath/link"
	"github.com/towpath/towpath/tcp"
	"github.com/towpath/towpath/tcp/cc"
)

// config is everything the walk reads: an immutable snapshot. Changing it
// means copying it under host.mu and publishing the copy.
type config struct {
	adapters []*link.Adapter // by index; [0] is nil
	addrs    *ifaddr.Set
	routes   *route.Table
	rules    *route.Rules // nil: all packets by routes
	hooks    *hook.Table
	dropTap  link.DropTap
	names    map[string][]netip.Addr

	transports []*TransportBinding
	set        Settings
	proxies    []proxy
	links      linkConf

	advice map[int32]ifaddr.Advice // of routers, by adapter; nil if there is none
}

// Settings are a host's tunables, under the names Linux's sysctls have.
type Settings struct {
	// Forward: packets for others are forwarded (net.ipv4.ip_forward and
	// net.ipv6.conf.all.forwarding).
	Forward bool
	// TTL of packets made here (net.ipv4.ip_default_ttl); 0 means 64.
	TTL uint8
	// ICMPRate is how many ICMP errors are sent a second at most, ICMPBurst
	// how many of them at once (net.ipv4.icmp_msgs_per_sec, icmp_msgs_burst);
	// 0 means 1000 and 50.
	ICMPRate, ICMPBurst int
	// ICMPRateLimit and ICMP6RateLimit are the least times between ICMP errors
	// to one destination, in milliseconds, beyond six at once
	// (net.ipv4.icmp_ratelimit, net.ipv6.icmp.ratelimit); 0 means 1000,
	// negative none.
	ICMPRateLimit, ICMP6RateLimit int
	// ICMPRateMask has a bit for each ICMP type that is limited
	// (net.ipv4.icmp_ratemask); 0 means 6168: unreachable but for
	// fragmentation needed, source quench, time exceeded, parameter problem.
	ICMPRateMask uint32
	// MultipathL4: forwarded flows are told apart by their ports too when they
	// are divided among the ways of a route
	// (net.ipv4.fib_multipath_hash_policy and the IPv6 twin).
	MultipathL4 bool
	// ICMPEchoBroadcasts: echo requests to broadcast addresses and IPv4 groups are
	// answered (net.ipv4.icmp_echo_ignore_broadcasts is 0).
	ICMPEchoBroadcasts bool
	// NoAcceptRA: routers' advertisements are not listened to, as they are by
	// hosts that do not forward (net.ipv6.conf.*.accept_ra).
	NoAcceptRA bool
	// NoAutoconf: adapters get no IPv6 link-local address and look for no
	// routers (net.ipv6.conf.*.addr_gen_mode and router_solicitations).
	NoAutoconf bool
	// DADTransmits is how many probes a new IPv6 address gets
	// (net.ipv6.conf.*.dad_transmits); 0 means 1, negative none. Addresses are
	// in use meanwhile (RFC 4429).
	DADTransmits int
	// ICMPEchoIgnoreAll: echo requests are not answered
	// (net.ipv4.icmp_echo_ignore_all).
	ICMPEchoIgnoreAll bool
	// Somaxconn bounds listeners' backlogs (net.core.somaxconn); 0 means 4096.
	Somaxconn int
	// SynBacklog bounds a listener's connections in the handshake; beyond it
	// the oldest gives way (net.ipv4.tcp_max_syn_backlog); 0 means 1024.
	SynBacklog int
	// TCPRcvBuf and TCPSndBuf are the initial buffers of a connection in
	// bytes, TCPRcvBufMax and TCPSndBufMax what they may grow to (the default
	// and max of net.ipv4.tcp_rmem and tcp_wmem); 0 means 256 KiB and 8 MiB.
	TCPRcvBuf, TCPRcvBufMax int
	TCPSndBuf, TCPSndBufMax int
	// TCPNoTimestamps, TCPNoWindowScaling and TCPNoSACK switch off what is
	// offered by default (net.ipv4.tcp_timestamps, tcp_window_scaling,
	// tcp_sack).
	TCPNoTimestamps, TCPNoWindowScaling, TCPNoSACK bool
	// NoSynCookies: a listener whose handshakes fill their queue lets the oldest
	// give way, instead of answering with cookies (net.ipv4.tcp_syncookies).
	NoSynCookies bool
	// TCPECN says whether explicit congestion notification is off, asked for, or
	// accepted; the zero value means accepted (net.ipv4.tcp_ecn).
	TCPECN tcp.ECNMode
	// TCPNoFRTO: a retransmission timeout is believed without a test for
	// being spurious (net.ipv4.tcp_frto is 0).
	TCPNoFRTO bool
	// TCPCongestion is the congestion control of new connections, one of
	// cc.Names (net.ipv4.tcp_congestion_control); empty means cubic.
	// TCPCongestionAllowed are those that a socket may ask for, with spaces
	// between (net.ipv4.tcp_allowed_congestion_control); empty means all.
	TCPCongestion, TCPCongestionAllowed string
	// How often a SYN, a SYN-ACK, data, and data of closed connections are sent
	// again before the connection is given up (net.ipv4.tcp_syn_retries,
	// tcp_synack_retries, tcp_retries2, tcp_orphan_retries); 0 means 6, 5, 15
	// and 8.
	TCPSynRetries, TCPSynAckRetries, TCPRetries2, TCPOrphanRetries int
	// TCPSynLinear is how many repetitions of a SYN come without backing off,
	// before those that TCPSynRetries counts (net.ipv4.tcp_syn_linear_timeouts).
	// Linux's default of 4 goes against RFC 6298 §5.5.
	TCPSynLinear int
	// TCPFinTimeout is for how many seconds a closed connection waits for the
	// peer's end (net.ipv4.tcp_fin_timeout); 0 means 60.
	TCPFinTimeout int
	// TCPAbortOnOverflow: who completes a handshake that a listener has no room
	// for is reset, instead of left to try again
	// (net.ipv4.tcp_abort_on_overflow).
	TCPAbortOnOverflow bool
	// TCPRFC1337 keeps a reset from ending TIME-WAIT (net.ipv4.tcp_rfc1337).
	TCPRFC1337 bool
	// TCP is what seldom differs of TCP, for the connections to come.
	TCP tcp.Tuning
	// TCPChallenges is how many challenges all connections send a second, more
	// or less (net.ipv4.tcp_challenge_ack_limit); 0 means any number.
	TCPChallenges int
	// TCPTimeWaitReuse says whose addresses in TIME-WAIT connecting may take,
	// one of TimeWaitReuseOn and its kin; 0 means the loopback's
	// (net.ipv4.tcp_tw_reuse).
	TCPTimeWaitReuse int
	// TCPNotSentLowat is from how many bytes on that have not been sent a Socket
	// is not ready for writing, unless it says otherwise; 0 means any number
	// (net.ipv4.tcp_notsent_lowat).
	TCPNotSentLowat int
	// NonlocalBind: Sockets may bind to addresses that the host does not have
	// (net.ipv4.ip_nonlocal_bind and the IPv6 twin).
	NonlocalBind bool
	// RcvBufMax and SndBufMax bound in bytes what programs may ask for buffers
	// (net.core.rmem_max, wmem_max); 0 means 208 KiB.
	RcvBufMax, SndBufMax int
	// TCPKeepIdle and TCPKeepInterval are after how many seconds of silence a
	// Socket that keeps connections alive asks, and again, and TCPKeepProbes how
	// often in vain (net.ipv4.tcp_keepalive_time, tcp_keepalive_intvl,
	// tcp_keepalive_probes); 0 means 7200, 75 and 9.
	TCPKeepIdle, TCPKeepInterval, TCPKeepProbes int
	// IGMPMaxMemberships is how many IPv4 groups a socket may join,
	// IGMPMaxSources and MLDMaxSources how many sources it may name for one
	// (net.ipv4.igmp_max_memberships, igmp_max_msf, net.ipv6.mld_max_msf); 0
	// means 20, 10 and 64.
	IGMPMaxMemberships, IGMPMaxSources, MLDMaxSources int
	// IGMPRobustness and MLDRobustness are how often news about groups are told
	// where no querier says it (net.ipv4.igmp_qrv, net.ipv6.mld_qrv); 0 means 2.
	IGMPRobustness, MLDRobustness int
	// IGMPLocalQuiet: groups of 224.0.0.0/24 are not told of
	// (net.ipv4.igmp_link_local_mcast_reports is 0).
	IGMPLocalQuiet bool
	// BindV6Only: IPv6 Sockets are for IPv6 only unless they say otherwise
	// (net.ipv6.bindv6only).
	BindV6Only bool
	// TCPFastOpen says who may open connections with data, in the bits
	// FastOpenClient and so on; 0 means FastOpenClient, negative none
	// (net.ipv4.tcp_fastopen).
	TCPFastOpen int
	// TCPFastOpenKeys are what listeners' cookies are made with; the second, if
	// there is one, is one used before, whose cookies are still good
	// (net.ipv4.tcp_fastopen_key); empty means one that is made up.
	TCPFastOpenKeys []FastOpenKey
	// UDPRcvBuf bounds a datagram socket's receive queue in bytes, packet
	// overhead included (net.core.rmem_default); 0 means 2 MiB.
	UDPRcvBuf int
	// MemoryMax is the host's budget for sockets and their queues in bytes
	// (net.ipv4.tcp_mem and udp_mem, together); 0 means 2 GiB.
	MemoryMax int64
	// TimeWaitMax bounds the connections remembered in TIME-WAIT
	// (net.ipv4.tcp_max_tw_buckets); 0 means 65536.
	TimeWaitMax int
	// PortMin and PortMax bound ephemeral ports
	// (net.ipv4.ip_local_port_range); 0 means 32768 and 60999.
	PortMin, PortMax uint16
}

// Whose addresses in TIME-WAIT connecting may take.
const (
	TimeWaitReuseOff      = -1
	TimeWaitReuseOn       = 1
	TimeWaitReuseLoopback = 2
)

func orDefault[T comparable](v *T, d T) {
	var zero T
	if *v == zero {
		*v = d
	}
}

func (s *Settings) fill() {
	orDefault(&s.TTL, 64)
	orDefault(&s.ICMPRate, 1000)
	orDefault(&s.ICMPBurst, 50)
	orDefault(&s.ICMPRateLimit, 1000)
	orDefault(&s.ICMP6RateLimit, 1000)
	orDefault(&s.ICMPRateMask, 6168)
	orDefault(&s.DADTransmits, 1)
	orDefault(&s.Somaxconn, 4096)
	orDefault(&s.SynBacklog, 1024)
	orDefault(&s.TCPRcvBuf, 256<<10)
	orDefault(&s.TCPSndBuf, 256<<10)
	orDefault(&s.TCPRcvBufMax, 8<<20)
	orDefault(&s.TCPSndBufMax, 8<<20)
	s.TCPRcvBufMax = max(s.TCPRcvBufMax, s.TCPRcvBuf)
	s.TCPSndBufMax = max(s.TCPSndBufMax, s.TCPSndBuf)
	orDefault(&s.TCPSynRetries, 6)
	orDefault(&s.TCPSynAckRetries, 5)
	orDefault(&s.TCPRetries2, 15)
	orDefault(&s.TCPOrphanRetries, 8)
	orDefault(&s.TCPFinTimeout, 60)
	orDefault(&s.TCPCongestion, cc.Default)
	orDefault(&s.TCPCongestionAllowed, strings.Join(cc.Names(), " "))
	orDefault(&s.TCPKeepIdle, 7200)
	orDefault(&s.TCPKeepInterval, 75)
	orDefault(&s.TCPKeepProbes, 9)
	orDefault(&s.IGMPMaxMemberships, 20)
	orDefault(&s.IGMPMaxSources, 10)
	orDefault(&s.MLDMaxSources, 64)
	orDefault(&s.IGMPRobustness, 2)
	orDefault(&s.MLDRobustness, 2)
	orDefault(&s.TCPFastOpen, FastOpenClient)
	s.TCP = s.TCP.Filled()
	orDefault(&s.TCPChallenges, math.MaxInt32)
	orDefault(&s.TCPTimeWaitReuse, TimeWaitReuseLoopback)
	orDefault(&s.RcvBufMax, 208<<10)
	orDefault(&s.SndBufMax, 208<<10)
	orDefault(&s.UDPRcvBuf, 2<<20)
	orDefault(&s.MemoryMax, 2<<30)
	orDefault(&s.TimeWaitMax, 65536)
	orDefault(&s.PortMin, 32768)
	orDefault(&s.PortMax, 60999)
	if s.PortMax < s.PortMin {
		s.PortMax = s.PortMin
	}
}

// checkCongestion looks for congestion controls that there are none of.
func (s *Settings) checkCongestion() error {
	for _, name := range append(strings.Fields(s.TCPCongestionAllowed), s.TCPCongestion) {
		if cc.New(name) == nil {
			return fmt.Errorf("congestion control %q: not known; write one of %s", name, strings.Join(cc.Names(), ", "))
		}
	}
	return nil
}

// congestion makes the controller that a socket asks for by its name. It fails
// with ENOENT if there is none, with EPERM if it is not allowed (Linux:
// TCP_CONGESTION).
func (s *Settings) congestion(name string) (cc.Controller, syscall.Errno) {
	ctl := cc.New(name)
	switch {
	case ctl == nil:
		return nil, syscall.ENOENT
	case !slices.Contains(strings.Fields(s.TCPCongestionAllowed), name):
		return nil, syscall.EPERM
	}
	return ctl, 0
}

// link lends what holds for an adapter of the host.
func (c *config) link(a *link.Adapter) *LinkSettings { return &c.links.inForce[a.Index()] }

// adapter finds an adapter by index; nil if there is none.
func (c *config) adapter(index int32) *link.Adapter {
	if index <= 0 || int(index) >= len(c.adapters) {
		return nil
	}
	return c.adapters[index]
}

// byName finds an adapter by name; nil if there is none.
func (c *config) byName(name string) *link.Adapter {
	for _, a := range c.adapters {
		if a != nil && a.Name() == name {
			return a
		}
	}
	return nil
}
