package host

import (
	"net/netip"
	"syscall"
	"time"

	"github.com/towpath/towpath/tcp"
	"github.com/towpath/towpath/tcp/cc"
)

// sockOptions are what is set before there is something to set it on.
type sockOptions struct {
	V6Only             bool
	ReuseAddr          bool
	ReusePort          bool
	Broadcast          bool
	NoDelay            bool
	KeepAlive          bool
	KeepIdle, KeepIntv time.Duration
	KeepCount          int
	RcvBuf, SndBuf     int // 0: the host's, growing
	RcvLowat           int
	Linger             int // seconds; negative: off
	MSS                int
	TTL, TOS           uint8
	NoMulticastLoop    bool
	// Datagrams come only to groups that the socket itself has joined (IP_MULTICAST_ALL,
	// IPV6_MULTICAST_ALL are 0).
	NoMulticastAll, NoMulticastAll6 bool
	RecvErr, RecvErr6               bool // keep errors about datagrams (IP_RECVERR, IPV6_RECVERR)

	// The way that packets take.
	Device        int32       // the only adapter by which they leave and come, by index (SO_BINDTODEVICE); 0: any
	Mark          uint32      // of what is sent, for rules (SO_MARK)
	MulticastIf   int32       // adapter by which groups are reached (IP_MULTICAST_IF, IPV6_MULTICAST_IF); 0: by route
	MulticastFrom netip.Addr  // source of what is sent to groups, if valid
	MulticastTTL  uint8       // of datagrams to groups (IP_MULTICAST_TTL, IPV6_MULTICAST_HOPS)
	MTUDiscover   MTUDiscover // of datagrams by IPv4 (IP_MTU_DISCOVER)
	MTUDiscover6  MTUDiscover // by IPv6
	FreeBind      bool        // Bind takes addresses that the host does not have (IP_FREEBIND)
	Transparent   bool        // the same (IP_TRANSPARENT)
	NoPort        bool        // Bind to port 0 leaves the port to Connect (IP_BIND_ADDRESS_NO_PORT)

	// Of UDP.
	SegmentSize int  // bytes of the datagrams that a large one is sent as (UDP_SEGMENT); 0: one
	Coalesce    bool // datagrams of a size from one peer are received together (UDP_GRO)
	Timestamps  bool // the instant of arrival is kept (SO_TIMESTAMP)

	// Of raw sockets.
	HeaderIncluded bool      // what is sent begins with its IP header (IP_HDRINCL, IPV6_HDRINCL)
	ChecksumAt     int       // IPv6: where a checksum is to be filled in and verified; negative: nowhere (IPV6_CHECKSUM)
	ICMPBlocked    [8]uint32 // ICMP types that are not received, a bit each (ICMP_FILTER, ICMP6_FILTER)

	Congestion       string // one of cc.Names; empty: the host's
	SynCount         int
	Cork             bool
	OOBInline        bool
	UserTimeout      time.Duration // 0: none
	WindowClamp      int           // bytes; 0: none
	MaxPacingRate    uint64        // bytes per second; 0: none
	FinWait2         time.Duration // 0: the host's; negative: none
	NotSentLowat     int           // bytes; 0: none
	FastOpen         int           // a listener's connections with early data; 0: none
	FastOpenConnect  bool          // connecting waits for the first write, if that can go with the SYN
	FastOpenNoCookie bool
	FastOpenKeys     []FastOpenKey // of a listener; none: the host's
	MD5Keys          []MD5Key      // as SetMD5Key has made them
	DeferAccept      int           // timeouts of the SYN-ACK for which a listener waits for data (TCP_DEFER_ACCEPT)
	SaveSYN          bool          // a listener's connections keep their SYN's headers (TCP_SAVE_SYN)
}

// defaultOptions are those of a new socket.
var defaultOptions = sockOptions{
	Linger: -1, RcvLowat: 1, ChecksumAt: noChecksum, MulticastTTL: 1, MTUDiscover: MTUWant, MTUDiscover6: MTUWant,
}

// MTUDiscover says whether datagrams may be fragmented, by Linux's numbers.
type MTUDiscover uint8

const (
	MTUDont      MTUDiscover = iota // fragmented here and by routers
	MTUWant                         // fragmented here, if they must be
	MTUDo                           // never; too large ones fail with EMSGSIZE
	MTUProbe                        // never, and the path's MTU is not heeded, only the link's
	MTUInterface                    // by routers, and not by what ICMP says
	MTUOmit                         // here and by routers, and not by what ICMP says
)

// SocketOptions are the options of a [Socket] that have an effect. Sizes are in
// bytes.
type SocketOptions = sockOptions

// Options returns the options.
func (s *Socket) Options() (o SocketOptions) {
	s.ln.lock()
	defer s.ln.unlock(nil)
	return s.opt
}

