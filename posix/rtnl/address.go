package rtnl

import (
	"errors"
	"net/netip"
	"syscall"

	"github.com/towpath/towpath/ip/ifaddr"
)

// Attributes of addresses.
const (
	ifaAddress   = 1
	ifaLocal     = 2
	ifaLabel     = 3
	ifaBroadcast = 4
	ifaCacheinfo = 6
	ifaFlags     = 8
)

// Flags of addresses.
const (
	addrTemporary  = 0x01
	addrOptimistic = 0x04
	addrDeprecated = 0x20
	addrPermanent  = 0x80
)

// Scopes of addresses and routes.
const (
	scopeUniverse = 0
	scopeLink     = 253
	scopeHost     = 254
)

const (
	ifaddrLen = 8
	forever   = 0xffffffff
)

func scopeOf(a netip.Addr) uint8 {
	switch {
	case a.IsLoopback():
		return scopeHost
	case a.IsLinkLocalUnicast():
		return scopeLink
	}
	return scopeUniverse
}

func (r *request) newAddrMessage(x ifaddr.Addr) message {
	ip := x.Prefix.Addr().WithZone("")
	var f uint32
	switch x.Origin {
	case ifaddr.Temporary:
		f |= addrTemporary
	case ifaddr.Autoconf:
	default:
		f |= addrPermanent
	}
	if x.Optimistic {
		f |= addrOptimistic
	}
	preferred := uint32(forever)
	if x.Deprecated {
		f, preferred = f|addrDeprecated, 0
	}
	m := message{typ: newAddr, b: []byte{familyOf(ip), uint8(x.Prefix.Bits()), uint8(f), scopeOf(ip)}}
	m.b = native.AppendUint32(m.b, uint32(x.Adapter))
	m.ip(ifaAddress, ip)
	if ip.Is4() {
		m.ip(ifaLocal, ip)
		if b, ok := broadcast(x.Prefix); ok && !ip.IsLoopback() {
			m.ip(ifaBroadcast, b)
		}
		if a := adapter(r.host, x.Adapter, ""); a != nil {
			m.text(ifaLabel, a.Name())
		}
	}
	m.attr32(ifaFlags, f)
	cache := native.AppendUint32(nil, preferred)
	m.attr(ifaCacheinfo, append(native.AppendUint32(cache, forever), make([]byte, 8)...))
	return m
}

// broadcast is the broadcast address of an IPv4 network (RFC 919).
func broadcast(p netip.Prefix) (netip.Addr, bool) {
	if !p.Addr().Is4() || p.Bits() >= 31 {
		return netip.Addr{}, false
	}
	b := p.Addr().As4()
	for i := p.Bits(); i < 32; i++ {
		b[i/8] |= 0x80 >> (i % 8)
	}
	return netip.AddrFrom4(b), true
}

// addresses are those of a family and perhaps an adapter.
func (r *request) addresses() (list []message, e syscall.Errno) {
	if !r.dump() {
		return nil, syscall.EOPNOTSUPP
	}
	index := int32(0)
	if len(r.body) >= ifaddrLen {
		index = int32(native.Uint32(r.body[4:]))
	}
	for _, x := range r.host.Addresses().All() {
		if r.wants(x.Prefix.Addr()) && (index == 0 || index == x.Adapter) {
			list = append(list, r.newAddrMessage(x))
		}
	}
	return list, 0
}

// address reads the address that is to be changed, and its adapter's name.
func (r *request) address() (netip.Prefix, string, syscall.Errno) {
	attrs, e := r.attributes(ifaddrLen)
	if e != 0 {
		return netip.Prefix{}, "", e
	}
	value := attrs[ifaLocal]
	if value == nil {
		value = attrs[ifaAddress]
	}
	ip := addrOf(r.family(), value)
	p := netip.PrefixFrom(ip, int(r.body[1]))
	if !p.IsValid() {
		return p, "", syscall.EINVAL
	}
	a := adapter(r.host, int32(native.Uint32(r.body[4:])), "")
	if a == nil {
		return p, "", syscall.ENODEV
	}
	return p, a.Name(), 0
}

func (r *request) addAddress() syscall.Errno {
	p, name, e := r.address()
	if e != 0 {
		return e
	}
	for _, x := range r.host.Addresses().All() {
		if x.Prefix == p {
			if r.flags&flagReplace != 0 {
				return 0
			}
			return syscall.EEXIST
		}
	}
	return errnoOf(r.host.AddAddress(name, p))
}

func (r *request) removeAddress() syscall.Errno {
	p, name, e := r.address()
	if e != 0 {
		return e
	}
	for _, x := range r.host.Addresses().All() {
		a := adapter(r.host, x.Adapter, "")
		if x.Prefix.Addr().WithZone("") == p.Addr() && a != nil && a.Name() == name {
			return errnoOf(r.host.RemoveAddress(x.Prefix.Addr()))
		}
	}
	return syscall.EADDRNOTAVAIL
}

// errnoOf is the number in an error, or EINVAL if there is none in it.
func errnoOf(err error) syscall.Errno {
	if err == nil {
		return 0
	}
	if e, ok := errors.AsType[syscall.Errno](err); ok {
		return e
	}
	return syscall.EINVAL
}
