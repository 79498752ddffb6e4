package rtnl

import (
	"encoding/binary"
	"net/netip"
	"syscall"
	"time"

	"github.com/towpath/towpath/host"
	"github.com/towpath/towpath/posix"
	"github.com/towpath/towpath/tcp"
	"github.com/towpath/towpath/wire"
)

// Types of messages of socket monitoring (sock_diag(7)).
const (
	diagByFamily = 20 // SOCK_DIAG_BY_FAMILY
	diagDestroy  = 21
)

// Families that are asked for and of which a host has no sockets here.
const (
	afUnix    = 1
	afNetlink = 16
	afPacket  = 17
)

const (
	inetDiagReqLen = 56 // struct inet_diag_req_v2
	inetDiagMsgLen = 72 // struct inet_diag_msg
	sockidLen      = 48 // struct inet_diag_sockid, at 8 of a request and at 4 of a message
)

// Attributes: of requests, and of messages, which are asked for by their bits.
const (
	diagReqBytecode = 1
	diagMeminfo     = 1
	diagInfo        = 2
	diagCong        = 4
	diagShutdown    = 8
	diagSkV6Only    = 11
)

// AnswerDiag is [Answer] for sockets of NETLINK_SOCK_DIAG: it shows the host's
// sockets, as the program ss asks for them.
func AnswerDiag(h *host.Host, b []byte, port uint32) (replies [][]byte) {
	for r := range requests(h, b, port) {
		replies = append(replies, r.answerDiag()...)
	}
	return replies
}

func (r *request) answerDiag() [][]byte {
	if r.flags&flagRequest == 0 || r.typ < msgMin {
		return r.silent()
	}
	var list []message
	e := syscall.EOPNOTSUPP
	if r.typ == diagByFamily {
		list, e = r.sockets()
	}
	all := r.flags&flagDump == flagDump
	switch {
	case e != 0:
		return [][]byte{r.err(e)}
	case all:
		return r.multi(list)
	case len(list) == 0:
		return [][]byte{r.err(syscall.ENOENT)}
	}
	return [][]byte{r.finish(list[0], 0)}
}

// sockets are those that a request asks for.
func (r *request) sockets() (list []message, e syscall.Errno) {
	if len(r.body) < 2 {
		return nil, syscall.EINVAL
	}
	switch r.body[0] {
	case afUnix, afNetlink, afPacket:
		return nil, 0
	case afInet, afInet6:
	default:
		return nil, syscall.ENOENT
	}
	if len(r.body) < inetDiagReqLen {
		return nil, syscall.EINVAL
	}
	attrs, _ := r.attributes(inetDiagReqLen)
	proto, states := wire.Proto(r.body[1]), native.Uint32(r.body[4:])
	now := r.host.Clock().Now()
	for _, s := range r.host.Sockets() {
		state := diagState(&s)
		if uint8(s.Family) != r.body[0] || !isProto(&s, proto) {
			continue
		}
		if r.flags&flagDump == flagDump {
			if states&(1<<state) == 0 || !runBytecode(attrs[diagReqBytecode], &s) {
				continue
			}
		} else if string(sockid(&s)[:36]) != string(r.body[8:8+36]) {
			continue
		}
		list = append(list, newDiagMessage(&s, state, r.body[2], now))
	}
	return list, 0
}

// isProto reports whether a socket is one of a protocol; raw ones are all those
// of IPPROTO_RAW.
func isProto(s *host.SocketInfo, proto wire.Proto) bool {
	if proto == syscall.IPPROTO_RAW {
		return s.Type == host.SockRaw
	}
	return s.Type != host.SockRaw && s.Proto == proto
}

// diagState is a socket's state by Linux's number.
func diagState(s *host.SocketInfo) uint8 {
	if s.Type != host.SockStream && s.Remote.IsValid() {
		return posix.TCPState(tcp.StateEstablished)
	}
	return posix.TCPState(s.TCP.State)
}

// sockid is a struct inet_diag_sockid.
func sockid(s *host.SocketInfo) []byte {
	b := make([]byte, sockidLen)
	put := func(port, at int, a netip.AddrPort) {
		binary.BigEndian.PutUint16(b[port:], a.Port())
		ip := a.Addr()
		if s.Family == afInet6 && ip.Is4() {
			ip = netip.AddrFrom16(ip.As16())
		}
		copy(b[at:], ip.AsSlice())
	}
	put(0, 4, s.Local)
	put(2, 20, s.Remote)
	native.PutUint32(b[36:], uint32(s.Index))
	return b
}

// Timers of a message.
const (
	diagRetrans   = 1
	diagKeepalive = 2
	diagTimeWait  = 3
)

