package posix

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"syscall"
	"time"

	"github.com/towpath/towpath/host"
	"github.com/towpath/towpath/link"
)

// Options that choose the way of packets, or say how datagrams are sent.

type wayOptions struct {
	h *host.Host
	f *file
}

func (p *Process) wayOf(f *file) *wayOptions { return &wayOptions{p.h, f} }

// known reports whether there is an adapter with an index.
func (w *wayOptions) known(i int32) bool {
	return slices.ContainsFunc(w.h.Adapters(), func(a *link.Adapter) bool { return a.Index() == i })
}

// mreq reads struct ip_mreqn, ip_mreq, or with least 4 an address alone: a
// group, or nothing, and by which adapter it is meant.
func (w *wayOptions) mreq(b []byte, least int) (group, local netip.Addr, index int32, e syscall.Errno) {
	switch {
	case len(b) >= 12:
		index = int32(binary.LittleEndian.Uint32(b[8:]))
		fallthrough
	case len(b) >= 8:
		group, local = netip.AddrFrom4([4]byte(b)), netip.AddrFrom4([4]byte(b[4:]))
	case len(b) >= least:
		local = netip.AddrFrom4([4]byte(b))
	default:
		return group, local, 0, syscall.EINVAL
	}
	if index == 0 && !local.IsUnspecified() {
		var ok bool
		if index, ok = w.h.Addresses().Local(local); !ok {
			return group, local, 0, syscall.EADDRNOTAVAIL
		}
	}
	return group, local, index, 0
}

// set sets such an option. It reports whether n is one.
func (w *wayOptions) set(n optName, data []byte) (e syscall.Errno, ok bool) {
	f, stream := w.f, w.f.sock.Type() == host.SockStream
	switch n {
	case optName{SOL_SOCKET, SO_BINDTODEVICE}:
		name := data[:min(len(data), 15)]
		for i, c := range name {
			if c == 0 {
				name = name[:i]
				break
			}
		}
		index := int32(0)
		if len(name) > 0 {
			a := w.h.Adapter(string(name))
			if a == nil {
				return syscall.ENODEV, true
			}
			index = a.Index()
		}
		return f.set(func(o *host.SocketOptions) { o.Device = index }), true
	case optName{IPPROTO_IP, IP_MULTICAST_IF}:
		if stream {
			return syscall.EINVAL, true
		}
		_, from, index, e := w.mreq(data, 4)
		if e == 0 {
			if index != 0 && !w.known(index) {
				e = syscall.EADDRNOTAVAIL
			}
		}
		if e != 0 {
			return e, true
		}
		if from.IsUnspecified() {
			from = netip.Addr{}
		}
		return f.set(func(o *host.SocketOptions) { o.MulticastIf, o.MulticastFrom = index, from }), true
	}
	change, check := w.number(n)
	if change == nil {
		return 0, false
	}
	v, e := optInt(n.level, data)
	if e == 0 {
		e = check(v)
	}
	if e != 0 {
		return e, true
	}
	return f.set(func(o *host.SocketOptions) { change(o, v) }), true
}

