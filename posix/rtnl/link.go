package rtnl

import (
	"syscall"

	"github.com/towpath/towpath/host"
	"github.com/towpath/towpath/link"
)

// Flags of interfaces (netdevice(7)).
const (
	flagUp        = 0x1
	flagBroadcast = 0x2
	flagLoopback  = 0x8
	flagPoint     = 0x10
	flagRunning   = 0x40
	flagNoARP     = 0x80
	flagMulticast = 0x1000
	flagLowerUp   = 0x10000
)

// Types of devices (linux/if_arp.h).
const (
	typeEther    = 1
	typeLoopback = 772
	typeNone     = 0xfffe
)

// Attributes of links.
const (
	iflaAddress   = 1
	iflaBroadcast = 2
	iflaIfname    = 3
	iflaMTU       = 4
	iflaQdisc     = 6
	iflaStats     = 7
	iflaTxqlen    = 13
	iflaOperstate = 16
	iflaLinkmode  = 17
	iflaStats64   = 23
	iflaGroup     = 27
	iflaCarrier   = 33
)

const (
	ifinfoLen   = 16
	operDown    = 2
	operUp      = 6
	operUnknown = 0
	statsCount  = 24 // of struct rtnl_link_stats64
)

// flags are an adapter's.
func flags(a *link.Adapter) (f uint32) {
	if a.Up() {
		f = flagUp | flagRunning | flagLowerUp
	}
	switch c := a.Capabilities(); {
	case c.Loopback:
		f |= flagLoopback
	case c.Medium == link.MediumEthernet:
		f |= flagBroadcast | flagMulticast
	default:
		f |= flagPoint | flagNoARP | flagMulticast
	}
	return f
}

// deviceType is an adapter's ARPHRD number.
func deviceType(a *link.Adapter) uint16 {
	switch c := a.Capabilities(); {
	case c.Loopback:
		return typeLoopback
	case c.Medium == link.MediumEthernet:
		return typeEther
	}
	return typeNone
}

// station is an adapter's address on its medium, and that of all.
func station(a *link.Adapter) (mac, all []byte) {
	switch deviceType(a) {
	case typeLoopback:
		return make([]byte, 6), make([]byte, 6)
	case typeEther:
		m := a.MAC()
		return m[:], []byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}
	}
	return nil, nil
}

func newLinkMessage(a *link.Adapter) message {
	m := message{typ: newLink, b: make([]byte, ifinfoLen)}
	native.PutUint16(m.b[2:], deviceType(a))
	native.PutUint32(m.b[4:], uint32(a.Index()))
	native.PutUint32(m.b[8:], flags(a))
	m.text(iflaIfname, a.Name())
	m.attr32(iflaTxqlen, 1000)
	oper := uint8(operDown)
	switch {
	case deviceType(a) == typeLoopback:
		oper = operUnknown
	case a.Up():
		oper = operUp
	}
	m.attr8(iflaOperstate, oper)
	m.attr8(iflaLinkmode, 0)
	m.attr32(iflaMTU, uint32(a.MTU()))
	m.attr32(iflaGroup, 0)
	m.attr8(iflaCarrier, 1)
	m.text(iflaQdisc, "noqueue")
	if mac, all := station(a); mac != nil {
		m.attr(iflaAddress, mac)
		m.attr(iflaBroadcast, all)
	}
	s := a.Stats()
	counts := [statsCount]uint64{s.RxPackets, s.TxPackets, s.RxBytes, s.TxBytes, 0, 0, s.Dropped}
	var wide, narrow []byte
	for _, n := range counts {
		wide = native.AppendUint64(wide, n)
		narrow = native.AppendUint32(narrow, uint32(n))
	}
	m.attr(iflaStats64, wide)
	m.attr(iflaStats, narrow)
	return m
}

// adapter finds the one of an index or, without, of a name.
func adapter(h *host.Host, index int32, name string) *link.Adapter {
	for _, a := range h.Adapters() {
		if index == a.Index() || index == 0 && name == a.Name() {
			return a
		}
	}
	return nil
}

// links are all adapters, or the one that is asked for.
func (r *request) links() (list []message, e syscall.Errno) {
	if r.dump() {
		for _, a := range r.host.Adapters() {
			list = append(list, newLinkMessage(a))
		}
		return list, 0
	}
	a, e := r.link()
	if e != 0 {
		return nil, e
	}
	return []message{newLinkMessage(a)}, 0
}

// link is the adapter that a request names.
func (r *request) link() (*link.Adapter, syscall.Errno) {
	attrs, e := r.attributes(ifinfoLen)
	if e != 0 {
		return nil, e
	}
	a := adapter(r.host, int32(native.Uint32(r.body[4:])), text(attrs[iflaIfname]))
	if a == nil {
		return nil, syscall.ENODEV
	}
	return a, 0
}

// changeLink puts an adapter up or down.
func (r *request) changeLink() syscall.Errno {
	a, e := r.link()
	switch {
	case e == syscall.ENODEV && r.flags&flagCreate != 0:
		return syscall.EOPNOTSUPP
	case e != 0:
		return e
	case r.flags&flagExcl != 0:
		return syscall.EEXIST
	}
	attrs, _ := r.attributes(ifinfoLen)
	for typ := range attrs {
		if typ != iflaIfname {
			return syscall.EOPNOTSUPP
		}
	}
	if want, change := native.Uint32(r.body[8:]), native.Uint32(r.body[12:]); change&flagUp != 0 {
		a.SetUp(want&flagUp != 0)
	}
	return 0
}
