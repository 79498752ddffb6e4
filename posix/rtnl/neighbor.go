package rtnl

import (
	"syscall"

	"github.com/towpath/towpath/ip/neigh"
)

// Attributes of neighbours.
const (
	ndaDst    = 1
	ndaLladdr = 2
)

const ndmsgLen = 12

// nud are the states in Linux's numbers.
var nud = map[neigh.State]uint16{
	neigh.Incomplete: 0x01, neigh.Reachable: 0x02, neigh.Stale: 0x04, neigh.Delay: 0x08,
	neigh.Probe: 0x10, neigh.Failed: 0x20, neigh.Permanent: 0x80,
}

// neighbors are those of a family and perhaps an adapter.
func (r *request) neighbors() (list []message, e syscall.Errno) {
	if !r.dump() {
		return nil, syscall.EOPNOTSUPP
	}
	index := int32(0)
	if len(r.body) >= ndmsgLen {
		index = int32(native.Uint32(r.body[4:]))
	}
	for _, n := range r.host.Neighbors() {
		ip := n.IP.WithZone("")
		if !r.wants(ip) || index != 0 && index != n.Adapter {
			continue
		}
		m := message{typ: newNeigh, b: make([]byte, ndmsgLen)}
		m.b[0] = familyOf(ip)
		native.PutUint32(m.b[4:], uint32(n.Adapter))
		native.PutUint16(m.b[8:], nud[n.State])
		m.b[11] = rtnUnicast
		m.ip(ndaDst, ip)
		if n.State != neigh.Incomplete && n.State != neigh.Failed {
			m.attr(ndaLladdr, n.MAC[:])
		}
		list = append(list, m)
	}
	return list, 0
}
