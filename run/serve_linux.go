//go:build amd64 || arm64

package run

import (
	"crypto/rand"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/towpath/towpath/host"
	"github.com/towpath/towpath/internal/unotify"
	"github.com/towpath/towpath/posix"
)

const (
	sweepEvery = 250 * time.Millisecond // between looks for datagram sockets that were closed
	validEvery = time.Second            // between looks whether a waiting call is still wanted
	drainMax   = 2 * time.Second        // for the last bytes of programs that have ended
	overMax    = 1024                   // sockets that are over and still asked about
)

// A server answers the calls of one tree of processes.
type server struct {
	host  *host.Host
	p     *posix.Process
	l     *unotify.Listener
	id    string         // in the names of its datagram senders
	work  sync.WaitGroup // pumps and calls that wait
	jobs  chan func()    // for goroutines that have nothing to do
	idle  atomic.Int32   // of them
	probe int            // a unix datagram socket that asks who is there
	warn  func(text string)
	hides sync.Once     // of the warning about processes that hide
	over  chan struct{} // closed when the tree has ended
	quit  chan struct{} // closed when pumps are to give up

	mu       sync.Mutex
	socks    map[uint64]*sock // by the cookie of the far end
	netlinks map[uint64]*netlink
	past     []*sock        // of these, the ones that are over
	open     map[*sock]bool // of these, the listeners and the datagram sockets
	settings []*setting
	lastFD   int   // in p
	conns    int32 // datagram sockets that were connected
}

func newServer(h *host.Host, l *unotify.Listener, warn func(string)) *server {
	if warn == nil {
		warn = func(string) {}
	}
	s := &server{
		host: h, warn: warn, p: posix.New(h), l: l, id: rand.Text()[:10],
		jobs: make(chan func()), over: make(chan struct{}), quit: make(chan struct{}),
		socks: make(map[uint64]*sock), netlinks: make(map[uint64]*netlink), open: make(map[*sock]bool), lastFD: 2,
	}
	s.probe, _ = unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	return s
}

// serve answers calls until the tree has ended.
func (s *server) serve() {
	s.spawn(s.sweep)
	var n unotify.Notification
	for s.l.Recv(&n) == nil {
		(&call{server: s, Notification: n}).answer()
	}
	close(s.over)
}

// idleMax bounds the goroutines that wait for something to do.
const idleMax = 32

// spawn runs f on a goroutine: one that has nothing to do, if there is, for its
// stack has grown already.
func (s *server) spawn(f func()) {
	s.work.Add(1)
	select {
	case s.jobs <- f:
	default:
		go s.work1(f)
	}
}

// work1 runs f, and then what else there is.
func (s *server) work1(f func()) {
	for {
		f()
		s.work.Done()
		if s.idle.Add(1) > idleMax {
			s.idle.Add(-1)
			return
		}
		select {
		case f = <-s.jobs:
			s.idle.Add(-1)
		case <-s.over:
			return
		}
	}
}

// end waits until what the programs have written is the host's, and gives all
// sockets back.
func (s *server) end() {
	for _, k := range s.all() {
		if !k.isStream() {
			k.end(false)
		}
	}
	done := make(chan struct{})
	go func() {
		s.work.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-time.After(drainMax):
		close(s.quit)
		for _, k := range s.all() {
			k.end(true)
		}
		select {
		case <-done:
		case <-time.After(drainMax): // somebody's reader has been left alone
		}
	}
	s.p.CloseAll()
	if s.probe >= 0 {
		unix.Close(s.probe)
	}
}

func (s *server) all() []*sock {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := make([]*sock, 0, len(s.socks))
	for _, k := range s.socks {
		list = append(list, k)
	}
	return list
}

// sweep finds datagram sockets that were closed.
func (s *server) sweep() {
	t := time.NewTicker(sweepEvery)
	defer t.Stop()
	for {
		select {
		case <-t.C:
			s.collect()
		case <-s.over:
			return
		}
	}
}

