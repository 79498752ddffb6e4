package posix

import (
	"encoding/binary"
	"math"
	"slices"
	"syscall"
	"time"

	"github.com/towpath/towpath/host"
	"github.com/towpath/towpath/tcp"
)

// Levels and options, by Linux's numbers on amd64.
const (
	SOL_SOCKET   = 1
	IPPROTO_IP   = 0
	IPPROTO_TCP  = 6
	IPPROTO_UDP  = 17
	SOL_UDP      = IPPROTO_UDP
	IPPROTO_IPV6 = 41
	SOL_ICMPV6   = 58
	SOL_RAW      = 255

	SO_DEBUG           = 1
	SO_REUSEADDR       = 2
	SO_TYPE            = 3
	SO_ERROR           = 4
	SO_DONTROUTE       = 5
	SO_BROADCAST       = 6
	SO_SNDBUF          = 7
	SO_RCVBUF          = 8
	SO_KEEPALIVE       = 9
	SO_OOBINLINE       = 10
	SO_PRIORITY        = 12
	SO_LINGER          = 13
	SO_REUSEPORT       = 15
	SO_RCVLOWAT        = 18
	SO_SNDLOWAT        = 19
	SO_RCVTIMEO        = 20
	SO_SNDTIMEO        = 21
	SO_BINDTODEVICE    = 25
	SO_TIMESTAMP       = 29
	SO_ACCEPTCONN      = 30
	SO_SNDBUFFORCE     = 32
	SO_RCVBUFFORCE     = 33
	SO_TIMESTAMPNS     = 35
	SO_MARK            = 36
	SO_TIMESTAMPING    = 37
	SO_PROTOCOL        = 38
	SO_DOMAIN          = 39
	SO_BUSY_POLL       = 46
	SO_BINDTOIFINDEX   = 62
	SO_MAX_PACING_RATE = 47
	SO_INCOMING_CPU    = 49
	SO_MEMINFO         = 55
	SO_ZEROCOPY        = 60

	TCP_NODELAY            = 1
	TCP_MAXSEG             = 2
	TCP_CORK               = 3
	TCP_KEEPIDLE           = 4
	TCP_KEEPINTVL          = 5
	TCP_KEEPCNT            = 6
	TCP_SYNCNT             = 7
	TCP_LINGER2            = 8
	TCP_DEFER_ACCEPT       = 9
	TCP_WINDOW_CLAMP       = 10
	TCP_INFO               = 11
	TCP_QUICKACK           = 12
	TCP_CONGESTION         = 13
	TCP_MD5SIG             = 14
	TCP_USER_TIMEOUT       = 18
	TCP_FASTOPEN           = 23
	TCP_TIMESTAMP          = 24
	TCP_NOTSENT_LOWAT      = 25
	TCP_CC_INFO            = 26
	TCP_SAVE_SYN           = 27
	TCP_SAVED_SYN          = 28
	TCP_FASTOPEN_CONNECT   = 30
	TCP_MD5SIG_EXT         = 32
	TCP_FASTOPEN_KEY       = 33
	TCP_FASTOPEN_NO_COOKIE = 34
	TCP_INQ                = 36
	TCP_TX_DELAY           = 37

	IP_TOS                  = 1
	IP_TTL                  = 2
	IP_HDRINCL              = 3
	IP_PKTINFO              = 8
	IP_BIND_ADDRESS_NO_PORT = 24
	IP_ADD_MEMBERSHIP       = 35
	IP_DROP_MEMBERSHIP      = 36
	IP_MTU_DISCOVER         = 10
	IP_RECVERR              = 11
	IP_RECVTTL              = 12
	IP_RECVTOS              = 13
	IP_MTU                  = 14
	IP_FREEBIND             = 15
	IP_TRANSPARENT          = 19
	IP_MULTICAST_IF         = 32
	IP_MULTICAST_TTL        = 33
	IP_MULTICAST_LOOP       = 34

	IP_UNBLOCK_SOURCE         = 37
	IP_BLOCK_SOURCE           = 38
	IP_ADD_SOURCE_MEMBERSHIP  = 39
	IP_DROP_SOURCE_MEMBERSHIP = 40
	IP_MSFILTER               = 41
	IP_MULTICAST_ALL          = 49

	// Of IPv4 and IPv6 alike.
	MCAST_JOIN_GROUP         = 42
	MCAST_BLOCK_SOURCE       = 43
	MCAST_UNBLOCK_SOURCE     = 44
	MCAST_LEAVE_GROUP        = 45
	MCAST_JOIN_SOURCE_GROUP  = 46
	MCAST_LEAVE_SOURCE_GROUP = 47
	MCAST_MSFILTER           = 48

	IPV6_CHECKSUM       = 7
	IPV6_UNICAST_HOPS   = 16
	IPV6_MULTICAST_IF   = 17
	IPV6_MULTICAST_HOPS = 18
	IPV6_JOIN_GROUP     = 20
	IPV6_LEAVE_GROUP    = 21
	IPV6_MTU            = 24
	IPV6_MULTICAST_LOOP = 19
	IPV6_MTU_DISCOVER   = 23
	IPV6_RECVERR        = 25
	IPV6_V6ONLY         = 26
	IPV6_MULTICAST_ALL  = 29
	IPV6_RECVPKTINFO    = 49
	IPV6_PKTINFO        = 50
	IPV6_RECVHOPLIMIT   = 51
	IPV6_HOPLIMIT       = 52
	IPV6_RECVTCLASS     = 66
	IPV6_TCLASS         = 67
	IPV6_HDRINCL        = 36
	IPV6_TRANSPARENT    = 75
	IPV6_FREEBIND       = 78

	UDP_SEGMENT = 103
	UDP_GRO     = 104

	ICMP_FILTER   = 1
	ICMPV6_FILTER = 1
)

