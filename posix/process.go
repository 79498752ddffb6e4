package posix

import (
	"net/netip"
	"sync"
	"syscall"
	"time"

	"github.com/towpath/towpath/clock"
	"github.com/towpath/towpath/host"
	"github.com/towpath/towpath/socket"
)

// Numbers of Linux on amd64.
const (
	AF_UNSPEC = 0
	AF_INET   = 2
	AF_INET6  = 10

	SOCK_STREAM    = 1
	SOCK_DGRAM     = 2
	SOCK_RAW       = 3
	SOCK_TYPE_MASK = 0xf
	SOCK_NONBLOCK  = 0x800
	SOCK_CLOEXEC   = 0x80000

	MSG_OOB       = 0x1
	MSG_PEEK      = 0x2
	MSG_CTRUNC    = 0x8
	MSG_TRUNC     = 0x20
	MSG_DONTWAIT  = 0x40
	MSG_EOR       = 0x80
	MSG_WAITALL   = 0x100
	MSG_ERRQUEUE  = 0x2000
	MSG_NOSIGNAL  = 0x4000
	MSG_MORE      = 0x8000
	MSG_FASTOPEN  = 0x20000000
	F_DUPFD       = 0
	F_GETFD       = 1
	F_SETFD       = 2
	F_GETFL       = 3
	F_SETFL       = 4
	O_RDWR        = 2
	O_NONBLOCK    = 0x800
	FD_CLOEXEC    = 1
	SIOCINQ       = 0x541b
	SIOCOUTQ      = 0x5411
	SIOCOUTQNSD   = 0x894b
	SIOCATMARK    = 0x8905
	descriptorMax = 1 << 20
)

// A Process is a table of descriptors of one host's sockets. Its methods may be
// called at the same time.
type Process struct {
	h   *host.Host
	mu  sync.Mutex
	fds map[int]*file
}

// A file is what a descriptor stands for: a socket or an epoll instance.
type file struct {
	sock  *host.Socket
	epoll *epoll

	mu       sync.Mutex // guards what follows
	nonblock bool
	cloexec  bool
	rcvTimeo time.Duration // 0: none
	sndTimeo time.Duration
	inReq    int // what SO_RCVBUF was set to, doubled
	outReq   int
	slow     bool               // TCP_QUICKACK was set to 0
	recv     map[optName]bool   // control messages that are wanted
	stamps   stampKind          // of the time of arrival
	stamping int32              // the flags of SO_TIMESTAMPING
	kept     map[optName][]byte // options that are only remembered
}

// New returns an empty table.
func New(h *host.Host) *Process { return &Process{h: h, fds: make(map[int]*file)} }

// Close closes all descriptors.
func (p *Process) CloseAll() {
	p.mu.Lock()
	fds := p.fds
	p.fds = make(map[int]*file)
	p.mu.Unlock()
	for _, f := range fds {
		f.close()
	}
}

func (f *file) close() {
	if f.epoll != nil {
		f.epoll.close()
		return
	}
	f.sock.Close()
}

// get finds a descriptor.
func (p *Process) get(fd int) (*file, syscall.Errno) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f := p.fds[fd]
	if f == nil {
		return nil, syscall.EBADF
	}
	return f, 0
}

// socketOf finds a socket.
func (p *Process) socketOf(fd int) (*file, syscall.Errno) {
	f, e := p.get(fd)
	if e == 0 && f.sock == nil {
		return nil, syscall.ENOTSOCK
	}
	return f, e
}

// HostSocket is the socket behind a descriptor, for those who wait in ways of
// their own.
func (p *Process) HostSocket(fd int) (*host.Socket, syscall.Errno) {
	f, e := p.socketOf(fd)
	if e != 0 {
		return nil, e
	}
	return f.sock, 0
}

// add gives f the descriptor fd, or the lowest free one if fd is negative.
func (p *Process) add(fd int, f *file) (int, syscall.Errno) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if fd >= descriptorMax {
		return -1, syscall.EMFILE
	}
	if fd < 0 {
		for fd = 3; p.fds[fd] != nil; fd++ {
		}
	} else if p.fds[fd] != nil {
		return -1, syscall.EBUSY
	}
	p.fds[fd] = f
	return fd, 0
}