// collect ends the sockets that the programs have closed, and that do not tell,
// or whose pumps have not heard of it yet.
func (s *server) collect() {
	for _, k := range s.all() {
		if k.closed() {
			k.end(false)
		}
	}
}

// collectPort ends the listeners and datagram sockets of a port that were closed,
// so that who goes there is refused.
func (s *server) collectPort(port uint16) {
	s.mu.Lock()
	list := slices.Collect(maps.Keys(s.open))
	s.mu.Unlock()
	for _, k := range list {
		if a, e := k.sock.LocalName(); e == 0 && a.Port() == port && k.closed() {
			k.end(false)
		}
	}
}

// nextFD is a free number in p.
func (s *server) nextFD() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		if s.lastFD++; s.lastFD >= 1<<20 {
			s.lastFD = 3
		}
		if _, e := s.p.HostSocket(s.lastFD); e == syscall.EBADF {
			return s.lastFD
		}
	}
}

// nextConn tells connections to the same peer apart.
func (s *server) nextConn() int32 {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.conns++
	return s.conns
}

// add makes a socket known by its far end.
func (s *server) add(k *sock, far int) error {
	cookie, err := cookieOf(far)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if k.cookie != 0 {
		delete(s.socks, k.cookie)
	}
	k.cookie = cookie
	s.socks[cookie] = k
	return nil
}

func (s *server) remove(k *sock) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.socks, k.cookie)
	delete(s.open, k)
}

// setOpen notes that others can reach a socket by its port alone.
func (s *server) setOpen(k *sock) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.open[k] = true
}

// retire remembers a socket that is over for a while: it may still be asked for
// its names and its error.
func (s *server) retire(k *sock) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.open, k)
	s.past = append(s.past, k)
	if len(s.past) > overMax {
		old := s.past[0]
		s.past = s.past[1:]
		if s.socks[old.cookie] == old {
			delete(s.socks, old.cookie)
		}
	}
}

// cookieOf identifies a socket.
func cookieOf(fd int) (uint64, error) {
	return unix.GetsockoptUint64(fd, unix.SOL_SOCKET, unix.SO_COOKIE)
}

// A call is a system call that waits for its answer.
type call struct {
	*server
	unotify.Notification
}

// give answers with a value.
func (c *call) give(v int64) { c.l.Return(c.ID, v, 0) }

// fail answers with an error, or 0 if there is none.
func (c *call) fail(e syscall.Errno) { c.l.Return(c.ID, 0, e) }

// pass leaves the call to the kernel.
func (c *call) pass() { c.l.Continue(c.ID) }

// find looks up the socket behind a descriptor of the program and returns it
// with a duplicate of the descriptor; nil if it is none of ours.
func (c *call) find(fd int) (*sock, *netlink, int) {
	far, err := c.l.GetFD(int(c.PID), fd)
	if err == unix.EPERM {
		c.hides.Do(func() {
			c.warn(fmt.Sprintf("process %d does not let itself be looked into (prctl PR_SET_DUMPABLE), so its TCP and UDP sockets do not work: run towpath as root", c.PID))
		})
	}
	if err != nil {
		return nil, nil, -1
	}
	if cookie, err := cookieOf(far); err == nil {
		c.mu.Lock()
		k, n := c.socks[cookie], c.netlinks[cookie]
		c.mu.Unlock()
		if (k != nil || n != nil) && c.l.Valid(c.ID) {
			if k != nil {
				k.seen(int(c.PID), fd)
			}
			return k, n, far
		}
	}
	unix.Close(far)
	return nil, nil, -1
}

