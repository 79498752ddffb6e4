//go:build amd64 || arm64

package run

import (
	"errors"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/towpath/towpath/host"
	"github.com/towpath/towpath/posix"
)

// state is what a socket does.
type state int

const (
	stateNew state = iota
	stateListening
	stateConnecting
	stateUp     // bytes are pumped
	stateBroken // a connection could not be made, and the pair tells of it
	stateOver   // closed by the program, or reset by the peer
)

// A sock is a socket of the programs.
type sock struct {
	srv         *server
	id          int // in srv.p
	sock        *host.Socket
	domain, typ int
	cookie      uint64        // of the far end; guarded by srv.mu
	gone        chan struct{} // closed when it is over

	mu       sync.Mutex
	state    state
	pid, fd  int           // where it was last seen
	err      syscall.Errno // pending, before the host's own
	near     *near         // of streams; nil if there is none any more
	local    posix.Addr    // when it was over
	peer     posix.Addr
	filler   int           // bytes in the near end that are none of the program's
	done     chan struct{} // closed when connecting is done
	connErr  syscall.Errno // and how
	untold   bool          // connected without having been told
	waiting  []*accepted   // of a listener; a token lies in the pair if there is one
	arrival  chan struct{} // closed, and made anew, when one comes or a datagram does
	datagram datagram
}

// newSock makes a socket for what has the number id in p, and returns it with
// its far end.
func (s *server) newSock(id, domain, typ int) (*sock, int, error) {
	hs, e := s.p.HostSocket(id)
	if e != 0 {
		return nil, -1, e
	}
	k := &sock{
		srv: s, id: id, sock: hs, domain: domain, typ: typ & posix.SOCK_TYPE_MASK,
		gone: make(chan struct{}), arrival: make(chan struct{}),
	}
	var far int
	var err error
	if !k.isStream() {
		far, err = k.openDatagram(typ&posix.SOCK_NONBLOCK != 0)
	} else {
		k.near, far, err = newPair(typ&posix.SOCK_NONBLOCK != 0)
	}
	if err == nil {
		err = s.add(k, far)
	}
	if err != nil {
		if far >= 0 {
			unix.Close(far)
		}
		if k.near != nil {
			k.near.Close()
		}
		return nil, -1, err
	}
	if !k.isStream() {
		s.setOpen(k)
		s.spawn(k.dgramIn)
	} else {
		s.spawn(k.streamOut)
	}
	return k, far, nil
}

// isStream tells streams from datagram and raw sockets.
func (k *sock) isStream() bool { return k.typ == posix.SOCK_STREAM }

// seen remembers where a socket is to be found.
func (k *sock) seen(pid, fd int) {
	k.mu.Lock()
	k.pid, k.fd = pid, fd
	k.mu.Unlock()
}

// far finds the far end again.
func (k *sock) far() (int, bool) {
	k.mu.Lock()
	pid, fd := k.pid, k.fd
	k.mu.Unlock()
	far, err := k.srv.l.GetFD(pid, fd)
	if err != nil {
		return -1, false
	}
	if cookie, err := cookieOf(far); err != nil || cookie != k.cookieNow() {
		unix.Close(far)
		return -1, false
	}
	return far, true
}

func (k *sock) cookieNow() uint64 {
	k.srv.mu.Lock()
	defer k.srv.mu.Unlock()
	return k.cookie
}

func (k *sock) isOver() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.state == stateOver
}

// takeError returns and clears the pending error.
func (k *sock) takeError(far int) syscall.Errno {
	unix.GetsockoptInt(far, unix.SOL_SOCKET, unix.SO_ERROR) // clears the pair's
	k.mu.Lock()
	e := k.err
	k.err = 0
	k.mu.Unlock()
	if e == 0 {
		e, _ = k.sock.Error()
	}
	return e
}

func (k *sock) setError(e syscall.Errno) {
	k.mu.Lock()
	k.err = e
	k.mu.Unlock()
}