// Socket makes a socket. Its descriptor is want, or the lowest free one if want
// is negative.
func (p *Process) Socket(want, domain, typ, proto int) (int, syscall.Errno) {
	if typ&^(SOCK_TYPE_MASK|SOCK_NONBLOCK|SOCK_CLOEXEC) != 0 {
		return -1, syscall.EINVAL
	}
	if domain == AF_PACKET {
		proto = networkOrder(proto)
	}
	s, e := p.h.Socket(domain, host.SockType(typ&SOCK_TYPE_MASK), proto)
	if e != 0 {
		return -1, e
	}
	fd, e := p.add(want, newFile(s, typ))
	if e != 0 {
		s.Close()
	}
	return fd, e
}

func newFile(s *host.Socket, flags int) *file {
	return &file{sock: s, nonblock: flags&SOCK_NONBLOCK != 0, cloexec: flags&SOCK_CLOEXEC != 0}
}

// Close closes a descriptor. A stream that lingers (SO_LINGER) is waited for.
func (p *Process) Close(fd int) syscall.Errno {
	p.mu.Lock()
	f := p.fds[fd]
	delete(p.fds, fd)
	for _, o := range p.fds {
		if o.epoll != nil {
			o.epoll.forget(fd, f)
		}
	}
	p.mu.Unlock()
	if f == nil {
		return syscall.EBADF
	}
	if f.sock != nil {
		if l := f.sock.Options().Linger; l > 0 && !f.isNonblock() {
			f.sock.Close()
			p.linger(f, time.Duration(l)*time.Second)
			return 0
		}
	}
	f.close()
	return 0
}

// linger waits until a closed connection has delivered everything.
func (p *Process) linger(f *file, d time.Duration) {
	w := p.newWait(d)
	defer w.end()
	f.sock.Watch(&w.watch)
	defer f.sock.Unwatch(&w.watch)
	for f.sock.Lingering() && w.sleep() {
	}
}

func (f *file) isNonblock() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.nonblock
}

// A wait is a call that sleeps until something happens or its time is over.
type wait struct {
	clock    clock.Clock
	watch    socket.Watch
	deadline time.Duration // clock.Never: none
	timer    clock.Timer
}

// newWait begins a wait of at most d; negative: for ever.
func (p *Process) newWait(d time.Duration) *wait {
	w := &wait{clock: p.h.Clock(), deadline: clock.Never}
	w.watch.C = make(chan struct{}, 1)
	if d >= 0 {
		w.deadline = w.clock.Now() + d
		w.timer = w.clock.AfterFunc(d, func() {
			select {
			case w.watch.C <- struct{}{}:
			default:
			}
		})
	}
	return w
}

// sleep waits for news, and reports false if the time is over.
func (w *wait) sleep() bool {
	if w.clock.Now() >= w.deadline {
		return false
	}
	<-w.watch.C
	return true
}

func (w *wait) end() {
	if w.timer != nil {
		w.timer.Stop()
	}
}

// retry calls try until it says something else than EAGAIN, the time is over,
// or the call may not wait.
func (p *Process) retry(f *file, dontWait bool, timeout time.Duration, try func() syscall.Errno) syscall.Errno {
	e := try()
	if e != syscall.EAGAIN || dontWait || f.isNonblock() {
		return e
	}
	if timeout == 0 {
		timeout = -1
	}
	w := p.newWait(timeout)
	defer w.end()
	f.sock.Watch(&w.watch)
	defer f.sock.Unwatch(&w.watch)
	for {
		if e := try(); e != syscall.EAGAIN {
			return e
		}
		if !w.sleep() {
			return try()
		}
	}
}

// An Addr is a socket address: a family, for AF_INET and AF_INET6 an address and
// a port, for AF_PACKET what stands in a struct sockaddr_ll.
type Addr struct {
	Family int
	netip.AddrPort
	Link host.LinkAddr
}

// AddrOf is the address of an AddrPort.
func AddrOf(a netip.AddrPort) Addr {
	switch {
	case !a.IsValid():
		return Addr{}
	case a.Addr().Is4():
		return Addr{Family: AF_INET, AddrPort: a}
	}
	return Addr{Family: AF_INET6, AddrPort: a}
}

// check looks at the family of an address for a socket.
func (a *Addr) check(s *host.Socket) syscall.Errno {
	if a.Family != s.Family() {
		return syscall.EAFNOSUPPORT
	}
	if a.Family == AF_INET6 && a.Addr().Is4() {
		return syscall.EINVAL
	}
	return 0
}

