//go:build amd64 || arm64

package run

import (
	"net/netip"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/towpath/towpath/host"
	"github.com/towpath/towpath/packet"
	"github.com/towpath/towpath/posix"
	"github.com/towpath/towpath/socket"
)

// chunkSize is what a pump moves at once.
const chunkSize = 64 << 10

var chunks = sync.Pool{New: func() any { return new([chunkSize]byte) }}

// fillerMax bounds the filler; a quarter of the pair's buffer is enough.
const fillerMax = 1 << 20

// ---- connecting

func (c *call) connect(k *sock, far int) {
	a, e := c.readAddr(c.Args[1], c.Args[2])
	if e != 0 {
		c.fail(e)
		return
	}
	if !k.isStream() {
		c.fail(k.connectDatagram(a, far))
		return
	}
	c.collectPort(a.Port()) // its listener may just have been closed
	wait := !nonblocking(far)
	k.mu.Lock()
	switch k.state {
	case stateConnecting:
		k.mu.Unlock()
		if !wait {
			c.fail(syscall.EALREADY)
			return
		}
		c.await(k, far)
		return
	case stateUp:
		untold := k.untold
		k.untold = false
		k.mu.Unlock()
		if a.Family == posix.AF_UNSPEC {
			k.reset(0)
			c.fail(0)
		} else if untold {
			c.fail(0)
		} else {
			c.fail(syscall.EISCONN)
		}
		return
	case stateOver:
		k.mu.Unlock()
		c.fail(syscall.EISCONN)
		return
	case stateBroken:
		k.mu.Unlock()
		if err := c.mend(k); err != nil {
			c.fail(errnoOf(err))
			return
		}
		k.mu.Lock()
		if again, ok := k.farLocked(); ok {
			defer unix.Close(again)
			far = again
		}
	}
	began := k.connectLocked(a, far, wait)
	pending := k.state == stateConnecting
	e = k.connErr
	if began && !pending && wait {
		k.untold = false
	}
	k.mu.Unlock()
	switch {
	case began && !wait:
		c.fail(syscall.EINPROGRESS)
	case pending:
		c.await(k, far)
	default:
		c.fail(e)
	}
}

// connectLocked begins a connection, and reports false if it could not; k.connErr
// is why. Without wait, the room to write is taken away until it is made.
func (k *sock) connectLocked(a posix.Addr, far int, wait bool) bool {
	if !wait {
		k.filler += fill(far)
	}
	k.connErr, k.done = 0, nil
	e := k.srv.p.Connect(k.id, a)
	if e != syscall.EINPROGRESS {
		k.connErr = e
		k.drainLocked()
		return false
	}
	k.state, k.done, k.untold = stateConnecting, make(chan struct{}), !wait
	if !k.outcomeLocked(a.AddrPort) { // on a loopback it is made already
		k.srv.spawn(func() { k.connecting(a.AddrPort) })
	}
	return true
}

// connecting waits for the outcome.
func (k *sock) connecting(to netip.AddrPort) {
	w := socket.Watch{C: make(chan struct{}, 1)}
	k.sock.Watch(&w)
	defer k.sock.Unwatch(&w)
	for {
		k.mu.Lock()
		over := k.state == stateOver || k.outcomeLocked(to)
		k.mu.Unlock()
		if over {
			return
		}
		select {
		case <-w.C:
		case <-k.gone:
		}
	}
}

// outcomeLocked looks whether the connection has been made or has failed, and
// tells the program.
func (k *sock) outcomeLocked(to netip.AddrPort) bool {
	if _, e := k.sock.PeerName(); e == 0 {
		k.state = stateUp
		k.drainLocked()
		k.near.SetReadDeadline(past) // the pump begins
		close(k.done)
		return true
	}
	if k.sock.Ready()&(socket.EventErr|socket.EventHup) == 0 {
		return false
	}
	k.connErr = k.sock.Connect(to) // says why
	if k.untold {
		// The filler stays, so that the far end has an error.
		k.err, k.state = k.connErr, stateBroken
		k.near.Close()
		k.near, k.filler = nil, 0
	} else {
		k.state = stateNew
	}
	close(k.done)
	return true
}

// await answers when a connection has been made or has failed.
func (c *call) await(k *sock, far int) {
	d := timeout(far, unix.SO_SNDTIMEO)
	k.mu.Lock()
	done := k.done
	k.mu.Unlock()
	c.wait(func() {
		switch c.sleep(k.gone, done, d) {
		case woken:
			k.mu.Lock()
			e := k.connErr
			k.untold = false
			k.mu.Unlock()
			c.fail(e)
		case expired:
			c.fail(syscall.EINPROGRESS)
		case ended:
			c.fail(syscall.ECONNABORTED)
		}
	})
}

