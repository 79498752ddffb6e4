//go:build linux

package sockd

import (
	"sync"

	"golang.org/x/sys/unix"

	"github.com/towpath/towpath/link"
	"github.com/towpath/towpath/packet"
)

// packetMax is the largest packet that is received, in bytes.
const packetMax = 65535

// port is a driver whose device is a descriptor on which each message is one
// raw IP packet: a connection of a SOCK_SEQPACKET socket, or a TUN device.
//
// Unlike other drivers it also receives on demand: pump takes everything that
// has arrived and returns when it has been processed.
type port struct {
	mtu     int
	adapter *link.Adapter
	sent    func([]byte) // sees every packet that leaves, if set

	mu   sync.Mutex // held while receiving
	fd   int        // -1: nobody is connected
	pool packet.Pool
	buf  []byte

	out sync.Mutex // held while sending, guards fd too
	tmp []byte
}

func newPort(mtu int) *port {
	return &port{mtu: mtu, fd: -1, buf: make([]byte, packetMax)}
}

// Capabilities implements [link.Miniport].
func (p *port) Capabilities() link.Capabilities {
	return link.Capabilities{Medium: link.MediumIP, MTU: p.mtu}
}

// Start implements [link.Miniport].
func (p *port) Start(a *link.Adapter) error { p.adapter = a; return nil }

// connect makes fd the device.
func (p *port) connect(fd int) {
	p.mu.Lock()
	p.out.Lock()
	if p.fd >= 0 {
		unix.Close(p.fd)
	}
	p.fd = fd
	p.out.Unlock()
	p.mu.Unlock()
}

// run receives until the device ends.
func (p *port) run(fd int) {
	for {
		fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		if n, err := unix.Poll(fds, -1); err == unix.EINTR || n == 0 {
			continue
		} else if err != nil {
			return
		}
		if !p.pump() {
			return
		}
	}
}

// pump processes all packets that have arrived. It reports whether the device
// may bring more.
func (p *port) pump() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for p.fd >= 0 {
		n, err := unix.Read(p.fd, p.buf)
		switch {
		case err == unix.EINTR:
			continue
		case err == unix.EAGAIN:
			return true
		case err != nil || n == 0:
			return false
		}
		p.receive(p.buf[:n])
	}
	return false
}

func (p *port) receive(b []byte) {
	q := p.pool.Get()
	q.Reset(64)
	n := copy(q.Append(min(len(b), 192)), b)
	if n < len(b) && !q.AppendBytes(b[n:]) {
		p.pool.Free(q)
		return
	}
	var l packet.List
	l.Push(q)
	w := link.NewWork(nil)
	p.adapter.Indicate(&l, w)
	w.Run()
}

// Send implements [link.Miniport].
func (p *port) Send(l *packet.List, _ *link.Work) {
	p.out.Lock()
	defer p.out.Unlock()
	for q := l.Pop(); q != nil; q = l.Pop() {
		n := q.Len()
		if cap(p.tmp) < n {
			p.tmp = make([]byte, n)
		}
		b := p.tmp[:n]
		q.CopyTo(b, 0)
		packet.Free(q)
		if p.sent != nil {
			p.sent(b)
		}
		if p.fd >= 0 {
			for {
				_, err := unix.Write(p.fd, b)
				if err == unix.EAGAIN { // the reader is slow: what a device would queue
					unix.Poll([]unix.PollFd{{Fd: int32(p.fd), Events: unix.POLLOUT}}, 1000)
					_, err = unix.Write(p.fd, b)
				}
				if err != unix.EINTR {
					break
				}
			}
		}
	}
}

// Close implements [link.Miniport].
func (p *port) Close() error {
	p.connect(-1)
	return nil
}
