//go:build amd64 || arm64

package run

import (
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/towpath/towpath/host"
	"github.com/towpath/towpath/posix"
	"github.com/towpath/towpath/socket"
)

const (
	iovMax     = 1024 // UIO_MAXIOV
	controlMax = 4096
	msghdrSize = 56 // on 64-bit systems
	mmsgSize   = 64
	protoUDP   = 17
)

// A message is what a program sends or wants to receive: where in its memory
// things are.
type message struct {
	name, nameLen uint64 // nameLen: of sendto and sendmsg the length, of recvfrom its address
	parts         []part
	control       uint64
	controlLen    int
	header        uint64 // of a msghdr; 0: none
	count         uint64 // where an mmsghdr's length is; 0: none
}

// A part is a struct iovec.
type part struct{ base, len uint64 }

// message answers a call that sends or receives datagrams.
func (c *call) message(k *sock, far int) {
	a := &c.Args
	switch c.Nr {
	case unix.SYS_SENDTO:
		m := &message{name: a[4], nameLen: uint64(uint32(a[5])), parts: []part{{a[1], a[2]}}}
		n, e := c.send(k, far, m, int(int32(a[3])))
		c.l.Return(c.ID, int64(n), e)
	case unix.SYS_RECVFROM:
		m := &message{name: a[4], nameLen: a[5], parts: []part{{a[1], a[2]}}}
		c.receive(k, far, []*message{m}, int(int32(a[3])))
	case unix.SYS_SENDMSG, unix.SYS_RECVMSG:
		m, e := c.readHeader(a[1])
		switch {
		case e != 0:
			c.fail(e)
		case c.Nr == unix.SYS_RECVMSG:
			c.receive(k, far, []*message{m}, int(int32(a[2])))
		default:
			n, e := c.send(k, far, m, int(int32(a[2])))
			c.l.Return(c.ID, int64(n), e)
		}
	case unix.SYS_SENDMMSG, unix.SYS_RECVMMSG:
		list, e := c.readHeaders(a[1], uint32(a[2]))
		switch {
		case e != 0:
			c.fail(e)
		case c.Nr == unix.SYS_RECVMMSG:
			c.receive(k, far, list, int(int32(a[3])))
		default:
			c.sendAll(k, far, list, int(int32(a[3])))
		}
	}
}

// readHeader reads a struct msghdr.
func (c *call) readHeader(at uint64) (*message, syscall.Errno) {
	var b [msghdrSize]byte
	if e := c.read(at, b[:]); e != 0 {
		return nil, e
	}
	m := &message{
		header: at, name: native.Uint64(b[0:]), nameLen: uint64(native.Uint32(b[8:])),
		control: native.Uint64(b[32:]), controlLen: int(min(native.Uint64(b[40:]), controlMax)),
	}
	count := native.Uint64(b[24:])
	if count > iovMax {
		return nil, syscall.EMSGSIZE
	}
	iov := make([]byte, 16*count)
	if e := c.read(native.Uint64(b[16:]), iov); e != 0 {
		return nil, e
	}
	for ; len(iov) > 0; iov = iov[16:] {
		m.parts = append(m.parts, part{native.Uint64(iov), native.Uint64(iov[8:])})
	}
	return m, 0
}

// readHeaders reads an array of struct mmsghdr.
func (c *call) readHeaders(at uint64, count uint32) (list []*message, e syscall.Errno) {
	for i := range min(count, iovMax) {
		m, e := c.readHeader(at + uint64(i)*mmsgSize)
		if e != 0 && i == 0 {
			return nil, e
		}
		if e != 0 {
			break
		}
		m.count = at + uint64(i)*mmsgSize + msghdrSize
		list = append(list, m)
	}
	return list, 0
}