// An optName names an option by level and number.
type optName struct{ level, name int }

// kept are options that are read back as they were set, or as the value here
// before. Nothing follows from them yet.
var kept = map[optName]int32{
	{SOL_SOCKET, SO_DEBUG}: 0, {SOL_SOCKET, SO_DONTROUTE}: 0, {SOL_SOCKET, SO_PRIORITY}: 0, {SOL_SOCKET, SO_ZEROCOPY}: 0,
	{SOL_SOCKET, SO_BUSY_POLL}: 0, {SOL_SOCKET, SO_INCOMING_CPU}: -1,
	{IPPROTO_TCP, TCP_TIMESTAMP}: 0, {IPPROTO_TCP, TCP_TX_DELAY}: 0,
}

// wanted are options that ask for control messages.
var wanted = map[optName]bool{
	{IPPROTO_IP, IP_PKTINFO}: true, {IPPROTO_IP, IP_RECVTTL}: true, {IPPROTO_IP, IP_RECVTOS}: true,
	{IPPROTO_IPV6, IPV6_RECVPKTINFO}: true, {IPPROTO_IPV6, IPV6_RECVHOPLIMIT}: true, {IPPROTO_IPV6, IPV6_RECVTCLASS}: true,
}

// Least buffers, as Linux doubles them for its overhead.
const (
	rcvBufMin   = 2304
	sndBufMin   = 4608
	bufForceMax = 1 << 29 // of who may exceed the settings
)

func boolInt(b bool) int32 {
	if b {
		return 1
	}
	return 0
}

