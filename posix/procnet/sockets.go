package procnet

import (
	"cmp"
	"encoding/binary"
	"net/netip"
	"slices"
	"time"

	"github.com/towpath/towpath/host"
	"github.com/towpath/towpath/posix"
	"github.com/towpath/towpath/tcp"
	"github.com/towpath/towpath/wire"
)

const (
	icmp    = wire.ProtoICMP
	icmp6   = wire.ProtoICMPv6
	udp     = wire.ProtoUDP
	udplite = wire.Proto(136)
)

// userTick is the unit of times (USER_HZ).
const userTick = 10 * time.Millisecond

// timers of a connection, by their numbers.
const (
	timerNone      = 0
	timerRetrans   = 1
	timerKeepalive = 2
	timerTimeWait  = 3
)

// sockets are those of a family that want says yes to, in the order of their
// ports.
func (w *writer) sockets(family int, want func(*host.SocketInfo) bool) []host.SocketInfo {
	list := slices.DeleteFunc(w.host.Sockets(), func(s host.SocketInfo) bool {
		return s.Family != family || !want(&s)
	})
	slices.SortFunc(list, func(a, b host.SocketInfo) int {
		return cmp.Or(
			cmp.Compare(order(&a), order(&b)), a.Local.Addr().Compare(b.Local.Addr()), cmp.Compare(a.Local.Port(), b.Local.Port()),
			a.Remote.Compare(b.Remote),
		)
	})
	return list
}

// order puts listeners first.
func order(s *host.SocketInfo) int {
	if s.TCP.State == tcp.StateListen {
		return 0
	}
	return 1
}

// addr writes an address as a number, or four.
func (w *writer) addr(family int, a netip.AddrPort) {
	b := make([]byte, 4)
	switch {
	case family == host.AFInet6:
		ip := netip.IPv6Unspecified().As16()
		if a.IsValid() {
			ip = a.Addr().As16()
		}
		b = ip[:]
	case a.IsValid():
		ip := a.Addr().As4()
		b = ip[:]
	}
	for ; len(b) > 0; b = b[4:] {
		w.printf("%08X", binary.NativeEndian.Uint32(b))
	}
	w.printf(":%04X ", a.Port())
}

const (
	columns4 = "local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode"
	columns6 = "local_address                         remote_address                        st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode"
)

func columns(family int) string {
	if family == host.AFInet6 {
		return columns6
	}
	return columns4
}

func (w *writer) tcp(family int) {
	// IPv4's lines have 149 columns whatever is in them.
	width := -149
	if family == host.AFInet6 {
		width = 0
	}
	w.printf("%*s\n", width, "  sl  "+columns(family))
	for i, s := range w.sockets(family, func(s *host.SocketInfo) bool { return s.Type == host.SockStream }) {
		timer, probes := timerNone, 0
		switch {
		case s.TCP.State == tcp.StateTimeWait:
			timer = timerTimeWait
		case s.TxQueue > 0 && s.TCP.State != tcp.StateListen || s.TCP.State == tcp.StateSynSent || s.TCP.State == tcp.StateSynReceived:
			timer = timerRetrans
		case s.KeepAlive:
			timer = timerKeepalive
		}
		tx := s.TxQueue
		if s.TCP.State == tcp.StateListen {
			tx = 0
		}
		due := int64(max(s.Expires, 0) / userTick)
		if timer == timerNone {
			due = 0
		}
		w.begin(i, family, &s, posix.TCPState(s.TCP.State), tx)
		w.printf("%02X:%08X %08X %5d %8d %d 1 0000000000000000", timer, due, s.TCP.Retransmits, 0, probes, 0)
		if s.TCP.State != tcp.StateTimeWait {
			ssthresh := -1
			if i := &s.TCP; i.SndMSS > 0 && i.Ssthresh < 1<<30 {
				ssthresh = i.Ssthresh / i.SndMSS
			}
			w.printf(" %d %d 0 %d %d", s.TCP.RTO/userTick, s.TCP.ATO/userTick, s.TCP.Cwnd/max(s.TCP.SndMSS, 1), ssthresh)
		}
		w.WriteByte('\n')
	}
}

// begin writes a line up to the queues.
func (w *writer) begin(i, family int, s *host.SocketInfo, state uint8, tx int) {
	w.printf("%4d: ", i)
	w.addr(family, s.Local)
	w.addr(family, s.Remote)
	w.printf("%02X %08X:%08X ", state, tx, s.RxQueue)
}

// datagrams writes the sockets of a type and a protocol; 0: any. IPv4's ports and
// identifiers stand in lines of a fixed width.
func (w *writer) datagrams(family int, t host.SockType, proto wire.Proto) {
	width, lead := 0, "  sl  "
	if t == host.SockDgram && family == host.AFInet {
		width = -127
		if proto != icmp {
			lead = "   sl  "
		}
	}
	w.printf("%*s\n", width, lead+columns(family)+" ref pointer drops")
	list := w.sockets(family, func(s *host.SocketInfo) bool {
		return s.Type == t && (proto == 0 || s.Proto == proto)
	})
	for i, s := range list {
		state := tcp.StateClosed
		if s.Remote.IsValid() {
			state = tcp.StateEstablished
		}
		line := &writer{host: w.host}
		if width != 0 {
			line.WriteByte(' ')
		}
		line.begin(i, family, &s, posix.TCPState(state), s.TxQueue)
		line.printf("00:00000000 00000000 %5d %8d %d 2 0000000000000000 0", 0, 0, 0)
		w.printf("%*s\n", width, line.String())
	}
}

func (w *writer) packets() {
	w.printf("sk               RefCnt Type Proto  Iface R Rmem   User   Inode\n")
}

// counts are the sockets of a family.
type counts struct{ tcp, wait, udp, raw int }

func (w *writer) count(family int) (c counts) {
	for _, s := range w.sockets(family, func(*host.SocketInfo) bool { return true }) {
		switch {
		case s.TCP.State == tcp.StateTimeWait:
			c.wait++
		case s.Type == host.SockStream:
			c.tcp++
		case s.Type == host.SockRaw:
			c.raw++
		case s.Proto == udp:
			c.udp++
		}
	}
	return c
}

func (w *writer) sockstat() {
	c, c6 := w.count(host.AFInet), w.count(host.AFInet6)
	w.printf("sockets: used %d\n", c.tcp+c.udp+c.raw+c6.tcp+c6.udp+c6.raw)
	w.printf("TCP: inuse %d orphan 0 tw %d alloc %d mem 0\n", c.tcp, c.wait+c6.wait, c.tcp+c6.tcp)
	w.printf("UDP: inuse %d mem 0\nUDPLITE: inuse 0\nRAW: inuse %d\nFRAG: inuse 0 memory 0\n", c.udp, c.raw)
}

func (w *writer) sockstat6() {
	c := w.count(host.AFInet6)
	w.printf("TCP6: inuse %d\nUDP6: inuse %d\nUDPLITE6: inuse 0\nRAW6: inuse %d\nFRAG6: inuse 0 memory 0\n", c.tcp, c.udp, c.raw)
}
