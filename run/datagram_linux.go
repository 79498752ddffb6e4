//go:build amd64 || arm64

package run

import (
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/towpath/towpath/host"
	"github.com/towpath/towpath/posix"
	"github.com/towpath/towpath/socket"
)

// sendersMax bounds the senders of one socket.
const sendersMax = 64

// datagram is a sock's datagram half.
type datagram struct {
	mu       sync.Mutex
	far      string             // the far end's abstract name
	senders  map[string]*sender // by their names
	order    []string           // of them, the oldest first
	conn     *sender            // the peer's, if there is one
	peer     posix.Addr         // where it is
	resolver bool               // the peer cannot be reached; names are resolved here
	info     host.PacketInfo    // of the peer's last datagram
	over     bool
}

// A sender is a unix socket that stands for a peer of one sock.
type sender struct {
	*near
	name string
	mu   sync.Mutex // held while what the program has sent is taken out
}

// openDatagram makes the far end.
func (k *sock) openDatagram(nonblock bool) (int, error) {
	typ := unix.SOCK_DGRAM | unix.SOCK_CLOEXEC
	if nonblock {
		typ |= unix.SOCK_NONBLOCK
	}
	far, err := unix.Socket(unix.AF_UNIX, typ, 0)
	if err != nil {
		return -1, err
	}
	if err = unix.Bind(far, &unix.SockaddrUnix{}); err == nil { // the kernel finds a name
		var sa unix.Sockaddr
		if sa, err = unix.Getsockname(far); err == nil {
			k.datagram.far = sa.(*unix.SockaddrUnix).Name
			k.datagram.senders = make(map[string]*sender)
			return far, nil
		}
	}
	unix.Close(far)
	return -1, err
}

// farGone reports whether the far end is closed.
func (d *datagram) farGone(probe int) bool {
	return unix.Connect(probe, &unix.SockaddrUnix{Name: d.far}) == unix.ECONNREFUSED
}

// close closes the senders.
func (d *datagram) close() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.over = true
	for _, s := range d.senders {
		s.Close()
	}
	if d.conn != nil {
		d.conn.Close()
	}
	d.senders, d.conn = nil, nil
}

// ---- names

// nameOf is the name of the sender for datagrams that came so.
func (k *sock) nameOf(i *host.PacketInfo) string {
	b := make([]byte, 0, 41)
	var kind byte
	if i.Peer.Addr().Is4() {
		kind |= 1
	}
	if i.Local.Is4() {
		kind |= 2
	}
	peer, local := i.Peer.Addr().As16(), netip.IPv6Unspecified().As16()
	if i.Local.IsValid() {
		kind |= 4
		local = i.Local.As16()
	}
	b = append(append(append(b, kind), peer[:]...), local[:]...)
	b = binary.BigEndian.AppendUint16(b, i.Peer.Port())
	b = binary.BigEndian.AppendUint32(b, uint32(i.AdapterIndex))
	b = append(b, i.TTL, i.TOS)
	return fmt.Sprintf("@towpath.%s.%d.%s", k.srv.id, k.id, base64.RawURLEncoding.EncodeToString(b))
}

// infoOf reads such a name.
func infoOf(name string) (i host.PacketInfo) {
	b, err := base64.RawURLEncoding.DecodeString(name[strings.LastIndexByte(name, '.')+1:])
	if err != nil || len(b) != 41 {
		return i
	}
	peer, local := netip.AddrFrom16([16]byte(b[1:17])), netip.AddrFrom16([16]byte(b[17:33]))
	if b[0]&1 != 0 {
		peer = peer.Unmap()
	}
	if b[0]&2 != 0 {
		local = local.Unmap()
	}
	if b[0]&4 != 0 {
		i.Local = local
	}
	i.Peer = netip.AddrPortFrom(peer, binary.BigEndian.Uint16(b[33:]))
	i.AdapterIndex, i.TTL, i.TOS = int32(binary.BigEndian.Uint32(b[35:])), b[39], b[40]
	return i
}

func newSender(name string) (*sender, error) {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	if err := unix.Bind(fd, &unix.SockaddrUnix{Name: name}); err != nil {
		unix.Close(fd)
		return nil, err
	}
	n, err := newNear(fd)
	if err != nil {
		return nil, err
	}
	return &sender{near: n, name: name}, nil
}

// join connects a sender to the far end.
func (s *sender) join(far string) (err error) {
	s.raw.Control(func(fd uintptr) { err = unix.Connect(int(fd), &unix.SockaddrUnix{Name: far}) })
	return err
}

// sender finds or makes the sender for a datagram; nil if there can be none.
func (k *sock) sender(i *host.PacketInfo) *sender {
	d := &k.datagram
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case d.over:
		return nil
	case d.conn != nil:
		d.info = *i
		return d.conn
	}
	name := k.nameOf(i)
	if s := d.senders[name]; s != nil {
		return s
	}
	s, err := newSender(name)
	if err != nil {
		return nil
	}
	if s.join(d.far) != nil { // closed, or connected meanwhile
		s.Close()
		return nil
	}
	if len(d.order) >= sendersMax {
		d.senders[d.order[0]].Close()
		delete(d.senders, d.order[0])
		d.order = d.order[1:]
	}
	d.senders[name] = s
	d.order = append(d.order, name)
	return s
}

// push gives the program a datagram, and waits until there is room for it.
func (k *sock) push(i *host.PacketInfo, b []byte) {
	s := k.sender(i)
	if s == nil {
		return
	}
	var err error
	s.raw.Write(func(fd uintptr) bool {
		err = unix.Sendmsg(int(fd), b, nil, nil, unix.MSG_NOSIGNAL)
		return err != unix.EAGAIN
	})
	if err == unix.ECONNREFUSED {
		k.end(false)
		return
	}
	k.mu.Lock()
	k.announceLocked()
	k.mu.Unlock()
}

