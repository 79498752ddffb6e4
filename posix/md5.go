package posix

import (
	"encoding/binary"
	"net/netip"
	"syscall"
)

// Flags of struct tcp_md5sig.
const (
	TCP_MD5SIG_FLAG_PREFIX  = 1 // tcpm_prefixlen counts
	TCP_MD5SIG_FLAG_IFINDEX = 2 // tcpm_ifindex counts
)

const md5sigLen = 216 // struct tcp_md5sig

// setMD5Key sets the key of a peer, or with ext of the peers of a prefix, from a
// struct tcp_md5sig. Keys that hold on one routing domain's adapters only are
// refused, as by Linux where there is none.
func (f *file) setMD5Key(data []byte, ext bool) syscall.Errno {
	if len(data) < md5sigLen {
		return syscall.EINVAL
	}
	flags, prefix := data[128], int(data[129])
	n := int(binary.LittleEndian.Uint16(data[130:]))
	var a netip.Addr
	switch family := binary.LittleEndian.Uint16(data); {
	case int(family) != f.sock.Family():
		return syscall.EINVAL
	case family == AF_INET:
		a = netip.AddrFrom4([4]byte(data[4:]))
	default:
		a = netip.AddrFrom16([16]byte(data[8:])).Unmap()
	}
	bits := a.BitLen()
	if ext && flags&TCP_MD5SIG_FLAG_PREFIX != 0 {
		if bits = prefix; bits > a.BitLen() {
			return syscall.EINVAL
		}
	}
	if index := binary.LittleEndian.Uint32(data[132:]); ext && flags&TCP_MD5SIG_FLAG_IFINDEX != 0 && index != 0 {
		return syscall.EINVAL
	}
	if n > md5sigLen-136 {
		return syscall.EINVAL
	}
	return f.sock.SetMD5Key(netip.PrefixFrom(a, bits), data[136:136+n])
}
