//go:build amd64 || arm64

package run

import (
	"encoding/binary"
	"net/netip"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/towpath/towpath/posix"
)

// sockaddrMax is the size of struct sockaddr_storage.
const sockaddrMax = 128

var native = binary.NativeEndian

// read reads the program's memory at addr.
func (c *call) read(addr uint64, b []byte) syscall.Errno {
	if len(b) == 0 {
		return 0
	}
	local := []unix.Iovec{{Base: &b[0]}}
	local[0].SetLen(len(b))
	n, err := unix.ProcessVMReadv(int(c.PID), local, []unix.RemoteIovec{{Base: uintptr(addr), Len: len(b)}}, 0)
	if err != nil || n != len(b) {
		return syscall.EFAULT
	}
	return 0
}

// write writes the program's memory at addr.
func (c *call) write(addr uint64, b []byte) syscall.Errno {
	if len(b) == 0 {
		return 0
	}
	local := []unix.Iovec{{Base: &b[0]}}
	local[0].SetLen(len(b))
	n, err := unix.ProcessVMWritev(int(c.PID), local, []unix.RemoteIovec{{Base: uintptr(addr), Len: len(b)}}, 0)
	if err != nil || n != len(b) {
		return syscall.EFAULT
	}
	return 0
}

// writeTwo writes at two places.
func (c *call) writeTwo(addr uint64, b []byte, addr2 uint64, b2 []byte) syscall.Errno {
	if len(b) == 0 {
		return c.write(addr2, b2)
	}
	local := []unix.Iovec{{Base: &b[0]}, {Base: &b2[0]}}
	local[0].SetLen(len(b))
	local[1].SetLen(len(b2))
	remote := []unix.RemoteIovec{{Base: uintptr(addr), Len: len(b)}, {Base: uintptr(addr2), Len: len(b2)}}
	n, err := unix.ProcessVMWritev(int(c.PID), local, remote, 0)
	if err != nil || n != len(b)+len(b2) {
		return syscall.EFAULT
	}
	return 0
}

func (c *call) readInt(addr uint64) (int32, syscall.Errno) {
	var b [4]byte
	e := c.read(addr, b[:])
	return int32(native.Uint32(b[:])), e
}

func (c *call) writeInt(addr uint64, v int32) syscall.Errno {
	return c.write(addr, native.AppendUint32(nil, uint32(v)))
}

// rawAddr reads a socket address as it is.
func (c *call) rawAddr(addr, size uint64) ([]byte, syscall.Errno) {
	if int32(size) < 0 || uint32(size) > sockaddrMax {
		return nil, syscall.EINVAL
	}
	b := make([]byte, uint32(size))
	return b, c.read(addr, b)
}

// readAddr reads a socket address for a socket of a family.
func (c *call) readAddr(addr, size uint64) (posix.Addr, syscall.Errno) {
	b, e := c.rawAddr(addr, size)
	if e != 0 {
		return posix.Addr{}, e
	}
	return c.parseAddr(b)
}

// parseAddr reads a sockaddr. Families other than IP's have no address.
func (s *server) parseAddr(b []byte) (a posix.Addr, e syscall.Errno) {
	if len(b) < 2 {
		return a, syscall.EINVAL
	}
	a.Family = int(native.Uint16(b))
	switch {
	case a.Family == posix.AF_INET6 && len(b) >= 24:
		ip := netip.AddrFrom16([16]byte(b[8:24]))
		if len(b) >= 28 && ip.IsLinkLocalUnicast() {
			for _, a := range s.host.Adapters() {
				if a.Index() == int32(native.Uint32(b[24:])) {
					ip = ip.WithZone(a.Name())
				}
			}
		}
		a.AddrPort = netip.AddrPortFrom(ip, binary.BigEndian.Uint16(b[2:]))
	case a.Family == posix.AF_INET6:
		return a, syscall.EINVAL
	case (a.Family == posix.AF_INET || a.Family == posix.AF_UNSPEC) && len(b) >= 16:
		a.AddrPort = netip.AddrPortFrom(netip.AddrFrom4([4]byte(b[4:8])), binary.BigEndian.Uint16(b[2:]))
	case a.Family == posix.AF_INET:
		return a, syscall.EINVAL
	}
	return a, 0
}

// formatAddr writes a sockaddr. index is the adapter of a link-local address
// without a zone. What is no address of the family is shown as the unspecified
// one: any process of this system may send to the far ends.
func (s *server) formatAddr(a posix.Addr, index int32) []byte {
	b := native.AppendUint16(nil, uint16(a.Family))
	b = binary.BigEndian.AppendUint16(b, a.Port())
	if a.Family == posix.AF_INET {
		var ip [4]byte
		if v4 := a.Addr().Unmap(); v4.Is4() {
			ip = v4.As4()
		}
		return append(append(b, ip[:]...), make([]byte, 8)...)
	}
	ip := a.Addr().As16()
	b = append(append(b, 0, 0, 0, 0), ip[:]...)
	scope := uint32(0)
	if a.Addr().IsLinkLocalUnicast() {
		scope = uint32(index)
		if x := s.host.Adapter(a.Addr().Zone()); x != nil {
			scope = uint32(x.Index())
		}
	}
	return native.AppendUint32(b, scope)
}

// writeAddr gives the program an address, cut to the size that it has told.
func (c *call) writeAddr(addr, sizeAt uint64, b []byte) syscall.Errno {
	if addr == 0 {
		return 0
	}
	size, e := c.readInt(sizeAt)
	if e != 0 {
		return e
	}
	if size < 0 {
		return syscall.EINVAL
	}
	return c.writeTwo(addr, b[:min(len(b), int(size))], sizeAt, native.AppendUint32(nil, uint32(len(b))))
}
