package posix

import (
	"encoding/binary"
	"net/netip"
	"syscall"

	"github.com/towpath/towpath/host"
)

// Options that join multicast groups, and choose their sources: those of IPv4
// and IPv6, and those that are for both (RFC 3678).

// Sizes in bytes of what such options carry, on machines of 64 bits.
const (
	sizeStorage     = 128 // struct sockaddr_storage
	sizeMreqSource  = 12
	sizeMSFilter    = 16 // before its sources
	sizeGroupReq    = 8 + sizeStorage
	sizeSourceReq   = 8 + 2*sizeStorage
	sizeGroupFilter = 16 + sizeStorage // before its sources

	optmemMax = 128 << 10 // bytes of an option that may be large (Linux: net.core.optmem_max)
)

// storage reads the address in a struct sockaddr_storage of one family.
func storage(b []byte, v6 bool) (netip.Addr, bool) {
	switch family := binary.LittleEndian.Uint16(b); {
	case family == AF_INET && !v6:
		return netip.AddrFrom4([4]byte(b[4:])), true
	case family == AF_INET6 && v6:
		return netip.AddrFrom16([16]byte(b[8:])), true
	}
	return netip.Addr{}, false
}

// setGroup sets such an option. It reports whether n is one.
func (w *wayOptions) setGroup(n optName, data []byte) (e syscall.Errno, ok bool) {
	f, stream := w.f, w.f.sock.Type() == host.SockStream
	switch n {
	case optName{IPPROTO_IP, IP_ADD_MEMBERSHIP}, optName{IPPROTO_IP, IP_DROP_MEMBERSHIP}:
		if stream {
			return syscall.EPROTO, true
		}
		g, _, index, e := w.mreq(data, 99)
		if e == syscall.EADDRNOTAVAIL {
			e = syscall.ENODEV
		}
		if e != 0 {
			return e, true
		}
		return f.sock.MemberOf(index, g, n.name == IP_ADD_MEMBERSHIP), true
	case optName{IPPROTO_IPV6, IPV6_JOIN_GROUP}, optName{IPPROTO_IPV6, IPV6_LEAVE_GROUP}:
		switch {
		case stream:
			return syscall.EPROTO, true
		case len(data) < 20:
			return syscall.EINVAL, true
		}
		return f.sock.MemberOf(int32(binary.LittleEndian.Uint32(data[16:])), netip.AddrFrom16([16]byte(data)), n.name == IPV6_JOIN_GROUP), true
	case optName{IPPROTO_IP, IP_ADD_SOURCE_MEMBERSHIP}:
		return w.mreqSource(data, host.SourceJoin), true
	case optName{IPPROTO_IP, IP_DROP_SOURCE_MEMBERSHIP}:
		return w.mreqSource(data, host.SourceLeave), true
	case optName{IPPROTO_IP, IP_BLOCK_SOURCE}:
		return w.mreqSource(data, host.SourceBlock), true
	case optName{IPPROTO_IP, IP_UNBLOCK_SOURCE}:
		return w.mreqSource(data, host.SourceUnblock), true
	case optName{IPPROTO_IP, IP_MSFILTER}:
		return w.msFilter(data), true
	}
	if n.level != IPPROTO_IP && n.level != IPPROTO_IPV6 {
		return 0, false
	}
	v6 := n.level == IPPROTO_IPV6
	switch n.name {
	case MCAST_JOIN_GROUP, MCAST_LEAVE_GROUP:
		return w.groupReq(data, v6, n.name == MCAST_JOIN_GROUP), true
	case MCAST_JOIN_SOURCE_GROUP:
		return w.sourceReq(data, v6, host.SourceJoin), true
	case MCAST_LEAVE_SOURCE_GROUP:
		return w.sourceReq(data, v6, host.SourceLeave), true
	case MCAST_BLOCK_SOURCE:
		return w.sourceReq(data, v6, host.SourceBlock), true
	case MCAST_UNBLOCK_SOURCE:
		return w.sourceReq(data, v6, host.SourceUnblock), true
	case MCAST_MSFILTER:
		return w.groupFilter(data, v6), true
	}
	return 0, false
}

// byAddress is the adapter that has an address, 0 if none is given.
func (w *wayOptions) byAddress(a netip.Addr) (index int32, e syscall.Errno) {
	if a.IsUnspecified() {
		return 0, 0
	}
	index, ok := w.h.Addresses().Local(a)
	if !ok {
		return 0, syscall.ENODEV
	}
	return index, 0
}