// SetOptions changes the options and puts those that have changed into effect.
func (s *Socket) SetOptions(change func(o *SocketOptions) syscall.Errno) syscall.Errno {
	return s.hold(func(ln *lane) syscall.Errno {
		was := s.opt
		e := change(&s.opt)
		if e == 0 && s.opt.Congestion != was.Congestion {
			_, e = ln.conf.set.congestion(s.opt.Congestion)
		}
		if e != 0 {
			s.opt = was
			return e
		}
		s.apply(ln, &was)
		return 0
	})
}

// apply puts changed options into effect.
func (s *Socket) apply(ln *lane, was *sockOptions) {
	o := &s.opt
	if s.bind.port != 0 {
		s.bind.reuseAddr, s.bind.reusePort, s.bind.device = o.ReuseAddr, o.ReusePort, o.Device
	}
	if s.listen != nil {
		s.listen.binding.device, s.listen.fast.max = o.Device, o.FastOpen
	}
	if s.pkt != nil && o.RcvBuf != was.RcvBuf && o.RcvBuf > 0 {
		s.pkt.limit = o.RcvBuf
	}
	if u := s.udp; u != nil {
		u.binding.reuseAddr, u.binding.reusePort, u.binding.device = o.ReuseAddr, o.ReusePort, o.Device
		if o.Device != was.Device || o.Mark != was.Mark || o.TOS != was.TOS || o.MulticastIf != was.MulticastIf || o.MulticastFrom != was.MulticastFrom {
			u.way.conf = nil
		}
		u.bcast, u.noLoop, u.ttl, u.tos = o.Broadcast, o.NoMulticastLoop, o.TTL, o.TOS
		if u.raw != nil {
			u.applyRaw(o)
		}
		if o.Broadcast != was.Broadcast {
			u.to, u.way.conf = netip.Addr{}, nil
		}
		if !o.RecvErr && was.RecvErr || !o.RecvErr6 && was.RecvErr6 {
			u.mu.Lock()
			u.forgetErrors()
			u.mu.Unlock()
		}
		if o.RcvBuf != was.RcvBuf && o.RcvBuf > 0 {
			u.mu.Lock()
			u.limit = o.RcvBuf
			u.mu.Unlock()
		}
		return
	}
	c := s.conn
	if c == nil {
		return
	}
	c.linger, c.ttl, c.tos, c.entry.shares = o.Linger, o.TTL, o.TOS, o.ReuseAddr
	if c.device, c.mark = o.Device, o.Mark; o.Device != was.Device || o.Mark != was.Mark {
		c.way.conf = nil
	}
	if o.NoDelay != was.NoDelay {
		c.conn.SetNoDelay(o.NoDelay)
	}
	if o.RcvBuf != was.RcvBuf && o.RcvBuf > 0 {
		c.conn.SetRcvBuf(o.RcvBuf)
	}
	if o.SndBuf != was.SndBuf && o.SndBuf > 0 {
		c.conn.SetSndBuf(o.SndBuf)
	}
	if o.KeepAlive != was.KeepAlive || o.KeepAlive &&
		(o.KeepIdle != was.KeepIdle || o.KeepIntv != was.KeepIntv || o.KeepCount != was.KeepCount) {
		idle := o.KeepIdle
		if !o.KeepAlive {
			idle = 0
		}
		c.conn.SetKeepAlive(ln.now, idle, o.KeepIntv, o.KeepCount)
	}
	if o.Cork != was.Cork {
		c.conn.SetCork(o.Cork)
	}
	if o.Congestion != was.Congestion {
		c.conn.SetController(ln.now, cc.New(o.Congestion))
	}
	c.opts(o)
	c.touchIf(ln)
}

// opts puts those options into effect that a connection takes at any time.
func (c *tcpSocket) opts(o *sockOptions) {
	c.conn.SetOOBInline(o.OOBInline)
	c.conn.SetUserTimeout(o.UserTimeout)
	c.conn.SetWindowClamp(o.WindowClamp)
	c.conn.SetMaxPacingRate(c.lane.now, o.MaxPacingRate)
	if o.FinWait2 != 0 {
		c.conn.SetFinWait2(o.FinWait2)
	}
}

// configure puts the options into a connection's configuration.
func (o *sockOptions) configure(cfg *tcp.Config) {
	cfg.NoDelay = o.NoDelay
	if o.RcvBuf > 0 {
		cfg.RcvBuf, cfg.RcvBufMax = o.RcvBuf, o.RcvBuf
	}
	if o.SndBuf > 0 {
		cfg.SndBuf, cfg.SndBufMax = o.SndBuf, o.SndBuf
	}
	if o.MSS > 0 {
		cfg.MSS = min(cfg.MSS, o.MSS)
	}
	if o.SynCount > 0 {
		cfg.SynRetries = o.SynCount
	}
	if o.Congestion != "" {
		cfg.Congestion = o.Congestion
	}
}
