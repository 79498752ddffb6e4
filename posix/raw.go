package posix

import (
	"encoding/binary"
	"syscall"

	"github.com/towpath/towpath/host"
)

// icmpFilter is how many bytes the filter of ICMP types has that a raw socket
// takes by the option n; 0 if it takes none.
func (f *file) icmpFilter(n optName) int {
	if f.sock.Type() != host.SockRaw {
		return 0
	}
	switch six := f.sock.Family() == AF_INET6; {
	case !n.icmpFilter(six):
	case !six && f.sock.Protocol() == 1:
		return 4
	case six && f.sock.Protocol() == 58:
		return 32
	}
	return 0
}

// icmpFilter reports whether an option is a family's filter of ICMP types.
func (n optName) icmpFilter(six bool) bool {
	return n == optName{SOL_RAW, ICMP_FILTER} && !six || n == optName{SOL_ICMPV6, ICMPV6_FILTER} && six
}

// checksumAt reports whether an option says where a raw socket's checksum is.
func (n optName) checksumAt() bool {
	return n == optName{SOL_RAW, IPV6_CHECKSUM} || n == optName{IPPROTO_IPV6, IPV6_CHECKSUM}
}

// headerIncluded reports whether an option says that a raw socket's packets
// begin with their headers.
func (n optName) headerIncluded() bool {
	return n == optName{IPPROTO_IP, IP_HDRINCL} || n == optName{IPPROTO_IPV6, IPV6_HDRINCL}
}

// setRaw sets an option of raw sockets. It reports whether it is one.
func (f *file) setRaw(n optName, data []byte) (e syscall.Errno, ok bool) {
	raw, six := f.sock.Type() == host.SockRaw, f.sock.Family() == AF_INET6
	switch size := f.icmpFilter(n); {
	case size > 0:
		return f.set(func(o *host.SocketOptions) {
			var b [32]byte // what is missing lets all types pass
			copy(b[:size], data)
			for i := range o.ICMPBlocked {
				o.ICMPBlocked[i] = binary.LittleEndian.Uint32(b[4*i:])
			}
		}), true
	case raw && n.icmpFilter(six):
		return syscall.EOPNOTSUPP, true
	case n.headerIncluded(), six && n.checksumAt():
		if !raw {
			return syscall.ENOPROTOOPT, true
		}
		v, e := optInt(n.level, data)
		switch {
		case e != 0:
		case n.headerIncluded():
			e = f.set(func(o *host.SocketOptions) { o.HeaderIncluded = v != 0 })
		case f.sock.Protocol() == 58 && n.level == IPPROTO_IPV6, v > 0 && v&1 != 0:
			e = syscall.EINVAL // RFC 3542 §3.1
		default:
			e = f.set(func(o *host.SocketOptions) { o.ChecksumAt = max(int(v), -1) })
		}
		return e, true
	}
	return 0, false
}

// getRaw reads an option of raw sockets. It reports whether it is one.
func (f *file) getRaw(n optName) (b []byte, e syscall.Errno, ok bool) {
	raw, six, o := f.sock.Type() == host.SockRaw, f.sock.Family() == AF_INET6, f.sock.Options()
	switch size := f.icmpFilter(n); {
	case size > 0:
		for _, v := range o.ICMPBlocked[:size/4] {
			b = binary.LittleEndian.AppendUint32(b, v)
		}
		return b, 0, true
	case raw && n.icmpFilter(six):
		return nil, syscall.EOPNOTSUPP, true
	case n.headerIncluded():
		return binary.LittleEndian.AppendUint32(nil, uint32(boolInt(o.HeaderIncluded))), 0, true
	case raw && six && n.checksumAt():
		return binary.LittleEndian.AppendUint32(nil, uint32(o.ChecksumAt)), 0, true
	}
	return nil, 0, false
}