// mreqSource takes a struct ip_mreq_source: group, an address of the adapter,
// and source.
func (w *wayOptions) mreqSource(b []byte, op host.SourceOp) syscall.Errno {
	if len(b) != sizeMreqSource {
		return syscall.EINVAL
	}
	g, src := netip.AddrFrom4([4]byte(b)), netip.AddrFrom4([4]byte(b[8:]))
	if !g.IsMulticast() {
		return syscall.EINVAL
	}
	index, e := w.byAddress(netip.AddrFrom4([4]byte(b[4:])))
	if e != 0 {
		return e
	}
	return w.f.sock.SourceOf(index, g, src, op)
}

// filterMode reads a filter mode: INCLUDE is 1, EXCLUDE is 0.
func filterMode(n uint32) (exclude bool, e syscall.Errno) {
	if n > 1 {
		return false, syscall.EINVAL
	}
	return n == 0, 0
}

// msFilter takes a struct ip_msfilter: group, an address of the adapter, mode,
// and sources.
func (w *wayOptions) msFilter(b []byte) syscall.Errno {
	switch {
	case len(b) < sizeMSFilter:
		return syscall.EINVAL
	case len(b) > optmemMax:
		return syscall.ENOBUFS
	}
	n := int64(binary.LittleEndian.Uint32(b[12:]))
	switch {
	case n > int64(w.h.Settings().IGMPMaxSources):
		return syscall.ENOBUFS
	case sizeMSFilter+4*n > int64(len(b)):
		return syscall.EINVAL
	}
	g := netip.AddrFrom4([4]byte(b))
	if !g.IsMulticast() {
		return syscall.EINVAL
	}
	exclude, e := filterMode(binary.LittleEndian.Uint32(b[8:]))
	if e != 0 {
		return e
	}
	index, e := w.byAddress(netip.AddrFrom4([4]byte(b[4:])))
	if e != 0 {
		return e
	}
	sources := make([]netip.Addr, n)
	for i := range sources {
		sources[i] = netip.AddrFrom4([4]byte(b[sizeMSFilter+4*i:]))
	}
	return w.f.sock.FilterOf(index, g, exclude, sources)
}

// groupReq takes a struct group_req: adapter and group.
func (w *wayOptions) groupReq(b []byte, v6, join bool) syscall.Errno {
	if len(b) < sizeGroupReq {
		return syscall.EINVAL
	}
	g, ok := storage(b[8:], v6)
	if !ok {
		if v6 {
			return syscall.EADDRNOTAVAIL
		}
		return syscall.EINVAL
	}
	return w.f.sock.MemberOf(int32(binary.LittleEndian.Uint32(b)), g, join)
}

// sourceReq takes a struct group_source_req: adapter, group and source.
func (w *wayOptions) sourceReq(b []byte, v6 bool, op host.SourceOp) syscall.Errno {
	if len(b) < sizeSourceReq {
		return syscall.EINVAL
	}
	g, ok := storage(b[8:], v6)
	src, ok2 := storage(b[8+sizeStorage:], v6)
	if !ok || !ok2 {
		return syscall.EADDRNOTAVAIL
	}
	return w.f.sock.SourceOf(int32(binary.LittleEndian.Uint32(b)), g, src, op)
}

// groupFilter takes a struct group_filter: adapter, group, mode, and sources.
func (w *wayOptions) groupFilter(b []byte, v6 bool) syscall.Errno {
	switch {
	case len(b) < sizeGroupFilter:
		return syscall.EINVAL
	case len(b) > optmemMax:
		return syscall.ENOBUFS
	}
	n, most := int64(binary.LittleEndian.Uint32(b[12+sizeStorage:])), int64(w.h.Settings().IGMPMaxSources)
	if v6 {
		most = int64(w.h.Settings().MLDMaxSources)
	}
	switch {
	case n > most:
		return syscall.ENOBUFS
	case sizeGroupFilter+sizeStorage*n > int64(len(b)):
		return syscall.EINVAL
	}
	g, ok := storage(b[8:], v6)
	sources := make([]netip.Addr, n)
	for i := range sources {
		at := b[sizeGroupFilter+sizeStorage*i:]
		if v6 { // of IPv6 Linux does not look at the family
			sources[i] = netip.AddrFrom16([16]byte(at[8:]))
			continue
		}
		var good bool
		sources[i], good = storage(at, v6)
		ok = ok && good
	}
	if !ok {
		return syscall.EADDRNOTAVAIL
	}
	if !g.IsMulticast() {
		return syscall.EINVAL
	}
	exclude, e := filterMode(binary.LittleEndian.Uint32(b[8+sizeStorage:]))
	if e != 0 {
		return e
	}
	return w.f.sock.FilterOf(int32(binary.LittleEndian.Uint32(b)), g, exclude, sources)
}