// announce wakes the calls that wait for something to arrive. k.mu is held.
func (k *sock) announceLocked() {
	close(k.arrival)
	k.arrival = make(chan struct{})
}

// closed reports whether the program has closed the socket.
func (k *sock) closed() bool {
	k.mu.Lock()
	near, st := k.near, k.state
	k.mu.Unlock()
	switch {
	case st == stateOver:
		return false
	case !k.isStream():
		return k.datagram.farGone(k.srv.probe)
	case near == nil || st == stateUp: // the pump has to send what is left
		return false
	}
	return near.hungUp()
}

// lastOption is an option of a socket that is over.
func (k *sock) lastOption(level, name int) []byte {
	v := 0
	if level == posix.SOL_SOCKET {
		switch name {
		case posix.SO_TYPE:
			v = k.typ
		case posix.SO_DOMAIN:
			v = k.domain
		case posix.SO_PROTOCOL:
			v = int(k.sock.Protocol())
		}
	}
	return native.AppendUint32(nil, uint32(v))
}

// end closes the socket, with a reset if so.
func (k *sock) end(reset bool) {
	local, _ := k.srv.p.GetSockName(k.id)
	peer, _ := k.srv.p.GetPeerName(k.id)
	k.mu.Lock()
	if k.state == stateOver {
		k.mu.Unlock()
		return
	}
	k.state, k.local, k.peer = stateOver, local, peer
	waiting, near := k.waiting, k.near
	k.waiting, k.near = nil, nil
	k.announceLocked()
	close(k.gone)
	k.mu.Unlock()
	for _, a := range waiting {
		k.srv.p.Close(a.id)
	}
	if reset {
		k.sock.SetOptions(func(o *host.SocketOptions) syscall.Errno {
			o.Linger = 0
			return 0
		})
	}
	k.srv.p.Close(k.id)
	if near != nil {
		near.Close()
	}
	k.datagram.close()
	if !k.isStream() {
		k.srv.remove(k)
	} else {
		k.srv.retire(k)
	}
}

// A near is our end of a pair. It does not block.
type near struct {
	*os.File
	raw syscall.RawConn
}

// newPair makes a pair of unix stream sockets.
func newPair(nonblock bool) (*near, int, error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, -1, err
	}
	if !nonblock {
		unix.FcntlInt(uintptr(fds[1]), unix.F_SETFL, unix.O_RDWR)
	}
	n, err := newNear(fds[0])
	if err != nil {
		unix.Close(fds[1])
		return nil, -1, err
	}
	return n, fds[1], nil
}

func newNear(fd int) (*near, error) {
	f := os.NewFile(uintptr(fd), "near")
	raw, err := f.SyscallConn()
	if err != nil {
		f.Close()
		return nil, err
	}
	return &near{f, raw}, nil
}

// send sends all of it, and waits until there is room.
func (n *near) send(parts [][]byte) error {
	var failed error
	err := n.raw.Write(func(fd uintptr) bool {
		for len(parts) > 0 {
			m, err := unix.SendmsgBuffers(int(fd), parts[:min(len(parts), iovMax)], nil, nil, unix.MSG_NOSIGNAL)
			switch {
			case err == unix.EINTR:
				continue
			case err == unix.EAGAIN:
				return false
			case err != nil:
				failed = err
				return true
			}
			for m > 0 {
				part := min(m, len(parts[0]))
				if parts[0] = parts[0][part:]; len(parts[0]) == 0 {
					parts = parts[1:]
				}
				m -= part
			}
		}
		return true
	})
	return errors.Join(err, failed)
}

// past is a deadline that has passed.
var past = time.Unix(1, 0)

// hungUp reports whether the far end is closed.
func (n *near) hungUp() (yes bool) {
	n.raw.Control(func(fd uintptr) { yes = polled(fd)&unix.POLLHUP != 0 })
	return yes
}

// polled is what a descriptor is ready for.
func polled(fd uintptr) int16 {
	p := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	unix.Poll(p, 0)
	return p[0].Revents
}