// answer answers a call, or leaves it to a goroutine.
func (c *call) answer() {
	switch c.Nr {
	case unix.SYS_SOCKET:
		c.flush()
		c.socket(int(int32(c.Args[0])), int(int32(c.Args[1])), int(int32(c.Args[2])))
		return
	case unix.SYS_OPENAT:
		c.open(c.Args[1], c.Args[2])
		return
	case unix.SYS_OPENAT2:
		var flags [8]byte // the beginning of struct open_how
		if c.read(c.Args[2], flags[:]) != 0 {
			c.pass()
			return
		}
		c.open(c.Args[1], native.Uint64(flags[:]))
		return
	case unotify.SysOpen:
		c.open(c.Args[0], c.Args[1])
		return
	}
	k, n, far := c.find(int(int32(c.Args[0])))
	if far >= 0 {
		defer unix.Close(far)
	}
	switch {
	case c.Nr == unix.SYS_IOCTL && c.interfaces():
		return
	case n != nil:
		c.netlinkCall(n, far)
		return
	case k == nil:
		c.foreign()
		return
	}
	switch c.Nr {
	case unix.SYS_BIND:
		c.bind(k)
	case unix.SYS_LISTEN:
		c.listen(k, far)
	case unix.SYS_CONNECT:
		c.connect(k, far)
	case unix.SYS_ACCEPT:
		c.accept(k, far, 0)
	case unix.SYS_ACCEPT4:
		c.accept(k, far, int(int32(c.Args[3])))
	case unix.SYS_GETSOCKNAME:
		a, e := c.p.GetSockName(k.id)
		if k.isOver() {
			a, e = k.local, 0
		}
		c.name(a, e)
	case unix.SYS_GETPEERNAME:
		a, e := c.p.GetPeerName(k.id)
		if k.isOver() && k.peer.Family != 0 {
			a, e = k.peer, 0
		}
		c.name(a, e)
	case unix.SYS_GETSOCKOPT:
		c.getsockopt(k, far)
	case unix.SYS_SETSOCKOPT:
		c.setsockopt(k)
	case unix.SYS_IOCTL:
		if c.Args[1] == posix.SIOCATMARK {
			c.fail(c.writeInt(c.Args[2], 0))
			return
		}
		c.fail(syscall.ENOTTY)
	default: // the ways to send and to receive
		if k.isStream() && !c.forErrors() {
			c.pass()
			return
		}
		c.message(k, far)
	}
}

// forErrors reports whether a call reads the error queue: of a stream it is
// empty, but the pair has none and would have the program wait.
func (c *call) forErrors() bool {
	switch c.Nr {
	case unix.SYS_RECVMSG:
		return c.Args[2]&unix.MSG_ERRQUEUE != 0
	case unix.SYS_RECVFROM, unix.SYS_RECVMMSG:
		return c.Args[3]&unix.MSG_ERRQUEUE != 0
	}
	return false
}

// foreign answers a call on something that is not ours. Name services of the
// system that are asked through unix sockets are not there: they would answer
// for another network.
func (c *call) foreign() {
	if c.Nr == unix.SYS_CONNECT {
		b, e := c.rawAddr(c.Args[1], c.Args[2])
		if e == 0 && len(b) > 2 && native.Uint16(b) == unix.AF_UNIX {
			path, _, _ := strings.Cut(string(b[2:]), "\x00")
			if strings.Contains(path, "/nscd/") || strings.Contains(path, "/systemd/resolve/") {
				c.fail(syscall.ECONNREFUSED)
				return
			}
		}
	}
	c.pass()
}

// socket makes a socket.
func (c *call) socket(domain, typ, proto int) {
	switch domain {
	case unix.AF_NETLINK:
		c.openNetlink(typ, proto)
		return
	case unix.AF_PACKET:
		c.fail(syscall.EPERM)
		return
	}
	id, e := c.p.Socket(c.nextFD(), domain, typ|posix.SOCK_NONBLOCK, proto)
	if e != 0 {
		c.fail(e)
		return
	}
	k, far, err := c.newSock(id, domain, typ)
	if err != nil {
		c.p.Close(id)
		c.fail(errnoOf(err))
		return
	}
	defer unix.Close(far)
	if err := c.l.ReturnFD(c.ID, far, typ&posix.SOCK_CLOEXEC != 0); err != nil {
		k.end(false)
		c.fail(errnoOf(err)) // EMFILE, if anybody still waits
	}
}