// putStorage makes a struct sockaddr_storage of an address.
func putStorage(a netip.Addr) []byte {
	b := make([]byte, sizeStorage)
	if a.Is4() {
		binary.LittleEndian.PutUint16(b, AF_INET)
		copy(b[4:], a.AsSlice())
		return b
	}
	binary.LittleEndian.PutUint16(b, AF_INET6)
	copy(b[8:], a.AsSlice())
	return b
}

// Asks reports whether an option is one that asks: it is read by
// [Process.GetSockOptOf], for what is asked stands where the answer will.
func Asks(level, name int) bool {
	return level == IPPROTO_IP && name == IP_MSFILTER || (level == IPPROTO_IP || level == IPPROTO_IPV6) && name == MCAST_MSFILTER
}

// GetSockOptOf reads an option that asks: value is what stands in the caller's
// memory. Of a filter it names the group and how many sources there is room for;
// the answer has those that fit, and says how many there are.
func (p *Process) GetSockOptOf(fd, level, name int, value []byte) ([]byte, syscall.Errno) {
	f, e := p.socketOf(fd)
	switch {
	case e != 0:
		return nil, e
	case level == IPPROTO_IPV6 && f.sock.Family() != AF_INET6, !Asks(level, name):
		return nil, syscall.ENOPROTOOPT
	}
	w := p.wayOf(f)
	if name == IP_MSFILTER {
		return w.getMSFilter(value)
	}
	return w.getGroupFilter(value, level == IPPROTO_IPV6)
}

// modeOf is a filter mode's number.
func modeOf(exclude bool) uint32 { return uint32(boolInt(!exclude)) }

func (w *wayOptions) getMSFilter(b []byte) ([]byte, syscall.Errno) {
	if len(b) < sizeMSFilter {
		return nil, syscall.EINVAL
	}
	g := netip.AddrFrom4([4]byte(b))
	if !g.IsMulticast() {
		return nil, syscall.EINVAL
	}
	index, e := w.byAddress(netip.AddrFrom4([4]byte(b[4:])))
	if e != 0 {
		return nil, e
	}
	exclude, sources, e := w.f.sock.FilterIn(index, g)
	if e != 0 {
		return nil, e
	}
	out := append([]byte(nil), b[:8]...)
	out = binary.LittleEndian.AppendUint32(out, modeOf(exclude))
	out = binary.LittleEndian.AppendUint32(out, uint32(len(sources)))
	for _, a := range sources[:min(len(sources), int(binary.LittleEndian.Uint32(b[12:])))] {
		out = append(out, a.AsSlice()...)
	}
	return out, 0
}

func (w *wayOptions) getGroupFilter(b []byte, v6 bool) ([]byte, syscall.Errno) {
	if len(b) < sizeGroupFilter {
		return nil, syscall.EINVAL
	}
	g, ok := storage(b[8:], v6)
	switch {
	case !ok && v6:
		return nil, syscall.EADDRNOTAVAIL
	case !ok, !g.IsMulticast():
		return nil, syscall.EINVAL
	}
	index := int32(binary.LittleEndian.Uint32(b))
	if !w.known(index) {
		return nil, syscall.EADDRNOTAVAIL
	}
	exclude, sources, e := w.f.sock.FilterIn(index, g)
	if e != 0 {
		return nil, e
	}
	out := append([]byte(nil), b[:8+sizeStorage]...)
	out = binary.LittleEndian.AppendUint32(out, modeOf(exclude))
	out = binary.LittleEndian.AppendUint32(out, uint32(len(sources)))
	for _, a := range sources[:min(len(sources), int(binary.LittleEndian.Uint32(b[12+sizeStorage:])))] {
		out = append(out, putStorage(a)...)
	}
	return out, 0
}