// Bind gives a socket an address.
func (p *Process) Bind(fd int, a Addr) syscall.Errno {
	f, e := p.socketOf(fd)
	if e != 0 {
		return e
	}
	if f.sock.Family() == AF_PACKET {
		if a.Family != AF_PACKET {
			return syscall.EINVAL
		}
		return f.sock.BindLink(a.Link)
	}
	if a.Family == AF_UNSPEC && f.sock.Family() == AF_INET && a.Addr().IsValid() && a.Addr().IsUnspecified() {
		a.Family = AF_INET // as Linux, for old programs
	}
	if e := a.check(f.sock); e != 0 {
		return e
	}
	return f.sock.Bind(a.AddrPort)
}

// Listen makes a socket a listener.
func (p *Process) Listen(fd, backlog int) syscall.Errno {
	f, e := p.socketOf(fd)
	if e != 0 {
		return e
	}
	return f.sock.Listen(backlog)
}

// Accept takes a connection; its descriptor is want, or the lowest free one if
// want is negative. flags are SOCK_NONBLOCK and SOCK_CLOEXEC.
func (p *Process) Accept(fd, want, flags int) (int, Addr, syscall.Errno) {
	f, e := p.socketOf(fd)
	if e != 0 {
		return -1, Addr{}, e
	}
	if flags&^(SOCK_NONBLOCK|SOCK_CLOEXEC) != 0 {
		return -1, Addr{}, syscall.EINVAL
	}
	var s *host.Socket
	e = p.retry(f, false, f.rcvTimeo, func() (e syscall.Errno) {
		s, e = f.sock.Accept()
		return e
	})
	if e != 0 {
		return -1, Addr{}, e
	}
	peer, _ := s.PeerName()
	child := newFile(s, flags)
	if f.wantsInq() {
		child.want(optName{IPPROTO_TCP, TCP_INQ}, true)
	}
	n, e := p.add(want, child)
	if e != 0 {
		s.Close()
		return -1, Addr{}, e
	}
	return n, AddrOf(peer), 0
}

// Connect connects a socket, or with AF_UNSPEC ends its connection.
func (p *Process) Connect(fd int, a Addr) syscall.Errno {
	f, e := p.socketOf(fd)
	if e != 0 {
		return e
	}
	if a.Family == AF_UNSPEC {
		return f.sock.Disconnect()
	}
	if f.sock.Family() == AF_PACKET {
		return syscall.EOPNOTSUPP
	}
	if e := a.check(f.sock); e != 0 {
		return e
	}
	e = f.sock.Connect(a.AddrPort)
	if e != syscall.EINPROGRESS && e != syscall.EALREADY || f.isNonblock() {
		return e
	}
	return p.awaitConnect(f, a)
}

// awaitConnect waits until a socket that connects has done so.
func (p *Process) awaitConnect(f *file, a Addr) syscall.Errno {
	timeout := f.sndTimeo
	if timeout == 0 {
		timeout = -1
	}
	w := p.newWait(timeout)
	defer w.end()
	f.sock.Watch(&w.watch)
	defer f.sock.Unwatch(&w.watch)
	for {
		if e := f.sock.Connect(a.AddrPort); e != syscall.EALREADY {
			return e
		}
		if !w.sleep() {
			return syscall.EINPROGRESS
		}
	}
}

// Shutdown ends a direction of a connection.
func (p *Process) Shutdown(fd, how int) syscall.Errno {
	f, e := p.socketOf(fd)
	if e != 0 {
		return e
	}
	return f.sock.Shutdown(how)
}

// GetSockName is the local address.
func (p *Process) GetSockName(fd int) (Addr, syscall.Errno) {
	if f, e := p.socketOf(fd); e == 0 && f.sock.Family() == AF_PACKET {
		x, e := f.sock.LinkName()
		return AddrOfLink(x), e
	}
	return p.name(fd, (*host.Socket).LocalName)
}

// GetPeerName is the peer's address.
func (p *Process) GetPeerName(fd int) (Addr, syscall.Errno) {
	return p.name(fd, (*host.Socket).PeerName)
}

func (p *Process) name(fd int, of func(*host.Socket) (netip.AddrPort, syscall.Errno)) (Addr, syscall.Errno) {
	f, e := p.socketOf(fd)
	if e != 0 {
		return Addr{}, e
	}
	a, e := of(f.sock)
	if e != 0 {
		return Addr{}, e
	}
	return Addr{Family: f.sock.Family(), AddrPort: a}, 0
}

// A Cmsg is a control message.
type Cmsg struct {
	Level, Type int
	Data        []byte
}

// A Msg is a message that is received.
type Msg struct {
	Data  []byte // lent by the caller
	N     int    // returned by the call
	Flags int    // MSG_TRUNC, MSG_OOB, MSG_ERRQUEUE
	From  Addr   // of datagrams
	Ctl   []Cmsg
}