// send sends one message.
func (c *call) send(k *sock, far int, m *message, flags int) (int, syscall.Errno) {
	size := uint64(0)
	for _, p := range m.parts {
		if size += p.len; p.len > chunkSize || size >= chunkSize {
			return 0, syscall.EMSGSIZE
		}
	}
	b := chunks.Get().(*[chunkSize]byte)
	defer chunks.Put(b)
	at := uint64(0)
	for _, p := range m.parts {
		if e := c.read(p.base, b[at:at+p.len]); e != 0 {
			return 0, e
		}
		at += p.len
	}
	var to posix.Addr
	if m.name != 0 && m.nameLen != 0 {
		var e syscall.Errno
		if to, e = c.readAddr(m.name, m.nameLen); e != 0 {
			return 0, e
		}
	}
	var ctl []posix.Cmsg
	if m.control != 0 && m.controlLen > 0 {
		raw := make([]byte, m.controlLen)
		if e := c.read(m.control, raw); e != 0 {
			return 0, e
		}
		list, err := unix.ParseSocketControlMessage(raw)
		if err != nil {
			return 0, syscall.EINVAL
		}
		for _, x := range list {
			ctl = append(ctl, posix.Cmsg{Level: int(x.Header.Level), Type: int(x.Header.Type), Data: x.Data})
		}
	}
	if e := k.pending(); e != 0 {
		calm(far)
		return 0, e
	}
	return k.transmit(b[:size], flags, to, ctl)
}

// pending takes an error that arrived for the socket.
func (k *sock) pending() syscall.Errno {
	k.mu.Lock()
	defer k.mu.Unlock()
	e := k.err
	k.err = 0
	return e
}

// sendAll sends many messages, and answers with their number.
func (c *call) sendAll(k *sock, far int, list []*message, flags int) {
	sent := 0
	for _, m := range list {
		n, e := c.send(k, far, m, flags)
		if e == 0 {
			e = c.writeInt(m.count, int32(n))
		}
		if e != 0 {
			if sent == 0 {
				c.fail(e)
				return
			}
			break
		}
		sent++
	}
	c.give(int64(sent))
}

// receive receives into messages what is there, and waits for the first.
func (c *call) receive(k *sock, far int, list []*message, flags int) {
	if len(list) == 0 {
		c.give(0)
		return
	}
	k.mu.Lock()
	arrival := k.arrival
	k.mu.Unlock()
	if c.tryReceive(k, far, list, flags) {
		return
	}
	if flags&posix.MSG_DONTWAIT != 0 || nonblocking(far) {
		c.fail(syscall.EAGAIN)
		return
	}
	d := timeout(far, unix.SO_RCVTIMEO)
	c.wait(func() {
		until := time.Now().Add(d)
		for {
			switch c.sleep(k.gone, arrival, d) {
			case expired:
				c.fail(syscall.EAGAIN)
				return
			case ended:
				c.fail(syscall.EBADF)
				return
			case stale:
				return
			}
			if !c.l.Valid(c.ID) {
				return
			}
			far, err := c.l.GetFD(int(c.PID), int(int32(c.Args[0])))
			if err != nil {
				c.fail(syscall.EBADF)
				return
			}
			k.mu.Lock()
			arrival = k.arrival
			k.mu.Unlock()
			done := c.tryReceive(k, far, list, flags)
			unix.Close(far)
			if done {
				return
			}
			if d >= 0 {
				d = max(time.Until(until), 0)
			}
		}
	})
}

// tryReceive answers with what is there and reports false if there is nothing.
func (c *call) tryReceive(k *sock, far int, list []*message, flags int) bool {
	if flags&posix.MSG_ERRQUEUE != 0 {
		n, e := c.receiveError(k, far, list[0])
		c.l.Return(c.ID, int64(n), e)
		return true
	}
	if e := k.pending(); e != 0 {
		calm(far)
		c.fail(e)
		return true
	}
	got := 0
	for _, m := range list {
		n, e := c.receiveOne(k, far, m, flags)
		if e == 0 && m.count != 0 {
			e = c.writeInt(m.count, int32(n))
		}
		switch {
		case e == syscall.EAGAIN && got == 0:
			return false
		case e != 0 && got == 0:
			c.fail(e)
			return true
		case m.count == 0:
			c.give(int64(n))
			return true
		}
		if e != 0 {
			break
		}
		got++
	}
	c.give(int64(got))
	return true
}