// mend gives a program a new pair where a connection could not be made.
func (c *call) mend(k *sock) error {
	n, far, err := newPair(true)
	if err != nil {
		return err
	}
	defer unix.Close(far)
	if err := c.add(k, far); err != nil {
		n.Close()
		return err
	}
	if err := c.l.SetFD(c.ID, far, int(int32(c.Args[0])), false); err != nil {
		n.Close()
		return err
	}
	k.mu.Lock()
	k.near, k.state = n, stateNew
	k.mu.Unlock()
	c.spawn(k.streamOut)
	return nil
}

// farLocked is far while k.mu is held.
func (k *sock) farLocked() (int, bool) {
	far, err := k.srv.l.GetFD(k.pid, k.fd)
	return far, err == nil
}

// fill takes away the room to write and returns how many bytes that took.
func fill(far int) (n int) {
	b := chunks.Get().(*[chunkSize]byte)
	defer chunks.Put(b)
	for n < fillerMax && writable(far) {
		m, err := unix.SendmsgN(far, b[:], nil, nil, unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL)
		if err != nil {
			break
		}
		n += m
	}
	return n
}

func writable(fd int) bool {
	p := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLOUT}}
	unix.Poll(p, 0)
	return p[0].Revents&unix.POLLOUT != 0
}

// drainLocked takes the filler out.
func (k *sock) drainLocked() {
	b := chunks.Get().(*[chunkSize]byte)
	defer chunks.Put(b)
	k.near.raw.Control(func(fd uintptr) {
		for k.filler > 0 {
			n, err := unix.Read(int(fd), b[:min(len(b), k.filler)])
			if err == unix.EINTR {
				continue
			}
			if n <= 0 {
				break
			}
			k.filler -= n
		}
	})
	k.filler = 0
}

// reason is why a sleep ended.
type reason int

const (
	woken reason = iota
	expired
	ended // the socket is over
	stale // nobody waits for the answer any more
)

// sleep waits until ch is closed, or gone with the socket, for at most d;
// negative: for ever.
func (c *call) sleep(gone, ch <-chan struct{}, d time.Duration) reason {
	var timer <-chan time.Time
	if d >= 0 {
		t := time.NewTimer(d)
		defer t.Stop()
		timer = t.C
	}
	tick := time.NewTicker(validEvery)
	defer tick.Stop()
	for {
		select {
		case <-ch:
			return woken
		case <-gone:
			return ended
		case <-timer:
			return expired
		case <-tick.C:
			if !c.l.Valid(c.ID) {
				return stale
			}
		case <-c.over:
			return stale
		}
	}
}

// ---- listening

func (c *call) listen(k *sock, far int) {
	e := c.p.Listen(k.id, int(int32(c.Args[1])))
	if e == syscall.EADDRINUSE {
		c.collect()
		e = c.p.Listen(k.id, int(int32(c.Args[1])))
	}
	k.mu.Lock()
	first := e == 0 && k.state == stateNew
	if first {
		k.state = stateListening
		k.filler += fill(far) // a listener is never ready to write
	}
	k.mu.Unlock()
	if first {
		c.setOpen(k)
		c.spawn(k.arrivals)
	}
	c.fail(e)
}

// An accepted connection waits to be given to the program.
type accepted struct {
	id   int
	peer posix.Addr
}

// arrivals takes the first connection that waits, and tells of it.
func (k *sock) arrivals() {
	w := socket.Watch{C: make(chan struct{}, 1)}
	k.sock.Watch(&w)
	defer k.sock.Unwatch(&w)
	for {
		k.mu.Lock()
		k.refillLocked()
		k.mu.Unlock()
		select {
		case <-w.C:
		case <-k.gone:
			return
		}
	}
}

// refillLocked makes sure that the first connection that waits is known, and
// that a token lies in the pair for it.
func (k *sock) refillLocked() {
	if len(k.waiting) > 0 || k.state != stateListening {
		return
	}
	id, peer, e := k.srv.p.Accept(k.id, k.srv.nextFD(), posix.SOCK_NONBLOCK)
	if e == 0 {
		k.putLocked(&accepted{id, peer})
	}
}

func (k *sock) putLocked(a *accepted) {
	k.waiting = append([]*accepted{a}, k.waiting...)
	if len(k.waiting) == 1 {
		k.near.raw.Control(func(fd uintptr) { unix.Write(int(fd), []byte{0}) })
		k.announceLocked()
	}
}