// errnoOf is the number in an error of a system call.
func errnoOf(err error) syscall.Errno {
	if e, ok := err.(syscall.Errno); ok {
		return e
	}
	return syscall.ENOBUFS
}

func (c *call) bind(k *sock) {
	a, e := c.readAddr(c.Args[1], c.Args[2])
	if e == 0 {
		if e = c.p.Bind(k.id, a); e == syscall.EADDRINUSE {
			c.collect() // its owner may have gone
			e = c.p.Bind(k.id, a)
		}
	}
	c.fail(e)
}

// name answers with an address.
func (c *call) name(a posix.Addr, e syscall.Errno) {
	if e == 0 {
		e = c.writeAddr(c.Args[1], c.Args[2], c.formatAddr(a, 0))
	}
	c.fail(e)
}

func (c *call) getsockopt(k *sock, far int) {
	level, name := int(int32(c.Args[1])), int(int32(c.Args[2]))
	if level == posix.SOL_SOCKET {
		switch name {
		case posix.SO_RCVTIMEO, posix.SO_SNDTIMEO, unix.SO_RCVTIMEO_NEW, unix.SO_SNDTIMEO_NEW, posix.SO_RCVLOWAT, unix.SO_COOKIE:
			c.pass()
			return
		}
	}
	size, e := c.readInt(c.Args[4])
	if e != 0 {
		c.fail(e)
		return
	}
	var b []byte
	switch {
	case size < 0:
		e = syscall.EINVAL
	case level == posix.IPPROTO_IP && name == unix.IP_OPTIONS:
		// There never are any; servers look.
	case level == posix.SOL_SOCKET && name == posix.SO_ERROR:
		b = native.AppendUint32(nil, uint32(k.takeError(far)))
		b = b[:min(len(b), int(size))]
	case posix.Asks(level, name):
		q := make([]byte, min(size, optionMax))
		if e = c.read(c.Args[3], q); e == 0 {
			b, e = c.p.GetSockOptOf(k.id, level, name, q)
		}
	default:
		b, e = c.p.GetSockOpt(k.id, level, name, int(size))
		if k.isOver() {
			b, e = k.lastOption(level, name), 0
			b = b[:min(len(b), int(size))]
		}
	}
	if e == 0 {
		e = c.writeTwo(c.Args[3], b, c.Args[4], native.AppendUint32(nil, uint32(len(b))))
	}
	c.fail(e)
}

// optionMax bounds the values of options; a filter of 64 sources fits.
const optionMax = 16 << 10

func (c *call) setsockopt(k *sock) {
	size := int32(c.Args[4])
	if size < 0 {
		c.fail(syscall.EINVAL)
		return
	}
	b := make([]byte, min(size, optionMax))
	e := c.read(c.Args[3], b)
	level, name := int(int32(c.Args[1])), int(int32(c.Args[2]))
	switch {
	case e != 0:
	case level == posix.IPPROTO_IP && (name == unix.IP_RECVOPTS || name == unix.IP_RETOPTS):
		// There never are any to be told of.
	case level == posix.IPPROTO_UDP && name == posix.UDP_GRO:
		// It may come together, and does not: the pair would not tell where one ends.
	case k.isOver():
		e = syscall.EINVAL
	default:
		k.settle()
		e = c.p.SetSockOpt(k.id, level, name, b)
	}
	c.fail(e)
}

// wait runs f, which may wait, on a goroutine of its own.
func (c *call) wait(f func()) { c.spawn(f) }

// timeout is how long a call on the far end may wait; negative: for ever.
func timeout(far, option int) time.Duration {
	tv, err := unix.GetsockoptTimeval(far, unix.SOL_SOCKET, option)
	if err != nil || tv.Sec == 0 && tv.Usec == 0 {
		return -1
	}
	return time.Duration(tv.Nano())
}

func nonblocking(far int) bool {
	flags, err := unix.FcntlInt(uintptr(far), unix.F_GETFL, 0)
	return err == nil && flags&unix.O_NONBLOCK != 0
}