// receiveError takes an error off the queue, which is never waited for.
func (c *call) receiveError(k *sock, far int, m *message) (int, syscall.Errno) {
	if k.isOver() {
		return 0, syscall.EAGAIN
	}
	b := chunks.Get().(*[chunkSize]byte)
	defer chunks.Put(b)
	q, e := c.p.Recv(k.id, b[:m.room()], posix.MSG_ERRQUEUE)
	if !k.isStream() && k.sock.Ready()&socket.EventErr == 0 {
		k.setError(0)
		calm(far)
	}
	if e == 0 {
		e = c.scatter(m, b[:q.N])
	}
	if e != 0 {
		return 0, e
	}
	switch addr := c.formatAddr(q.From, 0); {
	case m.header == 0:
		e = c.writeAddr(m.name, m.nameLen, addr)
	default:
		e = c.finish(m, addr, q.Ctl, q.Flags)
	}
	return q.N, e
}

// room is how much of a message there is a place for.
func (m *message) room() (room uint64) {
	for _, p := range m.parts {
		room = min(room+min(p.len, chunkSize), chunkSize)
	}
	return room
}

// scatter writes b where a message's parts are.
func (c *call) scatter(m *message, b []byte) syscall.Errno {
	for _, p := range m.parts {
		take := min(uint64(len(b)), p.len)
		if e := c.write(p.base, b[:take]); e != 0 {
			return e
		}
		b = b[take:]
	}
	return 0
}

// receiveOne takes a datagram from the far end, as the program would have.
func (c *call) receiveOne(k *sock, far int, m *message, flags int) (int, syscall.Errno) {
	b := chunks.Get().(*[chunkSize]byte)
	defer chunks.Put(b)
	room := m.room()
	n, _, got, from, err := unix.Recvmsg(far, b[:room], nil, flags&(posix.MSG_PEEK|posix.MSG_TRUNC)|unix.MSG_DONTWAIT)
	if err != nil {
		if err == unix.EINTR {
			err = unix.EAGAIN
		}
		return 0, errnoOf(err)
	}
	var info host.PacketInfo
	if sa, ok := from.(*unix.SockaddrUnix); ok {
		info = infoOf(sa.Name)
	}
	if !info.Local.IsValid() { // the connected peer's
		peer := info.Peer
		k.datagram.mu.Lock()
		info = k.datagram.info
		k.datagram.mu.Unlock()
		info.Peer = peer
	}
	info.At = time.Now()
	if e := c.scatter(m, b[:min(uint64(n), room)]); e != 0 {
		return 0, e
	}
	addr := c.formatAddr(posix.Addr{Family: k.domain, AddrPort: info.Peer}, info.AdapterIndex)
	if m.header == 0 {
		return n, c.writeAddr(m.name, m.nameLen, addr)
	}
	return n, c.finish(m, addr, c.p.Control(k.id, &info), got&unix.MSG_TRUNC)
}

// finish fills a msghdr in.
func (c *call) finish(m *message, addr []byte, ctl []posix.Cmsg, flags int) syscall.Errno {
	if m.name != 0 {
		e := c.write(m.name, addr[:min(len(addr), int(m.nameLen))])
		if e == 0 {
			e = c.writeInt(m.header+8, int32(len(addr)))
		}
		if e != 0 {
			return e
		}
	}
	var raw []byte
	for _, x := range ctl {
		if len(raw)+unix.CmsgSpace(len(x.Data)) > m.controlLen {
			flags |= unix.MSG_CTRUNC
			break
		}
		at := len(raw)
		raw = append(raw, make([]byte, unix.CmsgSpace(len(x.Data)))...)
		native.PutUint64(raw[at:], uint64(unix.CmsgLen(len(x.Data))))
		native.PutUint32(raw[at+8:], uint32(x.Level))
		native.PutUint32(raw[at+12:], uint32(x.Type))
		copy(raw[at+unix.CmsgLen(0):], x.Data)
	}
	if e := c.write(m.control, raw); e != 0 {
		return e
	}
	if e := c.write(m.header+40, native.AppendUint64(nil, uint64(len(raw)))); e != 0 {
		return e
	}
	return c.writeInt(m.header+48, int32(flags))
}