func newDiagMessage(s *host.SocketInfo, state, ext uint8, now time.Duration) message {
	m := message{typ: diagByFamily, b: make([]byte, inetDiagMsgLen)}
	m.b[0], m.b[1], m.b[3] = uint8(s.Family), state, s.TCP.Retransmits
	copy(m.b[4:], sockid(s))
	connected := s.Type == host.SockStream && s.TCP.State != tcp.StateListen
	switch {
	case s.TCP.State == tcp.StateTimeWait:
		m.b[2] = diagTimeWait
	case connected && s.TxQueue > 0:
		m.b[2] = diagRetrans
	case s.KeepAlive:
		m.b[2] = diagKeepalive
	}
	if m.b[2] != 0 {
		native.PutUint32(m.b[52:], uint32(max(s.Expires, 0)/time.Millisecond))
	}
	native.PutUint32(m.b[56:], uint32(s.RxQueue))
	native.PutUint32(m.b[60:], uint32(s.TxQueue))
	wants := func(typ uint8) bool { return ext&(1<<(typ-1)) != 0 }
	m.attr8(diagShutdown, 0)
	if s.Family == afInet6 {
		only := uint8(0)
		if s.V6Only {
			only = 1
		}
		m.attr8(diagSkV6Only, only)
	}
	if wants(diagMeminfo) {
		b := native.AppendUint32(nil, uint32(s.TCP.RcvMemory))
		b = native.AppendUint32(b, uint32(s.TCP.NotSent))
		b = native.AppendUint32(b, 0)
		m.attr(diagMeminfo, native.AppendUint32(b, uint32(s.TxQueue)))
	}
	if connected && s.TCP.State != tcp.StateTimeWait {
		if wants(diagInfo) {
			m.attr(diagInfo, posix.TCPInfo(&s.TCP, now))
		}
		if wants(diagCong) {
			m.text(diagCong, s.TCP.Congestion)
		}
	}
	return m
}

// Codes of the filter that a request may bring (linux/inet_diag.h). A step has a
// code, the way to go on if it is true (one byte) and if not (two), counted in
// bytes, and often an operand behind it.
const (
	bcNop    = 0
	bcJump   = 1
	bcSrcGE  = 2
	bcSrcLE  = 3
	bcDstGE  = 4
	bcDstLE  = 5
	bcAuto   = 6
	bcSrc    = 7
	bcDst    = 8
	bcDev    = 9
	bcSrcEQ  = 11
	bcDstEQ  = 12
	bcLen    = 4
	hostcond = 8 // struct inet_diag_hostcond without its address
)

// runBytecode reports whether a filter lets a socket pass. It goes forwards only.
// What makes no sense lets nothing pass.
func runBytecode(code []byte, s *host.SocketInfo) bool {
	for len(code) > 0 {
		if len(code) < bcLen {
			return false
		}
		operand := code[bcLen:]
		yes := true
		port := func() uint16 { // the "no" of a second step
			if len(operand) < bcLen {
				return 0
			}
			return native.Uint16(operand[2:])
		}
		switch code[0] {
		case bcNop, bcAuto:
		case bcJump:
			yes = false
		case bcSrcEQ:
			yes = s.Local.Port() == port()
		case bcSrcGE:
			yes = s.Local.Port() >= port()
		case bcSrcLE:
			yes = s.Local.Port() <= port()
		case bcDstEQ:
			yes = s.Remote.Port() == port()
		case bcDstGE:
			yes = s.Remote.Port() >= port()
		case bcDstLE:
			yes = s.Remote.Port() <= port()
		case bcSrc:
			yes = matchHost(operand, s.Local)
		case bcDst:
			yes = matchHost(operand, s.Remote)
		case bcDev:
			yes = len(operand) >= 4 && int32(native.Uint32(operand)) == s.Index
		default:
			return false
		}
		step := int(code[1])
		if !yes {
			step = int(native.Uint16(code[2:]))
		}
		switch {
		case step < bcLen:
			return false
		case step > len(code): // one step beyond the end: no
			return false
		}
		code = code[step:]
	}
	return true
}

// matchHost compares an address with a struct inet_diag_hostcond: a prefix, and a
// port or -1.
func matchHost(b []byte, a netip.AddrPort) bool {
	if len(b) < hostcond {
		return false
	}
	family, bits, port := b[0], int(b[1]), int32(native.Uint32(b[4:]))
	if port != -1 && port != int32(a.Port()) {
		return false
	}
	if bits == 0 && family == 0 {
		return true
	}
	size := 4
	if family == afInet6 {
		size = 16
	}
	if len(b) < hostcond+size {
		return bits == 0
	}
	ip, _ := netip.AddrFromSlice(b[hostcond : hostcond+size])
	p, err := ip.Unmap().Prefix(bits)
	if err != nil { // of a mapped address
		p, err = ip.Prefix(bits)
	}
	if err != nil || !a.IsValid() {
		return false
	}
	return p.Contains(a.Addr()) || p.Contains(a.Addr().Unmap())
}
