//go:build amd64 || arm64

package run

import (
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/towpath/towpath/posix"
	"github.com/towpath/towpath/posix/rtnl"
)

const (
	sockaddrNl = 12 // bytes of a struct sockaddr_nl
	// repliesMax bounds the bytes that wait for a program that does not read.
	repliesMax = 1 << 20
	// requestMax bounds a program's datagram.
	requestMax = 32 << 10
)

// A netlink is a routing socket of the programs. Its far end is one of a pair of
// unix sockets that keep packets apart; what lies in the pair has come from
// the kernel, as far as the program sees.
type netlink struct {
	srv   *server
	near  *near
	typ   int
	proto int
	gone  chan struct{} // closed with it
	reply chan struct{} // a token: replies wait

	mu      sync.Mutex
	port    uint32 // 0: not bound yet
	groups  uint32
	replies [][]byte // not in the pair yet
	waiting int      // bytes of them
	arrival chan struct{}
}

// openNetlink answers socket(AF_NETLINK, …). Sockets that are not about networks
// are the system's.
func (c *call) openNetlink(typ, proto int) {
	switch proto {
	case unix.NETLINK_KOBJECT_UEVENT, unix.NETLINK_AUDIT, unix.NETLINK_CONNECTOR, unix.NETLINK_SELINUX:
		c.pass()
		return
	case unix.NETLINK_ROUTE, unix.NETLINK_SOCK_DIAG:
	default:
		c.fail(syscall.EPROTONOSUPPORT)
		return
	}
	kind := typ & posix.SOCK_TYPE_MASK
	if kind != posix.SOCK_RAW && kind != posix.SOCK_DGRAM {
		c.fail(syscall.ESOCKTNOSUPPORT)
		return
	}
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		c.fail(errnoOf(err))
		return
	}
	defer unix.Close(fds[1])
	if typ&posix.SOCK_NONBLOCK == 0 {
		unix.SetNonblock(fds[1], false)
	}
	near, err := newNear(fds[0])
	if err != nil {
		c.fail(errnoOf(err))
		return
	}
	n := &netlink{
		srv: c.server, near: near, typ: kind, proto: proto,
		gone: make(chan struct{}), reply: make(chan struct{}, 1), arrival: make(chan struct{}),
	}
	cookie, err := cookieOf(fds[1])
	if err != nil {
		near.Close()
		c.fail(errnoOf(err))
		return
	}
	c.mu.Lock()
	c.netlinks[cookie] = n
	c.mu.Unlock()
	c.spawn(func() { n.requests(cookie) })
	c.spawn(n.deliver)
	if err := c.l.ReturnFD(c.ID, fds[1], typ&posix.SOCK_CLOEXEC != 0); err != nil {
		c.fail(errnoOf(err)) // requests sees that nobody has the far end
	}
}

// requests answers what the program writes without our help, until it has closed
// the socket.
func (n *netlink) requests(cookie uint64) {
	b := make([]byte, requestMax)
	for {
		got := 0
		var err error
		e := n.near.raw.Read(func(fd uintptr) bool {
			got, _, err = unix.Recvfrom(int(fd), b, unix.MSG_DONTWAIT)
			return err != unix.EAGAIN && err != unix.EINTR
		})
		if e != nil || err != nil || got == 0 && n.near.hungUp() {
			break
		}
		n.answer(b[:got])
	}
	n.srv.mu.Lock()
	delete(n.srv.netlinks, cookie)
	n.srv.mu.Unlock()
	close(n.gone)
	n.near.Close()
}

// answer puts the answers to a request into the pair, or behind those that wait.
func (n *netlink) answer(b []byte) {
	port := n.bind(0)
	answer := rtnl.Answer
	if n.proto == unix.NETLINK_SOCK_DIAG {
		answer = rtnl.AnswerDiag
	}
	replies := answer(n.srv.host, b, port)
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, r := range replies {
		if n.waiting+len(r) > repliesMax {
			break // as the kernel drops what does not fit the buffer
		}
		if len(n.replies) == 0 && n.push(r) {
			continue
		}
		n.replies, n.waiting = append(n.replies, r), n.waiting+len(r)
	}
	if len(n.replies) > 0 {
		select {
		case n.reply <- struct{}{}:
		default:
		}
	}
	n.announceLocked()
}

// push reports whether the pair took a reply.
func (n *netlink) push(r []byte) (ok bool) {
	n.near.raw.Control(func(fd uintptr) {
		ok = unix.Sendmsg(int(fd), r, nil, nil, unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL) == nil
	})
	return ok
}

// announceLocked wakes the calls that wait for something to arrive.
func (n *netlink) announceLocked() {
	close(n.arrival)
	n.arrival = make(chan struct{})
}