// takeLocked takes a connection, and its token out of the pair.
func (k *sock) takeLocked(far int) *accepted {
	k.refillLocked()
	if len(k.waiting) == 0 {
		return nil
	}
	a := k.waiting[0]
	if k.waiting = k.waiting[1:]; len(k.waiting) == 0 {
		unix.Recvfrom(far, make([]byte, 1), unix.MSG_DONTWAIT)
		k.refillLocked()
	}
	return a
}

func (c *call) accept(k *sock, far, flags int) {
	if flags&^(posix.SOCK_NONBLOCK|posix.SOCK_CLOEXEC) != 0 {
		c.fail(syscall.EINVAL)
		return
	}
	if !k.isStream() {
		c.fail(syscall.EOPNOTSUPP)
		return
	}
	k.mu.Lock()
	listening := k.state == stateListening
	var a *accepted
	if listening {
		a = k.takeLocked(far)
	}
	arrival := k.arrival
	k.mu.Unlock()
	switch {
	case a != nil:
		c.hand(k, a, flags)
	case !listening:
		c.fail(syscall.EINVAL)
	case nonblocking(far):
		c.fail(syscall.EAGAIN)
	default:
		d := timeout(far, unix.SO_RCVTIMEO)
		c.wait(func() { c.acceptLater(k, arrival, d, flags) })
	}
}

func (c *call) acceptLater(k *sock, arrival <-chan struct{}, d time.Duration, flags int) {
	until := time.Now().Add(d)
	for {
		switch c.sleep(k.gone, arrival, d) {
		case expired:
			c.fail(syscall.EAGAIN)
			return
		case ended:
			c.fail(syscall.EINVAL)
			return
		case stale:
			return
		}
		far, err := c.l.GetFD(int(c.PID), int(int32(c.Args[0])))
		if err != nil {
			c.fail(syscall.EBADF)
			return
		}
		k.mu.Lock()
		a := k.takeLocked(far)
		arrival = k.arrival
		k.mu.Unlock()
		unix.Close(far)
		if a != nil {
			c.hand(k, a, flags)
			return
		}
		if d >= 0 {
			d = max(time.Until(until), 0)
		}
	}
}

// hand gives a connection to the program, or puts it back if nobody takes it.
func (c *call) hand(k *sock, a *accepted, flags int) {
	n, far, err := c.newSock(a.id, k.domain, posix.SOCK_STREAM|flags)
	if err != nil {
		k.putBack(a)
		c.fail(errnoOf(err))
		return
	}
	defer unix.Close(far)
	e := c.writeAddr(c.Args[1], c.Args[2], c.formatAddr(a.peer, 0))
	if e == 0 {
		n.mu.Lock()
		n.state = stateUp
		n.mu.Unlock()
		if err := c.l.ReturnFD(c.ID, far, flags&posix.SOCK_CLOEXEC != 0); err != nil {
			e = errnoOf(err)
		}
	}
	if e == 0 {
		n.near.SetReadDeadline(past)
		return
	}
	// The pump has not begun: nothing is lost.
	n.mu.Lock()
	n.state = stateOver
	n.near.Close()
	n.near = nil
	close(n.gone)
	n.mu.Unlock()
	c.remove(n)
	k.putBack(a)
	c.fail(e)
}

func (k *sock) putBack(a *accepted) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.state == stateListening {
		k.putLocked(a)
	} else {
		k.srv.p.Close(a.id)
	}
}

// ---- the pump

// current is the near end and the state now.
func (k *sock) current() (*near, state) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.near, k.state
}

// streamOut waits until the socket is connected, then moves what the program
// writes into the host, and ends the socket when the program has closed it.
func (k *sock) streamOut() {
	n, _ := k.current()
	if n == nil {
		return
	}
	for started := false; !started; {
		hup := false
		err := n.raw.Read(func(fd uintptr) bool {
			hup = polled(fd)&unix.POLLHUP != 0
			return hup
		})
		now, st := k.current()
		switch {
		case now != n:
			return
		case st == stateUp:
			started = true
		case hup:
			k.end(false)
			return
		case err != nil && !isTimeout(err):
			return
		}
		n.SetReadDeadline(time.Time{})
	}
	k.srv.spawn(func() { k.streamIn(n) })
	w := socket.Watch{C: make(chan struct{}, 1)}
	k.sock.Watch(&w)
	defer k.sock.Unwatch(&w)
	for shut := false; ; {
		c, got, err := k.readNear(n, shut)
		switch {
		case got > 0:
			if !k.send(c, got, &w) {
				shut = true // it goes nowhere
			}
			continue
		case err == unix.ECONNRESET: // closed with bytes unread
			k.end(true)
			return
		case err != nil:
			return
		}
		if n.hungUp() {
			k.end(false)
			return
		}
		if !shut {
			shut = true
			k.sock.Shutdown(host.ShutWr)
		}
	}
}