// SetSockOpt sets an option to the value in data.
func (p *Process) SetSockOpt(fd, level, name int, data []byte) syscall.Errno {
	f, e := p.socketOf(fd)
	if e != 0 {
		return e
	}
	n := optName{level, name}
	stream := f.sock.Type() == host.SockStream
	if level == IPPROTO_TCP && !stream {
		return syscall.ENOPROTOOPT
	}
	if level == IPPROTO_IPV6 && f.sock.Family() != AF_INET6 {
		return syscall.ENOPROTOOPT
	}
	if packet := f.sock.Family() == AF_PACKET; level == SOL_PACKET && packet {
		return f.setPacket(name, data)
	} else if packet && level != SOL_SOCKET {
		return syscall.ENOPROTOOPT
	}
	switch n {
	case optName{SOL_SOCKET, SO_LINGER}:
		if len(data) < 8 {
			return syscall.EINVAL
		}
		sec := int32(binary.LittleEndian.Uint32(data[4:]))
		if binary.LittleEndian.Uint32(data) == 0 {
			sec = -1
		}
		return f.set(func(o *host.SocketOptions) { o.Linger = int(sec) })
	case optName{SOL_SOCKET, SO_RCVTIMEO}, optName{SOL_SOCKET, SO_SNDTIMEO}:
		if len(data) < 16 {
			return syscall.EINVAL
		}
		sec, usec := int64(binary.LittleEndian.Uint64(data)), int64(binary.LittleEndian.Uint64(data[8:]))
		if usec < 0 || usec >= 1e6 {
			return syscall.EDOM
		}
		d := time.Duration(max(sec, 0))*time.Second + time.Duration(usec)*time.Microsecond
		f.mu.Lock()
		defer f.mu.Unlock()
		if name == SO_RCVTIMEO {
			f.rcvTimeo = d
		} else {
			f.sndTimeo = d
		}
		return 0
	case optName{SOL_SOCKET, SO_MAX_PACING_RATE}:
		rate := uint64(0)
		switch {
		case len(data) >= 8:
			rate = binary.LittleEndian.Uint64(data)
		case len(data) >= 4:
			if rate = uint64(binary.LittleEndian.Uint32(data)); rate == math.MaxUint32 {
				rate = math.MaxUint64
			}
		default:
			return syscall.EINVAL
		}
		if rate == math.MaxUint64 {
			rate = 0 // no bound
		}
		return f.set(func(o *host.SocketOptions) { o.MaxPacingRate = rate })
	case optName{SOL_SOCKET, SO_ATTACH_FILTER}:
		return p.attach(fd, data)
	case optName{IPPROTO_TCP, TCP_CONGESTION}:
		cc := string(data)
		for i, c := range data {
			if c == 0 {
				cc = cc[:i]
				break
			}
		}
		return f.set(func(o *host.SocketOptions) { o.Congestion = cc })
	case optName{IPPROTO_TCP, TCP_FASTOPEN_KEY}:
		return f.setFastOpenKeys(data)
	case optName{IPPROTO_TCP, TCP_MD5SIG}, optName{IPPROTO_TCP, TCP_MD5SIG_EXT}:
		return f.setMD5Key(data, name == TCP_MD5SIG_EXT)
	}
	for _, set := range []func(optName, []byte) (syscall.Errno, bool){f.setRaw, p.wayOf(f).set, p.wayOf(f).setGroup, f.setStamps} {
		if e, ok := set(n, data); ok {
			return e
		}
	}
	v, e := optInt(level, data)
	if e != 0 {
		return e
	}
	switch n {
	case optName{SOL_SOCKET, SO_TYPE}, optName{SOL_SOCKET, SO_ERROR}, optName{SOL_SOCKET, SO_PROTOCOL}, optName{SOL_SOCKET, SO_DOMAIN},
		optName{SOL_SOCKET, SO_ACCEPTCONN}, optName{SOL_SOCKET, SO_SNDLOWAT}, optName{IPPROTO_TCP, TCP_INFO}:
		return syscall.ENOPROTOOPT
	case optName{SOL_SOCKET, SO_DETACH_FILTER}:
		return f.sock.SetFilter(nil)
	case optName{SOL_SOCKET, SO_REUSEADDR}:
		return f.set(func(o *host.SocketOptions) { o.ReuseAddr = v != 0 })
	case optName{SOL_SOCKET, SO_REUSEPORT}:
		return f.set(func(o *host.SocketOptions) { o.ReusePort = v != 0 })
	case optName{SOL_SOCKET, SO_BROADCAST}:
		return f.set(func(o *host.SocketOptions) { o.Broadcast = v != 0 })
	case optName{SOL_SOCKET, SO_KEEPALIVE}:
		return f.set(func(o *host.SocketOptions) { o.KeepAlive = v != 0 })
	case optName{SOL_SOCKET, SO_RCVLOWAT}:
		return f.set(func(o *host.SocketOptions) {
			most := p.h.Settings().TCPRcvBufMax / 2
			if o.RcvLowat = min(int(v), most); v < 0 {
				o.RcvLowat = most
			} else if v == 0 {
				o.RcvLowat = 1
			}
		})
	case optName{SOL_SOCKET, SO_RCVBUF}, optName{SOL_SOCKET, SO_RCVBUFFORCE}:
		most := p.h.Settings().RcvBufMax
		if name == SO_RCVBUFFORCE {
			most = bufForceMax
		}
		size := clamp(2*int64(v), rcvBufMin, 2*int64(most))
		f.mu.Lock()
		f.inReq = size
		f.mu.Unlock()
		return f.set(func(o *host.SocketOptions) { o.RcvBuf = size / 2 })
	case optName{SOL_SOCKET, SO_SNDBUF}, optName{SOL_SOCKET, SO_SNDBUFFORCE}:
		most := p.h.Settings().SndBufMax
		if name == SO_SNDBUFFORCE {
			most = bufForceMax
		}
		size := clamp(2*int64(v), sndBufMin, 2*int64(most))
		f.mu.Lock()
		f.outReq = size
		f.mu.Unlock()
		return f.set(func(o *host.SocketOptions) { o.SndBuf = size / 2 })
	case optName{IPPROTO_TCP, TCP_NODELAY}:
		return f.set(func(o *host.SocketOptions) { o.NoDelay = v != 0 })
	case optName{IPPROTO_TCP, TCP_MAXSEG}:
		if v != 0 && (v < 88 || v > 32767) {
			return syscall.EINVAL
		}
		return f.set(func(o *host.SocketOptions) { o.MSS = int(v) })
	case optName{IPPROTO_TCP, TCP_KEEPIDLE}:
		if v < 1 || v > 32767 {
			return syscall.EINVAL
		}
		return f.set(func(o *host.SocketOptions) { o.KeepIdle = time.Duration(v) * time.Second })
	case optName{IPPROTO_TCP, TCP_KEEPINTVL}:
		if v < 1 || v > 32767 {
			return syscall.EINVAL
		}
		return f.set(func(o *host.SocketOptions) { o.KeepIntv = time.Duration(v) * time.Second })
	case optName{IPPROTO_TCP, TCP_KEEPCNT}:
		if v < 1 || v > 127 {
			return syscall.EINVAL
		}
		return f.set(func(o *host.SocketOptions) { o.KeepCount = int(v) })
	case optName{IPPROTO_TCP, TCP_SYNCNT}:
		if v < 1 || v > 127 {
			return syscall.EINVAL
		}
		return f.set(func(o *host.SocketOptions) { o.SynCount = int(v) })
	case optName{SOL_SOCKET, SO_OOBINLINE}:
		return f.set(func(o *host.SocketOptions) { o.OOBInline = v != 0 })
	case optName{IPPROTO_TCP, TCP_CORK}:
		return f.set(func(o *host.SocketOptions) { o.Cork = v != 0 })
	case optName{IPPROTO_TCP, TCP_QUICKACK}:
		f.mu.Lock()
		f.slow = v == 0
		f.mu.Unlock()
		return f.sock.QuickAck(v != 0)
	case optName{IPPROTO_TCP, TCP_USER_TIMEOUT}:
		if v < 0 {
			return syscall.EINVAL
		}
		return f.set(func(o *host.SocketOptions) { o.UserTimeout = time.Duration(v) * time.Millisecond })
	case optName{IPPROTO_TCP, TCP_WINDOW_CLAMP}:
		if v < 0 {
			return syscall.EINVAL
		}
		return f.set(func(o *host.SocketOptions) { o.WindowClamp = int(v) })
	case optName{IPPROTO_TCP, TCP_LINGER2}:
		return f.set(func(o *host.SocketOptions) {
			switch {
			case v < 0:
				o.FinWait2 = -1
			case v > 120:
				o.FinWait2 = 0
			default:
				o.FinWait2 = time.Duration(v) * time.Second
			}
		})
	case optName{IPPROTO_TCP, TCP_DEFER_ACCEPT}:
		return f.set(func(o *host.SocketOptions) { o.DeferAccept = deferTimeouts(v) })
	case optName{IPPROTO_TCP, TCP_SAVE_SYN}:
		if v < 0 || v > 1 {
			return syscall.EINVAL
		}
		return f.set(func(o *host.SocketOptions) { o.SaveSYN = v != 0 })
	case optName{IPPROTO_TCP, TCP_INQ}:
		if v < 0 || v > 1 {
			return syscall.EINVAL
		}
		f.want(n, v != 0)
		return 0
	case optName{IPPROTO_TCP, TCP_FASTOPEN}, optName{IPPROTO_TCP, TCP_FASTOPEN_CONNECT}, optName{IPPROTO_TCP, TCP_FASTOPEN_NO_COOKIE}:
		return p.setFastOpen(f, name, v)
	case optName{IPPROTO_TCP, TCP_NOTSENT_LOWAT}:
		return f.set(func(o *host.SocketOptions) { o.NotSentLowat = int(uint32(v)) })
	case optName{IPPROTO_IP, IP_TOS}, optName{IPPROTO_IPV6, IPV6_TCLASS}:
		if v < -1 || v > 255 {
			if level == IPPROTO_IPV6 {
				return syscall.EINVAL
			}
		}
		return f.set(func(o *host.SocketOptions) { o.TOS = uint8(max(v, 0)) })
	case optName{IPPROTO_IP, IP_TTL}, optName{IPPROTO_IPV6, IPV6_UNICAST_HOPS}:
		if v != -1 && (v < 0 || v > 255 || v == 0 && level == IPPROTO_IP) {
			return syscall.EINVAL
		}
		return f.set(func(o *host.SocketOptions) { o.TTL = uint8(max(v, 0)) })
	case optName{IPPROTO_IP, IP_MULTICAST_LOOP}, optName{IPPROTO_IPV6, IPV6_MULTICAST_LOOP}:
		return f.set(func(o *host.SocketOptions) { o.NoMulticastLoop = v == 0 })
	case optName{IPPROTO_IP, IP_RECVERR}:
		return f.set(func(o *host.SocketOptions) { o.RecvErr = v != 0 })
	case optName{IPPROTO_IPV6, IPV6_RECVERR}:
		return f.set(func(o *host.SocketOptions) { o.RecvErr6 = v != 0 })
	case optName{IPPROTO_IPV6, IPV6_V6ONLY}:
		if a, _ := f.sock.LocalName(); a.Port() != 0 {
			return syscall.EINVAL
		}
		return f.set(func(o *host.SocketOptions) { o.V6Only = v != 0 })
	}
	if wanted[n] {
		f.want(n, v != 0)
		return 0
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if _, ok := kept[n]; ok {
		if f.kept == nil {
			f.kept = make(map[optName][]byte)
		}
		f.kept[n] = binary.LittleEndian.AppendUint32(nil, uint32(v))
		return 0
	}
	return syscall.ENOPROTOOPT
}

// want notes whether a socket wants control messages.
func (f *file) want(n optName, on bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.recv == nil {
		f.recv = make(map[optName]bool)
	}
	f.recv[n] = on
}

// optInt is the value of an option that is an int; IP's may be a byte.
func optInt(level int, data []byte) (int32, syscall.Errno) {
	switch {
	case len(data) >= 4:
		return int32(binary.LittleEndian.Uint32(data)), 0
	case len(data) >= 1 && level == IPPROTO_IP:
		return int32(data[0]), 0
	}
	return 0, syscall.EINVAL
}

func clamp(v, low, high int64) int {
	if v < 0 { // of an int that was too large
		v = high
	}
	return int(min(max(v, low), high))
}

func (f *file) set(change func(o *host.SocketOptions)) syscall.Errno {
	return f.sock.SetOptions(func(o *host.SocketOptions) syscall.Errno {
		change(o)
		return 0
	})
}

// GetSockOpt returns an option's value, at most size bytes of it.
func (p *Process) GetSockOpt(fd, level, name, size int) ([]byte, syscall.Errno) {
	f, e := p.socketOf(fd)
	if e != 0 {
		return nil, e
	}
	if size < 0 {
		return nil, syscall.EINVAL
	}
	b, e := p.getOption(f, optName{level, name}, size)
	if e != 0 {
		return nil, e
	}
	if level == IPPROTO_IP && len(b) == 4 && size > 0 && size < 4 {
		return b[:1], 0 // as Linux, for old programs
	}
	return b[:min(len(b), size)], 0
}

// orUnbounded is a rate in Linux's words, where none is the largest number.
func orUnbounded(rate uint64) uint64 {
	if rate == 0 {
		return math.MaxUint64
	}
	return rate
}

func (p *Process) getOption(f *file, n optName, size int) ([]byte, syscall.Errno) {
	stream := f.sock.Type() == host.SockStream
	// Linux asks one family's options after the other, and they differ in what
	// they say.
	if n.level == IPPROTO_TCP && !stream {
		if f.sock.Family() == AF_INET6 {
			return nil, syscall.ENOPROTOOPT
		}
		return nil, syscall.EOPNOTSUPP
	}
	if n.level == IPPROTO_IPV6 && f.sock.Family() != AF_INET6 {
		return nil, syscall.EOPNOTSUPP
	}
	for _, get := range []func(optName) ([]byte, syscall.Errno, bool){f.getRaw, p.wayOf(f).get, f.getStamps} {
		if b, e, ok := get(n); ok {
			return b, e
		}
	}
	if packet := f.sock.Family() == AF_PACKET; n.level == SOL_PACKET && packet {
		return f.getPacket(n.name)
	} else if packet && n.level != SOL_SOCKET {
		return nil, syscall.ENOPROTOOPT
	}
	o := f.sock.Options()
	num := func(v int32) ([]byte, syscall.Errno) { return binary.LittleEndian.AppendUint32(nil, uint32(v)), 0 }
	flag := func(v bool) ([]byte, syscall.Errno) { return num(boolInt(v)) }
	f.mu.Lock()
	defer f.mu.Unlock()
	switch n {
	case optName{SOL_SOCKET, SO_TYPE}:
		return num(int32(f.sock.Type()))
	case optName{SOL_SOCKET, SO_DOMAIN}:
		return num(int32(f.sock.Family()))
	case optName{SOL_SOCKET, SO_PROTOCOL}:
		return num(int32(f.sock.Protocol()))
	case optName{SOL_SOCKET, SO_ERROR}:
		pending, e := f.sock.Error()
		if e != 0 {
			return nil, e
		}
		return num(int32(pending))
	case optName{SOL_SOCKET, SO_ACCEPTCONN}:
		return flag(f.sock.Listening())
	case optName{SOL_SOCKET, SO_REUSEADDR}:
		return flag(o.ReuseAddr)
	case optName{SOL_SOCKET, SO_REUSEPORT}:
		return flag(o.ReusePort)
	case optName{SOL_SOCKET, SO_BROADCAST}:
		return flag(o.Broadcast)
	case optName{SOL_SOCKET, SO_KEEPALIVE}:
		return flag(o.KeepAlive)
	case optName{SOL_SOCKET, SO_RCVLOWAT}:
		return num(int32(o.RcvLowat))
	case optName{SOL_SOCKET, SO_SNDLOWAT}:
		return num(1)
	case optName{SOL_SOCKET, SO_RCVBUF}:
		if f.inReq != 0 {
			return num(int32(f.inReq))
		}
		if stream {
			return num(131072)
		}
		return num(212992)
	case optName{SOL_SOCKET, SO_SNDBUF}:
		switch {
		case f.outReq != 0:
			return num(int32(f.outReq))
		case stream:
			return num(16384)
		}
		return num(212992)
	case optName{SOL_SOCKET, SO_LINGER}:
		b := make([]byte, 8)
		if o.Linger >= 0 {
			b[0] = 1
			binary.LittleEndian.PutUint32(b[4:], uint32(o.Linger))
		}
		return b, 0
	case optName{SOL_SOCKET, SO_RCVTIMEO}:
		return timeval(f.rcvTimeo), 0
	case optName{SOL_SOCKET, SO_SNDTIMEO}:
		return timeval(f.sndTimeo), 0
	case optName{SOL_SOCKET, SO_MEMINFO}:
		return make([]byte, 36), 0
	case optName{SOL_SOCKET, SO_MAX_PACING_RATE}:
		rate := orUnbounded(o.MaxPacingRate)
		if size < 8 {
			return num(int32(uint32(min(rate, math.MaxUint32))))
		}
		return binary.LittleEndian.AppendUint64(nil, rate), 0
	case optName{IPPROTO_TCP, TCP_NODELAY}:
		return flag(o.NoDelay)
	case optName{IPPROTO_TCP, TCP_MAXSEG}:
		i, _ := f.sock.Info()
		switch {
		case i.SndMSS != 0:
			return num(int32(i.SndMSS))
		case o.MSS != 0:
			return num(int32(o.MSS))
		}
		return num(536)
	case optName{IPPROTO_TCP, TCP_KEEPIDLE}:
		return num(int32(o.KeepIdle / time.Second))
	case optName{IPPROTO_TCP, TCP_KEEPINTVL}:
		return num(int32(o.KeepIntv / time.Second))
	case optName{IPPROTO_TCP, TCP_KEEPCNT}:
		return num(int32(o.KeepCount))
	case optName{IPPROTO_TCP, TCP_SYNCNT}:
		if o.SynCount == 0 {
			return num(6)
		}
		return num(int32(o.SynCount))
	case optName{SOL_SOCKET, SO_OOBINLINE}:
		return flag(o.OOBInline)
	case optName{IPPROTO_TCP, TCP_CORK}:
		return flag(o.Cork)
	case optName{IPPROTO_TCP, TCP_QUICKACK}:
		return flag(!f.slow)
	case optName{IPPROTO_TCP, TCP_USER_TIMEOUT}:
		return num(int32(o.UserTimeout / time.Millisecond))
	case optName{IPPROTO_TCP, TCP_WINDOW_CLAMP}:
		return num(int32(o.WindowClamp))
	case optName{IPPROTO_TCP, TCP_NOTSENT_LOWAT}:
		return num(int32(o.NotSentLowat))
	case optName{IPPROTO_TCP, TCP_LINGER2}:
		switch {
		case o.FinWait2 < 0:
			return num(-1)
		case o.FinWait2 == 0:
			return num(int32(p.h.Settings().TCPFinTimeout))
		}
		return num(int32(o.FinWait2 / time.Second))
	case optName{IPPROTO_TCP, TCP_CONGESTION}:
		i, _ := f.sock.Info()
		name := i.Congestion
		if name == "" {
			if name = o.Congestion; name == "" {
				name = p.h.Settings().TCPCongestion
			}
		}
		b := make([]byte, 16)
		copy(b, name)
		return b, 0
	case optName{IPPROTO_TCP, TCP_INFO}:
		i, e := f.sock.Info()
		if e != 0 {
			return nil, e
		}
		return tcpInfo(&i, p.h.Clock().Now()), 0
	case optName{IPPROTO_TCP, TCP_FASTOPEN}:
		return num(int32(o.FastOpen))
	case optName{IPPROTO_TCP, TCP_FASTOPEN_CONNECT}:
		return flag(o.FastOpenConnect)
	case optName{IPPROTO_TCP, TCP_FASTOPEN_NO_COOKIE}:
		return flag(o.FastOpenNoCookie)
	case optName{IPPROTO_TCP, TCP_FASTOPEN_KEY}:
		return p.fastOpenKeys(&o), 0
	case optName{IPPROTO_TCP, TCP_DEFER_ACCEPT}:
		return num(deferSeconds(o.DeferAccept))
	case optName{IPPROTO_TCP, TCP_SAVE_SYN}:
		return flag(o.SaveSYN)
	case optName{IPPROTO_TCP, TCP_INQ}:
		return flag(f.recv[n])
	case optName{IPPROTO_TCP, TCP_SAVED_SYN}:
		b, n, e := f.sock.SavedSYN(size)
		if e == 0 && n > size {
			e = syscall.EINVAL
		}
		return b, e
	case optName{IPPROTO_TCP, TCP_CC_INFO}:
		return nil, 0
	case optName{IPPROTO_IP, IP_TOS}:
		return num(int32(o.TOS))
	case optName{IPPROTO_IPV6, IPV6_TCLASS}:
		return num(int32(o.TOS))
	case optName{IPPROTO_IP, IP_TTL}, optName{IPPROTO_IPV6, IPV6_UNICAST_HOPS}:
		if o.TTL == 0 {
			return num(64)
		}
		return num(int32(o.TTL))
	case optName{IPPROTO_IP, IP_MULTICAST_LOOP}, optName{IPPROTO_IPV6, IPV6_MULTICAST_LOOP}:
		return flag(!o.NoMulticastLoop)
	case optName{IPPROTO_IPV6, IPV6_V6ONLY}:
		return flag(o.V6Only)
	case optName{IPPROTO_IP, IP_RECVERR}:
		return flag(o.RecvErr)
	case optName{IPPROTO_IPV6, IPV6_RECVERR}:
		return flag(o.RecvErr6)
	}
	if wanted[n] {
		return flag(f.recv[n])
	}
	if b := f.kept[n]; b != nil {
		return slices.Clone(b), 0
	}
	if v, ok := kept[n]; ok {
		return num(v)
	}
	return nil, syscall.ENOPROTOOPT
}

func timeval(d time.Duration) []byte {
	b := binary.LittleEndian.AppendUint64(nil, uint64(d/time.Second))
	return binary.LittleEndian.AppendUint64(b, uint64(d%time.Second/time.Microsecond))
}

// tcpStates are Linux's numbers of the states.
var tcpStates = map[tcp.State]uint8{
	tcp.StateEstablished: 1, tcp.StateSynSent: 2, tcp.StateSynReceived: 3, tcp.StateFinWait1: 4, tcp.StateFinWait2: 5,
	tcp.StateTimeWait: 6, tcp.StateClosed: 7, tcp.StateCloseWait: 8, tcp.StateLastAck: 9, tcp.StateListen: 10, tcp.StateClosing: 11,
}

// tcpInfo is struct tcp_info of an Info at the instant now.
func tcpInfo(i *tcp.Info, now time.Duration) []byte {
	b := make([]byte, 280)
	le := binary.LittleEndian
	b[0] = tcpStates[i.State]
	if i.State == tcp.StateTimeWait {
		b[0] = tcpStates[tcp.StateClosed] // what waits is no longer the socket's
	}
	switch {
	case i.Loss:
		b[1] = 4
	case i.Recovery:
		b[1] = 3
	case i.Reduced:
		b[1] = 2
	case i.Disorder:
		b[1] = 1
	}
	b[2], b[4] = i.Retransmits, i.Backoff
	if i.Timestamps {
		b[5] |= 1
	}
	if i.SACK {
		b[5] |= 2
	}
	if i.WindowScale {
		b[5] |= 4
	}
	if i.ECN {
		b[5] |= 8
	}
	if i.SynData {
		b[5] |= 32
	}
	b[6] = i.SndWScale&15 | i.RcvWScale<<4
	if i.AppLimited {
		b[7] |= 1
	}
	us := func(d time.Duration) uint32 { return uint32(d / time.Microsecond) }
	ago := func(at time.Duration) uint32 { return uint32(max(now-at, 0) / time.Millisecond) }
	segs := func(bytes int) uint32 {
		if i.SndMSS == 0 {
			return 0
		}
		return uint32((bytes + i.SndMSS - 1) / i.SndMSS)
	}
	put := func(at int, v uint32) { le.PutUint32(b[at:], v) }
	put(8, us(i.RTO))
	put(12, us(i.ATO))
	put(16, uint32(i.SndMSS))
	put(20, uint32(i.RcvMSS))
	put(24, segs(i.Unacked))
	put(28, segs(i.Sacked))
	put(32, segs(i.Lost))
	put(44, ago(i.LastDataSent))
	put(52, ago(i.LastDataRcvd))
	put(56, ago(i.LastRcvd))
	put(60, uint32(i.AdvMSS+40))
	put(64, uint32(i.RcvBuf))
	put(68, us(i.RTT))
	put(72, us(i.RTTVar))
	put(76, segs(min(i.Ssthresh, math.MaxInt32)))
	put(80, segs(i.Cwnd))
	put(84, uint32(i.AdvMSS))
	put(88, uint32(i.Reordering))
	put(96, uint32(i.RcvBuf))
	put(100, uint32(i.Retrans))
	le.PutUint64(b[104:], orUnbounded(i.PacingRate))
	le.PutUint64(b[112:], orUnbounded(i.PacingMax))
	le.PutUint64(b[120:], i.BytesAcked)
	le.PutUint64(b[128:], i.BytesIn)
	put(136, uint32(i.SegsOut))
	put(140, uint32(i.SegsIn))
	put(144, uint32(i.NotSent))
	put(148, us(i.MinRTT))
	put(152, uint32(i.DataSegsIn))
	put(156, uint32(i.DataSegsOut))
	le.PutUint64(b[160:], i.DeliveryRate)
	put(196, uint32(i.AckedMarked))
	le.PutUint64(b[200:], i.BytesOut)
	le.PutUint64(b[208:], i.BytesRetrans)
	put(216, uint32(i.DSACKs))
	put(220, uint32(i.Reorders))
	put(224, uint32(i.OutOfOrderIn))
	put(228, uint32(i.SndWnd))
	put(232, uint32(i.RcvWnd))
	return b
}