// deliver puts the answers that wait into the pair when there is room.
func (n *netlink) deliver() {
	for {
		select {
		case <-n.reply:
		case <-n.gone:
			return
		}
		for {
			n.mu.Lock()
			if len(n.replies) == 0 {
				n.mu.Unlock()
				break
			}
			r := n.replies[0]
			n.mu.Unlock()
			var err error
			e := n.near.raw.Write(func(fd uintptr) bool {
				err = unix.Sendmsg(int(fd), r, nil, nil, unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL)
				return err != unix.EAGAIN
			})
			if e != nil || err != nil {
				return
			}
			n.mu.Lock()
			n.replies, n.waiting = n.replies[1:], n.waiting-len(r)
			n.announceLocked()
			n.mu.Unlock()
		}
	}
}

// bind gives the socket a port number, if it has none; 0 lets us choose.
func (n *netlink) bind(port uint32) uint32 {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.port == 0 {
		if n.port = port; port == 0 {
			n.port = 1<<31 | uint32(n.srv.nextConn()) // no process has it
		}
	}
	return n.port
}

// sockaddr writes a struct sockaddr_nl.
func (n *netlink) sockaddr(port, groups uint32) []byte {
	b := native.AppendUint16(nil, unix.AF_NETLINK)
	b = native.AppendUint32(append(b, 0, 0), port)
	return native.AppendUint32(b, groups)
}

// netlinkCall answers a call on a routing socket.
func (c *call) netlinkCall(n *netlink, far int) {
	a := &c.Args
	switch c.Nr {
	case unix.SYS_BIND, unix.SYS_CONNECT:
		b, e := c.rawAddr(a[1], a[2])
		switch {
		case e != 0:
		case len(b) < sockaddrNl || native.Uint16(b) != unix.AF_NETLINK:
			e = syscall.EINVAL
		case c.Nr == unix.SYS_CONNECT:
			n.bind(0)
			if native.Uint32(b[4:]) != 0 { // only the kernel is there
				e = syscall.ECONNREFUSED
			}
		default:
			if port := native.Uint32(b[4:]); n.bind(port) != port && port != 0 {
				e = syscall.EINVAL
			}
			n.mu.Lock()
			n.groups = native.Uint32(b[8:])
			n.mu.Unlock()
		}
		c.fail(e)
	case unix.SYS_GETSOCKNAME:
		n.mu.Lock()
		b := n.sockaddr(n.port, n.groups)
		n.mu.Unlock()
		c.fail(c.writeAddr(a[1], a[2], b))
	case unix.SYS_GETPEERNAME:
		c.fail(c.writeAddr(a[1], a[2], n.sockaddr(0, 0)))
	case unix.SYS_GETSOCKOPT:
		c.netlinkOption(n)
	case unix.SYS_SETSOCKOPT:
		if int32(a[1]) == unix.SOL_NETLINK {
			c.fail(0) // they concern what is never sent, or is what we do
			return
		}
		c.pass()
	case unix.SYS_SENDTO, unix.SYS_SENDMSG:
		m := &message{name: a[4], nameLen: uint64(uint32(a[5])), parts: []part{{a[1], a[2]}}}
		var e syscall.Errno
		if c.Nr == unix.SYS_SENDMSG {
			if m, e = c.readHeader(a[1]); e != 0 {
				c.fail(e)
				return
			}
		}
		size, e := c.netlinkSend(n, m)
		c.l.Return(c.ID, int64(size), e)
	case unix.SYS_RECVFROM:
		c.netlinkReceive(n, far, &message{name: a[4], nameLen: a[5], parts: []part{{a[1], a[2]}}}, int(int32(a[3])))
	case unix.SYS_RECVMSG:
		m, e := c.readHeader(a[1])
		if e != 0 {
			c.fail(e)
			return
		}
		c.netlinkReceive(n, far, m, int(int32(a[2])))
	default:
		c.fail(syscall.EOPNOTSUPP)
	}
}

func (c *call) netlinkOption(n *netlink) {
	if int32(c.Args[1]) != unix.SOL_SOCKET {
		c.fail(syscall.ENOPROTOOPT)
		return
	}
	v := 0
	switch c.Args[2] {
	case unix.SO_TYPE:
		v = n.typ
	case unix.SO_DOMAIN:
		v = unix.AF_NETLINK
	case unix.SO_PROTOCOL:
		v = n.proto
	default:
		c.pass()
		return
	}
	size, e := c.readInt(c.Args[4])
	if e == 0 && size < 0 {
		e = syscall.EINVAL
	}
	if e == 0 {
		b := native.AppendUint32(nil, uint32(v))
		b = b[:min(len(b), int(size))]
		e = c.writeTwo(c.Args[3], b, c.Args[4], native.AppendUint32(nil, uint32(len(b))))
	}
	c.fail(e)
}