func isTimeout(err error) bool {
	t, ok := err.(interface{ Timeout() bool })
	return ok && t.Timeout()
}

// readNear reads what the program has written into a chunk, which is the
// caller's; 0 is the end. With shut the end is known, and the close is waited
// for. Nobody who waits has a chunk.
func (k *sock) readNear(n *near, shut bool) (c *packet.Chunk, got int, err error) {
	e := n.raw.Read(func(fd uintptr) bool {
		k.mu.Lock() // a reset leaves bytes unread
		defer k.mu.Unlock()
		if k.near != n {
			err = syscall.EBADF
			return true
		}
		c = packet.GetChunk(packet.LargeChunk)
		for {
			if got, err = unix.Read(int(fd), c.Bytes()); err != unix.EINTR {
				break
			}
		}
		if got > 0 {
			return true
		}
		c.Release()
		c = nil
		if shut && err == nil {
			return polled(fd)&unix.POLLHUP != 0
		}
		return err != unix.EAGAIN
	})
	if e != nil {
		return nil, 0, e
	}
	return c, max(got, 0), err
}

// send moves a chunk's bytes into the host and reports whether it took them.
func (k *sock) send(c *packet.Chunk, size int, w *socket.Watch) bool {
	f := packet.Frag{Chunk: c, Len: uint32(size)}
	for {
		n, kept, e := k.sock.SendFrag(f)
		if kept {
			return true
		}
		f.Off, f.Len = f.Off+uint32(n), f.Len-uint32(n)
		switch {
		case e == 0 && f.Len > 0:
			continue
		case e == syscall.EAGAIN:
			select {
			case <-w.C:
				continue
			case <-k.srv.quit:
			}
		case e != 0 && e != syscall.EPIPE && e != syscall.EBADF:
			k.reset(e)
		}
		c.Release()
		return e == 0
	}
}

// smallSize is how much of what arrives is copied rather than lent.
const smallSize = 1 << 10

var smalls = sync.Pool{New: func() any { return new([smallSize]byte) }}

// streamIn moves what arrives to the program.
func (k *sock) streamIn(n *near) {
	w := socket.Watch{C: make(chan struct{}, 1)}
	k.sock.Watch(&w)
	defer k.sock.Unwatch(&w)
	for eof := false; ; {
		got, e := 0, syscall.EAGAIN
		if !eof {
			// Who has shut the direction down, or closed, reads no more.
			b := smalls.Get().(*[smallSize]byte)
			got, e = k.sock.RecvTo(b[:], func(parts [][]byte) { n.send(parts) })
			smalls.Put(b)
		} else if k.sock.Ready()&socket.EventErr != 0 {
			_, _, e = k.sock.Recv(make([]byte, 1), 0)
			if pending, _ := k.sock.Error(); pending != 0 {
				e = pending
			}
			if e == 0 {
				e = syscall.EAGAIN
			}
		}
		switch {
		case e == syscall.EAGAIN:
			select {
			case <-w.C:
			case <-k.gone:
				return
			}
		case e == syscall.EBADF:
			return
		case e != 0:
			k.reset(e)
			return
		case got == 0:
			eof = true
			n.raw.Control(func(fd uintptr) { unix.Shutdown(int(fd), unix.SHUT_WR) })
		}
	}
}

// reset tells the program of a connection's end by an error: closed with bytes
// unread, a near end makes the far one report ECONNRESET.
func (k *sock) reset(e syscall.Errno) {
	far, ok := k.far()
	k.mu.Lock()
	k.err = e
	n := k.near
	k.near = nil
	if n != nil {
		unread := 0
		n.raw.Control(func(fd uintptr) { unread, _ = unix.IoctlGetInt(int(fd), unix.TIOCINQ) })
		if unread == 0 && ok {
			unix.SendmsgN(far, []byte{0}, nil, nil, unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL)
		}
	}
	k.mu.Unlock()
	if ok {
		unix.Close(far)
	}
	if n != nil {
		n.Close() // waits for readers, who want k.mu
	}
	k.end(true)
}