// dgramIn moves what arrives to the program.
func (k *sock) dgramIn() {
	w := socket.Watch{C: make(chan struct{}, 1)}
	k.sock.Watch(&w)
	defer k.sock.Unwatch(&w)
	for {
		b := chunks.Get().(*[chunkSize]byte)
		n, info, e := k.sock.Recv(b[:], 0)
		if e == 0 {
			k.push(&info, b[:min(n, len(b))])
		}
		chunks.Put(b)
		switch e {
		case 0:
		case syscall.EAGAIN:
			select {
			case <-w.C:
			case <-k.gone:
				return
			}
		case syscall.EBADF:
			return
		default: // an ICMP error
			k.mu.Lock()
			k.err = e
			k.announceLocked()
			k.mu.Unlock()
			k.signal()
		}
	}
}

// signal makes the far end of a connected socket poll as having an error, and
// fail a call that is not ours with ECONNRESET. That is what a unix socket does
// whose peer turns away with something unread.
func (k *sock) signal() {
	d := &k.datagram
	d.mu.Lock()
	s := d.conn
	d.mu.Unlock()
	if s == nil {
		return
	}
	far, ok := k.far()
	if !ok {
		return
	}
	defer unix.Close(far)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.raw.Control(func(fd uintptr) {
		for k.takeOut(int(fd)) == nil {
		}
		if unix.Send(far, []byte{0}, unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL) == nil {
			var sa [16]byte // AF_UNSPEC
			connectRaw(int(fd), sa[:])
			unix.Connect(int(fd), &unix.SockaddrUnix{Name: d.far})
		}
	})
}

// calm takes that away again.
func calm(far int) { unix.GetsockoptInt(far, unix.SOL_SOCKET, unix.SO_ERROR) }

// connectDatagram gives the socket its peer.
func (k *sock) connectDatagram(a posix.Addr, far int) syscall.Errno {
	e := k.srv.p.Connect(k.id, a)
	resolver := a.Port() == dnsPort && (e == syscall.ENETUNREACH || e == syscall.EHOSTUNREACH)
	if e != 0 && !resolver {
		return e
	}
	d := &k.datagram
	d.mu.Lock()
	defer d.mu.Unlock()
	old := d.conn
	d.conn, d.resolver, d.peer = nil, false, posix.Addr{}
	defer func() {
		if old != nil {
			old.Close()
		}
	}()
	if a.Family == posix.AF_UNSPEC {
		var sa [16]byte // AF_UNSPEC
		return connectRaw(far, sa[:])
	}
	// Each connection has a name of its own: the one before may still have it.
	s, err := newSender(k.nameOf(&host.PacketInfo{Peer: a.AddrPort, AdapterIndex: k.srv.nextConn()}))
	if err != nil {
		return errnoOf(err)
	}
	if err = unix.Connect(far, &unix.SockaddrUnix{Name: s.name}); err == nil {
		err = s.join(d.far)
	}
	if err != nil {
		s.Close()
		return errnoOf(err)
	}
	d.conn, d.resolver, d.peer = s, resolver, a
	k.srv.spawn(func() { k.dgramOut(s) })
	return 0
}

// dgramOut moves what a connected program sends without our help to the host.
func (k *sock) dgramOut(s *sender) {
	s.raw.Read(func(fd uintptr) bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		for {
			switch err := k.takeOut(int(fd)); err {
			case nil, unix.EINTR:
			default:
				return err != unix.EAGAIN && err != unix.ECONNRESET
			}
		}
	})
}

// settle moves what the program has sent to the host, before something changes
// how it would be sent.
func (k *sock) settle() {
	d := &k.datagram
	d.mu.Lock()
	s := d.conn
	d.mu.Unlock()
	if s == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.raw.Control(func(fd uintptr) {
		for k.takeOut(int(fd)) == nil {
		}
	})
}

// takeOut moves one datagram to the host.
func (k *sock) takeOut(fd int) error {
	b := chunks.Get().(*[chunkSize]byte)
	defer chunks.Put(b)
	n, _, err := unix.Recvfrom(fd, b[:], unix.MSG_DONTWAIT)
	if err != nil {
		return err
	}
	if _, e := k.transmit(b[:n], 0, posix.Addr{}, nil); e != 0 && e != syscall.EAGAIN {
		k.setError(e)
	}
	return nil
}

// transmit sends a datagram, to the peer if to has no family. Questions for
// names that the host knows are answered here.
func (k *sock) transmit(b []byte, flags int, to posix.Addr, ctl []posix.Cmsg) (int, syscall.Errno) {
	d := &k.datagram
	d.mu.Lock()
	dest, resolver := to, to.Family == 0 && d.resolver
	if to.Family == 0 {
		dest = d.peer
	}
	d.mu.Unlock()
	if dest.Port() == dnsPort && k.typ == posix.SOCK_DGRAM && k.sock.Protocol() == protoUDP {
		if answer := resolve(k.srv.host, b, resolver); answer != nil {
			k.srv.spawn(func() { k.push(&host.PacketInfo{Peer: dest.AddrPort}, answer) })
			return len(b), 0
		}
	}
	k.srv.collectPort(dest.Port()) // its socket may just have been closed
	n, e := k.srv.p.Send(k.id, b, flags, to, ctl)
	return max(n, 0), e
}

// connectRaw connects a descriptor to an address as it is.
func connectRaw(fd int, sa []byte) syscall.Errno {
	_, _, e := unix.Syscall(unix.SYS_CONNECT, uintptr(fd), uintptr(unsafe.Pointer(&sa[0])), uintptr(len(sa)))
	return e
}
