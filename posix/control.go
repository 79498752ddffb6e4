package posix

import (
	"encoding/binary"
	"net/netip"
	"syscall"

	"github.com/towpath/towpath/host"
)

// Control is what a socket wants to be told of a datagram, for those who have
// taken it off the socket themselves.
func (p *Process) Control(fd int, info *host.PacketInfo) []Cmsg {
	f, e := p.socketOf(fd)
	if e != 0 {
		return nil
	}
	return f.control(info)
}

// control are the control messages that a socket wants of a datagram.
func (f *file) control(info *host.PacketInfo) (ctl []Cmsg) {
	f.mu.Lock()
	defer f.mu.Unlock()
	ctl = f.stampCmsg(nil, info.At)
	if f.sock.Options().Coalesce && info.SegmentSize != 0 {
		ctl = append(ctl, Cmsg{SOL_UDP, UDP_GRO, binary.LittleEndian.AppendUint32(nil, uint32(info.SegmentSize))})
	}
	if len(f.recv) == 0 || !info.Local.IsValid() {
		return ctl
	}
	num := func(level, typ int, v uint32) {
		ctl = append(ctl, Cmsg{level, typ, binary.LittleEndian.AppendUint32(nil, v)})
	}
	if info.Local.Is4() {
		if f.recv[optName{IPPROTO_IP, IP_PKTINFO}] {
			a := info.Local.As4()
			b := binary.LittleEndian.AppendUint32(nil, uint32(info.AdapterIndex))
			b = append(append(b, a[:]...), a[:]...)
			ctl = append(ctl, Cmsg{IPPROTO_IP, IP_PKTINFO, b})
		}
		if f.recv[optName{IPPROTO_IP, IP_RECVTTL}] {
			num(IPPROTO_IP, IP_TTL, uint32(info.TTL))
		}
		if f.recv[optName{IPPROTO_IP, IP_RECVTOS}] {
			ctl = append(ctl, Cmsg{IPPROTO_IP, IP_TOS, []byte{info.TOS}})
		}
	}
	if f.sock.Family() != AF_INET6 {
		return ctl
	}
	if f.recv[optName{IPPROTO_IPV6, IPV6_RECVPKTINFO}] {
		a := info.Local.As16()
		ctl = append(ctl, Cmsg{IPPROTO_IPV6, IPV6_PKTINFO, binary.LittleEndian.AppendUint32(a[:], uint32(info.AdapterIndex))})
	}
	if info.Local.Is6() {
		if f.recv[optName{IPPROTO_IPV6, IPV6_RECVHOPLIMIT}] {
			num(IPPROTO_IPV6, IPV6_HOPLIMIT, uint32(info.TTL))
		}
		if f.recv[optName{IPPROTO_IPV6, IPV6_RECVTCLASS}] {
			num(IPPROTO_IPV6, IPV6_TCLASS, uint32(info.TOS))
		}
	}
	return ctl
}

// sendInfo is what control messages say of a datagram to be sent; nil if there
// are none.
func sendInfo(ctl []Cmsg) (*host.PacketInfo, syscall.Errno) {
	if len(ctl) == 0 {
		return nil, 0
	}
	info := new(host.PacketInfo)
	num := func(m *Cmsg) (uint8, syscall.Errno) {
		v, e := optInt(IPPROTO_IP, m.Data)
		if e == 0 && (v < 0 || v > 255) {
			e = syscall.EINVAL
		}
		return uint8(v), e
	}
	for i := range ctl {
		m := &ctl[i]
		var e syscall.Errno
		switch (optName{m.Level, m.Type}) {
		case optName{IPPROTO_IP, IP_PKTINFO}:
			if len(m.Data) < 12 {
				return nil, syscall.EINVAL
			}
			info.Local = netip.AddrFrom4([4]byte(m.Data[4:8]))
		case optName{IPPROTO_IPV6, IPV6_PKTINFO}:
			if len(m.Data) < 20 {
				return nil, syscall.EINVAL
			}
			info.Local = netip.AddrFrom16([16]byte(m.Data[:16])).Unmap()
		case optName{SOL_UDP, UDP_SEGMENT}:
			if len(m.Data) != 2 {
				return nil, syscall.EINVAL
			}
			info.SegmentSize = int(binary.LittleEndian.Uint16(m.Data))
		case optName{IPPROTO_IP, IP_TTL}, optName{IPPROTO_IPV6, IPV6_HOPLIMIT}:
			info.TTL, e = num(m)
		case optName{IPPROTO_IP, IP_TOS}, optName{IPPROTO_IPV6, IPV6_TCLASS}:
			info.TOS, e = num(m)
		default:
			return nil, syscall.EINVAL
		}
		if e != 0 {
			return nil, e
		}
	}
	return info, 0
}

// Origins of a sock_extended_err.
const (
	soEEOriginLocal = 1
	soEEOriginICMP  = 2
	soEEOriginICMP6 = 3
)

// errorCmsg is what is told of an error on the error queue: struct
// sock_extended_err, and the address of who sent the error, in the form of the
// socket's family.
func errorCmsg(q *host.SocketError, family int) Cmsg {
	b := binary.LittleEndian.AppendUint32(nil, uint32(q.Errno))
	origin := byte(soEEOriginICMP)
	switch {
	case q.Here:
		origin, family = soEEOriginLocal, AF_UNSPEC
	case q.V6:
		origin = soEEOriginICMP6
	}
	b = append(b, origin, q.Type, q.Code, 0)
	b = binary.LittleEndian.AppendUint32(b, q.Info)
	b = binary.LittleEndian.AppendUint32(b, 0)
	b = binary.LittleEndian.AppendUint16(b, uint16(family))
	switch {
	case family == AF_UNSPEC && !q.V6:
		return Cmsg{IPPROTO_IP, IP_RECVERR, append(b, make([]byte, 14)...)}
	case family == AF_UNSPEC:
		return Cmsg{IPPROTO_IPV6, IPV6_RECVERR, append(b, make([]byte, 26)...)}
	case family == AF_INET:
		a := q.Offender.As4()
		return Cmsg{IPPROTO_IP, IP_RECVERR, append(append(b, 0, 0), append(a[:], make([]byte, 8)...)...)}
	}
	a := q.Offender.As16()
	b = append(append(b, make([]byte, 6)...), a[:]...) // port, flow label
	return Cmsg{IPPROTO_IPV6, IPV6_RECVERR, append(b, 0, 0, 0, 0)}
}
