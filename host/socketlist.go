package host

import (
	"net/netip"
	"time"

	"github.com/towpath/towpath/clock"
	"github.com/towpath/towpath/tcp"
	"github.com/towpath/towpath/wire"
)

// A SocketInfo describes one of a host's sockets, whoever has it (Linux:
// sock_diag(7), /proc/net/tcp).
type SocketInfo struct {
	Type   SockType
	Proto  wire.Proto // of a TCP connection in TIME-WAIT too
	Family int        // AFInet or AFInet6
	V6Only bool       // of a listener or a datagram socket of IPv6
	Local  netip.AddrPort
	Remote netip.AddrPort // not valid if there is no peer
	Index  int32          // of the adapter by which its packets leave; 0 if that is open

	// RxQueue is the bytes that wait to be read, of a listener the connections
	// that wait to be accepted. TxQueue is the bytes that are not acknowledged,
	// of a listener its backlog.
	RxQueue, TxQueue int

	// TCP tells of a connection; of a listener and in TIME-WAIT the state only.
	TCP       tcp.Info
	KeepAlive bool
	Expires   time.Duration // until the connection's next timer; negative: there is none
}

// Sockets describes the host's sockets: TCP's listeners and connections, those in
// TIME-WAIT too, datagram sockets that have a port, ping and raw sockets. They
// come in no particular order.
func (h *Host) Sockets() (list []SocketInfo) {
	ln := &h.lane
	ln.lock()
	defer ln.unlock(nil)
	for _, ls := range ln.ports.listeners {
		for _, l := range ls {
			list = append(list, l.describe())
		}
	}
	for _, e := range ln.tcp.buckets {
		for ; e != nil; e = e.next {
			list = append(list, e.describe(ln))
		}
	}
	for _, chains := range []map[uint16][]*udpSocket{ln.ports.datagrams, ln.ports.echoes[0], ln.ports.echoes[1]} {
		for _, ss := range chains {
			for _, s := range ss {
				list = append(list, s.describe())
			}
		}
	}
	for _, s := range ln.raws {
		list = append(list, s.describe())
	}
	return list
}

// describeBinding fills in what a socket listens to.
func (i *SocketInfo) describeBinding(b *binding) {
	if i.Family = AFInet; b.v6 {
		i.Family, i.V6Only = AFInet6, !b.v4
	}
	addr := b.addr
	if i.Family == AFInet6 && addr.Is4() {
		addr = netip.IPv6Unspecified()
	}
	i.Local = netip.AddrPortFrom(addr, b.port)
}

func (l *tcpListener) describe() SocketInfo {
	i := SocketInfo{
		Type: SockStream, Proto: wire.ProtoTCP, RxQueue: l.n, TxQueue: l.backlog,
		TCP: tcp.Info{State: tcp.StateListen}, Expires: -1,
	}
	i.describeBinding(&l.binding)
	return i
}

func (e *connEntry) describe(ln *lane) SocketInfo {
	t := &e.Tuple
	i := SocketInfo{
		Type: SockStream, Proto: wire.ProtoTCP, Family: AFInet, Expires: -1,
		Local: netip.AddrPortFrom(t.Src, t.SrcPort), Remote: netip.AddrPortFrom(t.Dst, t.DstPort),
	}
	if t.Src.Is6() {
		i.Family = AFInet6
	}
	due := time.Duration(0)
	if s := e.sock; s != nil {
		i.TCP, i.RxQueue, i.TxQueue = s.conn.Info(), s.conn.Readable(), s.conn.Unacked()
		i.KeepAlive = s.face != nil && s.face.opt.KeepAlive
		if s.face != nil && s.face.six {
			i.Family = AFInet6
		}
		if s.way.out != nil && (t.Dst.IsLinkLocalUnicast() || t.Src.IsLinkLocalUnicast()) {
			i.Index = s.way.out.Index()
		}
		due = s.conn.Deadline()
	} else {
		i.TCP.State = tcp.StateTimeWait
		due = e.wait.Deadline()
	}
	if due != clock.Never {
		i.Expires = max(due-ln.now, 0)
	}
	return i
}

func (s *udpSocket) describe() SocketInfo {
	i := SocketInfo{Type: SockDgram, Proto: s.proto, Remote: s.remote, Index: s.scope, Expires: -1}
	if s.raw != nil {
		i.Type = SockRaw
	}
	i.describeBinding(&s.binding)
	if s.face != nil && s.face.six {
		i.Family = AFInet6
	}
	s.mu.Lock()
	i.RxQueue = s.queued
	s.mu.Unlock()
	return i
}