// number is what an option that is a number does, and which numbers it takes;
// nil if it is none of these.
func (w *wayOptions) number(n optName) (change func(*host.SocketOptions, int32), check func(int32) syscall.Errno) {
	stream, udp := w.f.sock.Type() == host.SockStream, w.f.sock.Type() == host.SockDgram && w.f.sock.Protocol() == IPPROTO_UDP
	between := func(low, high int32) func(int32) syscall.Errno {
		return func(v int32) syscall.Errno {
			if v < low || v > high {
				return syscall.EINVAL
			}
			return 0
		}
	}
	any := func(int32) syscall.Errno { return 0 }
	refuse := func(e syscall.Errno) func(int32) syscall.Errno { return func(int32) syscall.Errno { return e } }
	hops := func(o *host.SocketOptions, v int32) {
		if v == -1 {
			v = 1
		}
		o.MulticastTTL = uint8(v)
	}
	switch n {
	case optName{SOL_SOCKET, SO_MARK}:
		return func(o *host.SocketOptions, v int32) { o.Mark = uint32(v) }, any
	case optName{SOL_SOCKET, SO_BINDTOIFINDEX}:
		return func(o *host.SocketOptions, v int32) { o.Device = v }, between(0, 1<<31-1)
	case optName{IPPROTO_IP, IP_MULTICAST_ALL}:
		return func(o *host.SocketOptions, v int32) { o.NoMulticastAll = v == 0 }, between(0, 1)
	case optName{IPPROTO_IPV6, IPV6_MULTICAST_ALL}:
		return func(o *host.SocketOptions, v int32) { o.NoMulticastAll6 = v == 0 }, between(0, 1)
	case optName{IPPROTO_IP, IP_MULTICAST_TTL}:
		if stream {
			return hops, refuse(syscall.EINVAL)
		}
		return hops, between(-1, 255)
	case optName{IPPROTO_IPV6, IPV6_MULTICAST_HOPS}:
		if stream {
			return hops, refuse(syscall.ENOPROTOOPT)
		}
		return hops, between(-1, 255)
	case optName{IPPROTO_IPV6, IPV6_MULTICAST_IF}:
		if stream {
			return hops, refuse(syscall.ENOPROTOOPT)
		}
		return func(o *host.SocketOptions, v int32) { o.MulticastIf = v }, func(v int32) syscall.Errno {
			if v != 0 && !w.known(v) {
				return syscall.ENODEV
			}
			return 0
		}
	case optName{IPPROTO_IP, IP_MTU_DISCOVER}:
		return func(o *host.SocketOptions, v int32) { o.MTUDiscover = host.MTUDiscover(v) }, between(0, int32(host.MTUOmit))
	case optName{IPPROTO_IPV6, IPV6_MTU_DISCOVER}:
		return func(o *host.SocketOptions, v int32) { o.MTUDiscover6 = host.MTUDiscover(v) }, between(0, int32(host.MTUOmit))
	case optName{IPPROTO_IP, IP_FREEBIND}, optName{IPPROTO_IPV6, IPV6_FREEBIND}:
		return func(o *host.SocketOptions, v int32) { o.FreeBind = v != 0 }, any
	case optName{IPPROTO_IP, IP_TRANSPARENT}, optName{IPPROTO_IPV6, IPV6_TRANSPARENT}:
		return func(o *host.SocketOptions, v int32) { o.Transparent = v != 0 }, any
	case optName{IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT}:
		return func(o *host.SocketOptions, v int32) { o.NoPort = v != 0 }, any
	case optName{SOL_UDP, UDP_SEGMENT}:
		if udp {
			return func(o *host.SocketOptions, v int32) { o.SegmentSize = int(v) }, between(0, 65535)
		}
	case optName{SOL_UDP, UDP_GRO}:
		if udp {
			return func(o *host.SocketOptions, v int32) { o.Coalesce = v != 0 }, any
		}
	}
	return nil, nil
}

// get reads such an option. It reports whether n is one.
func (w *wayOptions) get(n optName) (b []byte, e syscall.Errno, ok bool) {
	o := w.f.sock.Options()
	v := int32(0)
	switch n {
	case optName{SOL_SOCKET, SO_BINDTODEVICE}:
		for _, a := range w.h.Adapters() {
			if a.Index() == o.Device {
				b = append([]byte(a.Name()), 0)
			}
		}
		return b, 0, true
	case optName{IPPROTO_IP, IP_MULTICAST_IF}:
		from := netip.IPv4Unspecified()
		if o.MulticastFrom.Is4() {
			from = o.MulticastFrom
		}
		return from.AsSlice(), 0, true
	case optName{IPPROTO_IP, IP_MTU}, optName{IPPROTO_IPV6, IPV6_MTU}:
		mtu, e := w.f.sock.PathMTU()
		if e != 0 {
			return nil, e, true
		}
		v = int32(mtu)
	case optName{SOL_SOCKET, SO_MARK}:
		v = int32(o.Mark)
	case optName{SOL_SOCKET, SO_BINDTOIFINDEX}:
		v = o.Device
	case optName{IPPROTO_IP, IP_MULTICAST_ALL}:
		v = boolInt(!o.NoMulticastAll)
	case optName{IPPROTO_IPV6, IPV6_MULTICAST_ALL}:
		v = boolInt(!o.NoMulticastAll6)
	case optName{IPPROTO_IP, IP_MULTICAST_TTL}, optName{IPPROTO_IPV6, IPV6_MULTICAST_HOPS}:
		v = int32(o.MulticastTTL)
	case optName{IPPROTO_IPV6, IPV6_MULTICAST_IF}:
		v = o.MulticastIf
	case optName{IPPROTO_IP, IP_MTU_DISCOVER}:
		v = int32(o.MTUDiscover)
	case optName{IPPROTO_IPV6, IPV6_MTU_DISCOVER}:
		v = int32(o.MTUDiscover6)
	case optName{IPPROTO_IP, IP_FREEBIND}, optName{IPPROTO_IPV6, IPV6_FREEBIND}:
		v = boolInt(o.FreeBind)
	case optName{IPPROTO_IP, IP_TRANSPARENT}, optName{IPPROTO_IPV6, IPV6_TRANSPARENT}:
		v = boolInt(o.Transparent)
	case optName{IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT}:
		v = boolInt(o.NoPort)
	case optName{SOL_UDP, UDP_SEGMENT}, optName{SOL_UDP, UDP_GRO}:
		if change, _ := w.number(n); change == nil {
			return nil, 0, false
		}
		if v = int32(o.SegmentSize); n.name == UDP_GRO {
			v = boolInt(o.Coalesce)
		}
	default:
		return nil, 0, false
	}
	return binary.LittleEndian.AppendUint32(nil, uint32(v)), 0, true
}