// Recv receives a message into b.
func (p *Process) Recv(fd int, b []byte, flags int) (m Msg, e syscall.Errno) {
	f, e := p.socketOf(fd)
	if e != 0 {
		return m, e
	}
	m.Data = b
	switch {
	case flags&MSG_OOB != 0:
		c, e := f.sock.RecvUrgent(flags&MSG_PEEK != 0)
		if e == 0 && len(b) > 0 {
			b[0], m.N = c, 1
		}
		m.Flags |= MSG_OOB
		return m, e
	case flags&MSG_ERRQUEUE != 0:
		q, e := f.sock.RecvError()
		if e != 0 {
			return m, e
		}
		if m.N = copy(b, q.Payload); m.N < len(q.Payload) {
			m.Flags |= MSG_TRUNC
		}
		m.Flags |= MSG_ERRQUEUE
		m.From = Addr{Family: f.sock.Family(), AddrPort: q.Peer}
		m.Ctl = []Cmsg{errorCmsg(&q, f.sock.Family())}
		return m, 0
	}
	if f.sock.Family() == AF_PACKET {
		return p.recvFrame(f, b, flags)
	}
	stream := f.sock.Type() == host.SockStream
	hostFlags := flags & (MSG_PEEK | MSG_TRUNC)
	got := 0
	e = p.retry(f, flags&MSG_DONTWAIT != 0, f.rcvTimeo, func() syscall.Errno {
		n, info, e := f.sock.Recv(b[got:], hostFlags)
		if e == syscall.EAGAIN && !stream && !f.isNonblock() && flags&MSG_DONTWAIT == 0 && f.sock.Ready()&socket.EventRdHup != 0 {
			return 0 // nothing will come any more
		}
		if e != 0 {
			return e
		}
		if stream {
			for got += n; flags&(MSG_WAITALL|MSG_PEEK) == MSG_WAITALL && n > 0 && got < len(b); got += n {
				if n, _, e = f.sock.Recv(b[got:], hostFlags); e != 0 { // unless the end is there
					return e
				}
			}
			return 0
		}
		got = n
		if n > len(b) {
			m.Flags |= MSG_TRUNC
			if flags&MSG_TRUNC == 0 {
				got = len(b)
			}
		}
		m.From = Addr{Family: f.sock.Family(), AddrPort: info.Peer}
		m.Ctl = f.control(&info)
		return 0
	})
	if got > 0 && stream {
		e = 0 // what has come is given, whatever came then
	}
	if e == 0 && stream {
		m.Ctl = f.inq()
	}
	m.N = got
	return m, e
}

// Send sends a message, to an address if that has a family.
func (p *Process) Send(fd int, b []byte, flags int, to Addr, ctl []Cmsg) (int, syscall.Errno) {
	f, e := p.socketOf(fd)
	if e != 0 {
		return -1, e
	}
	switch {
	case f.sock.Family() == AF_PACKET:
		return f.sendFrame(b, flags, to)
	case f.sock.Type() != host.SockStream:
		return p.sendDatagram(f, b, flags, to, ctl)
	}
	if flags&MSG_FASTOPEN != 0 {
		return p.sendFastOpen(f, b, flags, to)
	}
	n, e := p.sendStream(f, b, flags)
	if e == syscall.EINPROGRESS { // connecting was put off until now
		return p.sendFastOpen(f, b, flags, to)
	}
	return n, e
}

func (p *Process) sendStream(f *file, b []byte, flags int) (int, syscall.Errno) {
	sent := 0
	e := p.retry(f, flags&MSG_DONTWAIT != 0, f.sndTimeo, func() syscall.Errno {
		for {
			n, e := f.sendSome(b[sent:], flags)
			if e != 0 {
				return e
			}
			if sent += n; sent == len(b) {
				return 0
			}
		}
	})
	if sent > 0 {
		return sent, 0
	}
	if e != 0 {
		return -1, e
	}
	return 0, 0
}

// sendSome sends some of b on a stream. Of urgent data the last byte goes by
// itself.
func (f *file) sendSome(b []byte, flags int) (int, syscall.Errno) {
	more := flags & host.MsgMore
	if flags&MSG_OOB != 0 && len(b) > 0 {
		if len(b) == 1 {
			return 1, f.sock.SendUrgent(b[0])
		}
		b, more = b[:len(b)-1], host.MsgMore
	}
	return f.sock.Send(b, more, netip.AddrPort{}, nil)
}

