package rtnl

import (
	"bytes"
	"net/netip"
	"syscall"

	"github.com/towpath/towpath/host"
	"github.com/towpath/towpath/link"
)

// Requests of ioctl about interfaces (netdevice(7)).
const (
	SIOCGIFNAME    = 0x8910
	SIOCGIFCONF    = 0x8912 // see [Conf]
	SIOCGIFFLAGS   = 0x8913
	SIOCSIFFLAGS   = 0x8914
	SIOCGIFADDR    = 0x8915
	SIOCGIFDSTADDR = 0x8917
	SIOCGIFBRDADDR = 0x8919
	SIOCGIFNETMASK = 0x891b
	SIOCGIFMETRIC  = 0x891d
	SIOCGIFMTU     = 0x8921
	SIOCGIFHWADDR  = 0x8927
	SIOCGIFINDEX   = 0x8933
	SIOCGIFTXQLEN  = 0x8942
)

const (
	// IfreqLen is the size of struct ifreq, on 64-bit systems.
	IfreqLen = 40
	nameLen  = 16 // IFNAMSIZ
	value    = 16 // where it is in an ifreq
)

// Ioctl answers a request about an interface in ifr, a struct ifreq of
// [IfreqLen] bytes. ENOTTY says that it is another's request.
func Ioctl(h *host.Host, request int, ifr []byte) syscall.Errno {
	if len(ifr) != IfreqLen {
		return syscall.EINVAL
	}
	v := ifr[value:]
	var a *link.Adapter
	if request == SIOCGIFNAME {
		a = adapter(h, int32(native.Uint32(v)), "")
	} else {
		name, _, _ := bytes.Cut(ifr[:nameLen], []byte{0})
		name, _, _ = bytes.Cut(name, []byte{':'}) // aliases are the adapter's too
		a = adapter(h, 0, string(name))
	}
	if a == nil {
		return syscall.ENODEV
	}
	switch request {
	case SIOCGIFNAME:
		clear(ifr[:nameLen])
		copy(ifr[:nameLen-1], a.Name())
	case SIOCGIFINDEX:
		native.PutUint32(v, uint32(a.Index()))
	case SIOCGIFFLAGS:
		native.PutUint16(v, uint16(flags(a)))
	case SIOCSIFFLAGS:
		a.SetUp(native.Uint16(v)&flagUp != 0)
	case SIOCGIFMTU:
		native.PutUint32(v, uint32(a.MTU()))
	case SIOCGIFMETRIC:
		native.PutUint32(v, 0)
	case SIOCGIFTXQLEN:
		native.PutUint32(v, 1000)
	case SIOCGIFHWADDR:
		clear(v)
		native.PutUint16(v, deviceType(a))
		mac, _ := station(a)
		copy(v[2:], mac)
	case SIOCGIFADDR, SIOCGIFDSTADDR, SIOCGIFBRDADDR, SIOCGIFNETMASK:
		p, ok := first4(h, a)
		if !ok {
			return syscall.EADDRNOTAVAIL
		}
		ip := p.Addr()
		switch request {
		case SIOCGIFBRDADDR:
			if ip, ok = broadcast(p); !ok || p.Addr().IsLoopback() {
				ip = netip.IPv4Unspecified()
			}
		case SIOCGIFNETMASK:
			m, _ := netip.AddrFrom4([4]byte{255, 255, 255, 255}).Prefix(p.Bits())
			ip = m.Addr()
		}
		putAddr(v, ip)
	default:
		return syscall.ENOTTY
	}
	return 0
}

// first4 is the first IPv4 address of an adapter.
func first4(h *host.Host, a *link.Adapter) (netip.Prefix, bool) {
	for _, x := range h.Addresses().All() {
		if x.Adapter == a.Index() && x.Prefix.Addr().Is4() {
			return x.Prefix, true
		}
	}
	return netip.Prefix{}, false
}

// putAddr writes a struct sockaddr_in.
func putAddr(b []byte, a netip.Addr) {
	clear(b[:16])
	native.PutUint16(b, afInet)
	copy(b[4:], a.AsSlice())
}

// Conf is what SIOCGIFCONF gives: a struct ifreq for each IPv4 address.
func Conf(h *host.Host) (list []byte) {
	for _, x := range h.Addresses().All() {
		a := adapter(h, x.Adapter, "")
		if a == nil || !x.Prefix.Addr().Is4() {
			continue
		}
		ifr := make([]byte, IfreqLen)
		copy(ifr[:nameLen-1], a.Name())
		putAddr(ifr[value:], x.Prefix.Addr())
		list = append(list, ifr...)
	}
	return list
}