// A stampKind is the form in which a socket wants the time of arrival.
type stampKind uint8

const (
	stampNone stampKind = iota
	stampMicro
	stampNano
)

// Flags of SO_TIMESTAMPING that have an effect: software stamps of what is
// received are made, and told.
const (
	timestampingRxSoftware = 1 << 3
	timestampingSoftware   = 1 << 4
	timestampingAll        = 1<<18 - 1
)

// setStamps sets an option about timestamps. It reports whether n is one.
func (f *file) setStamps(n optName, data []byte) (e syscall.Errno, ok bool) {
	kind := stampMicro
	switch n {
	case optName{SOL_SOCKET, SO_TIMESTAMP}, optName{SOL_SOCKET, SO_TIMESTAMPING}:
	case optName{SOL_SOCKET, SO_TIMESTAMPNS}:
		kind = stampNano
	default:
		return 0, false
	}
	v, e := optInt(SOL_SOCKET, data)
	if e != 0 {
		return e, true
	}
	f.mu.Lock()
	switch {
	case n.name == SO_TIMESTAMPING && v&^timestampingAll != 0:
		f.mu.Unlock()
		return syscall.EINVAL, true
	case n.name == SO_TIMESTAMPING:
		f.stamping = v
	case v != 0:
		f.stamps = kind
	default:
		f.stamps = stampNone
	}
	want := f.stamps != stampNone || f.stamping&timestampingRxSoftware != 0
	f.mu.Unlock()
	return f.set(func(o *host.SocketOptions) { o.Timestamps = want }), true
}

// getStamps reads an option about timestamps. It reports whether n is one.
func (f *file) getStamps(n optName) (b []byte, e syscall.Errno, ok bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var v int32
	switch n {
	case optName{SOL_SOCKET, SO_TIMESTAMP}:
		v = boolInt(f.stamps == stampMicro)
	case optName{SOL_SOCKET, SO_TIMESTAMPNS}:
		v = boolInt(f.stamps == stampNano)
	case optName{SOL_SOCKET, SO_TIMESTAMPING}:
		b = binary.LittleEndian.AppendUint32(nil, uint32(f.stamping))
		return append(b, 0, 0, 0, 0), 0, true // and no clock to bind to
	default:
		return nil, 0, false
	}
	return binary.LittleEndian.AppendUint32(nil, uint32(v)), 0, true
}

// stampCmsg adds control messages that tell of the time of arrival. f.mu is
// held.
func (f *file) stampCmsg(ctl []Cmsg, at time.Time) []Cmsg {
	pair := func(unit time.Duration) []byte {
		b := binary.LittleEndian.AppendUint64(nil, uint64(at.Unix()))
		return binary.LittleEndian.AppendUint64(b, uint64(at.Nanosecond())/uint64(unit))
	}
	if at.IsZero() {
		return ctl
	}
	switch f.stamps {
	case stampMicro:
		ctl = append(ctl, Cmsg{SOL_SOCKET, SO_TIMESTAMP, pair(time.Microsecond)})
	case stampNano:
		ctl = append(ctl, Cmsg{SOL_SOCKET, SO_TIMESTAMPNS, pair(time.Nanosecond)})
	}
	if f.stamping&timestampingSoftware != 0 {
		ctl = append(ctl, Cmsg{SOL_SOCKET, SO_TIMESTAMPING, append(pair(time.Nanosecond), make([]byte, 32)...)})
	}
	return ctl
}