func (p *Process) sendDatagram(f *file, b []byte, flags int, to Addr, ctl []Cmsg) (int, syscall.Errno) {
	if flags&MSG_OOB != 0 {
		return -1, syscall.EOPNOTSUPP
	}
	var dest netip.AddrPort
	if to.Family != AF_UNSPEC {
		if f.sock.Family() == AF_INET6 && to.Family == AF_INET { // Linux sends such
			to = Addr{Family: AF_INET6, AddrPort: netip.AddrPortFrom(netip.AddrFrom16(to.Addr().As16()), to.Port())}
		}
		if e := to.check(f.sock); e != 0 {
			return -1, e
		}
		dest = to.AddrPort
	}
	info, e := sendInfo(ctl)
	if e != 0 {
		return -1, e
	}
	n, e := f.sock.Send(b, 0, dest, info)
	if e != 0 {
		return -1, e
	}
	return n, 0
}

// Fcntl is fcntl for descriptor and status flags.
func (p *Process) Fcntl(fd, cmd, arg int) (int, syscall.Errno) {
	f, e := p.get(fd)
	if e != 0 {
		return -1, e
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	switch cmd {
	case F_GETFD:
		if f.cloexec {
			return FD_CLOEXEC, 0
		}
		return 0, 0
	case F_SETFD:
		f.cloexec = arg&FD_CLOEXEC != 0
		return 0, 0
	case F_GETFL:
		if f.nonblock {
			return O_RDWR | O_NONBLOCK, 0
		}
		return O_RDWR, 0
	case F_SETFL:
		f.nonblock = arg&O_NONBLOCK != 0
		return 0, 0
	}
	return -1, syscall.EINVAL
}

// Ioctl asks a socket how many bytes wait.
func (p *Process) Ioctl(fd, req int) (int, syscall.Errno) {
	f, e := p.socketOf(fd)
	if e != 0 {
		return -1, e
	}
	unread, unsent, unacked, e := f.sock.Queued()
	if e != 0 {
		return -1, e
	}
	switch req {
	case SIOCINQ:
		return unread, 0
	case SIOCOUTQ:
		return unacked, 0
	case SIOCOUTQNSD:
		return unsent, 0
	case SIOCATMARK:
		at, e := f.sock.AtMark()
		return int(boolInt(at)), e
	}
	return -1, syscall.ENOTTY
}

// PollFD is a descriptor to be polled and what is wanted of it; Revents is what
// it is ready for.
type PollFD struct {
	FD      int
	Events  socket.Events
	Revents socket.Events
}

// EventNval is told of a descriptor that is not open (POLLNVAL).
const EventNval socket.Events = 0x20

const (
	readNormal  = 0x040 // POLLRDNORM
	writeNormal = 0x100 // POLLWRNORM
)

// normal adds the events that mean the same.
func normal(ev socket.Events) socket.Events {
	if ev&socket.EventIn != 0 {
		ev |= readNormal
	}
	if ev&socket.EventOut != 0 {
		ev |= writeNormal
	}
	return ev
}

// Poll waits until one of the descriptors is ready, for at most timeout;
// negative: for ever. It returns how many are.
func (p *Process) Poll(fds []PollFD, timeout time.Duration) (int, syscall.Errno) {
	w := p.newWait(timeout)
	defer w.end()
	watches := make([]socket.Watch, len(fds))
	files := make([]*file, len(fds))
	for i := range fds {
		if fds[i].FD < 0 {
			continue
		}
		if files[i], _ = p.get(fds[i].FD); files[i] != nil {
			watches[i].C = w.watch.C
			files[i].watch(&watches[i])
			defer files[i].unwatch(&watches[i])
		}
	}
	for {
		n := 0
		for i := range fds {
			q := &fds[i]
			q.Revents = 0
			switch {
			case q.FD < 0:
			case files[i] == nil:
				q.Revents = EventNval
			default:
				q.Revents = normal(files[i].ready()) & (q.Events | socket.EventErr | socket.EventHup)
			}
			if q.Revents != 0 {
				n++
			}
		}
		if n > 0 || timeout == 0 || !w.sleep() {
			return n, 0
		}
	}
}

func (f *file) ready() socket.Events {
	if f.epoll != nil {
		return f.epoll.ready()
	}
	return f.sock.Ready()
}

func (f *file) watch(w *socket.Watch) {
	if f.sock != nil {
		f.sock.Watch(w)
	}
}

func (f *file) unwatch(w *socket.Watch) {
	if f.sock != nil {
		f.sock.Unwatch(w)
	}
}
