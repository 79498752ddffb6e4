package posix

import (
	"net/netip"
	"slices"
	"syscall"

	"github.com/towpath/towpath/host"
	"github.com/towpath/towpath/tcp"
)

// TCP Fast Open in the words of Linux's sockets.

// setFastOpen sets those of its options that are numbers.
func (p *Process) setFastOpen(f *file, name int, v int32) syscall.Errno {
	if v < 0 || name != TCP_FASTOPEN && v > 1 {
		return syscall.EINVAL
	}
	set := p.h.Settings()
	if name == TCP_FASTOPEN_CONNECT && !set.FastOpen(host.FastOpenClient) {
		return syscall.EOPNOTSUPP
	}
	i, e := f.sock.Info()
	if e != 0 || i.State != tcp.StateClosed && (i.State != tcp.StateListen || name == TCP_FASTOPEN_CONNECT) {
		return syscall.EINVAL
	}
	return f.set(func(o *host.SocketOptions) {
		switch name {
		case TCP_FASTOPEN:
			o.FastOpen = min(int(v), set.Somaxconn)
		case TCP_FASTOPEN_CONNECT:
			o.FastOpenConnect = v != 0
		default:
			o.FastOpenNoCookie = v != 0
		}
	})
}

// setFastOpenKeys sets a listener's key, and maybe the one it had before.
func (f *file) setFastOpenKeys(data []byte) syscall.Errno {
	const size = len(host.FastOpenKey{})
	if len(data) != size && len(data) != 2*size {
		return syscall.EINVAL
	}
	var keys []host.FastOpenKey
	for k := range slices.Chunk(data, size) {
		keys = append(keys, host.FastOpenKey(k))
	}
	return f.set(func(o *host.SocketOptions) { o.FastOpenKeys = keys })
}

// fastOpenKeys are the keys that a listener uses.
func (p *Process) fastOpenKeys(o *host.SocketOptions) (b []byte) {
	keys := o.FastOpenKeys
	if len(keys) == 0 {
		keys = p.h.Settings().TCPFastOpenKeys
	}
	for _, k := range keys {
		b = append(b, k[:]...)
	}
	return b
}

// sendFastOpen connects and sends what of b fits the SYN. Unless the call may not
// wait, it waits for the handshake and sends the rest.
func (p *Process) sendFastOpen(f *file, b []byte, flags int, to Addr) (int, syscall.Errno) {
	var dest netip.AddrPort
	if to.Family != AF_UNSPEC {
		dest = to.AddrPort
	}
	n, e := f.sock.SendFastOpen(b, dest)
	if (e == syscall.EINPROGRESS || e == syscall.EALREADY) && flags&MSG_DONTWAIT == 0 && !f.isNonblock() {
		e = p.awaitConnect(f, to)
	}
	switch {
	case e == syscall.EINPROGRESS && n > 0:
		return n, 0
	case e != 0:
		return -1, e
	}
	m, e := p.sendStream(f, b[n:], flags)
	if n > 0 {
		return n + max(m, 0), 0
	}
	return m, e
}