// netlinkSend answers what a program sends.
func (c *call) netlinkSend(n *netlink, m *message) (int, syscall.Errno) {
	if m.name != 0 && m.nameLen != 0 {
		b, e := c.rawAddr(m.name, m.nameLen)
		switch {
		case e != 0:
			return 0, e
		case len(b) < sockaddrNl || native.Uint16(b) != unix.AF_NETLINK:
			return 0, syscall.EINVAL
		case native.Uint32(b[4:]) != 0:
			return 0, syscall.ECONNREFUSED
		}
	}
	b := make([]byte, 0, 4096)
	for _, p := range m.parts {
		if p.len > requestMax || len(b)+int(p.len) > requestMax {
			return 0, syscall.EMSGSIZE
		}
		at := len(b)
		b = append(b, make([]byte, p.len)...)
		if e := c.read(p.base, b[at:]); e != 0 {
			return 0, e
		}
	}
	n.answer(b)
	return len(b), 0
}

// netlinkReceive receives a datagram, and waits for it.
func (c *call) netlinkReceive(n *netlink, far int, m *message, flags int) {
	n.mu.Lock()
	arrival := n.arrival
	n.mu.Unlock()
	try := func(far int) bool {
		size, e := c.netlinkReceiveOne(n, far, m, flags)
		if e == syscall.EAGAIN {
			return false
		}
		c.l.Return(c.ID, int64(size), e)
		return true
	}
	if try(far) {
		return
	}
	if flags&posix.MSG_DONTWAIT != 0 || nonblocking(far) {
		c.fail(syscall.EAGAIN)
		return
	}
	d := timeout(far, unix.SO_RCVTIMEO)
	c.wait(func() {
		for {
			switch c.sleep(n.gone, arrival, d) {
			case expired:
				c.fail(syscall.EAGAIN)
				return
			case ended:
				c.fail(syscall.EBADF)
				return
			case stale:
				return
			}
			again, err := c.l.GetFD(int(c.PID), int(int32(c.Args[0])))
			if err != nil {
				c.fail(syscall.EBADF)
				return
			}
			n.mu.Lock()
			arrival = n.arrival
			n.mu.Unlock()
			done := try(again)
			unix.Close(again)
			if done {
				return
			}
		}
	})
}

func (c *call) netlinkReceiveOne(n *netlink, far int, m *message, flags int) (int, syscall.Errno) {
	b := chunks.Get().(*[chunkSize]byte)
	defer chunks.Put(b)
	room := m.room()
	// The length is that of the whole datagram if it is asked for.
	size, _, got, _, err := unix.Recvmsg(far, b[:room], nil, flags&(posix.MSG_PEEK|posix.MSG_TRUNC)|unix.MSG_DONTWAIT)
	if err != nil {
		if err == unix.EINTR {
			err = unix.EAGAIN
		}
		return 0, errnoOf(err)
	}
	if e := c.scatter(m, b[:min(uint64(size), room)]); e != 0 {
		return 0, e
	}
	from := n.sockaddr(0, 0)
	if m.header == 0 {
		return size, c.writeAddr(m.name, m.nameLen, from)
	}
	return size, c.finish(m, from, nil, got&unix.MSG_TRUNC)
}

// interfaces answers ioctl's requests about interfaces, on any socket. It
// reports false for others.
func (c *call) interfaces() bool {
	at := c.Args[2]
	switch c.Args[1] {
	case rtnl.SIOCGIFCONF:
		c.fail(c.interfaceList(at))
		return true
	case rtnl.SIOCADDRT, rtnl.SIOCDELRT:
		c.fail(c.changeRoute(at))
		return true
	}
	ifr := make([]byte, rtnl.IfreqLen)
	if c.read(at, ifr) != 0 {
		return false
	}
	e := rtnl.Ioctl(c.host, int(c.Args[1]), ifr)
	if e == syscall.ENOTTY {
		return false
	}
	if e == 0 {
		e = c.write(at, ifr)
	}
	c.fail(e)
	return true
}

// changeRoute does what a struct rtentry asks for.
func (c *call) changeRoute(at uint64) syscall.Errno {
	rt := make([]byte, rtnl.RtentryLen)
	if e := c.read(at, rt); e != 0 {
		return e
	}
	dev := ""
	if p := native.Uint64(rt[rtnl.RtentryDev:]); p != 0 {
		b, ok := c.readPath(p)
		if !ok {
			return syscall.EFAULT
		}
		dev = string(b)
	}
	return rtnl.ChangeRoute(c.host, int(c.Args[1]), rt, dev)
}

// interfaceList fills in a struct ifconf.
func (c *call) interfaceList(at uint64) syscall.Errno {
	var conf [16]byte
	if e := c.read(at, conf[:]); e != 0 {
		return e
	}
	room, to := int32(native.Uint32(conf[:])), native.Uint64(conf[8:])
	list := rtnl.Conf(c.host)
	if to != 0 {
		if room < 0 {
			return syscall.EINVAL
		}
		list = list[:min(len(list), int(room)/rtnl.IfreqLen*rtnl.IfreqLen)]
		if e := c.write(to, list); e != 0 {
			return e
		}
	}
	return c.writeInt(at, int32(len(list)))
}
