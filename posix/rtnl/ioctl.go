package rtnl

import (
	"bytes"
	"encoding/binary"
	"math/bits"
	"net/netip"
	"syscall"

	"github.com/towpath/towpath/host"
	"github.com/towpath/towpath/ip/route"
	"github.com/towpath/towpath/link"
)

// Requests of ioctl about interfaces (netdevice(7)).
const (
	SIOCADDRT      = 0x890b // see [ChangeRoute]
	SIOCDELRT      = 0x890c
	SIOCGIFNAME    = 0x8910
	SIOCGIFCONF    = 0x8912 // see [Conf]
	SIOCGIFFLAGS   = 0x8913
	SIOCSIFFLAGS   = 0x8914
	SIOCGIFADDR    = 0x8915
	SIOCSIFADDR    = 0x8916
	SIOCGIFDSTADDR = 0x8917
	SIOCGIFBRDADDR = 0x8919
	SIOCSIFBRDADDR = 0x891a
	SIOCGIFNETMASK = 0x891b
	SIOCSIFNETMASK = 0x891c
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
	case SIOCSIFADDR:
		ip := netip.AddrFrom4([4]byte(v[4:8]))
		return setFirst4(h, a, netip.PrefixFrom(ip, classBits(ip)))
	case SIOCSIFNETMASK:
		p, ok := first4(h, a)
		bits, valid := maskBits(v[4:8])
		switch {
		case !ok:
			return syscall.EADDRNOTAVAIL
		case !valid:
			return syscall.EINVAL
		}
		return setFirst4(h, a, netip.PrefixFrom(p.Addr(), bits))
	case SIOCSIFBRDADDR: // it follows from the mask
	default:
		return syscall.ENOTTY
	}
	return 0
}

// setFirst4 gives an adapter an IPv4 address in place of its first; none if it is
// unspecified.
func setFirst4(h *host.Host, a *link.Adapter, p netip.Prefix) syscall.Errno {
	old, ok := first4(h, a)
	switch {
	case ok && old == p:
		return 0
	case ok:
		if err := h.RemoveAddress(old.Addr()); err != nil {
			return errnoOf(err)
		}
	}
	if p.Addr().IsUnspecified() {
		return 0
	}
	return errnoOf(h.AddAddress(a.Name(), p))
}

// classBits is the length of the network of an address by its class (RFC 791).
func classBits(ip netip.Addr) int {
	switch b := ip.As4()[0]; {
	case b < 128:
		return 8
	case b < 192:
		return 16
	case b < 224:
		return 24
	}
	return 32
}

// maskBits is the length of a mask, which has no holes.
func maskBits(b []byte) (n int, ok bool) {
	m := binary.BigEndian.Uint32(b)
	n = bits.LeadingZeros32(^m)
	return n, m<<n == 0
}

const (
	// RtentryLen is the size of struct rtentry, and RtentryDev the offset in it
	// of a pointer to the adapter's name, on 64-bit systems.
	RtentryLen = 120
	RtentryDev = 88

	rtGateway = 0x2 // RTF_GATEWAY
	rtHost    = 0x4
	rtReject  = 0x200
)

// ChangeRoute adds or removes the route in rt, a struct rtentry of [RtentryLen]
// bytes, for SIOCADDRT and SIOCDELRT. dev is the name of its adapter, empty if it
// has none.
func ChangeRoute(h *host.Host, request int, rt []byte, dev string) syscall.Errno {
	if len(rt) != RtentryLen || native.Uint16(rt[8:]) != afInet {
		return syscall.EINVAL
	}
	at := func(i int) netip.Addr { return netip.AddrFrom4([4]byte(rt[i+4 : i+8])) }
	flags := native.Uint16(rt[56:])
	n, ok := maskBits(rt[44:48])
	if flags&rtHost != 0 {
		n, ok = 32, true
	}
	x := route.Route{Dst: netip.PrefixFrom(at(8), n), Protocol: route.Static}
	if !ok || x.Dst != x.Dst.Masked() {
		return syscall.EINVAL
	}
	if flags&rtGateway != 0 {
		x.Via = at(24)
	}
	if flags&rtReject != 0 {
		x.Kind = route.Unreachable
	}
	metric := int16(native.Uint16(rt[80:])) // one more than it is; 0: none
	x.Metric = uint32(max(metric-1, 0))
	if dev != "" {
		a := adapter(h, 0, dev)
		if a == nil {
			return syscall.ENODEV
		}
		x.Adapter = a.Index()
	}
	same := func(y route.Route) bool { return y.Dst == x.Dst && sameTable(x, y) }
	if request == SIOCDELRT {
		found := false
		err := h.RemoveRoutes(func(y route.Route) bool {
			if found || !same(y) || metric > 0 && y.Metric != x.Metric || x.Via.IsValid() && y.Via != x.Via ||
				x.Adapter != 0 && y.Adapter != x.Adapter || y.Kind != x.Kind {
				return false
			}
			found = true
			return true
		})
		if err == nil && !found {
			return syscall.ESRCH
		}
		return errnoOf(err)
	}
	if x.Kind == route.Unicast && x.Adapter == 0 {
		if !x.Via.IsValid() {
			return syscall.ENODEV
		}
		by, ok := h.Routes().Lookup(x.Via)
		if !ok || by.Via.IsValid() {
			return syscall.ENETUNREACH
		}
		x.Adapter = by.Adapter
	}
	for _, y := range h.Routes().All() {
		if same(y) && y.Metric == x.Metric {
			return syscall.EEXIST
		}
	}
	return errnoOf(h.AddRoute(x))
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
